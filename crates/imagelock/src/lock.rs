//! The lock: entries by reference, looked up, merged.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::entry::{Entry, Platform};
use crate::reference::{ImageReference, ReferenceError};

/// Name of a lock that has no other.
pub const DEFAULT_NAME: &str = "images";

/// The images of a deployment, each resolved to a digest and to the facts a policy needs.
///
/// ```
/// use nacre_imagelock::{Digest, Entry, ImageLock, ImageReference};
///
/// let reference = ImageReference::parse("nginx:1.27")?;
/// let mut lock = ImageLock::default();
/// lock.insert(Entry::new(reference, Digest::of(b"manifest")));
///
/// let entry = lock.lookup("docker.io/library/nginx:1.27")?;
/// assert_eq!(entry.digest, Digest::of(b"manifest"));
/// assert!(lock.lookup("nginx:1.28").is_err());
/// assert_eq!(ImageLock::from_value(&lock.to_value())?, lock);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLock {
    /// `metadata.name`.
    pub name: String,
    /// By normalised reference.
    entries: BTreeMap<String, Entry>,
}

impl Default for ImageLock {
    fn default() -> Self {
        Self {
            name: DEFAULT_NAME.to_owned(),
            entries: BTreeMap::new(),
        }
    }
}

impl ImageLock {
    /// Adds an entry, in place of any of the same reference, which is returned. Its reference
    /// is brought into normalised form.
    pub fn insert(&mut self, mut entry: Entry) -> Option<Entry> {
        entry.reference = entry.reference.into_normalised();
        self.entries.insert(entry.reference.to_string(), entry)
    }

    /// Removes the entry of exactly this reference.
    pub fn remove(&mut self, reference: &ImageReference) -> Option<Entry> {
        self.entries.remove(&reference.normalised())
    }

    /// The entry filed under exactly this reference, unchecked.
    pub fn entry(&self, reference: &ImageReference) -> Option<&Entry> {
        self.entries.get(&reference.normalised())
    }

    /// All entries, in the order of their normalised references.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry for an image as a pod spec names it, for `linux/amd64`.
    ///
    /// `nginx`, `nginx:latest` and `docker.io/library/nginx:latest` are one image; nothing is
    /// assumed about a tag that is not in the lock. A digest in the reference must be the
    /// entry's manifest or index digest. What is returned has been verified: platform,
    /// [`Entry::default_user`], no test roots.
    pub fn lookup(&self, image: &str) -> Result<&Entry, LookupError> {
        self.lookup_for(image, &Platform::default())
    }

    /// As [`lookup`](Self::lookup), for another platform.
    pub fn lookup_for(&self, image: &str, platform: &Platform) -> Result<&Entry, LookupError> {
        let reference = ImageReference::parse(image)?;
        let entry = self.find(&reference)?;
        verify(entry, &reference, platform)?;
        Ok(entry)
    }

    fn find(&self, reference: &ImageReference) -> Result<&Entry, LookupError> {
        let missing = || LookupError::Missing {
            image: reference.to_string(),
        };
        let exact = self.entry(reference);
        let Some(digest) = reference.digest() else {
            return exact.ok_or_else(missing);
        };
        let tagged = || self.entry(&reference.without_digest()?);
        if let Some(entry) = exact.or_else(tagged) {
            return match answers_for(entry, digest) {
                true => Ok(entry),
                false => Err(LookupError::DigestMismatch {
                    image: reference.to_string(),
                    written: *digest,
                    locked: entry.digest,
                }),
            };
        }
        // `name@digest`: content is what counts, so any tag of the repository will do.
        self.entries()
            .find(|e| e.reference.same_repository(reference) && answers_for(e, digest))
            .ok_or_else(missing)
    }

    /// Takes in the entries of another lock. Where both have an entry for a reference the two
    /// must be the same but for [`Entry::source`]; nothing is changed otherwise.
    pub fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        let conflicts: Vec<_> = other
            .entries
            .iter()
            .filter_map(|(key, theirs)| {
                let fields = differences(self.entries.get(key)?, theirs);
                (!fields.is_empty()).then(|| Conflict {
                    reference: key.clone(),
                    fields,
                })
            })
            .collect();
        if !conflicts.is_empty() {
            return Err(MergeError { conflicts });
        }
        for (key, entry) in other.entries {
            self.entries.entry(key).or_insert(entry);
        }
        Ok(())
    }

    /// Takes in the entries of another lock, which wins where both have one: the user's lock
    /// over the one of a release.
    pub fn override_with(&mut self, other: Self) {
        self.entries.extend(other.entries);
    }
}

