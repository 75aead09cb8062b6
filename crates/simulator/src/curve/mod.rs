//! Hit ratios at all sizes: exact where that is cheap, from samples where a trace is long.
//!
//! LRU's curve comes from one stack ([`Stack`]); any policy's from caches of all sizes, or from miniatures of them: a
//! sample of the objects in caches that are as large as the real ones, each object taking what it stands for. Several
//! samples are drawn; how far they are from each other is the error bar.

mod replays;
mod sample;
mod stack;

use std::sync::Arc;

use larder_storage::eviction::{Algorithm, Eviction};
use serde::Serialize;

use crate::counts::Counts;
use crate::drive::Observer;
use crate::numbers::{Numbered, spread};
use crate::policy::{Policy, ReferenceGdsf, Visitor};
use crate::replay::Window;
use crate::scan::Scan;
pub use replays::CurveReplays;
pub use sample::{Sample, Sampler, Taken};
pub use stack::Stack;

/// Strata: what is always in a sample, and what stands for others.
const CERTAIN: usize = 0;
const OTHERS: usize = 1;
/// Points for each tenfold of capacity.
const POINTS: f64 = 7.0;
/// The smallest cache of a curve, as a share of the footprint.
const SMALLEST: f64 = 0.001;
/// Student's t for 99.9 % and one degree of freedom less than there are samples, from two samples on.
const STUDENT: [f64; 7] = [636.6, 31.60, 12.92, 8.61, 6.87, 5.96, 5.41];
const STUDENT_MANY: f64 = 5.04;
/// What all samples of a trace have in common shows in no spread: no error is said to be smaller than this.
const ERROR_MIN: f64 = 0.005;
/// Points to each side of one whose spread counts for it.
const NEIGHBOURS: usize = 3;

/// The hit ratios of one policy.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Curve {
    /// Its policy.
    pub policy: String,
    /// Share of the objects in each sample; 1 when it is exact.
    pub sampled: f64,
    /// Capacities in order.
    pub points: Vec<Point>,
}

/// A point of a curve. Errors are zero when it is exact.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Point {
    /// Bytes that the cache holds.
    pub capacity_bytes: u64,
    /// Requests that are hits.
    pub hit_ratio: f64,
    /// Bytes that are hits.
    pub byte_hit_ratio: f64,
    /// The true hit ratio is no further away, with 99.9 % confidence.
    pub error: f64,
    /// The same for bytes.
    pub byte_error: f64,
}

/// Capacities for a curve: from a thousandth of the footprint to all of it, and these.
#[must_use]
pub fn grid(footprint: u64, more: &[u64]) -> Vec<u64> {
    let steps = (-SMALLEST.log10() * POINTS).round();
    let mut grid: Vec<u64> = (0..=steps as u32)
        .map(|step| (footprint as f64 * 10_f64.powf((f64::from(step) - steps) / POINTS)) as u64)
        .chain(more.iter().copied())
        .filter(|capacity| *capacity > 0)
        .collect();
    grid.sort_unstable();
    grid.dedup();
    grid
}

/// LRU at all sizes, exact.
#[derive(Debug)]
pub struct ExactLru {
    stack: Stack,
    window: Window,
    seen: u64,
}

impl ExactLru {
    /// For caches of these capacities.
    #[must_use]
    pub fn new(grid: Vec<u64>, window: Window) -> Self {
        Self { stack: Stack::new(grid), window, seen: 0 }
    }

    /// What was counted at each.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.stack.counts(0)
    }

    /// Bytes of memory that this takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.stack.memory_bytes()
    }
}

impl Observer for ExactLru {
    fn observe(&mut self, requests: &[Numbered]) {
        for Numbered { number, size, .. } in requests {
            self.stack.request(*number, *size, *size, (self.seen >= self.window.warmup).then_some(0));
            self.seen += 1;
        }
    }
}

/// LRU at all sizes, from a sample.
#[derive(Debug)]
pub struct SampledLru {
    sampler: Sampler,
    stack: Stack,
    window: Window,
    seen: u64,
}

