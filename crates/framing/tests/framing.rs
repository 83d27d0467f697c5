//! Every calling convention, on streams made here and in an environment made here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use nacre_framing::environment::Environment;
use nacre_framing::mode::Program::{self, KrmFunction, PostRenderer};
use nacre_krm::{Path, Stream};
use nacre_manifest::Manifest;
use serde_json::Value;

const WEB: &str = include_str!("data/web.yml");
const SERVICE: &str = include_str!("data/service.yaml");
const CONFIG: &str = include_str!("data/confidential.yaml");
const LOCK: &str = include_str!("data/lock.yaml");

/// A directory with configuration and lock, and an environment that knows nothing else.
struct Sandbox {
    dir: tempfile::TempDir,
    environment: Environment,
}

struct Done {
    code: u8,
    stdout: String,
    stderr: String,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("nacre.yaml"), CONFIG).unwrap();
        fs::write(dir.path().join("nacre.lock.yaml"), LOCK).unwrap();
        let environment = Environment {
            directory: dir.path().to_path_buf(),
            ..Environment::default()
        };
        Self { dir, environment }
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.environment.args = args.iter().map(Into::into).collect();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.variables.insert(name.into(), value.into());
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, program: Program, stdin: impl AsRef<[u8]>) -> Done {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut stdin = stdin.as_ref();
        let code = nacre_framing::run(
            program,
            &self.environment,
            &mut stdin,
            &mut stdout,
            &mut stderr,
        );
        Done {
            code,
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    fn manifest(&self, name: &str) -> Manifest {
        Manifest::parse(&fs::read(self.file(name)).unwrap()).unwrap()
    }
}

/// `CONFIG` with the lock inline, as an orchestrator gives it.
fn function_config() -> Value {
    let read = |text: &str| Stream::parse(text).unwrap().documents()[0].value(&Path::root());
    let mut config = read(CONFIG).unwrap();
    config["spec"]["imageLock"] = read(LOCK).unwrap();
    config
}

fn resource_list(function_config: Option<&Value>, items: &[&str]) -> String {
    let mut text = "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n".to_owned();
    for item in items {
        let indented: String = item.lines().map(|line| format!("  {line}\n")).collect();
        text.push_str(&indented.replacen("  ", "- ", 1));
    }
    if let Some(config) = function_config {
        text.push_str(&format!("functionConfig: {config}\n"));
    }
    text
}

/// The object of the stream or ResourceList with this kind.
fn object(text: &str, kind: &str) -> Option<Value> {
    let stream = Stream::parse(text).unwrap();
    stream.objects().iter().find_map(|at| {
        let value = stream.documents()[at.document].value(&at.base)?;
        (value["kind"] == kind).then_some(value)
    })
}

fn web(text: &str) -> Value {
    object(text, "Deployment").unwrap()
}

fn assert_confidential(text: &str) {
    let spec = &web(text)["spec"]["template"]["spec"];
    let class = spec["runtimeClassName"].as_str().unwrap();
    assert!(class.starts_with("contrast-cc-metal-qemu-snp-"), "{class}");
    assert_eq!(spec["initContainers"][0]["name"], "contrast-initializer");
    let image = spec["containers"][0]["image"].as_str().unwrap();
    assert!(
        image.starts_with("registry.example.org/web:1.0@sha256:"),
        "{image}"
    );
}

const BROKEN: &str = "a: [";

#[test]
fn a_resource_list_comes_out_changed_and_with_the_manifest() {
    let config = function_config();
    let input = resource_list(
        Some(&config),
        &[WEB.trim_start_matches("# the shop's front\n")],
    );
    let sandbox = Sandbox::new();
    let done = sandbox.run(KrmFunction, &input);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_confidential(&done.stdout);
    assert!(done.stdout.contains("name: web # a comment\n"));
    let item = object(&done.stdout, "ConfigMap").unwrap();
    let annotations = &item["metadata"]["annotations"];
    assert_eq!(annotations["config.kubernetes.io/local-config"], "true");
    assert_eq!(
        annotations["config.kubernetes.io/path"],
        "nacre-manifest.yaml"
    );
    assert_eq!(annotations["internal.config.kubernetes.io/index"], "0");
    Manifest::parse(item["data"]["manifest.json"].as_str().unwrap().as_bytes()).unwrap();
    assert!(
        !sandbox.file("manifest.json").exists(),
        "an orchestrator gets an object, not a file"
    );

    let again = sandbox.run(KrmFunction, &done.stdout);
    assert!(again.stdout == done.stdout, "a second run changes nothing");
}

#[test]
fn a_resource_list_reads_no_file_that_nobody_named() {
    let input = resource_list(None, &[WEB.trim_start_matches("# the shop's front\n")]);
    let done = Sandbox::new().run(KrmFunction, input);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("nacre init"), "{}", done.stderr);
}

