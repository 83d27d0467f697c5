//! `<entry>=<peer>[,<peer>…][,<entry>=<peer>…]`: who may call, and who must answer.

use std::collections::BTreeMap;
use std::fmt;

use crate::{GrammarError, GrammarReason, Ingress, IngressTls, Part};

/// What stands for every port that has no rule of its own, and for every member of the mesh.
const ALL_PORTS: &str = "*";

/// Who is on the other side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A SPIFFE URI, compared literally.
    Uri(String),
    /// A policy hash: 64 lower-case hex digits. For peers outside the rendered set.
    Hash(String),
    /// `<namespace>/<Kind>/<name>`, written as a URI of the trust domain when it is injected.
    Identity(String),
}

impl Peer {
    fn parse(part: Part<'_>) -> Result<Self, GrammarError> {
        let text = part.text;
        let owned = text.to_owned();
        let word = |word: &str| {
            !word.is_empty()
                && word != "."
                && word != ".."
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        if let Some(path) = text.strip_prefix("spiffe://")
            && path.contains('/')
            && path.split('/').all(word)
        {
            return Ok(Self::Uri(owned));
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self::Hash(owned));
        }
        if text.split('/').count() == 3 && text.split('/').all(word) {
            return Ok(Self::Identity(owned));
        }
        part.fail(GrammarReason::Peer { text: owned })
    }

    /// What the mesh compares with.
    pub fn resolve(&self, trust_domain: &str) -> String {
        match self {
            Self::Uri(text) | Self::Hash(text) => text.clone(),
            Self::Identity(identity) => format!("spiffe://{trust_domain}/ns/{identity}"),
        }
    }
}

/// What holds for one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRule {
    /// Name of an egress entry, or a port or `*` for ingress.
    pub entry: String,
    /// The peers; empty = any member of the mesh (`*`).
    pub peers: Vec<Peer>,
    position: usize,
}

/// The rules of one annotation, in order, one per entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerRules {
    /// The rules.
    pub rules: Vec<PeerRule>,
}

impl PeerRules {
    /// Reads `servicemesh-egress-peer`; entries must be among the names.
    pub fn parse_egress<'a>(
        text: &str,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Self, GrammarError> {
        let rules = Self::parse(text)?;
        for rule in &rules.rules {
            if !names.clone().any(|name| name == rule.entry) {
                return rule.fail("egress entry");
            }
        }
        Ok(rules)
    }

    /// Reads `servicemesh-ingress-allow`; entries are ports that ask for a client certificate, or
    /// `*` for all others.
    pub fn parse_ingress(text: &str, ingress: &Ingress) -> Result<Self, GrammarError> {
        let rules = Self::parse(text)?;
        let mut open: BTreeMap<u16, bool> = BTreeMap::new();
        for rule in &rules.rules {
            if *ingress == Ingress::Disabled {
                return Err(GrammarError {
                    position: rule.position,
                    reason: GrammarReason::IngressDisabled,
                });
            }
            if rule.entry == ALL_PORTS {
                continue;
            }
            let listed = ingress
                .entries()
                .iter()
                .find(|entry| entry.name == rule.entry);
            let port = match (rule.entry.parse::<u16>(), listed) {
                (Ok(port), _) if port != 0 => port,
                (_, Some(entry)) => entry.port,
                _ => return rule.fail("port (write a port from 1 to 65535, or *)"),
            };
            if ingress.tls(port) != IngressTls::Mutual {
                return Err(GrammarError {
                    position: rule.position,
                    reason: GrammarReason::NoClientCertificate { port },
                });
            }
            // One port under two spellings.
            let any = rule.peers.is_empty();
            if *open.entry(port).or_insert(any) != any {
                return Err(GrammarError {
                    position: rule.position,
                    reason: GrammarReason::AnyAndNamed {
                        entry: rule.entry.clone(),
                    },
                });
            }
        }
        Ok(rules)
    }

    fn parse(text: &str) -> Result<Self, GrammarError> {
        let mut rules: Vec<PeerRule> = Vec::new();
        let mut any: Vec<bool> = Vec::new();
        let mut current: Option<usize> = None;
        for item in Part::new(text).split(",").map(Part::trimmed) {
            if item.text.is_empty() {
                continue;
            }
            let peer = match item.text.split_once('=') {
                Some((entry, peer)) => {
                    let known = rules.iter().position(|rule| rule.entry == entry);
                    if entry.is_empty() {
                        return item.fail(GrammarReason::PeerForm {
                            text: item.text.to_owned(),
                        });
                    }
                    current = Some(known.unwrap_or(rules.len()));
                    if known.is_none() {
                        rules.push(PeerRule {
                            entry: entry.to_owned(),
                            peers: Vec::new(),
                            position: item.position,
                        });
                        any.push(false);
                    }
                    Part {
                        text: peer,
                        position: item.position + entry.chars().count() + 1,
                    }
                }
                None => item,
            };
            let Some((rule, any)) =
                current.and_then(|at| Some((rules.get_mut(at)?, any.get_mut(at)?)))
            else {
                return item.fail(GrammarReason::PeerForm {
                    text: item.text.to_owned(),
                });
            };
            match peer.text {
                "*" => *any = true,
                _ => rule.peers.push(Peer::parse(peer)?),
            }
            if *any && !rule.peers.is_empty() {
                return peer.fail(GrammarReason::AnyAndNamed {
                    entry: rule.entry.clone(),
                });
            }
        }
        match rules.is_empty() {
            true => Part::new(text).fail(GrammarReason::Empty),
            false => Ok(Self { rules }),
        }
    }

