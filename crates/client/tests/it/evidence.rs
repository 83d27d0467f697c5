//! On which machine a Coordinator runs, and what of that is for a reader to decide.

use std::sync::Arc;

use nacre_attest::{Product, SigningKey};
use nacre_client::verdict::Outcome;
use nacre_findings::codes::{attest, client};
use nacre_manifest::{
    ChipId, HostDataBinding, LaunchMeasurement, Manifest, RootDigest, SnpReference,
};
use nacre_sim::{MachineSpec, Pki, ReportSpec};

use crate::answers::{refused, row};
use crate::world::{NONCE, World, guest_on, guest_with};

#[test]
fn a_coordinator_on_the_platform_of_another_workload_is_refused() {
    let other = [0x77; 48];
    let change = |manifest: &mut Manifest| {
        let metal = manifest.reference_values.snp[0].clone();
        for entry in manifest.policies.values_mut() {
            entry.platforms = vec![metal.platform.clone()];
        }
        // Its guests start whatever the host wants, with any HOST_DATA.
        let mut stock = SnpReference {
            platform: "kata-qemu-snp".to_owned(),
            host_data_binding: HostDataBinding::None,
            ..metal
        };
        stock.trusted_measurement = Some(LaunchMeasurement::from_bytes(other));
        manifest.reference_values.snp.push(stock);
    };
    let mut world = World::with(true, change);
    let good = world.examine(&world.snapshot(NONCE), None);
    assert!(good.rows.hold(false), "{}", good.rows.table(false));
    world.guest = guest_with(world.coordinator, |report| report.measurement = other);
    refused(
        &world.examine(&world.snapshot(NONCE), None),
        "evidence",
        attest::MEASUREMENT,
    );
}

/// A deployment whose Coordinator runs on this machine.
fn world_on(
    spec: &MachineSpec,
    product: nacre_manifest::Product,
    report: impl FnOnce(&mut ReportSpec),
    change: impl FnOnce(&mut SnpReference),
) -> World {
    let of = match product {
        nacre_manifest::Product::Milan => Product::Milan,
        _ => Product::Genoa,
    };
    let pki = Pki::of_process(of).unwrap();
    let mut world = World::with(true, |manifest| {
        manifest.test_root = Some(RootDigest::of(&pki.ark.certificate));
        manifest.reference_values.snp[0].product_name = product;
        change(&mut manifest.reference_values.snp[0]);
    });
    world.trust.verifier = Arc::new(pki.verifier().unwrap());
    world.guest = guest_on(pki, spec.clone(), world.coordinator, report);
    world
}

#[test]
fn what_no_check_decides_is_a_row_and_a_warning_counts_when_strict() {
    use nacre_manifest::Product as Of;
    let genoa = MachineSpec::new(Product::Genoa);
    let milan = MachineSpec::new(Product::Milan);
    let mut old = genoa.clone();
    (old.tcb.snp, old.tcb.bootloader) = (2, 2);
    let vlek = MachineSpec {
        signing_key: SigningKey::Vlek,
        ..genoa.clone()
    };
    let same = |_: &mut ReportSpec| {};
    let provisional = |report: &mut ReportSpec| report.committed_firmware.build = 0;
    let bit = |report: &mut ReportSpec| report.platform_info |= 1 << 6;
    let any = |_: &mut SnpReference| {};
    let provider = |set: &mut SnpReference| set.signing_key = nacre_manifest::SigningKey::Vlek;
    for (world, name, outcome, code, says) in [
        (
            world_on(&milan, Of::Milan, same, any),
            "chips",
            Outcome::Warn,
            client::ANY_CHIP,
            "Milan",
        ),
        (
            world_on(&old, Of::Genoa, same, any),
            "advisories",
            Outcome::Warn,
            client::ADVISORIES,
            "AMD-SB-",
        ),
        (
            world_on(&genoa, Of::Genoa, provisional, any),
            "firmware",
            Outcome::Note,
            client::FIRMWARE_PROVISIONAL,
            "provisional",
        ),
        (
            world_on(&vlek, Of::Genoa, same, provider),
            "signing-key",
            Outcome::Note,
            client::PROVIDER_KEY,
            "VLEK",
        ),
        (
            world_on(&genoa, Of::Genoa, bit, any),
            "platform-info",
            Outcome::Note,
            client::PLATFORM_BITS,
            "bit 6",
        ),
    ] {
        let examination = world.examine(&world.snapshot(NONCE), None);
        let table = examination.rows.table(true);
        assert!(examination.rows.hold(false), "{table}");
        let row = row(&examination, name);
        assert_eq!((row.outcome, row.code), (outcome, Some(code)), "{table}");
        assert!(
            row.text.contains(says) && table.contains(&row.text),
            "{table}"
        );
        let finding = row.finding(true).unwrap();
        let refused = finding.severity == nacre_findings::Severity::Error;
        assert_eq!(refused, outcome == Outcome::Warn, "{name} under --strict");
    }
    let plain = World::new();
    let plain = plain.examine(&plain.snapshot(NONCE), None);
    for name in ["chips", "advisories", "firmware", "signing-key"] {
        assert_eq!(row(&plain, name).outcome, Outcome::Pass, "{name}");
    }
}

#[test]
fn a_list_of_chips_can_be_demanded() {
    let demand = |world: &World, demanded| {
        let snapshot = world.snapshot(NONCE);
        world.examine_with(&snapshot, None, |question| {
            question.require_chips = demanded
        })
    };
    let milan = MachineSpec::new(Product::Milan);
    let mut id = [0; 64];
    id[..milan.hwid.len()].copy_from_slice(&milan.hwid);
    let of = |chips: Vec<ChipId>| {
        world_on(
            &milan,
            nacre_manifest::Product::Milan,
            |_| {},
            |set| set.allowed_chip_ids = chips,
        )
    };
    let any = of(Vec::new());
    assert!(demand(&any, false).rows.hold(false));
    refused(&demand(&any, true), "evidence", attest::CHIP_ALLOWED);
    let listed = of(vec![ChipId::from_bytes(id)]);
    let examination = demand(&listed, true);
    assert!(
        examination.rows.hold(false),
        "{}",
        examination.rows.table(false)
    );
    assert_eq!(row(&examination, "chips").outcome, Outcome::Pass);
}
