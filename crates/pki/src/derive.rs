//! HKDF-SHA256 under one label for each purpose, and P-384 keys by FIPS 186-5.
//!
//! `info` = `nacre/v1/<purpose>` ‖ length of the id (u16, big-endian) ‖ id. A private key is made of 56
//! bytes of output as in FIPS 186-5 A.2.1 (extra random bits): `d = (c mod (n - 1)) + 1`.

use aws_lc_rs::hkdf::{self, HKDF_SHA256, KeyType};
use subtle::{Choice, ConditionallySelectable as _};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::PkiError;
use crate::key::P384Key;
use crate::secret::{Salt, Seed};

/// Bytes that A.2.1 takes for a curve of 384 bits: 64 bits more than the order has.
pub(crate) const SCALAR_INPUT: usize = 56;
/// Bytes of a private key.
pub(crate) const SCALAR: usize = 48;

/// The order of P-384 less one, least significant limb first (SP 800-186, 3.2.1.4).
const ORDER_LESS_ONE: [u64; 6] = [
    0xecec_196a_ccc5_2972,
    0x581a_0db2_48b0_a77a,
    0xc763_4d81_f437_2ddf,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Fills `out` from the seed, for one purpose and id.
pub(crate) fn expand(
    seed: &Seed,
    salt: &Salt,
    purpose: &str,
    id: &[u8],
    out: &mut [u8],
) -> Result<(), PkiError> {
    let length = u16::try_from(id.len()).map_err(|_| PkiError::Crypto)?;
    let info = [
        b"nacre/v1/".as_slice(),
        purpose.as_bytes(),
        &length.to_be_bytes(),
        id,
    ];
    let prk = hkdf::Salt::new(HKDF_SHA256, salt.as_bytes()).extract(seed.as_bytes());
    prk.expand(&info, Length(out.len()))?.fill(out)?;
    Ok(())
}

/// The key of one purpose.
pub(crate) fn p384_key(seed: &Seed, salt: &Salt, purpose: &str) -> Result<P384Key, PkiError> {
    let mut input = Zeroizing::new([0; SCALAR_INPUT]);
    expand(seed, salt, purpose, b"", input.as_mut())?;
    P384Key::from_scalar(&scalar(&input))
}

/// FIPS 186-5 A.2.1, in time that does not depend on the bits.
pub(crate) fn scalar(input: &[u8; SCALAR_INPUT]) -> Zeroizing<[u8; SCALAR]> {
    let mut rest = [0_u64; 6];
    for bit in (0..8 * SCALAR_INPUT).map(|at| {
        let byte = input.get(at / 8).copied().unwrap_or_default();
        u64::from(byte >> (7 - at % 8) & 1)
    }) {
        // rest = 2 * rest + bit, less the modulus if that is not more than it.
        let mut carry = bit;
        for limb in &mut rest {
            let next = *limb >> 63;
            *limb = *limb << 1 | carry;
            carry = next;
        }
        let mut less = rest;
        let mut borrow = false;
        for (limb, modulus) in less.iter_mut().zip(ORDER_LESS_ONE) {
            let (difference, first) = limb.overflowing_sub(modulus);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = first | second;
        }
        let fits = Choice::from(carry as u8) | !Choice::from(u8::from(borrow));
        for (limb, less) in rest.iter_mut().zip(&less) {
            limb.conditional_assign(less, fits);
        }
        less.zeroize();
    }
    // Plus one; the sum is below the order, so nothing is carried out.
    let mut carry = true;
    for limb in &mut rest {
        let (sum, over) = limb.overflowing_add(u64::from(carry));
        *limb = sum;
        carry = over;
    }
    let mut out = Zeroizing::new([0; SCALAR]);
    for (chunk, limb) in out.chunks_exact_mut(8).zip(rest.iter().rev()) {
        chunk.copy_from_slice(&limb.to_be_bytes());
    }
    rest.zeroize();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's integers, hmac and hashlib; the script is `tests/vectors.py`.
    #[test]
    fn vectors() {
        let mut ours = String::new();
        let mut line = |name: &str, bytes: &[u8]| {
            ours.push_str(&format!("{name} {}\n", hex::encode(bytes)));
        };
        let mut input = [0; SCALAR_INPUT];
        line("scalar zero", scalar(&input).as_ref());
        input.fill(0xff);
        line("scalar ones", scalar(&input).as_ref());
        // The modulus itself, and one less: both ends of the range.
        for (name, last) in [("scalar modulus", 0x72), ("scalar modulus less one", 0x71)] {
            input.fill(0);
            for (chunk, limb) in input[8..]
                .chunks_exact_mut(8)
                .zip(ORDER_LESS_ONE.iter().rev())
            {
                chunk.copy_from_slice(&limb.to_be_bytes());
            }
            input[SCALAR_INPUT - 1] = last;
            line(name, scalar(&input).as_ref());
        }
        for (at, byte) in input.iter_mut().enumerate() {
            *byte = (at * 37 + 11) as u8;
        }
        line("scalar counted", scalar(&input).as_ref());

        let seed = Seed::from_bytes(std::array::from_fn(|at| at as u8));
        let salt = Salt::from_bytes(std::array::from_fn(|at| 0xa0 + at as u8));
        line("root-ca-key", seed.root_ca_key(&salt).unwrap().spki());
        line("history-key", seed.history_key(&salt).unwrap().spki());
        for id in ["", "shop/web", "0_shop/web"] {
            let secret = seed.workload_secret(&salt, id).unwrap();
            line(&format!("workload-secret {id:?}"), secret.as_bytes());
        }
        for (index, share) in crate::shamir::vectors() {
            line(&format!("share {index}"), &share);
        }
        assert_eq!(ours, include_str!("../tests/vectors.txt"));
    }
}
