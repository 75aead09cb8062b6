//! A store of HTTP responses on disk and in memory.
//!
//! Responses lie in append-only segments, large bodies in files of their own that are named by their BLAKE3
//! digest; an index makes the start instant, a directory in memory nominates, and a hot tier answers without
//! any I/O. The store knows nothing of HTTP beyond the record that the policy crate gives it, reads no clock of
//! the calendar, and never decides whether a response may be used.
//!
//! What it promises: a body leaves only if every byte is what was stored; a killed process loses nothing that
//! was finished; the size limit holds; a start reads no bodies; one process owns a directory; and no trouble
//! with the disk fails a request.
//!
//! ```no_run
//! # async fn example(key: larder_policy::CacheKey) -> Result<(), Box<dyn std::error::Error>> {
//! use larder_storage::{Options, Store};
//!
//! let store = Store::open(Options::new("/var/cache/larder"))?;
//! for stored in store.lookup(&key).await.iter() {
//!     let mut body = stored.body(0..u64::MAX);
//!     while let Some(bytes) = body.next().await? {
//!         println!("{} bytes", bytes.len());
//!     }
//! }
//! store.close().await;
//! # Ok(())
//! # }
//! ```

mod blob;
mod body;
mod command;
mod condemned;
mod digest;
mod directory;
mod entries;
mod error;
pub mod eviction;
mod files;
mod fill;
mod filling;
mod filter;
mod index;
mod layout;
mod lookup;
mod memory;
mod metadata;
mod options;
mod order;
mod owners;
mod partial;
mod pool;
mod purge;
mod record;
mod recovery;
mod removals;
mod scrub;
mod segment;
mod shadow;
mod sharded;
mod shared;
mod shortened;
mod stats;
mod store;
mod stored;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod writer;

pub use body::BodyReader;
pub use digest::BlobDigest;
pub use entries::{Entries, Entry, EntryFile};
pub use error::{Error, FillError, OpenError, ReadError};
pub use fill::Fill;
pub use filling::Filling;
pub use filter::Filter;
pub use options::{Options, Verify};
pub use purge::Removal;
pub use shadow::{Shadow, ShadowEstimate};
pub use stats::{IndexState, Stats};
pub use store::Store;
pub use stored::{PreparedHead, Stored, Tier, Variants};
pub use verify::{Checked, Fault, FaultKind, Repair, VerifyReport};

/// For the fuzz targets: not part of the interface.
#[doc(hidden)]
pub mod fuzzing {
    /// Decodes bytes as a record with all that is in it, and says how many bytes it takes without its padding.
    #[must_use]
    pub fn record_decode(bytes: &[u8]) -> Option<usize> {
        let record = crate::record::Record::decode(bytes).ok()?;
        let _ = crate::metadata::decode(record.front.metadata);
        Some(record.head.front_bytes() + record.body.len())
    }
}
