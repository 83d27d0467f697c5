//! Changes a hostile host could make to a request.
//!
//! The mutations are made from the request itself: every member of every object and list is
//! changed, removed and added to in turn, and after that come attacks with a name. A field that
//! a newer agent adds is therefore mutated without anyone thinking of it.

use serde_json::{Value, json};

/// One changed request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mutation {
    /// What was changed.
    pub title: String,
    /// Where, with list positions left out (`OCI.Process.Args[]`).
    pub path: String,
    /// In which way.
    pub kind: Kind,
    /// The changed request.
    pub input: Value,
    /// The item that was taken away.
    removed: Value,
}

/// Ways to change a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Something where nothing was.
    Fill,
    /// Another scalar.
    Change,
    /// Nothing where something was.
    Empty,
    /// A list the other way round.
    Reverse,
    /// An item more.
    Add,
    /// A member more; protobuf has no unknown ones, so only maps can really have it.
    AddMember,
    /// A member less; protobuf fills it with its default, so only maps can really lack it.
    RemoveMember,
    /// The first item once more.
    Repeat,
    /// An item less.
    Remove,
    /// A named attack.
    Attack,
}

/// Fields whose change the rules let pass, with the reason: they limit or name, but cannot make
/// the guest do anything else.
pub const HARMLESS: &[(&str, &str, &[Kind], &str)] = &[
    (CREATE, "OCI.Linux.Resources.Memory", ANY, LIMITS),
    (CREATE, "OCI.Linux.Resources.CPU", ANY, LIMITS),
    (CREATE, "OCI.Linux.Resources.HugepageLimits", ANY, LIMITS),
    (
        CREATE,
        "OCI.Linux.Resources",
        &[Kind::Add],
        "a member the agent does not have",
    ),
    (
        CREATE,
        "OCI.Process.OOMScoreAdj",
        ANY,
        "whom the guest ends first when memory is short",
    ),
    (
        CREATE,
        "OCI.Hostname",
        ANY,
        "containers join the sandbox's UTS namespace",
    ),
    (
        PAUSE,
        "OCI.Process",
        ANY,
        "the agent takes the process of the sandbox from the measured guest",
    ),
    (CREATE, "OCI.Process.Env", &[Kind::Reverse], ORDER),
    (
        CREATE,
        "OCI.Process.Capabilities",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    (
        CREATE,
        "OCI.Process.User.AdditionalGids",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    (
        CREATE,
        "OCI.Linux.Namespaces",
        &[Kind::Reverse, Kind::Repeat],
        "the agent makes each type once",
    ),
    (
        CREATE,
        "OCI.Linux.MaskedPaths",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    (CREATE, "OCI.Linux.ReadonlyPaths", &[Kind::Reverse], ORDER),
    (
        CREATE,
        "OCI.Linux.CgroupsPath",
        &[Kind::Change],
        "a name below the pods' cgroup",
    ),
    (
        CREATE,
        "OCI.Mounts[].options",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    (CREATE, "storages", &[Kind::Reverse], ORDER),
    (
        CREATE,
        "devices[].id",
        ANY,
        "which disk it is, the host decides",
    ),
    (
        CREATE,
        "devices[].vm_path",
        ANY,
        "which disk it is, the host decides",
    ),
    (
        CREATE,
        "devices[].options",
        ANY,
        "which disk it is, the host decides",
    ),
    (
        CREATE,
        "OCI.Linux.Devices[]",
        ANY,
        "the agent puts in the guest's own numbers",
    ),
    (
        CREATE,
        "OCI.Annotations",
        &[Kind::Remove],
        "a description less; those that decide are required",
    ),
    (
        CREATE,
        "OCI.Annotations",
        &[Kind::Change],
        "descriptions, within their shape; those that decide are exact",
    ),
    (
        "CreateSandboxRequest",
        "dns",
        ANY,
        "the host answers the queries in any case",
    ),
    (
        "CreateSandboxRequest",
        "hostname",
        &[Kind::Change],
        "within the shape of the pod's name",
    ),
    (
        "CreateSandboxRequest",
        "",
        &[Kind::Add, Kind::Remove],
        "a member the agent does not have, or dns",
    ),
    (
        "CreateSandboxRequest",
        "storages[]",
        &[Kind::Remove],
        "`shared`, false when absent",
    ),
    (
        "ExecProcessRequest",
        "process.OOMScoreAdj",
        ANY,
        "whom the guest ends first when memory is short",
    ),
    ("ExecProcessRequest", "process.Env", &[Kind::Reverse], ORDER),
    (
        "ExecProcessRequest",
        "process.User.AdditionalGids",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    (
        "ExecProcessRequest",
        "exec_id",
        &[Kind::Change],
        "an identifier",
    ),
    ("CopyFileRequest", "file_size", ANY, FILES),
    ("CopyFileRequest", "file_mode", ANY, FILES),
    ("CopyFileRequest", "file_type", ANY, FILES),
    ("CopyFileRequest", "dir_mode", ANY, FILES),
    ("CopyFileRequest", "symlink_target", ANY, FILES),
    ("CopyFileRequest", "uid", ANY, FILES),
    ("CopyFileRequest", "gid", ANY, FILES),
    ("CopyFileRequest", "offset", ANY, FILES),
    (
        "CopyFileRequest",
        "path",
        &[Kind::Change],
        "another name below a declared mount",
    ),
    ("UpdateInterfaceRequest", "interface", ANY, NETWORK),
    ("UpdateRoutesRequest", "routes", ANY, NETWORK),
    ("AddARPNeighborsRequest", "neighbors", ANY, NETWORK),
    ("GuestDetailsRequest", "", ANY, "reads sizes"),
    ("GetOOMEventRequest", "", ANY, "reads events"),
    ("WaitProcessRequest", "", ANY, "waits"),
    ("StatsContainerRequest", "", ANY, "reads numbers"),
    ("SignalProcessRequest", "", ANY, "can only end what runs"),
    ("DestroySandboxRequest", "", ANY, "can only end what runs"),
    (
        "*",
        "",
        &[Kind::Add, Kind::Remove],
        "a member the agent does not have or does not need",
    ),
];

/// The create request of the sandbox's own container.
const PAUSE: &str = "pause";
const CREATE: &str = "CreateContainerRequest";
const LIMITS: &str = "resource limits are the host's in any case";
const ORDER: &str = "order and repetition: it is a set";
const FILES: &str = "content, size and owner of copied files are the host's";
const NETWORK: &str = "the network is the host's, but for the loopback";
const ANY: &[Kind] = &[
    Kind::Fill,
    Kind::Change,
    Kind::Empty,
    Kind::Reverse,
    Kind::Add,
    Kind::Repeat,
    Kind::Remove,
    Kind::AddMember,
    Kind::RemoveMember,
];

/// Why an allowed change does no harm; `None` if it would. Named attacks always would.
pub fn harmless(message: &str, mutation: &Mutation) -> Option<&'static str> {
    let path = mutation.path.as_str();
    let maps = ["OCI.Annotations", "OCI.Linux.Sysctl"];
    if matches!(mutation.kind, Kind::AddMember | Kind::RemoveMember) && !maps.contains(&path) {
        return Some("the agent's messages have exactly the members of their definition");
    }
    // Whether the runtime sets these depends on its version; nothing else may be missing.
    let variable = mutation.removed.as_str().unwrap_or("");
    if ["OCI.Process.Env", "process.Env"].contains(&path)
        && (variable.starts_with("HOSTNAME=") || variable.starts_with("KUBERNETES_"))
    {
        return Some("a variable of the cluster less");
    }
    let kind = at(
        &mutation.input,
        "/OCI/Annotations/io.kubernetes.cri.container-type",
    );
    let pause = message == CREATE && kind == "sandbox";
    let below = |prefix: &str, kinds: &[Kind]| {
        path == prefix
            || (prefix.is_empty() && kinds.len() == ANY.len())
            || (!prefix.is_empty()
                && path
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with(['.', '['])))
    };
    HARMLESS
        .iter()
        .find(|(m, prefix, kinds, _)| {
            (*m == message || (pause && *m == PAUSE))
                && kinds.contains(&mutation.kind)
                && below(prefix, kinds)
        })
        .map(|(_, _, _, reason)| *reason)
}

/// Every change of one member, then the named attacks.
pub fn all(message: &str, input: &Value) -> Vec<Mutation> {
    let mut out = Vec::new();
    walk(input, input, &mut Vec::new(), &mut out);
    attacks(message, input, &mut out);
    out.retain(|m| m.input != *input);
    out
}

#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

fn walk(root: &Value, here: &Value, at: &mut Vec<Step>, out: &mut Vec<Mutation>) {
    let mut push = |kind: Kind, what: &str, at: &[Step], value: Value| {
        let mut input = root.clone();
        if let Some(place) = find(&mut input, at) {
            let removed = match (kind, &*place, &value) {
                (Kind::Remove, Value::Array(old), Value::Array(new)) => old
                    .iter()
                    .find(|item| !new.contains(item))
                    .cloned()
                    .unwrap_or_default(),
                _ => Value::Null,
            };
            *place = value;
            out.push(Mutation {
                title: format!("{what} {}", exact(at)),
                path: general(at),
                kind,
                input,
                removed,
            });
        }
    };
    match here {
        Value::Null => {
            push(
                Kind::Fill,
                "fill",
                at,
                json!({"uid": "0", "gid": "0", "additionalGids": []}),
            );
            push(Kind::Fill, "fill", at, json!([{"Path": "/bin/sh"}]));
        }
        Value::Bool(b) => push(Kind::Change, "negate", at, (!b).into()),
        Value::Number(n) => {
            push(
                Kind::Change,
                "increase",
                at,
                (n.as_i64().unwrap_or(0) + 1).into(),
            );
            if n.as_i64() != Some(0) {
                push(Kind::Change, "zero", at, 0.into());
            }
        }
        Value::String(s) => {
            push(Kind::Empty, "empty", at, "".into());
            push(Kind::Change, "extend", at, format!("{s}x").into());
            push(Kind::Change, "replace", at, "evil".into());
            push(Kind::Change, "climb", at, format!("{s}/../../etc").into());
        }
        Value::Array(items) => {
            push(Kind::Empty, "empty", at, json!([]));
            let mut more = items.clone();
            more.push(items.first().cloned().unwrap_or_else(|| "evil".into()));
            push(Kind::Repeat, "repeat the first of", at, more.into());
            for index in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(index);
                push(
                    Kind::Remove,
                    &format!("remove {index} of"),
                    at,
                    fewer.into(),
                );
            }
            if items.len() > 1 {
                let mut turned = items.clone();
                turned.reverse();
                push(Kind::Reverse, "reverse", at, turned.into());
            }
            if items.iter().all(Value::is_string) {
                let mut more = items.clone();
                more.push("evil".into());
                push(Kind::Add, "add to", at, more.into());
            }
        }
        Value::Object(members) => {
            let mut more = members.clone();
            more.insert("evil".to_owned(), "evil".into());
            push(Kind::AddMember, "add to", at, more.into());
            for key in members.keys() {
                let mut fewer = members.clone();
                fewer.shift_remove(key);
                push(
                    Kind::RemoveMember,
                    &format!("remove {key} of"),
                    at,
                    fewer.into(),
                );
            }
        }
    }
    match here {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push(Step::Index(index));
                walk(root, item, at, out);
                at.pop();
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                at.push(Step::Key(key.clone()));
                walk(root, member, at, out);
                at.pop();
            }
        }
        _ => {}
    }
}

