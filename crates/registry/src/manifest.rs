//! Image indexes, manifests and configurations (OCI image specification 1.1, Docker image
//! manifest version 2 schema 2).

use std::collections::BTreeMap;

use nacre_imagelock::{Digest, ImageFacts, Platform};
use serde::Deserialize;
use serde_json::Value;

use crate::content::Blob;
use crate::error::Error;

/// What to ask a registry for, in order of preference.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

const CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// An index or a manifest.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Vec<Child>),
    Manifest(Manifest),
}

#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) config: Blob,
    pub(crate) layers: Vec<Blob>,
}

/// One entry of an index.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) blob: Blob,
    pub(crate) platform: Option<Platform>,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Document {
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, Error> {
        let fail = |reason: String| Error::Unsupported {
            what: what.to_owned(),
            reason,
        };
        let raw: RawDocument =
            serde_json::from_slice(bytes).map_err(|e| fail(format!("no image manifest: {e}")))?;
        if raw.schema_version != Some(2) {
            return Err(fail("schema version 2 is needed".to_owned()));
        }
        // A document that reads both ways is a confusion attack (CVE-2021-41190).
        match (raw.manifests, raw.config, raw.layers) {
            (Some(children), None, None) => {
                let children: Result<_, _> =
                    children.into_iter().map(|c| child(c, &fail)).collect();
                Ok(Self::Index(children?))
            }
            (None, Some(config), Some(layers)) => {
                let media = config.media_type.as_deref().unwrap_or("");
                if !CONFIG_TYPES.contains(&media) {
                    let kind = raw.media_type.unwrap_or_default();
                    return Err(fail(format!(
                        "not a container image but {media:?} {kind:?}"
                    )));
                }
                let config = blob(&config, &fail)?;
                let layers: Result<_, _> = layers.iter().map(|l| blob(l, &fail)).collect();
                Ok(Self::Manifest(Manifest {
                    config,
                    layers: layers?,
                }))
            }
            _ => Err(fail("neither an index nor an image manifest".to_owned())),
        }
    }
}

fn child(raw: RawDescriptor, fail: &impl Fn(String) -> Error) -> Result<Child, Error> {
    let blob = blob(&raw, fail)?;
    let platform = raw.platform.map(|p| Platform {
        os: p.os,
        architecture: p.architecture,
        variant: p.variant.filter(|v| !v.is_empty()),
    });
    Ok(Child {
        blob,
        platform,
        annotations: raw.annotations.unwrap_or_default(),
    })
}

fn blob(raw: &RawDescriptor, fail: &impl Fn(String) -> Error) -> Result<Blob, Error> {
    let digest = raw
        .digest
        .parse()
        .map_err(|e| fail(format!("descriptor: {e}")))?;
    Ok(Blob {
        digest,
        size: raw.size,
    })
}

/// The child for a platform: exactly the variant asked for; where none is asked for, one
/// without variant before the architecture's baseline.
pub(crate) fn choose<'a>(children: &'a [Child], wanted: &Platform) -> Option<&'a Child> {
    let find = |variant: Option<&str>| {
        children.iter().find(|child| {
            child.platform.as_ref().is_some_and(|p| {
                p.os == wanted.os
                    && p.architecture == wanted.architecture
                    && p.variant.as_deref() == variant
            })
        })
    };
    match wanted.variant.as_deref() {
        Some(variant) => find(Some(variant)),
        None => find(None).or_else(|| find(Some(baseline(&wanted.architecture)))),
    }
}

fn baseline(architecture: &str) -> &'static str {
    if architecture == "arm64" { "v8" } else { "v1" }
}

/// The platforms of an index, for an error message.
pub(crate) fn platforms(children: &[Child]) -> Vec<String> {
    let named = children.iter().filter_map(|c| c.platform.as_ref());
    named
        .filter(|p| p.os != "unknown")
        .map(Platform::to_string)
        .collect()
}

