//! Reports from the attestation agent of Confidential Containers, for guests that give containers no device.
//!
//! The agent answers `GET /aa/evidence?runtime_data=<text>` on loopback with JSON: the report as the fields of
//! virtee's `sev` crate, and the host's certificates. Both forms that its releases have are read (before and
//! from `sev` 5 on), and the 1184 bytes are put together again. Nothing is believed: whatever was left out or
//! changed on the way shows as a signature that does not hold.

use serde::Deserialize;
use serde_json::Value;

use super::{CertificateTable, RawReport, RawReportSource, SourceError};
use crate::form::ReportDataForm;
use crate::report::{REPORT_LEN, SigningKey};

/// The longest answer that is read, in bytes: numbers take up to four characters a byte.
pub const MAX_AGENT_ANSWER: usize = 256 * 1024;

/// Asks the agent; the transport is the caller's, because this crate has none.
pub trait AskAgent: Send + Sync {
    /// The body of the answer, at most [`MAX_AGENT_ANSWER`] bytes, to a request with this `runtime_data`. It needs no
    /// escaping in an address.
    fn evidence(&self, runtime_data: &str) -> Result<Vec<u8>, SourceError>;
}

/// Reports from the agent, bound in the form [`ReportDataForm::Text`].
pub struct CocoAgent<A> {
    agent: A,
}

impl<A: AskAgent> CocoAgent<A> {
    /// Over this transport.
    pub fn new(agent: A) -> Self {
        Self { agent }
    }
}

impl<A: AskAgent> RawReportSource for CocoAgent<A> {
    fn name(&self) -> &'static str {
        "coco-aa"
    }

    fn form(&self) -> ReportDataForm {
        ReportDataForm::Text
    }

    fn report(&self, report_data: &[u8; 64]) -> Result<RawReport, SourceError> {
        let text = self.form().apply(report_data);
        let answer = self.agent.evidence(&String::from_utf8_lossy(&text))?;
        read_agent_answer(&answer).map_err(|error| SourceError::Agent { source: error })
    }
}

/// The report and the certificates in an answer of the agent.
pub fn read_agent_answer(answer: &[u8]) -> Result<RawReport, AgentError> {
    if answer.len() > MAX_AGENT_ANSWER {
        return Err(AgentError::TooLong {
            bytes: answer.len(),
        });
    }
    let answer: Answer = serde_json::from_slice(answer)?;
    let report = Fields(&answer.attestation_report).encode()?;
    let mut certificates = CertificateTable::default();
    for entry in answer.cert_chain.unwrap_or_default() {
        let key = match entry.cert_type.as_str() {
            Some("VCEK") => SigningKey::Vcek,
            Some("VLEK") => SigningKey::Vlek,
            // Roots and intermediate keys are compiled in; what else there is, is not used.
            _ => continue,
        };
        certificates.add(key, entry.data);
    }
    Ok(RawReport {
        report,
        certificates,
    })
}

#[derive(Deserialize)]
struct Answer {
    attestation_report: Value,
    cert_chain: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    cert_type: Value,
    data: Vec<u8>,
}

/// Why an answer of the agent is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// An answer longer than [`MAX_AGENT_ANSWER`].
    #[error("an answer of {bytes} bytes, {MAX_AGENT_ANSWER} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// An answer that is not of the expected shape.
    #[error("the answer is not of the expected shape")]
    Shape(#[from] serde_json::Error),
    /// A field of the report that is missing, or not a number or list of the right size.
    #[error("the report's {field} is missing or not of the expected shape")]
    Field {
        /// Which.
        field: &'static str,
    },
}

