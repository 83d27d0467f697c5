//! Carries bytes between a TLS connection and a plain one.
//!
//! One task, both directions, no buffer of its own while nothing is stuck: reads go through two
//! scratch buffers of the thread, and only what a peer does not take at once is kept. So an idle
//! connection costs what rustls keeps for it, and memory goes back when a burst is over.
//!
//! Half-close is kept both ways: a close_notify becomes a FIN and a FIN a close_notify. A TLS side
//! that ends without close_notify is a truncation and resets the plain side.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};

use rustix::net::{RecvFlags, recv};
use rustls::Connection;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Size of a scratch buffer: four TLS records.
const SCRATCH: usize = 64 * 1024;
/// Plaintext read in one go from the plain side: what fits the scratch buffer with record headers.
const CHUNK: usize = 48 * 1024;
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
    tls: Box<Connection>,
    /// Ciphertext read from the socket that rustls could not take yet.
    surplus: Vec<u8>,
    /// The socket has said that nothing more comes.
    ended: bool,
}

impl Tls {
    /// Nothing has been read or written yet.
    pub fn new(socket: TcpStream, tls: impl Into<Connection>) -> Self {
        Self {
            socket,
            tls: Box::new(tls.into()),
            surplus: Vec::new(),
            ended: false,
        }
    }

    /// The connection's TLS state.
    pub fn state(&self) -> &Connection {
        &self.tls
    }

    /// Drives the handshake to its end. On failure an alert has been sent, as far as the peer
    /// takes it.
    ///
    /// # Errors
    /// The socket's, or rustls' reason as [`ErrorKind::InvalidData`] with [`rustls::Error`] inside.
    pub async fn handshake(&mut self) -> io::Result<()> {
        loop {
            self.flush().await?;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            self.socket.readable().await?;
            match self.fill() {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if is_block(&error) => {}
                Err(error) => {
                    let _ = self.flush().await;
                    return Err(error);
                }
            }
        }
    }

    /// Writes what rustls has to say until it is out.
    async fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.drain() {
                Ok(()) => {}
                Err(error) if is_block(&error) => {
                    self.socket.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what rustls has to say as far as the socket takes it.
    fn drain(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut Nonblocking(&self.socket))?;
        }
        Ok(())
    }

