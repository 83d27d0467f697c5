//! The manual is what `--help` says.

use crate::common::TestEnvironment;

#[test]
fn the_commands() {
    let done = TestEnvironment::empty().run(&["--help"]).success();
    for command in [
        "generate",
        "init",
        "set",
        "verify",
        "recover",
        "sign",
        "seed-shares",
        "install",
        "completions",
        "schema",
        "simulate",
        "explain",
        "report",
        "policy",
    ] {
        assert!(
            done.stdout.contains(&format!("\n  {command} ")),
            "{}",
            done.stdout
        );
    }
}

#[test]
fn versions_of_rules_and_platforms_are_told() {
    let environment = TestEnvironment::empty();
    let short = environment.run(&["-V"]).success().stdout;
    assert_eq!(short, concat!("nacre ", env!("CARGO_PKG_VERSION"), "\n"));
    let long = environment.run(&["--version"]).success().stdout;
    assert!(long.starts_with(&short), "{long}");
    for platform in nacre_platform::platforms() {
        assert!(long.contains(&platform.runtime_class_name()), "{long}");
    }
    assert!(long.contains("\nrules      nacre"), "{long}");
    // This program is none of a release.
    assert!(
        long.ends_with("\nimages     no release: lock those of your own build\n"),
        "{long}"
    );
}

#[test]
fn every_command_has_a_manual_page_and_shells_complete_it() {
    let environment = TestEnvironment::empty();
    environment.run(&["man", "man1"]).success();
    let page = environment.read("man1/nacre-coordinator-resources.1");
    assert!(page.contains(".TH"), "{page}");
    let help = environment.run(&["--help"]).success().stdout;
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(commands.len() > 10, "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let script = environment.run(&["completions", shell]).success().stdout;
        for command in &commands {
            assert!(script.contains(command), "{shell} does not know {command}");
            assert!(
                environment.exists(&format!("man1/nacre-{command}.1")),
                "{command}"
            );
        }
    }
}

#[test]
fn generate() {
    let done = TestEnvironment::empty().run(&["generate", "-h"]).success();
    insta::assert_snapshot!(done.shown(), @r"
    status: 0
    --- stdout
    Make workloads confidential: inject, pin, write policies, and the manifest

    Usage: nacre generate [OPTIONS] <PATH>...

    Arguments:
      <PATH>...  Files and directories, or - for standard input

    Options:
          --config <FILE>                   Configuration (kind: Confidential) [env: NACRE_CONFIG]
                                            [default: nacre.yaml if it is there]
          --lock <FILE>                     Image lock; may be repeated [env: NACRE_LOCK] [default:
                                            nacre.lock.yaml if it is there]
          --previous <FILE>                 Manifest whose hand edits are carried over [env:
                                            NACRE_PREVIOUS]
          --reference-values <PLATFORM>     Platform whose reference values go into the manifest [env:
                                            NACRE_PLATFORM] [alias: --platform]
      -n, --namespace <NAME>                Namespace of objects that name none [env: NACRE_NAMESPACE]
          --strict                          Treat open points as errors [env: NACRE_STRICT]
          --skip-initializer                Inject no initializer anywhere [env: NACRE_SKIP_INITIALIZER]
          --skip-service-mesh               Inject no service mesh sidecar anywhere [env:
                                            NACRE_SKIP_SERVICE_MESH]
          --set <FIELD=VALUE>               Set a field of the configuration, such as
                                            coordinator.host=example.com; may be repeated
      -m, --manifest <FILE>                 Where the manifest is written [default: manifest.json in the
                                            workspace]
      -o <FILE>                             Write all resources to this file, or - for standard output,
                                            and leave the input alone
          --dry-run                         Show what would change and write nothing
          --check                           Compare with what is there, write nothing; exit code 5 when
                                            something would change
      -w, --add-workload-owner-key <FILE>   Key of a workload owner, private or public; may be repeated,
                                            made when missing [default: those of the configuration, else
                                            workload-owner.pem]
          --add-seedshare-owner-key <FILE>  Key of a seed-share owner, private or public; may be
                                            repeated, made when missing [default: those of the
                                            configuration, else seedshare-owner.pem]
      -d, --disable-updates                 Let nobody replace the manifest
      -h, --help                            Print help (see more with '--help')
      -V, --version                         Print version

    Global options:
          --output <FORM>        Form of the result on standard output [default: text] [possible values:
                                 text, json]
          --format <FORM>        Form of findings: text, json, sarif or github [default: text]
          --report <FILE>        Write findings to this file too [env: NACRE_REPORT]
          --color <WHEN>         Colour on standard error [default: auto] [possible values: auto,
                                 always, never]
          --workspace-dir <DIR>  Directory of manifest.json, keys and configuration, where no other path
                                 is given for them
    ");
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let environment = TestEnvironment::empty();
    for args in [
        &["generate"][..],
        &["nope"],
        &["generate", "--nope", "x"],
        &["--output", "xml"],
    ] {
        let done = environment.run(args);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(2), ""),
            "{}",
            done.shown()
        );
        assert!(
            done.stderr.starts_with("error[NCR0907]: "),
            "{}",
            done.stderr
        );
        assert!(done.stderr.contains("\n  help: "), "{}", done.stderr);
    }
}

#[test]
fn a_wrong_command_line_comes_in_the_form_that_is_asked_for() {
    let environment = TestEnvironment::empty();
    let done = environment.run(&["--format", "json", "generate", "--nope", "x"]);
    assert_eq!(done.code, Some(2));
    let findings: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
    assert_eq!(findings["findings"][0]["code"], "NCR0907");
}

#[test]
fn the_schema_is_json_and_completions_are_scripts() {
    let environment = TestEnvironment::empty();
    let schema = environment.run(&["schema"]).success();
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(schema["title"], "Confidential");
    let script = environment.run(&["completions", "bash"]).success();
    assert!(script.stdout.contains("_nacre()"));
}
