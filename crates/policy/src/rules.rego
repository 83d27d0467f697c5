# Nacre execution policy, rules nacre1.
#
# docs/policies.md explains every line. A message passes if each of its checks puts its name into
# a set; one that cannot be evaluated does not. A denial prints names of checks, never a value.
package agent_policy

import future.keywords

default AddARPNeighborsRequest := false
default CloseStdinRequest := false
default CopyFileRequest := false
default CreateContainerRequest := false
default CreateSandboxRequest := false
default ExecProcessRequest := false
default ReadStreamRequest := false
default RemoveContainerRequest := false
default StartContainerRequest := false
default UpdateInterfaceRequest := false
default UpdateRoutesRequest := false
default WriteStreamRequest := false

# Never.
AddSwapPathRequest := false
AddSwapRequest := false
AllowRequestsFailingPolicy := false
GetDiagnosticDataRequest := false
GetIPTablesRequest := false
GetMetricsRequest := false
ListInterfacesRequest := false
ListRoutesRequest := false
MemAgentCompactConfig := false
MemAgentMemcgConfig := false
MemHotplugByProbeRequest := false
PauseContainerRequest := false
ReseedRandomDevRequest := false
ResizeVolumeRequest := false
ResumeContainerRequest := false
SetGuestDateTimeRequest := false
SetIPTablesRequest := false
SetPolicyRequest := false
UpdateContainerRequest := false
UpdateEphemeralMountsRequest := false
VolumeStatsRequest := false

# Harmless.
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
all := policy_data
pod := all.pod
tgt := all.target
hex64 := "^[0-9a-f]{64}$"
none := {null, "", [], 0, false}
full(storage) := object.union({"shared": false}, storage)

# Sandbox: once and first.
CreateSandboxRequest := allowed([
	put(["s"], {"id": input.sandbox_id, "host": input.hostname}),
	put(["c"], {}), put(["n"], {}), put(["k"], {}), put(["v"], {}),
]) if pass(".", {"once", "names", "guest", "dns", "storages"} - sandbox)

sandbox contains "once" if not st.s
sandbox contains "names" if { regex.match(hex64, input.sandbox_id); regex.match(pod.hostname, input.hostname) }
sandbox contains "guest" if [input.guest_hook_path, input.kernel_modules, input.sandbox_pidns] == ["", [], pod.pidns]
sandbox contains "dns" if pod.dns == null
sandbox contains "dns" if [x | some x in input.dns; x != ""] == pod.dns
sandbox contains "storages" if [full(x) | some x in input.storages] == tgt.storages

# Network: never the loopback.
local(a) if regex.match("^(127\\.|0\\.|[0:]*:0*[01]?(/|$)|[0:]*:ffff:|.*:.*\\.)", lower(a))

UpdateInterfaceRequest := allowed([put(["if"], object.union(links, {i.name: i}))]) if
	pass(".", {"name", "link", "address", "once"} - iface)
i := input.interface
links := object.get(st, "if", {})
iface contains "name" if every n in [i.name, i.device] { regex.match("^[a-z][a-z0-9]{0,14}$", n); n != "lo" }
iface contains "link" if { i.hwAddr != "00:00:00:00:00:00"; regex.match("^([0-9a-f]{2}:){5}[0-9a-f]{2}$", i.hwAddr); i.raw_flags in {0, 128} }
iface contains "address" if every a in i.IPAddresses { not local(a.address) }
iface contains "once" if { object.get(links, i.name, i) == i; count(links) < 16 }

UpdateRoutesRequest if pass(".", {"routes"} - routes)
routes contains "routes" if every r in input.routes.Routes {
	r.device != "lo"
	every a in [r.source, r.gateway, r.dest] { route(a) }
}
route(a) if a in {"", "0.0.0.0/0", "::/0"}
route(a) if not local(a)

AddARPNeighborsRequest if pass(".", {"neighbors"} - arp)
arp contains "neighbors" if every n in input.neighbors.ARPNeighbors {
	n.device != "lo"
	n.toIPAddress.mask == ""
	not local(n.toIPAddress.address)
	n.state in {2, 128}
	n.flags in {0, 8, 128, 136}
}

