//! Appending: what waits goes out in one write, then into directory, eviction order, memory and index.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::segments::Segment;
use super::{Active, Phase, Writer, sequence};
use crate::blob::{BLOCK, file_blocks};
use crate::command::{Append, AppendBody};
use crate::directory::Place;
use crate::index::{Change, Entry};
use crate::layout::TempFile;
use crate::partial::FreshPartial;
use crate::record::{ALIGN, BodyFile};
use crate::segment::{self, FIRST_RECORD};
use crate::stored::Core;

/// An append that waits to be written.
pub(super) struct Pending {
    pub(super) append: Box<Append>,
    pub(super) reply: oneshot::Sender<bool>,
}

/// A record that is written with others in one system call.
struct Written {
    core: Arc<Core>,
    place: Place,
    file: Option<BodyFile>,
    /// The file is another record's, which goes when this one is written.
    grown: bool,
    reply: oneshot::Sender<bool>,
}

/// Where a body is now.
enum Placed {
    /// It belongs into the record.
    Inline(Bytes),
    /// In a file that is new, or of which this is one more owner.
    File,
    /// In the partial of a record that this one is to replace.
    Grown,
}

/// Records that go out together.
#[derive(Default)]
struct Group {
    parts: Vec<Bytes>,
    bytes: u64,
    records: Vec<Written>,
}

