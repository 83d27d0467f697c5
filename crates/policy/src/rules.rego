# Nacre execution policy, rules nacre1.
#
# The Kata agent asks for data.agent_policy.<message name> before it serves a request of the
# host; `input` is the message as JSON. These rules are the same for every workload; what the
# workload may do stands in policy_data, below them. Nothing is allowed unless a rule here says
# so. A guarded message has a list of checks; each check that holds puts its name into a set,
# and the request passes only if no name of the list is missing. A check that cannot be
# evaluated does not hold. On a denial one line is printed, for it reaches the host:
# `nacre1 <container> <names of missing checks>`. It never holds a value.
#
# State (data.pstate) is written only below keys the host cannot choose freely:
#   s   {id, host, pod, uid}      the sandbox, once
#   c   {container id: name}      every id ever created; ids are 64 hex digits
#   n   {container name: {id, up, been}}   names are those of policy_data
#   v   {volume name: block device}        likewise
#   app true                      after the first create of an app container
#   if  {interface: address facts}         names match iface_re
package agent_policy

import future.keywords.contains
import future.keywords.every
import future.keywords.if
import future.keywords.in

default AddARPNeighborsRequest := false
default AddSwapPathRequest := false
default AddSwapRequest := false
default AllowRequestsFailingPolicy := false
default CloseStdinRequest := false
default CopyFileRequest := false
default CreateContainerRequest := false
default CreateSandboxRequest := false
default DestroySandboxRequest := false
default ExecProcessRequest := false
default GetDiagnosticDataRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default GetOOMEventRequest := false
default GuestDetailsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default OnlineCPUMemRequest := false
default PauseContainerRequest := false
default ReadStreamRequest := false
default RemoveContainerRequest := false
default RemoveStaleVirtiofsShareMountsRequest := false
default ReseedRandomDevRequest := false
default ResizeVolumeRequest := false
default ResumeContainerRequest := false
default SetGuestDateTimeRequest := false
default SetIPTablesRequest := false
default SetPolicyRequest := false
default SignalProcessRequest := false
default StartContainerRequest := false
default StartTracingRequest := false
default StatsContainerRequest := false
default StopTracingRequest := false
default TtyWinResizeRequest := false
default UpdateContainerRequest := false
default UpdateEphemeralMountsRequest := false
default UpdateInterfaceRequest := false
default UpdateRoutesRequest := false
default VolumeStatsRequest := false
default WaitProcessRequest := false
default WriteStreamRequest := false

# Harmless: they can only end or measure what runs.
DestroySandboxRequest := true
GetOOMEventRequest := true
GuestDetailsRequest := true
OnlineCPUMemRequest := true
RemoveStaleVirtiofsShareMountsRequest := true
SignalProcessRequest := true
StatsContainerRequest := true
TtyWinResizeRequest := true
WaitProcessRequest := true

verdict(_, missing) if count(missing) == 0
verdict(who, missing) if {
	count(missing) > 0
	print("nacre1", who, concat(",", missing))
	false
}

allowed(ops) := {"allowed": true, "ops": ops}
put(path, value) := {"op": "add", "path": concat("/", ["/pstate", path]), "value": value}

st := data.pstate
pod := policy_data.pod
tgt := policy_data.target
hex64 := "^[0-9a-f]{64}$"
iface_re := "^[a-z][a-z0-9]{0,14}$"
norm(s) := object.union({"shared": false}, s)

# ---- sandbox: once, before any container -------------------------------------------------
CreateSandboxRequest := allowed([
	put("s", {"id": input.sandbox_id, "host": input.hostname}),
	put("c", {}), put("n", {}), put("v", {}),
]) if verdict(".", {"once", "id", "hostname", "hooks", "modules", "pidns", "dns", "storages"} - sandbox_ok)

sandbox_ok contains "once" if not st.s
sandbox_ok contains "id" if regex.match(hex64, input.sandbox_id)
sandbox_ok contains "hostname" if regex.match(pod.hostname, input.hostname)
sandbox_ok contains "hooks" if input.guest_hook_path == ""
sandbox_ok contains "modules" if input.kernel_modules == []
sandbox_ok contains "pidns" if input.sandbox_pidns == pod.pidns
sandbox_ok contains "dns" if pod.dns == null
sandbox_ok contains "dns" if {d | some d in input.dns; d != ""} == {d | some d in pod.dns}
sandbox_ok contains "storages" if {
	count(input.storages) == count(tgt.sandbox_storages)
	{norm(s) | some s in input.storages} == {norm(s) | some s in tgt.sandbox_storages}
}

