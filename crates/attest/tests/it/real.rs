//! What `tests/data/SOURCES.md` says of each report of a real machine.

use nacre_attest::{
    Baseline, CheckId, Evidence, Outcome, Policy, Product, ReportData, Roots, Timestamp, VekFacts,
    examine, verify,
};

use crate::support::{SAMPLES, by_name, read, tcb};

/// Names of the checks that failed.
fn failures(evidence: &Evidence, policy: &Policy, of: &str) -> Vec<CheckId> {
    let sample = by_name(of);
    let verdict = examine(evidence, policy, &sample.expected(), sample.now());
    verdict.failures().map(|check| check.id).collect()
}

#[test]
fn every_genuine_report_is_accepted_but_for_the_one_that_can_be_debugged() {
    for sample in &SAMPLES {
        let result = verify(
            &sample.evidence(),
            &sample.policy(),
            &sample.expected(),
            sample.now(),
        );
        if sample.name == "gosev-milan-v2" {
            let failed: Vec<_> = result
                .unwrap_err()
                .verdict()
                .failures()
                .map(|check| check.id)
                .collect();
            assert_eq!(failed, [CheckId::PolicyDebug]);
            continue;
        }
        let claims = result.unwrap_or_else(|rejection| panic!("{}: {rejection}", sample.name));
        assert_eq!(claims.product, sample.product, "{}", sample.name);
        assert_eq!(claims.report_version, sample.version, "{}", sample.name);
    }
}

#[test]
fn roots_are_those_the_sources_name() {
    for (product, digest) in [
        (
            Product::Milan,
            "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
        ),
        (
            Product::Genoa,
            "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
        ),
        (
            Product::Turin,
            "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
        ),
    ] {
        assert_eq!(Roots::amd().ark_digest(product).unwrap(), digest);
    }
}

#[test]
fn gosev_is_below_the_minimum_and_can_be_debugged() {
    let sample = by_name("gosev-milan-v2");
    let policy = Policy {
        minimum_tcb: Baseline::newest().minimum(Product::Milan),
        ..sample.policy()
    };
    assert_eq!(
        failures(&sample.evidence(), &policy, sample.name),
        [
            CheckId::ReportedMinimum,
            CheckId::LaunchMinimum,
            CheckId::PolicyDebug
        ]
    );
    assert!(sample.report().report_data.starts_with(&[1, 2, 3, 4, 5]));
    assert_eq!(sample.report().policy, 0xb_0000);
}

#[test]
fn a_version_2_report_needs_to_be_asked_for() {
    for name in ["gosev-milan-v2", "attrs-az-v1"] {
        let sample = by_name(name);
        let policy = Policy {
            allow_report_v2: false,
            ..sample.policy()
        };
        let failed = failures(&sample.evidence(), &policy, name);
        assert_eq!(failed[0], CheckId::ReportVersionAllowed);
    }
}

#[test]
fn the_vlek_report_holds_until_its_certificate_expires() {
    let sample = by_name("trustee-milan-vlek-v3");
    let (evidence, policy, expected) = (sample.evidence(), sample.policy(), sample.expected());
    let at = |moment| {
        let verdict = examine(
            &evidence,
            &policy,
            &expected,
            Timestamp::parse(moment).unwrap(),
        );
        verdict.failures().map(|check| check.id).collect::<Vec<_>>()
    };
    assert_eq!(at("2025-12-10T22:14:21Z"), []);
    assert_eq!(at("2025-12-10T22:14:22Z"), [CheckId::VekValidity]);
    assert_eq!(at("2024-12-10T22:14:20Z"), [CheckId::VekValidity]);

    let report = sample.report();
    assert_eq!((report.vmpl, report.chip_id), (1, [0; 64]));
    assert_eq!(report.reported_tcb.decode(Product::Milan).microcode, 217);
    let claims = verify(&evidence, &policy, &expected, sample.now()).unwrap();
    assert_eq!(
        (claims.committed_tcb.microcode, claims.current_tcb.microcode),
        (219, 220)
    );
    assert_eq!(VekFacts::read(&evidence.vek).unwrap().hwid, None);

    let strict = Policy {
        allow_provisional_firmware: false,
        ..policy.clone()
    };
    assert_eq!(
        failures(&evidence, &strict, sample.name),
        [CheckId::ProvisionalFirmware]
    );
    let vcek_only = Policy {
        allow_vcek: true,
        allow_vlek: false,
        ..policy.clone()
    };
    assert_eq!(
        failures(&evidence, &vcek_only, sample.name),
        [CheckId::SigningKey]
    );
    let vmpl = Policy { vmpl: 0, ..policy };
    assert_eq!(failures(&evidence, &vmpl, sample.name), [CheckId::Vmpl]);
}