    /// The rule for an entry.
    pub fn rule(&self, entry: &str) -> Option<&PeerRule> {
        self.rules.iter().find(|rule| rule.entry == entry)
    }
}

impl PeerRule {
    /// A rule made by the transformation itself.
    pub fn new(entry: impl Into<String>, peers: Vec<Peer>) -> Self {
        Self {
            entry: entry.into(),
            peers,
            position: 1,
        }
    }

    fn fail<T>(&self, wanted: &'static str) -> Result<T, GrammarError> {
        Err(GrammarError {
            position: self.position,
            reason: GrammarReason::UnknownEntry {
                entry: self.entry.clone(),
                wanted,
            },
        })
    }
}

/// The form of the mesh's variables: every peer with its entry. A rule for any member is left out where
/// it says what holds without it: everywhere but beside a rule with peers for all other ports.
#[derive(Debug)]
pub struct Resolved<'a> {
    /// The rules.
    pub rules: &'a PeerRules,
    /// Trust domain of identities written without one.
    pub trust_domain: &'a str,
}

impl fmt::Display for Resolved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others_closed = self
            .rules
            .rule(ALL_PORTS)
            .is_some_and(|others| !others.peers.is_empty());
        let mut separator = "";
        for rule in &self.rules.rules {
            let entry = &rule.entry;
            if rule.peers.is_empty() && others_closed {
                write!(f, "{separator}{entry}=*")?;
                separator = ",";
            }
            for peer in &rule.peers {
                write!(f, "{separator}{entry}={}", peer.resolve(self.trust_domain))?;
                separator = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(text: &str) -> Result<PeerRules, GrammarError> {
        PeerRules::parse_egress(text, ["backend", "db"].into_iter())
    }

    #[test]
    fn peers_belong_to_the_entry_before_them() {
        let rules = egress("backend=spiffe://a/ns/x/Pod/y, shop/Deployment/z,db=*").unwrap();
        let resolved = Resolved {
            rules: &rules,
            trust_domain: "nacre.local",
        };
        assert_eq!(
            resolved.to_string(),
            "backend=spiffe://a/ns/x/Pod/y,backend=spiffe://nacre.local/ns/shop/Deployment/z"
        );
        assert_eq!(rules.rule("db").unwrap().peers, []);
        // What is written out is read back to the same.
        let hash = "0".repeat(64);
        let again = egress(&format!("backend={hash},backend=spiffe://a/b")).unwrap();
        assert_eq!(again.rules[0].peers.len(), 2);
    }

    #[test]
    fn errors_name_the_character() {
        let position = |text: &str| egress(text).unwrap_err().position;
        assert_eq!(position(""), 1);
        assert_eq!(position("spiffe://a/b"), 1);
        assert_eq!(position("backend=x"), 9);
        assert_eq!(position("backend=spiffe://a/../b"), 9);
        assert_eq!(position("backend=*, a/B/c"), 12);
        assert_eq!(position("backend=*,other=*"), 11);
        assert_eq!(position("=a/B/c"), 1);
    }

    #[test]
    fn an_allow_list_needs_client_certificates() {
        let ingress = Ingress::parse("main#8001#false").unwrap();
        assert!(PeerRules::parse_ingress("*=a/B/c,9000=a/B/d", &ingress).is_ok());
        for entry in ["8001", "main"] {
            let error = PeerRules::parse_ingress(&format!("{entry}=a/B/c"), &ingress).unwrap_err();
            assert_eq!(
                error.reason,
                GrammarReason::NoClientCertificate { port: 8001 }
            );
        }
        let error = PeerRules::parse_ingress("x=a/B/c", &ingress).unwrap_err();
        assert!(matches!(error.reason, GrammarReason::UnknownEntry { .. }));
        for list in ["*=a/B/c", "9000=a/B/c", "*=*"] {
            let error = PeerRules::parse_ingress(list, &Ingress::Disabled).unwrap_err();
            assert_eq!(error.reason, GrammarReason::IngressDisabled, "{list}");
        }
    }

    #[test]
    fn an_open_port_stays_open_beside_a_list_for_the_others() {
        let written = |text: &str| {
            let rules = PeerRules::parse_ingress(text, &Ingress::default()).unwrap();
            let resolved = Resolved {
                rules: &rules,
                trust_domain: "nacre.local",
            };
            resolved.to_string()
        };
        let text = written("*=a/B/c,9000=*");
        assert_eq!(text, "*=spiffe://nacre.local/ns/a/B/c,9000=*");
        assert_eq!(written(&text), text);
        // Without a list for the others it says nothing.
        assert_eq!(written("8000=spiffe://a/b,9000=*"), "8000=spiffe://a/b");
        assert_eq!(written("*=*,9000=*"), "");
        // One port is either open or not.
        let error =
            PeerRules::parse_ingress("9000=*,+9000=a/B/c", &Ingress::default()).unwrap_err();
        assert!(matches!(error.reason, GrammarReason::AnyAndNamed { .. }));
        assert_eq!(error.position, 8);
    }
}
