//! A text of one or many YAML documents, kept byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::emit;
use crate::error::{Error, Position};
use crate::limits::Limits;
use crate::parse::{self, Parsed};
use crate::path::{Path, Step};
use crate::read::Reader;
use crate::rewrite;
use crate::split;
use crate::tree::{Id, Kind, Tree};

/// A parsed text. Printing it gives the text back, byte for byte.
///
/// ```
/// use nacre_krm::{Path, Stream};
///
/// let text = "kind: Pod # one\n---\n# nothing but a comment\n";
/// let stream = Stream::parse(text)?;
/// assert_eq!(stream.text(), text);
/// assert_eq!(stream.documents().len(), 2);
/// assert!(stream.documents()[1].is_empty());
/// assert_eq!(stream.documents()[0].str_at(&Path::root().key("kind")).as_deref(), Some("Pod"));
/// # Ok::<(), nacre_krm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    source: Arc<Source>,
    documents: Vec<Document>,
}

/// A text and where its lines start.
#[derive(Debug)]
struct Source {
    text: String,
    lines: OnceLock<Vec<u32>>,
}

/// One document of a [`Stream`].
#[derive(Clone, Debug)]
pub struct Document {
    source: Arc<Source>,
    range: Range<usize>,
    tree: Tree,
}

/// A Kubernetes object in a stream: a whole document, or an item of a list in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Index in [`Stream::documents`].
    pub document: usize,
    /// Where in the document: the root, or `items[3]`.
    pub base: Path,
}

/// Texts below this size are parsed by one thread: starting more costs as much.
const PARALLEL_FROM: usize = 256 << 10;

impl Stream {
    /// Reads a text within the default [`Limits`].
    pub fn parse(text: impl Into<String>) -> Result<Self, Error> {
        Self::parse_with(text, &Limits::default())
    }

    /// Reads bytes, which must be UTF-8.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_bytes_with(bytes, &Limits::default())
    }

    /// Reads bytes, which must be UTF-8, within other limits.
    pub fn parse_bytes_with(bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        check_size(bytes.len(), limits)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse_with(text, limits),
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let valid = std::str::from_utf8(valid).unwrap_or_default();
                Err(Error::Encoding {
                    at: Position::of(valid, valid.len()),
                    encoding: match bytes {
                        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16; save it as UTF-8",
                        [0x1f, 0x8b, ..] => "gzip; unpack it first",
                        _ => "another encoding, or not a text at all",
                    },
                })
            }
        }
    }

    /// Reads a text within other limits.
    pub fn parse_with(text: impl Into<String>, limits: &Limits) -> Result<Self, Error> {
        let text = text.into();
        check_size(text.len(), limits)?;
        check_characters(&text)?;
        let parsed = parse_all(&text, limits)?;
        let source = Arc::new(Source {
            text,
            lines: OnceLock::new(),
        });
        let mut from = 0;
        let mut documents = Vec::with_capacity(parsed.len());
        for Parsed { end, tree } in parsed {
            documents.push(Document {
                source: Arc::clone(&source),
                range: from..end,
                tree,
            });
            from = end;
        }
        if let Some(over) = documents.get(limits.documents) {
            return Err(Error::Documents {
                at: over.place(over.range.start),
                limit: limits.documents,
            });
        }
        Ok(Self { source, documents })
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// The documents in order; their texts make up the whole text. Empty for a text of blanks.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The objects in order: documents that are not empty, with `kind: List`, other lists of
    /// objects and the `items` of a ResourceList unpacked.
    pub fn objects(&self) -> Vec<ObjectRef> {
        let mut objects = Vec::new();
        for (index, document) in self.documents.iter().enumerate() {
            document.collect(Id::ROOT, &Path::root(), &mut |base| {
                objects.push(ObjectRef {
                    document: index,
                    base,
                });
            });
        }
        objects
    }

    /// The text with some documents replaced, by index, and new documents at the end.
    pub fn render(&self, rewritten: &BTreeMap<usize, String>, appended: &[Value]) -> String {
        let mut out = String::with_capacity(self.text().len() + 1024);
        if self.documents.is_empty() {
            out.push_str(self.text());
        }
        let last = self.documents.len().saturating_sub(1);
        for (index, document) in self.documents.iter().enumerate() {
            let text = rewritten
                .get(&index)
                .map_or(document.text(), String::as_str);
            if index == last && !appended.is_empty() && !text.ends_with(['\n', '\r']) {
                out.push_str(&rewrite::with_final_newline(text));
            } else {
                out.push_str(text);
            }
        }
        let newline = rewrite::newline(self.text());
        for value in appended {
            if !out.trim_start_matches('\u{feff}').is_empty() {
                if !out.ends_with(['\n', '\r']) {
                    out.push_str(newline);
                }
                out.push_str("---");
                out.push_str(newline);
            }
            let document = emit::emit(value);
            if newline == "\n" {
                out.push_str(&document);
            } else {
                out.push_str(&document.replace('\n', newline));
            }
        }
        out
    }
}

