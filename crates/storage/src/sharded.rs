//! A value in several parts, each behind a lock of its own: hits on different things do not wait for each other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many parts there are.
pub(crate) const SHARDS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Sharded<T>([Mutex<T>; SHARDS]);

impl<T> Sharded<T> {
    /// Each part as `make` makes it.
    pub(crate) fn new(make: impl Fn() -> T) -> Self {
        Self(std::array::from_fn(|_| Mutex::new(make())))
    }

    /// The part that things with this number belong to. The number should be evenly distributed in its last bits.
    pub(crate) fn lock(&self, number: u64) -> MutexGuard<'_, T> {
        self.at(number as usize % SHARDS)
    }

    /// The part of the calling thread, for what may be anywhere.
    pub(crate) fn lock_here(&self) -> MutexGuard<'_, T> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static HERE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        self.at(HERE.with(|here| *here))
    }

    fn at(&self, index: usize) -> MutexGuard<'_, T> {
        let Self([first, ..]) = self;
        self.0.get(index).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_locked_one_by_one_and_the_same_number_leads_to_the_same() {
        let sharded = Sharded::<Vec<u64>>::default();
        let one = sharded.lock(1);
        for number in (0..SHARDS as u64).filter(|number| *number != 1) {
            sharded.lock(number).push(number);
        }
        drop(one);
        assert_eq!(*sharded.lock(SHARDS as u64 + 3), [3]);
        sharded.lock_here().push(77);
        assert_eq!(sharded.lock_here().last(), Some(&77));
    }
}
