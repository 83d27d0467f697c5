//! Workloads that look as if somebody wanted them confidential, and are not in scope.

use nacre_findings::{Finding, codes::generate as codes};
use nacre_fnconfig::Confidential;
use nacre_krm::Path;
use nacre_workload::annotations::{asks_for_something, meant};
use nacre_workload::names::RUNTIME_CLASS;
use nacre_workload::object::resource_ref;
use strsim::osa_distance;

use crate::catalogue::Candidate;
use crate::options::omission;

/// The field that selects, below the pod's specification.
const FIELD: &str = "runtimeClassName";
/// Letters by which a name may differ from one that it was meant to be.
const NEAR: usize = 2;
/// What every name has that could be meant.
const MARKS: [&str; 3] = ["contras", "untimeCl", "nacre"];

/// What a workload that was not selected has in it.
pub(crate) fn find(candidate: &Candidate<'_>, config: &Confidential) -> Vec<Finding> {
    let text = candidate.place.document.text();
    if !MARKS.iter().any(|mark| text.contains(mark)) {
        return Vec::new();
    }
    let keys = |field: &str| match field.parse::<Path>() {
        Ok(path) => candidate.place.keys(&path),
        Err(_) => Vec::new(),
    };
    let mut signs = Vec::new();
    let spec = candidate.path.spec_field();
    for key in keys(&spec) {
        if key != FIELD && osa_distance(&key, FIELD) <= NEAR {
            signs.push((format!("{spec}.{key}"), format!("write {FIELD}")));
        }
    }
    let class_field = format!("{spec}.{FIELD}");
    let class = class_field.parse::<Path>();
    let class = class.ok().and_then(|path| candidate.place.text(&path));
    if class.is_some_and(|class| is_near(&class)) {
        let help = format!("write {RUNTIME_CLASS}, or with the platform {RUNTIME_CLASS}-PLATFORM");
        signs.push((class_field, help));
    }
    let mut metadata = vec!["metadata".to_owned()];
    if !candidate.path.is_root() {
        metadata.push(candidate.path.metadata_field());
    }
    for metadata in metadata {
        let field = format!("{metadata}.annotations");
        for key in keys(&field) {
            if asks_for_something(&key) || meant(&key).is_some() {
                let help = format!("write {FIELD}: {RUNTIME_CLASS}, or remove the annotation");
                signs.push((format!("{field}[{key:?}]"), help));
            }
        }
    }
    let severity = omission(config);
    let object = candidate.place.value(&Path::root()).unwrap_or_default();
    signs
        .into_iter()
        .map(|(field, help)| {
            let message = format!(
                "{} is left as it is, an ordinary pod: no {FIELD} {RUNTIME_CLASS}, and no selector, says otherwise",
                candidate.kind
            );
            Finding::new(codes::FORGOTTEN, severity, message)
                .help(help)
                .resource(resource_ref(&object))
                .at(candidate.place.locate(&field))
                .field(field)
        })
        .collect()
}

/// Whether a runtime class was meant to be the placeholder.
fn is_near(class: &str) -> bool {
    let class = class.to_ascii_lowercase();
    let length = RUNTIME_CLASS.len();
    (length - 1..=length + 1)
        .filter_map(|end| class.get(..end))
        .chain((class.len() <= length).then_some(class.as_str()))
        .any(|start| osa_distance(start, RUNTIME_CLASS) <= NEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_near_the_placeholder_or_another() {
        for (class, near) in [
            ("contrast_cc", true),
            ("contrat-cc", true),
            ("Contrast-CC-metal-qemu-snp", true),
            ("contast-cc-metal-qemu-snp", true),
            ("contrast-c", true),
            ("contrast", false),
            ("kata-qemu-snp", false),
            ("", false),
            ("cöntrast-cc", true),
        ] {
            assert_eq!(is_near(class), near, "{class}");
        }
    }
}
