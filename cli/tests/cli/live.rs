//! A workspace and a real Coordinator on a simulated platform, in one process: the roots of the simulation come in
//! as values. Results go to standard output, so what is looked at are exit codes, findings and files.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nacre_attest::{Product, ReportSource};
use nacre_client::Trust;
use nacre_client::genesis::MeasuredOwners;
use nacre_client::pin::Pin;
use nacre_coordinator::{Addresses, Backend, Config, Coordinator, Deps, RunError, system_clock};
use nacre_framing::environment::Environment;
use nacre_history::GenesisAuthority;
use nacre_manifest::danger::parse_simulated;
use nacre_manifest::{
    HostDataBinding, Identity, KeyDigest, LaunchMeasurement, Manifest, PolicyEntry, PolicyHash,
    Role, RootDigest, SeedshareOwnerKey, SnpReference, Tcb,
};
use nacre_policy::Carrier;
use nacre_policy::rules::RULES;
use nacre_sim::{Behaviour, Machine, Pki, ReportSpec, SimulatedGuest};
use nacre_store::Directory;
use nacre_test_support::free_ports;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::common::TestEnvironment;
use crate::coordinator::openssl;

#[path = "../../../crates/policy/tests/shared/data.rs"]
mod data;

pub(crate) fn pki() -> &'static Pki {
    Pki::of_process(Product::Genoa).unwrap()
}

/// Owners, a manifest, resources, a store, and a Coordinator that can be started and stopped.
pub(crate) struct Live {
    pub(crate) workspace: TestEnvironment,
    pub(crate) store: tempfile::TempDir,
    runtime: Runtime,
    pub(crate) coordinator: Vec<u8>,
    genesis: GenesisAuthority,
    /// The first is the one that is asked.
    running: Vec<Running>,
}

type Running = (
    SocketAddr,
    oneshot::Sender<()>,
    JoinHandle<Result<(), RunError>>,
);

impl Live {
    /// With this many owners, all of whom have to sign.
    pub(crate) fn new(owners: usize) -> Self {
        Self::with_rules(owners, RULES)
    }

    /// The same, and the Coordinator's policy has these rules.
    pub(crate) fn with_rules(owners: usize, rules: &str) -> Self {
        let workspace = TestEnvironment::empty();
        let mut digests = Vec::new();
        for number in 0..owners {
            let name = key_name(number);
            openssl(
                &workspace,
                &format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out {name}"),
            );
            openssl(
                &workspace,
                &format!("pkey -in {name} -pubout -out {name}.pub"),
            );
            let digest = KeyDigest::from_pem(&workspace.read(&format!("{name}.pub"))).unwrap();
            digests.push(digest.to_string());
        }
        openssl(&workspace, "genrsa -out seedshare-owner.pem 2048");
        openssl(
            &workspace,
            "rsa -in seedshare-owner.pem -RSAPublicKey_out -out share.pub",
        );
        digests.sort_unstable();
        let bound = format!("{owners}:{}", digests.join(","));
        let env = json!({"NACRE_OWNERS": format!("={bound}")});
        let coordinator = raw(rules, &json!({"coordinator": {"env": env}}));
        let live = Self {
            workspace,
            store: tempfile::tempdir().unwrap(),
            runtime: Runtime::new().unwrap(),
            coordinator,
            genesis: GenesisAuthority::Owners(bound.parse().unwrap()),
            running: Vec::new(),
        };
        live.write(&live.manifest("/web"), "/web");
        live
    }

    /// Manifest and resources, with a workload that runs this command.
    pub(crate) fn write(&self, manifest: &Manifest, command: &str) {
        self.workspace.write("manifest.json", manifest.to_bytes());
        let mut resources = String::new();
        for (name, policy) in [
            ("coordinator", self.coordinator.clone()),
            ("web", web(command)),
        ] {
            let carried = Carrier::AgentPolicy.pack(std::str::from_utf8(&policy).unwrap());
            resources.push_str(&format!(
                "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations:\n    {}: {}\nspec:\n  containers: []\n",
                carried.annotation_key, carried.annotation_value
            ));
        }
        self.workspace.write("resources/all.yml", resources);
    }

    pub(crate) fn manifest(&self, command: &str) -> Manifest {
        let mut manifest = Manifest::default();
        let identity = Identity::new("shop", "StatefulSet", "coordinator");
        let mut entry = PolicyEntry::new(identity, vec!["coordinator".into()]);
        entry.role = Some(Role::Coordinator);
        manifest
            .policies
            .insert(PolicyHash::of(&self.coordinator), entry);
        let entry = PolicyEntry::new(Identity::new("shop", "Pod", "web"), vec!["web".into()]);
        manifest
            .policies
            .insert(PolicyHash::of(&web(command)), entry);
        let machine = Machine::new(pki()).unwrap();
        let mut reference = SnpReference::new("metal-qemu-snp", nacre_manifest::Product::Genoa, 1);
        let measurement = machine.report().measurement;
        reference.trusted_measurement = Some(LaunchMeasurement::from_bytes(measurement));
        reference.host_data_binding = HostDataBinding::Enforced;
        reference.minimum_tcb = Tcb {
            fmc: None,
            bootloader: Some(1),
            tee: Some(0),
            snp: Some(1),
            microcode: Some(1),
        };
        manifest.reference_values.snp.push(reference);
        for number in 0.. {
            let public = format!("{}.pub", key_name(number));
            if !self.workspace.exists(&public) {
                break;
            }
            let digest = KeyDigest::from_pem(&self.workspace.read(&public)).unwrap();
            manifest.workload_owner_key_digests.push(digest);
            manifest.update_threshold = u32::try_from(number + 1).unwrap();
        }
        let share = SeedshareOwnerKey::from_pem(&self.workspace.read("share.pub")).unwrap();
        manifest.seedshare_owner_pub_keys.push(share);
        manifest.test_root = Some(RootDigest::of(&pki().ark.certificate));
        manifest
    }

