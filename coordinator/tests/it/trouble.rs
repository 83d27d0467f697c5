//! Stores and clocks that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::set_manifest_response::Step as Tell;
use nacre_api::v1::{self, Phase};
use nacre_coordinator::Deps;
use nacre_history::{ObjectKey, Transition};
use nacre_manifest::{Manifest, PolicyHash};
use nacre_store::{
    Directory, Found, Later, Latest, Object, Put, Store, StoreError, StoreKey, Swap, Version,
};
use tonic::Code;

use crate::support::running::policies;
use crate::support::{
    COORDINATOR, Deployment, Dialog, Running, ShareOwner, WEB, confirmation, eventually,
    give_share, guest, refused, signed, verifier,
};

const WELL: u8 = 0;
const FULL: u8 = 1;
const READ_ONLY: u8 = 2;
const SLOW: u8 = 3;
/// Moves `latest`, and the answer is lost.
const LOST: u8 = 4;
/// Moves `latest`, the answer is lost, and it is [`MUTE`] afterwards.
const CUT: u8 = 5;
/// Says what `latest` is, and gives no objects.
const DEAF: u8 = 6;
/// Tells nobody that `latest` has changed.
const SILENT: u8 = 7;
/// Does not say what `latest` is.
const MUTE: u8 = 9;
/// Another Coordinator's confirmation is written just before `latest` moves.
const RACED: u8 = 8;
/// Writes never end.
const STUCK: u8 = 10;

/// A directory on a disk that has a mood.
#[derive(Debug)]
struct Moody {
    inner: Directory,
    mood: AtomicU8,
    reads: AtomicU64,
}

impl Moody {
    fn of(deployment: &Deployment) -> Arc<Self> {
        Arc::new(Self {
            inner: Directory::open(&deployment.folder.path().join("history")).unwrap(),
            mood: AtomicU8::new(WELL),
            reads: AtomicU64::new(0),
        })
    }

    fn is(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }

    fn error(code: i32) -> StoreError {
        StoreError::Io {
            path: "/history".into(),
            source: std::io::Error::from_raw_os_error(code),
        }
    }

    async fn write(&self) -> Result<(), StoreError> {
        match self.mood.load(Ordering::SeqCst) {
            // ENOSPC, EROFS
            FULL => Err(Self::error(28)),
            READ_ONLY => Err(Self::error(30)),
            SLOW => {
                tokio::time::sleep(Duration::from_millis(400)).await;
                Ok(())
            }
            STUCK => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

impl Store for Moody {
    fn read<'a>(&'a self, key: &'a StoreKey) -> Later<'a, Option<Vec<u8>>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.mood.load(Ordering::SeqCst) == DEAF {
            return Box::pin(async { Err(Self::error(5)) });
        }
        self.inner.read(key)
    }

    fn read_all(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<Found>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for key in keys.iter() {
                found.push(self.read(key).await);
            }
            Ok(found)
        })
    }

    fn there(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<bool>> {
        self.inner.there(keys)
    }

    fn put<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, Put> {
        Box::pin(async move {
            self.write().await?;
            self.inner.put(key, bytes).await
        })
    }

    fn put_all(&self, objects: Arc<[Object]>) -> Later<'_, Vec<Put>> {
        Box::pin(async move {
            self.write().await?;
            self.inner.put_all(objects).await
        })
    }

    fn replace<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, ()> {
        Box::pin(async move {
            self.write().await?;
            self.inner.replace(key, bytes).await
        })
    }

