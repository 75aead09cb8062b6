//! ARC (Megiddo and Modha, FAST 2003), as libCacheSim has it.
//!
//! Two LRU queues, of what was asked for once and of what was asked for again, and the memory of what left each. An
//! object that is remembered and asked for again moves the target for the first queue: up if it had left that one too
//! early, down if it had left the other. The step is the paper's, in bytes.

use larder_storage::eviction::{Eviction, Extent};

use super::queues::Queues;

const ONCE: u8 = 1;
const AGAIN: u8 = 2;
const LEFT_ONCE: u8 = 3;
const LEFT_AGAIN: u8 = 4;

/// Objects in two queues, and two more of those that left. 16 bytes an object.
#[derive(Debug)]
pub struct Arc {
    queues: Queues,
    /// Bytes that the queue of what was asked for once should hold.
    target: f64,
    capacity: u64,
}

impl Arc {
    /// Empty queues that hold at most `capacity` bytes together.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { queues: Queues::new(), target: 0.0, capacity }
    }

    /// The queue of ghosts that an object was in, which it leaves; and the target moves.
    fn take_ghost(&mut self, id: u32) -> Option<u8> {
        let queue = self.queues.queue(id);
        let ratio = |of: u8, to: u8| (self.queues.bytes(of) as f64 / self.queues.bytes(to) as f64).max(1.0);
        match queue {
            LEFT_ONCE => {
                self.target = (self.target + ratio(LEFT_AGAIN, LEFT_ONCE)).min(self.capacity as f64);
            }
            LEFT_AGAIN => self.target = (self.target - ratio(LEFT_ONCE, LEFT_AGAIN)).max(0.0),
            _ => return None,
        }
        self.queues.remove(id);
        Some(queue)
    }

    /// Which queue lets one go, by the target.
    fn donor(&self, ghost: Option<u8>) -> u8 {
        let once = self.queues.bytes(ONCE);
        let over = once as f64 > self.target || (once as f64 == self.target && ghost == Some(LEFT_AGAIN));
        if (once > 0 && over) || self.queues.len(AGAIN) == 0 { ONCE } else { AGAIN }
    }

    /// Lets the oldest of a queue go, and remembers it.
    fn demote(&mut self, queue: u8) -> Option<u32> {
        let id = self.queues.oldest(queue)?;
        self.queues.move_to(if queue == ONCE { LEFT_ONCE } else { LEFT_AGAIN }, id);
        Some(id)
    }

    /// Makes some room for an object that is in no queue.
    fn make_room(&mut self, incoming: u64) -> Option<u32> {
        let first = self.queues.bytes(ONCE) + self.queues.bytes(LEFT_ONCE);
        let second = self.queues.bytes(AGAIN) + self.queues.bytes(LEFT_AGAIN);
        if first + incoming > self.capacity {
            let Some(ghost) = self.queues.oldest(LEFT_ONCE) else {
                let id = self.queues.oldest(ONCE)?;
                self.queues.remove(id);
                return Some(id);
            };
            self.queues.remove(ghost);
        } else if first + second >= self.capacity * 2
            && let Some(ghost) = self.queues.oldest(LEFT_AGAIN)
        {
            self.queues.remove(ghost);
        }
        self.demote(self.donor(None))
    }
}

impl Eviction for Arc {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        let queue = if self.take_ghost(id).is_some() { AGAIN } else { ONCE };
        self.queues.insert(queue, id, size);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        if self.size(id).is_some() {
            self.queues.move_to(AGAIN, id);
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
        let donor = self.donor(None);
        self.queues.oldest(donor).or_else(|| self.queues.oldest(ONCE))
    }

    fn evict(&mut self) -> Option<u32> {
        let id = self.victim()?;
        self.demote(self.queues.queue(id))
    }

    fn admit_into(&mut self, id: u32, size: u64, _fingerprint: u64, victims: &mut Vec<u32>) {
        self.remove(id);
        let ghost = self.take_ghost(id);
        if size > self.capacity {
            victims.push(id);
            return;
        }
        while self.used() + size > self.capacity {
            let victim = match ghost {
                Some(_) => self.demote(self.donor(ghost)),
                None => self.make_room(size),
            };
            match victim {
                Some(victim) => victims.push(victim),
                None => break,
            }
        }
        self.queues.insert(if ghost.is_some() { AGAIN } else { ONCE }, id, size);
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.queues.size(id).filter(|_| matches!(self.queues.queue(id), ONCE | AGAIN))
    }

    fn extent(&self) -> Extent {
        let objects = self.queues.len(ONCE) + self.queues.len(AGAIN);
        Extent { objects, used: self.queues.bytes(ONCE) + self.queues.bytes(AGAIN), capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        self.queues.memory_bytes()
    }
}
