//! The user API: translates requests of owners and verifiers, who bring signatures instead of evidence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nacre_api::limits::{MAX_PIECE, MAX_SIGNATURES};
use nacre_api::method;
use nacre_api::v1::{
    self, set_manifest_request::Step as Asked, set_manifest_response::Step as Told,
    user_server::User,
};
use nacre_atls::ReportQueue;
use nacre_atls::tonic::Caller;
use nacre_history::{Confirmation, ObjectKey, OwnerSignature, Transition};
use nacre_manifest::{SeedSharesHash, TransitionHash};
use nacre_pki::Share;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use crate::audit;
use crate::authority::{Authority, Draft, Outcome, Submission, malformed, wanted_policy};
use crate::denied::{Denied, chain};
use crate::guard::{Core, share_owner};
use crate::issuer::sha256;
use crate::peers::Peers;
use crate::recovery::{Progress, ShareGiven};
use crate::report;
use crate::state::{Ready, State};

/// Submissions at a time; each may hold one message of 2 MiB before it is judged.
const SUBMISSIONS: usize = 16;
/// Histories that are read out at a time.
const READERS: usize = 32;
/// Policies that are written together, so that they wait for the disk once, at most.
const BATCH: usize = 64;
/// Bytes that are written together before the next policy joins them: two batches may be in memory.
const BATCH_BYTES: usize = 2 << 20;
/// How long the next message of a submission may take.
const NEXT: Duration = Duration::from_secs(60);
/// How long the first message may take, whose sender nobody knows yet.
const FIRST: Duration = Duration::from_secs(10);
/// How long the owners may take to confirm: an HSM may want somebody's finger.
const CONFIRM: Duration = Duration::from_secs(600);
/// How long a reader may take to take the next piece.
const TAKE: Duration = Duration::from_secs(60);

// A proposal is one message: the manifest, and beside it signatures of at most some 20 KiB.
const _: () = assert!(nacre_manifest::MAX_BYTES + 32 * 1024 <= nacre_api::limits::MAX_MESSAGE);

/// Handlers of port 1313.
#[derive(Debug)]
pub(crate) struct UserApi {
    core: Arc<Core>,
    authority: Arc<Authority>,
    peers: Arc<Peers>,
    queue: Arc<ReportQueue>,
    submissions: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    recoveries: Arc<Semaphore>,
}

impl UserApi {
    pub(crate) fn new(
        authority: Arc<Authority>,
        peers: Arc<Peers>,
        queue: Arc<ReportQueue>,
    ) -> Self {
        Self {
            core: Arc::clone(&authority.core),
            authority,
            peers,
            queue,
            submissions: Arc::new(Semaphore::new(SUBMISSIONS)),
            readers: Arc::new(Semaphore::new(READERS)),
            recoveries: Arc::new(Semaphore::new(1)),
        }
    }

    fn status(&self, method: &'static str, remote: SocketAddr, denied: Denied) -> Status {
        self.core.metrics.denied("user", denied.reason());
        audit::refused(method, denied.code(), &chain(&denied), remote);
        denied.into()
    }

    /// One recovery at a time, which goes on when the caller is gone: what it has begun to read is not begun
    /// again beside it.
    async fn recover_in_turn(&self, given: ShareGiven) -> Result<Progress, Denied> {
        let turn = Arc::clone(&self.recoveries).acquire_owned().await;
        let turn = turn.map_err(|_| Denied::Busy)?;
        let authority = Arc::clone(&self.authority);
        let work = tokio::spawn(async move {
            let _turn = turn;
            authority.recover(given).await
        });
        work.await
            .map_err(|_| Denied::Internal("a recovery was given up"))?
    }

