//! The certificates of this pod, read from the directory the initializer fills, and the TLS
//! configurations made of them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::overlap;
use crate::peer::Peer;
use crate::verify::{MeshVerifier, validity};

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
    #[error("no certificates in {}", list(directories))]
    Absent {
        /// Where they were looked for.
        directories: Vec<PathBuf>,
    },
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
    /// What all of the above verify with.
    verifier: MeshVerifier,
    /// When the first certificate of the chain expires, Unix seconds.
    pub not_after: u64,
    files: Files,
}

/// The files as they are now.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    authority: Vec<u8>,
    overlap: overlap::Files,
}

impl Files {
    /// Reads the first of the directories that holds a chain.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`].
    pub fn read(directories: &[PathBuf]) -> Result<Self, Error> {
        let holds = |dir: &&PathBuf| dir.join(CHAIN).exists();
        let absent = || Error::Absent {
            directories: directories.to_vec(),
        };
        let directory = directories.iter().find(holds).ok_or_else(absent)?;
        Ok(Self {
            directory: directory.clone(),
            chain: read(&directory.join(CHAIN))?,
            key: Zeroizing::new(read(&directory.join(KEY))?),
            authority: read(&directory.join(MESH_CA))?,
            overlap: overlap::Files::read(directory),
        })
    }

    /// Whether these are the files of that material.
    #[must_use]
    pub fn are_those_of(&self, material: &Material) -> bool {
        let theirs = &material.files;
        self.chain == theirs.chain
            && self.authority == theirs.authority
            && self.overlap == theirs.overlap
            // Both are ours; nobody measures how long this takes.
            && self.key == theirs.key
    }
}

impl Material {
    /// Nobody of the generation before gets in any more, unless the files still say so.
    pub fn close_overlap_unless(&self, files: Option<&Files>) {
        if files.is_none_or(|files| files.overlap != self.files.overlap) {
            self.verifier.close_overlap();
        }
    }

    /// Whether somebody of the generation before would get in, had the files always been there.
    #[must_use]
    pub fn has_closed_overlap(&self) -> bool {
        self.verifier.has_closed_overlap()
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

    /// Makes the files into configurations. `now` is in Unix seconds.
    ///
    /// # Errors
    /// Any of [`Error`]; nothing is used of files that do not fit together.
    pub fn new(files: Files, config: &Config, now: u64) -> Result<Self, Error> {
        let chain_path = files.directory.join(CHAIN);
        let key_path = files.directory.join(KEY);
        let ca_path = files.directory.join(MESH_CA);
        let chain = certificates(&chain_path, &files.chain)?;
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|reason| invalid(&key_path, &reason))?;
        let authorities = anchors(&ca_path, &files.authority)?;
        let previous = files.overlap.predecessor(&files.directory);

        let validities = chain
            .iter()
            .map(validity)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| invalid(&chain_path, &"no validity"))?;
        let not_before = validities.iter().map(|(begin, _)| *begin).max();
        let not_after = validities.iter().map(|(_, end)| *end).min();
        let not_after = not_after.unwrap_or_default();
        if not_after <= now {
            return Err(Error::Expired {
                seconds: now - not_after,
            });
        }
        let parts = Parts {
            chain,
            key,
            verifier: MeshVerifier::new(
                authorities,
                previous,
                algorithms(),
                not_before.unwrap_or_default(),
            ),
        };
        // The files are written one after the other.
        let (leaf, intermediates) = parts
            .chain
            .split_first()
            .ok_or_else(|| invalid(&chain_path, &"no certificate in it"))?;
        parts
            .verifier
            .check_own(leaf, intermediates, now)
            .map_err(|reason| {
                invalid(
                    &chain_path,
                    &format!("not issued by {}: {reason}", ca_path.display()),
                )
            })?;
        parts
            .material(config, not_after, files)
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
        self,
        config: &Config,
        not_after: u64,
        files: Files,
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
            server_only: Arc::new(served(server_only)),
            client,
            verifier: self.verifier,
            not_after,
            files,
        })
    }

    fn verifier(&self, allowed: Option<&[Peer]>) -> Arc<MeshVerifier> {
        Arc::new(self.verifier.only(allowed))
    }

    fn server(&self, allowed: Option<&[Peer]>) -> Result<ServerConfig, rustls::Error> {
        server_builder()?
            .with_client_cert_verifier(self.verifier(allowed))
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map(served)
    }

    fn client(&self, allowed: Option<&[Peer]>) -> Result<ClientConfig, rustls::Error> {
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(allowed))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        client.resumption = rustls::client::Resumption::disabled();
        client.enable_secret_extraction = true;
        Ok(client)
    }
}

/// TLS 1.3 only.
fn server_builder()
-> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, rustls::Error> {
    ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
}

/// A certificate counts for the connection that showed it, so nothing is resumed. The keys of a connection
/// go from rustls to our own records.
fn served(mut config: ServerConfig) -> ServerConfig {
    config.enable_secret_extraction = true;
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

fn list(directories: &[PathBuf]) -> String {
    let names: Vec<_> = directories
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    names.join(" or ")
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
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

/// The CAs of a PEM file.
pub(crate) fn anchors(path: &Path, pem: &[u8]) -> Result<Vec<TrustAnchor<'static>>, Error> {
    certificates(path, pem)?
        .iter()
        .map(|der| webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned()))
        .collect::<Result<_, _>>()
        .map_err(|reason| invalid(path, &reason))
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
