//! Places in the input, for look-ups and for findings.

use std::borrow::Cow;

use nacre_findings::{Finding, Location, ResourceRef};
use nacre_krm::{Document, ObjectRef, Path, Stream};
use serde_json::Value;

/// Annotations by which orchestrators and Helm name an object's file.
const FILE_ANNOTATIONS: [&str; 3] = [
    "internal.config.kubernetes.io/path",
    "config.kubernetes.io/path",
    "postrenderer.helm.sh/postrender-filename",
];
/// Annotations by which orchestrators number the documents of a file.
const INDEX_ANNOTATIONS: [&str; 2] = [
    "internal.config.kubernetes.io/index",
    "config.kubernetes.io/index",
];

/// A text of the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) file: Option<&'a str>,
    pub(crate) stream: &'a Stream,
}

/// An object of the input.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) source: usize,
    pub(crate) object: ObjectRef,
    pub(crate) document: &'a Document,
    pub(crate) file: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// A string of the object.
    pub(crate) fn text(&self, path: &Path) -> Option<Cow<'a, str>> {
        match self.object.base.is_root() {
            true => self.document.str_at(path),
            false => self.document.str_at(&self.object.base.join(path)),
        }
    }

    /// The object, or a part of it.
    pub(crate) fn value(&self, path: &Path) -> Option<Value> {
        self.document.value(&self.object.base.join(path))
    }

    /// The keys of a mapping in the object.
    pub(crate) fn keys(&self, path: &Path) -> Vec<String> {
        self.document.keys(&self.object.base.join(path))
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<Cow<'a, str>> {
        self.text(&Path::root().key("metadata").key("annotations").key(key))
    }

    /// Where a field stands. An object that came out of a file through an orchestrator is shown with
    /// that file; lines of the stream would mislead then.
    pub(crate) fn locate(&self, field: &str) -> Location {
        let given = FILE_ANNOTATIONS.iter().find_map(|key| self.annotation(key));
        if let (None, Some(file)) = (self.file, given) {
            let index = INDEX_ANNOTATIONS
                .iter()
                .find_map(|key| self.annotation(key))
                .and_then(|index| index.parse().ok());
            let location = Location::file(file);
            return match index {
                Some(index) => location.with_index(index),
                None => location,
            };
        }
        let within = field.parse().unwrap_or_else(|_| Path::root());
        let position = self.document.position(&self.object.base.join(&within));
        Location {
            file: self.file.map(str::to_owned),
            index: u32::try_from(self.object.document).ok(),
            ..Location::default()
        }
        .with_position(position.line, position.column)
    }
}

/// Puts findings about an object into their place.
pub(crate) struct Locator<'p, 'a> {
    pub(crate) place: &'p Place<'a>,
    pub(crate) resource: ResourceRef,
    /// Path of the pod spec.
    pub(crate) spec_field: &'p str,
    /// Names of the init containers that the input has, in order.
    pub(crate) init_containers: Vec<String>,
}

impl Locator<'_, '_> {
    /// Adds object and place. Fields of init containers are those of the input, not those behind
    /// what was injected before them.
    pub(crate) fn locate(&self, mut finding: Finding, new_spec: Option<&Value>) -> Finding {
        let field = finding.field.take().unwrap_or_default();
        let (shown, looked_up) = match self.in_input(&field, new_spec) {
            Some(Some(field)) => (field.clone(), field),
            Some(None) => (field, self.spec_field.to_owned()),
            None => (field.clone(), field),
        };
        let location = self.place.locate(&looked_up);
        if !shown.is_empty() {
            finding = finding.field(shown);
        }
        finding.resource(self.resource.clone()).at(location)
    }

    /// For fields of init containers: the field in the input, or that it is not there.
    fn in_input(&self, field: &str, new_spec: Option<&Value>) -> Option<Option<String>> {
        let rest = field.strip_prefix(self.spec_field)?;
        let rest = rest.strip_prefix(".initContainers[")?;
        let (index, rest) = rest.split_once(']')?;
        let container = new_spec?
            .get("initContainers")?
            .get(index.parse::<usize>().ok()?)?;
        let name = container.get("name")?.as_str()?;
        let old = self.init_containers.iter().position(|old| old == name);
        Some(old.map(|old| format!("{}.initContainers[{old}]{rest}", self.spec_field)))
    }
}
