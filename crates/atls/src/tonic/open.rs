//! Which connections have open requests.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tower::{Layer, Service};

use super::caller::Caller;

/// Counts a request as open from its head until its answer is gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountOpen(());

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S>(S);

impl<S> Layer<S> for CountOpen {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted(inner)
    }
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let busy = request.extensions().get().map(Caller::begins);
        let answer = self.0.call(request);
        Box::pin(async move {
            Ok(answer.await?.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    // Held by the body, however it ends.
                    let _ = &busy;
                    frame
                }))
            }))
        })
    }
}
