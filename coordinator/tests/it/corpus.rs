//! The corpus of the fuzz target `requests`, replayed, and where it comes from.

use std::path::Path;

use nacre_api::v1::{self, set_manifest_request::Step};
use nacre_history::{OwnerKeyPair, Transition};
use nacre_pki::LeafKey;
use prost::Message as _;

use crate::support::running::policies;
use crate::support::{Deployment, signed};

#[path = "../../../fuzz/exercise_requests.rs"]
mod exercise;

#[test]
fn the_corpus_of_the_fuzz_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/requests");
    if std::env::var_os("NACRE_BLESS").is_some() {
        write(&corpus);
    }
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        exercise::requests(&bytes);
        // Cut short anywhere, it is still no reason to panic.
        for length in (0..bytes.len()).step_by(bytes.len() / 64 + 1) {
            exercise::requests(&bytes[..length]);
        }
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

/// One real request of each kind.
fn write(corpus: &Path) {
    std::fs::create_dir_all(corpus).unwrap();
    let deployment = Deployment::new();
    let owner: &OwnerKeyPair = &deployment.owners[0];
    let manifest = deployment.manifest(&["one"]);
    let transition = Transition::genesis(&manifest, manifest.hash(), 1_700_000_000);
    let confirmation = nacre_history::Confirmation {
        transition: transition.hash(),
        salt: [1; 32],
        seed_shares: nacre_manifest::SeedSharesHash::of(b"shares"),
        root_spki: owner.spki().to_vec(),
        history_spki: owner.spki().to_vec(),
    };
    let set = |step| v1::SetManifestRequest { step: Some(step) }.encode_to_vec();
    let requests = [
        (
            "proposal",
            set(Step::Proposal(v1::Proposal {
                manifest: manifest.to_bytes(),
                transition: transition.to_bytes().to_vec(),
                signatures: signed(&[owner], &transition.message()),
                online: signed(&[owner], b"message"),
            })),
        ),
        ("policies", set(policies(&[b"package web", b"package db"]))),
        ("done", set(Step::PoliciesDone(v1::PoliciesDone {}))),
        (
            "confirmation",
            set(Step::Confirmation(v1::SignedConfirmation {
                confirmation: confirmation.to_bytes(),
                signatures: signed(&[owner], &confirmation.message()),
            })),
        ),
        (
            "recover",
            v1::RecoverRequest {
                expected: vec![1; 32],
                share: vec![2; 33],
                index: 1,
                dry_run: true,
                signature: signed(&[owner], b"message").pop(),
            }
            .encode_to_vec(),
        ),
        (
            "certificate",
            v1::NewMeshCertRequest {
                csr: LeafKey::generate().unwrap().request().unwrap(),
            }
            .encode_to_vec(),
        ),
        (
            "nonce",
            v1::ConfirmRequest { nonce: vec![3; 32] }.encode_to_vec(),
        ),
    ];
    for (name, bytes) in requests {
        std::fs::write(corpus.join(name), bytes).unwrap();
    }
}
