//! `nacre runtime`, `nacre coordinator-resources`, `nacre relay`, and the files of `deploy/`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::TestEnvironment;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// The workspace in `deploy/`, in a folder of its own.
fn workspace() -> TestEnvironment {
    workspace_of("deploy", &["nacre.yaml", "nacre.lock.yaml"])
}

/// Files of a folder of the work tree, in a folder of their own.
fn workspace_of(folder: &str, names: &[&str]) -> TestEnvironment {
    let environment = TestEnvironment::empty();
    for name in names {
        environment.write(name, std::fs::read(root().join(folder).join(name)).unwrap());
    }
    environment
}

/// Compares with a file of the work tree; `NACRE_BLESS=1` writes it.
fn assert_printed(name: &str, found: &str) {
    let file = root().join(name);
    if std::env::var_os("NACRE_BLESS").is_some() {
        std::fs::write(&file, found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let line = expected
        .lines()
        .zip(found.lines())
        .position(|(a, b)| a != b);
    assert!(
        expected == found,
        "{name} is not what the command prints, from line {line:?}: NACRE_BLESS=1 writes it"
    );
}

/// The objects of a stream, by kind and name.
fn objects(text: &str) -> Vec<(String, Value)> {
    let stream = nacre_krm::Stream::parse(text).unwrap();
    let all = stream.objects();
    all.iter()
        .map(|at| {
            let value = stream.documents()[at.document].value(&at.base).unwrap();
            let name = format!(
                "{} {}",
                value["kind"].as_str().unwrap(),
                value["metadata"]["name"].as_str().unwrap()
            );
            (name, value)
        })
        .collect()
}

fn object<'o>(objects: &'o [(String, Value)], name: &str) -> &'o Value {
    let found = objects.iter().find(|(known, _)| known == name);
    &found.unwrap_or_else(|| panic!("no {name}")).1
}

#[test]
fn the_runtimes_in_deploy_are_what_the_command_prints() {
    for platform in nacre_platform::platforms() {
        let environment = TestEnvironment::empty();
        let mut words = vec!["runtime", "--platform", &platform.name];
        let installer = platform.runtime.installer.as_ref();
        let binding = platform.data.host_data_binding;
        if installer.is_some_and(|installer| installer.host_data_binding != binding) {
            // The pinned guest is not what manifests of the platform say.
            environment.run(&words).refused(1, "NCR1517");
            words.push("--no-installer");
        }
        let done = environment.run(&words).success();
        assert_printed(
            &format!("deploy/runtime-{}.yml", platform.name),
            &done.stdout,
        );
    }
}

#[test]
fn the_coordinators_in_deploy_are_what_the_command_prints() {
    let environment = workspace();
    let one = environment
        .run(&["coordinator-resources", "--port-forwarder"])
        .success();
    assert_printed("deploy/coordinator.yml", &one.stdout);
    let three = [
        "coordinator-resources",
        "--replicas=3",
        "--set",
        "peer-recovery=true",
        "--set",
    ];
    let three = environment
        .run(&[&three[..], &["allow-any-chip=true"]].concat())
        .success();
    assert_printed("deploy/coordinator-3.yml", &three.stdout);
}

/// Applied as they are rendered, the examples have what their Coordinator needs: its account and the right
/// to keep the history included.
#[test]
fn the_coordinators_of_the_examples_are_what_the_command_prints() {
    for (example, settings, file) in [
        ("go-client", "", "coordinator.yml"),
        ("jobs", "", "coordinator.yml"),
        ("stateful", "", "coordinator.yml"),
        ("shop/helm", "", "templates/coordinator.yaml"),
        ("shop/kpt", "", "coordinator.yaml"),
        ("shop/kustomize", "/confidential", "base/coordinator.yaml"),
    ] {
        let environment = workspace_of(
            &format!("examples/{example}{settings}"),
            &["confidential.yaml"],
        );
        let command = "coordinator-resources --unrendered --config confidential.yaml";
        let mut words: Vec<&str> = command.split(' ').collect();
        let is_chart = file.starts_with("templates/");
        if is_chart {
            words.extend(["-n", RELEASED]);
        }
        let mut printed = environment.run(&words).success().stdout;
        if is_chart {
            printed = printed.replace(RELEASED, "{{ .Release.Namespace }}");
            // helmfile releases the Coordinator apart.
            printed =
                format!("{{{{- if .Values.coordinator.enabled }}}}\n{printed}{{{{- end }}}}\n");
        }
        assert_printed(&format!("examples/{example}/{file}"), &printed);
    }
}

/// A namespace that stands for the one of a Helm release.
const RELEASED: &str = "namespace-of-the-release";

