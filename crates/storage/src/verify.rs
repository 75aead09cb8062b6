//! Proving everything that is stored, and putting right what can be.
//!
//! ```text
//! prove every body  ->  (repair) copy what is sound of segments with damage  ->  (repair) fill a new index
//! ```
//!
//! The store goes on meanwhile. Findings are told as they are made, not gathered: there may be as many as there are
//! responses. Repair removes each bad response at once; the segments, not the index, say what there is.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use larder_policy::CacheKey;
use tokio::sync::{mpsc, oneshot};

use crate::blob::{Owner, has_tree};
use crate::command::{Command, Recovered};
use crate::digest::{BlobDigest, Digester};
use crate::directory::{Fingerprint, Nominee, Place};
use crate::entries::EntryFile;
use crate::error::{Error, ReadError};
use crate::files::StoreFile;
use crate::filter::Filter;
use crate::pool::LARGE;
use crate::purge::{Doomed, blocking_barrier, remove_records};
use crate::record::{FileKind, Head};
use crate::segment::{Found, Scan};
use crate::shared::Shared;
use crate::walk::{Damage, Met, Walk, Walked, record_at};
use crate::writer::Hold;

/// Records that are put into the index together.
const BATCH: usize = 512;
/// Records of which it is told at the end whether they are strays; of more the count is too low.
const STRAYS: usize = 100_000;
/// Segments with damage that are copied by one repair; the next one goes on.
const REWRITTEN: usize = 4096;
/// How often a record may move while it is being removed.
const ATTEMPTS: usize = 4;

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
    /// Of these, such as end with their segment and look like a write that was cut off.
    pub torn_ends: u64,
    /// Bytes of all these stretches.
    pub damaged_bytes: u64,
    /// Bytes that are missing behind the ends of segments, as far as anything tells of them.
    pub missing_bytes: u64,
    /// Stored responses whose body is not what it was, or whose head cannot be read.
    pub damaged_bodies: u64,
    /// Stored responses whose body is gone.
    pub missing_bodies: u64,
    /// Stored responses whose record is damaged or gone, so that nobody can tell what they were.
    pub lost_records: u64,
    /// Stored responses that are no longer found, though their records are sound.
    pub unindexed: u64,
    /// Stored responses dropped for repair.
    pub dropped: u64,
}

impl VerifyReport {
    /// Whether every stored response is what it was.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged_bodies == 0
            && self.missing_bodies == 0
            && self.lost_records == 0
            && self.damaged_stretches == 0
    }
}

/// What is told while a check runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Checked {
    /// Of so many bytes, so many have been read. Told after every record.
    Progress {
        /// Read so far.
        done: u64,
        /// To be read; it may grow or shrink while the store is used.
        total: u64,
    },
    /// Something is wrong.
    Fault(Fault),
}

/// Something that is wrong with the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The key of the response; none where its record cannot be read.
    pub key: Option<CacheKey>,
    /// The segment that holds the record, or the damage.
    pub segment: u32,
    /// Where in the segment, in bytes.
    pub offset: u64,
    /// Bytes of the body, or of the damaged stretch.
    pub bytes: u64,
    /// Bytes that are missing behind it, at a torn end, as far as anything tells of them: the head of the last record, and the
    /// index.
    pub missing: u64,
    /// The file that has the body, where it is one of its own, with its name.
    pub file: Option<(EntryFile, BlobDigest)>,
    /// Whether the response was dropped.
    pub dropped: bool,
}

/// What can be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FaultKind {
    /// A body is not what it was.
    DamagedBody,
    /// A body is gone.
    MissingBody,
    /// A record is damaged or gone that should be there.
    LostRecord,
    /// Bytes of a segment are no records.
    DamagedSegment,
    /// The same at the end of a segment, as a write leaves it that was cut off.
    TornEnd,
}

/// Checks everything. Blocks; `tell` says whether to go on, which counts until the first change of a repair is made.
pub(crate) fn verify(
    shared: &Arc<Shared>,
    sender: &mpsc::Sender<Command>,
    repair: Repair,
    tell: &mut dyn FnMut(Checked) -> bool,
) -> Result<VerifyReport, Error> {
    let report = VerifyReport::default();
    let (strays, rewrite) = (Vec::new(), Vec::new());
    let shortened = shared.shortened.all();
    let mut check =
        Check { shared, sender, repair, tell, report, strays, rewrite, shortened, done: 0, stopped: false };
    check.prove()?;
    if repair == Repair::Yes && !check.stopped {
        check.rewrite_segments()?;
        check.renew_index()?;
    }
    Ok(check.report)
}

