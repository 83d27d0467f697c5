//! Credentials as docker and podman keep them: authentication files and credential helpers.
//!
//! Written here rather than taken from the `docker_credential` crate: that one knows neither
//! podman's keys for a part of a registry nor a time limit on helpers, and its errors do not
//! say which file was read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::Error;

/// How long a credential helper may take.
const HELPER_TIME: Duration = Duration::from_secs(30);

/// What to show a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    Password {
        user: String,
        password: Zeroizing<String>,
    },
    /// An OAuth2 refresh token.
    IdentityToken(Zeroizing<String>),
    /// A bearer token to be used as it is.
    RegistryToken(Zeroizing<String>),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(redacted)",
            Self::IdentityToken(_) => "IdentityToken(redacted)",
            Self::RegistryToken(_) => "RegistryToken(redacted)",
        })
    }
}

/// The files in which credentials are looked for, in order.
#[derive(Clone, Debug, Default)]
pub struct AuthFiles {
    files: Vec<PathBuf>,
    /// Named by the user, so it must be there.
    explicit: bool,
}

impl AuthFiles {
    /// None: every access is anonymous.
    pub fn none() -> Self {
        Self::default()
    }

    /// This file only.
    pub fn only(file: PathBuf) -> Self {
        Self {
            files: vec![file],
            explicit: true,
        }
    }

    /// Where podman and docker look: `REGISTRY_AUTH_FILE` alone if it is set, else
    /// `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json` and docker's
    /// `config.json` in `$DOCKER_CONFIG` or `~/.docker`.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(file) = path("REGISTRY_AUTH_FILE") {
            return Self::only(file);
        }
        let home = path("HOME");
        let config = path("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let docker = path("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
        let files = [
            path("XDG_RUNTIME_DIR").map(|d| d.join("containers/auth.json")),
            config.map(|d| d.join("containers/auth.json")),
            docker.map(|d| d.join("config.json")),
        ];
        Self {
            files: files.into_iter().flatten().collect(),
            explicit: false,
        }
    }

    /// The credential for a repository, and where it was found.
    pub(crate) fn find(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<(Credential, String)>, Error> {
        for path in &self.files {
            let bytes = match fs::read(path) {
                Ok(bytes) => Zeroizing::new(bytes),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.explicit => continue,
                Err(source) => {
                    return Err(Error::File {
                        path: path.clone(),
                        source,
                    });
                }
            };
            if let Some((credential, how)) = in_file(path, &bytes, host, repository)? {
                return Ok(Some((credential, format!("{} ({how})", path.display()))));
            }
        }
        Ok(None)
    }

    /// Where was looked, for an error message.
    pub(crate) fn searched(&self) -> String {
        if self.files.is_empty() {
            return "no credentials were looked for".to_owned();
        }
        let files: Vec<_> = self.files.iter().map(|f| f.display().to_string()).collect();
        format!("no credentials for it in {}", files.join(", "))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Auth {
    auth: Option<Zeroizing<String>>,
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    identitytoken: Option<Zeroizing<String>>,
    registrytoken: Option<Zeroizing<String>>,
}

fn in_file(
    path: &Path,
    bytes: &[u8],
    host: &str,
    repository: &str,
) -> Result<Option<(Credential, String)>, Error> {
    let fail = |reason: String| Error::Credentials {
        origin: path.display().to_string(),
        reason,
    };
    // serde_json's message would quote what it found; the place is enough.
    let file: AuthFile = serde_json::from_slice(bytes)
        .map_err(|e| fail(format!("not an authentication file (line {})", e.line())))?;
    let helper = file
        .cred_helpers
        .iter()
        .find(|(key, _)| canonical(key) == host);
    if let Some((_, helper)) = helper
        && let Some(credential) = ask_helper(helper, host)?
    {
        return Ok(Some((credential, format!("helper {helper}"))));
    }
    let full = format!("{host}/{repository}");
    let mut matching: Vec<_> = file
        .auths
        .iter()
        .map(|(key, auth)| (canonical(key), auth))
        .filter(|(key, _)| {
            full.strip_prefix(key.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .collect();
    matching.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
    for (key, auth) in matching {
        if let Some(credential) = decode(auth).map_err(|e| fail(format!("auths[{key:?}] {e}")))? {
            return Ok(Some((credential, format!("key {key}"))));
        }
    }
    if let Some(helper) = &file.creds_store
        && let Some(credential) = ask_helper(helper, host)?
    {
        return Ok(Some((credential, format!("helper {helper}"))));
    }
    Ok(None)
}

/// A key of an authentication file as host and path: docker writes
/// `https://index.docker.io/v1/`.
fn canonical(key: &str) -> String {
    let key = key
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let key = key.trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        key => key.to_owned(),
    }
}

fn decode(auth: &Auth) -> Result<Option<Credential>, &'static str> {
    let present = |s: &Option<Zeroizing<String>>| s.clone().filter(|t| !t.is_empty());
    if let Some(token) = present(&auth.registrytoken) {
        return Ok(Some(Credential::RegistryToken(token)));
    }
    if let Some(token) = present(&auth.identitytoken) {
        return Ok(Some(Credential::IdentityToken(token)));
    }
    if let Some(text) = present(&auth.auth) {
        let padding =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let plain = GeneralPurpose::new(&STANDARD, padding).decode(text.as_bytes());
        let plain = Zeroizing::new(plain.map_err(|_| "is not base64")?);
        let plain = std::str::from_utf8(&plain).map_err(|_| "is not UTF-8")?;
        let (user, password) = plain.split_once(':').ok_or("has no user:password")?;
        let password = Zeroizing::new(password.trim_end_matches('\0').to_owned());
        return Ok(Some(Credential::Password {
            user: user.to_owned(),
            password,
        }));
    }
    match (&auth.username, &auth.password) {
        (Some(user), Some(password)) => Ok(Some(Credential::Password {
            user: user.clone(),
            password: password.clone(),
        })),
        _ => Ok(None),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: Zeroizing<String>,
}

/// Runs `docker-credential-<name> get`. "Not found" is no credential; anything else that is not
/// an answer is an error.
fn ask_helper(name: &str, host: &str) -> Result<Option<Credential>, Error> {
    let program = format!("docker-credential-{name}");
    let fail = |reason: String| Error::Credentials {
        origin: program.clone(),
        reason,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(fail("not a name of a helper".to_owned()));
    }
    let server = if host == "docker.io" {
        "https://index.docker.io/v1/"
    } else {
        host
    };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| fail(format!("cannot be started: {e}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input answers or fails by itself.
        let _ = stdin.write_all(format!("{server}\n").as_bytes());
    }
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = Zeroizing::new(Vec::new());
        if let Some(stdout) = stdout {
            let _ = stdout.take(1 << 20).read_to_end(&mut text);
        }
        text
    });
    let succeeded = wait(&mut child).map_err(fail)?;
    let text = reader
        .join()
        .map_err(|_| fail("its output cannot be read".to_owned()))?;
    if !succeeded {
        if String::from_utf8_lossy(&text).contains("credentials not found") {
            return Ok(None);
        }
        return Err(fail("it ended with an error".to_owned()));
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&text).map_err(|_| fail("its answer is malformed".to_owned()))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credential::IdentityToken(answer.secret),
        _ => Credential::Password {
            user: answer.username,
            password: answer.secret,
        },
    }))
}

