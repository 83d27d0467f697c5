//! What a reader has to know about policies and switches that are in force.

use std::collections::BTreeSet;

use nacre_findings::codes::client as codes;
use nacre_history::History;
use nacre_manifest::{HostDataBinding, Manifest, PolicyHash};
use nacre_platform::EvidenceReach;

use super::{Examination, Question};
use crate::verdict::{Outcome, Row};
use crate::workloads::{Policies, is_weaker};

/// Whether every policy consists of known rules and says what its entry says.
pub(super) fn policies_row(
    question: &Question<'_>,
    history: &History,
    policies: &Policies,
    out: &mut Examination,
) {
    let manifest = &history.head().manifest;
    for (hash, entry) in &manifest.policies {
        if let Some((is, says)) = policies
            .known(hash)
            .and_then(|policy| is_weaker(policy, entry))
        {
            let text = format!("policy {hash} has profile {is}, its entry says {says}");
            out.rows.push(Row::of(
                Outcome::Fail,
                "policies",
                codes::PROFILE_DIFFERS,
                text,
            ));
        }
    }
    let unknown: Vec<PolicyHash> = policies.unknown().collect();
    let refused = unknown
        .iter()
        .filter(|hash| !question.accept_policies.accepts(hash));
    let mut refused: Vec<&PolicyHash> = refused.collect();
    refused.sort_by_key(|hash| !manifest.policies.contains_key(hash));
    let (total, unknown) = (manifest.policies.len(), unknown.len());
    out.rows.push(match refused.as_slice() {
        [] if unknown == 0 => Row::pass("policies", format!("{total}, all with known rules")),
        [] => Row::of(
            Outcome::Note,
            "policies",
            codes::RULES_UNKNOWN,
            format!("{unknown} with unknown rules, accepted by --accept-policy"),
        ),
        [first, rest @ ..] => {
            let workload = out
                .workloads
                .iter()
                .find(|workload| workload.policy == **first);
            let (name, reason) = workload.map_or((first.to_string(), String::new()), |workload| {
                let reason = workload.reason.clone().unwrap_or_default();
                (
                    format!("{} ({first})", workload.name),
                    format!(": {reason}"),
                )
            });
            let more = match rest.len() {
                0 => String::new(),
                n => format!(", and {n} more"),
            };
            Row::of(
                Outcome::Fail,
                "policies",
                codes::RULES_UNKNOWN,
                format!("{name}{reason}{more}"),
            )
            .help("review the policy, then accept it with --accept-policy HASH")
        }
    });
    let open: usize = out
        .workloads
        .iter()
        .map(|workload| workload.open.len())
        .sum();
    if open > 0 {
        let text =
            format!("{open} value(s) of policies are left to the host; see the list of workloads");
        out.rows
            .push(Row::of(Outcome::Note, "open", codes::OPEN_ITEMS, text));
    }
}

/// What a manifest says about itself that a reader has to know.
pub(super) fn weaknesses(manifest: &Manifest, history: &History, out: &mut Examination) {
    let rows = &mut out.rows;
    let mut seen = BTreeSet::new();
    for set in &manifest.reference_values.snp {
        if !seen.insert((set.platform.clone(), set.host_data_binding.as_str())) {
            continue;
        }
        let platform = nacre_platform::find(&set.platform).ok();
        rows.push(match set.host_data_binding {
            HostDataBinding::Enforced => {
                let source = platform.and_then(|p| p.sources.of("hostDataBinding"));
                let source = source.map(|source| format!(" ({source})")).unwrap_or_default();
                let text = format!("{}: enforced by the guest{source}", set.platform);
                Row::pass("host-data-binding", text)
            }
            HostDataBinding::None => {
                let text = format!(
                    "{}: none; a guest started with another policy runs, and only its report shows it",
                    set.platform
                );
                Row::of(Outcome::Warn, "host-data-binding", codes::HOST_DATA_UNBOUND, text)
            }
        });
        if platform.is_some_and(|p| p.data.evidence.reach == EvidenceReach::EveryContainer) {
            let text = format!(
                "{}: every container of a pod reaches the source of reports and can speak for the pod",
                set.platform
            );
            rows.push(Row::of(
                Outcome::Note,
                "report-source",
                codes::REPORTS_SHARED,
                text,
            ));
        }
    }
    if manifest.peer_recovery {
        let (outcome, chips) = match manifest.allow_any_chip {
            true => (Outcome::Warn, "on any chip (AllowAnyChip)"),
            false => (Outcome::Note, "on the chips listed"),
        };
        let text = format!("on: a Coordinator hands the seed to another one {chips}");
        rows.push(Row::of(outcome, "peer-recovery", codes::WEAKENING, text));
    } else {
        rows.push(Row::pass(
            "peer-recovery",
            "off: only seed-share owners recover",
        ));
    }
    let switches = [
        (
            manifest.allow_unattested_coordinator,
            Outcome::Warn,
            "AllowUnattestedCoordinator: workloads may trust a Coordinator that they did not attest",
        ),
        (
            manifest.ca_overlap,
            Outcome::Note,
            "CAOverlap: the mesh accepts certificates of the manifest before this one",
        ),
    ];
    for (on, outcome, text) in switches {
        if on {
            rows.push(Row::of(outcome, "switches", codes::WEAKENING, text));
        }
    }
    if manifest.test_root.is_some() {
        let text = "simulated: the evidence is made by software and protects nothing";
        rows.push(Row::of(
            Outcome::Warn,
            "root-of-trust",
            codes::SIMULATED,
            text,
        ));
    }
    let owners = manifest.workload_owner_key_digests.len();
    let text = match owners {
        0 => "no owners: the manifest can never be replaced".to_owned(),
        n => format!(
            "{} of {n} owner(s) decide about the next manifest",
            manifest.update_threshold
        ),
    };
    rows.push(Row::pass("updates", text));
    let shares = manifest.seedshare_owner_pub_keys.len();
    let threshold = history.genesis_entry().manifest.recovery_threshold;
    rows.push(Row::pass(
        "recovery",
        format!("{threshold} of {shares} seed-share owner(s)"),
    ));
}