#[test]
fn versions_of_a_runtime_do_not_collide_and_aks_installs_nothing() {
    let environment = TestEnvironment::empty();
    let image = format!("registry.example/kata-deploy@sha256:{}", "a".repeat(64));
    let all = [
        "runtime",
        "--platform=metal-qemu-snp",
        "--platform=kata-qemu-snp",
        "--installer-image",
        &image,
    ];
    let text = environment.run(&all).success().stdout;
    let objects = self::objects(&text);
    let mut names: Vec<&String> = objects.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), objects.len(), "every object once: {names:?}");
    let handlers: Vec<&Value> = objects
        .iter()
        .filter(|(name, _)| name.starts_with("RuntimeClass "))
        .map(|(_, class)| &class["handler"])
        .collect();
    assert_eq!(handlers.len(), 2);
    assert_ne!(handlers[0], handlers[1]);
    // The handler is the one that the installer makes.
    for (_, set) in objects
        .iter()
        .filter(|(name, _)| name.starts_with("DaemonSet "))
    {
        let container = &set["spec"]["template"]["spec"]["containers"][0];
        let env = container["env"].as_array().unwrap();
        let suffix = env
            .iter()
            .find(|e| e["name"] == "MULTI_INSTALL_SUFFIX")
            .unwrap();
        let suffix = suffix["value"].as_str().unwrap();
        let made = Value::from(format!("kata-qemu-snp-{suffix}"));
        assert!(handlers.contains(&&made), "{made}");
        assert_eq!(container["image"], image.as_str());
        // By the name installers know of one another, and leave alone what others need.
        let name = set["metadata"]["name"].as_str().unwrap();
        assert!(
            name.starts_with("kata-deploy-") && name.ends_with(suffix),
            "{name}"
        );
        let own = env.iter().find(|e| e["name"] == "DAEMONSET_NAME").unwrap();
        assert_eq!(own["value"], name);
    }
    // What is of one version has its label; the namespace is of all.
    for (name, object) in &objects {
        let version = object["metadata"]["labels"]["nacre.dev/runtime"].as_str();
        assert_eq!(version.is_none(), name.starts_with("Namespace "), "{name}");
    }

    let aks = environment
        .run(&["runtime", "--platform=aks-clh-snp"])
        .success()
        .stdout;
    let kinds: Vec<String> = self::objects(&aks)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(kinds.len(), 1);
    assert!(
        kinds[0].starts_with("RuntimeClass contrast-cc-aks-clh-snp-"),
        "{kinds:?}"
    );
}

#[test]
fn nodes_can_be_chosen() {
    let environment = TestEnvironment::empty();
    let words = ["runtime", "--platform=kata-qemu-snp", "--node-selector"];
    let label = "amd.feature.node.kubernetes.io/snp=true";
    let text = environment
        .run(&[&words[..], &[label]].concat())
        .success()
        .stdout;
    let objects = self::objects(&text);
    let of = |kind: &str, pointer: &str| {
        let (_, object) = objects
            .iter()
            .find(|(name, _)| name.starts_with(kind))
            .unwrap();
        object.pointer(pointer).unwrap()["amd.feature.node.kubernetes.io/snp"].clone()
    };
    assert_eq!(of("RuntimeClass ", "/scheduling/nodeSelector"), "true");
    assert_eq!(of("DaemonSet ", "/spec/template/spec/nodeSelector"), "true");
    let wrong = environment.run(&[&words[..], &["a=\"b"]].concat());
    assert_eq!(wrong.code, Some(2), "{}", wrong.shown());
}

#[test]
fn an_installer_without_digest_is_refused() {
    let environment = TestEnvironment::empty();
    let flags = ["runtime", "--platform=metal-qemu-snp", "--installer-image"];
    let tag = [&flags[..], &["registry.example/kata:4"]].concat();
    environment.run(&tag).refused(2, "NCR0907");
    let pinned = format!("registry.example/kata@sha256:{}", "a".repeat(64));
    let done = environment
        .run(&[&flags[..], &[&pinned]].concat())
        .success();
    assert!(done.stdout.contains(&pinned));
}

