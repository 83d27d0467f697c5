use aws_lc_rs::encoding::Pkcs8V1Der;
use aws_lc_rs::rsa::KeySize;

use super::*;

/// Private key (PKCS#8) and public key of an owner.
fn owner() -> (Vec<u8>, SeedshareOwnerKey) {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let text = crate::pem::pem("PUBLIC KEY", public.as_ref());
    (
        private.as_ref().to_vec(),
        SeedshareOwnerKey::from_pem(&text).unwrap(),
    )
}

struct Case {
    seed: Seed,
    private: Vec<Vec<u8>>,
    owners: Vec<SeedshareOwnerKey>,
    document: SeedShares,
}

fn case(threshold: u32, count: usize) -> Case {
    let (private, owners): (Vec<_>, Vec<_>) = (0..count).map(|_| owner()).unzip();
    let seed = Seed::generate().unwrap();
    let document = SeedShares::seal(&seed, threshold, &owners, [7; 32]).unwrap();
    Case {
        seed,
        private,
        owners,
        document,
    }
}

#[test]
fn every_owner_opens_the_own_share_and_enough_give_the_seed() {
    let case = case(2, 3);
    let document = SeedShares::parse(&case.document.to_bytes()).unwrap();
    assert_eq!(document, case.document);
    assert_eq!((document.threshold(), document.genesis()), (2, &[7; 32]));
    let shares: Vec<_> = case
        .private
        .iter()
        .map(|key| document.open(key).unwrap())
        .collect();
    assert_eq!(document.join(&shares).unwrap(), case.seed);
    assert_eq!(document.join(&shares[1..]).unwrap(), case.seed);
    let one_twice = [shares[0].clone(), shares[0].clone()];
    let error = document.join(&one_twice).unwrap_err();
    assert!(matches!(
        error,
        SharesError::TooFew {
            given: 1,
            needed: 2
        }
    ));
}

#[test]
fn a_wrong_share_is_named() {
    let case = case(2, 3);
    let mut bytes = case.document.open(&case.private[1]).unwrap().to_bytes();
    bytes[9] ^= 1;
    let wrong = Share::from_bytes(bytes.as_ref()).unwrap();
    let good = case.document.open(&case.private[0]).unwrap();
    let error = case.document.join(&[good, wrong]).unwrap_err();
    assert!(matches!(error, SharesError::Wrong { index: 2 }));
    // A share of another seed with the same owners, and an index that is nobody's.
    let other = SeedShares::seal(&case.seed, 2, &case.owners, [7; 32]).unwrap();
    let foreign = other.open(&case.private[0]).unwrap();
    let error = case.document.check_share(&foreign).unwrap_err();
    assert!(matches!(error, SharesError::Wrong { index: 1 }));
    let nobodys = Share::from_bytes(&[9; 33]).unwrap();
    assert!(matches!(
        case.document.check_share(&nobodys),
        Err(SharesError::Wrong { index: 9 })
    ));
}

#[test]
fn ciphertexts_do_not_move() {
    let case = case(1, 2);
    let stranger = owner();
    assert!(matches!(
        case.document.open(&stranger.0),
        Err(SharesError::NoOwner)
    ));
    assert!(matches!(
        case.document.open(b"no key"),
        Err(SharesError::PrivateKey)
    ));
    // To another set, or to another index of the same set.
    let mut moved = case.document.clone();
    moved.set_id[0] ^= 1;
    assert!(matches!(
        moved.open(&case.private[0]),
        Err(SharesError::Undecryptable { index: 1 })
    ));
    let mut renumbered = case.document.clone();
    renumbered.shares[0].index = 3;
    assert!(matches!(
        renumbered.open(&case.private[0]),
        Err(SharesError::Undecryptable { index: 3 })
    ));
    // A share that somebody else encrypted to the owner is not the one that was committed to.
    let mut replaced = case.document.clone();
    let fake = Share::new(1, &[0x11; 32]).unwrap();
    replaced.shares[0].ciphertext = encrypt(&case.owners[0], &case.document.set_id, &fake).unwrap();
    assert!(matches!(
        replaced.open(&case.private[0]),
        Err(SharesError::Wrong { index: 1 })
    ));
}

