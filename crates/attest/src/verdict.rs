//! What came of a verification, as data.

use std::fmt;

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use crate::check::CheckId;
use crate::product::{CpuId, Product, Tcb};
use crate::time::Timestamp;

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// The policy asks for nothing here.
    NotRequired,
    /// The caller asked for no comparison; what [`crate::verify`] answers is then never `Ok`.
    Open,
    /// Not reached, because an earlier check left nothing to look at. Counts as failed.
    NotRun,
}

/// One check of a verdict. For a machine: `code` (`NCR1066`), `check` (its name), `outcome`, `expected`, `actual`
/// and, where there is any, `advice`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// Which.
    pub id: CheckId,
    /// Its outcome.
    pub outcome: Outcome,
    /// What the policy asks for.
    pub expected: String,
    /// What the evidence says.
    pub actual: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 5 + usize::from(self.advice.is_some());
        let mut check = serializer.serialize_struct("Check", fields)?;
        check.serialize_field("code", &format_args!("NCR{}", self.id.code()))?;
        check.serialize_field("check", &self.id)?;
        check.serialize_field("outcome", &self.outcome)?;
        check.serialize_field("expected", &self.expected)?;
        check.serialize_field("actual", &self.actual)?;
        if let Some(advice) = &self.advice {
            check.serialize_field("advice", advice)?;
        }
        check.end()
    }
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Which chips may sign.
    Chips,
    /// Advisories that the firmware does not meet.
    Advisories,
    /// Whether the firmware is committed.
    Firmware,
    /// Whose key signed.
    SigningKey,
    /// Bits of PLATFORM_INFO.
    PlatformInfo,
    /// The revocation list.
    Revocation,
}

/// Something that a reader ought to know and that no check decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What it is about.
    pub topic: Topic,
    /// One sentence.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Every check in order, and what the evidence claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// One entry for each of [`CheckId::ALL`], in that order.
    pub checks: Vec<Check>,
    /// Things a reader ought to know that no check decides.
    pub notes: Vec<Note>,
    /// What the report says, whether or not the checks hold; absent when it could not be read.
    pub claims: Option<Claims>,
}

impl Verdict {
    /// The first check that does not hold, in order.
    pub fn first_failure(&self) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| matches!(check.outcome, Outcome::Fail | Outcome::NotRun))
    }

    /// All checks that failed, without those that were not reached.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }

    /// The checks the caller asked not to make.
    pub fn open(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Open)
    }

    /// Whether nothing failed. Checks left open are not failures: see [`Verdict::into_result`].
    pub fn holds(&self) -> bool {
        self.first_failure().is_none()
    }

    /// The claims when every check held and none was left open.
    pub fn into_result(self) -> Result<Claims, Rejection> {
        let sound = self.holds() && self.open().next().is_none();
        match (sound, self.claims.clone()) {
            (true, Some(claims)) => Ok(claims),
            _ => Err(Rejection {
                verdict: Box::new(self),
            }),
        }
    }

    /// The note about something.
    pub fn note(&self, topic: Topic) -> Option<&Note> {
        self.notes.iter().find(|note| note.topic == topic)
    }

    /// The entry of one check.
    pub fn check(&self, id: CheckId) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }
}

/// Evidence that was not accepted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    verdict: Box<Verdict>,
}

impl Rejection {
    /// The whole verdict.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The first check that does not hold or was left open.
    pub fn reason(&self) -> Option<&Check> {
        self.verdict
            .first_failure()
            .or_else(|| self.verdict.open().next())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(check) = self.reason() else {
            return f.write_str("no claims");
        };
        write!(
            f,
            "NCR{} {}: expected {}, found {}",
            check.id.code(),
            check.id,
            check.expected,
            check.actual
        )?;
        match &check.advice {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Rejection {}

/// What verified evidence says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claims {
    /// Product line.
    pub product: Product,
    /// Processor; absent from version 2 reports.
    pub cpu: Option<CpuId>,
    /// Layout version of the report.
    pub report_version: u32,
    /// Launch digest.
    #[serde(serialize_with = "hex_text")]
    pub measurement: [u8; 48],
    /// Hash of the policy the guest runs.
    #[serde(serialize_with = "hex_text")]
    pub host_data: [u8; 32],
    /// What the report is bound to.
    #[serde(serialize_with = "hex_text")]
    pub report_data: [u8; 64],
    /// Identity of the chip; zero when masked.
    #[serde(serialize_with = "hex_text")]
    pub chip_id: [u8; 64],
    /// Identity of the guest for as long as it runs.
    #[serde(serialize_with = "hex_text")]
    pub report_id: [u8; 32],
    /// Privilege level.
    pub vmpl: u32,
    /// Guest policy bits.
    pub guest_policy: u64,
    /// Platform information bits.
    pub platform_info: u64,
    /// Security version of the guest.
    pub guest_svn: u32,
    /// TCB the signing key was derived for.
    pub reported_tcb: Tcb,
    /// TCB at launch.
    pub launch_tcb: Tcb,
    /// TCB that cannot be rolled back.
    pub committed_tcb: Tcb,
    /// TCB that runs.
    pub current_tcb: Tcb,
    /// Start of the newest verified revocation list: a lower bound for the present time.
    pub crl_this_update: Option<Timestamp>,
}

fn hex_text<S: serde::Serializer, const N: usize>(
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}
