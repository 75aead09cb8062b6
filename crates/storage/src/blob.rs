//! Bodies that are files of their own, named by their digest and never changed once named so.
//!
//! Beside a blob of more than 256 KiB lies its tree:
//!
//! ```text
//! offset  bytes  what (little-endian)
//!      0      8  "LARTREE" and version 1
//!      8      8  length of the body
//!     16     32  chaining value of each 64 KiB group, in order
//! ```
//!
//! The values merge into the digest, so a tree proves itself when it is opened, and every group of the body
//! is proved against it the first time it is read through an open blob. Who owns a blob is the writer's
//! business; a reader that has it open keeps it even when it is unlinked.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::mpsc;

use crate::digest::{BlobDigest, Groups, group_count, root_of};
use crate::directory::{Fingerprint, Place, VariantTag};
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::layout::{Layout, TempFile};
use crate::options::PROVE_WHOLE;
use crate::pool::Pool;
use crate::record::{Reader, RecordFault};
use crate::stats::Counters;
use crate::stored::Core;

const TREE_MAGIC: [u8; 8] = *b"LARTREE\x01";
/// Blobs that stay open for reading.
const OPEN_BLOBS: usize = 256;
/// Bytes of chaining values that stay in memory with them.
const OPEN_WEIGHT: usize = 16 << 20;
/// What a file takes on disk is counted in blocks of this size.
pub(crate) const BLOCK: u64 = 4096;

/// What readers tell the writer. It may be lost: a hit then counts for nothing, damage is found again.
#[derive(Debug)]
pub(crate) enum Hint {
    /// A variant was asked for.
    Touch(Fingerprint, VariantTag),
    /// The blob of this response is not what it was, or is gone.
    BadBlob(Arc<Core>),
    /// The record at this place cannot be used: dead, gone, or damaged as told.
    BadRecord(Fingerprint, Place, Option<RecordFault>),
}

/// A blob that is open for reading.
#[derive(Debug)]
pub(crate) struct OpenBlob {
    pub(crate) file: Arc<StoreFile>,
    pub(crate) groups: Arc<Groups>,
}

/// All open blobs, and what reading them takes. It outlives the store while a reader is there.
#[derive(Debug)]
pub(crate) struct Blobs {
    layout: Arc<Layout>,
    open: Mutex<OpenSet>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: Arc<Counters>,
    hints: mpsc::Sender<Hint>,
}

#[derive(Debug)]
struct OpenSet {
    blobs: LruCache<BlobDigest, Arc<OpenBlob>>,
    weight: usize,
}

impl Blobs {
    pub(crate) fn new(layout: Arc<Layout>, counters: Arc<Counters>, hints: mpsc::Sender<Hint>) -> Self {
        let bound = NonZeroUsize::new(OPEN_BLOBS).unwrap_or(NonZeroUsize::MIN);
        let open = Mutex::new(OpenSet { blobs: LruCache::new(bound), weight: 0 });
        Self { layout, open, pool: Arc::default(), counters, hints }
    }

    /// The blob, if it is open already.
    pub(crate) fn cached(&self, digest: &BlobDigest) -> Option<Arc<OpenBlob>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).blobs.get(digest).cloned()
    }

    /// Opens a blob with a tree, proves the tree, and keeps it open for the next reader. Blocks.
    pub(crate) fn open(&self, digest: &BlobDigest, len: u64) -> Result<Arc<OpenBlob>, ReadError> {
        if let Some(blob) = self.cached(digest) {
            return Ok(blob);
        }
        let unreadable = |error: io::Error| ReadError::Unreadable { digest: *digest, kind: error.kind() };
        let file = self.layout.files().open(&self.layout.blob(digest)).map_err(unreadable)?;
        if file.len().map_err(unreadable)? != len {
            return Err(ReadError::Damaged { digest: *digest, offset: len });
        }
        let tree = self.layout.files().read(&self.layout.tree(digest)).map_err(unreadable)?;
        let groups =
            decode_tree(&tree, digest, len).ok_or(ReadError::Damaged { digest: *digest, offset: 0 })?;
        let blob = Arc::new(OpenBlob { file: Arc::new(file), groups: Arc::new(groups) });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).add(*digest, blob.clone());
        Ok(blob)
    }

    /// Reads a small blob and proves it whole. Blocks.
    pub(crate) fn read_whole(&self, digest: &BlobDigest, len: u64) -> Result<Bytes, ReadError> {
        let unreadable = |error: io::Error| ReadError::Unreadable { digest: *digest, kind: error.kind() };
        let file = self.layout.files().open(&self.layout.blob(digest)).map_err(unreadable)?;
        let damaged = ReadError::Damaged { digest: *digest, offset: 0 };
        let Some(size) = usize::try_from(len).ok().filter(|_| len <= PROVE_WHOLE) else {
            return Err(damaged);
        };
        // One byte more would show a file that has grown.
        let mut body = vec![0; size + 1];
        let read = file.read_full(&mut body, 0).map_err(unreadable)?;
        body.truncate(read);
        if read != size || BlobDigest::of(&body) != *digest {
            return Err(damaged);
        }
        body.shrink_to_fit();
        Ok(body.into())
    }

    /// The blob was unlinked or replaced: the next reader opens it anew.
    pub(crate) fn forget(&self, digest: &BlobDigest) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    pub(crate) fn hint(&self, hint: Hint) {
        // Full or closed: hints may be lost.
        let _ = self.hints.try_send(hint);
    }

    /// Has a response removed of which the body cannot be read any more. The writer counts and logs it, once.
    pub(crate) fn report(&self, core: &Arc<Core>, error: &ReadError) {
        tracing::debug!(%error, "a stored body cannot be used");
        self.hint(Hint::BadBlob(core.clone()));
    }
}

