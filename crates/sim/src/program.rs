//! What programs of the simulation read from their environment.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use nacre_attest::{ReportSource, Verifier};
use nacre_manifest::{Manifest, RootDigest};

use crate::folder::{CRL, FolderError};
use crate::machine::Machine;
use crate::pki::Pki;
use crate::source::{Behaviour, SimulatedGuest};
use crate::{MARKER, SimError};

/// Folder of the simulated root: [`Pki::create`].
pub const ENV_PKI: &str = "NACRE_SIM_PKI";
/// Policy hash that the simulated guest was started with, 64 hex digits.
pub const ENV_HOST_DATA: &str = "NACRE_SIM_HOST_DATA";
/// Launch digest of the simulated guest, 96 hex digits; absent = [`SimulatedGuest`]'s own.
pub const ENV_MEASUREMENT: &str = "NACRE_SIM_MEASUREMENT";

/// A simulated platform as a process sees it.
pub struct Platform {
    pki: Pki,
    crl: Vec<u8>,
}

/// Why there is no simulated platform.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// A variable is not set or not what it should be.
    #[error("{variable}: {reason}")]
    Variable {
        /// Which.
        variable: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// The folder cannot be read.
    #[error("the simulated root cannot be read")]
    Folder(#[from] FolderError),
    /// Something could not be minted.
    #[error("no simulated guest")]
    Sim(#[from] SimError),
}

impl Platform {
    /// The platform that the environment names.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, PlatformError> {
        let folder = get(ENV_PKI).filter(|text| !text.is_empty());
        let folder = folder.ok_or(PlatformError::Variable {
            variable: ENV_PKI,
            reason: "is not set: the folder of the simulated root",
        })?;
        let path = Path::new(&folder).join(CRL);
        let platform = Self {
            pki: Pki::open(Path::new(&folder))?,
            crl: std::fs::read(&path).map_err(|source| FolderError::Io { path, source })?,
        };
        if *ROOT.get_or_init(|| platform.root()) != platform.root() {
            return Err(PlatformError::Variable {
                variable: ENV_PKI,
                reason: "was another folder before: a process has one simulated root",
            });
        }
        Ok(platform)
    }

    /// What to tell whoever reads the log, at every start.
    pub fn warning(&self) -> String {
        format!("{MARKER}: evidence is made up and nothing is protected")
    }

    /// The real verifier, trusting the simulated root.
    pub fn verifier(&self) -> Result<Arc<Verifier>, PlatformError> {
        Ok(Arc::new(self.pki.verifier()?))
    }

    /// A guest as the environment describes it.
    pub fn guest(
        &self,
        get: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Arc<dyn ReportSource>, PlatformError> {
        let machine = Machine::new(&self.pki)?;
        let mut report = machine.report();
        report.host_data = bytes(get, ENV_HOST_DATA)?.ok_or(PlatformError::Variable {
            variable: ENV_HOST_DATA,
            reason: "is not set: the policy hash of the simulated guest",
        })?;
        if let Some(measurement) = bytes(get, ENV_MEASUREMENT)? {
            report.measurement = measurement;
        }
        let behaviour = Behaviour::default();
        let guest = SimulatedGuest::with(machine, report, self.crl.clone(), behaviour);
        Ok(Arc::new(guest))
    }

    /// The simulated root, as a manifest names it.
    pub fn root(&self) -> RootDigest {
        RootDigest::from_bytes(self.pki.ark.digest())
    }
}

/// The root of this process, once [`Platform::read`] has read it.
static ROOT: OnceLock<RootDigest> = OnceLock::new();

/// Reads a manifest that names the simulated root of this process. One that names none, or another, is
/// refused: it is for real hardware, or for another simulation.
pub fn read_manifest(bytes: &[u8]) -> Result<Manifest, nacre_manifest::Error> {
    let manifest = nacre_manifest::danger::parse_simulated(bytes)?;
    match (manifest.test_root, ROOT.get()) {
        (Some(named), Some(root)) if named == *root => Ok(manifest),
        _ => Err(nacre_manifest::Error::TestRoot),
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Platform({})", self.root())
    }
}

fn bytes<const N: usize>(
    get: &dyn Fn(&str) -> Option<String>,
    variable: &'static str,
) -> Result<Option<[u8; N]>, PlatformError> {
    let Some(text) = get(variable).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mut out = [0; N];
    hex::decode_to_slice(&text, &mut out).map_err(|_| PlatformError::Variable {
        variable,
        reason: "is not hex of the right length",
    })?;
    Ok(Some(out))
}
