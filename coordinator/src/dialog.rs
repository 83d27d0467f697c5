//! A submission, message by message: from a caller of whom nothing is known to a manifest in force.

use std::sync::Arc;
use std::time::Duration;

use nacre_api::limits::MAX_SIGNATURES;
use nacre_api::method;
use nacre_api::v1::{
    self, set_manifest_request::Step as Asked, set_manifest_response::Step as Told,
};
use nacre_atls::Place;
use nacre_atls::tonic::Caller;
use nacre_history::{Confirmation, ObjectKey, OwnerSignature, Transition};
use nacre_manifest::SeedSharesHash;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use crate::authority::{Authority, Draft, Outcome, Submission, malformed, wanted_policy};
use crate::denied::Denied;
use crate::issuer::sha256;
use crate::peers::Peers;
use crate::state::Ready;

/// Submissions at a time whose owners' signatures hold.
const JUDGED: usize = 8;
/// Batches of policies that are written at a time, for all submissions.
const WRITES: usize = 8;
/// Policies that are written together, so that they wait for the disk once, before the next message joins them.
const BATCH: usize = 256;
/// Bytes that are written together before the next message joins them: 3 MiB at most.
const BATCH_BYTES: usize = 2 << 20;
/// How long the next message of a submission may take.
const NEXT: Duration = Duration::from_secs(60);
/// How long the first message may take, whose sender nobody knows yet.
const FIRST: Duration = Duration::from_secs(10);
/// How long the owners may take to confirm: an HSM may want somebody's finger.
const CONFIRM: Duration = Duration::from_secs(600);

// A proposal is one message: the manifest, and beside it signatures of at most some 20 KiB.
const _: () = assert!(nacre_manifest::MAX_BYTES + 32 * 1024 <= nacre_api::limits::MAX_MESSAGE);

/// How much is done at a time for owners whose signatures hold.
#[derive(Debug)]
pub(crate) struct Submissions {
    judged: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Default for Submissions {
    fn default() -> Self {
        Self {
            judged: Arc::new(Semaphore::new(JUDGED)),
            writes: Arc::new(Semaphore::new(WRITES)),
        }
    }
}

/// One submission.
pub(crate) struct Dialog {
    pub(crate) caller: Caller,
    pub(crate) asked: Streaming<v1::SetManifestRequest>,
    pub(crate) out: mpsc::Sender<Result<v1::SetManifestResponse, Status>>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) submissions: Arc<Submissions>,
}

impl Dialog {
    /// Ends it. `place` is that of a caller of whom nothing is known yet.
    pub(crate) async fn run(mut self, mut place: Place) -> Result<(), Denied> {
        let draft = tokio::select! {
            draft = self.draft() => draft,
            () = place.given_away() => Err(Denied::Busy),
        };
        let mut draft = draft?;
        let turn = Arc::clone(&self.submissions.judged).try_acquire_owned();
        let _turn = turn.map_err(|_| Denied::Busy)?;
        drop(place);
        let wanted = draft.wanted.iter();
        let policies = wanted.map(|hash| hash.as_bytes().to_vec()).collect();
        self.tell(Told::Wanted(v1::Wanted { policies })).await;
        self.policies(&mut draft).await?;
        let outcome = match self.authority.conclude(&draft).await? {
            Outcome::Offer(offered) => {
                let Confirmation {
                    salt,
                    root_spki,
                    history_spki,
                    ..
                } = offered.confirmation;
                let offer = v1::Offer {
                    salt: salt.to_vec(),
                    root_spki,
                    history_spki,
                    seed_shares: offered.shares,
                };
                self.tell(Told::Offer(offer)).await;
                let expected = "the confirmation";
                let Asked::Confirmation(confirmation) = self.next(expected, CONFIRM).await? else {
                    return Err(Denied::Step { expected });
                };
                let signatures = signatures(&confirmation.signatures)?;
                let body = Confirmation::parse(&confirmation.confirmation);
                let body = body.map_err(malformed("the confirmation"))?;
                self.authority.confirm(&draft, body, signatures).await?
            }
            other => other,
        };
        let result = self.result(&draft, outcome).await?;
        self.tell(Told::Result(result)).await;
        Ok(())
    }

    /// The proposal, by owners whose signatures hold.
    async fn draft(&mut self) -> Result<Draft, Denied> {
        let expected = "the proposal";
        let Asked::Proposal(proposal) = self.next(expected, FIRST).await? else {
            return Err(Denied::Step { expected });
        };
        let submission = submission(&self.caller, proposal)?;
        self.authority.draft(submission).await
    }

