//! A deployment on a simulated platform: owners, a Coordinator's keys, and a history that holds.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use nacre_attest::{Product, ReportSource, Timestamp};
use nacre_client::Trust;
use nacre_client::examine::{AcceptPolicies, Examination, Given, Question, examine};
use nacre_client::genesis::MeasuredOwners;
use nacre_client::keys::{SeedshareKey, encode};
use nacre_client::pin::Pin;
use nacre_client::snapshot::{Head, Snapshot};
use nacre_history::{Confirmation, Latest, ObjectKey, OwnerKeyPair, SignedTransition, Transition};
use nacre_manifest::danger::parse_simulated;
use nacre_manifest::{
    HostDataBinding, Identity, LaunchMeasurement, Manifest, ManifestHash, PolicyEntry, PolicyHash,
    Role, RootDigest, SeedSharesHash, SnpReference, Tcb,
};
use nacre_pki::{Authority, P384Key, Salt, Seed, SeedShares, pem};
use nacre_policy::Carrier;
use nacre_policy::rules::RULES;
use nacre_sim::{Behaviour, Machine, MachineSpec, Pki, ReportSpec, SimulatedGuest};
use serde_json::{Value, json};

pub(crate) const NONCE: [u8; 32] = [0x5e; 32];
pub(crate) const SIGNED: u64 = 1_790_000_000;

pub(crate) fn pki() -> &'static Pki {
    Pki::of_process(Product::Genoa).unwrap()
}

/// One RSA key for every test: making one takes a second.
pub(crate) static SEEDSHARE: LazyLock<SeedshareKey> = LazyLock::new(|| {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    SeedshareKey::from_pem(&encode("PRIVATE KEY", der.as_ref()), &mut || None).unwrap()
});

#[path = "../../../policy/tests/shared/data.rs"]
mod data;

/// A policy with the known rules and these containers.
pub(crate) fn policy(containers: &Value) -> Vec<u8> {
    policy_with(RULES, containers)
}

fn policy_with(rules: &str, containers: &Value) -> Vec<u8> {
    let data = data::data(containers);
    packed(&format!("{rules}\npolicy_data := {data:#}\n"))
}

pub(crate) fn packed(text: &str) -> Vec<u8> {
    let carrier = Carrier::InitData;
    carrier.raw(&carrier.pack(text).annotation_value).unwrap()
}

pub(crate) fn web(command: &str) -> Vec<u8> {
    policy(&json!({"web": {"args": [command]}}))
}

/// Guests whose reports carry this HOST_DATA.
pub(crate) fn guest(host_data: PolicyHash) -> Arc<dyn ReportSource> {
    guest_with(host_data, |_| {})
}

/// The same, and their reports are changed before they are signed.
pub(crate) fn guest_with(
    host_data: PolicyHash,
    change: impl FnOnce(&mut ReportSpec),
) -> Arc<dyn ReportSource> {
    let product = MachineSpec::new(Product::Genoa);
    guest_on(pki(), product, host_data, change)
}

/// The same, on a machine of another make.
pub(crate) fn guest_on(
    pki: &Pki,
    spec: MachineSpec,
    host_data: PolicyHash,
    change: impl FnOnce(&mut ReportSpec),
) -> Arc<dyn ReportSource> {
    let machine = Machine::with(pki, spec).unwrap();
    let mut report = ReportSpec {
        host_data: *host_data.as_bytes(),
        ..machine.report()
    };
    change(&mut report);
    let behaviour = Behaviour::default();
    Arc::new(SimulatedGuest::with(
        machine,
        report,
        pki.crl().unwrap(),
        behaviour,
    ))
}

/// A deployment.
pub(crate) struct World {
    pub(crate) trust: Trust,
    pub(crate) owner: OwnerKeyPair,
    pub(crate) coordinator: PolicyHash,
    pub(crate) manifests: Vec<Vec<u8>>,
    pub(crate) transitions: Vec<Transition>,
    pub(crate) objects: BTreeMap<ObjectKey, Vec<u8>>,
    pub(crate) seed: Seed,
    pub(crate) salt: Salt,
    pub(crate) authority: Authority,
    pub(crate) guest: Arc<dyn ReportSource>,
    coordinator_policy: Vec<u8>,
}

impl World {
    /// With a first manifest, whose owners are measured into the Coordinator.
    pub(crate) fn new() -> Self {
        Self::with(true, |_| {})
    }

    /// With a first manifest that was changed.
    pub(crate) fn with(bound: bool, change: impl FnOnce(&mut Manifest)) -> Self {
        let mut world = Self::before_set(bound);
        let mut manifest = world.manifest();
        change(&mut manifest);
        world.add(&manifest, &[web("/web")]);
        world
    }

