//! Finding a file in a stack of layers, from the top.
//!
//! A layer is asked for only when those above leave the question open, so lower layers are
//! often never fetched.

use std::collections::BTreeSet;

use crate::layer::{LayerFacts, NodeKind, clean};

/// Links followed before giving up, as the kernel does (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Gives the facts of a layer, counted from the bottom, about at least the watched paths.
pub(crate) type Layers<'a, E> =
    &'a mut dyn FnMut(usize, &BTreeSet<String>) -> Result<LayerFacts, E>;

/// What is known about a file: its content, or that there is none.
pub(crate) type Answer = Result<Option<Vec<u8>>, Unclear>;

/// Why a file cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclear {
    TooManyLinks,
    TooLarge,
    NotAFile,
}

impl Unclear {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::TooManyLinks => "it is a chain of links without end",
            Self::TooLarge => "it is larger than 1 MiB",
            Self::NotAFile => "it is not a file",
        }
    }
}

/// The content of a file, `None` if there is none.
pub(crate) fn find<E>(path: &str, layers: usize, layer: Layers<'_, E>) -> Result<Answer, E> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        match step(&path, layers, layer)? {
            Step::Found(content) => return Ok(Ok(Some(content))),
            Step::Absent => return Ok(Ok(None)),
            Step::Unclear(reason) => return Ok(Err(reason)),
            Step::Link(target) => match clean(target.as_bytes()) {
                Some(target) => path = target,
                None => return Ok(Err(Unclear::NotAFile)),
            },
        }
    }
    Ok(Err(Unclear::TooManyLinks))
}

enum Step {
    Found(Vec<u8>),
    Absent,
    Unclear(Unclear),
    Link(String),
}

