//! The access log: one line a request, in the format that the operator's tools read.
//!
//! Workers never wait for the disk. A line is formatted by the worker and appended to a queue in
//! memory under a lock that is held for the copy alone; one thread, `larder-log`, takes the whole queue
//! at once and writes it. The queue is bounded: when the disk cannot keep up, lines are dropped and
//! counted, and requests go on. What is never done: writing a part of a line, or waiting.

mod fields;
mod format;
mod json;
mod moment;
mod writer;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub(crate) use fields::ExchangeFields;

use crate::config::{AccessLogFormat, AccessLogSettings};
use crate::error::StartError;
use crate::transaction::Transaction;

/// The queue holds no more bytes than this; the writer may hold as many again.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// The writer is woken early when so much has come together.
const BATCH_BYTES: usize = 64 * 1024;

/// An open access log. Dropping it writes what is queued and closes it.
#[derive(Debug)]
pub(crate) struct AccessLog {
    format: AccessLogFormat,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What workers and the writer have in common.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The writer waits on it for something to do.
    work: Condvar,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whole lines.
    bytes: Vec<u8>,
    reopen: bool,
    closing: bool,
}

impl Queue {
    /// Whether the writer should not wait for more lines to come together.
    fn is_urgent(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.reopen || self.closing
    }
}

impl Shared {
    /// A panic elsewhere cannot leave the queue half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AccessLog {
    /// Opens the log and starts its thread.
    ///
    /// # Errors
    ///
    /// The file cannot be opened: which one, and what to do about it.
    pub(crate) fn open(settings: &AccessLogSettings) -> Result<Self, StartError> {
        let shared = Arc::<Shared>::default();
        let writer = writer::Writer::open(&settings.target, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("larder-log".to_owned())
            .spawn(|| writer.run())
            .map_err(StartError::Worker)?;
        Ok(Self { format: settings.format, shared, thread: Mutex::new(Some(thread)) })
    }

    /// Whether its lines show fields of requests and responses, which cost a copy.
    pub(crate) const fn shows_fields(&self) -> bool {
        matches!(self.format, AccessLogFormat::Json)
    }

    /// Queues the transaction's line, or drops and counts it when the queue is full or the log closed.
    pub(crate) fn log(&self, transaction: &Transaction<'_>) {
        thread_local! {
            static LINE: RefCell<String> = const { RefCell::new(String::new()) };
        }
        // A thread that ends has no variables of its own any more.
        let mut line = LINE.try_with(RefCell::take).unwrap_or_default();
        line.clear();
        format::append_line(&mut line, self.format, transaction);
        self.append(line.as_bytes());
        // One absurd URL should not cost its bytes for ever.
        line.shrink_to(BATCH_BYTES);
        let _ = LINE.try_with(|kept| kept.replace(line));
    }

    fn append(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.closing || queue.bytes.len() + line.len() > QUEUE_BYTES {
            drop(queue);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = queue.bytes.len();
        queue.bytes.extend_from_slice(line);
        let after = queue.bytes.len();
        drop(queue);
        if before == 0 || (before < BATCH_BYTES && after >= BATCH_BYTES) {
            self.shared.work.notify_one();
        }
    }

    /// Opens the file anew after writing what is queued: it has been renamed, as logrotate does. Does not wait. When the
    /// file cannot be opened, the old one is kept and an error told.
    pub(crate) fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.work.notify_one();
    }

    /// Writes what is queued and closes the log; later lines are lost and counted. Blocks until it is done.
    pub(crate) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The writer does not panic, and if it did, there would be nothing left to close.
            let _ = thread.join();
        }
    }

    /// The count of lines lost, for [`Metrics::show_access_log_losses`](crate::metrics::Metrics::show_access_log_losses).
    pub(crate) fn losses(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.lost)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::AccessLogTarget;
    use crate::metrics::tests::transaction;

    fn settings(path: &Path) -> AccessLogSettings {
        AccessLogSettings { target: AccessLogTarget::File(path.to_owned()), format: AccessLogFormat::Squid }
    }

    fn lines(path: &Path) -> usize {
        fs::read_to_string(path).unwrap().lines().filter(|line| line.contains(" TCP_MEM_HIT/200 ")).count()
    }

    #[test]
    fn lines_of_many_threads_are_all_written_whole_on_close() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::open(&settings(&path)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2_000).for_each(|_| log.log(&transaction())));
            }
        });
        let losses = log.losses();
        drop(log);
        assert_eq!(losses.load(Ordering::Relaxed), 0);
        assert_eq!(lines(&path), 8_000);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 8_000);
    }

    #[test]
    fn a_log_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        for _ in 0..2 {
            AccessLog::open(&settings(&path)).unwrap().log(&transaction());
        }
        assert_eq!(lines(&path), 2);
    }

    #[test]
    fn a_line_is_written_soon_without_being_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::open(&settings(&path)).unwrap();
        log.log(&transaction());
        while lines(&path) == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_renamed_file_is_left_for_a_new_one_on_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let log = AccessLog::open(&settings(&path)).unwrap();
        log.log(&transaction());
        fs::rename(&path, &rotated).unwrap();
        log.log(&transaction());
        log.reopen();
        while !path.exists() {
            std::thread::yield_now();
        }
        log.log(&transaction());
        drop(log);
        assert_eq!((lines(&rotated), lines(&path)), (2, 1));
    }

    #[test]
    fn a_reopening_that_fails_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("logs");
        fs::create_dir(&inner).unwrap();
        let log = AccessLog::open(&settings(&inner.join("access.log"))).unwrap();
        let moved = dir.path().join("moved");
        fs::rename(&inner, &moved).unwrap();
        log.reopen();
        log.log(&transaction());
        drop(log);
        assert_eq!(lines(&moved.join("access.log")), 1);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let log = AccessLog::open(&settings(full)).unwrap();
        for _ in 0..3 {
            log.log(&transaction());
        }
        log.close();
        assert_eq!(log.losses().load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_full_queue_drops_lines_instead_of_waiting() {
        let log =
            AccessLog { format: AccessLogFormat::Squid, shared: Arc::default(), thread: Mutex::new(None) };
        let line = vec![b'x'; QUEUE_BYTES / 4];
        for _ in 0..5 {
            log.append(&line);
        }
        assert_eq!(log.losses().load(Ordering::Relaxed), 1);
        assert_eq!(log.shared.lock().bytes.len(), QUEUE_BYTES);
    }

    #[test]
    fn lines_after_closing_are_counted_as_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::open(&settings(&path)).unwrap();
        log.log(&transaction());
        log.close();
        log.log(&transaction());
        log.close();
        assert_eq!((lines(&path), log.losses().load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn an_error_says_which_file_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        for (path, advice) in [
            (
                dir.path().join("missing/access.log"),
                "missing does not exist: create it, or name another file",
            ),
            (dir.path().to_owned(), "it is a directory: name a file in it"),
        ] {
            let error = AccessLog::open(&settings(&path)).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            assert!(cause.contains(advice), "{cause}");
        }
    }
}
