//! Evidence made to measure: good unless a case changes something.

use nacre_attest::{
    Evidence, Expected, HostData, Policy, Product, ReportData, Timestamp, Verdict, Verifier,
};
use nacre_sim::{CertificateSpec, CrlSpec, Machine, MachineSpec, Pki, ReportSpec, RsaKey};

pub(crate) const REPORT_DATA: [u8; 64] = [0xda; 64];
pub(crate) const HOST_DATA: [u8; 32] = [0xb0; 32];

pub(crate) struct Mint {
    pub(crate) pki: Pki,
    pub(crate) machine: Machine,
    pub(crate) report: ReportSpec,
    pub(crate) vek: CertificateSpec,
    pub(crate) vek_signer: RsaKey,
    pub(crate) crl: Option<CrlSpec>,
    pub(crate) crl_signer: RsaKey,
    pub(crate) pins: Option<[[u8; 32]; 3]>,
    pub(crate) policy: Policy,
    pub(crate) expected: Expected,
    pub(crate) now: Timestamp,
    /// Done to the evidence when everything is signed.
    pub(crate) after: fn(&mut Evidence),
}

impl Mint {
    pub(crate) fn new(product: Product) -> Self {
        Self::of(MachineSpec::new(product), product)
    }

    pub(crate) fn of(spec: MachineSpec, product: Product) -> Self {
        let pki = Pki::of_process(product).unwrap().clone();
        let vlek = spec.signing_key == nacre_attest::SigningKey::Vlek;
        let machine = Machine::with(&pki, spec).unwrap();
        let mut report = machine.report();
        report.report_data = REPORT_DATA;
        report.host_data = HOST_DATA;
        Self {
            vek: machine.certificate(&pki).unwrap(),
            vek_signer: if vlek {
                pki.asvk.key.clone()
            } else {
                pki.ask.key.clone()
            },
            crl: Some(CrlSpec::new(&pki.ark).unwrap()),
            crl_signer: pki.ark.key.clone(),
            pins: None,
            policy: Policy {
                allow_vcek: !vlek,
                allow_vlek: vlek,
                ..Policy::new(product, [report.measurement])
            },
            expected: Expected {
                report_data: ReportData::Exact(REPORT_DATA),
                host_data: HostData::OneOf([HOST_DATA, [0; 32]].into()),
                newest_crl: None,
            },
            now: Timestamp::now(),
            after: |_| (),
            pki,
            machine,
            report,
        }
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let mut evidence = Evidence {
            report: self.machine.sign(&self.report).unwrap(),
            vek: self.vek.sign(&self.vek_signer).unwrap(),
            crl: self
                .crl
                .as_ref()
                .map(|crl| crl.sign(&self.crl_signer).unwrap()),
        };
        (self.after)(&mut evidence);
        evidence
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.pki.verifier_with_pins(self.pins).unwrap()
    }

    pub(crate) fn examine(&self) -> Verdict {
        self.verifier()
            .examine(&self.evidence(), &self.policy, &self.expected, self.now)
    }
}
