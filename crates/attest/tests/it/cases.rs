//! A case for each check.

use nacre_attest::{
    Bit, CheckId, CpuId, Firmware, MinimumTcb, Product, SigningKey, Tcb, Timestamp,
};
use nacre_sim::der::{ia5, integer, name, oid, pss, sequence};
use nacre_sim::{AuthoritySpec, ExtensionSpec, MachineSpec, amd_extension};

use crate::mint::Mint;

pub(crate) const DAY: u64 = 86_400;

/// What makes a good case bad.
pub(crate) type Change = fn(&mut Mint);

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

pub(crate) fn vlek() -> Mint {
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
pub(crate) fn cases() -> Vec<(CheckId, Mint, Change)> {
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

pub(crate) fn crl(mint: &mut Mint) -> &mut nacre_sim::CrlSpec {
    // Every case starts with one.
    let Mint { crl, .. } = mint;
    crl.as_mut().unwrap()
}

pub(crate) fn extension(mint: &mut Mint, below: &str, value: Vec<u8>) {
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
