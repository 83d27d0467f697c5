//! kill -9 at random points of many updates: afterwards the history is one of the two that are valid.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use nacre_attest::Product;
use nacre_history::{GenesisAuthority, OwnerKeyPair, Transition};
use nacre_manifest::{Identity, PolicyEntry, PolicyHash};
use nacre_sim::Pki;
use nacre_store::{ConfigMaps, Directory, Store};
use nacre_test_support::Cluster;

use crate::support::{Deployment, PLATFORM, ShareOwner, measured, now, read_history};

const FOLDER: &str = "NACRE_CRASH_FOLDER";
/// Set where the history is in the ConfigMaps of the namespace.
const CLUSTER: &str = "NACRE_CRASH_CLUSTER";
/// Updates and kills of an ordinary run; `NACRE_CRASH_UPDATES=500` is the full one.
const UPDATES: usize = 40;
/// One process sets fewer than so many before it is killed.
const EACH: u64 = 6;
/// How long the other process may take to start on a busy machine.
const START: Duration = Duration::from_secs(120);

fn owner(folder: &Path) -> OwnerKeyPair {
    let path = folder.join("owner.der");
    if let Ok(der) = std::fs::read(&path) {
        return OwnerKeyPair::from_der(&der).unwrap();
    }
    let owner = OwnerKeyPair::generate().unwrap();
    std::fs::write(&path, &*owner.to_pkcs8().unwrap()).unwrap();
    owner
}

fn share(folder: &Path) -> ShareOwner {
    let path = folder.join("share.der");
    if let Ok(der) = std::fs::read(&path) {
        return ShareOwner::from_pkcs8(&der);
    }
    let share = ShareOwner::generate();
    std::fs::write(&path, &share.pkcs8).unwrap();
    share
}

/// The other process: recovers if it has to, then sets one manifest after the other until it is killed.
#[tokio::test]
#[ignore = "the other process of a_history_is_never_torn"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        panic!("{FOLDER} is not set")
    };
    let folder = Path::new(&folder);
    let mut deployment = Deployment::of(vec![owner(folder)], vec![share(folder)]);
    std::fs::remove_dir(deployment.folder.path()).unwrap();
    std::os::unix::fs::symlink(folder, deployment.folder.path()).unwrap();
    deployment.genesis = measured(&[&deployment.owners[0]], 1);
    if std::env::var_os(CLUSTER).is_some() {
        deployment.elsewhere = Some(Arc::new(ConfigMaps::connect(None).await.unwrap()));
    }
    let running = deployment.start().await;
    let mut head = None;
    if deployment.store().latest().await.unwrap().is_some() {
        let last = deployment.history().await.head().clone();
        let owner = &deployment.shares[0];
        let recovered = deployment.recover(&running, owner, last.hash).await;
        assert!(recovered.unwrap().recovered);
        head = Some(last.transition);
    }
    println!("\nchild ready");
    // One connection and no look at the history in between: what takes the time is setting.
    let link = running.user().await;
    for round in 0_usize.. {
        let name = format!("app-{}", round % 50);
        let mut manifest = deployment.manifest(&[&name]);
        let generation = head.map_or(0, |head: Transition| head.generation);
        if generation % 3 == 1 {
            for (policy, name, raw) in together(generation) {
                let entry = PolicyEntry::new(Identity::new("shop", "Job", &name), vec![name]);
                manifest.policies.insert(policy, entry);
                deployment.policies.insert(policy, raw);
            }
        }
        let next = match &head {
            None => Transition::genesis(&manifest, manifest.hash(), now()),
            Some(head) => head.next(&manifest, manifest.hash(), now()),
        };
        let owners = [&deployment.owners[0]];
        let result = deployment
            .submit(&link, &manifest, next, &owners)
            .await
            .unwrap();
        assert!(result.applied);
        println!("\nchild set {}", result.generation);
        head = Some(next);
    }
}

/// So many policies that they are written together, others for each generation.
fn together(generation: u64) -> impl Iterator<Item = (PolicyHash, String, Vec<u8>)> {
    (0..40).map(move |number| {
        let name = format!("job-{generation}-{number}");
        let raw = format!("package {name}\n").repeat(100).into_bytes();
        (PolicyHash::of(&raw), name, raw)
    })
}

