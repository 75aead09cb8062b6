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
//! is proved against it the first time it is read through an open blob. A tree that is damaged or missing beside a
//! sound body is made anew from it. Smaller blobs are proved whole, once since the start as long as a bounded set
//! remembers them. Who owns a blob is the writer's business; a reader that has it open keeps it even when it is
//! unlinked.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use larder_policy::CacheKey;
use lru::LruCache;
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::condemned::Condemned;
use crate::digest::{BlobDigest, Digester, Groups, group_count, root_of};
use crate::directory::{Fingerprint, Place, VariantTag};
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::layout::{Layout, TempFile};
use crate::options::{PROVE_WHOLE, Verify};
use crate::pool::{LARGE, Pool};
use crate::record::{BodyFile, Reader, RecordFault};
use crate::sharded::{SHARDS, Sharded};
use crate::stats::Counters;
use crate::stored::Core;

const TREE_MAGIC: [u8; 8] = *b"LARTREE\x01";
/// Blobs that stay open for reading.
const OPEN_BLOBS: usize = 256;
/// Bytes of chaining values that stay in memory with them.
const OPEN_WEIGHT: usize = 16 << 20;
/// Small blobs that are known to have been proved since the start: some 3 MiB of memory when full.
const PROVED: usize = 64 * 1024;
/// Trees of bodies up to this length are read and proved on the caller's thread when they are in the page cache: 256 values
/// take some 25 microseconds.
const TREE_AT_ONCE: u64 = 16 << 20;
/// A blob could not be opened, but would another time.
const SHORTAGE: io::ErrorKind = io::ErrorKind::OutOfMemory;
/// What a file takes on disk is counted in blocks of this size.
pub(crate) const BLOCK: u64 = 4096;

/// What readers tell the writer. It may be lost: a hit then counts for nothing, damage is found again.
#[derive(Debug)]
pub(crate) enum Hint {
    /// A variant was asked for.
    Touch(Fingerprint, VariantTag),
    /// The blob of this record is not what it was, or is gone.
    BadBlob(Owner),
    /// The tree of this blob, made anew.
    Tree(BlobDigest, TempFile),
    /// The record at this place cannot be used: dead, gone, or damaged as told.
    BadRecord(Fingerprint, Place, Option<RecordFault>),
}

/// A record that names a blob or a partial.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) key: CacheKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) variant: VariantTag,
    pub(crate) file: BodyFile,
    /// Of the record. One that came later may name the same body, fetched anew.
    pub(crate) sequence: u64,
}

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// Only what is in the page cache, on the caller's thread.
    Resident,
    /// On a thread that may block.
    Blocking,
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
    pub(crate) verify: Verify,
    open: Sharded<OpenSet>,
    /// Digest prefixes of small blobs that were proved.
    proved: Sharded<LruCache<u64, ()>>,
    /// Held while a tree is made anew, so that no two readers do it.
    mending: Mutex<()>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: Arc<Counters>,
    /// Blobs and partials that are reported as bad.
    pub(crate) condemned: Condemned,
    hints: mpsc::Sender<Hint>,
}

#[derive(Debug)]
struct OpenSet {
    blobs: LruCache<BlobDigest, Arc<OpenBlob>>,
    weight: usize,
}

impl Blobs {
    pub(crate) fn new(
        layout: Arc<Layout>,
        verify: Verify,
        counters: Arc<Counters>,
        hints: mpsc::Sender<Hint>,
    ) -> Self {
        let bound = |most: usize| NonZeroUsize::new(most / SHARDS).unwrap_or(NonZeroUsize::MIN);
        let open = Sharded::new(|| OpenSet { blobs: LruCache::new(bound(OPEN_BLOBS)), weight: 0 });
        let proved = Sharded::new(|| {
            // Not `new`, which takes the memory for all of them at once.
            let mut proved = LruCache::unbounded();
            proved.resize(bound(PROVED));
            proved
        });
        let mending = Mutex::default();
        let (pool, condemned) = (Arc::default(), Condemned::default());
        Self { layout, verify, open, proved, mending, pool, counters, condemned, hints }
    }

    /// The blob, if it is open already.
    pub(crate) fn cached(&self, digest: &BlobDigest) -> Option<Arc<OpenBlob>> {
        self.open.lock(digest.prefix()).blobs.get(digest).cloned()
    }

