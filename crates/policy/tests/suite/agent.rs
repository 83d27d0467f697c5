//! What the agent really asks: every message and every field of its definitions has a rule.

use std::collections::{BTreeMap, BTreeSet};

use nacre_policy::request;
use nacre_policy::rules::RULES;
use nacre_policy::schema::{FIELDS, Kind, fields};
use serde_json::Value;

use crate::common::{attached, mesh, rich, small};

const AGENT: &str = include_str!("../schema/kata-agent.txt");
/// Where the agent asks about something else than it was sent.
const PREPARED: (&str, &str) = ("CopyFileRequest", "PolicyCopyFileRequest");

/// The agent's definitions.
pub(crate) struct Definitions {
    /// The messages that are asked about.
    asked: BTreeSet<String>,
    /// Fields with their types.
    messages: BTreeMap<String, Vec<(String, String)>>,
    enums: BTreeSet<String>,
}

impl Definitions {
    pub(crate) fn read() -> Self {
        Self::of(AGENT)
    }

    fn of(text: &str) -> Self {
        let mut all = Self {
            asked: BTreeSet::new(),
            messages: BTreeMap::new(),
            enums: BTreeSet::new(),
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["rpc", _, message] => {
                    all.asked.insert((*message).to_owned());
                }
                ["enum", name] => {
                    all.enums.insert((*name).to_owned());
                }
                [name, fields @ ..] => {
                    let fields = fields.iter().map(|field| {
                        let (name, of) = field.split_once(':').unwrap();
                        // The agent's serde does not write Rust's own words.
                        let name = if name == "type" { "type_" } else { name };
                        (name.to_owned(), of.to_owned())
                    });
                    all.messages.insert((*name).to_owned(), fields.collect());
                }
                [] => {}
            }
        }
        all
    }

    /// The fields of a message as the agent asks about it.
    fn fields(&self, message: &str) -> &[(String, String)] {
        let (sent, asked) = PREPARED;
        &self.messages[if message == sent { asked } else { message }]
    }

    /// Every object in a request: its JSON pointer and its members, `None` for a map.
    pub(crate) fn objects(
        &self,
        message: &str,
        request: &Value,
    ) -> Vec<(String, Option<BTreeSet<&str>>)> {
        let mut out = Vec::new();
        self.walk(message, request, "", &mut out);
        out
    }

    fn walk<'s>(
        &'s self,
        of: &str,
        value: &Value,
        at: &str,
        out: &mut Vec<(String, Option<BTreeSet<&'s str>>)>,
    ) {
        if value.is_null() {
            return;
        }
        if let Some(of) = of.strip_prefix("[]") {
            for (index, item) in value.as_array().unwrap().iter().enumerate() {
                self.walk(of, item, &format!("{at}/{index}"), out);
            }
        } else if of.starts_with("{}") {
            assert!(value.is_object(), "{at}");
            out.push((at.to_owned(), None));
        } else if self.messages.contains_key(of) {
            let members = self.fields(of);
            let names = members.iter().map(|(name, _)| name.as_str()).collect();
            out.push((at.to_owned(), Some(names)));
            for (name, of) in members {
                if let Some(member) = value.get(name) {
                    self.walk(of, member, &format!("{at}/{name}"), out);
                }
            }
        }
    }

    /// What our list can say of a field of this type.
    fn kinds(&self, of: &str) -> &'static [&'static str] {
        let bare = of.trim_start_matches("[]");
        let list = bare.len() < of.len();
        match bare {
            "string" if list => &["texts"],
            "string" => &["text"],
            "bool" => &["flag"],
            "bytes" => &["numbers"],
            _ if of.starts_with("{}") => &["map"],
            _ if self.messages.contains_key(bare) && list => &["list", "absent"],
            _ if self.messages.contains_key(bare) => &["absent"],
            _ if list => &["numbers"],
            _ => &["number"],
        }
    }

    /// Differences between the fields of a message and our list.
    fn differences(&self, message: &str, out: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        self.compare(message, message, "", &mut seen, out);
        for field in fields(message) {
            if !seen.contains(field.path) {
                out.push(format!("{message}.{} is not the agent's", field.path));
            }
        }
    }

    fn compare(
        &self,
        message: &str,
        of: &str,
        at: &str,
        seen: &mut BTreeSet<String>,
        out: &mut Vec<String>,
    ) {
        for (name, of) in self.fields(of) {
            let path = format!("{at}{name}");
            let listed = fields(message).find(|field| field.path == path);
            let bare = of.trim_start_matches("[]");
            if let Some(field) = listed {
                let kind = kind(field.kind);
                if !self.kinds(of).contains(&kind) {
                    out.push(format!("{message}.{path} is {of}, not {kind}"));
                }
                seen.insert(path.clone());
                if field.kind == Kind::List {
                    self.compare(message, bare, &format!("{path}[]."), seen, out);
                }
            } else if self.messages.contains_key(bare) && bare.len() == of.len() {
                self.compare(message, of, &format!("{path}."), seen, out);
            } else {
                out.push(format!("{message}.{path} has no guard"));
            }
        }
    }

    /// Everything that is wrong between the agent, our list of fields and the rules.
    fn check(&self, rules: &str) -> Vec<String> {
        let mut out = Vec::new();
        let mut ruled = BTreeSet::new();
        for line in rules.lines() {
            let end = line.find([' ', '(']).unwrap_or(line.len());
            if line.starts_with(|c: char| c.is_ascii_uppercase()) {
                ruled.insert(&line[..end]);
            }
        }
        // Asked once, about the policy itself.
        ruled.remove("AllowRequestsFailingPolicy");
        for message in &self.asked {
            if !ruled.remove(message.as_str()) {
                out.push(format!("{message} has no rule"));
                continue;
            }
            let constant = ["true", "false"]
                .iter()
                .any(|answer| rules.contains(&format!("\n{message} := {answer}\n")));
            match (constant, fields(message).next()) {
                (true, None) => {}
                (true, Some(_)) => out.push(format!("{message} has guards that no rule reads")),
                (false, _) => self.differences(message, &mut out),
            }
        }
        out.extend(
            ruled
                .into_iter()
                .map(|name| format!("{name} is not the agent's")),
        );
        for field in FIELDS {
            if !self.asked.contains(field.message) {
                out.push(format!("{} is not the agent's", field.message));
            }
        }
        out
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text(_) => "text",
        Kind::Number(_) => "number",
        Kind::Flag => "flag",
        Kind::Texts => "texts",
        Kind::Numbers => "numbers",
        Kind::Map => "map",
        Kind::Absent => "absent",
        Kind::List => "list",
        _ => "another",
    }
}

