//! NCR02xx: the function's configuration.

codes! {
    200;
    UNKNOWN_FIELD = 201, "Unknown field in the configuration",
        "The configuration has a field that no version of Nacre known here reads. It is refused because a misspelt field would silently weaken the result.",
        "Correct the spelling (a similar name is proposed where there is one) or remove the field.";
    WRONG_TYPE = 202, "Wrong type in the configuration",
        "A field has a value of another type than it takes, for example a text where a list is expected.",
        "Write the field as docs/configuration.md describes it.";
    WRONG_VALUE = 203, "Value not allowed in the configuration",
        "A field has a value of the right type that is not allowed.",
        "The message says what is allowed.";
    MISSING_FIELD = 204, "Missing field in the configuration",
        "A field is missing without which its neighbours have no meaning.",
        "Add the field named.";
    CONFLICTING_FIELDS = 205, "Contradiction in the configuration",
        "Two fields contradict each other, or the same thing is given twice.",
        "Keep one of the two.";
    NOT_A_CONFIGURATION = 206, "Not a configuration",
        "The object given as configuration is neither of kind Confidential in a version known here nor a ConfigMap.",
        "Give an object of kind Confidential, apiVersion nacre.dev/v1alpha1, or a ConfigMap with flat entries.";
}
