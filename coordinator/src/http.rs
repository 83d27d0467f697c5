//! Attestation for verifiers outside, behind whatever proxies: what is answered proves itself.
//!
//! - `POST /v1/attest` with `{"nonce": "<64 hex>"}`: the state in force and evidence bound to nonce and state
//! - `GET /v1/objects`: names of the objects of the history in force
//! - `GET /v1/objects/<name>`: one of them
//!
//! Nothing can be changed here, and nothing is said about the HTTP connection.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use nacre_api::limits::NONCE_LEN;
use nacre_atls::ReportQueue;
use nacre_attest::Evidence;
use serde_json::{Value, json};

use crate::denied::{Denied, chain};
use crate::guard::Core;
use crate::plain::{Answer, Asked, Routes};
use crate::report;
use crate::state::Ready;
use crate::user::object;

const ATTEST: &str = "/v1/attest";
const OBJECTS: &str = "/v1/objects";

/// Routes of port 1314.
#[derive(Debug)]
pub(crate) struct Attest {
    pub(crate) core: Arc<Core>,
    pub(crate) queue: Arc<ReportQueue>,
}

impl Routes for Attest {
    async fn answer(&self, asked: Asked) -> Answer {
        let path = asked.path.as_str();
        let answer = match (&asked.method, path) {
            (&Method::POST, ATTEST) => self.attest(&asked).await,
            (&Method::GET, OBJECTS) => self.names(),
            (&Method::GET, path) if path.starts_with(OBJECTS) => self.object(path).await,
            (_, ATTEST | OBJECTS) => Err(Refused::Status(StatusCode::METHOD_NOT_ALLOWED)),
            _ => Err(Refused::Status(StatusCode::NOT_FOUND)),
        };
        answer.unwrap_or_else(|refused| self.refuse(refused))
    }
}

enum Refused {
    Status(StatusCode),
    Denied(Denied),
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl Attest {
    async fn attest(&self, asked: &Asked) -> Result<Answer, Refused> {
        if !asked.json {
            return Err(Refused::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let bad = || Refused::Status(StatusCode::BAD_REQUEST);
        let value: Value = serde_json::from_slice(&asked.body).map_err(|_| bad())?;
        let fields = value.as_object().filter(|fields| fields.len() == 1);
        let text = fields.and_then(|fields| fields.get("nonce")?.as_str());
        let mut nonce = [0; NONCE_LEN];
        hex::decode_to_slice(text.ok_or_else(bad)?, &mut nonce).map_err(|_| bad())?;
        let ready = self.core.ready()?;
        let evidence = report::evidence(&ready, &self.queue, &nonce).await?;
        Ok(Answer::json(
            StatusCode::OK,
            &document(&ready, &evidence, &nonce),
        ))
    }

    fn names(&self) -> Result<Answer, Refused> {
        let ready = self.core.ready()?;
        Ok(Answer {
            status: StatusCode::OK,
            kind: "application/json",
            body: ready.names(),
        })
    }

    async fn object(&self, path: &str) -> Result<Answer, Refused> {
        let missing = || Refused::Status(StatusCode::NOT_FOUND);
        let name = path
            .strip_prefix(OBJECTS)
            .and_then(|rest| rest.strip_prefix('/'));
        let key = name
            .and_then(|name| name.parse().ok())
            .ok_or_else(missing)?;
        let ready = self.core.ready()?;
        // Only what belongs to the history: the store may hold whatever else.
        if !ready.history.objects().contains(&key) {
            return Err(missing());
        }
        let body = object(&self.core, &ready, key).await?;
        Ok(Answer {
            status: StatusCode::OK,
            kind: "application/octet-stream",
            body: body.into(),
        })
    }

    fn refuse(&self, refused: Refused) -> Answer {
        match refused {
            Refused::Status(status) => {
                self.core.metrics.denied("http", "malformed");
                let text = status.canonical_reason().unwrap_or("refused");
                Answer::json(status, &json!({ "error": text }))
            }
            Refused::Denied(denied) => {
                self.core.metrics.denied("http", denied.reason());
                let status = match denied {
                    Denied::Empty | Denied::Sealed => StatusCode::PRECONDITION_FAILED,
                    Denied::Report(_) | Denied::Store(_) | Denied::StoreSlow { .. } => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                tracing::warn!(reason = chain(&denied), "HTTP request refused");
                let code = format!("NCR{:04}", denied.code());
                let error = denied.to_string();
                Answer::json(status, &json!({ "code": code, "error": error }))
            }
        }
    }
}

fn document(ready: &Ready, evidence: &Evidence, nonce: &[u8; NONCE_LEN]) -> Value {
    let state = report::message(ready, evidence, 0);
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    json!({
        "version": 1,
        "nonce": hex::encode(nonce),
        "generation": ready.generation(),
        "transition": ready.head().hash,
        "manifest": ready.manifest_hash(),
        "rootSpki": base64(&state.root_spki),
        "rootCa": state.root_ca,
        "meshCa": ready.ca.mesh_ca_pem(),
        "intermediateCa": state.intermediate_ca,
        "evidence": {
            "report": base64(&evidence.report),
            "vek": base64(&evidence.vek),
            "crl": evidence.crl.as_deref().map(base64),
        },
    })
}
