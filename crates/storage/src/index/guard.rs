//! Calls into a database that may panic or never come back.
//!
//! Each call is made on a thread of its own kind and waited for with patience; what panics is an error, and what does
//! not return in time is given up together with the thread it hangs on. From then on the database is lost: every later
//! call fails at once. So whoever calls waits a bounded time, and never for a lock that a stuck call holds.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::value::Entry;
use super::{Change, Index, Watermark};
use crate::directory::Fingerprint;

/// A call that takes longer is not waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Opening reads more the more there is: some seconds for ten million objects, more on a slow disk.
pub(super) const OPEN_PATIENCE: Duration = Duration::from_secs(60);
/// Entries of a scan that are handed over together.
const SCAN_BATCH: usize = 256;
/// Batches that wait for their visitor.
const SCAN_AHEAD: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// A database behind a guard.
pub(super) struct Guard {
    /// `None` only while it is being dropped.
    index: Option<Arc<dyn Index>>,
    patience: Duration,
    /// Threads that wait for a call to make.
    idle: Arc<Mutex<Vec<Sender<Job>>>>,
    lost: AtomicBool,
}

impl Guard {
    pub(super) fn new(index: Arc<dyn Index>, patience: Duration) -> Self {
        Self { index: Some(index), patience, idle: Arc::default(), lost: AtomicBool::new(false) }
    }

    /// Makes a call and waits for its end.
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Index) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let index = self.usable()?;
        let (reply, result) = sync_channel(1);
        self.begin(Box::new(move || {
            let _ = reply.send(caught(|| call(index.as_ref())));
        }))?;
        self.wait(&result)?
    }

    fn usable(&self) -> io::Result<Arc<dyn Index>> {
        let index = self.index.clone().filter(|_| !self.lost.load(Ordering::Relaxed));
        index.ok_or_else(|| io::Error::other("the database is lost"))
    }

    fn wait<T>(&self, result: &Receiver<T>) -> io::Result<T> {
        result.recv_timeout(self.patience).map_err(|error| {
            self.lost.store(true, Ordering::Relaxed);
            match error {
                RecvTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
                RecvTimeoutError::Disconnected => io::Error::other("a thread of the database ended"),
            }
        })
    }

    /// Gives a job to a thread that is free, or to a new one.
    fn begin(&self, mut job: Job) -> io::Result<()> {
        loop {
            let free = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(free) = free else { break };
            match free.send(job) {
                Ok(()) => return Ok(()),
                Err(back) => job = back.0,
            }
        }
        let idle = Arc::downgrade(&self.idle);
        spawn(move || {
            loop {
                job();
                // When the guard is gone, so is the need for this thread.
                let Some(free) = idle.upgrade() else { return };
                let (sender, jobs) = channel();
                free.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
                drop(free);
                let Ok(next) = jobs.recv() else { return };
                job = next;
            }
        })
    }
}

impl Index for Guard {
    fn get(&self, fingerprint: Fingerprint) -> io::Result<Vec<Entry>> {
        self.call(move |index| index.get(fingerprint))
    }

    fn apply(&self, changes: &[Change], watermark: Option<Watermark>) -> io::Result<()> {
        let changes = changes.to_vec();
        self.call(move |index| index.apply(&changes, watermark))
    }

    fn watermark(&self) -> io::Result<Option<Watermark>> {
        self.call(|index| index.watermark())
    }

    /// Patience is for each batch here: all of them may take long.
    fn scan(&self, visit: &mut dyn FnMut(Fingerprint, Entry) -> bool) -> io::Result<()> {
        let index = self.usable()?;
        let (sender, batches) = sync_channel(SCAN_AHEAD);
        self.begin(Box::new(move || {
            let mut batch = Vec::with_capacity(SCAN_BATCH);
            let end = caught(|| {
                index.scan(&mut |print, entry| {
                    batch.push((print, entry));
                    batch.len() < SCAN_BATCH || sender.send(Ok(std::mem::take(&mut batch))).is_ok()
                })
            });
            let _ = sender.send(Ok(batch)).and_then(|()| sender.send(Err(end)));
        }))?;
        loop {
            for (print, entry) in match self.wait(&batches)? {
                Ok(batch) => batch,
                Err(end) => return end,
            } {
                if !visit(print, entry) {
                    return Ok(());
                }
            }
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.call(|index| index.flush())
    }
}

impl Drop for Guard {
    /// Letting go of a database may write, panic or hang like any other call.
    fn drop(&mut self) {
        let Some(index) = self.index.take() else { return };
        if self.lost.load(Ordering::Relaxed) {
            // Whoever hangs in it has it, too; it may hang here as well.
            let _ = spawn(move || let_go(index));
            return;
        }
        let (done, dropped): (SyncSender<()>, _) = sync_channel(1);
        let job = move || {
            let_go(index);
            let _ = done.send(());
        };
        if self.begin(Box::new(job)).is_ok() {
            let _ = dropped.recv_timeout(self.patience);
        }
    }
}

fn let_go(index: Arc<dyn Index>) {
    let _ = caught(|| {
        drop(index);
        Ok(())
    });
}

/// Opens a database on a thread that is left behind when that takes longer than `patience`.
pub(super) fn open_within<T: Send + 'static>(
    patience: Duration,
    open: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (reply, result) = sync_channel(1);
    spawn(move || {
        let _ = reply.send(caught(open));
    })?;
    result.recv_timeout(patience).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("larder-index-call".to_owned()).spawn(run).map(drop)
}

/// Makes of a panic what it should have been: an error.
pub(super) fn caught<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(io::Error::other("the database panicked")))
}
