//! `docs/denied.md` says what happens: its commands are executed, its denials come from the rules.

use std::fs;
use std::path::Path;

use nacre_policy::evaluate::Session;
use serde_json::{Value, json};

use crate::common::{Done, TestEnvironment};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/denied.md");

/// The files of an example in a directory of their own.
pub(crate) fn example(name: &str) -> TestEnvironment {
    let environment = TestEnvironment::empty();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let file = path.file_name().unwrap().to_str().unwrap();
            environment.write(file, fs::read(&path).unwrap());
        }
    }
    environment
}

/// A command line of the document.
fn shell(environment: &TestEnvironment, line: &str) -> Done {
    let nacre = Path::new(env!("CARGO_BIN_EXE_nacre"));
    let path = format!("{}:/usr/bin:/bin", nacre.parent().unwrap().display());
    let mut command = environment.program("/bin/sh");
    command
        .env("PATH", path)
        .args(["-c", &format!("{line} 2>&1")]);
    command.output().unwrap().into()
}

/// The text with each command's output in its place.
fn executed(text: &str, run: &mut dyn FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        out.push_str(&format!("{line}\n"));
        if line != "```console" {
            continue;
        }
        while let Some(line) = lines.next_if(|line| *line != "```") {
            if let Some(command) = line.strip_prefix("$ ") {
                out.push_str(&format!("{line}\n{}", run(command)));
            }
        }
    }
    out
}

/// What a changed request of a container is answered, as a pod event and as the agent logs it.
struct Denial {
    request: Value,
    line: String,
}

fn denial(life: &Value, policy: &str, container: &str, change: impl FnOnce(&mut Value)) -> Denial {
    let mut session = Session::load(policy).unwrap();
    let mut change = Some(change);
    for item in life.as_array().unwrap() {
        let kind = item["request"]["kind"].as_str().unwrap();
        let mut request = item["request"]["request"].clone();
        if kind == "CreateContainerRequest" && item["description"] == format!("create: {container}")
        {
            change.take().unwrap()(&mut request);
            let decision = session.request(kind, &request).unwrap();
            assert!(!decision.allowed);
            let line = decision.prints.first().unwrap().clone();
            return Denial { request, line };
        }
        assert!(
            session.request(kind, &request).unwrap().allowed,
            "{}",
            item["description"]
        );
    }
    panic!("no container {container}");
}

impl Denial {
    /// As the kubelet shows it, one error around the other's.
    fn event(&self) -> String {
        let agent = format!("CreateContainerRequest is blocked by policy: {}", self.line);
        format!(
            "Error: failed to create containerd task: failed to create shim task: rpc status: Status {{ \
             code: PERMISSION_DENIED, message: {}, details: [] }}: unknown\n",
            Value::from(Value::from(agent).to_string())
        )
    }

    /// As the agent logs it.
    fn log(&self) -> String {
        let request = json!({"kind": "CreateContainerRequest", "request": self.request});
        format!(
            "{{\"msg\":{},\"level\":\"INFO\"}}\n",
            Value::from(format!("policy: input {request} denied: {}", self.line))
        )
    }
}

/// The three denials of the document.
fn denials(environment: &TestEnvironment) {
    let policy = environment.policy("--text", "teller");
    let config = ["--config", "confidential.yaml", "--lock", "nacre.lock.yaml"];
    let fixtures = [
        "--workload",
        "teller",
        "--fixtures",
        "life.json",
        "rendered.yaml",
    ];
    environment
        .run(&[&["simulate"][..], &config, &fixtures].concat())
        .success();
    let life: Value = serde_json::from_str(&environment.read("life.json")).unwrap();

    let image = denial(&life, &policy, "client", |request| {
        let old = request["storages"][0]["source"]
            .as_str()
            .unwrap()
            .to_owned();
        let (name, digest) = old.split_once("@sha256:").unwrap();
        let other: String = digest.chars().rev().collect();
        let text = request
            .to_string()
            .replace(&old, &format!("{name}@sha256:{other}"));
        *request = serde_json::from_str(&text).unwrap();
    });
    let service = denial(&life, &policy, "server", |request| {
        let env = request["OCI"]["Process"]["Env"].as_array_mut().unwrap();
        // All that the kubelet gives a Service with one port.
        for variable in [
            "SERVICE_HOST=10.0.12.7",
            "SERVICE_PORT=443",
            "PORT=tcp://10.0.12.7:443",
            "PORT_443_TCP=tcp://10.0.12.7:443",
            "PORT_443_TCP_PROTO=tcp",
            "PORT_443_TCP_PORT=443",
            "PORT_443_TCP_ADDR=10.0.12.7",
        ] {
            env.push(format!("AUDIT_{variable}").into());
        }
    });
    let namespace = denial(&life, &policy, "pause", |request| {
        let text = request.to_string().replace(
            "sandbox-namespace\":\"bank\"",
            "sandbox-namespace\":\"prod\"",
        );
        let text = text.replace(
            "sandbox-namespace\\\":\\\"bank\\\"",
            "sandbox-namespace\\\":\\\"prod\\\"",
        );
        *request = serde_json::from_str(&text).unwrap();
    });
    for (name, denial) in [
        ("image", &image),
        ("service", &service),
        ("namespace", &namespace),
    ] {
        environment.write(&format!("{name}.event"), denial.event());
        environment.write(&format!("{name}.log"), denial.log());
    }
    let event = service.event();
    let at = event.find(" env").unwrap();
    environment.write("service.event", format!("{}...\n", &event[..at + 3]));
}

#[test]
fn the_document_says_what_happens() {
    let environment = example("go-client");
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let mut ready = false;
    let mut commands = 0;
    let found = executed(&text, &mut |line| {
        if line.starts_with("cat ") && !ready {
            denials(&environment);
            ready = true;
        }
        commands += 1;
        let done = shell(&environment, line);
        // The one denial that is not asked for with --set is nobody's fault here.
        assert_eq!(done.code, Some(0), "{line}\n{}", done.shown());
        done.stdout
    });
    assert!(commands > 10, "{commands}");
    if std::env::var_os("NACRE_BLESS").is_some() {
        fs::write(DOCUMENT, &found).unwrap();
    }
    assert_eq!(
        text, found,
        "run with NACRE_BLESS=1 and read the difference"
    );
}

#[test]
fn an_explanation_takes_no_time() {
    let environment = example("go-client");
    let generate = [
        "generate",
        "--config",
        "confidential.yaml",
        "--lock",
        "nacre.lock.yaml",
        "-o",
        "rendered.yaml",
        "client.yaml",
        "coordinator.yml",
    ];
    environment.run(&generate).success();
    denials(&environment);
    for file in ["image.event", "service.log"] {
        // The best of a few: the machine may be busy. A debug build takes some twenty times as long
        // as the program does.
        let times = (0..3).map(|_| {
            let start = std::time::Instant::now();
            environment
                .run(&["explain", "rendered.yaml", "--denial", file])
                .success();
            start.elapsed()
        });
        let best = times.min().unwrap();
        println!("{file}: {best:?}");
        assert!(best.as_millis() < 4_000, "{file}: {best:?}");
    }
}
