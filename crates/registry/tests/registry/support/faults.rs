//! A registry that misbehaves on request.

use std::io::{BufRead as _, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request, as far as the tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) body: String,
}

/// What to send back.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Status, headers, body.
    Plain(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// As if `full` bytes came, then the connection ends.
    CutOff { full: usize, body: Vec<u8> },
    /// Zeros without end, without a length.
    Endless,
    /// One byte of the head every so often.
    SlowHead(Duration),
    /// A body without a length, one byte every so often.
    SlowBody(Duration),
}

pub(crate) struct Faults {
    pub(crate) host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl Faults {
    /// Serves each request with `reply`, which also gets the number of requests for the same
    /// path before.
    pub(crate) fn start(reply: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (seen, stop) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
        );
        let server = (seen.clone(), stop.clone(), Arc::new(reply));
        std::thread::spawn(move || {
            let (seen, stop, reply) = server;
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (seen, stop, reply) = (seen.clone(), stop.clone(), reply.clone());
                std::thread::spawn(move || {
                    // The client may leave at any time.
                    let _ = serve(stream?, &seen, &stop, &*reply);
                    std::io::Result::Ok(())
                });
            }
        });
        Self { host, seen, stop }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.seen().iter().filter(|s| s.path.contains(part)).count()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.host);
    }
}

fn serve(
    stream: TcpStream,
    seen: &Mutex<Vec<Seen>>,
    stop: &AtomicBool,
    reply: &dyn Fn(&Seen, usize) -> Reply,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("").to_owned();
    let mut request = Seen {
        path,
        authorization: None,
        range: None,
        body: String::new(),
    };
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value),
            "range" => request.range = Some(value),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut reader, &mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    let before = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|s| s.path == request.path).count();
        seen.push(request.clone());
        before
    };
    let mut stream = stream;
    match reply(&request, before) {
        Reply::Plain(status, headers, body) => {
            let headers: String = headers
                .iter()
                .map(|(k, v)| format!("{k}: {v}\r\n"))
                .collect();
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}");
            stream.write_all(format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes())?;
            stream.write_all(&body)?;
        }
        Reply::CutOff { full, body } => {
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {full}\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            while !stop.load(Ordering::SeqCst) {
                stream.write_all(&[0; 4096])?;
            }
        }
        Reply::SlowHead(pause) => drip(&mut stream, b"HTTP/1.1 200 OK\r\nx-", pause, stop)?,
        Reply::SlowBody(pause) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            drip(&mut stream, b"", pause, stop)?;
        }
    }
    stream.flush()
}

/// Status, headers, body.
pub(crate) type Fixed = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A server with TLS, whose host and certificate (PEM) are given back.
pub(crate) fn https(reply: impl Fn(&str) -> Fixed + Send + 'static) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
            let mut line = String::new();
            let first = stream.read_line(&mut line);
            let path = line.split(' ').nth(1).unwrap_or("").to_owned();
            while first.is_ok() && line.trim() != "" {
                line.clear();
                if stream.read_line(&mut line).is_err() {
                    break;
                }
            }
            let (status, headers, body) = reply(&path);
            let headers: String = headers
                .iter()
                .map(|(k, v)| format!("{k}: {v}\r\n"))
                .collect();
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
                body.len()
            );
            let stream = stream.get_mut();
            // The client may leave at any time.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (host, made.cert.pem())
}

fn drip(
    stream: &mut TcpStream,
    head: &[u8],
    pause: Duration,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    stream.write_all(head)?;
    while !stop.load(Ordering::SeqCst) {
        stream.write_all(b"a")?;
        stream.flush()?;
        std::thread::sleep(pause);
    }
    Ok(())
}
