//! From the pinned root to the key that signed the report.

use std::sync::Arc;

use super::cache::{Authority as Under, Cache};
use super::{Book, Case, Subject, lazily};
use crate::check::CheckId;
use crate::product::Product;
use crate::report::{Report, SigningKey};
use crate::roots::{Authority, ProductRoots};
use crate::vek::{Spl, Vek};

impl Case<'_> {
    /// Checks 4 and 5 of the list. The certificate, when there is one to verify the report with.
    pub(super) fn chain(&self, book: &mut Book, subject: Subject<'_>) -> Option<Arc<Vek>> {
        let role = Role::of(subject.report.signing_key())?;
        let Some(roots) = self.roots.product(subject.product) else {
            book.check(
                CheckId::RootPinned,
                false,
                "a pinned root",
                "none for this product",
            );
            return None;
        };
        let issuer = self.authorities(book, roots, role);
        let key = Cache::key(subject.product, role.under(), &self.evidence.vek);
        let remembered = self.cache.and_then(|cache| cache.vek(&key));
        let known = remembered.is_some();
        let vek = match remembered.map_or_else(|| Vek::parse(&self.evidence.vek).map(Arc::new), Ok)
        {
            Ok(vek) => vek,
            Err(error) => {
                let length = self.evidence.vek.len();
                book.check(
                    CheckId::VekEncoding,
                    false,
                    "one DER certificate",
                    format_args!("{length} bytes: {error}"),
                );
                return None;
            }
        };
        book.check(
            CheckId::VekEncoding,
            true,
            "one DER certificate",
            "one DER certificate",
        );
        self.form(book, &vek, issuer, role);
        let signed = known || issuer.verifies(&vek.signed, &vek.signature);
        book.check(
            CheckId::VekSignature,
            signed,
            format_args!("signed by {}", issuer.common_name),
            if signed { "signed" } else { "not signed by it" },
        );
        if let (true, false, Some(cache)) = (signed, known, self.cache) {
            cache.add_vek(key, Arc::clone(&vek));
        }
        contents(book, self, subject, &vek, role);
        Some(vek)
    }

    fn authorities<'r>(
        &self,
        book: &mut Book,
        roots: &'r ProductRoots,
        role: Role,
    ) -> &'r Authority {
        let ark = &roots.ark;
        let issuer = match role {
            Role::Vcek => &roots.ask,
            Role::Vlek => &roots.asvk,
        };
        for (id, authority, holds) in [
            (CheckId::RootPinned, ark, ark.pinned && ark.signed_by_ark),
            (CheckId::IntermediatePinned, issuer, issuer.pinned),
        ] {
            book.check(
                id,
                holds,
                "the pinned certificate",
                lazily(|| {
                    format!(
                        "{} {}",
                        authority.common_name,
                        hex::encode(authority.sha256)
                    )
                }),
            );
        }
        book.check(
            CheckId::IntermediateSigned,
            issuer.signed_by_ark,
            format_args!("signed by {}", ark.common_name),
            if issuer.signed_by_ark {
                "signed"
            } else {
                "not signed by it"
            },
        );
        book.check(
            CheckId::IntermediateValidity,
            ark.valid_at(self.now) && issuer.valid_at(self.now),
            format_args!("valid at {}", self.now),
            format_args!(
                "{} to {}",
                ark.not_before.max(issuer.not_before),
                ark.not_after.min(issuer.not_after)
            ),
        );
        issuer
    }

    fn form(&self, book: &mut Book, vek: &Vek, issuer: &Authority, role: Role) {
        book.check(CheckId::VekVersion, vek.version == 3, 3, vek.version);
        book.check(
            CheckId::VekAlgorithm,
            vek.pss_sha384,
            "RSASSA-PSS, SHA-384, salt 48",
            if vek.pss_sha384 {
                "RSASSA-PSS, SHA-384, salt 48"
            } else {
                "something else"
            },
        );
        book.check(
            CheckId::VekKey,
            vek.key.is_some(),
            "a P-384 key",
            if vek.key.is_some() {
                "a P-384 key"
            } else {
                "another or an invalid key"
            },
        );
        let name = vek.common_name.as_deref();
        book.check(
            CheckId::VekSubject,
            name == Some(role.subject()),
            role.subject(),
            name.unwrap_or("no single common name"),
        );
        let named = vek.issuer == issuer.subject;
        book.check(
            CheckId::VekIssuer,
            named,
            &issuer.common_name,
            if named {
                issuer.common_name.as_str()
            } else {
                "another name"
            },
        );
        book.check(
            CheckId::VekValidity,
            (vek.not_before..=vek.not_after).contains(&self.now),
            format_args!("valid at {}", self.now),
            format_args!("{} to {}", vek.not_before, vek.not_after),
        );
        book.check(
            CheckId::VekExtensionsUnique,
            vek.repeated_extension.is_none(),
            "none twice",
            lazily(|| {
                vek.repeated_extension
                    .map_or("none twice".into(), |oid| format!("{oid} twice"))
            }),
        );
        book.check(
            CheckId::VekExtensionsKnown,
            vek.unknown_critical.is_none(),
            "none unknown",
            lazily(|| {
                vek.unknown_critical
                    .map_or("none unknown".into(), |oid| format!("{oid} is critical"))
            }),
        );
    }
}

