//! `nacre verify-report`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nacre_attest::{
    Baseline, Check, CollateralDirectory, CollateralError, CollateralSource as _, Counting,
    CrlMode, Evidence, Expected, HostData, Outcome, Policy, Product, Report, ReportData, Timestamp,
    VekRequest, Verdict,
};
use nacre_findings::{Code, Finding, codes};
use serde_json::json;

use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::files;

/// Verify an SNP report against AMD's keys and, where given, reference values; print every check
///
/// Without --manifest, --measurement, --host-data and --report-data, what the report is about is left open:
/// the command then fails unless --genuine-only says that a genuine report is all that is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The report, 1184 bytes
    report_file: PathBuf,
    /// Certificate of the key that signed it (DER): VCEK or VLEK
    #[arg(long, value_name = "FILE", visible_aliases = ["vcek", "vlek"], required_unless_present = "collateral")]
    vek: Option<PathBuf>,
    /// Directory filled by `nacre collateral fetch`, for what is not given by --vek and --crl
    #[arg(long, value_name = "DIR")]
    collateral: Option<PathBuf>,
    /// Revocation list of the product's root (DER)
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,
    /// Accept that there is no revocation list
    #[arg(long, conflicts_with = "crl")]
    without_crl: bool,
    /// Reference values and policy hashes of this manifest
    #[arg(long, value_name = "FILE", conflicts_with_all = ["measurement", "host_data", "tcb_baseline", "allow_vlek", "allow_report_v2", "vmpl"])]
    manifest: Option<PathBuf>,
    /// Accepted launch digest, 96 hex digits; may be repeated
    #[arg(long, value_name = "HEX", value_parser = bytes::<48>)]
    measurement: Vec<[u8; 48]>,
    /// Accepted policy hash, 64 hex digits; may be repeated
    #[arg(long, value_name = "HEX", value_parser = bytes::<32>)]
    host_data: Vec<[u8; 32]>,
    /// What the report has to be bound to, 128 hex digits
    #[arg(long, value_name = "HEX", value_parser = bytes::<64>)]
    report_data: Option<[u8; 64]>,
    /// Minimum firmware versions by date [default: the newest]
    #[arg(long, value_name = "NAME")]
    tcb_baseline: Option<String>,
    /// Accept a cloud provider's key (VLEK) instead of the chip's
    #[arg(long)]
    allow_vlek: bool,
    /// Accept a version 2 report, read as one of this product
    #[arg(long, value_name = "PRODUCT", value_parser = product)]
    allow_report_v2: Option<Product>,
    /// Privilege level of the report
    #[arg(long, value_name = "LEVEL", default_value_t = 0)]
    vmpl: u32,
    /// The time to verify at, for example 2026-11-23T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    at: Option<Timestamp>,
    /// Succeed when the report is genuine, whatever it is about
    #[arg(long)]
    genuine_only: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let evidence = evidence(args, context)?;
    let against = match &args.manifest {
        Some(path) => from_manifest(args, context, &read(context, path)?, &evidence)?,
        None => Against {
            policies: vec![from_options(args, &evidence)?],
            host_data: host_data(args),
            elsewhere: None,
        },
    };
    let expected = Expected {
        report_data: args.report_data.map_or(ReportData::Open, ReportData::Exact),
        host_data: against.host_data,
        newest_crl: None,
    };
    let now = args.at.unwrap_or_else(Timestamp::now);
    let verifier = &context.trust.verifier;
    let Some((_, verdict)) = verifier.examine_any(&evidence, &against.policies, &expected, now)
    else {
        let message = "the manifest has no reference values for SNP";
        return Err(Finding::error(codes::cli::USAGE, message).into());
    };
    match context.output {
        Output::Text => context.print(&verdict.table())?,
        Output::Json => context.print_json(json!({
            "accepted": verdict.holds() && verdict.open().next().is_none(),
            "genuine": verdict.holds(),
            "verdict": verdict,
        }))?,
    }
    let outcome = outcome(args, &verdict);
    match against.elsewhere {
        Some(why) => outcome.map_err(|error| error.advised(&why)),
        None => outcome,
    }
}

/// What a report is held against.
struct Against {
    policies: Vec<Policy>,
    host_data: HostData,
    /// Why no reference values count for the report, where none of those that are there does.
    elsewhere: Option<String>,
}

fn evidence(args: &Args, context: &Context) -> Result<Evidence, CommandError> {
    let given =
        |path: &Option<PathBuf>| path.as_deref().map(|path| read(context, path)).transpose();
    let report = read(context, &args.report_file)?;
    let (mut vek, mut crl) = (given(&args.vek)?, given(&args.crl)?);
    if let Some(path) = &args.collateral {
        let directory = CollateralDirectory::new(context.environment.path(path));
        let parsed = Report::parse(&report).ok();
        let product = parsed
            .as_ref()
            .and_then(|report| Product::from_cpu(report.cpu?));
        if let (None, Some(request)) = (&vek, parsed.as_ref().and_then(VekRequest::of)) {
            vek = directory.vek(&request).map_err(unreadable)?;
        }
        if let (None, false, Some(product)) = (&crl, args.without_crl, product) {
            crl = directory.crl(product).map_err(unreadable)?;
        }
    }
    let vek = vek.ok_or_else(|| {
        CommandError::from(Finding::error(
            codes::cli::COLLATERAL_REPORT,
            "the collateral has no certificate for the chip and firmware of this report",
        ))
    })?;
    Ok(Evidence { report, vek, crl })
}

