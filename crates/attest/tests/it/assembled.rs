//! Collateral of several places: what one place has that is no good does not hide what another has.

use std::sync::Arc;

use nacre_attest::{
    Assembled, CertificateTable, CheckId, CollateralError, CollateralSource, Evidence, Expected,
    HostData, Policy, Product, RawReport, RawReportSource, ReportData, ReportSource, SigningKey,
    SourceError, Timestamp, VekRequest,
};
use nacre_sim::{CrlSpec, Machine, MachineSpec, Pki, ReportSpec};

const DATA: [u8; 64] = [0x5b; 64];
const DAY: u64 = 86_400;

/// A guest whose host has put these certificates beside its reports.
struct Guest {
    machine: Machine,
    table: Vec<Vec<u8>>,
}

impl RawReportSource for Guest {
    fn name(&self) -> &'static str {
        "guest"
    }

    fn report(&self, report_data: &[u8; 64]) -> Result<RawReport, SourceError> {
        let report = ReportSpec {
            report_data: *report_data,
            ..self.machine.report()
        };
        let mut certificates = CertificateTable::default();
        for der in &self.table {
            certificates.add(SigningKey::Vcek, der.clone());
        }
        Ok(RawReport {
            report: self.machine.sign(&report).unwrap(),
            certificates,
        })
    }
}

/// A place with collateral, or one that is away.
#[derive(Clone, Default)]
struct Place {
    vek: Option<Vec<u8>>,
    crl: Option<Vec<u8>>,
    away: bool,
}

impl Place {
    fn give(&self, what: &Option<Vec<u8>>) -> Result<Option<Vec<u8>>, CollateralError> {
        match self.away {
            true => Err(CollateralError::TooLong {
                path: "away".into(),
                limit: 0,
            }),
            false => Ok(what.clone()),
        }
    }
}

impl CollateralSource for Place {
    fn vek(&self, _: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        self.give(&self.vek)
    }

    fn crl(&self, _: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        self.give(&self.crl)
    }
}

fn pki() -> &'static Pki {
    Pki::of_process(Product::Genoa).unwrap()
}

/// A list made so many days ago, due in so many.
fn crl(age: u64, due: i64) -> Vec<u8> {
    let now = Timestamp::now().0;
    let spec = CrlSpec {
        this_update: Timestamp(now - age * DAY),
        next_update: now.checked_add_signed(due * 86_400).map(Timestamp),
        ..CrlSpec::new(&pki().ark).unwrap()
    };
    spec.sign(&pki().ark.key).unwrap()
}

fn assembled(
    machine: Machine,
    table: &[&Vec<u8>],
    places: &[Place],
) -> Result<Evidence, SourceError> {
    let guest = Guest {
        machine,
        table: table.iter().map(|der| (*der).clone()).collect(),
    };
    let places = places.iter().cloned();
    let collateral = places.map(|place| Box::new(place) as Box<dyn CollateralSource>);
    let verifier = Arc::new(pki().verifier().unwrap());
    Assembled::new(Box::new(guest), collateral.collect(), verifier).evidence(&DATA)
}

fn refused(evidence: &Evidence) -> Option<CheckId> {
    let measurement =
        ReportSpec::new(Product::Genoa, &MachineSpec::new(Product::Genoa)).measurement;
    let expected = Expected {
        report_data: ReportData::Exact(DATA),
        host_data: HostData::OneOf([[0; 32]].into()),
        newest_crl: None,
    };
    let policy = Policy::new(Product::Genoa, [measurement]);
    let verifier = pki().verifier().unwrap();
    let result = verifier.verify(evidence, &policy, &expected, Timestamp::now());
    result.err().map(|rejection| rejection.reason().unwrap().id)
}

