//! Reading a body, from memory, from a blob or from one that is still being written.
//!
//! One piece at a time, at the reader's own pace: a reader holds at most one piece of 256 KiB. Bytes that are
//! in the page cache are read on the caller's thread without blocking; others on a blocking thread. Nothing
//! leaves that has not been proved once since its file was opened here.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::blob::{OpenBlob, has_tree};
use crate::digest::{GROUP_BYTES, Groups};
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::filling::FillReader;
use crate::partial::Partial;
use crate::pool::{Buffer, LARGE, Pool, SMALL};
use crate::stored::{Core, slice};

/// A body or a part of one, piece by piece.
#[derive(Debug)]
pub struct BodyReader {
    source: Source,
}

enum Source {
    Bytes(Bytes),
    Blob(BlobReader),
    Partial(PartialReader),
    Filling(FillReader),
    Failed(ReadError),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Bytes",
            Self::Blob(_) => "Blob",
            Self::Partial(_) => "Partial",
            Self::Filling(_) => "Filling",
            Self::Failed(_) => "Failed",
        })
    }
}

struct PartialReader {
    core: Arc<Core>,
    partial: Arc<Partial>,
    left: Range<u64>,
}

struct BlobReader {
    core: Arc<Core>,
    open: Option<Arc<OpenBlob>>,
    at: u64,
    end: u64,
    piece: usize,
}

impl BodyReader {
    pub(crate) fn of_bytes(bytes: Bytes) -> Self {
        Self { source: Source::Bytes(bytes) }
    }

    pub(crate) fn of_blob(core: Arc<Core>, range: Range<u64>) -> Self {
        let reader = BlobReader { core, open: None, at: range.start, end: range.end, piece: SMALL };
        Self { source: Source::Blob(reader) }
    }

    pub(crate) fn of_partial(core: Arc<Core>, partial: Arc<Partial>, left: Range<u64>) -> Self {
        Self { source: Source::Partial(PartialReader { core, partial, left }) }
    }

    pub(crate) fn of_filling(reader: FillReader) -> Self {
        Self { source: Source::Filling(reader) }
    }

    /// The next piece, never empty; `None` only at the true end of what was asked for.
    ///
    /// # Errors
    ///
    /// The body is damaged, cannot be read, or its fetch was given up. Every later call repeats the error, so
    /// that a body that was cut never looks complete.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let result = match &mut self.source {
            Source::Bytes(bytes) => return Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Source::Blob(reader) => reader.next().await,
            Source::Partial(reader) => reader.next().await,
            Source::Filling(reader) => reader.next().await,
            Source::Failed(error) => return Err(error.clone()),
        };
        if let Err(error) = &result {
            self.source = Source::Failed(error.clone());
        }
        result
    }
}

impl PartialReader {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let bytes = self.partial.read(self.left.clone(), &self.core.blobs.pool).await;
        let bytes = bytes.inspect_err(|error| match error {
            // What is not here is no damage.
            ReadError::Aborted => {}
            error => self.core.blobs.report(&self.core, error),
        })?;
        self.left.start += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

impl BlobReader {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let bytes = match self.read().await {
            Ok(bytes) => bytes,
            Err(error) => {
                self.core.blobs.report(&self.core, &error);
                return Err(error);
            }
        };
        self.at += bytes.len() as u64;
        self.piece = LARGE;
        Ok(Some(bytes))
    }

