//! Where the records of the stored responses are, in memory: a keyed 64-bit fingerprint leads to places.
//!
//! It answers "not here" without any I/O and nominates what may be here; it never proves it, since two keys
//! may share a fingerprint: whoever reads the record compares the full key. Lookups read it from any thread;
//! only the writer thread changes it. Entries take 32 bytes in slabs that grow by small chunks, beside five
//! bytes per slot of the hash table. Table and slabs are split into shards, so that the doubling of one is small.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;
use smallvec::SmallVec;

const SHARDS: usize = 64;
const CHUNK: usize = 256;

/// The first eight bytes of the keyed hash of a cache key. Unforgeable from outside, but not unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Fingerprint(pub(crate) u64);

/// Which variant under a key: four bytes of the keyed hash of the key and the nominated request fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct VariantTag(pub(crate) u32);

/// Where a record lies: segment number, and offset and length in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// The number of an entry, dense from zero; valid until the entry is removed.
pub(crate) type EntryId = u32;

/// One nominated record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nominee {
    pub(crate) id: EntryId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) variant: VariantTag,
    pub(crate) place: Place,
    /// 4 KiB blocks of the blob and its tree; zero when the body is in the record.
    pub(crate) blob_blocks: u32,
}

/// What is under one fingerprint: nearly always one entry, which takes no allocation.
pub(crate) type Nominees = SmallVec<[Nominee; 2]>;

#[derive(Debug)]
struct Entry {
    fingerprint: u64,
    segment: u32,
    offset: u32,
    /// Zero marks a free entry: no record is empty.
    length: u32,
    variant: u32,
    blob_blocks: u32,
    /// Second of the store's clock at which the eviction order last heard of a hit.
    touched: AtomicU32,
}

impl Entry {
    const fn free() -> Self {
        Self {
            fingerprint: 0,
            segment: 0,
            offset: 0,
            length: 0,
            variant: 0,
            blob_blocks: 0,
            touched: AtomicU32::new(0),
        }
    }

    const fn place(&self) -> Place {
        Place { segment: self.segment, offset: self.offset, length: self.length }
    }

    const fn nominee(&self, id: EntryId) -> Nominee {
        Nominee {
            id,
            fingerprint: Fingerprint(self.fingerprint),
            variant: VariantTag(self.variant),
            place: self.place(),
            blob_blocks: self.blob_blocks,
        }
    }
}

#[derive(Debug, Default)]
struct Shard {
    table: HashTable<u32>,
    chunks: Vec<Box<[Entry]>>,
    free: Vec<u32>,
}

impl Shard {
    fn entry(&self, local: u32) -> Option<&Entry> {
        let entry = self.chunks.get(local as usize / CHUNK)?.get(local as usize % CHUNK)?;
        (entry.length != 0).then_some(entry)
    }

    fn slot(&mut self, local: u32) -> Option<&mut Entry> {
        self.chunks.get_mut(local as usize / CHUNK)?.get_mut(local as usize % CHUNK)
    }

    fn take_free(&mut self) -> Option<u32> {
        if self.free.is_empty() {
            let first = u32::try_from(self.chunks.len() * CHUNK).ok()?;
            // The number of an entry is its local number times SHARDS: it must stay a u32.
            first.checked_add(CHUNK as u32)?.checked_mul(SHARDS as u32)?;
            self.chunks.push((0..CHUNK).map(|_| Entry::free()).collect());
            self.free.reserve_exact(CHUNK);
            self.free.extend((first..first + CHUNK as u32).rev());
        }
        self.free.pop()
    }
}

