//! From a denial, in whatever form it was pasted, to its cause in the pod specification.
//!
//! Reasons come from the rules themselves: a bare event is read for the line the rules print,
//! and a request is evaluated again by the shipped rules, whose documents say what was wanted.
//! There is no second copy of any check. What the guest's state was is not known from a text, so
//! a request is evaluated in the state that is best for it: checks of order and of presence are
//! explained only from the line.

mod checks;
mod compare;
mod network;
mod text;

use serde_json::{Value, json};

use crate::evaluate::{Denial, EvaluateError};
use crate::generate::{PAUSE, Policy};
use crate::pod;
use crate::rules::RULES;
use crate::view::{Before, Variable, View};
use compare::Sides;

pub use checks::{CHECKS, Check};
pub use text::{Denied, MAX_INPUT, kind_of};

/// The pod a policy was made for: where its fields stand.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// The finished pod specification.
    pub spec: &'a Value,
    /// Its path in the object (`spec.template.spec`).
    pub path: &'a str,
}

/// What a denial was about.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The message that was denied, if the input says.
    pub message: Option<String>,
    /// The container of the policy; `.` is the sandbox, `?` one the policy does not have, or an id under
    /// which none was created.
    pub container: String,
    /// One entry per check that failed.
    pub causes: Vec<Cause>,
    /// The text was cut: further checks may have failed.
    pub cut: bool,
}

/// One failed check.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Cause {
    /// Its name in the rules; empty where the message as a whole is refused.
    pub check: String,
    /// What it demands.
    pub demands: &'static str,
    /// Field of the pod specification it comes from, with the path of the container.
    pub field: String,
    /// What the policy holds.
    pub expected: Option<Value>,
    /// What the request had, where the input holds the request. Values of variables are left out.
    pub actual: Option<Value>,
    /// What usually leads here, or did where that can be told.
    pub likely: String,
    /// What to do.
    pub fix: &'static str,
}

/// Why nothing could be explained.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// Neither a denial line nor a request is in the input.
    #[error("the text holds neither a line `nacre1 <container> <checks>` nor an agent request")]
    Nothing,
    /// Only the message is named.
    #[error("the text names {message}, but the line `nacre1 <container> <checks>` is cut off")]
    Bare {
        /// The message name.
        message: String,
    },
    /// More than [`MAX_INPUT`] bytes.
    #[error("the text is longer than {MAX_INPUT} bytes")]
    TooLong,
    /// The request passes.
    #[error(
        "{message} passes this policy where everything before it passed: the pod was rendered \
         differently, or the host asked out of order"
    )]
    Allowed {
        /// The message name.
        message: String,
    },
    /// The policy has no container of this name.
    #[error("the policy has no container {container:?}")]
    NoContainer {
        /// The name that was asked for.
        container: String,
    },
    /// The rules could not be evaluated.
    #[error("the policy could not be evaluated")]
    Evaluate(#[source] EvaluateError),
}

/// Explains a kubelet event, an agent log line or a request.
///
/// `container` says which container a request by id is about; without it, the one that explains
/// the request with the fewest failed checks is taken.
pub fn explain(
    text: &str,
    policy: &Policy,
    pod: Pod<'_>,
    container: Option<&str>,
) -> Result<Explanation, ExplainError> {
    if text.len() > MAX_INPUT {
        return Err(ExplainError::TooLong);
    }
    explain_read(&Denied::read(text), policy, pod, container)
}

/// The same for a text that was read already.
pub fn explain_read(
    denied: &Denied,
    policy: &Policy,
    pod: Pod<'_>,
    container: Option<&str>,
) -> Result<Explanation, ExplainError> {
    if let Some(name) = container
        && View::of(policy).container(name).is_none()
    {
        let container = name.to_owned();
        return Err(ExplainError::NoContainer { container });
    }
    let verdict = match (&denied.message, &denied.request) {
        (Some(message), Some(request)) => {
            let name = container.or(denied.container());
            Some(Verdict::best(policy, message, request, name)?)
        }
        _ => None,
    };
    let found = verdict.as_ref().and_then(|v| v.denial.clone());
    let Some(mut denial) = denied.line.clone().or(found.clone()) else {
        return without_line(denied, pod, container, verdict.is_some());
    };
    if let Some(found) = found {
        denial.checks.extend(found.checks);
        denial.checks.sort_unstable();
        denial.checks.dedup();
    }
    let message = denied.message.clone();
    if denial.container == "?" {
        // Without the message's name: a create request of an unknown container fails others among its checks.
        let few = denial.checks.iter().all(|check| BY_ID.contains(&&**check));
        let causes = vec![match message.as_deref().map_or(few, is_by_id) {
            true => unknown_id(&denial.checks, denied, pod),
            false => unknown_container(denied, policy, pod),
        }];
        return Ok(Explanation {
            message,
            container: denial.container,
            causes,
            cut: denied.cut,
        });
    }
    let causes = denial.checks.iter().map(|check| {
        let sides = compare::sides(check, denied, policy, &denial.container, verdict.as_ref());
        cause(check, &denial.container, pod, sides)
    });
    Ok(Explanation {
        message,
        causes: causes.collect(),
        container: denial.container.clone(),
        cut: denied.cut,
    })
}

