//! Reference values of a platform.

use std::collections::BTreeSet;

use nacre_manifest::{Product, ReferenceOverride, ReportDataForm, SnpReference};

use crate::types::{EvidenceSource, Platform};

impl Platform {
    /// The reference values that workloads with these numbers of vCPUs need: one set for each product
    /// and number.
    ///
    /// Where `given` has values for this platform, only the products named there are listed, and the
    /// values replace the platform's own. What neither knows stays empty in the set.
    pub fn reference_values(
        &self,
        vcpus: &BTreeSet<u32>,
        given: &[ReferenceOverride],
    ) -> Vec<SnpReference> {
        let given: Vec<&ReferenceOverride> = given
            .iter()
            .filter(|values| values.is_for_platform(&self.name))
            .collect();
        let named: BTreeSet<Product> = given.iter().filter_map(|values| values.product).collect();
        let products: BTreeSet<Product> = match named.is_empty() {
            true => self.data.products.iter().copied().collect(),
            false => named,
        };
        let mut sets = Vec::new();
        for product in products {
            for cpus in vcpus {
                let mut set = self.default_set(product, *cpus);
                for values in &given {
                    values.apply(&mut set);
                }
                sets.push(set);
            }
        }
        sets
    }

    /// What is known of a guest of this platform before anything was measured.
    pub fn default_set(&self, product: Product, cpus: u32) -> SnpReference {
        let known = self
            .data
            .measurements
            .iter()
            .find(|known| known.product == product && known.vcpus == cpus);
        SnpReference {
            trusted_measurement: known.map(|known| known.measurement),
            host_data_binding: self.data.host_data_binding,
            report_data_form: match self.data.evidence.source {
                EvidenceSource::Configfs | EvidenceSource::SevGuest => ReportDataForm::Exact,
                EvidenceSource::CocoAa => ReportDataForm::Text,
            },
            minimum_tcb: self
                .data
                .minimum_tcb
                .get(&product)
                .copied()
                .unwrap_or_default(),
            guest_policy: self.data.guest_policy,
            ..SnpReference::new(&self.name, product, cpus)
        }
    }
}

#[cfg(test)]
mod tests {
    use nacre_manifest::{HostDataBinding, LaunchMeasurement, Tcb};

    use super::*;
    use crate::find;

    #[test]
    fn one_set_for_each_product_and_size() {
        let platform = find("metal-qemu-snp").unwrap();
        let sets = platform.reference_values(&BTreeSet::from([1, 3]), &[]);
        let keys: Vec<_> = sets.iter().map(SnpReference::key).collect();
        assert_eq!(keys.len(), 6);
        assert_eq!(keys[1], ("metal-qemu-snp", Product::Milan, 3));
        assert!(sets.iter().all(|set| set.trusted_measurement.is_none()));
        assert!(sets.iter().all(|set| set.minimum_tcb == Tcb::default()));
    }

    #[test]
    fn defaults_are_those_of_the_data_file() {
        let sets = find("aks-clh-snp")
            .unwrap()
            .reference_values(&BTreeSet::from([1]), &[]);
        assert_eq!(sets.len(), 1);
        assert_eq!(sets[0].minimum_tcb.microcode, Some(115));
        assert_eq!(sets[0].host_data_binding, HostDataBinding::Enforced);
        let stock = find("kata-qemu-snp")
            .unwrap()
            .reference_values(&BTreeSet::from([1]), &[]);
        assert!(
            stock
                .iter()
                .all(|set| set.host_data_binding == HostDataBinding::None)
        );
        // Its agent takes text only.
        assert!(
            stock
                .iter()
                .all(|set| set.report_data_form == ReportDataForm::Text)
        );
    }

    #[test]
    fn given_values_replace_defaults_for_their_platform_and_size_only() {
        let measurement = LaunchMeasurement::from_bytes([7; 48]);
        let given = [
            ReferenceOverride {
                product: Some(Product::Genoa),
                minimum_tcb: Some(Tcb {
                    snp: Some(27),
                    ..Tcb::default()
                }),
                ..ReferenceOverride::default()
            },
            ReferenceOverride {
                product: Some(Product::Genoa),
                cpus: Some(2),
                trusted_measurement: Some(measurement),
                ..ReferenceOverride::default()
            },
            ReferenceOverride {
                platform: Some("aks-clh-snp".to_owned()),
                host_data_binding: Some(HostDataBinding::None),
                ..ReferenceOverride::default()
            },
        ];
        let platform = find("metal-qemu-snp").unwrap();
        let sets = platform.reference_values(&BTreeSet::from([1, 2]), &given);
        let summary: Vec<_> = sets
            .iter()
            .map(|set| (set.cpus, set.trusted_measurement))
            .collect();
        assert_eq!(summary, [(1, None), (2, Some(measurement))]);
        assert!(sets.iter().all(|set| set.minimum_tcb.snp == Some(27)));
        assert!(
            sets.iter()
                .all(|set| set.host_data_binding == HostDataBinding::Enforced)
        );
    }
}
