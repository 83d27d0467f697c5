//! The pull half of the distribution specification: manifests and blobs, authorised.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_imagelock::Digest;
use serde::Deserialize;
use ureq::http::header::{CONTENT_RANGE, WWW_AUTHENTICATE};
use zeroize::Zeroizing;

use crate::cache::Download;
use crate::challenge::{self, Challenge};
use crate::content::{Blob, check};
use crate::credentials::{AuthFiles, Credential};
use crate::error::{ContentError, Error};
use crate::http::{Answer, Http, Request, host_of, network};
use crate::manifest::ACCEPT;
use crate::progress::{Event, Progress};

/// Largest manifest: the limit registries themselves apply.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;

/// A repository at a registry or a mirror.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Repository {
    /// Host and port as the user knows it.
    pub(crate) host: String,
    pub(crate) name: String,
}

impl Repository {
    /// Where to connect: Docker Hub's API is not at `docker.io`.
    fn endpoint(&self) -> &str {
        if self.host == "docker.io" {
            "registry-1.docker.io"
        } else {
            &self.host
        }
    }
}

pub(crate) struct Registry<'a> {
    pub(crate) http: Http,
    pub(crate) auth: AuthFiles,
    pub(crate) progress: &'a dyn Progress,
    /// `Authorization` by repository.
    authorizations: Mutex<BTreeMap<Repository, Zeroizing<String>>>,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(http: Http, auth: AuthFiles, progress: &'a dyn Progress) -> Self {
        Self {
            http,
            auth,
            progress,
            authorizations: Mutex::default(),
        }
    }

    /// A manifest or index by tag or digest, verified.
    pub(crate) fn manifest(
        &self,
        repository: &Repository,
        reference: &str,
    ) -> Result<(Digest, Vec<u8>), Error> {
        let what = format!("{}:{reference}", repository.name);
        let wanted: Option<Digest> = reference.parse().ok();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let path = format!("manifests/{reference}");
            let answer = self.get(repository, &path, &what, Some(ACCEPT), 0)?;
            let claimed = answer.headers().get("docker-content-digest");
            let claimed: Option<Digest> = claimed
                .and_then(|d| d.to_str().ok())
                .and_then(|d| d.parse().ok());
            let bytes = match self
                .http
                .body(&repository.host, &what, answer, MAX_MANIFEST)
            {
                // Cut off on the way: ask again.
                Err(Error::Network { .. })
                    if attempt < self.http.timing.attempts && self.http.wait(attempt, None) =>
                {
                    continue;
                }
                outcome => outcome?,
            };
            let found = Digest::of(&bytes);
            for expected in [wanted, claimed].into_iter().flatten() {
                if expected != found {
                    let source = ContentError::Digest { expected, found };
                    return Err(Error::Content { what, source });
                }
            }
            return Ok((found, bytes));
        }
    }

    /// A small blob, verified.
    pub(crate) fn small_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        download: &mut Download,
    ) -> Result<Vec<u8>, Error> {
        self.blob(repository, blob, download)?;
        let mut bytes = Vec::new();
        let read = download
            .reader()
            .and_then(|mut r| r.read_to_end(&mut bytes));
        read.map_err(Error::file("download"))?;
        Ok(bytes)
    }

    /// A blob, on disk and verified. What is already there is not asked for again; a transfer
    /// that ends early goes on where it ended.
    pub(crate) fn blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        download: &mut Download,
    ) -> Result<(), Error> {
        let what = format!("{}@{}", repository.name, blob.digest);
        let refuse = |source| Error::Content {
            what: what.clone(),
            source,
        };
        if download.length() > blob.size {
            download.restart().map_err(Error::file("download"))?;
        }
        let mut attempt = 0;
        while download.length() < blob.size {
            attempt += 1;
            let resumed = download.length() > 0;
            match self.transfer(repository, blob, &what, download) {
                Ok(()) if download.length() == blob.size => {}
                // Cut off: it goes on where it ended, within reason.
                Ok(()) | Err(Error::Network { .. })
                    if attempt < self.http.timing.attempts && self.http.wait(attempt, None) => {}
                Ok(()) => {
                    let (expected, received) = (blob.size, download.length());
                    return Err(refuse(ContentError::Truncated { expected, received }));
                }
                Err(error) => return Err(error),
            }
            // Leftovers of an earlier run may be damaged: they get one chance.
            if resumed && download.length() == blob.size && download.digest() != blob.digest {
                download.restart().map_err(Error::file("download"))?;
            }
        }
        let outcome = check(blob, download.digest(), download.length()).map_err(refuse);
        if outcome.is_err() {
            download.restart().map_err(Error::file("download"))?;
        }
        outcome
    }

    fn transfer(
        &self,
        repository: &Repository,
        blob: &Blob,
        what: &str,
        download: &mut Download,
    ) -> Result<(), Error> {
        let path = format!("blobs/{}", blob.digest);
        let from = download.length();
        let answer = self.get(repository, &path, what, None, from)?;
        if from > 0 && !continues(&answer, from) {
            download.restart().map_err(Error::file("download"))?;
        }
        let rest = blob.size.saturating_sub(download.length());
        let deadline = Instant::now() + self.http.body_time(rest);
        let mut reader = answer
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(network(&repository.host)(error));
                }
                // However the connection ends early, the length tells.
                Err(_) => 0,
            };
            let Some(bytes) = buffer.get(..read).filter(|b| !b.is_empty()) else {
                return Ok(());
            };
            if download.length() + bytes.len() as u64 > blob.size {
                download.restart().map_err(Error::file("download"))?;
                let source = ContentError::TooLong { limit: blob.size };
                return Err(Error::Content {
                    what: what.to_owned(),
                    source,
                });
            }
            download.write_all(bytes).map_err(Error::file("download"))?;
            self.progress.event(&Event::Received { bytes: read as u64 });
            if Instant::now() > deadline {
                let host = repository.host.clone();
                return Err(Error::TooSlow {
                    host,
                    what: what.to_owned(),
                });
            }
        }
    }

    /// A `GET` below the repository with whatever authorisation it takes.
    fn get(
        &self,
        repository: &Repository,
        path: &str,
        what: &str,
        accept: Option<&'static str>,
        range_from: u64,
    ) -> Result<Answer, Error> {
        let endpoint = repository.endpoint();
        let url = format!(
            "{}://{endpoint}/v2/{}/{path}",
            self.http.scheme(endpoint),
            repository.name
        );
        let send = |authorization| {
            let url = url.clone();
            self.http.send(&Request {
                url,
                what,
                accept,
                authorization,
                range_from,
                form: None,
            })
        };
        let known = self.known(repository);
        let mut answer = send(known.clone())?;
        let mut used = self.auth.searched();
        if answer.status() == 401 {
            let headers = answer.headers().get_all(WWW_AUTHENTICATE);
            let challenge = challenge::parse(headers.iter().filter_map(|h| h.to_str().ok()));
            if let Some(challenge) = challenge {
                let found = self.auth.find(&repository.host, &repository.name)?;
                if let Some((_, origin)) = &found {
                    used = format!("used credentials from {origin}");
                }
                let credential = found.map(|(credential, _)| credential);
                if let Some(authorization) =
                    self.authorise(repository, &challenge, credential.as_ref(), &used)?
                {
                    self.remember(repository, &authorization);
                    answer = send(Some(authorization))?;
                }
            }
        }
        let host = repository.host.clone();
        let what = what.to_owned();
        match answer.status().as_u16() {
            200 | 206 => Ok(answer),
            401 | 403 => Err(Error::Unauthorised {
                host,
                what,
                credentials: used,
            }),
            404 => Err(Error::NotFound { host, what }),
            status => Err(Error::Status { host, what, status }),
        }
    }

    fn known(&self, repository: &Repository) -> Option<Zeroizing<String>> {
        let known = self
            .authorizations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.get(repository).cloned()
    }

    fn remember(&self, repository: &Repository, authorization: &Zeroizing<String>) {
        let mut known = self
            .authorizations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.insert(repository.clone(), authorization.clone());
    }

    fn authorise(
        &self,
        repository: &Repository,
        challenge: &Challenge,
        credential: Option<&Credential>,
        used: &str,
    ) -> Result<Option<Zeroizing<String>>, Error> {
        if let Some(Credential::RegistryToken(token)) = credential {
            return Ok(Some(bearer(token)));
        }
        match (challenge, credential) {
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                Ok(Some(basic(user, password)))
            }
            (Challenge::Basic, _) => Ok(None),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                credential,
            ) => {
                let pull = format!("repository:{}:pull", repository.name);
                let scope = scope.as_deref().unwrap_or(&pull);
                let token = self.token(
                    repository,
                    realm,
                    service.as_deref(),
                    scope,
                    credential,
                    used,
                )?;
                Ok(Some(bearer(&token)))
            }
        }
    }

    /// A token from the server the registry names. Credentials leave only over HTTPS, or over
    /// HTTP for a registry the user called insecure.
    fn token(
        &self,
        repository: &Repository,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credential: Option<&Credential>,
        used: &str,
    ) -> Result<Zeroizing<String>, Error> {
        let host = repository.host.clone();
        let plain_allowed = self.http.scheme(repository.endpoint()) == "http";
        let allowed =
            realm.starts_with("https://") || plain_allowed && realm.starts_with("http://");
        if !allowed || host_of(realm).is_empty() {
            return Err(Error::Protocol {
                host,
                reason: "its token server is not at an HTTPS address",
            });
        }
        let mut query = format!("scope={}", escape(scope));
        if let Some(service) = service {
            query = format!("service={}&{query}", escape(service));
        }
        let what = "a token";
        let mut request = Request {
            url: realm.to_owned(),
            what,
            accept: None,
            authorization: None,
            range_from: 0,
            form: None,
        };
        if let Some(Credential::IdentityToken(token)) = credential {
            let token = escape(token);
            let form =
                format!("grant_type=refresh_token&client_id=nacre&refresh_token={token}&{query}");
            request.form = Some(Zeroizing::new(form));
        } else {
            let separator = if realm.contains('?') { '&' } else { '?' };
            request.url = format!("{realm}{separator}{query}");
            if let Some(Credential::Password { user, password }) = credential {
                request.authorization = Some(basic(user, password));
            }
        }
        let answer = self.http.send(&request)?;
        let server = host_of(realm);
        match answer.status().as_u16() {
            200 => {}
            400 | 401 | 403 => {
                let what = repository.name.clone();
                return Err(Error::Unauthorised {
                    host,
                    what,
                    credentials: used.to_owned(),
                });
            }
            status => {
                return Err(Error::Status {
                    host: server,
                    what: what.to_owned(),
                    status,
                });
            }
        }
        let bytes = Zeroizing::new(self.http.body(&server, what, answer, 1 << 20)?);
        let answer: TokenAnswer = serde_json::from_slice(&bytes).map_err(|_| Error::Protocol {
            host: server.clone(),
            reason: "its token is malformed",
        })?;
        let token = answer
            .token
            .or(answer.access_token)
            .filter(|t| is_header_text(t));
        token.ok_or(Error::Protocol {
            host: server,
            reason: "it gives no token",
        })
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<Zeroizing<String>>,
    access_token: Option<Zeroizing<String>>,
}

