//! The TLS handshake of one connection, without a buffer of its own.
//!
//! rustls makes the handshake and is then done: what was agreed on goes to [`Records`], which seals and
//! opens application data where it lies. So rustls is never given a record beyond its last one.

use std::fmt;
use std::io::{self, ErrorKind};

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, Error, ExtractedSecrets};

use crate::records::{self, Records, Role};

/// One side of a TLS connection until it is established.
pub struct Session {
    side: Side,
    /// Bytes at the front of what came that rustls knows already and is not done with.
    seen: usize,
}

enum Side {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

impl From<UnbufferedClientConnection> for Session {
    fn from(connection: UnbufferedClientConnection) -> Self {
        Self {
            side: Side::Client(Box::new(connection)),
            seen: 0,
        }
    }
}

impl From<UnbufferedServerConnection> for Session {
    fn from(connection: UnbufferedServerConnection) -> Self {
        Self {
            side: Side::Server(Box::new(connection)),
            seen: 0,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.side {
            Side::Client(_) => "Client",
            Side::Server(_) => "Server",
        })
    }
}

impl Session {
    /// What was agreed on, and the peer's certificates.
    #[must_use]
    pub fn common(&self) -> &CommonState {
        match &self.side {
            Side::Client(connection) => connection,
            Side::Server(connection) => connection,
        }
    }

    /// Goes on with the handshake as far as `incoming` allows, and says how many bytes at its front are
    /// done with; the others are given again, with more behind them. What is to be sent comes to the
    /// end of `out`. Records behind the end of the handshake are left alone.
    ///
    /// # Errors
    /// rustls' reason as [`ErrorKind::InvalidData`]; its alert is in `out` then.
    pub fn advance(&mut self, incoming: &mut [u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let (mut used, mut seen) = (0, self.seen);
        loop {
            // One more record, or what there is of it: who speaks no TLS hears so at once.
            let rest = incoming.get(seen..).unwrap_or_default();
            let whole = records::length(rest).filter(|length| *length <= rest.len());
            let end = seen + whole.unwrap_or(rest.len());
            let given = incoming.get_mut(used..end).unwrap_or_default();
            used += match &mut self.side {
                Side::Client(connection) => advance(&mut **connection, given, out),
                Side::Server(connection) => advance(&mut **connection, given, out),
            }?;
            if whole.is_some() {
                seen = end;
            }
            self.seen = seen.saturating_sub(used);
            if whole.is_none() || !self.common().is_handshaking() {
                return Ok(used);
            }
        }
    }

    /// Takes over from rustls after the handshake.
    ///
    /// # Errors
    /// The handshake is not over, or the configuration keeps the secrets.
    pub(crate) fn into_records(self) -> io::Result<Records> {
        if self.seen > 0 {
            // Part of a message that rustls has decrypted: it cannot be read again.
            return Err(ErrorKind::InvalidData.into());
        }
        match self.side {
            Side::Client(connection) => connection
                .extract()
                .and_then(|(secrets, next)| Records::new(Role::Client, secrets, next)),
            Side::Server(connection) => connection
                .extract()
                .and_then(|(secrets, next)| Records::new(Role::Server, secrets, next)),
        }
        .map_err(records::broken)
    }
}

/// What rustls' two types have in common.
trait Handshake: Sized {
    type Data;

    fn common(&self) -> &CommonState;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn extract(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), Error>;
}

macro_rules! handshake {
    ($connection:ty, $data:ty) => {
        impl Handshake for $connection {
            type Data = $data;

            fn common(&self) -> &CommonState {
                self
            }

            fn process<'c, 'i>(
                &'c mut self,
                incoming: &'i mut [u8],
            ) -> UnbufferedStatus<'c, 'i, Self::Data> {
                self.process_tls_records(incoming)
            }

            fn extract(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), Error> {
                self.dangerous_into_kernel_connection()
            }
        }
    };
}

handshake!(UnbufferedClientConnection, ClientConnectionData);
handshake!(UnbufferedServerConnection, ServerConnectionData);

fn advance(
    connection: &mut impl Handshake,
    incoming: &mut [u8],
    out: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut used = 0;
    loop {
        let rest = incoming.get_mut(used..).unwrap_or_default();
        let UnbufferedStatus { discard, state } = connection.process(rest);
        let mut waits = false;
        match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(out, |room| data.encode(room))?;
            }
            // It is sent before anything else is.
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                waits = true;
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            // Early data is never offered nor taken, and rustls is not given any other.
            Ok(_) => return Err(ErrorKind::Unsupported.into()),
            Err(reason) => {
                alert(connection, out);
                return Err(records::broken(reason));
            }
        }
        used += discard;
        if waits {
            return Ok(used);
        }
    }
}

/// After a failure the alert waits to be fetched. rustls is asked only while it has something to say: its
/// place in what came is lost by then.
fn alert(connection: &mut impl Handshake, out: &mut Vec<u8>) {
    while connection.common().wants_write() {
        let fetched = match connection.process(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(out, |room| data.encode(room)),
            _ => return,
        };
        if fetched.is_err() {
            return;
        }
    }
}

/// Lets something be written at the end of `out`, which grows as it asks.
fn encode(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> io::Result<()> {
    let length = out.len();
    match write(&mut []) {
        Ok(_) => Ok(()),
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            out.resize(length + required_size, 0);
            let written = write(out.get_mut(length..).unwrap_or_default());
            out.truncate(length + *written.as_ref().unwrap_or(&0));
            written.map(|_| ()).map_err(io::Error::other)
        }
        Err(reason) => Err(io::Error::other(reason)),
    }
}