#[test]
fn configuration_and_lock_may_be_items() {
    let web = WEB.trim_start_matches("# the shop's front\n");
    let input = resource_list(None, &[CONFIG, LOCK, web]);
    let done = Sandbox::new().run(KrmFunction, input);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_confidential(&done.stdout);
}

#[test]
fn on_an_error_a_resource_list_comes_out_as_it_went_in_with_results() {
    let mut config = function_config();
    config["spec"]["imageLock"]["spec"]["images"] = Value::Array(Vec::new());
    let input = resource_list(
        Some(&config),
        &[WEB.trim_start_matches("# the shop's front\n")],
    );
    let report = Sandbox::new().variable("NACRE_REPORT", "report.txt");
    let done = report.run(KrmFunction, &input);
    assert_eq!(done.code, 1);
    let results = done
        .stdout
        .strip_prefix(input.as_str())
        .expect("the input, byte for byte");
    assert!(results.starts_with("results:\n"), "{results}");
    let stream = Stream::parse(done.stdout.as_str()).unwrap();
    let results = stream.documents()[0]
        .value(&Path::root().key("results"))
        .unwrap();
    let missing = results
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["tags"]["code"] == "NCR0301");
    let missing = missing.unwrap();
    assert_eq!(missing["severity"], "error");
    assert_eq!(missing["resourceRef"]["name"], "web");
    assert_eq!(
        missing["field"]["path"],
        "spec.template.spec.containers[0].image"
    );
    // The same text on standard error and in the report.
    assert!(done.stderr.contains("error[NCR0301]: "), "{}", done.stderr);
    assert_eq!(
        fs::read_to_string(report.file("report.txt")).unwrap(),
        done.stderr
    );
}

#[test]
fn a_wrong_configuration_is_a_result_too() {
    let mut config = function_config();
    config["spec"]["platfrom"] = "x".into();
    let input = resource_list(
        Some(&config),
        &[WEB.trim_start_matches("# the shop's front\n")],
    );
    let done = Sandbox::new().run(KrmFunction, &input);
    assert_eq!(done.code, 1);
    assert!(done.stdout.starts_with(&input));
    assert!(
        done.stdout.contains("did you mean `platform`?"),
        "{}",
        done.stdout
    );
}

#[test]
fn results_of_an_earlier_function_are_not_ours() {
    let config = function_config();
    let mut input = resource_list(
        Some(&config),
        &[WEB.trim_start_matches("# the shop's front\n")],
    );
    input.push_str("results:\n- message: old\n");
    let done = Sandbox::new().run(KrmFunction, &input);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(!done.stdout.contains("message: old"));
}

#[test]
fn findings_of_an_item_name_its_file() {
    let mut config = function_config();
    config["spec"]["imageLock"]["spec"]["images"] = Value::Array(Vec::new());
    let web = WEB.trim_start_matches("# the shop's front\n").replacen(
        "  namespace: shop\n",
        "  namespace: shop\n  annotations:\n    config.kubernetes.io/path: app/web.yaml\n    \
         config.kubernetes.io/index: '3'\n",
        1,
    );
    let done = Sandbox::new().run(KrmFunction, resource_list(Some(&config), &[&web]));
    assert!(
        done.stderr.contains("--> app/web.yaml (document 3)"),
        "{}",
        done.stderr
    );
    assert!(
        done.stdout.contains("path: app/web.yaml\n    index: 3\n"),
        "{}",
        done.stdout
    );
}

