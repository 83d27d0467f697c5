use super::*;
use nacre_manifest::is_san;

fn read(spec: Value) -> Result<Confidential, Vec<ConfigError>> {
    Confidential::from_value(&json!({ "apiVersion": API_VERSION, "kind": KIND, "spec": spec }))
}

/// Path, reason and suggestion of every mistake.
fn mistakes(spec: Value) -> Vec<(String, Reason, Option<String>)> {
    let errors = read(spec).unwrap_err();
    errors
        .into_iter()
        .map(|error| (error.path, error.reason, error.suggestion))
        .collect()
}

fn mistake(
    path: &str,
    reason: Reason,
    suggestion: Option<&str>,
) -> (String, Reason, Option<String>) {
    (path.to_owned(), reason, suggestion.map(str::to_owned))
}

fn entries(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_defaults_are_safe() {
    let config = read(json!({})).unwrap();
    assert_eq!(config, Confidential::default());
    assert!(config.self_check);
    assert!(!config.allow_unattested_coordinator && !config.insecure_unbound_first_set);
    assert_eq!(config.policy.profile, Profile::Strict);
    assert_eq!((config.update_threshold, config.recovery_threshold), (1, 1));
    assert_eq!(config.trust_domain.as_str(), "nacre.local");
    assert_eq!(config.coordinator.host, "coordinator");
    assert_eq!(config.manifest.output, ManifestOutput::ConfigMap);
}

#[test]
fn every_mistake_is_found_at_once() {
    let found = mistakes(json!({
        "platfrom": "metal-qemu-snp",
        "strict": "yes",
        "updateThreshold": -1,
        "coordinator": { "hots": "x", "policyHashes": ["zz", 5] },
        "policy": { "profile": "strcit" },
        "selectors": [{ "name": "Web" }, { "kinds": "Pod" }],
    }));
    let expected = [
        mistake("spec.platfrom", Reason::UnknownField, Some("platform")),
        mistake("spec.strict", Reason::WrongType, None),
        mistake("spec.selectors[0].name", Reason::WrongValue, None),
        mistake(
            "spec.selectors[1].kinds",
            Reason::UnknownField,
            Some("kind"),
        ),
        mistake("spec.coordinator.hots", Reason::UnknownField, Some("host")),
        mistake("spec.coordinator.policyHashes[0]", Reason::WrongValue, None),
        mistake("spec.coordinator.policyHashes[1]", Reason::WrongType, None),
        mistake("spec.updateThreshold", Reason::WrongValue, None),
        mistake(
            "spec.policy.profile",
            Reason::WrongValue,
            Some("did you mean strict?"),
        ),
    ];
    assert_eq!(found, expected);
}

#[test]
fn fields_at_the_wrong_depth_or_in_another_spelling_are_recognised() {
    let found = mistakes(json!({ "host": "x", "skip-initializer": true, "reference-values": "x" }));
    let expected = [
        mistake("spec.host", Reason::UnknownField, Some("coordinator.host")),
        mistake(
            "spec.skip-initializer",
            Reason::UnknownField,
            Some("skipInitializer"),
        ),
        mistake(
            "spec.reference-values",
            Reason::UnknownField,
            Some("platform"),
        ),
    ];
    let sorted = |mut list: Vec<_>| {
        list.sort();
        list
    };
    assert_eq!(sorted(found), sorted(expected.to_vec()));

    let outside = Confidential::from_value(&json!({
        "apiVersion": API_VERSION, "kind": KIND, "platform": "metal-qemu-snp",
    }))
    .unwrap_err();
    assert_eq!(outside[0].path, "platform");
    assert_eq!(outside[0].suggestion.as_deref(), Some("spec.platform"));
    assert_eq!(
        outside[0].to_string(),
        "platform: unknown field (did you mean spec.platform?)"
    );
}

#[test]
fn other_objects_are_no_configuration() {
    let reason = |value: Value| Confidential::from_value(&value).unwrap_err()[0].reason;
    let version = json!({ "apiVersion": "nacre.dev/v9", "kind": KIND });
    assert_eq!(reason(version), Reason::WrongKind);
    assert_eq!(
        reason(json!({ "apiVersion": "v1", "kind": "Secret" })),
        Reason::WrongKind
    );
    assert_eq!(reason(json!([])), Reason::WrongKind);
    assert_eq!(reason(Value::Null), Reason::WrongKind);
}

#[test]
fn updates_are_either_disabled_or_owned() {
    let digest = "ab".repeat(32);
    let found =
        mistakes(json!({ "disableUpdates": true, "workloadOwners": [{ "digest": digest }] }));
    assert_eq!(
        found,
        [mistake("spec.disableUpdates", Reason::Conflict, None)]
    );
    let twice = json!({ "workloadOwners": [{ "digest": digest }, { "digest": digest }] });
    assert_eq!(
        mistakes(twice),
        [mistake("spec.workloadOwners[1]", Reason::Conflict, None)]
    );
}

#[test]
fn a_threshold_above_what_is_supported_is_refused_and_not_ignored() {
    for field in ["updateThreshold", "recoveryThreshold"] {
        for value in [0, 33] {
            let mut spec = json!({});
            spec[field] = json!(value);
            let path = format!("spec.{field}");
            assert_eq!(mistakes(spec), [mistake(&path, Reason::WrongValue, None)]);
        }
    }
    let replicas = mistakes(json!({ "coordinatorReplicas": 0 }));
    assert_eq!(
        replicas,
        [mistake(
            "spec.coordinatorReplicas",
            Reason::WrongValue,
            None
        )]
    );
}

#[test]
fn owners_are_given_one_way() {
    let path = "spec.workloadOwners[0]";
    let missing = mistakes(json!({ "workloadOwners": [{}] }));
    assert_eq!(missing, [mistake(path, Reason::Missing, None)]);
    let both = mistakes(json!({ "workloadOwners": [{ "pem": "x", "digest": "y" }] }));
    assert_eq!(both, [mistake(path, Reason::Missing, None)]);
    let other = mistakes(json!({ "workloadOwners": [{ "digset": "y" }] }));
    let at = format!("{path}.digset");
    assert_eq!(other, [mistake(&at, Reason::UnknownField, Some("digest"))]);
    let seedshare = mistakes(json!({ "seedshareOwners": [{ "digest": "00" }] }));
    let at = "spec.seedshareOwners[0].digest";
    assert_eq!(seedshare[0].0, at, "a digest is not enough to encrypt to");
}

#[test]
fn a_private_key_is_refused_and_not_repeated() {
    let pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n";
    for field in ["workloadOwners", "seedshareOwners"] {
        let mut spec = json!({});
        spec[field] = json!([{ "pem": pem }]);
        let errors = read(spec).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].path, format!("spec.{field}[0].pem"));
        assert!(errors[0].message.contains("private key"));
        assert!(!format!("{errors:?}").contains("c2VjcmV0"));
    }
}

