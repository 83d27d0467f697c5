//! `nacre simulate`, `explain`, `report` and `policy` on an example.

use nacre_policy::Carrier;
use serde_json::{Value, json};

use crate::common::{Done, TestEnvironment};
use crate::denied::example;

const CONFIG: [&str; 4] = ["--config", "confidential.yaml", "--lock", "nacre.lock.yaml"];

/// An example after `nacre generate`.
fn rendered() -> TestEnvironment {
    let environment = example("go-client");
    let files = ["-o", "rendered.yaml", "client.yaml", "coordinator.yml"];
    environment
        .run(&[&["generate"][..], &CONFIG, &files].concat())
        .success();
    environment
}

fn simulate(environment: &TestEnvironment, args: &[&str]) -> Done {
    environment.run(&[&["simulate"][..], &CONFIG, args, &["rendered.yaml"]].concat())
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap()
}

/// Changes the policy of the first workload in its annotation.
fn tamper(environment: &TestEnvironment, change: impl FnOnce(String) -> String) {
    let text = environment.read("rendered.yaml");
    let key = Carrier::InitData.annotation_key();
    let line = text.lines().find(|line| line.contains(key)).unwrap();
    let (head, value) = line.split_once(": ").unwrap();
    let policy = Carrier::InitData.unpack(value).unwrap().policy;
    let carried = Carrier::InitData.pack(&change(policy));
    let new = format!("{head}: {}", carried.annotation_value);
    environment.write("rendered.yaml", text.replace(line, &new));
}

#[test]
fn a_pods_own_requests_pass() {
    let environment = rendered();
    let done = simulate(&environment, &["--output", "json"]).success();
    let value = json(&done);
    assert_eq!(value["workloads"].as_array().unwrap().len(), 2);
    for workload in value["workloads"].as_array().unwrap() {
        assert_eq!(workload["current"], true);
        let requests = workload["requests"].as_array().unwrap();
        assert!(requests.len() > 15);
        assert!(
            requests.iter().all(|r| r["allowed"] == true),
            "{requests:#?}"
        );
    }
    let one = simulate(&environment, &["--workload", "Deployment/teller"]).success();
    assert!(
        one.stdout.starts_with("bank/Deployment/teller\n"),
        "{}",
        one.stdout
    );
    assert!(
        one.stdout
            .contains("allowed  CreateContainerRequest  create: client\n"),
        "{}",
        one.stdout
    );
    assert!(!one.stdout.contains("coordinator"));
}

#[test]
fn a_change_shows_the_denial() {
    let environment = rendered();
    let done = simulate(&environment, &["--set", "client:args=sh,-c,id"]).success();
    let line = done
        .stdout
        .lines()
        .find(|line| line.contains("create: client"))
        .unwrap();
    assert!(
        line.starts_with("DENIED") && line.ends_with("[args]"),
        "{line}"
    );
    // What comes after a container that was not created is denied too, other workloads are not shown.
    assert!(!done.stdout.contains("StatefulSet"));
    for wrong in ["client", "nobody:args=x", "client:/nowhere=1"] {
        simulate(&environment, &["--set", wrong]).refused(1, "NCR0823");
    }
    simulate(&environment, &["--workload", "nobody"]).refused(1, "NCR0822");
}

#[test]
fn a_pod_that_was_changed_after_rendering_is_told() {
    let environment = rendered();
    let text = environment.read("rendered.yaml");
    let changed = text.replace("args: [\"client\"]", "args: [\"other\"]");
    assert_ne!(text, changed);
    environment.write("rendered.yaml", changed);
    let done = simulate(&environment, &[]);
    assert_eq!(done.code, Some(3), "{}", done.shown());
    assert!(
        done.stderr.contains("warning[NCR0801]") && done.stderr.contains("error[NCR0816]"),
        "{}",
        done.stderr
    );
    assert!(
        done.stdout.contains("create: client  [args]"),
        "{}",
        done.stdout
    );
}

