//! What the environment says, read once, all mistakes reported together.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use nacre_collateral::{CACHE, COLLATERAL, EVIDENCE, Guest, GuestError};
use nacre_history::GenesisAuthority;

use crate::capacity::Capacity;

/// Owners who may set the first manifest: `<threshold>:<digest>,…`. Pinned by the Coordinator's policy.
pub const OWNERS: &str = "NACRE_OWNERS";
/// Where the history is kept: `configmaps` (default) or `directory:<absolute path>`.
pub const HISTORY: &str = "NACRE_HISTORY";
/// Namespace of the ConfigMaps; that of the pod when absent.
pub const NAMESPACE: &str = "NACRE_NAMESPACE";
/// Other Coordinators, `host:port` each, separated by commas. A name may stand for several addresses.
pub const PEERS: &str = "NACRE_PEERS";
/// Filter of the log, as of `tracing_subscriber::EnvFilter`; default `info`.
pub const LOG: &str = "NACRE_LOG";
/// Address of the user API.
pub const USER_ADDRESS: &str = "NACRE_USER_ADDRESS";
/// Address of the mesh API.
pub const MESH_ADDRESS: &str = "NACRE_MESH_ADDRESS";
/// Address of the HTTP attest route.
pub const HTTP_ADDRESS: &str = "NACRE_HTTP_ADDRESS";
/// Address of health and metrics.
pub const HEALTH_ADDRESS: &str = "NACRE_HEALTH_ADDRESS";
/// Seconds that open requests have after SIGTERM, 0 to 600; default 20.
pub const DRAIN_SECONDS: &str = "NACRE_DRAIN_SECONDS";
const LONGEST_DRAIN: u64 = 600;
const MOST_PEERS: usize = 16;

/// Every variable that is read.
const VARIABLES: [&str; 13] = [
    OWNERS,
    HISTORY,
    NAMESPACE,
    PEERS,
    LOG,
    USER_ADDRESS,
    MESH_ADDRESS,
    HTTP_ADDRESS,
    HEALTH_ADDRESS,
    DRAIN_SECONDS,
    EVIDENCE,
    COLLATERAL,
    CACHE,
];

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who may set the first manifest.
    pub genesis: GenesisAuthority,
    /// Where the history is kept.
    pub history: Backend,
    /// Other Coordinators.
    pub peers: Vec<String>,
    /// Where to listen.
    pub addresses: Addresses,
    /// Filter of the log.
    pub log: String,
    /// Time for open requests after SIGTERM.
    pub drain: Duration,
    /// Where reports come from, and what goes with them.
    pub guest: Guest,
    /// How long the history may become. No variable changes it: it is what clients take.
    pub capacity: Capacity,
}

/// Where a history is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// ConfigMaps of the cluster, in this namespace or in the pod's.
    ConfigMaps {
        /// The namespace.
        namespace: Option<String>,
    },
    /// A directory.
    Directory(PathBuf),
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The user API, gRPC over attested TLS.
    pub user: SocketAddr,
    /// The mesh API, gRPC over attested TLS on both sides.
    pub mesh: SocketAddr,
    /// Attestation for outside verifiers, plain HTTP.
    pub http: SocketAddr,
    /// Health and metrics, plain HTTP.
    pub health: SocketAddr,
}

impl Addresses {
    /// The ports of the seed on every address.
    pub fn everywhere() -> Self {
        let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        Self {
            user: at(1313),
            mesh: at(7777),
            http: at(1314),
            health: at(9102),
        }
    }
}

/// One thing that is wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.reason)
    }
}

