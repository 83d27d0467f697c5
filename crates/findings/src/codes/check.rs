//! NCR08xx: checking and comparing rendered output.

codes! {
    800;
    STALE_POLICY = 801, "Policy does not match its pod",
        "The policy in the annotation is not the one that the pod specification gives.",
        "Run the function as the last stage of the pipeline, then deploy its output unchanged.";
}