impl Writer {
    /// Writes everything that waits. Whoever waits for it hears how it went.
    pub(super) fn write_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut group = Group::default();
        let mut refused = false;
        for Pending { append, reply } in std::mem::take(&mut self.pending) {
            let inline = match &append.body {
                AppendBody::Inline(body) => body.len(),
                AppendBody::New { .. }
                | AppendBody::Existing
                | AppendBody::Partial { .. }
                | AppendBody::Completed { .. } => 0,
            };
            let len = (append.front.len() as u64 + inline as u64).next_multiple_of(ALIGN);
            if matches!(append.body, AppendBody::Partial { fresh: None, .. } | AppendBody::Completed { .. }) {
                // A record that waits may be about to take the partial along: it is seen only when that is done.
                self.write_group(std::mem::take(&mut group));
            }
            if !self.fits(group.bytes + len + BLOCK) || !self.counts(group.records.len() + 1) {
                // Making room may append to the same segment.
                self.write_group(std::mem::take(&mut group));
                // Where it cannot be made for one, the others do not wait for it to be tried again.
                refused = refused || !self.make_room(len + BLOCK);
                if refused {
                    let _ = reply.send(false);
                    continue;
                }
            }
            let full =
                |active: &Active| active.size + group.bytes + len > self.shared.options.segment_bytes();
            if self.active.as_ref().is_some_and(full) {
                self.write_group(std::mem::take(&mut group));
                self.active = None;
            }
            if !self.open_active() {
                let _ = reply.send(false);
                continue;
            }
            let existing = matches!(
                append.body,
                AppendBody::Existing | AppendBody::Partial { fresh: None, .. } | AppendBody::Completed { .. }
            );
            match self.place_body(&append.core, append.body) {
                Ok(body) => self.gather(&mut group, append.core, append.front, body, len, reply),
                // The body of a freshened response, or a partial that grew, was evicted meanwhile: the disk is well, there is only nothing to keep.
                Err(error) if existing && error.kind() == io::ErrorKind::NotFound => {
                    let _ = reply.send(false);
                }
                Err(error) => {
                    self.shared.write_failed("place a body", &error);
                    let _ = reply.send(false);
                }
            }
        }
        self.write_group(group);
    }

    fn gather(
        &mut self,
        group: &mut Group,
        core: Arc<Core>,
        mut front: crate::record::EncodedFront,
        body: Placed,
        len: u64,
        reply: oneshot::Sender<bool>,
    ) {
        let Some(active) = &mut self.active else { return };
        let number = sequence(active.id, active.records);
        active.records += 1;
        core.sequence.store(number, Ordering::Relaxed);
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let offset = narrow(active.size + group.bytes);
        let place = Place { segment: active.id, offset, length: narrow(len) };
        let front = Bytes::copy_from_slice(front.seal(number));
        let grown = matches!(body, Placed::Grown);
        let (file, body) = match body {
            Placed::Inline(body) => (None, body),
            Placed::File | Placed::Grown => (Some(core.file()), Bytes::new()),
        };
        let padding = len as usize - front.len() - body.len();
        group.parts.push(front);
        group.parts.push(body);
        group.parts.push(Bytes::from_static(&[0; ALIGN as usize]).slice(..padding.min(ALIGN as usize)));
        group.bytes += len;
        group.records.push(Written { core, place, file, grown, reply });
    }

    fn write_group(&mut self, group: Group) {
        let Some(active) = &mut self.active else { return };
        if group.records.is_empty() {
            return;
        }
        let written = active.file.write_all(&group.parts, active.size);
        if let Err(error) = written {
            // What may have been written of it is cut off or, failing that, stays as dead bytes in a closed segment.
            let _ = active.file.set_len(active.size);
            let id = active.id;
            self.active = None;
            self.shared.write_failed("append to a segment", &error);
            for record in group.records {
                if let Some(file) = record.file {
                    let kept = record.grown.then_some(file.name);
                    self.release_but(file.kind, file.name, file.blocks(), kept);
                }
                let _ = record.reply.send(false);
            }
            // An empty segment for each failure would add up.
            if self.segments.get(id).is_some_and(|segment| segment.live == 0) && !self.is_held() {
                self.drop_segment(id);
            }
            return;
        }
        self.shared.write_worked();
        let before = file_blocks(active.size);
        active.size += group.bytes;
        self.shared.counters.segment_bytes.add((file_blocks(active.size) - before) * BLOCK);
        self.segments.change(active.id, |segment| segment.size = active.size);
        let mut left = group.records.len();
        for record in group.records {
            left -= 1;
            self.registering = left > 0;
            self.register(&record.core, record.place, record.file);
            let _ = record.reply.send(true);
        }
    }

    /// Makes a written record the one that counts for its variant.
    fn register(&mut self, core: &Arc<Core>, place: Place, file: Option<BodyFile>) {
        let shared = self.shared.clone();
        let mut others = shared.directory.find(core.fingerprint).into_vec();
        if others.is_empty() {
            shared.shadows.arrived(core);
        }
        let blocks = file.map_or(0, |file| file.blocks());
        let now = shared.now();
        let Some(id) = shared.directory.insert(core.fingerprint, core.variant, place, blocks, now) else {
            return;
        };
        let size = u64::from(place.length) + u64::from(blocks) * BLOCK;
        self.eviction.insert(id, size, core.fingerprint.0);
        self.order.changed = true;
        self.segments.change(place.segment, |segment| segment.live += u64::from(place.length));
        let add = Entry { variant: core.variant, place, file };
        let change = Change { fingerprint: core.fingerprint, drop: None, add: Some(add) };
        let watermark = self.watermark();
        self.index.change(change, watermark);
        for old in others.extract_if(.., |other| other.variant == core.variant) {
            // Whatever is freshened or replaced was asked for.
            self.eviction.access(id, core.fingerprint.0);
            self.kill_but(old.id, core.partial.is_some().then_some(core.digest));
            shared.counters.removed.add(1);
        }
        // Others may have written into it since its record was made.
        if core.partial.is_some() {
            self.weigh(id, &core.digest);
        }
        let most = shared.options.variants_per_key.max(1);
        others.sort_by_key(|other| shared.directory.touched(other.id));
        while others.len() >= most {
            let oldest = others.remove(0);
            self.kill(oldest.id);
            shared.counters.evicted.add(1);
        }
        // Whole small bodies and heads of large ones; what is between is proved whole when it is looked up.
        // Partials change and hold files open: each lookup finds them anew.
        if core.partial.is_none() && (core.inline.is_some() || crate::blob::has_tree(core.len)) {
            shared.memory.stored(core, others.is_empty() && self.is_ready(), most);
        } else {
            shared.memory.remove(&core.key);
        }
    }

    /// Makes sure that there is a segment to append to.
    pub(super) fn open_active(&mut self) -> bool {
        if self.active.is_some() {
            return true;
        }
        let id = self.next_segment;
        self.next_segment = id.saturating_add(1);
        match segment::create(&self.shared.layout, id) {
            Ok(file) => {
                self.note_totals();
                let file = Arc::new(file);
                self.shared.segments.add(id, file.clone());
                self.segments.insert(id, Segment { size: FIRST_RECORD, live: 0 });
                self.shared.counters.segment_bytes.add(BLOCK);
                self.active = Some(Active { id, file, size: FIRST_RECORD, records: 0 });
                true
            }
            Err(error) => {
                self.shared.write_failed("create a segment", &error);
                false
            }
        }
    }

    /// Puts a large body where its digest says.
    fn place_body(&mut self, core: &Core, body: AppendBody) -> io::Result<Placed> {
        let (temp, tree, reservation) = match body {
            AppendBody::Inline(body) => return Ok(Placed::Inline(body)),
            AppendBody::New { temp, tree, reservation } => (temp, tree, reservation),
            AppendBody::Existing => {
                self.shared.layout.files().len(&self.shared.layout.blob(&core.digest))?;
                self.own(core.file(), true);
                return Ok(Placed::File);
            }
            AppendBody::Partial { fresh, reservation } => {
                let placed = if fresh.is_some() { Placed::File } else { Placed::Grown };
                self.place_partial(core, fresh)?;
                drop(reservation);
                return Ok(placed);
            }
            AppendBody::Completed { partial, tree, reservation } => {
                // The record that names the partial goes after this one has come, and takes the partial's names along.
                let temp = self.shared.layout.temp_name_of(self.shared.layout.partial(&partial))?;
                self.place_blob(core, temp, tree)?;
                drop(reservation);
                return Ok(Placed::File);
            }
        };
        self.place_blob(core, temp, tree)?;
        drop(reservation);
        Ok(Placed::File)
    }

    /// Gives a partial its name, or sees that it still has it. The record that named it before is about to go.
    fn place_partial(&mut self, core: &Core, fresh: Option<FreshPartial>) -> io::Result<()> {
        let (data, map) =
            (self.shared.layout.partial(&core.digest), self.shared.layout.partial_map(&core.digest));
        match fresh {
            Some(fresh) => {
                fresh.data.rename(&data)?;
                fresh.map.rename(&map)?;
            }
            None => {
                self.shared.layout.files().len(&data)?;
            }
        }
        self.own(core.file(), false);
        Ok(())
    }

    fn place_blob(&mut self, core: &Core, temp: TempFile, tree: Option<TempFile>) -> io::Result<()> {
        let blob = self.shared.layout.blob(&core.digest);
        let files = self.shared.layout.files();
        let existed = files.exists(&blob);
        if let Some(parent) = blob.parent().filter(|_| !existed)
            && !files.exists(parent)
        {
            let grandparent = parent.parent().filter(|grandparent| !files.exists(grandparent));
            files.make_dir(parent)?;
            self.directories.made(parent);
            if let Some(grandparent) = grandparent {
                self.directories.made(grandparent);
            }
        }
        // A file that is there may be damaged; this one was just hashed, so it takes its place.
        if let Some(tree) = tree {
            tree.rename(&self.shared.layout.tree(&core.digest))?;
        }
        if let Err(error) = temp.rename(&blob) {
            if !existed {
                let _ = files.remove(&self.shared.layout.tree(&core.digest));
            }
            return Err(error);
        }
        self.shared.blobs.forget(&core.digest);
        self.own(core.file(), existed);
        Ok(())
    }

    /// One more record names this file.
    fn own(&mut self, file: BodyFile, existed: bool) {
        let (prefix, blocks) = (file.name.prefix(), file.blocks());
        if let Some(added) = &mut self.added_in_sweep {
            added.insert(prefix);
        }
        if !existed {
            let counted = if self.is_ready() { &mut self.blob_blocks } else { &mut self.written_blocks };
            *counted += u64::from(blocks);
        }
        self.shared.counters.blob_bytes.set(self.blob_bytes());
        match &mut self.phase {
            Phase::Recovering(recovering) => recovering.added.push((file.kind, prefix, blocks)),
            // Records that named it before it was lost name it again.
            Phase::Ready if existed || self.gone.remove(&prefix) => {
                *self.owners.entry(prefix).or_insert(1) += 1
            }
            Phase::Ready => {}
        }
    }
}
