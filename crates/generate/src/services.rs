//! The Services of the input, in the forms that certificates and policies need.

use std::collections::BTreeMap;

use nacre_policy::{ServicePort, ServiceRef};
use nacre_workload::services::{Service, ServiceIndex};
use serde_json::Value;

/// Every Service of the input.
#[derive(Default)]
pub(crate) struct Services {
    pub(crate) index: ServiceIndex,
    by_namespace: BTreeMap<String, Vec<ServiceRef>>,
}

impl Services {
    /// Files Service objects with the namespaces they end up in.
    pub(crate) fn new(objects: Vec<(Value, String)>) -> Self {
        let mut by_namespace: BTreeMap<String, Vec<ServiceRef>> = BTreeMap::new();
        let mut services = Vec::new();
        for (object, namespace) in &objects {
            services.extend(Service::read(object, namespace));
            if let Some(service) = for_policy(object, namespace) {
                by_namespace
                    .entry(namespace.clone())
                    .or_default()
                    .push(service);
            }
        }
        for list in by_namespace.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        Self {
            index: ServiceIndex::new(services),
            by_namespace,
        }
    }

    /// The Services that show in the environment of pods of a namespace.
    pub(crate) fn of(&self, namespace: &str) -> &[ServiceRef] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }
}

fn for_policy(object: &Value, namespace: &str) -> Option<ServiceRef> {
    let text = |node: &Value, key: &str| node.get(key).and_then(Value::as_str).map(str::to_owned);
    let name = text(object.get("metadata")?, "name")?;
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let ports = spec
        .get("ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let ports = ports.filter_map(|port| {
        Some(ServicePort {
            name: text(port, "name"),
            port: u16::try_from(port.get("port")?.as_u64()?).ok()?,
            protocol: text(port, "protocol").unwrap_or_else(|| "TCP".to_owned()),
        })
    });
    Some(ServiceRef {
        name,
        namespace: namespace.to_owned(),
        ports: ports.collect(),
        headless: text(spec, "clusterIP").as_deref() == Some("None")
            || text(spec, "type").as_deref() == Some("ExternalName"),
    })
}
