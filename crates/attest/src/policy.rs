//! What is asked of evidence.

use std::collections::BTreeSet;

use crate::form::ReportDataForm;
use crate::product::{CpuId, Product, Tcb};
use crate::time::Timestamp;

/// One reference value: what a guest and its platform have to be.
///
/// Start from [`Policy::new`], which refuses what production refuses, and change fields. There is no way
/// to ask for less than: a genuine signature, no debugging, no migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Product line of the processor.
    pub product: Product,
    /// Launch digests, one of which has to be measured. With `None` nothing is known of the guest: the verdict
    /// keeps the check open, and verification does not succeed.
    pub measurements: Option<BTreeSet<[u8; 48]>>,
    /// Least firmware versions.
    pub minimum_tcb: MinimumTcb,
    /// Guest policy bits beside debugging and migration.
    pub guest_policy: GuestPolicyRules,
    /// Platform information bits.
    pub platform_info: PlatformInfoRules,
    /// How the report carries what it is bound to.
    pub report_data_form: ReportDataForm,
    /// Privilege level of the report.
    pub vmpl: u32,
    /// Whether a chip's own key may sign.
    pub allow_vcek: bool,
    /// Whether a cloud provider's key may sign.
    pub allow_vlek: bool,
    /// Keys that may have signed the ID block; `None` asks for no ID block.
    pub id_key_digests: Option<BTreeSet<[u8; 48]>>,
    /// Keys that may have certified the ID key; `None` asks for none.
    pub author_key_digests: Option<BTreeSet<[u8; 48]>>,
    /// Family id of the ID block.
    pub family_id: Option<[u8; 16]>,
    /// Image id of the ID block.
    pub image_id: Option<[u8; 16]>,
    /// Least security version of the guest.
    pub minimum_guest_svn: u32,
    /// Chips that may sign; `None` lets any.
    pub chips: Option<BTreeSet<[u8; 64]>>,
    /// Whether `chips: None` is refused. The only help against a product whose chip keys can be taken out.
    pub require_chips: bool,
    /// Whether a VCEK report with a masked chip id is accepted.
    pub allow_masked_chip_id: bool,
    /// Whether a version 2 report is accepted, which says nothing of the processor.
    pub allow_report_v2: bool,
    /// Whether firmware that can still be rolled back may run; clouds do that.
    pub allow_provisional_firmware: bool,
    /// Whether the minimum holds for the committed TCB too.
    pub require_committed_minimum: bool,
    /// Mitigation bits that have to be set, at launch and now; zero asks for none.
    pub mitigations: u64,
    /// What a missing revocation list means.
    pub crl: CrlMode,
}

impl Policy {
    /// The strict default for a product: its newest TCB baseline, VCEK only, VMPL 0, a revocation list.
    pub fn new(product: Product, measurements: impl IntoIterator<Item = [u8; 48]>) -> Self {
        Self {
            product,
            measurements: Some(measurements.into_iter().collect()),
            minimum_tcb: crate::baselines::Baseline::newest().minimum(product),
            guest_policy: GuestPolicyRules::default(),
            platform_info: PlatformInfoRules::default(),
            report_data_form: ReportDataForm::Exact,
            vmpl: 0,
            allow_vcek: true,
            allow_vlek: false,
            id_key_digests: None,
            author_key_digests: None,
            family_id: None,
            image_id: None,
            minimum_guest_svn: 0,
            chips: None,
            require_chips: false,
            allow_masked_chip_id: false,
            allow_report_v2: false,
            allow_provisional_firmware: true,
            require_committed_minimum: false,
            mitigations: 0,
            crl: CrlMode::Require,
        }
    }
}

/// Least firmware versions, by processor.
///
/// Microcode numbers of different models of one product have nothing to do with each other, so a minimum
/// for the processor goes before that for the product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinimumTcb {
    /// For the whole product. `None` refuses processors without an entry of their own.
    pub product: Option<Tcb>,
    /// For one processor.
    pub processors: Vec<(CpuMatch, Tcb)>,
}

impl MinimumTcb {
    /// One minimum for every processor of the product.
    pub fn of_product(minimum: Tcb) -> Self {
        Self {
            product: Some(minimum),
            processors: Vec::new(),
        }
    }

    /// The most specific minimum for a processor.
    pub fn for_cpu(&self, cpu: Option<CpuId>) -> Option<Tcb> {
        let specific = cpu.and_then(|cpu| {
            self.processors
                .iter()
                .filter(|(of, _)| of.matches(cpu))
                .max_by_key(|(of, _)| of.stepping.is_some())
        });
        specific.map(|(_, minimum)| *minimum).or(self.product)
    }
}

