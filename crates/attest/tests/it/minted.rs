//! For each check a case that fails there and nowhere else, and what else a forger could try.

use nacre_attest::{
    CheckId, CrlMode, HostData, MinimumTcb, Outcome, Policy, Product, ReportData, Tcb, TcbBytes,
    Timestamp,
};
use nacre_sim::der::{ia5, integer, name, octet_string};
use nacre_sim::{ExtensionSpec, MachineSpec, amd_extension};

use crate::cases::{DAY, cases, crl, extension, vlek};
use crate::mint::Mint;

fn failures(mint: &Mint) -> Vec<CheckId> {
    mint.examine().failures().map(|check| check.id).collect()
}

#[test]
fn what_is_minted_is_good() {
    for product in Product::ALL {
        let verdict = Mint::new(product).examine();
        assert_eq!(verdict.first_failure(), None, "{product}");
        assert!(verdict.into_result().is_ok());
    }
    assert!(vlek().examine().into_result().is_ok());
}

#[test]
fn each_check_has_a_case_that_fails_only_there() {
    let mut seen = Vec::new();
    for (id, mut mint, change) in cases() {
        change(&mut mint);
        assert_eq!(failures(&mint), [id], "{id}");
        let rejection = mint.examine().into_result().unwrap_err();
        assert_eq!(rejection.reason().map(|check| check.id), Some(id));
        assert!(
            rejection
                .to_string()
                .starts_with(&format!("NCR{} {id}: ", id.code()))
        );
        seen.push(id);
    }
    // A number out of range is no signature either: its case stands below.
    let all: Vec<_> = CheckId::ALL
        .iter()
        .copied()
        .filter(|&id| id != CheckId::SignatureRange)
        .collect();
    assert_eq!(seen, all);
}

#[test]
fn numbers_out_of_range_are_no_signature() {
    for at in [0x2a0, 0x2e8] {
        for byte in [0, 0xff] {
            let mint = Mint::new(Product::Genoa);
            let mut evidence = mint.evidence();
            evidence.report[at..at + 48].fill(byte);
            let verdict =
                mint.verifier()
                    .examine(&evidence, &mint.policy, &mint.expected, mint.now);
            let failed: Vec<_> = verdict.failures().map(|check| check.id).collect();
            assert_eq!(failed, [CheckId::SignatureRange, CheckId::ReportSignature]);
        }
    }
}

#[test]
fn production_refuses_the_minted_root() {
    for product in Product::ALL {
        let mint = Mint::new(product);
        let verdict =
            nacre_attest::examine(&mint.evidence(), &mint.policy, &mint.expected, mint.now);
        let failed: Vec<_> = verdict.failures().map(|check| check.id).collect();
        assert_eq!(
            failed,
            [
                CheckId::VekIssuer,
                CheckId::VekSignature,
                CheckId::CrlIssuer,
                CheckId::CrlSignature
            ]
        );
    }
}

#[test]
fn amd_evidence_is_refused_under_another_root() {
    let sample = crate::support::by_name("ms-genoa");
    let verifier = Mint::new(Product::Genoa).verifier();
    let verdict = verifier.examine(
        &sample.evidence(),
        &sample.policy(),
        &sample.expected(),
        sample.now(),
    );
    assert_eq!(
        verdict.check(CheckId::VekSignature).unwrap().outcome,
        Outcome::Fail
    );
}

#[test]
fn a_root_of_another_product_does_not_do() {
    let mint = Mint::new(Product::Genoa);
    let milan = Mint::new(Product::Milan).verifier();
    let verdict = milan.examine(&mint.evidence(), &mint.policy, &mint.expected, mint.now);
    assert_eq!(
        verdict.check(CheckId::RootPinned).unwrap().outcome,
        Outcome::Fail
    );
    assert_eq!(
        verdict.check(CheckId::ReportSignature).unwrap().outcome,
        Outcome::NotRun
    );
}

#[test]
fn undefined_signing_keys_are_no_keys() {
    for key in [2, 6, 7] {
        let mut mint = Mint::new(Product::Genoa);
        mint.report.key_info = key << 2;
        let verdict = mint.examine();
        assert_eq!(verdict.failures().next().unwrap().id, CheckId::SigningKey);
        assert_eq!(
            verdict.check(CheckId::VekSignature).unwrap().outcome,
            Outcome::NotRun
        );
    }
}

