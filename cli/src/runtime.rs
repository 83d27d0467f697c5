//! `nacre runtime`: what a cluster needs before a confidential pod can start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nacre_findings::{Finding, codes};
use nacre_imagelock::ImageReference;
use nacre_platform::{Installer, Platform};

use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::files::write_result;
use crate::resources;

/// Print the RuntimeClass of a platform and the DaemonSet that installs its runtime on nodes
///
/// The runtime is Kata's own, put on nodes by Kata's installer image, pinned by digest. Every version has
/// a RuntimeClass, a handler and an installation of its own, so that several can be in one cluster. For
/// platforms whose node pool brings the runtime nothing is installed.
///
/// Kata's released guest does not compare policies with HOST_DATA. Platforms whose manifests say that the
/// guest does need an installer that brings such a guest: --installer-image.
///
/// `nacre runtime --platform kata-qemu-snp | kubectl apply -f -`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Platform; may be repeated
    #[arg(
        long = "platform",
        visible_alias = "reference-values",
        value_name = "PLATFORM",
        required = true
    )]
    platforms: Vec<String>,
    /// Installer image instead of the pinned one, with its digest: NAME@sha256:…
    #[arg(long, value_name = "IMAGE")]
    installer_image: Option<String>,
    /// Only RuntimeClass objects, for nodes on which Kata is installed already
    #[arg(long, conflicts_with = "installer_image")]
    no_installer: bool,
    /// Label that nodes must have as well, as KEY=VALUE; may be repeated
    #[arg(long = "node-selector", value_name = "KEY=VALUE", value_parser = label)]
    node_selector: Vec<(String, String)>,
    /// Namespace of the installer; it is created
    #[arg(short, long, value_name = "NAME", default_value = "nacre-runtime")]
    namespace: String,
    /// Write to this file instead of standard output
    #[arg(short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    if let Some(image) = &args.installer_image
        && !ImageReference::is_pinned(image)
    {
        return Err(Finding::error(
            codes::cli::USAGE,
            format!("{image} names no digest, so nobody knows what it puts on the nodes"),
        )
        .help("write it as NAME@sha256:…")
        .into());
    }
    let mut text = String::new();
    let mut namespace_made = false;
    for name in &args.platforms {
        let platform = resources::platform(name)?;
        let installer = platform
            .runtime
            .installer
            .as_ref()
            .filter(|_| !args.no_installer);
        if installer.is_some() && !namespace_made {
            text.push_str(&namespace(&args.namespace));
            namespace_made = true;
        }
        text.push_str(&runtime_class(platform, installer.is_some(), args));
        if let Some(installer) = installer {
            let image = match &args.installer_image {
                Some(image) => image,
                None => released(platform, installer)?,
            };
            text.push_str(&daemon_set(platform, installer, image, args));
        }
    }
    if context.output == Output::Json {
        return Err(CommandError::usage("--output json: the result is YAML"));
    }
    write_result(args.out.as_deref(), &text, context)
}

/// The pinned image, where its guest does what manifests of the platform say (SECURITY-DESIGN 1).
fn released<'i>(platform: &Platform, installer: &'i Installer) -> Result<&'i str, CommandError> {
    let wanted = platform.data.host_data_binding;
    if wanted == installer.host_data_binding {
        return Ok(&installer.image);
    }
    let message = format!(
        "manifests of {} say that the guest refuses a policy other than the one in HOST_DATA; the guest that \
         {} brings does not",
        platform.name, installer.image
    );
    Err(Finding::error(codes::cluster::GUEST_UNSUITED, message)
        .help(
            "name an installer whose guest does: --installer-image NAME@sha256:…; or use the platform \
             kata-qemu-snp, whose manifests say what Kata's guest does; or, where the runtime is installed, \
             --no-installer",
        )
        .into())
}