    pub(crate) fn start(&mut self) {
        self.start_replicas(1);
    }

    /// This many, which know each other and share the store.
    pub(crate) fn start_replicas(&mut self, count: usize) {
        // Each has to know the others before it starts.
        let place = |_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports::<1>()[0]));
        let places: Vec<SocketAddr> = (0..count).map(place).collect();
        for mesh in &places {
            let running = self.start_at(*mesh, &places);
            self.running.push(running);
        }
    }

    fn start_at(&self, mesh: SocketAddr, all: &[SocketAddr]) -> Running {
        let machine = Machine::new(pki()).unwrap();
        let report = ReportSpec {
            host_data: *PolicyHash::of(&self.coordinator).as_bytes(),
            ..machine.report()
        };
        let crl = pki().crl().unwrap();
        let guest = SimulatedGuest::with(machine, report, crl, Behaviour::default());
        let reports: Arc<dyn ReportSource> = Arc::new(guest);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            genesis: self.genesis.clone(),
            history: Backend::Directory(self.store.path().to_path_buf()),
            peers: all.iter().map(ToString::to_string).collect(),
            addresses: Addresses {
                user: any,
                mesh,
                http: any,
                health: any,
            },
            log: "off".into(),
            drain: Duration::from_secs(1),
            guest: nacre_collateral::Guest::default(),
            capacity: nacre_coordinator::Capacity::default(),
        };
        let deps = Deps {
            verifier: Arc::new(pki().verifier().unwrap()),
            reports,
            reader: parse_simulated,
            store: Arc::new(Directory::open(self.store.path()).unwrap()),
            clock: system_clock,
        };
        let coordinator = self
            .runtime
            .block_on(Coordinator::bind(config, deps))
            .unwrap();
        let address = coordinator.addresses().user;
        let (stop, stopped) = oneshot::channel();
        let task = self.runtime.spawn(coordinator.serve(async move {
            let _ = stopped.await;
        }));
        (address, stop, task)
    }

    /// Ends all of them.
    pub(crate) fn stop(&mut self) {
        while !self.running.is_empty() {
            self.stop_last();
        }
    }

    pub(crate) fn stop_last(&mut self) {
        let (_, stop, task) = self.running.pop().unwrap();
        let _ = stop.send(());
        self.runtime.block_on(task).unwrap().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Runs a command of the workspace; gives the exit code and the codes of its findings.
    pub(crate) fn run(&self, args: &[&str]) -> (u8, Vec<String>) {
        self.run_in(&self.workspace, args)
    }

    pub(crate) fn run_in(&self, workspace: &TestEnvironment, args: &[&str]) -> (u8, Vec<String>) {
        let mut all: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        if let Some((address, ..)) = self.running.first()
            && ["set", "verify", "recover"].contains(&args[0])
            && !args.contains(&"--from-bundle")
        {
            all.extend(["-c".to_owned(), address.to_string()]);
        }
        run_simulated(workspace, all)
    }

    /// Value of `NACRE_OWNERS` that is measured into the Coordinator.
    pub(crate) fn owners(&self) -> String {
        MeasuredOwners(self.genesis.clone()).to_string()
    }

    pub(crate) fn pin(&self) -> Pin {
        Pin::parse(self.workspace.read("nacre-pin.json").as_bytes()).unwrap()
    }
}

/// The program with the roots of the simulation: its exit code, and the codes of what it found.
pub(crate) fn run_simulated(workspace: &TestEnvironment, args: Vec<String>) -> (u8, Vec<String>) {
    let mut all = args;
    let report = workspace.path("report.json");
    all.extend(["--format", "json", "--report"].map(str::to_owned));
    all.push(report.display().to_string());
    let environment = Environment {
        args: all.iter().map(Into::into).collect(),
        variables: BTreeMap::new(),
        directory: workspace.path(""),
        stdin_is_terminal: false,
        stderr_is_terminal: false,
    };
    let trust = Trust {
        verifier: Arc::new(pki().verifier().unwrap()),
        reader: parse_simulated,
    };
    let code = format!("{:?}", nacre_cli::run(environment, trust));
    let code: String = code.chars().filter(char::is_ascii_digit).collect();
    let findings = fs::read_to_string(&report).unwrap_or_default();
    (code.parse().unwrap(), codes(&findings))
}

fn key_name(number: usize) -> String {
    match number {
        0 => "workload-owner.pem".to_owned(),
        n => format!("owner{n}.pem"),
    }
}

/// The raw bytes of a policy: with this carrier, its text.
fn raw(rules: &str, containers: &Value) -> Vec<u8> {
    let data = data::data(containers);
    format!("{rules}\npolicy_data := {data:#}\n").into_bytes()
}

pub(crate) fn web(command: &str) -> Vec<u8> {
    raw(RULES, &json!({"web": {"args": [command]}}))
}

/// Every code named in a report of findings.
fn codes(report: &str) -> Vec<String> {
    let words = report.split(|c: char| !c.is_ascii_alphanumeric());
    let mut codes: Vec<String> = words
        .filter(|word| word.starts_with("NCR") && word.len() == 7)
        .map(str::to_owned)
        .collect();
    codes.dedup();
    codes
}

#[track_caller]
pub(crate) fn expect((code, findings): (u8, Vec<String>), wanted: u8, finding: &str) {
    assert_eq!(code, wanted, "{findings:?}");
    assert!(
        finding.is_empty() || findings.iter().any(|code| code == finding),
        "{finding} is not among {findings:?}"
    );
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}
