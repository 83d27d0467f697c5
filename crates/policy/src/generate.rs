//! From a finished pod to the data of its policy, and the policy text.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::Finding;
use nacre_findings::codes::policy as codes;
use nacre_manifest::Profile;
use serde_json::{Map, Value, json};

use crate::carrier::{Carried, Carrier};
use crate::container::{Container, Shared};
use crate::env;
use crate::evaluate::{EvaluateError, Session};
use crate::input::WorkloadInput;
use crate::mounts;
use crate::names::{dns, hostname_pattern, hostname_rule};
use crate::notes::Notes;
use crate::pod::{self, Role, flag, list, security, service_account, text};
use crate::process::DEFAULT_CAPS;
use crate::rules::{self, DATA_HEAD, RULES};
use crate::target::ImageDelivery;
use crate::value::{Free, Text};
use crate::view::View;
use crate::{support, text as layout};

/// Name under which the rules know the sandbox's own container.
pub(crate) const PAUSE: &str = ".";

/// Longest policy that every engine of a guest reads, in bytes (regorus 0.9; what the annotations of the
/// finished object weigh is for its writer to check).
const MAX_TEXT: usize = 1024 * 1024;

/// A policy and what there is to say about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Rules and data, as the guest loads them.
    pub text: String,
    /// Warnings and notes; never errors.
    pub findings: Vec<Finding>,
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

    /// The profile that the policy amounts to, by what it lets the host do with each container. `ours` says
    /// which containers the transformation injected, or that the workload is the Coordinator: their output may
    /// be read in every profile.
    pub fn profile(&self, ours: &dyn Fn(&str) -> bool) -> Profile {
        let containers = View::of(self).containers().into_iter();
        let profiles = containers.map(|container| {
            if container.debug() || container.stdin() {
                Profile::Debug
            } else if container.logs() && !ours(container.name) {
                Profile::Logs
            } else {
                Profile::Strict
            }
        });
        profiles.max().unwrap_or(Profile::Strict)
    }

    /// The name of its rules. Those of a text that has changed since it was read are the present ones.
    pub fn rules(&self) -> &'static str {
        rules::version_in(&self.text).unwrap_or(rules::VERSION)
    }

    /// A guest with this policy; the present rules are parsed once per process.
    pub fn session(&self) -> Result<Session, EvaluateError> {
        match self.text.starts_with(RULES) {
            true => Session::with_data(&self.data),
            // Rules of an earlier version judge as their text says, not as the present ones do.
            false => Session::load(&self.text),
        }
    }
}

/// Makes the policy of a workload, or says everything that stands in its way.
pub fn generate(input: &WorkloadInput<'_>) -> Result<Policy, Vec<Finding>> {
    let mut notes = Notes::new(input);
    let data = data(input, &mut notes);
    if notes.has_errors() {
        return Err(notes.into_findings());
    }
    let text = assemble(&data);
    if text.len() > MAX_TEXT {
        notes.error(
            codes::TOO_LARGE,
            "",
            format!(
                "the policy has {} bytes, guests read at most {MAX_TEXT}",
                text.len()
            ),
        );
        return Err(notes.into_findings());
    }
    Ok(Policy {
        text,
        findings: notes.into_findings(),
        data,
    })
}

