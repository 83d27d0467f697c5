//! `/dev/sev-guest` as the kernel's header describes it: `sev_guest.c` is compiled against that header and stands
//! in for the driver, so that every byte of the request and of the answer is compared with it.

use std::path::Path;
use std::process::Command;

use nacre_attest::{RawReportSource as _, SevGuest, SourceError};

const DRIVER: &str = "NACRE_TEST_DRIVER";

/// One request in another process, whose driver answers with errno, `exitinfo2` and the status of the response.
fn asked(library: &Path, errno: i32, exitinfo2: u64, status: u32) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "device::asks"])
        .env("LD_PRELOAD", library)
        .env(DRIVER, format!("{errno} {exitinfo2:x} {status:x}"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answer = text.lines().find_map(|line| line.strip_prefix("answer: "));
    let answer = answer.map(str::to_owned);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{stderr}");
    answer.expect("an answer")
}

#[test]
#[ignore = "the other process of the_device_is_asked_as_the_kernel_wants_it"]
fn asks() {
    assert!(std::env::var_os(DRIVER).is_some(), "no driver");
    let mut report_data = [0; 64];
    for (byte, number) in report_data.iter_mut().zip(100..) {
        *byte = number;
    }
    let source = SevGuest::open(3).unwrap();
    match source.report(&report_data) {
        Ok(raw) => {
            assert_eq!(raw.report.len(), 1184);
            assert_eq!(raw.report[..0x30], [0xab; 0x30]);
            assert_eq!(raw.report[0x30..0x34], [3, 0, 0, 0]);
            assert_eq!(raw.report[0x34..0x50], [0xab; 0x1c]);
            assert_eq!(raw.report[0x50..0x90], report_data);
            assert_eq!(raw.report[0x90..], [0xab; 1184 - 0x90]);
            assert_eq!(raw.certificates, nacre_attest::CertificateTable::default());
            println!("\nanswer: report");
        }
        Err(SourceError::Busy) => println!("\nanswer: busy"),
        Err(SourceError::Firmware { detail }) => println!("\nanswer: {detail}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_device_is_asked_as_the_kernel_wants_it() {
    let scratch = tempfile::tempdir().unwrap();
    let library = scratch.path().join("driver.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sev_guest.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .args([&library, &source])
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    assert_eq!(asked(&library, 0, 0, 0), "report");
    // EINTR, EAGAIN, EBUSY before the firmware is asked (SEV_RET_NO_FW_CALL); ETIMEDOUT where the host throttles.
    for (errno, exitinfo2) in [
        (4, u64::MAX),
        (11, u64::MAX),
        (16, u64::MAX),
        (110, 2 << 32),
    ] {
        assert_eq!(asked(&library, errno, exitinfo2, 0), "busy", "{errno}");
    }
    for (errno, exitinfo2, status, parts) in [
        (5, 0x16, 0, ["(os error 5)", "Status Code: 0x16"]),
        (25, u64::MAX, 0, ["(os error 25)", "unknown VMM error"]),
        (0, 0, 0x16, ["Firmware Error", "Status Code: 0x16"]),
    ] {
        let detail = asked(&library, errno, exitinfo2, status);
        assert!(parts.iter().all(|part| detail.contains(part)), "{detail}");
    }
}
