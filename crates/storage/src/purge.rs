//! Removing by what a response is, not by its key alone.

use std::sync::Arc;

use larder_policy::{CacheKey, Fields, TargetUri, list_members};
use tokio::sync::{mpsc, oneshot};

use crate::command::Command;
use crate::error::Error;
use crate::metadata;
use crate::segment::{self, Found, Scan};
use crate::shared::Shared;
use crate::writer::Hold;

/// Response fields that carry tags, each with how its members are split.
const TAG_FIELDS: [(&str, Split); 3] =
    [("cache-tag", Split::Commas), ("surrogate-key", Split::Spaces), ("xkey", Split::Spaces)];

#[derive(Clone, Copy)]
enum Split {
    Commas,
    Spaces,
}

/// Which stored responses to remove.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Filter {
    /// All variants under exactly this key.
    Url(CacheKey),
    /// All variants of this target, whichever origin answered for it. All heads are read.
    Target(TargetUri),
    /// Everything of this host, whatever the port and scheme. Letter case does not count.
    Host(String),
    /// Everything whose response carries this tag in `Cache-Tag` (commas), `Surrogate-Key` or `xkey` (spaces).
    Tag(String),
    /// Everything.
    All,
}

impl Filter {
    fn matches(&self, key: &CacheKey, fields: impl FnOnce() -> Option<Fields>) -> bool {
        match self {
            Self::Url(url) => url == key,
            Self::Target(target) => key.target() == target,
            Self::Host(host) => key.target().host().eq_ignore_ascii_case(host),
            Self::Tag(tag) => fields().is_some_and(|fields| has_tag(&fields, tag.as_bytes())),
            Self::All => true,
        }
    }
}

fn has_tag(fields: &Fields, tag: &[u8]) -> bool {
    TAG_FIELDS.iter().any(|(name, split)| match split {
        Split::Commas => list_members(fields.all(name)).any(|member| member == tag),
        Split::Spaces => fields
            .all(name)
            .any(|line| line.split(|byte| matches!(byte, b' ' | b'\t')).any(|member| member == tag)),
    })
}

pub(crate) async fn remove_where(
    shared: &Arc<Shared>,
    sender: &mpsc::Sender<Command>,
    filter: Filter,
) -> Result<u64, Error> {
    match filter {
        Filter::Url(key) => {
            let fingerprint = shared.keys.fingerprint(key.as_str());
            let (reply, done) = oneshot::channel();
            sender.send(Command::Remove(key, fingerprint, reply)).await.map_err(|_| Error::Closed)?;
            done.await.map(|removed| removed as u64).map_err(|_| Error::Closed)
        }
        Filter::All => {
            wait_until_ready(shared).await;
            remove_all(shared, sender).await
        }
        Filter::Target(_) | Filter::Host(_) | Filter::Tag(_) => {
            wait_until_ready(shared).await;
            remove_matching(shared, sender, filter).await
        }
    }
}

/// In steps, so that nothing that is stored meanwhile waits long.
async fn remove_all(shared: &Shared, sender: &mpsc::Sender<Command>) -> Result<u64, Error> {
    const STEP: usize = 1024;
    // What is stored meanwhile may be removed, too, but must not keep this going for ever.
    let bound = 2 * shared.directory.len() as u64 + 1;
    let mut removed = 0;
    while removed < bound {
        let (reply, done) = oneshot::channel();
        sender.send(Command::RemoveOldest(STEP, reply)).await.map_err(|_| Error::Closed)?;
        match done.await.map_err(|_| Error::Closed)? {
            0 => break,
            more => removed += more,
        }
    }
    Ok(removed)
}

async fn remove_matching(
    shared: &Arc<Shared>,
    sender: &mpsc::Sender<Command>,
    filter: Filter,
) -> Result<u64, Error> {
    let _hold = Hold::new(shared.clone());
    barrier(sender).await?;
    let walker = shared.clone();
    let walk = tokio::task::spawn_blocking(move || walk(&walker, &filter).map(|found| (found, filter)));
    let (found, filter) = walk.await.map_err(|_| Error::Closed)??;
    let (reply, done) = oneshot::channel();
    sender.send(Command::RemovePlaces(found, reply)).await.map_err(|_| Error::Closed)?;
    let removed = done.await.map_err(|_| Error::Closed)?;
    // Only now: a lookup that read from disk before can bring nothing back any more.
    shared.memory.remove_where(|core| filter.matches(&core.key, || Some(core.response.fields().clone())));
    Ok(removed)
}

async fn wait_until_ready(shared: &Shared) {
    let mut state = shared.state.subscribe();
    let _ = state.wait_for(|state| *state == crate::stats::IndexState::Ready).await;
}

/// Waits until the writer has done all that was asked before, and no segment is on its way out.
pub(crate) async fn barrier(sender: &mpsc::Sender<Command>) -> Result<(), Error> {
    let (reply, done) = oneshot::channel();
    sender.send(Command::Barrier(reply)).await.map_err(|_| Error::Closed)?;
    done.await.map_err(|_| Error::Closed)
}

type Places = Vec<(crate::directory::Fingerprint, crate::directory::Place)>;

fn walk(shared: &Shared, filter: &Filter) -> Result<Places, Error> {
    let io = |source| Error::Io { path: shared.layout.segments(), source };
    let mut found = Vec::new();
    for (id, size) in segment::list(&shared.layout).map_err(io)? {
        let mut scan = Scan::new(id, shared.segments.open(id).map_err(io)?, 0, size);
        while let Some(next) = scan.next().map_err(io)? {
            let Found::Record { place, head, front } = next else { continue };
            let Ok(key) = CacheKey::from_stored(front.key) else { continue };
            let fields = || metadata::decode(front.metadata).map(|response| response.fields().clone());
            if head.live && filter.matches(&key, fields) {
                found.push((shared.keys.fingerprint(front.key), place));
            }
        }
    }
    Ok(found)
}
