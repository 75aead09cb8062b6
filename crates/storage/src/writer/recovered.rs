//! Taking up what the index or the segments of an earlier life hold.
//!
//! Finds come in any order and beside new writes. Of two records of one variant the one with the higher
//! sequence number stays and the other is marked dead, whichever was found first.

use std::collections::{HashMap, HashSet};

use super::{Phase, Writer};
use crate::blob::BLOCK;
use crate::command::Recovered;
use crate::index::Change;
use crate::record::FileKind;
use crate::recovery;
use crate::stats::IndexState;

impl Writer {
    pub(super) fn recovered(&mut self, batch: Vec<Recovered>) {
        for found in batch {
            self.take_up(&found);
        }
        self.account();
    }

    fn take_up(&mut self, found: &Recovered) {
        let shared = self.shared.clone();
        let (place, fingerprint) = (found.place, found.fingerprint);
        if let Phase::Recovering(recovering) = &self.phase
            && recovering.buried.contains(&place)
        {
            return;
        }
        let end = u64::from(place.offset) + u64::from(place.length);
        let segment = self.segments.get(place.segment);
        if segment.is_none_or(|segment| end > segment.size) {
            if segment.is_some() {
                shared.shortened.note(place.segment, end);
            }
            self.bury(fingerprint, place);
            return;
        }
        if let Some(below) = shared.removed.below(fingerprint)
            && shared.segments.head(place).is_ok_and(|head| head.sequence < below)
        {
            self.bury(fingerprint, place);
            return;
        }
        let known = shared.directory.find_variant(fingerprint, found.variant);
        if let Some(known) = known {
            if known.place == place {
                return;
            }
            let sequence =
                |place| shared.segments.head(place).ok().filter(|head| head.live).map(|head| head.sequence);
            if sequence(place) <= sequence(known.place) {
                self.bury(fingerprint, place);
                return;
            }
        }
        let blocks = found.file.map_or(0, |file| file.blocks());
        // Not asked for in this life.
        let untouched = 0;
        let Some(id) = shared.directory.insert(fingerprint, found.variant, place, blocks, untouched) else {
            return;
        };
        let size = u64::from(place.length) + u64::from(blocks) * BLOCK;
        self.eviction.insert(id, size, fingerprint.0);
        self.segments.change(place.segment, |segment| segment.live += u64::from(place.length));
        // Only now, so that a lookup finds the one or the other.
        if let Some(known) = known {
            self.kill(known.id);
        }
        if let (Some(file), Phase::Recovering(recovering)) = (found.file, &mut self.phase) {
            self.blob_blocks += u64::from(blocks);
            recovering.added.push((file.kind, file.name.prefix(), blocks));
        }
        if !found.indexed {
            let change = Change { fingerprint, drop: None, add: Some(found.entry()) };
            self.index.change(change, None);
        }
    }

    /// Everything is known now: blobs have owners, segments have live bytes, removed is removed.
    pub(super) fn recovery_done(&mut self) {
        let Phase::Recovering(mut recovering) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return;
        };
        let unweighed = std::mem::take(&mut recovering.unweighed);
        let owned = self.count_owners(recovering);
        self.weigh_again(&unweighed);
        self.shared.removed.clear();
        self.removals.forget();
        self.index.watermark(self.end());
        for (segment, end) in self.shared.shortened.all() {
            let missing = end.saturating_sub(self.segments.get(segment).map_or(0, |segment| segment.size));
            tracing::warn!(
                segment,
                missing,
                "a segment is shorter than it was: what stood behind its end is lost"
            );
        }
        let active = self.active.as_ref().map(|active| active.id);
        let empty: Vec<u32> = self
            .segments
            .iter()
            .filter(|(id, segment)| segment.live == 0 && Some(*id) != active)
            .map(|(id, _)| id)
            .collect();
        if !self.is_held() {
            for id in empty {
                self.drop_segment(id);
            }
        }
        self.account();
        // Whoever waits for it sees right figures.
        self.shared.state.send_replace(IndexState::Ready);
        self.restore_order();
        self.added_in_sweep = Some(HashSet::new());
        recovery::sweep(self.shared.clone(), self.sender.clone(), owned);
    }

    /// The prefixes of the names of all blobs and partials that have an owner, sorted.
    fn count_owners(&mut self, recovering: super::Recovering) -> Vec<u64> {
        let super::Recovering { mut added, dropped, .. } = recovering;
        added.sort_unstable_by_key(|(_, prefix, blocks)| (*prefix, *blocks));
        let mut gone: HashMap<u64, u32> = HashMap::new();
        for prefix in dropped {
            *gone.entry(prefix).or_default() += 1;
        }
        self.blob_blocks = 0;
        self.written_blocks = 0;
        let (mut known, mut directories) = (Vec::new(), HashSet::new());
        for same in added.chunk_by(|(_, one, _), (_, other, _)| one == other) {
            // Of a partial that has grown, the last figure is what it takes.
            let Some((kind, prefix, blocks)) = same.last().copied() else { continue };
            let owners = (same.len() as u32).saturating_sub(gone.get(&prefix).copied().unwrap_or(0));
            if owners > 0 {
                known.push(prefix);
                self.blob_blocks += u64::from(blocks);
                if kind == FileKind::Blob {
                    // Two levels, of the first byte of the name and of the first two.
                    directories.extend([prefix & 0xff, 1 << 16 | prefix & 0xffff]);
                }
            }
            if owners > 1 {
                self.owners.insert(prefix, owners);
            }
        }
        self.directories.sweep_begins(directories.len() as u64);
        known
    }
}
