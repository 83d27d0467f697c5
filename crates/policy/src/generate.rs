//! From a finished pod to the data of its policy, and the policy text.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::Finding;
use nacre_findings::codes::policy as codes;
use nacre_imagelock::{Entry, ImageReference, ResolvedUser, UserError, UserRequest};
use nacre_manifest::Profile;
use serde_json::{Map, Value, json};

use crate::carrier::{Carried, Carrier, MAX_ANNOTATIONS};
use crate::env::{self, Env};
use crate::evaluate::{EvaluateError, Session};
use crate::input::WorkloadInput;
use crate::mounts::{self, Mounts, Volume};
use crate::notes::Notes;
use crate::pod::{self, Role, flag, list, security, text};
use crate::rules::{DATA_HEAD, RULES};
use crate::target::ImageDelivery;
use crate::value::{IP, Rule, Text};
use crate::{support, text as layout};

/// Name under which the rules know the sandbox's own container.
pub(crate) const PAUSE: &str = ".";

/// Default capabilities (containerd `oci.defaultUnixCaps`), sorted, without prefix.
pub(crate) const DEFAULT_CAPS: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Every capability of Linux 5.9 and later (`capability.h` up to `CHECKPOINT_RESTORE`), sorted.
pub(crate) const ALL_CAPS: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Paths hidden in a container that is not privileged (containerd `oci.populateDefaultUnixSpec`).
pub(crate) const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

/// Paths it cannot write to.
pub(crate) const READONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// A policy and what there is to say about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Rules and data, as the guest loads them.
    pub text: String,
    /// Warnings and notes; never errors.
    pub findings: Vec<Finding>,
    /// The profile it was made for.
    pub profile: Profile,
    pub(crate) data: Value,
}

impl Policy {
    /// Packs the policy for a platform.
    pub fn carrier(&self, carrier: Carrier) -> Carried {
        carrier.pack(&self.text)
    }

    /// The data part as a value.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// A guest with this policy; the rules are parsed once per process.
    pub fn session(&self) -> Result<Session, EvaluateError> {
        Session::with_data(self.data.clone())
    }
}

/// Makes the policy of a workload, or says everything that stands in its way.
pub fn generate(input: &WorkloadInput<'_>) -> Result<Policy, Vec<Finding>> {
    let mut notes = Notes::new(input);
    let data = data(input, &mut notes);
    if notes.has_errors() {
        return Err(notes.into_findings());
    }
    let mut text = String::with_capacity(RULES.len() + 16 * 1024);
    text.push_str(RULES);
    text.push('\n');
    text.push_str(&format!("policy_data := {}\n", layout::term(&data)));
    debug_assert!(
        text.contains(DATA_HEAD),
        "the data part begins with its head line"
    );
    if text.len() > MAX_ANNOTATIONS / 4 * 3 {
        notes.error(
            codes::TOO_LARGE,
            "",
            format!(
                "the policy has {} bytes, the annotations of an object at most {MAX_ANNOTATIONS}",
                text.len()
            ),
        );
        return Err(notes.into_findings());
    }
    Ok(Policy {
        text,
        findings: notes.into_findings(),
        profile: input.profile,
        data,
    })
}

/// Evaluates the requests that the pod itself will cause; each must pass.
pub fn self_check(policy: &Policy, input: &WorkloadInput<'_>) -> Result<(), Finding> {
    let fail = |message: String| {
        let mut notes = Notes::new(input);
        notes.error(codes::SELF_CHECK, "", message);
        notes
            .into_findings()
            .pop()
            .unwrap_or_else(|| Finding::error(codes::SELF_CHECK, ""))
    };
    let mut session = policy.session().map_err(|e| fail(e.to_string()))?;
    let mut files = BTreeSet::new();
    for request in crate::request::life(input) {
        // The same file in the next container asks the same question.
        if request.message == "CopyFileRequest" {
            let path = text(&request.input, "path").unwrap_or("");
            let name = path.get(path.len().min(121)..).unwrap_or(path);
            if !files.insert(name.to_owned()) {
                continue;
            }
        }
        match session.request(request.message, &request.input) {
            Ok(decision) if decision.allowed => {}
            Ok(decision) => {
                let why = decision
                    .denial()
                    .map(|d| d.checks.join(", "))
                    .unwrap_or_default();
                return Err(fail(format!("{} was denied ({why})", request.title)));
            }
            Err(error) => return Err(fail(format!("{}: {error}", request.title))),
        }
    }
    Ok(())
}

