//! `name#127.x.y.z:port#host:port##…`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

use crate::{GrammarError, GrammarReason, Part, entries};
use crate::{MESH_PORT_MUTUAL, MESH_PORT_SERVER};

/// Loopback listeners and where they lead.
///
/// ```
/// use nacre_meshconfig::Egress;
///
/// let egress = Egress::parse("backend#127.0.0.2:4001#backend.default:4001")?;
/// assert_eq!(egress.entries[0].host, "backend.default");
/// let error = Egress::parse("backend#10.0.0.1:4001#backend:4001").unwrap_err();
/// assert_eq!(error.position, 9);
/// # Ok::<(), nacre_meshconfig::GrammarError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// In the order of the annotation.
    pub entries: Vec<EgressEntry>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressEntry {
    /// Unique among the entries.
    pub name: String,
    /// Where the app connects to; within 127.0.0.0/8.
    pub listen: SocketAddrV4,
    /// Name or address of the peer, IPv6 without brackets.
    pub host: String,
    /// Port of the peer.
    pub port: u16,
}

impl Egress {
    /// Reads the annotation; one without entries is an error.
    pub fn parse(text: &str) -> Result<Self, GrammarError> {
        let mut found: Vec<EgressEntry> = Vec::new();
        for entry in entries(text) {
            let [name_part, listen_part, remote] = entry.three("name#127.x.y.z:port#host:port")?;
            let name = name_part.name()?.to_owned();
            if found.iter().any(|other| other.name == name) {
                return name_part.fail(GrammarReason::DuplicateName { name });
            }
            let listen = listener(listen_part)?;
            if let Some(other) = found.iter().find(|other| other.listen == listen) {
                return listen_part.fail(GrammarReason::DuplicateListener {
                    listener: listen,
                    other: other.name.clone(),
                });
            }
            let (host, port) = remote_address(remote)?;
            found.push(EgressEntry {
                name,
                listen,
                host,
                port,
            });
        }
        match found.is_empty() {
            true => Part::new(text).fail(GrammarReason::Empty),
            false => Ok(Self { entries: found }),
        }
    }
}

fn listener(part: Part<'_>) -> Result<SocketAddrV4, GrammarError> {
    let Some((address, port_part)) = part.rsplit_once(':') else {
        return part.fail(GrammarReason::Address {
            text: part.text.to_owned(),
        });
    };
    let ip = match address.text.parse::<Ipv4Addr>() {
        Ok(ip) if ip.is_loopback() => ip,
        Ok(_) => {
            return address.fail(GrammarReason::NotLoopback {
                address: address.text.to_owned(),
            });
        }
        Err(_) => {
            let address_text = address.text.trim_matches(['[', ']']);
            let reason = match address_text.parse::<Ipv6Addr>() {
                Ok(_) => GrammarReason::NotLoopback {
                    address: address.text.to_owned(),
                },
                Err(_) => GrammarReason::Address {
                    text: part.text.to_owned(),
                },
            };
            return address.fail(reason);
        }
    };
    let port = port_part.port()?;
    if [MESH_PORT_MUTUAL, MESH_PORT_SERVER].contains(&port) {
        return port_part.fail(GrammarReason::ReservedPort { port });
    }
    Ok(SocketAddrV4::new(ip, port))
}

fn remote_address(part: Part<'_>) -> Result<(String, u16), GrammarError> {
    let Some((host, port)) = part.rsplit_once(':') else {
        return part.fail(GrammarReason::Address {
            text: part.text.to_owned(),
        });
    };
    let bracketed = host
        .text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let fits = match bracketed {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => !host.text.contains(':') && is_host(host.text),
    };
    if !fits {
        return host.fail(GrammarReason::Host {
            host: host.text.to_owned(),
        });
    }
    Ok((bracketed.unwrap_or(host.text).to_owned(), port.port()?))
}

/// An IP address or a DNS name (RFC 1123, with the underscore that resolvers take, one final dot).
fn is_host(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    // All digits and dots, and no address: a typo.
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return false;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> (usize, GrammarReason) {
        let error = Egress::parse(text).unwrap_err();
        (error.position, error.reason)
    }

    #[test]
    fn names_addresses_and_ipv6() {
        let egress = Egress::parse(
            "a#127.0.0.1:1#h_x.ns:2##b#127.255.0.1:1#192.0.2.1:3##c#127.0.0.1:2#[2001:db8::1]:4",
        )
        .unwrap();
        let hosts: Vec<_> = egress
            .entries
            .iter()
            .map(|e| (e.host.as_str(), e.port))
            .collect();
        assert_eq!(hosts, [("h_x.ns", 2), ("192.0.2.1", 3), ("2001:db8::1", 4)]);
    }

    #[test]
    fn a_listener_stays_on_loopback() {
        for address in ["10.0.0.1", "0.0.0.0", "[::1]", "::1", "128.0.0.1"] {
            let (position, reason) = reason(&format!("a#{address}:80#b:80"));
            assert_eq!(
                (
                    position,
                    matches!(reason, GrammarReason::NotLoopback { .. })
                ),
                (3, true),
                "{address}"
            );
        }
    }

    #[test]
    fn two_listeners_on_one_address() {
        let (position, reason) = reason("a#127.0.0.1:80#b:80##c#127.0.0.1:80#d:80");
        assert_eq!(position, 24);
        assert_eq!(
            reason,
            GrammarReason::DuplicateListener {
                listener: "127.0.0.1:80".parse().unwrap(),
                other: "a".to_owned()
            }
        );
    }

    #[test]
    fn errors_name_the_character() {
        assert_eq!(reason(""), (1, GrammarReason::Empty));
        assert_eq!(reason("a#127.0.0.1:80#b:80##a#127.0.0.1:81#b:80").0, 22);
        assert_eq!(
            reason("a#127.0.0.1#b:80"),
            (
                3,
                GrammarReason::Address {
                    text: "127.0.0.1".to_owned()
                }
            )
        );
        assert_eq!(reason("a#127.0.0.1:x#b:80").0, 13);
        assert_eq!(
            reason("a#127.0.0.1:15006#b:80").1,
            GrammarReason::ReservedPort { port: 15006 }
        );
        assert_eq!(
            reason("a#127.0.0.1:80#b"),
            (
                16,
                GrammarReason::Address {
                    text: "b".to_owned()
                }
            )
        );
        assert_eq!(reason("a#127.0.0.1:80#b:0").0, 18);
        for host in ["-b", "b..c", "1.2.3", "2001:db8::1", "b c", "$(B)", ""] {
            let (position, reason) = reason(&format!("a#127.0.0.1:80#{host}:80"));
            assert_eq!(
                (position, matches!(reason, GrammarReason::Host { .. })),
                (16, true),
                "{host}"
            );
        }
    }
}