fn check_size(size: usize, limits: &Limits) -> Result<(), Error> {
    // Offsets in the tree have 32 bits.
    let limit = limits.bytes.min(u32::MAX as usize - 1);
    if size > limit {
        return Err(Error::Size { size, limit });
    }
    Ok(())
}

/// Refuses what YAML calls not printable, as Go's reader does, and the line ends that only YAML 1.1
/// has.
fn check_characters(text: &str) -> Result<(), Error> {
    let bytes = text.as_bytes();
    let follows = |i: usize, n: usize| bytes.get(i + n).copied().unwrap_or(0);
    let odd = bytes.iter().enumerate().find(|(i, b)| match b {
        b'\t' | b'\n' | b'\r' => false,
        0..=0x1f | 0x7f => true,
        // U+0080 to U+009F.
        0xc2 => follows(*i, 1) <= 0x9f,
        // U+2028 and U+2029.
        0xe2 => follows(*i, 1) == 0x80 && matches!(follows(*i, 2), 0xa8 | 0xa9),
        // U+FFFE and U+FFFF.
        0xef => follows(*i, 1) == 0xbf && follows(*i, 2) >= 0xbe,
        _ => false,
    });
    match odd {
        None => Ok(()),
        Some((at, _)) => Err(Error::Character {
            at: Position::of(text, at),
            character: text
                .get(at..)
                .and_then(|t| t.chars().next())
                .map_or(0, u32::from),
        }),
    }
}

fn parse_all(text: &str, limits: &Limits) -> Result<Vec<Parsed>, Error> {
    let starts = split::starts(text).map_err(|at| Error::Separator {
        at: Position::of(text, at),
    })?;
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    let parts: Vec<Range<usize>> = starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(a, b)| a..b)
        .collect();
    let threads = match limits.threads {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        n => n,
    };
    if threads < 2 || text.len() < PARALLEL_FROM || parts.len() < 2 {
        return parse_parts(text, &parts, limits);
    }
    let groups = group(&parts, text.len(), threads);
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = groups
            .iter()
            .map(|group| scope.spawn(move || parse_parts(text, group, limits)))
            .collect();
        workers
            .into_iter()
            .map(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect::<Vec<_>>()
    });
    let mut all = Vec::with_capacity(parts.len());
    for result in results {
        all.extend(result?);
    }
    Ok(all)
}

fn parse_parts(text: &str, parts: &[Range<usize>], limits: &Limits) -> Result<Vec<Parsed>, Error> {
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        let documents = parse::parse(text, part.start, part.end, limits)?;
        if documents.is_empty() && text.get(part.clone()).is_some_and(|t| t.contains('#')) {
            // Comments alone are a document too, so that they are kept and counted.
            all.push(Parsed {
                end: part.end,
                tree: Tree::empty(part.start),
            });
        }
        all.extend(documents);
    }
    Ok(all)
}

/// Neighbouring parts of about equal size, one group a thread.
fn group(parts: &[Range<usize>], bytes: usize, threads: usize) -> Vec<&[Range<usize>]> {
    let share = bytes / threads + 1;
    parts
        .chunk_by(|a, b| a.start / share == b.start / share)
        .collect()
}

impl Document {
    /// The text of this document, with its marker and the comments around it.
    pub fn text(&self) -> &str {
        self.source.text.get(self.range.clone()).unwrap_or_default()
    }

    /// Where the text stands in that of the stream, in bytes.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Whether there is no value: comments only, or null.
    pub fn is_empty(&self) -> bool {
        self.reader().value_is_null(Id::ROOT)
    }

