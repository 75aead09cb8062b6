//! How good any cache of a size could be that knew the future.
//!
//! Where all sizes are equal, Belady's rule (whoever is needed last leaves) is the optimum, with the right not to keep
//! a newcomer. Where they differ, the optimum is not to be had; the bound here is PFOO-L (Berger, Beckmann and Harchol-Balter,
//! 2018): each reuse of an object costs its size for as long as it waits, a cache has its size for the length of the
//! trace to spend, and the cheapest reuses are taken first, whether or not they fit beside each other at every moment.
//! No cache can do better; a real one does not get there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::counts::Counts;
use crate::drive::Observer;
use crate::numbers::Numbered;
use crate::replay::Window;

/// Not asked for again.
pub(crate) const NEVER: u32 = u32::MAX;
/// Costs are gathered by 32 steps for each power of two: a bound is loose by that much at most.
const STEPS_LOG: u32 = 5;
const BUCKETS: usize = (128 << STEPS_LOG) as usize;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    reuses: u64,
    bytes: u64,
    cost: u128,
}

/// The reuses of a trace, by what they cost. Of constant size.
#[derive(Debug)]
pub struct Intervals {
    /// By the cost of a hit.
    by_cost: Vec<Bucket>,
    /// By the cost of a byte that is hit, which is the time that it waits.
    by_wait: Vec<Bucket>,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { by_cost: vec![Bucket::default(); BUCKETS], by_wait: vec![Bucket::default(); BUCKETS] }
    }
}

impl Intervals {
    /// An object of `size` bytes came again after `wait` requests.
    pub fn add(&mut self, wait: u64, size: u64) {
        let cost = u128::from(wait) * u128::from(size);
        for (buckets, key) in [(&mut self.by_cost, cost), (&mut self.by_wait, u128::from(wait))] {
            if let Some(bucket) = buckets.get_mut(bucket_of(key)) {
                bucket.reuses += 1;
                bucket.bytes += size;
                bucket.cost += cost;
            }
        }
    }

    /// Most hits, and most hit bytes, of any cache of `capacity` bytes over `requests` requests. Not of one cache at
    /// once: one that is best for requests is not for bytes.
    #[must_use]
    pub fn bound(&self, capacity: u64, requests: u64) -> (f64, f64) {
        let budget = u128::from(capacity) * u128::from(requests);
        (taken(&self.by_cost, budget, |one| one.reuses), taken(&self.by_wait, budget, |one| one.bytes))
    }
}

/// As much as the budget buys, the cheapest first.
fn taken(buckets: &[Bucket], mut budget: u128, gain: fn(&Bucket) -> u64) -> f64 {
    let mut gained = 0.0;
    for bucket in buckets {
        if bucket.cost > budget {
            // What is cheapest of these costs no less than the first of their step.
            let share = budget as f64 / bucket.cost as f64 * (1.0 + 1.0 / f64::from(1 << STEPS_LOG));
            return gained + gain(bucket) as f64 * share.min(1.0);
        }
        budget -= bucket.cost;
        gained += gain(bucket) as f64;
    }
    gained
}

fn bucket_of(key: u128) -> usize {
    if key < 1 << STEPS_LOG {
        return key as usize;
    }
    let exponent = key.ilog2();
    let step = (key >> (exponent - STEPS_LOG)) as usize & ((1 << STEPS_LOG) - 1);
    ((exponent - STEPS_LOG + 1) as usize) << STEPS_LOG | step
}

/// The best that can be done with equal sizes.
#[derive(Debug)]
pub struct Belady {
    next: Arc<[u32]>,
    /// When each listed object comes again.
    listed: BTreeSet<(u32, u32)>,
    objects_max: usize,
    window: Window,
    seen: u32,
    counts: Counts,
}

impl Belady {
    /// An empty cache for so many objects. `next` has the number of the next request for the same object, for each.
    #[must_use]
    pub const fn new(next: Arc<[u32]>, objects_max: usize, window: Window) -> Self {
        let counts = Counts { requests: 0, hits: 0, bytes: 0, hit_bytes: 0 };
        Self { next, listed: BTreeSet::new(), objects_max, window, seen: 0, counts }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

impl Observer for Belady {
    fn observe(&mut self, requests: &[Numbered]) {
        for request in requests {
            let next = self.next.get(self.seen as usize).copied().unwrap_or(NEVER);
            let hit = self.listed.remove(&(self.seen, request.number));
            if next != NEVER {
                self.listed.insert((next, request.number));
                if self.listed.len() > self.objects_max {
                    self.listed.pop_last();
                }
            }
            if u64::from(self.seen) >= self.window.warmup {
                self.counts.count(request.size, hit);
            }
            self.seen += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_go_up_with_their_keys_and_are_narrow() {
        let mut before = 0;
        for key in (0..200_u128).chain((0..120).map(|power| (1 << power) + (1 << power) / 3)) {
            let bucket = bucket_of(key);
            assert!(bucket >= before || key < 200, "{key}");
            assert!(bucket < BUCKETS);
            before = bucket;
        }
        assert!(bucket_of(1000) < bucket_of(1040) && bucket_of(u128::MAX) < BUCKETS);
    }

    #[test]
    fn the_cheapest_reuses_are_taken_first() {
        let mut intervals = Intervals::default();
        intervals.add(10, 1);
        intervals.add(2, 100);
        // A budget of 10: the small one, whole; by bytes, a tenth of a twentieth of the large one.
        let (hits, bytes) = intervals.bound(1, 10);
        assert_eq!(hits, 1.0);
        assert!((bytes - 5.0).abs() < 0.5, "{bytes}");
        assert_eq!(intervals.bound(1000, 10), (2.0, 101.0));
    }

    #[test]
    fn belady_lets_go_of_what_is_needed_last() {
        // a b c a b c with room for two: a stays, b and c in turn.
        let numbers = [0, 1, 2, 0, 1, 2];
        let next: Arc<[u32]> = Arc::new([3, 4, 5, NEVER, NEVER, NEVER]);
        let window = Window { warmup: 0, requests: 6, parts: 1 };
        let mut belady = Belady::new(next, 2, window);
        belady.observe(&numbers.map(|number| Numbered { number, size: 1, time: 0 }));
        assert_eq!(belady.counts().hits, 2);
    }
}
