//! Health and metrics over plain HTTP/1.1, `GET` only.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::proxy::{Shared, unix_now};
use crate::rules::Keeper;

/// Largest request head, in bytes.
const LARGEST: usize = 4096;
/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time for the head of one, in which a place is taken by somebody who may say nothing.
const HEAD: Duration = Duration::from_secs(1);
/// Requests at once.
const MOST: usize = 32;

/// What readiness depends on besides the certificate.
#[derive(Debug)]
pub struct Readiness {
    /// Where traffic is intercepted, whether it is.
    pub rules: Option<Arc<Keeper>>,
    /// Whether the process serves and has not been told to end.
    pub serving: AtomicBool,
}

/// Answers until the listener is dropped.
pub async fn serve(shared: Arc<Shared>, listener: TcpListener, ready: Arc<Readiness>) {
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (shared, ready) = (Arc::clone(&shared), Arc::clone(&ready));
        tokio::spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, answer(stream, &shared, &ready)).await;
            drop(permit);
        });
    }
}

/// Asks a running mesh on this machine whether it is ready.
///
/// # Errors
/// What it says instead, or why it cannot be asked.
pub fn probe(port: u16) -> io::Result<()> {
    use std::io::{Read as _, Write as _};
    let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
    let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n")?;
    let mut reply = String::new();
    stream.take(LARGEST as u64).read_to_string(&mut reply)?;
    if reply.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let why = reply.lines().last().unwrap_or_default().to_owned();
    Err(io::Error::other(why))
}

/// What a request begins with, to the empty line.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut chunk = [0; 512];
        let read = stream.read(&mut chunk).await?;
        if read == 0 || head.len() + read > LARGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    Ok(head)
}

async fn answer(mut stream: TcpStream, shared: &Shared, ready: &Readiness) -> io::Result<()> {
    let head = tokio::time::timeout(HEAD, head(&mut stream)).await??;
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = match line {
        b"GET /metrics HTTP/1.1" | b"GET /metrics HTTP/1.0" => ("200 OK", shared.metrics.render()),
        b"GET /live HTTP/1.1" | b"GET /live HTTP/1.0" => ("200 OK", "live\n".to_owned()),
        b"GET /ready HTTP/1.1" | b"GET /ready HTTP/1.0" => readiness(shared, ready),
        line if line.starts_with(b"GET ") => ("404 Not Found", "no such page\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET only\n".to_owned()),
    };
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

fn readiness(shared: &Shared, ready: &Readiness) -> (&'static str, String) {
    let why_not = if !ready.serving.load(Ordering::Acquire) {
        "not serving, or not any more"
    } else if ready.rules.as_ref().is_some_and(|rules| !rules.in_force()) {
        "the rules are not in force"
    } else if unix_now() >= shared.material().not_after {
        "the certificate has expired"
    } else {
        return ("200 OK", "ready\n".to_owned());
    };
    ("503 Service Unavailable", format!("{why_not}\n"))
}
