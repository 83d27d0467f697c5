# Nacre rules nacre1: docs/policies.md
package agent_policy

import rego.v1

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

pass(who, missing) if missing == set()
else := false if print("nacre1", who, concat(",", missing))
allowed(change) := {"allowed": true, "ops": [{"op": "add", "path": "/pstate", "value": object.union(st, change)}]}

st := data.pstate
all := policy_data
pod := all.pod
tgt := all.target

empty := {null, "", [], 0, false}
rest(o, known) := {k: v | some k, v in object.remove(o, split(known, " ")); not v in empty}
blank(o, known) if { is_object(o); every v in object.remove(o, split(known, " ")) { v in empty } }
hex(s, n) if { count(s) == n; trim(s, "0123456789abcdef") == "" }
words(s) := {x | some x in split(s, " "); x != ""}
known := object.union(st.s, {"{cid}": cid})
fill(s) := strings.replace_n(known, s)
shapes := object.union({k: replace(v, ".", "\\.") | some k, v in st.s}, {"{ip}": tgt.ip})

CreateSandboxRequest := allowed({
	"s": {"{sid}": input.sandbox_id, "{host}": input.hostname},
	"c": {}, "v": {},
}) if pass(".", words("once names guest dns storages") - sandbox)
else := false

sandbox contains "once" if not st.s
sandbox contains "names" if { hex(input.sandbox_id, 64); regex.match(pod.hostname, input.hostname) }
sandbox contains "guest" if {
	input.sandbox_pidns == pod.pidns
	blank(input, "dns hostname sandbox_id sandbox_pidns storages")
}
sandbox contains "dns" if { have := [x | some x in input.dns; x != ""]; have == object.get(pod, "dns", have) }
sandbox contains "storages" if tgt.storages == [rest(x, "") | some x in input.storages]

local(a) if regex.match("^(127\\.|[0:])|:.*\\.", a)

UpdateInterfaceRequest := allowed({"if": {i.name: i}}) if pass(".", words("name link address once") - iface)
else := false
i := input.interface
links := object.get(st, "if", {})
iface contains "name" if every n in [i.name, i.device] { regex.match("^[a-z][a-z0-9]{0,14}$", n); n != "lo" }
iface contains "link" if {
	regex.match("^([0-9a-f]{2}:){5}[0-9a-f]{2}$", i.hwAddr)
	i.hwAddr != "00:00:00:00:00:00"
	i.raw_flags in {0, 128}
}
iface contains "address" if every a in i.IPAddresses {
	regex.match("^([0-9]+(\\.[0-9]+){3}|[0-9a-f]+:[0-9a-f:]+)$", a.address)
	not local(a.address)
}
iface contains "once" if i in links
iface contains "once" if { count(links) < 16; every l in links { l.name != i.name; l.hwAddr != i.hwAddr } }

UpdateRoutesRequest if pass(".", {"routes" | not routes})
else := false
routes if every r in input.routes.Routes {
	r.device != "lo"
	every a in [r.source, r.gateway, r.dest] { route(a) }
}
route(a) if a in {"", "0.0.0.0/0", "::/0"}
else if not local(a)

AddARPNeighborsRequest if pass(".", {"neighbors" | not neighbors})
else := false
neighbors if every n in input.neighbors.ARPNeighbors {
	n.device != "lo"
	n.toIPAddress.mask == ""
	not local(n.toIPAddress.address)
	n.state in {2, 128}
	n.flags in {0, 8, 128, 136}
}

copied(path) := [p[0], substring(file, 82, -1)] if {
	some b in tgt.shared
	["", file] := split(path, b)
	p := split(file, "-")
	hex(p[0], 64)
	hex(p[1], 16)
}

