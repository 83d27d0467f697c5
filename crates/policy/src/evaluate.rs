//! Evaluation as the agent does it: one engine, one request after the other, state in `data`.

use std::sync::OnceLock;

use regorus::{Engine, PolicyLengthConfig};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::rules::{self, RULES};

/// The agent's own limits for a policy (`src/agent/policy/src/policy.rs`): columns, bytes, lines.
const LENGTHS: (u32, usize, usize) = (64 * 1024, 16 * 1024 * 1024, 200_000);

/// What the agent would answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Whether the request passes.
    pub allowed: bool,
    /// Changes to the state, as RFC 6902 operations; applied already.
    pub ops: Vec<Value>,
    /// What the rules printed. The agent puts it into the error text of a denial.
    pub prints: Vec<String>,
}

impl Decision {
    /// Container and missing checks of a denial, from the line the rules print.
    pub fn denial(&self) -> Option<Denial> {
        self.prints.iter().find_map(|line| Denial::parse(line))
    }
}

/// The line the rules print on a denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Container name of the policy, `.` for the sandbox, `?` for one the policy does not have.
    pub container: String,
    /// Names of the checks that do not hold, sorted.
    pub checks: Vec<String>,
}

impl Denial {
    /// Finds the line in a longer text.
    pub fn parse(text: &str) -> Option<Self> {
        let at = rules::versions().find_map(|version| text.find(&format!("{version} ")))?;
        let mut words = text.get(at..)?.split_whitespace().skip(1);
        let clean = |word: &str| {
            word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && !"?.-".contains(c))
                .to_owned()
        };
        let container = clean(words.next()?);
        let checks: Vec<_> = words
            .next()?
            .split(',')
            .map(clean)
            .filter(|check| !check.is_empty())
            .collect();
        (!checks.is_empty()).then_some(Self { container, checks })
    }
}

/// Why a request got no answer. The agent refuses such a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The text is not Rego, or exceeds the agent's limits.
    #[error("the policy does not load: {reason}")]
    Policy {
        /// What the engine says.
        reason: String,
    },
    /// The rules' evaluation failed or gave something else than a verdict.
    #[error("{message} gets no verdict: {reason}")]
    Verdict {
        /// The message name.
        message: String,
        /// What the engine says.
        reason: String,
    },
    /// The rules asked for a change of state that cannot be made.
    #[error("{message}: the state cannot be changed at {path}")]
    State {
        /// The message name.
        message: String,
        /// JSON pointer of the operation.
        path: String,
    },
}

/// A guest's life as far as its policy sees it.
#[derive(Clone)]
pub struct Session {
    engine: Engine,
    state: Value,
    /// What travels with the input, see [`Session::with_data`].
    beside: Option<Beside>,
}

/// Data of the workload and the state, as the engine has them.
#[derive(Clone)]
struct Beside {
    data: regorus::Value,
    state: regorus::Value,
}

impl Session {
    /// Loads a whole policy text, as the agent does.
    pub fn load(policy: &str) -> Result<Self, EvaluateError> {
        let mut engine = engine();
        engine
            .add_policy("agent_policy".to_owned(), policy.to_owned())
            .map_err(|e| EvaluateError::Policy {
                reason: e.to_string(),
            })?;
        let mut session = Self {
            engine,
            state: json!({}),
            beside: None,
        };
        session.publish()?;
        Ok(session)
    }

    /// The shipped rules with these data, parsed and analysed once per process: for many workloads in
    /// a row.
    ///
    /// Data and state travel with the input, because an engine analyses its rules again whenever
    /// its data change.
    pub(crate) fn with_data(data: &Value) -> Result<Self, EvaluateError> {
        static PREPARED: OnceLock<Result<Engine, EvaluateError>> = OnceLock::new();
        let prepared = PREPARED.get_or_init(|| {
            let policy = |reason: String| EvaluateError::Policy { reason };
            let mut engine = engine();
            let rules = RULES
                .replace("input", "input.request")
                .replace("\nst := data.pstate\n", "\nst := input.state\n");
            let text = format!("{rules}\npolicy_data := input.data\n");
            engine
                .add_policy("agent_policy".to_owned(), text)
                .map_err(|e| policy(e.to_string()))?;
            // The first evaluation analyses the rules; whatever it answers is of no interest.
            engine.set_input(converted(&json!({})).map_err(policy)?);
            engine
                .eval_rule("data.agent_policy.AllowRequestsFailingPolicy".to_owned())
                .map_err(|e| policy(e.to_string()))?;
            Ok(engine)
        });
        let data = converted(data).map_err(|reason| EvaluateError::Policy { reason })?;
        Ok(Self {
            engine: prepared.clone()?,
            state: json!({}),
            beside: Some(Beside {
                data,
                state: regorus::Value::new_object(),
            }),
        })
    }

    /// The same guest in another state.
    pub(crate) fn with_state(mut self, state: Value) -> Result<Self, EvaluateError> {
        self.state = state;
        self.publish()?;
        Ok(self)
    }

    /// The state, the agent's `data.pstate`.
    pub fn state(&self) -> &Value {
        &self.state
    }

