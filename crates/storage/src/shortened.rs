//! Segments that were longer when an earlier life left them: the index speaks of bytes behind their end. Only for whoever
//! checks the store; what is gone is a miss like all else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Numbers of segments, each with the end that it had at least.
#[derive(Debug, Default)]
pub(crate) struct Shortened(Mutex<BTreeMap<u32, u64>>);

impl Shortened {
    /// This segment had so many bytes, which it has not any more.
    pub(crate) fn note(&self, segment: u32, end: u64) {
        let mut ends = self.ends();
        let known = ends.entry(segment).or_default();
        *known = end.max(*known);
    }

    /// The segment is gone.
    pub(crate) fn forget(&self, segment: u32) {
        self.ends().remove(&segment);
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<u32, u64> {
        self.ends().clone()
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
