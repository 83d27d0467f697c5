//! The application and its clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::proxy::{Proxy, pin};
use crate::support::{Authority, Net, POD, inside, provider};

/// The core of everything but the proxy.
const CORE: usize = 1;
const PORT: u16 = 9090;
/// Ports of the application: a port of its own for each connection to it is not to be had for more than
/// some 28 000 on one.
const PORTS: u16 = 4;
const REQUEST: usize = 128;
const RESPONSE: usize = 256;
/// Connections that carry requests.
const CONNECTIONS: usize = 64;
/// Connections that carry bulk.
const STREAMS: usize = 4;
/// The longest that one measurement takes.
const LONGEST: Duration = Duration::from_secs(30);
/// Leaves that are made before the clock runs; more than one measurement uses.
const LEAVES: usize = 4000;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// A connection with one request, by a leaf that the proxy has seen or has not.
    New { seen: bool },
    /// Requests one after another on open connections.
    Requests,
    /// From the application to the client.
    Out,
    /// From the client to the application.
    In,
}

/// An application in the pod and the place of its clients.
pub struct Load<'a> {
    peer: String,
    authority: &'a Authority,
    configs: Vec<Arc<ClientConfig>>,
    roots: Arc<RootCertStore>,
}

impl<'a> Load<'a> {
    pub fn start(net: &Net, authority: &'a Authority) -> Self {
        let (sender, ready) = std::sync::mpsc::channel();
        inside(&net.pod(), move || {
            pin(CORE);
            runtime().block_on(async {
                let mut served = tokio::task::JoinSet::new();
                for port in PORT..PORT + PORTS {
                    let address: SocketAddr = format!("[::]:{port}").parse().unwrap();
                    let listener = TcpListener::bind(address).await.unwrap();
                    // A thread that outlives its pod holds nothing but idle sockets.
                    served.spawn(async move {
                        while let Ok((stream, _)) = listener.accept().await {
                            tokio::spawn(serve(stream));
                        }
                    });
                }
                sender.send(()).unwrap();
                served.join_all().await;
            });
        });
        ready.recv().unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
            .unwrap();
        let roots = Arc::new(roots);
        let leaf = authority.leaf("peer", 3600, None);
        let configs = vec![config(&roots, &leaf)];
        Self {
            peer: net.peer(),
            authority,
            configs,
            roots,
        }
    }

    /// Works until the proxy has been on a processor for so many seconds; how much was done, in
    /// connections, requests or megabytes, and the seconds.
    pub fn until(&self, proxy: &Proxy, work: Work, seconds: f64) -> (f64, f64) {
        let configs = match work {
            Work::New { seen: false } => {
                let leaf = || self.authority.leaf("peer", 3600, None);
                (0..LEAVES).map(|_| config(&self.roots, &leaf())).collect()
            }
            _ => self.configs.clone(),
        };
        let done = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicBool::new(false));
        let (counter, stopping, beginning) =
            (Arc::clone(&done), Arc::clone(&stop), Arc::clone(&begun));
        let clients = inside(&self.peer, move || {
            pin(CORE);
            runtime().block_on(clients(work, configs, counter, stopping, beginning));
        });
        while !begun.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let begin = Instant::now();
        let (cpu, before) = (proxy.cpu(), done.load(Ordering::Relaxed));
        while proxy.cpu() - cpu < seconds && begin.elapsed() < LONGEST && !clients.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let took = proxy.cpu() - cpu;
        let done = done.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Release);
        clients.join().unwrap();
        let unit = match work {
            Work::Out | Work::In => 1e6,
            _ => 1.0,
        };
        (done as f64 / unit, took)
    }

    /// Some requests on one connection.
    pub fn requests(&self, _proxy: &Proxy, count: usize) {
        let config = Arc::clone(&self.configs[0]);
        self.block_on(async move {
            let mut stream = connect(&config).await;
            for _ in 0..count {
                request(&mut stream).await;
            }
        });
    }

    /// Opens connections that have carried one request each.
    pub fn open(&self, _proxy: &Proxy, count: usize) -> Vec<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.configs[0]);
        self.block_on(async move {
            let mut open = Vec::new();
            for _ in 0..count {
                let mut stream = connect(&config).await;
                request(&mut stream).await;
                open.push(stream);
            }
            open
        })
    }

    /// Opens so many connections at the same time, each of which carries a request after all are open;
    /// the resident memory of the proxy when they are, in MB.
    pub fn crowd(&self, proxy: &Proxy, count: usize) -> f64 {
        const AT_ONCE: usize = 8;
        let config = Arc::clone(&self.configs[0]);
        let process = proxy.process();
        self.block_on(async move {
            let mut opening = tokio::task::JoinSet::new();
            for part in 0..AT_ONCE {
                let config = Arc::clone(&config);
                opening.spawn(async move {
                    let mut open = Vec::new();
                    for number in (part..count).step_by(AT_ONCE) {
                        let port = PORT + u16::try_from(number % usize::from(PORTS)).unwrap();
                        open.push(connect_to(port, &config).await);
                    }
                    open
                });
            }
            let mut open = opening.join_all().await;
            let resident = crate::proxy::resident_mb(process);
            for stream in open.iter_mut().flatten() {
                request(stream).await;
            }
            resident
        })
    }

    /// Closes them, as their owner would.
    pub fn close(&self, open: Vec<TlsStream<TcpStream>>) {
        drop(open);
    }

    /// The 99th percentile of the time from a request to its answer, in seconds, at 2 000 requests a
    /// second for three seconds.
    pub fn p99(&self, _proxy: &Proxy) -> f64 {
        const RATE: f64 = 2000.0;
        let config = Arc::clone(&self.configs[0]);
        let mut times = self.block_on(async move {
            let mut streams = Vec::new();
            for _ in 0..CONNECTIONS {
                streams.push(connect(&config).await);
            }
            let every = Duration::from_secs_f64(CONNECTIONS as f64 / RATE);
            let begin = tokio::time::Instant::now() + Duration::from_millis(50);
            let tasks: Vec<_> = (0u32..)
                .zip(streams)
                .map(|(number, mut stream)| {
                    tokio::spawn(async move {
                        let mut due = begin + every * number / CONNECTIONS as u32;
                        let mut times = Vec::new();
                        while due < begin + Duration::from_secs(3) {
                            tokio::time::sleep_until(due).await;
                            let sent = tokio::time::Instant::now();
                            request(&mut stream).await;
                            times.push(sent.elapsed().as_secs_f64());
                            due += every;
                        }
                        times
                    })
                })
                .collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.unwrap());
            }
            all
        });
        times.sort_by(f64::total_cmp);
        times[times.len() * 99 / 100]
    }

    fn block_on<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        inside(&self.peer, move || {
            pin(CORE);
            runtime().block_on(work)
        })
        .join()
        .unwrap()
    }
}

