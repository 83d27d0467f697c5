//! `name#port#disableTLS##…`.

use crate::{GrammarError, GrammarReason, entries};
use crate::{INGRESS_DISABLED, MESH_PORT_MUTUAL, MESH_PORT_SERVER};

/// What happens to inbound TCP.
///
/// ```
/// use nacre_meshconfig::{Ingress, IngressTls};
///
/// let ingress = Ingress::parse("main#8001#false##metrics#8080#true")?;
/// assert_eq!(ingress.tls(8001), IngressTls::Server);
/// assert_eq!(ingress.tls(8080), IngressTls::Plain);
/// assert_eq!(ingress.tls(9000), IngressTls::Mutual);
/// # Ok::<(), nacre_meshconfig::GrammarError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// `DISABLED`: no port is touched.
    Disabled,
    /// Every port asks for a client certificate but for these.
    Enabled(Vec<IngressEntry>),
}

/// One port that is not protected by mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressEntry {
    /// For people.
    pub name: String,
    /// The port.
    pub port: u16,
    /// `true` = plain text, `false` = TLS without client authentication.
    pub disable_tls: bool,
}

/// How a port is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngressTls {
    /// A client certificate of the mesh is asked for.
    Mutual,
    /// TLS without client authentication.
    Server,
    /// Plain text.
    Plain,
}

impl Default for Ingress {
    /// What a workload with egress only gets: every port asks for a client certificate.
    fn default() -> Self {
        Self::Enabled(Vec::new())
    }
}

impl Ingress {
    /// Reads the annotation.
    pub fn parse(text: &str) -> Result<Self, GrammarError> {
        if text == INGRESS_DISABLED {
            return Ok(Self::Disabled);
        }
        let mut found: Vec<IngressEntry> = Vec::new();
        for entry in entries(text) {
            let [name, port_part, disable_tls] = entry.three("name#port#disableTLS")?;
            let name = name.name()?.to_owned();
            let port = port_part.port()?;
            if [MESH_PORT_MUTUAL, MESH_PORT_SERVER].contains(&port) {
                return port_part.fail(GrammarReason::ReservedPort { port });
            }
            if found.iter().any(|other| other.port == port) {
                return port_part.fail(GrammarReason::DuplicatePort { port });
            }
            let disable_tls = disable_tls.bool()?;
            found.push(IngressEntry {
                name,
                port,
                disable_tls,
            });
        }
        Ok(Self::Enabled(found))
    }

    /// The listed ports.
    pub fn entries(&self) -> &[IngressEntry] {
        match self {
            Self::Disabled => &[],
            Self::Enabled(entries) => entries,
        }
    }

    /// How a port is protected.
    pub fn tls(&self, port: u16) -> IngressTls {
        match self {
            Self::Disabled => IngressTls::Plain,
            Self::Enabled(entries) => match entries.iter().find(|entry| entry.port == port) {
                None => IngressTls::Mutual,
                Some(entry) if entry.disable_tls => IngressTls::Plain,
                Some(_) => IngressTls::Server,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> (usize, GrammarReason) {
        let error = Ingress::parse(text).unwrap_err();
        (error.position, error.reason)
    }

    #[test]
    fn empty_means_mutual_tls_everywhere() {
        assert_eq!(Ingress::parse(""), Ok(Ingress::default()));
        assert_eq!(Ingress::parse("##"), Ok(Ingress::default()));
        assert_eq!(Ingress::default().tls(80), IngressTls::Mutual);
    }

    #[test]
    fn disabled_is_a_word_of_its_own() {
        assert_eq!(Ingress::parse("DISABLED"), Ok(Ingress::Disabled));
        assert_eq!(Ingress::Disabled.tls(80), IngressTls::Plain);
        assert!(Ingress::parse("disabled").is_err());
    }

    #[test]
    fn every_spelling_of_a_boolean() {
        for (word, plain) in [
            ("1", true),
            ("T", true),
            ("True", true),
            ("f", false),
            ("FALSE", false),
        ] {
            let ingress = Ingress::parse(&format!("a#80#{word}")).unwrap();
            assert_eq!(ingress.entries()[0].disable_tls, plain);
        }
        assert_eq!(
            reason("a#80#yes"),
            (
                6,
                GrammarReason::Bool {
                    word: "yes".to_owned()
                }
            )
        );
        assert_eq!(reason("a#80#tRUE").0, 6);
    }

    #[test]
    fn errors_name_the_character() {
        assert_eq!(
            reason("a#1#true##b#65537#true"),
            (
                13,
                GrammarReason::Port {
                    port: "65537".to_owned()
                }
            )
        );
        assert_eq!(reason("a#0#true").0, 3);
        assert_eq!(reason("a#+1#true").0, 3);
        assert_eq!(
            reason("a#1#true##b#1#false"),
            (13, GrammarReason::DuplicatePort { port: 1 })
        );
        assert_eq!(
            reason("a#15006#true"),
            (3, GrammarReason::ReservedPort { port: 15006 })
        );
        let (position, parts) = reason("a#1#true##b#2");
        assert_eq!(position, 11);
        assert!(matches!(parts, GrammarReason::Parts { found: 2, .. }));
        assert!(matches!(
            reason("a#1#true#x").1,
            GrammarReason::Parts { found: 4, .. }
        ));
        assert_eq!(reason("é#1#true").0, 1);
        assert_eq!(
            reason("#1#true"),
            (
                1,
                GrammarReason::Name {
                    name: String::new()
                }
            )
        );
    }
}
