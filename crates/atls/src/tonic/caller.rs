//! Who is at the other end of a served connection.

use std::net::SocketAddr;
use std::sync::Arc;

use tonic::{Request, Status};

use crate::binding::{EXPORTER_LEN, owner_request};
use crate::places::{Busy, Work};
use crate::stream::{Accepted, AttestedPeer};
use crate::wire::ClientKind;

/// Who calls, on which connection. Every request of a connection has the same one.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    remote: SocketAddr,
    exporter: [u8; EXPORTER_LEN],
    peer: Peer,
    work: Arc<Work>,
}

/// What a caller has proven.
#[derive(Debug)]
pub enum Peer {
    /// What it is.
    Attested(AttestedPeer),
    /// Nothing: what it may do is for its signatures to say.
    Unattested,
}

impl Caller {
    pub(super) fn new<S>(connection: &Accepted<S>, remote: SocketAddr, work: Arc<Work>) -> Self {
        let (peer, exporter) = match connection {
            Accepted::Attested(of) => (Peer::Attested(of.peer().clone()), of.owner_exporter()),
            Accepted::Unattested(of) => (Peer::Unattested, of.owner_exporter()),
        };
        Self(Arc::new(Facts {
            remote,
            exporter: *exporter,
            peer,
            work,
        }))
    }

    /// A request of this connection is open until the result is dropped.
    pub(super) fn begins(&self) -> Busy {
        self.0.work.begin()
    }

    /// Who made this request.
    ///
    /// `Internal` when the request did not come over a connection of [`super::incoming`].
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| Status::internal("not an attested connection"))
    }

    /// What it has proven.
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// What a caller of this kind has proven; `PermissionDenied` when it is of another or of none.
    pub fn attested(&self, kind: ClientKind) -> Result<&AttestedPeer, Status> {
        match &self.0.peer {
            Peer::Attested(peer) if peer.kind() == Some(kind) => Ok(peer),
            _ => Err(Status::permission_denied(
                "not for this kind of client on this connection",
            )),
        }
    }

    /// The address it came from, which proves nothing.
    pub fn remote(&self) -> SocketAddr {
        self.0.remote
    }

    /// What requests of an owner on this connection are bound to.
    pub fn owner_exporter(&self) -> &[u8; EXPORTER_LEN] {
        &self.0.exporter
    }

    /// What an owner's online key must have signed for this request: [`owner_request`].
    pub fn owner_request(&self, method: &str, request_digest: &[u8; 32]) -> Vec<u8> {
        owner_request(&self.0.exporter, method, request_digest)
    }
}
