//! `nacre set`, `verify`, `recover`, `sign` and `seed-shares`, as far as they need no Coordinator. With one, the
//! flows with simulated programs test them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nacre_client::pin::{Found, Pin, Seen};
use nacre_client::sign::{Approval, prepared_transition};
use nacre_history::{OwnerKeyPair, Transition};
use nacre_manifest::{
    HostDataBinding, Identity, KeyDigest, LaunchMeasurement, Manifest, PolicyEntry, PolicyHash,
    Product, Role, SeedshareOwnerKey, SnpReference, Tcb,
};
use nacre_pki::{Salt, Seed, SeedShares};

use crate::common::{Done, TestEnvironment};

/// Nobody listens on the discard port of loopback.
pub(crate) const NOBODY: &str = "127.0.0.1:9";

pub(crate) fn openssl(environment: &TestEnvironment, args: &str) {
    let done: Done = environment
        .program("openssl")
        .args(args.split_whitespace())
        .output()
        .unwrap()
        .into();
    assert_eq!(done.code, Some(0), "{}", done.shown());
}

/// A workspace with owner keys of openssl and a complete manifest.
pub(crate) fn workspace() -> (TestEnvironment, Manifest) {
    let environment = TestEnvironment::empty();
    openssl(
        &environment,
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out workload-owner.pem",
    );
    openssl(
        &environment,
        "pkey -in workload-owner.pem -pubout -out owner-public.pem",
    );
    openssl(&environment, "genrsa -out seedshare-owner.pem 2048");
    openssl(
        &environment,
        "rsa -in seedshare-owner.pem -RSAPublicKey_out -out share-public.pem",
    );
    let manifest = manifest(&environment);
    environment.write("manifest.json", manifest.to_bytes());
    (environment, manifest)
}

fn manifest(environment: &TestEnvironment) -> Manifest {
    let mut manifest = Manifest::default();
    let identity = Identity::new("shop", "StatefulSet", "coordinator");
    let mut entry = PolicyEntry::new(identity, vec!["coordinator".into()]);
    entry.role = Some(Role::Coordinator);
    manifest
        .policies
        .insert(PolicyHash::of(b"coordinator"), entry);
    let mut reference = SnpReference::new("metal-qemu-snp", Product::Genoa, 1);
    reference.trusted_measurement = Some(LaunchMeasurement::from_bytes([7; 48]));
    reference.host_data_binding = HostDataBinding::Enforced;
    reference.minimum_tcb = Tcb {
        fmc: None,
        bootloader: Some(9),
        tee: Some(0),
        snp: Some(21),
        microcode: Some(71),
    };
    manifest.reference_values.snp.push(reference);
    let owner = KeyDigest::from_pem(&environment.read("owner-public.pem")).unwrap();
    manifest.workload_owner_key_digests.push(owner);
    manifest
        .seedshare_owner_pub_keys
        .push(share_owner(environment));
    manifest
}

fn share_owner(environment: &TestEnvironment) -> SeedshareOwnerKey {
    SeedshareOwnerKey::from_pem(&environment.read("share-public.pem")).unwrap()
}

/// What an earlier run would have written down, with the root CA of this seed.
fn pin(manifest: &Manifest, seed: &Seed, salt: &Salt) -> Pin {
    let text = String::from_utf8(manifest.to_bytes()).unwrap();
    let genesis = Transition::genesis(manifest, manifest.hash(), 1_790_000_000);
    let root = seed.root_ca_key(salt).unwrap();
    let found = Found {
        root_key: KeyDigest::of_spki(root.spki()),
        history_key: KeyDigest::of_spki(b"history"),
        salt: *salt.as_bytes(),
        chain: &[],
    };
    Pin::new(genesis.hash(), &found, Seen::of(&genesis), text)
}

