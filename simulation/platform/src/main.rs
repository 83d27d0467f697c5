//! SIMULATION: makes the root that simulated evidence is under, and manifests that name it.
//!
//! ```text
//! nacre-sim-platform create FOLDER        a new root, for NACRE_SIM_PKI
//! nacre-sim-platform values FOLDER        reference values of its guests, for a configuration
//! nacre-sim-platform name FOLDER FILE     makes the manifest in FILE name this root
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use nacre_attest::Product;
use nacre_manifest::{LaunchMeasurement, Manifest, RootDigest};
use nacre_sim::{MARKER, MachineSpec, Pki, ReportSpec};
use serde_json::json;

const USAGE: &str = "usage: nacre-sim-platform create FOLDER | values FOLDER | name FOLDER FILE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["create", folder] => create(Path::new(folder)),
        ["values", folder] => values(Path::new(folder)),
        ["name", folder, file] => name(Path::new(folder), Path::new(file)),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nacre-sim-platform: {error}");
            ExitCode::FAILURE
        }
    }
}

fn create(folder: &Path) -> Result<(), Box<dyn Error>> {
    let pki = Pki::create(Product::Genoa, folder)?;
    println!("{MARKER}: root {}", root(&pki));
    Ok(())
}

/// `spec.referenceValues` of a configuration, one line of JSON, which is YAML too.
fn values(folder: &Path) -> Result<(), Box<dyn Error>> {
    let pki = Pki::open(folder)?;
    let machine = MachineSpec::new(pki.product);
    let report = ReportSpec::new(pki.product, &machine);
    let tcb = machine.tcb;
    let values = json!([{
        "product": pki.product.name(),
        "trustedMeasurement": LaunchMeasurement::from_bytes(report.measurement),
        "minimumTcb": {
            "bootloader": tcb.bootloader, "tee": tcb.tee, "snp": tcb.snp, "microcode": tcb.microcode,
        },
    }]);
    println!("{values}");
    Ok(())
}

fn name(folder: &Path, file: &Path) -> Result<(), Box<dyn Error>> {
    let pki = Pki::open(folder)?;
    let mut manifest: Manifest = nacre_manifest::danger::parse_simulated(&fs::read(file)?)?;
    manifest.test_root = Some(root(&pki));
    fs::write(file, manifest.to_bytes())?;
    eprintln!(
        "{MARKER}: {} is for a simulation and protects nothing",
        file.display()
    );
    Ok(())
}

fn root(pki: &Pki) -> RootDigest {
    RootDigest::from_bytes(pki.ark.digest())
}
