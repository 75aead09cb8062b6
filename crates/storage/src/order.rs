//! The file that tells the next life in which order objects were going to leave.
//!
//! A hint: a missing, damaged or outdated one is only a worse order. It is written under another name and renamed when it is
//! whole, so that the last whole one counts after a kill. All its file operations are here.
//!
//! ```text
//! offset  bytes  what (little-endian)
//!      0      8  "lardord" and the version, 1
//!      8      4  which algorithm: its place in `Algorithm::ALL`
//!     12      4  which store: four bytes of a hash keyed with its secret
//!     16      4  CRC-32C of bytes 0 to 15
//!     20         blocks, each: 4 bytes length of its records, 4 bytes CRC-32C of them, the records
//! record         8 bytes fingerprint, 1 byte of the variant tag, 1 to 5 bytes rank (seven bits each, the lowest first)
//! ```
//!
//! Records come as the algorithm's walk gives them, see `eviction::Ranked`.

use std::io;
use std::path::PathBuf;

use crate::directory::{Fingerprint, VariantTag};
use crate::eviction::Algorithm;
use crate::files::{Files, StoreFile};
use crate::layout::Layout;

const MAGIC: [u8; 8] = *b"lardord\x01";
const HEADER: usize = 20;
/// A longer block is damage.
const BLOCK_MAX: u32 = 1 << 20;

/// The rank of one object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ranking {
    pub(crate) fingerprint: Fingerprint,
    /// The lowest byte of the variant tag.
    pub(crate) variant: u8,
    pub(crate) rank: u32,
}

impl Ranking {
    pub(crate) const fn is_of(&self, variant: VariantTag) -> bool {
        self.variant == variant.0 as u8
    }

    /// Adds it to the records of a block.
    pub(crate) fn encode(&self, records: &mut Vec<u8>) {
        records.extend_from_slice(&self.fingerprint.0.to_le_bytes());
        records.push(self.variant);
        let mut rank = self.rank;
        while rank >= 0x80 {
            records.push(rank as u8 | 0x80);
            rank >>= 7;
        }
        records.push(rank as u8);
    }

    fn decode(records: &mut &[u8]) -> Option<Self> {
        let (fingerprint, rest) = records.split_first_chunk::<8>()?;
        let (variant, mut rest) = rest.split_first()?;
        let mut rank = 0_u32;
        for shift in (0..32).step_by(7) {
            let byte;
            (byte, rest) = rest.split_first()?;
            rank |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        *records = rest;
        let fingerprint = Fingerprint(u64::from_le_bytes(*fingerprint));
        Some(Self { fingerprint, variant: *variant, rank })
    }
}

fn header(layout: &Layout, algorithm: Algorithm) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let number = Algorithm::ALL.iter().position(|one| *one == algorithm).unwrap_or_default() as u32;
    let store = blake3::keyed_hash(&layout.hash_key, &MAGIC);
    let (fields, check) = header.split_at_mut(HEADER - 4);
    let known = MAGIC.into_iter().chain(number.to_le_bytes()).chain(*store.as_bytes());
    fields.iter_mut().zip(known).for_each(|(place, byte)| *place = byte);
    check.copy_from_slice(&crc32c::crc32c(fields).to_le_bytes());
    header
}

/// A new file that is being written; unlinked when dropped before it is whole.
#[derive(Debug)]
pub(crate) struct OrderWriter {
    files: Files,
    file: StoreFile,
    new: PathBuf,
    whole: PathBuf,
    bytes: u64,
}

impl OrderWriter {
    pub(crate) fn create(layout: &Layout, algorithm: Algorithm) -> io::Result<Self> {
        let (files, new, whole) = (layout.files().clone(), layout.order_new(), layout.order());
        let file = files.create(&new)?;
        let writer = Self { files, file, new, whole, bytes: HEADER as u64 };
        writer.file.write_all(&[header(layout, algorithm)], 0)?;
        Ok(writer)
    }

    /// Adds a block of records.
    pub(crate) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        let mut block = (records.len() as u32).to_le_bytes().to_vec();
        block.extend_from_slice(&crc32c::crc32c(records).to_le_bytes());
        block.extend_from_slice(records);
        let at = self.bytes;
        self.bytes += block.len() as u64;
        self.file.write_all(&[block], at)
    }

    /// Bytes written so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts the file in the place of the last one.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.files.rename(&self.new, &self.whole)
    }
}

impl Drop for OrderWriter {
    fn drop(&mut self) {
        // After `finish` there is no such name.
        let _ = self.files.remove(&self.new);
    }
}

