//! Mounts, storages and devices of a container.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::codes::policy as codes;
use nacre_imagelock::Entry;
use serde_json::{Value, json};

use crate::input::WorkloadInput;
use crate::notes::Notes;
use crate::pod::{flag, list, security, text};
use crate::target::{EmptyDir, Target};

/// What a volume of the pod is to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// `emptyDir: {medium: Memory}`.
    Memory,
    /// Any other `emptyDir`.
    Directory,
    /// A path of the guest itself.
    Guest(String),
    /// Files the host copies in; read-only by nature (`true`) or as the mount says.
    Host(bool),
    /// A claim, which can also be a block device.
    Claim,
}

/// Reads `spec.volumes` and the claim templates of a StatefulSet.
pub(crate) fn volumes(input: &WorkloadInput<'_>, notes: &mut Notes) -> BTreeMap<String, Volume> {
    let mut out = BTreeMap::new();
    for (index, volume) in list(input.pod_spec, "volumes").iter().enumerate() {
        let at = format!("volumes[{index}]");
        let Some(name) = text(volume, "name") else {
            notes.error(codes::INVALID_POD, &at, "a volume has no name");
            continue;
        };
        let kind = kind(volume, &at, notes);
        if input.injected.guest_memory_volumes.contains(&name) && kind != Volume::Memory {
            notes.error(
                codes::GUEST_MEMORY,
                &at,
                format!("volume {name:?} carries keys and is not guest memory"),
            );
        }
        out.insert(name.to_owned(), kind);
    }
    for name in input.volume_claim_templates {
        out.insert(name.clone(), Volume::Claim);
    }
    out
}

fn kind(volume: &Value, at: &str, notes: &mut Notes) -> Volume {
    if let Some(dir) = volume.get("emptyDir") {
        return match text(dir, "medium").unwrap_or("") {
            "Memory" => Volume::Memory,
            "" => Volume::Directory,
            other => {
                notes.error(
                    codes::UNSUPPORTED_FIELD,
                    &format!("{at}.emptyDir.medium"),
                    format!("medium {other:?} is not supported"),
                );
                Volume::Directory
            }
        };
    }
    if let Some(host) = volume.get("hostPath") {
        let path = text(host, "path").unwrap_or("");
        if ["/dev", "/sys", "/proc"]
            .iter()
            .any(|p| path == *p || below(path, p))
        {
            if path.split('/').any(|part| part == "..") {
                notes.error(
                    codes::INVALID_POD,
                    &format!("{at}.hostPath.path"),
                    "the path leaves its directory",
                );
            }
            return Volume::Guest(path.to_owned());
        }
        return Volume::Host(false);
    }
    if volume.get("persistentVolumeClaim").is_some() || volume.get("ephemeral").is_some() {
        return Volume::Claim;
    }
    let read_only = ["configMap", "secret", "projected", "downwardAPI"];
    Volume::Host(read_only.iter().any(|key| volume.get(key).is_some()))
}

/// Mounts, storages and devices, as the policy's data have them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts {
    /// Destination to entry.
    pub(crate) mounts: BTreeMap<String, Value>,
    /// Storages with a fixed mount point.
    pub(crate) storages: Vec<Value>,
    /// Block volumes used.
    pub(crate) blocks: BTreeSet<String>,
    /// Device paths in the container.
    pub(crate) devices: BTreeSet<String>,
    /// Names under which the host may copy files.
    pub(crate) files: BTreeSet<String>,
}

/// Mounts every container has that runs in this security setting.
pub(crate) fn base(
    target: &Target,
    read_only_root: bool,
    privileged: bool,
) -> BTreeMap<String, Value> {
    let file =
        |name: &str, mode: &str| json!({"t": "bind", "f": name, "o": ["rbind", "rprivate", mode]});
    let root_mode = if read_only_root { "ro" } else { "rw" };
    let (cgroup, sys) = if privileged {
        ("rw", "rw")
    } else {
        ("ro", "ro")
    };
    let mut sysfs = json!({"t": "sysfs", "s": "sysfs", "o": ["nosuid", "noexec", "nodev", sys]});
    if privileged {
        // containerd from 2.0.4 leaves sysfs read-only for some privileged containers.
        sysfs = json!({"t": "sysfs", "s": "sysfs", "o": ["nosuid", "noexec", "nodev"], "x": ["ro", "rw"]});
    }
    let mut out = system();
    out.extend([
        ("/sys".to_owned(), sysfs),
        (
            "/sys/fs/cgroup".to_owned(),
            json!({"t": "cgroup", "s": "cgroup", "o": ["nosuid", "noexec", "nodev", "relatime", cgroup], "x": target.cgroup_options}),
        ),
        ("/etc/hosts".to_owned(), file("hosts", "rw")),
        ("/etc/hostname".to_owned(), file("hostname", root_mode)),
        ("/etc/resolv.conf".to_owned(), file("resolv.conf", root_mode)),
    ]);
    out
}