#[test]
fn a_report_says_what_is_open() {
    let environment = rendered();
    let done = environment.run(&["report", "rendered.yaml"]).success();
    for part in [
        "## bank/Deployment/teller",
        "### Pinned",
        "| `client` | `sha256:",
        "### Not pinned, and why that matters",
        "### Allowed while it runs",
        "- `server`: nothing.",
        "## Beyond any policy",
    ] {
        assert!(done.stdout.contains(part), "{part} in {}", done.stdout);
    }
    let value = json(
        &environment
            .run(&["report", "--output", "json", "rendered.yaml"])
            .success(),
    );
    assert_eq!(value["workloads"][0]["workload"], "bank/Deployment/teller");
    assert_eq!(value["workloads"][0]["risk"], "low");
    let low = ["report", "--max-risk", "low", "--workload"];
    environment
        .run(&[&low[..], &["teller", "rendered.yaml"]].concat())
        .success();
    // The host writes the token with which the Coordinator keeps its history.
    let done = environment.run(&[&low[..], &["coordinator", "rendered.yaml"]].concat());
    assert_eq!(done.code, Some(3), "{}", done.shown());
    assert!(done.stderr.contains("serviceaccount"), "{}", done.stderr);
    // A Secret in a variable is the host's to choose.
    environment.write(
        "secret.yaml",
        environment.read("client.yaml").replace(
            "          args: [\"client\"]\n          env:\n",
            "          args: [\"client\"]\n          env:\n            - {name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: k}}}\n",
        ) + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: bank}\nstringData: {k: s3cret-value}\n",
    );
    let files = ["-o", "rendered.yaml", "secret.yaml", "coordinator.yml"];
    environment
        .run(&[&["generate"][..], &CONFIG, &files].concat())
        .success();
    let done = environment.run(&["report", "--max-risk", "medium", "rendered.yaml"]);
    assert_eq!(done.code, Some(3), "{}", done.shown());
    assert!(
        done.stderr.contains("error[NCR0818]") && done.stderr.contains("TOKEN"),
        "{}",
        done.stderr
    );
    assert!(
        done.stdout
            .contains("**high** `client`: variable `TOKEN` has any value"),
        "{}",
        done.stdout
    );
    assert!(!done.stdout.contains("s3cret-value"));
    environment
        .run(&["report", "--max-risk", "high", "rendered.yaml"])
        .success();
    assert_eq!(
        environment
            .run(&["report", "--max-risk", "none", "rendered.yaml"])
            .code,
        Some(2)
    );
}

