//! OCI image layouts, written so that the same contents have the same digests everywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(super) type Labels = BTreeMap<String, String>;

/// Environment and working directory of every image.
pub(super) const ENV: &str = "PATH=/";
pub(super) const WORKING_DIR: &str = "/";

/// One image of one layer for linux/amd64.
pub(super) struct Image {
    pub(super) reference: String,
    pub(super) files: Vec<File>,
    pub(super) user: String,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
    pub(super) labels: Labels,
}

impl Image {
    /// Size of its files, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.files.iter().map(|file| file.bytes.len() as u64).sum()
    }
}

/// An image in a layout: what a lock says about it. Digests are written `sha256:<hex>`.
pub(super) struct Added {
    pub(super) reference: String,
    pub(super) manifest: String,
    pub(super) config: String,
    pub(super) layer: String,
    pub(super) layer_size: u64,
    /// `config` of the image configuration.
    pub(super) settings: Value,
}

/// A file of a layer; its path is relative to the root.
pub(super) struct File {
    path: String,
    mode: u32,
    bytes: Vec<u8>,
}

impl File {
    pub(super) fn text(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            mode: 0o644,
            bytes: text.as_bytes().to_vec(),
        }
    }

    pub(super) fn program(path: &str, bytes: Vec<u8>) -> File {
        File {
            path: path.to_owned(),
            mode: 0o755,
            bytes,
        }
    }
}

/// A layout folder under construction.
pub(super) struct Layout {
    folder: PathBuf,
    manifests: Vec<Value>,
}

impl Layout {
    /// Starts an empty layout; what was in the folder is removed.
    pub(super) fn create(folder: &Path) -> Result<Layout> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder.join("blobs/sha256"))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(
            folder.join("oci-layout"),
            "{\"imageLayoutVersion\":\"1.0.0\"}",
        )?;
        Ok(Layout {
            folder: folder.to_path_buf(),
            manifests: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, image: &Image) -> Result<Added> {
        let layer = layer(&image.files)?;
        let layer = self.blob(&layer, "application/vnd.oci.image.layer.v1.tar")?;
        let settings = json!({
            "User": image.user,
            "Env": [ENV],
            "Entrypoint": image.entrypoint,
            "Cmd": image.command,
            "WorkingDir": WORKING_DIR,
            "Labels": image.labels,
        });
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": settings,
            "rootfs": { "type": "layers", "diff_ids": [layer.get("digest")] },
        });
        let config = self.blob(
            &serde_json::to_vec(&config)?,
            "application/vnd.oci.image.config.v1+json",
        )?;
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.clone(),
            "layers": [layer.clone()],
        });
        let mut entry = self.blob(&serde_json::to_vec(&manifest)?, media_type)?;
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(
                "platform".to_owned(),
                json!({ "architecture": "amd64", "os": "linux" }),
            );
            let name = json!({ "org.opencontainers.image.ref.name": image.reference });
            entry.insert("annotations".to_owned(), name);
        }
        let digest = |blob: &Value| {
            let digest = blob.get("digest").and_then(Value::as_str);
            digest.unwrap_or_default().to_owned()
        };
        let added = Added {
            reference: image.reference.clone(),
            manifest: digest(&entry),
            config: digest(&config),
            layer: digest(&layer),
            layer_size: layer.get("size").and_then(Value::as_u64).unwrap_or(0),
            settings,
        };
        self.manifests.push(entry);
        Ok(added)
    }

    /// Writes the index, after which the layout is complete.
    pub(super) fn finish(self) -> Result<()> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.manifests,
        });
        fs::write(self.folder.join("index.json"), serde_json::to_vec(&index)?)?;
        Ok(())
    }

    /// Stores bytes under their digest and describes them.
    fn blob(&self, bytes: &[u8], media_type: &str) -> Result<Value> {
        let digest = hex::encode(Sha256::digest(bytes));
        fs::write(self.folder.join("blobs/sha256").join(&digest), bytes)?;
        Ok(
            json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() }),
        )
    }
}

/// A tar of the files and of the folders they need, in name order, as of the start of time.
fn layer(files: &[File]) -> Result<Vec<u8>> {
    let mut entries: BTreeMap<String, Option<&File>> = BTreeMap::new();
    for file in files {
        let folders = file
            .path
            .match_indices('/')
            .filter_map(|(end, _)| file.path.get(..=end));
        entries.extend(folders.map(|folder| (folder.to_owned(), None)));
        entries.insert(file.path.clone(), Some(file));
    }
    let mut archive = tar::Builder::new(Vec::new());
    for (path, file) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_path(&path)?;
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let bytes = file.map_or(&[][..], |file| &file.bytes);
        header.set_size(bytes.len().try_into()?);
        header.set_mode(file.map_or(0o755, |file| file.mode));
        header.set_entry_type(match file {
            Some(_) => tar::EntryType::Regular,
            None => tar::EntryType::Directory,
        });
        header.set_cksum();
        archive.append(&header, bytes)?;
    }
    Ok(archive.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(files: &[File]) -> String {
        hex::encode(Sha256::digest(layer(files).unwrap()))
    }

    #[test]
    fn a_layer_does_not_depend_on_the_order_of_its_files() {
        let one = || File::text("etc/passwd", "a");
        let two = || File::program("app", vec![1]);
        assert_eq!(digest_of(&[one(), two()]), digest_of(&[two(), one()]));
        assert_ne!(digest_of(&[one(), two()]), digest_of(&[one()]));
    }

    #[test]
    fn folders_come_before_their_files() {
        let bytes = layer(&[File::text("a/b/c", "x")]).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["a/", "a/b/", "a/b/c"]);
    }
}
