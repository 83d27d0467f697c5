//! The command line of the function programs, and the flags they share with `nacre generate`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;

use crate::diagnostics::Format;
use crate::environment::Environment;
use crate::mode::{Mode, Program};
use crate::settings::Request;

/// Flags that every program of the left half has.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration (kind: Confidential) [env: NACRE_CONFIG] [default: nacre.yaml if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Image lock; may be repeated [env: NACRE_LOCK] [default: nacre.lock.yaml if it is there]
    #[arg(long = "lock", value_name = "FILE")]
    pub locks: Vec<PathBuf>,
    /// Manifest whose hand edits are carried over [env: NACRE_PREVIOUS]
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
    /// Platform whose reference values go into the manifest [env: NACRE_PLATFORM]
    #[arg(long, visible_alias = "platform", value_name = "PLATFORM")]
    pub reference_values: Option<String>,
    /// Namespace of objects that name none [env: NACRE_NAMESPACE]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Treat open points as errors [env: NACRE_STRICT]
    #[arg(long)]
    pub strict: bool,
    /// Inject no initializer anywhere [env: NACRE_SKIP_INITIALIZER]
    #[arg(long)]
    pub skip_initializer: bool,
    /// Inject no service mesh sidecar anywhere [env: NACRE_SKIP_SERVICE_MESH]
    #[arg(long)]
    pub skip_service_mesh: bool,
    /// Set a field of the configuration, such as coordinator.host=example.com; may be repeated
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = assignment)]
    pub assignments: Vec<(String, String)>,
}

impl Flags {
    /// What the flags say, with default files looked for in `workspace`.
    pub fn request(&self, workspace: Option<PathBuf>) -> Request {
        let mut overrides: BTreeMap<String, String> = self.assignments.iter().cloned().collect();
        let mut set = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                overrides.insert(name.to_owned(), value.to_owned());
            }
        };
        set("platform", self.reference_values.as_deref());
        set("namespace", self.namespace.as_deref());
        set("strict", self.strict.then_some("true"));
        set("skip-initializer", self.skip_initializer.then_some("true"));
        set(
            "skip-service-mesh",
            self.skip_service_mesh.then_some("true"),
        );
        Request {
            config: self.config.clone(),
            locks: self.locks.clone(),
            previous: self.previous.clone(),
            overrides,
            workspace,
        }
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected FIELD=VALUE".to_owned()),
    }
}

/// The command line of `nacre-krm-fn` and `nacre-post-renderer`.
#[derive(Clone, Debug, Parser)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Arguments {
    /// The flags shared with `nacre generate`.
    #[command(flatten)]
    pub flags: Flags,
    /// Calling convention: krm, legacy, helm, standalone or stream [env: NACRE_MODE]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<Mode>,
    /// Write the manifest to this file [env: NACRE_MANIFEST_OUT]
    #[arg(long, value_name = "FILE")]
    pub manifest_out: Option<PathBuf>,
    /// Write findings to this file too [env: NACRE_REPORT]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Form of findings: text, json, sarif or github [env: NACRE_FORMAT]
    #[arg(long, value_name = "FORM")]
    pub format: Option<Format>,
    /// Print the documentation as Markdown
    #[arg(short, long)]
    pub help: bool,
    /// Print the version
    #[arg(short = 'V', long)]
    pub version: bool,
    /// Standalone form: the configuration, then files and directories, `-` for standard input
    #[arg(value_name = "CONFIG FILES")]
    pub files: Vec<PathBuf>,
}

impl Arguments {
    /// Reads the command line; the error is the text to show.
    pub fn parse_from(program: Program, environment: &Environment) -> Result<Self, String> {
        let arguments =
            std::iter::once(program.name().into()).chain(environment.args.iter().cloned());
        Self::try_parse_from(arguments).map_err(|error| error.render().to_string())
    }

    /// What the flags say about the settings.
    pub fn request(&self, workspace: Option<PathBuf>) -> Request {
        let mut request = self.flags.request(workspace);
        if let Some(path) = &self.manifest_out {
            request
                .overrides
                .insert("manifest-out".to_owned(), path.display().to_string());
        }
        request
    }
}

/// The flags as a Markdown list.
pub fn flags_markdown() -> String {
    use clap::CommandFactory as _;
    let mut out = String::new();
    for argument in Arguments::command().get_arguments() {
        let Some(long) = argument.get_long() else {
            continue;
        };
        let takes_value = matches!(
            argument.get_action(),
            clap::ArgAction::Set | clap::ArgAction::Append
        );
        let value = argument.get_value_names().and_then(<[_]>::first);
        let value = value.filter(|_| takes_value).map(|name| format!(" {name}"));
        let help = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        out.push_str(&format!(
            "- `--{long}{}`: {help}\n",
            value.unwrap_or_default()
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Arguments, String> {
        let args = args.iter().map(Into::into).collect();
        let environment = Environment {
            args,
            ..Environment::default()
        };
        Arguments::parse_from(Program::KrmFunction, &environment)
    }

    #[test]
    fn flags_become_overrides_by_flat_name() {
        let arguments = parse(&[
            "--reference-values",
            "metal-qemu-snp",
            "--strict",
            "-n",
            "shop",
            "--set",
            "policy.target=a=b",
            "--manifest-out",
            "m.json",
        ])
        .unwrap();
        let overrides = arguments.request(None).overrides;
        let expected = [
            ("manifest-out", "m.json"),
            ("namespace", "shop"),
            ("platform", "metal-qemu-snp"),
            ("policy.target", "a=b"),
            ("strict", "true"),
        ];
        let found: Vec<(&str, &str)> = overrides
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected);
        nacre_fnconfig::Confidential::default()
            .merge_overrides(&overrides)
            .unwrap();
    }

    #[test]
    fn a_wrong_line_gives_a_text_to_show() {
        assert!(parse(&["--nope"]).unwrap_err().contains("--nope"));
        assert!(parse(&["--set", "x"]).unwrap_err().contains("FIELD=VALUE"));
        assert!(parse(&["--mode", "x"]).unwrap_err().contains("krm, legacy"));
    }

    #[test]
    fn a_dash_is_a_file_name() {
        let arguments = parse(&["config.yaml", "a.yml", "-"]).unwrap();
        assert_eq!(arguments.files.len(), 3);
    }

    #[test]
    fn every_flag_is_in_the_documentation() {
        let text = flags_markdown();
        for flag in [
            "--config FILE",
            "--lock FILE",
            "--mode MODE",
            "--strict`",
            "--report FILE",
        ] {
            assert!(text.contains(flag), "{flag} in {text}");
        }
    }
}
