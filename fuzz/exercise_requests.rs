// What the fuzz target on requests does with its bytes: everything the Coordinator does with a message before
// it looks at its own state. The tests of `coordinator` replay the corpus through the same function.

use nacre_api::v1::{
    ConfirmRequest, GetManifestsRequest, NewMeshCertRequest, RecoverRequest, SetManifestRequest,
    Signature, set_manifest_request::Step,
};
use nacre_history::{Confirmation, OwnerSignature, Transition};
use nacre_manifest::{Manifest, PolicyHash, SeedshareOwnerKey, TransitionHash};
use nacre_pki::{CertificateRequest, Share};
use prost::Message as _;

/// Any bytes as each of the requests: no panic, and nothing that is read is anything else.
pub(crate) fn requests(bytes: &[u8]) {
    if let Ok(request) = SetManifestRequest::decode(bytes) {
        match request.step {
            Some(Step::Proposal(proposal)) => {
                if let Ok(transition) = Transition::parse(&proposal.transition) {
                    assert_eq!(transition.to_bytes().as_slice(), proposal.transition);
                    signatures(&proposal.signatures, &transition.message());
                }
                signatures(&proposal.online, b"message");
                let _ = Manifest::parse(&proposal.manifest);
            }
            Some(Step::Policies(policies)) => {
                for raw in policies.unpack().unwrap_or_default() {
                    let _ = PolicyHash::of(&raw);
                }
            }
            Some(Step::Confirmation(confirmation)) => {
                if let Ok(body) = Confirmation::parse(&confirmation.confirmation) {
                    assert_eq!(body.to_bytes(), confirmation.confirmation);
                    signatures(&confirmation.signatures, &body.message());
                }
            }
            Some(Step::PoliciesDone(_)) | None => {}
        }
    }
    if let Ok(request) = RecoverRequest::decode(bytes) {
        let _ = nacre_api::recover_digest(&request);
        let _ = TransitionHash::try_from(request.expected.as_slice());
        if let Some(share) = Share::from_bytes(&request.share) {
            assert_eq!(share.to_bytes().as_slice(), request.share);
        }
        if let Some(signature) = request.signature {
            let _ = SeedshareOwnerKey::from_spki_der(&signature.spki);
        }
    }
    if let Ok(request) = NewMeshCertRequest::decode(bytes) {
        let _ = CertificateRequest::verify(&request.csr);
    }
    let _ = GetManifestsRequest::decode(bytes);
    let _ = ConfirmRequest::decode(bytes);
}

fn signatures(list: &[Signature], message: &[u8]) {
    for one in list {
        if let Ok(signature) = OwnerSignature::new(&one.spki, &one.signature) {
            let _ = signature.verify(message);
        }
    }
}
