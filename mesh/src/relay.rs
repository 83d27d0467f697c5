//! Carries bytes between a TLS connection and a plain one.
//!
//! One task, both directions, no buffer of its own while nothing is stuck: reads go to a scratch buffer
//! of the thread, where records are opened and sealed in place, and only what a peer does not take at
//! once is kept. So an idle connection costs its keys, and memory goes back when a burst is over.
//!
//! Half-close is kept both ways: a close_notify becomes a FIN and a FIN a close_notify. A TLS side
//! that ends without close_notify is a truncation and resets the plain side, and so does whatever else
//! keeps the two streams from their end. Where one side has ended and nothing more comes from the other,
//! the connection ends as that of two programs would.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSliceMut};
use std::time::Duration;

use rustix::io::readv;
use rustix::net::{RecvFlags, recv};
use rustls::{AlertDescription, CommonState};
use tokio::net::TcpStream;

use crate::limits::{Left, Part, Pool};
use crate::listen::reset_on_close;
use crate::metrics::{Break, Traffic};
use crate::places::Seat;
use crate::records::{self, HEADER, LONGEST, PLAIN, Records, SLOT};
use crate::session::Session;
use crate::sockets::{Pieces, interest, is_block, push, read_some, write_some};

/// Records that are read or sealed at once. What they carry goes on in one write, which is cut into packets of
/// loopback (64 KiB less its headers) with one small one at its end rather than one in every two.
const SLOTS: usize = 16;
/// The same where half of what may be kept is kept already: a reader that does not read costs as much.
const FEW: usize = 4;
/// Size of the scratch buffer. Full records fill it to the last byte, so that of a stream of them none
/// is read in two parts.
const SCRATCH: usize = SLOTS * SLOT;
/// Bytes of a handshake that are kept, because a message has not come whole, at most. Certificates of a mesh
/// take a tenth of it, and a stranger may have as many connections as there are places.
const HANDSHAKE: usize = LONGEST;
/// Plaintext that is read at once from the plain side where memory is scarce.
const LITTLE: usize = 2048;
/// Scratch buffers that a connection may fill each way before the others have their turn.
const TURN: usize = 2;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// How long a connection may stay without any progress after one side has ended.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// After the plain side has.
    pub plain_ended: Duration,
    /// After the TLS side has.
    pub tls_ended: Duration,
}

/// What a connection shares with others on which data flows.
#[derive(Debug)]
pub struct Terms<'a> {
    /// What all connections keep.
    pub pool: &'a Pool,
    /// Where its bytes are counted.
    pub traffic: &'a Traffic,
    /// How long it may be half-closed.
    pub patience: Patience,
    /// Its place, which it may have to give up.
    pub seat: Option<Seat<'a>>,
}

/// Why a connection did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// A client learns only after its handshake that the server does not want it.
    #[error("the other side refuses: alert {0:?}")]
    Denied(AlertDescription),
    /// One side had ended and nothing more came of the other.
    #[error("half-closed for too long")]
    HalfClosed,
    /// Another connection needs its place.
    #[error("its place went to a newcomer")]
    GaveWay,
    /// A socket failed, or what came is not TLS.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Broken {
    /// The reason that is counted; None for a refusal.
    #[must_use]
    pub fn reason(&self) -> Option<Break> {
        match self {
            Self::Denied(_) => None,
            Self::HalfClosed => Some(Break::HalfClosed),
            Self::GaveWay => Some(Break::GaveWay),
            Self::Io(error) => Some(match error.kind() {
                ErrorKind::UnexpectedEof => Break::Truncated,
                ErrorKind::InvalidData => Break::Tls,
                ErrorKind::TimedOut => Break::Dead,
                _ => Break::Reset,
            }),
        }
    }
}

/// The alert that an error is about, if the peer has sent one.
fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Bytes of application data that are not counted yet.
#[derive(Debug, Default, Clone, Copy)]
struct Carried {
    /// Decrypted: from the TLS side to the plain side.
    received: u64,
    /// Encrypted: from the plain side to the TLS side.
    sent: u64,
}

/// A TLS connection over a socket, of either side, until data flows.
#[derive(Debug)]
pub struct Tls {
    socket: TcpStream,
    session: Session,
    inbound: Inbound,
    /// Ciphertext that the socket has not taken.
    unsent: Vec<u8>,
}

