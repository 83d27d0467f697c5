//! What is wrong between fields that are right by themselves.

use std::ops::RangeInclusive;

use nacre_manifest::{MAX_THRESHOLD, is_san};

use crate::config::Confidential;
use crate::error::Reason;
use crate::object::Reader;

/// Seconds between renewals, as in the annotation `nacre.dev/renew-seconds`.
const RENEWALS: RangeInclusive<u32> = 10..=30 * 86_400;

/// Looks at everything that can be judged without a workload or a platform.
pub(crate) fn all(config: &Confidential, reader: &mut Reader) {
    reader.within("spec", |reader| {
        owners(config, reader);
        thresholds(config, reader);
        names(config, reader);
        selectors(config, reader);
        custom_resources(config, reader);
        sans(config, reader);
    });
}

fn owners(config: &Confidential, reader: &mut Reader) {
    if config.disable_updates && !config.workload_owners.is_empty() {
        reader.within("disableUpdates", |reader| {
            reader.error(
                Reason::Conflict,
                "updates are disabled and workloadOwners names who may update: keep one of them",
            );
        });
    }
    let workload = duplicates(&config.workload_owners);
    let seedshare = duplicates(&config.seedshare_owners);
    for (field, indices) in [("workloadOwners", workload), ("seedshareOwners", seedshare)] {
        for index in indices {
            reader.within(&format!("{field}[{index}]"), |reader| {
                reader.error(Reason::Conflict, "the same key stands twice");
            });
        }
    }
}

fn thresholds(config: &Confidential, reader: &mut Reader) {
    let thresholds = [
        ("updateThreshold", config.update_threshold),
        ("recoveryThreshold", config.recovery_threshold),
    ];
    for (field, value) in thresholds {
        if !(1..=MAX_THRESHOLD).contains(&value) {
            reader.within(field, |reader| {
                let message = format!("{value} is not between 1 and {MAX_THRESHOLD}");
                reader.error(Reason::WrongValue, message);
            });
        }
    }
    let seconds = config.renew_seconds;
    if seconds != 0 && !RENEWALS.contains(&seconds) {
        reader.within("renewSeconds", |reader| {
            let (least, most) = (RENEWALS.start(), RENEWALS.end());
            let message = format!("{seconds} is neither 0 nor between {least} and {most}");
            reader.error(Reason::WrongValue, message);
        });
    }
    if config.coordinator_replicas == 0 {
        reader.within("coordinatorReplicas", |reader| {
            reader.error(Reason::WrongValue, "at least one Coordinator");
        });
    }
}

fn names(config: &Confidential, reader: &mut Reader) {
    let namespaces = [("namespace", config.namespace.as_deref())];
    for (field, name) in namespaces {
        if let Some(name) = name.filter(|name| !is_namespace(name)) {
            reader.within(field, |reader| {
                let message = format!("{name:?} is not a name for a namespace");
                reader.error(Reason::WrongValue, message);
            });
        }
    }
    let host = &config.coordinator.host;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    if !host.chars().all(fits) {
        reader.within("coordinator.host", |reader| {
            let message = format!("{host:?} is neither a host name nor an address");
            reader.error(Reason::WrongValue, message);
        });
    }
}

fn selectors(config: &Confidential, reader: &mut Reader) {
    for (index, selector) in config.selectors.iter().enumerate() {
        if selector.is_empty() {
            reader.within(&format!("selectors[{index}]"), |reader| {
                reader.error_with(
                    Reason::Missing,
                    "an empty selector would select every workload",
                    Some("write name: '*' if that is meant".to_owned()),
                );
            });
        }
    }
}

fn custom_resources(config: &Confidential, reader: &mut Reader) {
    let resources = &config.custom_resources;
    for (index, resource) in resources.iter().enumerate() {
        let steps_fit = resource.pod_template.split('.').all(|step| {
            !step.is_empty() && step.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let at = format!("customResources[{index}]");
        if !steps_fit {
            reader.within(&format!("{at}.podTemplate"), |reader| {
                reader.error_with(
                    Reason::WrongValue,
                    format!("{:?} is not a path of field names", resource.pod_template),
                    Some("as in spec.template".to_owned()),
                );
            });
        }
        let earlier = resources.iter().take(index).any(|other| {
            (&other.api_version, &other.kind) == (&resource.api_version, &resource.kind)
        });
        if earlier {
            reader.within(&at, |reader| {
                reader.error(Reason::Conflict, "the same kind stands twice");
            });
        }
    }
}

fn sans(config: &Confidential, reader: &mut Reader) {
    let prefix = config.trust_domain.uri_prefix();
    for (identity, names) in &config.sans {
        for (index, name) in names.iter().enumerate() {
            let at = format!("sans[{:?}][{index}]", identity.to_string());
            if name.to_ascii_lowercase().starts_with(&prefix) {
                reader.within(&at, |reader| {
                    let message =
                        "SPIFFE URIs of the trust domain are made by the Coordinator only";
                    reader.error(Reason::WrongValue, message);
                });
            } else if !is_san(name) {
                reader.within(&at, |reader| {
                    let message = format!("{name:?} is no DNS name, IP address or URI");
                    reader.error(Reason::WrongValue, message);
                });
            }
        }
    }
}

fn duplicates<T: PartialEq>(keys: &[T]) -> Vec<usize> {
    let twice = |(index, key): &(usize, &T)| keys.iter().take(*index).any(|other| other == *key);
    keys.iter()
        .enumerate()
        .filter(twice)
        .map(|(index, _)| index)
        .collect()
}

/// Whether it can name a namespace: a label of RFC 1123.
#[must_use]
pub fn is_namespace(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
        && !name.starts_with('-')
        && !name.ends_with('-')
}
