//! Local sources: OCI layout folders, OCI archives and docker-save archives.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nacre_imagelock::{Digest, ImageReference, Source};
use serde::Deserialize;

use crate::content::{Blob, read_limited};
use crate::error::Error;
use crate::layer::clean;
use crate::manifest::{Child, Document};
use crate::tar::{Archive, Kind};

/// Largest index, manifest or configuration in a store.
const SMALL: u64 = 16 << 20;
/// Most that a compressed archive may unpack to.
const MAX_UNPACKED: u64 = 256 << 30;
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

/// A folder or file to take images from, written `PATH` or `IMAGE=PATH`; the latter for a store
/// that does not say the full name of its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStore {
    /// Where it is.
    pub path: PathBuf,
    /// What its image is called.
    pub image: Option<ImageReference>,
}

impl FromStr for LocalStore {
    type Err = nacre_imagelock::ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            // A path that has the character and begins like none: `./a=b`.
            Some((image, path)) if !image.starts_with(['.', '/']) => Ok(Self {
                path: path.into(),
                image: Some(ImageReference::parse(image)?),
            }),
            _ => Ok(Self {
                path: text.into(),
                image: None,
            }),
        }
    }
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    local: LocalStore,
    content: Content,
    images: Vec<Child>,
    legacy: Vec<Legacy>,
}

#[derive(Debug)]
enum Content {
    Folder,
    /// Position and size of every member.
    Archive {
        file: File,
        members: BTreeMap<String, (u64, u64)>,
    },
}

/// An image of a docker-save archive without OCI index: no manifest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawLegacy {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Legacy {
    pub(crate) config: Digest,
    config_member: String,
    names: Vec<String>,
    /// Members by the digest of their content.
    layers: Vec<(Digest, String)>,
}

/// What a store knows about an image.
pub(crate) enum Found<'a> {
    /// A manifest or index.
    Manifest(Blob),
    /// Configuration and layers only.
    Legacy(&'a Legacy),
}

impl Store {
    /// An OCI layout folder.
    pub(crate) fn layout(local: &LocalStore) -> Result<Self, Error> {
        let store = Self::new(local, Content::Folder);
        let index = store.member("index.json")?;
        let index = index.ok_or_else(|| store.fail("no index.json: not an OCI layout"))?;
        store.with_index(&index)
    }

    /// An OCI or docker-save archive, gzip-compressed or not.
    pub(crate) fn archive(local: &LocalStore) -> Result<Self, Error> {
        let fail = || Error::file(&local.path);
        let mut file = File::open(&local.path).map_err(fail())?;
        let mut magic = [0; 2];
        let gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
        file.seek(SeekFrom::Start(0)).map_err(fail())?;
        if gzip {
            let plain = flate2::read::MultiGzDecoder::new(BufReader::new(file));
            let mut unpacked = tempfile::tempfile().map_err(fail())?;
            io::copy(&mut plain.take(MAX_UNPACKED), &mut unpacked).map_err(fail())?;
            file = unpacked;
            file.seek(SeekFrom::Start(0)).map_err(fail())?;
        }
        let members = members(&file).map_err(|e| Error::Store {
            path: local.path.clone(),
            reason: format!("not a tar archive: {e}"),
        })?;
        let mut store = Self::new(local, Content::Archive { file, members });
        if let Some(index) = store.member("index.json")? {
            return store.with_index(&index);
        }
        let legacy = store.member("manifest.json")?;
        let legacy = legacy.ok_or_else(|| {
            store.fail("neither index.json nor manifest.json: not an archive of images")
        })?;
        let legacy: Vec<RawLegacy> = serde_json::from_slice(&legacy)
            .map_err(|e| store.fail(format!("manifest.json: {e}")))?;
        let legacy: Result<_, _> = legacy
            .into_iter()
            .map(|raw| store.legacy_image(raw))
            .collect();
        store.legacy = legacy?;
        Ok(store)
    }

    fn new(local: &LocalStore, content: Content) -> Self {
        Self {
            local: local.clone(),
            content,
            images: Vec::new(),
            legacy: Vec::new(),
        }
    }

    fn with_index(mut self, index: &[u8]) -> Result<Self, Error> {
        let what = self.path().display().to_string();
        match Document::parse(&what, index)? {
            Document::Index(images) => self.images = images,
            Document::Manifest(_) => return Err(self.fail("index.json is no index")),
        }
        Ok(self)
    }

