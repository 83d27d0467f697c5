//! Which member of the mesh a peer is, and whether that one is wanted here.

use std::fmt;

use rustls::pki_types::CertificateDer;

/// A SPIFFE id, `spiffe://<trust domain>/<path>`, compared to the letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Longest id, in bytes (SPIFFE-ID standard, section 2.3).
    const LONGEST: usize = 2048;

    /// Reads an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("spiffe://")?;
        let (domain, path) = rest.split_once('/')?;
        let plain = |allowed: &str, text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || allowed.contains(c))
        };
        let fits = text.len() <= Self::LONGEST
            && plain(".-_", domain)
            && !domain.chars().any(|c| c.is_ascii_uppercase())
            && path
                .split('/')
                .all(|segment| plain(".-_", segment) && segment != "." && segment != "..");
        fits.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a verified leaf says the peer is: its one SPIFFE id.
///
/// None where the leaf has no id or more than one, because then nobody is meant.
#[must_use]
pub fn identity(leaf: &CertificateDer<'_>) -> Option<SpiffeId> {
    let parsed = webpki::EndEntityCert::try_from(leaf).ok()?;
    let mut ids = parsed
        .valid_uri_names()
        .filter(|uri| uri.starts_with("spiffe://"));
    let id = SpiffeId::parse(ids.next()?)?;
    ids.next().is_none().then_some(id)
}

/// Why a peer with a valid certificate is not wanted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unwanted {
    /// A list is in force and the peer has no id to be on it.
    #[error("the peer has no SPIFFE id")]
    Anonymous,
    /// The peer's id is not on the list.
    #[error("{0} is not allowed")]
    NotListed(SpiffeId),
}

/// Whether the peer may pass: everybody of the mesh where there is no list.
///
/// # Errors
/// [`Unwanted`] with who it was.
pub fn admit(
    allowed: Option<&[SpiffeId]>,
    leaf: &CertificateDer<'_>,
) -> Result<Option<SpiffeId>, Unwanted> {
    match (allowed, identity(leaf)) {
        (None, id) => Ok(id),
        (Some(_), None) => Err(Unwanted::Anonymous),
        (Some(list), Some(id)) if list.contains(&id) => Ok(Some(id)),
        (Some(_), Some(id)) => Err(Unwanted::NotListed(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_strict() {
        assert!(SpiffeId::parse("spiffe://nacre.local/ns/shop/deployment/web").is_some());
        for wrong in [
            "",
            "spiffe://",
            "spiffe://nacre.local",
            "spiffe://nacre.local/",
            "spiffe:///ns/shop",
            "spiffe://Nacre.local/ns",
            "spiffe://nacre.local/ns//web",
            "spiffe://nacre.local/ns/../web",
            "spiffe://nacre.local/ns/we b",
            "spiffe://user@nacre.local/ns",
            "spiffe://nacre.local:1/ns",
            "https://nacre.local/ns/shop",
        ] {
            assert_eq!(SpiffeId::parse(wrong), None, "{wrong}");
        }
    }
}
