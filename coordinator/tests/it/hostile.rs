//! Malformed and oversized requests, and floods.

use std::sync::Arc;
use std::time::Duration;

use nacre_api::v1;
use nacre_api::v1::mesh_client::MeshClient;
use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::user_client::UserClient;
use nacre_atls::{AtlsError, ClientKind, ReportQueue};
use nacre_sim::Behaviour;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tonic::Code;

use crate::support::running::policies;
use crate::support::{
    COORDINATOR, Deployment, Dialog, Running, WEB, guest, guest_like, manifests, new_cert, refused,
};

/// Who floods the user API, as many as it has attestation exchanges.
const FLOOD: usize = 64;

pub(crate) async fn begun() -> (Deployment, Running) {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    (deployment, running)
}

#[tokio::test]
async fn oversized_messages_are_refused_unread() {
    let (_deployment, running) = begun().await;
    let link = running.user().await;
    let mut dialog = Dialog::open(&link).await.unwrap();
    let manifest = vec![b' '; 3 * 1024 * 1024];
    dialog
        .say(Ask::Proposal(v1::Proposal {
            manifest,
            ..v1::Proposal::default()
        }))
        .await;
    assert!(dialog.hear().await.is_err());
    let link = running.workload(guest(WEB)).await.unwrap();
    let request = v1::NewMeshCertRequest {
        csr: vec![0; 100_000],
    };
    let answer = MeshClient::new(link.channel()).new_mesh_cert(request).await;
    assert_eq!(answer.unwrap_err().code(), Code::OutOfRange);
    let short = manifests(&running.user().await, [0; 32]).await;
    assert!(short.is_ok());
    let nonce = v1::GetManifestsRequest { nonce: vec![1; 31] };
    let answer = UserClient::new(running.user().await.channel())
        .get_manifests(nonce)
        .await;
    refused(answer.map(|_| ()), Code::InvalidArgument, "NCR1201");
}

#[tokio::test]
async fn messages_in_another_order_are_refused() {
    let (_deployment, running) = begun().await;
    let link = running.user().await;
    for step in [
        policies(&[b"x"]),
        Ask::PoliciesDone(v1::PoliciesDone {}),
        Ask::Confirmation(v1::SignedConfirmation::default()),
        Ask::Proposal(v1::Proposal::default()),
    ] {
        let mut dialog = Dialog::open(&link).await.unwrap();
        dialog.say(step).await;
        refused(dialog.hear().await, Code::InvalidArgument, "NCR1201");
    }
}

#[test]
fn any_bytes_in_any_field_are_refused_and_change_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_deployment, running) = runtime.block_on(begun());
    let (user, mesh) = runtime.block_on(async {
        (
            running.user().await,
            running.workload(guest(WEB)).await.unwrap(),
        )
    });
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let signature =
        (bytes(), bytes()).prop_map(|(spki, signature)| v1::Signature { spki, signature });
    let proposal = (
        bytes(),
        bytes(),
        prop::collection::vec(signature.clone(), 0..3),
    );
    let mut runner = TestRunner::new(Config::with_cases(64));
    let all = (
        proposal,
        (bytes(), bytes(), any::<u32>(), signature),
        bytes(),
    );
    runner
        .run(
            &all,
            |((manifest, transition, signatures), recover, csr)| {
                runtime.block_on(async {
                    let mut dialog = Dialog::open(&user).await.unwrap();
                    let online = signatures.clone();
                    let proposal = v1::Proposal {
                        manifest,
                        transition,
                        signatures,
                        online,
                    };
                    dialog.say(Ask::Proposal(proposal)).await;
                    assert!(dialog.hear().await.is_err());
                    let (expected, share, index, signature) = recover;
                    let signature = Some(signature);
                    let request = v1::RecoverRequest {
                        expected,
                        share,
                        index,
                        dry_run: false,
                        signature,
                    };
                    assert!(
                        UserClient::new(user.channel())
                            .recover(request)
                            .await
                            .is_err()
                    );
                    let request = v1::NewMeshCertRequest { csr };
                    assert!(
                        MeshClient::new(mesh.channel())
                            .new_mesh_cert(request)
                            .await
                            .is_err()
                    );
                });
                Ok(())
            },
        )
        .unwrap();
    assert_eq!(runtime.block_on(running.state()).generation, 1);
}

