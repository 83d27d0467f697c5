//! The initial registers of a vCPU, as QEMU sets them (AMD APM volume 2, appendix B, table B-4).

use super::PAGE;
use crate::product::CpuId;

/// Where the first vCPU begins.
pub(super) const FIRST_EIP: u32 = 0xffff_fff0;

/// The VMSA page.
pub(super) fn page(eip: u32, cpu: CpuId, features: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    let mut put = |at: usize, bytes: &[u8]| {
        page.iter_mut()
            .skip(at)
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    };
    for (at, selector, attributes, base) in [
        (0x00, 0, 0x93, 0),                      // es
        (0x10, 0xf000, 0x9b, eip & 0xffff_0000), // cs
        (0x20, 0, 0x93, 0),                      // ss
        (0x30, 0, 0x93, 0),                      // ds
        (0x40, 0, 0x93, 0),                      // fs
        (0x50, 0, 0x93, 0),                      // gs
        (0x60, 0, 0, 0),                         // gdtr
        (0x70, 0, 0x82, 0),                      // ldtr
        (0x80, 0, 0, 0),                         // idtr
        (0x90, 0, 0x8b, 0),                      // tr
    ] {
        let (selector, attributes): (u16, u16) = (selector, attributes);
        put(at, &selector.to_le_bytes());
        put(at + 2, &attributes.to_le_bytes());
        put(at + 4, &0xffffu32.to_le_bytes());
        put(at + 8, &u64::from(base).to_le_bytes());
    }
    for (at, value) in [
        (0x0d0, 0x1000),                    // efer: SVME
        (0x148, 0x40),                      // cr4: MCE
        (0x158, 0x10),                      // cr0: ET
        (0x160, 0x400),                     // dr7
        (0x168, 0xffff_0ff0),               // dr6
        (0x170, 0x2),                       // rflags
        (0x178, u64::from(eip & 0xffff)),   // rip
        (0x268, 0x0007_0406_0007_0406),     // g_pat
        (0x310, u64::from(signature(cpu))), // rdx
        (0x3b0, features),                  // sev_features
        (0x3e8, 0x1),                       // xcr0
    ] {
        put(at, &value.to_le_bytes());
    }
    put(0x408, &0x1f80u32.to_le_bytes()); // mxcsr
    put(0x410, &0x37fu16.to_le_bytes()); // x87 fcw
    page
}

/// EAX of CPUID function 1.
fn signature(cpu: CpuId) -> u32 {
    let CpuId {
        family,
        model,
        stepping,
    } = cpu;
    let (base, extended) = match family.checked_sub(0xf) {
        Some(extended) => (0xf, extended),
        None => (family, 0),
    };
    u32::from(extended) << 20
        | u32::from(model >> 4) << 16
        | u32::from(base) << 8
        | u32::from(model & 0xf) << 4
        | u32::from(stepping & 0xf)
}
