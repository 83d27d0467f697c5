//! The life of the process: prepare everything, intercept in one step, serve, drain.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nacre_meshconfig::{ADMIN_PORT_DEFAULT, MESH_PORT_MUTUAL, MESH_PORT_SERVER};
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{self, Readiness};
use crate::config::Config;
use crate::dial::{Dialer, Own};
use crate::limits::Room;
use crate::listen::Bound;
use crate::material::{self, Files, Material};
use crate::proxy::{CONNECT, Ingress, Shared, serve_egress, serve_ingress, unix_now};
use crate::rules::{self, Keeper, Ruleset};

/// File beside the certificates that says that the rules are in force.
pub const READY: &str = "mesh-ready";
/// How often the certificate files are looked at.
const RELOAD: Duration = Duration::from_secs(2);
/// How long nothing has to be open before the process ends: the last packet of a connection that the
/// peer takes for open may be on its way.
const QUIET: Duration = Duration::from_millis(200);

/// Why the mesh does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable certificates.
    #[error("certificates")]
    Material(#[from] material::Error),
    /// A port is taken, or a right is missing.
    #[error("cannot listen on {address}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The rules cannot be set: without them nothing is intercepted, so nothing is served.
    #[error("interception")]
    Rules(#[from] rules::Error),
    /// Signals cannot be awaited.
    #[error("signals")]
    Signals(#[source] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever kept it from starting. The rules stay in force after it ends, so that what was
/// protected stays closed.
pub async fn run(config: Config) -> Result<(), Error> {
    // Everything that can fail comes before the rules.
    let room = Room::of(&config);
    let material = Material::new(Files::read(&config.directories)?, &config, unix_now())?;
    let rules = Ruleset::of(&config);
    // Where nothing is intercepted they still answer the kubelet's probe, and close.
    let intercepted = [
        (MESH_PORT_MUTUAL, Ingress::Mutual),
        (MESH_PORT_SERVER, Ingress::ServerOnly),
    ]
    .into_iter()
    .map(|(port, kind)| Ok((bind(Bound::intercepted(port), any(port))?, kind)))
    .collect::<Result<Vec<_>, Error>>()?;
    let routes = config
        .egress
        .iter()
        .map(|route| {
            let address = SocketAddr::V4(route.listen);
            Ok((bind(Bound::address(address), address)?, route.clone()))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let (admin, admin_address) = match config.admin {
        Some(port) => (bind(Bound::everywhere(port), any(port))?, any(port)),
        None => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT_DEFAULT));
            (bind(Bound::address(address), address)?, address)
        }
    };
    let own = Own {
        addresses: routes
            .iter()
            .map(|(_, route)| SocketAddr::V4(route.listen))
            .chain([admin_address])
            .collect(),
        ports: [MESH_PORT_MUTUAL, MESH_PORT_SERVER]
            .into_iter()
            .chain(config.admin)
            .collect(),
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;

    // From here on nothing reaches a protected port but through the mesh.
    let drain = config.drain;
    let dialer = Dialer::from_system(CONNECT, own);
    let shared = Arc::new(Shared::new(config, material, dialer, &room));
    let restored = Arc::clone(&shared);
    let rules = Keeper::start(rules, move || restored.metrics.rules_restored())?;
    let ready = Arc::new(Readiness {
        rules: rules.clone(),
        serving: AtomicBool::new(false),
    });
    for (bound, kind) in intercepted {
        tokio::spawn(serve_ingress(Arc::clone(&shared), listen(bound)?, kind));
    }
    for (bound, route) in routes {
        tokio::spawn(serve_egress(Arc::clone(&shared), listen(bound)?, route));
    }
    tokio::spawn(admin::serve(
        Arc::clone(&shared),
        listen(admin)?,
        Arc::clone(&ready),
    ));
    tokio::spawn(reload(Arc::clone(&shared)));
    ready.serving.store(true, Ordering::Release);
    announce(&shared.config.directories);
    // The first random bytes of a process take tens of milliseconds to gather. No peer waits for them.
    tokio::task::spawn_blocking(|| aws_lc_rs::rand::fill(&mut [0]));
    tracing::info!(admin = %admin_address, ?room, "ready");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    ready.serving.store(false, Ordering::Release);
    end(&shared, rules.as_deref(), drain).await;
    Ok(())
}

/// Lets what has begun finish.
///
/// No connection from outside begins any more, but the listeners stay: what the kernel has accepted
/// already still comes through them, and the application may need its egress to finish its work.
async fn end(shared: &Shared, rules: Option<&Keeper>, limit: Duration) {
    if let Some(Err(error)) = rules.map(Keeper::close) {
        tracing::warn!(%error, "connections may still begin");
    }
    tracing::info!(open = shared.metrics.active(), "draining");
    let drained = tokio::time::timeout(limit, async {
        let mut idle_since = Instant::now();
        let mut begun = shared.metrics.begun();
        while idle_since.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(20)).await;
            shared.let_done_go();
            let now = shared.metrics.begun();
            if shared.metrics.active() > 0 || now != begun {
                begun = now;
                idle_since = Instant::now();
            }
        }
    });
    if drained.await.is_err() {
        tracing::warn!(open = shared.metrics.active(), "connections cut");
    }
}

/// Lets the start gate of the pod's other containers open, which waits for [`READY`] beside the
/// certificates. Whoever has no gate needs no file, so a volume that cannot be written is no failure.
fn announce(directories: &[PathBuf]) {
    let Some(directory) = directories
        .iter()
        .find(|dir| dir.join(material::CHAIN).exists())
    else {
        return;
    };
    if let Err(error) = std::fs::write(directory.join(READY), []) {
        tracing::warn!(%error, "the start gate of this pod, if it has one, stays closed");
    }
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

fn bind(bound: std::io::Result<Bound>, address: SocketAddr) -> Result<Bound, Error> {
    bound.map_err(|source| Error::Listen { address, source })
}

fn listen(bound: Bound) -> Result<tokio::net::TcpListener, Error> {
    bound.listen().map_err(|source| Error::Listen {
        address: any(0),
        source,
    })
}

/// Takes new certificates when the files change; open connections go on with theirs.
async fn reload(shared: Arc<Shared>) {
    let mut said = None;
    loop {
        tokio::time::sleep(RELOAD).await;
        let again = Arc::clone(&shared);
        match tokio::task::spawn_blocking(move || look(&again)).await {
            Ok(Ok(None)) => said = None,
            Err(_) => {}
            Ok(Ok(Some(material))) => {
                shared.replace(material);
                shared.metrics.reloaded(true);
                tracing::info!("new certificates");
                said = None;
            }
            Ok(Err(error)) => {
                shared.metrics.reloaded(false);
                let cause = error.to_string();
                // Once for each cause, not with each look.
                if said.as_ref() != Some(&cause) {
                    tracing::warn!(%error, "certificates not read again");
                    said = Some(cause);
                }
            }
        }
    }
}

/// What the files say now, where that is something new.
fn look(shared: &Shared) -> Result<Option<Material>, material::Error> {
    let files = Files::read(&shared.config.directories);
    let current = shared.material();
    // Whatever else is wrong, an overlap that is gone is over.
    current.close_overlap_unless(files.as_ref().ok());
    let files = files?;
    // After a look that failed the same files are something new.
    if files.are_those_of(&current) && !current.has_closed_overlap() {
        return Ok(None);
    }
    Material::new(files, &shared.config, unix_now()).map(Some)
}
