//! The life of the process: prepare everything, intercept in one step, serve, drain.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin;
use crate::config::{ADMIN_DEFAULT, Config};
use crate::dial::Dialer;
use crate::listen::Bound;
use crate::material::{self, Material};
use crate::nft::{self, Ruleset};
use crate::proxy::{CONNECT, Ingress, Shared, serve_egress, serve_ingress, unix_now};

/// File beside the certificates that says that the rules are in force.
pub const READY: &str = "mesh-ready";
/// How often the certificate files are looked at.
const RELOAD: Duration = Duration::from_secs(2);

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
    Rules(#[from] nft::Error),
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
    let material = Material::load(&config, unix_now())?;
    let rules = ruleset(&config);
    let intercepted = match rules {
        Some(ref rules) => [
            (rules.mutual, Ingress::Mutual),
            (rules.server_only, Ingress::ServerOnly),
        ]
        .into_iter()
        .map(|(port, kind)| Ok((bind(Bound::intercepted(port), any(port))?, kind)))
        .collect::<Result<Vec<_>, Error>>()?,
        None => Vec::new(),
    };
    let routes = config
        .egress
        .iter()
        .map(|route| {
            let address = SocketAddr::V4(route.listen);
            Ok((bind(Bound::address(address), address)?, route.clone()))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let admin_address = match config.admin {
        Some(port) => any(port),
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_DEFAULT)),
    };
    let admin = bind(Bound::address(admin_address), admin_address)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;

    // From here on nothing reaches a protected port but through the mesh.
    let drain = config.drain;
    let ready = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(Shared::new(config, material, Dialer::from_system(CONNECT)));
    if let Some(rules) = rules {
        keep(rules, Arc::clone(&shared), Arc::clone(&ready))?;
    }
    let (stop, stopped) = watch::channel(false);
    for (bound, kind) in intercepted {
        let listener = listen(bound)?;
        tokio::spawn(serve_ingress(
            Arc::clone(&shared),
            listener,
            kind,
            stopped.clone(),
        ));
    }
    for (bound, route) in routes {
        let listener = listen(bound)?;
        tokio::spawn(serve_egress(
            Arc::clone(&shared),
            listener,
            route,
            stopped.clone(),
        ));
    }
    tokio::spawn(admin::serve(
        Arc::clone(&shared),
        listen(admin)?,
        Arc::clone(&ready),
    ));
    tokio::spawn(reload(Arc::clone(&shared)));
    ready.store(true, Ordering::Release);
    announce(&shared.config.directories);
    tracing::info!(admin = %admin_address, "ready");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    ready.store(false, Ordering::Release);
    let _ = stop.send(true);
    tracing::info!(open = shared.metrics.active(), "draining");
    let drained = tokio::time::timeout(drain, async {
        while shared.metrics.active() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    if drained.await.is_err() {
        tracing::warn!(open = shared.metrics.active(), "connections cut");
    }
    Ok(())
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

/// The rules that a configuration asks for; none where ingress is `DISABLED`.
#[must_use]
pub fn ruleset(config: &Config) -> Option<Ruleset> {
    let nacre_meshconfig::Ingress::Enabled(entries) = &config.ingress else {
        return None;
    };
    let ports = |plain: bool| {
        entries
            .iter()
            .filter(|entry| entry.disable_tls == plain)
            .map(|entry| entry.port)
            .collect()
    };
    Some(Ruleset {
        mutual: nacre_meshconfig::MESH_PORT_MUTUAL,
        server_only: nacre_meshconfig::MESH_PORT_SERVER,
        plain: ports(true),
        unauthenticated: ports(false),
        inbound_udp: config.inbound_udp,
        outbound_ports: config
            .strict_egress
            .then(|| config.egress.iter().map(|route| route.port).collect()),
    })
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

/// Sets the rules, and sets them again whenever somebody has changed any.
fn keep(rules: Ruleset, shared: Arc<Shared>, ready: Arc<AtomicBool>) -> Result<(), Error> {
    // The watch begins before the rules, so that no change falls between the two.
    let changes = nft::Watch::new()?;
    let mut installed = rules.install()?;
    std::thread::Builder::new()
        .name("rules".into())
        .spawn(move || {
            loop {
                let restored = changes
                    .wait()
                    .and_then(|()| installed.untouched())
                    .and_then(|same| {
                        if same {
                            Ok(None)
                        } else {
                            rules.install().map(Some)
                        }
                    });
                match restored {
                    Ok(None) => {}
                    Ok(Some(again)) => {
                        installed = again;
                        shared.metrics.rules_restored();
                        tracing::warn!("somebody changed the packet filter: rules set again");
                        ready.store(true, Ordering::Release);
                    }
                    Err(error) => {
                        ready.store(false, Ordering::Release);
                        tracing::error!(%error, "the rules cannot be kept: not ready");
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            }
        })
        .map_err(|source| Error::Rules(nft::Error::Socket(source)))?;
    Ok(())
}

/// Takes new certificates when the files change; open connections go on with theirs.
async fn reload(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(RELOAD).await;
        let load = {
            let shared = Arc::clone(&shared);
            tokio::task::spawn_blocking(move || Material::load(&shared.config, unix_now())).await
        };
        match load {
            Ok(Ok(material)) if material.digest != shared.material().digest => {
                shared.replace(material);
                shared.metrics.reloaded(true);
                tracing::info!("new certificates");
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => {
                shared.metrics.reloaded(false);
                tracing::warn!(%error, "certificates not read again");
            }
        }
    }
}
