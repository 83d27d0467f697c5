//! What is kept, and what is not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nacre_attest::{
    CollateralDirectory, CollateralError, CollateralSource, Product, Timestamp, VekRequest,
    Verifier,
};
use nacre_collateral::Cached;
use nacre_sim::{CrlSpec, Pki};

use crate::{request, sample};

/// Gives what it is told to, or is away.
#[derive(Clone, Default)]
struct Source(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    vek: Option<Vec<u8>>,
    crl: Option<Vec<u8>>,
    away: bool,
    asked: usize,
}

impl Source {
    fn answer(
        &self,
        what: impl Fn(&State) -> Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, CollateralError> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        if state.away {
            return Err(CollateralError::Server {
                server: "test".into(),
                detail: "away".into(),
            });
        }
        Ok(what(&state))
    }
}

impl CollateralSource for Source {
    fn vek(&self, _: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        self.answer(|state| state.vek.clone())
    }

    fn crl(&self, _: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        self.answer(|state| state.crl.clone())
    }
}

struct Case {
    source: Source,
    cached: Cached,
    scratch: tempfile::TempDir,
}

impl Case {
    fn new(verifier: Verifier) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let source = Source::default();
        let directory = CollateralDirectory::new(scratch.path());
        Self {
            cached: Cached::new(directory, Box::new(source.clone()), Arc::new(verifier)),
            source,
            scratch,
        }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.source.0.lock().unwrap());
    }

    fn asked(&self) -> usize {
        self.source.0.lock().unwrap().asked
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.scratch.path()).unwrap().count()
    }
}

fn pki() -> &'static Pki {
    Pki::of_process(Product::Genoa).unwrap()
}

fn simulated() -> Case {
    Case::new(pki().verifier().unwrap())
}

/// A list made this many seconds ago and due in an hour.
fn list(age: u64) -> Vec<u8> {
    let now = Timestamp::now().0;
    let spec = CrlSpec {
        this_update: Timestamp(now - age),
        next_update: Some(Timestamp(now + 3600)),
        ..CrlSpec::new(&pki().ark).unwrap()
    };
    spec.sign(&pki().ark.key).unwrap()
}

#[test]
fn a_certificate_is_looked_up_once() {
    let case = Case::new(Verifier::amd());
    let genuine = sample("ms-genoa/vcek.der");
    case.set(|state| state.vek = Some(genuine.clone()));
    for _ in 0..3 {
        let found = case.cached.vek(&request("ms-genoa")).unwrap();
        assert_eq!(found.as_ref(), Some(&genuine));
    }
    assert_eq!((case.asked(), case.files()), (1, 1));
    // Not even when the source is away, or the program started anew.
    case.set(|state| state.away = true);
    assert!(case.cached.vek(&request("ms-genoa")).unwrap().is_some());
}

#[test]
fn what_is_not_genuine_is_not_kept() {
    let case = Case::new(Verifier::amd());
    case.set(|state| {
        state.vek = Some(sample("ms-milan/vcek.der"));
        // Signed, but by the simulated root.
        state.crl = Some(list(10));
    });
    let other_chip = case.cached.vek(&request("ms-genoa"));
    assert!(matches!(
        other_chip,
        Err(CollateralError::NotGenuine { .. })
    ));
    let other_root = case.cached.crl(Product::Genoa);
    assert!(matches!(
        other_root,
        Err(CollateralError::NotGenuine { .. })
    ));
    assert_eq!(case.files(), 0);
    // What somebody has put into the directory is looked at too.
    let directory = CollateralDirectory::new(case.scratch.path());
    directory
        .put_vek(&request("ms-genoa"), b"something")
        .unwrap();
    case.set(|state| state.vek = Some(sample("ms-genoa/vcek.der")));
    let found = case.cached.vek(&request("ms-genoa")).unwrap().unwrap();
    assert_eq!(found, sample("ms-genoa/vcek.der"));
}

#[test]
fn a_list_is_refreshed_in_its_time() {
    let case = simulated();
    case.set(|state| state.crl = Some(list(100)));
    let first = case.cached.crl(Product::Genoa).unwrap().unwrap();
    case.set(|state| state.crl = Some(list(5)));
    assert_eq!(case.cached.crl(Product::Genoa).unwrap().unwrap(), first);
    assert_eq!(case.asked(), 1);
    let case = Case {
        cached: case.cached.refreshed_after(Duration::ZERO),
        ..case
    };
    assert_ne!(case.cached.crl(Product::Genoa).unwrap().unwrap(), first);
    assert_eq!(case.asked(), 2);
}

#[test]
fn a_list_is_never_older_than_one_already_seen() {
    let case = simulated();
    case.set(|state| state.crl = Some(list(5)));
    let newest = case.cached.refreshed_crl(Product::Genoa).unwrap().unwrap();
    case.set(|state| state.crl = Some(list(500)));
    let again = case.cached.refreshed_crl(Product::Genoa).unwrap().unwrap();
    assert_eq!(again, newest);
}

#[test]
fn while_the_source_is_away_the_list_that_is_there_serves() {
    let case = simulated();
    case.set(|state| state.away = true);
    assert!(case.cached.crl(Product::Genoa).is_err());
    case.set(|state| (state.away, state.crl) = (false, Some(list(100))));
    let kept = case.cached.crl(Product::Genoa).unwrap();
    case.set(|state| state.away = true);
    let case = Case {
        cached: case.cached.refreshed_after(Duration::ZERO),
        ..case
    };
    assert_eq!(case.cached.crl(Product::Genoa).unwrap(), kept);
}
