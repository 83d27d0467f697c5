//! Host name and resolver of the pod.

use serde_json::Value;

use crate::input::WorkloadInput;
use crate::pod::{self, flag, list, text};
use crate::value::{INDEX, Text};

/// Longest host name that the kubelet gives (`truncatePodHostnameIfNeeded`), in bytes.
const LONGEST: usize = 63;
/// Most hyphens and dots that it takes from the end of a name it cuts, as names are in practice.
const TRIMMED: usize = 5;

/// The shape of the host name that the kubelet gives the sandbox, before the pod's name is known.
pub(crate) fn hostname_pattern(input: &WorkloadInput<'_>) -> String {
    let label = match label(input) {
        Label::Own(name) => crate::value::escape(name),
        Label::Indexed(pattern) => pattern,
        Label::Pod => {
            let pattern = pod::name_pattern(input.kind, input.name);
            let inner = pattern.strip_prefix('^').and_then(|p| p.strip_suffix('$'));
            inner.unwrap_or(&pattern).to_owned()
        }
        Label::Cut(cut, more) => format!("{cut}[a-z0-9.-]{{0,{more}}}"),
    };
    format!("^{label}{}$", domain(input))
}

/// The host name once the pod's name is known, as a rule: what else it could be is the host's choice.
pub(crate) fn hostname_rule(input: &WorkloadInput<'_>) -> String {
    let domain = domain(input);
    match label(input) {
        Label::Own(name) if domain.is_empty() => Text::literal(name).rule().into_text(),
        Label::Pod if domain.is_empty() => "={pod}".to_owned(),
        Label::Own(name) => format!("^{}{domain}$", crate::value::escape(name)),
        Label::Indexed(pattern) => format!("^{pattern}{domain}$"),
        Label::Pod => format!("^{{pod}}{domain}$"),
        // Whatever fits is the pod's name; what is as long as a host name can be is a part of one.
        Label::Cut(cut, more) => {
            let least = more.saturating_sub(TRIMMED);
            format!("^({{pod}}|{cut}[a-z0-9.-]{{{least},{more}}}){domain}$")
        }
    }
}

/// The first label of a host name.
enum Label<'w> {
    /// `spec.hostname`, or a pod's own name cut to what fits.
    Own(&'w str),
    /// Pattern of the job's name and an index, which the job controller sets whatever the template says.
    Indexed(String),
    /// The pod's name.
    Pod,
    /// Pattern of the beginning and most bytes behind it, where a controller can give names that the
    /// kubelet cuts.
    Cut(String, usize),
}

fn label<'w>(input: &WorkloadInput<'w>) -> Label<'w> {
    if input.indexed {
        let run = match input.kind {
            "CronJob" => "[0-9]{8,10}-",
            _ => "",
        };
        return Label::Indexed(format!("{}-{run}{INDEX}", crate::value::escape(input.name)));
    }
    if let Some(name) = text(input.pod_spec, "hostname").filter(|name| !name.is_empty()) {
        return Label::Own(name);
    }
    // Names that the API server makes up are no longer than a host name (`SimpleNameGenerator`).
    let longest = match input.kind {
        "Pod" => input.name.len(),
        "StatefulSet" => input.name.len() + 10,
        "Deployment" | "ReplicaSet" | "ReplicationController" | "DaemonSet" | "Job" | "CronJob" => {
            0
        }
        _ => usize::MAX,
    };
    if longest <= LONGEST {
        return Label::Pod;
    }
    if input.kind == "Pod" {
        let cut = input.name.get(..LONGEST).unwrap_or(input.name);
        return Label::Own(cut.trim_end_matches(['-', '.']));
    }
    let cut = pod::kept(input.kind, input.name).trim_end_matches(['-', '.']);
    let more = LONGEST - cut.len();
    Label::Cut(crate::value::escape(cut), more)
}

/// Pattern of what may follow the label: the cluster's domain is not in the pod.
fn domain(input: &WorkloadInput<'_>) -> String {
    let subdomain = text(input.pod_spec, "subdomain").unwrap_or("");
    if flag(input.pod_spec, "setHostnameAsFQDN") != Some(true) || subdomain.is_empty() {
        return String::new();
    }
    let subdomain = crate::value::escape(subdomain);
    let namespace = crate::value::escape(input.namespace());
    format!("(\\.{subdomain}\\.{namespace}\\.svc\\.[a-z0-9.-]+)?")
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