    /// Takes the wanted policies, some being written together while the next ones come.
    async fn policies(&mut self, draft: &mut Draft) -> Result<(), Denied> {
        let mut writes = JoinSet::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        loop {
            let done = match self.next("the next policies", NEXT).await? {
                Asked::Policies(policies) => {
                    for raw in policies.unpack()? {
                        let hash = wanted_policy(&draft.wanted, &raw)?;
                        draft.wanted.remove(&hash);
                        bytes += raw.len();
                        batch.push((hash, raw));
                    }
                    false
                }
                Asked::PoliciesDone(_) => true,
                _ => {
                    return Err(Denied::Step {
                        expected: "policies",
                    });
                }
            };
            if batch.len() >= BATCH || bytes >= BATCH_BYTES || (done && !batch.is_empty()) {
                if let Some(write) = writes.join_next().await {
                    written(write)?;
                }
                let turn = Arc::clone(&self.submissions.writes).acquire_owned().await;
                let turn = turn.map_err(|_| Denied::Busy)?;
                let authority = Arc::clone(&self.authority);
                let batch = std::mem::take(&mut batch);
                writes.spawn(async move {
                    let _turn = turn;
                    authority.store_policies(batch).await
                });
                bytes = 0;
            }
            if done {
                break;
            }
        }
        while let Some(write) = writes.join_next().await {
            written(write)?;
        }
        match draft.wanted.first() {
            Some(first) => Err(Denied::PoliciesMissing {
                count: draft.wanted.len(),
                first: *first,
            }),
            None => Ok(()),
        }
    }

    async fn result(
        &self,
        draft: &Draft,
        outcome: Outcome,
    ) -> Result<v1::SetManifestResult, Denied> {
        let transition = draft.proposed.transition;
        let mut result = v1::SetManifestResult {
            generation: transition.generation,
            transition: transition.hash().as_bytes().to_vec(),
            ..v1::SetManifestResult::default()
        };
        let ready = match outcome {
            Outcome::Applied(ready) => ready,
            Outcome::Pending(pending) => {
                result.pending = Some(pending);
                return Ok(result);
            }
            Outcome::Offer(_) => return Err(Denied::Internal("an offer after the confirmation")),
        };
        result.applied = true;
        result.root_ca = ready.ca.root_pem();
        result.mesh_ca = ready.ca.mesh_ca_pem();
        if transition.is_genesis() {
            result.seed_shares = self.shares(&ready).await?;
        }
        result.unconfirmed = !self.reads_back(&ready).await;
        let mine = ready.head().hash.as_bytes().to_vec();
        result.replicas.push(v1::Replica {
            address: String::new(),
            transition: mine,
            error: String::new(),
            guest: self.authority.core.guest.to_vec(),
        });
        result.replicas.extend(self.peers.confirm(&ready).await);
        Ok(result)
    }

    async fn shares(&self, ready: &Ready) -> Result<Vec<u8>, Denied> {
        let hash: SeedSharesHash = ready.history.confirmation().seed_shares;
        let storage = &self.authority.core.storage;
        storage.checked(ObjectKey::SeedShares(hash)).await
    }

    /// Whether the store says what was just written to it.
    async fn reads_back(&self, ready: &Ready) -> bool {
        let stored = self.authority.core.storage.latest().await;
        matches!(stored, Ok(Some(stored)) if stored.bytes == ready.latest)
    }

    async fn next(&mut self, what: &'static str, limit: Duration) -> Result<Asked, Denied> {
        let message = tokio::time::timeout(limit, self.asked.message()).await;
        let message = message.map_err(|_| Denied::Slow { what, limit })?;
        let step = message.ok().flatten().and_then(|message| message.step);
        step.ok_or(Denied::Step { expected: what })
    }

    /// A caller who is gone learns nothing; what was stored is stored.
    async fn tell(&self, step: Told) {
        let message = v1::SetManifestResponse { step: Some(step) };
        let _ = self.out.send(Ok(message)).await;
    }
}

fn written(result: Result<Result<(), Denied>, tokio::task::JoinError>) -> Result<(), Denied> {
    result.map_err(|_| Denied::Internal("writing policies was given up"))?
}

fn submission(caller: &Caller, proposal: v1::Proposal) -> Result<Submission, Denied> {
    let transition = Transition::parse(&proposal.transition);
    Ok(Submission {
        transition: transition.map_err(malformed("the transition"))?,
        manifest: proposal.manifest,
        signatures: signatures(&proposal.signatures)?,
        online: signatures(&proposal.online)?,
        online_message: caller.owner_request(method::SET_MANIFEST, &sha256(&proposal.transition)),
    })
}

fn signatures(list: &[v1::Signature]) -> Result<Vec<OwnerSignature>, Denied> {
    if list.len() > MAX_SIGNATURES {
        return Err(Denied::Length {
            what: "list of signatures",
            found: list.len(),
            expected: MAX_SIGNATURES,
        });
    }
    list.iter()
        .map(|one| OwnerSignature::new(&one.spki, &one.signature))
        .collect::<Result<_, _>>()
        .map_err(malformed("a signature"))
}
