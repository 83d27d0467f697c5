//! Firmware versions: their order among themselves, and the minimum.

use super::{Book, Case, Subject, lazily};
use crate::baselines::Advisory;
use crate::check::CheckId;
use crate::product::{Shortfall, Tcb};
use crate::verdict::Topic;

impl Case<'_> {
    /// Checks 7 and 8 of the list.
    pub(super) fn firmware(&self, book: &mut Book, subject: Subject<'_>) {
        let report = subject.report;
        let current = subject.tcb(report.current_tcb);
        let committed = subject.tcb(report.committed_tcb);
        let reported = subject.tcb(report.reported_tcb);
        let launch = subject.tcb(report.launch_tcb);
        for (id, tcb) in [
            (CheckId::ReportedNotAboveCurrent, reported),
            (CheckId::CommittedNotAboveCurrent, committed),
            (CheckId::LaunchNotAboveCurrent, launch),
        ] {
            book.check(
                id,
                current.below(tcb).is_empty(),
                format_args!("at most {current}"),
                tcb,
            );
        }
        book.check(
            CheckId::FirmwareOrder,
            report.committed_firmware <= report.current_firmware,
            format_args!("at most {}", report.current_firmware),
            report.committed_firmware,
        );
        let provisional =
            committed != current || report.committed_firmware != report.current_firmware;
        let state = if provisional {
            "provisional"
        } else {
            "committed"
        };
        if self.policy.allow_provisional_firmware {
            book.not_required(CheckId::ProvisionalFirmware, state);
            if provisional {
                book.note(Topic::Firmware, || {
                    format!(
                        "firmware is provisional: {committed} is committed, {current} runs; the host can \
                         go back to the former without a reset of the chip's keys"
                    )
                });
            }
        } else {
            book.check(
                CheckId::ProvisionalFirmware,
                !provisional,
                "committed",
                state,
            );
        }
        self.minimum(book, subject, [reported, launch, committed]);
        self.mitigations(book, subject);
        if book.outcomes_only() {
            return;
        }
        let missed: Vec<_> = Advisory::all()
            .filter(|advisory| {
                advisory.misses(subject.product, subject.cpu(), reported)
                    || advisory.misses_bit(report.platform_info)
            })
            .map(ToString::to_string)
            .collect();
        if !missed.is_empty() {
            let as_of = crate::baselines::as_of();
            book.note(Topic::Advisories, || {
                format!("advisories not met (as of {as_of}): {}", missed.join("; "))
            });
        }
    }

    fn minimum(&self, book: &mut Book, subject: Subject<'_>, tcbs: [Tcb; 3]) {
        let [reported, launch, committed] = tcbs;
        let minimum = self.policy.minimum_tcb.for_cpu(subject.cpu());
        book.check(
            CheckId::MinimumKnown,
            minimum.is_some(),
            "a minimum",
            lazily(|| match (minimum, subject.cpu()) {
                (Some(minimum), _) => minimum.to_string(),
                (None, Some(cpu)) => format!("none for {cpu}"),
                (None, None) => format!("none for {}", subject.product),
            }),
        );
        let Some(minimum) = minimum else { return };
        for (id, tcb, required) in [
            (CheckId::ReportedMinimum, reported, true),
            (CheckId::LaunchMinimum, launch, true),
            (
                CheckId::CommittedMinimum,
                committed,
                self.policy.require_committed_minimum,
            ),
        ] {
            if !required {
                book.not_required(id, tcb);
                continue;
            }
            let short = tcb.below(minimum);
            if !book.check(
                id,
                short.is_empty(),
                format_args!("at least {minimum}"),
                tcb,
            ) {
                book.advise(advice(subject, &short));
            }
        }
    }

    fn mitigations(&self, book: &mut Book, subject: Subject<'_>) {
        let wanted = self.policy.mitigations;
        for (id, vector) in [
            (
                CheckId::MitigationsAtLaunch,
                subject.report.launch_mitigations,
            ),
            (
                CheckId::MitigationsCurrent,
                subject.report.current_mitigations,
            ),
        ] {
            let actual = lazily(|| {
                vector.map_or("not in this report version".into(), |bits| {
                    format!("{bits:#x}")
                })
            });
            if wanted == 0 {
                book.not_required(id, actual);
            } else {
                let holds = vector.is_some_and(|bits| bits & wanted == wanted);
                book.check(id, holds, format_args!("all of {wanted:#x}"), actual);
            }
        }
    }
}

/// Which part is too old, what that leaves open, and what the manifest would have to say.
fn advice(subject: Subject<'_>, short: &[Shortfall]) -> String {
    let parts = short.iter().map(|short| {
        let missed: Vec<_> = Advisory::all()
            .filter(|advisory| {
                advisory.misses_by(subject.product, subject.cpu(), short.part, short.have)
            })
            .map(ToString::to_string)
            .collect();
        let open = if missed.is_empty() {
            String::new()
        } else {
            format!(", open to {}", missed.join(" and "))
        };
        let field = short.part.manifest_field();
        match short.have {
            Some(have) => format!("{short}{open}; the manifest would have to say {field}: {have}"),
            None => format!("{short}{open}"),
        }
    });
    parts.collect::<Vec<_>>().join(". ")
}