CopyFileRequest if pass(".", words("path type mode size") - file)
else := false
parts := split(copied(input.path)[1], "/")
file contains "path" if {
	parts[0] in pod.files
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

spec := input.OCI
anno := spec.Annotations
proc := spec.Process
lin := spec.Linux
cid := input.container_id
name := object.get(anno, "io.kubernetes.cri.container-name", ".")
usual := {"devices": [], "masked": tgt.masked, "mounts": {}, "readonly": tgt.readonly, "sysctl": {}}
c := object.union(usual, all.containers[name])
who := name if c
else := "?"
pause := name == "."
type := "sandbox" if pause
else := "container"
mounts := object.union(all.mounts[c.base], c.mounts)
pod_name := anno["io.kubernetes.cri.sandbox-name"]
same := {
	"{pod}": pod_name,
	"{uid}": object.get(anno, "io.kubernetes.cri.sandbox-uid", ""),
	"{netns}": object.get(anno, "nerdctl/network-namespace", object.get(st.s, "{netns}", "")),
}

CreateContainerRequest := allowed({
	"c": {cid: name}, "n": {name: {"id": cid, "up": false}}, "k": {c.kind: true},
	"s": same, "v": blocks,
}) if pass(who, needed - ok)
else := false

needed := {k | some k, _ in want} | words("annotations args devices env host id image labels live mounts order paths storages sysctl zero")

ok contains "id" if {
	hex(cid, 64)
	input.exec_id == cid
	not st.c[cid]
	count(st.c) < 10000
	pause == (cid == st.s["{sid}"])
}

ok contains "live" if not st.n[name].up
ok contains "order" if {
	every x in c.after { st.n[x].been }
	not [c.kind, st.k.app] == ["init", true]
}

powers := words(c.caps)
want := object.union(c.want, {
	"caps": {"Bounding": powers, "Effective": powers, "Permitted": powers, "Inheritable": set(), "Ambient": set()},
	"namespaces": ["ipc", "mnt", "uts"],
	"pidns": pod.pidns,
})
got := {
	"caps": {k: bare(v) | some k, v in proc.Capabilities},
	"namespaces": sort([replace(x.Type, "mount", "mnt") | some x in lin.Namespaces; x.Type != "cgroup"]),
	"pidns": input.sandbox_pidns,
	"cwd": proc.Cwd,
	"nnp": proc.NoNewPrivileges,
	"ro": spec.Root.Readonly,
	"tty": proc.Terminal,
	"user": user(proc.User),
}
bare(caps) := {trim_prefix(x, "CAP_") | some x in caps}
user(u) := [u.UID, u.GID, sort({g | some g in u.AdditionalGids}), rest(u, "AdditionalGids GID UID")]

ok contains k if { some k, v in want; got[k] == v }
ok contains "zero" if {
	blank(input, "OCI container_id devices exec_id sandbox_pidns storages")
	blank(spec, "Annotations Hostname Linux Mounts Process Root Version")
	blank(spec.Root, "Path Readonly")
	blank(proc, "ApparmorProfile Args Capabilities Cwd Env NoNewPrivileges OOMScoreAdj Terminal User")
	blank(lin, "CgroupsPath Devices MaskedPaths Namespaces ReadonlyPaths Resources Sysctl")
	blank(lin.Resources, "CPU HugepageLimits Memory")
	every x in lin.Namespaces { blank(x, "Type") }
}
ok contains "labels" if {
	spec.Version in tgt.oci
	proc.ApparmorProfile in tgt.apparmor
	regex.match(tgt.cgroup, lin.CgroupsPath)
	endswith(lin.CgroupsPath, cid)
}
ok contains "args" if {
	count(proc.Args) == count(c.args)
	every k, a in proc.Args { arg(a, c.args[k]) }
}
arg(a, p) if a == p
else if value(p.is, a)

ok contains "env" if env(proc.Env, c)
env(have, p) if {
	given := {split(e, "=")[0] | some e in have}
	count(given) == count(have)
	set() == {n | some n, _ in p.env} - given
	rules := object.union(all.env, p.env)
	exact := {concat("", [n, fill(r)]) | some n, r in rules; startswith(r, "=")}
	every e in {e | some e in have} - exact {
		n := split(e, "=")[0]
		n != e
		shape(rules[n], substring(e, count(n) + 1, -1))
	}
}
addresses := {a.address | some l in links; some a in l.IPAddresses}
shape(rule, v) if { startswith(rule, "^"); regex.match(strings.replace_n(shapes, rule), v) }
else if { rule == "@ip"; every x in split(v, ",") { x in addresses } }
value(rule, v) if fill(rule) == concat("", ["=", v])
else if shape(rule, v)

exact := {
	"io.katacontainers.pkg.oci.bundle_path": fill(tgt.bundle),
	"io.katacontainers.pkg.oci.container_type": concat("", ["pod_", type]),
	"io.kubernetes.cri.container-type": type,
	"io.kubernetes.cri.sandbox-id": st.s["{sid}"],
	"io.kubernetes.cri.sandbox-name": pod_name,
	"io.kubernetes.cri.sandbox-namespace": pod.namespace,
}
ok contains "annotations" if {
	object.subset(anno, exact)
	every k, v in object.remove(anno, exact) { regex.match(pod.annotations[k], v) }
	regex.match(pod.name, pod_name)
	object.union(st.s, same) == object.union(same, st.s)
}
ok contains "host" if pause
ok contains "host" if value(pod.host, st.s["{host}"])

ok contains "image" if {
	[s] := [x | some x in input.storages; x.driver == "image_guest_pull"]
	s.source in c.image
	s.source == object.get(anno, "io.kubernetes.cri.image-name", "pause")
	rest(s, "driver driver_options source") == {"fstype": "overlay", "mount_point": spec.Root.Path}
	spec.Root.Path == fill(tgt.root)
	[option] := s.driver_options
	["", text] := split(option, "image_guest_pull=")
	doc := json.unmarshal(text)
	doc == {"metadata": doc.metadata}
	doc.metadata["io.kubernetes.cri.container-type"] == type
	every k, v in doc.metadata { metadata(k, v) }
}
metadata(k, v) if anno[k] == v
else if startswith(k, "containerd.io/snapshot")

ok contains "mounts" if {
	count(spec.Mounts) == count(mounts)
	at := {m.destination: k | some k, m in spec.Mounts}
	count(at) == count(mounts)
	every m in spec.Mounts { mount(m, mounts[m.destination]) }
	every n in all.nested { not at[n[1]] < at[n[0]] }
}
mount(m, p) if {
	m.type_ == p[0]
	source(m.source, p[1])
	options(m.options, p)
	blank(m, "destination options source type_")
}
source(s, p) if { s == p; indexof(p, "{") < 0 }
else if { not startswith(p, "{"); s == fill(p) }
else if { n := copied(s); n[0] == cid; p == concat("", ["{file}", n[1]]) }
else if { some v, b in blocks; b == s; p == concat("", ["{block}", v]) }
options(o, p) if split(p[2], ",") == sort(o)
else if split(p[2], ",") == sort({x | some x in o} - {x | some x in array.slice(p, 3, 9)})

blocks := {v: m.source | all.block; some m in spec.Mounts; [_, v] := split(mounts[m.destination][1], "{block}")}
points := sort([blocks[v] | some _, p in mounts; [_, v] := split(p[1], "{block}")])
due := sort([object.union(s, {"mount_point": fill(p[1])}) | some _, p in mounts; s := all.storages[p[1]]])
ok contains "storages" if {
	due == sort([rest(s, "") | some s in input.storages; s.driver != "image_guest_pull"; not s.mount_point in points])
	points == sort([s.mount_point | some s in input.storages; s.mount_point in points])
	count(blocks) == count({p | some p in points})
	every v, p in blocks { block(v, p) }
}
block(v, point) if {
	every w, q in st.v { (w == v) == (q == point) }
	[s] := [x | some x in {y | some y in input.storages}; x.mount_point == point]
	s.driver in {"blk", "scsi"}
	regex.match("^([0-9a-f]{2}(/[0-9a-f]{2})?|[0-9]+:[0-9]+)$", s.source)
	point == concat("", [tgt.blocks, base64url.encode(s.source)])
	all.block == rest(s, "driver source mount_point")
}
ok contains "devices" if {
	count(lin.Devices) == count(c.devices)
	c.devices == sort([x.Path | some x in lin.Devices])
	c.devices == sort([x.container_path | some x in input.devices])
	every x in input.devices { x.type_ in tgt.devices; blank(x, "container_path id type_ vm_path") }
}
ok contains "sysctl" if {
	object.subset(lin.Sysctl, c.sysctl)
	object.subset(object.union(tgt.sysctl, c.sysctl), lin.Sysctl)
}
ok contains "paths" if {
	words(c.readonly) == {x | some x in lin.ReadonlyPaths}
	masked := {x | some x in lin.MaskedPaths}
	set() == words(c.masked) - masked
	every x in masked - words(c.masked) { regex.match(tgt.masked_more, x) }
}

own := object.get(st.c, cid, "?")
mine := all.containers[own]
up := st.n[own].up if st.n[own].id == cid

StartContainerRequest := allowed({"n": {own: {"up": true, "been": true}}}) if pass(own, {"current" | not up == false})
else := false

RemoveContainerRequest := allowed(down) if pass(own, words("known timeout") - remove)
else := false
down := {"n": {own: {"up": false}}} if up
else := {}
remove contains "known" if own != "?"
remove contains "timeout" if input.timeout == 0

ExecProcessRequest if pass(own, words("live command env process") - exec)
else := false
run := input.process
exec contains "live" if { up; regex.match("^[0-9a-f-]{16,64}$", input.exec_id); input.exec_id != cid }
exec contains "command" if run.Args in mine.exec
exec contains "command" if mine.debug
exec contains "env" if env(run.Env, mine)
exec contains "process" if {
	mine.want.user == user(run.User)
	mine.want.cwd == run.Cwd
	run.ApparmorProfile in tgt.apparmor
	run.NoNewPrivileges in {false, mine.want.nnp}
	run.Terminal in {false, object.get(mine, "debug", false)}
	blank(run, "ApparmorProfile Args Cwd Env NoNewPrivileges OOMScoreAdj Terminal User")
	blank(input, "container_id exec_id process")
}

ReadStreamRequest if mine.logs
else := false
WriteStreamRequest if mine.stdin
else := false
CloseStdinRequest if mine.stdin
else := false
