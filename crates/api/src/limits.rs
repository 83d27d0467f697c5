//! How large messages and their parts may be. Both ends hold to these numbers.

/// Longest gRPC message, in bytes: one piece of content and what stands around it.
pub const MAX_MESSAGE: usize = 2 * 1024 * 1024;
/// Longest piece of an object of the history in one message, in bytes.
pub const MAX_PIECE: usize = 1024 * 1024;
/// Longest policy, in bytes; the Kata agent refuses longer ones too.
pub const MAX_POLICY: usize = 1024 * 1024;
/// Most bytes of the policies of one message, before they are compressed. One of any length fits.
pub const MAX_TOGETHER: usize = MAX_POLICY;
/// Most policies of one message.
pub const MAX_POLICIES: usize = 256;
/// Longest object of the history, in bytes.
pub const MAX_OBJECT: usize = 16 * 1024 * 1024;
/// Most objects of one history.
pub const MAX_OBJECTS: usize = 100_000;
/// Most bytes of all objects of one history.
pub const MAX_HISTORY: usize = 1024 * 1024 * 1024;
/// Most signatures of one transition or confirmation.
pub const MAX_SIGNATURES: usize = 32;
/// Length of a nonce, in bytes.
pub const NONCE_LEN: usize = 32;
