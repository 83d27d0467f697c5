//! The launch digest a guest will have, computed from what it is launched with.
//!
//! The host adds pages to a guest before it starts; the firmware chains them into one SHA-384 (SEV-SNP ABI
//! 1.58, `SNP_LAUNCH_UPDATE` and table `PAGE_INFO`): the firmware image, the areas its metadata names, the
//! hashes of kernel, initrd and command line, and the initial registers of each vCPU. As QEMU does it.

mod ovmf;
mod vmsa;

use aws_lc_rs::digest::{SHA256, SHA384, digest};

use crate::product::CpuId;
use ovmf::{Ovmf, Section};

pub use ovmf::OvmfError;

const PAGE: usize = 4096;
/// Where the ABI says a VMSA page is measured.
const VMSA_GPA: u64 = 0xffff_ffff_f000;
/// GUIDs of the table of hashes (OVMF, QEMU `target/i386/sev.c`), first three groups little-endian.
const HASHES: [u8; 16] = guid("9438d606-4f22-4cc9-b479-a793d411fd21");
const COMMAND_LINE: [u8; 16] = guid("97d02dd8-bd20-4c94-aa78-e7714d36ab2a");
const INITRD: [u8; 16] = guid("44baf731-3a2f-4bd7-9af1-41e29169781d");
const KERNEL: [u8; 16] = guid("4de79437-abd2-427f-b835-d5b172d2045b");

/// What a guest is launched with.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The firmware image.
    pub ovmf: &'a [u8],
    /// Kernel, initrd and command line, when they are measured.
    pub kernel: Option<DirectBoot<'a>>,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// The CPU model the guest sees.
    pub cpu: CpuId,
    /// SEV features of the vCPUs; bit 0 is SNP.
    pub features: u64,
}

/// What is booted without a boot loader.
#[derive(Clone, Copy, Debug)]
pub struct DirectBoot<'a> {
    /// Kernel image.
    pub kernel: &'a [u8],
    /// Initial file system; empty when there is none.
    pub initrd: &'a [u8],
    /// Command line.
    pub append: &'a str,
}

/// SEV features of a guest that uses SNP and nothing else.
pub const SNP_ACTIVE: u64 = 1;

/// The CPU model QEMU gives a guest under this name, version suffix or not.
pub fn cpu_model(name: &str) -> Option<CpuId> {
    let lower = name.to_ascii_lowercase();
    let base = match lower.rsplit_once("-v") {
        Some((base, version)) if version.parse::<u8>().is_ok() => base,
        _ => &lower,
    };
    let (family, model, stepping) = match base {
        "epyc" => (0x17, 0x01, 2),
        "epyc-rome" => (0x17, 0x31, 0),
        "epyc-milan" => (0x19, 0x01, 1),
        "epyc-genoa" => (0x19, 0x11, 0),
        "epyc-turin" => (0x1a, 0x00, 0),
        _ => return None,
    };
    Some(CpuId {
        family,
        model,
        stepping,
    })
}

impl Launch<'_> {
    /// The launch digest (`MEASUREMENT` of the guest's reports).
    pub fn digest(&self) -> Result<[u8; 48], MeasureError> {
        if self.vcpus == 0 {
            return Err(MeasureError::NoVcpu);
        }
        let ovmf = Ovmf::parse(self.ovmf)?;
        let mut chain = Chain { digest: [0; 48] };
        chain.pages(ovmf.gpa(), self.ovmf);
        let mut hashed = false;
        for (section, gpa, size) in ovmf.sections()? {
            match section {
                Section::Memory | Section::SvsmCaa => chain.zero(gpa, size),
                Section::Secrets => chain.empty(PageType::Secrets, gpa),
                Section::Cpuid => chain.empty(PageType::Cpuid, gpa),
                Section::KernelHashes => {
                    hashed = true;
                    match &self.kernel {
                        Some(boot) => {
                            let page = boot.page(ovmf.hash_table_gpa()?, size)?;
                            chain.pages(gpa, &page);
                        }
                        None => chain.zero(gpa, size),
                    }
                }
            }
        }
        if self.kernel.is_some() && !hashed {
            return Err(MeasureError::NoHashTable);
        }
        let reset = ovmf.reset_eip()?;
        for index in 0..self.vcpus {
            let eip = if index == 0 { vmsa::FIRST_EIP } else { reset };
            let page = vmsa::page(eip, self.cpu, self.features);
            chain.page(PageType::Vmsa, VMSA_GPA, &sha384(&page));
        }
        Ok(chain.digest)
    }
}

