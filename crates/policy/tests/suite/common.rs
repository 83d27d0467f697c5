//! Pods and images for the tests.

use std::collections::BTreeMap;

use nacre_findings::Severity;
use nacre_imagelock::{Entry, ImageReference, UserDatabase};
use nacre_policy::{Injected, Policy, ServiceRef, Target, WorkloadInput, generate};
use serde_json::{Value, json};

/// A workload with everything it refers to.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) metadata: Value,
    pub(crate) spec: Value,
    pub(crate) images: BTreeMap<String, Entry>,
    pub(crate) config_maps: BTreeMap<String, Value>,
    pub(crate) secrets: BTreeMap<String, Vec<String>>,
    pub(crate) services: Vec<ServiceRef>,
    pub(crate) claim_templates: Vec<String>,
    pub(crate) allow_secret_env: Vec<String>,
    pub(crate) target: &'static Target,
    pub(crate) initializer: bool,
    pub(crate) configure: fn(&mut WorkloadInput<'_>),
}

impl Case {
    pub(crate) fn new(kind: &str, name: &str, spec: Value) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            metadata: json!({"labels": {"app": name}}),
            spec,
            images: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            secrets: BTreeMap::new(),
            services: Vec::new(),
            claim_templates: Vec::new(),
            allow_secret_env: Vec::new(),
            target: Target::find("kata-3").unwrap(),
            initializer: false,
            configure: |_| {},
        }
    }

    /// Adds an image under the reference the pod uses.
    pub(crate) fn image(mut self, name: &str, change: impl FnOnce(&mut Entry)) -> Self {
        let reference = ImageReference::parse(name).unwrap();
        let digest = *reference.digest().unwrap();
        let mut entry = Entry::new(reference, digest);
        entry.config.env = vec!["PATH=/usr/local/bin:/usr/bin:/bin".to_owned()];
        entry.config.entrypoint = vec!["/app".to_owned()];
        entry.config.user = "1000:1000".to_owned();
        entry.users = Some(UserDatabase::default());
        change(&mut entry);
        self.images.insert(name.to_owned(), entry);
        self
    }

    pub(crate) fn with<T>(&self, run: impl FnOnce(&WorkloadInput<'_>) -> T) -> T {
        let images = |name: &str| self.images.get(name);
        let config_maps = |name: &str| self.config_maps.get(name);
        let secrets = |name: &str| self.secrets.get(name).cloned();
        let mut input = WorkloadInput::new(
            ("apps/v1", &self.kind, &self.name),
            &self.metadata,
            &self.spec,
            self.target,
        );
        input.namespace = Some("shop");
        input.images = &images;
        input.config_maps = &config_maps;
        input.secret_keys = &secrets;
        input.services = &self.services;
        input.volume_claim_templates = &self.claim_templates;
        input.allow_secret_env = &self.allow_secret_env;
        if self.initializer {
            input.injected = Injected {
                initializer: Some("contrast-initializer"),
                mesh: Some("contrast-service-mesh"),
                report_sources: &["/dev/sev-guest", "/sys/kernel/config"],
                report_capabilities: &["SYS_ADMIN", "SYS_MODULE"],
                guest_memory_volumes: &["contrast-tls-certs"],
                ..Injected::default()
            };
        }
        (self.configure)(&mut input);
        run(&input)
    }

    pub(crate) fn policy(&self) -> Policy {
        self.with(generate)
            .unwrap_or_else(|findings| panic!("{} is refused: {:#?}", self.name, findings))
    }
}

/// A pinned reference.
pub(crate) fn pinned(name: &str) -> String {
    let digest: String = name
        .bytes()
        .cycle()
        .take(32)
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("{name}@sha256:{digest}")
}

/// One container and nothing else.
pub(crate) fn small() -> Case {
    let image = pinned("ghcr.io/example/web:1.2");
    Case::new(
        "Deployment",
        "web",
        json!({"enableServiceLinks": false, "containers": [{"name": "web", "image": image}]}),
    )
    .image(&image, |_| {})
}

