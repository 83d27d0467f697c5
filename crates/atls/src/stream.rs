//! Connections after the exchange. Their types say whether the other end is attested.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nacre_attest::{Claims, Evidence};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::binding::EXPORTER_LEN;
use crate::wire::ClientKind;

/// What the other end of a connection has proven, and with what. Clones share it.
#[derive(Clone, Debug)]
pub struct AttestedPeer(Arc<Proof>);

#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) claims: Claims,
    pub(crate) kind: Option<ClientKind>,
    pub(crate) spki: Vec<u8>,
    pub(crate) evidence: Evidence,
    pub(crate) report_data: [u8; 64],
}

impl AttestedPeer {
    pub(crate) fn new(proof: Proof) -> Self {
        Self(Arc::new(proof))
    }

    /// What its evidence says.
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// What it said it is; `None` when it is the server.
    pub fn kind(&self) -> Option<ClientKind> {
        self.0.kind
    }

    /// DER of its key, good for this connection only.
    pub fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// The accepted evidence, for whoever keeps it or wants the whole verdict on it.
    pub fn evidence(&self) -> &Evidence {
        &self.0.evidence
    }

    /// The REPORT_DATA of this connection and role, which the evidence carries.
    pub fn report_data(&self) -> &[u8; 64] {
        &self.0.report_data
    }
}

/// A connection whose other end has proven what it is, on this connection.
#[derive(Debug)]
pub struct Attested<S> {
    pub(crate) stream: S,
    pub(crate) peer: AttestedPeer,
    pub(crate) owner_exporter: [u8; EXPORTER_LEN],
}

impl<S> Attested<S> {
    /// What the other end has proven.
    pub fn peer(&self) -> &AttestedPeer {
        &self.peer
    }

    /// What the evidence of the other end says.
    pub fn claims(&self) -> &Claims {
        self.peer.claims()
    }

    /// What the other end said it is; `None` when it is the server.
    pub fn kind(&self) -> Option<ClientKind> {
        self.peer.kind()
    }

    /// DER of the other end's key, good for this connection only.
    pub fn peer_spki(&self) -> &[u8] {
        self.peer.spki()
    }

    /// What requests of an owner on this connection are bound to: [`crate::binding::owner_request`].
    pub fn owner_exporter(&self) -> &[u8; EXPORTER_LEN] {
        &self.owner_exporter
    }
}

/// A connection whose other end has brought no evidence. What it may do is for its signatures to say.
#[derive(Debug)]
pub struct Unattested<S> {
    pub(crate) stream: S,
    pub(crate) owner_exporter: [u8; EXPORTER_LEN],
}

impl<S> Unattested<S> {
    /// What requests of an owner on this connection are bound to: [`crate::binding::owner_request`].
    pub fn owner_exporter(&self) -> &[u8; EXPORTER_LEN] {
        &self.owner_exporter
    }
}

/// A connection that a port with an [`crate::Admission`] has accepted. Look which before serving it.
#[derive(Debug)]
pub enum Accepted<S> {
    /// The client has proven what it is.
    Attested(Attested<S>),
    /// The client has brought no evidence.
    Unattested(Unattested<S>),
}

impl<S> Accepted<S> {
    pub(crate) fn stream(&mut self) -> &mut S {
        match self {
            Self::Attested(connection) => &mut connection.stream,
            Self::Unattested(connection) => &mut connection.stream,
        }
    }

    /// The stream alone, for one who has kept what the other end has proven.
    pub(crate) fn into_stream(self) -> S {
        match self {
            Self::Attested(connection) => connection.stream,
            Self::Unattested(connection) => connection.stream,
        }
    }
}

macro_rules! delegate {
    ($name:ident) => {
        impl<S: AsyncRead + Unpin> AsyncRead for $name<S> {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
            }
        }

        impl<S: AsyncWrite + Unpin> AsyncWrite for $name<S> {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().stream).poll_flush(cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.stream.is_write_vectored()
            }
        }
    };
}

delegate!(Attested);
delegate!(Unattested);
