//! Requests with the answer that is expected: tests of a policy that its owner writes.
//!
//! A file holds one `{"description", "allowed", "request"}` or a list of them. The request is
//! `{"kind": …, "request": …}`, as the agent logs it, or the bare message where its members tell
//! what it is. The requests of a list are one guest's life: what was allowed changes the state that
//! the next is evaluated in.

use serde_json::{Value, json};

use crate::evaluate::{EvaluateError, Session};
use crate::explain::kind_of;
use crate::pod;
use crate::request::Request;

/// One request and its expected answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fixture {
    /// For people.
    pub description: String,
    /// The expected answer.
    pub allowed: bool,
    /// Name of the message.
    pub message: String,
    /// The message as the agent gives it to the rules.
    pub request: Value,
}

/// Why a file holds no fixtures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FixtureError {
    /// Not JSON.
    #[error("not JSON: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
    /// A member is missing or has another type.
    #[error("fixture {number}: {what}")]
    Member {
        /// Which one, from 1.
        number: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// What became of a fixture.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Whether the policy allows the request.
    pub allowed: bool,
    /// Names of the checks that failed.
    pub checks: Vec<String>,
    /// Why there was no verdict, which denies.
    pub error: Option<EvaluateError>,
}

/// Reads a file.
pub fn parse(text: &str) -> Result<Vec<Fixture>, FixtureError> {
    let value: Value = serde_json::from_str(text).map_err(|error| FixtureError::Json {
        reason: error.to_string(),
    })?;
    let items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| read(index + 1, item))
        .collect()
}

fn read(number: usize, item: Value) -> Result<Fixture, FixtureError> {
    let wrong = |what| FixtureError::Member { number, what };
    let members = item.as_object().ok_or_else(|| wrong("not an object"))?;
    if members
        .keys()
        .any(|key| !["description", "allowed", "request"].contains(&key.as_str()))
    {
        return Err(wrong(
            "has members other than description, allowed and request",
        ));
    }
    let description =
        pod::text(&item, "description").ok_or_else(|| wrong("description is no text"))?;
    let allowed = pod::flag(&item, "allowed").ok_or_else(|| wrong("allowed is no boolean"))?;
    let request = item.get("request").filter(|r| r.is_object());
    let request = request.ok_or_else(|| wrong("request is no object"))?;
    let (message, request) = match (pod::text(request, "kind"), request.get("request")) {
        (Some(kind), Some(request)) => (kind, request),
        _ => (
            kind_of(request)
                .ok_or_else(|| wrong("request names no kind, and its members do not tell"))?,
            request,
        ),
    };
    Ok(Fixture {
        description: description.to_owned(),
        allowed,
        message: message.to_owned(),
        request: request.clone(),
    })
}

/// Evaluates the fixtures of one file, in order, in one guest.
pub fn run(session: &mut Session, fixtures: &[Fixture]) -> Vec<Outcome> {
    let outcomes =
        fixtures.iter().map(
            |fixture| match session.request(&fixture.message, &fixture.request) {
                Ok(decision) => Outcome {
                    allowed: decision.allowed,
                    checks: decision.denial().map(|d| d.checks).unwrap_or_default(),
                    error: None,
                },
                Err(error) => Outcome {
                    allowed: false,
                    checks: Vec::new(),
                    error: Some(error),
                },
            },
        );
    outcomes.collect()
}

/// Fixtures of a pod's own requests, all allowed: the beginning of a file.
pub fn write(requests: &[Request]) -> String {
    let items = requests.iter().map(|request| {
        json!({
            "description": request.title,
            "allowed": true,
            "request": {"kind": request.message, "request": request.input},
        })
    });
    format!("{:#}\n", Value::Array(items.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let member = |text: &str| match parse(text) {
            Err(FixtureError::Member { number, what }) => format!("{number}: {what}"),
            other => format!("{other:?}"),
        };
        assert_eq!(member("[1]"), "1: not an object");
        assert_eq!(member("{}"), "1: description is no text");
        let good = r#"{"description": "x", "allowed": false, "request": {"OCI": {}}}"#;
        assert_eq!(parse(good).unwrap()[0].message, "CreateContainerRequest");
        assert_eq!(
            member(&format!(
                "[{good}, {{\"description\": \"x\", \"allowed\": 1}}]"
            )),
            "2: allowed is no boolean"
        );
        assert_eq!(
            member(r#"{"description": "x", "allowed": true, "request": {"container_id": ""}}"#),
            "1: request names no kind, and its members do not tell"
        );
        assert_eq!(
            member(r#"{"description": "x", "allowed": true, "request": {}, "alowed": true}"#),
            "1: has members other than description, allowed and request"
        );
        assert!(matches!(parse("{"), Err(FixtureError::Json { .. })));
    }
}
