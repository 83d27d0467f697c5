//! What goes in and what comes out.

use nacre_findings::{Finding, Severity};
use nacre_fnconfig::Confidential;
use nacre_imagelock::ImageLock;
use nacre_krm::{ObjectRef, Stream};
use nacre_manifest::{Identity, Manifest, PolicyHash, Profile};
use nacre_platform::Platform;
use nacre_policy::Facts;
use serde_json::Value;

/// One text of resources: a file, or standard input.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, if it has one.
    pub file: Option<String>,
    /// What it holds.
    pub stream: Stream,
}

/// How the resources came in. It decides only how strict to be about absent namespaces, and what
/// is called a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mode {
    /// Files and directories.
    Files,
    /// A stream of documents.
    #[default]
    Stream,
    /// A ResourceList.
    Krm,
    /// A Helm post-renderer: the release's namespace is not in the stream.
    Helm,
}

/// Everything beside the resources.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The configuration, flags and variables included.
    pub config: &'a Confidential,
    /// Every lock there is, in one.
    pub lock: &'a ImageLock,
    /// The manifest whose hand edits are carried over.
    pub previous: Option<&'a Manifest>,
    /// How the resources came in.
    pub mode: Mode,
    /// Whether each policy is tried against the requests of its own pod.
    pub self_check: bool,
    /// A Coordinator that is not rendered along (`coordinator.yml` of the workspace).
    pub workspace_coordinator: Option<&'a Stream>,
    /// Whether the manifest is wanted as an item of the output, in the form the configuration names.
    pub manifest_item: bool,
    /// Whether the policies' texts are wanted in the outcome; the annotations hold them anyway.
    pub policy_texts: bool,
    /// Whether the outcome holds what each policy was made from, for replaying its pod's requests.
    pub policy_facts: bool,
    /// Threads to use; 0 = as many as the machine has. The result does not depend on it.
    pub threads: usize,
}

impl<'a> Options<'a> {
    /// Options with nothing but configuration and lock.
    pub fn new(config: &'a Confidential, lock: &'a ImageLock) -> Self {
        Self {
            config,
            lock,
            previous: None,
            mode: Mode::default(),
            self_check: config.self_check,
            workspace_coordinator: None,
            manifest_item: false,
            policy_texts: false,
            policy_facts: false,
            threads: 0,
        }
    }
}

/// The result. When one of the findings is an error, there are findings only.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// New values of objects: source, place in it, value. Objects that are not here stay as they are.
    pub edits: Vec<(usize, ObjectRef, Value)>,
    /// Objects to be added.
    pub added: Vec<Value>,
    /// The manifest; `None` on errors, and when no workload is selected.
    pub manifest: Option<Manifest>,
    /// One for each selected workload, in the order of the input; a Coordinator that is not rendered
    /// along is not here.
    pub policies: Vec<GeneratedPolicy>,
    /// What there is to say, in the order of the input.
    pub findings: Vec<Finding>,
}

/// The policy of one workload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GeneratedPolicy {
    /// Source of the workload.
    pub source: usize,
    /// Its place there.
    pub object: ObjectRef,
    /// Whose policy it is.
    pub identity: Identity,
    /// What the hardware signs.
    pub hash: PolicyHash,
    /// The policy itself, where [`Options::policy_texts`] asks for it.
    pub text: Option<String>,
    /// What it was made from, where [`Options::policy_facts`] asks for it.
    pub facts: Option<Box<Facts>>,
    /// How much it lets the host see.
    pub profile: Profile,
    /// The platform it is for.
    pub platform: &'static Platform,
    /// Number of vCPUs of the guest.
    pub vcpus: u32,
    /// Whether it is the Coordinator's.
    pub coordinator: bool,
}

/// How grave it is that something may have been forgotten.
pub(crate) fn omission(config: &Confidential) -> Severity {
    match config.strict {
        true => Severity::Error,
        false => Severity::Warning,
    }
}
