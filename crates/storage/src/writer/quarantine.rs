//! What becomes of damaged blobs: they are moved aside, so that somebody can look at them, and the records that name them go.
//!
//! `quarantine/NNNNNNNN-<digest>`, numbered upwards; bounded in number and bytes, the oldest leaves first. They count in the disk
//! limit. Here the blob leaves before its records, so that nobody can begin to read it; a record whose blob is gone is a miss.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

use super::{Phase, Writer};
use crate::blob::{BLOCK, Owner, blob_blocks, file_blocks};
use crate::digest::BlobDigest;
use crate::directory::Place;
use crate::layout::TempFile;
use crate::owners::{self, Fate, Lost};
use crate::record::{FileKind, Head};
use crate::shared::Shared;

/// Damaged blobs that are kept.
const MOST_FILES: usize = 16;

/// The damaged blobs that are there, the oldest first, with their bytes.
#[derive(Default)]
pub(super) struct Quarantine {
    files: VecDeque<(PathBuf, u64)>,
    next: u32,
}

impl Quarantine {
    /// Looks what an earlier life has left, and keeps what the bounds let.
    pub(super) fn open(shared: &Shared) -> Self {
        let mut this = Self::default();
        let mut paths: Vec<PathBuf> = fs::read_dir(shared.layout.quarantine())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        for path in paths {
            let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.get(..8));
            let number = number.and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0);
            this.next = this.next.max(number.saturating_add(1));
            let bytes = shared.layout.files().len(&path).map_or(0, |len| file_blocks(len) * BLOCK);
            this.add(shared, path, bytes);
        }
        this
    }

    fn add(&mut self, shared: &Shared, path: PathBuf, bytes: u64) {
        shared.counters.quarantine_bytes.add(bytes);
        self.files.push_back((path, bytes));
        let limit = shared.options.quarantine_limit();
        while self.files.len() > MOST_FILES || shared.counters.quarantine_bytes.get() > limit {
            let Some((path, bytes)) = self.files.pop_front() else { break };
            // One that cannot be removed is looked at again at the next start.
            let _ = shared.layout.files().remove(&path);
            shared.counters.quarantine_bytes.sub(bytes);
        }
    }
}

impl Writer {
    /// A reader or the scrub found wrong bytes in a blob, or none: nobody may have it any more.
    pub(super) fn drop_bad_blob(&mut self, owner: &Owner) {
        self.shared.memory.remove_variant(&owner.key, owner.variant);
        // What came later names a body that was fetched anew.
        let names = |head: Head| head.file() == Some(owner.file) && head.sequence <= owner.sequence;
        let names = |place: &Place| self.shared.segments.head(*place).is_ok_and(names);
        let nominee = self.shared.directory.find_variant(owner.fingerprint, owner.variant);
        let place = match nominee {
            Some(nominee) => Some(nominee.place).filter(names),
            None if self.is_ready() => None,
            // It was served from what only the index knows yet.
            None => {
                self.shared.index.get(owner.fingerprint).iter().flatten().map(|entry| entry.place).find(names)
            }
        };
        let Some(place) = place else { return };
        let prefix = owner.file.name.prefix();
        if owner.file.kind == FileKind::Partial {
            // One record names it, and it was never whole: there is little to look at.
            self.shared.counters.damaged.add(1);
            owners::tell(&owner.file.name, &[owner.key.as_str().to_owned()], 1, &Fate::Gone);
        } else if !self.gone.contains(&prefix) {
            self.shared.counters.damaged.add(1);
            let records = self.owners.get(&prefix).map_or(1, |records| *records as usize);
            let others = match self.phase {
                Phase::Ready => records > 1,
                Phase::Recovering(_) => true,
            };
            let below = self.next_sequence();
            let fate = self.set_aside(&owner.file.name, owner.file.len);
            if others {
                let lost = Lost { owner: owner.clone(), below, fate, records };
                self.finder.find(&self.shared, &self.sender, lost);
            } else {
                owners::tell(&owner.file.name, &[owner.key.as_str().to_owned()], 1, &fate);
            }
        }
        match nominee {
            Some(nominee) => self.kill(nominee.id),
            None => self.bury(owner.fingerprint, place),
        }
        self.shared.counters.removed.add(1);
        if owner.file.kind == FileKind::Partial {
            self.unlink(owner.file.kind, &owner.file.name);
        }
    }

    /// Moves a blob to the quarantine, or removes it.
    fn set_aside(&mut self, digest: &BlobDigest, len: u64) -> Fate {
        let fate = self.keep(digest).unwrap_or(Fate::Gone);
        if !matches!(fate, Fate::Kept(_)) {
            self.unlink_blob(digest);
        }
        // While not all records are known their count decides later what the blobs take.
        if self.is_ready() {
            self.blob_blocks = self.blob_blocks.saturating_sub(u64::from(blob_blocks(len)));
            self.gone.insert(digest.prefix());
            self.shared.counters.blob_bytes.set(self.blob_bytes());
        }
        fate
    }

    fn keep(&mut self, digest: &BlobDigest) -> Option<Fate> {
        let (layout, files) = (self.shared.layout.clone(), self.shared.layout.files());
        let path = layout.blob(digest);
        let bytes = file_blocks(files.len(&path).ok()?) * BLOCK;
        let options = &self.shared.options;
        let limit = options.quarantine_limit();
        if bytes > limit {
            let setting = if options.quarantine_limit > limit { "disk" } else { "quarantine" };
            // Who wants none kept need not be told how to keep it.
            return (limit > 0).then_some(Fate::TooLarge { bytes, limit, setting });
        }
        self.shared.blobs.forget(digest);
        let to = layout.quarantine().join(format!("{:08x}-{digest}", self.quarantine.next));
        files.make_dir(&layout.quarantine()).ok()?;
        files.rename(&path, &to).ok()?;
        let _ = files.remove(&layout.tree(digest));
        self.remove_blob_directories(&path);
        self.quarantine.next = self.quarantine.next.saturating_add(1);
        self.shared.counters.quarantined.add(1);
        self.quarantine.add(&self.shared, to.clone(), bytes);
        Some(Fate::Kept(to))
    }

    /// A tree was made anew from a sound body.
    pub(super) fn mend_tree(&mut self, digest: &BlobDigest, tree: TempFile) {
        let layout = &self.shared.layout;
        if layout.files().exists(&layout.blob(digest))
            && let Err(error) = tree.rename(&layout.tree(digest))
        {
            self.shared.write_failed("place a tree", &error);
        }
    }
}
