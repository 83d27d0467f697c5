//! OCI layouts and archives.

use super::*;

fn local(path: &Path, image: Option<&str>) -> LocalStore {
    let image = image.map(|i| ImageReference::parse(i).unwrap());
    LocalStore {
        path: path.to_owned(),
        image,
    }
}

fn offline() -> Options {
    Options {
        offline: true,
        ..Options::default()
    }
}

#[test]
fn layouts_and_oci_archives_serve_offline() {
    let mut content = Content::default();
    let amd64 = layered(&mut content);
    let index = content.index(&[("amd64", amd64)]);
    let reference = image("shop.example", "app:1");
    let folder = TempDir::new().unwrap();

    let named = content.layout("shop.example/app:1", &index);
    let layout = folder.path().join("layout");
    write_folder(&layout, &named);
    let options = Options {
        layouts: vec![local(&layout, None)],
        ..offline()
    };
    let entry = resolve(options.clone(), &reference).unwrap();
    assert_eq!(
        (entry.digest, entry.index_digest, entry.source),
        (amd64, Some(index), Source::Layout)
    );
    assert_eq!(entry.resolved_user.as_ref().unwrap().uid, 1000);
    for digest in [amd64, index] {
        let pinned = ImageReference::parse(&reference.pinned(&digest)).unwrap();
        assert_eq!(resolve(options.clone(), &pinned).unwrap().digest, amd64);
    }
    let other = image("shop.example", "other:1");
    assert!(matches!(
        resolve(options.clone(), &other),
        Err(Error::Offline { .. })
    ));
    let wrong = ImageReference::parse(&reference.pinned(&Digest::of(b"x"))).unwrap();
    assert!(resolve(options, &wrong).is_err());

    // A layout that only knows the tag must be given the name.
    let tagged = folder.path().join("tagged");
    write_folder(&tagged, &content.layout("1", &amd64));
    let anonymous = Options {
        layouts: vec![local(&tagged, None)],
        ..offline()
    };
    assert!(matches!(
        resolve(anonymous, &reference),
        Err(Error::Offline { .. })
    ));
    let bound = local(&tagged, Some("shop.example/app:1"));
    let options = Options {
        layouts: vec![bound],
        ..offline()
    };
    assert_eq!(resolve(options, &reference).unwrap().digest, amd64);

    // The same as an archive, plain and compressed, gives the same but for the source.
    let archive = folder.path().join("image.tar");
    std::fs::write(&archive, tar(&named)).unwrap();
    let compressed = folder.path().join("image.tar.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar(&named)).unwrap();
    std::fs::write(&compressed, gzip.finish().unwrap()).unwrap();
    for path in [archive, compressed] {
        let options = Options {
            archives: vec![local(&path, None)],
            ..offline()
        };
        let mut same = resolve(options, &reference).unwrap();
        assert_eq!(same.source, Source::Archive);
        same.source = Source::Layout;
        assert_eq!(same, entry);
    }
}

#[test]
fn damaged_stores_are_refused() {
    let (content, top, blob) = large();
    let reference = image("shop.example", "app:1");
    let folder = TempDir::new().unwrap();
    write_folder(folder.path(), &content.layout("shop.example/app:1", &top));
    let options = Options {
        layouts: vec![local(folder.path(), None)],
        ..offline()
    };
    let path = folder.path().join("blobs/sha256").join(blob.hex());

    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[2000] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    assert!(matches!(
        resolve(options.clone(), &reference),
        Err(Error::Content { .. })
    ));
    std::fs::write(&path, &good[..1000]).unwrap();
    assert!(matches!(
        resolve(options.clone(), &reference),
        Err(Error::Content { .. })
    ));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        resolve(options.clone(), &reference),
        Err(Error::Offline { .. })
    ));
    let manifest = folder.path().join("blobs/sha256").join(top.hex());
    std::fs::write(&manifest, b"{}").unwrap();
    assert!(matches!(
        resolve(options, &reference),
        Err(Error::Content { .. })
    ));

    let nothing = folder.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let options = Options {
        layouts: vec![local(&nothing, None)],
        ..offline()
    };
    assert!(matches!(
        Resolver::new(options, &Silent).err(),
        Some(Error::Store { .. })
    ));
    let text = folder.path().join("text.tar");
    std::fs::write(&text, "no archive").unwrap();
    let options = Options {
        archives: vec![local(&text, None)],
        ..offline()
    };
    assert!(matches!(
        Resolver::new(options, &Silent).err(),
        Some(Error::Store { .. })
    ));
}

#[test]
fn a_docker_save_archive_without_manifest_serves_layers_but_no_digest() {
    let (content, top, blob) = large();
    let manifest: Value = serde_json::from_slice(&content.manifests[&top].1).unwrap();
    let config: Digest = manifest["config"]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let registry = serving(content.clone(), top, move |seen, _| {
        // Whatever the archive has must not be asked for.
        let needless = seen.path.contains("blobs");
        needless.then(|| Reply::Plain(500, Vec::new(), Vec::new()))
    });
    let reference = image(&registry.host, "app:1");
    let save = |config_bytes: Vec<u8>| {
        let name = format!("{}.json", Digest::of(&config_bytes).hex());
        let manifest = json!([{ "Config": name, "RepoTags": [reference.to_string()],
            "Layers": ["layer/layer.tar"] }]);
        tar(&[
            (name, config_bytes),
            ("layer/layer.tar".to_owned(), content.blobs[&blob].clone()),
            (
                "manifest.json".to_owned(),
                manifest.to_string().into_bytes(),
            ),
        ])
    };
    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("save.tar");
    std::fs::write(&archive, save(content.blobs[&config].clone())).unwrap();
    let archives = vec![local(&archive, None)];

    let options = Options {
        archives: archives.clone(),
        ..offline()
    };
    let error = resolve(options, &reference).unwrap_err();
    assert!(matches!(error, Error::NoManifest { .. }), "{error}");

    let options = Options {
        archives: archives.clone(),
        ..insecure(&registry.host)
    };
    let entry = resolve(options, &reference).unwrap();
    assert_eq!(entry.digest, top);
    assert_eq!(entry.resolved_user.unwrap().uid, 1000);
    assert_eq!(registry.count(""), 1);

    let mut other: Value = serde_json::from_slice(&content.blobs[&config]).unwrap();
    other["config"]["Cmd"] = json!(["other"]);
    std::fs::write(&archive, save(other.to_string().into_bytes())).unwrap();
    let options = Options {
        archives,
        ..insecure(&registry.host)
    };
    let error = resolve(options, &reference).unwrap_err();
    assert!(matches!(error, Error::ArchiveDiffers { .. }), "{error}");
}
