//! Reference values: which machine, firmware and guest a report may come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::bytes::{ChipId, LaunchMeasurement, SignerDigest};

/// The sets of reference values; evidence is good when it matches one of them whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValues {
    /// For AMD SEV-SNP.
    #[serde(default)]
    pub snp: Vec<SnpReference>,
}

/// One set of reference values for AMD SEV-SNP.
///
/// The number of vCPUs enters the launch measurement, so a set holds for one product and one number
/// of vCPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SnpReference {
    /// Name of the platform the values belong to, for example `metal-qemu-snp`.
    pub platform: String,
    /// Processor line; decides the root certificates and the layout of the TCB version.
    pub product_name: Product,
    /// Number of vCPUs of the guest that has the measurement.
    #[serde(rename = "CPUs")]
    pub cpus: u32,
    /// Launch digest of the guest; null = to be filled in by the user.
    pub trusted_measurement: Option<LaunchMeasurement>,
    /// What the guest does about a policy other than the one in `HOST_DATA`.
    pub host_data_binding: HostDataBinding,
    /// How reports of the guest carry what they are bound to.
    #[serde(default, skip_serializing_if = "ReportDataForm::is_default")]
    pub report_data_form: ReportDataForm,
    /// Least TCB of reported and launch TCB.
    #[serde(rename = "MinimumTCB")]
    pub minimum_tcb: Tcb,
    /// Least TCB for single processor models; where one matches it replaces `MinimumTCB`, because
    /// microcode numbers of different models of one product cannot be compared.
    #[serde(
        rename = "MinimumTCBByModel",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub minimum_tcb_by_model: Vec<ModelTcb>,
    /// Bits of the guest policy.
    #[serde(default)]
    pub guest_policy: GuestPolicy,
    /// Bits of the platform information that must be set or clear.
    #[serde(default, skip_serializing_if = "PlatformInfo::is_empty")]
    pub platform_info: PlatformInfo,
    /// Mitigations that must have been applied (report version 5); 0 = none asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minimum_mitigation_vector: u64,
    /// Privilege level the report must have been asked for from.
    #[serde(rename = "VMPL", default, skip_serializing_if = "is_zero_u8")]
    pub vmpl: u8,
    /// Kind of key that must have signed the report.
    #[serde(default, skip_serializing_if = "SigningKey::is_default")]
    pub signing_key: SigningKey,
    /// Processors that are accepted; empty = every one of the product.
    #[serde(
        rename = "AllowedChipIDs",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub allowed_chip_ids: Vec<ChipId>,
    /// Accepted ID keys; empty = not asked for.
    #[serde(
        rename = "IDKeyDigests",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub id_key_digests: Vec<SignerDigest>,
    /// Accepted author keys; empty = not asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub author_key_digests: Vec<SignerDigest>,
    /// Whether the committed TCB must reach the minimum as well (no rollback of firmware possible).
    #[serde(
        rename = "RequireCommittedTCB",
        default,
        skip_serializing_if = "is_false"
    )]
    pub require_committed_tcb: bool,
    /// Whether platform information bits that are unknown today are refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strict_platform_info: bool,
}

impl SnpReference {
    /// A set with nothing filled in beyond what names it.
    pub fn new(platform: impl Into<String>, product: Product, cpus: u32) -> Self {
        Self {
            platform: platform.into(),
            product_name: product,
            cpus,
            trusted_measurement: None,
            host_data_binding: HostDataBinding::None,
            report_data_form: ReportDataForm::Exact,
            minimum_tcb: Tcb::default(),
            minimum_tcb_by_model: Vec::new(),
            guest_policy: GuestPolicy::default(),
            platform_info: PlatformInfo::default(),
            minimum_mitigation_vector: 0,
            vmpl: 0,
            signing_key: SigningKey::default(),
            allowed_chip_ids: Vec::new(),
            id_key_digests: Vec::new(),
            author_key_digests: Vec::new(),
            require_committed_tcb: false,
            strict_platform_info: false,
        }
    }

    /// What the set is looked up by: platform, product, number of vCPUs.
    pub fn key(&self) -> (&str, Product, u32) {
        (&self.platform, self.product_name, self.cpus)
    }
}

/// Processor line, by the name AMD's key server uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004, Bergamo and Siena included.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Product {
    /// Every product.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Whether the TCB version has a component for the FMC.
    pub const fn has_fmc(self) -> bool {
        matches!(self, Self::Turin)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Product {
    type Err = UnknownProduct;

    fn from_str(text: &str) -> Result<Self, UnknownProduct> {
        Self::ALL
            .into_iter()
            .find(|product| product.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownProduct {
                name: text.to_owned(),
            })
    }
}

/// A processor line that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown product {name:?}: Milan, Genoa and Turin are known")]
pub struct UnknownProduct {
    /// What was given.
    pub name: String,
}

/// A TCB version: security version numbers of the parts of the firmware. `None` = to be filled in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcb {
    /// FMC; Turin only, absent for other products.
    #[serde(
        rename = "FMCVersion",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub fmc: Option<u8>,
    /// Boot loader of the security processor.
    #[serde(rename = "BootloaderVersion")]
    pub bootloader: Option<u8>,
    /// Operating system of the security processor.
    #[serde(rename = "TEEVersion")]
    pub tee: Option<u8>,
    /// SNP firmware.
    #[serde(rename = "SNPVersion")]
    pub snp: Option<u8>,
    /// Microcode.
    #[serde(rename = "MicrocodeVersion")]
    pub microcode: Option<u8>,
}

