//! Walking over everything that is stored: to prove it, and to list it.

use std::io;
use std::sync::Arc;

use larder_policy::{CacheKey, StoredResponse};
use tokio::sync::{mpsc, oneshot};

use crate::blob::{decode_tree, has_tree};
use crate::command::{Command, Recovered};
use crate::digest::{BlobDigest, Digester};
use crate::directory::{Fingerprint, Place};
use crate::error::{Error, ReadError};
use crate::files::StoreFile;
use crate::metadata;
use crate::pool::LARGE;
use crate::purge::barrier;
use crate::record::Head;
use crate::segment::{self, Found, Scan};
use crate::shared::Shared;
use crate::writer::Hold;

/// Records that are put into the index together.
const BATCH: usize = 512;

/// Whether a check may change anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repair {
    /// Only look.
    No,
    /// Drop what is wrong, and make the index anew.
    Yes,
}

/// What a check of the whole store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Stored responses that count.
    pub records: u64,
    /// Bytes of bodies that were read and hashed.
    pub body_bytes: u64,
    /// Stretches of segments that are not records: damage, or the torn end after a crash.
    pub damaged_stretches: u64,
    /// Bytes of them.
    pub damaged_bytes: u64,
    /// Stored responses whose body is not what it was.
    pub damaged_bodies: u64,
    /// Stored responses whose body is gone.
    pub missing_bodies: u64,
    /// Stored responses that are no longer found, though their records are sound.
    pub unindexed: u64,
    /// Stored responses dropped for repair.
    pub dropped: u64,
}

impl VerifyReport {
    /// Whether every stored response is what it was.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged_bodies == 0 && self.missing_bodies == 0 && self.damaged_stretches == 0
    }
}

pub(crate) async fn verify(
    shared: &Arc<Shared>,
    sender: &mpsc::Sender<Command>,
    repair: Repair,
) -> Result<VerifyReport, Error> {
    let _hold = Hold::new(shared.clone());
    barrier(sender).await?;
    let walker = shared.clone();
    let walk = tokio::task::spawn_blocking(move || walk(&walker));
    let Walk { mut report, bad, good } = walk.await.map_err(|_| Error::Closed)??;
    if repair == Repair::Yes {
        let (reply, done) = oneshot::channel();
        sender.send(Command::RemovePlaces(bad, reply)).await.map_err(|_| Error::Closed)?;
        report.dropped = done.await.map_err(|_| Error::Closed)?;
        sender.send(Command::ClearIndex).await.map_err(|_| Error::Closed)?;
        for batch in good.chunks(BATCH) {
            sender.send(Command::Reindex(batch.to_vec())).await.map_err(|_| Error::Closed)?;
        }
        sender.send(Command::IndexComplete).await.map_err(|_| Error::Closed)?;
        barrier(sender).await?;
    }
    Ok(report)
}

#[derive(Default)]
struct Walk {
    report: VerifyReport,
    bad: Vec<(Fingerprint, Place)>,
    good: Vec<Recovered>,
}

/// What became of a body.
#[derive(PartialEq, Eq)]
enum Body {
    Sound,
    Damaged,
    Missing,
}

fn walk(shared: &Shared) -> Result<Walk, Error> {
    let io = |source| Error::Io { path: shared.layout.segments(), source };
    let mut walk = Walk::default();
    for (id, size) in segment::list(&shared.layout).map_err(io)? {
        let file = shared.segments.open(id).map_err(io)?;
        let mut scan = Scan::new(id, file.clone(), 0, size);
        while let Some(found) = scan.next().map_err(io)? {
            match found {
                Found::Damage { bytes, .. } => {
                    walk.report.damaged_stretches += 1;
                    walk.report.damaged_bytes += bytes;
                }
                Found::Record { place, head, front } if head.live => {
                    let fingerprint = shared.keys.fingerprint(front.key);
                    let readable = metadata::decode(front.metadata).is_some();
                    walk.record(shared, &file, fingerprint, place, &head, readable);
                }
                Found::Record { .. } => {}
            }
        }
    }
    Ok(walk)
}