    async fn read(&mut self) -> Result<Bytes, ReadError> {
        let (digest, len) = (self.core.digest, self.core.len);
        if !has_tree(len) {
            let core = self.core.clone();
            let body = blocking(digest_failed(&core), move || core.blobs.read_whole(&digest, len)).await?;
            return Ok(slice(&body, self.at, self.end));
        }
        let open = match &self.open {
            Some(open) => open.clone(),
            None => {
                let open = match self.core.blobs.cached(&digest) {
                    Some(open) => open,
                    None => {
                        let core = self.core.clone();
                        blocking(digest_failed(&core), move || core.blobs.open(&digest, len)).await?
                    }
                };
                self.open.insert(open).clone()
            }
        };
        let window = Window { at: self.at, end: self.end, limit: len, piece: self.piece };
        window.read(&open.file, &open.groups, &self.core.blobs.pool).await.map_err(|fault| match fault {
            WindowFault::Wrong(offset) => ReadError::Damaged { digest, offset },
            WindowFault::Io(kind) => ReadError::Unreadable { digest, kind },
        })
    }
}

/// What to say when the blocking thread did not come back.
fn digest_failed(core: &Core) -> ReadError {
    ReadError::Unreadable { digest: core.digest, kind: io::ErrorKind::Other }
}

async fn blocking<T: Send + 'static>(
    lost: ReadError,
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(lost))
}

/// One read from a file that is proved by groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The first byte that is wanted.
    pub(crate) at: u64,
    /// Where what is wanted ends.
    pub(crate) end: u64,
    /// Where the proved part of the file ends: a multiple of the group size, or the end of the body.
    pub(crate) limit: u64,
    /// Most bytes to return.
    pub(crate) piece: usize,
}

/// Why a window could not be read.
#[derive(Debug)]
pub(crate) enum WindowFault {
    /// The group at this offset is not what was written.
    Wrong(u64),
    Io(io::ErrorKind),
}

impl Window {
    /// Reads and proves at least one byte.
    pub(crate) async fn read(
        self,
        file: &Arc<StoreFile>,
        groups: &Arc<Groups>,
        pool: &Arc<Pool>,
    ) -> Result<Bytes, WindowFault> {
        let first = self.at / GROUP_BYTES;
        let last = (first + (self.piece as u64 / GROUP_BYTES).max(1))
            .min(self.end.div_ceil(GROUP_BYTES))
            .min(self.limit.div_ceil(GROUP_BYTES));
        let (first_index, last_index) = (as_index(first)?, as_index(last)?);
        let proved = groups.all_proved(first_index, last_index);
        let (from, to) = if proved {
            (self.at, self.end.min(last * GROUP_BYTES).min(self.limit))
        } else {
            (first * GROUP_BYTES, (last * GROUP_BYTES).min(self.limit))
        };
        let mut buffer = pool.take(as_index(to.saturating_sub(from))?);
        let read = file.read_resident(buffer.as_mut(), from);
        let short = read < buffer.as_ref().len();
        let buffer = if short {
            let (file, groups) = (file.clone(), groups.clone());
            let job = move || read_and_prove(&file, &groups, buffer, from, first_index, proved);
            tokio::task::spawn_blocking(job).await.map_err(|_| WindowFault::Io(io::ErrorKind::Other))??
        } else {
            if !proved {
                groups.prove(first_index, buffer.as_ref()).map_err(WindowFault::Wrong)?;
            }
            buffer
        };
        Ok(slice(&buffer.freeze(), self.at - from, self.end.min(to) - from))
    }
}

fn read_and_prove(
    file: &StoreFile,
    groups: &Groups,
    mut buffer: Buffer,
    from: u64,
    first: usize,
    proved: bool,
) -> Result<Buffer, WindowFault> {
    let len = buffer.as_ref().len();
    // What follows will be asked for next, most likely.
    file.will_need(from, 4 * LARGE as u64);
    let read = file.read_full(buffer.as_mut(), from).map_err(|error| WindowFault::Io(error.kind()))?;
    if read < len {
        return Err(WindowFault::Wrong(from + read as u64));
    }
    if !proved {
        groups.prove(first, buffer.as_ref()).map_err(WindowFault::Wrong)?;
    }
    Ok(buffer)
}

fn as_index(n: u64) -> Result<usize, WindowFault> {
    usize::try_from(n).map_err(|_| WindowFault::Io(io::ErrorKind::InvalidInput))
}
