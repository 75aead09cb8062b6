//! The one door to everything that is stored: look up, write, freshen, remove.
//!
//! A `Store` is a handle: cloning is cheap, and it may be used from any number of single-threaded runtimes. All
//! changes are made by one thread of its own, so none of them can race another. Nothing here fails a request:
//! what cannot be read is a miss, what cannot be written is passed on.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use larder_policy::packages::ExpectedDigest;
use larder_policy::{CacheKey, StoredResponse};
use tokio::sync::{mpsc, oneshot};

use crate::blob::{BLOCK, Blobs, Hint};
use crate::command::{AppendBody, Command};
use crate::entries::Entries;
use crate::error::{Error, OpenError};
use crate::files::Files;
use crate::fill::{CoreBody, Fill, append, new_core};
use crate::filling::Filling;
use crate::filter::Filter;
use crate::index::Opener;
use crate::layout::Layout;
use crate::lookup::Lookup;
use crate::options::Options;
use crate::purge::{self, Removal};
use crate::scrub::Scrubber;
use crate::shadow::{Shadow, Watcher};
use crate::shared::{Shared, TOUCH_EVERY};
use crate::stats::{Counters, IndexState, Stats};
use crate::stored::{Core, Stored, Variants};
use crate::verify::{self, Checked, Repair, VerifyReport};
use crate::writer::{self, COMMANDS, HINTS};

/// A store of responses in one directory. See the module.
#[derive(Clone, Debug)]
pub struct Store {
    handle: Arc<Handle>,
}

/// What a store stands on: the file system and the database of the index. Tests put others below it.
#[derive(Default)]
pub(crate) struct Ground {
    pub(crate) files: Files,
    pub(crate) index: Opener,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Command>,
    writer: Mutex<Option<JoinHandle<()>>>,
    scrubber: Mutex<Option<Scrubber>>,
    watcher: Mutex<Option<Watcher>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Background threads give up; the writer ends when the last sender is gone.
        self.shared.closing.store(true, Ordering::Relaxed);
    }
}

