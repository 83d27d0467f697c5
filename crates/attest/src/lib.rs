//! SEV-SNP evidence: where it comes from and whether it holds.
