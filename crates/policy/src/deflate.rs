//! Deflate (RFC 1951) for short texts that share a long beginning: one block with codes of its own, the
//! parse chosen by what it costs. Integers only, so the same text gives the same bytes everywhere.

mod huffman;

pub(crate) use huffman::Bits;
use huffman::{code_lengths, codes};

/// Length symbols begin here; 256 ends a block.
const END: usize = 256;
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const SHORTEST: usize = 3;
const LONGEST: usize = 258;
const WINDOW: usize = 32 * 1024;
/// Earlier places that are looked at for each place; enough that more do not help in a policy.
const CANDIDATES: usize = 192;
/// How often the parse is repeated with the costs that the last one led to.
const ROUNDS: usize = 4;
/// Bits that a symbol is taken to cost which the last parse did not use.
const UNUSED: u32 = 12;
/// Order in which the lengths of the code for code lengths stand (section 3.2.7).
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Where earlier occurrences of three bytes are found.
#[derive(Clone)]
pub(crate) struct Places {
    heads: Vec<u32>,
    before: Vec<u32>,
}

/// One step of a parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Byte(u8),
    Copy { length: usize, distance: usize },
}

impl Places {
    /// The places of a beginning that later texts share.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut places = Self {
            heads: vec![u32::MAX; 1 << 15],
            before: Vec::new(),
        };
        for at in 0..text.len() {
            places.enter(text, at);
        }
        places
    }

    fn hash(text: &[u8], at: usize) -> Option<usize> {
        let three = text.get(at..at + SHORTEST)?;
        let word = three
            .iter()
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        Some((word.wrapping_mul(0x9e37_79b1) >> 17) as usize)
    }

    /// The last two places of a beginning hash with what follows, so they are entered with it.
    fn enter(&mut self, text: &[u8], at: usize) {
        if at < self.before.len() {
            return;
        }
        let Some(head) = Self::hash(text, at).and_then(|hash| self.heads.get_mut(hash)) else {
            return;
        };
        self.before.push(*head);
        *head = u32::try_from(at).unwrap_or(u32::MAX);
    }

    /// Copies that may stand at a place: for each length the nearest, longer ones later.
    fn copies(&self, text: &[u8], at: usize, found: &mut Vec<(usize, usize)>) {
        found.clear();
        let most = LONGEST.min(text.len() - at);
        let mut next = Self::hash(text, at)
            .and_then(|hash| self.heads.get(hash))
            .copied();
        let mut longest = SHORTEST - 1;
        for _ in 0..CANDIDATES {
            let Some(place) = next.map(|place| place as usize).filter(|place| *place < at) else {
                return;
            };
            if at - place > WINDOW {
                return;
            }
            // Most candidates already differ behind the longest copy so far.
            if text.get(place + longest) == text.get(at + longest) || longest >= most {
                let earlier = text.iter().skip(place);
                let length = earlier.zip(text.iter().skip(at)).take(most);
                let length = length.take_while(|(a, b)| a == b).count();
                if length > longest {
                    longest = length;
                    found.push((length, at - place));
                    if length == most {
                        return;
                    }
                }
            }
            next = self.before.get(place).copied();
        }
    }
}

/// Appends `text` from `start` on as one last block; what stands before `start` was written already, and
/// `places` holds it.
pub(crate) fn last_block(out: &mut Bits, text: &[u8], start: usize, mut places: Places) {
    let mut found = Vec::new();
    let mut copies = Vec::with_capacity(text.len() - start);
    let mut all: Vec<(usize, usize)> = Vec::new();
    for at in places.before.len()..start {
        places.enter(text, at);
    }
    for at in start..text.len() {
        places.copies(text, at, &mut found);
        let from = all.len();
        all.extend(&found);
        copies.push(from..all.len());
        places.enter(text, at);
    }
    let copies_at = |at: usize| {
        copies
            .get(at)
            .and_then(|range| all.get(range.clone()))
            .unwrap_or(&[])
    };
    let data = text.get(start..).unwrap_or(&[]);
    let mut costs = Costs::guess();
    let mut best: Option<(u32, Vec<Step>, Costs)> = None;
    for _ in 0..ROUNDS {
        let steps = parse(data, &copies_at, &costs);
        let used = Costs::of(&steps);
        let size = used.size(&steps);
        costs = used.clone();
        if best.as_ref().is_none_or(|(least, ..)| size < *least) {
            best = Some((size, steps, used));
        }
    }
    if let Some((_, steps, costs)) = best {
        costs.write(&steps, out);
    }
}

