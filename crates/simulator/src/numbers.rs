//! Objects by small numbers, as the policies want them.

use hashbrown::HashTable;

use crate::trace::Request;

/// A request whose object has a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Numbered {
    /// The object's number.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Seconds, from an origin of the trace's own.
    pub time: u64,
}

/// Numbers objects in order of appearance. 19 to 39 bytes an object.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The object beside its number, so that a look-up waits for memory once.
    table: HashTable<(u64, u32)>,
}

impl Numbers {
    /// The number of an object; `None` when there are four billion others.
    pub fn number(&mut self, object: u64) -> Option<u32> {
        let hash = spread(object);
        if let Some((_, number)) = self.table.find(hash, |(other, _)| *other == object) {
            return Some(*number);
        }
        let next = u32::try_from(self.table.len()).ok().filter(|next| *next != u32::MAX)?;
        self.table.insert_unique(hash, (object, next), |(object, _)| spread(*object));
        Some(next)
    }

    /// Appends requests with their numbers. False when there are too many objects.
    pub fn number_all(&mut self, requests: &[Request], into: &mut Vec<Numbered>) -> bool {
        into.reserve(requests.len());
        for Request { time, object, size } in requests {
            let Some(number) = self.number(*object) else { return false };
            into.push(Numbered { number, size: *size, time: *time });
        }
        true
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none has come yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes of memory that this takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.allocation_size()
    }
}

/// Evenly distributed bits (the finaliser of SplitMix64).
#[must_use]
pub const fn spread(object: u64) -> u64 {
    let mut bits = object.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_numbered_in_order_of_appearance() {
        let mut numbers = Numbers::default();
        assert!(numbers.is_empty());
        let found = [70, 5, 70, 9].map(|object| numbers.number(object).unwrap());
        assert_eq!((found, numbers.len()), ([0, 1, 0, 2], 3));
    }

    #[test]
    fn an_object_takes_at_most_forty_bytes() {
        let mut numbers = Numbers::default();
        for object in 0..500_000 {
            numbers.number(object * 3).unwrap();
            let most = 39 * numbers.len() + (64 << 10);
            assert!(numbers.memory_bytes() <= most, "{} for {}", numbers.memory_bytes(), numbers.len());
        }
    }
}
