//! What runs in a container, as whom and with which powers: the pod's word over the image's.

use std::collections::BTreeSet;

use nacre_findings::codes::policy as codes;
use nacre_imagelock::{Entry, ResolvedUser, UserError, UserRequest};
use serde_json::{Value, json};

use crate::env::Env;
use crate::input::WorkloadInput;
use crate::notes::Notes;
use crate::pod::{self, flag, security, text};
use crate::value::{Rule, Text};

/// Default capabilities (containerd `oci.defaultUnixCaps`), sorted, without prefix.
pub(crate) const DEFAULT_CAPS: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Every capability of Linux 5.9 and later (`capability.h` up to `CHECKPOINT_RESTORE`), sorted.
pub(crate) const ALL_CAPS: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Paths hidden in a container that is not privileged (containerd `oci.populateDefaultUnixSpec`).
pub(crate) const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

/// Paths it cannot write to.
pub(crate) const READONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Capabilities as the data have them.
pub(crate) fn join(caps: &BTreeSet<&str>) -> String {
    caps.iter().copied().collect::<Vec<_>>().join(" ")
}

/// Why a user cannot be told.
pub(crate) enum UserProblem {
    /// A field of a security context is no id.
    Field(&'static str),
    /// The image's facts do not resolve it.
    Image(UserError),
}

/// Who a container runs as: the pod's security context over the image's `USER`.
pub(crate) fn resolve_user(
    input: &WorkloadInput<'_>,
    container: &Value,
    entry: &Entry,
) -> Result<ResolvedUser, UserProblem> {
    let spec = input.pod_spec;
    let narrow = |value: &Value, key| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or(UserProblem::Field(key))
    };
    let id = |key| {
        security(spec, container, key)
            .map(|value| narrow(value, key))
            .transpose()
    };
    let pod = |key| security(spec, &Value::Null, key);
    let mut groups = Vec::new();
    for group in pod("supplementalGroups")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        groups.push(narrow(group, "supplementalGroups")?);
    }
    if let Some(group) = pod("fsGroup") {
        groups.push(narrow(group, "fsGroup")?);
    }
    let request = UserRequest {
        run_as_user: id("runAsUser")?,
        run_as_group: id("runAsGroup")?,
        supplemental_groups: groups,
        strict_groups: pod("supplementalGroupsPolicy").and_then(Value::as_str) == Some("Strict"),
    };
    entry.resolve_user(&request).map_err(UserProblem::Image)
}

/// Command and arguments: the pod's over the image's, expanded.
pub(crate) fn command(container: &Value, entry: Option<&Entry>, env: &Env) -> Vec<Text> {
    let expand = |items: Vec<String>| -> Vec<Text> {
        items
            .iter()
            .map(|item| Text::expand(item, &env.expansion))
            .collect()
    };
    let literal = |items: &[String]| -> Vec<Text> { items.iter().map(Text::literal).collect() };
    let (command, args) = (
        pod::texts(container, "command"),
        pod::texts(container, "args"),
    );
    let (entrypoint, cmd) = entry.map_or((&[][..], &[][..]), |e| {
        (&e.config.entrypoint[..], &e.config.cmd[..])
    });
    match (command.is_empty(), args.is_empty()) {
        (true, true) => [literal(entrypoint), literal(cmd)].concat(),
        (true, false) => [literal(entrypoint), expand(args)].concat(),
        (false, true) => expand(command),
        (false, false) => [expand(command), expand(args)].concat(),
    }
}

/// Arguments for the rules: texts, and rules where there are gaps.
pub(crate) fn arguments(command: &[Text]) -> Vec<Value> {
    command
        .iter()
        .map(|arg| match arg.rule() {
            Rule::Exact(text) => text.into(),
            Rule::Rule(rule) => json!({"is": rule}),
        })
        .collect()
}

/// Commands that probes and lifecycle hooks run in the container; the kubelet does not expand
/// them.
pub(crate) fn exec_probes(container: &Value) -> Vec<Vec<String>> {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"]
        .iter()
        .filter_map(|key| container.get(key));
    let hooks = ["postStart", "preStop"]
        .iter()
        .filter_map(|key| container.get("lifecycle").and_then(|l| l.get(key)));
    let mut out: Vec<Vec<String>> = Vec::new();
    for handler in probes.chain(hooks) {
        if let Some(exec) = handler.get("exec") {
            let command = pod::texts(exec, "command");
            if !command.is_empty() && !out.contains(&command) {
                out.push(command);
            }
        }
    }
    out
}

/// The working directory: the pod's, else the image's, else `/`.
pub(crate) fn working_dir(container: &Value, entry: Option<&Entry>) -> String {
    let own = text(container, "workingDir").filter(|dir| !dir.is_empty());
    let image = entry
        .map(|e| e.config.working_dir.as_str())
        .filter(|dir| !dir.is_empty());
    own.or(image).unwrap_or("/").to_owned()
}

/// containerd: privileged means all; otherwise the default set, plus `add`, minus `drop`.
pub(crate) fn capabilities<'a>(
    container: &'a Value,
    privileged: bool,
    at: &str,
    notes: &mut Notes,
) -> BTreeSet<&'static str> {
    if privileged {
        return ALL_CAPS.iter().copied().collect();
    }
    let caps: &'a Value = container
        .get("securityContext")
        .and_then(|s| s.get("capabilities"))
        .unwrap_or(&Value::Null);
    let mut set: BTreeSet<&'static str> = DEFAULT_CAPS.iter().copied().collect();
    let mut named = |key: &str| {
        let mut out = Vec::new();
        for (index, name) in pod::texts(caps, key).iter().enumerate() {
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            match ALL_CAPS.iter().find(|known| **known == bare) {
                Some(known) => out.push(*known),
                None if bare == "ALL" => out.extend(ALL_CAPS),
                None => notes.error(
                    codes::UNSUPPORTED_FIELD,
                    &format!("{at}.securityContext.capabilities.{key}[{index}]"),
                    format!("no capability {name:?} is known"),
                ),
            }
        }
        out
    };
    // `ALL` on either side is applied first (`customopts.WithCapabilities`).
    let (add, drop) = (named("add"), named("drop"));
    let all = |key: &str| {
        pod::texts(caps, key)
            .iter()
            .any(|c| c.eq_ignore_ascii_case("ALL"))
    };
    if all("add") {
        set.extend(ALL_CAPS);
    }
    if all("drop") {
        set.clear();
    }
    if !all("add") {
        set.extend(add);
    }
    if !all("drop") {
        set.retain(|cap| !drop.contains(cap));
    }
    set
}

/// `allowPrivilegeEscalation`, `true` where nothing is said, and always if privileged.
pub(crate) fn allows_escalation(container: &Value, privileged: bool) -> bool {
    let said = container
        .get("securityContext")
        .and_then(|s| flag(s, "allowPrivilegeEscalation"));
    said.unwrap_or(true) || privileged
}

pub(crate) fn flag_of(container: &Value, key: &str) -> bool {
    container.get("securityContext").and_then(|s| flag(s, key)) == Some(true)
}
