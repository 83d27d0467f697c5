//! Other Coordinators, as this one's servers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nacre_api::limits::NONCE_LEN;
use nacre_api::v1::{self, mesh_client::MeshClient};
use nacre_atls::binding::HttpState;
use nacre_atls::tonic::{Channel, Link, Own, connect};
use nacre_atls::{AppraisalError, Appraise, ClientKind, Connector, ReportQueue, Timeouts};
use nacre_attest::{Claims, Evidence};
use nacre_history::History;
use nacre_manifest::{Manifest, TransitionHash};
use nacre_pki::{CaCertificates, P384Key, Salt, Seed};
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::denied::chain;
use crate::guard::{Core, Wanted};
use crate::recovery::Handed;
use crate::state::{Ready, References};

/// Longest message of a peer.
const MAX_MESSAGE: usize = 256 * 1024;
/// How long one question to a peer may take, and how long a peer is asked for a new head.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a peer may take to hand over the seed: a report and its evidence, each within the time that a
/// workload has at the same port ([`Timeouts::PATIENT`]).
const RECOVERY: Duration = Duration::from_secs(150);
/// Pause before a peer that is not there yet is asked again.
const AGAIN: Duration = Duration::from_millis(300);
/// How often a sealed Coordinator asks.
const PAUSE: Duration = Duration::from_secs(15);

/// Asks them.
#[derive(Debug)]
pub(crate) struct Peers {
    addresses: Vec<String>,
    connector: Connector,
    queue: Arc<ReportQueue>,
    core: Arc<Core>,
    /// Nonces of our own questions: whoever sees one of them is us.
    asking: Mutex<BTreeSet<[u8; NONCE_LEN]>>,
}

/// What one peer has proven.
struct Proven {
    /// The transition in force there.
    transition: TransitionHash,
    /// REPORT_ID of its guest.
    guest: [u8; 32],
}

/// Something that went wrong with one peer, as text for logs and owners.
type Failure = String;

impl Peers {
    pub(crate) fn new(addresses: Vec<String>, queue: Arc<ReportQueue>, core: Arc<Core>) -> Self {
        Self {
            addresses,
            connector: Connector::new(Timeouts::PATIENT),
            queue,
            core,
            asking: Mutex::default(),
        }
    }

    /// Whether the nonce is one of our own questions.
    pub(crate) fn is_mine(&self, nonce: &[u8; NONCE_LEN]) -> bool {
        lock(&self.asking).contains(nonce)
    }

    /// Asks every other Coordinator which transition is in force there.
    pub(crate) async fn confirm(self: &Arc<Self>, ready: &Arc<Ready>) -> Vec<v1::Replica> {
        let mut asked = tokio::task::JoinSet::new();
        for address in self.resolve().await {
            let (peers, ready) = (Arc::clone(self), Arc::clone(ready));
            asked.spawn(async move { (address, peers.confirm_patiently(address, &ready).await) });
        }
        let mut replicas = Vec::new();
        while let Some(Ok((address, answer))) = asked.join_next().await {
            let address = address.to_string();
            replicas.push(match answer {
                Ok(Some(proven)) => v1::Replica {
                    address,
                    transition: proven.transition.as_bytes().to_vec(),
                    error: String::new(),
                    guest: proven.guest.to_vec(),
                },
                Ok(None) => continue,
                Err(error) => v1::Replica {
                    address,
                    error,
                    ..v1::Replica::default()
                },
            });
        }
        replicas.sort_by(|a, b| a.address.cmp(&b.address));
        replicas
    }

