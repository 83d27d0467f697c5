//! NCR01xx: reading input: YAML, streams, ResourceLists.

codes! {
    100;
    NOT_YAML = 101, "Not YAML",
        "The text is not YAML as Kubernetes tools read it.",
        "Correct the text at the place named.";
}
