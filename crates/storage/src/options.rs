//! What a store is opened with: its directory and its bounds.

use std::path::PathBuf;

use crate::eviction::Algorithm;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Bodies up to this size are proved whole before their first byte is used, and held in memory while used.
pub(crate) const PROVE_WHOLE: u64 = 256 * KIB;
/// Below this limit the index lives in memory only: sled's own files would take much of it.
pub(crate) const INDEX_ON_DISK_FROM: u64 = 64 * MIB;

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
    pub memory_eviction: Algorithm,
    /// How the disk tier chooses what leaves. Default S3-FIFO, which has the best byte hit ratio.
    pub eviction: Algorithm,
    /// Bodies up to this size lie in segments, larger ones in files of their own. Default 64 KiB.
    pub segment_max: u64,
    /// Size at which a segment is closed; a sixteenth of the disk limit where that is less. Default 32 MiB.
    pub segment_bytes: u64,
    /// Larger bodies are relayed and not stored. Default: what the disk limit lets in.
    pub largest_object: Option<u64>,
    /// Most bytes of unfinished bodies on disk. Default: half of the disk limit.
    pub temp_limit: Option<u64>,
    /// Most variants that are kept under one cache key; the longest unused leaves first. Default 32.
    pub variants_per_key: usize,
    /// Memory that the index may use for its own cache. Default 32 MiB.
    pub index_cache: u64,
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
            memory_eviction: Algorithm::Gdsf,
            eviction: Algorithm::S3Fifo,
            segment_max: 64 * KIB,
            segment_bytes: 32 * MIB,
            largest_object: None,
            temp_limit: None,
            variants_per_key: 32,
            index_cache: 32 * MIB,
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
    pub(crate) fn headroom(&self) -> u64 {
        self.segment_bytes() + self.disk_limit / 64
    }

    pub(crate) fn largest_object(&self) -> u64 {
        let fits = self.disk_limit.saturating_sub(2 * self.headroom());
        self.largest_object.map_or(fits, |largest| largest.min(fits))
    }

    pub(crate) fn temp_limit(&self) -> u64 {
        self.temp_limit.unwrap_or(self.disk_limit / 2)
    }
}
