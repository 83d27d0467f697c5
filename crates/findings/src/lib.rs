//! What Nacre has to say about a resource: one finding type, stable codes, and its text, JSON, KRM, SARIF and GitHub forms.
