//! kill -9 at random points of many updates: afterwards the history is one of the two that are valid.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nacre_history::{GenesisAuthority, OwnerKeyPair};
use nacre_store::{Directory, Store as _};

use crate::support::{Deployment, ShareOwner, measured, read_history};

const FOLDER: &str = "NACRE_CRASH_FOLDER";
/// Updates and kills of an ordinary run; `NACRE_CRASH_UPDATES=500` is the full one.
const UPDATES: usize = 40;
/// How long the other process may take to start: it makes three RSA keys of 4096 bits for its platform.
const START: Duration = Duration::from_secs(600);

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
    let running = deployment.start().await;
    if deployment.store().latest().await.unwrap().is_some() {
        let head = deployment.history().await.head().hash;
        let owner = &deployment.shares[0];
        assert!(
            deployment
                .recover(&running, owner, head)
                .await
                .unwrap()
                .recovered
        );
    }
    println!("\nchild ready");
    for round in 0_usize.. {
        let name = format!("app-{}", round % 50);
        let manifest = deployment.manifest(&[&name]);
        let result = deployment.set(&running, &manifest).await.unwrap();
        assert!(result.applied);
        println!("\nchild set {}", result.generation);
    }
}

fn start(folder: &Path) -> (Child, std::sync::mpsc::Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
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

#[test]
fn a_history_is_never_torn() {
    let updates = std::env::var("NACRE_CRASH_UPDATES").ok();
    let updates = updates
        .and_then(|text| text.parse().ok())
        .unwrap_or(UPDATES);
    let folder = tempfile::tempdir().unwrap();
    let genesis: GenesisAuthority = measured(&[&owner(folder.path())], 1);
    share(folder.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut done, mut kills, mut last) = (0, 0, 0_u64);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    while done < updates {
        let (mut child, lines) = start(folder.path());
        let ready = lines.recv_timeout(START).unwrap();
        assert_eq!(ready, "ready");
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let until = Instant::now() + Duration::from_millis(20 + (random >> 33) % 1500);
        let mut reported = last;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Ok(line) = lines.recv_timeout(left) {
                reported = line.strip_prefix("set ").unwrap().parse().unwrap();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while let Ok(line) = lines.recv_timeout(Duration::from_millis(50)) {
            reported = line.strip_prefix("set ").unwrap().parse().unwrap();
        }
        kills += 1;
        let store = Directory::open(&folder.path().join("history")).unwrap();
        let generation = runtime.block_on(async {
            match store.latest().await.unwrap() {
                None => 0,
                Some(_) => {
                    // Every object is whole and everything that is named is there.
                    let history = read_history(&store, &genesis).await.unwrap();
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
    assert!(kills >= 3, "{kills}");
}
