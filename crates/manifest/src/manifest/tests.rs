use serde_json::json;

use super::*;
use crate::bytes::LaunchMeasurement;
use crate::identity::Identity;
use crate::policy::Role;
use crate::reference::{
    Cpuid, GuestPolicy, HostDataBinding, ModelTcb, PlatformInfo, Product, ReportDataForm,
    SigningKey, SnpReference, Tcb,
};
use crate::{ChipId, Profile, SignerDigest, danger};

/// A manifest in which every field has a value that is written.
pub(crate) fn full() -> Manifest {
    let tcb = Tcb {
        fmc: Some(1),
        bootloader: Some(2),
        tee: Some(0),
        snp: Some(27),
        microcode: Some(71),
    };
    let set = SnpReference {
        trusted_measurement: Some(LaunchMeasurement::from_bytes([1; 48])),
        host_data_binding: HostDataBinding::Enforced,
        report_data_form: ReportDataForm::Text,
        minimum_tcb: tcb,
        minimum_tcb_by_model: vec![ModelTcb {
            cpuid: Cpuid {
                family: 26,
                model: 2,
                stepping: Some(1),
            },
            minimum_tcb: tcb,
        }],
        guest_policy: GuestPolicy {
            abi_minor: 31,
            ..GuestPolicy::default()
        },
        platform_info: PlatformInfo {
            smt_enabled: Some(false),
            tsme_enabled: Some(true),
            ecc_enabled: Some(true),
            rapl_disabled: Some(true),
            ciphertext_hiding_dram_enabled: Some(true),
            alias_check_complete: Some(true),
            tio_enabled: Some(false),
        },
        minimum_mitigation_vector: 3,
        vmpl: 1,
        signing_key: SigningKey::Vlek,
        allowed_chip_ids: vec![ChipId::from_bytes([2; 64])],
        id_key_digests: vec![SignerDigest::from_bytes([3; 48])],
        author_key_digests: vec![SignerDigest::from_bytes([4; 48])],
        require_committed_tcb: true,
        strict_platform_info: true,
        ..SnpReference::new("metal-qemu-snp", Product::Turin, 2)
    };
    let entry = PolicyEntry {
        sans: vec!["web".to_owned(), "*".to_owned()],
        identity: Some(Identity::new("shop", "Deployment", "web")),
        workload_secret_id: Some("apps/v1/Deployment/shop/web".to_owned()),
        role: Some(Role::Coordinator),
        profile: Some(Profile::Logs),
        platforms: vec!["metal-qemu-snp".to_owned()],
        pod_ip: true,
    };
    let key = include_str!("../../testdata/rsa2048.pub");
    Manifest {
        policies: BTreeMap::from([(PolicyHash::of(b"web"), entry)]),
        reference_values: ReferenceValues { snp: vec![set] },
        workload_owner_key_digests: vec![KeyDigest::of_spki(b"owner")],
        seedshare_owner_pub_keys: vec![SeedshareOwnerKey::from_pem(key).unwrap()],
        peer_recovery: true,
        allow_any_chip: true,
        ca_overlap: true,
        allow_unattested_coordinator: true,
        insecure_unbound_first_set: true,
        ..Manifest::default()
    }
}

fn changed(change: impl FnOnce(&mut Value)) -> Result<Manifest, Error> {
    let mut value = full().to_value();
    change(&mut value);
    Manifest::parse(value.to_string().as_bytes())
}

fn field(path: &str, reason: &str) -> Result<Manifest, Error> {
    Err(Error::Field {
        path: path.to_owned(),
        reason: reason.to_owned(),
    })
}

#[test]
fn what_is_written_is_read_and_written_the_same() {
    let bytes = full().to_bytes();
    let read = Manifest::parse(&bytes).unwrap();
    assert_eq!(read, full());
    assert_eq!(read.to_bytes(), bytes);
}

#[test]
fn the_bytes_are_sorted_and_indented_and_end_with_a_newline() {
    let text = String::from_utf8(Manifest::default().to_bytes()).unwrap();
    assert_eq!(
        text,
        r#"{
  "AllowAnyChip": false,
  "CAOverlap": false,
  "CoordinatorReplicas": 1,
  "PeerRecovery": false,
  "Policies": {},
  "RecoveryThreshold": 1,
  "ReferenceValues": {
    "snp": []
  },
  "SeedshareOwnerPubKeys": [],
  "TrustDomain": "nacre.local",
  "UpdateThreshold": 1,
  "WorkloadOwnerKeyDigests": [],
  "apiVersion": "nacre.dev/v1alpha1"
}
"#
    );
}

