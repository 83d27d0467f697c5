//! `nacre reference-values`.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use nacre_attest::measure::{DirectBoot, Launch, SNP_ACTIVE, cpu_model};
use nacre_attest::{CpuId, Product, Report, met_by};
use nacre_findings::{Finding, codes};
use serde_json::json;

use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::files;

/// Compute reference values for the manifest, or read them from a report
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ReferenceValues {
    Measure(MeasureArgs),
    FromReport(FromReportArgs),
}

/// Compute the launch digest of a guest from what it is launched with, as QEMU launches it
#[derive(Debug, clap::Args)]
pub(crate) struct MeasureArgs {
    /// Firmware image
    #[arg(long, value_name = "FILE")]
    ovmf: PathBuf,
    /// Kernel image, when it is booted directly with `kernel-hashes=on`
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial file system of the kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// Command line of the kernel
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        requires = "kernel",
        allow_hyphen_values = true
    )]
    append: String,
    /// Number of vCPUs
    #[arg(long, value_name = "NUMBER")]
    vcpus: u32,
    /// CPU model of the guest as QEMU names it, for example EPYC-Milan
    #[arg(long, value_name = "MODEL", value_parser = cpu)]
    cpu: CpuId,
    /// SEV features of the vCPUs, in hex
    #[arg(long, value_name = "HEX", value_parser = hex_number)]
    features: Option<u64>,
}

/// Read the reference values that a report would meet; look at each before trusting it
#[derive(Debug, clap::Args)]
pub(crate) struct FromReportArgs {
    /// The report, 1184 bytes. It is not verified: see verify-report
    report_file: PathBuf,
    /// Platform of the guest, as in the manifest; says what its guest does about HOST_DATA
    #[arg(long, value_name = "NAME")]
    platform: String,
    /// Number of vCPUs of the guest, which enters the measurement and stands in no report
    #[arg(long, value_name = "NUMBER")]
    cpus: u32,
}

pub(crate) fn run(what: &ReferenceValues, context: &mut Context) -> Result<(), CommandError> {
    match what {
        ReferenceValues::Measure(args) => measure(args, context),
        ReferenceValues::FromReport(args) => from_report(args, context),
    }
}

fn measure(args: &MeasureArgs, context: &Context) -> Result<(), CommandError> {
    let ovmf = read(context, &args.ovmf)?;
    let kernel = args
        .kernel
        .as_deref()
        .map(|path| read(context, path))
        .transpose()?;
    let initrd = args
        .initrd
        .as_deref()
        .map(|path| read(context, path))
        .transpose()?;
    let launch = Launch {
        ovmf: &ovmf,
        kernel: kernel.as_deref().map(|kernel| DirectBoot {
            kernel,
            initrd: initrd.as_deref().unwrap_or_default(),
            append: &args.append,
        }),
        vcpus: args.vcpus,
        cpu: args.cpu,
        features: args.features.unwrap_or(SNP_ACTIVE),
    };
    let digest = launch.digest().map_err(|error| {
        let message = format!("{}: {error}", args.ovmf.display());
        Finding::error(codes::cli::USAGE, message)
    })?;
    let digest = hex::encode(digest);
    match context.output {
        Output::Text => context.print(&format!("{digest}\n")),
        Output::Json => {
            context.print_json(json!({ "CPUs": args.vcpus, "TrustedMeasurement": digest }))
        }
    }
}

fn from_report(args: &FromReportArgs, context: &mut Context) -> Result<(), CommandError> {
    let refused = |message: String| {
        let path = args.report_file.display();
        CommandError::from(Finding::error(
            codes::cli::USAGE,
            format!("{path}: {message}"),
        ))
    };
    let bytes = read(context, &args.report_file)?;
    let report = Report::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    let cpu = report
        .cpu
        .ok_or_else(|| refused("version 2 names no processor".into()))?;
    let product =
        Product::from_cpu(cpu).ok_or_else(|| refused(format!("processor {cpu} is not known")))?;
    let platform = nacre_platform::find(&args.platform)
        .map_err(|error| CommandError::usage(format!("--platform: {error}")))?;
    let name = nacre_manifest::Product::from_str(product.name())
        .map_err(|error| refused(error.to_string()))?;
    let base = platform.default_set(name, args.cpus);
    let values = met_by(&report, product, base);
    for (allowed, field) in [
        (values.guest_policy.debug, "GuestPolicy.Debug"),
        (values.guest_policy.migrate_ma, "GuestPolicy.MigrateMA"),
    ] {
        if allowed {
            let message =
                format!("{field} is true: no verifier accepts that, whatever the manifest says");
            let finding = Finding::warning(codes::cli::REPORT_NEVER_ACCEPTED, message);
            context
                .report([finding.help("take the report from a guest that was started without it")]);
        }
    }
    context.publish()?;
    context.note("not verified: these are what the report says, not what it should say");
    context.print(&format!("{:#}\n", json!(values)))
}

/// Firmware, kernels and initial file systems are at most a few hundred MiB.
fn read(context: &Context, path: &Path) -> Result<Vec<u8>, CommandError> {
    const LIMIT: usize = 1 << 30;
    files::read(&context.environment.path(path), LIMIT)
}

fn cpu(text: &str) -> Result<CpuId, String> {
    cpu_model(text).ok_or_else(|| "EPYC, EPYC-Rome, EPYC-Milan, EPYC-Genoa or EPYC-Turin".into())
}

fn hex_number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|error| error.to_string())
}
