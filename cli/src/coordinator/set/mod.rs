//! `nacre set`.

mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nacre_api::v1::Phase;
use nacre_attest::Timestamp;
use nacre_client::examine::{Examination, Given, Question, examine};
use nacre_client::genesis::Genesis;
use nacre_client::keys::OwnerSigner;
use nacre_client::pin::Pin;
use nacre_client::session::{Session, State};
use nacre_client::set::{Offer, Proposal, SetOutcome};
use nacre_client::sign::Approval;
use nacre_client::snapshot::Snapshot;
use nacre_client::workloads::Policies;
use nacre_findings::{Finding, codes::client as codes};
use nacre_history::{Authority, GenesisAuthority, History, ObjectKey, OwnerSignature, Transition};
use nacre_manifest::{Manifest, ManifestHash, PolicyHash, TransitionHash};
use nacre_review::diff;

use super::owners::WorkloadOwners;
use super::progress::Spinner;
use super::verify::{empty, mesh_ca};
use super::{
    Acceptance, Demands, ManifestFile, Target, converse, open, policies, sealed, seen_in_force,
    show, sign,
};
use crate::cluster::discover::Endpoint;
use crate::context::Context;
use crate::error::{CommandError, Kind};
use crate::files::Outputs;

/// PEM of the root CA, in the workspace.
pub(super) const ROOT_CA_FILE: &str = "coordinator-root-ca.pem";
/// PEM of the mesh CA, in the workspace.
pub(super) const MESH_CA_FILE: &str = "mesh-ca.pem";
/// What owners of a first manifest sign elsewhere, in the workspace.
const CONFIRMATION_FILE: &str = "confirmation.bin";
/// The encrypted shares of the seed, in the workspace.
pub(super) const SEED_SHARES_FILE: &str = "seed-shares.json";

/// Set the manifest at the Coordinator: the first one, an update, or the approval of one
///
/// Attests the Coordinator, signs with the owner's key, sends the policies it lacks. The first manifest
/// brings the deployment's keys to be: their shares are written to seed-shares.json before anything is
/// confirmed. A lost answer loses nothing: run the command again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The resources the manifest was made from: files and directories, or - for standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    demands: Demands,
    #[command(flatten)]
    owners: WorkloadOwners,
    /// Signature made elsewhere: an approval of `nacre sign`, or DER of an HSM; may be repeated
    #[arg(short, long, value_name = "FILE", help_heading = "Owners")]
    signature: Vec<PathBuf>,
    /// The file of `nacre sign --prepare` that plain signatures were made over
    #[arg(long, value_name = "FILE", help_heading = "Owners")]
    transition: Option<PathBuf>,
    /// Signature (DER) over the confirmation of a first manifest, by --signer, made elsewhere: a first run of
    /// this command writes confirmation.bin for it; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Owners")]
    confirmation: Vec<PathBuf>,
    #[command(flatten)]
    acceptance: Acceptance,
    /// The transition that the manifest has to follow; another one in force is refused
    #[arg(long, value_name = "HEX")]
    latest_transition: Option<TransitionHash>,
    /// Every update names the one it follows; kept for scripts
    #[arg(long, hide = true)]
    atomic: bool,
    /// Void all approvals that are pending by setting the manifest in force once more
    #[arg(long)]
    cancel_pending: bool,
    /// Exit code 0 although other owners have to approve first
    #[arg(long)]
    allow_pending: bool,
    /// Exit code 0 although fewer Coordinators than CoordinatorReplicas confirmed
    #[arg(long)]
    allow_unconfirmed: bool,
}

/// What is at hand before the Coordinator is asked.
struct Plan<'a> {
    args: &'a Args,
    file: ManifestFile,
    pin: Option<Pin>,
    reference: Manifest,
    policies: BTreeMap<PolicyHash, Vec<u8>>,
    signers: Vec<Box<dyn OwnerSigner>>,
    approvals: Vec<Approval>,
    address: String,
    /// Ends a port-forward with the command.
    _endpoint: Endpoint,
}

/// What came of it.
struct Done {
    transition: TransitionHash,
    generation: u64,
    change: Option<diff::Diff>,
    outcome: Option<SetOutcome>,
    proof: Option<(Snapshot, Examination)>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let plan = plan(args, context)?;
    let done = {
        let shown: &Context = context;
        converse(talk(&plan, shown))?
    };
    let written = keep(&plan, &done, context)?;
    report::report(&plan, &done, &written, context)?;
    report::verdict(&plan, &done)
}

