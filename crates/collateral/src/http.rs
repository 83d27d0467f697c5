//! Requests with limits.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nacre_attest::CollateralError;
use ureq::Agent;
use ureq::http::header::{HeaderMap, RETRY_AFTER};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// How services are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The longest a request may take, body included.
    pub request: Duration,
    /// How long all attempts together may take, waiting included. Zero tries once.
    pub patience: Duration,
    /// First pause after a failure that may pass; doubled each time, and never shorter than the server asks.
    pub back_off: Duration,
    /// PEM files of certificates that are trusted for TLS beside the system's.
    pub ca_files: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(20),
            patience: Duration::from_secs(60),
            back_off: Duration::from_secs(1),
            ca_files: Vec::new(),
        }
    }
}

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Seconds the server asks to wait.
    pub(crate) wait: Option<u64>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Of the server at `base`, without a slash at the end.
    pub(crate) fn new(base: &str, options: &Options) -> Result<Self, CollateralError> {
        // Where TLS is not spoken, a machine without certificates is none the worse.
        let roots = if base.starts_with("https://") {
            trusted(&options.ca_files)?
        } else {
            Vec::new()
        };
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // None of these services redirects; following one would ask somebody else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(options.request))
            // The addresses are on this machine or AMD's; a proxy of the environment is for others.
            .proxy(None)
            .user_agent(concat!("nacre/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self {
            agent,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    /// Which server, for messages.
    pub(crate) fn server(&self) -> &str {
        &self.base
    }

    pub(crate) fn failed(&self, detail: impl ToString) -> CollateralError {
        CollateralError::Server {
            server: self.base.clone(),
            detail: detail.to_string(),
        }
    }

    /// One GET, with at most `limit` bytes of body.
    pub(crate) fn get(
        &self,
        path: &str,
        header: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Reply, CollateralError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.call().map_err(|error| self.failed(error))?;
        let (status, wait) = (answer.status().as_u16(), retry_after(answer.headers()));
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut body = Vec::new();
        let mut reader = answer
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader()
            .take(most);
        reader
            .read_to_end(&mut body)
            .map_err(|error| self.failed(error))?;
        if body.len() > limit {
            return Err(CollateralError::TooLong {
                path: format!("{}{path}", self.base),
                limit,
            });
        }
        Ok(Reply { status, wait, body })
    }
}

fn trusted(files: &[PathBuf]) -> Result<Vec<Certificate<'static>>, CollateralError> {
    // What the system has and we cannot read shows as a certificate that cannot be verified.
    let system = rustls_native_certs::load_native_certs().certs;
    let mut roots: Vec<_> = system
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    for path in files {
        let failed = |source| CollateralError::Io {
            path: path.display().to_string(),
            source,
        };
        let pem = std::fs::read(path).map_err(failed)?;
        roots.extend(parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
    }
    Ok(roots)
}

/// Seconds, or the time of day as seconds since 1970. HTTP dates are not read: AMD sends seconds.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let number: u64 = text.trim().parse().ok()?;
    if number < 1_000_000_000 {
        return Some(number);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(number.saturating_sub(now.as_secs()))
}
