//! Programs of others.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{PATIENCE, inside};

/// A program that the tests need: named by its variable, or on `PATH`. Without it they fail rather
/// than pass by doing nothing.
pub fn tool(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is needed: `cargo xtask tools --env` says where it is ({variable})")
        })
}

/// A program that runs in a namespace until it is dropped.
pub struct Running {
    pub child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it and waits until it listens at the address.
    pub fn start(namespace: &str, command: &mut Command, log: PathBuf, address: &str) -> Self {
        let mut inside_namespace = Command::new("/usr/sbin/ip");
        inside_namespace
            .args(["netns", "exec", namespace])
            .arg(command.get_program())
            .args(command.get_args());
        let file = fs::File::create(&log).unwrap();
        let child = inside_namespace
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut running = Self { child, log };
        let begin = Instant::now();
        loop {
            let address = address.parse().unwrap();
            let patience = Duration::from_millis(500);
            let open = inside(namespace, move || {
                TcpStream::connect_timeout(&address, patience).is_ok()
            });
            if open.join().unwrap() {
                return running;
            }
            assert!(
                running.child.try_wait().unwrap().is_none(),
                "{}",
                running.output()
            );
            assert!(begin.elapsed() < 4 * PATIENCE, "{}", running.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An nginx with this `http` block.
pub fn nginx(namespace: &str, folder: &Path, http: &str, address: &str) -> Running {
    fs::create_dir_all(folder).unwrap();
    let configuration = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log stderr; user root;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; \
         fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n{http}\n}}\n",
        dir = folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new(tool("NACRE_TEST_NGINX", "nginx"));
    command.arg("-p").arg(folder).arg("-c").arg(file);
    Running::start(namespace, &mut command, folder.join("log"), address)
}

/// An Envoy that carries TCP, its TLS on the side of the listener or of the target.
pub struct Envoy<'a> {
    pub listen: (&'a str, u16),
    /// Listens as the interception needs it and sends on to where the connection was going.
    pub transparent: bool,
    /// The target of one that is not transparent.
    pub to: (&'a str, u16),
    /// The certificates it serves and demands.
    pub serve: Option<&'a Path>,
    /// The certificates it shows and expects.
    pub connect: Option<&'a Path>,
}

impl Envoy<'_> {
    pub fn command(&self, folder: &Path) -> Command {
        fs::create_dir_all(folder).unwrap();
        let file = folder.join("envoy.json");
        fs::write(&file, self.configuration().to_string()).unwrap();
        let mut command = Command::new(tool("NACRE_TEST_ENVOY", "envoy"));
        command.arg("-c").arg(file);
        command.args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "warning",
        ]);
        command
    }

    pub fn start(&self, namespace: &str, folder: &Path) -> Running {
        let mut command = self.command(folder);
        let (ip, port) = self.listen;
        let ip = if ip == "::" { "127.0.0.1" } else { ip };
        Running::start(
            namespace,
            &mut command,
            folder.join("log"),
            &format!("{ip}:{port}"),
        )
    }

    fn configuration(&self) -> Value {
        let address = |(ip, port): (&str, u16)| json!({"socket_address": {"address": ip, "port_value": port, "ipv4_compat": ip == "::"}});
        let to = |(ip, port): (&str, u16)| json!({"socket_address": {"address": ip, "port_value": port}});
        let mut chain = json!({"filters": [{
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "mesh", "cluster": "target",
            },
        }]});
        if let Some(certs) = self.serve {
            chain["transport_socket"] = json!({
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "require_client_certificate": true,
                    "disable_stateless_session_resumption": true,
                    "common_tls_context": tls(certs),
                },
            });
        }
        let mut listener =
            json!({"name": "mesh", "address": address(self.listen), "filter_chains": [chain]});
        let mut cluster = json!({"name": "target", "connect_timeout": "5s"});
        if self.transparent {
            listener["transparent"] = json!(true);
            // What lets its replies through our rules.
            listener["socket_options"] = json!([{
                "level": 1, "name": 36, "int_value": nacre_mesh::rules::MARK, "state": "STATE_PREBIND",
            }]);
            listener["listener_filters"] = json!([{
                "name": "envoy.filters.listener.original_dst",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"},
            }]);
            cluster["type"] = json!("ORIGINAL_DST");
            cluster["lb_policy"] = json!("CLUSTER_PROVIDED");
        } else {
            cluster["type"] = json!("STATIC");
            cluster["load_assignment"] = json!({"cluster_name": "target", "endpoints": [{
                "lb_endpoints": [{"endpoint": {"address": to(self.to)}}],
            }]});
        }
        if let Some(certs) = self.connect {
            cluster["transport_socket"] = json!({
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "common_tls_context": tls(certs),
                },
            });
        }
        json!({"static_resources": {"listeners": [listener], "clusters": [cluster]}})
    }
}

fn tls(certs: &Path) -> Value {
    let file = |name: &str| json!({"filename": certs.join(name)});
    json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [{"certificate_chain": file("certChain.pem"), "private_key": file("key.pem")}],
        "validation_context": {"trusted_ca": file("mesh-ca.pem")},
    })
}
