//! Numbers for Prometheus, in its text format, and nothing that names a user or a payload.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::limits::Room;

/// Why a connection did not come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Straight to a port of the proxy.
    Direct,
    /// The TLS handshake failed.
    Handshake,
    /// A member of the mesh that is not allowed here.
    Unwanted,
    /// The other side did not answer.
    Unreachable,
    /// Our own certificate has expired.
    Expired,
    /// There was no place for one more that has shown who it is.
    Full,
    /// The other side of an egress entry does not want us.
    Denied,
    /// It had shown nothing yet, and its place went to a newcomer.
    GaveWay,
}

impl Refusal {
    pub(crate) const ALL: [Self; 8] = [
        Self::Direct,
        Self::Handshake,
        Self::Unwanted,
        Self::Unreachable,
        Self::Expired,
        Self::Full,
        Self::Denied,
        Self::GaveWay,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Handshake => "handshake",
            Self::Unwanted => "unwanted",
            Self::Unreachable => "unreachable",
            Self::Expired => "expired",
            Self::Full => "full",
            Self::Denied => "denied",
            Self::GaveWay => "gave_way",
        }
    }
}

/// Why a connection on which data flowed did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// One side has reset it.
    Reset,
    /// The TLS side ended without close_notify.
    Truncated,
    /// What came is not TLS, or an alert.
    Tls,
    /// One side has gone without a word.
    Dead,
    /// One side had ended, and nothing more came of the other.
    HalfClosed,
    /// Its place went to a newcomer, or the process is about to end.
    GaveWay,
}

impl Break {
    const ALL: [Self; 6] = [
        Self::Reset,
        Self::Truncated,
        Self::Tls,
        Self::Dead,
        Self::HalfClosed,
        Self::GaveWay,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Tls => "tls",
            Self::Dead => "dead",
            Self::HalfClosed => "half_closed",
            Self::GaveWay => "gave_way",
        }
    }
}

/// Application bytes of one direction.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// So many more were decrypted and encrypted.
    pub fn add(&self, received: u64, sent: u64) {
        if received > 0 {
            self.received.fetch_add(received, Relaxed);
        }
        if sent > 0 {
            self.sent.fetch_add(sent, Relaxed);
        }
    }
}

/// Which way a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the application.
    Ingress,
    /// From the application.
    Egress,
}

impl Direction {
    /// The value of the label `direction`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// Counters of one direction.
#[derive(Debug, Default)]
struct Side {
    opened: AtomicU64,
    active: AtomicI64,
    handshakes: AtomicU64,
    traffic: Traffic,
    refused: [AtomicU64; Refusal::ALL.len()],
    broken: [AtomicU64; Break::ALL.len()],
    room: AtomicU64,
}

/// All numbers of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    ingress: Side,
    egress: Side,
    not_after: AtomicU64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
    rules_restored: AtomicU64,
}

