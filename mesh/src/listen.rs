//! Sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A socket that has its address and does not answer yet.
#[derive(Debug)]
pub struct Bound(Socket);

impl Bound {
    /// Takes a port on all addresses, IPv4 and IPv6, for intercepted connections: the socket may
    /// stand in for any address (`IP_TRANSPARENT`, which needs `CAP_NET_ADMIN`).
    ///
    /// # Errors
    /// The socket's.
    pub fn intercepted(port: u16) -> io::Result<Self> {
        let (socket, address) = match Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)) {
            Ok(socket) => {
                socket.set_only_v6(false)?;
                (socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
            }
            // A kernel without IPv6, where no IPv6 traffic can come either.
            Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
                (socket, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            }
            Err(error) => return Err(error),
        };
        // The flag of the IP level covers both families of a dual-stack socket.
        socket.set_ip_transparent_v4(true)?;
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

/// Opens a connection with `TCP_NODELAY`.
///
/// # Errors
/// The socket's.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An IPv4 address in IPv6 clothing, undressed.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