    /// Asks for a verdict and applies the changes of state that come with it.
    pub fn request(&mut self, message: &str, input: &Value) -> Result<Decision, EvaluateError> {
        let decision = self.probe(message, input)?;
        if decision.allowed && !decision.ops.is_empty() {
            let mut all = Value::from_iter([("pstate", std::mem::take(&mut self.state))]);
            let done = decision.ops.iter().try_for_each(|op| patch(&mut all, op));
            self.state = all.get_mut("pstate").map(Value::take).unwrap_or_default();
            done.map_err(|path| EvaluateError::State {
                message: message.to_owned(),
                path,
            })?;
            self.publish()?;
        }
        Ok(decision)
    }

    /// The verdict without any change of state.
    pub fn probe(&mut self, message: &str, input: &Value) -> Result<Decision, EvaluateError> {
        let fail = |reason: String| EvaluateError::Verdict {
            message: message.to_owned(),
            reason,
        };
        if message.is_empty() || !message.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(fail("not a message name".to_owned()));
        }
        let answer = self.value(message, input);
        // Also where there is no verdict: the next request has lines of its own.
        let prints = self.engine.take_prints().unwrap_or_default();
        let answer = answer.map_err(fail)?;
        match answer {
            Value::Bool(allowed) => Ok(Decision {
                allowed,
                ops: Vec::new(),
                prints,
            }),
            Value::Object(mut object) => {
                let allowed = object.get("allowed").and_then(Value::as_bool);
                let allowed = allowed.ok_or_else(|| fail("no member allowed".to_owned()))?;
                let ops = match object.remove("ops") {
                    Some(Value::Array(ops)) => ops,
                    None | Some(Value::Null) => Vec::new(),
                    Some(_) => return Err(fail("ops is not a list".to_owned())),
                };
                Ok(Decision {
                    allowed,
                    ops,
                    prints,
                })
            }
            _ => Err(fail("neither a boolean nor an object".to_owned())),
        }
    }

    /// A document of the rules (`got`, `want`, …) for this input, for explanations.
    pub(crate) fn document(&mut self, name: &str, input: &Value) -> Option<Value> {
        self.value(name, input).ok()
    }

    fn value(&mut self, name: &str, input: &Value) -> Result<Value, String> {
        let rule = format!("data.agent_policy.{name}");
        if let Some(Beside { data, state }) = &self.beside {
            let mut whole = regorus::Value::new_object();
            let members = whole.as_object_mut().map_err(|e| e.to_string())?;
            members.insert("request".into(), converted(input)?);
            members.insert("state".into(), state.clone());
            members.insert("data".into(), data.clone());
            self.engine.set_input(whole);
            let value = self.engine.eval_rule(rule).map_err(|e| e.to_string())?;
            return back(&value);
        }
        self.engine.set_input(converted(input)?);
        let results = self
            .engine
            .eval_query(rule, false)
            .map_err(|e| e.to_string())?;
        let [result] = results.result.as_slice() else {
            return Err("no result".to_owned());
        };
        let [expression] = result.expressions.as_slice() else {
            return Err("not one expression".to_owned());
        };
        back(&expression.value)
    }

    /// Hands the state to the engine as the agent does: clear, then add.
    fn publish(&mut self) -> Result<(), EvaluateError> {
        if let Some(beside) = &mut self.beside {
            let state = converted(&self.state);
            beside.state = state.map_err(|reason| EvaluateError::Policy { reason })?;
            return Ok(());
        }
        self.load_data(&json!({ "pstate": self.state }))
    }

    fn load_data(&mut self, data: &Value) -> Result<(), EvaluateError> {
        self.engine.clear_data();
        let reason = match converted(data) {
            Ok(data) => match self.engine.add_data(data) {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            },
            Err(error) => error,
        };
        Err(EvaluateError::Policy { reason })
    }
}

fn converted(value: &Value) -> Result<regorus::Value, String> {
    regorus::Value::deserialize(value).map_err(|e| e.to_string())
}

fn back(value: &regorus::Value) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|e| e.to_string())
}

/// An engine set up as the agent's.
fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(false);
    engine.set_gather_prints(true);
    if let (Some(max_col), Some(max_file_bytes), Some(max_lines)) = (
        std::num::NonZeroU32::new(LENGTHS.0),
        std::num::NonZeroUsize::new(LENGTHS.1),
        std::num::NonZeroUsize::new(LENGTHS.2),
    ) {
        engine.set_policy_length_config(PolicyLengthConfig {
            max_col,
            max_file_bytes,
            max_lines,
        });
    }
    engine
}

/// Applies one operation of RFC 6902 (`add`, `replace`, `remove`, `test`); an `Err` holds the path.
fn patch(document: &mut Value, op: &Value) -> Result<(), String> {
    let path = op
        .get("path")
        .and_then(Value::as_str)
        .ok_or_else(String::new)?;
    let fail = || path.to_owned();
    let (parent, key) = path.rsplit_once('/').ok_or_else(fail)?;
    let key = key.replace("~1", "/").replace("~0", "~");
    let kind = op.get("op").and_then(Value::as_str).ok_or_else(fail)?;
    if kind == "test" {
        return match document.pointer(path) == op.get("value") {
            true => Ok(()),
            false => Err(fail()),
        };
    }
    let parent = document
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .ok_or_else(fail)?;
    match kind {
        "add" => {
            parent.insert(key, op.get("value").ok_or_else(fail)?.clone());
        }
        "replace" => {
            *parent.get_mut(&key).ok_or_else(fail)? = op.get("value").ok_or_else(fail)?.clone();
        }
        "remove" => {
            parent.remove(&key).ok_or_else(fail)?;
        }
        _ => return Err(fail()),
    }
    Ok(())
}