#[test]
fn a_stream_comes_out_changed_and_the_rest_byte_for_byte() {
    let sandbox = Sandbox::new().variable("NACRE_MANIFEST_OUT", "out.json");
    let input = format!("{WEB}---\n{SERVICE}");
    let done = sandbox.run(KrmFunction, &input);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_confidential(&done.stdout);
    assert!(done.stdout.starts_with("# the shop's front\n"));
    assert!(done.stdout.ends_with(&format!("---\n{SERVICE}")));
    assert_eq!(sandbox.manifest("out.json").policies.len(), 2);
    assert!(sandbox.run(KrmFunction, &done.stdout).stdout == done.stdout);
}

#[test]
fn a_stream_with_an_error_gives_nothing() {
    let inputs: [(&[u8], &str); 7] = [
        (b"", "NCR0909"),
        (b"# nothing\n---\n", "NCR0909"),
        (BROKEN.as_bytes(), "NCR01"),
        (b"a: \xff\n", "NCR0906"),
        (b"kind: ResourceList\napiVersion: config.kubernetes.io/v9\n", "NCR01"),
        (b"kind: Pod\nmetadata: {name: a}\nmetadata: {name: b}\n", "NCR0104"),
        (
            b"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {runtimeClassName: contrast-cc}\n",
            "NCR04",
        ),
    ];
    for (input, code) in inputs {
        let sandbox = Sandbox::new().variable("NACRE_MANIFEST_OUT", "out.json");
        let done = sandbox.run(KrmFunction, input);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert_eq!(done.stdout, "");
        assert!(
            done.stderr.contains(&format!("error[{code}")),
            "{code}: {}",
            done.stderr
        );
        assert!(!sandbox.file("out.json").exists());
    }
}

#[test]
fn helm_needs_a_namespace_and_says_how_to_give_it() {
    let chart = WEB.replace("  namespace: shop\n", "");
    let done = Sandbox::new().run(PostRenderer, &chart);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(done.stderr.contains("namespace"), "{}", done.stderr);
    for (name, value) in [("NACRE_NAMESPACE", "shop"), ("HELM_NAMESPACE", "shop")] {
        let sandbox = Sandbox::new().variable(name, value);
        let done = sandbox.run(PostRenderer, &chart);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_confidential(&done.stdout);
        let identities: Vec<String> = sandbox
            .manifest("manifest.json")
            .policies
            .values()
            .filter_map(|entry| Some(entry.identity.as_ref()?.to_string()))
            .collect();
        assert_eq!(identities, ["shop/Deployment/web"]);
    }
    let done = Sandbox::new()
        .args(&["--namespace", "shop"])
        .run(PostRenderer, &chart);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn a_configured_namespace_is_stronger_than_that_of_helm() {
    let chart = WEB.replace("  namespace: shop\n", "");
    let sandbox = Sandbox::new().variable("HELM_NAMESPACE", "other");
    let config = CONFIG.replace("spec:\n", "spec:\n  namespace: shop\n");
    fs::write(sandbox.file("nacre.yaml"), config).unwrap();
    assert_eq!(sandbox.run(PostRenderer, &chart).code, 0);
    let manifest = String::from_utf8(sandbox.manifest("manifest.json").to_bytes()).unwrap();
    assert!(
        manifest.contains("\"shop\"") && !manifest.contains("\"other\""),
        "{manifest}"
    );
}

#[test]
fn helm_three_may_hide_hooks_and_helm_four_does_not() {
    let done = Sandbox::new().run(PostRenderer, WEB);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("warning[NCR0912]"), "{}", done.stderr);

    let file = "    postrenderer.helm.sh/postrender-filename: 'demo/templates/web.yaml'\n";
    let four = WEB.replacen(
        "  namespace: shop\n",
        &format!("  namespace: shop\n  annotations:\n{file}"),
        1,
    );
    let done = Sandbox::new()
        .variable("HELM_PLUGIN_NAME", "nacre-post-renderer")
        .run(PostRenderer, four);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(!done.stderr.contains("NCR0912"), "{}", done.stderr);
    assert!(
        done.stdout.contains(file),
        "the annotation is kept as it was written"
    );
}

