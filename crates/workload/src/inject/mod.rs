//! Putting our containers into a pod: the initializer, the mesh sidecar, the volume they share.
//!
//! Everything is recognised by name, so that running again, or running over what an earlier version
//! or Contrast v0.8 injected, replaces it.

mod containers;
mod coordinator;
mod gate;
mod volume;

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::{Map, Value};

pub use coordinator::{bind_evidence, bind_owners};
pub use gate::{Argv, wrap as wrap_in_gate};

use crate::annotations::Annotation;
use crate::containers::{LISTS, containers};
use crate::mesh::{Egress, Ingress, PeerRules, admin_conflict};
use crate::names::{
    CONTRAST_SECRETS_VOLUME, INITIALIZER, INJECTED, MESH_PORT_MUTUAL, MESH_PORT_SERVER, RENEWER,
    SERVICE_MESH,
};
use crate::object::{list, text};

/// How workloads find and verify the Coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorLink {
    /// `COORDINATOR_HOST`.
    pub host: String,
    /// Policy hashes, in any order; empty only when an unattested Coordinator is allowed.
    pub policy_hashes: Vec<String>,
    /// Canonical reference values; `None` only when an unattested Coordinator is allowed.
    pub reference: Option<String>,
    /// Whether the configuration allows an unattested Coordinator. Said to the initializer only where
    /// there is no policy hash: a Coordinator that is known is attested.
    pub allow_unattested: bool,
}

/// What the mesh sidecar is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    /// Text and meaning of the ingress annotation.
    pub ingress: Option<(String, Ingress)>,
    /// Text and meaning of the egress annotation.
    pub egress: Option<(String, Egress)>,
    /// Port of the admin interface.
    pub admin_port: Option<u16>,
    /// Who may call.
    pub ingress_allow: PeerRules,
    /// Who must answer.
    pub egress_peer: PeerRules,
    /// Trust domain in which identities are resolved.
    pub trust_domain: String,
    /// Whether new inbound UDP passes.
    pub inbound_udp: bool,
    /// Whether egress that no entry lists is dropped.
    pub strict_egress: bool,
}

impl MeshSettings {
    /// What happens to inbound TCP.
    pub fn ingress(&self) -> Ingress {
        match &self.ingress {
            Some((_, ingress)) => ingress.clone(),
            None => Ingress::default(),
        }
    }
}

/// What one pod gets.
#[derive(Clone, Copy, Debug)]
pub struct Injection<'a> {
    /// Image of the initializer; `None` leaves the initializer to the user.
    pub initializer_image: Option<&'a str>,
    /// Image and settings of the mesh sidecar; `None` injects none.
    pub mesh: Option<(&'a str, &'a MeshSettings)>,
    /// The Coordinator.
    pub coordinator: &'a CoordinatorLink,
    /// Seconds between renewals by a sidecar with the initializer's image; 0 injects none.
    pub renew_seconds: u32,
    /// Whether reports come from CoCo's attestation agent.
    pub attestation_agent: bool,
    /// Names of a StatefulSet's claims: a volume of the same name is the claim's.
    pub claim_templates: &'a [String],
}

