//! Which objects came lately: a set of short tags that forgets the oldest.
//!
//! Two to four bytes for each object that is to be remembered. A tag is 16 bits of the fingerprint, in a bucket
//! that other bits choose; each bucket is a queue of its own, so that what is remembered is about the last so
//! many. One in some thousand strangers is taken for a ghost, which costs nothing but a wrong guess. When the
//! set doubles, each bucket is copied: a tag is found again in whichever of the two its fingerprint leads to.

/// Tags in a bucket.
const WAYS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Ghosts {
    /// A power of two of buckets; each has its latest tag first. Zero is no tag.
    buckets: Vec<[u16; WAYS]>,
    /// How many tags of each bucket count.
    ways: usize,
}

impl Ghosts {
    pub(super) fn new() -> Self {
        Self { buckets: vec![[0; WAYS]], ways: WAYS / 2 }
    }

    /// Remembers about so many from now on. Never shrinks.
    pub(super) fn remember(&mut self, count: usize) {
        while self.buckets.len() * WAYS < count {
            self.buckets.reserve_exact(self.buckets.len());
            self.buckets.extend_from_within(..);
        }
        self.ways = count.div_ceil(self.buckets.len()).clamp(1, WAYS);
    }

    pub(super) fn add(&mut self, fingerprint: u64) {
        if let Some(bucket) = self.bucket(fingerprint) {
            bucket.copy_within(..WAYS - 1, 1);
            if let Some(latest) = bucket.first_mut() {
                *latest = tag(fingerprint);
            }
        }
    }

    /// Whether an object came lately. It is no ghost any more afterwards.
    pub(super) fn take(&mut self, fingerprint: u64) -> bool {
        let ways = self.ways;
        let Some(bucket) = self.bucket(fingerprint) else { return false };
        let ghost = bucket.iter_mut().take(ways).find(|ghost| **ghost == tag(fingerprint));
        ghost.map(|ghost| *ghost = 0).is_some()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<[u16; WAYS]>()
    }

    fn bucket(&mut self, fingerprint: u64) -> Option<&mut [u16; WAYS]> {
        let at = fingerprint as usize & (self.buckets.len() - 1);
        self.buckets.get_mut(at)
    }
}

/// The upper bits, which never choose the bucket; not zero.
const fn tag(fingerprint: u64) -> u16 {
    let tag = (fingerprint >> 48) as u16;
    if tag == 0 { 1 } else { tag }
}
