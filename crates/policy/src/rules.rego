# Nacre execution policy, rules nacre1.
#
# The Kata agent asks for data.agent_policy.<message name> before it serves a request of the host;
# `input` is the message. These rules are the same for every workload, policy_data below says what
# one may do. A message passes if each of its checks puts its name into a set; a check that cannot
# be evaluated does not. A denial prints `nacre1 <container> <missing checks>` and never a value.
#
# State (data.pstate) has only keys that the host cannot choose freely:
#   s {id, host, pod, uid} sandbox; app: an app container was created; if {interface: facts}
#   c {64 hex digits: container}: ids ever created; v {volume: device}
#   n {container: {id, up, been}}, been = once started
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
default ExecProcessRequest := false
default GetDiagnosticDataRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default PauseContainerRequest := false
default ReadStreamRequest := false
default RemoveContainerRequest := false
default ReseedRandomDevRequest := false
default ResizeVolumeRequest := false
default ResumeContainerRequest := false
default SetGuestDateTimeRequest := false
default SetIPTablesRequest := false
default SetPolicyRequest := false
default StartContainerRequest := false
default UpdateContainerRequest := false
default UpdateEphemeralMountsRequest := false
default UpdateInterfaceRequest := false
default UpdateRoutesRequest := false
default VolumeStatsRequest := false
default WriteStreamRequest := false

# These can only end or measure what runs.
DestroySandboxRequest := true
GetOOMEventRequest := true
GuestDetailsRequest := true
OnlineCPUMemRequest := true
RemoveStaleVirtiofsShareMountsRequest := true
SignalProcessRequest := true
StatsContainerRequest := true
TtyWinResizeRequest := true
WaitProcessRequest := true

pass(_, missing) if count(missing) == 0
pass(who, missing) if {
	count(missing) > 0
	print("nacre1", who, concat(",", missing))
	false
}
allowed(ops) := {"allowed": true, "ops": ops}
put(path, value) := {"op": "add", "path": concat("/", array.concat(["/pstate"], path)), "value": value}

st := data.pstate
pod := policy_data.pod
tgt := policy_data.target
hex64 := "^[0-9a-f]{64}$"
iface := "^[a-z][a-z0-9]{0,14}$"
full(storage) := object.union({"shared": false}, storage)

# ---- Sandbox: once, before any container.
CreateSandboxRequest := allowed([
	put(["s"], {"id": input.sandbox_id, "host": input.hostname}),
	put(["c"], {}), put(["n"], {}), put(["v"], {}),
]) if pass(".", {"once", "id", "hostname", "guest", "pidns", "dns", "storages"} - sandbox)

sandbox contains "once" if not st.s
sandbox contains "id" if regex.match(hex64, input.sandbox_id)
sandbox contains "hostname" if regex.match(pod.hostname, input.hostname)
sandbox contains "guest" if [input.guest_hook_path, input.kernel_modules] == ["", []]
sandbox contains "pidns" if input.sandbox_pidns == pod.pidns
sandbox contains "dns" if pod.dns == null
sandbox contains "dns" if [x | some x in input.dns; x != ""] == pod.dns
sandbox contains "storages" if [full(x) | some x in input.storages] == [full(x) | some x in tgt.sandbox_storages]

# ---- Network: the loopback is the service mesh's and stays out of the host's reach.
local(a) if regex.match("^(127\\.|0\\.|[0:]*:0*[01]?(/|$)|[0:]*:ffff:|.*:.*\\.)", lower(a))

UpdateInterfaceRequest := allowed(if_ops) if pass(".", {"name", "link", "address", "once"} - link)
i := input.interface
facts := {"device": i.device, "hw": i.hwAddr, "ips": [a.address | some a in i.IPAddresses]}
link contains "name" if every n in [i.name, i.device] { regex.match(iface, n); n != "lo" }
link contains "link" if { i.hwAddr != "00:00:00:00:00:00"; i.raw_flags in {0, 128} }
link contains "address" if every a in i.IPAddresses { not local(a.address) }
link contains "once" if count(if_ops) < 2
if_ops := [put(["if"], {i.name: facts})] if not st["if"]
if_ops := [put(["if", i.name], facts)] if { not st["if"][i.name]; count(st["if"]) < 16 }
if_ops := [] if st["if"][i.name] == facts

UpdateRoutesRequest if pass(".", {"routes"} - routes)
routes contains "routes" if every r in input.routes.Routes {
	r.device != "lo"
	every a in [r.source, r.gateway, r.dest] { route(a) }
}
route(a) if a in {"", "0.0.0.0/0", "::/0"}
route(a) if not local(a)

