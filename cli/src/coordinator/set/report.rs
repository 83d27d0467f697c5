//! What came of setting, for people, programs and the exit code.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nacre_findings::{Finding, codes::client as codes};
use nacre_manifest::ManifestHash;
use nacre_review::diff;
use serde_json::{Value, json};

use super::super::show;
use super::{Done, Plan};
use crate::context::{Context, Output};
use crate::error::CommandError;

/// Shows it.
pub(super) fn report(
    plan: &Plan<'_>,
    done: &Done,
    written: &[PathBuf],
    context: &mut Context,
) -> Result<(), CommandError> {
    let rows = done
        .proof
        .iter()
        .flat_map(|(_, examination)| examination.rows.iter());
    let warnings: Vec<Finding> = rows
        .filter_map(|row| row.finding(false))
        .filter(|finding| finding.severity == nacre_findings::Severity::Warning)
        .collect();
    context.report(warnings);
    context.publish()?;
    let pending = done
        .outcome
        .as_ref()
        .and_then(|outcome| outcome.applied.as_ref().err());
    let replicas = done
        .outcome
        .as_ref()
        .map_or(&[][..], |outcome| &outcome.replicas);
    if context.output == Output::Json {
        return context.print_json(json!({
            "applied": pending.is_none(),
            "changed": done.outcome.is_some() && pending.is_none(),
            "generation": done.generation,
            "transition": done.transition,
            "manifest": ManifestHash::of(&plan.file.bytes),
            "change": done.change.as_ref().map(diff::Diff::json),
            "approvals": pending.map(|pending| json!({
                "approvedBy": pending.approved_by,
                "needed": pending.needed,
            })),
            "replicas": replicas.iter().map(|replica| json!({
                "address": replica.address,
                "transition": replica.transition,
                "error": replica.error,
                "guest": replica.guest.map(hex::encode),
            })).collect::<Vec<Value>>(),
            "written": written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        }));
    }
    let mut out = String::new();
    if let Some(change) = done.change.as_ref().filter(|change| !change.is_empty()) {
        out.push_str(&show::difference(
            "from the manifest in force to this one",
            change,
        ));
    }
    let (generation, transition) = (done.generation, show::short(done.transition));
    out.push_str(&match (&done.outcome, pending) {
        (None, _) => format!(
            "the manifest is in force already: generation {generation}, transition {transition}\n"
        ),
        (_, Some(pending)) => {
            let (there, needed) = (pending.approved_by.len(), pending.needed);
            format!("approved: {there} of {needed} owners, transition {transition}\n")
        }
        (Some(_), None) => {
            format!("the manifest is in force: generation {generation}, transition {transition}\n")
        }
    });
    let mut guests = BTreeMap::new();
    for replica in replicas {
        let name = match replica.address.as_str() {
            "" => "this Coordinator",
            address => address,
        };
        let what = match (&replica.transition, replica.error.as_str()) {
            (Some(head), _) if *head == done.transition => match replica.guest {
                None => "did not say which guest it is, so it does not count".to_owned(),
                Some(guest) => match guests.insert(guest, name) {
                    Some(other) => format!("is the same as {other}"),
                    None => "confirmed".to_owned(),
                },
            },
            (Some(head), _) => format!("is at {}", show::short(head)),
            (None, error) => format!("did not confirm: {error}"),
        };
        out.push_str(&format!("  {name}: {what}\n"));
    }
    for path in written {
        out.push_str(&format!("wrote {}\n", path.display()));
    }
    context.print(&out)
}

/// What the exit code says beyond "the Coordinator took it".
pub(super) fn verdict(plan: &Plan<'_>, done: &Done) -> Result<(), CommandError> {
    let Some(outcome) = &done.outcome else {
        return Ok(());
    };
    if let Err(pending) = &outcome.applied {
        if plan.args.allow_pending {
            return Ok(());
        }
        let (there, needed) = (pending.approved_by.len(), pending.needed);
        let message = format!("the manifest is not in force: {there} of {needed} owners approved");
        return Err(Finding::error(codes::NOT_IN_FORCE, message)
            .help("the other owners run `nacre set` with the same manifest")
            .into());
    }
    let wanted = usize::try_from(plan.file.manifest.coordinator_replicas).unwrap_or(usize::MAX);
    let unread = outcome.applied.as_ref().is_ok_and(|applied| applied.unread);
    let confirmed = outcome.confirmed();
    if (confirmed < wanted || unread) && !plan.args.allow_unconfirmed {
        let message =
            format!("{confirmed} of {wanted} Coordinators confirmed that the manifest is in force");
        return Err(Finding::error(codes::UNCONFIRMED, message)
            .help("see which did not and why; --allow-unconfirmed accepts it")
            .into());
    }
    Ok(())
}
