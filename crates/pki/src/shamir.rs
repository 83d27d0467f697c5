//! Shamir's secret sharing over GF(256), byte by byte (A. Shamir, "How to share a secret", 1979).
//!
//! The field is that of AES, modulo x⁸+x⁴+x³+x+1. No table is looked up and no branch taken by a secret.

use std::fmt;

use aws_lc_rs::rand;
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::PkiError;
use crate::secret::Seed;

/// One share of a seed: a point of the polynomials, at an index that is not 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Share {
    index: u8,
    bytes: Zeroizing<[u8; Seed::LEN]>,
}

impl Share {
    /// Bytes of [`Share::to_bytes`].
    pub const LEN: usize = 1 + Seed::LEN;

    /// Where the polynomials were evaluated, 1 to 255.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Index and value, for the Coordinator over attested TLS.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        let mut out = Zeroizing::new([0; Self::LEN]);
        let all = std::iter::once(&self.index).chain(self.bytes.iter());
        out.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        out
    }

    /// Reads what [`Share::to_bytes`] wrote; `None` where it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&index, rest) = bytes.split_first()?;
        Self::new(index, rest)
    }

    pub(crate) fn new(index: u8, value: &[u8]) -> Option<Self> {
        if index == 0 || value.len() != Seed::LEN {
            return None;
        }
        let mut bytes = Zeroizing::new([0; Seed::LEN]);
        bytes.copy_from_slice(value);
        Some(Self { index, bytes })
    }

    pub(crate) fn value(&self) -> &[u8; Seed::LEN] {
        &self.bytes
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({}, ..)", self.index)
    }
}

/// `count` shares of which any `threshold` give the seed, with indices from 1 on.
pub(crate) fn split(seed: &Seed, threshold: u8, count: u8) -> Result<Vec<Share>, PkiError> {
    let mut coefficients = vec![Zeroizing::new(*seed.as_bytes())];
    for _ in 1..threshold {
        let mut random = Zeroizing::new([0; Seed::LEN]);
        rand::fill(random.as_mut())?;
        coefficients.push(random);
    }
    Ok((1..=count)
        .map(|index| evaluate(&coefficients, index))
        .collect())
}

fn evaluate(coefficients: &[Zeroizing<[u8; Seed::LEN]>], index: u8) -> Share {
    let mut bytes = Zeroizing::new([0; Seed::LEN]);
    for coefficient in coefficients.iter().rev() {
        for (sum, part) in bytes.iter_mut().zip(coefficient.iter()) {
            *sum = multiply(*sum, index) ^ part;
        }
    }
    Share { index, bytes }
}

/// What the shares' polynomial says at 0. The indices have to differ.
pub(crate) fn join(shares: &[&Share]) -> Seed {
    let mut bytes = Zeroizing::new([0; Seed::LEN]);
    for share in shares {
        let mut weight = 1;
        for other in shares.iter().filter(|other| other.index != share.index) {
            let quotient = multiply(other.index, inverse(other.index ^ share.index));
            weight = multiply(weight, quotient);
        }
        for (sum, part) in bytes.iter_mut().zip(share.bytes.iter()) {
            *sum ^= multiply(*part, weight);
        }
    }
    let seed = Seed::from_bytes(*bytes);
    bytes.zeroize();
    seed
}

fn multiply(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= a & 0_u8.wrapping_sub(b >> bit & 1);
        let reduce = 0_u8.wrapping_sub(a >> 7);
        a = a << 1 ^ (0x1b & reduce);
    }
    product
}

/// a²⁵⁴, which is the inverse of every a but 0.
fn inverse(a: u8) -> u8 {
    let mut power = a;
    let mut product = 1;
    for _ in 1..8 {
        power = multiply(power, power);
        product = multiply(product, power);
    }
    product
}

/// Shares of a known polynomial, for the checked-in vectors.
#[cfg(test)]
pub(crate) fn vectors() -> Vec<(u8, Vec<u8>)> {
    let coefficients = [
        Zeroizing::new(std::array::from_fn(|at| at as u8)),
        Zeroizing::new(std::array::from_fn(|at| 0x40 + at as u8)),
        Zeroizing::new(std::array::from_fn(|at| 0xff - 3 * at as u8)),
    ];
    [1, 2, 3, 7, 255]
        .map(|index| (index, evaluate(&coefficients, index).bytes.to_vec()))
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_a_field() {
        // FIPS 197, 4.2: {57} • {83} = {c1}, {57} • {13} = {fe}.
        assert_eq!((multiply(0x57, 0x83), multiply(0x57, 0x13)), (0xc1, 0xfe));
        for a in 1..=255 {
            assert_eq!(multiply(a, inverse(a)), 1);
            assert_eq!(multiply(a, 1), a);
        }
    }

    #[test]
    fn any_threshold_of_shares_gives_the_seed_and_fewer_give_another() {
        let seed = Seed::generate().unwrap();
        for threshold in 1..=4 {
            let shares = split(&seed, threshold, 5).unwrap();
            for subset in 1_u8..32 {
                let chosen: Vec<&Share> = shares
                    .iter()
                    .filter(|share| subset >> (share.index - 1) & 1 == 1)
                    .collect();
                let enough = chosen.len() >= usize::from(threshold);
                assert_eq!(join(&chosen) == seed, enough, "{threshold} {subset:05b}");
            }
        }
    }

    #[test]
    fn bytes_come_back() {
        let seed = Seed::generate().unwrap();
        let share = split(&seed, 2, 2).unwrap().remove(1);
        assert_eq!(
            Share::from_bytes(share.to_bytes().as_ref()).as_ref(),
            Some(&share)
        );
        assert_eq!(format!("{share:?}"), "Share(2, ..)");
        assert_eq!(Share::from_bytes(&[0; 33]), None);
        assert_eq!(Share::from_bytes(&[1; 32]), None);
        assert_eq!(Share::from_bytes(&[]), None);
    }
}
