//! What the create request of one container says, before it has the agent's shape.

use super::*;
use crate::mounts::{Mount, Mounts, Source};

/// Everything a create request says, before it has the agent's shape.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) cid: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) cwd: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) caps: Vec<String>,
    pub(super) nnp: bool,
    pub(super) tty: bool,
    pub(super) read_only: bool,
    pub(super) privileged: bool,
    pub(super) image: String,
    pub(super) mounts: Vec<Value>,
    pub(super) storages: Vec<Value>,
    pub(super) devices: Vec<String>,
    pub(super) sysctls: Map<String, Value>,
    /// Numbers of the disks that block volumes become.
    pub(super) disks: BTreeMap<String, usize>,
    pub(super) copied: Vec<(String, String)>,
}

impl Plan {
    pub(super) fn pause(input: &WorkloadInput<'_>, cluster: &Cluster) -> Self {
        let cid = cluster.sandbox.clone();
        let mut plan = Self {
            name: PAUSE.to_owned(),
            args: vec!["/pause".to_owned()],
            env: vec![format!("PATH={}", env::DEFAULT_PATH)],
            cwd: "/".to_owned(),
            uid: 65535,
            gid: 65535,
            groups: vec![65535],
            caps: DEFAULT_CAPS.iter().map(|c| format!("CAP_{c}")).collect(),
            nnp: true,
            tty: false,
            read_only: true,
            privileged: false,
            image: "pause".to_owned(),
            mounts: Vec::new(),
            storages: Vec::new(),
            devices: Vec::new(),
            sysctls: pod_sysctls(input.pod_spec),
            disks: BTreeMap::new(),
            copied: Vec::new(),
            cid,
        };
        plan.place(&mounts::pause(), cluster);
        plan
    }

    pub(super) fn container(
        input: &WorkloadInput<'_>,
        cluster: &Cluster,
        at: &str,
        container: &Value,
    ) -> Self {
        // Problems were reported when the policy was made.
        let notes = &mut Notes::new(input);
        let name = text(container, "name").unwrap_or("").to_owned();
        let cid = cluster.container_id(&name);
        let image = text(container, "image").unwrap_or("").to_owned();
        let entry = (input.images)(&image);
        let environment = env::env(input, container, at, entry, notes);
        let fill = |free| cluster.fill(free);
        let privileged = flag_of(container, "privileged");
        let read_only = flag_of(container, "readOnlyRootFilesystem");
        let user = entry.and_then(|entry| resolve_user(input, container, entry).ok());
        let caps = capabilities(container, privileged, at, notes);
        let volumes = mounts::volumes(input, notes);
        let own = mounts::mounts(input, &volumes, container, at, entry, notes);
        let disks: BTreeMap<String, usize> = volumes
            .iter()
            .filter(|(_, volume)| **volume == Volume::Directory)
            .enumerate()
            .map(|(index, (name, _))| (name.clone(), index))
            .collect();
        let mut all = mounts::base(input.target, read_only, privileged);
        all.extend(own.mounts.clone());
        let mut plan = Self {
            args: command(container, entry, &environment)
                .iter()
                .map(|arg| arg.sample(&fill))
                .collect(),
            env: variables(&environment, &fill),
            cwd: working_dir(container, entry),
            uid: user.as_ref().map_or(0, |u| u.uid),
            gid: user.as_ref().map_or(0, |u| u.gid),
            groups: user.map_or_else(Vec::new, |u| u.groups),
            caps: caps.iter().map(|c| format!("CAP_{c}")).collect(),
            nnp: !allows_escalation(container, privileged),
            tty: flag(container, "tty") == Some(true),
            read_only,
            privileged,
            image: without_tag(&image),
            mounts: Vec::new(),
            storages: storages(input, cluster, &own, &disks),
            devices: own.devices.iter().cloned().collect(),
            sysctls: Map::new(),
            disks,
            copied: Vec::new(),
            name,
            cid,
        };
        plan.place(&all, cluster);
        plan
    }

    /// Mounts as OCI has them, parents first, files with the names the shim makes up.
    pub(super) fn place(&mut self, mounts: &BTreeMap<String, Mount>, cluster: &Cluster) {
        let mut order: Vec<_> = mounts.iter().collect();
        order.sort_by_key(|(destination, _)| {
            let system = ["/proc", "/dev", "/sys"]
                .iter()
                .any(|p| destination == p || mounts::below(destination, p));
            (
                !system,
                destination.matches('/').count(),
                (*destination).clone(),
            )
        });
        for (destination, mount) in order {
            let source = match &mount.source {
                Source::Is(source) => source.replace("{sid}", &cluster.sandbox),
                Source::File(file) => {
                    let digits = id(&[&self.cid, destination]);
                    let source = format!(
                        "/run/kata-containers/shared/containers/{}-{}-{file}",
                        self.cid,
                        digits.get(..16).unwrap_or("")
                    );
                    self.copied.push((destination.clone(), source.clone()));
                    source
                }
                Source::Block(volume) => {
                    block_point(self.disks.get(volume).copied().unwrap_or_default())
                }
            };
            self.mounts.push(json!({
                "destination": destination, "source": source, "type_": mount.kind,
                "options": mount.options,
            }));
        }
    }
}

/// A storage for each mount that calls for one, as the shim sends them: the guest counts its uses.
fn storages(
    input: &WorkloadInput<'_>,
    cluster: &Cluster,
    own: &Mounts,
    disks: &BTreeMap<String, usize>,
) -> Vec<Value> {
    let (mut made, mut blocks) = (Vec::new(), Vec::new());
    for mount in own.mounts.values() {
        match &mount.source {
            Source::Is(source) => {
                if let Some(known) = own.storages.get(source) {
                    let point = source.replace("{sid}", &cluster.sandbox);
                    made.push(storage(known, json!({"mount_point": point})));
                }
            }
            Source::Block(volume) => {
                blocks.push(block(input, disks.get(volume).copied().unwrap_or_default()));
            }
            Source::File(_) => {}
        }
    }
    made.append(&mut blocks);
    made
}

fn variables(environment: &Env, fill: &dyn Fn(Free) -> String) -> Vec<String> {
    let all = environment.set.iter().chain(&environment.optional);
    all.map(|(name, value)| format!("{name}={}", value.sample(fill)))
        .collect()
}

fn pod_sysctls(spec: &Value) -> Map<String, Value> {
    security(spec, &Value::Null, "sysctls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|s| Some((text(s, "name")?.to_owned(), text(s, "value")?.into())))
        .collect()
}

/// containerd names an image by repository and digest.
fn without_tag(image: &str) -> String {
    let Some((name, digest)) = image.split_once('@') else {
        return image.to_owned();
    };
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let colon = name.get(slash..).and_then(|last| last.find(':'));
    let name = colon.and_then(|at| name.get(..slash + at)).unwrap_or(name);
    format!("{name}@{digest}")
}
