//! A hierarchy in a folder, so that several processes trust the same simulated root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nacre_attest::Product;

use crate::SimError;
use crate::pki::{Authority, Pki, RsaKey};

const PRODUCT: &str = "product";
/// One list for all: a guest with an older one than was seen before would be refused.
pub(crate) const CRL: &str = "crl.der";
const NAMES: [&str; 3] = ["ark", "ask", "asvk"];

/// Why a hierarchy could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{} was not written by a simulation", path.display())]
    Content {
        /// Which.
        path: PathBuf,
    },
    /// Something could not be minted.
    #[error(transparent)]
    Sim(#[from] SimError),
}

impl Pki {
    /// Makes a hierarchy with new keys and keeps it in a folder, private keys included: everybody who has
    /// the folder can simulate any guest. Takes some seconds.
    pub fn create(product: Product, folder: &Path) -> Result<Self, FolderError> {
        let pki = Self::with_new_keys(product)?;
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(|source| FolderError::Io { path, source })
        };
        fs::create_dir_all(folder).map_err(|source| FolderError::Io {
            path: folder.to_path_buf(),
            source,
        })?;
        for (name, authority) in NAMES.iter().zip([&pki.ark, &pki.ask, &pki.asvk]) {
            put(&format!("{name}.key.der"), &authority.key.to_pkcs8()?)?;
            put(&format!("{name}.der"), &authority.certificate)?;
        }
        put(CRL, &pki.crl()?)?;
        put(PRODUCT, product.name().as_bytes())?;
        Ok(pki)
    }

    /// Reads what [`Pki::create`] kept.
    pub fn open(folder: &Path) -> Result<Self, FolderError> {
        let get = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| FolderError::Io { path, source })
        };
        let content = |name: &str| FolderError::Content {
            path: folder.join(name),
        };
        let text = String::from_utf8(get(PRODUCT)?).map_err(|_| content(PRODUCT))?;
        let product = Product::parse(text.trim()).ok_or_else(|| content(PRODUCT))?;
        let key = |name: &str| {
            let file = format!("{name}.key.der");
            RsaKey::from_pkcs8(&get(&file)?).ok_or_else(|| content(&file))
        };
        let [ark, ask, asvk] = NAMES;
        let mut pki = Self::with_keys(product, &[key(ark)?, key(ask)?, key(asvk)?])?;
        // Signatures are random: the certificates are those that were made at first.
        for (name, authority) in NAMES
            .iter()
            .zip([&mut pki.ark, &mut pki.ask, &mut pki.asvk])
        {
            authority.certificate = get(&format!("{name}.der"))?;
        }
        Ok(pki)
    }
}

impl Authority {
    /// SHA-256 of the certificate: what a manifest names as its `TestRoot`.
    pub fn digest(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate).as_ref(),
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use nacre_attest::{Expected, HostData, Policy, ReportData, ReportSource as _, Timestamp};

    use super::*;
    use crate::{Machine, SimulatedGuest};

    #[test]
    fn evidence_of_one_process_holds_in_another() {
        let folder = std::env::temp_dir().join(format!("nacre-sim-{}", std::process::id()));
        let made = Pki::create(Product::Genoa, &folder).unwrap();
        let read = Pki::open(&folder).unwrap();
        fs::remove_file(folder.join(PRODUCT)).unwrap();
        assert!(matches!(Pki::open(&folder), Err(FolderError::Io { .. })));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(made.ark.digest(), read.ark.digest());
        let guest = SimulatedGuest::new(Machine::new(&read).unwrap(), read.crl().unwrap());
        let evidence = guest.evidence(&[7; 64]).unwrap();
        let expected = Expected {
            report_data: ReportData::Exact([7; 64]),
            host_data: HostData::OneOf([[0; 32]].into()),
            newest_crl: None,
        };
        let policy = Policy::new(Product::Genoa, [[0x5a; 48]]);
        let verifier = made.verifier().unwrap();
        let claims = verifier.verify(&evidence, &policy, &expected, Timestamp::now());
        assert!(claims.is_ok(), "{:?}", claims.err());
    }
}
