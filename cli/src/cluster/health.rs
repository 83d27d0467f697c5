//! What a cluster is made of, and what of it gets in the way of confidential pods.

use nacre_findings::{Finding, ResourceRef, codes};
use nacre_platform::{Installer, Platform};
use nacre_policy::Target;
use nacre_workload::select::is_confidential_class;
use serde::Serialize;
use serde_json::Value;

use super::admission;

/// Part of the image name of Kata's installer.
const INSTALLER: &str = "kata-deploy";

/// Objects of a cluster, as its API server gave them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// `/version`.
    pub(crate) version: Value,
    /// The namespace that workloads go to.
    pub(crate) namespace: Value,
    pub(crate) nodes: Vec<Value>,
    pub(crate) runtime_classes: Vec<Value>,
    pub(crate) daemon_sets: Vec<Value>,
    pub(crate) webhooks: Vec<Value>,
    /// Each with its `apiVersion`.
    pub(crate) admission_policies: Vec<Value>,
    pub(crate) limit_ranges: Vec<Value>,
    /// The StatefulSet `coordinator`.
    pub(crate) coordinator: Option<Value>,
    /// Its pods, by name, and what each says on `/ready`, where it can be asked.
    pub(crate) coordinators: Vec<(String, Option<String>)>,
}

/// What is known of a cluster.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    pub(crate) kubernetes: String,
    /// Name, ready nodes it selects.
    pub(crate) runtime_classes: Vec<RuntimeClass>,
    pub(crate) nodes: Vec<Node>,
    /// Version of Kata, where its installer tells.
    pub(crate) kata: Option<String>,
    /// What `policy.target` should be.
    pub(crate) proposed_target: Option<&'static str>,
    pub(crate) coordinator: String,
}

/// A confidential runtime class.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuntimeClass {
    pub(crate) name: String,
    pub(crate) handler: String,
    pub(crate) ready_nodes: usize,
    /// Name of the platform, where this version knows the class.
    pub(crate) platform: Option<&'static str>,
}

/// A node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) ready: bool,
    pub(crate) kubelet: String,
    pub(crate) runtime: String,
}

/// What the configuration expects.
#[derive(Debug, Default)]
pub(crate) struct Expected<'a> {
    pub(crate) platform: Option<&'a str>,
    pub(crate) target: Option<&'a str>,
    pub(crate) namespace: &'a str,
}

/// Reads the objects; findings are what will keep pods from running as rendered.
pub(crate) fn examine(objects: &Objects, expected: &Expected<'_>) -> (Facts, Vec<Finding>) {
    let mut findings = Vec::new();
    let nodes: Vec<Node> = objects.nodes.iter().map(node).collect();
    let runtime_classes = runtime_classes(objects, expected, &mut findings);
    let kata = kata_version(objects, expected);
    installers(objects, &mut findings);
    let proposed_target = kata.as_deref().and_then(Target::of_kata);
    let proposed_target = proposed_target.map(|target| target.name);
    if let (Some(version), None) = (&kata, proposed_target)
        && version.starts_with(|first: char| first.is_ascii_digit())
    {
        let message = format!("policies fit no guest of Kata {version}, which is on the nodes");
        findings
            .push(Finding::error(codes::cluster::NODE_UNSUITED, message).help(
                "install a version of Kata that one of the targets lists (docs/policies.md)",
            ));
    }
    versions(&nodes, proposed_target, expected, &mut findings);
    admission::examine(objects, &mut findings);
    limit_ranges(objects, &mut findings);
    if objects.namespace.is_null() {
        let message = format!("there is no namespace {}", expected.namespace);
        let help = format!(
            "kubectl create namespace {}, unless the deployment makes it, or name another in the configuration",
            expected.namespace
        );
        // Whoever deploys may make it: `helm --create-namespace`, `CreateNamespace=true` of Argo CD.
        findings.push(Finding::warning(codes::cluster::NAMESPACE_MISSING, message).help(help));
    } else {
        pod_security(objects, expected.namespace, &mut findings);
    }
    let coordinator = coordinator(objects, expected, &mut findings);
    let facts = Facts {
        kubernetes: text(&objects.version, "/gitVersion").to_owned(),
        runtime_classes,
        nodes,
        kata,
        proposed_target,
        coordinator,
    };
    (facts, findings)
}

