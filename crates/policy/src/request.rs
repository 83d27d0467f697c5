//! The requests a pod causes: what kubelet, containerd and Kata send to the agent for it.
//!
//! Values, spelling and protobuf defaults follow requests recorded on real clusters
//! (`microsoft/regorus` `tests/kata`) and the message definitions of the agent. They are what a
//! new policy must allow, the raw material of [`crate::simulate`], and the oracle of the tests.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use nacre_manifest::Profile;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::env::{self, Env};
use crate::generate::PAUSE;
use crate::input::WorkloadInput;
use crate::mounts::{self, Volume};
use crate::names::dns_lines;
use crate::notes::Notes;
use crate::pod::{self, Role, flag, security, text};
use crate::process::{
    DEFAULT_CAPS, MASKED, READONLY, allows_escalation, capabilities, command, exec_probes, flag_of,
    resolve_user, working_dir,
};
use crate::value::Free;
use plan::Plan;

mod plan;

/// One request of the host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// For people: what happens.
    pub title: String,
    /// The container it concerns; `None` for the sandbox and its network.
    pub container: Option<String>,
    /// Name of the protobuf message, which is the name of the rule.
    pub message: &'static str,
    /// The message as the agent gives it to the rules.
    pub input: Value,
}

/// What the cluster would decide; fixed, so that the requests are the same every time.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) pod_name: String,
    pub(crate) pod_uid: String,
    pub(crate) hostname: String,
    pub(crate) sandbox: String,
    pub(crate) address: String,
}

impl Cluster {
    pub(crate) fn of(input: &WorkloadInput<'_>) -> Self {
        let pod_name = pod::sample_name(input.kind, input.name, input.indexed);
        let digest = id(&[input.namespace(), &pod_name, "uid"]);
        let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
        let pod_uid = format!(
            "{}-{}-4{}-a{}-{}",
            part(0, 8),
            part(8, 12),
            part(12, 15),
            part(15, 18),
            part(18, 30)
        );
        let own = text(input.pod_spec, "hostname").filter(|h| !h.is_empty());
        let hostname = match own {
            _ if input.indexed => format!("{}-0", pod::sample_job(input.kind, input.name)),
            Some(hostname) => hostname.to_owned(),
            None => pod_name
                .get(..pod_name.len().min(63))
                .unwrap_or("")
                .trim_end_matches(['-', '.'])
                .to_owned(),
        };
        let sandbox = id(&[input.namespace(), &pod_name, "sandbox"]);
        Self {
            pod_name,
            pod_uid,
            hostname,
            sandbox,
            address: "10.244.0.16".to_owned(),
        }
    }

    fn fill(&self, free: Free) -> String {
        match free {
            Free::PodName => self.pod_name.clone(),
            Free::PodUid => self.pod_uid.clone(),
            Free::Hostname => self.hostname.clone(),
            Free::PodIp | Free::PodIps => self.address.clone(),
            Free::HostIp => "192.168.1.10".to_owned(),
            Free::NodeName => "node-1".to_owned(),
            Free::Number => "2".to_owned(),
            Free::Index => "0".to_owned(),
            Free::Anything => "chosen-by-the-host".to_owned(),
        }
    }

    /// The id containerd would give a container.
    pub(crate) fn container_id(&self, name: &str) -> String {
        match name {
            PAUSE => self.sandbox.clone(),
            name => id(&[&self.sandbox, name]),
        }
    }
}

/// 64 hex digits from these words.
pub(crate) fn id(words: &[&str]) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word);
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A pod's whole life: network, sandbox, pause, files and containers in order, probes, stop.
pub fn life(input: &WorkloadInput<'_>) -> Vec<Request> {
    let cluster = Cluster::of(input);
    let mut out = network(&cluster);
    out.push(sandbox(input, &cluster));
    out.push(simple(
        "guest details",
        None,
        "GuestDetailsRequest",
        json!({"mem_block_size": true, "mem_hotplug_probe": true}),
    ));
    let mut stop = Vec::new();
    start(input, &cluster, &Plan::pause(input, &cluster), &mut out);
    stop.push((PAUSE.to_owned(), cluster.sandbox.clone()));
    out.push(simple(
        "out-of-memory events",
        None,
        "GetOOMEventRequest",
        json!({}),
    ));
    for (role, at, container) in pod::containers(input.pod_spec) {
        let plan = Plan::container(input, &cluster, &at, container);
        start(input, &cluster, &plan, &mut out);
        for (index, args) in exec_probes(container).into_iter().enumerate() {
            out.push(exec(&plan, &args, index));
        }
        let (name, cid) = (plan.name.clone(), plan.cid.clone());
        out.push(simple(
            "statistics",
            Some(&name),
            "StatsContainerRequest",
            json!({"container_id": cid}),
        ));
        streams(input, container, &name, &cid, &mut out);
        if role == Role::Init {
            out.push(remove(&name, &cid));
        } else {
            stop.push((name, cid));
        }
    }
    for (name, cid) in stop.iter().rev() {
        out.push(simple(
            "stop",
            Some(name),
            "SignalProcessRequest",
            json!({"container_id": cid, "exec_id": cid, "signal": 15}),
        ));
        out.push(remove(name, cid));
    }
    out.push(simple(
        "destroy the sandbox",
        None,
        "DestroySandboxRequest",
        json!({}),
    ));
    out
}

