//! One attested connection to a Coordinator, and what it is asked.

use std::future::Future;
use std::time::Duration;

use nacre_api::limits::{MAX_MESSAGE, NONCE_LEN};
use nacre_api::v1::user_client::UserClient;
use nacre_api::v1::{self, Phase};
use nacre_atls::Connector;
use nacre_atls::tonic::{Channel, Link, Own, connect};
use nacre_attest::{Evidence, Timestamp};
use nacre_history::Transition;
use nacre_manifest::{KeyDigest, ManifestHash, PolicyHash, TransitionHash};

use crate::error::ClientError;
use crate::snapshot::{AnswerError, Assembly, Snapshot};
use crate::trust::{Examiner, Expectation, Trust};

/// How long an answer, or the next part of one, may take. A report of a busy machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection whose other end has proven that it is one of the expected Coordinators.
#[derive(Debug)]
pub struct Session {
    address: String,
    link: Link,
    user: UserClient<Channel>,
}

/// What a Coordinator says about itself. Proven only as far as the Coordinator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether it waits for a manifest, for recovery, or works.
    pub phase: Phase,
    /// The transition in force, or the head that waits for recovery.
    pub head: Option<TransitionHash>,
    /// Its number.
    pub generation: u64,
    /// Its manifest.
    pub manifest: Option<ManifestHash>,
    /// Proposals that lack approvals.
    pub pending: Vec<Pending>,
    /// While it waits for recovery: indices of shares that have arrived.
    pub shares_received: Vec<u32>,
    /// While it waits for recovery: how many shares it needs.
    pub shares_needed: u32,
}

/// A proposal that lacks approvals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// What would come into force; names its manifest by hash.
    pub transition: Transition,
    /// Who has approved.
    pub approved_by: Vec<KeyDigest>,
    /// How many have to.
    pub needed: u32,
}

impl Session {
    /// Connects to `host:port`.
    pub async fn open(
        address: &str,
        trust: &Trust,
        expectation: &Expectation,
        now: Timestamp,
    ) -> Result<Self, ClientError> {
        let examiner = Examiner {
            trust,
            expectation,
            now,
        };
        let connector = Connector::default();
        let link = connect(address, &connector, Own::Unattested, &examiner)
            .await
            .map_err(|source| ClientError::Connect {
                address: address.to_owned(),
                source,
            })?;
        Ok(Self::over(address, link))
    }

    /// On a connection that is there already.
    pub fn over(address: &str, link: Link) -> Self {
        let user = UserClient::new(link.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Self {
            address: address.to_owned(),
            link,
            user,
        }
    }

    /// The address, as given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// HOST_DATA of the Coordinator.
    pub fn coordinator(&self) -> PolicyHash {
        PolicyHash::from_bytes(self.link.server().claims().host_data)
    }

    /// The evidence of the connection.
    pub fn evidence(&self) -> &Evidence {
        self.link.server().evidence()
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) fn user(&mut self) -> &mut UserClient<Channel> {
        &mut self.user
    }

    /// What phase the Coordinator is in.
    pub async fn state(&mut self) -> Result<State, ClientError> {
        let request = self.user.get_state(v1::GetStateRequest {});
        let state = patient("state", request).await?.into_inner();
        State::of(state).map_err(ClientError::Answer)
    }

    /// The whole history with fresh evidence. `progress` hears how many objects of how many are there.
    pub async fn snapshot(
        &mut self,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Snapshot, ClientError> {
        let nonce = nonce()?;
        let request = v1::GetManifestsRequest {
            nonce: nonce.to_vec(),
        };
        let mut stream = patient("history", self.user.get_manifests(request))
            .await?
            .into_inner();
        let mut assembly = Assembly::new(nonce);
        while let Some(part) = patient("history", stream.message()).await? {
            assembly.add(part)?;
            let (there, announced) = assembly.progress();
            progress(there, announced);
        }
        Ok(assembly.finish()?)
    }
}

impl State {
    fn of(state: v1::GetStateResponse) -> Result<Self, AnswerError> {
        let malformed = |what| AnswerError::Malformed { what };
        let hash = |bytes: &[u8], what| -> Result<Option<[u8; 32]>, AnswerError> {
            match bytes {
                [] => Ok(None),
                bytes => bytes.try_into().map(Some).map_err(|_| malformed(what)),
            }
        };
        let phase = state.phase();
        if phase == Phase::Unspecified {
            return Err(malformed("the phase"));
        }
        Ok(Self {
            phase,
            head: hash(&state.transition, "the hash of the transition")?
                .map(TransitionHash::from_bytes),
            generation: state.generation,
            manifest: hash(&state.manifest, "the hash of the manifest")?
                .map(ManifestHash::from_bytes),
            pending: state
                .pending
                .into_iter()
                .map(Pending::of)
                .collect::<Result<_, _>>()?,
            shares_received: state.shares_received,
            shares_needed: state.shares_needed,
        })
    }
}

impl Pending {
    pub(crate) fn of(pending: v1::PendingTransition) -> Result<Self, AnswerError> {
        let malformed = |what| AnswerError::Malformed { what };
        let transition = Transition::parse(&pending.transition)
            .map_err(|_| malformed("a pending transition"))?;
        let approved_by = pending
            .approved_by
            .iter()
            .map(|digest| KeyDigest::try_from(digest.as_slice()))
            .collect::<Result<_, _>>()
            .map_err(|_| malformed("an approval"))?;
        Ok(Self {
            transition,
            approved_by,
            needed: pending.needed,
        })
    }
}

/// Waits for an answer, but not for ever.
pub(crate) async fn patient<T>(
    step: &'static str,
    answer: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ClientError::Timeout {
            step,
            seconds: PATIENCE.as_secs(),
        }),
    }
}

fn nonce() -> Result<[u8; NONCE_LEN], ClientError> {
    let mut nonce = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| crate::keys::SignError::Key)?;
    Ok(nonce)
}
