//! A body that is growing: what its writer has got so far, read by followers from any offset.
//!
//! ```text
//!  0            file            tail_start     tail          total
//!  |-- proved file, on disk --|.. (gap) ..|-- chunks in memory --|
//! ```
//!
//! While the body is being stored there is no gap: the chunks begin where the file ends. A part that can grow has a partial
//! instead of the file: positions are those in the representation, and what is there already is passed by. When a body is only
//! relayed, chunks that every reader has had are dropped, and a new reader is let in only where it will never
//! meet the gap. The end is either `Complete` or a failure that every reader sees: a body that was cut never
//! looks whole.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use larder_policy::{CacheKey, Candidate, Held, Runs, StoredResponse};
use tokio::sync::Notify;

use crate::blob::Blobs;
use crate::body::{BodyReader, Window, WindowFault};
use crate::digest::{BlobDigest, Groups};
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::partial::Partial;
use crate::pool::LARGE;
use crate::stored::{Core, slice};
use crate::tail::Tail;

/// Bytes that a relayed body may be ahead of its slowest reader.
pub(crate) const RELAY_WINDOW: u64 = 256 * 1024;

/// The shared, growing body of a fetch. Followers read it from any offset, each at its own pace.
pub struct Filling {
    key: CacheKey,
    response: StoredResponse,
    length: Option<u64>,
    /// Which bytes of the representation this is to yield, where it is a part that can grow.
    part: Option<Range<u64>>,
    /// How long all of that is, if known.
    complete_length: Option<u64>,
    /// The stored response that is being completed.
    base: Option<Arc<Core>>,
    state: Mutex<State>,
    /// More can be read, or the end is known.
    grown: Notify,
    /// A reader has gone on or away.
    drained: Notify,
    blobs: Arc<Blobs>,
}

#[derive(Debug)]
struct State {
    file: Option<FilePart>,
    partial: Option<Arc<Partial>>,
    tail: Tail,
    /// What was dropped before this position is nowhere any more.
    lost_before: u64,
    /// The position up to which it has come.
    total: u64,
    /// How far readers may read: short of the last bytes until the response is stored.
    visible: u64,
    relay: bool,
    end: End,
    readers: HashMap<u64, u64>,
    next_reader: u64,
    had_readers: bool,
}

/// The part of the body that is in the temporary file.
#[derive(Clone, Debug)]
pub(crate) struct FilePart {
    pub(crate) file: Arc<StoreFile>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) len: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Open,
    Complete,
    Failed,
}

impl Filling {
    pub(crate) fn new(
        key: CacheKey,
        response: StoredResponse,
        length: Option<u64>,
        relay: bool,
        blobs: Arc<Blobs>,
    ) -> Self {
        let part = response.can_grow();
        let filling = Self::empty(key, response, length, relay, blobs);
        match part {
            Some(part) => filling.of_part(part.first()..part.last() + 1, part.complete_length(), None),
            None => filling,
        }
    }

    /// Has it fill a part, into the partial of `base` or into a new one.
    pub(crate) fn of_part(
        mut self,
        part: Range<u64>,
        complete_length: Option<u64>,
        base: Option<Arc<Core>>,
    ) -> Self {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.partial = base.as_ref().and_then(|base| base.partial.clone());
        (state.total, state.visible) = (part.start, part.start);
        (self.part, self.complete_length, self.base) = (Some(part), complete_length, base);
        self
    }

    /// One that is no part.
    pub(crate) fn empty(
        key: CacheKey,
        response: StoredResponse,
        length: Option<u64>,
        relay: bool,
        blobs: Arc<Blobs>,
    ) -> Self {
        let state = State {
            file: None,
            partial: None,
            tail: Tail::default(),
            lost_before: 0,
            total: 0,
            visible: 0,
            relay,
            end: End::Open,
            readers: HashMap::new(),
            next_reader: 0,
            had_readers: false,
        };
        let (grown, drained) = (Notify::new(), Notify::new());
        let (part, complete_length, base) = (None, None, None);
        Self {
            key,
            response,
            length,
            part,
            complete_length,
            base,
            state: Mutex::new(state),
            grown,
            drained,
            blobs,
        }
    }

    /// The cache key that is being filled.
    #[must_use]
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Status, fields and times of the response.
    #[must_use]
    pub fn response(&self) -> &StoredResponse {
        &self.response
    }

