//! Health and metrics over plain HTTP/1.1, `GET` only.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::proxy::{Shared, unix_now};

/// Largest request head, in bytes.
const LARGEST: usize = 4096;
/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests at once.
const MOST: usize = 32;

/// Answers until the listener is dropped.
pub async fn serve(shared: Arc<Shared>, listener: TcpListener, ready: Arc<AtomicBool>) {
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

async fn answer(mut stream: TcpStream, shared: &Shared, ready: &AtomicBool) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut chunk = [0; 512];
        let read = stream.read(&mut chunk).await?;
        if read == 0 || head.len() + read > LARGEST {
            return Ok(());
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
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

fn readiness(shared: &Shared, ready: &AtomicBool) -> (&'static str, String) {
    if !ready.load(Ordering::Acquire) {
        return (
            "503 Service Unavailable",
            "the rules are not in force\n".to_owned(),
        );
    }
    if unix_now() >= shared.material().not_after {
        return (
            "503 Service Unavailable",
            "the certificate has expired\n".to_owned(),
        );
    }
    ("200 OK", "ready\n".to_owned())
}
