//! Everything that is wrong with a manifest, at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::bytes::PolicyHash;
use crate::identity::{Identity, IdentityError};
use crate::manifest::Manifest;
use crate::policy::PolicyEntry;
use crate::reference::{HostDataBinding, Product, SnpReference, Tcb};

/// Most owners that may have to act together. A transition carries no more signatures than this.
pub const MAX_THRESHOLD: u32 = 32;

/// Most bytes of a workload secret's name.
const MAX_SECRET_ID: usize = 1024;

/// How much may be left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// While rendering: what the user still has to fill in is a warning.
    Lenient,
    /// With `--strict` and before a manifest is set: it is an error.
    Strict,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The manifest must not be used.
    Error,
    /// The manifest can be used; somebody should know.
    Warning,
}

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, for example `ReferenceValues.snp[0].MinimumTCB.SNPVersion`.
    pub path: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.kind)
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// No entry has the role of the Coordinator.
    #[error("no policy has the role coordinator")]
    CoordinatorMissing,
    /// An entry names no object, so no SPIFFE URI can be made.
    #[error("the policy names no namespace, kind and name")]
    IdentityMissing,
    /// An entry's object cannot be written as a SPIFFE path.
    #[error("the identity cannot become a SPIFFE path: {0}")]
    IdentityInvalid(IdentityError),
    /// Two policies stand for one object.
    #[error("{identity} has another policy too: {other}")]
    IdentityShared {
        /// The object.
        identity: Identity,
        /// The other policy.
        other: PolicyHash,
    },
    /// A name that no certificate can carry.
    #[error("{san:?} is no DNS name, IP address or URI")]
    SanInvalid {
        /// The name.
        san: String,
    },
    /// A name below the trust domain: those are minted from the identity only.
    #[error("{san:?} is a SPIFFE URI of the trust domain: the Coordinator alone makes those")]
    SanInTrustDomain {
        /// The name.
        san: String,
    },
    /// A name that stands twice in one entry.
    #[error("{san:?} stands twice")]
    SanDuplicate {
        /// The name.
        san: String,
    },
    /// A secret's name that is empty, too long or has control characters.
    #[error(
        "a WorkloadSecretID has 1 to {MAX_SECRET_ID} characters, none of them a control character"
    )]
    SecretIdInvalid,
    /// An entry is for a platform that has no reference values.
    #[error("no reference values for platform {platform:?}")]
    PlatformWithoutReference {
        /// The platform.
        platform: String,
    },
    /// There are no reference values at all.
    #[error("no reference values: no machine would be accepted")]
    ReferenceValuesMissing,
    /// The same set stands twice.
    #[error("the same reference values stand at {other}")]
    ReferenceDuplicate {
        /// Where the first one stands.
        other: String,
    },
    /// No launch measurement.
    #[error("fill in the launch measurement of {platform} on {product} with {cpus} vCPU")]
    MeasurementMissing {
        /// The platform.
        platform: String,
        /// The processor line.
        product: Product,
        /// Number of vCPUs.
        cpus: u32,
    },
    /// The size of a guest is not covered although others of the same product are.
    #[error(
        "{platform} on {product} has a launch measurement, but none for {cpus} vCPU, which a workload needs"
    )]
    SizeUncovered {
        /// The platform.
        platform: String,
        /// The processor line.
        product: Product,
        /// Number of vCPUs.
        cpus: u32,
    },
    /// A launch measurement of zeros only.
    #[error("a launch measurement of zeros only is none")]
    MeasurementZero,
    /// A component of the least TCB is not given.
    #[error("fill in the least version")]
    TcbMissing,
    /// Every component of the least TCB is zero, so every firmware would do.
    #[error("every component is zero: no firmware would be refused")]
    TcbZero,
    /// An FMC version for a product that has none.
    #[error("{product} has no FMC")]
    FmcUnexpected {
        /// The processor line.
        product: Product,
    },
    /// No vCPUs.
    #[error("a guest has at least one vCPU")]
    CpusZero,
    /// The guest policy opens the guest to the host.
    #[error("the host could read the guest's memory")]
    GuestPolicyOpen,
    /// Privilege levels above three do not exist.
    #[error("privilege levels are 0 to 3")]
    VmplInvalid,
    /// The guest runs policies other than the one the report names.
    #[error(
        "the guest does not enforce the policy of the report: the host may start it with another one, and only attestation shows it"
    )]
    HostDataUnbound,
    /// A number of signatures that is zero or more than there are owners.
    #[error("{value} is not between 1 and the number of owners, {owners}")]
    ThresholdRange {
        /// As written.
        value: u32,
        /// Number of owners.
        owners: usize,
    },
    /// More signatures or shares than this version can handle: refused instead of ignored.
    #[error("a threshold above {MAX_THRESHOLD} is not supported by this version")]
    ThresholdUnsupported,
    /// An owner stands twice.
    #[error("the same key stands twice")]
    OwnerDuplicate,
    /// Nobody can recover the Coordinator.
    #[error("no seed-share owners: a restarted Coordinator cannot be recovered")]
    NoSeedshareOwners,
    /// No Coordinator would have to confirm an update.
    #[error("at least one Coordinator")]
    ReplicasZero,
    /// Peer recovery hands the seed to every machine of a product.
    #[error(
        "peer recovery needs AllowedChipIDs in the reference values of the Coordinator, or AllowAnyChip"
    )]
    PeerRecoveryAnyChip,
    /// Peer recovery hands the seed to whatever policy the host starts a guest with.
    #[error(
        "peer recovery needs HostDataBinding `enforced` in every set of reference values of the Coordinator: on {platform} the host may run its guest with another policy, and would get the seed"
    )]
    PeerRecoveryUnbound {
        /// Platform of the first such set.
        platform: String,
    },
    /// Workloads do not attest the Coordinator.
    #[error("workloads trust a Coordinator that they did not attest")]
    UnattestedCoordinator,
    /// Anybody may set the first manifest.
    #[error("anybody may set the first manifest: the Coordinator instance is not authenticated")]
    UnboundFirstSet,
    /// Simulated evidence is accepted.
    #[error("simulated evidence is accepted: nothing is protected")]
    TestRoot,
}

