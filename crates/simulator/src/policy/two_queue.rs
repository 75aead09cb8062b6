//! 2Q (Johnson and Shasha, 1994), as libCacheSim has it.
//!
//! ```text
//! new --> in (FIFO, a quarter) --over its share--> out (remembered only, half a cache's worth)
//!                                                    | asked for again
//!                                                    v
//!                                                  main (LRU, three quarters) --> leaves
//! ```
//!
//! What is larger than the first queue is never admitted.

use larder_storage::eviction::{Eviction, Extent};

use super::queues::Queues;

const IN: u8 = 1;
const MAIN: u8 = 2;
const OUT: u8 = 3;

/// Objects in two queues, and a third of those that left. 16 bytes an object.
#[derive(Debug)]
pub struct TwoQueue {
    queues: Queues,
    in_capacity: u64,
    out_capacity: u64,
    capacity: u64,
}

impl TwoQueue {
    /// Empty queues that hold at most `capacity` bytes together.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { queues: Queues::new(), in_capacity: capacity / 4, out_capacity: capacity / 2, capacity }
    }

    /// Whether it has left lately. It is not remembered any more afterwards.
    fn take_ghost(&mut self, id: u32) -> bool {
        self.queues.queue(id) == OUT && self.queues.remove(id).is_some()
    }

    fn let_go(&mut self, id: u32) {
        if self.queues.queue(id) != IN {
            self.queues.remove(id);
            return;
        }
        let size = self.queues.size(id).unwrap_or(0);
        while self.queues.bytes(OUT) + size > self.out_capacity
            && let Some(oldest) = self.queues.oldest(OUT)
        {
            self.queues.remove(oldest);
        }
        self.queues.move_to(OUT, id);
    }
}

impl Eviction for TwoQueue {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        let queue = if self.take_ghost(id) { MAIN } else { IN };
        self.queues.insert(queue, id, size);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        if self.queues.queue(id) == MAIN {
            self.queues.move_to(MAIN, id);
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
        let main = self.queues.oldest(MAIN);
        if self.queues.bytes(IN) > self.in_capacity || main.is_none() {
            return self.queues.oldest(IN);
        }
        main
    }

    fn evict(&mut self) -> Option<u32> {
        let id = self.victim()?;
        self.let_go(id);
        Some(id)
    }

    fn admit_into(&mut self, id: u32, size: u64, fingerprint: u64, victims: &mut Vec<u32>) {
        self.remove(id);
        let again = self.queues.queue(id) == OUT;
        if size > self.in_capacity {
            self.take_ghost(id);
            victims.push(id);
            return;
        }
        // Taken first, so that it is not forgotten while room is made for it.
        self.take_ghost(id);
        while self.used() + size > self.capacity
            && let Some(victim) = self.evict()
        {
            victims.push(victim);
        }
        if again {
            while self.queues.bytes(MAIN) + size > self.capacity - self.in_capacity
                && let Some(oldest) = self.queues.oldest(MAIN)
            {
                self.queues.remove(oldest);
                victims.push(oldest);
            }
            self.queues.insert(MAIN, id, size);
        } else {
            self.insert(id, size, fingerprint);
        }
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.queues.size(id).filter(|_| self.queues.queue(id) != OUT)
    }

    fn extent(&self) -> Extent {
        let objects = self.queues.len(IN) + self.queues.len(MAIN);
        Extent { objects, used: self.queues.bytes(IN) + self.queues.bytes(MAIN), capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        self.queues.memory_bytes()
    }
}