/// How well a policy explains a denial: the fewer failed checks, the better; `None` if it has
/// nothing to do with it.
pub fn distance(denied: &Denied, policy: &Policy) -> Option<usize> {
    let known = |name: &str| View::of(policy).container(name).is_some();
    if let (Some(message), Some(request)) = (&denied.message, &denied.request) {
        let name = denied.container().filter(|name| known(name));
        let verdict = Verdict::best(policy, message, request, name).ok()?;
        return Some(verdict.denial.map_or(0, |denial| denial.checks.len()));
    }
    match denied.container() {
        Some(name) => known(name).then_some(0),
        None => Some(0),
    }
}

/// Checks of the messages that name a container by nothing but its id.
const BY_ID: &[&str] = &[
    "command", "current", "env", "known", "live", "process", "timeout",
];

/// Whether a message names a container by nothing but its id.
fn is_by_id(message: &str) -> bool {
    matches!(
        message,
        "ExecProcessRequest"
            | "StartContainerRequest"
            | "RemoveContainerRequest"
            | "ReadStreamRequest"
            | "WriteStreamRequest"
            | "CloseStdinRequest"
    )
}

/// A request evaluated again.
struct Verdict {
    denial: Option<Denial>,
    want: Option<Value>,
    got: Option<Value>,
}

impl Verdict {
    /// As the request of this container, or of the one that fits best.
    fn best(
        policy: &Policy,
        message: &str,
        request: &Value,
        name: Option<&str>,
    ) -> Result<Self, ExplainError> {
        let all = View::of(policy).containers();
        let names: Vec<&str> = match (is_by_id(message), name) {
            (true, None) => all.iter().map(|container| container.name).collect(),
            (_, name) => vec![name.unwrap_or(PAUSE)],
        };
        let mut best: Option<Self> = None;
        for name in names {
            let verdict = Self::of(policy, message, request, name)?;
            let failed = |v: &Self| v.denial.as_ref().map_or(0, |d| d.checks.len());
            if best
                .as_ref()
                .is_none_or(|best| failed(&verdict) < failed(best))
            {
                best = Some(verdict);
            }
        }
        best.ok_or(ExplainError::Nothing)
    }

    fn of(
        policy: &Policy,
        message: &str,
        request: &Value,
        name: &str,
    ) -> Result<Self, ExplainError> {
        let state = favourable(policy, message, request, name);
        let session = policy.session().and_then(|s| s.with_state(state));
        let mut session = session.map_err(ExplainError::Evaluate)?;
        let decision = session.probe(message, request);
        let decision = decision.map_err(ExplainError::Evaluate)?;
        let denial = match decision.allowed {
            true => None,
            false => Some(decision.denial().unwrap_or(Denial {
                container: name.to_owned(),
                checks: Vec::new(),
            })),
        };
        let (want, got) = match message {
            "CreateContainerRequest" => (
                session.document("want", request),
                session.document("got", request),
            ),
            _ => (None, None),
        };
        Ok(Self { denial, want, got })
    }
}

/// The guest's state that is best for a request: everything before it happened, as the request
/// itself says.
fn favourable(policy: &Policy, message: &str, request: &Value, name: &str) -> Value {
    let view = View::of(policy);
    let (Some(container), false) = (
        view.container(name),
        matches!(message, "CreateSandboxRequest" | "UpdateInterfaceRequest"),
    ) else {
        return json!({});
    };
    let annotation = |key: &str| {
        let all = request.pointer("/OCI/Annotations")?;
        pod::text(all, &format!("io.kubernetes.cri.{key}"))
    };
    let variables = container.variables();
    let known = |what: &str| {
        let given = compare::environment(request);
        let given = given.filter(|(name, _)| {
            variables.get(*name)
                == Some(&Variable::State(match what {
                    "pod" => "pod",
                    "uid" => "uid",
                    "host" => "host",
                    _ => "ip",
                }))
        });
        given.map(|(_, value)| value).collect::<Vec<_>>()
    };
    let first = |what: &str| known(what).first().copied();
    let id = pod::text(request, "container_id").unwrap_or("");
    let create = message == "CreateContainerRequest";
    let pod = annotation("sandbox-name").or_else(|| first("pod"));
    let host = pod.and_then(|pod| view.host(pod));
    let mut before = Before {
        sandbox: annotation("sandbox-id").or(create.then_some(id)),
        hostname: host.as_deref().or_else(|| first("host")).or(pod),
        addresses: known("ip"),
        started: container.after(),
        current: (!create).then_some((name, id, message != "StartContainerRequest")),
        ..Before::default()
    };
    if name != PAUSE {
        before.pod = pod;
        before.uid = annotation("sandbox-uid").or_else(|| first("uid"));
    }
    view.state(&before)
}

