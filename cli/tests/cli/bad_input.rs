//! Input that must be refused: exit code, one message with place and code, inputs untouched, and
//! standard output empty.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::common::{CONFIG, LOCK, SERVICE, TestEnvironment, WEB};

/// Files that are refused as a whole directory: nothing in it may change, and no key or manifest
/// may appear.
#[track_caller]
fn refused_in_place(environment: &TestEnvironment, finding: &str, place: &str) {
    let before = environment.files();
    let done = environment
        .run(&["generate", "resources"])
        .refused(1, finding);
    assert!(
        done.stderr.contains(&format!("--> {place}")),
        "{}",
        done.stderr
    );
    assert_eq!(environment.files(), before, "nothing may change");
}

/// The workload of the fixture with one text replaced.
#[track_caller]
fn shop_with(from: &str, to: &str) -> TestEnvironment {
    let environment = TestEnvironment::shop();
    assert!(WEB.contains(from));
    environment.write("resources/web.yml", WEB.replacen(from, to, 1));
    environment
}

#[test]
fn not_yaml() {
    let environment = TestEnvironment::shop();
    environment.write("resources/x.yml", "a: [1,\nb");
    refused_in_place(&environment, "NCR0102", "resources/x.yml:");
}

#[test]
fn empty_stdin() {
    let environment = TestEnvironment::shop();
    let before = environment.files();
    environment
        .pipe(&["generate", "-"], "")
        .refused(1, "NCR0909");
    environment
        .pipe(&["generate", "-"], "# only a comment\n")
        .refused(1, "NCR0909");
    assert_eq!(environment.files(), before);
}

#[test]
fn a_non_krm_document() {
    let environment = TestEnvironment::shop();
    environment.write(
        "resources/values.yaml",
        format!("{SERVICE}---\njust: data\n"),
    );
    refused_in_place(&environment, "NCR0717", "resources/values.yaml:8:1");
    let done = environment.pipe(&["generate", "-"], "just: data\n");
    done.refused(1, "NCR0717");
}

#[test]
fn a_pod_without_containers() {
    let environment = shop_with(
        "      containers:\n",
        "      containers: []\n      volumes:\n",
    );
    environment.write(
        "resources/web.yml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec:\n  runtimeClassName: contrast-cc\n",
    );
    refused_in_place(&environment, "NCR0401", "resources/web.yml:");
}

#[test]
fn an_unknown_field_in_our_configuration() {
    let environment = TestEnvironment::shop();
    environment.write("nacre.yaml", CONFIG.replacen("platform:", "platfrom:", 1));
    let before = environment.files();
    let done = environment
        .run(&["generate", "resources"])
        .refused(1, "NCR0201");
    assert!(done.stderr.contains("--> nacre.yaml:"), "{}", done.stderr);
    assert!(
        done.stderr.contains("did you mean `platform`?"),
        "{}",
        done.stderr
    );
    assert_eq!(environment.files(), before);
}

#[test]
fn two_contradicting_annotations() {
    let environment = shop_with(
        "  namespace: shop\n",
        "  namespace: shop\n  annotations:\n    contrast.edgeless.systems/skip-initializer: \"true\"\n    \
         nacre.dev/skip-initializer: \"false\"\n",
    );
    refused_in_place(&environment, "NCR04", "resources/web.yml:");
}

#[test]
fn an_image_without_digest_that_is_not_in_the_lock() {
    let environment = shop_with("web:1.0", "web:2.0");
    refused_in_place(&environment, "NCR0301", "resources/web.yml:18:18");
}

#[test]
fn a_malformed_digest_in_the_lock() {
    let environment = TestEnvironment::shop();
    environment.write("nacre.lock.yaml", LOCK.replacen("sha256:", "sha256:zz", 1));
    refused_in_place(&environment, "NCR0307", "nacre.lock.yaml:10:");
}

#[test]
fn a_volume_of_our_name_that_is_no_empty_dir() {
    let environment = shop_with(
        "      containers:\n",
        "      volumes:\n        - name: contrast-tls-certs\n          hostPath: {path: /etc}\n      containers:\n",
    );
    refused_in_place(&environment, "NCR04", "resources/web.yml:");
}

#[test]
fn mesh_egress_outside_of_loopback_and_two_listeners_on_one_address() {
    for egress in [
        "backend#10.0.0.1:4001#backend:4001",
        "a#127.0.0.2:4001#a:4001##b#127.0.0.2:4001#b:4001",
    ] {
        let environment = shop_with(
            "  namespace: shop\n",
            &format!(
                "  namespace: shop\n  annotations:\n    \
                 contrast.edgeless.systems/servicemesh-egress: \"{egress}\"\n"
            ),
        );
        refused_in_place(&environment, "NCR04", "resources/web.yml:");
    }
}

