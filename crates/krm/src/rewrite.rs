//! From the old text and the wanted values to the new text.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::emit;
use crate::error::Error;
use crate::path::{Path, Step};
use crate::stream::{Document, Stream};

/// See [`Document::rewrite`].
pub(crate) fn rewrite(document: &Document, desired: &[(Path, Value)]) -> Result<String, Error> {
    let text = rewrite_unchecked(document, desired)?;
    let root = Path::root();
    let mut wanted = document.value(&root).unwrap_or(Value::Null);
    for (path, value) in desired {
        set(document, &mut wanted, path, value)?;
    }
    let stream = Stream::parse(text)?;
    let got = stream
        .documents()
        .first()
        .and_then(|d| d.value(&root))
        .unwrap_or(Value::Null);
    if got != wanted {
        return Err(Error::Verification {
            at: document.place(document.range().start),
            reason: "value differs".to_owned(),
        });
    }
    Ok(stream.text().to_owned())
}

/// See [`Document::rewrite_unchecked`].
pub(crate) fn rewrite_unchecked(
    document: &Document,
    desired: &[(Path, Value)],
) -> Result<String, Error> {
    let old = document.value(&Path::root()).unwrap_or(Value::Null);
    let mut wanted = old.clone();
    for (path, value) in desired {
        set(document, &mut wanted, path, value)?;
    }
    if wanted == old {
        return Ok(document.text().to_owned());
    }
    let marker = if document.text().starts_with("---") {
        "---\n"
    } else {
        ""
    };
    Ok(format!("{marker}{}", emit::emit(&wanted)))
}

fn set(document: &Document, root: &mut Value, path: &Path, value: &Value) -> Result<(), Error> {
    let fail = |reason| Error::Target {
        at: document.position(path),
        path: path.clone(),
        reason,
    };
    let mut node = root;
    for step in path.steps() {
        node = match step {
            Step::Key(key) => {
                if node.is_null() {
                    *node = Value::Object(Map::new());
                }
                let Value::Object(map) = node else {
                    return Err(fail("it lies inside something that is not a mapping"));
                };
                map.entry(key.clone()).or_insert(Value::Null)
            }
            Step::Index(index) => {
                let Value::Array(items) = node else {
                    return Err(fail("it lies inside something that is not a list"));
                };
                if *index == items.len() {
                    items.push(Value::Null);
                }
                items
                    .get_mut(*index)
                    .ok_or_else(|| fail("the list is shorter"))?
            }
        };
    }
    *node = value.clone();
    Ok(())
}

/// The line ending of a text.
pub(crate) fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text.get(..at).is_some_and(|line| line.ends_with('\r')) => "\r\n",
        _ => "\n",
    }
}

/// The text with a newline at its end that changes no value.
pub(crate) fn with_final_newline(text: &str) -> Cow<'_, str> {
    Cow::Owned(format!("{text}{}", newline(text)))
}