    /// Length of the body in bytes, where it was announced.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Bytes received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.lock().total - self.start()
    }

    /// What policy decides about: the response as it will be.
    #[must_use]
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate { response: &self.response, runs: self.part.clone().map(|part| self.runs_with(part)) }
    }

    /// Which bytes of its representation it holds, or will.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        match self.part.clone() {
            Some(part) => Some(Held::Runs(self.runs_with(part))),
            None => self.length.map(Held::Body),
        }
    }

    fn runs_with(&self, part: Range<u64>) -> Arc<Runs> {
        let runs = self.lock().partial.as_ref().map(|partial| partial.runs()).unwrap_or_default();
        let mut runs = Arc::unwrap_or_clone(runs);
        runs.insert(part);
        Arc::new(runs)
    }

    /// How long the representation is of which this is all or a part, if known.
    #[must_use]
    pub fn complete_length(&self) -> Option<u64> {
        if self.part.is_some() { self.complete_length } else { self.length }
    }

    fn start(&self) -> u64 {
        self.part.as_ref().map_or(0, |part| part.start)
    }

    pub(crate) fn part(&self) -> Option<&Range<u64>> {
        self.part.as_ref()
    }

    pub(crate) fn base(&self) -> Option<&Arc<Core>> {
        self.base.as_ref()
    }

    /// Whether the body is only passed on: what its readers have had is gone.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.lock().relay
    }

    /// How many readers are on it.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.lock().readers.len()
    }

    /// Reads bytes `range` as they arrive; an end of `u64::MAX` is the end of the body. A part that can grow is read by
    /// positions in the representation, from its first byte on at the earliest.
    ///
    /// `None` when the fetch has failed, or when the body is relayed and its start has gone by.
    #[must_use]
    pub fn reader(self: &Arc<Self>, range: Range<u64>) -> Option<BodyReader> {
        let mut state = self.lock();
        let start = range.start.max(self.start());
        if state.end == End::Failed || start < state.lost_before {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, start);
        state.had_readers = true;
        drop(state);
        let reader = FillReader { filling: self.clone(), id, at: start, end: range.end };
        Some(BodyReader::of_filling(reader))
    }

    /// Adds a chunk. While the body is being stored, the chunk that completes it stays hidden for now.
    pub(crate) fn push(&self, chunk: Bytes) {
        let mut state = self.lock();
        let before = state.total;
        state.total += chunk.len() as u64;
        state.tail.push(before, chunk);
        let completes = self.length == Some(state.total - self.start());
        state.visible = if completes && !state.relay { state.visible.min(before) } else { state.total };
        drop(state);
        self.grown.notify_waiters();
    }

    /// The bytes up to a position are here already. Of those in memory there must be none, unless it is relayed.
    pub(crate) fn skip(&self, to: u64) {
        let mut state = self.lock();
        state.total = state.total.max(to);
        // As with a chunk that completes it, the end stays hidden until the response is stored.
        let completes = self.length == Some(state.total - self.start());
        state.visible = if completes && !state.relay { state.total.saturating_sub(1) } else { state.total };
        drop(state);
        self.grown.notify_waiters();
    }

    /// How many bytes are in memory, and the position where they end.
    pub(crate) fn tail(&self) -> (u64, u64) {
        let state = self.lock();
        (state.tail.bytes(), state.total)
    }

    /// The first `len` bytes of the chunks in memory, which stay there.
    pub(crate) fn peek_tail(&self, len: u64) -> Vec<Bytes> {
        self.lock().tail.peek(len)
    }

    /// The first bytes of the chunks in memory are in the file now, up to the new length of it.
    pub(crate) fn flushed(&self, part: FilePart) {
        let mut state = self.lock();
        let len = part.len;
        state.file = Some(part);
        state.tail.drop_before(len);
    }

    /// The chunks in memory before a position are in the partial now.
    pub(crate) fn added(&self, partial: Arc<Partial>, until: u64) {
        let mut state = self.lock();
        state.partial = Some(partial);
        state.tail.drop_before(until);
    }

    /// From now on the body is only passed on to the readers that it has.
    pub(crate) fn become_relay(&self) {
        let mut state = self.lock();
        state.relay = true;
        state.had_readers = true;
        state.visible = state.total;
        drop(state);
        self.grown.notify_waiters();
    }

    /// Waits until the chunks in memory fit the window. `Err` when nobody is there to read them.
    pub(crate) async fn drain(&self) -> Result<(), ()> {
        loop {
            let mut drained = std::pin::pin!(self.drained.notified());
            drained.as_mut().enable();
            {
                let mut state = self.lock();
                if let Some(slowest) = state.readers.values().min().copied() {
                    let until = slowest.min(state.total);
                    let before = state.tail.bytes();
                    state.tail.drop_before(until);
                    if state.tail.bytes() < before {
                        state.lost_before = until;
                    }
                }
                let fits = state.tail.bytes() <= RELAY_WINDOW;
                if state.readers.is_empty() && (state.had_readers || !fits) {
                    return Err(());
                }
                if fits {
                    return Ok(());
                }
            }
            drained.await;
        }
    }

    /// The body is whole; readers see its end.
    pub(crate) fn complete(&self) {
        let mut state = self.lock();
        state.visible = state.total;
        state.end = End::Complete;
        drop(state);
        self.grown.notify_waiters();
    }

    /// The body will not become whole; readers that have not seen its end see an error.
    pub(crate) fn fail(&self) {
        let mut state = self.lock();
        if state.end == End::Open {
            state.end = End::Failed;
        }
        drop(state);
        self.grown.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Filling")
            .field("key", &self.key)
            .field("length", &self.length)
            .field("total", &state.total)
            .field("relayed", &state.relay)
            .field("end", &state.end)
            .finish_non_exhaustive()
    }
}

