//! Figures about a store: counters that its parts add to, and the snapshot that callers see.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::eviction::Policy;

/// A number that only grows, or one that is set; read without any order towards others.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted off the hit path. Memory hits are counted under the lock of their shard instead.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) disk_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) stored: Counter,
    pub(crate) relayed: Counter,
    pub(crate) digest_mismatches: Counter,
    pub(crate) evicted: Counter,
    pub(crate) removed: Counter,
    pub(crate) compacted: Counter,
    pub(crate) damaged: Counter,
    pub(crate) read_errors: Counter,
    pub(crate) write_errors: Counter,
    pub(crate) segment_bytes: Counter,
    pub(crate) dead_bytes: Counter,
    pub(crate) blob_bytes: Counter,
    pub(crate) temp_bytes: Counter,
    /// Of those, such as go into partials that are there already, and stay if the process dies.
    pub(crate) growing_bytes: Counter,
    pub(crate) index_bytes: Counter,
    pub(crate) order_bytes: Counter,
    pub(crate) quarantine_bytes: Counter,
    pub(crate) other_bytes: Counter,
    pub(crate) quarantined: Counter,
    pub(crate) mended: Counter,
    pub(crate) limit_now: Counter,
    pub(crate) scrubbed_bytes: Counter,
    pub(crate) scrub_pass_bytes: Counter,
    pub(crate) scrub_passes: Counter,
    pub(crate) scrub_damaged: Counter,
}

impl Counters {
    /// Allocated bytes of everything in the directory, and of what is about to be.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let parts = [
            &self.segment_bytes,
            &self.blob_bytes,
            &self.temp_bytes,
            &self.index_bytes,
            &self.order_bytes,
            &self.quarantine_bytes,
            &self.other_bytes,
        ];
        parts.into_iter().map(Counter::get).sum()
    }
}

/// How far the index has come since start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum IndexState {
    /// The index is being opened: lookups wait for a moment, then miss.
    Opening,
    /// The index is open and answers; the directory is being loaded from it.
    Loading,
    /// The directory is being rebuilt from the segments: lookups miss what has not been reached yet.
    Rebuilding,
    /// Everything that is stored is known.
    Ready,
}

/// Figures about a store at one moment. Bytes are allocated bytes where disk is meant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Stored responses on disk; variants count one each.
    pub objects: u64,
    /// Everything below on disk together: what the limit holds for.
    pub disk_bytes: u64,
    /// The limit for it.
    pub disk_limit: u64,
    /// The limit for it now: less while others leave too little of the file system free.
    pub disk_limit_now: u64,
    /// Bytes of segment files.
    pub segment_bytes: u64,
    /// Of those, bytes of dead records.
    pub dead_bytes: u64,
    /// Bytes of blobs, their trees and directories.
    pub blob_bytes: u64,
    /// Bytes of bodies being written.
    pub temp_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Bytes of the eviction order that is kept for the next start.
    pub order_bytes: u64,
    /// Bytes of damaged blobs kept for somebody to look at.
    pub quarantine_bytes: u64,
    /// Bytes of the store's own directories and notes.
    pub other_bytes: u64,
    /// Bytes of heads and bodies in the memory tier.
    pub memory_bytes: u64,
    /// The limit for it.
    pub memory_limit: u64,
    /// Cache keys in the memory tier.
    pub memory_objects: u64,
    /// Bytes of memory of the directory.
    pub directory_bytes: u64,
    /// How the memory tier chooses what leaves.
    pub memory_eviction: Policy,
    /// How the disk tier does.
    pub eviction: Policy,
    /// Lookups answered from memory.
    pub memory_hits: u64,
    /// Lookups answered from disk.
    pub disk_hits: u64,
    /// Lookups that found nothing.
    pub misses: u64,
    /// Responses stored since start.
    pub stored: u64,
    /// Bodies that were passed on and not stored since start.
    pub relayed: u64,
    /// Of the bodies not stored, those that did not have the digest they should have.
    pub digest_mismatches: u64,
    /// Responses evicted for room.
    pub evicted: u64,
    /// Responses removed or replaced.
    pub removed: u64,
    /// Segments compacted.
    pub compacted: u64,
    /// Records and bodies found damaged and dropped.
    pub damaged: u64,
    /// Damaged blobs moved to the quarantine since start.
    pub quarantined: u64,
    /// Damaged or missing trees beside sound bodies that were made anew.
    pub mended: u64,
    /// Bytes that the scrub has read since start.
    pub scrubbed_bytes: u64,
    /// Of those, bytes of the scrub that is going on; zero between two.
    pub scrub_pass_bytes: u64,
    /// Scrubs of everything that came to their end since start.
    pub scrub_passes: u64,
    /// Damage that the scrub found since start.
    pub scrub_damaged: u64,
    /// Whether bodies are being stored: not for a while after the disk has refused, nor while others fill it.
    pub storing: bool,
    /// Reads that failed without saying anything about the bytes.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// How far the index has come.
    pub index: IndexState,
}
