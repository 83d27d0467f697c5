//! The guest policy, the platform, and the guest itself.

use std::collections::BTreeSet;
use std::fmt::Display;

use subtle::ConstantTimeEq;

use super::{Book, Case, Subject, lazily, lazy_hex};
use crate::check::CheckId;
use crate::policy::{Bit, HostData, PLATFORM_INFO_BITS, ReportData};
use crate::product::Product;
use crate::report::SigningKey;
use crate::verdict::{Outcome, Topic};

const DEBUG: u32 = 19;
const MIGRATE_MA: u32 = 18;
/// Bit 17, which is always one.
const ALWAYS_ONE: u64 = 1 << 17;
/// Bits 26 to 63, which are always zero.
const ALWAYS_ZERO: u64 = !((1 << 26) - 1);

impl Case<'_> {
    /// Checks 9 to 13 of the list.
    pub(super) fn guest(&self, book: &mut Book, subject: Subject<'_>) {
        self.guest_policy(book, subject);
        self.platform(book, subject);
        let report = subject.report;
        book.check(
            CheckId::Vmpl,
            report.vmpl == self.policy.vmpl,
            self.policy.vmpl,
            report.vmpl,
        );
        match &self.policy.measurements {
            Some(allowed) => {
                one_of(book, CheckId::Measurement, allowed, &report.measurement);
            }
            None => {
                let actual = lazy_hex(report.measurement);
                book.write(CheckId::Measurement, Outcome::Open, "not asked for", actual);
            }
        }
        self.id_block(book, subject);
        self.chip_allowed(book, subject);
        match &self.expected.host_data {
            HostData::OneOf(allowed) => {
                one_of(book, CheckId::HostData, allowed, &report.host_data);
            }
            HostData::Open => {
                let actual = lazy_hex(report.host_data);
                book.write(CheckId::HostData, Outcome::Open, "not asked for", actual);
            }
        }
        let actual = lazy_hex(report.report_data);
        match &self.expected.report_data {
            ReportData::Exact(wanted) => {
                let wanted = self.policy.report_data_form.apply(wanted);
                let holds = wanted.ct_eq(&report.report_data).into();
                book.check(CheckId::ReportData, holds, lazy_hex(wanted), actual);
            }
            ReportData::Open => {
                book.write(CheckId::ReportData, Outcome::Open, "not asked for", actual);
            }
        }
    }

    fn guest_policy(&self, book: &mut Book, subject: Subject<'_>) {
        let policy = subject.report.policy;
        let rules = &self.policy.guest_policy;
        book.check(
            CheckId::PolicyReserved,
            policy & (ALWAYS_ONE | ALWAYS_ZERO) == ALWAYS_ONE,
            "bit 17 one, bits 26 and up zero",
            format_args!("{policy:#x}"),
        );
        bit(book, CheckId::PolicyDebug, policy, DEBUG, Bit::Clear);
        bit(
            book,
            CheckId::PolicyMigration,
            policy,
            MIGRATE_MA,
            Bit::Clear,
        );
        let agent = subject.report.report_id_ma;
        let none = agent.iter().all(|&byte| byte == 0xff);
        book.check(
            CheckId::MigrationAgent,
            none,
            "none",
            lazily(|| {
                if none {
                    "none".into()
                } else {
                    hex::encode(agent)
                }
            }),
        );
        let [minor, major, ..] = policy.to_le_bytes();
        let (least_major, least_minor) = rules.abi_minimum;
        book.check(
            CheckId::PolicyAbi,
            (major, minor) >= rules.abi_minimum,
            format_args!("at least {least_major}.{least_minor}"),
            format_args!("{major}.{minor}"),
        );
        for (id, number, rule) in [
            (CheckId::PolicySmt, 16, rules.smt),
            (CheckId::PolicySingleSocket, 20, rules.single_socket),
            (CheckId::PolicyCxl, 21, rules.cxl),
            (CheckId::PolicyAes256Xts, 22, rules.aes_256_xts),
            (CheckId::PolicyRapl, 23, rules.rapl_disabled),
            (CheckId::PolicyCiphertextHiding, 24, rules.ciphertext_hiding),
            (CheckId::PolicyPageSwap, 25, rules.page_swap_disabled),
        ] {
            bit(book, id, policy, number, rule);
        }
    }

    fn platform(&self, book: &mut Book, subject: Subject<'_>) {
        let info = subject.report.platform_info;
        let rules = &self.policy.platform_info;
        let present = lazily(|| bits(info));
        let missing = rules.must_set & !info;
        if rules.must_set == 0 {
            book.not_required(CheckId::PlatformMustSet, &present);
        } else {
            book.check(
                CheckId::PlatformMustSet,
                missing == 0,
                lazily(|| bits(rules.must_set)),
                &present,
            );
        }
        let refused = rules.must_clear & info;
        if rules.must_clear == 0 {
            book.not_required(CheckId::PlatformMustClear, &present);
        } else {
            let wanted = lazily(|| format!("none of {}", bits(rules.must_clear)));
            book.check(CheckId::PlatformMustClear, refused == 0, wanted, &present);
        }
        let known = PLATFORM_INFO_BITS
            .iter()
            .fold(0u64, |known, (bit, _)| known | 1 << bit);
        let unknown = info & !known;
        let actual = lazily(|| {
            if unknown == 0 {
                "none".into()
            } else {
                bits(unknown)
            }
        });
        if rules.reject_unknown {
            book.check(CheckId::PlatformUnknown, unknown == 0, "none", actual);
        } else {
            if unknown != 0 {
                book.note(Topic::PlatformInfo, || {
                    format!("PLATFORM_INFO has bits without a known meaning: {actual}")
                });
            }
            book.not_required(CheckId::PlatformUnknown, actual);
        }
    }

    fn id_block(&self, book: &mut Book, subject: Subject<'_>) {
        let report = subject.report;
        match &self.policy.id_key_digests {
            Some(allowed) => {
                one_of(book, CheckId::IdKeyDigest, allowed, &report.id_key_digest);
            }
            None => book.not_required(CheckId::IdKeyDigest, lazy_hex(report.id_key_digest)),
        }
        let author = lazy_hex(report.author_key_digest);
        match &self.policy.author_key_digests {
            Some(allowed) if report.author_key_en() => {
                one_of(
                    book,
                    CheckId::AuthorKeyDigest,
                    allowed,
                    &report.author_key_digest,
                );
            }
            Some(_) => {
                book.check(
                    CheckId::AuthorKeyDigest,
                    false,
                    "an author key",
                    "none was used",
                );
            }
            None => book.not_required(CheckId::AuthorKeyDigest, author),
        }
        for (id, wanted, actual) in [
            (CheckId::FamilyId, self.policy.family_id, report.family_id),
            (CheckId::ImageId, self.policy.image_id, report.image_id),
        ] {
            match wanted {
                Some(wanted) => {
                    book.check(id, wanted == actual, lazy_hex(wanted), lazy_hex(actual));
                }
                None => book.not_required(id, lazy_hex(actual)),
            }
        }
        let least = self.policy.minimum_guest_svn;
        book.check(
            CheckId::GuestSvn,
            report.guest_svn >= least,
            format_args!("at least {least}"),
            report.guest_svn,
        );
    }

    fn chip_allowed(&self, book: &mut Book, subject: Subject<'_>) {
        let chip = &subject.report.chip_id;
        match &self.policy.chips {
            Some(allowed) => {
                // A masked id names no chip, whatever the list holds.
                let masked = chip.iter().all(|&byte| byte == 0);
                let holds = !masked && allowed.contains(chip);
                book.check(
                    CheckId::ChipAllowed,
                    holds,
                    lazily(|| choice(allowed)),
                    lazily(|| {
                        if masked {
                            "masked".into()
                        } else {
                            hex::encode(chip)
                        }
                    }),
                );
            }
            None if self.policy.require_chips => {
                book.check(
                    CheckId::ChipAllowed,
                    false,
                    "a list of chips",
                    "the policy has none",
                );
                book.advise(
                    "list the chips of your machines in AllowedChipIDs of the reference values"
                        .into(),
                );
            }
            None => {
                book.not_required(CheckId::ChipAllowed, lazy_hex(*chip));
                if subject.product == Product::Milan {
                    book.note(Topic::Chips, || {
                        "Milan: the keys of a chip can be taken out by its owner in software \
                         (arXiv 2605.12990), who can then sign any report for it; only a list of \
                         allowed chips in trusted hands helps"
                            .into()
                    });
                }
            }
        }
        if subject.report.signing_key() == SigningKey::Vlek {
            book.note(Topic::SigningKey, || {
                "VLEK: the cloud provider vouches for the machine, the report does not name the chip"
                    .into()
            });
        }
    }
}

