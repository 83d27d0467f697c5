//! A case for each value.

use nacre_attest::{CheckId, Product};
use nacre_manifest as manifest;
use nacre_manifest::{ChipId, LaunchMeasurement, SignerDigest, SnpReference};

use crate::mint::Mint;

/// What is demanded, what a report does about it, and which checks say so.
pub(super) struct Case {
    pub(super) field: &'static str,
    pub(super) demand: fn(&mut SnpReference),
    pub(super) violate: fn(&mut Mint),
    pub(super) checks: &'static [CheckId],
}

/// What fails when the firmware is too old.
pub(super) const MINIMA: &[CheckId] = &[CheckId::ReportedMinimum, CheckId::LaunchMinimum];

pub(super) fn one_more(part: &mut Option<u8>) {
    *part = part.map(|number| number + 1);
}

fn case(
    field: &'static str,
    demand: fn(&mut SnpReference),
    violate: fn(&mut Mint),
    checks: &'static [CheckId],
) -> Case {
    Case {
        field,
        demand,
        violate,
        checks,
    }
}

/// For Turin, whose firmware has every part. A case whose `violate` does nothing has values that no report of the
/// machine meets.
pub(super) fn cases() -> Vec<Case> {
    use CheckId as C;
    let nothing: fn(&mut Mint) = |_| ();
    let set: &[C] = &[C::PlatformMustSet];
    let clear: &[C] = &[C::PlatformMustClear];
    vec![
        case(
            "ProductName",
            |v| {
                v.product_name = manifest::Product::Genoa;
                // The firmware of another product has other parts.
                v.minimum_tcb.fmc = None;
            },
            nothing,
            &[C::ProductExpected],
        ),
        case(
            "TrustedMeasurement",
            |v| v.trusted_measurement = Some(LaunchMeasurement::from_bytes([9; 48])),
            nothing,
            &[C::Measurement],
        ),
        case(
            "ReportDataForm",
            |v| v.report_data_form = manifest::ReportDataForm::Text,
            nothing,
            &[C::ReportData],
        ),
        case(
            "MinimumTCB.FMCVersion",
            |v| one_more(&mut v.minimum_tcb.fmc),
            nothing,
            MINIMA,
        ),
        case(
            "MinimumTCB.BootloaderVersion",
            |v| one_more(&mut v.minimum_tcb.bootloader),
            nothing,
            MINIMA,
        ),
        case(
            "MinimumTCB.TEEVersion",
            |v| one_more(&mut v.minimum_tcb.tee),
            nothing,
            MINIMA,
        ),
        case(
            "MinimumTCB.SNPVersion",
            |v| one_more(&mut v.minimum_tcb.snp),
            nothing,
            MINIMA,
        ),
        case(
            "MinimumTCB.MicrocodeVersion",
            |v| one_more(&mut v.minimum_tcb.microcode),
            nothing,
            MINIMA,
        ),
        case(
            "GuestPolicy.ABIMajor",
            |v| v.guest_policy.abi_major = 1,
            nothing,
            &[C::PolicyAbi],
        ),
        case(
            "GuestPolicy.ABIMinor",
            |v| v.guest_policy.abi_minor = 32,
            nothing,
            &[C::PolicyAbi],
        ),
        case(
            "GuestPolicy.SMT",
            |v| v.guest_policy.smt = false,
            nothing,
            &[C::PolicySmt],
        ),
        case(
            "GuestPolicy.SingleSocket",
            |v| v.guest_policy.single_socket = true,
            nothing,
            &[C::PolicySingleSocket],
        ),
        case(
            "GuestPolicy.MemAES256XTS",
            |v| v.guest_policy.mem_aes_256_xts = true,
            nothing,
            &[C::PolicyAes256Xts],
        ),
        case(
            "GuestPolicy.RAPLDis",
            |v| v.guest_policy.rapl_dis = true,
            nothing,
            &[C::PolicyRapl],
        ),
        case(
            "GuestPolicy.CipherTextHidingDRAM",
            |v| v.guest_policy.ciphertext_hiding_dram = true,
            nothing,
            &[C::PolicyCiphertextHiding],
        ),
        case(
            "GuestPolicy.PageSwapDisable",
            |v| v.guest_policy.page_swap_disable = true,
            nothing,
            &[C::PolicyPageSwap],
        ),
        case(
            "PlatformInfo.SMTEnabled",
            |v| v.platform_info.smt_enabled = Some(true),
            |m| info(m, 0, false),
            set,
        ),
        case(
            "PlatformInfo.SMTEnabled",
            |v| v.platform_info.smt_enabled = Some(false),
            |m| info(m, 0, true),
            clear,
        ),
        case(
            "PlatformInfo.TSMEEnabled",
            |v| v.platform_info.tsme_enabled = Some(true),
            |m| info(m, 1, false),
            set,
        ),
        case(
            "PlatformInfo.TSMEEnabled",
            |v| v.platform_info.tsme_enabled = Some(false),
            |m| info(m, 1, true),
            clear,
        ),
        case(
            "PlatformInfo.ECCEnabled",
            |v| v.platform_info.ecc_enabled = Some(true),
            |m| info(m, 2, false),
            set,
        ),
        case(
            "PlatformInfo.ECCEnabled",
            |v| v.platform_info.ecc_enabled = Some(false),
            |m| info(m, 2, true),
            clear,
        ),
        case(
            "PlatformInfo.RAPLDisabled",
            |v| v.platform_info.rapl_disabled = Some(true),
            |m| info(m, 3, false),
            set,
        ),
        case(
            "PlatformInfo.RAPLDisabled",
            |v| v.platform_info.rapl_disabled = Some(false),
            |m| info(m, 3, true),
            clear,
        ),
        case(
            "PlatformInfo.CiphertextHidingDRAMEnabled",
            |v| v.platform_info.ciphertext_hiding_dram_enabled = Some(true),
            |m| info(m, 4, false),
            set,
        ),
        case(
            "PlatformInfo.CiphertextHidingDRAMEnabled",
            |v| v.platform_info.ciphertext_hiding_dram_enabled = Some(false),
            |m| info(m, 4, true),
            clear,
        ),
        case(
            "PlatformInfo.AliasCheckComplete",
            |v| v.platform_info.alias_check_complete = Some(true),
            |m| info(m, 5, false),
            set,
        ),
        case(
            "PlatformInfo.AliasCheckComplete",
            |v| v.platform_info.alias_check_complete = Some(false),
            |m| info(m, 5, true),
            clear,
        ),
        case(
            "PlatformInfo.TIOEnabled",
            |v| v.platform_info.tio_enabled = Some(true),
            |m| info(m, 7, false),
            set,
        ),
        case(
            "PlatformInfo.TIOEnabled",
            |v| v.platform_info.tio_enabled = Some(false),
            |m| info(m, 7, true),
            clear,
        ),
        case(
            "MinimumMitigationVector",
            |v| v.minimum_mitigation_vector = 0x20,
            |m| m.report.launch_mitigations = 0x1f,
            &[C::MitigationsAtLaunch],
        ),
        case(
            "MinimumMitigationVector",
            |v| v.minimum_mitigation_vector = 0x20,
            |m| m.report.current_mitigations = 0x1f,
            &[C::MitigationsCurrent],
        ),
        case("VMPL", |v| v.vmpl = 1, nothing, &[C::Vmpl]),
        case(
            "SigningKey",
            |v| v.signing_key = manifest::SigningKey::Vlek,
            nothing,
            &[C::SigningKey],
        ),
        case(
            "AllowedChipIDs",
            |v| v.allowed_chip_ids = vec![ChipId::from_bytes([9; 64])],
            nothing,
            &[C::ChipAllowed],
        ),
        case(
            "IDKeyDigests",
            |v| v.id_key_digests = vec![SignerDigest::from_bytes([9; 48])],
            nothing,
            &[C::IdKeyDigest],
        ),
        case(
            "AuthorKeyDigests",
            |v| v.author_key_digests = vec![SignerDigest::from_bytes([9; 48])],
            nothing,
            &[C::AuthorKeyDigest],
        ),
        case(
            "RequireCommittedTCB",
            |v| v.require_committed_tcb = true,
            |m| {
                let mut lower = m.machine.spec.tcb;
                lower.snp -= 1;
                m.report.committed_tcb = lower.encode(Product::Turin);
            },
            &[C::CommittedMinimum],
        ),
        case(
            "StrictPlatformInfo",
            |v| v.strict_platform_info = true,
            |m| info(m, 6, true),
            &[C::PlatformUnknown],
        ),
    ]
}

fn info(mint: &mut Mint, bit: u32, value: bool) {
    mint.report.platform_info &= !(1 << bit);
    mint.report.platform_info |= u64::from(value) << bit;
}