#[test]
fn every_field_of_the_agent_has_a_guard_and_every_message_a_rule() {
    let agent = Definitions::read();
    assert_eq!(agent.asked.len(), 41);
    assert_eq!(agent.check(RULES), [""; 0]);
}

#[test]
fn a_field_or_a_message_of_a_newer_agent_is_found() {
    let found = |from: &str, to: &str| {
        assert!(AGENT.contains(from), "{from}");
        Definitions::of(&AGENT.replacen(from, to, 1)).check(RULES)
    };
    for (from, to, says) in [
        (
            "\nProcess Terminal:bool",
            "\nProcess Scheduler:Box Terminal:bool",
            "CreateContainerRequest.OCI.Process.Scheduler.Height has no guard",
        ),
        (
            "\nStorage driver:string",
            "\nStorage newer:[]Box driver:string",
            "CreateSandboxRequest.storages[].newer has no guard",
        ),
        (
            "\nARPNeighbor ",
            "\nARPNeighbor newer:uint32 ",
            "AddARPNeighborsRequest.neighbors.ARPNeighbors[].newer has no guard",
        ),
        (
            "\nPolicyCopyFileRequest ",
            "\nPolicyCopyFileRequest owner:string ",
            "CopyFileRequest.owner has no guard",
        ),
        (
            "sandbox_pidns:bool sandbox_id:string",
            "sandbox_pidns:bool",
            "CreateSandboxRequest.sandbox_id is not the agent's",
        ),
        (
            " Cwd:string",
            " Cwd:[]string",
            "ExecProcessRequest.process.Cwd is []string, not text",
        ),
        (
            "\nrpc AddSwap AddSwapRequest",
            "\nrpc AddSwap AddSwapRequest\nrpc New NewRequest",
            "NewRequest has no rule",
        ),
        (
            "\nrpc SetPolicy SetPolicyRequest",
            "",
            "SetPolicyRequest is not the agent's",
        ),
    ] {
        let found = found(from, to);
        assert!(found.contains(&says.to_owned()), "{says}: {found:?}");
    }
}

#[test]
fn a_prepared_message_holds_what_was_sent() {
    let agent = Definitions::read();
    let (sent, asked) = PREPARED;
    for (name, _) in &agent.messages[sent] {
        // The content; of a link its target.
        let kept = agent.messages[asked].iter().any(|(other, _)| other == name);
        assert_eq!(kept, name != "data", "{name}");
    }
}

#[test]
fn the_request_builder_writes_the_messages_as_the_agent_does() {
    let agent = Definitions::read();
    let mut seen = BTreeSet::new();
    for case in [small(), mesh(), rich("kata-3"), rich("kata-4"), attached()] {
        for request in case.with(request::life) {
            assert!(agent.asked.contains(request.message), "{}", request.message);
            for (pointer, members) in agent.objects(request.message, &request.input) {
                let object = request.input.pointer(&pointer).unwrap();
                let have: BTreeSet<_> = object.as_object().unwrap().keys().collect();
                let have: BTreeSet<&str> = have.into_iter().map(String::as_str).collect();
                if let Some(members) = members {
                    assert_eq!(have, members, "{}: {pointer}", request.title);
                    seen.insert((request.message, pointer));
                }
            }
        }
    }
    assert!(seen.len() > 50, "{}", seen.len());
}
