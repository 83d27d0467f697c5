//! A workload's input as values of its own, so that it outlives what it was read from.

use std::cell::RefCell;
use std::collections::BTreeMap;

use nacre_imagelock::Entry;
use nacre_manifest::Profile;
use serde_json::Value;

use crate::input::{Injected, ServiceRef, WorkloadInput};
use crate::target::Target;

/// Everything one policy was made from: the pod, and of the lock and the rendered set what it
/// refers to.
///
/// Whoever wants to replay a pod's requests asks the transformation for these instead of finding
/// ConfigMaps, Services and images by rules of its own.
#[derive(Clone, Debug)]
pub struct Facts {
    who: [String; 3],
    namespace: Option<String>,
    pod_metadata: Value,
    pod_spec: Value,
    pod_spec_path: String,
    volume_claim_templates: Vec<String>,
    indexed: bool,
    automount: Option<bool>,
    images: BTreeMap<String, Entry>,
    config_maps: BTreeMap<String, Value>,
    secret_keys: BTreeMap<String, Vec<String>>,
    services: Vec<ServiceRef>,
    target: Target,
    profile: Profile,
    strict: bool,
    allow_secret_env: Vec<String>,
    initializer: Option<String>,
    renewer: Option<String>,
    mesh: Option<String>,
    coordinator: bool,
    report_sources: Vec<String>,
    report_capabilities: Vec<String>,
    guest_memory_volumes: Vec<String>,
}

impl Facts {
    /// Runs something with an input, and keeps every answer that it was given.
    pub fn record<R>(
        input: &WorkloadInput<'_>,
        run: impl FnOnce(&WorkloadInput<'_>) -> R,
    ) -> (R, Self) {
        let images: RefCell<BTreeMap<String, Entry>> = RefCell::default();
        let config_maps: RefCell<BTreeMap<String, Value>> = RefCell::default();
        let secret_keys: RefCell<BTreeMap<String, Vec<String>>> = RefCell::default();
        let result = {
            let image = |name: &str| {
                let found = (input.images)(name);
                keep(&images, name, found);
                found
            };
            let config_map = |name: &str| {
                let found = (input.config_maps)(name);
                keep(&config_maps, name, found);
                found
            };
            let keys = |name: &str| {
                let found = (input.secret_keys)(name);
                keep(&secret_keys, name, found.as_ref());
                found
            };
            run(&WorkloadInput {
                api_version: input.api_version,
                kind: input.kind,
                name: input.name,
                namespace: input.namespace,
                pod_metadata: input.pod_metadata,
                pod_spec: input.pod_spec,
                pod_spec_path: input.pod_spec_path,
                volume_claim_templates: input.volume_claim_templates,
                indexed: input.indexed,
                automount: input.automount,
                images: &image,
                config_maps: &config_map,
                secret_keys: &keys,
                services: input.services,
                target: input.target,
                profile: input.profile,
                strict: input.strict,
                allow_secret_env: input.allow_secret_env,
                injected: input.injected,
            })
        };
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let facts = Self {
            who: [input.api_version, input.kind, input.name].map(str::to_owned),
            namespace: input.namespace.map(str::to_owned),
            pod_metadata: input.pod_metadata.clone(),
            pod_spec: input.pod_spec.clone(),
            pod_spec_path: input.pod_spec_path.to_owned(),
            volume_claim_templates: input.volume_claim_templates.to_vec(),
            indexed: input.indexed,
            automount: input.automount,
            images: images.into_inner(),
            config_maps: config_maps.into_inner(),
            secret_keys: secret_keys.into_inner(),
            services: input.services.to_vec(),
            target: input.target.clone(),
            profile: input.profile,
            strict: input.strict,
            allow_secret_env: input.allow_secret_env.to_vec(),
            initializer: input.injected.initializer.map(str::to_owned),
            renewer: input.injected.renewer.map(str::to_owned),
            mesh: input.injected.mesh.map(str::to_owned),
            coordinator: input.injected.coordinator,
            report_sources: owned(input.injected.report_sources),
            report_capabilities: owned(input.injected.report_capabilities),
            guest_memory_volumes: owned(input.injected.guest_memory_volumes),
        };
        (result, facts)
    }

    /// The input again.
    pub fn with<R>(&self, run: impl FnOnce(&WorkloadInput<'_>) -> R) -> R {
        let images = |name: &str| self.images.get(name);
        let config_maps = |name: &str| self.config_maps.get(name);
        let secret_keys = |name: &str| self.secret_keys.get(name).cloned();
        let sources = borrowed(&self.report_sources);
        let capabilities = borrowed(&self.report_capabilities);
        let volumes = borrowed(&self.guest_memory_volumes);
        let [api_version, kind, name] = &self.who;
        run(&WorkloadInput {
            api_version,
            kind,
            name,
            namespace: self.namespace.as_deref(),
            pod_metadata: &self.pod_metadata,
            pod_spec: &self.pod_spec,
            pod_spec_path: &self.pod_spec_path,
            volume_claim_templates: &self.volume_claim_templates,
            indexed: self.indexed,
            automount: self.automount,
            images: &images,
            config_maps: &config_maps,
            secret_keys: &secret_keys,
            services: &self.services,
            target: &self.target,
            profile: self.profile,
            strict: self.strict,
            allow_secret_env: &self.allow_secret_env,
            injected: Injected {
                initializer: self.initializer.as_deref(),
                renewer: self.renewer.as_deref(),
                mesh: self.mesh.as_deref(),
                coordinator: self.coordinator,
                report_sources: &sources,
                report_capabilities: &capabilities,
                guest_memory_volumes: &volumes,
            },
        })
    }

    /// The finished pod specification.
    pub fn pod_spec(&self) -> &Value {
        &self.pod_spec
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn keep<T: Clone>(kept: &RefCell<BTreeMap<String, T>>, name: &str, found: Option<&T>) {
    if let Some(found) = found {
        let mut kept = kept.borrow_mut();
        if !kept.contains_key(name) {
            kept.insert(name.to_owned(), found.clone());
        }
    }
}
