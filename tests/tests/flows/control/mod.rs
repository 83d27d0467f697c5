//! The control plane on one machine, command by command as in the guide "Workload deployment": a shop is
//! rendered, Coordinators and one initializer for each pod run as processes, on simulated SEV-SNP.
//!
//! Each step is printed, so that `cargo xtask demo` can show this very test.

#![allow(
    clippy::print_stdout,
    reason = "the demonstration shows what these tests print"
)]

mod containers;
mod deployment;
mod forwarder;
mod in_cluster;
mod processes;
mod service;

use std::fs;
use std::time::{Duration, Instant};

use deployment::{Deployment, Options};
use processes::{Running, openssl};

/// Long enough for a busy machine, short enough for a test that hangs.
const PATIENCE: Duration = Duration::from_secs(90);

fn title(text: &str) {
    println!("\n== {text}");
}

#[test]
fn from_set_to_recovery() {
    title("a workspace: owner keys, configuration, the shop rendered by kustomize");
    let mut shop = Deployment::new(&Options::default());
    shop.render();

    title("the resources are applied: a Coordinator without a manifest, pods that wait");
    let coordinator = shop.start_coordinator(0);
    let mut pods = shop.start_pods();
    shop.wait_until_refused(&mut pods);

    title("the manifest is set");
    shop.nacre(&["set", "-c", &coordinator.user, "resources/"])
        .ok();
    shop.wait_for(&mut pods);
    for pod in &pods {
        println!("{:<22} has its certificate", pod.name);
    }

    title("a data owner verifies");
    shop.nacre(&["verify", "-c", &coordinator.user]).ok();
    let first = fs::read(shop.path("verify/mesh-ca.pem")).unwrap();
    assert_eq!(first, fs::read(shop.path("mesh-ca.pem")).unwrap());
    shop.check_certificates(&pods);

    title("a client talks to a workload");
    shop.connect_to(&pods, "Deployment/web");

    title("the manifest is updated: with a wrong key, then with the owner's");
    shop.change_title("The shell shop, now with pearls");
    shop.render();
    let stranger = shop.stranger();
    let refused = shop.nacre(&[
        "set",
        "-c",
        &coordinator.user,
        "--workload-owner-key",
        &stranger,
        "resources/",
    ]);
    assert_eq!(
        refused.code,
        Some(1),
        "{}{}",
        refused.stdout,
        refused.stderr
    );
    let differs = shop.nacre(&["verify", "-c", &coordinator.user]);
    assert_eq!(
        differs.code,
        Some(3),
        "the new manifest is not in force: {}",
        differs.stderr
    );
    shop.nacre(&["set", "-c", &coordinator.user, "resources/"])
        .ok();
    let mut pods = shop.start_pods();
    shop.wait_for(&mut pods);
    shop.nacre(&["verify", "-c", &coordinator.user, "--accept-history"])
        .ok();
    let second = fs::read(shop.path("verify/mesh-ca.pem")).unwrap();
    assert_ne!(first, second, "a new manifest has a new mesh CA");
    shop.connect_to(&pods, "Deployment/web");

    title("the Coordinator is killed: verify says so, pods wait, recover");
    coordinator.kill();
    let coordinator = shop.start_coordinator(0);
    let mut pods = shop.start_pods();
    shop.wait_until_refused(&mut pods);
    let sealed = shop.nacre(&["verify", "-c", &coordinator.user]);
    assert!(sealed.code != Some(0), "{}", sealed.stdout);
    assert!(
        format!("{}{}", sealed.stdout, sealed.stderr).contains("recover"),
        "{}",
        sealed.stderr
    );
    shop.nacre(&["recover", "-c", &coordinator.user]).ok();
    shop.wait_for(&mut pods);
    shop.nacre(&["verify", "-c", &coordinator.user]).ok();
    shop.connect_to(&pods, "Deployment/web");
    shop.assert_no_secret_in_logs();
    println!("the same manifest is in force as before");
}

#[test]
fn three_coordinators_one_dies_and_nobody_notices() {
    title("three Coordinators behind one service, with one history");
    let mut shop = Deployment::new(&Options {
        coordinators: 3,
        ..Options::default()
    });
    shop.render();
    let mut coordinators: Vec<_> = (0..3)
        .map(|number| shop.start_coordinator(number))
        .collect();
    shop.nacre(&["set", "-c", &coordinators[0].user, "resources/"])
        .ok();
    shop.wait_until_ready(&coordinators);
    let mut pods = shop.start_pods();
    shop.wait_for(&mut pods);
    shop.nacre(&["verify", "-c", &coordinators[2].user]).ok();
    let mesh_key = shop.mesh_key();

    title("the first one is killed while pods start");
    let mut pods = shop.start_pods();
    coordinators.remove(0).kill();
    shop.wait_for(&mut pods);
    shop.nacre(&["verify", "-c", &coordinators[1].user]).ok();
    shop.connect_to(&pods, "Deployment/web");

    title("it comes back and recovers from the others, without an owner");
    let back = shop.start_coordinator(0);
    shop.wait_until_ready(std::slice::from_ref(&back));
    shop.nacre(&["verify", "-c", &back.user]).ok();
    assert_eq!(mesh_key, shop.mesh_key());
    println!("the key of the mesh CA is the one the running pods trust: none has to restart");
}

#[test]
fn the_wrapped_app_starts_when_everything_is_there() {
    let mut shop = Deployment::new(&Options::default());
    shop.configure("startGate: true");
    shop.render();
    let coordinator = shop.start_coordinator(0);
    let mut pods = shop.start_pods();
    let argv = shop.app_argv("Deployment", "web");
    assert_eq!(argv[..2], ["/tls-config/nacre-gate", "--"]);
    let web = pods
        .iter()
        .position(|pod| pod.name == "Deployment/web")
        .unwrap();
    // The app itself is an image; what matters is who starts it, and when.
    let mounted = |word: &str| word.replace("/tls-config", pods[web].volume.to_str().unwrap());
    let gate = mounted(&argv[0]);
    assert!(
        !std::path::Path::new(&gate).exists(),
        "nobody but the initializer puts it there"
    );
    shop.nacre(&["set", "-c", &coordinator.user, "resources/"])
        .ok();
    let volume = pods[web].volume.clone();
    shop.wait_for(&mut pods);
    let mut app = Running::start(
        std::process::Command::new(gate).args(["--", "sh", "-c", "echo the app runs"]),
        "app",
        &shop.path("logs"),
    );
    std::thread::sleep(Duration::from_millis(300));
    assert!(app.is_running(), "the mesh is not ready: {}", app.log());
    fs::write(volume.join("mesh-ready"), "1").unwrap();
    let start = Instant::now();
    while app.is_running() {
        assert!(start.elapsed() < PATIENCE, "{}", app.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(app.log(), "the app runs\n");
}

#[test]
fn openssl_is_there() {
    assert!(openssl(&["version"]).starts_with("OpenSSL"));
}
