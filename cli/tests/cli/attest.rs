//! `nacre verify-report` and `nacre reference-values`.

use std::path::PathBuf;

use nacre_attest::Product;
use nacre_manifest::{Identity, Manifest, PolicyEntry, PolicyHash};
use nacre_sim::{Machine, Pki};
use serde_json::json;

use crate::common::{Done, TestEnvironment};

fn data(path: &str) -> String {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .join("../crates/attest/tests/data")
        .join(path)
        .display()
        .to_string()
}

fn verify(sample: &str, more: &[&str]) -> Done {
    let (report, vek) = (
        data(&format!("{sample}/report.bin")),
        data(&format!("{sample}/vcek.der")),
    );
    let mut args = vec!["verify-report", &report, "--vcek", &vek, "--without-crl"];
    args.extend(["--at", "2026-11-23"]);
    args.extend(more);
    TestEnvironment::empty().run(&args)
}

#[test]
fn a_real_report_of_each_product_is_genuine() {
    for (sample, baseline) in [
        ("ms-milan", "2025-02"),
        ("ms-genoa", "2025-02"),
        ("ms-turin", "2026-11"),
    ] {
        let done = verify(sample, &["--genuine-only", "--tcb-baseline", baseline]).success();
        assert!(
            done.stdout.contains("ok   NCR1038 report-signature"),
            "{}",
            done.stdout
        );
        assert!(
            done.stdout
                .ends_with("genuine, but not compared: measurement, host-data, report-data\n"),
            "{}",
            done.stdout
        );
        assert_eq!(
            done.stdout
                .lines()
                .filter(|line| line.contains(" NCR10"))
                .count(),
            83
        );
    }
}

#[test]
fn what_is_open_is_not_accepted() {
    let done = verify("ms-turin", &[]);
    assert_eq!(done.code, Some(3));
    assert!(
        done.stderr
            .contains("report-data is not compared with anything"),
        "{}",
        done.stderr
    );
}

#[test]
fn what_is_said_is_compared() {
    let measurement = "6d6c354511d6f7c6d7504668903dc5bdc066a048b651840d8d03fb85299ebfa142fccf1d1b0baca496841bdf243619d4";
    let host_data = "b3452a0ed30f1010bd32740dd1610bc63296ceb0f882f2cac3a3152d651fe7e4";
    let report = std::fs::read(data("ms-turin/report.bin")).unwrap();
    let report_data: String = report[0x50..0x90]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let all = [
        "--measurement",
        measurement,
        "--host-data",
        host_data,
        "--report-data",
        &report_data,
    ];
    let done = verify("ms-turin", &all).success();
    assert!(done.stdout.ends_with("\naccepted\n"), "{}", done.stdout);
    let other = format!("{}ff", &report_data[..126]);
    let wrong = [
        "--measurement",
        measurement,
        "--host-data",
        host_data,
        "--report-data",
        &other,
    ];
    let done = verify("ms-turin", &wrong);
    assert_eq!(done.code, Some(3));
    assert!(done.stderr.contains("NCR1074"), "{}", done.stderr);
}