#[test]
fn a_failing_helm_plugin_leaves_its_reason_in_the_report() {
    let chart = WEB.replace("web:1.0", "web:2.0");
    let sandbox = Sandbox::new().variable("NACRE_REPORT", "why.txt");
    let done = sandbox.run(PostRenderer, &chart);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    let why = fs::read_to_string(sandbox.file("why.txt")).unwrap();
    assert!(why.contains("registry.example.org/web:2.0"), "{why}");
    assert!(!sandbox.file("manifest.json").exists());
}

#[test]
fn a_legacy_plugin_gets_its_configuration_as_a_file() {
    let config = format!("argsOneLiner: ''\n{CONFIG}");
    let id = "    kustomize.config.k8s.io/id: |\n      kind: Deployment\n";
    let input = WEB.replacen(
        "  namespace: shop\n",
        &format!("  namespace: shop\n  annotations:\n{id}"),
        1,
    );
    let sandbox = Sandbox::new().variable("KUSTOMIZE_PLUGIN_CONFIG_STRING", &config);
    fs::write(sandbox.file("config-123"), &config).unwrap();
    // Neither plugin of another tool around it nor files in the directory are looked at.
    fs::write(sandbox.file("nacre.yaml"), BROKEN).unwrap();
    fs::remove_file(sandbox.file("nacre.lock.yaml")).unwrap();
    let sandbox = sandbox
        .variable("NACRE_LOCK", "images.yaml")
        .variable("HELM_PLUGIN_NAME", "x")
        .args(&["config-123"]);
    fs::write(sandbox.file("images.yaml"), LOCK).unwrap();
    let done = sandbox.run(KrmFunction, &input);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_confidential(&done.stdout);
    assert!(
        done.stdout.contains(id),
        "kustomize finds its objects by this annotation"
    );
    assert!(!sandbox.file("manifest.json").exists());

    let done = sandbox
        .args(&["config-123", "more"])
        .run(KrmFunction, &input);
    assert_eq!((done.code, done.stdout.as_str()), (2, ""));
}

#[test]
fn the_standalone_form_takes_configuration_files_and_a_dash() {
    let sandbox = Sandbox::new().args(&["nacre.yaml", "resources", "-"]);
    fs::create_dir(sandbox.file("resources")).unwrap();
    fs::write(sandbox.file("resources/service.yaml"), SERVICE).unwrap();
    let done = sandbox.run(KrmFunction, WEB);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.starts_with(SERVICE), "{}", done.stdout);
    assert_confidential(&done.stdout);
    for args in [
        &["nacre.yaml"][..],
        &["nacre.yaml", "missing.yaml"],
        &["web.yml", "-"],
    ] {
        let done = Sandbox::new().args(args).run(KrmFunction, WEB);
        assert_ne!(done.code, 0);
        assert_eq!(done.stdout, "");
    }
}

#[test]
fn the_mode_that_is_asked_for_is_not_second_guessed() {
    let done = Sandbox::new()
        .args(&["--mode", "krm"])
        .run(KrmFunction, WEB);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(done.stderr.contains("holds no ResourceList"));
    let chart = WEB.replace("  namespace: shop\n", "");
    let done = Sandbox::new()
        .variable("NACRE_MODE", "helm")
        .run(KrmFunction, chart);
    assert_eq!(done.code, 1, "Helm mode wants a namespace");
    let done = Sandbox::new().args(&["a.yaml"]).run(PostRenderer, WEB);
    assert_eq!(done.code, 2, "a post-renderer takes no files");
}