#[test]
fn the_order_of_lists_without_order_does_not_reach_the_bytes() {
    let mut one = full();
    let (a, b) = (KeyDigest::of_spki(b"a"), KeyDigest::of_spki(b"b"));
    one.workload_owner_key_digests = vec![a, b];
    let mut set = one.reference_values.snp[0].clone();
    set.cpus = 1;
    one.reference_values.snp.push(set);
    let mut other = one.clone();
    other.workload_owner_key_digests.reverse();
    other.reference_values.snp.reverse();
    assert_eq!(one.to_bytes(), other.to_bytes());
    assert_eq!(one.hash(), other.hash());
}

#[test]
fn the_order_of_names_in_a_certificate_is_kept() {
    let mut manifest = full();
    let entry = manifest.policies.values_mut().next().unwrap();
    entry.sans = vec!["z".to_owned(), "a".to_owned()];
    let read = Manifest::parse(&manifest.to_bytes()).unwrap();
    assert_eq!(read.policies.values().next().unwrap().sans, ["z", "a"]);
}

#[test]
fn the_object_form_reads_as_the_same_manifest() {
    let annotations =
        BTreeMap::from([("config.kubernetes.io/path".to_owned(), "m.json".to_owned())]);
    let object = full().to_object_bytes("nacre-manifest", &annotations);
    assert_eq!(Manifest::parse(&object).unwrap(), full());
    let value: Value = serde_json::from_slice(&object).unwrap();
    assert_eq!(value["kind"], KIND);
    assert_eq!(value["metadata"]["name"], "nacre-manifest");
    assert_eq!(Manifest::from_value(value), Ok(full()));
}

#[test]
fn unknown_fields_are_named() {
    let hash = PolicyHash::of(b"web");
    let top = changed(|value| value["policies"] = json!({})).unwrap_err();
    let Error::FieldUnknown { path, known } = top else {
        panic!("{top:?}")
    };
    assert_eq!(path, "policies");
    assert!(known.iter().any(|name| name == "Policies"), "{known:?}");

    let deep = changed(|value| value["Policies"][hash.to_string()]["SAN"] = json!([]));
    let Err(Error::FieldUnknown { path, .. }) = deep else {
        panic!("{deep:?}")
    };
    assert_eq!(path, format!("Policies.{hash}.SAN"));

    let tdx = changed(|value| value["ReferenceValues"]["tdx"] = json!([]));
    let Err(Error::FieldUnknown { path, .. }) = tdx else {
        panic!("{tdx:?}")
    };
    assert_eq!(path, "ReferenceValues.tdx");

    // Whatever its name is, it is not among those that there are.
    let odd = changed(|value| value["a`b`, expected `c"] = json!(1)).unwrap_err();
    let Error::FieldUnknown { known: others, .. } = odd else {
        panic!("{odd:?}")
    };
    assert_eq!(others, known);
}

#[test]
fn wrong_types_are_said_in_words() {
    let wrong = changed(|value| value["CoordinatorReplicas"] = json!("1"));
    let expected = "a whole number expected, not string \"1\"";
    assert_eq!(wrong, field("CoordinatorReplicas", expected));
    let wrong = changed(|value| value["ReferenceValues"] = json!(7));
    let expected = "an object expected, not integer `7`";
    assert_eq!(wrong, field("ReferenceValues", expected));
}

