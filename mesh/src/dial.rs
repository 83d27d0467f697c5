//! Reaching the other side of an egress entry: names, both address families, several addresses.
//!
//! DNS belongs to the host. An answer decides where packets go and nothing else: who is there is
//! decided by the certificate.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::listen;

/// Head start of one address over the next (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses tried at most.
const MOST: usize = 16;

/// Finds and opens the way to a host.
#[derive(Debug, Clone)]
pub struct Dialer {
    /// None where the system has no usable resolv.conf: then only addresses and names of the file can be
    /// dialled.
    resolver: Option<TokioResolver>,
    hosts: Arc<Hosts>,
    own: Arc<Own>,
    patience: Duration,
}

/// Our own listeners. A connection to one of them would come back, and open the next.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Those of one address.
    pub addresses: Vec<SocketAddr>,
    /// Ports of those on all addresses.
    pub ports: Vec<u16>,
}

impl Own {
    fn holds(&self, address: SocketAddr) -> bool {
        // To no address means to loopback.
        let ip = match address.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        self.addresses
            .contains(&SocketAddr::new(ip, address.port()))
            || self.ports.contains(&address.port()) && is_here(ip)
    }
}

/// Whether it is an address of this pod: others cannot be bound.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || std::net::UdpSocket::bind((ip, 0)).is_ok()
}

impl Dialer {
    /// Reads `/etc/resolv.conf` and `/etc/hosts`. Nobody is connected to `own`. Answers are kept as long as their TTL says.
    #[must_use]
    pub fn from_system(patience: Duration, own: Own) -> Self {
        let resolver = TokioResolver::builder_tokio()
            .and_then(|builder| builder.build())
            .inspect_err(|error| tracing::warn!(%error, "names cannot be resolved"))
            .ok();
        let hosts = Hosts::from_system()
            .inspect_err(|error| tracing::warn!(%error, "/etc/hosts cannot be read"))
            .unwrap_or_default();
        Self {
            resolver,
            hosts: Arc::new(hosts),
            own: Arc::new(own),
            patience,
        }
    }

    /// Addresses that `/etc/hosts` (a pod's `hostAliases`) gives a name. The resolver asks DNS for the family
    /// which the file lacks, and waits for it; where a name stands in the file, nobody else is asked
    /// (nsswitch.conf(5), `hosts: files dns`).
    fn in_hosts(&self, host: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_str(host) else {
            return Vec::new();
        };
        let of = |family| {
            let query = Query::query(name.clone(), family);
            self.hosts.lookup_static_host(&query)
        };
        [RecordType::AAAA, RecordType::A]
            .into_iter()
            .filter_map(of)
            .flat_map(|found| found.answers().to_vec())
            .filter_map(|record| record.data.ip_addr())
            .collect()
    }

    /// Finds the addresses of a host.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`], [`io::ErrorKind::NotFound`] where the name has no address but those of
    /// our own listeners.
    pub async fn find(&self, host: &str, port: u16) -> io::Result<Candidates> {
        let mut addresses = tokio::time::timeout(self.patience, self.resolve(host, port))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let found = addresses.len();
        addresses.retain(|address| !self.own.holds(*address));
        if addresses.len() < found {
            let cause = format!(
                "{host}:{port} is a listener of this mesh itself: correct the egress entry or the name"
            );
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, cause));
            }
            tracing::warn!("{cause}; its other addresses are tried");
        }
        Ok(Candidates {
            untried: addresses.into(),
            patience: self.patience,
        })
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let mut found = self.in_hosts(host);
        if found.is_empty() {
            let Some(resolver) = &self.resolver else {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no resolver"));
            };
            let answer = resolver
                .lookup_ip(host)
                .await
                .map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
            found = answer.iter().collect();
        }
        let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = found.into_iter().partition(IpAddr::is_ipv6);
        let addresses = alternate(v6, v4)
            .into_iter()
            .take(MOST)
            .map(|ip| SocketAddr::new(ip, port))
            .collect::<Vec<_>>();
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(addresses)
    }
}

/// Addresses of one host, the next to be tried in front.
#[derive(Debug)]
pub struct Candidates {
    untried: VecDeque<SocketAddr>,
    patience: Duration,
}

impl Candidates {
    /// Connects to the first address that answers; the others stay for another call, should it turn
    /// out not to be who was meant. None when there is no address left.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`], else the last address' reason.
    pub async fn connect(&mut self) -> Option<io::Result<TcpStream>> {
        if self.untried.is_empty() {
            return None;
        }
        let race = tokio::time::timeout(self.patience, race(&mut self.untried)).await;
        Some(match race {
            Ok(Ok((stream, unfinished))) => {
                self.untried.extend(unfinished);
                Ok(stream)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        })
    }
}

/// One of each family in turn, IPv6 first (RFC 8305, section 4).
fn alternate(v6: Vec<IpAddr>, v4: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut v6 = v6.into_iter();
    let mut v4 = v4.into_iter();
    let mut all = Vec::new();
    loop {
        match (v6.next(), v4.next()) {
            (None, None) => return all,
            (first, second) => all.extend(first.into_iter().chain(second)),
        }
    }
}

/// The first connection that comes to be, and the addresses that were still being tried.
async fn race(untried: &mut VecDeque<SocketAddr>) -> io::Result<(TcpStream, Vec<SocketAddr>)> {
    let mut attempts = JoinSet::new();
    let mut running = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    loop {
        if let Some(address) = untried.pop_front() {
            running.push(address);
            attempts.spawn(async move { (address, listen::connect_marked(address).await) });
        }
        let more = !untried.is_empty();
        tokio::select! {
            done = attempts.join_next() => match done {
                Some(Ok((address, result))) => {
                    running.retain(|other| *other != address);
                    match result {
                        Ok(stream) => return Ok((stream, running)),
                        Err(error) => failure = error,
                    }
                }
                Some(Err(error)) => failure = io::Error::other(error),
                None => return Err(failure),
            },
            () = tokio::time::sleep(HEAD_START), if more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listeners_are_known_in_every_spelling() {
        let own = Own {
            addresses: vec!["127.0.0.1:4001".parse().unwrap()],
            ports: vec![15006],
        };
        for address in [
            "127.0.0.1:4001",
            "0.0.0.0:4001",
            "[::ffff:127.0.0.1]:4001",
            "127.9.9.9:15006",
            "[::]:15006",
            "[::1]:15006",
        ] {
            assert!(own.holds(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.2:4001", "127.0.0.1:4002", "192.0.2.77:15006"] {
            assert!(!own.holds(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn families_alternate() {
        let six = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let four = |n: u8| IpAddr::from([192, 0, 2, n]);
        assert_eq!(
            alternate(vec![six(1), six(2), six(3)], vec![four(1)]),
            [six(1), four(1), six(2), six(3)]
        );
    }
}
