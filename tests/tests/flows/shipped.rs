//! What is true of the programs themselves.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::program;

const MEGABYTE: u64 = 1_000_000;

#[test]
fn programs_are_small() {
    for (name, limit) in [
        ("nacre-krm-fn", 8),
        ("nacre-post-renderer", 8),
        ("nacre", 20),
    ] {
        let size = fs::metadata(program(name)).unwrap().len();
        assert!(
            size <= limit * MEGABYTE,
            "{name}: {size} bytes, at most {limit} MB"
        );
    }
}

/// Every program that an image holds.
const SHIPPED: [&str; 7] = [
    "nacre",
    "nacre-coordinator",
    "nacre-gate",
    "nacre-initializer",
    "nacre-krm-fn",
    "nacre-mesh",
    "nacre-post-renderer",
];

#[test]
fn every_program_of_an_image_is_looked_at() {
    let text = fs::read_to_string(crate::harness::root().join("Dockerfile")).unwrap();
    let mut copied: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("COPY nacre")?.split_once(" /"))
        .map(|(_, path)| path)
        .collect();
    copied.sort_unstable();
    assert_eq!(copied, SHIPPED);
}

/// The lock of a release is compiled in: a program that was built without it would render other images, or none.
#[test]
fn the_command_names_the_images_of_its_release() {
    let index = crate::harness::given("NACRE_TEST_IMAGES").join("layout/index.json");
    let index: Value = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
    let mut expected = Vec::new();
    for entry in index["manifests"].as_array().unwrap() {
        let name = entry["annotations"]["org.opencontainers.image.ref.name"]
            .as_str()
            .unwrap();
        let injected = ["/coordinator:", "/initializer:", "/mesh:"];
        if injected.iter().any(|part| name.contains(part)) {
            expected.push(format!("{name} {}", entry["digest"].as_str().unwrap()));
        }
    }
    assert_eq!(expected.len(), 3);
    expected.sort_unstable();
    let output = Command::new(program("nacre")).arg("--version").output();
    let version = String::from_utf8(output.unwrap().stdout).unwrap();
    let (_, images) = version.split_once("\nimages ").expect(&version);
    let mut named: Vec<&str> = images.lines().map(str::trim).collect();
    named.sort_unstable();
    assert_eq!(named, expected);
}

#[test]
fn programs_need_no_loader() {
    for name in SHIPPED {
        let bytes = fs::read(program(name)).unwrap();
        let loader = b"/lib64/ld-linux-x86-64.so.2";
        assert!(
            !bytes.windows(loader.len()).any(|window| window == loader),
            "{name} is not static"
        );
    }
}

#[test]
fn programs_name_no_path_of_the_machine_that_built_them() {
    let home = std::env::var("HOME").unwrap();
    let ours = crate::harness::root();
    let paths = [
        format!("{home}/.cargo/"),
        format!("{}/crates/", ours.display()),
    ];
    for name in SHIPPED {
        let bytes = fs::read(program(name)).unwrap();
        for path in &paths {
            let found = bytes
                .windows(path.len())
                .any(|window| window == path.as_bytes());
            assert!(!found, "{name} names {path}");
        }
    }
}

#[test]
fn programs_answer_at_once() {
    for name in ["nacre-krm-fn", "nacre-post-renderer", "nacre"] {
        // The fastest of many: what else runs on the machine is not what is measured.
        let run = |_| {
            let start = Instant::now();
            let mut command = Command::new(program(name));
            command.arg("--version").stdout(Stdio::null());
            assert!(command.status().unwrap().success());
            start.elapsed()
        };
        let fastest = (0..20).map(run).min().unwrap();
        assert!(fastest < Duration::from_millis(10), "{name}: {fastest:?}");
    }
}
