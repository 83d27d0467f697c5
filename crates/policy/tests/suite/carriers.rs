//! Carriers: the same bytes everywhere, and the same text back.

use nacre_policy::carrier::{Carrier, CarrierError, MAX_ANNOTATIONS};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::common::{mesh, small};

fn sha(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[test]
fn both_carriers_round_trip_and_hash_what_the_guest_hashes() {
    for case in [small(), mesh()] {
        let policy = case.policy();
        let agent = policy.carrier(Carrier::AgentPolicy);
        assert_eq!(agent.hash.to_string(), sha(&policy.text));
        let init = policy.carrier(Carrier::InitData);
        assert_ne!(agent.hash, init.hash);
        for (carrier, carried) in [(Carrier::AgentPolicy, agent), (Carrier::InitData, init)] {
            assert_eq!(carried, case.policy().carrier(carrier), "deterministic");
            let decoded = carrier.unpack(&carried.annotation_value).unwrap();
            assert_eq!(decoded.policy, policy.text);
            assert_eq!(decoded.hash, carried.hash);
            assert!(decoded.other_keys.is_empty());
            assert_eq!(
                Carrier::of_annotation(carried.annotation_key),
                Some(carrier)
            );
        }
    }
}

#[test]
fn malformed_values_are_refused() {
    let long = "A".repeat(MAX_ANNOTATIONS + 1);
    for carrier in [Carrier::AgentPolicy, Carrier::InitData] {
        assert_eq!(carrier.unpack("%"), Err(CarrierError::Base64));
        assert_eq!(
            carrier.unpack(&long),
            Err(CarrierError::TooLong {
                limit: MAX_ANNOTATIONS
            })
        );
    }
    assert_eq!(Carrier::InitData.unpack("AAAA"), Err(CarrierError::Gzip));
    assert_eq!(
        Carrier::AgentPolicy.unpack("/w=="),
        Err(CarrierError::NotText)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_comes_back(text in "(\\PC|[\n\t\r'\"\\\\\u{1}\u{7f}]){0,300}") {
        for carrier in [Carrier::AgentPolicy, Carrier::InitData] {
            let carried = carrier.pack(&text);
            prop_assert_eq!(&carrier.unpack(&carried.annotation_value).unwrap().policy, &text);
        }
    }

    #[test]
    fn foreign_values_never_panic(value in "[A-Za-z0-9+/=]{0,200}") {
        for carrier in [Carrier::AgentPolicy, Carrier::InitData] {
            let _ = carrier.unpack(&value);
        }
    }
}
