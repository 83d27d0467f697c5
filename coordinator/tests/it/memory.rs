//! What strangers can make a Coordinator keep in memory.

use std::process::Command;
use std::time::Duration;

use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response};
use nacre_api::v1::{self, user_client::UserClient};
use nacre_atls::tonic::Link;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service as _;

use crate::hostile::{begun, set_raw};
use crate::support::{eventually, manifests};

/// Bytes that half-sent requests may cost, and readers who take nothing: client and server, which here are
/// one process.
const FLOODED: u64 = 64 << 20;
const READ: u64 = 64 << 20;

static PIECE: &[u8] = &[1; 64 << 10];

#[test]
fn strangers_fill_no_memory() {
    // A process of its own, whose memory nobody else uses.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "memory::child", "--ignored", "--nocapture"]);
    let ended = child.output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{text}\n{errors}");
    println!("{text}");
}

/// The memory of this process, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib = line.trim().strip_suffix(" kB").unwrap();
    kib.parse::<u64>().unwrap() << 10
}

/// A request that announces so many bytes and never sends the last one.
async fn half_sent(link: Link, announced: u32) -> Option<String> {
    let head = [&[0][..], &announced.to_be_bytes()].concat();
    let mut left = usize::try_from(announced).unwrap() - 1;
    let mut pieces = vec![Ok::<_, Status>(Frame::data(Bytes::from(head)))];
    while left > 0 {
        // The same memory for all, or the test would fill it itself.
        let piece = PIECE.get(..left).unwrap_or(PIECE);
        pieces.push(Ok(Frame::data(Bytes::from_static(piece))));
        left -= piece.len();
    }
    let body = tokio_stream::iter(pieces).chain(tokio_stream::pending());
    let request = Request::post("/nacre.v1.User/GetState")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(StreamBody::new(body)));
    let mut channel = link.channel();
    std::future::poll_fn(|cx| channel.poll_ready(cx))
        .await
        .ok()?;
    let answer: Response<Body> = channel.call(request.unwrap()).await.ok()?;
    let (parts, body) = answer.into_parts();
    let trailers = body.collect().await.ok()?.trailers().cloned();
    let status = Status::from_header_map(&trailers.unwrap_or(parts.headers))?;
    assert!(
        matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{status}"
    );
    Some(status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other process of strangers_fill_no_memory"]
async fn child() {
    let (deployment, running) = begun().await;
    let mut links = Vec::new();
    for _ in 0..12 {
        links.push(running.user().await);
    }
    let before = memory();
    let flood = |announced: u32| {
        let mut flood = JoinSet::new();
        for link in &links {
            for _ in 0..30 {
                flood.spawn(half_sent(link.clone(), announced));
            }
        }
        flood
    };
    // More than a request may have: refused by what is announced.
    let refused = tokio::time::timeout(Duration::from_secs(60), flood(2_000_000).join_all());
    let refused = refused.await.unwrap();
    assert_eq!(refused.len(), 360);
    let large = memory().saturating_sub(before);
    // As much as it may have: so many are kept, the oldest give way.
    let mut small = flood(16_000);
    let mut gave_way = 0;
    while gave_way < 360 - 256 {
        let ended = tokio::time::timeout(Duration::from_secs(60), small.join_next()).await;
        let message = ended.unwrap().unwrap().unwrap();
        assert!(message.unwrap().contains("NCR1218"));
        gave_way += 1;
    }
    let small_cost = memory().saturating_sub(before);
    println!("half-sent requests: {large} and {small_cost} bytes");
    assert!(large.max(small_cost) < FLOODED, "{large} {small_cost}");
    // Whoever is served meanwhile needs a place for a moment only.
    assert!(
        deployment
            .set(&running, &deployment.manifest(&["one"]))
            .await
            .unwrap()
            .applied
    );
    drop(small);

    for spaces in 0..4 {
        let mut long = deployment.manifest(&[]).to_bytes();
        long.resize(nacre_manifest::MAX_BYTES - spaces, b' ');
        set_raw(&deployment, &running, long).await;
    }
    let before = memory();
    let mut readers = Vec::new();
    for turn in 0..32 {
        let request = v1::GetManifestsRequest { nonce: vec![0; 32] };
        let mut client = UserClient::new(links[turn % 12].channel());
        if let Ok(answer) = client.get_manifests(request).await {
            readers.push(answer);
        }
    }
    assert_eq!(readers.len(), 16);
    // Longer than whole objects are kept.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let cost = memory().saturating_sub(before);
    println!("readers who take nothing: {cost} bytes");
    assert!(cost < READ, "{cost}");
    // Who begins again after such a pause gets every byte.
    drop(readers);
    eventually("a reader's place", || async {
        manifests(&running.user().await, [1; 32]).await.is_ok()
    })
    .await;
}
