//! The scrub: proves everything that is stored, a little at a time, on a thread of its own.
//!
//! ```text
//! start -- a minute --> wait until due --> segment by segment, each record and its blob --> note the end --+
//!                            ^                                                                             |
//!                            +-----------------------------------------------------------------------------+
//! ```
//!
//! It reads at a bounded rate and goes on where an earlier life left off. It changes nothing itself: what it finds it tells the
//! writer, as readers do. What it had to fetch from the disk it lets go of again, so that the page cache stays with what
//! clients ask for. Records that are copied while it runs are proved by whoever copies them, and their blobs here at the end.

use std::convert::Infallible;
use std::io;
use std::iter::once;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use larder_policy::CacheKey;

use crate::blob::{BLOCK, Hint, Owner, Reading, has_tree};
use crate::directory::{Fingerprint, Place};
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::filter::Filter;
use crate::record::{FileKind, Head, Record, RecordFault};
use crate::segment::{self, FIRST_RECORD, Found, Scan};
use crate::shared::Shared;
use crate::walk::record_at;

/// Bytes of a segment that are looked at together for whether they are in the page cache.
const WINDOW: u64 = 256 * 1024;

/// The scrub of an open store. Dropped, it ends soon.
#[derive(Debug)]
pub(crate) struct Scrubber {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Scrubber {
    /// Starts it, unless its rate is zero.
    pub(crate) fn start(shared: &Arc<Shared>) -> Option<Self> {
        let rate = shared.options.scrub_rate;
        if rate == 0 {
            return None;
        }
        let (stop, stopped) = channel();
        let scrub = Scrub { shared: shared.clone(), pace: Pace { stopped, rate, owed: Duration::ZERO } };
        match std::thread::Builder::new().name("larder-scrub".to_owned()).spawn(move || scrub.run()) {
            Ok(thread) => Some(Self { stop, thread }),
            Err(error) => {
                tracing::warn!(%error, "cannot start the scrub: damage is found only by who reads it");
                None
            }
        }
    }

    /// Ends it and waits until it has.
    pub(crate) fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// The store was closed meanwhile.
#[derive(Debug)]
pub(crate) struct Closed;

/// How fast, and for how long.
#[derive(Debug)]
struct Pace {
    stopped: Receiver<()>,
    /// Bytes a second.
    rate: u64,
    /// What was read but not yet waited for.
    owed: Duration,
}

impl Pace {
    fn wait(&self, time: Duration) -> Result<(), Closed> {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }

    /// So many bytes were read.
    fn read(&mut self, bytes: u64) -> Result<(), Closed> {
        const LEAST: Duration = Duration::from_millis(10);
        self.owed += Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        if self.owed < LEAST {
            return Ok(());
        }
        let began = Instant::now();
        self.wait(self.owed)?;
        self.owed = self.owed.saturating_sub(began.elapsed());
        Ok(())
    }
}

struct Scrub {
    shared: Arc<Shared>,
    pace: Pace,
}

impl Scrub {
    fn run(mut self) {
        let mut rounds = || -> Result<Infallible, Closed> {
            self.pace.wait(self.shared.options.scrub_after)?;
            loop {
                self.pace.wait(self.due_in())?;
                if self.shared.is_ready() {
                    self.pass()?;
                } else {
                    self.pace.wait(Duration::from_secs(1))?;
                }
            }
        };
        let Err(Closed) = rounds();
    }

    /// How long until the next pass is to begin, or to go on.
    fn due_in(&self) -> Duration {
        let note = std::fs::metadata(self.shared.layout.scrub()).and_then(|found| found.modified());
        match (note, self.position()) {
            (Ok(ended), 0) => {
                self.shared.options.scrub_every.saturating_sub(ended.elapsed().unwrap_or_default())
            }
            _ => Duration::ZERO,
        }
    }

    /// One pass over everything, or the rest of one.
    fn pass(&mut self) -> Result<(), Closed> {
        let shared = self.shared.clone();
        let list = || segment::list(&shared.layout).unwrap_or_default();
        let from = self.position();
        let segments = list();
        let newest = segments.last().map_or(0, |(id, _)| *id);
        for (id, size) in segments.into_iter().filter(|(id, _)| *id >= from) {
            self.segment(id, size, u64::MAX)?;
            self.note(id.saturating_add(1));
        }
        // What was copied out of segments before they were reached has kept its number.
        let moved_below = (u64::from(newest) + 1) << 32;
        for (id, size) in list().into_iter().filter(|(id, _)| *id > newest) {
            self.segment(id, size, moved_below)?;
        }
        shared.counters.scrub_passes.add(1);
        let read = shared.counters.scrub_pass_bytes.get();
        shared.counters.scrub_pass_bytes.set(0);
        self.note(0);
        tracing::info!(read, "everything that is stored was scrubbed");
        Ok(())
    }

