//! One request for a certificate, on one attested connection.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_api::limits;
use nacre_api::v1::mesh_client::MeshClient;
use nacre_api::v1::{NewMeshCertRequest, NewMeshCertResponse};
use nacre_atls::tonic::{Own, connect};
use nacre_atls::{
    Appraise, AtlsError, ClientKind, Connector, References, Refusal, ReportQueue, Timeouts,
};
use nacre_attest::Timestamp;
use nacre_manifest::PolicyHash;
use nacre_pki::LeafKey;
use tonic::Code;
use zeroize::{Zeroize as _, Zeroizing};

use crate::any_guest::AnyGuest;
use crate::config::{Config, Trusted};
use crate::run::Deps;

/// How long the Coordinator may take to answer a request on an accepted connection.
const ANSWER: Duration = Duration::from_secs(30);
const NO_MANIFEST: &str =
    "no manifest is in force: `nacre set` the first one, or `nacre recover` the Coordinator";
const CERTIFICATE: (&str, &str) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");

/// Knows how to ask.
pub struct Ask {
    coordinator: String,
    trusted: Box<dyn Appraise>,
    queue: ReportQueue,
    connector: Connector,
}

/// What the Coordinator gave.
pub struct Issued {
    /// Number of the manifest in force.
    pub generation: u64,
    /// Hash of its transition.
    pub transition: Vec<u8>,
    /// Leaf, then intermediate, PEM.
    pub chain: String,
    /// The mesh CA, PEM.
    pub mesh_ca: String,
    /// The root CA, PEM.
    pub root_ca: String,
    /// The mesh CA before, PEM, and the policies whose leaves under it still count.
    pub previous: Option<(String, Vec<PolicyHash>)>,
    /// The workload's secret.
    pub secret: Option<Zeroizing<[u8; 32]>>,
}

impl Issued {
    /// Whether everything that is written is the same but for the leaf, which is new each time. A recovery by
    /// owners, for one, keeps the transition and makes the mesh CA anew; a Coordinator of another version may
    /// give what the last one did not.
    pub(crate) fn differs_in_leaf_only(&self, other: &Self) -> bool {
        let secrets = match (&self.secret, &other.secret) {
            (Some(one), Some(other)) => {
                verify_slices_are_equal(one.as_slice(), other.as_slice()).is_ok()
            }
            (None, None) => true,
            _ => false,
        };
        secrets
            && self.generation == other.generation
            && self.transition == other.transition
            && behind_leaf(&self.chain) == behind_leaf(&other.chain)
            && self.mesh_ca == other.mesh_ca
            && self.root_ca == other.root_ca
            && self.previous == other.previous
    }
}

/// The certificates of a chain behind its first.
fn behind_leaf(chain: &str) -> Option<&str> {
    chain.split_once(CERTIFICATE.1).map(|(_, rest)| rest)
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({}, ..)", self.generation)
    }
}

impl Ask {
    /// Asks the Coordinator of the configuration.
    pub fn new(config: &Config, deps: Deps) -> Self {
        let trusted: Box<dyn Appraise> = match &config.trusted {
            Trusted::Known {
                policy_hashes,
                references,
            } => Box::new(References::new(
                deps.verifier,
                references.clone(),
                policy_hashes.iter().map(|hash| *hash.as_bytes()).collect(),
                Timestamp::BUILT_AFTER,
            )),
            Trusted::AnyGuest => Box::new(AnyGuest(deps.verifier)),
        };
        Self {
            coordinator: config.coordinator.clone(),
            trusted,
            queue: ReportQueue::new(deps.source, 1, 1),
            connector: Connector::new(Timeouts::PATIENT),
        }
    }

    /// A certificate for this key. The key of the connection is another one, made and dropped here.
    pub async fn once(&self, key: &LeafKey) -> Result<Issued, AskError> {
        let own = Own::Attested {
            kind: ClientKind::Workload,
            queue: &self.queue,
        };
        let link = connect(&self.coordinator, &self.connector, own, &*self.trusted).await?;
        let csr = key.request().map_err(|_| AskError::Key)?;
        let mut client = MeshClient::new(link.channel())
            .max_decoding_message_size(limits::MAX_MESSAGE)
            .max_encoding_message_size(limits::MAX_MESSAGE);
        let mut request = tonic::Request::new(NewMeshCertRequest { csr });
        request.set_timeout(ANSWER);
        let answer = tokio::time::timeout(ANSWER, client.new_mesh_cert(request));
        let response = answer.await.map_err(|_| AskError::Silent)??;
        Issued::read(response.into_inner(), key)
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask({})", self.coordinator)
    }
}

