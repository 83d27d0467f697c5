//! Reads what was rendered: check, diff, manifest build, extract and merge.