    /// Opens a blob with a tree, proves the tree, and keeps it open for the next reader. `None` when that would block and must
    /// not.
    pub(crate) fn open(
        &self,
        digest: &BlobDigest,
        len: u64,
        reading: Reading,
    ) -> Result<Option<Arc<OpenBlob>>, ReadError> {
        if let Some(blob) = self.cached(digest) {
            return Ok(Some(blob));
        }
        if reading == Reading::Resident && len > TREE_AT_ONCE {
            return Ok(None);
        }
        let Some(file) = self.open_file(digest, len, reading)? else { return Ok(None) };
        let groups = match (self.verify, reading) {
            (Verify::ScrubOnly, _) => Groups::new(Verify::ScrubOnly, []),
            (_, Reading::Resident) => match self.resident_tree(digest, len) {
                Some(groups) => groups,
                None => return Ok(None),
            },
            (_, Reading::Blocking) => {
                let tree = self.layout.files().read(&self.layout.tree(digest));
                match tree.ok().and_then(|tree| self.decode_tree(&tree, digest, len)) {
                    Some(groups) => groups,
                    None => return self.mend(digest, len, file).map(Some),
                }
            }
        };
        Ok(Some(self.keep_open(digest, file, groups)))
    }

    fn keep_open(&self, digest: &BlobDigest, file: StoreFile, groups: Groups) -> Arc<OpenBlob> {
        let blob = Arc::new(OpenBlob { file: Arc::new(file), groups: Arc::new(groups) });
        self.open.lock(digest.prefix()).add(*digest, blob.clone());
        blob
    }

    /// Opens a blob's file, which must have the right length.
    pub(crate) fn open_file(
        &self,
        digest: &BlobDigest,
        len: u64,
        reading: Reading,
    ) -> Result<Option<StoreFile>, ReadError> {
        let path = self.layout.blob(digest);
        let file = match reading {
            Reading::Resident => self.layout.files().open_resident(&path),
            Reading::Blocking => self.layout.files().open(&path).map(Some),
        };
        let Some(file) = file.map_err(unreadable(digest))? else { return Ok(None) };
        if file.len().map_err(unreadable(digest))? != len {
            return Err(ReadError::Damaged { digest: *digest, offset: len });
        }
        Ok(Some(file))
    }

    fn resident_tree(&self, digest: &BlobDigest, len: u64) -> Option<Groups> {
        let file = self.layout.files().open_resident(&self.layout.tree(digest)).ok().flatten()?;
        let mut tree = vec![0; usize::try_from(file.len().ok()?.min(16 + 32 * group_count(len))).ok()?];
        let read = file.read_resident(&mut tree, 0);
        self.decode_tree(tree.get(..read)?, digest, len)
    }

    fn decode_tree(&self, tree: &[u8], digest: &BlobDigest, len: u64) -> Option<Groups> {
        decode_tree(tree, digest, len).map(|values| Groups::new(self.verify, values))
    }

    /// The tree is not what it was: reads the body, and where that is sound has the tree written anew. Blocks for as long
    /// as reading it takes.
    fn mend(&self, digest: &BlobDigest, len: u64, file: StoreFile) -> Result<Arc<OpenBlob>, ReadError> {
        let _one_at_a_time = lock(&self.mending);
        if let Some(blob) = self.cached(digest) {
            return Ok(blob);
        }
        let values = self.prove_file(&file, digest, len, |_| Ok(()))?;
        self.write_new_tree(digest, len, &values);
        Ok(self.keep_open(digest, file, Groups::new(self.verify, values)))
    }

    /// Has the tree of a sound body written anew.
    pub(crate) fn write_new_tree(&self, digest: &BlobDigest, len: u64, values: &[[u8; 32]]) {
        self.counters.mended.add(1);
        tracing::warn!(%digest, "the tree of a sound body was damaged or missing and is made anew");
        match write_tree(&self.layout, len, values) {
            Ok(tree) => self.hint(Hint::Tree(*digest, tree)),
            Err(error) => {
                tracing::debug!(%digest, %error, "the tree cannot be written; the next start makes it again")
            }
        }
    }

    pub(crate) fn has_sound_tree(&self, digest: &BlobDigest, len: u64) -> bool {
        let tree = self.layout.files().read(&self.layout.tree(digest));
        tree.is_ok_and(|tree| decode_tree(&tree, digest, len).is_some())
    }

    /// Reads a whole file against its digest, and returns the values of its groups. `step` is told how many bytes each step has
    /// read, and may end it. Blocks.
    pub(crate) fn prove_file(
        &self,
        file: &StoreFile,
        digest: &BlobDigest,
        len: u64,
        mut step: impl FnMut(u64) -> Result<(), ReadError>,
    ) -> Result<Vec<[u8; 32]>, ReadError> {
        let mut digester = Digester::new();
        let mut buffer = self.pool.take(LARGE);
        let mut at = 0;
        while at < len {
            let read = file.read_full(buffer.as_mut(), at).map_err(unreadable(digest))?;
            if read == 0 {
                break;
            }
            digester.update(buffer.as_ref().get(..read).unwrap_or(&[]));
            at += read as u64;
            step(read as u64)?;
        }
        let (found, values) = digester.finish();
        if at != len || found != *digest {
            return Err(ReadError::Damaged { digest: *digest, offset: 0 });
        }
        Ok(values)
    }