fn find<'a>(value: &'a mut Value, at: &[Step]) -> Option<&'a mut Value> {
    at.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()),
        Step::Index(index) => value.get_mut(index),
    })
}

fn exact(at: &[Step]) -> String {
    text(at, |index| format!("[{index}]"))
}

fn general(at: &[Step]) -> String {
    text(at, |_| "[]".to_owned())
}

fn text(at: &[Step], index: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    for step in at {
        match step {
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(at) => out.push_str(&index(*at)),
        }
    }
    out
}

/// Attacks known from the literature on these requests, each with its name.
fn attacks(message: &str, input: &Value, out: &mut Vec<Mutation>) {
    let mut attack = |title: &str, path: &str, change: &dyn Fn(&mut Value)| {
        let mut input = input.clone();
        change(&mut input);
        out.push(Mutation {
            title: title.to_owned(),
            path: path.to_owned(),
            kind: Kind::Attack,
            input,
            removed: Value::Null,
        });
    };
    match message {
        "CreateContainerRequest" => {
            attack("run a shell", "args", &|i| {
                set(i, "/OCI/Process/Args", json!(["/bin/sh"]))
            });
            attack("preload a library", "env", &|i| {
                push(i, "/OCI/Process/Env", "LD_PRELOAD=/x.so")
            });
            attack("second value of a variable", "env", &|i| {
                let first = at(i, "/OCI/Process/Env/0").clone();
                let name = first
                    .as_str()
                    .and_then(|e| e.split('=').next())
                    .unwrap_or("")
                    .to_owned();
                push(i, "/OCI/Process/Env", format!("{name}=evil"));
            });
            attack("mount over an existing mount", "mounts", &|i| {
                let mut mount = at(i, "/OCI/Mounts/0").clone();
                set(
                    &mut mount,
                    "/source",
                    "/run/kata-containers/shared/containers/x",
                );
                push(i, "/OCI/Mounts", mount);
            });
            attack("mount over the application", "mounts", &|i| {
                push(
                    i,
                    "/OCI/Mounts",
                    json!({"destination": "/app", "source": "/run/x", "type_": "bind", "options": ["rbind"]}),
                );
            });
            attack("writable cgroups", "mounts", &|i| {
                for mount in at(i, "/OCI/Mounts").as_array_mut().into_iter().flatten() {
                    if ["cgroup", "sysfs"]
                        .iter()
                        .any(|t| at(mount, "/type_") == *t)
                    {
                        push(mount, "/options", "rw");
                    }
                }
            });
            attack("all capabilities", "caps", &|i| {
                push(i, "/OCI/Process/Capabilities/Bounding", "CAP_SYS_MODULE")
            });
            attack("ambient capability", "caps", &|i| {
                set(
                    i,
                    "/OCI/Process/Capabilities/Ambient",
                    json!(["CAP_NET_ADMIN"]),
                )
            });
            attack("no image", "image", &|i| set(i, "/storages", json!([])));
            attack("two images", "image", &|i| {
                let image = at(i, "/storages/0").clone();
                push(i, "/storages", image);
            });
            attack("tag instead of digest", "image", &|i| {
                let name = "ghcr.io/example/web:1.2";
                set(i, "/storages/0/source", name);
                set(i, "/OCI/Annotations/io.kubernetes.cri.image-name", name);
            });
            attack("the measured pause image instead", "image", &|i| {
                if at(i, "/OCI/Annotations/io.kubernetes.cri.container-type") == "sandbox" {
                    return;
                }
                set(
                    i,
                    "/storages/0/driver_options",
                    json!([
                        "image_guest_pull={\"metadata\":{\"io.kubernetes.cri.container-type\":\"sandbox\"}}"
                    ]),
                );
            });
            attack("cri-o sandbox by metadata", "image", &|i| {
                set(
                    i,
                    "/storages/0/driver_options",
                    json!([
                        "image_guest_pull={\"metadata\":{\"io.kubernetes.cri.container-type\":\"container\",\"io.kubernetes.cri-o.ContainerType\":\"sandbox\"}}"
                    ]),
                );
            });
            attack("cri-o sandbox by annotation", "annotations", &|i| {
                set(
                    i,
                    "/OCI/Annotations/io.kubernetes.cri-o.ContainerType",
                    "sandbox",
                )
            });
            attack("device by annotation", "annotations", &|i| {
                set(i, "/OCI/Annotations/cdi.k8s.io/vfio0", "nvidia.com/gpu=0")
            });
            attack("another container's name", "annotations", &|i| {
                set(
                    i,
                    "/OCI/Annotations/io.kubernetes.cri.container-name",
                    "other",
                )
            });
            attack("storage parked on the image's place", "storages", &|i| {
                let place = at(i, "/OCI/Root/Path");
                push(
                    i,
                    "/storages",
                    json!({"driver": "ephemeral", "driver_options": [], "source": "tmpfs", "fstype": "tmpfs", "options": [], "mount_point": place, "fs_group": null, "shared": false}),
                );
            });
            attack("host block device", "storages", &|i| {
                push(
                    i,
                    "/storages",
                    json!({"driver": "blk", "driver_options": [], "source": "01/05", "fstype": "ext4", "options": [], "mount_point": "/run/x", "fs_group": null, "shared": false}),
                );
            });
            attack("join a host namespace", "namespaces", &|i| {
                push(
                    i,
                    "/OCI/Linux/Namespaces",
                    json!({"Type": "network", "Path": "/proc/1/ns/net"}),
                )
            });
            attack("user namespace", "namespaces", &|i| {
                push(
                    i,
                    "/OCI/Linux/Namespaces",
                    json!({"Type": "user", "Path": ""}),
                )
            });
            attack("guest hook", "hooks", &|i| {
                set(
                    i,
                    "/OCI/Hooks",
                    json!({"Prestart": [{"Path": "/bin/sh", "Args": [], "Env": [], "Timeout": 0}]}),
                )
            });
            attack("rootfs of another container", "root", &|i| {
                set(
                    i,
                    "/OCI/Root/Path",
                    "/run/kata-containers/shared/containers",
                )
            });
            attack("writable root", "root", &|i| {
                set(
                    i,
                    "/OCI/Root/Readonly",
                    !at(i, "/OCI/Root/Readonly").as_bool().unwrap_or(false),
                )
            });
            attack("short id", "id", &|i| {
                set(i, "/container_id", "init");
                set(i, "/exec_id", "init");
            });
            attack("climbing id", "id", &|i| {
                set(i, "/container_id", "../../x");
                set(i, "/exec_id", "../../x");
            });
            attack("id as a path of the state", "id", &|i| {
                set(i, "/container_id", "s/pod");
                set(i, "/exec_id", "s/pod");
            });
            attack("shared mount", "shared", &|i| {
                set(
                    i,
                    "/shared_mounts",
                    json!([{"name": "x", "src_ctr": "a", "src_path": "/", "dst_ctr": "b", "dst_path": "/x"}]),
                )
            });
            attack("passed stream", "ports", &|i| set(i, "/stdout_port", 1));
            attack("string user", "user", &|i| {
                set(
                    i,
                    "/string_user",
                    json!({"uid": "0", "gid": "0", "additionalGids": []}),
                )
            });
            attack("unmask", "paths", &|i| {
                set(i, "/OCI/Linux/MaskedPaths", json!([]))
            });
            attack("mask the application", "paths", &|i| {
                push(i, "/OCI/Linux/MaskedPaths", "/app")
            });
            attack("sysctl", "sysctl", &|i| {
                set(
                    i,
                    "/OCI/Linux/Sysctl",
                    json!({"net.ipv4.conf.all.route_localnet": "1"}),
                )
            });
        }
        "CreateSandboxRequest" => {
            attack("hooks", "guest", &|i| set(i, "/guest_hook_path", "/run/x"));
            attack("kernel module", "guest", &|i| {
                set(
                    i,
                    "/kernel_modules",
                    json!([{"name": "evil", "parameters": []}]),
                )
            });
            attack("no storages", "storages", &|i| {
                set(i, "/storages", json!([]))
            });
            attack("host share", "storages", &|i| {
                push(
                    i,
                    "/storages",
                    json!({"driver": "virtio-fs", "driver_options": [], "source": "kataShared", "fstype": "virtiofs", "options": [], "mount_point": "/run/kata-containers/shared/containers/", "fs_group": null, "shared": false}),
                )
            });
            attack("short id", "id", &|i| set(i, "/sandbox_id", "x"));
        }
        "UpdateInterfaceRequest" => {
            attack("loopback by name", "name", &|i| {
                set(i, "/interface/name", "lo")
            });
            attack("loopback by device", "name", &|i| {
                set(i, "/interface/device", "lo")
            });
            attack("loopback by address", "link", &|i| {
                set(i, "/interface/hwAddr", "00:00:00:00:00:00")
            });
            attack("loopback address", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "127.0.0.5")
            });
            attack("loopback address, version 6", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "0:0:0:0:0:0:0:1")
            });
            attack("mapped loopback address", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "::ffff:127.0.0.1")
            });
            attack("name as a path of the state", "name", &|i| {
                set(i, "/interface/name", "eth0/../../c")
            });
        }
        "UpdateRoutesRequest" => {
            attack("route to the loopback", "routes", &|i| {
                set(i, "/routes/Routes/0/dest", "127.0.0.0/8")
            });
            attack("route through the loopback", "routes", &|i| {
                set(i, "/routes/Routes/0/device", "lo")
            });
            attack("route from the loopback", "routes", &|i| {
                set(i, "/routes/Routes/0/source", "127.0.0.1")
            });
            attack("gateway on the loopback", "routes", &|i| {
                set(i, "/routes/Routes/0/gateway", "::1")
            });
        }
        "AddARPNeighborsRequest" => {
            attack("neighbour on the loopback", "neighbors", &|i| {
                set(i, "/neighbors/ARPNeighbors/0/device", "lo")
            });
            attack("loopback as neighbour", "neighbors", &|i| {
                set(
                    i,
                    "/neighbors/ARPNeighbors/0/toIPAddress/address",
                    "127.0.0.1",
                )
            });
        }
        "CopyFileRequest" => {
            attack("a file of the guest", "path", &|i| {
                set(i, "/path", "/run/kata-containers/x")
            });
            attack("a relative path", "path", &|i| {
                set(
                    i,
                    "/path",
                    at(i, "/path")
                        .as_str()
                        .unwrap_or("")
                        .replace("/run/kata-containers/shared/containers/", ""),
                )
            });
            attack("climb", "path", &|i| {
                set(
                    i,
                    "/path",
                    format!("{}/../../x", at(i, "/path").as_str().unwrap_or("")),
                )
            });
            attack("a name no mount uses", "path", &|i| {
                set(
                    i,
                    "/path",
                    format!(
                        "{}x",
                        at(i, "/path")
                            .as_str()
                            .unwrap_or("")
                            .split('/')
                            .take(6)
                            .collect::<Vec<_>>()
                            .join("/")
                    ),
                )
            });
            attack("setuid", "mode", &|i| {
                set(i, "/file_type", "Regular");
                set(i, "/file_mode", 0o104_755);
            });
            attack("absolute symbolic link", "type", &|i| {
                set(i, "/file_type", "Symlink");
                set(i, "/symlink_target", "/etc/shadow");
            });
            attack("climbing symbolic link", "type", &|i| {
                set(i, "/file_type", "Symlink");
                set(i, "/symlink_target", "../x");
            });
            attack("device", "type", &|i| set(i, "/file_type", "Unknown"));
            attack("fill the memory", "size", &|i| {
                set(i, "/file_size", 1_i64 << 40)
            });
            attack("negative offset", "size", &|i| set(i, "/offset", -1));
        }
        "ExecProcessRequest" => {
            attack("run a shell", "args", &|i| {
                set(i, "/process/Args", json!(["/bin/sh"]))
            });
            attack("preload a library", "env", &|i| {
                push(i, "/process/Env", "LD_PRELOAD=/x.so")
            });
            attack("terminal", "zero", &|i| set(i, "/process/Terminal", true));
            attack("as root", "user", &|i| set(i, "/process/User/UID", 4242));
            attack("with capabilities", "zero", &|i| {
                set(
                    i,
                    "/process/Capabilities",
                    json!({"Bounding": ["CAP_SYS_ADMIN"]}),
                )
            });
            attack("in the sandbox", "live", &|i| {
                set(i, "/container_id", "0".repeat(64))
            });
            attack("under the container's own id", "id", &|i| {
                set(i, "/exec_id", at(i, "/container_id").clone())
            });
        }
        "RemoveContainerRequest" => {
            attack("with a time limit", "timeout", &|i| set(i, "/timeout", 1));
            attack("a part of the state", "known", &|i| {
                set(i, "/container_id", "s/pod")
            });
        }
        "StartContainerRequest" => {
            attack("an unknown container", "current", &|i| {
                set(i, "/container_id", "0".repeat(64))
            });
        }
        _ => {}
    }
}

/// The member at a JSON pointer; null if there is none.
fn at(value: &Value, pointer: &str) -> Value {
    value.pointer(pointer).cloned().unwrap_or_default()
}

/// Replaces, or adds to an object, the member at a JSON pointer.
fn set(value: &mut Value, pointer: &str, new: impl Into<Value>) {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(key.to_owned(), new.into());
        }
        Some(parent) => {
            if let Some(place) = key.parse::<usize>().ok().and_then(|at| parent.get_mut(at)) {
                *place = new.into();
            }
        }
        None => {}
    }
}

/// Appends to the list at a JSON pointer.
fn push(value: &mut Value, pointer: &str, item: impl Into<Value>) {
    if let Some(items) = value.pointer_mut(pointer).and_then(Value::as_array_mut) {
        items.push(item.into());
    }
}
