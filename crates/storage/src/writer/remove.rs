//! Removing: the directory forgets first, then the index, then the record is marked dead, and the blob goes last.

use std::io::{self, ErrorKind};
use std::path::Path;

use larder_policy::CacheKey;

use super::segments::Segment;
use super::{Phase, Writer};
use crate::command::Recovered;
use crate::digest::BlobDigest;
use crate::directory::{EntryId, Fingerprint, Nominee, Place};
use crate::index::Change;
use crate::purge::{Doomed, Removal};
use crate::record::{BodyFile, FileKind, RecordFault};

impl Writer {
    /// Removes all variants of a key.
    pub(super) fn remove(&mut self, key: &CacheKey, fingerprint: Fingerprint) -> Removal {
        if !self.is_ready() {
            // What is found later and is older is dead, too.
            let below = self.next_sequence();
            self.shared.removed.add(fingerprint, below);
            if let Err(error) = self.removals.note(fingerprint, below) {
                self.shared.counters.write_errors.add(1);
                tracing::debug!(%error, "a removal cannot be noted: it holds if the process lives on");
            }
        }
        let in_memory = self.shared.memory.remove(key);
        let mut removed = Removal::default();
        for nominee in self.shared.directory.find(fingerprint) {
            removed.add(self.live_at(nominee.place));
            self.kill(nominee.id);
        }
        if !self.is_ready() {
            for entry in self.shared.index.get(fingerprint).unwrap_or_default() {
                removed.add(self.live_at(entry.place));
                self.bury(fingerprint, entry.place);
            }
        }
        self.shared.counters.removed.add(removed.responses);
        removed.responses = removed.responses.max(in_memory as u64);
        removed
    }

    /// What a removal counts for: nothing where a crash left index and directory nominating what was removed before it.
    fn live_at(&self, place: Place) -> Removal {
        match self.shared.segments.head(place) {
            Ok(head) if head.live => Removal { responses: 1, bytes: head.body_len },
            _ => Removal::default(),
        }
    }

    /// Removes records that were found on disk, where they still count.
    pub(super) fn remove_records(&mut self, doomed: &[Doomed]) -> Removal {
        let mut removed = Removal::default();
        for record in doomed {
            let now = self.shared.directory.get(record.id);
            let Some(now) = now.filter(|now| now.fingerprint == record.fingerprint) else { continue };
            // What was copied elsewhere keeps its sequence number; what came in its place has another.
            let head = self.shared.segments.head(now.place).ok();
            if now.place == record.place || head.is_some_and(|head| head.sequence == record.sequence) {
                let bytes = head.filter(|head| head.live).map_or(0, |head| head.body_len);
                removed.add(Removal { responses: 1, bytes });
                self.kill(now.id);
            }
        }
        self.shared.counters.removed.add(removed.responses);
        removed
    }

    /// Removes those that were unused for longest, at most so many. Part of removing everything.
    pub(super) fn remove_oldest(&mut self, most: usize) -> Removal {
        self.shared.memory.remove_where(|_| true);
        let mut removed = Removal::default();
        while removed.responses < most as u64
            && let Some(id) = self.eviction.evict()
        {
            let place = self.shared.directory.get(id).map(|nominee| nominee.place);
            let bytes = place.map_or(0, |place| self.live_at(place).bytes);
            removed.add(Removal { responses: 1, bytes });
            self.kill(id);
        }
        self.shared.counters.removed.add(removed.responses);
        removed
    }

    /// Drops an entry and everything that only it refers to.
    pub(super) fn kill(&mut self, id: EntryId) {
        self.kill_but(id, None);
    }

    /// Drops an entry; the partial `kept` is another one's now.
    pub(super) fn kill_but(&mut self, id: EntryId, kept: Option<BlobDigest>) {
        self.eviction.remove(id);
        self.order.changed = true;
        let Some(nominee) = self.shared.directory.remove(id) else { return };
        let owned = if nominee.blob_blocks > 0 { self.read_owned(&nominee) } else { None };
        self.bury(nominee.fingerprint, nominee.place);
        self.lost_live_bytes(nominee.place);
        if let Some((file, key)) = owned {
            // The head in memory would lead to a body that is gone.
            if let Some(key) = key.and_then(|key| CacheKey::from_stored(&key).ok()) {
                self.shared.memory.remove_variant(&key, nominee.variant);
            }
            self.release_but(file.kind, file.name, nominee.blob_blocks, kept);
        }
    }

    /// Takes a record that the directory does not have any more out of the index, and marks it dead.
    pub(super) fn bury(&mut self, fingerprint: Fingerprint, place: Place) {
        if let Phase::Recovering(recovering) = &mut self.phase {
            recovering.buried.insert(place);
        }
        let watermark = self.watermark();
        self.index.change(Change { fingerprint, drop: Some(place), add: None }, watermark);
        if self.segments.get(place.segment).is_none() {
            return;
        }
        if let Err(error) = self.shared.segments.mark_dead(place) {
            // What is not there any more, or was damaged, needs no mark.
            let nothing_there = matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
            self.shared.counters.write_errors.add(u64::from(!nothing_there));
            tracing::debug!(%error, segment = place.segment, "a record cannot be marked dead");
        }
    }

    /// Bytes of a segment are dead now. A closed segment without live bytes is unlinked.
    pub(super) fn lost_live_bytes(&mut self, place: Place) {
        let lose =
            |segment: &mut Segment| segment.live = segment.live.saturating_sub(u64::from(place.length));
        let Some(segment) = self.segments.change(place.segment, lose) else { return };
        let empty = segment.live == 0;
        let active = self.active.as_ref().is_some_and(|active| active.id == place.segment);
        let compacted = self.compaction.as_ref().is_some_and(|compaction| compaction.id() == place.segment);
        if empty && !active && !compacted && self.is_ready() && !self.is_held() {
            self.drop_segment(place.segment);
        }
    }

