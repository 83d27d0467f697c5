//! The annotations of a workload, read from the object and from its pod template.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::Value;
use strsim::osa_distance;

use crate::kinds::TemplatePath;
use crate::names::{
    ADMIN_PORT, CONTRAST_PREFIX, EGRESS, EGRESS_PEER, INBOUND_UDP, INGRESS, INGRESS_ALLOW,
    NACRE_PREFIX, OWN_ANNOTATIONS, POD_ROLE, RENEW_SECONDS, ROLE_COORDINATOR, SANS,
    SHARED_ANNOTATIONS, SKIP_INITIALIZER, START_GATE, STRICT_EGRESS, WORKLOAD_SECRET_ID,
};
use crate::object;

/// Seconds that may lie between two renewals: an attested connection each, and a leaf lives for a year.
pub const RENEWALS: RangeInclusive<u32> = 10..=30 * 86_400;

/// Contrast annotations whose effect we do not have; ignoring them would take away a protection.
const REFUSED: &[(&str, &str)] = &[(
    "secure-pv",
    "encrypted volumes are not set up by Nacre: remove the annotation and encrypt in the application",
)];

/// Annotations of which one is enough to get the mesh sidecar.
const MESH: [&str; 3] = [INGRESS, EGRESS, ADMIN_PORT];
/// Annotations that only the mesh sidecar gives effect to, with the value that asks for nothing.
const MESH_SETTINGS: &[(&str, Option<&str>)] = &[
    (INGRESS_ALLOW, None),
    (EGRESS_PEER, None),
    (INBOUND_UDP, Some("allow")),
    (STRICT_EGRESS, Some("false")),
];

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation<T = String> {
    /// The value.
    pub value: T,
    /// `spec.template.metadata.annotations["nacre.dev/sans"]`.
    pub field: String,
}

impl<T> Annotation<T> {
    fn map<U>(self, value: U) -> Annotation<U> {
        Annotation {
            value,
            field: self.field,
        }
    }
}

/// What the annotations of one workload say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Annotations {
    /// `servicemesh-ingress`, not yet parsed.
    pub ingress: Option<Annotation>,
    /// `servicemesh-egress`, not yet parsed.
    pub egress: Option<Annotation>,
    /// `servicemesh-admin-interface-port`.
    pub admin_port: Option<Annotation<u16>>,
    /// `servicemesh-ingress-allow`, not yet parsed.
    pub ingress_allow: Option<Annotation>,
    /// `servicemesh-egress-peer`, not yet parsed.
    pub egress_peer: Option<Annotation>,
    /// `servicemesh-inbound-udp: allow`.
    pub inbound_udp: bool,
    /// `servicemesh-strict-egress: "true"`.
    pub strict_egress: bool,
    /// `skip-initializer: "true"`.
    pub skip_initializer: bool,
    /// `start-gate`, where it says anything.
    pub start_gate: Option<Annotation<bool>>,
    /// `renew-seconds`, where it says anything; 0 renews nothing.
    pub renew_seconds: Option<Annotation<u32>>,
    /// `pod-role: coordinator`.
    pub coordinator: bool,
    /// `workload-secret-id`.
    pub workload_secret_id: Option<Annotation>,
    /// `sans`, split at commas, in order.
    pub sans: Option<Annotation<Vec<String>>>,
}

impl Annotations {
    /// Whether a mesh sidecar is asked for.
    pub fn wants_mesh(&self) -> bool {
        self.ingress.is_some() || self.egress.is_some() || self.admin_port.is_some()
    }

    /// Reads the annotations of an object whose pod template stands at `path`.
    pub fn read(object: &Value, path: &TemplatePath) -> (Self, Vec<Finding>) {
        let mut reader = Reader::collect(object, path);
        reader.without_mesh();
        let annotations = Self {
            ingress: reader.take(INGRESS),
            egress: reader.take(EGRESS),
            admin_port: reader.admin_port(),
            ingress_allow: reader.take(INGRESS_ALLOW),
            egress_peer: reader.take(EGRESS_PEER),
            inbound_udp: reader.word(INBOUND_UDP, &[("allow", true), ("drop", false)]),
            strict_egress: reader.word(STRICT_EGRESS, BOOL),
            skip_initializer: reader.word(SKIP_INITIALIZER, BOOL),
            start_gate: reader.start_gate(),
            renew_seconds: reader.renew_seconds(),
            coordinator: reader.word(POD_ROLE, &[(ROLE_COORDINATOR, true)]),
            workload_secret_id: reader.secret_id(),
            sans: reader.sans(),
        };
        (annotations, reader.findings)
    }
}

/// Whether the annotations mark the Coordinator, without reading the others.
pub fn is_coordinator(object: &Value, path: &TemplatePath) -> bool {
    [Some(object), path.template(object)]
        .into_iter()
        .flatten()
        .filter_map(object::annotations)
        .flat_map(|map| {
            [CONTRAST_PREFIX, NACRE_PREFIX].map(|prefix| map.get(&format!("{prefix}{POD_ROLE}")))
        })
        .flatten()
        .any(|value| value.as_str() == Some(ROLE_COORDINATOR))
}