#[test]
fn a_coordinator_has_to_be_named_and_there() {
    let (environment, _) = workspace();
    for command in [&["verify"][..], &["set"]] {
        environment.run(command).refused(2, "NCR1334");
        let mut args = command.to_vec();
        args.extend(["-c", NOBODY]);
        let done = environment.run(&args).refused(4, "NCR1301");
        assert!(done.stderr.contains("port 1313"), "{}", done.stderr);
    }
    let done = environment.run(&["--output", "json", "verify", "-c", NOBODY]);
    assert_eq!(done.code, Some(4));
    let document: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document["findings"][0]["code"], "NCR1301");
}

#[test]
fn a_manifest_that_is_incomplete_says_everything_that_is_missing() {
    let (environment, mut manifest) = workspace();
    manifest.reference_values.snp[0].trusted_measurement = None;
    manifest.policies.clear();
    environment.write("manifest.json", manifest.to_bytes());
    let done = environment.run(&["set", "-c", NOBODY]);
    assert_eq!(done.code, Some(1), "{}", done.shown());
    for code in ["NCR0610", "NCR0615"] {
        assert!(done.stderr.contains(code), "{}", done.stderr);
    }
    // Once for each set, with the place to write it.
    manifest.reference_values.snp[0].minimum_tcb = Default::default();
    environment.write("manifest.json", manifest.to_bytes());
    let done = environment.run(&["set", "-c", NOBODY]);
    assert_eq!(done.stderr.matches("NCR0615").count(), 1, "{}", done.stderr);
    assert!(
        done.stderr
            .contains("help: Write the value into referenceValues of the configuration"),
        "{}",
        done.stderr
    );
}

/// Each mistake says what to do, before anybody is asked.
#[test]
fn what_a_new_user_forgets_is_named_with_what_to_do() {
    let (environment, manifest) = workspace();
    let says = |words: &[&str], exit: i32, code: &str, advice: &[&str]| {
        let done = environment.run(&[words, &["-c", NOBODY]].concat());
        let done = done.refused(exit, code);
        for advice in advice {
            assert!(done.stderr.contains(advice), "{words:?}: {}", done.stderr);
        }
    };
    let key = ["set", "--workload-owner-key"];
    let with = |file| [&key[..], &[file]].concat();
    environment.write("resources/none.yml", "");
    environment.write("key.der", [0x30, 0x82, 0xff, 0xfe]);
    environment.write(
        "key.pem",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    says(
        &with("nobody.pem"),
        1,
        "NCR0901",
        &["nobody.pem", "nacre init", "--sign-command"],
    );
    says(&with("resources"), 1, "NCR0901", &["--workload-owner-key"]);
    says(
        &with("key.der"),
        1,
        "NCR0901",
        &["not text", "openssl pkey -inform DER"],
    );
    says(&with("key.pem"), 1, "NCR0911", &["P-384"]);
    let recover = ["recover", "--latest-transition", &"ab".repeat(32)];
    says(&["recover"], 1, "NCR1313", &["--latest-transition"]);
    says(
        &recover,
        1,
        "NCR0901",
        &["seed-shares.json", "`nacre set`", "--seed"],
    );

    for given in ["https://coordinator:1313", "coordinator:1313/", "a b"] {
        let done = environment.run(&["verify", "-c", given]);
        let done = done.refused(2, "NCR1334");
        assert!(done.stderr.contains("-c host:1313"), "{}", done.stderr);
    }

    environment.write("folder/manifest.json", manifest.to_bytes());
    says(
        &["verify", "-m", "folder"],
        1,
        "NCR0901",
        &["Is a directory", "-m names"],
    );
    fs::remove_file(environment.path("manifest.json")).unwrap();
    for command in ["set", "verify", "recover"] {
        says(
            &[command],
            1,
            "NCR0901",
            &["manifest.json", "-m names", "`nacre generate`"],
        );
    }
}

#[test]
fn resources_and_manifest_have_to_belong_together() {
    let (environment, _) = workspace();
    let carried = nacre_policy::Carrier::InitData.pack("package agent_policy\n");
    let (key, value) = (carried.annotation_key, carried.annotation_value);
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: stray\n  annotations:\n    {key}: {value}\nspec:\n  containers: []\n"
    );
    environment.write("resources/pod.yml", pod);
    let done = environment
        .run(&["set", "-c", NOBODY, "resources"])
        .refused(1, "NCR1325");
    assert!(done.stderr.contains("Pod stray"), "{}", done.stderr);

    let mut manifest = manifest(&environment);
    let entry = PolicyEntry::new(
        Identity::new("default", "Pod", "stray"),
        vec!["stray".into()],
    );
    manifest.policies.insert(carried.hash, entry);
    environment.write("manifest.json", manifest.to_bytes());
    let done = environment
        .run(&["set", "-c", NOBODY, "resources"])
        .refused(3, "NCR1314");
    assert!(
        done.stderr
            .contains(&format!("--accept-policy {}", carried.hash)),
        "{}",
        done.stderr
    );
    let hash = carried.hash.to_string();
    let args = ["set", "-c", NOBODY, "resources", "--accept-policy", &hash];
    environment.run(&args).refused(4, "NCR1301");
}

