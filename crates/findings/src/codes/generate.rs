//! NCR07xx: making a deployment confidential.

codes! {
    700;
    NO_WORKLOADS = 701, "No workload selected",
        "No workload in the input asks for a confidential runtime class and no selector of the configuration matches one.",
        "Set `runtimeClassName: contrast-cc` in the pod specification, or add a selector to the configuration.";
}
