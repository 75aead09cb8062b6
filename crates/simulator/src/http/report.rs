//! What a simulation has counted.

use std::collections::BTreeMap;

use super::{Cause, Tier, Verdict};
use crate::log::Entry;

/// Requests and their bytes, as the log has them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Count {
    /// Requests.
    pub requests: u64,
    /// Bytes that their clients were sent.
    pub bytes: u64,
}

impl Count {
    const fn add(&mut self, bytes: u64) {
        self.requests += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn plus(self, other: Self) -> Self {
        Self { requests: self.requests + other.requests, bytes: self.bytes.saturating_add(other.bytes) }
    }
}

/// The figures of a simulation.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Report {
    /// Answered from memory.
    pub memory: Count,
    /// Answered from disk.
    pub disk: Count,
    /// Answered although stale.
    pub stale: Count,
    /// Answered after a validation.
    pub revalidated: Count,
    /// Answered by the origin, by the word of the cause.
    pub misses: BTreeMap<&'static str, Count>,
    /// Of those that may not be stored, by the reason.
    pub uncacheable: BTreeMap<&'static str, Count>,
    /// Nothing for a cache.
    pub aside: Count,
    /// Requests that the origin got.
    pub origin_requests: u64,
    /// Bytes that it sent.
    pub origin_bytes: u64,
    /// Bytes of bodies that were written to disk.
    pub written_bytes: u64,
    /// Responses that unsafe requests removed.
    pub invalidated: u64,
    /// Requests for parts (206), which only whole responses answer here.
    pub parts: u64,
    /// Answers of the origin of which the log shows no fields: freshness and validators are assumed.
    pub untold: u64,
    /// Lines that are older than the one before them.
    pub backwards: u64,
}

impl Report {
    pub(super) fn count(&mut self, entry: &Entry, verdict: Verdict) {
        let bytes = entry.bytes;
        self.parts += u64::from(entry.status == 206);
        match verdict {
            Verdict::Hit(Tier::Memory) => self.memory.add(bytes),
            Verdict::Hit(Tier::Disk) => self.disk.add(bytes),
            Verdict::Stale => self.stale.add(bytes),
            Verdict::Revalidated => self.revalidated.add(bytes),
            Verdict::Aside => self.aside.add(bytes),
            Verdict::Miss(cause) => {
                self.misses.entry(cause.as_str()).or_default().add(bytes);
                if let Cause::Uncacheable(why) = cause {
                    self.uncacheable.entry(why.as_str()).or_default().add(bytes);
                }
            }
        }
    }

    /// All that came out of the cache.
    #[must_use]
    pub fn hits(&self) -> Count {
        [self.disk, self.stale, self.revalidated].into_iter().fold(self.memory, Count::plus)
    }

    /// All requests that are a cache's business.
    #[must_use]
    pub fn all(&self) -> Count {
        self.misses.values().copied().fold(self.hits(), Count::plus)
    }

    /// Share of the requests that were hits; zero when there were none.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        share(self.hits().requests, self.all().requests)
    }

    /// Share of the bytes that were hits; zero when there were none.
    #[must_use]
    pub fn byte_hit_ratio(&self) -> f64 {
        share(self.hits().bytes, self.all().bytes)
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}
