//! Replaying a pod's requests, as they are and as a hostile host could send them.

use serde_json::Value;

use crate::evaluate::EvaluateError;
use crate::generate::Policy;
use crate::input::WorkloadInput;
use crate::mutate;
use crate::request;

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// What happens.
    pub title: String,
    /// The container; `None` for the sandbox and its network.
    pub container: Option<String>,
    /// The message.
    pub message: &'static str,
    /// Whether the policy lets it pass.
    pub allowed: bool,
    /// Names of the checks that failed.
    pub checks: Vec<String>,
    /// For a mutation that passes: why it does no harm, or nothing if it would.
    pub harmless: Option<&'static str>,
}

/// A change to the requests: `web:args=sh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The container.
    pub container: String,
    /// `args`, `env`, `image`, `cwd`, `user` or a JSON pointer into the request.
    pub field: String,
    /// The new value; a list is separated by commas, or a JSON list of texts.
    pub value: String,
}

/// Why a [`Change`] cannot be read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Not of the form `container:field=value`.
    #[error("{text:?} is not of the form container:field=value")]
    Form {
        /// What was given.
        text: String,
    },
    /// No such container or field.
    #[error("no request of container {container:?} has the field {field:?}")]
    NoField {
        /// The container.
        container: String,
        /// The field.
        field: String,
    },
}

impl std::str::FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let form = || ChangeError::Form {
            text: text.to_owned(),
        };
        let (container, rest) = text.split_once(':').ok_or_else(form)?;
        let (field, value) = rest.split_once('=').ok_or_else(form)?;
        if container.is_empty() || field.is_empty() {
            return Err(form());
        }
        Ok(Self {
            container: container.to_owned(),
            field: field.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl Change {
    fn apply(&self, input: &mut Value) -> bool {
        if self.field == "image" {
            return mutate::image(input, &self.value);
        }
        let words = || {
            let listed: Option<Vec<String>> = serde_json::from_str(&self.value).ok();
            let split = || self.value.split(',').map(str::to_owned).collect();
            Value::from(listed.unwrap_or_else(split))
        };
        let (pointer, value) = match self.field.as_str() {
            "args" => ("/OCI/Process/Args", words()),
            "env" => ("/OCI/Process/Env", words()),
            "cwd" => ("/OCI/Process/Cwd", self.value.clone().into()),
            "user" => ("/OCI/Process/User/UID", number(&self.value)),
            pointer => (
                pointer,
                serde_json::from_str(&self.value).unwrap_or_else(|_| self.value.clone().into()),
            ),
        };
        match input.pointer_mut(pointer) {
            Some(place) => {
                *place = value;
                true
            }
            None => false,
        }
    }
}

fn number(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_| text.into(), Value::from)
}

/// The pod's whole life, with changes to its create requests.
pub fn replay(
    policy: &Policy,
    input: &WorkloadInput<'_>,
    changes: &[Change],
) -> Result<Vec<Row>, SimulateError> {
    let mut session = policy.session()?;
    let mut used = vec![false; changes.len()];
    let mut rows = Vec::new();
    for mut request in request::life(input) {
        if request.message == "CreateContainerRequest" {
            for (change, used) in changes.iter().zip(&mut used) {
                if request.container.as_deref() == Some(&change.container) {
                    *used |= change.apply(&mut request.input);
                }
            }
        }
        let (allowed, checks) = match session.request(request.message, &request.input) {
            Ok(decision) => {
                let checks = decision.denial().map(|d| d.checks).unwrap_or_default();
                (decision.allowed, checks)
            }
            Err(_) => (false, Vec::new()),
        };
        rows.push(Row {
            title: request.title,
            container: request.container,
            message: request.message,
            allowed,
            checks,
            harmless: None,
        });
    }
    match changes.iter().zip(used).find(|(_, used)| !used) {
        Some((change, _)) => Err(SimulateError::Change(ChangeError::NoField {
            container: change.container.clone(),
            field: change.field.clone(),
        })),
        None => Ok(rows),
    }
}

/// Every mutation of every request, each at its place in the pod's life.
pub fn attack(policy: &Policy, input: &WorkloadInput<'_>) -> Result<Vec<Row>, SimulateError> {
    let mut session = policy.session()?;
    let mut rows = Vec::new();
    for request in request::life(input) {
        for mutation in mutate::all(request.message, &request.input) {
            let verdict = session.probe(request.message, &mutation.input);
            let allowed = verdict.as_ref().is_ok_and(|d| d.allowed);
            rows.push(Row {
                title: format!("{}: {}", request.title, mutation.title),
                container: request.container.clone(),
                message: request.message,
                allowed,
                checks: verdict
                    .ok()
                    .and_then(|d| d.denial())
                    .map(|d| d.checks)
                    .unwrap_or_default(),
                harmless: allowed
                    .then(|| mutate::harmless(request.message, &mutation))
                    .flatten()
                    .map(|row| row.reason),
            });
        }
        session.request(request.message, &request.input)?;
    }
    Ok(rows)
}

/// Why a simulation did not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// A change could not be made.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The rules could not be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}
