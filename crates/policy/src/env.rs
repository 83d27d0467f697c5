//! The environment of a container, as kubelet and containerd put it together.

use std::collections::BTreeMap;

use nacre_findings::codes::policy as codes;
use nacre_imagelock::Entry;
use serde_json::Value;

use crate::input::{ServiceRef, WorkloadInput};
use crate::notes::Notes;
use crate::pod::{self, flag, list, text};
use crate::quantity;
use crate::value::{Free, Text};

/// What containerd gives a container whose image has no `PATH` (`oci.defaultUnixEnv`).
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an Indexed Job tells its pods.
const COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";
/// The label and annotation with the same.
const COMPLETION_INDEX_KEY: &str = "batch.kubernetes.io/job-completion-index";

/// The variables of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Env {
    /// Always present.
    pub(crate) set: BTreeMap<String, Text>,
    /// Present if the runtime sets it, or the cluster has the Service.
    pub(crate) optional: BTreeMap<String, Text>,
    /// What `$(VAR)` in command and arguments sees.
    pub(crate) expansion: BTreeMap<String, Text>,
}

/// Works out a container's environment; problems become findings below `at`.
pub(crate) fn env(
    input: &WorkloadInput<'_>,
    container: &Value,
    at: &str,
    entry: Option<&Entry>,
    notes: &mut Notes,
) -> Env {
    let services = service_variables(input);
    let mut own = BTreeMap::new();
    for (index, from) in list(container, "envFrom").iter().enumerate() {
        env_from(
            input,
            from,
            &format!("{at}.envFrom[{index}]"),
            &mut own,
            notes,
        );
    }
    for (index, item) in list(container, "env").iter().enumerate() {
        let at = format!("{at}.env[{index}]");
        let Some(name) = text(item, "name") else {
            notes.error(
                codes::INVALID_POD,
                &at,
                "an environment variable has no name",
            );
            continue;
        };
        if let Some(value) = variable(input, container, item, &at, &own, &services, notes) {
            own.insert(name.to_owned(), value);
        }
    }

    // The job controller puts it behind the pod's own variables (`addCompletionIndexEnvVariable`).
    let named = list(container, "env")
        .iter()
        .any(|item| text(item, "name") == Some(COMPLETION_INDEX));
    if input.indexed && !named {
        own.insert(COMPLETION_INDEX.to_owned(), Text::free(Free::Index));
    }

    // containerd: its own defaults, the image's, the pod's; a later one replaces an earlier one.
    let mut set = BTreeMap::from([("PATH".to_owned(), Text::literal(DEFAULT_PATH))]);
    if flag(container, "tty") == Some(true) {
        set.insert("TERM".to_owned(), Text::literal("xterm"));
    }
    for pair in entry.map_or(&[][..], |e| &e.config.env) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        set.insert(name.to_owned(), Text::literal(value));
    }
    let mut optional = BTreeMap::new();
    if !set.contains_key("HOSTNAME") && !own.contains_key("HOSTNAME") {
        optional.insert("HOSTNAME".to_owned(), Text::free(Free::Hostname));
    }
    for (name, value) in &services {
        // A variable of the pod's own wins over a Service's.
        if !own.contains_key(name) {
            set.remove(name);
            optional.insert(name.clone(), value.clone());
        }
    }
    let mut expansion = services;
    expansion.extend(own.clone());
    set.extend(own);
    Env {
        set,
        optional,
        expansion,
    }
}