/// Key and value of a node's label.
fn label(text: &str) -> Result<(String, String), String> {
    let is_name = |name: &str| {
        let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        name.len() <= 63
            && is_end(name.chars().next())
            && is_end(name.chars().last())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let (prefix, name) = match key.rsplit_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_key = prefix.is_none_or(|prefix| prefix.split('.').all(is_name)) && is_name(name);
    match is_key && (value.is_empty() || is_name(value)) {
        true => Ok((key.to_owned(), value.to_owned())),
        false => Err("this is no label of Kubernetes".to_owned()),
    }
}

fn namespace(name: &str) -> String {
    format!(
        "---\n\
         # The installer changes files of the node: it needs the privileged level of Pod Security.\n\
         apiVersion: v1\n\
         kind: Namespace\n\
         metadata:\n  \
           name: {name}\n  \
           labels:\n    \
             app.kubernetes.io/part-of: nacre\n    \
             pod-security.kubernetes.io/enforce: privileged\n"
    )
}

/// What all objects of one version have: they can be found, and removed, by it.
fn version(platform: &Platform) -> String {
    format!("{}-{}", platform.name, platform.data_hash())
}

fn runtime_class(platform: &Platform, installed: bool, args: &Args) -> String {
    let map = |entries: &BTreeMap<String, String>| -> String {
        entries
            .iter()
            .map(|(key, value)| format!("    {key}: \"{value}\"\n"))
            .collect()
    };
    let handler = if installed {
        platform.versioned_handler()
    } else {
        platform.data.runtime_handler.clone()
    };
    let mut selector = platform.runtime.node_selector.clone();
    selector.extend(args.node_selector.iter().cloned());
    format!(
        "---\n\
         # {title}\n\
         apiVersion: node.k8s.io/v1\n\
         kind: RuntimeClass\n\
         metadata:\n  \
           name: {name}\n  \
           labels:\n    \
             app.kubernetes.io/part-of: nacre\n    \
             nacre.dev/runtime: {version}\n\
         handler: {handler}\n\
         overhead:\n  \
           podFixed:\n{overhead}\
         scheduling:\n  \
           nodeSelector:\n{selector}",
        title = platform.title,
        name = platform.runtime_class_name(),
        overhead = map(&platform.runtime.overhead),
        version = version(platform),
        selector = map(&selector),
    )
}

/// The installer with its account. Kata's installer reads its settings from the environment.
///
/// Rights, probes and times are those of Kata's chart `kata-deploy` 4.0.0, but for `nodes/proxy`, by which the
/// installer would only warn of a kubelet's setting.
fn daemon_set(platform: &Platform, installer: &Installer, image: &str, args: &Args) -> String {
    let namespace = &args.namespace;
    let suffix = platform.data_hash();
    let version = version(platform);
    // Where installers go by this part of the name, none takes away what the others need.
    let name = format!("kata-deploy-{version}");
    let selector: String = args
        .node_selector
        .iter()
        .map(|(key, value)| format!("        {key}: \"{value}\"\n"))
        .collect();
    let shim = &installer.shim;
    let containerd = &installer.containerd_configuration;
    format!(
        r#"---
# The installer names the node's runtimes and labels the node.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    app.kubernetes.io/part-of: nacre
    nacre.dev/runtime: {version}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: nacre-{name}
  labels:
    app.kubernetes.io/part-of: nacre
    nacre.dev/runtime: {version}
rules:
  - apiGroups: [""]
    resources: [nodes]
    verbs: [get, patch]
  - apiGroups: [node.k8s.io]
    resources: [runtimeclasses]
    verbs: [get, list, patch]
  # Node Feature Discovery, where the cluster has it.
  - apiGroups: [apiextensions.k8s.io]
    resources: [customresourcedefinitions]
    verbs: [get, list]
  - apiGroups: [nfd.k8s-sigs.io]
    resources: [nodefeaturerules]
    verbs: [create, delete, get, list, patch, update, watch]
  - apiGroups: [apps]
    resources: [daemonsets]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: nacre-{name}
  labels:
    app.kubernetes.io/part-of: nacre
    nacre.dev/runtime: {version}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: nacre-{name}
subjects:
  - kind: ServiceAccount
    name: {name}
    namespace: {namespace}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: {name}
    app.kubernetes.io/part-of: nacre
    nacre.dev/runtime: {version}
spec:
  selector:
    matchLabels:
      app.kubernetes.io/name: {name}
  updateStrategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 1
  template:
    metadata:
      labels:
        app.kubernetes.io/name: {name}
        app.kubernetes.io/part-of: nacre
    spec:
      serviceAccountName: {name}
      hostPID: true
      nodeSelector:
        kubernetes.io/arch: amd64
        kubernetes.io/os: linux
{selector}      # The installer takes the runtime off the node again when it ends and the DaemonSet is gone. Its account
      # has to be there until then.
      terminationGracePeriodSeconds: 600
      containers:
        - name: kata-deploy
          image: {image}
          command: [/usr/bin/kata-deploy, install]
          env:
            - name: NODE_NAME
              valueFrom:
                fieldRef:
                  fieldPath: spec.nodeName
            - name: DAEMONSET_NAME
              value: {name}
            - name: DEBUG
              value: "false"
            - name: SHIMS_X86_64
              value: {shim}
            - name: DEFAULT_SHIM_X86_64
              value: {shim}
            # The policy travels in this annotation.
            - name: ALLOWED_HYPERVISOR_ANNOTATIONS_X86_64
              value: "{shim}:cc_init_data"
            # Images are pulled by the guest, never unpacked on the host.
            - name: SNAPSHOTTER_HANDLER_MAPPING_X86_64
              value: "{shim}:nydus"
            - name: PULL_TYPE_MAPPING_X86_64
              value: "{shim}:guest-pull"
            - name: EXPERIMENTAL_SETUP_SNAPSHOTTER
              value: nydus
            # An installation and a handler of its own, beside those of other versions.
            - name: INSTALLATION_PREFIX
              value: ""
            - name: MULTI_INSTALL_SUFFIX
              value: "{suffix}"
            - name: HEALTH_PORT
              value: "8090"
          # Ready when everything is on the node.
          startupProbe:
            httpGet: {{path: /readyz, port: 8090}}
            initialDelaySeconds: 1
            periodSeconds: 10
            failureThreshold: 60
            timeoutSeconds: 3
          livenessProbe:
            httpGet: {{path: /healthz, port: 8090}}
            periodSeconds: 30
            failureThreshold: 3
            timeoutSeconds: 3
          readinessProbe:
            httpGet: {{path: /readyz, port: 8090}}
            periodSeconds: 10
            failureThreshold: 3
            timeoutSeconds: 3
          securityContext:
            privileged: true
          volumeMounts:
            - name: crio
              mountPath: /etc/crio/
            - name: containerd
              mountPath: /etc/containerd/
            - name: host
              mountPath: /host/
      volumes:
        - name: crio
          hostPath:
            path: /etc/crio/
        - name: containerd
          hostPath:
            path: {containerd}
        - name: host
          hostPath:
            path: /
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_images_are_told_from_others() {
        let digest = "a".repeat(64);
        assert!(ImageReference::is_pinned(&format!(
            "registry.example/kata:4.0.0@sha256:{digest}"
        )));
        for image in [
            "registry.example/kata:4.0.0".to_owned(),
            format!("@sha256:{digest}"),
            format!("kata@sha256:{}", "a".repeat(63)),
            format!("kata@sha256:{}", "A".repeat(64)),
        ] {
            assert!(!ImageReference::is_pinned(&image), "{image}");
        }
    }

    #[test]
    fn labels_are_told_from_others() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(
            label("amd.feature.node.kubernetes.io/snp=true"),
            pair("amd.feature.node.kubernetes.io/snp", "true")
        );
        assert_eq!(label("pool="), pair("pool", ""));
        for wrong in ["pool", "=x", "a b=c", "a=\"", "a/b/c=d", "a=b\nc", "-a=b"] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_installer_is_pinned() {
        for platform in nacre_platform::platforms() {
            if let Some(installer) = &platform.runtime.installer {
                assert!(
                    ImageReference::is_pinned(&installer.image),
                    "{}",
                    platform.name
                );
            }
        }
    }
}