impl Metrics {
    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// A connection was accepted; the guard counts it as active while it lives.
    pub fn opened(&self, direction: Direction) -> Active<'_> {
        let side = self.side(direction);
        side.opened.fetch_add(1, Relaxed);
        side.active.fetch_add(1, Relaxed);
        Active(side)
    }

    /// Connections now.
    #[must_use]
    pub fn active(&self) -> i64 {
        self.ingress.active.load(Relaxed) + self.egress.active.load(Relaxed)
    }

    /// Connections so far.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.ingress.opened.load(Relaxed) + self.egress.opened.load(Relaxed)
    }

    /// How many established connections there may be at once.
    pub fn room(&self, room: &Room) {
        let ingress = room.mutual.established + room.server_only.established;
        self.ingress.room.store(ingress as u64, Relaxed);
        self.egress.room.store(room.egress as u64, Relaxed);
    }

    /// A handshake succeeded.
    pub fn handshake(&self, direction: Direction) {
        self.side(direction).handshakes.fetch_add(1, Relaxed);
    }

    /// Where application bytes are counted.
    #[must_use]
    pub fn traffic(&self, direction: Direction) -> &Traffic {
        &self.side(direction).traffic
    }

    /// A connection on which data flowed did not come to its end.
    pub fn broken(&self, direction: Direction, reason: Break) {
        if let Some(counter) = self.side(direction).broken.get(reason as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// A connection was refused.
    pub fn refused(&self, direction: Direction, reason: Refusal) {
        if let Some(counter) = self.side(direction).refused.get(reason as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// The certificate in use ends then, Unix seconds.
    pub fn certificate(&self, not_after: u64) {
        self.not_after.store(not_after, Relaxed);
    }

    /// Certificates were read again.
    pub fn reloaded(&self, worked: bool) {
        if worked {
            &self.reloads
        } else {
            &self.failed_reloads
        }
        .fetch_add(1, Relaxed);
    }

    /// Somebody had removed the rules.
    pub fn rules_restored(&self) {
        self.rules_restored.fetch_add(1, Relaxed);
    }

    /// Prometheus text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, i128)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let both = |read: &dyn Fn(&Side) -> i128| {
            [Direction::Ingress, Direction::Egress].map(|direction| {
                (
                    format!("{{direction=\"{}\"}}", direction.label()),
                    read(self.side(direction)),
                )
            })
        };
        let count = |value: &AtomicU64| i128::from(value.load(Relaxed));
        family(
            "nacre_mesh_connections_total",
            "counter",
            "Connections accepted.",
            &both(&|side| count(&side.opened)),
        );
        family(
            "nacre_mesh_connections",
            "gauge",
            "Connections open now.",
            &both(&|side| i128::from(side.active.load(Relaxed))),
        );
        family(
            "nacre_mesh_connections_limit",
            "gauge",
            "Established connections that there is room for; more wait.",
            &both(&|side| count(&side.room)),
        );
        family(
            "nacre_mesh_handshakes_total",
            "counter",
            "TLS handshakes that succeeded.",
            &both(&|side| count(&side.handshakes)),
        );
        family(
            "nacre_mesh_received_bytes_total",
            "counter",
            "Application bytes decrypted.",
            &both(&|side| count(&side.traffic.received)),
        );
        family(
            "nacre_mesh_sent_bytes_total",
            "counter",
            "Application bytes encrypted.",
            &both(&|side| count(&side.traffic.sent)),
        );
        let by_reason = |read: &dyn Fn(&Side) -> Vec<(&'static str, i128)>| {
            let of = |direction: Direction| {
                let rows = read(self.side(direction)).into_iter();
                rows.map(move |(reason, value)| {
                    let direction = direction.label();
                    (
                        format!("{{direction=\"{direction}\",reason=\"{reason}\"}}"),
                        value,
                    )
                })
            };
            of(Direction::Ingress)
                .chain(of(Direction::Egress))
                .collect::<Vec<_>>()
        };
        let refusals = by_reason(&|side| {
            let all = Refusal::ALL.iter().zip(&side.refused);
            all.map(|(reason, value)| (reason.label(), count(value)))
                .collect()
        });
        let breaks = by_reason(&|side| {
            let all = Break::ALL.iter().zip(&side.broken);
            all.map(|(reason, value)| (reason.label(), count(value)))
                .collect()
        });
        family(
            "nacre_mesh_refused_total",
            "counter",
            "Connections refused, by reason.",
            &refusals,
        );
        family(
            "nacre_mesh_broken_total",
            "counter",
            "Connections that did not come to their end after the handshake, by reason.",
            &breaks,
        );
        let single = |value: &AtomicU64| [(String::new(), count(value))];
        family(
            "nacre_mesh_certificate_not_after_seconds",
            "gauge",
            "End of the certificate's validity, Unix time.",
            &single(&self.not_after),
        );
        family(
            "nacre_mesh_certificate_reloads_total",
            "counter",
            "Certificates read again and taken.",
            &single(&self.reloads),
        );
        family(
            "nacre_mesh_certificate_reload_failures_total",
            "counter",
            "Certificates read again and not taken.",
            &single(&self.failed_reloads),
        );
        family(
            "nacre_mesh_rules_restored_total",
            "counter",
            "Times the interception rules had been changed by somebody else.",
            &single(&self.rules_restored),
        );
        text
    }
}

/// Counts a connection as active until it is dropped.
#[derive(Debug)]
pub struct Active<'a>(&'a Side);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}
