//! From a denial, in whatever form it was pasted, to its cause in the pod specification.
//!
//! Reasons come from the rules themselves: a bare event is read for the line the rules print,
//! and a request is evaluated again by the shipped rules, whose documents say what was wanted.
//! There is no second copy of any check.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::evaluate::{Denial, EvaluateError, Session};
use crate::generate::Policy;
use crate::input::WorkloadInput;
use crate::pod;
use crate::request;

/// Longest input that is read, in bytes.
pub const MAX_INPUT: usize = 4 * 1024 * 1024;

/// What a denial was about.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The message that was denied, if the input says.
    pub message: Option<String>,
    /// The container of the policy; `.` is the sandbox, `?` one the policy does not have.
    pub container: String,
    /// One entry per check that failed.
    pub causes: Vec<Cause>,
}

/// One failed check.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Cause {
    /// Its name in the rules.
    pub check: String,
    /// What it demands.
    pub demands: &'static str,
    /// Field of the pod specification it comes from, with the path of the container.
    pub field: String,
    /// What the policy holds, where it is one value.
    pub expected: Option<Value>,
    /// What the request had, where the input holds the request. Environment values are left out.
    pub actual: Option<Value>,
    /// What usually leads here.
    pub likely: &'static str,
}

/// Why nothing could be explained.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// Neither a denial line nor a request is in the input.
    #[error("the text holds neither a line `nacre1 <container> <checks>` nor an agent request")]
    Nothing,
    /// More than [`MAX_INPUT`] bytes.
    #[error("the text is longer than {MAX_INPUT} bytes")]
    TooLong,
    /// The request passes.
    #[error("{message} passes this policy: the pod that was denied was rendered differently")]
    Allowed {
        /// The message name.
        message: String,
    },
    /// The rules could not be evaluated.
    #[error("the policy could not be evaluated")]
    Evaluate(#[source] EvaluateError),
}

/// Explains a kubelet event, an agent log line or a request.
pub fn explain(
    text: &str,
    input: &WorkloadInput<'_>,
    policy: &Policy,
) -> Result<Explanation, ExplainError> {
    if text.len() > MAX_INPUT {
        return Err(ExplainError::TooLong);
    }
    let plain = unescape(text);
    if let Some((message, request)) = find_request(&plain) {
        return of_request(&message, &request, input, policy);
    }
    let denial = Denial::parse(&plain).ok_or(ExplainError::Nothing)?;
    let message = MESSAGES
        .iter()
        .find(|m| plain.contains(**m))
        .map(|m| (*m).to_owned());
    let causes = denial
        .checks
        .iter()
        .map(|check| cause(check, &denial.container, input))
        .collect();
    Ok(Explanation {
        message,
        container: denial.container,
        causes,
    })
}

fn of_request(
    message: &str,
    request: &Value,
    input: &WorkloadInput<'_>,
    policy: &Policy,
) -> Result<Explanation, ExplainError> {
    let mut session = policy.session().map_err(ExplainError::Evaluate)?;
    // The checks that depend on what went before need a guest in the state before this request.
    advance(&mut session, message, request, input);
    let decision = session
        .probe(message, request)
        .map_err(ExplainError::Evaluate)?;
    if decision.allowed {
        return Err(ExplainError::Allowed {
            message: message.to_owned(),
        });
    }
    let denial = decision.denial().unwrap_or(Denial {
        container: "?".to_owned(),
        checks: Vec::new(),
    });
    let (want, got) = (
        session.document("want", request),
        session.document("got", request),
    );
    let causes = denial
        .checks
        .iter()
        .map(|check| {
            let mut cause = cause(check, &denial.container, input);
            let side = |side: &Option<Value>| side.as_ref().and_then(|all| all.get(check)).cloned();
            cause.expected = side(&want);
            cause.actual = side(&got);
            if check == "args" {
                let data = policy
                    .data()
                    .get("containers")
                    .and_then(|c| c.get(&denial.container));
                cause.expected = data.and_then(|c| c.get("args")).cloned();
                cause.actual = request.pointer("/OCI/Process/Args").cloned();
            }
            if check == "image" {
                let data = policy
                    .data()
                    .get("containers")
                    .and_then(|c| c.get(&denial.container));
                cause.expected = data.and_then(|c| c.get("image")).cloned();
                cause.actual = request
                    .pointer("/OCI/Annotations/io.kubernetes.cri.image-name")
                    .cloned();
            }
            cause
        })
        .collect();
    Ok(Explanation {
        message: Some(message.to_owned()),
        container: denial.container,
        causes,
    })
}

