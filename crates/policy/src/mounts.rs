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
        guest_memory(input, name, &kind, &at, notes);
        out.insert(name.to_owned(), kind);
    }
    // A claim takes the place of a volume of the same name.
    for name in input.volume_claim_templates {
        guest_memory(input, name, &Volume::Claim, "volumes", notes);
        out.insert(name.clone(), Volume::Claim);
    }
    out
}

fn guest_memory(input: &WorkloadInput<'_>, name: &str, kind: &Volume, at: &str, notes: &mut Notes) {
    if input.injected.guest_memory_volumes.contains(&name) && *kind != Volume::Memory {
        notes.error(
            codes::GUEST_MEMORY,
            at,
            format!("volume {name:?} carries keys and is not guest memory"),
        );
    }
}

/// The path of a `hostPath` volume that is the guest's own instead of the node's, without empty and
/// `.` parts.
pub(crate) fn guest_path(volume: &Value) -> Option<String> {
    clean_guest_path(text(volume.get("hostPath")?, "path")?)
}

/// The same of a path.
pub(crate) fn clean_guest_path(path: &str) -> Option<String> {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let clean: String = parts.flat_map(|part| ["/", part]).collect();
    let own = ["/dev", "/sys", "/proc"];
    own.iter()
        .any(|p| clean == *p || below(&clean, p))
        .then_some(clean)
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
        if let Some(clean) = guest_path(volume) {
            // Braces are what the rules fill in.
            if clean.contains('{')
                || clean.split('/').any(|part| part == "..")
                || path.trim_end_matches('/') != clean
            {
                notes.error(
                    codes::INVALID_POD,
                    &format!("{at}.hostPath.path"),
                    format!("the path is not clean or holds a brace: write {clean}"),
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

/// Where a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Exactly this, with `{sid}` for the sandbox's id.
    Is(String),
    /// A file or directory of this name that the host copies in.
    File(String),
    /// The block device of this volume.
    Block(String),
}

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Type of the file system, `bind` for most.
    pub(crate) kind: &'static str,
    /// Where it comes from.
    pub(crate) source: Source,
    /// Options it must have.
    pub(crate) options: Vec<&'static str>,
    /// Options it may have besides.
    pub(crate) tolerated: Vec<&'static str>,
}

impl Mount {
    fn new(kind: &'static str, source: Source, options: &[&'static str]) -> Self {
        Self {
            kind,
            source,
            options: options.to_vec(),
            tolerated: Vec::new(),
        }
    }

    fn is(kind: &'static str, source: &str, options: &[&'static str]) -> Self {
        Self::new(kind, Source::Is(source.to_owned()), options)
    }

    /// As the policy's data have it: type, source, options in order, then what is tolerated.
    pub(crate) fn data(&self) -> Value {
        let source = match &self.source {
            Source::Is(text) => text.clone(),
            Source::File(name) => format!("{{file}}{name}"),
            Source::Block(volume) => format!("{{block}}{volume}"),
        };
        let mut options = self.options.clone();
        options.sort_unstable();
        let mut out = vec![self.kind.into(), source.into(), options.join(",").into()];
        out.extend(self.tolerated.iter().map(|option| Value::from(*option)));
        Value::Array(out)
    }
}

/// Mounts, storages and devices of one container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts {
    /// By destination.
    pub(crate) mounts: BTreeMap<String, Mount>,
    /// Storages the guest makes, by mount point, which is a mount's source.
    pub(crate) storages: BTreeMap<String, Value>,
    /// Block volumes used.
    pub(crate) blocks: BTreeSet<String>,
    /// Device paths in the container.
    pub(crate) devices: BTreeSet<String>,
    /// Names under which the host may copy files.
    pub(crate) files: BTreeSet<String>,
}

/// Name in the data of the mounts of containers with this security setting.
pub(crate) fn base_name(privileged: bool, read_only_root: bool) -> &'static str {
    match (privileged, read_only_root) {
        (false, false) => "app",
        (false, true) => "app-ro",
        (true, false) => "open",
        (true, true) => "open-ro",
    }
}

