//! Threads that wait for what takes its time, such as firmware.
//!
//! The runtime has such threads too, but wakes them while it holds the lock of their queue: on one core each request
//! then costs twice the switches between threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use tokio::sync::oneshot;

/// Work that may block.
type Job = Box<dyn FnOnce() + Send>;

/// As many threads as were ever busy at the same time; they end with the last clone of this.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers {
    idle: Arc<Mutex<Vec<Worker>>>,
}

/// There is no answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no thread could be had for it, or it panicked")]
pub(crate) struct GivenUp;

impl Workers {
    /// Does something that may block, on another thread. It is done to its end even if nobody waits for it any
    /// more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        let (answer, answered) = oneshot::channel();
        let idle = self.idle().pop();
        let worker = idle.map_or_else(Worker::start, Ok)?;
        let (desk, thread) = (Arc::clone(&worker.desk), worker.thread.clone());
        let (this, busy) = (self.clone(), busy());
        let job = Box::new(move || {
            let _until_answered = busy;
            let done = catch_unwind(AssertUnwindSafe(work));
            // Before the answer: whoever asks next finds this thread.
            this.idle().push(worker);
            if let Ok(done) = done {
                let _ = answer.send(done);
            }
        });
        desk.hold().next = Some(job);
        thread.unpark();
        answered.await.map_err(|_| GivenUp)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread, which ends when this is dropped.
#[derive(Debug)]
struct Worker {
    desk: Arc<Desk>,
    thread: Thread,
}

/// Where a thread finds its work. Nobody holds it while the thread is woken.
#[derive(Default)]
struct Desk(Mutex<Paper>);

#[derive(Default)]
struct Paper {
    next: Option<Job>,
    is_over: bool,
}

impl Worker {
    fn start() -> Result<Self, GivenUp> {
        let desk = Arc::new(Desk::default());
        let its = Arc::clone(&desk);
        let thread = thread::Builder::new().name("report".to_owned());
        let thread = thread.spawn(move || its.work()).map_err(|_| GivenUp)?;
        Ok(Self {
            desk,
            thread: thread.thread().clone(),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.desk.hold().is_over = true;
        self.thread.unpark();
    }
}

impl Desk {
    fn hold(&self) -> MutexGuard<'_, Paper> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut paper = self.hold();
            let (next, is_over) = (paper.next.take(), paper.is_over);
            drop(paper);
            match next {
                Some(job) => job(),
                None if is_over => return,
                None => thread::park(),
            }
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk(..)")
    }
}

/// While it lives, a paused clock of a test stands: it passes over what the runtime does not know to be busy, so
/// one of the runtime's own threads waits along.
struct Busy(
    #[cfg(test)]
    #[expect(dead_code, reason = "dropped")]
    std::sync::mpsc::Sender<()>,
);

#[cfg(not(test))]
fn busy() -> Busy {
    Busy()
}

#[cfg(test)]
fn busy() -> Busy {
    let (done, waits) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || waits.recv());
    Busy(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_is_used_again_and_no_panic_ends_it() {
        let workers = Workers::default();
        let thread = || workers.run(|| thread::current().id());
        let first = thread().await.unwrap();
        assert_ne!(first, thread::current().id());
        let panicked = workers.run(|| panic!("this is part of the test")).await;
        assert!(panicked.is_err());
        for _ in 0..3 {
            assert_eq!(thread().await.unwrap(), first);
        }
        assert_eq!(workers.idle().len(), 1);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_done_and_frees_its_thread() {
        let workers = Workers::default();
        let (go, waits) = std::sync::mpsc::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let mut asked = Box::pin(workers.run(move || {
            waits.recv().unwrap();
            done.send(()).unwrap();
        }));
        let pending = std::future::poll_fn(|cx| std::task::Poll::Ready(asked.as_mut().poll(cx)));
        assert!(pending.await.is_pending());
        drop(asked);
        // Another one has a thread of its own meanwhile.
        assert_eq!(workers.run(|| 7).await.unwrap(), 7);
        go.send(()).unwrap();
        is_done.await.unwrap();
        while workers.idle().len() < 2 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn threads_end_with_the_last_who_could_ask() {
        struct Ended(Option<oneshot::Sender<()>>);
        impl Drop for Ended {
            fn drop(&mut self) {
                let _ = self.0.take().map(|ended| ended.send(()));
            }
        }
        thread_local! {
            static ENDED: std::cell::RefCell<Option<Ended>> = const { std::cell::RefCell::new(None) };
        }
        let (ended, has_ended) = oneshot::channel();
        let workers = Workers::default();
        let last = workers.clone();
        let mark = move || ENDED.set(Some(Ended(Some(ended))));
        workers.run(mark).await.unwrap();
        drop(workers);
        let mut has_ended = Box::pin(has_ended);
        last.run(|| ()).await.unwrap();
        let early = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(has_ended.as_mut().poll(cx).is_ready())
        });
        assert!(!early.await);
        drop(last);
        has_ended.await.unwrap();
    }
}
