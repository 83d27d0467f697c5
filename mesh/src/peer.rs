//! Which member of the mesh a peer is, and whether that one is wanted here.

use std::fmt;

use nacre_identity::{Leaf, POLICY_HASH_LEN, SpiffeId, parse_policy_hash, policy_hash_text};
use rustls::pki_types::CertificateDer;

/// A peer as a list names it, compared to the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// By the SPIFFE id that the Coordinator gave it.
    Id(SpiffeId),
    /// By the hash of its policy, for peers outside of the rendered set.
    Policy([u8; POLICY_HASH_LEN]),
}

impl Peer {
    /// Reads a SPIFFE id, or a policy hash as 64 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match parse_policy_hash(text) {
            Some(hash) => Some(Self::Policy(hash)),
            None => SpiffeId::parse(text).map(Self::Id),
        }
    }

    fn is(&self, who: &Who) -> bool {
        match self {
            Self::Id(id) => who.id.as_ref() == Some(id),
            Self::Policy(hash) => who.policy.as_ref() == Some(hash),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Policy(hash) => f.write_str(&policy_hash_text(hash)),
        }
    }
}

/// Who a verified leaf says the peer is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// Its one SPIFFE id; None where the leaf has none or more than one, because then nobody is meant.
    pub id: Option<SpiffeId>,
    /// The hash of its policy.
    pub policy: Option<[u8; POLICY_HASH_LEN]>,
}

impl Who {
    /// Reads a leaf whose chain has been verified.
    #[must_use]
    pub fn of(leaf: &CertificateDer<'_>) -> Self {
        Leaf::parse(leaf).map_or_else(
            |_| Self::default(),
            |leaf| Self {
                id: leaf.spiffe,
                policy: leaf.policy_hash,
            },
        )
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => id.fmt(f)?,
            None => f.write_str("a peer without SPIFFE id")?,
        }
        match &self.policy {
            Some(hash) => write!(f, " (policy {})", policy_hash_text(hash)),
            None => Ok(()),
        }
    }
}

/// Whether the peer may pass: everybody of the mesh where there is no list.
#[must_use]
pub fn admits(allowed: Option<&[Peer]>, who: &Who) -> bool {
    allowed.is_none_or(|list| list.iter().any(|peer| peer.is(who)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_ids_and_hashes() {
        let hash = "0a".repeat(32);
        let list = [
            Peer::parse("spiffe://nacre.local/ns/shop/Deployment/web").unwrap(),
            Peer::parse(&hash).unwrap(),
        ];
        assert_eq!(list[1].to_string(), hash);
        let id = |text: &str| Who {
            id: SpiffeId::parse(text),
            policy: None,
        };
        assert!(admits(
            Some(&list),
            &id("spiffe://nacre.local/ns/shop/Deployment/web")
        ));
        assert!(!admits(
            Some(&list),
            &id("spiffe://nacre.local/ns/shop/Deployment/we")
        ));
        assert!(!admits(Some(&list), &Who::default()));
        assert!(admits(None, &Who::default()));
        let policy = |byte: u8| Who {
            id: None,
            policy: Some([byte; 32]),
        };
        assert!(admits(Some(&list), &policy(0x0a)));
        assert!(!admits(Some(&list), &policy(0x0b)));
    }

    #[test]
    fn what_is_neither_is_no_peer() {
        for text in ["", "web", "0A", &"0A".repeat(32), "spiffe://nacre.local"] {
            assert_eq!(Peer::parse(text), None, "{text}");
        }
    }
}
