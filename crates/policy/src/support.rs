//! Every pod field of Kubernetes 1.34: what the policy does with it.
//!
//! The tables below are the only place where that is decided. The generator walks a pod along
//! them before it reads anything: a field that is not here, or that is refused and set, becomes
//! an error naming its path. `docs/support-matrix.md` is [`markdown`].

pub(crate) use check::check;

mod check;

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
pub enum Class {
    /// The policy holds what it says.
    Pinned,
    /// The policy holds what it says, and that is a list of strings: another item would be lost.
    Words,
    /// It has no part in what a container does, or only in whether and where it runs.
    Irrelevant,
    /// It must be absent, empty or `false`.
    Refused,
    /// An object with these fields.
    Object(&'static [Field]),
    /// A list of objects with these fields.
    List(&'static [Field]),
}

/// One field of the API.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in YAML.
    pub name: &'static str,
    /// What becomes of it.
    pub class: Class,
    /// Why, or how; one line of the support matrix.
    pub note: &'static str,
}

/// The Kubernetes release the tables follow (`k8s.io/api/core/v1`).
pub const KUBERNETES: &str = "1.34";

use Class::{Irrelevant as I, List, Object, Pinned as P, Refused as R, Words};

const fn f(name: &'static str, class: Class, note: &'static str) -> Field {
    Field { name, class, note }
}

const KEY_TO_PATH: &[Field] = &[
    f(
        "key",
        I,
        "a file name inside the volume; its content is the host's",
    ),
    f("mode", I, "likewise"),
    f("path", I, "likewise"),
];
const EXEC: &[Field] = &[f(
    "command",
    Words,
    "may be run in this container only, with its environment and user",
)];
const HTTP_GET: Field = f("httpGet", I, "the kubelet sends it from outside");
const HANDLER: &[Field] = &[
    f("exec", Object(EXEC), ""),
    HTTP_GET,
    f("sleep", I, "the kubelet waits"),
    f("tcpSocket", I, "the kubelet connects from outside"),
];
const PROBE: &[Field] = &[
    f("exec", Object(EXEC), ""),
    f("failureThreshold", I, "the host decides when to probe"),
    f("grpc", I, "the kubelet connects from outside"),
    HTTP_GET,
    f("initialDelaySeconds", I, ""),
    f("periodSeconds", I, ""),
    f("successThreshold", I, ""),
    f("tcpSocket", I, "the kubelet connects from outside"),
    f("terminationGracePeriodSeconds", I, ""),
    f("timeoutSeconds", I, ""),
];
const CONFIG_MAP_KEY: &[Field] = &[
    f("key", P, "exact, from the rendered ConfigMap"),
    f("name", P, ""),
    f("optional", P, "a missing one must be absent"),
];
const SECRET_KEY: &[Field] = &[
    f(
        "key",
        P,
        "by name only: the host chooses the value (NCR0507)",
    ),
    f("name", P, ""),
    f("optional", P, "a missing one must be absent"),
];
const FIELD: &[Field] = &[
    f("apiVersion", I, "`v1` is the only one"),
    f(
        "fieldPath",
        P,
        "exact, bound to the pod's own state, or the narrowest pattern",
    ),
];
const RESOURCE_FIELD: &[Field] = &[
    f("containerName", P, ""),
    f("divisor", P, ""),
    f(
        "resource",
        P,
        "exact where the pod sets it, else a number of the node's",
    ),
];
const ENV: &[Field] = &[
    f("name", P, ""),
    f(
        "value",
        P,
        "exact, after `$(VAR)` expansion as the kubelet does it",
    ),
    f(
        "valueFrom",
        Object(&[
            f("configMapKeyRef", Object(CONFIG_MAP_KEY), ""),
            f("fieldRef", Object(FIELD), ""),
            f(
                "fileKeyRef",
                R,
                "the value would come from a file the host can write",
            ),
            f("resourceFieldRef", Object(RESOURCE_FIELD), ""),
            f("secretKeyRef", Object(SECRET_KEY), ""),
        ]),
        "",
    ),
];
const ENV_FROM: &[Field] = &[
    f(
        "configMapRef",
        Object(&[
            f("name", P, "exact, from the rendered ConfigMap"),
            f("optional", P, "a missing one must be absent"),
        ]),
        "",
    ),
    f("prefix", P, ""),
    f(
        "secretRef",
        Object(&[
            f(
                "name",
                P,
                "by name only, from the keys of the rendered Secret (NCR0507)",
            ),
            f("optional", P, "a missing one must be absent"),
        ]),
        "",
    ),
];
const RESOURCES: &[Field] = &[
    f("claims", R, "devices of claims are not bound"),
    f(
        "limits",
        I,
        "the host's; resources of device plugins are refused",
    ),
    f("requests", I, "likewise"),
];
const SECURITY: &[Field] = &[
    f(
        "allowPrivilegeEscalation",
        P,
        "no-new-privileges; not for probes and hooks, for which Kata does not send it",
    ),
    f(
        "appArmorProfile",
        I,
        "no AppArmor in the guest; the label is limited to the runtime's own",
    ),
    f(
        "capabilities",
        Object(&[
            f(
                "add",
                Words,
                "bounding, effective and permitted sets; the others are empty",
            ),
            f("drop", Words, "likewise"),
        ]),
        "",
    ),
    f(
        "privileged",
        P,
        "all capabilities; an error where it could reach attestation reports",
    ),
    f("procMount", P, "`Default` only"),
    f("readOnlyRootFilesystem", P, ""),
    f("runAsGroup", P, ""),
    f("runAsNonRoot", P, "an error if the resolved user is root"),
    f("runAsUser", P, "with passwd and group of the image"),
    f(
        "seLinuxOptions",
        I,
        "no SELinux in the guest; the label must be empty",
    ),
    f(
        "seccompProfile",
        I,
        "no seccomp in the guest; the profile must be absent",
    ),
    f("windowsOptions", R, "Linux only"),
];
const POD_SECURITY: &[Field] = &[
    f("appArmorProfile", I, "see the container's field"),
    f(
        "fsGroup",
        P,
        "a supplementary group; owner of guest-made volumes",
    ),
    f(
        "fsGroupChangePolicy",
        I,
        "when the kubelet changes files, not whose they are",
    ),
    f("runAsGroup", P, ""),
    f("runAsNonRoot", P, ""),
    f("runAsUser", P, ""),
    f("seLinuxChangePolicy", I, "no SELinux in the guest"),
    f(
        "seLinuxOptions",
        I,
        "no SELinux in the guest; the label must be empty",
    ),
    f(
        "seccompProfile",
        I,
        "no seccomp in the guest; the profile must be absent",
    ),
    f("supplementalGroups", P, ""),
    f("supplementalGroupsPolicy", P, ""),
    f(
        "sysctls",
        List(&[
            f("name", P, "exactly these, besides the runtime's own two"),
            f("value", P, ""),
        ]),
        "",
    ),
    f("windowsOptions", R, "Linux only"),
];
const VOLUME_MOUNT: &[Field] = &[
    f(
        "mountPath",
        P,
        "one mount per destination, none missing, none added",
    ),
    f("mountPropagation", P, ""),
    f("name", P, ""),
    f("readOnly", P, ""),
    f("recursiveReadOnly", P, "`Disabled` only"),
    f(
        "subPath",
        P,
        "for copied volumes; refused for guest-made ones, where the host could not serve it",
    ),
    f("subPathExpr", P, "likewise"),
];
const VOLUME_DEVICE: &[Field] = &[
    f(
        "devicePath",
        P,
        "the path in the container; which disk it is, the host decides",
    ),
    f("name", P, ""),
];

/// `spec.containers[]`, `spec.initContainers[]`.
pub const CONTAINER: &[Field] = &[
    f("args", Words, ""),
    f("command", Words, ""),
    f("env", List(ENV), ""),
    f("envFrom", List(ENV_FROM), ""),
    f(
        "image",
        P,
        "by digest, in all three places the host names it",
    ),
    f("imagePullPolicy", I, "the digest decides"),
    f(
        "lifecycle",
        Object(&[
            f("postStart", Object(HANDLER), ""),
            f("preStop", Object(HANDLER), ""),
            f("stopSignal", I, "signals are the host's"),
        ]),
        "",
    ),
    f("livenessProbe", Object(PROBE), ""),
    f("name", P, ""),
    f("ports", I, "documentation, and the host's network"),
    f("readinessProbe", Object(PROBE), ""),
    f("resizePolicy", I, "resources are the host's"),
    f("resources", Object(RESOURCES), ""),
    f(
        "restartPolicy",
        P,
        "`Always` makes an init container a sidecar",
    ),
    f("restartPolicyRules", I, "when the host restarts"),
    f("securityContext", Object(SECURITY), ""),
    f("startupProbe", Object(PROBE), ""),
    f("stdin", P, "profile `debug` only"),
    f("stdinOnce", I, ""),
    f("terminationMessagePath", P, "a mount"),
    f("terminationMessagePolicy", I, "what the kubelet reads"),
    f("tty", P, ""),
    f("volumeDevices", List(VOLUME_DEVICE), ""),
    f("volumeMounts", List(VOLUME_MOUNT), ""),
    f("workingDir", P, ""),
];

const HOST: Class = I;
const HOST_NOTE: &str = "destination pinned; the content is the host's (NCR0511)";

/// `spec.volumes[]`.
pub const VOLUME: &[Field] = &[
    f("awsElasticBlockStore", HOST, HOST_NOTE),
    f("azureDisk", HOST, HOST_NOTE),
    f("azureFile", HOST, HOST_NOTE),
    f("cephfs", HOST, HOST_NOTE),
    f("cinder", HOST, HOST_NOTE),
    f(
        "configMap",
        Object(&[
            f("defaultMode", I, ""),
            f("items", List(KEY_TO_PATH), ""),
            f("name", I, HOST_NOTE),
            f("optional", I, ""),
        ]),
        HOST_NOTE,
    ),
    f("csi", HOST, HOST_NOTE),
    f("downwardAPI", HOST, HOST_NOTE),
    f(
        "emptyDir",
        Object(&[
            f(
                "medium",
                P,
                "`Memory` is guest memory, absent is a directory or encrypted disk of the guest; others refused",
            ),
            f("sizeLimit", I, "the kubelet enforces it"),
        ]),
        "made in the guest",
    ),
    f("ephemeral", HOST, HOST_NOTE),
    f("fc", HOST, HOST_NOTE),
    f("flexVolume", HOST, HOST_NOTE),
    f("flocker", HOST, HOST_NOTE),
    f("gcePersistentDisk", HOST, HOST_NOTE),
    f(
        "gitRepo",
        R,
        "fetched by the host, and removed from Kubernetes",
    ),
    f("glusterfs", HOST, HOST_NOTE),
    f(
        "hostPath",
        Object(&[
            f("path", P, "below /dev, /sys, /proc: the guest's own"),
            f("type", I, "the kubelet's check"),
        ]),
        HOST_NOTE,
    ),
    f("image", R, "the image of a volume cannot be pinned yet"),
    f("iscsi", HOST, HOST_NOTE),
    f("name", P, ""),
    f("nfs", HOST, HOST_NOTE),
    f("persistentVolumeClaim", HOST, HOST_NOTE),
    f("photonPersistentDisk", HOST, HOST_NOTE),
    f("portworxVolume", HOST, HOST_NOTE),
    f("projected", HOST, HOST_NOTE),
    f("quobyte", HOST, HOST_NOTE),
    f("rbd", HOST, HOST_NOTE),
    f("scaleIO", HOST, HOST_NOTE),
    f("secret", HOST, HOST_NOTE),
    f("storageos", HOST, HOST_NOTE),
    f("vsphereVolume", HOST, HOST_NOTE),
];

/// `spec`.
pub const POD: &[Field] = &[
    f("activeDeadlineSeconds", I, "how long the host lets it run"),
    f("affinity", I, "where it runs"),
    f(
        "automountServiceAccountToken",
        P,
        "whether every container has the token's mount",
    ),
    f("containers", List(CONTAINER), ""),
    f(
        "dnsConfig",
        Object(&[
            f(
                "nameservers",
                Words,
                "with `dnsPolicy: None`: exactly these; DNS answers are the host's in any case",
            ),
            f(
                "options",
                List(&[f("name", P, "likewise"), f("value", P, "likewise")]),
                "",
            ),
            f("searches", Words, "likewise"),
        ]),
        "",
    ),
    f("dnsPolicy", P, ""),
    f(
        "enableServiceLinks",
        P,
        "`false` closes the service variables (NCR0510)",
    ),
    f(
        "ephemeralContainers",
        R,
        "no policy written beforehand can hold them",
    ),
    f(
        "hostAliases",
        I,
        "lines of /etc/hosts, which the host writes",
    ),
    f("hostIPC", R, "the guest is the boundary"),
    f("hostNetwork", R, "a virtual machine has its own network"),
    f("hostPID", R, "the guest is the boundary"),
    f(
        "hostUsers",
        P,
        "`true` only: user namespaces inside the guest are not bound",
    ),
    f("hostname", P, ""),
    f("hostnameOverride", R, "alpha in 1.34"),
    f("imagePullSecrets", I, "they do not reach a guest pull"),
    f(
        "initContainers",
        List(CONTAINER),
        "start requests in order, before any app container",
    ),
    f("nodeName", I, "where it runs"),
    f("nodeSelector", I, "where it runs"),
    f("os", Object(&[f("name", P, "`linux` only")]), ""),
    f("overhead", I, "accounting"),
    f("preemptionPolicy", I, "where it runs"),
    f("priority", I, "where it runs"),
    f("priorityClassName", I, "where it runs"),
    f("readinessGates", I, "when it counts as ready"),
    f("resourceClaims", R, "devices of claims are not bound"),
    f("resources", Object(RESOURCES), ""),
    f("restartPolicy", I, "when the host restarts"),
    f("runtimeClassName", I, "the platform sets it"),
    f("schedulerName", I, "where it runs"),
    f("schedulingGates", I, "when it runs"),
    f("securityContext", Object(POD_SECURITY), ""),
    f("serviceAccount", P, "in `fieldRef` values"),
    f(
        "serviceAccountName",
        P,
        "in `fieldRef` values; the token's content is the host's",
    ),
    f("setHostnameAsFQDN", P, "the host name's pattern"),
    f("shareProcessNamespace", P, ""),
    f(
        "subdomain",
        P,
        "in the host name's pattern with `setHostnameAsFQDN`",
    ),
    f("terminationGracePeriodSeconds", I, "when the host kills"),
    f("tolerations", I, "where it runs"),
    f("topologySpreadConstraints", I, "where it runs"),
    f("volumes", List(VOLUME), ""),
];

/// The support matrix as Markdown.
pub fn markdown() -> String {
    let mut out = format!(
        "Every field of a pod in Kubernetes {KUBERNETES}. *Pinned*: the policy holds it. \
         *Irrelevant*: it has no part in what a container does. *Refused*: an error names it. \
         A field that is not listed is an error.\n"
    );
    for (title, fields) in [
        ("Pod", POD),
        ("Container and init container", CONTAINER),
        ("Volume", VOLUME),
    ] {
        out.push_str(&format!("\n### {title}\n\n| Field | | |\n|---|---|---|\n"));
        rows(&mut out, fields, "");
    }
    out
}

fn rows(out: &mut String, fields: &[Field], at: &str) {
    for field in fields {
        let name = if at.is_empty() {
            field.name.to_owned()
        } else {
            format!("{at}.{}", field.name)
        };
        let row = |out: &mut String, class: &str| {
            out.push_str(&format!("| `{name}` | {class} | {} |\n", field.note));
        };
        match field.class {
            Class::Pinned | Class::Words => row(out, "pinned"),
            Class::Irrelevant => row(out, "irrelevant"),
            Class::Refused => row(out, "refused"),
            // The container and volume lists have tables of their own.
            Class::List(_) if matches!(field.name, "containers" | "initContainers" | "volumes") => {
                row(out, "see below");
            }
            Class::Object(inner) => rows(out, inner, &name),
            Class::List(inner) => rows(out, inner, &format!("{name}[]")),
        }
    }
}
