//! One request, with patience and limits.
//!
//! On `ureq` rather than `oci-client`: the latter brings an async runtime and reqwest, gives no
//! hold on redirects, back-off, resumption or per-read time limits, and panics where a machine
//! has no CA bundle. What a registry needs beyond HTTP is small and stands in `registry.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ureq::Agent;
use ureq::http::header::{HeaderMap, LOCATION, RETRY_AFTER};
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

use crate::error::Error;

/// How long to wait for what.
#[derive(Clone, Debug)]
pub struct Timing {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the whole head of an answer.
    pub response: Duration,
    /// For the next bytes of a body.
    pub read: Duration,
    /// How often a request is tried before giving up.
    pub attempts: u32,
    /// Wait before the second attempt; doubles each time.
    pub back_off: Duration,
    /// Longest wait a registry may ask for with `Retry-After`.
    pub max_wait: Duration,
    /// Slowest rate at which a body is accepted, in bytes per second, after `response` has
    /// passed.
    pub min_rate: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            response: Duration::from_secs(30),
            read: Duration::from_secs(30),
            attempts: 5,
            back_off: Duration::from_millis(500),
            max_wait: Duration::from_secs(60),
            min_rate: 16 << 10,
        }
    }
}

/// A plain `GET` or a form `POST`.
pub(crate) struct Request<'a> {
    pub(crate) url: String,
    /// For messages: what is asked for.
    pub(crate) what: &'a str,
    pub(crate) accept: Option<&'static str>,
    /// Sent to the first host only, never along a redirect.
    pub(crate) authorization: Option<Zeroizing<String>>,
    pub(crate) range_from: u64,
    pub(crate) form: Option<Zeroizing<String>>,
}

pub(crate) type Answer = Response<ureq::Body>;

pub(crate) struct Http {
    agent: Agent,
    pub(crate) timing: Timing,
    insecure: BTreeSet<String>,
}

impl Http {
    pub(crate) fn new(
        timing: Timing,
        insecure: BTreeSet<String>,
        ca_files: &[PathBuf],
    ) -> Result<Self, Error> {
        // Errors here are files of the system we cannot read; what is missing shows as a
        // certificate that cannot be verified.
        let system = rustls_native_certs::load_native_certs().certs;
        let mut roots: Vec<_> = system
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        for path in ca_files {
            let pem = fs::read(path).map_err(Error::file(path))?;
            let before = roots.len();
            for item in parse_pem(&pem) {
                if let Ok(PemItem::Certificate(certificate)) = item {
                    roots.push(certificate);
                }
            }
            if roots.len() == before {
                let reason = "no certificate in PEM form".to_owned();
                return Err(Error::Store {
                    path: path.clone(),
                    reason,
                });
            }
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Redirects are followed here, where the authorisation is left behind.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(timing.connect))
            .timeout_recv_response(Some(timing.response))
            .timeout_per_read(Some(timing.read))
            .timeout_per_write(Some(timing.read))
            .user_agent(concat!("nacre/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self {
            agent,
            timing,
            insecure,
        })
    }

