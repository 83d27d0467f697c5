//! The start gate: the app does not run before its certificates are there and the mesh protects it.
//!
//! A policy can pin the order in which a host asks for containers to be started, not that a start
//! had its effect (SECURITY-DESIGN 23). So the app's command line is wrapped:
//!
//! ```text
//! command: [/tls-config/nacre-gate, --, <entrypoint>…]
//! args: [<arguments>…]
//! ```
//!
//! The contract of `/tls-config/nacre-gate`:
//! - the initializer writes it, as the last file and with mode 0555, onto the guest-memory volume,
//!   which other containers have read-only: a host that skips the initializer or starts it without
//!   effect leaves nothing to execute;
//! - it waits until `certChain.pem`, `key.pem` and `mesh-ca.pem` stand beside it, and
//!   `mesh-ready`, which the mesh sidecar writes after its listeners are bound and its packet
//!   filter rules are in;
//! - it then replaces itself (`execve`) by what follows `--`, looked up in `PATH` as a container
//!   runtime does; it passes environment, working directory and open files on unchanged.

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::{Value, json};

use super::each_container;
use crate::names::{GATE_PATH, INJECTED};

/// What an image runs when the pod says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argv<'a> {
    /// `Entrypoint`.
    pub entrypoint: &'a [String],
    /// `Cmd`.
    pub cmd: &'a [String],
}

/// Wraps every container that is not ours; `image` gives the command line of an image.
///
/// A container that is wrapped already is unwrapped first, so that changed arguments are taken over.
pub fn wrap<'a>(
    pod_spec: &mut Value,
    spec_field: &str,
    image: &dyn Fn(&str) -> Option<Argv<'a>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    each_container(pod_spec, |list, index, container| {
        let name = container.get("name").and_then(Value::as_str);
        if name.is_some_and(|name| INJECTED.contains(&name)) {
            return;
        }
        let command = strings(container.get("command"));
        let own = match command.as_slice() {
            [gate, dashes, rest @ ..] if gate == GATE_PATH && dashes == "--" => rest.to_vec(),
            _ => command,
        };
        let args = strings(container.get("args"));
        let reference = container
            .get("image")
            .and_then(Value::as_str)
            .unwrap_or_default();
        // As Kubernetes has it: a command switches the image's arguments off.
        let (entry, args) = match (own.is_empty(), image(reference)) {
            (false, _) => (own, args),
            (true, Some(argv)) => {
                let args = match args.is_empty() {
                    true => literal(argv.cmd),
                    false => args,
                };
                (literal(argv.entrypoint), args)
            }
            // Missing in the lock: reported where images are pinned.
            (true, None) => return,
        };
        if entry.is_empty() && args.is_empty() {
            findings.push(
                Finding::error(
                    codes::GATE_NO_COMMAND,
                    "neither the pod nor the image says what to run",
                )
                .help("give the container a command: the start gate needs one to start")
                .field(format!("{spec_field}.{list}[{index}].command")),
            );
            return;
        }
        let gate = [GATE_PATH.to_owned(), "--".to_owned()];
        let wrapped: Vec<_> = gate.into_iter().chain(entry).collect();
        container.insert("command".to_owned(), json!(wrapped));
        if !args.is_empty() {
            container.insert("args".to_owned(), json!(args));
        }
    });
    findings
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Words of an image, which nobody expands, written where the kubelet expands `$(NAME)`.
fn literal(words: &[String]) -> Vec<String> {
    words.iter().map(|word| word.replace('$', "$$")).collect()
}
