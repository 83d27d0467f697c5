//! What people paste: pod events, log lines, requests, escaped and cut in every way.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::CHECKS;
use crate::evaluate::Denial;
use crate::pod;
use crate::rules::{self, RULES};

/// Longest input that is read, in bytes.
pub const MAX_INPUT: usize = 4 * 1024 * 1024;
/// Layers of string escapes that kubelet, containerd and shim put around each other's errors.
const LAYERS: usize = 4;
/// Places in a text at which a request is looked for.
const MOST_PLACES: usize = 1_000;

/// What a text says about a denial.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Denied {
    /// Name of the message, if the text says.
    pub message: Option<String>,
    /// The line the rules printed, if the text has it.
    pub line: Option<Denial>,
    /// The text ends inside the line: there may have been more checks.
    pub cut: bool,
    /// The request, if the text has all of it.
    pub request: Option<Value>,
    /// The text without its escapes.
    pub plain: String,
}

impl Denied {
    /// Reads a text; everything that is not found stays empty.
    pub fn read(text: &str) -> Self {
        let plain = unescape(text);
        let mut denied = Self::default();
        if let Some((message, request)) = find_request(&plain) {
            denied.message = Some(message);
            denied.request = Some(request);
        }
        if denied.message.is_none() {
            let named = messages().filter(|name| plain.contains(*name));
            denied.message = named.max_by_key(|name| name.len()).map(str::to_owned);
        }
        if let Some((line, cut)) = find_line(&plain, denied.message.as_deref()) {
            denied.line = Some(line);
            denied.cut = cut;
        }
        denied.plain = plain;
        denied
    }

    /// Whether there is nothing about a denial in it.
    pub fn is_empty(&self) -> bool {
        self.message.is_none() && self.line.is_none() && self.request.is_none()
    }

    /// The pod's name in a create request.
    pub fn pod_name(&self) -> Option<&str> {
        self.annotation("sandbox-name")
    }

    /// The pod's namespace in a create request.
    pub fn namespace(&self) -> Option<&str> {
        self.annotation("sandbox-namespace")
    }

    /// The container's name: in the line, else in a create request.
    pub fn container(&self) -> Option<&str> {
        let line = self.line.as_ref().map(|line| line.container.as_str());
        line.filter(|name| *name != "?")
            .or_else(|| self.annotation("container-name"))
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        let request = self.request.as_ref()?;
        let all = request.pointer("/OCI/Annotations")?;
        pod::text(all, &format!("io.kubernetes.cri.{key}"))
    }
}

/// Every message that has a rule, read from the rules: each begins a line.
pub(super) fn messages() -> impl Iterator<Item = &'static str> {
    RULES.lines().filter_map(|line| {
        let (name, _) = line.split_once(' ')?;
        let message = name.ends_with("Request") || name.ends_with("Config");
        message.then_some(name)
    })
}

/// The names of the checks of a message, read from the rules; none for one that prints no line.
fn checks_of(message: &str) -> BTreeSet<&'static str> {
    let part = |from: &str, to: &str| -> &'static str {
        let (_, rest) = RULES.split_once(from).unwrap_or_default();
        rest.split_once(to).map_or("", |(part, _)| part)
    };
    let rule = part(&format!("\n{message} "), "\nelse := false");
    let asks = rule
        .split_once("pass(")
        .filter(|_| !rules::is_constant(message));
    let (_, names) = asks.unwrap_or_default();
    // What a container is asked is a list of its own, and a member of `want` is a check.
    let (more, want) = match names.contains("needed") {
        true => (part("\nneeded := ", "\n\n"), part("\ngot := ", "\n}\n")),
        false => ("", ""),
    };
    let keys = want
        .lines()
        .filter_map(|line| line.strip_prefix("\t\"")?.split('"').next());
    let quoted = [names, more]
        .into_iter()
        .flat_map(|part| part.split('"').skip(1).step_by(2))
        .flat_map(str::split_whitespace);
    let known = |name: &&str| CHECKS.iter().any(|check| check.name == *name);
    quoted.chain(keys).filter(known).collect()
}