/// How long it takes until so many workloads that come at once have their certificates.
async fn all_served(running: &Arc<Running>, count: usize) -> Duration {
    let started = std::time::Instant::now();
    let mut workloads = tokio::task::JoinSet::new();
    for _ in 0..count {
        let running = Arc::clone(running);
        workloads.spawn(async move { running.certificate(WEB).await.generation });
    }
    for generation in workloads.join_all().await {
        assert_eq!(generation, 1);
    }
    started.elapsed()
}

#[tokio::test]
async fn workloads_pass_while_the_user_api_is_flooded() {
    let deployment = Deployment::new();
    // One report at a time, and each takes its time, as the firmware's do.
    let slow = Behaviour {
        serial: true,
        delay: Duration::from_millis(20),
        busy: 0,
    };
    let running = deployment
        .start_with(guest_like(COORDINATOR, slow), deployment.store(), &[])
        .await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let running = Arc::new(running);
    let quiet = all_served(&running, 40).await;
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..FLOOD {
        let running = Arc::clone(&running);
        flood.spawn(async move {
            loop {
                let appraise = crate::support::references(&[COORDINATOR]);
                let address = running.addresses.user.to_string();
                let connector = nacre_atls::Connector::default();
                let own = nacre_atls::tonic::Own::Unattested;
                let _ = nacre_atls::tonic::connect(&address, &connector, own, &appraise).await;
            }
        });
    }
    // Until as many wait for a report as ever will.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let flooded = all_served(&running, 40).await;
    // In one queue for all, forty among sixty more would take two and a half times as long. Of the firmware's
    // time the mesh has two thirds.
    println!("40 certificates in {quiet:?}, while 1313 is flooded in {flooded:?}");
    assert!(flooded < quiet * 2, "{quiet:?}, {flooded:?}");
}

#[tokio::test]
async fn silent_submissions_keep_no_owner_out() {
    let (deployment, running) = begun().await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        let link = running.user().await;
        for _ in 0..16 {
            silent.push(Dialog::open(&link).await.unwrap());
        }
    }
    let update = deployment
        .set(&running, &deployment.manifest(&["one"]))
        .await
        .unwrap();
    assert!(update.applied);
    // Those that gave way are told so; the others may still wait.
    let first = silent[0].hear().await;
    refused(first, Code::ResourceExhausted, "NCR1218");
}

#[tokio::test]
async fn readers_that_take_nothing_keep_nobody_from_reading() {
    let (deployment, running) = begun().await;
    // Long enough that nobody's window holds it.
    for spaces in 0..4 {
        let mut long = deployment.manifest(&[]).to_bytes();
        long.resize(nacre_manifest::MAX_BYTES - spaces, b' ');
        set_raw(&deployment, &running, long).await;
    }
    // The flood comes from one address, through connections of its own.
    let door = through(
        std::net::Ipv4Addr::new(127, 0, 0, 2),
        running.addresses.user,
    )
    .await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let link = user_at(door).await;
        for _ in 0..24 {
            let request = v1::GetManifestsRequest { nonce: vec![0; 32] };
            let answer = UserClient::new(link.channel()).get_manifests(request).await;
            idle.push((link.clone(), answer));
        }
    }
    let kept = idle.iter().filter(|(_, answer)| answer.is_ok()).count();
    assert_eq!(kept, 16, "whoever is refused is the flood itself");
    for _ in 0..4 {
        let (_, objects) = manifests(&running.user().await, [1; 32]).await.unwrap();
        assert!(objects.len() > 5);
    }
}

