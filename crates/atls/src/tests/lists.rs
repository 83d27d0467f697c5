//! Revocation lists of a fleet that does not renew them all at once.

use nacre_attest::danger::{OtherRoot, verifier_for};
use nacre_attest::{CheckId, Evidence, Policy, Product, SigningKey, Timestamp};
use nacre_sim::{CrlSpec, Machine, MachineSpec, Pki, ReportSpec};

use super::{Arc, BTreeSet, COORDINATOR, References};
use crate::{AppraisalError, Appraise as _};

const DATA: [u8; 64] = [7; 64];

fn list(pki: &Pki, age: u64, revoked: Vec<Vec<u8>>) -> Vec<u8> {
    list_until(pki, age, Timestamp::now().0 + 3600, revoked)
}

fn list_until(pki: &Pki, age: u64, due: u64, revoked: Vec<Vec<u8>>) -> Vec<u8> {
    let now = Timestamp::now().0;
    let spec = CrlSpec {
        this_update: Timestamp(now - age),
        next_update: Some(Timestamp(due)),
        revoked,
        ..CrlSpec::new(&pki.ark).unwrap()
    };
    spec.sign(&pki.ark.key).unwrap()
}

fn evidence(pki: &Pki, spec: MachineSpec, list: Vec<u8>) -> Evidence {
    let machine = Machine::with(pki, spec).unwrap();
    let report = ReportSpec {
        host_data: COORDINATOR,
        report_data: DATA,
        ..machine.report()
    };
    machine.evidence(&report, Some(list)).unwrap()
}

/// Accepts guests on any of these products, whose chips' or cloud's keys may sign.
fn references(products: &[&Pki]) -> References {
    let roots: Vec<_> = products
        .iter()
        .map(|pki| OtherRoot {
            product: pki.product,
            ark: &pki.ark.certificate,
            ask: &pki.ask.certificate,
            asvk: &pki.asvk.certificate,
            pins: None,
        })
        .collect();
    let policies = products.iter().map(|pki| {
        let report = ReportSpec::new(pki.product, &MachineSpec::new(pki.product));
        Policy {
            allow_vlek: true,
            ..Policy::new(pki.product, [report.measurement])
        }
    });
    References::new(
        Arc::new(verifier_for(&roots).unwrap()),
        policies.collect(),
        BTreeSet::from([COORDINATOR]),
        Timestamp(0),
    )
}

fn refused(references: &References, evidence: &Evidence) -> Option<CheckId> {
    match references.appraise(evidence, DATA) {
        Ok(_) => None,
        Err(AppraisalError::Rejected(rejection)) => rejection.reason().map(|check| check.id),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn products_have_lists_of_their_own() {
    let milan = Pki::of_process(Product::Milan).unwrap();
    let genoa = Pki::of_process(Product::Genoa).unwrap();
    let references = references(&[milan, genoa]);
    for (pki, age) in [(milan, 5), (genoa, 900), (milan, 5), (genoa, 900)] {
        let list = list(pki, age, Vec::new());
        let evidence = evidence(pki, MachineSpec::new(pki.product), list);
        assert_eq!(refused(&references, &evidence), None, "{}", pki.product);
    }
}

#[test]
fn what_counts_is_the_newest_list_that_is_known() {
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let references = references(&[pki]);
    let chip = || MachineSpec::new(Product::Genoa);
    let cloud = || MachineSpec {
        signing_key: SigningKey::Vlek,
        ..MachineSpec::new(Product::Genoa)
    };
    let old = list(pki, 900, Vec::new());
    assert_eq!(
        refused(&references, &evidence(pki, cloud(), old.clone())),
        None
    );
    let new = list(pki, 5, vec![pki.asvk.serial.clone()]);
    assert_eq!(refused(&references, &evidence(pki, chip(), new)), None);
    // A guest that has not fetched the new one yet is accepted by it …
    assert_eq!(
        refused(&references, &evidence(pki, chip(), old.clone())),
        None
    );
    // … and one that the new one revokes is not helped by the old one.
    assert_eq!(
        refused(&references, &evidence(pki, cloud(), old)),
        Some(CheckId::NotRevoked)
    );
}

#[test]
fn a_list_that_is_due_is_replaced_by_a_newer_one_that_is_known() {
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let references = references(&[pki]);
    let now = Timestamp::now().0;
    let evidence = |list| evidence(pki, MachineSpec::new(Product::Genoa), list);
    let due = list_until(pki, 900, now - 60, Vec::new());
    // Nothing newer is known.
    let current = Some(CheckId::CrlCurrent);
    assert_eq!(refused(&references, &evidence(due.clone())), current);
    let known = list(pki, 500, Vec::new());
    assert_eq!(refused(&references, &evidence(known)), None);
    assert_eq!(refused(&references, &evidence(due)), None);
    // One that is due and newer than what is known is not helped by the older one.
    let newer = list_until(pki, 100, now - 60, Vec::new());
    assert_eq!(refused(&references, &evidence(newer)), current);
    // What is known counts in full.
    let revoking = list(pki, 50, vec![pki.ask.serial.clone()]);
    let not_revoked = Some(CheckId::NotRevoked);
    assert_eq!(refused(&references, &evidence(revoking)), not_revoked);
}
