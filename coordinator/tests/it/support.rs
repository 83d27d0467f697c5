//! A deployment: owners, a Coordinator that listens, and everybody who calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use nacre_api::v1::mesh_client::MeshClient;
use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::set_manifest_response::Step as Tell;
use nacre_api::v1::user_client::UserClient;
use nacre_api::v1::{self, get_manifests_response::Part};
use nacre_api::{limits, method, recover_digest};
use nacre_atls::References;
use nacre_atls::tonic::Link;
use nacre_attest::{Policy, Product, ReportSource, Timestamp, Verifier};
use nacre_coordinator::{Addresses, Backend, Capacity, Config, Coordinator, Deps};
use nacre_history::{
    Authority, Confirmation, Expect, GenesisAuthority, History, ObjectKey, OwnerKeyPair,
    OwnerSignature, Rules, Transition, validate,
};
use nacre_manifest::{
    ChipId, HostDataBinding, Identity, LaunchMeasurement, Manifest, ManifestHash, PolicyEntry,
    PolicyHash, ReferenceValues, Role, SeedSharesHash, SeedshareOwnerKey, SnpReference, Tcb,
    TransitionHash,
};
use nacre_pki::{LeafKey, SeedShares};
use nacre_sim::{Behaviour, Machine, Pki, ReportSpec, SimulatedGuest};
use nacre_store::{Directory, Store};
use tokio::sync::oneshot;
use tonic::{Code, Status};

#[path = "support/running.rs"]
pub(crate) mod running;

pub(crate) use running::{Dialog, Running};

/// Raw policy of the Coordinator.
pub(crate) const COORDINATOR: &[u8] = b"package coordinator";
/// Raw policy of a workload that is in every manifest here.
pub(crate) const WEB: &[u8] = b"package web";

/// Folder with the platform's keys, for processes of one test that are to share them.
pub(crate) const PLATFORM: &str = "NACRE_TEST_PLATFORM";

pub(crate) fn pki() -> &'static Pki {
    static SHARED: LazyLock<Option<Pki>> = LazyLock::new(|| {
        let folder = std::env::var_os(PLATFORM)?;
        Some(Pki::open(Path::new(&folder)).unwrap())
    });
    match &*SHARED {
        Some(pki) => pki,
        None => Pki::of_process(Product::Genoa).unwrap(),
    }
}

pub(crate) fn verifier() -> Arc<Verifier> {
    static VERIFIER: LazyLock<Arc<Verifier>> =
        LazyLock::new(|| Arc::new(pki().verifier().unwrap()));
    Arc::clone(&VERIFIER)
}

/// The revocation list of the process. One for all guests: whoever has seen a newer one takes no older one.
pub(crate) fn crl() -> Vec<u8> {
    static CRL: LazyLock<Vec<u8>> = LazyLock::new(|| pki().crl().unwrap());
    CRL.clone()
}

/// A guest with this policy.
pub(crate) fn guest(policy: &[u8]) -> Arc<dyn ReportSource> {
    guest_like(policy, Behaviour::default())
}

pub(crate) fn guest_like(policy: &[u8], behaviour: Behaviour) -> Arc<dyn ReportSource> {
    let machine = Machine::new(pki()).unwrap();
    let report = ReportSpec {
        host_data: *PolicyHash::of(policy).as_bytes(),
        ..machine.report()
    };
    Arc::new(SimulatedGuest::with(machine, report, crl(), behaviour))
}

/// Reference values of the simulated platform, for every machine of [`guest`].
pub(crate) fn reference() -> SnpReference {
    let machine = Machine::new(pki()).unwrap();
    let tcb = machine.spec.tcb;
    let report = machine.report();
    SnpReference {
        trusted_measurement: Some(LaunchMeasurement::from_bytes(report.measurement)),
        host_data_binding: HostDataBinding::Enforced,
        minimum_tcb: Tcb {
            fmc: tcb.fmc,
            bootloader: Some(tcb.bootloader),
            tee: Some(tcb.tee),
            snp: Some(tcb.snp),
            microcode: Some(tcb.microcode),
        },
        allowed_chip_ids: vec![ChipId::from_bytes(report.chip_id)],
        ..SnpReference::new("metal-qemu-snp", nacre_manifest::Product::Genoa, 1)
    }
}

