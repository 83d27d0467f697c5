//! Of pins.

use super::*;

fn key(byte: u8) -> Fingerprint {
    Fingerprint::from_bytes([byte; 32])
}

/// A chain of this many transitions; `at` makes one chain differ from another.
fn chain(length: u64, at: u64) -> Vec<Transition> {
    let manifest = nacre_manifest::Manifest::default();
    let mut all: Vec<Transition> = Vec::new();
    for generation in 1..=length {
        let hash = ManifestHash::of(b"{}");
        all.push(match all.last() {
            None => Transition::genesis(&manifest, hash, 1),
            Some(last) => last.next(&manifest, hash, at + generation),
        });
    }
    all
}

fn hashes(chain: &[Transition]) -> Vec<TransitionHash> {
    chain.iter().map(Transition::hash).collect()
}

fn found(chain: &[TransitionHash]) -> Found<'_> {
    Found {
        root_key: key(1),
        history_key: key(2),
        salt: [3; 32],
        chain,
    }
}

fn pin(chain: &[Transition]) -> Pin {
    let genesis = chain.first().unwrap().hash();
    let head = Seen::of(chain.last().unwrap());
    Pin::new(genesis, &found(&hashes(chain)), head, "{}".into())
}

fn lists(all: &[(Product, u64)]) -> NewestLists {
    let mut lists = NewestLists::default();
    for (product, start) in all {
        lists.saw(*product, Timestamp(*start), &[7; 3]);
    }
    lists
}

#[test]
fn revocation_lists_only_get_newer_each_product_for_itself() {
    let pin = pin(&chain(1, 5)).with_lists(&lists(&[(Product::Genoa, 9)]));
    let pin = pin.with_lists(&lists(&[(Product::Milan, 20), (Product::Genoa, 3)]));
    let RevocationLists(kept) = &pin.revocation_lists;
    assert_eq!(*kept, lists(&[(Product::Genoa, 9), (Product::Milan, 20)]));
    let advanced = pin.advanced(&found(&[]), pin.head, pin.manifest.clone());
    assert_eq!(advanced.revocation_lists, pin.revocation_lists);
    // What is no list of a product is refused.
    let text = String::from_utf8(pin.to_bytes()).unwrap();
    for (from, to) in [
        ("\"Genoa\"", "\"Naples\""),
        ("\"070707\"", "\"07070\""),
        ("\"thisUpdate\"", "\"thisupdate\""),
    ] {
        assert!(text.contains(from), "{text}");
        assert!(Pin::parse(text.replace(from, to).as_bytes()).is_err());
    }
}

#[test]
fn a_pin_survives_its_file() {
    let chain = chain(2, 5);
    let pin = Pin {
        accepted: Some(chain[0].hash()),
        ..pin(&chain).with_lists(&lists(&[(Product::Genoa, 9), (Product::Milan, 20)]))
    };
    assert_eq!(Pin::parse(&pin.to_bytes()).unwrap(), pin);
    let text = String::from_utf8(pin.to_bytes()).unwrap();
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("\"{}\"", "\"{ }\""),
        ("\"head\"", "\"heads\""),
        ("\"generation\": 2", "\"generation\": 3"),
        ("\"encoding\": \"01", "\"encoding\": \"02"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        assert!(Pin::parse(changed.as_bytes()).is_err(), "{from}");
    }
}

#[test]
fn earlier_transitions_lead_to_the_head() {
    let chain = chain(3, 5);
    let good = pin(&chain);
    assert_eq!(good.earlier, hashes(&chain[..2]));
    let changes: [fn(&mut Pin); 4] = [
        |pin| {
            pin.earlier.clear();
            let mut head = *pin.head.transition();
            head.generation = 2;
            pin.head = Seen(head);
        },
        |pin| pin.earlier.swap(0, 1),
        |pin| pin.earlier.truncate(1),
        |pin| pin.earlier.push(pin.head.hash()),
    ];
    for change in changes {
        let mut pin = good.clone();
        change(&mut pin);
        let read = Pin::parse(&pin.to_bytes());
        assert!(matches!(read, Err(PinError::Earlier)), "{read:?}");
    }
}