/// The data of the rules.
fn data(input: &WorkloadInput<'_>, notes: &mut Notes) -> Value {
    let Some(spec) = input.pod_spec.as_object() else {
        notes.error(codes::INVALID_POD, "", "the pod has no specification");
        return Value::Null;
    };
    for obstacle in support::check(spec) {
        notes.error(codes::UNSUPPORTED_FIELD, &obstacle.path, obstacle.reason);
    }
    if list(input.pod_spec, "containers").is_empty() {
        notes.error(
            codes::INVALID_POD,
            "containers",
            "the pod has no containers",
        );
    }
    if input.target.image_delivery == ImageDelivery::Tardev {
        refuse_tardev(input, notes);
        return Value::Null;
    }
    pod_notes(input, notes);

    let pod_name = pod::name_pattern(input.kind, input.name);
    let volumes = mounts::volumes(input, notes);
    let mut shared = Shared::default();
    shared.caps(&BTreeSet::new());
    let mut containers = Map::new();
    containers.insert(PAUSE.to_owned(), pause(input, &mut shared));
    let mut after: Vec<String> = vec![PAUSE.to_owned()];
    for (role, at, container) in pod::containers(input.pod_spec) {
        let name = text(container, "name").unwrap_or("");
        if !is_name(name) {
            notes.error(
                codes::INVALID_POD,
                &format!("{at}.name"),
                "not a container name",
            );
            continue;
        }
        let one = Container {
            input,
            volumes: &volumes,
            role,
            at: &at,
            container,
            name,
        };
        let value = one.data(&pod_name, &after, &mut shared, notes);
        if containers.insert(name.to_owned(), value).is_some() {
            notes.error(
                codes::INVALID_POD,
                &format!("{at}.name"),
                format!("two containers have the name {name:?}"),
            );
        }
        if role != Role::App {
            after.push(name.to_owned());
        }
    }
    shared
        .files
        .extend(mounts::FILES.iter().map(|name| (*name).to_owned()));
    json!({
        "target": input.target.data(),
        "pod": {
            "name": pod_name,
            "namespace": input.namespace(),
            "hostname": hostname_pattern(input),
            "pidns": flag(input.pod_spec, "shareProcessNamespace") == Some(true),
            "dns": dns(input.pod_spec),
            "files": shared.files,
            "annotations": annotations(input),
        },
        "profile": input.profile.as_str(),
        "caps": shared.caps,
        "mounts": shared.bases,
        "paths": shared.paths,
        "volumes": shared.blocks.iter().map(|name| (name.clone(), mounts::block_storage(input.pod_spec))).collect::<Map<_, _>>(),
        "containers": containers,
    })
}

/// Parts of the data that containers refer to by name.
#[derive(Default)]
struct Shared {
    caps: Map<String, Value>,
    bases: Map<String, Value>,
    paths: Map<String, Value>,
    blocks: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Shared {
    fn caps(&mut self, caps: &BTreeSet<&str>) -> String {
        let name = if caps.is_empty() {
            "none".to_owned()
        } else if caps.iter().eq(DEFAULT_CAPS) {
            "default".to_owned()
        } else if caps.iter().eq(ALL_CAPS) {
            "all".to_owned()
        } else {
            caps.iter()
                .copied()
                .collect::<Vec<_>>()
                .join("+")
                .to_ascii_lowercase()
        };
        self.caps.insert(name.clone(), json!(caps));
        name
    }

    fn base(&mut self, name: &str, mounts: BTreeMap<String, Value>) -> String {
        self.bases.insert(name.to_owned(), json!(mounts));
        name.to_owned()
    }

    fn paths(&mut self, privileged: bool) -> &'static str {
        let (name, masked, readonly) = match privileged {
            true => ("open", &[][..], &[][..]),
            false => ("default", MASKED, READONLY),
        };
        self.paths.insert(
            name.to_owned(),
            json!({"masked": masked, "readonly": readonly}),
        );
        name
    }
}

