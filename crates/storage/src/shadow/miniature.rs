//! One size of cache in miniature, with every algorithm: what each of them would have hit.
//!
//! The algorithms are those that ship. While the objects are few, all are followed and the figures are exact; when they
//! are too many for the memory, every second of the smallest is let go of, see [`Scale`]. Misses are counted in
//! groups of objects that have nothing in common, whose difference tells the error.
//!
//! The ratio is one less the misses that the followed objects stand for, by the requests that there really were: whether
//! some object that everybody asks for is followed or not makes little difference then, as it hardly ever misses
//! (Waldspurger et al., FAST 2015, call it SHARDS-adj). Where most requests miss, they are better divided by those for
//! the followed objects.

use super::objects::Objects;
use super::scale::{Scale, lot};
use crate::eviction::{Algorithm, Eviction, Gdsf};

/// How many algorithms there are.
pub(crate) const CANDIDATES: usize = Algorithm::ALL.len();
const GROUPS: usize = 8;
/// One object of so many is room enough that it is not left to chance.
const PART_OF_OBJECTS: u64 = 8;
/// An object may grow or shrink by one part in so many and be the same: its fields change when it is validated.
const SAME_PART: u64 = 8;
/// One object stands for at most so many, as a binary logarithm.
const COARSE_MAX: u32 = 32;

/// Requests and bytes.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Traffic {
    pub(crate) requests: f64,
    pub(crate) bytes: f64,
}

impl Traffic {
    fn add(&mut self, requests: f64, bytes: f64) {
        self.requests += requests;
        self.bytes += bytes;
    }

    fn scale(&mut self, by: f64) {
        self.requests *= by;
        self.bytes *= by;
    }
}

#[derive(Debug)]
struct Candidate {
    list: Box<dyn Eviction>,
    missed: [Traffic; GROUPS],
    /// Since [`Miniature::take_window`].
    window: Traffic,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Miniature {
    scale: Scale,
    objects_max: usize,
    objects: Objects,
    candidates: [Candidate; CANDIDATES],
    total: Traffic,
    window: Traffic,
    /// What the followed stand for since [`Miniature::take_seen`].
    seen: Traffic,
    /// What they stand for altogether, by their groups.
    groups: [Traffic; GROUPS],
}

/// What a candidate would hit, each with its standard error.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Estimate {
    pub(crate) requests: f64,
    pub(crate) requests_error: f64,
    pub(crate) bytes: f64,
    pub(crate) bytes_error: f64,
}

impl Miniature {
    /// Of a cache of `capacity` bytes, following at most so many objects.
    pub(crate) fn new(capacity: u64, objects_max: usize) -> Self {
        let scale = Scale::new(capacity, (objects_max as u64 / PART_OF_OBJECTS).max(1));
        let room = scale.capacity(capacity);
        let candidate = |algorithm| Candidate {
            list: match algorithm {
                Algorithm::Gdsf => Box::new(Gdsf::scaled(room)),
                other => other.ranked(room),
            },
            missed: [Traffic::default(); GROUPS],
            window: Traffic::default(),
        };
        Self {
            scale,
            objects_max,
            objects: Objects::default(),
            candidates: Algorithm::ALL.map(candidate),
            total: Traffic::default(),
            window: Traffic::default(),
            seen: Traffic::default(),
            groups: [Traffic::default(); GROUPS],
        }
    }

    /// There were so many requests, followed or not.
    pub(crate) fn count(&mut self, requests: f64, bytes: f64) {
        self.total.add(requests, bytes);
        self.window.add(requests, bytes);
    }

    /// An object was asked for, which counts only if it is followed.
    pub(crate) fn request(&mut self, fingerprint: u64, size: u64) {
        let Some((id, size)) = self.number(fingerprint, size) else { return };
        let scaled = self.scale.size(size);
        let stands_for = (1_u64 << self.scale.level(size)) as f64;
        self.seen.add(stands_for, stands_for * size as f64);
        let group = lot(fingerprint) as usize % GROUPS;
        if let Some(seen) = self.groups.get_mut(group) {
            seen.add(stands_for, stands_for * size as f64);
        }
        let mut listed = 0;
        for candidate in &mut self.candidates {
            if candidate.list.size(id).is_some() {
                candidate.list.access(id, fingerprint);
                listed += 1;
                continue;
            }
            if let Some(missed) = candidate.missed.get_mut(group) {
                missed.add(stands_for, stands_for * size as f64);
            }
            candidate.window.add(stands_for, stands_for * size as f64);
            listed += 1;
            for victim in candidate.list.admit(id, scaled, fingerprint) {
                if victim == id {
                    listed -= 1;
                } else if self.objects.leaves(victim) {
                    self.objects.forget(victim);
                }
            }
        }
        if listed == 0 {
            self.objects.forget(id);
        } else {
            self.objects.set_listed(id, listed);
        }
    }

