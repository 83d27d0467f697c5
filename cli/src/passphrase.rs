//! Passphrases of encrypted keys: from a file, or typed on the terminal. Never an argument, which every
//! process of the machine could read.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;

use nacre_client::keys::Passphrase;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::error::CommandError;
use crate::files;

/// Longest passphrase, in bytes.
const MAX_PASSPHRASE: usize = 1024;

/// The first line of a file.
pub(crate) fn from_file(path: &Path) -> Result<Passphrase, CommandError> {
    let text = Zeroizing::new(files::read(path, MAX_PASSPHRASE)?);
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Zeroizing::new(line.to_vec()))
}

/// Asks on the controlling terminal, without showing what is typed.
pub(crate) fn ask(key: &Path) -> Option<Passphrase> {
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .ok()?;
    let _silence = Silence::begin(&terminal)?;
    write!(terminal, "passphrase of {}: ", key.display()).ok()?;
    let mut line: Passphrase = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE));
    let mut byte = [0];
    while line.len() < MAX_PASSPHRASE {
        match terminal.read(&mut byte) {
            Ok(0) | Err(_) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => line.extend_from_slice(&byte),
        }
    }
    let _ = writeln!(terminal);
    Some(line)
}

/// Echo is off while it lives.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn begin(terminal: &File) -> Option<Self> {
        let terminal = terminal.try_clone().ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &silent).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // There is no further way to put a terminal back.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
