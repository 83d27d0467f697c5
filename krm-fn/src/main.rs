//! KRM function: a ResourceList on stdin, the confidential ResourceList on stdout.

fn main() {}
