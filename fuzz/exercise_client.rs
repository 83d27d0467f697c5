// What the fuzz targets on files that `nacre` reads do with their bytes: bundles, pins, keys in PEM, documents of
// seed shares. The tests of `crates/client` replay the corpora through the same functions.

use nacre_client::bundle::Bundle;
use nacre_client::keys::{SeedshareKey, WorkloadKey};
use nacre_client::pin::Pin;
use nacre_pki::SeedShares;

/// Any bytes as a bundle: what is read is written and read again as the same.
pub(crate) fn bundle(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::parse(bytes) {
        let written = bundle.to_bytes();
        let again = Bundle::parse(&written).expect("what was written is read");
        assert_eq!(again.to_bytes(), written);
    }
}

/// Any bytes as a pin.
pub(crate) fn pin(bytes: &[u8]) {
    if let Ok(pin) = Pin::parse(bytes) {
        assert_eq!(
            Pin::parse(&pin.to_bytes()).expect("what was written is read"),
            pin
        );
    }
}

/// Any bytes as a private key in PEM, encrypted or not. The passphrase is that of the corpus.
pub(crate) fn key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let passphrase = || Some(b"correct horse".to_vec().into());
    let _ = WorkloadKey::from_pem(text, &mut { passphrase });
    let _ = SeedshareKey::from_pem(text, &mut { passphrase });
}

/// Any bytes as a document of seed shares: read in one way only, or not at all.
pub(crate) fn shares(bytes: &[u8]) {
    if let Ok(shares) = SeedShares::parse(bytes) {
        assert_eq!(shares.to_bytes(), bytes);
        for entry in shares.entries() {
            // Nothing here opens it; what matters is that nothing panics.
            let _ = shares.open(&entry.ciphertext);
        }
    }
}
