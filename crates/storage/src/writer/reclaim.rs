//! Making room: the longest unused leave, and the segment with the fewest live bytes is copied and unlinked.
//!
//! Evicting a small response frees nothing at once, it makes bytes dead; only compaction gives them back. So
//! the two alternate: entries leave until an eighth of the segments is dead, then the emptiest segment goes.
//! Both work in small steps, and one segment's size is kept free so that copying never breaks the limit. How much
//! room there may be at all is decided in `space`.
//!
//! What cannot be read says nothing about what lies there: nothing is dropped for it. Its segment stays, and is tried again after a
//! while; a response that stays unreadable is a miss, and leaves when it is stored anew or its turn comes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::Writer;
use super::segments::{Segment, Sums};
use crate::blob::{BLOCK, file_blocks};
use crate::directory::Place;
use crate::index::Change;
use crate::record::Record;
use crate::segment::{FIRST_RECORD, Found, Scan};

/// Bytes that one step of compaction copies, at most one record more.
const STEP_BYTES: u64 = 1 << 20;
/// Closed segments smaller than a quarter are merged when there are more of them than this.
const SMALL_SEGMENTS: usize = 8;
/// Seconds for which a segment is left alone after a part of it could not be read.
const UNREADABLE_SECS: u32 = 10;

/// A segment whose live records are being copied.
pub(super) struct Compaction {
    id: u32,
    scan: Scan,
    /// A record of it could not be read, and stays where it is.
    unreadable: bool,
    /// Whoever waits for the end of it.
    _done: Option<Arc<oneshot::Sender<()>>>,
}

impl Compaction {
    pub(super) const fn id(&self) -> u32 {
        self.id
    }
}

/// Segments that a repair wants copied, and who waits for each lot of them.
#[derive(Default)]
pub(super) struct Rewrites(VecDeque<(u32, Arc<oneshot::Sender<()>>)>);

impl Rewrites {
    pub(super) fn extend(&mut self, segments: Vec<u32>, done: oneshot::Sender<()>) {
        let done = Arc::new(done);
        self.0.extend(segments.into_iter().map(|id| (id, done.clone())));
    }
}

impl Writer {
    /// Whether there is something to do before the next command comes.
    pub(super) fn has_work(&self) -> bool {
        !self.stuck
            && self.is_ready()
            && (self.has_rewrites()
                || (self.compaction.is_some()
                    || self.is_waited_for()
                    || self.is_over_target()
                    || (!self.is_held() && self.is_littered()))
                    && self.can_reclaim())
    }

    /// One small step ahead of need, or for who waits.
    pub(super) fn work(&mut self) {
        if !self.has_work() {
            if self.is_waited_for() {
                self.refuse_waiting();
            }
            return;
        }
        if self.is_waited_for() {
            self.reclaim_for_waiting();
        } else if self.compaction.is_some() {
            self.compact_step();
        } else if self.has_rewrites() {
            self.start_rewrite();
        } else if !self.is_held() && self.is_littered() {
            self.start_compaction();
        } else {
            self.stuck = !self.reclaim();
        }
    }

    fn has_rewrites(&self) -> bool {
        !self.rewrites.0.is_empty() && !self.is_held()
    }

    /// Begins to copy the next segment that a repair wants copied.
    fn start_rewrite(&mut self) {
        let Some((id, done)) = self.rewrites.0.pop_front() else { return };
        self.active.take_if(|active| active.id == id);
        self.compact(id, Some(done));
    }

    /// Ends a compaction that is under way, so that no segment leaves while they are walked over.
    pub(super) fn finish_compaction(&mut self) {
        while self.compaction.is_some() {
            self.compact_step();
        }
    }

    /// Whether a walk over the segments is going on, which needs them to stay.
    pub(super) fn is_held(&self) -> bool {
        self.shared.compaction_holds.load(Ordering::SeqCst) > 0
    }

    pub(super) fn is_compacting(&self) -> bool {
        self.compaction.is_some()
    }

    fn can_reclaim(&self) -> bool {
        self.compaction.is_some() || !self.eviction.is_empty() || (!self.is_held() && self.has_littered())
    }

    /// Dead bytes near a quarter of all, or many small segments.
    fn is_littered(&self) -> bool {
        let Sums { bytes, dead, .. } = self.segments.sums();
        let dead = dead - self.left_alone().map(|one| one.dead()).sum::<u64>();
        let least = self.shared.options.segment_bytes() / 4;
        (dead * 5 > bytes && dead > least && self.has_littered()) || self.has_many_small()
    }

