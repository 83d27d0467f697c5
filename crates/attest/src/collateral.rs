//! Where certificates of signing keys and revocation lists come from.
//!
//! The attester looks them up and sends them with its report; a verifier needs no network. Nothing that
//! comes from here is trusted: it is verified like everything else.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::certificate::MAX_CERTIFICATE;
use crate::crl::{Crl, MAX_CRL};
use crate::product::{Product, Tcb};
use crate::report::{Report, SigningKey};
use crate::time::Timestamp;

/// Gives certificates and revocation lists. Calls may block.
pub trait CollateralSource: Send + Sync {
    /// The certificate of a chip's key; `None` when this source has none.
    fn vek(&self, request: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError>;

    /// The revocation list of a product's root; `None` when this source has none.
    fn crl(&self, product: Product) -> Result<Option<Vec<u8>>, CollateralError>;
}

/// What identifies the certificate of a chip's key. It is the same for ever, so it can be kept for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VekRequest {
    /// Product line.
    pub product: Product,
    /// Identity of the chip, [`Product::hwid_len`] bytes.
    pub hwid: Vec<u8>,
    /// Firmware the key was derived for.
    pub tcb: Tcb,
}

impl VekRequest {
    /// What to look up for a report. `None` when nothing can be: a VLEK comes from the host only, a masked
    /// chip id and a version 2 report do not say enough.
    pub fn of(report: &Report) -> Option<Self> {
        let product = Product::from_cpu(report.cpu?)?;
        let hwid = report.chip_id.get(..product.hwid_len())?;
        let known = hwid.iter().any(|&byte| byte != 0);
        (known && report.signing_key() == SigningKey::Vcek).then(|| Self {
            product,
            hwid: hwid.to_vec(),
            tcb: report.reported_tcb.decode(product),
        })
    }

    /// The address below `https://kdsintf.amd.com` (AMD document 57230).
    pub fn kds_path(&self) -> String {
        let Self { product, hwid, tcb } = self;
        let fmc = tcb
            .fmc
            .map(|fmc| format!("fmcSPL={fmc:02}&"))
            .unwrap_or_default();
        format!(
            "/vcek/v1/{product}/{}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
            hex::encode(hwid),
            tcb.bootloader,
            tcb.tee,
            tcb.snp,
            tcb.microcode
        )
    }

    /// Name in a collateral directory.
    fn file_name(&self) -> String {
        format!(
            "vcek-{}-{}-{}.der",
            self.product,
            hex::encode(&self.hwid),
            tcb_name(self.tcb)
        )
    }
}

/// The address of a product's revocation list below `https://kdsintf.amd.com`.
pub fn kds_crl_path(product: Product) -> String {
    format!("/vcek/v1/{product}/crl")
}

impl fmt::Display for VekRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "VCEK of {} chip {} at {}",
            self.product,
            hex::encode(&self.hwid),
            self.tcb
        )
    }
}

fn tcb_name(tcb: Tcb) -> String {
    let numbers: Vec<_> = tcb.parts().map(|(_, number)| number.to_string()).collect();
    numbers.join(".")
}

/// A directory with collateral: a cache that survives restarts, or what an operator carried to a place
/// without network.
#[derive(Clone, Debug)]
pub struct CollateralDirectory {
    path: PathBuf,
}

impl CollateralDirectory {
    /// The directory need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a certificate.
    pub fn put_vek(&self, request: &VekRequest, der: &[u8]) -> Result<PathBuf, CollateralError> {
        self.put(request.file_name(), der)
    }

    /// Keeps a revocation list, unless the one that is there is newer: `None` then.
    pub fn put_crl(
        &self,
        product: Product,
        der: &[u8],
    ) -> Result<Option<PathBuf>, CollateralError> {
        let unreadable = |source| CollateralError::Unreadable {
            what: "revocation list",
            source,
        };
        let new = Crl::parse(der).map_err(unreadable)?;
        let old = self.crl(product)?.and_then(|der| Crl::parse(&der).ok());
        if old.is_some_and(|old| old.this_update > new.this_update) {
            return Ok(None);
        }
        self.put(crl_name(product), der).map(Some)
    }

    /// When the revocation list that is there was kept, or confirmed to be the newest.
    pub fn crl_kept_at(&self, product: Product) -> Option<Timestamp> {
        let metadata = std::fs::metadata(self.path.join(crl_name(product))).ok()?;
        Some(metadata.modified().ok()?.into())
    }

    fn put(&self, name: String, der: &[u8]) -> Result<PathBuf, CollateralError> {
        let path = self.path.join(name);
        // Another process may be keeping the same thing, also one in another container that has our number.
        let write = || {
            let mut random = [0; 8];
            aws_lc_rs::rand::fill(&mut random)
                .map_err(|_| io::Error::other("no random numbers"))?;
            let random = u64::from_ne_bytes(random);
            let partial = path.with_extension(format!("{random:016x}.partial"));
            std::fs::create_dir_all(&self.path)?;
            let mut file = std::fs::File::create_new(&partial)?;
            let written = file.write_all(der).and_then(|()| file.sync_all());
            written
                .and_then(|()| std::fs::rename(&partial, &path))
                .inspect_err(|_| {
                    let _ = std::fs::remove_file(&partial);
                })
        };
        write().map_err(|source| CollateralError::io(&path, source))?;
        Ok(path)
    }