struct Check<'a> {
    shared: &'a Arc<Shared>,
    sender: &'a mpsc::Sender<Command>,
    repair: Repair,
    tell: &'a mut dyn FnMut(Checked) -> bool,
    report: VerifyReport,
    strays: Vec<(Fingerprint, Place)>,
    rewrite: Vec<u32>,
    /// Segments that are too short, with the ends that they had, until it is told.
    shortened: BTreeMap<u32, u64>,
    done: u64,
    stopped: bool,
}

/// What became of a body.
#[derive(PartialEq, Eq)]
enum Body {
    Sound,
    Damaged,
    Missing,
}

impl Check<'_> {
    fn prove(&mut self) -> Result<(), Error> {
        let mut walk = Walk::new(self.shared, Filter::default())?;
        while let Some(met) = walk.next()? {
            match met {
                Met::Record(record) => self.record(&record)?,
                Met::Damage(damage) => self.damage(damage)?,
                Met::Absent(nominee) => self.absent(nominee)?,
                Met::Stray(fingerprint, place) if self.strays.len() < STRAYS => {
                    self.strays.push((fingerprint, place));
                }
                Met::Stray(..) | Met::Passed => {}
            }
            if self.stopped {
                return Ok(());
            }
        }
        for (segment, end) in std::mem::take(&mut self.shortened) {
            self.shortened_at_a_record(segment, end);
        }
        let _hold = self.hold()?;
        let strays = self.strays.iter().filter(|(print, place)| is_stray(self.shared, *print, *place));
        self.report.unindexed = strays.count() as u64;
        Ok(())
    }

    /// From now on no record moves, and none is half written that was begun before.
    fn hold(&self) -> Result<Hold, Error> {
        let hold = Hold::new(self.shared.clone());
        blocking_barrier(self.sender)?;
        Ok(hold)
    }

    fn record(&mut self, record: &Walked) -> Result<(), Error> {
        let Walked { head, .. } = record;
        let mut place = record.place;
        let mut body = self.body(place, head);
        for _ in 0..ATTEMPTS {
            if body == Body::Sound {
                break;
            }
            // Removed or replaced while it was read: its body may have gone first.
            let Some(now) = self.place_now(record) else { return Ok(()) };
            if now == place {
                break;
            }
            place = now;
            body = self.body(place, head);
        }
        self.report.records += 1;
        let kind = match body {
            Body::Sound if record.response.is_some() => {
                self.report.body_bytes += head.body_len;
                self.progress(u64::from(place.length) + if head.blob { head.body_len } else { 0 });
                return Ok(());
            }
            Body::Sound | Body::Damaged => {
                self.report.damaged_bodies += 1;
                FaultKind::DamagedBody
            }
            Body::Missing => {
                self.report.missing_bodies += 1;
                FaultKind::MissingBody
            }
        };
        let damaged = head.file().filter(|file| body == Body::Damaged && file.kind == FileKind::Blob);
        let damaged = damaged.map(|file| Owner {
            key: record.key.clone(),
            fingerprint: record.fingerprint,
            variant: head.variant,
            file,
            sequence: head.sequence,
        });
        let dropped = self.drop_response(Doomed::from(record), damaged)?;
        self.fault(Fault {
            kind,
            key: Some(record.key.clone()),
            segment: place.segment,
            offset: u64::from(place.offset),
            bytes: head.body_len,
            missing: 0,
            file: head.file().map(|file| (EntryFile::of(file.kind), file.name)),
            dropped,
        });
        Ok(())
    }

    /// A record that should be there.
    fn absent(&mut self, nominee: Nominee) -> Result<(), Error> {
        let hold = self.hold()?;
        let Nominee { id, fingerprint, .. } = nominee;
        let Some(Nominee { place, .. }) = self.shared.directory.get(id) else { return Ok(()) };
        if record_at(self.shared, &Filter::default(), place).is_some() {
            return Ok(());
        }
        self.report.records += 1;
        self.report.lost_records += 1;
        // Nothing is known of it but its place.
        let dropped = self.drop_response(Doomed { id, fingerprint, place, sequence: u64::MAX }, None)?;
        // Whoever is told may take long.
        drop(hold);
        self.fault(Fault {
            kind: FaultKind::LostRecord,
            key: None,
            segment: place.segment,
            offset: u64::from(place.offset),
            bytes: u64::from(place.length),
            missing: 0,
            file: None,
            dropped,
        });
        Ok(())
    }

    fn damage(&mut self, damage: Damage) -> Result<(), Error> {
        if self.is_being_written(damage)? {
            return Ok(());
        }
        let Damage { segment, offset, bytes, torn, missing } = damage;
        let known = if torn { self.shortened.remove(&segment) } else { None };
        let missing = missing.max(known.unwrap_or(0).saturating_sub(offset + bytes));
        let kind = if torn { FaultKind::TornEnd } else { FaultKind::DamagedSegment };
        self.stretch(Fault { kind, key: None, segment, offset, bytes, missing, file: None, dropped: false });
        Ok(())
    }

    /// A segment that was cut where a record begins looks whole.
    fn shortened_at_a_record(&mut self, segment: u32, end: u64) {
        let Ok(offset) = self.shared.segments.open(segment).and_then(|file| file.len()) else { return };
        let (kind, missing) = (FaultKind::TornEnd, end.saturating_sub(offset));
        self.stretch(Fault {
            kind,
            key: None,
            segment,
            offset,
            bytes: 0,
            missing,
            file: None,
            dropped: false,
        });
    }

    /// A stretch of a segment that is no record.
    fn stretch(&mut self, fault: Fault) {
        let Fault { kind, segment, bytes, missing, .. } = fault;
        self.report.damaged_stretches += 1;
        self.report.torn_ends += u64::from(kind == FaultKind::TornEnd);
        self.report.damaged_bytes += bytes;
        self.report.missing_bytes += missing;
        if self.rewrite.last() != Some(&segment) && self.rewrite.len() < REWRITTEN {
            self.rewrite.push(segment);
        }
        self.fault(fault);
    }

    /// Whether a record stands there now, or the segment has gone with all its records.
    fn is_being_written(&self, damage: Damage) -> Result<bool, Error> {
        blocking_barrier(self.sender)?;
        let now = || {
            let file = self.shared.segments.open(damage.segment)?;
            let end = file.len()?;
            let mut scan = Scan::new(damage.segment, file, damage.offset, end);
            Ok::<_, io::Error>(matches!(scan.next()?, Some(Found::Record { .. })))
        };
        Ok(now().unwrap_or_else(|error| error.kind() == io::ErrorKind::NotFound))
    }

    fn body(&self, place: Place, head: &Head) -> Body {
        let body = match head.file().map(|file| file.kind) {
            None => prove_inline(self.shared, place, head),
            Some(FileKind::Blob) => prove_blob(self.shared, head, self.repair),
            Some(FileKind::Partial) => prove_partial(self.shared, head),
        };
        body.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Body::Missing,
            _ => Body::Damaged,
        })
    }

    /// Where a record is now. `None` when it has gone; its entry may be another one's by then, even of the same key.
    fn place_now(&self, record: &Walked) -> Option<Place> {
        let now = self.shared.directory.get(record.id)?.place;
        let same =
            |now| self.shared.segments.head(now).is_ok_and(|head| head.sequence == record.head.sequence);
        (now == record.place || same(now)).then_some(now)
    }

    /// Drops a response for repair; a damaged blob is set aside, counted and told, as when a reader comes upon it. False when it
    /// stays.
    fn drop_response(&mut self, doomed: Doomed, damaged: Option<Owner>) -> Result<bool, Error> {
        if self.repair == Repair::No {
            return Ok(false);
        }
        let set_aside = damaged.is_some();
        if let Some(owner) = damaged {
            self.shared.blobs.condemn(owner);
        }
        let removed = remove_records(self.sender, vec![doomed])?.responses > 0;
        let gone = || self.shared.directory.get(doomed.id).is_none_or(|now| now.place != doomed.place);
        let dropped = removed || (set_aside && gone());
        self.report.dropped += u64::from(dropped);
        Ok(dropped)
    }

    fn fault(&mut self, fault: Fault) {
        let bytes = fault.bytes;
        self.say(Checked::Fault(fault));
        self.progress(bytes);
    }

    fn progress(&mut self, bytes: u64) {
        self.done += bytes;
        let counters = &self.shared.counters;
        let total = counters.segment_bytes.get() + counters.blob_bytes.get();
        self.say(Checked::Progress { done: self.done, total: total.max(self.done) });
    }

    fn say(&mut self, checked: Checked) {
        // A repair that has begun to change things is brought to its end.
        let go_on = (self.tell)(checked);
        self.stopped |= !go_on && self.repair == Repair::No;
    }

    /// Has the segments with damage copied, so that the damage goes with them.
    fn rewrite_segments(&mut self) -> Result<(), Error> {
        if self.rewrite.is_empty() {
            return Ok(());
        }
        let (done, all_gone) = oneshot::channel();
        let rewrite = Command::Rewrite(std::mem::take(&mut self.rewrite), done);
        self.sender.blocking_send(rewrite).map_err(|_| Error::Closed)?;
        // Ends with an error by design: the other end is dropped.
        let _ = all_gone.blocking_recv();
        Ok(())
    }

    /// Fills a new index. What moves, comes or goes meanwhile is told to it by whoever does that.
    fn renew_index(&mut self) -> Result<(), Error> {
        let send = |command| self.sender.blocking_send(command).map_err(|_| Error::Closed);
        send(Command::RenewIndex)?;
        let mut walk = Walk::new(self.shared, Filter::default())?;
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(met) = walk.next()? {
            if let Met::Record(record) = met {
                let Walked { fingerprint, place, head, .. } = *record;
                let (variant, file) = (head.variant, head.file());
                batch.push(Recovered { fingerprint, variant, place, file, indexed: true });
            }
            if batch.len() >= BATCH {
                send(Command::Reindex(std::mem::take(&mut batch)))?;
            }
        }
        send(Command::Reindex(batch))?;
        // With strays it stays incomplete, so that the next start reads the segments and finds them.
        if self.report.unindexed == 0 {
            send(Command::IndexComplete)?;
        }
        blocking_barrier(self.sender)
    }
}

