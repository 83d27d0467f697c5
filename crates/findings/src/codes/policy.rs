//! NCR05xx: policies.

codes! {
    500;
    UNSUPPORTED_FIELD = 501, "Field that the policy cannot hold",
        "A selected pod uses a field that matters for security and that the policy generator does not understand.",
        "Remove the field, or see docs/support-matrix.md for what is supported.";
}
