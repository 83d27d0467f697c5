//! Every field of the agent's messages that a pod's life needs, and what guards it.
//!
//! From `agent.proto`, `oci.proto` and `types.proto` of Kata 4.1 (`protocols`, as serde spells
//! them, with `CopyFileRequest` as the agent prepares it for the rules). The other guarded
//! messages are refused or allowed whatever they hold. A field cannot be written down here without
//! its guard; that these are exactly the fields of the agent's definitions (`tests/schema/kata-agent.txt`, made by
//! `cargo xtask agent-schema`), that the request builder makes them, and that each guard guards, is tested with
//! values made from this table.

mod fields;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::mutate::harmless::{EVERY, PAUSE};
use crate::mutate::{HARMLESS, Kind as Change};

pub use fields::FIELDS;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name of the protobuf message, which is the name of the rule.
    pub message: &'static str,
    /// Where it stands: members joined by dots, `[]` for every item of a list.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What becomes of other values.
    pub guard: Guard,
}

/// What a field holds, and with it the values that a hostile host would try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A text; these are tried.
    Text(&'static [&'static str]),
    /// A number; these are tried.
    Number(&'static [i64]),
    /// A boolean; the other one is tried.
    Flag,
    /// A list of texts: none, others, one more are tried.
    Texts,
    /// A list of numbers, in the same way.
    Numbers,
    /// Names and values: none, and one more are tried.
    Map,
    /// A message or a list of messages that no pod needs: something in it is tried.
    Absent,
    /// A list of messages whose members are fields of their own: none of them is tried.
    List,
}

/// What keeps a field from holding something else than the pod says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// At least one of these checks of the rules does not hold then.
    Checks(&'static [&'static str]),
    /// The same for some other values; which of them pass, and why that cannot be helped.
    Partly(&'static [&'static str], &'static str),
    /// The rule of the message has no checks by name; what it demands.
    Rule(&'static str),
    /// Nothing does, because it can do no harm; why.
    Free(&'static str),
}

impl Field {
    /// Whether this check is one of its guards.
    pub fn is_guarded_by(&self, check: &str) -> bool {
        match self.guard {
            Guard::Checks(checks) | Guard::Partly(checks, _) => checks.contains(&check),
            Guard::Rule(_) | Guard::Free(_) => false,
        }
    }

    /// Every value of the field in a message, with its exact path as a JSON pointer.
    pub fn values<'v>(&self, message: &'v Value) -> Vec<(String, &'v Value)> {
        let mut found = vec![(String::new(), message)];
        for step in self.path.split('.').filter(|step| !step.is_empty()) {
            let (key, each) = match step.strip_suffix("[]") {
                Some(key) => (key, true),
                None => (step, false),
            };
            let mut next = Vec::new();
            for (at, value) in found {
                let Some(member) = value.get(key) else {
                    continue;
                };
                let at = format!("{at}/{key}");
                match (each, member) {
                    (true, Value::Array(items)) => next.extend(
                        items
                            .iter()
                            .enumerate()
                            .map(|(index, item)| (format!("{at}/{index}"), item)),
                    ),
                    (true, _) => {}
                    (false, member) => next.push((at, member)),
                }
            }
            found = next;
        }
        found
    }

    /// What a hostile host would write there instead of `value`.
    pub fn hostile(&self, value: &Value) -> Vec<Value> {
        let mut tries = match self.kind {
            Kind::Text(texts) => texts.iter().map(|text| json!(text)).collect(),
            Kind::Number(numbers) => numbers.iter().map(|number| json!(number)).collect(),
            Kind::Flag => vec![json!(value != &json!(true))],
            Kind::Texts => lists(value, "evil".into()),
            Kind::Numbers => lists(value, 4242.into()),
            Kind::Map => {
                let mut more = value.clone();
                if let Some(members) = more.as_object_mut() {
                    members.insert("evil".to_owned(), "evil".into());
                }
                vec![json!({}), more]
            }
            Kind::Absent => vec![json!({"evil": 1}), json!([{"evil": 1}])],
            Kind::List => vec![json!([])],
        };
        tries.retain(|other| other != value);
        tries
    }
}

