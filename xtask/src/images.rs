//! Static programs, and images made of them without a registry or a container engine.
//!
//! Everything an image holds is decided here: files in name order, no times, numeric owners. The same
//! programs give the same digests on every machine. `docker build` with the Dockerfile in the root makes
//! images with the same contents from `target/images/context`.
//!
//! The programs that Nacre puts into pods are built first. Their digests go into the lock of this release,
//! which is compiled into the programs that render: `NACRE_RELEASE_LOCK` carries it there.

mod examples;
mod oci;
mod release;
mod sbom;
mod stand_in;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nacre_imagelock::STAND_IN_LABEL;

use crate::{process, simulation, workspace};
use oci::{File, Image, Layout};

/// Accounts of every image: container runtimes look up `nobody` by name.
const PASSWD: &str = "root:x:0:0:root:/:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n";
const NOBODY: &str = "65534:65534";
const ROOT: &str = "0:0";
const REGISTRY: &str = "ghcr.io/nacre-dev/nacre";
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// All images together.
const MOST_BYTES: u64 = 60_000_000;
const GATE: &str = "nacre-gate";
const ARGOCD: &str = "Config management plugin of Argo CD";
/// Label of images built with test roots; the function refuses them in a lock.
const TEST_ROOT_LABEL: &str = "nacre.dev/test-root";

/// One image and the programs in it.
struct Recipe {
    /// Name of the image and of the Dockerfile's target.
    name: &'static str,
    /// One line for people.
    description: &'static str,
    user: &'static str,
    /// Folder in the work tree, package, program; the first is the entrypoint.
    programs: &'static [(&'static str, &'static str, &'static str)],
}

/// What people and pipelines run.
const TOOLS: &[Recipe] = &[
    Recipe {
        name: "krm-fn",
        description: "KRM function: makes the workloads of a ResourceList confidential",
        user: NOBODY,
        programs: &[("krm-fn", "nacre-krm-fn", "nacre-krm-fn")],
    },
    Recipe {
        name: "post-renderer",
        description: "Makes the workloads of a YAML stream confidential",
        user: NOBODY,
        programs: &[(
            "post-renderer",
            "nacre-post-renderer",
            "nacre-post-renderer",
        )],
    },
    Recipe {
        name: "cli",
        description: "The nacre command",
        user: NOBODY,
        programs: &[("cli", "nacre-cli", "nacre")],
    },
];

/// What runs in confidential pods. Root in the guest, without capabilities but the mesh's NET_ADMIN: the
/// report source and the packet filter are root's.
const INJECTED: &[Recipe] = &[
    Recipe {
        name: "coordinator",
        description: "Holds the manifest, verifies workloads and issues their certificates",
        user: ROOT,
        programs: &[("coordinator", "nacre-coordinator", "nacre-coordinator")],
    },
    Recipe {
        name: "initializer",
        description: "Fetches the certificate of a confidential workload",
        user: ROOT,
        programs: &[
            ("initializer", "nacre-initializer", "nacre-initializer"),
            ("gate", "nacre-gate", "nacre-gate"),
        ],
    },
    Recipe {
        name: "mesh",
        description: "The mesh sidecar: transparent mutual TLS for a pod",
        user: ROOT,
        programs: &[("mesh", "nacre-mesh", "nacre-mesh")],
    },
];

/// The same against a simulated platform. Never a default: another tag, and a label that is refused.
const SIMULATED: &[Recipe] = &[
    Recipe {
        name: "coordinator",
        description: "Coordinator for tests: trusts simulated hardware, protects nothing",
        user: ROOT,
        programs: &[(
            "simulation/coordinator",
            "nacre-sim-coordinator",
            "nacre-sim-coordinator",
        )],
    },
    Recipe {
        name: "initializer",
        description: "Initializer for tests: simulated hardware, protects nothing",
        user: ROOT,
        programs: &[
            (
                "simulation/initializer",
                "nacre-sim-initializer",
                "nacre-sim-initializer",
            ),
            ("gate", "nacre-gate", "nacre-gate"),
        ],
    },
    Recipe {
        name: "cli",
        description: "The nacre command for tests: trusts simulated hardware",
        user: NOBODY,
        programs: &[("simulation/cli", "nacre-sim-cli", "nacre-sim")],
    },
];

