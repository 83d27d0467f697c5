//! What a policy pins, what it leaves open and why that matters, for people.
//!
//! Everything is read from the policy's data, nothing from what was asked for when it was made.

use serde_json::{Value, json};

use crate::generate::Policy;
use crate::mounts::TERMINATION;
use crate::process::{ALL_CAPS, DEFAULT_CAPS};
use crate::view::{Container, Content, Variable, View, is_any, is_shape, word};

/// How much of a workload is in the host's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Nothing beyond what no policy reaches.
    Low,
    /// Some values are the host's to choose.
    Medium,
    /// The host reads output, chooses secrets' values, or a container has wide powers.
    High,
    /// The host can run commands.
    Critical,
}

impl Risk {
    /// Every risk, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name on the command line and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Risk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Risk {
    type Err = UnknownRisk;

    fn from_str(text: &str) -> Result<Self, UnknownRisk> {
        let found = Self::ALL.into_iter().find(|risk| risk.as_str() == text);
        found.ok_or(UnknownRisk)
    }
}

/// Not the name of a risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("low, medium, high or critical")]
pub struct UnknownRisk;

/// Something the host can do or choose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Open {
    /// How bad that is.
    pub risk: Risk,
    /// The container; `None` for the pod.
    pub container: Option<String>,
    /// What it is.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
}

/// What no policy reaches, with a word on what to do; `SECURITY.md` lists the same.
pub const BEYOND: &[(&str, &str)] = &[
    (
        "Content written by the host",
        "ConfigMaps, Secrets, projected and downward API volumes, hostPath, network and persistent \
         volumes, `/etc/hosts`, `/etc/resolv.conf`, the service account's token: keep what must be \
         trusted in the image, in the pod specification, or in what is handed out after attestation",
    ),
    (
        "Values of Secrets in environment variables",
        "bound by name only: use attested workload secrets",
    ),
    (
        "Effects",
        "the order of requests is enforced, not whether a container ran, ended well or at all: use \
         the start gate",
    ),
    (
        "Number of runs",
        "the policy's state ends with the virtual machine, and the host can boot any number: make \
         jobs safe to repeat",
    ),
    (
        "Commands of probes and hooks, init containers, signals",
        "when and how often is the host's to choose: make them safe to repeat",
    ),
    (
        "No-new-privileges of probes and hooks",
        "Kata does not set it for them: keep setuid programs out of the image",
    ),
    (
        "Liveness",
        "the host can refuse, stop, starve or delay anything, and controls the clock",
    ),
    (
        "Image bytes",
        "the policy names a digest, the puller in the measured guest checks it",
    ),
    (
        "The network",
        "beyond the guest's loopback it is the host's, and so are DNS answers: authenticate peers",
    ),
    (
        "Values the cluster decides",
        "addresses, the node's name, resource limits and pod names are of a shape only, and the \
         pod's UID is whatever the host calls it",
    ),
    (
        "Resource limits, device choice and terminal size",
        "the host decides how much there is, and which disk stands behind a device",
    ),
    (
        "Measurements",
        "the host reads the guest's statistics, memory use and events of each container",
    ),
    (
        "Confidentiality of the policy itself",
        "the host reads it and every denial line: no secret is in either",
    ),
    (
        "Guests that do not enforce it",
        "`HOST_DATA` names a policy; that the guest runs no other one is a property of the measured \
         guest image",
    ),
    (
        "Layers as dm-verity devices",
        "a platform that delivers images so is refused",
    ),
    (
        "The program itself",
        "a policy lets the pod do what its YAML says; a program that obeys its network input obeys \
         the host's",
    ),
];

/// Capabilities with which a container gets at the guest's kernel or at other containers.
const WIDE: &[&str] = &[
    "BPF",
    "DAC_READ_SEARCH",
    "PERFMON",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RAWIO",
];

/// What a policy leaves open, the worst first. `ours` says which containers the transformation
/// injected, or that the workload is the Coordinator: their output may be read.
pub fn open(policy: &Policy, ours: &dyn Fn(&str) -> bool) -> Vec<Open> {
    let mut out = Vec::new();
    let view = View::of(policy);
    if view.shares_processes() {
        out.push(Open {
            risk: Risk::Low,
            container: None,
            what: "one process namespace".to_owned(),
            why: "containers of the pod see and can signal each other's processes",
        });
    }
    for container in view.containers() {
        open_of(container, ours(container.name), &mut out);
    }
    out.sort_by_key(|open| std::cmp::Reverse(open.risk));
    out
}

