//! Bodies of which only some ranges are here: a sparse file, and the interval map that proves what is in it.
//!
//! ```text
//! partials/<name>       the bytes, each at its position in the representation, and holes
//! partials/<name>.map   which of them are here, see `log`
//! ```
//!
//! A partial belongs to one stored response, whose record names it; the name is random and never used again. Bytes are written
//! before the map names them, and each is written once: what is here never changes. So readers go on beside writers, and when
//! the files are unlinked. Every piece is proved each time that it is read. A partial that has every byte becomes a blob: its
//! chaining values are those of the blob's tree.

mod log;
mod map;
mod open;
mod write;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use blake3::hazmat::ChainingValue;
use bytes::Bytes;
use larder_policy::Runs;

use crate::blob::{BLOCK, file_blocks};
use crate::digest::{BlobDigest, GROUP_BYTES, group_count, root_of};
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::pool::{LARGE, Pool};
use crate::stored::slice;

use log::Log;
use map::{Map, Piece, by_group};

pub(crate) use open::Partials;
pub(crate) use write::{FreshPartial, PartWriter};

/// Ragged pieces that a partial may have before nothing more is added to it.
const RAGGED_MAX: usize = 4096;

/// A partial that is open.
#[derive(Debug)]
pub(crate) struct Partial {
    name: BlobDigest,
    file: Arc<StoreFile>,
    map: RwLock<Map>,
    /// Held while bytes are added.
    log: Mutex<Log>,
    /// Length of it in bytes.
    log_len: AtomicU64,
}

impl Partial {
    fn new(name: BlobDigest, file: Arc<StoreFile>, log: Log, map: Map) -> Arc<Self> {
        let log_len = AtomicU64::new(log.len());
        Arc::new(Self { name, file, map: RwLock::new(map), log: Mutex::new(log), log_len })
    }

    pub(crate) const fn name(&self) -> BlobDigest {
        self.name
    }

    /// Its bytes, and holes.
    pub(crate) fn file(&self) -> &StoreFile {
        &self.file
    }

    /// What is here now.
    pub(crate) fn runs(&self) -> Arc<Runs> {
        self.read_map(|map| map.runs().clone())
    }

    /// Whether it is in too many pieces for more.
    pub(crate) fn is_ragged(&self) -> bool {
        self.read_map(Map::ragged) >= RAGGED_MAX
    }

    /// Blocks that its files take on disk now: holes take none, and what a killed fill wrote that the map does not name does.
    /// A file system that allocates late is not believed to have taken less than what is here.
    pub(crate) fn blocks(&self) -> u32 {
        let taken = file_blocks(self.file.allocated().unwrap_or(0));
        let blocks = data_blocks(&self.runs()).max(taken) + file_blocks(self.log_len.load(Ordering::Relaxed));
        u32::try_from(blocks).unwrap_or(u32::MAX).max(1)
    }

    /// Bytes of memory that it takes.
    fn weight(&self) -> usize {
        self.read_map(Map::weight)
    }