impl Injection<'_> {
    /// Changes the pod spec, whose shape was checked, and says what stands in the way.
    ///
    /// When one of the findings is an error the pod spec is left in between.
    pub fn apply(&self, pod_spec: &mut Value, spec_field: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.names_taken(pod_spec, spec_field, &mut findings);
        let manual = self.initializer_image.is_none() && has_init(pod_spec, INITIALIZER);
        self.place_containers(pod_spec, spec_field, &mut findings);
        if self.initializer_image.is_some() || manual || self.mesh.is_some() {
            volume::ensure(pod_spec, spec_field, &mut findings);
            findings.extend(volume::claimed(self.claim_templates));
            volume::mount_everywhere(pod_spec, spec_field, &mut findings);
        } else {
            volume::harden_existing(pod_spec);
        }
        if volume::named(pod_spec, CONTRAST_SECRETS_VOLUME).is_some()
            && self.initializer_image.is_some()
        {
            findings.push(
                Finding::warning(
                    codes::FOREIGN_VOLUME,
                    format!("nothing fills the volume {CONTRAST_SECRETS_VOLUME}"),
                )
                .help("it belongs to newer Contrast versions; certificates are in /tls-config here")
                .field(format!("{spec_field}.volumes")),
            );
        }
        findings
    }

    /// Names of the containers that this puts into the pod. One of our names that is not among them is
    /// the user's own container, with whatever image and rights.
    pub fn written(&self) -> Vec<&'static str> {
        let initializer = self.initializer_image.is_some();
        [
            (initializer, INITIALIZER),
            (initializer && self.renew_seconds > 0, RENEWER),
            (self.mesh.is_some(), SERVICE_MESH),
        ]
        .into_iter()
        .filter_map(|(written, name)| written.then_some(name))
        .collect()
    }

    /// Our names belong to init containers.
    fn names_taken(&self, pod_spec: &Value, spec_field: &str, findings: &mut Vec<Finding>) {
        for container in containers(pod_spec) {
            let ours = INJECTED.contains(&container.name());
            if ours && container.list == "containers" {
                findings.push(
                    Finding::error(
                        codes::NAME_TAKEN,
                        format!(
                            "the name {} belongs to an init container of Nacre",
                            container.name()
                        ),
                    )
                    .help("rename the container, or move it to initContainers")
                    .field(container.field(spec_field, "name")),
                );
            }
        }
    }

    fn place_containers(
        &self,
        pod_spec: &mut Value,
        spec_field: &str,
        findings: &mut Vec<Finding>,
    ) {
        let Some(spec) = pod_spec.as_object_mut() else {
            return;
        };
        let mut init = match spec.get_mut("initContainers").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        if self.mesh.is_none() && init.iter().any(|c| text(c, "name") == Some(SERVICE_MESH)) {
            findings.push(
                Finding::warning(
                    codes::MESH_KEPT,
                    format!("{SERVICE_MESH} is in the pod, but no mesh annotation asks for it"),
                )
                .help("it is kept as it is; remove the container, or add the annotations")
                .field(format!("{spec_field}.initContainers")),
            );
        }
        init.retain(|c| text(c, "name") != Some(RENEWER));
        match self.initializer_image {
            Some(image) => {
                init.retain(|c| text(c, "name") != Some(INITIALIZER));
                init.insert(0, containers::initializer(image, self));
                if self.renew_seconds > 0 {
                    init.insert(1, containers::renewer(image, self));
                }
            }
            None => {
                let manual = init
                    .iter_mut()
                    .find(|c| text(c, "name") == Some(INITIALIZER));
                match manual {
                    Some(container) => containers::complete_initializer(container, self),
                    None if self.mesh.is_some() => findings.push(
                        Finding::warning(
                            codes::MESH_WITHOUT_INITIALIZER,
                            "the mesh sidecar has no initializer to get certificates from",
                        )
                        .help(format!(
                            "add an init container named {INITIALIZER}, or stop skipping it; without \
                             certificates the sidecar does not start"
                        ))
                        .field(format!("{spec_field}.initContainers")),
                    ),
                    None => {}
                }
            }
        }
        if let Some((image, settings)) = self.mesh {
            init.retain(|c| text(c, "name") != Some(SERVICE_MESH));
            let after = init
                .iter()
                .rposition(|c| matches!(text(c, "name"), Some(INITIALIZER | RENEWER)));
            let at = after.map_or(0, |at| at + 1);
            init.insert(at, containers::mesh(image, settings));
        }
        if !init.is_empty() || spec.contains_key("initContainers") {
            spec.insert("initContainers".to_owned(), Value::Array(init));
        }
    }
}

