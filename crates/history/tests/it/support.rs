//! Deployments to be made a history of.

use std::collections::BTreeMap;

use nacre_history::{
    Authority, Confirmation, GenesisAuthority, Latest, ObjectKey, OwnerKeyPair, OwnerSignature,
    Rules, Signed, SignedTransition, Transition,
};
use nacre_manifest::{
    HostDataBinding, Identity, LaunchMeasurement, Manifest, ManifestHash, PolicyEntry, PolicyHash,
    Product, ReferenceValues, Role, SeedSharesHash, SnpReference, Tcb,
};

pub(crate) const COORDINATOR: &[u8] = b"package coordinator";
pub(crate) const SHARES: &[u8] = b"{\"version\": 1}";

/// A manifest without mistakes.
pub(crate) fn manifest(owners: &[&OwnerKeyPair], threshold: u32) -> Manifest {
    let tcb = Tcb {
        fmc: None,
        bootloader: Some(9),
        tee: Some(0),
        snp: Some(21),
        microcode: Some(72),
    };
    let set = SnpReference {
        trusted_measurement: Some(LaunchMeasurement::from_bytes([1; 48])),
        host_data_binding: HostDataBinding::Enforced,
        minimum_tcb: tcb,
        ..SnpReference::new("metal-qemu-snp", Product::Genoa, 1)
    };
    let mut entry = PolicyEntry::new(Identity::new("shop", "StatefulSet", "coordinator"), vec![]);
    entry.role = Some(Role::Coordinator);
    Manifest {
        policies: BTreeMap::from([(PolicyHash::of(COORDINATOR), entry)]),
        reference_values: ReferenceValues { snp: vec![set] },
        workload_owner_key_digests: owners.iter().map(|owner| owner.digest()).collect(),
        update_threshold: threshold,
        ..Manifest::default()
    }
}

/// The manifest with one more workload.
pub(crate) fn with(mut manifest: Manifest, name: &str) -> Manifest {
    let entry = PolicyEntry::new(Identity::new("shop", "Deployment", name), vec![]);
    let hash = PolicyHash::of(name.as_bytes());
    manifest.policies.insert(hash, entry);
    manifest
}

pub(crate) fn sign(transition: Transition, owners: &[&OwnerKeyPair]) -> SignedTransition {
    transition
        .signed(signatures(&transition.message(), owners))
        .unwrap()
}

pub(crate) fn signatures(message: &[u8], owners: &[&OwnerKeyPair]) -> Vec<OwnerSignature> {
    owners
        .iter()
        .map(|owner| owner.sign(message).unwrap())
        .collect()
}

/// Objects of a history that holds, and who may change it.
pub(crate) struct Deployment {
    pub(crate) owner: OwnerKeyPair,
    pub(crate) root: OwnerKeyPair,
    pub(crate) history: OwnerKeyPair,
    pub(crate) objects: BTreeMap<ObjectKey, Vec<u8>>,
    pub(crate) head: Transition,
    pub(crate) genesis: Transition,
}

impl Deployment {
    /// One transition, to a manifest with the Coordinator only.
    pub(crate) fn new() -> Self {
        Self::of(manifest(&[], 1))
    }

    /// One transition, to this manifest, of one owner.
    pub(crate) fn of(mut manifest: Manifest) -> Self {
        let owner = OwnerKeyPair::generate().unwrap();
        manifest.workload_owner_key_digests = vec![owner.digest()];
        let head = Transition::genesis(&manifest, manifest.hash(), 1_700_000_000);
        let mut this = Self {
            root: OwnerKeyPair::generate().unwrap(),
            history: OwnerKeyPair::generate().unwrap(),
            objects: BTreeMap::new(),
            genesis: head,
            owner,
            head,
        };
        this.put(ObjectKey::SeedShares(SeedSharesHash::of(SHARES)), SHARES);
        let confirmation = this.confirmation();
        this.confirm(confirmation);
        this.store(&sign(head, &[&this.owner]), &manifest);
        this
    }

    pub(crate) fn confirmation(&self) -> Confirmation {
        Confirmation {
            transition: self.genesis.hash(),
            salt: [5; 32],
            seed_shares: SeedSharesHash::of(SHARES),
            root_spki: self.root.spki().to_vec(),
            history_spki: self.history.spki().to_vec(),
        }
    }

    pub(crate) fn confirm(&mut self, confirmation: Confirmation) {
        let signatures = signatures(&confirmation.message(), &[&self.owner]);
        let signed = Signed::new(confirmation, signatures).unwrap();
        self.put(
            ObjectKey::Confirmation(self.genesis.hash()),
            &signed.encode(),
        );
    }

    /// The manifest of the newest transition.
    pub(crate) fn manifest(&self) -> Manifest {
        Manifest::parse(&self.objects[&ObjectKey::Manifest(self.head.manifest)]).unwrap()
    }

    /// One more transition by the owner.
    pub(crate) fn update(&mut self, manifest: &Manifest) {
        let next = self.head.next(manifest, manifest.hash(), 1_700_000_100);
        self.store(&sign(next, &[&self.owner]), manifest);
    }

    /// Writes a transition, its manifest and policies, and makes it the newest.
    pub(crate) fn store(&mut self, signed: &SignedTransition, manifest: &Manifest) {
        let bytes = manifest.to_bytes();
        self.put(ObjectKey::Manifest(ManifestHash::of(&bytes)), &bytes);
        self.put(ObjectKey::Policy(PolicyHash::of(COORDINATOR)), COORDINATOR);
        for entry in manifest.policies.values() {
            let name = entry.identity.as_ref().unwrap().name.as_bytes();
            self.put(ObjectKey::Policy(PolicyHash::of(name)), name);
        }
        self.head = *signed.body();
        self.put(ObjectKey::Transition(self.head.hash()), &signed.encode());
        self.point_to(self.head);
    }

    pub(crate) fn point_to(&mut self, head: Transition) {
        let message = Latest::message(&head.hash());
        let signature = self.history.sign(&message).unwrap().signature().to_vec();
        let latest = Latest::new(head.hash(), signature).unwrap();
        self.put(ObjectKey::Latest, &latest.encode());
    }

    pub(crate) fn put(&mut self, key: ObjectKey, bytes: &[u8]) {
        self.objects.insert(key, bytes.to_vec());
    }

    pub(crate) fn rules(&self) -> Rules {
        let owners: Authority = format!("1:{}", self.owner.digest()).parse().unwrap();
        Rules {
            reader: Manifest::parse,
            genesis: GenesisAuthority::Owners(owners),
        }
    }
}
