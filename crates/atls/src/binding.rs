//! What reports and signatures are bound to.
//!
//! Every input is framed by its length (u32, big-endian) and the first one names the purpose, so that no
//! two purposes and no two divisions of the same bytes give the same hash.

use aws_lc_rs::digest::{Context, SHA512};

use crate::wire::{ClientKind, NONCE_LEN};

/// Exporter label of the exchange (RFC 8446 §7.5, RFC 9266 for the idea).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-nacre-atls-v1";
/// Exporter label of requests an owner signs.
pub const OWNER_EXPORTER_LABEL: &[u8] = b"EXPORTER-nacre-owner-v1";
/// Length of what is exported, in bytes.
pub const EXPORTER_LEN: usize = 32;

const CONNECTION: &[u8] = b"nacre/v1/atls";
const HTTP: &[u8] = b"nacre/v1/http-attest";
const OWNER: &[u8] = b"nacre/v1/owner-request";

/// Who made a report. Part of the hash, so that evidence for one direction is none for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that was connected to.
    Server,
    /// The end that connected.
    Client(ClientKind),
}

impl Role {
    fn byte(self) -> u8 {
        match self {
            Self::Server => 1,
            Self::Client(kind) => kind.byte(),
        }
    }
}

/// What is particular to one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// DER of the server's public key.
    pub server_spki: Vec<u8>,
    /// DER of the client's public key.
    pub client_spki: Vec<u8>,
    /// Chosen by the client.
    pub nonce_client: [u8; NONCE_LEN],
    /// Chosen by the server.
    pub nonce_server: [u8; NONCE_LEN],
    /// Exported from the TLS session under [`EXPORTER_LABEL`].
    pub exporter: [u8; EXPORTER_LEN],
}

impl Connection {
    /// REPORT_DATA of the evidence of one end.
    pub fn report_data(&self, role: Role) -> [u8; 64] {
        let mut hash = FramedHash::new(CONNECTION);
        hash.byte(role.byte());
        hash.add(&self.server_spki);
        hash.add(&self.client_spki);
        hash.add(&self.nonce_client);
        hash.add(&self.nonce_server);
        hash.add(&self.exporter);
        hash.finish()
    }
}

/// One state of a Coordinator, as its attest route over HTTP states it.
#[derive(Clone, Copy, Debug)]
pub struct HttpState<'a> {
    /// Chosen by the one who asks, 32 bytes.
    pub nonce: &'a [u8; NONCE_LEN],
    /// Hash of the transition that is in force.
    pub transition: &'a [u8; 32],
    /// Hash of the manifest that is in force.
    pub manifest: &'a [u8; 32],
    /// DER of the public key of the root CA.
    pub root_spki: &'a [u8],
    /// DER of the certificate of the mesh CA.
    pub mesh_ca: &'a [u8],
}

impl HttpState<'_> {
    /// REPORT_DATA of the evidence. It says nothing about the HTTP connection.
    pub fn report_data(&self) -> [u8; 64] {
        let mut hash = FramedHash::new(HTTP);
        hash.add(self.nonce);
        hash.add(self.transition);
        hash.add(self.manifest);
        hash.add(self.root_spki);
        hash.add(self.mesh_ca);
        hash.finish()
    }
}

/// What a workload owner's online key signs: good for one method, one request, one connection.
pub fn owner_request(
    exporter: &[u8; EXPORTER_LEN],
    method: &str,
    request_digest: &[u8; 32],
) -> Vec<u8> {
    let mut message = Vec::new();
    for part in [OWNER, exporter, method.as_bytes(), request_digest] {
        message.extend_from_slice(&length(part));
        message.extend_from_slice(part);
    }
    message
}

fn length(part: &[u8]) -> [u8; 4] {
    // Nothing here comes near 4 GiB: frames are at most 64 KiB.
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

struct FramedHash(Context);

impl FramedHash {
    fn new(domain: &[u8]) -> Self {
        let mut hash = Self(Context::new(&SHA512));
        hash.add(domain);
        hash
    }

    fn byte(&mut self, byte: u8) {
        self.0.update(&[byte]);
    }

    fn add(&mut self, part: &[u8]) {
        self.0.update(&length(part));
        self.0.update(part);
    }

    fn finish(self) -> [u8; 64] {
        let mut out = [0; 64];
        out.iter_mut()
            .zip(self.0.finish().as_ref())
            .for_each(|(to, from)| *to = *from);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            server_spki: b"server key".to_vec(),
            client_spki: b"client key".to_vec(),
            nonce_client: [1; 32],
            nonce_server: [2; 32],
            exporter: [3; 32],
        }
    }

    /// Computed with Python's hashlib and struct; the script is in `tests/vectors.py`.
    #[test]
    fn vectors() {
        let vectors = include_str!("../tests/vectors.txt");
        let state = HttpState {
            nonce: &[1; 32],
            transition: &[2; 32],
            manifest: &[3; 32],
            root_spki: b"root",
            mesh_ca: b"mesh",
        };
        let ours = [
            ("server", connection().report_data(Role::Server).to_vec()),
            (
                "workload",
                connection()
                    .report_data(Role::Client(ClientKind::Workload))
                    .to_vec(),
            ),
            (
                "peer",
                connection()
                    .report_data(Role::Client(ClientKind::Coordinator))
                    .to_vec(),
            ),
            ("http", state.report_data().to_vec()),
            ("owner", owner_request(&[3; 32], "SetManifest", &[4; 32])),
        ];
        let text: String = ours
            .iter()
            .map(|(name, bytes)| format!("{name} {}\n", hex::encode(bytes)))
            .collect();
        assert_eq!(text, vectors);
    }

    #[test]
    fn every_input_counts_and_none_runs_into_the_next() {
        let base = connection();
        let all = [
            base.clone(),
            Connection {
                server_spki: b"server keyc".to_vec(),
                ..base.clone()
            },
            Connection {
                server_spki: b"server keyclient".to_vec(),
                client_spki: b" key".to_vec(),
                ..base.clone()
            },
            Connection {
                server_spki: base.client_spki.clone(),
                client_spki: base.server_spki.clone(),
                ..base.clone()
            },
            Connection {
                nonce_client: [2; 32],
                nonce_server: [1; 32],
                ..base.clone()
            },
            Connection {
                nonce_client: [9; 32],
                ..base.clone()
            },
            Connection {
                exporter: [9; 32],
                ..base
            },
        ];
        let hashes: std::collections::BTreeSet<_> = all
            .iter()
            .flat_map(|connection| {
                [
                    Role::Server,
                    Role::Client(ClientKind::Workload),
                    Role::Client(ClientKind::Coordinator),
                ]
                .map(|role| connection.report_data(role))
            })
            .collect();
        assert_eq!(hashes.len(), 3 * all.len());
    }
}
