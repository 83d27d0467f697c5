//! Reading the data of a policy: the only place beside the rules that knows their form.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::generate::{PAUSE, Policy};
use crate::pod::{self, flag, list, object, text, texts};

/// The data of a policy.
#[derive(Clone, Copy)]
pub(crate) struct View<'p> {
    data: &'p Value,
}

/// One container of it.
#[derive(Clone, Copy)]
pub(crate) struct Container<'p> {
    pub(crate) name: &'p str,
    all: View<'p>,
    data: &'p Value,
}

/// What is known of a variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variable<'p> {
    /// All of it; the variable must be there.
    Exact(&'p str),
    /// A name for something that the state knows: pod, host, uid, address.
    State(&'static str),
    /// A shape.
    Shape,
    /// All of it or a shape, but only the runtime knows whether the variable is there.
    Optional,
    /// Nothing: it comes from a Secret.
    Anything,
}

/// Where the content of a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content<'p> {
    /// Files the host copies in.
    Host,
    /// A block device the host attaches.
    Block,
    /// A path of the guest.
    Guest(&'p str),
}

/// One mount.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mount<'p> {
    pub(crate) kind: &'p str,
    pub(crate) options: Vec<String>,
    pub(crate) content: Content<'p>,
    /// The container's own, not one that all of its sort have.
    pub(crate) own: bool,
}

impl<'p> View<'p> {
    pub(crate) fn of(policy: &'p Policy) -> Self {
        Self {
            data: policy.data(),
        }
    }

    fn part(self, key: &str) -> &'p Value {
        static NOTHING: Value = Value::Null;
        self.data.get(key).unwrap_or(&NOTHING)
    }

    pub(crate) fn container(self, name: &str) -> Option<Container<'p>> {
        let (name, data) = object(self.data, "containers")?.get_key_value(name)?;
        Some(Container {
            name,
            all: self,
            data,
        })
    }

    /// The containers without the sandbox's own, in the order in which they start.
    pub(crate) fn containers(self) -> Vec<Container<'p>> {
        let names = object(self.data, "containers").into_iter().flatten();
        let mut all: Vec<_> = names
            .filter(|(name, _)| *name != PAUSE)
            .filter_map(|(name, _)| self.container(name))
            .collect();
        all.sort_by_key(|container| container.after().len());
        all
    }

    pub(crate) fn namespace(self) -> &'p str {
        text(self.part("pod"), "namespace").unwrap_or("")
    }

    /// Pattern of the pod's name.
    pub(crate) fn pod_name(self) -> &'p str {
        text(self.part("pod"), "name").unwrap_or("")
    }

    pub(crate) fn hostname(self) -> &'p str {
        text(self.part("pod"), "hostname").unwrap_or("")
    }

    /// What the rules demand of the host name once the pod's name is known.
    pub(crate) fn host_rule(self) -> &'p str {
        text(self.part("pod"), "host").unwrap_or("")
    }

    /// The host name of a pod with this name, where it can be no other.
    pub(crate) fn host(self, pod: &str) -> Option<String> {
        Some(self.host_rule().strip_prefix('=')?.replace("{pod}", pod))
    }

    /// Lines of the resolver's configuration, where the pod gives them.
    pub(crate) fn dns(self) -> Option<&'p Value> {
        self.part("pod").get("dns").filter(|dns| dns.is_array())
    }

    /// Names under which files may be copied.
    pub(crate) fn files(self) -> Vec<String> {
        texts(self.part("pod"), "files")
    }

    pub(crate) fn shares_processes(self) -> bool {
        flag(self.part("pod"), "pidns") == Some(true)
    }

    pub(crate) fn target(self) -> &'p str {
        text(self.part("target"), "name").unwrap_or("")
    }

    pub(crate) fn oci_versions(self) -> Vec<String> {
        texts(self.part("target"), "oci")
    }

    pub(crate) fn file_size(self) -> Option<Value> {
        self.part("target").get("file_size").cloned()
    }

    pub(crate) fn sandbox_storages(self) -> &'p [Value] {
        list(self.part("target"), "storages")
    }

    /// Whether an annotation of this name may stand in a create request.
    pub(crate) fn knows_annotation(self, key: &str) -> bool {
        let fixed = [
            "io.katacontainers.pkg.oci.bundle_path",
            "io.katacontainers.pkg.oci.container_type",
            "io.kubernetes.cri.container-name",
            "io.kubernetes.cri.container-type",
            "io.kubernetes.cri.sandbox-id",
            "io.kubernetes.cri.sandbox-name",
            "io.kubernetes.cri.sandbox-namespace",
        ];
        let shapes = self.part("pod").get("annotations");
        fixed.contains(&key) || shapes.is_some_and(|shapes| shapes.get(key).is_some())
    }

    /// The state of a guest in which everything before a request happened, with what the request
    /// itself says about the cluster.
    pub(crate) fn state(self, before: &Before<'_>) -> Value {
        let mut sandbox = Map::new();
        for (key, value) in [
            ("{sid}", before.sandbox),
            ("{host}", before.hostname),
            ("{pod}", before.pod),
            ("{uid}", before.uid),
        ] {
            if let Some(value) = value {
                sandbox.insert(key.to_owned(), value.into());
            }
        }
        let started = json!({"id": "0".repeat(64), "up": true, "been": true});
        let instances = before
            .started
            .iter()
            .map(|name| (name.clone(), started.clone()));
        let mut instances: Map<String, Value> = instances.collect();
        let mut ids = Map::new();
        if let Some((name, id, up)) = before.current {
            instances.insert(name.to_owned(), json!({"id": id, "up": up, "been": true}));
            ids.insert(id.to_owned(), name.into());
        }
        let addresses = before.addresses.iter().map(|a| json!({ "address": a }));
        json!({
            "s": sandbox, "c": ids, "n": instances, "k": {}, "v": {},
            "if": {"eth0": {"name": "eth0", "IPAddresses": addresses.collect::<Vec<_>>()}},
        })
    }
}