/// The directory. See the module.
#[derive(Debug)]
pub(crate) struct Directory {
    shards: Box<[RwLock<Shard>]>,
    len: AtomicUsize,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), len: AtomicUsize::new(0) }
    }

    /// All entries under a fingerprint.
    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Nominees {
        let shard = shard_of(fingerprint);
        let Some(read) = self.read(shard) else { return Nominees::new() };
        read.table
            .iter_hash(fingerprint.0)
            .filter_map(|local| {
                let entry = read.entry(*local)?;
                (entry.fingerprint == fingerprint.0).then(|| entry.nominee(id_of(*local, shard)))
            })
            .collect()
    }

    /// The entry of one variant.
    pub(crate) fn find_variant(&self, fingerprint: Fingerprint, variant: VariantTag) -> Option<Nominee> {
        self.find(fingerprint).into_iter().find(|nominee| nominee.variant == variant)
    }

    /// The entry that leads to exactly this place.
    pub(crate) fn find_place(&self, fingerprint: Fingerprint, place: Place) -> Option<Nominee> {
        self.find(fingerprint).into_iter().find(|nominee| nominee.place == place)
    }

    /// Visits all entries whose blob takes so many blocks, a shard at a time.
    pub(crate) fn each_with_blob(&self, blocks: u32, visit: impl FnMut(&[Nominee])) {
        self.each(|entry| entry.blob_blocks == blocks, visit);
    }

    /// Visits all entries that lead into this part of a segment, a shard at a time.
    pub(crate) fn each_within(&self, segment: u32, part: Range<u64>, visit: impl FnMut(&[Nominee])) {
        self.each(|entry| entry.segment == segment && part.contains(&u64::from(entry.offset)), visit);
    }

    /// The visit holds no lock: it may take its time.
    fn each(&self, wanted: impl Fn(&Entry) -> bool, mut visit: impl FnMut(&[Nominee])) {
        for shard in 0..SHARDS {
            let Some(read) = self.read(shard) else { continue };
            let entries = read.chunks.iter().flatten();
            let found: Vec<Nominee> = (0..)
                .zip(entries)
                .filter(|(_, entry)| entry.length != 0 && wanted(entry))
                .map(|(local, entry)| entry.nominee(id_of(local, shard)))
                .collect();
            drop(read);
            visit(&found);
        }
    }

    pub(crate) fn get(&self, id: EntryId) -> Option<Nominee> {
        let (local, shard) = split(id);
        self.read(shard)?.entry(local).map(|entry| entry.nominee(id))
    }

    /// Adds an entry. `None` when four billion entries are there.
    pub(crate) fn insert(
        &self,
        fingerprint: Fingerprint,
        variant: VariantTag,
        place: Place,
        blob_blocks: u32,
        now: u32,
    ) -> Option<EntryId> {
        let shard = shard_of(fingerprint);
        let mut write = self.write(shard)?;
        let local = write.take_free()?;
        *write.slot(local)? = Entry {
            fingerprint: fingerprint.0,
            segment: place.segment,
            offset: place.offset,
            length: place.length,
            variant: variant.0,
            blob_blocks,
            touched: AtomicU32::new(now),
        };
        let Shard { table, chunks, .. } = &mut *write;
        table.insert_unique(fingerprint.0, local, |local| {
            chunks
                .get(*local as usize / CHUNK)
                .and_then(|chunk| chunk.get(*local as usize % CHUNK))
                .map_or(0, |entry| entry.fingerprint)
        });
        self.len.fetch_add(1, Ordering::Relaxed);
        Some(id_of(local, shard))
    }

    /// The record was copied elsewhere.
    pub(crate) fn relocate(&self, id: EntryId, place: Place) {
        let (local, shard) = split(id);
        let Some(mut write) = self.write(shard) else { return };
        if let Some(entry) = write.slot(local).filter(|entry| entry.length != 0) {
            entry.segment = place.segment;
            entry.offset = place.offset;
            entry.length = place.length;
        }
    }

    /// The files of an entry take so many blocks now.
    pub(crate) fn resize(&self, id: EntryId, blob_blocks: u32) {
        let (local, shard) = split(id);
        let Some(mut write) = self.write(shard) else { return };
        if let Some(entry) = write.slot(local).filter(|entry| entry.length != 0) {
            entry.blob_blocks = blob_blocks;
        }
    }

    pub(crate) fn remove(&self, id: EntryId) -> Option<Nominee> {
        let (local, shard) = split(id);
        let mut write = self.write(shard)?;
        let nominee = write.entry(local)?.nominee(id);
        if let Ok(found) = write.table.find_entry(nominee.fingerprint.0, |listed| *listed == local) {
            found.remove();
        }
        *write.slot(local)? = Entry::free();
        write.free.push(local);
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(nominee)
    }

    /// Notes a hit at second `now`; true when the eviction order should hear of it, which is at most every
    /// `every` seconds.
    pub(crate) fn touch(&self, id: EntryId, now: u32, every: u32) -> bool {
        let (local, shard) = split(id);
        let Some(read) = self.read(shard) else { return false };
        read.entry(local).is_some_and(|entry| {
            let due = now.wrapping_sub(entry.touched.load(Ordering::Relaxed)) >= every;
            if due {
                entry.touched.store(now, Ordering::Relaxed);
            }
            due
        })
    }

    /// The second of the last noted hit.
    pub(crate) fn touched(&self, id: EntryId) -> u32 {
        let (local, shard) = split(id);
        self.read(shard)
            .and_then(|read| read.entry(local).map(|entry| entry.touched.load(Ordering::Relaxed)))
            .unwrap_or(0)
    }

    /// No entry has this number or a higher one.
    pub(crate) fn bound(&self) -> EntryId {
        let chunks =
            |shard: &RwLock<Shard>| shard.read().unwrap_or_else(PoisonError::into_inner).chunks.len();
        let most = self.shards.iter().map(chunks).max().unwrap_or(0);
        u32::try_from(most * CHUNK * SHARDS).unwrap_or(u32::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Bytes of memory that the directory takes, free room included.
    pub(crate) fn memory_bytes(&self) -> usize {
        let mut total = self.shards.len() * size_of::<RwLock<Shard>>();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            total += shard.table.allocation_size()
                + shard.chunks.len() * CHUNK * size_of::<Entry>()
                + shard.chunks.capacity() * size_of::<Box<[Entry]>>()
                + shard.free.capacity() * size_of::<u32>();
        }
        total
    }

    fn read(&self, shard: usize) -> Option<RwLockReadGuard<'_, Shard>> {
        self.shards.get(shard).map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, shard: usize) -> Option<RwLockWriteGuard<'_, Shard>> {
        self.shards.get(shard).map(|shard| shard.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The hash table takes the lowest and the highest bits of the fingerprint; the shard is chosen by others.
const fn shard_of(fingerprint: Fingerprint) -> usize {
    (fingerprint.0 >> 40) as usize % SHARDS
}

const fn id_of(local: u32, shard: usize) -> EntryId {
    local * SHARDS as u32 + shard as u32
}

const fn split(id: EntryId) -> (u32, usize) {
    (id / SHARDS as u32, id as usize % SHARDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::Algorithm;

    fn place(n: u32) -> Place {
        Place { segment: n / 100, offset: n * 8, length: 80 }
    }

    #[test]
    fn several_variants_live_under_one_fingerprint() {
        let directory = Directory::new();
        let print = Fingerprint(0x0102_0304_0506_0708);
        let one = directory.insert(print, VariantTag(1), place(1), 0, 0).unwrap();
        let two = directory.insert(print, VariantTag(2), place(2), 3, 0).unwrap();
        let mut found: Vec<_> = directory.find(print).iter().map(|nominee| nominee.variant.0).collect();
        found.sort_unstable();
        assert_eq!(found, [1, 2]);
        assert_eq!(directory.find_place(print, place(2)).unwrap().blob_blocks, 3);
        directory.relocate(one, place(9));
        assert_eq!(directory.find_variant(print, VariantTag(1)).unwrap().place, place(9));
        assert_eq!(directory.remove(two).unwrap().place, place(2));
        assert!(directory.remove(two).is_none());
        assert_eq!((directory.find(print).len(), directory.len()), (1, 1));
    }

    #[test]
    fn a_touch_is_passed_on_at_most_every_few_seconds() {
        let directory = Directory::new();
        let id = directory.insert(Fingerprint(5), VariantTag(0), place(1), 0, 100).unwrap();
        assert!(!directory.touch(id, 103, 4));
        assert!(directory.touch(id, 104, 4));
        assert!(!directory.touch(id, 105, 4));
    }

    #[test]
    fn a_million_objects_take_at_most_64_bytes_each_with_the_eviction_state_of_any_algorithm() {
        let count = 1_200_000_u32;
        let directory = Directory::new();
        let mut lists = Algorithm::ALL.map(|algorithm| algorithm.ranked(u64::MAX));
        let (mut most, mut most_of_list) = ([0.0_f64; 5], [0.0_f64; 5]);
        for n in 1..=count {
            let hash = blake3::hash(&n.to_le_bytes());
            let print = Fingerprint(u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()));
            let id = directory.insert(print, VariantTag(n), place(n), 0, 0).unwrap();
            for list in &mut lists {
                list.insert(id, 100, print.0);
            }
            // Tables and sketches double on the way.
            if n > 400_000 && n % 10_000 == 0 {
                let entries = directory.memory_bytes();
                for (at, list) in lists.iter().enumerate() {
                    let bytes = |bytes: usize| bytes as f64 / f64::from(n);
                    most[at] = most[at].max(bytes(entries + list.memory_bytes()));
                    most_of_list[at] = most_of_list[at].max(bytes(list.memory_bytes()));
                }
            }
        }
        for (at, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            println!("{algorithm}: at most {:.1}, of them {:.1} its own", most[at], most_of_list[at]);
            assert!(most[at] <= 64.0 && most_of_list[at] <= 32.0, "{algorithm}");
        }
    }
}