/// Reads the mesh annotations into settings, or says where they are wrong.
pub fn mesh_settings(
    annotations: &crate::annotations::Annotations,
    trust_domain: &str,
) -> Result<MeshSettings, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut note = |annotation: &Annotation, name: &str, error: crate::mesh::GrammarError| {
        findings.push(
            Finding::error(codes::MESH_GRAMMAR, format!("annotation {name}: {error}"))
                .help(grammar_help(name))
                .current(annotation.value.clone())
                .field(annotation.field.clone()),
        );
    };
    let ingress = annotations.ingress.as_ref().and_then(|annotation| {
        Ingress::parse(&annotation.value)
            .map_err(|error| note(annotation, crate::names::INGRESS, error))
            .ok()
            .map(|ingress| (annotation.value.clone(), ingress))
    });
    let egress = annotations.egress.as_ref().and_then(|annotation| {
        Egress::parse(&annotation.value)
            .map_err(|error| note(annotation, crate::names::EGRESS, error))
            .ok()
            .map(|egress| (annotation.value.clone(), egress))
    });
    let parsed = ingress
        .as_ref()
        .map_or_else(Ingress::default, |(_, i)| i.clone());
    let ingress_allow = annotations.ingress_allow.as_ref().and_then(|annotation| {
        PeerRules::parse_ingress(&annotation.value, &parsed)
            .map_err(|error| note(annotation, crate::names::INGRESS_ALLOW, error))
            .ok()
    });
    let names = egress
        .iter()
        .flat_map(|(_, egress)| &egress.entries)
        .map(|e| e.name.as_str());
    let egress_peer = annotations.egress_peer.as_ref().and_then(|annotation| {
        PeerRules::parse_egress(&annotation.value, names)
            .map_err(|error| note(annotation, crate::names::EGRESS_PEER, error))
            .ok()
    });
    findings.extend(admin_port_taken(
        annotations,
        egress.as_ref().map(|(_, e)| e),
    ));
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(MeshSettings {
        ingress,
        egress,
        admin_port: annotations.admin_port.as_ref().map(|port| port.value),
        ingress_allow: ingress_allow.unwrap_or_default(),
        egress_peer: egress_peer.unwrap_or_default(),
        trust_domain: trust_domain.to_owned(),
        inbound_udp: annotations.inbound_udp,
        strict_egress: annotations.strict_egress,
    })
}

/// The mesh refuses to start where its admin endpoint has no port of its own.
fn admin_port_taken(
    annotations: &crate::annotations::Annotations,
    egress: Option<&Egress>,
) -> Option<Finding> {
    let asked = annotations.admin_port.as_ref();
    let port = asked.map(|port| port.value);
    let conflict = egress.and_then(|egress| admin_conflict(port, egress));
    let field = asked
        .map(|port| &port.field)
        .or(annotations.egress.as_ref().map(|egress| &egress.field))?;
    let message = match (port, conflict) {
        (Some(port @ (MESH_PORT_MUTUAL | MESH_PORT_SERVER)), _) => {
            format!("port {port} is where the mesh takes intercepted connections")
        }
        (_, Some(entry)) => format!(
            "the admin endpoint and egress {:?} both want {}",
            entry.name, entry.listen
        ),
        _ => return None,
    };
    Some(
        Finding::error(codes::MESH_PORT_TAKEN, message)
            .help("choose another port for one of the two")
            .field(field.clone()),
    )
}

fn grammar_help(name: &str) -> &'static str {
    match name {
        crate::names::INGRESS => "write name#port#disableTLS, entries joined by ##, or DISABLED",
        crate::names::EGRESS => "write name#127.x.y.z:port#host:port, entries joined by ##",
        _ => "write <entry>=<peer>, further peers and entries behind commas",
    }
}

fn has_init(pod_spec: &Value, name: &str) -> bool {
    list(pod_spec, "initContainers")
        .iter()
        .any(|c| text(c, "name") == Some(name))
}

/// The list below a key, made where it is missing or null.
fn list_mut<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Vec<Value>> {
    let node = map.entry(key).or_insert(Value::Null);
    if node.is_null() {
        *node = Value::Array(Vec::new());
    }
    node.as_array_mut()
}

/// Every container of both lists.
fn each_container(
    pod_spec: &mut Value,
    mut edit: impl FnMut(&str, usize, &mut Map<String, Value>),
) {
    for key in LISTS {
        let items = pod_spec.get_mut(key).and_then(Value::as_array_mut);
        for (index, item) in items.into_iter().flatten().enumerate() {
            if let Some(container) = item.as_object_mut() {
                edit(key, index, container);
            }
        }
    }
}

#[cfg(test)]
mod tests;
