//! Several places for an image, several images, and what is none.

use super::*;

#[test]
fn mirrors_come_first_and_a_lying_mirror_is_not_passed_over() {
    let (content, top, blob) = large();
    let upstream = serving(content.clone(), top, |_, _| None);
    let empty = Faults::start(|_, _| Reply::Plain(404, Vec::new(), Vec::new()));
    let mirror = serving(content.clone(), top, |_, _| None);
    let options = |mirrors: &[&Faults]| {
        let mut options = insecure(&upstream.host);
        for mirror in mirrors {
            options.insecure_registries.insert(mirror.host.clone());
            let text = format!("{}={}/cache", upstream.host, mirror.host);
            options.mirrors.push(text.parse().unwrap());
        }
        options
    };
    let reference = image(&upstream.host, "app:1");
    resolve(options(&[&empty, &mirror]), &reference).unwrap();
    assert_eq!(
        (empty.count("/v2/cache/app/manifests/1"), upstream.count("")),
        (1, 0)
    );
    assert!(mirror.count("/v2/cache/app/") > 2);
    resolve(options(&[&empty]), &reference).unwrap();
    assert!(upstream.count("/v2/app/") > 2);

    let path = blob.to_string();
    let liar = serving(content, top, move |seen, _| {
        let lie = || Reply::Plain(200, Vec::new(), vec![0; 303_616]);
        seen.path.contains(&path).then(lie)
    });
    let error = resolve(options(&[&liar]), &reference).unwrap_err();
    assert!(matches!(content_error(error), ContentError::Digest { .. }));
}

#[test]
fn many_images_share_what_they_share() {
    let mut content = Content::default();
    let base = layer(Packing::Zstd, &[ROOT, GROUPS]);
    let blob = Digest::of(&base.packed);
    let images: Vec<_> = (0..20)
        .map(|n| {
            content.image(
                "amd64",
                &json!({ "User": "app", "Cmd": [n.to_string()] }),
                std::slice::from_ref(&base),
            )
        })
        .collect();
    let faults = serving(content, images[0], |_, _| None);
    let references: Vec<_> = images
        .iter()
        .map(|d| image(&faults.host, &format!("app@{d}")))
        .collect();
    let twice = references.iter().chain(&references).cloned();
    let resolver = Resolver::new(insecure(&faults.host), &Silent).unwrap();
    let results = resolver.resolve_all(twice);
    assert_eq!(results.len(), 20);
    for ((reference, outcome), wanted) in results.iter().zip(&references) {
        assert_eq!(reference, wanted);
        assert_eq!(Some(&outcome.as_ref().unwrap().digest), wanted.digest());
    }
    assert_eq!(faults.count(&blob.to_string()), 1);
    assert_eq!(faults.count("manifests"), 20);
}

#[test]
fn what_is_no_image_is_refused() {
    let mut content = Content::default();
    let lying = content.image("arm64", &json!({}), &[]);
    let index = content.index(&[("amd64", lying)]);
    let faults = serving(content, index, |_, _| None);
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    assert!(matches!(error, Error::NoPlatform { .. }), "{error}");

    let (mut content, _, blob) = large();
    let config = json!({ "os": "linux", "architecture": "amd64",
        "rootfs": { "diff_ids": [Digest::of(b"other").to_string()] } });
    let config = config.to_string().into_bytes();
    let size = config.len();
    let config = content.blob(config);
    let manifest = json!({ "schemaVersion": 2,
        "config": { "mediaType": support::image::CONFIG, "digest": config.to_string(), "size": size },
        "layers": [{ "digest": blob.to_string(), "size": content.blobs[&blob].len() }] });
    let bytes = manifest.to_string().into_bytes();
    let top = Digest::of(&bytes);
    content.manifests.insert(top, (MANIFEST.to_owned(), bytes));
    let faults = serving(content, top, |_, _| None);
    let error = resolve(insecure(&faults.host), &image(&faults.host, "app:1")).unwrap_err();
    let expected = Digest::of(b"other");
    let found = blob; // The layer is not compressed.
    assert_eq!(
        content_error(error),
        ContentError::Digest { expected, found }
    );
}