/// Initializer, mesh sidecar, app: what the transformation makes of a web service.
pub(crate) fn mesh() -> Case {
    let (app, init, proxy) = (
        pinned("ghcr.io/example/web:1.2"),
        pinned("ghcr.io/example/initializer:v0.1.0"),
        pinned("ghcr.io/example/mesh:v0.1.0"),
    );
    let certs = json!({"name": "contrast-tls-certs", "mountPath": "/tls-config"});
    let spec = json!({
        "enableServiceLinks": false,
        "runtimeClassName": "contrast-cc",
        "initContainers": [
            {
                "name": "contrast-initializer", "image": init,
                "env": [{"name": "COORDINATOR_HOST", "value": "coordinator"}],
                "securityContext": {"runAsUser": 0, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [certs, {"name": "sev", "mountPath": "/dev/sev-guest"}],
                "resources": {"limits": {"memory": "64Mi"}},
            },
            {
                "name": "contrast-service-mesh", "image": proxy, "restartPolicy": "Always",
                "env": [{"name": "CONTRAST_INGRESS_PROXY_CONFIG", "value": "web#8080#false"}],
                "securityContext": {"runAsUser": 0, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}},
                "startupProbe": {"exec": {"command": ["/nacre-mesh", "ready"]}},
                "volumeMounts": [certs],
            },
        ],
        "containers": [{
            "name": "web", "image": app,
            "command": ["/app"], "args": ["--name=$(POD_NAME)", "--port", "8080"],
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "URL", "value": "http://$(POD_IP):8080/$(NONE)"},
                {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "greeting"}}},
            ],
            "livenessProbe": {"exec": {"command": ["/app", "--healthy"]}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
            "volumeMounts": [
                certs,
                {"name": "cache", "mountPath": "/cache"},
                {"name": "settings", "mountPath": "/etc/web", "readOnly": true},
            ],
        }],
        "volumes": [
            {"name": "contrast-tls-certs", "emptyDir": {"medium": "Memory"}},
            {"name": "sev", "hostPath": {"path": "/dev/sev-guest"}},
            {"name": "cache", "emptyDir": {}},
            {"name": "settings", "configMap": {"name": "web"}},
        ],
    });
    let mut case = Case::new("Deployment", "web", spec)
        .image(&app, |_| {})
        .image(&init, |e| {
            e.config.entrypoint = vec!["/nacre-initializer".to_owned()]
        })
        .image(&proxy, |e| {
            e.config.entrypoint = vec!["/nacre-mesh".to_owned()]
        });
    case.initializer = true;
    case.config_maps.insert(
        "web".to_owned(),
        json!({"kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"greeting": "hello = \"world\"\n"}}),
    );
    case
}

/// A pod of twenty containers of one image.
pub(crate) fn twenty() -> Case {
    let mut case = small();
    let first = case.spec["containers"][0].clone();
    let containers = (0..20).map(|n| {
        let mut container = first.clone();
        container["name"] = format!("web-{n}").into();
        container["args"] = json!(["--number", n.to_string()]);
        container
    });
    case.spec["containers"] = containers.collect();
    case
}

/// A pod of so many containers. The peer wants their user in the pod, and no group that only the image gives.
pub(crate) fn many(count: usize) -> Case {
    let image = pinned("ghcr.io/example/web:1.2");
    let containers: Vec<_> = (0..count)
        .map(|number| {
            let user = json!({"runAsUser": 65532, "runAsGroup": 0});
            let args = ["--number".to_owned(), number.to_string()];
            let name = format!("web-{number}");
            json!({"name": name, "image": image, "args": args, "securityContext": user})
        })
        .collect();
    let spec = json!({"enableServiceLinks": false, "containers": containers});
    Case::new("Deployment", "web", spec).image(&image, |entry| {
        entry.config.user = "65532:0".to_owned();
    })
}

/// Every kind of field that a message can have: devices, storages, block volumes, probes, output
/// that may be read.
pub(crate) fn rich(target: &str) -> Case {
    let mut case = small();
    case.target = Target::find(target).unwrap();
    case.configure = |input| input.profile = nacre_policy::Profile::Logs;
    case.spec["volumes"] = json!([
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "disk", "emptyDir": {}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "x"}},
        {"name": "files", "configMap": {"name": "x"}},
    ]);
    let container = &mut case.spec["containers"][0];
    container["volumeMounts"] = json!([
        {"name": "memory", "mountPath": "/memory"},
        {"name": "disk", "mountPath": "/disk"},
        {"name": "files", "mountPath": "/files"},
    ]);
    container["volumeDevices"] = json!([{"name": "claim", "devicePath": "/dev/xvda"}]);
    container["livenessProbe"] = json!({"exec": {"command": ["/app", "--healthy"]}});
    case
}

/// A container that the host may attach to.
pub(crate) fn attached() -> Case {
    let mut case = small();
    case.configure = |input| input.profile = nacre_policy::Profile::Debug;
    case.spec["containers"][0]["stdin"] = json!(true);
    case
}

/// The codes and fields of the errors of a pod that is refused.
pub(crate) fn errors(case: &Case) -> Vec<(String, String)> {
    let findings = case
        .with(nacre_policy::generate)
        .expect_err("must be refused");
    findings
        .into_iter()
        .filter(|f| f.severity == Severity::Error)
        .map(|f| (f.code.to_string(), f.field.unwrap_or_default()))
        .collect()
}

/// Sets a member of the pod spec.
pub(crate) fn set(case: &mut Case, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    case.spec.pointer_mut(parent).unwrap()[key] = value;
}
