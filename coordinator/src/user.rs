//! The user API: translates requests of owners and verifiers, who bring signatures instead of evidence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nacre_api::limits::MAX_PIECE;
use nacre_api::v1::{self, user_server::User};
use nacre_atls::tonic::Caller;
use nacre_atls::{Places, ReportQueue, WhenFull};
use nacre_history::ObjectKey;
use nacre_manifest::TransitionHash;
use nacre_pki::Share;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use zeroize::{Zeroize as _, Zeroizing};

use crate::audit;
use crate::authority::Authority;
use crate::denied::{Denied, chain};
use crate::dialog::{Dialog, Submissions};
use crate::guard::{Core, share_owner};
use crate::peers::Peers;
use crate::recovery::{self, Progress, ShareGiven};
use crate::report;
use crate::state::{Ready, State};

/// Submissions at a time of which nothing is known yet; each may hold one message of 2 MiB, raw and decoded.
const UNJUDGED: usize = 8;
/// Histories that are read out at a time. One whose reader takes nothing holds an object for [`KEEP`], then some
/// four pieces: those that gRPC sends and has encoded, one in the channel and one before it.
const READERS: usize = 16;
/// Bytes of an object that are sent in one message.
const PIECE: usize = 128 * 1024;
const _: () = assert!(PIECE <= MAX_PIECE);
/// How long a reader that takes nothing keeps a whole object in memory, which is read again then.
const KEEP: Duration = Duration::from_secs(2);
/// How long a reader may take to take the next piece.
const TAKE: Duration = Duration::from_secs(60);
/// How long it may take to read a whole history out.
const READ_OUT: Duration = Duration::from_secs(600);

/// Handlers of port 1313.
#[derive(Debug)]
pub(crate) struct UserApi {
    core: Arc<Core>,
    authority: Arc<Authority>,
    peers: Arc<Peers>,
    queue: Arc<ReportQueue>,
    unjudged: Arc<Places>,
    submissions: Arc<Submissions>,
    readers: Arc<Places>,
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
            unjudged: Places::new(UNJUDGED, WhenFull::Replace),
            submissions: Arc::default(),
            readers: Places::new(READERS, WhenFull::Refuse),
            recoveries: Arc::new(Semaphore::new(1)),
        }
    }

    fn status(&self, method: &'static str, remote: SocketAddr, denied: Denied) -> Status {
        refused(&self.core, method, remote, denied)
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
        let request = Cleared(request);
        let request = &request.0;
        let manifest = self.authority.recoverable()?;
        let owner = share_owner(caller, request, &manifest)?;
        let share = request.share.as_slice();
        let expected = request.expected.as_slice();
        let expected = TransitionHash::try_from(expected).map_err(|_| Denied::Length {
            what: "expected transition",
            found: expected.len(),
            expected: TransitionHash::LEN,
        })?;
        let index = request.index;
        let byte = u8::try_from(index).map_err(|_| Denied::ShareIndex { index })?;
        let whole = Zeroizing::new([&[byte], share].concat());
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

/// A request whose share is cleared, however it ends.
struct Cleared(v1::RecoverRequest);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.share.zeroize();
    }
}