#[test]
fn duplicate_keys_are_refused_at_every_depth() {
    let top = Manifest::parse(b"{\"apiVersion\": \"x\",\n\"apiVersion\": \"y\"}");
    let expected = Error::DuplicateKey {
        path: "the manifest".to_owned(),
        key: "apiVersion".to_owned(),
        line: 2,
    };
    assert_eq!(top, Err(expected));
    let deep = Manifest::parse(br#"{"ReferenceValues": {"snp": [{}, {"CPUs": 1, "CPUs": 2}]}}"#);
    let expected = Error::DuplicateKey {
        path: "ReferenceValues.snp.1".to_owned(),
        key: "CPUs".to_owned(),
        line: 1,
    };
    assert_eq!(deep, Err(expected));
    // An escaped spelling is the same key.
    let escaped = Manifest::parse(br#"{"a": 1, "\u0061": 2}"#);
    assert!(
        matches!(escaped, Err(Error::DuplicateKey { .. })),
        "{escaped:?}"
    );
}

#[test]
fn upper_case_hex_is_refused_wherever_hex_stands() {
    let upper = "AB".repeat(32);
    let key = changed(|value| value["Policies"] = json!({ upper.clone(): {} }));
    let at = format!("Policies.{upper}");
    let reason = "upper-case hex digit 'A' at position 1: write lower case";
    assert_eq!(key, field(&at, reason));
    let digest = changed(|value| value["WorkloadOwnerKeyDigests"] = json!([upper]));
    assert_eq!(digest, field("WorkloadOwnerKeyDigests[0]", reason));
    let measurement = changed(|value| {
        value["ReferenceValues"]["snp"][0]["TrustedMeasurement"] = json!("AB".repeat(48));
    });
    assert_eq!(
        measurement,
        field("ReferenceValues.snp[0].TrustedMeasurement", reason)
    );
}

#[test]
fn versions_and_kinds_that_are_not_known_are_refused() {
    let remove = |value: &mut Value| {
        value.as_object_mut().unwrap().remove("apiVersion");
    };
    assert_eq!(changed(remove), Err(Error::ApiVersionMissing));
    let newer = changed(|value| value["apiVersion"] = json!("nacre.dev/v2"));
    assert_eq!(
        newer,
        Err(Error::ApiVersionUnknown {
            found: "\"nacre.dev/v2\"".to_owned()
        })
    );
    let kind = changed(|value| value["kind"] = json!("ConfigMap"));
    assert_eq!(
        kind,
        Err(Error::KindUnknown {
            found: "\"ConfigMap\"".to_owned()
        })
    );
    let metadata = changed(|value| {
        value["kind"] = json!("Manifest");
        value["metadata"] = json!({ "name": "x", "finalizers": [] });
    });
    assert_eq!(metadata, field("metadata.finalizers", "unknown field"));
}

#[test]
fn what_is_no_object_or_no_json_says_where() {
    assert_eq!(Manifest::parse(b"[]"), Err(Error::NotAnObject));
    let broken = Manifest::parse(b"{\n  \"a\": }");
    let Err(Error::Syntax {
        line: 2,
        column: 8,
        reason,
    }) = broken
    else {
        panic!("{broken:?}")
    };
    assert_eq!(reason, "expected value");
    assert!(matches!(
        Manifest::parse(b"{} {}"),
        Err(Error::Syntax { .. })
    ));
    assert!(matches!(Manifest::parse(b""), Err(Error::Syntax { .. })));
    assert!(matches!(
        Manifest::parse(b"\xff\xfe"),
        Err(Error::Syntax { .. })
    ));
    let deep = "[".repeat(100_000);
    assert!(matches!(
        Manifest::parse(deep.as_bytes()),
        Err(Error::Syntax { .. })
    ));
    let large = vec![b' '; crate::MAX_BYTES + 1];
    assert!(matches!(
        Manifest::parse(&large),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn missing_fields_without_default_are_named() {
    let bare = Manifest::parse(br#"{"apiVersion": "nacre.dev/v1alpha1", "Policies": {}}"#);
    assert_eq!(bare, field("manifest", "missing field `ReferenceValues`"));
}

#[test]
fn a_simulated_root_is_read_by_the_marked_function_only() {
    let manifest = Manifest {
        test_root: Some(RootDigest::of(b"root")),
        ..full()
    };
    let bytes = manifest.to_bytes();
    assert_eq!(Manifest::parse(&bytes), Err(Error::TestRoot));
    assert_eq!(
        Manifest::from_value(manifest.to_value()),
        Err(Error::TestRoot)
    );
    assert_eq!(danger::parse_simulated(&bytes), Ok(manifest));
}

#[test]
fn the_list_form_is_read_by_its_own_function() {
    let owner = "ab".repeat(32);
    let hash = PolicyHash::of(b"web");
    let old = json!({
        "Policies": { hash.to_string(): ["web", "*"] },
        "ReferenceValues": {
            "SNP": { "MinimumTCB": {
                "BootloaderVersion": 3, "TEEVersion": 0, "SNPVersion": 8, "MicrocodeVersion": 115
            } },
            "TrustedMeasurement": "0".repeat(95) + "1"
        },
        "WorkloadOwnerKeyDigests": [owner],
    });
    assert_eq!(
        Manifest::parse(old.to_string().as_bytes()),
        Err(Error::ListForm)
    );
    let manifest = Manifest::parse_v08(old.to_string().as_bytes()).unwrap();
    let entry = &manifest.policies[&hash];
    assert_eq!(entry.sans, ["web", "*"]);
    assert_eq!(entry.identity, None);
    let set = &manifest.reference_values.snp[0];
    assert_eq!(set.key(), ("aks-clh-snp", Product::Milan, 1));
    assert_eq!(set.minimum_tcb.microcode, Some(115));
    assert_eq!(set.trusted_measurement.unwrap().as_bytes()[47], 1);
    assert_eq!(manifest.workload_owner_key_digests[0].to_string(), owner);

    let mut grouped = old.clone();
    grouped["ReferenceValues"] = json!({ "aks": old["ReferenceValues"] });
    assert_eq!(
        Manifest::parse_v08(grouped.to_string().as_bytes()),
        Ok(manifest)
    );

    let mut unknown = old;
    unknown["Extra"] = json!(1);
    assert!(matches!(
        Manifest::parse_v08(unknown.to_string().as_bytes()),
        Err(Error::FieldUnknown { .. })
    ));
}

proptest::proptest! {
    #[test]
    fn damaged_bytes_never_panic_and_never_read_as_something_unstable(
        position in 0_usize..10_000,
        byte in proptest::num::u8::ANY,
        cut in 0_usize..10_000,
    ) {
        let mut bytes = full().to_bytes();
        let length = bytes.len();
        bytes[position % length] = byte;
        bytes.truncate(length - cut % length);
        if let Ok(read) = Manifest::parse(&bytes) {
            let again = Manifest::parse(&read.to_bytes());
            proptest::prop_assert_eq!(again, Ok(read));
        }
    }

    #[test]
    fn any_names_and_numbers_survive_writing_and_reading(
        names in proptest::collection::vec(".*", 0..5),
        secret in proptest::option::of(".*"),
        cpus in proptest::num::u32::ANY,
        mitigations in proptest::num::u64::ANY,
    ) {
        let mut manifest = full();
        for entry in manifest.policies.values_mut() {
            entry.sans.clone_from(&names);
            entry.workload_secret_id.clone_from(&secret);
        }
        manifest.reference_values.snp[0].cpus = cpus;
        manifest.reference_values.snp[0].minimum_mitigation_vector = mitigations;
        proptest::prop_assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
    }
}

#[test]
fn the_schema_knows_exactly_the_fields_that_are_written() {
    let schema = crate::schema();
    let mut manifest = full();
    manifest.test_root = Some(RootDigest::of(b"root"));
    let value = manifest.to_object("m", &BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    compare(&schema, &value, "manifest");

    fn compare(schema: &Value, value: &Value, at: &str) {
        let schema = schema.pointer("/anyOf/0").unwrap_or(schema);
        match value {
            Value::Object(fields) => {
                let Some(known) = schema["properties"].as_object() else {
                    for (key, value) in fields {
                        compare(
                            &schema["additionalProperties"],
                            value,
                            &format!("{at}.{key}"),
                        );
                    }
                    return;
                };
                let mut written: Vec<&String> = fields.keys().collect();
                let mut described: Vec<&String> = known
                    .keys()
                    .filter(|key| at != "manifest.metadata" || fields.contains_key(*key))
                    .collect();
                written.sort();
                described.sort();
                assert_eq!(written, described, "{at}");
                for (key, value) in fields {
                    compare(&known[key], value, &format!("{at}.{key}"));
                }
            }
            Value::Array(items) => {
                for item in items {
                    compare(&schema["items"], item, &format!("{at}[]"));
                }
            }
            Value::String(_) => assert!(
                schema["type"] == "string"
                    || schema["enum"].is_array()
                    || !schema["const"].is_null(),
                "{at}: {schema}"
            ),
            Value::Bool(_) => assert_eq!(schema["type"], "boolean", "{at}"),
            Value::Number(_) => assert_eq!(schema["type"], "integer", "{at}"),
            Value::Null => panic!("{at} is empty"),
        }
    }
}
