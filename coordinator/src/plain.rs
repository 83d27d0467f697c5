//! Plain HTTP/1.1 with limits, for routes that protect themselves or need no protection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nacre_atls::{Places, WhenFull};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a request may take as a whole.
const WHOLE: Duration = Duration::from_secs(30);
/// Pause after the system refused to accept.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest body, in bytes.
pub(crate) const MAX_BODY: usize = 1024;

/// A request, as far as routes look at it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) json: bool,
    pub(crate) body: Bytes,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut body = text.into();
        if !body.ends_with('\n') {
            body.push('\n');
        }
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self {
            status,
            kind: "application/json",
            body: format!("{value:#}\n").into(),
        }
    }
}

/// Answers requests.
pub(crate) trait Routes: Send + Sync + 'static {
    /// The answer to one request whose body is whole.
    fn answer(&self, asked: Asked) -> impl Future<Output = Answer> + Send;
}

/// Serves until told to stop, at most `at_once` connections at a time; then ends what is open. Whoever comes is
/// accepted: the oldest connection of the address with the most gives way.
pub(crate) async fn serve<R: Routes>(
    listener: TcpListener,
    routes: Arc<R>,
    at_once: usize,
    mut stop: watch::Receiver<bool>,
) {
    let places = Places::new(at_once, WhenFull::Replace);
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(mut place) = places.take(remote.ip()) else {
            continue;
        };
        let routes = Arc::clone(&routes);
        open.spawn(async move {
            let service = service_fn(move |request| one(Arc::clone(&routes), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(16 * 1024)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A broken connection is the other end's trouble.
                _ = tokio::time::timeout(WHOLE, connection) => {}
                () = place.given_away() => {}
            }
        });
    }
    let _ = tokio::time::timeout(WHOLE, async { while open.join_next().await.is_some() {} }).await;
}

async fn one<R: Routes>(
    routes: Arc<R>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let json = kind.eq_ignore_ascii_case("application/json");
    let answer = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => {
            let asked = Asked {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                json,
                body: body.to_bytes(),
            };
            routes.answer(asked).await
        }
        Err(_) => Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "at most 1024 bytes"),
    };
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    Ok(response)
}
