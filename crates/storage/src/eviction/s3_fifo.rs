//! S3-FIFO (Yang et al., SOSP 2023): a small queue that most objects only pass through, and a main one.
//!
//! ```text
//! new ---------> small (a tenth) --asked for since--> main <--.
//!                   |                              ^   |      | asked for since:
//!                   | not asked for     comes again|   |      | once round more for each time, to three
//!                   v                   before long|   +------'
//!                 leaves --------------------------+   | not asked for
//!                                                      v
//!                                                    leaves
//! ```
//!
//! It differs from the paper in what large objects need: one access in the small queue is enough to stay, as
//! the second one to a large object comes late; nothing is too large for the small queue; and only half as many
//! objects are remembered as are listed. `docs/eviction.md` has the figures. 16 bytes an object, and one to two for
//! what is remembered. That is noted when an object arrives, for its fingerprint is at hand then: what only passes
//! through the small queue leaves in the order in which it came.

use super::ghosts::Ghosts;
use super::slab::{NONE, Slab};
use super::{Eviction, Extent, Ranked};

const SMALL: u8 = 1;
const MAIN: u8 = 2;
/// The main queue gives the victim only while it holds more than this share of all bytes.
const MAIN_TENTHS: u64 = 9;
/// Rounds that an object in the main queue may be spared for.
const SPARED_MAX: u32 = 3;

/// Objects in two queues, in the order of their arrival.
#[derive(Debug)]
pub struct S3Fifo {
    slab: Slab,
    ghosts: Ghosts,
    capacity: u64,
}

impl S3Fifo {
    /// Empty queues that hold at most `capacity` bytes together.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self { slab: Slab::new(), ghosts: Ghosts::new(), capacity }
    }

    fn victim_of_main(&mut self) -> Option<u32> {
        // Ends: each round takes one from the state of every object.
        loop {
            let id = self.slab.oldest(MAIN);
            let state = self.slab.state(id);
            if id == NONE || state == 0 {
                return (id != NONE).then_some(id);
            }
            self.slab.set_state(id, state - 1);
            self.slab.move_to_newest(MAIN, id);
        }
    }
}

impl Eviction for S3Fifo {
    fn insert(&mut self, id: u32, size: u64, fingerprint: u64) {
        self.ghosts.remember(self.slab.len() / 2 + 1);
        if self.ghosts.take(fingerprint) {
            self.slab.insert(MAIN, id, size, 0);
        } else {
            self.ghosts.add(fingerprint);
            self.slab.insert(SMALL, id, size, 0);
        }
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        if self.slab.queue(id) != 0 {
            self.slab.set_state(id, (self.slab.state(id) + 1).min(SPARED_MAX));
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.slab.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.slab.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        loop {
            let small = self.slab.oldest(SMALL);
            let main_is_over = self.slab.bytes(MAIN) > self.slab.used() / 10 * MAIN_TENTHS;
            if (main_is_over || small == NONE)
                && let Some(id) = self.victim_of_main()
            {
                return Some(id);
            }
            if small == NONE || self.slab.state(small) == 0 {
                return (small != NONE).then_some(small);
            }
            self.slab.set_state(small, 0);
            self.slab.move_to_newest(MAIN, small);
        }
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.slab.size(id)
    }

    fn extent(&self) -> Extent {
        self.slab.extent(self.capacity)
    }

    fn memory_bytes(&self) -> usize {
        self.slab.memory_bytes() + self.ghosts.memory_bytes()
    }
}

/// A rank is the queue, and above it the rounds to be spared for. What has left is not remembered.
impl Ranked for S3Fifo {
    fn rewind(&mut self) {
        self.slab.rewind();
    }

    fn next_rank(&mut self) -> Option<(u32, u32)> {
        let id = self.slab.walk()?;
        Some((id, u32::from(self.slab.queue(id)) | self.slab.state(id) << 2))
    }

    fn restore(&mut self, id: u32, _fingerprint: u64, rank: u32) {
        self.slab.move_to_oldest(if rank & 3 == u32::from(MAIN) { MAIN } else { SMALL }, id);
        self.slab.set_state(id, (rank >> 2).min(SPARED_MAX));
    }

    fn uses(&self, id: u32) -> u32 {
        u32::from(self.slab.queue(id)) + self.slab.state(id)
    }

    fn adopt(&mut self, id: u32, size: u64, uses: u32) {
        self.slab.insert(if uses > 1 { MAIN } else { SMALL }, id, size, 0);
    }
}