# ---- network: never the loopback, on which the service mesh listens -----------------------
local(a) if regex.match("^(127\\.|0\\.|[0:]*:0*[01]?(/|$)|[0:]*:ffff:|.*:.*\\.)", lower(a))
default_route := {"", "0.0.0.0/0", "::/0"}

UpdateInterfaceRequest := allowed(if_ops) if
	verdict(".", {"name", "device", "hwaddr", "flags", "address", "once"} - if_ok)

i := input.interface
facts := {"device": i.device, "hw": i.hwAddr, "ips": [a.address | some a in i.IPAddresses]}
if_ok contains "name" if { regex.match(iface_re, i.name); i.name != "lo" }
if_ok contains "device" if { regex.match(iface_re, i.device); i.device != "lo" }
if_ok contains "hwaddr" if i.hwAddr != "00:00:00:00:00:00"
if_ok contains "flags" if i.raw_flags in {0, 128}
if_ok contains "address" if every a in i.IPAddresses { not local(a.address) }
if_ok contains "once" if count(if_ops) < 2
if_ops := [put("if", {i.name: facts})] if not st["if"]
if_ops := [put(concat("/", ["if", i.name]), facts)] if { not st["if"][i.name]; count(st["if"]) < 16 }
if_ops := [] if st["if"][i.name] == facts

UpdateRoutesRequest if verdict(".", {"routes"} - routes_ok)
routes_ok contains "routes" if every r in input.routes.Routes {
	r.device != "lo"
	not local(r.source)
	not local(r.gateway)
	dest_ok(r.dest)
}
dest_ok(d) if d in default_route
dest_ok(d) if not local(d)

AddARPNeighborsRequest if verdict(".", {"neighbors"} - arp_ok)
arp_ok contains "neighbors" if every n in input.neighbors.ARPNeighbors {
	n.device != "lo"
	n.toIPAddress.mask == ""
	not local(n.toIPAddress.address)
	n.state in {2, 128}
	n.flags in {0, 8, 128, 136}
}

# ---- files: only under names that a declared mount uses -----------------------------------
CopyFileRequest if verdict(".", {"path", "type", "mode", "size"} - file_ok)

file_parts := split(trim_prefix(input.path, file_base), "/")
file_base := b if { some b in tgt.shared; regex.match("^[0-9a-f]{64}-", trim_prefix(input.path, b)) }
file_ok contains "path" if {
	regex.match("^[0-9a-f]{64}-[0-9a-f]{16}-", file_parts[0])
	substring(file_parts[0], 82, -1) in pod.files
	every p in file_parts { not p in {"", ".", ".."} }
}
file_ok contains "type" if input.file_type in {"Regular", "Directory"}
file_ok contains "type" if {
	input.file_type == "Symlink"
	count(file_parts) > 1
	not startswith(input.symlink_target, "/")
	every p in split(input.symlink_target, "/") { p != ".." }
}
file_ok contains "mode" if input.file_type != "Regular"
file_ok contains "mode" if bits.and(input.file_mode, 3072) == 0
file_ok contains "size" if { input.file_size <= tgt.file_size; input.offset >= 0; input.offset <= input.file_size }

# ---- containers ----------------------------------------------------------------------------
O := input.OCI
A := O.Annotations
P := O.Process
L := O.Linux
cid := input.container_id
# The pause container has no name of its own; "." is no container name.
name := object.get(A, "io.kubernetes.cri.container-name", ".")
c := policy_data.containers[name]
who := name if c
who := "?" if not c
base := policy_data.mounts[c.base]
now := object.get(st.n, name, {})

CreateContainerRequest := allowed(create_ops) if verdict(who, create_checks - create_ok)

create_checks := {
	"id", "live", "order", "annotations", "image", "version", "args", "env", "mounts", "mountorder",
	"storages", "blocks", "devices", "sysctl", "masked", "readonly", "cgroup",
} | {k | some k, _ in want}

