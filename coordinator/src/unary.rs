//! The user API at its port: requests that are one message are small, come in time, and are not too many at once
//! before they have come. Whoever sends them has shown nothing yet.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Bytes, Frame, SizeHint};
use hyper::{Request, Response};
use nacre_api::limits::MAX_MESSAGE;
use nacre_api::method;
use nacre_api::v1::user_server::UserServer;
use nacre_atls::tonic::Caller;
use nacre_atls::{Place, Places, WhenFull};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::denied::Denied;
use crate::guard::Core;
use crate::user::{UserApi, refused};

/// Longest request that is one message, in bytes. The longest honest one brings a share, and key and signature of
/// an owner: 5 KiB with an RSA key of 16 384 bits.
const MAX_UNARY: usize = 16 * 1024;
/// Requests of one message at a time that have not come whole: 8 MiB with what is kept to decode them.
const INCOMPLETE: usize = 256;
/// How long such a request may take to come.
const COME: Duration = Duration::from_secs(20);

/// The handlers of port 1313 behind these limits; only a submission is longer, which has its own.
#[derive(Clone, Debug)]
pub(crate) struct UserService {
    unary: UserServer<UserApi>,
    submissions: UserServer<UserApi>,
    incomplete: Arc<Places>,
    core: Arc<Core>,
}

impl UserService {
    pub(crate) fn new(api: UserApi, core: Arc<Core>) -> Self {
        let api = Arc::new(api);
        let server = |most| UserServer::from_arc(Arc::clone(&api)).max_decoding_message_size(most);
        Self {
            unary: server(MAX_UNARY),
            submissions: server(MAX_MESSAGE),
            incomplete: Places::new(INCOMPLETE, WhenFull::Replace),
            core,
        }
    }
}

impl NamedService for UserService {
    const NAME: &'static str = <UserServer<UserApi> as NamedService>::NAME;
}

impl Service<Request<Body>> for UserService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As the generated servers are: always.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path().strip_prefix('/') == Some(method::SET_MANIFEST) {
            return self.submissions.call(request);
        }
        let caller = request.extensions().get::<Caller>();
        let remote = caller.map(Caller::remote);
        let place = remote.and_then(|remote| Some((remote, self.incomplete.take(remote.ip())?)));
        let Some((remote, place)) = place else {
            let answer = Status::from(Denied::Busy).into_http();
            return Box::pin(std::future::ready(Ok(answer)));
        };
        let core = Arc::clone(&self.core);
        self.unary.call(request.map(|inner| {
            Body::new(Coming {
                inner,
                place,
                limit: Box::pin(tokio::time::sleep(COME)),
                refuse: move |denied| refused(&core, "User", remote, denied),
            })
        }))
    }
}

/// A body that has to come in time, at a place that it keeps until it has come.
struct Coming<R> {
    inner: Body,
    place: Place,
    limit: Pin<Box<Sleep>>,
    refuse: R,
}

impl<R: Fn(Denied) -> Status + Unpin> hyper::body::Body for Coming<R> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        // First, for a sender that always has a little more.
        if this.limit.as_mut().poll(cx).is_ready() {
            let slow = Denied::Slow {
                what: "sending the request",
                limit: COME,
            };
            return Poll::Ready(Some(Err((this.refuse)(slow))));
        }
        if this.place.poll_given_away(cx).is_ready() {
            return Poll::Ready(Some(Err((this.refuse)(Denied::Busy))));
        }
        Pin::new(&mut this.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn coming(inner: Body, limit: Duration) -> Coming<impl Fn(Denied) -> Status + Unpin> {
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        Coming {
            inner,
            place: Places::new(1, WhenFull::Refuse).take(address).unwrap(),
            limit: Box::pin(tokio::time::sleep(limit)),
            refuse: Status::from,
        }
    }

    #[tokio::test]
    async fn a_body_has_to_end_in_time() {
        let limit = Duration::from_millis(50);
        let frame = || Ok::<_, Status>(Frame::data(Bytes::from_static(&[0])));
        let silent = tokio_stream::pending::<Result<Frame<Bytes>, Status>>();
        let endless = tokio_stream::iter(std::iter::repeat_with(frame));
        let silent = Body::new(StreamBody::new(silent));
        for body in [silent, Body::new(StreamBody::new(endless))] {
            let mut body = coming(body, limit);
            let ended = async {
                loop {
                    if let Some(Err(status)) = body.frame().await {
                        break status;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
            assert!(ended.unwrap().message().contains("NCR1202"));
        }
        let once = Body::new(StreamBody::new(tokio_stream::once(frame())));
        let whole = coming(once, limit).collect().await.unwrap();
        assert_eq!(&whole.to_bytes()[..], &[0]);
    }
}
