//! The hit ratios of LRU at all sizes of a grid, in one reading: Mattson's stack, weighed in bytes.
//!
//! An object is a hit in a cache that holds as many bytes as it and all objects together that were asked for since it
//! came last. These sums come from a Fenwick tree over the order of last requests. A cache admits nothing that is
//! larger than itself, so that what is larger than the smallest cache of the grid is kept apart and counts for those
//! alone that can hold it. Each point is exact as long as objects keep their sizes.

use crate::counts::Counts;

const NONE: u32 = u32::MAX;
const SLOTS_MIN: usize = 64;
/// Kinds of requests that are counted apart.
pub(super) const STRATA: usize = 2;

/// The last request for an object.
#[derive(Clone, Copy, Debug)]
struct Slot {
    owner: u32,
    size: u64,
    /// Bytes that it stands for: more than its size when it stands for others, too.
    charge: u64,
}

/// An object that some caches of the grid cannot hold.
#[derive(Clone, Copy, Debug)]
struct Large {
    slot: u32,
    charge: u64,
    /// The first cache of the grid that can.
    from: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Stack {
    grid: Vec<u64>,
    /// By an object's number: its slot.
    places: Vec<u32>,
    slots: Vec<Slot>,
    /// Sums of the charges of what every cache can hold, by slots, as a Fenwick tree has them.
    sums: Vec<u64>,
    room: usize,
    total: u64,
    larges: Vec<Large>,
    live: usize,
    /// What is counted, for each stratum.
    strata: [Stratum; STRATA],
}

#[derive(Debug)]
struct Stratum {
    /// What begins, and ends, to be a hit at each point of the grid.
    hits: Vec<(i64, i64)>,
    /// Requests, and those that an infinite cache would answer.
    infinite: Counts,
}

impl Stack {
    /// For caches of these capacities, in order.
    #[must_use]
    pub fn new(grid: Vec<u64>) -> Self {
        let stratum = || Stratum { hits: vec![(0, 0); grid.len() + 1], infinite: Counts::default() };
        let strata = [stratum(), stratum()];
        Self {
            grid,
            places: Vec::new(),
            slots: Vec::new(),
            sums: vec![0; SLOTS_MIN + 1],
            room: SLOTS_MIN,
            total: 0,
            larges: Vec::new(),
            live: 0,
            strata,
        }
    }

    /// One request. `charge` is what its object stands for in bytes: its size, or more. It counts in a stratum, or not.
    pub fn request(&mut self, number: u32, size: u64, charge: u64, stratum: Option<usize>) {
        let place = self.places.get(number as usize).copied().unwrap_or(NONE);
        let before = self.slots.get(place as usize).copied().filter(|_| place != NONE);
        let again = before.is_some_and(|before| before.size == size);
        if let Some(number) = stratum
            && let Some(counted) = self.strata.get_mut(number)
        {
            counted.infinite.count(size, again);
            if again {
                self.count(place, size, number);
            }
        }
        if let Some(before) = before {
            self.take(place, before);
        }
        self.push(number, size, charge);
    }

    /// Hits of a stratum at each point of the grid; requests and bytes are all that were counted.
    #[must_use]
    pub fn counts(&self, stratum: usize) -> Vec<Counts> {
        let Some(Stratum { hits: changes, infinite }) = self.strata.get(stratum) else { return Vec::new() };
        let (mut hits, mut hit_bytes) = (0_i64, 0_i64);
        let changes = changes.iter().take(self.grid.len());
        changes
            .map(|(more, bytes)| {
                hits += more;
                hit_bytes += bytes;
                Counts { hits: hits.unsigned_abs(), hit_bytes: hit_bytes.unsigned_abs(), ..*infinite }
            })
            .collect()
    }

    /// What an infinite cache would have answered of a stratum.
    #[must_use]
    pub fn infinite(&self, stratum: usize) -> Counts {
        self.strata.get(stratum).map_or_else(Counts::default, |stratum| stratum.infinite)
    }

    /// Bytes of memory that this takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.sums.capacity() * size_of::<u64>()
            + self.larges.capacity() * size_of::<Large>()
    }

    /// Counts a hit wherever a cache is large enough.
    fn count(&mut self, place: u32, size: u64, stratum: usize) {
        let own = self.grid.partition_point(|capacity| *capacity < size);
        let mut sum = size + self.since(place);
        let first_after = self.larges.partition_point(|large| large.slot <= place);
        let mut between: Vec<(usize, u64)> =
            self.larges.iter().skip(first_after).map(|large| (large.from, large.charge)).collect();
        between.sort_unstable();
        let mut from = own;
        for (next, charge) in between {
            if next > from {
                self.count_between(from, next, sum, size, stratum);
                from = next;
            }
            sum += charge;
        }
        self.count_between(from, self.grid.len(), sum, size, stratum);
    }