/// Output where the host may read it, input where the pod asks for it.
fn streams(
    input: &WorkloadInput<'_>,
    container: &Value,
    name: &str,
    cid: &str,
    out: &mut Vec<Request>,
) {
    let of = |member: &str, value: Value| {
        let mut message = json!({"container_id": cid, "exec_id": cid});
        if let (Some(message), false) = (message.as_object_mut(), member.is_empty()) {
            message.insert(member.to_owned(), value);
        }
        message
    };
    if input.profile != Profile::Strict || input.injected.contains(name) {
        let read = of("len", 4096.into());
        out.push(simple(
            "read the output",
            Some(name),
            "ReadStreamRequest",
            read,
        ));
    }
    if flag(container, "stdin") == Some(true) {
        let write = of("data", json!([10]));
        out.push(simple(
            "write to the input",
            Some(name),
            "WriteStreamRequest",
            write,
        ));
        let close = of("", Value::Null);
        out.push(simple(
            "close the input",
            Some(name),
            "CloseStdinRequest",
            close,
        ));
    }
}

/// A container's name for people.
fn shown(name: &str) -> &str {
    match name {
        PAUSE => "pause",
        name => name,
    }
}

fn simple(title: &str, container: Option<&str>, message: &'static str, input: Value) -> Request {
    let title = match container {
        Some(name) => format!("{title}: {}", shown(name)),
        None => title.to_owned(),
    };
    Request {
        title,
        container: container.map(str::to_owned),
        message,
        input,
    }
}

fn remove(name: &str, cid: &str) -> Request {
    simple(
        "remove",
        Some(name),
        "RemoveContainerRequest",
        json!({"container_id": cid, "timeout": 0}),
    )
}

fn network(cluster: &Cluster) -> Vec<Request> {
    let interface = json!({"interface": {
        "device": "eth0", "name": "eth0",
        "IPAddresses": [
            {"family": 0, "address": cluster.address, "mask": "24"},
            {"family": 1, "address": "fe80::9cff:1eff:fec5:e9f5", "mask": "64"},
        ],
        "mtu": 1500, "hwAddr": "9e:ff:1e:c5:e9:f5", "devicePath": "", "type_": "", "raw_flags": 0,
    }});
    let route = |dest: &str, gateway: &str| json!({"dest": dest, "gateway": gateway, "device": "eth0", "source": "", "scope": 0, "family": 0, "flags": 0, "mtu": 0});
    let routes =
        json!({"routes": {"Routes": [route("", "10.244.0.1"), route("10.244.0.0/24", "")]}});
    let neighbors = json!({"neighbors": {"ARPNeighbors": [{
        "toIPAddress": {"family": 0, "address": "10.244.0.1", "mask": ""},
        "device": "eth0", "lladdr": "6a:92:3a:59:70:aa", "state": 128, "flags": 0,
    }]}});
    vec![
        simple(
            "network interface",
            None,
            "UpdateInterfaceRequest",
            interface,
        ),
        simple("routes", None, "UpdateRoutesRequest", routes),
        simple("neighbours", None, "AddARPNeighborsRequest", neighbors),
    ]
}

fn sandbox(input: &WorkloadInput<'_>, cluster: &Cluster) -> Request {
    let mut dns = match text(input.pod_spec, "dnsPolicy") {
        Some("None") => dns_lines(input.pod_spec),
        _ => vec![
            "search default.svc.cluster.local svc.cluster.local cluster.local".to_owned(),
            "nameserver 10.0.0.10".to_owned(),
            "options ndots:5".to_owned(),
        ],
    };
    dns.push(String::new());
    simple(
        "create the sandbox",
        None,
        "CreateSandboxRequest",
        json!({
            "hostname": cluster.hostname,
            "dns": dns,
            "storages": [{
                "driver": "ephemeral", "driver_options": [], "source": "shm", "fstype": "tmpfs",
                "options": ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"],
                "mount_point": "/run/kata-containers/sandbox/shm", "fs_group": null, "shared": false,
            }],
            "sandbox_pidns": flag(input.pod_spec, "shareProcessNamespace") == Some(true),
            "sandbox_id": cluster.sandbox,
            "guest_hook_path": "",
            "kernel_modules": [],
        }),
    )
}