/// An owner of a seed share: RSA of 2048 bits, which is quicker to make than a real one.
pub(crate) struct ShareOwner {
    pub(crate) key: RsaKeyPair,
    pub(crate) pkcs8: Vec<u8>,
}

impl ShareOwner {
    pub(crate) fn generate() -> Self {
        Self::of(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Self {
        Self::of(RsaKeyPair::from_pkcs8(pkcs8).unwrap())
    }

    fn of(key: RsaKeyPair) -> Self {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
        let pkcs8 = der.as_ref().to_vec();
        Self { key, pkcs8 }
    }

    pub(crate) fn public(&self) -> SeedshareOwnerKey {
        SeedshareOwnerKey::from_pkcs1_der(self.key.public_key().as_ref()).unwrap()
    }

    fn spki(&self) -> Vec<u8> {
        let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
            self.key.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(&RSA_PSS_SHA256, &random, message, &mut signature)
            .unwrap();
        signature
    }
}

/// What outlives Coordinators: owners, the store, the policies.
pub(crate) struct Deployment {
    pub(crate) owners: Vec<OwnerKeyPair>,
    pub(crate) shares: Vec<ShareOwner>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) policies: BTreeMap<PolicyHash, Vec<u8>>,
    /// Who may set the first manifest.
    pub(crate) genesis: GenesisAuthority,
    /// Where the history is, if not in the folder.
    pub(crate) elsewhere: Option<Arc<dyn Store>>,
    /// How long the history may become.
    pub(crate) capacity: Capacity,
}

impl Deployment {
    /// One owner of each kind.
    pub(crate) fn new() -> Self {
        Self::with(1, 1)
    }

    pub(crate) fn with(owners: usize, shares: usize) -> Self {
        let owners: Vec<_> = (0..owners)
            .map(|_| OwnerKeyPair::generate().unwrap())
            .collect();
        Self::of(
            owners,
            (0..shares).map(|_| ShareOwner::generate()).collect(),
        )
    }

    pub(crate) fn of(owners: Vec<OwnerKeyPair>, shares: Vec<ShareOwner>) -> Self {
        let genesis = measured(&[&owners[0]], 1);
        let policies = [COORDINATOR, WEB].map(|raw| (PolicyHash::of(raw), raw.to_vec()));
        Self {
            owners,
            shares,
            folder: tempfile::tempdir().unwrap(),
            policies: policies.into(),
            genesis,
            elsewhere: None,
            capacity: Capacity::default(),
        }
    }

    /// A manifest with the Coordinator, `WEB` and these workloads.
    pub(crate) fn manifest(&self, workloads: &[&str]) -> Manifest {
        let entry = |kind: &str, name: &str| {
            PolicyEntry::new(Identity::new("shop", kind, name), vec![name.to_owned()])
        };
        let mut coordinator = entry("StatefulSet", "coordinator");
        coordinator.role = Some(Role::Coordinator);
        let mut policies = BTreeMap::from([
            (PolicyHash::of(COORDINATOR), coordinator),
            (PolicyHash::of(WEB), entry("Deployment", "web")),
        ]);
        for name in workloads {
            policies.insert(PolicyHash::of(name.as_bytes()), entry("Deployment", name));
        }
        Manifest {
            policies,
            reference_values: ReferenceValues {
                snp: vec![reference()],
            },
            workload_owner_key_digests: self.owners.iter().map(OwnerKeyPair::digest).collect(),
            seedshare_owner_pub_keys: self.shares.iter().map(ShareOwner::public).collect(),
            ..Manifest::default()
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        if let Some(store) = &self.elsewhere {
            return Arc::clone(store);
        }
        Arc::new(Directory::open(&self.folder.path().join("history")).unwrap())
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_with(guest(COORDINATOR), self.store(), &[]).await
    }

    pub(crate) async fn start_with(
        &self,
        reports: Arc<dyn ReportSource>,
        store: Arc<dyn Store>,
        peers: &[String],
    ) -> Running {
        let deps = Deps {
            verifier: verifier(),
            reports,
            reader: Manifest::parse,
            store,
            clock: nacre_coordinator::system_clock,
        };
        self.start_deps(deps, peers, "127.0.0.1:0").await
    }

    pub(crate) async fn start_deps(&self, deps: Deps, peers: &[String], mesh: &str) -> Running {
        let any = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            genesis: self.genesis.clone(),
            history: Backend::ConfigMaps { namespace: None },
            peers: peers.to_vec(),
            addresses: Addresses {
                user: any,
                mesh: mesh.parse().unwrap(),
                http: any,
                health: any,
            },
            log: "info".to_owned(),
            drain: Duration::from_secs(5),
            guest: nacre_collateral::Guest::default(),
            capacity: self.capacity,
        };
        let coordinator = Coordinator::bind(config, deps).await.unwrap();
        let addresses = coordinator.addresses();
        let (stop, stopped) = oneshot::channel();
        let serving = coordinator.serve(async move {
            let _ = stopped.await;
        });
        Running {
            addresses,
            policy: COORDINATOR,
            stop: Some(stop),
            task: tokio::spawn(async move { serving.await.unwrap() }),
        }
    }