fn plan<'a>(args: &'a Args, context: &mut Context) -> Result<Plan<'a>, CommandError> {
    let file = args.target.manifest(context)?;
    let policies = policies::of_resources(&args.paths, &file.manifest, context)?;
    let accept = args.acceptance.policies();
    policies::review(&policies, &file.manifest, &accept)?;
    let prepared = args
        .transition
        .as_ref()
        .map(|path| sign::read_prepared(&context.environment.path(path)))
        .transpose()?;
    let approvals = args
        .owners
        .detached(&args.signature, prepared.as_ref(), context)?;
    let signers = args.owners.signers(!approvals.is_empty(), context)?;
    let pin = args.target.pin(context)?;
    let reference = seen_in_force(pin.as_ref(), &file, context)?;
    let endpoint = args.target.endpoint(context)?;
    Ok(Plan {
        args,
        file,
        pin,
        reference,
        policies,
        signers,
        approvals,
        address: endpoint.address.clone(),
        _endpoint: endpoint,
    })
}

async fn talk(plan: &Plan<'_>, context: &Context) -> Result<Done, CommandError> {
    let spinner = Spinner::new(context);
    spinner.say(format!("attesting {}", plan.address));
    let pin = plan.pin.as_ref();
    let mut session = open(
        &plan.address,
        &plan.reference,
        pin,
        plan.args.demands,
        context,
    )
    .await?;
    let state = session.state().await?;
    match state.phase {
        Phase::Sealed => Err(sealed(&state)),
        Phase::Empty if plan.pin.is_some() => Err(empty(plan.pin.as_ref())),
        Phase::Empty => first(plan, &mut session, &state, &spinner, context).await,
        _ => update(plan, &mut session, &state, &spinner, context).await,
    }
}

/// The first manifest: nobody has seen anything, so the owners measured into the Coordinator decide.
async fn first(
    plan: &Plan<'_>,
    session: &mut Session,
    state: &State,
    spinner: &Spinner,
    context: &Context,
) -> Result<Done, CommandError> {
    if plan
        .args
        .latest_transition
        .is_some_and(|latest| !latest.is_none())
    {
        let message = "no manifest is set, so there is no transition that this one could follow";
        return Err(Finding::error(codes::HEAD_MOVED, message).into());
    }
    let read = Policies::read(
        plan.policies
            .iter()
            .map(|(hash, raw)| (*hash, raw.as_slice())),
    );
    let coordinator = session.coordinator();
    // Without its policy at hand the Coordinator asks for it, and nothing is set.
    if read.get(&coordinator).is_some() {
        let acceptance = &plan.args.acceptance;
        let (accept, named) = (acceptance.policies(), acceptance.named.owners.as_ref());
        let genesis = Genesis::of(&coordinator, &read, &accept, named, None).map_err(|error| {
            let finding = Finding::error(codes::RULES_UNKNOWN, error.to_string());
            let finding = match error.help(&coordinator) {
                Some(help) => finding.help(help),
                None => finding,
            };
            CommandError::new(Kind::Verification, vec![finding])
        })?;
        if let GenesisAuthority::Owners(owners) = &genesis.owners.0 {
            are_owners(plan, owners)?;
        }
    }
    let hash = ManifestHash::of(&plan.file.bytes);
    let transition = transition(plan, state, || {
        Transition::genesis(&plan.file.manifest, hash, Timestamp::now().0)
    })?;
    propose(plan, session, transition, None, spinner, context).await
}

/// An update: the history in force is examined first, and the transition follows exactly that.
async fn update(
    plan: &Plan<'_>,
    session: &mut Session,
    state: &State,
    spinner: &Spinner,
    context: &Context,
) -> Result<Done, CommandError> {
    spinner.say("reading the history");
    let snapshot = session.snapshot(&mut |_, _| {}).await?;
    let (before, history) = examined(plan, &snapshot, &plan.reference, None, context)?;
    let head = history.head();
    let hash = ManifestHash::of(&plan.file.bytes);
    if head.transition.manifest == hash && !plan.args.cancel_pending {
        // Set before, perhaps by this command whose answer was lost.
        return Ok(Done {
            transition: head.hash,
            generation: head.transition.generation,
            change: None,
            outcome: None,
            proof: Some((snapshot, before)),
        });
    }
    if plan.args.cancel_pending && head.transition.manifest != hash {
        return Err(CommandError::usage(
            "--cancel-pending sets the manifest in force once more: give that one",
        ));
    }
    moved(plan, &before, &history)?;
    are_owners(plan, &Authority::of(&head.manifest))?;
    let transition = transition(plan, state, || {
        head.transition
            .next(&plan.file.manifest, hash, Timestamp::now().0)
    })?;
    if transition.previous != head.hash {
        let message =
            "the signatures are for an update of another transition than the one in force";
        return Err(Finding::error(codes::HEAD_MOVED, message).into());
    }
    let change = diff::manifests(&head.manifest, &plan.file.manifest);
    propose(plan, session, transition, Some(change), spinner, context).await
}

