//! The samples are read by this crate and by an independent JSON Schema validator, and the files
//! generated from the types are those in the repository.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test: what goes wrong here must stop it"
)]

use std::fs;
use std::path::{Path, PathBuf};

use nacre_fnconfig::{Confidential, generated_files};
use nacre_manifest::{Identity, Product, Profile};
use serde_json::{Value, json};

fn samples() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let stream = nacre_krm::Stream::parse(fs::read_to_string(path).unwrap()).unwrap();
        let value = stream.documents()[0]
            .value(&nacre_krm::Path::root())
            .unwrap();
        (
            path.file_stem().unwrap().to_str().unwrap().to_owned(),
            value,
        )
    };
    files.iter().map(read).collect()
}

fn sample(name: &str) -> Value {
    samples()
        .into_iter()
        .find(|(sample, _)| sample == name)
        .unwrap()
        .1
}

#[test]
fn every_sample_is_read() {
    let names: Vec<String> = samples().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "configmap",
        "development",
        "external-coordinator",
        "minimal",
        "production",
    ];
    assert_eq!(names, expected);
    for (name, value) in samples() {
        if let Err(errors) = Confidential::from_value(&value) {
            panic!("{name}: {errors:#?}");
        }
    }
}

#[test]
fn the_samples_say_what_they_look_like() {
    let config = Confidential::from_value(&sample("production")).unwrap();
    assert!(config.strict);
    assert_eq!(config.workload_owners.len(), 2);
    // openssl pkey -pubin -outform DER | sha256sum
    let digest = "80a96e694961a817044a030508f0372d8b49da19c0ef49a2840783e2ac2f88d5";
    assert_eq!(config.workload_owners[0].to_string(), digest);
    assert_eq!(config.seedshare_owners[0].bits(), 2048);
    let overrides = config.reference_overrides();
    assert_eq!(overrides[0].product, Some(Product::Genoa));
    assert_eq!(
        overrides[0].minimum_tcb_by_model[0].minimum_tcb.microcode,
        Some(27)
    );
    assert_eq!(overrides[2].cpus, Some(2));
    let web = Identity::new("shop", "Deployment", "web");
    assert_eq!(config.sans[&web], ["shop.example.com", "203.0.113.34"]);

    let flat = Confidential::from_value(&sample("configmap")).unwrap();
    assert_eq!(flat.platform.as_deref(), Some("metal-qemu-snp"));
    assert!(flat.skip_service_mesh && !flat.skip_initializer);
    assert_eq!(flat.coordinator.host, "coordinator.shop");
    assert_eq!(flat.workload_owners.len(), 2);
    assert_eq!(flat.policy.profile, Profile::Logs);
    assert_eq!(flat.sans[&web], ["shop.example.com"]);

    let external = Confidential::from_value(&sample("external-coordinator")).unwrap();
    let reference = external.coordinator.reference.unwrap();
    assert_eq!(reference.snp[0].guest_policy.abi_minor, 31);
}

#[test]
fn the_schema_accepts_the_samples_and_refuses_what_the_reader_refuses() {
    let schema = jsonschema::validator_for(&Confidential::json_schema()).unwrap();
    for (name, value) in samples()
        .into_iter()
        .filter(|(name, _)| name != "configmap")
    {
        let errors: Vec<String> = schema
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
    }
    let wrong = [
        json!({ "platfrom": "x" }),
        json!({ "strict": "yes" }),
        json!({ "updateThreshold": -1 }),
        json!({ "selectors": [{ "name": "Web" }] }),
        json!({ "customResources": [{ "kind": "X" }] }),
        json!({ "policy": { "profile": "open" } }),
        json!({ "workloadOwners": [{ "digest": "AB" }] }),
        json!({ "workloadOwners": [{}] }),
        json!({ "referenceValues": [{ "trustedMeasurement": "00" }] }),
        json!({ "referenceValues": [{ "minimumTcb": { "snp": 300 } }] }),
        json!({ "referenceValues": [{ "platformInfo": { "Smt": true } }] }),
        json!({ "sans": { "web": ["a"] } }),
        json!({ "manifest": { "output": "xml" } }),
        json!({ "coordinator": { "policyHashes": ["zz"] } }),
        json!({ "trustDomain": "Shop" }),
    ];
    for spec in wrong {
        let object =
            json!({ "apiVersion": "nacre.dev/v1alpha1", "kind": "Confidential", "spec": spec });
        assert!(!schema.is_valid(&object), "schema: {spec}");
        assert!(Confidential::from_value(&object).is_err(), "reader: {spec}");
    }
}

#[test]
fn the_schema_of_the_manifest_accepts_what_is_written() {
    let schema = jsonschema::validator_for(&nacre_manifest::schema()).unwrap();
    let external = Confidential::from_value(&sample("external-coordinator")).unwrap();
    let mut manifest = nacre_manifest::Manifest {
        reference_values: external.coordinator.reference.unwrap(),
        ..nacre_manifest::Manifest::default()
    };
    let entry = nacre_manifest::PolicyEntry::new(
        Identity::new("shop", "Deployment", "web"),
        vec!["web".to_owned()],
    );
    manifest
        .policies
        .insert(nacre_manifest::PolicyHash::of(b"web"), entry);
    manifest.reference_values.snp[0].trusted_measurement = None;
    let value = manifest.to_value();
    let errors: Vec<String> = schema
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    for (pointer, wrong) in [
        ("/apiVersion", json!("v2")),
        ("/UpdateThreshold", json!(0)),
        ("/WorkloadOwnerKeyDigests", json!(["AB"])),
        ("/ReferenceValues/snp/0/ProductName", json!("Rome")),
        ("/ReferenceValues/snp/0/MinimumTCB", json!({})),
    ] {
        let mut damaged = value.clone();
        *damaged.pointer_mut(pointer).unwrap() = wrong;
        assert!(!schema.is_valid(&damaged), "{pointer}");
    }
}

#[test]
fn generated_files_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (file, text) in generated_files() {
        let found = fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(
            found == text,
            "{file} is not what the types give: cargo run -p nacre-fnconfig --example generate"
        );
    }
}
