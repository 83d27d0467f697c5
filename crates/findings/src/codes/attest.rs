//! NCR10xx: attestation.

codes! {
    1000;
    EVIDENCE_REJECTED = 1001, "Evidence rejected",
        "An attestation report did not pass verification.",
        "The message names the check; compare the reference values with the platform.";
}