/// The one text of these data.
pub(crate) fn assemble(data: &Value) -> String {
    let mut text = String::with_capacity(RULES.len() + 16 * 1024);
    text.push_str(RULES);
    text.push('\n');
    text.push_str(&format!("policy_data := {}\n", layout::term(data)));
    debug_assert!(
        text.contains(DATA_HEAD),
        "the data part begins with its head line"
    );
    text
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
    let mut asked = BTreeSet::new();
    for request in crate::request::life(input) {
        // The same file in the next container asks the same question, and a constant rule hears none.
        let question = match request.message {
            "CopyFileRequest" => {
                let path = text(&request.input, "path").unwrap_or("");
                Some(path.get(path.len().min(121)..).unwrap_or(path))
            }
            message => rules::is_constant(message).then_some(""),
        };
        if question.is_some_and(|question| !asked.insert((request.message, question.to_owned()))) {
            continue;
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

    let volumes = mounts::volumes(input, notes);
    let mut shared = Shared::default();
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
        let value = one.data(&after, &mut shared, notes);
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
    let mut out = json!({
        "target": input.target.data(),
        "pod": {
            "name": pod::name_pattern(input.kind, input.name),
            "namespace": input.namespace(),
            "hostname": hostname_pattern(input),
            "host": hostname_rule(input),
            "pidns": flag(input.pod_spec, "shareProcessNamespace") == Some(true),
            "files": shared.files,
            "annotations": annotations(input),
        },
        "env": optional_variables(input),
        "mounts": shared.bases,
        "nested": shared.nested,
        "containers": containers,
    });
    // What few pods need is left out of the others.
    let mut put = |part: &str, key: &str, value: Value| {
        if let Some(object) = out.pointer_mut(part).and_then(Value::as_object_mut) {
            object.insert(key.to_owned(), value);
        }
    };
    if !shared.storages.is_empty() {
        put("", "storages", json!(shared.storages));
    }
    if shared.blocks {
        put(
            "",
            "block",
            mounts::block_storage(mounts::fs_group(input.pod_spec)),
        );
        put("/target", "blocks", crate::target::BLOCKS.into());
    }
    if shared.devices {
        put("/target", "devices", json!(input.target.device_types));
    }
    if let Some(lines) = dns(input.pod_spec) {
        put("/pod", "dns", json!(lines));
    }
    out
}

/// Variables that every container may have: which of them a runtime sets depends on its version
/// and on the Services of the cluster.
fn optional_variables(input: &WorkloadInput<'_>) -> BTreeMap<String, String> {
    let mut out = env::service_variables(input);
    out.insert("HOSTNAME".to_owned(), Text::free(Free::Hostname));
    if input.profile == Profile::Debug {
        // An interactive command has it.
        out.insert("TERM".to_owned(), Text::literal("xterm"));
    }
    out.into_iter()
        .map(|(name, value)| (name, value.rule().into_text()))
        .collect()
}

/// The sandbox's own container. Its process comes from the measured guest (the agent replaces
/// what the host sends), so neither user nor image digest is the host's to choose.
fn pause(input: &WorkloadInput<'_>, shared: &mut Shared) -> Value {
    let mounts = mounts::pause();
    shared.nested.extend(mounts::nested(mounts.keys()));
    shared.files.insert("resolv.conf".to_owned());
    let sysctls: BTreeMap<_, _> = security(input.pod_spec, &Value::Null, "sysctls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|s| Some((text(s, "name")?, text(s, "value")?)))
        .collect();
    let mut out = json!({
        "kind": "pause",
        "after": [],
        "args": ["/pause"],
        "base": shared.base("pause", &mounts),
        "caps": DEFAULT_CAPS.join(" "),
        "env": {"PATH": format!("={}", env::DEFAULT_PATH)},
        "image": input.target.pause_names,
        "want": {"cwd": "/", "nnp": true, "ro": true, "tty": false},
    });
    if !sysctls.is_empty()
        && let Some(object) = out.as_object_mut()
    {
        object.insert("sysctl".to_owned(), json!(sysctls));
    }
    out
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
    if flag(input.pod_spec, "automountServiceAccountToken")
        .or(input.automount)
        .is_none()
    {
        notes.info(
            codes::TOKEN_ASSUMED,
            "automountServiceAccountToken",
            format!(
                "service account {:?} is not in the rendered set: its token is taken to be mounted",
                service_account(input.pod_spec)
            ),
        );
    }
    for (index, volume) in list(input.pod_spec, "volumes").iter().enumerate() {
        if volume.get("emptyDir").is_none() && mounts::guest_path(volume).is_none() {
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
