//! Counting what partials take when it is not what their records say: a fill writes into one, and no record follows.
//!
//! Directory, eviction order and the account of all blobs have the same figure for an entry, so that what is taken off when it
//! leaves is what it was counted for.

use super::{Phase, Writer};
use crate::blob::BLOCK;
use crate::command::Grown;
use crate::directory::EntryId;
use crate::record::FileKind;

impl Writer {
    /// A partial has grown. What never shrinks takes the most that anybody has seen.
    pub(super) fn grown(&mut self, grown: Grown) {
        let Grown { fingerprint, variant, name, blocks, reservation } = grown;
        let entry = self.shared.directory.find_variant(fingerprint, variant).filter(|entry| {
            let file = self.shared.segments.head(entry.place).ok().and_then(|head| head.file());
            file.is_some_and(|file| file.kind == FileKind::Partial && file.name == name)
        });
        match entry {
            Some(entry) => self.resize(entry.id, name.prefix(), blocks),
            // Its record has not been found yet. The sweep will see.
            None if !self.is_ready() => self.written_blocks += u64::from(blocks),
            None => {}
        }
        self.shared.counters.blob_bytes.set(self.blob_bytes());
        drop(reservation);
    }

    /// The partial of this entry takes at least so many blocks.
    pub(super) fn resize(&mut self, id: EntryId, prefix: u64, blocks: u32) {
        let Some(entry) = self.shared.directory.get(id) else { return };
        let Some(more) = blocks.checked_sub(entry.blob_blocks).filter(|more| *more > 0) else { return };
        self.shared.directory.resize(id, blocks);
        self.eviction.remove(id);
        let size = u64::from(entry.place.length) + u64::from(blocks) * BLOCK;
        self.eviction.insert(id, size, entry.fingerprint.0);
        self.order.changed = true;
        match &mut self.phase {
            Phase::Ready => self.blob_blocks += u64::from(more),
            Phase::Recovering(recovering) => {
                self.written_blocks += u64::from(more);
                // Not one owner more, but what counts in the end.
                recovering.added.push((prefix, blocks));
                recovering.dropped.push(prefix);
            }
        }
        self.shared.counters.blob_bytes.set(self.blob_bytes());
    }
}
