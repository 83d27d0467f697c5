//! Where the Coordinator is, when nobody says.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nacre_findings::{Finding, codes};
use serde_json::Value;

use crate::cluster::connect::{Cluster, ClusterArgs};
use crate::error::CommandError;

/// Name of the Service and of the port in it.
const SERVICE: &str = "coordinator";
const PORT_NAME: &str = "userapi";
/// The user API, where a Service does not name its port.
const PORT: u16 = 1313;
/// The pod of `nacre coordinator-resources --port-forwarder`.
const FORWARDER: &str = "coordinator-port-forwarder";
/// How long kubectl may take to listen.
const PATIENCE: Duration = Duration::from_secs(15);

/// A Coordinator's user API.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// `host:port`, as `-c` takes it.
    pub(crate) address: String,
    /// What was chosen and why, in one line for people.
    pub(crate) chosen: String,
    /// The port-forward behind the address; it ends with this value.
    _forward: Option<Forward>,
}

impl Endpoint {
    /// An address that the user named.
    pub(crate) fn given(address: String) -> Endpoint {
        Endpoint {
            chosen: format!("using {address}"),
            address,
            _forward: None,
        }
    }
}

/// A running `kubectl port-forward`.
#[derive(Debug)]
struct Forward(Child);

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Finds the Coordinator in a namespace of a kube context: the load balancer's address of the Service
/// `coordinator`, else a port-forward through the pod `coordinator-port-forwarder`.
///
/// The address is not trusted: whoever answers there must prove to be the Coordinator.
///
/// # Errors
///
/// `NCR1501` and `NCR1502` when the cluster cannot be read, `NCR1503` when there is neither, `NCR1504`
/// when `kubectl port-forward` fails.
pub(crate) async fn discover_coordinator(
    context: Option<&str>,
    namespace: Option<&str>,
) -> Result<Endpoint, CommandError> {
    let args = ClusterArgs {
        context: context.map(str::to_owned),
        kubeconfig: None,
    };
    let cluster = Cluster::connect(&args).await?;
    find(&cluster, &args, namespace).await
}

/// The same in a cluster that is known.
pub(crate) async fn find(
    cluster: &Cluster,
    args: &ClusterArgs,
    namespace: Option<&str>,
) -> Result<Endpoint, CommandError> {
    let namespace = namespace.unwrap_or(&cluster.namespace);
    let core = format!("/api/v1/namespaces/{namespace}");
    let service = cluster.get(&format!("{core}/services/{SERVICE}")).await?;
    if let Some(address) = service.as_ref().and_then(balanced) {
        return Ok(Endpoint {
            chosen: format!("using {address}, the load balancer of Service {namespace}/{SERVICE}"),
            address,
            _forward: None,
        });
    }
    let pod = cluster.get(&format!("{core}/pods/{FORWARDER}")).await?;
    let phase = pod.as_ref().and_then(|pod| pod.pointer("/status/phase"));
    if phase.and_then(Value::as_str) == Some("Running") {
        return forward(args, namespace);
    }
    let missing = match (service.is_some(), pod.is_some()) {
        (false, _) => format!("there is no Service {namespace}/{SERVICE}"),
        (true, false) => format!(
            "Service {namespace}/{SERVICE} has no load balancer address, and there is no pod {FORWARDER}"
        ),
        (true, true) => format!(
            "Service {namespace}/{SERVICE} has no load balancer address, and pod {FORWARDER} does not run"
        ),
    };
    Err(Finding::error(codes::cluster::NO_COORDINATOR, missing)
        .help("name the Coordinator with -c HOST:PORT, or its namespace with --namespace")
        .into())
}

/// `host:port` of a Service's load balancer.
fn balanced(service: &Value) -> Option<String> {
    let ingress = service.pointer("/status/loadBalancer/ingress/0")?;
    let host = ingress
        .get("ip")
        .or_else(|| ingress.get("hostname"))
        .and_then(Value::as_str)
        .filter(|host| !host.is_empty())?;
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let named = ports.and_then(|ports| {
        ports
            .iter()
            .find(|port| port.get("name").and_then(Value::as_str) == Some(PORT_NAME))
    });
    let port = named
        .and_then(|port| port.get("port"))
        .and_then(Value::as_u64)
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(PORT);
    // An IPv6 address needs brackets before a port.
    Some(match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    })
}

