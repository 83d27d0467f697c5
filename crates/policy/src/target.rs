//! Runtimes a policy has to fit, as named and versioned data.
//!
//! What two versions of containerd or Kata spell differently is listed here and nowhere else;
//! the rules only look it up. Sources: containerd `pkg/oci/spec.go`, `pkg/cri` (1.7, 2.0 to
//! 2.2), Kata Containers `src/runtime/virtcontainers` (3.29 to 4.1; the runtime in
//! Go, not `src/runtime-rs`), and
//! requests recorded in `microsoft/regorus` `tests/kata`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::process::{MASKED, READONLY};
use crate::value::IP;

/// How the bytes of an image reach the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageDelivery {
    /// The guest pulls by digest and checks what it got.
    GuestPull,
    /// The host attaches layers as block devices with dm-verity.
    Tardev,
}

/// What a disk-backed `emptyDir` becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EmptyDir {
    /// A directory inside the guest (driver `local`; Kata's `emptydir_mode = "shared-fs"`).
    GuestDirectory,
    /// A block device the guest encrypts with a key it forgets (`block-encrypted`, as Kata 4 asks for it).
    EncryptedBlock,
}

/// One combination of container runtime and Kata that policies can be made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name with version, as in a configuration (`kata-4/1`).
    pub name: &'static str,
    /// What it stands for.
    pub title: &'static str,
    /// The oldest Kata of the same major version that it fits, as major and minor number. Before 3.29 the
    /// agent hands over the bytes of a copied file unprepared. `None` where the
    /// versions of the platform are not Kata's own.
    pub kata: Option<(u32, u32)>,
    /// How images arrive.
    pub image_delivery: ImageDelivery,
    /// What a disk-backed `emptyDir` becomes.
    pub empty_dir: EmptyDir,
    /// Accepted `OCI.Version` values.
    pub oci_versions: &'static [&'static str],
    /// Path of a container's root file system; `{cid}` is the container's id.
    pub root: &'static str,
    /// Directories into which the host copies files for mounts.
    pub shared: &'static [&'static str],
    /// Drivers of devices for `volumeDevices`.
    pub device_types: &'static [&'static str],
    /// Masked paths a newer runtime adds to the default list (patterns without the first slash).
    pub masked_extra: &'static [&'static str],
    /// Mount options a newer runtime adds to the cgroup file system.
    pub cgroup_options: &'static [&'static str],
    /// Sysctls the runtime sets unasked.
    pub sysctls: &'static [(&'static str, &'static str)],
    /// Names under which the sandbox's own image is requested.
    pub pause_names: &'static [&'static str],
    /// Largest file that may be copied into the guest, in bytes.
    pub file_size: u64,
    /// What the documentation says it does not know.
    pub note: &'static str,
}

/// Every target, the default first.
pub static TARGETS: &[Target] = &[KATA_4, KATA_3, TARDEV];

const KATA_4: Target = Target {
    name: "kata-4/1",
    kata: Some((4, 0)),
    title: "Kata 4.0 and 4.1 with guest pull and encrypted block emptyDir; containerd 1.7, 2.0 to 2.2",
    image_delivery: ImageDelivery::GuestPull,
    empty_dir: EmptyDir::EncryptedBlock,
    oci_versions: OCI_VERSIONS,
    root: "/run/kata-containers/{cid}/rootfs",
    shared: SHARED,
    device_types: DEVICE_TYPES,
    masked_extra: MASKED_EXTRA,
    cgroup_options: CGROUP_OPTIONS,
    sysctls: SYSCTLS,
    pause_names: &["pause"],
    file_size: FILE_SIZE,
    note: "",
};

const KATA_3: Target = Target {
    name: "kata-3/1",
    kata: Some((3, 29)),
    title: "Kata 3.29 to 3.32 with guest pull and emptyDir in the guest (`emptydir_mode = \"shared-fs\"`); containerd 1.7, 2.0 to 2.2",
    image_delivery: ImageDelivery::GuestPull,
    empty_dir: EmptyDir::GuestDirectory,
    oci_versions: OCI_VERSIONS,
    root: "/run/kata-containers/{cid}/rootfs",
    shared: SHARED,
    device_types: DEVICE_TYPES,
    masked_extra: MASKED_EXTRA,
    cgroup_options: CGROUP_OPTIONS,
    sysctls: SYSCTLS,
    pause_names: &["pause"],
    file_size: FILE_SIZE,
    note: "",
};