fn open_of(container: Container<'_>, ours: bool, out: &mut Vec<Open>) {
    let mut push = |risk, what: String, why| {
        out.push(Open {
            risk,
            container: Some(container.name.to_owned()),
            what,
            why,
        });
    };
    if container.debug() {
        push(
            Risk::Critical,
            "any command".to_owned(),
            "the host runs what it likes with the container's user, files and variables",
        );
    }
    if container.stdin() {
        push(
            Risk::Critical,
            "its input".to_owned(),
            "the host writes to the program's standard input",
        );
    }
    if container.logs() {
        let (risk, why) = match ours {
            true => (Risk::Low, "one of our own containers; it prints no secrets"),
            false => (Risk::High, "the host reads what the program prints"),
        };
        push(risk, "its output".to_owned(), why);
    }
    for (name, variable) in container.variables() {
        match variable {
            Variable::Anything => push(
                Risk::High,
                format!("variable `{name}` has any value"),
                "it comes from a Secret: the host chooses it and reads the true one",
            ),
            Variable::Shape => push(
                Risk::Medium,
                format!("variable `{name}` matches a pattern"),
                "the cluster decides the value when the pod starts",
            ),
            Variable::Optional if !name.starts_with("KUBERNETES_") => push(
                Risk::Medium,
                format!("variable `{name}` of a Service"),
                "the host chooses the address in it",
            ),
            _ => {}
        }
    }
    if container.args().iter().any(is_any) {
        push(
            Risk::Critical,
            "a part of its command line".to_owned(),
            "it comes from a Secret: the host chooses it",
        );
    }
    let patterns = container
        .args()
        .iter()
        .filter(|arg| is_shape(arg) && !is_any(arg))
        .count();
    if patterns > 0 {
        push(
            Risk::Medium,
            format!("arguments that match a pattern: {patterns}"),
            "the cluster decides a part of the command when the pod starts",
        );
    }
    for (destination, mount) in container.mounts() {
        match mount.content {
            Content::Host if mount.own && destination != TERMINATION => push(
                Risk::Medium,
                format!("content of `{destination}`"),
                "the host writes these files and can change them at any time",
            ),
            Content::Block => push(
                Risk::Medium,
                format!("content of `{destination}`, a block device"),
                "the host chooses the device, and can read and change what is not encrypted",
            ),
            Content::Guest(source) if mount.own && is_kernel(source) => push(
                Risk::Low,
                format!("`{source}` of the guest at `{destination}`"),
                "the container reaches a part of the guest's kernel",
            ),
            _ => {}
        }
    }
    for device in container.devices() {
        push(
            Risk::Medium,
            format!("what stands behind the device `{device}`"),
            "the host chooses the disk, and can read and change what is not encrypted",
        );
    }
    if container.process("nnp") == Some(&Value::Bool(true)) && !container.commands().is_empty() {
        push(
            Risk::Low,
            "no-new-privileges of its probes and hooks".to_owned(),
            "Kata does not set it for them: a setuid program in the image gives such a command its owner's rights",
        );
    }
    let caps = container.capabilities();
    if container.is_unmasked() || caps.len() > 30 {
        push(
            Risk::High,
            "all capabilities".to_owned(),
            "the container is privileged in the guest",
        );
    } else {
        for capability in caps.iter().filter(|c| WIDE.contains(&c.as_str())) {
            push(
                Risk::High,
                format!("capability {capability}"),
                "the container gets at the guest's kernel or at other containers",
            );
        }
    }
}

/// The highest risk among open points.
pub fn risk(open: &[Open]) -> Risk {
    open.iter().map(|open| open.risk).max().unwrap_or(Risk::Low)
}

