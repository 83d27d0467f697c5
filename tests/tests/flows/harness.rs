//! A place to run programs in: a folder of its own and an environment that holds nothing else.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nacre_krm::Stream;
use serde_json::Value;
use tempfile::TempDir;

/// Real tools, by the variable that `cargo xtask test` sets.
pub(crate) const KUSTOMIZE: &str = "NACRE_TEST_KUSTOMIZE";
pub(crate) const KUBECTL: &str = "NACRE_TEST_KUBECTL";
pub(crate) const KUBECTL_1_32: &str = "NACRE_TEST_KUBECTL_1_32";
pub(crate) const HELM3: &str = "NACRE_TEST_HELM3";
pub(crate) const HELM4: &str = "NACRE_TEST_HELM4";
pub(crate) const KPT: &str = "NACRE_TEST_KPT";
pub(crate) const DOCKER: &str = "NACRE_TEST_DOCKER";

/// The programs that users of the left half run.
const PROGRAMS: [&str; 3] = ["nacre", "nacre-krm-fn", "nacre-post-renderer"];

/// What `cargo xtask test` says with a variable.
pub(crate) fn given(variable: &str) -> PathBuf {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    let value = value.unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test`"));
    let path = PathBuf::from(value);
    assert!(path.exists(), "{variable}: there is no {}", path.display());
    path
}

/// One of our programs as it is shipped.
pub(crate) fn program(name: &str) -> PathBuf {
    given("NACRE_TEST_PROGRAMS").join(name)
}

/// The root of the work tree.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// A folder that is removed afterwards, with a home and a `bin` of our programs.
pub(crate) struct Place {
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

/// How a program ended and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    /// An empty place.
    pub(crate) fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "home", "app"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in PROGRAMS {
            symlink(program(name), folder.path().join("bin").join(name)).unwrap();
        }
        Place {
            folder,
            variables: BTreeMap::new(),
        }
    }

    /// A place with a copy of a folder of `examples/`, as a user has it before the first run.
    pub(crate) fn with_example(name: &str) -> Place {
        let place = Place::new();
        copy(&root().join("examples").join(name), &place.app());
        place
    }

    /// The folder in which programs run.
    pub(crate) fn app(&self) -> PathBuf {
        self.folder.path().join("app")
    }

    /// The folder that comes first in PATH.
    pub(crate) fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// A path in the folder in which programs run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.app().join(name)
    }

    /// A path of the user's, outside of the application.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join("home").join(name)
    }

    /// Sets a variable for everything that is run here from now on.
    pub(crate) fn set(&mut self, variable: &str, value: impl AsRef<OsStr>) -> &mut Place {
        let value = value.as_ref().to_str().unwrap().to_owned();
        self.variables.insert(variable.to_owned(), value);
        self
    }

    /// Writes a file of the application.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file of the application.
    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Changes the text of a file of the application.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} does not hold {from:?}");
        self.write(name, &text.replace(from, to));
    }

    /// Every file of a folder, by its path there.
    pub(crate) fn files(&self, folder: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        read_all(&self.path(folder), "", &mut found);
        found
    }

    /// Runs one of our programs.
    pub(crate) fn ours(&self, name: &str, arguments: &[&str], stdin: &str) -> Ended {
        self.run(&program(name), arguments, stdin)
    }

    /// Runs a real tool, named by its variable.
    pub(crate) fn tool(&self, variable: &str, arguments: &[&str]) -> Ended {
        self.run(&given(variable), arguments, "")
    }

    /// Runs a program in the application's folder.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str], stdin: &str) -> Ended {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.folder.path().join("bin");
        command.args(arguments).current_dir(self.app()).env_clear();
        command.env("PATH", format!("{}:{path}", bin.display()));
        command.env("HOME", self.folder.path().join("home"));
        if let Some(host) = std::env::var_os("DOCKER_HOST") {
            command.env("DOCKER_HOST", host);
        }
        command.envs(&self.variables);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut input = child.stdin.take().unwrap();
        let text = stdin.to_owned();
        // A program that fails early does not read on; that is for its exit code to say.
        let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Standard output of a program that ended well.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Standard error of a program that ended badly.
    pub(crate) fn failed(self) -> String {
        assert!(
            !self.stderr.is_empty() && self.code != Some(0),
            "{:?}: {}",
            self.code,
            self.stdout
        );
        self.stderr
    }
}

/// The objects of a YAML stream.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let stream = Stream::parse(text).unwrap();
    let value =
        |at: &nacre_krm::ObjectRef| stream.documents()[at.document].value(&at.base).unwrap();
    stream.objects().iter().map(value).collect()
}

/// The object of that kind and name.
pub(crate) fn object(text: &str, kind: &str, name: &str) -> Value {
    let found = objects(text)
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in\n{text}"))
}

/// Kind and name → what the platform gets to know of the policy, for every workload that has one.
pub(crate) fn carried(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for object in objects(text) {
        let template = match object["kind"].as_str() {
            Some("CronJob") => &object["spec"]["jobTemplate"]["spec"]["template"],
            Some("Pod") => &object,
            _ => &object["spec"]["template"],
        };
        let annotations = template["metadata"]["annotations"].as_object();
        for (key, value) in annotations.into_iter().flatten() {
            if key == "io.katacontainers.config.hypervisor.cc_init_data"
                || key == "io.katacontainers.config.agent.policy"
            {
                let name = format!(
                    "{}/{}",
                    text_of(&object["kind"]),
                    text_of(&object["metadata"]["name"])
                );
                found.insert(name, text_of(value).to_owned());
            }
        }
    }
    found
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Compares with a file that is checked in; `NACRE_BLESS=1` writes it.
pub(crate) fn assert_is_file(path: &Path, found: &str) {
    if std::env::var_os("NACRE_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; NACRE_BLESS=1 writes it", path.display()));
    if expected != found {
        let first = expected
            .lines()
            .zip(found.lines())
            .position(|(expected, found)| expected != found);
        let line = first.unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
        panic!(
            "{} differs from line {}; NACRE_BLESS=1 writes it anew\nexpected: {:?}\nfound:    {:?}",
            path.display(),
            line + 1,
            expected.lines().nth(line),
            found.lines().nth(line),
        );
    }
}

/// Copies a folder, leaving out what a test compares with and sources of images.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == "expected" || name == "src" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

fn read_all(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_all(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
}
