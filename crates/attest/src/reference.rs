//! From the reference values of a manifest to a policy.

use std::collections::BTreeSet;

use nacre_manifest as manifest;
use nacre_manifest::{
    ChipId, LaunchMeasurement, Manifest, PolicyEntry, PolicyHash, SignerDigest, SigningKey,
    SnpReference,
};

use crate::form::ReportDataForm;
use crate::policy::{
    Bit, CpuMatch, CrlMode, GuestPolicyRules, MinimumTcb, PlatformInfoRules, Policy,
};
use crate::product::{Component, Product, Tcb};
use crate::report::Report;

impl TryFrom<&SnpReference> for Policy {
    type Error = ReferenceError;

    /// What is not filled in is an error: nothing is ever compared with a default.
    fn try_from(values: &SnpReference) -> Result<Self, ReferenceError> {
        let product = product(values.product_name)?;
        let measurement = values.trusted_measurement.ok_or(ReferenceError::Missing {
            field: "TrustedMeasurement",
        })?;
        let guest = &values.guest_policy;
        for (allowed, field) in [
            (guest.debug, "GuestPolicy.Debug"),
            (guest.migrate_ma, "GuestPolicy.MigrateMA"),
        ] {
            if allowed {
                return Err(ReferenceError::NeverAllowed { field });
            }
        }
        let processors = values
            .minimum_tcb_by_model
            .iter()
            .map(|by_model| {
                let manifest::Cpuid {
                    family,
                    model,
                    stepping,
                } = by_model.cpuid;
                let tcb = tcb(product, by_model.minimum_tcb)?;
                Ok((
                    CpuMatch {
                        family,
                        model,
                        stepping,
                    },
                    tcb,
                ))
            })
            .collect::<Result<_, ReferenceError>>()?;
        let vlek = values.signing_key == SigningKey::Vlek;
        Ok(Self {
            minimum_tcb: MinimumTcb {
                product: Some(tcb(product, values.minimum_tcb)?),
                processors,
            },
            guest_policy: GuestPolicyRules {
                abi_minimum: (guest.abi_major, guest.abi_minor),
                smt: refuse_unless(guest.smt),
                single_socket: demand_if(guest.single_socket),
                cxl: refuse_unless(guest.cxl_allowed),
                aes_256_xts: demand_if(guest.mem_aes_256_xts),
                rapl_disabled: demand_if(guest.rapl_dis),
                ciphertext_hiding: demand_if(guest.ciphertext_hiding_dram),
                page_swap_disabled: demand_if(guest.page_swap_disable),
            },
            platform_info: platform_info(values),
            report_data_form: match values.report_data_form {
                manifest::ReportDataForm::Exact => ReportDataForm::Exact,
                manifest::ReportDataForm::Text => ReportDataForm::Text,
            },
            vmpl: values.vmpl.into(),
            allow_vcek: !vlek,
            allow_vlek: vlek,
            id_key_digests: set(&values.id_key_digests, |digest| *digest.as_bytes()),
            author_key_digests: set(&values.author_key_digests, |digest| *digest.as_bytes()),
            chips: set(&values.allowed_chip_ids, |chip| *chip.as_bytes()),
            require_committed_minimum: values.require_committed_tcb,
            mitigations: values.minimum_mitigation_vector,
            crl: CrlMode::Require,
            ..Self::new(product, [*measurement.as_bytes()])
        })
    }
}

/// Which reference values of a manifest count for a report, and which HOST_DATA it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counting {
    /// Places in `ReferenceValues.snp`, from 0.
    pub sets: Vec<usize>,
    /// Hashes of policies.
    pub host_data: BTreeSet<[u8; 32]>,
}

impl Counting {
    /// For the raw bytes of a report. One of a listed policy whose entry `fits` counts as that policy only, on the
    /// platforms where that one may run. Any other is held against all of them, so that the verdict says what
    /// is wrong with it.
    pub fn of(manifest: &Manifest, report: &[u8], fits: impl Fn(&PolicyEntry) -> bool) -> Self {
        let stated = Report::parse(report).ok().map(|report| report.host_data);
        let entry = stated.and_then(|stated| {
            let entry = manifest.policies.get(&PolicyHash::from_bytes(stated))?;
            fits(entry).then_some((stated, entry))
        });
        match entry {
            Some((stated, entry)) => Self {
                sets: Self::sets_for(manifest, entry),
                host_data: BTreeSet::from([stated]),
            },
            None => {
                let fitting = manifest.policies.iter().filter(|(_, entry)| fits(entry));
                Self {
                    sets: (0..manifest.reference_values.snp.len()).collect(),
                    host_data: fitting.map(|(hash, _)| *hash.as_bytes()).collect(),
                }
            }
        }
    }