    async fn give_share(
        &self,
        caller: &Caller,
        request: v1::RecoverRequest,
    ) -> Result<v1::RecoverResponse, Denied> {
        let manifest = self.authority.recoverable()?;
        let owner = share_owner(caller, &request, &manifest)?;
        let share = Zeroizing::new(request.share);
        let expected = request.expected.as_slice();
        let expected = TransitionHash::try_from(expected).map_err(|_| Denied::Length {
            what: "expected transition",
            found: expected.len(),
            expected: TransitionHash::LEN,
        })?;
        let index = request.index;
        let byte = u8::try_from(index).map_err(|_| Denied::ShareIndex { index })?;
        let whole = Zeroizing::new([&[byte], share.as_slice()].concat());
        let share = Share::from_bytes(&whole).ok_or(Denied::Length {
            what: "share",
            found: share.len(),
            expected: nacre_pki::Seed::LEN,
        })?;
        let given = ShareGiven {
            owner,
            expected,
            index,
            share,
            dry_run: request.dry_run,
        };
        let progress = self.recover_in_turn(given).await?;
        Ok(v1::RecoverResponse {
            recovered: progress.recovered.is_some(),
            generation: progress.generation,
            transition: progress.transition.as_bytes().to_vec(),
            received: progress.received,
            needed: u32::try_from(progress.needed).unwrap_or(u32::MAX),
        })
    }
}

#[tonic::async_trait]
impl User for UserApi {
    async fn get_state(
        &self,
        _: Request<v1::GetStateRequest>,
    ) -> Result<Response<v1::GetStateResponse>, Status> {
        let inner = self.authority.inner.lock().await;
        let state = self.core.cell.load();
        let mut response = v1::GetStateResponse {
            phase: state.phase().into(),
            pending: inner.pending.messages(),
            ..v1::GetStateResponse::default()
        };
        if let Some((generation, transition, manifest)) = state.head() {
            response.generation = generation;
            response.transition = transition.as_bytes().to_vec();
            response.manifest = manifest.as_bytes().to_vec();
        }
        if let State::Sealed(sealed) = &*state {
            if let Ok(history) = &sealed.history {
                response.shares_needed = history.head().manifest.recovery_threshold;
            }
            let progress = inner
                .recovery
                .as_ref()
                .and_then(|session| session.progress());
            response.shares_received = progress.map(|(indices, _)| indices).unwrap_or_default();
        }
        Ok(Response::new(response))
    }

    type SetManifestStream = ReceiverStream<Result<v1::SetManifestResponse, Status>>;