    /// Proves the records of a segment with numbers below a bound. One that is gone is left out.
    fn segment(&mut self, id: u32, size: u64, below: u64) -> Result<(), Closed> {
        let shared = self.shared.clone();
        let Ok(file) = shared.layout.files().open(&shared.layout.segment(id)).map(Arc::new) else {
            return Ok(());
        };
        let cold = Cold::look(&file, once(0..size));
        let mut scan = Scan::new(id, file.clone(), 0, size);
        let mut at = FIRST_RECORD;
        loop {
            match scan.next() {
                Ok(Some(Found::Record { place, head, front })) if head.live && head.sequence < below => {
                    let fingerprint = shared.keys.fingerprint(front.key);
                    let key = CacheKey::from_stored(front.key).ok();
                    if shared.directory.find_place(fingerprint, place).is_some() {
                        self.record(&file, fingerprint, place, &head, key)?;
                    }
                }
                Ok(Some(Found::Record { .. })) => {}
                Ok(Some(Found::Damage { offset, bytes, fault, .. })) => {
                    self.damage(id, offset, bytes, fault);
                }
                Ok(None) => break,
                Err(error) => {
                    shared.read_failed("scrub a segment", &error);
                    break;
                }
            }
            self.read(scan.offset().saturating_sub(at))?;
            at = scan.offset();
        }
        cold.let_go(&file);
        Ok(())
    }

    fn record(
        &mut self,
        file: &StoreFile,
        fingerprint: Fingerprint,
        place: Place,
        head: &Head,
        key: Option<CacheKey>,
    ) -> Result<(), Closed> {
        if let Some(body) = head.file() {
            let Some(key) = key else { return Ok(()) };
            let (variant, sequence) = (head.variant, head.sequence);
            let owner = Owner { key, fingerprint, variant, file: body, sequence };
            return match body.kind {
                FileKind::Blob => self.blob(owner),
                FileKind::Partial => self.partial(owner),
            };
        }
        let mut bytes = vec![0; place.length as usize];
        match file.read_full(&mut bytes, u64::from(place.offset)) {
            Ok(read) => {
                if let Err(fault) = Record::decode(bytes.get(..read).unwrap_or(&[])) {
                    self.bad_record(fingerprint, place, fault);
                }
            }
            Err(error) => self.shared.read_failed("scrub a record", &error),
        }
        Ok(())
    }

    /// Bytes that are no record: what the directory says to be there is damaged.
    fn damage(&self, id: u32, offset: u64, bytes: u64, fault: RecordFault) {
        self.shared.directory.each_within(id, offset..offset + bytes, |nominees| {
            // What was still being written when the pass began is whole by now.
            let bad = |place| record_at(&self.shared, &Filter::default(), place).is_none();
            for nominee in nominees.iter().filter(|nominee| bad(nominee.place)) {
                self.bad_record(nominee.fingerprint, nominee.place, fault);
            }
        });
    }

    fn bad_record(&self, fingerprint: Fingerprint, place: Place, fault: RecordFault) {
        // It may have been copied and its segment unlinked since.
        if self.shared.directory.find_place(fingerprint, place).is_some() {
            self.shared.counters.scrub_damaged.add(1);
            self.shared.blobs.hint(Hint::BadRecord(fingerprint, place, Some(fault)));
        }
    }

    fn blob(&mut self, owner: Owner) -> Result<(), Closed> {
        let shared = self.shared.clone();
        let (blobs, digest, len) = (&shared.blobs, owner.file.name, owner.file.len);
        self.prove(owner, |step| {
            let Some(file) = blobs.open_file(&digest, len, Reading::Blocking)? else { return Ok(()) };
            let cold = Cold::look(&file, once(0..len));
            let values = blobs.prove_file(&file, &digest, len, step)?;
            cold.let_go(&file);
            if has_tree(len) && !blobs.has_sound_tree(&digest, len) {
                blobs.write_new_tree(&digest, len, &values);
            }
            Ok(())
        })
    }

    fn partial(&mut self, owner: Owner) -> Result<(), Closed> {
        let shared = self.shared.clone();
        let name = owner.file.name;
        self.prove(owner, |step| {
            let partial = shared.partials.open(&name)?;
            let cold = Cold::look(partial.file(), partial.runs().iter());
            partial.prove_all(step)?;
            cold.let_go(partial.file());
            Ok(())
        })
    }

