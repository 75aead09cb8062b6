//! The interval map on disk: a log that is only ever added to.
//!
//! ```text
//! offset  bytes  what (little-endian)
//!      0      8  "LARPART" and version 1
//!      8     32  the partial's name
//!     40      4  CRC-32C of bytes 0 to 39
//!     44         entries:
//!      0      1    kind: 1 = whole groups one behind the other, 2 = a ragged piece
//!      1      3    zeros
//!      4      4    how many groups, or how many bytes
//!      8      8    position of the first byte
//!     16    32 n   a chaining value for each group, or the hash of the piece
//!   last      4    CRC-32C of the entry, begun with the checksum before it
//! ```
//!
//! The checksums form a chain: an entry counts only where it was written. The first entry that is torn or damaged ends the log,
//! and what is added next takes its place: its bytes are not here then, and never wrong.

use std::io;

use crate::digest::{BlobDigest, GROUP_BYTES};
use crate::files::StoreFile;
use crate::partial::map::{Map, Piece, Proof, group_range};
use crate::record::Reader;

const MAGIC: [u8; 8] = *b"LARPART\x01";
const HEAD_BYTES: u64 = 44;
const ENTRY_BYTES: usize = 16;
const GROUPS: u8 = 1;
const RAGGED: u8 = 2;
/// Groups that one entry names at most.
const GROUPS_MAX: usize = 4096;

/// The open end of a map's file.
#[derive(Debug)]
pub(crate) struct Log {
    file: StoreFile,
    end: u64,
    chain: u32,
}

impl Log {
    /// Begins the log of a partial in an empty file.
    pub(crate) fn begin(file: StoreFile, name: &BlobDigest) -> io::Result<Self> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(name.as_bytes());
        let chain = crc32c::crc32c(&head);
        head.extend_from_slice(&chain.to_le_bytes());
        file.write_all(&[head], 0)?;
        Ok(Self { file, end: HEAD_BYTES, chain })
    }

    /// Reads a log as far as it is sound; `None` when it is not that of this partial. The map may take as many bytes as its
    /// file has.
    pub(crate) fn read(file: StoreFile, name: &BlobDigest) -> io::Result<Option<(Self, Map)>> {
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        let read = file.read_full(&mut bytes, 0)?;
        bytes.truncate(read);
        let Some((head, mut entries)) = bytes.split_at_checked(HEAD_BYTES as usize) else { return Ok(None) };
        let Some((proved, check)) = head.split_last_chunk::<4>() else { return Ok(None) };
        let mut chain = crc32c::crc32c(proved);
        let mut reader = Reader(proved);
        if chain.to_le_bytes() != *check
            || reader.array() != Ok(MAGIC)
            || reader.array() != Ok(*name.as_bytes())
        {
            return Ok(None);
        }
        let (mut map, mut end) = (Map::default(), HEAD_BYTES);
        while let Some((taken, pieces, next)) = decode(entries, chain) {
            if !pieces.iter().all(|piece| map.add(piece)) {
                break;
            }
            (end, chain) = (end + taken as u64, next);
            entries = entries.get(taken..).unwrap_or(&[]);
        }
        Ok(Some((Self { file, end, chain }, map)))
    }

    /// Adds pieces. When this fails they are not in it.
    pub(crate) fn append(&mut self, pieces: &[Piece]) -> io::Result<()> {
        let (bytes, chain) = encode(pieces, self.chain);
        let len = bytes.len() as u64;
        self.file.write_all(&[bytes], self.end)?;
        (self.end, self.chain) = (self.end + len, chain);
        Ok(())
    }

    /// Length in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.end
    }
}

fn encode(pieces: &[Piece], mut chain: u32) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(pieces.len() * (ENTRY_BYTES + 36));
    let follows = |one: &Piece, other: &Piece| {
        let whole = |piece: &Piece| matches!(piece.proof, Proof::Group(_));
        whole(one) && whole(other) && one.range.end == other.range.start
    };
    for pieces in pieces.chunk_by(follows).flat_map(|pieces| pieces.chunks(GROUPS_MAX)) {
        let Some(first) = pieces.first() else { continue };
        let start = bytes.len();
        let (kind, count) = match first.proof {
            Proof::Group(_) => (GROUPS, pieces.len() as u64),
            Proof::Ragged(_) => (RAGGED, first.range.end - first.range.start),
        };
        bytes.extend_from_slice(&[kind, 0, 0, 0]);
        bytes.extend_from_slice(&(count as u32).to_le_bytes());
        bytes.extend_from_slice(&first.range.start.to_le_bytes());
        for piece in pieces {
            let (Proof::Group(value) | Proof::Ragged(value)) = &piece.proof;
            bytes.extend_from_slice(value);
        }
        chain = crc32c::crc32c_append(chain, bytes.get(start..).unwrap_or(&[]));
        bytes.extend_from_slice(&chain.to_le_bytes());
    }
    (bytes, chain)
}