/// What happened before a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before<'r> {
    pub(crate) sandbox: Option<&'r str>,
    pub(crate) hostname: Option<&'r str>,
    pub(crate) pod: Option<&'r str>,
    pub(crate) uid: Option<&'r str>,
    pub(crate) addresses: Vec<&'r str>,
    /// Containers that were started.
    pub(crate) started: Vec<String>,
    /// A container that was created under an id, and whether it was started.
    pub(crate) current: Option<(&'r str, &'r str, bool)>,
}

impl<'p> Container<'p> {
    fn is(self, key: &str) -> bool {
        flag(self.data, key) == Some(true)
    }

    /// Containers that must have been started before.
    pub(crate) fn after(self) -> Vec<String> {
        texts(self.data, "after")
    }

    pub(crate) fn digest(self) -> &'p str {
        let image = list(self.data, "image").first().and_then(Value::as_str);
        image
            .and_then(|image| image.split_once('@'))
            .map_or("", |(_, digest)| digest)
    }

    /// Names under which the image may be asked for, without digest.
    pub(crate) fn image_names(self) -> Vec<String> {
        let images = texts(self.data, "image").into_iter();
        images
            .map(|image| {
                image
                    .split_once('@')
                    .map_or(image.clone(), |(name, _)| name.to_owned())
            })
            .collect()
    }

    /// Arguments; what is no text is made of what the state knows, or a pattern.
    pub(crate) fn args(self) -> &'p [Value] {
        list(self.data, "args")
    }

    /// Commands of probes and hooks.
    pub(crate) fn commands(self) -> &'p [Value] {
        list(self.data, "exec")
    }

    pub(crate) fn variables(self) -> BTreeMap<String, Variable<'p>> {
        let mut out = BTreeMap::new();
        for (name, rule) in object(self.all.data, "env").into_iter().flatten() {
            let variable = match variable(rule.as_str().unwrap_or("")) {
                known @ Variable::State(_) => known,
                _ => Variable::Optional,
            };
            out.insert(name.clone(), variable);
        }
        for (name, rule) in object(self.data, "env").into_iter().flatten() {
            out.insert(name.clone(), variable(rule.as_str().unwrap_or("")));
        }
        out
    }

    /// Whether a variable may be missing.
    pub(crate) fn may_lack(self, name: &str) -> bool {
        object(self.data, "env").is_none_or(|own| !own.contains_key(name))
    }

    pub(crate) fn mounts(self) -> BTreeMap<&'p str, Mount<'p>> {
        let base = text(self.data, "base").and_then(|name| self.all.part("mounts").get(name));
        let members = |all: Option<&'p Value>| all.and_then(Value::as_object).into_iter().flatten();
        let base = members(base).map(|(destination, mount)| (destination, mount, false));
        let own = members(self.data.get("mounts")).map(|(d, mount)| (d, mount, true));
        base.chain(own)
            .map(|(destination, mount, own)| {
                let part = |at: usize| mount.get(at).and_then(Value::as_str).unwrap_or("");
                let content = match part(1) {
                    source if source.starts_with("{file}") => Content::Host,
                    source if source.starts_with("{block}") => Content::Block,
                    source => Content::Guest(source),
                };
                let mount = Mount {
                    kind: part(0),
                    options: part(2).split(',').map(str::to_owned).collect(),
                    content,
                    own,
                };
                (destination.as_str(), mount)
            })
            .collect()
    }

    pub(crate) fn storages(self) -> Vec<Value> {
        let all = self.all.part("storages");
        let mounts = self.mounts();
        let due = mounts.values().filter_map(|mount| match mount.content {
            Content::Guest(source) => Some((source, all.get(source)?)),
            _ => None,
        });
        due.map(|(point, storage)| json!({"driver": text(storage, "driver"), "mount_point": point}))
            .collect()
    }

    pub(crate) fn devices(self) -> Vec<String> {
        texts(self.data, "devices")
    }

    pub(crate) fn sysctls(self) -> Value {
        self.data
            .get("sysctl")
            .cloned()
            .unwrap_or_else(|| json!({}))
    }

    pub(crate) fn capabilities(self) -> BTreeSet<String> {
        words(text(self.data, "caps").unwrap_or("")).collect()
    }

    /// Masked and read-only paths.
    pub(crate) fn paths(self) -> Value {
        let target = self.all.part("target");
        let of = |key: &str| -> Vec<String> {
            let own = text(self.data, key).or_else(|| text(target, key));
            words(own.unwrap_or("")).collect()
        };
        json!({"masked": of("masked"), "readonly": of("readonly")})
    }

    /// Whether nothing of the kernel is hidden from it: it is privileged.
    pub(crate) fn is_unmasked(self) -> bool {
        list(&self.paths(), "masked").is_empty()
    }

    pub(crate) fn read_only_root(self) -> bool {
        self.process("ro") == Some(&Value::Bool(true))
    }

    /// A value of the process: `cwd`, `nnp`, `tty`, `user`.
    pub(crate) fn process(self, key: &str) -> Option<&'p Value> {
        self.data.get("want")?.get(key)
    }

    pub(crate) fn logs(self) -> bool {
        self.is("logs")
    }

    pub(crate) fn debug(self) -> bool {
        self.is("debug")
    }

    pub(crate) fn stdin(self) -> bool {
        self.is("stdin")
    }
}