    fn get(&self, name: String, limit: usize) -> Result<Option<Vec<u8>>, CollateralError> {
        use std::io::Read as _;
        let path = self.path.join(name);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CollateralError::io(&path, source)),
        };
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        file.take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| CollateralError::io(&path, source))?;
        if bytes.len() > limit {
            return Err(CollateralError::TooLong {
                path: path.display().to_string(),
                limit,
            });
        }
        Ok(Some(bytes))
    }
}

fn crl_name(product: Product) -> String {
    format!("crl-{product}.der")
}

impl CollateralSource for CollateralDirectory {
    fn vek(&self, request: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        self.get(request.file_name(), MAX_CERTIFICATE)
    }

    fn crl(&self, product: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        self.get(crl_name(product), MAX_CRL)
    }
}

/// Why there is no collateral.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollateralError {
    /// A file could not be read or written.
    #[error("{path}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is longer than what it should hold.
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// Which.
        path: String,
        /// Bytes allowed.
        limit: usize,
    },
    /// What came is not what was asked for.
    #[error("this is no {what}")]
    Unreadable {
        /// What was asked for.
        what: &'static str,
        /// Why it is not.
        #[source]
        source: der::Error,
    },
    /// What came is not signed by the keys it should be signed by, or is for another chip or firmware.
    #[error("what came is no genuine {what}")]
    NotGenuine {
        /// What was asked for.
        what: &'static str,
    },
    /// The server asks to wait.
    #[error("the server asks to wait {seconds} seconds")]
    Throttled {
        /// How long.
        seconds: u64,
    },
    /// The server could not be asked, or refused.
    #[error("{server}: {detail}")]
    Server {
        /// Which.
        server: String,
        /// What went wrong.
        detail: String,
    },
}

impl CollateralError {
    /// The same error once more, for whoever asks again before it is looked up again.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Io { path, source } => Self::Io {
                path: path.clone(),
                source: io::Error::new(source.kind(), source.to_string()),
            },
            Self::TooLong { path, limit } => Self::TooLong {
                path: path.clone(),
                limit: *limit,
            },
            Self::Unreadable { what, source } => Self::Unreadable {
                what,
                source: *source,
            },
            Self::NotGenuine { what } => Self::NotGenuine { what },
            Self::Throttled { seconds } => Self::Throttled { seconds: *seconds },
            Self::Server { server, detail } => Self::Server {
                server: server.clone(),
                detail: detail.clone(),
            },
        }
    }

    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.display().to_string(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(product: Product) -> VekRequest {
        let fmc = (product == Product::Turin).then_some(1);
        let tcb = Tcb {
            fmc,
            bootloader: 4,
            tee: 0,
            snp: 24,
            microcode: 219,
        };
        VekRequest {
            product,
            hwid: vec![0xab; product.hwid_len()],
            tcb,
        }
    }

    #[test]
    fn addresses_are_those_of_the_key_distribution_service() {
        assert_eq!(
            request(Product::Turin).kds_path(),
            "/vcek/v1/Turin/abababababababab?fmcSPL=01&blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"
        );
        let milan = request(Product::Milan).kds_path();
        assert!(milan.starts_with("/vcek/v1/Milan/abab") && !milan.contains("fmcSPL"));
        assert_eq!(kds_crl_path(Product::Genoa), "/vcek/v1/Genoa/crl");
    }

    #[test]
    fn a_directory_keeps_certificates_by_chip_and_firmware() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = CollateralDirectory::new(scratch.path().join("new"));
        let one = request(Product::Milan);
        assert_eq!(directory.vek(&one).unwrap(), None);
        directory.put_vek(&one, b"certificate").unwrap();
        assert_eq!(directory.vek(&one).unwrap().unwrap(), b"certificate");
        let mut other = one;
        other.tcb.snp = 27;
        assert_eq!(directory.vek(&other).unwrap(), None);
    }

    #[test]
    fn files_that_are_too_long_are_not_read_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = CollateralDirectory::new(scratch.path());
        let one = request(Product::Genoa);
        directory
            .put_vek(&one, &vec![0; MAX_CERTIFICATE + 1])
            .unwrap();
        assert!(matches!(
            directory.vek(&one),
            Err(CollateralError::TooLong { .. })
        ));
    }

    #[test]
    fn what_is_no_revocation_list_is_not_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = CollateralDirectory::new(scratch.path());
        assert!(directory.put_crl(Product::Genoa, b"no list").is_err());
        assert_eq!(directory.crl(Product::Genoa).unwrap(), None);
    }
}
