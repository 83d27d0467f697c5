//! Lossless YAML streams and KRM ResourceLists: read as Kubernetes reads them, written back byte for byte but for the change.