    /// The value at a path as Kubernetes reads it, aliases and merge keys resolved.
    pub fn value(&self, at: &Path) -> Option<Value> {
        let reader = self.reader();
        Some(reader.value(reader.at(at.steps())?))
    }

    /// The string at a path; `None` also for what is not a string. Converts nothing else.
    pub fn str_at(&self, at: &Path) -> Option<Cow<'_, str>> {
        let reader = self.reader();
        reader.str(reader.at(at.steps())?)
    }

    /// Where the node at a path stands, or the nearest node around it that exists.
    ///
    /// A block mapping or list under a key is shown at its key.
    pub fn position(&self, at: &Path) -> Position {
        let reader = self.reader();
        let mut id = Id::ROOT;
        let mut shown = None;
        for step in at.steps() {
            let container = self.tree.follow(id);
            let Some(next) = reader.step(container, step) else {
                break;
            };
            let key = match step {
                Step::Key(_) => self
                    .tree
                    .entries(container)
                    .find(|(_, value)| *value == next)
                    .map(|(key, _)| key),
                Step::Index(_) => None,
            };
            shown = match self.tree.node(next).kind {
                Kind::Map | Kind::Seq | Kind::Empty => key,
                _ => None,
            };
            id = next;
        }
        let at = self.tree.outer_start(shown.unwrap_or(id));
        self.place(at.max(self.range.start))
    }

    /// The text of this document after minimal edits that make the node at each path read as the
    /// value.
    ///
    /// Nodes that already read so, and all text around the edits, stay byte for byte. A path whose
    /// last steps do not exist is made. The result is parsed again and compared before it is
    /// returned.
    pub fn rewrite(&self, desired: &[(Path, Value)]) -> Result<String, Error> {
        rewrite::rewrite(self, desired)
    }

    /// [`rewrite`](Self::rewrite) without the check. For measuring what the check costs, nothing
    /// else.
    pub fn rewrite_unchecked(&self, desired: &[(Path, Value)]) -> Result<String, Error> {
        rewrite::rewrite_unchecked(self, desired)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) fn source(&self) -> &str {
        &self.source.text
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.source.text, &self.tree)
    }

    /// The position of a byte of the stream's text.
    pub(crate) fn place(&self, offset: usize) -> Position {
        self.source.position(offset)
    }

    /// Visits the objects at and inside a node.
    fn collect(&self, id: Id, base: &Path, found: &mut dyn FnMut(Path)) {
        let reader = self.reader();
        if reader.value_is_null(id) {
            return;
        }
        let Some(items) = self.list_items(id) else {
            return found(base.clone());
        };
        let items_base = base.key("items");
        for (index, item) in self.tree.items(items).enumerate() {
            self.collect(self.tree.follow(item), &items_base.index(index), found);
        }
    }

    /// The `items` of a list of objects.
    fn list_items(&self, id: Id) -> Option<Id> {
        let reader = self.reader();
        if !self.tree.node(id).kind.is_map() {
            return None;
        }
        let kind = reader.str(reader.get(id, "kind")?)?;
        if !kind.ends_with("List") {
            return None;
        }
        let items = self.tree.follow(reader.get(id, "items")?);
        let listed = self.tree.node(items).kind.is_seq()
            && self
                .tree
                .items(items)
                .all(|item| self.tree.node(self.tree.follow(item)).kind.is_map());
        listed.then_some(items)
    }
}

impl Source {
    fn position(&self, offset: usize) -> Position {
        let lines = self.lines.get_or_init(|| line_starts(&self.text));
        let offset = offset.min(self.text.len());
        let line = lines
            .partition_point(|start| *start as usize <= offset)
            .max(1);
        let start = lines.get(line - 1).map_or(0, |start| *start as usize);
        let column =
            Position::of(self.text.get(start..).unwrap_or_default(), offset - start).column;
        Position {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column,
        }
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    let bytes = text.as_bytes();
    let breaks = bytes.iter().enumerate().filter(|(i, b)| match b {
        b'\n' => true,
        b'\r' => bytes.get(i + 1) != Some(&b'\n'),
        _ => false,
    });
    let starts = breaks.map(|(i, _)| u32::try_from(i + 1).unwrap_or(u32::MAX));
    std::iter::once(0).chain(starts).collect()
}
