use super::*;
use crate::bytes::{ChipId, KeyDigest, LaunchMeasurement};
use crate::manifest::tests::full;

/// A manifest without any problem.
fn good() -> Manifest {
    let mut manifest = full();
    manifest.allow_unattested_coordinator = false;
    manifest.insecure_unbound_first_set = false;
    manifest
}

fn problems(change: impl FnOnce(&mut Manifest)) -> Vec<(String, ProblemKind)> {
    let mut manifest = good();
    change(&mut manifest);
    let list = manifest.validate(Strictness::Strict);
    list.into_iter()
        .map(|problem| (problem.path, problem.kind))
        .collect()
}

fn entry(manifest: &mut Manifest) -> &mut PolicyEntry {
    manifest.policies.values_mut().next().unwrap()
}

fn set(manifest: &mut Manifest) -> &mut SnpReference {
    &mut manifest.reference_values.snp[0]
}

fn one(path: &str, kind: ProblemKind) -> Vec<(String, ProblemKind)> {
    vec![(path.to_owned(), kind)]
}

#[test]
fn a_good_manifest_has_no_problem() {
    assert_eq!(problems(|_| {}), []);
}

#[test]
fn what_is_to_be_filled_in_is_a_warning_until_strict() {
    let mut manifest = good();
    set(&mut manifest).trusted_measurement = None;
    set(&mut manifest).minimum_tcb.snp = None;
    let severities = |strictness| -> Vec<(String, Severity)> {
        let list = manifest.validate(strictness);
        list.into_iter()
            .map(|problem| (problem.path, problem.severity))
            .collect()
    };
    let paths = [
        "ReferenceValues.snp[0].TrustedMeasurement",
        "ReferenceValues.snp[0].MinimumTCB.SNPVersion",
    ];
    let with = |severity| paths.map(|path| (path.to_owned(), severity)).to_vec();
    assert_eq!(severities(Strictness::Lenient), with(Severity::Warning));
    assert_eq!(severities(Strictness::Strict), with(Severity::Error));
}

#[test]
fn a_size_that_is_not_covered_is_an_error_naming_it() {
    let mut manifest = good();
    let mut other = set(&mut manifest).clone();
    other.cpus = 5;
    other.trusted_measurement = None;
    manifest.reference_values.snp.push(other);
    let list = manifest.validate(Strictness::Lenient);
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].severity, Severity::Error);
    assert_eq!(
        list[0].to_string(),
        "ReferenceValues.snp[1].TrustedMeasurement: metal-qemu-snp on Turin has a launch \
         measurement, but none for 5 vCPU, which a workload needs"
    );
}

#[test]
fn a_coordinator_is_needed() {
    let list = problems(|manifest| entry(manifest).role = None);
    assert_eq!(list, one("Policies", ProblemKind::CoordinatorMissing));
}

#[test]
fn identities_must_be_there_and_fit_into_a_uri() {
    let hash = PolicyHash::of(b"web");
    let missing = problems(|manifest| entry(manifest).identity = None);
    assert_eq!(
        missing,
        one(&format!("Policies.{hash}"), ProblemKind::IdentityMissing)
    );
    let slash = problems(|manifest| {
        entry(manifest).identity = Some(Identity::new("a", "Pod", "b/c"));
    });
    let error = IdentityError::Character {
        part: "Name",
        character: '/',
    };
    let at = format!("Policies.{hash}.Identity");
    assert_eq!(slash, one(&at, ProblemKind::IdentityInvalid(error)));
}

#[test]
fn two_policies_of_one_workload_are_named_but_two_coordinators_may_be() {
    let twin = PolicyHash::of(b"twin");
    let add = |manifest: &mut Manifest, role| {
        let mut copy = entry(manifest).clone();
        copy.role = role;
        manifest.policies.insert(twin, copy);
    };
    assert_eq!(
        problems(|manifest| add(manifest, Some(crate::Role::Coordinator))),
        []
    );
    let list = problems(|manifest| {
        let mut copy = entry(manifest).clone();
        copy.role = None;
        manifest
            .policies
            .insert(PolicyHash::from_bytes([0; 32]), copy.clone());
        manifest
            .policies
            .insert(PolicyHash::from_bytes([1; 32]), copy);
    });
    assert_eq!(list.len(), 1, "{list:?}");
    assert!(matches!(list[0].1, ProblemKind::IdentityShared { .. }));
}

