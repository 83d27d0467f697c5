//! NCR07xx: the transformation as a whole.

codes! {
    700;
    NOTHING_SELECTED = 701, "No confidential workload",
        "No workload names a runtime class that begins with `contrast-cc`, and no selector of the configuration takes one. What comes out is what went in: nothing is protected.",
        "Write `runtimeClassName: contrast-cc` into the pod specification, or add `selectors` to the configuration.";
    NAMESPACE_ABSENT = 702, "Namespace unknown",
        "A policy pins the namespace, and a selected workload names none. For files and streams `default` is taken with a warning. A Helm post-renderer is not told the namespace of the release, so there, and under `--strict`, it is an error.",
        "Give the namespace: `namespace` in the configuration, `--namespace`, or `NACRE_NAMESPACE`.";
    DUPLICATE_WORKLOAD = 703, "Workload given twice",
        "Two different objects of the same kind, name and namespace are selected. Which of them ends up in the cluster cannot be known. Identical copies, as Helm 4 makes them of hooks, are fine.",
        "Remove or rename one of the two.";
    COORDINATOR_MISSING = 704, "Coordinator unknown",
        "An initializer trusts exactly the Coordinators whose policy hash it was given, and there is none: no Coordinator is rendered along, none is in the workspace, and the configuration names no hash.",
        "Run `nacre coordinator-resources`, and render its output along with the workloads or keep it as `coordinator.yml` in the workspace. `coordinator.policyHashes` in the configuration names one that is deployed apart. `allowUnattestedCoordinator: true` does without, and stands in the manifest.";
    OWNERS_MISSING = 705, "No workload owners",
        "A manifest names the keys of those who may replace it. There are none in the configuration.",
        "Run `nacre init`, which makes the keys and the configuration, or set `disableUpdates: true`.";
    COORDINATOR_UNBOUND = 706, "Nobody authorises the first manifest",
        "The Coordinator's policy names the owners who may set its first manifest. Without owners, whoever reaches it first may set one.",
        "Give `workloadOwners` (`nacre init` makes keys), or accept it with `insecureUnboundFirstSet: true`; every verdict then says so.";
    PLATFORM_MISSING = 707, "Platform not given",
        "A workload names the plain runtime class `contrast-cc`, and nothing says which platform that is.",
        "Give `platform` in the configuration or `--reference-values`, or write `contrast-cc-<platform>` as runtime class.";
    PLATFORM_UNKNOWN = 708, "Unknown platform",
        "The configuration or a runtime class names a platform that this version does not know.",
        "Correct the name.";
    PLATFORM_KEPT = 709, "Runtime class of another platform",
        "The workload has the versioned runtime class of a platform that is not the configured one. It stays there: a class that names a platform picks it.",
        "To move the workload, write the placeholder `contrast-cc` again.";
    AMBIGUOUS_REFERENCE = 710, "Reference to two different objects",
        "A workload refers to a ConfigMap or Secret by a name that several different objects of the input have.",
        "Keep one of them.";
    POLICY_SHARED = 711, "Two workloads with one policy",
        "Two workloads have policies with the same hash. Evidence could not tell them apart, so neither could the Coordinator.",
        "Rename one of them.";
    SANS_UNUSED = 712, "Names for an unknown workload",
        "`sans` in the configuration has an entry for a workload that is not among the selected ones.",
        "Correct the entry: it is `<namespace>/<Kind>/<name>`.";
    CARRIED_EDIT = 713, "Taken over from the previous manifest",
        "Something that a person wrote into the previous manifest stands in the new one too.",
        "Nothing, if it is still wanted. To make it last, write it into the configuration.";
    PLATFORM_QUIRK = 714, "Platform needs preparation",
        "Nodes of the platform pass the annotation with the policy on only if they are configured to.",
        "Configure the container runtime of the nodes as the message says.";
    TEMPLATE_PATH = 715, "No pod template at the configured path",
        "The configuration names a path to the pod template of a custom resource, and an object of that kind has nothing there.",
        "Correct `customResources[].podTemplate`.";
    TARGET_UNKNOWN = 716, "Unknown policy target",
        "`policy.target` names a combination of runtimes that this version does not know.",
        "Use one of the names in the message.";
    NOT_AN_OBJECT = 717, "Not a Kubernetes object",
        "A document has no `apiVersion` and `kind`, so it is not an object that can be deployed.",
        "Remove the document, or leave its file out of the paths.";
    NAME_MISSING = 718, "Workload without a name",
        "A selected workload has no `metadata.name`. Policy, certificate and identity are made of it.",
        "Name it. `generateName` is not enough.";
    PLATFORM_UNSUPPORTED = 719, "Platform cannot be served",
        "The platform gives attestation reports only to containers that are handed a device or directory, which this version does not inject.",
        "Use another platform.";
    COORDINATOR_ELSEWHERE = 720, "Coordinator in another namespace",
        "Initializers reach the Coordinator under a name without a namespace, which means their own, and the rendered Coordinator is in another one.",
        "Give the name with its namespace: `coordinator.host: coordinator.<namespace>` in the configuration.";
    UNCLAIMED_POD = 721, "Confidential pod in a kind that is not known",
        "An object holds a pod specification that names a confidential runtime class, but its kind is none of Kubernetes and stands not in the configuration, or the pod is not where the kind's pod template is. It was left as it is: it gets no policy. An error under `--strict` and in `nacre check`.",
        "Name the kind in `customResources` of the configuration, with the path to its pod template.";
    FORGOTTEN = 722, "Workload that looks confidential and is not",
        "An ordinary workload has an annotation of ours, or a runtime class or a field of a name near the one that selects. It was left as it is: it gets no policy, no initializer and no mesh. An error under `--strict` and in `nacre check`.",
        "Write `runtimeClassName: contrast-cc` in the pod, select the workload in the configuration, or remove what the message names.";
}
