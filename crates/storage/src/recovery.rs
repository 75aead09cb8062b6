//! Finding again what an earlier life of the directory stored, in the background.
//!
//! ```text
//! index with a watermark:  replay the segments behind it -> load the index   -> sweep orphans
//! none, damaged, or below 64 MiB of limit:      scan all segments            -> sweep orphans
//! ```
//!
//! Bodies are not read. All finds go through the writer, which decides what counts. While a load goes on,
//! lookups ask the index for what the directory does not have yet; while a rebuild goes on, they miss it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_policy::CacheKey;
use tokio::sync::{mpsc, oneshot};

use crate::blob::BLOCK;
use crate::command::{Command, Recovered};
use crate::digest::BlobDigest;
use crate::index::{Index, Opened, Watermark};
use crate::layout::Layout;
use crate::metadata;
use crate::record::{FileKind, Front, Head};
use crate::segment::{Found, Scan};
use crate::shared::Shared;
use crate::stats::IndexState;

/// Finds that are sent to the writer together: few, so that no other command waits long behind them.
const BATCH: usize = 512;

/// Where the index would be, were there one.
pub(crate) const fn no_index() -> Opened {
    Opened { index: None, watermark: None }
}

/// Starts to recover on a thread of its own.
pub(crate) fn start(
    shared: Arc<Shared>,
    sender: mpsc::WeakSender<Command>,
    segments: Vec<(u32, u64)>,
    opened: Opened,
) {
    let run = move || {
        let recovery = Recovery { shared, sender, segments, batch: Vec::new(), taken: None };
        recovery.run(opened);
    };
    spawn("larder-recover", run);
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(run) {
        tracing::warn!(%error, "cannot start {name}: what was stored before is not found");
    }
}

struct Recovery {
    shared: Arc<Shared>,
    sender: mpsc::WeakSender<Command>,
    segments: Vec<(u32, u64)>,
    batch: Vec<Recovered>,
    /// Told when the batch before is taken up.
    taken: Option<oneshot::Receiver<()>>,
}

/// The store was closed meanwhile.
struct Closed;

impl Recovery {
    fn run(mut self, opened: Opened) {
        let Opened { index, watermark } = opened;
        let done = match (index, watermark) {
            (Some(index), Some(watermark)) => self.load(index.as_ref(), watermark),
            _ => self.rebuild(),
        };
        if done.is_ok()
            && let Some(sender) = self.sender.upgrade()
        {
            let _ = sender.blocking_send(Command::RecoveryDone);
        }
    }

    fn load(&mut self, index: &dyn Index, watermark: Watermark) -> Result<(), Closed> {
        self.scan_from(watermark)?;
        self.send_batch()?;
        // From then on lookups trust the directory and the index together, so what only the segments knew must be in it.
        self.taken_up()?;
        self.shared.state.send_replace(IndexState::Loading);
        let mut closed = false;
        let loaded = index.scan(&mut |fingerprint, entry| {
            self.batch.push(weighed(&self.shared, entry.recovered(fingerprint)));
            closed = self.batch.len() >= BATCH && self.send_batch().is_err();
            !closed
        });
        if closed {
            return Err(Closed);
        }
        if let Err(error) = loaded {
            tracing::warn!(%error, "the index cannot be read: its content is found in the segments");
            return self.rebuild();
        }
        self.send_batch()
    }

    fn rebuild(&mut self) -> Result<(), Closed> {
        self.shared.state.send_replace(IndexState::Rebuilding);
        self.scan_from(Watermark { segment: 0, offset: 0 })?;
        self.send_batch()
    }

    /// Scans the segments of the life before this one, behind the watermark.
    fn scan_from(&mut self, watermark: Watermark) -> Result<(), Closed> {
        for (id, size) in std::mem::take(&mut self.segments) {
            let from = if id == watermark.segment { u64::from(watermark.offset) } else { 0 };
            if from > size {
                self.shared.shortened.note(id, from);
            }
            if id >= watermark.segment && from < size {
                self.scan(id, from, size)?;
            }
            self.segments.push((id, size));
        }
        Ok(())
    }

    fn scan(&mut self, id: u32, from: u64, size: u64) -> Result<(), Closed> {
        let shared = self.shared.clone();
        let file = match shared.segments.open(id) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(segment = id, %error, "a segment cannot be opened");
                return Ok(());
            }
        };
        let mut scan = Scan::new(id, file, from, size);
        let mut after_damage = false;
        loop {
            match scan.next() {
                Ok(Some(Found::Record { head, front, .. }))
                    if after_damage && !is_ours(&shared, &head, front) =>
                {
                    tracing::debug!(segment = id, "a body that looks like a record is left alone");
                }
                Ok(Some(Found::Record { place, head, front })) if head.live => {
                    let fingerprint = shared.keys.fingerprint(front.key);
                    let (variant, file) = (head.variant, head.file());
                    let found = Recovered { fingerprint, variant, place, file, indexed: false };
                    self.batch.push(weighed(&shared, found));
                }
                Ok(Some(Found::Record { .. })) => {}
                Ok(Some(Found::Damage { offset, bytes, fault, .. })) => {
                    after_damage = true;
                    tracing::debug!(segment = id, offset, bytes, %fault, "not a record");
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::warn!(segment = id, %error, "a segment cannot be read to its end");
                    return Ok(());
                }
            }
            if self.batch.len() >= BATCH {
                self.send_batch()?;
            }
        }
    }

    /// Waits until the writer has taken up everything that was sent.
    fn taken_up(&self) -> Result<(), Closed> {
        self.barrier()?.blocking_recv().map_err(|_| Closed)
    }

    /// Told when the writer has come so far.
    fn barrier(&self) -> Result<oneshot::Receiver<()>, Closed> {
        let (reply, done) = oneshot::channel();
        send(&self.shared, &self.sender, Command::Barrier(reply))?;
        Ok(done)
    }

    fn send_batch(&mut self) -> Result<(), Closed> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        // Few at a time: what is stored meanwhile stands in the same queue.
        if let Some(taken) = self.taken.take() {
            taken.blocking_recv().map_err(|_| Closed)?;
        }
        send(&self.shared, &self.sender, Command::Recovered(batch))?;
        self.taken = Some(self.barrier()?);
        Ok(())
    }
}

