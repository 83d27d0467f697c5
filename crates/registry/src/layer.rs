//! What one layer says about a few paths.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_imagelock::Digest;
use serde::{Deserialize, Serialize};

use crate::content::Hashing;
use crate::tar::{Archive, Kind};

/// Most that `/etc/passwd` or `/etc/group` may take, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Facts about the watched paths of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerFacts {
    /// By path without leading slash; the root is the empty path.
    nodes: BTreeMap<String, Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) kind: Option<NodeKind>,
    /// The lower layers' entry of this name is gone.
    pub(crate) whiteout: bool,
    /// The lower layers' content of this directory is gone.
    pub(crate) opaque: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NodeKind {
    Directory,
    /// Base64 of the content.
    File(String),
    /// Longer than we read.
    LargeFile,
    /// A symbolic link's target.
    Link(String),
    /// A hard link's target, from the root.
    HardLink(String),
    Other,
}

impl LayerFacts {
    pub(crate) fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Whether a watched path is a link, so that further paths may be asked for.
    pub(crate) fn has_links(&self) -> bool {
        let is_link = |n: &Node| matches!(n.kind, Some(NodeKind::Link(_) | NodeKind::HardLink(_)));
        self.nodes.values().any(is_link)
    }

    /// Reads a layer from its compressed bytes to the end. Gives the facts and the digest of
    /// the uncompressed archive.
    pub(crate) fn read(
        compressed: impl Read,
        watch: &BTreeSet<String>,
        max_bytes: u64,
    ) -> io::Result<(Self, Digest)> {
        let mut reader = BufReader::with_capacity(256 << 10, compressed);
        let plain = decompress(&mut reader)?;
        let mut archive = Archive::new(Hashing::new(plain.take(max_bytes)));
        let mut facts = Self::default();
        while let Some(entry) = archive.next()? {
            let Some(path) = clean(&entry.path) else {
                continue;
            };
            facts.note_parents(&path, watch);
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                if let Some(node) = facts.watched(parent, watch) {
                    node.opaque = true;
                }
                continue;
            }
            if let Some(gone) = name.strip_prefix(".wh.") {
                let gone = if parent.is_empty() {
                    gone.to_owned()
                } else {
                    format!("{parent}/{gone}")
                };
                if let Some(node) = facts.watched(&gone, watch) {
                    node.whiteout = true;
                }
                continue;
            }
            if !watch.contains(&path) {
                continue;
            }
            let kind = match entry.kind {
                Kind::Directory => NodeKind::Directory,
                Kind::File => match archive.content(&entry, MAX_FILE)? {
                    Some(content) => NodeKind::File(STANDARD.encode(content)),
                    None => NodeKind::LargeFile,
                },
                Kind::Symlink => NodeKind::Link(String::from_utf8_lossy(&entry.link).into_owned()),
                Kind::HardLink => {
                    NodeKind::HardLink(String::from_utf8_lossy(&entry.link).into_owned())
                }
                Kind::Other => NodeKind::Other,
            };
            if let Some(node) = facts.watched(&path, watch) {
                node.kind = Some(kind);
            }
        }
        let plain = archive.into_inner();
        let (digest, length) = plain.finish(max_bytes)?;
        if length >= max_bytes {
            return Err(io::Error::other("it unpacks to more than we read"));
        }
        // What is left of the compressed stream belongs to the blob and its digest.
        io::copy(&mut reader, &mut io::sink())?;
        Ok((facts, digest))
    }

    fn watched(&mut self, path: &str, watch: &BTreeSet<String>) -> Option<&mut Node> {
        (path.is_empty() || watch.contains(path))
            .then(|| self.nodes.entry(path.to_owned()).or_default())
    }

    /// An entry below a directory makes the directory, mentioned or not.
    fn note_parents(&mut self, path: &str, watch: &BTreeSet<String>) {
        for (at, _) in path.match_indices('/') {
            let Some(parent) = path.get(..at) else {
                continue;
            };
            if let Some(node) = self.watched(parent, watch)
                && node.kind.is_none()
            {
                node.kind = Some(NodeKind::Directory);
            }
        }
    }
}

impl NodeKind {
    /// The content of a file.
    pub(crate) fn content(&self) -> Option<Vec<u8>> {
        match self {
            Self::File(text) => STANDARD.decode(text).ok(),
            _ => None,
        }
    }
}

/// By magic number, as runtimes do: gzip, zstd, or a plain archive.
fn decompress<'a>(reader: &'a mut (impl BufRead + 'a)) -> io::Result<Box<dyn Read + 'a>> {
    let start = reader.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader)));
    }
    let skippable = matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        // 128 MiB of window: what `zstd --long` may ask for at most.
        decoder.window_log_max(27)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(reader))
}

/// The path from the root without `.`, empty and `..` components, which cannot leave the root.
/// `None` for the root itself and for names that are not UTF-8, which are never watched.
pub(crate) fn clean(path: &[u8]) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in std::str::from_utf8(path).ok()?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::tar::tests::{archive, entry};

    fn watch() -> BTreeSet<String> {
        ["etc", "etc/passwd", "etc/group"].map(str::to_owned).into()
    }

    fn read(bytes: &[u8]) -> (LayerFacts, Digest) {
        LayerFacts::read(bytes, &watch(), 1 << 30).unwrap()
    }

    fn layer() -> Vec<u8> {
        archive(&[
            entry("./etc/", b'5', "", b""),
            entry("bin/sh", b'0', "", b"#!"),
            entry("/etc/passwd", b'0', "", b"first"),
            entry("etc/passwd", b'0', "", b"last"),
            entry("etc/.wh.group", b'0', "", b""),
            entry("etc/.wh..wh..opq", b'0', "", b""),
        ])
    }

    #[test]
    fn the_last_entry_counts_and_marks_are_seen() {
        let (facts, digest) = read(&layer());
        assert_eq!(digest, Digest::of(&layer()));
        let passwd = facts.node("etc/passwd").unwrap();
        assert_eq!(passwd.kind.as_ref().unwrap().content().unwrap(), b"last");
        assert!(facts.node("etc/group").unwrap().whiteout);
        assert!(facts.node("etc").unwrap().opaque);
        assert_eq!(facts.node("bin"), None);
    }

    #[test]
    fn every_compression_gives_the_same() {
        let plain = layer();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let (head, tail) = plain.split_at(700);
        let members: Vec<u8> = [head, tail]
            .into_iter()
            .flat_map(|part| {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(part).unwrap();
                gzip.finish().unwrap()
            })
            .collect();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd].concat();
        for compressed in [gzip, members, zstd, skippable] {
            assert_eq!(read(&compressed), read(&plain));
        }
    }

    #[test]
    fn bombs_and_damage_are_errors() {
        let bomb = zstd::encode_all(&archive(&[entry("a", b'0', "", &vec![0; 4 << 20])])[..], 1);
        assert!(LayerFacts::read(&bomb.unwrap()[..], &watch(), 1 << 20).is_err());
        let gzip = [&[0x1f, 0x8b][..], &[0; 40]].concat();
        assert!(LayerFacts::read(&gzip[..], &watch(), 1 << 20).is_err());
        assert!(LayerFacts::read(&b"no archive at all"[..], &watch(), 1 << 20).is_err());
    }

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(clean(b"../../etc/./passwd").unwrap(), "etc/passwd");
        assert_eq!(clean(b"a/../etc//passwd/").unwrap(), "etc/passwd");
        assert_eq!(clean(b"./"), None);
        assert_eq!(clean(b"\xff"), None);
    }
}
