//! No program that is shipped can be made to trust a simulated root.

use std::error::Error;
use std::process::Command;

use serde_json::Value;

const FEATURE: &str = "danger-other-roots";

fn metadata() -> Result<Value, Box<dyn Error>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn name(value: &Value) -> &str {
    value
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Simulation programs are crates of their own, named after this one.
fn is_simulation(package: &str) -> bool {
    package == "nacre-sim" || package.starts_with("nacre-sim-")
}

#[test]
fn only_simulations_depend_on_this_crate() -> Result<(), Box<dyn Error>> {
    let metadata = metadata()?;
    let mut uses = 0;
    for package in list(&metadata, "packages") {
        for dependency in list(package, "dependencies") {
            if name(dependency) != "nacre-sim" {
                continue;
            }
            uses += 1;
            let for_tests = dependency.get("kind").and_then(Value::as_str) == Some("dev");
            assert!(
                for_tests || is_simulation(name(package)),
                "{}",
                name(package)
            );
        }
    }
    // The tests of the verifier and of attested TLS: if none is seen, nothing is seen.
    assert!(uses >= 2);
    Ok(())
}

#[test]
fn only_this_crate_asks_for_other_roots() -> Result<(), Box<dyn Error>> {
    let metadata = metadata()?;
    let mut asking = Vec::new();
    for package in list(&metadata, "packages") {
        let asks = |dependency: &Value| {
            list(dependency, "features")
                .iter()
                .any(|feature| feature == FEATURE)
        };
        if list(package, "dependencies").iter().any(asks) {
            asking.push(name(package));
        }
        // Nor does a feature of another package lead there, the default one of the verifier least of all.
        let features = package.get("features").and_then(Value::as_object);
        for (feature, leads_to) in features.into_iter().flatten() {
            let text = leads_to.to_string();
            assert!(!text.contains(FEATURE), "{}: {feature}", name(package));
        }
    }
    assert_eq!(asking, ["nacre-sim"]);
    Ok(())
}
