//! Removing what a filter matches: by key where it names keys, else by a walk over everything.
//!
//! It goes in small batches, so that requests are answered and stored in between, whatever there is to remove. When it
//! returns, nothing that a filter matched when it began is served any more.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::command::Command;
use crate::directory::{EntryId, Fingerprint, Place};
use crate::error::Error;
use crate::filter::Filter;
use crate::shared::Shared;
use crate::walk::{Met, Walk, Walked, under_key};

/// Responses that are removed in one go: each may be a file to unlink.
pub(crate) const BATCH: usize = 128;

/// What was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Removal {
    /// Stored responses; variants count one each.
    pub responses: u64,
    /// Bytes of their bodies. A body that several have counts for each.
    pub bytes: u64,
}

impl Removal {
    pub(crate) fn add(&mut self, other: Self) {
        self.responses += other.responses;
        self.bytes += other.bytes;
    }
}

/// A record to be removed, which may have been copied elsewhere by the time that the writer comes to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doomed {
    pub(crate) id: EntryId,
    pub(crate) fingerprint: Fingerprint,
    /// Where it was.
    pub(crate) place: Place,
    /// By which it is known elsewhere.
    pub(crate) sequence: u64,
}

impl From<&Walked> for Doomed {
    fn from(record: &Walked) -> Self {
        let Walked { id, fingerprint, place, head, .. } = record;
        Self { id: *id, fingerprint: *fingerprint, place: *place, sequence: head.sequence }
    }
}

pub(crate) async fn remove_where(
    shared: &Arc<Shared>,
    sender: &mpsc::Sender<Command>,
    filter: Filter,
) -> Result<Removal, Error> {
    match &filter.keys {
        // Needs to know nothing of the rest of the store, so it does not wait for that.
        Some(keys) if filter == (Filter { keys: Some(keys.clone()), ..Filter::default() }) => {
            let mut removal = Removal::default();
            for key in keys {
                let fingerprint = shared.keys.fingerprint(key.as_str());
                let (reply, done) = oneshot::channel();
                let remove = Command::Remove(key.clone(), fingerprint, reply);
                sender.send(remove).await.map_err(|_| Error::Closed)?;
                removal.add(done.await.map_err(|_| Error::Closed)?);
            }
            Ok(removal)
        }
        _ if filter.is_everything() => {
            wait_until_ready(shared).await;
            remove_all(shared, sender).await
        }
        _ => {
            wait_until_ready(shared).await;
            let (shared, sender) = (shared.clone(), sender.clone());
            let removing =
                move || Removing { shared, sender, filter, batch: Vec::new(), removed: Removal::default() };
            tokio::task::spawn_blocking(move || removing().run()).await.map_err(|_| Error::Closed)?
        }
    }
}

/// In steps, so that nothing that is stored meanwhile waits long.
async fn remove_all(shared: &Shared, sender: &mpsc::Sender<Command>) -> Result<Removal, Error> {
    // What is stored meanwhile may be removed, too, but must not keep this going for ever.
    let bound = 2 * shared.directory.len() as u64 + 1;
    let mut removal = Removal::default();
    while removal.responses < bound {
        let (reply, done) = oneshot::channel();
        sender.send(Command::RemoveOldest(BATCH, reply)).await.map_err(|_| Error::Closed)?;
        match done.await.map_err(|_| Error::Closed)? {
            Removal { responses: 0, .. } => break,
            more => removal.add(more),
        }
    }
    Ok(removal)
}

/// A removal that walks. Blocks.
struct Removing {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Command>,
    filter: Filter,
    batch: Vec<Doomed>,
    removed: Removal,
}

impl Removing {
    fn run(mut self) -> Result<Removal, Error> {
        match self.filter.keys.clone() {
            Some(keys) => {
                for key in keys {
                    let found = under_key(&self.shared, &self.filter, &key);
                    self.batch.extend(found.iter().map(Doomed::from));
                    self.flush()?;
                }
            }
            None => self.walk()?,
        }
        // Only now: a lookup that read from disk before can bring nothing back any more.
        let filter = &self.filter;
        let matches =
            |core: &crate::stored::Core| filter.matches(&core.key, core.len, || Some(&core.response));
        self.shared.memory.remove_where(matches);
        Ok(self.removed)
    }

    fn walk(&mut self) -> Result<(), Error> {
        let mut walk = Walk::new(&self.shared, self.filter.clone())?;
        while let Some(met) = walk.next()? {
            if let Met::Record(record) = met {
                self.batch.push(Doomed::from(&*record));
            }
            if self.batch.len() >= BATCH {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        if !self.batch.is_empty() {
            self.removed.add(remove_records(&self.sender, std::mem::take(&mut self.batch))?);
        }
        Ok(())
    }
}

/// Removes records that still count. Blocks until it is done.
pub(crate) fn remove_records(sender: &mpsc::Sender<Command>, doomed: Vec<Doomed>) -> Result<Removal, Error> {
    let (reply, done) = oneshot::channel();
    sender.blocking_send(Command::RemoveRecords(doomed, reply)).map_err(|_| Error::Closed)?;
    done.blocking_recv().map_err(|_| Error::Closed)
}

async fn wait_until_ready(shared: &Shared) {
    let mut state = shared.state.subscribe();
    let _ = state.wait_for(|state| *state == crate::stats::IndexState::Ready).await;
}

/// Blocks until the writer has done all that was asked before, and no segment is on its way out.
pub(crate) fn blocking_barrier(sender: &mpsc::Sender<Command>) -> Result<(), Error> {
    let (reply, done) = oneshot::channel();
    sender.blocking_send(Command::Barrier(reply)).map_err(|_| Error::Closed)?;
    done.blocking_recv().map_err(|_| Error::Closed)
}

/// The same for tests, without blocking.
#[cfg(test)]
pub(crate) async fn barrier(sender: &mpsc::Sender<Command>) -> Result<(), Error> {
    let (reply, done) = oneshot::channel();
    sender.send(Command::Barrier(reply)).await.map_err(|_| Error::Closed)?;
    done.await.map_err(|_| Error::Closed)
}