    /// Asks one until it has the transition in force here: it may have to learn of it, and to fetch keys.
    async fn confirm_patiently(
        &self,
        address: SocketAddr,
        ready: &Ready,
    ) -> Result<Option<Proven>, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let question = self.confirm_one(address, ready);
            let answer = match tokio::time::timeout(PATIENCE, question).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {PATIENCE:?}")),
            };
            let there = match &answer {
                Ok(None) => true,
                Ok(Some(proven)) => proven.transition == ready.head().hash,
                Err(_) => false,
            };
            if there || Instant::now() >= until {
                return answer;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// What one peer proves to be in force; `None` when it is this very Coordinator.
    async fn confirm_one(
        &self,
        address: SocketAddr,
        ready: &Ready,
    ) -> Result<Option<Proven>, Failure> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| "no randomness".to_owned())?;
        let _asking = Asking::start(&self.asking, nonce);
        let manifest = ready.history.head().manifest.clone();
        let link = self.connect(address, Arc::clone(&manifest)).await?;
        let request = v1::ConfirmRequest {
            nonce: nonce.to_vec(),
        };
        let answer = match client(&link).confirm(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == tonic::Code::Aborted => return Ok(None),
            Err(status) => return Err(status.message().to_owned()),
        };
        let bytes = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| "a malformed answer");
        let (transition, digest) = (bytes(&answer.transition)?, bytes(&answer.manifest)?);
        let state = HttpState {
            nonce: &nonce,
            transition: &transition,
            manifest: &digest,
            root_spki: &answer.root_spki,
            mesh_ca: &answer.mesh_ca,
        };
        let evidence = Evidence::decode(&answer.evidence).map_err(|error| chain(&error))?;
        let appraise = self.appraiser(manifest);
        let claims = appraise.appraise(&evidence, state.report_data());
        let claims = claims.map_err(|error| chain(&error))?;
        if answer.root_spki != ready.ca.root_spki() {
            return Err("it has another root CA".to_owned());
        }
        Ok(Some(Proven {
            transition: TransitionHash::from_bytes(transition),
            guest: claims.report_id,
        }))
    }

    /// Asks each for the seed until one gives it.
    async fn recover(&self, authority: &Authority, history: &History) -> Result<(), Failure> {
        let mut last = "no other Coordinator is named (NACRE_PEERS)".to_owned();
        for address in self.resolve().await {
            let handed = tokio::time::timeout(RECOVERY, self.recover_one(address, history)).await;
            let handed = match handed {
                Ok(Ok(handed)) => handed,
                Ok(Err(error)) => {
                    last = format!("{address}: {error}");
                    continue;
                }
                Err(_) => {
                    last = format!("{address}: no answer within {RECOVERY:?}");
                    continue;
                }
            };
            match authority.adopt(handed).await {
                Ok(_) => return Ok(()),
                Err(error) => last = format!("{address}: {}", chain(&error)),
            }
        }
        Err(last)
    }

    async fn recover_one(&self, address: SocketAddr, history: &History) -> Result<Handed, Failure> {
        let manifest = Arc::clone(&history.head().manifest);
        let link = self.connect(address, manifest).await?;
        let answer = client(&link).recover(v1::PeerRecoverRequest {}).await;
        let mut answer = answer
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        let seed = Zeroizing::new(std::mem::take(&mut answer.seed));
        let mesh_key = Zeroizing::new(std::mem::take(&mut answer.mesh_key));
        let seed = Zeroizing::new(array(&seed)?);
        let scalar = Zeroizing::new(array(&mesh_key)?);
        Ok(Handed {
            seed: Seed::from_bytes(*seed),
            salt: Salt::from_bytes(array(&answer.salt)?),
            mesh_key: P384Key::from_scalar(&scalar).map_err(|error| chain(&error))?,
            certificates: CaCertificates {
                root: answer.root_ca,
                intermediate: answer.intermediate_ca,
                mesh: answer.mesh_ca,
            },
            transition: TransitionHash::from_bytes(array(&answer.transition)?),
            previous: Some(answer.previous_mesh_ca).filter(|der| !der.is_empty()),
        })
    }

    /// Recovers as soon as there is something to recover and somebody to recover from.
    pub(crate) async fn keep_recovering(self: Arc<Self>, authority: Arc<Authority>) {
        let mut states = self.core.cell.subscribe();
        loop {
            if let Err(reason) = self.try_recover(&authority).await {
                tracing::info!(reason, "not recovered from another Coordinator yet");
            }
            // Whatever comes first: a new state, or the next try.
            let _ = tokio::time::timeout(PAUSE, states.changed()).await;
        }
    }

    /// One try, if there is a history that permits it.
    pub(crate) async fn try_recover(&self, authority: &Authority) -> Result<(), Failure> {
        let Some(history) = authority.sealed_history() else {
            return Ok(());
        };
        if self.addresses.is_empty() {
            return Ok(());
        }
        if !history.head().manifest.peer_recovery {
            return Err("the manifest does not permit peer recovery".to_owned());
        }
        if !history.is_bound() {
            return Err("the first manifest was set by nobody in particular".to_owned());
        }
        self.recover(authority, &history).await
    }

    async fn connect(&self, address: SocketAddr, manifest: Arc<Manifest>) -> Result<Link, Failure> {
        let own = Own::Attested {
            kind: ClientKind::Coordinator,
            queue: &self.queue,
        };
        let appraise = self.appraiser(manifest);
        let link = connect(&address.to_string(), &self.connector, own, &appraise).await;
        link.map_err(|error| chain(&error))
    }

    fn appraiser(&self, manifest: Arc<Manifest>) -> CoordinatorsOf {
        CoordinatorsOf {
            core: Arc::clone(&self.core),
            manifest,
        }
    }

    /// Every address that the names stand for.
    async fn resolve(&self) -> Vec<SocketAddr> {
        let mut all = BTreeSet::new();
        for name in &self.addresses {
            let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host(name)).await;
            match found {
                Ok(Ok(addresses)) => all.extend(addresses),
                Ok(Err(error)) => tracing::warn!(name, %error, "cannot resolve a peer"),
                Err(_) => tracing::warn!(name, "resolving a peer takes too long"),
            }
        }
        all.into_iter().collect()
    }
}

/// Accepts the Coordinators of one manifest, whether it is in force or about to be recovered.
struct CoordinatorsOf {
    core: Arc<Core>,
    manifest: Arc<Manifest>,
}

impl Appraise for CoordinatorsOf {
    fn appraise(
        &self,
        evidence: &Evidence,
        report_data: [u8; 64],
    ) -> Result<Claims, AppraisalError> {
        let references = References::of(&self.manifest);
        let wanted = Wanted::Coordinator;
        self.core
            .appraise(&self.manifest, &references, evidence, report_data, wanted)
    }
}

fn client(link: &Link) -> MeshClient<Channel> {
    MeshClient::new(link.channel()).max_decoding_message_size(MAX_MESSAGE)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Failure> {
    bytes
        .try_into()
        .map_err(|_| "a part of the answer has a wrong length".to_owned())
}

/// A nonce for as long as its question is open.
struct Asking<'a> {
    open: &'a Mutex<BTreeSet<[u8; NONCE_LEN]>>,
    nonce: [u8; NONCE_LEN],
}

impl<'a> Asking<'a> {
    fn start(open: &'a Mutex<BTreeSet<[u8; NONCE_LEN]>>, nonce: [u8; NONCE_LEN]) -> Self {
        lock(open).insert(nonce);
        Self { open, nonce }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        lock(self.open).remove(&self.nonce);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
