//! The parsers of foreign bytes by themselves, for fuzz targets. No part of the interface.

use std::collections::BTreeSet;

use crate::challenge;
use crate::layer::LayerFacts;
use crate::manifest::{Config, Document, choose, platforms};

/// A layer of any compression, within 16 MiB unpacked.
pub fn layer(bytes: &[u8]) {
    let watch: BTreeSet<String> = ["etc", "etc/passwd", "etc/group"].map(str::to_owned).into();
    if let Ok((facts, _)) = LayerFacts::read(bytes, &watch, 16 << 20) {
        for path in ["", "etc", "etc/passwd"] {
            if let Some(kind) = facts.node(path).and_then(|node| node.kind.as_ref()) {
                kind.content();
            }
        }
    }
}

/// A document from a registry: index, manifest or configuration.
pub fn document(bytes: &[u8]) {
    if let Ok(Document::Index(children)) = Document::parse("fuzz", bytes) {
        choose(&children, &nacre_imagelock::Platform::default());
        platforms(&children);
    }
    // A refusal is as good an answer as a configuration.
    let _ = Config::parse("fuzz", bytes);
}

/// The value of a `WWW-Authenticate` header.
pub fn header(text: &str) {
    challenge::parse(std::iter::once(text));
}
