//! What stays, what is resolved, and how two locks differ.

use nacre_imagelock::{
    Digest, Entry, ImageLock, ImageReference, LookupError, Platform, differences,
};

use crate::error::CommandError;
use crate::lock::Args;

/// What to do with the images in use.
pub(crate) struct Plan {
    /// Entries that stay as they are.
    pub(crate) kept: ImageLock,
    /// References to be resolved.
    pub(crate) to_resolve: Vec<ImageReference>,
}

impl Plan {
    pub(crate) fn new(
        used: &[ImageReference],
        present: &ImageLock,
        args: &Args,
    ) -> Result<Self, CommandError> {
        let updates = updates(&args.update, used)?;
        let mut plan = Self {
            kept: ImageLock::default(),
            to_resolve: Vec::new(),
        };
        for reference in used {
            // A check online asks the registry for everything: tags move.
            let anew = updates.covers(reference) || (args.check && !args.sources.offline);
            match entry_for(present, reference, &args.platform) {
                Some(entry) if !anew => drop(plan.kept.insert(entry.clone())),
                _ => plan.to_resolve.push(reference.clone()),
            }
        }
        Ok(plan)
    }
}

/// The entry that answers for a reference. One with test roots is there, only not for use.
fn entry_for<'l>(
    lock: &'l ImageLock,
    reference: &ImageReference,
    platform: &Platform,
) -> Option<&'l Entry> {
    match lock.lookup_for(&reference.to_string(), platform) {
        Ok(entry) => Some(entry),
        Err(LookupError::TestRoot { .. }) => lock.entry(reference),
        Err(_) => None,
    }
}

enum Updates {
    All,
    These(Vec<ImageReference>),
}

impl Updates {
    fn covers(&self, reference: &ImageReference) -> bool {
        match self {
            Self::All => true,
            Self::These(list) => list.iter().any(|wanted| means(wanted, reference)),
        }
    }
}

/// Whether a reference of `--update` means an image in use: the same, or the same apart from a
/// digest.
fn means(wanted: &ImageReference, used: &ImageReference) -> bool {
    let same_tag = wanted.tag_or_latest() == used.tag_or_latest();
    wanted.normalised() == used.normalised()
        || (wanted.same_repository(used)
            && same_tag
            && (wanted.digest().is_none() || used.digest().is_none()))
}

fn updates(texts: &[String], used: &[ImageReference]) -> Result<Updates, CommandError> {
    if texts.iter().any(|text| text == "*") {
        return Ok(Updates::All);
    }
    let mut list = Vec::new();
    for text in texts {
        let reference = ImageReference::parse(text)
            .map_err(|error| CommandError::usage(format!("--update: {error}: {}", error.reason)))?;
        if !used.iter().any(|image| means(&reference, image)) {
            let message = format!("--update {text}: no selected workload uses this image");
            return Err(CommandError::usage(message));
        }
        list.push(reference);
    }
    Ok(Updates::These(list))
}

/// How an image's entry differs between two locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Unchanged,
    Added,
    Removed,
    Changed {
        fields: Vec<&'static str>,
        before: Digest,
        after: Digest,
    },
}

impl State {
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed { .. } => "changed",
        }
    }
}

/// Every image of either lock, and every image in use, with its state; by normalised reference.
pub(crate) fn states(
    used: &[ImageReference],
    before: &ImageLock,
    after: &ImageLock,
    platform: &Platform,
) -> Vec<(String, State)> {
    let mut states = std::collections::BTreeMap::new();
    for old in before.entries() {
        let state = match after.entry(&old.reference) {
            None => State::Removed,
            Some(new) => {
                let fields = differences(old, new);
                match fields.is_empty() {
                    true => State::Unchanged,
                    false => State::Changed {
                        fields,
                        before: old.digest,
                        after: new.digest,
                    },
                }
            }
        };
        states.insert(old.reference.to_string(), state);
    }
    let new = after
        .entries()
        .filter(|e| before.entry(&e.reference).is_none());
    let missing = used
        .iter()
        .filter(|r| entry_for(after, r, platform).is_none());
    for reference in new
        .map(|e| e.reference.to_string())
        .chain(missing.map(|r| r.normalised()))
    {
        states.insert(reference, State::Added);
    }
    states.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> ImageReference {
        ImageReference::parse(text).unwrap()
    }

    #[test]
    fn an_update_means_an_image_by_any_spelling() {
        let digest = Digest::of(b"x");
        let pinned = format!("nginx:1@{digest}");
        for (wanted, used, same) in [
            ("nginx:1", "docker.io/library/nginx:1", true),
            ("nginx:1", pinned.as_str(), true),
            (pinned.as_str(), "nginx:1", true),
            ("nginx", "nginx:latest", true),
            ("nginx", "nginx:1", false),
            ("nginx:1", "other:1", false),
        ] {
            assert_eq!(
                means(&reference(wanted), &reference(used)),
                same,
                "{wanted} {used}"
            );
        }
    }

    #[test]
    fn every_difference_between_locks_is_named() {
        let entry =
            |text: &str, content: &str| Entry::new(reference(text), Digest::of(content.as_bytes()));
        let lock = |entries: Vec<Entry>| {
            let mut lock = ImageLock::default();
            for entry in entries {
                lock.insert(entry);
            }
            lock
        };
        let before = lock(vec![
            entry("a:1", "a"),
            entry("b:1", "b"),
            entry("c:1", "c"),
        ]);
        let after = lock(vec![
            entry("a:1", "a"),
            entry("b:1", "B"),
            entry("d:1", "d"),
        ]);
        let used = ["a:1", "b:1", "d:1", "e:1"].map(reference);
        let found = states(&used, &before, &after, &Platform::default());
        let words: Vec<_> = found
            .iter()
            .map(|(name, state)| (&name[18..], state.word()))
            .collect();
        let expected = [
            ("a:1", "unchanged"),
            ("b:1", "changed"),
            ("c:1", "removed"),
            ("d:1", "added"),
            ("e:1", "added"),
        ];
        assert_eq!(words, expected);
    }
}