/// Markdown of one workload. `title` names it.
pub fn markdown(title: &str, policy: &Policy, ours: &dyn Fn(&str) -> bool) -> String {
    let open = open(policy, ours);
    let view = View::of(policy);
    let mut out = format!(
        "## {title}\n\nRisk: **{}** · profile `{}` · rules `{}` · target `{}`\n\n### Pinned\n\n",
        risk(&open),
        policy.profile(ours),
        policy.rules(),
        view.target(),
    );
    out.push_str(&format!(
        "Namespace `{}`, pod name `{}`, containers in this order, each at most once at a time:\n\n",
        view.namespace(),
        cell(view.pod_name().trim_matches(['^', '$'])),
    ));
    out.push_str(
        "| Container | Image | Command | User | Capabilities | Root | Variables | Mounts |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for container in view.containers() {
        let words: Vec<_> = container.args().iter().map(word).collect();
        let user = user(container);
        let id = |at: usize| user.get(at).map(ToString::to_string).unwrap_or_default();
        let exact = |v: &Variable<'_>| matches!(v, Variable::Exact(_));
        out.push_str(&format!(
            "| `{}` | `{}` | `{}` | {}:{} | {} | {} | {} exact | {} |\n",
            container.name,
            container.digest().get(..19).unwrap_or(container.digest()),
            cell(&words.join(" ")),
            id(0),
            id(1),
            powers(container),
            if container.read_only_root() {
                "read-only"
            } else {
                "writable"
            },
            container.variables().values().filter(|v| exact(v)).count(),
            container
                .mounts()
                .values()
                .filter(|mount| mount.own)
                .count(),
        ));
    }
    out.push_str("\n### Not pinned, and why that matters\n\n");
    if open.is_empty() {
        out.push_str("Nothing beyond what no policy reaches.\n");
    }
    for open in open {
        let whose = open
            .container
            .map(|c| format!("`{c}`: "))
            .unwrap_or_default();
        out.push_str(&format!(
            "- **{}** {whose}{}: {}.\n",
            open.risk, open.what, open.why
        ));
    }
    out.push_str("\n### Allowed while it runs\n\n");
    for container in view.containers() {
        let what = at_run_time(container);
        let what = if what.is_empty() {
            "nothing".to_owned()
        } else {
            what.join("; ")
        };
        out.push_str(&format!("- `{}`: {what}.\n", container.name));
    }
    out.push_str(
        "- All: stop and remove, statistics, window size of a terminal; network set-up but for the \
         loopback; files of the declared mounts.\n",
    );
    out
}

/// The same, for programs.
pub fn json(policy: &Policy, ours: &dyn Fn(&str) -> bool) -> Value {
    let open = open(policy, ours);
    let view = View::of(policy);
    let containers = view.containers();
    let containers = containers.into_iter().map(|container| {
        let exact = |v: &Variable<'_>| matches!(v, Variable::Exact(_));
        let own = container.mounts();
        let own = own.iter().filter(|(_, mount)| mount.own);
        json!({
            "name": container.name,
            "image": container.digest(),
            "args": container.args(),
            "user": user(container),
            "groups": container.process("user").and_then(|user| user.get(2)),
            "workingDirectory": container.process("cwd"),
            "capabilities": container.capabilities(),
            "noNewPrivileges": container.process("nnp"),
            "readOnlyRoot": container.read_only_root(),
            "variables": container.variables().values().filter(|v| exact(v)).count(),
            "mounts": own.map(|(destination, _)| destination).collect::<Vec<_>>(),
            "allowed": at_run_time(container),
        })
    });
    json!({
        "risk": risk(&open).as_str(),
        "profile": policy.profile(ours).as_str(),
        "rules": policy.rules(),
        "target": view.target(),
        "namespace": view.namespace(),
        "pod": view.pod_name(),
        "containers": containers.collect::<Vec<_>>(),
        "open": open.iter().map(|open| json!({
            "risk": open.risk.as_str(),
            "container": open.container,
            "what": open.what,
            "why": open.why,
        })).collect::<Vec<_>>(),
    })
}

/// What no policy reaches, as Markdown.
pub fn beyond() -> String {
    let mut out = String::from("## Beyond any policy\n\n");
    for (title, text) in BEYOND {
        out.push_str(&format!("- **{title}**: {text}.\n"));
    }
    out
}

/// User and group.
fn user(container: Container<'_>) -> Vec<Value> {
    let user = container.process("user").and_then(Value::as_array);
    user.into_iter().flatten().take(2).cloned().collect()
}

/// Capabilities in a word.
fn powers(container: Container<'_>) -> String {
    let caps = container.capabilities();
    if caps.is_empty() {
        "none".to_owned()
    } else if caps.iter().eq(DEFAULT_CAPS) {
        "default".to_owned()
    } else if caps.iter().eq(ALL_CAPS) {
        "all".to_owned()
    } else {
        caps.into_iter()
            .collect::<Vec<_>>()
            .join(" ")
            .to_ascii_lowercase()
    }
}

/// What the host may do with a container beyond starting and stopping it.
fn at_run_time(container: Container<'_>) -> Vec<String> {
    let mut out = Vec::new();
    if container.debug() {
        out.push("any command".to_owned());
    }
    for command in container.commands() {
        let words: Vec<_> = command.as_array().into_iter().flatten().map(word).collect();
        out.push(format!("run `{}`", cell(&words.join(" "))));
    }
    if container.logs() {
        out.push("read its output".to_owned());
    }
    if container.stdin() {
        out.push("write to its input".to_owned());
    }
    out
}

fn is_kernel(source: &str) -> bool {
    ["/dev", "/sys", "/proc"].iter().any(|top| {
        source
            .strip_prefix(top)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Fit for a cell of a table.
fn cell(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| {
            if c.is_control() || "|`".contains(c) {
                ' '
            } else {
                c
            }
        })
        .collect();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("")),
        None => text,
    }
}
