//! Manifests in rendered resources: found, rebuilt, merged.

use nacre_findings::{Finding, Location, codes, has_errors};
use nacre_fnconfig::closest;
use nacre_generate::{Options, Source};
use nacre_krm::Stream;
use nacre_manifest::{API_VERSION, KIND, Manifest, MergeSource};
use nacre_workload::names::{MANIFEST_CONFIG_MAP, MANIFEST_KEY};

use crate::check;
use crate::set::{RenderedObject, RenderedSet};

/// A manifest found in rendered resources.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// The manifest.
    pub manifest: Manifest,
    /// Its bytes, whose hash is the identity of the manifest: as they stand in the ConfigMap, or the
    /// canonical ones where the object itself is the manifest.
    pub bytes: Vec<u8>,
    /// The object that holds it.
    pub object: RenderedObject,
}

/// Whether an object holds a manifest: an object of kind `Manifest`, or the ConfigMap, under a name
/// that a prefix or a suffix may have been added to.
pub fn is_carrier(object: &RenderedObject) -> bool {
    let resource = &object.resource;
    match (resource.api_version.as_str(), resource.kind.as_str()) {
        (API_VERSION, KIND) => true,
        ("v1", "ConfigMap") => {
            resource.name.contains(MANIFEST_CONFIG_MAP)
                && object
                    .value
                    .pointer(&format!("/data/{MANIFEST_KEY}"))
                    .is_some()
        }
        _ => false,
    }
}

/// The manifest in a rendered set; `None` if it holds none.
///
/// One that cannot be read is an error, and so are two that are not the same.
pub fn extract(set: &RenderedSet) -> Result<Option<Extracted>, Vec<Finding>> {
    let mut found: Option<Extracted> = None;
    let mut findings = Vec::new();
    for object in set.objects.iter().filter(|object| is_carrier(object)) {
        match read(object) {
            Err(finding) => findings.push(finding),
            Ok(extracted) => match &found {
                Some(first) if first.manifest != extracted.manifest => findings.push(
                    about(
                        Finding::error(
                            codes::manifest::MERGE_CONFLICT,
                            "a second manifest that is not the same as the first",
                        ),
                        object,
                    )
                    .help("keep one of them, or merge them with nacre manifest merge"),
                ),
                Some(_) => {}
                None => found = Some(extracted),
            },
        }
    }
    if findings.is_empty() {
        Ok(found)
    } else {
        Err(findings)
    }
}

fn read(object: &RenderedObject) -> Result<Extracted, Finding> {
    let text = object.value.pointer(&format!("/data/{MANIFEST_KEY}"));
    let (manifest, bytes, field) = match text {
        Some(text) => {
            let bytes = text.as_str().unwrap_or_default().as_bytes().to_vec();
            let field = format!("data[{MANIFEST_KEY:?}]");
            (Manifest::parse(&bytes), bytes, Some(field))
        }
        None => {
            let manifest = Manifest::from_value(object.value.clone());
            let bytes = manifest
                .as_ref()
                .map(Manifest::to_bytes)
                .unwrap_or_default();
            (manifest, bytes, None)
        }
    };
    match manifest {
        Ok(manifest) => Ok(Extracted {
            manifest,
            bytes,
            object: object.clone(),
        }),
        Err(error) => Err(about(unreadable(&error, field), object)),
    }
}

/// A finding about a manifest that cannot be read.
pub fn unreadable(error: &nacre_manifest::Error, field: Option<String>) -> Finding {
    let code = codes::Code::new(error.code());
    let mut finding = Finding::error(code, format!("not a manifest: {error}"));
    if let Some(help) = error.help() {
        finding = finding.help(help);
    }
    if let Some(field) = field {
        finding = finding.field(field);
    }
    finding
}

/// A finding about a text that is no manifest, at the place that is wrong.
pub fn unreadable_text(error: &nacre_manifest::Error, text: &str, file: Location) -> Finding {
    use nacre_manifest::Error;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let at = match error {
        Error::Syntax { line, column, .. } => file.with_position(number(*line), number(*column)),
        Error::DuplicateKey { line, .. } => file.with_line(number(*line)),
        Error::Field { path, .. } | Error::FieldUnknown { path, .. } => within(text, path, file),
        Error::ApiVersionUnknown { .. } => within(text, "apiVersion", file),
        Error::KindUnknown { .. } => within(text, "kind", file),
        Error::TestRoot => within(text, "TestRoot", file),
        _ => file,
    };
    let mut finding = unreadable(error, None).at(at);
    if let Error::FieldUnknown { path, known } = error {
        let name = path.rsplit('.').next().unwrap_or(path);
        finding = finding.field(path);
        if let Some(meant) = closest(name, known.iter().map(String::as_str)) {
            finding = finding.help(format!("did you mean `{meant}`?"));
        } else if !known.is_empty() {
            finding = finding.help(format!("there are {}", known.join(", ")));
        }
    }
    finding
}

/// Where a field stands, or what is around it.
fn within(text: &str, path: &str, file: Location) -> Location {
    let Ok(stream) = Stream::parse(text) else {
        return file;
    };
    match (stream.documents().first(), path.parse()) {
        (Some(document), Ok(path)) => {
            let position = document.position(&path);
            file.with_position(position.line, position.column)
        }
        _ => file,
    }
}

/// Puts a finding to its object.
pub(crate) fn about(finding: Finding, object: &RenderedObject) -> Finding {
    finding
        .resource(object.resource.clone())
        .at(object.location.clone())
}

/// The manifest of rendered resources.
///
/// Every policy is made once more; a workload whose policy is another one now is an error, because a
/// manifest with the new policy would refuse the pod that is deployed.
pub fn build(
    sources: &[Source],
    options: &Options<'_>,
) -> Result<(Manifest, Vec<Finding>), Vec<Finding>> {
    let set = check::read(sources, options.config);
    let outcome = check::again(sources, options, None);
    let mut findings = outcome.findings.clone();
    let rendered = check::by_place(&outcome);
    for object in &set.objects {
        let Some(value) = rendered.get(&object.place) else {
            continue;
        };
        let again = RenderedObject {
            value: (*value).clone(),
            ..object.clone()
        };
        if object.policy_hash() != again.policy_hash() {
            let message = format!(
                "{} does not carry the policy that its pod gives",
                object.identity()
            );
            let finding = Finding::error(codes::check::STALE_POLICY, message)
                .help("run nacre generate on the resources first, and deploy its output");
            findings.push(about(finding, object));
        }
    }
    match outcome.manifest {
        Some(manifest) if !has_errors(&findings) => Ok((manifest, findings)),
        _ => Err(findings),
    }
}

/// Several manifests in one; see [`nacre_manifest::merge`].
pub fn merge(sources: &[MergeSource<'_>]) -> Result<Manifest, Vec<Finding>> {
    nacre_manifest::merge(sources).map_err(|conflicts| {
        let findings = conflicts.into_iter().map(|conflict| {
            Finding::error(
                codes::manifest::MERGE_CONFLICT,
                format!("{} differs", conflict.path),
            )
            .help(format!(
                "{} and {} must say the same",
                conflict.first, conflict.second
            ))
            .field(conflict.path)
            .current(conflict.first_value)
            .proposed(conflict.second_value)
        });
        findings.collect()
    })
}

#[cfg(test)]
mod tests;
