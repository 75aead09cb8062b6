//! A stored response as callers hold it: key, metadata, and where its body is read from.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use larder_policy::{CacheKey, Candidate, Held, StoredResponse};

use crate::blob::Blobs;
use crate::body::BodyReader;
use crate::digest::BlobDigest;
use crate::directory::{Fingerprint, VariantTag};
use crate::partial::Partial;
use crate::record::{BodyFile, FileKind};

/// What a response takes in memory beside its key, fields and body, what a server adds to its head included.
const OVERHEAD: usize = 896;

/// All stored responses under one cache key, the one stored last first.
pub type Variants = Arc<[Arc<Stored>]>;

/// Where a lookup found a response.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tier {
    /// In the memory tier.
    Memory,
    /// On disk.
    Disk,
}

/// What a server makes of a response's head once, to send it again and again: a text with one gap in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreparedHead {
    /// Who made it. Another server would have made another.
    pub maker: u64,
    /// The head without what goes into the gap.
    pub text: Box<[u8]>,
    /// Where the gap is in `text`.
    pub gap: usize,
}

/// One stored response. Cheap to clone through its `Arc`; it stays readable while it is evicted or replaced.
pub struct Stored {
    pub(crate) core: Arc<Core>,
    tier: Tier,
}

/// What the memory tier and its readers share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) key: CacheKey,
    pub(crate) response: StoredResponse,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) variant: VariantTag,
    pub(crate) digest: BlobDigest,
    pub(crate) len: u64,
    /// The whole body, where it is small.
    pub(crate) inline: Option<Bytes>,
    /// The partial that the body is, if only some ranges of it are here; `digest` is its name then, and `len` what its files
    /// take on disk.
    pub(crate) partial: Option<Arc<Partial>>,
    /// Zero until the writer has given the record its number.
    pub(crate) sequence: AtomicU64,
    /// Second of the store's clock at which the eviction order last heard of a hit.
    pub(crate) touched: AtomicU32,
    /// None inside: it cannot be prepared.
    pub(crate) prepared: OnceLock<Option<PreparedHead>>,
    pub(crate) blobs: Arc<Blobs>,
}

impl Stored {
    pub(crate) fn new(core: Arc<Core>, tier: Tier) -> Arc<Self> {
        Arc::new(Self { core, tier })
    }

    /// The cache key it is stored under.
    #[must_use]
    pub fn key(&self) -> &CacheKey {
        &self.core.key
    }

    /// Status, fields, times and reuse facts.
    #[must_use]
    pub fn response(&self) -> &StoredResponse {
        &self.core.response
    }

    /// Length of the body in bytes. Of a part that can grow: how many bytes are here.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.core.partial.as_ref().map_or(self.core.len, |partial| partial.runs().bytes())
    }

    /// What policy decides about.
    #[must_use]
    pub fn candidate(&self) -> Candidate<'_> {
        let runs = self.core.partial.as_ref().map(|partial| partial.runs());
        Candidate { response: self.response(), runs }
    }

    /// Which bytes of its representation it holds, if it is a part.
    #[must_use]
    pub fn held(&self) -> Held {
        match &self.core.partial {
            Some(partial) => Held::Runs(partial.runs()),
            None => Held::Body(self.core.len),
        }
    }

    /// BLAKE3 digest of the body. Of a part that can grow: a name that no other has.
    #[must_use]
    pub fn digest(&self) -> BlobDigest {
        self.core.digest
    }

    /// Where the lookup that returned this found it.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The whole body, where it is in memory: no reader is needed then.
    #[must_use]
    pub fn inline_body(&self) -> Option<&Bytes> {
        self.core.inline.as_ref()
    }

    /// The prepared head; `prepare` makes it when it is asked for first, or says that there can be none. It counts
    /// in the memory that the response takes.
    pub fn prepared_head(&self, prepare: impl FnOnce() -> Option<PreparedHead>) -> Option<&PreparedHead> {
        self.core.prepared.get_or_init(prepare).as_ref()
    }

    /// Reads bytes `range` of the body; what lies beyond its end is left out. A part that can grow is read by positions in
    /// the representation, and only what is here can be read.
    ///
    /// Nothing is opened before the first [`BodyReader::next`]. A caller that awaits the first piece before it
    /// sends a head can still turn to the origin when the body turns out to be damaged.
    #[must_use]
    pub fn body(self: &Arc<Self>, range: Range<u64>) -> BodyReader {
        if let Some(partial) = &self.core.partial {
            return BodyReader::of_partial(self.core.clone(), partial.clone(), range);
        }
        let end = range.end.min(self.core.len);
        let start = range.start.min(end);
        match &self.core.inline {
            Some(body) => BodyReader::of_bytes(slice(body, start, end)),
            None => BodyReader::of_blob(self.core.clone(), start..end),
        }
    }
}

impl Core {
    /// Bytes of memory that this response counts for.
    pub(crate) fn weight(&self) -> usize {
        self.head_weight() + self.inline.as_ref().map_or(0, Bytes::len)
    }

    /// Of those, the ones that are not its body.
    pub(crate) fn head_weight(&self) -> usize {
        // The fields as they came, and as they are prepared to be sent.
        OVERHEAD + self.key.as_str().len() + 2 * self.response.fields().as_wire().len()
    }

    /// The file that the body is, where it is not in the record.
    pub(crate) fn file(&self) -> BodyFile {
        let kind = if self.partial.is_some() { FileKind::Partial } else { FileKind::Blob };
        BodyFile { kind, name: self.digest, len: self.len }
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// Notes a hit; true when the eviction order should hear of it.
    pub(crate) fn touch(&self, now: u32, every: u32) -> bool {
        let due = now.wrapping_sub(self.touched.load(Ordering::Relaxed)) >= every;
        if due {
            self.touched.store(now, Ordering::Relaxed);
        }
        due
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("key", &self.core.key)
            .field("body_len", &self.core.len)
            .field("digest", &self.core.digest)
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

/// A part of shared bytes; offsets beyond the end are taken as the end.
pub(crate) fn slice(bytes: &Bytes, start: u64, end: u64) -> Bytes {
    let clamp = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    let (start, end) = (clamp(start), clamp(end));
    bytes.slice(start.min(end)..end)
}