impl ProblemKind {
    /// The number of the code that documents the problem (`NCR####`).
    pub const fn code(&self) -> u16 {
        match self {
            Self::CoordinatorMissing => 610,
            Self::IdentityMissing | Self::IdentityInvalid(_) | Self::IdentityShared { .. } => 611,
            Self::SanInvalid { .. } | Self::SanInTrustDomain { .. } | Self::SanDuplicate { .. } => {
                612
            }
            Self::SecretIdInvalid => 613,
            Self::PlatformWithoutReference { .. }
            | Self::ReferenceValuesMissing
            | Self::ReferenceDuplicate { .. } => 614,
            Self::MeasurementMissing { .. } | Self::SizeUncovered { .. } | Self::TcbMissing => 615,
            Self::MeasurementZero
            | Self::TcbZero
            | Self::FmcUnexpected { .. }
            | Self::CpusZero
            | Self::VmplInvalid => 616,
            Self::GuestPolicyOpen => 617,
            Self::HostDataUnbound => 618,
            Self::ThresholdRange { .. } | Self::ThresholdUnsupported => 619,
            Self::OwnerDuplicate | Self::NoSeedshareOwners => 620,
            Self::ReplicasZero | Self::PeerRecoveryAnyChip | Self::PeerRecoveryUnbound { .. } => {
                621
            }
            Self::UnattestedCoordinator | Self::UnboundFirstSet => 622,
            Self::TestRoot => 606,
        }
    }

    /// Whether the problem is something a user fills in, weighs or lives with: a warning as long as
    /// nothing strict is asked for.
    const fn severity(&self, strictness: Strictness) -> Severity {
        match self {
            Self::IdentityShared { .. }
            | Self::NoSeedshareOwners
            | Self::UnattestedCoordinator
            | Self::UnboundFirstSet => Severity::Warning,
            Self::CoordinatorMissing
            | Self::IdentityMissing
            | Self::ReferenceValuesMissing
            | Self::MeasurementMissing { .. }
            | Self::TcbMissing
            | Self::TcbZero
            | Self::HostDataUnbound => match strictness {
                Strictness::Lenient => Severity::Warning,
                Strictness::Strict => Severity::Error,
            },
            _ => Severity::Error,
        }
    }
}

impl Manifest {
    /// Every problem, in the order of the manifest's fields.
    pub fn validate(&self, strictness: Strictness) -> Vec<Problem> {
        let mut found = Problems {
            strictness,
            list: Vec::new(),
        };
        self.check_policies(&mut found);
        for (index, set) in self.reference_values.snp.iter().enumerate() {
            let path = format!("ReferenceValues.snp[{index}]");
            self.check_measurement(set, &format!("{path}.TrustedMeasurement"), &mut found);
            check_reference(set, &path, &mut found);
        }
        self.check_reference_list(&mut found);
        self.check_owners(&mut found);
        self.check_coordinators(&mut found);
        found.list
    }

