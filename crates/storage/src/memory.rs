//! The hot tier: whole small responses, and the heads of large ones, in memory and bounded in bytes.
//!
//! A slot holds all variants of a key or is not there: a lookup that finds it need not look further. The map
//! is split into shards with a lock and an eviction order each; a hit is one hash, one lock and one clone of an `Arc`. A lookup that
//! read from disk may put its find here only if nothing in the shard was changed by the writer since it began:
//! otherwise what was removed meanwhile would come back.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_policy::CacheKey;

use crate::directory::VariantTag;
use crate::eviction::{Aim, Algorithm, Eviction, Policy};
use crate::stored::{Core, Stored, Tier, Variants};

/// A shard is worth its lock from this many bytes on.
const SHARD_BYTES: u64 = 4 << 20;
const SHARDS_MAX: u64 = 64;

/// The memory tier. See the module.
#[derive(Debug)]
pub(crate) struct Memory {
    shards: Box<[Mutex<Shard>]>,
    object_max: usize,
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard {
    slots: HashMap<u64, Slot, BuildHasherDefault<Hashed>>,
    /// Knows slots by their numbers, bounded by the shard's share of the limit.
    eviction: Box<dyn Eviction>,
    /// The hash of each numbered slot, and the numbers that are free.
    hashes: Vec<u64>,
    free: Vec<u32>,
    /// Rises with every change that the writer makes.
    generation: u64,
    hits: u64,
}

#[derive(Debug)]
struct Slot {
    key: CacheKey,
    variants: Variants,
    number: u32,
}

/// The map's keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The state of a shard when a lookup began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation(u64);

impl Memory {
    pub(crate) fn new(limit: u64, object_max: u64, policy: Policy) -> Self {
        let shards = (limit / SHARD_BYTES).clamp(1, SHARDS_MAX);
        let shard = || {
            Mutex::new(Shard {
                slots: HashMap::default(),
                eviction: policy.in_memory(Aim::Requests.first(), limit / shards),
                hashes: Vec::new(),
                free: Vec::new(),
                generation: 0,
                hits: 0,
            })
        };
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            object_max: usize::try_from(object_max).unwrap_or(usize::MAX),
            hasher: RandomState::new(),
        }
    }

    /// All variants under the key with this text, if they are here.
    pub(crate) fn get(&self, key: &str) -> Option<Variants> {
        let (hash, mut shard) = self.shard(key)?;
        let shard = &mut *shard;
        let slot = shard.slots.get(&hash)?;
        if slot.key.as_str() != key {
            return None;
        }
        shard.eviction.access(slot.number, hash);
        shard.hits += 1;
        Some(slot.variants.clone())
    }

    /// To be taken before a lookup goes to the directory, for [`Memory::insert`].
    pub(crate) fn generation(&self, key: &CacheKey) -> Generation {
        Generation(self.shard(key.as_str()).map_or(0, |(_, shard)| shard.generation))
    }

    /// Keeps what a lookup read from disk, unless the writer changed something meanwhile.
    pub(crate) fn insert(&self, key: &CacheKey, variants: &[Arc<Core>], since: Generation) {
        let Some((hash, mut shard)) = self.shard(key.as_str()) else { return };
        if shard.generation == since.0 {
            self.put(&mut shard, hash, key, variants);
        }
    }

    /// The writer has stored a response. `alone` says that no other variant is on disk.
    pub(crate) fn stored(&self, core: &Arc<Core>, alone: bool, most: usize) {
        let Some((hash, mut shard)) = self.shard(core.key.as_str()) else { return };
        shard.generation += 1;
        let mut variants = vec![core.clone()];
        match shard.slots.get(&hash).filter(|slot| slot.key == core.key) {
            Some(slot) => {
                let others = slot.variants.iter().filter(|other| other.core.variant != core.variant);
                variants.extend(others.take(most.saturating_sub(1)).map(|other| other.core.clone()));
            }
            None if alone => {}
            None => return,
        }
        self.put(&mut shard, hash, &core.key, &variants);
    }

