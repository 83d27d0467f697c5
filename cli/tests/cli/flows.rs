//! `nacre set`, `verify`, `recover` and `sign` against a real Coordinator.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nacre_attest::Product;
use nacre_client::pin::{Found, Seen};
use nacre_manifest::{ChipId, PolicyHash, SeedshareOwnerKey, TransitionHash};
use nacre_policy::rules::RULES;
use nacre_sim::MachineSpec;

use crate::common::TestEnvironment;
use crate::coordinator::openssl;
use crate::live::{Live, copy, expect, web};

/// The files of a directory of the workspace.
fn tree(live: &Live, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(live.workspace.path(name)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let named = paths.map(|path| {
        let name = PathBuf::from(path.file_name().unwrap());
        (name, fs::read(path).unwrap())
    });
    named.collect()
}

#[test]
fn the_page_from_set_to_recover() {
    let mut live = Live::new(1);
    live.start();
    expect(live.run(&["verify"]), 1, "NCR1305");
    expect(live.run(&["set"]), 1, "NCR1324");
    expect(live.run(&["set", "resources"]), 0, "");
    for name in [
        "seed-shares.json",
        "coordinator-root-ca.pem",
        "mesh-ca.pem",
        "nacre-pin.json",
    ] {
        assert!(live.workspace.exists(name), "{name}");
    }
    let first = live.pin();
    assert_eq!(first.head.transition().generation, 1);
    expect(live.run(&["seed-shares", "check"]), 0, "");

    // A lost answer: the same command again, with the file that it had to write gone.
    let shares = live.workspace.read("seed-shares.json");
    fs::remove_file(live.workspace.path("seed-shares.json")).unwrap();
    expect(live.run(&["set", "resources"]), 0, "");
    assert_eq!(live.workspace.read("seed-shares.json"), shares);
    assert_eq!(live.pin(), first);

    expect(live.run(&["verify", "--bundle", "evidence.json"]), 0, "");
    let policy = format!("verify/policy.{}.rego", PolicyHash::of(&web("/web")));
    for name in [
        "verify/manifest.0.json",
        "verify/coordinator-root-ca.pem",
        "verify/history.json",
        &policy,
    ] {
        assert!(live.workspace.exists(name), "{name}");
    }
    assert_eq!(
        live.workspace.read("verify/mesh-ca.pem"),
        live.workspace.read("mesh-ca.pem")
    );
    openssl(
        &live.workspace,
        "verify -CAfile verify/mesh-ca.pem verify/mesh-ca.pem",
    );
    // Evidence is simulated, and --strict says that this proves nothing.
    expect(live.run(&["verify", "--strict"]), 3, "NCR1335");

    // An update, with the key of the owner and with another one.
    let old = live.workspace.read("manifest.json");
    live.write(&live.manifest("/web2"), "/web2");
    expect(live.run(&["verify"]), 3, "NCR1309");
    assert!(!live.workspace.exists("verify/manifest.1.json"));
    openssl(
        &live.workspace,
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out wrong.pem",
    );
    expect(
        live.run(&["set", "resources", "--workload-owner-key", "wrong.pem"]),
        1,
        "NCR1323",
    );
    expect(live.run(&["set", "resources"]), 0, "");
    assert_eq!(live.pin().head.transition().generation, 2);
    expect(live.run(&["verify"]), 0, "");
    assert!(live.workspace.exists("verify/manifest.1.json"));
    assert_eq!(live.workspace.read("verify/manifest.0.json"), old);

    // The bundle says what was so once: not what the manifest of today says, but what that of then did.
    expect(
        live.run(&["verify", "--from-bundle", "evidence.json"]),
        3,
        "NCR1309",
    );
    let pin = live.workspace.read("nacre-pin.json");
    live.workspace.write("old.json", &old);
    let args = [
        "verify",
        "--from-bundle",
        "evidence.json",
        "-m",
        "old.json",
        "--out",
        "then",
    ];
    // It is of before what this workspace has seen, and on the way to it: that is said, and no failure.
    expect(live.run(&args), 0, "");
    assert_eq!(live.workspace.read("nacre-pin.json"), pin);
    assert!(!live.workspace.exists("then/manifest.1.json"));
    // Without a directory of its own it replaces nothing of what is newer, and removes nothing.
    let now = tree(&live, "verify");
    assert_ne!(now, tree(&live, "then"));
    expect(live.run(&args[..5]), 0, "");
    assert_eq!(tree(&live, "verify"), now);
    fs::remove_file(live.workspace.path("then/mesh-ca.pem")).unwrap();
    fs::remove_file(live.workspace.path("nacre-pin.json")).unwrap();
    expect(live.run(&args), 0, "");
    assert!(live.workspace.exists("then/mesh-ca.pem") && !live.workspace.exists("nacre-pin.json"));
    live.workspace.write("nacre-pin.json", &pin);

    // A restart, and recovery.
    let mesh = live.workspace.read("mesh-ca.pem");
    let root = live.pin().root_key;
    live.restart();
    expect(live.run(&["verify"]), 1, "NCR1304");
    expect(live.run(&["set", "resources"]), 1, "NCR1304");
    expect(live.run(&["recover", "--dry-run"]), 0, "");
    expect(live.run(&["verify"]), 1, "NCR1304");
    openssl(&live.workspace, "genrsa -out stranger.pem 2048");
    expect(
        live.run(&["recover", "--seedshare-owner-key", "stranger.pem"]),
        1,
        "NCR1326",
    );
    expect(live.run(&["recover"]), 0, "");
    expect(live.run(&["recover"]), 1, "NCR1303");
    expect(live.run(&["verify"]), 0, "");
    assert_ne!(live.workspace.read("mesh-ca.pem"), mesh);
    assert_eq!(live.pin().root_key, root);
}

/// Section "Rollback" of docs/set-verify-recover.md.
#[test]
fn an_older_manifest_set_again_is_a_new_transition() {
    let mut live = Live::new(1);
    live.start();
    expect(live.run(&["set", "resources"]), 0, "");
    let old = live.workspace.read("manifest.json");
    let resources = live.workspace.read("resources/all.yml");
    let mesh = live.workspace.read("mesh-ca.pem");
    let first = live.pin();
    live.write(&live.manifest("/web2"), "/web2");
    expect(live.run(&["set", "resources"]), 0, "");
    let second = live.pin();

    live.workspace.write("manifest.json", &old);
    live.workspace.write("resources/all.yml", &resources);
    expect(live.run(&["set", "resources"]), 0, "");
    let third = live.pin();
    let head = third.head.transition();
    assert_eq!(head.generation, 3);
    assert_eq!(head.manifest, first.head.transition().manifest);
    assert_eq!(head.previous, second.head.hash());
    assert_eq!(third.root_key, first.root_key);
    assert_ne!(live.workspace.read("mesh-ca.pem"), mesh);
    expect(live.run(&["verify"]), 0, "");
    assert_eq!(live.workspace.read("verify/manifest.0.json"), old);
    assert_eq!(live.workspace.read("verify/manifest.2.json"), old);

    // Who keeps the pin of before the rollback finds it on the way.
    live.workspace.write("nacre-pin.json", second.to_bytes());
    expect(live.run(&["verify"]), 0, "");
    assert_eq!(live.pin().head, third.head);
}

#[test]
fn an_update_by_somebody_else_is_not_overwritten() {
    let mut live = Live::new(1);
    live.start();
    expect(live.run(&["set", "resources"]), 0, "");
    let other = TestEnvironment::empty();
    copy(&live.workspace.path(""), &other.path(""));
    live.write(&live.manifest("/mine"), "/mine");
    expect(live.run(&["set", "resources"]), 0, "");
    let theirs = live.manifest("/theirs");
    other.write("manifest.json", theirs.to_bytes());
    fs::copy(
        live.workspace.path("resources/all.yml"),
        other.path("resources/all.yml"),
    )
    .unwrap();
    let (code, findings) = live.run_in(&other, &["set"]);
    assert_eq!(
        (code, findings.first().map(String::as_str)),
        (1, Some("NCR1328")),
        "{findings:?}"
    );
    let stale = TransitionHash::from_bytes([7; 32]).to_string();
    expect(live.run(&["set", "--latest-transition", &stale]), 0, "");
    live.write(&live.manifest("/next"), "/next");
    expect(
        live.run(&["set", "resources", "--latest-transition", &stale]),
        1,
        "NCR1328",
    );
}

#[test]
fn a_store_that_was_set_back_or_emptied_is_noticed() {
    let mut live = Live::new(1);
    live.start();
    expect(live.run(&["set", "resources"]), 0, "");
    live.stop();
    let old = tempfile::tempdir().unwrap();
    copy(live.store.path(), old.path());
    live.start();
    expect(live.run(&["recover"]), 0, "");
    live.write(&live.manifest("/web2"), "/web2");
    expect(live.run(&["set", "resources"]), 0, "");

    // The whole store as it was: everything in it holds, but the pin knows a newer transition.
    live.stop();
    let new = std::mem::replace(&mut live.store, old);
    live.start();
    let (code, findings) = live.run(&["recover"]);
    assert_eq!(code, 1, "{findings:?}");
    expect(live.run(&["verify"]), 1, "NCR1304");

    live.stop();
    live.store = tempfile::tempdir().unwrap();
    live.start();
    for command in [&["verify"][..], &["recover"], &["set", "resources"]] {
        expect(live.run(command), 3, "NCR1311");
    }

    live.stop();
    live.store = new;
    live.start();
    expect(live.run(&["recover"]), 0, "");
    expect(live.run(&["verify"]), 0, "");
}

#[test]
fn several_owners_approve_one_after_the_other() {
    let mut live = Live::new(2);
    live.start();
    let both = [
        "set",
        "resources",
        "--workload-owner-key",
        "workload-owner.pem",
        "--workload-owner-key",
        "owner1.pem",
    ];
    expect(live.run(&both), 0, "");
    live.write(&live.manifest("/web2"), "/web2");
    expect(live.run(&["set", "resources"]), 1, "NCR1321");
    expect(live.run(&["set", "resources", "--allow-pending"]), 0, "");
    assert_eq!(live.pin().head.transition().generation, 1);
    expect(
        live.run(&["set", "resources", "--workload-owner-key", "owner1.pem"]),
        0,
        "",
    );
    assert_eq!(live.pin().head.transition().generation, 2);

    // Detached: both sign the same prepared transition with openssl, nobody's key is here.
    live.write(&live.manifest("/web3"), "/web3");
    expect(live.run(&["sign", "--prepare", "-o", "update.bin"]), 0, "");
    for (key, out) in [("workload-owner.pem", "a.sig"), ("owner1.pem", "b.sig")] {
        openssl(
            &live.workspace,
            &format!("dgst -sha384 -sign {key} -out {out} update.bin"),
        );
    }
    fs::rename(
        live.workspace.path("workload-owner.pem"),
        live.workspace.path("hsm.pem"),
    )
    .unwrap();
    let detached = [
        "set",
        "resources",
        "--transition",
        "update.bin",
        "--signature",
        "a.sig",
        "--signer",
        "workload-owner.pem.pub",
        "--signature",
        "b.sig",
        "--signer",
        "owner1.pem.pub",
    ];
    expect(live.run(&detached), 0, "");
    assert_eq!(live.pin().head.transition().generation, 3);
    // Used once: the transition it follows is not the newest any more.
    live.write(&live.manifest("/web4"), "/web4");
    expect(live.run(&detached), 1, "NCR1331");
}

#[test]
fn a_manifest_that_forgets_the_coordinator_is_not_set() {
    let mut live = Live::new(1);
    live.start();
    expect(live.run(&["set", "resources"]), 0, "");
    let mut other = live.manifest("/web");
    let entry = other
        .policies
        .remove(&PolicyHash::of(&live.coordinator))
        .unwrap();
    other.policies.insert(PolicyHash::of(b"another one"), entry);
    live.workspace.write("manifest.json", other.to_bytes());
    expect(live.run(&["set"]), 1, "NCR1302");
    // Attested with a manifest that does not know it, it is nobody.
    expect(live.run(&["verify"]), 3, "NCR1073");
}

#[test]
fn owners_of_shares_recover_one_after_the_other() {
    let mut live = Live::new(1);
    openssl(&live.workspace, "genrsa -out second.pem 2048");
    openssl(
        &live.workspace,
        "rsa -in second.pem -RSAPublicKey_out -out second.pub",
    );
    let second = SeedshareOwnerKey::from_pem(&live.workspace.read("second.pub")).unwrap();
    let mut manifest = live.manifest("/web");
    manifest.seedshare_owner_pub_keys.push(second);
    manifest.recovery_threshold = 2;
    live.write(&manifest, "/web");
    live.start();
    expect(live.run(&["set", "resources"]), 0, "");
    live.restart();
    expect(live.run(&["recover", "--dry-run"]), 0, "");
    expect(live.run(&["recover"]), 0, "");
    expect(live.run(&["verify"]), 1, "NCR1304");
    let args = ["recover", "--seedshare-owner-key", "second.pem"];
    expect(live.run(&args), 0, "");
    expect(live.run(&["verify"]), 0, "");
    live.restart();
    // One command with both keys.
    let both = [&args[..], &["--seedshare-owner-key", "seedshare-owner.pem"]].concat();
    expect(live.run(&both), 0, "");
    expect(live.run(&["verify"]), 0, "");
}

#[test]
fn a_first_manifest_is_set_with_a_key_that_is_elsewhere() {
    let mut live = Live::new(1);
    fs::rename(
        live.workspace.path("workload-owner.pem"),
        live.workspace.path("hsm.pem"),
    )
    .unwrap();
    live.start();
    let sign = |file: &str, out: &str| {
        openssl(
            &live.workspace,
            &format!("dgst -sha384 -sign hsm.pem -out {out} {file}"),
        );
    };
    expect(live.run(&["sign", "--prepare", "-o", "first.bin"]), 0, "");
    sign("first.bin", "first.sig");
    let set = [
        "set",
        "resources",
        "--transition",
        "first.bin",
        "--signature",
        "first.sig",
        "--signer",
        "workload-owner.pem.pub",
    ];
    expect(live.run(&set), 1, "NCR1331");
    expect(live.run(&["verify"]), 1, "NCR1305");
    sign("confirmation.bin", "confirmation.sig");
    let confirmed = [&set[..], &["--confirmation", "confirmation.sig"]].concat();
    expect(live.run(&confirmed), 0, "");
    expect(live.run(&["verify"]), 0, "");
    expect(live.run(&["seed-shares", "check"]), 0, "");
}

#[test]
fn every_replica_has_to_confirm_unless_told_otherwise() {
    let mut live = Live::new(1);
    let replicated = |live: &Live, command: &str| {
        let mut manifest = live.manifest(command);
        manifest.coordinator_replicas = 2;
        manifest.peer_recovery = true;
        manifest.allow_any_chip = true;
        live.write(&manifest, command);
    };
    replicated(&live, "/web");
    live.start_replicas(2);
    expect(live.run(&["set", "resources"]), 0, "");
    replicated(&live, "/web2");
    expect(live.run(&["set", "resources"]), 0, "");

    // One is lost. The other goes on, and the owner learns that it is alone.
    live.stop_last();
    replicated(&live, "/web3");
    expect(live.run(&["set", "resources"]), 1, "NCR1322");
    assert_eq!(live.pin().head.transition().generation, 3);
    expect(live.run(&["verify"]), 0, "");
    replicated(&live, "/web4");
    let alone = ["set", "resources", "--allow-unconfirmed"];
    expect(live.run(&alone), 0, "");
    assert_eq!(live.pin().head.transition().generation, 4);
}

/// After an upgrade of nacre, or before one of the Coordinator: its policy has rules that this program does not know.
#[test]
fn a_coordinator_with_foreign_rules_is_used_by_those_who_reviewed_it() {
    let mut live = Live::with_rules(1, &RULES.replace("nacre1", "nacre0"));
    live.start();
    let hash = PolicyHash::of(&live.coordinator).to_string();
    let owners = live.owners();
    let accept = ["--accept-policy", hash.as_str()];
    let named = [&accept[..], &["--owners", owners.as_str()]].concat();
    let set = ["set", "resources"];
    let verify = [&["verify"], &accept[..]].concat();
    // Nothing is set before it is known who may.
    expect(live.run(&set), 3, "NCR1314");
    expect(live.run(&[&set[..], &accept].concat()), 3, "NCR1314");
    assert!(!live.workspace.exists("seed-shares.json"));
    expect(live.run(&[&set[..], &named].concat()), 0, "");
    // From then on the pin says it, also to an update and to a recovery.
    expect(live.run(&["verify"]), 3, "NCR1314");
    expect(live.run(&verify), 0, "");
    live.write(&live.manifest("/web2"), "/web2");
    expect(live.run(&[&set[..], &accept].concat()), 0, "");
    live.restart();
    expect(live.run(&["recover"]), 0, "");
    assert_eq!(live.pin().owners.unwrap().to_string(), owners);
    // Whoever has no pin names them.
    let latest = live.pin().head.hash().to_string();
    fs::remove_file(live.workspace.path("nacre-pin.json")).unwrap();
    expect(live.run(&verify), 3, "NCR1314");
    live.restart();
    let recover = [
        "recover",
        "--latest-transition",
        &latest,
        "--owners",
        &owners,
    ];
    expect(live.run(&recover), 0, "");
    expect(live.run(&[&["verify"], &named[..]].concat()), 0, "");
}

/// A share goes to whom the newest manifest seen names, whatever older file is at hand.
#[test]
fn a_coordinator_that_a_later_manifest_removed_gets_no_share() {
    let mut live = Live::new(1);
    live.start();
    expect(live.run(&["set", "resources"]), 0, "");
    let (older, seen) = (live.workspace.read("nacre-pin.json"), live.pin());
    // Elsewhere the owner has replaced the Coordinator's policy since; this workspace has seen it.
    let mut later = live.manifest("/web");
    let own = PolicyHash::of(&live.coordinator);
    let entry = later.policies.remove(&own).unwrap();
    later
        .policies
        .insert(PolicyHash::of(b"its successor"), entry);
    let head = seen.head.transition();
    let next = head.next(&later, later.hash(), head.signed_at + 1);
    let text = String::from_utf8(later.to_bytes()).unwrap();
    let chain = [head.hash(), next.hash()];
    let found = Found {
        root_key: seen.root_key,
        history_key: seen.history_key,
        salt: seen.salt,
        chain: &chain,
    };
    let newer = seen.advanced(&found, Seen::of(&next), text);
    // The removed one starts again from a copy of the store. manifest.json is still of before.
    live.restart();
    live.workspace.write("nacre-pin.json", newer.to_bytes());
    expect(live.run(&["recover"]), 3, "NCR1073");
    expect(live.run(&["recover", "--dry-run"]), 3, "NCR1073");
    // It has nothing: it waits for the share as before, which whoever has seen no later manifest gives.
    live.workspace.write("nacre-pin.json", older);
    expect(live.run(&["verify"]), 1, "NCR1304");
    expect(live.run(&["recover"]), 0, "");
    expect(live.run(&["verify"]), 0, "");
}

/// And the other way round: it is the pin that counts, not a file that names somebody else.
#[test]
fn recovery_attests_with_the_manifest_of_the_pin() {
    let mut live = Live::new(1);
    live.start();
    expect(live.run(&["set", "resources"]), 0, "");
    live.restart();
    let mut other = live.manifest("/web");
    let own = PolicyHash::of(&live.coordinator);
    let entry = other.policies.remove(&own).unwrap();
    other.policies.insert(PolicyHash::of(b"another"), entry);
    live.workspace.write("other.json", other.to_bytes());
    // The share fits the Coordinator of the pin.
    expect(
        live.run(&["recover", "--dry-run", "-m", "other.json"]),
        0,
        "",
    );
    // Whoever names a transition himself says that the file is the one that counts.
    let latest = live.pin().head.hash().to_string();
    let args = [
        "recover",
        "--dry-run",
        "-m",
        "other.json",
        "--latest-transition",
        &latest,
    ];
    expect(live.run(&args), 3, "NCR1073");
}

/// Whoever does not believe a whole product line says so, to every command that sends or believes something.
#[test]
fn a_list_of_chips_can_be_demanded_of_every_command() {
    let demand = "--require-chip-allowlist";
    let mut live = Live::new(1);
    live.start();
    expect(live.run(&["set", "resources", demand]), 3, "NCR1072");
    assert!(!live.workspace.exists("seed-shares.json"));
    expect(live.run(&["set", "resources"]), 0, "");
    expect(live.run(&["verify", demand]), 3, "NCR1072");
    live.restart();
    expect(live.run(&["recover", demand]), 3, "NCR1072");
    expect(live.run(&["recover"]), 0, "");
    // With the list in force all of them go on.
    let mut listed = live.manifest("/web");
    let chip = MachineSpec::new(Product::Genoa).hwid;
    let chip = ChipId::from_bytes(chip.try_into().unwrap());
    listed.reference_values.snp[0].allowed_chip_ids.push(chip);
    live.write(&listed, "/web");
    expect(live.run(&["set", "resources"]), 0, "");
    expect(live.run(&["set", "resources", demand]), 0, "");
    expect(live.run(&["verify", demand]), 0, "");
    live.restart();
    expect(live.run(&["recover", demand]), 0, "");
}
