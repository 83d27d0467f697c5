//! Which calling convention this is.

use std::str::FromStr;

use nacre_findings::{Finding, codes};

use crate::environment::Environment;

/// Set by kustomize when it calls a legacy exec plugin.
pub const LEGACY_PLUGIN_VARIABLE: &str = "KUSTOMIZE_PLUGIN_CONFIG_STRING";
/// Set by Helm when it calls a plugin.
pub const HELM_PLUGIN_VARIABLE: &str = "HELM_PLUGIN_NAME";
/// Names the mode where detection is not wanted.
pub const MODE_VARIABLE: &str = "NACRE_MODE";

/// The function programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `nacre-krm-fn`.
    KrmFunction,
    /// `nacre-post-renderer`.
    PostRenderer,
}

impl Program {
    /// The name of the executable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KrmFunction => "nacre-krm-fn",
            Self::PostRenderer => "nacre-post-renderer",
        }
    }
}

/// How input comes in, output goes out and errors are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A ResourceList on standard input and output (kustomize, kpt).
    Krm,
    /// A kustomize legacy exec plugin: configuration in the first argument, a stream in and out.
    Legacy,
    /// A Helm post-renderer: a stream in and out, namespace from outside.
    Helm,
    /// `program config.yaml files... -`: files (and standard input) in, a stream out.
    Standalone,
    /// A stream in and out.
    Stream,
}

impl Mode {
    /// Every mode in the spelling of `--mode`.
    pub const ALL: [(&'static str, Self); 5] = [
        ("krm", Self::Krm),
        ("legacy", Self::Legacy),
        ("helm", Self::Helm),
        ("standalone", Self::Standalone),
        ("stream", Self::Stream),
    ];
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, mode)| *mode)
            .ok_or_else(|| {
                format!("unknown mode `{text}` (one of: krm, legacy, helm, standalone, stream)")
            })
    }
}

/// The mode asked for by `--mode` or `NACRE_MODE`.
pub fn explicit(flag: Option<Mode>, environment: &Environment) -> Result<Option<Mode>, Finding> {
    match (flag, environment.variable(MODE_VARIABLE)) {
        (Some(mode), _) => Ok(Some(mode)),
        (None, None) => Ok(None),
        (None, Some(text)) => text.parse().map(Some).map_err(|error: String| {
            Finding::error(codes::cli::USAGE, format!("{MODE_VARIABLE}: {error}"))
        }),
    }
}

/// The mode when none is asked for, as far as it can be known without reading standard input:
/// positional arguments are kyaml's standalone form, unless kustomize says that the first of them
/// is its configuration file.
pub fn before_input(
    program: Program,
    positionals: usize,
    environment: &Environment,
) -> Option<Mode> {
    if program == Program::PostRenderer {
        return Some(Mode::Helm);
    }
    let legacy = environment.variables.contains_key(LEGACY_PLUGIN_VARIABLE);
    (positionals > 0 && !legacy).then_some(Mode::Standalone)
}

/// The mode when none is asked for and standard input has been read. A ResourceList is recognised
/// before any variable, because variables are inherited from outer tools.
pub fn after_input(is_resource_list: bool, environment: &Environment) -> Mode {
    if is_resource_list {
        Mode::Krm
    } else if environment.variables.contains_key(LEGACY_PLUGIN_VARIABLE) {
        Mode::Legacy
    } else if environment.variable(HELM_PLUGIN_VARIABLE).is_some() {
        Mode::Helm
    } else {
        Mode::Stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Environment {
        Environment {
            variables: variables
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            ..Environment::default()
        }
    }

    #[test]
    fn what_is_asked_for_comes_first() {
        let environment = with(&[(MODE_VARIABLE, "helm")]);
        assert_eq!(explicit(None, &environment).unwrap(), Some(Mode::Helm));
        assert_eq!(
            explicit(Some(Mode::Krm), &environment).unwrap(),
            Some(Mode::Krm)
        );
        assert_eq!(explicit(None, &with(&[])).unwrap(), None);
        let error = explicit(None, &with(&[(MODE_VARIABLE, "x")])).unwrap_err();
        assert_eq!(error.code, codes::cli::USAGE);
        for (name, mode) in Mode::ALL {
            assert_eq!(name.parse(), Ok(mode));
        }
    }

    #[test]
    fn arguments_are_the_standalone_form_unless_kustomize_gave_them() {
        let plain = with(&[]);
        let legacy = with(&[(LEGACY_PLUGIN_VARIABLE, "kind: Confidential")]);
        let krm = Program::KrmFunction;
        assert_eq!(before_input(krm, 2, &plain), Some(Mode::Standalone));
        assert_eq!(before_input(krm, 1, &legacy), None);
        assert_eq!(before_input(krm, 0, &plain), None);
        assert_eq!(
            before_input(Program::PostRenderer, 0, &legacy),
            Some(Mode::Helm)
        );
    }

    #[test]
    fn a_resource_list_is_recognised_before_variables_of_outer_tools() {
        let all = with(&[
            (LEGACY_PLUGIN_VARIABLE, "x"),
            (HELM_PLUGIN_VARIABLE, "nacre"),
        ]);
        assert_eq!(after_input(true, &all), Mode::Krm);
        assert_eq!(after_input(false, &all), Mode::Legacy);
        assert_eq!(
            after_input(false, &with(&[(HELM_PLUGIN_VARIABLE, "nacre")])),
            Mode::Helm
        );
        assert_eq!(after_input(false, &with(&[])), Mode::Stream);
    }
}
