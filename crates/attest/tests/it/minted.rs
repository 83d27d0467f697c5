//! For each check a case that fails there and nowhere else.

use nacre_attest::{
    Bit, CheckId, CpuId, CrlMode, Firmware, HostData, MinimumTcb, Outcome, Policy, Product,
    ReportData, SigningKey, Tcb, TcbBytes, Timestamp,
};
use nacre_sim::der::{ia5, integer, name, octet_string, oid, pss, sequence};
use nacre_sim::{AuthoritySpec, ExtensionSpec, MachineSpec, amd_extension};

use crate::mint::Mint;

const DAY: u64 = 86_400;

/// What makes a good case bad.
type Change = fn(&mut Mint);

fn lower(tcb: Tcb) -> Tcb {
    Tcb {
        snp: tcb.snp - 1,
        ..tcb
    }
}

fn higher(tcb: Tcb) -> Tcb {
    Tcb {
        snp: tcb.snp + 1,
        ..tcb
    }
}

/// A Genoa machine whose key is derived for one SNP version below what runs on it.
fn old_key() -> Mint {
    let mut spec = MachineSpec::new(Product::Genoa);
    let newest = spec.tcb;
    spec.tcb = lower(newest);
    let mut mint = Mint::of(spec, Product::Genoa);
    mint.report.set_tcbs(Product::Genoa, newest);
    mint.report.reported_tcb = lower(newest).encode(Product::Genoa);
    mint
}

fn vlek() -> Mint {
    let spec = MachineSpec {
        signing_key: SigningKey::Vlek,
        ..MachineSpec::new(Product::Milan)
    };
    Mint::of(spec, Product::Milan)
}

fn p256_key() -> Vec<u8> {
    let algorithm = sequence(&[
        &oid("1.2.840.10045.2.1").unwrap(),
        &oid("1.2.840.10045.3.1.7").unwrap(),
    ]);
    sequence(&[
        &algorithm,
        &nacre_sim::der::bit_string(&[&[4][..], &[7; 64]].concat()),
    ])
}

