//! Figures for people and for other programs: a table, and CSV.

use std::fmt::{self, Display, Formatter};

use larder_storage::eviction::Algorithm;

use crate::replay::Counts;

/// What one algorithm made of one trace at one size.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the trace.
    pub trace: String,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Capacity as a share of the footprint.
    pub size_ratio: f64,
    /// Capacity in bytes.
    pub cache_bytes: u64,
    /// Distinct objects.
    pub objects: u64,
    /// Sum of their sizes in bytes.
    pub footprint_bytes: u64,
    /// What was counted.
    pub counts: Counts,
}

/// The names of a row's columns, for CSV.
pub const CSV_HEADER: &str =
    "trace,policy,size_ratio,cache_bytes,requests,objects,footprint_bytes,miss_ratio,byte_miss_ratio";

impl Row {
    /// The row as a line of CSV, without its end.
    #[must_use]
    pub fn csv(&self) -> String {
        format!(
            "{},{},{},{},{},{},{},{:.6},{:.6}",
            self.trace,
            self.algorithm,
            self.size_ratio,
            self.cache_bytes,
            self.counts.requests,
            self.objects,
            self.footprint_bytes,
            self.counts.miss_ratio(),
            self.counts.byte_miss_ratio()
        )
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<20} {:<10} {:>6} {:>10} requests, hits {:.4}, byte hits {:.4}",
            self.trace,
            self.algorithm.name(),
            format!("{}%", self.size_ratio * 100.0),
            self.counts.requests,
            1.0 - self.counts.miss_ratio(),
            1.0 - self.counts.byte_miss_ratio()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Requests, fixtures, trace};

    /// The ratios of `fixtures/traces`, of which those of LRU and SIEVE agree with another simulator's.
    #[test]
    fn the_ratios_of_the_fixtures_are_what_they_were() {
        let mut text = format!("{CSV_HEADER}\n");
        for file in ["drift.oracleGeneral.zst", "scan.oracleGeneral"] {
            let requests = Requests::collect(trace::open(&fixtures().join(file)).unwrap()).unwrap();
            let footprint = requests.objects().footprint();
            for (algorithm, size_ratio) in
                Algorithm::ALL.into_iter().flat_map(|one| [0.01, 0.1, 0.3].map(|size| (one, size)))
            {
                let cache_bytes = (size_ratio * footprint as f64) as u64;
                let counts = requests.replay(algorithm.ranked(cache_bytes));
                let in_memory = requests.replay(algorithm.in_memory(cache_bytes));
                assert_eq!(counts, in_memory, "{algorithm}");
                let row = Row {
                    trace: file.split('.').next().unwrap().to_owned(),
                    algorithm,
                    size_ratio,
                    cache_bytes,
                    objects: requests.objects().len() as u64,
                    footprint_bytes: footprint,
                    counts,
                };
                text += &format!("{}\n", row.csv());
            }
        }
        let path = fixtures().join("ratios.csv");
        if std::env::var_os("LARDER_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == text, "ratios differ (LARDER_BLESS=1 writes ratios.csv anew):\n{text}");
    }
}
