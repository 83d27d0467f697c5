//! Small images built in memory, and a pusher for them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use nacre_imagelock::Digest;
use serde_json::{Value, json};
use ureq::Agent;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layer: members, and how it is packed.
#[derive(Clone, Debug)]
pub(crate) struct TestLayer {
    pub(crate) plain: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    media: &'static str,
}

/// A layer of files.
pub(crate) fn layer(packing: Packing, files: &[(&str, &str)]) -> TestLayer {
    let mut plain: Vec<u8> = files
        .iter()
        .flat_map(|(p, c)| member(p, c.as_bytes()))
        .collect();
    plain.extend_from_slice(&[0; 1024]);
    let (packed, media) = match packing {
        Packing::Plain => (plain.clone(), "application/vnd.oci.image.layer.v1.tar"),
        Packing::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&plain).unwrap();
            (
                gzip.finish().unwrap(),
                "application/vnd.oci.image.layer.v1.tar+gzip",
            )
        }
        Packing::Zstd => (
            zstd::encode_all(&plain[..], 1).unwrap(),
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
    };
    TestLayer {
        plain,
        packed,
        media,
    }
}

/// One tar member with its padding.
pub(crate) fn member(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Bytes by digest, and the documents on top of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    /// Media type and bytes.
    pub(crate) manifests: BTreeMap<Digest, (String, Vec<u8>)>,
}

impl Content {
    pub(crate) fn blob(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest, bytes);
        digest
    }

    fn manifest_bytes(&mut self, media: &str, value: &Value) -> Digest {
        let bytes = value.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        self.manifests.insert(digest, (media.to_owned(), bytes));
        digest
    }

    /// An image for a platform; `config` is its `config` object.
    pub(crate) fn image(
        &mut self,
        architecture: &str,
        config: &Value,
        layers: &[TestLayer],
    ) -> Digest {
        let diff_ids: Vec<_> = layers
            .iter()
            .map(|l| Digest::of(&l.plain).to_string())
            .collect();
        let document = json!({
            "os": "linux", "architecture": architecture, "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let document = document.to_string().into_bytes();
        let size = document.len();
        let config = self.blob(document);
        let layers: Vec<_> = layers
            .iter()
            .map(|l| {
                let digest = self.blob(l.packed.clone()).to_string();
                json!({ "mediaType": l.media, "digest": digest, "size": l.packed.len() })
            })
            .collect();
        self.manifest_bytes(
            MANIFEST,
            &json!({
                "schemaVersion": 2, "mediaType": MANIFEST,
                "config": { "mediaType": CONFIG, "digest": config.to_string(), "size": size },
                "layers": layers,
            }),
        )
    }

    /// An index over images.
    pub(crate) fn index(&mut self, images: &[(&str, Digest)]) -> Digest {
        let manifests: Vec<_> = images
            .iter()
            .map(|(architecture, digest)| {
                let size = self.manifests[digest].1.len();
                json!({ "mediaType": MANIFEST, "digest": digest.to_string(), "size": size,
                    "platform": { "os": "linux", "architecture": architecture } })
            })
            .collect();
        let value = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.manifest_bytes(INDEX, &value)
    }

    /// The files of an OCI layout with one named image.
    pub(crate) fn layout(&self, name: &str, top: &Digest) -> Vec<(String, Vec<u8>)> {
        let (media, bytes) = &self.manifests[top];
        let index = json!({ "schemaVersion": 2, "manifests": [{
            "mediaType": media, "digest": top.to_string(), "size": bytes.len(),
            "annotations": { "org.opencontainers.image.ref.name": name },
        }]});
        let manifests = self.manifests.iter().map(|(d, (_, b))| (d, b));
        let blobs = self.blobs.iter().chain(manifests);
        let blobs = blobs.map(|(d, b)| (format!("blobs/sha256/{}", d.hex()), b.clone()));
        let head = [
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".to_owned(), index.to_string().into_bytes()),
        ];
        head.into_iter().chain(blobs).collect()
    }
}

pub(crate) fn write_folder(folder: &Path, files: &[(String, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

pub(crate) fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = files.iter().flat_map(|(p, b)| member(p, b)).collect();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

/// Pushes everything to a repository and tags one document.
pub(crate) fn push(
    agent: &Agent,
    base: &str,
    authorization: Option<&str>,
    repository: &str,
    content: &Content,
    tags: &[(&str, Digest)],
) {
    let authorization = authorization.unwrap_or("none").to_owned();
    for (digest, bytes) in &content.blobs {
        let url = format!("{base}/v2/{repository}/blobs/uploads/");
        let started = agent
            .post(&url)
            .header("authorization", &authorization)
            .send_empty();
        let started = started.unwrap();
        assert_eq!(started.status(), 202, "upload of {digest}");
        let location = started.headers()["location"].to_str().unwrap().to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={digest}");
        let put = agent
            .put(&url)
            .header("authorization", &authorization)
            .header("content-type", "application/octet-stream");
        assert_eq!(put.send(&bytes[..]).unwrap().status(), 201, "blob {digest}");
    }
    let put = |name: &str, media: &str, bytes: &[u8]| {
        let request = agent
            .put(format!("{base}/v2/{repository}/manifests/{name}"))
            .header("authorization", &authorization)
            .header("content-type", media);
        assert_eq!(
            request.send(bytes).unwrap().status(),
            201,
            "manifest {name}"
        );
    };
    // Images before the indexes that name them.
    for wanted in [MANIFEST, INDEX] {
        for (digest, (media, bytes)) in &content.manifests {
            if media == wanted {
                put(&digest.to_string(), media, bytes);
            }
        }
    }
    for (tag, digest) in tags {
        let (media, bytes) = &content.manifests[digest];
        put(tag, media, bytes);
    }
}