/// The mounts of this name.
pub(crate) fn base_of(target: &Target, name: &str) -> Option<BTreeMap<String, Mount>> {
    let settings = [(false, false), (false, true), (true, false), (true, true)];
    match settings
        .into_iter()
        .find(|(p, ro)| base_name(*p, *ro) == name)
    {
        Some((privileged, read_only_root)) => Some(base(target, read_only_root, privileged)),
        None => (name == "pause").then(pause),
    }
}

/// Mounts every container has that runs in this security setting.
pub(crate) fn base(
    target: &Target,
    read_only_root: bool,
    privileged: bool,
) -> BTreeMap<String, Mount> {
    let file = |name: &str, mode| {
        let source = Source::File(name.to_owned());
        Mount::new("bind", source, &["rbind", "rprivate", mode])
    };
    let root_mode = if read_only_root { "ro" } else { "rw" };
    let mode = if privileged { "rw" } else { "ro" };
    let mut sysfs = Mount::is("sysfs", "sysfs", &["nosuid", "noexec", "nodev"]);
    if privileged {
        // containerd from 2.0.4 leaves sysfs read-only for some privileged containers.
        sysfs.tolerated = vec!["ro", "rw"];
    } else {
        sysfs.options.push("ro");
    }
    let options = ["nosuid", "noexec", "nodev", "relatime", mode];
    let mut cgroup = Mount::is("cgroup", "cgroup", &options);
    cgroup.tolerated = target.cgroup_options.to_vec();
    let mut out = system();
    out.extend([
        ("/sys".to_owned(), sysfs),
        ("/sys/fs/cgroup".to_owned(), cgroup),
        ("/etc/hosts".to_owned(), file("hosts", "rw")),
        ("/etc/hostname".to_owned(), file("hostname", root_mode)),
        (
            "/etc/resolv.conf".to_owned(),
            file("resolv.conf", root_mode),
        ),
    ]);
    out
}

/// Mounts of the pause container.
pub(crate) fn pause() -> BTreeMap<String, Mount> {
    let mut out = system();
    let sysfs = Mount::is("sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    let resolver = Mount::new(
        "bind",
        Source::File("resolv.conf".to_owned()),
        &["rbind", "ro", "nosuid", "nodev", "noexec"],
    );
    out.insert("/sys".to_owned(), sysfs);
    out.insert("/etc/resolv.conf".to_owned(), resolver);
    out
}

/// containerd's default mounts (`pkg/oci/mounts.go`), `/dev/shm` as Kata rewrites it.
fn system() -> BTreeMap<String, Mount> {
    let plain = ["nosuid", "noexec", "nodev"];
    let pts = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
    ];
    let dev = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let shm = "/run/kata-containers/sandbox/shm";
    BTreeMap::from([
        ("/proc".to_owned(), Mount::is("proc", "proc", &plain)),
        ("/dev".to_owned(), Mount::is("tmpfs", "tmpfs", &dev)),
        ("/dev/pts".to_owned(), Mount::is("devpts", "devpts", &pts)),
        (
            "/dev/mqueue".to_owned(),
            Mount::is("mqueue", "mqueue", &plain),
        ),
        ("/dev/shm".to_owned(), Mount::is("bind", shm, &["rbind"])),
    ])
}

/// Files every pod gets copied.
pub(crate) const FILES: &[&str] = &["hostname", "hosts", "resolv.conf", "termination-log"];