/// Where everything of this module goes.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(workspace::target()?.join("images"))
}

/// Where the static programs are.
pub(crate) fn folder_of_programs() -> Result<PathBuf> {
    Ok(workspace::target()?.join(TARGET).join("dist"))
}

/// Builds the programs and their images: `context` for Docker, `layout` in the OCI form, `lock` and
/// `sbom` about them.
pub(crate) fn build() -> Result<()> {
    let folder = folder()?;
    let context = folder.join("context");
    fs::create_dir_all(&context)?;
    fs::write(context.join("passwd"), PASSWD)?;
    let mut layout = Layout::create(&folder.join("layout"))?;

    compile(INJECTED, None)?;
    let mut total = 0;
    let mut entries = Vec::new();
    for recipe in INJECTED {
        let image = image(recipe, "", &context)?;
        total += report(&image);
        entries.push(layout.add(&image)?);
    }
    let lock = release::lock(&entries)?;
    fs::write(folder.join("release.lock.json"), &lock)?;

    compile(TOOLS, Some(&lock))?;
    for recipe in TOOLS {
        let image = image(recipe, "", &context)?;
        total += report(&image);
        layout.add(&image)?;
    }
    layout.finish()?;
    same_again(&folder, &context)?;
    println!("{:>10.1} MB  in all", megabytes(total));
    if total > MOST_BYTES {
        bail!("the images have more than {} MB", megabytes(MOST_BYTES));
    }
    for recipe in TOOLS
        .iter()
        .chain(INJECTED)
        .filter(|recipe| recipe.is_complete())
    {
        let packages: Vec<&str> = recipe
            .programs
            .iter()
            .map(|(_, package, _)| *package)
            .collect();
        sbom::write(&folder.join("sbom"), recipe.name, &packages, &[])?;
    }
    Ok(())
}

/// Makes the images once more from the same programs: same digests, or time, order or a folder's name has
/// got into them. What the compiler does is another matter: that takes two builds of the programs.
fn same_again(folder: &Path, context: &Path) -> Result<()> {
    let again = folder.join("again");
    let mut layout = Layout::create(&again)?;
    for recipe in INJECTED.iter().chain(TOOLS) {
        layout.add(&image(recipe, "", context)?)?;
    }
    layout.finish()?;
    let index = |layout: &Path| fs::read(layout.join("index.json"));
    let same = index(&again)? == index(&folder.join("layout"))?;
    fs::remove_dir_all(&again)?;
    if !same {
        bail!("the same programs made images with other digests");
    }
    Ok(())
}

/// Builds the images that the workloads of `examples/` need, as one OCI layout in `examples/layout`.
///
/// The images that Nacre injects are stand-ins there: what the examples show must not change with every
/// compiler.
pub(crate) fn build_examples() -> Result<()> {
    let folder = folder()?.join("examples");
    let mut layout = Layout::create(&folder.join("layout"))?;
    for recipe in INJECTED {
        layout.add(&stand_in(recipe))?;
    }
    examples::add(&mut layout, &folder.join("programs"))?;
    layout.finish()
}

