//! The volume with certificates and keys: guest memory, mounted in every container.

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::{Map, Value, json};

use super::{each_container, has_init, list_mut};
use crate::containers::containers;
use crate::names::{CERTS_PATH, CERTS_VOLUME, INITIALIZER, INJECTED};
use crate::object::{clean, list, text};

/// Adds the volume, or turns what is there into guest memory.
pub(super) fn ensure(pod_spec: &mut Value, spec_field: &str, findings: &mut Vec<Finding>) {
    let taken = list(pod_spec, "volumes")
        .iter()
        .position(|v| text(v, "name") == Some(CERTS_VOLUME));
    if let Some(index) = taken {
        let source = named(pod_spec, CERTS_VOLUME).and_then(foreign_source);
        if let Some(source) = source {
            findings.push(
                Finding::error(
                    codes::VOLUME_TAKEN,
                    format!("the volume {CERTS_VOLUME} must be an emptyDir, it is {source}"),
                )
                .help("private keys are written there and must not leave the guest: rename the volume")
                .field(format!("{spec_field}.volumes[{index}]")),
            );
            return;
        }
        harden_existing(pod_spec);
        return;
    }
    if let Some(volumes) = pod_spec
        .as_object_mut()
        .and_then(|map| list_mut(map, "volumes"))
    {
        volumes.push(json!({"name": CERTS_VOLUME, "emptyDir": {"medium": "Memory"}}));
    }
}

/// A claim of the volume's name: a StatefulSet's controller puts it in the place of whatever the pod
/// template says.
pub(super) fn claimed(claim_templates: &[String]) -> Option<Finding> {
    let index = claim_templates
        .iter()
        .position(|name| name == CERTS_VOLUME)?;
    Some(
        Finding::error(
            codes::VOLUME_TAKEN,
            format!("the volume {CERTS_VOLUME} must be an emptyDir, it is a claim"),
        )
        .help("private keys are written there and must not leave the guest: rename the claim")
        .field(format!("spec.volumeClaimTemplates[{index}].metadata.name")),
    )
}

/// Sets `medium: Memory` on the volume if it is there: the manual snippet of the v0.8 documentation
/// has `emptyDir: {}`, which would be the host's disk.
pub(super) fn harden_existing(pod_spec: &mut Value) {
    let volumes = pod_spec.get_mut("volumes").and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        if text(volume, "name") != Some(CERTS_VOLUME) || foreign_source(volume).is_some() {
            continue;
        }
        let Some(map) = volume.as_object_mut() else {
            continue;
        };
        let source = map.entry("emptyDir").or_insert(Value::Null);
        if !source.is_object() {
            *source = Value::Object(Map::new());
        }
        if let Some(source) = source.as_object_mut() {
            source.insert("medium".to_owned(), json!("Memory"));
        }
    }
}

/// A volume by name.
pub(super) fn named<'a>(pod_spec: &'a Value, name: &str) -> Option<&'a Value> {
    list(pod_spec, "volumes")
        .iter()
        .find(|v| text(v, "name") == Some(name))
}

/// The kind of a volume that is not an emptyDir. A volume without a kind is one.
fn foreign_source(volume: &Value) -> Option<String> {
    let sources = volume.as_object().into_iter().flatten();
    let mut sources = sources.filter(|(key, value)| *key != "name" && !value.is_null());
    sources
        .find(|(key, value)| *key != "emptyDir" || !value.is_object())
        .map(|(key, _)| key.clone())
}

