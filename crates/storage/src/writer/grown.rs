//! Counting what partials take when it is not what their records say: a fill writes into one, and no record follows.
//!
//! Directory, eviction order and the account of all blobs have the same figure for an entry, so that what is taken off when it
//! leaves is what it was counted for. It is weighed here, by the one thread that counts, so that no older figure comes late.

use super::{Phase, Writer};
use crate::blob::BLOCK;
use crate::command::Grown;
use crate::digest::BlobDigest;
use crate::directory::{EntryId, Fingerprint, Nominee, VariantTag};
use crate::record::FileKind;

/// A partial that is weighed again when everything is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unweighed {
    fingerprint: Fingerprint,
    variant: VariantTag,
    name: BlobDigest,
}

impl Writer {
    /// A fill has written into a partial, and no record says so.
    pub(super) fn grown(&mut self, grown: Grown) {
        let Grown { fingerprint, variant, name, reservation } = grown;
        let partial = Unweighed { fingerprint, variant, name };
        match (self.entry_of(partial), &mut self.phase) {
            (Some(entry), _) => self.weigh(entry.id, &name),
            // Its record has not been found yet.
            (None, Phase::Recovering(recovering)) => {
                recovering.unweighed.push(partial);
                self.written_blocks += u64::from(self.shared.partials.blocks(&name).unwrap_or(0));
            }
            (None, Phase::Ready) => {}
        }
        self.shared.counters.blob_bytes.set(self.blob_bytes());
        drop(reservation);
    }

    /// Everything is known: so are those whose partials have to be weighed.
    pub(super) fn weigh_again(&mut self, unweighed: &[Unweighed]) {
        for partial in unweighed {
            if let Some(entry) = self.entry_of(*partial) {
                self.weigh(entry.id, &partial.name);
            }
        }
    }

    fn entry_of(&self, partial: Unweighed) -> Option<Nominee> {
        let entry = self.shared.directory.find_variant(partial.fingerprint, partial.variant)?;
        let file = self.shared.segments.head(entry.place).ok()?.file()?;
        (file.kind == FileKind::Partial && file.name == partial.name).then_some(entry)
    }

    /// Counts the partial of this entry for what it takes now. The entry keeps its place among those that are to leave.
    pub(super) fn weigh(&mut self, id: EntryId, name: &BlobDigest) {
        let Some(blocks) = self.shared.partials.blocks(name) else { return };
        let Some(entry) = self.shared.directory.get(id) else { return };
        let before = entry.blob_blocks;
        match &mut self.phase {
            _ if blocks == before => return,
            Phase::Ready => {
                self.blob_blocks = self.blob_blocks.saturating_sub(u64::from(before)) + u64::from(blocks)
            }
            Phase::Recovering(recovering) if blocks < before => {
                // The most that was seen of it counts until then.
                let Nominee { fingerprint, variant, .. } = entry;
                recovering.unweighed.push(Unweighed { fingerprint, variant, name: *name });
                return;
            }
            Phase::Recovering(recovering) => {
                self.written_blocks += u64::from(blocks - before);
                // Not one owner more, but what counts in the end.
                recovering.added.push((FileKind::Partial, name.prefix(), blocks));
                recovering.dropped.push(name.prefix());
            }
        }
        self.shared.directory.resize(id, blocks);
        self.eviction.resize(id, u64::from(entry.place.length) + u64::from(blocks) * BLOCK);
        self.shared.counters.blob_bytes.set(self.blob_bytes());
    }
}