fn one_of<const N: usize>(
    book: &mut Book,
    id: CheckId,
    allowed: &BTreeSet<[u8; N]>,
    actual: &[u8; N],
) -> bool {
    // All of them are compared, each in constant time.
    let found = allowed
        .iter()
        .fold(subtle::Choice::from(0), |found, allowed| {
            found | allowed.as_slice().ct_eq(actual)
        });
    book.check(
        id,
        found.into(),
        lazily(|| choice(allowed)),
        lazy_hex(*actual),
    )
}

/// The allowed values, shortened when there are many.
fn choice<const N: usize>(allowed: &BTreeSet<[u8; N]>) -> String {
    const SHOWN: usize = 4;
    let mut shown: Vec<_> = allowed.iter().take(SHOWN).map(hex::encode).collect();
    match allowed.len() {
        0 => return "none is allowed".into(),
        many if many > SHOWN => shown.push(format!("{} more", many - SHOWN)),
        _ => {}
    }
    shown.join(" or ")
}

fn bit(book: &mut Book, id: CheckId, bits: u64, number: u32, rule: Bit) {
    let set = bits >> number & 1 == 1;
    let actual = if set { "set" } else { "clear" };
    match rule {
        Bit::Any => book.not_required(id, actual),
        Bit::Set => {
            book.check(id, set, "set", actual);
        }
        Bit::Clear => {
            book.check(id, !set, "clear", actual);
        }
    }
}

/// Bits by name, or by number when they have none.
fn bits(value: u64) -> String {
    let names: Vec<_> = (0..u64::BITS)
        .filter(|number| value >> number & 1 == 1)
        .map(|number| {
            let known = PLATFORM_INFO_BITS.iter().find(|(of, _)| *of == number);
            known.map_or_else(|| format!("bit {number}"), |(_, name)| (*name).to_owned())
        })
        .collect();
    let names: &dyn Display = if names.is_empty() {
        &"none"
    } else {
        &names.join(" ")
    };
    format!("{value:#x} ({names})")
}
