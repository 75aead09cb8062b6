//! The thread that writes the access log.
//!
//! ```text
//!            a line, reopening or closing                    LINGER over, or urgent
//!  idle ──────────────────────────────────────────> linger ──────────────────────────> write ──> idle, or end when closing
//! ```
//!
//! Lines are given a moment to come together, since a write costs as much for one line as for a hundred; when
//! there is nothing to write, the thread sleeps and costs nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{BATCH_BYTES, Shared};
use crate::config::AccessLogTarget;
use crate::error::StartError;

/// How long a line may wait for others.
const LINGER: Duration = Duration::from_millis(200);

/// What the access log holds is nobody's business but the operator's.
const FILE_MODE: u32 = 0o640;

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// None for standard output, which cannot be opened anew.
    path: Option<PathBuf>,
    file: File,
    /// A write broke off within a line, which must not run into the next one.
    torn: bool,
    /// Lines lost as of the last batch.
    lost_before: u64,
    /// Lines lost when the trouble began that has been told and is not over.
    trouble_since: Option<u64>,
}

impl Writer {
    pub(super) fn open(target: &AccessLogTarget, shared: Arc<Shared>) -> Result<Self, StartError> {
        let (path, file) = match target {
            AccessLogTarget::Stdout => {
                // A descriptor of its own: what goes through `std::io::Stdout` is buffered a second time.
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                let failed = |source| StartError::AccessLog { path: PathBuf::from("-"), source };
                (None, stdout.map_err(failed)?.into())
            }
            AccessLogTarget::File(path) => {
                let failed = |source| StartError::AccessLog { path: path.clone(), source };
                (Some(path.clone()), open_file(path).map_err(failed)?)
            }
        };
        Ok(Self { shared, path, file, torn: false, lost_before: 0, trouble_since: None })
    }

    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        loop {
            let queue = shared.lock();
            let queue = shared
                .work
                .wait_while(queue, |queue| queue.bytes.is_empty() && !queue.is_urgent())
                .unwrap_or_else(PoisonError::into_inner);
            let (mut queue, _) = shared
                .work
                .wait_timeout_while(queue, LINGER, |queue| !queue.is_urgent())
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut queue.bytes, &mut batch);
            let reopen = std::mem::take(&mut queue.reopen);
            let closing = queue.closing;
            drop(queue);

            let outcome = self.write(&batch);
            self.tell(outcome);
            batch.clear();
            batch.shrink_to(4 * BATCH_BYTES);
            if reopen {
                self.reopen();
            }
            if closing {
                return;
            }
        }
    }

    /// Writes whole lines; counts those that were lost.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.torn {
            self.file.write_all(b"\n").inspect_err(|_| self.lose(lines))?;
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => {
                    self.lose(rest);
                    return Err(io::ErrorKind::WriteZero.into());
                }
                Ok(written) => {
                    self.torn = rest.get(..written).is_some_and(|written| written.last() != Some(&b'\n'));
                    rest = rest.get(written..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.lose(rest);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn lose(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        self.shared.lost.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Tells once that lines are being lost, and once that it is over.
    fn tell(&mut self, outcome: io::Result<()>) {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let path = self.name();
        if lost == self.lost_before {
            if let Some(since) = self.trouble_since.take() {
                tracing::warn!(
                    path,
                    lines = lost - since,
                    "the access log is complete again after losing lines"
                );
            }
        } else if self.trouble_since.is_none() {
            self.trouble_since = Some(self.lost_before);
            match outcome {
                Err(error) => {
                    tracing::error!(path, %error, "cannot write the access log: lines are being lost")
                }
                Ok(()) => {
                    tracing::error!(path, "the disk is too slow for the access log: lines are being lost")
                }
            }
        }
        self.lost_before = lost;
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open_file(path) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => {
                tracing::error!(path = self.name(), %error, "cannot open the access log anew: the old file is kept");
            }
        }
    }

    fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => {
                let dir = path.parent().unwrap_or(Path::new("/"));
                format!("{} does not exist: create it, or name another file", dir.display())
            }
            io::ErrorKind::PermissionDenied => {
                "the proxy's user may not write there: permit it, or name another file".to_owned()
            }
            io::ErrorKind::IsADirectory => "it is a directory: name a file in it".to_owned(),
            _ => return error,
        };
        io::Error::new(error.kind(), advice)
    })
}
