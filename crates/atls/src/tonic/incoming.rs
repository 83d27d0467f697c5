//! Connections a server accepts.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::{Connected, Router};
use tower::layer::util::{Identity, Stack};

use super::caller::Caller;
use super::gather::Gather;
use super::open::CountOpen;
use crate::admission::Admission;
use crate::exchange::{Acceptor, without_delay};
use crate::places::{Place, Places, WhenFull};
use crate::wire::{self, Message};

/// Pause after the system refused to accept, which it does when it has no more descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Shortest time between two looks for idle connections.
const LOOK: Duration = Duration::from_millis(10);
/// How long a request may take until its answer begins, reading it included.
const ANSWER: Duration = Duration::from_secs(15 * 60);

/// How much one port takes on. When it is all taken, the oldest of the source that has the most gives way to
/// whoever comes from another one: see [`Places`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Exchanges at a time. Who comes then from the source that has the most is hung up on.
    pub exchanges: usize,
    /// Connections that are served or wait for it. Those without an open request give way first; when every
    /// one has some, who comes from the source that has the most is refused as [`crate::Refusal::Busy`].
    pub connections: usize,
    /// How long a connection may be without an open request.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exchanges: 512,
            connections: 4096,
            idle: Duration::from_secs(300),
        }
    }
}

/// A server that knows which connections have open requests.
pub type GrpcServer = Server<Stack<CountOpen, Identity>>;
/// A [`GrpcServer`] with its services.
pub type GrpcRouter = Router<Stack<CountOpen, Identity>>;

/// Bytes that one stream may send before anybody reads them. Enough that an upload of pieces of 1 MiB does not wait
/// for every frame.
const STREAM_WINDOW: u32 = 128 * 1024;
/// Bytes that all streams of a connection may send before anybody reads them.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// A server with limits that suit small requests of many clients: dead peers are noticed, few streams each,
/// little that is kept unread.
pub fn server() -> GrpcServer {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(Some(32))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(Some(16 * 1024))
        .http2_max_pending_accept_reset_streams(Some(16))
        .timeout(ANSWER)
        .layer(CountOpen::default())
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
        exchanges: Places::new(limits.exchanges, WhenFull::Refuse),
        connections: Places::new(limits.connections, WhenFull::ReplaceIdle),
        idle: limits.idle,
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
    exchanges: Arc<Places>,
    connections: Arc<Places>,
    idle: Duration,
}

impl Port {
    async fn run(self: Arc<Self>, listener: impl Listen) {
        // Ends with this task: nothing goes on behind a stream that was dropped.
        let mut exchanges = JoinSet::new();
        let mut look = tokio::time::interval((self.idle / 4).max(LOOK));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while exchanges.try_join_next().is_some() {}
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = look.tick() => {
                    self.connections.end_idle(self.idle);
                    continue;
                }
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.exchanges.take(remote.ip()) else {
                tracing::debug!(%remote, "too many exchanges with this address at a time");
                continue;
            };
            let port = Arc::clone(&self);
            exchanges.spawn(async move { port.exchange(stream, remote, place).await });
        }
    }

    async fn exchange(&self, stream: TcpStream, remote: SocketAddr, mut place: Place) {
        // The reasons are in the log already; here is only whom they are about.
        if let Err(error) = without_delay(&stream) {
            tracing::debug!(%remote, %error, "no connection");
            return;
        }
        // A client that is told that it is accepted has its place.
        let connected = || self.connections.take(remote.ip());
        let accept = self.acceptor.admit_at(stream, &self.admission, connected);
        let accepted = tokio::select! {
            accepted = accept => accepted,
            () = place.given_away() => {
                tracing::debug!(%remote, "an exchange gives way to another address");
                return;
            }
        };
        let (accepted, connected) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%remote, %error, "no connection");
                return;
            }
        };
        drop(place);
        // Said with the first frame of HTTP/2, by whoever serves the connection.
        let Ok(accept) = wire::frame(&Message::Accept) else {
            return;
        };
        let connection = Conn {
            caller: Caller::new(&accepted, remote, Arc::clone(connected.work())),
            stream: Gather::with(accepted.into_stream(), accept),
            place: connected,
        };
        // Nobody waits for it when the server is shutting down.
        let _ = self.ready.send(connection).await;
    }
}

/// A connection that was accepted, for tonic. Handlers learn of it through [`Caller::of`].
#[derive(Debug)]
pub struct Conn {
    stream: Gather<TlsStream<TcpStream>>,
    caller: Caller,
    place: Place,
}

impl Conn {
    /// Fails when the place of this connection is somebody else's now.
    fn keeps_its_place(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.place.poll_given_away(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the connection gives way",
            )),
        }
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
        let this = self.get_mut();
        this.keeps_its_place(cx)?;
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.keeps_its_place(cx)?;
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.keeps_its_place(cx)?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