fn env_from(
    input: &WorkloadInput<'_>,
    from: &Value,
    at: &str,
    own: &mut BTreeMap<String, Text>,
    notes: &mut Notes,
) {
    let prefix = text(from, "prefix").unwrap_or("");
    if let Some(reference) = from.get("configMapRef") {
        let name = text(reference, "name").unwrap_or("");
        match (input.config_maps)(name) {
            Some(map) => {
                for (key, value) in map
                    .get("data")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                {
                    let name = format!("{prefix}{key}");
                    if is_variable(&name)
                        && let Some(value) = value.as_str()
                    {
                        own.insert(name, Text::literal(value));
                    }
                }
            }
            None => missing(reference, &format!("ConfigMap {name:?}"), at, notes),
        }
    } else if let Some(reference) = from.get("secretRef") {
        let name = text(reference, "name").unwrap_or("");
        match (input.secret_keys)(name) {
            Some(keys) => {
                for key in keys {
                    let variable = format!("{prefix}{key}");
                    if is_variable(&variable) {
                        secret(input, &variable, at, notes);
                        own.insert(variable, Text::free(Free::Anything));
                    }
                }
            }
            None => missing(reference, &format!("Secret {name:?}"), at, notes),
        }
    } else {
        notes.error(codes::INVALID_POD, at, "neither configMapRef nor secretRef");
    }
}

fn variable(
    input: &WorkloadInput<'_>,
    container: &Value,
    item: &Value,
    at: &str,
    own: &BTreeMap<String, Text>,
    services: &BTreeMap<String, Text>,
    notes: &mut Notes,
) -> Option<Text> {
    let name = text(item, "name").unwrap_or("");
    let Some(source) = item.get("valueFrom").filter(|v| !v.is_null()) else {
        let mut known = services.clone();
        known.extend(own.clone());
        let value = match item.get("value") {
            None | Some(Value::Null) => "",
            Some(Value::String(text)) => text,
            Some(_) => {
                notes.error(
                    codes::INVALID_POD,
                    &format!("{at}.value"),
                    "a text is expected",
                );
                return None;
            }
        };
        let value = Text::expand(value, &known);
        if value.holds_secret() {
            secret(input, name, &format!("{at}.value"), notes);
        }
        return Some(value);
    };
    if let Some(reference) = source.get("configMapKeyRef") {
        let (map, key) = (
            text(reference, "name").unwrap_or(""),
            text(reference, "key").unwrap_or(""),
        );
        let at = format!("{at}.valueFrom.configMapKeyRef");
        let found = (input.config_maps)(map);
        let value = found.and_then(|m| m.get("data")?.get(key)?.as_str());
        return match value {
            Some(value) => Some(Text::literal(value)),
            None => {
                let what = match found {
                    Some(_) => format!("key {key:?} of ConfigMap {map:?}"),
                    None => format!("ConfigMap {map:?}"),
                };
                missing(reference, &what, &at, notes);
                None
            }
        };
    }
    if let Some(reference) = source.get("secretKeyRef") {
        let at = format!("{at}.valueFrom.secretKeyRef");
        let (object, key) = (
            text(reference, "name").unwrap_or(""),
            text(reference, "key").unwrap_or(""),
        );
        if flag(reference, "optional") == Some(true) {
            let known =
                (input.secret_keys)(object).is_some_and(|keys| keys.iter().any(|k| k == key));
            if !known {
                missing(
                    reference,
                    &format!("key {key:?} of Secret {object:?}"),
                    &at,
                    notes,
                );
                return None;
            }
        }
        secret(input, name, &at, notes);
        return Some(Text::free(Free::Anything));
    }
    if let Some(reference) = source.get("fieldRef") {
        return field(input, reference, &format!("{at}.valueFrom.fieldRef"), notes);
    }
    if let Some(reference) = source.get("resourceFieldRef") {
        let of = match text(reference, "containerName").filter(|name| !name.is_empty()) {
            Some(name) => pod::containers(input.pod_spec)
                .into_iter()
                .map(|(_, _, container)| container)
                .find(|container| text(container, "name") == Some(name)),
            None => Some(container),
        };
        if let Some(value) = of.and_then(|container| quantity::variable(container, reference)) {
            return Some(Text::literal(value));
        }
        let at = format!("{at}.valueFrom.resourceFieldRef");
        notes.info(
            codes::UNPINNED_VALUE,
            &at,
            format!("any number passes for {name}"),
        );
        return Some(Text::free(Free::Number));
    }
    notes.error(
        codes::UNSUPPORTED_FIELD,
        &format!("{at}.valueFrom"),
        "none of configMapKeyRef, fieldRef, resourceFieldRef and secretKeyRef",
    );
    None
}