#[test]
fn turin_has_an_fmc_a_short_chip_id_and_an_unknown_platform_bit() {
    let sample = by_name("ms-turin");
    let facts = VekFacts::read(&sample.evidence().vek).unwrap();
    assert_eq!(facts.hwid.map(|hwid| hwid.len()), Some(8));
    assert_eq!(facts.tcb.fmc, Some(1));
    let verdict = examine(
        &sample.evidence(),
        &sample.policy(),
        &sample.expected(),
        sample.now(),
    );
    assert!(verdict.holds());
    assert!(
        verdict.notes.iter().any(|note| note.text.contains("bit 6")),
        "{:?}",
        verdict.notes
    );
    let mut strict = sample.policy();
    strict.platform_info.reject_unknown = true;
    assert_eq!(
        failures(&sample.evidence(), &strict, sample.name),
        [CheckId::PlatformUnknown]
    );
    let mitigations = Policy {
        mitigations: 0x3f,
        ..sample.policy()
    };
    assert_eq!(failures(&sample.evidence(), &mitigations, sample.name), []);
    let more = Policy {
        mitigations: 0x7f,
        ..sample.policy()
    };
    assert_eq!(
        failures(&sample.evidence(), &more, sample.name),
        [CheckId::MitigationsAtLaunch, CheckId::MitigationsCurrent]
    );
}

#[test]
fn only_two_reports_meet_the_newest_baseline() {
    let meets = |baseline: &Baseline| {
        let mut names = Vec::new();
        for sample in &SAMPLES {
            let policy = Policy {
                minimum_tcb: baseline.minimum(sample.product),
                ..sample.policy()
            };
            let failed = failures(&sample.evidence(), &policy, sample.name);
            if !failed.contains(&CheckId::ReportedMinimum) {
                names.push(sample.name);
            }
        }
        names
    };
    assert_eq!(meets(Baseline::newest()), ["ms-turin", "attrs-genoa-v5"]);
    assert_eq!(meets(Baseline::named("2025-02").unwrap()).len(), 10);
}

#[test]
fn a_low_tcb_says_what_it_misses_and_what_the_manifest_would_say() {
    let sample = by_name("ms-genoa");
    let policy = Policy {
        minimum_tcb: Baseline::newest().minimum(Product::Genoa),
        ..sample.policy()
    };
    let verdict = examine(
        &sample.evidence(),
        &policy,
        &sample.expected(),
        sample.now(),
    );
    let advice = verdict
        .check(CheckId::ReportedMinimum)
        .unwrap()
        .advice
        .clone()
        .unwrap();
    assert_eq!(
        advice,
        "snp is 23, below 27, open to AMD-SB-3023 (CVE-2025-48514) and AMD-SB-3020 (CVE-2025-0033); \
         the manifest would have to say SNPVersion: 23. \
         microcode is 84, below 86, open to AMD-SB-3020 (CVE-2025-0033) and AMD-SB-3027 (CVE-2025-29943); \
         the manifest would have to say MicrocodeVersion: 84"
    );
}

#[test]
fn the_azure_reports_are_bound_to_the_variable_part_of_their_blob() {
    use sha2::{Digest as _, Sha256};
    for name in [
        "trustee-az-v1",
        "trustee-az-genoa",
        "attrs-az-milan-v3",
        "attrs-az-v1",
    ] {
        let blob = read(&format!("{name}/hcl-report.bin"));
        let report = by_name(name).report();
        assert_eq!(blob[32..1216], report.bytes()[..], "{name}");
        let length = u32::from_le_bytes(blob[1232..1236].try_into().unwrap()) as usize;
        let digest = Sha256::digest(&blob[1236..1236 + length]);
        assert_eq!(report.report_data[..32], digest[..], "{name}");
    }
}

#[test]
fn a_certificate_of_another_chip_does_not_do() {
    let report = by_name("oak-milan-oc-release");
    let evidence = Evidence {
        vek: by_name("oak-milan-rk-staging").evidence().vek,
        ..report.evidence()
    };
    assert_eq!(
        failures(&evidence, &report.policy(), report.name),
        [CheckId::VekHwid, CheckId::ReportSignature]
    );
    // The same chip at the same TCB has one certificate for all its reports.
    let sibling = Evidence {
        vek: by_name("oak-milan-oc-staging").evidence().vek,
        ..report.evidence()
    };
    assert_eq!(failures(&sibling, &report.policy(), report.name), []);
}