    fn latest(&self) -> Later<'_, Option<Latest>> {
        if self.mood.load(Ordering::SeqCst) == MUTE {
            return Box::pin(async { Err(Self::error(5)) });
        }
        self.inner.latest()
    }

    fn swap<'a>(&'a self, expected: Option<&'a Version>, bytes: &'a [u8]) -> Later<'a, Swap> {
        Box::pin(async move {
            self.write().await?;
            if self.mood.load(Ordering::SeqCst) == RACED {
                let folder = self.inner.path().join("confirmations");
                for entry in std::fs::read_dir(folder).unwrap() {
                    std::fs::write(entry.unwrap().path(), b"of another").unwrap();
                }
            }
            let swapped = self.inner.swap(expected, bytes).await?;
            let mood = self.mood.load(Ordering::SeqCst);
            if mood == CUT {
                self.is(MUTE);
            }
            if matches!(mood, LOST | CUT) {
                return Err(Self::error(5));
            }
            Ok(swapped)
        })
    }

    fn changed<'a>(&'a self, seen: Option<&'a Version>) -> Later<'a, Option<Latest>> {
        if self.mood.load(Ordering::SeqCst) == SILENT {
            return Box::pin(std::future::pending());
        }
        self.inner.changed(seen)
    }
}

async fn on(deployment: &Deployment, store: &Arc<Moody>) -> Running {
    let store = Arc::clone(store) as Arc<dyn Store>;
    deployment.start_with(guest(COORDINATOR), store, &[]).await
}

