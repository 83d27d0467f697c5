//! Whole flows with the real tools.
fn main() {}