/// The sandbox's own container. Its process comes from the measured guest (the agent replaces
/// what the host sends), so neither user nor image digest is the host's to choose.
fn pause(input: &WorkloadInput<'_>, shared: &mut Shared) -> Value {
    let mounts = mounts::pause();
    let nested = mounts::nested(mounts.keys());
    shared.files.insert("resolv.conf".to_owned());
    let sysctls: BTreeMap<_, _> = security(input.pod_spec, &Value::Null, "sysctls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|s| Some((text(s, "name")?, text(s, "value")?)))
        .collect();
    json!({
        "kind": "pause",
        "after": [],
        "annotations": {
            "io.katacontainers.pkg.oci.container_type": "pod_sandbox",
            "io.kubernetes.cri.container-type": "sandbox",
        },
        "args": ["/pause"],
        "base": shared.base("pause", mounts),
        "caps": shared.caps(&DEFAULT_CAPS.iter().copied().collect()),
        "devices": [],
        "env": [format!("PATH={}", env::DEFAULT_PATH)],
        "free": {"HOSTNAME": "@host"},
        "must": [],
        "image": {"names": input.target.pause_names},
        "mounts": {},
        "nested": nested,
        "paths": shared.paths(false),
        "ro": true,
        "storages": [],
        "sysctl": sysctls,
        "want": {"cwd": "/", "nnp": true, "pidns": flag(input.pod_spec, "shareProcessNamespace") == Some(true), "tty": false},
    })
}

struct Container<'a, 'w> {
    input: &'a WorkloadInput<'w>,
    volumes: &'a BTreeMap<String, Volume>,
    role: Role,
    at: &'a str,
    container: &'a Value,
    name: &'a str,
}

impl<'w> Container<'_, 'w> {
    fn data(
        &self,
        pod_name: &str,
        after: &[String],
        shared: &mut Shared,
        notes: &mut Notes,
    ) -> Value {
        let (input, container, at) = (self.input, self.container, self.at);
        let entry = self.entry(notes);
        let privileged = flag_of(container, "privileged");
        let read_only = flag_of(container, "readOnlyRootFilesystem");
        self.security_notes(privileged, notes);

        let environment = env::env(input, container, at, entry, notes);
        let command = command(container, entry, &environment);
        if command.iter().any(Text::holds_secret) {
            notes.error(
                codes::SECRET_ENV_REFUSED,
                &format!("{at}.args"),
                "an argument holds a Secret's value: the host would choose a part of the command",
            );
        }
        let args = arguments(&command, pod_name);
        let user = self.user(entry, notes);
        let Mounts {
            mounts,
            storages,
            blocks,
            devices,
            files,
        } = mounts::mounts(input, self.volumes, container, at, entry, notes);
        let base_name = match (privileged, read_only) {
            (false, false) => "app",
            (false, true) => "app-ro",
            (true, false) => "open",
            (true, true) => "open-ro",
        };
        let base = mounts::base(input.target, read_only, privileged);
        let nested = mounts::nested(base.keys().chain(mounts.keys()));
        shared.blocks.extend(blocks);
        shared.files.extend(files);

        let (mut fixed, mut free) = (Vec::new(), BTreeMap::new());
        for (name, value) in &environment.set {
            match value.rule(pod_name) {
                Rule::Exact(value) => fixed.push(format!("{name}={value}")),
                Rule::Rule(rule) => {
                    free.insert(name.clone(), rule);
                }
            }
        }
        let mut must: Vec<_> = free.keys().filter(|n| *n != "HOSTNAME").cloned().collect();
        must.sort_unstable();
        for (name, value) in &environment.optional {
            let rule = match value.rule(pod_name) {
                Rule::Exact(value) => format!("={value}"),
                Rule::Rule(rule) => rule,
            };
            free.insert(name.clone(), rule);
        }
        let caps = capabilities(container, privileged, at, notes);
        let logs = input.profile != Profile::Strict || input.injected.contains(self.name);
        let debug = input.profile == Profile::Debug;
        let mut out = json!({
            "kind": self.role.as_str(),
            "after": after,
            "annotations": {
                "io.katacontainers.pkg.oci.container_type": "pod_container",
                "io.kubernetes.cri.container-name": self.name,
                "io.kubernetes.cri.container-type": "container",
            },
            "args": args,
            "base": shared.base(base_name, base),
            "caps": shared.caps(&caps),
            "devices": devices,
            "env": fixed,
            "free": free,
            "must": must,
            "exec": exec_probes(container),
            "image": self.image(),
            "mounts": mounts,
            "nested": nested,
            "paths": shared.paths(privileged),
            "ro": read_only,
            "storages": storages,
            "sysctl": {},
            "want": {
                "cwd": working_dir(container, entry),
                "nnp": !allows_escalation(container, privileged),
                "pidns": flag(input.pod_spec, "shareProcessNamespace") == Some(true),
                "tty": flag(container, "tty") == Some(true),
                "user": json!([user.uid, user.gid, user.groups, ""]),
            },
        });
        if let Some(object) = out.as_object_mut() {
            let mut put = |key: &str, value: Value| {
                object.insert(key.to_owned(), value);
            };
            if logs {
                put("logs", true.into());
            }
            if debug {
                put("debug", true.into());
            }
            if flag(container, "stdin") == Some(true) {
                if debug {
                    put("stdin", true.into());
                } else {
                    notes.error(
                        codes::PROFILE_REQUIRED,
                        &format!("{at}.stdin"),
                        "the host could write to the container's input",
                    );
                }
            }
        }
        out
    }

    /// The lock entry of the image, which must be pinned.
    fn entry(&self, notes: &mut Notes) -> Option<&'w Entry> {
        let at = format!("{}.image", self.at);
        let Some(image) = text(self.container, "image").filter(|image| !image.is_empty()) else {
            notes.error(codes::INVALID_POD, &at, "the container has no image");
            return None;
        };
        let reference = match ImageReference::parse(image) {
            Ok(reference) => reference,
            Err(error) => {
                notes.error(codes::IMAGE_UNPINNED, &at, error.to_string());
                return None;
            }
        };
        let Some(digest) = reference.digest() else {
            notes.error(
                codes::IMAGE_UNPINNED,
                &at,
                format!("{image:?} has no digest"),
            );
            return None;
        };
        let Some(entry) = (self.input.images)(image) else {
            notes.error(
                codes::IMAGE_UNPINNED,
                &at,
                format!("{image:?} is not in the image lock"),
            );
            return None;
        };
        if entry.digest != *digest && entry.index_digest.as_ref() != Some(digest) {
            notes.error(
                codes::IMAGE_UNPINNED,
                &at,
                format!("the lock has {} for {image:?}", entry.digest),
            );
            return None;
        }
        Some(entry)
    }

    /// What the host may call the image: containerd names it as the user wrote it, with and
    /// without tag, or normalised.
    fn image(&self) -> Value {
        let parsed = text(self.container, "image").and_then(|i| ImageReference::parse(i).ok());
        let Some(reference) = parsed else {
            return Value::Null;
        };
        let Some(digest) = reference.digest() else {
            return Value::Null;
        };
        let mut names = BTreeSet::new();
        for name in [
            reference.name().to_owned(),
            format!("{}/{}", reference.registry(), reference.repository()),
        ] {
            names.insert(format!("{name}:{}", reference.tag_or_latest()));
            names.insert(name);
        }
        if reference.tag().is_none() {
            names.retain(|name| !name.ends_with(":latest"));
        }
        json!({"digest": digest.to_string(), "names": names})
    }

    fn user(&self, entry: Option<&Entry>, notes: &mut Notes) -> ResolvedUser {
        let unknown = ResolvedUser {
            uid: 0,
            gid: 0,
            groups: vec![0],
            username: None,
        };
        let Some(entry) = entry else { return unknown };
        let user = match resolve_user(self.input, self.container, entry) {
            Ok(user) => user,
            Err(UserProblem::Field(key)) => {
                let at = format!("{}.securityContext.{key}", self.at);
                notes.error(codes::INVALID_POD, &at, "not a user or group id");
                return unknown;
            }
            Err(UserProblem::Image(error)) => {
                let at = format!("{}.image", self.at);
                notes.error(codes::USER_UNRESOLVED, &at, error.to_string());
                return unknown;
            }
        };
        let non_root = security(self.input.pod_spec, self.container, "runAsNonRoot");
        if non_root.and_then(Value::as_bool) == Some(true) && user.uid == 0 {
            notes.error(
                codes::RUNS_AS_ROOT,
                &format!("{}.securityContext", self.at),
                "runAsNonRoot is set and the user is root",
            );
        }
        user
    }

    fn security_notes(&self, privileged: bool, notes: &mut Notes) {
        let at = format!("{}.securityContext", self.at);
        if privileged
            && !self.input.injected.contains(self.name)
            && !self.input.injected.report_sources.is_empty()
        {
            notes.error(
                codes::REPORT_SOURCE,
                &format!("{at}.privileged"),
                format!(
                    "container {:?} is privileged and could obtain attestation reports",
                    self.name
                ),
            );
        }
        if let Some(mount) = self
            .container
            .get("securityContext")
            .and_then(|s| text(s, "procMount"))
            && mount != "Default"
        {
            notes.error(
                codes::UNSUPPORTED_FIELD,
                &format!("{at}.procMount"),
                "only Default is supported",
            );
        }
        for key in ["seccompProfile", "appArmorProfile", "seLinuxOptions"] {
            if self
                .container
                .get("securityContext")
                .is_some_and(|s| object_at(s, key))
            {
                notes.info(
                    codes::INERT_FIELD,
                    &format!("{at}.{key}"),
                    "the field has no effect inside the guest",
                );
            }
        }
        let resources = self.container.get("resources");
        for kind in ["limits", "requests"] {
            for key in resources
                .and_then(|r| pod::object(r, kind))
                .into_iter()
                .flat_map(|m| m.keys())
            {
                let plain = matches!(key.as_str(), "cpu" | "memory" | "ephemeral-storage");
                if !plain && !key.starts_with("hugepages-") {
                    notes.error(
                        codes::UNSUPPORTED_FIELD,
                        &format!("{}.resources.{kind}", self.at),
                        format!("{key:?} adds devices that the policy cannot bind"),
                    );
                }
            }
        }
        if resources.is_some_and(|r| !list(r, "claims").is_empty()) {
            notes.error(
                codes::UNSUPPORTED_FIELD,
                &format!("{}.resources.claims", self.at),
                "devices of claims are not bound",
            );
        }
    }
}