    /// With a first manifest, and a Coordinator whose policy has rules of a version that nobody kept.
    pub(crate) fn with_foreign_rules() -> Self {
        let rules = RULES.replace("nacre1", "nacre0");
        let mut world = Self::before_set_by(true, &rules);
        let manifest = world.manifest();
        world.add(&manifest, &[web("/web")]);
        world
    }

    /// Nothing is set yet.
    pub(crate) fn before_set(bound: bool) -> Self {
        Self::before_set_by(bound, RULES)
    }

    fn before_set_by(bound: bool, rules: &str) -> Self {
        let owner = OwnerKeyPair::generate().unwrap();
        let env = match bound {
            true => json!({"NACRE_OWNERS": format!("=1:{}", owner.digest())}),
            false => json!({}),
        };
        let coordinator_policy = policy_with(rules, &json!({"coordinator": {"env": env}}));
        let coordinator = PolicyHash::of(&coordinator_policy);
        let (seed, salt) = (Seed::generate().unwrap(), Salt::generate().unwrap());
        let root = seed.root_ca_key(&salt).unwrap();
        let authority = Authority::new(&root, P384Key::generate().unwrap(), SIGNED).unwrap();
        Self {
            trust: Trust {
                verifier: Arc::new(pki().verifier().unwrap()),
                reader: parse_simulated,
            },
            owner,
            coordinator,
            manifests: Vec::new(),
            transitions: Vec::new(),
            objects: BTreeMap::new(),
            seed,
            salt,
            authority,
            guest: guest(coordinator),
            coordinator_policy,
        }
    }

    /// A manifest with the Coordinator and one workload.
    pub(crate) fn manifest(&self) -> Manifest {
        let mut manifest = Manifest::default();
        let mut coordinator = PolicyEntry::new(
            Identity::new("shop", "StatefulSet", "coordinator"),
            vec!["coordinator".into()],
        );
        coordinator.role = Some(Role::Coordinator);
        manifest.policies.insert(self.coordinator, coordinator);
        add_web(&mut manifest, "/web");
        let machine = Machine::new(pki()).unwrap();
        let measurement = machine.report().measurement;
        let mut reference = SnpReference::new("metal-qemu-snp", nacre_manifest::Product::Genoa, 1);
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
        manifest
            .workload_owner_key_digests
            .push(self.owner.digest());
        manifest
            .seedshare_owner_pub_keys
            .push(SEEDSHARE.public().clone());
        manifest.test_root = Some(RootDigest::of(&pki().ark.certificate));
        manifest
    }

    /// Sets a manifest as a Coordinator would: everything signed and stored.
    pub(crate) fn add(&mut self, manifest: &Manifest, policies: &[Vec<u8>]) {
        let signer = OwnerKeyPair::from_der(self.owner.to_pkcs8().unwrap().as_ref()).unwrap();
        self.add_signed(manifest, policies, &signer);
    }

    pub(crate) fn add_signed(
        &mut self,
        manifest: &Manifest,
        policies: &[Vec<u8>],
        signer: &OwnerKeyPair,
    ) {
        let bytes = manifest.to_bytes();
        let hash = ManifestHash::of(&bytes);
        let now = SIGNED + self.transitions.len() as u64;
        let transition = match self.transitions.last() {
            None => Transition::genesis(manifest, hash, now),
            Some(last) => last.next(manifest, hash, now),
        };
        let signature = signer.sign(&transition.message()).unwrap();
        let signed: SignedTransition = transition.signed(vec![signature]).unwrap();
        if transition.is_genesis() {
            self.confirm(&transition, signer);
        }
        let put = &mut self.objects;
        put.insert(ObjectKey::Transition(transition.hash()), signed.encode());
        put.insert(ObjectKey::Manifest(hash), bytes.clone());
        for raw in policies.iter().chain([&self.coordinator_policy]) {
            put.insert(ObjectKey::Policy(PolicyHash::of(raw)), raw.clone());
        }
        self.transitions.push(transition);
        self.manifests.push(bytes);
        self.sign_latest(transition.hash());
    }

