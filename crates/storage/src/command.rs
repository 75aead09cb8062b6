//! What is asked of the writer thread.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use larder_policy::CacheKey;
use tokio::sync::oneshot;

use crate::digest::BlobDigest;
use crate::directory::{Fingerprint, Place, VariantTag};
use crate::layout::TempFile;
use crate::partial::FreshPartial;
use crate::purge::{Doomed, Removal};
use crate::record::{BodyFile, EncodedFront, FileKind};
use crate::stats::Counters;
use crate::stored::Core;

/// One thing for the writer thread to do; commands are done in the order in which they were sent.
#[derive(Debug)]
pub(crate) enum Command {
    /// Store a response; true when it is with the kernel.
    Append(Box<Append>, oneshot::Sender<bool>),
    /// Remove all variants of a key, and say what there was.
    Remove(CacheKey, Fingerprint, oneshot::Sender<Removal>),
    /// Remove these records, where they still are what the directory nominates.
    RemoveRecords(Vec<Doomed>, oneshot::Sender<Removal>),
    /// Remove those that were unused for longest, at most so many.
    RemoveOldest(usize, oneshot::Sender<Removal>),
    /// Make room for so many bytes of an unfinished body.
    Reserve(u64, oneshot::Sender<Option<Reservation>>),
    /// The partial of a stored response takes something else than its record says.
    Grown(Grown),
    /// Records that were found in the index or in the segments.
    Recovered(Vec<Recovered>),
    /// All records have been found.
    RecoveryDone,
    /// Files that no record was found for, with their names.
    Orphans(FileKind, Vec<BlobDigest>),
    /// The sweep is through and saw these directories below `blobs`.
    SweepDone {
        /// Their paths.
        directories: HashSet<PathBuf>,
    },
    /// Make a new, empty index; the records that follow are put into it.
    RenewIndex,
    /// Records for the index, where they still are what the directory nominates.
    Reindex(Vec<Recovered>),
    /// The index has everything again.
    IndexComplete,
    /// Copy what is sound of these segments elsewhere and drop them. Nothing is answered; the sender is dropped when all are
    /// gone, or cannot go.
    Rewrite(Vec<u32>, oneshot::Sender<()>),
    /// Nothing but the answer: all that was sent before is done, no segment is being compacted, and the figures are of now.
    Barrier(oneshot::Sender<()>),
    /// Write everything out and end.
    Close(oneshot::Sender<()>),
}

/// A response to be stored.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) front: EncodedFront,
    pub(crate) core: Arc<Core>,
    pub(crate) body: AppendBody,
}

/// Where its body is.
#[derive(Debug)]
pub(crate) enum AppendBody {
    /// In the record.
    Inline(Bytes),
    /// In a finished temporary file, with its tree where it has one. The room is accounted as temporary.
    New { temp: TempFile, tree: Option<TempFile>, reservation: Reservation },
    /// In a blob that is there already.
    Existing,
    /// In a partial: a new one in its temporary files, or one that is there already and may have grown. The room for what is
    /// new is accounted as temporary.
    Partial { fresh: Option<FreshPartial>, reservation: Option<Reservation> },
    /// In a partial that has become whole, with its tree where it needs one.
    Completed { partial: BlobDigest, tree: Option<TempFile>, reservation: Option<Reservation> },
}

/// Whose partial is to be weighed.
#[derive(Debug)]
pub(crate) struct Grown {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) variant: VariantTag,
    pub(crate) name: BlobDigest,
    /// The room that was accounted for what is new; given back when that is counted.
    pub(crate) reservation: Option<Reservation>,
}

/// A record that was found again.
#[derive(Clone, Debug)]
pub(crate) struct Recovered {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) variant: VariantTag,
    pub(crate) place: Place,
    pub(crate) file: Option<BodyFile>,
    /// Whether the index has it already.
    pub(crate) indexed: bool,
}

/// Room that is accounted for an unfinished body until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    bytes: u64,
    /// Whether what it is for stays if the process dies.
    stays: bool,
    counters: Arc<Counters>,
}

impl Reservation {
    pub(crate) fn new(bytes: u64, counters: Arc<Counters>) -> Self {
        counters.temp_bytes.add(bytes);
        Self { bytes, stays: false, counters }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes over the room of another one, which is for the same.
    pub(crate) fn merge(&mut self, mut other: Self) {
        if self.stays || other.stays {
            self.stays();
            other.stays();
        }
        other.stays = false;
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// What it is for goes into a file that is there already.
    pub(crate) fn stays(&mut self) {
        if !std::mem::replace(&mut self.stays, true) {
            self.counters.growing_bytes.add(self.bytes);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.counters.temp_bytes.sub(self.bytes);
        if self.stays {
            self.counters.growing_bytes.sub(self.bytes);
        }
    }
}
