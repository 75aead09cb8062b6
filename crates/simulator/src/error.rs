//! What is wrong with a trace, and at which record.

use std::io;
use std::path::PathBuf;

/// Why a trace could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or decompressing failed.
    #[error("cannot read record {record}")]
    Read {
        /// Number of the record that was to be read, counted from zero.
        record: u64,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// The trace ends within a record.
    #[error("record {record} is cut: {found} of its {expected} bytes are there")]
    Cut {
        /// Number of the record, counted from zero.
        record: u64,
        /// Bytes that are there.
        found: usize,
        /// Bytes of a record.
        expected: usize,
    },
    /// The bytes are no record of this format.
    #[error("record {record} is malformed: {what}")]
    Malformed {
        /// Number of the record, counted from zero.
        record: u64,
        /// What cannot be.
        what: String,
    },
}
