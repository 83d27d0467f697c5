//! `--help` as Markdown: `kpt fn doc` shows what a function prints for it.

use crate::arguments::flags_markdown;
use crate::mode::Program;

/// The documentation of a program.
pub(crate) fn markdown(program: Program) -> String {
    let about = match program {
        Program::KrmFunction => KRM_FUNCTION,
        Program::PostRenderer => POST_RENDERER,
    };
    format!(
        "# {}\n\n{about}\n## Options\n\n{}\n{COMMON}\n{}",
        program.name(),
        flags_markdown(),
        nacre_fnconfig::markdown()
    )
}

const KRM_FUNCTION: &str = "\
Makes Kubernetes workloads confidential: injects the initializer and the service mesh sidecar, pins
images, writes a policy into each workload's annotations, and gives out the manifest that lists the
policies.

Offline and deterministic: no network, no clock, no randomness. Idempotent: a second run changes
nothing. Run it as the last stage of a pipeline, because what changes a pod afterwards makes its
policy wrong; `nacre check` finds that.

## Calling conventions

The convention is the one named by `--mode` or `NACRE_MODE`, else the first that fits:

| convention | recognised by | input | output |
| --- | --- | --- | --- |
| standalone | arguments: `nacre-krm-fn config.yaml files... -` | files, directories, `-` | stream |
| krm | a ResourceList on standard input (kustomize, kpt) | ResourceList | ResourceList with `results` |
| legacy | `KUSTOMIZE_PLUGIN_CONFIG_STRING` (kubectl kustomize exec plugin) | stream | stream |
| helm | `HELM_PLUGIN_NAME` | stream | stream, manifest in `./manifest.json` |
| stream | nothing else fits | stream | stream |

On an error the exit code is 1. A ResourceList then comes out as it went in, with `results`; of any
other input nothing comes out. Messages go to standard error and to `--report` or `NACRE_REPORT`.
";

const POST_RENDERER: &str = "\
Helm post-renderer that makes the workloads of a release confidential: injects the initializer and the
service mesh sidecar, pins images, writes a policy into each workload's annotations, and writes the
manifest that lists the policies to `./manifest.json`.

    helm template shop ./chart --post-renderer nacre-post-renderer

Helm 3 runs the program of that name in PATH; Helm 4 the plugin that `nacre install helm-plugin` places.

- Helm does not tell a post-renderer the namespace. Name it with `NACRE_NAMESPACE`, `--namespace` (as
  `--post-renderer-args`) or in the configuration; `HELM_NAMESPACE` is read when none is named.
- Helm 3 may hide hooks and tests from a post-renderer. Use Helm 4, or `helm template ... | nacre
  generate -`.
- Helm 4 shows nothing of a plugin's messages. `NACRE_REPORT=FILE` writes them to a file.

On an error the exit code is 1 and nothing is printed on standard output.
";

const COMMON: &str = "\
## Configuration

An object of `apiVersion: nacre.dev/v1alpha1` and `kind: Confidential`: the `functionConfig` of an
orchestrator, the file of `--config` or `NACRE_CONFIG`, the one object of this kind in the input, or
`nacre.yaml` in the working directory (not in the krm and legacy conventions). A ConfigMap with flat
entries does as well (`kpt fn eval -- platform=metal-qemu-snp`). Over it come variables
(`NACRE_SKIP_INITIALIZER`), then flags.
";
