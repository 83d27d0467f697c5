//! NCR04xx: finding and editing workloads.

codes! {
    400;
    NO_CONTAINERS = 401, "Pod without containers",
        "A selected workload has a pod specification without containers.",
        "Give the pod template at least one container.";
    ANNOTATION_CONFLICT = 402, "Contradicting annotations",
        "The same setting is given twice with different values: on the object and on its pod template, or under both prefixes, `contrast.edgeless.systems/` and `nacre.dev/`. Which one was meant cannot be known.",
        "Keep one of the two.";
    ANNOTATION_VALUE = 403, "Annotation with a wrong value",
        "An annotation that Nacre reads has a value it cannot have.",
        "Correct the value as the message says. YAML booleans and numbers must be quoted in annotations.";
    ANNOTATION_UNKNOWN = 404, "Unknown annotation",
        "An annotation below `contrast.edgeless.systems/` or `nacre.dev/` is not one that Nacre reads. It is kept and has no effect, which matters most when it was meant to protect something.",
        "Correct the spelling, or remove it.";
    ANNOTATION_UNSUPPORTED = 405, "Annotation that is not supported",
        "The annotation asks for something Nacre does not do. Going on without it would take away a protection that somebody relies on.",
        "Remove the annotation and reach its goal in another way.";
    MESH_GRAMMAR = 406, "Mesh annotation cannot be read",
        "A service mesh annotation does not follow its grammar. The message gives the character, counted from 1. Ingress: `name#port#disableTLS`; egress: `name#127.x.y.z:port#host:port`; entries are joined by `##`. Egress listeners must be in 127.0.0.0/8, because they take plain text, and no two may share an address.",
        "Correct the annotation at that character.";
    VOLUME_TAKEN = 407, "Volume name taken",
        "The pod has a volume named `contrast-tls-certs` that is not an emptyDir, or a claim template of that name, which takes its place. Private keys are written to the volume of that name, so it must be guest memory.",
        "Rename the volume or the claim template.";
    MOUNT_TAKEN = 408, "Mount path taken",
        "A container mounts something at or below `/tls-config`. It would hide certificates, keys or the start gate behind content of the host's choice.",
        "Mount it somewhere else.";
    EPHEMERAL_CONTAINERS = 409, "Ephemeral containers",
        "Ephemeral containers are added to a running pod through the cluster's API, that is by a party the policy must keep out. They cannot be part of a policy made beforehand.",
        "Put a debug container into the pod template, or render with the policy profile `debug`.";
    MESH_ESCAPE = 410, "Container that can undo the mesh",
        "A container beside the mesh sidecar is privileged, has a capability over the guest's network, kernel or processes (NET_ADMIN, SYS_ADMIN, SYS_MODULE, SYS_RAWIO, SYS_BOOT, BPF, PERFMON, DAC_READ_SEARCH, with a shared process namespace SYS_PTRACE), mounts a path of the guest that leads out of it (below /proc, /sys/kernel, /sys/fs, the memory in /dev), or the pod uses the host's network. It could remove the packet filter rules, and traffic would flow in plain text.",
        "Drop the privilege, or do not use the mesh for this workload.";
    START_GATE_MISSING = 411, "App may start before the mesh",
        "A policy fixes the order of start requests, not their effect: a host can let the sidecar's start fail and start the app. On a platform whose guest does not drop inbound traffic until the mesh is ready, the app is reachable in plain text then.",
        "Set `startGate: true` in the configuration or annotate the workload with `nacre.dev/start-gate: \"true\"`, or use a platform with default deny in the guest.";
    PROBE_REDIRECTED = 412, "Probe on a protected port",
        "A probe or lifecycle hook of the kubelet goes to a port that the mesh redirects. The kubelet has no certificate of the mesh, so HTTP and gRPC checks fail, and TCP checks succeed whatever the app does.",
        "Use an exec probe, or a health port that the ingress annotation lists as plain text.";
    PORT_NOT_LISTED = 413, "Port asks for a client certificate",
        "A container port is not in the ingress annotation, so callers need a certificate of the mesh. This is the safe default.",
        "Nothing, if callers are in the mesh. Otherwise list the port.";
    UDP_DROPPED = 414, "Inbound UDP is dropped",
        "The mesh protects TCP only and drops new inbound UDP, so that nothing reaches the app around it.",
        "Annotate the workload with `nacre.dev/servicemesh-inbound-udp: allow` if the port may be reached unprotected.";
    SAN_INVALID = 415, "Not a certificate name",
        "A name for the workload's certificate is neither a DNS name, an IP address nor a URI.",
        "Correct it in the annotation `nacre.dev/sans` or in `sans` of the configuration.";
    SAN_RESERVED = 416, "Certificate name below the trust domain",
        "SPIFFE names below the trust domain say who a workload is, and peers trust them. The Coordinator mints exactly one for each workload; nobody may ask for another.",
        "Remove the name.";
    PULL_SECRETS = 417, "Pull secrets do not reach the guest",
        "`imagePullSecrets` are used by the host's runtime. Images of confidential pods are fetched by the guest, which the host's credentials do not reach.",
        "Give the guest credentials in the way of the platform, or use images that can be pulled without.";
    MESH_WITHOUT_INITIALIZER = 418, "Mesh without initializer",
        "The workload asks for the mesh and skips the initializer. Without certificates the sidecar does not start, and neither does the app.",
        "Do not skip the initializer, or add an init container named `contrast-initializer`.";
    MALFORMED_POD = 419, "Malformed pod specification",
        "A part of a selected pod specification does not have the shape that Kubernetes demands.",
        "Correct the field.";
    QUANTITY = 420, "Not an amount of CPU",
        "A CPU limit cannot be read. Limits decide about the number of vCPUs, and that number enters the launch measurement.",
        "Write it as Kubernetes does: `2`, `0.5` or `500m`.";
    MESH_KEPT = 421, "Mesh sidecar without annotation",
        "The pod has a container named `contrast-service-mesh`, but no annotation asks for a mesh. It may be left over from an earlier run, or somebody placed it by hand. It is kept, because removing it would take protection away.",
        "Remove the container, or add the annotations.";
    COORDINATOR_CONTAINER = 422, "Coordinator container not found",
        "The Coordinator's pod has several containers, so it is not clear which one the owners belong to.",
        "Name the Coordinator's container `coordinator`.";
    NAME_TAKEN = 423, "Container name taken",
        "An ordinary container has the name of an injected init container. Policies and tools tell containers apart by name.",
        "Rename the container.";
    EGRESS_PORT_SHARED = 424, "Egress listener on an app port",
        "The mesh listens on a loopback address with the port of a container. An app that binds the port on all addresses fails to start.",
        "Use another port in the egress annotation.";
    DUPLICATE_CONTAINER = 425, "Two containers of one name",
        "Two containers or init containers of a pod have the same name. Kubernetes refuses that, and a policy could not tell them apart.",
        "Rename one.";
    NO_IMAGE = 426, "Container without image",
        "A container of a selected workload names no image, so nothing can be pinned.",
        "Give it an image.";
    GATE_NO_COMMAND = 427, "Nothing to start behind the gate",
        "The start gate replaces itself by the container's command, but neither the pod nor the image's configuration has one.",
        "Give the container a `command`.";
    FOREIGN_VOLUME = 428, "Volume of another Contrast version",
        "The pod has the volume `contrast-secrets` of newer Contrast versions. Nacre replaces the initializer that filled it.",
        "Read certificates from `/tls-config`, and remove the volume.";
    GATE_WITHOUT_MESH = 429, "Start gate without mesh",
        "The workload asks for the start gate but has no mesh sidecar to wait for. Nothing is wrapped.",
        "Add a mesh annotation, or remove `nacre.dev/start-gate`.";
    MESH_PORT_TAKEN = 430, "Port that the mesh itself needs",
        "The mesh sidecar takes 15006 and 15007 for intercepted connections, and a port for health and metrics: the one that is asked for, on all addresses, or 15090 on 127.0.0.1. An egress entry or a container wants the same one.",
        "Choose another port.";
    RENEWAL_BLOCKED = 431, "Renewal behind strict egress",
        "The workload's certificates are to be renewed by a sidecar, and the mesh drops egress that no entry lists. The sidecar speaks attested TLS with the Coordinator itself, which no egress entry can carry.",
        "Remove `nacre.dev/servicemesh-strict-egress`, or set `nacre.dev/renew-seconds: \"0\"` and restart the pod to renew.";
    RENEWAL_WITHOUT_INITIALIZER = 432, "Renewal without initializer",
        "The workload asks for a sidecar that renews certificates and skips the initializer, which writes the first ones. No sidecar is injected.",
        "Do not skip the initializer, or remove `nacre.dev/renew-seconds`.";
    MESH_NOT_ASKED_FOR = 433, "Setting of a mesh that is not there",
        "An annotation restricts what the mesh lets through, but no annotation asks for the mesh, so there is no sidecar to do it. Or the workload is the Coordinator, which is not in the mesh: its ports speak attested TLS.",
        "Add `nacre.dev/servicemesh-ingress` or `nacre.dev/servicemesh-egress`, or remove the annotation. On the Coordinator, remove it.";
    CERTS_WRITABLE = 434, "App may write to the certificates",
        "A container that is not injected mounts the volume of certificates and keys and may write to it. The start gate and the mark that says that the mesh is ready stand there too.",
        "Write `readOnly: true` in that mount, or nothing: read-only is the default there.";
    RAW_EGRESS = 435, "Raw sockets beside strict egress",
        "Strict egress drops what the IP stack sends and no entry lists. A container with the capability NET_RAW, which is one of the default ones, can send frames beside the stack, and can give its sockets the mark by which the rules know those of the mesh.",
        "Drop it: `securityContext.capabilities.drop: [NET_RAW]`. A user other than root with `allowPrivilegeEscalation: false` does not have it.";
    EGRESS_ANY_PEER = 436, "Egress entry that accepts any member",
        "An egress entry leads to a host that is no Service of this rendered set with confidential workloads behind it, and no annotation says who must answer there. Names are the host's to resolve, so any member of the mesh may answer. A warning under `--strict`.",
        "Say who must answer in `nacre.dev/servicemesh-egress-peer`, `<entry>=<namespace>/<Kind>/<name>`, or `<entry>=*` where any member may. A misspelt host is the other cause.";
}
