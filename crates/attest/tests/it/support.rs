//! The evidence of real machines in `tests/data`, and the policy each of them meets.

use std::path::PathBuf;

use nacre_attest::{
    CrlMode, Evidence, Expected, HostData, MinimumTcb, Policy, Product, Report, ReportData, Tcb,
    Timestamp,
};

pub(crate) fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(path)
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    std::fs::read(data(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A report, its certificate, and the moment to look at them.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) product: Product,
    pub(crate) version: u32,
    pub(crate) vlek: bool,
}

pub(crate) const SAMPLES: [Sample; 13] = [
    sample("gosev-milan-v2", Product::Milan, 2),
    Sample {
        vlek: true,
        ..sample("trustee-milan-vlek-v3", Product::Milan, 3)
    },
    sample("ms-milan", Product::Milan, 3),
    sample("ms-genoa", Product::Genoa, 3),
    sample("ms-turin", Product::Turin, 5),
    sample("attrs-genoa-v5", Product::Genoa, 5),
    sample("oak-milan-oc-release", Product::Milan, 3),
    sample("oak-milan-oc-staging", Product::Milan, 3),
    sample("oak-milan-rk-staging", Product::Milan, 3),
    sample("trustee-az-v1", Product::Milan, 3),
    sample("trustee-az-genoa", Product::Genoa, 3),
    sample("attrs-az-milan-v3", Product::Milan, 3),
    sample("attrs-az-v1", Product::Milan, 2),
];

const fn sample(name: &'static str, product: Product, version: u32) -> Sample {
    Sample {
        name,
        product,
        version,
        vlek: false,
    }
}

pub(crate) fn by_name(name: &str) -> &'static Sample {
    SAMPLES.iter().find(|sample| sample.name == name).unwrap()
}

impl Sample {
    pub(crate) fn evidence(&self) -> Evidence {
        let vek = if self.vlek { "vlek.der" } else { "vcek.der" };
        Evidence {
            report: read(&format!("{}/report.bin", self.name)),
            vek: read(&format!("{}/{vek}", self.name)),
            crl: None,
        }
    }

    pub(crate) fn report(&self) -> Report {
        Report::parse(&self.evidence().report).unwrap()
    }

    /// A moment at which the certificates are valid.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::parse(if self.vlek {
            "2025-12-01"
        } else {
            "2026-11-23"
        })
        .unwrap()
    }

    /// What this one report meets and no less.
    pub(crate) fn policy(&self) -> Policy {
        let report = self.report();
        let minimum = report.reported_tcb.decode(self.product);
        Policy {
            minimum_tcb: MinimumTcb::of_product(minimum),
            allow_vcek: !self.vlek,
            allow_vlek: self.vlek,
            allow_report_v2: self.version == 2,
            vmpl: report.vmpl,
            crl: CrlMode::IfPresent,
            ..Policy::new(self.product, [report.measurement])
        }
    }

    pub(crate) fn expected(&self) -> Expected {
        let report = self.report();
        Expected {
            report_data: ReportData::Exact(report.report_data),
            host_data: HostData::OneOf([report.host_data].into()),
            newest_crl: None,
        }
    }
}

pub(crate) fn tcb(fmc: Option<u8>, bootloader: u8, tee: u8, snp: u8, microcode: u8) -> Tcb {
    Tcb {
        fmc,
        bootloader,
        tee,
        snp,
        microcode,
    }
}
