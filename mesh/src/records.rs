//! The records of an established TLS 1.3 connection (RFC 8446, 5), sealed and opened where they lie.
//!
//! The keys are those that rustls has agreed on, and rustls makes the next ones when they change. What
//! TLS says to itself between application data is little: tickets, which are of no use here, new keys
//! and alerts.

use std::fmt;
use std::io::{self, ErrorKind};

use ring::aead::{self, Aad, LessSafeKey, UnboundKey};
use rustls::crypto::cipher::{Iv, Nonce};
use rustls::kernel::KernelConnection;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets,
    HandshakeType, InvalidMessage, PeerMisbehaved,
};

/// What stands before a record: type, version, length.
pub(crate) const HEADER: usize = 5;
/// Plaintext of a record at most.
pub(crate) const PLAIN: usize = 1 << 14;
/// Tag of all three ciphers.
const TAG: usize = 16;
/// A record with as much plaintext as there may be and no padding: header, plaintext, content type, tag.
pub(crate) const SLOT: usize = HEADER + PLAIN + 1 + TAG;
/// Encrypted part of a record at most.
const MOST: usize = PLAIN + 256;
/// A record of the largest size with its header.
pub(crate) const LONGEST: usize = HEADER + MOST;
/// Keys are changed when fewer records than this are left to them; more than are sealed at once.
const RESERVE: u64 = 1024;
/// What carries nothing, between application data: new keys, tickets, empty records, announcements of an end.
const MOST_EMPTY: u8 = 32;
/// Length of a ticket at most (RFC 8446, 4.6.1: its fields at their longest).
const LONGEST_TICKET: usize = 4 + 4 + 1 + 255 + 2 + 65535 + 2 + 65535;

/// Length of the record that begins like this, if enough of it is there to say so.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [_, _, _, high, low, ..] => Some(HEADER + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// rustls' reason, as the relay passes it on.
pub(crate) fn broken(reason: Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

/// Who connected and who was connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// How far records were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Bytes at the front that are done with.
    pub(crate) used: usize,
    /// The peer has said close_notify.
    pub(crate) finished: bool,
}

/// Both directions of a connection.
pub(crate) struct Records {
    role: Role,
    sending: Half,
    receiving: Half,
    /// Records that one key may seal.
    limit: u64,
    next: Box<dyn NextKeys>,
    /// The peer has asked for new keys of ours.
    asked: bool,
    /// How much has come that carries nothing, since there was data.
    empty: u8,
    /// The beginning of a message of the handshake protocol.
    message: Vec<u8>,
    /// Bytes of a ticket that are still to come.
    skipped: usize,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Records {
    /// Goes on where rustls has stopped.
    pub(crate) fn new<Data: 'static>(
        role: Role,
        secrets: ExtractedSecrets,
        next: KernelConnection<Data>,
    ) -> Result<Self, Error>
    where
        KernelConnection<Data>: NextKeys,
    {
        let suite = next.negotiated_cipher_suite();
        let limit = suite
            .tls13()
            .map(|suite| suite.common.confidentiality_limit)
            .ok_or(Error::HandshakeNotComplete)?;
        Ok(Self {
            role,
            sending: Half::new(secrets.tx)?,
            receiving: Half::new(secrets.rx)?,
            limit,
            next: Box::new(next),
            asked: false,
            empty: 0,
            message: Vec::new(),
            skipped: 0,
        })
    }

    /// Decrypts every whole record at the front of `incoming` and hands out its plaintext.
    ///
    /// # Errors
    /// What `take` says, or the reason as [`ErrorKind::InvalidData`]; an alert is at the end of `out`
    /// then.
    pub(crate) fn open<'a>(
        &mut self,
        mut incoming: &'a mut [u8],
        out: &mut Vec<u8>,
        mut take: impl FnMut(&'a [u8]) -> io::Result<()>,
    ) -> io::Result<Opened> {
        let mut opened = Opened::default();
        while let Some(length) = length(incoming) {
            if length > LONGEST {
                return Err(self.refuse(Error::PeerSentOversizedRecord, out));
            }
            let Some((record, rest)) = incoming.split_at_mut_checked(length) else {
                break;
            };
            incoming = rest;
            opened.used += length;
            let fault = match self.receiving.open(record) {
                Ok((ContentType::ApplicationData, [])) if self.is_between_messages() => {
                    self.count(PeerMisbehaved::TooManyEmptyFragments)
                }
                Ok((ContentType::ApplicationData, plain)) if self.is_between_messages() => {
                    self.empty = 0;
                    take(plain)?;
                    continue;
                }
                Ok((ContentType::Handshake, plain)) => self.hear(plain),
                Ok((ContentType::Alert, [_, kind])) if self.is_between_messages() => {
                    match AlertDescription::from(*kind) {
                        AlertDescription::CloseNotify => {
                            opened.finished = true;
                            return Ok(opened);
                        }
                        // A close_notify follows.
                        AlertDescription::UserCanceled => {
                            self.count(PeerMisbehaved::TooManyWarningAlertsReceived)
                        }
                        other => return Err(broken(Error::AlertReceived(other))),
                    }
                }
                Ok(_) => Err(InvalidMessage::UnexpectedMessage("record").into()),
                Err(fault) => Err(fault),
            };
            fault.map_err(|fault| self.refuse(fault, out))?;
        }
        Ok(opened)
    }

