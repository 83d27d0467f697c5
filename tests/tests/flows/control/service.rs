//! What a Kubernetes Service does: one address that leads to those who say they are ready.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Where a backend serves, and where it says whether it is ready.
#[derive(Clone, Copy)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) health: SocketAddr,
}

/// Forwards connections on loopback to ready backends, in turn.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    backends: Arc<Mutex<Vec<Backend>>>,
}

impl Service {
    pub(crate) fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let backends = Arc::new(Mutex::new(Vec::<Backend>::new()));
        let shared = Arc::clone(&backends);
        thread::spawn(move || {
            for (turn, client) in listener.incoming().enumerate() {
                let all = shared.lock().unwrap().clone();
                let Ok(client) = client else { continue };
                thread::spawn(move || forward(client, &all, turn));
            }
        });
        Service { address, backends }
    }

    pub(crate) fn add(&self, backend: Backend) {
        let mut backends = self.backends.lock().unwrap();
        if !backends
            .iter()
            .any(|other| other.address == backend.address)
        {
            backends.push(backend);
        }
    }
}

/// A connection that finds nobody ready is closed, as one to a Service without endpoints is refused.
fn forward(client: TcpStream, backends: &[Backend], turn: usize) {
    let count = backends.len();
    let order = (0..count).map(|at| backends[(turn + at) % count]);
    let server = order
        .filter(|backend| is_ready(backend.health))
        .find_map(|backend| TcpStream::connect(backend.address).ok());
    let Some(server) = server else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (back, forth) = (server.try_clone(), client.try_clone());
    let (Ok(back), Ok(forth)) = (back, forth) else {
        return;
    };
    thread::spawn(move || copy(back, forth));
    copy(client, server);
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// `GET /ready` as a kubelet asks.
pub(crate) fn is_ready(health: SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&health, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: kubelet\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(&head[8..] == b" 200")
    };
    ask().unwrap_or(false)
}
