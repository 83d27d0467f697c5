//! What the environment says, read once, all mistakes reported together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nacre_attest::Policy;
use nacre_collateral::Guest;
use nacre_manifest::{PolicyHash, ReferenceValues};

use crate::platform;

/// Host or `host:port` of the Coordinator.
pub(crate) const HOST: &str = "COORDINATOR_HOST";
/// Policy hashes of Coordinators that may answer: comma-separated.
pub(crate) const POLICY_HASH: &str = "NACRE_COORDINATOR_POLICY_HASH";
/// Reference values of the Coordinator's guest: JSON as in a manifest's `ReferenceValues`.
pub(crate) const REFERENCE: &str = "NACRE_COORDINATOR_REFERENCE";
/// `true`: no Coordinator is known, any will do. Only without the two above; pinned by the pod's policy.
pub(crate) const ALLOW_UNATTESTED: &str = "NACRE_ALLOW_UNATTESTED_COORDINATOR";
/// Where the files go, in place of `/tls-config`.
pub(crate) const DIRECTORY: &str = "NACRE_TLS_DIR";
/// The start gate to put beside them, in place of `/nacre-gate`.
pub(crate) const GATE: &str = "NACRE_GATE";
/// Seconds between renewals: makes this a sidecar. Absent = end when the files are there.
pub(crate) const RENEW: &str = "NACRE_RENEW_SECONDS";
/// Address that is listened on once the files are there: for the startup probe of a sidecar.
pub(crate) const READY: &str = "NACRE_READY_ADDRESS";

/// Mesh API of the Coordinator.
const PORT: u16 = 7777;
const DEFAULT_DIRECTORY: &str = "/tls-config";
const DEFAULT_GATE: &str = "/nacre-gate";
/// Longest time between renewals: a leaf lives for a year.
const LONGEST_RENEWAL: u64 = 30 * 86_400;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port` of the Coordinator.
    pub coordinator: String,
    /// Who may answer.
    pub trusted: Trusted,
    /// Where reports about this pod come from, and what goes with them.
    pub guest: Guest,
    /// Where the files go.
    pub directory: PathBuf,
    /// The start gate.
    pub gate: PathBuf,
    /// Time between renewals; `None` ends after the first.
    pub renew: Option<Duration>,
    /// What is listened on once the files are there.
    pub ready: Option<SocketAddr>,
}

/// Who may answer for the Coordinator.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// One of the Coordinators that the pod was rendered for.
    Known {
        /// Policies of which it has to run one.
        policy_hashes: BTreeSet<PolicyHash>,
        /// What its guest has to be, any of these.
        references: Vec<Policy>,
    },
    /// Whoever answers from a genuine guest, which may run anything: `NACRE_ALLOW_UNATTESTED_COORDINATOR`.
    AnyGuest,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct Mistake {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
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
        let coordinator = reader.required(HOST, "name the Coordinator: host or host:port", address);
        let trusted = reader.trusted();
        let guest = reader.guest(get);
        let renew = reader.optional(RENEW, seconds);
        let ready = reader.optional(READY, |text| {
            text.parse()
                .map_err(|_| format!("{text:?} is not address:port"))
        });
        let directory = reader.text(DIRECTORY);
        let gate = reader.text(GATE);
        match (coordinator, trusted, guest, reader.mistakes) {
            (Some(coordinator), Some(trusted), Some(guest), mistakes) if mistakes.is_empty() => {
                Ok(Self {
                    coordinator,
                    trusted,
                    guest,
                    directory: directory.unwrap_or(DEFAULT_DIRECTORY.to_owned()).into(),
                    gate: gate.unwrap_or(DEFAULT_GATE.to_owned()).into(),
                    renew,
                    ready,
                })
            }
            (_, _, _, mistakes) => Err(mistakes),
        }
    }
}

struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    /// Unset and empty are the same.
    fn text(&self, variable: &str) -> Option<String> {
        (self.get)(variable).filter(|text| !text.trim().is_empty())
    }

    /// Known Coordinators, or none at all where that is said in so many words.
    fn trusted(&mut self) -> Option<Trusted> {
        let known = [POLICY_HASH, REFERENCE].map(|variable| self.text(variable).is_some());
        let allowed = self.optional(ALLOW_UNATTESTED, |text| match text {
            "true" => Ok(()),
            _ => Err(format!("{text:?} is not true; remove the variable")),
        });
        if allowed.is_some() && known == [false, false] {
            return Some(Trusted::AnyGuest);
        }
        if allowed.is_some() {
            let reason = format!("contradicts {POLICY_HASH} and {REFERENCE}: remove it");
            self.mistakes.push(Mistake {
                variable: ALLOW_UNATTESTED,
                reason,
            });
        }
        let policy_hashes = self.required(
            POLICY_HASH,
            "it says which Coordinator to trust; `nacre generate` writes it when the Coordinator is \
             rendered with the workloads or named in the configuration",
            hashes,
        );
        let references = self.required(
            REFERENCE,
            "it says which guest the Coordinator has to run in; `nacre generate` writes it",
            references,
        );
        Some(Trusted::Known {
            policy_hashes: policy_hashes?,
            references: references?,
        })
    }

    fn guest(&mut self, get: &dyn Fn(&str) -> Option<String>) -> Option<Guest> {
        match platform::guest(get) {
            Ok(guest) => Some(guest),
            Err(mistakes) => {
                self.mistakes.extend(mistakes.into_iter().map(|mistake| {
                    let reason =
                        format!("{:?} is not known; write {}", mistake.value, mistake.form());
                    Mistake {
                        variable: mistake.variable,
                        reason,
                    }
                }));
                None
            }
        }
    }

    fn optional<T>(
        &mut self,
        variable: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(variable)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.mistakes.push(Mistake { variable, reason });
                None
            }
        }
    }

    fn required<T>(
        &mut self,
        variable: &'static str,
        absent: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.text(variable).is_none() {
            let reason = format!("is not set: {absent}");
            self.mistakes.push(Mistake { variable, reason });
            return None;
        }
        self.optional(variable, parse)
    }
}

/// `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
fn address(text: &str) -> Result<String, String> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]:{PORT}"));
    }
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port != 0)),
        None => (text, Some(PORT)),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match port {
        Some(port) if !host.is_empty() && host.chars().all(fits) => Ok(format!("{host}:{port}")),
        _ => Err(format!("{text:?} is not host or host:port")),
    }
}

