//! What happens to one connection, in either direction.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use nacre_meshconfig::{MESH_PORT_MUTUAL, MESH_PORT_SERVER};
use rustls::CertificateError;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use crate::config::{Config, Route};
use crate::dial::Dialer;
use crate::limits::{self, Pool, Room};
use crate::listen;
use crate::material::Material;
use crate::metrics::{Break, Direction, Metrics, Refusal};
use crate::newcomers::{Newcomers, Place, Source};
use crate::peer::Who;
use crate::places::{Places, Seat};
use crate::ration::Ration;
use crate::relay::{Broken, Patience, Terms, Tls};

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for one who has shown who it is to get a place among those.
const PLACE: Duration = Duration::from_secs(10);
/// Time to find somebody who is wanted among all addresses of an egress entry.
const REACH: Duration = Duration::from_secs(30);
/// Time without progress for who was answered to the end: as long as the kernel waits after a close().
const ANSWERED: Duration = Duration::from_secs(60);
/// Time without progress for who has asked to the end and waits for the answer.
const ASKED: Duration = Duration::from_secs(3600);
/// Time to reach the other side.
pub const CONNECT: Duration = Duration::from_secs(10);

/// Places for the connections of an intercepted listener.
#[derive(Debug)]
struct Door {
    /// Who has not shown anything yet.
    handshakes: Arc<Newcomers>,
    established: Places,
}

impl Door {
    fn new(door: limits::Door, kind: Ingress) -> Self {
        Self {
            handshakes: Newcomers::new(door.handshakes),
            established: Places::new(door.established, kind == Ingress::ServerOnly),
        }
    }
}

/// What every connection of the process shares.
#[derive(Debug)]
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// Numbers.
    pub metrics: Metrics,
    material: RwLock<Arc<Material>>,
    dialer: Dialer,
    mutual: Door,
    server_only: Door,
    egress: Semaphore,
    /// How many of these each egress entry may use to reach the other side: one that nobody answers leaves the
    /// others theirs.
    reaching: usize,
    pool: Pool,
    connections: AtomicU64,
    /// Lines about refusals, by reason.
    rations: [Ration; Refusal::ALL.len()],
}

impl Shared {
    /// Begins with the certificates that were read; `room` is how many connections there may be at
    /// once. More wait in the listen queue.
    #[must_use]
    pub fn new(config: Config, material: Material, dialer: Dialer, room: &Room) -> Self {
        let routes = config.egress.len().max(1);
        let metrics = Metrics::default();
        metrics.certificate(material.not_after);
        metrics.room(room);
        Self {
            config,
            metrics,
            material: RwLock::new(Arc::new(material)),
            dialer,
            mutual: Door::new(room.mutual, Ingress::Mutual),
            server_only: Door::new(room.server_only, Ingress::ServerOnly),
            egress: Semaphore::new(room.egress),
            reaching: (room.egress / 2 / routes).max(1),
            pool: Pool::new(room.kept),
            connections: AtomicU64::new(0),
            rations: Default::default(),
        }
    }

    /// Has connections end that only wait for a peer to close what the application has closed.
    pub fn let_done_go(&self) {
        self.mutual.established.let_done_go();
        self.server_only.established.let_done_go();
    }

    /// Whether one more refusal may be said, and how many were not.
    fn may_say(&self, reason: Refusal) -> Option<u64> {
        // A direct hit is what a tcpSocket probe does. The verifier has said whom it did not want.
        if matches!(reason, Refusal::Direct | Refusal::Unwanted) {
            return None;
        }
        self.rations.get(reason as usize)?.may()
    }

    fn door(&self, kind: Ingress) -> &Door {
        match kind {
            Ingress::Mutual => &self.mutual,
            Ingress::ServerOnly => &self.server_only,
        }
    }

    fn terms<'a>(&'a self, direction: Direction, seat: Option<Seat<'a>>) -> Terms<'a> {
        let patience = match direction {
            Direction::Ingress => Patience {
                plain_ended: ANSWERED,
                tls_ended: ASKED,
            },
            Direction::Egress => Patience {
                plain_ended: ASKED,
                tls_ended: ANSWERED,
            },
        };
        Terms {
            pool: &self.pool,
            traffic: self.metrics.traffic(direction),
            patience,
            seat,
        }
    }

