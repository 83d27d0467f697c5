//! The expressions a rule of ours is made of.
//!
//! Numbers are those of `linux/netfilter/nf_tables.h`; each function is one statement of the `nft`
//! language, named in its description.

use super::message::Attributes;

// Attributes of a rule's expression list.
const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;

// Registers: one is enough, every comparison follows its load.
const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;

const META_MARK: u32 = 3;

/// `ARPHRD_LOOPBACK`.
const LOOPBACK: u16 = 772;

const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;

const VERDICT_DROP: u32 = 0;
const VERDICT_ACCEPT: u32 = 1;

/// `IPPROTO_TCP`.
pub(super) const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub(super) const UDP: u8 = 17;
/// `IPPROTO_ICMP`.
pub(super) const ICMP: u8 = 1;
/// `IPPROTO_ICMPV6`.
pub(super) const ICMP6: u8 = 58;

/// The expressions of one rule, in order.
#[derive(Debug, Default, Clone)]
pub(super) struct Rule {
    expressions: Attributes,
}

impl Rule {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The attribute list for `NFTA_RULE_EXPRESSIONS`.
    pub(super) fn expressions(&self) -> &Attributes {
        &self.expressions
    }

    /// `iiftype loopback`: a name could be given to another interface.
    pub(super) fn via_loopback(self) -> Self {
        const META_IIFTYPE: u32 = 8;
        self.meta(META_IIFTYPE)
            .compare(CMP_EQ, &LOOPBACK.to_ne_bytes())
    }

    /// `oiftype loopback`.
    pub(super) fn out_via_loopback(self) -> Self {
        const META_OIFTYPE: u32 = 9;
        self.meta(META_OIFTYPE)
            .compare(CMP_EQ, &LOOPBACK.to_ne_bytes())
    }

    /// `meta l4proto <protocol>`.
    pub(super) fn protocol(self, protocol: u8) -> Self {
        const META_L4PROTO: u32 = 16;
        self.meta(META_L4PROTO).compare(CMP_EQ, &[protocol])
    }

    /// `meta l4proto <protocol> th dport <port>`.
    pub(super) fn destination_port(self, protocol: u8, port: u16) -> Self {
        self.protocol(protocol)
            .transport(2, 2)
            .compare(CMP_EQ, &port.to_be_bytes())
    }

    /// `meta l4proto <protocol> th sport <port>`.
    pub(super) fn source_port(self, protocol: u8, port: u16) -> Self {
        self.protocol(protocol)
            .transport(0, 2)
            .compare(CMP_EQ, &port.to_be_bytes())
    }

    /// `meta mark <mark>`.
    pub(super) fn marked(self, mark: u32) -> Self {
        self.meta(META_MARK).compare(CMP_EQ, &mark.to_ne_bytes())
    }

    /// `meta mark != <mark>`.
    pub(super) fn not_marked(self, mark: u32) -> Self {
        self.meta(META_MARK).compare(CMP_NEQ, &mark.to_ne_bytes())
    }

    /// `meta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn`: the packet that opens.
    pub(super) fn opens(self) -> Self {
        self.tcp_flags(CMP_EQ)
    }

    /// `meta l4proto tcp tcp flags & (fin | syn | rst | ack) != syn`.
    pub(super) fn does_not_open(self) -> Self {
        self.tcp_flags(CMP_NEQ)
    }

    fn tcp_flags(self, operator: u32) -> Self {
        const FIN_SYN_RST_ACK: u8 = 0x17;
        const SYN: u8 = 0x02;
        self.protocol(TCP)
            .transport(13, 1)
            .masked(&[FIN_SYN_RST_ACK])
            .compare(operator, &[SYN])
    }

    /// `ct state established`.
    pub(super) fn established(self) -> Self {
        // NF_CT_STATE_BIT(IP_CT_ESTABLISHED)
        self.state(2)
    }

    /// `ct state new`.
    pub(super) fn new_connection(self) -> Self {
        // NF_CT_STATE_BIT(IP_CT_NEW)
        self.state(8)
    }

    /// `ct state invalid,untracked`.
    pub(super) fn unknown_connection(self) -> Self {
        // NF_CT_STATE_INVALID_BIT, NF_CT_STATE_UNTRACKED_BIT
        self.state(1 | 64)
    }

