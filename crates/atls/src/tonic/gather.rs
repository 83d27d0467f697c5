//! One record for what is said in one breath.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are held back at most; what one TLS record carries.
const MOST: usize = 16 * 1024;

/// A stream that waits one turn of the scheduler before it flushes, so that frames which HTTP/2 writes one by
/// one share a TLS record, a packet and a system call.
///
/// Nothing is held back longer than that: a flush is [`Poll::Pending`] until every task that was ready has had its turn,
/// wakes its caller then, and writes when it is asked again.
#[derive(Debug)]
pub(super) struct Gather<S> {
    stream: S,
    held: Vec<u8>,
    /// How much of `held` is written.
    written: usize,
    /// The turn that is given for what is held.
    turn: Option<Arc<Turn>>,
}

/// Woken by the scheduler when the turn is over.
#[derive(Debug)]
struct Turn {
    is_over: AtomicBool,
    caller: Mutex<Waker>,
}

impl Turn {
    fn begin(caller: &Waker) -> Arc<Self> {
        let turn = Arc::new(Self {
            is_over: AtomicBool::new(false),
            caller: Mutex::new(caller.clone()),
        });
        // Once is enough: the scheduler keeps the waker, not the future.
        let waker = Waker::from(Arc::clone(&turn));
        let yielded = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
        if yielded.is_ready() {
            turn.is_over.store(true, Ordering::Release);
        }
        turn
    }

    /// Whether it is over; if not, this is the caller that is woken.
    fn is_over(&self, caller: &Waker) -> bool {
        self.caller().clone_from(caller);
        self.is_over.load(Ordering::Acquire)
    }

    fn caller(&self) -> std::sync::MutexGuard<'_, Waker> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.is_over.store(true, Ordering::Release);
        self.caller().wake_by_ref();
    }
}

impl<S> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self::with(stream, Vec::new())
    }

    /// With something that is said first, together with whatever is written next.
    pub(super) fn with(stream: S, held: Vec<u8>) -> Self {
        Self {
            stream,
            held,
            written: 0,
            turn: None,
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
        self.turn = None;
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
        if !this.held.is_empty() {
            let turn = this.turn.get_or_insert_with(|| Turn::begin(cx.waker()));
            if !turn.is_over(cx.waker()) {
                return Poll::Pending;
            }
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

    #[tokio::test]
    async fn a_flush_takes_along_what_others_write_meanwhile() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut stream = Gather::new(near);
        stream.write_all(b"one").await.unwrap();
        let mut polls = 0;
        let flushed = std::future::poll_fn(|cx| {
            polls += 1;
            if polls == 1 {
                // However often the same task asks, its turn comes once.
                for _ in 0..3 {
                    assert!(Pin::new(&mut stream).poll_flush(cx).is_pending());
                }
                let more = Pin::new(&mut stream).poll_write(cx, b"two");
                assert!(matches!(more, Poll::Ready(Ok(3))));
                return Poll::Pending;
            }
            Pin::new(&mut stream).poll_flush(cx)
        });
        flushed.await.unwrap();
        assert_eq!(polls, 2);
        let mut both = [0; 16];
        assert_eq!(far.read(&mut both).await.unwrap(), 6);
        assert_eq!(&both[..6], b"onetwo");
    }

    #[tokio::test]
    async fn who_is_ready_has_a_turn_before_a_flush_writes() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let stream = Arc::new(tokio::sync::Mutex::new(Gather::with(
            near,
            b"zero".to_vec(),
        )));
        let other = Arc::clone(&stream);
        let mut others = None;
        std::future::poll_fn(|cx| {
            let others = others.get_or_insert_with(|| {
                let other = Arc::clone(&other);
                tokio::spawn(async move { other.lock().await.write_all(b"one").await })
            });
            let mut stream = stream.try_lock().unwrap();
            ready!(Pin::new(&mut *stream).poll_flush(cx)).unwrap();
            assert!(others.is_finished());
            Poll::Ready(())
        })
        .await;
        let mut both = [0; 16];
        assert_eq!(far.read(&mut both).await.unwrap(), 7);
        assert_eq!(&both[..7], b"zeroone");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flush_comes_to_its_end_whoever_polls_it() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let stream = Arc::new(Mutex::new(Gather::with(near, b"one".to_vec())));
        // Somebody asks once and never again; another one goes on.
        let first = Arc::clone(&stream);
        let asked = std::future::poll_fn(move |cx| {
            let asked = Pin::new(&mut *first.lock().unwrap()).poll_flush(cx);
            Poll::Ready(asked.is_pending())
        });
        assert!(tokio::spawn(asked).await.unwrap());
        let flushed =
            std::future::poll_fn(move |cx| Pin::new(&mut *stream.lock().unwrap()).poll_flush(cx));
        tokio::spawn(flushed).await.unwrap().unwrap();
        let mut said = [0; 3];
        far.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"one");
    }
}
