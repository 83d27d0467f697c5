//! What a state is good for: certificates and secrets of workloads.

use std::net::SocketAddr;

use aws_lc_rs::digest::{SHA256, digest};
use nacre_api::v1::{NewMeshCertResponse, PreviousCa};
use nacre_atls::AttestedPeer;
use nacre_manifest::PolicyHash;
use nacre_pki::{CertificateRequest, LeafProfile, pem};

use crate::audit;
use crate::denied::Denied;
use crate::state::Ready;

/// A certificate for the key of the request, and what goes with it. The caller has been judged.
pub(crate) fn issue(
    ready: &Ready,
    policy: PolicyHash,
    peer: &AttestedPeer,
    remote: SocketAddr,
    csr: &[u8],
    now: u64,
) -> Result<NewMeshCertResponse, Denied> {
    let manifest = ready.manifest();
    let entry = manifest.policies.get(&policy);
    let entry = entry.ok_or(Denied::NotListed { policy })?;
    let request = CertificateRequest::verify(csr)?;
    // The key of the connection is cleared when it closes; one that is kept has to be another.
    if request.spki() == peer.spki() {
        return Err(Denied::ConnectionKey);
    }
    let address = remote.ip().to_canonical();
    let profile = LeafProfile::new(policy, entry, &manifest.trust_domain, Some(address))?;
    let leaf = ready.ca.issue(&request, &profile, now)?;
    let secret = match &entry.workload_secret_id {
        Some(id) => {
            let keys = &ready.keys;
            let secret = keys.seed.workload_secret(&keys.salt, id)?;
            secret.as_bytes().to_vec()
        }
        None => Vec::new(),
    };
    audit::Certificate {
        generation: ready.generation(),
        transition: ready.head().hash,
        policy,
        identity: entry.identity.as_ref(),
        chip: &peer.claims().chip_id,
        leaf: sha256(&leaf),
        secret: !secret.is_empty(),
        remote,
    }
    .log();
    Ok(NewMeshCertResponse {
        generation: ready.generation(),
        transition: ready.head().hash.as_bytes().to_vec(),
        cert_chain: ready.ca.chain_pem(&leaf),
        mesh_ca: ready.ca.mesh_ca_pem(),
        root_ca: ready.ca.root_pem(),
        previous: previous(ready),
        workload_secret: secret,
    })
}

/// The CA before and the policies whose leaves it is still good for.
fn previous(ready: &Ready) -> Option<PreviousCa> {
    let previous = ready.previous.as_ref()?;
    let policies = ready.manifest().policies.keys();
    Some(PreviousCa {
        mesh_ca: pem("CERTIFICATE", &previous.mesh_ca),
        policies: policies.map(|policy| policy.as_bytes().to_vec()).collect(),
        generation: previous.generation,
    })
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let hash = digest(&SHA256, bytes);
    out.iter_mut()
        .zip(hash.as_ref())
        .for_each(|(to, from)| *to = *from);
    out
}
