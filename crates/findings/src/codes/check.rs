//! NCR08xx: checking and comparing rendered output.

codes! {
    800;
    STALE_POLICY = 801, "Policy does not match its pod",
        "The policy in the annotation is not the one that the pod specification gives.",
        "Run the function as the last stage of the pipeline, then deploy its output unchanged.";
    PLACEHOLDER_LEFT = 802, "Placeholder runtime class left",
        "A pod still has the placeholder runtime class, which exists in no cluster: the pod was not transformed, or another stage put the placeholder back. Helm 3 hides hooks from post-renderers.",
        "Render again with the function as the last stage; cover hooks by piping `helm template` through nacre generate.";
    POLICY_MISSING = 803, "Selected pod without policy",
        "A pod is selected to be confidential but carries no policy. A guest would refuse it or, worse, run it with the policy of its image.",
        "Render again with the function as the last stage.";
    UNPINNED_IMAGE = 804, "Image not pinned",
        "A container of a confidential pod names its image by tag only, so the registry decides what runs.",
        "Render again; nacre lock finds the digest.";
    STALE_MANIFEST = 805, "Manifest does not match the resources",
        "The manifest does not list exactly the policies that the rendered resources carry.",
        "Run nacre manifest build on the rendered resources, then set the new manifest.";
    OUTDATED_RUNTIME_CLASS = 806, "Runtime class of another version",
        "The runtime class is not the one that this version writes for the platform, so the pod would run on another runtime than its policy was made for.",
        "Render again with the version whose runtime is installed in the cluster.";
    MANIFEST_NOT_FOUND = 807, "No manifest in the resources",
        "The resources hold no manifest: no ConfigMap nacre-manifest and no object of kind Manifest.",
        "Give the manifest file, or build it with nacre manifest build.";
    POLICY_UNREADABLE = 808, "Policy annotation cannot be read",
        "The annotation with the policy is not what its carrier says: not base64, not gzip, or not initdata.",
        "Render again; nothing else may write that annotation.";
    WRONG_CARRIER = 809, "Policy in the wrong annotation",
        "The pod carries its policy in an annotation that the guest of its platform does not read.",
        "Render again for the platform that the runtime class names.";
    FOREIGN_RULES = 810, "Policy that this version did not write",
        "The policy cannot be written again by this version: its rules are others, so whether it fits its pod is unknown.",
        "Check it with the version that wrote it, or render again.";
    DIFFERENT = 811, "Differences found",
        "Two manifests or rendered sets do not mean the same.",
        "Nothing by itself; the list says what changed.";
    NOT_RENDERED = 812, "Pod is not as rendering leaves it",
        "Rendering would change the pod: an injected container is missing or outdated, or another stage changed what the function wrote.",
        "Run the function as the last stage of the pipeline, then deploy its output unchanged.";
    NOTHING_TO_CHECK = 813, "No confidential workload",
        "No pod names a confidential runtime class and no selector of the configuration takes one, so there was nothing to check.",
        "Check the rendered resources, all of them, with the configuration they were rendered with.";
    POLICY_ADDITIONS = 814, "Policy with something beside rules and data",
        "The policy begins with known rules, but it is not exactly those rules and the data of one workload: what stands beside them could allow anything.",
        "Do not deploy it. Render again, and find out who wrote that annotation.";
    TWO_POLICIES = 815, "Two policies on one pod",
        "The pod carries a policy in both annotations. Which one a guest takes depends on its version.",
        "Render again: the function leaves only the one that the platform reads.";
    REPLAY_DENIED = 816, "Policy denies a request of its own pod",
        "The requests that the pod will cause were evaluated against the policy it carries, and one was denied: the pod would not start.",
        "Run the function as the last stage of the pipeline, then deploy its output unchanged; if it was, report the line.";
    MUTATION_ALLOWED = 817, "Policy allows a hostile request",
        "A request that differs from what the pod says passes, and the difference is not on the list of harmless ones (docs/request-fields.md).",
        "Please report this: it is a mistake of the rules.";
    RISK_EXCEEDED = 818, "More left to the host than accepted",
        "The policy of a workload leaves open more than `--max-risk` allows.",
        "Run nacre report: it names each open point, why it matters, and the risk.";
    FIXTURE_UNREADABLE = 819, "Not a fixture of requests",
        "A file of `nacre policy test` is not JSON with description, allowed and request, or names no message of the agent.",
        "Write {\"description\": …, \"allowed\": true, \"request\": {\"kind\": \"CreateContainerRequest\", \"request\": …}}, one or a list; nacre simulate --fixtures writes a pod's own.";
    FIXTURE_FAILED = 820, "A request was answered otherwise than its fixture says",
        "A request of `nacre policy test` was allowed and should have been denied, or the other way round.",
        "Correct the fixture, or the pod specification and render again; nacre explain says why a request is denied.";
    NOT_EXPLAINED = 821, "Nothing to explain",
        "The text holds no denial that one of the policies could have given.",
        "Paste the whole event (`kubectl get events -o yaml`), or the line of the agent's or containerd's log, together with the YAML that was deployed.";
    NO_SUCH_WORKLOAD = 822, "No such workload",
        "No confidential workload among the resources has the name given, or several have and one is needed.",
        "Name it as NAMESPACE/KIND/NAME; nacre policy show lists them.";
    CHANGE_INVALID = 823, "Change of a request cannot be made",
        "A change given with `--set` is not of the form CONTAINER:FIELD=VALUE, or no create request has the container and field.",
        "Fields are args, env, image, cwd, user, or a JSON pointer into the create request such as /OCI/Root/Readonly.";
    HASH_UNEXPECTED = 824, "Policy has another hash than expected",
        "The policy that a pod carries is not one of those given with `--hash`.",
        "Render again, or compare what changed with nacre diff.";
}
