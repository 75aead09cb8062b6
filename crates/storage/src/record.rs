//! The versioned encoding of one stored response in a segment.
//!
//! ```text
//! offset  bytes  what (numbers are little-endian)
//!      0      4  magic "LREC"
//!      4      1  version, 1
//!      5      1  state: 0 live, anything else dead; written in place later, so not in the checksum
//!      6      1  flags: bit 0 = the body is a blob; bits 0 and 1 = it is a partial; other bits are zero
//!      7      1  zero
//!      8      8  sequence number: of two records of one variant the higher one counts
//!     16      4  length of the key
//!     20      4  length of the metadata
//!     24      8  length of the body; of a partial: what its files take on disk
//!     32     32  BLAKE3 digest of the body; of a partial: its name
//!     64      4  variant tag
//!     68      4  CRC-32C of bytes 0 to 67 (byte 5 taken as zero), key and metadata
//!     72         key, metadata, the body itself unless it is a blob, zeros up to a multiple of 8
//! ```
//!
//! The checksum proves head, key and metadata without reading the body; the digest proves the body, small
//! ones too, when it is read. Decoding is total: any bytes give a record or a fault, never a panic.

use crate::blob::{blob_blocks, file_blocks};
use crate::digest::BlobDigest;
use crate::directory::VariantTag;

const MAGIC: [u8; 4] = *b"LREC";
const VERSION: u8 = 1;
const FLAG_BLOB: u8 = 1;
const FLAG_PARTIAL: u8 = 2;
/// Bytes of a record before its key.
pub(crate) const HEAD_BYTES: usize = 72;
/// Records begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
/// Where the state byte stands in a record.
pub(crate) const STATE_OFFSET: u64 = 5;
/// What marks a record as dead.
pub(crate) const DEAD: u8 = 0xdd;
/// No key and no metadata is longer; a larger length is junk.
pub(crate) const PART_MAX: usize = 1 << 20;

/// What is wrong with bytes that should be a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum RecordFault {
    #[error("no record begins here")]
    Magic,
    #[error("unknown record version {0}")]
    Version(u8),
    #[error("impossible lengths or flags")]
    Shape,
    #[error("cut short")]
    Cut,
    #[error("wrong checksum")]
    Checksum,
    #[error("the body does not have its digest")]
    Body,
}

/// The fixed part of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) live: bool,
    /// The body is not in the record.
    pub(crate) blob: bool,
    /// It is a partial.
    pub(crate) partial: bool,
    pub(crate) sequence: u64,
    pub(crate) key_len: usize,
    pub(crate) meta_len: usize,
    pub(crate) body_len: u64,
    pub(crate) digest: BlobDigest,
    pub(crate) variant: VariantTag,
    checksum: u32,
}

impl Head {
    /// Reads the fixed part. What it says is proved only by [`Head::check`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordFault> {
        let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(RecordFault::Cut)?;
        let mut reader = Reader(head);
        if reader.array::<4>()? != MAGIC {
            return Err(RecordFault::Magic);
        }
        let [version, state, flags, zero] = reader.array()?;
        if version != VERSION {
            return Err(RecordFault::Version(version));
        }
        let sequence = u64::from_le_bytes(reader.array()?);
        let key_len = u32::from_le_bytes(reader.array()?) as usize;
        let meta_len = u32::from_le_bytes(reader.array()?) as usize;
        let body_len = u64::from_le_bytes(reader.array()?);
        let digest = BlobDigest::from_bytes(reader.array()?);
        let variant = VariantTag(u32::from_le_bytes(reader.array()?));
        let checksum = u32::from_le_bytes(reader.array()?);
        let blob = flags & FLAG_BLOB != 0;
        let partial = flags & FLAG_PARTIAL != 0;
        if flags & !(FLAG_BLOB | FLAG_PARTIAL) != 0
            || (partial && !blob)
            || zero != 0
            || key_len > PART_MAX
            || meta_len > PART_MAX
            || (!blob && body_len > u64::from(u32::MAX / 2))
        {
            return Err(RecordFault::Shape);
        }
        let live = state == 0;
        Ok(Self { live, blob, partial, sequence, key_len, meta_len, body_len, digest, variant, checksum })
    }

    /// The file in which the body is, unless it is in the record.
    pub(crate) fn file(&self) -> Option<BodyFile> {
        let kind = if self.partial { FileKind::Partial } else { FileKind::Blob };
        self.blob.then_some(BodyFile { kind, name: self.digest, len: self.body_len })
    }

    /// Bytes of head, key and metadata.
    pub(crate) const fn front_bytes(&self) -> usize {
        HEAD_BYTES + self.key_len + self.meta_len
    }

    /// Bytes of the whole record, padding included.
    pub(crate) const fn record_bytes(&self) -> u64 {
        let inline = if self.blob { 0 } else { self.body_len };
        (self.front_bytes() as u64 + inline).next_multiple_of(ALIGN)
    }

    /// Proves the head, the key and the metadata, which `front` must begin with.
    pub(crate) fn check<'a>(&self, front: &'a [u8]) -> Result<Front<'a>, RecordFault> {
        let front = front.get(..self.front_bytes()).ok_or(RecordFault::Cut)?;
        let (head, parts) = front.split_first_chunk::<HEAD_BYTES>().ok_or(RecordFault::Cut)?;
        if checksum(head, parts) != self.checksum {
            return Err(RecordFault::Checksum);
        }
        let (key, metadata) = parts.split_at_checked(self.key_len).ok_or(RecordFault::Cut)?;
        let key = std::str::from_utf8(key).map_err(|_| RecordFault::Shape)?;
        Ok(Front { key, metadata })
    }
}