fn node(node: &Value) -> Node {
    let info = |name: &str| text(node, &format!("/status/nodeInfo/{name}")).to_owned();
    Node {
        name: text(node, "/metadata/name").to_owned(),
        ready: is_ready(node),
        kubelet: info("kubeletVersion"),
        runtime: info("containerRuntimeVersion"),
    }
}

fn is_ready(node: &Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
    })
}

fn runtime_classes(
    objects: &Objects,
    expected: &Expected<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<RuntimeClass> {
    let ours: Vec<RuntimeClass> = objects
        .runtime_classes
        .iter()
        .filter(|class| is_confidential_class(text(class, "/metadata/name")))
        .map(|class| runtime_class(class, &objects.nodes))
        .collect();
    for class in ours.iter().filter(|class| class.ready_nodes == 0) {
        findings.push(
            Finding::error(
                codes::cluster::NO_NODE,
                format!(
                    "no ready node has the labels of runtime class {}",
                    class.name
                ),
            )
            .resource(resource("node.k8s.io/v1", "RuntimeClass", &class.name)),
        );
    }
    for class in ours.iter().filter(|class| is_in_rust(&class.handler)) {
        let message = format!(
            "the handler {} of runtime class {} is Kata's runtime in Rust, which asks in ways that no target knows",
            class.handler, class.name
        );
        findings.push(
            Finding::error(codes::cluster::NODE_UNSUITED, message)
                .help("name the handler without -runtime-rs: it is Kata's runtime in Go (docs/policies.md)")
                .resource(resource("node.k8s.io/v1", "RuntimeClass", &class.name)),
        );
    }
    let wanted = expected
        .platform
        .and_then(|name| nacre_platform::find(name).ok());
    match wanted {
        Some(platform) => {
            let name = platform.runtime_class_name();
            if !ours.iter().any(|class| class.name == name) {
                findings.push(
                    Finding::error(
                        codes::cluster::RUNTIME_CLASS_MISSING,
                        format!("the cluster has no runtime class {name}"),
                    )
                    .help(format!(
                        "nacre runtime --platform {} | kubectl apply -f -",
                        platform.name
                    )),
                );
            }
        }
        None if ours.is_empty() => findings.push(
            Finding::error(
                codes::cluster::RUNTIME_CLASS_MISSING,
                "the cluster has no runtime class for confidential pods",
            )
            .help("nacre runtime --platform NAME | kubectl apply -f -"),
        ),
        None => {}
    }
    ours
}

/// Kata's chart names the handlers of its second runtime so, before the suffix of an installation.
fn is_in_rust(handler: &str) -> bool {
    handler.ends_with("-runtime-rs") || handler.contains("-runtime-rs-")
}

fn runtime_class(class: &Value, nodes: &[Value]) -> RuntimeClass {
    let name = text(class, "/metadata/name");
    let selector = class
        .pointer("/scheduling/nodeSelector")
        .and_then(Value::as_object);
    let selects = |node: &&Value| {
        let labels = node.pointer("/metadata/labels");
        selector
            .into_iter()
            .flatten()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    };
    let known = nacre_platform::platforms()
        .iter()
        .find(|platform| platform.runtime_class_name() == name);
    RuntimeClass {
        name: name.to_owned(),
        handler: text(class, "/handler").to_owned(),
        ready_nodes: nodes
            .iter()
            .filter(|node| is_ready(node))
            .filter(selects)
            .count(),
        platform: known.map(|platform| platform.name.as_str()),
    }
}

/// The installer of a platform that this version knows, and its platform.
fn installed(set: &Value) -> Option<(&'static Platform, &Value)> {
    let container = set.pointer("/spec/template/spec/containers/0")?;
    let env = container.get("env")?.as_array()?;
    let suffix = env
        .iter()
        .find(|entry| text(entry, "/name") == "MULTI_INSTALL_SUFFIX")?;
    let platform = nacre_platform::platforms()
        .iter()
        .find(|platform| platform.data_hash() == text(suffix, "/value"))?;
    Some((platform, container))
}

/// Installers that have not done their work, or bring another guest than manifests say.
fn installers(objects: &Objects, findings: &mut Vec<Finding>) {
    for set in &objects.daemon_sets {
        let Some((platform, container)) = installed(set) else {
            continue;
        };
        let (namespace, name) = (
            text(set, "/metadata/namespace"),
            text(set, "/metadata/name"),
        );
        let about = |finding: Finding| {
            let mut resource = resource("apps/v1", "DaemonSet", name);
            resource.namespace = Some(namespace.to_owned());
            finding.resource(resource)
        };
        let count = |field: &str| {
            set.pointer(&format!("/status/{field}"))
                .and_then(Value::as_u64)
        };
        let (wanted, ready) = (count("desiredNumberScheduled"), count("numberReady"));
        if wanted.is_some() && wanted != ready {
            let message = format!(
                "the runtime of {} is ready on {} of {} nodes",
                platform.name,
                ready.unwrap_or_default(),
                wanted.unwrap_or_default()
            );
            let finding = Finding::warning(codes::cluster::NO_NODE, message);
            findings.push(about(finding.help(format!(
                "kubectl --namespace {namespace} rollout status daemonset {name}"
            ))));
        }
        let pinned = platform.runtime.installer.as_ref();
        let digest = |image: &str| image.rsplit_once('@').map(|(_, digest)| digest.to_owned());
        let is_pinned = |installer: &&Installer| {
            digest(&installer.image).is_some_and(|d| digest(text(container, "/image")) == Some(d))
        };
        if let Some(installer) = pinned.filter(is_pinned)
            && installer.host_data_binding != platform.data.host_data_binding
        {
            let message = format!(
                "manifests of {} say that the guest refuses a policy other than the one in HOST_DATA; the guest \
                 of this installer does not",
                platform.name
            );
            findings.push(about(
                Finding::error(codes::cluster::GUEST_UNSUITED, message).help(
                    "nacre runtime --installer-image NAME@sha256:…, or the platform kata-qemu-snp",
                ),
            ));
        }
    }
}

/// The version in the tag of Kata's installer: of the one for the platform, else of any; or in the annotation it
/// puts on runtime classes.
fn kata_version(objects: &Objects, expected: &Expected<'_>) -> Option<String> {
    let tag = |container: &Value| {
        let image = text(container, "/image");
        let (_, tag) = image.split('@').next()?.rsplit_once(':')?;
        let is_version = tag.starts_with(|first: char| first.is_ascii_digit());
        (image.contains(INSTALLER) && is_version).then(|| tag.to_owned())
    };
    let sets = || objects.daemon_sets.iter();
    let own = sets()
        .filter_map(installed)
        .find_map(|(platform, container)| {
            let wanted = expected.platform.is_none_or(|name| name == platform.name);
            wanted.then(|| tag(container)).flatten()
        });
    let annotated = || {
        objects.runtime_classes.iter().find_map(|class| {
            let annotations = class.pointer("/metadata/annotations")?;
            let version = annotations.get("katacontainers.io/kata-version")?;
            version.as_str().map(str::to_owned)
        })
    };
    let tagged = || {
        let containers = sets().flat_map(|set| {
            let containers = set.pointer("/spec/template/spec/containers");
            containers.and_then(Value::as_array).into_iter().flatten()
        });
        containers.into_iter().find_map(tag)
    };
    own.or_else(annotated).or_else(tagged)
}

fn versions(
    nodes: &[Node],
    proposed: Option<&'static str>,
    expected: &Expected<'_>,
    findings: &mut Vec<Finding>,
) {
    if let Some(proposed) = proposed {
        let default = Target::default_for(nacre_policy::target::ImageDelivery::GuestPull).name;
        let configured = expected.target.unwrap_or(default);
        let same = Target::find(configured).is_some_and(|target| target.name == proposed);
        if !same {
            findings.push(
                Finding::error(
                    codes::cluster::NODE_UNSUITED,
                    format!(
                        "policies are made for {configured}, but Kata on the nodes needs {proposed}"
                    ),
                )
                .help(format!("set policy.target: {proposed} and render again")),
            );
        }
    }
    for node in nodes {
        let Some(version) = node.runtime.strip_prefix("containerd://") else {
            findings.push(Finding::warning(
                codes::cluster::NODE_UNSUITED,
                format!(
                    "node {} runs {}: policies are made for containerd",
                    node.name, node.runtime
                ),
            ));
            continue;
        };
        let mut parts = version.split('.');
        let (major, minor) = (parts.next(), parts.next());
        if !matches!((major, minor), (Some("1"), Some("7")) | (Some("2"), _)) {
            findings.push(Finding::warning(
                codes::cluster::NODE_UNSUITED,
                format!(
                    "node {} runs containerd {version}: policies are made for 1.7 and 2.x",
                    node.name
                ),
            ));
        }
    }
}

fn limit_ranges(objects: &Objects, findings: &mut Vec<Finding>) {
    for range in &objects.limit_ranges {
        let limits = range.pointer("/spec/limits").and_then(Value::as_array);
        let defaults = limits.into_iter().flatten().any(|limit| {
            text(limit, "/type") == "Container"
                && (limit.get("default").is_some() || limit.get("defaultRequest").is_some())
        });
        if defaults {
            let name = text(range, "/metadata/name");
            findings.push(
                Finding::error(
                    codes::cluster::LIMIT_RANGE,
                    format!(
                        "LimitRange {name} gives containers limits that their policy does not know"
                    ),
                )
                .resource(resource("v1", "LimitRange", name)),
            );
        }
    }
}

fn pod_security(objects: &Objects, namespace: &str, findings: &mut Vec<Finding>) {
    let labels = objects.namespace.pointer("/metadata/labels");
    let level = labels.and_then(|labels| labels.get("pod-security.kubernetes.io/enforce"));
    let level = level.and_then(Value::as_str).unwrap_or("privileged");
    let (severity, what) = match level {
        "privileged" => return,
        "baseline" => ("warning", "pods with a mesh sidecar"),
        _ => ("error", "confidential pods"),
    };
    let message =
        format!("namespace {namespace} enforces Pod Security {level}, which refuses {what}");
    let finding = match severity {
        "warning" => Finding::warning(codes::cluster::POD_SECURITY, message),
        _ => Finding::error(codes::cluster::POD_SECURITY, message),
    };
    findings.push(finding.resource(resource("v1", "Namespace", namespace)));
}

/// One line about the Coordinator.
fn coordinator(objects: &Objects, expected: &Expected<'_>, findings: &mut Vec<Finding>) -> String {
    let unhealthy =
        |message: String| Finding::warning(codes::cluster::COORDINATOR_UNHEALTHY, message);
    let Some(set) = &objects.coordinator else {
        let message = format!(
            "there is no Coordinator in namespace {}",
            expected.namespace
        );
        findings.push(unhealthy(message).help(
            "nacre coordinator-resources -o coordinator.yml && kubectl apply -f coordinator.yml",
        ));
        return "absent".to_owned();
    };
    let count = |pointer: &str| set.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let (wanted, ready) = (count("/spec/replicas"), count("/status/readyReplicas"));
    let mut line = format!("{ready} of {wanted} ready");
    let mut silent = wanted.saturating_sub(ready);
    // What a Coordinator that is not ready says on `/ready`, what that means, and what to do.
    for (phase, message, help) in [
        (
            "sealed",
            "restarted and waits for recovery",
            "run `nacre recover` with the key of a seed-share owner",
        ),
        (
            "empty",
            "has no manifest yet",
            "run `nacre set` with the manifest",
        ),
    ] {
        let said = objects.coordinators.iter();
        let pods: Vec<&str> = said
            .filter(|(_, said)| said.as_deref() == Some(phase))
            .map(|(name, _)| name.as_str())
            .collect();
        if !pods.is_empty() {
            line.push_str(&format!(", {} {phase}", pods.len()));
            silent = silent.saturating_sub(pods.len().try_into().unwrap_or(u64::MAX));
            findings.push(unhealthy(format!("{} {message}", pods.join(", "))).help(help));
        }
    }
    if silent > 0 {
        let message =
            format!("{silent} of {wanted} Coordinators are not ready, and do not say why");
        findings.push(
            unhealthy(message).help(
                "look at the pod: kubectl describe pod -l app.kubernetes.io/name=coordinator",
            ),
        );
    }
    line
}

pub(super) fn resource(api_version: &str, kind: &str, name: &str) -> ResourceRef {
    ResourceRef {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        name: name.to_owned(),
    }
}

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
