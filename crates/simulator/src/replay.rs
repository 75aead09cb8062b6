//! Objects through one cache, counting hits.
//!
//! Sizes are honoured, no metadata is counted, and every request counts that is not of the warm-up. What is larger than
//! the cache is always a miss. An object that comes with another size is another object: its old self leaves.
//!
//! With two tiers, memory is asked first. What is in memory is on disk, too, as in the store: what leaves the disk
//! leaves memory, and what is found on disk or fetched is kept in memory if it is small enough for it.

use larder_storage::eviction::Eviction;

use crate::counts::Counts;
use crate::drive::Observer;
use crate::numbers::{Numbered, spread};
use crate::policy::{Policy, Visitor};

/// A cache to be simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cache {
    /// Which object leaves.
    pub policy: Policy,
    /// Bytes that it holds.
    pub capacity: u64,
    /// A memory tier before it.
    pub memory: Option<Memory>,
}

/// A memory tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Which object leaves.
    pub policy: Policy,
    /// Bytes that it holds.
    pub capacity: u64,
    /// Larger objects are not kept in it.
    pub object_max: u64,
}

/// Which part of a trace counts, and how it is divided for a look over time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Requests that only fill the cache.
    pub warmup: u64,
    /// Requests of the whole trace.
    pub requests: u64,
    /// Parts of equally many requests, warm-up included.
    pub parts: usize,
}

impl Window {
    /// The number of the first request after a part.
    fn end_of(&self, part: usize) -> u64 {
        let end = (part as u128 + 1) * u128::from(self.requests);
        u64::try_from(end.div_ceil(self.parts.max(1) as u128)).unwrap_or(u64::MAX)
    }
}

/// What came of a cache.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Requests after the warm-up.
    pub counts: Counts,
    /// Hits that memory answered, and their bytes.
    pub memory_hits: u64,
    /// Bytes of these.
    pub memory_hit_bytes: u64,
    /// Bytes that were written to hold what was fetched.
    pub written: u64,
    /// All requests, part by part.
    pub parts: Vec<Counts>,
    /// Bytes of memory that the policies took.
    pub memory_bytes: u64,
}

impl Cache {
    /// The replay of this cache, to be given the requests of a trace.
    #[must_use]
    pub fn replay(self, window: Window) -> Box<dyn Replaying> {
        self.policy.visit(self.capacity, Boxed { cache: self, window })
    }
}

struct Boxed {
    cache: Cache,
    window: Window,
}

impl Visitor for Boxed {
    type Output = Box<dyn Replaying>;

    fn visit<E: Eviction + 'static>(self, eviction: E) -> Box<dyn Replaying> {
        Box::new(Replay::new(eviction, self.cache, self.window))
    }
}

/// A replay that goes on, whatever its policy.
pub trait Replaying: Observer {
    /// What came of it so far.
    fn outcome(&self) -> Outcome;
}

/// One cache with one policy, to which requests are given.
#[derive(Debug)]
pub struct Replay<E> {
    eviction: E,
    memory: Option<(Box<dyn Eviction>, u64)>,
    /// Policies that ship write whatever fits, even what leaves at once.
    writes_all: bool,
    window: Window,
    seen: u64,
    /// The part that requests belong to now, and the first that does not.
    part: usize,
    part_end: u64,
    /// Who left for the last newcomer.
    victims: Vec<u32>,
    outcome: Outcome,
}

impl<E: Eviction> Replay<E> {
    /// An empty cache.
    pub fn new(eviction: E, cache: Cache, window: Window) -> Self {
        struct Dynamic;
        impl Visitor for Dynamic {
            type Output = Box<dyn Eviction>;
            fn visit<E: Eviction + 'static>(self, eviction: E) -> Box<dyn Eviction> {
                Box::new(eviction)
            }
        }
        let memory = |memory: Memory| (memory.policy.visit(memory.capacity, Dynamic), memory.object_max);
        let outcome = Outcome { parts: vec![Counts::default(); window.parts], ..Outcome::default() };
        let writes_all = matches!(cache.policy, Policy::Shipped(_));
        Self {
            eviction,
            memory: cache.memory.map(memory),
            writes_all,
            window,
            seen: 0,
            part: 0,
            part_end: window.end_of(0),
            victims: Vec::new(),
            outcome,
        }
    }

    /// One request. True when it is a hit.
    pub fn request(&mut self, request: &Numbered) -> bool {
        let Numbered { number, size, .. } = *request;
        let fingerprint = spread(u64::from(number));
        let counted = self.seen >= self.window.warmup;
        let hit = self.eviction.size(number) == Some(size);
        if hit {
            self.eviction.access(number, fingerprint);
            if self.memory.is_some() {
                self.ask_memory(number, size, fingerprint, counted);
            }
        } else {
            self.victims.clear();
            self.eviction.admit_into(number, size, fingerprint, &mut self.victims);
            let kept = self.eviction.size(number).is_some();
            if counted && (kept || (self.writes_all && size <= self.eviction.capacity())) {
                self.outcome.written += size;
            }
            if let Some((memory, object_max)) = &mut self.memory {
                for victim in &self.victims {
                    memory.remove(*victim);
                }
                memory.remove(number);
                if kept && size <= *object_max {
                    memory.admit(number, size, fingerprint);
                }
            }
        }
        while self.seen >= self.part_end && self.part + 1 < self.window.parts {
            self.part += 1;
            self.part_end = self.window.end_of(self.part);
        }
        if let Some(part) = self.outcome.parts.get_mut(self.part) {
            part.count(size, hit);
        }
        self.seen += 1;
        if counted {
            self.outcome.counts.count(size, hit);
        }
        hit
    }

    /// A hit on disk, which memory may answer or take.
    fn ask_memory(&mut self, number: u32, size: u64, fingerprint: u64, counted: bool) {
        let Some((memory, object_max)) = &mut self.memory else { return };
        if memory.size(number) == Some(size) {
            memory.access(number, fingerprint);
            if counted {
                self.outcome.memory_hits += 1;
                self.outcome.memory_hit_bytes += size;
            }
        } else if size <= *object_max {
            memory.admit(number, size, fingerprint);
        }
    }
}

