//! What the proxy counts: one record a transaction, and a few gauges that the server moves.
//!
//! Nothing here reads a clock, and nothing is global: a process with two proxies has two sets of
//! counters. Counters are kept apart by thread and added up when someone asks, so that workers
//! never write to the same cache line; a reading may therefore be torn by the requests that end
//! meanwhile, but no count is lost and none falls.

mod exposition;
mod figures;
mod outcome;
mod shadows;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use larder_policy::Timestamp;

pub(crate) use exposition::CONTENT_TYPE;
pub use figures::{ConnectionFigures, Figures, LearnedFigures, StoreFigures};
pub(crate) use outcome::CacheResult;
use outcome::{FORWARD_REASONS, STATUS_CLASSES, forward_reason_place, status_class};
pub use shadows::{ShadowEstimateFigures, ShadowFigures};

use crate::intercept::Learned;
use crate::transaction::{Ending, Outcome, Transaction};

/// Sets of counters. Threads share one only where there are more of them than this.
const SHARDS: usize = 32;

/// Upper bounds of the duration histogram: microseconds, and the same in seconds as the label has it.
const DURATION_BOUNDS: [(u64, &str); 18] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// All counters and gauges of one proxy.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// When the proxy started.
    started: Timestamp,
    shards: Box<[Shard]>,
    /// Connections of clients.
    pub(crate) client_connections: Arc<Gauge>,
    /// Connections to origins and the parent proxy, idle ones included.
    pub(crate) origin_connections: Arc<Gauge>,
    /// Tunnels: CONNECT, and switched protocols.
    pub(crate) tunnels: Arc<Gauge>,
    /// CONNECT tunnels whose content goes through the store.
    pub(crate) opened_tunnels: Arc<Gauge>,
    /// Fetches whose body is on its way into the store.
    pub(crate) fills: Arc<Gauge>,
    refused_connections: AtomicU64,
    /// Lines that the access log lost.
    access_log_lost: OnceLock<Arc<AtomicU64>>,
    learned: OnceLock<Arc<Learned>>,
}

impl Metrics {
    /// Counters at zero for a proxy started at this time.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self {
            started,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            client_connections: Arc::default(),
            origin_connections: Arc::default(),
            tunnels: Arc::default(),
            opened_tunnels: Arc::default(),
            fills: Arc::default(),
            refused_connections: AtomicU64::new(0),
            access_log_lost: OnceLock::new(),
            learned: OnceLock::new(),
        }
    }

    /// Shows the access log's count of lost lines among the others. The first call counts.
    pub(crate) fn show_access_log_losses(&self, lost: Arc<AtomicU64>) {
        self.access_log_lost.get_or_init(|| lost);
    }

    /// Shows what interception has learned among the others. The first call counts.
    pub(crate) fn show_learned(&self, learned: Arc<Learned>) {
        self.learned.get_or_init(|| learned);
    }

    /// Counts a client connection that was closed at once, since a limit on connections was reached.
    pub(crate) fn count_refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a finished request.
    pub(crate) fn record(&self, transaction: &Transaction<'_>) {
        let Some(shard) = self.shards.get(shard_of_this_thread()) else { return };
        let result = transaction.outcome.result() as usize;
        count(&shard.outcomes, transaction.outcome as usize, 1);
        count(&shard.statuses, status_class(transaction.status), 1);
        if let Some(reason) = transaction.forwarded {
            count(&shard.forwarded, forward_reason_place(reason), 1);
        }
        match transaction.ending {
            Ending::Complete => {}
            Ending::ClientAborted => add(&shard.client_aborts, 1),
            Ending::OriginAborted => add(&shard.origin_aborts, 1),
        }
        if transaction.stored {
            add(&shard.stored, 1);
        }
        add(&shard.sent_bytes, transaction.bytes_sent);
        add(&shard.received_bytes, transaction.body_received);
        add(&shard.origin_bytes, transaction.origin_received);
        count(&shard.content_bytes, result, transaction.body_sent);
        if let Some(durations) = shard.durations.get(result) {
            durations.record(u64::try_from(transaction.duration.as_micros()).unwrap_or(u64::MAX));
        }
    }

    fn sum(&self, of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| of(shard).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    fn sums<const N: usize>(&self, of: impl Fn(&Shard) -> &[AtomicU64; N]) -> [u64; N] {
        let mut sums = [0; N];
        for shard in &self.shards {
            for (sum, counter) in sums.iter_mut().zip(of(shard)) {
                *sum = u64::wrapping_add(*sum, counter.load(Ordering::Relaxed));
            }
        }
        sums
    }

    fn lost_log_lines(&self) -> u64 {
        self.access_log_lost.get().map_or(0, |lost| lost.load(Ordering::Relaxed))
    }
}

