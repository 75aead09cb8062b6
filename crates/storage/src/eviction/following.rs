//! An order that can become another one while it is in use: nothing leaves for the change, and what was about to leave
//! still is.
//!
//! ```text
//! one order --follow--> two: the former is drained in the order in which its objects would have left, into the new one --> one
//! ```
//!
//! Each object is in one of the two. The new order holds what would have left first and what came since, so it names the
//! victims, while the better part of the former is spared. A few objects move with each that is inserted: a hit pays
//! nothing, and a caller that has time to spare can hurry it, see [`Following::settle`].

use super::{Algorithm, Eviction, Extent, Ranked, slab};

/// Objects that move with each that is inserted.
const STEP: usize = 64;

/// Objects in the order of one algorithm, which can be changed.
#[derive(Debug)]
pub struct Following {
    algorithm: Algorithm,
    list: Box<dyn Ranked>,
    former: Option<Box<dyn Ranked>>,
}

impl Following {
    /// An empty order that holds at most `capacity` bytes.
    #[must_use]
    pub fn new(algorithm: Algorithm, capacity: u64) -> Self {
        Self { algorithm, list: algorithm.ranked(capacity), former: None }
    }

    /// The algorithm whose order it is, or is becoming.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn holder(&mut self, id: u32) -> &mut dyn Ranked {
        match &mut self.former {
            Some(former) if former.size(id).is_some() => &mut **former,
            _ => &mut *self.list,
        }
    }
}

impl Eviction for Following {
    fn insert(&mut self, id: u32, size: u64, fingerprint: u64) {
        self.settle(STEP);
        self.list.insert(id, size, fingerprint);
    }

    fn access(&mut self, id: u32, fingerprint: u64) {
        self.holder(id).access(id, fingerprint);
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.holder(id).resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.holder(id).remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        self.settle(1);
        self.list.victim().or_else(|| self.former.as_mut()?.victim())
    }

    /// One more moves for each that leaves, so that newcomers never stand alone in the new order.
    fn evict(&mut self) -> Option<u32> {
        self.settle(1);
        self.list.evict().or_else(|| self.former.as_mut()?.evict())
    }

    /// While it changes, a newcomer is weighed with all others.
    fn admit_into(&mut self, id: u32, size: u64, fingerprint: u64, victims: &mut Vec<u32>) {
        if self.settle(STEP) {
            return self.list.admit_into(id, size, fingerprint, victims);
        }
        self.remove(id);
        if size > self.capacity() || id == slab::NONE {
            return victims.push(id);
        }
        self.list.insert(id, size, fingerprint);
        while self.used() > self.capacity()
            && let Some(victim) = self.evict()
        {
            victims.push(victim);
        }
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.list.size(id).or_else(|| self.former.as_ref()?.size(id))
    }

    fn follow(&mut self, algorithm: Algorithm) {
        if algorithm == self.algorithm {
            return;
        }
        while !self.settle(STEP) {}
        let list = algorithm.ranked(self.list.capacity());
        self.former = Some(std::mem::replace(&mut self.list, list));
        self.algorithm = algorithm;
    }

    fn settle(&mut self, objects: usize) -> bool {
        let Some(former) = &mut self.former else { return true };
        for _ in 0..objects {
            let Some(id) = former.victim() else {
                self.former = None;
                return true;
            };
            let uses = former.uses(id);
            if let Some(size) = former.remove(id) {
                self.list.adopt(id, size, uses);
            }
        }
        false
    }

    fn extent(&self) -> Extent {
        let mut extent = self.list.extent();
        if let Some(former) = self.former.as_ref().map(|former| former.extent()) {
            extent.objects += former.objects;
            extent.used += former.used;
        }
        extent
    }

    fn memory_bytes(&self) -> usize {
        self.list.memory_bytes() + self.former.as_ref().map_or(0, |former| former.memory_bytes())
    }
}

/// A walk leaves out what has not moved yet.
impl Ranked for Following {
    fn rewind(&mut self) {
        self.list.rewind();
    }

    fn next_rank(&mut self) -> Option<(u32, u32)> {
        self.list.next_rank()
    }

    fn restore(&mut self, id: u32, fingerprint: u64, rank: u32) {
        self.list.restore(id, fingerprint, rank);
    }

    fn uses(&self, id: u32) -> u32 {
        match &self.former {
            Some(former) if former.size(id).is_some() => former.uses(id),
            _ => self.list.uses(id),
        }
    }

    fn adopt(&mut self, id: u32, size: u64, uses: u32) {
        self.list.adopt(id, size, uses);
    }
}