/// Why a user cannot be told.
pub(crate) enum UserProblem {
    /// A field of a security context is no id.
    Field(&'static str),
    /// The image's facts do not resolve it.
    Image(UserError),
}

/// Who a container runs as: the pod's security context over the image's `USER`.
pub(crate) fn resolve_user(
    input: &WorkloadInput<'_>,
    container: &Value,
    entry: &Entry,
) -> Result<ResolvedUser, UserProblem> {
    let spec = input.pod_spec;
    let narrow = |value: &Value, key| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or(UserProblem::Field(key))
    };
    let id = |key| {
        security(spec, container, key)
            .map(|value| narrow(value, key))
            .transpose()
    };
    let pod = |key| security(spec, &Value::Null, key);
    let mut groups = Vec::new();
    for group in pod("supplementalGroups")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        groups.push(narrow(group, "supplementalGroups")?);
    }
    if let Some(group) = pod("fsGroup") {
        groups.push(narrow(group, "fsGroup")?);
    }
    let request = UserRequest {
        run_as_user: id("runAsUser")?,
        run_as_group: id("runAsGroup")?,
        supplemental_groups: groups,
        strict_groups: pod("supplementalGroupsPolicy").and_then(Value::as_str) == Some("Strict"),
    };
    entry.resolve_user(&request).map_err(UserProblem::Image)
}

