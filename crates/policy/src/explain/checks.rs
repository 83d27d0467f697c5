//! What each check of the rules demands, where the demand comes from, and what to do.

/// One check of the rules, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// Its name in the rules.
    pub name: &'static str,
    /// What it demands.
    pub demands: &'static str,
    /// Field of the container it comes from, or with `/` of the pod; empty for the container.
    pub(super) field: &'static str,
    /// What usually leads here.
    pub likely: &'static str,
    /// What to do about that.
    pub fix: &'static str,
}

const fn check(
    name: &'static str,
    demands: &'static str,
    field: &'static str,
    likely: &'static str,
    fix: &'static str,
) -> Check {
    Check {
        name,
        demands,
        field,
        likely,
        fix,
    }
}

/// Every check of the rules, by name.
pub const CHECKS: &[Check] = &[
    check(
        "address",
        "addresses of an interface are addresses, and none of the loopback",
        "/",
        "an address with a zone or in capitals; or the host tried to reach the mesh's loopback, or to put words into variables",
        "nothing is wrong with the pod: look at the network plugin first, then at the host",
    ),
    check(
        "annotations",
        "only annotations the target knows, with the pod's own name and namespace",
        "/",
        "another namespace or pod name than rendered, or a runtime that passes further annotations",
        "render with the namespace and the release name that are deployed, and deploy the output unchanged; a runtime that passes other annotations needs another `policy.target`",
    ),
    check(
        "args",
        "exactly the command of the pod and its image",
        "command|args|image",
        "the image or the command changed after rendering, or an admission webhook changed it",
        "run `nacre lock --update` for the image if it was rebuilt, render again, and deploy the output unchanged",
    ),
    check(
        "caps",
        "exactly these capabilities",
        "securityContext.capabilities|securityContext",
        "a PodSecurity or admission mutation, or another runtime default",
        "write the capabilities into the pod specification, and take the webhook's exception for this namespace",
    ),
    check(
        "command",
        "a command of a probe or hook of this container",
        "livenessProbe|readinessProbe|startupProbe|lifecycle",
        "`kubectl exec`, or a probe added after rendering",
        "put the command into a probe or hook and render again; for development use the profile `debug`",
    ),
    check(
        "current",
        "a container that was created and not yet started",
        "",
        "a start for an old instance: the runtime retried",
        "delete the pod; if it comes again, report it with the agent's log",
    ),
    check(
        "cwd",
        "exactly this working directory",
        "workingDir|image",
        "the image's WORKDIR changed under its tag",
        "run `nacre lock --update` for the image and render again, or write `workingDir`",
    ),
    check(
        "devices",
        "exactly these devices",
        "volumeDevices",
        "a device plugin or a privileged container with host devices",
        "name the device in `volumeDevices` and render again",
    ),
    check(
        "dns",
        "exactly the lines of dnsConfig",
        "/dnsConfig",
        "a node-local DNS webhook",
        "write what the webhook adds into `dnsConfig` and render again",
    ),
    check(
        "env",
        "exactly these variables, and those of Services",
        "env|envFrom|image",
        "a Service that was not rendered together with the workload, a webhook, or a LimitRange",
        "set `enableServiceLinks: false`, render every Service of the namespace along, and write what webhooks add into the pod specification",
    ),
    check(
        "guest",
        "no hooks, no kernel modules, the pod's own process namespace",
        "/shareProcessNamespace",
        "the shim's configuration",
        "use the configuration of Kata that the platform names: no guest hooks and no kernel modules",
    ),
    check(
        "host",
        "the host name that belongs to the pod's name",
        "/hostname",
        "the sandbox got another host name than the kubelet gives this pod",
        "delete the pod; where a controller gives its pods other host names, write `hostname` into the pod specification and render again",
    ),
    check(
        "id",
        "an id of 64 hexadecimal digits, used once",
        "",
        "a runtime other than containerd, or an id that was used before",
        "use containerd; other runtimes name containers in other ways. If an id came twice, delete the pod and look at the node",
    ),
    check(
        "image",
        "this digest in the request, its metadata and its annotation",
        "image",
        "a stale tag, or an image policy that rewrites references",
        "run `nacre lock --update` for the image, render again, and deploy the output unchanged",
    ),
    check(
        "known",
        "a container that was created",
        "",
        "a removal repeated by the runtime",
        "nothing: the container is gone",
    ),
    check(
        "labels",
        "an OCI version, AppArmor label and cgroup path of the target",
        "",
        "another containerd major than the target lists",
        "choose the `policy.target` that lists the versions of containerd and Kata on the node, and render again",
    ),
    check(
        "link",
        "an Ethernet link, and not the loopback",
        "/",
        "a link that is not Ethernet (WireGuard, InfiniBand, a network plugin that routes); or the host tried to reach the mesh's loopback",
        "nothing is wrong with the pod: look at the network plugin first, then at the host",
    ),
    check(
        "live",
        "no other live instance of the container",
        "",
        "the host starts it twice, or asks before its start or after its removal",
        "delete the pod; if it comes again, look at the node: its kubelet or somebody else asks twice",
    ),
    check(
        "mode",
        "no setuid or setgid bit on a regular file",
        "/volumes",
        "a file with such a mode in a volume",
        "remove the setuid and setgid bits from the volume's files",
    ),
    check(
        "mounts",
        "exactly these mounts",
        "volumeMounts",
        "a mount added by a webhook, or no service account token where one was expected",
        "set `automountServiceAccountToken`, write what webhooks add into the pod specification, and render again",
    ),
    check(
        "name",
        "an ordinary interface",
        "/",
        "a network plugin with unusual interface names",
        "name interfaces with up to 15 lower-case letters and digits, as network plugins do",
    ),
    check(
        "names",
        "a sandbox id, and the pod's host name",
        "/hostname",
        "the pod has another name than its object gives",
        "render with the names that are deployed; a custom kind that names its pods in its own way needs the object's name as their beginning",
    ),
    check(
        "namespaces",
        "ipc, mnt and uts",
        "/hostIPC",
        "another runtime default",
        "use the platform's configuration of Kata and containerd",
    ),
    check(
        "neighbors",
        "permanent or reachable neighbours, none on the loopback",
        "/",
        "neighbours in another state or with other flags; or the host tried to reach the mesh's loopback",
        "nothing is wrong with the pod: look at the network plugin first, then at the host",
    ),
    check(
        "nnp",
        "no-new-privileges as allowPrivilegeEscalation says",
        "securityContext.allowPrivilegeEscalation|securityContext",
        "an admission webhook",
        "write `allowPrivilegeEscalation` into the pod specification and render again",
    ),
    check(
        "once",
        "once per life of the guest",
        "/",
        "the host repeats the set-up",
        "delete the pod: a guest is set up once",
    ),
    check(
        "order",
        "init containers in order, before every other",
        "",
        "a container skipped, or an init container after an app container",
        "delete the pod: containers start in the order of the pod specification",
    ),
    check(
        "path",
        "a file of a declared mount",
        "volumeMounts",
        "a mount added after rendering",
        "write the volume into the pod specification and render again",
    ),
    check(
        "paths",
        "the default masked and read-only paths",
        "securityContext.privileged",
        "another runtime default",
        "use a `policy.target` that lists the version of containerd on the node",
    ),
    check(
        "pidns",
        "the pod's process namespace",
        "/shareProcessNamespace",
        "changed after rendering",
        "write `shareProcessNamespace` into the pod specification and render again",
    ),
    check(
        "process",
        "user, directory and privileges of the container",
        "securityContext",
        "`kubectl exec`, or a changed USER",
        "put the command into a probe or hook and render again; for development use the profile `debug`",
    ),
    check(
        "ro",
        "a root file system that is writable or not, as the pod says",
        "securityContext.readOnlyRootFilesystem|securityContext",
        "changed after rendering",
        "write `readOnlyRootFilesystem` into the pod specification and render again",
    ),
    check(
        "routes",
        "no route to, from or through the loopback",
        "/",
        "the host tried to reach the mesh's loopback, or an address is written so that it could be that",
        "nothing is wrong with the pod: look at the network plugin first, then at the host",
    ),
    check(
        "size",
        "a file of at most the target's size",
        "volumeMounts",
        "a very large file in a volume",
        "keep files in ConfigMaps and Secrets small; put large ones into the image",
    ),
    check(
        "storages",
        "exactly these storages",
        "/volumes",
        "another emptyDir mode of Kata than the target's",
        "choose the `policy.target` of the Kata version on the node, and render again",
    ),
    check(
        "sysctl",
        "exactly these sysctls",
        "/securityContext.sysctls",
        "another runtime default",
        "write the sysctl into the pod specification and render again",
    ),
    check(
        "timeout",
        "no time limit",
        "",
        "the runtime gives up waiting",
        "nothing: the guest ends the container without a limit of time",
    ),
    check(
        "tty",
        "a terminal as the pod says",
        "tty",
        "changed after rendering",
        "write `tty` into the pod specification and render again",
    ),
    check(
        "type",
        "a file, a directory, or a link that stays inside",
        "volumeMounts",
        "an unusual file in a volume",
        "keep devices, sockets and links that leave the volume out of it",
    ),
    check(
        "user",
        "exactly this user and these groups",
        "securityContext|image",
        "USER of the image changed under its tag, or its passwd and group files",
        "run `nacre lock --update` for the image if it was rebuilt, or write `runAsUser`, `runAsGroup` and `supplementalGroups`, and render again",
    ),
    check(
        "zero",
        "nothing in fields no pod needs",
        "",
        "another runtime default",
        "use the platform's configuration of Kata and containerd: no seccomp, no rlimits, no user namespace in the guest",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rules::RULES;

    #[test]
    fn every_check_of_the_rules_is_explained_and_no_other() {
        let name = |rest: &'static str| rest.split('"').next();
        // Names that the rules put into a set of checks, one line each.
        let contained = RULES
            .lines()
            .filter_map(|line| name(line.split_once(" contains \"")?.1));
        // Messages with one check have a set of that one: `{"name" | not …}`.
        let alone = RULES
            .lines()
            .filter_map(|line| line.split_once("\" | not ")?.0.rsplit('"').next());
        // What is compared with the data is checked under its name there.
        let (_, compared) = RULES.split_once("\ngot := {\n").unwrap();
        let (compared, _) = compared.split_once("\n}\n").unwrap();
        let compared = compared
            .lines()
            .filter_map(|line| name(line.strip_prefix("\t\"")?));
        let named: BTreeSet<_> = contained.chain(alone).chain(compared).collect();
        let explained: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(named, explained);
    }

    #[test]
    fn names_are_sorted_and_single() {
        assert!(CHECKS.is_sorted_by(|a, b| a.name < b.name));
    }
}
