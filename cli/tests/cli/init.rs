//! `nacre init`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::{LOCK, TestEnvironment, WEB};

#[test]
fn init_makes_a_workspace_that_generate_takes() {
    let environment = TestEnvironment::empty();
    let done = environment
        .run(&["init", "--platform", "metal-qemu-snp", "-n", "shop"])
        .success();
    insta::assert_snapshot!(done.shown(), @r"
    status: 0
    --- stdout
    wrote workload-owner.pem
    wrote seedshare-owner.pem
    wrote nacre.yaml
    next: `nacre coordinator-resources -o coordinator.yml`, `nacre lock` it with your resources, then `nacre generate` all
    ");
    for name in ["workload-owner.pem", "seedshare-owner.pem"] {
        let mode = fs::metadata(environment.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(
            !environment
                .read("nacre.yaml")
                .contains(environment.read(name).as_str())
        );
    }
    environment.write("nacre.lock.yaml", LOCK);
    environment.write("resources/web.yml", WEB);
    let coordinator = "  allowUnattestedCoordinator: true\n";
    environment.write("nacre.yaml", environment.read("nacre.yaml") + coordinator);
    environment.run(&["generate", "resources"]).success();
}

#[test]
fn init_never_replaces_a_key() {
    let environment = TestEnvironment::empty();
    environment.run(&["init"]).success();
    let before = environment.files();
    environment.run(&["init"]).refused(1, "NCR0902");
    assert_eq!(environment.files(), before);
    environment.run(&["init", "--force"]).success();
    assert_eq!(
        environment.files(),
        before,
        "the same keys give the same configuration"
    );
}

#[test]
fn keys_in_a_git_work_tree_get_ignore_rules_or_are_refused() {
    let environment = TestEnvironment::empty();
    fs::create_dir(environment.path(".git")).unwrap();
    let before = environment.files();
    let done = environment
        .run(&["init", "--no-gitignore"])
        .refused(1, "NCR0910");
    assert!(
        done.stderr.contains("--> workload-owner.pem"),
        "{}",
        done.stderr
    );
    assert_eq!(environment.files(), before);

    environment.write(".gitignore", "/target");
    environment.run(&["init"]).success();
    let rules = environment.read(".gitignore");
    assert!(rules.starts_with("/target\n"), "{rules}");
    assert!(
        rules.contains("\n/workload-owner.pem\n/seedshare-owner.pem\n"),
        "{rules}"
    );
}

#[test]
fn git_agrees_with_the_ignore_rules() {
    let environment = TestEnvironment::empty();
    let git = |args: &[&str]| environment.program("git").args(args).output();
    let Ok(made) = git(&["init", "-q"]) else {
        return;
    };
    assert!(made.status.success());
    environment.run(&["init"]).success();
    let status = git(&["status", "--porcelain", "--untracked-files=all"]).unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert_eq!(status, "?? .gitignore\n?? nacre.yaml\n");
}

#[test]
fn a_platform_that_does_not_exist_is_refused_with_the_names() {
    let done = TestEnvironment::empty().run(&["init", "--platform", "metal-qemu"]);
    let done = done.refused(2, "NCR0907");
    assert!(
        done.stderr.contains("help: did you mean metal-qemu-snp?"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_namespace_that_cannot_be_one_is_refused_before_anything_is_written() {
    let environment = TestEnvironment::empty();
    let arguments = ["init", "--namespace", "Shop_1"];
    environment.run(&arguments).refused(2, "NCR0907");
    assert!(environment.files().is_empty());
}

#[test]
fn keys_can_be_kept_outside_of_the_repository() {
    let environment = TestEnvironment::empty();
    fs::create_dir_all(environment.path("repo/.git")).unwrap();
    let init = ["init", "--workspace-dir=repo", "--keys=keys/shop"];
    environment.run(&init).success();
    let mode = |name: &str| {
        let metadata = fs::metadata(environment.path(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("keys/shop"), 0o700);
    assert_eq!(mode("keys/shop/workload-owner.pem"), 0o600);
    assert_eq!(mode("keys/shop/seedshare-owner.pem"), 0o600);
    assert!(
        !environment.exists("repo/.gitignore"),
        "no key is in the repository"
    );
    assert!(
        environment
            .read("repo/nacre.yaml")
            .contains("BEGIN PUBLIC KEY")
    );
}

#[test]
fn a_kpt_package_gets_rules_for_what_kpt_cannot_read() {
    let environment = TestEnvironment::empty();
    environment.write("Kptfile", "apiVersion: kpt.dev/v1\nkind: Kptfile\n");
    environment.write(".krmignore", "manifest.json");
    environment.run(&["init"]).success();
    let rules = "manifest.json\nseed-shares.json\nverify/\n";
    assert_eq!(environment.read(".krmignore"), rules);
    environment.run(&["init", "--force"]).success();
    assert_eq!(environment.read(".krmignore"), rules);
    let plain = TestEnvironment::empty();
    plain.run(&["init"]).success();
    assert!(!plain.exists(".krmignore"));
}
