//! The manifest: policy hashes and reference values, strict on reading and byte-stable on writing.
