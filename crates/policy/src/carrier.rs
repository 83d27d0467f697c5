//! How a policy travels: as an annotation of the pod, and which bytes its hash covers.

use std::io::Read;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use nacre_manifest::PolicyHash;

use crate::gzip;
use crate::rules::RULES;

/// Annotation of the older carrier: base64 of the policy text.
pub const AGENT_POLICY: &str = "io.katacontainers.config.agent.policy";
/// Annotation of the newer carrier: base64 of gzip of the initdata document.
pub const INIT_DATA: &str = "io.katacontainers.config.hypervisor.cc_init_data";
/// Key of the policy in the initdata document.
pub const POLICY_KEY: &str = "policy.rego";
/// Longest annotation value read back, in bytes: the limit of Kubernetes for all annotations of
/// an object together.
pub const MAX_ANNOTATIONS: usize = 256 * 1024;
/// Longest policy or initdata read back, in bytes: the agent's own limit for a policy file is
/// the same order (16 MiB), ours are below 100 kB.
pub const MAX_DECODED: usize = 4 * 1024 * 1024;

/// The two ways a policy reaches the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// [`AGENT_POLICY`]; `HOST_DATA` is SHA-256 of the policy text.
    AgentPolicy,
    /// [`INIT_DATA`]; `HOST_DATA` is SHA-256 of the initdata document.
    InitData,
}

/// A policy ready to be written into a pod template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Key of the annotation.
    pub annotation_key: &'static str,
    /// Its value.
    pub annotation_value: String,
    /// The workload's identity.
    pub hash: PolicyHash,
}

/// What an annotation held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The carrier it came in.
    pub carrier: Carrier,
    /// The policy text.
    pub policy: String,
    /// The identity the guest will have.
    pub hash: PolicyHash,
    /// Keys of the initdata document beside the policy.
    pub other_keys: Vec<String>,
}

impl Carrier {
    /// Key of the annotation this carrier uses.
    pub const fn annotation_key(self) -> &'static str {
        match self {
            Self::AgentPolicy => AGENT_POLICY,
            Self::InitData => INIT_DATA,
        }
    }

    /// The carrier with this annotation key.
    pub fn of_annotation(key: &str) -> Option<Self> {
        [Self::AgentPolicy, Self::InitData]
            .into_iter()
            .find(|c| c.annotation_key() == key)
    }

    /// Packs a policy text.
    ///
    /// The same text gives the same bytes everywhere: no time, no name and a fixed level in the
    /// gzip header, keys of the document in one order.
    pub fn pack(self, policy: &str) -> Carried {
        let (raw, value) = match self {
            Self::AgentPolicy => (policy.to_owned(), STANDARD.encode(policy)),
            Self::InitData => {
                let document = init_data(policy);
                let value = STANDARD.encode(gzip::pack(&document));
                (document, value)
            }
        };
        Carried {
            annotation_key: self.annotation_key(),
            annotation_value: value,
            hash: PolicyHash::of(raw.as_bytes()),
        }
    }

    /// Reads an annotation value back.
    pub fn unpack(self, value: &str) -> Result<Decoded, CarrierError> {
        self.read(&self.raw(value)?)
    }

    /// The raw bytes behind an annotation value: what the policy hash covers.
    pub fn raw(self, value: &str) -> Result<Vec<u8>, CarrierError> {
        if value.len() > MAX_ANNOTATIONS {
            return Err(CarrierError::TooLong {
                limit: MAX_ANNOTATIONS,
            });
        }
        let bytes = STANDARD
            .decode(value.trim())
            .map_err(|_| CarrierError::Base64)?;
        match self {
            Self::AgentPolicy => Ok(bytes),
            Self::InitData => {
                let mut raw = Vec::new();
                GzDecoder::new(bytes.as_slice())
                    .take(MAX_DECODED as u64 + 1)
                    .read_to_end(&mut raw)
                    .map_err(|_| CarrierError::Gzip)?;
                if raw.len() > MAX_DECODED {
                    return Err(CarrierError::TooLong { limit: MAX_DECODED });
                }
                Ok(raw)
            }
        }
    }

    /// Reads raw bytes whose carrier is not known: an initdata document says that it is one, and no policy
    /// text is one.
    pub fn read_raw(raw: &[u8]) -> Result<Decoded, CarrierError> {
        match Self::InitData.read(raw) {
            Err(CarrierError::NotInitData) => Self::AgentPolicy.read(raw),
            other => other,
        }
    }

    fn read(self, raw: &[u8]) -> Result<Decoded, CarrierError> {
        let text = std::str::from_utf8(raw).map_err(|_| CarrierError::NotText)?;
        let (policy, other_keys) = match self {
            Self::AgentPolicy => (text.to_owned(), Vec::new()),
            Self::InitData => read_init_data(text)?,
        };
        Ok(Decoded {
            carrier: self,
            policy,
            hash: PolicyHash::of(raw),
            other_keys,
        })
    }
}

/// Why an annotation could not be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// More bytes than any policy needs.
    #[error("more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Not standard base64.
    #[error("not base64")]
    Base64,
    /// Not a gzip stream.
    #[error("not gzip")]
    Gzip,
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    NotText,
    /// Not an initdata document as the guest reads it.
    #[error("not an initdata document")]
    NotInitData,
    /// No policy in the document.
    #[error("the initdata document has no key policy.rego")]
    NoPolicy,
}

/// The initdata document of a policy.
///
/// The text goes into a literal multi-line string, so an auditor reads in the document what the
/// guest runs. Such a string cannot hold three apostrophes or control characters; where a policy
/// has them (the data of a workload may), a basic multi-line string with escapes is used.
fn init_data(policy: &str) -> String {
    let literal = !policy.contains("'''")
        && !policy.ends_with('\'')
        && policy
            .chars()
            .all(|c| c == '\n' || c == '\t' || !c.is_control());
    let body = if literal {
        format!("'''\n{policy}'''")
    } else {
        format!("\"\"\"\n{}\"\"\"", escape(policy))
    };
    format!("{HEAD}{body}\n")
}

/// What stands before the policy in every initdata document.
const HEAD: &str = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n\n[data]\n\"policy.rego\" = ";

/// The beginning that the documents of all our policies share: up to the data of the workload.
pub(crate) fn common() -> &'static str {
    static COMMON: LazyLock<String> = LazyLock::new(|| format!("{HEAD}'''\n{RULES}"));
    &COMMON
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn read_init_data(text: &str) -> Result<(String, Vec<String>), CarrierError> {
    let document: toml::Table = text.parse().map_err(|_| CarrierError::NotInitData)?;
    if document.get("version").and_then(toml::Value::as_str) != Some("0.1.0") {
        return Err(CarrierError::NotInitData);
    }
    if document.get("algorithm").and_then(toml::Value::as_str) != Some("sha256") {
        return Err(CarrierError::NotInitData);
    }
    let data = document
        .get("data")
        .and_then(toml::Value::as_table)
        .ok_or(CarrierError::NotInitData)?;
    let policy = data
        .get(POLICY_KEY)
        .and_then(toml::Value::as_str)
        .ok_or(CarrierError::NoPolicy)?;
    let others = data
        .keys()
        .filter(|key| *key != POLICY_KEY)
        .cloned()
        .collect();
    Ok((policy.to_owned(), others))
}
