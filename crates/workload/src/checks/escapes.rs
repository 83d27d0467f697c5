//! Containers that could get out of the mesh, or out of themselves.

use nacre_findings::{Finding, Severity, codes::workload as codes};
use serde_json::Value;

use crate::containers::Container;
use crate::object::{clean, list, text};

/// Capabilities with which a container leads the guest's kernel, or reads or changes other processes:
/// to it, mesh and attestation reports are open.
const POWERS: [&str; 8] = [
    "ALL",
    "BPF",
    "DAC_READ_SEARCH",
    "PERFMON",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_RAWIO",
];

/// Paths of the guest that lead out of a container that mounts them, or something above or below them.
///
/// Among them are links, and directories of links, that whoever mounts them follows: to its own open files, or
/// to devices by number.
pub const WAYS_OUT: [&str; 14] = [
    "/dev/block",
    "/dev/char",
    "/dev/core",
    "/dev/fd",
    "/dev/kmem",
    "/dev/mem",
    "/dev/port",
    "/dev/sev-guest",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/proc",
    "/sys/fs",
    "/sys/kernel",
];

/// The capabilities with which a container of this pod leaves itself, without `CAP_`.
pub fn powers(pod_spec: &Value) -> Vec<&'static str> {
    let mut powers = POWERS.to_vec();
    // Who sees another's process and may write into it has its rights.
    if set(pod_spec, "shareProcessNamespace") {
        powers.push("SYS_PTRACE");
    }
    powers
}

fn set(pod_spec: &Value, field: &str) -> bool {
    pod_spec.get(field).and_then(Value::as_bool) == Some(true)
}

/// Ways around the mesh's packet filter: whoever may change it, or stands beside it.
pub(super) fn escapes(pod_spec: &Value, spec_field: &str, users: &[Container<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut escape = |what: String, field: String| {
        findings.push(
            Finding::error(
                codes::MESH_ESCAPE,
                format!("{what} could take the mesh's rules away"),
            )
            .help("remove it, or remove the mesh annotations from this workload")
            .field(field),
        );
    };
    if set(pod_spec, "hostNetwork") {
        escape(
            "hostNetwork".to_owned(),
            format!("{spec_field}.hostNetwork"),
        );
    }
    let powers = powers(pod_spec);
    for container in users {
        for (index, mount) in list(container.value, "volumeMounts").iter().enumerate() {
            if let Some(path) = way_out(pod_spec, text(mount, "name")) {
                escape(
                    format!("{path} in container {:?}", container.name()),
                    container.field(spec_field, &format!("volumeMounts[{index}]")),
                );
            }
        }
        let Some(context) = container.value.get("securityContext") else {
            continue;
        };
        if set(context, "privileged") {
            let field = container.field(spec_field, "securityContext.privileged");
            escape(
                format!("the privileged container {:?}", container.name()),
                field,
            );
        }
        for (index, name) in capabilities(container, "add").enumerate() {
            if name == "NET_ADMIN" || powers.contains(&name.as_str()) {
                let field = format!("securityContext.capabilities.add[{index}]");
                escape(
                    format!("the capability {name} of container {:?}", container.name()),
                    container.field(spec_field, &field),
                );
            }
        }
    }
    findings
}

/// The path of the guest that a volume leads to, if it leads out of the container.
fn way_out(pod_spec: &Value, volume: Option<&str>) -> Option<String> {
    let volumes = list(pod_spec, "volumes").iter();
    let mut paths = volumes
        .filter(|v| text(v, "name") == volume)
        .filter_map(|v| Some(clean(text(v.get("hostPath")?, "path")?)));
    // Other paths than these are the node's, and their content is copied into the guest.
    let below = |path: &str, parent: &str| {
        path == parent
            || path
                .strip_prefix(parent)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    paths.find(|path| {
        ["/dev", "/proc", "/sys"].iter().any(|p| below(path, p))
            && WAYS_OUT
                .iter()
                .any(|out| below(path, out) || below(out, path))
    })
}

/// Capabilities of one list, in capitals, without `CAP_`.
fn capabilities<'a>(
    container: &Container<'a>,
    key: &str,
) -> impl Iterator<Item = String> + use<'a> {
    let capabilities = container
        .value
        .get("securityContext")
        .and_then(|context| context.get("capabilities"));
    let names = capabilities.map_or(&[][..], |c| list(c, key));
    names.iter().map(|name| {
        let name = name.as_str().unwrap_or_default().to_ascii_uppercase();
        name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
    })
}

