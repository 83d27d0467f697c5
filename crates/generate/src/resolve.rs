//! Objects that workloads refer to by name.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use nacre_krm::Path;
use serde_json::Value;

use crate::catalogue::DEFAULT_NAMESPACE;
use crate::place::Place;

/// Names that kustomize gave up: workloads of the same build still use them when a transformer runs.
const PREVIOUS_NAMES: &str = "internal.config.kubernetes.io/previousNames";
/// Of a ServiceAccount: whether its pods get its token.
pub(crate) const AUTOMOUNT: &str = "automountServiceAccountToken";
/// The namespaces that belonged to them, in the same order.
const PREVIOUS_NAMESPACES: &str = "internal.config.kubernetes.io/previousNamespaces";

/// ConfigMaps, Secrets or ServiceAccounts.
pub(crate) struct Referents<'a> {
    items: Vec<Referent<'a>>,
    /// By namespace and name, as they are now.
    current: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    /// By namespace and name, as they were.
    previous: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    configured: String,
}

struct Referent<'a> {
    place: Place<'a>,
    value: OnceLock<Value>,
}

/// The answer to a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing has the name.
    Nothing,
    /// One object, or identical copies of one.
    One(usize),
    /// Different objects.
    Several(usize, usize),
}

impl<'a> Referents<'a> {
    pub(crate) fn new(configured: Option<&str>) -> Self {
        Self {
            items: Vec::new(),
            current: BTreeMap::new(),
            previous: BTreeMap::new(),
            configured: configured.unwrap_or(DEFAULT_NAMESPACE).to_owned(),
        }
    }

    pub(crate) fn add(&mut self, place: Place<'a>, name: String, namespace: Option<String>) {
        let index = self.items.len();
        let namespace = namespace.unwrap_or_else(|| self.configured.clone());
        let old_names = place.annotation(PREVIOUS_NAMES).unwrap_or_default();
        if !old_names.is_empty() {
            let old_namespaces = place.annotation(PREVIOUS_NAMESPACES).unwrap_or_default();
            let mut old_namespaces = old_namespaces.split(',');
            for old in old_names.split(',').filter(|old| !old.is_empty()) {
                let there = old_namespaces.next().filter(|n| !n.is_empty());
                let there = there.map_or_else(|| self.configured.clone(), str::to_owned);
                for namespace in [namespace.clone(), there] {
                    let names = self.previous.entry(namespace).or_default();
                    let indices = names.entry(old.to_owned()).or_default();
                    if indices.last() != Some(&index) {
                        indices.push(index);
                    }
                }
            }
        }
        let names = self.current.entry(namespace).or_default();
        names.entry(name).or_default().push(index);
        self.items.push(Referent {
            place,
            value: OnceLock::new(),
        });
    }

    /// What a workload of a namespace means by a name.
    ///
    /// The name as it is now comes before names kustomize gave up; the workload's own namespace
    /// before those that are the same when nothing else is said.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Found {
        let Some((first, rest)) = self.indices(namespace, name).and_then(|i| i.split_first())
        else {
            return Found::Nothing;
        };
        match rest.iter().find(|other| !self.same(**other, *first)) {
            Some(other) => Found::Several(*first, *other),
            None => Found::One(*first),
        }
    }

    fn indices(&self, namespace: &str, name: &str) -> Option<&[usize]> {
        let all = [namespace, &self.configured, DEFAULT_NAMESPACE];
        let same = match namespace == self.configured || namespace == DEFAULT_NAMESPACE {
            true => &all[..],
            false => &all[..1],
        };
        [&self.current, &self.previous]
            .into_iter()
            .find_map(|table| {
                let mut names = same.iter().filter_map(|namespace| table.get(*namespace));
                names.find_map(|names| names.get(name).map(Vec::as_slice))
            })
    }

    /// Whether two objects say the same as far as pods are concerned.
    fn same(&self, a: usize, b: usize) -> bool {
        ["data", "binaryData", AUTOMOUNT].into_iter().all(|key| {
            let part = |index| self.value(index).and_then(|value| value.get(key));
            part(a) == part(b)
        })
    }

    /// The whole object, converted once.
    pub(crate) fn value(&self, index: usize) -> Option<&Value> {
        let item = self.items.get(index)?;
        let read = || item.place.value(&Path::root()).unwrap_or_default();
        Some(item.value.get_or_init(read))
    }

    /// Where an object stands.
    pub(crate) fn place(&self, index: usize) -> Option<&Place<'a>> {
        self.items.get(index).map(|item| &item.place)
    }
}

impl Referents<'_> {
    /// The names of a Secret's keys. Values are not read, so of several Secrets with one name the
    /// keys of all are given.
    pub(crate) fn secret_keys(&self, namespace: &str, name: &str) -> Option<Vec<String>> {
        let mut keys = Vec::new();
        let indices = self.indices(namespace, name)?;
        for place in indices.iter().filter_map(|index| self.place(*index)) {
            keys.extend(place.keys(&Path::root().key("data")));
            keys.extend(place.keys(&Path::root().key("stringData")));
        }
        keys.sort_unstable();
        keys.dedup();
        Some(keys)
    }
}
