//! The evidence of the guest a program runs in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nacre_attest::{
    Assembled, CocoAgent, CollateralDirectory, CollateralError, CollateralSource, ConfigfsTsm,
    RawReportSource, SourceError, Verifier,
};

use crate::agent::{AGENT_URL, HttpAgent};
use crate::cached::Cached;
use crate::http::Options;
use crate::kds::{KDS_URL, Kds};
use crate::kept::Kept;
use crate::thim::{THIM_URL, Thim};

/// How long a server is asked: connections wait for what it gives.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where reports come from.
pub const EVIDENCE: &str = "NACRE_EVIDENCE";
/// Who is asked for certificates of chips and revocation lists.
pub const COLLATERAL: &str = "NACRE_COLLATERAL";
/// Where what AMD's server gave is kept.
pub const CACHE: &str = "NACRE_COLLATERAL_CACHE";

/// Where a guest gets reports, and where it looks for what goes with them.
///
/// | Variable | Value |
/// | --- | --- |
/// | `NACRE_EVIDENCE` | `auto` (configfs, else `/dev/sev-guest`), `configfs`, `sev-guest`, or `coco-aa`, with `=<url>` where the agent is not at its usual place |
/// | `NACRE_COLLATERAL` | comma list, asked in this order after the host's own table: `thim`, `kds`, an absolute path or `directory=<path>`; with `thim=<url>` and `kds=<url>` at another address. Empty asks nobody |
/// | `NACRE_COLLATERAL_CACHE` | directory in which `kds` keeps what it has found, beyond the life of the program |
///
/// Unset and empty are the same, except that a program may look somewhere when `NACRE_COLLATERAL` is unset.
///
/// The agent is never taken without being named: it binds reports in another form, which the reference values
/// have to say.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl Reports {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "" | "auto" => Self::Auto,
            "configfs" => Self::Configfs,
            "sev-guest" => Self::SevGuest,
            "coco-aa" => Self::Agent(AGENT_URL.into()),
            other => Self::Agent(other.strip_prefix("coco-aa=")?.into()),
        })
    }
}

impl Place {
    fn read(text: &str) -> Option<Self> {
        match text.split_once('=') {
            None if text == "thim" => Some(Self::Thim(THIM_URL.into())),
            None if text == "kds" => Some(Self::Kds(KDS_URL.into())),
            None if text.starts_with('/') => Some(Self::Directory(text.into())),
            Some(("thim", url)) => Some(Self::Thim(url.into())),
            Some(("kds", url)) => Some(Self::Kds(url.into())),
            Some(("directory", path)) if path.starts_with('/') => {
                Some(Self::Directory(path.into()))
            }
            _ => None,
        }
    }
}

impl Guest {
    /// From variables, as `lookup` gives them.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<GuestError>> {
        let mut mistakes = Vec::new();
        let mut note = |variable, value: &str| {
            mistakes.push(GuestError {
                variable,
                value: value.into(),
            });
        };
        let evidence = lookup(EVIDENCE).unwrap_or_default();
        let reports = Reports::read(&evidence).unwrap_or_else(|| {
            note(EVIDENCE, &evidence);
            Reports::Auto
        });
        let mut collateral = Vec::new();
        let places = lookup(COLLATERAL).unwrap_or_default();
        for place in places.split(',').map(str::trim) {
            match Place::read(place) {
                Some(place) => collateral.push(place),
                None if place.is_empty() => {}
                None => note(COLLATERAL, place),
            }
        }
        let cache = lookup(CACHE).filter(|path| !path.is_empty());
        if let Some(path) = cache.as_ref().filter(|path| !path.starts_with('/')) {
            note(CACHE, path);
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            reports,
            collateral,
            cache: cache.map(PathBuf::from),
            options: Options {
                request: PATIENCE,
                patience: PATIENCE,
                ..Options::default()
            },
        })
    }

    /// Opens the sources. `verifier` decides what is good, and worth keeping in the cache.
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
        Ok(Assembled::new(
            self.reports()?,
            collateral,
            Arc::clone(verifier),
        ))
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
                let kds: Box<dyn CollateralSource> = Box::new(Kds::at(url, &self.options)?);
                let source = match &self.cache {
                    Some(path) => Box::new(Cached::new(
                        CollateralDirectory::new(path),
                        kds,
                        Arc::clone(verifier),
                    )),
                    None => kds,
                };
                Box::new(Kept::new(source, Arc::clone(verifier)))
            }
        })
    }
}

