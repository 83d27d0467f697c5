//! The attestation report: 1184 bytes, read by offset and never written back.
//!
//! Layout: AMD document 56860, SEV-SNP firmware ABI 1.58, table `ATTESTATION_REPORT`. All integers are
//! little-endian.

use crate::product::{CpuId, TcbBytes};

/// Length of a report in bytes.
pub const REPORT_LEN: usize = 1184;
/// The leading bytes that the signature covers.
pub const SIGNED_LEN: usize = 0x2a0;

/// A report whose shape is known. Nothing in it is believed before the signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    raw: Box<[u8; REPORT_LEN]>,
    /// Version of the layout, 2 to 5.
    pub version: u32,
    /// Security version of the guest, from the ID block.
    pub guest_svn: u32,
    /// Guest policy bits.
    pub policy: u64,
    /// Family id from the ID block.
    pub family_id: [u8; 16],
    /// Image id from the ID block.
    pub image_id: [u8; 16],
    /// Privilege level that asked for the report.
    pub vmpl: u32,
    /// Algorithm of the signature; 1 = ECDSA P-384 with SHA-384.
    pub signature_algo: u32,
    /// Firmware that runs.
    pub current_tcb: TcbBytes,
    /// Platform information bits.
    pub platform_info: u64,
    /// Author key flag, chip key mask, signing key, reserved bits.
    pub key_info: u32,
    /// Data given by the guest: what binds the report to something.
    pub report_data: [u8; 64],
    /// Launch digest.
    pub measurement: [u8; 48],
    /// Data given by the host at launch: identity of the policy.
    pub host_data: [u8; 32],
    /// SHA-384 of the key that signed the ID block; zero without one.
    pub id_key_digest: [u8; 48],
    /// SHA-384 of the key that certified the ID key.
    pub author_key_digest: [u8; 48],
    /// Identity of this guest for as long as it runs.
    pub report_id: [u8; 32],
    /// Identity of its migration agent; all ones without one.
    pub report_id_ma: [u8; 32],
    /// Firmware the VEK was derived for.
    pub reported_tcb: TcbBytes,
    /// The processor; absent from version 2.
    pub cpu: Option<CpuId>,
    /// Identity of the chip; zero when masked.
    pub chip_id: [u8; 64],
    /// Firmware that cannot be rolled back any more.
    pub committed_tcb: TcbBytes,
    /// Firmware that runs, as release number.
    pub current_firmware: Firmware,
    /// Firmware that is committed, as release number.
    pub committed_firmware: Firmware,
    /// Firmware that ran when the guest was launched or imported.
    pub launch_tcb: TcbBytes,
    /// Mitigations in force at launch; version 5 only.
    pub launch_mitigations: Option<u64>,
    /// Mitigations in force now; version 5 only.
    pub current_mitigations: Option<u64>,
    /// R of the signature, little-endian.
    pub signature_r: [u8; 48],
    /// S of the signature, little-endian.
    pub signature_s: [u8; 48],
    /// Names of reserved areas that are not zero, in order.
    pub reserved_nonzero: Vec<&'static str>,
    /// Whether the unused bytes of the signature field are zero.
    pub signature_padding_zero: bool,
}