    /// The certificates in use.
    #[must_use]
    pub fn material(&self) -> Arc<Material> {
        // Nothing panics while it holds the lock; a poisoned one still holds whole material.
        match self.material.read() {
            Ok(current) => Arc::clone(&current),
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        }
    }

    /// New connections use these certificates; open ones go on.
    pub fn replace(&self, material: Material) {
        self.metrics.certificate(material.not_after);
        let material = Arc::new(material);
        match self.material.write() {
            Ok(mut current) => *current = material,
            Err(poisoned) => *poisoned.into_inner() = material,
        }
    }

    /// The certificates, unless they have expired.
    fn valid_material(&self) -> Result<Arc<Material>, Refused> {
        let material = self.material();
        if unix_now() >= material.not_after {
            return Err(Refused {
                reason: Refusal::Expired,
                cause: "our certificate".into(),
            });
        }
        Ok(material)
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Why a connection was not carried.
#[derive(Debug)]
struct Refused {
    reason: Refusal,
    cause: String,
}

impl Refused {
    fn handshake(error: rustls::Error) -> Self {
        Self {
            reason: Refusal::Handshake,
            cause: error.to_string(),
        }
    }
}

/// The two kinds of intercepted listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingress {
    /// Asks for a client certificate.
    Mutual,
    /// Does not.
    ServerOnly,
}

/// Serves an intercepted listener for as long as the runtime lives.
pub async fn serve_ingress(shared: Arc<Shared>, listener: TcpListener, kind: Ingress) {
    let handshakes = Arc::clone(&shared.door(kind).handshakes);
    loop {
        // Whose it is decides on its place, so one waits here and the others in the kernel's queue.
        let accepted = accept(&shared, &listener).await;
        let source = Source::from(accepted.from.ip());
        let place = handshakes.take(source, accepted.number).await;
        let shared = Arc::clone(&shared);
        // All at once: a future that waits for another is as large as both.
        tokio::spawn(ingress(shared, Box::new((accepted, place)), kind));
    }
}

/// Serves an egress listener for as long as the runtime lives.
pub async fn serve_egress(shared: Arc<Shared>, listener: TcpListener, route: Route) {
    let route = Arc::new(route);
    let reaching = Arc::new(Semaphore::new(shared.reaching));
    // Room first: what there is no room for waits in the kernel's queue.
    while let Ok(permit) = Arc::clone(&reaching).acquire_owned().await {
        let accepted = accept(&shared, &listener).await;
        let (shared, route) = (Arc::clone(&shared), Arc::clone(&route));
        tokio::spawn(egress(shared, accepted, permit, route));
    }
}

/// A connection that has come.
struct Accepted {
    stream: TcpStream,
    number: u64,
    from: SocketAddr,
}

async fn accept(shared: &Shared, listener: &TcpListener) -> Accepted {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                return Accepted {
                    stream,
                    number: shared.connections.fetch_add(1, Ordering::Relaxed),
                    from: listen::canonical(from),
                };
            }
            Err(error) => {
                // Out of file descriptors, most likely: a moment later some will be free.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn ingress(shared: Arc<Shared>, newcomer: Box<(Accepted, Place)>, kind: Ingress) {
    let _active = shared.metrics.opened(Direction::Ingress);
    let number = newcomer.0.number;
    let from = newcomer.0.from;
    // Elsewhere, so that what it takes is free while data flows.
    let entered = Box::pin(enter(&shared, *newcomer, kind)).await;
    match entered {
        Ok(Entered {
            tls,
            mut plain,
            seat,
        }) => {
            let result = tls.relay_with(&mut plain, shared.terms(Direction::Ingress, Some(seat)));
            broken(&shared, Direction::Ingress, result.await);
        }
        Err(Refused { reason, cause }) => {
            shared.metrics.refused(Direction::Ingress, reason);
            if let Some(unsaid) = shared.may_say(reason) {
                tracing::info!(connection = number, %from, reason = reason.label(), %cause, unsaid, "refused");
            }
        }
    }
}

/// A connection between a peer and the application.
struct Entered<'a> {
    tls: Tls,
    plain: TcpStream,
    seat: Seat<'a>,
}

