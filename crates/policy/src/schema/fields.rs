//! Every field of the messages that the agent asks a policy about, as data.

use super::{Field, Guard, Kind, field};

const CREATE: &str = "CreateContainerRequest";
const SANDBOX: &str = "CreateSandboxRequest";
const EXEC: &str = "ExecProcessRequest";
const FILE: &str = "CopyFileRequest";
const LINK: &str = "UpdateInterfaceRequest";
const ROUTE: &str = "UpdateRoutesRequest";
const ARP: &str = "AddARPNeighborsRequest";
const START: &str = "StartContainerRequest";
const REMOVE: &str = "RemoveContainerRequest";
const READ: &str = "ReadStreamRequest";
const WRITE: &str = "WriteStreamRequest";
const CLOSE: &str = "CloseStdinRequest";

/// Nothing, and something that no pod has.
const TEXT: Kind = Kind::Text(&["", "evil", "../../evil"]);
/// Something where nothing may be; nothing is what is there.
const NO_TEXT: Kind = Kind::Text(&["evil"]);
/// Drivers of devices that no target lists.
const DRIVER: Kind = Kind::Text(&["", "mmioblk", "blk-ccw", "nvdimm", "vfio-pci-gk", "evil"]);
const NUMBER: Kind = Kind::Number(&[0, 1, 4242]);
const NO_NUMBER: Kind = Kind::Number(&[1, -1]);

const ZERO: Guard = Guard::Checks(&["zero"]);
const STORAGE: Guard = Guard::Checks(&["image", "storages"]);
const MOUNT: Guard = Guard::Checks(&["mounts", "storages"]);
const USER: Guard = Guard::Checks(&["user"]);
const CAPS: Guard = Guard::Checks(&["caps"]);
const PROCESS: Guard = Guard::Checks(&["process"]);
const ROUTES: Guard = Guard::Checks(&["routes"]);

const READABLE: Guard = Guard::Rule("a container whose output the profile lets the host read");
const WRITABLE: Guard =
    Guard::Rule("a container with `stdin: true`, in the profile that lets the host attach");
const STREAM: Guard = Guard::Free("which of the container's processes it is");
const LIMITS: Guard =
    Guard::Free("how much memory and time there is, the host decides in any case");
const DISK: Guard = Guard::Free("which disk stands behind a device, the host decides in any case");
const FOUND: Guard = Guard::Free("the agent finds the device by its address on the bus");
const NODE: Guard = Guard::Free("the agent puts in the guest's own device numbers");
const OOM: Guard = Guard::Free("whom the guest ends first when memory is short");
const NETWORK: Guard = Guard::Free("the network is the host's, but for the loopback");
const OWNER: Guard = Guard::Free("who may read and write a file whose content is the host's");