/// Mounts the volume where it is not, and refuses mounts that would hide it.
///
/// Other containers than ours get it read-only, also where they mount it themselves and do not say
/// `readOnly: false`: nobody but what is injected can put the start gate, certificates or the ready
/// mark there.
pub(super) fn mount_everywhere(
    pod_spec: &mut Value,
    spec_field: &str,
    findings: &mut Vec<Finding>,
) {
    for container in containers(pod_spec) {
        for (index, mount) in list(container.value, "volumeMounts").iter().enumerate() {
            let path = text(mount, "mountPath").unwrap_or_default();
            let own = text(mount, "name") == Some(CERTS_VOLUME) && clean(path) == CERTS_PATH;
            if !own && is_within(path) {
                findings.push(
                    Finding::error(
                        codes::MOUNT_TAKEN,
                        format!("{path} is mounted already: it would hide the certificates"),
                    )
                    .help(format!(
                        "mount {:?} somewhere else",
                        text(mount, "name").unwrap_or_default()
                    ))
                    .current(path)
                    .field(
                        container.field(spec_field, &format!("volumeMounts[{index}].mountPath")),
                    ),
                );
            }
        }
    }
    let filled = has_init(pod_spec, INITIALIZER);
    each_container(pod_spec, |list, index, container| {
        let name = container.get("name").and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        let ours = INJECTED.contains(&name.as_str());
        let Some(mounts) = list_mut(container, "volumeMounts") else {
            return;
        };
        for (at, mount) in mounts.iter_mut().enumerate() {
            if ours || text(mount, "name") != Some(CERTS_VOLUME) {
                continue;
            }
            let said = mount.get("readOnly").cloned().unwrap_or_default();
            if said == true {
                continue;
            }
            // Without an initializer of ours somebody else may be the one who fills it.
            match mount.as_object_mut() {
                Some(map) if filled && said.is_null() => {
                    map.insert("readOnly".to_owned(), json!(true));
                }
                _ => findings.push(
                    Finding::warning(
                        codes::CERTS_WRITABLE,
                        format!(
                            "container {name:?} may write to the volume of certificates and keys"
                        ),
                    )
                    .help("write readOnly: true: only the initializer and the mesh write there")
                    .field(format!("{spec_field}.{list}[{index}].volumeMounts[{at}]")),
                ),
            }
        }
        let mounted = mounts
            .iter()
            .any(|m| clean(text(m, "mountPath").unwrap_or_default()) == CERTS_PATH);
        if !mounted {
            let mut mount = json!({"name": CERTS_VOLUME, "mountPath": CERTS_PATH});
            if let (Some(map), false) = (mount.as_object_mut(), ours) {
                map.insert("readOnly".to_owned(), json!(true));
            }
            mounts.push(mount);
        }
    });
}

/// Whether a mount at this path would cover the directory or something in it.
fn is_within(path: &str) -> bool {
    let path = clean(path);
    path.strip_prefix(CERTS_PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use nacre_findings::{Code, Severity};

    use super::*;
    use crate::inject::{CoordinatorLink, Injection};

    fn inject(
        pod_spec: &mut Value,
        image: Option<&str>,
        claim_templates: &[String],
    ) -> Vec<(Code, Severity, String)> {
        let link = CoordinatorLink {
            host: "coordinator".to_owned(),
            policy_hashes: Vec::new(),
            reference: None,
            allow_unattested: true,
        };
        let injection = Injection {
            initializer_image: image,
            mesh: None,
            coordinator: &link,
            renew_seconds: 0,
            attestation_agent: false,
            claim_templates,
        };
        let findings = injection.apply(pod_spec, "spec").into_iter();
        findings
            .map(|f| (f.code, f.severity, f.field.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn a_claim_does_not_take_the_volume() {
        let claims = ["data", CERTS_VOLUME].map(str::to_owned);
        let mut spec = json!({"containers": [{"name": "a"}]});
        let field = "spec.volumeClaimTemplates[1].metadata.name".to_owned();
        assert_eq!(
            inject(&mut spec, Some("init:2"), &claims),
            [(codes::VOLUME_TAKEN, Severity::Error, field)]
        );
        assert_eq!(inject(&mut spec, Some("init:2"), &claims[..1]), []);
    }

    #[test]
    fn users_containers_read_the_volume() {
        let at = |path: &str, rest: Value| {
            let mut mount = json!({"name": CERTS_VOLUME, "mountPath": path});
            for (key, value) in rest.as_object().unwrap() {
                mount[key] = value.clone();
            }
            mount
        };
        let pod = json!({
            "initContainers": [{"name": INITIALIZER, "volumeMounts": [at(CERTS_PATH, json!({}))]}],
            "containers": [
                {"name": "a", "volumeMounts": [at(CERTS_PATH, json!({})), at("/certs", json!({"readOnly": null}))]},
                {"name": "b", "volumeMounts": [at(CERTS_PATH, json!({"readOnly": false}))]},
            ],
        });
        let warned = |container: usize, mount: usize| {
            let field = format!("spec.containers[{container}].volumeMounts[{mount}]");
            (codes::CERTS_WRITABLE, Severity::Warning, field)
        };
        // Injected, and placed by hand as the documentation of v0.8 has it.
        for image in [Some("init:2"), None] {
            let mut spec = pod.clone();
            assert_eq!(inject(&mut spec, image, &[]), [warned(1, 0)]);
            let mounts = &spec["containers"][0]["volumeMounts"];
            assert_eq!(mounts[0]["readOnly"], true);
            assert_eq!(mounts[1]["readOnly"], true);
            assert_eq!(spec["containers"][1]["volumeMounts"][0]["readOnly"], false);
            let initializer = &spec["initContainers"][0]["volumeMounts"][0];
            assert!(initializer.get("readOnly").is_none());
        }
    }
}
