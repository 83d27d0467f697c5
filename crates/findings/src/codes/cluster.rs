//! NCR15xx: clusters.

codes! {
    1500;
    UNREACHABLE = 1501, "Cluster cannot be reached",
        "The API server of the kube context does not answer, or the kubeconfig cannot be read.",
        "Check `kubectl config current-context` and `kubectl version`; name another context with `--context`.";
    FORBIDDEN = 1502, "Not allowed to read the cluster",
        "The account of the kube context may not read objects that the command needs.",
        "Use an account that may get and list the named kind, or name another context with `--context`.";
    NO_COORDINATOR = 1503, "No way to the Coordinator found",
        "The namespace has no Service `coordinator` with a load balancer's address, and no pod that forwards to it.",
        "Name the Coordinator with `-c HOST:PORT`, wait for the load balancer, or apply the output of `nacre coordinator-resources --port-forwarder`.";
    FORWARD_FAILED = 1504, "Port-forward failed",
        "`kubectl port-forward` to the port-forwarder pod ended before it listened.",
        "Run the command in the message by hand: it says why. The pod must be running.";
    NO_PEER_RECOVERY = 1505, "Several Coordinators without peer recovery",
        "Several Coordinators are asked for, but a restarted one gets the seed from no other: an owner has to recover each.",
        "Set `peerRecovery: true` in the configuration, with `allowedChipIds` for the Coordinator's reference values or, knowingly, `allowAnyChip: true`.";
    RUNTIME_CLASS_MISSING = 1510, "Runtime class missing",
        "Workloads name a runtime class that the cluster does not have: their pods cannot start.",
        "Apply the output of `nacre runtime --platform NAME`.";
    NO_NODE = 1511, "No node for the runtime class",
        "No ready node has the labels that the runtime class selects: pods stay pending.",
        "Wait for the installer (`kubectl rollout status daemonset` in its namespace), or label nodes whose processors can run the platform.";
    NODE_UNSUITED = 1512, "Node is not what the policies are for",
        "Kubernetes or containerd on a node is not of a version that policies of the configured target are for, or a runtime class names Kata's runtime in Rust (a handler with `-runtime-rs`), for which there is no target: requests differ and are denied.",
        "Set `policy.target` to the proposed one, and render again; name the handler of Kata's runtime in Go.";
    MUTATING_WEBHOOK = 1513, "A mutating webhook changes pods",
        "An admission webhook may change pods after their policy was made. A pod that was changed is denied by its guest.",
        "Exclude the namespace from the webhook, or render what it adds: the policy must be made from the final pod.";
    LIMIT_RANGE = 1514, "A LimitRange changes pods",
        "A LimitRange of the namespace gives containers default limits after their policy was made, which changes the size of the guest and so its measurement.",
        "Write the limits into the workloads, or remove the defaults from the LimitRange.";
    COORDINATOR_UNHEALTHY = 1515, "Coordinator is not healthy",
        "The Coordinator is missing, does not run, or is not ready: without a manifest, or waiting for recovery.",
        "Set a manifest (`nacre set`), recover it (`nacre recover`), or look at its pod (`kubectl describe pod -l app.kubernetes.io/name=coordinator`).";
    POD_SECURITY = 1516, "Pod Security refuses pods",
        "The namespace enforces a level of Pod Security that pods of confidential workloads do not meet: the mesh sidecar needs NET_ADMIN, the initializer and the Coordinator run as root without capabilities.",
        "Label the namespace `pod-security.kubernetes.io/enforce: privileged` (with a mesh) or `baseline` (without).";
    GUEST_UNSUITED = 1517, "Guest is not what manifests say",
        "Manifests of the platform say that the measured guest refuses a policy other than the one in HOST_DATA. The guest that the installer brings does not: a host could give it a policy of its own beside the right HOST_DATA, and the guest would get a certificate.",
        "Name an installer whose guest compares them with `--installer-image NAME@sha256:…`, or use the platform `kata-qemu-snp` everywhere: its manifests say that nothing compares them.";
    NAMESPACE_MISSING = 1518, "Namespace missing",
        "The cluster does not have the namespace that workloads go to, so nothing that belongs to it could be looked at.",
        "Create the namespace, unless the deployment makes it (`helm --create-namespace`, `CreateNamespace=true` of Argo CD), or name another one in the configuration.";
    DRIFT = 1520, "Running pod is not in the manifest",
        "A pod runs with a policy that the manifest does not list, without a policy, or without the confidential runtime.",
        "Apply the rendered resources again, or restart the workload so that its pods are made anew. If nobody of yours changed it, somebody else did.";
    NOT_RUNNING = 1521, "Workload of the manifest does not run",
        "The manifest lists a workload of which no pod runs in the cluster.",
        "Apply it, or take it out of the manifest.";
}
