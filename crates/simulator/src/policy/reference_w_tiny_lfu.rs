//! W-TinyLFU as libCacheSim configures it, to be compared with it and with what larder ships.
//!
//! A window of a hundredth (LRU) before an SLRU of a fifth and four fifths; whoever leaves the window stays only if it
//! was counted more often than whoever would leave the main part for it; nothing is admitted that is larger than the
//! window. Counts are exact here, where libCacheSim has a wide sketch of them, and they are never halved.

use larder_storage::eviction::{Eviction, Extent};

use super::queues::Queues;

const WINDOW: u8 = 1;
const PROBATION: u8 = 2;
const PROTECTED: u8 = 3;

/// Objects in three queues, and a count for each that was ever listed. 20 bytes an object.
#[derive(Debug)]
pub struct ReferenceWTinyLfu {
    queues: Queues,
    counts: Vec<u32>,
    window_capacity: u64,
    probation_capacity: u64,
    protected_capacity: u64,
    capacity: u64,
}

impl ReferenceWTinyLfu {
    /// Empty queues that hold at most `capacity` bytes together.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        let window_capacity = (capacity as f64 * 0.01) as u64;
        let main = capacity - window_capacity;
        Self {
            queues: Queues::new(),
            counts: Vec::new(),
            window_capacity,
            probation_capacity: (main as f64 / 5.0) as u64,
            protected_capacity: (main as f64 * 0.8) as u64,
            capacity,
        }
    }

    fn count(&mut self, id: u32) {
        let at = id as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
    }

    fn counted(&self, id: u32) -> u32 {
        self.counts.get(id as usize).copied().unwrap_or(0)
    }

    fn main_bytes(&self) -> u64 {
        self.queues.bytes(PROBATION) + self.queues.bytes(PROTECTED)
    }

    /// Puts what leaves the window into the lowest part with room.
    fn keep(&mut self, id: u32) {
        let size = self.queues.size(id).unwrap_or(0);
        let protected = self.queues.bytes(PROBATION) + size > self.probation_capacity
            && self.queues.bytes(PROTECTED) + size <= self.protected_capacity;
        self.queues.move_to(if protected { PROTECTED } else { PROBATION }, id);
        while self.main_bytes() > self.capacity - self.window_capacity
            && let Some(victim) = self.victim_of_main().filter(|victim| *victim != id)
        {
            self.queues.remove(victim);
        }
    }

    fn victim_of_main(&self) -> Option<u32> {
        self.queues.oldest(PROBATION).or_else(|| self.queues.oldest(PROTECTED))
    }

    /// What was promoted may push others down, and out.
    fn cool(&mut self) {
        while self.queues.bytes(PROTECTED) > self.protected_capacity
            && let Some(id) = self.queues.oldest(PROTECTED)
        {
            self.queues.move_to(PROBATION, id);
            while self.queues.bytes(PROBATION) > self.probation_capacity
                && let Some(id) = self.queues.oldest(PROBATION)
            {
                self.queues.remove(id);
            }
        }
    }
}

impl Eviction for ReferenceWTinyLfu {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        self.queues.insert(WINDOW, id, size);
        self.count(id);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        match self.queues.queue(id) {
            WINDOW => self.queues.move_to(WINDOW, id),
            PROBATION => {
                self.queues.move_to(PROTECTED, id);
                self.cool();
                self.count(id);
            }
            PROTECTED => {
                self.queues.move_to(PROTECTED, id);
                self.count(id);
            }
            _ => {}
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.queues.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.queues.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        while let Some(candidate) = self.queues.oldest(WINDOW) {
            let size = self.queues.size(candidate).unwrap_or(0);
            if self.main_bytes() + size <= self.capacity - self.window_capacity {
                self.keep(candidate);
                self.count(candidate);
                continue;
            }
            let Some(victim) = self.victim_of_main() else { return Some(candidate) };
            return Some(if self.counted(candidate) > self.counted(victim) { victim } else { candidate });
        }
        self.victim_of_main()
    }

    fn evict(&mut self) -> Option<u32> {
        let id = self.victim()?;
        let candidate = self.queues.oldest(WINDOW);
        let from_main = self.queues.queue(id) != WINDOW;
        self.queues.remove(id);
        if let Some(candidate) = candidate {
            if from_main {
                self.keep(candidate);
            }
            self.count(candidate);
        }
        Some(id)
    }

    fn admit_into(&mut self, id: u32, size: u64, fingerprint: u64, victims: &mut Vec<u32>) {
        self.remove(id);
        if size > self.window_capacity || size > self.probation_capacity {
            victims.push(id);
            return;
        }
        while self.used() + size > self.capacity
            && let Some(victim) = self.evict()
        {
            victims.push(victim);
        }
        self.insert(id, size, fingerprint);
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.queues.size(id)
    }

    fn extent(&self) -> Extent {
        let objects = [WINDOW, PROBATION, PROTECTED].map(|queue| self.queues.len(queue)).iter().sum();
        let used = self.queues.bytes(WINDOW) + self.main_bytes();
        Extent { objects, used, capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        self.queues.memory_bytes() + self.counts.capacity() * size_of::<u32>()
    }
}