/// How the other process is started.
fn ordinary() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn start(mut command: Command, folder: &Path) -> (Child, std::sync::mpsc::Receiver<String>) {
    let mut child = command
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(PLATFORM, folder.join("platform"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (lines, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if let Some(line) = line.strip_prefix("child ") {
                let _ = lines.send(line.to_owned());
            }
        }
    });
    (child, receiver)
}

fn updates(otherwise: usize) -> usize {
    let updates = std::env::var("NACRE_CRASH_UPDATES").ok();
    let updates = updates.and_then(|text| text.parse().ok());
    updates.unwrap_or(otherwise)
}

/// Sets manifests in processes that are killed, until so many are set and one kill has come for ten of them
/// at least. A kill waits for updates and not for a time, so a slow machine does not kill more often. After
/// each the history in the store is whole, and has what was reported.
#[allow(clippy::print_stdout, reason = "how far a long test is")]
fn set_and_kill(
    updates: usize,
    folder: &Path,
    command: &dyn Fn() -> Command,
    store: &dyn Fn() -> Arc<dyn Store>,
) {
    let genesis: GenesisAuthority = measured(&[&owner(folder)], 1);
    share(folder);
    Pki::create(Product::Genoa, &folder.join("platform")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut done, mut kills, mut last) = (0, 0, 0_u64);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    while done < updates || kills * 10 < updates {
        let (mut child, lines) = start(command(), folder);
        let ready = lines.recv_timeout(START).unwrap();
        assert_eq!(ready, "ready");
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // So many whole updates, then somewhere in the next one, which takes about as long as the last.
        let (whole, part) = ((random >> 33) % EACH, random >> 54);
        let (mut reported, mut took) = (last, Duration::from_millis(100));
        for _ in 0..whole {
            let before = Instant::now();
            let line = lines.recv_timeout(START).unwrap();
            reported = line.strip_prefix("set ").unwrap().parse().unwrap();
            took = before.elapsed();
        }
        std::thread::sleep(took * u32::try_from(part).unwrap() / 800);
        child.kill().unwrap();
        child.wait().unwrap();
        while let Ok(line) = lines.recv_timeout(Duration::from_millis(50)) {
            reported = line.strip_prefix("set ").unwrap().parse().unwrap();
        }
        kills += 1;
        let generation = runtime.block_on(async {
            let store = store();
            match store.latest().await.unwrap() {
                None => 0,
                Some(_) => {
                    // Every object is whole and everything that is named is there.
                    let history = read_history(store.as_ref(), &genesis).await.unwrap();
                    history.head().transition.generation
                }
            }
        });
        // What was reported is there; at most the one that was under way is there too.
        assert!(
            generation == reported || generation == reported + 1,
            "{reported} was reported, {generation} is there"
        );
        done += usize::try_from(generation - last).unwrap();
        last = generation;
        println!("{done} updates, {kills} kills so far");
    }
    println!("{done} updates, {kills} kills");
}

#[test]
fn a_history_is_never_torn() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        || -> Arc<dyn Store> { Arc::new(Directory::open(&folder.path().join("history")).unwrap()) };
    set_and_kill(updates(UPDATES), folder.path(), &ordinary, &store);
}

/// A Coordinator in a pod of the deployed account, as far as a process can be one.
#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn a_history_in_config_maps_of_a_cluster_is_never_torn() {
    const NAMESPACE: &str = "crash";
    let cluster = Cluster::shared();
    cluster.namespace(NAMESPACE);
    let rights = nacre_test_support::coordinator_rights(NAMESPACE);
    cluster.kubectl_with(&["apply", "--filename=-"], &rights);
    let program = std::env::current_exe().unwrap();
    let command = || {
        let mut command = cluster.in_pod(&program, NAMESPACE, "coordinator");
        command.env(CLUSTER, "1");
        command
    };
    // One client for each look: each has a runtime of its own.
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let store = || -> Arc<dyn Store> {
        let kubeconfig = kubeconfig.clone();
        let options = KubeConfigOptions::default();
        let config = tokio::task::block_in_place(|| {
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
            tokio::runtime::Handle::current().block_on(config)
        });
        let client = kube::Client::try_from(config.unwrap()).unwrap();
        Arc::new(ConfigMaps::new(client, NAMESPACE))
    };
    let folder = tempfile::tempdir().unwrap();
    set_and_kill(updates(100), folder.path(), &command, &store);
}
