//! The memory tier before the disk tier, as the store has them: all is on disk, and what is small and asked for is in
//! memory as well.

use larder_policy::Timestamp;
use larder_storage::eviction::Eviction;

/// What a response takes on disk beside its body: key, fields, lengths and checksum of its record.
pub const DISK_OVERHEAD_BYTES: u64 = 512;

/// What a response takes in memory beside its body.
pub const MEMORY_OVERHEAD_BYTES: u64 = 1_024;

/// Of hits to one object the disk tier's order hears once in so many milliseconds.
const TOUCH_EVERY_MILLIS: i64 = 4_000;

/// Where a hit was answered from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tier {
    /// The memory tier.
    Memory,
    /// The disk tier.
    Disk,
}

/// A memory tier.
#[derive(Debug)]
pub struct MemoryTier {
    /// Which leaves, and how much there may be.
    pub eviction: Box<dyn Eviction>,
    /// The largest body that is kept.
    pub object_max: u64,
}

/// The tiers of a cache.
#[derive(Debug)]
pub struct Tiers {
    memory: Option<MemoryTier>,
    disk: Box<dyn Eviction>,
    /// When the disk's order last heard of an object, in milliseconds, by number.
    touched: Vec<i64>,
}

/// What came of an admission.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Whether the newcomer is stored.
    pub(super) stays: bool,
    /// What had to leave for it.
    pub(super) left: Vec<u32>,
}

impl Tiers {
    /// Tiers as they are configured: a disk, and perhaps memory before it.
    #[must_use]
    pub fn new(disk: Box<dyn Eviction>, memory: Option<MemoryTier>) -> Self {
        Self { memory, disk, touched: Vec::new() }
    }

    /// A hit. It says from where, and puts what came from disk into memory.
    pub(super) fn access(&mut self, id: u32, size: u64, fingerprint: u64, now: Timestamp) -> Tier {
        if self.is_due(id, now) {
            self.disk.access(id, fingerprint);
        }
        if let Some(memory) = &mut self.memory {
            if memory.eviction.size(id).is_some() {
                memory.eviction.access(id, fingerprint);
                return Tier::Memory;
            }
            memory.admit(id, size, fingerprint);
        }
        Tier::Disk
    }

    /// A newcomer, or something stored anew.
    pub(super) fn admit(&mut self, id: u32, size: u64, fingerprint: u64, now: Timestamp) -> Admitted {
        let replaced = self.disk.size(id).is_some();
        let mut left = self.disk.admit(id, size + DISK_OVERHEAD_BYTES, fingerprint);
        let stays = self.disk.size(id).is_some();
        left.retain(|victim| *victim != id);
        self.is_due(id, now);
        if let Some(memory) = &mut self.memory {
            for victim in &left {
                memory.eviction.remove(*victim);
            }
            memory.eviction.remove(id);
            if stays {
                memory.admit(id, size, fingerprint);
                if replaced {
                    memory.eviction.access(id, fingerprint);
                }
            }
        }
        Admitted { stays, left }
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.disk.remove(id);
        if let Some(memory) = &mut self.memory {
            memory.eviction.remove(id);
        }
    }

    pub(super) fn disk_capacity(&self) -> u64 {
        self.disk.capacity()
    }

    pub(super) fn disk_used(&self) -> u64 {
        self.disk.used()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let memory = self.memory.as_ref().map_or(0, |memory| memory.eviction.memory_bytes());
        self.disk.memory_bytes() + memory + self.touched.capacity() * size_of::<i64>()
    }

    /// Whether the disk's order is to hear of a hit now.
    fn is_due(&mut self, id: u32, now: Timestamp) -> bool {
        let place = id as usize;
        if place >= self.touched.len() {
            self.touched.resize(place + 1, i64::MIN);
        }
        let Some(touched) = self.touched.get_mut(place) else { return true };
        let due = now.as_millis().saturating_sub(*touched) >= TOUCH_EVERY_MILLIS;
        if due {
            *touched = now.as_millis();
        }
        due
    }
}

impl MemoryTier {
    fn admit(&mut self, id: u32, size: u64, fingerprint: u64) {
        let bytes = size + MEMORY_OVERHEAD_BYTES;
        if size <= self.object_max && bytes <= self.eviction.capacity() {
            self.eviction.admit(id, bytes, fingerprint);
        }
    }
}
