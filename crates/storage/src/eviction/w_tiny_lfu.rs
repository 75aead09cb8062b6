//! W-TinyLFU (Einziger, Friedman and Manes, 2017): a newcomer stays only if it is asked for as often as whoever would
//! leave for it.
//!
//! ```text
//! new --> window (a hundredth, LRU) --wins--> probation --asked for--> protected (four fifths, LRU)
//!              | loses                            | <--longest unused------+
//!              v leaves                           v leaves
//! ```
//!
//! When somebody must leave and the window is above its share, its oldest is the candidate and is compared with the oldest
//! on probation: the one that was asked for less often leaves; of equals, the candidate stays, since what is large is
//! rarely asked for twice before it is judged. There is no bound on the size of a candidate. Whoever comes while nobody
//! must leave is not judged: the window lets go of it when it has grown by an eighth.
//!
//! 16 bytes an object, which carries its own count, and two to four for the sketch of all that were asked for.

use super::sketch::{COUNT_MAX, Sketch};
use super::slab::{NONE, Slab};
use super::{Eviction, Extent, Ranked};

const WINDOW: u8 = 1;
const PROBATION: u8 = 2;
const PROTECTED: u8 = 3;
/// A state is the count in its low bits and above it the epoch in which it was counted.
const COUNT_BITS: u32 = 4;
const EPOCH_MASK: u32 = 0xff;

/// Objects in three queues, and how often all were asked for.
#[derive(Debug)]
pub struct WTinyLfu {
    slab: Slab,
    sketch: Sketch,
    /// How often all counts were halved, in eight bits.
    epoch: u32,
    capacity: u64,
}

impl WTinyLfu {
    /// Empty queues that hold at most `capacity` bytes together.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self { slab: Slab::new(), sketch: Sketch::new(), epoch: 0, capacity }
    }

    fn note_request(&mut self, fingerprint: u64) {
        if self.sketch.increment(fingerprint, self.slab.len()) {
            self.epoch = (self.epoch + 1) & EPOCH_MASK;
        }
    }

    fn count(&self, id: u32) -> u32 {
        let state = self.slab.state(id);
        let halved = self.epoch.wrapping_sub(state >> COUNT_BITS) & EPOCH_MASK;
        (state & COUNT_MAX) >> halved.min(COUNT_BITS)
    }

    fn set_count(&mut self, id: u32, count: u32) {
        self.slab.set_state(id, count.min(COUNT_MAX) | self.epoch << COUNT_BITS);
    }

    fn window_share(&self) -> u64 {
        self.slab.used() / 100
    }

    fn protect(&mut self, id: u32) {
        self.slab.move_to_newest(PROTECTED, id);
        loop {
            let protected = self.slab.bytes(PROTECTED);
            let most = (protected + self.slab.bytes(PROBATION)) / 5 * 4;
            let oldest = self.slab.oldest(PROTECTED);
            if protected <= most || oldest == id {
                return;
            }
            self.slab.move_to_newest(PROBATION, oldest);
        }
    }
}

impl Eviction for WTinyLfu {
    fn insert(&mut self, id: u32, size: u64, fingerprint: u64) {
        self.sketch.widen(self.slab.len() + 1);
        self.note_request(fingerprint);
        self.slab.insert(WINDOW, id, size, 0);
        self.set_count(id, self.sketch.estimate(fingerprint));
        let most = self.window_share() + self.slab.used() / 8;
        while self.slab.bytes(WINDOW) > most && self.slab.oldest(WINDOW) != id {
            self.slab.move_to_newest(PROBATION, self.slab.oldest(WINDOW));
        }
    }

    fn access(&mut self, id: u32, fingerprint: u64) {
        let queue = self.slab.queue(id);
        if queue == 0 {
            return;
        }
        self.note_request(fingerprint);
        self.set_count(id, self.count(id) + 1);
        match queue {
            PROBATION => self.protect(id),
            queue => self.slab.move_to_newest(queue, id),
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.slab.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.slab.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        let candidate = self.slab.oldest(WINDOW);
        let victim = match self.slab.oldest(PROBATION) {
            NONE => self.slab.oldest(PROTECTED),
            id => id,
        };
        if victim == NONE {
            return (candidate != NONE).then_some(candidate);
        }
        if self.slab.bytes(WINDOW) <= self.window_share() {
            return Some(victim);
        }
        if self.count(candidate) < self.count(victim) {
            return Some(candidate);
        }
        self.slab.move_to_newest(PROBATION, candidate);
        Some(victim)
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.slab.size(id)
    }

    fn extent(&self) -> Extent {
        self.slab.extent(self.capacity)
    }

    fn memory_bytes(&self) -> usize {
        self.slab.memory_bytes() + self.sketch.memory_bytes()
    }
}

/// A rank is the queue, and above it the count. Of what has left, no count is kept.
impl Ranked for WTinyLfu {
    fn rewind(&mut self) {
        self.slab.rewind();
    }

    fn next_rank(&mut self) -> Option<(u32, u32)> {
        let id = self.slab.walk()?;
        Some((id, u32::from(self.slab.queue(id)) | self.count(id) << 2))
    }

    fn restore(&mut self, id: u32, fingerprint: u64, rank: u32) {
        let queue = (rank & 3) as u8;
        let count = (rank >> 2).min(COUNT_MAX);
        self.slab.move_to_oldest(if queue == 0 { WINDOW } else { queue }, id);
        if self.slab.queue(id) != 0 {
            self.set_count(id, count);
            self.sketch.raise(fingerprint, count);
        }
    }

    fn uses(&self, id: u32) -> u32 {
        self.count(id).max(1)
    }

    /// The oldest that were adopted are on probation, as the newest push them out of the protected queue.
    fn adopt(&mut self, id: u32, size: u64, uses: u32) {
        self.sketch.widen(self.slab.len() + 1);
        self.slab.insert(PROBATION, id, size, 0);
        self.set_count(id, uses);
        if uses > 1 {
            self.protect(id);
        }
    }
}
