//! Coordinator, initializers, mesh and apps in containers of their images, on a private network: what is in
//! an image is enough, with the rights and the read-only root that the pods ask for.
//!
//! Coordinator and initializer are those with simulated evidence (`-insecure`), the mesh is the shipped one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::deployment::{COORDINATOR, Deployment, Options, environment, pod_spec};
use super::{PATIENCE, title};
use crate::container::Image;
use crate::harness::{DOCKER, Place, given};

const NETWORK: &str = "nacre-flows";
/// Name in the network, and the last part of the address there.
const HOSTS: [(&str, u8); 4] = [
    ("coordinator", 2),
    ("catalog", 10),
    ("orders", 11),
    ("web", 12),
];

/// A network that leads nowhere else; it goes with its containers.
struct Network {
    place: Place,
}

impl Network {
    fn new() -> Network {
        let network = Network {
            place: Place::new(),
        };
        network.clear();
        let range = format!("--subnet={}.0/24", subnet());
        network.docker(&["network", "create", "--internal", &range, NETWORK]);
        network
    }

    /// A command of the engine's client; one that hangs is ended.
    fn docker(&self, arguments: &[&str]) -> String {
        let (patience, docker) = (PATIENCE.as_secs().to_string(), given(DOCKER));
        let bounded = [&[&patience, docker.to_str().unwrap()], arguments].concat();
        self.place
            .run(Path::new("/usr/bin/timeout"), &bounded, "")
            .ok()
    }

    /// A container with what a container of the pod spec asks for.
    fn run(&self, how: &[&str], image: &Image, spec: &Value, more: &[(&str, String)]) -> String {
        let mut words: Vec<String> = ["run", "--read-only", "--security-opt=no-new-privileges"]
            .map(str::to_owned)
            .to_vec();
        words.extend(how.iter().map(|word| (*word).to_owned()));
        let security = &spec["securityContext"];
        words.push("--cap-drop=ALL".to_owned());
        for capability in security["capabilities"]["add"]
            .as_array()
            .into_iter()
            .flatten()
        {
            words.push(format!("--cap-add={}", capability.as_str().unwrap()));
        }
        if let Some(user) = security["runAsUser"].as_u64() {
            words.push(format!(
                "--user={user}:{}",
                security["runAsGroup"].as_u64().unwrap_or(user)
            ));
        }
        let variables = environment(spec);
        let variables = variables.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in variables.chain(more.iter().map(|(name, value)| (*name, value))) {
            words.push(format!("--env={name}={value}"));
        }
        words.push(image.name.clone());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.docker(&words)
    }

    fn clear(&self) {
        let filter = format!("network={NETWORK}");
        let found = self
            .place
            .tool(DOCKER, &["ps", "--all", "--quiet", "--filter", &filter]);
        let found: Vec<&str> = found.stdout.split_whitespace().collect();
        // Those that joined the network of another are not listed with it.
        for (name, _) in HOSTS {
            let joined = ["app", "mesh"].map(|part| format!("nacre-{part}-{name}"));
            for container in &joined {
                self.place.tool(DOCKER, &["rm", "--force", container]);
            }
        }
        for container in found {
            self.place.tool(DOCKER, &["rm", "--force", container]);
        }
        self.place.tool(DOCKER, &["network", "rm", NETWORK]);
    }