fn unreadable(error: CollateralError) -> CommandError {
    let cause =
        std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
    Finding::error(codes::cli::FILE_UNREADABLE, format!("{error}{cause}")).into()
}

fn outcome(args: &Args, verdict: &Verdict) -> Result<(), CommandError> {
    let counts = |check: &&Check| match check.outcome {
        Outcome::Fail => true,
        Outcome::Open => !args.genuine_only,
        _ => false,
    };
    let mut findings: Vec<_> = verdict.checks.iter().filter(counts).map(finding).collect();
    if findings.is_empty() {
        findings.extend(verdict.first_failure().map(finding));
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(CommandError::new(Kind::Verification, findings))
    }
}

fn finding(check: &Check) -> Finding {
    let text = match check.outcome {
        Outcome::Open => format!("{} is not compared with anything", check.id),
        _ => format!(
            "{}: expected {}, found {}",
            check.id, check.expected, check.actual
        ),
    };
    let finding = Finding::error(Code::new(check.id.code()), text);
    match &check.advice {
        Some(advice) => finding.help(advice.clone()),
        None => finding,
    }
}

/// The sets that count for the policy that the report names, as everywhere else.
fn from_manifest(
    args: &Args,
    context: &Context,
    bytes: &[u8],
    evidence: &Evidence,
) -> Result<Against, CommandError> {
    let refused = |message: String| Finding::error(codes::cli::USAGE, message);
    let manifest =
        (context.trust.reader)(bytes).map_err(|error| refused(format!("the manifest: {error}")))?;
    let counting = Counting::of(&manifest, &evidence.report, |_| true);
    let elsewhere = counting.sets.is_empty();
    let sets = manifest.reference_values.snp.iter().enumerate();
    let policies = sets
        .filter(|(index, _)| elsewhere || counting.sets.contains(index))
        .map(|(index, values)| {
            let mut policy = Policy::try_from(values)
                .map_err(|error| refused(format!("ReferenceValues.snp[{index}]: {error}")))?;
            policy.crl = crl_mode(args);
            if elsewhere {
                // None of the launch digests is one of a platform on which the policy may run.
                policy.measurements = Some(BTreeSet::new());
            }
            Ok(policy)
        })
        .collect::<Result<_, Finding>>()?;
    let named: Vec<_> = manifest
        .reference_values
        .snp
        .iter()
        .map(|set| set.platform.to_string())
        .collect();
    let why = || {
        format!(
            "Platforms of the report's policy names none of the platforms of ReferenceValues.snp: {}",
            named.join(", ")
        )
    };
    Ok(Against {
        policies,
        host_data: HostData::OneOf(counting.host_data),
        elsewhere: elsewhere.then(why),
    })
}

fn from_options(args: &Args, evidence: &Evidence) -> Result<Policy, CommandError> {
    let cpu = Report::parse(&evidence.report)
        .ok()
        .and_then(|report| report.cpu);
    let product = cpu
        .and_then(Product::from_cpu)
        .or(args.allow_report_v2)
        // Nothing that depends on it is reached when the report names none.
        .unwrap_or(Product::Milan);
    let baseline = match &args.tcb_baseline {
        None => Baseline::newest(),
        Some(name) => Baseline::named(name).ok_or_else(|| {
            let names: Vec<_> = Baseline::all().map(Baseline::name).collect();
            CommandError::usage(format!(
                "no TCB baseline {name:?}: there are {}",
                names.join(", ")
            ))
        })?,
    };
    Ok(Policy {
        measurements: (!args.measurement.is_empty())
            .then(|| args.measurement.iter().copied().collect()),
        minimum_tcb: baseline.minimum(product),
        allow_vlek: args.allow_vlek,
        allow_report_v2: args.allow_report_v2.is_some(),
        vmpl: args.vmpl,
        crl: crl_mode(args),
        ..Policy::new(product, [])
    })
}

fn host_data(args: &Args) -> HostData {
    if args.host_data.is_empty() {
        HostData::Open
    } else {
        HostData::OneOf(args.host_data.iter().copied().collect())
    }
}

fn crl_mode(args: &Args) -> CrlMode {
    if args.without_crl {
        CrlMode::IfPresent
    } else {
        CrlMode::Require
    }
}

/// No file of this command is longer than a manifest.
pub(crate) fn read(context: &Context, path: &Path) -> Result<Vec<u8>, CommandError> {
    files::read(&context.environment.path(path), nacre_manifest::MAX_BYTES)
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let decoded = hex::decode(text).map_err(|error| error.to_string())?;
    decoded
        .try_into()
        .map_err(|_| format!("{} hex digits are needed", 2 * N))
}

fn product(text: &str) -> Result<Product, String> {
    Product::parse(text).ok_or_else(|| "Milan, Genoa or Turin".into())
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "a date, or a date and time in UTC, is needed".into())
}
