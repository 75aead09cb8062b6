//! What the store's callers, its writer thread and its background threads share.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use larder_policy::{CacheKey, Nominated};
use tokio::sync::watch;

use crate::blob::Blobs;
use crate::directory::{Directory, Fingerprint, VariantTag};
use crate::eviction::{Aim, Policy};
use crate::index::IndexReader;
use crate::layout::Layout;
use crate::memory::Memory;
use crate::options::Options;
use crate::order;
use crate::partial::Partials;
use crate::segment::SegmentFiles;
use crate::shadow::Shadows;
use crate::shortened::Shortened;
use crate::stats::{Counters, IndexState};

/// Seconds for which nothing is stored after the disk has refused.
const STORING_OFF_SECS: u32 = 10;
/// Seconds between two notes of a hit on the same object to the eviction order.
pub(crate) const TOUCH_EVERY: u32 = 4;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) layout: Arc<Layout>,
    pub(crate) keys: Keys,
    pub(crate) directory: Directory,
    pub(crate) memory: Memory,
    pub(crate) shadows: Shadows,
    pub(crate) segments: SegmentFiles,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) partials: Arc<Partials>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) index: IndexReader,
    pub(crate) state: watch::Sender<IndexState>,
    pub(crate) removed: Tombstones,
    pub(crate) shortened: Shortened,
    /// How many walks over the segments need them to stay.
    pub(crate) compaction_holds: AtomicUsize,
    /// The eviction order of the life before is taken up, or there was none.
    pub(crate) order_known: AtomicBool,
    /// The last handle is gone: background work ends.
    pub(crate) closing: AtomicBool,
    /// When the store was opened.
    pub(crate) opened: Instant,
    clock: AtomicU32,
    storing_from: AtomicU32,
    /// The disk has refused something and has taken nothing since.
    refused: AtomicBool,
    /// Others fill the disk.
    crowded: AtomicBool,
    /// Until then failed reads are not logged.
    reads_told_until: AtomicU32,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        layout: Arc<Layout>,
        counters: Arc<Counters>,
        blobs: Arc<Blobs>,
    ) -> Self {
        let keys = Keys::new(layout.hash_key);
        let first = match options.eviction {
            Policy::Fixed(algorithm) => algorithm,
            Policy::Auto => order::written_by(&layout).unwrap_or(Aim::Bytes.first()),
        };
        Self {
            shadows: Shadows::new(&options, first),
            memory: Memory::new(options.memory_limit, options.memory_object_max, options.memory_eviction),
            segments: SegmentFiles::new(layout.clone()),
            directory: Directory::new(),
            partials: Arc::new(Partials::new(layout.clone())),
            index: IndexReader::default(),
            state: watch::Sender::new(IndexState::Opening),
            removed: Tombstones::default(),
            shortened: Shortened::default(),
            compaction_holds: AtomicUsize::new(0),
            order_known: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            opened: Instant::now(),
            clock: AtomicU32::new(1000),
            storing_from: AtomicU32::new(0),
            refused: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            reads_told_until: AtomicU32::new(0),
            options,
            layout,
            keys,
            blobs,
            counters,
        }
    }

    /// Seconds by the writer's clock, which ticks while the store is open. Costs one load.
    pub(crate) fn now(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }

    pub(crate) fn tick(&self, secs: u32) {
        self.clock.store(secs, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.state.borrow() == IndexState::Ready
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether bodies are being stored at all just now.
    pub(crate) fn is_storing(&self) -> bool {
        self.now() >= self.storing_from.load(Ordering::Relaxed) && !self.is_crowded()
    }

    /// The disk refused a write: nothing is stored for a while. Logged once until it takes one again.
    pub(crate) fn write_failed(&self, what: &str, error: &io::Error) {
        self.counters.write_errors.add(1);
        self.storing_from.fetch_max(self.now() + STORING_OFF_SECS, Ordering::Relaxed);
        if self.refused.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "cannot {what}");
        } else {
            tracing::warn!(%error, "cannot {what}: nothing is stored for {STORING_OFF_SECS} seconds, then it is tried again");
        }
    }

    /// The disk took a response: if it had refused others, that is over.
    pub(crate) fn write_worked(&self) {
        if self.refused.load(Ordering::Relaxed)
            && self.is_storing()
            && self.refused.swap(false, Ordering::Relaxed)
        {
            tracing::info!("the disk takes what is stored again");
        }
    }

    /// A read failed, which says nothing about the bytes. Logged once in a while.
    pub(crate) fn read_failed(&self, what: &str, error: &io::Error) {
        self.counters.read_errors.add(1);
        let now = self.now();
        let due = |until| (until <= now).then_some(now + STORING_OFF_SECS);
        if self.reads_told_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok() {
            tracing::warn!(%error, "cannot {what}; more of the same in the next {STORING_OFF_SECS} seconds is only counted");
        }
    }

    /// Whether others fill the disk so that nothing can be stored.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    pub(crate) fn set_crowded(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::Relaxed);
    }
}

/// Makes fingerprints and variant tags, keyed with the store's own secret.
#[derive(Debug)]
pub(crate) struct Keys {
    key: [u8; 32],
    /// Tests make collisions with it.
    #[cfg(test)]
    pub(crate) mask: std::sync::atomic::AtomicU64,
}

impl Keys {
    fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            #[cfg(test)]
            mask: std::sync::atomic::AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn fingerprint(&self, key: &str) -> Fingerprint {
        self.split(&blake3::keyed_hash(&self.key, key.as_bytes())).0
    }

    /// The fingerprint of a key, and the tag of one of its variants.
    ///
    /// The tag depends on the whole hash of the key, so that two keys with one fingerprint still have variants
    /// of their own.
    pub(crate) fn tags(&self, key: &CacheKey, nominated: &Nominated) -> (Fingerprint, VariantTag) {
        let hash = blake3::keyed_hash(&self.key, key.as_str().as_bytes());
        let mut variant = blake3::Hasher::new_keyed(&self.key);
        variant.update(hash.as_bytes()).update(&nominated.to_bytes());
        (self.split(&hash).0, VariantTag(self.split(&variant.finalize()).1))
    }

    fn split(&self, hash: &blake3::Hash) -> (Fingerprint, u32) {
        let (head, rest) = hash.as_bytes().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let print = u64::from_le_bytes(*head);
        #[cfg(test)]
        let print = print & self.mask.load(Ordering::Relaxed);
        let more = rest.first_chunk::<4>().copied().unwrap_or_default();
        (Fingerprint(print), u32::from_le_bytes(more))
    }
}

/// What was removed while not all records were known yet: a record that is found later and has a lower
/// sequence number is dead. Empty once the directory is complete.
#[derive(Debug, Default)]
pub(crate) struct Tombstones(RwLock<HashMap<Fingerprint, u64>>);

impl Tombstones {
    pub(crate) fn add(&self, fingerprint: Fingerprint, below: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(fingerprint, below);
    }

    /// Records under this fingerprint with a lower sequence number are dead.
    pub(crate) fn below(&self, fingerprint: Fingerprint) -> Option<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&fingerprint).copied()
    }

    pub(crate) fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
    }
}
