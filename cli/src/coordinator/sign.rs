//! `nacre sign`.

use std::path::{Path, PathBuf};

use nacre_attest::Timestamp;
use nacre_client::sign::{Approval, MAX_APPROVAL, prepared_transition};
use nacre_findings::{Finding, Location, codes};
use nacre_history::{OwnerSignature, Transition};
use nacre_manifest::{ManifestHash, TransitionHash};
use serde_json::json;

use super::owners::WorkloadOwners;
use super::{Target, causes, show};
use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::files::{self, Outputs};

/// Sign a manifest without a Coordinator, or prepare it for an HSM
///
/// An update is a transition from the manifest in force, which the pin of an earlier `nacre set` or
/// `nacre verify` knows, to the one given. Each owner signs the same transition; `nacre set --signature`
/// submits the signatures.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    owners: WorkloadOwners,
    /// Write what is signed instead of a signature, for example for
    /// `openssl dgst -sha384 -sign KEY -out SIGNATURE FILE`
    #[arg(long, conflicts_with = "transition")]
    prepare: bool,
    /// Sign this file of --prepare instead of a new transition
    #[arg(long, value_name = "FILE")]
    transition: Option<PathBuf>,
    /// The transition that the manifest has to follow; another one in the pin is refused. 64 zeros for a first
    /// manifest [default: that of the pin]
    #[arg(long, value_name = "HEX")]
    latest_transition: Option<TransitionHash>,
    /// Where to write
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let file = args.target.manifest(context)?;
    let hash = ManifestHash::of(&file.bytes);
    let transition = match &args.transition {
        Some(path) => {
            let path = context.environment.path(path);
            let transition = read_prepared(&path)?;
            if transition.manifest != hash {
                let name = path.display().to_string();
                let message = format!("{name} is about another manifest than the one given");
                let finding = Finding::error(codes::client::APPROVAL_UNUSABLE, message);
                return Err(finding.at(Location::file(name)).into());
            }
            transition
        }
        None => {
            let now = Timestamp::now().0;
            match previous(args, context)? {
                Some(previous) => previous.next(&file.manifest, hash, now),
                None => Transition::genesis(&file.manifest, hash, now),
            }
        }
    };
    let message = transition.message();
    let mut outputs = Outputs::default();
    let out = context.environment.path(&args.out);
    if args.prepare {
        outputs.add(out.clone(), message);
    } else {
        let signers = args.owners.signers(false, context)?;
        let [signer] = signers.as_slice() else {
            return Err(CommandError::usage(
                "one owner signs one file: name one key, and another --out for the next",
            ));
        };
        let signature: OwnerSignature = signer
            .sign(&message)
            .map_err(nacre_client::ClientError::from)?;
        let approval = Approval {
            transition,
            signature,
        };
        outputs.add(out.clone(), approval.to_bytes());
    }
    outputs.write()?;
    context.publish()?;
    if context.output == Output::Json {
        return context.print_json(json!({
            "prepared": args.prepare,
            "generation": transition.generation,
            "transition": transition.hash(),
            "previous": transition.previous,
            "manifest": transition.manifest,
            "out": out.display().to_string(),
        }));
    }
    let (generation, short) = (transition.generation, show::short(transition.hash()));
    let name = out.display();
    context.print(&match args.prepare {
        true => format!(
            "wrote {name}: transition {short} to generation {generation}\n\
             sign it with the hash of the key's curve, for example\n  \
             openssl dgst -sha384 -sign KEY -out SIGNATURE {name}\n\
             then: nacre set --transition {name} --signature SIGNATURE --signer PUBLIC-KEY\n"
        ),
        false => format!(
            "wrote {name}: approval of transition {short} to generation {generation}\n\
             then: nacre set --signature {name}\n"
        ),
    })
}

/// The transition that is followed; `None` for a first manifest.
fn previous(args: &Args, context: &Context) -> Result<Option<Transition>, CommandError> {
    let pin = args.target.pin(context)?;
    let pinned = pin.as_ref().map(|pin| *pin.head.transition());
    match (args.latest_transition, pinned) {
        (None, pinned) => Ok(pinned),
        (Some(none), None) if none.is_none() => Ok(None),
        (Some(latest), Some(pinned)) if latest == pinned.hash() => Ok(Some(pinned)),
        (Some(latest), pinned) => {
            let seen = pinned.map_or("none".to_owned(), |pinned| pinned.hash().to_string());
            let message =
                format!("transition {latest} is not the newest one seen here, which is {seen}");
            Err(Finding::error(codes::client::HEAD_MOVED, message)
                .help("run `nacre verify` against the Coordinator first: it writes down what is in force")
                .into())
        }
    }
}

/// Reads a file of `--prepare`.
pub(super) fn read_prepared(path: &Path) -> Result<Transition, CommandError> {
    let bytes = files::read(path, MAX_APPROVAL)?;
    prepared_transition(&bytes).map_err(|error| {
        let name = path.display().to_string();
        let message = format!("{name} cannot be used: {}", causes(&error));
        let finding = Finding::error(codes::client::APPROVAL_UNUSABLE, message);
        finding.at(Location::file(name)).into()
    })
}