#[test]
fn the_altered_certificates_are_refused_and_still_read() {
    let sample = by_name("ms-milan");
    for name in ["legacy", "new"] {
        let vek = read(&format!("negative/test-vcek-invalid-{name}.der"));
        let hwid = VekFacts::read(&vek).unwrap().hwid.unwrap();
        assert_eq!(hwid.len(), 64, "{name}");
        let evidence = Evidence {
            vek,
            ..sample.evidence()
        };
        let failed = failures(&evidence, &sample.policy(), sample.name);
        assert!(
            failed.contains(&CheckId::VekSignature),
            "{name}: {failed:?}"
        );
        assert!(
            failed.contains(&CheckId::ReportSignature),
            "{name}: {failed:?}"
        );
    }
}

#[test]
fn changes_to_the_signed_bytes_the_signature_and_the_length_are_seen() {
    let sample = by_name("ms-genoa");
    let good = sample.evidence();
    for at in [0x50, 0x90, 0xc0, 0x180, 0x1a0, 0x2a0 + 20, 0x2e8 + 20] {
        let mut evidence = good.clone();
        evidence.report[at] ^= 1;
        assert!(
            failures(&evidence, &sample.policy(), sample.name).contains(&CheckId::ReportSignature),
            "{at:#x}"
        );
    }
    for length in [1183, 1185] {
        let mut evidence = good.clone();
        evidence.report.resize(length, 0);
        assert_eq!(
            failures(&evidence, &sample.policy(), sample.name),
            [CheckId::ReportLength]
        );
    }
    for (at, byte) in [(0x2a0, 0), (0x2a0, 0xff), (0x2e8, 0), (0x2e8, 0xff)] {
        let mut evidence = good.clone();
        evidence.report[at..at + 48].fill(byte);
        assert_eq!(
            failures(&evidence, &sample.policy(), sample.name),
            [CheckId::SignatureRange, CheckId::ReportSignature]
        );
    }
    let mut trailing = good;
    trailing.vek.push(0);
    assert_eq!(
        failures(&trailing, &sample.policy(), sample.name),
        [CheckId::VekEncoding]
    );
}

#[test]
fn a_report_of_one_product_is_not_one_of_another() {
    let sample = by_name("ms-genoa");
    let policy = Policy {
        product: Product::Milan,
        ..sample.policy()
    };
    assert_eq!(
        failures(&sample.evidence(), &policy, sample.name),
        [CheckId::ProductExpected]
    );
}

#[test]
fn microcode_numbers_of_two_models_are_not_compared() {
    let bergamo = by_name("attrs-genoa-v5");
    let policy = Policy {
        minimum_tcb: Baseline::newest().minimum(Product::Genoa),
        ..bergamo.policy()
    };
    assert_eq!(failures(&bergamo.evidence(), &policy, bergamo.name), []);
    let one_for_all = Policy {
        minimum_tcb: nacre_attest::MinimumTcb::of_product(tcb(None, 10, 0, 23, 84)),
        ..policy
    };
    assert!(!failures(&bergamo.evidence(), &one_for_all, bergamo.name).is_empty());
}

#[test]
fn an_open_question_is_no_success() {
    let sample = by_name("ms-turin");
    let mut expected = sample.expected();
    expected.report_data = ReportData::Open;
    let verdict = examine(
        &sample.evidence(),
        &sample.policy(),
        &expected,
        sample.now(),
    );
    assert!(verdict.holds());
    assert_eq!(
        verdict.check(CheckId::ReportData).unwrap().outcome,
        Outcome::Open
    );
    let rejection = verdict.into_result().unwrap_err();
    assert_eq!(rejection.reason().unwrap().id, CheckId::ReportData);
}

#[test]
fn without_a_revocation_list_production_refuses() {
    let sample = by_name("ms-turin");
    let policy = Policy {
        crl: nacre_attest::CrlMode::Require,
        ..sample.policy()
    };
    assert_eq!(
        failures(&sample.evidence(), &policy, sample.name),
        [CheckId::CrlPresent]
    );
}

#[test]
fn every_check_has_its_code_in_the_registry() {
    let registered: Vec<_> = nacre_findings::codes::attest::ALL
        .iter()
        .map(|info| {
            (
                info.code.number(),
                info.title.to_owned(),
                info.explanation.to_owned(),
            )
        })
        .filter(|(number, ..)| *number <= CheckId::ALL.last().unwrap().code())
        .collect();
    let checks: Vec<_> = CheckId::ALL
        .iter()
        .map(|id| {
            let (title, text) = (format!("Check failed: {id}"), id.sentence());
            (id.code(), title, format!("This does not hold: {text}"))
        })
        .collect();
    assert_eq!(registered, checks);
}