    /// What a candidate would have hit lately.
    pub(crate) fn estimate(&self, candidate: usize) -> Estimate {
        let Some(candidate) = self.candidates.get(candidate) else { return Estimate::default() };
        let unseen = 1.0 - 0.5_f64.powi(self.scale.coarse() as i32);
        let of = |what: fn(&Traffic) -> f64| {
            let (missed, seen) = (candidate.missed.map(|one| what(&one)), self.groups.map(|one| what(&one)));
            let (all_missed, all_seen) = (missed.iter().sum::<f64>(), seen.iter().sum::<f64>());
            // The misses by all requests, or by those that were followed, whichever is surer.
            let by = |all: f64, even: bool| {
                let ratio = all_missed / all;
                let expected = |seen: f64| if even { all_missed / GROUPS as f64 } else { ratio * seen };
                let off = missed.iter().zip(seen).map(|(missed, seen)| (missed - expected(seen)).powi(2));
                let variance = unseen * off.sum::<f64>() * GROUPS as f64 / (GROUPS - 1) as f64;
                ((1.0 - ratio).clamp(0.0, 1.0), (variance.sqrt() / all).min(1.0))
            };
            let (total, followed) = (what(&self.total), all_seen);
            if total <= 0.0 || followed <= 0.0 {
                return (0.0, 0.0);
            }
            let (by_all, by_followed) = (by(total, true), by(followed, false));
            if by_followed.1 < by_all.1 { by_followed } else { by_all }
        };
        let (requests, requests_error) = of(|traffic| traffic.requests);
        let (bytes, bytes_error) = of(|traffic| traffic.bytes);
        Estimate { requests, requests_error, bytes, bytes_error }
    }

    /// What there was, and what each candidate missed of it, since this was asked for the last time.
    pub(crate) fn take_window(&mut self) -> (Traffic, [Traffic; CANDIDATES]) {
        let missed = std::array::from_fn(|at| {
            self.candidates.get_mut(at).map(|one| std::mem::take(&mut one.window)).unwrap_or_default()
        });
        (std::mem::take(&mut self.window), missed)
    }

    /// What the followed objects' requests stand for, since this was asked for the last time.
    pub(crate) fn take_seen(&mut self) -> Traffic {
        std::mem::take(&mut self.seen)
    }

    /// Counts what was before for so much less from now on.
    pub(crate) fn fade(&mut self, by: f64) {
        self.total.scale(by);
        self.groups.iter_mut().for_each(|seen| seen.scale(by));
        for missed in self.candidates.iter_mut().flat_map(|candidate| &mut candidate.missed) {
            missed.scale(by);
        }
    }

    /// Requests and bytes that the figures are from; what is long ago counts for less.
    pub(crate) const fn total(&self) -> Traffic {
        self.total
    }

    /// Which objects are followed.
    pub(crate) const fn scale(&self) -> Scale {
        self.scale
    }

    /// How many are.
    pub(crate) fn objects(&self) -> usize {
        self.objects.len()
    }

    /// The share of its room that a candidate has filled.
    pub(crate) fn filled(&self, candidate: usize) -> f64 {
        let Some(candidate) = self.candidates.get(candidate) else { return 0.0 };
        candidate.list.used() as f64 / candidate.list.capacity().max(1) as f64
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let lists = self.candidates.iter().map(|candidate| candidate.list.memory_bytes());
        self.objects.memory_bytes() + lists.sum::<usize>()
    }

    /// The number of an object that is followed, and its size. One that comes with quite another size is in no list.
    fn number(&mut self, fingerprint: u64, size: u64) -> Option<(u32, u64)> {
        if !self.scale.follows(fingerprint, size) {
            return None;
        }
        if let Some((id, before)) = self.objects.find(fingerprint) {
            if before.abs_diff(size) > before / SAME_PART {
                self.unlist(id);
                self.objects.set_size(id, size);
                return Some((id, size));
            }
            return Some((id, before));
        }
        while self.objects.len() >= self.objects_max {
            if !self.coarsen() || !self.scale.follows(fingerprint, size) {
                return None;
            }
        }
        Some((self.objects.add(fingerprint, size)?, size))
    }

    fn unlist(&mut self, id: u32) {
        for candidate in &mut self.candidates {
            candidate.list.remove(id);
        }
    }

