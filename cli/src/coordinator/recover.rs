//! `nacre recover`.

use std::path::{Path, PathBuf};

use nacre_api::v1::Phase;
use nacre_attest::Timestamp;
use nacre_client::examine::{AcceptPolicies, Examination, Given, Question, examine};
use nacre_client::keys::SeedshareKey;
use nacre_client::pin::Pin;
use nacre_client::recover::{OpenedShare, RecoverOutcome};
use nacre_client::snapshot::Snapshot;
use nacre_findings::{Finding, Location, codes::client as codes};
use nacre_manifest::{Manifest, TransitionHash};
use serde_json::json;

use super::owners::SeedshareOwners;
use super::progress::Spinner;
use super::set::{MESH_CA_FILE, ROOT_CA_FILE, SEED_SHARES_FILE};
use super::verify::{empty, mesh_ca};
use super::{
    Demands, ManifestFile, NamedOwners, Target, causes, converse, open, seed_shares, seen_in_force,
    show,
};
use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::files::Outputs;

/// Give a restarted Coordinator its seed, or one owner's share of it
///
/// The share is decrypted here with the owner's key, sent over the attested connection, and put together in
/// the Coordinator's memory only. With a RecoveryThreshold above 1 each owner runs this command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    demands: Demands,
    #[command(flatten)]
    owners: SeedshareOwners,
    /// The encrypted shares [default: seed-shares.json in the workspace]
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// The newest transition that is known; the Coordinator's history has to contain it, and the Coordinator is
    /// attested with the manifest file instead of the manifest of the pin [default: that of the pin]
    #[arg(long, value_name = "HEX")]
    latest_transition: Option<TransitionHash>,
    #[command(flatten)]
    named: NamedOwners,
    /// Only let the Coordinator say whether the share fits; nothing changes
    #[arg(long)]
    dry_run: bool,
    /// Not needed any more: seed-share owners recover; kept for scripts
    #[arg(long, value_name = "FILE", hide = true)]
    workload_owner_key: Option<PathBuf>,
}

/// What came of it.
struct Done {
    outcome: RecoverOutcome,
    proof: Option<(Snapshot, Examination)>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let file = args.target.manifest(context)?;
    let pin = args.target.pin(context)?;
    let expected = args
        .latest_transition
        .or(pin.as_ref().map(|pin| pin.head.hash()));
    let Some(expected) = expected else {
        let finding = Finding::error(
            codes::PIN_UNUSABLE,
            "nobody here has seen this deployment, so an older history could not be told from the newest",
        )
        .help("run from the workspace that set or verified it, or name the newest transition you know: --latest-transition HEX");
        return Err(finding.into());
    };
    // Whoever gets a share is attested before: by the newest manifest that was seen, not by an older file.
    let reference = match args.latest_transition {
        Some(_) => file.manifest.clone(),
        None => seen_in_force(pin.as_ref(), &file, context)?,
    };
    let document = seed_shares::read(args.seed.as_deref(), context)?;
    let keys = args.owners.keys(context)?;
    let shares = seed_shares::open_all(&document, &keys)?;
    let endpoint = args.target.endpoint(context)?;
    let address = endpoint.address.clone();
    let done = converse(talk(
        args,
        &file,
        &reference,
        (pin.as_ref(), expected),
        &shares,
        &address,
        context,
    ))?;
    let written = keep(args, &done, context)?;
    report(args, &done, &written, context)?;
    verdict(args, &done)
}

