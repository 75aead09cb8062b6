//! Latencies in bounded memory: buckets of about three percent.

use std::time::Duration;

/// Buckets to each doubling.
const STEPS: u64 = 32;
const BUCKETS: usize = 64 * STEPS as usize;

/// How long requests took.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(micros)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(time);
    }

    /// The time within which this share of all requests ended, to about three percent; none when there were no requests.
    pub(super) fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        let bucket = self.buckets.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(Duration::from_micros(upper_end(bucket)).min(self.max))
    }

    pub(super) const fn max(&self) -> Duration {
        self.max
    }
}

/// Exact below 32 microseconds; above, the five bits that follow the highest one.
fn bucket_of(micros: u64) -> usize {
    let doubling = u64::from(micros.max(1).ilog2());
    let bucket =
        if doubling < 5 { micros } else { (doubling - 4) * STEPS + (micros >> (doubling - 5)) - STEPS };
    usize::try_from(bucket).unwrap_or(BUCKETS)
}

/// The greatest number of microseconds of a bucket.
const fn upper_end(bucket: usize) -> u64 {
    let (group, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if group == 0 { step } else { (((STEPS + step + 1) as u128) << (group - 1)).saturating_sub(1) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_a_thirtieth_wide_and_holds_what_is_put_into_it() {
        for micros in [0, 1, 31, 32, 33, 63, 64, 65, 1_000, 999_999, 123_456_789, u64::MAX] {
            let bucket = bucket_of(micros);
            let end = upper_end(bucket);
            assert!(end >= micros && end - micros <= micros / 30, "{micros}: {bucket} ends at {end}");
            assert!(bucket < BUCKETS);
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        (1..=100).for_each(|millis| histogram.add(Duration::from_millis(millis)));
        for (share, expected) in [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = histogram.percentile(share).unwrap().as_secs_f64() * 1000.0;
            assert!((found - expected).abs() <= expected * 0.04, "{share}: {found}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(100));
    }
}
