//! The one thread that changes what is stored: "larder-store".
//!
//! It alone appends to segments, renames blobs into place, evicts, removes, compacts, and keeps the accounts of
//! disk and of blob owners. Since nothing else writes, none of these can race another. It takes commands in
//! the order in which they were sent; appends that wait together go out in one system call. Between commands
//! it makes room ahead of need, a little at a time, so that no command waits long.

mod append;
mod directories;
mod grown;
mod order;
mod quarantine;
mod reclaim;
mod recovered;
mod remove;
mod segments;
mod space;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::blob::{BLOCK, Hint};
use crate::command::Command;
use crate::directory::Place;
use crate::error::OpenError;
use crate::eviction::Ranked;
use crate::files::StoreFile;
use crate::index::{IndexThread, Opener, Watermark};
use crate::layout::DirLock;
use crate::owners::Finder;
use crate::record::FileKind;
use crate::recovery::{self, Totals};
use crate::removals::Removals;
use crate::segment;
use crate::shared::Shared;

use order::Order;
pub(crate) use reclaim::Hold;
use segments::{Segment, Segments};

/// Commands that may wait for the writer; senders wait when there are more.
pub(crate) const COMMANDS: usize = 256;
/// A closed segment below this part of the bound is a small one.
const SMALL_PART: u64 = 4;
/// Hints that may wait; more are lost.
pub(crate) const HINTS: usize = 4096;
const TICK: Duration = Duration::from_secs(1);
/// The clock starts here, so that "some seconds ago" is never before it.
const CLOCK_START: u32 = 1000;

/// What the writer listens to.
pub(crate) struct Inbox {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) hints: mpsc::Receiver<Hint>,
}

