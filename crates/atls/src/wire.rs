//! The messages of the exchange and the frames they travel in.
//!
//! A frame is its length (u32, big-endian) and at most [`MAX_FRAME`] bytes, [`MAX_SHORT`] where no evidence
//! is due. The first byte of a message says which one it is. Nothing is decoded twice, nothing may follow a message.

use nacre_attest::{Evidence, EvidenceError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest message, in bytes: one with evidence.
pub const MAX_FRAME: usize = 64 * 1024;
/// Longest message without evidence, in bytes.
pub const MAX_SHORT: usize = 64;
/// Length of a nonce, in bytes.
pub const NONCE_LEN: usize = 32;

const CLIENT_HELLO: u8 = 1;
const SERVER_EVIDENCE: u8 = 2;
const CLIENT_EVIDENCE: u8 = 3;
const CLIENT_UNATTESTED: u8 = 4;
const ACCEPT: u8 = 5;
const REFUSAL: u8 = 6;

/// What a client says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientKind {
    /// A workload's initializer: brings evidence.
    Workload,
    /// Another Coordinator: brings evidence.
    Coordinator,
    /// An owner or anybody who wants to verify: brings none.
    Unattested,
}

impl ClientKind {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Workload => 2,
            Self::Coordinator => 3,
            Self::Unattested => 4,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            2 => Some(Self::Workload),
            3 => Some(Self::Coordinator),
            4 => Some(Self::Unattested),
            _ => None,
        }
    }
}

/// Why an end does not go on. The other end learns the code; the reason stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// The messages were not those of the exchange.
    Protocol,
    /// The evidence was not accepted.
    Evidence,
    /// This kind of client is not served here.
    Kind,
    /// No report can be made at the moment, or there is no place for the connection; try again later.
    Busy,
    /// Something on the refusing side failed.
    Internal,
    /// No manifest is in force that evidence could be compared with: before the first `set`, or before recovery.
    NotReady,
    /// A code this build does not know.
    Unknown(u16),
}

impl Refusal {
    /// The code on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Protocol => 1,
            Self::Evidence => 2,
            Self::Kind => 3,
            Self::Busy => 4,
            Self::Internal => 5,
            Self::NotReady => 6,
            Self::Unknown(code) => code,
        }
    }

    /// From the code on the wire.
    pub const fn from_code(code: u16) -> Self {
        match code {
            1 => Self::Protocol,
            2 => Self::Evidence,
            3 => Self::Kind,
            4 => Self::Busy,
            5 => Self::Internal,
            6 => Self::NotReady,
            other => Self::Unknown(other),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Protocol => f.write_str("protocol error"),
            Self::Evidence => f.write_str("evidence not accepted"),
            Self::Kind => f.write_str("this kind of client is not served here"),
            Self::Busy => f.write_str("busy, try again later"),
            Self::Internal => f.write_str("internal error"),
            Self::NotReady => f.write_str("no manifest is in force"),
            Self::Unknown(code) => write!(f, "code {code}"),
        }
    }
}

/// A message of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From the client, first.
    ClientHello {
        /// Fresh.
        nonce: [u8; NONCE_LEN],
        /// What it is.
        kind: ClientKind,
    },
    /// From the server, second.
    ServerEvidence {
        /// Fresh.
        nonce: [u8; NONCE_LEN],
        /// Bound to this connection.
        evidence: Evidence,
    },
    /// From an attested client, third.
    ClientEvidence {
        /// Bound to this connection.
        evidence: Evidence,
    },
    /// From another client, third.
    ClientUnattested,
    /// From the server, last.
    Accept,
    /// From either, instead of what would be next.
    Refusal(Refusal),
}

