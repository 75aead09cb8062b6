//! Greedy-Dual-Size with Frequency (Cherkasova, 1998): what is small and asked for often stays.
//!
//! Each object has a priority, `L + frequency * 10^6 / size`, where `L` is the priority of the last victim; the lowest
//! leaves. `L` rises, so that what was popular once does not stay for ever. It gives the best request hit ratio of
//! the algorithms here and, since it would rather lose one large object than many small ones, the worst byte hit ratio.
//!
//! A heap of numbers over a slab, 19 bytes an object. The invariant: no object's key is below its parent's, and
//! none below that of the last victim.

use super::chunks::Chunks;
use super::slab::{NONE, SIZE_MAX};
use super::{Eviction, Extent, Ranked};
use crate::shadow::Scale;

/// Children of a place in the heap: a flat heap is faster than a binary one, since objects mostly sink.
const FANOUT: u32 = 4;
const FREQUENCY_MAX: u32 = u8::MAX as u32;
/// A key is a priority in 40 bits that sort alike: eight of the exponent, and the first 32 of the fraction. What is above
/// 2^127 or below 2^-126 does not come up: a size is at most 2^40.
const KEY_SHIFT: u32 = 20;
const EXPONENT_BASE: u64 = (1023 - 127) << 52;
/// In a rank, how far a priority is above the floor: a single-precision number without sign and the last of its fraction.
const EXCESS_BITS: u32 = 22;
const EXCESS_SHIFT: u32 = 9;

/// Fifteen bytes, where aligned fields would take twenty.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Where in the heap it is; nowhere when not listed.
    place: [u8; 4],
    size: [u8; 5],
    key: [u8; 5],
    frequency: u8,
}

const ABSENT: Node = Node { place: NONE.to_le_bytes(), size: [0; 5], key: [0; 5], frequency: 0 };

impl Node {
    const fn new(place: u32, size: u64, key: u64, frequency: u32) -> Self {
        let frequency = if frequency > FREQUENCY_MAX { FREQUENCY_MAX } else { frequency } as u8;
        Self { place: place.to_le_bytes(), size: five(size), key: five(key), frequency }
    }

    const fn place(&self) -> u32 {
        u32::from_le_bytes(self.place)
    }

    const fn size(&self) -> u64 {
        number(self.size)
    }

    const fn key(&self) -> u64 {
        number(self.key)
    }
}

/// The lowest five bytes.
const fn five(number: u64) -> [u8; 5] {
    let [a, b, c, d, e, ..] = number.to_le_bytes();
    [a, b, c, d, e]
}

const fn number([a, b, c, d, e]: [u8; 5]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
}

/// Objects in a heap by their priorities.
#[derive(Debug)]
pub struct Gdsf {
    nodes: Chunks<Node>,
    heap: Chunks<u32>,
    len: u32,
    used: u64,
    /// Key of the last victim.
    floor: u64,
    /// The next number of a walk.
    walked: u32,
    capacity: u64,
    sizes: Sizes,
}

/// What a size in bytes stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sizes {
    /// Itself.
    Plain,
    /// An object that stands for others of its kind in a miniature, see `shadow::Scale`.
    Scaled,
}

impl Gdsf {
    /// An empty heap that holds at most `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self {
            nodes: Chunks::new(ABSENT),
            heap: Chunks::new(NONE),
            len: 0,
            used: 0,
            floor: 0,
            walked: 0,
            capacity,
            sizes: Sizes::Plain,
        }
    }

    /// An empty heap for a miniature, in which an object takes the room of all that it stands for and is as urgent as one.
    pub(crate) const fn scaled(capacity: u64) -> Self {
        let mut heap = Self::new(capacity);
        heap.sizes = Sizes::Scaled;
        heap
    }

    fn listed(&self, id: u32) -> Option<&Node> {
        self.nodes.get(id).filter(|node| node.place() != NONE)
    }

    /// The key of an object that is asked for just now.
    fn key_now(&self, size: u64, frequency: u32) -> u64 {
        let size = match self.sizes {
            Sizes::Plain => size.max(1) as f64,
            Sizes::Scaled => Scale::size_of_one(size),
        };
        key_of(priority_of(self.floor) + f64::from(frequency) * 1e6 / size)
    }

    fn list(&mut self, id: u32, size: u64, frequency: u32) {
        let size = size.min(SIZE_MAX);
        let key = self.key_now(size, frequency);
        self.nodes.grow_to(id);
        self.heap.grow_to(self.len);
        if let Some(node) = self.nodes.get_mut(id) {
            *node = Node::new(self.len, size, key, frequency);
        }
        self.len += 1;
        self.used += size;
        self.rise(self.len - 1, id, key);
    }

    fn at(&self, place: u32) -> u32 {
        self.heap.get(place).copied().unwrap_or(NONE)
    }

    fn key_at(&self, place: u32) -> u64 {
        self.nodes.get(self.at(place)).map_or(u64::MAX, Node::key)
    }

    fn put(&mut self, place: u32, id: u32) {
        if let Some(at) = self.heap.get_mut(place) {
            *at = id;
        }
        if let Some(node) = self.nodes.get_mut(id) {
            node.place = place.to_le_bytes();
        }
    }

    /// Gives a listed object another key and frequency.
    fn set(&mut self, id: u32, key: u64, frequency: u32) {
        let Some(node) = self.listed(id).copied() else { return };
        if let Some(changed) = self.nodes.get_mut(id) {
            *changed = Node::new(node.place(), node.size(), key, frequency);
        }
        self.settle(node.place(), id, node.key(), key);
    }

    /// Puts an object where its key belongs; `before` is the key that belongs to `place`.
    fn settle(&mut self, place: u32, id: u32, before: u64, key: u64) {
        if key < before {
            self.rise(place, id, key);
        } else {
            self.sink(place, id, key);
        }
    }

    fn rise(&mut self, mut place: u32, id: u32, key: u64) {
        while place > 0 {
            let parent = (place - 1) / FANOUT;
            if self.key_at(parent) <= key {
                break;
            }
            self.put(place, self.at(parent));
            place = parent;
        }
        self.put(place, id);
    }

    fn sink(&mut self, mut place: u32, id: u32, key: u64) {
        loop {
            let first = place.saturating_mul(FANOUT).saturating_add(1);
            let children = first..first.saturating_add(FANOUT).min(self.len);
            let least = children.map(|child| (self.key_at(child), child)).min();
            match least {
                Some((least, child)) if least < key => {
                    self.put(place, self.at(child));
                    place = child;
                }
                _ => break,
            }
        }
        self.put(place, id);
    }
}