    /// Has a body proved, at its pace, and judges it. `prove` says with each step how many bytes it has read, and ends with an
    /// error of that.
    fn prove(
        &mut self,
        owner: Owner,
        prove: impl FnOnce(&mut dyn FnMut(u64) -> Result<(), ReadError>) -> Result<(), ReadError>,
    ) -> Result<(), Closed> {
        let mut closed = false;
        let proved = prove(&mut |bytes| {
            closed = closed || self.read(bytes).is_err();
            if closed { Err(ReadError::Aborted) } else { Ok(()) }
        });
        if closed {
            return Err(Closed);
        }
        self.judge(owner, proved);
        Ok(())
    }

    /// Tells the writer of a body that is not what it was.
    fn judge(&self, owner: Owner, proved: Result<(), ReadError>) {
        let shared = &self.shared;
        match proved {
            Ok(()) => {}
            // It may have left with its record, or become a blob, which the record names by now.
            Err(ReadError::Unreadable { kind: io::ErrorKind::NotFound, .. }) if !self.is_named(&owner) => {}
            Err(ReadError::Unreadable { kind, .. }) if kind != io::ErrorKind::NotFound => {
                shared.read_failed("scrub a body", &kind.into());
            }
            Err(_) => {
                shared.counters.scrub_damaged.add(1);
                shared.blobs.condemn(owner);
            }
        }
    }

    /// Whether the record of this response still names this body.
    fn is_named(&self, owner: &Owner) -> bool {
        let nominee = self.shared.directory.find_variant(owner.fingerprint, owner.variant);
        let names = |head: Head| head.file() == Some(owner.file);
        nominee.is_some_and(|nominee| self.shared.segments.head(nominee.place).is_ok_and(names))
    }

    fn read(&mut self, bytes: u64) -> Result<(), Closed> {
        self.shared.counters.scrubbed_bytes.add(bytes);
        self.shared.counters.scrub_pass_bytes.add(bytes);
        if self.shared.is_closing() {
            return Err(Closed);
        }
        self.pace.read(bytes)
    }

    /// The segment to go on with; zero between two passes, and where there is no sound note.
    fn position(&self) -> u32 {
        let layout = &self.shared.layout;
        let bytes = layout.files().read(&layout.scrub()).unwrap_or_default();
        let Some((number, check)) = bytes.split_first_chunk::<4>() else { return 0 };
        if *check == crc32c::crc32c(number).to_le_bytes() { u32::from_le_bytes(*number) } else { 0 }
    }

    /// ```text
    /// offset  bytes  what (little-endian)
    ///      0      4  the segment to go on with, zero when the pass ended: then the file's own time says when
    ///      4      4  CRC-32C of the four before
    /// ```
    fn note(&self, position: u32) {
        let layout = &self.shared.layout;
        let number = position.to_le_bytes();
        let bytes = [number, crc32c::crc32c(&number).to_le_bytes()].concat();
        if let Err(error) = layout.replace(&layout.scrub(), &bytes) {
            tracing::debug!(%error, "cannot note how far the scrub has come");
        }
    }
}

/// The windows of a file that are not in the page cache.
struct Cold(Vec<u64>);

impl Cold {
    /// Looks at some ranges of a file.
    fn look(file: &StoreFile, ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        // Only whole pages are let go of.
        let windows =
            |range: Range<u64>| (range.start - range.start % BLOCK..range.end).step_by(WINDOW as usize);
        let windows = ranges.into_iter().flat_map(windows);
        Self(windows.filter(|at| file.read_resident(&mut [0], *at) == 0).collect())
    }

    fn let_go(&self, file: &StoreFile) {
        for at in &self.0 {
            file.dont_need(*at, WINDOW);
        }
    }
}

/// One pass, at once and at any rate.
#[cfg(test)]
pub(crate) fn pass(shared: &Arc<Shared>) {
    unpaced(shared, Scrub::pass);
}

/// One segment, as if this had been its size when the pass began.
#[cfg(test)]
pub(crate) fn segment(shared: &Arc<Shared>, id: u32, size: u64) {
    unpaced(shared, |scrub| scrub.segment(id, size, u64::MAX));
}

/// The body of one partial, as if the pass had just read its record.
#[cfg(test)]
pub(crate) fn partial(shared: &Arc<Shared>, owner: Owner) {
    unpaced(shared, |scrub| scrub.partial(owner));
}

#[cfg(test)]
fn unpaced(shared: &Arc<Shared>, run: impl FnOnce(&mut Scrub) -> Result<(), Closed>) {
    let (_stop, stopped) = channel();
    let pace = Pace { stopped, rate: u64::MAX, owed: Duration::ZERO };
    run(&mut Scrub { shared: shared.clone(), pace }).unwrap();
}
