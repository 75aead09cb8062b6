//! What the index holds under a fingerprint.
//!
//! ```text
//! offset  bytes  what (little-endian)
//!      0      1  version, 1
//!      1         entries: flags (bit 0 = blob), segment, offset, length, variant tag (4 bytes each after
//!                the flags); for a blob also body length (8) and digest (32)
//!   last      4  CRC-32C of all before
//! ```
//!
//! An unknown version or a wrong checksum is no entry: the record is then found by the next rebuild.

use crate::command::{BlobRef, Recovered};
use crate::digest::BlobDigest;
use crate::directory::{Fingerprint, Place, VariantTag};
use crate::record::{Reader, RecordFault};

const VERSION: u8 = 1;
const FLAG_BLOB: u8 = 1;

/// One variant of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) variant: VariantTag,
    pub(crate) place: Place,
    pub(crate) blob: Option<BlobRef>,
}

impl Entry {
    pub(crate) const fn recovered(self, fingerprint: Fingerprint) -> Recovered {
        Recovered { fingerprint, variant: self.variant, place: self.place, blob: self.blob, indexed: true }
    }
}

impl Recovered {
    pub(crate) const fn entry(&self) -> Entry {
        Entry { variant: self.variant, place: self.place, blob: self.blob }
    }
}

pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + entries.len() * 57);
    bytes.push(VERSION);
    for entry in entries {
        bytes.push(if entry.blob.is_some() { FLAG_BLOB } else { 0 });
        for number in [entry.place.segment, entry.place.offset, entry.place.length, entry.variant.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(blob) = &entry.blob {
            bytes.extend_from_slice(&blob.len.to_le_bytes());
            bytes.extend_from_slice(blob.digest.as_bytes());
        }
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (body, check) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*check) {
        return None;
    }
    let mut reader = Reader(body);
    if reader.array() != Ok([VERSION]) {
        return None;
    }
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        entries.push(entry(&mut reader).ok()?);
    }
    Some(entries)
}

fn entry(reader: &mut Reader<'_>) -> Result<Entry, RecordFault> {
    let [flags] = reader.array()?;
    let mut number = || reader.array().map(u32::from_le_bytes);
    let (segment, offset, length, variant) = (number()?, number()?, number()?, number()?);
    if flags & !FLAG_BLOB != 0 || length == 0 {
        return Err(RecordFault::Shape);
    }
    let blob = if flags & FLAG_BLOB != 0 {
        let len = u64::from_le_bytes(reader.array()?);
        Some(BlobRef { len, digest: BlobDigest::from_bytes(reader.array()?) })
    } else {
        None
    };
    Ok(Entry { variant: VariantTag(variant), place: Place { segment, offset, length }, blob })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(n: u32, blob: bool) -> Entry {
        let blob = blob.then(|| BlobRef { digest: BlobDigest::of(b"x"), len: u64::from(n) << 20 });
        Entry { variant: VariantTag(n), place: Place { segment: 1, offset: 16 + n, length: 80 }, blob }
    }

    #[test]
    fn entries_are_read_back() {
        for entries in [vec![], vec![some(1, false)], vec![some(1, true), some(2, false), some(3, true)]] {
            assert_eq!(decode(&encode(&entries)), Some(entries));
        }
        assert_eq!(encode(&[some(1, false)]).len(), 22);
    }

    #[test]
    fn a_flipped_bit_makes_it_nothing() {
        let bytes = encode(&[some(1, true)]);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes), None);
        }
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut sealed = bytes.clone();
            sealed.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
            let _ = decode(&sealed);
            prop_assert_eq!(decode(&[]), None);
        }
    }
}
