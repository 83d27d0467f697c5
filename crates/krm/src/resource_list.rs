//! The ResourceList of the KRM functions specification.

use serde_json::Value;

use crate::error::Error;
use crate::path::Path;
use crate::rewrite::{Want, rewrite_wants};
use crate::stream::{Document, ObjectRef, Stream};

/// A stream whose first document is a ResourceList: what orchestrators give to functions.
///
/// JSON input is kept as JSON: kyaml reads both.
#[derive(Clone, Copy, Debug)]
pub struct ResourceList<'a> {
    stream: &'a Stream,
    index: usize,
    document: &'a Document,
}

const ITEMS: &str = "items";
const FUNCTION_CONFIG: &str = "functionConfig";
const RESULTS: &str = "results";

impl<'a> ResourceList<'a> {
    /// The ResourceList in a stream; `None` when its first value is something else.
    pub fn detect(stream: &'a Stream) -> Option<Result<Self, Error>> {
        let (index, document) = stream
            .documents()
            .iter()
            .enumerate()
            .find(|(_, d)| !d.is_empty())?;
        let kind = document.str_at(&Path::root().key("kind"))?;
        if kind != "ResourceList" {
            return None;
        }
        Some(Self::check(stream, index, document))
    }

    fn check(stream: &'a Stream, index: usize, document: &'a Document) -> Result<Self, Error> {
        let path = Path::root().key("apiVersion");
        let version = document.str_at(&path).unwrap_or_default();
        if !matches!(
            version.as_ref(),
            "config.kubernetes.io/v1"
                | "config.kubernetes.io/v1beta1"
                | "config.kubernetes.io/v1alpha1"
        ) {
            return Err(Error::ListVersion {
                at: document.position(&path),
                version: version.into_owned(),
            });
        }
        let shape = |path: Path, expected| Error::ListShape {
            at: document.position(&path),
            path,
            expected,
        };
        let list = Self {
            stream,
            index,
            document,
        };
        let items = Path::root().key(ITEMS);
        match document.kind_at(&items) {
            None | Some(Shape::Null) => {}
            Some(Shape::Sequence) => {
                for item in list.items() {
                    if document.kind_at(&item.base) != Some(Shape::Mapping) {
                        return Err(shape(item.base, "a mapping"));
                    }
                }
            }
            Some(_) => return Err(shape(items, "a list")),
        }
        let config = Self::function_config_at();
        match document.kind_at(&config) {
            None | Some(Shape::Null | Shape::Mapping) => Ok(list),
            Some(_) => Err(shape(config, "a mapping")),
        }
    }

    /// The document that holds the list.
    pub fn document(&self) -> &'a Document {
        self.document
    }

    /// The configuration of the function, if one is given.
    pub fn function_config(&self) -> Option<Value> {
        self.document
            .value(&Self::function_config_at())
            .filter(|v| !v.is_null())
    }

    /// Where the configuration stands.
    pub fn function_config_at() -> Path {
        Path::root().key(FUNCTION_CONFIG)
    }

    /// The items as given: `items[0]`, `items[1]`, …; lists among them are not unpacked, unlike
    /// [`Stream::objects`].
    pub fn items(&self) -> Vec<ObjectRef> {
        let items = Path::root().key(ITEMS);
        (0..self.document.len_at(&items))
            .map(|i| ObjectRef {
                document: self.index,
                base: items.index(i),
            })
            .collect()
    }

    /// The whole output: the items at these paths read as the values, new items stand at the end,
    /// and `results` are these, whatever an earlier function left there. No results, or an empty
    /// list: the field is taken away.
    pub fn render(
        &self,
        rewritten: &[(Path, Value)],
        added: &[Value],
        results: Option<Value>,
    ) -> Result<String, Error> {
        let items = Path::root().key(ITEMS);
        let mut desired: Vec<(Path, Want)> = Vec::with_capacity(rewritten.len() + added.len() + 1);
        desired.extend(
            rewritten
                .iter()
                .map(|(path, value)| (path.clone(), Want::Value(value.clone()))),
        );
        let count = self.document.len_at(&items);
        if count == 0 && !added.is_empty() {
            desired.push((items, Want::Value(Value::Array(added.to_vec()))));
        } else {
            let paths = (count..).map(|i| items.index(i));
            desired.extend(paths.zip(added.iter().cloned().map(Want::Value)));
        }
        let results = match results {
            Some(Value::Array(list)) if list.is_empty() => None,
            other => other.filter(|results| !results.is_null()),
        };
        let path = Path::root().key(RESULTS);
        match results {
            Some(results) => desired.push((path, Want::Value(results))),
            None if self.document.kind_at(&path).is_some() => desired.push((path, Want::Absent)),
            None => {}
        }
        let text = rewrite_wants(self.document, &Want::new(desired))?;
        let replaced = std::iter::once((self.index, text)).collect();
        Ok(self.stream.render(&replaced, &[]))
    }
}

/// What kind of value stands somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Null,
    Scalar,
    Mapping,
    Sequence,
}

impl Document {
    fn kind_at(&self, at: &Path) -> Option<Shape> {
        let reader = self.reader();
        let id = self.tree().follow(reader.at(at.steps())?);
        let kind = self.tree().node(id).kind;
        Some(if kind.is_map() {
            Shape::Mapping
        } else if kind.is_seq() {
            Shape::Sequence
        } else if reader.value_is_null(id) {
            Shape::Null
        } else {
            Shape::Scalar
        })
    }

    fn len_at(&self, at: &Path) -> usize {
        let Some(id) = self.reader().at(at.steps()) else {
            return 0;
        };
        let id = self.tree().follow(id);
        if self.tree().node(id).kind.is_seq() {
            self.tree().items(id).count()
        } else {
            0
        }
    }
}
