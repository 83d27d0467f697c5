//! Resolving against a real registry, a faulty one, and local stores. Loopback only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod credentials;
mod local;
mod several;
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use nacre_imagelock::{Digest, Entry, ImageLock, ImageReference, Source};
use nacre_registry::{
    AuthFiles, ContentError, Error, LocalStore, Options, Resolver, Silent, Timing,
};
use serde_json::{Value, json};
use support::docker_registry::{DockerRegistry, Features, PASSWORD, USER};
use support::faults::{Faults, Reply};
use support::image::{Content, MANIFEST, Packing, layer, push, tar, write_folder};
use tempfile::TempDir;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const ROOT: (&str, &str) = (
    "etc/passwd",
    "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n",
);
const GROUPS: (&str, &str) = ("etc/group", "root:x:0:\nwww:x:1001:\nlogs:x:44:app\n");

fn image(host: &str, rest: &str) -> ImageReference {
    ImageReference::parse(&format!("{host}/{rest}")).unwrap()
}

/// Quick to give up, so that refusals do not take long.
fn impatient() -> Timing {
    Timing {
        connect: Duration::from_secs(2),
        response: Duration::from_millis(700),
        read: Duration::from_millis(700),
        attempts: 3,
        back_off: Duration::from_millis(5),
        max_wait: Duration::from_secs(2),
        min_rate: 1 << 20,
    }
}

fn insecure(host: &str) -> Options {
    let mut options = Options::default();
    options.insecure_registries.insert(host.to_owned());
    options.timing = impatient();
    options
}

fn resolve(options: Options, reference: &ImageReference) -> Result<Entry, Error> {
    Resolver::new(options, &Silent)?.resolve(reference)
}

fn basic() -> String {
    let text = format!("{USER}:{PASSWORD}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(text)
    )
}

fn auth_file(folder: &TempDir, host: &str, password: &str) -> AuthFiles {
    let path = folder.path().join(format!("auth-{password}.json"));
    let file = json!({ "auths": { host: { "username": USER, "password": password } } });
    std::fs::write(&path, file.to_string()).unwrap();
    AuthFiles::only(path)
}

/// A user by name whose files lie under a whiteout and in layers of every packing.
fn layered(content: &mut Content) -> Digest {
    let config = json!({ "User": "app", "Entrypoint": ["/app"], "Env": ["A=1"],
        "ExposedPorts": { "80/tcp": {} }, "Labels": { "k": "v" } });
    content.image(
        "amd64",
        &config,
        &[
            layer(
                Packing::Plain,
                &[
                    ("bin/sh", "#!"),
                    ("etc/group", "app:x:9:\n"),
                    ("etc/shadow", ""),
                ],
            ),
            layer(Packing::Zstd, &[ROOT, ("etc/.wh.shadow", "")]),
            layer(
                Packing::Gzip,
                &[("etc/.wh.group", ""), ("srv/.wh..wh..opq", "")],
            ),
        ],
    )
}

// --- a real registry ---------------------------------------------------------------------------