    /// What the present manifest's history is, as the store tells it.
    pub(crate) async fn history(&self) -> History {
        read_history(self.store().as_ref(), &self.genesis)
            .await
            .unwrap()
    }

    /// Sets a manifest by the first owner; the next one, or the first.
    pub(crate) async fn set(
        &self,
        running: &Running,
        manifest: &Manifest,
    ) -> Result<v1::SetManifestResult, Status> {
        let head = self.store().latest().await.unwrap();
        let transition = match head {
            None => Transition::genesis(manifest, manifest.hash(), now()),
            Some(_) => {
                let head = self.history().await.head().transition;
                head.next(manifest, manifest.hash(), now())
            }
        };
        let link = running.user().await;
        self.submit(&link, manifest, transition, &[&self.owners[0]])
            .await
    }

    /// Submits a transition signed by these owners, who also sign for the connection and confirm.
    pub(crate) async fn submit(
        &self,
        link: &Link,
        manifest: &Manifest,
        transition: Transition,
        owners: &[&OwnerKeyPair],
    ) -> Result<v1::SetManifestResult, Status> {
        let request = link.owner_request(method::SET_MANIFEST, &sha256(&transition.to_bytes()));
        let proposal = v1::Proposal {
            manifest: manifest.to_bytes(),
            transition: transition.to_bytes().to_vec(),
            signatures: signed(owners, &transition.message()),
            online: signed(owners, &request),
        };
        self.propose(link, proposal, owners).await
    }

    pub(crate) async fn propose(
        &self,
        link: &Link,
        proposal: v1::Proposal,
        owners: &[&OwnerKeyPair],
    ) -> Result<v1::SetManifestResult, Status> {
        let transition = TransitionHash::of(&proposal.transition);
        let mut dialog = Dialog::open(link).await?;
        dialog.say(Ask::Proposal(proposal)).await;
        let Tell::Wanted(wanted) = dialog.hear().await? else {
            panic!("wanted policies")
        };
        let wanted = wanted.policies.iter().map(|hash| {
            let hash = PolicyHash::try_from(hash.as_slice()).unwrap();
            let raw = self.policies.get(&hash);
            raw.cloned().unwrap_or_else(|| name_of(hash).into_bytes())
        });
        let wanted: Vec<Vec<u8>> = wanted.collect();
        for message in v1::Policies::messages(wanted.iter().map(Vec::as_slice)) {
            dialog.say(Ask::Policies(message)).await;
        }
        dialog.say(Ask::PoliciesDone(v1::PoliciesDone {})).await;
        match dialog.hear().await? {
            Tell::Result(result) => Ok(result),
            Tell::Offer(offer) => {
                let confirmation = confirmation(transition, &offer);
                dialog
                    .say(Ask::Confirmation(v1::SignedConfirmation {
                        confirmation: confirmation.to_bytes(),
                        signatures: signed(owners, &confirmation.message()),
                    }))
                    .await;
                match dialog.hear().await? {
                    Tell::Result(result) => Ok(result),
                    other => panic!("{other:?}"),
                }
            }
            Tell::Wanted(_) => panic!("twice"),
        }
    }

