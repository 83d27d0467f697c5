//! SPIFFE ids.

use std::fmt;

/// A SPIFFE id, `spiffe://<trust domain>/<path>`, compared to the letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Longest id, in bytes (SPIFFE-ID standard, section 2.3).
    pub const LONGEST: usize = 2048;

    /// Reads an id; None where it is not one in its only form (SPIFFE-ID standard, section 2): lower-case
    /// trust domain, letters, digits, `.`, `-` and `_` in the segments of a path that is not empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("spiffe://")?;
        let (domain, path) = rest.split_once('/')?;
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        let fits = text.len() <= Self::LONGEST
            && plain(domain)
            && !domain.bytes().any(|b| b.is_ascii_uppercase())
            && path
                .split('/')
                .all(|segment| plain(segment) && segment != "." && segment != "..");
        fits.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain, which ends before the path.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        let rest = self.0.strip_prefix("spiffe://").unwrap_or(&self.0);
        rest.split('/').next().unwrap_or(rest)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_strict() {
        let id = SpiffeId::parse("spiffe://nacre.local/ns/shop/deployment/web").unwrap();
        assert_eq!(id.trust_domain(), "nacre.local");
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
        let long = format!("spiffe://a/{}", "b".repeat(SpiffeId::LONGEST));
        assert_eq!(SpiffeId::parse(&long), None);
    }
}
