//! S3-FIFO as libCacheSim configures it, to be compared with it and with what larder ships.
//!
//! Small queue of a tenth, two accesses there to stay, as many bytes remembered as the main queue holds; nothing is
//! admitted that is as large as the small queue. While nothing had to leave yet, the main queue takes what the small
//! one has no room for.

use larder_storage::eviction::{Eviction, Extent};

use super::queues::Queues;

const SMALL: u8 = 1;
const MAIN: u8 = 2;
const GHOST: u8 = 3;
/// Accesses in the small queue that it takes to stay.
const ACCESSES: u32 = 2;
const SPARED_MAX: u32 = 3;

/// Objects in two queues, and one of those that left. 16 bytes an object.
#[derive(Debug)]
pub struct ReferenceS3Fifo {
    queues: Queues,
    small_capacity: u64,
    ghost_capacity: u64,
    capacity: u64,
    /// Whether anything had to leave yet.
    evicted: bool,
}

impl ReferenceS3Fifo {
    /// Empty queues that hold at most `capacity` bytes together.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        let small_capacity = (capacity as f64 * 0.1) as u64;
        let ghost_capacity = (capacity as f64 * 0.9) as u64;
        Self { queues: Queues::new(), small_capacity, ghost_capacity, capacity, evicted: false }
    }

    fn remember(&mut self, id: u32) {
        let size = self.queues.size(id).unwrap_or(0);
        while self.queues.bytes(GHOST) + size > self.ghost_capacity
            && let Some(oldest) = self.queues.oldest(GHOST)
        {
            self.queues.remove(oldest);
        }
        self.queues.move_to(GHOST, id);
    }

    fn victim_of_small(&mut self) -> Option<u32> {
        while let Some(id) = self.queues.oldest(SMALL) {
            if self.queues.state(id) < ACCESSES {
                return Some(id);
            }
            self.queues.set_state(id, 0);
            self.queues.move_to(MAIN, id);
        }
        None
    }

    fn victim_of_main(&mut self) -> Option<u32> {
        while let Some(id) = self.queues.oldest(MAIN) {
            let state = self.queues.state(id);
            if state == 0 {
                return Some(id);
            }
            self.queues.set_state(id, state.min(SPARED_MAX) - 1);
            self.queues.move_to(MAIN, id);
        }
        None
    }
}

impl Eviction for ReferenceS3Fifo {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        let again = self.queues.queue(id) == GHOST && self.queues.remove(id).is_some();
        let full = !self.evicted && self.queues.bytes(SMALL) >= self.small_capacity;
        self.queues.insert(if again || full { MAIN } else { SMALL }, id, size);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        if self.size(id).is_some() {
            self.queues.set_state(id, self.queues.state(id) + 1);
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.queues.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.size(id)?;
        self.queues.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        self.evicted = true;
        let main_is_over = self.queues.bytes(MAIN) > self.capacity - self.small_capacity;
        if main_is_over || self.queues.bytes(SMALL) == 0 {
            self.victim_of_main().or_else(|| self.victim_of_small())
        } else {
            self.victim_of_small().or_else(|| self.victim_of_main())
        }
    }

    fn evict(&mut self) -> Option<u32> {
        let id = self.victim()?;
        if self.queues.queue(id) == SMALL {
            self.remember(id);
        } else {
            self.queues.remove(id);
        }
        Some(id)
    }

    fn admit_into(&mut self, id: u32, size: u64, _fingerprint: u64, victims: &mut Vec<u32>) {
        self.remove(id);
        let again = self.queues.queue(id) == GHOST && self.queues.remove(id).is_some();
        if size > self.small_capacity {
            victims.push(id);
            return;
        }
        while self.used() + size > self.capacity
            && let Some(victim) = self.evict()
        {
            victims.push(victim);
        }
        if !again && size >= self.small_capacity {
            victims.push(id);
            return;
        }
        let full = !self.evicted && self.queues.bytes(SMALL) >= self.small_capacity;
        self.queues.insert(if again || full { MAIN } else { SMALL }, id, size);
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.queues.size(id).filter(|_| self.queues.queue(id) != GHOST)
    }

    fn extent(&self) -> Extent {
        let objects = self.queues.len(SMALL) + self.queues.len(MAIN);
        Extent { objects, used: self.queues.bytes(SMALL) + self.queues.bytes(MAIN), capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        self.queues.memory_bytes()
    }
}