/// One thread's counters, two cache lines apart from the next one's, since processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    statuses: [AtomicU64; STATUS_CLASSES.len()],
    forwarded: [AtomicU64; FORWARD_REASONS.len()],
    client_aborts: AtomicU64,
    origin_aborts: AtomicU64,
    stored: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    origin_bytes: AtomicU64,
    content_bytes: [AtomicU64; CacheResult::ALL.len()],
    durations: [Histogram; CacheResult::ALL.len()],
}

/// How many transactions took how long. The last bucket has no bound.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; DURATION_BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    fn record(&self, micros: u64) {
        let place =
            DURATION_BOUNDS.iter().position(|(bound, _)| micros <= *bound).unwrap_or(DURATION_BOUNDS.len());
        count(&self.buckets, place, 1);
        add(&self.micros, micros);
    }
}

fn add(counter: &AtomicU64, by: u64) {
    // A locked addition costs as much as all the rest of a record, and there is often nothing to add.
    if by > 0 {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

fn count(counters: &[AtomicU64], place: usize, by: u64) {
    if let Some(counter) = counters.get(place) {
        add(counter, by);
    }
}

fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    // A thread that ends has no variables of its own any more; any set of counters will do.
    SHARD.try_with(|shard| *shard).unwrap_or_default()
}

/// How many of something there are now, and how many there have been.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    now: AtomicU64,
    total: AtomicU64,
}

impl Gauge {
    /// One more, until the answer is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        self.now.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        Entered(Arc::clone(self))
    }

    /// How many there are now.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// How many there have been since the start, those of now included.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// One of the things that a [`Gauge`] counts; over when dropped.
#[derive(Debug)]
pub(crate) struct Entered(Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use larder_policy::ForwardReason;

    use super::*;
    use crate::transaction::NextHop;

    /// A memory hit of 1000 content bytes in 300 microseconds.
    pub(crate) fn transaction() -> Transaction<'static> {
        Transaction {
            started: Timestamp::from_millis(1_795_449_600_123),
            duration: Duration::from_micros(300),
            client: "192.0.2.33:50000".parse().unwrap(),
            method: "GET".into(),
            target: "http://origin.example/pool/a.deb?x=1".into(),
            version: "HTTP/1.1",
            status: 200,
            bytes_sent: 1_250,
            body_sent: 1_000,
            body_received: 0,
            origin_received: 0,
            outcome: Outcome::MemoryHit,
            ending: Ending::Complete,
            forwarded: None,
            stored: false,
            detail: None,
            next_hop: NextHop::None,
            content_type: Some("text/html; charset=utf-8".into()),
            referer: None,
            user_agent: None,
            fields: None,
        }
    }

    /// A stored miss of 3000 content bytes in 20 milliseconds.
    pub(crate) fn miss() -> Transaction<'static> {
        Transaction {
            outcome: Outcome::Miss,
            duration: Duration::from_millis(20),
            bytes_sent: 3_250,
            body_sent: 3_000,
            origin_received: 3_000,
            forwarded: Some(ForwardReason::UriMiss),
            stored: true,
            next_hop: NextHop::Origin("198.51.100.7:80".parse().unwrap()),
            ..transaction()
        }
    }

    #[test]
    fn counts_of_all_threads_are_added_up() {
        let metrics = Metrics::new(Timestamp::from_secs(0));
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 3 {
                scope.spawn(|| {
                    metrics.record(&transaction());
                    metrics.record(&miss());
                });
            }
        });
        let threads = u64::try_from(SHARDS + 3).unwrap();
        let outcomes = metrics.sums(|shard| &shard.outcomes);
        assert_eq!(outcomes[Outcome::MemoryHit as usize], threads);
        assert_eq!(outcomes[Outcome::Miss as usize], threads);
        assert_eq!(outcomes.iter().sum::<u64>(), 2 * threads);
        assert_eq!(metrics.sum(|shard| &shard.sent_bytes), 4_500 * threads);
        assert_eq!(metrics.sum(|shard| &shard.stored), threads);
    }

    #[test]
    fn a_gauge_falls_when_its_guard_is_dropped_and_keeps_the_total() {
        let gauge = Arc::new(Gauge::default());
        let first = gauge.enter();
        let second = gauge.enter();
        drop(first);
        assert_eq!((gauge.now(), gauge.total()), (1, 2));
        drop(second);
        assert_eq!((gauge.now(), gauge.total()), (0, 2));
    }

    #[test]
    fn a_duration_on_a_bound_belongs_below_it() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 60_000_000, 60_000_001, u64::MAX] {
            histogram.record(micros);
        }
        let buckets: Vec<_> = histogram.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        assert_eq!(buckets[0], 2);
        assert_eq!(buckets[1], 1);
        assert_eq!(buckets[17], 1);
        assert_eq!(buckets[18], 2);
    }

    #[test]
    fn the_bounds_rise_and_are_what_their_labels_say() {
        assert!(DURATION_BOUNDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (micros, label) in DURATION_BOUNDS {
            let seconds: f64 = label.parse().unwrap();
            assert!((seconds * 1e6 - micros as f64).abs() < 1e-6, "{label}");
        }
    }
}