async fn clients(
    work: Work,
    configs: Vec<Arc<ClientConfig>>,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicBool>,
) {
    let (count, once) = match work {
        Work::New { .. } => (8, false),
        Work::Requests => (CONNECTIONS, true),
        Work::Out | Work::In => (STREAMS, true),
    };
    let next = Arc::new(AtomicU64::new(0));
    let configs = Arc::new(configs);
    let mut streams = Vec::new();
    for _ in 0..if once { count } else { 0 } {
        streams.push(connect(&configs[0]).await);
    }
    begun.store(true, Ordering::Release);
    let mut tasks = Vec::new();
    for _ in 0..count {
        let stream = if once { streams.pop() } else { None };
        let (done, stop, next, configs) = (
            Arc::clone(&done),
            Arc::clone(&stop),
            Arc::clone(&next),
            Arc::clone(&configs),
        );
        tasks.push(tokio::spawn(async move {
            let stopped = || stop.load(Ordering::Acquire);
            let add = |amount: usize| done.fetch_add(amount as u64, Ordering::Relaxed);
            let Some(mut stream) = stream else {
                while !stopped() {
                    let number = next.fetch_add(1, Ordering::Relaxed) as usize;
                    // One leaf for all, or one each until there are no more.
                    let Some(config) = configs.get(if configs.len() == 1 { 0 } else { number })
                    else {
                        return;
                    };
                    request(&mut connect(config).await).await;
                    add(1);
                }
                return;
            };
            let mut buffer = vec![0; 256 * 1024];
            match work {
                Work::Requests => {
                    while !stopped() {
                        request(&mut stream).await;
                        add(1);
                    }
                }
                Work::Out => {
                    stream.write_all(&[b'O'; REQUEST]).await.unwrap();
                    while !stopped() {
                        add(stream.read(&mut buffer).await.unwrap());
                    }
                }
                _ => {
                    stream.write_all(&[b'I'; REQUEST]).await.unwrap();
                    while !stopped() {
                        stream.write_all(&buffer).await.unwrap();
                        add(buffer.len());
                    }
                }
            }
        }));
    }
    for task in tasks {
        // Streams that are full when the clock stops are simply cut.
        let _ = tokio::time::timeout(Duration::from_secs(2), task).await;
    }
}

/// The application: what the first byte asks for.
async fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![b'x'; 256 * 1024];
    loop {
        if stream.read_exact(&mut buffer[..REQUEST]).await.is_err() {
            return;
        }
        match buffer[0] {
            b'O' => while stream.write_all(&buffer).await.is_ok() {},
            b'I' => while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {},
            _ => {
                if stream.write_all(&buffer[..RESPONSE]).await.is_err() {
                    return;
                }
                continue;
            }
        }
        return;
    }
}

/// A connection; on a machine that is busy with other things a proxy may give up a handshake, so it
/// is tried again for a while.
async fn connect(config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    connect_to(PORT, config).await
}

async fn connect_to(port: u16, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let begin = Instant::now();
    loop {
        let attempt = async {
            let stream = TcpStream::connect((POD[0], port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("web").unwrap();
            TlsConnector::from(Arc::clone(config))
                .connect(name, stream)
                .await
        };
        match attempt.await {
            Ok(stream) => return stream,
            Err(error) => assert!(begin.elapsed() < 2 * LONGEST, "{error}"),
        }
    }
}

async fn request(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(&[b'R'; REQUEST]).await.unwrap();
    stream.read_exact(&mut [0; RESPONSE]).await.unwrap();
}

/// X25519 and AES-128-GCM for everybody, and nothing resumed.
fn config(roots: &Arc<RootCertStore>, leaf: &crate::support::Leaf) -> Arc<ClientConfig> {
    use rustls::crypto::aws_lc_rs as lc;
    let mut provider = (*provider()).clone();
    provider.cipher_suites = vec![lc::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![lc::kx_group::X25519];
    let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(Arc::clone(roots))
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
