//! The miniatures of one tier: five sizes, and whom to follow.

use super::chooser::{Change, Chooser};
use super::miniature::Miniature;
use super::scale::Scale;
use super::{OBJECTS, OBJECTS_OF_OTHERS, WINDOW};
use crate::eviction::{Aim, Algorithm, Policy};
use crate::stored::Tier;

/// Sizes that are kept, as shares of the tier's own.
const SIZES: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
/// Which of them is the tier's own.
const OWN: usize = 2;
/// Least seconds of a window, after which the algorithms are compared.
const WINDOW_SECS: u32 = 60;
/// After so many requests those before count for half.
const REQUESTS_MAX: f64 = 4e6;
/// With fewer requests than this nothing can be told.
const REQUESTS_MIN: f64 = 1000.0;
/// Nor while less than this share of the tier's size was ever in use.
const FILLED_MIN: f64 = 0.8;
/// Fewer objects than this are followed whole, however busy they are.
const OBJECTS_MIN: usize = 512;

/// What other sizes and algorithms would make of a tier's requests. Counts are since the store was opened, from an empty
/// cache on; what is long ago counts for less.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Shadow {
    /// Which tier.
    pub tier: Tier,
    /// What it is for.
    pub aim: Aim,
    /// Its size in bytes, of which the sizes below are shares.
    pub limit: u64,
    /// How it chooses what leaves.
    pub policy: Policy,
    /// The algorithm that it goes by now.
    pub algorithm: Algorithm,
    /// How often that has changed since the store was opened.
    pub changes: u64,
    /// Requests that the ratios are from.
    pub requests: u64,
    /// One in so many of the smallest objects was followed.
    pub one_in: u64,
    /// Requests that could not be taken note of.
    pub lost: u64,
    /// The share of its size that was in use.
    pub filled: f64,
    /// Whether there was enough to tell anything by: requests, and objects that fill it.
    pub tells: bool,
    /// Bytes of memory that its shadow caches take.
    pub memory_bytes: u64,
    /// For each size each algorithm.
    pub estimates: Vec<ShadowEstimate>,
}

/// What one algorithm would make of one size. Errors are standard errors of the sample: the truth is within twice as much
/// in nineteen cases of twenty.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ShadowEstimate {
    /// Share of the tier's size.
    pub size: f64,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Share of the requests that would be hits.
    pub request_hit_ratio: f64,
    /// Its error.
    pub request_error: f64,
    /// Share of the bytes that would be hits.
    pub byte_hit_ratio: f64,
    /// Its error.
    pub byte_error: f64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct TierShadow {
    tier: Tier,
    aim: Aim,
    limit: u64,
    policy: Policy,
    algorithm: Algorithm,
    changes: u64,
    miniatures: [Miniature; SIZES.len()],
    chooser: Chooser,
    /// Requests of this window, and the second in which it began.
    asked: f64,
    began: u32,
}

