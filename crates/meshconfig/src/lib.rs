//! The grammar of the mesh annotations: what they mean, and exactly where they are wrong.
//!
//! The function reads the annotations with it and the mesh the variables made of them, so both mean
//! the same.
//!
//! ```
//! use nacre_meshconfig::{Ingress, IngressTls};
//!
//! let ingress = Ingress::parse("main#8001#false##metrics#8080#true")?;
//! assert_eq!(ingress.tls(9000), IngressTls::Mutual);
//! # Ok::<(), nacre_meshconfig::GrammarError>(())
//! ```

mod egress;
mod ingress;
mod peers;

pub use egress::{Egress, EgressEntry};
pub use ingress::{Ingress, IngressEntry, IngressTls};
pub use peers::{Peer, PeerRule, PeerRules, Resolved};

/// Value of the ingress annotation that switches ingress protection off.
pub const INGRESS_DISABLED: &str = "DISABLED";
/// Port of the mesh that asks for a client certificate; inbound TCP is redirected here by default.
pub const MESH_PORT_MUTUAL: u16 = 15006;
/// Port of the mesh that does not ask for a client certificate.
pub const MESH_PORT_SERVER: u16 = 15007;
/// Port of health and metrics, on 127.0.0.1 only, where no other is asked for.
pub const ADMIN_PORT_DEFAULT: u16 = 15090;

/// The egress entry whose listener the admin endpoint leaves no room for. A port that was asked for is
/// taken on all addresses, the default on 127.0.0.1 only.
///
/// ```
/// use nacre_meshconfig::{Egress, admin_conflict};
///
/// let egress = Egress::parse("backend#127.0.0.2:9901#backend:4001")?;
/// assert_eq!(admin_conflict(Some(9901), &egress).unwrap().name, "backend");
/// assert_eq!(admin_conflict(None, &egress), None);
/// # Ok::<(), nacre_meshconfig::GrammarError>(())
/// ```
pub fn admin_conflict(admin: Option<u16>, egress: &Egress) -> Option<&EgressEntry> {
    egress.entries.iter().find(|entry| match admin {
        Some(port) => entry.listen.port() == port,
        None => {
            let default =
                std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, ADMIN_PORT_DEFAULT);
            entry.listen == default
        }
    })
}

/// Why an annotation is not a mesh configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {reason}")]
pub struct GrammarError {
    /// First character of the part that is wrong, from 1.
    pub position: usize,
    /// What is wrong with it.
    pub reason: GrammarReason,
}

/// What is wrong with a part of a mesh annotation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrammarReason {
    /// Not three parts.
    #[error("entry {entry:?} has {found} parts separated by '#', expected {expected}")]
    Parts {
        /// The entry.
        entry: String,
        /// Parts found.
        found: usize,
        /// What the parts are.
        expected: &'static str,
    },
    /// An empty name, or one with characters that other parts of the grammar use.
    #[error("{name:?} is not a name: letters, digits, '.', '-' and '_'")]
    Name {
        /// As written.
        name: String,
    },
    /// A name that stands in another entry too.
    #[error("the name {name:?} is used twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Not a port.
    #[error("{port:?} is not a port from 1 to 65535")]
    Port {
        /// As written.
        port: String,
    },
    /// A port that stands in another entry too.
    #[error("port {port} is listed twice")]
    DuplicatePort {
        /// The port.
        port: u16,
    },
    /// A port that the mesh itself uses.
    #[error("port {port} belongs to the mesh itself")]
    ReservedPort {
        /// The port.
        port: u16,
    },
    /// Not a boolean.
    #[error("{word:?} is not true or false")]
    Bool {
        /// As written.
        word: String,
    },
    /// No `address:port`.
    #[error("{text:?} is not <address>:<port>")]
    Address {
        /// As written.
        text: String,
    },
    /// A listener that others could reach.
    #[error(
        "{address} is outside 127.0.0.0/8: the listener takes plain text and must stay on loopback"
    )]
    NotLoopback {
        /// As written.
        address: String,
    },
    /// Two listeners on one address.
    #[error("listener {listener} is used by entry {other:?} already")]
    DuplicateListener {
        /// The address and port.
        listener: std::net::SocketAddrV4,
        /// Name of the entry that has it.
        other: String,
    },
    /// No host name or address.
    #[error("{host:?} is not a host name or an IP address")]
    Host {
        /// As written.
        host: String,
    },
    /// No entries where some are needed.
    #[error("there is no entry")]
    Empty,
    /// A peer list without the entry it is for.
    #[error("{text:?} is not <entry>=<peer>")]
    PeerForm {
        /// As written.
        text: String,
    },
    /// Not a peer.
    #[error(
        "{text:?} is not a peer: spiffe://<trust domain>/…, <namespace>/<Kind>/<name>, or a policy hash"
    )]
    Peer {
        /// As written.
        text: String,
    },
    /// An entry that the other annotation does not have.
    #[error("there is no {wanted} {entry:?}")]
    UnknownEntry {
        /// As written.
        entry: String,
        /// What it should name.
        wanted: &'static str,
    },
    /// `*` beside named peers.
    #[error("'*' (any member of the mesh) and named peers exclude each other for {entry:?}")]
    AnyAndNamed {
        /// The entry.
        entry: String,
    },
    /// An allow-list where no port asks for anything.
    #[error("the ingress annotation is DISABLED, so nobody is asked who they are")]
    IngressDisabled,
    /// An allow-list for a port that asks for no client certificate.
    #[error(
        "port {port} asks for no client certificate, so nobody can be told apart: take it out of the ingress annotation"
    )]
    NoClientCertificate {
        /// The port.
        port: u16,
    },
}

