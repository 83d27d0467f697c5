//! `nacre collateral`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nacre_attest::{
    CollateralDirectory, CollateralError, CollateralSource as _, Product, Report, SigningKey,
    VekRequest,
};
use nacre_collateral::{Cached, KDS_URL, Kds, Options};
use nacre_findings::{Finding, codes};
use serde_json::json;

use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::verify_report::read;

/// Certificates of signing keys and revocation lists, for places without network
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Collateral {
    Fetch(Box<FetchArgs>),
}

/// Fetch from AMD what is needed to verify reports, into a directory for `verify-report --collateral`
///
/// Only what AMD's keys have signed is kept, and a revocation list never replaces a newer one. AMD gives an
/// address about one certificate in ten seconds; what is in the directory already is not asked for again.
#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// Fetch what this report needs: the certificate of its chip and firmware, and the revocation list
    #[arg(value_name = "REPORT")]
    reports: Vec<PathBuf>,
    /// Fetch the revocation list of this product
    #[arg(long, value_name = "PRODUCT", value_parser = product)]
    product: Vec<Product>,
    /// Directory to fill
    #[arg(long, value_name = "DIR", default_value = "collateral")]
    out: PathBuf,
    /// Fetch no revocation lists
    #[arg(long)]
    without_crl: bool,
    /// Key distribution service, or a mirror of it
    #[arg(long, value_name = "URL", default_value = KDS_URL)]
    kds: String,
    /// Certificates (PEM) that are trusted for TLS beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// Seconds to try for, waiting included, for each thing that is fetched
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

pub(crate) fn run(what: &Collateral, context: &mut Context) -> Result<(), CommandError> {
    match what {
        Collateral::Fetch(args) => fetch(args, context),
    }
}

fn fetch(args: &FetchArgs, context: &mut Context) -> Result<(), CommandError> {
    let mut products: BTreeSet<Product> = args.product.iter().copied().collect();
    let mut veks = Vec::new();
    for path in &args.reports {
        let request = request(context, path)?;
        products.insert(request.product);
        veks.push(request);
    }
    if products.is_empty() {
        let message = "nothing to fetch: name reports, or products with --product";
        return Err(CommandError::usage(message));
    }
    let options = Options {
        patience: Duration::from_secs(args.patience),
        ca_files: args.ca_file.clone(),
        ..Options::default()
    };
    let kds = Kds::at(&args.kds, &options).map_err(|error| failed("the service", &error))?;
    let directory = CollateralDirectory::new(context.environment.path(&args.out));
    let verifier = Arc::clone(&context.trust.verifier);
    let source = Cached::new(directory.clone(), Box::new(kds), verifier);
    let mut kept = Vec::new();
    for request in &veks {
        let what = request.to_string();
        let found = source.vek(request).map_err(|error| failed(&what, &error))?;
        if found.is_none() {
            return Err(unknown(&what));
        }
        kept.push(what);
    }
    for product in products.iter().filter(|_| !args.without_crl) {
        let what = format!("revocation list of {product}");
        let found = source
            .refreshed_crl(*product)
            .map_err(|error| failed(&what, &error))?;
        if found.is_none() {
            return Err(unknown(&what));
        }
        kept.push(what);
    }
    let path = directory.path().display().to_string();
    match context.output {
        Output::Text => {
            let lines: String = kept.iter().map(|what| format!("{what}\n")).collect();
            context.print(&format!("{lines}{path}: {} in place\n", kept.len()))
        }
        Output::Json => context.print_json(json!({ "directory": path, "collateral": kept })),
    }
}

fn request(context: &Context, path: &Path) -> Result<VekRequest, CommandError> {
    let name = path.display();
    let bytes = read(context, path)?;
    let report = Report::parse(&bytes).map_err(|error| {
        CommandError::from(Finding::error(
            codes::cli::COLLATERAL_REPORT,
            format!("{name} is no report: {error}"),
        ))
    })?;
    VekRequest::of(&report).ok_or_else(|| {
        let why = match report.signing_key() {
            SigningKey::Vlek => "a cloud provider's key (VLEK) comes from its host only",
            _ if report.cpu.is_none() => "a version 2 report does not name its processor",
            _ => "the host has masked the chip",
        };
        Finding::error(
            codes::cli::COLLATERAL_REPORT,
            format!("{name}: the certificate cannot be looked up: {why}"),
        )
        .into()
    })
}

fn failed(what: &str, error: &CollateralError) -> CommandError {
    let mut text = format!("{what}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Finding::error(codes::cli::COLLATERAL_UNAVAILABLE, text).into()
}

fn unknown(what: &str) -> CommandError {
    let message = format!("{what}: the service does not know it");
    Finding::error(codes::cli::COLLATERAL_UNAVAILABLE, message).into()
}

fn product(text: &str) -> Result<Product, String> {
    Product::parse(text).ok_or_else(|| "Milan, Genoa and Turin are known".into())
}