AddARPNeighborsRequest if pass(".", {"neighbors"} - neighbors)
neighbors contains "neighbors" if every n in input.neighbors.ARPNeighbors {
	n.device != "lo"
	n.toIPAddress.mask == ""
	not local(n.toIPAddress.address)
	n.state in {2, 128}
	n.flags in {0, 8, 128, 136}
}

# ---- Files: only under the names of declared mounts; content is the host's.
CopyFileRequest if pass(".", {"path", "type", "mode", "size"} - file)
parts := p if {
	some b in tgt.shared
	p := split(trim_prefix(input.path, b), "/")
	regex.match("^[0-9a-f]{64}-[0-9a-f]{16}-", p[0])
}
file contains "path" if {
	substring(parts[0], 82, -1) in pod.files
	every p in parts { not p in {"", ".", ".."} }
}
file contains "type" if input.file_type in {"Regular", "Directory"}
file contains "type" if {
	input.file_type == "Symlink"
	count(parts) > 1
	every p in split(input.symlink_target, "/") { not p in {"", ".."} }
}
file contains "mode" if input.file_type != "Regular"
file contains "mode" if bits.and(input.file_mode, 3072) == 0 # setuid, setgid
file contains "size" if { input.file_size <= tgt.file_size; input.offset >= 0; input.offset <= input.file_size }

# ---- Containers. The pause container's process and image come from the measured guest.
spec := input.OCI
anno := spec.Annotations
proc := spec.Process
lin := spec.Linux
cid := input.container_id
name := object.get(anno, "io.kubernetes.cri.container-name", ".")
c := policy_data.containers[name]
who := name if c
who := "?" if not c
pause := c.kind == "pause"
last := object.get(st.n, name, {})
mounts := object.union(policy_data.mounts[c.base], c.mounts)

CreateContainerRequest := allowed(array.concat([
	put(["c", cid], name),
	put(["n", name], {"id": cid, "up": false, "been": object.get(last, "been", false)}),
], array.concat(array.concat(app, pods), devs))) if pass(who, needed - create)

needed := {k | some k, _ in want} | {
	"annotations", "args", "blocks", "cgroup", "devices", "env", "id", "image", "labels", "live", "masked",
	"mountorder", "mounts", "order", "readonly", "storages", "sysctl",
}
devs := [put(["v", b[0]], b[1]) | some b in blocks]
app := [put(["app"], true) | c.kind == "app"]
pods := [put(["s", k], v) | pause; some k, v in {"pod": pod_name, "uid": pod_uid}]
pod_name := anno["io.kubernetes.cri.sandbox-name"]
pod_uid := object.get(anno, "io.kubernetes.cri.sandbox-uid", "")

create contains "id" if {
	regex.match(hex64, cid)
	input.exec_id == cid
	not st.c[cid]
	count(st.c) < 10000
	pause == (cid == st.s.id)
}

# One live instance of a name; one that never started is replaced. Init containers in order and
# before any app container: of that only the requests are visible here, not their success.
create contains "live" if not last.up
create contains "order" if { every x in c.after { st.n[x].been }; not late }
late if { c.kind == "init"; st.app }

# What must be equal: want[k] without an equal got[k] denies.
want := object.union(c.want, {
	"zero": [null, [], [], [], null, null, null, "", "", null, null, "", [], [], null, null, null, "", null, [], [0, 0, 0]],
	"root": [replace(tgt.root, "{cid}", cid), c.ro],
	"caps": [x | some n in [c.caps, c.caps, c.caps, "none", "none"]; x := {y | some y in policy_data.caps[n]}],
	"namespaces": {"ipc", "mnt", "uts"},
})
got := {
	"zero": [
		input.string_user, input.shared_mounts, lin.UIDMappings, lin.GIDMappings, spec.Hooks, spec.Solaris, spec.Windows,
		lin.MountLabel, lin.RootfsPropagation, lin.IntelRdt, lin.Seccomp, proc.SelinuxLabel, proc.Rlimits,
		lin.Resources.Devices, lin.Resources.Pids, lin.Resources.BlockIO, lin.Resources.Network, proc.User.Username,
		proc.ConsoleSize, [x | some x in lin.Namespaces; x.Path != ""], ports,
	],
	"root": [spec.Root.Path, spec.Root.Readonly],
	"caps": [x | some s in ["Bounding", "Effective", "Permitted", "Inheritable", "Ambient"]; x := caps(s)],
	"namespaces": {replace(lower(x.Type), "mount", "mnt") | some x in lin.Namespaces} - {"cgroup"},
	"cwd": proc.Cwd,
	"nnp": proc.NoNewPrivileges,
	"pidns": input.sandbox_pidns,
	"tty": proc.Terminal,
	"user": user(proc.User),
}
caps(s) := {trim_prefix(x, "CAP_") | some x in proc.Capabilities[s]}
user(u) := [u.UID, u.GID, sort({g | some g in u.AdditionalGids})]
ports := [object.get(input, p, 0) | some p in ["stdin_port", "stdout_port", "stderr_port"]]

