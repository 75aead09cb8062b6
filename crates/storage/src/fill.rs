//! Writing one body: in memory while it is small, in a temporary file when it is large, or only passed on.
//!
//! ```text
//!            grows past segment_max          finish
//!  held in memory ------------> temporary file ------> stored, Some
//!        |        no room, no disk, too large |
//!        +---------------------+--------------+
//!                              v       finish
//!                        relay, bounded ------> passed on, None
//! ```
//!
//! A writer that is dropped before `finish` leaves nothing behind, and its readers see an error. Storing never
//! fails a body: whatever goes wrong on disk, the readers it has get every byte that the origin sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use bytes::{Bytes, BytesMut};
use larder_policy::StoredResponse;
use larder_policy::packages::ExpectedDigest;
use sha2::{Digest, Sha256, Sha512};
use tokio::sync::{mpsc, oneshot};

use crate::blob::{has_tree, write_tree};
use crate::command::{Append, AppendBody, Command, Reservation};
use crate::digest::{BlobDigest, Digester, GROUP_BYTES, Groups};
use crate::error::FillError;
use crate::files::StoreFile;
use crate::filling::{FilePart, Filling};
use crate::layout::{Layout, TempFile};
use crate::metadata;
use crate::record::{BodyFacts, EncodedFront};
use crate::shared::Shared;
use crate::stored::{Core, Stored, Tier};

/// Bytes in memory that are written to the temporary file together.
const FLUSH_BYTES: u64 = 256 * 1024;
/// Room is asked for in growing steps, up to this one.
const RESERVE_STEP: u64 = 64 << 20;

/// The writer of one body, owned by the task that fetches it.
pub struct Fill {
    filling: Arc<Filling>,
    shared: Arc<Shared>,
    sender: mpsc::Sender<Command>,
    expect: Option<Expect>,
    /// `None` once the body is only relayed.
    storing: Option<Storing>,
    received: u64,
    finished: bool,
}

/// What is needed to store the body, as long as that goes well.
#[derive(Default)]
struct Storing {
    temp: Option<Temp>,
}

/// The temporary file of a large body.
struct Temp {
    file: Arc<StoreFile>,
    name: TempFile,
    groups: Arc<Groups>,
    digester: Digester,
    expect: Option<Expect>,
    written: u64,
    reservation: Reservation,
}

impl Fill {
    pub(crate) fn new(
        shared: Arc<Shared>,
        sender: mpsc::Sender<Command>,
        filling: Filling,
        expect: Option<ExpectedDigest>,
    ) -> Self {
        let storing = (!filling.is_relayed()).then(Storing::default);
        let expect = expect.map(Expect::new);
        Self { filling: Arc::new(filling), shared, sender, expect, storing, received: 0, finished: false }
    }

    /// The growing body, for followers.
    #[must_use]
    pub fn filling(&self) -> Arc<Filling> {
        self.filling.clone()
    }