    fn check_policies(&self, found: &mut Problems) {
        if self.coordinators().next().is_none() {
            found.add("Policies", ProblemKind::CoordinatorMissing);
        }
        let mut owners: BTreeMap<&Identity, PolicyHash> = BTreeMap::new();
        for (hash, entry) in &self.policies {
            let path = format!("Policies.{hash}");
            match &entry.identity {
                None => found.add(&path, ProblemKind::IdentityMissing),
                Some(identity) => {
                    let at = format!("{path}.Identity");
                    if let Err(error) = identity.check() {
                        found.add(&at, ProblemKind::IdentityInvalid(error));
                    }
                    let earlier = owners.insert(identity, *hash);
                    // Two Coordinators are how one version follows another.
                    if let (Some(other), false) = (earlier, entry.is_coordinator()) {
                        let identity = identity.clone();
                        found.add(&at, ProblemKind::IdentityShared { identity, other });
                    }
                }
            }
            self.check_names(entry, &path, found);
        }
    }

    fn check_names(&self, entry: &PolicyEntry, path: &str, found: &mut Problems) {
        let mut seen = BTreeSet::new();
        for (index, san) in entry.sans.iter().enumerate() {
            let at = format!("{path}.SANs[{index}]");
            let san_of = || san.clone();
            if !seen.insert(san) {
                found.add(&at, ProblemKind::SanDuplicate { san: san_of() });
            } else if san
                .to_ascii_lowercase()
                .starts_with(&self.trust_domain.uri_prefix())
            {
                found.add(&at, ProblemKind::SanInTrustDomain { san: san_of() });
            } else if !is_san(san) {
                found.add(&at, ProblemKind::SanInvalid { san: san_of() });
            }
        }
        if let Some(id) = &entry.workload_secret_id {
            let printable = !id.chars().any(char::is_control);
            if id.is_empty() || id.len() > MAX_SECRET_ID || !printable {
                found.add(
                    &format!("{path}.WorkloadSecretID"),
                    ProblemKind::SecretIdInvalid,
                );
            }
        }
        for (index, platform) in entry.platforms.iter().enumerate() {
            let known = |set: &SnpReference| set.platform == *platform;
            if !self.reference_values.snp.iter().any(known) {
                let platform = platform.clone();
                let at = format!("{path}.Platforms[{index}]");
                found.add(&at, ProblemKind::PlatformWithoutReference { platform });
            }
        }
    }

    fn check_measurement(&self, set: &SnpReference, path: &str, found: &mut Problems) {
        let Some(measurement) = set.trusted_measurement else {
            let (platform, product, cpus) = (set.platform.clone(), set.product_name, set.cpus);
            let known = |other: &SnpReference| {
                (&other.platform, other.product_name) == (&platform, product)
                    && other.trusted_measurement.is_some()
            };
            let kind = match self.reference_values.snp.iter().any(known) {
                true => ProblemKind::SizeUncovered {
                    platform,
                    product,
                    cpus,
                },
                false => ProblemKind::MeasurementMissing {
                    platform,
                    product,
                    cpus,
                },
            };
            return found.add(path, kind);
        };
        if measurement.as_bytes().iter().all(|byte| *byte == 0) {
            found.add(path, ProblemKind::MeasurementZero);
        }
    }

    fn check_reference_list(&self, found: &mut Problems) {
        let sets = &self.reference_values.snp;
        if sets.is_empty() {
            found.add("ReferenceValues.snp", ProblemKind::ReferenceValuesMissing);
        }
        for (index, set) in sets.iter().enumerate() {
            let first = sets.iter().position(|other| other == set);
            if let Some(other) = first.filter(|other| *other < index) {
                let other = format!("ReferenceValues.snp[{other}]");
                let at = format!("ReferenceValues.snp[{index}]");
                found.add(&at, ProblemKind::ReferenceDuplicate { other });
            }
        }
    }

    fn check_owners(&self, found: &mut Problems) {
        let workload = &self.workload_owner_key_digests;
        let seedshare = &self.seedshare_owner_pub_keys;
        found.duplicates("WorkloadOwnerKeyDigests", workload);
        found.duplicates("SeedshareOwnerPubKeys", seedshare);
        if seedshare.is_empty() {
            found.add("SeedshareOwnerPubKeys", ProblemKind::NoSeedshareOwners);
        }
        found.threshold("UpdateThreshold", self.update_threshold, workload.len());
        found.threshold(
            "RecoveryThreshold",
            self.recovery_threshold,
            seedshare.len(),
        );
    }

    fn check_coordinators(&self, found: &mut Problems) {
        if self.coordinator_replicas == 0 {
            found.add("CoordinatorReplicas", ProblemKind::ReplicasZero);
        }
        if self.peer_recovery {
            let chips = |set: &SnpReference| !set.allowed_chip_ids.is_empty();
            if !self.allow_any_chip && !self.sets_of_coordinators().all(chips) {
                found.add("PeerRecovery", ProblemKind::PeerRecoveryAnyChip);
            }
            let mut sets = self.sets_of_coordinators();
            if let Some(set) = sets.find(|set| set.host_data_binding != HostDataBinding::Enforced) {
                let platform = set.platform.clone();
                found.add(
                    "PeerRecovery",
                    ProblemKind::PeerRecoveryUnbound { platform },
                );
            }
        }
        if self.allow_unattested_coordinator {
            found.add(
                "AllowUnattestedCoordinator",
                ProblemKind::UnattestedCoordinator,
            );
        }
        if self.insecure_unbound_first_set {
            found.add("InsecureUnboundFirstSet", ProblemKind::UnboundFirstSet);
        }
        if self.test_root.is_some() {
            found.add("TestRoot", ProblemKind::TestRoot);
        }
    }