    /// Sends the share of one owner, decrypted from the document of the history.
    pub(crate) async fn recover(
        &self,
        running: &Running,
        owner: &ShareOwner,
        expected: TransitionHash,
    ) -> Result<v1::RecoverResponse, Status> {
        let share = self.share(owner).await;
        let request = v1::RecoverRequest {
            expected: expected.as_bytes().to_vec(),
            share: share[1..].to_vec(),
            index: share[0].into(),
            dry_run: false,
            signature: None,
        };
        give_share(running, owner, request).await
    }

    /// Index and value of an owner's share.
    pub(crate) async fn share(&self, owner: &ShareOwner) -> Vec<u8> {
        let document = self.shares_document().await;
        let share = document.open(&owner.pkcs8).unwrap();
        share.to_bytes().to_vec()
    }

    pub(crate) async fn shares_document(&self) -> SeedShares {
        let history = self.history().await;
        let key = ObjectKey::SeedShares(history.confirmation().seed_shares);
        SeedShares::parse(&read(self.store().as_ref(), &key).await.unwrap()).unwrap()
    }

    /// Where an object lies.
    pub(crate) fn file(&self, key: &ObjectKey) -> std::path::PathBuf {
        self.folder.path().join("history").join(key.to_string())
    }
}

/// Policies of workloads named in [`Deployment::manifest`] are their names.
fn name_of(hash: PolicyHash) -> String {
    (0..2000)
        .map(|index| format!("app-{index}"))
        .chain(["one", "two", "three", "api", "db"].map(str::to_owned))
        .find(|name| PolicyHash::of(name.as_bytes()) == hash)
        .unwrap()
}

pub(crate) async fn new_cert(
    link: &Link,
    key: &LeafKey,
) -> Result<v1::NewMeshCertResponse, Status> {
    let csr = key.request().unwrap();
    let request = v1::NewMeshCertRequest { csr };
    let answer = MeshClient::new(link.channel())
        .new_mesh_cert(request)
        .await?;
    Ok(answer.into_inner())
}

pub(crate) async fn give_share(
    running: &Running,
    owner: &ShareOwner,
    mut request: v1::RecoverRequest,
) -> Result<v1::RecoverResponse, Status> {
    let link = running.user().await;
    let message = link.owner_request(method::RECOVER, &recover_digest(&request));
    request.signature = Some(v1::Signature {
        spki: owner.spki(),
        signature: owner.sign(&message),
    });
    let answer = UserClient::new(link.channel()).recover(request).await?;
    Ok(answer.into_inner())
}

/// The whole history as a client gets it.
pub(crate) async fn manifests(
    link: &Link,
    nonce: [u8; 32],
) -> Result<(v1::AttestedState, BTreeMap<ObjectKey, Vec<u8>>), Status> {
    let request = v1::GetManifestsRequest {
        nonce: nonce.to_vec(),
    };
    let mut client = UserClient::new(link.channel()).max_decoding_message_size(limits::MAX_MESSAGE);
    let mut stream = client.get_manifests(request).await?.into_inner();
    let mut head = None;
    let mut objects: BTreeMap<ObjectKey, Vec<u8>> = BTreeMap::new();
    let mut whole = BTreeSet::new();
    while let Some(message) = stream.message().await? {
        match message.part.unwrap() {
            Part::Head(state) => assert!(head.replace(state).is_none()),
            Part::Object(object) => {
                assert!(object.content.len() <= limits::MAX_PIECE);
                let key: ObjectKey = object.key.parse().unwrap();
                objects.entry(key).or_default().extend(object.content);
                if object.last {
                    whole.insert(key);
                }
            }
        }
    }
    assert_eq!(whole.len(), objects.len());
    Ok((head.unwrap(), objects))
}

pub(crate) fn confirmation(transition: TransitionHash, offer: &v1::Offer) -> Confirmation {
    Confirmation {
        transition,
        salt: offer.salt.as_slice().try_into().unwrap(),
        seed_shares: SeedSharesHash::of(&offer.seed_shares),
        root_spki: offer.root_spki.clone(),
        history_spki: offer.history_spki.clone(),
    }
}

/// Accepts guests with these policies on the simulated platform.
pub(crate) fn references(policies: &[&[u8]]) -> References {
    let hashes = policies.iter().map(|raw| *PolicyHash::of(raw).as_bytes());
    let policy = Policy::try_from(&reference()).unwrap();
    References::new(verifier(), vec![policy], hashes.collect(), Timestamp(0))
}

pub(crate) fn measured(owners: &[&OwnerKeyPair], threshold: u32) -> GenesisAuthority {
    let digests: Vec<String> = owners.iter().map(|o| o.digest().to_string()).collect();
    let text = format!("{threshold}:{}", digests.join(","));
    GenesisAuthority::Owners(text.parse::<Authority>().unwrap())
}

pub(crate) fn signed(owners: &[&OwnerKeyPair], message: &[u8]) -> Vec<v1::Signature> {
    let sign = |owner: &&OwnerKeyPair| message_of(&owner.sign(message).unwrap());
    owners.iter().map(sign).collect()
}

pub(crate) fn message_of(signature: &OwnerSignature) -> v1::Signature {
    v1::Signature {
        spki: signature.spki().to_vec(),
        signature: signature.signature().to_vec(),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    *ManifestHash::of(bytes).as_bytes()
}

pub(crate) fn now() -> u64 {
    Timestamp::now().0
}

pub(crate) async fn read(store: &dyn Store, key: &ObjectKey) -> Option<Vec<u8>> {
    let key = nacre_store::StoreKey::new(&key.to_string()).unwrap();
    store.read(&key).await.unwrap()
}

/// Reads every object that the history names, and decides on it as a client would.
pub(crate) async fn read_history(
    store: &dyn Store,
    genesis: &GenesisAuthority,
) -> Result<History, nacre_history::Invalid> {
    let mut objects = BTreeMap::new();
    let latest = store.latest().await.unwrap().unwrap().bytes;
    let mut next = nacre_history::Latest::parse(&latest).unwrap().transition;
    objects.insert(ObjectKey::Latest, latest);
    while !next.is_none() {
        let key = ObjectKey::Transition(next);
        let Some(bytes) = read(store, &key).await else {
            break;
        };
        let body = *nacre_history::SignedTransition::parse(&bytes)
            .unwrap()
            .body();
        objects.insert(key, bytes);
        let mut wanted = vec![ObjectKey::Manifest(body.manifest)];
        if body.is_genesis() {
            wanted.push(ObjectKey::Confirmation(next));
        }
        for key in wanted {
            if let Some(bytes) = read(store, &key).await {
                if let ObjectKey::Manifest(_) = key {
                    let manifest = Manifest::parse(&bytes).unwrap();
                    for policy in manifest.policies.keys() {
                        let key = ObjectKey::Policy(*policy);
                        if let Some(raw) = read(store, &key).await {
                            objects.insert(key, raw);
                        }
                    }
                }
                if let ObjectKey::Confirmation(_) = key {
                    let signed = nacre_history::SignedConfirmation::parse(&bytes).unwrap();
                    let key = ObjectKey::SeedShares(signed.body().seed_shares);
                    if let Some(shares) = read(store, &key).await {
                        objects.insert(key, shares);
                    }
                }
                objects.insert(key, bytes);
            }
        }
        next = body.previous;
    }
    let rules = Rules {
        reader: Manifest::parse,
        genesis: genesis.clone(),
    };
    validate(&objects, &rules, &Expect::complete())
}

/// Asserts that a request is refused so, and names this code.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, number: &str) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(number), "{status}");
}

/// Waits until something is so, for at most half a minute.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    for _ in 0..300 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

pub(crate) fn files_below(root: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}