#[test]
fn openssl_signs_what_was_prepared() {
    let (environment, manifest) = workspace();
    let done = environment
        .run(&["sign", "--prepare", "-o", "update.bin"])
        .success();
    assert!(
        done.stdout.contains("openssl dgst -sha384 -sign KEY"),
        "{}",
        done.stdout
    );
    let message = fs::read(environment.path("update.bin")).unwrap();
    let transition = prepared_transition(&message).unwrap();
    assert!(transition.is_genesis());
    assert_eq!(transition.manifest, manifest.hash());
    openssl(
        &environment,
        "dgst -sha384 -sign workload-owner.pem -out update.sig update.bin",
    );
    let set = |extra: &[&str]| {
        let mut args = vec!["set", "-c", NOBODY, "--signature", "update.sig"];
        args.extend(extra);
        environment.run(&args)
    };
    // The signature is good, so what is missing is the Coordinator.
    let all = ["--transition", "update.bin", "--signer", "owner-public.pem"];
    set(&all).refused(4, "NCR1301");
    set(&[]).refused(2, "NCR0907");
    set(&["--transition", "update.bin"]).refused(2, "NCR0907");
    openssl(
        &environment,
        "dgst -sha256 -sign workload-owner.pem -out update.sig update.bin",
    );
    set(&all).refused(1, "NCR1331");
}

#[test]
fn several_owners_sign_one_transition() {
    let (environment, manifest) = workspace();
    environment
        .run(&["sign", "--prepare", "-o", "update.bin"])
        .success();
    let args = ["sign", "--transition", "update.bin", "-o", "one.approval"];
    environment.run(&args).success();
    let approval = Approval::parse(environment.read("one.approval").as_bytes()).unwrap();
    assert_eq!(
        approval.signature.key(),
        manifest.workload_owner_key_digests[0]
    );
    let args = ["set", "-c", NOBODY, "--signature", "one.approval"];
    environment.run(&args).refused(4, "NCR1301");

    // A second owner who signs at another moment signs another transition.
    let other = OwnerKeyPair::generate().unwrap();
    let later = Transition::genesis(&manifest, manifest.hash(), 1);
    let signature = other.sign(&later.message()).unwrap();
    let approval = Approval::new(later, other.spki(), signature.signature()).unwrap();
    environment.write("two.approval", approval.to_bytes());
    let args = [
        "set",
        "-c",
        NOBODY,
        "--signature",
        "one.approval",
        "--signature",
        "two.approval",
    ];
    let done = environment.run(&args).refused(1, "NCR1331");
    assert!(
        done.stderr.contains("another transition"),
        "{}",
        done.stderr
    );

    let mut changed = manifest;
    changed.coordinator_replicas = 2;
    environment.write("manifest.json", changed.to_bytes());
    let args = ["sign", "--transition", "update.bin", "-o", "x"];
    environment.run(&args).refused(1, "NCR1331");
    assert!(!environment.exists("x"));
}