#[tonic::async_trait]
impl User for UserApi {
    async fn get_state(
        &self,
        _: Request<v1::GetStateRequest>,
    ) -> Result<Response<v1::GetStateResponse>, Status> {
        let shown = self.authority.shown();
        let state = self.core.cell.load();
        let mut response = v1::GetStateResponse {
            phase: state.phase().into(),
            pending: shown.pending.clone(),
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
            let shares = shown.shares.as_ref();
            let shares = shares.filter(|(_, since)| !recovery::is_over(*since));
            response.shares_received = shares.map(|(i, _)| i.clone()).unwrap_or_default();
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
        let place = self.unjudged.take(remote.ip());
        let place = place.ok_or_else(|| self.status("SetManifest", remote, Denied::Busy))?;
        let (out, answers) = mpsc::channel(4);
        let dialog = Dialog {
            caller,
            asked: request.into_inner(),
            out: out.clone(),
            authority: Arc::clone(&self.authority),
            peers: Arc::clone(&self.peers),
            submissions: Arc::clone(&self.submissions),
        };
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let started = Instant::now();
            let ended = dialog.run(place).await;
            core.metrics.took("SetManifest", started.elapsed());
            if let Err(denied) = ended {
                let refused = refused(&core, "SetManifest", remote, denied);
                // Whether anybody still listens changes nothing.
                let _ = out.send(Err(refused)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    type GetManifestsStream = ReceiverStream<Answer>;

    async fn get_manifests(
        &self,
        request: Request<v1::GetManifestsRequest>,
    ) -> Result<Response<Self::GetManifestsStream>, Status> {
        let remote = Caller::of(&request)?.remote();
        let status = |denied| self.status("GetManifests", remote, denied);
        let place = self.readers.take(remote.ip());
        let mut place = place.ok_or_else(|| status(Denied::Busy))?;
        let nonce = report::nonce(&request.get_ref().nonce).map_err(status)?;
        let ready = self.core.ready().map_err(status)?;
        let evidence = report::evidence(&ready, &self.queue, &nonce).await;
        let evidence = evidence.map_err(status)?;
        let head = report::message(&ready, &evidence, ready.history.objects().len());
        let (out, answers) = mpsc::channel(1);
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let started = Instant::now();
            let read = read_out(&core, &ready, head, &out);
            let read = tokio::select! {
                read = tokio::time::timeout(READ_OUT, read) => read.unwrap_or(Err(Denied::Slow {
                    what: "reading the history",
                    limit: READ_OUT,
                })),
                () = place.given_away() => Err(Denied::Busy),
            };
            if let Err(denied) = read {
                let refused = refused(&core, "GetManifests", remote, denied);
                // A reader that takes nothing is not waited for.
                let _ = out.try_send(Err(refused));
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

/// Counts and writes down a refusal, and says it.
pub(crate) fn refused(
    core: &Core,
    method: &'static str,
    remote: SocketAddr,
    denied: Denied,
) -> Status {
    core.metrics.denied("user", denied.reason());
    audit::refused(method, denied.code(), &chain(&denied), remote);
    denied.into()
}

/// The bytes of an object of this very state.
pub(crate) async fn object(core: &Core, ready: &Ready, key: ObjectKey) -> Result<Vec<u8>, Denied> {
    match key {
        ObjectKey::Latest => Ok(ready.latest.clone()),
        key => core.storage.checked(key).await,
    }
}

/// A piece of a history, or why there are no more.
type Answer = Result<v1::GetManifestsResponse, Status>;
/// Where they go.
type Out = mpsc::Sender<Answer>;

async fn read_out(
    core: &Core,
    ready: &Ready,
    head: v1::AttestedState,
    out: &Out,
) -> Result<(), Denied> {
    use v1::get_manifests_response::Part;

    give(room(out).await?, Part::Head(head));
    for &key in ready.history.objects().iter() {
        let mut bytes = None;
        let mut from = 0;
        loop {
            // Whoever takes nothing for a while costs pieces, not objects.
            let room = match tokio::time::timeout(KEEP, out.reserve()).await {
                Ok(room) => room.map_err(|_| slow())?,
                Err(_) => {
                    bytes = None;
                    room(out).await?
                }
            };
            let whole = match &mut bytes {
                Some(whole) => whole,
                none => none.insert(object(core, ready, key).await?),
            };
            let end = whole.len().min(from + PIECE);
            let object = v1::Object {
                key: key.to_string(),
                content: whole.get(from..end).unwrap_or_default().to_vec(),
                last: end == whole.len(),
            };
            let last = object.last;
            give(room, Part::Object(object));
            if last {
                break;
            }
            from = end;
        }
    }
    Ok(())
}

/// Room for the next piece, as soon as the reader has taken one.
async fn room(out: &Out) -> Result<mpsc::Permit<'_, Answer>, Denied> {
    match tokio::time::timeout(TAKE, out.reserve()).await {
        Ok(Ok(room)) => Ok(room),
        _ => Err(slow()),
    }
}

fn slow() -> Denied {
    Denied::Slow {
        what: "taking the next piece",
        limit: TAKE,
    }
}

fn give(room: mpsc::Permit<'_, Answer>, part: v1::get_manifests_response::Part) {
    room.send(Ok(v1::GetManifestsResponse { part: Some(part) }));
}
