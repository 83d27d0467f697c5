//! Several Coordinators with one store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nacre_api::v1::Phase;
use nacre_manifest::{ChipId, HostDataBinding};

use crate::support::{COORDINATOR, Deployment, Running, WEB, eventually, guest};

/// Places for Coordinators, each of which has to know the others before it starts.
pub(crate) fn places<const N: usize>() -> [String; N] {
    nacre_test_support::free_ports().map(|port| format!("127.0.0.1:{port}"))
}

pub(crate) async fn start(deployment: &Deployment, places: &[String], index: usize) -> Running {
    let deps = nacre_coordinator::Deps {
        verifier: crate::support::verifier(),
        reports: guest(COORDINATOR),
        reader: nacre_manifest::Manifest::parse,
        store: deployment.store(),
        clock: nacre_coordinator::system_clock,
    };
    // Everybody is told of everybody, as a name of all pods would.
    deployment.start_deps(deps, places, &places[index]).await
}

/// Root CA, mesh CA and intermediate that come with a leaf, as PEM.
fn authorities(issued: &nacre_api::v1::NewMeshCertResponse) -> [String; 3] {
    let certificates = issued.cert_chain.matches("-----BEGIN").count();
    assert_eq!(certificates, 2, "{}", issued.cert_chain);
    let intermediate = issued.cert_chain.rfind("-----BEGIN").unwrap();
    let intermediate = issued.cert_chain[intermediate..].to_owned();
    [issued.root_ca.clone(), issued.mesh_ca.clone(), intermediate]
}

/// How many guests have proven over attested TLS that the new head is in force there.
fn confirmed(result: &nacre_api::v1::SetManifestResult) -> usize {
    let there = result.replicas.iter();
    let there = there.filter(|replica| replica.transition == result.transition);
    let guests: BTreeSet<_> = there.map(|replica| &replica.guest).collect();
    assert!(guests.iter().all(|guest| guest.len() == 32));
    guests.len()
}

#[tokio::test]
async fn one_coordinator_at_two_addresses_is_one() {
    let deployment = Deployment::new();
    let places = places::<2>();
    let deps = |reports| nacre_coordinator::Deps {
        verifier: crate::support::verifier(),
        reports,
        reader: nacre_manifest::Manifest::parse,
        store: deployment.store(),
        clock: nacre_coordinator::system_clock,
    };
    // A name that stands for two addresses of the second one and for none of the third.
    let (_, port) = places[1].split_once(':').unwrap();
    let twice = ["127.0.0.1", "127.0.0.2"].map(|address| format!("{address}:{port}"));
    let first = deployment
        .start_deps(deps(guest(COORDINATOR)), &twice, &places[0])
        .await;
    let everywhere = format!("0.0.0.0:{port}");
    let _second = deployment
        .start_deps(deps(guest(COORDINATOR)), &places[..1], &everywhere)
        .await;
    let mut manifest = deployment.manifest(&[]);
    manifest.peer_recovery = true;
    manifest.coordinator_replicas = 3;
    let result = deployment.set(&first, &manifest).await.unwrap();
    let there = |replica: &&nacre_api::v1::Replica| replica.transition == result.transition;
    assert_eq!(result.replicas.iter().filter(there).count(), 3);
    assert_eq!(confirmed(&result), 2, "{:?}", result.replicas);
    let [own, one, other] = &result.replicas[..] else {
        panic!("{:?}", result.replicas)
    };
    assert!(one.guest == other.guest && own.guest != one.guest);
}

