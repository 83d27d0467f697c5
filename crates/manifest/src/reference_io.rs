//! Reference values on their own, as they travel in the environment of the initializer.

use serde_json::Value;

use crate::error::Error;
use crate::read;
use crate::reference::ReferenceValues;

impl ReferenceValues {
    /// Reads reference values from a value as it stands in a manifest, under the same rules.
    pub fn from_value(value: Value) -> Result<Self, Error> {
        read::fields(value)
    }

    /// Reads what [`ReferenceValues::to_compact`] writes.
    pub fn parse(text: &str) -> Result<Self, Error> {
        read::fields(read::json(text.as_bytes())?)
    }

    /// Canonical JSON on one line: keys and sets sorted. Equal values have equal texts.
    pub fn to_compact(&self) -> String {
        let mut sorted = self.clone();
        sorted.sort();
        let mut value = serde_json::to_value(&sorted).unwrap_or_default();
        value.sort_all_objects();
        value.to_string()
    }

    /// Brings sets, and lists without an order of their own, into one order.
    pub(crate) fn sort(&mut self) {
        for set in &mut self.snp {
            set.allowed_chip_ids.sort_unstable();
            set.allowed_chip_ids.dedup();
            set.id_key_digests.sort_unstable();
            set.author_key_digests.sort_unstable();
            set.minimum_tcb_by_model.sort_by_key(|model| model.cpuid);
        }
        self.snp.sort_by(|a, b| {
            (a.key(), a.trusted_measurement).cmp(&(b.key(), b.trusted_measurement))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Product, SnpReference};

    #[test]
    fn the_compact_form_does_not_depend_on_order() {
        let one = SnpReference::new("a", Product::Milan, 1);
        let two = SnpReference::new("a", Product::Genoa, 1);
        let forth = ReferenceValues {
            snp: vec![one.clone(), two.clone()],
        };
        let back = ReferenceValues {
            snp: vec![two, one],
        };
        assert_eq!(forth.to_compact(), back.to_compact());
        assert!(!forth.to_compact().contains('\n'));
        assert_eq!(ReferenceValues::parse(&forth.to_compact()), Ok(forth));
    }
}
