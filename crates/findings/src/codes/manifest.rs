//! NCR06xx: manifests.

codes! {
    600;
    INVALID_MANIFEST = 601, "Invalid manifest",
        "A manifest is not a JSON object or larger than a manifest may be.",
        "Give the file that rendering wrote, or generate the manifest again.";
    DUPLICATE_KEY = 602, "Duplicate key in a manifest",
        "A key stands twice in one object of a manifest. Readers disagree which of the two counts, so two people could see two manifests in the same bytes.",
        "Keep one of the two.";
    UNKNOWN_VERSION = 603, "Unknown manifest version",
        "The apiVersion or kind of a manifest is missing or not known to this version.",
        "Use a version of Nacre that knows it, or generate the manifest again.";
    LIST_FORM = 604, "Manifest of Contrast v0.8",
        "The manifest has the list form of Contrast v0.8. It is read as the previous manifest only, so that names and owners can be taken over.",
        "Render again with --previous and this file.";
    INVALID_FIELD = 605, "Invalid field in a manifest",
        "A field of a manifest is unknown, missing or has a value that is not allowed, for example upper-case hex.",
        "Correct the field named, or generate the manifest again.";
    SIMULATED_ROOT = 606, "Manifest for simulated evidence",
        "The manifest names a root of simulated evidence. Whoever has that root can pretend to be any machine, so production programs refuse it.",
        "Remove TestRoot; use the simulation programs to try things out.";
    MERGE_CONFLICT = 607, "Manifests contradict each other",
        "Manifests to be merged say different things about the same workload, the same reference value, or about who may do what.",
        "Render all parts with the same configuration; merging never widens authority.";
    NO_COORDINATOR = 610, "No Coordinator in the manifest",
        "No policy has the role coordinator, so nobody could accept this manifest.",
        "Render the Coordinator along, or merge its manifest with this one.";
    INVALID_IDENTITY = 611, "Workload without a clear identity",
        "A policy names no workload, a workload whose name cannot become part of a SPIFFE URI, or a workload that another policy names too.",
        "Generate the manifest again; give objects names of letters, digits, '-' and '.'.";
    INVALID_SAN = 612, "Name that no certificate may carry",
        "A subject alternative name is malformed, stands twice, or is a SPIFFE URI of the trust domain, which only the Coordinator makes.",
        "Correct or remove the name.";
    INVALID_SECRET_ID = 613, "Invalid WorkloadSecretID",
        "The name of a workload's secret is empty, longer than 1024 bytes or has control characters.",
        "Choose another name; changing it changes the secret.";
    MISSING_REFERENCE = 614, "Reference values do not fit the policies",
        "There are no reference values, or none for a platform that a policy names, or the same ones twice.",
        "Give reference values for every platform in use.";
    FILL_IN = 615, "Reference value to be filled in",
        "A launch measurement or a component of the least TCB is not known. Nacre makes none up. Until it is filled in no machine is accepted.",
        "Write the value into referenceValues of the configuration: measure the guest image, or take it from a report of a machine you trust.";
    WEAK_REFERENCE = 616, "Reference value that means nothing",
        "A reference value is zero or impossible, so it would accept everything or nothing.",
        "Correct the value named.";
    OPEN_GUEST = 617, "Guest policy open to the host",
        "The guest policy allows debugging or migration agents. The host could read the guest's memory.",
        "Set Debug and MigrateMA to false.";
    HOST_DATA_UNBOUND = 618, "Guest does not enforce its policy",
        "The guest runs with a policy other than the one in HOST_DATA if the host wants it to, for example stock Kata without initdata. Only attestation shows the difference, and a workload that holds no secrets is not protected by it.",
        "Use a platform whose guest enforces HOST_DATA, or accept it by not rendering with --strict.";
    INVALID_THRESHOLD = 619, "Invalid threshold",
        "A threshold is zero, larger than the number of owners, or larger than this version supports.",
        "Use a number from 1 to the number of owners, at most 32.";
    INVALID_OWNERS = 620, "Owners incomplete",
        "An owner stands twice, or nobody holds a share of the seed, so that a restarted Coordinator cannot be recovered.",
        "List every owner once; add a seed-share owner with nacre init.";
    INVALID_REPLICAS = 621, "Peer recovery or replicas not possible like this",
        "Peer recovery hands the seed to every machine that matches the Coordinator's reference values, so these must list chips, and be of guests that enforce their policy: else the host starts the measured guest with a policy of its own and asks for the seed. And at least one Coordinator must exist.",
        "List allowedChipIds, or set allowAnyChip if every machine of the product is trusted. On a platform whose HostDataBinding is none, switch peerRecovery off and let seed-share owners recover.";
    WEAKENED_TRUST = 622, "Trust weakened by choice",
        "Workloads do not attest the Coordinator, or anybody may set the first manifest. Every verdict about the deployment says so.",
        "Remove allowUnattestedCoordinator or insecureUnboundFirstSet from the configuration.";
}