    fn confirm(&mut self, transition: &Transition, signer: &OwnerKeyPair) {
        let owners = [SEEDSHARE.public().clone()];
        let genesis = *transition.hash().as_bytes();
        let shares = SeedShares::seal(&self.seed, 1, &owners, genesis)
            .unwrap()
            .to_bytes();
        let confirmation = Confirmation {
            transition: transition.hash(),
            salt: *self.salt.as_bytes(),
            seed_shares: SeedSharesHash::of(&shares),
            root_spki: self.authority.root_spki().to_vec(),
            history_spki: self.seed.history_key(&self.salt).unwrap().spki().to_vec(),
        };
        let signature = signer.sign(&confirmation.message()).unwrap();
        let signed = confirmation.signed(vec![signature]).unwrap();
        let shares_hash = SeedSharesHash::of(&shares);
        self.objects
            .insert(ObjectKey::SeedShares(shares_hash), shares);
        self.objects
            .insert(ObjectKey::Confirmation(transition.hash()), signed.encode());
    }

    pub(crate) fn sign_latest(&mut self, head: nacre_manifest::TransitionHash) {
        let key = self.seed.history_key(&self.salt).unwrap();
        let signature = key.sign(&Latest::message(&head)).unwrap();
        let latest = Latest::new(head, signature).unwrap();
        self.objects.insert(ObjectKey::Latest, latest.encode());
    }

    /// What the Coordinator answers to a question with this nonce.
    pub(crate) fn snapshot(&self, nonce: [u8; 32]) -> Snapshot {
        let head = self.transitions.last().unwrap();
        let chain = self.authority.intermediate();
        let mut snapshot = Snapshot {
            nonce,
            head: Head {
                transition: *head.hash().as_bytes(),
                manifest: *head.manifest.as_bytes(),
                root_spki: self.authority.root_spki().to_vec(),
                mesh_ca: self.authority.mesh_ca().to_vec(),
                evidence: Vec::new(),
                root_ca: self.authority.root_pem(),
                intermediate_ca: pem("CERTIFICATE", chain),
            },
            objects: self.objects.clone(),
        };
        self.attest(&mut snapshot);
        snapshot
    }

    /// Fresh evidence for whatever the head says now.
    pub(crate) fn attest(&self, snapshot: &mut Snapshot) {
        let report_data = snapshot.head.report_data(&snapshot.nonce);
        snapshot.head.evidence = self.guest.evidence(&report_data).unwrap().encode();
    }

    pub(crate) fn examine(&self, snapshot: &Snapshot, pin: Option<&Pin>) -> Examination {
        self.examine_with(snapshot, pin, |_| {})
    }

    /// What somebody asks who holds this manifest and leaves everything else as it is.
    fn question<'a>(
        &'a self,
        (bytes, manifest): (&'a [u8], &'a Manifest),
        pin: Option<&'a Pin>,
        accept_policies: &'a AcceptPolicies,
    ) -> Question<'a> {
        Question {
            trust: &self.trust,
            reference: manifest,
            active: Some(Given { bytes, manifest }),
            pin,
            now: Timestamp::now(),
            claimed: false,
            past: false,
            accept_policies,
            owners: None,
            require_chips: false,
            accept_history: false,
        }
    }

    /// By somebody who holds this manifest.
    pub(crate) fn examine_as(&self, snapshot: &Snapshot, bytes: &[u8]) -> Examination {
        let manifest = parse_simulated(bytes).unwrap();
        let accept = AcceptPolicies::None;
        examine(snapshot, &self.question((bytes, &manifest), None, &accept))
    }

    /// By somebody who accepts these policies and names these owners.
    pub(crate) fn examine_accepting(
        &self,
        snapshot: &Snapshot,
        pin: Option<&Pin>,
        accept: &AcceptPolicies,
        owners: Option<&MeasuredOwners>,
    ) -> Examination {
        let bytes = self.manifests.last().unwrap();
        let manifest = parse_simulated(bytes).unwrap();
        let question = Question {
            owners,
            ..self.question((bytes, &manifest), pin, accept)
        };
        examine(snapshot, &question)
    }

    pub(crate) fn examine_with(
        &self,
        snapshot: &Snapshot,
        pin: Option<&Pin>,
        change: impl FnOnce(&mut Question<'_>),
    ) -> Examination {
        let bytes = self.manifests.last().unwrap();
        let manifest = parse_simulated(bytes).unwrap();
        let accept = AcceptPolicies::None;
        let mut question = self.question((bytes, &manifest), pin, &accept);
        change(&mut question);
        examine(snapshot, &question)
    }
}

/// The workload, running this command.
pub(crate) fn add_web(manifest: &mut Manifest, command: &str) {
    let identity = Identity::new("shop", "Deployment", "web");
    let entry = PolicyEntry::new(identity, vec!["web".into()]);
    manifest
        .policies
        .insert(PolicyHash::of(&web(command)), entry);
}
