// What the fuzz targets on frames do with their bytes; the tests of `crates/atls` replay the corpora through
// the same functions.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use nacre_atls::wire::{self, MAX_FRAME, MAX_SHORT, Message, WireError};
use tokio::io::{AsyncRead, ReadBuf};

/// A message of any bytes: read as one thing only, or not at all.
pub(crate) fn frames(bytes: &[u8]) {
    if bytes.len() > MAX_FRAME {
        return;
    }
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
}

/// A stream that comes in pieces, with waits between them, and ends.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
    waits: bool,
    given: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        this.waits = !this.waits;
        if this.waits {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Memory grows with what has come, whatever was announced.
        let room = buffer.remaining();
        assert!(
            room <= 1024 + 4 * this.given,
            "room for {room} after {}",
            this.given
        );
        let count = this.piece.min(room).min(this.rest.len());
        let (now, rest) = this.rest.split_at(count);
        buffer.put_slice(now);
        this.rest = rest;
        this.given += count;
        Poll::Ready(Ok(()))
    }
}

/// A frame from a stream of any bytes: the first says how much comes at once and how long a frame may be.
pub(crate) fn reader(bytes: &[u8]) {
    let Some((&first, stream)) = bytes.split_first() else {
        return;
    };
    let most = if first & 1 == 0 { MAX_SHORT } else { MAX_FRAME };
    let mut pieces = Pieces {
        rest: stream,
        piece: usize::from(first >> 1) + 1,
        waits: false,
        given: 0,
    };
    let read = {
        let mut read = pin!(wire::read(&mut pieces, most));
        let mut context = Context::from_waker(Waker::noop());
        // Every poll takes a piece or meets the end.
        let mut polls = 0;
        loop {
            polls += 1;
            assert!(polls <= 2 * stream.len() + 16, "no progress");
            if let Poll::Ready(read) = read.as_mut().poll(&mut context) {
                break read;
            }
        }
    };
    let consumed = stream.len() - pieces.rest.len();
    let Some((length, rest)) = stream.split_first_chunk::<4>() else {
        assert!(matches!(read, Err(WireError::Io(_))));
        return;
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > most {
        // Nothing of what was announced is read.
        assert_eq!(consumed, 4);
        assert!(matches!(read, Err(WireError::TooLong { bytes, .. }) if bytes == length));
    } else if let Some(frame) = rest.get(..length) {
        // The next frame is left where it is.
        assert_eq!(consumed, 4 + length);
        let text = |error: WireError| error.to_string();
        assert_eq!(read.map_err(text), Message::decode(frame).map_err(text));
    } else {
        assert!(matches!(read, Err(WireError::Io(_))));
    }
}
