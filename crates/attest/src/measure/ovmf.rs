//! The tables at the end of an OVMF image (edk2 `OvmfPkg/ResetVector`).
//!
//! A list of entries, each behind its data and read backwards from 32 bytes before the end: length (u16) and
//! GUID. One of them leads to the metadata of SNP: the areas the host has to prepare.

use super::{PAGE, guid};

/// Images end at 4 GiB.
const END: u64 = 1 << 32;
/// From the end of the list to the end of the image.
const BEHIND_LIST: usize = 32;
/// Length and GUID of an entry.
const ENTRY: usize = 18;
/// More areas than any image names, and more memory than any of them asks for.
const MAX_SECTIONS: u32 = 64;
const MAX_SECTION: u32 = 64 << 20;

const LIST: [u8; 16] = guid("96b582de-1fb2-45f7-baea-a366c55a082d");
const HASH_TABLE: [u8; 16] = guid("7255371f-3a3b-4b04-927b-1da6efa8d454");
const RESET: [u8; 16] = guid("00f771de-1a7e-4fcb-890e-68c77e2fb44e");
const METADATA: [u8; 16] = guid("dc886566-984a-4798-a75e-5585a7bf67cc");

pub(super) struct Ovmf<'a> {
    image: &'a [u8],
    entries: Vec<([u8; 16], &'a [u8])>,
}

/// An area the host has to prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Memory,
    Secrets,
    Cpuid,
    SvsmCaa,
    KernelHashes,
}

impl<'a> Ovmf<'a> {
    pub(super) fn parse(image: &'a [u8]) -> Result<Self, OvmfError> {
        if image.is_empty() || !image.len().is_multiple_of(PAGE) {
            return Err(OvmfError::Length);
        }
        let end = image
            .len()
            .checked_sub(BEHIND_LIST)
            .ok_or(OvmfError::Length)?;
        let list = image.get(..end).ok_or(OvmfError::Length)?;
        let (last, before) = entry(list).ok_or(OvmfError::NoTable)?;
        if last != LIST {
            return Err(OvmfError::NoTable);
        }
        let mut rest = before;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (guid, data) = entry(rest).ok_or(OvmfError::Table)?;
            let used = ENTRY.saturating_add(data.len());
            rest = rest
                .get(..rest.len().saturating_sub(used))
                .ok_or(OvmfError::Table)?;
            entries.push((guid, data));
        }
        Ok(Self { image, entries })
    }

    /// Where the image begins.
    pub(super) fn gpa(&self) -> u64 {
        END.saturating_sub(self.image.len() as u64)
    }

    /// Where the hashes of a kernel belong.
    pub(super) fn hash_table_gpa(&self) -> Result<u64, OvmfError> {
        self.number(HASH_TABLE).map(u64::from)
    }

    /// Where all vCPUs but the first begin.
    pub(super) fn reset_eip(&self) -> Result<u32, OvmfError> {
        self.number(RESET)
    }

    fn number(&self, guid: [u8; 16]) -> Result<u32, OvmfError> {
        let (_, data) = self
            .entries
            .iter()
            .find(|(of, _)| *of == guid)
            .ok_or(OvmfError::NoEntry)?;
        u32_at(data, 0).ok_or(OvmfError::Table)
    }

    /// The areas in order: kind, address, size in bytes.
    pub(super) fn sections(&self) -> Result<Vec<(Section, u64, usize)>, OvmfError> {
        let from_end = self.number(METADATA)?;
        let start = usize::try_from(from_end)
            .ok()
            .and_then(|from_end| self.image.len().checked_sub(from_end))
            .ok_or(OvmfError::Metadata)?;
        let metadata = self.image.get(start..).ok_or(OvmfError::Metadata)?;
        let count = u32_at(metadata, 12).ok_or(OvmfError::Metadata)?;
        let version = u32_at(metadata, 8);
        if !metadata.starts_with(b"ASEV") || version != Some(1) || count > MAX_SECTIONS {
            return Err(OvmfError::Metadata);
        }
        metadata
            .get(16..)
            .unwrap_or_default()
            .chunks_exact(12)
            .take(usize::try_from(count).unwrap_or(0))
            .map(|row| {
                let numbers = (u32_at(row, 0), u32_at(row, 4), u32_at(row, 8));
                let (Some(gpa), Some(size), Some(kind)) = numbers else {
                    return Err(OvmfError::Metadata);
                };
                let section = match kind {
                    1 => Section::Memory,
                    2 => Section::Secrets,
                    3 => Section::Cpuid,
                    4 => Section::SvsmCaa,
                    0x10 => Section::KernelHashes,
                    _ => return Err(OvmfError::Section),
                };
                if size > MAX_SECTION {
                    return Err(OvmfError::Metadata);
                }
                let size = usize::try_from(size).map_err(|_| OvmfError::Metadata)?;
                Ok((section, u64::from(gpa), size))
            })
            .collect()
    }
}

/// The last entry of a list: its GUID and its data.
fn entry(list: &[u8]) -> Option<([u8; 16], &[u8])> {
    let (rest, guid) = list.split_last_chunk::<16>()?;
    let (rest, length) = rest.split_last_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length)).checked_sub(ENTRY)?;
    let (_, data) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
    Some((*guid, data))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk::<4>()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// Why bytes are no OVMF image for SNP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OvmfError {
    /// Not a whole number of pages.
    #[error("not a whole number of pages")]
    Length,
    /// No table of entries at the end.
    #[error("no table at its end")]
    NoTable,
    /// A table that cannot be read.
    #[error("its table cannot be read")]
    Table,
    /// An entry is missing that SNP needs.
    #[error("its table lacks an entry that SNP needs")]
    NoEntry,
    /// Metadata that cannot be read.
    #[error("its SNP metadata cannot be read")]
    Metadata,
    /// An area of an unknown kind: its part of the digest is not known.
    #[error("its SNP metadata name an area of an unknown kind")]
    Section,
}