create_ops := array.concat([put(concat("/", ["c", cid]), name), put(concat("/", ["n", name]), {
	"id": cid, "up": false, "been": object.get(now, "been", false),
})], array.concat(kind_ops, [put(concat("/", ["v", b[0]]), b[1]) | some b in blocks]))

kind_ops := [put("app", true)] if c.kind == "app"
kind_ops := [put("s/pod", A["io.kubernetes.cri.sandbox-name"]), put("s/uid", uid)] if c.kind == "pause"
kind_ops := [] if c.kind in {"init", "side"}
uid := object.get(A, "io.kubernetes.cri.sandbox-uid", "")

# One live instance per name; a create replaces one that was never started.
create_ok contains "id" if {
	regex.match(hex64, cid)
	input.exec_id == cid
	not st.c[cid]
	count(st.c) < 10000
	own_id
}
own_id if { c.kind == "pause"; cid == st.s.id }
own_id if { c.kind != "pause"; cid != st.s.id }
create_ok contains "live" if not object.get(now, "up", false)
create_ok contains "order" if {
	every x in c.after { st.n[x].been == true }
	not late
}
late if { c.kind == "init"; st.app }

# Exactly these must be equal. want[k] without an equal got[k] denies.
want := object.union(c.want, {
	"zero": [null, [], [], [], null, null, null, "", "", null, null, "", [], [], [], "", null, [], null, null, null],
	"ports": [0, 0, 0],
	"root": [replace(tgt.root, "{cid}", cid), c.ro],
	"caps": [policy_data.caps[c.caps], policy_data.caps[c.caps], policy_data.caps[c.caps], [], []],
	"namespaces": tgt.namespaces,
})
got["zero"] := [
	input.string_user, input.shared_mounts, L.UIDMappings, L.GIDMappings, O.Hooks, O.Solaris, O.Windows, L.MountLabel,
	L.RootfsPropagation, L.IntelRdt, L.Seccomp, P.SelinuxLabel, P.Rlimits, L.Resources.Devices, L.Resources.HugepageLimits,
	P.User.Username, P.ConsoleSize, [n | some n in L.Namespaces; n.Path != ""], L.Resources.Pids, L.Resources.BlockIO,
	L.Resources.Network,
]
got["ports"] := [object.get(input, p, 0) | some p in ["stdin_port", "stdout_port", "stderr_port"]]
got["root"] := [O.Root.Path, O.Root.Readonly]
got["caps"] := [[x | some y in {trim_prefix(z, "CAP_") | some z in s}; x := y] | some s in [
	P.Capabilities.Bounding, P.Capabilities.Effective, P.Capabilities.Permitted,
	P.Capabilities.Inheritable, P.Capabilities.Ambient,
]]
got["namespaces"] := sort([t | some n in L.Namespaces; t := ns_type(n.Type); not t in tgt.namespaces_extra])
got["cwd"] := P.Cwd
got["uid"] := P.User.UID
got["gid"] := P.User.GID
got["groups"] := sort({g | some g in P.User.AdditionalGids})
got["nnp"] := P.NoNewPrivileges
got["tty"] := P.Terminal
got["apparmor"] := P.ApparmorProfile
got["pidns"] := input.sandbox_pidns
ns_type(t) := object.get({"mount": "mnt"}, lower(t), lower(t))

create_ok contains k if { some k, v in want; got[k] == v }
create_ok contains "version" if O.Version in tgt.oci
create_ok contains "cgroup" if { regex.match(tgt.cgroup, L.CgroupsPath); endswith(L.CgroupsPath, cid); not contains(L.CgroupsPath, "..") }
create_ok contains "args" if argv(P.Args, c.args, object.get(c, "args_re", {}))
create_ok contains "env" if env(P.Env, c)

argv(have, need, re) if {
	count(have) == count(need)
	every k, a in have { arg(a, need[k], object.get(re, sprintf("%d", [k]), "")) }
}
arg(a, need, "") if a == need
arg(a, _, re) if { re != ""; regex.match(re, a) }

