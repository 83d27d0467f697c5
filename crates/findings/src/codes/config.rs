//! NCR02xx: the function's configuration.

codes! {
    200;
    UNKNOWN_FIELD = 201, "Unknown field in the configuration",
        "The configuration has a field that no version of Nacre known here reads. It is refused because a misspelt field would silently weaken the result.",
        "Correct the spelling (a similar name is proposed where there is one) or remove the field.";
}
