//! What the packet filter has to do, which filter does it, and that it goes on doing it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nacre_meshconfig::{Ingress, MESH_PORT_MUTUAL, MESH_PORT_SERVER};

use crate::config::Config;
use crate::{nft, xt};

/// `SO_MARK` of every socket of the mesh that leaves the pod: replies on intercepted connections and
/// connections of egress entries. Setting it takes `CAP_NET_ADMIN` or, since Linux 5.17, `CAP_NET_RAW`, a
/// default capability: programs of the pod that have one of the two can pass for the mesh if they mean to.
pub const MARK: u32 = 0x6e61_6372;

/// `SO_MARK` of the plain sockets to the application, which may not leave the pod, whatever its routes say.
pub const PLAIN: u32 = 0x6e61_6373;

/// How often the rules are looked at where the kernel does not tell of changes.
const LOOK: Duration = Duration::from_secs(1);

/// What the packet filter has to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// Interception of inbound traffic; None leaves it alone.
    pub inbound: Option<Inbound>,
    /// Whether outbound traffic is dropped that is neither loopback, a reply, DNS, ICMPv6 nor the
    /// mesh's own.
    pub strict_egress: bool,
}

/// Interception.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inbound {
    /// Port of the listener that demands a client certificate.
    pub mutual: u16,
    /// Port of the listener that does not.
    pub server_only: u16,
    /// TCP ports that go to the application untouched.
    pub plain: Vec<u16>,
    /// TCP ports that go to the listener without client authentication.
    pub unauthenticated: Vec<u16>,
    /// Whether new inbound UDP reaches the application.
    pub udp: bool,
    /// Whether connections that begin now are dropped, because the process is about to end.
    pub closing: bool,
}

impl Ruleset {
    /// The rules that a configuration asks for.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let inbound = match &config.ingress {
            Ingress::Disabled => None,
            Ingress::Enabled(entries) => {
                let ports = |plain: bool| {
                    entries
                        .iter()
                        .filter(|entry| entry.disable_tls == plain)
                        .map(|entry| entry.port)
                        .collect()
                };
                Some(Inbound {
                    mutual: MESH_PORT_MUTUAL,
                    server_only: MESH_PORT_SERVER,
                    plain: ports(true),
                    unauthenticated: ports(false),
                    udp: config.inbound_udp,
                    closing: false,
                })
            }
        };
        Self {
            inbound,
            strict_egress: config.strict_egress,
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbound.is_none() && !self.strict_egress
    }
}

