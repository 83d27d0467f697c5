//! What the environment says, read once, all mistakes reported together.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use nacre_meshconfig::{
    ADMIN_PORT_DEFAULT, Egress, Ingress, MESH_PORT_MUTUAL, MESH_PORT_SERVER, Peer, PeerRules,
    admin_conflict,
};

use crate::material;
use crate::peer::Peer as Member;

/// Ingress entries, `CONTRAST_` or the older `EDG_`.
pub const INGRESS: [&str; 2] = ["CONTRAST_INGRESS_PROXY_CONFIG", "EDG_INGRESS_PROXY_CONFIG"];
/// Egress entries.
pub const EGRESS: [&str; 2] = ["CONTRAST_EGRESS_PROXY_CONFIG", "EDG_EGRESS_PROXY_CONFIG"];
/// Port of metrics and health on all addresses; on loopback at [`ADMIN_PORT_DEFAULT`] where absent.
pub const ADMIN: [&str; 2] = ["CONTRAST_ADMIN_PORT", "EDG_ADMIN_PORT"];
/// Who may call.
pub const INGRESS_ALLOW: &str = "NACRE_MESH_INGRESS_ALLOW";
/// Who must answer.
pub const EGRESS_PEER: &str = "NACRE_MESH_EGRESS_PEER";
/// `allow` lets new inbound UDP pass.
pub const INBOUND_UDP: &str = "NACRE_MESH_INBOUND_UDP";
/// `true` drops outbound traffic that does not go through an egress entry.
pub const STRICT_EGRESS: &str = "NACRE_MESH_STRICT_EGRESS";
/// `true` logs every connection.
pub const ACCESS_LOG: &str = "NACRE_MESH_ACCESS_LOG";
/// Seconds that open connections have after SIGTERM, default 25.
pub const DRAIN_SECONDS: &str = "NACRE_MESH_DRAIN_SECONDS";
/// Directory of the certificates, in place of [`material::DIRECTORIES`].
pub const TLS_DIR: &str = "NACRE_MESH_TLS_DIR";

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Inbound ports.
    pub ingress: Ingress,
    /// Loopback listeners and where they lead.
    pub egress: Vec<Route>,
    /// Who may call: by port, `None` for every other port. Absent = any member of the mesh.
    pub allow: Allow,
    /// Port of the admin endpoint on all addresses.
    pub admin: Option<u16>,
    /// Whether new inbound UDP passes.
    pub inbound_udp: bool,
    /// Whether outbound traffic that goes through no egress entry is dropped.
    pub strict_egress: bool,
    /// Whether every connection is logged.
    pub access_log: bool,
    /// Time for open connections after SIGTERM.
    pub drain: Duration,
    /// Where certificates are looked for.
    pub directories: Vec<PathBuf>,
}

/// One egress entry with whom it must reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// For people.
    pub name: String,
    /// Where the application connects to.
    pub listen: SocketAddrV4,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who must answer; absent = any member of the mesh.
    pub peers: Option<Vec<Member>>,
}

/// Allow-lists of inbound ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// `None` = any member of the mesh, whatever holds for the others.
    ports: BTreeMap<u16, Option<Vec<Member>>>,
    others: Option<Vec<Member>>,
}

impl Allow {
    /// The list that holds for a port.
    #[must_use]
    pub fn list(&self, port: u16) -> Option<&[Member]> {
        match self.ports.get(&port) {
            Some(own) => own.as_deref(),
            None => self.others(),
        }
    }

    /// The ports that have a list of their own.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.keys().copied()
    }

    /// The list of every other port.
    #[must_use]
    pub fn others(&self) -> Option<&[Member]> {
        self.others.as_deref()
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct Mistake {
    /// The variable.
    pub variable: String,
    /// What is wrong with it, with the place.
    pub reason: String,
}

impl Config {
    /// Reads the variables through `get`, so that tests need no process environment.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader {
            get,
            mistakes: Vec::new(),
        };
        let ingress = reader
            .either(INGRESS)
            .map_or_else(Ingress::default, |(name, text)| {
                reader
                    .take(&name, Ingress::parse(&text))
                    .unwrap_or_default()
            });
        let egress = match reader.either(EGRESS) {
            // An unset and an empty variable both mean that nothing goes out through the mesh.
            Some((name, text)) if !text.is_empty() => {
                reader.take(&name, Egress::parse(&text)).unwrap_or_default()
            }
            _ => Egress::default(),
        };
        let allow = reader.allow(&ingress);
        let admin = reader.admin(&egress);
        let egress = reader.routes(egress);
        let drain = reader
            .text(DRAIN_SECONDS)
            .map_or(25, |text| match text.parse() {
                Ok(seconds) if seconds <= 3600 => seconds,
                _ => reader
                    .fail(
                        DRAIN_SECONDS,
                        format!("{text:?} is not a number of seconds up to 3600"),
                    )
                    .unwrap_or_default(),
            });
        let config = Self {
            ingress,
            egress,
            allow,
            admin,
            inbound_udp: match reader.text(INBOUND_UDP).as_deref() {
                None => false,
                Some("allow") => true,
                Some(other) => reader
                    .fail(INBOUND_UDP, format!("{other:?} is not \"allow\""))
                    .unwrap_or_default(),
            },
            strict_egress: reader.flag(STRICT_EGRESS),
            access_log: reader.flag(ACCESS_LOG),
            drain: Duration::from_secs(drain),
            directories: reader.text(TLS_DIR).map_or_else(
                || material::DIRECTORIES.iter().map(PathBuf::from).collect(),
                |dir| vec![PathBuf::from(dir)],
            ),
        };
        if reader.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(reader.mistakes)
        }
    }
}

struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn fail<T>(&mut self, variable: &str, reason: String) -> Option<T> {
        self.mistakes.push(Mistake {
            variable: variable.to_owned(),
            reason,
        });
        None
    }

    fn take<T, E: std::fmt::Display>(&mut self, name: &str, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.fail::<()>(name, error.to_string()))
            .ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|text| !text.is_empty())
    }

    /// The newer name wins where only one is set; both set to different values is a mistake.
    fn either(&mut self, [new, old]: [&str; 2]) -> Option<(String, String)> {
        match ((self.get)(new), (self.get)(old)) {
            (Some(text), Some(other)) if text != other => {
                self.fail(new, format!("differs from {old}: set one of them"))
            }
            (Some(text), _) => Some((new.to_owned(), text)),
            (None, Some(text)) => Some((old.to_owned(), text)),
            (None, None) => None,
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(other) => self
                .fail(name, format!("{other:?} is not true or false"))
                .unwrap_or_default(),
        }
    }

    fn ids(&mut self, variable: &str, peers: &[Peer]) -> Vec<Member> {
        peers
            .iter()
            .filter_map(|peer| {
                let (Peer::Uri(text) | Peer::Hash(text) | Peer::Identity(text)) = peer;
                Member::parse(text).or_else(|| {
                    self.fail(
                        variable,
                        format!("{text:?} is neither a SPIFFE id nor a policy hash"),
                    )
                })
            })
            .collect()
    }

    fn allow(&mut self, ingress: &Ingress) -> Allow {
        let Some(text) = self.text(INGRESS_ALLOW) else {
            return Allow::default();
        };
        let parsed = PeerRules::parse_ingress(&text, ingress);
        let Some(rules) = self.take(INGRESS_ALLOW, parsed) else {
            return Allow::default();
        };
        let mut allow = Allow::default();
        for rule in &rules.rules {
            let ids = (!rule.peers.is_empty()).then(|| self.ids(INGRESS_ALLOW, &rule.peers));
            let named = ingress
                .entries()
                .iter()
                .find(|entry| entry.name == rule.entry);
            let list = match rule.entry.parse().ok().or(named.map(|entry| entry.port)) {
                Some(port) => allow.ports.entry(port).or_default(),
                None => &mut allow.others,
            };
            if let Some(ids) = ids {
                list.get_or_insert_default().extend(ids);
            }
        }
        allow
    }

    fn admin(&mut self, egress: &Egress) -> Option<u16> {
        let given = self.either(ADMIN).filter(|(_, text)| !text.is_empty());
        let name = given
            .as_ref()
            .map_or_else(|| ADMIN[0].to_owned(), |(name, _)| name.clone());
        let port = given.and_then(|(name, text)| match text.parse() {
            Ok(MESH_PORT_MUTUAL | MESH_PORT_SERVER) => {
                self.fail(&name, format!("port {text} belongs to the mesh itself"))
            }
            Ok(port) if port != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            _ => self.fail(&name, format!("{text:?} is not a port from 1 to 65535")),
        });
        if let Some(entry) = admin_conflict(port, egress) {
            let (entry, at) = (&entry.name, entry.listen);
            let taken = port.unwrap_or(ADMIN_PORT_DEFAULT);
            return self.fail(
                &name,
                format!("port {taken} is where egress entry {entry:?} listens ({at})"),
            );
        }
        port
    }

    fn routes(&mut self, egress: Egress) -> Vec<Route> {
        let rules = match self.text(EGRESS_PEER) {
            None => PeerRules::default(),
            Some(text) => {
                let names = egress.entries.iter().map(|entry| entry.name.as_str());
                let parsed = PeerRules::parse_egress(&text, names);
                self.take(EGRESS_PEER, parsed).unwrap_or_default()
            }
        };
        egress
            .entries
            .into_iter()
            .map(|entry| {
                let rule = rules
                    .rule(&entry.name)
                    .filter(|rule| !rule.peers.is_empty());
                let peers = rule.map(|rule| self.ids(EGRESS_PEER, &rule.peers));
                Route {
                    name: entry.name,
                    listen: entry.listen,
                    host: entry.host,
                    port: entry.port,
                    peers,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Vec<Mistake>> {
        Config::read(&|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_example_of_the_guide() {
        let config = read(&[
            (
                "CONTRAST_INGRESS_PROXY_CONFIG",
                "main#8001#false##metrics#8080#true",
            ),
            (
                "CONTRAST_EGRESS_PROXY_CONFIG",
                "backend#127.0.0.2:4001#backend.default:4001",
            ),
        ])
        .unwrap();
        assert_eq!(config.ingress.entries().len(), 2);
        assert_eq!(config.egress[0].host, "backend.default");
        assert_eq!(config.allow.list(9000), None);
    }

    #[test]
    fn older_names_and_conflicts() {
        let config = read(&[
            ("EDG_INGRESS_PROXY_CONFIG", "a#80#true"),
            ("EDG_ADMIN_PORT", "9901"),
        ]);
        let config = config.unwrap();
        assert_eq!(
            (config.ingress.entries()[0].port, config.admin),
            (80, Some(9901))
        );
        let mistakes = read(&[("CONTRAST_ADMIN_PORT", "1"), ("EDG_ADMIN_PORT", "2")]).unwrap_err();
        assert_eq!(mistakes.len(), 1);
    }

    #[test]
    fn lists_by_port_and_for_the_rest() {
        let config = read(&[
            (
                "NACRE_MESH_INGRESS_ALLOW",
                "9000=spiffe://a/b,*=spiffe://a/c",
            ),
            ("CONTRAST_EGRESS_PROXY_CONFIG", "db#127.0.0.2:1#db:1"),
            ("NACRE_MESH_EGRESS_PEER", "db=spiffe://a/db"),
        ])
        .unwrap();
        let ids = |port| config.allow.list(port).unwrap()[0].to_string();
        assert_eq!(
            (ids(9000), ids(1)),
            ("spiffe://a/b".to_owned(), "spiffe://a/c".to_owned())
        );
        assert_eq!(
            config.egress[0].peers.as_ref().unwrap()[0].to_string(),
            "spiffe://a/db"
        );
    }

    #[test]
    fn the_admin_port_is_nobody_elses() {
        let egress = ("CONTRAST_EGRESS_PROXY_CONFIG", "b#127.0.0.2:9901#c:1");
        for port in ["15006", "15007", "9901", "+80", "0"] {
            assert!(
                read(&[("CONTRAST_ADMIN_PORT", port), egress]).is_err(),
                "{port}"
            );
        }
        let default = ("CONTRAST_EGRESS_PROXY_CONFIG", "b#127.0.0.1:15090#c:1");
        assert!(read(&[default]).is_err());
        assert!(read(&[default, ("CONTRAST_ADMIN_PORT", "9901")]).is_ok());
    }

    #[test]
    fn a_policy_hash_is_a_peer() {
        let hash = "0f".repeat(32);
        let config = read(&[("NACRE_MESH_INGRESS_ALLOW", &format!("*={hash}"))]).unwrap();
        assert_eq!(config.allow.others().unwrap()[0].to_string(), hash);
        // The form for people is resolved by the function, never here.
        let mistakes = read(&[("NACRE_MESH_INGRESS_ALLOW", "*=shop/Deployment/web")]);
        assert_eq!(mistakes.unwrap_err().len(), 1);
    }

    #[test]
    fn an_open_port_stays_open_beside_a_list_for_the_others() {
        let text = "*=spiffe://a/b,9000=*,8000=spiffe://a/c";
        let allow = read(&[("NACRE_MESH_INGRESS_ALLOW", text)]).unwrap().allow;
        assert_eq!(allow.list(9000), None);
        assert_eq!(allow.list(8000).unwrap()[0].to_string(), "spiffe://a/c");
        assert_eq!(allow.list(7000).unwrap()[0].to_string(), "spiffe://a/b");
        assert_eq!(allow.ports().collect::<Vec<_>>(), [8000, 9000]);
    }

    #[test]
    fn every_mistake_at_once() {
        let mistakes = read(&[
            ("CONTRAST_INGRESS_PROXY_CONFIG", "a#65537#true"),
            ("CONTRAST_EGRESS_PROXY_CONFIG", "b#10.0.0.1:1#c:1"),
            ("CONTRAST_ADMIN_PORT", "x"),
            ("NACRE_MESH_STRICT_EGRESS", "maybe"),
            ("NACRE_MESH_DRAIN_SECONDS", "-1"),
            ("NACRE_MESH_EGRESS_PEER", "nobody=spiffe://a/b"),
        ])
        .unwrap_err();
        let variables: Vec<_> = mistakes
            .iter()
            .map(|mistake| mistake.variable.as_str())
            .collect();
        assert_eq!(
            variables,
            [
                "CONTRAST_INGRESS_PROXY_CONFIG",
                "CONTRAST_EGRESS_PROXY_CONFIG",
                "CONTRAST_ADMIN_PORT",
                "NACRE_MESH_EGRESS_PEER",
                "NACRE_MESH_DRAIN_SECONDS",
                "NACRE_MESH_STRICT_EGRESS"
            ]
        );
    }
}
