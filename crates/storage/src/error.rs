//! What failed, on which path or body.
//!
//! Opening a store can fail and says how to go on. After that nothing in here fails a request: a read that
//! fails is a miss or a body that ends with an error, a write that fails is a response that is not kept.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::BlobDigest;

/// Why a cache directory could not be opened. Every message names the directory and a way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process owns the directory.
    #[error(
        "{} is in use by process {}",
        dir.display(),
        pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
    )]
    Locked {
        /// The cache directory.
        dir: PathBuf,
        /// The process that owns it, as it wrote itself into the lock file.
        pid: Option<u32>,
    },
    /// The directory was written by a larder that this one does not know.
    #[error(
        "{} holds a store of format {found}, and this larder reads format {known}: \
         use the larder that wrote it, or move the directory away and a new one is made",
        dir.display()
    )]
    Version {
        /// The cache directory.
        dir: PathBuf,
        /// What the format file says.
        found: String,
        /// What this build reads.
        known: u32,
    },
    /// The directory holds things that are not a store's.
    #[error(
        "{} is not empty and not a larder store ({found} is in it): \
         name an empty or new directory, or move its content away",
        dir.display()
    )]
    NotAStore {
        /// The directory.
        dir: PathBuf,
        /// One name that is in it.
        found: String,
    },
    /// The directory belongs to another user.
    #[error(
        "{} belongs to user {owner}, and this process runs as user {user}: \
         run larder as its owner, choose another cache directory, or change its owner with `chown -R`",
        dir.display()
    )]
    Owner {
        /// The cache directory.
        dir: PathBuf,
        /// User id of its owner.
        owner: u32,
        /// User id of this process.
        user: u32,
    },
    /// The file system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// An operation on the whole store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store was closed, or its writer has ended.
    #[error("the store is closed")]
    Closed,
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a body ended before its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes on disk are not those that were stored. The response has been dropped from the store.
    #[error("body {digest} is damaged at byte {offset}")]
    Damaged {
        /// Which body.
        digest: BlobDigest,
        /// Where the wrong bytes begin, at most 64 KiB before the first one.
        offset: u64,
    },
    /// The body's file is gone or cannot be read.
    #[error("body {digest} cannot be read: {kind}")]
    Unreadable {
        /// Which body.
        digest: BlobDigest,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The body was still being fetched, and the fetch ended early.
    #[error("the body ended early: its fetch was given up")]
    Aborted,
}

/// Why bytes of a fetched body are not wanted any more. The fetch may stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// The response is not being stored, and nobody reads it.
    #[error("nobody reads this body, and it is not being stored")]
    NoReaders,
    /// More bytes came than the length that was announced.
    #[error("the body is longer than announced")]
    TooLong,
}