#[test]
fn names_for_certificates_are_checked() {
    let found = mistakes(json!({ "sans": {
        "shop/Deployment/web": ["ok.example", "spiffe://nacre.local/ns/x/y/z", "not ok"],
        "web": ["a"],
    } }));
    assert_eq!(
        found,
        [mistake("spec.sans[\"web\"]", Reason::WrongValue, None)]
    );
    let found = mistakes(json!({ "sans": {
        "shop/Deployment/web": ["ok.example", "spiffe://nacre.local/ns/x/y/z", "not ok"],
    } }));
    let at = |index: usize| format!("spec.sans[\"shop/Deployment/web\"][{index}]");
    let expected = [
        mistake(&at(1), Reason::WrongValue, None),
        mistake(&at(2), Reason::WrongValue, None),
    ];
    assert_eq!(found, expected);
    assert!(is_san("ok.example"));
}

#[test]
fn single_values_are_checked() {
    let cases = [
        (json!({ "namespace": "Shop" }), "spec.namespace"),
        (
            json!({ "coordinator": { "host": "a b" } }),
            "spec.coordinator.host",
        ),
        (json!({ "platform": "" }), "spec.platform"),
        (json!({ "trustDomain": "A" }), "spec.trustDomain"),
        (json!({ "selectors": [{}] }), "spec.selectors[0]"),
        (
            json!({ "customResources": [
                { "apiVersion": "a/v1", "kind": "B", "podTemplate": "spec..template" }
            ] }),
            "spec.customResources[0].podTemplate",
        ),
        (
            json!({ "referenceValues": [{ "minimumTcb": { "snp": 256 } }] }),
            "spec.referenceValues[0].minimumTcb.snp",
        ),
        (
            json!({ "referenceValues": [{ "guestPolicy": { "Smt": true } }] }),
            "spec.referenceValues[0].guestPolicy",
        ),
        (
            json!({ "coordinator": { "reference": { "tdx": [] } } }),
            "spec.coordinator.reference",
        ),
        (
            json!({ "imageLock": { "kind": "ImageLock" } }),
            "spec.imageLock.apiVersion",
        ),
    ];
    for (spec, path) in cases {
        let found = mistakes(spec.clone());
        assert_eq!(found[0].0, path, "{spec}");
    }
}