    /// The file that a record names, and its key.
    fn read_owned(&self, nominee: &Nominee) -> Option<(BodyFile, Option<String>)> {
        let head = self.shared.segments.head(nominee.place).ok()?;
        Some((head.file()?, self.shared.segments.key(nominee.place).ok()))
    }

    /// One record fewer names this file; the last one takes it along, unless it is the one `kept`.
    pub(super) fn release_but(
        &mut self,
        kind: FileKind,
        name: BlobDigest,
        blocks: u32,
        kept: Option<BlobDigest>,
    ) {
        let prefix = name.prefix();
        if let Phase::Recovering(recovering) = &mut self.phase {
            // Other owners may not have been found yet: the sweep will see.
            recovering.dropped.push(prefix);
            if Some(name) == kept {
                // The record that came has counted all of it again.
                self.written_blocks = self.written_blocks.saturating_sub(u64::from(blocks));
            }
            return;
        }
        match self.owners.get_mut(&prefix) {
            Some(owners) if *owners > 2 => *owners -= 1,
            Some(_) => {
                self.owners.remove(&prefix);
            }
            None if self.gone.remove(&prefix) => {}
            None => {
                self.blob_blocks = self.blob_blocks.saturating_sub(u64::from(blocks));
                if Some(name) == kept {
                    self.shared.counters.blob_bytes.set(self.blob_bytes());
                } else {
                    self.unlink(kind, &name);
                }
            }
        }
    }

    pub(super) fn unlink(&mut self, kind: FileKind, name: &BlobDigest) {
        match kind {
            FileKind::Blob => self.unlink_blob(name),
            FileKind::Partial => self.unlink_partial(name),
        }
    }

    /// The map goes last: bytes without it are swept, and it alone says nothing.
    fn unlink_partial(&mut self, name: &BlobDigest) {
        self.shared.partials.forget(name);
        let layout = self.shared.layout.clone();
        for path in [layout.partial(name), layout.partial_map(name)] {
            // One that is not there has become whole, and is a blob now.
            self.remove_file(&path, "remove a partial");
        }
        self.shared.counters.blob_bytes.set(self.blob_bytes());
    }

    pub(super) fn unlink_blob(&mut self, digest: &BlobDigest) {
        self.shared.blobs.forget(digest);
        let layout = self.shared.layout.clone();
        let blob = layout.blob(digest);
        // Of a small blob there is no tree.
        for path in [&layout.tree(digest), &blob] {
            self.remove_file(path, "remove a blob");
        }
        self.remove_blob_directories(&blob);
    }

    /// Directories go when they are empty.
    pub(super) fn remove_blob_directories(&mut self, blob: &Path) {
        for parent in blob.ancestors().skip(1).take(2) {
            if self.shared.layout.files().remove_dir(parent).is_err() {
                break;
            }
            self.directories.removed(parent);
        }
        self.shared.counters.blob_bytes.set(self.blob_bytes());
    }

    /// Removes a file if it is there. One that stays goes on counting.
    fn remove_file(&mut self, path: &Path, what: &str) {
        let files = self.shared.layout.files();
        if let Err(error) = files.remove(path) {
            let bytes = files.allocated(path).unwrap_or(0);
            self.not_removed(bytes, what, &error);
        }
    }

    /// Bytes that should be free are not, and go on counting.
    pub(super) fn not_removed(&mut self, bytes: u64, what: &str, error: &io::Error) {
        if error.kind() != ErrorKind::NotFound {
            self.unremoved += bytes;
            self.shared.counters.other_bytes.add(bytes);
            self.shared.write_failed(what, error);
        }
    }

    pub(super) fn remove_orphans(&mut self, kind: FileKind, names: Vec<BlobDigest>) {
        for name in names {
            let added = |set: &std::collections::HashSet<u64>| set.contains(&name.prefix());
            if self.is_ready() && !self.added_in_sweep.as_ref().is_none_or(added) {
                self.unlink(kind, &name);
            }
        }
    }

    /// A reader found a record damaged, dead or gone.
    pub(super) fn drop_bad_record(
        &mut self,
        fingerprint: Fingerprint,
        place: Place,
        fault: Option<RecordFault>,
    ) {
        match self.shared.directory.find_place(fingerprint, place) {
            Some(nominee) => {
                if let Some(fault) = fault {
                    self.shared.counters.damaged.add(1);
                    let (segment, offset) = (place.segment, place.offset);
                    let key = self.shared.segments.key(place).unwrap_or_else(|_| "(not readable)".to_owned());
                    tracing::warn!(key, segment, offset, %fault, "a damaged record is dropped");
                }
                self.kill(nominee.id);
                self.shared.counters.removed.add(1);
            }
            // The index may still nominate it.
            None if !self.is_ready() => self.bury(fingerprint, place),
            // Copied elsewhere meanwhile, or gone: the next look-up reads from disk again, and finds it where it is.
            None => {}
        }
    }

    /// Puts records into the emptied index again, where they still count.
    pub(super) fn reindex(&mut self, batch: Vec<Recovered>) {
        for found in batch {
            if self.shared.directory.find_place(found.fingerprint, found.place).is_some() {
                let add = Some(found.entry());
                let watermark = self.watermark();
                self.index.change(Change { fingerprint: found.fingerprint, drop: None, add }, watermark);
            }
        }
    }
}
