//! Builds, tests and demonstrates Nacre.

fn main() {}