/// Where the kubelet mounts the file for a container's last words, unless the pod says otherwise.
pub(crate) const TERMINATION: &str = "/dev/termination-log";

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
    file(
        &mut out,
        termination(container),
        &["rbind", "rprivate", "rw"],
    );

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
    let token = flag(input.pod_spec, "automountServiceAccountToken").or(input.automount);
    if token != Some(false) && !out.mounts.contains_key(TOKEN) {
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

/// Where the pod wants the file for a container's last words, or the kubelet's own place.
fn termination(container: &Value) -> &str {
    let own = text(container, "terminationMessagePath").filter(|path| !path.is_empty());
    own.unwrap_or(TERMINATION)
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
    let own = termination(container).trim_end_matches('/');
    if clean == TERMINATION || clean == own {
        notes.error(
            codes::INVALID_POD,
            &format!("{at}.mountPath"),
            if clean == own {
                format!("the kubelet mounts the file for termination messages at {clean:?}")
            } else {
                format!("only the file for termination messages may be at {TERMINATION:?}: mount the volume elsewhere")
            },
        );
        return;
    }
    if out.mounts.contains_key(clean) {
        notes.error(
            codes::INVALID_POD,
            &format!("{at}.mountPath"),
            format!("{clean:?} is mounted twice"),
        );
        return;
    }
    let options = ["rbind", propagation, mode];
    let bind = |source: Source| Mount::new("bind", source, &options);
    let mount = match volume {
        Volume::Memory | Volume::Directory if sub_path => {
            notes.error(
                codes::UNSUPPORTED_FIELD,
                &format!("{at}.subPath"),
                "the volume is made in the guest, and a part of it is addressed on the host",
            );
            return;
        }
        Volume::Memory => {
            let source = format!("{MEMORY}{name}");
            let storage = guest_storage(&source, fs_group(input.pod_spec));
            out.storages.extend(storage.map(|s| (source.clone(), s)));
            bind(Source::Is(source))
        }
        Volume::Directory => match input.target.empty_dir {
            EmptyDir::GuestDirectory => {
                let source = format!("{LOCAL}{name}");
                let storage = guest_storage(&source, fs_group(input.pod_spec));
                out.storages.extend(storage.map(|s| (source.clone(), s)));
                Mount::new("local", Source::Is(source), &options)
            }
            EmptyDir::EncryptedBlock => {
                out.blocks.insert(name.to_owned());
                bind(Source::Block(name.to_owned()))
            }
        },
        Volume::Guest(source) => {
            mounts_guest(input, container, source, at, notes);
            bind(Source::Is(source.clone()))
        }
        Volume::Host(read_only) => {
            let mode = if *read_only { "ro" } else { mode };
            return file(out, clean, &["rbind", propagation, mode]);
        }
        Volume::Claim => return file(out, clean, &options),
    };
    out.mounts.insert(clean.to_owned(), mount);
}

/// A path of the guest is mounted into a container: who may?
fn mounts_guest(
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

fn file(out: &mut Mounts, destination: &str, options: &[&'static str]) {
    let name = destination.rsplit('/').next().unwrap_or("").to_owned();
    out.files.insert(name.clone());
    let mount = Mount::new("bind", Source::File(name), options);
    out.mounts.insert(destination.to_owned(), mount);
}

/// Where an `emptyDir` in memory is in the guest; the name of the volume follows.
pub(crate) const MEMORY: &str = "/run/kata-containers/sandbox/ephemeral/";
/// Where another one is, with targets that keep it in the guest's directory.
pub(crate) const LOCAL: &str = "/run/kata-containers/shared/containers/{sid}/rootfs/local/";

/// The storage that the guest makes for an `emptyDir` at this mount point: what it holds besides that and
/// empty members. `group` owns the files.
pub(crate) fn guest_storage(point: &str, group: Option<u64>) -> Option<Value> {
    let name = |folder| point.strip_prefix(folder).is_some_and(is_plain);
    let (driver, source, mut options) = match (name(MEMORY), name(LOCAL)) {
        (true, _) => ("ephemeral", "tmpfs", Vec::new()),
        (_, true) => ("local", "local", vec!["mode=0777".to_owned()]),
        _ => return None,
    };
    options.extend(group.map(|group| format!("fsgid={group}")));
    let mut out = json!({"driver": driver, "source": source, "fstype": source});
    if !options.is_empty() {
        put(&mut out, "options", json!(options));
    }
    Some(out)
}

/// Whether a name is one part of a path, with nothing that the rules would fill in.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != ".." && !name.contains(['/', '{', '}'])
}

/// What an encrypted block volume holds, apart from the device and empty members.
pub(crate) fn block_storage(group: Option<u64>) -> Value {
    let mut out = json!({
        "driver_options": ["encryption_key=ephemeral", "create_filesystem"],
        "fstype": "ext4",
        "shared": true,
    });
    if let Some(id) = group {
        put(
            &mut out,
            "fs_group",
            json!({"group_id": id, "group_change_policy": 0}),
        );
    }
    out
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

/// `securityContext.fsGroup` of the pod; 0 changes nothing.
pub(crate) fn fs_group(spec: &Value) -> Option<u64> {
    let group = security(spec, &Value::Null, "fsGroup")?.as_u64();
    group.filter(|group| *group != 0)
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