#[test]
fn an_absent_namespace() {
    let environment = shop_with("  namespace: shop\n", "");
    let before = environment.files();
    let done = environment.run(&["generate", "--strict", "resources"]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    assert!(done.stderr.contains("namespace"), "{}", done.stderr);
    assert_eq!(environment.files(), before);
    let done = environment.run(&["generate", "resources"]).success();
    assert!(done.stderr.contains("warning["), "{}", done.stderr);
    assert!(done.stderr.contains("default"), "{}", done.stderr);
}

#[test]
fn the_same_workload_twice() {
    // The very same object is tolerated: Helm 4 may give it as a hook and as a template.
    let environment = TestEnvironment::shop();
    environment.write("resources/web2.yml", WEB.replace("hello", "goodbye"));
    refused_in_place(&environment, "NCR07", "resources/web");
}

#[test]
fn the_value_of_a_secret_appears_nowhere() {
    const VALUE: &str = "c2VjcmV0LXZhbHVlLTQyNDI=";
    const PLAIN: &str = "secret-value-4242";
    let environment = shop_with(
        "            - {name: GREETING, value: \"hello\"}\n",
        "            - name: PASSWORD\n              valueFrom: {secretKeyRef: {name: login, key: password}}\n",
    );
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: shop}}\ndata: {{password: {VALUE}}}\n"
    );
    environment.write("resources/secret.yml", &secret);
    environment.write(
        "nacre.yaml",
        format!("{CONFIG}  selfCheck: false\n  policy: {{allowSecretEnv: [login]}}\n"),
    );
    for args in [
        &["generate", "--report", "report.txt", "resources"][..],
        &[
            "--output",
            "json",
            "generate",
            "--format",
            "sarif",
            "--check",
            "resources",
        ],
    ] {
        let done = environment.run(args);
        for (path, content) in environment.files() {
            let text = String::from_utf8_lossy(&content);
            let expected = path.ends_with("secret.yml");
            assert!(
                expected || !leaks(&text, VALUE, PLAIN),
                "{} in {args:?}",
                path.display()
            );
        }
        assert!(!leaks(&done.stdout, VALUE, PLAIN) && !leaks(&done.stderr, VALUE, PLAIN));
        assert_eq!(done.code, Some(0), "{}", done.shown());
    }
    assert_eq!(environment.read("resources/secret.yml"), secret);
}

/// True when a text holds the value: plain, encoded, or inside the policy that an annotation holds.
fn leaks(text: &str, value: &str, plain: &str) -> bool {
    let direct = text.contains(value) || text.contains(plain);
    let decoded = text.split(|ch: char| !(ch.is_ascii_alphanumeric() || "+/=".contains(ch)));
    direct
        || decoded.filter(|word| word.len() > 200).any(|word| {
            let Some(bytes) = decode(word) else {
                return false;
            };
            let bytes = gunzip(&bytes).unwrap_or(bytes);
            let inner = String::from_utf8_lossy(&bytes);
            inner.contains(value) || inner.contains(plain)
        })
}

fn decode(word: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(word).ok()
}

fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut out)
        .ok()?;
    Some(out)
}

#[test]
fn closed_stdout() {
    let environment = TestEnvironment::shop();
    let before = environment.files();
    // A reader that goes away at once, and a descriptor that the parent has closed.
    for (script, expected) in [
        (
            "nacre generate - < resources/web.yml | true; echo ${PIPESTATUS[0]} >&2",
            "1\n",
        ),
        (
            "nacre generate - < resources/web.yml >&-; echo $? >&2",
            "1\n",
        ),
        (
            "nacre generate - < resources/web.yml > /dev/full; echo $? >&2",
            "1\n",
        ),
    ] {
        let script = script.replacen("nacre", env!("CARGO_BIN_EXE_nacre"), 1);
        // The pipe must be closed before the program writes: its input waits for that.
        let script = script.replacen("< resources", "< <(sleep 0.3; cat resources", 1);
        let script = script.replacen("web.yml", "web.yml)", 1);
        let output = environment
            .program("bash")
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.ends_with(expected), "{script}: {stderr}");
        assert!(stderr.contains("error[NCR090"), "{script}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(environment.files(), before, "no manifest either: {script}");
    }
}

#[test]
fn a_full_disk_during_an_in_place_write() {
    // Files may grow to 4 KiB only: the Service still fits, the workload with its policy does not.
    let environment = TestEnvironment::shop();
    let before = environment.files();
    let script = format!(
        "trap '' XFSZ; ulimit -f 4; exec {} generate resources",
        env!("CARGO_BIN_EXE_nacre")
    );
    let output = environment
        .program("bash")
        .args(["-c", &script])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("error[NCR0902]: cannot write resources/web.yml"),
        "{stderr}"
    );
    assert!(output.stdout.is_empty());
    assert_eq!(
        environment.files(),
        before,
        "no file is changed, none is left over"
    );
}

