//! A client's connection.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::gather::Gather;
use crate::appraise::Appraise;
use crate::binding::{EXPORTER_LEN, owner_request};
use crate::error::AtlsError;
use crate::exchange::{Connector, dial};
use crate::queue::ReportQueue;
use crate::stream::{Attested, AttestedPeer};
use crate::wire::ClientKind;

/// A name for HTTP/2, which needs one. Nothing is decided by it.
const AUTHORITY: &str = "http://attested.invalid";
/// How often an idle server is asked whether it is still there, and how long it may take to say so.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// What this end proves about itself.
#[derive(Clone, Copy, Debug)]
pub enum Own<'a> {
    /// What it is, with evidence from this queue.
    Attested {
        /// As what; not [`ClientKind::Unattested`].
        kind: ClientKind,
        /// Where reports come from.
        queue: &'a ReportQueue,
    },
    /// Nothing: an owner, or anybody who wants to verify.
    Unattested,
}

/// One attested connection to a server, for tonic's clients.
#[derive(Clone, Debug)]
pub struct Link {
    channel: Channel,
    server: AttestedPeer,
    exporter: [u8; EXPORTER_LEN],
}

impl Link {
    /// What clients are made of. Clones share the connection.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What the server has proven.
    pub fn server(&self) -> &AttestedPeer {
        &self.server
    }

    /// What requests of an owner on this connection are bound to.
    pub fn owner_exporter(&self) -> &[u8; EXPORTER_LEN] {
        &self.exporter
    }

    /// What an owner's online key has to sign for a request on this connection: [`owner_request`].
    pub fn owner_request(&self, method: &str, request_digest: &[u8; 32]) -> Vec<u8> {
        owner_request(&self.exporter, method, request_digest)
    }
}

/// Connects to `host:port`; the server has to satisfy `appraise`.
///
/// Fails with [`AtlsError::Connect`] when the server cannot be reached, with [`AtlsError::Evidence`] when it
/// is not what it should be, and with [`AtlsError::Refused`] when it does not want this client.
pub async fn connect(
    address: &str,
    connector: &Connector,
    own: Own<'_>,
    appraise: &dyn Appraise,
) -> Result<Link, AtlsError> {
    let stream = dial(address, connector.timeouts().handshake).await?;
    over(stream, connector, own, appraise).await
}

/// As [`connect`], over a stream that is already there. A TCP stream should be [`crate::without_delay`].
pub async fn over<S>(
    stream: S,
    connector: &Connector,
    own: Own<'_>,
    appraise: &dyn Appraise,
) -> Result<Link, AtlsError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let attested = match own {
        Own::Attested { kind, queue } => {
            let connecting = connector.connect_attested(stream, kind, queue, appraise);
            connecting.await?
        }
        Own::Unattested => connector.connect_unattested(stream, appraise).await?,
    };
    let (server, exporter) = (attested.peer().clone(), *attested.owner_exporter());
    Ok(Link {
        channel: channel(attested, connector.timeouts().handshake).await?,
        server,
        exporter,
    })
}

async fn channel<S>(
    connection: Attested<TlsStream<S>>,
    limit: Duration,
) -> Result<Channel, AtlsError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (interval, timeout) = KEEP_ALIVE;
    let endpoint = Endpoint::from_static(AUTHORITY)
        .connect_timeout(limit)
        .http2_keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .keep_alive_while_idle(true);
    // The library asks again when the connection is lost. There is only this one.
    let only = Mutex::new(Some(Gather::new(connection)));
    let give = tower::service_fn(move |_: Uri| {
        let connection = only.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::future::ready(connection.map(TokioIo::new).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotConnected,
                "the attested connection is over; connect again",
            )
        }))
    });
    endpoint
        .connect_with_connector(give)
        .await
        .map_err(|error| AtlsError::Http(Box::new(error)))
}
