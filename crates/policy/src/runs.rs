//! Which bytes of a representation are here: runs of absolute positions, and what lies between them.
//!
//! Pure arithmetic of intervals, the one place for it. Runs are in order, none is empty, and no two touch.

use std::ops::Range;

/// Most requests that one client's request is turned into, and so the most gaps that are told apart.
pub const MOST_GAPS: usize = 8;
/// A run between two gaps that is shorter than this many bytes is fetched again: a request costs more.
pub const RUN_WORTH_KEEPING: u64 = 16 * 1024;

/// A set of byte positions, as the runs that it consists of.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Runs(Vec<Range<u64>>);

impl Runs {
    /// No bytes.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// One run, or none where the range is empty.
    pub fn of(range: Range<u64>) -> Self {
        let mut runs = Self::new();
        runs.insert(range);
        runs
    }

    /// Adds these bytes.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // All runs that touch the new one become one with it.
        let first = self.0.partition_point(|run| run.end < range.start);
        let last = self.0.partition_point(|run| run.start <= range.end).max(first);
        let mut merged = range;
        for run in self.0.drain(first..last) {
            merged = merged.start.min(run.start)..merged.end.max(run.end);
        }
        self.0.insert(first, merged);
    }

    /// The runs in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }

    /// How many runs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.iter().map(|run| run.end - run.start).sum()
    }

    /// From the first byte to the end of the last run.
    pub fn hull(&self) -> Option<Range<u64>> {
        Some(self.0.first()?.start..self.0.last()?.end)
    }

    /// The run that holds this byte.
    pub fn run_at(&self, at: u64) -> Option<Range<u64>> {
        let next = self.0.partition_point(|run| run.end <= at);
        self.0.get(next).filter(|run| run.start <= at).cloned()
    }

    /// Whether all of these bytes are here; an empty range is.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.run_at(range.start).is_some_and(|run| run.end >= range.end)
    }

    /// Whether some of these bytes are here.
    pub fn meets(&self, range: &Range<u64>) -> bool {
        let next = self.0.partition_point(|run| run.end <= range.start);
        !range.is_empty() && self.0.get(next).is_some_and(|run| run.start < range.end)
    }

    /// The bytes of `range` that are not here, in order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut at = range.start;
        let next = self.0.partition_point(|run| run.end <= range.start);
        for run in self.0.iter().skip(next).take_while(|run| run.start < range.end) {
            if at < run.start {
                missing.push(at..run.start);
            }
            at = run.end;
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }

    /// What to fetch so that all of `range` is here, in order: at most [`MOST_GAPS`] gaps. Between two of them lies a run that
    /// is worth keeping; the shortest ones are fetched again where there would be more gaps.
    pub fn to_fetch(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let gaps = self.missing(range);
        let between =
            |gaps: &[Range<u64>], at: usize| Some(gaps.get(at + 1)?.start.saturating_sub(gaps.get(at)?.end));
        let mut lengths: Vec<u64> = (0..gaps.len()).filter_map(|at| between(&gaps, at)).collect();
        lengths.sort_unstable_by(|one, other| other.cmp(one));
        // The longest runs stay.
        let least = lengths.get(MOST_GAPS - 2).copied().unwrap_or(0).max(RUN_WORTH_KEEPING);
        let mut kept: Vec<Range<u64>> = Vec::new();
        for gap in gaps {
            // Of several runs of the least length, the last ones stay only as far as there is room.
            let room = kept.len() < MOST_GAPS;
            match kept.last_mut() {
                Some(last) if !room || gap.start - last.end < least => last.end = gap.end,
                _ => kept.push(gap),
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: u64 = 80;

    fn naive(runs: &Runs) -> Vec<bool> {
        (0..SIZE).map(|at| runs.run_at(at).is_some()).collect()
    }

    proptest! {
        #[test]
        fn runs_equal_a_set_of_bytes(
            added in proptest::collection::vec((0..SIZE, 0..12_u64), 0..20),
            asked in (0..SIZE, 0..SIZE),
        ) {
            let mut runs = Runs::new();
            let mut bytes = vec![false; SIZE as usize];
            for (start, len) in added {
                let range = start..(start + len).min(SIZE);
                bytes[range.start as usize..range.end as usize].fill(true);
                runs.insert(range);
            }
            prop_assert_eq!(naive(&runs), bytes.clone());
            prop_assert!(runs.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(runs.iter().all(|run| !run.is_empty()));
            prop_assert_eq!(runs.bytes(), bytes.iter().filter(|here| **here).count() as u64);
            let first = bytes.iter().position(|here| *here).map(|at| at as u64);
            let last = bytes.iter().rposition(|here| *here).map(|at| at as u64);
            prop_assert_eq!(runs.hull(), first.zip(last).map(|(first, last)| first..last + 1));
            let range = asked.0.min(asked.1)..asked.0.max(asked.1);
            let of_range = &bytes[range.start as usize..range.end as usize];
            prop_assert_eq!(runs.covers(&range), of_range.iter().all(|here| *here));
            prop_assert_eq!(runs.meets(&range), of_range.iter().any(|here| *here));
            let missing = runs.missing(range.clone());
            let mut both = runs.clone();
            for gap in &missing {
                prop_assert!(!gap.is_empty() && !runs.meets(gap));
                both.insert(gap.clone());
            }
            prop_assert!(both.covers(&range));
        }

        #[test]
        fn what_is_fetched_and_what_is_here_are_all(
            lengths in proptest::collection::vec((1..2 * RUN_WORTH_KEEPING, 1..3 * RUN_WORTH_KEEPING), 0..30),
            tail in 0..100_u64,
        ) {
            let (mut runs, mut at) = (Runs::new(), 0);
            for (gap, run) in lengths {
                runs.insert(at + gap..at + gap + run);
                at += gap + run;
            }
            let range = 0..at + tail;
            let fetched = runs.to_fetch(range.clone());
            prop_assert!(fetched.len() <= MOST_GAPS);
            prop_assert!(fetched.windows(2).all(|pair| pair[1].start - pair[0].end >= RUN_WORTH_KEEPING));
            let missing = runs.missing(range.clone());
            prop_assert_eq!(fetched.is_empty(), missing.is_empty());
            for gap in &missing {
                prop_assert!(fetched.iter().any(|one| one.start <= gap.start && gap.end <= one.end));
            }
            if missing.len() <= MOST_GAPS && missing.windows(2).all(|pair| pair[1].start - pair[0].end >= RUN_WORTH_KEEPING) {
                prop_assert_eq!(fetched, missing);
            }
        }
    }

    #[test]
    fn the_shortest_runs_are_fetched_again_where_there_are_too_many_gaps() {
        let mut runs = Runs::new();
        for at in 0..20 {
            let start = at * 1_000_000 + 500_000;
            runs.insert(start..start + 100_000 + at);
        }
        let fetched = runs.to_fetch(0..20_000_000);
        assert_eq!(fetched.len(), MOST_GAPS);
        assert_eq!(fetched.last(), Some(&(19_600_019..20_000_000)));
        assert_eq!(fetched.first().map(|gap| gap.start), Some(0));
    }
}