impl Issued {
    fn read(mut response: NewMeshCertResponse, key: &LeafKey) -> Result<Self, AskError> {
        let secret = match response.workload_secret.len() {
            0 => None,
            _ => {
                let mut bytes = Zeroizing::new([0; 32]);
                let fits = response.workload_secret.len() == bytes.len();
                let parts = bytes.iter_mut().zip(&response.workload_secret);
                parts.for_each(|(to, from)| *to = *from);
                response.workload_secret.zeroize();
                if !fits {
                    return Err(AskError::Answer {
                        what: "a workload secret that is not 32 bytes long",
                    });
                }
                Some(bytes)
            }
        };
        for (text, least, what) in [
            (&response.cert_chain, 2, "no chain of leaf and intermediate"),
            (&response.mesh_ca, 1, "no mesh CA"),
            (&response.root_ca, 1, "no root CA"),
        ] {
            if text.matches(CERTIFICATE.0).count() < least {
                return Err(AskError::Answer { what });
            }
        }
        if !holds_key(&response.cert_chain, &key.spki()) {
            return Err(AskError::Answer {
                what: "a certificate for another key",
            });
        }
        let previous = match response.previous {
            None => None,
            Some(previous) => {
                let policies = previous.policies.iter();
                let policies: Result<Vec<_>, _> = policies
                    .map(|hash| PolicyHash::try_from(hash.as_slice()))
                    .collect();
                let policies = policies.map_err(|_| AskError::Answer {
                    what: "a policy hash that is not 32 bytes long",
                })?;
                Some((previous.mesh_ca, policies))
            }
        };
        Ok(Self {
            generation: response.generation,
            transition: response.transition,
            chain: response.cert_chain,
            mesh_ca: response.mesh_ca,
            root_ca: response.root_ca,
            previous,
            secret,
        })
    }
}

/// Whether the first certificate is for this public key.
fn holds_key(chain: &str, spki: &[u8]) -> bool {
    let body = chain
        .split_once(CERTIFICATE.0)
        .and_then(|(_, rest)| rest.split_once(CERTIFICATE.1))
        .map(|(body, _)| body.split_whitespace().collect::<String>());
    let der = body.and_then(|body| STANDARD.decode(body).ok());
    der.is_some_and(|der| der.windows(spki.len()).any(|window| window == spki))
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No attested connection.
    #[error("no attested connection to the Coordinator")]
    Connection(#[from] AtlsError),
    /// The Coordinator answered with an error.
    #[error("the Coordinator refuses ({:?}): {}", .0.code(), .0.message())]
    Refused(Box<tonic::Status>),
    /// The Coordinator does not answer.
    #[error("the Coordinator does not answer within {ANSWER:?}")]
    Silent,
    /// The answer is of no use.
    #[error("the Coordinator gave {what}")]
    Answer {
        /// What came.
        what: &'static str,
    },
    /// No request could be made.
    #[error("no certificate request could be made")]
    Key,
}

impl From<tonic::Status> for AskError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl AskError {
    /// The error with its causes, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// What whoever reads the log can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Connection(AtlsError::Connect(_)) => {
                "is the Coordinator running, and does COORDINATOR_HOST lead to it?"
            }
            Self::Connection(AtlsError::Evidence(_)) => {
                "who answers is not the Coordinator that this pod was rendered for: compare its policy \
                 hash and reference values with NACRE_COORDINATOR_POLICY_HASH and _REFERENCE, or render again"
            }
            Self::Connection(AtlsError::Refused(Refusal::Evidence)) => {
                "the manifest in force does not list this pod, or its guest is another than the manifest's: \
                 `nacre set` one that does; the Coordinator's log names the check that failed"
            }
            Self::Connection(AtlsError::Refused(Refusal::NotReady)) => NO_MANIFEST,
            Self::Connection(AtlsError::Refused(Refusal::Busy)) => "it is busy; nothing to do",
            Self::Connection(_) => "see the Coordinator's log for the other side of it",
            Self::Refused(status) => match status.code() {
                Code::FailedPrecondition => NO_MANIFEST,
                Code::PermissionDenied => {
                    "the manifest in force does not list this pod: `nacre set` one that does"
                }
                _ => "see the Coordinator's log",
            },
            Self::Silent | Self::Answer { .. } | Self::Key => "see the Coordinator's log",
        }
    }
}

