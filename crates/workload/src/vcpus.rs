//! How many vCPUs the guest of a pod gets, because the number enters the launch measurement.
//!
//! Kata with static sizing adds the pod's CPU limit, rounded up to whole CPUs, to the number of its
//! configuration. The limit is the one the kubelet hands down with the sandbox (`PodLimits` of
//! `k8s.io/component-helpers/resource`): a value of the pod itself; otherwise the larger of the sum
//! over containers and native sidecars, and the largest init container together with the native
//! sidecars started before it. A container without a limit counts as zero.

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::Value;

use crate::object::{list, text};

/// The number of vCPUs of a guest that has `base` without any limit.
///
/// ```
/// use nacre_workload::vcpus::vcpus;
/// use serde_json::json;
///
/// let spec = json!({"containers": [
///     {"resources": {"limits": {"cpu": "1500m"}}},
///     {"resources": {"requests": {"cpu": "4"}}},
/// ]});
/// assert_eq!(vcpus(&spec, "spec", 1).unwrap(), 3);
/// ```
pub fn vcpus(pod_spec: &Value, spec_field: &str, base: u32) -> Result<u32, Box<Finding>> {
    let milli = limit(pod_spec, spec_field)?;
    let whole = u32::try_from(milli.div_ceil(1000)).unwrap_or(u32::MAX);
    Ok(base.saturating_add(whole))
}

/// The CPU limit of the pod in thousandths of a CPU; 0 = none.
fn limit(pod_spec: &Value, spec_field: &str) -> Result<u64, Box<Finding>> {
    if let Some(limit) = cpu(pod_spec, spec_field)? {
        return Ok(limit);
    }
    let mut sum = 0_u64;
    for (index, container) in list(pod_spec, "containers").iter().enumerate() {
        let field = format!("{spec_field}.containers[{index}]");
        sum = sum.saturating_add(cpu(container, &field)?.unwrap_or(0));
    }
    let (mut sidecars, mut largest) = (0_u64, 0_u64);
    for (index, container) in list(pod_spec, "initContainers").iter().enumerate() {
        let field = format!("{spec_field}.initContainers[{index}]");
        let own = cpu(container, &field)?.unwrap_or(0);
        if text(container, "restartPolicy") == Some("Always") {
            sidecars = sidecars.saturating_add(own);
            largest = largest.max(sidecars);
        } else {
            largest = largest.max(sidecars.saturating_add(own));
        }
    }
    Ok(largest.max(sum.saturating_add(sidecars)))
}

/// `resources.limits.cpu` in thousandths of a CPU, rounded up.
fn cpu(node: &Value, field: &str) -> Result<Option<u64>, Box<Finding>> {
    let value = node
        .get("resources")
        .and_then(|resources| resources.get("limits"))
        .and_then(|limits| limits.get("cpu"));
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    match milli(&text) {
        Some(milli) => Ok(Some(milli)),
        None => Err(Box::new(
            Finding::error(codes::QUANTITY, format!("{text:?} is not an amount of CPU"))
                .help("write it as Kubernetes does: 2, 0.5 or 500m")
                .current(text)
                .field(format!("{field}.resources.limits.cpu")),
        )),
    }
}

/// A Kubernetes quantity in thousandths, rounded up; `None` if it is none, or is below zero.
fn milli(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '+');
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let number = number.strip_prefix('+').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let binary = |power: u32| Some((1_u128 << (10 * power), 0));
    let (factor, exponent): (u128, i32) = match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "Ki" => binary(1)?,
        "Mi" => binary(2)?,
        "Gi" => binary(3)?,
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (1, exponent.parse().ok().filter(|e| (-18..=18).contains(e))?)
        }
    };
    let places = i32::try_from(fraction.len()).ok()?;
    let value = digits.parse::<u128>().ok()?.checked_mul(factor)?;
    // In thousandths: three places more.
    let shift = exponent - places + 3;
    let power = 10_u128.checked_pow(shift.unsigned_abs())?;
    let milli = match shift >= 0 {
        true => value.checked_mul(power)?,
        false => value.div_ceil(power),
    };
    u64::try_from(milli).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities() {
        for (text, wanted) in [
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("500m", Some(500)),
            ("1500000u", Some(1500)),
            ("1n", Some(1)),
            ("2e0", Some(2000)),
            ("1E-3", Some(1)),
            (".5", Some(500)),
            ("1.", Some(1000)),
            ("1k", Some(1_000_000)),
            ("1Ki", Some(1_024_000)),
            ("+1", Some(1000)),
            ("-1", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("1 ", None),
            ("1x", None),
            ("99999999999999999999999999999999", None),
        ] {
            assert_eq!(milli(text), wanted, "{text:?}");
        }
    }

    fn with(limit: Value) -> Value {
        json!({"resources": {"limits": {"cpu": limit}}})
    }

    fn sidecar(limit: &str) -> Value {
        let mut container = with(json!(limit));
        container["restartPolicy"] = json!("Always");
        container
    }

    #[test]
    fn as_the_kubelet_adds_limits() {
        let none = json!({"containers": [{}]});
        assert_eq!(vcpus(&none, "spec", 1).unwrap(), 1);
        let sum = json!({"containers": [with(json!(1)), with(json!("200m"))]});
        assert_eq!(vcpus(&sum, "spec", 1).unwrap(), 3);
        // An ordinary init container runs alone with the sidecars before it.
        let init = json!({
            "containers": [with(json!("1"))],
            "initContainers": [sidecar("500m"), with(json!("3")), sidecar("1")]
        });
        assert_eq!(vcpus(&init, "spec", 1).unwrap(), 5);
        // Sidecars run beside the containers.
        let beside = json!({"containers": [with(json!("2"))], "initContainers": [sidecar("1")]});
        assert_eq!(vcpus(&beside, "spec", 0).unwrap(), 3);
        let pod = json!({"resources": {"limits": {"cpu": "1"}}, "containers": [with(json!("9"))]});
        assert_eq!(vcpus(&pod, "spec", 1).unwrap(), 2);
    }

    #[test]
    fn a_wrong_amount_names_its_field() {
        let spec = json!({"containers": [with(json!("two"))]});
        let finding = vcpus(&spec, "spec.template.spec", 1).unwrap_err();
        assert_eq!(finding.code, codes::QUANTITY);
        assert_eq!(
            finding.field.as_deref(),
            Some("spec.template.spec.containers[0].resources.limits.cpu")
        );
    }
}