fn contents(book: &mut Book, case: &Case<'_>, subject: Subject<'_>, vek: &Vek, role: Role) {
    let product = subject.product;
    let version = product.struct_version();
    book.check(
        CheckId::VekStructVersion,
        vek.struct_version == Some(version),
        version,
        lazily(|| or_absent(vek.struct_version)),
    );
    book.check(
        CheckId::VekProduct,
        vek.product_line() == Some(product.name()),
        product,
        vek.product_name.as_deref().unwrap_or("absent"),
    );
    let reported = subject.tcb(subject.report.reported_tcb);
    let holds = match (vek.fmc, reported.fmc) {
        (Spl::Absent, wanted) => wanted.is_none(),
        (Spl::Malformed, _) => false,
        (Spl::Is(value), wanted) => Some(value) == wanted,
    };
    book.check(
        CheckId::VekFmc,
        holds,
        lazily(|| or_absent(reported.fmc)),
        lazily(|| match vek.fmc {
            Spl::Absent => "absent".into(),
            Spl::Malformed => "not a number".into(),
            Spl::Is(value) => value.to_string(),
        }),
    );
    for (id, certified, wanted) in [
        (CheckId::VekBootloader, vek.bootloader, reported.bootloader),
        (CheckId::VekTee, vek.tee, reported.tee),
        (CheckId::VekSnp, vek.snp, reported.snp),
        (CheckId::VekMicrocode, vek.microcode, reported.microcode),
    ] {
        book.check(
            id,
            certified == Some(wanted),
            wanted,
            lazily(|| or_absent(certified)),
        );
    }
    chip(book, case, subject, vek, role);
}

fn chip(book: &mut Book, case: &Case<'_>, subject: Subject<'_>, vek: &Vek, role: Role) {
    let chip_id = &subject.report.chip_id;
    let masked = chip_id.iter().all(|&byte| byte == 0);
    let may_be_masked = role == Role::Vlek || case.policy.allow_masked_chip_id;
    book.check(
        CheckId::ChipIdPresent,
        !masked || may_be_masked,
        if may_be_masked {
            "present or masked"
        } else {
            "present"
        },
        if masked { "masked" } else { "present" },
    );
    let hwid = vek.hwid.as_deref();
    let holds = match (role, hwid) {
        (Role::Vlek, hwid) => hwid.is_none(),
        (Role::Vcek, None) => false,
        (Role::Vcek, Some(hwid)) => {
            hwid.len() == subject.product.hwid_len() && (masked || is_prefix(hwid, chip_id))
        }
    };
    let wanted = lazily(|| match (role, masked) {
        (Role::Vlek, _) => String::from("absent"),
        (Role::Vcek, true) => format!("{} bytes", subject.product.hwid_len()),
        (Role::Vcek, false) => short_chip(subject.product, chip_id),
    });
    book.check(
        CheckId::VekHwid,
        holds,
        wanted,
        lazily(|| hwid.map_or("absent".into(), hex::encode)),
    );
    let provider = vek.csp_id.as_deref();
    book.check(
        CheckId::VekProvider,
        provider.is_some() == (role == Role::Vlek),
        if role == Role::Vlek {
            "a provider"
        } else {
            "none"
        },
        provider.unwrap_or("none"),
    );
}

/// Check 6: the signature over the bytes as received.
pub(super) fn report_signature(book: &mut Book, report: &Report, vek: &Vek) {
    let Some(key) = &vek.key else { return };
    let holds = key
        .verify_sig(report.signed_bytes(), &report.signature())
        .is_ok();
    book.check(
        CheckId::ReportSignature,
        holds,
        "made by the key of the certificate",
        if holds {
            "made by it"
        } else {
            "not made by it"
        },
    );
}

/// Whether `hwid` begins `chip_id` and the rest is zero.
fn is_prefix(hwid: &[u8], chip_id: &[u8]) -> bool {
    chip_id
        .split_at_checked(hwid.len())
        .is_some_and(|(head, rest)| head == hwid && rest.iter().all(|&byte| byte == 0))
}

fn short_chip(product: Product, chip_id: &[u8; 64]) -> String {
    hex::encode(match chip_id.split_at_checked(product.hwid_len()) {
        Some((head, rest)) if rest.iter().all(|&byte| byte == 0) => head,
        _ => chip_id.as_slice(),
    })
}

fn or_absent(value: Option<impl ToString>) -> String {
    value.map_or_else(|| String::from("absent"), |value| value.to_string())
}

/// Which key hierarchy signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Vcek,
    Vlek,
}

impl Role {
    fn of(key: SigningKey) -> Option<Self> {
        match key {
            SigningKey::Vcek => Some(Self::Vcek),
            SigningKey::Vlek => Some(Self::Vlek),
            SigningKey::None | SigningKey::Unknown(_) => None,
        }
    }

    fn under(self) -> Under {
        match self {
            Self::Vcek => Under::Ask,
            Self::Vlek => Under::Asvk,
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Vcek => "SEV-VCEK",
            Self::Vlek => "SEV-VLEK",
        }
    }
}
