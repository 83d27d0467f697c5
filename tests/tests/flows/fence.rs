//! The programs as they are shipped know no simulation: built without it, they carry nothing of it, refuse its
//! root and refuse a manifest that names it. The other half, that no package can link it, is a rule of the
//! workspace.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Place, given, program, root};

/// In the names of every simulated certificate, and the variable by which simulations find their root.
const MARKS: [&str; 2] = ["NACRE SIMULATION, NOT AMD", "NACRE_SIM_PKI"];

fn contains(bytes: &[u8], mark: &str) -> bool {
    bytes
        .windows(mark.len())
        .any(|window| window == mark.as_bytes())
}

fn simulated(name: &str) -> PathBuf {
    root().join("cli/tests/data/simulated").join(name)
}

#[test]
fn shipped_programs_carry_nothing_of_the_simulation() {
    let mut seen = Vec::new();
    for entry in fs::read_dir(given("NACRE_TEST_PROGRAMS")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let ours = name.starts_with("nacre") && path.extension().is_none();
        // What simulates is built into the same folder only by hand, and named for what it is.
        if !ours || name.starts_with("nacre-sim") || !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for mark in MARKS {
            assert!(!contains(&bytes, mark), "{name} contains {mark:?}");
        }
        seen.push(name);
    }
    for name in ["nacre", "nacre-krm-fn", "nacre-mesh", "nacre-post-renderer"] {
        assert!(seen.iter().any(|found| found == name), "{name}: {seen:?}");
    }
    // The search finds what is there.
    assert!(contains(
        &fs::read(simulated("vcek.der")).unwrap(),
        MARKS[0]
    ));
}

#[test]
fn the_shipped_program_refuses_the_simulated_root() {
    let place = Place::new();
    let file = |name: &str| simulated(name).display().to_string();
    let (report, vek, crl) = (file("report.bin"), file("vcek.der"), file("crl.der"));
    let arguments = [
        "verify-report",
        &report,
        "--vek",
        &vek,
        "--crl",
        &crl,
        "--genuine-only",
        "--at",
        "2026-11-24",
    ];
    let ended = place.run(&program("nacre"), &arguments, "");
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    for code in ["NCR1023", "NCR1027", "NCR1078", "NCR1079"] {
        assert!(
            ended.stdout.contains(&format!("FAIL {code}")),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn the_shipped_program_refuses_a_manifest_that_names_it() {
    let place = Place::new();
    let manifest = fs::read_to_string(root().join("examples/jobs/expected/manifest.json")).unwrap();
    let named = manifest.replacen(
        '{',
        &format!("{{\n  \"TestRoot\": \"{}\",", "ab".repeat(32)),
        1,
    );
    let file = |name: &str| simulated(name).display().to_string();
    let (report, vek) = (file("report.bin"), file("vcek.der"));
    let verify = |name: &str, text: &str| {
        place.write(name, text);
        let path = place.path(name).display().to_string();
        let arguments = [
            "verify-report",
            &report,
            "--vek",
            &vek,
            "--without-crl",
            "--manifest",
            &path,
        ];
        place.run(&program("nacre"), &arguments, "").failed()
    };
    let refused = verify("named.json", &named);
    assert!(
        refused.contains("TestRoot") || refused.contains("simulat"),
        "{refused}"
    );
    // Without the name it is another error, so it is the name that is refused.
    let other = verify("plain.json", &manifest);
    assert!(
        !other.contains("TestRoot") && !other.contains("simulat"),
        "{other}"
    );
}