#[test]
fn vcek_and_vlek_do_not_stand_in_for_each_other() {
    // The key of a cloud provider, certified as a chip's.
    let mut mint = vlek();
    mint.report.key_info = 0;
    mint.policy.allow_vcek = true;
    let failed = failures(&mint);
    for id in [
        CheckId::VekSubject,
        CheckId::VekIssuer,
        CheckId::VekSignature,
        CheckId::VekHwid,
    ] {
        assert!(failed.contains(&id), "{failed:?}");
    }
    // And the other way round.
    let mut mint = Mint::new(Product::Genoa);
    mint.report.key_info = 1 << 2;
    mint.policy.allow_vlek = true;
    let failed = failures(&mint);
    for id in [
        CheckId::VekSubject,
        CheckId::VekSignature,
        CheckId::VekHwid,
        CheckId::VekProvider,
    ] {
        assert!(failed.contains(&id), "{failed:?}");
    }
}

#[test]
fn only_turin_has_an_fmc_and_it_always_has() {
    let mut mint = Mint::new(Product::Genoa);
    mint.vek.extensions.push(amd_extension("3.9", integer(0)));
    assert_eq!(failures(&mint), [CheckId::VekFmc]);
    let mut mint = Mint::new(Product::Turin);
    mint.vek.remove_amd_extension("3.9");
    assert_eq!(failures(&mint), [CheckId::VekFmc]);
    let mut mint = Mint::new(Product::Turin);
    extension(&mut mint, "3.9", vec![0x30, 0]);
    assert_eq!(failures(&mint), [CheckId::VekFmc]);
}

#[test]
fn the_fmc_is_compared_by_the_layout_of_turin() {
    let mut spec = MachineSpec::new(Product::Turin);
    spec.tcb.fmc = Some(0);
    let mut mint = Mint::of(spec, Product::Turin);
    mint.policy.minimum_tcb = MinimumTcb::of_product(Tcb {
        fmc: Some(1),
        ..mint.machine.spec.tcb
    });
    assert_eq!(
        failures(&mint),
        [CheckId::ReportedMinimum, CheckId::LaunchMinimum]
    );
    let verdict = mint.examine();
    let check = verdict.check(CheckId::ReportedMinimum).unwrap();
    assert!(
        check
            .advice
            .as_deref()
            .unwrap()
            .starts_with("fmc is 0, below 1")
    );
}

#[test]
fn chip_identities_come_raw_or_wrapped_but_whole() {
    for product in Product::ALL {
        let hwid = MachineSpec::new(product).hwid;
        let mut wrapped = Mint::new(product);
        extension(&mut wrapped, "4", octet_string(&hwid));
        assert_eq!(failures(&wrapped), [], "{product}");
        for other in [&hwid[..hwid.len() - 1], &[&hwid[..], &[0]].concat(), &[]] {
            let mut mint = Mint::new(product);
            extension(&mut mint, "4", other.to_vec());
            assert_eq!(
                failures(&mint),
                [CheckId::VekHwid],
                "{product} {}",
                other.len()
            );
        }
        let mut absent = Mint::new(product);
        absent.vek.remove_amd_extension("4");
        assert_eq!(failures(&absent), [CheckId::VekHwid]);
    }
    // Turin's is 8 bytes: a 64-byte one would be another chip's.
    let mut long = Mint::new(Product::Turin);
    let mut id = [0; 64];
    id[..8].copy_from_slice(&MachineSpec::new(Product::Turin).hwid);
    extension(&mut long, "4", id.to_vec());
    assert_eq!(failures(&long), [CheckId::VekHwid]);
    let mut tail = Mint::new(Product::Turin);
    tail.report.chip_id[8] = 1;
    assert_eq!(failures(&tail), [CheckId::VekHwid]);
}

#[test]
fn a_masked_chip_id_needs_leave_and_never_matches_a_list() {
    let mut mint = Mint::new(Product::Genoa);
    mint.report.chip_id = [0; 64];
    mint.policy.allow_masked_chip_id = true;
    assert_eq!(failures(&mint), []);
    mint.policy.chips = Some([[0; 64]].into());
    assert_eq!(failures(&mint), [CheckId::ChipAllowed]);
}

#[test]
fn a_list_of_chips_can_be_demanded() {
    let mut mint = Mint::new(Product::Milan);
    assert!(
        mint.examine()
            .notes
            .iter()
            .any(|note| note.text.starts_with("Milan:"))
    );
    mint.policy.require_chips = true;
    assert_eq!(failures(&mint), [CheckId::ChipAllowed]);
    mint.policy.chips = Some([mint.report.chip_id].into());
    assert_eq!(failures(&mint), []);
    assert!(
        !mint
            .examine()
            .notes
            .iter()
            .any(|note| note.text.starts_with("Milan:"))
    );
}