/// Refuses to replace what somebody else has set meanwhile.
fn moved(plan: &Plan<'_>, before: &Examination, history: &History) -> Result<(), CommandError> {
    let head = history.head().hash;
    let stale = match (plan.args.latest_transition, &plan.pin) {
        (Some(latest), _) => latest != head,
        (None, Some(pin)) => pin.head.hash() != head && !plan.args.acceptance.accept_history,
        (None, None) => false,
    };
    if !stale {
        return Ok(());
    }
    let message = format!(
        "generation {} was set by somebody else",
        history.head().transition.generation
    );
    let known = match &plan.pin {
        Some(pin) => pin.head.transition().generation,
        None => 0,
    };
    let news: Vec<_> = before
        .steps
        .iter()
        .filter(|step| step.generation > known)
        .cloned()
        .collect();
    let finding = Finding::error(codes::HEAD_MOVED, message).help(format!(
        "review it, merge, and set again after `nacre verify --accept-history`:\n{}",
        show::history(&news)
    ));
    Err(finding.into())
}

/// Each key given has to be one of those who decide.
fn are_owners(plan: &Plan<'_>, owners: &Authority) -> Result<(), CommandError> {
    let online = plan.signers.iter().map(|signer| signer.digest());
    let given = online.chain(
        plan.approvals
            .iter()
            .map(|approval| approval.signature.key()),
    );
    let others: Vec<Finding> = given
        .filter(|digest| !owners.keys().contains(digest))
        .map(|digest| {
            let message =
                format!("key {digest} is not among the owners who decide about this manifest");
            let names: Vec<String> = owners.keys().iter().map(show::short).collect();
            Finding::error(codes::NOT_AN_OWNER, message).help(match names.as_slice() {
                [] => "the manifest in force lists no owners: it cannot be updated".to_owned(),
                names => format!("owners are: {}", names.join(", ")),
            })
        })
        .collect();
    match others.is_empty() {
        true => Ok(()),
        false => Err(others.into()),
    }
}

/// The transition that is signed: that of the signatures given, that of a proposal that waits for this
/// approval, or a new one.
fn transition(
    plan: &Plan<'_>,
    state: &State,
    new: impl FnOnce() -> Transition,
) -> Result<Transition, CommandError> {
    let hash = ManifestHash::of(&plan.file.bytes);
    if let Some(approval) = plan.approvals.first() {
        if approval.transition.manifest != hash {
            let message = "the signatures are for another manifest than the one given";
            return Err(Finding::error(codes::APPROVAL_UNUSABLE, message).into());
        }
        return Ok(approval.transition);
    }
    let new = new();
    let waits = state.pending.iter().find(|pending| {
        let pending = &pending.transition;
        pending.manifest == hash
            && pending.previous == new.previous
            && pending.policies == new.policies
    });
    Ok(waits.map_or(new, |pending| pending.transition))
}

async fn propose(
    plan: &Plan<'_>,
    session: &mut Session,
    transition: Transition,
    change: Option<diff::Diff>,
    spinner: &Spinner,
    context: &Context,
) -> Result<Done, CommandError> {
    let own = session.coordinator();
    let entry = plan.file.manifest.policies.get(&own);
    if !entry.is_some_and(nacre_manifest::PolicyEntry::is_coordinator) {
        let message =
            format!("the manifest does not list the Coordinator that runs, whose policy is {own}");
        return Err(Finding::error(codes::NOT_ATTESTED, message)
            .help("nobody could verify it from then on: for an upgrade, list both the old and the new one")
            .into());
    }
    let message = transition.message();
    let mut signatures: Vec<OwnerSignature> = plan
        .approvals
        .iter()
        .map(|approval| approval.signature.clone())
        .collect();
    for signer in &plan.signers {
        signatures.push(
            signer
                .sign(&message)
                .map_err(nacre_client::ClientError::from)?,
        );
    }
    spinner.say("setting the manifest");
    let online: Vec<&dyn OwnerSigner> = plan.signers.iter().map(AsRef::as_ref).collect();
    let proposal = Proposal {
        manifest: &plan.file.bytes,
        transition,
        signatures: &signatures,
        online: &online,
        policies: &plan.policies,
    };
    let shares = context.path_or_default(None, SEED_SHARES_FILE);
    let mut stopped = None;
    let mut confirm = |offer: &Offer| {
        let outcome = spinner.pause(|| confirm(plan, offer, &shares, context));
        outcome.map_err(|error| {
            stopped = Some(error);
            "not confirmed".into()
        })
    };
    let outcome = session.set(&proposal, &mut confirm).await;
    if let Some(error) = stopped {
        return Err(error);
    }
    let outcome = outcome?;
    let mut proof = None;
    if outcome.applied.is_ok() {
        spinner.say("verifying what is in force");
        let snapshot = session.snapshot(&mut |_, _| {}).await?;
        // The Coordinator has to be one of the new manifest too, or nobody could verify it from now on.
        let active = Some(Given {
            bytes: &plan.file.bytes,
            manifest: &plan.file.manifest,
        });
        let (examination, _) = examined(plan, &snapshot, &plan.file.manifest, active, context)?;
        proof = Some((snapshot, examination));
    }
    Ok(Done {
        transition: outcome.transition,
        generation: outcome.generation,
        change,
        outcome: Some(outcome),
        proof,
    })
}