    /// Reads once from the socket into rustls; returns how much came, 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        CIPHER.with_borrow_mut(|scratch| {
            let read = self.read(scratch)?;
            let mut rest = scratch.get(..read).unwrap_or_default();
            feed(&mut self.tls, &mut rest)?;
            self.surplus.extend_from_slice(rest);
            Ok(read)
        })
    }

    /// Reads once from the socket; 0 at the end.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let read = read_some(&self.socket, scratch)?;
        if read == 0 {
            self.ended = true;
            self.tls.read_tls(&mut io::empty())?;
        }
        Ok(read)
    }

    /// Carries bytes both ways until both sides are done, and says how many.
    ///
    /// Where one side fails, the other is reset rather than closed, so that nobody takes a cut
    /// stream for a whole one.
    pub async fn relay_with(&mut self, plain: &mut TcpStream) -> (Carried, io::Result<()>) {
        let mut carried = Carried::default();
        let result = self.relay(plain, &mut carried).await;
        if result.is_err() {
            reset(plain);
            reset(&self.socket);
        }
        (carried, result)
    }

    async fn relay(&mut self, plain: &mut TcpStream, carried: &mut Carried) -> io::Result<()> {
        let mut inbound = Inbound::default();
        let mut outbound_ended = false;
        loop {
            // Do what can be done without waiting.
            let mut more = self.receive(plain, &mut inbound, carried)?;
            more |= self.send(plain, &mut outbound_ended, carried)?;

            let sent_all = outbound_ended && !self.tls.wants_write();
            if inbound.closed && sent_all {
                return Ok(());
            }

            if more {
                tokio::task::yield_now().await;
                continue;
            }
            let tls_interest = interest(
                !inbound.closed && inbound.stuck.is_empty() && self.surplus.is_empty(),
                self.tls.wants_write(),
            );
            let plain_interest = interest(
                !outbound_ended && !self.tls.wants_write(),
                !inbound.stuck.is_empty(),
            );
            tokio::select! {
                ready = ready(&self.socket, tls_interest) => { ready?; }
                ready = ready(plain, plain_interest) => { ready?; }
            }
        }
    }

    /// TLS to plain, until one side would block; true when the turn was over before.
    fn receive(
        &mut self,
        plain: &TcpStream,
        inbound: &mut Inbound,
        carried: &mut Carried,
    ) -> io::Result<bool> {
        for _ in 0..TURN {
            if inbound.closed || !inbound.push(plain)? {
                return Ok(false);
            }
            // What was left the last time.
            let kept = std::mem::take(&mut self.surplus);
            let mut rest = kept.as_slice();
            self.pass(&mut rest, plain, inbound, carried)?;
            self.surplus = rest.to_vec();
            if !inbound.stuck.is_empty() {
                return Ok(false);
            }
            if inbound.finished {
                rustix::net::shutdown(plain, rustix::net::Shutdown::Write)?;
                inbound.closed = true;
                return Ok(false);
            }
            if self.ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let came = CIPHER.with_borrow_mut(|scratch| {
                let read = self.read(scratch)?;
                let mut rest = scratch.get(..read).unwrap_or_default();
                self.pass(&mut rest, plain, inbound, carried)?;
                self.surplus.extend_from_slice(rest);
                Ok(())
            });
            match came {
                Ok(()) => {}
                Err(error) if is_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Decrypts and writes on, until nothing is left or the plain side takes no more.
    fn pass(
        &mut self,
        rest: &mut &[u8],
        plain: &TcpStream,
        inbound: &mut Inbound,
        carried: &mut Carried,
    ) -> io::Result<()> {
        PLAIN.with_borrow_mut(|scratch| {
            loop {
                let mut length = 0;
                while let Some(room) = scratch.get_mut(length..)
                    && !room.is_empty()
                {
                    match self.tls.reader().read(room) {
                        Ok(0) => {
                            inbound.finished = true;
                            break;
                        }
                        Ok(read) => length += read,
                        Err(error) if is_block(&error) => {
                            let before = rest.len();
                            feed(&mut self.tls, rest)?;
                            if rest.len() == before {
                                break;
                            }
                        }
                        Err(error) => return Err(error),
                    }
                }
                carried.received += length as u64;
                let mut decrypted = scratch.get(..length).unwrap_or_default();
                write_some(plain, &mut decrypted)?;
                inbound.stuck.extend_from_slice(decrypted);
                if length == 0 || inbound.finished || !inbound.stuck.is_empty() {
                    return Ok(());
                }
            }
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
            match self.drain() {
                Ok(()) => {}
                Err(error) if is_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
            if *ended {
                return Ok(false);
            }
            let read = PLAIN.with_borrow_mut(|scratch| {
                let room = scratch.get_mut(..CHUNK).unwrap_or_default();
                let read = read_some(plain, room)?;
                self.tls
                    .writer()
                    .write_all(scratch.get(..read).unwrap_or_default())?;
                Ok::<usize, io::Error>(read)
            });
            match read {
                Ok(0) => {
                    *ended = true;
                    self.tls.send_close_notify();
                }
                Ok(read) => carried.sent += read as u64,
                Err(error) if is_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The direction from TLS to plain.
#[derive(Debug, Default)]
struct Inbound {
    /// Decrypted bytes the plain side has not taken.
    stuck: Vec<u8>,
    /// The TLS side has said close_notify.
    finished: bool,
    /// The plain side has been told.
    closed: bool,
}

impl Inbound {
    /// Writes what is stuck; true when nothing is left.
    fn push(&mut self, plain: &TcpStream) -> io::Result<bool> {
        if self.stuck.is_empty() {
            return Ok(true);
        }
        let mut rest = self.stuck.as_slice();
        write_some(plain, &mut rest)?;
        let left = rest.len();
        if left == 0 {
            // Gives the memory back.
            self.stuck = Vec::new();
        } else {
            self.stuck.drain(..self.stuck.len() - left);
        }
        Ok(left == 0)
    }
}

/// Feeds rustls as much as it takes.
fn feed(tls: &mut Connection, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() && tls.wants_read() {
        tls.read_tls(rest)?;
        tls.process_new_packets()
            .map_err(|reason| io::Error::new(ErrorKind::InvalidData, reason))?;
    }
    Ok(())
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

/// A socket as a writer that says [`ErrorKind::WouldBlock`].
struct Nonblocking<'a>(&'a TcpStream);

impl Write for Nonblocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
