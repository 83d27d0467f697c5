//! The mesh CA before the current one, for as long as the Coordinator says.
//!
//! After a new manifest some pods still show leaves of the CA before. They are members if the new
//! manifest still has their policy. The initializer writes the old CA and the list of those policies
//! beside the certificates, as it got them from the attested Coordinator; whoever else could write
//! there could replace the mesh CA itself. When the files are gone, so is the overlap.

use std::collections::BTreeSet;
use std::path::Path;

use nacre_identity::{POLICY_HASH_LEN, parse_policy_hash};
use rustls::pki_types::TrustAnchor;
use serde_json::Value;

use crate::material::{self, anchors};

/// The mesh CA of the generation before, PEM.
pub(crate) const PREVIOUS_CA: &str = "mesh-ca-previous.pem";
/// `{"generation": n, "policies": ["<64 hex digits>", …]}`: of whom its leaves are still good, n being
/// the current generation.
pub(crate) const PREVIOUS_ALLOWED: &str = "mesh-previous-allowed.json";

/// Bytes of the two files; both or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files(Option<(Vec<u8>, Vec<u8>)>);

/// A predecessor and those of its leaves that still count.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
    pub(crate) policies: BTreeSet<[u8; POLICY_HASH_LEN]>,
}

impl Files {
    /// What is in the directory; one file without the other counts as none.
    pub(crate) fn read(directory: &Path) -> Self {
        let read = |name| material::read(&directory.join(name)).ok();
        Self(read(PREVIOUS_CA).zip(read(PREVIOUS_ALLOWED)))
    }

    /// None where there is none, or where the files cannot be read: then nobody of the generation
    /// before is let in.
    pub(crate) fn predecessor(&self, directory: &Path) -> Option<Predecessor> {
        let (authority, allowed) = self.0.as_ref()?;
        let parsed = anchors(&directory.join(PREVIOUS_CA), authority)
            .map_err(|error| error.to_string())
            .and_then(|anchors| {
                let policies = policies(allowed).ok_or_else(|| {
                    format!("{PREVIOUS_ALLOWED} is not {{\"generation\", \"policies\"}}")
                })?;
                Ok(Predecessor { anchors, policies })
            });
        parsed
            .inspect_err(
                |reason| tracing::warn!(%reason, "the CA before the current one is not used"),
            )
            .ok()
    }
}

/// Reads the list; anything unexpected makes the whole of it nothing.
fn policies(text: &[u8]) -> Option<BTreeSet<[u8; POLICY_HASH_LEN]>> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let map = value.as_object()?;
    if map.len() != 2 || map.get("generation")?.as_u64()? < 2 {
        return None;
    }
    map.get("policies")?
        .as_array()?
        .iter()
        .map(|policy| parse_policy_hash(policy.as_str()?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_strict() {
        let hash = "ab".repeat(32);
        let good = format!(r#"{{"generation": 2, "policies": ["{hash}"]}}"#);
        assert_eq!(policies(good.as_bytes()).unwrap().len(), 1);
        for wrong in [
            String::new(),
            "[]".to_owned(),
            good.replace("\"generation\": 2", "\"generation\": 1"),
            good.replace("\"generation\": 2", "\"generation\": \"2\""),
            good.replace('}', ", \"more\": 1}"),
            good.replace("ab", "AB"),
            good.replace("[", "[1,"),
        ] {
            assert_eq!(policies(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