/// The names of checks that a line about this container can hold.
fn possible(message: Option<&str>, container: &str) -> BTreeSet<&'static str> {
    let about_containers = |name: &&str| {
        container == "."
            || ["Container", "Process"]
                .iter()
                .any(|word| name.contains(word))
    };
    match message {
        Some(message) => checks_of(message),
        None => messages()
            .filter(about_containers)
            .flat_map(checks_of)
            .collect(),
    }
}

/// The line of the rules, wherever it stands, and whether the text ends inside it.
fn find_line(text: &str, message: Option<&str>) -> Option<(Denial, bool)> {
    let heads: Vec<_> = rules::versions()
        .map(|version| format!("{version} "))
        .collect();
    let begun = |head: &String| {
        let places = text.match_indices(head.as_str());
        places.map(|(at, head)| at + head.len()).collect::<Vec<_>>()
    };
    for at in heads.iter().flat_map(begun) {
        let rest = text.get(at..)?;
        let Some((container, rest)) = rest.split_once(' ') else {
            continue;
        };
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let known = matches!(container, "." | "?") || container.chars().all(name);
        if container.is_empty() || !known {
            continue;
        }
        let is_check = |c: char| c.is_ascii_lowercase() || c == ',';
        let end = rest.find(|c: char| !is_check(c));
        let (words, after) = rest.split_at(end.unwrap_or(rest.len()));
        let cut = after.trim_matches(['.', '…', ' ', '\n']).is_empty();
        let mut checks = Vec::new();
        let count = words.split(',').count();
        for (index, word) in words.split(',').enumerate() {
            let is_known = CHECKS.iter().any(|check| check.name == word);
            let last = index + 1 == count;
            if word.is_empty() {
                continue;
            }
            if last && cut {
                // The last word may go on: whatever this message asks and begins so may have been meant.
                let names = possible(message, container);
                let is_whole = message.is_none() && names.contains(word);
                let meant = |name: &&str| match is_whole {
                    true => *name == word,
                    false => name.starts_with(word),
                };
                checks.extend(names.into_iter().filter(meant).map(str::to_owned));
            } else if is_known || !last {
                checks.push(word.to_owned());
            }
        }
        if !checks.is_empty() {
            let container = container.to_owned();
            return Some((Denial { container, checks }, cut));
        }
    }
    None
}

/// Takes away the layers of string escapes.
fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..LAYERS {
        // Once the text holds a whole request, further escapes belong to its values.
        if !text.contains('\\') || find_request(&text).is_some() {
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
        text = out;
    }
    text
}

/// A request in the text: `{"kind": …, "request": …}` as the agent logs it, or the bare message.
fn find_request(text: &str) -> Option<(String, Value)> {
    for (at, _) in text.match_indices('{').take(MOST_PLACES) {
        let rest = text.get(at..)?;
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let Some(Ok(value)) = stream.next() else {
            continue;
        };
        if let (Some(kind), Some(request)) = (pod::text(&value, "kind"), value.get("request")) {
            return Some((kind.to_owned(), request.clone()));
        }
        if let Some(message) = kind_of(&value) {
            return Some((message.to_owned(), value));
        }
    }
    None
}

