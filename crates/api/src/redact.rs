//! Messages that carry secrets say so and no more when they are printed.

use std::fmt;

use crate::v1::{NewMeshCertResponse, PeerRecoverResponse, RecoverRequest};

impl fmt::Debug for RecoverRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoverRequest")
            .field("index", &self.index)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewMeshCertResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMeshCertResponse")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PeerRecoverResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerRecoverResponse")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let secret = vec![0xab; 32];
        let texts = [
            format!(
                "{:?}",
                RecoverRequest {
                    share: secret.clone(),
                    ..RecoverRequest::default()
                }
            ),
            format!(
                "{:?}",
                NewMeshCertResponse {
                    workload_secret: secret.clone(),
                    ..NewMeshCertResponse::default()
                }
            ),
            format!(
                "{:?}",
                PeerRecoverResponse {
                    seed: secret.clone(),
                    mesh_key: secret,
                    ..PeerRecoverResponse::default()
                }
            ),
        ];
        for text in texts {
            assert!(!text.contains("171") && !text.contains("ab, "), "{text}");
        }
    }
}