    fn legacy_image(&self, raw: RawLegacy) -> Result<Legacy, Error> {
        let config = self.member(&raw.config)?;
        let config = config.ok_or_else(|| self.fail(format!("{} is missing", raw.config)))?;
        let what = format!("{}: {}", self.path().display(), raw.config);
        let parsed = crate::manifest::Config::parse(&what, &config)?;
        if parsed.diff_ids.len() != raw.layers.len() {
            return Err(self.fail("manifest.json and the configuration disagree about layers"));
        }
        let names = raw.repo_tags.unwrap_or_default();
        let names = names.iter().filter_map(|n| normalised(n)).collect();
        let layers = parsed.diff_ids.into_iter().zip(raw.layers).collect();
        Ok(Legacy {
            config: Digest::of(&config),
            config_member: raw.config,
            names,
            layers,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.local.path
    }

    pub(crate) const fn source(&self) -> Source {
        match self.content {
            Content::Folder => Source::Layout,
            Content::Archive { .. } => Source::Archive,
        }
    }

    fn fail(&self, reason: impl Into<String>) -> Error {
        Error::Store {
            path: self.path().to_owned(),
            reason: reason.into(),
        }
    }

    /// What the store has under this reference: by the name the user gave the store, by the
    /// names written in it, or by digest.
    pub(crate) fn find(&self, reference: &ImageReference) -> Result<Option<Found<'_>>, Error> {
        let wanted = names(reference);
        if let Some(image) = &self.local.image {
            let by_digest = reference.tag().is_none() && reference.digest().is_some();
            let same_repository = by_digest && image.same_repository(reference);
            if !same_repository && !wanted.contains(&image.normalised()) {
                return Ok(None);
            }
            return match (self.images.as_slice(), self.legacy.as_slice()) {
                ([image], []) => Ok(Some(Found::Manifest(image.blob))),
                ([], [image]) => Ok(Some(Found::Legacy(image))),
                ([], []) => Err(self.fail("it has no image")),
                _ => match self.images.iter().find(|i| tag(i) == reference.tag()) {
                    Some(image) if reference.tag().is_some() => {
                        Ok(Some(Found::Manifest(image.blob)))
                    }
                    _ => Err(self.fail(format!("it has several images, none tagged as {image}"))),
                },
            };
        }
        let named = self.images.iter().find(|image| {
            let mut annotated = [CONTAINERD_NAME, OCI_NAME].into_iter();
            annotated.any(|key| {
                let name = image.annotations.get(key).and_then(|n| full_name(n));
                name.is_some_and(|name| wanted.contains(&name))
            })
        });
        if let Some(image) = named {
            return Ok(Some(Found::Manifest(image.blob)));
        }
        // Content is content, whatever it is called.
        if let Some(digest) = reference.digest()
            && let Some(bytes) = self.member(&blob_path(digest))?
        {
            let size = bytes.len() as u64;
            return Ok(Some(Found::Manifest(Blob {
                digest: *digest,
                size,
            })));
        }
        let legacy = self
            .legacy
            .iter()
            .find(|l| l.names.iter().any(|n| wanted.contains(n)));
        Ok(legacy.map(Found::Legacy))
    }

    /// A manifest or configuration; not verified yet.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let legacy = self.legacy.iter().find(|l| l.config == *digest);
        match legacy {
            Some(legacy) => self.member(&legacy.config_member),
            None => self.member(&blob_path(digest)),
        }
    }

    /// A layer's blob; not verified yet.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, Error> {
        self.open(&blob_path(digest))
    }

    /// A layer's uncompressed archive; not verified yet.
    pub(crate) fn open_diff(&self, diff_id: &Digest) -> Result<Option<Box<dyn Read + '_>>, Error> {
        let mut layers = self.legacy.iter().flat_map(|l| &l.layers);
        match layers.find(|(digest, _)| digest == diff_id) {
            Some((_, member)) => self.open(member),
            None => Ok(None),
        }
    }

    fn member(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(reader) = self.open(name)? else {
            return Ok(None);
        };
        let bytes = read_limited(reader, SMALL).map_err(Error::file(self.path().join(name)))?;
        bytes
            .ok_or_else(|| self.fail(format!("{name} is too large")))
            .map(Some)
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, Error> {
        // Names come from the store itself; none may lead out of it.
        let Some(name) = clean(name.as_bytes()) else {
            return Ok(None);
        };
        match &self.content {
            Content::Folder => {
                let path = self.path().join(&name);
                match File::open(&path) {
                    Ok(file) => Ok(Some(Box::new(BufReader::new(file)))),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(Error::File { path, source }),
                }
            }
            Content::Archive { file, members } => Ok(members.get(&name).map(|(position, size)| {
                let section = Section {
                    file,
                    position: *position,
                    rest: *size,
                };
                Box::new(BufReader::with_capacity(64 << 10, section)) as Box<dyn Read>
            })),
        }
    }
}

/// A part of a file, read without moving a shared cursor.
struct Section<'a> {
    file: &'a File,
    position: u64,
    rest: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.rest)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.position)?;
        self.position += read as u64;
        self.rest -= read as u64;
        Ok(read)
    }
}

fn members(file: &File) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let whole = Section {
        file,
        position: 0,
        rest: u64::MAX,
    };
    let mut archive = Archive::new(whole);
    let mut members = BTreeMap::new();
    let mut links = Vec::new();
    while let Some(entry) = archive.next()? {
        let Some(path) = clean(&entry.path) else {
            continue;
        };
        match entry.kind {
            Kind::File => drop(members.insert(path, (entry.position, entry.size))),
            // Older Docker links equal layers: `<id>/layer.tar` to `../<id>/layer.tar`.
            Kind::Symlink | Kind::HardLink => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                let base = if entry.kind == Kind::Symlink {
                    parent
                } else {
                    ""
                };
                let target = [base.as_bytes(), b"/", &entry.link].concat();
                links.extend(clean(&target).map(|target| (path, target)));
            }
            Kind::Directory | Kind::Other => {}
        }
    }
    for (path, target) in links {
        if let Some(found) = members.get(&target).copied() {
            members.insert(path, found);
        }
    }
    Ok(members)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What a store may call the image: its full reference, and that without the digest.
fn names(reference: &ImageReference) -> Vec<String> {
    let mut names = vec![reference.normalised()];
    if let (Some(tag), Some(_)) = (reference.tag(), reference.digest()) {
        let (registry, repository) = (reference.registry(), reference.repository());
        names.push(format!("{registry}/{repository}:{tag}"));
    }
    names
}

/// A name with a registry or at least a tag; a bare word in an annotation is only a tag.
fn full_name(name: &str) -> Option<String> {
    if name.contains(['/', ':']) {
        normalised(name)
    } else {
        None
    }
}

fn normalised(name: &str) -> Option<String> {
    ImageReference::parse(name).ok().map(|r| r.normalised())
}

fn tag(image: &Child) -> Option<&str> {
    let name = image.annotations.get(OCI_NAME)?;
    Some(name.rsplit_once(':').map_or(name.as_str(), |(_, tag)| tag))
}