    /// Makes `length` bytes of plaintext, which lie behind the header's place in `slot`, a record, and
    /// says how long it has become.
    ///
    /// # Errors
    /// There is too little room for it, or the key is used up.
    pub(crate) fn seal(&mut self, slot: &mut [u8], length: usize) -> io::Result<usize> {
        self.seal_as(ContentType::ApplicationData, slot, length)
    }

    /// Writes what TLS itself has to say to the end of `out`: new keys, where the peer has asked for them or
    /// ours are almost used up.
    ///
    /// # Errors
    /// The key is used up.
    pub(crate) fn renew(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.asked && self.sending.number.saturating_add(RESERVE) < self.limit {
            return Ok(());
        }
        self.asked = false;
        // update_not_requested
        let message = [HandshakeType::KeyUpdate.into(), 0, 0, 1, 0];
        self.say(ContentType::Handshake, &message, out)?;
        let secrets = self.next.sending().map_err(broken)?;
        self.sending = Half::new(secrets).map_err(broken)?;
        Ok(())
    }

    /// Writes close_notify to the end of `out`.
    ///
    /// # Errors
    /// The key is used up.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.alert(AlertDescription::CloseNotify, out)
    }

    fn seal_as(&mut self, kind: ContentType, slot: &mut [u8], length: usize) -> io::Result<usize> {
        if self.sending.number >= self.limit {
            return Err(broken(Error::EncryptError));
        }
        self.sending.seal(kind, slot, length).map_err(broken)
    }

    fn say(&mut self, kind: ContentType, message: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut slot = [0; 64];
        let room = slot.get_mut(HEADER..HEADER + message.len());
        room.ok_or(ErrorKind::WriteZero)?.copy_from_slice(message);
        let sealed = self.seal_as(kind, &mut slot, message.len())?;
        out.extend_from_slice(slot.get(..sealed).unwrap_or_default());
        Ok(())
    }

    fn alert(&mut self, alert: AlertDescription, out: &mut Vec<u8>) -> io::Result<()> {
        // The level says nothing in TLS 1.3, but is written as it was: warning, fatal.
        let level = if alert == AlertDescription::CloseNotify {
            1
        } else {
            2
        };
        self.say(ContentType::Alert, &[level, alert.into()], out)
    }

    /// The error of a connection that does not go on, after its alert.
    fn refuse(&mut self, reason: Error, out: &mut Vec<u8>) -> io::Error {
        let alert = match &reason {
            Error::DecryptError => AlertDescription::BadRecordMac,
            Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
            Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => {
                AlertDescription::IllegalParameter
            }
            _ => AlertDescription::UnexpectedMessage,
        };
        // The connection ends whether the peer hears why or not.
        let _ = self.alert(alert, out);
        broken(reason)
    }

    /// One more that carries nothing.
    fn count(&mut self, too_many: PeerMisbehaved) -> Result<(), Error> {
        self.empty += 1;
        if self.empty > MOST_EMPTY {
            return Err(too_many.into());
        }
        Ok(())
    }

    /// Messages of the handshake protocol may be in pieces, with nothing else between them.
    fn is_between_messages(&self) -> bool {
        self.message.is_empty() && self.skipped == 0
    }

    /// A piece of the handshake protocol.
    fn hear(&mut self, piece: &[u8]) -> Result<(), Error> {
        const TICKET: u8 = 4;
        const KEY_UPDATE: u8 = 24;
        let unexpected = || Error::from(InvalidMessage::UnexpectedMessage("handshake message"));
        if piece.is_empty() {
            return Err(InvalidMessage::InvalidEmptyPayload.into());
        }
        let mut rest = piece.iter();
        while let Some(byte) = rest.next() {
            if self.skipped > 0 {
                self.skipped -= 1;
                continue;
            }
            self.message.push(*byte);
            match *self.message.as_slice() {
                // Nothing is resumed.
                [TICKET, a, b, c] if self.role == Role::Client => {
                    self.count(PeerMisbehaved::TooManyEmptyFragments)?;
                    self.skipped = u32::from_be_bytes([0, a, b, c]) as usize;
                    if self.skipped > LONGEST_TICKET {
                        return Err(unexpected());
                    }
                    self.message = Vec::new();
                }
                [KEY_UPDATE, 0, 0, 1] | [_] | [_, _] | [_, _, _] => {}
                [KEY_UPDATE, 0, 0, 1, asks @ (0 | 1)] => {
                    // What follows is sealed with other keys.
                    if !rest.as_slice().is_empty() {
                        return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
                    }
                    self.message = Vec::new();
                    self.update(asks == 1)?;
                }
                [KEY_UPDATE, 0, 0, 1, _] => return Err(InvalidMessage::InvalidKeyUpdate.into()),
                _ => return Err(unexpected()),
            }
        }
        Ok(())
    }

    /// The peer has new keys, and wants new ones of us as well or not.
    fn update(&mut self, asks: bool) -> Result<(), Error> {
        self.count(PeerMisbehaved::TooManyKeyUpdateRequests)?;
        self.receiving = Half::new(self.next.receiving()?)?;
        self.asked |= asks;
        Ok(())
    }
}

