//! The attested ports while one address, or a few, hold all of their places.

use std::net::Ipv4Addr;
use std::time::Duration;

use nacre_api::v1::GetStateRequest;
use nacre_api::v1::user_client::UserClient;
use tokio::net::TcpStream;

use crate::hostile::{begun, connect_from, through, user_at};
use crate::support::{Deployment, Running, WEB};

/// Well before anybody who is silent is given up.
const SOON: Duration = Duration::from_secs(8);

const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// An initializer gets its certificate and an owner sets a manifest, both soon.
async fn everybody_is_served(deployment: &Deployment, running: &Running, name: &str) {
    let issued = tokio::time::timeout(SOON, running.certificate(WEB)).await;
    assert!(issued.expect("a certificate").generation > 0);
    let manifest = deployment.manifest(&[name]);
    let set = tokio::time::timeout(SOON, deployment.set(running, &manifest)).await;
    assert!(set.expect("an update").unwrap().applied);
}

#[tokio::test]
async fn silent_connections_of_one_address_keep_nobody_out() {
    let (deployment, running) = begun().await;
    let mut silent: Vec<TcpStream> = Vec::new();
    for (port, count) in [
        (running.addresses.mesh, 1200),
        (running.addresses.user, 100),
    ] {
        for _ in 0..count {
            silent.push(connect_from(FLOOD, port).await);
        }
    }
    everybody_is_served(&deployment, &running, "one").await;
    // They are still there, and have given up to others no more than was needed.
    let open = silent.iter().filter(|stream| is_open(stream)).count();
    assert!((1024..=1088).contains(&open), "{open}");
}

fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let read = stream.try_read(&mut byte);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn idle_connections_to_the_user_api_keep_no_owner_out() {
    let (deployment, running) = begun().await;
    // Four addresses had all of it once.
    let mut idle = Vec::new();
    for host in 2..6 {
        let door = through(Ipv4Addr::new(127, 0, 0, host), running.addresses.user).await;
        for _ in 0..64 {
            idle.push(user_at(door).await);
        }
    }
    everybody_is_served(&deployment, &running, "two").await;
    let mut open = 0;
    for link in &idle {
        let state = UserClient::new(link.channel())
            .get_state(GetStateRequest {})
            .await;
        open += usize::from(state.is_ok());
    }
    assert!((200..256).contains(&open), "{open} of 256");
}
