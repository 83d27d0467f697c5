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

use rustls::Connection;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Size of a scratch buffer: four TLS records.
const SCRATCH: usize = 64 * 1024;
/// Plaintext read in one go from the plain side: what fits the scratch buffer with record headers.
const CHUNK: usize = 48 * 1024;

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
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
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
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
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
            let read = self.socket.try_read(scratch)?;
            if read == 0 {
                self.ended = true;
                self.tls.read_tls(&mut io::empty())?;
                return Ok(0);
            }
            let mut rest = scratch.get(..read).unwrap_or_default();
            feed(&mut self.tls, &mut rest)?;
            if !rest.is_empty() {
                self.surplus.extend_from_slice(rest);
            }
            Ok(read)
        })
    }

    /// Gives rustls what it could not take before.
    fn refill(&mut self) -> io::Result<()> {
        let kept = std::mem::take(&mut self.surplus);
        let mut rest = kept.as_slice();
        feed(&mut self.tls, &mut rest)?;
        if !rest.is_empty() {
            self.surplus = rest.to_vec();
        }
        Ok(())
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
            self.receive(plain, &mut inbound, carried)?;
            self.send(plain, &mut outbound_ended, carried)?;

            let sent_all = outbound_ended && !self.tls.wants_write();
            if inbound.closed && sent_all {
                return Ok(());
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

    /// TLS to plain, until one side would block.
    fn receive(
        &mut self,
        plain: &TcpStream,
        inbound: &mut Inbound,
        carried: &mut Carried,
    ) -> io::Result<()> {
        while !inbound.closed {
            if !inbound.push(plain)? {
                return Ok(());
            }
            if self.decrypt(plain, inbound, carried)? {
                continue;
            }
            if inbound.finished {
                rustix::net::shutdown(plain, rustix::net::Shutdown::Write)?;
                inbound.closed = true;
                return Ok(());
            }
            if !self.surplus.is_empty() {
                self.refill()?;
                continue;
            }
            if self.ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            match self.fill() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes decrypted bytes from rustls and writes them on; false when there are none.
    fn decrypt(
        &mut self,
        plain: &TcpStream,
        inbound: &mut Inbound,
        carried: &mut Carried,
    ) -> io::Result<bool> {
        PLAIN.with_borrow_mut(|scratch| {
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
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            carried.received += length as u64;
            let mut rest = scratch.get(..length).unwrap_or_default();
            write_some(plain, &mut rest)?;
            inbound.stuck.extend_from_slice(rest);
            Ok(length > 0)
        })
    }

    /// Plain to TLS, until one side would block.
    fn send(
        &mut self,
        plain: &TcpStream,
        ended: &mut bool,
        carried: &mut Carried,
    ) -> io::Result<()> {
        loop {
            match self.drain() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if *ended {
                return Ok(());
            }
            let read = PLAIN.with_borrow_mut(|scratch| {
                let room = scratch.get_mut(..CHUNK).unwrap_or_default();
                let read = plain.try_read(room)?;
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
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
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

/// Writes until done or until the socket would block.
fn write_some(socket: &TcpStream, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match socket.try_write(rest) {
            Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
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