/// The least TCB of one processor model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTcb {
    /// The model.
    #[serde(rename = "CPUID")]
    pub cpuid: Cpuid,
    /// Its least TCB.
    #[serde(rename = "MinimumTCB")]
    pub minimum_tcb: Tcb,
}

/// A processor model as in CPUID function 1 and in reports of version 3 and later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Cpuid {
    /// Family, base and extended added up (25 for Milan and Genoa).
    pub family: u8,
    /// Model, extended model included.
    pub model: u8,
    /// Stepping; absent = every stepping of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stepping: Option<u8>,
}

/// How a report carries the 64 bytes it is bound to. One form for each set of reference values: a verifier
/// never accepts both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportDataForm {
    /// As they are.
    #[default]
    Exact,
    /// As the 64 characters of the unpadded base64url of their SHA-384, because the guest's agent takes text only.
    Text,
}

impl ReportDataForm {
    /// Both, in the order of the schema.
    pub const ALL: [Self; 2] = [Self::Exact, Self::Text];

    /// The word in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Text => "text",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a guest does when its policy is not the one whose hash stands in `HOST_DATA`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostDataBinding {
    /// The measured guest refuses to start containers.
    Enforced,
    /// Nothing: the host may start the guest with another policy, and only the report shows it.
    None,
}

impl HostDataBinding {
    /// The word in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::None => "none",
        }
    }
}

impl fmt::Display for HostDataBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bits of the guest policy, as a report states them (SEV-SNP firmware ABI, `POLICY`).
///
/// `ABIMajor` and `ABIMinor` are least values. A `false` for a bit that opens something (`SMT`,
/// `MigrateMA`, `Debug`, `CXLAllowed`) means that the guest must not allow it; a `true` for a bit that
/// closes something (the others) means that the guest must ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuestPolicy {
    /// Least major version of the firmware ABI.
    #[serde(rename = "ABIMajor")]
    pub abi_major: u8,
    /// Least minor version of the firmware ABI.
    #[serde(rename = "ABIMinor")]
    pub abi_minor: u8,
    /// Simultaneous multithreading is allowed.
    #[serde(rename = "SMT")]
    pub smt: bool,
    /// A migration agent is allowed. Never in production.
    #[serde(rename = "MigrateMA")]
    pub migrate_ma: bool,
    /// Debugging by the host is allowed. Never in production.
    #[serde(rename = "Debug")]
    pub debug: bool,
    /// The guest runs on one socket only.
    #[serde(rename = "SingleSocket")]
    pub single_socket: bool,
    /// CXL devices are allowed.
    #[serde(rename = "CXLAllowed")]
    pub cxl_allowed: bool,
    /// Memory is encrypted with AES-256-XTS.
    #[serde(rename = "MemAES256XTS")]
    pub mem_aes_256_xts: bool,
    /// Power readings (RAPL) are off.
    #[serde(rename = "RAPLDis")]
    pub rapl_dis: bool,
    /// The host cannot read ciphertext.
    #[serde(rename = "CipherTextHidingDRAM")]
    pub ciphertext_hiding_dram: bool,
    /// The host cannot swap or move guest pages.
    #[serde(rename = "PageSwapDisable")]
    pub page_swap_disable: bool,
}

impl Default for GuestPolicy {
    /// What Kata guests are started with: SMT allowed, nothing else.
    fn default() -> Self {
        Self {
            abi_major: 0,
            abi_minor: 0,
            smt: true,
            migrate_ma: false,
            debug: false,
            single_socket: false,
            cxl_allowed: false,
            mem_aes_256_xts: false,
            rapl_dis: false,
            ciphertext_hiding_dram: false,
            page_swap_disable: false,
        }
    }
}

/// Requirements on the platform information of a report: `true` = the bit must be set, `false` = it
/// must be clear, absent = either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlatformInfo {
    /// Bit 0: simultaneous multithreading is on.
    #[serde(rename = "SMTEnabled", skip_serializing_if = "Option::is_none")]
    pub smt_enabled: Option<bool>,
    /// Bit 1: transparent memory encryption is on.
    #[serde(rename = "TSMEEnabled", skip_serializing_if = "Option::is_none")]
    pub tsme_enabled: Option<bool>,
    /// Bit 2: memory has error correction.
    #[serde(rename = "ECCEnabled", skip_serializing_if = "Option::is_none")]
    pub ecc_enabled: Option<bool>,
    /// Bit 3: power readings (RAPL) are off.
    #[serde(rename = "RAPLDisabled", skip_serializing_if = "Option::is_none")]
    pub rapl_disabled: Option<bool>,
    /// Bit 4: ciphertext is hidden from the host.
    #[serde(
        rename = "CiphertextHidingDRAMEnabled",
        skip_serializing_if = "Option::is_none"
    )]
    pub ciphertext_hiding_dram_enabled: Option<bool>,
    /// Bit 5: memory aliases were looked for since the last reset (BadRAM).
    #[serde(rename = "AliasCheckComplete", skip_serializing_if = "Option::is_none")]
    pub alias_check_complete: Option<bool>,
    /// Bit 7: trusted I/O is on.
    #[serde(rename = "TIOEnabled", skip_serializing_if = "Option::is_none")]
    pub tio_enabled: Option<bool>,
}

impl PlatformInfo {
    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Kind of key that signs reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningKey {
    /// Key of one chip.
    #[default]
    #[serde(rename = "VCEK")]
    Vcek,
    /// Key that AMD loaded for one cloud provider.
    #[serde(rename = "VLEK")]
    Vlek,
}

impl SigningKey {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_zero_u8(value: &u8) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}
