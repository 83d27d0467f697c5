//! NCR01xx: reading input: YAML, streams, ResourceLists.

codes! {
    100;
    ENCODING = 101, "Not UTF-8",
        "The bytes are not UTF-8 text. Files from Windows editors may be UTF-16.",
        "Save the file as UTF-8.";
    SYNTAX = 102, "Not YAML",
        "The text is not YAML as Kubernetes tools read it.",
        "Correct the text at the place named. Indent with spaces, never with tabs.";
    TEMPLATE = 103, "Unrendered template",
        "The text holds `{{ … }}`, which nothing has rendered: it is a template of a chart, not YAML.",
        "Render it first, for example with `helm template`, or use the post-renderer.";
    DUPLICATE_KEY = 104, "Key set twice",
        "A mapping says the same key twice. kubectl takes the last one without strict validation, kustomize and kpt refuse it: what is checked would not be what is deployed.",
        "Remove one of the two; both places are named.";
    KEY = 105, "Key that is not a string",
        "A mapping has a key that JSON cannot have: a mapping, a list, null, or a number beyond 64 bits.",
        "Put the key in quotes.";
    NUMBER = 106, "Number that JSON does not have",
        "Infinities and not-a-number cannot be sent to an API server.",
        "Quote the value if it is meant as text.";
    TAG = 107, "Value does not fit its tag",
        "A tag such as `!!int` stands before a value that is something else.",
        "Remove the tag or correct the value.";
    MERGE = 108, "Nothing to merge",
        "The value of `<<` is neither a mapping nor a list of mappings.",
        "Let `<<` refer to an anchored mapping.";
    MERGE_ORDER = 109, "Ambiguous merge",
        "A key stands before a `<<` that sets it as well. kubectl takes the merged value, kustomize the other.",
        "Put `<<` first in its mapping.";
    RECURSIVE = 110, "Alias inside its own anchor",
        "An alias refers to the node it stands in, so that the value would never end.",
        "Remove the alias.";
    EXPANSION = 111, "Aliases expand to too much",
        "The aliases of a document stand for more values than the limit: this is how small files are made to fill the memory.",
        "Write the values out, or use fewer aliases.";
    DEPTH = 112, "Nested too deep",
        "Collections lie inside each other deeper than the limit, which is beyond any Kubernetes object.",
        "Check that brackets are closed and the indentation is right.";
    SIZE = 113, "Too much text",
        "The input is larger than the limit.",
        "Split the input.";
    DOCUMENTS = 114, "Too many documents",
        "The stream has more documents than the limit.",
        "Split the input.";
    CHARACTER = 115, "Character that is not allowed",
        "A control character, or one that some YAML readers take for the end of a line and others for text (U+0085, U+2028, U+2029): what one shows as a comment would be a field to another.",
        "Remove it; in double quotes write it as an escape.";
    SEPARATOR = 116, "Line that looks like a document marker",
        "A line starts with `---` and goes on without a blank. kubectl cuts the text there, YAML does not.",
        "Write `---` alone on its line, or indent the line.";
    LIST_VERSION = 120, "Unknown ResourceList",
        "The apiVersion of the ResourceList is not one of config.kubernetes.io/v1, v1beta1, v1alpha1.",
        "Use a version of kustomize or kpt that speaks one of them.";
    LIST_SHAPE = 121, "Malformed ResourceList",
        "`items` is not a list of mappings, or `functionConfig` is not a mapping.",
        "Correct the ResourceList, or report the tool that made it.";
    TARGET = 130, "No such field",
        "A field was to be set inside something that is neither a mapping nor a list, or beyond the end of a list.",
        "Correct the object so that the field can exist.";
    VERIFICATION = 131, "Edited text does not read as wanted",
        "Every edited text is read again and compared before it is used; this one differed. Nothing was written. This is our mistake.",
        "Report the input. Writing the object in plain block style usually helps.";
}
