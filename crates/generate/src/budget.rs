//! What the annotations of one object may weigh together.

use nacre_findings::Finding;
use nacre_findings::codes::policy::TOO_LARGE;
use serde_json::Value;

/// Most bytes of all annotation keys and values of an object (`TotalAnnotationSizeLimitB` of
/// `k8s.io/apimachinery`, `ValidateAnnotationsSize`).
const LIMIT: usize = 256 * 1024;

/// An error if the API server would refuse a pod for the size of its annotations.
pub(crate) fn check(template: &Value) -> Option<Finding> {
    let annotations = template.get("metadata")?.get("annotations")?.as_object()?;
    let weight = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    let total: usize = annotations.iter().map(weight).sum();
    if total <= LIMIT {
        return None;
    }
    let (key, value) = annotations
        .iter()
        .max_by_key(|(_, value)| value.as_str().map_or(0, str::len))?;
    let largest = value.as_str().map_or(0, str::len);
    let message = format!(
        "the pod's annotations have {total} bytes together, Kubernetes takes {LIMIT}; {key} has {largest}"
    );
    Some(Finding::error(TOO_LARGE, message).help(
        "a policy holds every literal environment value and argument: put long ones into files of the image, or \
         split the pod; a platform that carries the policy as initdata compresses it",
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(bytes: usize) -> Value {
        let key = "nacre.dev/note";
        let other = json!("x".repeat(bytes - key.len() - 2));
        json!({"metadata": {"annotations": {"a": "b", (key): other}}})
    }

    #[test]
    fn keys_and_values_count_up_to_the_limit() {
        assert_eq!(check(&json!({})), None);
        assert_eq!(check(&template(LIMIT)), None);
        let finding = check(&template(LIMIT + 1)).unwrap();
        assert_eq!(finding.code.to_string(), "NCR0515");
        assert!(
            finding.message.contains("262145 bytes"),
            "{}",
            finding.message
        );
        assert!(
            finding.message.contains("nacre.dev/note has"),
            "{}",
            finding.message
        );
    }
}