pub(crate) async fn set_raw(deployment: &Deployment, running: &Running, manifest: Vec<u8>) {
    let owners = [&deployment.owners[0]];
    let head = deployment.history().await.head().transition;
    let parsed = nacre_manifest::Manifest::parse(&manifest).unwrap();
    let hash = nacre_manifest::ManifestHash::of(&manifest);
    let transition = head.next(&parsed, hash, crate::support::now());
    let proposal = v1::Proposal {
        manifest,
        transition: transition.to_bytes().to_vec(),
        signatures: crate::support::signed(&owners, &transition.message()),
        online: Vec::new(),
    };
    let link = running.user().await;
    let result = deployment.propose(&link, proposal, &owners).await.unwrap();
    assert!(result.applied);
}

pub(crate) async fn user_at(address: std::net::SocketAddr) -> nacre_atls::tonic::Link {
    let appraise = crate::support::references(&[COORDINATOR]);
    let connector = nacre_atls::Connector::default();
    let own = nacre_atls::tonic::Own::Unattested;
    nacre_atls::tonic::connect(&address.to_string(), &connector, own, &appraise)
        .await
        .unwrap()
}

/// A port whose connections reach `to` from the address `from`.
pub(crate) async fn through(
    from: std::net::Ipv4Addr,
    to: std::net::SocketAddr,
) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = connect_from(from, to).await;
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

pub(crate) async fn connect_from(
    from: std::net::Ipv4Addr,
    to: std::net::SocketAddr,
) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn idle_connections_keep_no_probe_out() {
    let (_deployment, running) = begun().await;
    for address in [running.addresses.health, running.addresses.http] {
        let mut idle = Vec::new();
        for host in [2, 3] {
            for _ in 0..40 {
                let from = std::net::Ipv4Addr::new(127, 0, 0, host);
                idle.push(connect_from(from, address).await);
            }
        }
        // Idle connections are given up after five seconds; nobody waits for that.
        for path in ["/live", "/ready", "/metrics", "/v1/objects"] {
            let answer = Running::get(address, path);
            let answer = tokio::time::timeout(Duration::from_secs(4), answer).await;
            let (status, _) = answer.expect(path);
            assert_ne!(status, 0, "{path}");
        }
    }
}

#[tokio::test]
async fn a_hundred_at_once_and_none_is_lost() {
    // A thousand are in the benchmark.
    let count = 100;
    let (_deployment, running) = begun().await;
    let running = Arc::new(running);
    let reports = guest(WEB);
    let queue = Arc::new(ReportQueue::new(reports, 2, count));
    let started = std::time::Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (running, queue) = (Arc::clone(&running), Arc::clone(&queue));
        all.spawn(async move {
            let appraise = crate::support::references(&[COORDINATOR]);
            // The initializer's own.
            let connector = nacre_atls::Connector::new(nacre_atls::Timeouts::PATIENT);
            let address = running.addresses.mesh.to_string();
            let link = loop {
                let own = nacre_atls::tonic::Own::Attested {
                    kind: ClientKind::Workload,
                    queue: &queue,
                };
                match nacre_atls::tonic::connect(&address, &connector, own, &appraise).await {
                    Ok(link) => break link,
                    // As an initializer does: whoever found no room asks again.
                    Err(AtlsError::Connect(_) | AtlsError::Timeout { .. }) => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            let key = nacre_pki::LeafKey::generate().unwrap();
            new_cert(&link, &key).await.unwrap().generation
        });
    }
    let mut served = 0;
    while let Some(generation) = all.join_next().await {
        assert_eq!(generation.unwrap(), 1);
        served += 1;
    }
    assert_eq!(served, count);
    println!("{count} certificates in {:?}", started.elapsed());
    let (_, metrics) = Running::get(running.addresses.health, "/metrics").await;
    let line = format!("nacre_coordinator_certificates_issued_total {count}");
    assert!(metrics.contains(&line), "{metrics}");
}