fn hashes(text: &str) -> Result<BTreeSet<PolicyHash>, String> {
    text.split(',')
        .map(|hash| {
            let hash = hash.trim();
            hash.parse().map_err(|error| format!("{hash:?}: {error}"))
        })
        .collect()
}

/// Sets that are not filled in match nothing and are left out; at least one has to be whole.
fn references(text: &str) -> Result<Vec<Policy>, String> {
    let values: ReferenceValues =
        serde_json::from_str(text).map_err(|error| format!("not reference values: {error}"))?;
    let mut policies = Vec::new();
    let mut open = Vec::new();
    for set in &values.snp {
        match Policy::try_from(set) {
            Ok(policy) => policies.push(policy),
            Err(error) => {
                let name = format!("{} {} {} vCPUs", set.platform, set.product_name, set.cpus);
                open.push(format!("{name}: {error}"));
            }
        }
    }
    match (policies.is_empty(), open.is_empty()) {
        (false, _) => Ok(policies),
        (true, true) => Err("it names no guest at all".to_owned()),
        (true, false) => Err(format!(
            "no set of reference values is filled in ({}): give referenceValues in the configuration \
             and render again",
            open.join("; ")
        )),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (1..=LONGEST_RENEWAL).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "{text:?} is not a number of seconds from 1 to {LONGEST_RENEWAL}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use nacre_collateral::{COLLATERAL, EVIDENCE};

    use super::*;

    const HASH: &str = "1111111111111111111111111111111111111111111111111111111111111111";

    fn reference(measurement: &str) -> String {
        let set = serde_json::json!({
            "Platform": "metal-qemu-snp", "ProductName": "Genoa", "CPUs": 1,
            "TrustedMeasurement": measurement.repeat(96),
            "HostDataBinding": "enforced",
            "MinimumTCB": {"BootloaderVersion": 1, "TEEVersion": 0, "SNPVersion": 1, "MicrocodeVersion": 1},
            "GuestPolicy": {},
        });
        serde_json::json!({"snp": [set]}).to_string()
    }

    fn read(variables: &[(&str, &str)]) -> Result<Config, Vec<Mistake>> {
        let reference = reference("a");
        let hash = format!("{HASH}, {}", HASH.replace('1', "2"));
        let mut all = vec![
            (HOST, "coordinator"),
            (POLICY_HASH, &hash),
            (REFERENCE, &reference),
        ];
        all.retain(|(name, _)| !variables.iter().any(|(other, _)| other == name));
        all.extend_from_slice(variables);
        Config::read(&|name| {
            let found = all.iter().find(|(variable, _)| *variable == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn what_the_function_writes_is_enough() {
        let config = read(&[]).unwrap();
        assert_eq!(config.coordinator, "coordinator:7777");
        let Trusted::Known {
            policy_hashes,
            references,
        } = &config.trusted
        else {
            panic!("{:?}", config.trusted);
        };
        assert_eq!((policy_hashes.len(), references.len()), (2, 1));
        assert_eq!(config.directory, PathBuf::from("/tls-config"));
        assert_eq!(config.gate, PathBuf::from("/nacre-gate"));
        assert_eq!((config.renew, config.ready), (None, None));
    }

    #[test]
    fn hosts_have_ports() {
        for (text, expected) in [
            ("coordinator-ready.shop", "coordinator-ready.shop:7777"),
            ("coordinator:1", "coordinator:1"),
            ("127.0.0.1", "127.0.0.1:7777"),
            ("::1", "[::1]:7777"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(read(&[(HOST, text)]).unwrap().coordinator, expected);
        }
        for text in ["a b", "a:0", "a:70000", ":1", "http://a", "a/b"] {
            assert_eq!(
                read(&[(HOST, text)]).unwrap_err()[0].variable,
                HOST,
                "{text}"
            );
        }
    }

    #[test]
    fn nothing_is_trusted_by_default() {
        for variable in [POLICY_HASH, REFERENCE] {
            for text in ["", " ", "x", "{}", r#"{"snp":[]}"#] {
                let mistakes = read(&[(variable, text)]).unwrap_err();
                assert_eq!(mistakes[0].variable, variable, "{text}");
            }
        }
        let open = reference("a").replace(&format!("\"{}\"", "a".repeat(96)), "null");
        let mistakes = read(&[(REFERENCE, &open)]).unwrap_err();
        assert!(
            mistakes[0].reason.contains("TrustedMeasurement"),
            "{}",
            mistakes[0]
        );
    }

    #[test]
    fn any_guest_is_trusted_only_when_nothing_else_is_said() {
        let config = read(&[
            (POLICY_HASH, ""),
            (REFERENCE, ""),
            (ALLOW_UNATTESTED, "true"),
        ]);
        assert!(matches!(config.unwrap().trusted, Trusted::AnyGuest));
        // Half of what is known is not nothing, and is never forgotten over the permission.
        for variables in [
            &[(ALLOW_UNATTESTED, "true")][..],
            &[(ALLOW_UNATTESTED, "true"), (POLICY_HASH, "")],
            &[(ALLOW_UNATTESTED, "true"), (REFERENCE, "")],
            &[(ALLOW_UNATTESTED, "1"), (REFERENCE, ""), (POLICY_HASH, "")],
            &[(ALLOW_UNATTESTED, "1")],
        ] {
            let mistakes = read(variables).unwrap_err();
            assert_eq!(mistakes[0].variable, ALLOW_UNATTESTED, "{variables:?}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mistakes = read(&[
            (HOST, ""),
            (POLICY_HASH, "zz"),
            (REFERENCE, "{"),
            (EVIDENCE, "tpm"),
            (COLLATERAL, "here"),
            (RENEW, "0"),
            (READY, "9102"),
        ])
        .unwrap_err();
        let variables: Vec<_> = mistakes.iter().map(|mistake| mistake.variable).collect();
        assert_eq!(
            variables,
            [
                HOST,
                POLICY_HASH,
                REFERENCE,
                EVIDENCE,
                COLLATERAL,
                RENEW,
                READY
            ]
        );
    }
}