fn wait(child: &mut Child) -> Result<bool, String> {
    let deadline = Instant::now() + HELPER_TIME;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it takes longer than {} s", HELPER_TIME.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD as BASE64;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn password(user: &str, password: &str) -> Credential {
        Credential::Password {
            user: user.into(),
            password: Zeroizing::new(password.into()),
        }
    }

    fn write(folder: &TempDir, value: &serde_json::Value) -> PathBuf {
        let path = folder.path().join("auth.json");
        fs::write(&path, value.to_string()).unwrap();
        path
    }

    #[test]
    fn the_most_specific_key_wins_and_dockers_spellings_are_understood() {
        let folder = TempDir::new().unwrap();
        let basic = |text: &str| json!({ "auth": BASE64.encode(text) });
        let file = write(
            &folder,
            &json!({ "auths": {
                "https://index.docker.io/v1/": basic("hub:a:b"),
                "quay.io": basic("quay:1"),
                "quay.io/team": basic("team:2"),
                "quay.io/team/app": { "username": "app", "password": "3" },
                "token.io": { "identitytoken": "t", "auth": basic("x:y")["auth"] },
                "bare.io": { "registrytoken": "r" },
                "empty.io": {},
            }}),
        );
        let files = AuthFiles::only(file);
        let find = |host, repository| files.find(host, repository).unwrap().map(|f| f.0);
        assert_eq!(
            find("docker.io", "library/nginx"),
            Some(password("hub", "a:b"))
        );
        assert_eq!(find("quay.io", "other/x"), Some(password("quay", "1")));
        assert_eq!(find("quay.io", "team/x"), Some(password("team", "2")));
        assert_eq!(find("quay.io", "team/app"), Some(password("app", "3")));
        assert_eq!(find("quay.io", "team/apple"), Some(password("team", "2")));
        let token = Credential::IdentityToken(Zeroizing::new("t".into()));
        assert_eq!(find("token.io", "x"), Some(token));
        let bearer = Credential::RegistryToken(Zeroizing::new("r".into()));
        assert_eq!(find("bare.io", "x"), Some(bearer));
        assert_eq!(find("empty.io", "x"), None);
        assert_eq!(find("quay.io.evil", "x"), None);
    }

    #[test]
    fn a_named_file_must_be_there_and_be_sound_and_no_secret_shows() {
        let folder = TempDir::new().unwrap();
        let missing = AuthFiles::only(folder.path().join("none"));
        assert!(matches!(missing.find("a", "b"), Err(Error::File { .. })));
        let secret = "sup3rsecret";
        for (name, text) in [
            ("json", format!("{{\"auths\": {secret}")),
            (
                "base64",
                json!({ "auths": { "a": { "auth": format!("!{secret}") } } }).to_string(),
            ),
            (
                "colon",
                json!({ "auths": { "a": { "auth": BASE64.encode(secret) } } }).to_string(),
            ),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            let error = AuthFiles::only(path).find("a", "b").unwrap_err();
            assert!(matches!(error, Error::Credentials { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains(secret));
        }
        assert!(!format!("{:?}", password("u", secret)).contains(secret));
    }

    #[test]
    fn places_to_look_follow_the_environment() {
        let environment = |pairs: &'static [(&str, &str)]| {
            AuthFiles::from_environment(move |name| {
                pairs
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| OsString::from(v))
            })
        };
        let files = environment(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]).files;
        let expected = [
            "/r/containers/auth.json",
            "/h/.config/containers/auth.json",
            "/h/.docker/config.json",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        let only = environment(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a")]);
        assert_eq!(
            (only.files, only.explicit),
            (vec![PathBuf::from("/a")], true)
        );
        assert!(environment(&[]).find("a", "b").unwrap().is_none());
    }

    #[test]
    fn names_of_helpers_cannot_be_paths() {
        for name in ["", "../x", "a/b", "a b"] {
            assert!(matches!(
                ask_helper(name, "h"),
                Err(Error::Credentials { .. })
            ));
        }
        let error = ask_helper("nacre-no-such-helper", "h").unwrap_err();
        assert!(error.to_string().contains("cannot be started"), "{error}");
    }
}