impl Config {
    /// Reads every variable and reports every mistake. An empty variable counts as absent, one that is no UTF-8
    /// is a mistake.
    pub fn read(environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Vec<Mistake>> {
        let is_other = |name: &&str| environment(name).is_some_and(|v| v.to_str().is_none());
        let other = VARIABLES.into_iter().filter(is_other);
        let mistakes = other.map(|variable| Mistake {
            variable,
            reason: "is no UTF-8 text".to_owned(),
        });
        let environment = |variable: &str| environment(variable)?.into_string().ok();
        let mut reader = Reader {
            environment: &environment,
            mistakes: mistakes.collect(),
        };
        let everywhere = Addresses::everywhere();
        let genesis = reader.parsed(OWNERS, |text| {
            let owners = text.parse().map_err(chain::<nacre_history::OwnersError>)?;
            Ok(GenesisAuthority::Owners(owners))
        });
        let namespace = reader.parsed(NAMESPACE, namespace);
        let history = reader.parsed(HISTORY, backend);
        let guest = match Guest::from_env(environment) {
            Ok(guest) => Some(guest),
            Err(mistakes) => {
                reader.mistakes.extend(mistakes.iter().map(Mistake::from));
                None
            }
        };
        let config = Self {
            genesis: genesis.unwrap_or(GenesisAuthority::InsecureUnbound),
            history: match history {
                Some(Some(path)) => Backend::Directory(path),
                _ => Backend::ConfigMaps { namespace },
            },
            peers: reader.parsed(PEERS, peers).unwrap_or_default(),
            addresses: Addresses {
                user: reader.address(USER_ADDRESS, everywhere.user),
                mesh: reader.address(MESH_ADDRESS, everywhere.mesh),
                http: reader.address(HTTP_ADDRESS, everywhere.http),
                health: reader.address(HEALTH_ADDRESS, everywhere.health),
            },
            log: reader.text(LOG).unwrap_or_else(|| "info".to_owned()),
            drain: reader
                .parsed(DRAIN_SECONDS, drain)
                .unwrap_or(Duration::from_secs(20)),
            guest: guest.unwrap_or_default(),
            capacity: Capacity::default(),
        };
        if reader.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(reader.mistakes)
        }
    }
}

struct Reader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn text(&self, variable: &str) -> Option<String> {
        (self.environment)(variable).filter(|text| !text.is_empty())
    }

    fn parsed<T>(
        &mut self,
        variable: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(&self.text(variable)?) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.mistakes.push(Mistake { variable, reason });
                None
            }
        }
    }

    fn address(&mut self, variable: &'static str, default: SocketAddr) -> SocketAddr {
        let parse = |text: &str| {
            let parsed = text.parse::<SocketAddr>();
            parsed.map_err(|_| format!("{text:?} is no address with a port, such as 0.0.0.0:1313"))
        };
        self.parsed(variable, parse).unwrap_or(default)
    }
}

fn chain<E: std::error::Error>(error: E) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn namespace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() <= 63 && text.chars().all(fits) && !text.starts_with('-') && !text.ends_with('-')
    {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no name of a namespace"))
    }
}

/// `None` = ConfigMaps.
fn backend(text: &str) -> Result<Option<PathBuf>, String> {
    match text.split_once(':') {
        None if text == "configmaps" => Ok(None),
        Some(("directory", path)) => absolute(path).map(Some),
        _ => Err(format!(
            "{text:?} is neither \"configmaps\" nor \"directory:<absolute path>\""
        )),
    }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("{} is no absolute path", path.display()))
    }
}

fn peers(text: &str) -> Result<Vec<String>, String> {
    let list: Vec<&str> = text.split(',').map(str::trim).collect();
    if list.len() > MOST_PEERS {
        return Err(format!("{} peers, at most {MOST_PEERS}", list.len()));
    }
    let mut peers = Vec::new();
    for peer in list {
        let (host, port) = peer.rsplit_once(':').unwrap_or_default();
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("{peer:?} is not host:port"));
        }
        peers.push(peer.to_owned());
    }
    Ok(peers)
}

fn drain(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| *seconds <= LONGEST_DRAIN);
    let seconds = seconds.ok_or_else(|| format!("{text:?} is not 0 to {LONGEST_DRAIN}"))?;
    Ok(Duration::from_secs(seconds))
}