# Every variable of the policy, no name twice, any other only as env_free says.
env(have, p) if {
	all := {e | some e in have}
	need := {e | some e in p.env}
	names := {split(e, "=")[0] | some e in have}
	count(names) == count(have)
	count(need - all) == 0
	every n in p.env_must { n in names }
	every e in all - need { env_value(p.env_free[split(e, "=")[0]], substring(e, indexof(e, "=") + 1, -1)) }
}
env_value(rule, v) if { startswith(rule, "^"); regex.match(rule, v) }
env_value("@host", v) if v == st.s.host
env_value("@pod", v) if v == st.s.pod
env_value("@uid", v) if v == st.s.uid
env_value("@ip", v) if { some _, f in st["if"]; v in f.ips }

# Annotations: a closed set. The agent decides by some of them what a container is.
exact := object.union(c.annotations, {
	"io.katacontainers.pkg.oci.bundle_path": concat("", [tgt.bundle, cid]),
	"io.kubernetes.cri.sandbox-id": st.s.id,
	"io.kubernetes.cri.sandbox-namespace": pod.namespace,
})
create_ok contains "annotations" if {
	every k, v in exact { A[k] == v }
	every k, v in A { annotation(k, v) }
	regex.match(pod.name, A["io.kubernetes.cri.sandbox-name"])
	same_pod
}
same_pod if c.kind == "pause"
same_pod if { A["io.kubernetes.cri.sandbox-name"] == st.s.pod; uid == st.s.uid }
annotation(k, v) if v == exact[k]
annotation(k, v) if regex.match(tgt.annotations[k], v)
annotation(k, v) if v == pod.annotations[k]
annotation(k, _) if k in tgt.carriers

# Image: one storage; what the guest pulls, what the metadata says and what the annotation
# says is one reference, by digest. The pause container's image is part of the measured guest.
pulls := [s | some s in input.storages; s.driver == "image_guest_pull"]
create_ok contains "image" if {
	count(pulls) == 1
	s := pulls[0]
	[s.fstype, s.options, s.fs_group, object.get(s, "shared", false), s.mount_point] == ["overlay", [], null, false, O.Root.Path]
	count(s.driver_options) == 1
	startswith(s.driver_options[0], "image_guest_pull={")
	meta := json.unmarshal(substring(s.driver_options[0], 17, -1)).metadata
	meta["io.kubernetes.cri.container-type"] == A["io.kubernetes.cri.container-type"]
	every k, v in meta { metadata(k, v) }
	pinned(s.source)
}
metadata(k, v) if A[k] == v
metadata(k, _) if startswith(k, "containerd.io/snapshot")
pinned(source) if { c.kind == "pause"; source in c.image.names }
pinned(source) if {
	c.kind != "pause"
	A["io.kubernetes.cri.image-name"] == source
	[n, digest] := split(source, "@")
	n in c.image.names
	digest == c.image.digest
}

# Mounts: a bijection by destination, no parent over its child.
mounts := object.union(base, c.mounts)
at := {m.destination: k | some k, m in O.Mounts}
create_ok contains "mounts" if {
	count(O.Mounts) == count(mounts)
	count(at) == count(mounts)
	every m in O.Mounts { mount(m, mounts[m.destination]) }
}
create_ok contains "mountorder" if every pair in c.nested { at[pair[0]] < at[pair[1]] }
mount(m, p) if { m.type_ == p.t; source(m.source, p); options(m.options, p) }
options(o, p) if o == p.o
options(o, p) if { need := {x | some x in p.o}; have := {x | some x in o}; need - have == set(); have - need - {x | some x in p.x} == set() }
place(t) := replace(replace(t, "{cid}", cid), "{sid}", st.s.id)
source(s, p) if s == place(p.s)
source(s, p) if {
	some b in tgt.shared
	rest := trim_prefix(s, concat("", [b, cid, "-"]))
	rest != s
	regex.match("^[0-9a-f]{16}-", rest)
	substring(rest, 17, -1) == p.f
}
source(s, p) if [p.v, s] in volume_sources

