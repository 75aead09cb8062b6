//! Who names a blob: only counts are kept, so that finding the records takes a walk over those that could.
//!
//! Asked when a damaged blob has several owners. All of them go, and one line of the log names their URLs. One thread walks for
//! one blob after another, begun with the first of them; blobs that wait for it are bounded. Of one more than that the others
//! are found to have no body when they are asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};

use tokio::sync::mpsc::WeakSender;

use crate::blob::{Owner, blob_blocks};
use crate::command::Command;
use crate::digest::BlobDigest;
use crate::directory::Nominee;
use crate::purge::{BATCH, Doomed, remove_records};
use crate::record::Head;
use crate::shared::Shared;

/// URLs that one line of the log names.
const URLS: usize = 8;
/// Damaged blobs that wait for their owners to be found.
const WAITING: usize = 64;

/// A damaged blob that several records name.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The record that it was found by.
    pub(crate) owner: Owner,
    /// Only records before this sequence number: later ones name a body that was fetched anew.
    pub(crate) below: u64,
    /// What became of the blob.
    pub(crate) fate: Fate,
    /// How many records name it, as far as is known.
    pub(crate) records: usize,
}

/// What became of a damaged blob.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is here now.
    Kept(PathBuf),
    /// It was removed: the quarantine may hold `limit` bytes, and this setting bounds it.
    TooLarge { bytes: u64, limit: u64, setting: &'static str },
    /// It was removed, or had been gone before.
    Gone,
}

/// Whoever finds the others. See the module.
#[derive(Debug, Default)]
pub(crate) struct Finder(Option<SyncSender<Lost>>);

impl Finder {
    /// Finds the other records that name a blob, has them removed and tells of all.
    pub(crate) fn find(&mut self, shared: &Arc<Shared>, sender: &WeakSender<Command>, lost: Lost) {
        if self.0.is_none() {
            self.0 = start(shared.clone(), sender.clone());
        }
        let refused = match &self.0 {
            Some(queue) => queue.try_send(lost).err().map(|full| match full {
                mpsc::TrySendError::Full(lost) | mpsc::TrySendError::Disconnected(lost) => lost,
            }),
            None => Some(lost),
        };
        if let Some(Lost { owner, fate, records, .. }) = refused {
            tell(&owner.file.name, &[owner.key.as_str().to_owned()], records, &fate);
        }
    }
}

fn start(shared: Arc<Shared>, sender: WeakSender<Command>) -> Option<SyncSender<Lost>> {
    let (queue, waiting) = mpsc::sync_channel(WAITING);
    let run = move || run(&shared, &sender, &waiting);
    std::thread::Builder::new().name("larder-owners".to_owned()).spawn(run).is_ok().then_some(queue)
}

/// Ends with the writer.
fn run(shared: &Arc<Shared>, sender: &WeakSender<Command>, waiting: &Receiver<Lost>) {
    for Lost { owner, below, fate, .. } in waiting {
        let mut walk =
            Walk { sender, batch: Vec::new(), urls: vec![owner.key.as_str().to_owned()], found: 1 };
        walk.over(shared, &owner, below);
        tell(&owner.file.name, &walk.urls, walk.found, &fate);
        walk.flush();
    }
}

struct Walk<'a> {
    sender: &'a WeakSender<Command>,
    batch: Vec<Doomed>,
    urls: Vec<String>,
    found: usize,
}

impl Walk<'_> {
    fn over(&mut self, shared: &Shared, owner: &Owner, below: u64) {
        let digest = owner.file.name;
        shared.directory.each_with_blob(blob_blocks(owner.file.len), |nominees| {
            for nominee in nominees {
                if shared.is_closing() {
                    return;
                }
                let head = shared.segments.head(nominee.place).ok();
                let names = |head: &Head| {
                    head.blob && !head.partial && head.digest == digest && head.sequence < below
                };
                let Some(head) = head.filter(names) else { continue };
                let Nominee { id, fingerprint, place, .. } = *nominee;
                self.found += 1;
                if let Ok(key) = shared.segments.key(nominee.place)
                    && !self.urls.contains(&key)
                    && self.urls.len() < URLS
                {
                    self.urls.push(key);
                }
                self.batch.push(Doomed { id, fingerprint, place, sequence: head.sequence });
                if self.batch.len() >= BATCH {
                    self.flush();
                }
            }
        });
    }

    /// Few at a time, each awaited: what is stored meanwhile stands in the same queue.
    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if let Some(sender) = self.sender.upgrade().filter(|_| !batch.is_empty()) {
            // A store that was closed has nothing left to remove.
            let _ = remove_records(&sender, batch);
        }
    }
}

/// Tells, in one line, that a blob is damaged. `records` is how many named it.
pub(crate) fn tell(digest: &BlobDigest, urls: &[String], records: usize, fate: &Fate) {
    let urls = urls.join(" ");
    match fate {
        Fate::Kept(kept) => {
            let kept = kept.display();
            tracing::warn!(%digest, %kept, records, urls, "a stored body is damaged: it was set aside and will be fetched anew");
        }
        Fate::TooLarge { bytes, limit, setting } => tracing::warn!(
            %digest, bytes, limit, records, urls,
            "a stored body is damaged and will be fetched anew: too large to be set aside, it was removed; a larger `{setting}` would have kept it"
        ),
        Fate::Gone => {
            tracing::warn!(%digest, records, urls, "a stored body is damaged or gone and will be fetched anew");
        }
    }
}
