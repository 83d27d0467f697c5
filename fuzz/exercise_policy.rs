// What the fuzz target on requests does with its bytes; the tests of `crates/policy` replay the corpus
// through the same function.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nacre_imagelock::{Entry, ImageReference, UserDatabase};
use nacre_policy::evaluate::Session;
use nacre_policy::{Target, WorkloadInput, generate, mutate, request};
use serde_json::{Value, json};

/// A request of the pod, and the guest before it.
struct Stage {
    message: &'static str,
    input: Value,
    session: Session,
}

thread_local! {
    static STAGES: RefCell<Vec<Stage>> = RefCell::new(stages());
}

/// A pod with an init container, probes, and volumes of several kinds.
fn stages() -> Vec<Stage> {
    let digest = "6768".repeat(16);
    let image = format!("ghcr.io/example/web:1.2@sha256:{digest}");
    let reference = ImageReference::parse(&image).unwrap();
    let mut entry = Entry::new(reference.clone(), *reference.digest().unwrap());
    entry.config.entrypoint = vec!["/app".to_owned()];
    entry.config.user = "1000:1000".to_owned();
    entry.users = Some(UserDatabase::default());
    let spec = json!({
        "enableServiceLinks": false,
        "initContainers": [{"name": "first", "image": image}],
        "containers": [{
            "name": "web", "image": image, "args": ["$(NAME)"],
            "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "livenessProbe": {"exec": {"command": ["/app", "--healthy"]}},
            "volumeMounts": [{"name": "memory", "mountPath": "/memory"}, {"name": "files", "mountPath": "/files"}],
        }],
        "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}, {"name": "files", "configMap": {"name": "x"}}],
    });
    let images = |_: &str| Some(&entry);
    let target = Target::find("kata-3").unwrap();
    let mut input = WorkloadInput::new(
        ("apps/v1", "Deployment", "web"),
        &Value::Null,
        &spec,
        target,
    );
    input.images = &images;
    let policy = generate(&input).unwrap();
    let mut session = policy.session().unwrap();
    let mut out = Vec::new();
    for request in request::life(&input) {
        out.push(Stage {
            message: request.message,
            input: request.input.clone(),
            session: session.clone(),
        });
        assert!(
            session
                .request(request.message, &request.input)
                .unwrap()
                .allowed
        );
    }
    out
}

/// A request: no panic, an answer in bounded time, and nothing else runs than the pod says. The first
/// byte chooses the place in the pod's life; then comes a request as JSON, or bytes that change the own
/// one. Gives the time of the evaluation.
pub(crate) fn request(bytes: &[u8]) -> Duration {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    STAGES.with_borrow_mut(|stages| {
        let creates: Vec<Value> = stages
            .iter()
            .filter(|stage| stage.message == "CreateContainerRequest")
            .map(|stage| stage.input.clone())
            .collect();
        let count = stages.len();
        let stage = &mut stages[usize::from(*first) % count];
        let (message, input) = read(stage, rest);
        let start = Instant::now();
        let decision = stage.session.probe(&message, &input);
        let taken = start.elapsed();
        if let Ok(decision) = decision {
            // What is printed holds names of the rules only.
            for line in &decision.prints {
                assert!(line.contains("nacre1 "), "{line}");
            }
            if decision.allowed && message == "CreateContainerRequest" {
                assert!(creates.iter().any(|own| same(own, &input)), "{input:#}");
            }
        }
        taken
    })
}

fn read(stage: &Stage, bytes: &[u8]) -> (String, Value) {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        return match (
            value.get("kind").and_then(Value::as_str),
            value.get("request"),
        ) {
            (Some(kind), Some(request)) => (kind.to_owned(), request.clone()),
            _ => (stage.message.to_owned(), value),
        };
    }
    // Two bytes choose a change of the own request, and again for a second one on top of it.
    let mut input = stage.input.clone();
    for pair in bytes.chunks(2).take(4) {
        let all = mutate::all(stage.message, &input);
        let at = usize::from(pair[0]) << 8 | usize::from(pair.get(1).copied().unwrap_or(0));
        if let Some(mutation) = all.get(at % all.len().max(1)) {
            input = mutation.input.clone();
        }
    }
    (stage.message.to_owned(), input)
}

/// Whether two create requests run the same program in the same image as the same user, with the same
/// mounts. The process of the sandbox is the guest's own.
fn same(own: &Value, other: &Value) -> bool {
    let set = |value: &Value, at: &str| -> BTreeSet<String> {
        let list = value.pointer(at).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|item| item["destination"].to_string())
            .collect()
    };
    let sources = |value: &Value| -> BTreeSet<String> {
        let list = value.get("storages").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|item| item["source"].to_string())
            .collect()
    };
    let sandbox = own["OCI"]["Annotations"]["io.kubernetes.cri.container-type"] == "sandbox";
    let equal = |at: &str| own.pointer(at) == other.pointer(at);
    let process = [
        "/OCI/Process/Args",
        "/OCI/Process/Cwd",
        "/OCI/Process/User/UID",
        "/OCI/Process/User/GID",
    ];
    (sandbox || process.iter().all(|at| equal(at)))
        && equal("/OCI/Annotations/io.kubernetes.cri.container-name")
        && equal("/OCI/Root/Readonly")
        && set(own, "/OCI/Mounts") == set(other, "/OCI/Mounts")
        && sources(own) == sources(other)
}
