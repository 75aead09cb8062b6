//! The shadows of a store that is in use: fed by whoever looks up or stores, and looked after by a thread of their own.
//!
//! Whoever answers a request notes it in a small buffer that is nearly always its thread's own, and only if the object is one
//! that is followed: most requests cost a comparison. A full buffer loses what comes, which is counted; then fewer
//! objects are followed. The thread empties the buffers four times a second, so that no request pays for the shadow caches.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::chooser::Change;
use super::scale::Gate;
use super::tier::{Shadow, TierShadow};
use crate::blob::{BLOCK, file_blocks};
use crate::eviction::{Aim, Algorithm, Policy};
use crate::options::Options;
use crate::sharded::{SHARDS, Sharded};
use crate::shared::Shared;
use crate::stored::{Core, Tier};

/// Requests that a buffer holds.
const BUFFER: usize = 512;
/// Requests that are taken up at a time; more are lost.
const TAKEN_MAX: usize = 4096;
const EVERY: Duration = Duration::from_millis(250);

/// A request for an object.
#[derive(Clone, Copy, Debug)]
struct Heard {
    fingerprint: u64,
    /// What it takes on disk.
    disk: u64,
    /// What it takes in memory; zero when it never is there.
    memory: u64,
}

#[derive(Debug)]
struct Buffer {
    heard: Vec<Heard>,
    lost: u64,
}

impl Buffer {
    fn new() -> Self {
        Self { heard: Vec::with_capacity(BUFFER), lost: 0 }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shadows {
    buffers: Sharded<Buffer>,
    gate: AtomicU32,
    /// Requests that stored something new.
    arrived: AtomicU64,
    memory_object_max: u64,
    segment_max: u64,
    /// The algorithm that the disk tier is to go by: its place in [`Algorithm::ALL`].
    disk_algorithm: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    memory: TierShadow,
    disk: TierShadow,
    /// Requests that were counted.
    requests: u64,
    lost: u64,
}

impl Shadows {
    /// Nothing was heard yet; the disk tier begins with `first`.
    pub(crate) fn new(options: &Options, first: Algorithm) -> Self {
        let disk_limit = options.disk_limit.saturating_sub(options.headroom(options.disk_limit));
        let memory_first = match options.memory_eviction {
            Policy::Fixed(algorithm) => algorithm,
            Policy::Auto => Aim::Requests.first(),
        };
        let (memory, disk) = (options.memory_limit, disk_limit);
        let memory =
            TierShadow::new(Tier::Memory, Aim::Requests, memory, options.memory_eviction, memory_first);
        let disk = TierShadow::new(Tier::Disk, Aim::Bytes, disk, options.eviction, first);
        let shadows = Self {
            buffers: Sharded::new(Buffer::new),
            gate: AtomicU32::new(0),
            arrived: AtomicU64::new(0),
            memory_object_max: options.memory_object_max,
            segment_max: options.segment_max(),
            disk_algorithm: AtomicU32::new(place_of(first)),
            state: Mutex::new(State { memory, disk, requests: 0, lost: 0 }),
        };
        shadows.set_gate(&shadows.state());
        shadows
    }

    /// The algorithm that the disk tier is to go by.
    pub(crate) fn disk_algorithm(&self) -> Algorithm {
        let place = self.disk_algorithm.load(Ordering::Relaxed) as usize;
        Algorithm::ALL.get(place).copied().unwrap_or(Algorithm::S3Fifo)
    }

    /// A request was answered from the store.
    pub(crate) fn hit(&self, core: &Core) {
        let head = core.head_weight() as u64;
        let disk =
            if core.len > self.segment_max { head + file_blocks(core.len) * BLOCK } else { head + core.len };
        let memory = if core.len <= self.memory_object_max { head + core.len } else { head };
        let gate = Gate::unpack(self.gate.load(Ordering::Relaxed));
        if !gate.lets_through(core.fingerprint.0, disk.max(memory)) {
            return;
        }
        let heard = Heard { fingerprint: core.fingerprint.0, disk, memory };
        let mut buffer = self.buffers.lock_here();
        if buffer.heard.len() < BUFFER {
            buffer.heard.push(heard);
        } else {
            buffer.lost += 1;
        }
    }

    /// A request was not, and what it brought is stored now.
    pub(crate) fn arrived(&self, core: &Core) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        self.hit(core);
    }

    /// Takes up what was heard since the last time. Returns the tiers that are to go by another algorithm from now on.
    pub(crate) fn drain(&self, shared: &Shared) -> Vec<(Tier, Change)> {
        let mut state = self.state();
        let (mut heard, mut lost) = (Vec::new(), 0);
        let mut taken = Vec::with_capacity(BUFFER);
        for at in 0..SHARDS as u64 {
            let mut buffer = self.buffers.lock(at);
            std::mem::swap(&mut buffer.heard, &mut taken);
            lost += std::mem::take(&mut buffer.lost);
            drop(buffer);
            heard.append(&mut taken);
        }
        lost += heard.len().saturating_sub(TAKEN_MAX) as u64;
        heard.truncate(TAKEN_MAX);
        for one in &heard {
            state.memory.request(one.fingerprint, one.memory);
            state.disk.request(one.fingerprint, one.disk);
        }
        let hits = shared.memory.figures().2 + shared.counters.disk_hits.get();
        let all = hits + self.arrived.load(Ordering::Relaxed);
        let share = heard.len() as f64 / (heard.len() as u64 + lost).max(1) as f64;
        let requests = all.saturating_sub(state.requests) as f64 * share;
        state.requests = all;
        state.lost += lost;
        let now = shared.now();
        let mut changes = Vec::new();
        let State { memory, disk, .. } = &mut *state;
        for (tier, shadow) in [(Tier::Memory, memory), (Tier::Disk, disk)] {
            shadow.count(requests);
            if lost > 0 {
                shadow.coarsen();
            }
            changes.extend(shadow.choose(now).map(|change| (tier, change)));
        }
        self.disk_algorithm.store(place_of(state.disk.algorithm()), Ordering::Relaxed);
        self.set_gate(&state);
        changes
    }

    /// What other sizes and algorithms would make of what was heard.
    pub(crate) fn report(&self) -> [Shadow; 2] {
        let state = self.state();
        [state.memory.report(state.lost), state.disk.report(state.lost)]
    }

    /// Nothing is taken up while this is held.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> MutexGuard<'_, impl std::fmt::Debug> {
        self.state()
    }

