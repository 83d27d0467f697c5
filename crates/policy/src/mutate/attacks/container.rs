//! Attacks on the request that creates a container.

use serde_json::{Value, json};

use super::{Attack, at, at_mut, push, set};
use crate::mutate::image;

pub(super) fn attacks(attack: &mut Attack<'_>) {
    attack("run a shell", "args", &|i| {
        set(i, "/OCI/Process/Args", json!(["/bin/sh"]))
    });
    attack("preload a library", "env", &|i| {
        push(i, "/OCI/Process/Env", "LD_PRELOAD=/x.so")
    });
    attack("second value of a variable", "env", &|i| {
        let first = at(i, "/OCI/Process/Env/0").clone();
        let name = first
            .as_str()
            .and_then(|e| e.split('=').next())
            .unwrap_or("")
            .to_owned();
        push(i, "/OCI/Process/Env", format!("{name}=evil"));
    });
    attack("mount over an existing mount", "mounts", &|i| {
        let mut mount = at(i, "/OCI/Mounts/0").clone();
        set(
            &mut mount,
            "/source",
            "/run/kata-containers/shared/containers/x",
        );
        push(i, "/OCI/Mounts", mount);
    });
    attack("mount over the application", "mounts", &|i| {
        push(
            i,
            "/OCI/Mounts",
            json!({"destination": "/app", "source": "/run/x", "type_": "bind", "options": ["rbind"]}),
        );
    });
    attack("placeholder as a source", "mounts", &|i| {
        for mount in at_mut(i, "/OCI/Mounts") {
            if at(mount, "/destination") == "/etc/hosts" {
                set(mount, "/source", "{file}hosts");
            }
        }
    });
    // What the data hold before it is filled in.
    attack("placeholder in a source", "mounts", &|i| {
        let sandbox = at(i, "/OCI/Annotations/io.kubernetes.cri.sandbox-id").clone();
        let sandbox = sandbox.as_str().unwrap_or("-").to_owned();
        for mount in at_mut(i, "/OCI/Mounts") {
            let source = at(mount, "/source").as_str().unwrap_or("").to_owned();
            set(mount, "/source", source.replace(&sandbox, "{sid}"));
        }
    });
    attack("placeholder in a storage's place", "storages", &|i| {
        let sandbox = at(i, "/OCI/Annotations/io.kubernetes.cri.sandbox-id").clone();
        let sandbox = sandbox.as_str().unwrap_or("-").to_owned();
        for storage in at_mut(i, "/storages").skip(1) {
            let place = at(storage, "/mount_point")
                .as_str()
                .unwrap_or("")
                .to_owned();
            set(storage, "/mount_point", place.replace(&sandbox, "{sid}"));
        }
    });
    attack("placeholder in the root's path", "image", &|i| {
        let own = at(i, "/container_id").as_str().unwrap_or("-").to_owned();
        for path in ["/OCI/Root/Path", "/storages/0/mount_point"] {
            let place = at(i, path).as_str().unwrap_or("").replace(&own, "{cid}");
            set(i, path, place);
        }
    });
    attack("another container's file", "mounts", &|i| {
        let own = at(i, "/container_id").as_str().unwrap_or("").to_owned();
        for mount in at_mut(i, "/OCI/Mounts") {
            let source = at(mount, "/source").as_str().unwrap_or("").to_owned();
            if source.contains(&own) && at(mount, "/type_") == "bind" {
                set(mount, "/source", source.replace(&own, &"a".repeat(64)));
            }
        }
    });
    attack("a member of a newer agent", "zero", &|i| {
        set(i, "/OCI/Process/Scheduler", json!({"Policy": "SCHED_FIFO"}))
    });
    attack("a namespace's member of a newer agent", "zero", &|i| {
        set(
            i,
            "/OCI/Linux/TimeOffsets",
            json!({"boottime": {"secs": 1}}),
        )
    });
    // The agent opens what stands there as a path, whatever it is.
    for path in ["/dev/sev-guest", "/dev/mapper/disk", "/dev/vda"] {
        attack("a path of the guest as a disk", "devices", &|i| {
            set(i, "/devices/0/type_", "mmioblk");
            set(i, "/devices/0/vm_path", path);
        });
    }
    attack("options of a disk", "devices", &|i| {
        push(i, "/devices/0/options", "0000:00:01.0=01/02")
    });
    for object in ["/OCI/Root", "/OCI/Process/User", "/devices/0"] {
        attack("a member of a newer agent", "zero", &|i| {
            // The sandbox's user is the measured guest's.
            let kind = at(i, "/OCI/Annotations/io.kubernetes.cri.container-type");
            if !(kind == "sandbox" && object == "/OCI/Process/User") && at(i, object).is_object() {
                set(i, &format!("{object}/Newer"), "x");
            }
        });
    }
    attack("writable cgroups", "mounts", &|i| {
        for mount in at_mut(i, "/OCI/Mounts") {
            if ["cgroup", "sysfs"]
                .iter()
                .any(|t| at(mount, "/type_") == *t)
            {
                push(mount, "/options", "rw");
            }
        }
    });
    attack("all capabilities", "caps", &|i| {
        push(i, "/OCI/Process/Capabilities/Bounding", "CAP_SYS_MODULE")
    });
    attack("ambient capability", "caps", &|i| {
        set(
            i,
            "/OCI/Process/Capabilities/Ambient",
            json!(["CAP_NET_ADMIN"]),
        )
    });
    attack("no image", "image", &|i| set(i, "/storages", json!([])));
    attack("two images", "image", &|i| {
        let image = at(i, "/storages/0").clone();
        push(i, "/storages", image);
    });
    attack("tag instead of digest", "image", &|i| {
        let name = "ghcr.io/example/web:1.2";
        set(i, "/storages/0/source", name);
        set(i, "/OCI/Annotations/io.kubernetes.cri.image-name", name);
    });
    attack("another image in every place", "image", &|i| {
        let name = format!("ghcr.io/example/web@sha256:{}", "e".repeat(64));
        image(i, &name);
    });
    attack("the measured pause image instead", "image", &|i| {
        if at(i, "/OCI/Annotations/io.kubernetes.cri.container-type") == "sandbox" {
            return;
        }
        set(
            i,
            "/storages/0/driver_options",
            json!([
                "image_guest_pull={\"metadata\":{\"io.kubernetes.cri.container-type\":\"sandbox\"}}"
            ]),
        );
    });
    attack("sandbox by a member given twice", "image", &|i| {
        let kind = "io.kubernetes.cri.container-type";
        if at(i, &format!("/OCI/Annotations/{kind}")) == "sandbox" {
            return;
        }
        let option = at(i, "/storages/0/driver_options/0").clone();
        let option = option.as_str().unwrap_or("");
        let twice = option.replace("}}", &format!(",\"{kind}\":\"sandbox\"}}}}"));
        set(i, "/storages/0/driver_options/0", twice);
    });
    attack("more than metadata for the image", "image", &|i| {
        let option = at(i, "/storages/0/driver_options/0").clone();
        let option = option.as_str().unwrap_or("");
        let more = option.replace("}}", "},\"insecure\":true}");
        set(i, "/storages/0/driver_options/0", more);
    });
    attack("another network namespace", "annotations", &|i| {
        let kind = "/OCI/Annotations/io.kubernetes.cri.container-type";
        if at(i, kind) == "container"
            && let Some(Value::Object(all)) = i.pointer_mut("/OCI/Annotations")
        {
            all.insert(
                "nerdctl/network-namespace".to_owned(),
                "/var/run/netns/other".into(),
            );
        }
    });
    attack("another pod's id", "annotations", &|i| {
        let kind = "/OCI/Annotations/io.kubernetes.cri.container-type";
        if at(i, kind) == "container" {
            let uid = "00000000-0000-4000-a000-000000000000";
            set(i, "/OCI/Annotations/io.kubernetes.cri.sandbox-uid", uid);
        }
    });
    attack("a variable without its value", "env", &|i| {
        let all = at(i, "/OCI/Process/Env").clone();
        let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |entry: &Value| entry.as_str().unwrap_or("").to_owned();
        let empty = all.iter().position(|e| text(e).ends_with('='));
        let index = empty.unwrap_or(0);
        if let Some((name, _)) = all.get(index).map(text).unwrap_or_default().split_once('=') {
            set(i, &format!("/OCI/Process/Env/{index}"), name);
        }
    });
    attack("cri-o sandbox by metadata", "image", &|i| {
        set(
            i,
            "/storages/0/driver_options",
            json!([
                "image_guest_pull={\"metadata\":{\"io.kubernetes.cri.container-type\":\"container\",\"io.kubernetes.cri-o.ContainerType\":\"sandbox\"}}"
            ]),
        );
    });
    attack("cri-o sandbox by annotation", "annotations", &|i| {
        set(
            i,
            "/OCI/Annotations/io.kubernetes.cri-o.ContainerType",
            "sandbox",
        )
    });
    attack("device by annotation", "annotations", &|i| {
        set(i, "/OCI/Annotations/cdi.k8s.io/vfio0", "nvidia.com/gpu=0")
    });
    attack("another container's name", "annotations", &|i| {
        set(
            i,
            "/OCI/Annotations/io.kubernetes.cri.container-name",
            "other",
        )
    });
    attack("storage parked on the image's place", "storages", &|i| {
        let place = at(i, "/OCI/Root/Path");
        push(
            i,
            "/storages",
            json!({"driver": "ephemeral", "driver_options": [], "source": "tmpfs", "fstype": "tmpfs", "options": [], "mount_point": place, "fs_group": null, "shared": false}),
        );
    });
    attack("host block device", "storages", &|i| {
        push(
            i,
            "/storages",
            json!({"driver": "blk", "driver_options": [], "source": "01/05", "fstype": "ext4", "options": [], "mount_point": "/run/x", "fs_group": null, "shared": false}),
        );
    });
    attack("join a host namespace", "namespaces", &|i| {
        push(
            i,
            "/OCI/Linux/Namespaces",
            json!({"Type": "network", "Path": "/proc/1/ns/net"}),
        )
    });
    attack("user namespace", "namespaces", &|i| {
        push(
            i,
            "/OCI/Linux/Namespaces",
            json!({"Type": "user", "Path": ""}),
        )
    });
    // The agent reads a type that it does not know as a process namespace.
    for (title, from, to) in [
        ("the agent's own IPC namespace", "ipc", "IPC"),
        ("the agent's own UTS namespace", "uts", "Uts"),
        ("the agent's own mount namespace", "mount", "Mount"),
    ] {
        attack(title, "namespaces", &|i| {
            for namespace in at_mut(i, "/OCI/Linux/Namespaces") {
                if at(namespace, "/Type") == from {
                    set(namespace, "/Type", to);
                }
            }
        });
    }
    attack("guest hook", "hooks", &|i| {
        set(
            i,
            "/OCI/Hooks",
            json!({"Prestart": [{"Path": "/bin/sh", "Args": [], "Env": [], "Timeout": 0}]}),
        )
    });
    attack("rootfs of another container", "root", &|i| {
        set(
            i,
            "/OCI/Root/Path",
            "/run/kata-containers/shared/containers",
        )
    });
    attack("writable root", "root", &|i| {
        set(
            i,
            "/OCI/Root/Readonly",
            !at(i, "/OCI/Root/Readonly").as_bool().unwrap_or(false),
        )
    });
    attack("short id", "id", &|i| {
        set(i, "/container_id", "init");
        set(i, "/exec_id", "init");
    });
    attack("climbing id", "id", &|i| {
        set(i, "/container_id", "../../x");
        set(i, "/exec_id", "../../x");
    });
    attack("id as a path of the state", "id", &|i| {
        set(i, "/container_id", "s/pod");
        set(i, "/exec_id", "s/pod");
    });
    attack("shared mount", "shared", &|i| {
        set(
            i,
            "/shared_mounts",
            json!([{"name": "x", "src_ctr": "a", "src_path": "/", "dst_ctr": "b", "dst_path": "/x"}]),
        )
    });
    attack("passed stream", "ports", &|i| set(i, "/stdout_port", 1));
    attack("string user", "user", &|i| {
        set(
            i,
            "/string_user",
            json!({"uid": "0", "gid": "0", "additionalGids": []}),
        )
    });
    attack("unmask", "paths", &|i| {
        set(i, "/OCI/Linux/MaskedPaths", json!([]))
    });
    attack("mask the application", "paths", &|i| {
        push(i, "/OCI/Linux/MaskedPaths", "/app")
    });
    attack("sysctl", "sysctl", &|i| {
        set(
            i,
            "/OCI/Linux/Sysctl",
            json!({"net.ipv4.conf.all.route_localnet": "1"}),
        )
    });
}
