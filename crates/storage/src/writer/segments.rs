//! The accounts of all segments, with totals that are kept as they change: a terabyte has some thirty thousand segments, and
//! the writer asks at every turn.
//!
//! The invariant: the totals are the sums over all segments. Nothing changes a segment but `change`.

use std::collections::BTreeMap;

use crate::blob::{BLOCK, file_blocks};
use crate::segment::FIRST_RECORD;

/// The accounts of one segment, in bytes. Dead is what is neither live nor the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) size: u64,
    pub(super) live: u64,
}

impl Segment {
    pub(super) const fn dead(&self) -> u64 {
        self.size.saturating_sub(self.live + FIRST_RECORD)
    }
}

/// Sums over all segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sums {
    /// Lengths in bytes.
    pub(super) bytes: u64,
    /// Dead bytes.
    pub(super) dead: u64,
    /// What they take on disk, in bytes.
    pub(super) allocated: u64,
    /// Segments with dead bytes.
    pub(super) littered: usize,
    /// Segments that are smaller than the bound.
    pub(super) small: usize,
}

/// Segments by their numbers.
#[derive(Debug)]
pub(super) struct Segments {
    by_id: BTreeMap<u32, Segment>,
    sums: Sums,
    /// A segment below so many bytes is a small one.
    small: u64,
}

impl Segments {
    pub(super) fn new(found: impl Iterator<Item = (u32, Segment)>, small: u64) -> Self {
        let by_id = found.collect();
        let mut this = Self { by_id, sums: Sums::default(), small };
        this.sums = this.summed();
        this
    }

    pub(super) fn insert(&mut self, id: u32, segment: Segment) {
        self.remove(id);
        self.by_id.insert(id, segment);
        self.sums.add(segment, self.small);
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Segment> {
        let segment = self.by_id.remove(&id)?;
        self.sums.sub(segment, self.small);
        Some(segment)
    }

    pub(super) fn get(&self, id: u32) -> Option<Segment> {
        self.by_id.get(&id).copied()
    }

    /// Changes the accounts of a segment. Returns what they are then; `None` when there is no such segment.
    pub(super) fn change(&mut self, id: u32, change: impl FnOnce(&mut Segment)) -> Option<Segment> {
        let segment = self.by_id.get_mut(&id)?;
        self.sums.sub(*segment, self.small);
        change(segment);
        self.sums.add(*segment, self.small);
        Some(*segment)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Segment)> {
        self.by_id.iter().map(|(id, segment)| (*id, *segment))
    }

    pub(super) const fn sums(&self) -> Sums {
        self.sums
    }

    /// The same, counted anew.
    pub(super) fn summed(&self) -> Sums {
        let mut sums = Sums::default();
        self.by_id.values().for_each(|segment| sums.add(*segment, self.small));
        sums
    }

    pub(super) const fn is_small(&self, segment: Segment) -> bool {
        segment.size < self.small
    }
}

impl Sums {
    fn add(&mut self, segment: Segment, small: u64) {
        self.bytes += segment.size;
        self.dead += segment.dead();
        self.allocated += file_blocks(segment.size) * BLOCK;
        self.littered += usize::from(segment.dead() > 0);
        self.small += usize::from(segment.size < small);
    }

    fn sub(&mut self, segment: Segment, small: u64) {
        self.bytes -= segment.size;
        self.dead -= segment.dead();
        self.allocated -= file_blocks(segment.size) * BLOCK;
        self.littered -= usize::from(segment.dead() > 0);
        self.small -= usize::from(segment.size < small);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_the_sums_whatever_is_done() {
        let mut random = 7_u64;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        let found = (1..4).map(|id| (id, Segment { size: 5_000 * u64::from(id), live: 0 }));
        let mut segments = Segments::new(found, 10_000);
        assert_eq!(segments.sums().small, 1);
        for _ in 0..2_000 {
            let id = below(12) as u32;
            let new = Segment { size: FIRST_RECORD + below(20_000), live: below(12_000) };
            match below(4) {
                0 => segments.insert(id, new),
                1 => {
                    let before = segments.get(id);
                    assert_eq!(segments.remove(id), before);
                }
                _ => {
                    let changed = segments.change(id, |segment| *segment = new);
                    assert!(changed.is_none_or(|changed| changed == new));
                }
            }
            assert_eq!(segments.sums(), segments.summed());
        }
    }
}