fn step<E>(path: &str, layers: usize, layer: Layers<'_, E>) -> Result<Step, E> {
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()]);
    let prefixes: Vec<&str> = ends.filter_map(|end| path.get(..end)).collect();
    let watch: BTreeSet<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
    // Directories seen above: what a lower layer has in their place is hidden.
    let mut directories = BTreeSet::new();
    for index in (0..layers).rev() {
        let facts = layer(index, &watch)?;
        let mut hides_lower = facts.node("").is_some_and(|root| root.opaque);
        for prefix in &prefixes {
            let rest = path.get(prefix.len()..).unwrap_or_default();
            let last = rest.is_empty();
            let Some(node) = facts.node(prefix) else {
                break;
            };
            hides_lower |= node.whiteout || node.opaque;
            let parent = prefix.rsplit_once('/').map_or("", |(parent, _)| parent);
            match &node.kind {
                None => break,
                Some(NodeKind::Directory) if last => {
                    return Ok(Step::Unclear(Unclear::NotAFile));
                }
                Some(NodeKind::Directory) => {
                    directories.insert(*prefix);
                }
                Some(_) if directories.contains(prefix) => return Ok(Step::Absent),
                Some(NodeKind::Link(target)) if target.starts_with('/') => {
                    return Ok(Step::Link(format!("{target}{rest}")));
                }
                Some(NodeKind::Link(target)) => {
                    return Ok(Step::Link(format!("{parent}/{target}{rest}")));
                }
                Some(NodeKind::HardLink(target)) if last => {
                    return Ok(Step::Link(target.clone()));
                }
                Some(NodeKind::LargeFile) if last => return Ok(Step::Unclear(Unclear::TooLarge)),
                Some(kind @ NodeKind::File(_)) if last => {
                    return Ok(match kind.content() {
                        Some(content) => Step::Found(content),
                        None => Step::Absent,
                    });
                }
                Some(_) if last => return Ok(Step::Unclear(Unclear::NotAFile)),
                Some(_) => return Ok(Step::Absent),
            }
        }
        if hides_lower {
            return Ok(Step::Absent);
        }
    }
    Ok(Step::Absent)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::tar::tests::{archive, entry};

    type Layer = Vec<Vec<u8>>;

    fn file(path: &str, content: &str) -> Vec<u8> {
        entry(path, b'0', "", content.as_bytes())
    }

    fn link(path: &str, target: &str) -> Vec<u8> {
        entry(path, b'2', target, b"")
    }

    /// The answer for `etc/passwd` and the lowest layer that was asked for.
    fn ask(layers: &[Layer]) -> (Result<Option<String>, Unclear>, usize) {
        let mut lowest = layers.len();
        let mut layer = |index: usize, watch: &BTreeSet<String>| {
            lowest = lowest.min(index);
            Ok::<_, Infallible>(
                LayerFacts::read(&archive(&layers[index])[..], watch, 1 << 20)
                    .unwrap()
                    .0,
            )
        };
        let Ok(found) = find("etc/passwd", layers.len(), &mut layer);
        (
            found.map(|c| c.map(|c| String::from_utf8(c).unwrap())),
            lowest,
        )
    }

    fn some(text: &str) -> Result<Option<String>, Unclear> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn the_highest_layer_wins_and_lower_ones_are_not_fetched() {
        let base = vec![file("etc/passwd", "low")];
        let other = vec![file("bin/sh", "")];
        let top = vec![file("etc/passwd", "high")];
        assert_eq!(ask(&[base.clone(), top, other.clone()]), (some("high"), 1));
        assert_eq!(ask(&[base, other]), (some("low"), 0));
        assert_eq!(ask(&[]).0, Ok(None));
    }

    #[test]
    fn whiteouts_hide_lower_layers_only() {
        let base = || vec![file("etc/passwd", "low")];
        let hidden = [
            vec![file("etc/.wh.passwd", "")],
            vec![file(".wh.etc", "")],
            vec![file("etc/.wh..wh..opq", "")],
            vec![file(".wh..wh..opq", "")],
            vec![file("etc/.wh..wh..opq", ""), file("etc/hosts", "x")],
            vec![file("etc", "a file now")],
        ];
        for top in hidden {
            assert_eq!(ask(&[base(), top.clone()]), (Ok(None), 1), "{top:?}");
        }
        let again = vec![file("etc/.wh.passwd", ""), file("etc/passwd", "new")];
        assert_eq!(ask(&[base(), again]), (some("new"), 1));
        let elsewhere = vec![file("etc/.wh.group", ""), file("srv/.wh..wh..opq", "")];
        assert_eq!(ask(&[base(), elsewhere]), (some("low"), 0));
    }

    #[test]
    fn a_directory_hides_what_was_no_directory() {
        let base = vec![link("etc", "/usr/etc"), file("usr/etc/passwd", "linked")];
        let top = vec![file("etc/hosts", "")];
        assert_eq!(ask(&[base, top]).0, Ok(None));
    }

    #[test]
    fn links_are_followed_inside_the_image() {
        let cases: [(Layer, &str); 5] = [
            (
                vec![link("etc", "usr/etc"), file("usr/etc/passwd", "a")],
                "a",
            ),
            (vec![link("etc/passwd", "/nix/p"), file("nix/p", "b")], "b"),
            (
                vec![link("etc/passwd", "../../../x/p"), file("x/p", "c")],
                "c",
            ),
            (
                vec![
                    file("etc/p-", "d"),
                    entry("etc/passwd", b'1', "./etc/p-", b""),
                ],
                "d",
            ),
            (
                vec![
                    link("etc/passwd", "p1"),
                    link("etc/p1", "p2"),
                    file("etc/p2", "e"),
                ],
                "e",
            ),
        ];
        for (layer, content) in cases {
            assert_eq!(ask(&[layer]).0, some(content));
        }
        // The target may lie in another layer.
        let layers = [vec![file("x/p", "f")], vec![link("etc/passwd", "/x/p")]];
        assert_eq!(ask(&layers).0, some("f"));
    }

    #[test]
    fn links_without_end_and_other_nodes_are_unclear() {
        let circle = vec![link("etc/passwd", "b"), link("etc/b", "passwd")];
        assert_eq!(ask(&[circle]).0, Err(Unclear::TooManyLinks));
        assert_eq!(
            ask(&[vec![link("etc/passwd", "/")]]).0,
            Err(Unclear::NotAFile)
        );
        assert_eq!(
            ask(&[vec![entry("etc/passwd", b'5', "", b"")]]).0,
            Err(Unclear::NotAFile)
        );
        assert_eq!(
            ask(&[vec![entry("etc/passwd", b'3', "", b"")]]).0,
            Err(Unclear::NotAFile)
        );
        assert_eq!(ask(&[vec![link("etc/passwd", "/none")]]).0, Ok(None));
    }
}