    /// Whether a segment that can be compacted has dead bytes.
    fn has_littered(&self) -> bool {
        let others = self.not_to_compact().filter(|one| one.dead() > 0);
        self.segments.sums().littered > others.count()
    }

    /// Whether there are too many small segments among those that can be compacted.
    fn has_many_small(&self) -> bool {
        let others = self.not_to_compact().filter(|one| self.segments.is_small(*one));
        self.segments.sums().small > SMALL_SEGMENTS + others.count()
    }

    /// The segment that is appended to and those that are left alone.
    fn not_to_compact(&self) -> impl Iterator<Item = Segment> {
        let active = self.active.as_ref().and_then(|active| self.segments.get(active.id));
        active.into_iter().chain(self.left_alone())
    }

    fn left_alone(&self) -> impl Iterator<Item = Segment> {
        self.unreadable.keys().filter(|id| self.is_left_alone(**id)).filter_map(|id| self.segments.get(*id))
    }

    /// Whether it could not be read a while ago.
    fn is_left_alone(&self, id: u32) -> bool {
        self.unreadable.get(&id).is_some_and(|until| *until > self.shared.now())
    }

    /// One step towards more room. False when there is nothing left to take.
    pub(super) fn reclaim(&mut self) -> bool {
        if !self.is_ready() {
            return false;
        }
        if self.compaction.is_some() {
            self.compact_step();
            return true;
        }
        let Sums { bytes, dead, .. } = self.segments.sums();
        let worth_it = dead * 8 > bytes || self.eviction.is_empty();
        if worth_it && dead > 0 {
            if self.is_held() {
                // Nothing that is evicted now would free a segment.
                return self.evict_blob();
            }
            if self.start_compaction() {
                return true;
            }
        }
        self.evict()
    }

    pub(super) fn evict(&mut self) -> bool {
        let Some(id) = self.eviction.evict() else { return false };
        self.kill(id);
        self.shared.counters.evicted.add(1);
        true
    }

    /// Evicts the next victim if that frees something at once.
    fn evict_blob(&mut self) -> bool {
        let victim = self.eviction.victim().and_then(|id| self.shared.directory.get(id));
        victim.is_some_and(|nominee| nominee.blob_blocks > 0) && self.evict()
    }

    /// The closed segment with the smallest share of live bytes, if it has dead ones and can be read.
    fn emptiest(&self) -> Option<u32> {
        let active = self.active.as_ref().map(|active| active.id);
        self.segments
            .iter()
            .filter(|(id, segment)| Some(*id) != active && segment.dead() > 0 && !self.is_left_alone(*id))
            .min_by_key(|(_, segment)| segment.live * 1024 / segment.size.max(1))
            .map(|(id, _)| id)
    }

    /// The smallest closed segment, if there are too many small ones.
    fn smallest(&self) -> Option<u32> {
        if !self.has_many_small() {
            return None;
        }
        let active = self.active.as_ref().map(|active| active.id);
        let free = |id| Some(id) != active && !self.is_left_alone(id);
        let closed = self.segments.iter().filter(|(id, _)| free(*id));
        closed.min_by_key(|(_, one)| one.size).map(|(id, _)| id)
    }

    /// Begins to copy the best segment; closes the active one first if only that has dead bytes.
    fn start_compaction(&mut self) -> bool {
        let littered = self.emptiest().or_else(|| self.smallest());
        let Some(id) = littered else {
            let active = self
                .active
                .take_if(|active| self.segments.get(active.id).is_some_and(|segment| segment.dead() > 0));
            return active.is_some();
        };
        self.compact(id, None)
    }

    /// Begins to copy a segment. False when there is no such one.
    fn compact(&mut self, id: u32, done: Option<Arc<oneshot::Sender<()>>>) -> bool {
        let Some(segment) = self.segments.get(id) else { return false };
        if segment.live == 0 {
            self.drop_segment(id);
            self.account();
            return true;
        }
        match self.shared.segments.open(id) {
            Ok(file) => {
                let scan = Scan::new(id, file, FIRST_RECORD, segment.size);
                self.compaction = Some(Compaction { id, scan, unreadable: false, _done: done });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.shared.counters.read_errors.add(1);
                tracing::warn!(segment = id, %error, "a segment is gone and is dropped");
                self.drop_segment(id);
            }
            Err(error) => self.leave_alone(id, &error),
        }
        true
    }

    /// A segment cannot be read just now: it stays as it is, and so does what is in it.
    fn leave_alone(&mut self, id: u32, error: &io::Error) {
        self.shared.read_failed("read a segment to compact it", error);
        self.unreadable.insert(id, self.shared.now() + UNREADABLE_SECS);
    }