#[test]
fn old_firmware_says_what_it_misses() {
    let done = verify("ms-genoa", &["--genuine-only"]);
    assert_eq!(done.code, Some(3));
    assert!(done.stderr.contains("NCR1045"), "{}", done.stderr);
    assert!(
        done.stderr.contains("AMD-SB-3023 (CVE-2025-48514)"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("SNPVersion: 23"), "{}", done.stderr);
}

#[test]
fn machines_read_json() {
    let done = verify("ms-turin", &["--genuine-only", "--output", "json"]).success();
    let value: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(value["genuine"], true);
    assert_eq!(value["accepted"], false);
    assert_eq!(value["verdict"]["claims"]["product"], "Turin");
    let checks = value["verdict"]["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 83);
    // One entry whole: what a machine compares codes, names and both sides with.
    let data = value["verdict"]["claims"]["report_data"].as_str().unwrap();
    assert_eq!(data.len(), 128);
    assert_eq!(
        checks[73],
        serde_json::json!({
            "code": "NCR1074",
            "check": "report-data",
            "outcome": "open",
            "expected": "not asked for",
            "actual": data,
        })
    );
    assert_eq!(
        checks[0],
        serde_json::json!({
            "code": "NCR1001",
            "check": "report-length",
            "outcome": "pass",
            "expected": "1184",
            "actual": "1184",
        })
    );
}

/// The evidence in `tests/data/simulated` is right in every way but its root.
#[test]
fn this_program_knows_no_simulation() {
    let simulated = |name: &str| {
        let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        manifest
            .join("tests/data/simulated")
            .join(name)
            .display()
            .to_string()
    };
    let (report, vek, crl) = (
        simulated("report.bin"),
        simulated("vcek.der"),
        simulated("crl.der"),
    );
    let done = TestEnvironment::empty().run(&[
        "verify-report",
        &report,
        "--vek",
        &vek,
        "--crl",
        &crl,
        "--genuine-only",
        "--tcb-baseline",
        "2025-02",
        "--at",
        "2026-11-24",
    ]);
    assert_eq!(done.code, Some(3));
    let failed: Vec<_> = done
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("FAIL ")?.get(..7))
        .collect();
    assert_eq!(failed, ["NCR1023", "NCR1027", "NCR1078", "NCR1079"]);
    let marker = b"NACRE SIMULATION, NOT AMD";
    let contains = |bytes: &[u8]| bytes.windows(marker.len()).any(|window| window == marker);
    assert!(contains(&std::fs::read(&vek).unwrap()));
    assert!(!contains(
        &std::fs::read(env!("CARGO_BIN_EXE_nacre")).unwrap()
    ));
}

/// What a forged certificate says is shown, and does nothing.
#[test]
fn a_forged_certificate_does_not_repaint_the_terminal() {
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let machine = Machine::new(pki).unwrap();
    let mut vek = machine.certificate(pki).unwrap();
    vek.subject = nacre_sim::der::name("SEV-VCEK\u{1b}[2J\u{202e}accepted\u{2028}").unwrap();
    let environment = TestEnvironment::empty();
    environment.write("vek.der", vek.sign(&pki.ask.key).unwrap());
    environment.write("report.bin", machine.sign(&machine.report()).unwrap());
    let args = ["--vek", "vek.der", "--without-crl", "--genuine-only"];
    let done = environment.run(&[&["verify-report", "report.bin"][..], &args].concat());
    assert_eq!(done.code, Some(3), "{}", done.shown());
    assert!(done.stdout.contains("accepted\\u{2028}"), "{}", done.stdout);
    for text in [&done.stdout, &done.stderr] {
        let steering = |c: &char| nacre_findings::steers(*c) && *c != '\n';
        assert_eq!(text.chars().find(steering), None, "{text:?}");
    }
}

#[test]
fn launch_digests_are_computed() {
    let ovmf = data("ovmf/ovmf_AmdSev_suffix.bin");
    let environment = TestEnvironment::empty();
    environment.write("empty", "");
    let done = environment
        .run(&[
            "reference-values",
            "measure",
            "--ovmf",
            &ovmf,
            "--kernel",
            "empty",
            "--append",
            "console=ttyS0 loglevel=7",
            "--vcpus",
            "1",
            "--cpu",
            "EPYC-v4",
        ])
        .success();
    // Published with the image.
    assert_eq!(
        done.stdout,
        "6d287813eb5222d770f75005c664e34c204f385ce832cc2ce7d0d6f354454362f390ef83a92046c042e706363b4b08fa\n"
    );
}

/// A value made from the beginning of a file would be right in form, and wrong.
#[test]
fn files_are_never_cut_at_a_limit() {
    let environment = TestEnvironment::empty();
    let long = |name: &str, length: u64| {
        environment.write(name, "");
        let file = std::fs::File::options()
            .write(true)
            .open(environment.path(name));
        file.unwrap().set_len(length).unwrap();
    };
    long("initrd", (1 << 30) + 1);
    long("kernel", 1);
    let ovmf = data("ovmf/ovmf_AmdSev_suffix.bin");
    let measured = ["--kernel", "kernel", "--initrd", "initrd", "--vcpus", "1"];
    let measure = [
        "reference-values",
        "measure",
        "--cpu",
        "EPYC-v4",
        "--ovmf",
        &ovmf,
    ];
    let done = environment.run(&[&measure[..], &measured].concat());
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(1), ""),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("more than 1073741824 bytes"),
        "{}",
        done.stderr
    );
    // As many blanks behind a manifest as make it one byte too long: it would read as it does without them.
    let most = nacre_manifest::MAX_BYTES;
    let report = data("ms-turin/report.bin");
    let vek = data("ms-turin/vcek.der");
    let verify = |length: usize| {
        let mut text = Manifest::default().to_bytes();
        text.resize(length, b' ');
        environment.write("manifest.json", text);
        let args = ["verify-report", &report, "--vek", &vek, "--without-crl"];
        environment.run(&[&args[..], &["--manifest", "manifest.json"]].concat())
    };
    let done = verify(most + 1);
    let says = format!("more than {most} bytes");
    assert!(done.stderr.contains(&says), "{}", done.stderr);
    assert!(!verify(most).stderr.contains("more than"));
}

