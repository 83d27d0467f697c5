//! A state and fresh evidence that this Coordinator is in it.

use nacre_api::limits::NONCE_LEN;
use nacre_api::v1::AttestedState;
use nacre_atls::ReportQueue;
use nacre_atls::binding::HttpState;
use nacre_attest::Evidence;
use nacre_pki::pem;

use crate::denied::Denied;
use crate::state::Ready;

/// The nonce of a request.
pub(crate) fn nonce(bytes: &[u8]) -> Result<[u8; NONCE_LEN], Denied> {
    bytes.try_into().map_err(|_| Denied::Length {
        what: "nonce",
        found: bytes.len(),
        expected: NONCE_LEN,
    })
}

/// Evidence bound to the nonce and to this one snapshot.
pub(crate) async fn evidence(
    ready: &Ready,
    queue: &ReportQueue,
    nonce: &[u8; NONCE_LEN],
) -> Result<Evidence, Denied> {
    Ok(queue.evidence(report_data(ready, nonce)).await?)
}

fn report_data(ready: &Ready, nonce: &[u8; NONCE_LEN]) -> [u8; 64] {
    HttpState {
        nonce,
        transition: ready.head().hash.as_bytes(),
        manifest: ready.manifest_hash().as_bytes(),
        root_spki: ready.ca.root_spki(),
        mesh_ca: ready.ca.mesh_ca(),
    }
    .report_data()
}

/// The message that carries both.
pub(crate) fn message(ready: &Ready, evidence: &Evidence, objects: usize) -> AttestedState {
    AttestedState {
        transition: ready.head().hash.as_bytes().to_vec(),
        manifest: ready.manifest_hash().as_bytes().to_vec(),
        root_spki: ready.ca.root_spki().to_vec(),
        mesh_ca: ready.ca.mesh_ca().to_vec(),
        evidence: evidence.encode(),
        root_ca: ready.ca.root_pem(),
        intermediate_ca: pem("CERTIFICATE", ready.ca.intermediate()),
        objects: u32::try_from(objects).unwrap_or(u32::MAX),
    }
}