    fn logs(&self, container: &str) -> String {
        let done = self.place.tool(DOCKER, &["logs", container]);
        format!("{}{}", done.stdout, done.stderr)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Three of four numbers; the bridge is the machine's, where another run may have one too.
fn subnet() -> String {
    format!("10.213.{}", std::process::id() % 256)
}

fn address(name: &str) -> String {
    let (_, last) = HOSTS.iter().find(|(host, _)| *host == name).unwrap();
    format!("{}.{last}", subnet())
}

/// Place in the network, and the names that DNS would know.
fn placed(name: &str) -> Vec<String> {
    let mut words = vec![
        format!("--network={NETWORK}"),
        format!("--ip={}", address(name)),
    ];
    // The mesh asks DNS and not /etc/hosts, as in a cluster; the engine's own answers for these names.
    words.push(format!("--network-alias={name}"));
    words
}

/// A folder that a container's root may write to without any capability.
fn volume(shop: &Deployment, name: &str) -> PathBuf {
    let folder = shop.home(name);
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

fn mounted(from: &Path, to: &str, options: &str) -> String {
    format!("--mount=type=bind,src={},dst={to}{options}", from.display())
}

fn container<'s>(spec: &'s Value, list: &str, name: &str) -> &'s Value {
    let all = spec[list].as_array().unwrap();
    all.iter()
        .find(|container| container["name"] == name)
        .unwrap()
}

/// What holds a pod's network, as a pause container does: the gate, in whose own folder certificates never
/// come. Returns the option by which the others join.
fn start_sandbox(network: &Network, images: &Images, name: &str) -> String {
    let pod = format!("nacre-pod-{name}");
    let (place, named) = (placed(name), format!("--name={pod}"));
    let flags = ["run", "--detach", "--read-only", "--cap-drop=ALL", &named];
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    let command = [
        "--entrypoint=/nacre-gate",
        &images.initializer.name,
        "--",
        "none",
    ];
    network.docker(&[&flags[..], &place[..], &command[..]].concat());
    format!("--network=container:{pod}")
}

/// The certificate, the mesh and the app of one pod, in the order of its init containers.
fn start_pod(network: &Network, shop: &Deployment, images: &Images, name: &str) {
    let spec = pod_spec(&shop.resources(), "Deployment", name);
    let volume = volume(shop, &format!("volumes/container-{name}"));
    let volume_mount = mounted(&volume, "/tls-config", "");
    let pki = mounted(&shop.home("simulated-root"), "/pki", ",readonly");
    let inside = start_sandbox(network, images, name);
    let how = [inside.as_str(), volume_mount.as_str()];

    println!("$ docker run {NETWORK}/{name} initializer-insecure");
    let guest = [
        ("NACRE_SIM_PKI", "/pki".to_owned()),
        (
            "NACRE_SIM_HOST_DATA",
            shop.policies()[&format!("Deployment/{name}")].clone(),
        ),
    ];
    let initializer = container(&spec, "initContainers", "contrast-initializer");
    let once = [&how[..], &["--rm", pki.as_str()]].concat();
    network.run(&once, &images.initializer, initializer, &guest);
    for file in [
        "certChain.pem",
        "key.pem",
        "mesh-ca.pem",
        "coordinator-root-ca.pem",
    ] {
        assert!(volume.join(file).is_file(), "{name}: no {file}");
    }

    println!("$ docker run {NETWORK}/{name} mesh, {name}");
    let mesh = container(&spec, "initContainers", "contrast-service-mesh");
    assert_eq!(
        mesh["securityContext"]["capabilities"]["add"][0],
        "NET_ADMIN"
    );
    let mesh_name = format!("--name=nacre-mesh-{name}");
    let kept = [&how[..], &["--detach", &mesh_name]].concat();
    network.run(&kept, &images.mesh, mesh, &[]);
    wait(network, &format!("nacre-mesh-{name}"), || {
        volume.join("mesh-ready").exists()
    });

    let app = container(&spec, "containers", name);
    let image = Image::load(&images.examples, app["image"].as_str().unwrap());
    let app_name = format!("--name=nacre-app-{name}");
    network.run(&["--detach", &inside, &app_name], &image, app, &[]);
}

fn wait(network: &Network, container: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{}", network.logs(container));
        std::thread::sleep(Duration::from_millis(100));
    }
}

struct Images {
    initializer: Image,
    mesh: Image,
    examples: PathBuf,
}