async fn enter(
    shared: &Shared,
    (accepted, mut place): (Accepted, Place),
    kind: Ingress,
) -> Result<Entered<'_>, Refused> {
    let Accepted {
        stream,
        number,
        from,
    } = accepted;
    // Under TPROXY the socket's own address is where the peer wanted to go.
    let target = stream.local_addr().map(listen::canonical);
    let target = target.map_err(|error| Refused {
        reason: Refusal::Direct,
        cause: error.to_string(),
    })?;
    if [MESH_PORT_MUTUAL, MESH_PORT_SERVER].contains(&target.port()) {
        return Err(Refused {
            reason: Refusal::Direct,
            cause: "a port of the mesh".into(),
        });
    }
    let material = shared.valid_material()?;
    let configuration = match kind {
        Ingress::Mutual => material.mutual(target.port()).ok_or_else(unconfigured)?,
        Ingress::ServerOnly => &material.server_only,
    };
    let tls =
        UnbufferedServerConnection::new(Arc::clone(configuration)).map_err(Refused::handshake)?;
    let mut tls = Tls::new(stream, tls);
    // The verifier's words in the log are about this connection.
    let span = tracing::info_span!("ingress", connection = number, %from, %target);
    handshake(prove(&mut tls, &mut place).instrument(span)).await?;
    shared.metrics.handshake(Direction::Ingress);
    let established = &shared.door(kind).established;
    let Some(seat) = established.take(number, PLACE).await else {
        return Err(Refused {
            reason: Refusal::Full,
            cause: "too many connections are open".into(),
        });
    };
    drop(place);

    // Only a peer that has shown who it is causes a connection to the application.
    let plain = within(CONNECT, listen::connect(target)).await?;
    if shared.config.access_log {
        tracing::info!(connection = number, %target, peer = who(&tls), "ingress");
    }
    Ok(Entered { tls, plain, seat })
}

async fn egress(
    shared: Arc<Shared>,
    accepted: Accepted,
    permit: OwnedSemaphorePermit,
    route: Arc<Route>,
) {
    let Ok(_place) = shared.egress.acquire().await else {
        return;
    };
    let Accepted {
        stream: mut plain,
        number,
        ..
    } = accepted;
    let _active = shared.metrics.opened(Direction::Egress);
    // Who is not connected to anybody must not read an empty answer.
    listen::reset_on_close(&plain, true);
    let reached = Box::pin(leave(&shared, &mut plain, &route, number)).await;
    drop(permit);
    let result = match reached {
        Ok(tls) => {
            let result = tls.relay_with(&mut plain, shared.terms(Direction::Egress, None));
            broken(&shared, Direction::Egress, result.await)
        }
        Err(refused) => Some(refused),
    };
    if let Some(Refused { reason, cause }) = result {
        shared.metrics.refused(Direction::Egress, reason);
        if let Some(unsaid) = shared.may_say(reason) {
            tracing::info!(connection = number, route = route.name, reason = reason.label(), %cause, unsaid, "refused");
        }
    }
}

/// Reaches whom the application wants to talk to.
async fn leave(
    shared: &Shared,
    plain: &mut TcpStream,
    route: &Route,
    number: u64,
) -> Result<Tls, Refused> {
    let given_up = |cause: &str| Refused {
        reason: Refusal::Unreachable,
        cause: cause.into(),
    };
    // The application may say that it sends no more, and wait; that it has hung up is an error.
    let tls = tokio::select! {
        reached = tokio::time::timeout(REACH, reach(shared, route, number)) => {
            reached.map_err(|_| given_up("timed out"))??
        }
        _ = plain.ready(Interest::ERROR) => return Err(given_up("the application has hung up")),
    };
    shared.metrics.handshake(Direction::Egress);
    if shared.config.access_log {
        tracing::info!(
            connection = number,
            route = route.name,
            peer = who(&tls),
            "egress"
        );
    }
    Ok(tls)
}