impl Report {
    /// Reads a report. Any bytes give an answer; none panic.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        let raw: &[u8; REPORT_LEN] = bytes.try_into().map_err(|_| ReportError::Length {
            actual: bytes.len(),
        })?;
        let mut fields = Fields { rest: raw };
        Self::read(&mut fields, raw).ok_or(ReportError::Version {
            actual: version_of(raw),
        })
    }

    fn read(fields: &mut Fields<'_>, raw: &[u8; REPORT_LEN]) -> Option<Self> {
        let mut reserved_nonzero = Vec::new();
        let mut reserved = |name, bytes: &[u8]| {
            if bytes.iter().any(|&byte| byte != 0) {
                reserved_nonzero.push(name);
            }
        };
        let version = fields.u32()?;
        if !(2..=5).contains(&version) {
            return None;
        }
        let guest_svn = fields.u32()?;
        let policy = fields.u64()?;
        let family_id = fields.take()?;
        let image_id = fields.take()?;
        let vmpl = fields.u32()?;
        let signature_algo = fields.u32()?;
        let current_tcb = TcbBytes(fields.take()?);
        let platform_info = fields.u64()?;
        let key_info = fields.u32()?;
        reserved("0x4c..0x50", &fields.take::<4>()?);
        let report_data = fields.take()?;
        let measurement = fields.take()?;
        let host_data = fields.take()?;
        let id_key_digest = fields.take()?;
        let author_key_digest = fields.take()?;
        let report_id = fields.take()?;
        let report_id_ma = fields.take()?;
        let reported_tcb = TcbBytes(fields.take()?);
        let [family, model, stepping] = fields.take::<3>()?;
        let cpu = if version == 2 {
            reserved("0x188..0x18b", &[family, model, stepping]);
            None
        } else {
            Some(CpuId {
                family,
                model,
                stepping,
            })
        };
        reserved("0x18b..0x1a0", &fields.take::<21>()?);
        let chip_id = fields.take()?;
        let committed_tcb = TcbBytes(fields.take()?);
        let current_firmware = Firmware::read(fields)?;
        reserved("0x1eb", &fields.take::<1>()?);
        let committed_firmware = Firmware::read(fields)?;
        reserved("0x1ef", &fields.take::<1>()?);
        let launch_tcb = TcbBytes(fields.take()?);
        let (launch, current) = (fields.take::<8>()?, fields.take::<8>()?);
        let (launch_mitigations, current_mitigations) = if version == 5 {
            (
                Some(u64::from_le_bytes(launch)),
                Some(u64::from_le_bytes(current)),
            )
        } else {
            reserved("0x1f8..0x200", &launch);
            reserved("0x200..0x208", &current);
            (None, None)
        };
        reserved("0x208..0x2a0", &fields.take::<152>()?);
        let signature_r = fields.take()?;
        let padding_r = fields.take::<24>()?;
        let signature_s = fields.take()?;
        let padding_s = fields.take::<24>()?;
        let tail = fields.take::<368>()?;
        let signature_padding_zero = padding_r
            .iter()
            .chain(&padding_s)
            .chain(&tail)
            .all(|&byte| byte == 0);
        Some(Self {
            raw: Box::new(*raw),
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            signature_algo,
            current_tcb,
            platform_info,
            key_info,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            cpu,
            chip_id,
            committed_tcb,
            current_firmware,
            committed_firmware,
            launch_tcb,
            launch_mitigations,
            current_mitigations,
            signature_r,
            signature_s,
            reserved_nonzero,
            signature_padding_zero,
        })
    }

    /// The bytes as received.
    pub fn bytes(&self) -> &[u8; REPORT_LEN] {
        &self.raw
    }

    /// The bytes the signature covers, as received.
    pub fn signed_bytes(&self) -> &[u8] {
        self.raw
            .first_chunk::<SIGNED_LEN>()
            .map_or(&[], |signed| signed)
    }

    /// The signature as R ‖ S, 48 bytes each, big-endian.
    pub fn signature(&self) -> [u8; 96] {
        let mut signature = [0; 96];
        let big_endian = self
            .signature_r
            .iter()
            .rev()
            .chain(self.signature_s.iter().rev());
        for (to, from) in signature.iter_mut().zip(big_endian) {
            *to = *from;
        }
        signature
    }

    /// Whether an author key certified the ID key.
    pub fn author_key_en(&self) -> bool {
        self.key_info & 1 != 0
    }

    /// Whether the host had the chip's keys masked: the signature is then none.
    pub fn chip_key_masked(&self) -> bool {
        self.key_info & 2 != 0
    }

    /// The key that signed.
    pub fn signing_key(&self) -> SigningKey {
        match (self.key_info >> 2) & 7 {
            0 => SigningKey::Vcek,
            1 => SigningKey::Vlek,
            7 => SigningKey::None,
            other => SigningKey::Unknown(other),
        }
    }

    /// Bits 5 and up of KEY_INFO.
    pub fn key_info_reserved(&self) -> u32 {
        self.key_info >> 5
    }
}

fn version_of(raw: &[u8; REPORT_LEN]) -> u32 {
    raw.first_chunk::<4>()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Which key signed a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// The chip's own key.
    Vcek,
    /// A key AMD gave to the cloud provider.
    Vlek,
    /// Not signed.
    None,
    /// A value the ABI does not define.
    Unknown(u32),
}

impl std::fmt::Display for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Vcek => f.write_str("VCEK"),
            Self::Vlek => f.write_str("VLEK"),
            Self::None => f.write_str("none"),
            Self::Unknown(number) => write!(f, "undefined ({number})"),
        }
    }
}

/// Release number of the SNP firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firmware {
    /// API major.
    pub major: u8,
    /// API minor.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

impl Firmware {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let [build, minor, major] = fields.take()?;
        Some(Self {
            major,
            minor,
            build,
        })
    }
}

