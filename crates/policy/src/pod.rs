//! Small typed readings of a pod spec, shared by the generator and the request builder.

use serde_json::{Map, Value};

use crate::value::escape;

/// A member as text.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// A member as boolean.
pub(crate) fn flag(object: &Value, key: &str) -> Option<bool> {
    object.get(key).and_then(Value::as_bool)
}

/// A member as a list; empty if absent.
pub(crate) fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A member as an object.
pub(crate) fn object<'a>(object: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    object.get(key).and_then(Value::as_object)
}

/// A list of texts.
pub(crate) fn texts(object: &Value, key: &str) -> Vec<String> {
    list(object, key)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The name of the service account that a pod runs under.
pub fn service_account(spec: &Value) -> &str {
    ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .filter_map(|key| text(spec, key))
        .find(|name| !name.is_empty())
        .unwrap_or("default")
}

/// `securityContext.<key>` of the container, else of the pod.
pub(crate) fn security<'a>(pod: &'a Value, container: &'a Value, key: &str) -> Option<&'a Value> {
    let of = |value: &'a Value| {
        value
            .get("securityContext")?
            .get(key)
            .filter(|v| !v.is_null())
    };
    of(container).or_else(|| of(pod))
}

/// What a container of the list is to the pod's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// An init container that stays.
    Sidecar,
    /// One of `containers`.
    App,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Sidecar => "side",
            Self::App => "app",
        }
    }
}

/// All containers in the order in which they start, with their path below the pod spec.
pub(crate) fn containers(spec: &Value) -> Vec<(Role, String, &Value)> {
    let init = list(spec, "initContainers")
        .iter()
        .enumerate()
        .map(|(index, c)| {
            let role = match text(c, "restartPolicy") {
                Some("Always") => Role::Sidecar,
                _ => Role::Init,
            };
            (role, format!("initContainers[{index}]"), c)
        });
    let app = list(spec, "containers")
        .iter()
        .enumerate()
        .map(|(index, c)| (Role::App, format!("containers[{index}]"), c));
    init.chain(app).collect()
}

/// Pattern of the pod's name, anchored (`k8s.io/apiserver` names: `SimpleNameGenerator`, and each
/// controller's own suffix).
pub(crate) fn name_pattern(kind: &str, name: &str) -> String {
    // `k8s.io/apimachinery/pkg/util/rand`: no vowels, y, 0, 1 or 3.
    const RANDOM: &str = "[b-df-hj-np-tv-xz24-9]";
    let base = |middle: &str, middle_length: usize| {
        if name.len() + 1 + middle_length < 58 {
            format!("^{}-{middle}{RANDOM}{{5}}$", escape(name))
        } else {
            format!(
                "^{}[a-z0-9.-]{{0,58}}{RANDOM}{{5}}$",
                escape(kept(kind, name))
            )
        }
    };
    match kind {
        "Pod" => format!("^{}$", escape(name)),
        "Deployment" => base(&format!("{RANDOM}{{1,10}}-"), 11),
        "ReplicaSet" | "ReplicationController" | "DaemonSet" => base("", 0),
        "StatefulSet" => format!("^{}-[0-9]{{1,9}}$", escape(name)),
        "Job" => base("([0-9]{1,7}-)?", 8),
        "CronJob" => base("[0-9]{8,10}-([0-9]{1,7}-)?", 19),
        _ => format!("^{}[a-z0-9.-]{{0,253}}$", escape(kept(kind, name))),
    }
}

/// What of a name certainly begins the names made from it: the API server cuts the base of a generated name at
/// 58 characters, the job controller the job's name before `-<index>-` (`podGenerateNameWithIndex`).
pub(crate) fn kept<'n>(kind: &str, name: &'n str) -> &'n str {
    let most = if matches!(kind, "Job" | "CronJob") {
        49
    } else {
        57
    };
    name.get(..most).unwrap_or(name)
}

/// A pod name such as a controller would give.
pub(crate) fn sample_name(kind: &str, name: &str, indexed: bool) -> String {
    let base = |middle: &str| {
        let full = format!("{name}-{middle}");
        format!("{}x7k2p", full.get(..full.len().min(58)).unwrap_or(&full))
    };
    match kind {
        "Pod" => name.to_owned(),
        "Deployment" => base("6d4cf56db9-"),
        "StatefulSet" => format!("{name}-0"),
        _ if indexed => {
            let job = sample_job(kind, name);
            format!("{}-0-x7k2p", job.get(..job.len().min(55)).unwrap_or(&job))
        }
        "CronJob" => base("29384760-"),
        _ => base(""),
    }
}

/// A job's name such as its controller would give.
pub(crate) fn sample_job(kind: &str, name: &str) -> String {
    match kind {
        "CronJob" => format!("{name}-29384760"),
        _ => name.to_owned(),
    }
}
