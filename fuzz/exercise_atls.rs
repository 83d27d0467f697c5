// What the fuzz target on frames does with its bytes; the tests of `crates/atls` replay the corpus through
// the same function.

use nacre_atls::wire::{MAX_FRAME, Message};

/// A message of any bytes: read as one thing only, or not at all.
pub(crate) fn frames(bytes: &[u8]) {
    if bytes.len() > MAX_FRAME {
        return;
    }
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
}
