//! The images of a pod spec.

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::Value;

use crate::containers::{containers, containers_mut};
use crate::object::text;

/// Every image of a pod spec with the path of its field, init containers first.
pub fn images<'a>(
    pod_spec: &'a Value,
    spec_field: &str,
) -> impl Iterator<Item = (&'a str, String)> {
    containers(pod_spec).filter_map(move |container| {
        let image = text(container.value, "image")?;
        Some((image, container.field(spec_field, "image")))
    })
}

/// Replaces every image by what `pinned` says, and reports what it refuses.
pub fn pin(
    pod_spec: &mut Value,
    spec_field: &str,
    mut pinned: impl FnMut(&str) -> Result<Option<String>, Finding>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (list, index, container) in containers_mut(pod_spec) {
        let field = || format!("{spec_field}.{list}[{index}].image");
        let Some(image) = text(container, "image").filter(|image| !image.is_empty()) else {
            findings.push(
                Finding::error(codes::NO_IMAGE, "the container names no image")
                    .help("give it an image")
                    .field(field()),
            );
            continue;
        };
        match pinned(image) {
            Ok(None) => {}
            Ok(Some(reference)) => {
                if let Some(node) = container.get_mut("image") {
                    *node = Value::from(reference);
                }
            }
            Err(finding) => {
                let image = image.to_owned();
                findings.push(finding.current(image).field(field()));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_image_is_pinned_or_named() {
        let mut spec = json!({
            "initContainers": [{"name": "i", "image": "same"}],
            "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "bad"}, {"name": "c"}]
        });
        let findings = pin(&mut spec, "spec", |image| match image {
            "bad" => Err(Finding::error(codes::NO_IMAGE, "refused")),
            "same" => Ok(None),
            image => Ok(Some(format!("{image}@pinned"))),
        });
        let fields: Vec<_> = findings.iter().filter_map(|f| f.field.clone()).collect();
        assert_eq!(
            fields,
            ["spec.containers[1].image", "spec.containers[2].image"]
        );
        assert_eq!(findings[0].current.as_deref(), Some("bad"));
        let all: Vec<_> = images(&spec, "spec").map(|(image, _)| image).collect();
        assert_eq!(all, ["same", "x@pinned", "bad"]);
    }
}