impl SampledLru {
    /// For caches of these capacities.
    #[must_use]
    pub fn new(sample: Sample, grid: Vec<u64>, window: Window) -> Self {
        Self { sampler: Sampler::new(sample), stack: Stack::new(grid), window, seen: 0 }
    }

    /// What its sample makes of all: hits and hit bytes at each capacity.
    #[must_use]
    pub fn estimates(&self, all: Counts) -> Vec<(f64, f64)> {
        let scale = self.scale(all);
        let counts = self.stack.counts(CERTAIN).into_iter().zip(self.stack.counts(OTHERS));
        counts.map(|(certain, others)| scale.estimate(certain, others)).collect()
    }

    /// How what the others do is scaled.
    fn scale(&self, all: Counts) -> Scale {
        Scale::new(all, self.stack.infinite(CERTAIN), self.stack.infinite(OTHERS))
    }

    /// Bytes of memory that this takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.stack.memory_bytes() + self.sampler.memory_bytes()
    }
}

impl Observer for SampledLru {
    fn observe(&mut self, requests: &[Numbered]) {
        for Numbered { number, size, .. } in requests {
            let counted = self.seen >= self.window.warmup;
            self.seen += 1;
            if let Some(taken) = self.sampler.take(*number) {
                let charge = self.sampler.sample().charge(*number, *size, taken.certain);
                let stratum = if taken.certain { CERTAIN } else { OTHERS };
                self.stack.request(taken.number, *size, charge, counted.then_some(stratum));
            }
        }
    }
}

/// What is known of all requests for objects that are not always in a sample: how often, and with how many bytes,
/// they came again. It makes right by how much the sample's share of them is off.
#[derive(Clone, Copy, Debug)]
struct Scale {
    hits: f64,
    bytes: f64,
    all: Counts,
}

impl Scale {
    fn new(all: Counts, certain: Counts, others: Counts) -> Self {
        let ratio = |whole: u64, part: u64| if part == 0 { 0.0 } else { whole as f64 / part as f64 };
        Self {
            hits: ratio(all.hits.saturating_sub(certain.hits), others.hits),
            bytes: ratio(all.hit_bytes.saturating_sub(certain.hit_bytes), others.hit_bytes),
            all,
        }
    }

    fn estimate(&self, certain: Counts, others: Counts) -> (f64, f64) {
        let share = |hits: f64, all: u64| if all == 0 { 0.0 } else { (hits / all as f64).clamp(0.0, 1.0) };
        (
            share(certain.hits as f64 + others.hits as f64 * self.hits, self.all.requests),
            share(certain.hit_bytes as f64 + others.hit_bytes as f64 * self.bytes, self.all.bytes),
        )
    }
}

/// Any policy at all sizes, from a sample.
#[derive(Debug)]
pub struct Miniatures {
    sampler: Sampler,
    caches: Vec<Miniature>,
    window: Window,
    seen: u64,
}

#[derive(Debug)]
struct Miniature {
    cache: MiniatureCache,
    counts: [Counts; 2],
}

#[derive(Debug)]
enum MiniatureCache {
    /// Where an object that takes more bytes is simply larger.
    Any(Box<dyn Eviction>),
    /// Where sizes decide who leaves: they stay what they are, whatever an object takes.
    Gdsf(ReferenceGdsf),
}

impl Miniatures {
    /// Empty caches of these capacities.
    #[must_use]
    pub fn new(sample: Sample, policy: Policy, grid: &[u64], window: Window) -> Self {
        let caches = grid.iter().map(|capacity| Miniature::new(policy, *capacity)).collect();
        Self { sampler: Sampler::new(sample), caches, window, seen: 0 }
    }

    /// What its sample makes of all at each capacity, scaled as LRU is on the same sample.
    #[must_use]
    pub fn estimates(&self, lru: &SampledLru, all: Counts) -> Vec<(f64, f64)> {
        let scale = lru.scale(all);
        self.caches
            .iter()
            .map(|Miniature { counts: [certain, others], .. }| scale.estimate(*certain, *others))
            .collect()
    }
}