/// One entry: how many bytes it takes, its pieces and the next link of the chain. `None` for anything that is not sound.
fn decode(bytes: &[u8], chain: u32) -> Option<(usize, Vec<Piece>, u32)> {
    let mut reader = Reader(bytes);
    let [kind, zeros @ ..] = reader.array::<4>().ok()?;
    let count = u32::from_le_bytes(reader.array().ok()?);
    let start = u64::from_le_bytes(reader.array().ok()?);
    let values = match kind {
        GROUPS if count as usize <= GROUPS_MAX => count as usize,
        RAGGED if u64::from(count) < GROUP_BYTES => 1,
        _ => return None,
    };
    let (values, []) = reader.take(values * 32).ok()?.as_chunks::<32>() else { return None };
    let check = u32::from_le_bytes(reader.array().ok()?);
    let taken = bytes.len() - reader.0.len();
    let entry = bytes.get(..taken - 4)?;
    let sound = zeros == [0; 3] && crc32c::crc32c_append(chain, entry) == check;
    let pieces = match (kind, values) {
        _ if !sound => return None,
        (RAGGED, [hash]) => {
            let range = start..start.checked_add(u64::from(count))?;
            vec![Piece { range, proof: Proof::Ragged(*hash) }]
        }
        (_, values) => {
            let first = start / GROUP_BYTES;
            let piece = |(group, value): (u64, &[u8; 32])| Piece {
                range: group_range(group),
                proof: Proof::Group(*value),
            };
            (first..).zip(values).map(piece).collect()
        }
    };
    Some((taken, pieces, check))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::Files;

    const NAME: BlobDigest = BlobDigest::from_bytes([7; 32]);

    fn pieces() -> Vec<Piece> {
        let group = vec![3; GROUP_BYTES as usize];
        let at = |group: u64| group * GROUP_BYTES;
        vec![
            Piece::of(5, &[1; 100]),
            Piece::of(at(2), &group),
            Piece::of(at(3), &group),
            Piece::of(at(4), &[9]),
            Piece::of(at(9), &group),
        ]
    }

    fn read(path: &std::path::Path) -> Option<(Log, Map)> {
        Log::read(Files::default().open_to_write(path).unwrap(), &NAME).unwrap()
    }

    fn all(map: &Map) -> Vec<Piece> {
        let mut all: Vec<Piece> = map.all().collect();
        all.sort_by_key(|piece| piece.range.start);
        all
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("map");
        let mut log = Log::begin(Files::default().create(&path).unwrap(), &NAME).unwrap();
        log.append(&pieces()).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, log.len());
        assert_eq!((&bytes[..8], &bytes[8..40]), (&b"LARPART\x01"[..], &[7; 32][..]));
        assert_eq!(bytes[44..60], [2, 0, 0, 0, 100, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[96..112], [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
        assert_eq!(bytes.len(), 44 + 52 + 84 + 52 + 52);
    }

    #[test]
    fn what_is_added_is_read_back_however_often_it_is_opened() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("map");
        drop(Log::begin(Files::default().create(&path).unwrap(), &NAME).unwrap());
        let pieces = pieces();
        for (at, piece) in pieces.iter().enumerate() {
            let (mut log, map) = read(&path).unwrap();
            assert_eq!(all(&map), pieces[..at]);
            log.append(std::slice::from_ref(piece)).unwrap();
        }
        assert_eq!(all(&read(&path).unwrap().1), pieces);
        let other = BlobDigest::from_bytes([8; 32]);
        let file = Files::default().open(&path).unwrap();
        assert!(Log::read(file, &other).unwrap().is_none(), "another partial's");
    }

    #[test]
    fn a_log_that_is_cut_or_damaged_anywhere_keeps_what_stands_before() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("map");
        let mut log = Log::begin(Files::default().create(&path).unwrap(), &NAME).unwrap();
        let pieces = pieces();
        let mut ends = vec![log.len() as usize];
        for piece in &pieces {
            log.append(std::slice::from_ref(piece)).unwrap();
            ends.push(log.len() as usize);
        }
        let sound = fs::read(&path).unwrap();
        let before = |at: usize| ends.iter().rposition(|end| *end <= at);
        for at in 0..sound.len() {
            let mut flipped = sound.clone();
            flipped[at] ^= 0x10;
            for bytes in [&flipped, &sound[..at].to_vec()] {
                fs::write(&path, bytes).unwrap();
                match (before(at), read(&path)) {
                    (Some(count), Some((mut log, map))) => {
                        assert_eq!(all(&map), pieces[..count], "byte {at}");
                        // What is added now takes the place of what is damaged.
                        let more = Piece::of(40 * GROUP_BYTES, &[5; 10]);
                        log.append(std::slice::from_ref(&more)).unwrap();
                        assert_eq!(read(&path).unwrap().1.piece_at(40 * GROUP_BYTES), Some(more));
                    }
                    (None, found) => assert!(found.is_none(), "byte {at}"),
                    (Some(_), None) => panic!("byte {at}: nothing is left"),
                }
            }
        }
    }

    #[test]
    fn an_entry_moved_elsewhere_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("map");
        let mut log = Log::begin(Files::default().create(&path).unwrap(), &NAME).unwrap();
        log.append(&[Piece::of(0, b"one")]).unwrap();
        log.append(&[Piece::of(3, b"two")]).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.drain(44..96);
        fs::write(&path, &bytes).unwrap();
        assert!(read(&path).unwrap().1.runs().is_empty());
    }
}