impl From<&GuestError> for Mistake {
    fn from(error: &GuestError) -> Self {
        let GuestError { variable, value } = error;
        Self {
            variable,
            reason: format!("{value:?} is not known; write {}", error.form()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Vec<Mistake>> {
        let map: BTreeMap<&str, &str> = pairs.iter().copied().collect();
        Config::read(&|name| map.get(name).map(|text| (*text).into()))
    }

    #[test]
    fn nothing_said_means_the_ports_of_the_seed_and_configmaps() {
        let config = read(&[]).unwrap();
        let addresses = config.addresses;
        let ports = [
            addresses.user,
            addresses.mesh,
            addresses.http,
            addresses.health,
        ]
        .map(|address| address.port());
        assert_eq!(ports, [1313, 7777, 1314, 9102]);
        assert_eq!(config.history, Backend::ConfigMaps { namespace: None });
        assert_eq!(config.genesis, GenesisAuthority::InsecureUnbound);
        assert_eq!(read(&[(PEERS, "")]).unwrap(), config);
    }

    #[test]
    fn every_value_is_read() {
        let digest = "ab".repeat(32);
        let config = read(&[
            (OWNERS, &format!("1:{digest}")),
            (HISTORY, "directory:/data"),
            (PEERS, "coordinator-peers:7777, [::1]:7778"),
            (USER_ADDRESS, "127.0.0.1:1"),
            (DRAIN_SECONDS, "3"),
            (EVIDENCE, "sev-guest"),
            (COLLATERAL, "/collateral, thim"),
            (CACHE, "/cache"),
        ])
        .unwrap();
        assert!(matches!(&config.genesis, GenesisAuthority::Owners(owners)
            if owners.to_string() == format!("1:{digest}")));
        assert_eq!(config.history, Backend::Directory("/data".into()));
        assert_eq!(config.peers, ["coordinator-peers:7777", "[::1]:7778"]);
        assert_eq!(config.addresses.user.to_string(), "127.0.0.1:1");
        assert_eq!(config.drain, Duration::from_secs(3));
        let guest = Guest::from_env(|name| {
            let text = match name {
                EVIDENCE => "sev-guest",
                COLLATERAL => "directory=/collateral,thim",
                _ => "/cache",
            };
            Some(text.to_owned())
        });
        assert_eq!(config.guest, guest.unwrap());
    }

    #[test]
    fn what_is_no_text_is_a_mistake_and_not_absent() {
        for variable in VARIABLES {
            let read = Config::read(&|name| {
                (name == variable).then(|| OsString::from_vec(b"1:\xff".to_vec()))
            });
            let mistakes = read.unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            let text = mistakes[0].to_string();
            assert!(
                text.starts_with(variable) && text.contains("UTF-8"),
                "{text}"
            );
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let wrong = [
            (OWNERS, "2:ab"),
            (NAMESPACE, "Shop"),
            (HISTORY, "directory:data"),
            (PEERS, "one"),
            (USER_ADDRESS, "1313"),
            (MESH_ADDRESS, ":7777"),
            (HTTP_ADDRESS, "localhost:1"),
            (HEALTH_ADDRESS, "x"),
            (DRAIN_SECONDS, "601"),
            (EVIDENCE, "none"),
            (COLLATERAL, "here"),
            (CACHE, "there"),
        ];
        let mistakes = read(&wrong).unwrap_err();
        let mut variables: Vec<&str> = mistakes.iter().map(|mistake| mistake.variable).collect();
        let mut expected = wrong.map(|(variable, _)| variable);
        variables.sort_unstable();
        expected.sort_unstable();
        assert_eq!(variables, expected);
        let of = |variable| mistakes.iter().find(|mistake| mistake.variable == variable);
        let owners = of(OWNERS).unwrap().to_string();
        assert!(
            owners.contains("NACRE_OWNERS") && owners.contains("64 hex"),
            "{owners}"
        );
    }
}
