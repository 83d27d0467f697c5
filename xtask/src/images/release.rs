//! The lock of the images of this release, which the programs that render have compiled in.

use anyhow::{Context as _, Result};
use nacre_imagelock::{Digest, Entry, ImageLock, ImageReference, Layer, Source, UserDatabase};
use serde_json::Value;

use super::PASSWD;
use super::oci::Added;

/// The lock as JSON on one line.
pub(super) fn lock(images: &[Added]) -> Result<String> {
    let mut lock = ImageLock::default();
    lock.name = "release".to_owned();
    for image in images {
        lock.insert(entry(image)?);
    }
    Ok(lock.to_value().to_string())
}

/// What `nacre lock` would find in the layout.
fn entry(image: &Added) -> Result<Entry> {
    let reference = ImageReference::parse(&image.reference)
        .with_context(|| format!("{} is no image", image.reference))?;
    let mut entry = Entry::new(reference, digest(&image.manifest)?);
    entry.config_digest = Some(digest(&image.config)?);
    entry.source = Source::Layout;
    entry.size_bytes = image.layer_size;
    let texts = |key: &str| -> Vec<String> {
        let list = image.settings.get(key).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|item| Some(item.as_str()?.to_owned()))
            .collect()
    };
    let text = |key: &str| {
        let value = image.settings.get(key).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    entry.config.entrypoint = texts("Entrypoint");
    entry.config.cmd = texts("Cmd");
    entry.config.env = texts("Env");
    entry.config.user = text("User");
    entry.config.working_dir = text("WorkingDir");
    let labels = image.settings.get("Labels").and_then(Value::as_object);
    entry.config.labels = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    entry.users = Some(UserDatabase::parse(PASSWD.as_bytes(), b""));
    entry.resolved_user = entry.default_user();
    entry.layers = vec![Layer {
        digest: digest(&image.layer)?,
        diff_id: digest(&image.layer)?,
        size_bytes: image.layer_size,
        verity_root: None,
    }];
    Ok(entry)
}

fn digest(text: &str) -> Result<Digest> {
    text.parse().with_context(|| format!("{text} is no digest"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = Added {
            reference: "ghcr.io/nacre-dev/nacre/mesh:v0.0.1".to_owned(),
            manifest: digest.clone(),
            config: digest.clone(),
            layer: digest,
            layer_size: 7,
            settings: json!({ "User": "0:0", "Entrypoint": ["/nacre-mesh"], "WorkingDir": "/" }),
        };
        let text = lock(&[image]).unwrap();
        let read = ImageLock::from_value(&serde_json::from_str(&text).unwrap()).unwrap();
        let entry = read.lookup("ghcr.io/nacre-dev/nacre/mesh:v0.0.1").unwrap();
        assert_eq!(entry.config.entrypoint, ["/nacre-mesh"]);
        assert_eq!(entry.resolved_user.as_ref().unwrap().uid, 0);
    }
}