/// For messages whose denial prints no line.
fn without_line(
    denied: &Denied,
    pod: Pod<'_>,
    container: Option<&str>,
    evaluated: bool,
) -> Result<Explanation, ExplainError> {
    let Some(message) = denied.message.clone() else {
        return Err(ExplainError::Nothing);
    };
    let container = container.unwrap_or(PAUSE);
    let whole = |demands, likely: &str, fix, field: &str| Cause {
        check: String::new(),
        demands,
        field: at(container, pod, field),
        expected: None,
        actual: None,
        likely: likely.to_owned(),
        fix,
    };
    let cause = match message.as_str() {
        "ReadStreamRequest" => whole(
            "the output of a container is read only where the profile lets the host",
            "`kubectl logs` or a log collector; the pod itself runs on",
            "nothing, or the profile `logs`; it shows in the manifest and in every report",
            "",
        ),
        "WriteStreamRequest" | "CloseStdinRequest" => whole(
            "the input of a container is written only with `stdin: true` and the profile `debug`",
            "`kubectl attach` or `kubectl exec -i`",
            "for development use the profile `debug`; otherwise nothing",
            "stdin",
        ),
        name if RULES.contains(&format!("\n{name} := false\n")) => whole(
            "this message is never served, whatever it holds",
            match name {
                "UpdateContainerRequest" => "a resize of the running pod, or a CPU manager",
                "SetPolicyRequest" => {
                    "the runtime hands a policy over that the guest already has: another carrier \
                     than the platform's"
                }
                "GetMetricsRequest" | "GetDiagnosticDataRequest" => "a monitor of the runtime",
                _ => "no pod needs it: the host asked for something else",
            },
            "nothing for the pod; switch the asking tool off",
            "/",
        ),
        _ if evaluated => return Err(ExplainError::Allowed { message }),
        _ => return Err(ExplainError::Bare { message }),
    };
    Ok(Explanation {
        message: Some(message),
        container: container.to_owned(),
        causes: vec![cause],
        cut: false,
    })
}

fn unknown_container(denied: &Denied, policy: &Policy, pod: Pod<'_>) -> Cause {
    let names = View::of(policy).containers();
    let names = names.into_iter().map(|container| container.name);
    Cause {
        check: "container".to_owned(),
        demands: "a container that the pod specification has",
        field: format!("{}.containers", pod.path),
        expected: Some(names.collect()),
        actual: denied.container().map(Value::from),
        likely: "a sidecar that was injected after rendering".to_owned(),
        fix: "render with the sidecar in the pod specification, or keep its injector away from this namespace",
    }
}

fn unknown_id(checks: &[String], denied: &Denied, pod: Pod<'_>) -> Cause {
    // Of several, the one about the container and not about what is asked of it.
    let check = ["current", "known", "live"]
        .into_iter()
        .find(|name| checks.iter().any(|check| check == name));
    let id = denied
        .request
        .as_ref()
        .and_then(|request| pod::text(request, "container_id"));
    Cause {
        check: check.unwrap_or_default().to_owned(),
        demands: "the id of a container that was created in this guest",
        field: format!("{}.containers", pod.path),
        expected: None,
        actual: id.map(Value::from),
        likely: "this id was never created: the create request of the container was denied, or the runtime asks \
                 the wrong guest"
            .to_owned(),
        fix: "look for the denial of the create request before this one, and explain that",
    }
}

fn cause(check: &str, container: &str, pod: Pod<'_>, sides: Sides) -> Cause {
    let known = CHECKS.iter().find(|known| known.name == check);
    let (demands, field, likely, fix) = known
        .map_or(("a check of another rules version", "", "", ""), |known| {
            (known.demands, known.field, known.likely, known.fix)
        });
    Cause {
        check: check.to_owned(),
        demands,
        field: at(container, pod, field),
        expected: sides.expected,
        actual: sides.actual,
        likely: sides.likely.unwrap_or_else(|| likely.to_owned()),
        fix,
    }
}

/// A field below a container, or with `/` below the pod. Of several, separated by `|`, the first
/// that is there, else the first.
fn at(container: &str, pod: Pod<'_>, fields: &str) -> String {
    let mut path = pod.path.to_owned();
    let mut around = pod.spec;
    let fields = match fields.strip_prefix('/') {
        Some(fields) => fields,
        None => {
            let found = pod::containers(pod.spec)
                .into_iter()
                .find(|(_, _, c)| pod::text(c, "name") == Some(container));
            if let Some((_, at, found)) = found {
                path = format!("{path}.{at}");
                around = found;
            }
            fields
        }
    };
    let is_there = |field: &&str| {
        around
            .pointer(&format!("/{}", field.replace('.', "/")))
            .is_some()
    };
    let first = fields.split('|').next().unwrap_or("");
    let field = fields.split('|').find(is_there).unwrap_or(first);
    if !field.is_empty() {
        path = format!("{path}.{field}");
    }
    path
}