/// The cheapest way through the data.
fn parse<'c>(
    data: &[u8],
    copies: &impl Fn(usize) -> &'c [(usize, usize)],
    costs: &Costs,
) -> Vec<Step> {
    let lengths: Vec<u32> = (0..=LONGEST).map(|length| costs.length(length)).collect();
    let mut ways = vec![(u32::MAX, Step::Byte(0)); data.len() + 1];
    if let Some(first) = ways.first_mut() {
        first.0 = 0;
    }
    for (at, byte) in data.iter().enumerate() {
        let Some((paid, _)) = ways.get(at).copied() else {
            break;
        };
        let mut offer = |to: usize, cost: u32, step: Step| {
            if let Some(way) = ways.get_mut(to)
                && cost < way.0
            {
                *way = (cost, step);
            }
        };
        offer(
            at + 1,
            paid + costs.literal(usize::from(*byte)),
            Step::Byte(*byte),
        );
        let mut length = SHORTEST;
        for (longest, distance) in copies(at) {
            let (distance, far) = (*distance, costs.distance(*distance));
            while length <= *longest {
                let cost = paid + far + lengths.get(length).copied().unwrap_or(UNUSED);
                offer(at + length, cost, Step::Copy { length, distance });
                length += 1;
            }
        }
    }
    let mut steps = Vec::new();
    let mut at = data.len();
    while at > 0 {
        let Some((_, step)) = ways.get(at).copied() else {
            break;
        };
        steps.push(step);
        at -= match step {
            Step::Byte(_) => 1,
            Step::Copy { length, .. } => length,
        };
    }
    steps.reverse();
    steps
}

/// Lengths of the codes, and with them what each step costs in bits.
#[derive(Clone)]
struct Costs {
    literals: Vec<u8>,
    distances: Vec<u8>,
}

impl Costs {
    /// What the first parse goes by.
    fn guess() -> Self {
        let mut literals = vec![7; LITERALS];
        literals.iter_mut().take(END).for_each(|bits| *bits = 6);
        Self {
            literals,
            distances: vec![5; DISTANCES],
        }
    }

    /// The best codes for a parse.
    fn of(steps: &[Step]) -> Self {
        let (mut literals, mut distances) = (vec![0u32; LITERALS], vec![0u32; DISTANCES]);
        let count = |all: &mut Vec<u32>, symbol: usize| {
            if let Some(count) = all.get_mut(symbol) {
                *count += 1;
            }
        };
        count(&mut literals, END);
        for step in steps {
            match step {
                Step::Byte(byte) => count(&mut literals, usize::from(*byte)),
                Step::Copy { length, distance } => {
                    count(&mut literals, of_length(*length).0);
                    count(&mut distances, of_distance(*distance).0);
                }
            }
        }
        Self {
            literals: code_lengths(&literals, 15),
            distances: code_lengths(&distances, 15),
        }
    }

    fn literal(&self, symbol: usize) -> u32 {
        bits(&self.literals, symbol)
    }

    fn length(&self, length: usize) -> u32 {
        let (symbol, extra, _) = of_length(length.max(SHORTEST));
        self.literal(symbol) + extra
    }

    fn distance(&self, distance: usize) -> u32 {
        let (symbol, extra, _) = of_distance(distance);
        bits(&self.distances, symbol) + extra
    }

    /// Bits of the whole block.
    fn size(&self, steps: &[Step]) -> u32 {
        let steps = steps.iter().map(|step| match step {
            Step::Byte(byte) => self.literal(usize::from(*byte)),
            Step::Copy { length, distance } => self.length(*length) + self.distance(*distance),
        });
        let mut head = Bits::default();
        self.write_head(&mut head);
        u32::try_from(head.len()).unwrap_or(u32::MAX) + steps.sum::<u32>() + self.literal(END)
    }

