//! Rendered workloads with the policies they carry, for the commands that look at policies.

use std::path::PathBuf;

use nacre_findings::{Finding, codes, has_errors};
use nacre_framing::arguments::Flags;
use nacre_framing::settings;
use nacre_framing::transform;
use nacre_generate::Source;
use nacre_review::policies::{self, Workload};
use nacre_review::set::DEFAULT_NAMESPACE;

use crate::context::Context;
use crate::error::CommandError;
use crate::resources;

/// Which workloads a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Rendered resources: files and directories, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Only this workload: NAME, KIND/NAME or NAMESPACE/KIND/NAME
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Option<String>,
    /// Configuration (kind: Confidential) [env: NACRE_CONFIG] [default: nacre.yaml if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Namespace of objects that name none [env: NACRE_NAMESPACE]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// What was read.
pub(crate) struct Rendered {
    pub(crate) sources: Vec<Source>,
    pub(crate) workloads: Vec<Workload>,
}

impl Selection {
    /// One file.
    pub(crate) fn of(path: &std::path::Path, workload: Option<String>) -> Self {
        Self {
            paths: vec![path.to_path_buf()],
            workload,
            config: None,
            namespace: None,
        }
    }

    /// The flags that these are a part of.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            namespace: self.namespace.clone(),
            ..Flags::default()
        }
    }

    /// Reads the workloads; one that carries no readable policy is an error.
    pub(crate) fn read(&self, context: &Context) -> Result<Rendered, CommandError> {
        let (rendered, findings) = self.read_all(context)?;
        match has_errors(&findings) {
            true => Err(findings.into()),
            false => Ok(rendered),
        }
    }

    /// The same, with what is wrong with others.
    pub(crate) fn read_all(
        &self,
        context: &Context,
    ) -> Result<(Rendered, Vec<Finding>), CommandError> {
        let sources = resources::sources(&self.paths, context)?;
        let request = self.flags().request(Some(context.workspace()));
        let supplied = transform::supplied(&sources);
        let config = settings::configuration(&context.environment, &request, &supplied)?;
        let kinds = nacre_review::check::kinds(&config);
        let namespace = config.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let (workloads, mut findings) = policies::read(&sources, &kinds, namespace);
        transform::name_files(&sources, &mut findings);
        let workloads = self.chosen(workloads)?;
        Ok((Rendered { sources, workloads }, findings))
    }

    fn chosen(&self, workloads: Vec<Workload>) -> Result<Vec<Workload>, CommandError> {
        let Some(wanted) = &self.workload else {
            return Ok(workloads);
        };
        let names: Vec<String> = workloads.iter().map(|w| w.identity().to_string()).collect();
        let chosen: Vec<_> = workloads
            .into_iter()
            .filter(|workload| {
                let name = workload.identity().to_string();
                name == *wanted || name.ends_with(&format!("/{wanted}"))
            })
            .collect();
        if chosen.is_empty() {
            let message = format!("no workload {wanted:?} carries a policy here");
            return Err(Finding::error(codes::check::NO_SUCH_WORKLOAD, message)
                .help(format!("there are: {}", names.join(", ")))
                .into());
        }
        Ok(chosen)
    }
}
