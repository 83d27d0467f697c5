//! What fails without anybody's input being at fault.

/// Why a key or a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The library refused an operation, or there is no randomness.
    #[error("a cryptographic operation failed")]
    Crypto,
    /// Bytes that are no private key of the curve.
    #[error("not a private key on P-384")]
    Key,
    /// A certificate could not be written.
    #[error("a certificate could not be written")]
    Certificate(#[from] rcgen::Error),
    /// Certificates of a CA with other keys.
    #[error("the certificates are not those of these keys")]
    Foreign,
    /// A time that certificates cannot hold.
    #[error("{seconds} is no time that a certificate can hold")]
    Time {
        /// Unix seconds.
        seconds: u64,
    },
}

impl From<aws_lc_rs::error::Unspecified> for PkiError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}

impl From<aws_lc_rs::error::KeyRejected> for PkiError {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self::Key
    }
}