/// Goes through the addresses of a route until one of them is who is meant.
async fn reach(shared: &Shared, route: &Route, number: u64) -> Result<Tls, Refused> {
    let material = shared.valid_material()?;
    let configuration = material.client(&route.name).ok_or_else(unconfigured)?;
    let unreachable = |error: io::Error| Refused {
        reason: Refusal::Unreachable,
        cause: error.to_string(),
    };
    let found = shared.dialer.find(&route.host, route.port).await;
    let mut candidates = found.map_err(unreachable)?;
    let mut refused = unreachable(io::ErrorKind::NotFound.into());
    while let Some(attempt) = candidates.connect().await {
        let stream = match attempt {
            Ok(stream) => stream,
            Err(error) => {
                // Why somebody who answered was not wanted says more than who did not answer.
                if refused.reason == Refusal::Unreachable {
                    refused = unreachable(error);
                }
                continue;
            }
        };
        let name = server_name(&route.host);
        let tls = UnbufferedClientConnection::new(Arc::clone(configuration), name);
        let mut tls = Tls::new(stream, tls.map_err(Refused::handshake)?);
        let span = tracing::info_span!("egress", connection = number, route = route.name);
        match handshake(tls.handshake().instrument(span)).await {
            Ok(()) => return Ok(tls),
            Err(other) => refused = other,
        }
    }
    Err(refused)
}

/// The handshake of a newcomer, for as long as it has its place.
async fn prove(tls: &mut Tls, place: &mut Place) -> io::Result<()> {
    tokio::select! {
        biased;
        said = tls.hello() => said?,
        () = place.asked() => return Err(io::Error::other(GaveWay)),
    }
    place.greeted();
    tokio::select! {
        biased;
        done = tls.handshake() => done?,
        () = place.asked() => return Err(io::Error::other(GaveWay)),
    }
    place.proved();
    Ok(())
}

/// A handshake that others needed the place of.
#[derive(Debug, thiserror::Error)]
#[error("its place went to a newcomer")]
struct GaveWay;

async fn handshake(handshake: impl Future<Output = io::Result<()>>) -> Result<(), Refused> {
    match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Refused {
            reason: if unwanted(&error) {
                Refusal::Unwanted
            } else if error.get_ref().is_some_and(|inner| inner.is::<GaveWay>()) {
                Refusal::GaveWay
            } else {
                Refusal::Handshake
            },
            cause: error.to_string(),
        }),
        Err(_) => Err(Refused {
            reason: Refusal::Handshake,
            cause: "timed out".into(),
        }),
    }
}

/// Whether the verifier knew the peer and did not want it.
fn unwanted(error: &io::Error) -> bool {
    matches!(
        error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure
        ))
    )
}

fn who(tls: &Tls) -> Option<String> {
    let leaf = tls.state().peer_certificates()?.first()?;
    Some(Who::of(leaf).to_string())
}

fn unconfigured() -> Refused {
    Refused {
        reason: Refusal::Handshake,
        cause: "no configuration for it".into(),
    }
}

async fn within(
    patience: Duration,
    connection: impl Future<Output = io::Result<TcpStream>>,
) -> Result<TcpStream, Refused> {
    let refused = |cause| Refused {
        reason: Refusal::Unreachable,
        cause,
    };
    match tokio::time::timeout(patience, connection).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused("timed out".into())),
    }
}

/// Counts how a connection ended. Only a client is told after its handshake that it is not wanted.
fn broken(shared: &Shared, direction: Direction, result: Result<(), Broken>) -> Option<Refused> {
    let error = result.err()?;
    if let (Direction::Egress, Broken::Denied(_)) = (direction, &error) {
        return Some(Refused {
            reason: Refusal::Denied,
            cause: error.to_string(),
        });
    }
    shared
        .metrics
        .broken(direction, error.reason().unwrap_or(Break::Tls));
    tracing::debug!(direction = direction.label(), %error, "connection broke");
    None
}

/// The name in the ClientHello. It is not what the certificate is checked against.
fn server_name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of what a task keeps for as long as it lives.
    fn held<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_open_connection_holds_little() {
        fn out(
            shared: Arc<Shared>,
            accepted: Accepted,
            (permit, route): (OwnedSemaphorePermit, Arc<Route>),
        ) -> impl Future {
            egress(shared, accepted, permit, route)
        }
        let (ingress, egress) = (held(ingress), held(out));
        // Handshake, name and dialling, which take more, are over by then.
        assert!(ingress <= 1400 && egress <= 1400, "{ingress}, {egress}");
    }
}