fn is_header_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn bearer(token: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("Bearer {token}"))
}

fn basic(user: &str, password: &str) -> Zeroizing<String> {
    let plain = Zeroizing::new(format!("{user}:{password}"));
    Zeroizing::new(format!("Basic {}", STANDARD.encode(plain.as_bytes())))
}

/// Whether the answer begins where we asked it to.
fn continues(answer: &Answer, from: u64) -> bool {
    let range = answer
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|r| r.to_str().ok());
    answer.status() == 206 && range.is_some_and(|r| r.starts_with(&format!("bytes {from}-")))
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::Timing;
    use crate::progress::Silent;

    #[test]
    fn credentials_leave_over_https_only() {
        let http = Http::new(Timing::default(), BTreeSet::new(), &[]).unwrap();
        let registry = Registry::new(http, AuthFiles::none(), &Silent);
        let repository = Repository {
            host: "a.io".into(),
            name: "app".into(),
        };
        let password = Zeroizing::new("p".to_owned());
        let credential = Credential::Password {
            user: "u".into(),
            password,
        };
        for realm in [
            "http://127.0.0.1:9/token",
            "ftp://a.io/",
            "https://",
            "/token",
            "",
        ] {
            let token = registry.token(&repository, realm, None, "s", Some(&credential), "");
            assert!(matches!(token, Err(Error::Protocol { .. })), "{realm}");
        }
    }

    #[test]
    fn docker_hub_is_where_its_api_is() {
        let endpoint = |host: &str| {
            let repository = Repository {
                host: host.to_owned(),
                name: "x".to_owned(),
            };
            repository.endpoint().to_owned()
        };
        assert_eq!(endpoint("docker.io"), "registry-1.docker.io");
        assert_eq!(endpoint("quay.io"), "quay.io");
    }

    #[test]
    fn what_goes_into_a_query_is_escaped() {
        assert_eq!(
            escape("repository:a/b:pull c~d"),
            "repository%3Aa%2Fb%3Apull%20c~d"
        );
        assert!(!is_header_text("a\r\nb") && !is_header_text("") && is_header_text("ey.J-_"));
    }
}
