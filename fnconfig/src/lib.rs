//! The configuration of every program of the left half: the Confidential object, its schema and samples.
