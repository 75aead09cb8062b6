//! How often objects were asked for lately, whether listed or not: a count-min sketch of four-bit counters.
//!
//! Two to four bytes for each listed object. An estimate is never below the true count since the last halving, up
//! to fifteen, and seldom much above. All counters are halved now and then, so that what was popular once fades. When
//! the sketch doubles, it is copied: each counter is found again in whichever half its fingerprint leads to.

/// What a counter can hold.
pub(super) const COUNT_MAX: u32 = 15;
const COUNT_BITS: u32 = 4;
const COUNTERS_PER_WORD: usize = 16;
const COUNTERS_PER_OBJECT: usize = 4;
/// Requests for each listed object after which all counters are halved.
const SAMPLE: u64 = 10;
const WORDS_MIN: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Sketch {
    /// A power of two of words.
    words: Vec<u64>,
    requests: u64,
}

impl Sketch {
    pub(super) fn new() -> Self {
        Self { words: vec![0; WORDS_MIN], requests: 0 }
    }

    /// Makes it as wide as so many objects need. It never shrinks.
    pub(super) fn widen(&mut self, objects: usize) {
        while self.words.len() * COUNTERS_PER_WORD < objects * COUNTERS_PER_OBJECT {
            self.words.reserve_exact(self.words.len());
            self.words.extend_from_within(..);
        }
    }

    /// Counts one request. True when all counters were halved after it.
    pub(super) fn increment(&mut self, fingerprint: u64, objects: usize) -> bool {
        self.raise(fingerprint, self.estimate(fingerprint) + 1);
        self.requests += 1;
        let halve = self.requests >= SAMPLE * (objects as u64).max(WORDS_MIN as u64);
        if halve {
            self.requests /= 2;
            for word in &mut self.words {
                *word = *word >> 1 & 0x7777_7777_7777_7777;
            }
        }
        halve
    }

    /// How often it was asked for.
    pub(super) fn estimate(&self, fingerprint: u64) -> u32 {
        self.places(fingerprint)
            .into_iter()
            .map(|(at, shift)| self.words.get(at).map_or(0, |word| (*word >> shift) as u32 & COUNT_MAX))
            .min()
            .unwrap_or(0)
    }

    /// Makes it known that it was asked for so often, at least. Counters that are higher for the sake of other objects stay.
    pub(super) fn raise(&mut self, fingerprint: u64, count: u32) {
        let count = count.min(COUNT_MAX);
        for (at, shift) in self.places(fingerprint) {
            if let Some(word) = self.words.get_mut(at)
                && ((*word >> shift) as u32 & COUNT_MAX) < count
            {
                *word = *word & !(u64::from(COUNT_MAX) << shift) | u64::from(count) << shift;
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// Word and bit of both its counters; two are best at so many objects for each counter. The word is chosen by
    /// low bits alone, as doubling needs.
    fn places(&self, fingerprint: u64) -> [(usize, u32); 2] {
        let mask = self.words.len() - 1;
        [fingerprint, fingerprint.wrapping_add(fingerprint.rotate_right(32) | 1)]
            .map(|hash| (hash as usize & mask, (hash >> 60) as u32 * COUNT_BITS))
    }
}