#[tokio::test]
async fn three_share_what_they_serve_and_one_that_is_lost_comes_back() {
    let deployment = Deployment::new();
    let places = places::<3>();
    let first = start(&deployment, &places, 0).await;
    let second = start(&deployment, &places, 1).await;
    let third = start(&deployment, &places, 2).await;
    let mut manifest = deployment.manifest(&[]);
    manifest.peer_recovery = true;
    manifest.coordinator_replicas = 3;
    let result = deployment.set(&first, &manifest).await.unwrap();
    assert_eq!(confirmed(&result), 3, "{:?}", result.replicas);
    for running in [&second, &third] {
        eventually("ready", || async { running.phase().await == Phase::Ready }).await;
    }
    let certificates = [
        first.certificate(WEB).await,
        second.certificate(WEB).await,
        third.certificate(WEB).await,
    ];
    // One mesh: every Coordinator shows the very same certificates.
    let shown = certificates.each_ref().map(authorities);
    assert!(shown[0] == shown[1] && shown[1] == shown[2]);

    // An update at another one, then one is lost and comes back with seed and mesh CA.
    let mut update = deployment.manifest(&["one"]);
    update.peer_recovery = true;
    update.coordinator_replicas = 3;
    let result = deployment.set(&second, &update).await.unwrap();
    assert_eq!(confirmed(&result), 3, "{:?}", result.replicas);
    first.stop().await;
    assert_eq!(second.certificate(WEB).await.generation, 2);
    let first = start(&deployment, &places, 0).await;
    eventually("recovered", || async {
        first.phase().await == Phase::Ready
    })
    .await;
    let back = first.certificate(WEB).await;
    assert_eq!(back.generation, 2);
    assert_eq!(
        authorities(&back),
        authorities(&second.certificate(WEB).await)
    );
    assert_ne!(
        authorities(&back)[1],
        shown[0][1],
        "a new manifest, a new mesh CA"
    );
}

#[tokio::test]
async fn without_permission_nobody_gets_the_seed() {
    let deployment = Deployment::new();
    let places = places::<2>();
    let first = start(&deployment, &places, 0).await;
    let second = start(&deployment, &places, 1).await;
    let manifest = deployment.manifest(&[]);
    let result = deployment.set(&first, &manifest).await.unwrap();
    assert!(result.applied);
    let other = result
        .replicas
        .iter()
        .find(|replica| !replica.address.is_empty())
        .unwrap();
    assert!(
        other.transition.is_empty() && !other.error.is_empty(),
        "{other:?}"
    );
    assert_eq!(second.phase().await, Phase::Sealed);
    // Chips have to be named, or the manifest has to say that any will do.
    let mut any = deployment.manifest(&[]);
    any.peer_recovery = true;
    any.reference_values.snp[0].allowed_chip_ids.clear();
    let refused = deployment.set(&first, &any).await.unwrap_err();
    assert!(refused.message().contains("NCR1108"), "{refused}");
    any.allow_any_chip = true;
    // And no host may choose another policy for the guest.
    any.reference_values.snp[0].host_data_binding = HostDataBinding::None;
    let refused = deployment.set(&first, &any).await.unwrap_err();
    assert!(refused.message().contains("HostDataBinding"), "{refused}");
    any.reference_values.snp[0].host_data_binding = HostDataBinding::Enforced;
    assert!(deployment.set(&first, &any).await.unwrap().applied);
    eventually("recovered", || async {
        second.phase().await == Phase::Ready
    })
    .await;
}

#[tokio::test]
async fn a_peer_on_another_chip_gets_nothing() {
    let deployment = Deployment::new();
    let places = places::<2>();
    let first = start(&deployment, &places, 0).await;
    let mut manifest = deployment.manifest(&[]);
    manifest.peer_recovery = true;
    deployment.set(&first, &manifest).await.unwrap();
    let machine = nacre_sim::MachineSpec {
        hwid: vec![7; 64],
        ..nacre_sim::MachineSpec::new(nacre_attest::Product::Genoa)
    };
    let machine = nacre_sim::Machine::with(crate::support::pki(), machine).unwrap();
    let report = nacre_sim::ReportSpec {
        host_data: *nacre_manifest::PolicyHash::of(COORDINATOR).as_bytes(),
        ..machine.report()
    };
    let known = deployment.manifest(&[]).reference_values.snp[0]
        .allowed_chip_ids
        .clone();
    assert_ne!(known, [ChipId::from_bytes(report.chip_id)]);
    let crl = crate::support::crl();
    let elsewhere =
        nacre_sim::SimulatedGuest::with(machine, report, crl, nacre_sim::Behaviour::default());
    let second = deployment
        .start_with(Arc::new(elsewhere), deployment.store(), &places[..1])
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let (_, metrics) = Running::get(first.addresses.health, "/metrics").await;
    assert!(metrics.contains("reason=\"chip-allowed\""), "{metrics}");
    assert!(
        metrics.contains("nacre_coordinator_seeds_given_total 0"),
        "{metrics}"
    );
    drop(second);
}

