//! Keeping the eviction order over a restart: a walk over it is written down now and then, a few thousand objects at a
//! time between commands, and taken up again by the next life once it knows its objects.
//!
//! ```text
//! Unknown --all objects are known--> Restoring --end of file--> Resting <--> Writing
//! ```
//!
//! When the store is to go by another algorithm, its order is moved into that one's while nothing is written.
//!
//! Nothing is held in memory but one step's records, so it is the same for ten million objects. What was asked for or
//! stored in this life already is newer than anything in the file, and is left where it is.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Writer;
use crate::blob::{BLOCK, file_blocks};
use crate::eviction::Algorithm;
use crate::layout::Layout;
use crate::order::{self, OrderReader, OrderWriter, Ranking};

/// Objects of one step, which takes about a millisecond.
const STEP: usize = 2048;
/// A large file is written less often, so that on average no more than this is written.
const BYTES_PER_SEC: u64 = 256 << 10;
/// Least wait after the disk refused the file.
const RETRY: Duration = Duration::from_secs(10);

/// What is known of the order. See the module.
pub(super) enum Phase {
    Unknown,
    Restoring(OrderReader),
    Resting,
    Writing(OrderWriter),
}

pub(super) struct Order {
    phase: Phase,
    /// Whether something was asked for, stored or removed since the walk that the file is from began.
    pub(super) changed: bool,
    /// Whose order it is, or is becoming.
    algorithm: Algorithm,
    /// Objects are still in the order of another algorithm.
    settling: bool,
    due: Instant,
    /// Of the file that is there.
    bytes: u64,
}

impl Order {
    /// With the file of an earlier life, before anything else is known.
    pub(super) fn found(layout: &Layout, interval: Duration, algorithm: Algorithm) -> Self {
        let due = Instant::now() + interval;
        let bytes = order::size(layout);
        Self { phase: Phase::Unknown, changed: false, algorithm, settling: false, due, bytes }
    }

    /// Allocated bytes of the file that is there and of the one being written.
    pub(super) fn disk_bytes(&self) -> u64 {
        let new = if let Phase::Writing(writer) = &self.phase { writer.bytes() } else { 0 };
        (file_blocks(self.bytes) + file_blocks(new)) * BLOCK
    }
}

impl Writer {
    /// All objects are known: takes up the order of the life before, step by step.
    pub(super) fn restore_order(&mut self) {
        self.order.phase = match OrderReader::open(&self.shared.layout, self.order.algorithm) {
            Some(reader) => Phase::Restoring(reader),
            None => self.order_is_known(),
        };
    }

    /// Whether there is a better algorithm to go by, and the order is known that is to be moved into its.
    fn has_better_order(&self) -> bool {
        let known = matches!(self.order.phase, Phase::Resting | Phase::Writing(_));
        known && self.shared.shadows.disk_algorithm() != self.order.algorithm
    }

    /// Goes by another algorithm from now on. Nothing leaves for it: the order is moved step by step. What was being written
    /// down is of the former.
    fn follow(&mut self) {
        self.order.algorithm = self.shared.shadows.disk_algorithm();
        self.eviction.follow(self.order.algorithm);
        self.order.phase = Phase::Resting;
        (self.order.settling, self.order.changed) = (true, true);
    }

    pub(super) fn has_order_work(&self) -> bool {
        if self.order.settling || self.has_better_order() {
            return true;
        }
        match self.order.phase {
            Phase::Unknown => false,
            Phase::Restoring(_) | Phase::Writing(_) => true,
            Phase::Resting => self.order.changed && Instant::now() >= self.order.due,
        }
    }

    /// One step.
    pub(super) fn order_work(&mut self) {
        if !self.has_order_work() {
            return;
        }
        if self.order.settling {
            self.order.settling = !self.eviction.settle(STEP);
            return;
        }
        if self.has_better_order() {
            self.follow();
            return;
        }
        self.order.phase = match std::mem::replace(&mut self.order.phase, Phase::Resting) {
            Phase::Restoring(mut reader) => match reader.next() {
                Some(rankings) => {
                    rankings.iter().for_each(|ranking| self.restore(ranking));
                    Phase::Restoring(reader)
                }
                None => self.order_is_known(),
            },
            Phase::Writing(writer) => self.write_order(writer),
            Phase::Unknown | Phase::Resting => self.begin_order(),
        };
        self.shared.counters.order_bytes.set(self.order.disk_bytes());
    }

    /// Writes the order of this moment, if it is not the one that is written down.
    pub(super) fn finish_order(&mut self) {
        while self.order.settling {
            self.order_work();
        }
        // One that was not taken up to its end is better than what this life knows.
        if matches!(self.order.phase, Phase::Unknown | Phase::Restoring(_)) {
            return;
        }
        if self.order.changed || matches!(self.order.phase, Phase::Writing(_)) {
            self.order.phase = self.begin_order();
            while matches!(self.order.phase, Phase::Writing(_)) {
                self.order_work();
            }
        }
    }

    fn order_is_known(&self) -> Phase {
        self.shared.order_known.store(true, Ordering::Relaxed);
        Phase::Resting
    }

    /// The last file stays, and it is tried again.
    fn order_is_lost(&mut self, error: &io::Error) -> Phase {
        tracing::debug!(%error, "the eviction order cannot be written down");
        self.order.changed = true;
        self.order.due = Instant::now() + self.shared.options.order_interval.max(RETRY);
        Phase::Resting
    }

    fn restore(&mut self, ranking: &Ranking) {
        for nominee in self.shared.directory.find(ranking.fingerprint) {
            if ranking.is_of(nominee.variant) && self.shared.directory.touched(nominee.id) == 0 {
                self.eviction.restore(nominee.id, ranking.fingerprint.0, ranking.rank);
            }
        }
    }

    fn begin_order(&mut self) -> Phase {
        // Unlinks what was begun before.
        self.order.phase = Phase::Resting;
        self.order.changed = false;
        self.order.due = Instant::now() + self.shared.options.order_interval;
        self.eviction.rewind();
        match OrderWriter::create(&self.shared.layout, self.order.algorithm) {
            Ok(writer) => Phase::Writing(writer),
            Err(error) => self.order_is_lost(&error),
        }
    }

    fn write_order(&mut self, mut writer: OrderWriter) -> Phase {
        let mut records = Vec::with_capacity(STEP * 10);
        let mut ended = false;
        for _ in 0..STEP {
            let Some((id, rank)) = self.eviction.next_rank() else {
                ended = true;
                break;
            };
            if let Some(nominee) = self.shared.directory.get(id) {
                let (fingerprint, variant) = (nominee.fingerprint, nominee.variant.0 as u8);
                Ranking { fingerprint, variant, rank }.encode(&mut records);
            }
        }
        if !self.make_room(records.len() as u64 + BLOCK) {
            // The last file stays.
            return Phase::Resting;
        }
        if let Err(error) = writer.write(&records) {
            return self.order_is_lost(&error);
        }
        if !ended {
            return Phase::Writing(writer);
        }
        let bytes = writer.bytes();
        match writer.finish() {
            Ok(()) => {
                self.order.bytes = bytes;
                let seconds = bytes / BYTES_PER_SEC;
                self.order.due = self.order.due.max(Instant::now() + Duration::from_secs(seconds));
                Phase::Resting
            }
            Err(error) => self.order_is_lost(&error),
        }
    }
}