#[test]
fn a_full_file_system_during_an_in_place_write() {
    let environment = TestEnvironment::empty();
    let mount = environment.path("small");
    fs::create_dir(&mount).unwrap();
    let mounted = environment
        .program("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
        .arg(&mount)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        // Mounting needs root; the limit on file size above covers the same path without it.
        return;
    }
    environment.write("small/web.yml", WEB);
    environment.write("nacre.yaml", CONFIG);
    environment.write("nacre.lock.yaml", LOCK);
    environment.write("small/fill", vec![b'x'; 8 << 10]);
    let before = environment.files();
    let done = environment.run(&["generate", "small"]);
    let after = environment.files();
    let unmounted = environment.program("umount").arg(&mount).status();
    let done = done.refused(1, "NCR0902");
    assert!(
        done.stderr.contains("No space left on device"),
        "{}",
        done.stderr
    );
    assert_eq!(after, before);
    assert!(unmounted.unwrap().success());
}

#[test]
fn a_file_that_must_not_be_written_stops_all() {
    let environment = TestEnvironment::shop();
    symlink("nowhere", environment.path("resources/dangling.yml")).unwrap();
    let web = environment.read("resources/web.yml");
    environment
        .run(&["generate", "resources"])
        .refused(1, "NCR0901");
    assert_eq!(environment.read("resources/web.yml"), web);
    assert!(!environment.exists("manifest.json"));
}

#[test]
fn helm_templates_are_recognised() {
    let environment = TestEnvironment::shop();
    environment.write(
        "resources/chart.yaml",
        "{{- if .Values.x }}\nkind: Pod\n{{ end }}\n",
    );
    refused_in_place(&environment, "NCR0103", "resources/chart.yaml:1");
}

#[test]
fn paths_that_are_not_there() {
    let environment = TestEnvironment::shop();
    let done = environment
        .run(&["generate", "nowhere"])
        .refused(1, "NCR0901");
    insta::assert_snapshot!(done.shown(), @r"
    status: 1
    --- stderr
    error[NCR0901]: cannot read nowhere: No such file or directory (os error 2)
      --> nowhere
      help: Check the path and its permissions.
    ");
    fs::create_dir(environment.path("empty")).unwrap();
    environment
        .run(&["generate", "empty"])
        .refused(1, "NCR0909");
    environment
        .run(&["generate", "--config", "nowhere.yaml", "resources"])
        .refused(1, "NCR0908");
    environment
        .pipe(&["generate", "-", "resources"], SERVICE)
        .refused(2, "NCR0907");
}

#[test]
fn a_manifest_that_is_not_there_is_told_who_writes_it() {
    let environment = TestEnvironment::empty();
    let verify = ["verify", "-c", "coordinator.example.org:1313"];
    let done = environment.run(&verify).refused(1, "NCR0901");
    assert!(
        done.stderr.contains("nacre generate") && done.stderr.contains("-m names"),
        "{}",
        done.stderr
    );
}

#[test]
fn doctor_says_what_is_wrong_with_the_platform_or_the_kubeconfig() {
    let environment = TestEnvironment::empty();
    let doctor = |more: &[&str]| environment.run(&[&["doctor"], more].concat());
    let done = doctor(&["--platform=metal-qemu"]).refused(2, "NCR0907");
    assert!(done.stderr.contains("metal-qemu-snp?"), "{}", done.stderr);
    environment.write("broken", "kind: Config\n  x: [1\n");
    for (flags, named) in [
        (&["--kubeconfig=broken"][..], "broken: "),
        (&["--kubeconfig=nothing"], "nothing"),
        (&["--context=other"], ".kube/config"),
        (&[], ".kube/config"),
    ] {
        let done = doctor(flags).refused(1, "NCR1501");
        assert!(done.stderr.contains(named), "{}", done.stderr);
        assert!(
            done.stderr.contains("help: name a kubeconfig"),
            "{}",
            done.stderr
        );
        assert!(!done.stderr.contains("in-cluster"), "{}", done.stderr);
    }
}

#[test]
fn a_wrong_command_line_is_in_the_report_too() {
    let environment = TestEnvironment::shop();
    let args = [
        "check",
        "--report",
        "report.json",
        "--format=json",
        "--strickt",
    ];
    environment.write("report.json", "of yesterday");
    let done = environment.run(&args);
    assert_eq!(done.code, Some(2), "{}", done.shown());
    let report = environment.read("report.json");
    assert!(
        report.contains("unexpected argument '--strickt'"),
        "{report}"
    );
    assert_eq!(report, done.stderr);
    let done = environment
        .nacre(&["check", "--strickt"])
        .env("NACRE_REPORT", "other.txt")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(
        environment
            .read("other.txt")
            .contains("unexpected argument '--strickt'")
    );
}