/// Files, create, start, wait.
fn start(input: &WorkloadInput<'_>, cluster: &Cluster, plan: &Plan, out: &mut Vec<Request>) {
    for (destination, source) in &plan.copied {
        let title = format!("copy the file of {destination}: {}", shown(&plan.name));
        let copy = |path: String, kind: &str, mode: u32, target: Value, size: u64| Request {
            title: title.clone(),
            container: Some(plan.name.clone()),
            message: "CopyFileRequest",
            input: json!({
                "path": path, "file_type": kind, "symlink_target": target, "file_size": size,
                "file_mode": mode, "dir_mode": 2_147_484_136_u32, "uid": 0, "gid": 0, "offset": 0,
            }),
        };
        if destination == mounts::TOKEN {
            // A volume the kubelet writes atomically: a dated directory and symbolic links.
            let dated = "..2026_11_23_10_00_00.640162577";
            out.push(copy(source.clone(), "Directory", 0o41777, Value::Null, 0));
            out.push(copy(
                format!("{source}/{dated}"),
                "Directory",
                0o40755,
                Value::Null,
                0,
            ));
            out.push(copy(
                format!("{source}/{dated}/token"),
                "Regular",
                0o100_644,
                Value::Null,
                1495,
            ));
            out.push(copy(
                format!("{source}/..data"),
                "Symlink",
                0o120_777,
                dated.into(),
                0,
            ));
            out.push(copy(
                format!("{source}/token"),
                "Symlink",
                0o120_777,
                "..data/token".into(),
                0,
            ));
        } else {
            out.push(copy(source.clone(), "Regular", 0o100_644, Value::Null, 205));
        }
    }
    let title = |what: &str| format!("{what}: {}", shown(&plan.name));
    let own = |title: String, message, input| Request {
        title,
        container: Some(plan.name.clone()),
        message,
        input,
    };
    out.push(own(
        title("create"),
        "CreateContainerRequest",
        create(input, cluster, plan),
    ));
    out.push(own(
        title("start"),
        "StartContainerRequest",
        json!({"container_id": plan.cid}),
    ));
    out.push(own(
        title("wait"),
        "WaitProcessRequest",
        json!({"container_id": plan.cid, "exec_id": plan.cid}),
    ));
}

fn exec(plan: &Plan, args: &[String], index: usize) -> Request {
    let mut digits = id(&[&plan.cid, "exec", &index.to_string()]);
    digits.truncate(32);
    let mut process = process(plan, args);
    if let Some(process) = process.as_object_mut() {
        process.insert("Capabilities".to_owned(), Value::Null);
        process.insert("NoNewPrivileges".to_owned(), false.into());
        process.insert("Terminal".to_owned(), false.into());
        process.insert("OOMScoreAdj".to_owned(), 0.into());
    }
    simple(
        "probe or hook",
        Some(&plan.name),
        "ExecProcessRequest",
        json!({
            "container_id": plan.cid, "exec_id": digits, "string_user": null, "process": process,
            "stdin_port": 0, "stdout_port": 0, "stderr_port": 0,
        }),
    )
}

/// A storage with all the members of the message.
fn storage(known: &Value, more: Value) -> Value {
    let mut out = json!({
        "driver": "", "driver_options": [], "source": "", "fstype": "", "options": [],
        "mount_point": "", "fs_group": null, "shared": false,
    });
    if let Some(out) = out.as_object_mut() {
        for part in [known, &more] {
            out.extend(part.as_object().cloned().unwrap_or_default());
        }
    }
    out
}

fn block_source(index: usize) -> String {
    format!("{:02x}/{index:02x}", 1)
}

fn block_point(index: usize) -> String {
    format!(
        "/run/kata-containers/sandbox/storage/{}",
        URL_SAFE.encode(block_source(index))
    )
}

fn block(input: &WorkloadInput<'_>, index: usize) -> Value {
    let device = json!({
        "driver": "blk", "source": block_source(index), "mount_point": block_point(index),
    });
    storage(
        &mounts::block_storage(mounts::fs_group(input.pod_spec)),
        device,
    )
}

fn process(plan: &Plan, args: &[String]) -> Value {
    json!({
        "Terminal": plan.tty,
        "ConsoleSize": null,
        "User": {"UID": plan.uid, "GID": plan.gid, "AdditionalGids": plan.groups, "Username": ""},
        "Args": args,
        "Env": plan.env,
        "Cwd": plan.cwd,
        "Capabilities": {
            "Bounding": plan.caps, "Effective": plan.caps, "Inheritable": [],
            "Permitted": plan.caps, "Ambient": [],
        },
        "Rlimits": [],
        "NoNewPrivileges": plan.nnp,
        "ApparmorProfile": "",
        "OOMScoreAdj": 1000,
        "SelinuxLabel": "",
    })
}

