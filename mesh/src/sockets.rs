//! Reading and writing sockets that may not be ready.

use std::io::{self, ErrorKind, IoSlice};

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Pieces of plaintext that are written together.
const PIECES: usize = 64;

/// Plaintext on its way to the plain side.
pub(crate) struct Pieces<'a, 's> {
    plain: &'s TcpStream,
    stuck: &'s mut Vec<u8>,
    waiting: [IoSlice<'a>; PIECES],
    filled: usize,
    bytes: u64,
}

impl<'a, 's> Pieces<'a, 's> {
    pub(crate) fn new(plain: &'s TcpStream, stuck: &'s mut Vec<u8>) -> Self {
        Self {
            plain,
            stuck,
            waiting: [IoSlice::new(&[]); PIECES],
            filled: 0,
            bytes: 0,
        }
    }

    pub(crate) fn add(&mut self, piece: &'a [u8]) -> io::Result<()> {
        if self.filled == PIECES {
            self.write()?;
        }
        if let Some(place) = self.waiting.get_mut(self.filled) {
            *place = IoSlice::new(piece);
            self.filled += 1;
            self.bytes += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes what waits; what the plain side does not take is stuck.
    fn write(&mut self) -> io::Result<()> {
        let mut rest = self.waiting.get_mut(..self.filled).unwrap_or_default();
        self.filled = 0;
        // Nothing: where all of it is empty.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() && self.stuck.is_empty() {
            match self.plain.try_write_vectored(rest) {
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if is_block(&error) => break,
                Err(error) => return Err(error),
            }
        }
        for piece in rest {
            self.stuck.extend_from_slice(piece);
        }
        Ok(())
    }

    /// How many bytes it was in all, when the last are written.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.write()?;
        Ok(self.bytes)
    }
}

/// Writes what is stuck; true when nothing is left.
pub(crate) fn push(stuck: &mut Vec<u8>, socket: &TcpStream) -> io::Result<bool> {
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

/// Reads once, as much as `wanted`. Where less came, the socket is known to be empty, and is not asked
/// again before the kernel says that there is more.
pub(crate) fn read_some(
    socket: &TcpStream,
    wanted: usize,
    read: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut partial = None;
    let whole = socket.try_io(Interest::READABLE, || {
        let read = read()?;
        if read == 0 || read == wanted {
            return Ok(read);
        }
        partial = Some(read);
        // Tells the runtime that it is not ready any more.
        Err(ErrorKind::WouldBlock.into())
    });
    partial.map_or(whole, Ok)
}

pub(crate) fn is_block(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// Writes until done or until the socket would block.
pub(crate) fn write_some(socket: &TcpStream, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match socket.try_write(rest) {
            Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
            Err(error) if is_block(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// That a socket has failed is always of interest.
pub(crate) fn interest(read: bool, write: bool) -> Interest {
    match (read, write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE | Interest::ERROR,
        (true, false) => Interest::READABLE | Interest::ERROR,
        (false, true) => Interest::WRITABLE | Interest::ERROR,
        (false, false) => Interest::ERROR,
    }
}