/// An image configuration.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) platform: Platform,
    pub(crate) facts: ImageFacts,
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RawConfig {
    os: String,
    architecture: String,
    variant: Option<String>,
    config: Option<RawFacts>,
    rootfs: RawRootfs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawFacts {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, Value>>,
    exposed_ports: Option<BTreeMap<String, Value>>,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

impl Config {
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, Error> {
        let fail = |reason: String| Error::Unsupported {
            what: what.to_owned(),
            reason,
        };
        let raw: RawConfig = serde_json::from_slice(bytes)
            .map_err(|e| fail(format!("no image configuration: {e}")))?;
        let diff_ids: Result<_, _> = raw.rootfs.diff_ids.iter().map(|d| d.parse()).collect();
        let diff_ids = diff_ids.map_err(|e| fail(format!("rootfs.diff_ids: {e}")))?;
        let facts = raw.config.unwrap_or_default();
        let keys = |map: Option<BTreeMap<String, Value>>| -> Vec<String> {
            map.unwrap_or_default().into_keys().collect()
        };
        Ok(Self {
            platform: Platform {
                os: raw.os,
                architecture: raw.architecture,
                variant: raw.variant.filter(|v| !v.is_empty()),
            },
            facts: ImageFacts {
                entrypoint: facts.entrypoint.unwrap_or_default(),
                cmd: facts.cmd.unwrap_or_default(),
                env: facts.env.unwrap_or_default(),
                user: facts.user.unwrap_or_default(),
                working_dir: facts.working_dir.unwrap_or_default(),
                volumes: keys(facts.volumes),
                exposed_ports: keys(facts.exposed_ports),
                stop_signal: facts.stop_signal.filter(|s| !s.is_empty()),
                labels: facts.labels.unwrap_or_default(),
            },
            diff_ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn index(platforms: &[(&str, &str, Option<&str>)]) -> Vec<Child> {
        let manifests: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(size, (os, architecture, variant))| {
                json!({ "digest": D, "size": size, "platform": {
                    "os": os, "architecture": architecture, "variant": variant } })
            })
            .collect();
        let text = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        match Document::parse("index", text.as_bytes()).unwrap() {
            Document::Index(children) => children,
            Document::Manifest(_) => panic!("an index was read as a manifest"),
        }
    }

    #[test]
    fn the_plain_platform_comes_before_its_baseline_variant() {
        let children = index(&[
            ("unknown", "unknown", None),
            ("linux", "amd64", Some("v3")),
            ("linux", "amd64", Some("v1")),
            ("linux", "amd64", None),
            ("linux", "arm64", Some("v8")),
        ]);
        let chosen = |children: &[Child], text: &str| {
            choose(children, &text.parse().unwrap()).map(|c| c.blob.size)
        };
        assert_eq!(chosen(&children, "linux/amd64"), Some(3));
        assert_eq!(chosen(&children[..3], "linux/amd64"), Some(2));
        assert_eq!(chosen(&children[..2], "linux/amd64"), None);
        assert_eq!(chosen(&children, "linux/amd64/v3"), Some(1));
        assert_eq!(chosen(&children, "linux/arm64"), Some(4));
        assert_eq!(chosen(&children, "linux/s390x"), None);
        assert_eq!(platforms(&children).len(), 4);
    }

    #[test]
    fn what_is_no_image_is_refused_with_the_reason() {
        let config = json!({ "mediaType": CONFIG_TYPES[0], "digest": D, "size": 1 });
        let helm = json!({ "mediaType": "application/vnd.cncf.helm.config.v1+json",
            "digest": D, "size": 1 });
        let cases = [
            (json!([]), "no image manifest"),
            (json!({ "schemaVersion": 1 }), "schema version 2"),
            (json!({ "schemaVersion": 2 }), "neither an index nor"),
            (
                json!({ "schemaVersion": 2, "manifests": [], "config": config, "layers": [] }),
                "neither an index nor",
            ),
            (
                json!({ "schemaVersion": 2, "config": helm, "layers": [] }),
                "not a container image",
            ),
            (
                json!({ "schemaVersion": 2, "config": config,
                    "layers": [{ "digest": "sha256:0", "size": 1 }] }),
                "64 hexadecimal digits",
            ),
            (
                json!({ "schemaVersion": 2, "manifests": [{ "digest": D, "size": -1 }] }),
                "no image manifest",
            ),
        ];
        for (value, reason) in cases {
            let error = Document::parse("x", value.to_string().as_bytes()).unwrap_err();
            assert!(error.to_string().contains(reason), "{value}: {error}");
        }
    }

    #[test]
    fn facts_are_read_as_written() {
        let value = json!({
            "os": "linux", "architecture": "amd64",
            "config": {
                "Entrypoint": ["/a"], "Cmd": null, "Env": ["A=1", "B=2=3"], "User": "app",
                "WorkingDir": "/w", "Volumes": { "/v": {} },
                "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
                "StopSignal": "SIGINT", "Labels": { "k": "v" }, "Healthcheck": {},
            },
            "rootfs": { "type": "layers", "diff_ids": [D] },
            "history": [],
        });
        let config = Config::parse("c", value.to_string().as_bytes()).unwrap();
        assert_eq!(config.facts.entrypoint, ["/a"]);
        assert!(config.facts.cmd.is_empty());
        assert_eq!(config.facts.env, ["A=1", "B=2=3"]);
        assert_eq!(config.facts.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!(config.facts.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!(config.diff_ids.len(), 1);
        let bare = json!({ "os": "linux", "architecture": "amd64", "rootfs": {} });
        let bare = Config::parse("c", bare.to_string().as_bytes()).unwrap();
        assert_eq!(bare.facts, ImageFacts::default());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Document::parse("x", &bytes);
            let _ = Config::parse("x", &bytes);
        }
    }
}