const TARDEV: Target = Target {
    name: "kata-tardev/1",
    kata: None,
    title: "AKS confidential node pools: layers as dm-verity devices (tardev snapshotter)",
    image_delivery: ImageDelivery::Tardev,
    empty_dir: EmptyDir::GuestDirectory,
    oci_versions: &["1.1.0-rc.1", "1.1.0", "1.2.0", "1.2.1"],
    root: "/run/kata-containers/shared/containers/{cid}",
    shared: SHARED,
    device_types: DEVICE_TYPES,
    masked_extra: MASKED_EXTRA,
    cgroup_options: CGROUP_OPTIONS,
    sysctls: SYSCTLS,
    pause_names: &["pause"],
    file_size: FILE_SIZE,
    note: "needs the dm-verity root of every layer in the image lock",
};

const OCI_VERSIONS: &[&str] = &["1.1.0", "1.2.0", "1.2.1", "1.3.0"];
const SHARED: &[&str] = &[
    "/run/kata-containers/shared/containers/",
    "/run/kata-containers/shared/containers/passthrough/",
    "/run/kata-containers/shared/containers/watchable/",
];
/// The two of which the agent finds the disk itself, by its address on the bus. What it would take from
/// the host as a path (`mmioblk`), no hypervisor with confidential guests uses.
const DEVICE_TYPES: &[&str] = &["blk", "scsi"];
const MASKED_EXTRA: &[&str] = &[
    "proc/interrupts",
    "sys/devices/(virtual/powercap|system/cpu/cpu[0-9]+/thermal_throttle)",
];
const CGROUP_OPTIONS: &[&str] = &["nsdelegate", "memory_recursiveprot"];
const SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];
/// Directory of block volumes in the guest (`src/agent` `mount`, base64 of the device follows).
pub(crate) const BLOCKS: &str = "/run/kata-containers/sandbox/storage/";
const FILE_SIZE: u64 = 4 * 1024 * 1024;

impl Target {
    /// The target with this name, with or without its version (`kata-3` is the newest `kata-3/…`).
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS
            .iter()
            .find(|t| t.name == name || t.name.split_once('/').is_some_and(|(n, _)| n == name))
    }

    /// The target that fits requests of this version of Kata, written with dots.
    pub fn of_kata(version: &str) -> Option<&'static Self> {
        let mut numbers = version.split('.').map(str::parse::<u32>);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let fits = |(first, least)| first == major && minor >= least;
        TARGETS.iter().find(|target| target.kata.is_some_and(fits))
    }

    /// What a configuration that names none gets: what `nacre runtime` installs, or the node pool brings.
    pub fn default_for(delivery: ImageDelivery) -> &'static Self {
        static GUEST_PULL: Target = KATA_4;
        static BLOCK: Target = TARDEV;
        match delivery {
            ImageDelivery::GuestPull => &GUEST_PULL,
            ImageDelivery::Tardev => &BLOCK,
        }
    }

    /// The part of a policy's data that depends on the target alone.
    pub(crate) fn data(&self) -> Value {
        json!({
            "name": self.name,
            "oci": self.oci_versions,
            "root": self.root,
            "shared": self.shared,
            "bundle": "/run/containerd/io.containerd.runtime.v2.task/k8s.io/{cid}",
            "storages": [{
                "driver": "ephemeral",
                "source": "shm",
                "fstype": "tmpfs",
                "options": ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"],
                "mount_point": "/run/kata-containers/sandbox/shm",
            }],
            "ip": IP,
            "file_size": self.file_size,
            "masked": MASKED.join(" "),
            "masked_more": format!("^/({})$", self.masked_extra.join("|")),
            "readonly": READONLY.join(" "),
            "apparmor": ["", "cri-containerd.apparmor.d"],
            "sysctl": self.sysctls.iter().copied().collect::<BTreeMap<_, _>>(),
            "cgroup": "^/?(kubepods|system)(\\.?[a-zA-Z0-9_/:-])*$",
        })
    }

    /// Annotations a runtime adds, with the shape of their values.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        let cri =
            |key: &str, shape: &str| (format!("io.kubernetes.cri.{key}"), format!("^{shape}$"));
        let (number, name) = ("-?[0-9]+", "[a-zA-Z0-9/._:@-]+");
        BTreeMap::from([
            cri("container-name", "[a-z0-9-]+"),
            cri("image-name", name),
            cri("podsandbox.image-name", name),
            cri("sandbox-cpu-period", number),
            cri("sandbox-cpu-quota", number),
            cri("sandbox-cpu-shares", number),
            cri("sandbox-log-directory", name),
            cri("sandbox-memory", number),
            cri("sandbox-uid", "[0-9a-f-]{36}"),
            ("nerdctl/network-namespace".to_owned(), format!("^{name}$")),
            // The policy itself: its value cannot stand in it.
            (crate::carrier::AGENT_POLICY.to_owned(), String::new()),
            (crate::carrier::INIT_DATA.to_owned(), String::new()),
        ])
    }
}