/// Why traffic cannot be intercepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// nf_tables did not take the rules.
    #[error(transparent)]
    Nftables(#[from] nft::Error),
    /// iptables did not take the rules.
    #[error(transparent)]
    Iptables(#[from] xt::Error),
    /// There is nothing to set rules with.
    #[error(
        "the kernel has no nf_tables, and there is no iptables-legacy to fall back to: \
         use a guest kernel with CONFIG_NF_TABLES_INET and CONFIG_NFT_TPROXY"
    )]
    Nothing(#[source] xt::Error),
    /// The thread that watches the rules could not be started.
    #[error("the rules cannot be watched")]
    Thread(#[source] std::io::Error),
}

/// The filter that is used.
#[derive(Debug)]
enum Filter {
    Nftables(nft::Watch),
    Iptables(xt::Programs),
}

/// The rules as they were right after they had been set.
#[derive(Debug)]
enum Installed {
    Nftables(nft::Installed),
    Iptables(xt::Installed),
}

impl Filter {
    /// nf_tables; iptables only where the kernel says that it has no nf_tables.
    fn choose() -> Result<Self, Error> {
        match nft::probe() {
            // The watch begins before the rules, so that no change falls between the two.
            Ok(()) => Ok(Self::Nftables(nft::Watch::new()?)),
            Err(nft::Error::Unsupported) => {
                let programs = xt::Programs::find().map_err(Error::Nothing)?;
                tracing::warn!("the kernel has no nf_tables: iptables sets the rules");
                Ok(Self::Iptables(programs))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Looks for what the rules need; only before they are set for the first time, so that nothing is between
    /// their loss and the transaction that closes the pod.
    fn require(&self, rules: &Ruleset) -> Result<(), Error> {
        if let (Self::Nftables(_), Some(_)) = (self, &rules.inbound) {
            nft::require(&nft::EXPRESSIONS)?;
        }
        Ok(())
    }

    fn install(&self, rules: &Ruleset) -> Result<Installed, Error> {
        match self {
            Self::Nftables(_) => Ok(Installed::Nftables(nft::install(rules)?)),
            Self::Iptables(programs) => Ok(Installed::Iptables(programs.install(rules)?)),
        }
    }

    /// Waits until there may have been a change.
    fn wait(&self) -> Result<(), Error> {
        match self {
            Self::Nftables(watch) => Ok(watch.wait()?),
            Self::Iptables(_) => {
                std::thread::sleep(LOOK);
                Ok(())
            }
        }
    }

    fn untouched(&self, installed: &Installed) -> Result<bool, Error> {
        match (self, installed) {
            (Self::Iptables(programs), Installed::Iptables(before)) => {
                Ok(programs.untouched(before)?)
            }
            (_, Installed::Nftables(before)) => Ok(before.untouched()?),
            (Self::Nftables(_), Installed::Iptables(_)) => Ok(false),
        }
    }
}

/// Keeps the rules in force for as long as the process runs.
#[derive(Debug)]
pub struct Keeper {
    filter: Filter,
    state: Mutex<State>,
    in_force: AtomicBool,
}

#[derive(Debug)]
struct State {
    rules: Ruleset,
    installed: Installed,
}

impl Keeper {
    /// Sets the rules, and sets them again whenever somebody has changed any; `restored` is called
    /// then. None where nothing is to be set.
    ///
    /// # Errors
    /// Any of [`Error`]; then nothing is served.
    pub fn start(
        rules: Ruleset,
        restored: impl Fn() + Send + 'static,
    ) -> Result<Option<Arc<Self>>, Error> {
        if rules.is_empty() {
            // Rules of an earlier life and the guest's default deny go; a kernel that cannot have
            // any has none.
            return match Filter::choose() {
                Err(Error::Nothing(_)) => Ok(None),
                Err(error) => Err(error),
                Ok(filter) => filter.install(&rules).map(|_| None),
            };
        }
        let filter = Filter::choose()?;
        filter.require(&rules)?;
        let installed = filter.install(&rules)?;
        let keeper = Arc::new(Self {
            filter,
            state: Mutex::new(State { rules, installed }),
            in_force: AtomicBool::new(true),
        });
        let watching = Arc::clone(&keeper);
        std::thread::Builder::new()
            .name("rules".into())
            .spawn(move || watching.watch(restored))
            .map_err(Error::Thread)?;
        Ok(Some(keeper))
    }

    /// Whether the rules are as they should be, as far as is known.
    #[must_use]
    pub fn in_force(&self) -> bool {
        self.in_force.load(Ordering::Acquire)
    }

    /// Lets no more connections begin; open ones go on.
    ///
    /// # Errors
    /// The filter's.
    pub fn close(&self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbound) = &mut state.rules.inbound {
            inbound.closing = true;
        }
        state.installed = self.filter.install(&state.rules)?;
        Ok(())
    }

    fn watch(&self, restored: impl Fn()) {
        loop {
            match self.filter.wait().and_then(|()| self.check()) {
                Ok(false) => {}
                Ok(true) => {
                    restored();
                    tracing::warn!("somebody changed the packet filter: rules set again");
                }
                Err(error) => {
                    self.in_force.store(false, Ordering::Release);
                    tracing::error!(%error, "the rules cannot be kept: not ready");
                    // Not to be waited for: the next event may never come.
                    while let Err(error) = self.check() {
                        tracing::debug!(%error, "the rules cannot be kept");
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            }
        }
    }

    /// Sets the rules again where they have changed, and says whether they had.
    fn check(&self) -> Result<bool, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let same = self.filter.untouched(&state.installed)?;
        if !same {
            state.installed = self.filter.install(&state.rules)?;
        }
        self.in_force.store(true, Ordering::Release);
        Ok(!same)
    }
}
