//! Reports, with any field settable.

use nacre_attest::{CpuId, Firmware, Product, REPORT_LEN, SigningKey, Tcb, TcbBytes};

use crate::machine::MachineSpec;

/// What is to stand in a report. Offsets: SEV-SNP firmware ABI 1.58, table `ATTESTATION_REPORT`.
#[derive(Clone, Debug)]
pub struct ReportSpec {
    /// 0x00.
    pub version: u32,
    /// 0x04.
    pub guest_svn: u32,
    /// 0x08.
    pub policy: u64,
    /// 0x10.
    pub family_id: [u8; 16],
    /// 0x20.
    pub image_id: [u8; 16],
    /// 0x30.
    pub vmpl: u32,
    /// 0x34.
    pub signature_algo: u32,
    /// 0x38.
    pub current_tcb: TcbBytes,
    /// 0x40.
    pub platform_info: u64,
    /// 0x48.
    pub key_info: u32,
    /// 0x50.
    pub report_data: [u8; 64],
    /// 0x90.
    pub measurement: [u8; 48],
    /// 0xc0.
    pub host_data: [u8; 32],
    /// 0xe0.
    pub id_key_digest: [u8; 48],
    /// 0x110.
    pub author_key_digest: [u8; 48],
    /// 0x140.
    pub report_id: [u8; 32],
    /// 0x160.
    pub report_id_ma: [u8; 32],
    /// 0x180.
    pub reported_tcb: TcbBytes,
    /// 0x188; not written to version 2.
    pub cpu: CpuId,
    /// 0x1a0.
    pub chip_id: [u8; 64],
    /// 0x1e0.
    pub committed_tcb: TcbBytes,
    /// 0x1e8.
    pub current_firmware: Firmware,
    /// 0x1ec.
    pub committed_firmware: Firmware,
    /// 0x1f0.
    pub launch_tcb: TcbBytes,
    /// 0x1f8; version 5 only.
    pub launch_mitigations: u64,
    /// 0x200; version 5 only.
    pub current_mitigations: u64,
    /// Bytes written over the rest, by offset, before the report is signed.
    pub patches: Vec<(usize, u8)>,
}

impl ReportSpec {
    /// A guest of an ordinary platform: SMT allowed, no ID block, all firmware committed.
    pub fn new(product: Product, machine: &MachineSpec) -> Self {
        let tcb = machine.tcb.encode(product);
        let vlek = machine.signing_key == SigningKey::Vlek;
        let mut chip_id = [0; 64];
        if !vlek {
            chip_id
                .iter_mut()
                .zip(&machine.hwid)
                .for_each(|(to, from)| *to = *from);
        }
        let firmware = Firmware {
            major: 1,
            minor: 58,
            build: 1,
        };
        Self {
            version: 5,
            guest_svn: 0,
            policy: 0x3_001f,
            family_id: [0; 16],
            image_id: [0; 16],
            vmpl: 0,
            signature_algo: 1,
            current_tcb: tcb,
            platform_info: 0x25,
            key_info: if vlek { 1 << 2 } else { 0 },
            report_data: [0; 64],
            measurement: [0x5a; 48],
            host_data: [0; 32],
            id_key_digest: [0; 48],
            author_key_digest: [0; 48],
            report_id: [0x1d; 32],
            report_id_ma: [0xff; 32],
            reported_tcb: tcb,
            cpu: Self::cpu_of(product),
            chip_id,
            committed_tcb: tcb,
            current_firmware: firmware,
            committed_firmware: firmware,
            launch_tcb: tcb,
            launch_mitigations: 0x3f,
            current_mitigations: 0x3f,
            patches: Vec::new(),
        }
    }

    /// A processor of the product.
    pub fn cpu_of(product: Product) -> CpuId {
        match product {
            Product::Milan => CpuId {
                family: 0x19,
                model: 0x01,
                stepping: 1,
            },
            Product::Genoa => CpuId {
                family: 0x19,
                model: 0x11,
                stepping: 1,
            },
            _ => CpuId {
                family: 0x1a,
                model: 0x02,
                stepping: 1,
            },
        }
    }

    /// Sets all four TCB versions.
    pub fn set_tcbs(&mut self, product: Product, tcb: Tcb) {
        let bytes = tcb.encode(product);
        self.current_tcb = bytes;
        self.reported_tcb = bytes;
        self.committed_tcb = bytes;
        self.launch_tcb = bytes;
    }

    /// The bytes, without a signature.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REPORT_LEN);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.guest_svn.to_le_bytes());
        out.extend_from_slice(&self.policy.to_le_bytes());
        out.extend_from_slice(&self.family_id);
        out.extend_from_slice(&self.image_id);
        out.extend_from_slice(&self.vmpl.to_le_bytes());
        out.extend_from_slice(&self.signature_algo.to_le_bytes());
        out.extend_from_slice(&self.current_tcb.0);
        out.extend_from_slice(&self.platform_info.to_le_bytes());
        out.extend_from_slice(&self.key_info.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.report_data);
        out.extend_from_slice(&self.measurement);
        out.extend_from_slice(&self.host_data);
        out.extend_from_slice(&self.id_key_digest);
        out.extend_from_slice(&self.author_key_digest);
        out.extend_from_slice(&self.report_id);
        out.extend_from_slice(&self.report_id_ma);
        out.extend_from_slice(&self.reported_tcb.0);
        let CpuId {
            family,
            model,
            stepping,
        } = self.cpu;
        let cpu = if self.version == 2 {
            [0; 3]
        } else {
            [family, model, stepping]
        };
        out.extend_from_slice(&cpu);
        out.extend_from_slice(&[0; 21]);
        out.extend_from_slice(&self.chip_id);
        out.extend_from_slice(&self.committed_tcb.0);
        for firmware in [self.current_firmware, self.committed_firmware] {
            out.extend_from_slice(&[firmware.build, firmware.minor, firmware.major, 0]);
        }
        out.extend_from_slice(&self.launch_tcb.0);
        if self.version >= 5 {
            out.extend_from_slice(&self.launch_mitigations.to_le_bytes());
            out.extend_from_slice(&self.current_mitigations.to_le_bytes());
        }
        out.resize(REPORT_LEN, 0);
        for &(at, byte) in &self.patches {
            if let Some(slot) = out.get_mut(at) {
                *slot = byte;
            }
        }
        out
    }
}