impl TierShadow {
    pub(super) fn new(tier: Tier, aim: Aim, limit: u64, policy: Policy, first: Algorithm) -> Self {
        let miniature = |at: usize, size: f64| {
            let objects = if at == OWN { OBJECTS } else { OBJECTS_OF_OTHERS };
            Miniature::new((limit as f64 * size) as u64, objects)
        };
        let mut at = 0;
        let miniatures = SIZES.map(|size| {
            at += 1;
            miniature(at - 1, size)
        });
        let chooser = Chooser::new(aim, first);
        Self {
            tier,
            aim,
            limit,
            policy,
            algorithm: first,
            changes: 0,
            miniatures,
            chooser,
            asked: 0.0,
            began: 0,
        }
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    #[cfg(test)]
    pub(super) fn set_algorithm(&mut self, algorithm: Algorithm) {
        self.algorithm = algorithm;
    }

    /// Which objects are followed at all; none in a tier that there is not.
    pub(super) fn scales(&self) -> impl Iterator<Item = Scale> {
        self.miniatures.iter().filter(|_| self.limit > 0).map(Miniature::scale)
    }

    /// An object was asked for that is so large in this tier.
    pub(super) fn request(&mut self, fingerprint: u64, size: u64) {
        self.miniatures.iter_mut().for_each(|miniature| miniature.request(fingerprint, size));
    }

    /// There were so many requests since this was told the last time, followed or not.
    pub(super) fn count(&mut self, requests: f64) {
        for miniature in &mut self.miniatures {
            let seen = miniature.take_seen();
            miniature.count(requests, seen.bytes);
            if miniature.total().requests > REQUESTS_MAX {
                miniature.fade(0.5);
            }
        }
        self.asked += requests;
    }

    /// There is more than can be taken note of: follows half as much, unless it is little anyhow.
    pub(super) fn coarsen(&mut self) {
        for miniature in self.miniatures.iter_mut().filter(|one| one.objects() > OBJECTS_MIN) {
            miniature.coarsen();
        }
    }

    /// Ends the window if it is due. Returns whom to follow from now on, when that changes.
    pub(super) fn choose(&mut self, now: u32) -> Option<Change> {
        if self.policy != Policy::Auto
            || self.asked < WINDOW as f64
            || now.saturating_sub(self.began) < WINDOW_SECS
        {
            return None;
        }
        (self.asked, self.began) = (0.0, now);
        let (asked, missed) = self.miniatures.get_mut(OWN)?.take_window();
        let change = self.chooser.window(asked, missed)?;
        self.algorithm = change.to;
        self.changes += 1;
        Some(change)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.miniatures.iter().map(Miniature::memory_bytes).sum()
    }

    pub(super) fn report(&self, lost: u64) -> Shadow {
        let own = self.miniatures.get(OWN);
        let place = Algorithm::ALL.iter().position(|one| *one == self.algorithm).unwrap_or_default();
        let requests = own.map_or(0.0, |own| own.total().requests);
        let filled = own.map_or(0.0, |own| own.filled(place));
        let estimates = SIZES.iter().zip(&self.miniatures).flat_map(|(size, miniature)| {
            Algorithm::ALL.into_iter().enumerate().map(move |(at, algorithm)| {
                let estimate = miniature.estimate(at);
                ShadowEstimate {
                    size: *size,
                    algorithm,
                    request_hit_ratio: estimate.requests,
                    request_error: estimate.requests_error,
                    byte_hit_ratio: estimate.bytes,
                    byte_error: estimate.bytes_error,
                }
            })
        });
        Shadow {
            tier: self.tier,
            aim: self.aim,
            limit: self.limit,
            policy: self.policy,
            algorithm: self.algorithm,
            changes: self.changes,
            requests: requests as u64,
            one_in: own.map_or(1, |own| 1 << own.scale().coarse()),
            lost,
            filled,
            tells: requests >= REQUESTS_MIN && filled >= FILLED_MIN,
            memory_bytes: self.memory_bytes() as u64,
            estimates: estimates.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shadow::scale::lot;

    fn tier(limit: u64, policy: Policy) -> TierShadow {
        TierShadow::new(Tier::Disk, Aim::Bytes, limit, policy, Algorithm::Lru)
    }

    /// Asks for an object that has a size of its own from some hundred bytes to many GB; half are small.
    fn ask(tier: &mut TierShadow, object: u64) {
        let bits = lot(object ^ 0x5555);
        tier.request(
            lot(object),
            (300 + (bits & 0xffff)) << (bits.leading_zeros().min(12) * 2).saturating_sub(4),
        );
    }

    #[test]
    fn both_tiers_together_take_less_than_4_mib_whatever_comes() {
        let mut bytes = 0;
        // So small that little fits, and so large that everything does.
        for limit in [64 << 20, 64 << 40] {
            let mut tier = tier(limit, Policy::Auto);
            for object in 0..30_000 {
                ask(&mut tier, object);
                ask(&mut tier, object / 3);
            }
            tier.count(60_000.0);
            println!("{limit}: {} bytes, one in {}", tier.memory_bytes(), tier.report(0).one_in);
            bytes = bytes.max(tier.memory_bytes());
        }
        assert!(2 * bytes + 256 * 1024 <= 4 << 20, "{bytes}");
    }

    #[test]
    fn nothing_is_told_before_there_is_enough() {
        let mut tier = tier(1_000_000, Policy::Auto);
        assert!(!tier.report(0).tells);
        for object in 0..2_000 {
            tier.request(lot(object % 50), 1_000);
        }
        tier.count(2_000.0);
        let report = tier.report(3);
        assert!(!report.tells && report.filled < 0.1, "all of it fits: {report:?}");
        for object in 0..4_000 {
            tier.request(lot(object % 2_000), 1_000);
        }
        tier.count(4_000.0);
        let report = tier.report(3);
        assert!(report.tells && (report.requests, report.lost, report.one_in) == (6_000, 3, 1), "{report:?}");
        let of = |size: f64| {
            let wanted =
                |one: &&ShadowEstimate| (one.size - size).abs() < 1e-9 && one.algorithm == Algorithm::Lru;
            report.estimates.iter().find(wanted).unwrap().request_hit_ratio
        };
        // A loop over twice as much as fits.
        assert!(of(2.0) > of(1.0) && of(1.0) >= of(0.5), "{report:?}");
    }

    #[test]
    fn only_auto_changes_and_not_more_often_than_once_a_minute() {
        for policy in [Policy::Auto, Policy::Fixed(Algorithm::Lru)] {
            let mut tier = tier(100_000, policy);
            let (mut changes, mut object) = (Vec::new(), 0);
            for second in 0..1_200 {
                for _ in 0..50 {
                    // A loop that is somewhat too long for it, beside what comes once: LRU finds nothing.
                    object += 1;
                    let one = if object % 3 == 0 { 1_000_000 + object } else { object % 180 };
                    tier.request(lot(one), 1_000);
                }
                tier.count(50.0);
                if let Some(change) = tier.choose(second) {
                    changes.push((second, change.to));
                }
            }
            println!("{policy}: {changes:?}");
            if policy == Policy::Auto {
                assert!(!changes.is_empty() && tier.algorithm() != Algorithm::Lru);
                assert!(changes.windows(2).all(|pair| pair[1].0 - pair[0].0 >= WINDOW_SECS));
                assert_eq!(tier.report(0).changes, changes.len() as u64);
            } else {
                assert!(changes.is_empty() && tier.algorithm() == Algorithm::Lru);
            }
        }
    }
}