/// Who knows the keys after these.
pub(crate) trait NextKeys: Send + Sync {
    fn sending(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error>;
    fn receiving(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error>;
}

impl<Data: Send + Sync> NextKeys for KernelConnection<Data> {
    fn sending(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        self.update_tx_secret()
    }

    fn receiving(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        self.update_rx_secret()
    }
}

/// One direction: its key, and the number of the next record.
struct Half {
    key: LessSafeKey,
    iv: Iv,
    number: u64,
}

/// ring leaves keys where they were.
impl Drop for Half {
    fn drop(&mut self) {
        if let Ok(nothing) = UnboundKey::new(&aead::AES_256_GCM, &[0; 32]) {
            self.key = LessSafeKey::new(nothing);
        }
        // Somebody might look, as far as the compiler knows.
        std::hint::black_box(&self.key);
    }
}

impl Half {
    fn new((number, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Error> {
        use ConnectionTrafficSecrets as Secrets;
        let (algorithm, key, iv) = match secrets {
            Secrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            Secrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            Secrets::Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("a cipher that is not offered".into())),
        };
        let key = UnboundKey::new(algorithm, key.as_ref())
            .map_err(|_| Error::General("a key of another length".into()))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            iv,
            number,
        })
    }

    /// A nonce that the key has not been used with.
    fn nonce(&mut self) -> Option<aead::Nonce> {
        let nonce = Nonce::new(&self.iv, self.number);
        self.number = self.number.checked_add(1)?;
        Some(aead::Nonce::assume_unique_for_key(nonce.0))
    }

    fn seal(&mut self, kind: ContentType, slot: &mut [u8], length: usize) -> Result<usize, Error> {
        let sealed = length + 1 + TAG;
        let size = u16::try_from(sealed).map_err(|_| Error::EncryptError)?;
        let [high, low] = size.to_be_bytes();
        let record = slot.get_mut(..HEADER + sealed);
        let Some((header, inner)) = record.and_then(|slot| slot.split_first_chunk_mut::<HEADER>())
        else {
            return Err(Error::EncryptError);
        };
        // Every record looks like application data of TLS 1.2.
        *header = [ContentType::ApplicationData.into(), 3, 3, high, low];
        let Some((inner, tag)) = inner.split_last_chunk_mut::<TAG>() else {
            return Err(Error::EncryptError);
        };
        if let Some(last) = inner.last_mut() {
            *last = kind.into();
        }
        let nonce = self.nonce().ok_or(Error::EncryptError)?;
        let made = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), inner)
            .map_err(|_| Error::EncryptError)?;
        tag.copy_from_slice(made.as_ref());
        Ok(HEADER + sealed)
    }

    /// What a whole record says, without its padding.
    fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<(ContentType, &'a [u8]), Error> {
        let unexpected = || Error::from(InvalidMessage::UnexpectedMessage("record"));
        let (header, sealed) = record
            .split_first_chunk_mut::<HEADER>()
            .ok_or(Error::DecryptError)?;
        if header[0] != u8::from(ContentType::ApplicationData) {
            return Err(unexpected());
        }
        let nonce = self.nonce().ok_or(Error::DecryptError)?;
        let inner = self
            .key
            .open_in_place(nonce, Aad::from(header), sealed)
            .map_err(|_| Error::DecryptError)?;
        if inner.len() > PLAIN + 1 {
            return Err(Error::PeerSentOversizedRecord);
        }
        let end = inner.iter().rposition(|byte| *byte != 0);
        let (plain, rest) = inner.split_at(end.ok_or_else(unexpected)?);
        let kind = rest.first().ok_or_else(unexpected)?;
        Ok((ContentType::from(*kind), plain))
    }
}

#[cfg(test)]
mod tests;