    /// Copies the next live records. Their sequence numbers stay, so that a replay in any order ends the same.
    fn compact_step(&mut self) {
        let Some(mut compaction) = self.compaction.take() else { return };
        let until = compaction.scan.offset() + STEP_BYTES;
        while compaction.scan.offset() < until {
            let (place, print) = match compaction.scan.next() {
                Ok(Some(Found::Record { place, head, front })) if head.live => {
                    (place, self.shared.keys.fingerprint(front.key))
                }
                Ok(Some(_)) => continue,
                Ok(None) => {
                    if !compaction.unreadable {
                        self.shared.counters.compacted.add(1);
                        self.drop_segment(compaction.id);
                    }
                    self.account();
                    return;
                }
                Err(error) => {
                    self.leave_alone(compaction.id, &error);
                    self.account();
                    return;
                }
            };
            let Some(nominee) = self.shared.directory.find_place(print, place) else { continue };
            let bytes = match self.record_to_copy(place) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.leave_alone(compaction.id, &error);
                    compaction.unreadable = true;
                    continue;
                }
            };
            if let Err(fault) = Record::decode(&bytes) {
                self.compaction = Some(compaction);
                self.drop_bad_record(print, place, Some(fault));
                return;
            }
            match self.copy_record(place, bytes) {
                Ok(to) => {
                    self.shared.directory.relocate(nominee.id, to);
                    self.relocated(print, nominee.variant, place, to);
                }
                Err(error) => {
                    self.shared.write_failed("copy a record", &error);
                    // The segment stays as it is until the disk takes something again.
                    self.stuck = true;
                    return;
                }
            }
        }
        self.compaction = Some(compaction);
    }

    /// The bytes of a record, as far as its segment reaches.
    fn record_to_copy(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.length as usize];
        let read =
            self.shared.segments.open(place.segment)?.read_full(&mut bytes, u64::from(place.offset))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn copy_record(&mut self, place: Place, bytes: Vec<u8>) -> io::Result<Place> {
        let len = bytes.len() as u64;
        let full = |size: u64| size + len > self.shared.options.segment_bytes();
        if self.active.as_ref().is_some_and(|active| full(active.size)) {
            self.active = None;
        }
        if !self.open_active() {
            return Err(ErrorKind::StorageFull.into());
        }
        let Some(active) = &mut self.active else { return Err(ErrorKind::StorageFull.into()) };
        if let Err(error) = active.file.write_all(&[bytes], active.size) {
            let _ = active.file.set_len(active.size);
            return Err(error);
        }
        let offset = u32::try_from(active.size).unwrap_or(u32::MAX);
        let to = Place { segment: active.id, offset, length: place.length };
        let before = file_blocks(active.size);
        active.size += len;
        self.shared.counters.segment_bytes.add((file_blocks(active.size) - before) * BLOCK);
        let size = active.size;
        self.segments.change(to.segment, |segment| {
            segment.size = size;
            segment.live += len;
        });
        Ok(to)
    }

    fn relocated(
        &mut self,
        fingerprint: crate::directory::Fingerprint,
        variant: crate::directory::VariantTag,
        from: Place,
        to: Place,
    ) {
        let lose = |segment: &mut Segment| segment.live = segment.live.saturating_sub(u64::from(from.length));
        self.segments.change(from.segment, lose);
        let file = self.shared.segments.head(to).ok().and_then(|head| head.file());
        let add = Some(crate::index::Entry { variant, place: to, file });
        let watermark = self.watermark();
        self.index.change(Change { fingerprint, drop: Some(from), add }, watermark);
    }

    pub(super) fn drop_segment(&mut self, id: u32) {
        self.unreadable.remove(&id);
        let size = self.segments.remove(id).map_or(0, |segment| file_blocks(segment.size) * BLOCK);
        self.shared.counters.segment_bytes.sub(size);
        self.shared.segments.forget(id);
        self.shared.shortened.forget(id);
        let path = self.shared.layout.segment(id);
        if let Err(error) = self.shared.layout.files().remove(&path) {
            self.not_removed(size, "remove a segment", &error);
        }
    }
}

/// Keeps every segment where it is while it lives.
#[derive(Debug)]
pub(crate) struct Hold(Arc<crate::shared::Shared>);

impl Hold {
    /// Segments that are being compacted already still go; a barrier command tells when that is over.
    pub(crate) fn new(shared: Arc<crate::shared::Shared>) -> Self {
        shared.compaction_holds.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.compaction_holds.fetch_sub(1, Ordering::SeqCst);
    }
}
