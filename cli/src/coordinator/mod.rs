//! Commands that talk to a Coordinator, and what they share.

pub(crate) mod recover;
pub(crate) mod seed_shares;
pub(crate) mod set;
pub(crate) mod sign;
pub(crate) mod verify;

mod owners;
mod policies;
mod progress;
mod show;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use nacre_attest::Timestamp;
use nacre_client::examine::AcceptPolicies;
use nacre_client::genesis::MeasuredOwners;
use nacre_client::pin::{MAX_PIN, Pin, known_lists};
use nacre_client::session::{Session, State};
use nacre_client::{ClientError, Expectation, Kind as ClientKind};
use nacre_findings::{Finding, Location, Severity, codes::client as codes};
use nacre_generate::shortcomings;
use nacre_manifest::{MAX_BYTES, Manifest, PolicyHash, Problem, ProblemKind, Strictness};
use nacre_review::manifest::unreadable_text;

use crate::cluster::connect::block_on;
use crate::cluster::discover::{Endpoint, discover_coordinator};
use crate::context::Context;
use crate::error::{CommandError, Kind};
use crate::files;

/// The manifest in the workspace.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";
/// What earlier runs saw.
pub(crate) const PIN_FILE: &str = "nacre-pin.json";
/// The user port of a Coordinator.
const USER_PORT: u16 = 1313;

/// Which Coordinator, by which manifest, and what earlier runs saw of it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Coordinator")]
pub(crate) struct Target {
    /// User port of the Coordinator; the port is 1313 where none is given [default: the one in the
    /// namespace of the kube context]
    #[arg(short, long, value_name = "HOST:PORT", env = "NACRE_COORDINATOR")]
    coordinator: Option<String>,
    /// Context of the kubeconfig in which a Coordinator is looked for [default: the current one]
    #[arg(long, value_name = "NAME", conflicts_with = "coordinator")]
    context: Option<String>,
    /// Namespace in which a Coordinator is looked for [default: that of the context]
    #[arg(short, long, value_name = "NAME", conflicts_with = "coordinator")]
    namespace: Option<String>,
    /// The manifest [default: manifest.json in the workspace]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// What earlier runs saw of the deployment [default: nacre-pin.json in the workspace]
    #[arg(long, value_name = "FILE")]
    pin: Option<PathBuf>,
}

/// What is accepted although this program cannot say that it is harmless.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Acceptance")]
pub(crate) struct Acceptance {
    /// Accept a policy whose rules are not known, by its hash, or `all`; may be repeated
    #[arg(long, value_name = "HASH", value_parser = accepted_policy)]
    accept_policy: Vec<Accepted>,
    #[command(flatten)]
    pub(crate) named: NamedOwners,
    /// Accept the entries of the history that no earlier run accepted
    #[arg(long)]
    pub(crate) accept_history: bool,
}

/// What is asked of the Coordinator's machine beyond the manifest.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Demands {
    /// Refuse a manifest whose reference values for the Coordinator list no chips (AllowedChipIDs)
    #[arg(long, help_heading = "Coordinator")]
    pub(crate) require_chip_allowlist: bool,
}

/// Who is measured into a Coordinator whose policy this program cannot read.
#[derive(Debug, clap::Args)]
pub(crate) struct NamedOwners {
    /// Value of NACRE_OWNERS in the Coordinator's policy, where that policy was accepted and its rules are not
    /// known: K:DIGEST,…, or `unbound` where it has none [default: as earlier runs read it]
    #[arg(long, value_name = "OWNERS", value_parser = named_owners, help_heading = "Acceptance")]
    pub(crate) owners: Option<MeasuredOwners>,
}

fn named_owners(text: &str) -> Result<MeasuredOwners, String> {
    text.parse().map_err(|error| causes(&error))
}

/// One value of `--accept-policy`.
#[derive(Clone, Copy, Debug)]
enum Accepted {
    One(PolicyHash),
    All,
}

fn accepted_policy(text: &str) -> Result<Accepted, String> {
    match text {
        "all" => Ok(Accepted::All),
        hash => hash
            .parse()
            .map(Accepted::One)
            .map_err(|error: nacre_manifest::HexError| error.to_string()),
    }
}

