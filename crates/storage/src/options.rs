//! What a store is opened with: its directory and its bounds.

use std::path::PathBuf;
use std::time::Duration;

use crate::eviction::{Algorithm, Policy};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Bodies up to this size are proved whole before their first byte is used, and held in memory while used.
pub(crate) const PROVE_WHOLE: u64 = 256 * KIB;
/// Below this limit the index lives in memory only: sled's own files would take much of it.
pub(crate) const INDEX_ON_DISK_FROM: u64 = 64 * MIB;

/// When a body on disk is compared with its digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Verify {
    /// At its first read since the start or since it was written, block by block where it is large; then no more while its
    /// blob stays open. A wrong byte never leaves, unless the disk changes what it has given rightly before.
    #[default]
    FirstRead,
    /// At every read from disk. What is in the memory tier was proved on its way there and is not proved again.
    Always,
    /// Only by the scrub. Given up: a byte that went wrong on disk since it was written, or since the last scrub, leaves as it
    /// is. Lengths, keys and metadata are still checked.
    ScrubOnly,
}

/// Directory and bounds of a store. All sizes are bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The cache directory. Made when it is not there; belongs to one process at a time.
    pub dir: PathBuf,
    /// Most allocated bytes on disk, counting what is being written, dead bytes and the index. Default 10 GiB.
    pub disk_limit: u64,
    /// Most bytes of the memory tier, heads included. Default 256 MiB.
    pub memory_limit: u64,
    /// Largest body that the memory tier keeps, at most 256 KiB of which are used. Default 256 KiB.
    pub memory_object_max: u64,
    /// How the memory tier chooses what leaves. Default GDSF, which has the best request hit ratio.
    pub memory_eviction: Policy,
    /// How the disk tier chooses what leaves. Default S3-FIFO, which has the best byte hit ratio.
    pub eviction: Policy,
    /// Bodies up to this size lie in segments, larger ones in files of their own. Default 64 KiB.
    pub segment_max: u64,
    /// Size at which a segment is closed; a sixteenth of the disk limit where that is less. Default 32 MiB.
    pub segment_bytes: u64,
    /// Larger bodies are relayed and not stored. Default: what the disk limit lets in.
    pub largest_object: Option<u64>,
    /// Most stored responses; variants count one each, the longest unused leaves first. Default: no bound but the disk's.
    pub max_objects: Option<u64>,
    /// Bytes of the file system that are left free for others. Where they take more, larder evicts, down to a tenth of
    /// its limit, and then stores nothing. Default: a hundredth of the file system, at most 1 GiB.
    pub keep_free: Option<u64>,
    /// Most bytes of unfinished bodies on disk. Default: half of the disk limit.
    pub temp_limit: Option<u64>,
    /// Most variants that are kept under one cache key; the longest unused leaves first. Default 32.
    pub variants_per_key: usize,
    /// How often the order of eviction is written down for the next start, at most; also when the store is closed. Larger
    /// stores do it less often, so that no more than 256 KiB a second are written for it. Default 5 minutes.
    pub order_interval: Duration,
    /// Memory that the index may use for its own cache. Default 32 MiB.
    pub index_cache: u64,
    /// When a body on disk is proved. Default: at its first read.
    pub verify: Verify,
    /// Bytes a second that the background scrub reads at most; zero for no scrub. Default 4 MiB.
    pub scrub_rate: u64,
    /// From the end of one scrub of everything to the begin of the next. Default 7 days.
    pub scrub_every: Duration,
    /// Most bytes of damaged blobs that are kept for somebody to look at, in at most 16 files, and never more than a sixteenth
    /// of the disk limit, in which they count; zero removes them at once. Default 64 MiB.
    pub quarantine_limit: u64,
    /// From the start to the first step of the scrub: a start has better things to do.
    pub(crate) scrub_after: Duration,
}

impl Options {
    /// The defaults, for a store in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            disk_limit: 10 * GIB,
            memory_limit: 256 * MIB,
            memory_object_max: PROVE_WHOLE,
            memory_eviction: Policy::Fixed(Algorithm::Gdsf),
            eviction: Policy::Fixed(Algorithm::S3Fifo),
            segment_max: 64 * KIB,
            segment_bytes: 32 * MIB,
            largest_object: None,
            max_objects: None,
            keep_free: None,
            temp_limit: None,
            variants_per_key: 32,
            order_interval: Duration::from_secs(300),
            index_cache: 32 * MIB,
            verify: Verify::default(),
            scrub_rate: 4 * MIB,
            scrub_every: Duration::from_secs(7 * 24 * 3600),
            quarantine_limit: 64 * MIB,
            scrub_after: Duration::from_secs(60),
        }
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        // Offsets are 32 bits wide, and the copying of one segment must fit beside the rest.
        self.segment_bytes.min(self.disk_limit / 16).clamp(256 * KIB, GIB)
    }

    pub(crate) fn segment_max(&self) -> u64 {
        self.segment_max.min(self.segment_bytes() / 4).min(PROVE_WHOLE)
    }

    pub(crate) fn index_on_disk(&self) -> bool {
        self.disk_limit >= INDEX_ON_DISK_FROM
    }

    /// Room kept free ahead of need: a segment that is being copied, and a little for what is arriving.
    pub(crate) fn headroom(&self, limit: u64) -> u64 {
        self.segment_bytes() + limit / 64
    }

    pub(crate) fn largest_object(&self) -> u64 {
        let fits = self.disk_limit.saturating_sub(2 * self.headroom(self.disk_limit));
        self.largest_object.map_or(fits, |largest| largest.min(fits))
    }

    pub(crate) fn quarantine_limit(&self) -> u64 {
        self.quarantine_limit.min(self.disk_limit / 16)
    }

    pub(crate) fn temp_limit(&self) -> u64 {
        self.temp_limit.unwrap_or(self.disk_limit / 2)
    }
}