/// A processor model, all steppings or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuMatch {
    /// Combined family.
    pub family: u8,
    /// Combined model.
    pub model: u8,
    /// Stepping; `None` is any.
    pub stepping: Option<u8>,
}

impl CpuMatch {
    /// Whether a processor is meant.
    pub fn matches(self, cpu: CpuId) -> bool {
        self.family == cpu.family
            && self.model == cpu.model
            && self
                .stepping
                .is_none_or(|stepping| stepping == cpu.stepping)
    }
}

/// What a bit has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bit {
    /// Either.
    #[default]
    Any,
    /// One.
    Set,
    /// Zero.
    Clear,
}

/// Rules for the bits of GUEST_POLICY. DEBUG and MIGRATE_MA have none: they are always refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPolicyRules {
    /// Least ABI version, major and minor.
    pub abi_minimum: (u8, u8),
    /// Bit 16, SMT may be on.
    pub smt: Bit,
    /// Bit 20, one socket only.
    pub single_socket: Bit,
    /// Bit 21, CXL memory and devices allowed.
    pub cxl: Bit,
    /// Bit 22, AES-256-XTS asked for.
    pub aes_256_xts: Bit,
    /// Bit 23, RAPL has to be off.
    pub rapl_disabled: Bit,
    /// Bit 24, ciphertext hiding asked for.
    pub ciphertext_hiding: Bit,
    /// Bit 25, no page swapping by the host.
    pub page_swap_disabled: Bit,
}

impl Default for GuestPolicyRules {
    fn default() -> Self {
        Self {
            abi_minimum: (0, 0),
            smt: Bit::Any,
            single_socket: Bit::Any,
            cxl: Bit::Clear,
            aes_256_xts: Bit::Any,
            rapl_disabled: Bit::Any,
            ciphertext_hiding: Bit::Any,
            page_swap_disabled: Bit::Any,
        }
    }
}

/// Rules for the bits of PLATFORM_INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlatformInfoRules {
    /// Bits that have to be one.
    pub must_set: u64,
    /// Bits that have to be zero.
    pub must_clear: u64,
    /// Whether bits without a known meaning are refused. Turin sets bit 6, which has none, so the default
    /// is to say so in the notes.
    pub reject_unknown: bool,
}

/// Names of the PLATFORM_INFO bits (ABI 1.58).
pub const PLATFORM_INFO_BITS: [(u32, &str); 7] = [
    (0, "SMT_EN"),
    (1, "TSME_EN"),
    (2, "ECC_EN"),
    (3, "RAPL_DIS"),
    (4, "CIPHERTEXT_HIDING_DRAM_EN"),
    (5, "ALIAS_CHECK_COMPLETE"),
    (7, "TIO_EN"),
];

/// What a missing revocation list means. A list that is there is always checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrlMode {
    /// Refused.
    #[default]
    Require,
    /// Accepted.
    IfPresent,
}

/// What this one exchange asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What the report has to be bound to.
    pub report_data: ReportData,
    /// Policies the guest may run.
    pub host_data: HostData,
    /// Start of the newest revocation list ever verified; an older one is refused.
    pub newest_crl: Option<Timestamp>,
}

/// What REPORT_DATA has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportData {
    /// Exactly this, in the form of the policy.
    Exact([u8; 64]),
    /// Anything. Nothing then says that the report is fresh or whose it is: the verdict keeps the check
    /// open, and verification does not succeed.
    Open,
}

/// What HOST_DATA has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostData {
    /// One of these.
    OneOf(BTreeSet<[u8; 32]>),
    /// Anything. The verdict keeps the check open, and verification does not succeed.
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_minimum_wins() {
        let tcb = |snp| Tcb {
            fmc: None,
            bootloader: 0,
            tee: 0,
            snp,
            microcode: 0,
        };
        let of = |stepping| CpuMatch {
            family: 0x19,
            model: 0xa0,
            stepping,
        };
        let minimum = MinimumTcb {
            product: Some(tcb(1)),
            processors: vec![(of(Some(2)), tcb(3)), (of(None), tcb(2))],
        };
        let snp = |cpu: &str| minimum.for_cpu(CpuId::parse(cpu)).unwrap().snp;
        assert_eq!(snp("19/a0/02"), 3);
        assert_eq!(snp("19/a0/01"), 2);
        assert_eq!(snp("19/11/01"), 1);
        assert_eq!(MinimumTcb::default().for_cpu(None), None);
    }
}