/// Which message an object is, by members that only one has.
pub fn kind_of(value: &Value) -> Option<&'static str> {
    let has = |key: &str| value.get(key).is_some();
    Some(match () {
        () if has("OCI") => "CreateContainerRequest",
        () if has("process") => "ExecProcessRequest",
        () if has("sandbox_id") => "CreateSandboxRequest",
        () if has("file_mode") => "CopyFileRequest",
        () if has("interface") => "UpdateInterfaceRequest",
        () if has("routes") => "UpdateRoutesRequest",
        () if has("neighbors") => "AddARPNeighborsRequest",
        () => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(text: &str) -> (String, Vec<String>, bool) {
        let denied = Denied::read(text);
        let line = denied.line.unwrap();
        (line.container, line.checks, denied.cut)
    }

    #[test]
    fn escapes_are_taken_away() {
        let mut text = "denied: \"nacre1 web args,user\"".to_owned();
        for _ in 0..4 {
            text = Value::from(text).to_string();
            let (container, checks, cut) = line(&text);
            assert_eq!((container.as_str(), checks.len(), cut), ("web", 2, false));
        }
    }

    #[test]
    fn a_cut_line_is_read_as_far_as_it_goes() {
        for (text, checks) in [
            ("policy: nacre1 web args,us", &["args", "user"][..]),
            ("policy: nacre1 web args,user...", &["args", "user"]),
            ("policy: nacre1 web args,", &["args"]),
            (
                "policy: nacre1 . n",
                &["name", "names", "namespaces", "neighbors", "nnp"],
            ),
            // Only what this message asks.
            (
                "CreateSandboxRequest is blocked by policy: nacre1 . n…",
                &["names"],
            ),
            (
                "CreateContainerRequest is blocked by policy: nacre1 web mounts,name...",
                &["mounts", "namespaces"],
            ),
            (
                "CreateContainerRequest is blocked by policy: nacre1 web order,path",
                &["order", "paths"],
            ),
            (
                "CopyFileRequest is blocked by policy: nacre1 . path",
                &["path"],
            ),
            ("policy: nacre1 web mounts,name", &["mounts", "namespaces"]),
        ] {
            let (_, found, cut) = line(text);
            assert_eq!(
                (found, cut),
                (checks.iter().map(|c| (*c).to_owned()).collect(), true)
            );
        }
        assert_eq!(Denied::read("policy: nacre1 we").line, None);
        assert_eq!(Denied::read("policy: nacre1 web qq").line, None);
    }

    #[test]
    fn every_check_belongs_to_a_message() {
        let all: BTreeSet<_> = messages().flat_map(checks_of).collect();
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(all, names);
        assert_eq!(
            checks_of("StartContainerRequest"),
            BTreeSet::from(["current"])
        );
        assert_eq!(checks_of("CreateContainerRequest").len(), 23);
        assert!(checks_of("GetMetricsRequest").is_empty());
    }

    #[test]
    fn words_of_prose_are_no_line() {
        let denied = Denied::read("the rules nacre1 are in force; nacre1 web env, then nothing");
        assert_eq!(denied.line.unwrap().checks, ["env"]);
    }

    #[test]
    fn a_request_is_found_behind_other_braces() {
        let request =
            json!({"kind": "CreateContainerRequest", "request": {"OCI": {"Version": "1.1.0"}}});
        let text = format!(
            "rpc status: Status {{ code: X }} level=info msg={}",
            Value::from(request.to_string())
        );
        let denied = Denied::read(&text);
        assert_eq!(denied.message.as_deref(), Some("CreateContainerRequest"));
        assert_eq!(denied.request, Some(json!({"OCI": {"Version": "1.1.0"}})));
        assert!(Denied::read("nothing { here }").is_empty());
    }

    #[test]
    fn hostile_texts_end_soon() {
        let start = std::time::Instant::now();
        for part in [
            "{",
            "{\"a\":",
            "{\"",
            "\\\\",
            "nacre1 ",
            "nacre1 a ",
            "{\"a\":{\"b\":1},",
        ] {
            let _ = Denied::read(&part.repeat(50_000));
        }
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn messages_are_those_of_the_rules() {
        assert_eq!(messages().count(), 41);
        let denied = Denied::read("ReadStreamRequest is blocked by policy: ");
        assert_eq!(denied.message.as_deref(), Some("ReadStreamRequest"));
    }
}