impl Store {
    /// Opens the store in a directory, or makes one. Blocks for some file operations, but not for the index:
    /// that is opened on its own thread, and lookups reach it as soon as it is there.
    ///
    /// # Errors
    ///
    /// The directory is in use, of another format, of another user, full of other things or not usable. Damage
    /// to what is stored is no error.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Self::open_on(options, Ground::default())
    }

    pub(crate) fn open_on(options: Options, ground: Ground) -> Result<Self, OpenError> {
        let (layout, lock) = Layout::open_on(&options.dir, ground.files)?;
        let layout = Arc::new(layout);
        let counters = Arc::new(Counters::default());
        let (hint_sender, hints) = mpsc::channel::<Hint>(HINTS);
        let (sender, commands) = mpsc::channel::<Command>(COMMANDS);
        let blobs = Arc::new(Blobs::new(layout.clone(), options.verify, counters.clone(), hint_sender));
        let shared = Arc::new(Shared::new(options, layout, counters, blobs));
        let inbox = writer::Inbox { commands, hints };
        let thread = writer::start(shared.clone(), inbox, sender.downgrade(), lock, ground.index)?;
        let (writer, scrubber) = (Mutex::new(Some(thread)), Mutex::new(Scrubber::start(&shared)));
        let watcher = Mutex::new(Watcher::start(&shared));
        Ok(Self { handle: Arc::new(Handle { shared, sender, writer, scrubber, watcher }) })
    }

    /// All variants under a key, if the memory tier has them. No I/O and no waiting.
    #[must_use]
    pub fn cached(&self, key: &CacheKey) -> Option<Variants> {
        self.cached_as(key.as_str())
    }

    /// [`cached`](Self::cached), by the text of the key.
    #[must_use]
    pub fn cached_as(&self, key: &str) -> Option<Variants> {
        let shared = &self.handle.shared;
        let variants = shared.memory.get(key)?;
        let bad = |core: &Core| core.inline.is_none() && shared.blobs.condemned.contains(&core.digest);
        if variants.iter().any(|stored| bad(&stored.core)) {
            return None;
        }
        let now = shared.now();
        if let Some(first) = variants.first() {
            shared.shadows.hit(&first.core);
        }
        for stored in variants.iter() {
            let core = &stored.core;
            if core.touch(now, TOUCH_EVERY) {
                shared.blobs.hint(Hint::Touch(core.fingerprint, core.variant));
            }
        }
        Some(variants)
    }

    /// All variants under a key, the one stored last first: from memory, else from disk.
    ///
    /// Trouble is a miss: what is damaged is left out, dropped, counted and logged. Needs a runtime with a timer
    /// and a blocking pool.
    pub async fn lookup(&self, key: &CacheKey) -> Variants {
        if let Some(variants) = self.cached(key) {
            return variants;
        }
        let shared = self.handle.shared.clone();
        let fingerprint = shared.keys.fingerprint(key.as_str());
        Lookup { shared, key: key.clone(), fingerprint }.run().await
    }

    /// Begins to store a response whose body is about to arrive.
    ///
    /// `length` is what was announced. `expect` is a digest that the body must have, else it is passed on and
    /// not stored. Never fails: what cannot be stored is relayed.
    #[must_use]
    pub fn begin(
        &self,
        key: CacheKey,
        response: StoredResponse,
        length: Option<u64>,
        expect: Option<ExpectedDigest>,
    ) -> Fill {
        let shared = &self.handle.shared;
        let most = shared.options.largest_object().min(shared.options.temp_limit());
        let relay = !shared.is_storing() || length.unwrap_or(0) > most;
        let filling = Filling::new(key, response, length, relay, shared.blobs.clone());
        Fill::new(shared.clone(), self.handle.sender.clone(), filling, expect)
    }

    /// Begins to fill `range` of the representation of which a stored response has a part; `response` is its head from then
    /// on. What is here of the range need not be written again, see [`Fill::skip`]; `expect` is the digest of all of the
    /// representation, which is `complete_length` bytes long.
    ///
    /// `None` when the stored response is no part that can grow, or one in too many pieces.
    #[must_use]
    pub fn begin_into(
        &self,
        stored: &Arc<Stored>,
        response: StoredResponse,
        range: Range<u64>,
        complete_length: Option<u64>,
        expect: Option<ExpectedDigest>,
    ) -> Option<Fill> {
        let shared = &self.handle.shared;
        let base = stored.core.clone();
        let partial = base.partial.as_ref().filter(|partial| !partial.is_ragged())?;
        let length = range.end.saturating_sub(range.start);
        let held = partial.runs().bytes();
        let relay = !shared.is_storing() || held.saturating_add(length) > shared.options.largest_object();
        let (key, blobs) = (base.key.clone(), shared.blobs.clone());
        let filling = Filling::empty(key, response, Some(length), relay, blobs);
        let filling = filling.of_part(range, complete_length, Some(base));
        Some(Fill::new(shared.clone(), self.handle.sender.clone(), filling, expect))
    }

    /// Stores new metadata for a stored body, as after a 304. The old record is replaced.
    ///
    /// What is returned has the new metadata also when the disk refused it.
    pub async fn freshen(&self, stored: &Arc<Stored>, response: StoredResponse) -> Arc<Stored> {
        let shared = &self.handle.shared;
        let old = &stored.core;
        let (digest, inline, partial) = (old.digest, old.inline.clone(), old.partial.clone());
        let len = partial.as_ref().map_or(old.len, |partial| u64::from(partial.blocks()) * BLOCK);
        let core = new_core(shared, &old.key, response, CoreBody { digest, len, inline, partial });
        let body = match &old.inline {
            _ if old.partial.is_some() => AppendBody::Partial { fresh: None, reservation: None },
            Some(inline) if old.len <= shared.options.segment_max() => AppendBody::Inline(inline.clone()),
            _ => AppendBody::Existing,
        };
        let fresh = Stored::new(core.clone(), stored.tier());
        // A partial belongs to one variant.
        let moved = old.partial.is_some() && core.variant != old.variant;
        if shared.is_storing() && !moved {
            append(shared, &self.handle.sender, core, body).await;
        }
        fresh
    }

    /// Removes all variants under a key. Returns how many there were; when it returns, none is served any more.
    pub async fn remove(&self, key: &CacheKey) -> usize {
        let filter = Filter { keys: Some(vec![key.clone()]), ..Filter::default() };
        let removal = self.remove_where(filter).await.unwrap_or_default();
        usize::try_from(removal.responses).unwrap_or(usize::MAX)
    }

    /// Removes every stored response that a filter matches. When it returns, none is served any more.
    ///
    /// Unless the filter names keys, the heads of all records are read, which takes as long as that takes; the store is
    /// used meanwhile. It waits until everything that is stored is known, unless keys are the only condition.
    ///
    /// # Errors
    ///
    /// The segments cannot be read, or the store is closed.
    pub async fn remove_where(&self, filter: Filter) -> Result<Removal, Error> {
        purge::remove_where(&self.handle.shared, &self.handle.sender, filter).await
    }

    /// Figures of this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.handle.shared;
        let counters = &shared.counters;
        let (memory_bytes, memory_objects, memory_hits) = shared.memory.figures();
        let (segment_bytes, blob_bytes) = (counters.segment_bytes.get(), counters.blob_bytes.get());
        let (temp_bytes, index_bytes) = (counters.temp_bytes.get(), counters.index_bytes.get());
        let (quarantine_bytes, other_bytes) = (counters.quarantine_bytes.get(), counters.other_bytes.get());
        Stats {
            objects: shared.directory.len() as u64,
            disk_bytes: counters.disk_bytes(),
            disk_limit: shared.options.disk_limit,
            disk_limit_now: counters.limit_now.get(),
            segment_bytes,
            dead_bytes: counters.dead_bytes.get(),
            blob_bytes,
            temp_bytes,
            index_bytes,
            order_bytes: counters.order_bytes.get(),
            quarantine_bytes,
            other_bytes,
            memory_bytes,
            memory_limit: shared.options.memory_limit,
            memory_objects,
            directory_bytes: shared.directory.memory_bytes() as u64,
            memory_eviction: shared.options.memory_eviction,
            eviction: shared.options.eviction,
            memory_hits,
            disk_hits: counters.disk_hits.get(),
            misses: counters.misses.get(),
            stored: counters.stored.get(),
            relayed: counters.relayed.get(),
            digest_mismatches: counters.digest_mismatches.get(),
            evicted: counters.evicted.get(),
            removed: counters.removed.get(),
            compacted: counters.compacted.get(),
            damaged: counters.damaged.get(),
            quarantined: counters.quarantined.get(),
            mended: counters.mended.get(),
            scrubbed_bytes: counters.scrubbed_bytes.get(),
            scrub_pass_bytes: counters.scrub_pass_bytes.get(),
            scrub_passes: counters.scrub_passes.get(),
            scrub_damaged: counters.scrub_damaged.get(),
            storing: shared.is_storing(),
            read_errors: counters.read_errors.get(),
            write_errors: counters.write_errors.get(),
            index: *shared.state.borrow(),
        }
    }

    /// What other sizes and other algorithms would make of the requests so far, for the memory tier and the disk tier. Of a
    /// store that has just been opened they know nothing.
    #[must_use]
    pub fn shadows(&self) -> [Shadow; 2] {
        self.handle.shared.shadows.report()
    }

    /// Waits until everything that is stored is known: loaded from the index, or rebuilt from the segments.
    pub async fn ready(&self) {
        let mut state = self.handle.shared.state.subscribe();
        let _ = state.wait_for(|state| *state == IndexState::Ready).await;
    }

    /// Reads everything that is stored and proves it; the store is used meanwhile. With [`Repair::Yes`], what is wrong is
    /// dropped and the index is made anew.
    ///
    /// `tell` hears of what is found and how far it has come, on a blocking thread. Its false ends a check that repairs
    /// nothing; the report is of what was read by then.
    ///
    /// # Errors
    ///
    /// The segments cannot be read, or the store is closed.
    pub async fn verify(
        &self,
        repair: Repair,
        mut tell: impl FnMut(Checked) -> bool + Send + 'static,
    ) -> Result<VerifyReport, Error> {
        self.ready().await;
        let (shared, sender) = (self.handle.shared.clone(), self.handle.sender.clone());
        let check = move || verify::verify(&shared, &sender, repair, &mut tell);
        tokio::task::spawn_blocking(check).await.map_err(|_| Error::Closed)?
    }

    /// What is stored and a filter matches, in the order in which it lies on disk. The iterator blocks while it reads and
    /// holds nothing up: it may be read at any pace.
    ///
    /// # Errors
    ///
    /// The segments cannot be listed.
    pub async fn entries(&self, filter: Filter) -> Result<Entries, Error> {
        self.ready().await;
        Entries::new(&self.handle.shared, filter)
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    #[cfg(test)]
    pub(crate) fn sender(&self) -> &mpsc::Sender<Command> {
        &self.handle.sender
    }

    /// Writes everything out and lets the directory go. Other handles of this store store nothing from now on.
    pub async fn close(self) {
        let (reply, done) = oneshot::channel();
        self.handle.shared.closing.store(true, Ordering::Relaxed);
        if self.handle.sender.send(Command::Close(reply)).await.is_ok() {
            let _ = done.await;
        }
        let scrubber = self.handle.scrubber.lock().unwrap_or_else(PoisonError::into_inner).take();
        let watcher = self.handle.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.handle.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let wait = move || {
            if let Some(scrubber) = scrubber {
                scrubber.stop();
            }
            if let Some(watcher) = watcher {
                watcher.stop();
            }
            thread.map(JoinHandle::join)
        };
        let _ = tokio::task::spawn_blocking(wait).await;
    }
}