/// Builds images whose programs trust simulated hardware, tagged `-insecure`, in `insecure/layout`.
///
/// For tests only, and so made of the programs as tests are built, with the C library they are linked to.
/// The start gate is the shipped one: it runs in other images.
pub(crate) fn build_insecure() -> Result<()> {
    let mut layout = Layout::create(&folder()?.join("insecure/layout"))?;
    let built = simulation::build()?;
    let mut cargo = static_cargo("build")?;
    process::run(cargo.args(["--quiet", "--locked", "--package", GATE]))?;
    for recipe in SIMULATED {
        let mut files = BTreeMap::from([("etc/passwd".to_owned(), PASSWD.as_bytes().to_vec())]);
        for (_, package, program) in recipe.programs {
            if *package == GATE {
                files.insert(
                    (*program).to_owned(),
                    fs::read(folder_of_programs()?.join(program))?,
                );
                continue;
            }
            let path = built.join(program);
            for library in libraries(&path)? {
                let name = library.strip_prefix("/")?.display().to_string();
                files.insert(name, fs::read(&library)?);
            }
            files.insert((*program).to_owned(), without_symbols(&path)?);
        }
        let mut labels = labels(recipe.name, recipe.description);
        labels.insert(TEST_ROOT_LABEL.to_owned(), "true".to_owned());
        let files = files.into_iter();
        let image = Image {
            reference: reference(recipe.name, "-insecure"),
            files: files
                .map(|(path, bytes)| File::program(&path, bytes))
                .collect(),
            user: recipe.user.to_owned(),
            entrypoint: entrypoint(recipe),
            command: Vec::new(),
            labels,
        };
        report(&image);
        layout.add(&image)?;
    }
    layout.finish()
}

/// The shared libraries of a program and its interpreter, as the linker would find them here.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = process::output(Command::new("ldd").arg(program))?;
    let path = |line: &str| {
        let word = line.split_whitespace().find(|word| word.starts_with('/'))?;
        Some(PathBuf::from(word))
    };
    let found: Vec<PathBuf> = listed.lines().filter_map(path).collect();
    if found.is_empty() {
        bail!("{} has no shared libraries", program.display());
    }
    Ok(found)
}

/// A program of a debug build without what only a debugger wants: a tenth of its size.
fn without_symbols(program: &Path) -> Result<Vec<u8>> {
    let small = program.with_extension("stripped");
    process::run(Command::new("strip").arg("-o").arg(&small).arg(program))?;
    let bytes = fs::read(&small)?;
    fs::remove_file(&small)?;
    Ok(bytes)
}

/// Builds the image of Argo CD's plugin in a folder of its own: `context` for Docker, `layout` in the OCI
/// form, `sbom` about it, and the patch of repo-server with its digest. Returns the size of its files, in bytes.
pub(crate) fn build_argocd(folder: &Path, kustomize: &Path) -> Result<u64> {
    let context = folder.join("context");
    fs::create_dir_all(&context)?;
    let programs = folder_of_programs()?;
    let passwd = format!("{PASSWD}argocd:x:999:999:argocd:/home/argocd:/nonexistent\n");
    let plugin = fs::read_to_string(workspace::root().join("packages/argocd/plugin.yaml"))?;
    fs::write(context.join("argocd-passwd"), &passwd)?;
    fs::write(context.join("plugin.yaml"), &plugin)?;
    let mut files = vec![
        File::text("etc/passwd", &passwd),
        File::text("home/argocd/cmp-server/config/plugin.yaml", &plugin),
    ];
    let sources = [
        ("kustomize", kustomize.to_path_buf()),
        ("nacre", programs.join("nacre")),
        ("nacre-krm-fn", programs.join("nacre-krm-fn")),
    ];
    for (name, source) in sources {
        let bytes = fs::read(&source).with_context(|| format!("no {}", source.display()))?;
        put_program(&context.join(name), &bytes)?;
        files.push(File::program(name, bytes));
    }
    let image = Image {
        reference: reference("argocd", ""),
        files,
        user: "999:999".to_owned(),
        entrypoint: vec!["/var/run/argocd/argocd-cmp-server".to_owned()],
        command: Vec::new(),
        labels: labels("argocd", ARGOCD),
    };
    let mut layout = Layout::create(&folder.join("layout"))?;
    let added = layout.add(&image)?;
    layout.finish()?;
    let packages = ["nacre-cli", "nacre-krm-fn"];
    sbom::write(&folder.join("sbom"), "argocd", &packages, &[kustomize])?;
    let patch = workspace::root().join("packages/argocd/repo-server.yaml");
    let patch = fs::read_to_string(patch)?;
    let (Some((before, after)), 1) = (
        patch.split_once(&image.reference),
        patch.matches(&image.reference).count(),
    ) else {
        bail!("repo-server.yaml does not name {} once", image.reference);
    };
    let pinned = format!("{before}{}@{}{after}", image.reference, added.manifest);
    fs::write(folder.join("repo-server.yaml"), pinned)?;
    Ok(image.size())
}

