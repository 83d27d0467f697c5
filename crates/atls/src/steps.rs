//! One step of the exchange: within its time, and a refusal when it fails.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use nacre_attest::Evidence;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf,
};

use crate::error::AtlsError;
use crate::exchange::Timeouts;
use crate::queue::ReportQueue;
use crate::wire::{self, MAX_SHORT, Message};

/// The step in which this end waits for a report about itself.
pub(crate) const REPORT: &str = "report";

/// Tells the other end that this end does not go on, and the log why.
pub(crate) async fn tell<S: AsyncWrite + Unpin, T>(
    tls: &mut S,
    timeouts: Timeouts,
    result: Result<T, AtlsError>,
) -> Result<T, AtlsError> {
    if let Err(error) = &result {
        tracing::warn!(reason = %Chain(error), "attested TLS refused");
        if let Some(refusal) = error.refusal() {
            // Whether it arrives changes nothing.
            let _ = send(tls, &Message::Refusal(refusal), timeouts).await;
            let _ = tokio::time::timeout(timeouts.message, tls.shutdown()).await;
        }
    }
    result
}

/// An error with its causes.
struct Chain<'a>(&'a AtlsError);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = std::error::Error::source(self.0);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

pub(crate) async fn within<F: Future>(
    step: &'static str,
    limit: Duration,
    future: F,
) -> Result<F::Output, AtlsError> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| AtlsError::Timeout { step, limit })
}

pub(crate) async fn send<S: AsyncWrite + Unpin>(
    tls: &mut S,
    message: &Message,
    timeouts: Timeouts,
) -> Result<(), AtlsError> {
    let step = message.name();
    within(step, timeouts.message, wire::write(tls, message))
        .await?
        .map_err(|source| AtlsError::Wire { step, source })
}

pub(crate) async fn receive<S: AsyncRead + Unpin>(
    tls: &mut S,
    step: &'static str,
    most: usize,
    timeouts: Timeouts,
) -> Result<Message, AtlsError> {
    match within(step, timeouts.message, wire::read(tls, most)).await? {
        Ok(Message::Refusal(refusal)) => Err(AtlsError::Refused(refusal)),
        Ok(message) => Ok(message),
        Err(source) => Err(AtlsError::Wire { step, source }),
    }
}

/// Evidence about this end, for another end that still waits for it: whoever leaves meanwhile gives back its
/// place in the queue, and costs no report unless the source is at it.
pub(crate) async fn own_evidence<S: AsyncBufRead + Unpin>(
    tls: &mut S,
    queue: &ReportQueue,
    report_data: [u8; 64],
    timeouts: Timeouts,
) -> Result<Evidence, AtlsError> {
    let made = async {
        tokio::select! {
            // Leaving first: a turn at the source that comes at the same moment is not taken.
            biased;
            early = tls.fill_buf() => Err(early.is_ok_and(|bytes| !bytes.is_empty())),
            made = queue.evidence(report_data) => Ok(made),
        }
    };
    match within(REPORT, timeouts.report, made).await? {
        Ok(made) => Ok(made?),
        Err(false) => Err(AtlsError::Gone),
        // It is this end's turn: all that may come is a refusal.
        Err(true) => {
            let early = receive(tls, "refusal", MAX_SHORT, timeouts).await?;
            Err(unexpected("refusal", &early))
        }
    }
}

/// Refuses a client that has sent more than it may before it is accepted.
pub(crate) async fn nothing_more<S: AsyncRead + Unpin>(tls: &mut S) -> Result<(), AtlsError> {
    let mut byte = [0; 1];
    let more = poll_fn(|cx| {
        let mut buffer = ReadBuf::new(&mut byte);
        Poll::Ready(match Pin::new(&mut *tls).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => !buffer.filled().is_empty(),
            Poll::Ready(Err(_)) | Poll::Pending => false,
        })
    });
    if more.await {
        Err(AtlsError::Premature)
    } else {
        Ok(())
    }
}

pub(crate) fn unexpected(expected: &'static str, message: &Message) -> AtlsError {
    AtlsError::Unexpected {
        expected,
        actual: message.name(),
    }
}