/// Findings about the pod as a whole.
fn pod_notes(input: &WorkloadInput<'_>, notes: &mut Notes) {
    if flag(input.pod_spec, "hostUsers") == Some(false) {
        notes.error(
            codes::UNSUPPORTED_FIELD,
            "hostUsers",
            "user namespaces are not bound",
        );
    }
    let os = input.pod_spec.get("os").and_then(|os| text(os, "name"));
    if os.is_some_and(|os| os != "linux") {
        notes.error(
            codes::UNSUPPORTED_FIELD,
            "os.name",
            "only linux is supported",
        );
    }
    if flag(input.pod_spec, "enableServiceLinks") != Some(false) {
        notes.warning(
            codes::SERVICE_LINKS,
            "enableServiceLinks",
            "the host chooses the addresses in the variables of Services",
        );
    }
    for (index, volume) in list(input.pod_spec, "volumes").iter().enumerate() {
        let inside = volume.get("emptyDir").is_some()
            || volume
                .get("hostPath")
                .and_then(|h| text(h, "path"))
                .is_some_and(|p| {
                    ["/dev", "/sys", "/proc"]
                        .iter()
                        .any(|d| p == *d || mounts::below(p, d))
                });
        if !inside {
            let name = text(volume, "name").unwrap_or("");
            notes.info(
                codes::HOST_CONTENT,
                &format!("volumes[{index}]"),
                format!("the host writes the content of volume {name:?}"),
            );
        }
    }
    if input.profile != Profile::Strict {
        notes.warning(
            codes::WEAK_PROFILE,
            "",
            format!(
                "profile {} lets the host {}",
                input.profile,
                match input.profile {
                    Profile::Debug => "run commands in the containers and read what they print",
                    _ => "read what the containers print",
                }
            ),
        );
    }
}

