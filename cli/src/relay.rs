//! `nacre relay`: bytes from one port to another address, for the port-forwarder pod.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nacre_findings::{Finding, codes};

use crate::context::Context;
use crate::error::CommandError;

/// Connections at one time; more are closed at once.
const MOST: usize = 64;
/// How long the far end may take to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// Relay TCP connections to another address
///
/// `kubectl port-forward` cannot reach confidential pods, but it can reach an ordinary pod that runs this.
/// The relay sees TLS only and needs no trust.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(value_name = "ADDRESS:PORT")]
    listen: String,
    /// Where to connect to, looked up anew for each connection
    #[arg(value_name = "HOST:PORT")]
    to: String,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    context.publish()?;
    let listener = TcpListener::bind(&args.listen).map_err(|error| {
        let message = format!("cannot listen on {}: {error}", args.listen);
        CommandError::from(Finding::error(codes::cli::USAGE, message))
    })?;
    let address = listener
        .local_addr()
        .map_or_else(|_| args.listen.clone(), |address| address.to_string());
    context.note(&format!("relaying {address} to {}", args.to));
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((near, _)) = listener.accept() else {
            // Out of descriptors, most likely: those that are open will end.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::AcqRel) >= MOST {
            open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (to, counter) = (args.to.clone(), Arc::clone(&open));
        let started = std::thread::Builder::new().spawn(move || {
            // Both ends see a connection that ends; there is nobody else to tell.
            let _ = serve(near, &to);
            counter.fetch_sub(1, Ordering::AcqRel);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Copies both ways until both ends are done.
fn serve(near: TcpStream, to: &str) -> io::Result<()> {
    let far = connect(to)?;
    let (near_again, far_again) = (near.try_clone()?, far.try_clone()?);
    let back = std::thread::Builder::new().spawn(move || copy(&far_again, &near_again))?;
    copy(&near, &far);
    let _ = back.join();
    Ok(())
}

fn connect(to: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in to.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let ended_well = io::copy(&mut from, &mut to).is_ok();
    // The other direction goes on until its own end, unless something broke.
    let _ = to.shutdown(if ended_well {
        Shutdown::Write
    } else {
        Shutdown::Both
    });
}