# Storages: those of the policy, one per block volume, and the image.
create_ok contains "storages" if {
	{norm(s) | some s in input.storages; s.driver != "image_guest_pull"; not s.mount_point in block_points} == {norm(object.union(s, {"mount_point": place(s.mount_point)})) | some s in c.storages}
	count(input.storages) == count(c.storages) + count(volume_sources) + 1
}
volume_sources := {[p.v, m.source] | some m in O.Mounts; p := mounts[m.destination]; p.v}
block_points := {b[1] | some b in volume_sources}
blocks := [b | some b in volume_sources; not st.v[b[0]]]
create_ok contains "blocks" if {
	count(block_points) == count(volume_sources)
	count({b[0] | some b in volume_sources}) == count(volume_sources)
	every b in volume_sources { block(b[0], b[1]) }
}
block(v, point) if {
	object.get(st.v, v, point) == point
	count([w | some w, q in st.v; q == point; w != v]) == 0
	[s] := [s | some s in input.storages; s.mount_point == point]
	s.driver in {"blk", "scsi"}
	regex.match("^([0-9a-f]{2}(/[0-9a-f]{2})?|[0-9]+:[0-9]+)$", s.source)
	point == concat("", [tgt.block_base, base64url.encode(s.source)])
	object.remove(norm(s), ["driver", "source", "mount_point"]) == policy_data.volumes[v]
}

create_ok contains "devices" if {
	want_devices := {d | some d in c.devices}
	{d.Path | some d in L.Devices} == want_devices
	{d.container_path | some d in input.devices} == want_devices
	count(input.devices) == count(want_devices)
	every d in input.devices { d.type_ in tgt.device_types }
}
create_ok contains "sysctl" if {
	every k, v in c.sysctl { L.Sysctl[k] == v }
	every k, v in L.Sysctl { v in {object.get(c.sysctl, k, null), object.get(tgt.sysctl, k, null)} }
}
create_ok contains "masked" if paths(L.MaskedPaths, policy_data.paths[c.paths].masked, tgt.masked_extra)
create_ok contains "readonly" if paths(L.ReadonlyPaths, policy_data.paths[c.paths].readonly, [])
paths(have, need, extra) if {
	h := {p | some p in have}
	n := {p | some p in need}
	n - h == set()
	every p in h - n { regex.match(concat("", ["^(", concat("|", extra), ")$"]), p) }
}

# ---- the life of a container -----------------------------------------------------------------
own := st.c[cid]
mine := policy_data.containers[own]
current if st.n[own].id == cid
up := object.union(st.n[own], {"up": true, "been": true})

StartContainerRequest := allowed([put(concat("/", ["n", own]), up)]) if
	verdict(object.get(st.c, cid, "?"), {"current"} - start_ok)
start_ok contains "current" if { current; not st.n[own].up }

RemoveContainerRequest := allowed(remove_ops) if verdict(object.get(st.c, cid, "?"), {"known", "timeout"} - remove_ok)
remove_ok contains "known" if own
remove_ok contains "timeout" if input.timeout == 0
remove_ops := [put(concat("/", ["n", own, "up"]), false)] if current
remove_ops := [] if not current

ExecProcessRequest if verdict(object.get(st.c, cid, "?"), {"live", "id", "command", "env", "user", "cwd", "nnp", "caps", "zero"} - exec_ok)
X := input.process
exec_ok contains "live" if { current; st.n[own].up }
exec_ok contains "id" if { regex.match("^[0-9a-f-]{16,64}$", input.exec_id); input.exec_id != cid }
exec_ok contains "command" if { some e in mine.exec; argv(X.Args, e.args, object.get(e, "args_re", {})) }
exec_ok contains "command" if mine.debug
exec_ok contains "env" if env(X.Env, mine)
exec_ok contains "user" if [X.User.UID, X.User.GID, sort({g | some g in X.User.AdditionalGids}), X.User.Username] == [mine.want.uid, mine.want.gid, mine.want.groups, ""]
exec_ok contains "cwd" if X.Cwd == mine.want.cwd
exec_ok contains "nnp" if X.NoNewPrivileges in {false, mine.want.nnp}
exec_ok contains "caps" if X.Capabilities == null
exec_ok contains "zero" if [
	input.string_user, X.Terminal, X.ApparmorProfile, X.SelinuxLabel, X.Rlimits, X.ConsoleSize,
	object.get(input, "stdin_port", 0), object.get(input, "stdout_port", 0), object.get(input, "stderr_port", 0),
] == [null, false, "", "", [], null, 0, 0, 0]
ReadStreamRequest if mine.logs
WriteStreamRequest if mine.stdin
CloseStdinRequest if mine.stdin
