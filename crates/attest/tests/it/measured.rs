//! Launch digests computed by the `sev` crate as well.

use nacre_attest::measure::{DirectBoot, Launch, cpu_model};
use sev::measurement::snp::{SnpMeasurementArgs, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};

use crate::support::data;

/// More than a page and not a whole number of them, so that no rounding goes unnoticed.
fn file(first: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| first.wrapping_add(at as u8)).collect()
}

#[test]
fn sev_computes_the_same_launch_digests() {
    let ovmf_file = data("ovmf/ovmf_AmdSev_suffix.bin");
    let ovmf = std::fs::read(&ovmf_file).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let (kernel, initrd) = (file(3, 9_001), file(7, 12_345));
    let (kernel_file, initrd_file) = (scratch.path().join("kernel"), scratch.path().join("initrd"));
    std::fs::write(&kernel_file, &kernel).unwrap();
    std::fs::write(&initrd_file, &initrd).unwrap();
    let line = "console=ttyS0 agent.log=debug ro";
    let boot = |initrd, append| {
        Some(DirectBoot {
            kernel: &kernel,
            initrd,
            append,
        })
    };
    let boots = [
        None,
        boot(&initrd, line),
        boot(&initrd, ""),
        boot(&[], line),
        boot(&[], ""),
    ];
    let mut digests = std::collections::BTreeSet::new();
    for (model, theirs) in [
        ("EPYC-Milan", CpuType::EpycMilan),
        ("EPYC-Genoa", CpuType::EpycGenoa),
        ("EPYC-Turin", CpuType::EpycTurin),
    ] {
        for vcpus in [1, 2, 4] {
            for features in [0x1, 0x21] {
                for kernel in boots {
                    let ours = Launch {
                        ovmf: &ovmf,
                        kernel,
                        vcpus,
                        cpu: cpu_model(model).unwrap(),
                        features,
                    };
                    let sev = snp_calc_launch_digest(SnpMeasurementArgs {
                        vcpus,
                        vcpu_type: theirs,
                        ovmf_file: ovmf_file.clone(),
                        guest_features: GuestFeatures(features),
                        kernel_file: kernel.map(|_| kernel_file.clone()),
                        initrd_file: kernel
                            .filter(|boot| !boot.initrd.is_empty())
                            .map(|_| initrd_file.clone()),
                        append: kernel.map(|boot| boot.append),
                        ovmf_hash_str: None,
                        vmm_type: Some(VMMType::QEMU),
                    });
                    let digest = hex::encode(ours.digest().unwrap());
                    assert_eq!(
                        digest,
                        sev.unwrap().get_hex_ld(),
                        "{model} {vcpus} {kernel:?}"
                    );
                    digests.insert(digest);
                }
            }
        }
    }
    // Nothing that was varied is without effect.
    assert_eq!(digests.len(), 3 * 3 * 2 * boots.len());
}
