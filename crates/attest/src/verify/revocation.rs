//! The revocation list of the product's root.

use std::sync::Arc;

use super::cache::{Authority, Cache};
use super::{Book, Case, Subject, lazily};
use crate::check::CheckId;
use crate::crl::Crl;
use crate::policy::CrlMode;
use crate::report::SigningKey;
use crate::time::Timestamp;
use crate::verdict::Topic;

const ALL: [CheckId; 9] = [
    CheckId::CrlPresent,
    CheckId::CrlEncoding,
    CheckId::CrlAlgorithm,
    CheckId::CrlIssuer,
    CheckId::CrlSignature,
    CheckId::CrlStarted,
    CheckId::CrlCurrent,
    CheckId::CrlNotRolledBack,
    CheckId::NotRevoked,
];

impl Case<'_> {
    /// Check 14 of the list. The start of the list, when it is genuine.
    pub(super) fn revocation(&self, book: &mut Book, subject: Subject<'_>) -> Option<Timestamp> {
        let Some(der) = &self.evidence.crl else {
            match self.policy.crl {
                CrlMode::Require => {
                    book.check(CheckId::CrlPresent, false, "a revocation list", "none");
                }
                CrlMode::IfPresent => {
                    ALL.into_iter()
                        .for_each(|id| book.not_required(id, "no revocation list"));
                    book.note(Topic::Revocation, || {
                        "no revocation list: that the keys are not revoked is unknown".into()
                    });
                }
            }
            return None;
        };
        book.check(
            CheckId::CrlPresent,
            true,
            "a revocation list",
            "a revocation list",
        );
        let roots = self.roots.product(subject.product)?;
        let key = Cache::key(subject.product, Authority::Ark, der);
        let remembered = self.cache.and_then(|cache| cache.crl(&key));
        let known = remembered.is_some();
        let crl = match remembered.map_or_else(|| Crl::parse(der).map(Arc::new), Ok) {
            Ok(crl) => crl,
            Err(error) => {
                let actual = format!("{} bytes: {error}", der.len());
                book.check(CheckId::CrlEncoding, false, "one DER list", actual);
                return None;
            }
        };
        book.check(CheckId::CrlEncoding, true, "one DER list", "one DER list");
        book.check(
            CheckId::CrlAlgorithm,
            crl.pss_sha384,
            "RSASSA-PSS, SHA-384, salt 48",
            if crl.pss_sha384 {
                "RSASSA-PSS, SHA-384, salt 48"
            } else {
                "something else"
            },
        );
        let named = crl.issuer == roots.ark.subject;
        let ark = roots.ark.common_name.as_str();
        book.check(
            CheckId::CrlIssuer,
            named,
            ark,
            if named { ark } else { "another name" },
        );
        let signed = known || roots.ark.verifies(&crl.signed, &crl.signature);
        book.check(
            CheckId::CrlSignature,
            signed,
            format_args!("signed by {ark}"),
            if signed { "signed" } else { "not signed by it" },
        );
        if let (true, false, Some(cache)) = (signed, known, self.cache) {
            cache.add_crl(key, Arc::clone(&crl));
        }
        self.dates(book, &crl);
        let issuer = match subject.report.signing_key() {
            SigningKey::Vlek => &roots.asvk,
            _ => &roots.ask,
        };
        let revoked: Vec<_> = [&roots.ark, issuer]
            .into_iter()
            .filter(|authority| crl.revoked.contains(&authority.serial))
            .map(|authority| authority.common_name.as_str())
            .collect();
        book.check(
            CheckId::NotRevoked,
            revoked.is_empty(),
            "not revoked",
            lazily(|| {
                if revoked.is_empty() {
                    "not revoked".into()
                } else {
                    format!("{} revoked", revoked.join(" and "))
                }
            }),
        );
        (signed && named && crl.pss_sha384).then_some(crl.this_update)
    }

    fn dates(&self, book: &mut Book, crl: &Crl) {
        book.check(
            CheckId::CrlStarted,
            crl.this_update <= self.now,
            format_args!("not after {}", self.now),
            crl.this_update,
        );
        // RFC 5280 demands the date; a list without one would be good for ever.
        book.check(
            CheckId::CrlCurrent,
            crl.next_update.is_some_and(|next| self.now < next),
            format_args!("due after {}", self.now),
            lazily(|| {
                crl.next_update
                    .map_or("no date".into(), |next| next.to_string())
            }),
        );
        match self.expected.newest_crl {
            Some(newest) => {
                book.check(
                    CheckId::CrlNotRolledBack,
                    crl.this_update >= newest,
                    format_args!("not before {newest}"),
                    crl.this_update,
                );
            }
            None => book.not_required(CheckId::CrlNotRolledBack, crl.this_update),
        }
    }
}
