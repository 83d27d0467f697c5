//! Where the pod template stands in each kind.

use serde_json::Value;

/// Keys from an object to its pod template, the node that holds `metadata` and `spec` of the pods.
///
/// Empty for a Pod, which is its own template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplatePath(Vec<String>);

impl TemplatePath {
    /// The path with these keys.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(str::to_owned).collect())
    }

    /// Reads `spec.jobTemplate.spec.template`; no key may be empty.
    pub fn parse(text: &str) -> Option<Self> {
        let keys: Vec<_> = text.split('.').map(str::to_owned).collect();
        (!keys.iter().any(String::is_empty)).then_some(Self(keys))
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The template in an object.
    pub fn template<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.keys().try_fold(object, |node, key| node.get(key))
    }

    /// The template in an object, to be changed.
    pub fn template_mut<'a>(&self, object: &'a mut Value) -> Option<&'a mut Value> {
        self.keys().try_fold(object, |node, key| node.get_mut(key))
    }

    /// The pod spec in an object.
    pub fn pod_spec<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.template(object)?.get("spec")
    }

    /// The pod spec in an object, to be changed.
    pub fn pod_spec_mut<'a>(&self, object: &'a mut Value) -> Option<&'a mut Value> {
        self.template_mut(object)?.get_mut("spec")
    }

    /// `spec.template.spec`.
    pub fn spec_field(&self) -> String {
        self.field("spec")
    }

    /// `spec.template.metadata`.
    pub fn metadata_field(&self) -> String {
        self.field("metadata")
    }

    fn field(&self, last: &str) -> String {
        let mut text = String::with_capacity(40);
        for key in self.keys() {
            text.push_str(key);
            text.push('.');
        }
        text + last
    }

    /// Whether the object is its own template.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// A custom resource with a pod template, named in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomKind {
    /// `example.org/v1`; a bare group means every version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Where the template stands.
    pub template: TemplatePath,
}

/// Kinds of Kubernetes with a pod template: group, kind, keys.
const BUILT_IN: &[(&str, &str, &[&str])] = &[
    ("", "Pod", &[]),
    ("", "ReplicationController", &["spec", "template"]),
    ("", "PodTemplate", &["template"]),
    ("apps", "Deployment", &["spec", "template"]),
    ("apps", "ReplicaSet", &["spec", "template"]),
    ("apps", "StatefulSet", &["spec", "template"]),
    ("apps", "DaemonSet", &["spec", "template"]),
    ("batch", "Job", &["spec", "template"]),
    (
        "batch",
        "CronJob",
        &["spec", "jobTemplate", "spec", "template"],
    ),
    // Removed from Kubernetes, still found in files.
    ("extensions", "Deployment", &["spec", "template"]),
    ("extensions", "DaemonSet", &["spec", "template"]),
    ("extensions", "ReplicaSet", &["spec", "template"]),
];

/// The kinds that have pods: those of Kubernetes and those of the configuration.
///
/// ```
/// use nacre_workload::kinds::Kinds;
///
/// let kinds = Kinds::default();
/// let path = kinds.template("batch/v1", "CronJob").unwrap();
/// assert_eq!(path.spec_field(), "spec.jobTemplate.spec.template.spec");
/// assert!(kinds.template("v1", "Service").is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Kinds {
    kinds: Vec<CustomKind>,
}

impl Default for Kinds {
    fn default() -> Self {
        Self::with_custom([])
    }
}

impl Kinds {
    /// The built-in kinds and these, which win where both name one.
    pub fn with_custom(custom: impl IntoIterator<Item = CustomKind>) -> Self {
        let built_in = BUILT_IN.iter().map(|(group, kind, keys)| CustomKind {
            api_version: (*group).to_owned(),
            kind: (*kind).to_owned(),
            template: TemplatePath::new(keys.iter().copied()),
        });
        Self {
            kinds: custom.into_iter().chain(built_in).collect(),
        }
    }

    /// Where the pod template of a kind stands; `None` for kinds without one.
    pub fn template(&self, api_version: &str, kind: &str) -> Option<&TemplatePath> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        self.kinds
            .iter()
            .find(|k| k.kind == kind && (k.api_version == group || k.api_version == api_version))
            .map(|k| &k.template)
    }

    /// Names of the built-in kinds, for documentation.
    pub fn built_in() -> impl Iterator<Item = &'static str> {
        BUILT_IN
            .iter()
            .filter(|(group, ..)| *group != "extensions")
            .map(|(_, kind, _)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_with_a_pod_spec_is_known() {
        let kinds = Kinds::default();
        for (api_version, kind, spec) in [
            ("v1", "Pod", "spec"),
            ("v1", "ReplicationController", "spec.template.spec"),
            ("v1", "PodTemplate", "template.spec"),
            ("apps/v1", "Deployment", "spec.template.spec"),
            ("apps/v1", "ReplicaSet", "spec.template.spec"),
            ("apps/v1", "StatefulSet", "spec.template.spec"),
            ("apps/v1", "DaemonSet", "spec.template.spec"),
            ("batch/v1", "Job", "spec.template.spec"),
            (
                "batch/v1beta1",
                "CronJob",
                "spec.jobTemplate.spec.template.spec",
            ),
        ] {
            let path = kinds.template(api_version, kind).unwrap();
            assert_eq!(path.spec_field(), spec, "{kind}");
        }
        assert!(kinds.template("example.org/v1", "Deployment").is_none());
    }

    #[test]
    fn custom_kinds_come_from_the_configuration() {
        let kinds = Kinds::with_custom([CustomKind {
            api_version: "argoproj.io/v1alpha1".to_owned(),
            kind: "Rollout".to_owned(),
            template: TemplatePath::parse("spec.template").unwrap(),
        }]);
        assert!(kinds.template("argoproj.io/v1alpha1", "Rollout").is_some());
        assert!(kinds.template("argoproj.io/v2", "Rollout").is_none());
        assert!(TemplatePath::parse("spec..template").is_none());
    }

    #[test]
    fn a_path_leads_to_the_spec() {
        let mut object = json!({"spec": {"template": {"spec": {"containers": []}}}});
        let path = TemplatePath::new(["spec", "template"]);
        assert!(path.pod_spec(&object).unwrap().get("containers").is_some());
        assert!(path.pod_spec_mut(&mut object).is_some());
        assert!(TemplatePath::new(["nope"]).pod_spec(&object).is_none());
    }
}