impl Default for Guest {
    /// As when no variable is set.
    fn default() -> Self {
        Self {
            reports: Reports::Auto,
            collateral: Vec::new(),
            cache: None,
            options: Options::default(),
        }
    }
}

#[cfg(feature = "sev-guest")]
fn sev_guest() -> Result<Box<dyn RawReportSource>, SourceError> {
    Ok(Box::new(nacre_attest::SevGuest::open(0)?))
}

#[cfg(not(feature = "sev-guest"))]
fn sev_guest() -> Result<Box<dyn RawReportSource>, SourceError> {
    Err(SourceError::Absent {
        path: format!(
            "{}, and this program is built without /dev/sev-guest",
            nacre_attest::TSM_ROOT
        ),
    })
}

/// A variable that says nothing we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {value:?} is not known; write {}", self.form())]
pub struct GuestError {
    /// Which variable.
    pub variable: &'static str,
    /// What is not known in it.
    pub value: String,
}

impl GuestError {
    /// What the variable may say.
    pub fn form(&self) -> &'static str {
        match self.variable {
            EVIDENCE => "auto, configfs, sev-guest, coco-aa or coco-aa=<url>",
            CACHE => "an absolute path",
            _ => "thim, kds, thim=<url>, kds=<url> or an absolute path, comma-separated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(evidence: &str, collateral: &str) -> Result<Guest, Vec<GuestError>> {
        Guest::from_env(|name| match name {
            EVIDENCE => Some(evidence.into()),
            COLLATERAL => Some(collateral.into()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_read_strictly() {
        assert_eq!(Guest::from_env(|_| None).unwrap().reports, Reports::Auto);
        let guest = read(
            "coco-aa",
            "thim, kds=http://127.0.0.1:9,directory=/etc/nacre,/also",
        )
        .unwrap();
        assert_eq!(guest.reports, Reports::Agent(AGENT_URL.into()));
        assert_eq!(
            guest.collateral,
            [
                Place::Thim(THIM_URL.into()),
                Place::Kds("http://127.0.0.1:9".into()),
                Place::Directory("/etc/nacre".into()),
                Place::Directory("/also".into()),
            ]
        );
        for (evidence, collateral, variable) in [
            ("simulated", "", EVIDENCE),
            ("coco", "", EVIDENCE),
            ("", "KDS", COLLATERAL),
            ("", "directory=relative", COLLATERAL),
            ("", "kds;thim", COLLATERAL),
        ] {
            assert_eq!(
                read(evidence, collateral).unwrap_err()[0].variable,
                variable
            );
        }
    }

    #[test]
    fn every_mistake_is_told_with_what_to_write() {
        let mistakes = Guest::from_env(|name| {
            Some(match name {
                EVIDENCE => "tpm".into(),
                COLLATERAL => "kds, azure, somewhere".into(),
                _ => "relative".into(),
            })
        })
        .unwrap_err();
        let texts: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "NACRE_EVIDENCE: \"tpm\" is not known; write auto, configfs, sev-guest, coco-aa or coco-aa=<url>",
                "NACRE_COLLATERAL: \"azure\" is not known; write thim, kds, thim=<url>, kds=<url> or an absolute path, comma-separated",
                "NACRE_COLLATERAL: \"somewhere\" is not known; write thim, kds, thim=<url>, kds=<url> or an absolute path, comma-separated",
                "NACRE_COLLATERAL_CACHE: \"relative\" is not known; write an absolute path",
            ]
        );
    }

    #[test]
    fn an_agent_elsewhere_is_refused() {
        let guest = read("coco-aa=http://10.0.0.1:8006/aa/evidence", "").unwrap();
        let refused = guest.open(&Arc::new(Verifier::amd()));
        assert!(matches!(refused, Err(SourceError::Absent { .. })));
    }
}