impl OpenSet {
    fn add(&mut self, digest: BlobDigest, blob: Arc<OpenBlob>) {
        self.weight += blob.groups.weight();
        if let Some((_, before)) = self.blobs.push(digest, blob) {
            self.weight = self.weight.saturating_sub(before.groups.weight());
        }
        while self.weight > OPEN_WEIGHT && self.blobs.len() > 1 {
            let Some((_, oldest)) = self.blobs.pop_lru() else { break };
            self.weight = self.weight.saturating_sub(oldest.groups.weight());
        }
    }

    fn remove(&mut self, digest: &BlobDigest) {
        if let Some(blob) = self.blobs.pop(digest) {
            self.weight = self.weight.saturating_sub(blob.groups.weight());
        }
    }
}

/// Whether a body of this length has a tree beside it.
pub(crate) const fn has_tree(len: u64) -> bool {
    len > PROVE_WHOLE
}

/// Blocks that a file of this length takes, without holes.
pub(crate) const fn file_blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK)
}

/// Blocks that a blob and its tree take, at least one.
pub(crate) fn blob_blocks(len: u64) -> u32 {
    let tree = if has_tree(len) { file_blocks(16 + 32 * group_count(len)) } else { 0 };
    u32::try_from(file_blocks(len) + tree).unwrap_or(u32::MAX).max(1)
}

/// Writes the tree of a body into a temporary file.
pub(crate) fn write_tree(layout: &Layout, len: u64, values: &[[u8; 32]]) -> io::Result<TempFile> {
    let (temp, file) = layout.temp_file()?;
    let mut bytes = Vec::with_capacity(16 + values.len() * 32);
    bytes.extend_from_slice(&TREE_MAGIC);
    bytes.extend_from_slice(&len.to_le_bytes());
    for value in values {
        bytes.extend_from_slice(value);
    }
    file.write_all(&[bytes], 0)?;
    Ok(temp)
}

/// The proved groups of a tree; `None` when it is not the tree of this body.
pub(crate) fn decode_tree(tree: &[u8], digest: &BlobDigest, len: u64) -> Option<Groups> {
    let mut reader = Reader(tree);
    let magic: [u8; 8] = reader.array().ok()?;
    let tree_len = u64::from_le_bytes(reader.array().ok()?);
    if magic != TREE_MAGIC || tree_len != len {
        return None;
    }
    let (values, rest) = reader.0.as_chunks::<32>();
    if !rest.is_empty() || values.len() as u64 != group_count(len) || root_of(values)? != *digest {
        return None;
    }
    Some(Groups::new(values.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digester;

    #[test]
    fn a_tree_proves_itself() {
        let root = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(root.path()).unwrap();
        let body = vec![9; 300_000];
        let mut digester = Digester::new();
        digester.update(&body);
        let (digest, values) = digester.finish();
        let temp = write_tree(&layout, 300_000, &values).unwrap();
        let path = root.path().join("tree");
        temp.rename(&path).unwrap();
        let tree = layout.files().read(&path).unwrap();
        assert!(decode_tree(&tree, &digest, 300_000).is_some());
        for at in 0..tree.len() {
            let mut flipped = tree.clone();
            flipped[at] ^= 0x10;
            assert!(decode_tree(&flipped, &digest, 300_000).is_none(), "byte {at}");
        }
        assert!(decode_tree(&tree[..tree.len() - 32], &digest, 300_000).is_none());
    }

    #[test]
    fn blocks_count_the_tree() {
        assert_eq!(blob_blocks(1), 1);
        assert_eq!(blob_blocks(PROVE_WHOLE), 64);
        assert_eq!(blob_blocks(PROVE_WHOLE + 1), 66);
    }
}
