//! The thread that owns all changes to the index.
//!
//! It opens the database while the store already serves, tells what it found, and then applies what the writer
//! thread sends, in batches. A database that fails is set aside and not used again before the next start; the
//! directory in memory goes on being right without it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::guard::{Guard, OPEN_PATIENCE, PATIENCE, open_within};
use super::tree::Tree;
use super::{Change, Index, Watermark};
use crate::layout::Layout;
use crate::shared::Shared;
use crate::stats::Counters;

/// Changes that may wait; the writer waits when there are more.
const QUEUE: usize = 16 * 1024;
const BATCH: usize = 256;
const BATCH_EVERY: Duration = Duration::from_millis(50);
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// What is queued is written out within this time, or is found again at the next start.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

struct Message {
    change: Option<Change>,
    watermark: Option<Watermark>,
}

/// Takes the path and the bytes of memory for the database's own cache.
type Open = dyn Fn(&Path, u64) -> io::Result<Arc<dyn Index>> + Send + Sync;

/// How the database is opened, and how long each call into it is waited for.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) open: Arc<Open>,
    pub(crate) patience: Duration,
    pub(crate) open_patience: Duration,
}

impl Default for Opener {
    fn default() -> Self {
        let open = |path: &Path, cache_bytes| {
            Tree::open(path, cache_bytes).map(|tree| Arc::new(tree) as Arc<dyn Index>)
        };
        Self { open: Arc::new(open), patience: PATIENCE, open_patience: OPEN_PATIENCE }
    }
}

/// What opening found.
pub(crate) struct Opened {
    /// The database, unless there is none or it could not be opened.
    pub(crate) index: Option<Arc<dyn Index>>,
    /// Up to where it knows the segments; `None` when it must be rebuilt.
    pub(crate) watermark: Option<Watermark>,
}

/// The writer's side of the index thread. Dropped, it has the thread write everything out and end.
pub(crate) struct IndexThread {
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    /// `None` where there is no database.
    opener: Option<Opener>,
}