/// Mounts of the pause container.
pub(crate) fn pause() -> BTreeMap<String, Value> {
    let mut out = system();
    out.insert(
        "/sys".to_owned(),
        json!({"t": "sysfs", "s": "sysfs", "o": ["nosuid", "noexec", "nodev", "ro"]}),
    );
    out.insert(
        "/etc/resolv.conf".to_owned(),
        json!({"t": "bind", "f": "resolv.conf", "o": ["rbind", "ro", "nosuid", "nodev", "noexec"]}),
    );
    out
}

/// containerd's default mounts (`pkg/oci/mounts.go`), `/dev/shm` as Kata rewrites it.
fn system() -> BTreeMap<String, Value> {
    let mount = |t: &str, s: &str, o: &[&str]| json!({"t": t, "s": s, "o": o});
    BTreeMap::from([
        (
            "/proc".to_owned(),
            mount("proc", "proc", &["nosuid", "noexec", "nodev"]),
        ),
        (
            "/dev".to_owned(),
            mount(
                "tmpfs",
                "tmpfs",
                &["nosuid", "strictatime", "mode=755", "size=65536k"],
            ),
        ),
        (
            "/dev/pts".to_owned(),
            mount(
                "devpts",
                "devpts",
                &[
                    "nosuid",
                    "noexec",
                    "newinstance",
                    "ptmxmode=0666",
                    "mode=0620",
                    "gid=5",
                ],
            ),
        ),
        (
            "/dev/mqueue".to_owned(),
            mount("mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ),
        (
            "/dev/shm".to_owned(),
            mount("bind", "/run/kata-containers/sandbox/shm", &["rbind"]),
        ),
    ])
}

/// Files every pod gets copied.
pub(crate) const FILES: &[&str] = &["hostname", "hosts", "resolv.conf", "termination-log"];

/// Where the service account's token is mounted.
pub(crate) const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Works out a container's own mounts; problems become findings below `at`.
pub(crate) fn mounts(
    input: &WorkloadInput<'_>,
    volumes: &BTreeMap<String, Volume>,
    container: &Value,
    at: &str,
    entry: Option<&Entry>,
    notes: &mut Notes,
) -> Mounts {
    let mut out = Mounts::default();
    let termination = text(container, "terminationMessagePath").filter(|p| !p.is_empty());
    let termination = termination.unwrap_or("/dev/termination-log");
    file(&mut out, termination, &["rbind", "rprivate", "rw"]);

    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let at = format!("{at}.volumeMounts[{index}]");
        volume_mount(input, volumes, container, mount, &at, &mut out, notes);
    }
    for (index, device) in list(container, "volumeDevices").iter().enumerate() {
        let at = format!("{at}.volumeDevices[{index}]");
        match text(device, "devicePath").filter(|p| p.starts_with('/')) {
            Some(path) => {
                out.devices.insert(path.to_owned());
            }
            None => notes.error(codes::INVALID_POD, &at, "no absolute devicePath"),
        }
    }
    if flag(input.pod_spec, "automountServiceAccountToken") != Some(false)
        && !out.mounts.contains_key(TOKEN)
    {
        file(&mut out, TOKEN, &["rbind", "rprivate", "ro"]);
    }
    for path in entry.map_or(&[][..], |e| &e.config.volumes) {
        let path = path.trim_end_matches('/');
        if !out.mounts.keys().any(|d| d == path || below(path, d)) {
            notes.error(
                codes::UNCOVERED_VOLUME,
                &format!("{at}.volumeMounts"),
                format!("the image declares the volume {path:?} and the pod mounts nothing there"),
            );
        }
    }
    out
}

fn volume_mount(
    input: &WorkloadInput<'_>,
    volumes: &BTreeMap<String, Volume>,
    container: &Value,
    mount: &Value,
    at: &str,
    out: &mut Mounts,
    notes: &mut Notes,
) {
    let name = text(mount, "name").unwrap_or("");
    let path = text(mount, "mountPath").unwrap_or("");
    let Some(volume) = volumes.get(name) else {
        notes.error(
            codes::INVALID_POD,
            &format!("{at}.name"),
            format!("no volume {name:?}"),
        );
        return;
    };
    let clean = path.trim_end_matches('/');
    if !clean.starts_with('/')
        || clean
            .split('/')
            .skip(1)
            .any(|p| matches!(p, "" | "." | ".."))
    {
        notes.error(
            codes::INVALID_POD,
            &format!("{at}.mountPath"),
            "the path is not absolute and clean",
        );
        return;
    }
    if matches!(text(mount, "recursiveReadOnly"), Some(mode) if mode != "Disabled") {
        notes.error(
            codes::UNSUPPORTED_FIELD,
            &format!("{at}.recursiveReadOnly"),
            "only Disabled is supported",
        );
    }
    let sub_path = ["subPath", "subPathExpr"]
        .iter()
        .any(|key| text(mount, key).is_some_and(|value| !value.is_empty()));
    let mode = if flag(mount, "readOnly") == Some(true) {
        "ro"
    } else {
        "rw"
    };
    let propagation = match text(mount, "mountPropagation") {
        Some("HostToContainer") => "rslave",
        Some("Bidirectional") => "rshared",
        _ => "rprivate",
    };
    if out.mounts.contains_key(clean) && clean != "/dev/termination-log" {
        notes.error(
            codes::INVALID_POD,
            &format!("{at}.mountPath"),
            format!("{clean:?} is mounted twice"),
        );
        return;
    }
    let options = ["rbind", propagation, mode];
    match volume {
        Volume::Memory | Volume::Directory if sub_path => notes.error(
            codes::UNSUPPORTED_FIELD,
            &format!("{at}.subPath"),
            "the volume is made in the guest, and a part of it is addressed on the host",
        ),
        Volume::Memory => {
            let source = format!("/run/kata-containers/sandbox/ephemeral/{name}");
            out.mounts.insert(
                clean.to_owned(),
                json!({"t": "bind", "s": source, "o": options}),
            );
            storage(
                out,
                guest_storage("ephemeral", "tmpfs", "tmpfs", &source, &[], input),
            );
        }
        Volume::Directory => match input.target.empty_dir {
            EmptyDir::GuestDirectory => {
                let source =
                    format!("/run/kata-containers/shared/containers/{{sid}}/rootfs/local/{name}");
                out.mounts.insert(
                    clean.to_owned(),
                    json!({"t": "local", "s": source, "o": options}),
                );
                storage(
                    out,
                    guest_storage("local", "local", "local", &source, &["mode=0777"], input),
                );
            }
            EmptyDir::EncryptedBlock => {
                out.mounts.insert(
                    clean.to_owned(),
                    json!({"t": "bind", "v": name, "o": options}),
                );
                out.blocks.insert(name.to_owned());
            }
        },
        Volume::Guest(source) => {
            guest_path(input, container, source, at, notes);
            out.mounts.insert(
                clean.to_owned(),
                json!({"t": "bind", "s": source, "o": options}),
            );
        }
        Volume::Host(read_only) => {
            let mode = if *read_only { "ro" } else { mode };
            file(out, clean, &["rbind", propagation, mode]);
        }
        Volume::Claim => file(out, clean, &options),
    }
}

/// A path of the guest is mounted into a container: who may?
fn guest_path(
    input: &WorkloadInput<'_>,
    container: &Value,
    source: &str,
    at: &str,
    notes: &mut Notes,
) {
    let name = text(container, "name").unwrap_or("");
    if input.injected.contains(name) {
        return;
    }
    let clean = source.trim_end_matches('/');
    let reaches = input
        .injected
        .report_sources
        .iter()
        .any(|path| clean == *path || below(path, clean) || below(clean, path));
    if reaches {
        notes.error(
            codes::REPORT_SOURCE,
            at,
            format!(
                "container {name:?} would reach the source of attestation reports at {source:?}"
            ),
        );
    } else {
        notes.warning(
            codes::HOST_DEVICE,
            at,
            format!("{source:?} is the virtual machine's own, not the node's"),
        );
    }
}

fn file(out: &mut Mounts, destination: &str, options: &[&str]) {
    let name = destination.rsplit('/').next().unwrap_or("").to_owned();
    out.mounts.insert(
        destination.to_owned(),
        json!({"t": "bind", "f": name, "o": options}),
    );
    out.files.insert(name);
}

fn storage(out: &mut Mounts, storage: Value) {
    if !out.storages.contains(&storage) {
        out.storages.push(storage);
    }
}

fn guest_storage(
    driver: &str,
    source: &str,
    fstype: &str,
    mount_point: &str,
    options: &[&str],
    input: &WorkloadInput<'_>,
) -> Value {
    let mut options: Vec<_> = options.iter().map(|o| (*o).to_owned()).collect();
    if let Some(group) = fs_group(input.pod_spec).filter(|group| *group != 0) {
        options.push(format!("fsgid={group}"));
    }
    json!({
        "driver": driver, "driver_options": [], "source": source, "fstype": fstype,
        "options": options, "mount_point": mount_point, "fs_group": null, "shared": false,
    })
}

/// What an encrypted block volume looks like, apart from the device.
pub(crate) fn block_storage(spec: &Value) -> Value {
    let group = fs_group(spec).filter(|group| *group != 0);
    json!({
        "driver_options": ["encryption_key=ephemeral", "create_filesystem"],
        "fstype": "ext4",
        "options": [],
        "fs_group": group.map(|id| json!({"group_id": id, "group_change_policy": 0})),
        "shared": true,
    })
}

/// `securityContext.fsGroup` of the pod.
pub(crate) fn fs_group(spec: &Value) -> Option<u64> {
    security(spec, &Value::Null, "fsGroup")?.as_u64()
}

/// Whether `path` lies below `parent`.
pub(crate) fn below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent.trim_end_matches('/'))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Pairs of destinations of which the first lies above the second.
pub(crate) fn nested<'a>(destinations: impl Iterator<Item = &'a String>) -> Vec<[String; 2]> {
    let all: BTreeSet<_> = destinations.collect();
    let mut out = Vec::new();
    for child in &all {
        // The nearest parent is enough: the others follow from its own pair.
        let parent = all
            .iter()
            .filter(|p| below(child, p))
            .max_by_key(|p| p.len());
        if let Some(parent) = parent {
            out.push([(*parent).clone(), (*child).clone()]);
        }
    }
    out
}
