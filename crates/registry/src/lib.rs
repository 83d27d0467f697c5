//! Resolves images online (registries, OCI layouts, archives) into an image lock.
