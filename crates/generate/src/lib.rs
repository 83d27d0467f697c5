//! The transformation: resources and configuration in, confidential resources, manifest and findings out.
