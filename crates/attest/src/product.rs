//! Processor generations, CPUID and the security version numbers (TCB) of their firmware.

use std::fmt;

use serde::Serialize;

/// A processor line that has a key hierarchy of its own.
///
/// Bergamo and Siena are Genoa here, as they are for AMD's key distribution service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum Product {
    /// EPYC 7003 (Zen 3).
    Milan,
    /// EPYC 9004, 8004 and 97x4 (Zen 4, Zen 4c).
    Genoa,
    /// EPYC 9005 (Zen 5, Zen 5c).
    Turin,
}

impl Product {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The name AMD's key distribution service and certificates use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// The line a processor belongs to; `None` for one this build does not know.
    ///
    /// Ranges: SEV-SNP ABI 1.58, and the CPUID tables of virtee/sev 8.
    pub const fn from_cpu(cpu: CpuId) -> Option<Self> {
        match (cpu.family, cpu.model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x11) => Some(Self::Turin),
            _ => None,
        }
    }

    /// Reads [`Product::name`], whatever the case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|product| product.name().eq_ignore_ascii_case(text))
    }

    /// Length of the chip's identifier in a VCEK and in the KDS address, in bytes.
    pub const fn hwid_len(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }

    /// Structure version a VEK of this line states (extension 1.3.6.1.4.1.3704.1.1).
    pub const fn struct_version(self) -> u64 {
        match self {
            Self::Milan | Self::Genoa => 0,
            Self::Turin => 1,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Family, model and stepping as reports of version 3 and later carry them (extended parts added in).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CpuId {
    /// Combined family, `0x19` for Zen 3 and 4, `0x1a` for Zen 5.
    pub family: u8,
    /// Combined model.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

impl CpuId {
    /// Reads three bytes of hex, `19h/a0h/02h` or `19/a0/02`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text
            .split('/')
            .map(|part| u8::from_str_radix(part.strip_suffix('h').unwrap_or(part), 16).ok());
        let (family, model, stepping) = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(Self {
            family,
            model,
            stepping,
        })
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}h/{:02x}h/{:02x}h",
            self.family, self.model, self.stepping
        )
    }
}

/// The eight bytes of a TCB version, whose layout depends on the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcbBytes(pub [u8; 8]);

impl TcbBytes {
    /// The components under the layout of `product`.
    pub const fn decode(self, product: Product) -> Tcb {
        match product {
            Product::Milan | Product::Genoa => {
                let [bootloader, tee, _, _, _, _, snp, microcode] = self.0;
                Tcb {
                    fmc: None,
                    bootloader,
                    tee,
                    snp,
                    microcode,
                }
            }
            Product::Turin => {
                let [fmc, bootloader, tee, snp, _, _, _, microcode] = self.0;
                Tcb {
                    fmc: Some(fmc),
                    bootloader,
                    tee,
                    snp,
                    microcode,
                }
            }
        }
    }

    /// Whether the bytes without a meaning under the layout of `product` are zero.
    pub const fn reserved_is_zero(self, product: Product) -> bool {
        match product {
            Product::Milan | Product::Genoa => {
                let [_, _, a, b, c, d, _, _] = self.0;
                a | b | c | d == 0
            }
            Product::Turin => {
                let [_, _, _, _, a, b, c, _] = self.0;
                a | b | c == 0
            }
        }
    }
}

/// Security version numbers of the firmware parts. Compared part by part, never as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tcb {
    /// Fleet management controller; Turin only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u8>,
    /// Secure processor boot loader.
    pub bootloader: u8,
    /// Secure processor operating system.
    pub tee: u8,
    /// SNP firmware. Raised by one with each firmware release that adds a mitigation.
    pub snp: u8,
    /// CPU microcode. Not comparable between the models of one product.
    pub microcode: u8,
}

impl Tcb {
    /// The bytes under the layout of `product`.
    pub const fn encode(self, product: Product) -> TcbBytes {
        let Self {
            fmc,
            bootloader,
            tee,
            snp,
            microcode,
        } = self;
        match product {
            Product::Milan | Product::Genoa => {
                TcbBytes([bootloader, tee, 0, 0, 0, 0, snp, microcode])
            }
            Product::Turin => {
                let fmc = match fmc {
                    Some(fmc) => fmc,
                    None => 0,
                };
                TcbBytes([fmc, bootloader, tee, snp, 0, 0, 0, microcode])
            }
        }
    }

    /// The parts by name, in the order they are printed.
    pub fn parts(self) -> impl Iterator<Item = (Component, u8)> {
        Component::ALL
            .into_iter()
            .filter_map(move |part| Some((part, self.part(part)?)))
    }

