//! Every value of a manifest reaches the verifier: changed alone it makes another policy, and a report that does
//! not meet it fails there and nowhere else.

mod cases;

use std::collections::BTreeSet;

use nacre_attest::{
    Bit, Check, CheckId, CrlMode, GuestPolicyRules, Outcome, PlatformInfoRules, Policy, Product,
    ReferenceError, ReportDataForm,
};
use nacre_manifest as manifest;
use nacre_manifest::{
    ChipId, Cpuid, HostDataBinding, LaunchMeasurement, ModelTcb, SignerDigest, SnpReference,
};

use cases::{Case, MINIMA, cases, one_more};

use crate::mint::Mint;

fn product(product: Product) -> manifest::Product {
    product.name().parse().unwrap()
}

/// Values that a minted report meets and that demand nothing else.
fn values(mint: &Mint) -> SnpReference {
    let tcb = mint.machine.spec.tcb;
    let mut values = SnpReference::new("metal-qemu-snp", product(mint.policy.product), 1);
    values.trusted_measurement = Some(LaunchMeasurement::from_bytes(mint.report.measurement));
    values.minimum_tcb = manifest::Tcb {
        fmc: tcb.fmc,
        bootloader: Some(tcb.bootloader),
        tee: Some(tcb.tee),
        snp: Some(tcb.snp),
        microcode: Some(tcb.microcode),
    };
    values
}

fn failures(mint: &Mint) -> Vec<CheckId> {
    mint.examine().failures().map(|check| check.id).collect()
}

#[test]
fn each_value_alone_makes_another_policy_and_one_check_fail() {
    for Case {
        field,
        demand,
        violate,
        checks,
    } in cases()
    {
        let mut mint = Mint::new(Product::Turin);
        let before = values(&mint);
        let mut after = before.clone();
        demand(&mut after);
        mint.policy = Policy::try_from(&before).unwrap();
        let policy = Policy::try_from(&after).unwrap();
        assert_ne!(policy, mint.policy, "{field}");
        violate(&mut mint);
        assert_eq!(failures(&mint), [], "{field}: not demanded");
        mint.policy = policy;
        assert_eq!(failures(&mint), checks, "{field}");
    }
}

/// What only loosens, and what is refused before there is a policy.
#[test]
fn what_a_guest_may_do_beyond_the_usual_has_to_be_said() {
    let mut mint = Mint::new(Product::Turin);
    let mut values = values(&mint);
    mint.report.policy |= 1 << 21;
    mint.policy = Policy::try_from(&values).unwrap();
    assert_eq!(failures(&mint), [CheckId::PolicyCxl]);
    values.guest_policy.cxl_allowed = true;
    mint.policy = Policy::try_from(&values).unwrap();
    assert_eq!(failures(&mint), []);
    for (change, field) in [
        (
            (|v| v.guest_policy.debug = true) as fn(&mut SnpReference),
            "GuestPolicy.Debug",
        ),
        (
            |v| v.guest_policy.migrate_ma = true,
            "GuestPolicy.MigrateMA",
        ),
    ] {
        let mut values = values.clone();
        change(&mut values);
        assert_eq!(
            Policy::try_from(&values),
            Err(ReferenceError::NeverAllowed { field })
        );
    }
}

#[test]
fn a_minimum_for_a_model_holds_for_that_model_and_replaces_the_other() {
    let mut mint = Mint::new(Product::Turin);
    let mut values = values(&mint);
    let cpu = mint.report.cpu;
    let of_model = ModelTcb {
        cpuid: Cpuid {
            family: cpu.family,
            model: cpu.model,
            stepping: Some(cpu.stepping),
        },
        minimum_tcb: values.minimum_tcb,
    };
    // What the product asks for is more than the machine has: only the entry for the model lets it pass.
    values.minimum_tcb.snp = Some(0xff);
    values.minimum_tcb_by_model = vec![of_model];
    let good = Policy::try_from(&values).unwrap();
    mint.policy = good.clone();
    assert_eq!(failures(&mint), []);
    let changes: [fn(&mut ModelTcb); 8] = [
        |entry| entry.cpuid.family += 1,
        |entry| entry.cpuid.model += 1,
        |entry| entry.cpuid.stepping = Some(9),
        |entry| one_more(&mut entry.minimum_tcb.fmc),
        |entry| one_more(&mut entry.minimum_tcb.bootloader),
        |entry| one_more(&mut entry.minimum_tcb.tee),
        |entry| one_more(&mut entry.minimum_tcb.snp),
        |entry| one_more(&mut entry.minimum_tcb.microcode),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut entry = of_model;
        change(&mut entry);
        values.minimum_tcb_by_model = vec![entry];
        mint.policy = Policy::try_from(&values).unwrap();
        assert_ne!(mint.policy, good, "{number}");
        assert_eq!(failures(&mint), MINIMA, "{number}");
    }
    // Any stepping.
    let mut entry = of_model;
    entry.cpuid.stepping = None;
    values.minimum_tcb_by_model = vec![entry];
    mint.policy = Policy::try_from(&values).unwrap();
    assert_ne!(mint.policy, good);
    assert_eq!(failures(&mint), []);
}

/// The names of all values below an object, with those of nested objects behind a dot.
fn leaves(value: &serde_json::Value, path: &str, into: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{name}"), into);
            }
        }
        None => {
            into.insert(path.into());
        }
    }
}

