//! Interception: one nftables `inet` table, set over netlink in one transaction.
//!
//! The table covers IPv4 and IPv6. Every way through the chain of inbound packets ends in `drop`:
//! nftables' `tproxy` does not match while nothing listens, so a dead proxy means no traffic, never
//! plaintext. The rules outlive the process for the same reason.

mod message;
mod rule;
mod socket;

use message::{APPEND, Attributes, Batch, CREATE};
use rule::Rule;
pub use socket::{Error, Watch};

/// The table's name, as `nft list tables` shows it.
pub const TABLE: &str = "nacre_mesh";

/// Table by which a measured guest keeps everything out until the mesh is ready.
pub const DEFAULT_DENY: &str = "nacre_default_deny";

/// `NFPROTO_INET`.
const INET: u8 = 1;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;

/// `NF_INET_PRE_ROUTING`.
const PREROUTING: u32 = 0;
/// `NF_INET_LOCAL_OUT`.
const OUTPUT: u32 = 3;
/// `NF_IP_PRI_MANGLE`: before routing decides, after connection tracking.
const MANGLE: i32 = -150;
/// `NF_IP_PRI_FILTER`.
const FILTER: i32 = 0;

/// What the table has to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// Port of the listener that demands a client certificate.
    pub mutual: u16,
    /// Port of the listener that does not.
    pub server_only: u16,
    /// TCP ports that go to the application untouched.
    pub plain: Vec<u16>,
    /// TCP ports that go to the listener without client authentication.
    pub unauthenticated: Vec<u16>,
    /// Whether new inbound UDP reaches the application.
    pub inbound_udp: bool,
    /// Where set, outbound traffic that is neither loopback, a reply, DNS nor one of these TCP
    /// ports is dropped.
    pub outbound_ports: Option<Vec<u16>>,
}

impl Ruleset {
    /// Replaces the table, whatever was in it, and lifts the guest's default deny, in one
    /// transaction.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the kernel has no nf_tables, [`Error::Denied`] without
    /// `CAP_NET_ADMIN`, [`Error::Kernel`] with the number of the refused message otherwise.
    pub fn install(&self) -> Result<Installed, Error> {
        let (bytes, messages) = self.transaction();
        loop {
            let before = socket::generation()?;
            socket::transact(&bytes, messages)?;
            let after = socket::generation()?;
            // Where somebody else's transaction came in between, it may have undone this one.
            if after == before.wrapping_add(1) {
                return Ok(Installed { generation: after });
            }
        }
    }

    fn transaction(&self) -> (Vec<u8>, usize) {
        let table = Attributes::new().string(1, TABLE);
        let mut batch = Batch::begin();
        // Created first, so that the deletion finds something; then created again, empty.
        batch.table_message(NEW_TABLE, CREATE, INET, &table);
        batch.table_message(DELETE_TABLE, 0, INET, &table);
        batch.table_message(NEW_TABLE, CREATE, INET, &table);
        // The same way to delete what may not be there.
        let deny = Attributes::new().string(1, DEFAULT_DENY);
        batch.table_message(NEW_TABLE, CREATE, INET, &deny);
        batch.table_message(DELETE_TABLE, 0, INET, &deny);
        chain(&mut batch, "inbound", PREROUTING, MANGLE, &self.inbound());
        if let Some(ports) = &self.outbound_ports {
            chain(&mut batch, "outbound", OUTPUT, FILTER, &outbound(ports));
        }
        batch.end()
    }

    fn inbound(&self) -> Vec<Rule> {
        let mut rules = vec![
            Rule::new().via_loopback().accept(),
            // Replies to what this pod opened. Not RELATED, and not the original direction: a
            // connection that was open before the rules must not go on in plaintext.
            Rule::new().reply_direction().established().accept(),
            Rule::new().protocol(rule::ICMP).accept(),
            Rule::new().protocol(rule::ICMP6).accept(),
        ];
        let tcp = |port: &u16| Rule::new().destination_port(rule::TCP, *port, *port);
        rules.extend(self.plain.iter().map(|port| tcp(port).accept()));
        rules.extend(self.unauthenticated.iter().flat_map(|port| {
            // Where the listener is gone the next rule must not hand the packet to the other one.
            [
                tcp(port).tproxy(self.server_only).accept(),
                tcp(port).drop(),
            ]
        }));
        rules.push(Rule::new().tproxy(self.mutual).accept());
        if self.inbound_udp {
            rules.push(Rule::new().protocol(rule::UDP).accept());
        }
        rules.push(Rule::new().counter().drop());
        rules
    }
}

/// The state of the kernel's rules right after ours were set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    generation: u32,
}

impl Installed {
    /// Whether nobody has changed any rule since.
    ///
    /// # Errors
    /// The socket's.
    pub fn untouched(self) -> Result<bool, Error> {
        Ok(socket::generation()? == self.generation)
    }
}

fn outbound(ports: &[u16]) -> Vec<Rule> {
    let mut rules = vec![
        Rule::new().reply_direction().established().accept(),
        Rule::new().protocol(rule::ICMP6).accept(),
        Rule::new().destination_port(rule::UDP, 53, 53).accept(),
        Rule::new().destination_port(rule::TCP, 53, 53).accept(),
    ];
    rules.extend(ports.iter().map(|port| {
        Rule::new()
            .destination_port(rule::TCP, *port, *port)
            .accept()
    }));
    rules.push(Rule::new().not_to_loopback().counter().drop());
    rules
}

fn chain(batch: &mut Batch, name: &str, hook: u32, priority: i32, rules: &[Rule]) {
    let hook = Attributes::new()
        .u32(1, hook)
        .u32(2, priority.cast_unsigned());
    let body = Attributes::new()
        .string(1, TABLE)
        .string(3, name)
        .nested(4, &hook)
        .string(7, "filter");
    batch.table_message(NEW_CHAIN, CREATE, INET, &body);
    for rule in rules {
        let body = Attributes::new()
            .string(1, TABLE)
            .string(2, name)
            .nested(4, rule.expressions());
        batch.table_message(NEW_RULE, CREATE | APPEND, INET, &body);
    }
}
