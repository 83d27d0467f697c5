//! `nacre generate`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use crate::common::{CONFIG, SERVICE, TestEnvironment, WEB};

fn manifest(environment: &TestEnvironment, name: &str) -> Value {
    serde_json::from_str(&environment.read(name)).unwrap()
}

#[test]
fn files_are_rewritten_in_place_and_the_manifest_is_made() {
    let environment = TestEnvironment::shop();
    let done = environment.run(&[
        "generate",
        "--reference-values",
        "metal-qemu-snp",
        "resources/",
    ]);
    let done = done.success();
    insta::assert_snapshot!(done.stdout, @r"
    unchanged resources/service.yaml
    updated resources/web.yml
    created manifest.json
    1 policy
    ");
    assert_eq!(environment.read("resources/service.yaml"), SERVICE);
    let web = environment.read("resources/web.yml");
    assert!(
        web.starts_with("# the shop's front\napiVersion: apps/v1\n"),
        "{web}"
    );
    assert!(web.contains("name: web # a comment\n"));
    assert!(web.contains("runtimeClassName: contrast-cc-metal-qemu-snp-"));
    assert!(web.contains("name: contrast-initializer"));
    assert!(web.contains("registry.example.org/web:1.0@sha256:"));
    assert_eq!(
        manifest(&environment, "manifest.json")["Policies"]
            .as_object()
            .unwrap()
            .len(),
        2
    );

    let before = environment.files();
    let again = environment.run(&["generate", "resources"]).success();
    assert_eq!(environment.files(), before, "a second run changes nothing");
    assert!(again.stdout.contains("unchanged resources/web.yml\n"));
}

#[test]
fn a_stream_goes_to_standard_output() {
    let environment = TestEnvironment::shop();
    let done = environment
        .pipe(&["generate", "-"], format!("{WEB}---\n{SERVICE}"))
        .success();
    assert!(done.stdout.ends_with(&format!("---\n{SERVICE}")));
    assert!(
        done.stderr.contains("wrote manifest.json\n"),
        "{}",
        done.stderr
    );
    let again = environment.pipe(&["generate", "-"], &done.stdout).success();
    assert_eq!(again.stdout, done.stdout);
}

#[test]
fn files_and_a_stream_give_the_same_policies() {
    let files = TestEnvironment::shop();
    files.run(&["generate", "resources"]).success();
    let stream = TestEnvironment::shop();
    stream
        .pipe(&["generate", "-"], format!("{SERVICE}---\n{WEB}"))
        .success();
    assert_eq!(files.read("manifest.json"), stream.read("manifest.json"));
}

#[test]
fn out_and_dry_run_and_check_leave_the_input_alone() {
    let environment = TestEnvironment::shop();
    let before = environment.files();
    let dry = environment
        .run(&["generate", "--dry-run", "resources"])
        .success();
    assert!(
        dry.stdout
            .starts_with("--- a/resources/web.yml\n+++ b/resources/web.yml\n")
    );
    assert!(
        dry.stdout.contains("\n+      initContainers:\n"),
        "{}",
        dry.stdout
    );
    assert_eq!(environment.files(), before);

    let check = environment.run(&["generate", "--check", "resources"]);
    assert_eq!(check.code, Some(5), "{}", check.shown());
    assert_eq!(check.stdout, dry.stdout, "--check shows the difference");
    assert!(
        check
            .stderr
            .contains("error[NCR0913]: resources/web.yml is not what would")
    );
    assert_eq!(environment.files(), before);

    let out = environment
        .run(&["generate", "-o", "all.yaml", "resources"])
        .success();
    assert!(out.stdout.contains("created all.yaml\n"), "{}", out.stdout);
    assert_eq!(environment.read("resources/web.yml"), WEB);
    let dash = environment
        .run(&["generate", "-o", "-", "resources"])
        .success();
    assert_eq!(dash.stdout, environment.read("all.yaml"));
    assert_eq!(environment.read("resources/web.yml"), WEB);
}

#[test]
fn check_passes_on_what_was_generated_and_sees_an_edit() {
    let environment = TestEnvironment::shop();
    environment.run(&["generate", "resources"]).success();
    let done = environment
        .run(&["generate", "--check", "resources"])
        .success();
    assert_eq!(done.stdout, "");
    let edited = environment
        .read("resources/web.yml")
        .replace("hello", "goodbye");
    environment.write("resources/web.yml", &edited);
    let done = environment.run(&["generate", "--check", "resources"]);
    assert_eq!(done.code, Some(5), "{}", done.shown());
    assert_eq!(environment.read("resources/web.yml"), edited);
}

#[test]
fn missing_owner_keys_are_made_once() {
    let environment = TestEnvironment::shop();
    let owners = CONFIG.find("  workloadOwners:").unwrap();
    environment.write("nacre.yaml", &CONFIG[..owners]);
    let done = environment.run(&["generate", "resources"]).success();
    assert!(
        done.stdout
            .contains("created workload-owner.pem\ncreated seedshare-owner.pem\n")
    );
    let before = environment.files();
    for name in ["workload-owner.pem", "seedshare-owner.pem"] {
        let mode = fs::metadata(environment.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(
            environment
                .read(name)
                .starts_with("-----BEGIN PRIVATE KEY-----\n")
        );
    }
    let manifest = manifest(&environment, "manifest.json");
    assert_eq!(
        manifest["WorkloadOwnerKeyDigests"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        manifest["SeedshareOwnerPubKeys"].as_array().unwrap().len(),
        1
    );
    environment.run(&["generate", "resources"]).success();
    assert_eq!(environment.files(), before, "the same keys are used again");
}

#[test]
fn a_failed_run_makes_no_keys() {
    let environment = TestEnvironment::shop();
    let owners = CONFIG.find("  workloadOwners:").unwrap();
    environment.write("nacre.yaml", &CONFIG[..owners]);
    environment.write("resources/web.yml", WEB.replace("web:1.0", "web:2.0"));
    environment
        .run(&["generate", "resources"])
        .refused(1, "NCR0301");
    assert!(!environment.exists("workload-owner.pem"));
}

#[test]
fn keys_are_taken_in_the_forms_that_openssl_writes() {
    let environment = TestEnvironment::shop();
    let owners = CONFIG.find("  workloadOwners:").unwrap();
    environment.write("nacre.yaml", &CONFIG[..owners]);
    let openssl = |args: &[&str]| {
        let status = environment
            .program("openssl")
            .args(args)
            .output()
            .unwrap()
            .status;
        assert!(status.success(), "openssl {args:?}");
    };
    openssl(&[
        "ecparam",
        "-name",
        "secp384r1",
        "-genkey",
        "-noout",
        "-out",
        "sec1.pem",
    ]);
    openssl(&[
        "pkcs8",
        "-topk8",
        "-nocrypt",
        "-in",
        "sec1.pem",
        "-out",
        "pkcs8.pem",
    ]);
    openssl(&["ec", "-in", "sec1.pem", "-pubout", "-out", "public.pem"]);
    openssl(&["genrsa", "-traditional", "-out", "rsa.pem", "2048"]);
    openssl(&["rsa", "-in", "rsa.pem", "-pubout", "-out", "rsa-public.pem"]);
    let mut manifests = Vec::new();
    for (workload, seedshare) in [
        ("sec1.pem", "rsa.pem"),
        ("pkcs8.pem", "rsa-public.pem"),
        ("public.pem", "rsa.pem"),
    ] {
        let args = [
            "generate",
            "-w",
            workload,
            "--add-seedshare-owner-key",
            seedshare,
            "resources",
        ];
        environment.run(&args).success();
        manifests.push(environment.read("manifest.json"));
    }
    assert!(
        manifests.iter().all(|manifest| *manifest == manifests[0]),
        "one key, three forms"
    );
    // The digest is that of the SubjectPublicKeyInfo.
    openssl(&[
        "pkey",
        "-pubin",
        "-in",
        "public.pem",
        "-outform",
        "DER",
        "-out",
        "public.der",
    ]);
    let output = environment
        .program("sha256sum")
        .arg("public.der")
        .output()
        .unwrap();
    let digest = String::from_utf8(output.stdout).unwrap()[..64].to_owned();
    assert!(manifests[0].contains(&digest));

    let args = ["generate", "-w", "rsa.pem", "resources"];
    environment.run(&args).refused(1, "NCR0911");
    let args = ["generate", "-w", "resources/web.yml", "resources"];
    environment.run(&args).refused(1, "NCR0911");
}

#[test]
fn a_key_that_git_would_take_is_not_made() {
    let environment = TestEnvironment::shop();
    fs::create_dir(environment.path(".git")).unwrap();
    let owners = CONFIG.find("  workloadOwners:").unwrap();
    environment.write("nacre.yaml", &CONFIG[..owners]);
    let before = environment.files();
    environment
        .run(&["generate", "resources"])
        .refused(1, "NCR0910");
    assert_eq!(environment.files(), before);
    environment.write(".gitignore", "*-owner.pem\n");
    environment.run(&["generate", "resources"]).success();
    assert!(environment.exists("workload-owner.pem"));
}

#[test]
fn updates_can_be_disabled() {
    let environment = TestEnvironment::shop();
    let owners = CONFIG.find("  workloadOwners:").unwrap();
    let seedshare = CONFIG.find("  seedshareOwners:").unwrap();
    let config = format!("{}{}", &CONFIG[..owners], &CONFIG[seedshare..]);
    environment.write("nacre.yaml", config);
    environment.run(&["generate", "-d", "resources"]).success();
    assert!(!environment.exists("workload-owner.pem"));
    let done = environment.run(&["generate", "-d", "-w", "key.pem", "resources"]);
    assert_eq!(done.code, Some(2), "{}", done.shown());
}

#[test]
fn the_workspace_directory_holds_every_default() {
    let environment = TestEnvironment::shop();
    fs::create_dir(environment.path("ws")).unwrap();
    for name in ["nacre.yaml", "nacre.lock.yaml"] {
        fs::rename(environment.path(name), environment.path("ws").join(name)).unwrap();
    }
    environment
        .run(&["generate", "--workspace-dir", "ws", "resources"])
        .success();
    assert!(environment.exists("ws/manifest.json") && !environment.exists("manifest.json"));
    // A path that is given is not put below it.
    let args = [
        "generate",
        "--workspace-dir",
        "ws",
        "-m",
        "here.json",
        "resources",
    ];
    environment.run(&args).success();
    assert!(environment.exists("here.json"));
}

#[test]
fn flags_of_the_seed_page_work() {
    let environment = TestEnvironment::shop();
    environment
        .run(&["generate", "--skip-initializer", "resources"])
        .success();
    assert!(
        !environment
            .read("resources/web.yml")
            .contains("contrast-initializer")
    );
}

#[test]
fn results_are_there_for_machines_too() {
    let environment = TestEnvironment::shop();
    let done = environment
        .run(&["--output", "json", "generate", "resources"])
        .success();
    let value: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(value["files"][1]["path"], "resources/web.yml");
    assert_eq!(value["files"][1]["changed"], true);
    assert_eq!(value["policies"][0]["workload"], "shop/Deployment/web");
    assert!(value["findings"].is_array());

    environment.write("resources/web.yml", WEB.replace("web:1.0", "web:2.0"));
    let done = environment.run(&["--output", "json", "generate", "resources"]);
    assert_eq!(done.code, Some(1));
    let value: Value = serde_json::from_str(&done.stdout).unwrap();
    assert!(
        value["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["code"] == "NCR0301")
    );

    let args = [
        "generate",
        "--format",
        "sarif",
        "--report",
        "r.sarif",
        "resources",
    ];
    assert_eq!(environment.run(&args).code, Some(1));
    let sarif: Value = serde_json::from_str(&environment.read("r.sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let done = environment.run(&["generate", "--format", "github", "resources"]);
    assert!(
        done.stderr
            .contains("::error file=resources/web.yml,line=18,col=18,"),
        "{}",
        done.stderr
    );
    environment
        .pipe(&["--output", "json", "generate", "-"], WEB)
        .refused(2, "NCR0907");
}

#[test]
fn a_link_is_followed_and_stays() {
    let environment = TestEnvironment::shop();
    fs::rename(
        environment.path("resources/web.yml"),
        environment.path("real.yml"),
    )
    .unwrap();
    symlink("../real.yml", environment.path("resources/web.yml")).unwrap();
    environment.run(&["generate", "resources"]).success();
    assert!(
        fs::symlink_metadata(environment.path("resources/web.yml"))
            .unwrap()
            .is_symlink()
    );
    assert!(
        environment
            .read("real.yml")
            .contains("contrast-initializer")
    );
}

#[test]
fn hand_edits_of_the_manifest_are_carried_over_or_warned_about() {
    let environment = TestEnvironment::shop();
    environment.run(&["generate", "resources"]).success();
    let mut edited = manifest(&environment, "manifest.json");
    for entry in edited["Policies"].as_object_mut().unwrap().values_mut() {
        if entry["Identity"]["Name"] == "web" {
            entry["SANs"]
                .as_array_mut()
                .unwrap()
                .push("shop.example.com".into());
        }
    }
    environment.write("manifest.json", format!("{edited:#}\n"));
    environment.write("old.json", format!("{edited:#}\n"));
    let done = environment.run(&["generate", "resources"]).success();
    assert!(done.stderr.contains("warning[NCR0914]"), "{}", done.stderr);
    assert!(
        !environment
            .read("manifest.json")
            .contains("shop.example.com")
    );
    environment
        .run(&["generate", "--previous", "old.json", "resources"])
        .success();
    assert!(
        environment
            .read("manifest.json")
            .contains("shop.example.com")
    );
}

#[test]
fn images_can_be_replaced_before_anything_else() {
    let environment = TestEnvironment::shop();
    environment.write(
        "resources/web.yml",
        WEB.replace("registry.example.org/web:1.0", "web:dev"),
    );
    environment.write(
        "images.txt",
        "# for tests\nweb:dev=registry.example.org/web:1.0\n",
    );
    environment
        .run(&[
            "generate",
            "--image-replacements",
            "images.txt",
            "resources",
        ])
        .success();
    let web = environment.read("resources/web.yml");
    assert!(
        web.contains("registry.example.org/web:1.0@sha256:"),
        "{web}"
    );
}
