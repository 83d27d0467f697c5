//! Carries bytes between a TLS connection and a plain one.
//!
//! One task, both directions, no buffer of its own while nothing is stuck: reads go through two
//! scratch buffers of the thread, where records are decrypted in place, and only what a peer does not
//! take at once is kept. So an idle connection costs what rustls keeps for its keys, and memory goes
//! back when a burst is over.
//!
//! Half-close is kept both ways: a close_notify becomes a FIN and a FIN a close_notify. A TLS side
//! that ends without close_notify is a truncation and resets the plain side.

use std::cell::RefCell;
use std::io::{self, ErrorKind};

use rustix::net::{RecvFlags, recv};
use rustls::CommonState;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::session::{Session, sealed_size};

/// Size of a scratch buffer: four TLS records, and at most what a handshake message may take.
const SCRATCH: usize = 64 * 1024;
/// Plaintext read in one go from the plain side: three records, whose ciphertext fits the scratch
/// buffer.
const CHUNK: usize = 48 * 1024;
const _: () = assert!(sealed_size(CHUNK) <= SCRATCH);
/// Scratch buffers that a connection may fill each way before the others have their turn.
const TURN: usize = 8;

thread_local! {
    static CIPHER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
    static PLAIN: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Bytes of application data that went through.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Decrypted: from the TLS side to the plain side.
    pub received: u64,
    /// Encrypted: from the plain side to the TLS side.
    pub sent: u64,
}

/// A TLS connection over a socket, of either side.
#[derive(Debug)]
pub struct Tls {
    socket: TcpStream,
    session: Box<Session>,
    inbound: Inbound,
    /// Ciphertext that the socket has not taken.
    unsent: Vec<u8>,
}

impl Tls {
    /// Nothing has been read or written yet.
    pub fn new(socket: TcpStream, session: impl Into<Session>) -> Self {
        Self {
            socket,
            session: Box::new(session.into()),
            inbound: Inbound::default(),
            unsent: Vec::new(),
        }
    }

    /// The connection's TLS state.
    pub fn state(&self) -> &CommonState {
        self.session.common()
    }

    /// Drives the handshake to its end. On failure an alert has been sent, as far as the peer
    /// takes it.
    ///
    /// # Errors
    /// The socket's, or rustls' reason as [`ErrorKind::InvalidData`] with [`rustls::Error`] inside.
    pub async fn handshake(&mut self) -> io::Result<()> {
        // A client has something to say first.
        self.session.open(&mut [], &mut self.unsent, |_| {})?;
        loop {
            self.flush().await?;
            if !self.state().is_handshaking() {
                return Ok(());
            }
            self.socket.readable().await?;
            match self.fill() {
                Ok(()) if self.inbound.ended => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(()) => {}
                Err(error) if is_block(&error) => {}
                Err(error) => {
                    let _ = self.flush().await;
                    return Err(error);
                }
            }
        }
    }

    /// Writes what is not out until it is.
    async fn flush(&mut self) -> io::Result<()> {
        while !push(&mut self.unsent, &self.socket)? {
            self.socket.writable().await?;
        }
        Ok(())
    }

    /// Reads once from the socket and takes what records are whole. Plaintext that comes with the end
    /// of the handshake is kept.
    fn fill(&mut self) -> io::Result<()> {
        CIPHER.with_borrow_mut(|scratch| {
            let length = self.inbound.read(&self.socket, scratch)?;
            let incoming = scratch.get_mut(..length).unwrap_or_default();
            let stuck = &mut self.inbound.stuck;
            let take = |plain: &[u8]| stuck.extend_from_slice(plain);
            let opened = self.session.open(incoming, &mut self.unsent, take)?;
            self.inbound.finished |= opened.finished;
            self.inbound.keep(incoming.get(opened.used..));
            Ok(())
        })
    }

    /// Carries bytes both ways until both sides are done, and says how many.
    ///
    /// Where one side fails, the other is reset rather than closed, so that nobody takes a cut
    /// stream for a whole one.
    pub async fn relay_with(&mut self, plain: &mut TcpStream) -> (Carried, io::Result<()>) {
        let mut carried = Carried {
            received: self.inbound.stuck.len() as u64,
            sent: 0,
        };
        let result = self.relay(plain, &mut carried).await;
        if result.is_err() {
            reset(plain);
            reset(&self.socket);
        }
        (carried, result)
    }