impl Message {
    /// The bytes, without their length.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::ClientHello { nonce, kind } => {
                [&[CLIENT_HELLO], &nonce[..], &[kind.byte()]].concat()
            }
            Self::ServerEvidence { nonce, evidence } => {
                [&[SERVER_EVIDENCE], &nonce[..], &evidence.encode()].concat()
            }
            Self::ClientEvidence { evidence } => {
                [&[CLIENT_EVIDENCE], &evidence.encode()[..]].concat()
            }
            Self::ClientUnattested => vec![CLIENT_UNATTESTED],
            Self::Accept => vec![ACCEPT],
            Self::Refusal(refusal) => [&[REFUSAL], &refusal.code().to_be_bytes()[..]].concat(),
        }
    }

    /// Reads what [`Message::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (&first, rest) = bytes.split_first().ok_or(WireError::Empty)?;
        let message = match first {
            CLIENT_HELLO => {
                let (nonce, rest) = rest.split_first_chunk().ok_or(WireError::Length)?;
                let [kind] = rest else {
                    return Err(WireError::Length);
                };
                let kind = ClientKind::from_byte(*kind).ok_or(WireError::Kind { byte: *kind })?;
                Self::ClientHello {
                    nonce: *nonce,
                    kind,
                }
            }
            SERVER_EVIDENCE => {
                let (nonce, rest) = rest.split_first_chunk().ok_or(WireError::Length)?;
                Self::ServerEvidence {
                    nonce: *nonce,
                    evidence: Evidence::decode(rest)?,
                }
            }
            CLIENT_EVIDENCE => Self::ClientEvidence {
                evidence: Evidence::decode(rest)?,
            },
            CLIENT_UNATTESTED if rest.is_empty() => Self::ClientUnattested,
            ACCEPT if rest.is_empty() => Self::Accept,
            REFUSAL => {
                let code = rest.try_into().map_err(|_| WireError::Length)?;
                Self::Refusal(Refusal::from_code(u16::from_be_bytes(code)))
            }
            CLIENT_UNATTESTED | ACCEPT => return Err(WireError::Length),
            byte => return Err(WireError::Unknown { byte }),
        };
        Ok(message)
    }

    /// A name for errors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ClientHello { .. } => "client hello",
            Self::ServerEvidence { .. } => "server evidence",
            Self::ClientEvidence { .. } => "client evidence",
            Self::ClientUnattested => "client without evidence",
            Self::Accept => "acceptance",
            Self::Refusal(_) => "refusal",
        }
    }
}

/// The message behind its length.
pub(crate) fn frame(message: &Message) -> Result<Vec<u8>, WireError> {
    let bytes = message.encode();
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|_| bytes.len() <= MAX_FRAME);
    let length = length.ok_or(WireError::TooLong {
        bytes: bytes.len(),
        most: MAX_FRAME,
    })?;
    Ok([&length.to_be_bytes()[..], &bytes].concat())
}

/// Writes one frame and flushes it.
pub async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    message: &Message,
) -> Result<(), WireError> {
    // One write: a length on its own would be a packet of its own.
    stream.write_all(&frame(message)?).await?;
    stream.flush().await?;
    Ok(())
}