    /// Whether the body is being stored, as far as is known now.
    #[must_use]
    pub fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// Takes the next bytes from the origin. Waits for the disk, or in relay mode for the slowest reader.
    ///
    /// # Errors
    ///
    /// The body is longer than announced, or it is not being stored and nobody reads it. The fetch can stop.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FillError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.received += bytes.len() as u64;
        if self.filling.length().is_some_and(|length| self.received > length) {
            self.storing = None;
            self.filling.fail();
            return Err(FillError::TooLong);
        }
        if self.storing.is_some() && self.received > self.shared.options.largest_object() {
            self.stop_storing();
        }
        self.filling.push(bytes);
        if self.storing.is_some() && self.filling.tail().0 >= FLUSH_BYTES && !self.flush(false).await {
            self.stop_storing();
        }
        if self.storing.is_none() {
            self.filling.drain().await.map_err(|()| FillError::NoReaders)?;
        }
        Ok(())
    }

    /// The body is whole. It is stored, and then its readers see its end.
    ///
    /// `None` when it was passed on but not stored: relay mode, a failing disk, a digest that is not the
    /// expected one, or fewer bytes than announced (its readers then see an error).
    pub async fn finish(mut self) -> Option<Arc<Stored>> {
        if self.filling.length().is_some_and(|length| self.received != length) {
            return None;
        }
        let stored = self.store().await;
        self.finished = true;
        self.filling.complete();
        if stored.is_none() {
            self.shared.counters.relayed.add(1);
        }
        stored
    }

    async fn store(&mut self) -> Option<Arc<Stored>> {
        let small = self.received <= self.shared.options.segment_max();
        if small && self.storing.as_ref()?.temp.is_none() {
            return self.store_inline().await;
        }
        if !self.flush(true).await {
            return None;
        }
        let Temp { name, digester, expect, reservation, .. } = self.storing.take()?.temp?;
        if !self.as_expected(expect) {
            return None;
        }
        let (digest, values) = digester.finish();
        let len = self.received;
        let tree = if has_tree(len) {
            let layout = self.shared.layout.clone();
            let written =
                tokio::task::spawn_blocking(move || write_tree(&layout, len, &values)).await.ok()?;
            match written {
                Ok(tree) => Some(tree),
                Err(error) => {
                    self.shared.write_failed("write a tree", &error);
                    return None;
                }
            }
        } else {
            None
        };
        self.append(digest, None, AppendBody::New { temp: name, tree, reservation }).await
    }

    async fn store_inline(&mut self) -> Option<Arc<Stored>> {
        self.storing = None;
        // A copy of exactly this size: what arrived may be slices of larger buffers.
        let mut body = BytesMut::with_capacity(usize::try_from(self.received).ok()?);
        for chunk in self.filling.peek_tail(self.received) {
            body.extend_from_slice(&chunk);
        }
        let body = body.freeze();
        let mut expect = self.expect.take();
        if let Some(expect) = &mut expect {
            expect.update(&body);
        }
        if !self.as_expected(expect) {
            return None;
        }
        self.append(BlobDigest::of(&body), Some(body.clone()), AppendBody::Inline(body)).await
    }

    fn as_expected(&self, expect: Option<Expect>) -> bool {
        let right = expect.is_none_or(Expect::met);
        if !right {
            self.shared.counters.digest_mismatches.add(1);
            tracing::warn!(
                key = self.filling.key().as_str(),
                "not stored: the body has not the expected digest"
            );
        }
        right
    }

    async fn append(
        &self,
        digest: BlobDigest,
        inline: Option<Bytes>,
        body: AppendBody,
    ) -> Option<Arc<Stored>> {
        let response = self.filling.response().clone();
        let core = new_core(&self.shared, self.filling.key(), response, digest, self.received, inline);
        append(&self.shared, &self.sender, core, body).await
    }

    /// Writes chunks from memory to the temporary file: whole groups, or all of them at the end.
    /// False when the disk did not take them.
    async fn flush(&mut self, all: bool) -> bool {
        // While it is away the body counts as not being stored: a dropped future cannot leave half a state.
        let Some(storing) = self.storing.take() else { return false };
        let (in_memory, _) = self.filling.tail();
        let len = if all { in_memory } else { in_memory - in_memory % GROUP_BYTES };
        let Some(reservation) = self.reserve(storing.temp.as_ref(), len).await else { return false };
        let chunks = self.filling.peek_tail(len);
        let job = Job {
            layout: self.shared.layout.clone(),
            temp: storing.temp,
            reservation,
            chunks,
            length: self.filling.length(),
            expect: self.expect.take(),
        };
        match tokio::task::spawn_blocking(move || job.run()).await {
            Ok(Ok(temp)) => {
                let (file, groups) = (temp.file.clone(), temp.groups.clone());
                self.filling.flushed(FilePart { file, groups, len: temp.written });
                self.storing = Some(Storing { temp: Some(temp) });
                true
            }
            Ok(Err(error)) => {
                self.shared.write_failed("write a body", &error);
                false
            }
            Err(_) => false,
        }
    }

    /// Has the writer make room for `len` bytes more than what is accounted already.
    async fn reserve(&self, temp: Option<&Temp>, len: u64) -> Option<Option<Reservation>> {
        let (written, reserved) = temp.map_or((0, 0), |temp| (temp.written, temp.reservation.bytes()));
        if written + len <= reserved {
            return Some(None);
        }
        let missing = written + len - reserved;
        let bytes = match self.filling.length() {
            Some(length) => missing.max(length.saturating_sub(reserved)),
            None => missing.max(reserved.clamp(4 * FLUSH_BYTES, RESERVE_STEP)),
        };
        let (reply, granted) = oneshot::channel();
        self.sender.send(Command::Reserve(bytes.next_multiple_of(4096), reply)).await.ok()?;
        granted.await.ok().flatten().map(Some)
    }

    /// Goes on without storing: its readers get the rest through a window in memory.
    pub fn stop_storing(&mut self) {
        self.storing = None;
        self.filling.become_relay();
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.finished {
            self.filling.fail();
        }
    }
}