/// The shares are on the disk before anybody signs that these keys are the deployment's.
fn confirm(
    plan: &Plan<'_>,
    offer: &Offer,
    shares: &Path,
    context: &Context,
) -> Result<Vec<OwnerSignature>, CommandError> {
    offer.check(&plan.file.manifest).map_err(|error| {
        let finding = Finding::error(codes::OFFER_WRONG, super::causes(&error));
        CommandError::new(Kind::Verification, vec![finding])
    })?;
    let mut outputs = Outputs::default();
    outputs.add(shares.to_path_buf(), offer.seed_shares.clone());
    outputs.write()?;
    let message = offer.confirmation.message();
    let owners = &plan.args.owners;
    let mut signatures = owners.confirmations(&plan.args.confirmation, &message, context)?;
    let nobody = plan.signers.is_empty() && signatures.is_empty();
    if nobody && !plan.file.manifest.workload_owner_key_digests.is_empty() {
        let path = context.path_or_default(None, CONFIRMATION_FILE);
        let mut outputs = Outputs::default();
        outputs.add(path.clone(), message);
        outputs.write()?;
        let name = path.display();
        let finding = Finding::error(
            codes::APPROVAL_UNUSABLE,
            format!("the first manifest waits for the owners' confirmation, and no key is here: wrote {name}"),
        )
        .help(format!(
            "sign it like the transition (openssl dgst -sha384 -sign KEY -out SIGNATURE {name}), then run this command again with --confirmation SIGNATURE; the offer stays the same until the Coordinator restarts"
        ));
        return Err(finding.into());
    }
    for signer in &plan.signers {
        let signature = signer.sign(&message);
        signatures.push(signature.map_err(nacre_client::ClientError::from)?);
    }
    Ok(signatures)
}

/// Examines an answer; whatever does not hold ends the command.
fn examined(
    plan: &Plan<'_>,
    snapshot: &Snapshot,
    reference: &Manifest,
    active: Option<Given<'_>>,
    context: &Context,
) -> Result<(Examination, History), CommandError> {
    let accept = plan.args.acceptance.policies();
    let examination = examine(
        snapshot,
        &Question {
            trust: &context.trust,
            reference,
            active,
            pin: plan.pin.as_ref(),
            now: Timestamp::now(),
            claimed: false,
            past: false,
            accept_policies: &accept,
            owners: plan.args.acceptance.named.owners.as_ref(),
            require_chips: plan.args.demands.require_chip_allowlist,
            accept_history: plan.args.acceptance.accept_history,
        },
    );
    let failures = examination.rows.iter();
    let failures: Vec<Finding> = failures
        .filter_map(|row| row.finding(false))
        .filter(|finding| finding.severity == nacre_findings::Severity::Error)
        .collect();
    match examination.history.clone() {
        Some(history) if failures.is_empty() => Ok((examination, history)),
        _ => Err(CommandError::new(Kind::Verification, failures)),
    }
}

/// Files of the workspace, from what was proven and not from what was said.
fn keep(plan: &Plan<'_>, done: &Done, context: &Context) -> Result<Vec<PathBuf>, CommandError> {
    let Some((snapshot, examination)) = &done.proof else {
        return Ok(Vec::new());
    };
    let mut outputs = Outputs::default();
    let path = |name: &str| context.path_or_default(None, name);
    outputs.add(path(ROOT_CA_FILE), snapshot.head.root_ca.clone());
    outputs.add(path(MESH_CA_FILE), mesh_ca(&snapshot.head.mesh_ca));
    if let Some(history) = &examination.history {
        let shares = ObjectKey::SeedShares(history.confirmation().seed_shares);
        if let Some(bytes) = snapshot.objects.get(&shares) {
            outputs.add(path(SEED_SHARES_FILE), bytes.clone());
        }
    }
    if let Some(pin) = &examination.pin {
        outputs.add(plan.args.target.pin_path(context), pin.to_bytes());
    }
    outputs.write()?;
    Ok(outputs.paths().map(Path::to_path_buf).collect())
}