/// A part of a text with the place of its first character, from 1.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Part<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, position: 1 }
    }

    fn fail<T>(self, reason: GrammarReason) -> Result<T, GrammarError> {
        Err(GrammarError {
            position: self.position,
            reason,
        })
    }

    /// The parts between separators.
    fn split(self, separator: &'static str) -> impl Iterator<Item = Part<'a>> {
        let mut position = self.position;
        self.text.split(separator).map(move |text| {
            let part = Part { text, position };
            position += text.chars().count() + separator.chars().count();
            part
        })
    }

    /// The same without spaces at its ends.
    fn trimmed(self) -> Self {
        let text = self.text.trim_start();
        let skipped = self.text.chars().count() - text.chars().count();
        Self {
            text: text.trim_end(),
            position: self.position + skipped,
        }
    }

    /// Left and right of the last separator.
    fn rsplit_once(self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        let (left, right) = self.text.rsplit_once(separator)?;
        let right = Part {
            text: right,
            position: self.position + left.chars().count() + 1,
        };
        let left = Part { text: left, ..self };
        Some((left, right))
    }

    /// Exactly three parts between single `#`.
    fn three(self, expected: &'static str) -> Result<[Part<'a>; 3], GrammarError> {
        let parts: Vec<_> = self.split("#").collect();
        let found = parts.len();
        <[Part<'a>; 3]>::try_from(parts).or_else(|_| {
            self.fail(GrammarReason::Parts {
                entry: self.text.to_owned(),
                found,
                expected,
            })
        })
    }

    fn name(self) -> Result<&'a str, GrammarError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if self.text.is_empty() || !self.text.chars().all(fits) {
            return self.fail(GrammarReason::Name {
                name: self.text.to_owned(),
            });
        }
        Ok(self.text)
    }

    fn port(self) -> Result<u16, GrammarError> {
        let digits = self.text.bytes().all(|b| b.is_ascii_digit());
        match self.text.parse() {
            Ok(port) if port != 0 && digits => Ok(port),
            _ => self.fail(GrammarReason::Port {
                port: self.text.to_owned(),
            }),
        }
    }

    /// The words of Go's `strconv.ParseBool`, which v0.8 uses.
    fn bool(self) -> Result<bool, GrammarError> {
        match self.text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => self.fail(GrammarReason::Bool {
                word: self.text.to_owned(),
            }),
        }
    }
}

/// The entries between `##`; empty ones are skipped, as v0.8 does.
fn entries(text: &str) -> impl Iterator<Item = Part<'_>> {
    Part::new(text)
        .split("##")
        .filter(|part| !part.text.is_empty())
}
