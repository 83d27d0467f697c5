//! A client's connection.

use tokio::io::{AsyncRead, AsyncWrite};

use super::channel::Channel;
use crate::appraise::Appraise;
use crate::binding::{EXPORTER_LEN, owner_request};
use crate::error::AtlsError;
use crate::exchange::{Connector, dial};
use crate::queue::ReportQueue;
use crate::steps::within;
use crate::stream::AttestedPeer;
use crate::wire::ClientKind;

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
    let channel = within(
        "HTTP/2",
        connector.timeouts().handshake,
        Channel::over(attested),
    );
    Ok(Link {
        channel: channel
            .await?
            .map_err(|error| AtlsError::Http(Box::new(error)))?,
        server,
        exporter,
    })
}
