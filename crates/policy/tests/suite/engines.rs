//! The same policies in the engines guests have: 0.2.8, which the agent of Kata 3.29 pins, 0.9.1 with its
//! built-in limits (1024 columns, 20 000 lines, 1 MiB), 0.10, whose first release holds the commit that
//! later agents pin, and 0.14, the newest there is.

use nacre_policy::request;
use serde_json::{Value, json};

use crate::common::{Case, mesh, small};

/// Runs a pod's life in one engine, with the state handled as the agent does, and a denied
/// request in the middle.
macro_rules! engine {
    ($name:ident, $answers:ident, $krate:ident) => {
        fn $answers(policy: &str, requests: &[(&str, Value)]) -> Vec<Answer> {
            let mut engine = $krate::Engine::new();
            engine.set_strict_builtin_errors(false);
            engine.set_gather_prints(true);
            engine.add_policy("agent_policy".to_owned(), policy.to_owned()).unwrap();
            engine.add_data($krate::Value::from_json_str(r#"{"pstate": {}}"#).unwrap()).unwrap();
            let answer = |(message, input): &(&str, Value)| {
                engine.set_input($krate::Value::from_json_str(&input.to_string()).unwrap());
                let results = engine.eval_query(format!("data.agent_policy.{message}"), false).unwrap();
                let text = results.result[0].expressions[0].value.to_json_str().unwrap();
                let value: Value = serde_json::from_str(&text).unwrap();
                let allowed = value == json!(true) || value["allowed"] == json!(true);
                (allowed, engine.take_prints().unwrap().join(" "))
            };
            requests.iter().map(answer).collect()
        }

        fn $name(case: &Case) {
            let policy = case.policy();
            let mut engine = $krate::Engine::new();
            engine.set_strict_builtin_errors(false);
            engine.set_gather_prints(true);
            engine.add_policy("agent_policy".to_owned(), policy.text.clone()).unwrap();
            let mut state = json!({"pstate": {}});
            let publish = |engine: &mut $krate::Engine, state: &Value| {
                engine.clear_data();
                engine.add_data($krate::Value::from_json_str(&state.to_string()).unwrap()).unwrap();
            };
            publish(&mut engine, &state);
            let ask = |engine: &mut $krate::Engine, message: &str, input: &Value| -> Value {
                engine.set_input($krate::Value::from_json_str(&input.to_string()).unwrap());
                let results = engine.eval_query(format!("data.agent_policy.{message}"), false).unwrap();
                let text = results.result[0].expressions[0].value.to_json_str().unwrap();
                serde_json::from_str(&text).unwrap()
            };
            for request in case.with(request::life) {
                if request.message == "CreateContainerRequest" {
                    let mut changed = request.input.clone();
                    changed["OCI"]["Process"]["Args"] = json!(["/bin/sh"]);
                    assert_eq!(ask(&mut engine, request.message, &changed), json!(false));
                    let prints = engine.take_prints().unwrap().join(" ");
                    assert!(prints.contains("nacre1 ") && prints.contains("args"), "{prints}");
                }
                let answer = ask(&mut engine, request.message, &request.input);
                let allowed = answer == json!(true) || answer["allowed"] == json!(true);
                assert!(allowed, "{}: {:?}", request.title, engine.take_prints());
                for op in answer.get("ops").and_then(Value::as_array).into_iter().flatten() {
                    let (parent, key) = op["path"].as_str().unwrap().rsplit_once('/').unwrap();
                    state.pointer_mut(parent).unwrap()[key] = op["value"].clone();
                    publish(&mut engine, &state);
                }
            }
        }
    };
}

engine!(in_0_2, answers_0_2, regorus_0_2);
engine!(in_0_9, answers_0_9, regorus_0_9);
engine!(in_0_10, answers_0_10, regorus_0_10);
engine!(in_0_14, answers_0_14, regorus_0_14);

/// Whether a request passes, and what was printed.
pub(crate) type Answer = (bool, String);

/// What an engine makes of the requests, each in the state of the beginning.
type Answers = fn(&str, &[(&str, Value)]) -> Vec<Answer>;

/// The engines by version.
pub(crate) const ENGINES: &[(&str, Answers)] = &[
    ("0.2.8", answers_0_2),
    ("0.9.1", answers_0_9),
    ("0.10", answers_0_10),
    ("0.14", answers_0_14),
];

#[test]
fn policies_mean_the_same_in_0_2_8() {
    in_0_2(&small());
    in_0_2(&mesh());
}

#[test]
fn policies_mean_the_same_in_0_9_1_at_its_default_limits() {
    in_0_9(&small());
    in_0_9(&mesh());
}

#[test]
fn policies_mean_the_same_in_0_10() {
    in_0_10(&small());
    in_0_10(&mesh());
}

#[test]
fn policies_mean_the_same_in_0_14() {
    in_0_14(&small());
    in_0_14(&mesh());
}