/// Every field, message by message.
pub const FIELDS: &[Field] = &[
    field(CREATE, "container_id", TEXT, Guard::Checks(&["id"])),
    field(CREATE, "exec_id", TEXT, Guard::Checks(&["id"])),
    field(CREATE, "string_user", Kind::Absent, ZERO),
    field(CREATE, "devices", Kind::List, Guard::Checks(&["devices"])),
    field(CREATE, "devices[].id", NO_TEXT, DISK),
    field(
        CREATE,
        "devices[].type_",
        DRIVER,
        Guard::Checks(&["devices"]),
    ),
    field(CREATE, "devices[].vm_path", NO_TEXT, FOUND),
    field(
        CREATE,
        "devices[].container_path",
        TEXT,
        Guard::Checks(&["devices"]),
    ),
    field(
        CREATE,
        "devices[].options",
        Kind::Texts,
        Guard::Checks(&["devices"]),
    ),
    field(CREATE, "storages", Kind::List, STORAGE),
    field(CREATE, "storages[].driver", TEXT, STORAGE),
    field(CREATE, "storages[].driver_options", Kind::Texts, STORAGE),
    field(CREATE, "storages[].source", TEXT, STORAGE),
    field(CREATE, "storages[].fstype", TEXT, STORAGE),
    field(CREATE, "storages[].options", Kind::Texts, STORAGE),
    field(CREATE, "storages[].mount_point", TEXT, STORAGE),
    field(CREATE, "storages[].fs_group", Kind::Absent, STORAGE),
    field(CREATE, "storages[].shared", Kind::Flag, STORAGE),
    field(CREATE, "OCI.Version", TEXT, Guard::Checks(&["labels"])),
    field(
        CREATE,
        "OCI.Process.Terminal",
        Kind::Flag,
        Guard::Checks(&["tty"]),
    ),
    field(CREATE, "OCI.Process.ConsoleSize", Kind::Absent, ZERO),
    field(CREATE, "OCI.Process.User.UID", NUMBER, USER),
    field(CREATE, "OCI.Process.User.GID", NUMBER, USER),
    field(
        CREATE,
        "OCI.Process.User.AdditionalGids",
        Kind::Numbers,
        USER,
    ),
    field(CREATE, "OCI.Process.User.Username", NO_TEXT, USER),
    field(
        CREATE,
        "OCI.Process.Args",
        Kind::Texts,
        Guard::Checks(&["args"]),
    ),
    field(
        CREATE,
        "OCI.Process.Env",
        Kind::Texts,
        Guard::Checks(&["env"]),
    ),
    field(CREATE, "OCI.Process.Cwd", TEXT, Guard::Checks(&["cwd"])),
    field(
        CREATE,
        "OCI.Process.Capabilities.Bounding",
        Kind::Texts,
        CAPS,
    ),
    field(
        CREATE,
        "OCI.Process.Capabilities.Effective",
        Kind::Texts,
        CAPS,
    ),
    field(
        CREATE,
        "OCI.Process.Capabilities.Inheritable",
        Kind::Texts,
        CAPS,
    ),
    field(
        CREATE,
        "OCI.Process.Capabilities.Permitted",
        Kind::Texts,
        CAPS,
    ),
    field(
        CREATE,
        "OCI.Process.Capabilities.Ambient",
        Kind::Texts,
        CAPS,
    ),
    field(CREATE, "OCI.Process.Rlimits", Kind::Absent, ZERO),
    field(
        CREATE,
        "OCI.Process.NoNewPrivileges",
        Kind::Flag,
        Guard::Checks(&["nnp"]),
    ),
    field(
        CREATE,
        "OCI.Process.ApparmorProfile",
        NO_TEXT,
        Guard::Checks(&["labels"]),
    ),
    field(CREATE, "OCI.Process.OOMScoreAdj", NUMBER, OOM),
    field(CREATE, "OCI.Process.SelinuxLabel", NO_TEXT, ZERO),
    field(CREATE, "OCI.Root.Path", TEXT, Guard::Checks(&["image"])),
    field(
        CREATE,
        "OCI.Root.Readonly",
        Kind::Flag,
        Guard::Checks(&["ro"]),
    ),
    field(
        CREATE,
        "OCI.Hostname",
        NO_TEXT,
        Guard::Free("containers join the sandbox's UTS namespace, whose name was set once"),
    ),
    field(CREATE, "OCI.Mounts", Kind::List, MOUNT),
    field(CREATE, "OCI.Mounts[].destination", TEXT, MOUNT),
    field(CREATE, "OCI.Mounts[].source", TEXT, MOUNT),
    field(CREATE, "OCI.Mounts[].type_", TEXT, MOUNT),
    field(CREATE, "OCI.Mounts[].options", Kind::Texts, MOUNT),
    field(CREATE, "OCI.Hooks", Kind::Absent, ZERO),
    field(
        CREATE,
        "OCI.Annotations",
        Kind::Map,
        Guard::Checks(&["annotations"]),
    ),
    field(CREATE, "OCI.Linux.UIDMappings", Kind::Absent, ZERO),
    field(CREATE, "OCI.Linux.GIDMappings", Kind::Absent, ZERO),
    field(
        CREATE,
        "OCI.Linux.Sysctl",
        Kind::Map,
        Guard::Checks(&["sysctl"]),
    ),
    field(CREATE, "OCI.Linux.Resources.Devices", Kind::Absent, ZERO),
    field(CREATE, "OCI.Linux.Resources.Memory", Kind::Absent, LIMITS),
    field(CREATE, "OCI.Linux.Resources.CPU", Kind::Absent, LIMITS),
    field(CREATE, "OCI.Linux.Resources.Pids", Kind::Absent, ZERO),
    field(CREATE, "OCI.Linux.Resources.BlockIO", Kind::Absent, ZERO),
    field(
        CREATE,
        "OCI.Linux.Resources.HugepageLimits",
        Kind::Absent,
        LIMITS,
    ),
    field(CREATE, "OCI.Linux.Resources.Network", Kind::Absent, ZERO),
    field(
        CREATE,
        "OCI.Linux.CgroupsPath",
        TEXT,
        Guard::Checks(&["labels"]),
    ),
    field(
        CREATE,
        "OCI.Linux.Namespaces",
        Kind::List,
        Guard::Checks(&["namespaces"]),
    ),
    field(
        CREATE,
        "OCI.Linux.Namespaces[].Type",
        TEXT,
        Guard::Checks(&["namespaces"]),
    ),
    field(CREATE, "OCI.Linux.Namespaces[].Path", NO_TEXT, ZERO),
    field(
        CREATE,
        "OCI.Linux.Devices",
        Kind::List,
        Guard::Checks(&["devices"]),
    ),
    field(
        CREATE,
        "OCI.Linux.Devices[].Path",
        TEXT,
        Guard::Checks(&["devices"]),
    ),
    field(CREATE, "OCI.Linux.Devices[].Type", NO_TEXT, NODE),
    field(CREATE, "OCI.Linux.Devices[].Major", NUMBER, NODE),
    field(CREATE, "OCI.Linux.Devices[].Minor", NUMBER, NODE),
    field(CREATE, "OCI.Linux.Devices[].FileMode", NUMBER, NODE),
    field(CREATE, "OCI.Linux.Devices[].UID", NUMBER, NODE),
    field(CREATE, "OCI.Linux.Devices[].GID", NUMBER, NODE),
    field(CREATE, "OCI.Linux.Seccomp", Kind::Absent, ZERO),
    field(CREATE, "OCI.Linux.RootfsPropagation", NO_TEXT, ZERO),
    field(
        CREATE,
        "OCI.Linux.MaskedPaths",
        Kind::Texts,
        Guard::Checks(&["paths"]),
    ),
    field(
        CREATE,
        "OCI.Linux.ReadonlyPaths",
        Kind::Texts,
        Guard::Checks(&["paths"]),
    ),
    field(CREATE, "OCI.Linux.MountLabel", NO_TEXT, ZERO),
    field(CREATE, "OCI.Linux.IntelRdt", Kind::Absent, ZERO),
    field(CREATE, "OCI.Solaris", Kind::Absent, ZERO),
    field(CREATE, "OCI.Windows", Kind::Absent, ZERO),
    field(
        CREATE,
        "sandbox_pidns",
        Kind::Flag,
        Guard::Checks(&["pidns"]),
    ),
    field(CREATE, "shared_mounts", Kind::Absent, ZERO),
    field(CREATE, "stdin_port", NO_NUMBER, ZERO),
    field(CREATE, "stdout_port", NO_NUMBER, ZERO),
    field(CREATE, "stderr_port", NO_NUMBER, ZERO),
    field(SANDBOX, "hostname", TEXT, Guard::Checks(&["names"])),
    field(
        SANDBOX,
        "dns",
        Kind::Texts,
        Guard::Free(
            "the host answers the queries in any case; with `dnsPolicy: None` the check `dns` guards it",
        ),
    ),
    field(
        SANDBOX,
        "storages",
        Kind::List,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "storages[].driver",
        TEXT,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "storages[].driver_options",
        Kind::Texts,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "storages[].source",
        TEXT,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "storages[].fstype",
        TEXT,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "storages[].options",
        Kind::Texts,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "storages[].mount_point",
        TEXT,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "storages[].fs_group",
        Kind::Absent,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "storages[].shared",
        Kind::Flag,
        Guard::Checks(&["storages"]),
    ),
    field(
        SANDBOX,
        "sandbox_pidns",
        Kind::Flag,
        Guard::Checks(&["guest"]),
    ),
    field(SANDBOX, "sandbox_id", TEXT, Guard::Checks(&["names"])),
    field(
        SANDBOX,
        "guest_hook_path",
        NO_TEXT,
        Guard::Checks(&["guest"]),
    ),
    field(
        SANDBOX,
        "kernel_modules",
        Kind::Absent,
        Guard::Checks(&["guest"]),
    ),
    field(EXEC, "container_id", TEXT, Guard::Checks(&["live"])),
    field(EXEC, "exec_id", TEXT, Guard::Checks(&["live"])),
    field(EXEC, "string_user", Kind::Absent, PROCESS),
    field(EXEC, "process.Terminal", Kind::Flag, PROCESS),
    field(EXEC, "process.ConsoleSize", Kind::Absent, PROCESS),
    field(EXEC, "process.User.UID", NUMBER, PROCESS),
    field(EXEC, "process.User.GID", NUMBER, PROCESS),
    field(EXEC, "process.User.AdditionalGids", Kind::Numbers, PROCESS),
    field(EXEC, "process.User.Username", NO_TEXT, PROCESS),
    field(
        EXEC,
        "process.Args",
        Kind::Texts,
        Guard::Checks(&["command"]),
    ),
    field(EXEC, "process.Env", Kind::Texts, Guard::Checks(&["env"])),
    field(EXEC, "process.Cwd", TEXT, PROCESS),
    field(EXEC, "process.Capabilities", Kind::Absent, PROCESS),
    field(EXEC, "process.Rlimits", Kind::Absent, PROCESS),
    field(
        EXEC,
        "process.NoNewPrivileges",
        Kind::Flag,
        Guard::Partly(
            &["process"],
            "`false` passes where the container has it: Kata never sends it for probes and hooks",
        ),
    ),
    field(EXEC, "process.ApparmorProfile", NO_TEXT, PROCESS),
    field(EXEC, "process.OOMScoreAdj", NUMBER, OOM),
    field(EXEC, "process.SelinuxLabel", NO_TEXT, PROCESS),
    field(EXEC, "stdin_port", NO_NUMBER, PROCESS),
    field(EXEC, "stdout_port", NO_NUMBER, PROCESS),
    field(EXEC, "stderr_port", NO_NUMBER, PROCESS),
    field(FILE, "path", TEXT, Guard::Checks(&["path"])),
    field(
        FILE,
        "file_type",
        Kind::Text(&["", "Unknown", "Device"]),
        Guard::Checks(&["type"]),
    ),
    field(
        FILE,
        "symlink_target",
        Kind::Text(&["/etc/shadow", "../evil", "a/../../evil", ""]),
        Guard::Checks(&["type"]),
    ),
    field(
        FILE,
        "file_size",
        Kind::Number(&[1 << 40]),
        Guard::Checks(&["size"]),
    ),
    field(
        FILE,
        "file_mode",
        Kind::Number(&[0o104_755, 0o102_755, 0o106_755]),
        Guard::Checks(&["mode"]),
    ),
    field(FILE, "dir_mode", NUMBER, OWNER),
    field(FILE, "uid", NUMBER, OWNER),
    field(FILE, "gid", NUMBER, OWNER),
    field(
        FILE,
        "offset",
        Kind::Number(&[-1, 1 << 40]),
        Guard::Checks(&["size"]),
    ),
    field(
        LINK,
        "interface.device",
        Kind::Text(&["", "lo", "../evil"]),
        Guard::Checks(&["name"]),
    ),
    field(
        LINK,
        "interface.name",
        Kind::Text(&["", "lo", "../evil"]),
        Guard::Checks(&["name"]),
    ),
    field(LINK, "interface.IPAddresses", Kind::List, NETWORK),
    field(LINK, "interface.IPAddresses[].family", NUMBER, NETWORK),
    field(
        LINK,
        "interface.IPAddresses[].address",
        LOOPBACK,
        Guard::Checks(&["address"]),
    ),
    field(LINK, "interface.IPAddresses[].mask", NO_TEXT, NETWORK),
    field(LINK, "interface.mtu", NUMBER, NETWORK),
    field(
        LINK,
        "interface.hwAddr",
        Kind::Text(&["00:00:00:00:00:00"]),
        Guard::Checks(&["link"]),
    ),
    field(LINK, "interface.devicePath", NO_TEXT, NETWORK),
    field(LINK, "interface.type_", NO_TEXT, NETWORK),
    field(
        LINK,
        "interface.raw_flags",
        Kind::Number(&[1, 8, 73]),
        Guard::Checks(&["link"]),
    ),
    field(ROUTE, "routes.Routes", Kind::List, NETWORK),
    field(ROUTE, "routes.Routes[].dest", LOOPBACK, ROUTES),
    field(ROUTE, "routes.Routes[].gateway", LOOPBACK, ROUTES),
    field(ROUTE, "routes.Routes[].device", Kind::Text(&["lo"]), ROUTES),
    field(ROUTE, "routes.Routes[].source", LOOPBACK, ROUTES),
    field(ROUTE, "routes.Routes[].scope", NUMBER, NETWORK),
    field(ROUTE, "routes.Routes[].family", NUMBER, NETWORK),
    field(ROUTE, "routes.Routes[].flags", NUMBER, NETWORK),
    field(ROUTE, "routes.Routes[].mtu", NUMBER, NETWORK),
    field(ARP, "neighbors.ARPNeighbors", Kind::List, NETWORK),
    field(
        ARP,
        "neighbors.ARPNeighbors[].toIPAddress.family",
        NUMBER,
        NETWORK,
    ),
    field(
        ARP,
        "neighbors.ARPNeighbors[].toIPAddress.address",
        LOOPBACK,
        Guard::Checks(&["neighbors"]),
    ),
    field(
        ARP,
        "neighbors.ARPNeighbors[].toIPAddress.mask",
        NO_TEXT,
        Guard::Checks(&["neighbors"]),
    ),
    field(
        ARP,
        "neighbors.ARPNeighbors[].device",
        Kind::Text(&["lo"]),
        Guard::Checks(&["neighbors"]),
    ),
    field(ARP, "neighbors.ARPNeighbors[].lladdr", NO_TEXT, NETWORK),
    field(
        ARP,
        "neighbors.ARPNeighbors[].state",
        Kind::Number(&[0, 1, 64]),
        Guard::Checks(&["neighbors"]),
    ),
    field(
        ARP,
        "neighbors.ARPNeighbors[].flags",
        Kind::Number(&[1, 2, 255]),
        Guard::Checks(&["neighbors"]),
    ),
    field(START, "container_id", TEXT, Guard::Checks(&["current"])),
    field(REMOVE, "container_id", TEXT, Guard::Checks(&["known"])),
    field(REMOVE, "timeout", NO_NUMBER, Guard::Checks(&["timeout"])),
    field(READ, "container_id", TEXT, READABLE),
    field(READ, "exec_id", NO_TEXT, STREAM),
    field(
        READ,
        "len",
        NUMBER,
        Guard::Free("how much is read at a time"),
    ),
    field(WRITE, "container_id", TEXT, WRITABLE),
    field(WRITE, "exec_id", NO_TEXT, STREAM),
    field(
        WRITE,
        "data",
        Kind::Numbers,
        Guard::Free("what the host writes to an input that the profile gives it"),
    ),
    field(CLOSE, "container_id", TEXT, WRITABLE),
    field(CLOSE, "exec_id", NO_TEXT, STREAM),
];

/// The guest's own network, in the spellings the agent understands.
const LOOPBACK: Kind = Kind::Text(&[
    "127.0.0.1",
    "127.1.2.3",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
]);
