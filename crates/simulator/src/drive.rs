//! One reading of a trace for many replays: batches of requests go to as many threads as there may be.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::error::TraceError;
use crate::numbers::Numbered;

/// Batches that wait for a slow thread.
const QUEUED: usize = 8;

/// Whoever wants to see all requests of a trace.
pub trait Observer: Send {
    /// The next requests, in order.
    fn observe(&mut self, requests: &[Numbered]);
}

impl<O: Observer + ?Sized> Observer for Box<O> {
    fn observe(&mut self, requests: &[Numbered]) {
        (**self).observe(requests);
    }
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn observe(&mut self, requests: &[Numbered]) {
        (**self).observe(requests);
    }
}

/// Shows all that `next` appends, until it says that there is no more, to all observers, on `jobs` threads.
///
/// # Errors
///
/// The first that `next` gives: the observers have seen what came before.
pub fn drive<O: Observer>(
    mut next: impl FnMut(&mut Vec<Numbered>) -> Result<bool, TraceError>,
    observers: &mut [O],
    jobs: usize,
) -> Result<(), TraceError> {
    let jobs = jobs.min(observers.len());
    if jobs <= 1 {
        let mut batch = Vec::new();
        let mut more = true;
        while more {
            more = next(&mut batch)?;
            for observer in &mut *observers {
                observer.observe(&batch);
            }
            batch.clear();
        }
        return Ok(());
    }
    // Dealt out in turn, so that a thread has caches of all sizes and policies.
    let mut hands: Vec<Vec<&mut O>> = (0..jobs).map(|_| Vec::new()).collect();
    for (at, observer) in observers.iter_mut().enumerate() {
        if let Some(hand) = hands.get_mut(at % jobs) {
            hand.push(observer);
        }
    }
    thread::scope(|scope| {
        let senders: Vec<SyncSender<Arc<Vec<Numbered>>>> = hands
            .into_iter()
            .map(|mut hand| {
                let (sender, batches) = sync_channel::<Arc<Vec<Numbered>>>(QUEUED);
                scope.spawn(move || {
                    for batch in batches {
                        for observer in &mut hand {
                            observer.observe(&batch);
                        }
                    }
                });
                sender
            })
            .collect();
        let mut more = true;
        while more {
            let mut batch = Vec::new();
            more = next(&mut batch)?;
            let batch = Arc::new(batch);
            for sender in &senders {
                // Only a thread that panicked has hung up, and then the scope panics as well.
                let _ = sender.send(batch.clone());
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum(u64);

    impl Observer for Sum {
        fn observe(&mut self, requests: &[Numbered]) {
            self.0 =
                requests.iter().fold(self.0, |sum, request| sum.wrapping_mul(31).wrapping_add(request.size));
        }
    }

    #[test]
    fn all_observers_see_all_requests_in_order_on_any_number_of_threads() {
        let sums = |jobs| {
            let mut left = 100_u64;
            let mut observers: Vec<_> = (0..5).map(Sum).collect();
            let next = |batch: &mut Vec<Numbered>| {
                batch.extend((0..left % 7).map(|n| Numbered { size: left + n, ..Numbered::default() }));
                left -= 1;
                Ok(left > 0)
            };
            drive(next, &mut observers, jobs).unwrap();
            observers.into_iter().map(|sum| sum.0).collect::<Vec<_>>()
        };
        let alone = sums(1);
        assert!(alone.iter().all(|sum| *sum > 0));
        for jobs in [0, 2, 5, 9] {
            assert_eq!(sums(jobs), alone);
        }
    }

    #[test]
    fn an_error_ends_it() {
        let next = |_: &mut Vec<Numbered>| Err(TraceError::TooMany);
        for jobs in [1, 2] {
            assert!(drive(next, &mut [Sum(0), Sum(1)], jobs).is_err());
        }
    }
}
