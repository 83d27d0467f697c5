//! Getting the seed back: from the owners of its shares, or from another Coordinator.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nacre_history::{Expect, History, ObjectKey};
use nacre_manifest::{Manifest, SeedshareOwnerKey, TransitionHash};
use nacre_pki::{Authority as Ca, CaCertificates, P384Key, Salt, Seed, SeedShares, Share};
use nacre_store::Latest as Stored;
use tokio::time::Instant;

use crate::audit;
use crate::authority::{Authority, Inner};
use crate::denied::Denied;
use crate::state::{Parts, Previous, Ready, SeedKeys, State};

/// How long shares are kept for the ones that are still to come.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How often is looked for shares that waited too long.
const LOOK: Duration = Duration::from_secs(60);

/// What an owner of a share sends; the owner has signed it for this connection.
#[derive(Debug)]
pub(crate) struct ShareGiven {
    pub(crate) owner: SeedshareOwnerKey,
    pub(crate) expected: TransitionHash,
    pub(crate) index: u32,
    pub(crate) share: Share,
    pub(crate) dry_run: bool,
}

/// Shares that have arrived for one history.
pub(crate) struct Session {
    head: TransitionHash,
    started: Instant,
    shares: BTreeMap<u8, Share>,
}

/// How far a recovery is.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The state, when the recovery is done.
    pub(crate) recovered: Option<Arc<Ready>>,
    pub(crate) generation: u64,
    pub(crate) transition: TransitionHash,
    pub(crate) received: Vec<u32>,
    pub(crate) needed: usize,
}

/// What another Coordinator hands over.
pub(crate) struct Handed {
    pub(crate) seed: Seed,
    pub(crate) salt: Salt,
    pub(crate) mesh_key: P384Key,
    /// Workloads and clients keep seeing the same ones.
    pub(crate) certificates: CaCertificates,
    pub(crate) transition: TransitionHash,
    /// DER of the mesh CA before, if there is an overlap.
    pub(crate) previous: Option<Vec<u8>>,
}

impl Session {
    fn indices(&self) -> Vec<u32> {
        self.shares.keys().map(|index| u32::from(*index)).collect()
    }

    /// Indices that have arrived, and since when.
    pub(crate) fn shown(&self) -> (Vec<u32>, Instant) {
        (self.indices(), self.started)
    }

    fn is_over(&self) -> bool {
        is_over(self.started)
    }
}

/// Whether a recovery that began then has not gone on for too long.
pub(crate) fn is_over(started: Instant) -> bool {
    started.elapsed() >= PATIENCE
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.indices())
    }
}

impl Inner {
    /// Clears shares whose recovery did not go on.
    fn forget_old_shares(&mut self) {
        if self.recovery.as_ref().is_some_and(Session::is_over) {
            self.recovery = None;
            tracing::warn!("a recovery did not go on; its shares are forgotten");
        }
    }
}

