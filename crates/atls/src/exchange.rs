//! The exchange on an established TLS session, from either side.

use std::time::Duration;

use aws_lc_rs::rand;
use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::admission::{Admission, Served};
use crate::appraise::Appraise;
use crate::binding::{Connection, EXPORTER_LABEL, EXPORTER_LEN, OWNER_EXPORTER_LABEL, Role};
use crate::error::AtlsError;
use crate::key::OneKey;
use crate::queue::ReportQueue;
use crate::steps::{nothing_more, own_evidence, receive, send, tell, unexpected, within};
use crate::stream::{Accepted, Attested, AttestedPeer, Proof, Unattested};
use crate::tls::{ALPN, client_config, server_config, server_name};
use crate::wire::{ClientKind, MAX_FRAME, MAX_SHORT, Message, NONCE_LEN};

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The TLS handshake.
    pub handshake: Duration,
    /// Each message from the other end, whole.
    pub message: Duration,
    /// A report about this end, waiting included.
    pub report: Duration,
}

impl Timeouts {
    /// For a port at which many come at once and wait for one processor, and for those who come there: the
    /// firmware makes one report at a time. Who left sooner would cost a report each, and come again.
    pub const PATIENT: Self = Self {
        handshake: Duration::from_secs(30),
        message: Duration::from_secs(60),
        report: Duration::from_secs(60),
    };
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            message: Duration::from_secs(20),
            report: Duration::from_secs(15),
        }
    }
}

/// The server's side of a port.
#[derive(Debug)]
pub struct Acceptor {
    queue: ReportQueue,
    timeouts: Timeouts,
}

impl Acceptor {
    /// Brings evidence from `queue` to every client that gets as far as its first message.
    pub fn new(queue: ReportQueue, timeouts: Timeouts) -> Self {
        Self { queue, timeouts }
    }