create contains k if { some k, v in want; got[k] == v }
create contains "labels" if { spec.Version in tgt.oci; proc.ApparmorProfile in tgt.apparmor }
create contains "cgroup" if { regex.match(tgt.cgroup, lin.CgroupsPath); endswith(lin.CgroupsPath, cid); not contains(lin.CgroupsPath, "..") }
create contains "args" if argv(proc.Args, c)
create contains "env" if env(proc.Env, c)

argv(have, p) if {
	count(have) == count(p.args)
	every k, a in have { arg(a, p.args[k]) }
}
arg(a, p) if a == p
arg(a, p) if regex.match(p.re, a)

# Every variable of the policy, no name twice, any other only as env_free says.
env(have, p) if {
	all := {e | some e in have}
	names := {split(e, "=")[0] | some e in have}
	count(names) == count(have)
	every e in p.env { e in all }
	every n in p.env_must { n in names }
	every e in all - {e | some e in p.env} { value(p.env_free[split(e, "=")[0]], substring(e, indexof(e, "=") + 1, -1)) }
}
value(rule, v) if { startswith(rule, "^"); regex.match(rule, v) }
value("@host", v) if v == st.s.host
value("@pod", v) if v == st.s.pod
value("@uid", v) if v == st.s.uid
value("@ip", v) if { some f in st["if"]; v in f.ips }

# Annotations: a closed set, for some tell the agent what a container is.
exact := object.union(c.annotations, {
	"io.katacontainers.pkg.oci.bundle_path": concat("", [tgt.bundle, cid]),
	"io.kubernetes.cri.sandbox-id": st.s.id,
	"io.kubernetes.cri.sandbox-namespace": pod.namespace,
})
create contains "annotations" if {
	every k, v in exact { anno[k] == v }
	every k, v in anno { annotation(k, v) }
	regex.match(pod.name, pod_name)
	same_pod
}
same_pod if pause
same_pod if [pod_name, pod_uid] == [st.s.pod, st.s.uid]
annotation(k, v) if v == exact[k]
annotation(k, v) if regex.match(tgt.annotations[k], v)
annotation(k, v) if v == pod.annotations[k]
annotation(k, _) if k in tgt.carriers

# Image: one storage; what the guest pulls, its metadata and the annotation name one digest.
create contains "image" if {
	[s] := [x | some x in input.storages; x.driver == "image_guest_pull"]
	[s.fstype, s.options, s.fs_group, full(s).shared, s.mount_point] == ["overlay", [], null, false, spec.Root.Path]
	[option] := s.driver_options
	startswith(option, "image_guest_pull={")
	meta := json.unmarshal(substring(option, 17, -1)).metadata
	meta["io.kubernetes.cri.container-type"] == anno["io.kubernetes.cri.container-type"]
	every k, v in meta { metadata(k, v) }
	pinned(s.source)
}
metadata(k, v) if anno[k] == v
metadata(k, _) if startswith(k, "containerd.io/snapshot")
pinned(source) if { pause; source in c.image.names }
pinned(source) if {
	anno["io.kubernetes.cri.image-name"] == source
	[n, digest] := split(source, "@")
	n in c.image.names
	digest == c.image.digest
}

# Mounts: a bijection by destination, parents before children.
at := {m.destination: k | some k, m in spec.Mounts}
create contains "mounts" if {
	{m.destination | some m in spec.Mounts} == {d | some d, _ in mounts}
	count(spec.Mounts) == count(mounts)
	every m in spec.Mounts { mount(m, mounts[m.destination]) }
}
create contains "mountorder" if every pair in c.nested { at[pair[0]] < at[pair[1]] }
mount(m, p) if { m.type_ == p.t; source(m.source, p); options(m.options, p) }
options(o, p) if o == p.o
options(o, p) if {
	count({x | some x in p.o} - {x | some x in o}) == 0
	every x in o { x in array.concat(p.o, p.x) }
}
source(s, p) if s == replace(p.s, "{sid}", st.s.id)
source(s, p) if {
	some b in tgt.shared
	rest := trim_prefix(s, concat("", [b, cid, "-"]))
	rest != s
	regex.match("^[0-9a-f]{16}-", rest)
	substring(rest, 17, -1) == p.f
}
source(s, p) if [p.v, s] in blocks

