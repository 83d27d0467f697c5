//! The parts put together, and their end.

use std::fmt;
use std::future::pending;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nacre_api::v1::mesh_server::MeshServer;
use nacre_atls::tonic::{GrpcRouter, Incoming, Limits, incoming, server};
use nacre_atls::{Acceptor, Admission, AtlsError, ClientKind, ReportQueue, Timeouts};
use nacre_attest::{Report, ReportError, ReportSource, SourceError, Verifier};
use nacre_history::{GenesisAuthority, ManifestReader, Rules};
use nacre_manifest::PolicyHash;
use nacre_store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::authority::Authority;
use crate::clock::{Clock, Time};
use crate::config::{Addresses, Config};
use crate::denied::{Denied, chain};
use crate::files;
use crate::follow::Look;
use crate::guard::{Core, InForce, Seen, Wanted};
use crate::health::Health;
use crate::http::Attest;
use crate::mesh::MeshApi;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::plain;
use crate::state::{Cell, State};
use crate::storage::Storage;
use crate::unary::UserService;
use crate::user::UserApi;

/// Longest message to the mesh API, in bytes: a signing request and what stands around it.
const MESH_MESSAGE: usize = 64 * 1024;
/// Connections at a time on each port of plain HTTP.
const PLAIN: usize = 64;
/// What 1313 takes on.
const USER: Limits = Limits {
    exchanges: 64,
    connections: 256,
    // An owner may be asked for a passphrase meanwhile.
    idle: Duration::from_secs(300),
};
/// What 7777 takes on.
const MESH: Limits = Limits {
    exchanges: 1024,
    connections: 2048,
    idle: Duration::from_secs(60),
};
/// Connections at a time on all ports.
pub(crate) const CONNECTIONS: usize =
    USER.exchanges + USER.connections + MESH.exchanges + MESH.connections + 2 * PLAIN;

