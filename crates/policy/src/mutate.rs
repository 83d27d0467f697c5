//! Changes a hostile host could make to a request.
//!
//! The mutations are made from the request itself: every member of every object and list is
//! changed, removed and added to in turn, and after that come attacks with a name. A field that
//! a newer agent adds is therefore mutated without anyone thinking of it.

use serde_json::{Value, json};

use attacks::{at, attacks};

mod attacks;

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

impl Kind {
    /// The change, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fill => "something where nothing was",
            Self::Change => "another value",
            Self::Empty => "none",
            Self::Reverse => "other order",
            Self::Add => "an item more",
            Self::AddMember => "a member more",
            Self::RemoveMember => "a member less",
            Self::Repeat => "an item twice",
            Self::Remove => "an item less",
            Self::Attack => "an attack",
        }
    }
}

/// Fields whose change the rules let pass, with the reason: they limit or name, but cannot make
/// the guest do anything else. `.*` is everything below; where every change passes, that is included.
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
        "OCI.Process.User",
        ANY,
        "the agent takes the process of the sandbox from the measured guest",
    ),
    (CREATE, "OCI.Process.Env", &[Kind::Reverse], ORDER),
    (
        CREATE,
        "OCI.Process.Capabilities.*",
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
        &[Kind::Reverse],
        "the agent makes each type once",
    ),
    (
        CREATE,
        "OCI.Linux.MaskedPaths",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
    (
        CREATE,
        "OCI.Linux.ReadonlyPaths",
        &[Kind::Reverse, Kind::Repeat],
        ORDER,
    ),
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
        "the agent finds the device by its address on the bus",
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
        "OCI.Annotations.*",
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
    ("CopyFileRequest", "dir_mode", CHANGED, FILES),
    (
        "CopyFileRequest",
        "file_mode",
        CHANGED,
        "but for setuid and setgid",
    ),
    (
        "CopyFileRequest",
        "file_size",
        CHANGED,
        "up to the target's limit",
    ),
    ("CopyFileRequest", "gid", CHANGED, FILES),
    (
        "CopyFileRequest",
        "offset",
        CHANGED,
        "where in the file, up to its size",
    ),
    (
        "CopyFileRequest",
        "path",
        CHANGED,
        "another name below a declared mount",
    ),
    (
        "CopyFileRequest",
        "symlink_target",
        &[Kind::Change, Kind::Fill],
        "another place below the same mount; of a link only",
    ),
    ("CopyFileRequest", "uid", CHANGED, FILES),
    (LINK, "interface.IPAddresses", LISTED, NETWORK),
    (LINK, "interface.IPAddresses[].family", CHANGED, NETWORK),
    (LINK, "interface.IPAddresses[].mask", WRITTEN, NETWORK),
    (LINK, "interface.device", CHANGED, NETWORK),
    (LINK, "interface.devicePath", CHANGED, NETWORK),
    (LINK, "interface.mtu", CHANGED, NETWORK),
    (LINK, "interface.name", CHANGED, NETWORK),
    (LINK, "interface.type_", CHANGED, NETWORK),
    (ROUTE, "routes.Routes", LISTED, NETWORK),
    (ROUTE, "routes.Routes[].dest", WRITTEN, NETWORK),
    (ROUTE, "routes.Routes[].device", WRITTEN, NETWORK),
    (ROUTE, "routes.Routes[].family", CHANGED, NETWORK),
    (ROUTE, "routes.Routes[].flags", CHANGED, NETWORK),
    (ROUTE, "routes.Routes[].gateway", WRITTEN, NETWORK),
    (ROUTE, "routes.Routes[].mtu", CHANGED, NETWORK),
    (ROUTE, "routes.Routes[].scope", CHANGED, NETWORK),
    (ROUTE, "routes.Routes[].source", WRITTEN, NETWORK),
    (ARP, "neighbors.ARPNeighbors", LISTED, NETWORK),
    (ARP, "neighbors.ARPNeighbors[].device", WRITTEN, NETWORK),
    (ARP, "neighbors.ARPNeighbors[].lladdr", WRITTEN, NETWORK),
    (
        ARP,
        "neighbors.ARPNeighbors[].toIPAddress.address",
        WRITTEN,
        NETWORK,
    ),
    (
        ARP,
        "neighbors.ARPNeighbors[].toIPAddress.family",
        CHANGED,
        NETWORK,
    ),
    ("GuestDetailsRequest", "", ANY, "reads sizes"),
    ("GetOOMEventRequest", "", ANY, "reads events"),
    ("WaitProcessRequest", "", ANY, "waits"),
    ("StatsContainerRequest", "", ANY, "reads numbers"),
    ("ReadStreamRequest", "exec_id", ANY, STREAM),
    ("ReadStreamRequest", "len", ANY, STREAM),
    ("WriteStreamRequest", "exec_id", ANY, STREAM),
    ("WriteStreamRequest", "data", ANY, STREAM),
    ("CloseStdinRequest", "exec_id", ANY, STREAM),
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
const LINK: &str = "UpdateInterfaceRequest";
const ROUTE: &str = "UpdateRoutesRequest";
const ARP: &str = "AddARPNeighborsRequest";
const LIMITS: &str = "resource limits are the host's in any case";
const ORDER: &str = "order and repetition: it is a set";
const FILES: &str = "content, size and owner of copied files are the host's";
const NETWORK: &str = "the network is the host's, but for the loopback";
const STREAM: &str = "of a container whose streams the profile gives to the host";
/// Another value, where none is refused.
const CHANGED: &[Kind] = &[Kind::Change];
/// Another text or none.
const WRITTEN: &[Kind] = &[Kind::Change, Kind::Empty];
/// Other items of a list, each of which is looked at.
const LISTED: &[Kind] = &[Kind::Empty, Kind::Remove, Kind::Repeat, Kind::Reverse];
/// Whatever it is, and whatever is below.
pub(crate) const ANY: &[Kind] = &[
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
    let covers = |listed: &str, kinds: &[Kind]| {
        let all = (kinds.len() == ANY.len()).then_some(listed);
        let below = all.or(listed.strip_suffix(".*")).is_some_and(|prefix| {
            prefix.is_empty()
                || path
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with(['.', '[']))
        });
        path == listed || below
    };
    HARMLESS
        .iter()
        .find(|(m, prefix, kinds, _)| {
            (*m == message || (pause && *m == PAUSE))
                && kinds.contains(&mutation.kind)
                && covers(prefix, kinds)
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
            if !at.is_empty() {
                push(Kind::Empty, "take away", at, Value::Null);
            }
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