impl Acceptance {
    /// As the examination takes it.
    pub(crate) fn policies(&self) -> AcceptPolicies {
        let mut hashes = BTreeSet::new();
        for accepted in &self.accept_policy {
            match accepted {
                Accepted::All => return AcceptPolicies::All,
                Accepted::One(hash) => {
                    hashes.insert(*hash);
                }
            }
        }
        match hashes.is_empty() {
            true => AcceptPolicies::None,
            false => AcceptPolicies::These(hashes),
        }
    }
}

/// A manifest of the workspace.
pub(crate) struct ManifestFile {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// What they say.
    pub(crate) manifest: Manifest,
}

/// What a Coordinator is attested with that is to get something: the newest manifest that was seen in force, not
/// an older or newer file.
pub(crate) fn seen_in_force(
    pin: Option<&Pin>,
    file: &ManifestFile,
    context: &Context,
) -> Result<Manifest, CommandError> {
    match pin {
        Some(pin) => (context.trust.reader)(pin.manifest.as_bytes())
            .map_err(|error| nacre_review::manifest::unreadable(&error, None).into()),
        None => Ok(file.manifest.clone()),
    }
}

impl Target {
    /// The address that was given, with a port, else that of the Coordinator in the kube context.
    pub(crate) fn endpoint(&self, context: &Context) -> Result<Endpoint, CommandError> {
        let given = self.coordinator.as_deref();
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            return Ok(Endpoint::given(address(given)?));
        }
        let found = discover_coordinator(self.context.as_deref(), self.namespace.as_deref());
        let endpoint = block_on(found).map_err(|mut error| {
            let finding = Finding::error(
                codes::ADDRESS,
                "no Coordinator is named, and none was found",
            )
            .help("name its user port: -c host:1313");
            error.findings.push(finding);
            error.kind = Kind::Usage;
            error
        })?;
        context.note(&endpoint.chosen);
        Ok(endpoint)
    }

    /// Reads the manifest; one that is incomplete is an error with everything that is missing.
    pub(crate) fn manifest(&self, context: &Context) -> Result<ManifestFile, CommandError> {
        let path = context.path_or_default(self.manifest.as_deref(), MANIFEST_FILE);
        let bytes = files::read(&path, MAX_BYTES).map_err(|error| {
            error.advised(
                "`nacre generate` writes the manifest; -m names another file than manifest.json",
            )
        })?;
        let file = Location::file(path.display().to_string());
        let manifest = (context.trust.reader)(&bytes).map_err(|error| {
            unreadable_text(&error, &String::from_utf8_lossy(&bytes), file.clone())
        })?;
        // What `verify` has a row for is no mistake here.
        let rows = |problem: &Problem| {
            let kind = &problem.kind;
            matches!(kind, ProblemKind::TestRoot | ProblemKind::HostDataUnbound)
        };
        let mistakes = shortcomings(&manifest, Strictness::Strict, rows)
            .into_iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| finding.at(file.clone()));
        let mistakes: Vec<Finding> = mistakes.collect();
        match mistakes.is_empty() {
            true => Ok(ManifestFile { bytes, manifest }),
            false => Err(mistakes.into()),
        }
    }

    /// Where the pin is.
    pub(crate) fn pin_path(&self, context: &Context) -> PathBuf {
        context.path_or_default(self.pin.as_deref(), PIN_FILE)
    }

    /// What earlier runs saw; `None` on the first run.
    pub(crate) fn pin(&self, context: &Context) -> Result<Option<Pin>, CommandError> {
        let path = self.pin_path(context);
        if !path.exists() {
            return match &self.pin {
                // A pin that was named and is not there is a mistake, not a first run.
                Some(_) => Err(pin_unusable(&path, "it does not exist").into()),
                None => Ok(None),
            };
        }
        let bytes = files::read(&path, MAX_PIN)?;
        match Pin::parse(&bytes) {
            Ok(pin) => Ok(Some(pin)),
            Err(error) => Err(pin_unusable(&path, &causes(&error)).into()),
        }
    }
}