/// What a rule says about a value.
fn variable(rule: &str) -> Variable<'_> {
    match rule {
        "={pod}" => Variable::State("pod"),
        "={host}" => Variable::State("host"),
        "={uid}" => Variable::State("uid"),
        "@ip" => Variable::State("ip"),
        "^[\\s\\S]*$" => Variable::Anything,
        rule => match rule.strip_prefix('=') {
            Some(value)
                if ["{pod}", "{host}", "{uid}", "{sid}"]
                    .iter()
                    .any(|p| value.contains(p)) =>
            {
                Variable::State("text")
            }
            Some(value) => Variable::Exact(value),
            None => Variable::Shape,
        },
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
}

/// An argument, for people.
pub(crate) fn word(arg: &Value) -> String {
    let made = arg
        .get("is")
        .and_then(Value::as_str)
        .and_then(|rule| rule.strip_prefix('='));
    arg.as_str()
        .or(made)
        .map_or_else(|| "…".to_owned(), str::to_owned)
}

/// Whether an argument is a shape only.
pub(crate) fn is_shape(arg: &Value) -> bool {
    let rule = arg.get("is").and_then(Value::as_str);
    rule.is_some_and(|rule| !rule.starts_with('='))
}

/// Whether an argument has a part that may be anything.
pub(crate) fn is_any(arg: &Value) -> bool {
    let rule = arg.get("is").and_then(Value::as_str);
    rule.is_some_and(|rule| rule.starts_with('^') && rule.contains("[\\s\\S]*"))
}

/// A storage by what tells it apart.
pub(crate) fn short(storage: &Value) -> Value {
    json!({
        "driver": pod::text(storage, "driver"),
        "mount_point": pod::text(storage, "mount_point"),
    })
}
