//! `nacre coordinator-resources`: the Coordinator's objects, finished for these owners.

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, codes};
use nacre_framing::arguments::Flags;
use nacre_framing::input::{self, Text};
use nacre_framing::settings::{self, COORDINATOR_FILE, Settings};
use nacre_framing::transform;
use nacre_generate::Mode;
use nacre_workload::names::COORDINATOR_IMAGE;

use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::files::write_result;
use crate::resources;

/// Above objects whose image is labelled so.
const STAND_IN: &str = "\
# An example. The lock that this was made with pins a stand-in for the Coordinator's image, labelled
# nacre.dev/stand-in: it says so and fails, and no registry has it. For a cluster print these objects with a
# release, or lock the images of your own build first.
#
";

/// Print the Kubernetes objects of the Coordinator, with its policy
///
/// The owners of the configuration may set the first manifest: they stand in the pod, its policy pins them
/// and the hardware signs the policy. Everything is namespaced. Render the output along with the
/// workloads, or keep it as coordinator.yml in the workspace: `nacre generate` reads its policy hash there.
///
/// `nacre coordinator-resources -o coordinator.yml && kubectl apply -f coordinator.yml`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Number of Coordinators: 1, or 3 that hand the seed to each other
    /// [default: coordinatorReplicas of the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9))]
    replicas: Option<u32>,
    /// Type of the Service `coordinator`
    #[arg(long, value_name = "TYPE", default_value = "LoadBalancer")]
    service_type: ServiceType,
    /// Add a pod that relays the user API to `kubectl port-forward`, which cannot reach confidential pods
    #[arg(long)]
    port_forwarder: bool,
    /// Leave out the policy and everything else that `nacre generate` or the function adds later
    #[arg(long)]
    unrendered: bool,
    /// Write to this file instead of standard output
    #[arg(short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Types of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum ServiceType {
    /// Reachable from outside of the cluster.
    LoadBalancer,
    /// Reachable inside of the cluster.
    ClusterIP,
    /// Reachable on a port of every node.
    NodePort,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    if context.output == Output::Json {
        return Err(CommandError::usage("--output json: the result is YAML"));
    }
    let request = args.flags.request(Some(context.workspace()));
    let mut settings = settings::resolve(&context.environment, &request, None, &[])?;
    resources::owners(&mut settings.config, context)?;
    let resources = Resources::new(args, &settings);
    if resources.replicas > 1 && !settings.config.peer_recovery {
        context.report([Finding::warning(
            codes::cluster::NO_PEER_RECOVERY,
            format!(
                "{} Coordinators without peerRecovery: each is recovered by an owner after a restart",
                resources.replicas
            ),
        )
        .help("set peerRecovery: true, and allowedChipIds for the Coordinator's reference values")]);
    }
    let text = resources.text();
    let text = if args.unrendered {
        text
    } else {
        let pinned = settings.lock.lookup(resources.image);
        let text = match pinned {
            Ok(entry) if entry.is_stand_in() => format!("{STAND_IN}{text}"),
            _ => text,
        };
        // Findings name the lines of the file that the text becomes.
        let file = args.out.as_deref().unwrap_or(Path::new(COORDINATOR_FILE));
        rendered(&text, file, &settings, context)?
    };
    write_result(args.out.as_deref(), &text, context)
}

/// The same transformation as every other route.
fn rendered(
    text: &str,
    file: &Path,
    settings: &Settings,
    context: &mut Context,
) -> Result<String, CommandError> {
    let limit = input::limit(&context.environment)?;
    let texts = [Text {
        path: Some(file.to_owned()),
        content: text.to_owned(),
    }];
    let sources = transform::parse(&texts, limit)?;
    let mut outcome = transform::transform(&sources, settings, Mode::Files, false)?;
    let edits = std::mem::take(&mut outcome.edits);
    let rewritten = transform::rewrite(&sources, edits)?;
    context.report(outcome.findings);
    Ok(transform::join(transform::render(
        &sources,
        &rewritten,
        &[],
    )))
}

