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
/// A list of which there is none was not to be had: until this time has passed that is the answer, at once. A server
/// that cannot be reached takes seconds for each report otherwise.
const NO_LIST: Duration = Duration::from_secs(30);
/// The same for a certificate. AMD's server gives one in about ten seconds.
const NO_VEK: Duration = Duration::from_secs(10);
/// Certificates that are kept. A guest needs one for each firmware its chip has had while it runs.
const MOST: usize = 16;

/// Another source, asked as seldom as can be: a guest needs the same certificate and list for every report, and
/// its connections do not wait for a server as long as what is there serves.
///
/// A list that is not due yet is handed out while a new one is looked up beside; only one that is due makes the
/// caller wait. What is handed out is never older than what has been seen before, and only what the pinned keys
/// have signed is kept. That there was nothing is kept too, for a short while.
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
    no_list: BTreeMap<Product, Nothing>,
    no_vek: Vec<(VekRequest, Nothing)>,
}

/// Nothing was to be had.
struct Nothing {
    until: Instant,
    /// `None`: the source knows of nothing.
    why: Option<CollateralError>,
}

impl Nothing {
    /// `None` where the source gave something.
    fn of(answer: &Result<Option<Vec<u8>>, CollateralError>, time: Duration) -> Option<Self> {
        let why = match answer {
            Ok(Some(_)) => return None,
            Ok(None) => None,
            Err(error) => Some(error.again()),
        };
        let until = Instant::now() + time;
        Some(Self { until, why })
    }

    /// The answer, as long as it counts.
    fn answer(&self) -> Option<Result<Option<Vec<u8>>, CollateralError>> {
        let counts = self.until > Instant::now();
        counts.then(|| match &self.why {
            None => Ok(None),
            Some(error) => Err(error.again()),
        })
    }
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

    fn look_up_vek(&self, request: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        let Some(found) = self.source.vek(request)? else {
            return Ok(None);
        };
        match self.verifier.is_vek_of(request, &found) {
            true => Ok(Some(found)),
            false => Err(CollateralError::NotGenuine {
                what: "certificate of this chip and firmware",
            }),
        }
    }
}

impl State {
    fn list(&self, product: Product) -> Option<Vec<u8>> {
        self.lists.of(product).map(|(_, der)| der.to_vec())
    }

    fn vek(&self, request: &VekRequest) -> Option<Vec<u8>> {
        let mut veks = self.veks.iter();
        veks.find(|(of, _)| of == request)
            .map(|(_, der)| der.clone())
    }
}

/// The oldest gives way.
fn push<T>(all: &mut Vec<T>, one: T) {
    if all.len() == MOST {
        all.remove(0);
    }
    all.push(one);
}

impl CollateralSource for Kept {
    fn vek(&self, request: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        let Self(inner) = self;
        {
            let state = inner.state();
            if let Some(kept) = state.vek(request) {
                return Ok(Some(kept));
            }
            let mut nothing = state.no_vek.iter().filter(|(of, _)| of == request);
            if let Some(answer) = nothing.find_map(|(_, nothing)| nothing.answer()) {
                return answer;
            }
        }
        let found = inner.look_up_vek(request);
        let nothing = Nothing::of(&found, inner.refresh.min(NO_VEK));
        let mut state = inner.state();
        state.no_vek.retain(|(of, _)| of != request);
        if let Some(nothing) = nothing {
            push(&mut state.no_vek, (request.clone(), nothing));
        }
        if let (Ok(Some(found)), None) = (&found, state.vek(request)) {
            push(&mut state.veks, (request.clone(), found.clone()));
        }
        found
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
            match &kept {
                // Nobody else looks it up meanwhile.
                Some(_) => {
                    state.next.insert(product, Instant::now() + AGAIN);
                }
                None => {
                    let nothing = state.no_list.get(&product);
                    if let Some(answer) = nothing.and_then(Nothing::answer) {
                        return answer;
                    }
                }
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
            (answer, _) => {
                let nothing = Nothing::of(&answer, inner.refresh.min(NO_LIST));
                let mut state = inner.state();
                match nothing {
                    Some(nothing) => state.no_list.insert(product, nothing),
                    None => state.no_list.remove(&product),
                };
                answer
            }
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
