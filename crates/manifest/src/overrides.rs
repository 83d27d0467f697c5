//! Reference values that a user gives, to be laid over those of a platform.

use crate::bytes::{ChipId, LaunchMeasurement, SignerDigest};
use crate::reference::{
    GuestPolicy, HostDataBinding, ModelTcb, PlatformInfo, Product, SigningKey, SnpReference, Tcb,
};

/// Values for some sets of reference values; what is `None` or empty leaves the set as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferenceOverride {
    /// Platform the values are for; `None` = every one.
    pub platform: Option<String>,
    /// Product the values are for; `None` = every one.
    pub product: Option<Product>,
    /// Number of vCPUs the values are for; `None` = every one.
    pub cpus: Option<u32>,
    /// Launch digest.
    pub trusted_measurement: Option<LaunchMeasurement>,
    /// What the guest enforces.
    pub host_data_binding: Option<HostDataBinding>,
    /// Least TCB; components that are `None` leave those of the set as they are.
    pub minimum_tcb: Option<Tcb>,
    /// Least TCB for single processor models.
    pub minimum_tcb_by_model: Vec<ModelTcb>,
    /// Guest policy.
    pub guest_policy: Option<GuestPolicy>,
    /// Platform information.
    pub platform_info: Option<PlatformInfo>,
    /// Mitigations.
    pub minimum_mitigation_vector: Option<u64>,
    /// Kind of signing key.
    pub signing_key: Option<SigningKey>,
    /// Accepted processors.
    pub allowed_chip_ids: Vec<ChipId>,
    /// Accepted ID keys.
    pub id_key_digests: Vec<SignerDigest>,
    /// Accepted author keys.
    pub author_key_digests: Vec<SignerDigest>,
    /// Whether the committed TCB must reach the minimum as well.
    pub require_committed_tcb: Option<bool>,
    /// Whether unknown platform information bits are refused.
    pub strict_platform_info: Option<bool>,
}

impl ReferenceOverride {
    /// Whether the values are for this platform.
    pub fn is_for_platform(&self, platform: &str) -> bool {
        self.platform
            .as_ref()
            .is_none_or(|name| name.eq_ignore_ascii_case(platform))
    }

    /// Whether the values are for this set.
    pub fn is_for(&self, set: &SnpReference) -> bool {
        self.is_for_platform(&set.platform)
            && self
                .product
                .is_none_or(|product| product == set.product_name)
            && self.cpus.is_none_or(|cpus| cpus == set.cpus)
    }

    /// Lays the values over a set, if they are for it.
    pub fn apply(&self, set: &mut SnpReference) {
        if !self.is_for(set) {
            return;
        }
        set.trusted_measurement = self.trusted_measurement.or(set.trusted_measurement);
        set.host_data_binding = self.host_data_binding.unwrap_or(set.host_data_binding);
        if let Some(tcb) = self.minimum_tcb {
            let old = set.minimum_tcb;
            set.minimum_tcb = Tcb {
                fmc: tcb.fmc.or(old.fmc),
                bootloader: tcb.bootloader.or(old.bootloader),
                tee: tcb.tee.or(old.tee),
                snp: tcb.snp.or(old.snp),
                microcode: tcb.microcode.or(old.microcode),
            };
        }
        set.guest_policy = self.guest_policy.unwrap_or(set.guest_policy);
        set.platform_info = self.platform_info.unwrap_or(set.platform_info);
        set.minimum_mitigation_vector = self
            .minimum_mitigation_vector
            .unwrap_or(set.minimum_mitigation_vector);
        set.signing_key = self.signing_key.unwrap_or(set.signing_key);
        set.require_committed_tcb = self
            .require_committed_tcb
            .unwrap_or(set.require_committed_tcb);
        set.strict_platform_info = self
            .strict_platform_info
            .unwrap_or(set.strict_platform_info);
        replace(&mut set.minimum_tcb_by_model, &self.minimum_tcb_by_model);
        replace(&mut set.allowed_chip_ids, &self.allowed_chip_ids);
        replace(&mut set.id_key_digests, &self.id_key_digests);
        replace(&mut set.author_key_digests, &self.author_key_digests);
    }
}

fn replace<T: Clone>(list: &mut Vec<T>, given: &[T]) {
    if !given.is_empty() {
        *list = given.to_vec();
    }
}
