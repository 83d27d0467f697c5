//! Collateral that a program keeps while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nacre_attest::{
    CollateralError, CollateralSource, NewestLists, Product, Timestamp, VekRequest, Verifier,
};

/// A revocation list that was looked up this long ago is looked up again.
const REFRESH: Duration = Duration::from_secs(86_400);
/// The same after a failure.
const AGAIN: Duration = Duration::from_secs(300);
/// Certificates that are kept. A guest needs one for each firmware its chip has had while it runs.
const MOST: usize = 16;

/// Another source, asked as seldom as can be: a guest needs the same certificate and list for every report, and
/// its connections do not wait for a server as long as what is there serves.
///
/// A list that is not due yet is handed out while a new one is looked up beside; only one that is due makes the
/// caller wait. What is handed out is never older than what has been seen before, and only what the pinned keys
/// have signed is kept.
pub struct Kept(Arc<Inner>);

struct Inner {
    source: Box<dyn CollateralSource>,
    verifier: Arc<Verifier>,
    refresh: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    veks: Vec<(VekRequest, Vec<u8>)>,
    lists: NewestLists,
    /// When each product's list is looked up again.
    next: BTreeMap<Product, Instant>,
}

impl Kept {
    /// `source` is asked for what is not there.
    pub fn new(source: Box<dyn CollateralSource>, verifier: Arc<Verifier>) -> Self {
        Self::refreshed_after(source, verifier, REFRESH)
    }

    /// Looks revocation lists up again after this time.
    pub fn refreshed_after(
        source: Box<dyn CollateralSource>,
        verifier: Arc<Verifier>,
        refresh: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            source,
            verifier,
            refresh,
            state: Mutex::default(),
        }))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the source and keeps its list, if that is newer. What is there then.
    fn look_up(&self, product: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        let found = self.source.crl(product);
        let mut state = self.state();
        let wait = match &found {
            Ok(Some(_)) => self.refresh,
            _ => self.refresh.min(AGAIN),
        };
        state.next.insert(product, Instant::now() + wait);
        let Some(list) = found? else {
            return Ok(state.list(product));
        };
        let dates = self.verifier.genuine_crl(product, &list);
        let dates = dates.ok_or(CollateralError::NotGenuine {
            what: "revocation list",
        })?;
        state.lists.saw(product, dates.this_update, &list);
        Ok(state.list(product))
    }
}

impl State {
    fn list(&self, product: Product) -> Option<Vec<u8>> {
        self.lists.of(product).map(|(_, der)| der.to_vec())
    }
}

impl CollateralSource for Kept {
    fn vek(&self, request: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        let Self(inner) = self;
        let kept = |state: &State| {
            let mut veks = state.veks.iter();
            veks.find(|(of, _)| of == request)
                .map(|(_, der)| der.clone())
        };
        if let Some(kept) = kept(&inner.state()) {
            return Ok(Some(kept));
        }
        let Some(found) = inner.source.vek(request)? else {
            return Ok(None);
        };
        if !inner.verifier.is_vek_of(request, &found) {
            return Err(CollateralError::NotGenuine {
                what: "certificate of this chip and firmware",
            });
        }
        let mut state = inner.state();
        if kept(&state).is_none() {
            if state.veks.len() == MOST {
                state.veks.remove(0);
            }
            state.veks.push((request.clone(), found.clone()));
        }
        Ok(Some(found))
    }

    fn crl(&self, product: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        let Self(inner) = self;
        let kept = {
            let mut state = inner.state();
            let kept = state.list(product);
            let next = state.next.get(&product).copied();
            let due = next.is_none_or(|next| next <= Instant::now());
            if let (Some(kept), false) = (&kept, due) {
                return Ok(Some(kept.clone()));
            }
            // Nobody else looks it up meanwhile.
            if kept.is_some() {
                state.next.insert(product, Instant::now() + AGAIN);
            }
            kept
        };
        let serves = kept.as_ref().is_some_and(|kept| {
            let dates = inner.verifier.genuine_crl(product, kept);
            dates.is_some_and(|dates| dates.next_update.is_some_and(|due| due > Timestamp::now()))
        });
        if serves {
            let beside = Arc::clone(inner);
            std::thread::spawn(move || {
                if let Err(error) = beside.look_up(product) {
                    tracing::warn!(%error, "the revocation list that is there serves on");
                }
            });
            return Ok(kept);
        }
        match (inner.look_up(product), kept) {
            (Err(error), Some(kept)) => {
                tracing::warn!(%error, "the revocation list that is there serves on");
                Ok(Some(kept))
            }
            (answer, _) => answer,
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