    /// Counts a hit at the points from one to before another whose capacity is at least `needed`.
    fn count_between(&mut self, from: usize, to: usize, needed: u64, size: u64, stratum: usize) {
        let from = from.max(self.grid.partition_point(|capacity| *capacity < needed));
        if from < to {
            let bytes = i64::try_from(size).unwrap_or(i64::MAX);
            let Some(stratum) = self.strata.get_mut(stratum) else { return };
            for (at, sign) in [(from, 1), (to, -1)] {
                if let Some((hits, hit_bytes)) = stratum.hits.get_mut(at) {
                    *hits += sign;
                    *hit_bytes += sign * bytes;
                }
            }
        }
    }

    /// Charges of what was asked for since a slot, and every cache can hold.
    fn since(&self, place: u32) -> u64 {
        let mut at = place as usize + 1;
        let mut until = 0;
        while at > 0 {
            until += self.sums.get(at).copied().unwrap_or(0);
            at &= at - 1;
        }
        self.total - until
    }

    fn take(&mut self, place: u32, slot: Slot) {
        self.live -= 1;
        if let Some(owned) = self.slots.get_mut(place as usize) {
            owned.owner = NONE;
        }
        if let Some(place) = self.places.get_mut(slot.owner as usize) {
            *place = NONE;
        }
        if self.is_small(slot.size) {
            self.total -= slot.charge;
            let mut at = place as usize + 1;
            while let Some(sum) = self.sums.get_mut(at) {
                *sum -= slot.charge;
                at += at & at.wrapping_neg();
            }
        } else if let Ok(at) = self.larges.binary_search_by_key(&place, |large| large.slot) {
            self.larges.remove(at);
        }
    }

    fn push(&mut self, number: u32, size: u64, charge: u64) {
        let from = self.grid.partition_point(|capacity| *capacity < size);
        if from == self.grid.len() {
            return;
        }
        if self.slots.len() >= self.room {
            self.compact();
        }
        let place = self.slots.len();
        let Ok(slot) = u32::try_from(place) else { return };
        self.slots.push(Slot { owner: number, size, charge });
        self.live += 1;
        let at = number as usize;
        if self.places.len() <= at {
            let more = (at + 1).max(self.places.len() / 8 * 9) - self.places.len();
            self.places.reserve_exact(more);
            self.places.resize(at + 1, NONE);
        }
        if let Some(place) = self.places.get_mut(at) {
            *place = slot;
        }
        if from == 0 {
            self.total += charge;
            let mut at = place + 1;
            while let Some(sum) = self.sums.get_mut(at) {
                *sum += charge;
                at += at & at.wrapping_neg();
            }
        } else {
            self.larges.push(Large { slot, charge, from });
        }
    }

    fn is_small(&self, size: u64) -> bool {
        self.grid.first().is_some_and(|capacity| size <= *capacity)
    }

    /// Drops the slots that nobody owns any more, and makes room for as many as are left.
    fn compact(&mut self) {
        self.slots.retain(|slot| slot.owner != NONE);
        self.room = (self.live * 3 / 2).max(SLOTS_MIN);
        self.slots.reserve_exact(self.room - self.slots.len());
        self.slots.shrink_to(self.room);
        self.sums = vec![0; self.room + 1];
        self.larges.clear();
        for (place, slot) in (0_u32..).zip(&self.slots) {
            if let Some(at) = self.places.get_mut(slot.owner as usize) {
                *at = place;
            }
            let from = self.grid.partition_point(|capacity| *capacity < slot.size);
            if from > 0 {
                self.larges.push(Large { slot: place, charge: slot.charge, from });
            } else if let Some(sum) = self.sums.get_mut(place as usize + 1) {
                *sum = slot.charge;
            }
        }
        for at in 1..=self.room {
            let sum = self.sums.get(at).copied().unwrap_or(0);
            if let Some(above) = self.sums.get_mut(at + (at & at.wrapping_neg())) {
                *above += sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{Numbered, spread};
    use crate::{Cache, Observer, Policy, Window};

    #[test]
    fn it_equals_a_replay_at_every_point() {
        let mut bits = 3_u64;
        let requests: Vec<_> = (0..30_000)
            .map(|step| {
                bits = spread(bits ^ step);
                let number = ((bits >> 40) % 3000).min(bits % 3000) as u32;
                // Mostly small; one in twenty is larger than the smallest caches.
                let large = spread(u64::from(number)).is_multiple_of(20);
                let size = 1 + spread(u64::from(number) + 9) % if large { 20_000 } else { 100 };
                Numbered { number, size, time: 0 }
            })
            .collect();
        let grid: Vec<u64> = (0..40).map(|power| (64.0 * 1.3_f64.powi(power)) as u64).collect();
        let mut stack = Stack::new(grid.clone());
        for (at, request) in requests.iter().enumerate() {
            stack.request(request.number, request.size, request.size, (at >= 1000).then_some(0));
        }
        let window = Window { warmup: 1000, requests: 30_000, parts: 1 };
        let lru = Policy::from_name("lru").unwrap();
        for (capacity, counts) in grid.iter().zip(stack.counts(0)) {
            let mut replay = Cache { policy: lru, capacity: *capacity, memory: None }.replay(window);
            replay.observe(&requests);
            assert_eq!(counts, replay.outcome().counts, "{capacity}");
        }
        assert!(stack.slots.len() < 6000, "{}", stack.slots.len());
    }
}
