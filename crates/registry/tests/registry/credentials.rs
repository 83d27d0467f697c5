//! Who gets the password.

use super::*;

#[test]
fn a_redirect_gets_the_request_but_not_the_password() {
    let (content, top, blob) = large();
    let bytes = content.blobs[&blob].clone();
    let elsewhere = Faults::start(move |_, _| Reply::Plain(200, Vec::new(), bytes.clone()));
    let target = format!("http://{}/storage?signature=1", elsewhere.host);
    let path = blob.to_string();
    let faults = serving(content, top, move |seen, _| {
        if seen.authorization.is_none() {
            let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            return Some(Reply::Plain(401, challenge, Vec::new()));
        }
        let redirect = || Reply::Plain(307, vec![("location", target.clone())], Vec::new());
        seen.path.contains(&path).then(redirect)
    });
    let folder = TempDir::new().unwrap();
    let mut options = insecure(&faults.host);
    options.auth_files = auth_file(&folder, &faults.host, PASSWORD);
    let reference = image(&faults.host, "app:1");

    // To another host only if that, too, may be reached without TLS.
    let error = resolve(options.clone(), &reference).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    assert_eq!(elsewhere.count(""), 0);

    options.insecure_registries.insert(elsewhere.host.clone());
    resolve(options, &reference).unwrap();
    let seen = elsewhere.seen();
    assert_eq!(
        (seen.len(), seen[0].path.as_str()),
        (1, "/storage?signature=1")
    );
    assert_eq!(seen[0].authorization, None);
    assert!(
        faults
            .seen()
            .iter()
            .any(|s| s.authorization == Some(basic()))
    );

    let around =
        Faults::start(|_, _| Reply::Plain(302, vec![("location", "/again".into())], Vec::new()));
    let error = resolve(insecure(&around.host), &image(&around.host, "app:1")).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Protocol {
                reason: "too many redirects",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    let (content, top, blob) = large();
    let bytes = content.blobs[&blob].clone();
    let plain = Faults::start(move |_, _| Reply::Plain(200, Vec::new(), bytes.clone()));
    let manifest = content.manifests[&top].1.clone();
    let location = format!("http://{}/elsewhere", plain.host);
    let (host, ca) = support::faults::https(move |path| {
        if path.contains("blobs") {
            (307, vec![("location", location.clone())], Vec::new())
        } else {
            (200, Vec::new(), manifest.clone())
        }
    });
    let folder = TempDir::new().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca).unwrap();
    let options = Options {
        ca_files: vec![ca_file],
        timing: impatient(),
        ..Options::default()
    };
    let error = resolve(options, &image(&host, "app:1")).unwrap_err();
    let reason = "a redirect leads from HTTPS to HTTP";
    assert!(
        matches!(error, Error::Protocol { reason: r, .. } if r == reason),
        "{error}"
    );
    assert_eq!(plain.count(""), 0);
}

/// A registry with a token server beside it.
fn with_tokens(
    content: Content,
    top: Digest,
    accepts: fn(&support::faults::Seen) -> bool,
) -> (Faults, Faults) {
    let tokens = Faults::start(move |seen, _| match accepts(seen) {
        true => Reply::Plain(
            200,
            Vec::new(),
            br#"{"token":"t0ken","expires_in":60}"#.to_vec(),
        ),
        false => Reply::Plain(401, Vec::new(), Vec::new()),
    });
    let realm = format!(
        "Bearer realm=\"http://{}/token\",service=\"reg\"",
        tokens.host
    );
    let faults = serving(content, top, move |seen, _| {
        let refused = || Reply::Plain(401, vec![("www-authenticate", realm.clone())], Vec::new());
        (seen.authorization.as_deref() != Some("Bearer t0ken")).then(refused)
    });
    (faults, tokens)
}

#[test]
fn bearer_tokens_for_passwords_identity_tokens_and_nobody() {
    let folder = TempDir::new().unwrap();
    let (content, top, _) = large();

    let (faults, tokens) = with_tokens(content.clone(), top, |s| s.authorization.is_none());
    resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap();
    let asked = "/token?service=reg&scope=repository%3Aapp%3Apull";
    assert_eq!(tokens.seen()[0].path, asked);
    assert_eq!(
        tokens.count(""),
        1,
        "one token serves manifest, configuration and layer"
    );

    let (faults, tokens) = with_tokens(content.clone(), top, |s| s.authorization == Some(basic()));
    let mut options = insecure(&faults.host);
    options.auth_files = auth_file(&folder, &faults.host, PASSWORD);
    resolve(options, &image(&faults.host, "app:1")).unwrap();
    assert_eq!(tokens.count(""), 1);

    let wanted = |s: &support::faults::Seen| {
        s.authorization.is_none()
            && s.body
                .starts_with("grant_type=refresh_token&client_id=nacre&refresh_token=id%2Bt&")
    };
    let (faults, _tokens) = with_tokens(content.clone(), top, wanted);
    let path = folder.path().join("identity.json");
    let file = json!({ "auths": { &faults.host: { "identitytoken": "id+t" } } });
    std::fs::write(&path, file.to_string()).unwrap();
    let mut options = insecure(&faults.host);
    options.auth_files = AuthFiles::only(path);
    resolve(options, &image(&faults.host, "app:1")).unwrap();

    let (faults, _tokens) = with_tokens(content, top, |_| false);
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    assert!(matches!(error, Error::Unauthorised { .. }), "{error}");
}