/// Tardev needs the verity root of every layer; the rules for it do not exist in this version.
fn refuse_tardev(input: &WorkloadInput<'_>, notes: &mut Notes) {
    for (_, at, container) in pod::containers(input.pod_spec) {
        let entry = text(container, "image").and_then(|image| (input.images)(image));
        let missing = entry.is_none_or(|e| {
            e.layers.is_empty() || e.layers.iter().any(|layer| layer.verity_root.is_none())
        });
        let what = if missing {
            "the lock has no dm-verity root for every layer of the image"
        } else {
            "dm-verity roots are not bound by these rules: they could not be checked against a guest"
        };
        notes.error(codes::NO_VERITY_ROOT, &format!("{at}.image"), what);
    }
}

/// Command and arguments: the pod's over the image's, expanded.
pub(crate) fn command(container: &Value, entry: Option<&Entry>, env: &Env) -> Vec<Text> {
    let expand = |items: Vec<String>| -> Vec<Text> {
        items
            .iter()
            .map(|item| Text::expand(item, &env.expansion))
            .collect()
    };
    let literal = |items: &[String]| -> Vec<Text> { items.iter().map(Text::literal).collect() };
    let (command, args) = (
        pod::texts(container, "command"),
        pod::texts(container, "args"),
    );
    let (entrypoint, cmd) = entry.map_or((&[][..], &[][..]), |e| {
        (&e.config.entrypoint[..], &e.config.cmd[..])
    });
    match (command.is_empty(), args.is_empty()) {
        (true, true) => [literal(entrypoint), literal(cmd)].concat(),
        (true, false) => [literal(entrypoint), expand(args)].concat(),
        (false, true) => expand(command),
        (false, false) => [expand(command), expand(args)].concat(),
    }
}