async fn talk(
    args: &Args,
    file: &ManifestFile,
    reference: &Manifest,
    (pin, expected): (Option<&Pin>, TransitionHash),
    shares: &[(OpenedShare, &SeedshareKey)],
    address: &str,
    context: &Context,
) -> Result<Done, CommandError> {
    let spinner = Spinner::new(context);
    spinner.say(format!("attesting {address}"));
    let mut session = open(address, reference, pin, args.demands, context).await?;
    let state = session.state().await?;
    match state.phase {
        Phase::Empty => return Err(empty(pin)),
        Phase::Ready if !args.dry_run => {
            let message = "the Coordinator does not wait for recovery: it works";
            return Err(Finding::error(codes::REFUSED, message)
                .help("run `nacre verify`; `--dry-run` only tries whether a share fits")
                .into());
        }
        _ => {}
    }
    let mut outcome = None;
    for (share, key) in shares {
        spinner.say(format!("sending share {}", share.index()));
        let sent = session.recover(expected, share, key, args.dry_run).await?;
        let recovered = sent.recovered;
        outcome = Some(sent);
        if recovered {
            break;
        }
    }
    let outcome = outcome.ok_or_else(|| CommandError::usage("no share was given"))?;
    if !outcome.recovered {
        return Ok(Done {
            outcome,
            proof: None,
        });
    }
    spinner.say("verifying what is in force");
    let snapshot = session.snapshot(&mut |_, _| {}).await?;
    let examination = examine(
        &snapshot,
        &Question {
            trust: &context.trust,
            reference: &file.manifest,
            active: Some(Given {
                bytes: &file.bytes,
                manifest: &file.manifest,
            }),
            pin,
            now: Timestamp::now(),
            claimed: false,
            past: false,
            // Whoever set or verified the manifest has accepted them, or not.
            accept_policies: &AcceptPolicies::All,
            owners: args.named.owners.as_ref(),
            require_chips: args.demands.require_chip_allowlist,
            accept_history: false,
        },
    );
    Ok(Done {
        outcome,
        proof: Some((snapshot, examination)),
    })
}

/// The mesh CA is a new one after a recovery; nothing is written when the verdict does not hold.
fn keep(args: &Args, done: &Done, context: &Context) -> Result<Vec<PathBuf>, CommandError> {
    let Some((snapshot, examination)) = done.proof.as_ref().filter(|(_, e)| e.rows.hold(false))
    else {
        return Ok(Vec::new());
    };
    let mut outputs = Outputs::default();
    let path = |name: &str| context.path_or_default(None, name);
    outputs.add(path(ROOT_CA_FILE), snapshot.head.root_ca.clone());
    outputs.add(path(MESH_CA_FILE), mesh_ca(&snapshot.head.mesh_ca));
    if let Some(pin) = &examination.pin {
        outputs.add(args.target.pin_path(context), pin.to_bytes());
    }
    outputs.write()?;
    Ok(outputs.paths().map(Path::to_path_buf).collect())
}

fn report(
    args: &Args,
    done: &Done,
    written: &[PathBuf],
    context: &mut Context,
) -> Result<(), CommandError> {
    let rows = done
        .proof
        .iter()
        .flat_map(|(_, examination)| examination.rows.iter());
    context.report(
        rows.filter_map(|row| row.finding(false))
            .collect::<Vec<_>>(),
    );
    context.publish()?;
    let outcome = &done.outcome;
    if context.output == Output::Json {
        return context.print_json(json!({
            "recovered": outcome.recovered,
            "dryRun": args.dry_run,
            "generation": outcome.generation,
            "transition": outcome.transition,
            "sharesReceived": outcome.received,
            "sharesNeeded": outcome.needed,
            "written": written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        }));
    }
    let (generation, transition) = (outcome.generation, show::short(outcome.transition));
    let (there, needed) = (outcome.received.len(), outcome.needed);
    let mut out = match (outcome.recovered, args.dry_run) {
        (true, _) => format!(
            "recovered: generation {generation}, transition {transition}\nthe mesh CA is a new one: restart workloads, so that they get certificates of it\n"
        ),
        (false, true) => format!(
            "the share fits: it would recover generation {generation}, transition {transition}, with {needed} share(s)\n"
        ),
        (false, false) => format!("the share fits: {there} of {needed} shares have arrived\n"),
    };
    for path in written {
        out.push_str(&format!("wrote {}\n", path.display()));
    }
    context.print(&out)
}

fn verdict(args: &Args, done: &Done) -> Result<(), CommandError> {
    match &done.proof {
        Some((_, examination)) if examination.rows.hold(false) => Ok(()),
        Some(_) => Err(CommandError::new(Kind::Verification, Vec::new())),
        None if args.dry_run => Ok(()),
        // A share that was taken is all that one owner can do.
        None => Ok(()),
    }
}

/// A share that does not open.
pub(super) fn unusable(path: &Path, error: &dyn std::error::Error) -> Finding {
    let name = path.display().to_string();
    let message = format!("{name}: {}", causes(error));
    Finding::error(codes::SHARE_UNUSABLE, message).at(Location::file(name))
}

/// Where the shares are.
pub(super) fn shares_path(given: Option<&Path>, context: &Context) -> PathBuf {
    context.path_or_default(given, SEED_SHARES_FILE)
}