    /// Reads a small blob and proves it whole, unless that was done since the start. `None` when that would block and must
    /// not. What is in the page cache takes the caller some 100 microseconds at the most, for 256 KiB to copy and to hash.
    pub(crate) fn read_whole(
        &self,
        digest: &BlobDigest,
        len: u64,
        reading: Reading,
    ) -> Result<Option<Bytes>, ReadError> {
        let damaged = ReadError::Damaged { digest: *digest, offset: 0 };
        let Some(size) = usize::try_from(len).ok().filter(|_| len <= PROVE_WHOLE) else {
            return Err(damaged);
        };
        let Some(file) = self.open_file(digest, len, reading)? else { return Ok(None) };
        let mut body = vec![0; size];
        let read = match reading {
            Reading::Resident => file.read_resident(&mut body, 0),
            Reading::Blocking => file.read_full(&mut body, 0).map_err(unreadable(digest))?,
        };
        if read != size {
            return if reading == Reading::Resident { Ok(None) } else { Err(damaged) };
        }
        if !self.needs_proof(digest) {
            return Ok(Some(body.into()));
        }
        if BlobDigest::of(&body) != *digest {
            return Err(damaged);
        }
        self.proved.lock(digest.prefix()).put(digest.prefix(), ());
        Ok(Some(body.into()))
    }

    fn needs_proof(&self, digest: &BlobDigest) -> bool {
        match self.verify {
            Verify::FirstRead => self.proved.lock(digest.prefix()).get(&digest.prefix()).is_none(),
            Verify::Always => true,
            Verify::ScrubOnly => false,
        }
    }

    /// The blob was unlinked or replaced: the next reader opens it anew.
    pub(crate) fn forget(&self, digest: &BlobDigest) {
        self.open.lock(digest.prefix()).remove(digest);
        self.proved.lock(digest.prefix()).pop(&digest.prefix());
    }

    pub(crate) fn hint(&self, hint: Hint) {
        // Full or closed: hints may be lost.
        let _ = self.hints.try_send(hint);
    }

    /// Tells the writer that a body is bad; nobody is given it from now on.
    pub(crate) fn condemn(&self, owner: Owner) {
        let name = owner.file.name;
        self.condemned.add(name);
        if self.hints.try_send(Hint::BadBlob(owner)).is_err() {
            // The next reader finds it again.
            self.condemned.heard(&name);
        }
    }

    /// Has a response removed of which the body cannot be read any more. The writer counts and logs it, once. A shortage
    /// of this process is no reason.
    pub(crate) fn report(&self, core: &Arc<Core>, error: &ReadError) {
        tracing::debug!(%error, "a stored body cannot be used");
        if matches!(error, ReadError::Unreadable { kind: SHORTAGE, .. }) {
            self.counters.read_errors.add(1);
            return;
        }
        let (fingerprint, variant) = (core.fingerprint, core.variant);
        let (key, file, sequence) = (core.key.clone(), core.file(), core.sequence());
        self.condemn(Owner { key, fingerprint, variant, file, sequence });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unreadable(digest: &BlobDigest) -> impl Fn(io::Error) -> ReadError {
    let digest = *digest;
    move |error| {
        // Too few descriptors say nothing about the blob; the standard library has no word for it.
        let short = [Errno::MFILE, Errno::NFILE]
            .map(|errno| Some(errno.raw_os_error()))
            .contains(&error.raw_os_error());
        let kind = if short { SHORTAGE } else { error.kind() };
        ReadError::Unreadable { digest, kind }
    }
}

impl OpenSet {
    fn add(&mut self, digest: BlobDigest, blob: Arc<OpenBlob>) {
        self.weight += blob.groups.weight();
        if let Some((_, before)) = self.blobs.push(digest, blob) {
            self.weight = self.weight.saturating_sub(before.groups.weight());
        }
        while self.weight > OPEN_WEIGHT / SHARDS && self.blobs.len() > 1 {
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

/// The proved values of a tree; `None` when it is not the tree of this body.
pub(crate) fn decode_tree(tree: &[u8], digest: &BlobDigest, len: u64) -> Option<Vec<[u8; 32]>> {
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
    Some(values.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

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
