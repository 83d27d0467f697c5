//! Connections a server accepts.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::caller::Caller;
use super::gather::Gather;
use crate::admission::Admission;
use crate::exchange::{Acceptor, without_delay};
use crate::sources::{SourcePlace, Sources};

/// Pause after the system refused to accept, which it does when it has no more descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// How much one port takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Exchanges at a time. Who comes then waits in the system's backlog.
    pub exchanges: usize,
    /// Exchanges at a time with one address. Who is over it is hung up on.
    pub exchanges_per_source: usize,
    /// Connections that are served or wait for it. Who comes then waits in the system's backlog.
    pub connections: usize,
    /// The same with one address, exchanges included. Who is over it is hung up on.
    pub connections_per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exchanges: 512,
            exchanges_per_source: 64,
            connections: 4096,
            connections_per_source: 1024,
        }
    }
}

/// A server with limits that suit small requests of many clients: dead peers are noticed, few streams each.
pub fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(Some(32))
        .http2_max_header_list_size(Some(16 * 1024))
        .http2_max_pending_accept_reset_streams(Some(16))
}

/// Gives connections from which nothing has been read yet.
pub trait Listen: Send + 'static {
    /// The next one, and where it comes from. Must be safe to cancel.
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Listen for TcpListener {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        Self::accept(self)
    }
}

/// Accepts from `listener`, exchanges evidence, and gives the connections that are accepted.
///
/// The stream ends only when it is dropped, and gives no errors: what is refused stands in the log, and
/// trouble with accepting passes. Dropping it closes the port and gives up what has not got through.
///
/// Must be called within a tokio runtime.
pub fn incoming(
    listener: impl Listen,
    acceptor: Arc<Acceptor>,
    admission: Admission,
    limits: Limits,
) -> Incoming {
    let (ready, connections) = mpsc::channel(1);
    let port = Arc::new(Port {
        acceptor,
        admission,
        ready,
        exchanges: Arc::new(Semaphore::new(limits.exchanges.max(1))),
        connections: Arc::new(Semaphore::new(limits.connections.max(1))),
        exchanging: Sources::new(limits.exchanges_per_source),
        connected: Sources::new(limits.connections_per_source),
    });
    Incoming {
        connections,
        task: tokio::spawn(port.run(listener)).abort_handle(),
    }
}

/// Accepted connections, for `serve_with_incoming_shutdown`.
#[derive(Debug)]
pub struct Incoming {
    connections: mpsc::Receiver<Conn>,
    task: AbortHandle,
}

impl Stream for Incoming {
    type Item = io::Result<Conn>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.get_mut().connections.poll_recv(cx);
        next.map(|connection| connection.map(Ok))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Port {
    acceptor: Arc<Acceptor>,
    admission: Admission,
    ready: mpsc::Sender<Conn>,
    exchanges: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    exchanging: Arc<Sources>,
    connected: Arc<Sources>,
}

impl Port {
    async fn run(self: Arc<Self>, listener: impl Listen) {
        // Ends with this task: nothing goes on behind a stream that was dropped.
        let mut exchanges = JoinSet::new();
        loop {
            while exchanges.try_join_next().is_some() {}
            // Room first, then the next one: whoever finds no room waits in the backlog.
            let Some(room) = self.room().await else {
                return;
            };
            let (stream, remote) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let places = self.exchanging.take(remote.ip());
            let Some(places) = places.zip(self.connected.take(remote.ip())) else {
                tracing::debug!(%remote, "too many connections from this address at a time");
                continue;
            };
            let port = Arc::clone(&self);
            exchanges.spawn(async move { port.exchange(stream, remote, room, places).await });
        }
    }

    async fn room(&self) -> Option<Room> {
        let connection = Arc::clone(&self.connections).acquire_owned().await.ok()?;
        let exchange = Arc::clone(&self.exchanges).acquire_owned().await.ok()?;
        Some(Room {
            connection,
            exchange,
        })
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        room: Room,
        (exchanging, connected): (SourcePlace, SourcePlace),
    ) {
        // The reasons are in the log already; here is only whom they are about.
        if let Err(error) = without_delay(&stream) {
            tracing::debug!(%remote, %error, "no connection");
            return;
        }
        let accepted = match self.acceptor.accept(stream, &self.admission).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%remote, %error, "no connection");
                return;
            }
        };
        drop((room.exchange, exchanging));
        let connection = Conn {
            caller: Caller::new(&accepted, remote),
            stream: Gather::new(accepted.into_stream()),
            _room: (room.connection, connected),
        };
        // Nobody waits for it when the server is shutting down.
        let _ = self.ready.send(connection).await;
    }
}

struct Room {
    connection: OwnedSemaphorePermit,
    exchange: OwnedSemaphorePermit,
}

/// A connection that was accepted, for tonic. Handlers learn of it through [`Caller::of`].
#[derive(Debug)]
pub struct Conn {
    stream: Gather<TlsStream<TcpStream>>,
    caller: Caller,
    _room: (OwnedSemaphorePermit, SourcePlace),
}

impl Conn {
    /// Who is at the other end.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Connected for Conn {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
