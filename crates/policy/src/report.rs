//! What a policy pins, what it leaves open and why that matters, for people.

use nacre_manifest::Profile;
use serde_json::Value;

use crate::generate::{PAUSE, Policy};

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

impl std::str::FromStr for Risk {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|risk| risk.as_str() == text)
            .ok_or(())
    }
}

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

/// What a policy leaves open, derived from its data alone.
pub fn open(policy: &Policy) -> Vec<Open> {
    let mut out = Vec::new();
    if let Some(profile) = Profile::ALL
        .into_iter()
        .find(|p| policy.profile == *p && *p != Profile::Strict)
    {
        out.push(Open {
            risk: if profile == Profile::Debug {
                Risk::Critical
            } else {
                Risk::High
            },
            container: None,
            what: format!("profile {profile}"),
            why: "the host reads what containers print, and with `debug` runs commands in them",
        });
    }
    for (name, container) in containers(policy) {
        if name == PAUSE {
            continue;
        }
        let mut push = |risk, what: String, why| {
            out.push(Open {
                risk,
                container: Some(name.to_owned()),
                what,
                why,
            });
        };
        for (variable, rule) in container
            .get("free")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            match rule.as_str().unwrap_or("") {
                "^[\\s\\S]*$" => push(
                    Risk::High,
                    format!("variable `{variable}` has any value"),
                    "it comes from a Secret: the host chooses it and reads the true one",
                ),
                rule if rule.starts_with('^') && !variable.starts_with("KUBERNETES_") => push(
                    Risk::Medium,
                    format!("variable `{variable}` matches a pattern"),
                    "the cluster decides the value when the pod starts",
                ),
                _ => {}
            }
        }
        for (destination, mount) in container
            .get("mounts")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if mount.get("f").is_some() && destination != "/dev/termination-log" {
                push(
                    Risk::Medium,
                    format!("content of `{destination}`"),
                    "the host writes these files and can change them at any time",
                );
            }
        }
        if container.get("caps").and_then(Value::as_str) == Some("all") {
            push(
                Risk::High,
                "all capabilities".to_owned(),
                "the container is privileged in the guest",
            );
        }
        if container.get("logs") == Some(&Value::Bool(true)) && policy.profile == Profile::Strict {
            push(
                Risk::Low,
                "its output is readable".to_owned(),
                "one of our own containers; it prints no secrets",
            );
        }
    }
    out.sort_by_key(|open| std::cmp::Reverse(open.risk));
    out
}

/// The highest risk of a policy.
pub fn risk(policy: &Policy) -> Risk {
    open(policy)
        .iter()
        .map(|open| open.risk)
        .max()
        .unwrap_or(Risk::Low)
}

/// Markdown of one workload. `title` names it.
pub fn markdown(title: &str, policy: &Policy) -> String {
    let mut out = format!(
        "## {title}\n\nRisk: **{}** · profile `{}`\n\n",
        risk(policy).as_str(),
        policy.profile
    );
    out.push_str("| Container | Image | Command | User | Capabilities | May be run in it |\n|---|---|---|---|---|---|\n");
    for (name, container) in containers(policy) {
        if name == PAUSE {
            continue;
        }
        let digest = container
            .pointer("/image/digest")
            .and_then(Value::as_str)
            .unwrap_or("");
        let user = container.pointer("/want/user");
        let id = |at: usize| {
            user.and_then(|u| u.get(at))
                .and_then(Value::as_u64)
                .unwrap_or(0)
        };
        let caps = container.get("caps").and_then(Value::as_str).unwrap_or("");
        let exec = container
            .get("exec")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        let commands = match (container.get("debug"), exec) {
            (Some(_), _) => "anything".to_owned(),
            (None, 0) => "nothing".to_owned(),
            (None, n) => format!("{n} probe or hook commands"),
        };
        out.push_str(&format!(
            "| `{name}` | `{}` | `{}` | {}:{} | {caps} | {commands} |\n",
            digest.get(..19).unwrap_or(digest),
            command(container),
            id(0),
            id(1),
        ));
    }
    out.push_str("\n### Left to the host\n\n");
    let open = open(policy);
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
            open.risk.as_str(),
            open.what,
            open.why
        ));
    }
    out
}

fn command(container: &Value) -> String {
    let args = container.get("args").and_then(Value::as_array);
    let words: Vec<_> = args
        .into_iter()
        .flatten()
        .map(|arg| arg.as_str().map_or_else(|| "…".to_owned(), str::to_owned))
        .collect();
    let text = words.join(" ").replace(['|', '`', '\n'], " ");
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("")),
        None => text,
    }
}

fn containers(policy: &Policy) -> impl Iterator<Item = (&str, &Value)> {
    let containers = policy.data().get("containers").and_then(Value::as_object);
    containers
        .into_iter()
        .flatten()
        .map(|(name, container)| (name.as_str(), container))
}
