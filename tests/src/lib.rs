//! Whole flows with the real tools, and the rules about the workspace itself.
