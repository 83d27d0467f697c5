//! The certificate table a host hands to its guests (GHCB specification 2.03, §4.1.8.1).

use crate::report::SigningKey;

/// GUIDs as they stand in the table: the first three groups are little-endian.
const VCEK: [u8; 16] = guid(0x63da_758d, 0xe664, 0x4564, 0xadc5_f4b9_3be8_accd);
const VLEK: [u8; 16] = guid(0xa807_4bc2, 0xa25a, 0x483e, 0xaae6_39c0_45a0_b8a1);
/// More than any host lists.
const MAX_ENTRIES: usize = 32;

/// Certificates by GUID. Foreign bytes: nothing in it is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateTable {
    entries: Vec<([u8; 16], Vec<u8>)>,
}

impl CertificateTable {
    /// Reads a table. Entries that point outside of it are left out.
    pub fn parse(table: &[u8]) -> Self {
        let mut entries = Vec::new();
        let mut rest = table;
        while let Some((entry, more)) = rest.split_first_chunk::<24>() {
            rest = more;
            let Some((guid, place)) = entry.split_first_chunk::<16>() else {
                break;
            };
            if *guid == [0; 16] || entries.len() == MAX_ENTRIES {
                break;
            }
            let number = |bytes: Option<&[u8; 4]>| {
                bytes.and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok())
            };
            let (offset, length) = (number(place.first_chunk()), number(place.last_chunk()));
            let range = offset
                .zip(length)
                .and_then(|(at, len)| Some(at..at.checked_add(len)?));
            if let Some(data) = range.and_then(|range| table.get(range)) {
                entries.push((*guid, data.to_vec()));
            }
        }
        Self { entries }
    }

    /// A table with one certificate.
    pub fn of(key: SigningKey, certificate: Vec<u8>) -> Self {
        Self {
            entries: guid_of(key)
                .map(|guid| (guid, certificate))
                .into_iter()
                .collect(),
        }
    }

    /// Adds a certificate, unless there are too many; kinds without one are left out.
    pub fn add(&mut self, key: SigningKey, certificate: Vec<u8>) {
        if let Some(guid) = guid_of(key)
            && self.entries.len() < MAX_ENTRIES
        {
            self.entries.push((guid, certificate));
        }
    }

    /// Certificates of this kind of key, in the order of the table.
    pub fn veks(&self, key: SigningKey) -> impl Iterator<Item = &[u8]> {
        let wanted = guid_of(key);
        let entries = self.entries.iter();
        let fitting = entries.filter(move |(guid, _)| Some(*guid) == wanted);
        fitting.map(|(_, data)| data.as_slice())
    }

    /// The first certificate of this kind of key.
    pub fn vek(&self, key: SigningKey) -> Option<&[u8]> {
        self.veks(key).next()
    }
}

fn guid_of(key: SigningKey) -> Option<[u8; 16]> {
    match key {
        SigningKey::Vcek => Some(VCEK),
        SigningKey::Vlek => Some(VLEK),
        SigningKey::None | SigningKey::Unknown(_) => None,
    }
}

const fn guid(a: u32, b: u16, c: u16, d: u64) -> [u8; 16] {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) =
        (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d.to_be_bytes();
    [
        a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[([u8; 16], u32, u32)], data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (guid, offset, length) in entries {
            out.extend_from_slice(guid);
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(&[0; 24]);
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn certificates_are_found_by_the_key_that_signed() {
        let bytes = table(&[(VLEK, 72, 2), (VCEK, 74, 3)], b"vlvce");
        let parsed = CertificateTable::parse(&bytes);
        assert_eq!(parsed.vek(SigningKey::Vlek), Some(&b"vl"[..]));
        assert_eq!(parsed.vek(SigningKey::Vcek), Some(&b"vce"[..]));
        assert_eq!(parsed.vek(SigningKey::None), None);
        // The first group of 63da758d-… comes first byte last.
        assert_eq!(VCEK[..4], [0x8d, 0x75, 0xda, 0x63]);
    }

    #[test]
    fn entries_that_point_outside_are_left_out() {
        for (offset, length) in [(48, 3), (u32::MAX, u32::MAX), (51, 1), (0, 1000)] {
            let bytes = table(&[(VCEK, offset, length)], b"vc");
            assert_eq!(CertificateTable::parse(&bytes).vek(SigningKey::Vcek), None);
        }
        for length in 0..48 {
            let bytes = table(&[(VCEK, 48, 2)], b"vc");
            assert_eq!(
                CertificateTable::parse(&bytes[..length]).vek(SigningKey::Vcek),
                None
            );
        }
    }
}