/// None, one more, another one instead.
fn lists(value: &Value, item: Value) -> Vec<Value> {
    let mut more = value.as_array().cloned().unwrap_or_default();
    more.push(item.clone());
    vec![json!([]), json!(more), json!([item])]
}

/// The fields of one message.
pub fn fields(message: &str) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.message == message)
}

/// What a request holds in the fields that a check guards, by path; what is empty is left out.
pub(crate) fn guarded(message: &str, check: &str, request: &Value) -> BTreeMap<String, Value> {
    let empty = [
        json!(null),
        json!(""),
        json!([]),
        json!(0),
        json!(false),
        json!({}),
    ];
    let fields = fields(message).filter(|field| field.is_guarded_by(check));
    let values = fields.flat_map(|field| field.values(request));
    values
        .filter(|(_, value)| !empty.contains(value))
        .map(|(at, value)| (at.trim_start_matches('/').replace('/', "."), value.clone()))
        .collect()
}

const fn field(message: &'static str, path: &'static str, kind: Kind, guard: Guard) -> Field {
    Field {
        message,
        path,
        kind,
        guard,
    }
}

/// The list as a table, for `docs/request-fields.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Fields of requests\n\n\
         <!-- From crates/policy/src/schema.rs and mutate.rs (`nacre_policy::schema::markdown`). -->\n\n\
         Every field of the messages that a pod's life needs, and the check of the rules that refuses\n\
         another value than the pod gives. What no check guards can do no harm, for the reason given.\n\
         All other messages of the agent are refused or allowed whatever they hold\n\
         ([policies.md](policies.md)). A test holds the list against the agent's own definitions (the same in Kata 3.29\n\
         to 4.1; `cargo xtask agent-schema` takes them from another version): a field without a guard fails it.\n",
    );
    let mut message = "";
    for field in FIELDS {
        if field.message != message {
            message = field.message;
            out.push_str(&format!("\n## {message}\n\n| Field | Guard |\n|---|---|\n"));
        }
        let named = |checks: &[&str]| {
            let names: Vec<_> = checks.iter().map(|name| format!("`{name}`")).collect();
            names.join(" or ")
        };
        let guard = match field.guard {
            Guard::Checks(checks) => named(checks),
            Guard::Partly(checks, but) => format!("{}; {but}", named(checks)),
            Guard::Rule(demand) => format!("the rule itself: {demand}"),
            Guard::Free(reason) => format!("none: {reason}"),
        };
        out.push_str(&format!("| `{}` | {guard} |\n", field.path));
    }
    out.push_str(
        "\n## Changes that pass\n\n\
         `nacre simulate --mutate` tries every change of every member of every request of a pod. These\n\
         are the ones the rules let pass, and there are no others; `.*` is everything below, which `any` includes:\n\n\
         | Message | Where | Change | Why it does no harm |\n|---|---|---|---|\n",
    );
    for row in HARMLESS {
        let place = match (row.message, row.path) {
            (EVERY, "") => "anywhere but in maps".to_owned(),
            (_, "") if row.is_any() => "anywhere".to_owned(),
            (_, "") => "the message itself".to_owned(),
            (_, path) => format!("`{path}`"),
        };
        let message = match row.message {
            EVERY => "every",
            PAUSE => "CreateContainerRequest of the sandbox",
            message => message,
        };
        let change = match row.is_any() {
            true => "any".to_owned(),
            false => {
                // Another value is also one of its shape.
                let said = |kind: &&Change| {
                    **kind != Change::Alter || !row.kinds.contains(&Change::Change)
                };
                let kinds = row.kinds.iter().filter(said);
                let kinds: Vec<_> = kinds.map(|kind| kind.as_str()).collect();
                kinds.join(", ")
            }
        };
        out.push_str(&format!(
            "| {message} | {place} | {change} | {} |\n",
            row.reason
        ));
    }
    out
}