impl std::fmt::Debug for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fill").field("filling", &self.filling).finish_non_exhaustive()
    }
}

/// A stored response in the making.
pub(crate) fn new_core(
    shared: &Shared,
    key: &larder_policy::CacheKey,
    response: StoredResponse,
    digest: BlobDigest,
    len: u64,
    inline: Option<Bytes>,
) -> Arc<Core> {
    let (fingerprint, variant) = shared.keys.tags(key, response.nominated());
    Arc::new(Core {
        key: key.clone(),
        response,
        fingerprint,
        variant,
        digest,
        len,
        inline,
        sequence: AtomicU64::new(0),
        touched: AtomicU32::new(shared.now()),
        blobs: shared.blobs.clone(),
    })
}

/// Has the writer append a record. `None` when it could not.
pub(crate) async fn append(
    shared: &Shared,
    sender: &mpsc::Sender<Command>,
    core: Arc<Core>,
    body: AppendBody,
) -> Option<Arc<Stored>> {
    let facts =
        BodyFacts { digest: core.digest, len: core.len, blob: !matches!(body, AppendBody::Inline(_)) };
    let front = EncodedFront::new(core.key.as_str(), &metadata::encode(&core.response), core.variant, facts)?;
    let (reply, done) = oneshot::channel();
    let append = Box::new(Append { front, core: core.clone(), body });
    sender.send(Command::Append(append, reply)).await.ok()?;
    if !done.await.unwrap_or(false) {
        return None;
    }
    shared.counters.stored.add(1);
    let tier = if core.inline.is_some() { Tier::Memory } else { Tier::Disk };
    Some(Stored::new(core, tier))
}

/// One write to the temporary file, on a blocking thread.
struct Job {
    layout: Arc<Layout>,
    temp: Option<Temp>,
    reservation: Option<Reservation>,
    chunks: Vec<Bytes>,
    length: Option<u64>,
    expect: Option<Expect>,
}

impl Job {
    fn run(self) -> io::Result<Temp> {
        let mut temp = match (self.temp, self.reservation) {
            (Some(mut temp), Some(more)) => {
                temp.reservation.merge(more);
                temp
            }
            (Some(temp), None) => temp,
            (None, Some(reservation)) => create(&self.layout, self.length, reservation, self.expect)?,
            (None, None) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        temp.file.write_all(&self.chunks, temp.written)?;
        for chunk in &self.chunks {
            temp.digester.update(chunk);
            temp.written += chunk.len() as u64;
            if let Some(expect) = &mut temp.expect {
                expect.update(chunk);
            }
        }
        temp.groups.extend(temp.digester.values_from(temp.groups.len()));
        Ok(temp)
    }
}

fn create(
    layout: &Layout,
    length: Option<u64>,
    reservation: Reservation,
    expect: Option<Expect>,
) -> io::Result<Temp> {
    let (name, file) = layout.temp_file()?;
    file.allocate(length.unwrap_or(0))?;
    Ok(Temp {
        file: Arc::new(file),
        name,
        groups: Arc::default(),
        digester: Digester::new(),
        expect,
        written: 0,
        reservation,
    })
}

/// The digest that a package index promised for a body.
enum Expect {
    Sha256(Box<Sha256>, [u8; 32]),
    Sha512(Box<Sha512>, [u8; 64]),
}

impl Expect {
    fn new(expected: ExpectedDigest) -> Self {
        match expected {
            ExpectedDigest::Sha256(digest) => Self::Sha256(Box::default(), digest),
            ExpectedDigest::Sha512(digest) => Self::Sha512(Box::default(), digest),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher, _) => hasher.update(bytes),
            Self::Sha512(hasher, _) => hasher.update(bytes),
        }
    }

    fn met(self) -> bool {
        match self {
            Self::Sha256(hasher, digest) => hasher.finalize()[..] == digest[..],
            Self::Sha512(hasher, digest) => hasher.finalize()[..] == digest[..],
        }
    }
}