/// A forged certificate is refused, and its names are printed: they are whatever its maker wants.
#[test]
fn names_in_certificates_cannot_steer_a_terminal() {
    let mut mint = Mint::new(Product::Genoa);
    let foreign = "SEV-\u{1b}[2J\u{9b}1m\u{202e}\u{2066}\u{200f}\u{2028}VCEK";
    mint.vek.subject = name(foreign).unwrap();
    extension(&mut mint, "2", ia5("Ge\u{1b}[31mnoa\n"));
    let verdict = mint.examine();
    let subject = verdict.check(CheckId::VekSubject).unwrap();
    assert!(subject.actual.contains("\\u{1b}[2J"), "{subject:?}");
    let table = verdict.table();
    let rejection = verdict.into_result().unwrap_err().to_string();
    for text in [table, rejection] {
        let steering = |c: &char| nacre_findings::steers(*c) && *c != '\n';
        assert_eq!(text.chars().find(steering), None, "{text:?}");
    }
}

#[test]
fn an_id_key_of_the_policy_and_an_author_key_only_when_one_was_used() {
    let mut mint = Mint::new(Product::Genoa);
    mint.report.id_key_digest = [3; 48];
    mint.report.author_key_digest = [4; 48];
    mint.policy.id_key_digests = Some([[3; 48]].into());
    mint.policy.author_key_digests = Some([[4; 48]].into());
    assert_eq!(failures(&mint), [CheckId::AuthorKeyDigest]);
    mint.report.key_info |= 1;
    assert_eq!(failures(&mint), []);
}

#[test]
fn a_list_that_is_there_is_always_checked() {
    for break_it in [
        |m: &mut Mint| m.crl_signer = m.pki.ask.key.clone(),
        |m: &mut Mint| crl(m).next_update = None,
        |m: &mut Mint| crl(m).revoked = vec![vec![2, 0, 0]],
        |m: &mut Mint| {
            crl(m).extensions.push(ExtensionSpec {
                oid: "2.5.29.27".into(),
                critical: true,
                value: integer(1),
            });
        },
    ] {
        let mut mint = Mint::new(Product::Genoa);
        mint.policy.crl = CrlMode::IfPresent;
        assert_eq!(failures(&mint), []);
        break_it(&mut mint);
        assert_eq!(failures(&mint).len(), 1);
    }
    let mut without = Mint::new(Product::Genoa);
    without.policy.crl = CrlMode::IfPresent;
    without.crl = None;
    let verdict = without.examine();
    assert_eq!(verdict.first_failure(), None);
    assert!(
        verdict
            .notes
            .iter()
            .any(|note| note.text.contains("no revocation list"))
    );
}

#[test]
fn a_revoked_intermediate_of_the_other_kind_does_not_matter() {
    let mut mint = Mint::new(Product::Genoa);
    crl(&mut mint).revoked = vec![vec![2, 1, 1]];
    assert_eq!(failures(&mint), []);
    let mut mint = vlek();
    crl(&mut mint).revoked = vec![vec![1, 1, 1]];
    assert_eq!(failures(&mint), [CheckId::NotRevoked]);
}

#[test]
fn a_verified_list_gives_a_lower_bound_for_the_time() {
    let mint = Mint::new(Product::Genoa);
    let this_update = mint.crl.as_ref().unwrap().this_update;
    let claims = mint.examine().into_result().unwrap();
    assert_eq!(claims.crl_this_update, Some(this_update));
    let mut forged = Mint::new(Product::Genoa);
    forged.crl_signer = forged.pki.ask.key.clone();
    assert_eq!(forged.examine().claims.unwrap().crl_this_update, None);
}

#[test]
fn version_4_is_read_as_3_and_has_no_mitigations() {
    for version in [3, 4] {
        let mut mint = Mint::new(Product::Genoa);
        mint.report.version = version;
        assert_eq!(failures(&mint), []);
        mint.policy.mitigations = 1;
        assert_eq!(
            failures(&mint),
            [CheckId::MitigationsAtLaunch, CheckId::MitigationsCurrent]
        );
    }
    let mut asked_for = Mint::new(Product::Genoa);
    asked_for.report.version = 2;
    asked_for.policy.allow_report_v2 = true;
    assert_eq!(failures(&asked_for), []);
}