/// Starts the writer thread, and through it the index. It ends when it is told to close, or when every sender
/// is gone; the directory stays locked until then.
pub(crate) fn start(
    shared: Arc<Shared>,
    inbox: Inbox,
    sender: mpsc::WeakSender<Command>,
    lock: DirLock,
    opener: Opener,
) -> Result<JoinHandle<()>, OpenError> {
    let dir = shared.options.dir.clone();
    let cannot = |what| OpenError::io(what, &dir);
    let found = segment::list(&shared.layout).map_err(cannot("list the segments of"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(cannot("start the writer of"))?;
    let sizes = found.iter().map(|(id, size)| (*id, Segment { size: *size, live: 0 }));
    let segments = Segments::new(sizes, shared.options.segment_bytes() / SMALL_PART);
    let totals = recovery::read_totals(&shared.layout);
    // Also above those that are gone: an index may still speak of them.
    let next_segment = found.iter().map(|(id, _)| id.saturating_add(1)).max().unwrap_or(1);
    let next_segment = next_segment.max(totals.next_segment);
    let quarantine = quarantine::Quarantine::open(&shared);
    let removals = Removals::read(&shared.layout, &shared.removed);
    let index = if shared.options.index_on_disk() {
        let (loader, sender) = (shared.clone(), sender.clone());
        let opened = move |opened| recovery::start(loader, sender, found, opened);
        let end = Watermark { segment: next_segment, offset: 0 };
        IndexThread::start(&shared, opener, end, opened).map_err(cannot("start the index of"))?
    } else {
        // What a larger limit has left would count, and be out of date one day.
        crate::index::remove_all(&shared.layout).map_err(cannot("remove the index of"))?;
        recovery::start(shared.clone(), sender.clone(), found, recovery::no_index());
        IndexThread::none()
    };
    let first = shared.shadows.disk_algorithm();
    let mut writer = Writer {
        eviction: shared.options.eviction.ranked(first, u64::MAX),
        order: Order::found(&shared.layout, shared.options.order_interval, first),
        index,
        segments,
        next_segment,
        active: None,
        owners: HashMap::new(),
        removals,
        phase: Phase::Recovering(Recovering::default()),
        pending: Vec::new(),
        compaction: None,
        rewrites: reclaim::Rewrites::default(),
        unreadable: HashMap::new(),
        added_in_sweep: None,
        blob_blocks: 0,
        directories: directories::Directories::default(),
        gone: HashSet::new(),
        quarantine,
        finder: Finder::default(),
        reserving: VecDeque::new(),
        space: space::Space::new(&shared.options),
        unremoved: 0,
        claimed_blocks: totals.blob_blocks,
        written_blocks: 0,
        noted: totals,
        sender,
        registering: false,
        index_complete: true,
        stuck: false,
        started: Instant::now(),
        shared,
        _lock: lock,
    };
    writer.look_at_space();
    writer.account();
    std::thread::Builder::new()
        .name("larder-store".to_owned())
        .spawn(move || writer.run(&runtime, inbox))
        .map_err(cannot("start the writer of"))
}

/// The segment that is appended to.
struct Active {
    id: u32,
    file: Arc<StoreFile>,
    size: u64,
    records: u32,
}

/// Whether all records are known.
enum Phase {
    /// Owners of blobs are not known yet: none is unlinked.
    Recovering(Recovering),
    Ready,
}

/// Digest prefixes of the files that records were found for, or added since, with the blocks that they take; and of those
/// dropped since. Which records are dead, that may be about to be found.
#[derive(Default)]
struct Recovering {
    added: Vec<(FileKind, u64, u32)>,
    dropped: Vec<u64>,
    unweighed: Vec<grown::Unweighed>,
    buried: HashSet<Place>,
}

struct Writer {
    shared: Arc<Shared>,
    sender: mpsc::WeakSender<Command>,
    eviction: Box<dyn Ranked>,
    order: Order,
    index: IndexThread,
    segments: Segments,
    next_segment: u32,
    active: Option<Active>,
    /// Digest prefixes of blobs with two or more owners.
    owners: HashMap<u64, u32>,
    /// Removals that wait for records to be found.
    removals: Removals,
    phase: Phase,
    pending: Vec<append::Pending>,
    compaction: Option<reclaim::Compaction>,
    rewrites: reclaim::Rewrites,
    /// Segments that could not be read when they were to be copied, and until when they are left alone.
    unreadable: HashMap<u32, u32>,
    /// While orphans are looked for: digest prefixes of the blobs that were added since.
    added_in_sweep: Option<HashSet<u64>>,
    blob_blocks: u64,
    directories: directories::Directories,
    /// Digest prefixes of blobs that are gone while records still name them.
    gone: HashSet<u64>,
    quarantine: quarantine::Quarantine,
    finder: Finder,
    /// Unfinished bodies that wait for room, in order.
    reserving: VecDeque<space::Waiting>,
    space: space::Space,
    /// Bytes of files that should be gone but could not be removed.
    unremoved: u64,
    noted: Totals,
    /// What the blobs took when last counted: the least that is assumed until they are counted.
    claimed_blocks: u64,
    /// What came in this life, until they are counted: it is not part of that.
    written_blocks: u64,
    /// Records are written that the index has not been told of yet.
    registering: bool,
    /// False while the index is made anew.
    index_complete: bool,
    /// Nothing could be reclaimed; tried again at the next tick.
    stuck: bool,
    started: Instant,
    _lock: DirLock,
}

impl Writer {
    fn run(mut self, runtime: &Runtime, mut inbox: Inbox) {
        let mut commands = Vec::with_capacity(COMMANDS);
        let mut next_tick = Instant::now();
        loop {
            let busy = self.has_work() || self.has_order_work();
            let until = if busy { Instant::now() } else { next_tick };
            let woken = runtime.block_on(async {
                tokio::select! {
                    biased;
                    taken = inbox.commands.recv_many(&mut commands, COMMANDS) => Woken::Commands(taken),
                    Some(hint) = inbox.hints.recv() => Woken::Hint(hint),
                    () = tokio::time::sleep_until(until.into()) => Woken::Time,
                }
            });
            if matches!(woken, Woken::Commands(1..)) {
                // Whoever woke this thread may have more: where both share a processor, it goes on first, and one write takes all.
                std::thread::yield_now();
                while commands.len() < COMMANDS
                    && let Ok(command) = inbox.commands.try_recv()
                {
                    commands.push(command);
                }
            }
            match woken {
                Woken::Commands(0) => break,
                Woken::Hint(hint) => self.hint(hint),
                Woken::Commands(_) | Woken::Time => {}
            }
            while let Ok(hint) = inbox.hints.try_recv() {
                self.hint(hint);
            }
            let mut close = None;
            for command in commands.drain(..) {
                if let Some(reply) = self.command(command) {
                    close = Some(reply);
                }
            }
            self.write_pending();
            if close.is_some() {
                self.finish();
                // Dropping the inbox first lets no later command wait for an answer.
                drop(inbox);
                drop(self);
                if let Some(reply) = close {
                    let _ = reply.send(());
                }
                return;
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.tick();
            }
            self.work();
            self.order_work();
        }
        self.finish();
    }

    /// Does one command; appends are only gathered. Returns whom to tell when the store is to close.
    fn command(&mut self, command: Command) -> Option<tokio::sync::oneshot::Sender<()>> {
        if let Command::Append(append, reply) = command {
            self.pending.push(append::Pending { append, reply });
            return None;
        }
        self.write_pending();
        match command {
            Command::Append(..) => {}
            Command::Remove(key, fingerprint, reply) => {
                let removed = self.remove(&key, fingerprint);
                let _ = reply.send(removed);
            }
            Command::RemoveRecords(doomed, reply) => {
                let removed = self.remove_records(&doomed);
                let _ = reply.send(removed);
            }
            Command::RemoveOldest(most, reply) => {
                let removed = self.remove_oldest(most);
                let _ = reply.send(removed);
            }
            Command::Reserve(bytes, reply) => self.reserve(bytes, reply),
            Command::Grown(grown) => self.grown(grown),
            Command::Recovered(batch) => self.recovered(batch),
            Command::RecoveryDone => self.recovery_done(),
            Command::Orphans(kind, names) => self.remove_orphans(kind, names),
            Command::SweepDone { directories } => {
                self.added_in_sweep = None;
                self.directories.sweep_ended(directories);
                self.account();
            }
            Command::RenewIndex => {
                self.index_complete = false;
                self.index.renew(&self.shared);
            }
            Command::IndexComplete => {
                self.index_complete = true;
                self.index.watermark(self.end());
            }
            Command::Reindex(batch) => self.reindex(batch),
            Command::Rewrite(segments, done) => self.rewrites.extend(segments, done),
            Command::Barrier(reply) => {
                self.finish_compaction();
                self.account();
                let _ = reply.send(());
            }
            Command::Close(reply) => return Some(reply),
        }
        None
    }

    fn hint(&mut self, hint: Hint) {
        match hint {
            Hint::Touch(fingerprint, variant) => {
                if let Some(nominee) = self.shared.directory.find_variant(fingerprint, variant) {
                    self.eviction.access(nominee.id, fingerprint.0);
                    self.order.changed = true;
                }
            }
            Hint::BadBlob(owner) => {
                self.drop_bad_blob(&owner);
                self.shared.blobs.condemned.heard(&owner.file.name);
            }
            Hint::Tree(digest, tree) => self.mend_tree(&digest, tree),
            Hint::BadRecord(fingerprint, place, fault) => self.drop_bad_record(fingerprint, place, fault),
        }
    }

    fn tick(&mut self) {
        let secs = u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX / 2);
        self.shared.tick(CLOCK_START.saturating_add(secs));
        self.stuck = false;
        self.look_at_space();
        self.give_up_waiting();
        self.account();
        self.note_totals();
    }

    fn finish(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.write_pending();
        self.finish_order();
        self.account();
        self.note_totals();
        self.index.close();
    }

    /// Notes what a later life needs to know before it has found everything.
    fn note_totals(&mut self) {
        // What goes into a partial stays there if this life ends before it is counted.
        let bytes = self.blob_bytes() + self.shared.counters.growing_bytes.get();
        let totals = Totals { blob_blocks: bytes / BLOCK, next_segment: self.next_segment };
        if totals != self.noted {
            recovery::write_totals(&self.shared.layout, totals);
            self.noted = totals;
        }
    }

    fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Up to where the segments are written; `None` while older records, or others that were written with one, may be
    /// missing in the index.
    fn watermark(&self) -> Option<Watermark> {
        (self.is_ready() && self.index_complete && !self.registering).then(|| self.end())
    }

    fn end(&self) -> Watermark {
        match &self.active {
            Some(active) => {
                Watermark { segment: active.id, offset: u32::try_from(active.size).unwrap_or(u32::MAX) }
            }
            None => Watermark { segment: self.next_segment, offset: 0 },
        }
    }

    /// The number that the next record will have. Segments are numbered upwards for ever, and the records of one
    /// in order, so later records have higher numbers in any life of the directory.
    fn next_sequence(&self) -> u64 {
        match &self.active {
            Some(active) => sequence(active.id, active.records),
            None => sequence(self.next_segment, 0),
        }
    }

    fn blob_bytes(&self) -> u64 {
        let found = if self.is_ready() {
            self.blob_blocks
        } else {
            self.blob_blocks.max(self.claimed_blocks) + self.written_blocks
        };
        (found + self.directories.count()) * BLOCK
    }

    /// Allocated bytes of everything.
    fn used(&self) -> u64 {
        self.shared.counters.blob_bytes.set(self.blob_bytes());
        self.shared.counters.disk_bytes()
    }

    /// Publishes the accounts.
    fn account(&self) {
        let counters = &self.shared.counters;
        let sums = self.segments.sums();
        debug_assert_eq!(sums, self.segments.summed());
        counters.segment_bytes.set(sums.allocated);
        counters.dead_bytes.set(if self.is_ready() { sums.dead } else { 0 });
        counters.blob_bytes.set(self.blob_bytes());
        counters.order_bytes.set(self.order.disk_bytes());
        counters.other_bytes.set(self.shared.layout.own_bytes() + self.unremoved);
    }
}

enum Woken {
    Commands(usize),
    Hint(Hint),
    Time,
}

const fn sequence(segment: u32, record: u32) -> u64 {
    (segment as u64) << 32 | record as u64
}
