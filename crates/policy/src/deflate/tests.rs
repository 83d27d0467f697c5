use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::DeflateDecoder;

use super::huffman::code_lengths;
use super::*;

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    DeflateDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn deflated(text: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    last_block(&mut bits, text, 0, Places::of(&[]));
    bits.into_bytes()
}

/// Numbers that look random and are the same every time.
fn noise(count: usize) -> impl Iterator<Item = u8> {
    let mut state = 1u32;
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

#[test]
fn every_kind_of_text_comes_back() {
    let bytes: Vec<u8> = noise(3_000).collect();
    let far: Vec<u8> = [&bytes[..500], &vec![b'-'; WINDOW - 500], &bytes[..500]].concat();
    let too_far: Vec<u8> = [&bytes[..500], &vec![b'-'; WINDOW - 499], &bytes[..500]].concat();
    let words: Vec<u8> = (0..20_000)
        .flat_map(|n| format!("\"key-{}\": {},\n", n % 97, n / 7).into_bytes())
        .collect();
    for text in [
        &b""[..],
        b"a",
        b"aa",
        b"aaa",
        &[b'a'; 1_000],
        &bytes,
        &far,
        &too_far,
        &words,
    ] {
        let packed = deflated(text);
        assert_eq!(packed, deflated(text));
        assert!(inflated(&packed) == text, "{} bytes", text.len());
    }
}

#[test]
fn a_block_continues_at_any_bit() {
    let mut ends = BTreeSet::new();
    // A byte from 144 on has nine bits of the fixed code, so the block ends at even and at odd bits.
    for (empty, before) in (0..4).flat_map(|empty| [(empty, &b"text "[..]), (empty, b"t\xe9xt ")]) {
        let mut whole = Bits::default();
        whole.push(0, 1);
        whole.push(1, 2);
        let fixed = codes(&[vec![8u8; 144], vec![9; 112], vec![7; 24], vec![8; 8]].concat());
        for byte in before {
            whole.code(&fixed, usize::from(*byte));
        }
        whole.code(&fixed, END);
        // An empty block of fixed codes, ten bits, moves the next one along.
        for _ in 0..empty {
            whole.push(0, 1);
            whole.push(1, 2);
            whole.push(0, 7);
        }
        ends.insert(
            (3 + before
                .iter()
                .map(|byte| 8 + usize::from(*byte >= 144))
                .sum::<usize>()
                + 7
                + 10 * empty)
                % 8,
        );
        let text = [before, b"text text"].concat();
        last_block(&mut whole, &text, before.len(), Places::of(before));
        assert_eq!(inflated(&whole.into_bytes()), text);
    }
    assert_eq!(ends.len(), 8, "{ends:?}");
}

#[test]
fn it_is_no_larger_than_the_usual_compressor() {
    let text = crate::rules::RULES.as_bytes();
    let mut usual = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut usual, text).unwrap();
    let usual = usual.finish().unwrap();
    let ours = deflated(text);
    assert!(
        ours.len() < usual.len(),
        "{} and {}",
        ours.len(),
        usual.len()
    );
}

#[test]
fn symbols_are_those_of_the_standard() {
    // RFC 1951, section 3.2.5: first length and first distance of each symbol.
    let lengths = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
        131, 163, 195, 227, 258,
    ];
    for (symbol, first) in lengths.iter().enumerate() {
        let (found, extra, value) = of_length(*first);
        assert_eq!((found, value), (257 + symbol, 0));
        let next = lengths.get(symbol + 1).copied().unwrap_or(*first + 1);
        // 258 has a symbol of its own, so the last but one is short of one length.
        let width = if next == LONGEST {
            next + 1 - first
        } else {
            next - first
        };
        assert_eq!(1usize << extra, width.next_power_of_two(), "{first}");
    }
    let distances = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
        2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577, 32769,
    ];
    for (symbol, pair) in distances.windows(2).enumerate() {
        let (found, extra, value) = of_distance(pair[0]);
        assert_eq!((found, 1 << extra, value), (symbol, pair[1] - pair[0], 0));
        let (found, _, value) = of_distance(pair[1] - 1);
        assert_eq!((found, value as usize), (symbol, pair[1] - pair[0] - 1));
    }
}

#[test]
fn codes_fit_and_keep_their_limit() {
    let fibonacci = |count: usize| {
        let mut all = vec![1u32, 1];
        while all.len() < count {
            all.push(all[all.len() - 1] + all[all.len() - 2]);
        }
        all
    };
    let even = vec![3u32; 286];
    for (counts, limit) in [
        (fibonacci(30), 15),
        (fibonacci(19), 7),
        (even, 15),
        (vec![0, 5, 0], 15),
        (vec![0, 5, 1], 7),
        (noise(286).map(u32::from).collect(), 15),
    ] {
        let lengths = code_lengths(&counts, limit);
        let used: Vec<usize> = lengths
            .iter()
            .filter(|l| **l > 0)
            .map(|l| usize::from(*l))
            .collect();
        assert_eq!(
            used.len(),
            counts.iter().filter(|count| **count > 0).count()
        );
        assert!(used.iter().all(|length| *length <= limit), "{lengths:?}");
        let room: usize = used.iter().map(|length| 1 << (limit - length)).sum();
        // All of the room, so that no decoder calls the code incomplete; one symbol alone takes half.
        let whole = if used.len() == 1 {
            1 << (limit - 1)
        } else {
            1 << limit
        };
        assert_eq!(room, whole, "{counts:?}");
        // What is more frequent is never longer.
        for (a, left) in counts.iter().zip(&lengths) {
            for (b, right) in counts.iter().zip(&lengths) {
                assert!(
                    *b == 0 || a <= b || left <= right,
                    "{a} {left}, {b} {right}"
                );
            }
        }
    }
}
