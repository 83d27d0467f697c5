//! `--image-replacements`: other images for a test registry or a fork, before anything else.

use std::collections::BTreeMap;
use std::path::Path;

use nacre_findings::{Finding, Location, codes};
use nacre_fnconfig::Images;
use nacre_framing::input::{self, Text};
use nacre_framing::transform;
use nacre_generate::Source;
use nacre_krm::ObjectRef;
use nacre_workload::kinds::Kinds;
use serde_json::Value;

use crate::error::CommandError;

/// Old reference to new reference.
pub(crate) type Replacements = BTreeMap<String, String>;

/// Reads lines `OLD=NEW`; empty lines and lines that start with `#` say nothing.
pub(crate) fn read(path: &Path) -> Result<Replacements, CommandError> {
    let text = input::read_file(path, input::MAX_INPUT)?;
    let mut out = Replacements::new();
    for (number, line) in text.content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((old, new)) if !old.trim().is_empty() && !new.trim().is_empty() => {
                out.insert(old.trim().to_owned(), new.trim().to_owned());
            }
            _ => {
                let line = u32::try_from(number + 1).unwrap_or(u32::MAX);
                return Err(Finding::error(codes::cli::USAGE, "expected OLD=NEW")
                    .at(Location::file(path.display().to_string()).with_line(line))
                    .into());
            }
        }
    }
    Ok(out)
}

/// The configured images, replaced.
pub(crate) fn configured(replacements: &Replacements, images: &mut Images) {
    for image in [
        &mut images.initializer,
        &mut images.service_mesh,
        &mut images.coordinator,
    ] {
        if let Some(new) = image.as_ref().and_then(|image| replacements.get(image)) {
            *image = Some(new.clone());
        }
    }
}

/// The same sources with the images of every pod replaced.
pub(crate) fn replaced(
    replacements: &Replacements,
    sources: Vec<Source>,
    limit: u64,
) -> Result<Vec<Source>, CommandError> {
    let kinds = Kinds::default();
    let mut edits: Vec<(usize, ObjectRef, Value)> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        for at in source.stream.objects() {
            let Some(document) = source.stream.documents().get(at.document) else {
                continue;
            };
            let field = |key: &str| document.str_at(&at.base.key(key)).unwrap_or_default();
            let Some(template) = kinds.template(&field("apiVersion"), &field("kind")) else {
                continue;
            };
            let Some(mut value) = document.value(&at.base) else {
                continue;
            };
            if template
                .pod_spec_mut(&mut value)
                .is_some_and(|spec| replace(replacements, spec))
            {
                edits.push((index, at, value));
            }
        }
    }
    let texts: Vec<Text> = transform::render(&sources, &transform::rewrite(&sources, edits)?, &[])
        .into_iter()
        .zip(&sources)
        .map(|(content, source)| Text {
            path: source.file.as_ref().map(Into::into),
            content,
        })
        .collect();
    Ok(transform::parse(&texts, limit)?)
}

fn replace(replacements: &Replacements, pod_spec: &mut Value) -> bool {
    let mut changed = false;
    for list in ["initContainers", "containers"] {
        let containers = pod_spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if let Some(image) = container.get_mut("image")
                && let Some(new) = image.as_str().and_then(|image| replacements.get(image))
            {
                *image = Value::from(new.as_str());
                changed = true;
            }
        }
    }
    changed
}
