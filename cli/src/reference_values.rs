//! `nacre reference-values`.

use std::path::{Path, PathBuf};

use nacre_attest::measure::{DirectBoot, Launch, SNP_ACTIVE, cpu_model};
use nacre_attest::{CpuId, Product, Report};
use nacre_findings::{Finding, codes};
use serde_json::{Value, json};

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

fn from_report(args: &FromReportArgs, context: &Context) -> Result<(), CommandError> {
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
    let tcb: serde_json::Map<_, _> = report
        .reported_tcb
        .decode(product)
        .parts()
        .map(|(part, number)| (part.manifest_field().to_owned(), number.into()))
        .collect();
    let bit = |number: u32| report.policy >> number & 1 == 1;
    let [minor, major, ..] = report.policy.to_le_bytes();
    let mut values = json!({
        "ProductName": product.name(),
        "TrustedMeasurement": hex::encode(report.measurement),
        "MinimumTCB": tcb,
        "GuestPolicy": {
            "ABIMajor": major,
            "ABIMinor": minor,
            "SMT": bit(16),
            "MigrateMA": bit(18),
            "Debug": bit(19),
            "SingleSocket": bit(20),
            "CXLAllowed": bit(21),
            "MemAES256XTS": bit(22),
            "RAPLDis": bit(23),
            "CipherTextHidingDRAM": bit(24),
            "PageSwapDisable": bit(25),
        },
    });
    if let Some(fields) = values.as_object_mut() {
        let mut some = |name: &str, bytes: &[u8]| {
            if bytes.iter().any(|&byte| byte != 0) {
                fields.insert(name.into(), Value::from(vec![hex::encode(bytes)]));
            }
        };
        some("AllowedChipIDs", &report.chip_id);
        some("IDKeyDigests", &report.id_key_digest);
        if report.author_key_en() {
            some("AuthorKeyDigests", &report.author_key_digest);
        }
        if report.vmpl != 0 {
            fields.insert("VMPL".into(), report.vmpl.into());
        }
        if report.signing_key() == nacre_attest::SigningKey::Vlek {
            fields.insert("SigningKey".into(), "VLEK".into());
        }
    }
    context.note("not verified: these are what the report says, not what it should say");
    context.print(&format!("{values:#}\n"))
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