/// What decides the objects.
struct Resources<'a> {
    namespace: &'a str,
    image: &'a str,
    replicas: u32,
    service_type: ServiceType,
    port_forwarder: bool,
}

impl<'a> Resources<'a> {
    fn new(args: &Args, settings: &'a Settings) -> Self {
        let config = &settings.config;
        Self {
            namespace: config.namespace.as_deref().unwrap_or("default"),
            image: config
                .images
                .coordinator
                .as_deref()
                .unwrap_or(COORDINATOR_IMAGE),
            replicas: args.replicas.unwrap_or(config.coordinator_replicas),
            service_type: args.service_type,
            port_forwarder: args.port_forwarder,
        }
    }

    fn text(&self) -> String {
        let mut text = self.access();
        text.push_str(&self.workload());
        text.push_str(&self.services());
        text.push_str(&self.disruption_budget());
        if self.port_forwarder {
            text.push_str(&self.forwarder());
        }
        text
    }

    /// The account, and the right to keep the history.
    fn access(&self) -> String {
        let namespace = self.namespace;
        format!(
            r#"# The history is kept in ConfigMaps of this namespace. It is signed: who can change or remove the
# objects can stop the Coordinator, not make it accept another history.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: coordinator
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator
    app.kubernetes.io/part-of: nacre
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: coordinator
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator
    app.kubernetes.io/part-of: nacre
rules:
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [get, list, watch, create, update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: coordinator
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator
    app.kubernetes.io/part-of: nacre
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: coordinator
subjects:
  - kind: ServiceAccount
    name: coordinator
    namespace: {namespace}
"#
        )
    }

    fn workload(&self) -> String {
        let Self {
            namespace,
            image,
            replicas,
            ..
        } = self;
        let peers = self.peers();
        let spread = self.spread();
        format!(
            r#"---
# The Coordinator: holds the manifest, verifies every workload and issues its certificate.
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: coordinator
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator
    app.kubernetes.io/part-of: nacre
spec:
  serviceName: coordinator-peers
  replicas: {replicas}
  # A Coordinator without a manifest is not ready; the next one must not wait for it.
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      app.kubernetes.io/name: coordinator
  template:
    metadata:
      labels:
        app.kubernetes.io/name: coordinator
        app.kubernetes.io/part-of: nacre
      annotations:
        contrast.edgeless.systems/pod-role: coordinator
    spec:
      runtimeClassName: contrast-cc
      serviceAccountName: coordinator
      automountServiceAccountToken: true
      enableServiceLinks: false
{spread}      containers:
        - name: coordinator
          image: {image}
          env:
            - name: NACRE_HISTORY
              value: configmaps
            - name: NACRE_NAMESPACE
              value: {namespace}
{peers}          ports:
            - name: userapi
              containerPort: 1313
            - name: httpapi
              containerPort: 1314
            - name: meshapi
              containerPort: 7777
            - name: health
              containerPort: 9102
          startupProbe:
            httpGet:
              path: /startup
              port: health
            periodSeconds: 2
            failureThreshold: 60
          # No livenessProbe: a Coordinator that is killed loses its seed. A process that ends is started again anyway.
          readinessProbe:
            httpGet:
              path: /ready
              port: health
            periodSeconds: 5
          resources:
            requests:
              memory: 100Mi
            limits:
              memory: 100Mi
          # Root without capabilities: the guest gives reports to root only.
          securityContext:
            runAsUser: 0
            runAsGroup: 0
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            capabilities:
              drop: [ALL]
"#
        )
    }

    /// Where the others are, for recovery among peers.
    fn peers(&self) -> String {
        if self.replicas < 2 {
            return String::new();
        }
        let peers: Vec<String> = (0..self.replicas)
            .map(|index| format!("coordinator-{index}.coordinator-peers:7777"))
            .collect();
        format!(
            "            - name: NACRE_PEERS\n              value: {}\n",
            peers.join(",")
        )
    }

    /// One node should not take all Coordinators with it.
    fn spread(&self) -> String {
        if self.replicas < 2 {
            return String::new();
        }
        "      topologySpreadConstraints:\n        \
           - topologyKey: kubernetes.io/hostname\n          \
             maxSkew: 1\n          \
             whenUnsatisfiable: ScheduleAnyway\n          \
             labelSelector:\n            \
               matchLabels:\n              \
                 app.kubernetes.io/name: coordinator\n"
            .to_owned()
    }

    fn services(&self) -> String {
        let namespace = self.namespace;
        let kind = match self.service_type {
            ServiceType::LoadBalancer => "LoadBalancer",
            ServiceType::ClusterIP => "ClusterIP",
            ServiceType::NodePort => "NodePort",
        };
        format!(
            r#"---
# For owners and data owners (1313, 1314) and workloads (7777). A Coordinator is reached before it is
# ready: to set its first manifest, and to recover it.
apiVersion: v1
kind: Service
metadata:
  name: coordinator
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator
    app.kubernetes.io/part-of: nacre
spec:
  type: {kind}
  publishNotReadyAddresses: true
  selector:
    app.kubernetes.io/name: coordinator
  ports:
    - name: userapi
      port: 1313
      targetPort: userapi
    - name: httpapi
      port: 1314
      targetPort: httpapi
    - name: meshapi
      port: 7777
      targetPort: meshapi
---
# Only Coordinators that have a manifest, for `coordinator.host: coordinator-ready`.
apiVersion: v1
kind: Service
metadata:
  name: coordinator-ready
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator
    app.kubernetes.io/part-of: nacre
spec:
  selector:
    app.kubernetes.io/name: coordinator
  ports:
    - name: meshapi
      port: 7777
      targetPort: meshapi
---
# A name for each Coordinator.
apiVersion: v1
kind: Service
metadata:
  name: coordinator-peers
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator
    app.kubernetes.io/part-of: nacre
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    app.kubernetes.io/name: coordinator
  ports:
    - name: meshapi
      port: 7777
      targetPort: meshapi
"#
        )
    }

    fn disruption_budget(&self) -> String {
        let namespace = self.namespace;
        let (disruptions, why) = match self.replicas {
            1 => (
                0,
                "# Without its seed a Coordinator needs an owner: whoever drains its node has to know.",
            ),
            _ => (1, "# One at a time: the others hand the seed to it."),
        };
        format!(
            r#"---
{why}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: coordinator
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator
    app.kubernetes.io/part-of: nacre
spec:
  maxUnavailable: {disruptions}
  # One that is not ready holds no state that could be lost.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      app.kubernetes.io/name: coordinator
"#
        )
    }

    /// An ordinary pod: `kubectl port-forward` needs a runtime that can enter the pod's network, and Kata
    /// cannot. Nothing has to trust it: TLS and attestation go through it unseen.
    fn forwarder(&self) -> String {
        let namespace = self.namespace;
        format!(
            r#"---
# kubectl port-forward pod/coordinator-port-forwarder 1313
# Nothing has to trust this pod: attested TLS passes through it.
apiVersion: v1
kind: Pod
metadata:
  name: coordinator-port-forwarder
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: coordinator-port-forwarder
    app.kubernetes.io/part-of: nacre
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: relay
      image: ghcr.io/nacre-dev/nacre/cli:v{version}
      # kubectl connects from within the pod, and nobody else can.
      args: [relay, "127.0.0.1:1313", "coordinator:1313"]
      ports:
        - name: userapi
          containerPort: 1313
      resources:
        requests:
          memory: 16Mi
        limits:
          memory: 16Mi
      securityContext:
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities:
          drop: [ALL]
"#,
            version = env!("CARGO_PKG_VERSION"),
        )
    }
}