/// A raw or packet socket sends around the filter for what leaves, which sees what the IP stack sends.
pub(super) fn raw_sockets(
    pod_spec: &Value,
    spec_field: &str,
    users: &[Container<'_>],
    strict: bool,
) -> Vec<Finding> {
    let setting = |container: &Container<'_>, key: &str| {
        let of = |value: &Value| value.get("securityContext")?.get(key).cloned();
        of(container.value).or_else(|| of(pod_spec))
    };
    let severity = match strict {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let free = users.iter().filter(|container| {
        let has =
            |key: &str| capabilities(container, key).any(|name| name == "NET_RAW" || name == "ALL");
        // A user without rights gets none by running something either.
        let user = setting(container, "runAsUser").and_then(|user| user.as_u64());
        let plain = user.is_some_and(|user| user != 0)
            && setting(container, "allowPrivilegeEscalation") == Some(Value::Bool(false));
        has("add") || !(has("drop") || plain)
    });
    free.map(|container| {
        Finding::new(
            codes::RAW_EGRESS,
            severity,
            format!(
                "container {:?} has NET_RAW: it can send around strict egress",
                container.name()
            ),
        )
        .help("drop it: securityContext.capabilities.drop: [NET_RAW], or [ALL]")
        .field(container.field(spec_field, "securityContext"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::mesh_pod;
    use super::super::tests::{codes_of, settings};
    use super::*;
    use crate::names::{INITIALIZER, SERVICE_MESH};

    #[test]
    fn nobody_else_may_touch_the_rules() {
        for (spec, field) in [
            (
                json!({"hostNetwork": true, "containers": []}),
                "spec.hostNetwork",
            ),
            (
                json!({"containers": [{"name": "a", "securityContext": {"privileged": true}}]}),
                "spec.containers[0].securityContext.privileged",
            ),
            (
                json!({"initContainers": [{"name": "a", "securityContext": {"capabilities": {"add": ["CHOWN", "cap_net_admin"]}}}]}),
                "spec.initContainers[0].securityContext.capabilities.add[1]",
            ),
            (
                json!({"shareProcessNamespace": true, "containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}]}),
                "spec.containers[0].securityContext.capabilities.add[0]",
            ),
        ] {
            assert_eq!(
                codes_of(&spec, &settings("", None)),
                [(codes::MESH_ESCAPE, field.to_owned())]
            );
        }
        let with = |name: &str| json!({"initContainers": [{"name": name, "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]});
        assert_eq!(codes_of(&with(SERVICE_MESH), &settings("", None)), []);
        // A name of ours alone makes nobody ours.
        let field = "spec.initContainers[0].securityContext.capabilities.add[0]".to_owned();
        assert_eq!(
            codes_of(&with(INITIALIZER), &settings("", None)),
            [(codes::MESH_ESCAPE, field)]
        );
    }

    #[test]
    fn every_power_over_the_guest_is_an_escape() {
        for power in POWERS.into_iter().chain(["NET_ADMIN"]) {
            let spec = json!({"containers": [{"name": "a", "securityContext": {"capabilities": {"add": [power]}}}]});
            let field = "spec.containers[0].securityContext.capabilities.add[0]".to_owned();
            assert_eq!(
                codes_of(&spec, &settings("", None)),
                [(codes::MESH_ESCAPE, field)]
            );
        }
        for power in ["CHOWN", "NET_RAW", "SYS_PTRACE"] {
            let spec = json!({"containers": [{"name": "a", "securityContext": {"capabilities": {"add": [power]}}}]});
            assert_eq!(codes_of(&spec, &settings("", None)), [], "{power}");
        }
    }

    #[test]
    fn paths_of_the_guest_that_lead_out() {
        for (path, hit) in [
            ("/proc", true),
            ("/proc/1/cwd/", true),
            ("/proc/1/root", true),
            ("/proc/self/fd/3", true),
            ("/proc/7/task/7/root/dev", true),
            ("/dev/fd/3", true),
            ("/dev/stdin", true),
            ("/dev/char/10:125", true),
            ("//proc", true),
            ("/dev/./sev-guest", true),
            ("/dev", true),
            ("/dev/mem", true),
            ("/sys", true),
            ("/sys/kernel/config/tsm", true),
            ("/sys/fs/cgroup", true),
            ("/dev/fuse", false),
            ("/sys/class/net", false),
            // The node's: its content is copied.
            ("/", false),
            ("/processes", false),
        ] {
            let spec = json!({
                "volumes": [{"name": "v", "hostPath": {"path": path}}],
                "containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/x"}]}, {"name": "b"}],
            });
            let field = "spec.containers[0].volumeMounts[0]".to_owned();
            let expected = hit.then_some((codes::MESH_ESCAPE, field));
            let found = codes_of(&spec, &settings("", None));
            assert_eq!(found, Vec::from_iter(expected), "{path}");
        }
    }

    #[test]
    fn strict_egress_leaves_no_raw_socket() {
        let mut strict = settings("", None);
        strict.strict_egress = true;
        let context =
            |context: Value| json!({"containers": [{"name": "a", "securityContext": context}]});
        let field = "spec.containers[0].securityContext".to_owned();
        let hit = [(codes::RAW_EGRESS, field)];
        for open in [
            json!({}),
            json!({"capabilities": {"drop": ["CHOWN"]}}),
            json!({"capabilities": {"drop": ["ALL"], "add": ["CAP_NET_RAW"]}}),
            json!({"runAsUser": 1000}),
            json!({"runAsUser": 0, "allowPrivilegeEscalation": false}),
        ] {
            let spec = context(open);
            assert_eq!(codes_of(&spec, &strict), hit, "{spec}");
            assert_eq!(codes_of(&spec, &settings("", None)), []);
        }
        for closed in [
            json!({"capabilities": {"drop": ["cap_net_raw"]}}),
            json!({"capabilities": {"drop": ["ALL"]}}),
            json!({"runAsUser": 1000, "allowPrivilegeEscalation": false}),
        ] {
            let spec = context(closed);
            assert_eq!(codes_of(&spec, &strict), [], "{spec}");
        }
        let severity = |demanded: bool| {
            let findings = mesh_pod(&context(json!({})), "spec", &strict, &[], demanded);
            findings[0].severity
        };
        assert_eq!(severity(false), Severity::Warning);
        assert_eq!(severity(true), Severity::Error);
    }
}