/// Reads one frame of at most `most` bytes. What it announces is limited, and memory grows with what comes:
/// an announcement costs nothing.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, most: usize) -> Result<Message, WireError> {
    let length = u64::from(stream.read_u32().await?);
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes > most {
        return Err(WireError::TooLong { bytes, most });
    }
    let mut frame = Vec::new();
    stream.take(length).read_to_end(&mut frame).await?;
    if frame.len() < bytes {
        return Err(WireError::Io(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Message::decode(&frame)
}

/// Why something is no message of the exchange.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A frame without content.
    #[error("empty frame")]
    Empty,
    /// A message with too few or too many bytes.
    #[error("message of the wrong length")]
    Length,
    /// A frame longer than the message that is due may be.
    #[error("frame of {bytes} bytes, {most} are allowed")]
    TooLong {
        /// Bytes announced.
        bytes: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// A first byte this build does not know.
    #[error("message {byte} is not known")]
    Unknown {
        /// The byte.
        byte: u8,
    },
    /// A kind of client this build does not know.
    #[error("client kind {byte} is not known")]
    Kind {
        /// The byte.
        byte: u8,
    },
    /// Evidence that cannot be read.
    #[error("evidence cannot be read")]
    Evidence(#[from] EvidenceError),
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        let evidence = Evidence {
            report: vec![1; 1184],
            vek: vec![2; 1300],
            crl: Some(vec![3; 9]),
        };
        vec![
            Message::ClientHello {
                nonce: [7; 32],
                kind: ClientKind::Workload,
            },
            Message::ServerEvidence {
                nonce: [8; 32],
                evidence: evidence.clone(),
            },
            Message::ClientEvidence { evidence },
            Message::ClientUnattested,
            Message::Accept,
            Message::Refusal(Refusal::Busy),
            Message::Refusal(Refusal::NotReady),
            Message::Refusal(Refusal::Unknown(700)),
        ]
    }

    #[test]
    fn round_trip() {
        for message in messages() {
            assert_eq!(Message::decode(&message.encode()).unwrap(), message);
        }
    }

    #[test]
    fn truncated_and_extended_messages_are_refused() {
        for message in messages() {
            let mut bytes = message.encode();
            for length in 0..bytes.len() {
                assert!(
                    Message::decode(&bytes[..length]).is_err(),
                    "{} {length}",
                    message.name()
                );
            }
            bytes.push(0);
            assert!(Message::decode(&bytes).is_err(), "{}", message.name());
        }
    }

    #[test]
    fn the_longest_evidence_fits_a_frame() {
        const { assert!(nacre_attest::MAX_EVIDENCE + NONCE_LEN < MAX_FRAME) }
    }

    #[tokio::test]
    async fn announced_lengths_are_limited() {
        let mut http = &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..];
        let error = read(&mut http, MAX_FRAME).await.unwrap_err();
        assert!(matches!(
            error,
            WireError::TooLong {
                bytes: 0x5052_4920,
                ..
            }
        ));
        let mut short = &[0, 0, 0, 9, 1][..];
        assert!(matches!(
            read(&mut short, MAX_FRAME).await.unwrap_err(),
            WireError::Io(_)
        ));
        let mut empty = &[0; 4][..];
        assert!(matches!(
            read(&mut empty, MAX_FRAME).await.unwrap_err(),
            WireError::Empty
        ));
    }
    #[tokio::test]
    async fn without_evidence_frames_are_short() {
        for message in messages() {
            let mut frame = Vec::new();
            write(&mut frame, &message).await.unwrap();
            let read = read(&mut &frame[..], MAX_SHORT).await;
            let long = matches!(
                message,
                Message::ServerEvidence { .. } | Message::ClientEvidence { .. }
            );
            match read {
                Ok(read) => assert_eq!(read, message),
                Err(WireError::TooLong { most: 64, .. }) if long => {}
                Err(error) => panic!("{}: {error}", message.name()),
            }
        }
    }

    /// Gives what there is byte by byte, then nothing, and notes how much room it was given.
    struct Slow {
        bytes: Vec<u8>,
        room: usize,
    }

    impl AsyncRead for Slow {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            let this = self.get_mut();
            this.room = this.room.max(buffer.remaining());
            if let Some(byte) = this.bytes.pop() {
                buffer.put_slice(&[byte]);
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn memory_grows_with_what_comes() {
        // 64 KiB are announced, 200 bytes come.
        let mut bytes = vec![1; 200];
        bytes.extend_from_slice(&[0, 0, 1, 0]);
        let mut slow = Slow { bytes, room: 0 };
        let error = read(&mut slow, MAX_FRAME).await.unwrap_err();
        assert!(matches!(error, WireError::Io(_)), "{error}");
        assert!(slow.bytes.is_empty());
        assert!(slow.room <= 1024, "{}", slow.room);
    }
}
