//! Host name and resolver of the pod.

use serde_json::Value;

use crate::input::WorkloadInput;
use crate::pod::{self, flag, list, text};
use crate::value::INDEX;

/// The host name the kubelet gives the sandbox.
pub(crate) fn hostname_pattern(input: &WorkloadInput<'_>) -> String {
    let own = text(input.pod_spec, "hostname").filter(|name| !name.is_empty());
    let label = match own {
        // The controller overwrites what the template says.
        _ if input.indexed => {
            let run = if input.kind == "CronJob" {
                "[0-9]{8,10}-"
            } else {
                ""
            };
            format!("{}-{run}{INDEX}", crate::value::escape(input.name))
        }
        Some(name) => crate::value::escape(name),
        None => {
            let pattern = pod::name_pattern(input.kind, input.name);
            let inner = pattern
                .trim_start_matches('^')
                .trim_end_matches('$')
                .to_owned();
            // Names over 63 characters are cut; only a long base can lead there.
            if input.name.len() + 24 > 63 {
                let cut = input
                    .name
                    .get(..input.name.len().min(39))
                    .unwrap_or(input.name);
                format!("{}[a-z0-9.-]{{0,24}}", crate::value::escape(cut))
            } else {
                inner
            }
        }
    };
    if flag(input.pod_spec, "setHostnameAsFQDN") == Some(true) {
        let subdomain = text(input.pod_spec, "subdomain").unwrap_or("");
        let subdomain = crate::value::escape(subdomain);
        let namespace = crate::value::escape(input.namespace());
        return format!("^{label}(\\.{subdomain}\\.{namespace}\\.svc\\.[a-z0-9.-]+)?$");
    }
    format!("^{label}$")
}

/// With `dnsPolicy: None` the resolver's configuration is the pod's own.
pub(crate) fn dns(spec: &Value) -> Option<Vec<String>> {
    (text(spec, "dnsPolicy") == Some("None")).then(|| dns_lines(spec))
}

/// The lines of resolv.conf as containerd writes them (`pkg/cri/server`, `parseDNSOptions`).
pub(crate) fn dns_lines(spec: &Value) -> Vec<String> {
    let config = spec.get("dnsConfig").unwrap_or(&Value::Null);
    let mut lines = Vec::new();
    let searches = pod::texts(config, "searches");
    if !searches.is_empty() {
        lines.push(format!("search {}", searches.join(" ")));
    }
    lines.extend(
        pod::texts(config, "nameservers")
            .iter()
            .map(|s| format!("nameserver {s}")),
    );
    let options: Vec<_> = list(config, "options")
        .iter()
        .filter_map(|o| {
            let name = text(o, "name")?;
            Some(match text(o, "value") {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            })
        })
        .collect();
    if !options.is_empty() {
        lines.push(format!("options {}", options.join(" ")));
    }
    lines
}