    /// `https`, or `http` for a registry the user called insecure.
    pub(crate) fn scheme(&self, host: &str) -> &'static str {
        if self.insecure.contains(host) {
            "http"
        } else {
            "https"
        }
    }

    /// Sends a request until there is an answer that is worth reading: success, or a client
    /// error.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (error, asked) = match self.follow(request) {
                Ok(answer) => match answer.status().as_u16() {
                    status @ (408 | 429 | 500 | 502 | 503 | 504) => {
                        let seconds = retry_after(answer.headers());
                        let host = host_of(&request.url);
                        let error = if status == 429 {
                            Error::RateLimited { host, seconds }
                        } else {
                            Error::Status {
                                host,
                                what: request.what.to_owned(),
                                status,
                            }
                        };
                        (error, seconds)
                    }
                    _ => return Ok(answer),
                },
                Err(error @ Error::Network { .. }) => (error, None),
                Err(error) => return Err(error),
            };
            if attempt >= self.timing.attempts || !self.wait(attempt, asked) {
                return Err(error);
            }
        }
    }

    /// Waits before another attempt, unless it would be for too long.
    pub(crate) fn wait(&self, attempt: u32, asked_seconds: Option<u64>) -> bool {
        let doubled = 1u32
            .checked_shl(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let own = self
            .timing
            .back_off
            .saturating_mul(doubled)
            .min(self.timing.max_wait);
        let wait = asked_seconds.map_or(own, Duration::from_secs);
        if wait > self.timing.max_wait {
            return false;
        }
        std::thread::sleep(wait);
        true
    }

    fn follow(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut url = request.url.clone();
        for hop in 0..6 {
            let authorization = request.authorization.as_deref().filter(|_| hop == 0);
            let answer = self.once(&url, authorization.map(String::as_str), request)?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let fail = |reason| Error::Protocol {
                host: host_of(&url),
                reason,
            };
            if request.form.is_some() {
                return Err(fail("credentials are not sent along a redirect"));
            }
            let location = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok());
            let next = location.and_then(|l| resolve(&url, l));
            let next = next.ok_or_else(|| fail("a redirect leads nowhere"))?;
            if next.starts_with("http://") && self.scheme(&host_of(&next)) != "http" {
                return Err(fail("a redirect leads from HTTPS to HTTP"));
            }
            url = next;
        }
        Err(Error::Protocol {
            host: host_of(&url),
            reason: "too many redirects",
        })
    }

    fn once(
        &self,
        url: &str,
        authorization: Option<&str>,
        request: &Request<'_>,
    ) -> Result<Answer, Error> {
        let outcome = match &request.form {
            Some(form) => self
                .agent
                .post(url)
                .content_type("application/x-www-form-urlencoded")
                .send(form.as_str()),
            None => {
                let mut get = self.agent.get(url);
                if let Some(accept) = request.accept {
                    get = get.header("accept", accept);
                }
                if let Some(authorization) = authorization {
                    get = get.header("authorization", authorization);
                }
                if request.range_from > 0 {
                    get = get.header("range", format!("bytes={}-", request.range_from));
                }
                get.call()
            }
        };
        outcome.map_err(|e| Error::Network {
            host: host_of(url),
            source: Box::new(e),
        })
    }

    /// The longest a body of this size may take.
    pub(crate) fn body_time(&self, size: u64) -> Duration {
        let rate = self.timing.min_rate.max(1);
        self.timing
            .response
            .saturating_add(Duration::from_secs(size / rate))
    }

    /// A small body, complete.
    pub(crate) fn body(
        &self,
        host: &str,
        what: &str,
        answer: Answer,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let deadline = std::time::Instant::now() + self.body_time(limit);
        let mut reader = answer
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = reader.read(&mut buffer).map_err(network(host))?;
            if read == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if bytes.len() as u64 > limit {
                let source = crate::error::ContentError::TooLong { limit };
                return Err(Error::Content {
                    what: what.to_owned(),
                    source,
                });
            }
            if std::time::Instant::now() > deadline {
                return Err(Error::TooSlow {
                    host: host.to_owned(),
                    what: what.to_owned(),
                });
            }
        }
    }
}

pub(crate) fn network(host: &str) -> impl FnOnce(io::Error) -> Error {
    let host = host.to_owned();
    move |source| Error::Network {
        host,
        source: Box::new(source),
    }
}

/// Host and port of a URL, for messages and for the list of insecure registries.
pub(crate) fn host_of(url: &str) -> String {
    let uri = url.parse::<Uri>().ok();
    let authority = uri.as_ref().and_then(Uri::authority);
    authority.map_or_else(String::new, |a| {
        let text = a.as_str();
        text.rsplit_once('@')
            .map_or(text, |(_, host)| host)
            .to_owned()
    })
}

fn resolve(base: &str, location: &str) -> Option<String> {
    let base: Uri = base.parse().ok()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let absolute = match location {
        l if l.starts_with("http://") || l.starts_with("https://") => l.to_owned(),
        l if l.starts_with("//") => format!("{scheme}:{l}"),
        l if l.starts_with('/') => format!("{scheme}://{authority}{l}"),
        _ => return None,
    };
    absolute.parse::<Uri>().ok()?.authority()?;
    Some(absolute)
}

/// Seconds; Docker Hub writes the time of day at which to come back instead.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let number: u64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    if number < 1_000_000_000 {
        return Some(number);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(number.saturating_sub(now.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve() {
        let resolve = |location| resolve("https://a.io:1/v2/x", location);
        assert_eq!(resolve("/y?z").unwrap(), "https://a.io:1/y?z");
        assert_eq!(resolve("//b.io/y").unwrap(), "https://b.io/y");
        assert_eq!(resolve("http://c.io/").unwrap(), "http://c.io/");
        for bad in ["ftp://x/", "x", "", "http://", "javascript:1"] {
            assert_eq!(resolve(bad), None, "{bad}");
        }
        assert_eq!(host_of("https://user@a.io:1/x"), "a.io:1");
    }

    #[test]
    fn retry_after_in_both_forms() {
        let seconds = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("1000000001"), Some(0));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        assert!(seconds(&(now + 100).to_string()).unwrap().abs_diff(100) < 5);
    }
}