/// What `reference-values from-report` prints for a sample.
fn from_report(sample: &str, platform: &str) -> serde_json::Value {
    let report = data(&format!("{sample}/report.bin"));
    let args = ["--platform", platform, "--cpus", "2"];
    let all = [&["reference-values", "from-report", &report][..], &args].concat();
    let done = TestEnvironment::empty().run(&all).success();
    assert!(done.stderr.contains("not verified"), "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

/// A manifest with these reference values, and the policy that the sample's report names.
fn manifest(sample: &str, sets: Vec<serde_json::Value>, platforms: &[&str]) -> Manifest {
    let sets = sets
        .into_iter()
        .map(|set| serde_json::from_value(set).unwrap());
    let report = std::fs::read(data(&format!("{sample}/report.bin"))).unwrap();
    let mut manifest = Manifest::default();
    manifest.reference_values.snp = sets.collect();
    let mut entry = PolicyEntry::new(Identity::new("a", "Pod", "b"), Vec::new());
    entry.platforms = platforms.iter().map(|name| (*name).to_owned()).collect();
    let policy = PolicyHash::from_bytes(report[0xc0..0xe0].try_into().unwrap());
    manifest.policies.insert(policy, entry);
    manifest
}

/// Holds the sample's report against a manifest, bound to what it is bound to.
fn against(sample: &str, manifest: &Manifest) -> Done {
    let report = std::fs::read(data(&format!("{sample}/report.bin"))).unwrap();
    let environment = TestEnvironment::empty();
    environment.write("manifest.json", manifest.to_bytes());
    let report_data = hex::encode(&report[0x50..0x90]);
    let (report, vek) = (
        data(&format!("{sample}/report.bin")),
        data(&format!("{sample}/vcek.der")),
    );
    let args = [
        "verify-report",
        &report,
        "--vek",
        &vek,
        "--without-crl",
        "--at",
        "2026-11-23",
        "--manifest",
        "manifest.json",
        "--report-data",
        &report_data,
    ];
    environment.run(&args)
}

#[test]
fn what_a_report_says_is_an_entry_of_the_manifest_that_accepts_it() {
    for sample in ["ms-milan", "ms-genoa", "ms-turin"] {
        let values = from_report(sample, "metal-qemu-snp");
        let accepting = manifest(sample, vec![values.clone()], &[]);
        let done = against(sample, &accepting).success();
        assert!(done.stdout.ends_with("\naccepted\n"), "{}", done.stdout);
        // Nothing of it is left to chance: a part that says more than the report refuses it.
        for (field, value, code) in [
            ("/MinimumTCB/SNPVersion", json!(255), "NCR1045"),
            ("/AllowedChipIDs", json!(["ab".repeat(64)]), "NCR1072"),
            ("/TrustedMeasurement", json!("ab".repeat(48)), "NCR1066"),
            ("/GuestPolicy/ABIMajor", json!(255), "NCR1054"),
            ("/PlatformInfo/TIOEnabled", json!(true), "NCR1062"),
        ] {
            let mut other = values.clone();
            *other
                .pointer_mut(field)
                .unwrap_or_else(|| panic!("{field}")) = value;
            let done = against(sample, &manifest(sample, vec![other], &[]));
            assert_eq!(done.code, Some(3), "{field}: {}", done.shown());
            assert!(done.stderr.contains(code), "{field}: {}", done.stderr);
        }
    }
    let turin = from_report("ms-turin", "metal-qemu-snp");
    assert_eq!(turin["Platform"], "metal-qemu-snp");
    assert_eq!(turin["CPUs"], 2);
    assert_eq!(turin["ProductName"], "Turin");
    assert_eq!(turin["MinimumTCB"]["FMCVersion"], 1);
    assert_eq!(turin["GuestPolicy"]["Debug"], false);
    assert_eq!(turin["PlatformInfo"]["AliasCheckComplete"], true);
    let binding = |platform| from_report("ms-turin", platform)["HostDataBinding"].clone();
    assert_eq!(binding("metal-qemu-snp"), "enforced");
    assert_eq!(binding("kata-qemu-snp"), "none");
}

#[test]
fn a_report_of_a_guest_that_can_be_debugged_is_remarked_on() {
    let mut report = std::fs::read(data("ms-turin/report.bin")).unwrap();
    report[0x08 + 2] |= 1 << 3;
    let environment = TestEnvironment::empty();
    environment.write("report.bin", report);
    let args = ["--platform", "metal-qemu-snp", "--cpus", "1"];
    let all = [
        &["reference-values", "from-report", "report.bin"][..],
        &args,
    ]
    .concat();
    let done = environment.run(&all).success();
    assert!(done.stderr.contains("NCR0932"), "{}", done.stderr);
    let value: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(value["GuestPolicy"]["Debug"], true);
}

/// The values of a platform on which the report's policy may not run do not count for it, here as at a Coordinator.
#[test]
fn a_report_counts_on_the_platforms_of_its_own_policy() {
    let right = from_report("ms-turin", "metal-qemu-snp");
    let mut other = from_report("ms-turin", "kata-qemu-snp");
    other["TrustedMeasurement"] = json!("ab".repeat(48));
    let with = |platforms: &[&str]| {
        let manifest = manifest("ms-turin", vec![right.clone(), other.clone()], platforms);
        against("ms-turin", &manifest)
    };
    with(&[]).success();
    with(&["metal-qemu-snp"]).success();
    with(&["kata-qemu-snp", "metal-qemu-snp"]).success();
    let done = with(&["kata-qemu-snp"]);
    assert_eq!(done.code, Some(3), "{}", done.shown());
    assert!(done.stderr.contains("NCR1066"), "{}", done.stderr);
    // On none of them: the report is not accepted, and the verdict says so as for any other.
    let none = with(&["aks-clh-snp"]);
    assert_eq!(none.code, Some(3), "{}", none.shown());
    assert!(none.stderr.contains("NCR1066"), "{}", none.stderr);
    assert!(none.stderr.contains("Platforms"), "{}", none.stderr);
    assert!(none.stdout.contains("report-signature"), "{}", none.stdout);
    let empty = against("ms-turin", &manifest("ms-turin", vec![], &[]));
    assert_eq!(
        empty.code,
        Some(2),
        "nothing to hold it against: {}",
        empty.shown()
    );
}