#[test]
fn basic_auth_and_tls_with_an_index_and_every_packing() {
    let registry = DockerRegistry::start(Features {
        basic_auth: true,
        tls: true,
    });
    let mut content = Content::default();
    let amd64 = layered(&mut content);
    let arm64 = content.image("arm64", &json!({}), &[layer(Packing::Gzip, &[ROOT])]);
    let index = content.index(&[("arm64", arm64), ("amd64", amd64)]);
    let ca = std::fs::read(registry.ca_file()).unwrap();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[
            Certificate::from_pem(&ca).unwrap()
        ]))
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .build();
    let agent = ureq::Agent::config_builder().tls_config(tls).build().into();
    push(
        &agent,
        &registry.base(),
        Some(&basic()),
        "team/app",
        &content,
        &[("1", index)],
    );

    let folder = TempDir::new().unwrap();
    let options = |password| Options {
        timing: Timing {
            response: Duration::from_secs(10),
            ..impatient()
        },
        ca_files: vec![registry.ca_file()],
        auth_files: auth_file(&folder, &registry.host, password),
        ..Options::default()
    };
    let reference = image(&registry.host, "team/app:1");
    let entry = resolve(options(PASSWORD), &reference).unwrap();
    assert_eq!((entry.digest, entry.index_digest), (amd64, Some(index)));
    assert_eq!(entry.config.entrypoint, ["/app"]);
    assert_eq!(entry.config.exposed_ports, ["80/tcp"]);
    assert_eq!(entry.layers.len(), 3);
    // passwd from the middle layer; group is deleted at the top, so no group lists the user.
    let user = entry.resolved_user.clone().unwrap();
    assert_eq!((user.uid, user.gid, user.groups), (1000, 1001, vec![1001]));

    let mut lock = ImageLock::default();
    lock.insert(entry);
    let read = ImageLock::from_value(&lock.to_value()).unwrap();
    assert_eq!(read, lock);
    assert!(read.lookup(&reference.pinned(&amd64)).is_ok());
    assert!(read.lookup(&reference.pinned(&index)).is_ok());

    // By digest, both forms.
    for digest in [amd64, index] {
        let pinned = ImageReference::parse(&reference.pinned(&digest)).unwrap();
        assert_eq!(resolve(options(PASSWORD), &pinned).unwrap().digest, amd64);
    }
    let mut arm = options(PASSWORD);
    arm.platform = "linux/arm64".parse().unwrap();
    assert_eq!(resolve(arm, &reference).unwrap().digest, arm64);
    let mut s390x = options(PASSWORD);
    s390x.platform = "linux/s390x".parse().unwrap();
    let error = resolve(s390x, &reference).unwrap_err();
    let Error::NoPlatform { available, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(available, ["linux/arm64", "linux/amd64"]);

    // Refusals: wrong password, none, an unknown tag, an unknown authority, plain HTTP.
    let error = resolve(options("wrong"), &reference).unwrap_err();
    assert!(matches!(error, Error::Unauthorised { .. }), "{error}");
    assert!(
        error.help().unwrap().contains("auth-wrong.json"),
        "{error:?}"
    );
    let mut anonymous = options(PASSWORD);
    anonymous.auth_files = AuthFiles::none();
    let error = resolve(anonymous, &reference).unwrap_err();
    assert!(matches!(error, Error::Unauthorised { .. }), "{error}");
    for unknown in ["team/app:2", "team/none:1"] {
        let error = resolve(options(PASSWORD), &image(&registry.host, unknown)).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
    let mut stranger = options(PASSWORD);
    stranger.ca_files.clear();
    let error = resolve(stranger, &reference).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    let mut plain = options(PASSWORD);
    plain.insecure_registries.insert(registry.host.clone());
    assert!(resolve(plain, &reference).is_err());
}

#[test]
fn plain_http_only_where_it_is_allowed_and_only_what_is_needed_is_fetched() {
    let registry = DockerRegistry::start(Features::default());
    let agent = ureq::Agent::new_with_defaults();
    let mut content = Content::default();
    let base = layer(Packing::Gzip, &[ROOT, GROUPS]);
    let numeric = content.image(
        "amd64",
        &json!({ "User": "65532:65532" }),
        std::slice::from_ref(&base),
    );
    let named = content.image(
        "amd64",
        &json!({ "User": "1000" }),
        std::slice::from_ref(&base),
    );
    push(
        &agent,
        &registry.base(),
        None,
        "app",
        &content,
        &[("numeric", numeric), ("named", named)],
    );

    let error = resolve(
        Options {
            timing: impatient(),
            ..Options::default()
        },
        &image(&registry.host, "app:named"),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");

    let entry = resolve(
        insecure(&registry.host),
        &image(&registry.host, "app:named"),
    )
    .unwrap();
    let user = entry.resolved_user.unwrap();
    assert_eq!(
        (user.uid, user.gid, user.groups),
        (1000, 1001, vec![44, 1001])
    );

    // Without its layer the image still resolves where nothing must be looked up.
    let blob = format!(
        "{}/v2/app/blobs/{}",
        registry.base(),
        Digest::of(&base.packed)
    );
    assert_eq!(agent.delete(blob).call().unwrap().status(), 202);
    let entry = resolve(
        insecure(&registry.host),
        &image(&registry.host, "app:numeric"),
    )
    .unwrap();
    assert_eq!((entry.users, entry.resolved_user), (None, None));
    let mut always = insecure(&registry.host);
    always.always_read_users = true;
    let error = resolve(always, &image(&registry.host, "app:numeric")).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

// --- a faulty registry -------------------------------------------------------------------------

/// Serves an image as `app:1`, unless `fault` has something else to say.
fn serving(
    content: Content,
    top: Digest,
    fault: impl Fn(&support::faults::Seen, usize) -> Option<Reply> + Send + Sync + 'static,
) -> Faults {
    Faults::start(move |seen, before| {
        if let Some(reply) = fault(seen, before) {
            return reply;
        }
        let name = seen.path.rsplit('/').next().unwrap();
        let digest = if name == "1" {
            Some(top)
        } else {
            name.parse().ok()
        };
        let found = digest.and_then(|d| {
            let manifest = content.manifests.get(&d).map(|(_, b)| b);
            manifest.or_else(|| content.blobs.get(&d)).cloned()
        });
        match found {
            Some(bytes) => {
                let from = seen.range.as_ref().and_then(|r| r.strip_prefix("bytes="));
                let from = from.and_then(|r| r.trim_end_matches('-').parse::<usize>().ok());
                match from {
                    Some(at) => {
                        let range = format!("bytes {at}-{}/{}", bytes.len() - 1, bytes.len());
                        Reply::Plain(206, vec![("content-range", range)], bytes[at..].to_vec())
                    }
                    None => Reply::Plain(200, Vec::new(), bytes),
                }
            }
            None => Reply::Plain(404, Vec::new(), Vec::new()),
        }
    })
}

/// An image whose only layer is large enough to be cut in pieces.
fn large() -> (Content, Digest, Digest) {
    let mut content = Content::default();
    let filler = "x".repeat(300_000);
    let layer = layer(Packing::Plain, &[("filler", &filler), ROOT, GROUPS]);
    let top = content.image(
        "amd64",
        &json!({ "User": "app" }),
        std::slice::from_ref(&layer),
    );
    (content, top, Digest::of(&layer.packed))
}

fn content_error(error: Error) -> ContentError {
    match error {
        Error::Content { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn retry_after_is_heeded_and_too_long_a_wait_is_refused_at_once() {
    let (content, top, _) = large();
    let faults = serving(content.clone(), top, |seen, before| {
        let limited = || Reply::Plain(429, vec![("retry-after", "1".into())], Vec::new());
        (seen.path.contains("manifests") && before == 0).then(limited)
    });
    let started = Instant::now();
    resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(faults.count("manifests/1"), 2);

    let faults = serving(content.clone(), top, |_, _| {
        Some(Reply::Plain(
            429,
            vec![("retry-after", "3600".into())],
            Vec::new(),
        ))
    });
    let started = Instant::now();
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    assert!(
        matches!(
            error,
            Error::RateLimited {
                seconds: Some(3600),
                ..
            }
        ),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(faults.count(""), 1);

    let faults = serving(content, top, |_, _| {
        Some(Reply::Plain(503, Vec::new(), Vec::new()))
    });
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 503, .. }),
        "{error}"
    );
    assert_eq!(faults.count(""), 3);
}

#[test]
fn other_content_than_the_digest_says_is_refused_and_not_asked_for_again() {
    let (content, top, blob) = large();
    let blob = blob.to_string();
    let path = blob.clone();
    let faults = serving(content.clone(), top, move |seen, _| {
        let other = || Reply::Plain(200, Vec::new(), vec![b'x'; 303_616]);
        seen.path.contains(&path).then(other)
    });
    let size = content.blobs[&blob.parse().unwrap()].len();
    assert_eq!(size, 303_616);
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    assert!(matches!(content_error(error), ContentError::Digest { .. }));
    assert_eq!(faults.count(&blob), 1);

    // A manifest by digest, and one that contradicts the registry's own header.
    let lie = Reply::Plain(200, Vec::new(), b"{}".to_vec());
    let faults = serving(content.clone(), top, move |_, _| Some(lie.clone()));
    let reference = image(&faults.host, &format!("app@{top}"));
    let error = resolve(insecure(&faults.host), &reference).unwrap_err();
    let expected = ContentError::Digest {
        expected: top,
        found: Digest::of(b"{}"),
    };
    assert_eq!(content_error(error), expected);
    let bytes = content.manifests[&top].1.clone();
    let header = vec![("docker-content-digest", Digest::of(b"other").to_string())];
    let lie = Reply::Plain(200, header, bytes);
    let faults = serving(content, top, move |_, _| Some(lie.clone()));
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    assert!(matches!(content_error(error), ContentError::Digest { .. }));
}

#[test]
fn a_cut_off_blob_is_resumed_and_refused_if_it_never_gets_whole() {
    let (content, top, blob) = large();
    let bytes = content.blobs[&blob].clone();
    let (path, part) = (blob.to_string(), bytes[..100_000].to_vec());
    let full = bytes.len();
    let faults = serving(content.clone(), top, move |seen, before| {
        let cut = || Reply::CutOff {
            full,
            body: part.clone(),
        };
        (seen.path.contains(&path) && before == 0).then(cut)
    });
    let entry = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap();
    assert_eq!(entry.resolved_user.unwrap().uid, 1000);
    let ranges: Vec<_> = faults.seen().into_iter().filter_map(|s| s.range).collect();
    assert_eq!(ranges, ["bytes=100000-"]);

    let (path, part) = (blob.to_string(), bytes[..100_000].to_vec());
    let faults = serving(content, top, move |seen, _| {
        let cut = || Reply::CutOff {
            full,
            body: part.clone(),
        };
        seen.path.contains(&path).then(cut)
    });
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    let expected = ContentError::Truncated {
        expected: full as u64,
        received: 100_000,
    };
    assert_eq!(content_error(error), expected);
    assert_eq!(faults.count(&blob.to_string()), 3);
}

#[test]
fn an_interrupted_run_goes_on_and_a_finished_one_asks_for_tags_only() {
    let (content, top, blob) = large();
    let bytes = content.blobs[&blob].clone();
    let folder = TempDir::new().unwrap();
    let options = |host: &str| Options {
        cache_dir: Some(folder.path().to_owned()),
        ..insecure(host)
    };
    let (path, part, full) = (blob.to_string(), bytes[..100_000].to_vec(), bytes.len());
    let faults = serving(content.clone(), top, move |seen, _| {
        let cut = || Reply::CutOff {
            full,
            body: part.clone(),
        };
        seen.path.contains(&path).then(cut)
    });
    assert!(resolve(options(&faults.host), &image(&faults.host, "app:1")).is_err());

    let faults = serving(content.clone(), top, |_, _| None);
    let first = resolve(options(&faults.host), &image(&faults.host, "app:1")).unwrap();
    let ranges: Vec<_> = faults.seen().into_iter().filter_map(|s| s.range).collect();
    assert_eq!(ranges, ["bytes=100000-"]);
    assert_eq!(
        faults.count(""),
        2,
        "manifest and rest of the layer: {:?}",
        faults.seen()
    );

    let faults = serving(content.clone(), top, |_, _| None);
    let mut second = resolve(options(&faults.host), &image(&faults.host, "app:1")).unwrap();
    assert_eq!(
        faults
            .seen()
            .iter()
            .map(|s| s.path.as_str())
            .collect::<Vec<_>>(),
        ["/v2/app/manifests/1"]
    );
    second.reference = first.reference.clone();
    assert_eq!(second, first);

    // What an earlier run left damaged does not stand in the way.
    let fresh = TempDir::new().unwrap();
    let partial = fresh.path().join("v1/partial");
    std::fs::create_dir_all(&partial).unwrap();
    std::fs::write(partial.join(blob.hex()), vec![b'?'; 5000]).unwrap();
    let faults = serving(content, top, |_, _| None);
    let options = Options {
        cache_dir: Some(fresh.path().to_owned()),
        ..insecure(&faults.host)
    };
    let third = resolve(options, &image(&faults.host, "app:1")).unwrap();
    assert_eq!(third.resolved_user, first.resolved_user);
}

#[test]
fn endless_bodies_end() {
    let (content, top, blob) = large();
    let faults = serving(content.clone(), top, |seen, _| {
        seen.path.contains("manifests").then_some(Reply::Endless)
    });
    let mut options = insecure(&faults.host);
    options.timing.response = Duration::from_secs(20);
    let error = resolve(options, &image(&faults.host, "app:1")).unwrap_err();
    assert_eq!(
        content_error(error),
        ContentError::TooLong { limit: 4 << 20 }
    );

    let size = content.blobs[&blob].len() as u64;
    let path = blob.to_string();
    let faults = serving(content, top, move |seen, _| {
        seen.path.contains(&path).then_some(Reply::Endless)
    });
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    assert_eq!(content_error(error), ContentError::TooLong { limit: size });
    assert_eq!(faults.count(&blob.to_string()), 1);
}

#[test]
fn slowness_is_bounded() {
    let pause = Duration::from_millis(20);
    for (reply, limit) in [(Reply::SlowHead(pause), 8), (Reply::SlowBody(pause), 8)] {
        let faults = Faults::start(move |_, _| reply.clone());
        let started = Instant::now();
        let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
        let slow = matches!(error, Error::Network { .. } | Error::TooSlow { .. });
        assert!(slow, "{error}");
        assert!(
            started.elapsed() < Duration::from_secs(limit),
            "{:?}",
            started.elapsed()
        );
    }
}
