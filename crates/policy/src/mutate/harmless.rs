//! Changes of requests that the rules let pass.

use super::attacks::at;
use super::{Kind, Mutation};

/// A change that the rules let pass, and why it does no harm: it limits or names, but cannot make the guest do
/// anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Harmless {
    /// Name of the message; `pause` is the create request of the sandbox, `*` is every message.
    pub message: &'static str,
    /// Where, with list positions left out, or nothing for anywhere. `.*` is everything below; where every change
    /// passes, that is included.
    pub path: &'static str,
    /// Which changes pass.
    pub kinds: &'static [Kind],
    /// Why.
    pub reason: &'static str,
}

const fn row(
    message: &'static str,
    path: &'static str,
    kinds: &'static [Kind],
    reason: &'static str,
) -> Harmless {
    Harmless {
        message,
        path,
        kinds,
        reason,
    }
}

/// All such changes. A test finds each row used.
pub static HARMLESS: &[Harmless] = &[
    row(CREATE, "OCI.Linux.Resources.Memory", ANY, LIMITS),
    row(CREATE, "OCI.Linux.Resources.CPU", ANY, LIMITS),
    row(CREATE, "OCI.Linux.Resources.HugepageLimits", ANY, LIMITS),
    row(
        CREATE,
        "OCI.Process.OOMScoreAdj",
        ANY,
        "whom the guest ends first when memory is short",
    ),
    row(
        CREATE,
        "OCI.Hostname",
        ANY,
        "containers join the sandbox's UTS namespace",
    ),
    row(
        PAUSE,
        "OCI.Process.User",
        ANY,
        "the agent takes the process of the sandbox from the measured guest",
    ),
    row(CREATE, "OCI.Process.Env", &[Kind::Reverse], ORDER),
    row(
        CREATE,
        "OCI.Process.Capabilities.*",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    row(
        CREATE,
        "OCI.Process.User.AdditionalGids",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    row(
        CREATE,
        "OCI.Linux.Namespaces",
        &[Kind::Reverse],
        "the agent makes each type once",
    ),
    row(
        CREATE,
        "OCI.Linux.MaskedPaths",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    row(
        CREATE,
        "OCI.Linux.ReadonlyPaths",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    row(
        CREATE,
        "OCI.Linux.CgroupsPath",
        ALTERED,
        "a name below the pods' cgroup",
    ),
    row(
        CREATE,
        "OCI.Mounts[].options",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    row(CREATE, "storages", &[Kind::Reverse], ORDER),
    row(
        CREATE,
        "devices[].id",
        ANY,
        "which disk it is, the host decides",
    ),
    row(
        CREATE,
        "devices[].vm_path",
        ANY,
        "the agent finds the device by its address on the bus",
    ),
    row(
        CREATE,
        "OCI.Linux.Devices[]",
        ANY,
        "the agent puts in the guest's own numbers",
    ),
    row(
        SANDBOX,
        "dns",
        ANY,
        "the host answers the queries in any case",
    ),
    row(
        SANDBOX,
        "hostname",
        ALTERED,
        "within the shape of the pod's name",
    ),
    row(
        EXEC,
        "process.OOMScoreAdj",
        ANY,
        "whom the guest ends first when memory is short",
    ),
    row(EXEC, "process.Env", &[Kind::Reverse], ORDER),
    row(
        EXEC,
        "process.User.AdditionalGids",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    row(EXEC, "exec_id", ALTERED, "an identifier"),
    row(FILE, "dir_mode", CHANGED, FILES),
    row(FILE, "file_mode", CHANGED, "but for setuid and setgid"),
    row(FILE, "file_size", CHANGED, "up to the target's limit"),
    row(FILE, "gid", CHANGED, FILES),
    row(FILE, "offset", CHANGED, "where in the file, up to its size"),
    row(FILE, "path", CHANGED, "another name below a declared mount"),
    row(
        FILE,
        "symlink_target",
        &[Kind::Change, Kind::Alter, Kind::Fill],
        "another place below the same mount; of a link only",
    ),
    row(FILE, "uid", CHANGED, FILES),
    row(LINK, "interface.IPAddresses", LISTED, NETWORK),
    row(LINK, "interface.IPAddresses[].family", CHANGED, NETWORK),
    row(LINK, "interface.IPAddresses[].mask", WRITTEN, NETWORK),
    row(LINK, "interface.device", CHANGED, NETWORK),
    row(LINK, "interface.devicePath", CHANGED, NETWORK),
    row(LINK, "interface.mtu", CHANGED, NETWORK),
    row(LINK, "interface.name", CHANGED, NETWORK),
    row(LINK, "interface.type_", CHANGED, NETWORK),
    row(ROUTE, "routes.Routes", LISTED, NETWORK),
    row(ROUTE, "routes.Routes[].dest", WRITTEN, NETWORK),
    row(ROUTE, "routes.Routes[].device", WRITTEN, NETWORK),
    row(ROUTE, "routes.Routes[].family", CHANGED, NETWORK),
    row(ROUTE, "routes.Routes[].flags", CHANGED, NETWORK),
    row(ROUTE, "routes.Routes[].gateway", WRITTEN, NETWORK),
    row(ROUTE, "routes.Routes[].mtu", CHANGED, NETWORK),
    row(ROUTE, "routes.Routes[].scope", CHANGED, NETWORK),
    row(ROUTE, "routes.Routes[].source", WRITTEN, NETWORK),
    row(ARP, "neighbors.ARPNeighbors", LISTED, NETWORK),
    row(ARP, "neighbors.ARPNeighbors[].device", WRITTEN, NETWORK),
    row(ARP, "neighbors.ARPNeighbors[].lladdr", WRITTEN, NETWORK),
    row(
        ARP,
        "neighbors.ARPNeighbors[].toIPAddress.address",
        WRITTEN,
        NETWORK,
    ),
    row(
        ARP,
        "neighbors.ARPNeighbors[].toIPAddress.family",
        CHANGED,
        NETWORK,
    ),
    row("GuestDetailsRequest", "", ANY, "reads sizes"),
    row("GetOOMEventRequest", "", ANY, "reads events"),
    row("WaitProcessRequest", "", ANY, "waits"),
    row("StatsContainerRequest", "", ANY, "reads numbers"),
    row("ReadStreamRequest", "exec_id", ANY, STREAM),
    row("ReadStreamRequest", "len", ANY, STREAM),
    row("WriteStreamRequest", "exec_id", ANY, STREAM),
    row("WriteStreamRequest", "data", ANY, STREAM),
    row("CloseStdinRequest", "exec_id", ANY, STREAM),
    row("SignalProcessRequest", "", ANY, "can only end what runs"),
    row("DestroySandboxRequest", "", ANY, "can only end what runs"),
    row(CREATE, "OCI.Process.Env", &[Kind::Remove], CLUSTER),
    row(EXEC, "process.Env", &[Kind::Remove], CLUSTER),
    row(CREATE, "OCI.Process.Env[]", ALTERED, ADDRESS),
    row(EXEC, "process.Env[]", ALTERED, ADDRESS),
    row(
        SANDBOX,
        "sandbox_id",
        ALTERED,
        "an id, which everything after it must name",
    ),
    row(LINK, "interface.IPAddresses[].address", ALTERED, NETWORK),
    row(LINK, "interface.hwAddr", ALTERED, NETWORK),
    row(FILE, "", NEWER, UNKNOWN),
    row(LINK, "", NEWER, NETWORK),
    row(LINK, "interface", NEWER, NETWORK),
    row(LINK, "interface.IPAddresses[]", NEWER, NETWORK),
    row(ROUTE, "", NEWER, NETWORK),
    row(ROUTE, "routes", NEWER, NETWORK),
    row(ROUTE, "routes.Routes[]", NEWER, NETWORK),
    row(ARP, "", NEWER, NETWORK),
    row(ARP, "neighbors", NEWER, NETWORK),
    row(ARP, "neighbors.ARPNeighbors[]", NEWER, NETWORK),
    row(ARP, "neighbors.ARPNeighbors[].toIPAddress", NEWER, NETWORK),
    row("StartContainerRequest", "", NEWER, UNKNOWN),
    row("RemoveContainerRequest", "", NEWER, UNKNOWN),
    row("ReadStreamRequest", "", NEWER, UNKNOWN),
    row("WriteStreamRequest", "", NEWER, UNKNOWN),
    row("CloseStdinRequest", "", NEWER, UNKNOWN),
    row(
        EVERY,
        "",
        &[Kind::RemoveMember],
        "the agent fills in what a message lacks, so that each has all members of its definition",
    ),
];

/// The create request of the sandbox's own container.
pub(crate) const PAUSE: &str = "pause";
/// Any message.
pub(crate) const EVERY: &str = "*";
const CREATE: &str = "CreateContainerRequest";
const SANDBOX: &str = "CreateSandboxRequest";
const EXEC: &str = "ExecProcessRequest";
const FILE: &str = "CopyFileRequest";
const LINK: &str = "UpdateInterfaceRequest";
const ROUTE: &str = "UpdateRoutesRequest";
const ARP: &str = "AddARPNeighborsRequest";
const LIMITS: &str = "resource limits are the host's in any case";
const ORDER: &str = "order and repetition: it is a set";
const FILES: &str = "content, size and owner of copied files are the host's";
const NETWORK: &str = "the network is the host's, but for the loopback";
const STREAM: &str = "of a container whose streams the profile gives to the host";
const UNKNOWN: &str = "a member that no agent up to Kata 4.1 has";
const CLUSTER: &str =
    "of variables of the cluster only: `HOSTNAME`, `KUBERNETES_*`, which not every runtime sets";
const ADDRESS: &str =
    "of variables with an address that the cluster decides, which is of a shape only";
/// Another text of the same shape, and no other.
const ALTERED: &[Kind] = &[Kind::Alter];
/// A member more.
const NEWER: &[Kind] = &[Kind::AddMember];
/// Another value, where none is refused.
const CHANGED: &[Kind] = &[Kind::Change, Kind::Alter];
/// Another text or none.
const WRITTEN: &[Kind] = &[Kind::Change, Kind::Alter, Kind::Empty];
/// Other items of a list, each of which is looked at.
const LISTED: &[Kind] = &[Kind::Empty, Kind::Remove, Kind::Repeat, Kind::Reverse];
/// Whatever it is, and whatever is below.
const ANY: &[Kind] = &[
    Kind::Fill,
    Kind::Change,
    Kind::Alter,
    Kind::Empty,
    Kind::Reverse,
    Kind::Add,
    Kind::Repeat,
    Kind::Remove,
    Kind::AddMember,
    Kind::RemoveMember,
];

/// Texts by names of one's own: unlike a message, such an object can lack a member or have one more.
const MAPS: [&str; 2] = ["OCI.Annotations", "OCI.Linux.Sysctl"];
/// Variables of processes.
const VARIABLES: [&str; 2] = ["OCI.Process.Env", "process.Env"];

impl Harmless {
    /// Whether it lets every kind of change pass.
    pub(crate) fn is_any(&self) -> bool {
        self.kinds.len() == ANY.len()
    }

    fn covers(&self, message: &str, mutation: &Mutation) -> bool {
        let pause = || {
            let kind = "/OCI/Annotations/io.kubernetes.cri.container-type";
            message == CREATE && at(&mutation.input, kind) == "sandbox"
        };
        let path = mutation.path.as_str();
        let whole = (self.is_any() || self.message == EVERY).then_some(self.path);
        let below = whole
            .or(self.path.strip_suffix(".*"))
            .is_some_and(|prefix| match path.strip_prefix(prefix) {
                Some(rest) => prefix.is_empty() || rest.starts_with(['.', '[']),
                None => false,
            });
        let object = self.message == EVERY && MAPS.contains(&path);
        let before = mutation.before.as_str().unwrap_or("");
        let cluster = match mutation.kind {
            Kind::Remove => ["HOSTNAME=", "KUBERNETES_"]
                .iter()
                .any(|name| before.starts_with(name)),
            Kind::Alter => has_address(before),
            _ => true,
        };
        let needed = VARIABLES.contains(&path.trim_end_matches("[]")) && !cluster;
        self.kinds.contains(&mutation.kind)
            && (self.message == message
                || self.message == EVERY
                || (self.message == PAUSE && pause()))
            && (self.path == path || below)
            && !object
            && !needed
    }
}

/// Whether a text holds an address of version 4.
fn has_address(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .any(|part| part.parse::<std::net::Ipv4Addr>().is_ok())
}

/// Why an allowed change does no harm; `None` if it would. Named attacks always would.
pub fn harmless(message: &str, mutation: &Mutation) -> Option<&'static Harmless> {
    HARMLESS.iter().find(|row| row.covers(message, mutation))
}