/// Runs the pod's own life up to the request's place in it, under the request's own identifiers.
fn advance(session: &mut Session, message: &str, request: &Value, input: &WorkloadInput<'_>) {
    let container = request
        .pointer("/OCI/Annotations/io.kubernetes.cri.container-name")
        .and_then(Value::as_str);
    let own = request::Cluster::of(input);
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in [
        ("io.kubernetes.cri.sandbox-id", &own.sandbox),
        ("io.kubernetes.cri.sandbox-name", &own.pod_name),
        ("io.kubernetes.cri.sandbox-uid", &own.pod_uid),
    ] {
        let given = request
            .pointer(&format!("/OCI/Annotations/{key}"))
            .and_then(Value::as_str);
        if let Some(given) = given {
            names.insert(value.clone(), given.to_owned());
        }
    }
    for step in request::life(input) {
        let here = step.message == message
            && (message != "CreateContainerRequest"
                || step.container.as_deref() == Some(container.unwrap_or(".")));
        if here {
            return;
        }
        let mut step_input = step.input.to_string();
        for (from, to) in &names {
            if !to.contains(['"', '\\']) {
                step_input = step_input.replace(from, to);
            }
        }
        let step_input = serde_json::from_str(&step_input).unwrap_or(step.input);
        // A step that is denied here shows in the verdict that follows.
        let _ = session.request(step.message, &step_input);
    }
}

/// Messages whose names are looked for in a text.
const MESSAGES: &[&str] = &[
    "CreateContainerRequest",
    "CreateSandboxRequest",
    "ExecProcessRequest",
    "CopyFileRequest",
    "StartContainerRequest",
    "RemoveContainerRequest",
    "ReadStreamRequest",
    "WriteStreamRequest",
    "UpdateInterfaceRequest",
    "UpdateRoutesRequest",
    "AddARPNeighborsRequest",
];

/// Takes away up to four layers of string escapes.
fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..4 {
        if !text.contains('\\') {
            break;
        }
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek()) {
                ('\\', Some('"' | '\\' | '/')) => {
                    out.extend(chars.next());
                }
                ('\\', Some('n' | 't' | 'r')) => {
                    chars.next();
                    out.push(' ');
                }
                _ => out.push(c),
            }
        }
        // Once the text holds a whole request, further escapes belong to its values.
        if find_request(&text).is_some() {
            break;
        }
        text = out;
    }
    text
}

/// A request in the text: `{"kind": …, "request": …}` as the agent logs it, or the bare message.
fn find_request(text: &str) -> Option<(String, Value)> {
    let start = text.find('{')?;
    let mut stream = serde_json::Deserializer::from_str(text.get(start..)?).into_iter::<Value>();
    let value = stream.next()?.ok()?;
    if let (Some(kind), Some(request)) = (pod::text(&value, "kind"), value.get("request")) {
        return Some((kind.to_owned(), request.clone()));
    }
    let message = if value.get("OCI").is_some() {
        "CreateContainerRequest"
    } else if value.get("process").is_some() {
        "ExecProcessRequest"
    } else if value.get("sandbox_pidns").is_some() {
        "CreateSandboxRequest"
    } else if value.get("file_mode").is_some() {
        "CopyFileRequest"
    } else if value.get("interface").is_some() {
        "UpdateInterfaceRequest"
    } else {
        return None;
    };
    Some((message.to_owned(), value))
}