    /// One part; `None` when this product has none.
    pub const fn part(self, part: Component) -> Option<u8> {
        match part {
            Component::Fmc => self.fmc,
            Component::Bootloader => Some(self.bootloader),
            Component::Tee => Some(self.tee),
            Component::Snp => Some(self.snp),
            Component::Microcode => Some(self.microcode),
        }
    }

    /// The parts in which `self` is below `floor`, with what `self` and `floor` have.
    ///
    /// A part that `floor` has and `self` lacks counts as below.
    pub fn below(self, floor: Self) -> Vec<Shortfall> {
        floor
            .parts()
            .filter(|&(part, wanted)| self.part(part).is_none_or(|have| have < wanted))
            .map(|(part, wanted)| Shortfall {
                part,
                wanted,
                have: self.part(part),
            })
            .collect()
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (part, value)) in self.parts().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{part}={value}")?;
        }
        Ok(())
    }
}

/// A part of the firmware that has a security version number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Component {
    /// See [`Tcb::fmc`].
    Fmc,
    /// See [`Tcb::bootloader`].
    Bootloader,
    /// See [`Tcb::tee`].
    Tee,
    /// See [`Tcb::snp`].
    Snp,
    /// See [`Tcb::microcode`].
    Microcode,
}

impl Component {
    /// All of them, in the order they are printed.
    pub const ALL: [Self; 5] = [
        Self::Fmc,
        Self::Bootloader,
        Self::Tee,
        Self::Snp,
        Self::Microcode,
    ];

    /// The manifest's field for it, below `ReferenceValues.snp[].MinimumTCB`.
    pub const fn manifest_field(self) -> &'static str {
        match self {
            Self::Fmc => "FMCVersion",
            Self::Bootloader => "BootloaderVersion",
            Self::Tee => "TEEVersion",
            Self::Snp => "SNPVersion",
            Self::Microcode => "MicrocodeVersion",
        }
    }

    /// Reads the printed name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.to_string() == text)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fmc => "fmc",
            Self::Bootloader => "bootloader",
            Self::Tee => "tee",
            Self::Snp => "snp",
            Self::Microcode => "microcode",
        })
    }
}

/// A part of the firmware that is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Which part.
    pub part: Component,
    /// The least number asked for.
    pub wanted: u8,
    /// The number there is; `None` when the report has no such part.
    pub have: Option<u8>,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.have {
            Some(have) => write!(f, "{} is {have}, below {}", self.part, self.wanted),
            None => write!(f, "{} is absent, {} is asked for", self.part, self.wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_differ_between_the_lines() {
        let bytes = TcbBytes([1, 2, 3, 4, 0, 0, 6, 7]);
        let milan = bytes.decode(Product::Milan);
        assert_eq!(
            milan,
            Tcb {
                fmc: None,
                bootloader: 1,
                tee: 2,
                snp: 6,
                microcode: 7
            }
        );
        let turin = bytes.decode(Product::Turin);
        assert_eq!(
            turin,
            Tcb {
                fmc: Some(1),
                bootloader: 2,
                tee: 3,
                snp: 4,
                microcode: 7
            }
        );
        assert!(!bytes.reserved_is_zero(Product::Milan));
        assert!(!bytes.reserved_is_zero(Product::Turin));
        for product in Product::ALL {
            let tcb = bytes.decode(product);
            assert_eq!(tcb.encode(product).decode(product), tcb);
            assert!(tcb.encode(product).reserved_is_zero(product));
        }
    }

    #[test]
    fn a_missing_part_is_below() {
        let floor = Tcb {
            fmc: Some(0),
            bootloader: 0,
            tee: 0,
            snp: 4,
            microcode: 0,
        };
        let have = Tcb {
            fmc: None,
            bootloader: 9,
            tee: 9,
            snp: 3,
            microcode: 9,
        };
        let below: Vec<_> = have
            .below(floor)
            .into_iter()
            .map(|short| short.part)
            .collect();
        assert_eq!(below, [Component::Fmc, Component::Snp]);
    }

    #[test]
    fn cpus_map_to_lines() {
        let line = |text| Product::from_cpu(CpuId::parse(text).unwrap());
        assert_eq!(line("19/01/01"), Some(Product::Milan));
        assert_eq!(line("19/11/01"), Some(Product::Genoa));
        assert_eq!(line("19h/a0h/02h"), Some(Product::Genoa));
        assert_eq!(line("1a/02/01"), Some(Product::Turin));
        assert_eq!(line("19/20/00"), None);
        assert_eq!(line("1a/50/00"), None);
        assert_eq!(CpuId::parse("19/01"), None);
        assert_eq!(CpuId::parse("19/01/01/00"), None);
    }
}