#[test]
fn names_are_checked() {
    let hash = PolicyHash::of(b"web");
    let list = problems(|manifest| {
        let names = [
            "*",
            "10.0.0.1",
            "fd00::1",
            "a.b",
            "*.shop.example",
            "https://x/y",
            "*",
        ];
        let bad = [
            "",
            "a b",
            "-a",
            "a..b",
            "spiffe://nacre.local/x",
            "SPIFFE://NACRE.LOCAL/x",
        ];
        let names = names.iter().chain(&bad);
        entry(manifest).sans = names.map(|name| (*name).to_owned()).collect();
    });
    let at = |index: usize| format!("Policies.{hash}.SANs[{index}]");
    let san = |text: &str| text.to_owned();
    let expected = vec![
        (at(6), ProblemKind::SanDuplicate { san: san("*") }),
        (at(7), ProblemKind::SanInvalid { san: san("") }),
        (at(8), ProblemKind::SanInvalid { san: san("a b") }),
        (at(9), ProblemKind::SanInvalid { san: san("-a") }),
        (at(10), ProblemKind::SanInvalid { san: san("a..b") }),
        (
            at(11),
            ProblemKind::SanInTrustDomain {
                san: san("spiffe://nacre.local/x"),
            },
        ),
        (
            at(12),
            ProblemKind::SanInTrustDomain {
                san: san("SPIFFE://NACRE.LOCAL/x"),
            },
        ),
    ];
    assert_eq!(list, expected);
}

#[test]
fn secret_names_have_no_control_characters() {
    let at = format!("Policies.{}.WorkloadSecretID", PolicyHash::of(b"web"));
    for id in ["", "a\nb", "\u{0}", &"x".repeat(1025)] {
        let list = problems(|manifest| entry(manifest).workload_secret_id = Some(id.to_owned()));
        assert_eq!(list, one(&at, ProblemKind::SecretIdInvalid), "{id}");
    }
}

#[test]
fn a_platform_needs_reference_values() {
    let list = problems(|manifest| entry(manifest).platforms = vec!["k3s-qemu-snp".to_owned()]);
    let at = format!("Policies.{}.Platforms[0]", PolicyHash::of(b"web"));
    let platform = "k3s-qemu-snp".to_owned();
    assert_eq!(
        list,
        one(&at, ProblemKind::PlatformWithoutReference { platform })
    );
    let none = problems(|manifest| {
        entry(manifest).platforms.clear();
        manifest.reference_values.snp.clear();
    });
    assert_eq!(
        none,
        one("ReferenceValues.snp", ProblemKind::ReferenceValuesMissing)
    );
}

type Change = fn(&mut SnpReference);

#[test]
fn reference_values_are_checked_one_by_one() {
    let at = |field: &str| format!("ReferenceValues.snp[0]{field}");
    let cases: Vec<(&str, ProblemKind, Change)> = vec![
        (".TrustedMeasurement", ProblemKind::MeasurementZero, |set| {
            set.trusted_measurement = Some(LaunchMeasurement::from_bytes([0; 48]));
        }),
        (".CPUs", ProblemKind::CpusZero, |set| set.cpus = 0),
        (".VMPL", ProblemKind::VmplInvalid, |set| set.vmpl = 4),
        (".HostDataBinding", ProblemKind::HostDataUnbound, |set| {
            set.host_data_binding = HostDataBinding::None;
        }),
        (".MinimumTCB.FMCVersion", ProblemKind::TcbMissing, |set| {
            set.minimum_tcb.fmc = None
        }),
        (
            ".MinimumTCBByModel[0].MinimumTCB.TEEVersion",
            ProblemKind::TcbMissing,
            |set| {
                set.minimum_tcb_by_model[0].minimum_tcb.tee = None;
            },
        ),
        (".MinimumTCB", ProblemKind::TcbZero, |set| {
            let zero = Some(0);
            set.minimum_tcb = Tcb {
                fmc: zero,
                bootloader: zero,
                tee: zero,
                snp: zero,
                microcode: zero,
            };
        }),
        (".GuestPolicy.Debug", ProblemKind::GuestPolicyOpen, |set| {
            set.guest_policy.debug = true
        }),
        (
            ".GuestPolicy.MigrateMA",
            ProblemKind::GuestPolicyOpen,
            |set| {
                set.guest_policy.migrate_ma = true;
            },
        ),
    ];
    for (field, kind, change) in cases {
        let list = problems(|manifest| {
            manifest.peer_recovery = false;
            change(set(manifest));
        });
        assert_eq!(list, one(&at(field), kind));
    }
    let milan = problems(|manifest| {
        set(manifest).product_name = Product::Milan;
        set(manifest).minimum_tcb_by_model.clear();
    });
    let unexpected = ProblemKind::FmcUnexpected {
        product: Product::Milan,
    };
    assert_eq!(milan, one(&at(".MinimumTCB.FMCVersion"), unexpected));
    let twice = problems(|manifest| {
        let copy = set(manifest).clone();
        manifest.reference_values.snp.push(copy);
    });
    let duplicate = ProblemKind::ReferenceDuplicate {
        other: "ReferenceValues.snp[0]".to_owned(),
    };
    assert_eq!(twice, one("ReferenceValues.snp[1]", duplicate));
}