impl DirectBoot<'_> {
    /// The page with the table of hashes at its place.
    fn page(&self, table_gpa: u64, size: usize) -> Result<Vec<u8>, MeasureError> {
        let command_line = [self.append.as_bytes(), &[0]].concat();
        let mut table = Vec::with_capacity(176);
        table.extend_from_slice(&HASHES);
        table.extend_from_slice(&168u16.to_le_bytes());
        for (guid, data) in [
            (COMMAND_LINE, command_line.as_slice()),
            (INITRD, self.initrd),
            (KERNEL, self.kernel),
        ] {
            table.extend_from_slice(&guid);
            table.extend_from_slice(&50u16.to_le_bytes());
            table.extend_from_slice(digest(&SHA256, data).as_ref());
        }
        let offset = usize::try_from(table_gpa % PAGE as u64).unwrap_or(PAGE);
        let mut page = vec![0; size];
        let slot = page.get_mut(offset..offset.saturating_add(table.len()));
        slot.ok_or(MeasureError::HashTablePlace)?
            .copy_from_slice(&table);
        Ok(page)
    }
}

#[derive(Clone, Copy)]
enum PageType {
    Normal = 1,
    Vmsa = 2,
    Zero = 3,
    Secrets = 5,
    Cpuid = 6,
}

/// The digest as far as it has got.
struct Chain {
    digest: [u8; 48],
}

impl Chain {
    /// Adds one page: table `PAGE_INFO`.
    fn page(&mut self, kind: PageType, gpa: u64, contents: &[u8; 48]) {
        let mut info = Vec::with_capacity(0x70);
        info.extend_from_slice(&self.digest);
        info.extend_from_slice(contents);
        info.extend_from_slice(&0x70u16.to_le_bytes());
        info.push(kind as u8);
        // Not an import page, no permissions for other privilege levels, reserved.
        info.extend_from_slice(&[0; 5]);
        info.extend_from_slice(&gpa.to_le_bytes());
        self.digest = sha384(&info);
    }

    fn pages(&mut self, gpa: u64, data: &[u8]) {
        for (address, page) in (gpa..).step_by(PAGE).zip(data.chunks(PAGE)) {
            self.page(PageType::Normal, address, &sha384(page));
        }
    }

    fn zero(&mut self, gpa: u64, size: usize) {
        for address in (gpa..).step_by(PAGE).take(size / PAGE) {
            self.empty(PageType::Zero, address);
        }
    }

    fn empty(&mut self, kind: PageType, gpa: u64) {
        self.page(kind, gpa, &[0; 48]);
    }
}

fn sha384(data: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.iter_mut()
        .zip(digest(&SHA384, data).as_ref())
        .for_each(|(to, from)| *to = *from);
    out
}

/// A GUID as it stands in memory. Only for literals: anything else gives zeros somewhere.
const fn guid(text: &str) -> [u8; 16] {
    /// Where each byte stands in the text.
    const PLACES: [usize; 16] = [6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34];
    let (mut out, mut index) = ([0; 16], 0);
    while index < 16 {
        #[allow(
            clippy::indexing_slicing,
            reason = "evaluated by the compiler, for literals only"
        )]
        {
            let (high, low) = (
                text.as_bytes()[PLACES[index]],
                text.as_bytes()[PLACES[index] + 1],
            );
            out[index] = nibble(high) << 4 | nibble(low);
        }
        index += 1;
    }
    out
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0,
    }
}