#[cfg(test)]
mod tests {
    use nacre_manifest::{Identity, PolicyEntry, TrustDomain};
    use nacre_pki::{Authority, CertificateRequest, LeafProfile, P384Key};

    use super::*;

    #[test]
    fn whatever_is_written_but_the_leaf_is_a_difference() {
        let pem = |name: &str| format!("{}\n{name}\n{}\n", CERTIFICATE.0, CERTIFICATE.1);
        let issued = || Issued {
            generation: 4,
            transition: vec![1; 32],
            chain: [pem("leaf"), pem("intermediate")].concat(),
            mesh_ca: pem("mesh"),
            root_ca: pem("root"),
            previous: Some((pem("old"), vec![PolicyHash::of(b"p")])),
            secret: Some(Zeroizing::new([7; 32])),
        };
        let mut renewed = issued();
        renewed.chain = [pem("another leaf"), pem("intermediate")].concat();
        assert!(issued().differs_in_leaf_only(&renewed));
        let changes: [fn(&mut Issued); 10] = [
            |issued| issued.generation = 5,
            |issued| issued.transition[0] = 2,
            |issued| issued.chain = issued.chain.replace("intermediate", "other"),
            |issued| issued.mesh_ca = issued.mesh_ca.replace("mesh", "other"),
            |issued| issued.root_ca = issued.root_ca.replace("root", "other"),
            |issued| issued.previous = None,
            |issued| issued.previous.as_mut().unwrap().0.push(' '),
            |issued| issued.previous.as_mut().unwrap().1.clear(),
            |issued| issued.secret = None,
            |issued| issued.secret.as_mut().unwrap()[31] = 8,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = issued();
            change(&mut other);
            assert!(!issued().differs_in_leaf_only(&other), "change {number}");
            assert!(!other.differs_in_leaf_only(&issued()), "change {number}");
        }
    }

    fn answer(key: &LeafKey) -> NewMeshCertResponse {
        let now = 1_800_000_000;
        let (root, mesh) = (P384Key::generate().unwrap(), P384Key::generate().unwrap());
        let authority = Authority::new(&root, mesh, now).unwrap();
        let entry = PolicyEntry::new(Identity::new("a", "Pod", "b"), Vec::new());
        let domain = TrustDomain::default();
        let profile = LeafProfile::new(PolicyHash::of(b""), &entry, &domain, None).unwrap();
        let request = CertificateRequest::verify(&key.request().unwrap()).unwrap();
        let leaf = authority.issue(&request, &profile, now).unwrap();
        NewMeshCertResponse {
            generation: 3,
            transition: vec![1; 32],
            cert_chain: authority.chain_pem(&leaf),
            mesh_ca: authority.mesh_ca_pem(),
            root_ca: authority.root_pem(),
            previous: None,
            workload_secret: vec![7; 32],
        }
    }

    #[test]
    fn answers_are_held_against_what_was_asked() {
        let key = LeafKey::generate().unwrap();
        let issued = Issued::read(answer(&key), &key).unwrap();
        assert_eq!(issued.secret.as_deref(), Some(&[7; 32]));
        assert_eq!(format!("{issued:?}"), "Issued(3, ..)");
        type Change = fn(&mut NewMeshCertResponse);
        let changes: [(Change, &str); 5] = [
            (
                |a| a.cert_chain.clear(),
                "no chain of leaf and intermediate",
            ),
            (|a| a.mesh_ca.clear(), "no mesh CA"),
            (|a| a.root_ca.clear(), "no root CA"),
            (
                |a| a.workload_secret.truncate(31),
                "a workload secret that is not 32 bytes long",
            ),
            (
                |a| {
                    a.previous = Some(nacre_api::v1::PreviousCa {
                        policies: vec![vec![1]],
                        ..Default::default()
                    })
                },
                "a policy hash that is not 32 bytes long",
            ),
        ];
        for (change, expected) in changes {
            let mut answer = answer(&key);
            change(&mut answer);
            let error = Issued::read(answer, &key).unwrap_err();
            assert!(
                matches!(error, AskError::Answer { what } if what == expected),
                "{error}"
            );
        }
        let other = LeafKey::generate().unwrap();
        let error = Issued::read(answer(&other), &key).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the Coordinator gave a certificate for another key"
        );
    }
}