#[test]
fn a_policy_is_decoded_and_verified() {
    let environment = rendered();
    let shown = environment
        .run(&["policy", "show", "rendered.yaml"])
        .success();
    assert!(
        shown
            .stdout
            .contains("bank/Deployment/teller\n  policyHash  "),
        "{}",
        shown.stdout
    );
    let text = environment.policy("--text", "teller");
    assert!(text.starts_with(nacre_policy::rules::RULES));
    let data = environment.policy("--data", "teller");
    assert!(data.starts_with("{\n"));
    assert!(
        text.trim_end()
            .ends_with(&format!("\npolicy_data := {}", data.trim_end()))
    );
    let value = json(
        &environment
            .run(&["policy", "show", "--output", "json", "rendered.yaml"])
            .success(),
    );
    let hash = value["workloads"][0]["policyHash"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(value["workloads"][0]["profile"], "strict");

    let verify = |args: &[&str]| {
        environment.run(&[&["policy", "verify", "rendered.yaml"][..], args].concat())
    };
    let done = verify(&[]).success();
    assert!(done.stdout.contains(&hash), "{}", done.stdout);
    verify(&["--manifest", "manifest.json"]).success();
    verify(&["--hash", &hash, "--workload", "teller"]).success();
    verify(&["--hash", &"0".repeat(64)]).refused(3, "NCR0824");
    assert_eq!(verify(&["--hash", "xyz"]).code, Some(2));
}

#[test]
fn nothing_hides_in_a_policy() {
    for (change, code) in [
        (
            (|policy: String| policy + "\nok contains \"args\" if true\n") as fn(String) -> String,
            "NCR0814",
        ),
        (
            |policy| policy.replacen("SetPolicyRequest := false", "SetPolicyRequest := true", 1),
            "NCR0810",
        ),
        (
            |_| "package agent_policy\ndefault AllowRequestsFailingPolicy := true\n".to_owned(),
            "NCR0810",
        ),
    ] {
        let environment = rendered();
        tamper(&environment, change);
        environment
            .run(&["policy", "verify", "rendered.yaml"])
            .refused(3, code);
        environment
            .run(&["report", "rendered.yaml"])
            .refused(1, code);
        simulate(&environment, &[]).refused(1, code);
    }
    let environment = rendered();
    let text = environment.read("rendered.yaml");
    let line = text
        .lines()
        .find(|line| line.contains(Carrier::InitData.annotation_key()))
        .unwrap();
    let indent = &line[..line.len() - line.trim_start().len()];
    let both = format!(
        "{line}\n{indent}{}: cGFja2FnZSB4Cg==",
        Carrier::AgentPolicy.annotation_key()
    );
    environment.write("rendered.yaml", text.replace(line, &both));
    environment
        .run(&["policy", "verify", "rendered.yaml"])
        .refused(3, "NCR0815");
    // No annotation at all.
    environment
        .run(&["policy", "verify", "client.yaml"])
        .refused(3, "NCR0803");
}

#[test]
fn fixtures_of_ones_own_are_evaluated() {
    let environment = rendered();
    environment.write("own/policy.yaml", environment.read("rendered.yaml"));
    simulate(
        &environment,
        &["--workload", "teller", "--fixtures", "own/life.json"],
    )
    .success();
    let test = |args: &[&str]| environment.run(&[&["policy", "test", "own"][..], args].concat());
    test(&[]).refused(1, "NCR0822");
    let done = test(&["--workload", "teller"]).success();
    let life: Value = serde_json::from_str(&environment.read("own/life.json")).unwrap();
    let count = life.as_array().unwrap().len();
    assert!(
        done.stdout
            .ends_with(&format!("{count} of {count} as expected\n")),
        "{}",
        done.stdout
    );

    let mut changed = life;
    let at = changed
        .as_array()
        .unwrap()
        .iter()
        .position(|f| f["description"] == "create: client")
        .unwrap();
    changed[at]["request"]["request"]["OCI"]["Process"]["Args"] = json!(["sh"]);
    environment.write("own/life.json", changed.to_string());
    let done = test(&["--workload", "teller"]);
    assert_eq!(done.code, Some(3), "{}", done.shown());
    assert!(
        done.stdout
            .contains("FAILED  create: client: denied [args]"),
        "{}",
        done.stdout
    );
    assert!(done.stderr.contains("error[NCR0820]"), "{}", done.stderr);
    // The same as a denial that is wanted, with the policy as Rego; what needs the container follows it.
    changed[at]["allowed"] = false.into();
    changed.as_array_mut().unwrap().truncate(at + 1);
    environment.write("own/life.json", changed.to_string());
    environment.write("other.rego", environment.policy("--text", "teller"));
    let value = json(&test(&["--policy", "other.rego", "--output", "json"]).success());
    assert_eq!(
        (&value["passed"], &value["requests"][at]["allowed"]),
        (&json!(true), &json!(false))
    );

    environment.write("own/broken.json", "{\"description\": 1}");
    test(&["--policy", "other.rego"]).refused(1, "NCR0819");
    assert_eq!(
        environment.run(&["policy", "test", "nowhere"]).code,
        Some(1)
    );
}

#[test]
fn what_cannot_be_explained_is_said() {
    let environment = rendered();
    let explain = |text: &str| environment.pipe(&["explain", "rendered.yaml"], text);
    explain("the pod is fine").refused(1, "NCR0821");
    explain("CreateContainerRequest is blocked by policy: agent_po").refused(1, "NCR0821");
    explain("CreateContainerRequest is blocked by policy: nacre1 nobody args")
        .refused(1, "NCR0821");
    let both = environment.pipe(&["explain", "-"], "x");
    assert_eq!(both.code, Some(2), "{}", both.shown());
}

#[test]
fn an_explanation_names_the_line() {
    let environment = rendered();
    let event =
        "CreateContainerRequest is blocked by policy: agent_policy:1: nacre1 client args,env";
    let done = environment
        .pipe(&["explain", "--output", "json", "rendered.yaml"], event)
        .success();
    let value = json(&done);
    assert_eq!(value["workload"], "bank/Deployment/teller");
    let text = environment.read("rendered.yaml");
    let line = |cause: &Value| {
        assert_eq!(cause["location"]["file"], "rendered.yaml");
        let number = usize::try_from(cause["location"]["line"].as_u64().unwrap()).unwrap();
        text.lines().nth(number - 1).unwrap().trim().to_owned()
    };
    assert_eq!(line(&value["causes"][0]), "args: [\"client\"]");
    assert_eq!(line(&value["causes"][1]), "env:");
    assert_eq!(value["causes"][0]["expected"][1], "client");
    // One of several workloads with the same container is told apart by the pod's name.
    let named = format!(
        "pod coordinator-0: {}",
        event.replace("client args,env", ". names")
    );
    let done = environment
        .pipe(&["explain", "--output", "json", "rendered.yaml"], named)
        .success();
    assert_eq!(json(&done)["workload"], "bank/StatefulSet/coordinator");
}