    /// Serves a client of a kind that `admission` names.
    ///
    /// What is refused is written to the log with its reason; the client learns a code.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        admission: &Admission,
    ) -> Result<Accepted<server::TlsStream<S>>, AtlsError> {
        let key = OneKey::generate()?;
        self.accept_as(key, stream, |kind| admission.of(kind)).await
    }

    /// As [`Acceptor::accept`], for a connection that needs a place. `place` is asked for it when the client is
    /// what it has to be, and before it is told so: saying [`Message::Accept`] is left to the caller.
    pub(crate) async fn admit_at<S: AsyncRead + AsyncWrite + Unpin, P>(
        &self,
        stream: S,
        admission: &Admission,
        place: impl FnOnce() -> Option<P>,
    ) -> Result<(Accepted<server::TlsStream<S>>, P), AtlsError> {
        let key = OneKey::generate()?;
        self.admit_as(key, stream, |kind| admission.of(kind), place)
            .await
    }

    pub(crate) async fn accept_as<'a, S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        key: OneKey,
        stream: S,
        serve: impl FnOnce(ClientKind) -> Option<Served<'a>>,
    ) -> Result<Accepted<server::TlsStream<S>>, AtlsError> {
        let admitted = self.admit_as(key, stream, serve, || Some(()));
        let (mut accepted, ()) = admitted.await?;
        // From here on nothing of this end can fail any more.
        send(accepted.stream(), &Message::Accept, self.timeouts).await?;
        Ok(accepted)
    }

    async fn admit_as<'a, S: AsyncRead + AsyncWrite + Unpin, P>(
        &self,
        key: OneKey,
        stream: S,
        serve: impl FnOnce(ClientKind) -> Option<Served<'a>>,
        place: impl FnOnce() -> Option<P>,
    ) -> Result<(Accepted<server::TlsStream<S>>, P), AtlsError> {
        let mut tls = self.handshake(&key, stream).await?;
        let result = self.admit(&mut tls, key.spki, serve).await;
        let result = result.and_then(|peer| {
            let owner_exporter = export(tls.get_ref().1, OWNER_EXPORTER_LABEL)?;
            Ok((peer, owner_exporter, place().ok_or(AtlsError::Full)?))
        });
        let (peer, owner_exporter, place) = tell(&mut tls, self.timeouts, result).await?;
        let connection = match peer {
            Some(peer) => Accepted::Attested(Attested {
                stream: tls,
                peer,
                owner_exporter,
            }),
            None => Accepted::Unattested(Unattested {
                stream: tls,
                owner_exporter,
            }),
        };
        Ok((connection, place))
    }

    /// Serves a client that has to be attested as `kind`; as [`Acceptor::accept`].
    pub async fn accept_attested<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        kind: ClientKind,
        appraise: &dyn Appraise,
    ) -> Result<Attested<server::TlsStream<S>>, AtlsError> {
        if kind == ClientKind::Unattested {
            return Err(AtlsError::Kind);
        }
        let serve = |stated| (stated == kind).then_some(Served::Attested(kind, appraise));
        let key = OneKey::generate()?;
        match self.accept_as(key, stream, serve).await? {
            Accepted::Attested(connection) => Ok(connection),
            Accepted::Unattested(_) => Err(AtlsError::Kind),
        }
    }

    /// Serves a client that brings no evidence; as [`Acceptor::accept`].
    pub async fn accept_unattested<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<Unattested<server::TlsStream<S>>, AtlsError> {
        match self.accept(stream, &Admission::unattested()).await? {
            Accepted::Unattested(connection) => Ok(connection),
            Accepted::Attested(_) => Err(AtlsError::Kind),
        }
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        key: &OneKey,
        stream: S,
    ) -> Result<server::TlsStream<S>, AtlsError> {
        let acceptor = TlsAcceptor::from(server_config(key)?);
        let limit = self.timeouts.handshake;
        within("TLS handshake", limit, acceptor.accept(stream))
            .await?
            .map_err(AtlsError::Handshake)
    }

    /// The exchange; `None` when the client brings no evidence and need not.
    async fn admit<'a, S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &mut server::TlsStream<S>,
        spki: Vec<u8>,
        serve: impl FnOnce(ClientKind) -> Option<Served<'a>>,
    ) -> Result<Option<AttestedPeer>, AtlsError> {
        let (connection, served) = self.prove(tls, spki, serve).await?;
        let (kind, appraise) = match served {
            Served::Unattested => {
                let step = "client without evidence";
                return match receive(tls, step, MAX_SHORT, self.timeouts).await? {
                    Message::ClientUnattested => nothing_more(tls).await.map(|()| None),
                    other => Err(unexpected(step, &other)),
                };
            }
            Served::Attested(kind, appraise) => (kind, appraise),
        };
        let evidence = match receive(tls, "client evidence", MAX_FRAME, self.timeouts).await? {
            Message::ClientEvidence { evidence } => evidence,
            other => return Err(unexpected("client evidence", &other)),
        };
        nothing_more(tls).await?;
        let report_data = connection.report_data(Role::Client(kind));
        let claims = appraise
            .appraise(&evidence, report_data)
            .map_err(AtlsError::Evidence)?;
        Ok(Some(AttestedPeer::new(Proof {
            claims,
            kind: Some(kind),
            spki: connection.client_spki,
            evidence,
            report_data,
        })))
    }

    /// Reads the client's hello and answers with evidence about this end.
    async fn prove<'a, S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &mut server::TlsStream<S>,
        spki: Vec<u8>,
        serve: impl FnOnce(ClientKind) -> Option<Served<'a>>,
    ) -> Result<(Connection, Served<'a>), AtlsError> {
        let client_spki = peer_key(tls.get_ref().1)?;
        let (nonce_client, served) = match receive(tls, "client hello", MAX_SHORT, self.timeouts)
            .await?
        {
            Message::ClientHello { nonce, kind } => (nonce, serve(kind).ok_or(AtlsError::Kind)?),
            other => return Err(unexpected("client hello", &other)),
        };
        let connection = Connection {
            server_spki: spki,
            client_spki,
            nonce_client,
            nonce_server: nonce()?,
            exporter: export(tls.get_ref().1, EXPORTER_LABEL)?,
        };
        let report_data = connection.report_data(Role::Server);
        let evidence = own_evidence(tls, &self.queue, report_data, self.timeouts).await?;
        let message = Message::ServerEvidence {
            nonce: connection.nonce_server,
            evidence,
        };
        send(tls, &message, self.timeouts).await?;
        Ok((connection, served))
    }
}

/// The client's side.
#[derive(Debug, Default)]
pub struct Connector {
    timeouts: Timeouts,
}

impl Connector {
    /// Every step within these limits.
    pub fn new(timeouts: Timeouts) -> Self {
        Self { timeouts }
    }

