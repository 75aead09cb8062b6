//! An order that follows whichever algorithm does best on the requests that it sees.
//!
//! Each algorithm has a cache of the same size in miniature, to which the same objects come. All are compared
//! window by window, and the order changes when another has clearly done better for a while: see `shadow::Chooser` for
//! what that means, and [`Following`] for how the order changes without anything leaving for it.
//!
//! This is what the simulator replays. The store has the same parts, but one miniature for all shards of a tier, which
//! is fed off the path of a hit.

use super::{Aim, Algorithm, Eviction, Extent, Following};
use crate::shadow::{Chooser, Miniature, OBJECTS, WINDOW};

/// See the module.
#[derive(Debug)]
pub struct Auto {
    order: Following,
    shadow: Miniature,
    chooser: Chooser,
    /// Requests to the end of the window.
    left: usize,
    changes: u64,
}

impl Auto {
    /// An empty order that holds at most `capacity` bytes.
    #[must_use]
    pub fn new(aim: Aim, capacity: u64) -> Self {
        let first = aim.first();
        Self {
            order: Following::new(first, capacity),
            shadow: Miniature::new(capacity, OBJECTS),
            chooser: Chooser::new(aim, first),
            left: WINDOW,
            changes: 0,
        }
    }

    /// The algorithm that it follows.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.order.algorithm()
    }

    /// How often that has changed.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    fn request(&mut self, size: u64, fingerprint: u64) {
        self.shadow.count(1.0, size as f64);
        self.shadow.request(fingerprint, size);
        self.left -= 1;
        if self.left > 0 {
            return;
        }
        self.left = WINDOW.max(self.order.len() / 8);
        let (asked, missed) = self.shadow.take_window();
        if let Some(change) = self.chooser.window(asked, missed) {
            self.order.follow(change.to);
            self.changes += 1;
        }
    }
}

impl Eviction for Auto {
    fn insert(&mut self, id: u32, size: u64, fingerprint: u64) {
        self.request(size, fingerprint);
        self.order.insert(id, size, fingerprint);
    }

    fn access(&mut self, id: u32, fingerprint: u64) {
        if let Some(size) = self.order.size(id) {
            self.request(size, fingerprint);
            self.order.access(id, fingerprint);
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.order.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.order.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        self.order.victim()
    }

    fn evict(&mut self) -> Option<u32> {
        self.order.evict()
    }

    fn admit_into(&mut self, id: u32, size: u64, fingerprint: u64, victims: &mut Vec<u32>) {
        self.request(size, fingerprint);
        self.order.admit_into(id, size, fingerprint, victims);
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.order.size(id)
    }

    fn extent(&self) -> Extent {
        self.order.extent()
    }

    fn memory_bytes(&self) -> usize {
        self.order.memory_bytes() + self.shadow.memory_bytes()
    }
}
