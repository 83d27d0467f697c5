//! Sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::rules::{MARK, PLAIN};

/// Silence after which the other side of a TLS connection is asked whether it is there.
const IDLE: Duration = Duration::from_secs(60);
/// Time between questions that are not answered.
const INTERVAL: Duration = Duration::from_secs(15);
/// Questions before the connection counts as dead.
const QUESTIONS: u32 = 4;

/// Bytes that the kernel takes of a connection beyond what is on its way: enough for the next turn, and a reader
/// that does not read costs no more, where the kernel's own limit is 4 MiB. What is on its way stays as it is.
const NOT_SENT: u32 = 512 << 10;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A socket that has its address and does not answer yet.
#[derive(Debug)]
pub struct Bound(Socket);

impl Bound {
    /// Takes a port on all addresses, IPv4 and IPv6, for intercepted connections: the socket may
    /// stand in for any address (`IP_TRANSPARENT`, which needs `CAP_NET_RAW` or `CAP_NET_ADMIN`).
    ///
    /// # Errors
    /// The socket's.
    pub fn intercepted(port: u16) -> io::Result<Self> {
        let (socket, address) = both_families(port)?;
        // The flag of the IP level covers both families of a dual-stack socket.
        socket.set_ip_transparent_v4(true)?;
        // Accepted connections inherit it; the rules let no other reply out.
        socket.set_mark(MARK)?;
        socket.set_tcp_keepalive(&keepalive())?;
        keep_little(&socket);
        Self::bind(socket, address)
    }

    /// Takes a port on all addresses, IPv4 and IPv6.
    ///
    /// # Errors
    /// The socket's.
    pub fn everywhere(port: u16) -> io::Result<Self> {
        let (socket, address) = both_families(port)?;
        Self::bind(socket, address)
    }

    /// Takes one address.
    ///
    /// # Errors
    /// The socket's.
    pub fn address(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        Self::bind(socket, address)
    }

    fn bind(socket: Socket, address: SocketAddr) -> io::Result<Self> {
        socket.set_reuse_address(true)?;
        // Accepted connections inherit it, too.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Self(socket))
    }

    /// Answers from now on. Needs a running tokio runtime.
    ///
    /// # Errors
    /// The socket's.
    pub fn listen(self) -> io::Result<TcpListener> {
        self.0.listen(BACKLOG)?;
        TcpListener::from_std(self.0.into())
    }
}

/// A socket for a port on all addresses.
fn both_families(port: u16) -> io::Result<(Socket, SocketAddr)> {
    match Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            Ok((socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))))
        }
        // A kernel without IPv6, where no IPv6 traffic can come either.
        Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            Ok((socket, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))
        }
        Err(error) => Err(error),
    }
}

/// Notices a peer that has gone without a word. No `TCP_USER_TIMEOUT` beside it: the kernel would end
/// connections whose reader only pauses, too.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(IDLE)
        .with_interval(INTERVAL)
        .with_retries(QUESTIONS)
}

/// Opens a connection within the pod, with `TCP_NODELAY`. The rules drop it where it would leave.
///
/// The kernel gives a connection one of some 28 000 ports. Where all of them lead to this address
/// already, others are tried, so that the number of connections ends only at 64 000.
///
/// # Errors
/// The socket's.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let first = match plain_socket(address) {
        Ok(socket) => socket.connect(address).await,
        Err(error) => Err(error),
    };
    let stream = match first {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            connect_from(address).await.ok_or(error)?
        }
        other => other?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a connection that leaves the pod as the mesh's own, with `TCP_NODELAY`.
///
/// # Errors
/// The socket's.
pub async fn connect_marked(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket_for(address)?;
    // Without the right to it there are no rules either that would ask for it.
    let _ = SockRef::from(&socket).set_mark(MARK);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive())?;
    keep_little(&SockRef::from(&socket));
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// [`NOT_SENT`], where the kernel can; accepted connections inherit it.
fn keep_little(socket: &Socket) {
    let _ = socket.set_tcp_notsent_lowat(NOT_SENT);
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

/// A socket for plain text to the application.
fn plain_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket_for(address)?;
    SockRef::from(&socket).set_mark(PLAIN)?;
    keep_little(&SockRef::from(&socket));
    Ok(socket)
}

/// Connects from a port outside of the kernel's range.
async fn connect_from(address: SocketAddr) -> Option<TcpStream> {
    /// Ports tried before it counts as full.
    const TRIES: u16 = 64;
    /// The first port that a program without rights may take.
    const FIRST: u16 = 1024;
    static NEXT: AtomicU16 = AtomicU16::new(FIRST);
    for _ in 0..TRIES {
        let port = NEXT.fetch_add(1, Ordering::Relaxed).max(FIRST);
        let attempt = async {
            // The address that the kernel would take: the pod's own for itself.
            let socket = plain_socket(address)?;
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(address.ip(), port))?;
            socket.connect(address).await
        };
        match attempt.await {
            Ok(stream) => return Some(stream),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(_) => return None,
        }
    }
    None
}

/// Whether closing sends RST in place of FIN, whoever closes: the kernel too, when the process dies.
pub(crate) fn reset_on_close(socket: &TcpStream, reset: bool) {
    // Only a socket that is none could refuse it.
    let _ = SockRef::from(socket).set_linger(reset.then_some(Duration::ZERO));
}

/// An IPv4 address in IPv6 clothing, undressed.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_small_pieces_at_once() {
        let bound = Bound::address((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = bound.listen().unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        assert!(!client.unwrap().nodelay().unwrap(), "of itself");
        assert!(accepted.unwrap().0.nodelay().unwrap());
    }
}
