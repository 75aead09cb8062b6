//! SIEVE (Zhang et al., NSDI 2024): a queue in order of arrival, and a hand that spares what was asked for.
//!
//! An access only sets a bit. The hand goes from the oldest to the newest and round again; what has its bit
//! loses it and stays where it is, the first without one leaves. 16 bytes an object.

use super::slab::{NONE, Slab};
use super::{Eviction, Extent, Ranked};

const ALL: u8 = 1;
const VISITED: u32 = 1;
/// In a rank: the hand is here.
const HAND: u32 = 2;

/// Objects in the order of their arrival, and the hand.
#[derive(Debug)]
pub struct Sieve {
    slab: Slab,
    /// The next object to be judged; none means the oldest.
    hand: u32,
    capacity: u64,
}

impl Sieve {
    /// An empty queue that holds at most `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { slab: Slab::new(), hand: NONE, capacity }
    }

    fn move_hand_off(&mut self, id: u32) {
        if self.hand == id {
            self.hand = self.slab.newer(id);
        }
    }
}

impl Eviction for Sieve {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        self.slab.insert(ALL, id, size, 0);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        if self.slab.queue(id) != 0 {
            self.slab.set_state(id, VISITED);
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.slab.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.move_hand_off(id);
        self.slab.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        // Ends after one round: the first object that lost its bit has none.
        loop {
            if self.hand == NONE {
                self.hand = self.slab.oldest(ALL);
            }
            if self.slab.state(self.hand) != VISITED {
                return (self.hand != NONE).then_some(self.hand);
            }
            self.slab.set_state(self.hand, 0);
            self.hand = self.slab.newer(self.hand);
        }
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

/// A rank is the bit, and whether the hand is here.
impl Ranked for Sieve {
    fn rewind(&mut self) {
        self.slab.rewind();
    }

    fn next_rank(&mut self) -> Option<(u32, u32)> {
        let id = self.slab.walk()?;
        let hand = if self.hand == id { HAND } else { 0 };
        Some((id, self.slab.state(id) | hand))
    }

    fn restore(&mut self, id: u32, _fingerprint: u64, rank: u32) {
        if self.slab.queue(id) == 0 {
            return;
        }
        self.move_hand_off(id);
        self.slab.move_to_oldest(ALL, id);
        self.slab.set_state(id, rank & VISITED);
        if rank & HAND != 0 {
            self.hand = id;
        }
    }

    /// What the hand has spared and what it has not come to yet look alike.
    fn uses(&self, id: u32) -> u32 {
        2 + self.slab.state(id)
    }

    fn adopt(&mut self, id: u32, size: u64, _uses: u32) {
        self.slab.insert(ALL, id, size, 0);
    }
}