impl Authority {
    /// Looks after shares of unfinished recoveries for as long as it is polled.
    pub(crate) async fn forget_shares(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.turn().await.forget_old_shares();
        }
    }

    /// The manifest whose seed-share owners may recover, as far as it is in memory: who asks makes nobody read
    /// the store. Share owners never change in a history.
    pub(crate) fn recoverable(&self) -> Result<Arc<Manifest>, Denied> {
        Ok(Arc::clone(
            &in_memory(&self.core.cell.load())?.head().manifest,
        ))
    }

    /// Takes one share. The last one that is needed opens the history.
    pub(crate) async fn recover(&self, given: ShareGiven) -> Result<Progress, Denied> {
        let mut inner = self.turn().await;
        let stored = self.core.storage.latest().await?.ok_or(Denied::Empty)?;
        // Judged already, unless the store has moved since.
        self.observe(&mut inner, Some(stored.clone())).await;
        let state = self.core.cell.load();
        if !given.dry_run && state.ready().is_some() {
            return Err(Denied::NotSealed);
        }
        // Who may recover stands in the history that is recovered, which measured owners began.
        let history = in_memory(&state)?;
        history.meets(&Expect::default().known(given.expected))?;
        let owners = &history.head().manifest.seedshare_owner_pub_keys;
        if !owners.contains(&given.owner) {
            return Err(Denied::NotShareOwner);
        }
        let document = self.shares_of(history).await?;
        let index = given.index;
        let own = document
            .entries()
            .iter()
            .find(|entry| entry.owner == given.owner);
        let fits = own.is_some_and(|entry| u32::from(entry.index) == index);
        if !fits || u32::from(given.share.index()) != index {
            return Err(Denied::ShareIndex { index });
        }
        document.check_share(&given.share)?;
        let needed = usize::from(document.threshold());
        let mut progress = Progress {
            recovered: None,
            generation: history.head().transition.generation,
            transition: history.head().hash,
            received: vec![index],
            needed,
        };
        if given.dry_run {
            audit::share(index, true, 1, needed);
            return Ok(progress);
        }
        let session = session(&mut inner, history);
        session.shares.insert(given.share.index(), given.share);
        progress.received = session.indices();
        audit::share(index, false, session.shares.len(), needed);
        if session.shares.len() < needed {
            return Ok(progress);
        }
        let shares: Vec<Share> = std::mem::take(&mut session.shares).into_values().collect();
        inner.recovery = None;
        let seed = document.join(&shares)?;
        drop(shares);
        let salt = Salt::from_bytes(history.confirmation().salt);
        // Certificates of before are void: nobody knows who holds their CA's key.
        let opened = Opened {
            keys: SeedKeys::derive(seed, salt)?,
            mesh_key: P384Key::generate()?,
            certificates: None,
            previous: None,
        };
        let history = history.clone();
        progress.recovered = Some(self.open(&mut inner, history, stored, opened, "recovery")?);
        Ok(progress)
    }

    /// Adopts what another Coordinator handed over, which was attested by this very history.
    pub(crate) async fn adopt(&self, handed: Handed) -> Result<Arc<Ready>, Denied> {
        let mut inner = self.turn().await;
        let stored = self.core.storage.latest().await?.ok_or(Denied::Empty)?;
        self.observe(&mut inner, Some(stored.clone())).await;
        let state = self.core.cell.load();
        if state.ready().is_some() {
            return Err(Denied::NotSealed);
        }
        let history = in_memory(&state)?;
        if history.head().hash != handed.transition {
            // The store has moved on since; the peer has other keys by now.
            return Err(Denied::Conflict);
        }
        if !history.is_bound() || !history.head().manifest.peer_recovery {
            return Err(Denied::NoPeerRecovery);
        }
        let generation = history.head().transition.generation;
        let overlap = handed
            .previous
            .filter(|_| history.head().manifest.ca_overlap);
        let opened = Opened {
            keys: SeedKeys::derive(handed.seed, handed.salt)?,
            mesh_key: handed.mesh_key,
            certificates: Some(handed.certificates),
            previous: overlap.map(|mesh_ca| Previous {
                mesh_ca,
                generation: generation.saturating_sub(1),
            }),
        };
        self.open(&mut inner, history.clone(), stored, opened, "peer recovery")
    }

    /// Brings a history back into force, if the seed is the one its owners confirmed.
    fn open(
        &self,
        inner: &mut Inner,
        history: History,
        stored: Stored,
        opened: Opened,
        how: &'static str,
    ) -> Result<Arc<Ready>, Denied> {
        let keys = opened.keys;
        if keys.salt.as_bytes() != &history.confirmation().salt {
            return Err(nacre_history::Invalid::ForeignSeed { key: "salt of the" }.into());
        }
        history.check_keys(keys.root.spki(), keys.history.spki())?;
        let ca = match opened.certificates {
            Some(certificates) => Ca::restore(&keys.root, opened.mesh_key, certificates)?,
            None => Ca::new(&keys.root, opened.mesh_key, self.core.time.now())?,
        };
        let ca = Arc::new(ca);
        let ready = Arc::new(Ready::from(Parts {
            history,
            latest: stored.bytes,
            version: Some(stored.version),
            keys: Arc::new(keys),
            ca,
            previous: opened.previous,
        }));
        self.in_force(inner, Arc::clone(&ready), how);
        self.core.metrics.recovered();
        Ok(ready)
    }

    async fn shares_of(&self, history: &History) -> Result<SeedShares, Denied> {
        let key = ObjectKey::SeedShares(history.confirmation().seed_shares);
        let document = SeedShares::parse(&self.core.storage.checked(key).await?)?;
        let found = TransitionHash::from_bytes(*document.genesis());
        if found != history.genesis_entry().hash {
            return Err(Denied::SharesOther { found });
        }
        Ok(document)
    }

    /// The history that a sealed Coordinator waits to serve.
    pub(crate) fn sealed_history(&self) -> Option<Arc<History>> {
        match &*self.core.cell.load() {
            State::Sealed(sealed) => sealed.history.as_ref().ok().cloned(),
            _ => None,
        }
    }
}

/// The history that was checked when it was read.
fn in_memory(state: &State) -> Result<&History, Denied> {
    match state {
        State::Empty => Err(Denied::Empty),
        State::Ready(ready) => Ok(&ready.history),
        State::Sealed(sealed) => match &sealed.history {
            Ok(history) => Ok(history),
            Err(reason) => Err(Denied::Unusable(Arc::clone(reason))),
        },
    }
}

struct Opened {
    keys: SeedKeys,
    mesh_key: P384Key,
    /// Those of another Coordinator; none = made now.
    certificates: Option<CaCertificates>,
    previous: Option<Previous>,
}

/// The session of this history; one for another history or from long ago is over, and its shares cleared.
fn session<'i>(inner: &'i mut Inner, history: &History) -> &'i mut Session {
    let head = history.head().hash;
    let current = inner
        .recovery
        .take()
        .filter(|session| session.head == head && !session.is_over());
    inner.recovery.insert(current.unwrap_or_else(|| Session {
        head,
        started: Instant::now(),
        shares: BTreeMap::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_an_unfinished_recovery_are_forgotten() {
        let session = |age: Duration| {
            let mut share = [7; 1 + Seed::LEN];
            share[0] = 1;
            Session {
                head: TransitionHash::NONE,
                started: Instant::now().checked_sub(age).unwrap(),
                shares: BTreeMap::from([(1, Share::from_bytes(&share).unwrap())]),
            }
        };
        let mut inner = Inner::default();
        inner.forget_old_shares();
        inner.recovery = Some(session(PATIENCE - LOOK));
        inner.forget_old_shares();
        assert!(inner.recovery.is_some());
        inner.recovery = Some(session(PATIENCE));
        inner.forget_old_shares();
        assert!(inner.recovery.is_none());
    }
}
