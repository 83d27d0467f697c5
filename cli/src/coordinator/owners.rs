//! Who signs: keys in files, a command that signs, signatures made elsewhere.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nacre_client::keys::{OwnerSigner, SeedshareKey, SignError, WorkloadKey};
use nacre_client::sign::{Approval, ApprovalError, MAX_APPROVAL};
use nacre_findings::{Finding, Location, codes};
use nacre_history::{OwnerSignature, Transition};

use super::causes;
use crate::context::Context;
use crate::error::CommandError;
use crate::files;
use crate::keys::{self, SEEDSHARE_OWNER_FILE, WORKLOAD_OWNER_FILE};

/// Keys and commands that sign as workload owners.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Owners")]
pub(crate) struct WorkloadOwners {
    /// Private key of a workload owner; may be repeated [default: workload-owner.pem in the workspace]
    #[arg(long, value_name = "FILE")]
    workload_owner_key: Vec<PathBuf>,
    /// Command that signs what it reads and prints the signature (DER), for a key in an HSM, for example
    /// `openssl dgst -sha384 -sign pkcs11:…`; split at spaces, not run by a shell
    #[arg(long, value_name = "COMMAND", requires = "signer")]
    sign_command: Option<String>,
    /// Public key (PEM) of --sign-command, or of each --signature that is plain DER, in their order
    #[arg(long, value_name = "FILE")]
    signer: Vec<PathBuf>,
}

impl WorkloadOwners {
    /// Everybody who can sign here. Without any option it is the key of the workspace, unless `optional` and
    /// it is not there.
    pub(crate) fn signers(
        &self,
        optional: bool,
        context: &Context,
    ) -> Result<Vec<Box<dyn OwnerSigner>>, CommandError> {
        let mut signers: Vec<Box<dyn OwnerSigner>> = Vec::new();
        let mut paths = self.workload_owner_key.clone();
        if paths.is_empty() && self.sign_command.is_none() {
            let default = context.path_or_default(None, WORKLOAD_OWNER_FILE);
            if !optional || default.exists() {
                paths.push(default);
            }
        }
        for path in paths {
            let path = context.environment.path(path);
            let text = keys::read(&path).map_err(|finding| {
                CommandError::from(finding).advised(
                    "--workload-owner-key names the private key of a workload owner, --sign-command one in an HSM; `nacre init` makes keys for a new deployment",
                )
            })?;
            let key = keys::open(&path, &text, context, WorkloadKey::from_pem)?;
            signers.push(Box::new(key));
        }
        if let Some(command) = &self.sign_command {
            // clap sees to it that there is one.
            let spki = self.public_key(0, context)?;
            let argv = command.split_whitespace().map(str::to_owned).collect();
            signers.push(Box::new(SignCommand { spki, argv }));
        }
        Ok(signers)
    }

    /// Signatures from files: approvals of `nacre sign`, or plain DER with the public key named by
    /// `--signer`. All over the same transition, which is `expected` where one is known.
    pub(crate) fn detached(
        &self,
        paths: &[PathBuf],
        expected: Option<&Transition>,
        context: &Context,
    ) -> Result<Vec<Approval>, CommandError> {
        let mut plain = usize::from(self.sign_command.is_some());
        let mut approvals: Vec<Approval> = Vec::new();
        for given in paths {
            let path = context.environment.path(given);
            let bytes = files::read(&path, MAX_APPROVAL)?;
            let approval = if bytes.first() == Some(&b'{') {
                Approval::parse(&bytes)
            } else {
                let Some(transition) = expected else {
                    return Err(CommandError::usage(
                        "a plain signature needs the file it was made over: --transition FILE",
                    ));
                };
                let spki = self.public_key(plain, context)?;
                plain += 1;
                Approval::new(*transition, &spki, &bytes)
            };
            let approval = approval.map_err(|error| unusable(&path, &error))?;
            let known = expected.or(approvals.first().map(|first| &first.transition));
            if known.is_some_and(|known| *known != approval.transition) {
                let name = path.display().to_string();
                let message = format!("{name} approves another transition than the others");
                let finding = Finding::error(codes::client::APPROVAL_UNUSABLE, message)
                    .help("each owner signs the same file of `nacre sign --prepare`: --transition FILE")
                    .at(Location::file(name));
                return Err(finding.into());
            }
            approvals.push(approval);
        }
        Ok(approvals)
    }