    fn read_map<T>(&self, read: impl FnOnce(&Map) -> T) -> T {
        read(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads and proves at least one byte of `range`, from its start on.
    ///
    /// # Errors
    ///
    /// The bytes are not what they were, cannot be read, or are not here.
    pub(crate) async fn read(
        self: &Arc<Self>,
        range: Range<u64>,
        pool: &Arc<Pool>,
    ) -> Result<Bytes, ReadError> {
        let most = LARGE / GROUP_BYTES as usize;
        let pieces = self.read_map(|map| map.pieces(range.clone(), most));
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
            return Err(ReadError::Aborted);
        };
        let whole = first.range.start..last.range.end;
        let len = usize::try_from(whole.end - whole.start).unwrap_or(0);
        let mut buffer = pool.take(len);
        let resident = self.file.read_resident(buffer.as_mut(), whole.start) == len;
        let buffer = if resident {
            self.prove(&pieces, buffer.as_ref())?;
            buffer
        } else {
            let (this, start) = (self.clone(), whole.start);
            let job = move || {
                this.fill(buffer.as_mut(), start)?;
                this.prove(&pieces, buffer.as_ref()).map(|()| buffer)
            };
            tokio::task::spawn_blocking(job)
                .await
                .unwrap_or_else(|_| Err(self.unreadable(io::ErrorKind::Other)))?
        };
        Ok(slice(&buffer.freeze(), range.start - whole.start, range.end.min(whole.end) - whole.start))
    }

    /// Reads and proves the bytes of one run. Blocks.
    fn read_run(&self, range: Range<u64>, mut each: impl FnMut(&[u8])) -> Result<(), ReadError> {
        let mut buffer = vec![0; GROUP_BYTES as usize];
        let mut at = range.start;
        while at < range.end {
            let piece = self.read_map(|map| map.piece_at(at)).ok_or(ReadError::Aborted)?;
            let len = usize::try_from(piece.range.end - piece.range.start).unwrap_or(0);
            let Some(bytes) = buffer.get_mut(..len) else { return Err(ReadError::Aborted) };
            self.fill(bytes, piece.range.start)?;
            self.prove(std::slice::from_ref(&piece), bytes)?;
            let from = usize::try_from(at - piece.range.start).unwrap_or(0);
            let to = usize::try_from(range.end.min(piece.range.end) - piece.range.start).unwrap_or(0);
            each(bytes.get(from..to).unwrap_or(&[]));
            at = piece.range.end;
        }
        Ok(())
    }

    /// Reads and proves all that is here, for whoever checks the store, and returns how many bytes that are. `step` is told how
    /// many each step has read, and may end it. Blocks.
    pub(crate) fn prove_all(
        &self,
        mut step: impl FnMut(u64) -> Result<(), ReadError>,
    ) -> Result<u64, ReadError> {
        let runs = self.runs();
        for part in runs.iter().flat_map(by_group) {
            let bytes = part.end - part.start;
            self.read_run(part, |_| {})?;
            step(bytes)?;
        }
        Ok(runs.bytes())
    }

    /// Reads and proves all of a body of `len` bytes. Blocks.
    pub(crate) fn read_all(&self, len: u64, each: impl FnMut(&[u8])) -> Result<(), ReadError> {
        self.read_run(0..len, each)
    }

    /// Digest and chaining values of the whole body of `len` bytes; `None` when some of it is not here. Only a group that is
    /// not here as one piece, at most the last, is read. Blocks.
    pub(crate) fn digest(&self, len: u64) -> Result<Option<(BlobDigest, Vec<ChainingValue>)>, ReadError> {
        if !self.runs().covers(&(0..len)) {
            return Ok(None);
        }
        let mut values = Vec::new();
        for group in 0..group_count(len) {
            let known = self.read_map(|map| map.value(group));
            let value = match known {
                Some(value) => value,
                None => {
                    let start = group * GROUP_BYTES;
                    let mut bytes = Vec::new();
                    self.read_run(start..len.min(start + GROUP_BYTES), |part| bytes.extend_from_slice(part))?;
                    crate::digest::chaining_value(start, &bytes)
                }
            };
            values.push(value);
        }
        let digest = match root_of(&values) {
            Some(digest) => digest,
            None => {
                let mut bytes = Vec::new();
                self.read_all(len, |part| bytes.extend_from_slice(part))?;
                BlobDigest::of(&bytes)
            }
        };
        Ok(Some((digest, values)))
    }

    fn fill(&self, buffer: &mut [u8], at: u64) -> Result<(), ReadError> {
        match self.file.read_full(buffer, at) {
            Ok(read) if read == buffer.len() => Ok(()),
            Ok(read) => Err(ReadError::Damaged { digest: self.name, offset: at + read as u64 }),
            Err(error) => Err(self.unreadable(error.kind())),
        }
    }

    /// Whether these bytes are the pieces, which lie one behind the other.
    fn prove(&self, pieces: &[Piece], mut bytes: &[u8]) -> Result<(), ReadError> {
        for piece in pieces {
            let len = usize::try_from(piece.range.end - piece.range.start).unwrap_or(usize::MAX);
            let proved = bytes.split_at_checked(len).filter(|(of_piece, _)| piece.proves(of_piece));
            let Some((_, rest)) = proved else {
                return Err(ReadError::Damaged { digest: self.name, offset: piece.range.start });
            };
            bytes = rest;
        }
        Ok(())
    }

    const fn unreadable(&self, kind: io::ErrorKind) -> ReadError {
        ReadError::Unreadable { digest: self.name, kind }
    }
}

/// Blocks of a sparse file in which these bytes are.
pub(crate) fn data_blocks(runs: &Runs) -> u64 {
    let (mut blocks, mut counted) = (0, 0);
    for run in runs.iter() {
        let (first, end) = ((run.start / BLOCK).max(counted), run.end.div_ceil(BLOCK));
        blocks += end.saturating_sub(first);
        counted = end;
    }
    blocks
}