#[test]
fn the_coordinator_carries_its_policy_and_its_owners() {
    let environment = workspace();
    let done = environment
        .run(&["coordinator-resources", "-o", "coordinator.yml"])
        .success();
    assert_eq!(done.stdout, "");
    let objects = self::objects(&environment.read("coordinator.yml"));
    let set = object(&objects, "StatefulSet coordinator");
    let template = &set["spec"]["template"];
    let annotations = template["metadata"]["annotations"].as_object().unwrap();
    assert!(annotations.contains_key("io.katacontainers.config.hypervisor.cc_init_data"));
    let env = template["spec"]["containers"][0]["env"].as_array().unwrap();
    let value = |name: &str| {
        env.iter()
            .find(|e| e["name"] == name)
            .map(|e| e["value"].clone())
    };
    let owners = value("NACRE_OWNERS").unwrap();
    assert!(owners.as_str().unwrap().starts_with("1:"), "{owners}");
    assert_eq!(value("NACRE_HISTORY"), Some(Value::from("configmaps")));
    assert_eq!(value("NACRE_PEERS"), None);
    let image = template["spec"]["containers"][0]["image"].as_str().unwrap();
    assert!(image.contains("@sha256:"), "{image}");

    // A workload rendered beside it trusts exactly this Coordinator.
    environment.run(&[
        "generate",
        "--check",
        "coordinator.yml",
        "--manifest",
        "m.json",
    ]);
    environment
        .run(&["generate", "coordinator.yml", "--manifest", "m.json"])
        .success();
    assert_eq!(
        objects.len(),
        self::objects(&environment.read("coordinator.yml")).len()
    );
    let manifest: Value = serde_json::from_str(&environment.read("m.json")).unwrap();
    let roles: Vec<&Value> = manifest["Policies"].as_object().unwrap().values().collect();
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0]["Role"], "coordinator");
}

#[test]
fn two_installations_share_no_object() {
    let environment = workspace();
    let of = |namespace: &str| {
        let done = environment
            .run(&["coordinator-resources", "--port-forwarder", "-n", namespace])
            .success();
        self::objects(&done.stdout)
    };
    for (name, object) in of("one").iter().chain(&of("two")) {
        let namespace = object["metadata"]["namespace"].as_str();
        assert!(
            matches!(namespace, Some("one" | "two")),
            "{name} is in {namespace:?}"
        );
    }
}

#[test]
fn disruptions_are_for_owners_to_know_or_one_at_a_time() {
    let environment = workspace();
    for (replicas, expected) in [("1", 0), ("3", 1)] {
        let done = environment
            .run(&[
                "coordinator-resources",
                "--replicas",
                replicas,
                "--unrendered",
            ])
            .success();
        let objects = self::objects(&done.stdout);
        let budget = object(&objects, "PodDisruptionBudget coordinator");
        assert_eq!(budget["spec"]["maxUnavailable"], expected);
        assert_eq!(
            done.stderr.contains("NCR1505"),
            replicas == "3",
            "{}",
            done.stderr
        );
    }
}

#[test]
fn the_relay_carries_bytes_both_ways_until_both_ends_are_done() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap().to_string();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        question.reverse();
        stream.write_all(&question).unwrap();
    });
    let environment = TestEnvironment::empty();
    let (mut relay, address) = relay(&environment, &["127.0.0.1:0", &to]);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"abc").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    relay.kill().unwrap();
    relay.wait().unwrap();
    assert_eq!(got, b"cba");
    answer.join().unwrap();
}

/// A running relay, and where it listens.
fn relay(environment: &TestEnvironment, args: &[&str]) -> (Child, String) {
    let mut relay = environment
        .nacre(&[&["relay"], args].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(relay.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.split_whitespace().nth(1).unwrap().to_owned();
    (relay, address)
}

/// What is sent comes back.
fn echo() -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut byte = [0];
                while let Ok(1) = stream.read(&mut byte) {
                    if stream.write_all(&byte).is_err() {
                        break;
                    }
                }
            });
        }
    });
    to
}

/// A connection from an address of loopback.
fn connected(from: &str, to: &str) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(to.parse().unwrap()).await.unwrap()
    });
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

fn answers(stream: &mut TcpStream) -> bool {
    stream.write_all(b"a").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

#[test]
fn who_has_every_place_of_the_relay_gives_one_to_another_address() {
    const PLACES: usize = 64;
    let environment = TestEnvironment::empty();
    let (mut relay, address) = relay(&environment, &["127.0.0.1:0", &echo()]);
    let mut held: Vec<TcpStream> = (0..PLACES)
        .map(|_| connected("127.0.0.1", &address))
        .collect();
    assert!(held.iter_mut().all(answers));
    assert!(!answers(&mut connected("127.0.0.1", &address)));
    let mut other = connected("127.0.0.2", &address);
    assert!(answers(&mut other));
    assert!(!answers(&mut held[0]), "the oldest has gone");
    assert!(answers(&mut held[1]) && answers(&mut other));
    relay.kill().unwrap();
    relay.wait().unwrap();
}

#[test]
fn what_is_idle_on_the_relay_ends() {
    let environment = TestEnvironment::empty();
    let (mut relay, address) = relay(&environment, &["127.0.0.1:0", &echo(), "--idle", "2"]);
    let mut idle = connected("127.0.0.1", &address);
    let mut busy = connected("127.0.0.1", &address);
    assert!(answers(&mut idle));
    // It goes on for longer than the other may be idle.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        assert!(answers(&mut busy));
        std::thread::sleep(Duration::from_millis(200));
    }
    let end = idle.read(&mut [0]);
    assert!(matches!(end, Ok(0)), "{end:?}");
    relay.kill().unwrap();
    relay.wait().unwrap();
}