/// Starts `kubectl port-forward` on a free port and waits until it listens.
fn forward(args: &ClusterArgs, namespace: &str) -> Result<Endpoint, CommandError> {
    let mut arguments = vec![
        "port-forward".to_owned(),
        format!("--namespace={namespace}"),
    ];
    arguments.extend(args.context.iter().map(|name| format!("--context={name}")));
    let file = args.kubeconfig.as_ref();
    arguments.extend(file.map(|path| format!("--kubeconfig={}", path.display())));
    arguments.extend(["--address=127.0.0.1".to_owned(), format!("pod/{FORWARDER}")]);
    arguments.push(format!(":{PORT}"));
    let line = format!("kubectl {}", arguments.join(" "));
    let failed = |reason: &str| {
        let message = format!("`{line}`: {reason}");
        CommandError::from(Finding::error(codes::cluster::FORWARD_FAILED, message))
    };
    let child = Command::new("kubectl")
        .args(&arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    let mut forward = Forward(child);
    let (Some(stdout), Some(stderr)) = (forward.0.stdout.take(), forward.0.stderr.take()) else {
        return Err(failed("it has no output"));
    };
    // It prints a line for each connection, and stops when nobody reads them.
    let (lines, said) = (first_lines(stdout), first_lines(stderr));
    let Some(port) = lines
        .recv_timeout(PATIENCE)
        .ok()
        .and_then(|line| listening_port(&line))
    else {
        drop(forward);
        let said: Vec<String> = said.try_iter().collect();
        let said = said.join("; ");
        return Err(failed(if said.is_empty() {
            "it does not listen"
        } else {
            &said
        }));
    };
    let address = format!("127.0.0.1:{port}");
    Ok(Endpoint {
        chosen: format!("using {address}, forwarded to pod {namespace}/{FORWARDER}"),
        address,
        _forward: Some(forward),
    })
}

/// Reads a pipe to its end; the lines can be had as long as somebody wants them.
fn first_lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// The port in `Forwarding from 127.0.0.1:40123 -> 1313`.
fn listening_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let (port, _) = rest.split_once(' ')?;
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_load_balancer_is_an_address_a_name_or_nothing_yet() {
        let service = |ingress: Value, ports: Value| {
            json!({
                "spec": { "ports": ports },
                "status": { "loadBalancer": { "ingress": ingress } },
            })
        };
        let ports =
            json!([{ "name": "meshapi", "port": 7777 }, { "name": "userapi", "port": 443 }]);
        let of = |ingress: Value| balanced(&service(ingress, ports.clone()));
        assert_eq!(
            of(json!([{ "ip": "203.0.113.7" }])).as_deref(),
            Some("203.0.113.7:443")
        );
        assert_eq!(
            of(json!([{ "ip": "2001:db8::7" }])).as_deref(),
            Some("[2001:db8::7]:443")
        );
        let name = json!([{ "hostname": "lb.example.org" }]);
        assert_eq!(of(name.clone()).as_deref(), Some("lb.example.org:443"));
        assert_eq!(of(json!([])), None);
        assert_eq!(of(json!([{ "ip": "" }])), None);
        assert_eq!(balanced(&json!({ "status": { "loadBalancer": {} } })), None);
        let unnamed = service(name, json!([{ "port": 443 }]));
        assert_eq!(balanced(&unnamed).as_deref(), Some("lb.example.org:1313"));
    }

    #[test]
    fn the_port_stands_in_what_kubectl_says() {
        let said = "Forwarding from 127.0.0.1:40123 -> 1313\n";
        assert_eq!(listening_port(said), Some(40123));
        for other in [
            "",
            "error: pods \"x\" not found\n",
            "Forwarding from [::1]:1 -> 2\n",
        ] {
            assert_eq!(listening_port(other), None, "{other}");
        }
    }
}
