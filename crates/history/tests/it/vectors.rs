//! A history made by `testdata/make.py`, which shares nothing with this crate.

use std::collections::BTreeMap;
use std::path::Path;

use nacre_history::{
    Confirmation, Expect, GenesisAuthority, History, Invalid, ObjectKey, Rules, SignedConfirmation,
    SignedTransition, validate,
};
use nacre_manifest::{Manifest, TransitionHash};
use serde_json::Value;

struct Vectors {
    value: Value,
    objects: BTreeMap<ObjectKey, Vec<u8>>,
}

impl Vectors {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vectors.json");
        let value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let objects = value["objects"].as_object().unwrap();
        let objects = objects
            .iter()
            .map(|(key, hex)| (key.parse().unwrap(), bytes(hex)))
            .collect();
        Self { value, objects }
    }

    fn rules(&self) -> Rules {
        Rules {
            reader: Manifest::parse,
            genesis: GenesisAuthority::Owners(
                self.value["owners"].as_str().unwrap().parse().unwrap(),
            ),
        }
    }

    fn transitions(&self) -> Vec<TransitionHash> {
        let list = self.value["transitions"].as_array().unwrap();
        list.iter()
            .map(|hash| hash.as_str().unwrap().parse().unwrap())
            .collect()
    }

    fn validate(&self, objects: &BTreeMap<ObjectKey, Vec<u8>>) -> Result<History, Invalid> {
        let coordinator = self.value["coordinator"].as_str().unwrap();
        let expect = Expect::complete().coordinator(coordinator.parse().unwrap());
        validate(objects, &self.rules(), &expect)
    }
}

fn bytes(hex: &Value) -> Vec<u8> {
    hex::decode(hex.as_str().unwrap()).unwrap()
}

#[test]
fn a_history_written_by_other_means_holds() {
    let vectors = Vectors::read();
    let history = vectors.validate(&vectors.objects).unwrap();
    let hashes: Vec<_> = history.entries().iter().map(|entry| entry.hash).collect();
    assert_eq!(hashes, vectors.transitions());
    assert_eq!(history.head().manifest.policies.len(), 2);
    // The second transition is signed by two of three owners, on P-256 and P-521.
    let signers: Vec<_> = history.entries().iter().map(|e| e.signers.len()).collect();
    assert_eq!(signers, [1, 2, 1]);
    assert!(history.is_bound());
    let root = bytes(&vectors.value["root"]);
    let key = bytes(&vectors.value["history"]);
    history.check_keys(&root, &key).unwrap();
    assert!(matches!(
        history.check_keys(&key, &key),
        Err(Invalid::ForeignSeed { key: "root CA" })
    ));
    assert_eq!(
        history.confirmation().salt.as_slice(),
        bytes(&vectors.value["salt"])
    );
}

#[test]
fn what_was_read_prints_the_same() {
    let vectors = Vectors::read();
    for (key, bytes) in &vectors.objects {
        assert_eq!(key.to_string().parse(), Ok(*key));
        let again = match key {
            ObjectKey::Transition(hash) => {
                let signed = SignedTransition::parse(bytes).unwrap();
                assert_eq!(signed.body().hash(), *hash);
                signed.encode()
            }
            ObjectKey::Confirmation(_) => {
                let signed = SignedConfirmation::parse(bytes).unwrap();
                let body = signed.body();
                assert_eq!(Confirmation::parse(&body.to_bytes()).unwrap(), *body);
                signed.encode()
            }
            ObjectKey::Latest => nacre_history::Latest::parse(bytes).unwrap().encode(),
            _ => bytes.clone(),
        };
        assert_eq!(again, *bytes, "{key}");
    }
}

#[test]
fn no_bit_of_no_object_can_change() {
    let vectors = Vectors::read();
    for (key, bytes) in &vectors.objects {
        for index in 0..bytes.len() {
            // All bytes of the formats; of long texts, some.
            if bytes.len() > 700 && index % 97 != 0 {
                continue;
            }
            let mut objects = vectors.objects.clone();
            objects.get_mut(key).unwrap()[index] ^= 1;
            assert!(vectors.validate(&objects).is_err(), "{key} byte {index}");
        }
    }
}

#[test]
fn no_object_may_be_absent() {
    let vectors = Vectors::read();
    for key in vectors.objects.keys() {
        let mut objects = vectors.objects.clone();
        objects.remove(key);
        let error = vectors.validate(&objects).unwrap_err();
        assert!(
            matches!(&error, Invalid::Missing { key: missing } if missing == key),
            "{key}: {error}"
        );
    }
}