    /// As if the disk tier had chosen to go by it.
    #[cfg(test)]
    pub(crate) fn set_disk_algorithm(&self, algorithm: Algorithm) {
        self.disk_algorithm.store(place_of(algorithm), Ordering::Relaxed);
        self.state().disk.set_algorithm(algorithm);
    }

    fn set_gate(&self, state: &State) {
        let gate = Gate::of(state.memory.scales().chain(state.disk.scales()));
        self.gate.store(gate.pack(), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_of(algorithm: Algorithm) -> u32 {
    Algorithm::ALL.iter().position(|one| *one == algorithm).unwrap_or_default() as u32
}

/// Takes up what was heard, and does what follows from it.
pub(crate) fn look(shared: &Shared) {
    for (tier, change) in shared.shadows.drain(shared) {
        let [before, after] = change.ratios.map(|ratio| ratio * 100.0);
        let (name, what) = match tier {
            Tier::Memory => ("memory", "requests"),
            Tier::Disk => ("disk", "bytes"),
        };
        tracing::info!(
            "the {name} tier's eviction follows {} instead of {} from now on: of late it would have hit {after:.1} % of the {what} instead of {before:.1} %; what is stored stays",
            change.to,
            change.from
        );
        if tier == Tier::Memory {
            shared.memory.follow(change.to);
        }
    }
}

/// The thread that looks after the shadows of an open store. Dropped, it ends soon.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watcher {
    pub(crate) fn start(shared: &Arc<Shared>) -> Option<Self> {
        let (stop, stopped) = channel();
        let shared = shared.clone();
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                look(&shared);
            }
        };
        match std::thread::Builder::new().name("larder-shadow".to_owned()).spawn(run) {
            Ok(thread) => Some(Self { stop, thread }),
            Err(error) => {
                tracing::warn!(%error, "cannot watch what other sizes of cache would do: there is no advice, and eviction stays as it is");
                None
            }
        }
    }

    /// Ends it and waits until it has.
    pub(crate) fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}
