//! `nacre check`: whether final YAML is complete and unchanged.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nacre_findings::{Finding, Location, Severity, codes, has_errors};
use nacre_framing::arguments::Flags;
use nacre_framing::settings::Settings;
use nacre_framing::transform;
use nacre_manifest::Manifest;
use nacre_review::manifest::unreadable_text;
use serde_json::json;

use crate::cluster::connect::{Cluster, ClusterArgs, block_on};
use crate::cluster::live::{self, Drift};
use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::resources;

/// The manifest in the workspace.
const MANIFEST_FILE: &str = "manifest.json";

/// Check that rendered resources are confidential, complete and unchanged since
///
/// Fails on a placeholder runtime class that is left, a selected pod without policy, a policy that does
/// not fit its pod, an image without digest, and a manifest that does not fit the policies.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files and directories, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// The manifest they belong to [default: one among them, else manifest.json in the workspace]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Do without a manifest where there is none: whether the policies are those in force is not checked
    #[arg(long, conflicts_with = "manifest")]
    without_manifest: bool,
    /// Compare with the pods that run now as well: whose policy the manifest does not list, and what was
    /// changed after rendering
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let sources = resources::sources(&args.paths, context)?;
    let settings = resources::settings(&args.flags, &sources, context)?;
    let options = resources::options(&settings, &args.paths);
    let manifest = manifest(args.manifest.as_deref(), &sources, context)?;
    let mut report = nacre_review::check::check(&sources, &options, manifest.as_ref());
    transform::name_files(&sources, &mut report.findings);
    if args.without_manifest {
        let is_absence = |finding: &&mut Finding| finding.code == codes::check::MANIFEST_NOT_FOUND;
        for finding in report.findings.iter_mut().filter(is_absence) {
            finding.severity = Severity::Warning;
        }
    }
    let mut pods = None;
    if args.live {
        let drift = drift(args, &sources, &settings, manifest.as_ref())?;
        pods = Some(drift.pods);
        report.findings.extend(drift.findings);
    }
    let passed = !has_errors(&report.findings);
    context.report(report.findings);
    context.publish()?;
    if context.output == Output::Json {
        let mut result = json!({ "passed": passed, "workloads": report.workloads });
        if let (Some(pods), Some(object)) = (pods, result.as_object_mut()) {
            object.insert("pods".to_owned(), pods.into());
        }
        context.print_json(result)?;
    } else if passed {
        let count = report.workloads;
        let s = if count == 1 { "" } else { "s" };
        let pods = pods.map_or_else(String::new, |pods| format!(", {pods} running pods"));
        context.print(&format!("{count} confidential workload{s}{pods} checked\n"))?;
    }
    match passed {
        true => Ok(()),
        false => Err(CommandError::new(Kind::Refused, Vec::new())),
    }
}

/// Pods of the rendered workloads' namespaces against the manifest.
fn drift(
    args: &Args,
    sources: &[nacre_generate::Source],
    settings: &Settings,
    manifest: Option<&Manifest>,
) -> Result<Drift, CommandError> {
    let among;
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => {
            among = nacre_review::check::manifest_among(sources, &settings.config)?;
            &among
        }
    };
    let templates = nacre_review::check::pod_specs(sources, &settings.config);
    let mut namespaces: BTreeSet<String> = manifest
        .policies
        .values()
        .filter_map(|entry| Some(entry.identity.as_ref()?.namespace.clone()))
        .collect();
    namespaces.extend(templates.keys().map(|identity| identity.namespace.clone()));
    let pods = block_on(async {
        let cluster = Cluster::connect(&args.cluster).await?;
        let mut pods = Vec::new();
        for namespace in &namespaces {
            let path = format!("/api/v1/namespaces/{namespace}/pods");
            pods.extend(cluster.list(&path).await?);
        }
        Ok(pods)
    })?;
    Ok(live::compare(&pods, manifest, &templates))
}

/// The manifest of rendered resources: the one that is named, `None` for one among them, else the
/// workspace's if there is one.
pub(crate) fn manifest(
    given: Option<&std::path::Path>,
    sources: &[nacre_generate::Source],
    context: &Context,
) -> Result<Option<Manifest>, CommandError> {
    let among = sources.iter().any(|source| {
        let set = nacre_review::set::RenderedSet::of(source);
        set.objects.iter().any(nacre_review::manifest::is_carrier)
    });
    if given.is_none() && among {
        return Ok(None);
    }
    let path = context.path_or_default(given, MANIFEST_FILE);
    if given.is_none() && !path.exists() {
        return Ok(None);
    }
    read_manifest(&path, context).map(Some)
}

/// The manifest among rendered resources.
pub(crate) fn among(sources: &[nacre_generate::Source]) -> Result<Option<Manifest>, CommandError> {
    let texts = sources.iter().map(|s| (s.file.as_deref(), &s.stream));
    let set = nacre_review::set::RenderedSet::read(
        texts,
        &Default::default(),
        nacre_review::set::DEFAULT_NAMESPACE,
    );
    Ok(nacre_review::manifest::extract(&set)?.map(|found| found.manifest))
}

/// Reads a manifest file, with findings that name it.
pub(crate) fn read_manifest(
    path: &std::path::Path,
    context: &Context,
) -> Result<Manifest, CommandError> {
    let limit = nacre_framing::input::limit(&context.environment)?;
    let text = nacre_framing::input::read_file(path, limit)?;
    Manifest::parse(text.content.as_bytes()).map_err(|error| {
        let file = Location::file(path.display().to_string());
        unreadable_text(&error, &text.content, file).into()
    })
}
