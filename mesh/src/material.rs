//! The certificates of this pod, read from the directory the initializer fills, and the TLS
//! configurations made of them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};

use crate::config::Config;
use crate::peer::SpiffeId;
use crate::verify::{MeshVerifier, not_after};

/// Where the files may be, in the order they are looked for.
pub const DIRECTORIES: [&str; 2] = ["/tls-config", "/contrast/tls-config"];
/// Leaf and intermediate, PEM.
pub const CHAIN: &str = "certChain.pem";
/// The leaf's key, PEM (PKCS#8).
pub const KEY: &str = "key.pem";
/// The mesh CA, PEM.
pub const MESH_CA: &str = "mesh-ca.pem";
/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Why the certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// None of the directories holds a chain.
    #[error("no certificates in {}", DIRECTORIES.join(" or "))]
    Absent,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{} is not valid: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The leaf is past its end.
    #[error("the certificate expired {seconds} s ago")]
    Expired {
        /// Seconds since then.
        seconds: u64,
    },
}

/// Everything needed to speak TLS as this pod.
#[derive(Debug)]
pub struct Material {
    /// Serves members of the mesh only, by port where a port has a list of its own.
    mutual: BTreeMap<Option<u16>, Arc<ServerConfig>>,
    /// Serves anybody.
    pub server_only: Arc<ServerConfig>,
    /// Speaks to members of the mesh, by name of the egress entry.
    client: BTreeMap<String, Arc<ClientConfig>>,
    /// When the first certificate of the chain expires, Unix seconds.
    pub not_after: u64,
    /// SHA-256 over the three files.
    pub digest: [u8; 32],
}

impl Material {
    /// Reads the first directory that holds a chain. `now` is in Unix seconds.
    ///
    /// # Errors
    /// Any of [`Error`]; nothing is used of files that do not fit together.
    pub fn load(config: &Config, now: u64) -> Result<Self, Error> {
        let holds = |dir: &&PathBuf| dir.join(CHAIN).exists();
        let directory = config.directories.iter().find(holds).ok_or(Error::Absent)?;
        Self::from_directory(directory, config, now)
    }

    /// How to serve a port that demands a client certificate.
    #[must_use]
    pub fn mutual(&self, port: u16) -> Option<&Arc<ServerConfig>> {
        self.mutual
            .get(&Some(port))
            .or_else(|| self.mutual.get(&None))
    }

    /// How to speak to the peer of an egress entry.
    #[must_use]
    pub fn client(&self, route: &str) -> Option<&Arc<ClientConfig>> {
        self.client.get(route)
    }

    fn from_directory(directory: &Path, config: &Config, now: u64) -> Result<Self, Error> {
        let chain_path = directory.join(CHAIN);
        let key_path = directory.join(KEY);
        let ca_path = directory.join(MESH_CA);
        let chain_pem = read(&chain_path)?;
        let key_pem = zeroize::Zeroizing::new(read(&key_path)?);
        let ca_pem = read(&ca_path)?;

        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in [&chain_pem, &*key_pem, &ca_pem] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());

        let chain = certificates(&chain_path, &chain_pem)?;
        let authorities = certificates(&ca_path, &ca_pem)?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|reason| invalid(&key_path, &reason))?;
        let anchors = authorities
            .iter()
            .map(|der| webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| invalid(&ca_path, &reason))?;

        let not_after = chain
            .iter()
            .map(not_after)
            .min()
            .flatten()
            .ok_or_else(|| invalid(&chain_path, &"no end of validity"))?;
        if not_after <= now {
            return Err(Error::Expired {
                seconds: now - not_after,
            });
        }
        let parts = Parts {
            chain,
            key,
            verifier: MeshVerifier::new(anchors, algorithms()),
        };
        parts
            .material(config, not_after, digest)
            .map_err(|reason| invalid(&key_path, &reason))
    }
}

/// What the configurations are made of.
struct Parts {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: MeshVerifier,
}

impl Parts {
    fn material(
        &self,
        config: &Config,
        not_after: u64,
        digest: [u8; 32],
    ) -> Result<Material, rustls::Error> {
        let mutual = config
            .allow
            .ports()
            .map(|port| Ok((Some(port), Arc::new(self.server(config.allow.list(port))?))))
            .chain([self
                .server(config.allow.others())
                .map(|server| (None, Arc::new(server)))])
            .collect::<Result<_, rustls::Error>>()?;
        let client = config
            .egress
            .iter()
            .map(|route| {
                Ok((
                    route.name.clone(),
                    Arc::new(self.client(route.peers.as_deref())?),
                ))
            })
            .collect::<Result<_, rustls::Error>>()?;
        let server_only = server_builder()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        Ok(Material {
            mutual,
            server_only: Arc::new(without_tickets(server_only)),
            client,
            not_after,
            digest,
        })
    }

    fn verifier(&self, allowed: Option<&[SpiffeId]>) -> Arc<MeshVerifier> {
        Arc::new(match allowed {
            Some(list) => self.verifier.only(list),
            None => self.verifier.anybody(),
        })
    }

    fn server(&self, allowed: Option<&[SpiffeId]>) -> Result<ServerConfig, rustls::Error> {
        server_builder()?
            .with_client_cert_verifier(self.verifier(allowed))
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map(without_tickets)
    }

    fn client(&self, allowed: Option<&[SpiffeId]>) -> Result<ClientConfig, rustls::Error> {
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(allowed))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(client)
    }
}

/// TLS 1.3 only.
fn server_builder()
-> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, rustls::Error> {
    ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
}

/// A certificate counts for the connection that showed it, so nothing is resumed.
fn without_tickets(mut config: ServerConfig) -> ServerConfig {
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

fn algorithms() -> rustls::crypto::WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// AES-128-GCM first: it is the fastest on hardware that has SNP.
fn provider() -> CryptoProvider {
    use rustls::crypto::aws_lc_rs as lc;
    CryptoProvider {
        cipher_suites: vec![
            lc::cipher_suite::TLS13_AES_128_GCM_SHA256,
            lc::cipher_suite::TLS13_AES_256_GCM_SHA384,
            lc::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            lc::kx_group::X25519,
            lc::kx_group::SECP256R1,
            lc::kx_group::SECP384R1,
        ],
        ..lc::default_provider()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let wrap = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(wrap)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(wrap)?;
    if bytes.len() as u64 > LARGEST {
        return Err(invalid(path, &format!("more than {LARGEST} bytes")));
    }
    Ok(bytes)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| invalid(path, &reason))?;
    if found.is_empty() {
        Err(invalid(path, &"no certificate in it"))
    } else {
        Ok(found)
    }
}

fn invalid(path: &Path, what: &dyn std::fmt::Display) -> Error {
    Error::Invalid {
        path: path.to_owned(),
        what: what.to_string(),
    }
}