impl IndexThread {
    /// Starts the thread. `opened` is called on it once the database is open or has failed to. `end` is where the
    /// segments of earlier lives end: an index that knows of later ones speaks of what is gone, and is set aside.
    pub(crate) fn start(
        shared: &Shared,
        opener: Opener,
        end: Watermark,
        opened: impl FnOnce(Opened) + Send + 'static,
    ) -> io::Result<Self> {
        let (layout, reader) = (shared.layout.clone(), shared.index.clone());
        let (cache_bytes, counters) = (shared.options.index_cache, shared.counters.clone());
        let kept = opener.clone();
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("larder-index".to_owned()).spawn(move || {
            let (index, watermark) = match open(&layout, &opener, cache_bytes, end) {
                Some((index, watermark)) => (Some(index), watermark),
                None => (None, None),
            };
            reader.set(index.clone().filter(|_| watermark.is_some()));
            opened(Opened { index: index.clone(), watermark });
            let Some(index) = index else { return };
            let worker = Worker { layout, index, receiver, counters };
            if let Err(error) = worker.run() {
                reader.set(None);
                tracing::warn!(%error, "the index failed and is set aside; it is rebuilt at the next start");
                set_aside(&worker.layout);
            }
            reader.set(None);
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread), opener: Some(kept) })
    }

    /// No database: the index lives in memory only.
    pub(crate) const fn none() -> Self {
        Self { sender: None, thread: None, opener: None }
    }

    /// Queues a change.
    pub(crate) fn change(&mut self, change: Change, watermark: Option<Watermark>) {
        self.send(Message { change: Some(change), watermark });
    }

    /// Queues a new watermark.
    pub(crate) fn watermark(&mut self, watermark: Watermark) {
        self.send(Message { change: None, watermark: Some(watermark) });
    }

    /// Begins a new, empty index in place of this one, also where this one has failed or its files are gone.
    pub(crate) fn renew(&mut self, shared: &Shared) {
        let Some(opener) = self.opener.clone() else { return };
        // Its last files are written by their names, so it must have ended.
        if !self.end_within(opener.patience) {
            tracing::warn!("the index does not end and is given up; it is rebuilt at the next start");
            return;
        }
        let path = shared.layout.index();
        if let Err(error) = fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the index cannot be removed");
        }
        // An empty one knows of nothing, so of nothing too late.
        let end = Watermark { segment: u32::MAX, offset: u32::MAX };
        match Self::start(shared, opener, end, |_| ()) {
            Ok(renewed) => *self = renewed,
            Err(error) => tracing::warn!(%error, "cannot start a new index; it is rebuilt at the next start"),
        }
    }

    fn end_within(&mut self, patience: Duration) -> bool {
        self.sender = None;
        let Some(thread) = self.thread.take() else { return true };
        thread.thread().unpark();
        let until = Instant::now() + patience;
        while !thread.is_finished() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = thread.join();
        true
    }

    fn send(&mut self, message: Message) {
        let Some(sender) = &self.sender else { return };
        let mut message = message;
        let patience = self.opener.as_ref().map_or(PATIENCE, |opener| opener.patience);
        let until = Instant::now() + patience;
        loop {
            match sender.try_send(message) {
                Ok(()) => return,
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(TrySendError::Full(_)) => {
                    tracing::warn!("the index takes nothing any more and is given up");
                    // The thread hangs in the database; it is not waited for.
                    self.thread = None;
                    break;
                }
                Err(TrySendError::Disconnected(_)) => break,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.sender = None;
    }

    /// Has everything written out and waits for it.
    pub(crate) fn close(&mut self) {
        if !self.end_within(CLOSE_PATIENCE) {
            tracing::warn!(
                "the index does not end and is given up; what it was not told is found in the segments"
            );
        }
    }
}

struct Worker {
    layout: Arc<Layout>,
    index: Arc<dyn Index>,
    receiver: Receiver<Message>,
    counters: Arc<Counters>,
}

impl Worker {
    fn run(&self) -> io::Result<()> {
        let mut changes = Vec::with_capacity(BATCH);
        let mut watermark = None;
        let mut dirty = false;
        let mut flushed = Instant::now();
        self.measure();
        let mut full = false;
        loop {
            if !full {
                // Whoever sends does not wake it: to be woken costs both sides more than a change does.
                std::thread::park_timeout(BATCH_EVERY);
            }
            let ended = loop {
                match self.receiver.try_recv() {
                    Ok(message) => {
                        changes.extend(message.change);
                        watermark = message.watermark.or(watermark);
                    }
                    Err(TryRecvError::Empty) => break false,
                    Err(TryRecvError::Disconnected) => break true,
                }
                if changes.len() >= BATCH {
                    break false;
                }
            };
            full = changes.len() >= BATCH;
            if !changes.is_empty() || watermark.is_some() {
                self.index.apply(&changes, watermark.take())?;
                changes.clear();
                dirty = true;
            }
            if (dirty && flushed.elapsed() >= FLUSH_EVERY) || ended {
                self.index.flush()?;
                dirty = false;
                flushed = Instant::now();
                self.measure();
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn measure(&self) {
        let mut blocks = 0;
        if let Ok(entries) = fs::read_dir(self.layout.dir()) {
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().starts_with("index") {
                    blocks += allocated_blocks(&entry.path());
                }
            }
        }
        self.counters.index_bytes.set(blocks * 512);
    }
}

fn allocated_blocks(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    let mut blocks = found.blocks();
    if found.is_dir()
        && let Ok(entries) = fs::read_dir(path)
    {
        blocks += entries.flatten().map(|entry| allocated_blocks(&entry.path())).sum::<u64>();
    }
    blocks
}

/// The database and up to where it knows the segments, where it does.
fn open(
    layout: &Layout,
    opener: &Opener,
    cache_bytes: u64,
    end: Watermark,
) -> Option<(Arc<dyn Index>, Option<Watermark>)> {
    let path = layout.index();
    for attempt in 0..2 {
        let (open, place) = (opener.open.clone(), path.clone());
        match open_within(opener.open_patience, move || open(&place, cache_bytes)) {
            Ok(index) => {
                let index = Guard::new(index, opener.patience);
                let watermark = index.watermark().unwrap_or(None);
                if watermark.is_none_or(|watermark| watermark <= end) {
                    return Some((Arc::new(index), watermark));
                }
                // New segments would get numbers that it believes to know.
                tracing::warn!(path = %path.display(), "the index is of a later time than the segments");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the index cannot be opened");
            }
        }
        if attempt == 0 && !set_aside(layout) {
            break;
        }
    }
    None
}

/// Removes the index and those set aside.
pub(crate) fn remove_all(layout: &Layout) -> io::Result<()> {
    for entry in fs::read_dir(layout.dir())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("index") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Renames a damaged index away; only the last such is kept.
fn set_aside(layout: &Layout) -> bool {
    const NAME: &str = "index.corrupt-";
    if let Ok(entries) = fs::read_dir(layout.dir()) {
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(NAME) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let to = layout.dir().join(format!("{NAME}{millis}"));
    match fs::rename(layout.index(), &to) {
        Ok(()) => {
            tracing::warn!(path = %to.display(), "the index was set aside and is rebuilt from the segments");
            true
        }
        Err(error) => {
            tracing::warn!(%error, "the index cannot be set aside");
            false
        }
    }
}