impl Recipe {
    /// Whether all its programs are part of the work tree.
    fn is_complete(&self) -> bool {
        self.programs
            .iter()
            .all(|(folder, _, _)| workspace::root().join(folder).join("Cargo.toml").exists())
    }
}

/// Writes a program that every user may run: `COPY` keeps the mode.
fn put_program(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Builds programs as release archives contain them.
fn compile(recipes: &[Recipe], lock: Option<&str>) -> Result<()> {
    let mut cargo = static_cargo("build")?;
    cargo.args(["--quiet", "--locked"]);
    let complete = recipes.iter().filter(|recipe| recipe.is_complete());
    for (_, package, _) in complete.flat_map(|recipe| recipe.programs) {
        cargo.args(["--package", package]);
    }
    if let Some(lock) = lock {
        cargo.env("NACRE_RELEASE_LOCK", lock);
    }
    process::run(&mut cargo)
}

/// A cargo command whose programs are static and as release archives contain them.
pub(crate) fn static_cargo(command: &str) -> Result<Command> {
    let root = workspace::root();
    let mut flags: Vec<String> = [
        "-Ctarget-feature=+crt-static",
        // Nothing unwinds where a panic aborts.
        "-Cforce-unwind-tables=no",
        // A position-independent program names tens of thousands of addresses of its own: a bit each.
        "-Clink-arg=-Wl,-z,pack-relative-relocs",
    ]
    .map(str::to_owned)
    .to_vec();
    // Paths of this machine have no place in a program that others build as well.
    flags.push(format!("--remap-path-prefix={}=/nacre", root.display()));
    if let Some(home) = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(default_cargo_home)
    {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    let mut cargo = workspace::cargo();
    cargo.args([command, "--profile=dist", "--target", TARGET]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let variable = format!("CFLAGS_{}", TARGET.replace('-', "_"));
    cargo.env(
        variable,
        "-fno-unwind-tables -fno-asynchronous-unwind-tables",
    );
    Ok(cargo)
}

fn default_cargo_home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"))
}

/// The image of a recipe; its programs go into Docker's context too.
fn image(recipe: &Recipe, suffix: &str, context: &Path) -> Result<Image> {
    if !recipe.is_complete() {
        return Ok(stand_in(recipe));
    }
    let programs = folder_of_programs()?;
    let mut files = vec![File::text("etc/passwd", PASSWD)];
    for (_, _, program) in recipe.programs {
        let binary = programs.join(program);
        let bytes = fs::read(&binary).with_context(|| format!("no {}", binary.display()))?;
        put_program(&context.join(program), &bytes)?;
        files.push(File::program(program, bytes));
    }
    Ok(Image {
        reference: reference(recipe.name, suffix),
        files,
        user: recipe.user.to_owned(),
        entrypoint: entrypoint(recipe),
        command: Vec::new(),
        labels: labels(recipe.name, recipe.description),
    })
}

/// An image of the same shape around a program that refuses to start.
fn stand_in(recipe: &Recipe) -> Image {
    let program = format!("nacre-{}", recipe.name);
    // No description: locks of the examples hold these labels.
    let mut labels = labels(recipe.name, "");
    labels.insert(STAND_IN_LABEL.to_owned(), "true".to_owned());
    Image {
        reference: reference(recipe.name, ""),
        files: vec![
            File::text("etc/passwd", PASSWD),
            File::program(&program, stand_in::program(&program)),
        ],
        user: recipe.user.to_owned(),
        entrypoint: vec![format!("/{program}")],
        command: Vec::new(),
        labels,
    }
}

fn reference(name: &str, suffix: &str) -> String {
    format!("{REGISTRY}/{name}:v{}{suffix}", env!("CARGO_PKG_VERSION"))
}

fn entrypoint(recipe: &Recipe) -> Vec<String> {
    let first = recipe.programs.first();
    first
        .map(|(_, _, program)| format!("/{program}"))
        .into_iter()
        .collect()
}

fn labels(name: &str, description: &str) -> oci::Labels {
    let mut labels: oci::Labels = [
        ("org.opencontainers.image.title", format!("nacre {name}")),
        (
            "org.opencontainers.image.version",
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        ("org.opencontainers.image.licenses", "Apache-2.0".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    if !description.is_empty() {
        let key = "org.opencontainers.image.description".to_owned();
        labels.insert(key, description.to_owned());
    }
    labels
}

/// Prints an image's size and returns it, in bytes.
fn report(image: &Image) -> u64 {
    let size = image.size();
    println!("{:>10.1} MB  {}", megabytes(size), image.reference);
    size
}

#[allow(clippy::cast_precision_loss, reason = "sizes for people")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The block of a target, up to the next one.
    fn target<'d>(dockerfile: &'d str, name: &str) -> &'d str {
        let start = dockerfile
            .find(&format!("FROM scratch AS {name}\n"))
            .unwrap_or_else(|| panic!("the Dockerfile has no target {name}"));
        let block = &dockerfile[start..];
        let end = block[1..]
            .find("\nFROM ")
            .map_or(block.len(), |end| end + 1);
        &block[..end]
    }

    /// What the block of a target says behind `LABEL`.
    fn written_labels(block: &str) -> oci::Labels {
        let (_, rest) = block.split_once("\nLABEL ").expect("labels");
        let mut labels = oci::Labels::new();
        for line in rest.lines() {
            let pair = line.trim_end_matches('\\').trim();
            let (key, value) = pair.split_once('=').expect("a label");
            labels.insert(key.to_owned(), value.trim_matches('"').to_owned());
            if !line.ends_with('\\') {
                break;
            }
        }
        labels
    }

    #[test]
    fn the_dockerfile_says_the_same() {
        let dockerfile = fs::read_to_string(workspace::root().join("Dockerfile")).unwrap();
        let recipes: Vec<&Recipe> = TOOLS.iter().chain(INJECTED).collect();
        assert_eq!(dockerfile.matches("\nFROM ").count(), recipes.len());
        for recipe in recipes {
            let block = target(&dockerfile, recipe.name);
            let mut expected = vec![
                "COPY passwd /etc/passwd\n".to_owned(),
                format!("ENV {}\n", oci::ENV),
                format!("WORKDIR {}\n", oci::WORKING_DIR),
                format!("USER {}\n", recipe.user),
                format!("ENTRYPOINT [\"{}\"]\n", entrypoint(recipe).join("\", \"")),
            ];
            for (_, _, program) in recipe.programs {
                expected.push(format!("COPY {program} /{program}\n"));
            }
            for part in expected {
                assert!(
                    block.contains(&part),
                    "{}: no {part:?} in\n{block}",
                    recipe.name
                );
            }
            assert_eq!(block.matches("\nCOPY ").count(), 1 + recipe.programs.len());
            assert_eq!(
                written_labels(block),
                labels(recipe.name, recipe.description)
            );
        }
        let dockerfile = workspace::root().join("packages/argocd/Dockerfile");
        let dockerfile = fs::read_to_string(dockerfile).unwrap();
        assert_eq!(
            written_labels(target(&dockerfile, "argocd")),
            labels("argocd", ARGOCD)
        );
    }

    #[test]
    fn simulated_images_are_told_by_tag_and_by_label() {
        assert!(reference("cli", "-insecure").ends_with("-insecure"));
        assert_eq!(TEST_ROOT_LABEL, nacre_imagelock::TEST_ROOT_LABEL);
        for recipe in SIMULATED {
            assert!(recipe.description.contains("tests"));
        }
    }
}
