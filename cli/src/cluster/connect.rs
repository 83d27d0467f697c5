//! The API server of a kube context.

use std::future::Future;
use std::time::Duration;

use http::{Request, StatusCode};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use nacre_findings::{Finding, codes};
use serde_json::Value;

use crate::error::{CommandError, Kind};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Objects per page of a list.
const PAGE: u32 = 500;
/// Pages of one list; more than half a million objects are somebody's mistake.
const MOST_PAGES: u32 = 1000;

/// Options of commands that read a cluster.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Kubeconfig [env: KUBECONFIG] [default: ~/.kube/config, else the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<std::path::PathBuf>,
}

/// An API server, and which one it is.
pub(crate) struct Cluster {
    client: kube::Client,
    config: kube::Config,
    /// Address of the API server.
    pub(crate) server: String,
    /// Namespace of the context.
    pub(crate) namespace: String,
}

impl Cluster {
    /// The cluster of a context. Nothing is sent yet.
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Cluster, CommandError> {
        let options = KubeConfigOptions {
            context: args.context.clone(),
            ..KubeConfigOptions::default()
        };
        let read = match &args.kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(file) => kube::Config::from_custom_kubeconfig(file, &options).await,
                Err(error) => Err(error),
            },
            None => kube::Config::from_kubeconfig(&options).await,
        };
        let config = match read {
            Ok(config) => config,
            // Without a wish, what every Kubernetes tool takes: in a pod, its service account.
            Err(error) if args.kubeconfig.is_none() && args.context.is_none() => {
                kube::Config::incluster().map_err(|_| no_kubeconfig(&error, args))?
            }
            Err(error) => return Err(no_kubeconfig(&error, args)),
        };
        let server = config.cluster_url.to_string();
        let namespace = config.default_namespace.clone();
        let client = kube::Client::try_from(config.clone()).map_err(|error| unreachable(&error))?;
        Ok(Cluster {
            client,
            config,
            server,
            namespace,
        })
    }

    /// The object at a path of the API, or none if there is no such object or kind.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, CommandError> {
        let request = Request::get(path)
            .body(Vec::new())
            .map_err(|error| unreachable(&error))?;
        let answer = tokio::time::timeout(PATIENCE, self.client.request::<Value>(request)).await;
        match answer {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(kube::Error::Api(status))) if status.code == StatusCode::NOT_FOUND => Ok(None),
            Ok(Err(kube::Error::Api(status)))
                if status.code == StatusCode::FORBIDDEN
                    || status.code == StatusCode::UNAUTHORIZED =>
            {
                Err(Finding::error(codes::cluster::FORBIDDEN, status.message.clone()).into())
            }
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => {
                let message = format!("{} does not answer", self.server);
                Err(failure(Finding::error(
                    codes::cluster::UNREACHABLE,
                    message,
                )))
            }
        }
    }

    /// What a program behind the API server says at a path, whatever the status; none where it cannot be asked.
    pub(crate) async fn words(&self, path: &str) -> Option<String> {
        let request = Request::get(path).body(Vec::new()).ok()?;
        // The client of everything else asks again and again after a 503. Here that is an answer.
        let mut config = self.config.clone();
        config.default_retry = false;
        let client = kube::Client::try_from(config).ok()?;
        let answer = tokio::time::timeout(PATIENCE, client.request_text(request)).await;
        let words = match answer.ok()? {
            Ok(words) => words,
            Err(kube::Error::Api(status)) => status.message.clone(),
            Err(_) => return None,
        };
        Some(words.trim().to_owned())
    }

    /// All objects of a list; none if the server does not know the kind.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, CommandError> {
        let mut items = Vec::new();
        let mut next = String::new();
        for _ in 0..MOST_PAGES {
            let page = if next.is_empty() {
                format!("{path}?limit={PAGE}")
            } else {
                format!("{path}?limit={PAGE}&continue={next}")
            };
            let Some(mut answer) = self.get(&page).await? else {
                break;
            };
            let more = answer.pointer("/metadata/continue").and_then(Value::as_str);
            // The token is base64url, which needs no escaping.
            next = more.unwrap_or_default().to_owned();
            if let Some(Value::Array(page)) = answer.get_mut("items").map(Value::take) {
                items.extend(page);
            }
            if next.is_empty() {
                break;
            }
        }
        Ok(items)
    }
}

/// Runs the asynchronous part of a command to its end.
pub(crate) fn block_on<T>(
    work: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            let message = format!("cannot start the runtime: {error}");
            CommandError::from(Finding::error(codes::cli::INTERNAL, message))
        })?;
    runtime.block_on(work)
}

/// A kubeconfig that is not there or not one, or without the context.
fn no_kubeconfig(error: &KubeconfigError, args: &ClusterArgs) -> CommandError {
    let named = args.kubeconfig.as_deref().map(std::path::Path::display);
    let place = named.map_or_else(String::new, |path| format!("{path}: "));
    let message = format!("no cluster is named: {place}{}", with_causes(error));
    failure(
        Finding::error(codes::cluster::UNREACHABLE, message).help(
            "name a kubeconfig with --kubeconfig or KUBECONFIG, a context of it with --context",
        ),
    )
}

/// A failure on the way to the API server.
fn unreachable(error: &dyn std::error::Error) -> CommandError {
    failure(Finding::error(
        codes::cluster::UNREACHABLE,
        format!("the cluster cannot be reached: {}", with_causes(error)),
    ))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = inner.source();
    }
    message
}

fn failure(finding: Finding) -> CommandError {
    CommandError::new(Kind::Refused, vec![finding])
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A Coordinator that waits says so with 503, which the client of other requests tries again for as long as it may.
    #[test]
    fn words_with_a_status_of_unavailable_are_an_answer() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", server.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            let answer = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
                Content-Type: text/plain\r\nContent-Length: 7\r\n\r\nsealed\n";
            stream.write_all(answer.as_bytes()).unwrap();
            asked
        });
        let words = block_on(async {
            let config = kube::Config::new(address.parse().unwrap());
            let cluster = Cluster {
                client: kube::Client::try_from(config.clone()).unwrap(),
                config,
                server: address,
                namespace: "default".to_owned(),
            };
            Ok(cluster.words("/ready").await)
        });
        assert_eq!(words.unwrap().as_deref(), Some("sealed"));
        let asked = String::from_utf8(answering.join().unwrap()).unwrap();
        assert!(asked.starts_with("GET /ready HTTP/1.1\r\n"), "{asked}");
    }
}
