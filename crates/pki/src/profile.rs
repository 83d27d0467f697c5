//! What a workload's certificate says.

use std::net::IpAddr;

use nacre_manifest::{PolicyEntry, PolicyHash, TrustDomain, is_san};
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{DistinguishedName, DnType, DnValue, SanType};

/// Longest common name, in characters (RFC 5280, `ub-common-name`).
const LONGEST_COMMON_NAME: usize = 64;
/// `serialNumber` of a subject, 2.5.4.5 (X.520).
const SERIAL_NUMBER: &[u64] = &[2, 5, 4, 5];

/// Subject and names of a leaf, from the manifest and nothing else.
///
/// Subject: common name = the first DNS name, else the object's name; `serialNumber` (2.5.4.5) = the
/// policy hash in hex. The hash is no extension, because Go's `crypto/x509` refuses certificates with an
/// extension below `2.25.<128 bits>`. Names: those of the entry in their order, then the pod's address if
/// the entry asks for it, then the one SPIFFE URI of the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafProfile {
    pub(crate) subject: DistinguishedName,
    pub(crate) names: Vec<SanType>,
}

impl LeafProfile {
    /// The profile of one entry. `pod_ip` is what the host reports; it counts only if the entry says so.
    pub fn new(
        policy: PolicyHash,
        entry: &PolicyEntry,
        domain: &TrustDomain,
        pod_ip: Option<IpAddr>,
    ) -> Result<Self, ProfileError> {
        let mut names = Vec::new();
        let mut first_dns = None;
        for san in &entry.sans {
            let name = name(san)?;
            if matches!(name, SanType::DnsName(_)) {
                first_dns.get_or_insert(san.as_str());
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if let Some(address) = pod_ip.filter(|_| entry.pod_ip) {
            let name = SanType::IpAddress(address);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if let Some(identity) = &entry.identity {
            let uri = identity.spiffe_uri(domain);
            identity.check().map_err(|_| invalid(&uri))?;
            names.push(SanType::URI(ia5(&uri)?));
        }

        let object = entry
            .identity
            .as_ref()
            .map(|identity| identity.name.as_str());
        let fits = |text: &&str| text.chars().count() <= LONGEST_COMMON_NAME;
        let mut subject = DistinguishedName::new();
        if let Some(text) = first_dns.filter(fits).or(object.filter(fits)) {
            subject.push(DnType::CommonName, text);
        }
        let text = PrintableString::try_from(policy.to_string());
        let text = text.map_err(|_| invalid("policy hash"))?;
        subject.push(
            DnType::CustomDnType(SERIAL_NUMBER.to_vec()),
            DnValue::PrintableString(text),
        );
        Ok(Self { subject, names })
    }
}

/// An address, a URI where a scheme stands, else a DNS name.
fn name(san: &str) -> Result<SanType, ProfileError> {
    if !is_san(san) {
        return Err(invalid(san));
    }
    if let Ok(address) = san.parse() {
        return Ok(SanType::IpAddress(address));
    }
    match san.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("spiffe") => Err(ProfileError::Spiffe {
            name: san.to_owned(),
        }),
        Some(_) => Ok(SanType::URI(ia5(san)?)),
        None => Ok(SanType::DnsName(ia5(san)?)),
    }
}

fn ia5(text: &str) -> Result<Ia5String, ProfileError> {
    Ia5String::try_from(text).map_err(|_| invalid(text))
}

fn invalid(name: &str) -> ProfileError {
    ProfileError::Invalid {
        name: name.to_owned(),
    }
}

/// Why an entry of the manifest gives no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Not an address, a URI or a DNS name.
    #[error("a certificate cannot hold the name {name:?}")]
    Invalid {
        /// The name.
        name: String,
    },
    /// A SPIFFE URI that is not the one minted from the identity.
    #[error("{name:?}: the SPIFFE URI of a workload comes from its identity and from nowhere else")]
    Spiffe {
        /// The name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use nacre_manifest::Identity;

    use super::*;

    fn entry(sans: &[&str]) -> PolicyEntry {
        let sans = sans.iter().map(|san| (*san).to_owned()).collect();
        PolicyEntry::new(Identity::new("shop", "Deployment", "web"), sans)
    }

    fn profile(entry: &PolicyEntry) -> Result<LeafProfile, ProfileError> {
        let address = Some([10, 0, 0, 9].into());
        LeafProfile::new(
            PolicyHash::of(b"p"),
            entry,
            &TrustDomain::default(),
            address,
        )
    }

    fn common_name(entry: &PolicyEntry) -> Option<String> {
        match profile(entry).unwrap().subject.get(&DnType::CommonName) {
            Some(DnValue::Utf8String(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn names_keep_their_order_and_the_identity_comes_last() {
        let entry = entry(&["https://a.example/x", "192.0.2.1", "web", "::1", "*", "web"]);
        assert_eq!(
            profile(&entry).unwrap().names,
            [
                uri("https://a.example/x"),
                SanType::IpAddress([192, 0, 2, 1].into()),
                SanType::DnsName("web".try_into().unwrap()),
                SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()),
                SanType::DnsName("*".try_into().unwrap()),
                uri("spiffe://nacre.local/ns/shop/Deployment/web"),
            ]
        );
        assert_eq!(common_name(&entry).as_deref(), Some("web"));
    }

    #[test]
    fn entries_with_only_addresses_uris_or_nothing_work() {
        for sans in [&["192.0.2.1"][..], &["https://a.example"], &[]] {
            let entry = entry(sans);
            assert_eq!(profile(&entry).unwrap().names.len(), sans.len() + 1);
            assert_eq!(common_name(&entry).as_deref(), Some("web"));
        }
        let bare = PolicyEntry::default();
        assert_eq!(profile(&bare).unwrap().names, []);
        assert_eq!(common_name(&bare), None);
    }

    #[test]
    fn the_pods_address_counts_only_where_the_entry_says_so() {
        let mut entry = entry(&["web"]);
        assert_eq!(profile(&entry).unwrap().names.len(), 2);
        entry.pod_ip = true;
        let names = profile(&entry).unwrap().names;
        assert_eq!(names[1], SanType::IpAddress([10, 0, 0, 9].into()));
    }

    #[test]
    fn nobody_asks_for_anothers_identity() {
        for san in [
            "spiffe://nacre.local/ns/shop/Deployment/db",
            "SPIFFE://other/x",
        ] {
            let error = profile(&entry(&[san])).unwrap_err();
            assert_eq!(
                error,
                ProfileError::Spiffe {
                    name: san.to_owned()
                }
            );
        }
        for san in ["", "a b", "umläut.example", "a\0b"] {
            let error = profile(&entry(&[san])).unwrap_err();
            assert_eq!(
                error,
                ProfileError::Invalid {
                    name: san.to_owned()
                }
            );
        }
        let mut odd = entry(&[]);
        odd.identity = Some(Identity::new("shop", "Deployment", "../db"));
        assert!(matches!(profile(&odd), Err(ProfileError::Invalid { .. })));
    }

    #[test]
    fn long_names_are_no_common_names() {
        let long = format!("{}.example", "a".repeat(60));
        assert_eq!(common_name(&entry(&[&long])).as_deref(), Some("web"));
        let mut both = entry(&[&long]);
        both.identity = Some(Identity::new("shop", "Deployment", long));
        assert_eq!(common_name(&both), None);
    }
}
