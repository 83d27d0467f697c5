//! What a machine reads of a verdict.

use nacre_attest::{CheckId, MinimumTcb, Product, Tcb};
use nacre_sim::MachineSpec;
use serde_json::{Value, json};

use crate::mint::Mint;

fn entry(mint: &Mint, id: CheckId) -> Value {
    let verdict = serde_json::to_value(mint.examine()).unwrap();
    let all = verdict["checks"].as_array().unwrap().clone();
    assert_eq!(all.len(), CheckId::ALL.len());
    let place = CheckId::ALL.iter().position(|&other| other == id).unwrap();
    all[place].clone()
}

#[test]
fn an_entry_has_code_name_outcome_and_both_sides() {
    let mut mint = Mint::new(Product::Genoa);
    let good = "5a".repeat(48);
    assert_eq!(
        entry(&mint, CheckId::Measurement),
        json!({
            "code": "NCR1066",
            "check": "measurement",
            "outcome": "pass",
            "expected": good,
            "actual": good,
        })
    );
    mint.report.measurement = [0x77; 48];
    assert_eq!(
        entry(&mint, CheckId::Measurement),
        json!({
            "code": "NCR1066",
            "check": "measurement",
            "outcome": "fail",
            "expected": good,
            "actual": "77".repeat(48),
        })
    );
}

#[test]
fn an_entry_says_what_to_do_where_there_is_something() {
    let have = Tcb {
        fmc: None,
        bootloader: 10,
        tee: 0,
        snp: 100,
        microcode: 200,
    };
    let spec = MachineSpec {
        tcb: have,
        ..MachineSpec::new(Product::Genoa)
    };
    let mut mint = Mint::of(spec, Product::Genoa);
    mint.policy.minimum_tcb = MinimumTcb::of_product(Tcb { snp: 101, ..have });
    assert_eq!(
        entry(&mint, CheckId::ReportedMinimum),
        json!({
            "code": "NCR1045",
            "check": "tcb-reported-minimum",
            "outcome": "fail",
            "expected": "at least bootloader=10 tee=0 snp=101 microcode=200",
            "actual": "bootloader=10 tee=0 snp=100 microcode=200",
            "advice": "snp is 100, below 101; the manifest would have to say SNPVersion: 100",
        })
    );
}

#[test]
fn every_entry_has_the_code_that_the_documentation_has() {
    let verdict = serde_json::to_value(Mint::new(Product::Turin).examine()).unwrap();
    let docs = crate::support::read("../../../../docs/errors.md");
    let docs = String::from_utf8(docs).unwrap();
    for (entry, id) in verdict["checks"]
        .as_array()
        .unwrap()
        .iter()
        .zip(CheckId::ALL)
    {
        assert_eq!(entry["code"], format!("NCR{}", id.code()));
        assert_eq!(entry["check"], id.name());
        assert!(docs.contains(entry["code"].as_str().unwrap()), "{id}");
    }
}