/// Check, what it demands, field below the container (or, with `/`, below the pod), likely cause.
const CHECKS: &[(&str, &str, &str, &str)] = &[
    (
        "address",
        "no loopback address on an interface",
        "/",
        "the host tried to reach the mesh's loopback",
    ),
    (
        "annotations",
        "only annotations the target knows, with the pod's own name and namespace",
        "/",
        "another namespace or pod name than rendered, or a runtime that passes further annotations",
    ),
    (
        "args",
        "exactly the command of the pod and its image",
        "command",
        "the image or the command changed after rendering, or an admission webhook changed it",
    ),
    (
        "caps",
        "exactly these capabilities",
        "securityContext.capabilities",
        "a PodSecurity or admission mutation, or another runtime default",
    ),
    (
        "command",
        "a command of a probe or hook of this container",
        "livenessProbe",
        "`kubectl exec`, or a probe added after rendering",
    ),
    (
        "current",
        "a container that was created and not yet started",
        "",
        "a start for an old instance: the runtime retried",
    ),
    (
        "cwd",
        "exactly this working directory",
        "workingDir",
        "the image's WORKDIR changed under its tag",
    ),
    (
        "devices",
        "exactly these devices",
        "volumeDevices",
        "a device plugin or a privileged container with host devices",
    ),
    (
        "dns",
        "exactly the lines of dnsConfig",
        "/dnsConfig",
        "a node-local DNS webhook",
    ),
    (
        "env",
        "exactly these variables, and those of Services",
        "env",
        "a Service that was not rendered together with the workload, a webhook, or a LimitRange",
    ),
    (
        "guest",
        "no hooks, no kernel modules, the pod's own process namespace",
        "/shareProcessNamespace",
        "the shim's configuration",
    ),
    (
        "id",
        "an id of 64 hexadecimal digits, used once",
        "",
        "a runtime other than containerd",
    ),
    (
        "image",
        "this digest in the request, its metadata and its annotation",
        "image",
        "a stale tag, or an image policy that rewrites references",
    ),
    (
        "known",
        "a container that was created",
        "",
        "a removal repeated by the runtime",
    ),
    (
        "labels",
        "an OCI version, AppArmor label and cgroup path of the target",
        "",
        "another containerd major than the target lists",
    ),
    (
        "link",
        "no loopback link",
        "/",
        "the host tried to reach the mesh's loopback",
    ),
    (
        "live",
        "no other live instance of the container",
        "",
        "the host starts it twice, or asks before its start or after its removal",
    ),
    (
        "mode",
        "no setuid or setgid file",
        "/volumes",
        "a file with such a mode in a volume",
    ),
    (
        "mounts",
        "exactly these mounts",
        "volumeMounts",
        "a mount added by a webhook, or no service account token where one was expected",
    ),
    (
        "name",
        "an ordinary interface",
        "/",
        "a network plugin with unusual interface names",
    ),
    (
        "names",
        "a sandbox id, and the pod's host name",
        "/hostname",
        "the pod has another name than its object gives",
    ),
    (
        "namespaces",
        "ipc, mnt and uts",
        "/hostIPC",
        "another runtime default",
    ),
    (
        "neighbors",
        "no loopback neighbour",
        "/",
        "the host tried to reach the mesh's loopback",
    ),
    (
        "nnp",
        "no-new-privileges as allowPrivilegeEscalation says",
        "securityContext.allowPrivilegeEscalation",
        "an admission webhook",
    ),
    (
        "once",
        "once per life of the guest",
        "/",
        "the host repeats the set-up",
    ),
    (
        "order",
        "init containers in order, before every other",
        "",
        "a container skipped, or an init container after an app container",
    ),
    (
        "path",
        "a file of a declared mount",
        "volumeMounts",
        "a mount added after rendering",
    ),
    (
        "paths",
        "the default masked and read-only paths",
        "securityContext.privileged",
        "another runtime default",
    ),
    (
        "pidns",
        "the pod's process namespace",
        "/shareProcessNamespace",
        "changed after rendering",
    ),
    (
        "process",
        "user, directory and privileges of the container",
        "securityContext",
        "`kubectl exec`, or a changed USER",
    ),
    (
        "root",
        "the container's own root file system",
        "securityContext.readOnlyRootFilesystem",
        "changed after rendering, or another Kata version",
    ),
    (
        "routes",
        "no route to, from or through the loopback",
        "/",
        "the host tried to reach the mesh's loopback",
    ),
    (
        "size",
        "a file of at most the target's size",
        "volumeMounts",
        "a very large file in a volume",
    ),
    (
        "storages",
        "exactly these storages",
        "/volumes",
        "another emptyDir mode of Kata than the target's",
    ),
    (
        "sysctl",
        "exactly these sysctls",
        "/securityContext.sysctls",
        "another runtime default",
    ),
    (
        "timeout",
        "no time limit",
        "",
        "the runtime gives up waiting",
    ),
    (
        "tty",
        "a terminal as the pod says",
        "tty",
        "changed after rendering",
    ),
    (
        "type",
        "a file, a directory, or a link that stays inside",
        "volumeMounts",
        "an unusual file in a volume",
    ),
    (
        "user",
        "exactly this user and these groups",
        "securityContext",
        "USER of the image changed under its tag, or its passwd and group files",
    ),
    (
        "zero",
        "nothing in fields no pod needs",
        "",
        "another runtime default",
    ),
];

fn cause(check: &str, container: &str, input: &WorkloadInput<'_>) -> Cause {
    let known = CHECKS.iter().find(|(name, ..)| *name == check);
    let (demands, field, likely) = known.map_or(
        ("a check of another rules version", "", ""),
        |(_, d, f, l)| (*d, *f, *l),
    );
    let at = pod::containers(input.pod_spec)
        .into_iter()
        .find(|(_, _, c)| pod::text(c, "name") == Some(container))
        .map(|(_, at, _)| at);
    let mut path = input.pod_spec_path.to_owned();
    let field = match field.strip_prefix('/') {
        Some(field) => field,
        None => {
            if let Some(at) = at {
                path = format!("{path}.{at}");
            }
            field
        }
    };
    if !field.is_empty() {
        path = format!("{path}.{field}");
    }
    Cause {
        check: check.to_owned(),
        demands,
        field: path,
        expected: None,
        actual: None,
        likely,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RULES;

    #[test]
    fn every_check_of_the_rules_is_explained() {
        // Names that the rules put into a set of checks, read from the rules themselves.
        for line in RULES.lines() {
            let Some((_, rest)) = line.split_once(" contains \"") else {
                continue;
            };
            let check = rest.split('"').next().unwrap();
            assert!(CHECKS.iter().any(|(name, ..)| *name == check), "{check}");
        }
        for check in [
            "root",
            "caps",
            "namespaces",
            "cwd",
            "nnp",
            "pidns",
            "tty",
            "user",
        ] {
            assert!(
                RULES.contains(&format!("\"{check}\":")) && CHECKS.iter().any(|c| c.0 == check),
                "{check}"
            );
        }
    }

    #[test]
    fn escapes_are_taken_away() {
        let mut text = "denied: \"nacre1 web args,user\"".to_owned();
        for _ in 0..4 {
            text = Value::from(text).to_string();
        }
        let denial = Denial::parse(&unescape(&text)).unwrap();
        assert_eq!((denial.container.as_str(), denial.checks.len()), ("web", 2));
    }
}
