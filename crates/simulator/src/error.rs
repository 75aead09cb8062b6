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
    /// The first bytes of a file are those of no format that is known.
    #[error("{} is no trace of a known format", path.display())]
    Unknown {
        /// Which file.
        path: PathBuf,
    },
    /// Reading or decompressing failed.
    #[error("cannot read record {record}")]
    Read {
        /// Number of the record that was to be read, counted from one.
        record: u64,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// There are more objects than numbers for them.
    #[error("the trace has more than four billion objects")]
    TooMany,
}