    /// The writer has removed all variants of a key. Returns how many were here.
    pub(crate) fn remove(&self, key: &CacheKey) -> usize {
        let Some((hash, mut shard)) = self.shard(key.as_str()) else { return 0 };
        shard.generation += 1;
        if shard.slots.get(&hash).is_some_and(|slot| slot.key == *key) {
            return shard.drop_slot(hash);
        }
        0
    }

    /// The writer has removed one variant of a key.
    pub(crate) fn remove_variant(&self, key: &CacheKey, variant: VariantTag) {
        let Some((hash, mut shard)) = self.shard(key.as_str()) else { return };
        shard.generation += 1;
        let here = |slot: &&Slot| {
            slot.key == *key && slot.variants.iter().any(|stored| stored.core.variant == variant)
        };
        if shard.slots.get(&hash).filter(here).is_some() {
            // The others are read again when they are asked for.
            shard.drop_slot(hash);
        }
    }

    /// Removes every key of which some variant is matched. Returns how many variants they had.
    pub(crate) fn remove_where(&self, mut matches: impl FnMut(&Core) -> bool) -> usize {
        let mut removed = 0;
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.generation += 1;
            let hashes: Vec<u64> = shard
                .slots
                .iter()
                .filter(|(_, slot)| slot.variants.iter().any(|stored| matches(&stored.core)))
                .map(|(hash, _)| *hash)
                .collect();
            removed += hashes.into_iter().map(|hash| shard.drop_slot(hash)).sum::<usize>();
        }
        removed
    }

    /// Goes by the order of another algorithm from now on, if the policy lets it.
    pub(crate) fn follow(&self, algorithm: Algorithm) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).eviction.follow(algorithm);
        }
    }

    /// Bytes, keys and hits.
    pub(crate) fn figures(&self) -> (u64, u64, u64) {
        self.shards.iter().fold((0, 0, 0), |(bytes, keys, hits), shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (bytes + shard.eviction.used(), keys + shard.slots.len() as u64, hits + shard.hits)
        })
    }

    fn shard(&self, key: &str) -> Option<(u64, MutexGuard<'_, Shard>)> {
        let hash = self.hasher.hash_one(key);
        // The map takes the lowest and the highest bits.
        let index = (hash >> 32) as usize % self.shards.len().max(1);
        let shard = self.shards.get(index)?;
        Some((hash, shard.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn put(&self, shard: &mut Shard, hash: u64, key: &CacheKey, variants: &[Arc<Core>]) {
        let replaced = shard.drop_slot(hash) > 0;
        let bytes = variants.iter().map(|core| core.weight() as u64).sum();
        let too_large =
            |core: &Arc<Core>| core.inline.as_ref().is_some_and(|body| body.len() > self.object_max);
        if variants.is_empty() || bytes > shard.eviction.capacity() || variants.iter().any(too_large) {
            return;
        }
        let Some(number) = shard.take_number(hash) else { return };
        let variants = variants.iter().map(|core| Stored::new(core.clone(), Tier::Memory)).collect();
        shard.slots.insert(hash, Slot { key: key.clone(), variants, number });
        for victim in shard.eviction.admit(number, bytes, hash) {
            shard.drop_victim(victim);
        }
        if replaced {
            // It comes with what it had become: whatever is replaced was in use.
            shard.eviction.access(number, hash);
        }
    }
}

impl Shard {
    /// A number for a new slot; `None` when four billion are in use.
    fn take_number(&mut self, hash: u64) -> Option<u32> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => u32::try_from(self.hashes.len()).ok().filter(|number| *number != u32::MAX)?,
        };
        match self.hashes.get_mut(number as usize) {
            Some(place) => *place = hash,
            None => self.hashes.push(hash),
        }
        Some(number)
    }

    /// Returns how many variants it had.
    fn drop_slot(&mut self, hash: u64) -> usize {
        self.slots.remove(&hash).map_or(0, |slot| {
            self.eviction.remove(slot.number);
            self.free.push(slot.number);
            slot.variants.len()
        })
    }

    /// Drops what the eviction order has let go of.
    fn drop_victim(&mut self, number: u32) {
        if let Some(hash) = self.hashes.get(number as usize)
            && self.slots.remove(hash).is_some()
        {
            self.free.push(number);
        }
    }
}