/// Arguments for the rules: texts, and patterns where there are gaps.
fn arguments(command: &[Text], pod_name: &str) -> Vec<Value> {
    command
        .iter()
        .map(|arg| match arg.rule(pod_name) {
            Rule::Exact(text) => text.into(),
            Rule::Rule(rule) => json!({"re": anchored(&rule, pod_name)}),
        })
        .collect()
}

/// Rules about the state as patterns: arguments have no other.
fn anchored(rule: &str, pod_name: &str) -> String {
    match rule {
        "@pod" | "@host" => pod_name.to_owned(),
        "@uid" => "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$".to_owned(),
        "@ip" => format!("^{IP}$"),
        rule => rule.to_owned(),
    }
}

/// Commands that probes and lifecycle hooks run in the container; the kubelet does not expand
/// them.
pub(crate) fn exec_probes(container: &Value) -> Vec<Vec<String>> {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"]
        .iter()
        .filter_map(|key| container.get(key));
    let hooks = ["postStart", "preStop"]
        .iter()
        .filter_map(|key| container.get("lifecycle").and_then(|l| l.get(key)));
    let mut out: Vec<Vec<String>> = Vec::new();
    for handler in probes.chain(hooks) {
        if let Some(exec) = handler.get("exec") {
            let command = pod::texts(exec, "command");
            if !command.is_empty() && !out.contains(&command) {
                out.push(command);
            }
        }
    }
    out
}

/// The working directory: the pod's, else the image's, else `/`.
pub(crate) fn working_dir(container: &Value, entry: Option<&Entry>) -> String {
    let own = text(container, "workingDir").filter(|dir| !dir.is_empty());
    let image = entry
        .map(|e| e.config.working_dir.as_str())
        .filter(|dir| !dir.is_empty());
    own.or(image).unwrap_or("/").to_owned()
}

/// containerd: privileged means all; otherwise the default set, plus `add`, minus `drop`.
pub(crate) fn capabilities<'a>(
    container: &'a Value,
    privileged: bool,
    at: &str,
    notes: &mut Notes,
) -> BTreeSet<&'static str> {
    if privileged {
        return ALL_CAPS.iter().copied().collect();
    }
    let caps: &'a Value = container
        .get("securityContext")
        .and_then(|s| s.get("capabilities"))
        .unwrap_or(&Value::Null);
    let mut set: BTreeSet<&'static str> = DEFAULT_CAPS.iter().copied().collect();
    let mut named = |key: &str| {
        let mut out = Vec::new();
        for (index, name) in pod::texts(caps, key).iter().enumerate() {
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            match ALL_CAPS.iter().find(|known| **known == bare) {
                Some(known) => out.push(*known),
                None if bare == "ALL" => out.extend(ALL_CAPS),
                None => notes.error(
                    codes::UNSUPPORTED_FIELD,
                    &format!("{at}.securityContext.capabilities.{key}[{index}]"),
                    format!("no capability {name:?} is known"),
                ),
            }
        }
        out
    };
    // `ALL` on either side is applied first (`customopts.WithCapabilities`).
    let (add, drop) = (named("add"), named("drop"));
    let all = |key: &str| {
        pod::texts(caps, key)
            .iter()
            .any(|c| c.eq_ignore_ascii_case("ALL"))
    };
    if all("add") {
        set.extend(ALL_CAPS);
    }
    if all("drop") {
        set.clear();
    }
    if !all("add") {
        set.extend(add);
    }
    if !all("drop") {
        set.retain(|cap| !drop.contains(cap));
    }
    set
}