    /// Places of the reference values under which the policy of an entry may run.
    pub fn sets_for(manifest: &Manifest, entry: &PolicyEntry) -> Vec<usize> {
        let sets = manifest.reference_values.snp.iter().enumerate();
        let sets = sets.filter(|(_, set)| entry.may_run_on(&set.platform));
        sets.map(|(place, _)| place).collect()
    }
}

/// The values that a report meets and that leave it no room downwards: `values` with everything in them that a
/// report says. Nothing of it is verified, and what a report cannot say (platform, number of vCPUs, what the guest
/// does about HOST_DATA) stays as it is.
pub fn met_by(report: &Report, product: Product, values: SnpReference) -> SnpReference {
    let bit = |number: u32| report.policy >> number & 1 == 1;
    let info = |number: u32| report.platform_info >> number & 1 == 1;
    let [minor, major, ..] = report.policy.to_le_bytes();
    let tcb = report.reported_tcb.decode(product);
    let named = |bytes: &[u8]| bytes.iter().any(|&byte| byte != 0);
    let signer = |digest: [u8; 48]| vec![SignerDigest::from_bytes(digest)];
    let mitigations = report.launch_mitigations.zip(report.current_mitigations);
    SnpReference {
        trusted_measurement: Some(LaunchMeasurement::from_bytes(report.measurement)),
        minimum_tcb: manifest::Tcb {
            fmc: tcb.fmc,
            bootloader: Some(tcb.bootloader),
            tee: Some(tcb.tee),
            snp: Some(tcb.snp),
            microcode: Some(tcb.microcode),
        },
        minimum_tcb_by_model: Vec::new(),
        guest_policy: manifest::GuestPolicy {
            abi_major: major,
            abi_minor: minor,
            smt: bit(16),
            migrate_ma: bit(18),
            debug: bit(19),
            single_socket: bit(20),
            cxl_allowed: bit(21),
            mem_aes_256_xts: bit(22),
            rapl_dis: bit(23),
            ciphertext_hiding_dram: bit(24),
            page_swap_disable: bit(25),
        },
        // What protects is demanded where it is on, what opens is refused where it is off.
        platform_info: manifest::PlatformInfo {
            smt_enabled: (!info(0)).then_some(false),
            tsme_enabled: info(1).then_some(true),
            ecc_enabled: info(2).then_some(true),
            rapl_disabled: info(3).then_some(true),
            ciphertext_hiding_dram_enabled: info(4).then_some(true),
            alias_check_complete: info(5).then_some(true),
            tio_enabled: (!info(7)).then_some(false),
        },
        minimum_mitigation_vector: mitigations.map_or(0, |(launch, current)| launch & current),
        // A level that fits no manifest is none that a policy accepts.
        vmpl: report.vmpl.try_into().unwrap_or(u8::MAX),
        signing_key: match report.signing_key() {
            crate::report::SigningKey::Vlek => SigningKey::Vlek,
            _ => SigningKey::Vcek,
        },
        allowed_chip_ids: match named(&report.chip_id) {
            true => vec![ChipId::from_bytes(report.chip_id)],
            false => Vec::new(),
        },
        id_key_digests: match named(&report.id_key_digest) {
            true => signer(report.id_key_digest),
            false => Vec::new(),
        },
        author_key_digests: match report.author_key_en() {
            true => signer(report.author_key_digest),
            false => Vec::new(),
        },
        ..values
    }
}

/// Why reference values are none to verify with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A value that still has to be filled in.
    #[error("{field} is not filled in")]
    Missing {
        /// Below `ReferenceValues.snp[]`.
        field: &'static str,
    },
    /// A value for a part this product does not have.
    #[error("{field} is not for this product")]
    NotForProduct {
        /// Below `ReferenceValues.snp[]`.
        field: &'static str,
    },
    /// Something that is never accepted.
    #[error("{field}: true is never accepted")]
    NeverAllowed {
        /// Below `ReferenceValues.snp[]`.
        field: &'static str,
    },
    /// A product this build does not know.
    #[error("the product is not known")]
    Product,
}

fn product(name: manifest::Product) -> Result<Product, ReferenceError> {
    Product::parse(name.as_str()).ok_or(ReferenceError::Product)
}

