//! One record for what is said in one breath.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are held back at most; what one TLS record carries.
const MOST: usize = 16 * 1024;

/// A stream that waits one turn of the scheduler before it flushes, so that frames which HTTP/2 writes one by
/// one share a TLS record, a packet and a system call.
///
/// Nothing is held back longer than that: a flush is [`Poll::Pending`] once, wakes its caller at once, and
/// writes when it is asked again.
#[derive(Debug)]
pub(super) struct Gather<S> {
    stream: S,
    held: Vec<u8>,
    /// How much of `held` is written.
    written: usize,
    /// The turn has been given for what is held.
    waited: bool,
}

impl<S> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            held: Vec::new(),
            written: 0,
            waited: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes what is held.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self
            .held
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.held.clear();
        self.written = 0;
        self.waited = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.written > 0 || this.held.len() + buf.len() > MOST {
            ready!(this.poll_drain(cx))?;
        }
        if buf.len() <= MOST {
            this.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() && !this.waited {
            this.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Notes the length of each write, of which it takes seven bytes at most.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<usize>>>, usize);

    impl AsyncWrite for Sink {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.2 += 1;
            if this.2.is_multiple_of(3) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = buf.len().min(7);
            this.1.lock().unwrap().push(buf.len());
            this.0.lock().unwrap().extend_from_slice(&buf[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn frames_are_gathered_and_in_order() {
        let sink = Sink::default();
        let (bytes, writes) = (Arc::clone(&sink.0), Arc::clone(&sink.1));
        let mut stream = Gather::new(sink);
        let mut expected: Vec<u8> = Vec::new();
        for (round, size) in [1, 20, 5000, MOST, MOST + 1, 40_000, 3]
            .into_iter()
            .enumerate()
        {
            let part: Vec<u8> = (0..size).map(|at| (at + round) as u8).collect();
            stream.write_all(&part).await.unwrap();
            expected.extend(&part);
        }
        stream.flush().await.unwrap();
        assert_eq!(*bytes.lock().unwrap(), expected);
        // The first three stood together.
        assert_eq!(writes.lock().unwrap()[0], 5021);
        stream.write_all(b"last").await.unwrap();
        stream.shutdown().await.unwrap();
        expected.extend(b"last");
        assert_eq!(*bytes.lock().unwrap(), expected);
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_flush_takes_along_what_others_write_meanwhile() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut stream = Gather::new(near);
        stream.write_all(b"one").await.unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let first = Pin::new(&mut stream).poll_flush(&mut Context::from_waker(&waker));
        assert!(first.is_pending() && woken.0.load(Ordering::Relaxed));
        stream.write_all(b"two").await.unwrap();
        stream.flush().await.unwrap();
        let mut both = [0; 16];
        assert_eq!(far.read(&mut both).await.unwrap(), 6);
        assert_eq!(&both[..6], b"onetwo");
    }
}
