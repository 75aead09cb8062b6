//! One fetch for many waiters.
//!
//! A request that must fetch a key either leads or follows. A leader's fetch runs in a task of its own, so that the leader's
//! client may leave; followers are told once its head has come: read along, look again, or go alone. A key whose
//! answer could not be shared is marked for a short while, so that the next requests do not queue for nothing.
//! A follower inherits no trouble: any end but a usable answer sends it on by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use larder_policy::{CacheKey, StoredResponse};
use larder_storage::{Filling, Stored};
use tokio::sync::watch;

use crate::error::UpstreamError;

/// Marks kept; past that the expired ones go, and if none has expired, all.
const MARKS: usize = 4096;
/// Invalidated keys remembered one by one; past that all fetches under way count as outdated.
const OUTDATED: usize = 4096;

/// The fetches under way.
pub(crate) struct Flights {
    table: Mutex<Table>,
    waiters_per_key: usize,
    mark: Duration,
}

#[derive(Default)]
struct Table {
    flights: HashMap<CacheKey, Vec<Flight>>,
    marks: HashMap<CacheKey, Instant>,
    outdated: Outdated,
}

/// Which keys have been invalidated, in the order in which that happened: a fetch that began before must not be stored.
#[derive(Default)]
struct Outdated {
    /// How many invalidations there have been.
    count: u64,
    /// The last invalidation of a key.
    keys: HashMap<CacheKey, u64>,
    /// All keys count as invalidated by then.
    all: u64,
}

/// When a fetch began, as to invalidations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(u64);

type Flight = Arc<watch::Sender<Progress>>;

/// How far a fetch has come.
#[derive(Clone)]
pub(crate) enum Progress {
    /// No head yet.
    Pending,
    /// A response that is being stored: read along.
    Filling(Arc<Filling>),
    /// A stored response was found to be still right.
    Freshened(Arc<Stored>),
    /// The next hop could not be asked, and would not answer another either: whoever has a stale response may use it, the
    /// others fail in the same way.
    Unreachable(UpstreamError),
    /// The origin answered with this error: whoever has a stale response may use it.
    Failed(StatusCode),
    /// Nothing that others may use.
    Alone,
}

/// What a request does about its fetch.
pub(crate) enum Role {
    /// Fetches for all.
    Lead(Leading),
    /// Waits for, or reads along with, another's fetch.
    Follow(watch::Receiver<Progress>),
    /// Fetches for itself alone.
    Alone,
}

impl Flights {
    pub(crate) fn new(waiters_per_key: usize, mark: Duration) -> Self {
        Self { table: Mutex::default(), waiters_per_key, mark }
    }

    /// The role of a request for this key. `usable` says whether it may use a response that is being stored already.
    pub(crate) fn join(self: &Arc<Self>, key: &CacheKey, usable: impl Fn(&StoredResponse) -> bool) -> Role {
        let mut table = self.lock();
        if let Some(until) = table.marks.get(key) {
            if *until > Instant::now() {
                return Role::Alone;
            }
            table.marks.remove(key);
        }
        let flights = table.flights.entry(key.clone()).or_default();
        let fits = |flight: &Flight| match &*flight.borrow() {
            Progress::Pending => true,
            Progress::Filling(filling) => usable(filling.response()),
            Progress::Freshened(_) | Progress::Unreachable(_) | Progress::Failed(_) | Progress::Alone => {
                false
            }
        };
        if let Some(flight) = flights.iter().find(|flight| fits(flight)) {
            let crowded = flight.receiver_count() >= self.waiters_per_key;
            return if crowded { Role::Alone } else { Role::Follow(flight.subscribe()) };
        }
        let progress = Arc::new(watch::Sender::new(Progress::Pending));
        flights.push(Arc::clone(&progress));
        Role::Lead(Leading { flights: Arc::clone(self), key: key.clone(), progress })
    }

    /// Told at the start of a fetch, asked at its end.
    pub(crate) fn begin(&self) -> Begun {
        Begun(self.lock().outdated.count)
    }

    /// Whether the key was invalidated since the fetch began, so that what it brought may be of before.
    pub(crate) fn is_outdated(&self, key: &CacheKey, begun: Begun) -> bool {
        let table = self.lock();
        table.outdated.all > begun.0 || table.outdated.keys.get(key).is_some_and(|last| *last > begun.0)
    }

    /// What is being fetched for this key is not to be stored, and nobody joins it any more.
    pub(crate) fn outdate(&self, key: &CacheKey) {
        let mut table = self.lock();
        table.flights.remove(key);
        let outdated = &mut table.outdated;
        outdated.count += 1;
        if outdated.keys.len() >= OUTDATED {
            outdated.keys.clear();
            outdated.all = outdated.count;
        }
        outdated.keys.insert(key.clone(), outdated.count);
    }

    /// The same for all keys.
    pub(crate) fn outdate_all(&self) {
        let mut table = self.lock();
        table.flights.clear();
        table.outdated.count += 1;
        table.outdated.keys.clear();
        table.outdated.all = table.outdated.count;
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right, and the duty, to fetch a key for all who wait. Dropped, it sends those on by themselves who still wait.
pub(crate) struct Leading {
    flights: Arc<Flights>,
    key: CacheKey,
    progress: Flight,
}

impl Leading {
    /// Tells the followers.
    pub(crate) fn tell(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    /// Nobody else may use the answer: those who wait go on by themselves, and so do those who come within a short while.
    pub(crate) fn cannot_share(self) {
        let mut table = self.flights.lock();
        if table.marks.len() >= MARKS {
            let now = Instant::now();
            table.marks.retain(|_, until| *until > now);
            if table.marks.len() >= MARKS {
                table.marks.clear();
            }
        }
        table.marks.insert(self.key.clone(), Instant::now() + self.flights.mark);
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        if let Some(flights) = table.flights.get_mut(&self.key) {
            flights.retain(|flight| !Arc::ptr_eq(flight, &self.progress));
            if flights.is_empty() {
                table.flights.remove(&self.key);
            }
        }
        drop(table);
        self.progress.send_if_modified(|progress| {
            let waiting = matches!(progress, Progress::Pending);
            if waiting {
                *progress = Progress::Alone;
            }
            waiting
        });
    }
}