/// The proved key and metadata of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Front<'a> {
    pub(crate) key: &'a str,
    pub(crate) metadata: &'a [u8],
}

/// A whole record, proved; `body` is empty when the body is a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) head: Head,
    pub(crate) front: Front<'a>,
    pub(crate) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads and proves a record, its body included.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, RecordFault> {
        let head = Head::decode(bytes)?;
        let front = head.check(bytes)?;
        let body = if head.blob {
            &[]
        } else {
            let (_, rest) = bytes.split_at_checked(head.front_bytes()).ok_or(RecordFault::Cut)?;
            let len = usize::try_from(head.body_len).map_err(|_| RecordFault::Shape)?;
            let body = rest.get(..len).ok_or(RecordFault::Cut)?;
            if BlobDigest::of(body) != head.digest {
                return Err(RecordFault::Body);
            }
            body
        };
        Ok(Self { head, front, body })
    }
}

/// Head, key and metadata of a record that has no sequence number yet.
#[derive(Debug)]
pub(crate) struct EncodedFront {
    bytes: Vec<u8>,
}

/// What the head says of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyFacts {
    pub(crate) digest: BlobDigest,
    pub(crate) len: u64,
    /// What it is, if not in the record.
    pub(crate) file: Option<FileKind>,
}

/// What a body is that has a file of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileKind {
    Blob,
    Partial,
}

/// The file that a record names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BodyFile {
    pub(crate) kind: FileKind,
    /// The digest of a blob, the name of a partial.
    pub(crate) name: BlobDigest,
    /// Length of a blob; of a partial, what its files take on disk.
    pub(crate) len: u64,
}

impl BodyFile {
    /// Blocks that it takes on disk, with what lies beside it, at least one.
    pub(crate) fn blocks(&self) -> u32 {
        match self.kind {
            FileKind::Blob => blob_blocks(self.len),
            FileKind::Partial => u32::try_from(file_blocks(self.len)).unwrap_or(u32::MAX).max(1),
        }
    }
}

impl EncodedFront {
    /// `None` when key or metadata are longer than a record may hold.
    pub(crate) fn new(key: &str, metadata: &[u8], variant: VariantTag, body: BodyFacts) -> Option<Self> {
        if key.len() > PART_MAX || metadata.len() > PART_MAX {
            return None;
        }
        let key_len = u32::try_from(key.len()).ok()?;
        let meta_len = u32::try_from(metadata.len()).ok()?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + key.len() + metadata.len());
        bytes.extend_from_slice(&MAGIC);
        let flags = match body.file {
            None => 0,
            Some(FileKind::Blob) => FLAG_BLOB,
            Some(FileKind::Partial) => FLAG_BLOB | FLAG_PARTIAL,
        };
        bytes.extend_from_slice(&[VERSION, 0, flags, 0]);
        bytes.extend_from_slice(&0_u64.to_le_bytes());
        bytes.extend_from_slice(&key_len.to_le_bytes());
        bytes.extend_from_slice(&meta_len.to_le_bytes());
        bytes.extend_from_slice(&body.len.to_le_bytes());
        bytes.extend_from_slice(body.digest.as_bytes());
        bytes.extend_from_slice(&variant.0.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(metadata);
        Some(Self { bytes })
    }

