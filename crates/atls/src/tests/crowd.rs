//! Many on one port: who gets a place, and who gives his up.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use super::grpc::{SLOW, call, hung_up, serve_within, workload};
use super::{WORKLOAD, connector, queue, raw_client, references};
use crate::key::OneKey;
use crate::tonic::{Limits, Link, Own, over};
use crate::wire::ClientKind;

const FEW: Limits = Limits {
    exchanges: 4,
    connections: 4,
    idle: Duration::from_secs(300),
};

/// Well before the time of a silent client is over.
const SOON: Duration = Duration::from_secs(3);

async fn from(host: u8, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind((Ipv4Addr::new(127, 0, 0, host), 0).into())
        .unwrap();
    socket.connect(to.parse().unwrap()).await.unwrap()
}

async fn workload_from(host: u8, to: &str) -> Result<Link, crate::AtlsError> {
    let queue = queue(WORKLOAD);
    let own = Own::Attested {
        kind: ClientKind::Workload,
        queue: &queue,
    };
    let coordinators = references(super::COORDINATOR);
    over(from(host, to).await, &connector(), own, &coordinators).await
}

/// A workload of another address gets in, soon, and is served.
async fn another_gets_in(address: &str) -> Link {
    let link = tokio::time::timeout(SOON, workload(address)).await;
    let link = link.unwrap().unwrap();
    call(link.channel(), "Peer", "").await.unwrap();
    link
}

#[tokio::test]
async fn one_address_may_have_every_exchange_until_another_wants_one() {
    let served = serve_within(FEW).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(from(2, &served.address).await);
    }
    // Its next one is hung up on: it is the one with the most already.
    let mut more = from(2, &served.address).await;
    assert!(hung_up(&mut more).await);
    for stream in &mut silent {
        assert!(!hung_up(stream).await);
    }
    another_gets_in(&served.address).await;
    assert!(hung_up(&mut silent[0]).await, "the oldest");
    for stream in &mut silent[1..] {
        assert!(!hung_up(stream).await);
    }
    served.stop().await;
}

#[tokio::test]
async fn silence_behind_the_handshake_keeps_no_other_address_out() {
    let served = serve_within(FEW).await;
    let key = OneKey::generate().unwrap();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(raw_client(from(2, &served.address).await, &key).await);
    }
    another_gets_in(&served.address).await;
    served.stop().await;
}

#[tokio::test]
async fn idle_connections_give_way_and_those_with_requests_only_to_another_address() {
    let served = serve_within(FEW).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(workload_from(2, &served.address).await.unwrap());
    }
    let link = another_gets_in(&served.address).await;
    assert!(
        call(idle[0].channel(), "Peer", "").await.is_err(),
        "the oldest"
    );
    // The three that are left are busy now, and so is the other one.
    let mut slow = tokio::task::JoinSet::new();
    for link in idle[1..].iter().chain([&link]) {
        let channel = link.channel();
        slow.spawn(async move { call(channel, "Slow", "").await });
    }
    tokio::time::sleep(SLOW / 4).await;
    let more = workload_from(2, &served.address).await;
    let refused = match more {
        Ok(link) => call(link.channel(), "Peer", "").await.is_err(),
        Err(_) => true,
    };
    assert!(
        refused,
        "the address with the most gets no place of a busy one"
    );
    let third = tokio::time::timeout(SOON, workload_from(3, &served.address)).await;
    call(third.unwrap().unwrap().channel(), "Peer", "")
        .await
        .unwrap();
    let ended: Vec<bool> = slow.join_all().await.iter().map(Result::is_err).collect();
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1, "{ended:?}");
    call(link.channel(), "Peer", "").await.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn a_connection_without_a_request_ends_in_time() {
    let served = serve_within(Limits {
        idle: SLOW / 4,
        ..FEW
    })
    .await;
    let link = workload(&served.address).await.unwrap();
    // Longer than it may be idle, but it is not.
    call(link.channel(), "Slow", "").await.unwrap();
    call(link.channel(), "Peer", "").await.unwrap();
    tokio::time::sleep(SLOW).await;
    assert!(call(link.channel(), "Peer", "").await.is_err());
    served.stop().await;
}
