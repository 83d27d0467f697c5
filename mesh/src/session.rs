//! The TLS state of one connection, without a buffer of its own.
//!
//! rustls' unbuffered connection decrypts where the bytes lie and encrypts to where they go, so bytes
//! are moved less often than through the buffers of its usual one, and an idle connection has none.

use std::fmt;
use std::io::{self, ErrorKind};

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, Error};

/// What encryption adds to a record at most: header, content type and tag (RFC 8446, 5.2).
const RECORD_OVERHEAD: usize = 5 + 256;
/// Plaintext of a record at most (RFC 8446, 5.1).
const RECORD: usize = 16 * 1024;
/// Room for what TLS itself has to say with application data: a key update.
const ASIDE: usize = 256;

/// Ciphertext that so much plaintext becomes, at most, in bytes.
pub(crate) const fn sealed_size(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD) * RECORD_OVERHEAD + ASIDE
}

/// One side of a TLS connection.
pub enum Session {
    /// Who connected.
    Client(UnbufferedClientConnection),
    /// Who was connected to.
    Server(UnbufferedServerConnection),
}

impl From<UnbufferedClientConnection> for Session {
    fn from(connection: UnbufferedClientConnection) -> Self {
        Self::Client(connection)
    }
}

impl From<UnbufferedServerConnection> for Session {
    fn from(connection: UnbufferedServerConnection) -> Self {
        Self::Server(connection)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "Client",
            Self::Server(_) => "Server",
        })
    }
}

/// How far records were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Bytes at the front that are done with.
    pub used: usize,
    /// The peer has said close_notify.
    pub finished: bool,
}

impl Session {
    /// What was agreed on, and the peer's certificates.
    pub fn common(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// Takes every whole record at the front of `incoming`. Plaintext goes to `take`, what TLS has to
    /// answer to the end of `out`.
    ///
    /// # Errors
    /// rustls' reason as [`ErrorKind::InvalidData`]; its alert is in `out` then.
    pub fn open(
        &mut self,
        incoming: &mut [u8],
        out: &mut Vec<u8>,
        take: impl FnMut(&[u8]),
    ) -> io::Result<Opened> {
        match self {
            Self::Client(connection) => open(connection, incoming, out, take),
            Self::Server(connection) => open(connection, incoming, out, take),
        }
    }

    /// Encrypts into `room`, which is at least [`sealed_size`]; says how much it has become. `partial` is
    /// what the last [`Self::open`] has left.
    ///
    /// # Errors
    /// The handshake is not over, the keys are used up, or there is too little room.
    pub(crate) fn seal(
        &mut self,
        partial: &mut [u8],
        plain: &[u8],
        room: &mut [u8],
    ) -> io::Result<usize> {
        let what = Outgoing::Data(plain);
        match self {
            Self::Client(connection) => seal(connection, partial, what, room),
            Self::Server(connection) => seal(connection, partial, what, room),
        }
    }

    /// Writes close_notify to the end of `out`; `partial` as with [`Self::seal`].
    ///
    /// # Errors
    /// The handshake is not over.
    pub(crate) fn close(&mut self, partial: &mut [u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut room = [0; ASIDE];
        let what = Outgoing::Close;
        let written = match self {
            Self::Client(connection) => seal(connection, partial, what, &mut room),
            Self::Server(connection) => seal(connection, partial, what, &mut room),
        }?;
        out.extend_from_slice(room.get(..written).unwrap_or_default());
        Ok(())
    }
}

/// What both sides have in common.
trait Records {
    type Data;

    fn common(&self) -> &CommonState;

    fn records<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn common(&self) -> &CommonState {
        self
    }

    fn records<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn common(&self) -> &CommonState {
        self
    }

    fn records<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

fn open(
    connection: &mut impl Records,
    incoming: &mut [u8],
    out: &mut Vec<u8>,
    mut take: impl FnMut(&[u8]),
) -> io::Result<Opened> {
    let mut opened = Opened {
        used: 0,
        finished: false,
    };
    loop {
        let rest = incoming.get_mut(opened.used..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = connection.records(rest);
        let mut waits = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(broken)?;
                    discard += record.discard;
                    take(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(out, |room| data.encode(room))?;
            }
            // It is sent before anything else is.
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => opened.finished = true,
            Ok(
                ConnectionState::BlockedHandshake
                | ConnectionState::WriteTraffic(_)
                | ConnectionState::Closed,
            ) => waits = true,
            // Early data is never offered nor taken.
            Ok(_) => return Err(ErrorKind::Unsupported.into()),
            Err(reason) => {
                alert(connection, out);
                return Err(broken(reason));
            }
        }
        opened.used += discard;
        if waits {
            return Ok(opened);
        }
    }
}

/// After a failure the alert waits to be fetched. rustls is asked only while it has something to say: its
/// place in what came is lost by then.
fn alert(connection: &mut impl Records, out: &mut Vec<u8>) {
    while connection.common().wants_write() {
        let fetched = match connection.records(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(out, |room| data.encode(room)),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while traffic.next_record().is_some() {}
                Ok(())
            }
            _ => return,
        };
        if fetched.is_err() {
            return;
        }
    }
}

enum Outgoing<'a> {
    Data(&'a [u8]),
    Close,
}

fn seal(
    connection: &mut impl Records,
    partial: &mut [u8],
    what: Outgoing<'_>,
    room: &mut [u8],
) -> io::Result<usize> {
    let mut written = 0;
    loop {
        let rest = room.get_mut(written..).unwrap_or_default();
        match connection.records(partial).state.map_err(broken)? {
            ConnectionState::EncodeTlsData(mut data) => {
                written += data.encode(rest).map_err(io::Error::other)?;
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            // Told by `open` already, or told once more there.
            ConnectionState::PeerClosed => {}
            ConnectionState::WriteTraffic(mut traffic) => {
                let sealed = match what {
                    Outgoing::Data(plain) => traffic.encrypt(plain, rest),
                    Outgoing::Close => traffic.queue_close_notify(rest),
                };
                return match sealed {
                    Ok(more) => Ok(written + more),
                    Err(EncryptError::InsufficientSize(_)) => Err(ErrorKind::WriteZero.into()),
                    Err(reason) => Err(io::Error::other(reason)),
                };
            }
            _ => return Err(ErrorKind::NotConnected.into()),
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

fn broken(reason: Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