fn key_of(priority: f64) -> u64 {
    priority.to_bits().saturating_sub(EXPONENT_BASE) >> KEY_SHIFT
}

fn priority_of(key: u64) -> f64 {
    if key == 0 { 0.0 } else { f64::from_bits((key << KEY_SHIFT) + EXPONENT_BASE) }
}

impl Eviction for Gdsf {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        self.list(id, size, 1);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        let Some(node) = self.listed(id).copied() else { return };
        let frequency = (u32::from(node.frequency) + 1).min(FREQUENCY_MAX);
        let key = self.key_now(node.size(), frequency);
        self.set(id, key, frequency);
    }

    /// The new size counts in its priority when it is asked for the next time.
    fn resize(&mut self, id: u32, size: u64) {
        let size = size.min(SIZE_MAX);
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.place() != NONE) else { return };
        let before = std::mem::replace(&mut node.size, five(size));
        self.used = self.used - number(before) + size;
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        let node = self.listed(id).copied()?;
        self.len -= 1;
        self.used -= node.size();
        let last = self.at(self.len);
        if let Some(node) = self.nodes.get_mut(id) {
            *node = ABSENT;
        }
        if last != id {
            let key = self.nodes.get(last).map_or(0, Node::key);
            self.settle(node.place(), last, node.key(), key);
        }
        Some(node.size())
    }

    fn victim(&mut self) -> Option<u32> {
        (self.len > 0).then(|| self.at(0))
    }

    fn evict(&mut self) -> Option<u32> {
        let id = self.victim()?;
        self.floor = self.key_at(0);
        self.remove(id);
        Some(id)
    }

    /// The newcomer is weighed like all others: it may be among its own victims, and then has at least raised the floor
    /// for the next of its kind.
    fn admit_into(&mut self, id: u32, size: u64, fingerprint: u64, victims: &mut Vec<u32>) {
        self.remove(id);
        if size > self.capacity || id == NONE {
            victims.push(id);
            return;
        }
        self.insert(id, size, fingerprint);
        while self.used > self.capacity
            && let Some(victim) = self.evict()
        {
            victims.push(victim);
        }
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.listed(id).map(Node::size)
    }

    fn extent(&self) -> Extent {
        Extent { objects: self.len as usize, used: self.used, capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        self.nodes.memory_bytes() + self.heap.memory_bytes()
    }
}

/// A rank is the frequency, and below it how far the key is above that of the last victim. Objects come in no order.
impl Ranked for Gdsf {
    fn rewind(&mut self) {
        self.walked = 0;
    }

    fn next_rank(&mut self) -> Option<(u32, u32)> {
        while self.walked < self.nodes.len() {
            let id = self.walked;
            self.walked += 1;
            if let Some(node) = self.listed(id) {
                let excess = (priority_of(node.key()) - priority_of(self.floor)).max(0.0) as f32;
                return Some((
                    id,
                    u32::from(node.frequency) << EXCESS_BITS | excess.to_bits() >> EXCESS_SHIFT,
                ));
            }
        }
        None
    }

    fn restore(&mut self, id: u32, _fingerprint: u64, rank: u32) {
        let excess = f32::from_bits((rank & ((1 << EXCESS_BITS) - 1)) << EXCESS_SHIFT);
        let excess = if excess.is_finite() { f64::from(excess) } else { 0.0 };
        self.set(id, key_of(priority_of(self.floor) + excess), rank >> EXCESS_BITS);
    }

    fn uses(&self, id: u32) -> u32 {
        self.listed(id).map_or(1, |node| u32::from(node.frequency))
    }

    fn adopt(&mut self, id: u32, size: u64, uses: u32) {
        self.list(id, size, uses);
    }
}
