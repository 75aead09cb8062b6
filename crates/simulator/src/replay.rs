//! Objects through an eviction algorithm, counting hits.
//!
//! Sizes are honoured, no metadata is counted, and every request counts from an empty cache on. What is larger than
//! the cache is always a miss. An object that comes with another size is another object: its old self leaves.

use hashbrown::HashMap;
use larder_storage::eviction::Eviction;

use crate::error::TraceError;
use crate::trace::Request;

/// Numbers objects in order of appearance, as the algorithms want them.
#[derive(Debug, Default)]
pub struct Objects {
    numbers: HashMap<u64, u32>,
    footprint: u64,
}

impl Objects {
    /// The number of an object; `None` when there are four billion others.
    pub fn number(&mut self, object: u64, size: u32) -> Option<u32> {
        let next = u32::try_from(self.numbers.len()).ok().filter(|next| *next != u32::MAX)?;
        let number = *self.numbers.entry(object).or_insert(next);
        if number == next {
            self.footprint += u64::from(size);
        }
        Some(number)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether none has come yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Sum of their sizes in bytes, each as it came first.
    #[must_use]
    pub const fn footprint(&self) -> u64 {
        self.footprint
    }
}

/// A trace in memory, eight bytes a request, to be replayed with several algorithms and sizes.
#[derive(Debug, Default)]
pub struct Requests {
    requests: Vec<(u32, u32)>,
    objects: Objects,
}

impl Requests {
    /// Reads a trace to its end.
    ///
    /// # Errors
    ///
    /// The first that its reader gives.
    pub fn collect(trace: impl IntoIterator<Item = Result<Request, TraceError>>) -> Result<Self, TraceError> {
        let mut all = Self::default();
        for request in trace {
            let Request { object, size, .. } = request?;
            if let Some(number) = all.objects.number(object, size) {
                all.requests.push((number, size));
            }
        }
        Ok(all)
    }

    /// The objects that were asked for.
    #[must_use]
    pub const fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Replays all requests with one algorithm.
    pub fn replay(&self, eviction: impl Eviction) -> Counts {
        let mut replay = Replay::new(eviction);
        for (number, size) in &self.requests {
            replay.request(*number, *size);
        }
        replay.counts()
    }
}

/// What a replay has counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Of those, answered from the cache.
    pub hits: u64,
    /// Bytes of all requested objects.
    pub bytes: u64,
    /// Of those, answered from the cache.
    pub hit_bytes: u64,
}

impl Counts {
    /// Share of the requests that were no hits; zero when there were none.
    #[must_use]
    pub fn miss_ratio(&self) -> f64 {
        miss_ratio(self.hits, self.requests)
    }

    /// Share of the bytes that were no hits; zero when there were none.
    #[must_use]
    pub fn byte_miss_ratio(&self) -> f64 {
        miss_ratio(self.hit_bytes, self.bytes)
    }
}

fn miss_ratio(hits: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (all - hits) as f64 / all as f64 }
}

/// One cache with one algorithm, to which requests are given.
#[derive(Debug)]
pub struct Replay<E> {
    eviction: E,
    counts: Counts,
}

impl<E: Eviction> Replay<E> {
    /// An empty cache, as large as the algorithm's capacity.
    pub const fn new(eviction: E) -> Self {
        Self { eviction, counts: Counts { requests: 0, hits: 0, bytes: 0, hit_bytes: 0 } }
    }

    /// One request for an object, by its number. True when it is a hit.
    pub fn request(&mut self, number: u32, size: u32) -> bool {
        let bytes = u64::from(size);
        let hit = self.eviction.size(number) == Some(bytes);
        self.counts.requests += 1;
        self.counts.bytes += bytes;
        if hit {
            self.counts.hits += 1;
            self.counts.hit_bytes += bytes;
            self.eviction.access(number, fingerprint(number));
        } else {
            self.eviction.admit(number, bytes, fingerprint(number));
        }
        hit
    }

    /// What was counted so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

/// Evenly distributed bits, as the store's keyed hashes are (the finaliser of SplitMix64).
const fn fingerprint(number: u32) -> u64 {
    let mut bits = (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use larder_storage::eviction::Lru;

    use super::*;

    #[test]
    fn another_size_is_a_miss_and_takes_the_place_of_the_old() {
        let mut replay = Replay::new(Lru::new(100));
        assert!(!replay.request(0, 10));
        assert!(replay.request(0, 10));
        assert!(!replay.request(0, 90));
        assert!(replay.request(0, 90));
        let counts = replay.counts();
        assert_eq!((counts.requests, counts.hits, counts.bytes, counts.hit_bytes), (4, 2, 200, 100));
        assert!((counts.miss_ratio() - 0.5).abs() < 1e-9 && (counts.byte_miss_ratio() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_larger_than_the_cache_is_always_a_miss_and_evicts_nothing() {
        let mut replay = Replay::new(Lru::new(100));
        assert!(!replay.request(0, 60));
        assert!(!replay.request(1, 101));
        assert!(!replay.request(1, 101));
        assert!(replay.request(0, 60));
    }

    #[test]
    fn objects_are_numbered_in_order_of_appearance() {
        let mut objects = Objects::default();
        let numbers = [70, 5, 70, 9].map(|object| objects.number(object, 10).unwrap());
        assert_eq!(numbers, [0, 1, 0, 2]);
        assert_eq!((objects.len(), objects.footprint()), (3, 30));
        assert_eq!(Counts::default().miss_ratio(), 0.0);
    }
}