    /// Lets go of half of the smallest objects. False when there is nothing to let go of: all are large.
    pub(crate) fn coarsen(&mut self) -> bool {
        if self.scale.coarse() >= COARSE_MAX {
            return false;
        }
        self.scale.coarsen();
        for id in 0..self.objects.end() {
            let Some((fingerprint, size)) = self.objects.get(id) else { continue };
            if self.scale.follows(fingerprint, size) {
                let scaled = self.scale.size(size);
                self.candidates.iter_mut().for_each(|candidate| candidate.list.resize(id, scaled));
            } else {
                self.unlist(id);
                self.objects.forget(id);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    fn fingerprint(object: u64) -> u64 {
        lot(object.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Objects of which few are asked for often, with sizes from 100 bytes to 1 MB.
    fn requests() -> impl Iterator<Item = (u64, u64)> {
        let mut random = Random(0x1234_5678_9abc_def1);
        (0..200_000).map(move |_| {
            let bound = 1 + random.next() % 60_000;
            let object = random.next() % bound;
            (fingerprint(object), 100 << (lot(fingerprint(object)) % 14))
        })
    }

    /// Hit ratios of a cache that follows everything with one algorithm.
    fn exact(algorithm: Algorithm, capacity: u64) -> (f64, f64) {
        let mut list = algorithm.ranked(capacity);
        let mut numbers = std::collections::HashMap::new();
        let (mut hits, mut all) = (Traffic::default(), Traffic::default());
        for (fingerprint, size) in requests() {
            let next = numbers.len() as u32;
            let id = *numbers.entry(fingerprint).or_insert(next);
            all.add(1.0, size as f64);
            if list.size(id).is_some() {
                list.access(id, fingerprint);
                hits.add(1.0, size as f64);
            } else {
                list.admit(id, size, fingerprint);
            }
        }
        (hits.requests / all.requests, hits.bytes / all.bytes)
    }

    fn miniature(capacity: u64, objects_max: usize) -> Miniature {
        let mut miniature = Miniature::new(capacity, objects_max);
        for (fingerprint, size) in requests() {
            miniature.count(1.0, size as f64);
            miniature.request(fingerprint, size);
        }
        miniature
    }

    #[test]
    fn what_is_followed_whole_is_exact() {
        let capacity = 200 << 20;
        let miniature = miniature(capacity, 100_000);
        assert_eq!(miniature.scale().coarse(), 0);
        for (at, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            let (requests, bytes) = exact(algorithm, capacity);
            let found = miniature.estimate(at);
            assert!((found.requests - requests).abs() < 1e-9, "{algorithm}: {found:?}, {requests}");
            assert!((found.bytes - bytes).abs() < 1e-9, "{algorithm}: {found:?}, {bytes}");
            assert_eq!((found.requests_error, found.bytes_error), (0.0, 0.0));
        }
    }

    #[test]
    fn a_sample_is_near_and_knows_how_near() {
        let capacity = 200 << 20;
        let miniature = miniature(capacity, 1_000);
        assert!(miniature.scale().coarse() > 2);
        for (at, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            let (requests, bytes) = exact(algorithm, capacity);
            let found = miniature.estimate(at);
            println!("{algorithm}: {found:?}, in truth {requests:.4} and {bytes:.4}");
            assert!((found.requests - requests).abs() < 0.03_f64.max(3.0 * found.requests_error));
            assert!((found.bytes - bytes).abs() < 0.03_f64.max(3.0 * found.bytes_error));
            assert!(found.requests_error < 0.05 && found.bytes_error < 0.05);
        }
    }

    #[test]
    fn it_never_follows_more_than_it_may_and_forgets_whom_nobody_lists() {
        let mut miniature = Miniature::new(1 << 20, 100);
        for object in 0..50_000 {
            miniature.request(fingerprint(object), 50 + object % 5_000);
            assert!(miniature.objects.len() <= 100);
        }
        // Larger than the cache: in no list.
        let before = miniature.objects.len();
        miniature.request(fingerprint(77_777_777), 2 << 20);
        assert_eq!(miniature.objects.len(), before);
    }

    #[test]
    fn another_size_is_another_object() {
        let mut miniature = Miniature::new(1 << 20, 100);
        let mut misses = |size| {
            miniature.request(fingerprint(1), size);
            miniature.take_window().1[0].requests
        };
        assert_eq!([1_000, 1_000, 5_000, 5_000, 1_000].map(&mut misses), [1.0, 0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn what_fades_counts_for_less() {
        let mut miniature = Miniature::new(1 << 20, 100);
        let ask = |miniature: &mut Miniature, object| {
            miniature.count(1.0, 1_000.0);
            miniature.request(fingerprint(object), 1_000);
        };
        (0..8).for_each(|object| ask(&mut miniature, object));
        miniature.fade(0.5);
        (0..4).for_each(|_| ask(&mut miniature, 0));
        // Eight misses that count for four, and four hits.
        assert!((miniature.estimate(0).requests - 0.5).abs() < 1e-9);
    }
}