/// `allowPrivilegeEscalation`, `true` where nothing is said, and always if privileged.
pub(crate) fn allows_escalation(container: &Value, privileged: bool) -> bool {
    let said = container
        .get("securityContext")
        .and_then(|s| flag(s, "allowPrivilegeEscalation"));
    said.unwrap_or(true) || privileged
}

pub(crate) fn flag_of(container: &Value, key: &str) -> bool {
    container.get("securityContext").and_then(|s| flag(s, key)) == Some(true)
}

fn object_at(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(Value::is_object)
}

/// The host name the kubelet gives the sandbox.
fn hostname_pattern(input: &WorkloadInput<'_>) -> String {
    let label = match text(input.pod_spec, "hostname").filter(|name| !name.is_empty()) {
        Some(name) => crate::value::escape(name),
        None => {
            let pattern = pod::name_pattern(input.kind, input.name);
            let inner = pattern
                .trim_start_matches('^')
                .trim_end_matches('$')
                .to_owned();
            // Names over 63 characters are cut; only a long base can lead there.
            if input.name.len() + 24 > 63 {
                let cut = input
                    .name
                    .get(..input.name.len().min(39))
                    .unwrap_or(input.name);
                format!("{}[a-z0-9.-]{{0,24}}", crate::value::escape(cut))
            } else {
                inner
            }
        }
    };
    if flag(input.pod_spec, "setHostnameAsFQDN") == Some(true) {
        let subdomain = text(input.pod_spec, "subdomain").unwrap_or("");
        let subdomain = crate::value::escape(subdomain);
        let namespace = crate::value::escape(input.namespace());
        return format!("^{label}(\\.{subdomain}\\.{namespace}\\.svc\\.[a-z0-9.-]+)?$");
    }
    format!("^{label}$")
}

/// With `dnsPolicy: None` the resolver's configuration is the pod's own.
fn dns(spec: &Value) -> Value {
    if text(spec, "dnsPolicy") != Some("None") {
        return Value::Null;
    }
    json!(dns_lines(spec))
}

/// The lines of resolv.conf as containerd writes them (`pkg/cri/server`, `parseDNSOptions`).
pub(crate) fn dns_lines(spec: &Value) -> Vec<String> {
    let config = spec.get("dnsConfig").unwrap_or(&Value::Null);
    let mut lines = Vec::new();
    let searches = pod::texts(config, "searches");
    if !searches.is_empty() {
        lines.push(format!("search {}", searches.join(" ")));
    }
    lines.extend(
        pod::texts(config, "nameservers")
            .iter()
            .map(|s| format!("nameserver {s}")),
    );
    let options: Vec<_> = list(config, "options")
        .iter()
        .filter_map(|o| {
            let name = text(o, "name")?;
            Some(match text(o, "value") {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            })
        })
        .collect();
    if !options.is_empty() {
        lines.push(format!("options {}", options.join(" ")));
    }
    lines
}

/// Shapes of the annotations a request may have: the runtime's own, and those of the pod that
/// it passes on (containerd's `pod_annotations` for Kata).
fn annotations(input: &WorkloadInput<'_>) -> BTreeMap<String, String> {
    let mut out = input.target.annotations();
    for (key, value) in pod::object(input.pod_metadata, "annotations")
        .into_iter()
        .flatten()
    {
        if key.starts_with("io.katacontainers.")
            && let Some(value) = value.as_str()
        {
            let shape = format!("^{}$", crate::value::escape(value));
            out.entry(key.clone()).or_insert(shape);
        }
    }
    out
}

/// A DNS label, so that it is also a safe key of the policy's state.
fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