impl Walk {
    fn record(
        &mut self,
        shared: &Shared,
        file: &StoreFile,
        fingerprint: Fingerprint,
        place: Place,
        head: &Head,
        readable: bool,
    ) {
        let body = if head.partial {
            prove_partial(shared, head)
        } else if head.blob {
            prove_blob(shared, head)
        } else {
            let at = u64::from(place.offset) + head.front_bytes() as u64;
            prove(file, at, head.body_len, &head.digest)
        };
        let body = body.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Body::Missing,
            _ => Body::Damaged,
        });
        if shared.directory.find_place(fingerprint, place).is_none() {
            // Removed while this walked, or replaced by a power cut's survivor.
            self.report.unindexed += 1;
            return;
        }
        self.report.records += 1;
        match body {
            Body::Sound if readable => {
                self.report.body_bytes += head.body_len;
                let (variant, file) = (head.variant, head.file());
                self.good.push(Recovered { fingerprint, variant, place, file, indexed: true });
                return;
            }
            Body::Sound | Body::Damaged => self.report.damaged_bodies += 1,
            Body::Missing => self.report.missing_bodies += 1,
        }
        self.bad.push((fingerprint, place));
    }
}

fn prove_partial(shared: &Shared, head: &Head) -> io::Result<Body> {
    match shared.partials.open(&head.digest).and_then(|partial| partial.prove_all()) {
        Ok(1..) => Ok(Body::Sound),
        Err(ReadError::Unreadable { kind, .. }) => Err(kind.into()),
        Ok(0) | Err(ReadError::Damaged { .. } | ReadError::Aborted) => Ok(Body::Damaged),
    }
}

fn prove_blob(shared: &Shared, head: &Head) -> io::Result<Body> {
    let file = shared.layout.files().open(&shared.layout.blob(&head.digest))?;
    if file.len()? != head.body_len {
        return Ok(Body::Damaged);
    }
    let body = prove(&file, 0, head.body_len, &head.digest)?;
    if body == Body::Sound && has_tree(head.body_len) {
        let tree = shared.layout.files().read(&shared.layout.tree(&head.digest))?;
        if decode_tree(&tree, &head.digest, head.body_len).is_none() {
            return Ok(Body::Damaged);
        }
    }
    Ok(body)
}

fn prove(file: &StoreFile, mut at: u64, len: u64, digest: &BlobDigest) -> io::Result<Body> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; LARGE];
    let end = at + len;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(LARGE).min(LARGE);
        let Some(part) = buffer.get_mut(..wanted) else { break };
        let read = file.read_full(part, at)?;
        digester.update(part.get(..read).unwrap_or(&[]));
        at += read as u64;
        if read < wanted {
            break;
        }
    }
    Ok(if digester.finish().0 == *digest { Body::Sound } else { Body::Damaged })
}

/// One stored response, as a list shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The cache key it is stored under.
    pub key: CacheKey,
    /// Status, fields and times.
    pub response: StoredResponse,
    /// Length of the body in bytes.
    pub body_len: u64,
    /// BLAKE3 digest of the body.
    pub digest: BlobDigest,
}

/// Everything that is stored, in the order in which it lies on disk. Blocks while it reads.
///
/// What is stored or removed while it runs may or may not be among it.
#[derive(Debug)]
pub struct Entries {
    shared: Arc<Shared>,
    _hold: Hold,
    segments: std::vec::IntoIter<(u32, u64)>,
    scan: Option<Scan>,
}

impl Entries {
    pub(crate) async fn new(shared: &Arc<Shared>, sender: &mpsc::Sender<Command>) -> Result<Self, Error> {
        let hold = Hold::new(shared.clone());
        barrier(sender).await?;
        let path = shared.layout.segments();
        let segments = segment::list(&shared.layout).map_err(|source| Error::Io { path, source })?;
        Ok(Self { shared: shared.clone(), _hold: hold, segments: segments.into_iter(), scan: None })
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let Some(scan) = &mut self.scan else {
                let (id, size) = self.segments.next()?;
                // What cannot be opened is not listed.
                self.scan = self.shared.segments.open(id).ok().map(|file| Scan::new(id, file, 0, size));
                continue;
            };
            let Ok(Some(found)) = scan.next() else {
                self.scan = None;
                continue;
            };
            let Found::Record { place, head, front } = found else { continue };
            let fingerprint = self.shared.keys.fingerprint(front.key);
            let counts = head.live && self.shared.directory.find_place(fingerprint, place).is_some();
            if let (true, Ok(key), Some(response)) =
                (counts, CacheKey::from_stored(front.key), metadata::decode(front.metadata))
            {
                return Some(Entry { key, response, body_len: head.body_len, digest: head.digest });
            }
        }
    }
}