#[tokio::test]
async fn a_disk_that_is_full_or_read_only_changes_nothing_and_a_slow_one_only_takes_longer() {
    let deployment = Deployment::new();
    let store = Moody::of(&deployment);
    let running = on(&deployment, &store).await;
    store.is(FULL);
    let first = deployment.set(&running, &deployment.manifest(&[])).await;
    refused(first, Code::Unavailable, "NCR1220");
    store.is(WELL);
    assert!(
        deployment
            .set(&running, &deployment.manifest(&[]))
            .await
            .unwrap()
            .applied
    );
    for mood in [FULL, READ_ONLY] {
        store.is(mood);
        let update = deployment
            .set(&running, &deployment.manifest(&["one"]))
            .await;
        refused(update, Code::Unavailable, "NCR1220");
        // What is in force goes on: issuing needs no store.
        assert_eq!(running.certificate(WEB).await.generation, 1);
    }
    store.is(SLOW);
    let update = deployment
        .set(&running, &deployment.manifest(&["one"]))
        .await
        .unwrap();
    assert!(update.applied);
    // The store did what it was asked, but its answer was lost: it is asked again.
    store.is(LOST);
    let update = deployment
        .set(&running, &deployment.manifest(&["two"]))
        .await
        .unwrap();
    assert!(update.applied && !update.unconfirmed);
    store.is(WELL);
    assert_eq!(running.certificate(WEB).await.generation, 3);
    assert_eq!(deployment.history().await.entries().len(), 3);
    let (_, metrics) = Running::get(running.addresses.health, "/metrics").await;
    assert!(
        metrics.contains("nacre_coordinator_store_diverged 0"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_first_manifest_whose_writing_was_not_answered_comes_into_force() {
    let deployment = Deployment::new();
    let store = Moody::of(&deployment);
    let running = on(&deployment, &store).await;
    store.is(CUT);
    let first = deployment.set(&running, &deployment.manifest(&[])).await;
    refused(first, Code::Unavailable, "NCR1220");
    store.is(WELL);
    // Its keys are in memory: nobody needs to recover what was never lost.
    eventually("in force", || async {
        running.phase().await == Phase::Ready
    })
    .await;
    assert_eq!(running.certificate(WEB).await.generation, 1);
    let update = deployment
        .set(&running, &deployment.manifest(&["one"]))
        .await
        .unwrap();
    assert!(update.applied);
}

#[tokio::test]
async fn a_store_that_could_not_be_read_is_looked_at_again() {
    let deployment = Deployment::new();
    let first = deployment.start().await;
    deployment
        .set(&first, &deployment.manifest(&[]))
        .await
        .unwrap();
    // Two that share its store through a bad connection: one starts, one has a manifest in force.
    let (starting, serving) = (Moody::of(&deployment), Moody::of(&deployment));
    let second = on(&deployment, &serving).await;
    let head = deployment.history().await.head().hash;
    let owner = &deployment.shares[0];
    assert!(
        deployment
            .recover(&second, owner, head)
            .await
            .unwrap()
            .recovered
    );
    starting.is(DEAF);
    serving.is(DEAF);
    let third = on(&deployment, &starting).await;
    assert_eq!(third.state().await.generation, 0);
    deployment
        .set(&first, &deployment.manifest(&["one"]))
        .await
        .unwrap();
    eventually("alarm", || async {
        let (_, metrics) = Running::get(second.addresses.health, "/metrics").await;
        metrics.contains("nacre_coordinator_store_diverged 1")
    })
    .await;
    assert_eq!(second.phase().await, Phase::Ready);
    // Nothing moves any more; the connection only gets better.
    starting.is(WELL);
    serving.is(WELL);
    for running in [&second, &third] {
        eventually("what is in the store is known", || async {
            let state = running.state().await;
            (state.phase(), state.generation) == (Phase::Sealed, 2)
        })
        .await;
        let (_, metrics) = Running::get(running.addresses.health, "/metrics").await;
        assert!(
            metrics.contains("nacre_coordinator_store_diverged 0"),
            "{metrics}"
        );
    }
}

#[tokio::test]
async fn shares_do_not_make_the_coordinator_read_its_history_again() {
    let deployment = Deployment::with(1, 2);
    let store = Moody::of(&deployment);
    let running = on(&deployment, &store).await;
    let workloads = ["one", "two", "three", "api", "db"];
    deployment
        .set(&running, &deployment.manifest(&workloads))
        .await
        .unwrap();
    let head = deployment.history().await.head().hash;
    let [owner, other] = &deployment.shares[..] else {
        panic!()
    };
    let share = deployment.share(owner).await;
    let request = |dry_run| v1::RecoverRequest {
        expected: head.as_bytes().to_vec(),
        share: share[1..].to_vec(),
        index: share[0].into(),
        dry_run,
        signature: None,
    };
    let stranger = ShareOwner::generate();
    let reads = || store.reads.load(Ordering::SeqCst);
    // Strangers cause none at all, in force or sealed; a signature of their own key holds every time.
    let by_strangers = async |running: &Running| {
        let before = reads();
        for _ in 0..10 {
            let answer = give_share(running, &stranger, request(true)).await;
            refused(answer, Code::PermissionDenied, "NCR1212");
        }
        assert_eq!(reads(), before);
    };
    by_strangers(&running).await;
    running.stop().await;
    let running = on(&deployment, &store).await;
    by_strangers(&running).await;
    // Owners cause that of the document of shares.
    let before = reads();
    for _ in 0..4 {
        let answer = give_share(&running, owner, request(true)).await;
        assert!(!answer.unwrap().recovered);
        let answer = give_share(&running, other, request(true)).await;
        refused(answer, Code::InvalidArgument, "NCR1213");
    }
    assert_eq!(reads(), before + 8);
    let answer = give_share(&running, owner, request(false)).await;
    assert!(answer.unwrap().recovered);
}

/// Opens a submission of a first manifest and takes it to the offer.
async fn offered(deployment: &Deployment, running: &Running, manifest: &Manifest) -> Offered {
    let transition = Transition::genesis(manifest, manifest.hash(), 1_790_000_000);
    let owner = [&deployment.owners[0]];
    let link = running.user().await;
    let mut dialog = Dialog::open(&link).await.unwrap();
    dialog
        .say(Ask::Proposal(v1::Proposal {
            manifest: manifest.to_bytes(),
            transition: transition.to_bytes().to_vec(),
            signatures: signed(&owner, &transition.message()),
            online: Vec::new(),
        }))
        .await;
    let Tell::Wanted(wanted) = dialog.hear().await.unwrap() else {
        panic!()
    };
    for hash in wanted.policies {
        let hash = PolicyHash::try_from(hash.as_slice()).unwrap();
        dialog
            .say(policies(&[deployment.policies[&hash].as_slice()]))
            .await;
    }
    dialog.say(Ask::PoliciesDone(v1::PoliciesDone {})).await;
    let Tell::Offer(offer) = dialog.hear().await.unwrap() else {
        panic!()
    };
    let confirmation = confirmation(transition.hash(), &offer);
    let confirmed = v1::SignedConfirmation {
        confirmation: confirmation.to_bytes(),
        signatures: signed(&owner, &confirmation.message()),
    };
    Offered { dialog, confirmed }
}

struct Offered {
    dialog: Dialog,
    confirmed: v1::SignedConfirmation,
}

impl Offered {
    async fn confirm(mut self) -> Result<Tell, tonic::Status> {
        self.dialog.say(Ask::Confirmation(self.confirmed)).await;
        self.dialog.hear().await
    }
}

#[tokio::test]
async fn whoever_comes_second_leaves_the_first_manifest_as_it_is() {
    let deployment = Deployment::new();
    let first = deployment.start().await;
    // It does not hear that somebody else was quicker.
    let store = Moody::of(&deployment);
    store.is(SILENT);
    let second = on(&deployment, &store).await;
    let manifest = deployment.manifest(&[]);
    let quick = offered(&deployment, &first, &manifest).await;
    let slow = offered(&deployment, &second, &manifest).await;
    assert!(matches!(quick.confirm().await, Ok(Tell::Result(_))));
    let head = deployment.history().await.head().hash;
    refused(slow.confirm().await, Code::Aborted, "NCR1209");
    // The same transition has the same name for its confirmation; it is the first one's.
    assert_eq!(deployment.history().await.head().hash, head);
    first.stop().await;
    let first = deployment.start().await;
    let owner = &deployment.shares[0];
    let answer = deployment.recover(&first, owner, head).await.unwrap();
    assert!(answer.recovered);
}

#[tokio::test]
async fn a_confirmation_that_was_overwritten_in_between_is_written_again() {
    let deployment = Deployment::new();
    let store = Moody::of(&deployment);
    let running = on(&deployment, &store).await;
    store.is(RACED);
    let manifest = deployment.manifest(&[]);
    assert!(deployment.set(&running, &manifest).await.unwrap().applied);
    store.is(WELL);
    assert_eq!(deployment.history().await.entries().len(), 1);
}

#[tokio::test]
async fn a_damaged_policy_is_asked_for_again() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let key = ObjectKey::Policy(PolicyHash::of(WEB));
    let file = deployment.file(&key);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    // More than any object may have, so that it is not even read.
    let damaged = std::fs::File::create(&file).unwrap();
    damaged.set_len(nacre_store::MAX_OBJECT as u64 + 1).unwrap();
    let manifest = deployment.manifest(&[]);
    assert!(deployment.set(&running, &manifest).await.unwrap().applied);
    assert_eq!(std::fs::read(&file).unwrap(), WEB);
    assert_eq!(running.certificate(WEB).await.generation, 1);
}

#[tokio::test]
async fn a_damaged_file_of_many_policies_is_asked_for_again() {
    let names: Vec<String> = (0..40).map(|at| format!("app-{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let deployment = Deployment::new();
    let first = deployment.start().await;
    let manifest = deployment.manifest(&names);
    assert!(deployment.set(&first, &manifest).await.unwrap().applied);
    first.stop().await;
    let root = deployment.folder.path().join("history");
    let packs: Vec<_> = std::fs::read_dir(root.join(".packs")).unwrap().collect();
    let [Ok(pack)] = &packs[..] else {
        panic!("{packs:?}")
    };
    let whole = std::fs::read(pack.path()).unwrap();
    // Without its list nothing in it is known; with half of it the second half is not; altered it is all known, and
    // some of it is another object.
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    for damaged in [&whole[..100], &whole[..whole.len() - 1], &altered[..]] {
        std::fs::remove_dir_all(&root).unwrap();
        std::fs::create_dir_all(root.join(".packs")).unwrap();
        std::fs::write(pack.path(), damaged).unwrap();
        let running = deployment.start().await;
        assert!(deployment.set(&running, &manifest).await.unwrap().applied);
        running.stop().await;
        // Every object of the history is what its name says.
        assert_eq!(deployment.history().await.generations(), 1);
    }
}

#[tokio::test]
async fn what_the_store_said_is_for_the_log() {
    let deployment = Deployment::new();
    let first = deployment.start().await;
    deployment
        .set(&first, &deployment.manifest(&[]))
        .await
        .unwrap();
    let head = deployment.history().await.head().hash;
    let share = deployment.share(&deployment.shares[0]).await;
    let store = Moody::of(&deployment);
    store.is(DEAF);
    let running = on(&deployment, &store).await;
    let request = v1::RecoverRequest {
        expected: head.as_bytes().to_vec(),
        share: share[1..].to_vec(),
        index: share[0].into(),
        dry_run: false,
        signature: None,
    };
    // A stranger, for whom no history says that it is one.
    let status = give_share(&running, &ShareOwner::generate(), request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("NCR1102"), "{status}");
    // The path that the store's error names.
    assert!(!status.message().contains("/history"), "{status}");
}

static CLOCK: AtomicU64 = AtomicU64::new(0);

fn clock() -> u64 {
    CLOCK.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_clock_that_jumps_back_is_not_believed() {
    let now = crate::support::now();
    CLOCK.store(now, Ordering::SeqCst);
    let deployment = Deployment::new();
    let deps = Deps {
        verifier: verifier(),
        reports: guest(COORDINATOR),
        reader: Manifest::parse,
        store: deployment.store(),
        clock,
    };
    let running = deployment.start_deps(deps, &[], "127.0.0.1:0").await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    // 1970: certificates are made by what owners signed and revocation lists said.
    CLOCK.store(0, Ordering::SeqCst);
    let issued = running.certificate(WEB).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.pem");
    std::fs::write(&path, issued.cert_chain).unwrap();
    let output = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-checkend", "3600", "-in"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        deployment
            .set(&running, &deployment.manifest(&["one"]))
            .await
            .unwrap()
            .applied
    );
    // Ten years ahead: revocation lists are too old to be believed, so nobody gets in.
    CLOCK.store(now + 10 * 365 * 86_400, Ordering::SeqCst);
    assert!(running.workload(guest(WEB)).await.is_err());
    CLOCK.store(now, Ordering::SeqCst);
    eventually("back to normal", || async {
        running.workload(guest(WEB)).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn state_and_metrics_do_not_wait_for_the_store() {
    let deployment = Deployment::with(2, 1);
    let store = Moody::of(&deployment);
    let running = on(&deployment, &store).await;
    let mut first = deployment.manifest(&[]);
    first.update_threshold = 2;
    deployment.set(&running, &first).await.unwrap();
    // One owner approves something, which waits for the other one.
    let manifest = deployment.manifest(&["one"]);
    let update = deployment.set(&running, &manifest).await;
    assert!(!update.unwrap().applied);
    store.is(STUCK);
    let link = running.user().await;
    let next = deployment.history().await.head().transition;
    let next = next.next(&manifest, manifest.hash(), crate::support::now());
    let owners = [&deployment.owners[0], &deployment.owners[1]];
    let set = deployment.submit(&link, &manifest, next, &owners);
    let asked = async {
        // Until the other one stands in the store, and holds the lock.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let state = tokio::time::timeout(Duration::from_secs(30), running.state()).await;
        let state = state.expect("the state");
        assert_eq!((state.generation, state.pending.len()), (1, 1));
        let metrics = Running::get(running.addresses.health, "/metrics");
        let metrics = tokio::time::timeout(Duration::from_secs(30), metrics).await;
        let (_, metrics) = metrics.expect("metrics");
        assert!(
            metrics.contains("nacre_coordinator_pending_transitions 1"),
            "{metrics}"
        );
    };
    tokio::select! {
        ended = set => panic!("{ended:?}"),
        () = asked => {}
    }
}