/// Pins of earlier versions have the newest transition only.
#[test]
fn a_pin_without_the_earlier_transitions_serves_for_what_it_says() {
    let (four, other) = (chain(4, 5), chain(4, 6));
    let (all, others) = (hashes(&four), hashes(&other));
    let whole = Pin {
        accepted: Some(all[3]),
        ..pin(&four)
    };
    let mut value = serde_json::to_value(&whole).unwrap();
    assert!(value.as_object_mut().unwrap().remove("earlier").is_some());
    let old = Pin::parse(value.to_string().as_bytes()).unwrap();
    assert!(old.earlier.is_empty());
    let compare = |chain: &[TransitionHash]| old.compare(&found(chain));
    let same = Progress {
        newer: 0,
        unaccepted: 0,
    };
    assert_eq!(compare(&all), Ok(same));
    assert_eq!(compare(&others), whole.compare(&found(&others)));
    assert!(matches!(compare(&others), Err(Contradiction::Fork { .. })));
    // A shorter one: the first and the last but one are known, what is between them is not.
    let rollback = |found| Err(Contradiction::Rollback { seen: 4, found });
    let undecided = Err(Contradiction::Undecided { seen: 4, found: 2 });
    assert_eq!(compare(&all[..1]), rollback(1));
    assert_eq!(compare(&all[..2]), undecided);
    assert_eq!(compare(&others[..2]), undecided);
    assert_eq!(compare(&all[..3]), rollback(3));
    assert!(matches!(
        compare(&others[..3]),
        Err(Contradiction::Fork { generation: 3, .. })
    ));
    assert_eq!(old.unaccepted(&all[..3]), 0);
    // The next run knows them.
    let advanced = old.advanced(&found(&all), old.head, old.manifest.clone());
    assert_eq!(advanced, whole);
}

#[test]
fn of_a_history_of_before_everything_is_accepted_that_was_accepted_later() {
    let all = hashes(&chain(3, 5));
    let pin = |accepted: Option<usize>| Pin {
        accepted: accepted.map(|at| all[at - 1]),
        ..pin(&chain(3, 5))
    };
    assert_eq!(pin(Some(3)).unaccepted(&all[..2]), 0);
    assert_eq!(pin(Some(1)).unaccepted(&all[..2]), 1);
    assert_eq!(pin(None).unaccepted(&all[..2]), 2);
}

#[test]
fn the_same_history_and_a_longer_one_are_told_apart() {
    let all = chain(3, 5);
    let hashes = hashes(&all);
    let seen = |length: usize, accepted: Option<usize>| Pin {
        accepted: accepted.map(|at| hashes[at - 1]),
        ..pin(&all[..length])
    };
    let compare = |pin: Pin| pin.compare(&found(&hashes)).unwrap();
    let progress = |newer, unaccepted| Progress { newer, unaccepted };
    assert_eq!(compare(seen(3, None)), progress(0, 3));
    assert_eq!(compare(seen(3, Some(3))), progress(0, 0));
    assert_eq!(compare(seen(1, Some(1))), progress(2, 2));
    assert_eq!(compare(seen(2, Some(1))), progress(1, 2));
}

#[test]
fn every_contradiction_has_its_reason() {
    let (three, other) = (chain(3, 5), chain(3, 6));
    let (short, others) = (hashes(&three[..2]), hashes(&other));
    let compare = |found: &Found<'_>| pin(&three).compare(found).unwrap_err();
    let rollback = Contradiction::Rollback { seen: 3, found: 2 };
    assert_eq!(compare(&found(&short)), rollback);
    let fork = Contradiction::Fork {
        generation: 3,
        seen: three[2].hash(),
        found: other[2].hash(),
    };
    assert_eq!(compare(&found(&others)), fork);
    let fork = Contradiction::Fork {
        generation: 2,
        seen: three[1].hash(),
        found: other[1].hash(),
    };
    assert_eq!(compare(&found(&others[..2])), fork, "shorter, and another");
    for chain in [&[][..], &others[1..]] {
        assert!(matches!(
            compare(&found(chain)),
            Contradiction::Genesis { .. }
        ));
    }
    let hashes = hashes(&three);
    let other_key = Found {
        root_key: key(7),
        ..found(&hashes)
    };
    assert!(matches!(compare(&other_key), Contradiction::RootKey { .. }));
    let other_key = Found {
        history_key: key(7),
        ..found(&hashes)
    };
    assert!(matches!(
        compare(&other_key),
        Contradiction::HistoryKey { .. }
    ));
}