#[test]
fn thresholds_are_in_range_and_not_above_what_is_implemented() {
    let zero = problems(|manifest| manifest.update_threshold = 0);
    let range = |value, owners| ProblemKind::ThresholdRange { value, owners };
    assert_eq!(zero, one("UpdateThreshold", range(0, 1)));
    let above = problems(|manifest| manifest.recovery_threshold = 2);
    assert_eq!(above, one("RecoveryThreshold", range(2, 1)));
    let two = problems(|manifest| {
        manifest
            .workload_owner_key_digests
            .push(KeyDigest::of_spki(b"second"));
        manifest.update_threshold = 2;
    });
    assert_eq!(two, []);
    let many = problems(|manifest| {
        let owner = |index: u32| KeyDigest::of_spki(&index.to_be_bytes());
        manifest.workload_owner_key_digests = (0..40).map(owner).collect();
        manifest.update_threshold = MAX_THRESHOLD + 1;
    });
    assert_eq!(
        many,
        one("UpdateThreshold", ProblemKind::ThresholdUnsupported)
    );
    assert_eq!(
        problems(|manifest| manifest.workload_owner_key_digests.clear()),
        []
    );
}

#[test]
fn owners_stand_once() {
    let list = problems(|manifest| {
        let owner = manifest.workload_owner_key_digests[0];
        manifest.workload_owner_key_digests.push(owner);
    });
    assert_eq!(
        list,
        one("WorkloadOwnerKeyDigests[1]", ProblemKind::OwnerDuplicate)
    );
    let none = problems(|manifest| manifest.seedshare_owner_pub_keys.clear());
    assert_eq!(
        none,
        one("SeedshareOwnerPubKeys", ProblemKind::NoSeedshareOwners)
    );
}

#[test]
fn peer_recovery_needs_known_chips() {
    let list = problems(|manifest| manifest.allow_any_chip = false);
    assert_eq!(list, []);
    let list = problems(|manifest| {
        manifest.allow_any_chip = false;
        set(manifest).allowed_chip_ids.clear();
    });
    assert_eq!(list, one("PeerRecovery", ProblemKind::PeerRecoveryAnyChip));
    let elsewhere = problems(|manifest| {
        manifest.allow_any_chip = false;
        let mut other = set(manifest).clone();
        other.platform = "k3s-qemu-snp".to_owned();
        other.allowed_chip_ids.clear();
        manifest.reference_values.snp.push(other);
    });
    assert_eq!(
        elsewhere,
        [],
        "reference values of other platforms do not count"
    );
    let chip = ChipId::from_bytes([9; 64]);
    assert_eq!(
        problems(|manifest| set(manifest).allowed_chip_ids.push(chip)),
        []
    );
}

#[test]
fn peer_recovery_needs_guests_that_enforce_their_policy() {
    let unbound = ProblemKind::PeerRecoveryUnbound {
        platform: "metal-qemu-snp".to_owned(),
    };
    let mut manifest = good();
    manifest.peer_recovery = true;
    manifest.allow_any_chip = true;
    set(&mut manifest).host_data_binding = HostDataBinding::None;
    for strictness in [Strictness::Lenient, Strictness::Strict] {
        let list = manifest.validate(strictness);
        let found = list.iter().find(|problem| problem.kind == unbound);
        let found = found.expect("neither chips nor leniency make up for it");
        assert_eq!(
            (&*found.path, found.severity),
            ("PeerRecovery", Severity::Error)
        );
    }
    manifest.peer_recovery = false;
    let list = manifest.validate(Strictness::Strict);
    assert!(list.iter().all(|problem| problem.kind != unbound));
    // A second set of the Coordinator's own platform counts, one of another platform does not.
    let with = |platform: &str| {
        let platform = platform.to_owned();
        problems(|manifest| {
            let mut other = set(manifest).clone();
            other.platform = platform;
            other.cpus += 1;
            other.host_data_binding = HostDataBinding::None;
            manifest.reference_values.snp.push(other);
        })
    };
    assert!(with("metal-qemu-snp").contains(&("PeerRecovery".to_owned(), unbound.clone())));
    let elsewhere = with("k3s-qemu-snp");
    assert!(elsewhere.iter().all(|(_, kind)| *kind != unbound));
}

#[test]
fn what_weakens_trust_is_named() {
    let list = problems(|manifest| manifest.allow_unattested_coordinator = true);
    let at = "AllowUnattestedCoordinator";
    assert_eq!(list, one(at, ProblemKind::UnattestedCoordinator));
    let list = problems(|manifest| manifest.insecure_unbound_first_set = true);
    assert_eq!(
        list,
        one("InsecureUnboundFirstSet", ProblemKind::UnboundFirstSet)
    );
    let list = problems(|manifest| manifest.coordinator_replicas = 0);
    assert_eq!(list, one("CoordinatorReplicas", ProblemKind::ReplicasZero));
    let list = problems(|manifest| manifest.test_root = Some(crate::RootDigest::of(b"r")));
    assert_eq!(list, one("TestRoot", ProblemKind::TestRoot));
}