#[test]
fn the_minimum_is_that_of_the_processor() {
    // Microcode 27 is the newest of one Genoa model and far too old for the other.
    let tcb = Tcb {
        fmc: None,
        bootloader: 10,
        tee: 0,
        snp: 27,
        microcode: 27,
    };
    for (model, fails) in [(0xa0, false), (0x11, true)] {
        let spec = MachineSpec {
            tcb,
            ..MachineSpec::new(Product::Genoa)
        };
        let mut mint = Mint::of(spec, Product::Genoa);
        mint.report.cpu.model = model;
        assert_eq!(!failures(&mint).is_empty(), fails, "{model:#x}");
    }
}

#[test]
fn remembered_certificates_change_no_answer() {
    let good = Mint::new(Product::Genoa);
    let verifier = good.verifier();
    let evidence = good.evidence();
    for _ in 0..2 {
        assert!(
            verifier
                .verify(&evidence, &good.policy, &good.expected, good.now)
                .is_ok()
        );
    }
    // The same certificate at another time, for another report, in another role.
    let later = Timestamp(good.now.0 + 20 * 365 * DAY);
    let verdict = verifier.examine(&evidence, &good.policy, &good.expected, later);
    assert_eq!(
        verdict.check(CheckId::VekValidity).unwrap().outcome,
        Outcome::Fail
    );
    assert_eq!(
        verdict.check(CheckId::CrlCurrent).unwrap().outcome,
        Outcome::Fail
    );
    let mut other = evidence.clone();
    other.report[0x90] ^= 1;
    let verdict = verifier.examine(&other, &good.policy, &good.expected, good.now);
    assert_eq!(
        verdict.check(CheckId::ReportSignature).unwrap().outcome,
        Outcome::Fail
    );
    let mut spoiled = evidence.clone();
    *spoiled.vek.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        let verdict = verifier.examine(&spoiled, &good.policy, &good.expected, good.now);
        assert_eq!(
            verdict.check(CheckId::VekSignature).unwrap().outcome,
            Outcome::Fail
        );
    }
}

#[test]
fn one_of_several_reference_values_has_to_accept() {
    let mint = Mint::new(Product::Genoa);
    let (verifier, evidence) = (mint.verifier(), mint.evidence());
    let run =
        |policies: &[Policy]| verifier.verify_any(&evidence, policies, &mint.expected, mint.now);
    let other = Policy {
        measurements: Some([[1; 48]].into()),
        ..mint.policy.clone()
    };
    let milan = Policy {
        product: Product::Milan,
        ..mint.policy.clone()
    };
    let (index, _) = run(&[other.clone(), milan.clone(), mint.policy.clone()])
        .unwrap()
        .unwrap();
    assert_eq!(index, 2);
    let nearest = run(&[milan, other.clone()]).unwrap().unwrap_err();
    assert_eq!(nearest.reason().unwrap().id, CheckId::ProductExpected);
    let nearest = run(&[other]).unwrap().unwrap_err();
    assert_eq!(nearest.reason().unwrap().id, CheckId::Measurement);
    assert!(run(&[]).is_none());
}

#[test]
fn an_empty_choice_allows_nothing() {
    let mut mint = Mint::new(Product::Genoa);
    mint.policy.measurements = Some([].into());
    mint.expected.host_data = HostData::OneOf([].into());
    assert_eq!(failures(&mint), [CheckId::Measurement, CheckId::HostData]);
    mint.expected.host_data = HostData::Open;
    mint.expected.report_data = ReportData::Open;
    let open: Vec<_> = mint.examine().open().map(|check| check.id).collect();
    assert_eq!(open, [CheckId::HostData, CheckId::ReportData]);
    mint.policy.measurements = None;
    assert_eq!(failures(&mint), []);
    let rejection = mint.examine().into_result().unwrap_err();
    assert_eq!(rejection.reason().unwrap().id, CheckId::Measurement);
}

#[test]
fn tcb_bytes_without_a_meaning_count_on_every_product() {
    for (product, at) in [
        (Product::Milan, 2),
        (Product::Genoa, 5),
        (Product::Turin, 4),
    ] {
        let mut mint = Mint::new(product);
        let TcbBytes(bytes) = &mut mint.report.current_tcb;
        bytes[at] = 1;
        assert_eq!(failures(&mint), [CheckId::TcbReserved], "{product}");
    }
}

#[test]
fn a_rejection_says_all_that_an_examination_says() {
    for (_, mut mint, change) in cases() {
        change(&mut mint);
        let (verifier, evidence) = (mint.verifier(), mint.evidence());
        let rejection = verifier
            .verify(&evidence, &mint.policy, &mint.expected, mint.now)
            .unwrap_err();
        let verdict = verifier.examine(&evidence, &mint.policy, &mint.expected, mint.now);
        assert_eq!(rejection.verdict(), &verdict);
    }
}
