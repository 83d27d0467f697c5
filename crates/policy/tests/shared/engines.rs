//! The same policies in the engines guests have: 0.2.8, which the agent of Kata 3.29 pins, 0.9.1 with its
//! built-in limits (1024 columns, 20 000 lines, 1 MiB), 0.10, whose first release holds the commit that
//! later agents pin, and 0.14, the newest there is. For tests of several packages.

use nacre_policy::evaluate::Session;
use nacre_policy::mutate;
use serde_json::{Value, json};

/// A request; whether the state that it leads to is kept.
struct Step {
    title: String,
    message: String,
    input: Value,
    keep: bool,
}

/// Whether a request passes, and what was printed; nothing where there is no verdict.
type Answer = Option<(bool, String)>;

/// What an engine makes of the requests.
type Answers = fn(&str, &[Step]) -> Vec<Answer>;

/// The verdict in what the rules answer, and the changes of state.
fn verdict(value: &Value) -> Option<(bool, Vec<Value>)> {
    match value {
        Value::Bool(allowed) => Some((*allowed, Vec::new())),
        _ => {
            let ops = value["ops"].as_array().cloned().unwrap_or_default();
            Some((value["allowed"].as_bool()?, ops))
        }
    }
}

/// Runs requests in one engine, with the state handled as the agent does.
macro_rules! engine {
    ($answers:ident, $krate:ident) => {
        fn $answers(policy: &str, steps: &[Step]) -> Vec<Answer> {
            let mut engine = $krate::Engine::new();
            engine.set_strict_builtin_errors(false);
            engine.set_gather_prints(true);
            engine
                .add_policy("agent_policy".to_owned(), policy.to_owned())
                .unwrap();
            let publish = |engine: &mut $krate::Engine, state: &Value| {
                engine.clear_data();
                let state = $krate::Value::from_json_str(&state.to_string()).unwrap();
                engine.add_data(state).unwrap();
            };
            let mut state = json!({"pstate": {}});
            publish(&mut engine, &state);
            let mut answer = |step: &Step| {
                let input = $krate::Value::from_json_str(&step.input.to_string()).unwrap();
                engine.set_input(input);
                let rule = format!("data.agent_policy.{}", step.message);
                let results = engine.eval_query(rule, false);
                let printed = engine.take_prints().unwrap().join(" ");
                let results = results.ok()?;
                let value = &results.result.first()?.expressions.first()?.value;
                let value = serde_json::from_str(&value.to_json_str().unwrap()).unwrap();
                let (allowed, ops) = verdict(&value)?;
                if allowed && step.keep && !ops.is_empty() {
                    for op in ops {
                        let (parent, key) = op["path"].as_str().unwrap().rsplit_once('/').unwrap();
                        state.pointer_mut(parent).unwrap()[key] = op["value"].clone();
                    }
                    publish(&mut engine, &state);
                }
                Some((allowed, printed))
            };
            steps.iter().map(&mut answer).collect()
        }
    };
}

engine!(in_0_2, regorus_0_2);
engine!(in_0_9, regorus_0_9);
engine!(in_0_10, regorus_0_10);
engine!(in_0_14, regorus_0_14);

/// The engines by version.
const ENGINES: &[(&str, Answers)] = &[
    ("0.2.8", in_0_2),
    ("0.9.1", in_0_9),
    ("0.10", in_0_10),
    ("0.14", in_0_14),
];

/// Runs a pod's life, and before each request one in `one_in` of the changes that a hostile host could make of it, in
/// our engine and in all others: verdicts and printed lines are the same, the life passes, and something is denied.
/// Returns how many requests were asked.
pub(crate) fn all_agree(policy: &str, life: &[(String, String, Value)], one_in: usize) -> usize {
    let mut steps = Vec::new();
    let mut count = 0_usize;
    for (title, message, input) in life {
        for mutation in mutate::all(message, input) {
            count += 1;
            if count.is_multiple_of(one_in) {
                steps.push(Step {
                    title: format!("{title}: {}", mutation.title),
                    message: message.clone(),
                    input: mutation.input,
                    keep: false,
                });
            }
        }
        steps.push(Step {
            title: title.clone(),
            message: message.clone(),
            input: input.clone(),
            keep: true,
        });
    }
    for message in ["AllowRequestsFailingPolicy", "SetPolicyRequest"] {
        steps.push(Step {
            title: message.to_owned(),
            message: message.to_owned(),
            input: json!({"policy": ""}),
            keep: false,
        });
    }
    let mut session = Session::load(policy).unwrap();
    let mut ours = |step: &Step| {
        let decision = if step.keep {
            session.request(&step.message, &step.input)
        } else {
            session.probe(&step.message, &step.input)
        };
        let decision = decision.ok()?;
        Some((decision.allowed, decision.prints.join(" ")))
    };
    let expected: Vec<Answer> = steps.iter().map(&mut ours).collect();
    for (step, answer) in steps.iter().zip(&expected).filter(|(step, _)| step.keep) {
        assert!(
            matches!(answer, Some((true, _))),
            "{}: {answer:?}",
            step.title
        );
    }
    let named = expected
        .iter()
        .flatten()
        .filter(|(_, line)| line.contains("nacre1 "));
    assert!(named.count() > 10);
    for (engine, answers) in ENGINES {
        for ((step, ours), theirs) in steps.iter().zip(&expected).zip(answers(policy, &steps)) {
            assert_eq!(theirs, *ours, "{engine}: {}", step.title);
        }
    }
    steps.len()
}