    async fn set_manifest(
        &self,
        request: Request<Streaming<v1::SetManifestRequest>>,
    ) -> Result<Response<Self::SetManifestStream>, Status> {
        let caller = Caller::of(&request)?;
        let remote = caller.remote();
        let permit = Arc::clone(&self.submissions).try_acquire_owned();
        let permit = permit.map_err(|_| self.status("SetManifest", remote, Denied::Busy))?;
        let (out, answers) = mpsc::channel(4);
        let dialog = Dialog {
            caller,
            asked: request.into_inner(),
            out: out.clone(),
            authority: Arc::clone(&self.authority),
            peers: Arc::clone(&self.peers),
        };
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let _permit = permit;
            let started = Instant::now();
            let ended = dialog.run().await;
            core.metrics.took("SetManifest", started.elapsed());
            if let Err(denied) = ended {
                core.metrics.denied("user", denied.reason());
                audit::refused("SetManifest", denied.code(), &chain(&denied), remote);
                // Whether anybody still listens changes nothing.
                let _ = out.send(Err(denied.into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    type GetManifestsStream = ReceiverStream<Result<v1::GetManifestsResponse, Status>>;

    async fn get_manifests(
        &self,
        request: Request<v1::GetManifestsRequest>,
    ) -> Result<Response<Self::GetManifestsStream>, Status> {
        let remote = Caller::of(&request)?.remote();
        let status = |denied| self.status("GetManifests", remote, denied);
        let permit = Arc::clone(&self.readers).try_acquire_owned();
        let permit = permit.map_err(|_| status(Denied::Busy))?;
        let nonce = report::nonce(&request.get_ref().nonce).map_err(status)?;
        let ready = self.core.ready().map_err(status)?;
        let evidence = report::evidence(&ready, &self.queue, &nonce).await;
        let evidence = evidence.map_err(status)?;
        let keys = objects(&ready);
        let head = report::message(&ready, &evidence, keys.len());
        let (out, answers) = mpsc::channel(2);
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let _permit = permit;
            let started = Instant::now();
            if let Err(denied) = read_out(&core, &ready, head, keys, &out).await {
                core.metrics.denied("user", denied.reason());
                audit::refused("GetManifests", denied.code(), &chain(&denied), remote);
                let _ = out.send(Err(denied.into())).await;
            }
            core.metrics.took("GetManifests", started.elapsed());
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let caller = Caller::of(&request)?;
        let started = Instant::now();
        let answer = self.give_share(&caller, request.into_inner()).await;
        self.core.metrics.took("Recover", started.elapsed());
        answer
            .map(Response::new)
            .map_err(|denied| self.status("Recover", caller.remote(), denied))
    }
}

/// One submission.
struct Dialog {
    caller: Caller,
    asked: Streaming<v1::SetManifestRequest>,
    out: mpsc::Sender<Result<v1::SetManifestResponse, Status>>,
    authority: Arc<Authority>,
    peers: Arc<Peers>,
}

impl Dialog {
    async fn run(mut self) -> Result<(), Denied> {
        let first = match self.next("the proposal", FIRST).await? {
            Asked::Proposal(proposal) => proposal,
            _ => {
                return Err(Denied::Step {
                    expected: "the proposal",
                });
            }
        };
        let submission = submission(&self.caller, first)?;
        let mut draft = self.authority.draft(submission).await?;
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

    /// Takes the wanted policies, some being written together while the next ones come.
    async fn policies(&mut self, draft: &mut Draft) -> Result<(), Denied> {
        let mut writes = JoinSet::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        loop {
            let done = match self.next("the next policy", NEXT).await? {
                Asked::Policy(raw) => {
                    let hash = wanted_policy(&draft.wanted, &raw)?;
                    draft.wanted.remove(&hash);
                    bytes += raw.len();
                    batch.push((hash, raw));
                    false
                }
                Asked::PoliciesDone(_) => true,
                _ => {
                    return Err(Denied::Step {
                        expected: "a policy",
                    });
                }
            };
            if batch.len() >= BATCH || bytes >= BATCH_BYTES || (done && !batch.is_empty()) {
                if let Some(write) = writes.join_next().await {
                    written(write)?;
                }
                let authority = Arc::clone(&self.authority);
                let batch = std::mem::take(&mut batch);
                writes.spawn(async move { authority.store_policies(batch).await });
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

/// Names of every object of the history in force, `latest` last.
pub(crate) fn objects(ready: &Ready) -> Vec<ObjectKey> {
    let mut keys = std::collections::BTreeSet::new();
    let confirmation = ready.history.confirmation();
    keys.insert(ObjectKey::Confirmation(confirmation.transition));
    keys.insert(ObjectKey::SeedShares(confirmation.seed_shares));
    for entry in ready.history.entries() {
        keys.insert(ObjectKey::Transition(entry.hash));
        keys.insert(ObjectKey::Manifest(entry.transition.manifest));
        let policies = entry.manifest.policies.keys();
        keys.extend(policies.map(|policy| ObjectKey::Policy(*policy)));
    }
    keys.insert(ObjectKey::Latest);
    keys.into_iter().collect()
}

/// The bytes of an object of this very state.
pub(crate) async fn object(core: &Core, ready: &Ready, key: ObjectKey) -> Result<Vec<u8>, Denied> {
    match key {
        ObjectKey::Latest => Ok(ready.latest.clone()),
        key => core.storage.checked(key).await,
    }
}

async fn read_out(
    core: &Core,
    ready: &Ready,
    head: v1::AttestedState,
    keys: Vec<ObjectKey>,
    out: &mpsc::Sender<Result<v1::GetManifestsResponse, Status>>,
) -> Result<(), Denied> {
    use v1::get_manifests_response::Part;

    give(out, Part::Head(head)).await?;
    for key in keys {
        let bytes = object(core, ready, key).await?;
        let mut pieces = bytes.chunks(MAX_PIECE).peekable();
        while let Some(piece) = pieces.next() {
            let object = v1::Object {
                key: key.to_string(),
                content: piece.to_vec(),
                last: pieces.peek().is_none(),
            };
            give(out, Part::Object(object)).await?;
        }
    }
    Ok(())
}

async fn give(
    out: &mpsc::Sender<Result<v1::GetManifestsResponse, Status>>,
    part: v1::get_manifests_response::Part,
) -> Result<(), Denied> {
    let message = v1::GetManifestsResponse { part: Some(part) };
    let slow = Denied::Slow {
        what: "taking the next piece",
        limit: TAKE,
    };
    match tokio::time::timeout(TAKE, out.send(Ok(message))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(slow),
    }
}