# Files of declared mounts.
CopyFileRequest if pass(".", {"path", "type", "mode", "size"} - file)
parts := p if {
	some b in tgt.shared
	startswith(input.path, b)
	regex.match(concat("", ["^", b, "[0-9a-f]{64}-[0-9a-f]{16}-"]), input.path)
	p := split(trim_prefix(input.path, b), "/")
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
file contains "mode" if bits.and(input.file_mode, 3072) == 0
file contains "size" if { input.file_size <= tgt.file_size; input.offset >= 0; input.offset <= input.file_size }

# Containers.
spec := input.OCI
anno := spec.Annotations
proc := spec.Process
lin := spec.Linux
res := lin.Resources
cid := input.container_id
name := object.get(anno, "io.kubernetes.cri.container-name", ".")
c := all.containers[name]
who := name if c
who := "?" if not c
pause := c.kind == "pause"
last := object.get(st.n, name, {})
mounts := object.union(object.remove(all.mounts[c.base], c.mounts), c.mounts)

CreateContainerRequest := allowed(array.concat([
	put(["c", cid], name),
	put(["n", name], {"id": cid, "up": false, "been": object.get(last, "been", false)}),
	put(["k", c.kind], true), put(["s", "pod"], pod_name), put(["s", "uid"], pod_uid),
], devs)) if pass(who, needed - ok)

devs := [put(["v", b[0]], b[1]) | some b in blocks]
pod_name := anno["io.kubernetes.cri.sandbox-name"]
pod_uid := object.get(anno, "io.kubernetes.cri.sandbox-uid", "")

needed := {k | some k, _ in want} | {
	"annotations", "args", "devices", "env", "id", "image", "labels", "live", "mounts",
	"order", "paths", "storages", "sysctl", "zero",
}

ok contains "id" if {
	regex.match(hex64, cid)
	input.exec_id == cid
	not st.c[cid]
	count(st.c) < 10000
	pause == (cid == st.s.id)
}

ok contains "live" if not last.up
ok contains "order" if {
	every x in c.after { st.n[x].been }
	[c.kind, object.get(st.k, "app", false)] != ["init", true]
}

# want[k] must equal got[k].
want := object.union(c.want, {
	"root": [replace(tgt.root, "{cid}", cid), c.ro],
	"caps": [x | some n in [c.caps, c.caps, c.caps, "none", "none"]; x := {y | some y in all.caps[n]}],
	"namespaces": {"ipc", "mnt", "uts"},
})
got := {
	"root": [spec.Root.Path, spec.Root.Readonly],
	"caps": [x | some s in ["Bounding", "Effective", "Permitted", "Inheritable", "Ambient"]; proc.Capabilities != null; x := caps(s)],
	"namespaces": {replace(lower(x.Type), "mount", "mnt") | some x in lin.Namespaces} - {"cgroup"},
	"cwd": proc.Cwd,
	"nnp": proc.NoNewPrivileges,
	"pidns": input.sandbox_pidns,
	"tty": proc.Terminal,
	"user": user(proc.User),
}
caps(s) := {trim_prefix(x, "CAP_") | some x in proc.Capabilities[s]}
user(u) := [u.UID, u.GID, sort({g | some g in u.AdditionalGids}), u.Username]

ok contains k if { some k, v in want; got[k] == v }
ok contains "zero" if every x in [
	input.string_user, input.shared_mounts, lin.UIDMappings, lin.GIDMappings, spec.Hooks, spec.Solaris, spec.Windows,
	lin.MountLabel, lin.RootfsPropagation, lin.IntelRdt, lin.Seccomp, proc.SelinuxLabel, proc.Rlimits,
	res.Devices, res.Pids, res.BlockIO, res.Network,
	proc.ConsoleSize, [x | some x in lin.Namespaces; x.Path != ""], input.stdin_port, input.stdout_port, input.stderr_port,
] { x in none }
ok contains "labels" if {
	spec.Version in tgt.oci
	proc.ApparmorProfile in tgt.apparmor
	regex.match(tgt.cgroup, lin.CgroupsPath)
	endswith(lin.CgroupsPath, cid)
}
ok contains "args" if argv(proc.Args, c.args)
ok contains "env" if env(proc.Env, c)

argv(have, need) if {
	count(have) == count(need)
	every k, a in have { arg(a, need[k]) }
}
arg(a, p) if a == p
arg(a, p) if regex.match(p.re, a)

# Every variable of the policy, none twice, others as `free` says.
env(have, p) if {
	need := {e | some e in p.env}
	got_env := {e | some e in have}
	names := {split(e, "=")[0] | some e in have}
	count(names) == count(have)
	count(need - got_env) == 0
	every n in p.must { n in names }
	every e in got_env - need { value(p.free[split(e, "=")[0]], substring(e, indexof(e, "=") + 1, -1)) }
}
value(rule, v) if { startswith(rule, "^"); regex.match(rule, v) }
value(rule, v) if rule == concat("", ["=", v])
value("@host", v) if v == st.s.host
value("@pod", v) if v == st.s.pod
value("@uid", v) if v == st.s.uid
value("@ip", v) if { some l in links; some a in l.IPAddresses; v == a.address }

# Annotations: a closed set.
exact := object.union(c.annotations, {
	"io.katacontainers.pkg.oci.bundle_path": concat("", [tgt.bundle, cid]),
	"io.kubernetes.cri.sandbox-id": st.s.id,
	"io.kubernetes.cri.sandbox-namespace": pod.namespace,
	"io.kubernetes.cri.sandbox-name": object.get(st.s, "pod", pod_name),
})
ok contains "annotations" if {
	every k, v in exact { anno[k] == v }
	every k, v in anno { annotation(k, v) }
	regex.match(pod.name, pod_name)
	object.get(st.s, "uid", pod_uid) == pod_uid
}
annotation(k, v) if v == exact[k]
annotation(k, v) if regex.match(pod.annotations[k], v)

# Image: source, metadata and annotation name one digest.
ok contains "image" if {
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
ok contains "mounts" if {
	at := {m.destination: k | some k, m in spec.Mounts}
	[count(spec.Mounts), count(at)] == [count(mounts), count(mounts)]
	every m in spec.Mounts { mount(m, mounts[m.destination]) }
	every pair in c.nested { at[pair[0]] < at[pair[1]] }
}
mount(m, p) if { m.type_ == p.t; source(m.source, p); options(m.options, p) }
options(o, p) if o == p.o
options(o, p) if {
	count({x | some x in p.o} - {x | some x in o}) == 0
	every x in o { x in array.concat(p.o, p.x) }
}
source(s, p) if s == replace(p.s, "{sid}", st.s.id)
source(s, p) if {
	some b in tgt.shared
	startswith(s, b)
	substring(s, count(b) + 82, -1) == p.f
	regex.match(concat("", ["^", b, cid, "-[0-9a-f]{16}-[^/]+$"]), s)
}
source(s, p) if [p.v, s] in blocks

# Storages: the policy's, the image, one device per block volume.
blocks := {[p.v, m.source] | some m in spec.Mounts; p := mounts[m.destination]; p.v}
rest := [full(s) | some s in input.storages; s.driver != "image_guest_pull"; every b in blocks { b[1] != s.mount_point }]
ok contains "storages" if {
	{s | some s in rest} == {object.union(s, {"mount_point": replace(s.mount_point, "{sid}", st.s.id)}) | some s in c.storages}
	count(input.storages) == (count(c.storages) + count(blocks)) + 1
	[count({b[0] | some b in blocks}), count({b[1] | some b in blocks})] == [count(blocks), count(blocks)]
	every b in blocks { block(b[0], b[1]) }
}
block(v, point) if {
	object.get(st.v, v, point) == point
	every w, q in st.v { (w == v) == (q == point) }
	[s] := [x | some x in input.storages; x.mount_point == point]
	s.driver in {"blk", "scsi"}
	regex.match("^([0-9a-f]{2}(/[0-9a-f]{2})?|[0-9]+:[0-9]+)$", s.source)
	point == concat("", [tgt.blocks, base64url.encode(s.source)])
	object.remove(full(s), ["driver", "source", "mount_point"]) == all.volumes[v]
}
ok contains "devices" if {
	sort([d.Path | some d in lin.Devices]) == c.devices
	count(lin.Devices) == count(c.devices)
	sort([d.container_path | some d in input.devices]) == c.devices
	every d in input.devices { d.type_ in tgt.devices }
}
ok contains "sysctl" if {
	every k, v in c.sysctl { lin.Sysctl[k] == v }
	every k, v in lin.Sysctl { v == object.union(tgt.sysctl, c.sysctl)[k] }
}
ok contains "paths" if {
	p := all.paths[c.paths]
	sort(lin.ReadonlyPaths) == p.readonly
	need := {x | some x in p.masked}
	have := {x | some x in lin.MaskedPaths}
	count(need - have) == 0
	every x in have - need { regex.match(tgt.masked, x) }
}

# A container's life, by the id of its create.
own := object.get(st.c, cid, "?")
mine := all.containers[own]
up := st.n[own].up if st.n[own].id == cid

StartContainerRequest := allowed([put(["n", own], {"id": cid, "up": true, "been": true})]) if pass(own, {"current"} - start)
start contains "current" if up == false

RemoveContainerRequest := allowed(down) if pass(own, {"known", "timeout"} - remove)
down := [put(["n", own, "up"], false) | up == true]
remove contains "known" if own != "?"
remove contains "timeout" if input.timeout == 0

ExecProcessRequest if pass(own, {"live", "command", "env", "process"} - exec)
run := input.process
exec contains "live" if { up; regex.match("^[0-9a-f-]{16,64}$", input.exec_id); input.exec_id != cid }
exec contains "command" if { some args in mine.exec; args == run.Args }
exec contains "command" if mine.debug
exec contains "env" if env(run.Env, mine)
exec contains "process" if {
	[user(run.User), run.Cwd] == [mine.want.user, mine.want.cwd]
	every x in [
		input.string_user, run.Capabilities, run.Terminal, run.SelinuxLabel, run.Rlimits, run.ConsoleSize,
		input.stdin_port, input.stdout_port, input.stderr_port,
	] { x in none }
	run.ApparmorProfile in tgt.apparmor
	run.NoNewPrivileges in {false, mine.want.nnp}
}

ReadStreamRequest if mine.logs
WriteStreamRequest if mine.stdin
CloseStdinRequest if mine.stdin
