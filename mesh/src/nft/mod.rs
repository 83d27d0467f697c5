//! Interception: one nftables `inet` table, set over netlink in one transaction.
//!
//! The table covers IPv4 and IPv6. Every way through the chain of inbound packets ends in `drop`:
//! nftables' `tproxy` does not match while nothing listens, so a dead proxy means no traffic, never
//! plaintext. The rules outlive the process for the same reason.

mod message;
mod rule;
mod socket;

use message::{APPEND, Attributes, Batch, CREATE, Transaction};
use rule::Rule;
use rustix::io::Errno;
pub use socket::{Error, Watch};

use crate::rules::{Inbound, MARK, PLAIN, Ruleset};

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

/// Expressions of intercepting rules that the kernel may have been built without, and the option for each. The
/// others are part of nf_tables.
pub const EXPRESSIONS: [(&str, &str); 3] = [
    ("tproxy", "CONFIG_NFT_TPROXY"),
    ("ct", "CONFIG_NFT_CT"),
    // Part of nf_tables since Linux 5.18.
    ("counter", "CONFIG_NFT_COUNTER"),
];

/// Replaces the table, whatever was in it, and lifts the guest's default deny, in one transaction.
///
/// A transaction that lets nothing pass goes before it. Rules that look at connections switch
/// connection tracking on while they are being set, and what it sees in the middle of a connection
/// it takes for the beginning: an application that writes at that moment would make a stranger's
/// old connection look like one of its own.
///
/// # Errors
/// [`Error::Unsupported`] where the kernel has no nf_tables, [`Error::Denied`] without `CAP_NET_ADMIN`,
/// [`Error::Kernel`] with the number of the refused message otherwise, also where the kernel lacks an expression:
/// [`require`] tells that before anything is changed.
pub fn install(rules: &Ruleset) -> Result<Installed, Error> {
    if rules.inbound.is_some() {
        socket::transact(&closed())?;
    }
    let batch = transaction(rules);
    loop {
        let before = socket::generation()?;
        socket::transact(&batch)?;
        let after = socket::generation()?;
        // Where somebody else's transaction came in between, it may have undone this one.
        if after == before.wrapping_add(1) {
            return Ok(Installed { generation: after });
        }
    }
}

/// Whether the kernel has nf_tables and lets this network namespace use it.
///
/// # Errors
/// [`Error::Unsupported`] where it has not, else what the socket says.
pub fn probe() -> Result<(), Error> {
    socket::generation().map(drop)
}