# Storages: those of the policy, the image, and one device for each block volume, always the same.
blocks := {[p.v, m.source] | some m in spec.Mounts; p := mounts[m.destination]; p.v}
create contains "storages" if {
	points := {b[1] | some b in blocks}
	{full(s) | some s in input.storages; s.driver != "image_guest_pull"; not s.mount_point in points} == {object.union(full(s), {"mount_point": replace(s.mount_point, "{sid}", st.s.id)}) | some s in c.storages}
	count(input.storages) == (count(c.storages) + count(blocks)) + 1
}
create contains "blocks" if {
	count({b[0] | some b in blocks}) == count(blocks)
	count({b[1] | some b in blocks}) == count(blocks)
	every b in blocks { block(b[0], b[1]) }
}
block(v, point) if {
	object.get(st.v, v, point) == point
	every w, q in st.v { [w == v, q == point] in [[true, true], [false, false]] }
	[s] := [x | some x in input.storages; x.mount_point == point]
	s.driver in {"blk", "scsi"}
	regex.match("^([0-9a-f]{2}(/[0-9a-f]{2})?|[0-9]+:[0-9]+)$", s.source)
	point == concat("", [tgt.block_base, base64url.encode(s.source)])
	object.remove(full(s), ["driver", "source", "mount_point"]) == policy_data.volumes[v]
}
create contains "devices" if {
	need := {d | some d in c.devices}
	{d.Path | some d in lin.Devices} == need
	{d.container_path | some d in input.devices} == need
	count(input.devices) == count(need)
	every d in input.devices { d.type_ in tgt.device_types }
}
create contains "sysctl" if {
	every k, v in c.sysctl { lin.Sysctl[k] == v }
	every k, v in lin.Sysctl { v == object.union(tgt.sysctl, c.sysctl)[k] }
}
create contains "masked" if paths(lin.MaskedPaths, policy_data.paths[c.paths].masked, tgt.masked_extra)
create contains "readonly" if paths(lin.ReadonlyPaths, policy_data.paths[c.paths].readonly, "^$")
paths(have, need, extra) if {
	every p in need { p in have }
	every p in have { path(p, need, extra) }
}
path(p, need, _) if p in need
path(p, _, extra) if regex.match(extra, p)

# ---- The life of a container, known by the id under which it was created.
own := object.get(st.c, cid, "?")
mine := policy_data.containers[own]
current if st.n[own].id == cid

StartContainerRequest := allowed([put(["n", own], {"id": cid, "up": true, "been": true})]) if pass(own, {"current"} - start)
start contains "current" if { current; not st.n[own].up }

RemoveContainerRequest := allowed(down) if pass(own, {"known", "timeout"} - remove)
down := [put(["n", own, "up"], false) | current]
remove contains "known" if st.c[cid]
remove contains "timeout" if input.timeout == 0

ExecProcessRequest if pass(own, {"live", "id", "command", "env", "user", "cwd", "nnp", "zero"} - exec)
run := input.process
exec contains "live" if { current; st.n[own].up }
exec contains "id" if { regex.match("^[0-9a-f-]{16,64}$", input.exec_id); input.exec_id != cid }
exec contains "command" if { some e in mine.exec; argv(run.Args, e) }
exec contains "command" if mine.debug
exec contains "env" if env(run.Env, mine)
exec contains "user" if [user(run.User), run.User.Username] == [mine.want.user, ""]
exec contains "cwd" if run.Cwd == mine.want.cwd
exec contains "nnp" if run.NoNewPrivileges in {false, mine.want.nnp}
exec contains "zero" if {
	[input.string_user, run.Capabilities, run.Terminal, run.SelinuxLabel, run.Rlimits, run.ConsoleSize] == [null, null, false, "", [], null]
	run.ApparmorProfile in tgt.apparmor
	ports == [0, 0, 0]
}

ReadStreamRequest if mine.logs
WriteStreamRequest if mine.stdin
CloseStdinRequest if mine.stdin