#[test]
fn a_stale_or_forged_certificate_beside_the_report_does_not_hide_the_good_one() {
    let list = Some(crl(1, 30));
    let machine = || Machine::new(pki()).unwrap();
    let mut before = MachineSpec::new(Product::Genoa);
    before.tcb.microcode -= 1;
    let stale = Machine::with(pki(), before).unwrap().vek;
    let place = |vek: Option<Vec<u8>>| Place {
        vek,
        crl: list.clone(),
        away: false,
    };
    type Case = fn(&Machine, &Vec<u8>) -> (Vec<Vec<u8>>, Vec<Option<Vec<u8>>>);
    let cases: [Case; 5] = [
        |own, _| (vec![own.vek.clone()], vec![None]),
        |own, stale| (vec![stale.clone()], vec![None, Some(own.vek.clone())]),
        |own, stale| (vec![stale.clone(), own.vek.clone()], vec![None]),
        |own, _| (vec![b"garbage".to_vec()], vec![Some(own.vek.clone())]),
        |own, stale| {
            // The right facts, signed by somebody else.
            let forged = own.certificate(pki()).unwrap();
            let forged = forged.sign(&pki().ark.key).unwrap();
            let places = vec![Some(stale.clone()), Some(own.vek.clone())];
            (vec![forged], places)
        },
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let own = machine();
        let good = own.vek.clone();
        let (table, veks) = case(&own, &stale);
        let places: Vec<Place> = veks.into_iter().map(place).collect();
        let table: Vec<&Vec<u8>> = table.iter().collect();
        let evidence = assembled(own, &table, &places).unwrap();
        assert_eq!(evidence.vek, good, "case {number}");
        assert_eq!(refused(&evidence), None, "case {number}");
    }
    // Nobody has a better one: it travels, and the verifier says what is wrong.
    let evidence = assembled(machine(), &[&stale], &[place(None)]).unwrap();
    assert_eq!(refused(&evidence), Some(CheckId::VekMicrocode));
    let none = assembled(machine(), &[], &[place(None)]);
    assert!(matches!(none, Err(SourceError::NoVek)), "{none:?}");
    // Somebody who may have it is away: that is what is said.
    let away = Place {
        away: true,
        ..Place::default()
    };
    let away = assembled(machine(), &[&stale], &[away]);
    let is_vek = matches!(away, Err(SourceError::Collateral { what: "VEK", .. }));
    assert!(is_vek, "{away:?}");
}

#[test]
fn a_list_that_is_due_or_foreign_does_not_hide_a_good_one() {
    let (good, newer, due) = (crl(5, 30), crl(1, 30), crl(40, -10));
    let later = crl(20, -5);
    let foreign = CrlSpec::new(&pki().ark).unwrap();
    let foreign = foreign.sign(&pki().ask.key).unwrap();
    let of = |crl: &Vec<u8>| Place {
        crl: Some(crl.clone()),
        ..Place::default()
    };
    let away = || Place {
        away: true,
        ..Place::default()
    };
    let run = |places: &[Place]| {
        let machine = Machine::new(pki()).unwrap();
        let vek = machine.vek.clone();
        assembled(machine, &[&vek], places)
    };
    for (places, wanted, verdict) in [
        (vec![of(&due), of(&good)], &good, None),
        (vec![of(&foreign), of(&good)], &good, None),
        (vec![of(&good), of(&newer)], &good, None),
        (vec![away(), of(&good)], &good, None),
        (
            vec![of(&due), of(&later)],
            &later,
            Some(CheckId::CrlCurrent),
        ),
        (
            vec![of(&later), of(&due)],
            &later,
            Some(CheckId::CrlCurrent),
        ),
        (vec![of(&due), away()], &due, Some(CheckId::CrlCurrent)),
        (vec![of(&foreign)], &foreign, Some(CheckId::CrlSignature)),
    ] {
        let evidence = run(&places).unwrap();
        assert_eq!(evidence.crl.as_ref(), Some(wanted));
        assert_eq!(refused(&evidence), verdict);
    }
    let away = run(&[away()]);
    let is_list = matches!(away, Err(SourceError::Collateral { what: "CRL", .. }));
    assert!(is_list, "{away:?}");
    assert_eq!(run(&[]).unwrap().crl, None);
}
