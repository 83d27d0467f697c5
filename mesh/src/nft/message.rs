//! Netlink messages and attributes, encoded by hand.
//!
//! Sources: RFC 3549 for the message header, `linux/netlink.h` for attributes (4-byte aligned,
//! native-endian length and type), `linux/netfilter/nfnetlink.h` for the generic header and the
//! batch, `linux/netfilter/nf_tables.h` for types. Integers inside nf_tables attributes are
//! big-endian.

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`.
const ACK: u16 = 0x4;
/// `NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub(super) const APPEND: u16 = 0x800;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// `NFNL_SUBSYS_NFTABLES`, the high byte of every nf_tables message type.
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 0x11;
/// `NFPROTO_UNSPEC`.
const UNSPEC: u8 = 0;

/// Messages that take effect together or not at all.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Sequence number of the next message.
    sequence: u32,
    /// Where the last one begins.
    last: usize,
}

/// A batch that is whole.
#[derive(Debug)]
pub(super) struct Transaction {
    /// What is sent.
    pub(super) bytes: Vec<u8>,
    /// Sequence number of the one message that the kernel acknowledges. Errors come for all of them, and
    /// before it.
    pub(super) last: u32,
}

impl Batch {
    /// Begins a transaction.
    pub(super) fn begin() -> Self {
        let mut batch = Self::default();
        batch.push(BATCH_BEGIN, 0, UNSPEC, SUBSYSTEM, &[]);
        batch
    }

    /// The sequence number of the next message.
    pub(super) fn next(&self) -> u32 {
        self.sequence
    }

    /// Adds one nf_tables message.
    pub(super) fn table_message(&mut self, kind: u16, flags: u16, family: u8, body: &Attributes) {
        self.push((SUBSYSTEM << 8) | kind, flags, family, 0, &body.bytes);
    }

    /// Ends the transaction. Of its messages the last is acknowledged: an acknowledgement of each would not fit
    /// into a socket where there are many.
    pub(super) fn end(self) -> Transaction {
        let mut whole = self.trial();
        let mut end = Self {
            sequence: whole.last + 1,
            ..Self::default()
        };
        end.push(BATCH_END, 0, UNSPEC, SUBSYSTEM, &[]);
        whole.bytes.extend_from_slice(&end.bytes);
        whole
    }

    /// Messages without the end of a transaction: the kernel says what it has against them, and undoes them.
    pub(super) fn trial(mut self) -> Transaction {
        let last = self.sequence.saturating_sub(1);
        let flags = self.last + 6;
        if let Some(place) = self.bytes.get_mut(flags..flags + 2)
            && let Ok(flags) = <[u8; 2]>::try_from(&*place)
        {
            place.copy_from_slice(&(u16::from_ne_bytes(flags) | ACK).to_ne_bytes());
        }
        Transaction {
            bytes: self.bytes,
            last,
        }
    }

    fn push(&mut self, kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) {
        let length = 16 + 4 + body.len();
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(&(length as u32).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.push(family);
        self.bytes.push(0);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        self.bytes.extend_from_slice(body);
        pad(&mut self.bytes);
        self.sequence += 1;
    }
}

/// A list of netlink attributes.
#[derive(Debug, Default, Clone)]
pub(super) struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A zero-terminated string.
    pub(super) fn string(mut self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.push(kind, &bytes);
        self
    }

    /// A big-endian 32-bit integer.
    pub(super) fn u32(mut self, kind: u16, value: u32) -> Self {
        self.push(kind, &value.to_be_bytes());
        self
    }

    /// Raw bytes.
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self
    }

    /// A nested list.
    pub(super) fn nested(mut self, kind: u16, inner: &Attributes) -> Self {
        self.push(kind | NESTED, &inner.bytes);
        self
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = 4 + value.len();
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(&mut self.bytes);
    }
}

/// Pads to the next multiple of four.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One answer of the kernel to a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Sequence number of the message answered.
    pub(super) sequence: u32,
    /// Zero, or the positive `errno`.
    pub(super) errno: i32,
}

/// A request for the number of the ruleset's generation (`NFT_MSG_GETGEN`).
pub(super) fn generation_request() -> Vec<u8> {
    const GET_GENERATION: u16 = 16;
    let mut batch = Batch::default();
    batch.push((SUBSYSTEM << 8) | GET_GENERATION, 0, UNSPEC, 0, &[]);
    batch.bytes
}

/// The number in a datagram that answers [`generation_request`] (`NFTA_GEN_ID` of
/// `NFT_MSG_NEWGEN`).
pub(super) fn generation(datagram: &[u8]) -> Option<u32> {
    const NEW_GENERATION: u16 = (SUBSYSTEM << 8) | 15;
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let mut attributes = datagram.get(20..)?;
    if kind != NEW_GENERATION {
        return None;
    }
    while let Some(header) = attributes.first_chunk::<4>() {
        let [a, b, c, d] = *header;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        if length < 4 {
            return None;
        }
        if u16::from_ne_bytes([c, d]) == 1 {
            return Some(u32::from_be_bytes(attributes.get(4..8)?.try_into().ok()?));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Splits a datagram into `NLMSG_ERROR` answers; other messages are passed over.
pub(super) fn answers(mut datagram: &[u8]) -> Vec<Answer> {
    /// `NLMSG_ERROR`.
    const ERROR: u16 = 2;
    let mut found = Vec::new();
    while let Some(header) = datagram.first_chunk::<16>() {
        let word = |at: usize| {
            header
                .get(at..at + 4)
                .and_then(|w| w.try_into().ok())
                .map_or(0, u32::from_ne_bytes)
        };
        let length = word(0) as usize;
        let kind = (word(4) & 0xffff) as u16;
        let sequence = word(8);
        if length < 16 || length > datagram.len() {
            break;
        }
        if kind == ERROR
            && let Some(code) = datagram.get(16..20).and_then(|w| w.try_into().ok())
        {
            found.push(Answer {
                sequence,
                errno: i32::from_ne_bytes(code).wrapping_neg(),
            });
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_sized() {
        let attributes = Attributes::new().string(1, "ab").u32(2, 7);
        assert_eq!(
            attributes.bytes,
            [7u16.to_ne_bytes(), 1u16.to_ne_bytes()]
                .concat()
                .into_iter()
                .chain(*b"ab\0\0")
                .chain([8u16.to_ne_bytes(), 2u16.to_ne_bytes()].concat())
                .chain([0, 0, 0, 7])
                .collect::<Vec<u8>>()
        );
    }

    #[test]
    fn answers_stop_at_nonsense() {
        assert_eq!(answers(&[]), []);
        assert_eq!(answers(&[0; 15]), []);
        assert_eq!(answers(&[0; 64]), []);
        assert_eq!(answers(&[0xff; 64]), []);
        let mut one = Vec::new();
        one.extend_from_slice(&36u32.to_ne_bytes());
        one.extend_from_slice(&2u16.to_ne_bytes());
        one.extend_from_slice(&0u16.to_ne_bytes());
        one.extend_from_slice(&9u32.to_ne_bytes());
        one.extend_from_slice(&0u32.to_ne_bytes());
        one.extend_from_slice(&(-1i32).to_ne_bytes());
        one.extend_from_slice(&[0; 16]);
        assert_eq!(
            answers(&one),
            [Answer {
                sequence: 9,
                errno: 1
            }]
        );
    }
}
