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
//! A part that can grow goes into a partial instead of the temporary file, see `part`. A writer that is dropped before
//! `finish` leaves nothing behind but what a partial had already, and its readers see an error; one that ends with `keep` leaves
//! what came as a partial. Storing never fails a body: whatever goes wrong on disk, the readers it has get every byte that the
//! origin sent.

mod part;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};

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
use crate::options::Verify;
use crate::partial::{PartWriter, Partial};
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
enum Storing {
    Whole(Option<Box<Temp>>),
    Part(PartWriter),
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
        let storing = (!filling.is_relayed()).then(|| match filling.part() {
            Some(_) => Storing::Part(PartWriter::new(filling.base(), &sender)),
            None => Storing::Whole(None),
        });
        let expect = expect.map(Expect::new);
        let filling = Arc::new(filling);
        Self { filling, shared, sender, expect, storing, received: 0, finished: false }
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
        let longer = |part: &Range<u64>| self.received > part.end - part.start;
        let too_long = self.received > self.shared.options.largest_object();
        if self.storing.is_some() && (too_long || self.filling.part().is_some_and(longer)) {
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

    /// What follows up to position `to` of a part is here already: it is read from there.
    pub async fn skip(&mut self, to: u64) {
        if self.storing.is_some() && self.filling.tail().0 > 0 && !self.flush(true).await {
            self.stop_storing();
        }
        self.received += to.saturating_sub(self.filling.tail().1);
        self.filling.skip(to);
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
        let in_memory = match self.storing.as_ref()? {
            Storing::Whole(temp) => temp.is_none(),
            // Of fewer bytes than it says; where they belong is told by its head alone.
            Storing::Part(writer) if self.is_short() => {
                if writer.written > 0 {
                    return None;
                }
                true
            }
            Storing::Part(_) => return self.store_part().await,
        };
        if in_memory && self.received <= self.shared.options.segment_max() {
            return self.store_inline().await;
        }
        if !self.flush(true).await {
            return None;
        }
        let Some(Storing::Whole(Some(temp))) = self.storing.take() else { return None };
        let Temp { name, digester, expect, reservation, .. } = *temp;
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
            self.digest_mismatch();
        }
        right
    }

    fn digest_mismatch(&self) {
        self.shared.counters.digest_mismatches.add(1);
        tracing::warn!(key = self.filling.key().as_str(), "not stored: the body has not the expected digest");
    }

    async fn append(
        &self,
        digest: BlobDigest,
        inline: Option<Bytes>,
        body: AppendBody,
    ) -> Option<Arc<Stored>> {
        let response = self.filling.response().clone();
        let core = CoreBody { digest, len: self.received, inline, partial: None };
        let core = new_core(&self.shared, self.filling.key(), response, core);
        append(&self.shared, &self.sender, core, body).await
    }

    /// Writes chunks from memory to the temporary file: whole groups, or all of them at the end.
    /// False when the disk did not take them.
    async fn flush(&mut self, all: bool) -> bool {
        // While it is away the body counts as not being stored: a dropped future cannot leave half a state.
        let Some(storing) = self.storing.take() else { return false };
        let (in_memory, end) = self.filling.tail();
        // A group that is written at once is hashed once.
        let len = if all { in_memory } else { in_memory.saturating_sub(end % GROUP_BYTES) };
        let (written, reserved) = match &storing {
            Storing::Whole(temp) => {
                temp.as_ref().map_or((0, 0), |temp| (temp.written, temp.reservation.bytes()))
            }
            Storing::Part(writer) => {
                (writer.written, writer.reservation.as_ref().map_or(0, Reservation::bytes))
            }
        };
        let Some(reservation) = self.reserve(written, reserved, len).await else { return false };
        let chunks = self.filling.peek_tail(len);
        let temp = match storing {
            Storing::Whole(temp) => temp,
            Storing::Part(writer) => {
                return self.flush_part(writer, reservation, end - in_memory, chunks).await;
            }
        };
        let job = Job {
            layout: self.shared.layout.clone(),
            temp,
            reservation,
            chunks,
            length: self.filling.length(),
            verify: self.shared.options.verify,
            expect: self.expect.take(),
        };
        match tokio::task::spawn_blocking(move || job.run()).await {
            Ok(Ok(temp)) => {
                let (file, groups) = (temp.file.clone(), temp.groups.clone());
                self.filling.flushed(FilePart { file, groups, len: temp.written });
                self.storing = Some(Storing::Whole(Some(temp)));
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
    async fn reserve(&self, written: u64, reserved: u64, len: u64) -> Option<Option<Reservation>> {
        if written + len <= reserved {
            return Some(None);
        }
        let missing = written + len - reserved;
        let bytes = match self.filling.length() {
            Some(length) if self.filling.base().is_none() => missing.max(length.saturating_sub(reserved)),
            _ => missing.max(reserved.clamp(4 * FLUSH_BYTES, RESERVE_STEP)),
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

/// What the body of a stored response is.
pub(crate) struct CoreBody {
    pub(crate) digest: BlobDigest,
    pub(crate) len: u64,
    pub(crate) inline: Option<Bytes>,
    pub(crate) partial: Option<Arc<Partial>>,
}

/// A stored response in the making.
pub(crate) fn new_core(
    shared: &Shared,
    key: &larder_policy::CacheKey,
    response: StoredResponse,
    body: CoreBody,
) -> Arc<Core> {
    let CoreBody { digest, len, inline, partial } = body;
    let (fingerprint, variant) = shared.keys.tags(key, response.nominated());
    Arc::new(Core {
        key: key.clone(),
        response,
        fingerprint,
        variant,
        digest,
        len,
        inline,
        partial,
        sequence: AtomicU64::new(0),
        touched: AtomicU32::new(shared.now()),
        prepared: OnceLock::new(),
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
    let file = (!matches!(body, AppendBody::Inline(_))).then(|| core.file().kind);
    let facts = BodyFacts { digest: core.digest, len: core.len, file };
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
    temp: Option<Box<Temp>>,
    reservation: Option<Reservation>,
    chunks: Vec<Bytes>,
    length: Option<u64>,
    verify: Verify,
    expect: Option<Expect>,
}

impl Job {
    fn run(self) -> io::Result<Box<Temp>> {
        let mut temp = match (self.temp, self.reservation) {
            (Some(mut temp), Some(more)) => {
                temp.reservation.merge(more);
                temp
            }
            (Some(temp), None) => temp,
            (None, Some(reservation)) => {
                let groups = Arc::new(Groups::new(self.verify, []));
                create(&self.layout, self.length, groups, reservation, self.expect)?
            }
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
    groups: Arc<Groups>,
    reservation: Reservation,
    expect: Option<Expect>,
) -> io::Result<Box<Temp>> {
    let (name, file) = layout.temp_file()?;
    file.allocate(length.unwrap_or(0))?;
    Ok(Box::new(Temp {
        file: Arc::new(file),
        name,
        groups,
        digester: Digester::new(),
        expect,
        written: 0,
        reservation,
    }))
}

/// The digest that a package index promised for a body.
pub(crate) enum Expect {
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

    pub(crate) fn update(&mut self, bytes: &[u8]) {
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