/// With what a partial takes now: a fill that did not come to its record has left bytes in it.
fn weighed(shared: &Shared, mut found: Recovered) -> Recovered {
    if let Some(file) = found.file.as_mut().filter(|file| file.kind == FileKind::Partial)
        && let Some(blocks) = shared.partials.blocks(&file.name)
    {
        file.len = u64::from(blocks) * BLOCK;
    }
    found
}

/// Whether this store wrote the record. Behind damage a scan may come upon a body that an origin made look like a
/// record, of another origin even; but its variant tag takes the store's secret.
fn is_ours(shared: &Shared, head: &Head, front: Front<'_>) -> bool {
    let key = CacheKey::from_stored(front.key).ok();
    let response = metadata::decode(front.metadata);
    let tags = key.zip(response).map(|(key, response)| shared.keys.tags(&key, response.nominated()));
    tags.is_some_and(|(_, variant)| variant == head.variant)
}

fn send(shared: &Shared, sender: &mpsc::WeakSender<Command>, command: Command) -> Result<(), Closed> {
    if shared.is_closing() {
        return Err(Closed);
    }
    let sender = sender.upgrade().ok_or(Closed)?;
    sender.blocking_send(command).map_err(|_| Closed)
}

/// Looks for blobs and partials that no record names and has them removed, on a thread of its own. `owned` are the
/// prefixes of the names of those that have an owner, sorted.
pub(crate) fn sweep(shared: Arc<Shared>, sender: mpsc::WeakSender<Command>, owned: Vec<u64>) {
    spawn("larder-sweep", move || {
        let (mut directories, mut none) = (HashSet::new(), HashSet::new());
        let swept = [
            sweep_dir(&shared, &sender, &owned, FileKind::Blob, &shared.layout.blobs(), &mut directories),
            sweep_dir(&shared, &sender, &owned, FileKind::Partial, &shared.layout.partials(), &mut none),
        ];
        if swept.iter().any(Result::is_err) {
            return;
        }
        let _ = send(&shared, &sender, Command::SweepDone { directories });
    });
}

fn sweep_dir(
    shared: &Shared,
    sender: &mpsc::WeakSender<Command>,
    owned: &[u64],
    kind: FileKind,
    dir: &Path,
    directories: &mut HashSet<PathBuf>,
) -> Result<(), Closed> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    let mut orphans = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep_dir(shared, sender, owned, kind, &path, directories)?;
            directories.insert(path);
            continue;
        }
        let name = entry.file_name();
        let beside = match kind {
            FileKind::Blob => ".tree",
            FileKind::Partial => ".map",
        };
        let digest = name.to_str().and_then(|name| BlobDigest::from_hex(name.trim_end_matches(beside)));
        let Some(digest) = digest else { continue };
        if owned.binary_search(&digest.prefix()).is_err() {
            orphans.push(digest);
        }
    }
    if orphans.is_empty() {
        return Ok(());
    }
    orphans.dedup();
    tracing::debug!(?kind, count = orphans.len(), "files without an owner are removed");
    send(shared, sender, Command::Orphans(kind, orphans))
}

/// What a life of the directory leaves for the start of the next.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Totals {
    /// What the blobs took when last counted, in blocks: the least that is assumed until they are counted.
    pub(crate) blob_blocks: u64,
    /// No segment with this number or a higher one was ever made.
    pub(crate) next_segment: u32,
}

/// ```text
/// offset  bytes  what (little-endian)
///      0      8  blocks of the blobs
///      8      4  next segment
///     12      4  CRC-32C of bytes 0 to 11
/// ```
///
/// A missing or damaged file is all zero: it only helps.
pub(crate) fn read_totals(layout: &Layout) -> Totals {
    let read = || {
        let bytes = layout.files().read(&layout.totals()).ok()?;
        let (body, check) = bytes.split_first_chunk::<12>()?;
        if crc32c::crc32c(body).to_le_bytes() != *check {
            return None;
        }
        let (blocks, next) = body.split_first_chunk::<8>()?;
        let next_segment = u32::from_le_bytes(*next.first_chunk::<4>()?);
        Some(Totals { blob_blocks: u64::from_le_bytes(*blocks), next_segment })
    };
    read().unwrap_or_default()
}

pub(crate) fn write_totals(layout: &Layout, totals: Totals) {
    let mut bytes = totals.blob_blocks.to_le_bytes().to_vec();
    bytes.extend_from_slice(&totals.next_segment.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    if let Err(error) = layout.replace(&layout.totals(), &bytes) {
        tracing::debug!(%error, "cannot note the totals");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_back_and_damage_is_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(root.path()).unwrap();
        assert_eq!(read_totals(&layout), Totals::default());
        let totals = Totals { blob_blocks: 7, next_segment: 3 };
        write_totals(&layout, totals);
        assert_eq!(read_totals(&layout), totals);
        fs::write(layout.totals(), [1; 16]).unwrap();
        assert_eq!(read_totals(&layout), Totals::default());
    }
}
