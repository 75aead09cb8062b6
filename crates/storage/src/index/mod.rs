//! The index on disk: from fingerprint to the places of a key's variants, so that a start need not read the
//! segments. It is a copy of what the segments say and may be lost at any time.
//!
//! One thread, "larder-index", makes all changes, in batches; each batch says up to where the segments are
//! indexed, so that what came after it can be replayed. Reads come from any blocking thread. Nothing here
//! trusts the database below: a panic, an error or a call that does not return loses the index, never a request.

mod guard;
mod thread;
mod tree;
mod value;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

pub(crate) use thread::{IndexThread, Opened, Opener, remove_all};
pub(crate) use value::Entry;

use crate::directory::{Fingerprint, Place};

/// Up to where the segments are indexed: all segments before this one, and this one up to the offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Watermark {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

/// One change to what is under a fingerprint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) fingerprint: Fingerprint,
    /// The entry for this place goes.
    pub(crate) drop: Option<Place>,
    /// This entry comes.
    pub(crate) add: Option<Entry>,
}

/// All that is asked of a database.
pub(crate) trait Index: Send + Sync {
    /// The entries under a fingerprint; what cannot be decoded is none.
    fn get(&self, fingerprint: Fingerprint) -> io::Result<Vec<Entry>>;
    /// Makes all changes and notes the watermark, at once or not at all.
    fn apply(&self, changes: &[Change], watermark: Option<Watermark>) -> io::Result<()>;
    /// The watermark of the last batch; `None` when the content is not complete.
    fn watermark(&self) -> io::Result<Option<Watermark>>;
    /// Passes every entry on, until the visitor says false.
    fn scan(&self, visit: &mut dyn FnMut(Fingerprint, Entry) -> bool) -> io::Result<()>;
    /// Waits until what was applied is on disk.
    fn flush(&self) -> io::Result<()>;
}

/// A handle for reading the index, empty while there is none.
#[derive(Clone, Default)]
pub(crate) struct IndexReader(Arc<RwLock<Option<Arc<dyn Index>>>>);

impl IndexReader {
    /// What the index knows under a fingerprint; `None` when there is no index, or it cannot be read. Blocks; must not be
    /// called on a reactor's thread.
    pub(crate) fn get(&self, fingerprint: Fingerprint) -> Option<Vec<Entry>> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        index.get(fingerprint).inspect_err(|error| tracing::debug!(%error, "cannot read the index")).ok()
    }

    fn set(&self, index: Option<Arc<dyn Index>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = index;
    }
}

impl std::fmt::Debug for IndexReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexReader")
    }
}
