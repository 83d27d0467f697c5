//! No bit of a valid report or chain can be changed.

use nacre_attest::{Evidence, Product};
use proptest::prelude::*;

use crate::mint::Mint;

fn part(evidence: &mut Evidence, which: usize) -> &mut Vec<u8> {
    match which {
        0 => &mut evidence.report,
        1 => &mut evidence.vek,
        _ => evidence.crl.as_mut().unwrap(),
    }
}

#[test]
fn no_byte_can_change() {
    let mint = Mint::new(Product::Turin);
    let verifier = mint.verifier();
    let good = mint.evidence();
    assert!(
        verifier
            .verify(&good, &mint.policy, &mint.expected, mint.now)
            .is_ok()
    );
    for which in 0..3 {
        for at in 0..part(&mut good.clone(), which).len() {
            let mut evidence = good.clone();
            part(&mut evidence, which)[at] ^= 1 << (at % 8);
            let result = verifier.verify(&evidence, &mint.policy, &mint.expected, mint.now);
            assert!(result.is_err(), "part {which} at {at}");
        }
    }
}

fn mint() -> &'static (Mint, nacre_attest::Verifier, Evidence) {
    static MINT: std::sync::LazyLock<(Mint, nacre_attest::Verifier, Evidence)> =
        std::sync::LazyLock::new(|| {
            let mint = Mint::new(Product::Genoa);
            let (verifier, evidence) = (mint.verifier(), mint.evidence());
            (mint, verifier, evidence)
        });
    &MINT
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn flipped_bits_never_verify(
        flips in prop::collection::vec((0usize..3, any::<prop::sample::Index>(), 0u8..8), 1..4),
    ) {
        let (mint, verifier, good) = mint();
        let mut evidence = good.clone();
        for (which, index, bit) in &flips {
            let bytes = part(&mut evidence, *which);
            let at = index.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        prop_assume!(evidence != *good);
        prop_assert!(verifier.verify(&evidence, &mint.policy, &mint.expected, mint.now).is_err());
    }

    #[test]
    fn any_bytes_give_an_answer(
        report in prop::collection::vec(any::<u8>(), 0..1200),
        vek in prop::collection::vec(any::<u8>(), 0..200),
        crl in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
    ) {
        let (mint, verifier, _) = mint();
        let evidence = Evidence { report, vek, crl };
        prop_assert!(verifier.verify(&evidence, &mint.policy, &mint.expected, mint.now).is_err());
        prop_assert_eq!(Evidence::decode(&evidence.encode()).is_ok(), evidence.report.len() <= 1184);
    }
}
