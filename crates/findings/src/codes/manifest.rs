//! NCR06xx: manifests.

codes! {
    600;
    INVALID_MANIFEST = 601, "Invalid manifest",
        "A manifest does not have the shape that the Coordinator accepts.",
        "Correct the field named, or generate the manifest again.";
}
