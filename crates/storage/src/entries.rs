//! Stored responses as a list shows them, one at a time.

use std::sync::Arc;

use larder_policy::{CacheKey, Runs, StoredResponse};

use crate::digest::BlobDigest;
use crate::error::Error;
use crate::filter::{Filter, tags};
use crate::record::FileKind;
use crate::shared::Shared;
use crate::walk::{Met, Walk, Walked, under_key};

/// One stored response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The cache key it is stored under.
    pub key: CacheKey,
    /// Status, fields and times.
    pub response: StoredResponse,
    /// Length of the body in bytes. Of a part that can grow: what its files take on disk.
    pub body_len: u64,
    /// BLAKE3 digest of the body. Of a part that can grow: a name that no other has.
    pub digest: BlobDigest,
    /// The number of the segment that holds its record, as in the file's name.
    pub segment: u32,
    /// The file that has the body, named by `digest`; none where the segment has it.
    pub file: Option<EntryFile>,
    /// Which bytes are here of a part that can grow; none of other bodies, and where that cannot be read.
    pub runs: Option<Arc<Runs>>,
}

/// A file that has a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryFile {
    /// Below `blobs`: a large body, whole.
    Blob,
    /// In `partials`: a body of which some ranges are here.
    Partial,
}

impl EntryFile {
    pub(crate) const fn of(kind: FileKind) -> Self {
        match kind {
            FileKind::Blob => Self::Blob,
            FileKind::Partial => Self::Partial,
        }
    }
}

impl Entry {
    /// The tags that the response carries in `Cache-Tag`, `Surrogate-Key` and `xkey`.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        tags(self.response.fields())
    }

    fn of(shared: &Shared, record: Walked) -> Option<Self> {
        let Walked { place, head, key, response, .. } = record;
        let partial = head.file().filter(|file| file.kind == FileKind::Partial);
        let runs = partial.and_then(|file| shared.partials.runs(&file.name));
        Some(Self {
            runs,
            key,
            response: response?,
            body_len: head.body_len,
            digest: head.digest,
            segment: place.segment,
            file: head.file().map(|file| EntryFile::of(file.kind)),
        })
    }
}

/// What is stored and a filter matches, in the order in which it lies on disk. Blocks while it reads.
///
/// It holds nothing up, so it may be read at any pace. What is stored, freshened or removed meanwhile may or may not be
/// among it; everything else is, once.
#[derive(Debug)]
pub struct Entries {
    shared: Arc<Shared>,
    filter: Filter,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Keys { keys: std::vec::IntoIter<CacheKey>, found: std::vec::IntoIter<Walked> },
    All(Box<Walk>),
}

impl Entries {
    pub(crate) fn new(shared: &Arc<Shared>, filter: Filter) -> Result<Self, Error> {
        let way = match filter.keys.clone() {
            Some(keys) => Way::Keys { keys: keys.into_iter(), found: Vec::new().into_iter() },
            None => Way::All(Box::new(Walk::new(shared, filter.clone())?)),
        };
        Ok(Self { shared: shared.clone(), filter, way })
    }

    /// The next response, or nothing yet: what the filter does not match is read over in steps, so that whoever waits
    /// can look around in between. `None` at the end.
    ///
    /// # Errors
    ///
    /// The segments cannot be read, or the store was closed.
    pub fn step(&mut self) -> Result<Option<Option<Entry>>, Error> {
        match &mut self.way {
            Way::Keys { keys, found } => loop {
                if let Some(record) = found.next() {
                    return Ok(Some(Entry::of(&self.shared, record)));
                }
                let Some(key) = keys.next() else { return Ok(None) };
                *found = under_key(&self.shared, &self.filter, &key).into_iter();
            },
            Way::All(walk) => Ok(walk.next()?.map(|met| match met {
                Met::Record(record) => Entry::of(&self.shared, *record),
                Met::Passed | Met::Stray(..) | Met::Absent(_) | Met::Damage(_) => None,
            })),
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some(None)) => {}
                Ok(Some(Some(entry))) => return Some(Ok(entry)),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