fn pin_unusable(path: &Path, why: &str) -> Finding {
    let name = path.display().to_string();
    let message = format!("{name} cannot be used: {why}");
    Finding::error(codes::PIN_UNUSABLE, message).at(Location::file(name))
}

/// The address given with `-c` or `--replica`.
fn address(given: &str) -> Result<String, CommandError> {
    let address = with_port(given);
    let is_one = address.rsplit_once(':').is_some_and(|(host, port)| {
        let within = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_host = match within {
            // An address may say on which interface it is.
            Some(within) => within
                .split('%')
                .next()
                .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
            None => !host.is_empty() && !host.contains([':', '[', ']']),
        };
        is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    // A URL, or something with a blank in it, would be looked up as the name of a host.
    if !is_one || given.contains(|c: char| c == '/' || c == '@' || c.is_whitespace()) {
        let message = format!("{given:?} is no address of a Coordinator");
        let finding = Finding::error(codes::ADDRESS, message)
            .help("name its user port, without a scheme: -c host:1313");
        return Err(CommandError::new(Kind::Usage, vec![finding]));
    }
    Ok(address)
}

/// `host:port`, where only a host was given.
fn with_port(given: &str) -> String {
    let port = match given.rsplit_once(':') {
        // In an IPv6 address without brackets the last colon separates no port.
        Some((host, port)) => {
            !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']'))
        }
        None => false,
    };
    match (port, given.contains(':') && !given.starts_with('[')) {
        (true, _) => given.to_owned(),
        (false, true) => format!("[{given}]:{USER_PORT}"),
        (false, false) => format!("{given}:{USER_PORT}"),
    }
}

/// Runs a conversation. Two threads: while a person is asked for a passphrase, the connection lives on.
pub(crate) fn converse<T>(
    conversation: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| {
            let message = format!("no threads: {error}");
            CommandError::from(Finding::error(
                nacre_findings::codes::cli::INTERNAL,
                message,
            ))
        })?;
    runtime.block_on(conversation)
}

/// Opens an attested connection.
pub(crate) async fn open(
    address: &str,
    reference: &Manifest,
    pin: Option<&Pin>,
    demands: Demands,
    context: &Context,
) -> Result<Session, CommandError> {
    let expectation = Expectation::of(reference, known_lists(pin)).map_err(ClientError::from)?;
    let expectation = expectation.require_chips(demands.require_chip_allowlist);
    let session = Session::open(address, &context.trust, &expectation, Timestamp::now());
    Ok(session.await?)
}

/// A Coordinator that waits for recovery cannot do anything else.
pub(crate) fn sealed(state: &State) -> CommandError {
    let mut message = "the Coordinator was restarted and waits for recovery".to_owned();
    if !state.shares_received.is_empty() {
        let (there, needed) = (state.shares_received.len(), state.shares_needed);
        message.push_str(&format!(": {there} of {needed} shares have arrived"));
    }
    Finding::error(codes::SEALED, message)
        .help("run `nacre recover` with the key of a seed-share owner")
        .into()
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        let kind = match error.kind() {
            ClientKind::Refused => Kind::Refused,
            ClientKind::Verification => Kind::Verification,
            ClientKind::Unreachable => Kind::Unreachable,
        };
        let finding = Finding::new(error.code(), Severity::Error, causes(&error));
        let finding = match error.help() {
            Some(help) => finding.help(help),
            None => finding,
        };
        Self::new(kind, vec![finding])
    }
}

/// An error with its causes on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_port_is_added_where_none_is_given() {
        for (given, address) in [
            ("coordinator", "coordinator:1313"),
            ("10.0.0.1:7", "10.0.0.1:7"),
            ("::1", "[::1]:1313"),
            ("[::1]", "[::1]:1313"),
            ("[::1]:99", "[::1]:99"),
            ("fe80::1:2", "[fe80::1:2]:1313"),
        ] {
            assert_eq!(super::address(given).unwrap(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_a_mistake_on_the_command_line() {
        for given in [
            "host:99999",
            "host:0",
            ":1313",
            "host:",
            "host:http",
            "[::1",
            "[x]:7",
            "https://host",
            "a b",
        ] {
            let error = super::address(given).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{given}");
        }
    }
}
