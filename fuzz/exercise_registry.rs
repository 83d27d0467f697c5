//! What the fuzz targets and the replay of their corpus do with bytes. A panic is a finding.

#![allow(dead_code, reason = "each target uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic is what is looked for")]

use nacre_imagelock::{
    ImageLock, ImageReference, UserDatabase, UserRequest, resolve, resolve_image_user,
};
use nacre_registry::fuzzing;

/// A layer: every compression, every form of header.
pub(crate) fn layer(bytes: &[u8]) {
    fuzzing::layer(bytes);
}

/// Everything else that comes with an image, and the lock made of it.
pub(crate) fn image(bytes: &[u8]) {
    fuzzing::document(bytes);
    let database = UserDatabase::parse(bytes, bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        fuzzing::header(text);
        let _ = resolve(text, &UserRequest::default(), Some(&database));
        let _ = resolve_image_user(text, Some(&database));
        if let Ok(reference) = ImageReference::parse(text) {
            assert_eq!(reference.to_string(), text);
            let normal = reference.normalised();
            assert_eq!(ImageReference::parse(&normal).unwrap().normalised(), normal);
        }
    }
    if let Ok(value) = serde_json::from_slice(bytes)
        && let Ok(lock) = ImageLock::from_value(&value)
    {
        let written = lock.to_value();
        assert_eq!(ImageLock::from_value(&written).unwrap().to_value(), written);
    }
}