    fn state(self, bits: u32) -> Self {
        const CT_STATE: u32 = 0;
        self.conntrack(CT_STATE)
            .masked(&bits.to_ne_bytes())
            .compare(CMP_NEQ, &[0; 4])
    }

    /// Ands the loaded bytes with a mask.
    fn masked(self, mask: &[u8]) -> Self {
        let zero = vec![0; mask.len()];
        let length = u32::try_from(mask.len()).unwrap_or_default();
        // NFTA_BITWISE_SREG = 1, _DREG = 2, _LEN = 3, _MASK = 4, _XOR = 5.
        self.push(
            "bitwise",
            &Attributes::new()
                .u32(1, REG_1)
                .u32(2, REG_1)
                .u32(3, length)
                .nested(4, &data(mask))
                .nested(5, &data(&zero)),
        )
    }

    /// `ct direction reply`.
    pub(super) fn reply_direction(self) -> Self {
        const CT_DIRECTION: u32 = 1;
        const REPLY: u8 = 1;
        self.conntrack(CT_DIRECTION).compare(CMP_EQ, &[REPLY])
    }

    /// `meta l4proto tcp tproxy to :<port>`: hands the packet to a transparent socket on this
    /// machine. Where there is none the rule does not match, so a `drop` must follow.
    pub(super) fn tproxy(self, port: u16) -> Self {
        // NFTA_TPROXY_FAMILY = 1 (unspecified: both), NFTA_TPROXY_REG_PORT = 3.
        self.protocol(TCP)
            .push(
                "immediate",
                &Attributes::new()
                    .u32(1, REG_1)
                    .nested(2, &data(&port.to_be_bytes())),
            )
            .push("tproxy", &Attributes::new().u32(1, 0).u32(3, REG_1))
    }

    /// `accept`.
    pub(super) fn accept(self) -> Self {
        self.verdict(VERDICT_ACCEPT)
    }

    /// `drop`.
    pub(super) fn drop(self) -> Self {
        self.verdict(VERDICT_DROP)
    }

    /// `counter`.
    pub(super) fn counter(self) -> Self {
        self.push("counter", &Attributes::new())
    }

    fn meta(self, key: u32) -> Self {
        // NFTA_META_DREG = 1, NFTA_META_KEY = 2.
        self.push("meta", &Attributes::new().u32(1, REG_1).u32(2, key))
    }

    fn conntrack(self, key: u32) -> Self {
        // NFTA_CT_DREG = 1, NFTA_CT_KEY = 2.
        self.push("ct", &Attributes::new().u32(1, REG_1).u32(2, key))
    }

    /// Loads bytes of the transport header.
    fn transport(self, offset: u32, length: u32) -> Self {
        const TRANSPORT_HEADER: u32 = 2;
        self.push(
            "payload",
            &Attributes::new()
                .u32(1, REG_1)
                .u32(2, TRANSPORT_HEADER)
                .u32(3, offset)
                .u32(4, length),
        )
    }

    fn compare(self, operator: u32, value: &[u8]) -> Self {
        // NFTA_CMP_SREG = 1, NFTA_CMP_OP = 2, NFTA_CMP_DATA = 3.
        self.push(
            "cmp",
            &Attributes::new()
                .u32(1, REG_1)
                .u32(2, operator)
                .nested(3, &data(value)),
        )
    }

    fn verdict(self, code: u32) -> Self {
        // NFTA_DATA_VERDICT = 2 holding NFTA_VERDICT_CODE = 1.
        let verdict = Attributes::new().nested(2, &Attributes::new().u32(1, code));
        self.push(
            "immediate",
            &Attributes::new().u32(1, REG_VERDICT).nested(2, &verdict),
        )
    }

    /// An expression of which nothing but the name is said. Kernels that know it say that the rest is missing.
    pub(super) fn bare(name: &str) -> Self {
        Self::new().push(name, &Attributes::new())
    }

    fn push(mut self, name: &str, body: &Attributes) -> Self {
        let expression = Attributes::new()
            .string(EXPR_NAME, name)
            .nested(EXPR_DATA, body);
        self.expressions = self.expressions.nested(LIST_ELEM, &expression);
        self
    }
}

/// `NFTA_DATA_VALUE`.
fn data(value: &[u8]) -> Attributes {
    Attributes::new().bytes(1, value)
}
