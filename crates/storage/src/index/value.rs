//! What the index holds, bucket by bucket.
//!
//! A bucket is all fingerprints with the same first 20 bits, and its number is the database's key. The database keeps some 60
//! bytes of memory for each of its keys, so that one for each object would take more of it than all else; beyond a million
//! objects they share one.
//!
//! ```text
//! offset  bytes  what (little-endian)
//!      0      1  version, 2
//!      1         entries: flags (bit 0 = blob, bits 0 and 1 = partial), the last six bytes of the fingerprint; segment,
//!                offset, length, variant tag (4 bytes each); for a blob or partial also body length (8) and digest (32), as
//!                in the record
//!   last      4  CRC-32C of all before
//! ```
//!
//! An unknown version or a wrong checksum is no entry: the record is then found by the next rebuild.

use crate::command::Recovered;
use crate::digest::BlobDigest;
use crate::directory::{Fingerprint, Place, VariantTag};
use crate::record::{BodyFile, FileKind, Reader, RecordFault};

const VERSION: u8 = 2;
const FLAG_BLOB: u8 = 1;
const FLAG_PARTIAL: u8 = 2;

/// One variant of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) variant: VariantTag,
    pub(crate) place: Place,
    pub(crate) file: Option<BodyFile>,
}

impl Entry {
    pub(crate) const fn recovered(self, fingerprint: Fingerprint) -> Recovered {
        Recovered { fingerprint, variant: self.variant, place: self.place, file: self.file, indexed: true }
    }
}

impl Recovered {
    pub(crate) const fn entry(&self) -> Entry {
        Entry { variant: self.variant, place: self.place, file: self.file }
    }
}

/// Which bucket a fingerprint belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Bucket(u32);

impl Bucket {
    /// Bytes of the key of a bucket; keys of other lengths are about the database itself.
    pub(super) const KEY_BYTES: usize = 3;

    pub(super) const fn of(fingerprint: Fingerprint) -> Self {
        Self((fingerprint.0 >> 44) as u32)
    }

    pub(super) const fn key(self) -> [u8; Self::KEY_BYTES] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    pub(super) fn from_key(key: &[u8]) -> Option<Self> {
        let [a, b, c] = *<&[u8; Self::KEY_BYTES]>::try_from(key).ok()?;
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// The fingerprint of which these are the last six bytes.
    const fn fingerprint(self, last: [u8; 6]) -> Fingerprint {
        let [a, b, c, d, e, f] = last;
        Fingerprint((self.0 as u64) << 44 | u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }
}

/// An entry and the fingerprint that it is under.
pub(super) type Keyed = (Fingerprint, Entry);

pub(super) fn encode(entries: &[Keyed]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + entries.len() * 63);
    bytes.push(VERSION);
    for (fingerprint, entry) in entries {
        bytes.push(match entry.file.map(|file| file.kind) {
            None => 0,
            Some(FileKind::Blob) => FLAG_BLOB,
            Some(FileKind::Partial) => FLAG_BLOB | FLAG_PARTIAL,
        });
        bytes.extend_from_slice(fingerprint.0.to_le_bytes().first_chunk::<6>().unwrap_or(&[0; 6]));
        for number in [entry.place.segment, entry.place.offset, entry.place.length, entry.variant.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(file) = &entry.file {
            bytes.extend_from_slice(&file.len.to_le_bytes());
            bytes.extend_from_slice(file.name.as_bytes());
        }
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

pub(super) fn decode(bucket: Bucket, bytes: &[u8]) -> Option<Vec<Keyed>> {
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
        entries.push(entry(bucket, &mut reader).ok()?);
    }
    Some(entries)
}

fn entry(bucket: Bucket, reader: &mut Reader<'_>) -> Result<Keyed, RecordFault> {
    let [flags] = reader.array()?;
    let fingerprint = bucket.fingerprint(reader.array()?);
    let mut number = || reader.array().map(u32::from_le_bytes);
    let (segment, offset, length, variant) = (number()?, number()?, number()?, number()?);
    let kind = match flags {
        0 => None,
        FLAG_BLOB => Some(FileKind::Blob),
        flags if flags == FLAG_BLOB | FLAG_PARTIAL => Some(FileKind::Partial),
        _ => return Err(RecordFault::Shape),
    };
    if length == 0 {
        return Err(RecordFault::Shape);
    }
    let file = match kind {
        Some(kind) => {
            let len = u64::from_le_bytes(reader.array()?);
            Some(BodyFile { kind, len, name: BlobDigest::from_bytes(reader.array()?) })
        }
        None => None,
    };
    let place = Place { segment, offset, length };
    Ok((fingerprint, Entry { variant: VariantTag(variant), place, file }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(n: u32, kind: Option<FileKind>) -> Entry {
        let file = kind.map(|kind| BodyFile { kind, name: BlobDigest::of(b"x"), len: u64::from(n) << 20 });
        Entry { variant: VariantTag(n), place: Place { segment: 1, offset: 16 + n, length: 80 }, file }
    }

    const PRINT: Fingerprint = Fingerprint(0xabcd_e123_4567_89ab);

    #[test]
    fn entries_are_read_back() {
        let near = Fingerprint(PRINT.0 ^ 1 << 43);
        let bucket = Bucket::of(PRINT);
        assert_eq!(bucket, Bucket::of(near));
        assert_ne!(bucket, Bucket::of(Fingerprint(PRINT.0 ^ 1 << 44)));
        let (blob, partial) = (Some(FileKind::Blob), Some(FileKind::Partial));
        for entries in [
            vec![],
            vec![(PRINT, some(1, None))],
            vec![(PRINT, some(1, blob)), (near, some(2, None)), (PRINT, some(3, partial))],
        ] {
            assert_eq!(decode(bucket, &encode(&entries)), Some(entries));
        }
        assert_eq!(encode(&[(PRINT, some(1, None))]).len(), 28);
    }

    #[test]
    fn a_bucket_is_known_by_its_key() {
        for print in [0, 1 << 44, PRINT.0, u64::MAX] {
            let bucket = Bucket::of(Fingerprint(print));
            assert_eq!(Bucket::from_key(&bucket.key()), Some(bucket));
        }
        assert_eq!(Bucket::from_key(b"larder schema"), None);
    }

    #[test]
    fn a_flipped_bit_makes_it_nothing() {
        let bytes = encode(&[(PRINT, some(1, Some(FileKind::Blob)))]);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(decode(Bucket::of(PRINT), &bytes), None);
        }
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut sealed = bytes.clone();
            sealed.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
            let _ = decode(Bucket::of(PRINT), &sealed);
            prop_assert_eq!(decode(Bucket::of(PRINT), &[]), None);
        }
    }
}