impl<E: Eviction> Observer for Replay<E> {
    fn observe(&mut self, requests: &[Numbered]) {
        for request in requests {
            self.request(request);
        }
    }
}

impl<E: Eviction> Replaying for Replay<E> {
    fn outcome(&self) -> Outcome {
        let memory = self.memory.as_ref().map_or(0, |(memory, _)| memory.memory_bytes());
        Outcome { memory_bytes: (self.eviction.memory_bytes() + memory) as u64, ..self.outcome.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LRU: Policy = Policy::SHIPPED[0];

    fn replay(cache: Cache, warmup: u64, requests: &[(u32, u64)]) -> (Vec<bool>, Outcome) {
        let window = Window { warmup, requests: requests.len() as u64, parts: 2 };
        let lru = larder_storage::eviction::Lru::new(cache.capacity);
        let mut replay = Replay::new(lru, cache, window);
        let hits = requests
            .iter()
            .map(|(number, size)| replay.request(&Numbered { number: *number, size: *size, time: 0 }));
        (hits.collect(), replay.outcome())
    }

    #[test]
    fn another_size_is_a_miss_and_takes_the_place_of_the_old() {
        let cache = Cache { policy: LRU, capacity: 100, memory: None };
        let (hits, outcome) = replay(cache, 0, &[(0, 10), (0, 10), (0, 90), (0, 90)]);
        assert_eq!(hits, [false, true, false, true]);
        let Counts { requests, hits, bytes, hit_bytes } = outcome.counts;
        assert_eq!((requests, hits, bytes, hit_bytes, outcome.written), (4, 2, 200, 100, 100));
    }

    #[test]
    fn what_is_larger_than_the_cache_is_always_a_miss_and_evicts_nothing() {
        let cache = Cache { policy: LRU, capacity: 100, memory: None };
        let (hits, outcome) = replay(cache, 0, &[(0, 60), (1, 101), (1, 101), (0, 60)]);
        assert_eq!(hits, [false, false, false, true]);
        assert_eq!(outcome.written, 60);
    }

    #[test]
    fn a_warm_up_fills_the_cache_and_does_not_count() {
        let cache = Cache { policy: LRU, capacity: 100, memory: None };
        let (_, outcome) = replay(cache, 2, &[(0, 10), (0, 10), (0, 10), (1, 10)]);
        assert_eq!((outcome.counts.requests, outcome.counts.hits, outcome.written), (2, 1, 10));
        let parts: Vec<_> = outcome.parts.iter().map(|part| (part.requests, part.hits)).collect();
        assert_eq!(parts, [(2, 1), (2, 1)]);
    }

    #[test]
    fn memory_answers_what_is_small_and_on_disk() {
        let memory = Some(Memory { policy: LRU, capacity: 20, object_max: 15 });
        let cache = Cache { policy: LRU, capacity: 100, memory };
        // 0 is kept in both; 1 is too large for memory; 2 pushes 0 out of memory, and the disk has it still.
        let (hits, outcome) =
            replay(cache, 0, &[(0, 10), (0, 10), (1, 60), (1, 60), (2, 15), (0, 10), (0, 10)]);
        assert_eq!(hits, [false, true, false, true, false, true, true]);
        assert_eq!((outcome.memory_hits, outcome.memory_hit_bytes, outcome.counts.hits), (2, 20, 4));
        // What leaves the disk leaves memory: 3 pushes all out, and 0 is a miss.
        let (hits, outcome) = replay(cache, 0, &[(0, 10), (3, 95), (0, 10)]);
        assert_eq!((hits, outcome.memory_hits), (vec![false; 3], 0));
    }
}
