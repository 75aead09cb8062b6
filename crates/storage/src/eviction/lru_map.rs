//! Least recently used, over the `lru` crate: for the memory tier, whose objects are few and heavy.
//!
//! Its victims are those of [`super::Lru`], which a test proves. Unlike the slabs it takes memory for the objects
//! that are listed, not for the highest number, but several times as much for each; and it has no ranks to keep.

use std::hash::{BuildHasherDefault, Hasher};

use lru::LruCache;

use super::slab::SIZE_MAX;
use super::{Eviction, Extent};

/// Objects in the order of their last access.
#[derive(Debug)]
pub struct LruMap {
    sizes: LruCache<u32, u64, BuildHasherDefault<Spread>>,
    used: u64,
    capacity: u64,
}

/// Spreads small numbers over all bits, of which the map uses both ends.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        let mixed = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

impl LruMap {
    /// An empty list that holds at most `capacity` bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self { sizes: LruCache::unbounded_with_hasher(BuildHasherDefault::default()), used: 0, capacity }
    }
}

impl Eviction for LruMap {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        let size = size.min(SIZE_MAX);
        self.sizes.put(id, size);
        self.used += size;
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        self.sizes.promote(&id);
    }

    fn resize(&mut self, id: u32, size: u64) {
        if let Some(listed) = self.sizes.peek_mut(&id) {
            let before = std::mem::replace(listed, size.min(SIZE_MAX));
            self.used = self.used - before + *listed;
        }
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        let size = self.sizes.pop(&id)?;
        self.used -= size;
        Some(size)
    }

    fn victim(&mut self) -> Option<u32> {
        self.sizes.peek_lru().map(|(id, _)| *id)
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.sizes.peek(&id).copied()
    }

    fn extent(&self) -> Extent {
        Extent { objects: self.sizes.len(), used: self.used, capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        // A node with its links, key and size, and a slot of the table for each.
        self.sizes.len() * (size_of::<(u32, u64, usize, usize)>() + 2 * size_of::<usize>() + 1)
    }
}