#[test]
fn documents_are_read_strictly() {
    let document = case(2, 2).document;
    let text = String::from_utf8(document.to_bytes()).unwrap();
    let parse = |text: &str| SeedShares::parse(text.as_bytes()).unwrap_err();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        parse(&text.replacen(from, to, 1))
    };
    assert!(matches!(
        changed("\"Version\": 1", "\"Version\": 2"),
        SharesError::Version { version: 2 }
    ));
    assert!(matches!(
        changed("\"Count\": 2", "\"Count\": 3"),
        SharesError::Count
    ));
    assert!(matches!(
        changed("\"Threshold\": 2", "\"Threshold\": 3"),
        SharesError::Threshold
    ));
    assert!(matches!(
        changed("\"Threshold\": 2", "\"Threshold\": 0"),
        SharesError::Threshold
    ));
    assert!(matches!(
        changed("\"Index\": 2", "\"Index\": 1"),
        SharesError::Index
    ));
    assert!(matches!(
        changed("\"Index\": 2", "\"Index\": 0"),
        SharesError::Index
    ));
    assert!(matches!(
        changed("\"Version\": 1", "\"Version\": 1, \"More\": 1"),
        SharesError::Json(_)
    ));
    assert!(matches!(
        changed("  \"Version\"", " \"Version\""),
        SharesError::NotCanonical
    ));
    assert!(matches!(
        parse(&format!("{text}\n")),
        SharesError::NotCanonical
    ));
    assert!(matches!(parse("[]"), SharesError::Json(_)));
    assert!(matches!(
        parse(&" ".repeat(LONGEST + 1)),
        SharesError::TooLong { .. }
    ));

    let mut twice = document.clone();
    twice.shares[1].owner = twice.shares[0].owner.clone();
    assert!(matches!(
        SeedShares::parse(&twice.to_bytes()),
        Err(SharesError::OwnerTwice)
    ));
    let mut short = document;
    short.shares[1].ciphertext.pop();
    assert!(matches!(
        SeedShares::parse(&short.to_bytes()),
        Err(SharesError::Ciphertext { index: 2 })
    ));
}

#[test]
fn thresholds_that_nobody_can_meet_are_refused() {
    let (seed, owners) = (Seed::generate().unwrap(), [owner().1]);
    for (threshold, owners) in [(0, &owners[..]), (2, &owners), (1, &[]), (256, &owners)] {
        let error = SeedShares::seal(&seed, threshold, owners, [0; 32]).unwrap_err();
        assert!(matches!(error, SharesError::Threshold));
    }
}

#[test]
fn openssl_decrypts_a_share() {
    let case = case(1, 1);
    let folder = tempfile::tempdir().unwrap();
    let (key, ciphertext) = (folder.path().join("key.pem"), folder.path().join("share"));
    let entry = &case.document.shares[0];
    std::fs::write(&key, crate::pem::pem("PRIVATE KEY", &case.private[0])).unwrap();
    std::fs::write(&ciphertext, &entry.ciphertext).unwrap();
    let program = std::env::var_os("NACRE_TEST_OPENSSL").unwrap_or_else(|| "openssl".into());
    let label = hex::encode(label(&case.document.set_id, 1));
    let output = std::process::Command::new(program)
        .args(["pkeyutl", "-decrypt", "-inkey"])
        .arg(&key)
        .arg("-in")
        .arg(&ciphertext)
        .args([
            "-pkeyopt",
            "rsa_padding_mode:oaep",
            "-pkeyopt",
            "rsa_oaep_md:sha256",
        ])
        .args(["-pkeyopt", "rsa_mgf1_md:sha256"])
        .args(["-pkeyopt", &format!("rsa_oaep_label:{label}")])
        .output()
        .expect("openssl can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.stdout, case.seed.as_bytes());
}