    /// Bytes of head, key and metadata.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sets the sequence number and seals the front with its checksum.
    pub(crate) fn seal(&mut self, sequence: u64) -> &[u8] {
        if let Some(field) = self.bytes.get_mut(8..16) {
            field.copy_from_slice(&sequence.to_le_bytes());
        }
        if let Some((head, parts)) = self.bytes.split_first_chunk_mut::<HEAD_BYTES>() {
            let sum = checksum(head, parts);
            if let Some(field) = head.get_mut(68..) {
                field.copy_from_slice(&sum.to_le_bytes());
            }
        }
        &self.bytes
    }
}

fn checksum(head: &[u8; HEAD_BYTES], parts: &[u8]) -> u32 {
    let mut proved = [0; 68];
    if let Some((front, _)) = head.split_first_chunk::<68>() {
        proved = *front;
    }
    proved[5] = 0;
    crc32c::crc32c_append(crc32c::crc32c(&proved), parts)
}

/// Takes fixed-size pieces off the front of a slice.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordFault> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(RecordFault::Cut)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordFault> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(RecordFault::Cut)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(key: &str, metadata: &[u8], body: &[u8], sequence: u64) -> Vec<u8> {
        let facts = BodyFacts { digest: BlobDigest::of(body), len: body.len() as u64, file: None };
        let mut front = EncodedFront::new(key, metadata, VariantTag(7), facts).unwrap();
        let mut bytes = front.seal(sequence).to_vec();
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
        bytes
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = encode("k", b"m", b"body", 0x0102);
        assert_eq!(&bytes[..8], b"LREC\x01\0\0\0");
        assert_eq!(bytes[8..16], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16], 1);
        assert_eq!(bytes[20], 1);
        assert_eq!(bytes[24], 4);
        assert_eq!(&bytes[32..64], BlobDigest::of(b"body").as_bytes());
        assert_eq!(&bytes[72..78], b"kmbody");
        assert_eq!(bytes.len(), 80);
    }

    #[test]
    fn a_dead_mark_leaves_the_checksum_right() {
        let mut bytes = encode("key", b"meta", b"body", 9);
        bytes[STATE_OFFSET as usize] = DEAD;
        let record = Record::decode(&bytes).unwrap();
        assert!(!record.head.live);
        assert_eq!(record.body, b"body");
    }

    #[test]
    fn every_flipped_bit_but_those_of_state_and_padding_is_found() {
        let bytes = encode("http://example.com/", b"metadata", b"a body", 1);
        let padded = bytes.len() - (HEAD_BYTES + 19 + 8 + 6);
        for at in 0..bytes.len() - padded {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(
                    at == STATE_OFFSET as usize || Record::decode(&bytes).is_err(),
                    "byte {at} bit {bit} passed"
                );
            }
        }
    }

    #[test]
    fn an_unknown_version_is_told_apart() {
        let mut bytes = encode("key", b"", b"", 1);
        bytes[4] = 2;
        assert_eq!(Record::decode(&bytes), Err(RecordFault::Version(2)));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            key in "[!-~]{0,200}",
            metadata in proptest::collection::vec(any::<u8>(), 0..500),
            body in proptest::collection::vec(any::<u8>(), 0..2000),
            sequence: u64,
        ) {
            let bytes = encode(&key, &metadata, &body, sequence);
            let record = Record::decode(&bytes).unwrap();
            prop_assert_eq!(record.front, Front { key: &key, metadata: &metadata });
            prop_assert_eq!(record.body, &body[..]);
            prop_assert_eq!(record.head.sequence, sequence);
            prop_assert_eq!(record.head.record_bytes(), bytes.len() as u64);
            prop_assert!(record.head.live && !record.head.blob);
        }

        #[test]
        fn decoding_is_total(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), marked: bool) {
            if marked {
                for (at, byte) in b"LREC\x01\0\0\0".iter().enumerate() {
                    if let Some(slot) = bytes.get_mut(at) {
                        *slot = *byte;
                    }
                }
            }
            prop_assert!(Record::decode(&bytes).is_err());
        }

        #[test]
        fn a_cut_record_is_a_fault(cut in 0_usize..100) {
            let bytes = encode("a key", b"some metadata", b"and a body", 3);
            prop_assume!(cut < HEAD_BYTES + 28);
            prop_assert!(Record::decode(&bytes[..cut]).is_err());
        }
    }
}
