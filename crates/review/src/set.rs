//! A rendered set of resources, as it would be applied.

use std::collections::BTreeMap;

use nacre_findings::{Location, ResourceRef};
use nacre_krm::{ObjectRef, Stream};
use nacre_manifest::{Identity, PolicyHash};
use nacre_policy::carrier::{Carrier, CarrierError, Decoded};
use nacre_workload::kinds::{Kinds, TemplatePath};
use nacre_workload::object::resource_ref;
use nacre_workload::select::is_confidential_class;
use serde_json::Value;

/// Namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The objects of some texts, read once.
#[derive(Debug, Clone, Default)]
pub struct RenderedSet {
    /// Every object, in order.
    pub objects: Vec<RenderedObject>,
}

/// One object of a rendered set.
#[derive(Debug, Clone)]
pub struct RenderedObject {
    /// Which object it is.
    pub resource: ResourceRef,
    /// The namespace it ends up in.
    pub namespace: String,
    /// Where it stands, for people.
    pub location: Location,
    /// Where it stands: which text, and where in it.
    pub place: (usize, ObjectRef),
    /// The object.
    pub value: Value,
    /// Where its pod template stands, if it has one.
    pub template: Option<TemplatePath>,
}

impl RenderedSet {
    /// Reads texts with the names they are known by. `default_namespace` is that of objects which name
    /// none.
    pub fn read<'a>(
        sources: impl IntoIterator<Item = (Option<&'a str>, &'a Stream)>,
        kinds: &Kinds,
        default_namespace: &str,
    ) -> Self {
        let mut objects = Vec::new();
        for (source, (file, stream)) in sources.into_iter().enumerate() {
            for at in stream.objects() {
                let Some(document) = stream.documents().get(at.document) else {
                    continue;
                };
                let Some(value) = document.value(&at.base) else {
                    continue;
                };
                let resource = resource_ref(&value);
                let namespace = resource.namespace.clone();
                let namespace = namespace.unwrap_or_else(|| default_namespace.to_owned());
                let position = document.position(&at.base);
                let template = kinds
                    .template(&resource.api_version, &resource.kind)
                    .cloned();
                let location = Location {
                    file: file.map(str::to_owned),
                    index: u32::try_from(at.document).ok(),
                    line: Some(position.line),
                    column: Some(position.column),
                };
                objects.push(RenderedObject {
                    resource,
                    location,
                    namespace,
                    place: (source, at),
                    value,
                    template,
                });
            }
        }
        Self { objects }
    }

    /// The objects of one source, with the kinds of Kubernetes only.
    pub fn of(source: &nacre_generate::Source) -> Self {
        let text = (source.file.as_deref(), &source.stream);
        Self::read([text], &Kinds::default(), DEFAULT_NAMESPACE)
    }

    /// The confidential workloads: pods whose runtime class is ours.
    pub fn workloads(&self) -> impl Iterator<Item = &RenderedObject> {
        self.objects
            .iter()
            .filter(|object| object.is_confidential())
    }

    /// Confidential workloads by identity; of two with the same identity the later one, which is what
    /// a cluster keeps.
    pub fn by_identity(&self) -> BTreeMap<Identity, &RenderedObject> {
        self.workloads()
            .map(|object| (object.identity(), object))
            .collect()
    }
}

impl RenderedObject {
    /// Namespace, kind and name.
    pub fn identity(&self) -> Identity {
        Identity::new(&self.namespace, &self.resource.kind, &self.resource.name)
    }

    /// The pod spec.
    pub fn pod_spec(&self) -> Option<&Value> {
        self.template.as_ref()?.pod_spec(&self.value)
    }

    /// Metadata of the pods.
    pub fn pod_metadata(&self) -> Option<&Value> {
        self.template
            .as_ref()?
            .template(&self.value)?
            .get("metadata")
    }

    /// The runtime class of the pods.
    pub fn runtime_class(&self) -> Option<&str> {
        self.pod_spec()?.get("runtimeClassName")?.as_str()
    }

    /// Whether the pods are to be confidential.
    pub fn is_confidential(&self) -> bool {
        self.runtime_class().is_some_and(is_confidential_class)
    }

    /// The policy that the pods carry, or why its annotation cannot be read. `None` without one.
    pub fn policy(&self) -> Option<(Carrier, Result<Decoded, CarrierError>)> {
        let annotations = self.pod_metadata()?.get("annotations")?.as_object()?;
        // A guest that knows both takes the newer one.
        [Carrier::InitData, Carrier::AgentPolicy]
            .into_iter()
            .find_map(|carrier| {
                let value = annotations.get(carrier.annotation_key())?.as_str()?;
                Some((carrier, carrier.unpack(value)))
            })
    }

    /// Hash of the policy that the pods carry, where it can be read.
    pub fn policy_hash(&self) -> Option<PolicyHash> {
        self.policy()?.1.ok().map(|decoded| decoded.hash)
    }
}