impl Tls {
    /// Nothing has been read or written yet. The configuration of the session has secret extraction
    /// enabled.
    pub fn new(socket: TcpStream, session: impl Into<Session>) -> Self {
        Self {
            socket,
            session: session.into(),
            inbound: Inbound::default(),
            unsent: Vec::new(),
        }
    }

    /// The connection's TLS state.
    #[must_use]
    pub fn state(&self) -> &CommonState {
        self.session.common()
    }

    /// Reads until the first message of a client has come whole and there is an answer to it.
    ///
    /// # Errors
    /// As [`Self::handshake`].
    pub async fn hello(&mut self) -> io::Result<()> {
        while self.unsent.is_empty() {
            self.hear().await?;
        }
        Ok(())
    }

    /// Drives the handshake to its end. On failure an alert has been sent, as far as the peer
    /// takes it.
    ///
    /// # Errors
    /// The socket's, or rustls' reason as [`ErrorKind::InvalidData`] with [`rustls::Error`] inside.
    pub async fn handshake(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            // A client has something to say first.
            self.session.advance(&mut [], &mut self.unsent)?;
        }
        loop {
            while !push(&mut self.unsent, &self.socket)? {
                self.socket.writable().await?;
            }
            if !self.state().is_handshaking() {
                return Ok(());
            }
            self.hear().await?;
        }
    }

    /// Waits for more of the handshake.
    async fn hear(&mut self) -> io::Result<()> {
        self.socket.readable().await?;
        match self.fill() {
            Ok(()) if self.inbound.ended => Err(ErrorKind::UnexpectedEof.into()),
            Ok(()) => Ok(()),
            Err(error) if is_block(&error) => Ok(()),
            Err(error) => {
                // Who does not take it now does not hear why.
                let _ = push(&mut self.unsent, &self.socket);
                Err(error)
            }
        }
    }

    /// Reads once from the socket and goes on with the handshake.
    fn fill(&mut self) -> io::Result<()> {
        BUFFER.with_borrow_mut(|scratch| {
            let scratch = scratch.get_mut(..HANDSHAKE).unwrap_or_default();
            let length = self.inbound.read(&self.socket, scratch)?;
            let incoming = scratch.get_mut(..length).unwrap_or_default();
            let used = self.session.advance(incoming, &mut self.unsent)?;
            self.inbound.keep(incoming.get(used..));
            Ok(())
        })
    }

    /// Carries bytes both ways until both sides are done.
    ///
    /// Where one side fails, the other is reset rather than closed, so that nobody takes a cut
    /// stream for a whole one. The plain side is also reset when this does not come to its end: when the
    /// future is dropped, or the process dies.
    ///
    /// Where half of the pool is used up, little is read at once; where all of it is, only so much that a record is
    /// kept in one direction and [`LITTLE`] in the other.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn relay_with<'a>(
        self,
        plain: &'a mut TcpStream,
        mut terms: Terms<'a>,
    ) -> impl Future<Output = Result<(), Broken>> {
        reset_on_close(plain, true);
        // Outside, so that the future holds it once.
        let relay = self.into_relay(terms.pool);
        async move {
            let mut relay = relay?;
            let mut result = relay.run(plain, &mut terms).await;
            if let Err(Broken::Io(error)) = &result
                && !relay.heard
            {
                // The last that came says more than that the socket has failed.
                let denied = match alert(error) {
                    None => relay.receive(plain).err().and_then(|last| alert(&last)),
                    denied => denied,
                };
                if let Some(denied) = denied {
                    result = Err(Broken::Denied(denied));
                }
            }
            relay.count(terms.traffic);
            // Who was told the end of a whole stream keeps it, also where the other direction is cut.
            let late = matches!(result, Err(Broken::HalfClosed | Broken::GaveWay));
            if result.is_ok() || late && relay.inbound.closed {
                reset_on_close(plain, false);
            }
            if !(result.is_ok() || late && relay.outbound_ended && relay.unsent.is_empty()) {
                // An alert, perhaps.
                let _ = push(&mut relay.unsent, &relay.socket);
                reset_on_close(&relay.socket, true);
            }
            result
        }
    }

    fn into_relay(mut self, pool: &Pool) -> Result<Relay<'_>, Broken> {
        // Application data may have come with the end of the handshake.
        self.inbound.unread = !self.inbound.partial.is_empty();
        match self.session.into_records() {
            Ok(records) => Ok(Relay {
                socket: self.socket,
                records: Box::new(records),
                inbound: self.inbound,
                unsent: self.unsent,
                outbound_ended: false,
                heard: false,
                part: pool.part(),
                carried: Carried::default(),
            }),
            Err(error) => {
                reset_on_close(&self.socket, true);
                Err(error.into())
            }
        }
    }
}

