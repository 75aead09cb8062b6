//! What a client found, as a line of JSON.

use std::io::Write;
use std::time::{Duration, Instant};

/// Counts, and how long each request took.
pub(crate) struct Report {
    began: Instant,
    took: Duration,
    /// Of bodies, those that were not complete when the time was over included.
    pub(crate) bytes: u64,
    latencies: Vec<Duration>,
}

impl Report {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), took: Duration::ZERO, bytes: 0, latencies: Vec::new() }
    }

    pub(crate) fn answered(&mut self, after: Duration) {
        self.latencies.push(after);
    }

    pub(crate) fn answers(&self) -> u64 {
        self.latencies.len() as u64
    }

    pub(crate) fn end(&mut self, now: Instant) {
        self.took = now - self.began;
    }

    /// Writes the line; there are no percentiles where no request was answered.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn print(mut self, out: &mut impl Write) -> anyhow::Result<()> {
        self.latencies.sort_unstable();
        writeln!(
            out,
            r#"{{"requests": {}, "bytes": {}, "seconds": {:.6}, "p50": {}, "p99": {}, "most": {}}}"#,
            self.latencies.len(),
            self.bytes,
            self.took.as_secs_f64(),
            self.percentile(50),
            self.percentile(99),
            self.percentile(100),
        )?;
        Ok(())
    }

    fn percentile(&self, percent: usize) -> String {
        let rank = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
        self.latencies.get(rank).map_or("null".into(), |latency| format!("{:.6}", latency.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(latencies: impl IntoIterator<Item = u64>) -> String {
        let mut report = Report::begin();
        latencies.into_iter().for_each(|milliseconds| report.answered(Duration::from_millis(milliseconds)));
        let mut out = Vec::new();
        report.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let line = printed((1..=200).rev());
        assert!(line.contains(r#""requests": 200,"#), "{line}");
        assert!(line.contains(r#""p50": 0.100000, "p99": 0.198000, "most": 0.200000"#), "{line}");
    }

    #[test]
    fn without_answers_there_are_no_percentiles() {
        assert!(printed([]).contains(r#""requests": 0, "bytes": 0, "seconds": 0.000000, "p50": null"#));
    }
}
