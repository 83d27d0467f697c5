//! `nacre relay`: bytes from one port to another address, for the port-forwarder pod.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nacre_atls::{Place, Places, WhenFull};
use nacre_findings::{Finding, codes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::cluster::connect::block_on;
use crate::context::Context;
use crate::error::CommandError;

/// Connections at one time. One source may have all of them while nobody else wants one.
const MOST: usize = 64;
/// How long its name may take to be found, and each address of the far end to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// Relay TCP connections to another address
///
/// `kubectl port-forward` cannot reach confidential pods, but it can reach an ordinary pod that runs this.
/// The relay sees TLS only and needs no trust.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(value_name = "ADDRESS:PORT")]
    listen: String,
    /// Where to connect to, looked up anew for each connection
    #[arg(value_name = "HOST:PORT")]
    to: String,
    /// Time in which a connection on which nothing goes on ends
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u32).range(1..))]
    idle: u32,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    context.publish()?;
    block_on(async {
        let listener = TcpListener::bind(&args.listen).await.map_err(|error| {
            let message = format!("cannot listen on {}: {error}", args.listen);
            CommandError::from(Finding::error(codes::cli::USAGE, message))
        })?;
        let address = listener
            .local_addr()
            .map_or_else(|_| args.listen.clone(), |address| address.to_string());
        context.note(&format!("relaying {address} to {}", args.to));
        let places = Places::new(MOST, WhenFull::Refuse);
        let idle = Duration::from_secs(args.idle.into());
        loop {
            let Ok((near, from)) = listener.accept().await else {
                // Out of descriptors, most likely: those that are open will end.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // Who gets none sees its connection end.
            if let Some(place) = places.take(from.ip()) {
                let to = args.to.clone();
                tokio::spawn(async move { serve(near, &to, place, idle).await });
            }
        }
    })
}

/// Copies both ways until both ends are done, nothing has gone on for so long, or the place is another's. Both
/// ends see a connection that ends; there is nobody else to tell.
async fn serve(mut near: TcpStream, to: &str, mut place: Place, idle: Duration) {
    let reached = async {
        let addresses = timeout(CONNECT, lookup_host(to)).await.ok()?.ok()?;
        first_that_answers(addresses, CONNECT).await
    };
    let far = tokio::select! {
        far = reached => far,
        () = place.given_away() => None,
    };
    let Some(mut far) = far else { return };
    let clock = Clock::start();
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    let copied = async {
        // An error of one direction ends the other.
        tokio::try_join!(
            copy(near_read, far_write, &clock),
            copy(far_read, near_write, &clock)
        )
    };
    tokio::select! {
        _ = copied => {}
        () = clock.idle_for(idle) => {}
        () = place.given_away() => {}
    }
}

/// A connection to one of these, each of which has so long.
async fn first_that_answers(
    addresses: impl Iterator<Item = SocketAddr>,
    limit: Duration,
) -> Option<TcpStream> {
    for address in addresses {
        if let Ok(Ok(stream)) = timeout(limit, TcpStream::connect(address)).await {
            return Some(stream);
        }
    }
    None
}

async fn copy(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, clock: &Clock) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        clock.seen();
        if read == 0 {
            // The other direction goes on until its own end.
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        clock.seen();
    }
}

/// When bytes went through last, in either direction.
struct Clock {
    begin: Instant,
    /// Milliseconds after it.
    last: AtomicU64,
}

impl Clock {
    fn start() -> Self {
        Self {
            begin: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn seen(&self) {
        let now = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Waits until nothing has gone through for so long.
    async fn idle_for(&self, limit: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            match limit.checked_sub(self.begin.elapsed().saturating_sub(last)) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn an_address_that_does_not_answer_takes_no_time_from_the_next() {
        const LIMIT: Duration = Duration::from_millis(300);
        let full = TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(0).unwrap();
        let (dead, mut waiting) = (full.local_addr().unwrap(), Vec::new());
        // The kernel answers nobody any more when the queue is full.
        while let Ok(stream) = timeout(LIMIT, TcpStream::connect(dead)).await {
            waiting.push(stream.unwrap());
        }
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [dead, dead, alive.local_addr().unwrap()];
        let stream = first_that_answers(addresses.into_iter(), LIMIT).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), addresses[2]);
        assert!(
            first_that_answers([dead].into_iter(), LIMIT)
                .await
                .is_none()
        );
    }
}