fn answers_for(entry: &Entry, digest: &Digest) -> bool {
    entry.digest == *digest || entry.index_digest == Some(*digest)
}

fn verify(entry: &Entry, asked: &ImageReference, platform: &Platform) -> Result<(), LookupError> {
    let image = || asked.to_string();
    if entry.platform != *platform {
        return Err(LookupError::Platform {
            image: image(),
            locked: entry.platform.to_string(),
            wanted: platform.to_string(),
        });
    }
    if let Some(own) = entry.reference.digest()
        && !answers_for(entry, own)
    {
        return Err(LookupError::DigestMismatch {
            image: image(),
            written: *own,
            locked: entry.digest,
        });
    }
    if entry.resolved_user.is_some() && entry.resolved_user != entry.default_user() {
        return Err(LookupError::User { image: image() });
    }
    if entry.has_test_root() {
        return Err(LookupError::TestRoot { image: image() });
    }
    Ok(())
}

/// Names of the fields in which two entries differ, in the lock's spelling. The source does
/// not count.
pub fn differences(a: &Entry, b: &Entry) -> Vec<&'static str> {
    let fields = [
        ("digest", a.digest == b.digest),
        ("indexDigest", a.index_digest == b.index_digest),
        ("configDigest", a.config_digest == b.config_digest),
        ("platform", a.platform == b.platform),
        ("sizeBytes", a.size_bytes == b.size_bytes),
        ("config", a.config == b.config),
        ("resolvedUser", a.resolved_user == b.resolved_user),
        ("users", a.users == b.users),
        ("layers", a.layers == b.layers),
    ];
    fields
        .into_iter()
        .filter(|(_, same)| !same)
        .map(|(name, _)| name)
        .collect()
}

/// Why the lock has no answer for an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The pod spec's image is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// No entry.
    #[error("image {image} is not in the image lock")]
    Missing {
        /// The reference as written.
        image: String,
    },
    /// The reference carries a digest which is not the locked one.
    #[error("image {image} is written with {written}, the image lock has {locked}")]
    DigestMismatch {
        /// The reference as written.
        image: String,
        /// The digest in the reference.
        written: Digest,
        /// The manifest digest in the lock.
        locked: Digest,
    },
    /// Locked for another platform.
    #[error("image {image} is locked for {locked}, {wanted} is needed")]
    Platform {
        /// The reference as written.
        image: String,
        /// The entry's platform.
        locked: String,
        /// The platform asked for.
        wanted: String,
    },
    /// `resolvedUser` does not follow from the image's user, passwd and group.
    #[error("the user recorded for image {image} contradicts the facts beside it")]
    User {
        /// The reference as written.
        image: String,
    },
    /// Built with test roots.
    #[error("image {image} was built with test roots (label nacre.dev/test-root)")]
    TestRoot {
        /// The reference as written.
        image: String,
    },
}

impl LookupError {
    /// The number of the finding code (`NCR0301`: 301).
    pub const fn code(&self) -> u16 {
        match self {
            Self::Missing { .. } => 301,
            Self::Reference(_) => 302,
            Self::DigestMismatch { .. } => 303,
            Self::Platform { .. } => 304,
            Self::User { .. } => 305,
            Self::TestRoot { .. } => 306,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Reference(error) => error.reason.to_string(),
            Self::Missing { .. } => "run `nacre lock PATH…` with the files or folders that name it; an image that \
                                     you built yourself is locked from where it is, with `--layout FOLDER`"
                .to_owned(),
            Self::DigestMismatch { image, .. } | Self::User { image } => format!(
                "run `nacre lock --update {image} PATH…` with the files that name it, or correct the reference"
            ),
            Self::Platform { image, wanted, .. } => format!(
                "run `nacre lock --platform {wanted} --update {image} PATH…` with the files that name it"
            ),
            Self::TestRoot { .. } => {
                "use a release image: one with test roots accepts simulated evidence".to_owned()
            }
        }
    }
}

/// Two locks that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image locks contradict each other: {}", listed(.conflicts))]
#[non_exhaustive]
pub struct MergeError {
    /// Every reference on which they differ.
    pub conflicts: Vec<Conflict>,
}

/// One reference with two different entries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The normalised reference.
    pub reference: String,
    /// The fields that differ.
    pub fields: Vec<&'static str>,
}

fn listed(conflicts: &[Conflict]) -> String {
    let one = |c: &Conflict| format!("{} ({})", c.reference, c.fields.join(", "));
    conflicts.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
