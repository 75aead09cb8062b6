//! Who names a blob: only counts are kept, so that finding the records takes a walk over those that could.
//!
//! Asked when a damaged blob has several owners, on a thread of its own. All of them go, and one line of the log names their URLs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::blob::{Owner, blob_blocks};
use crate::command::Command;
use crate::digest::BlobDigest;
use crate::directory::Nominee;
use crate::purge::Doomed;
use crate::record::{BodyFile, Head};
use crate::shared::Shared;

/// URLs that one line of the log names.
const URLS: usize = 8;

/// Finds the other records that name the blob of `owner`, of those before sequence number `below`, has them removed and tells
/// of all. `kept` is where the blob is now.
pub(crate) fn find(
    shared: &Arc<Shared>,
    sender: mpsc::WeakSender<Command>,
    owner: Owner,
    below: u64,
    kept: Option<PathBuf>,
) {
    let (shared, spawned) = (shared.clone(), owner.clone());
    let run = move || {
        let Owner { key, file: BodyFile { name: digest, len, .. }, .. } = spawned;
        let mut urls = vec![key.as_str().to_owned()];
        let others = others(&shared, &digest, len, below, &mut urls);
        tell(&digest, &urls, others.len() + 1, kept.as_deref());
        if let Some(sender) = sender.upgrade() {
            let (reply, _nobody) = oneshot::channel();
            let _ = sender.blocking_send(Command::RemoveRecords(others, reply));
        }
    };
    if std::thread::Builder::new().name("larder-owners".to_owned()).spawn(run).is_err() {
        // The others are found to have no body when they are asked for.
        tell(&owner.file.name, &[owner.key.as_str().to_owned()], 1, None);
    }
}

fn others(shared: &Shared, digest: &BlobDigest, len: u64, below: u64, urls: &mut Vec<String>) -> Vec<Doomed> {
    let mut found = Vec::new();
    shared.directory.each_with_blob(blob_blocks(len), |nominees| {
        for nominee in nominees {
            if shared.is_closing() {
                continue;
            }
            let head = shared.segments.head(nominee.place).ok();
            let names =
                |head: &Head| head.blob && !head.partial && head.digest == *digest && head.sequence < below;
            let Some(head) = head.filter(names) else { continue };
            let Nominee { id, fingerprint, place, .. } = *nominee;
            found.push(Doomed { id, fingerprint, place, sequence: head.sequence });
            if let Ok(key) = shared.segments.key(nominee.place)
                && !urls.contains(&key)
                && urls.len() < URLS
            {
                urls.push(key);
            }
        }
    });
    found
}

/// Tells, in one line, that a blob is damaged. `records` is how many named it.
pub(crate) fn tell(digest: &BlobDigest, urls: &[String], records: usize, kept: Option<&Path>) {
    let urls = urls.join(" ");
    match kept {
        Some(kept) => {
            let kept = kept.display();
            tracing::warn!(%digest, %kept, records, urls, "a stored body is damaged: it was set aside and will be fetched anew");
        }
        None => {
            tracing::warn!(%digest, records, urls, "a stored body is damaged or gone and will be fetched anew")
        }
    }
}