/// What a Coordinator is given as values. Roots of evidence other than AMD's come in here or not at all.
pub struct Deps {
    /// Verifies the evidence of others.
    pub verifier: Arc<Verifier>,
    /// Gives evidence about this one.
    pub reports: Arc<dyn ReportSource>,
    /// Reads manifests.
    pub reader: ManifestReader,
    /// Keeps the history.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Clock,
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps")
            .field("reports", &self.reports.name())
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Why a Coordinator does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A port is taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No evidence, so nobody could trust this Coordinator.
    #[error("no evidence about this Coordinator")]
    Evidence(#[from] SourceError),
    /// What the firmware gave is no report.
    #[error("what the firmware gave is no report")]
    Report(#[from] ReportError),
    /// The store cannot be read.
    #[error("cannot read the history: {reason}")]
    Store {
        /// Why, with causes.
        reason: String,
    },
    /// A part could not be set up.
    #[error("attested TLS")]
    Atls(#[from] AtlsError),
    /// A server ended.
    #[error("a server ended")]
    Serve(#[from] tonic::transport::Error),
    /// The system refused something.
    #[error("the system refused")]
    System(#[from] io::Error),
}

/// A Coordinator that listens.
pub struct Coordinator {
    addresses: Addresses,
    drain: Duration,
    authority: Arc<Authority>,
    peers: Arc<Peers>,
    queues: Queues,
    reports: Arc<dyn ReportSource>,
    look: Look,
    user: TcpListener,
    mesh: TcpListener,
    http: TcpListener,
    health: TcpListener,
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// One for requests of each port, beside those for its connections, so that a flood at one starves none of
/// the others.
#[derive(Debug)]
struct Queues {
    user: Arc<ReportQueue>,
    mesh: Arc<ReportQueue>,
    http: Arc<ReportQueue>,
}

impl Queues {
    fn new(source: &Arc<dyn ReportSource>) -> Self {
        let queue = |waiting| Arc::new(ReportQueue::new(Arc::clone(source), 1, waiting));
        Self {
            user: queue(32),
            mesh: queue(32),
            http: queue(16),
        }
    }
}

/// Runs until SIGTERM or SIGINT, then ends what is open.
pub async fn run(config: Config, deps: Deps) -> Result<(), RunError> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Coordinator::bind(config, deps).await?.serve(stop).await
}

impl Coordinator {
    /// Asks for a first report, reads the store and listens on every port. Raises the process's limit on open files to
    /// what it may be.
    pub async fn bind(config: Config, deps: Deps) -> Result<Self, RunError> {
        files::raise_limit();
        let Config { addresses, .. } = config;
        let user = listen(addresses.user).await?;
        let mesh = listen(addresses.mesh).await?;
        let http = listen(addresses.http).await?;
        let health = listen(addresses.health).await?;
        let reports = Arc::clone(&deps.reports);
        let first = tokio::task::spawn_blocking(move || reports.evidence(&[0; 64])).await;
        let first = first.map_err(io::Error::other)??;
        let first = Report::parse(&first.report)?;
        let core = Arc::new(Core {
            cell: Cell::new(State::Empty),
            time: Time::new(deps.clock),
            metrics: Metrics::default(),
            storage: Storage::new(deps.store),
            rules: Rules {
                reader: deps.reader,
                genesis: config.genesis,
            },
            capacity: config.capacity,
            verifier: deps.verifier,
            own: PolicyHash::from_bytes(first.host_data),
            guest: first.report_id,
            seen: Seen::default(),
        });
        let queues = Queues::new(&deps.reports);
        let peers = Peers::new(config.peers, Arc::clone(&queues.mesh), Arc::clone(&core));
        let authority = Arc::new(Authority::new(core));
        let look = authority.load().await;
        let look = look.map_err(|denied: Denied| RunError::Store {
            reason: chain(&denied),
        })?;
        Ok(Self {
            addresses: Addresses {
                user: user.local_addr()?,
                mesh: mesh.local_addr()?,
                http: http.local_addr()?,
                health: health.local_addr()?,
            },
            drain: config.drain,
            authority,
            peers: Arc::new(peers),
            queues,
            reports: deps.reports,
            look,
            user,
            mesh,
            http,
            health,
        })
    }

    /// Where it listens, with the ports that the system chose for 0.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `stop` is over; then takes nothing new and ends what is open, within the time for it.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let core = &self.authority.core;
        let Addresses {
            user,
            mesh,
            http,
            health,
        } = self.addresses;
        let phase = core.cell.load().phase().as_str_name();
        tracing::info!(%user, %mesh, %http, %health, policy = %core.own, phase, "listening");

        if core.rules.genesis == GenesisAuthority::InsecureUnbound {
            tracing::warn!(
                %user,
                "no owners are measured in (NACRE_OWNERS): whoever comes first may set a first manifest that says InsecureUnboundFirstSet"
            );
        }

        let (ended, stopped) = watch::channel(false);
        let draining = Arc::new(AtomicBool::new(false));
        // Health answers until the very end.
        let (gone, last) = watch::channel(false);
        let routes = Arc::new(Health {
            authority: Arc::clone(&self.authority),
            draining: Arc::clone(&draining),
        });
        let health = tokio::spawn(plain::serve(self.health, routes, PLAIN, last));

        let mut background = JoinSet::new();
        let authority = Arc::clone(&self.authority);
        let look = self.look;
        background.spawn(async move { authority.watch(look).await });
        let authority = Arc::clone(&self.authority);
        background.spawn(async move { authority.forget_shares().await });
        let recovering = Arc::clone(&self.peers).keep_recovering(Arc::clone(&self.authority));
        background.spawn(recovering);

        let mut servers = JoinSet::new();
        let attest = Arc::new(Attest {
            core: Arc::clone(core),
            queue: Arc::clone(&self.queues.http),
        });
        let plain = plain::serve(self.http, attest, PLAIN, stopped.clone());
        servers.spawn(async move {
            plain.await;
            Ok(())
        });
        let user = user_port(
            self.user,
            &self.authority,
            &self.peers,
            &self.queues,
            Arc::clone(&self.reports),
        );
        servers.spawn(serve(user, stopped.clone()));
        let mesh = mesh_port(
            self.mesh,
            &self.authority,
            &self.peers,
            &self.queues,
            Arc::clone(&self.reports),
        )?;
        servers.spawn(serve(mesh, stopped));

        let early = tokio::select! {
            () = stop => None,
            early = servers.join_next() => early,
        };
        draining.store(true, Ordering::Relaxed);
        background.abort_all();
        ended.send_replace(true);
        tracing::info!(limit = ?self.drain, "draining");
        let result = tokio::time::timeout(self.drain, async {
            let mut result = early.map_or(Ok(()), flatten);
            while let Some(ended) = servers.join_next().await {
                result = result.and(flatten(ended));
            }
            result
        });
        let result = result.await.unwrap_or_else(|_| {
            tracing::warn!("requests that are still open are given up");
            Ok(())
        });
        gone.send_replace(true);
        let _ = health.await;
        result
    }
}

type Ended = Result<Result<(), RunError>, tokio::task::JoinError>;

fn flatten(ended: Ended) -> Result<(), RunError> {
    ended.unwrap_or_else(|error| Err(RunError::System(io::Error::other(error))))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| RunError::Listen { address, source })
}

/// A port with its connections and its service.
struct Port {
    connections: Incoming,
    router: GrpcRouter,
}

async fn serve(port: Port, mut stop: watch::Receiver<bool>) -> Result<(), RunError> {
    let stopped = async move {
        if stop.wait_for(|stop| *stop).await.is_err() {
            pending::<()>().await;
        }
    };
    let Port {
        connections,
        router,
    } = port;
    Ok(router
        .serve_with_incoming_shutdown(connections, stopped)
        .await?)
}

fn user_port(
    listener: TcpListener,
    authority: &Arc<Authority>,
    peers: &Arc<Peers>,
    queues: &Queues,
    reports: Arc<dyn ReportSource>,
) -> Port {
    let api = UserApi::new(
        Arc::clone(authority),
        Arc::clone(peers),
        Arc::clone(&queues.user),
    );
    let service = UserService::new(api, Arc::clone(&authority.core));
    let acceptor = Acceptor::new(ReportQueue::new(reports, 1, 64), Timeouts::default());
    let admission = Admission::unattested();
    Port {
        connections: incoming(listener, Arc::new(acceptor), admission, USER),
        router: server().add_service(service),
    }
}

fn mesh_port(
    listener: TcpListener,
    authority: &Arc<Authority>,
    peers: &Arc<Peers>,
    queues: &Queues,
    reports: Arc<dyn ReportSource>,
) -> Result<Port, RunError> {
    let core = &authority.core;
    let in_force = |wanted| {
        Arc::new(InForce {
            core: Arc::clone(core),
            wanted,
        })
    };
    let api = MeshApi::new(
        Arc::clone(authority),
        Arc::clone(peers),
        Arc::clone(&queues.mesh),
    );
    let service = MeshServer::new(api).max_decoding_message_size(MESH_MESSAGE);
    // As many may wait as the port takes on.
    let acceptor = Acceptor::new(ReportQueue::new(reports, 2, 2048), Timeouts::PATIENT);
    let admission = Admission::attested(ClientKind::Workload, in_force(Wanted::Listed))?
        .and_attested(ClientKind::Coordinator, in_force(Wanted::Coordinator))?;
    Ok(Port {
        connections: incoming(listener, Arc::new(acceptor), admission, MESH),
        router: server().add_service(service),
    })
}

/// Where the log goes.
pub struct Log;

impl Log {
    /// Writes events as JSON lines to `out`. Fails on a filter that is none.
    pub fn start(filter: &str, out: fn() -> Box<dyn Write>) -> Result<(), String> {
        use tracing_subscriber::EnvFilter;

        let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        let log = tracing_subscriber::fmt().json().flatten_event(true);
        let log = log.with_env_filter(filter).with_writer(out);
        log.try_init().map_err(|error| error.to_string())
    }
}
