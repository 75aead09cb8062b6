//! All replays that the curves of a simulation take, and what comes of them.

use super::{Curve, ExactLru, Miniatures, Point, SampledLru, combined, grid, samples};
use crate::counts::Counts;
use crate::drive::Observer;
use crate::policy::Policy;
use crate::replay::{Cache, Replaying, Window};
use crate::scan::Scan;
use crate::simulation::{Plan, sampling};
use larder_storage::eviction::Algorithm;

const LRU: Policy = Policy::Shipped(Algorithm::Lru);

/// See the module.
pub struct CurveReplays {
    grid: Vec<u64>,
    policies: Vec<Policy>,
    share: f64,
    lru: Option<ExactLru>,
    /// For each policy but LRU, a cache of each capacity.
    caches: Vec<(Policy, Vec<Box<dyn Replaying>>)>,
    /// For each sample, LRU and the others.
    samples: Vec<(SampledLru, Vec<(Policy, Miniatures)>)>,
}

impl std::fmt::Debug for CurveReplays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CurveReplays")
            .field("grid", &self.grid)
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

impl CurveReplays {
    /// The replays for a plan; none when no curves are wanted. The capacities, their halves and doubles are points.
    #[must_use]
    pub fn new(scan: &Scan, plan: &Plan, capacities: &[u64], window: Window) -> Self {
        let more: Vec<u64> =
            capacities.iter().flat_map(|bytes| [bytes / 2, *bytes, bytes.saturating_mul(2)]).collect();
        let grid = grid(scan.footprint(), &more);
        let mut policies = plan.policies.clone();
        policies.dedup();
        let mut replays =
            Self { share: 1.0, lru: None, caches: Vec::new(), samples: Vec::new(), grid, policies };
        let others = || replays.policies.iter().copied().filter(|policy| *policy != LRU);
        let Some((share, count)) = sampling(plan, window.requests, replays.grid.len()) else {
            replays.policies.clear();
            return replays;
        };
        if share >= 1.0 {
            let caches = |policy: Policy| {
                let cache =
                    |capacity: &u64| Cache { policy, capacity: *capacity, memory: None }.replay(window);
                (policy, replays.grid.iter().map(cache).collect())
            };
            replays.caches = others().map(caches).collect();
        } else {
            let sampled = samples(scan, share, count).into_iter().map(|sample| {
                let miniatures = others()
                    .map(|policy| (policy, Miniatures::new(sample.clone(), policy, &replays.grid, window)));
                let miniatures = miniatures.collect();
                (SampledLru::new(sample, replays.grid.clone(), window), miniatures)
            });
            replays.samples = sampled.collect();
        }
        if replays.policies.contains(&LRU) && replays.samples.is_empty() {
            replays.lru = Some(ExactLru::new(replays.grid.clone(), window));
        }
        replays.share = share;
        replays
    }

    /// All of them, to be shown the trace.
    pub fn observers(&mut self) -> Vec<&mut dyn Observer> {
        let mut all: Vec<&mut dyn Observer> = Vec::new();
        if let Some(lru) = &mut self.lru {
            all.push(lru);
        }
        for cache in self.caches.iter_mut().flat_map(|(_, caches)| caches) {
            all.push(&mut **cache as &mut dyn Observer);
        }
        for (lru, miniatures) in &mut self.samples {
            all.push(lru);
            all.extend(miniatures.iter_mut().map(|(_, miniatures)| miniatures as &mut dyn Observer));
        }
        all
    }

    /// The curves, in the plan's order. `all` has what an infinite cache would have answered.
    #[must_use]
    pub fn report(&self, all: Counts) -> Vec<Curve> {
        let curves = self.policies.iter().map(|policy| Curve {
            policy: policy.name().to_owned(),
            sampled: self.share,
            points: if self.samples.is_empty() { self.exact(*policy) } else { self.sampled(*policy, all) },
        });
        curves.collect()
    }

    fn exact(&self, policy: Policy) -> Vec<Point> {
        let counts: Vec<Counts> = match &self.lru {
            Some(lru) if policy == LRU => lru.counts(),
            _ => {
                let caches = self.caches.iter().filter(|(other, _)| *other == policy);
                caches.flat_map(|(_, caches)| caches).map(|cache| cache.outcome().counts).collect()
            }
        };
        let point = |(capacity, counts): (&u64, Counts)| Point {
            capacity_bytes: *capacity,
            hit_ratio: counts.hit_ratio(),
            byte_hit_ratio: counts.byte_hit_ratio(),
            error: 0.0,
            byte_error: 0.0,
        };
        self.grid.iter().zip(counts).map(point).collect()
    }

    fn sampled(&self, policy: Policy, all: Counts) -> Vec<Point> {
        let estimates: Vec<Vec<(f64, f64)>> = self
            .samples
            .iter()
            .filter_map(|(lru, miniatures)| {
                if policy == LRU {
                    return Some(lru.estimates(all));
                }
                let (_, miniatures) = miniatures.iter().find(|(other, _)| *other == policy)?;
                Some(miniatures.estimates(lru, all))
            })
            .collect();
        let of = |pick: fn(&(f64, f64)) -> f64| {
            let point = |at: usize| estimates.iter().filter_map(|sample| sample.get(at)).map(pick).collect();
            combined(&(0..self.grid.len()).map(point).collect::<Vec<Vec<f64>>>())
        };
        let ratios = of(|(hits, _)| *hits).into_iter().zip(of(|(_, bytes)| *bytes));
        let point = |(capacity, ((hit_ratio, error), (byte_hit_ratio, byte_error))): (&u64, _)| Point {
            capacity_bytes: *capacity,
            hit_ratio,
            byte_hit_ratio,
            error,
            byte_error,
        };
        self.grid.iter().zip(ratios).map(point).collect()
    }
}
