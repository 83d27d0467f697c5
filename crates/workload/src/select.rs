//! Which workloads become confidential.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::TemplatePath;
use crate::names::RUNTIME_CLASS;
use crate::object::labels;

/// Why a workload is in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// Its `runtimeClassName` says so.
    ByRuntimeClass,
    /// A selector of the configuration says so; the runtime class is still to be written.
    BySelector,
}

/// One selector of the configuration. A workload matches when every given field does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The kind, exactly.
    pub kind: Option<String>,
    /// A pattern for the name: `*` is any text, `?` one character.
    pub name: Option<String>,
    /// The namespace, exactly, after the configured default was put in.
    pub namespace: Option<String>,
    /// Labels of the object or of its pod template.
    pub labels: BTreeMap<String, String>,
}

impl Selector {
    /// Whether the selector takes this workload.
    pub fn matches(&self, workload: &Candidate<'_>) -> bool {
        let equal = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        equal(&self.kind, workload.kind)
            && equal(&self.namespace, workload.namespace)
            && self
                .name
                .as_deref()
                .is_none_or(|pattern| glob(pattern, workload.name))
            && self.labels.iter().all(|(key, value)| {
                [
                    Some(workload.object),
                    workload.path.template(workload.object),
                ]
                .into_iter()
                .flatten()
                .filter_map(labels)
                .any(|labels| labels.get(key).and_then(Value::as_str) == Some(value))
            })
    }
}

/// A workload that may be selected.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// `Deployment`.
    pub kind: &'a str,
    /// `metadata.name`.
    pub name: &'a str,
    /// The namespace, the default put in.
    pub namespace: &'a str,
    /// The object.
    pub object: &'a Value,
    /// Where its pod template stands.
    pub path: &'a TemplatePath,
}

/// Whether a runtime class name is in scope: the placeholder with any suffix, so that a misspelt
/// platform is an error instead of an ordinary pod.
pub fn is_confidential_class(name: &str) -> bool {
    name.starts_with(RUNTIME_CLASS)
}

/// Whether a workload is in scope, and why.
pub fn selected(workload: &Candidate<'_>, selectors: &[Selector]) -> Option<Selected> {
    let class = workload
        .path
        .pod_spec(workload.object)
        .and_then(|spec| spec.get("runtimeClassName"))
        .and_then(Value::as_str);
    if class.is_some_and(is_confidential_class) {
        return Some(Selected::ByRuntimeClass);
    }
    selectors
        .iter()
        .any(|selector| selector.matches(workload))
        .then_some(Selected::BySelector)
}

/// `*` and `?` patterns, in time linear in the product of the lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after_star, from)) => {
                    p = after_star;
                    t = from + 1;
                    retry = Some((after_star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn candidate<'a>(object: &'a Value, path: &'a TemplatePath) -> Candidate<'a> {
        Candidate {
            kind: "Deployment",
            name: "web-front",
            namespace: "shop",
            object,
            path,
        }
    }

    #[test]
    fn globs() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("web-*", "web-front", true),
            ("*front", "web-front", true),
            ("w?b-*t", "web-front", true),
            ("web", "web-front", false),
            ("*x*", "web-front", false),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn the_runtime_class_selects() {
        let path = TemplatePath::new(["spec", "template"]);
        for (class, wanted) in [
            ("contrast-cc", true),
            ("contrast-cc-metal-qemu-snp", true),
            ("contrast-cc-metal-qemu-snp-0123abcd", true),
            ("contrast-ccx", true),
            ("kata", false),
        ] {
            let object = json!({"spec": {"template": {"spec": {"runtimeClassName": class}}}});
            let found = selected(&candidate(&object, &path), &[]);
            assert_eq!(found.is_some(), wanted, "{class}");
        }
    }

    #[test]
    fn a_selector_needs_every_field() {
        let path = TemplatePath::new(["spec", "template"]);
        let object = json!({
            "metadata": {"labels": {"tier": "front"}},
            "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {}}}
        });
        let workload = candidate(&object, &path);
        let mut selector = Selector {
            kind: Some("Deployment".to_owned()),
            name: Some("web-*".to_owned()),
            namespace: Some("shop".to_owned()),
            labels: [
                ("app".to_owned(), "web".to_owned()),
                ("tier".to_owned(), "front".to_owned()),
            ]
            .into(),
        };
        let found = selected(&workload, std::slice::from_ref(&selector));
        assert_eq!(found, Some(Selected::BySelector));
        selector.labels.insert("app".to_owned(), "other".to_owned());
        assert_eq!(selected(&workload, &[selector]), None);
    }
}
