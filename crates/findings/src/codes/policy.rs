//! NCR05xx: policies.

codes! {
    500;
    UNSUPPORTED_FIELD = 501, "Field that the policy cannot hold",
        "A selected pod uses a field that matters for security and that the policy generator does not understand.",
        "Remove the field, or see docs/support-matrix.md for what is supported.";
    INVALID_POD = 502, "Not a pod specification",
        "A selected workload's pod specification lacks something every pod has, or a field has another type than Kubernetes gives it.",
        "Correct the field named; `kubectl apply --dry-run=server` shows the same mistake.";
    IMAGE_UNPINNED = 503, "Image not pinned by digest",
        "An image reference in the finished pod specification has no digest, or one that the image lock does not have for it. A policy that names a tag would let the host choose the image.",
        "Run `nacre lock` on the same input and commit the lock.";
    NO_VERITY_ROOT = 504, "Image layers without dm-verity roots",
        "The platform attaches image layers as block devices. Only their dm-verity root hashes bind them, and the lock does not have them for every layer.",
        "Choose a platform with guest pull, or lock the images with their verity roots.";
    USER_UNRESOLVED = 505, "User of a container cannot be told",
        "The user or group a container runs as is given by a name, and the image's passwd and group files do not resolve it.",
        "Set `runAsUser`, `runAsGroup` and `supplementalGroups`, or lock the image again so that its user database is read.";
    RUNS_AS_ROOT = 506, "Container would run as root",
        "`runAsNonRoot` is set, but the container's user is root. The kubelet would refuse to start it.",
        "Set `runAsUser` to another number, or remove `runAsNonRoot`.";
    SECRET_ENV = 507, "The host chooses this variable's value",
        "An environment variable comes from a Secret. Its value must not stand in the policy, which the host can read, so the policy binds its name only: the host can give the container any value, and can read the true one.",
        "Take the value from the attested workload secret that the initializer writes, or mount it and verify it in the application.";
    SECRET_ENV_REFUSED = 508, "Variable that decides what runs comes from a Secret",
        "A variable such as `PATH`, `LD_PRELOAD` or `HTTPS_PROXY` comes from a Secret: the host would choose its value and with it what the container runs or whom it talks to.",
        "Write the value into the pod specification, or name the variable in `policy.allowSecretEnv`.";
    REFERENCE_MISSING = 509, "Referenced object not in the rendered set",
        "A container's environment refers to a ConfigMap, a Secret or a key that the rendered set does not have, so the policy cannot hold its value.",
        "Render the object together with the workload, or mark the reference optional and leave it out.";
    SERVICE_LINKS = 510, "Service variables are open",
        "The kubelet adds variables for every Service of the namespace. The policy admits those of the rendered Services with any address the host chooses, and refuses the pod if another Service exists.",
        "Set `enableServiceLinks: false` and use DNS names.";
    HOST_CONTENT = 511, "The host chooses this volume's content",
        "The content of a ConfigMap, Secret, projected, downward API, hostPath, network or persistent volume is written by the host. The policy binds where it is mounted, not what it holds.",
        "Keep what must be trusted in the image, in the pod specification, or in what is handed out after attestation.";
    REPORT_SOURCE = 512, "Container could reach the source of attestation reports",
        "Only the initializer and the Coordinator may obtain attestation reports. This container mounts their source or a path of the guest that leads to it, or is privileged or has a capability over the guest's kernel or processes, and could.",
        "Remove the mount, `privileged` or the capability.";
    GUEST_MEMORY = 513, "Volume must be guest memory",
        "A volume that carries keys is not an `emptyDir` with `medium: Memory`; the target would put it where the host can read it.",
        "Write `emptyDir: {medium: Memory}`.";
    SELF_CHECK = 514, "Policy denies its own pod",
        "The requests that this pod will cause were evaluated against its new policy, and one was denied. Nothing was emitted.",
        "Please report this with the message: it is a mistake of the generator.";
    TOO_LARGE = 515, "Policy too large for an annotation",
        "All annotations of an object together may have 256 KiB, and a guest reads 1 MiB of policy. The policy of this workload would not fit.",
        "Use a platform with the initdata carrier, or shorten environment and arguments.";
    INERT_FIELD = 516, "Field without effect in the guest",
        "The field asks for something the guest does not do (seccomp, AppArmor or SELinux inside the virtual machine). The policy requires that none is asked for.",
        "Nothing need be done; the virtual machine isolates the container.";
    WEAK_PROFILE = 517, "Profile below strict",
        "The profile lets the host read output or run commands. It is named in the manifest and in every report.",
        "Use the profile `strict` for anything that protects data.";
    UNCOVERED_VOLUME = 518, "Image declares a volume that nothing covers",
        "The image has a VOLUME where the pod mounts nothing. The runtime would put a directory of the host there.",
        "Mount an `emptyDir` at that path.";
    UNPINNED_VALUE = 519, "Value that only the host knows",
        "A variable or an argument holds something the cluster decides when the pod starts (an address, a node name, a resource limit). The policy admits every value of that shape.",
        "Do not rely on it for security.";
    HOST_DEVICE = 520, "Container mounts a path of the guest's devices or kernel",
        "A `hostPath` below /dev, /sys or /proc is taken from the virtual machine, not from the node.",
        "Make sure that the container may have it.";
    PROFILE_REQUIRED = 521, "Container asks for what the profile forbids",
        "`stdin: true` needs a profile in which the host may attach.",
        "Remove `stdin`, or choose the profile `debug`.";
    TOKEN_ASSUMED = 522, "Token of a service account that is not rendered",
        "Neither the pod nor a rendered ServiceAccount says whether the account's token is mounted, so the policy expects it, as Kubernetes does. If the account in the cluster has `automountServiceAccountToken: false`, every container is denied.",
        "Set `automountServiceAccountToken` in the pod specification, or render the ServiceAccount.";
}