/// The report as an object.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn encode(&self) -> Result<Vec<u8>, AgentError> {
        let mut out = Bytes(vec![0; REPORT_LEN]);
        out.put(0x000, &self.number::<4>("version")?);
        out.put(0x004, &self.number::<4>("guest_svn")?);
        out.put(0x008, &self.number::<8>("policy")?);
        out.put(0x010, &self.list::<16>("family_id")?);
        out.put(0x020, &self.list::<16>("image_id")?);
        out.put(0x030, &self.number::<4>("vmpl")?);
        out.put(0x034, &self.number::<4>("sig_algo")?);
        out.put(0x038, &self.tcb("current_tcb")?);
        out.put(0x040, &self.number::<8>("plat_info")?);
        out.put(0x048, &self.key_info()?);
        out.put(0x050, &self.list::<64>("report_data")?);
        out.put(0x090, &self.list::<48>("measurement")?);
        out.put(0x0c0, &self.list::<32>("host_data")?);
        out.put(0x0e0, &self.list::<48>("id_key_digest")?);
        out.put(0x110, &self.list::<48>("author_key_digest")?);
        out.put(0x140, &self.list::<32>("report_id")?);
        out.put(0x160, &self.list::<32>("report_id_ma")?);
        out.put(0x180, &self.tcb("reported_tcb")?);
        for (at, field) in [
            (0x188, "cpuid_fam_id"),
            (0x189, "cpuid_mod_id"),
            (0x18a, "cpuid_step"),
        ] {
            out.put(at, &self.optional::<1>(field)?);
        }
        out.put(0x1a0, &self.list::<64>("chip_id")?);
        out.put(0x1e0, &self.tcb("committed_tcb")?);
        out.put(0x1e8, &self.firmware("current", CURRENT)?);
        out.put(0x1ec, &self.firmware("committed", COMMITTED)?);
        out.put(0x1f0, &self.tcb("launch_tcb")?);
        out.put(0x1f8, &self.optional::<8>("launch_mit_vector")?);
        out.put(0x200, &self.optional::<8>("current_mit_vector")?);
        let signature = Fields(self.value("signature")?);
        out.put(0x2a0, &signature.list::<72>("r")?);
        out.put(0x2e8, &signature.list::<72>("s")?);
        Ok(out.0)
    }

    fn value(&self, field: &'static str) -> Result<&Value, AgentError> {
        self.0.get(field).ok_or(AgentError::Field { field })
    }

    /// A number in `N` bytes, the least significant first.
    fn number<const N: usize>(&self, field: &'static str) -> Result<[u8; N], AgentError> {
        let number = self.value(field)?.as_u64();
        number
            .and_then(little_endian)
            .ok_or(AgentError::Field { field })
    }

    /// A number that may be missing or null, as it is where the layout of the report has none.
    fn optional<const N: usize>(&self, field: &'static str) -> Result<[u8; N], AgentError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok([0; N]),
            Some(_) => self.number(field),
        }
    }

    fn list<const N: usize>(&self, field: &'static str) -> Result<[u8; N], AgentError> {
        let wrong = || AgentError::Field { field };
        let list = self.value(field)?.as_array().ok_or_else(wrong)?;
        let bytes = list
            .iter()
            .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong)?;
        bytes.try_into().map_err(|_| wrong())
    }

    /// The FMC is there on Turin only, whose layout is another one.
    fn tcb(&self, field: &'static str) -> Result<[u8; 8], AgentError> {
        let tcb = Fields(self.value(field)?);
        let [bootloader] = tcb.number("bootloader")?;
        let [tee] = tcb.number("tee")?;
        let [snp] = tcb.number("snp")?;
        let [microcode] = tcb.number("microcode")?;
        Ok(match tcb.0.get("fmc") {
            None | Some(Value::Null) => [bootloader, tee, 0, 0, 0, 0, snp, microcode],
            Some(_) => {
                let [fmc] = tcb.number("fmc")?;
                [fmc, bootloader, tee, snp, 0, 0, 0, microcode]
            }
        })
    }

    /// KEY_INFO; only its lowest bit in releases that know no VLEK.
    fn key_info(&self) -> Result<[u8; 4], AgentError> {
        match ["key_info", "_author_key_en", "author_key_en"]
            .into_iter()
            .find(|field| self.0.get(field).is_some())
        {
            Some(field) => self.number(field),
            None => Err(AgentError::Field { field: "key_info" }),
        }
    }

    /// Build, minor and major number, as one object or as three fields.
    fn firmware(
        &self,
        object: &'static str,
        flat: [&'static str; 3],
    ) -> Result<[u8; 3], AgentError> {
        let (fields, names) = match self.0.get(object) {
            Some(version) => (Fields(version), ["build", "minor", "major"]),
            None => (Fields(self.0), flat),
        };
        let mut out = [0; 3];
        for (to, name) in out.iter_mut().zip(names) {
            [*to] = fields.number(name)?;
        }
        Ok(out)
    }
}

const CURRENT: [&str; 3] = ["current_build", "current_minor", "current_major"];
const COMMITTED: [&str; 3] = ["committed_build", "committed_minor", "committed_major"];

fn little_endian<const N: usize>(number: u64) -> Option<[u8; N]> {
    let bytes = number.to_le_bytes();
    let (low, high) = bytes.split_at_checked(N)?;
    (high.iter().all(|&byte| byte == 0))
        .then(|| low.try_into().ok())
        .flatten()
}

/// The report as it comes to be.
struct Bytes(Vec<u8>);

impl Bytes {
    fn put(&mut self, at: usize, field: &[u8]) {
        self.0
            .iter_mut()
            .skip(at)
            .zip(field)
            .for_each(|(to, from)| *to = *from);
    }
}
