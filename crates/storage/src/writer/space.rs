//! How much room there is, and who gets it.
//!
//! ```text
//! |<----------------------- disk limit, or what others leave of it ----------------------->|
//! |  segments, blobs, index, quarantine  |  unfinished  |     free     |  one segment: copies |
//! ```
//!
//! Room is counted before anything is written. Small responses make theirs at once, in a bounded number of steps, and find it
//! nearly always made ahead of need. Unfinished bodies wait for theirs, while it is made in small steps between commands, so that
//! no command waits behind a large body. Others that fill the file system have the first right to it: the limit gives way to
//! them, down to a floor, below which nothing is stored.

use tokio::sync::oneshot;

use super::Writer;
use crate::command::Reservation;
use crate::options::Options;

/// Steps that one response may take to make its room. Copying a mebibyte counts for many: together some tenth of a second.
const ROOM_STEPS: u32 = 8192;
const COPY_STEPS: u32 = 64;
/// Evictions between two looks at the commands, while somebody waits for room.
const STEPS_AT_ONCE: u32 = 32;
/// Seconds that an unfinished body waits for room, before it is passed on and not stored.
const PATIENCE_SECS: u32 = 5;
/// Before so many bytes are promised the file system is asked how much is free.
const ASK_FROM: u64 = 16 << 20;
/// What is left free for others unless told otherwise: a share of the file system, but no more than so many bytes.
const FREE_SHARE: u64 = 100;
const FREE_MOST: u64 = 1 << 30;
/// The limit gives way to others down to this share of what was set, or to so many bytes where that is less.
const FLOOR_SHARE: u64 = 10;
const FLOOR_MOST: u64 = 1 << 30;
/// Looks at the file system, a second apart, that must all find room before something is stored again.
const CALM_LOOKS: u32 = 5;

/// An unfinished body that waits for room.
pub(super) struct Waiting {
    bytes: u64,
    reply: oneshot::Sender<Option<Reservation>>,
    since: u32,
}

/// The limit as it is now.
pub(super) struct Space {
    limit: u64,
    /// Looks in a row that found room while nothing is stored.
    calm: u32,
    /// Others leave less than was set, and somebody was told.
    told: bool,
}

impl Space {
    pub(super) fn new(options: &Options) -> Self {
        Self { limit: options.disk_limit, calm: 0, told: false }
    }
}

impl Writer {
    /// Makes `bytes` and one response more fit below the limits, and leaves room to compact. False when they cannot, or not in
    /// a few steps.
    pub(super) fn make_room(&mut self, bytes: u64) -> bool {
        if self.shared.is_crowded() || bytes > self.hard_limit() {
            return false;
        }
        let mut left = ROOM_STEPS;
        loop {
            let step = if !self.fits(bytes) {
                let copies = self.is_compacting();
                self.reclaim().then_some(if copies { COPY_STEPS } else { 1 })
            } else if !self.counts(1) {
                (self.is_ready() && self.evict()).then_some(1)
            } else {
                return true;
            };
            match step.and_then(|step| left.checked_sub(step)) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
    }

    /// Whether `bytes` more are below the limit, with room to compact.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.used() + bytes <= self.hard_limit()
    }

    /// Whether so many responses more are below the limit.
    pub(super) fn counts(&self, more: usize) -> bool {
        let objects = (self.shared.directory.len() + more) as u64;
        self.shared.options.max_objects.is_none_or(|most| objects <= most)
    }

    fn hard_limit(&self) -> u64 {
        self.space.limit.saturating_sub(self.shared.options.segment_bytes())
    }

    pub(super) fn is_over_target(&self) -> bool {
        let limit = self.space.limit;
        self.used() > limit.saturating_sub(self.shared.options.headroom(limit)) || !self.counts(0)
    }

    /// Promises room to an unfinished body as soon as it is there.
    pub(super) fn reserve(&mut self, bytes: u64, reply: oneshot::Sender<Option<Reservation>>) {
        if bytes >= ASK_FROM {
            self.look_at_space();
        }
        self.reserving.push_back(Waiting { bytes, reply, since: self.shared.now() });
        self.serve_waiting();
    }

    pub(super) fn is_waited_for(&self) -> bool {
        !self.reserving.is_empty()
    }

    /// Gives room to those for whom it is there, also before others that need more.
    pub(super) fn serve_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.reserving) {
            let counters = &self.shared.counters;
            let unfinished = counters.temp_bytes.get() + waiting.bytes;
            if waiting.reply.is_closed() {
                continue;
            }
            if self.fits(waiting.bytes)
                && unfinished <= self.shared.options.temp_limit()
                && !self.shared.is_crowded()
            {
                let _ = waiting.reply.send(Some(Reservation::new(waiting.bytes, counters.clone())));
            } else if unfinished > self.shared.options.temp_limit()
                || waiting.bytes > self.hard_limit()
                || self.shared.is_crowded()
                || !self.is_ready()
            {
                let _ = waiting.reply.send(None);
            } else {
                self.reserving.push_back(waiting);
            }
        }
    }

    /// A few steps for who waits.
    pub(super) fn reclaim_for_waiting(&mut self) {
        let mut steps = 0;
        while steps < STEPS_AT_ONCE && self.reserving.front().is_some_and(|first| !self.fits(first.bytes)) {
            steps += if self.is_compacting() { STEPS_AT_ONCE } else { 1 };
            if !self.reclaim() {
                self.stuck = true;
                break;
            }
        }
        self.serve_waiting();
    }

    /// Nobody waits for what cannot be made.
    pub(super) fn refuse_waiting(&mut self) {
        self.serve_waiting();
        for waiting in self.reserving.drain(..) {
            let _ = waiting.reply.send(None);
        }
    }

    /// Nobody waits for ever.
    pub(super) fn give_up_waiting(&mut self) {
        let now = self.shared.now();
        let over = |waiting: &Waiting| now.saturating_sub(waiting.since) > PATIENCE_SECS;
        self.reserving.retain(|waiting| !over(waiting));
    }

    /// Asks the file system how much is free, and lets the limit give way to others.
    pub(super) fn look_at_space(&mut self) {
        let options = &self.shared.options;
        let Some((size, free)) = self.shared.layout.space() else { return };
        let keep = options.keep_free.unwrap_or((size / FREE_SHARE).min(FREE_MOST));
        let left = (self.used() + free).saturating_sub(keep);
        let floor = (options.disk_limit / FLOOR_SHARE).min(FLOOR_MOST);
        // Nothing is stored below the floor, and then not before there has been room for a while: no fight with what comes
        // and goes.
        self.space.calm = if left < floor { 0 } else { self.space.calm.saturating_add(1) };
        let crowded = left < floor || (self.shared.is_crowded() && self.space.calm < CALM_LOOKS);
        self.space.limit = left.clamp(floor, options.disk_limit);
        self.shared.counters.limit_now.set(self.space.limit);
        if crowded != self.shared.is_crowded() {
            self.shared.set_crowded(crowded);
            if crowded {
                tracing::warn!(
                    free,
                    keep,
                    "others fill the file system of the cache: nothing is stored until there is room"
                );
            } else {
                tracing::info!(free, keep, "the file system of the cache has room again");
            }
        }
        let less = self.space.limit < options.disk_limit && self.is_over_target();
        if less && !self.space.told {
            let limit = self.space.limit;
            tracing::warn!(free, keep, limit, "others take room from the cache: it gives way");
        }
        self.space.told = self.space.limit < options.disk_limit && (less || self.space.told);
    }
}