const BOOL: &[(&str, bool)] = &[("true", true), ("false", false)];

/// Annotations by short name, conflicts already reported.
struct Reader {
    found: BTreeMap<&'static str, Annotation>,
    findings: Vec<Finding>,
}

impl Reader {
    fn collect(object: &Value, path: &TemplatePath) -> Self {
        let mut reader = Self {
            found: BTreeMap::new(),
            findings: Vec::new(),
        };
        // The template is read first: where both say the same, findings point there.
        if !path.is_root()
            && let Some(template) = path.template(object)
        {
            reader.scan(template, &path.metadata_field());
        }
        reader.scan(object, "metadata");
        reader
    }

    fn scan(&mut self, node: &Value, metadata: &str) {
        let Some(annotations) = object::annotations(node) else {
            return;
        };
        for (key, value) in annotations {
            let (short, own) = match (
                key.strip_prefix(CONTRAST_PREFIX),
                key.strip_prefix(NACRE_PREFIX),
            ) {
                (Some(short), _) => (short, false),
                (_, Some(short)) => (short, true),
                _ => {
                    self.other_domain(key, metadata);
                    continue;
                }
            };
            let field = format!("{metadata}.annotations[{key:?}]");
            let known = SHARED_ANNOTATIONS
                .iter()
                .chain(OWN_ANNOTATIONS.iter().filter(|_| own))
                .find(|name| **name == short);
            match (known, value.as_str()) {
                (Some(name), Some(value)) => self.add(name, value, field),
                (Some(_), None) => self.findings.push(
                    Finding::error(
                        codes::ANNOTATION_VALUE,
                        format!("annotation {key} is not a string"),
                    )
                    .help("write the value in quotes")
                    .field(field),
                ),
                (None, _) => self.unknown(key, short, field),
            }
        }
    }

    fn add(&mut self, name: &'static str, value: &str, field: String) {
        let Some(first) = self.found.get(name) else {
            let value = value.to_owned();
            self.found.insert(name, Annotation { value, field });
            return;
        };
        if first.value != value {
            self.findings.push(
                Finding::error(
                    codes::ANNOTATION_CONFLICT,
                    format!("annotation {name} is given twice with different values"),
                )
                .help(format!(
                    "{} says {:?}: keep one of the two",
                    first.field, first.value
                ))
                .current(value)
                .field(field),
            );
        }
    }

    fn other_domain(&mut self, key: &str, metadata: &str) {
        let Some(meant) = meant(key) else { return };
        self.findings.push(
            Finding::warning(
                codes::ANNOTATION_UNKNOWN,
                format!("annotation {key} is not known"),
            )
            .help(format!("did you mean {meant}?"))
            .field(format!("{metadata}.annotations[{key:?}]")),
        );
    }

    fn unknown(&mut self, key: &str, short: &str, field: String) {
        if let Some((_, reason)) = REFUSED.iter().find(|(name, _)| *name == short) {
            let message = format!("annotation {key} is not supported");
            let finding = Finding::error(codes::ANNOTATION_UNSUPPORTED, message);
            self.findings.push(finding.help(*reason).field(field));
            return;
        }
        let help = match closest(short) {
            Some(name) if OWN_ANNOTATIONS.contains(&name) => {
                format!("did you mean {NACRE_PREFIX}{name}?")
            }
            Some(name) => format!("did you mean {CONTRAST_PREFIX}{name}?"),
            None => "it has no effect; remove it if it is not read by something else".to_owned(),
        };
        self.findings.push(
            Finding::warning(
                codes::ANNOTATION_UNKNOWN,
                format!("annotation {key} is not known"),
            )
            .help(help)
            .field(field),
        );
    }

    /// Settings of a mesh that is not there: who wrote them relies on them.
    fn without_mesh(&mut self) {
        let role = self.found.get(POD_ROLE).map(|role| role.value.as_str());
        if role == Some(ROLE_COORDINATOR) {
            let help = "remove the annotation: the ports of the Coordinator speak attested TLS, and it gets no \
                        mesh";
            self.no_effect(
                &MESH.map(|name| (name, None)),
                "the Coordinator is not in the mesh",
                help,
            );
            self.no_effect(MESH_SETTINGS, "the Coordinator is not in the mesh", help);
        } else if !MESH.iter().any(|name| self.found.contains_key(name)) {
            let help = format!(
                "add {NACRE_PREFIX}{INGRESS} (\"\" protects every port) or {NACRE_PREFIX}{EGRESS}, or remove \
                 the annotation"
            );
            self.no_effect(MESH_SETTINGS, "nothing asks for the mesh", &help);
        }
    }

