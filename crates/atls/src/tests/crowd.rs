//! Many on one port: who gets a place, and who gives his up.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::grpc::{call, is_hung_up, is_open, serve_within, workload};
use super::{Still, WORKLOAD, connector, queue, raw_client, references, timeouts};
use crate::AtlsError;
use crate::key::OneKey;
use crate::tonic::{Limits, Link, Own, over};
use crate::wire::{ClientKind, Refusal};

const FEW: Limits = Limits {
    exchanges: 4,
    connections: 4,
    idle: Duration::from_secs(300),
};

/// Well before the time of a silent client is over.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(timeouts().handshake / 2, what).await;
    done.unwrap()
}

async fn from(host: u8, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind((Ipv4Addr::new(127, 0, 0, host), 0).into())
        .unwrap();
    socket.connect(to.parse().unwrap()).await.unwrap()
}

async fn workload_from(host: u8, to: &str) -> Result<Link, AtlsError> {
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
    let link = soon(workload(address)).await.unwrap();
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
    is_hung_up(&mut more).await;
    for stream in &mut silent {
        assert!(is_open(stream).await);
    }
    another_gets_in(&served.address).await;
    // The oldest.
    is_hung_up(&mut silent[0]).await;
    for stream in &mut silent[1..] {
        assert!(is_open(stream).await);
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
    served.gate.has_come(4).await;
    // The address with the most gets no place of a busy one, and learns so instead of being accepted.
    let more = workload_from(2, &served.address).await;
    assert!(
        matches!(more, Err(AtlsError::Refused(Refusal::Busy))),
        "{more:?}"
    );
    let third = soon(workload_from(3, &served.address)).await.unwrap();
    call(third.channel(), "Peer", "").await.unwrap();
    served.gate.open();
    let ended: Vec<bool> = slow.join_all().await.iter().map(Result::is_err).collect();
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1, "{ended:?}");
    call(link.channel(), "Peer", "").await.unwrap();
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_ends_in_time() {
    let _still = Still::new();
    let limit = Duration::from_secs(8);
    // Before the ends of a connection ask whether the other is still there.
    let longer = Duration::from_secs(9);
    let served = serve_within(Limits { idle: limit, ..FEW }).await;
    let busy = workload(&served.address).await.unwrap();
    let channel = busy.channel();
    let slow = tokio::spawn(async move { call(channel, "Slow", "").await });
    served.gate.has_come(1).await;
    let (queue, coordinators) = (queue(WORKLOAD), references(super::COORDINATOR));
    let idle = from(2, &served.address).await;
    let mut idle = connector()
        .connect_attested(idle, ClientKind::Workload, &queue, &coordinators)
        .await
        .unwrap();
    tokio::time::advance(longer).await;
    let mut rest = Vec::new();
    // However it ends.
    let _ = idle.read_to_end(&mut rest).await;
    served.gate.open();
    slow.await.unwrap().unwrap();
    // Now it is idle as well, once the server has let go of the answer.
    for _ in 0..3 {
        tokio::time::advance(longer).await;
        if call(busy.channel(), "Peer", "").await.is_err() {
            served.stop().await;
            return;
        }
    }
    panic!("an idle connection is kept");
}
