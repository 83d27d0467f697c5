use std::fs;

use serde_json::json;

use super::*;

const CONFIG: &str = "apiVersion: nacre.dev/v1alpha1\nkind: Confidential\nspec:\n";
const LOCK: &str = "apiVersion: nacre.dev/v1alpha1\nkind: ImageLock\nmetadata:\n  name: images\nspec:\n  images:\n";

struct Case {
    dir: tempfile::TempDir,
    environment: Environment,
    request: Request,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            directory: dir.path().to_path_buf(),
            ..Environment::default()
        };
        let request = Request {
            workspace: Some(PathBuf::new()),
            ..Request::default()
        };
        Self {
            dir,
            environment,
            request,
        }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.dir.path().join(name), content).unwrap();
        PathBuf::from(name)
    }

    fn config(&self, name: &str, namespace: &str) -> PathBuf {
        self.file(name, &format!("{CONFIG}  namespace: {namespace}\n"))
    }

    fn variable(&mut self, name: &str, value: &str) {
        self.environment.variables.insert(name.into(), value.into());
    }

    fn resolve(&self, given: Option<&Value>, input: &str) -> Result<Settings, Vec<Finding>> {
        let stream = Stream::parse(input).unwrap();
        let given = given.map(|value| Given {
            value: value.clone(),
            name: "functionConfig".to_owned(),
        });
        let supplied = [Supplied {
            file: Some("in.yml"),
            stream: &stream,
        }];
        resolve(&self.environment, &self.request, given.as_ref(), &supplied)
    }

    fn namespace(&self, given: Option<&Value>, input: &str) -> Option<String> {
        self.resolve(given, input).unwrap().config.namespace
    }
}

fn item(namespace: &str) -> String {
    format!("{CONFIG}  namespace: {namespace}\n---\n")
}

fn entry(image: &str, digit: char) -> String {
    let digest = digit.to_string().repeat(64);
    format!(
        "    - reference: {image}\n      digest: sha256:{digest}\n      platform: linux/amd64\n"
    )
}

#[test]
fn the_first_source_that_is_there_counts() {
    let mut case = Case::new();
    assert_eq!(case.namespace(None, ""), None);
    case.config("nacre.yaml", "default-file");
    assert_eq!(case.namespace(None, "").as_deref(), Some("default-file"));
    let input = item("item");
    assert_eq!(case.namespace(None, &input).as_deref(), Some("item"));
    let file = case.config("env.yaml", "env-file");
    case.variable("NACRE_CONFIG", file.to_str().unwrap());
    assert_eq!(case.namespace(None, &input).as_deref(), Some("env-file"));
    case.request.config = Some(case.config("flag.yaml", "flag-file"));
    assert_eq!(case.namespace(None, &input).as_deref(), Some("flag-file"));
    let given =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "namespace": "given" } });
    assert_eq!(
        case.namespace(Some(&given), &input).as_deref(),
        Some("given")
    );
    case.variable("NACRE_NAMESPACE", "variable");
    assert_eq!(
        case.namespace(Some(&given), &input).as_deref(),
        Some("variable")
    );
    case.request
        .overrides
        .insert("namespace".into(), "flag".into());
    assert_eq!(
        case.namespace(Some(&given), &input).as_deref(),
        Some("flag")
    );
}

#[test]
fn without_a_workspace_no_file_is_read_that_nobody_named() {
    let mut case = Case::new();
    case.config("nacre.yaml", "default-file");
    case.file("nacre.lock.yaml", "broken: [");
    case.file("coordinator.yml", "broken: [");
    case.request.workspace = None;
    assert_eq!(case.namespace(None, ""), None);
}

#[test]
fn two_different_configurations_in_the_input_are_a_mistake() {
    let case = Case::new();
    let same = format!("{}{}", item("a"), item("a"));
    assert_eq!(case.namespace(None, &same).as_deref(), Some("a"));
    let findings = case
        .resolve(None, &format!("{}{}", item("a"), item("b")))
        .unwrap_err();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code.number(), 205);
    assert_eq!(findings[0].location.to_string(), "in.yml:7:7");
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    let case = Case::new();
    let input = format!("{CONFIG}  platfrom: x\n  strict: perhaps\n");
    let findings = case.resolve(None, &input).unwrap_err();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert_eq!(findings[0].code, codes::config::UNKNOWN_FIELD);
    assert_eq!(
        findings[0].help.as_deref(),
        Some("did you mean `platform`?")
    );
    assert_eq!(findings[0].location.to_string(), "in.yml:4:13");
    assert_eq!(findings[1].location.line, Some(5));
}