    fn write(&self, steps: &[Step], out: &mut Bits) {
        self.write_head(out);
        let (literals, distances) = (codes(&self.literals), codes(&self.distances));
        for step in steps {
            match step {
                Step::Byte(byte) => out.code(&literals, usize::from(*byte)),
                Step::Copy { length, distance } => {
                    let (symbol, extra, value) = of_length(*length);
                    out.code(&literals, symbol);
                    out.push(value, extra);
                    let (symbol, extra, value) = of_distance(*distance);
                    out.code(&distances, symbol);
                    out.push(value, extra);
                }
            }
        }
        out.code(&literals, END);
    }

    /// The head of a last block with codes of its own (section 3.2.7).
    fn write_head(&self, out: &mut Bits) {
        let used = |lengths: &[u8], least: usize| {
            let last = lengths.iter().rposition(|length| *length > 0);
            last.map_or(least, |last| (last + 1).max(least))
        };
        let (literals, distances) = (used(&self.literals, END + 1), used(&self.distances, 1));
        let lengths: Vec<u8> = self
            .literals
            .iter()
            .take(literals)
            .chain(self.distances.iter().take(distances))
            .copied()
            .collect();
        let runs = runs(&lengths);
        let mut counts = vec![0u32; ORDER.len()];
        for (symbol, ..) in &runs {
            if let Some(count) = counts.get_mut(*symbol) {
                *count += 1;
            }
        }
        let short = code_lengths(&counts, 7);
        let length_of = |symbol: &usize| short.get(*symbol).copied().unwrap_or(0);
        let sent = ORDER.iter().rposition(|symbol| length_of(symbol) > 0);
        let sent = sent.map_or(4, |last| (last + 1).max(4));
        out.push(1, 1);
        out.push(2, 2);
        out.push((literals - END - 1) as u32, 5);
        out.push((distances - 1) as u32, 5);
        out.push((sent - 4) as u32, 4);
        for symbol in ORDER.iter().take(sent) {
            out.push(u32::from(length_of(symbol)), 3);
        }
        let short = codes(&short);
        for (symbol, extra, value) in runs {
            out.code(&short, symbol);
            out.push(value, extra);
        }
    }
}

fn bits(lengths: &[u8], symbol: usize) -> u32 {
    match lengths.get(symbol) {
        Some(0) | None => UNUSED,
        Some(length) => u32::from(*length),
    }
}

/// Symbol, number of extra bits, and their value.
fn of_length(length: usize) -> (usize, u32, u32) {
    if length >= LONGEST {
        return (285, 0, 0);
    }
    let value = length.saturating_sub(SHORTEST) as u32;
    if value < 8 {
        return (257 + value as usize, 0, 0);
    }
    let extra = value.ilog2() - 2;
    let symbol = 257 + 4 * extra + (value >> extra);
    (symbol as usize, extra, value & ((1 << extra) - 1))
}

fn of_distance(distance: usize) -> (usize, u32, u32) {
    let value = distance.saturating_sub(1) as u32;
    if value < 4 {
        return (value as usize, 0, 0);
    }
    let extra = value.ilog2() - 1;
    let symbol = 2 * extra + (value >> extra);
    (symbol as usize, extra, value & ((1 << extra) - 1))
}

/// Code lengths as the head of a block has them: runs of zeros and repetitions in short form.
fn runs(lengths: &[u8]) -> Vec<(usize, u32, u32)> {
    let mut out = Vec::new();
    let mut rest = lengths;
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|length| *length == first).count();
        let taken = match (first, run) {
            (0, 11..) => {
                let run = run.min(138);
                out.push((18, 7, run as u32 - 11));
                run
            }
            (0, 3..) => {
                out.push((17, 3, run as u32 - 3));
                run
            }
            (_, 4..) => {
                let run = (run - 1).min(6);
                out.push((usize::from(*first), 0, 0));
                out.push((16, 2, run as u32 - 3));
                run + 1
            }
            _ => {
                out.push((usize::from(*first), 0, 0));
                1
            }
        };
        rest = rest.get(taken..).unwrap_or(&[]);
    }
    out
}

#[cfg(test)]
mod tests;
