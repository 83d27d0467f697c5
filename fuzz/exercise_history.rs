// What the fuzz target on objects of a history does with its bytes; the tests of `crates/history` replay the
// corpus through the same function.

use nacre_history::{
    Authority, Confirmation, Latest, ObjectKey, OwnerSignature, Signed, SignedTransition,
    Transition,
};

/// Any bytes as each kind of object: read in one way only, or not at all.
pub(crate) fn objects(bytes: &[u8]) {
    if let Ok(signed) = SignedTransition::parse(bytes) {
        assert_eq!(signed.encode(), bytes);
        for signature in signed.signatures() {
            // Nothing that a fuzzer finds is a signature; what matters is that nothing panics.
            let _ = signature.verify(&signed.body().message());
        }
    }
    if let Ok(signed) = Signed::<Confirmation>::parse(bytes) {
        assert_eq!(signed.encode(), bytes);
    }
    if let Ok(confirmation) = Confirmation::parse(bytes) {
        assert_eq!(confirmation.to_bytes(), bytes);
    }
    if let Ok(transition) = Transition::parse(bytes) {
        assert_eq!(transition.to_bytes(), bytes);
    }
    if let Ok(latest) = Latest::parse(bytes) {
        assert_eq!(latest.encode(), bytes);
        let _ = latest.is_signed_by(bytes);
    }
    let (spki, signature) = bytes.split_at(bytes.len() / 2);
    if let Ok(signature) = OwnerSignature::new(spki, signature) {
        let _ = signature.verify(bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(key) = text.parse::<ObjectKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(owners) = text.parse::<Authority>() {
        assert_eq!(owners.to_string().parse(), Ok(owners));
    }
}
