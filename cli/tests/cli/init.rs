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
    next: `nacre lock` your resources, then `nacre generate` them
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
    assert!(done.stderr.contains("metal-qemu-snp"), "{}", done.stderr);
}