/// Every check, what to start from, and what to change.
fn cases() -> Vec<(CheckId, Mint, Change)> {
    use CheckId as C;
    let genoa = || Mint::new(Product::Genoa);
    let turin = || Mint::new(Product::Turin);
    vec![
        (C::ReportLength, genoa(), |m| m.after = |e| e.report.push(0)),
        (C::ReportVersion, genoa(), |m| m.report.version = 6),
        (C::ReportVersionAllowed, genoa(), |m| m.report.version = 2),
        (C::SignatureAlgorithm, genoa(), |m| {
            m.report.signature_algo = 2
        }),
        (C::KeyInfoReserved, genoa(), |m| m.report.key_info |= 1 << 9),
        (C::ChipKeyMasked, genoa(), |m| m.report.key_info |= 2),
        (C::SigningKey, vlek(), |m| {
            (m.policy.allow_vcek, m.policy.allow_vlek) = (true, false)
        }),
        (C::ReservedBytes, genoa(), |m| {
            m.report.patches.push((0x210, 1))
        }),
        (C::SignaturePadding, genoa(), |m| {
            m.report.patches.push((0x2a0 + 60, 1))
        }),
        (C::ProcessorKnown, genoa(), |m| {
            m.report.cpu = CpuId {
                family: 0x19,
                model: 0x61,
                stepping: 2,
            };
        }),
        (C::ProductExpected, genoa(), |m| {
            m.policy.product = Product::Milan
        }),
        (C::TcbReserved, genoa(), |m| m.report.launch_tcb.0[3] = 1),
        (C::RootPinned, genoa(), |m| m.pins = Some(pins(m, 0))),
        (C::IntermediatePinned, genoa(), |m| {
            m.pins = Some(pins(m, 1))
        }),
        (C::IntermediateSigned, genoa(), |m| {
            let mut stranger = m.pki.ark.clone();
            stranger.key = m.pki.asvk.key.clone();
            m.pki.ask = AuthoritySpec::new("SEV-Genoa", [2, 0, 1])
                .certify(&m.pki.ask.key, Some(&stranger))
                .unwrap();
        }),
        (C::IntermediateValidity, genoa(), |m| {
            let mut spec = AuthoritySpec::new("SEV-Genoa", [2, 0, 1]);
            spec.not_after = Timestamp(m.now.0 - DAY);
            m.pki.ask = spec.certify(&m.pki.ask.key, Some(&m.pki.ark)).unwrap();
        }),
        (C::VekEncoding, genoa(), |m| m.after = |e| e.vek.push(0)),
        (C::VekVersion, genoa(), |m| m.vek.version = 2),
        (C::VekAlgorithm, genoa(), |m| {
            m.vek.algorithm = pss(32).unwrap()
        }),
        (C::VekKey, genoa(), |m| m.vek.spki = p256_key()),
        (C::VekSubject, genoa(), |m| {
            m.vek.subject = name("SEV-VLEK").unwrap()
        }),
        (C::VekIssuer, genoa(), |m| {
            m.vek.issuer = m.pki.ark.subject.clone()
        }),
        (C::VekValidity, genoa(), |m| {
            m.vek.not_after = Timestamp(m.now.0 - 1)
        }),
        (C::VekExtensionsUnique, genoa(), |m| {
            m.vek.extensions.push(amd_extension("3.1", integer(0)));
        }),
        (C::VekExtensionsKnown, genoa(), |m| {
            m.vek.extensions.push(ExtensionSpec {
                oid: "2.5.29.36".into(),
                critical: true,
                value: vec![0x30, 0],
            });
        }),
        (C::VekSignature, genoa(), |m| {
            m.vek_signer = m.pki.asvk.key.clone()
        }),
        (C::VekStructVersion, genoa(), |m| {
            extension(m, "1", integer(1))
        }),
        (C::VekProduct, genoa(), |m| {
            extension(m, "2", ia5("Milan-B0"))
        }),
        (C::VekFmc, turin(), |m| extension(m, "3.9", integer(9))),
        (C::VekBootloader, genoa(), |m| {
            extension(m, "3.1", integer(9))
        }),
        (C::VekTee, genoa(), |m| extension(m, "3.2", integer(9))),
        (C::VekSnp, genoa(), |m| extension(m, "3.3", integer(9))),
        (C::VekMicrocode, genoa(), |m| {
            extension(m, "3.8", integer(9))
        }),
        (C::ChipIdPresent, genoa(), |m| m.report.chip_id = [0; 64]),
        (C::VekHwid, genoa(), |m| extension(m, "4", vec![7; 64])),
        (C::VekProvider, genoa(), |m| {
            m.vek
                .extensions
                .push(amd_extension("5", ia5("CN=cloud.example")));
        }),
        (C::ReportSignature, genoa(), |m| {
            m.after = |e| e.report[0x145] ^= 1
        }),
        (C::ReportedNotAboveCurrent, genoa(), |m| {
            let low = lower(m.machine.spec.tcb);
            let reported = m.report.reported_tcb;
            m.report.set_tcbs(Product::Genoa, low);
            m.report.reported_tcb = reported;
            m.policy.minimum_tcb = MinimumTcb::of_product(low);
        }),
        (C::CommittedNotAboveCurrent, genoa(), |m| {
            m.report.committed_tcb = higher(m.machine.spec.tcb).encode(Product::Genoa);
        }),
        (C::LaunchNotAboveCurrent, genoa(), |m| {
            m.report.launch_tcb = higher(m.machine.spec.tcb).encode(Product::Genoa);
        }),
        (C::FirmwareOrder, genoa(), |m| {
            m.report.committed_firmware = Firmware {
                major: 1,
                minor: 59,
                build: 0,
            };
        }),
        (C::ProvisionalFirmware, genoa(), |m| {
            m.policy.allow_provisional_firmware = false;
            m.report.current_tcb = higher(m.machine.spec.tcb).encode(Product::Genoa);
        }),
        (C::MinimumKnown, genoa(), |m| {
            m.policy.minimum_tcb = MinimumTcb::default()
        }),
        (C::ReportedMinimum, old_key(), |_| ()),
        (C::LaunchMinimum, genoa(), |m| {
            m.report.launch_tcb = lower(m.machine.spec.tcb).encode(Product::Genoa);
        }),
        (C::CommittedMinimum, genoa(), |m| {
            m.policy.require_committed_minimum = true;
            m.report.committed_tcb = lower(m.machine.spec.tcb).encode(Product::Genoa);
        }),
        (C::MitigationsAtLaunch, genoa(), |m| {
            m.policy.mitigations = 0x30;
            m.report.launch_mitigations = 0x10;
        }),
        (C::MitigationsCurrent, genoa(), |m| {
            m.policy.mitigations = 0x30;
            m.report.current_mitigations = 0x20;
        }),
        (C::PolicyReserved, genoa(), |m| m.report.policy |= 1 << 40),
        (C::PolicyDebug, genoa(), |m| m.report.policy |= 1 << 19),
        (C::PolicyMigration, genoa(), |m| m.report.policy |= 1 << 18),
        (C::MigrationAgent, genoa(), |m| {
            m.report.report_id_ma[31] = 0
        }),
        (C::PolicyAbi, genoa(), |m| {
            m.policy.guest_policy.abi_minimum = (1, 0)
        }),
        (C::PolicySmt, genoa(), |m| {
            m.policy.guest_policy.smt = Bit::Clear
        }),
        (C::PolicySingleSocket, genoa(), |m| {
            m.policy.guest_policy.single_socket = Bit::Set
        }),
        (C::PolicyCxl, genoa(), |m| m.report.policy |= 1 << 21),
        (C::PolicyAes256Xts, genoa(), |m| {
            m.policy.guest_policy.aes_256_xts = Bit::Set
        }),
        (C::PolicyRapl, genoa(), |m| {
            m.policy.guest_policy.rapl_disabled = Bit::Set
        }),
        (C::PolicyCiphertextHiding, genoa(), |m| {
            m.policy.guest_policy.ciphertext_hiding = Bit::Set;
        }),
        (C::PolicyPageSwap, genoa(), |m| {
            m.policy.guest_policy.page_swap_disabled = Bit::Set
        }),
        (C::PlatformMustSet, genoa(), |m| {
            m.policy.platform_info.must_set = 1 << 5;
            m.report.platform_info = 0x05;
        }),
        (C::PlatformMustClear, genoa(), |m| {
            m.policy.platform_info.must_clear = 1
        }),
        (C::PlatformUnknown, genoa(), |m| {
            m.policy.platform_info.reject_unknown = true;
            m.report.platform_info |= 1 << 6;
        }),
        (C::Vmpl, genoa(), |m| m.report.vmpl = 1),
        (C::Measurement, genoa(), |m| m.report.measurement[47] ^= 1),
        (C::IdKeyDigest, genoa(), |m| {
            m.policy.id_key_digests = Some([[1; 48]].into())
        }),
        (C::AuthorKeyDigest, genoa(), |m| {
            m.policy.author_key_digests = Some([[0; 48]].into());
        }),
        (C::FamilyId, genoa(), |m| m.policy.family_id = Some([1; 16])),
        (C::ImageId, genoa(), |m| m.policy.image_id = Some([1; 16])),
        (C::GuestSvn, genoa(), |m| m.policy.minimum_guest_svn = 1),
        (C::ChipAllowed, genoa(), |m| {
            m.policy.chips = Some([[9; 64]].into())
        }),
        (C::HostData, genoa(), |m| m.report.host_data[0] ^= 1),
        (C::ReportData, genoa(), |m| m.report.report_data[63] ^= 1),
        (C::CrlPresent, genoa(), |m| m.crl = None),
        (C::CrlEncoding, genoa(), |m| {
            m.after = |e| {
                if let Some(crl) = &mut e.crl {
                    crl.push(0);
                }
            };
        }),
        (C::CrlAlgorithm, genoa(), |m| {
            crl(m).algorithm = pss(32).unwrap()
        }),
        (C::CrlIssuer, genoa(), |m| {
            crl(m).issuer = m.pki.ask.subject.clone()
        }),
        (C::CrlSignature, genoa(), |m| {
            m.crl_signer = m.pki.ask.key.clone()
        }),
        (C::CrlStarted, genoa(), |m| {
            crl(m).this_update = Timestamp(m.now.0 + DAY)
        }),
        (C::CrlCurrent, genoa(), |m| crl(m).next_update = Some(m.now)),
        (C::CrlNotRolledBack, genoa(), |m| {
            m.expected.newest_crl = Some(m.now)
        }),
        (C::NotRevoked, genoa(), |m| {
            crl(m).revoked = vec![vec![5], vec![2, 0, 1]]
        }),
    ]
}

fn crl(mint: &mut Mint) -> &mut nacre_sim::CrlSpec {
    // Every case starts with one.
    let Mint { crl, .. } = mint;
    crl.as_mut().unwrap()
}

fn extension(mint: &mut Mint, below: &str, value: Vec<u8>) {
    mint.vek.amd_extension_mut(below).unwrap().value = value;
}

/// The right digests but for one.
fn pins(mint: &Mint, wrong: usize) -> [[u8; 32]; 3] {
    use sha2::{Digest as _, Sha256};
    let pki = &mint.pki;
    let mut pins = [&pki.ark, &pki.ask, &pki.asvk]
        .map(|authority| Sha256::digest(&authority.certificate).into());
    pins[wrong] = [0; 32];
    pins
}

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
            .any(|note| note.starts_with("Milan:"))
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
            .any(|note| note.starts_with("Milan:"))
    );
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
            .any(|note| note.contains("no revocation list"))
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
