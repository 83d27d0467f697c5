//! The bytes of the report and the processor they name.

use super::{Book, Case, lazily};
use crate::check::CheckId;
use crate::product::Product;
use crate::report::{REPORT_LEN, Report, ReportError, SigningKey};

/// Order of the P-384 group, big-endian (FIPS 186-5, SEC 2).
const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

impl Case<'_> {
    /// Checks 1 and 2 of the list: length, version, algorithm, key info, reserved areas, signature field.
    pub(super) fn report_bytes(&self, book: &mut Book) -> Option<Report> {
        let length = self.evidence.report.len();
        if !book.check(
            CheckId::ReportLength,
            length == REPORT_LEN,
            REPORT_LEN,
            length,
        ) {
            return None;
        }
        let report = match Report::parse(&self.evidence.report) {
            Ok(report) => report,
            Err(ReportError::Version { actual }) => {
                book.check(CheckId::ReportVersion, false, "2 to 5", actual);
                return None;
            }
            Err(ReportError::Length { .. }) => return None,
        };
        book.check(CheckId::ReportVersion, true, "2 to 5", report.version);
        let v2 = self.policy.allow_report_v2;
        book.check(
            CheckId::ReportVersionAllowed,
            report.version != 2 || v2,
            if v2 { "2 or later" } else { "3 or later" },
            report.version,
        );
        book.check(
            CheckId::SignatureAlgorithm,
            report.signature_algo == 1,
            1,
            report.signature_algo,
        );
        let reserved = report.key_info_reserved();
        book.check(
            CheckId::KeyInfoReserved,
            reserved == 0,
            0,
            format_args!("{reserved:#x}"),
        );
        let masked = report.chip_key_masked();
        book.check(
            CheckId::ChipKeyMasked,
            !masked,
            "not masked",
            if masked { "masked" } else { "not masked" },
        );
        let key = report.signing_key();
        let allowed = match key {
            SigningKey::Vcek => self.policy.allow_vcek,
            SigningKey::Vlek => self.policy.allow_vlek,
            SigningKey::None | SigningKey::Unknown(_) => false,
        };
        let wanted = match (self.policy.allow_vcek, self.policy.allow_vlek) {
            (true, true) => "VCEK or VLEK",
            (true, false) => "VCEK",
            (false, true) => "VLEK",
            (false, false) => "no key (the policy allows none)",
        };
        book.check(CheckId::SigningKey, allowed, wanted, key);
        let areas = &report.reserved_nonzero;
        book.check(
            CheckId::ReservedBytes,
            areas.is_empty(),
            "zero",
            lazily(|| zero_or("at", areas)),
        );
        let padding = report.signature_padding_zero;
        book.check(
            CheckId::SignaturePadding,
            padding,
            "zero",
            if padding { "zero" } else { "not zero" },
        );
        let in_range = [&report.signature_r, &report.signature_s].map(|number| {
            let big_endian = number.iter().rev();
            number.iter().any(|&byte| byte != 0) && big_endian.cmp(&P384_ORDER).is_lt()
        });
        let actual = match in_range {
            [true, true] => "in range",
            [false, true] => "R out of range",
            [true, false] => "S out of range",
            [false, false] => "R and S out of range",
        };
        book.check(
            CheckId::SignatureRange,
            in_range == [true, true],
            "in range",
            actual,
        );
        Some(report)
    }

    /// Check 3: which processor. `None` when nothing that depends on it can be judged.
    pub(super) fn processor(&self, book: &mut Book, report: &Report) -> Option<Product> {
        let wanted = self.policy.product;
        let product = match report.cpu {
            Some(cpu) => {
                let product = Product::from_cpu(cpu);
                book.check(
                    CheckId::ProcessorKnown,
                    product.is_some(),
                    "Milan, Genoa or Turin",
                    lazily(|| match product {
                        Some(product) => format!("{product} ({cpu})"),
                        None => format!("unknown ({cpu})"),
                    }),
                );
                let product = product?;
                book.check(CheckId::ProductExpected, product == wanted, wanted, product);
                product
            }
            None => {
                // Version 2 names no processor: that it may stand in for the product of the policy was
                // decided by the check of the version; the certificate has to name that product.
                book.not_required(CheckId::ProcessorKnown, "not in a version 2 report");
                book.not_required(CheckId::ProductExpected, "not in a version 2 report");
                wanted
            }
        };
        let dirty: Vec<_> = [
            ("current", report.current_tcb),
            ("reported", report.reported_tcb),
            ("committed", report.committed_tcb),
            ("launch", report.launch_tcb),
        ]
        .into_iter()
        .filter(|(_, tcb)| !tcb.reserved_is_zero(product))
        .map(|(name, _)| name)
        .collect();
        book.check(
            CheckId::TcbReserved,
            dirty.is_empty(),
            "zero",
            lazily(|| zero_or("in", &dirty)),
        );
        Some(product)
    }
}

fn zero_or(where_: &str, dirty: &[&str]) -> String {
    if dirty.is_empty() {
        "zero".into()
    } else {
        format!("not zero {where_} {}", dirty.join(", "))
    }
}
