//! Resource quantities as the kubelet writes them into variables
//! (`k8s.io/apimachinery/pkg/api/resource`, `pkg/api/v1/resource/helpers.go`).

use serde_json::Value;

/// A quantity in billionths; `None` if it is none or too large.
fn billionths(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'));
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{part}").parse().ok()?;
    let (base, power): (i128, i32) = match suffix {
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "" => (10, 0),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (2, 10),
        "Mi" => (2, 20),
        "Gi" => (2, 30),
        "Ti" => (2, 40),
        "Pi" => (2, 50),
        "Ei" => (2, 60),
        exponent => (10, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let scaled = digits.checked_mul(1_000_000_000)?;
    let scaled = match u32::try_from(power) {
        Ok(power) => scaled.checked_mul(base.checked_pow(power)?)?,
        Err(_) => ceil(scaled, base.checked_pow(power.unsigned_abs())?)?,
    };
    ceil(
        scaled,
        10_i128.checked_pow(u32::try_from(part.len()).ok()?)?,
    )
}

fn ceil(value: i128, by: i128) -> Option<i128> {
    value.checked_add(by.checked_sub(1)?)?.checked_div(by)
}

/// The value of a variable with this `resourceFieldRef`, if the container sets the resource;
/// otherwise the node decides.
pub(crate) fn variable(container: &Value, reference: &Value) -> Option<String> {
    let (kind, name) = reference.get("resource")?.as_str()?.split_once('.')?;
    let of = |kind| container.get("resources")?.get(kind)?.get(name);
    let set = match kind {
        // The API server lets a missing request be the limit.
        "requests" => of("requests").or_else(|| of("limits"))?,
        "limits" => of("limits")?,
        _ => return None,
    };
    let unit = if name == "cpu" {
        1_000_000
    } else {
        1_000_000_000
    };
    let divisor = match reference.get("divisor") {
        None | Some(Value::Null) => 1_000_000_000,
        Some(divisor) => match billionths(divisor)? {
            0 => 1_000_000_000,
            divisor => divisor,
        },
    };
    let amount = ceil(billionths(set)?, unit)?;
    Some(ceil(amount, ceil(divisor, unit)?)?.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_the_kubelets() {
        // Cases after the kubelet's own table (`helpers_test.go`, TestExtractContainerResourceValue).
        for (resource, set, divisor, value) in [
            (
                "limits.cpu",
                json!({"limits": {"cpu": 1}}),
                json!(null),
                "1",
            ),
            (
                "requests.cpu",
                json!({"requests": {"cpu": "100m"}}),
                json!(null),
                "1",
            ),
            (
                "requests.cpu",
                json!({"requests": {"cpu": "100m"}}),
                json!("100m"),
                "1",
            ),
            (
                "requests.cpu",
                json!({"requests": {"cpu": "100m"}}),
                json!("1m"),
                "100",
            ),
            (
                "requests.cpu",
                json!({"limits": {"cpu": "2.5"}}),
                json!("0"),
                "3",
            ),
            (
                "limits.memory",
                json!({"limits": {"memory": "100Mi"}}),
                json!(null),
                "104857600",
            ),
            (
                "limits.memory",
                json!({"limits": {"memory": "100Mi"}}),
                json!("1Mi"),
                "100",
            ),
            (
                "limits.memory",
                json!({"limits": {"memory": "1.5G"}}),
                json!("1Ki"),
                "1464844",
            ),
            (
                "limits.memory",
                json!({"limits": {"memory": "1e3"}}),
                json!(1),
                "1000",
            ),
            (
                "limits.ephemeral-storage",
                json!({"limits": {"ephemeral-storage": "1E"}}),
                json!("1P"),
                "1000",
            ),
        ] {
            let container = json!({"resources": set});
            let reference = json!({"resource": resource, "divisor": divisor});
            assert_eq!(
                variable(&container, &reference).as_deref(),
                Some(value),
                "{resource} {set} {divisor}"
            );
        }
        let none = json!({"resources": {"limits": {"cpu": "x", "memory": "1Zi"}}});
        for resource in [
            "limits.cpu",
            "limits.memory",
            "requests.hugepages-2Mi",
            "cpu",
        ] {
            assert_eq!(variable(&none, &json!({"resource": resource})), None);
        }
    }
}