#[tokio::test]
async fn a_store_that_shows_something_else_does_not_change_what_is_in_force() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let old = deployment.store().latest().await.unwrap().unwrap().bytes;
    deployment
        .set(&running, &deployment.manifest(&["one"]))
        .await
        .unwrap();
    let store = deployment.store();
    let version = store.latest().await.unwrap().unwrap().version;
    store.swap(Some(&version), &old).await.unwrap();
    eventually("alarm", || async {
        let (_, metrics) = Running::get(running.addresses.health, "/metrics").await;
        metrics.contains("nacre_coordinator_store_diverged 1")
    })
    .await;
    assert_eq!(running.certificate(WEB).await.generation, 2);
    assert_eq!(running.phase().await, Phase::Ready);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for (path, bytes) in crate::support::files_below(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, bytes).unwrap();
    }
}

#[tokio::test]
async fn frozen_views_and_double_success_are_seen() {
    let deployment = Deployment::new();
    let places = places::<2>();
    let first = start(&deployment, &places, 0).await;
    deployment
        .set(&first, &deployment.manifest(&[]))
        .await
        .unwrap();
    let head = deployment.history().await.head().hash;
    // The host shows the second Coordinator a copy of the store, which it can develop on its own.
    let mut forked = Deployment::of(
        vec![
            nacre_history::OwnerKeyPair::from_der(&deployment.owners[0].to_pkcs8().unwrap())
                .unwrap(),
        ],
        vec![crate::support::ShareOwner::from_pkcs8(
            &deployment.shares[0].pkcs8,
        )],
    );
    forked.genesis = deployment.genesis.clone();
    copy(deployment.folder.path(), forked.folder.path());
    let second = start(&forked, &places, 1).await;
    forked
        .recover(&second, &forked.shares[0], head)
        .await
        .unwrap();

    // Both accept an update, and both stores say that it worked.
    let one = deployment
        .set(&first, &deployment.manifest(&["one"]))
        .await
        .unwrap();
    let other = |result: &nacre_api::v1::SetManifestResult| {
        let other = result
            .replicas
            .iter()
            .find(|replica| !replica.address.is_empty());
        other.unwrap().transition.clone()
    };
    assert!(one.applied);
    assert_eq!(other(&one), head.as_bytes(), "a frozen view");
    let two = forked
        .set(&second, &forked.manifest(&["two"]))
        .await
        .unwrap();
    assert!(two.applied);
    // Neither gets the other's confirmation, so no client takes either for settled.
    assert_eq!(other(&two), one.transition, "double success");
    let relation = deployment.history().await.relation(&forked.history().await);
    assert_eq!(relation, nacre_history::Relation::Fork { common: 1 });
}

#[tokio::test]
async fn a_peer_that_is_busy_is_waited_for() {
    let deployment = Deployment::new();
    let first = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    manifest.peer_recovery = true;
    deployment.set(&first, &manifest).await.unwrap();
    // As at a port at which a thousand workloads stand in the queue: more than ten seconds until it answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = listener.local_addr().unwrap();
    let mesh = first.addresses.mesh;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(11)).await;
                let mut far = tokio::net::TcpStream::connect(mesh).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let second = deployment
        .start_with(guest(COORDINATOR), deployment.store(), &[door.to_string()])
        .await;
    eventually("ready", || async { second.phase().await == Phase::Ready }).await;
}