/// The file of an earlier life.
#[derive(Debug)]
pub(crate) struct OrderReader {
    file: StoreFile,
    /// Where the next block is.
    at: u64,
}

impl OrderReader {
    /// Opens it if there is one, of this store and this algorithm.
    pub(crate) fn open(layout: &Layout, algorithm: Algorithm) -> Option<Self> {
        let file = layout.files().open(&layout.order()).ok()?;
        let mut found = [0; HEADER];
        file.read_exact(&mut found, 0).ok()?;
        (found == header(layout, algorithm)).then_some(Self { file, at: HEADER as u64 })
    }

    /// The records of the next block; `None` at the end, or where the file is damaged.
    pub(crate) fn next(&mut self) -> Option<Vec<Ranking>> {
        let mut head = [0; 8];
        self.file.read_exact(&mut head, self.at).ok()?;
        let (length, check) = head.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if length > BLOCK_MAX {
            return None;
        }
        let mut records = vec![0; length as usize];
        self.file.read_exact(&mut records, self.at + head.len() as u64).ok()?;
        if crc32c::crc32c(&records).to_le_bytes() != check {
            return None;
        }
        self.at += head.len() as u64 + u64::from(length);
        let mut rest = records.as_slice();
        let mut rankings = Vec::new();
        while !rest.is_empty() {
            rankings.push(Ranking::decode(&mut rest)?);
        }
        Some(rankings)
    }
}

/// The algorithm whose order the file that is there has.
pub(crate) fn written_by(layout: &Layout) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| OrderReader::open(layout, *algorithm).is_some())
}

/// Bytes of the file that is there; zero when there is none.
pub(crate) fn size(layout: &Layout) -> u64 {
    layout.files().len(&layout.order()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn rankings() -> Vec<Ranking> {
        let ranks = [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u32::MAX];
        let ranking = |(n, rank): (usize, &u32)| Ranking {
            fingerprint: Fingerprint(u64::MAX / 7 * n as u64),
            variant: n as u8,
            rank: *rank,
        };
        ranks.iter().enumerate().map(ranking).collect()
    }

    fn write(layout: &Layout) {
        let mut writer = OrderWriter::create(layout, Algorithm::Sieve).unwrap();
        for ranking in rankings() {
            let mut records = Vec::new();
            ranking.encode(&mut records);
            writer.write(&records).unwrap();
        }
        assert!(!layout.order().exists());
        let bytes = writer.bytes();
        writer.finish().unwrap();
        assert_eq!((size(layout), layout.order_new().exists()), (bytes, false));
    }

    fn read(layout: &Layout) -> Option<Vec<Ranking>> {
        let mut reader = OrderReader::open(layout, Algorithm::Sieve)?;
        Some(std::iter::from_fn(|| reader.next()).flatten().collect())
    }

    #[test]
    fn rankings_are_read_back_by_the_same_store_and_algorithm_alone() {
        let root = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(&root.path().join("one")).unwrap();
        assert_eq!((read(&layout), size(&layout)), (None, 0));
        write(&layout);
        assert_eq!(read(&layout), Some(rankings()));
        assert!(OrderReader::open(&layout, Algorithm::Lru).is_none());
        assert_eq!(written_by(&layout), Some(Algorithm::Sieve));
        let (other, _lock) = Layout::open(&root.path().join("two")).unwrap();
        fs::copy(layout.order(), other.order()).unwrap();
        assert_eq!(read(&other), None);
    }

    #[test]
    fn any_flipped_byte_and_any_cut_ends_the_rankings_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(root.path()).unwrap();
        write(&layout);
        let whole = fs::read(layout.order()).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            for damaged in [&bytes[..], &whole[..at]] {
                fs::write(layout.order(), damaged).unwrap();
                let found = read(&layout).unwrap_or_default();
                assert!(found.len() < rankings().len() && rankings().starts_with(&found), "{at}");
            }
        }
    }

    #[test]
    fn a_file_that_was_not_finished_leaves_the_last_one_alone() {
        let root = tempfile::tempdir().unwrap();
        let (layout, lock) = Layout::open(root.path()).unwrap();
        write(&layout);
        drop(OrderWriter::create(&layout, Algorithm::Lru).unwrap());
        assert!(!layout.order_new().exists());
        // As a kill leaves it.
        fs::write(layout.order_new(), "half").unwrap();
        drop((layout, lock));
        let (layout, _lock) = Layout::open(root.path()).unwrap();
        assert_eq!(read(&layout), Some(rankings()));
        assert!(!layout.order_new().exists());
    }
}
