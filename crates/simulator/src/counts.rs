//! What is counted, and the ratios of it.

use std::ops::AddAssign;

/// Requests and bytes, and how many of them were hits.
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
    /// Counts one request.
    pub const fn count(&mut self, size: u64, hit: bool) {
        self.requests += 1;
        self.bytes = self.bytes.saturating_add(size);
        if hit {
            self.hits += 1;
            self.hit_bytes = self.hit_bytes.saturating_add(size);
        }
    }

    /// Share of the requests that were hits; zero when there were none.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        share(self.hits, self.requests)
    }

    /// Share of the bytes that were hits; zero when there were none.
    #[must_use]
    pub fn byte_hit_ratio(&self) -> f64 {
        share(self.hit_bytes, self.bytes)
    }

    /// Share of the requests that were no hits; zero when there were none.
    #[must_use]
    pub fn miss_ratio(&self) -> f64 {
        share(self.misses(), self.requests)
    }

    /// Share of the bytes that were no hits; zero when there were none.
    #[must_use]
    pub fn byte_miss_ratio(&self) -> f64 {
        share(self.miss_bytes(), self.bytes)
    }

    /// Requests that went to an origin.
    #[must_use]
    pub const fn misses(&self) -> u64 {
        self.requests - self.hits
    }

    /// Bytes that came from an origin.
    #[must_use]
    pub const fn miss_bytes(&self) -> u64 {
        self.bytes - self.hit_bytes
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.hits += other.hits;
        self.bytes += other.bytes;
        self.hit_bytes += other.hit_bytes;
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_requests_and_of_bytes() {
        let mut counts = Counts::default();
        assert_eq!((counts.hit_ratio(), counts.byte_miss_ratio()), (0.0, 0.0));
        counts.count(30, true);
        counts.count(10, false);
        assert_eq!((counts.hit_ratio(), counts.byte_hit_ratio()), (0.5, 0.75));
        assert_eq!((counts.miss_ratio(), counts.byte_miss_ratio()), (0.5, 0.25));
        assert_eq!((counts.misses(), counts.miss_bytes()), (1, 10));
    }
}