    /// Every set of reference values that a Coordinator may run under, once for each Coordinator.
    fn sets_of_coordinators(&self) -> impl Iterator<Item = &SnpReference> {
        self.coordinators().flat_map(|(_, entry)| {
            let sets = self.reference_values.snp.iter();
            sets.filter(|set| entry.may_run_on(&set.platform))
        })
    }
}

fn check_reference(set: &SnpReference, path: &str, found: &mut Problems) {
    if set.cpus == 0 {
        found.add(&format!("{path}.CPUs"), ProblemKind::CpusZero);
    }
    if set.vmpl > 3 {
        found.add(&format!("{path}.VMPL"), ProblemKind::VmplInvalid);
    }
    if set.host_data_binding == HostDataBinding::None {
        found.add(
            &format!("{path}.HostDataBinding"),
            ProblemKind::HostDataUnbound,
        );
    }
    let product = set.product_name;
    check_tcb(
        &set.minimum_tcb,
        product,
        &format!("{path}.MinimumTCB"),
        found,
    );
    for (index, model) in set.minimum_tcb_by_model.iter().enumerate() {
        let at = format!("{path}.MinimumTCBByModel[{index}].MinimumTCB");
        check_tcb(&model.minimum_tcb, product, &at, found);
    }
    let policy = &set.guest_policy;
    for (open, field) in [(policy.debug, "Debug"), (policy.migrate_ma, "MigrateMA")] {
        if open {
            found.add(
                &format!("{path}.GuestPolicy.{field}"),
                ProblemKind::GuestPolicyOpen,
            );
        }
    }
}

fn check_tcb(tcb: &Tcb, product: Product, path: &str, found: &mut Problems) {
    let fmc_given = tcb.fmc.is_some();
    if fmc_given && !product.has_fmc() {
        found.add(
            &format!("{path}.FMCVersion"),
            ProblemKind::FmcUnexpected { product },
        );
    }
    let components = [
        ("FMCVersion", tcb.fmc, product.has_fmc()),
        ("BootloaderVersion", tcb.bootloader, true),
        ("TEEVersion", tcb.tee, true),
        ("SNPVersion", tcb.snp, true),
        ("MicrocodeVersion", tcb.microcode, true),
    ];
    let mut highest = 0;
    let mut complete = true;
    for (field, value, needed) in components {
        match value {
            Some(version) => highest = highest.max(version),
            None if needed => {
                complete = false;
                found.add(&format!("{path}.{field}"), ProblemKind::TcbMissing);
            }
            None => {}
        }
    }
    if complete && highest == 0 {
        found.add(path, ProblemKind::TcbZero);
    }
}

struct Problems {
    strictness: Strictness,
    list: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, path: &str, kind: ProblemKind) {
        let severity = kind.severity(self.strictness);
        self.list.push(Problem {
            path: path.to_owned(),
            severity,
            kind,
        });
    }

    fn duplicates<T: Ord>(&mut self, field: &str, keys: &[T]) {
        let mut seen = BTreeSet::new();
        for (index, key) in keys.iter().enumerate() {
            if !seen.insert(key) {
                self.add(&format!("{field}[{index}]"), ProblemKind::OwnerDuplicate);
            }
        }
    }

    fn threshold(&mut self, field: &str, value: u32, owners: usize) {
        // Nobody at all may act where there is no owner; the threshold then says nothing.
        let most = owners.max(1);
        if value == 0 || usize::try_from(value).is_ok_and(|value| value > most) {
            self.add(field, ProblemKind::ThresholdRange { value, owners });
        } else if value > MAX_THRESHOLD {
            self.add(field, ProblemKind::ThresholdUnsupported);
        }
    }
}

/// Whether a certificate can carry the name: an IP address, an absolute URI or a DNS name, the latter
/// possibly with a wildcard as its first label or nothing else.
pub fn is_san(san: &str) -> bool {
    if san.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    if let Some((scheme, rest)) = san.split_once("://") {
        let mut scheme = scheme.chars();
        return scheme.next().is_some_and(|c| c.is_ascii_alphabetic())
            && scheme.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic());
    }
    if san == "*" {
        return true;
    }
    let name = san.strip_prefix("*.").unwrap_or(san);
    san.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(inner)
}

#[cfg(test)]
mod tests;