    /// Signatures in DER over the confirmation of a first manifest; the public keys are those of `--signer`, in
    /// the same order as for transitions.
    pub(crate) fn confirmations(
        &self,
        paths: &[PathBuf],
        message: &[u8],
        context: &Context,
    ) -> Result<Vec<OwnerSignature>, CommandError> {
        let first = usize::from(self.sign_command.is_some());
        let mut signatures = Vec::new();
        for (number, given) in paths.iter().enumerate() {
            let path = context.environment.path(given);
            let bytes = files::read(&path, MAX_APPROVAL)?;
            let spki = self.public_key(first + number, context)?;
            let signature = OwnerSignature::new(&spki, &bytes).ok();
            let signature = signature.filter(|signature| signature.verify(message));
            signatures.push(signature.ok_or_else(|| unusable(&path, &ApprovalError::Signature))?);
        }
        Ok(signatures)
    }

    fn public_key(&self, number: usize, context: &Context) -> Result<Vec<u8>, CommandError> {
        let Some(path) = self.signer.get(number) else {
            return Err(CommandError::usage(
                "name the public key of each plain signature with --signer FILE",
            ));
        };
        let path = context.environment.path(path);
        let text = keys::read(&path)?;
        Ok(keys::workload_spki(&path, &text)?)
    }
}

/// Keys of seed-share owners.
#[derive(Debug, clap::Args)]
pub(crate) struct SeedshareOwners {
    /// Private key of a seed-share owner; may be repeated [default: seedshare-owner.pem in the workspace]
    #[arg(long, value_name = "FILE")]
    seedshare_owner_key: Vec<PathBuf>,
}

impl SeedshareOwners {
    /// The keys with the files they come from.
    pub(crate) fn keys(
        &self,
        context: &Context,
    ) -> Result<Vec<(PathBuf, SeedshareKey)>, CommandError> {
        let mut paths = self.seedshare_owner_key.clone();
        if paths.is_empty() {
            paths.push(context.path_or_default(None, SEEDSHARE_OWNER_FILE));
        }
        paths
            .iter()
            .map(|path| {
                let path = context.environment.path(path);
                let text = keys::read(&path).map_err(|finding| {
                    CommandError::from(finding).advised(
                        "--seedshare-owner-key names the private key of a seed-share owner of the manifest in force",
                    )
                })?;
                let key = keys::open(&path, &text, context, SeedshareKey::from_pem)?;
                Ok((path, key))
            })
            .collect()
    }
}

fn unusable(path: &Path, error: &ApprovalError) -> CommandError {
    let name = path.display().to_string();
    let message = format!("{name} cannot be used: {}", causes(error));
    Finding::error(codes::client::APPROVAL_UNUSABLE, message)
        .at(Location::file(name))
        .into()
}

/// A program that signs its standard input.
struct SignCommand {
    spki: Vec<u8>,
    argv: Vec<String>,
}

impl OwnerSigner for SignCommand {
    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<OwnerSignature, SignError> {
        let failed = |reason: String| SignError::Command { reason };
        let (program, arguments) = self
            .argv
            .split_first()
            .ok_or_else(|| failed("it is empty".to_owned()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("{program}: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read ends with an error of its own.
            let _ = stdin.write_all(message);
        }
        let output = child
            .wait_with_output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(format!("{program} ended with {}", output.status)));
        }
        let signature = OwnerSignature::new(&self.spki, &output.stdout)
            .map_err(|error| failed(format!("{program} printed no signature in DER: {error}")))?;
        match signature.verify(message) {
            true => Ok(signature),
            false => Err(failed(
                "the signature is not one by the key of --signer with the hash of its curve"
                    .to_owned(),
            )),
        }
    }
}