#[test]
fn a_file_that_is_named_must_exist_and_be_a_configuration() {
    let mut case = Case::new();
    case.request.config = Some("missing.yaml".into());
    let findings = case.resolve(None, "").unwrap_err();
    assert_eq!(findings[0].code, codes::cli::NO_CONFIGURATION_FILE);
    case.request.config = Some(case.file("pod.yaml", "kind: Pod\n"));
    let findings = case.resolve(None, "").unwrap_err();
    assert_eq!(findings[0].code.number(), 206);
    case.request.config = Some(case.file("bad.yaml", "a: ["));
    let findings = case.resolve(None, "").unwrap_err();
    assert!(
        findings[0]
            .location
            .file
            .as_deref()
            .unwrap()
            .ends_with("bad.yaml")
    );
}

#[test]
fn a_wrong_variable_or_flag_says_where_it_comes_from() {
    let mut case = Case::new();
    case.variable("NACRE_STRICT", "perhaps");
    let findings = case.resolve(None, "").unwrap_err();
    assert!(
        findings[0].message.starts_with("environment: "),
        "{}",
        findings[0].message
    );
    case.variable("NACRE_STRICT", "true");
    assert!(case.resolve(None, "").unwrap().config.strict);
    case.request
        .overrides
        .insert("strict".into(), "perhaps".into());
    let findings = case.resolve(None, "").unwrap_err();
    assert!(
        findings[0].message.starts_with("command line: "),
        "{}",
        findings[0].message
    );
}

#[test]
fn locks_are_merged_and_contradictions_refused() {
    let mut case = Case::new();
    case.file("nacre.lock.yaml", &format!("{LOCK}{}", entry("a:1", '1')));
    assert_eq!(case.resolve(None, "").unwrap().lock.len(), 1);
    let item = format!("{LOCK}{}", entry("b:1", '2'));
    // An object in the input takes the place of the default file.
    assert_eq!(case.resolve(None, &item).unwrap().lock.len(), 1);
    case.request.locks = vec!["nacre.lock.yaml".into()];
    assert_eq!(case.resolve(None, &item).unwrap().lock.len(), 2);
    let other = format!("{LOCK}{}", entry("a:1", '3'));
    let findings = case.resolve(None, &other).unwrap_err();
    assert_eq!(findings[0].code, codes::lock::LOCK_CONFLICT);
}

#[test]
fn a_malformed_lock_names_the_entry() {
    let case = Case::new();
    let input = format!("{LOCK}    - reference: a:1\n      digest: sha256:zz\n");
    let findings = case.resolve(None, &input).unwrap_err();
    let digest = findings
        .iter()
        .find(|f| f.location.line == Some(8))
        .unwrap();
    assert_eq!(digest.code, codes::lock::LOCK_INVALID);
    assert_eq!(digest.field.as_deref(), Some("spec.images[0].digest"));
}

#[test]
fn a_previous_manifest_must_be_one() {
    let mut case = Case::new();
    case.request.previous = Some(case.file("old.json", "{}"));
    let findings = case.resolve(None, "").unwrap_err();
    assert!(
        findings[0].message.contains("cannot be carried over"),
        "{}",
        findings[0].message
    );
}

#[test]
fn the_lock_of_the_release_lies_beneath_that_of_the_user() {
    let digest = |byte: &str| format!("sha256:{}", byte.repeat(32));
    let lock = |mesh: &str, more: Option<&str>| {
        let mut lock = ImageLock::default();
        let mut insert = |reference: &str, digest: &str| {
            let reference = nacre_imagelock::ImageReference::parse(reference).unwrap();
            lock.insert(nacre_imagelock::Entry::new(
                reference,
                digest.parse().unwrap(),
            ));
        };
        insert("example.org/mesh:v1", mesh);
        if let Some(reference) = more {
            insert(reference, &digest("cc"));
        }
        lock
    };
    let release = lock(&digest("aa"), Some("example.org/initializer:v1"));
    let release = release.to_value().to_string();
    let all = over_release(Some(&release), lock(&digest("bb"), None)).unwrap();
    let entry = |image: &str| all.lookup(image).unwrap().digest.to_string();
    assert_eq!(entry("example.org/mesh:v1"), digest("bb"));
    assert_eq!(entry("example.org/initializer:v1"), digest("cc"));
    assert_eq!(over_release(None, all.clone()).unwrap(), all);
    assert_eq!(
        over_release(Some("{"), all).unwrap_err().code,
        codes::cli::INTERNAL
    );
}
