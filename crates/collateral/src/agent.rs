//! The attestation agent of Confidential Containers, through the REST service that the guest puts before it.

use nacre_attest::{AskAgent, CollateralError, MAX_AGENT_ANSWER, SourceError};

use crate::http::{Client, Options};

/// Where the service is in a guest whose kernel has the parameter `agent.guest_components_rest_api=all`.
pub const AGENT_URL: &str = "http://127.0.0.1:8006/aa/evidence";

/// The service.
#[derive(Debug)]
pub struct HttpAgent {
    client: Client,
}

impl HttpAgent {
    /// Where guests have it: [`AGENT_URL`].
    pub fn local() -> Result<Self, SourceError> {
        Self::at(AGENT_URL, &Options::default())
    }

    /// At this address, path included. It must be on loopback: whoever is asked learns what a report is bound to
    /// and could answer with the report of another guest, which only the verifier would see.
    pub fn at(url: &str, options: &Options) -> Result<Self, SourceError> {
        if !is_loopback(url) {
            return Err(SourceError::Absent {
                path: format!("an attestation agent on loopback at {url}"),
            });
        }
        let client = Client::new(url, options).map_err(unreachable)?;
        Ok(Self { client })
    }
}

/// Whether a URL names a port of loopback, and nothing that only looks like it.
fn is_loopback(url: &str) -> bool {
    ["http://127.0.0.1:", "http://[::1]:"].iter().any(|start| {
        let rest = url.strip_prefix(start).unwrap_or_default();
        let port = rest.split('/').next().unwrap_or_default();
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    })
}

impl AskAgent for HttpAgent {
    fn evidence(&self, runtime_data: &str) -> Result<Vec<u8>, SourceError> {
        let query = format!("?runtime_data={runtime_data}");
        let reply = self
            .client
            .get(&query, None, MAX_AGENT_ANSWER)
            .map_err(unreachable)?;
        match reply.status {
            200 => Ok(reply.body),
            429 | 503 => Err(SourceError::Busy),
            status => Err(SourceError::Firmware {
                detail: format!(
                    "{} answered with status {status}: {}",
                    self.client.server(),
                    String::from_utf8_lossy(&reply.body)
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(200)
                        .collect::<String>()
                ),
            }),
        }
    }
}

fn unreachable(source: CollateralError) -> SourceError {
    SourceError::Collateral {
        what: "answer of the attestation agent",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_place_is_the_documented_one() {
        let page = include_str!("../../../docs/attestation.md");
        assert!(page.contains(&format!("`{AGENT_URL}`")), "{AGENT_URL}");
        assert!(is_loopback(AGENT_URL));
    }

    #[test]
    fn loopback_is_told_from_what_looks_like_it() {
        for url in ["http://127.0.0.1:8006/aa/evidence", "http://[::1]:8006"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://127.0.0.1:1@example.org/",
            "http://127.0.0.1:8006@example.org/aa",
            "http://127.0.0.1:/aa",
            "http://127.0.0.1.example.org:8006/aa",
            "http://127.0.0.1:99999/aa",
            "https://127.0.0.1:8006/aa",
            "http://127.0.0.1:8006?x=/",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
