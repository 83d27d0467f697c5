//! Policies on their way to a Coordinator: many in one message, compressed together.

use lz4_flex::block;

use crate::limits::{MAX_POLICIES, MAX_TOGETHER};
use crate::v1::Policies;

// Compressed they may be a little longer than before, and stand in a message.
const _: () = assert!(block::get_maximum_output_size(MAX_TOGETHER) < crate::limits::MAX_MESSAGE);

/// Why a message gives no policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPolicies {
    /// More than go into one message.
    #[error("{0} policies in one message, at most {MAX_POLICIES}")]
    TooMany(usize),
    /// More bytes than go into one message.
    #[error("policies of {0} bytes together, at most {MAX_TOGETHER}")]
    TooLong(u64),
    /// The block is not one, or not of so many bytes.
    #[error("the compressed policies are not those that the message lists")]
    Block,
}

impl Policies {
    /// Messages with these policies, in their order. None of them is longer than
    /// [`MAX_POLICY`](crate::limits::MAX_POLICY): with one that is, nobody takes the message.
    pub fn messages<'a>(
        policies: impl IntoIterator<Item = &'a [u8]>,
    ) -> impl Iterator<Item = Self> {
        let mut rest = policies.into_iter().peekable();
        std::iter::from_fn(move || {
            let (mut lengths, mut bytes) = (Vec::new(), Vec::new());
            while let Some(next) = rest.next_if(|next| {
                let fits = lengths.len() < MAX_POLICIES && bytes.len() + next.len() <= MAX_TOGETHER;
                fits || lengths.is_empty()
            }) {
                lengths.push(u32::try_from(next.len()).unwrap_or(u32::MAX));
                bytes.extend_from_slice(next);
            }
            (!lengths.is_empty()).then(|| Self {
                lz4: block::compress(&bytes),
                lengths,
            })
        })
    }

    /// The policies, in their order. Memory is taken for as much as may stand in a message.
    ///
    /// # Errors
    /// [`BadPolicies`].
    pub fn unpack(&self) -> Result<Vec<Vec<u8>>, BadPolicies> {
        if self.lengths.len() > MAX_POLICIES {
            return Err(BadPolicies::TooMany(self.lengths.len()));
        }
        let sum = self.lengths.iter().copied().map(u64::from).sum();
        let whole = usize::try_from(sum).ok();
        let whole = whole.filter(|whole| *whole <= MAX_TOGETHER);
        let mut bytes = vec![0; whole.ok_or(BadPolicies::TooLong(sum))?];
        match block::decompress_into(&self.lz4, &mut bytes) {
            Ok(length) if length == bytes.len() => {}
            _ => return Err(BadPolicies::Block),
        }
        let mut rest = bytes.as_slice();
        let each = self.lengths.iter().map(|length| {
            let next = rest.split_off(..*length as usize);
            next.map(<[u8]>::to_vec).ok_or(BadPolicies::Block)
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(policies: &[Vec<u8>]) -> Vec<Policies> {
        Policies::messages(policies.iter().map(Vec::as_slice)).collect()
    }

    /// Bytes that nothing makes shorter.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(next).collect()
    }

    #[test]
    fn policies_come_out_as_they_went_in_and_each_message_is_within_its_limits() {
        let usual = |at: usize| {
            format!("package agent_policy # {at}\n")
                .repeat(at)
                .into_bytes()
        };
        let mut policies: Vec<Vec<u8>> = (0..600).map(usual).collect();
        policies.push(noise(MAX_TOGETHER));
        policies.push(noise(MAX_TOGETHER - 1));
        policies.extend([Vec::new(), b"x".to_vec()]);
        policies.resize(policies.len() + MAX_POLICIES + 1, b"y".to_vec());
        let messages = messages(&policies);
        let mut out = Vec::new();
        for message in &messages {
            let some = message.unpack().unwrap();
            let bytes: usize = some.iter().map(Vec::len).sum();
            assert!((1..=MAX_POLICIES).contains(&some.len()) && bytes <= MAX_TOGETHER);
            assert!(prost::Message::encoded_len(message) < crate::limits::MAX_MESSAGE);
            out.extend(some);
        }
        assert!(out == policies);
        // What repeats itself takes less; what is full goes.
        assert!(messages[0].lz4.len() < 40_000, "{}", messages[0].lz4.len());
        let full = |message: &&Policies| message.lengths.len() == MAX_POLICIES;
        assert!(messages.iter().filter(full).count() >= 1);
        assert_eq!(super::Policies::messages([]).count(), 0);
    }

    #[test]
    fn what_a_message_does_not_say_truly_is_refused() {
        let good = messages(&[b"package one".repeat(9), b"package two".repeat(9)]).remove(0);
        let with = |lengths: &[u32], lz4: &[u8]| Policies {
            lengths: lengths.to_vec(),
            lz4: lz4.to_vec(),
        };
        let end = good.lz4.len();
        for bad in [
            with(&[99, 98], &good.lz4),
            with(&[99, 100], &good.lz4),
            with(&[], &good.lz4),
            with(&good.lengths, &[]),
            with(&good.lengths, &good.lz4[..end - 1]),
            with(&good.lengths, &[&good.lz4[..], b"x"].concat()),
            // A match before the beginning.
            with(
                &[8],
                &[0x10, b'a', 9, 0, 0x50, b'a', b'a', b'a', b'a', b'a'],
            ),
        ] {
            assert_eq!(bad.unpack(), Err(BadPolicies::Block), "{bad:?}");
        }
        let many = with(&[1; MAX_POLICIES + 1], &good.lz4);
        assert_eq!(many.unpack(), Err(BadPolicies::TooMany(MAX_POLICIES + 1)));
        for (lengths, sum) in [
            (&[u32::MAX; 3][..], 3 * u64::from(u32::MAX)),
            (&[1, MAX_TOGETHER as u32], MAX_TOGETHER as u64 + 1),
        ] {
            let long = with(lengths, &good.lz4);
            assert_eq!(long.unpack(), Err(BadPolicies::TooLong(sum)));
        }
        // Also what would unfold to much more than it lists.
        let bomb = block::compress(&vec![0; 64 << 20]);
        assert_eq!(with(&[1000], &bomb).unpack(), Err(BadPolicies::Block));
        assert_eq!(good.unpack().unwrap()[1], b"package two".repeat(9));
    }
}