/// `fieldRef` paths of Kubernetes 1.34 for variables.
fn field(
    input: &WorkloadInput<'_>,
    reference: &Value,
    at: &str,
    notes: &mut Notes,
) -> Option<Text> {
    let path = text(reference, "fieldPath").unwrap_or("");
    let free = |notes: &mut Notes, free, what: &str| {
        notes.info(
            codes::UNPINNED_VALUE,
            at,
            format!("{what} is known to the cluster only"),
        );
        Some(Text::free(free))
    };
    match path {
        "metadata.name" => return Some(Text::free(Free::PodName)),
        "metadata.uid" => return Some(Text::free(Free::PodUid)),
        "metadata.namespace" => return Some(Text::literal(input.namespace())),
        "spec.serviceAccountName" => {
            return Some(Text::literal(pod::service_account(input.pod_spec)));
        }
        "spec.nodeName" => return free(notes, Free::NodeName, "the node's name"),
        "status.hostIP" | "status.hostIPs" => {
            return free(notes, Free::HostIp, "the node's address");
        }
        "status.podIP" => return Some(Text::free(Free::PodIp)),
        "status.podIPs" => return free(notes, Free::PodIps, "the list of addresses"),
        _ => {}
    }
    for (kind, prefix) in [
        ("labels", "metadata.labels['"),
        ("annotations", "metadata.annotations['"),
    ] {
        if let Some(key) = path
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix("']"))
        {
            let value = input.pod_metadata.get(kind).and_then(|m| m.get(key));
            return match value.and_then(Value::as_str) {
                _ if input.indexed && key == COMPLETION_INDEX_KEY => {
                    free(notes, Free::Index, "the index of the pod")
                }
                Some(value) => Some(Text::literal(value)),
                None if added_later(input.kind, key) => {
                    notes.error(
                        codes::UNSUPPORTED_FIELD,
                        at,
                        format!("the value of {path} is set by a controller after rendering"),
                    );
                    None
                }
                // The kubelet gives an empty value for a key the pod does not have.
                None => Some(Text::literal("")),
            };
        }
    }
    notes.error(
        codes::UNSUPPORTED_FIELD,
        at,
        format!("fieldPath {path:?} is not known"),
    );
    None
}

/// Labels and annotations that controllers add to their pods.
fn added_later(kind: &str, key: &str) -> bool {
    match kind {
        "Deployment" => key == "pod-template-hash",
        "StatefulSet" => {
            matches!(
                key,
                "statefulset.kubernetes.io/pod-name"
                    | "apps.kubernetes.io/pod-index"
                    | "controller-revision-hash"
            )
        }
        "DaemonSet" => matches!(key, "controller-revision-hash" | "pod-template-generation"),
        "Job" | "CronJob" => {
            key.starts_with("batch.kubernetes.io/") || matches!(key, "job-name" | "controller-uid")
        }
        _ => false,
    }
}

fn missing(reference: &Value, what: &str, at: &str, notes: &mut Notes) {
    if flag(reference, "optional") == Some(true) {
        notes.info(
            codes::REFERENCE_MISSING,
            at,
            format!(
                "{what} is not in the rendered set; the policy requires that it does not exist"
            ),
        );
    } else {
        notes.error(
            codes::REFERENCE_MISSING,
            at,
            format!("{what} is not in the rendered set"),
        );
    }
}

