//! The netlink socket: one transaction at a time, and a watch on what others change.

use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
    sockopt,
};

use super::message::{self, Answer, Transaction, answers, generation_request};

/// Group of nf_tables events: `1 << (NFNLGRP_NFTABLES - 1)`.
const EVENTS: u32 = 1 << 6;
/// How long the kernel may take to answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// How long no event counts as no change.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Why the rules could not be set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel was built without nf_tables, or does not let this namespace use it.
    #[error("the kernel has no nf_tables")]
    Unsupported,
    /// `CAP_NET_ADMIN` is missing.
    #[error("setting the rules needs the capability NET_ADMIN")]
    Denied,
    /// The kernel has nf_tables without an expression of the rules.
    #[error(
        "the kernel's nf_tables has no expression {expression:?}: use a guest kernel with {option}"
    )]
    Missing {
        /// Its name in nf_tables.
        expression: &'static str,
        /// The kernel's build option.
        option: &'static str,
    },
    /// The kernel refused one message of the transaction; none took effect.
    #[error("the kernel refused message {message} of the rules")]
    Kernel {
        /// Number of the refused message, counted from 1.
        message: u32,
        /// Its reason.
        #[source]
        source: std::io::Error,
    },
    /// The socket failed.
    #[error("netlink")]
    Socket(#[from] std::io::Error),
}

fn open(groups: u32) -> Result<OwnedFd, Error> {
    let fd = match socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(NETFILTER),
    ) {
        // No netfilter netlink at all.
        Err(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => return Err(Error::Unsupported),
        other => other.map_err(std::io::Error::from)?,
    };
    bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(std::io::Error::from)?;
    Ok(fd)
}

/// Sends one batch and reads what the kernel says to it.
pub(super) fn transact(batch: &Transaction) -> Result<(), Error> {
    converse(batch, |answer| Err(refused(&answer)))
}

/// What the kernel has against the messages of a batch that has no end, in their order.
pub(super) fn objections(trial: &Transaction) -> Result<Vec<Answer>, Error> {
    let mut found = Vec::new();
    converse(trial, |answer| {
        // Not about one of the messages: then the others may not be answered.
        if answer.sequence == 0 {
            return Err(refused(&answer));
        }
        found.push(answer);
        Ok(())
    })?;
    Ok(found)
}

pub(super) fn refused(answer: &Answer) -> Error {
    Error::Kernel {
        message: answer.sequence,
        source: std::io::Error::from_raw_os_error(answer.errno),
    }
}

/// Sends one batch, and reads to the answer to its last message, or until `objects` has had enough.
fn converse(
    batch: &Transaction,
    mut objects: impl FnMut(Answer) -> Result<(), Error>,
) -> Result<(), Error> {
    let fd = open(0)?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE))
        .map_err(std::io::Error::from)?;
    // A datagram has to fit into the buffer, with what the kernel needs beside it. Who may not do this may
    // not set rules either, and hears so.
    let _ = sockopt::set_socket_send_buffer_size_force(&fd, batch.bytes.len() + (64 << 10));
    retry_on_intr(|| {
        sendto(
            &fd,
            &batch.bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )
    })
    .map_err(std::io::Error::from)?;

    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        let length = receive(&fd, &mut buffer)?;
        let found = answers(buffer.get(..length).unwrap_or_default());
        if found.is_empty() {
            return Err(Error::Socket(std::io::ErrorKind::InvalidData.into()));
        }
        for answer in found {
            let is_last = answer.sequence == batch.last;
            match answer.errno {
                0 => {}
                errno if errno == Errno::PERM.raw_os_error() => return Err(Error::Denied),
                errno if errno == Errno::AFNOSUPPORT.raw_os_error() => {
                    return Err(Error::Unsupported);
                }
                _ => objects(answer)?,
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// The next datagram, so many bytes at the front of the buffer.
fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Error> {
    retry_on_intr(|| recv(fd, &mut *buffer, RecvFlags::empty()))
        .map(|(length, _)| length)
        .map_err(|error| Error::Socket(error.into()))
}

/// The number of the ruleset's generation; every transaction of anybody adds one.
pub(super) fn generation() -> Result<u32, Error> {
    let fd = open(0)?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE))
        .map_err(std::io::Error::from)?;
    sendto(
        &fd,
        &generation_request(),
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )
    .map_err(std::io::Error::from)?;
    let mut buffer = [0u8; 1024];
    let length = receive(&fd, &mut buffer)?;
    let datagram = buffer.get(..length).unwrap_or_default();
    message::generation(datagram).ok_or_else(|| match answers(datagram).first() {
        // nfnetlink is there and its subsystem nf_tables is not.
        Some(answer) if answer.errno == Errno::INVAL.raw_os_error() => Error::Unsupported,
        Some(answer) if answer.errno == Errno::OPNOTSUPP.raw_os_error() => Error::Unsupported,
        Some(answer) if answer.errno == Errno::PERM.raw_os_error() => Error::Denied,
        _ => Error::Socket(std::io::ErrorKind::InvalidData.into()),
    })
}

/// Tells when somebody changes any nf_tables rule of this network namespace.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
}

impl Watch {
    /// Subscribes to the kernel's events.
    ///
    /// # Errors
    /// Whatever the socket says.
    pub fn new() -> Result<Self, Error> {
        let fd = open(EVENTS)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(SILENCE))
            .map_err(std::io::Error::from)?;
        Ok(Self { fd })
    }

    /// Blocks until the next change, or for some seconds, then forgets what has piled up.
    ///
    /// # Errors
    /// Whatever the socket says; a full queue counts as a change.
    pub fn wait(&self) -> Result<(), Error> {
        let mut buffer = [0u8; 8 * 1024];
        match recv(&self.fd, buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        loop {
            match recv(&self.fd, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
    }
}
