//! `nacre doctor`: whether a cluster can run what is rendered for it.

use nacre_findings::has_errors;
use nacre_framing::arguments::Flags;
use serde_json::{Value, json};

use crate::cluster::admission;
use crate::cluster::connect::{Cluster, ClusterArgs, block_on};
use crate::cluster::health::{Expected, Facts, Objects, examine};
use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::resources;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io";

/// Port of the Coordinator's health, where its pod names none.
const HEALTH_PORT: u64 = 9102;
/// The name of that port.
const HEALTH: &str = "health";

/// Check that a cluster can run confidential pods as they are rendered
///
/// Reads runtime classes, nodes, versions of Kata and containerd, admission webhooks, admission policies and
/// LimitRanges that change pods or workloads after their policy was made, Pod Security of the namespace, and the Coordinator. Changes
/// nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let settings = resources::settings(&args.flags, &[], context)?;
    let platform = settings.config.platform.as_deref();
    platform.map(resources::platform).transpose()?;
    let (server, namespace, objects) = block_on(async {
        let cluster = Cluster::connect(&args.cluster).await?;
        let namespace = settings.config.namespace.as_deref();
        let namespace = namespace.unwrap_or(&cluster.namespace).to_owned();
        let objects = read(&cluster, &namespace).await?;
        Ok((cluster.server, namespace, objects))
    })?;
    let expected = Expected {
        platform,
        target: settings.config.policy.target.as_deref(),
        namespace: &namespace,
    };
    let (facts, findings) = examine(&objects, &expected);
    let passed = !has_errors(&findings);
    context.report(findings);
    context.publish()?;
    if context.output == Output::Json {
        let facts = serde_json::to_value(&facts).unwrap_or_default();
        context.print_json(json!({
            "passed": passed, "server": server, "namespace": namespace, "facts": facts,
        }))?;
    } else {
        context.print(&described(&facts, &server, &namespace))?;
    }
    match passed {
        true => Ok(()),
        false => Err(CommandError::new(Kind::Refused, Vec::new())),
    }
}

async fn read(cluster: &Cluster, namespace: &str) -> Result<Objects, CommandError> {
    let one = async |path: String| -> Result<Value, CommandError> {
        Ok(cluster.get(&path).await?.unwrap_or_default())
    };
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let mut coordinators = Vec::new();
    // Who may not list pods learns less.
    for pod in cluster.list(&pods).await.unwrap_or_default() {
        let name = pod.pointer("/metadata/name").and_then(Value::as_str);
        let label = pod.pointer("/metadata/labels/app.kubernetes.io~1name");
        if let (Some(name), Some("coordinator")) = (name, label.and_then(Value::as_str)) {
            let port = health_port(&pod);
            let ready = format!("{pods}/{name}:{port}/proxy/ready");
            coordinators.push((name.to_owned(), cluster.words(&ready).await));
        }
    }
    let mut admission_policies = Vec::new();
    for version in admission::POLICY_VERSIONS {
        let path = format!("{ADMISSION}/{version}/mutatingadmissionpolicies");
        admission_policies.push((version, cluster.list(&path).await?));
    }
    Ok(Objects {
        coordinators,
        version: one("/version".to_owned()).await?,
        namespace: one(format!("/api/v1/namespaces/{namespace}")).await?,
        nodes: cluster.list("/api/v1/nodes").await?,
        runtime_classes: cluster.list("/apis/node.k8s.io/v1/runtimeclasses").await?,
        daemon_sets: cluster.list("/apis/apps/v1/daemonsets").await?,
        webhooks: cluster
            .list(&format!("{ADMISSION}/v1/mutatingwebhookconfigurations"))
            .await?,
        admission_policies: admission::policies(admission_policies),
        limit_ranges: cluster
            .list(&format!("/api/v1/namespaces/{namespace}/limitranges"))
            .await?,
        coordinator: cluster
            .get(&format!(
                "/apis/apps/v1/namespaces/{namespace}/statefulsets/coordinator"
            ))
            .await?,
    })
}

/// The port at which a Coordinator's pod answers about its health.
fn health_port(pod: &Value) -> u64 {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let ports = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("ports")?.as_array());
    ports
        .flatten()
        .filter(|port| port.get("name").and_then(Value::as_str) == Some(HEALTH))
        .find_map(|port| port.get("containerPort")?.as_u64())
        .unwrap_or(HEALTH_PORT)
}

fn described(facts: &Facts, server: &str, namespace: &str) -> String {
    let mut text = format!(
        "cluster          {server}, Kubernetes {}\nnamespace        {namespace}\n",
        facts.kubernetes
    );
    for class in &facts.runtime_classes {
        let platform = class.platform.map_or("of another version", |name| name);
        text.push_str(&format!(
            "runtime class    {} ({platform}), handler {}, {} ready nodes\n",
            class.name, class.handler, class.ready_nodes
        ));
    }
    for node in &facts.nodes {
        let ready = if node.ready { "" } else { ", not ready" };
        text.push_str(&format!(
            "node             {}: kubelet {}, {}{ready}\n",
            node.name, node.kubelet, node.runtime
        ));
    }
    let kata = facts.kata.as_deref().unwrap_or("version unknown");
    text.push_str(&format!("kata             {kata}\n"));
    if let Some(target) = facts.proposed_target {
        text.push_str(&format!("policy.target    {target}\n"));
    }
    text.push_str(&format!("coordinator      {}\n", facts.coordinator));
    text
}
