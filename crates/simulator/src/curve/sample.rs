//! A part of a trace that stands for the whole: some objects with all their requests, and more weight.
//!
//! SHARDS (Waldspurger et al., FAST 2015) takes objects by a hash. Few objects have most of the requests or most of
//! the bytes, and whether they are in it decides everything: the hottest and the largest are therefore always in, and
//! stand for themselves alone. The others stand for their like, by as much as makes their bytes right.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::numbers::spread;
use crate::scan::Scan;

/// Sizes are kept in 40 bits by the policies.
const CHARGE_MAX: u64 = (1 << 40) - 1;

/// Which objects are taken.
#[derive(Clone, Debug)]
pub struct Sample {
    /// A bit for each object's number: it is always in.
    certain: Arc<[u64]>,
    /// Of the others, those whose hash is below this.
    threshold: u64,
    seed: u64,
    /// How many bytes each byte of the others stands for.
    weight: f64,
}

/// A sampled object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Its number among those that are taken.
    pub number: u32,
    /// Whether it stands for itself alone.
    pub certain: bool,
}

impl Sample {
    /// About `share` of the objects of a trace: a quarter of these are the hottest and the largest.
    #[must_use]
    pub fn new(scan: &Scan, share: f64, certain: Arc<[u64]>, seed: u64) -> Self {
        let always = certain.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
        let others = (scan.objects() - always.min(scan.objects())).max(1);
        let wanted = (share * scan.objects() as f64 - always as f64).max(1.0);
        let threshold = (wanted / others as f64).min(1.0) * u64::MAX as f64;
        let mut sample = Self { certain, threshold: threshold as u64, seed, weight: 1.0 };
        let (mut all, mut taken) = (0_u64, 0_u64);
        for (number, size) in scan.object_sizes() {
            if !sample.is_certain(number) {
                all += size;
                taken += if sample.hashed(number) { size } else { 0 };
            }
        }
        sample.weight = if taken == 0 { 1.0 } else { all as f64 / taken as f64 };
        sample
    }

    /// The objects that are always in, as many as are worth it for such a share.
    #[must_use]
    pub fn certain(scan: &Scan, share: f64) -> Arc<[u64]> {
        let mut bits = vec![0_u64; scan.objects().div_ceil(64) as usize];
        for number in scan.outstanding((share * scan.objects() as f64 / 4.0) as usize) {
            if let Some(word) = bits.get_mut(number as usize / 64) {
                *word |= 1 << (number % 64);
            }
        }
        bits.into()
    }

    /// What an object stands for, in bytes. Parts of a byte are rounded up for some and down for others, so that they are
    /// right on average: objects may be small.
    #[must_use]
    pub fn charge(&self, number: u32, size: u64, certain: bool) -> u64 {
        if certain {
            return size;
        }
        let part = spread(u64::from(number) << 1) as f64 / u64::MAX as f64;
        ((size as f64).mul_add(self.weight, part) as u64).min(CHARGE_MAX)
    }

    fn is_certain(&self, number: u32) -> bool {
        self.certain.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn hashed(&self, number: u32) -> bool {
        spread(u64::from(number) ^ self.seed << 32) <= self.threshold
    }
}

/// Numbers the objects of a sample.
#[derive(Debug)]
pub struct Sampler {
    sample: Sample,
    numbers: HashMap<u32, u32>,
}

impl Sampler {
    /// None is numbered yet.
    #[must_use]
    pub fn new(sample: Sample) -> Self {
        Self { sample, numbers: HashMap::new() }
    }

    /// The object, if it is taken.
    pub fn take(&mut self, number: u32) -> Option<Taken> {
        let certain = self.sample.is_certain(number);
        if !certain && !self.sample.hashed(number) {
            return None;
        }
        let next = u32::try_from(self.numbers.len()).ok()?;
        Some(Taken { number: *self.numbers.entry(number).or_insert(next), certain })
    }

    /// Which objects are taken.
    #[must_use]
    pub const fn sample(&self) -> &Sample {
        &self.sample
    }

    /// Bytes of memory that this takes, the shared bits apart.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.numbers.allocation_size()
    }
}