/// One follower of a growing body.
pub(crate) struct FillReader {
    filling: Arc<Filling>,
    id: u64,
    at: u64,
    end: u64,
}

enum Step {
    End,
    Chunk(Bytes),
    File(FilePart, Window),
    Partial(Arc<Partial>, Range<u64>),
    Wait,
}

impl FillReader {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let filling = self.filling.clone();
        loop {
            let mut grown = std::pin::pin!(filling.grown.notified());
            grown.as_mut().enable();
            let bytes = match self.step()? {
                Step::End => return Ok(None),
                Step::Chunk(bytes) => bytes,
                Step::File(part, window) => self.read_file(&part, window).await?,
                Step::Partial(partial, range) => self.read_partial(&partial, range).await?,
                Step::Wait => {
                    grown.await;
                    continue;
                }
            };
            self.at += bytes.len() as u64;
            if let Some(at) = self.filling.lock().readers.get_mut(&self.id) {
                *at = self.at;
            }
            self.filling.drained.notify_waiters();
            return Ok(Some(bytes));
        }
    }

    fn step(&self) -> Result<Step, ReadError> {
        let state = self.filling.lock();
        if self.at >= self.end {
            return Ok(Step::End);
        }
        if self.at < state.visible {
            let end = self.end.min(state.visible);
            if let Some(part) = state.file.clone().filter(|part| self.at < part.len) {
                let end = end.min(part.len);
                let window = Window { at: self.at, end, limit: part.len, piece: LARGE };
                return Ok(Step::File(part, window));
            }
            if let Some(chunk) = state.tail.chunk_at(self.at) {
                return Ok(Step::Chunk(slice(&chunk, 0, end - self.at)));
            }
            let partial = state.partial.clone().ok_or(ReadError::Aborted)?;
            return Ok(Step::Partial(partial, self.at..end));
        }
        match state.end {
            End::Open => Ok(Step::Wait),
            End::Complete => Ok(Step::End),
            End::Failed => Err(ReadError::Aborted),
        }
    }

    async fn read_partial(&self, partial: &Arc<Partial>, range: Range<u64>) -> Result<Bytes, ReadError> {
        let Filling { blobs, base, .. } = &*self.filling;
        partial.read(range, &blobs.pool).await.inspect_err(|error| match (error, base) {
            (ReadError::Aborted, _) | (_, None) => {
                tracing::warn!(%error, "an unfinished part cannot be read back");
            }
            (error, Some(core)) => blobs.report(core, error),
        })
    }

    async fn read_file(&self, part: &FilePart, window: Window) -> Result<Bytes, ReadError> {
        let blobs = &self.filling.blobs;
        window.read(&part.file, &part.groups, &blobs.pool).await.map_err(|fault| {
            // The digest of an unfinished body is not known.
            let digest = BlobDigest::from_bytes([0; 32]);
            let error = match fault {
                WindowFault::Wrong(offset) => ReadError::Damaged { digest, offset },
                WindowFault::Io(kind) => ReadError::Unreadable { digest, kind },
            };
            blobs.counters.damaged.add(1);
            tracing::warn!(%error, "an unfinished body cannot be read back");
            error
        })
    }
}

impl Drop for FillReader {
    fn drop(&mut self) {
        self.filling.lock().readers.remove(&self.id);
        self.filling.drained.notify_waiters();
    }
}
