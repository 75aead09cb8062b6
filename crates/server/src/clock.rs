//! The only reader of system time.
//!
//! The proxy's time is the wall clock, carried on by a clock that never steps back: two instants a
//! second apart differ by a second although someone set the time between them. When wall clock and
//! carried time have come apart by more than [`RESYNC_MILLIS`], the wall clock is taken as right again, since
//! the dates that origins send are judged by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_policy::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Wall clock and carried time may differ by this much before the wall clock wins.
const RESYNC_MILLIS: i64 = 2_000;

/// A source of the present time; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// Milliseconds to add to the steady clock.
    System { offset: AtomicI64 },
    /// The present, moved by hand.
    Manual { now: AtomicI64 },
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Source::System { offset: AtomicI64::new(wall_millis() - steady_millis()) }))
    }

    /// A clock that stands still until [`advance`](Self::advance) moves it. For tests.
    #[must_use]
    pub fn manual(now: Timestamp) -> Self {
        Self(Arc::new(Source::Manual { now: AtomicI64::new(now.as_millis()) }))
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::Manual { now } => Timestamp::from_millis(now.load(Ordering::Relaxed)),
            Source::System { offset } => {
                let steady = steady_millis();
                let carried = steady + offset.load(Ordering::Relaxed);
                let wall = wall_millis();
                if (wall - carried).abs() <= RESYNC_MILLIS {
                    return Timestamp::from_millis(carried);
                }
                offset.store(wall - steady, Ordering::Relaxed);
                Timestamp::from_millis(wall)
            }
        }
    }

    /// Moves a clock made by [`manual`](Self::manual) forward; leaves the system's clock alone.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { now } = &*self.0 {
            now.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }
}

fn wall_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Counts while the machine sleeps, too, where the system has such a clock.
fn steady_millis() -> i64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const STEADY: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const STEADY: ClockId = ClockId::Monotonic;
    let time = clock_gettime(STEADY);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Timestamp::from_secs(1_000));
        assert_eq!(clock.now(), Timestamp::from_secs(1_000));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.clone().now(), Timestamp::from_millis(1_001_500));
    }

    #[test]
    fn carried_time_that_left_the_wall_clock_is_brought_back() {
        let clock = Clock(Arc::new(Source::System { offset: AtomicI64::new(0) }));
        let wall = wall_millis();
        assert!((clock.now().as_millis() - wall).abs() < RESYNC_MILLIS);
    }
}
