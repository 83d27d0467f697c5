//! A chip with its key and the certificate for it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use nacre_attest::{Baseline, Evidence, Product, SigningKey, Tcb, Timestamp};

use crate::SimError;
use crate::certificate::{CertificateSpec, amd_extension};
use crate::der::{bit_string, ia5, integer, name, oid, pss, sequence};
use crate::pki::Pki;
use crate::report::ReportSpec;

const DAY: u64 = 86_400;

/// What a machine is.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// Identity of the chip, [`Product::hwid_len`] bytes.
    pub hwid: Vec<u8>,
    /// Firmware the key is derived for.
    pub tcb: Tcb,
    /// [`SigningKey::Vcek`] or [`SigningKey::Vlek`].
    pub signing_key: SigningKey,
}

impl MachineSpec {
    /// A machine at the newest baseline that signs with its VCEK.
    pub fn new(product: Product) -> Self {
        let fallback = Tcb {
            fmc: None,
            bootloader: 0,
            tee: 0,
            snp: 0,
            microcode: 0,
        };
        let mut hwid = vec![0xc4; product.hwid_len()];
        if let Some(first) = hwid.first_mut() {
            *first = 1;
        }
        let minimum = Baseline::newest().minimum(product);
        Self {
            hwid,
            tcb: minimum
                .for_cpu(Some(ReportSpec::cpu_of(product)))
                .unwrap_or(fallback),
            signing_key: SigningKey::Vcek,
        }
    }
}

/// A chip that signs reports.
#[derive(Debug)]
pub struct Machine {
    /// The product.
    pub product: Product,
    /// What it is.
    pub spec: MachineSpec,
    /// DER of the certificate that travels with its reports.
    pub vek: Vec<u8>,
    key: EcdsaKeyPair,
}

impl Machine {
    /// [`MachineSpec::new`], certified.
    pub fn new(pki: &Pki) -> Result<Self, SimError> {
        Self::with(pki, MachineSpec::new(pki.product))
    }

    /// A machine, certified as AMD would.
    pub fn with(pki: &Pki, spec: MachineSpec) -> Result<Self, SimError> {
        let mut machine = Self::uncertified(pki.product, spec)?;
        let issuer = match machine.spec.signing_key {
            SigningKey::Vlek => &pki.asvk,
            _ => &pki.ask,
        };
        machine.vek = machine.certificate(pki)?.sign(&issuer.key)?;
        Ok(machine)
    }

    fn uncertified(product: Product, spec: MachineSpec) -> Result<Self, SimError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?;
        Ok(Self {
            product,
            spec,
            vek: Vec::new(),
            key,
        })
    }

    /// What AMD would certify, to be changed and signed.
    pub fn certificate(&self, pki: &Pki) -> Result<CertificateSpec, SimError> {
        let vlek = self.spec.signing_key == SigningKey::Vlek;
        let (issuer, subject, years) = if vlek {
            (&pki.asvk, "SEV-VLEK", 1)
        } else {
            (&pki.ask, "SEV-VCEK", 7)
        };
        let now = Timestamp::now().0;
        let Tcb {
            fmc,
            bootloader,
            tee,
            snp,
            microcode,
        } = self.spec.tcb;
        let number = |value: u8| integer(value.into());
        let product = match (self.product, vlek) {
            (Product::Milan, false) => "Milan-B0",
            (product, _) => product.name(),
        };
        let mut extensions = vec![
            amd_extension("1", integer(self.product.struct_version())),
            amd_extension("2", ia5(product)),
            amd_extension("3.1", number(bootloader)),
            amd_extension("3.2", number(tee)),
            amd_extension("3.4", number(0)),
            amd_extension("3.5", number(0)),
            amd_extension("3.6", number(0)),
            amd_extension("3.7", number(0)),
            amd_extension("3.3", number(snp)),
            amd_extension("3.8", number(microcode)),
        ];
        if let Some(fmc) = fmc {
            extensions.push(amd_extension("3.9", number(fmc)));
        }
        extensions.push(if vlek {
            amd_extension("5", ia5("CN=cloud.example"))
        } else {
            amd_extension("4", self.spec.hwid.clone())
        });
        Ok(CertificateSpec {
            version: 3,
            serial: vec![0],
            algorithm: pss(48)?,
            issuer: issuer.subject.clone(),
            not_before: Timestamp(now.saturating_sub(DAY)),
            not_after: Timestamp(now.saturating_add(years * 365 * DAY)),
            subject: name(subject)?,
            spki: self.spki()?,
            extensions,
        })
    }

    /// DER of the public key.
    pub fn spki(&self) -> Result<Vec<u8>, SimError> {
        let algorithm = sequence(&[&oid("1.2.840.10045.2.1")?, &oid("1.3.132.0.34")?]);
        Ok(sequence(&[
            &algorithm,
            &bit_string(self.key.public_key().as_ref()),
        ]))
    }

    /// What a report of a new guest of this machine says before anything is changed. The guest has a REPORT_ID
    /// of its own, as the firmware gives each.
    pub fn report(&self) -> ReportSpec {
        let mut report = ReportSpec::new(self.product, &self.spec);
        // Without randomness guests are told apart no more than before.
        let _ = aws_lc_rs::rand::fill(&mut report.report_id);
        report
    }

    /// The bytes of a report, signed.
    pub fn sign(&self, report: &ReportSpec) -> Result<Vec<u8>, SimError> {
        self.sign_bytes(report.bytes())
    }

    /// Signs whatever the first 0x2a0 bytes are.
    pub fn sign_bytes(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>, SimError> {
        const R: usize = 0x2a0;
        const S: usize = 0x2e8;
        let signed = bytes.get(..R).ok_or(SimError::Encoding)?;
        let signature = self.key.sign(&SystemRandom::new(), signed)?;
        let (r, s) = signature
            .as_ref()
            .split_at_checked(48)
            .ok_or(SimError::Crypto)?;
        for (at, number) in [(R, r), (S, s)] {
            let slot = bytes.iter_mut().skip(at);
            slot.zip(number.iter().rev())
                .for_each(|(to, from)| *to = *from);
        }
        Ok(bytes)
    }

    /// A report and this machine's certificate.
    pub fn evidence(
        &self,
        report: &ReportSpec,
        crl: Option<Vec<u8>>,
    ) -> Result<Evidence, SimError> {
        Ok(Evidence {
            report: self.sign(report)?,
            vek: self.vek.clone(),
            crl,
        })
    }
}