/// The create request of a planned container.
fn create(input: &WorkloadInput<'_>, cluster: &Cluster, plan: &Plan) -> Value {
    let cid = &plan.cid;
    let pause = plan.name == PAUSE;
    let root = input.target.root.replace("{cid}", cid);
    let mut annotations = json!({
        "io.katacontainers.pkg.oci.bundle_path": format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{cid}"),
        "io.katacontainers.pkg.oci.container_type": if pause { "pod_sandbox" } else { "pod_container" },
        "io.kubernetes.cri.container-type": if pause { "sandbox" } else { "container" },
        "io.kubernetes.cri.sandbox-id": cluster.sandbox,
        "io.kubernetes.cri.sandbox-name": cluster.pod_name,
        "io.kubernetes.cri.sandbox-namespace": input.namespace(),
        "io.kubernetes.cri.sandbox-uid": cluster.pod_uid,
    });
    let extra = if pause {
        json!({
            "io.kubernetes.cri.podsandbox.image-name": "registry.k8s.io/pause:3.10",
            "io.kubernetes.cri.sandbox-cpu-period": "100000",
            "io.kubernetes.cri.sandbox-cpu-quota": "0",
            "io.kubernetes.cri.sandbox-cpu-shares": "2",
            "io.kubernetes.cri.sandbox-log-directory": format!("/var/log/pods/{}_{}_{}", input.namespace(), cluster.pod_name, cluster.pod_uid),
            "io.kubernetes.cri.sandbox-memory": "0",
            "nerdctl/network-namespace": "/var/run/netns/cni-f24f98bd-565d-85de-43fc-629d7e43d846",
        })
    } else {
        json!({
            "io.kubernetes.cri.container-name": plan.name,
            "io.kubernetes.cri.image-name": plan.image,
        })
    };
    if let (Some(all), Value::Object(extra)) = (annotations.as_object_mut(), extra) {
        all.extend(extra);
    }
    let mut storages = vec![json!({
        "driver": "image_guest_pull",
        "driver_options": [format!("image_guest_pull={}", json!({"metadata": annotations}))],
        "source": plan.image, "fstype": "overlay", "options": [], "mount_point": root,
        "fs_group": null, "shared": false,
    })];
    storages.extend(plan.storages.iter().cloned());
    let (masked, readonly) = if plan.privileged {
        (&[][..], &[][..])
    } else {
        (MASKED, READONLY)
    };
    let device = |path: &String| json!({"id": "", "type_": "blk", "vm_path": "01/00", "container_path": path, "options": []});
    let node = |path: &String| json!({"Path": path, "Type": "b", "Major": 8, "Minor": 0, "FileMode": 432, "UID": 0, "GID": 0});
    json!({
        "container_id": cid,
        "exec_id": cid,
        "string_user": null,
        "devices": plan.devices.iter().map(device).collect::<Vec<_>>(),
        "storages": storages,
        "OCI": {
            "Version": "1.1.0",
            "Process": process(plan, &plan.args),
            "Root": {"Path": root, "Readonly": plan.read_only},
            "Hostname": if pause { cluster.hostname.as_str() } else { "" },
            "Mounts": plan.mounts,
            "Hooks": null,
            "Annotations": annotations,
            "Linux": {
                "UIDMappings": [],
                "GIDMappings": [],
                "Sysctl": plan.sysctls,
                "Resources": {
                    "Devices": [],
                    "Memory": {"Limit": 0, "Reservation": 0, "Swap": 0, "Kernel": 0, "KernelTCP": 0, "Swappiness": 0, "DisableOOMKiller": false},
                    "CPU": {"Shares": 2, "Quota": 0, "Period": 100_000, "RealtimeRuntime": 0, "RealtimePeriod": 0, "Cpus": "", "Mems": ""},
                    "Pids": null, "BlockIO": null, "HugepageLimits": [], "Network": null,
                },
                "CgroupsPath": format!("/kubepods/besteffort/pod{}/{cid}", cluster.pod_uid),
                "Namespaces": [
                    {"Type": "ipc", "Path": ""}, {"Type": "uts", "Path": ""}, {"Type": "mount", "Path": ""},
                ],
                "Devices": plan.devices.iter().map(node).collect::<Vec<_>>(),
                "Seccomp": null,
                "RootfsPropagation": "",
                "MaskedPaths": masked,
                "ReadonlyPaths": readonly,
                "MountLabel": "",
                "IntelRdt": null,
            },
            "Solaris": null,
            "Windows": null,
        },
        "sandbox_pidns": flag(input.pod_spec, "shareProcessNamespace") == Some(true),
        "shared_mounts": [],
        "stdin_port": 0, "stdout_port": 0, "stderr_port": 0,
    })
}