fn tcb(product: Product, values: manifest::Tcb) -> Result<Tcb, ReferenceError> {
    let part = |value: Option<u8>, part: Component| {
        value.ok_or(ReferenceError::Missing {
            field: part.manifest_field(),
        })
    };
    let fmc = match (product, values.fmc) {
        (Product::Turin, fmc) => Some(part(fmc, Component::Fmc)?),
        (_, None) => None,
        (_, Some(_)) => {
            return Err(ReferenceError::NotForProduct {
                field: Component::Fmc.manifest_field(),
            });
        }
    };
    Ok(Tcb {
        fmc,
        bootloader: part(values.bootloader, Component::Bootloader)?,
        tee: part(values.tee, Component::Tee)?,
        snp: part(values.snp, Component::Snp)?,
        microcode: part(values.microcode, Component::Microcode)?,
    })
}

fn platform_info(values: &SnpReference) -> PlatformInfoRules {
    let info = &values.platform_info;
    let mut rules = PlatformInfoRules {
        reject_unknown: values.strict_platform_info,
        ..Default::default()
    };
    for (bit, rule) in [
        (0, info.smt_enabled),
        (1, info.tsme_enabled),
        (2, info.ecc_enabled),
        (3, info.rapl_disabled),
        (4, info.ciphertext_hiding_dram_enabled),
        (5, info.alias_check_complete),
        (7, info.tio_enabled),
    ] {
        match rule {
            Some(true) => rules.must_set |= 1 << bit,
            Some(false) => rules.must_clear |= 1 << bit,
            None => {}
        }
    }
    rules
}

/// For bits that open something: `false` refuses them.
fn refuse_unless(allowed: bool) -> Bit {
    if allowed { Bit::Any } else { Bit::Clear }
}

/// For bits that close something: `true` demands them.
fn demand_if(wanted: bool) -> Bit {
    if wanted { Bit::Set } else { Bit::Any }
}

/// A list as a set; an empty one asks for nothing.
fn set<T, U: Ord>(list: &[T], bytes: impl Fn(&T) -> U) -> Option<BTreeSet<U>> {
    (!list.is_empty()).then(|| list.iter().map(bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(product: manifest::Product) -> SnpReference {
        let mut values = SnpReference::new("metal-qemu-snp", product, 1);
        values.trusted_measurement = Some(LaunchMeasurement::from_bytes([7; 48]));
        values.minimum_tcb = manifest::Tcb {
            fmc: (product == manifest::Product::Turin).then_some(1),
            bootloader: Some(4),
            tee: Some(0),
            snp: Some(27),
            microcode: Some(219),
        };
        values
    }

    #[test]
    fn values_become_a_policy() {
        let mut values = values(manifest::Product::Turin);
        values.guest_policy.smt = false;
        values.guest_policy.page_swap_disable = true;
        values.platform_info.alias_check_complete = Some(true);
        values.platform_info.smt_enabled = Some(false);
        values.signing_key = SigningKey::Vlek;
        let policy = Policy::try_from(&values).unwrap();
        assert_eq!(policy.product, Product::Turin);
        assert_eq!(policy.measurements, Some([[7; 48]].into()));
        assert_eq!(policy.minimum_tcb.product.unwrap().fmc, Some(1));
        assert_eq!(policy.guest_policy.smt, Bit::Clear);
        assert_eq!(policy.guest_policy.cxl, Bit::Clear);
        assert_eq!(policy.guest_policy.page_swap_disabled, Bit::Set);
        assert_eq!(policy.guest_policy.aes_256_xts, Bit::Any);
        assert_eq!(
            (
                policy.platform_info.must_set,
                policy.platform_info.must_clear
            ),
            (0x20, 1)
        );
        assert_eq!((policy.allow_vcek, policy.allow_vlek), (false, true));
        assert_eq!((policy.chips, policy.id_key_digests), (None, None));
        assert_eq!(policy.crl, CrlMode::Require);
    }

    #[test]
    fn what_is_not_filled_in_is_an_error() {
        let error = |change: fn(&mut SnpReference), product| {
            let mut values = values(product);
            change(&mut values);
            Policy::try_from(&values).unwrap_err().to_string()
        };
        let milan = manifest::Product::Milan;
        assert_eq!(
            error(|values| values.trusted_measurement = None, milan),
            "TrustedMeasurement is not filled in"
        );
        assert_eq!(
            error(|values| values.minimum_tcb.snp = None, milan),
            "SNPVersion is not filled in"
        );
        assert_eq!(
            error(
                |values| values.minimum_tcb.fmc = None,
                manifest::Product::Turin
            ),
            "FMCVersion is not filled in"
        );
        assert_eq!(
            error(|values| values.minimum_tcb.fmc = Some(0), milan),
            "FMCVersion is not for this product"
        );
        assert_eq!(
            error(|values| values.guest_policy.debug = true, milan),
            "GuestPolicy.Debug: true is never accepted"
        );
        assert_eq!(
            error(|values| values.guest_policy.migrate_ma = true, milan),
            "GuestPolicy.MigrateMA: true is never accepted"
        );
    }
}