/// A TLS connection on which data flows.
#[derive(Debug)]
struct Relay<'a> {
    socket: TcpStream,
    records: Box<Records>,
    inbound: Inbound,
    /// Ciphertext that the socket has not taken.
    unsent: Vec<u8>,
    /// The plain side has ended.
    outbound_ended: bool,
    /// The TLS side has said something.
    heard: bool,
    /// What is kept of both directions.
    part: Part<'a>,
    carried: Carried,
}

impl Relay<'_> {
    async fn run(&mut self, plain: &mut TcpStream, terms: &mut Terms<'_>) -> Result<(), Broken> {
        let mut failed = false;
        loop {
            // Do what can be done without waiting.
            let mut more = self.receive(plain)?;
            self.count(terms.traffic);
            more |= self.send(plain)?;
            self.count(terms.traffic);

            let inbound = &self.inbound;
            if inbound.closed && self.outbound_ended && self.unsent.is_empty() {
                return Ok(());
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            if failed {
                // A reset counts also where nobody reads or writes now.
                let error = self.socket.take_error()?.or(plain.take_error()?);
                return Err(error.unwrap_or(ErrorKind::ConnectionReset.into()).into());
            }
            if let Some(seat) = &terms.seat {
                seat.seen(self.outbound_ended);
            }
            let limit = match (self.outbound_ended, inbound.finished) {
                (true, _) => Some(terms.patience.plain_ended),
                (_, true) => Some(terms.patience.tls_ended),
                _ => None,
            };
            let tls_interest = interest(
                !inbound.closed && inbound.stuck.is_empty(),
                !self.unsent.is_empty(),
            );
            let plain_interest = interest(
                !self.outbound_ended && self.unsent.is_empty(),
                !inbound.stuck.is_empty(),
            );
            let readiness = tokio::select! {
                ready = self.socket.ready(tls_interest) => ready,
                ready = plain.ready(plain_interest) => ready,
                () = late(limit) => return Err(Broken::HalfClosed),
                () = asked(&mut terms.seat) => return Err(Broken::GaveWay),
            };
            failed = readiness?.is_error();
        }
    }

    /// Counts what is kept now, and what went through.
    fn count(&mut self, traffic: &Traffic) {
        let inbound = &self.inbound;
        self.part
            .set(inbound.partial.capacity() + inbound.stuck.capacity() + self.unsent.capacity());
        let Carried { received, sent } = std::mem::take(&mut self.carried);
        self.heard |= received > 0;
        traffic.add(received, sent);
    }

    /// TLS to plain, until one side would block; true when the turn was over before.
    fn receive(&mut self, plain: &TcpStream) -> io::Result<bool> {
        for _ in 0..TURN {
            if self.inbound.closed || !push(&mut self.inbound.stuck, plain)? {
                return Ok(false);
            }
            if self.inbound.finished {
                rustix::net::shutdown(plain, rustix::net::Shutdown::Write)?;
                self.inbound.closed = true;
                return Ok(false);
            }
            if self.inbound.ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            match self.pass(plain) {
                Ok(()) => {}
                Err(error) if is_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads once, decrypts in place, and writes on what has come.
    fn pass(&mut self, plain: &TcpStream) -> io::Result<()> {
        let most = match self.part.left() {
            Left::Plenty => SCRATCH,
            Left::Little => FEW * SLOT,
            Left::Nothing => self.inbound.one_record(),
        };
        BUFFER.with_borrow_mut(|scratch| {
            let scratch = scratch.get_mut(..most).unwrap_or_default();
            let length = self.inbound.read(&self.socket, scratch)?;
            let incoming = scratch.get_mut(..length).unwrap_or_default();
            let mut pieces = Pieces::new(plain, &mut self.inbound.stuck);
            let opened = self
                .records
                .open(incoming, &mut self.unsent, |piece| pieces.add(piece))?;
            self.carried.received += pieces.finish()?;
            self.inbound.finished |= opened.finished;
            // What stands behind the end is nothing.
            let rest = incoming.get(opened.used..);
            self.inbound.keep(rest.filter(|_| !opened.finished));
            Ok(())
        })
    }

    /// Plain to TLS, until one side would block; true when the turn was over before.
    fn send(&mut self, plain: &TcpStream) -> io::Result<bool> {
        for _ in 0..TURN {
            if !push(&mut self.unsent, &self.socket)? || self.outbound_ended {
                return Ok(false);
            }
            self.records.renew(&mut self.unsent)?;
            match self.pass_out(plain) {
                Ok(0) => {
                    self.outbound_ended = true;
                    self.records.close(&mut self.unsent)?;
                }
                Ok(read) => self.carried.sent += read as u64,
                Err(error) if is_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads once, to where records will be, seals them, and writes them; how much was read, 0 at the
    /// end.
    fn pass_out(&mut self, plain: &TcpStream) -> io::Result<usize> {
        let most = match self.part.left() {
            Left::Plenty => SLOTS * PLAIN,
            Left::Little => FEW * PLAIN,
            Left::Nothing => LITTLE,
        };
        BUFFER.with_borrow_mut(|scratch| {
            let mut slots = scratch.chunks_exact_mut(SLOT);
            let mut rooms: [IoSliceMut<'_>; SLOTS] = std::array::from_fn(|number| {
                let slot = slots.next().unwrap_or_default();
                let length = most.saturating_sub(number * PLAIN).min(PLAIN);
                IoSliceMut::new(slot.get_mut(HEADER..HEADER + length).unwrap_or_default())
            });
            let read = read_some(plain, most, || Ok(readv(plain, &mut rooms)?))?;
            let (mut left, mut sealed) = (read, 0);
            for slot in scratch.chunks_exact_mut(SLOT) {
                if left == 0 {
                    break;
                }
                let length = left.min(PLAIN);
                sealed += self.records.seal(slot, length)?;
                left -= length;
            }
            // A record that is not full is the last, so there are no gaps.
            let mut rest = scratch.get(..sealed).unwrap_or_default();
            if self.unsent.is_empty() {
                write_some(&self.socket, &mut rest)?;
            }
            self.unsent.extend_from_slice(rest);
            Ok(read)
        })
    }
}

/// The direction from TLS to plain.
#[derive(Debug, Default)]
struct Inbound {
    /// What could not be used yet: the beginning of a record whose end has not come.
    partial: Vec<u8>,
    /// There may be whole records in it.
    unread: bool,
    /// Decrypted bytes the plain side has not taken.
    stuck: Vec<u8>,
    /// The socket has said that nothing more comes.
    ended: bool,
    /// The TLS side has said close_notify.
    finished: bool,
    /// The plain side has been told.
    closed: bool,
}

impl Inbound {
    /// Reads once, behind what was kept; says how much there is with it.
    fn read(&mut self, socket: &TcpStream, scratch: &mut [u8]) -> io::Result<usize> {
        let kept = self.partial.len();
        let Some((front, room)) = scratch
            .split_at_mut_checked(kept)
            .filter(|(_, room)| !room.is_empty() || self.unread)
        else {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "a message of the handshake that is too long",
            ));
        };
        let read = if std::mem::take(&mut self.unread) {
            0
        } else {
            let read = read_some(socket, room.len(), || {
                Ok(recv(socket, &mut *room, RecvFlags::empty())?.0)
            })?;
            self.ended |= read == 0;
            read
        };
        front.copy_from_slice(&self.partial);
        Ok(kept + read)
    }

    /// Where the record ends whose beginning is there, as far as is known.
    fn one_record(&self) -> usize {
        let end = records::length(&self.partial).unwrap_or(HEADER);
        // More than a record may have come with the end of the handshake.
        end.max(self.partial.len())
    }

    /// Keeps this for the next time, and no memory for nothing.
    fn keep(&mut self, rest: Option<&[u8]>) {
        self.partial = rest.unwrap_or_default().to_vec();
    }
}

/// When the place is to be given up, or never.
async fn asked(seat: &mut Option<Seat<'_>>) {
    match seat {
        Some(seat) => seat.asked().await,
        None => std::future::pending().await,
    }
}

/// After so long, or never.
async fn late(limit: Option<Duration>) {
    match limit {
        // Few connections need it, so it takes no room in the others.
        Some(limit) => Box::pin(tokio::time::sleep(limit)).await,
        None => std::future::pending().await,
    }
}