#[test]
fn a_shop_in_containers_on_a_private_network() {
    title("images of the layouts, a private network, the shop rendered");
    let layouts = given("NACRE_TEST_IMAGES");
    let insecure = layouts.join("insecure/layout");
    let images = Images {
        initializer: Image::load(&insecure, "initializer"),
        mesh: Image::load(&layouts.join("layout"), "mesh"),
        examples: layouts.join("examples/layout"),
    };
    let coordinator_image = Image::load(&insecure, "coordinator");
    assert!(
        coordinator_image.name.ends_with("-insecure"),
        "{}",
        coordinator_image.name
    );
    let network = Network::new();
    let mut shop = Deployment::new(&Options::default());
    shop.render();

    title("the Coordinator in its container: set, verify");
    let state = volume(&shop, "state");
    let mut how = placed("coordinator");
    how.extend([
        "--detach".to_owned(),
        "--name=nacre-coordinator".to_owned(),
        mounted(&state, "/state", ""),
        mounted(&shop.home("simulated-root"), "/pki", ",readonly"),
    ]);
    let how: Vec<&str> = how.iter().map(String::as_str).collect();
    let spec = pod_spec(&shop.resources(), "StatefulSet", "coordinator");
    let more = [
        ("NACRE_SIM_PKI", "/pki".to_owned()),
        ("NACRE_SIM_HOST_DATA", shop.policies()[COORDINATOR].clone()),
        ("NACRE_HISTORY", "directory:/state".to_owned()),
        ("NACRE_NAMESPACE", "shop".to_owned()),
    ];
    network.run(&how, &coordinator_image, &spec["containers"][0], &more);
    let user = format!("{}:1313", address("coordinator"));
    wait(&network, "nacre-coordinator", || {
        std::net::TcpStream::connect(&user).is_ok()
    });
    shop.nacre(&["set", "-c", &user, "resources/"]).ok();
    shop.nacre(&["verify", "-c", &user]).ok();

    title("three pods: initializer, mesh, app");
    for name in ["catalog", "orders", "web"] {
        start_pod(&network, &shop, &images, name);
    }

    title("a browser trusts the mesh CA; the shop asks its services through the mesh");
    let anchor = shop.path("verify/mesh-ca.pem");
    let resolve = format!("web:8080:{}", address("web"));
    let curl = [
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "10",
        "--resolve",
        &resolve,
    ];
    let curl = [
        &curl[..],
        &["--cacert", anchor.to_str().unwrap(), "https://web:8080/"],
    ]
    .concat();
    let place = Place::new();
    let start = Instant::now();
    let shown = loop {
        let done = place.tool("NACRE_TEST_CURL", &curl);
        if done.code == Some(0) {
            break done.stdout;
        }
        let said = || network.logs("nacre-mesh-web") + &network.logs("nacre-app-web");
        assert!(start.elapsed() < PATIENCE, "{}\n{}", done.stderr, said());
        std::thread::sleep(Duration::from_millis(500));
    };
    println!("{shown}");
    assert!(shown.contains("<button name=\"item\""), "{shown}");

    title("strangers: without a certificate, in plain text, past the mesh");
    let told = |url: &str| {
        let flags = ["--silent", "--show-error", "--insecure", "--max-time", "10"];
        let refused = place.tool("NACRE_TEST_CURL", &[&flags[..], &[url]].concat());
        println!("$ curl --insecure {url}\n  {}", refused.stderr.trim_end());
        assert_ne!(refused.code, Some(0), "{}", refused.stdout);
        assert_eq!(refused.stdout, "");
        refused.stderr
    };
    let catalog = address("catalog");
    let alert = told(&format!("https://{catalog}:8081/"));
    assert!(alert.contains("certificate required"), "{alert}");
    told(&format!("http://{catalog}:8081/"));
    told(&format!("http://{}:8080/", address("web")));
    // Where the mesh listens there is nothing to be had either.
    told(&format!("https://{catalog}:15006/"));

    title("a pod whose mesh was killed is closed");
    network.docker(&["kill", "nacre-mesh-web"]);
    told(&format!("https://{}:8080/", address("web")));
}
