//! A body that is growing: what its writer has got so far, read by followers from any offset.
//!
//! ```text
//!  0            file            tail_start     tail          total
//!  |-- proved file, on disk --|.. (gap) ..|-- chunks in memory --|
//! ```
//!
//! While the body is being stored there is no gap: the chunks begin where the file ends. When it is only
//! relayed, chunks that every reader has had are dropped, and a new reader is let in only where it will never
//! meet the gap. The end is either `Complete` or a failure that every reader sees: a body that was cut never
//! looks whole.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use larder_policy::{CacheKey, StoredResponse};
use tokio::sync::Notify;

use crate::blob::Blobs;
use crate::body::{BodyReader, Window, WindowFault};
use crate::digest::{BlobDigest, Groups};
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::pool::LARGE;
use crate::stored::slice;

/// Bytes that a relayed body may be ahead of its slowest reader.
pub(crate) const RELAY_WINDOW: u64 = 256 * 1024;
/// Chunks smaller than this are copied together.
const SMALL_CHUNK: usize = 4096;

/// The shared, growing body of a fetch. Followers read it from any offset, each at its own pace.
pub struct Filling {
    key: CacheKey,
    response: StoredResponse,
    length: Option<u64>,
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
    tail: VecDeque<Bytes>,
    tail_start: u64,
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
        let state = State {
            file: None,
            tail: VecDeque::new(),
            tail_start: 0,
            total: 0,
            visible: 0,
            relay,
            end: End::Open,
            readers: HashMap::new(),
            next_reader: 0,
            had_readers: false,
        };
        let (grown, drained) = (Notify::new(), Notify::new());
        Self { key, response, length, state: Mutex::new(state), grown, drained, blobs }
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
        self.lock().total
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

    /// Reads bytes `range` as they arrive; an end of `u64::MAX` is the end of the body.
    ///
    /// `None` when the fetch has failed, or when the body is relayed and its start has gone by.
    #[must_use]
    pub fn reader(self: &Arc<Self>, range: Range<u64>) -> Option<BodyReader> {
        let mut state = self.lock();
        let gap = state.file.as_ref().map_or(0, |part| part.len) < state.tail_start;
        if state.end == End::Failed || (gap && range.start < state.tail_start) {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, range.start);
        state.had_readers = true;
        drop(state);
        let reader = FillReader { filling: self.clone(), id, at: range.start, end: range.end };
        Some(BodyReader::of_filling(reader))
    }

    /// Adds a chunk. While the body is being stored, the chunk that completes it stays hidden for now.
    pub(crate) fn push(&self, chunk: Bytes) {
        let mut state = self.lock();
        let before = state.total;
        state.total += chunk.len() as u64;
        state.append(chunk);
        let completes = self.length == Some(state.total);
        state.visible = if completes && !state.relay { state.visible.min(before) } else { state.total };
        drop(state);
        self.grown.notify_waiters();
    }

    /// Bytes of the chunks in memory, and where they begin.
    pub(crate) fn tail(&self) -> (u64, u64) {
        let state = self.lock();
        (state.total - state.tail_start, state.tail_start)
    }

    /// The first `len` bytes of the chunks in memory, which stay there.
    pub(crate) fn peek_tail(&self, len: u64) -> Vec<Bytes> {
        let state = self.lock();
        let mut left = len;
        let mut chunks = Vec::new();
        for chunk in &state.tail {
            if left == 0 {
                break;
            }
            let part = slice(chunk, 0, left);
            left -= part.len() as u64;
            chunks.push(part);
        }
        chunks
    }

    /// The first bytes of the chunks in memory are in the file now, up to the new length of it.
    pub(crate) fn flushed(&self, part: FilePart) {
        let mut state = self.lock();
        let len = part.len;
        state.file = Some(part);
        state.drop_tail(len);
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
                    state.drop_tail(until);
                }
                let fits = state.total - state.tail_start <= RELAY_WINDOW;
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

impl State {
    fn append(&mut self, chunk: Bytes) {
        if chunk.len() >= SMALL_CHUNK {
            self.tail.push_back(chunk);
            return;
        }
        // A small slice may hold a large buffer; so it is copied, behind the small one before it.
        match self.tail.pop_back() {
            Some(last) if last.len() + chunk.len() <= SMALL_CHUNK => {
                self.tail.push_back([&last[..], &chunk[..]].concat().into());
            }
            last => {
                self.tail.extend(last);
                self.tail.push_back(Bytes::copy_from_slice(&chunk));
            }
        }
    }

    fn drop_tail(&mut self, until: u64) {
        while self.tail_start < until {
            let Some(mut chunk) = self.tail.pop_front() else { break };
            let len = chunk.len() as u64;
            if self.tail_start + len > until {
                chunk = slice(&chunk, until - self.tail_start, len);
                self.tail.push_front(chunk);
                self.tail_start = until;
            } else {
                self.tail_start += len;
            }
        }
    }

    fn chunk_at(&self, at: u64) -> Option<Bytes> {
        let mut start = self.tail_start;
        for chunk in &self.tail {
            let end = start + chunk.len() as u64;
            if at < end {
                return at.checked_sub(start).map(|skip| slice(chunk, skip, end - start));
            }
            start = end;
        }
        None
    }
}

impl fmt::Debug for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Filling")
            .field("key", &self.key)
            .field("length", &self.length)
            .field("received", &state.total)
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
            let chunk = state.chunk_at(self.at).map(|chunk| slice(&chunk, 0, end - self.at));
            return chunk.map(Step::Chunk).ok_or(ReadError::Aborted);
        }
        match state.end {
            End::Open => Ok(Step::Wait),
            End::Complete => Ok(Step::End),
            End::Failed => Err(ReadError::Aborted),
        }
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
