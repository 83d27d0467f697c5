//! The data of one container, and the parts containers share.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::codes::policy as codes;
use nacre_imagelock::{Entry, ImageReference, ResolvedUser};
use nacre_manifest::Profile;
use serde_json::{Map, Value, json};

use crate::env;
use crate::input::WorkloadInput;
use crate::mounts::{self, Mount, Mounts, Volume};
use crate::notes::Notes;
use crate::pod::{self, Role, flag, security, text};
use crate::process::{
    UserProblem, allows_escalation, arguments, capabilities, command, exec_probes, flag_of, join,
    resolve_user, working_dir,
};
use crate::value::Text;

/// Parts of the data that containers refer to by name.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) bases: Map<String, Value>,
    pub(crate) storages: BTreeMap<String, Value>,
    pub(crate) nested: BTreeSet<[String; 2]>,
    pub(crate) blocks: bool,
    pub(crate) devices: bool,
    pub(crate) files: BTreeSet<String>,
}

impl Shared {
    pub(crate) fn base(&mut self, name: &str, mounts: &BTreeMap<String, Mount>) -> String {
        self.bases.insert(name.to_owned(), table(mounts));
        name.to_owned()
    }
}

/// Mounts as the data have them.
pub(crate) fn table(mounts: &BTreeMap<String, Mount>) -> Value {
    let entries = mounts.iter().map(|(at, mount)| (at.clone(), mount.data()));
    Value::Object(entries.collect())
}

/// One container of the pod on its way into the data.
pub(crate) struct Container<'a, 'w> {
    pub(crate) input: &'a WorkloadInput<'w>,
    pub(crate) volumes: &'a BTreeMap<String, Volume>,
    pub(crate) role: Role,
    pub(crate) at: &'a str,
    pub(crate) container: &'a Value,
    pub(crate) name: &'a str,
}

impl<'w> Container<'_, 'w> {
    pub(crate) fn data(&self, after: &[String], shared: &mut Shared, notes: &mut Notes) -> Value {
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
        let args = arguments(&command);
        let user = self.user(entry, notes);
        let Mounts {
            mounts,
            storages,
            blocks,
            devices,
            files,
        } = mounts::mounts(input, self.volumes, container, at, entry, notes);
        let base_name = mounts::base_name(privileged, read_only);
        let base = mounts::base(input.target, read_only, privileged);
        shared
            .nested
            .extend(mounts::nested(base.keys().chain(mounts.keys())));
        shared.blocks |= !blocks.is_empty();
        shared.devices |= !devices.is_empty();
        shared.storages.extend(storages);
        shared.files.extend(files);
        let variables: BTreeMap<_, _> = environment
            .set
            .iter()
            .map(|(name, value)| (name, value.rule().into_text()))
            .collect();
        let caps = capabilities(container, privileged, at, notes);
        self.power_notes(&caps, privileged, notes);
        let logs = input.profile != Profile::Strict || input.injected.contains(self.name);
        let debug = input.profile == Profile::Debug;
        let mut out = json!({
            "kind": self.role.as_str(),
            "after": after,
            "args": args,
            "base": shared.base(base_name, &base),
            "caps": join(&caps),
            "env": variables,
            "image": self.image(),
            "mounts": table(&mounts),
            "want": {
                "cwd": working_dir(container, entry),
                "nnp": !allows_escalation(container, privileged),
                "ro": read_only,
                "tty": flag(container, "tty") == Some(true),
                "user": json!([user.uid, user.gid, user.groups, {}]),
            },
        });
        if let Some(object) = out.as_object_mut() {
            let mut put = |key: &str, value: Value| {
                object.insert(key.to_owned(), value);
            };
            let exec = exec_probes(container);
            if !exec.is_empty() {
                put("exec", json!(exec));
            }
            if privileged {
                put("masked", "".into());
                put("readonly", "".into());
            }
            if !devices.is_empty() {
                put("devices", json!(devices));
            }
            if logs {
                put("logs", true.into());
            }
            if debug {
                put("debug", true.into());
                put("stdin", true.into());
            } else if flag(container, "stdin") == Some(true) {
                notes.error(
                    codes::PROFILE_REQUIRED,
                    &format!("{at}.stdin"),
                    "the host could write to the container's input",
                );
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
        let references: Vec<_> = names.iter().map(|n| format!("{n}@{digest}")).collect();
        json!(references)
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
        // What the kubelet cannot know to be no root it does not start (`verifyRunAsNonRoot`).
        let name = entry.config.user.split(':').next().unwrap_or("");
        if non_root.and_then(Value::as_bool) == Some(true)
            && !name.is_empty()
            && name.parse::<i64>().is_err()
            && security(self.input.pod_spec, self.container, "runAsUser").is_none()
        {
            notes.error(
                codes::RUNS_AS_ROOT,
                &format!("{}.securityContext", self.at),
                format!(
                    "runAsNonRoot needs a number, and the image's user is {name:?}: set runAsUser"
                ),
            );
        }
        user
    }

    /// A container that leads the guest gets at whatever the guest has.
    fn power_notes(&self, caps: &BTreeSet<&str>, privileged: bool, notes: &mut Notes) {
        let injected = &self.input.injected;
        if privileged || injected.contains(self.name) || injected.report_sources.is_empty() {
            return;
        }
        let powers: Vec<_> = caps
            .iter()
            .copied()
            .filter(|cap| injected.report_capabilities.contains(cap))
            .collect();
        if !powers.is_empty() {
            notes.error(
                codes::REPORT_SOURCE,
                &format!("{}.securityContext.capabilities", self.at),
                format!(
                    "container {:?} has {} and could obtain attestation reports",
                    self.name,
                    powers.join(", ")
                ),
            );
        }
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
    }
}

fn object_at(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(Value::is_object)
}
