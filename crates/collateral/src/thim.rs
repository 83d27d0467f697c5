//! Azure's service for hardware identities, which a confidential guest there reaches at a link-local address.
//!
//! It answers with the certificate of the chip the guest runs on, for the firmware that Azure has fixed for it.
//! It has no revocation list.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_attest::{CollateralError, CollateralSource, Product, VekFacts, VekRequest};
use serde::Deserialize;

use crate::http::{Client, Options};

/// Where the service is.
pub const THIM_URL: &str = "http://169.254.169.254";
const PATH: &str = "/metadata/THIM/amd/certification";
const MAX_ANSWER: usize = 64 * 1024;
/// How long an answer holds that does not say so.
const HOLDS: u64 = 86_400;
/// Longer than this no answer is kept, whatever it says.
const HOLDS_AT_MOST: u64 = 7 * 86_400;

/// The service.
#[derive(Debug)]
pub struct Thim {
    client: Client,
    last: Mutex<Option<(Vec<u8>, Instant)>>,
}

impl Thim {
    /// Azure's.
    pub fn azure(options: &Options) -> Result<Self, CollateralError> {
        Self::at(THIM_URL, options)
    }

    /// At another address.
    pub fn at(url: &str, options: &Options) -> Result<Self, CollateralError> {
        Ok(Self {
            client: Client::new(url, options)?,
            last: Mutex::new(None),
        })
    }

    fn ask(&self) -> Result<(Vec<u8>, Duration), CollateralError> {
        let reply = self
            .client
            .get(PATH, Some(("Metadata", "true")), MAX_ANSWER)?;
        if reply.status == 429
            && let Some(seconds) = reply.wait
        {
            return Err(CollateralError::Throttled { seconds });
        }
        if reply.status != 200 {
            return Err(self.client.failed(format!("status {}", reply.status)));
        }
        let answer: Answer = serde_json::from_slice(&reply.body)
            .map_err(|error| self.client.failed(format!("no answer of THIM: {error}")))?;
        let vek = pem(&answer.vcek)
            .ok_or_else(|| self.client.failed("vcekCert is no certificate in PEM form"))?;
        let seconds = answer.cache_control.map_or(HOLDS, CacheControl::seconds);
        Ok((vek, Duration::from_secs(seconds.min(HOLDS_AT_MOST))))
    }
}

impl CollateralSource for Thim {
    /// `None` when Azure has the certificate of another chip or firmware.
    fn vek(&self, request: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        let fits = |vek: &[u8]| VekFacts::read(vek).is_some_and(|facts| facts.is_of(request));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((vek, until)) = last.as_ref()
            && Instant::now() < *until
            && fits(vek)
        {
            return Ok(Some(vek.clone()));
        }
        let (vek, holds) = self.ask()?;
        let found = fits(&vek).then(|| vek.clone());
        *last = Some((vek, Instant::now() + holds));
        Ok(found)
    }

    fn crl(&self, _: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        Ok(None)
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "vcekCert")]
    vcek: String,
    #[serde(rename = "cacheControl")]
    cache_control: Option<CacheControl>,
}

/// Seconds; written as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum CacheControl {
    Text(String),
    Number(u64),
}

impl CacheControl {
    fn seconds(self) -> u64 {
        match self {
            Self::Text(text) => text.trim().parse().unwrap_or(HOLDS),
            Self::Number(seconds) => seconds,
        }
    }
}

/// The first certificate of a PEM text.
fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let joined: String = body.split_whitespace().collect();
    STANDARD.decode(joined).ok()
}
