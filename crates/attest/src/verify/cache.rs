//! Certificates and lists whose signature has been verified, by their digest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::crl::Crl;
use crate::product::Product;
use crate::roots::sha256;
use crate::vek::Vek;

/// Entries of each kind. A deployment has one VEK per machine and one list per product.
const LIMIT: usize = 512;

/// What was verified under which authority.
pub(super) type Key = (Product, Authority, [u8; 32]);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Authority {
    Ark,
    Ask,
    Asvk,
}

#[derive(Default)]
pub(super) struct Cache {
    veks: Mutex<BTreeMap<Key, Arc<Vek>>>,
    crls: Mutex<BTreeMap<Key, Arc<Crl>>>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    pub(super) fn key(product: Product, authority: Authority, der: &[u8]) -> Key {
        (product, authority, sha256(der))
    }

    pub(super) fn vek(&self, key: &Key) -> Option<Arc<Vek>> {
        get(&self.veks, key)
    }

    pub(super) fn add_vek(&self, key: Key, vek: Arc<Vek>) {
        add(&self.veks, key, vek);
    }

    pub(super) fn crl(&self, key: &Key) -> Option<Arc<Crl>> {
        get(&self.crls, key)
    }

    pub(super) fn add_crl(&self, key: Key, crl: Arc<Crl>) {
        add(&self.crls, key, crl);
    }
}

fn get<T>(map: &Mutex<BTreeMap<Key, Arc<T>>>, key: &Key) -> Option<Arc<T>> {
    map.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(key)
        .cloned()
}

fn add<T>(map: &Mutex<BTreeMap<Key, Arc<T>>>, key: Key, value: Arc<T>) {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    // Digests are evenly spread, so dropping the first is dropping any.
    while map.len() >= LIMIT && map.pop_first().is_some() {}
    map.insert(key, value);
}
