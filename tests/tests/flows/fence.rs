//! The programs as they are shipped know no simulation: built without it, they carry nothing of it, refuse its
//! root and refuse a manifest that names it. The other half, that no package can link it, is a rule of the
//! workspace.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Place, given, program, root};

/// In the names of every simulated certificate, and the variable by which simulations find their root.
const MARKS: [&str; 2] = ["NACRE SIMULATION, NOT AMD", "NACRE_SIM_PKI"];

/// Every program of an image or a package.
const SHIPPED: [&str; 7] = [
    "nacre",
    "nacre-coordinator",
    "nacre-gate",
    "nacre-initializer",
    "nacre-krm-fn",
    "nacre-mesh",
    "nacre-post-renderer",
];

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
    for name in SHIPPED {
        assert!(seen.iter().any(|found| found == name), "{name}: {seen:?}");
    }
    // The search finds what is there.
    assert!(contains(
        &fs::read(simulated("vcek.der")).unwrap(),
        MARKS[0]
    ));
}

/// Where simulated ones start, with the very variables that simulations read, the shipped ones find no hardware.
#[test]
fn shipped_programs_of_the_control_plane_start_on_hardware_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let history = format!("directory:{}", folder.path().display());
    let simulation = [
        ("NACRE_SIM_PKI", path("pki")),
        ("NACRE_SIM_HOST_DATA", "ab".repeat(32)),
        ("NACRE_SIM_MEASUREMENT", "cd".repeat(48)),
    ];
    let coordinator = [("NACRE_HISTORY", history)];
    let initializer = [
        ("COORDINATOR_HOST", "127.0.0.1".to_owned()),
        ("NACRE_ALLOW_UNATTESTED_COORDINATOR", "true".to_owned()),
        ("NACRE_TLS_DIR", path("tls")),
    ];
    for evidence in ["auto", "configfs", "sev-guest", "simulated"] {
        for (name, variables) in [
            ("nacre-coordinator", &coordinator[..]),
            ("nacre-initializer", &initializer[..]),
        ] {
            let mut child = Command::new(program(name))
                .env_clear()
                .env("NACRE_EVIDENCE", evidence)
                .envs(simulation.iter().chain(variables).cloned())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let started = Instant::now();
            let ended = loop {
                match child.try_wait().unwrap() {
                    Some(ended) => break ended,
                    None if started.elapsed() > Duration::from_secs(10) => {
                        child.kill().unwrap();
                        panic!("{name} runs with NACRE_EVIDENCE={evidence} and no hardware");
                    }
                    None => std::thread::sleep(Duration::from_millis(20)),
                }
            };
            let mut said = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            // It is the lack of hardware that ends it, not a configuration that no program would take.
            let (code, why) = match evidence {
                "simulated" => (2, "NACRE_EVIDENCE"),
                _ => (1, "is not there"),
            };
            assert_eq!(ended.code(), Some(code), "{name} {evidence}: {said}");
            assert!(said.contains(why), "{name} {evidence}: {said}");
        }
    }
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