    /// Refuses what is found of `names`, each with the value that asks for nothing.
    fn no_effect(&mut self, names: &[(&str, Option<&str>)], why: &str, help: &str) {
        for (name, nothing) in names {
            let Some(annotation) = self.found.get(name) else {
                continue;
            };
            if *nothing == Some(annotation.value.as_str()) {
                continue;
            }
            let message = format!("annotation {name} has no effect: {why}");
            self.findings.push(
                Finding::error(codes::MESH_NOT_ASKED_FOR, message)
                    .help(help)
                    .current(annotation.value.clone())
                    .field(annotation.field.clone()),
            );
        }
    }

    fn take(&mut self, name: &str) -> Option<Annotation> {
        self.found.remove(name)
    }

    fn refuse(&mut self, name: &str, annotation: &Annotation, help: impl Into<String>) {
        self.findings.push(
            Finding::error(
                codes::ANNOTATION_VALUE,
                format!(
                    "annotation {name} cannot have the value {:?}",
                    annotation.value
                ),
            )
            .help(help)
            .current(annotation.value.clone())
            .field(annotation.field.clone()),
        );
    }

    fn word(&mut self, name: &'static str, words: &[(&str, bool)]) -> bool {
        let Some(annotation) = self.take(name) else {
            return false;
        };
        match words.iter().find(|(word, _)| *word == annotation.value) {
            Some((_, meaning)) => *meaning,
            None => {
                let allowed: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                self.refuse(name, &annotation, format!("write {}", allowed.join(" or ")));
                false
            }
        }
    }

    fn start_gate(&mut self) -> Option<Annotation<bool>> {
        let annotation = self.found.get(START_GATE)?.clone();
        let value = self.word(START_GATE, BOOL);
        Some(annotation.map(value))
    }

    fn renew_seconds(&mut self) -> Option<Annotation<u32>> {
        let annotation = self.take(RENEW_SECONDS)?;
        let digits = annotation.value.bytes().all(|b| b.is_ascii_digit());
        match annotation.value.parse::<u32>() {
            Ok(seconds) if digits && (seconds == 0 || RENEWALS.contains(&seconds)) => {
                Some(annotation.map(seconds))
            }
            _ => {
                let (least, most) = (RENEWALS.start(), RENEWALS.end());
                let help = format!("write \"0\", or seconds from {least} to {most}");
                self.refuse(RENEW_SECONDS, &annotation, help);
                None
            }
        }
    }

    fn admin_port(&mut self) -> Option<Annotation<u16>> {
        let annotation = self.take(ADMIN_PORT)?;
        let digits = annotation.value.bytes().all(|b| b.is_ascii_digit());
        match annotation.value.parse::<u16>() {
            Ok(port) if port != 0 && digits => Some(annotation.map(port)),
            _ => {
                self.refuse(ADMIN_PORT, &annotation, "write a port from 1 to 65535");
                None
            }
        }
    }

    fn secret_id(&mut self) -> Option<Annotation> {
        let annotation = self.take(WORKLOAD_SECRET_ID)?;
        let odd = annotation.value.chars().any(char::is_control);
        // A length on the wire is a u16 (SECURITY-DESIGN 15); names are far below that.
        if annotation.value.is_empty() || annotation.value.len() > 1024 || odd {
            self.refuse(
                WORKLOAD_SECRET_ID,
                &annotation,
                "write 1 to 1024 characters without control characters",
            );
            return None;
        }
        Some(annotation)
    }

    fn sans(&mut self) -> Option<Annotation<Vec<String>>> {
        let annotation = self.take(SANS)?;
        let sans = annotation.value.split(',').map(str::trim);
        let sans = sans
            .filter(|san| !san.is_empty())
            .map(str::to_owned)
            .collect();
        Some(annotation.map(sans))
    }
}

/// The known name that a misspelt one most likely stands for: at most a third of it differs.
/// Whether a key is one of the annotations that ask for something.
pub fn asks_for_something(key: &str) -> bool {
    let below = |prefix: &str| key.strip_prefix(prefix);
    below(CONTRAST_PREFIX).is_some_and(|short| SHARED_ANNOTATIONS.contains(&short))
        || below(NACRE_PREFIX).is_some_and(|short| {
            SHARED_ANNOTATIONS.contains(&short) || OWN_ANNOTATIONS.contains(&short)
        })
}

/// The annotation that was meant by one of a domain that is near ours.
pub fn meant(key: &str) -> Option<String> {
    let (domain, short) = key.split_once('/')?;
    [CONTRAST_PREFIX, NACRE_PREFIX]
        .into_iter()
        .find_map(|prefix| {
            let ours = prefix.trim_end_matches('/');
            let is_near = domain != ours && osa_distance(domain, ours) <= ours.len() / 8;
            let meant = format!("{prefix}{short}");
            (is_near && asks_for_something(&meant)).then_some(meant)
        })
}

fn closest(short: &str) -> Option<&'static str> {
    SHARED_ANNOTATIONS
        .into_iter()
        .chain(OWN_ANNOTATIONS)
        .map(|name| (osa_distance(short, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
#[path = "annotations_tests.rs"]
mod tests;
