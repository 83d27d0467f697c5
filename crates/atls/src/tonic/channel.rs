//! One HTTP/2 connection, for tonic's clients.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::gather::Gather;

/// A name for HTTP/2, which needs one. Nothing is decided by it.
const AUTHORITY: &str = "attested.invalid";
/// How often an idle server is asked whether it is still there, and how long it may take to say so.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// What tonic's clients are made of. Clones share the connection, which ends with the last of them and is never
/// replaced: once it is lost, every request fails with [`tonic::Code::Unavailable`].
#[derive(Clone, Debug)]
pub struct Channel(SendRequest<Body>);

impl Channel {
    /// Begins HTTP/2 on a stream.
    pub(super) async fn over<S>(stream: S) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (interval, timeout) = KEEP_ALIVE;
        let stream = TokioIo::new(Gather::new(stream));
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(interval)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(true)
            .handshake(stream)
            .await?;
        tokio::spawn(async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an attested connection is over");
            }
        });
        Ok(Self(requests))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx).map_err(lost)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(Authority::from_static(AUTHORITY));
        match Uri::from_parts(uri) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => {
                let refused = Status::internal(error.to_string());
                return Box::pin(std::future::ready(Err(refused)));
            }
        }
        let answer = self.0.send_request(request);
        Box::pin(async { Ok(answer.await.map_err(lost)?.map(Body::new)) })
    }
}

fn lost(error: hyper::Error) -> Status {
    let mut status = Status::unavailable("the attested connection is over; connect again");
    status.set_source(std::sync::Arc::new(error));
    status
}