#[test]
fn a_missing_field_of_a_custom_resource_is_named() {
    let found = mistakes(json!({ "customResources": [{ "kind": "B" }] }));
    let expected = [
        mistake("spec.customResources[0].apiVersion", Reason::Missing, None),
        mistake("spec.customResources[0].podTemplate", Reason::Missing, None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_config_map_is_read_by_flat_names() {
    let map = |data: Value| {
        Confidential::from_value(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": data }))
    };
    let config = map(json!({
        "reference-values": "aks-clh-snp",
        "skipInitializer": "true",
        "coordinator.host": "c.example",
        "update-threshold": "1",
        "policy-allow-secret-env": "HTTPS_PROXY, PATH",
        "referenceValues": r#"[{"vcpus": 2}]"#,
        "strict": true,
    }))
    .unwrap();
    assert_eq!(config.platform.as_deref(), Some("aks-clh-snp"));
    assert!(config.skip_initializer && config.strict);
    assert_eq!(config.coordinator.host, "c.example");
    assert_eq!(config.policy.allow_secret_env, ["HTTPS_PROXY", "PATH"]);
    assert_eq!(config.reference_values[0].vcpus, Some(2));

    let errors = map(json!({
        "platfrom": "x",
        "strict": "maybe",
        "platform": "a",
        "reference-values": "b",
        "referenceValues": "{",
    }))
    .unwrap_err();
    let found: Vec<(&str, Reason)> = errors
        .iter()
        .map(|error| (error.path.as_str(), error.reason))
        .collect();
    let expected = [
        ("platfrom", Reason::UnknownField),
        ("reference-values", Reason::Conflict),
        ("strict", Reason::WrongType),
        ("referenceValues[0]", Reason::WrongType),
    ];
    assert_eq!(found, expected);
    assert!(map(json!(["x"])).is_err());
}

#[test]
fn an_owner_can_be_given_flat() {
    let pem = include_str!("../../../crates/manifest/testdata/p384.pub");
    let digest = "80a96e694961a817044a030508f0372d8b49da19c0ef49a2840783e2ac2f88d5";
    for text in [pem, digest] {
        let config = Confidential::default()
            .merge_overrides(&entries(&[("workload-owner", text)]))
            .unwrap();
        assert_eq!(config.workload_owners[0].to_string(), digest);
    }
}

#[test]
fn overrides_change_what_they_name_and_nothing_else() {
    let config = read(json!({
        "platform": "metal-qemu-snp",
        "coordinator": { "host": "c.example", "policyHashes": ["ab".repeat(32)] },
    }))
    .unwrap();
    let merged = config
        .clone()
        .merge_overrides(&entries(&[
            ("coordinator-host", "d.example"),
            ("strict", "true"),
        ]))
        .unwrap();
    assert_eq!(merged.coordinator.host, "d.example");
    assert_eq!(
        merged.coordinator.policy_hashes,
        config.coordinator.policy_hashes
    );
    assert_eq!(merged.platform, config.platform);
    let wrong = config
        .merge_overrides(&entries(&[("stict", "true")]))
        .unwrap_err();
    assert_eq!(wrong[0].suggestion.as_deref(), Some("strict"));
}

#[test]
fn variables_that_name_a_field_are_entries() {
    let variables = [
        ("NACRE_SKIP_INITIALIZER", "true"),
        ("NACRE_COORDINATOR_HOST", "c"),
        ("NACRE_REPORT", "/tmp/report"),
        ("COORDINATOR_HOST", "other"),
        ("PATH", "/bin"),
    ];
    let expected = entries(&[("coordinator-host", "c"), ("skip-initializer", "true")]);
    assert_eq!(Confidential::entries_from_env(variables), expected);
}

proptest::proptest! {
    #[test]
    fn no_text_in_any_flat_field_panics(index in 0_usize..1000, text in ".*") {
        let names = crate::flat_names();
        let name = &names[index % names.len()];
        let merged = Confidential::default().merge_overrides(&entries(&[(name, &text)]));
        if let Err(errors) = merged {
            proptest::prop_assert!(!errors.is_empty());
        }
    }
}

#[test]
fn an_unknown_field_comes_with_those_that_there_are() {
    let tcb = json!({ "bootloaderVersion": 3, "fingers": 10 });
    let wrong = read(json!({ "referenceValues": [{ "minimumTcb": tcb }] })).unwrap_err();
    let unknown: Vec<&ConfigError> = wrong
        .iter()
        .filter(|error| error.reason == Reason::UnknownField)
        .collect();
    assert_eq!(unknown.len(), 2, "{wrong:?}");
    assert_eq!(unknown[0].suggestion.as_deref(), Some("bootloader"));
    assert_eq!(unknown[1].suggestion, None);
    assert_eq!(
        unknown[1].to_string(),
        "spec.referenceValues[0].minimumTcb.fingers: unknown field (there are fmc, bootloader, tee, snp, microcode)"
    );
}

#[test]
fn a_config_map_that_is_none_of_ours_says_how_it_was_read() {
    let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "table": "x" } });
    let wrong = Confidential::from_value(&value).unwrap_err();
    assert_eq!(
        wrong[0].to_string(),
        "table: unknown name: a ConfigMap is read as a flat configuration, its keys are names of fields"
    );
}