    async fn relay(&mut self, plain: &mut TcpStream, carried: &mut Carried) -> io::Result<()> {
        let mut outbound_ended = false;
        loop {
            // Do what can be done without waiting.
            let mut more = self.receive(plain, carried)?;
            more |= self.send(plain, &mut outbound_ended, carried)?;

            let inbound = &self.inbound;
            if inbound.closed && outbound_ended && self.unsent.is_empty() {
                return Ok(());
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            let tls_interest = interest(
                !inbound.closed && inbound.stuck.is_empty(),
                !self.unsent.is_empty(),
            );
            let plain_interest = interest(
                !outbound_ended && self.unsent.is_empty(),
                !inbound.stuck.is_empty(),
            );
            tokio::select! {
                ready = ready(&self.socket, tls_interest) => { ready?; }
                ready = ready(plain, plain_interest) => { ready?; }
            }
        }
    }

    /// TLS to plain, until one side would block; true when the turn was over before.
    fn receive(&mut self, plain: &TcpStream, carried: &mut Carried) -> io::Result<bool> {
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
            match self.pass(plain, carried) {
                Ok(()) => {}
                Err(error) if is_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads once, decrypts in place, and writes on what has come.
    fn pass(&mut self, plain: &TcpStream, carried: &mut Carried) -> io::Result<()> {
        CIPHER.with_borrow_mut(|cipher| {
            let length = self.inbound.read(&self.socket, cipher)?;
            let incoming = cipher.get_mut(..length).unwrap_or_default();
            PLAIN.with_borrow_mut(|scratch| {
                let (mut filled, mut fits) = (0, true);
                let take = |record: &[u8]| {
                    let end = filled + record.len();
                    match scratch.get_mut(filled..end) {
                        Some(room) => room.copy_from_slice(record),
                        None => fits = false,
                    }
                    filled = end;
                };
                let opened = self.session.open(incoming, &mut self.unsent, take)?;
                if !fits {
                    // Plaintext is shorter than what it came in.
                    return Err(ErrorKind::InvalidData.into());
                }
                self.inbound.finished |= opened.finished;
                self.inbound.keep(incoming.get(opened.used..));
                carried.received += filled as u64;
                let mut rest = scratch.get(..filled).unwrap_or_default();
                write_some(plain, &mut rest)?;
                self.inbound.stuck.extend_from_slice(rest);
                Ok(())
            })
        })
    }

    /// Plain to TLS, until one side would block; true when the turn was over before.
    fn send(
        &mut self,
        plain: &TcpStream,
        ended: &mut bool,
        carried: &mut Carried,
    ) -> io::Result<bool> {
        for _ in 0..TURN {
            if !push(&mut self.unsent, &self.socket)? || *ended {
                return Ok(false);
            }
            match self.pass_out(plain) {
                Ok(0) => {
                    *ended = true;
                    self.session
                        .close(&mut self.inbound.partial, &mut self.unsent)?;
                }
                Ok(read) => carried.sent += read as u64,
                Err(error) if is_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads once, encrypts, and writes on what it has become; how much was read, 0 at the end.
    fn pass_out(&mut self, plain: &TcpStream) -> io::Result<usize> {
        PLAIN.with_borrow_mut(|scratch| {
            let room = scratch.get_mut(..CHUNK).unwrap_or_default();
            let read = read_some(plain, room)?;
            if read == 0 {
                return Ok(0);
            }
            CIPHER.with_borrow_mut(|cipher| {
                let plain = scratch.get(..read).unwrap_or_default();
                let partial = &mut self.inbound.partial;
                let length = self.session.seal(partial, plain, cipher)?;
                let mut rest = cipher.get(..length).unwrap_or_default();
                write_some(&self.socket, &mut rest)?;
                self.unsent.extend_from_slice(rest);
                Ok(read)
            })
        })
    }
}

/// The direction from TLS to plain.
#[derive(Debug, Default)]
struct Inbound {
    /// The beginning of a record whose end has not come.
    partial: Vec<u8>,
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
            .filter(|(_, room)| !room.is_empty())
        else {
            // rustls has taken nothing of a whole scratch buffer.
            return Err(ErrorKind::InvalidData.into());
        };
        let read = read_some(socket, room)?;
        self.ended |= read == 0;
        front.copy_from_slice(&self.partial);
        Ok(kept + read)
    }

    /// Keeps this for the next time, and no memory for nothing.
    fn keep(&mut self, rest: Option<&[u8]>) {
        self.partial = rest.unwrap_or_default().to_vec();
    }
}

/// Writes what is stuck; true when nothing is left.
fn push(stuck: &mut Vec<u8>, socket: &TcpStream) -> io::Result<bool> {
    if stuck.is_empty() {
        return Ok(true);
    }
    let mut rest = stuck.as_slice();
    write_some(socket, &mut rest)?;
    let left = rest.len();
    if left == 0 {
        // Gives the memory back.
        *stuck = Vec::new();
    } else {
        stuck.drain(..stuck.len() - left);
    }
    Ok(left == 0)
}

/// Reads once. Where less came than there was room for, the socket is known to be empty, and is not
/// asked again before the kernel says that there is more.
fn read_some(socket: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let wanted = room.len();
    let mut partial = None;
    let whole = socket.try_io(Interest::READABLE, || {
        let (read, _) = recv(socket, room, RecvFlags::empty())?;
        if read == 0 || read == wanted {
            return Ok(read);
        }
        partial = Some(read);
        // Tells the runtime that it is not ready any more.
        Err(ErrorKind::WouldBlock.into())
    });
    partial.map_or(whole, Ok)
}

fn is_block(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// Writes until done or until the socket would block.
fn write_some(socket: &TcpStream, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match socket.try_write(rest) {
            Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
            Err(error) if is_block(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes closing send RST.
fn reset(socket: &TcpStream) {
    let _ = socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
}

fn interest(read: bool, write: bool) -> Option<Interest> {
    match (read, write) {
        (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
        (true, false) => Some(Interest::READABLE),
        (false, true) => Some(Interest::WRITABLE),
        (false, false) => None,
    }
}

async fn ready(socket: &TcpStream, interest: Option<Interest>) -> io::Result<()> {
    match interest {
        Some(interest) => socket.ready(interest).await.map(|_| ()),
        None => std::future::pending().await,
    }
}
