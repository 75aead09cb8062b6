//! Least recently used: the object that was not asked for longest leaves first.
//!
//! 16 bytes an object. It needs neither fingerprints nor what has left.

use super::slab::{NONE, Slab};
use super::{Eviction, Extent, Ranked};

const ALL: u8 = 1;

/// Objects in the order of their last access.
#[derive(Debug)]
pub struct Lru {
    slab: Slab,
    capacity: u64,
}

impl Lru {
    /// An empty list that holds at most `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { slab: Slab::new(), capacity }
    }
}

impl Eviction for Lru {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        self.slab.insert(ALL, id, size, 0);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        self.slab.move_to_newest(ALL, id);
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.slab.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.slab.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        let id = self.slab.oldest(ALL);
        (id != NONE).then_some(id)
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.slab.size(id)
    }

    fn extent(&self) -> Extent {
        self.slab.extent(self.capacity)
    }

    fn memory_bytes(&self) -> usize {
        self.slab.memory_bytes()
    }
}

/// Its place is all that an object has.
impl Ranked for Lru {
    fn rewind(&mut self) {
        self.slab.rewind();
    }

    fn next_rank(&mut self) -> Option<(u32, u32)> {
        self.slab.walk().map(|id| (id, 0))
    }

    fn restore(&mut self, id: u32, _fingerprint: u64, _rank: u32) {
        self.slab.move_to_oldest(ALL, id);
    }

    /// It is not known, and what has not left is worth keeping.
    fn uses(&self, _id: u32) -> u32 {
        2
    }

    fn adopt(&mut self, id: u32, size: u64, _uses: u32) {
        self.slab.insert(ALL, id, size, 0);
    }
}