impl std::fmt::Display for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// Why bytes are no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Not [`REPORT_LEN`] bytes.
    #[error("a report is {REPORT_LEN} bytes, this is {actual}")]
    Length {
        /// Bytes given.
        actual: usize,
    },
    /// A layout this build does not know.
    #[error("report version {actual} is not known (2 to 5 are)")]
    Version {
        /// The version stated.
        actual: u32,
    },
}

/// What is left to read.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(version: u8) -> [u8; REPORT_LEN] {
        let mut raw = [0; REPORT_LEN];
        raw[0] = version;
        raw
    }

    #[test]
    fn every_byte_is_read_once() {
        let raw = blank(5);
        let mut fields = Fields { rest: &raw };
        Report::read(&mut fields, &raw).unwrap();
        assert!(fields.rest.is_empty());
    }

    #[test]
    fn offsets_are_those_of_the_abi() {
        let mut raw = blank(5);
        raw[0x08] = 0x1f;
        raw[0x30] = 2;
        raw[0x34] = 1;
        raw[0x50] = 0xaa;
        raw[0x90] = 0xbb;
        raw[0xc0] = 0xcc;
        raw[0xe0] = 0xdd;
        raw[0x110] = 0xde;
        raw[0x140] = 0xe0;
        raw[0x160] = 0xe1;
        raw[0x180] = 4;
        raw[0x188..0x18b].copy_from_slice(&[0x19, 0x11, 1]);
        raw[0x1a0] = 0xc1;
        raw[0x1e8..0x1eb].copy_from_slice(&[29, 55, 1]);
        raw[0x1f0] = 9;
        raw[0x1f8] = 0x3f;
        raw[0x200] = 0x1f;
        raw[0x2a0] = 1;
        raw[0x2e8] = 2;
        let report = Report::parse(&raw).unwrap();
        assert_eq!(
            (report.policy, report.vmpl, report.signature_algo),
            (0x1f, 2, 1)
        );
        assert_eq!(report.report_data[0], 0xaa);
        assert_eq!(report.measurement[0], 0xbb);
        assert_eq!(report.host_data[0], 0xcc);
        assert_eq!(report.id_key_digest[0], 0xdd);
        assert_eq!(report.author_key_digest[0], 0xde);
        assert_eq!((report.report_id[0], report.report_id_ma[0]), (0xe0, 0xe1));
        assert_eq!(report.reported_tcb.0[0], 4);
        assert_eq!(
            report.cpu,
            Some(CpuId {
                family: 0x19,
                model: 0x11,
                stepping: 1
            })
        );
        assert_eq!(report.chip_id[0], 0xc1);
        assert_eq!(
            report.current_firmware,
            Firmware {
                major: 1,
                minor: 55,
                build: 29
            }
        );
        assert_eq!(report.launch_tcb.0[0], 9);
        assert_eq!(report.launch_mitigations, Some(0x3f));
        assert_eq!(report.current_mitigations, Some(0x1f));
        assert_eq!((report.signature()[47], report.signature()[95]), (1, 2));
        assert!(report.reserved_nonzero.is_empty() && report.signature_padding_zero);
    }

    #[test]
    fn versions_2_to_5_and_no_other() {
        for version in 0..=255 {
            let parsed = Report::parse(&blank(version));
            assert_eq!(
                parsed.is_ok(),
                (2..=5).contains(&version),
                "version {version}"
            );
        }
        assert_eq!(
            Report::parse(&blank(6)),
            Err(ReportError::Version { actual: 6 })
        );
    }

    #[test]
    fn fields_of_later_versions_are_reserved_in_earlier_ones() {
        let area = |version: u8, at: usize| {
            let mut raw = blank(version);
            raw[at] = 1;
            Report::parse(&raw).unwrap().reserved_nonzero
        };
        assert_eq!(area(2, 0x188), ["0x188..0x18b"]);
        assert!(area(3, 0x188).is_empty());
        assert_eq!(area(4, 0x1f8), ["0x1f8..0x200"]);
        assert_eq!(area(3, 0x207), ["0x200..0x208"]);
        assert!(area(5, 0x207).is_empty());
        assert_eq!(area(5, 0x208), ["0x208..0x2a0"]);
        assert_eq!(area(5, 0x1ef), ["0x1ef"]);
    }

    #[test]
    fn other_lengths_are_refused() {
        for length in [0, 1, REPORT_LEN - 1, REPORT_LEN + 1] {
            let error = Report::parse(&vec![2; length]).unwrap_err();
            assert_eq!(error, ReportError::Length { actual: length });
        }
    }
}
