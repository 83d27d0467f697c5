//! `nacre install`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::TestEnvironment;

fn with_programs() -> TestEnvironment {
    let environment = TestEnvironment::empty();
    for name in ["nacre-krm-fn", "nacre-post-renderer"] {
        environment.write(&format!("bin/{name}"), "#!/bin/sh\necho $0\n");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(environment.path(format!("bin/{name}")), mode).unwrap();
    }
    environment
}

#[test]
fn the_kustomize_plugin_goes_where_kustomize_looks() {
    let plugin = "nacre.dev/v1alpha1/confidential/Confidential";
    let environment = with_programs();
    let binary = [
        "install",
        "kustomize-plugin",
        "--binary",
        "bin/nacre-krm-fn",
    ];
    for (variable, value, root) in [
        (None, "", "home/.config/kustomize/plugin"),
        (Some("XDG_CONFIG_HOME"), "xdg", "xdg/kustomize/plugin"),
        (Some("KUSTOMIZE_PLUGIN_HOME"), "plugins", "plugins"),
    ] {
        let mut command = environment.nacre(&binary);
        if let Some(variable) = variable {
            command.env(variable, value);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let placed = environment.path(root).join(plugin);
        let program = environment.path("bin/nacre-krm-fn").canonicalize().unwrap();
        assert_eq!(fs::read_link(&placed).unwrap(), program);
    }
    // A second time replaces the first.
    environment
        .run(&[&binary[..], &["--copy", "--dir", "plugins"]].concat())
        .success();
    let placed = environment.path("plugins").join(plugin);
    assert!(fs::symlink_metadata(&placed).unwrap().is_file());
}

#[test]
fn the_helm_plugin_has_the_name_of_the_program() {
    let environment = with_programs();
    let args = [
        "install",
        "helm-plugin",
        "--binary",
        "bin/nacre-post-renderer",
        "--dir",
        "plugins",
    ];
    let done = environment.run(&args).success();
    let directory = environment.path("plugins/nacre-post-renderer");
    assert_eq!(
        done.stdout,
        format!("installed {}\n", "plugins/nacre-post-renderer")
    );
    assert!(directory.join("nacre-post-renderer").exists());
    let description = environment.read("plugins/nacre-post-renderer/plugin.yaml");
    let description = description.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(description, @r"
    apiVersion: v1
    type: postrenderer/v1
    name: nacre-post-renderer
    version: VERSION
    runtime: subprocess
    runtimeConfig:
      platformCommand:
        - command: ${HELM_PLUGIN_DIR}/nacre-post-renderer
    ");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let environment = TestEnvironment::empty();
    let args = ["install", "helm-plugin", "--binary", "nowhere"];
    let done = environment.run(&args).refused(1, "NCR0901");
    assert!(
        done.stderr.contains("nowhere is not an executable file"),
        "{}",
        done.stderr
    );
    assert!(environment.files().is_empty());
}