#[test]
fn the_manifest_can_go_to_the_cluster_or_into_a_mounted_folder() {
    let sandbox = Sandbox::new().variable("NACRE_MANIFEST_EMIT_CONFIG_MAP", "true");
    let done = sandbox.run(PostRenderer, WEB);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(object(&done.stdout, "ConfigMap").is_some());
    assert!(sandbox.run(PostRenderer, &done.stdout).stdout == done.stdout);

    let sandbox = Sandbox::new();
    let path = sandbox.file("out.json");
    let sandbox = sandbox.variable("NACRE_MANIFEST_OUT", path.to_str().unwrap());
    let config = function_config();
    let input = resource_list(
        Some(&config),
        &[WEB.trim_start_matches("# the shop's front\n")],
    );
    let done = sandbox.run(KrmFunction, input);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let item = object(&done.stdout, "ConfigMap").unwrap();
    assert_eq!(
        item["metadata"]["annotations"]["config.kubernetes.io/path"],
        "nacre-manifest.yaml"
    );
    assert_eq!(
        item["data"]["manifest.json"].as_str().unwrap().as_bytes(),
        fs::read(sandbox.file("out.json")).unwrap()
    );
}

/// A reader that goes away after some bytes.
struct Closing(usize);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0 {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            left => {
                let taken = bytes.len().min(left);
                self.0 -= taken;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_standard_output_is_a_failure_and_leaves_no_manifest() {
    for accepted in [0, 10] {
        let sandbox = Sandbox::new();
        let mut stderr = Vec::new();
        let code = nacre_framing::run(
            PostRenderer,
            &sandbox.environment,
            &mut WEB.as_bytes(),
            &mut Closing(accepted),
            &mut stderr,
        );
        assert_eq!(code, 1);
        assert!(
            String::from_utf8(stderr)
                .unwrap()
                .contains("error[NCR0903]")
        );
        assert!(!sandbox.file("manifest.json").exists());
    }
}

#[test]
fn a_manifest_or_report_that_cannot_be_written_stops_the_output() {
    for variable in ["NACRE_MANIFEST_OUT", "NACRE_REPORT"] {
        let done = Sandbox::new()
            .variable(variable, "no/such/dir/file")
            .run(PostRenderer, WEB);
        assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{variable}");
        assert!(done.stderr.contains("error[NCR0902]"), "{}", done.stderr);
    }
}

#[test]
fn input_over_the_limit_is_refused() {
    let done = Sandbox::new()
        .variable("NACRE_MAX_INPUT", "100")
        .run(KrmFunction, WEB);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(done.stderr.contains("error[NCR0905]"), "{}", done.stderr);
}

#[test]
fn help_is_markdown_and_needs_no_input() {
    for program in [KrmFunction, PostRenderer] {
        let done = Sandbox::new().args(&["--help"]).run(program, "");
        assert_eq!(done.code, 0);
        assert!(done.stdout.starts_with(&format!("# {}\n", program.name())));
        assert!(
            done.stdout.contains("workloadOwners"),
            "the configuration is described"
        );
    }
    let done = Sandbox::new().args(&["--version"]).run(KrmFunction, "");
    assert_eq!(
        done.stdout,
        format!("nacre-krm-fn {}\n", env!("CARGO_PKG_VERSION"))
    );
    let done = Sandbox::new().args(&["--nope"]).run(KrmFunction, "");
    assert_eq!((done.code, done.stdout.as_str()), (2, ""));
}

#[test]
fn machine_readable_findings_stay_machine_readable() {
    let chart = WEB.replace("web:1.0", "web:2.0");
    let done = Sandbox::new()
        .args(&["--format", "json"])
        .run(PostRenderer, &chart);
    let value: Value = serde_json::from_str(&done.stderr).unwrap();
    assert!(
        value["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["code"] == "NCR0301")
    );
    let done = Sandbox::new()
        .variable("NACRE_FORMAT", "github")
        .run(PostRenderer, &chart);
    assert!(
        done.stderr.lines().all(|line| line.starts_with("::")),
        "{}",
        done.stderr
    );
}
