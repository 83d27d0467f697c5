//! Prefix codes of limited length, and the bits they are written with.

/// Bits in the order in which deflate fills bytes: from the lowest up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free: u32,
}

impl Bits {
    /// Bytes of which the last holds only so many bits.
    pub(crate) fn of(bytes: Vec<u8>, in_last: u32) -> Self {
        Self {
            bytes,
            free: 8 - in_last.min(8),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() * 8 - self.free as usize
    }

    pub(super) fn push(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (8 - self.free);
            }
            self.free -= 1;
        }
    }

    pub(super) fn code(&mut self, codes: &[(u32, u32)], symbol: usize) {
        if let Some((code, length)) = codes.get(symbol) {
            self.push(*code, *length);
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Lengths of a prefix code with no code longer than `limit` bits; 0 for what does not occur.
///
/// Huffman's, and where that is too long, the next best: what is longer is cut to the limit, and codes
/// above are lengthened until all fit. A single symbol gets a code of one bit.
pub(super) fn code_lengths(counts: &[u32], limit: usize) -> Vec<u8> {
    let mut symbols: Vec<(u32, usize)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(symbol, count)| (*count, symbol))
        .collect();
    symbols.sort_unstable();
    let mut of_length = of_length(&symbols, limit);
    fit(&mut of_length, limit);
    let mut lengths = vec![0u8; counts.len()];
    let mut rarest_first = symbols.iter().map(|(_, symbol)| *symbol);
    for (length, count) in of_length.iter().enumerate().rev() {
        for symbol in rarest_first.by_ref().take(*count) {
            if let Some(slot) = lengths.get_mut(symbol) {
                *slot = length as u8;
            }
        }
    }
    lengths
}

/// How many of Huffman's codes have each length; longer ones count as `limit`.
fn of_length(symbols: &[(u32, usize)], limit: usize) -> Vec<usize> {
    let mut out = vec![0; limit + 1];
    // Leaves in order, then inner nodes, which come out in order as well.
    let mut weights: Vec<u32> = symbols.iter().map(|(count, _)| *count).collect();
    let leaves = weights.len();
    let mut parents = vec![0usize; leaves];
    let (mut leaf, mut inner) = (0, leaves);
    let weight = |weights: &[u32], at: usize| weights.get(at).copied().unwrap_or(u32::MAX);
    while weights.len() + 1 < 2 * leaves {
        let parent = weights.len();
        let mut sum = 0;
        for _ in 0..2 {
            let from_leaves = leaf < leaves
                && (inner >= parent || weight(&weights, leaf) <= weight(&weights, inner));
            let node = if from_leaves { &mut leaf } else { &mut inner };
            sum += weight(&weights, *node);
            if let Some(slot) = parents.get_mut(*node) {
                *slot = parent;
            }
            *node += 1;
        }
        weights.push(sum);
        parents.push(0);
    }
    let mut depths = vec![usize::from(leaves == 1); weights.len()];
    for at in (0..weights.len().saturating_sub(1)).rev() {
        let above = parents
            .get(at)
            .and_then(|parent| depths.get(*parent))
            .copied();
        if let (Some(above), Some(depth)) = (above, depths.get_mut(at)) {
            *depth = above + 1;
        }
    }
    for depth in depths.iter().take(leaves) {
        if let Some(count) = out.get_mut((*depth).min(limit)) {
            *count += 1;
        }
    }
    out
}

/// Lengthens codes until they fit (Kraft's inequality).
fn fit(of_length: &mut [usize], limit: usize) {
    let room = 1usize << limit;
    let mut used: usize = of_length
        .iter()
        .enumerate()
        .skip(1)
        .map(|(length, count)| count << (limit - length))
        .sum();
    while used > room {
        // A code of the limit's length goes below a shorter one, which becomes one longer.
        let shorter = (1..limit)
            .rev()
            .find(|length| of_length.get(*length).is_some_and(|n| *n > 0));
        let Some(shorter) = shorter else { return };
        for (length, change) in [(limit, -1isize), (shorter, -1), (shorter + 1, 2)] {
            if let Some(count) = of_length.get_mut(length) {
                *count = count.saturating_add_signed(change);
            }
        }
        used -= 1;
    }
}

/// Codes of these lengths (section 3.2.2), their bits in the order in which they are written, with the length.
pub(super) fn codes(lengths: &[u8]) -> Vec<(u32, u32)> {
    let mut out = vec![(0, 0); lengths.len()];
    let mut code = 0u32;
    for length in 1..=15u32 {
        for (of, slot) in lengths.iter().zip(&mut out) {
            if u32::from(*of) == length {
                *slot = (code.reverse_bits() >> (32 - length), length);
                code += 1;
            }
        }
        code <<= 1;
    }
    out
}