fn secret(input: &WorkloadInput<'_>, name: &str, at: &str, notes: &mut Notes) {
    if decides(name) && !input.allow_secret_env.iter().any(|allowed| allowed == name) {
        notes.error(
            codes::SECRET_ENV_REFUSED,
            at,
            format!("{name} decides what the container runs or whom it talks to, and its value would be the host's"),
        );
    } else if input.strict {
        notes.error(
            codes::SECRET_ENV,
            at,
            format!("the host would choose the value of {name}"),
        );
    } else {
        notes.warning(
            codes::SECRET_ENV,
            at,
            format!("the host chooses the value of {name}"),
        );
    }
}

/// Variables that steer loaders, interpreters, libraries of cryptography or connections.
const DECIDING: &[&str] = &[
    "BASH_ENV",
    "CLASSPATH",
    "COORDINATOR_HOST",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "HOSTNAME",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LOCPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "OPENSSL_CONF",
    "OPENSSL_CONF_INCLUDE",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "_JAVA_OPTIONS",
];
/// Beginnings and ends of the names of others.
const DECIDING_PREFIXES: &[&str] = &[
    "CONTRAST_",
    "CORECLR_PROFILER",
    "DOTNET_STARTUP_HOOKS",
    "LD_",
    "NACRE_",
];
const DECIDING_SUFFIXES: &[&str] = &["_CA_BUNDLE", "_PROXY"];

/// Whether a variable decides what a container runs or whom it talks to.
fn decides(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    DECIDING.contains(&upper.as_str())
        || DECIDING_PREFIXES.iter().any(|p| upper.starts_with(p))
        || DECIDING_SUFFIXES.iter().any(|s| upper.ends_with(s))
}

/// The kubelet skips keys that are no variable names.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name
            .bytes()
            .any(|b| b == b'=' || !(b' '..=b'~').contains(&b))
}

/// Variables the kubelet adds for Services (`pkg/kubelet/envvars`): those of the API server
/// always, those of the namespace unless `enableServiceLinks` is false.
pub(crate) fn service_variables(input: &WorkloadInput<'_>) -> BTreeMap<String, Text> {
    let mut out = BTreeMap::new();
    let api = ServiceRef {
        name: "kubernetes".to_owned(),
        namespace: "default".to_owned(),
        ports: vec![crate::input::ServicePort {
            name: Some("https".to_owned()),
            port: 443,
            protocol: "TCP".to_owned(),
        }],
        headless: false,
    };
    variables_of(&api, &mut out);
    if flag(input.pod_spec, "enableServiceLinks") != Some(false) {
        for service in input.services {
            if service.namespace == input.namespace() && !service.headless {
                variables_of(service, &mut out);
            }
        }
    }
    out
}

fn variables_of(service: &ServiceRef, out: &mut BTreeMap<String, Text>) {
    let Some(first) = service.ports.first() else {
        return;
    };
    let name = service.name.to_ascii_uppercase().replace('-', "_");
    out.insert(format!("{name}_SERVICE_HOST"), Text::address("", ""));
    out.insert(
        format!("{name}_SERVICE_PORT"),
        Text::literal(first.port.to_string()),
    );
    for port in &service.ports {
        if let Some(port_name) = &port.name {
            let port_name = port_name.to_ascii_uppercase().replace('-', "_");
            out.insert(
                format!("{name}_SERVICE_PORT_{port_name}"),
                Text::literal(port.port.to_string()),
            );
        }
        let (protocol, number) = (port.protocol.to_ascii_uppercase(), port.port);
        let lower = protocol.to_ascii_lowercase();
        let url = |before: &str| Text::address(before, &format!(":{number}"));
        let prefix = format!("{name}_PORT_{number}_{protocol}");
        out.insert(prefix.clone(), url(&format!("{lower}://")));
        out.insert(format!("{prefix}_PROTO"), Text::literal(lower));
        out.insert(format!("{prefix}_PORT"), Text::literal(number.to_string()));
        out.insert(format!("{prefix}_ADDR"), Text::address("", ""));
    }
    let lower = first.protocol.to_ascii_lowercase();
    out.insert(
        format!("{name}_PORT"),
        Text::address(&format!("{lower}://"), &format!(":{}", first.port)),
    );
}