/// Whether a record is still there and still nobody knows of it. A file that stays open outlives its name.
fn is_stray(shared: &Shared, fingerprint: Fingerprint, place: Place) -> bool {
    shared.layout.segment(place.segment).exists()
        && shared.segments.head(place).is_ok_and(|head| head.live)
        && shared.directory.find_place(fingerprint, place).is_none()
}

fn prove_inline(shared: &Shared, place: Place, head: &Head) -> io::Result<Body> {
    let file = shared.segments.open(place.segment)?;
    prove(&file, u64::from(place.offset) + head.front_bytes() as u64, head.body_len, &head.digest)
}

fn prove_partial(shared: &Shared, head: &Head) -> io::Result<Body> {
    match shared.partials.open(&head.digest).and_then(|partial| partial.prove_all(|_| Ok(()))) {
        Ok(1..) => Ok(Body::Sound),
        Err(ReadError::Unreadable { kind, .. }) => Err(kind.into()),
        Ok(0) | Err(ReadError::Damaged { .. } | ReadError::Aborted) => Ok(Body::Damaged),
    }
}

/// A tree that is not what it was costs no sound body: the next reader makes it anew, or a repair does.
fn prove_blob(shared: &Shared, head: &Head, repair: Repair) -> io::Result<Body> {
    let (digest, len) = (&head.digest, head.body_len);
    let file = shared.layout.files().open(&shared.layout.blob(digest))?;
    if file.len()? != len {
        return Ok(Body::Damaged);
    }
    match shared.blobs.prove_file(&file, digest, len, |_| Ok(())) {
        Ok(values) => {
            if repair == Repair::Yes && has_tree(len) && !shared.blobs.has_sound_tree(digest, len) {
                shared.blobs.write_new_tree(digest, len, &values);
            }
            Ok(Body::Sound)
        }
        Err(ReadError::Unreadable { kind, .. }) => Err(kind.into()),
        Err(ReadError::Damaged { .. } | ReadError::Aborted) => {
            // Proved when it was first read, it has gone wrong since: the next reader proves it again.
            shared.blobs.forget(digest);
            Ok(Body::Damaged)
        }
    }
}

fn prove(file: &StoreFile, mut at: u64, len: u64, digest: &BlobDigest) -> io::Result<Body> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(LARGE).min(LARGE)];
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
