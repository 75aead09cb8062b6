//! Which objects a miniature follows, and how much room each takes in it.
//!
//! An object is followed with a chance that is a power of two, by its fingerprint, and then stands for as many of its kind:
//! it takes their room and its requests count as often. The chance is the higher the larger the object is: whatever
//! takes a good part of the cache is followed always, and none that stands for others takes more than such a part. So
//! neither a large object that happens to be followed nor one that happens not to be decides the figures.

/// In a scaled size: the binary logarithm of how many objects it stands for, and above it the room that they take.
const LEVEL_BITS: u32 = 6;
/// Bits that the room may have: the lists keep sizes in 40 bits.
const ROOM_BITS: u32 = 34;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Objects of this size and larger ones are always followed.
    whole_from: u64,
    /// Binary logarithm of how many objects the smallest stand for.
    coarse: u32,
    /// Room is counted in units of so many bits, so that the whole cache fits in the bits that there are.
    unit: u32,
}

impl Scale {
    /// Everything is followed, in a cache of `capacity` bytes of which a `part` is not to be decided by chance.
    pub(crate) const fn new(capacity: u64, part: u64) -> Self {
        let bits = u64::BITS - capacity.leading_zeros();
        Self { whole_from: capacity / part, coarse: 0, unit: bits.saturating_sub(ROOM_BITS - 1) }
    }

    /// Follows half as many of the smallest.
    pub(crate) const fn coarsen(&mut self) {
        self.coarse += 1;
    }

    /// Binary logarithm of how many of the smallest objects one stands for.
    pub(crate) const fn coarse(&self) -> u32 {
        self.coarse
    }

    /// Binary logarithm of how many objects one of this size stands for.
    pub(crate) fn level(&self, size: u64) -> u32 {
        let fit = self.whole_from / size.max(1);
        fit.checked_ilog2().unwrap_or(0).min(self.coarse)
    }

    /// Whether an object is among those that are followed.
    pub(crate) fn follows(&self, fingerprint: u64, size: u64) -> bool {
        lot(fingerprint).leading_zeros() >= self.level(size)
    }

    /// The room that an object takes with all that it stands for, and how many they are.
    pub(crate) fn size(&self, size: u64) -> u64 {
        let level = self.level(size);
        let room = size.checked_shl(level).unwrap_or(u64::MAX) >> self.unit;
        room.min((1 << ROOM_BITS) - 1) << LEVEL_BITS | u64::from(level)
    }

    /// The room that a cache of so many bytes has.
    pub(crate) const fn capacity(&self, capacity: u64) -> u64 {
        (capacity >> self.unit) << LEVEL_BITS
    }

    /// The size of one object alone, from its scaled size; in units.
    pub(crate) fn size_of_one(scaled: u64) -> f64 {
        let level = scaled & ((1 << LEVEL_BITS) - 1);
        (scaled >> LEVEL_BITS).max(1) as f64 / (1_u64 << level) as f64
    }
}

/// Lets through whatever any of several scales follows, and little else, at the cost of a few instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    coarse: u32,
    /// Binary logarithm of the size from which on some scale follows everything.
    whole_bits: u32,
}

impl Gate {
    /// Of the scales that there are.
    pub(crate) fn of(scales: impl Iterator<Item = Scale>) -> Self {
        scales.fold(Self { coarse: u32::MAX, whole_bits: u32::MAX }, |gate, scale| Self {
            coarse: gate.coarse.min(scale.coarse),
            whole_bits: gate.whole_bits.min(scale.whole_from.checked_ilog2().unwrap_or(0)),
        })
    }

    /// As one number, and back.
    pub(crate) const fn pack(self) -> u32 {
        self.coarse << 8 | self.whole_bits
    }

    pub(crate) const fn unpack(packed: u32) -> Self {
        Self { coarse: packed >> 8, whole_bits: packed & 0xff }
    }

    pub(crate) fn lets_through(self, fingerprint: u64, size: u64) -> bool {
        if self.coarse == 0 {
            return true;
        }
        let size_bits = u64::BITS - size.leading_zeros();
        let level = self.coarse.min(self.whole_bits.saturating_sub(size_bits));
        lot(fingerprint).leading_zeros() >= level
    }
}

/// Evenly distributed bits that have nothing to do with those by which the algorithms recognise an object.
pub(crate) const fn lot(fingerprint: u64) -> u64 {
    let bits = (fingerprint ^ fingerprint >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (bits ^ bits >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_larger_an_object_the_surer_it_is_followed_and_none_stands_for_more_than_its_part() {
        let mut scale = Scale::new(1024 * MIB, 256);
        (0..10).for_each(|_| scale.coarsen());
        let levels: Vec<_> = (0..30).map(|bits| scale.level(1 << bits)).collect();
        assert_eq!(levels[..13], [10; 13]);
        assert_eq!(levels[13..24], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]);
        for bits in 0..22 {
            let stand_for = (1 << scale.level(1 << bits)) << bits;
            assert!(stand_for <= 4 * MIB, "{bits}");
        }
    }

    #[test]
    fn sizes_keep_what_one_object_takes_at_any_capacity() {
        for capacity in [1_000, 10 << 30, 100 << 40] {
            let mut scale = Scale::new(capacity, 256);
            assert!(scale.capacity(capacity) < 1 << 40);
            for _ in 0..12 {
                for size in [capacity / 7, capacity / 300, capacity / 5_000] {
                    let one = Scale::size_of_one(scale.size(size)) / scale.capacity(capacity) as f64 * 64.0;
                    let share = size as f64 / capacity as f64;
                    assert!(size == 0 || (one - share).abs() < share * 1e-3, "{capacity}: {size}");
                }
                scale.coarsen();
            }
        }
    }

    #[test]
    fn a_gate_lets_through_what_any_scale_follows() {
        let mut scales = [Scale::new(1 << 30, 256), Scale::new(5 << 30, 1024), Scale::new(200 << 20, 16)];
        for (scale, coarse) in scales.iter_mut().zip([5, 3, 9]) {
            (0..coarse).for_each(|_| scale.coarsen());
        }
        let gate = Gate::unpack(Gate::of(scales.into_iter()).pack());
        let mut passed = 0;
        for n in 0..20_000_u64 {
            let (fingerprint, size) = (lot(n), 1 << (n % 28));
            let passes = gate.lets_through(fingerprint, size);
            passed += u32::from(passes);
            assert!(passes || scales.iter().all(|scale| !scale.follows(fingerprint, size)), "{n}");
        }
        assert!(passed < 12_000, "{passed}");
    }

    #[test]
    fn about_as_many_are_followed_as_the_others_stand_for() {
        let mut scale = Scale::new(1 << 30, 256);
        (0..4).for_each(|_| scale.coarsen());
        let followed =
            (0..100_000_u64).filter(|n| scale.follows(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1_000)).count();
        assert!((5_800..6_700).contains(&followed), "{followed}");
    }
}
