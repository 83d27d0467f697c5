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
        let loopback = ["http://127.0.0.1:", "http://[::1]:"];
        if !loopback.iter().any(|start| url.starts_with(start)) {
            return Err(SourceError::Absent {
                path: format!("an attestation agent on loopback at {url}"),
            });
        }
        let client = Client::new(url, options).map_err(unreachable)?;
        Ok(Self { client })
    }
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