impl Miniature {
    fn new(policy: Policy, capacity: u64) -> Self {
        struct Boxed;
        impl Visitor for Boxed {
            type Output = Box<dyn Eviction>;
            fn visit<E: Eviction + 'static>(self, eviction: E) -> Box<dyn Eviction> {
                Box::new(eviction)
            }
        }
        let cache = match policy {
            Policy::Shipped(Algorithm::Gdsf) | Policy::ReferenceGdsf => {
                MiniatureCache::Gdsf(ReferenceGdsf::new(capacity))
            }
            other => MiniatureCache::Any(other.visit(capacity, Boxed)),
        };
        Self { cache, counts: [Counts::default(); 2] }
    }

    fn request(&mut self, number: u32, size: u64, charge: u64, victims: &mut Vec<u32>) -> bool {
        let fingerprint = spread(u64::from(number));
        match &mut self.cache {
            MiniatureCache::Any(cache) => {
                let hit = cache.size(number) == Some(charge);
                if hit {
                    cache.access(number, fingerprint);
                } else {
                    cache.admit_into(number, charge, fingerprint, victims);
                }
                hit
            }
            MiniatureCache::Gdsf(cache) => {
                let hit = cache.size(number) == Some(size);
                if hit {
                    cache.access(number, fingerprint);
                } else {
                    cache.admit_charged(number, size, charge, victims);
                }
                hit
            }
        }
    }
}

impl Observer for Miniatures {
    fn observe(&mut self, requests: &[Numbered]) {
        let mut victims = Vec::new();
        for Numbered { number, size, .. } in requests {
            let counted = self.seen >= self.window.warmup;
            self.seen += 1;
            let Some(taken) = self.sampler.take(*number) else { continue };
            let charge = self.sampler.sample().charge(*number, *size, taken.certain);
            for miniature in &mut self.caches {
                let hit = miniature.request(taken.number, *size, charge, &mut victims);
                victims.clear();
                let stratum = if taken.certain { CERTAIN } else { OTHERS };
                if counted && let Some(counts) = miniature.counts.get_mut(stratum) {
                    counts.count(*size, hit);
                }
            }
        }
    }
}

/// For each point the mean of the estimates that several samples have of it, and how far the truth may be from it.
///
/// A few samples tell their own spread badly: that of the neighbours counts, too, and the largest is taken.
#[must_use]
pub fn combined(points: &[Vec<f64>]) -> Vec<(f64, f64)> {
    let spreads: Vec<(f64, f64)> = points.iter().map(|estimates| mean_and_spread(estimates)).collect();
    let sampled = points.iter().any(|estimates| estimates.len() > 1);
    let around = |at: usize| {
        let near =
            spreads.iter().skip(at.saturating_sub(NEIGHBOURS)).take(NEIGHBOURS + at.min(NEIGHBOURS) + 1);
        near.map(|(_, spread)| *spread).fold(if sampled { ERROR_MIN } else { 0.0 }, f64::max)
    };
    spreads.iter().enumerate().map(|(at, (mean, _))| (*mean, around(at))).collect()
}

fn mean_and_spread(estimates: &[f64]) -> (f64, f64) {
    let samples = estimates.len().max(1) as f64;
    let mean = estimates.iter().sum::<f64>() / samples;
    let Some(freedom) = estimates.len().checked_sub(2) else { return (mean, 0.0) };
    let student = STUDENT.get(freedom).copied().unwrap_or(STUDENT_MANY);
    let variance = estimates.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (samples - 1.0);
    (mean, student * (variance / samples).sqrt())
}

/// The samples of a trace, about `share` of its objects in each.
#[must_use]
pub fn samples(scan: &Scan, share: f64, count: u64) -> Vec<Sample> {
    let certain: Arc<[u64]> = Sample::certain(scan, share);
    (1..=count).map(|seed| Sample::new(scan, share, certain.clone(), seed)).collect()
}