/// Why there is no launch digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A guest has at least one vCPU.
    #[error("a guest has at least one vCPU")]
    NoVcpu,
    /// The firmware image is none.
    #[error("firmware image: {0}")]
    Ovmf(#[from] OvmfError),
    /// The firmware image has no place for the hashes of a kernel.
    #[error("the firmware image has no place for the hashes of a kernel")]
    NoHashTable,
    /// The place for the hashes is not inside its page.
    #[error("the place for the hashes of a kernel is not inside its page")]
    HashTablePlace,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVMF: &[u8] = include_bytes!("../../tests/data/ovmf/ovmf_AmdSev_suffix.bin");

    fn launch() -> Launch<'static> {
        Launch {
            ovmf: OVMF,
            kernel: Some(DirectBoot {
                kernel: &[],
                initrd: &[],
                append: "",
            }),
            vcpus: 1,
            cpu: cpu_model("EPYC-v4").unwrap(),
            features: SNP_ACTIVE,
        }
    }

    /// The digests published with the image: see `tests/data/ovmf/SOURCES.md`.
    #[test]
    fn published_vectors() {
        let boot = |append| {
            Some(DirectBoot {
                kernel: &[],
                initrd: &[],
                append,
            })
        };
        let line = "console=ttyS0 loglevel=7";
        for (kernel, features, published) in [
            (
                boot(""),
                0x1,
                "ddc5224521617a536ee7ce9dd6224d1b58a8d4fda1c741f3ac99fc4bfa04ba6e9fc98646d4a07a9079397fa3852819b5",
            ),
            (
                boot(""),
                0x21,
                "329c8ce0972ae52343b64d34a434a86f245dfd74f5ed7aae15d22efc78fb9683632b9b50e4e1d7fa41179ef98a7ef198",
            ),
            (
                boot(line),
                0x1,
                "6d287813eb5222d770f75005c664e34c204f385ce832cc2ce7d0d6f354454362f390ef83a92046c042e706363b4b08fa",
            ),
            (
                boot(line),
                0x21,
                "803f691094946e42068aaa3a8f9e26a5c89f36f7b73ecfb28c653360fe4b3aba7e534442e7e1e17895dfe778d0228977",
            ),
            (
                None,
                0x1,
                "19358ba9a7615534a9a1e2f0dfc29384dcd4dcb7062ff9c6013b26869a5fc6ecabe033c48dd6f6db5d6d76e7c5df632d",
            ),
        ] {
            let digest = Launch {
                kernel,
                features,
                ..launch()
            }
            .digest()
            .unwrap();
            assert_eq!(hex::encode(digest), published);
        }
    }

    #[test]
    fn everything_a_guest_is_launched_with_counts() {
        let boot = DirectBoot {
            kernel: b"kernel",
            initrd: b"initrd",
            append: "quiet",
        };
        let with = |boot| Launch {
            kernel: Some(boot),
            ..launch()
        };
        let all = [
            with(boot),
            with(DirectBoot {
                kernel: b"other",
                ..boot
            }),
            with(DirectBoot {
                initrd: b"other",
                ..boot
            }),
            with(DirectBoot {
                append: "loud",
                ..boot
            }),
            Launch {
                vcpus: 2,
                ..with(boot)
            },
            Launch {
                cpu: cpu_model("EPYC-Milan").unwrap(),
                ..with(boot)
            },
            Launch {
                cpu: cpu_model("EPYC-Genoa-v1").unwrap(),
                ..with(boot)
            },
            Launch {
                features: 0x21,
                ..with(boot)
            },
        ];
        let digests: std::collections::BTreeSet<_> =
            all.iter().map(|launch| launch.digest().unwrap()).collect();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn images_that_are_none_are_errors() {
        for length in (0..OVMF.len()).step_by(97) {
            let launch = Launch {
                ovmf: &OVMF[..length],
                ..launch()
            };
            assert!(
                matches!(launch.digest(), Err(MeasureError::Ovmf(_))),
                "{length}"
            );
        }
        assert_eq!(
            Launch {
                vcpus: 0,
                ..launch()
            }
            .digest(),
            Err(MeasureError::NoVcpu)
        );
        assert_eq!(cpu_model("EPYC-Naples"), None);
        for at in 0..OVMF.len() {
            let mut image = OVMF.to_vec();
            image[at] ^= 0xff;
            // Any answer will do, as long as it is one.
            let _ = Launch {
                ovmf: &image,
                ..launch()
            }
            .digest();
        }
    }
}
