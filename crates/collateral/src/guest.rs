//! The evidence of the guest a program runs in.

use std::path::PathBuf;
use std::sync::Arc;

use nacre_attest::{
    Assembled, CocoAgent, CollateralDirectory, CollateralError, CollateralSource, ConfigfsTsm,
    RawReportSource, SourceError, TSM_ROOT, Verifier,
};

use crate::agent::{AGENT_URL, HttpAgent};
use crate::cached::Cached;
use crate::http::Options;
use crate::kds::{KDS_URL, Kds};
use crate::thim::{THIM_URL, Thim};

/// Where a guest gets reports, and where it looks for what goes with them.
///
/// | Variable | Value |
/// | --- | --- |
/// | `NACRE_EVIDENCE` | `auto` (configfs, else `/dev/sev-guest`), `configfs`, `sev-guest`, or `coco-aa`, with `=<url>` where the agent is not at its usual place |
/// | `NACRE_COLLATERAL` | comma list, asked in this order after the host's own table: `thim`, `kds`, an absolute path or `directory=<path>`; with `thim=<url>` and `kds=<url>` at another address. Empty asks nobody |
/// | `NACRE_COLLATERAL_CACHE` | directory in which `kds` keeps what it has found |
///
/// The agent is never taken without being named: it binds reports in another form, which the reference values
/// have to say.
#[derive(Clone, Debug)]
pub struct Guest {
    reports: Reports,
    collateral: Vec<Place>,
    cache: Option<PathBuf>,
    options: Options,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reports {
    Auto,
    Configfs,
    SevGuest,
    Agent(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Thim(String),
    Kds(String),
    Directory(PathBuf),
}

impl Guest {
    /// From variables, as `lookup` gives them.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, GuestError> {
        let reports = match lookup("NACRE_EVIDENCE").as_deref() {
            None | Some("" | "auto") => Reports::Auto,
            Some("configfs") => Reports::Configfs,
            Some("sev-guest") => Reports::SevGuest,
            Some("coco-aa") => Reports::Agent(AGENT_URL.into()),
            Some(other) => match other.strip_prefix("coco-aa=") {
                Some(url) => Reports::Agent(url.into()),
                None => return Err(GuestError::new("NACRE_EVIDENCE", other)),
            },
        };
        let places = lookup("NACRE_COLLATERAL").unwrap_or_default();
        let collateral = places
            .split(',')
            .map(str::trim)
            .filter(|place| !place.is_empty())
            .map(|place| match place.split_once('=') {
                None if place == "thim" => Ok(Place::Thim(THIM_URL.into())),
                None if place == "kds" => Ok(Place::Kds(KDS_URL.into())),
                Some(("thim", url)) => Ok(Place::Thim(url.into())),
                Some(("kds", url)) => Ok(Place::Kds(url.into())),
                Some(("directory", path)) if path.starts_with('/') => {
                    Ok(Place::Directory(path.into()))
                }
                None if place.starts_with('/') => Ok(Place::Directory(place.into())),
                _ => Err(GuestError::new("NACRE_COLLATERAL", place)),
            })
            .collect::<Result<_, _>>()?;
        let cache = lookup("NACRE_COLLATERAL_CACHE").filter(|path| !path.is_empty());
        Ok(Self {
            reports,
            collateral,
            cache: cache.map(PathBuf::from),
            options: Options::default(),
        })
    }

    /// Opens the sources. `verifier` decides what is worth keeping in the cache.
    pub fn open(&self, verifier: &Arc<Verifier>) -> Result<Assembled, SourceError> {
        let collateral = self
            .collateral
            .iter()
            .map(|place| self.place(place, verifier))
            .collect::<Result<_, _>>()
            .map_err(|source| SourceError::Collateral {
                what: "collateral",
                source,
            })?;
        Ok(Assembled::new(self.reports()?, collateral))
    }

    fn reports(&self) -> Result<Box<dyn RawReportSource>, SourceError> {
        match &self.reports {
            Reports::Configfs => Ok(Box::new(ConfigfsTsm::open()?)),
            Reports::SevGuest => sev_guest(),
            Reports::Agent(url) => {
                let agent = HttpAgent::at(url, &self.options)?;
                Ok(Box::new(CocoAgent::new(agent)))
            }
            Reports::Auto => match ConfigfsTsm::open() {
                Ok(source) => Ok(Box::new(source)),
                Err(SourceError::Absent { .. }) => sev_guest(),
                Err(error) => Err(error),
            },
        }
    }

    fn place(
        &self,
        place: &Place,
        verifier: &Arc<Verifier>,
    ) -> Result<Box<dyn CollateralSource>, CollateralError> {
        Ok(match place {
            Place::Thim(url) => Box::new(Thim::at(url, &self.options)?),
            Place::Directory(path) => Box::new(CollateralDirectory::new(path)),
            Place::Kds(url) => {
                let kds = Kds::at(url, &self.options)?;
                match &self.cache {
                    Some(path) => Box::new(Cached::new(
                        CollateralDirectory::new(path),
                        Box::new(kds),
                        Arc::clone(verifier),
                    )),
                    None => Box::new(kds),
                }
            }
        })
    }
}

#[cfg(feature = "sev-guest")]
fn sev_guest() -> Result<Box<dyn RawReportSource>, SourceError> {
    Ok(Box::new(nacre_attest::SevGuest::open(0)?))
}

#[cfg(not(feature = "sev-guest"))]
fn sev_guest() -> Result<Box<dyn RawReportSource>, SourceError> {
    Err(SourceError::Absent {
        path: format!("{TSM_ROOT}, and this program is built without /dev/sev-guest"),
    })
}

/// A variable that says nothing we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {value:?} is not known")]
pub struct GuestError {
    /// Which variable.
    pub variable: &'static str,
    /// What is not known in it.
    pub value: String,
}

impl GuestError {
    fn new(variable: &'static str, value: &str) -> Self {
        Self {
            variable,
            value: value.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(evidence: &str, collateral: &str) -> Result<Guest, GuestError> {
        Guest::from_env(|name| match name {
            "NACRE_EVIDENCE" => Some(evidence.into()),
            "NACRE_COLLATERAL" => Some(collateral.into()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_read_strictly() {
        assert_eq!(Guest::from_env(|_| None).unwrap().reports, Reports::Auto);
        let guest = read(
            "coco-aa",
            "thim, kds=http://127.0.0.1:9,directory=/etc/nacre",
        )
        .unwrap();
        assert_eq!(guest.reports, Reports::Agent(AGENT_URL.into()));
        assert_eq!(
            guest.collateral,
            [
                Place::Thim(THIM_URL.into()),
                Place::Kds("http://127.0.0.1:9".into()),
                Place::Directory("/etc/nacre".into()),
            ]
        );
        for (evidence, collateral, variable) in [
            ("simulated", "", "NACRE_EVIDENCE"),
            ("coco", "", "NACRE_EVIDENCE"),
            ("", "KDS", "NACRE_COLLATERAL"),
            ("", "directory=relative", "NACRE_COLLATERAL"),
            ("", "kds;thim", "NACRE_COLLATERAL"),
        ] {
            assert_eq!(read(evidence, collateral).unwrap_err().variable, variable);
        }
    }

    #[test]
    fn an_agent_elsewhere_is_refused() {
        let guest = read("coco-aa=http://10.0.0.1:8006/aa/evidence", "").unwrap();
        let refused = guest.open(&Arc::new(Verifier::amd()));
        assert!(matches!(refused, Err(SourceError::Absent { .. })));
    }
}