    /// How long each step may take.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Connects as `kind` with evidence from `queue`; the server has to satisfy `appraise`.
    pub async fn connect_attested<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        kind: ClientKind,
        queue: &ReportQueue,
        appraise: &dyn Appraise,
    ) -> Result<Attested<client::TlsStream<S>>, AtlsError> {
        if kind == ClientKind::Unattested {
            return Err(AtlsError::Kind);
        }
        let key = OneKey::generate()?;
        self.connect(key, stream, kind, Some(queue), appraise).await
    }

    /// Connects without evidence of its own; the server has to satisfy `appraise`.
    pub async fn connect_unattested<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        appraise: &dyn Appraise,
    ) -> Result<Attested<client::TlsStream<S>>, AtlsError> {
        let key = OneKey::generate()?;
        self.connect(key, stream, ClientKind::Unattested, None, appraise)
            .await
    }

    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        key: OneKey,
        stream: S,
        kind: ClientKind,
        queue: Option<&ReportQueue>,
        appraise: &dyn Appraise,
    ) -> Result<Attested<client::TlsStream<S>>, AtlsError> {
        let connector = TlsConnector::from(client_config(&key)?);
        let handshake = connector.connect(server_name(), stream);
        let mut tls = within("TLS handshake", self.timeouts.handshake, handshake)
            .await?
            .map_err(AtlsError::Handshake)?;
        let result = self
            .exchange(&mut tls, key.spki, kind, queue, appraise)
            .await;
        let peer = tell(&mut tls, self.timeouts, result).await?;
        Ok(Attested {
            owner_exporter: export(tls.get_ref().1, OWNER_EXPORTER_LABEL)?,
            stream: tls,
            peer,
        })
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &mut client::TlsStream<S>,
        spki: Vec<u8>,
        kind: ClientKind,
        queue: Option<&ReportQueue>,
        appraise: &dyn Appraise,
    ) -> Result<AttestedPeer, AtlsError> {
        let server_spki = peer_key(tls.get_ref().1)?;
        let nonce_client = nonce()?;
        send(
            tls,
            &Message::ClientHello {
                nonce: nonce_client,
                kind,
            },
            self.timeouts,
        )
        .await?;
        let (nonce_server, evidence) =
            match receive(tls, "server evidence", MAX_FRAME, self.timeouts).await? {
                Message::ServerEvidence { nonce, evidence } => (nonce, evidence),
                other => return Err(unexpected("server evidence", &other)),
            };
        let connection = Connection {
            server_spki,
            client_spki: spki,
            nonce_client,
            nonce_server,
            exporter: export(tls.get_ref().1, EXPORTER_LABEL)?,
        };
        let report_data = connection.report_data(Role::Server);
        let claims = appraise
            .appraise(&evidence, report_data)
            .map_err(AtlsError::Evidence)?;
        let message = match queue {
            Some(queue) => {
                let report_data = connection.report_data(Role::Client(kind));
                let evidence = own_evidence(tls, queue, report_data, self.timeouts).await?;
                Message::ClientEvidence { evidence }
            }
            None => Message::ClientUnattested,
        };
        send(tls, &message, self.timeouts).await?;
        // Only now is it certain that the server has accepted: TLS alone does not say so.
        match receive(tls, "acceptance", MAX_SHORT, self.timeouts).await? {
            Message::Accept => Ok(AttestedPeer::new(Proof {
                claims,
                kind: None,
                spki: connection.server_spki,
                evidence,
                report_data,
            })),
            other => Err(unexpected("acceptance", &other)),
        }
    }
}

/// Opens a TCP connection for [`Connector`], without Nagle's delay.
pub async fn dial(address: &str, limit: Duration) -> Result<TcpStream, AtlsError> {
    let stream = within("connecting", limit, TcpStream::connect(address))
        .await?
        .map_err(AtlsError::Connect)?;
    without_delay(&stream)?;
    Ok(stream)
}

/// Turns Nagle's delay off, which would add 40 ms to small messages. For accepted sockets.
pub fn without_delay(stream: &TcpStream) -> Result<(), AtlsError> {
    stream.set_nodelay(true).map_err(AtlsError::Connect)
}

/// The other end's key, once it is certain that the protocol is ours.
fn peer_key(session: &CommonState) -> Result<Vec<u8>, AtlsError> {
    if session.alpn_protocol() != Some(ALPN) {
        return Err(AtlsError::Incomplete {
            what: "protocol name",
        });
    }
    match session.peer_certificates() {
        Some([key]) => Ok(key.as_ref().to_vec()),
        _ => Err(AtlsError::Incomplete { what: "key" }),
    }
}

/// A session that gives exporter values.
trait Export {
    fn export(&self, label: &[u8]) -> Result<[u8; EXPORTER_LEN], rustls::Error>;
}

impl Export for rustls::ServerConnection {
    fn export(&self, label: &[u8]) -> Result<[u8; EXPORTER_LEN], rustls::Error> {
        self.export_keying_material([0; EXPORTER_LEN], label, Some(&[]))
    }
}

impl Export for rustls::ClientConnection {
    fn export(&self, label: &[u8]) -> Result<[u8; EXPORTER_LEN], rustls::Error> {
        self.export_keying_material([0; EXPORTER_LEN], label, Some(&[]))
    }
}

fn export(session: &impl Export, label: &[u8]) -> Result<[u8; EXPORTER_LEN], AtlsError> {
    Ok(session.export(label)?)
}

fn nonce() -> Result<[u8; NONCE_LEN], AtlsError> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
    Ok(nonce)
}
