//! Each object is written in one way and read in one way.

use std::process::Command;

use nacre_history::{
    Confirmation, Curve, FormatError, Latest, OwnerKeyPair, Signed, SignedTransition, Transition,
};
use nacre_manifest::{Manifest, ManifestHash, SeedSharesHash, TransitionHash};
use proptest::prelude::*;

use crate::support::signatures;

fn transition() -> Transition {
    let manifest = Manifest::default();
    Transition::genesis(&manifest, manifest.hash(), 7)
}

#[test]
fn a_transition_has_these_bytes() {
    let bytes = transition().to_bytes();
    assert_eq!(bytes.len(), 113);
    assert_eq!(bytes[..9], [1, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(bytes[9..41], [0; 32]);
    assert_eq!(bytes[105..], 7_u64.to_be_bytes());
    let message = transition().message();
    assert_eq!(message[..4], 19_u32.to_be_bytes());
    assert_eq!(&message[4..23], b"nacre/v1/transition");
    assert_eq!(message[23..], bytes);
}

#[test]
fn generations_go_with_what_is_before() {
    let mut none = transition();
    none.generation = 0;
    let mut late = transition();
    late.generation = 2;
    let mut early = transition();
    early.previous = TransitionHash::from_bytes([1; 32]);
    for wrong in [none, late, early] {
        let error = Transition::parse(&wrong.to_bytes()).unwrap_err();
        assert!(matches!(error, FormatError::Generation { .. }), "{wrong:?}");
    }
}

#[test]
fn signatures_are_sorted_unique_and_few() {
    let [one, two] = [(); 2].map(|()| OwnerKeyPair::generate().unwrap());
    let body = transition();
    let both = body
        .signed(signatures(&body.message(), &[&one, &two]))
        .unwrap();
    let bytes = both.encode();
    assert_eq!(SignedTransition::parse(&bytes).unwrap(), both);
    let single = |owner: &OwnerKeyPair| {
        let signed = body.signed(signatures(&body.message(), &[owner])).unwrap();
        signed.encode()[115..].to_vec()
    };
    let (mut low, mut high) = (&one, &two);
    if low.digest() > high.digest() {
        std::mem::swap(&mut low, &mut high);
    }
    let joined = |parts: &[Vec<u8>]| {
        let count = u16::try_from(parts.len()).unwrap().to_be_bytes();
        [body.to_bytes().as_slice(), &count, &parts.concat()].concat()
    };
    assert!(SignedTransition::parse(&joined(&[single(low), single(high)])).is_ok());
    for wrong in [[single(high), single(low)], [single(low), single(low)]] {
        assert_eq!(
            SignedTransition::parse(&joined(&wrong)),
            Err(FormatError::SignatureOrder)
        );
    }
    let many = joined(&vec![single(low); 33]);
    assert_eq!(
        SignedTransition::parse(&many),
        Err(FormatError::TooManySignatures {
            count: 33,
            most: 32
        })
    );
    let twice = signatures(&body.message(), &[&one, &one]);
    assert_eq!(body.signed(twice), Err(FormatError::SignatureOrder));
}

#[test]
fn truncated_and_extended_objects_are_refused() {
    let owner = OwnerKeyPair::generate().unwrap();
    let body = transition();
    let signed = body.signed(signatures(&body.message(), &[&owner])).unwrap();
    let confirmation = Confirmation {
        transition: body.hash(),
        salt: [1; 32],
        seed_shares: SeedSharesHash::of(b"shares"),
        root_spki: owner.spki().to_vec(),
        history_spki: owner.spki().to_vec(),
    };
    let confirmation = Signed::new(confirmation, vec![]).unwrap();
    let latest = Latest::new(body.hash(), vec![3; 70]).unwrap();
    type Parse = fn(&[u8]) -> bool;
    let cases: [(Vec<u8>, Parse); 3] = [
        (signed.encode(), |b| SignedTransition::parse(b).is_ok()),
        (confirmation.encode(), |b| {
            Signed::<Confirmation>::parse(b).is_ok()
        }),
        (latest.encode(), |b| Latest::parse(b).is_ok()),
    ];
    for (mut bytes, parses) in cases {
        assert!(parses(&bytes));
        for length in 0..bytes.len() {
            assert!(!parses(&bytes[..length]), "{length}");
        }
        bytes.push(0);
        assert!(!parses(&bytes));
        bytes.pop();
        bytes[0] = 2;
        assert!(!parses(&bytes));
    }
}

#[test]
fn every_curve_signs_and_reads_its_key_again() {
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        let owner = OwnerKeyPair::generate_on(curve).unwrap();
        let again = OwnerKeyPair::from_der(&owner.to_pkcs8().unwrap()).unwrap();
        assert_eq!((again.curve(), again.digest()), (curve, owner.digest()));
        let signature = again.sign(b"message").unwrap();
        assert!(signature.verify(b"message"));
        assert!(!signature.verify(b"massage"));
        assert!(!format!("{owner:?}").contains("key: "));
    }
    assert!(OwnerKeyPair::from_der(b"no key").is_none());
}

#[test]
fn openssl_signs_the_prepared_message_and_verifies_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        output.stdout
    };
    for (name, curve) in [
        ("prime256v1", Curve::P256),
        ("secp384r1", Curve::P384),
        ("secp521r1", Curve::P521),
    ] {
        let key = path("key.pem");
        openssl(&["ecparam", "-name", name, "-genkey", "-noout", "-out", &key]);
        let spki = openssl(&["ec", "-in", &key, "-pubout", "-outform", "DER"]);
        std::fs::write(path("message"), transition().message()).unwrap();
        let hash = format!("-{}", curve.hash_name());
        let signature = openssl(&["dgst", &hash, "-sign", &key, &path("message")]);
        let signature = nacre_history::OwnerSignature::new(&spki, &signature).unwrap();
        assert_eq!(signature.curve(), curve);
        assert!(signature.verify(&transition().message()));

        let der = openssl(&["ec", "-in", &key, "-outform", "DER"]);
        let ours = OwnerKeyPair::from_der(&der).unwrap();
        let signature = ours.sign(&transition().message()).unwrap();
        std::fs::write(path("signature"), signature.signature()).unwrap();
        openssl(&["ec", "-in", &key, "-pubout", "-out", &path("public.pem")]);
        openssl(&[
            "dgst",
            &hash,
            "-verify",
            &path("public.pem"),
            "-signature",
            &path("signature"),
            &path("message"),
        ]);
    }
}

proptest! {
    #[test]
    fn transitions_round_trip(
        generation in 2_u64..,
        previous in prop::array::uniform32(1_u8..),
        manifest: [u8; 32],
        signed_at: u64,
    ) {
        let mut transition = transition();
        transition.generation = generation;
        transition.previous = TransitionHash::from_bytes(previous);
        transition.manifest = ManifestHash::from_bytes(manifest);
        transition.signed_at = signed_at;
        prop_assert_eq!(Transition::parse(&transition.to_bytes()), Ok(transition));
    }

    #[test]
    fn any_bytes_are_read_as_one_thing_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        crate::corpus::exercise::objects(&bytes);
    }
}
