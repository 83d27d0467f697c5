//! Reference values given in the configuration.

use nacre_manifest::{
    ChipId, GuestPolicy, HostDataBinding, LaunchMeasurement, ModelTcb, PlatformInfo, Product,
    ReferenceOverride, SignerDigest, SigningKey, Tcb,
};

config_object! {
    /// Reference values that replace those of the platform.
    pub struct References {
        /// Platform the values are for; without it, every platform in use.
        platform: Option<String> as "platform";
        /// Processor line the values are for; without it, every one. Where a product is named, only the
        /// named products are listed in the manifest.
        product: Option<Product> as "product";
        /// Number of vCPUs the values are for; without it, every number.
        vcpus: Option<u32> as "vcpus";
        /// Launch digest of the guest.
        trusted_measurement: Option<LaunchMeasurement> as "trustedMeasurement";
        /// What the measured guest does about a policy other than the one in `HOST_DATA`.
        host_data_binding: Option<HostDataBinding> as "hostDataBinding";
        /// Least TCB.
        minimum_tcb: TcbValues as "minimumTcb";
        /// Least TCB for single processor models, where it differs.
        minimum_tcb_by_model: Vec<ModelTcb> as "minimumTcbByModel";
        /// Guest policy.
        guest_policy: Option<GuestPolicy> as "guestPolicy";
        /// Platform information bits that must be set or clear.
        platform_info: Option<PlatformInfo> as "platformInfo";
        /// Mitigations that must have been applied.
        minimum_mitigation_vector: Option<u64> as "minimumMitigationVector";
        /// Kind of key that must have signed the report.
        signing_key: Option<SigningKey> as "signingKey";
        /// Accepted processors; without any, every one of the product.
        allowed_chip_ids: Vec<ChipId> as "allowedChipIds";
        /// Accepted ID keys.
        id_key_digests: Vec<SignerDigest> as "idKeyDigests";
        /// Accepted author keys.
        author_key_digests: Vec<SignerDigest> as "authorKeyDigests";
        /// Whether the committed TCB must reach the minimum as well.
        require_committed_tcb: Option<bool> as "requireCommittedTcb";
        /// Whether platform information bits that are unknown today are refused.
        strict_platform_info: Option<bool> as "strictPlatformInfo";
    }
}

config_object! {
    /// A least TCB; a component that is not given keeps the platform's value.
    pub struct TcbValues {
        /// FMC; Turin only.
        fmc: Option<u8> as "fmc";
        /// Boot loader of the security processor.
        bootloader: Option<u8> as "bootloader";
        /// Operating system of the security processor.
        tee: Option<u8> as "tee";
        /// SNP firmware.
        snp: Option<u8> as "snp";
        /// Microcode.
        microcode: Option<u8> as "microcode";
    }
}

impl References {
    /// The values in the form that a platform's are overlaid with.
    pub fn to_override(&self) -> ReferenceOverride {
        let tcb = &self.minimum_tcb;
        ReferenceOverride {
            platform: self.platform.clone(),
            product: self.product,
            cpus: self.vcpus,
            trusted_measurement: self.trusted_measurement,
            host_data_binding: self.host_data_binding,
            minimum_tcb: Some(Tcb {
                fmc: tcb.fmc,
                bootloader: tcb.bootloader,
                tee: tcb.tee,
                snp: tcb.snp,
                microcode: tcb.microcode,
            }),
            minimum_tcb_by_model: self.minimum_tcb_by_model.clone(),
            guest_policy: self.guest_policy,
            platform_info: self.platform_info,
            minimum_mitigation_vector: self.minimum_mitigation_vector,
            signing_key: self.signing_key,
            allowed_chip_ids: self.allowed_chip_ids.clone(),
            id_key_digests: self.id_key_digests.clone(),
            author_key_digests: self.author_key_digests.clone(),
            require_committed_tcb: self.require_committed_tcb,
            strict_platform_info: self.strict_platform_info,
        }
    }
}
