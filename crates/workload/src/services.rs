//! Which Services of the rendered set lead to a workload.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The cluster's DNS domain, by the default of every installer.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// A Service, as far as names and selection need it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The namespace, the default put in.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.selector`; one that is empty selects nothing.
    pub selector: BTreeMap<String, String>,
    /// Whether each pod behind it has a name of its own, as those of a StatefulSet.
    pub headless: bool,
}

impl Service {
    /// Reads a Service object; `namespace` is the one it ends up in.
    pub fn read(object: &Value, namespace: &str) -> Option<Self> {
        let name = object.get("metadata")?.get("name")?.as_str()?.to_owned();
        let selector = object
            .get("spec")
            .and_then(|spec| spec.get("selector"))
            .and_then(Value::as_object);
        let address = object.get("spec").and_then(|spec| spec.get("clusterIP"));
        let headless = address.and_then(Value::as_str) == Some("None");
        let pairs = selector.into_iter().flatten();
        let selector = pairs
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        Some(Self {
            namespace: namespace.to_owned(),
            name,
            selector,
            headless,
        })
    }

    /// The names under which pods of the cluster reach it.
    pub fn dns_names(&self) -> [String; 4] {
        let Self {
            name, namespace, ..
        } = self;
        [
            name.clone(),
            format!("{name}.{namespace}"),
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}"),
        ]
    }
}

/// Services by what they select and by name.
#[derive(Clone, Debug, Default)]
pub struct ServiceIndex {
    services: Vec<Service>,
    /// Namespace, then the first pair of the selector: few services share one.
    by_label: BTreeMap<String, BTreeMap<(String, String), Vec<usize>>>,
}

impl ServiceIndex {
    /// Files the services.
    pub fn new(services: impl IntoIterator<Item = Service>) -> Self {
        let mut services: Vec<_> = services.into_iter().collect();
        services.sort_unstable();
        services.dedup();
        let mut by_label: BTreeMap<String, BTreeMap<(String, String), Vec<usize>>> =
            BTreeMap::new();
        for (index, service) in services.iter().enumerate() {
            if let Some((key, value)) = service.selector.iter().next() {
                let namespace = by_label.entry(service.namespace.clone()).or_default();
                let pair = (key.clone(), value.clone());
                namespace.entry(pair).or_default().push(index);
            }
        }
        Self { services, by_label }
    }

    /// The services that select pods with these labels, by name.
    pub fn selecting(&self, namespace: &str, labels: Option<&Map<String, Value>>) -> Vec<&Service> {
        let (Some(labels), Some(by_label)) = (labels, self.by_label.get(namespace)) else {
            return Vec::new();
        };
        let has = |key: &str, value: &str| labels.get(key).and_then(Value::as_str) == Some(value);
        let mut found: Vec<usize> = labels
            .iter()
            .filter_map(|(key, value)| by_label.get(&(key.clone(), value.as_str()?.to_owned())))
            .flatten()
            .copied()
            .filter(|index| {
                self.services
                    .get(*index)
                    .is_some_and(|s| s.selector.iter().all(|(key, value)| has(key, value)))
            })
            .collect();
        found.sort_unstable();
        found
            .iter()
            .filter_map(|index| self.services.get(*index))
            .collect()
    }

    /// The service that a pod of a namespace reaches under a host name, be it under the name of one of
    /// its pods.
    pub fn by_host(&self, host: &str, namespace: &str) -> Option<&Service> {
        // DNS knows no case.
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let pods = || {
            let (_, service) = host.split_once('.')?;
            self.by_name(service, namespace).filter(|s| s.headless)
        };
        self.by_name(&host, namespace).or_else(pods)
    }

    fn by_name(&self, host: &str, namespace: &str) -> Option<&Service> {
        let mut labels = host.splitn(3, '.');
        let name = labels.next()?;
        let in_namespace = labels.next().unwrap_or(namespace);
        let domain = labels.next().unwrap_or("svc");
        if domain != "svc" && domain.strip_prefix("svc.") != Some(CLUSTER_DOMAIN) {
            return None;
        }
        let at = self.services.binary_search_by(|s| {
            (s.namespace.as_str(), s.name.as_str()).cmp(&(in_namespace, name))
        });
        at.ok().and_then(|index| self.services.get(index))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index() -> ServiceIndex {
        let service = |name: &str, selector: Value| {
            let address = if name == "api" { "None" } else { "192.0.2.1" };
            let object = json!({
                "metadata": {"name": name},
                "spec": {"selector": selector, "clusterIP": address},
            });
            Service::read(&object, "shop").unwrap()
        };
        ServiceIndex::new([
            service("web", json!({"app": "web"})),
            service("web-blue", json!({"app": "web", "colour": "blue"})),
            service("all", json!({})),
            service("api", json!({"app": "api"})),
        ])
    }

    #[test]
    fn a_service_selects_by_all_its_labels() {
        let index = index();
        let labels = json!({"app": "web", "x": "y"});
        let found = |namespace: &str, labels: &Value| -> Vec<String> {
            let services = index.selecting(namespace, labels.as_object());
            services.iter().map(|s| s.name.clone()).collect()
        };
        assert_eq!(found("shop", &labels), ["web"]);
        assert_eq!(found("other", &labels), Vec::<String>::new());
        let blue = json!({"app": "web", "colour": "blue"});
        assert_eq!(found("shop", &blue), ["web", "web-blue"]);
    }

    #[test]
    fn hosts() {
        let index = index();
        let name =
            |host: &str, namespace: &str| index.by_host(host, namespace).map(|s| s.name.as_str());
        assert_eq!(name("web", "shop"), Some("web"));
        assert_eq!(name("web", "other"), None);
        assert_eq!(name("web.shop", "other"), Some("web"));
        assert_eq!(name("web.shop.svc", "other"), Some("web"));
        assert_eq!(name("web.shop.svc.cluster.local.", "other"), Some("web"));
        assert_eq!(name("web.shop.example.org", "shop"), None);
        assert_eq!(name("Web.SHOP", "other"), Some("web"));
        for host in [
            "api-0.api",
            "api-0.api.shop",
            "api-0.api.shop.svc.cluster.local",
        ] {
            assert_eq!(name(host, "shop"), Some("api"), "{host}");
        }
        assert_eq!(name("api-0.api", "other"), None);
        assert_eq!(name("web-0.web", "shop"), None, "its pods have no names");
        assert_eq!(name("a.api-0.api", "shop"), None);
    }
}
