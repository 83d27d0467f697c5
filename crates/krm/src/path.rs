//! Where a node stands in a document: `spec.template.spec.containers[0].image`.

use std::fmt;
use std::str::FromStr;

/// One step from a node to a node inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into a mapping, by key.
    Key(String),
    /// Into a sequence, by 0-based index.
    Index(usize),
}

/// The way from the root of a document to a node.
///
/// Shown as users write it: keys joined by dots, indexes in brackets, keys that are not plain
/// words as a quoted string in brackets.
///
/// ```
/// use nacre_krm::Path;
///
/// let path: Path = r#"metadata.annotations["example.com/a"]"#.parse()?;
/// assert_eq!(path, Path::root().key("metadata").key("annotations").key("example.com/a"));
/// assert_eq!(Path::root().key("items").index(3).to_string(), "items[3]");
/// # Ok::<(), nacre_krm::PathError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Step>);

impl Path {
    /// The document itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// This path and then a mapping key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// This path and then a sequence index.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// This path and then another one.
    #[must_use]
    pub fn join(&self, rest: &Path) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + rest.0.len());
        steps.extend_from_slice(&self.0);
        steps.extend_from_slice(&rest.0);
        Self(steps)
    }

    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is the document itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of the enclosing node; `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// Whether `self` is `base` or lies inside it.
    pub fn starts_with(&self, base: &Path) -> bool {
        self.0.starts_with(&base.0)
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }
}

impl From<Vec<Step>> for Path {
    fn from(steps: Vec<Step>) -> Self {
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_word(key) => {
                    if i > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(key)?;
                }
                Step::Key(key) => {
                    f.write_str("[\"")?;
                    for c in key.chars() {
                        if matches!(c, '"' | '\\') {
                            f.write_str("\\")?;
                        }
                        write!(f, "{c}")?;
                    }
                    f.write_str("\"]")?;
                }
            }
        }
        Ok(())
    }
}

fn is_word(key: &str) -> bool {
    !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$'))
}

/// A text that is not a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a field path: {reason} at character {at}")]
#[non_exhaustive]
pub struct PathError {
    /// What is wrong.
    pub reason: &'static str,
    /// 1-based character of the text.
    pub at: usize,
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        let mut chars = text.chars().enumerate().peekable();
        let fail = |reason, at: usize| PathError { reason, at: at + 1 };
        while let Some((at, c)) = chars.next() {
            match c {
                '[' => match chars.next() {
                    Some((_, '"')) => {
                        let mut key = String::new();
                        loop {
                            match chars.next() {
                                Some((_, '"')) => break,
                                Some((at, '\\')) => match chars.next() {
                                    Some((_, c)) => key.push(c),
                                    None => return Err(fail("text ends in an escape", at)),
                                },
                                Some((_, c)) => key.push(c),
                                None => return Err(fail("quoted key is not closed", at)),
                            }
                        }
                        match chars.next() {
                            Some((_, ']')) => steps.push(Step::Key(key)),
                            _ => return Err(fail("bracket is not closed", at)),
                        }
                    }
                    Some((_, first)) if first.is_ascii_digit() => {
                        let mut digits = String::from(first);
                        loop {
                            match chars.next() {
                                Some((_, ']')) => break,
                                Some((_, d)) if d.is_ascii_digit() => digits.push(d),
                                _ => return Err(fail("bracket is not closed", at)),
                            }
                        }
                        let index = digits.parse().map_err(|_| fail("index too large", at))?;
                        steps.push(Step::Index(index));
                    }
                    _ => return Err(fail("an index or a quoted key must follow the bracket", at)),
                },
                '.' if steps.is_empty() => return Err(fail("unexpected dot", at)),
                '.' => match chars.peek() {
                    Some((_, c)) if !matches!(c, '.' | '[') => {}
                    _ => return Err(fail("a key must follow the dot", at)),
                },
                first => {
                    let after_dot = at == 0 || text.chars().nth(at - 1) == Some('.');
                    if !after_dot {
                        return Err(fail("a dot must stand before the key", at));
                    }
                    let mut key = String::from(first);
                    while let Some((_, c)) = chars.next_if(|(_, c)| !matches!(c, '.' | '[')) {
                        key.push(c);
                    }
                    steps.push(Step::Key(key));
                }
            }
        }
        Ok(Self(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_and_read_back() {
        let path = Path::root()
            .key("metadata")
            .key("annotations")
            .key("a.b/\"c\\")
            .index(12)
            .key("x");
        let text = path.to_string();
        assert_eq!(text, r#"metadata.annotations["a.b/\"c\\"][12].x"#);
        assert_eq!(text.parse::<Path>(), Ok(path));
        assert_eq!("".parse::<Path>(), Ok(Path::root()));
        assert_eq!("[0]".parse::<Path>(), Ok(Path::root().index(0)));
    }

    #[test]
    fn bad_paths_say_where() {
        for (text, at) in [
            (".a", 1),
            ("a.", 2),
            ("a..b", 2),
            ("a[", 2),
            ("a[0", 2),
            ("a[\"x", 2),
            ("a[x]", 2),
            ("a[0]b", 5),
        ] {
            assert_eq!(text.parse::<Path>().map_err(|e| e.at), Err(at), "{text}");
        }
    }

    #[test]
    fn containment() {
        let base = Path::root().key("items").index(0);
        assert!(base.key("spec").starts_with(&base));
        assert!(!Path::root().key("items").starts_with(&base));
        assert_eq!(base.key("spec").parent(), Some(base.clone()));
        assert_eq!(Path::root().parent(), None);
        assert_eq!(Path::root().key("items").join(&Path::root().index(0)), base);
    }
}
