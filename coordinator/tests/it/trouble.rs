//! Stores and clocks that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use nacre_coordinator::Deps;
use nacre_manifest::Manifest;
use nacre_store::{Directory, Later, Latest, Put, Store, StoreError, StoreKey, Swap, Version};
use tonic::Code;

use crate::support::{COORDINATOR, Deployment, WEB, eventually, guest, refused, verifier};

const WELL: u8 = 0;
const FULL: u8 = 1;
const READ_ONLY: u8 = 2;
const SLOW: u8 = 3;
/// Moves `latest`, and the answer is lost.
const LOST: u8 = 4;

/// A directory on a disk that has a mood.
#[derive(Debug)]
struct Moody {
    inner: Directory,
    mood: AtomicU8,
}

impl Moody {
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
            _ => Ok(()),
        }
    }
}

impl Store for Moody {
    fn read<'a>(&'a self, key: &'a StoreKey) -> Later<'a, Option<Vec<u8>>> {
        self.inner.read(key)
    }

    fn put<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, Put> {
        Box::pin(async move {
            self.write().await?;
            self.inner.put(key, bytes).await
        })
    }

    fn replace<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, ()> {
        Box::pin(async move {
            self.write().await?;
            self.inner.replace(key, bytes).await
        })
    }

    fn latest(&self) -> Later<'_, Option<Latest>> {
        self.inner.latest()
    }

    fn swap<'a>(&'a self, expected: Option<&'a Version>, bytes: &'a [u8]) -> Later<'a, Swap> {
        Box::pin(async move {
            self.write().await?;
            let swapped = self.inner.swap(expected, bytes).await?;
            if self.mood.load(Ordering::SeqCst) == LOST {
                return Err(Self::error(5));
            }
            Ok(swapped)
        })
    }

    fn changed<'a>(&'a self, seen: Option<&'a Version>) -> Later<'a, Option<Latest>> {
        self.inner.changed(seen)
    }
}

#[tokio::test]
async fn a_disk_that_is_full_or_read_only_changes_nothing_and_a_slow_one_only_takes_longer() {
    let deployment = Deployment::new();
    let store = Arc::new(Moody {
        inner: Directory::open(&deployment.folder.path().join("history")).unwrap(),
        mood: AtomicU8::new(WELL),
    });
    let running = deployment
        .start_with(
            guest(COORDINATOR),
            Arc::clone(&store) as Arc<dyn Store>,
            &[],
        )
        .await;
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
    let (_, metrics) = crate::support::Running::get(running.addresses.health, "/metrics").await;
    assert!(
        metrics.contains("nacre_coordinator_store_diverged 0"),
        "{metrics}"
    );
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
