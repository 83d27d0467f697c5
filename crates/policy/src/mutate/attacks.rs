//! Attacks with a name, known from the literature on these requests.

use serde_json::{Value, json};

use super::{Kind, Mutation};

mod container;

/// Makes a mutation of the request: its name, the place it is about, the change.
type Attack<'a> = dyn FnMut(&str, &str, &dyn Fn(&mut Value)) + 'a;

/// Attacks known from the literature on these requests, each with its name.
pub(super) fn attacks(message: &str, input: &Value, out: &mut Vec<Mutation>) {
    let mut attack = |title: &str, path: &str, change: &dyn Fn(&mut Value)| {
        let mut input = input.clone();
        change(&mut input);
        out.push(Mutation {
            title: title.to_owned(),
            path: path.to_owned(),
            kind: Kind::Attack,
            input,
            before: Value::Null,
        });
    };
    match message {
        "CreateContainerRequest" => container::attacks(&mut attack),
        "CreateSandboxRequest" => {
            attack("hooks", "guest", &|i| set(i, "/guest_hook_path", "/run/x"));
            attack("kernel module", "guest", &|i| {
                set(
                    i,
                    "/kernel_modules",
                    json!([{"name": "evil", "parameters": []}]),
                )
            });
            attack("no storages", "storages", &|i| {
                set(i, "/storages", json!([]))
            });
            attack("host share", "storages", &|i| {
                push(
                    i,
                    "/storages",
                    json!({"driver": "virtio-fs", "driver_options": [], "source": "kataShared", "fstype": "virtiofs", "options": [], "mount_point": "/run/kata-containers/shared/containers/", "fs_group": null, "shared": false}),
                )
            });
            attack("short id", "id", &|i| set(i, "/sandbox_id", "x"));
        }
        "UpdateInterfaceRequest" => {
            attack("loopback by name", "name", &|i| {
                set(i, "/interface/name", "lo")
            });
            attack("loopback by device", "name", &|i| {
                set(i, "/interface/device", "lo")
            });
            attack("loopback by address", "link", &|i| {
                set(i, "/interface/hwAddr", "00:00:00:00:00:00")
            });
            attack("loopback by address, short", "link", &|i| {
                set(i, "/interface/hwAddr", "0:0:0:0:0:0")
            });
            attack("loopback by address, spelled otherwise", "link", &|i| {
                set(i, "/interface/hwAddr", "0:0:0:0:0:+0")
            });
            attack("loopback address", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "127.0.0.5")
            });
            attack("loopback address, version 6", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "0:0:0:0:0:0:0:1")
            });
            attack("mapped loopback address", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "::ffff:127.0.0.1")
            });
            attack("an option as an address", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "--config=/x")
            });
            attack("a word as an address", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "deadbeef")
            });
            attack("a line behind an address", "address", &|i| {
                set(i, "/interface/IPAddresses/0/address", "10.244.0.9\nx")
            });
            attack("name as a path of the state", "name", &|i| {
                set(i, "/interface/name", "eth0/../../c")
            });
        }
        "UpdateRoutesRequest" => {
            attack("route to the loopback", "routes", &|i| {
                set(i, "/routes/Routes/0/dest", "127.0.0.0/8")
            });
            attack("route through the loopback", "routes", &|i| {
                set(i, "/routes/Routes/0/device", "lo")
            });
            attack("route from the loopback", "routes", &|i| {
                set(i, "/routes/Routes/0/source", "127.0.0.1")
            });
            attack("gateway on the loopback", "routes", &|i| {
                set(i, "/routes/Routes/0/gateway", "::1")
            });
        }
        "AddARPNeighborsRequest" => {
            attack("neighbour on the loopback", "neighbors", &|i| {
                set(i, "/neighbors/ARPNeighbors/0/device", "lo")
            });
            attack("loopback as neighbour", "neighbors", &|i| {
                set(
                    i,
                    "/neighbors/ARPNeighbors/0/toIPAddress/address",
                    "127.0.0.1",
                )
            });
        }
        "CopyFileRequest" => {
            attack("a file of the guest", "path", &|i| {
                set(i, "/path", "/run/kata-containers/x")
            });
            attack("a relative path", "path", &|i| {
                set(
                    i,
                    "/path",
                    at(i, "/path")
                        .as_str()
                        .unwrap_or("")
                        .replace("/run/kata-containers/shared/containers/", ""),
                )
            });
            attack("climb", "path", &|i| {
                set(
                    i,
                    "/path",
                    format!("{}/../../x", at(i, "/path").as_str().unwrap_or("")),
                )
            });
            attack("a name no mount uses", "path", &|i| {
                set(
                    i,
                    "/path",
                    format!(
                        "{}x",
                        at(i, "/path")
                            .as_str()
                            .unwrap_or("")
                            .split('/')
                            .take(6)
                            .collect::<Vec<_>>()
                            .join("/")
                    ),
                )
            });
            attack("setuid", "mode", &|i| {
                set(i, "/file_type", "Regular");
                set(i, "/file_mode", 0o104_755);
            });
            attack("absolute symbolic link", "type", &|i| {
                set(i, "/file_type", "Symlink");
                set(i, "/symlink_target", "/etc/shadow");
            });
            attack("climbing symbolic link", "type", &|i| {
                set(i, "/file_type", "Symlink");
                set(i, "/symlink_target", "../x");
            });
            attack("device", "type", &|i| set(i, "/file_type", "Unknown"));
            attack("fill the memory", "size", &|i| {
                set(i, "/file_size", 1_i64 << 40)
            });
            attack("negative offset", "size", &|i| set(i, "/offset", -1));
        }
        "ExecProcessRequest" => {
            attack("run a shell", "args", &|i| {
                set(i, "/process/Args", json!(["/bin/sh"]))
            });
            attack("preload a library", "env", &|i| {
                push(i, "/process/Env", "LD_PRELOAD=/x.so")
            });
            attack("terminal", "zero", &|i| set(i, "/process/Terminal", true));
            attack("as root", "user", &|i| set(i, "/process/User/UID", 4242));
            attack("with capabilities", "zero", &|i| {
                set(
                    i,
                    "/process/Capabilities",
                    json!({"Bounding": ["CAP_SYS_ADMIN"]}),
                )
            });
            attack("in the sandbox", "live", &|i| {
                set(i, "/container_id", "0".repeat(64))
            });
            attack("under the container's own id", "id", &|i| {
                set(i, "/exec_id", at(i, "/container_id").clone())
            });
        }
        "RemoveContainerRequest" => {
            attack("with a time limit", "timeout", &|i| set(i, "/timeout", 1));
            attack("a part of the state", "known", &|i| {
                set(i, "/container_id", "s/pod")
            });
        }
        "StartContainerRequest" => {
            attack("an unknown container", "current", &|i| {
                set(i, "/container_id", "0".repeat(64))
            });
        }
        _ => {}
    }
}

/// The member at a JSON pointer; null if there is none.
pub(super) fn at(value: &Value, pointer: &str) -> Value {
    value.pointer(pointer).cloned().unwrap_or_default()
}

/// The items of the list at a JSON pointer; none if there is no list.
fn at_mut<'a>(value: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = value.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

/// Replaces, or adds to an object, the member at a JSON pointer.
fn set(value: &mut Value, pointer: &str, new: impl Into<Value>) {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(key.to_owned(), new.into());
        }
        Some(parent) => {
            if let Some(place) = key.parse::<usize>().ok().and_then(|at| parent.get_mut(at)) {
                *place = new.into();
            }
        }
        None => {}
    }
}

/// Appends to the list at a JSON pointer.
fn push(value: &mut Value, pointer: &str, item: impl Into<Value>) {
    if let Some(items) = value.pointer_mut(pointer).and_then(Value::as_array_mut) {
        items.push(item.into());
    }
}