#[test]
fn an_update_follows_the_pinned_transition_and_no_other() {
    let (environment, manifest) = workspace();
    let pin = pin(
        &manifest,
        &Seed::generate().unwrap(),
        &Salt::generate().unwrap(),
    );
    environment.write("nacre-pin.json", pin.to_bytes());
    let mut next = manifest;
    next.coordinator_replicas = 2;
    environment.write("manifest.json", next.to_bytes());
    environment.run(&["sign", "-o", "owner.approval"]).success();
    let approval = Approval::parse(environment.read("owner.approval").as_bytes()).unwrap();
    assert_eq!(approval.transition.generation, 2);
    assert_eq!(approval.transition.previous, pin.head.hash());
    let head = pin.head.hash().to_string();
    let args = ["sign", "-o", "x", "--latest-transition", &head];
    environment.run(&args).success();
    let other = "ab".repeat(32);
    let args = ["sign", "-o", "y", "--latest-transition", &other];
    environment.run(&args).refused(1, "NCR1328");
}

#[test]
fn a_damaged_pin_is_no_first_run() {
    let (environment, _) = workspace();
    environment.write("nacre-pin.json", "{}");
    for command in ["set", "verify"] {
        environment
            .run(&[command, "-c", NOBODY])
            .refused(1, "NCR1313");
    }
    let args = ["verify", "-c", NOBODY, "--pin", "missing.json"];
    environment.run(&args).refused(1, "NCR1313");
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase() {
    let (environment, _) = workspace();
    environment.write("passphrase", "correct horse\n");
    openssl(
        &environment,
        "pkcs8 -topk8 -in workload-owner.pem -out encrypted.pem -passout file:passphrase",
    );
    let sign = |file: &str| {
        environment.write("given", file);
        environment.run(&[
            "sign",
            "-o",
            "out",
            "--workload-owner-key",
            "encrypted.pem",
            "--passphrase-file",
            "given",
        ])
    };
    sign("correct horse\n").success();
    sign("correct horse").success();
    let done = sign("other").refused(1, "NCR0911");
    assert!(
        done.stderr.contains("passphrase does not open it"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("other"), "{}", done.stderr);
    // generate reads the public half of the same file
    let shop = TestEnvironment::shop();
    fs::copy(
        environment.path("encrypted.pem"),
        shop.path("encrypted.pem"),
    )
    .unwrap();
    shop.write("given", "correct horse");
    let args = [
        "generate",
        "-w",
        "encrypted.pem",
        "--passphrase-file",
        "given",
        "resources",
    ];
    shop.run(&args).success();
    let owner = KeyDigest::from_pem(&environment.read("owner-public.pem")).unwrap();
    assert!(shop.read("manifest.json").contains(&owner.to_string()));
}

#[test]
fn a_command_signs_in_place_of_a_key() {
    let (environment, manifest) = workspace();
    let command = "openssl dgst -sha384 -sign workload-owner.pem";
    let sign = |command: &str| {
        environment.run(&[
            "sign",
            "-o",
            "out",
            "--sign-command",
            command,
            "--signer",
            "owner-public.pem",
        ])
    };
    sign(command).success();
    let approval = Approval::parse(environment.read("out").as_bytes()).unwrap();
    assert_eq!(
        approval.signature.key(),
        manifest.workload_owner_key_digests[0]
    );
    for (command, why) in [
        (
            "openssl dgst -sha256 -sign workload-owner.pem",
            "hash of its curve",
        ),
        ("echo hello", "not one by the key of --signer"),
        ("false", "exit status: 1"),
        ("/nonexistent/signer", "/nonexistent/signer"),
    ] {
        let done = sign(command);
        assert_eq!(done.code, Some(1), "{command}: {}", done.shown());
        assert!(done.stderr.contains(why), "{command}: {}", done.stderr);
    }
}

#[test]
fn recovery_needs_something_to_compare_with() {
    let (environment, manifest) = workspace();
    let done = environment
        .run(&["recover", "-c", NOBODY])
        .refused(1, "NCR1313");
    assert!(
        done.stderr.contains("--latest-transition"),
        "{}",
        done.stderr
    );
    let (seed, salt) = (Seed::generate().unwrap(), Salt::generate().unwrap());
    let pin = pin(&manifest, &seed, &salt);
    environment.write("nacre-pin.json", pin.to_bytes());
    environment
        .run(&["recover", "-c", NOBODY])
        .refused(1, "NCR0901");
    let owners = [share_owner(&environment)];
    let shares = SeedShares::seal(&seed, 1, &owners, *pin.genesis.as_bytes()).unwrap();
    environment.write("seed-shares.json", shares.to_bytes());
    environment
        .run(&["recover", "-c", NOBODY])
        .refused(4, "NCR1301");
}

#[test]
fn a_share_is_proven_without_recovering() {
    let (environment, manifest) = workspace();
    let (seed, salt) = (Seed::generate().unwrap(), Salt::generate().unwrap());
    let pin = pin(&manifest, &seed, &salt);
    let owners = [share_owner(&environment)];
    let genesis = *pin.genesis.as_bytes();
    let shares = SeedShares::seal(&seed, 1, &owners, genesis).unwrap();
    environment.write("seed-shares.json", shares.to_bytes());
    let check = || environment.run(&["seed-shares", "check"]);
    let done = check().success();
    assert!(done.stdout.contains("was not compared"), "{}", done.stdout);
    environment.write("nacre-pin.json", pin.to_bytes());
    let done = check().success();
    assert!(
        done.stdout.contains("gives the root CA that was seen"),
        "{}",
        done.stdout
    );
    let json = environment
        .run(&["--output", "json", "seed-shares", "check"])
        .success();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["shares"][0]["givesRootCA"], true);

    // another seed under the same first transition, another deployment, another key, a damaged document
    let foreign = SeedShares::seal(&Seed::generate().unwrap(), 1, &owners, genesis).unwrap();
    environment.write("seed-shares.json", foreign.to_bytes());
    let done = check().refused(1, "NCR1326");
    assert!(
        done.stderr.contains("the seed gives root CA key"),
        "{}",
        done.stderr
    );
    let elsewhere = SeedShares::seal(&seed, 1, &owners, [9; 32]).unwrap();
    environment.write("seed-shares.json", elsewhere.to_bytes());
    let done = check().refused(1, "NCR1326");
    assert!(
        done.stderr.contains("another deployment"),
        "{}",
        done.stderr
    );
    environment.write("seed-shares.json", shares.to_bytes());
    openssl(&environment, "genrsa -out other.pem 2048");
    let args = ["seed-shares", "check", "--seedshare-owner-key", "other.pem"];
    let done = environment.run(&args).refused(1, "NCR1326");
    assert!(
        done.stderr.contains("no share is encrypted to this key"),
        "{}",
        done.stderr
    );
    let text = String::from_utf8(shares.to_bytes()).unwrap();
    environment.write(
        "seed-shares.json",
        text.replacen("\"Threshold\": 1", "\"Threshold\": 2", 1),
    );
    check().refused(1, "NCR1326");
}

#[test]
fn what_is_no_bundle_is_refused() {
    let (environment, _) = workspace();
    environment.write("bundle", "{\"format\": \"other\"}");
    let done = environment
        .run(&["verify", "--from-bundle", "bundle"])
        .refused(1, "NCR1327");
    assert!(
        done.stderr.contains("nacre.dev/evidence-bundle/v1"),
        "{}",
        done.stderr
    );
    assert!(!environment.exists("verify"));
}

#[test]
fn new_keys_are_for_their_owner_only() {
    let environment = TestEnvironment::shop();
    let config = environment.read("nacre.yaml");
    let owners = config.find("  workloadOwners:").unwrap();
    environment.write("nacre.yaml", &config[..owners]);
    environment.run(&["generate", "resources"]).success();
    for name in ["workload-owner.pem", "seedshare-owner.pem"] {
        let mode = fs::metadata(environment.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    openssl(&environment, "ec -in workload-owner.pem -noout -check");
    openssl(&environment, "rsa -in seedshare-owner.pem -noout -check");
}