#[test]
fn no_value_of_a_manifest_is_without_a_case() {
    let mut all = values(&Mint::new(Product::Turin));
    // Fields that are left out while they say nothing.
    all.report_data_form = manifest::ReportDataForm::Text;
    all.minimum_tcb_by_model = vec![ModelTcb {
        cpuid: Cpuid {
            family: 0,
            model: 0,
            stepping: Some(0),
        },
        minimum_tcb: all.minimum_tcb,
    }];
    all.platform_info = manifest::PlatformInfo {
        smt_enabled: Some(true),
        tsme_enabled: Some(true),
        ecc_enabled: Some(true),
        rapl_disabled: Some(true),
        ciphertext_hiding_dram_enabled: Some(true),
        alias_check_complete: Some(true),
        tio_enabled: Some(true),
    };
    all.minimum_mitigation_vector = 1;
    all.vmpl = 1;
    all.signing_key = manifest::SigningKey::Vlek;
    all.allowed_chip_ids = vec![ChipId::from_bytes([1; 64])];
    all.id_key_digests = vec![SignerDigest::from_bytes([1; 48])];
    all.author_key_digests = vec![SignerDigest::from_bytes([1; 48])];
    all.require_committed_tcb = true;
    all.strict_platform_info = true;
    // Who adds a field finds it here, and adds it above and among the cases.
    let SnpReference {
        platform: _,
        product_name: _,
        cpus: _,
        trusted_measurement: _,
        host_data_binding: _,
        report_data_form: _,
        minimum_tcb: _,
        minimum_tcb_by_model: _,
        guest_policy: _,
        platform_info: _,
        minimum_mitigation_vector: _,
        vmpl: _,
        signing_key: _,
        allowed_chip_ids: _,
        id_key_digests: _,
        author_key_digests: _,
        require_committed_tcb: _,
        strict_platform_info: _,
    } = &all;
    let mut named = BTreeSet::new();
    leaves(&serde_json::to_value(&all).unwrap(), "", &mut named);
    let covered: BTreeSet<String> = cases()
        .iter()
        .map(|case| case.field)
        .chain([
            // Names of the set, which say where it counts and what its digest was computed for.
            "Platform",
            "CPUs",
            // What the guest does, which no report says; a row of `verify` and a finding.
            "HostDataBinding",
            // Tests of their own above.
            "MinimumTCBByModel",
            "GuestPolicy.CXLAllowed",
            "GuestPolicy.Debug",
            "GuestPolicy.MigrateMA",
        ])
        .map(String::from)
        .collect();
    assert_eq!(named, covered);
}

#[test]
fn names_and_the_binding_of_host_data_make_no_other_policy() {
    let values = values(&Mint::new(Product::Turin));
    let policy = Policy::try_from(&values).unwrap();
    let mut other = values;
    other.platform = "kata-qemu-snp".into();
    other.cpus = 4;
    other.host_data_binding = HostDataBinding::Enforced;
    assert_eq!(Policy::try_from(&other).unwrap(), policy);
}

#[test]
fn by_default_nothing_is_skipped() {
    for product in Product::ALL {
        let mint = Mint::new(product);
        let policy = Policy::new(product, [mint.report.measurement]);
        assert_eq!(
            policy,
            Policy {
                product,
                measurements: Some([mint.report.measurement].into()),
                minimum_tcb: nacre_attest::Baseline::newest().minimum(product),
                guest_policy: GuestPolicyRules {
                    abi_minimum: (0, 0),
                    smt: Bit::Any,
                    single_socket: Bit::Any,
                    cxl: Bit::Clear,
                    aes_256_xts: Bit::Any,
                    rapl_disabled: Bit::Any,
                    ciphertext_hiding: Bit::Any,
                    page_swap_disabled: Bit::Any,
                },
                platform_info: PlatformInfoRules {
                    must_set: 0,
                    must_clear: 0,
                    reject_unknown: false,
                },
                report_data_form: ReportDataForm::Exact,
                vmpl: 0,
                allow_vcek: true,
                allow_vlek: false,
                id_key_digests: None,
                author_key_digests: None,
                family_id: None,
                image_id: None,
                minimum_guest_svn: 0,
                chips: None,
                require_chips: false,
                allow_masked_chip_id: false,
                allow_report_v2: false,
                allow_provisional_firmware: true,
                require_committed_minimum: false,
                mitigations: 0,
                crl: CrlMode::Require,
            }
        );
        assert!(policy.minimum_tcb.product.unwrap().snp > 0, "{product}");
        let verdict = mint.examine();
        let passed = |check: &&Check| check.outcome == Outcome::Pass;
        let others: Vec<_> = verdict
            .checks
            .iter()
            .filter(|check| !passed(check))
            .map(|check| (check.id, check.outcome))
            .collect();
        // What a default cannot know: it asks for nothing here until somebody says what.
        let unasked = [
            CheckId::ProvisionalFirmware,
            CheckId::CommittedMinimum,
            CheckId::MitigationsAtLaunch,
            CheckId::MitigationsCurrent,
            CheckId::PolicySmt,
            CheckId::PolicySingleSocket,
            CheckId::PolicyAes256Xts,
            CheckId::PolicyRapl,
            CheckId::PolicyCiphertextHiding,
            CheckId::PolicyPageSwap,
            CheckId::PlatformMustSet,
            CheckId::PlatformMustClear,
            CheckId::PlatformUnknown,
            CheckId::IdKeyDigest,
            CheckId::AuthorKeyDigest,
            CheckId::FamilyId,
            CheckId::ImageId,
            CheckId::ChipAllowed,
            CheckId::CrlNotRolledBack,
        ];
        assert_eq!(
            others,
            unasked.map(|id| (id, Outcome::NotRequired)),
            "{product}"
        );
    }
}