/// Looks for expressions, each with the kernel's option for it, and changes nothing: the transaction has no
/// end, and an expression of which only the name is said is never set up, which for `ct` would switch
/// connection tracking on. It is one for all of them: undoing one waits until every processor has passed, some ten
/// milliseconds.
///
/// # Errors
/// [`Error::Missing`] for the first that the kernel does not know, else as [`install`].
pub fn require(expressions: &[(&'static str, &'static str)]) -> Result<(), Error> {
    let table = Attributes::new().string(1, TABLE);
    let chain = Attributes::new().string(1, TABLE).string(3, "trial");
    let mut batch = Batch::begin();
    batch.table_message(NEW_TABLE, CREATE, INET, &table);
    batch.table_message(NEW_CHAIN, CREATE, INET, &chain);
    let first = batch.next();
    for (expression, option) in expressions {
        tracing::debug!(expression, option, "looking for an expression");
        let rule = Attributes::new()
            .string(1, TABLE)
            .string(2, "trial")
            .nested(4, Rule::bare(expression).expressions());
        batch.table_message(NEW_RULE, CREATE | APPEND, INET, &rule);
    }
    for answer in socket::objections(&batch.trial())? {
        let Some(place) = answer.sequence.checked_sub(first) else {
            // Without table or chain, no rule says anything.
            return Err(socket::refused(&answer));
        };
        // Any other objection: it wants to know more.
        if answer.errno == Errno::NOENT.raw_os_error()
            && let Some((expression, option)) = expressions.get(place as usize)
        {
            return Err(Error::Missing { expression, option });
        }
    }
    Ok(())
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

fn transaction(rules: &Ruleset) -> Transaction {
    let mut batch = Batch::begin();
    // Created first, so that the deletion finds something.
    for name in [TABLE, DEFAULT_DENY] {
        let table = Attributes::new().string(1, name);
        batch.table_message(NEW_TABLE, CREATE, INET, &table);
        batch.table_message(DELETE_TABLE, 0, INET, &table);
    }
    let inbound = rules.inbound.as_ref().map(inbound);
    let outbound = outbound(rules);
    if inbound.is_some() || !outbound.is_empty() {
        let table = Attributes::new().string(1, TABLE);
        batch.table_message(NEW_TABLE, CREATE, INET, &table);
    }
    if let Some(inbound) = inbound {
        chain(&mut batch, "inbound", PREROUTING, MANGLE, &inbound);
    }
    if !outbound.is_empty() {
        chain(&mut batch, "outbound", OUTPUT, FILTER, &outbound);
    }
    batch.end()
}

/// A table that lets nothing in, and no TCP out, but within the pod.
fn closed() -> Transaction {
    let table = Attributes::new().string(1, TABLE);
    let mut batch = Batch::begin();
    batch.table_message(NEW_TABLE, CREATE, INET, &table);
    batch.table_message(DELETE_TABLE, 0, INET, &table);
    batch.table_message(NEW_TABLE, CREATE, INET, &table);
    let inbound = [Rule::new().via_loopback().accept(), Rule::new().drop()];
    let outbound = [
        Rule::new().out_via_loopback().accept(),
        Rule::new().protocol(rule::TCP).drop(),
    ];
    chain(&mut batch, "inbound", PREROUTING, MANGLE, &inbound);
    chain(&mut batch, "outbound", OUTPUT, FILTER, &outbound);
    batch.end()
}

fn inbound(inbound: &Inbound) -> Vec<Rule> {
    let mut rules = vec![
        Rule::new().via_loopback().accept(),
        // Replies to what this pod opened. Not RELATED, and not the original direction: a
        // connection that was open before the rules must not go on in plaintext.
        Rule::new().reply_direction().established().accept(),
        Rule::new().protocol(rule::ICMP).accept(),
        Rule::new().protocol(rule::ICMP6).accept(),
    ];
    let tcp = |port: &u16| Rule::new().destination_port(rule::TCP, *port);
    rules.extend(inbound.plain.iter().map(|port| tcp(port).accept()));
    if inbound.closing {
        rules.push(Rule::new().opens().drop());
    }
    rules.extend(inbound.unauthenticated.iter().flat_map(|port| {
        // Where the listener is gone the next rule must not hand the packet to the other one.
        [
            tcp(port).tproxy(inbound.server_only).accept(),
            tcp(port).drop(),
        ]
    }));
    rules.push(Rule::new().tproxy(inbound.mutual).accept());
    if inbound.udp {
        rules.push(Rule::new().protocol(rule::UDP).accept());
    }
    rules.push(Rule::new().counter().drop());
    rules
}

fn outbound(ruleset: &Ruleset) -> Vec<Rule> {
    let mut rules = Vec::new();
    if let Some(inbound) = &ruleset.inbound {
        rules.push(Rule::new().out_via_loopback().accept());
        rules.push(Rule::new().marked(PLAIN).counter().drop());
        // A plain port answers, also on connections from before the rules.
        rules.extend(inbound.plain.iter().map(|port| {
            Rule::new()
                .source_port(rule::TCP, *port)
                .does_not_open()
                .accept()
        }));
        // What the application itself sends on a connection that a stranger opened would be
        // plaintext on a protected port: only the mesh's own sockets, which carry the mark, answer.
        rules.push(
            Rule::new()
                .protocol(rule::TCP)
                .reply_direction()
                .not_marked(MARK)
                .counter()
                .drop(),
        );
        // A packet that belongs to nothing known, as the last one of an old connection, has no direction.
        rules.push(
            Rule::new()
                .protocol(rule::TCP)
                .unknown_connection()
                .not_marked(MARK)
                .counter()
                .drop(),
        );
        // Connection tracking must not take the middle of an old connection for a new one of ours.
        rules.push(
            Rule::new()
                .does_not_open()
                .new_connection()
                .counter()
                .drop(),
        );
    }
    if ruleset.strict_egress {
        rules.extend([
            Rule::new().out_via_loopback().accept(),
            Rule::new().reply_direction().established().accept(),
            Rule::new().protocol(rule::ICMP6).accept(),
            Rule::new().destination_port(rule::UDP, 53).accept(),
            Rule::new().destination_port(rule::TCP, 53).accept(),
            Rule::new().not_marked(MARK).counter().drop(),
        ]);
    }
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
