//! Least recently used: the object that was not asked for longest leaves first.
//!
//! A doubly linked list threaded through a slab that is indexed by the caller's own numbers, 16 bytes an
//! object. The slab grows by chunks, so that growing never holds two copies of it. The invariant: `used`
//! is the sum of the sizes of the listed objects, and never above `capacity` when a call returns.

const NONE: u32 = u32::MAX;
const CHUNK: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Node {
    newer: u32,
    older: u32,
    /// Bytes plus one, so that zero can mean "not listed".
    size: u64,
}

const ABSENT: Node = Node { newer: NONE, older: NONE, size: 0 };

/// A byte-bounded list of objects in order of their last access.
///
/// Objects are numbered by the caller, densely from zero: memory is proportional to the highest number.
#[derive(Debug)]
pub struct Lru {
    chunks: Vec<Box<[Node]>>,
    newest: u32,
    oldest: u32,
    len: usize,
    used: u64,
    capacity: u64,
}

impl Lru {
    /// An empty list that holds at most `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { chunks: Vec::new(), newest: NONE, oldest: NONE, len: 0, used: 0, capacity }
    }

    /// Lists an object of `size` bytes as the newest, and returns what must leave for it, oldest first.
    ///
    /// An object that is larger than the capacity is itself the only victim. One that was listed already
    /// takes its new size.
    pub fn admit(&mut self, id: u32, size: u64) -> Vec<u32> {
        self.remove(id);
        if size > self.capacity || id == NONE {
            return vec![id];
        }
        let mut victims = Vec::new();
        while self.used + size > self.capacity {
            match self.evict_oldest() {
                Some((victim, _)) => victims.push(victim),
                None => break,
            }
        }
        self.grow_to(id);
        if let Some(node) = self.node_mut(id) {
            node.size = size + 1;
        }
        self.used += size;
        self.len += 1;
        self.link_newest(id);
        victims
    }

    /// The object was asked for: it is the newest now. Unknown numbers are ignored.
    pub fn access(&mut self, id: u32) {
        if self.newest != id && self.size(id).is_some() {
            self.unlink(id);
            self.link_newest(id);
        }
    }

    /// Takes an object off the list and returns its size.
    pub fn remove(&mut self, id: u32) -> Option<u64> {
        let size = self.size(id)?;
        self.unlink(id);
        if let Some(node) = self.node_mut(id) {
            *node = ABSENT;
        }
        self.used -= size;
        self.len -= 1;
        Some(size)
    }

    /// Takes the oldest object off the list and returns its number and size.
    pub fn evict_oldest(&mut self) -> Option<(u32, u64)> {
        let id = self.oldest;
        self.remove(id).map(|size| (id, size))
    }

    /// The oldest object, which stays listed.
    #[must_use]
    pub fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// The size of a listed object in bytes.
    #[must_use]
    pub fn size(&self, id: u32) -> Option<u64> {
        self.node(id).and_then(|node| node.size.checked_sub(1))
    }

    /// Sum of the sizes of all listed objects, in bytes.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// How many objects are listed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is listed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the list takes itself.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Node>() + self.chunks.capacity() * size_of::<Box<[Node]>>()
    }

    fn node(&self, id: u32) -> Option<&Node> {
        self.chunks.get(id as usize / CHUNK)?.get(id as usize % CHUNK)
    }

    fn node_mut(&mut self, id: u32) -> Option<&mut Node> {
        self.chunks.get_mut(id as usize / CHUNK)?.get_mut(id as usize % CHUNK)
    }

    fn grow_to(&mut self, id: u32) {
        while self.chunks.len() <= id as usize / CHUNK {
            self.chunks.push(vec![ABSENT; CHUNK].into_boxed_slice());
        }
    }

    fn link_newest(&mut self, id: u32) {
        let before = self.newest;
        if let Some(node) = self.node_mut(id) {
            node.newer = NONE;
            node.older = before;
        }
        match self.node_mut(before) {
            Some(node) => node.newer = id,
            None => self.oldest = id,
        }
        self.newest = id;
    }

    fn unlink(&mut self, id: u32) {
        let Some(Node { newer, older, .. }) = self.node(id).copied() else { return };
        match self.node_mut(newer) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.node_mut(older) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_leaves_first() {
        let mut lru = Lru::new(30);
        assert!(lru.admit(0, 10).is_empty());
        assert!(lru.admit(1, 10).is_empty());
        assert!(lru.admit(2, 10).is_empty());
        lru.access(0);
        assert_eq!(lru.admit(3, 15), [1, 2]);
        assert_eq!((lru.used(), lru.len()), (25, 2));
        assert_eq!(lru.oldest(), Some(0));
    }

    #[test]
    fn what_is_larger_than_the_capacity_is_its_own_victim() {
        let mut lru = Lru::new(10);
        assert!(lru.admit(7, 10).is_empty());
        assert_eq!(lru.admit(8, 11), [8]);
        assert_eq!(lru.size(7), Some(10));
    }

    #[test]
    fn objects_of_no_size_are_listed() {
        let mut lru = Lru::new(10);
        assert!(lru.admit(0, 0).is_empty());
        assert_eq!(lru.evict_oldest(), Some((0, 0)));
        assert!(lru.is_empty());
    }

    #[test]
    fn it_equals_a_naive_list() {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut random = move |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let mut lru = Lru::new(1000);
        let mut naive: Vec<(u32, u64)> = Vec::new(); // oldest first
        for _ in 0..20_000 {
            let id = random(60) as u32;
            match random(3) {
                0 => {
                    let size = random(120);
                    naive.retain(|(listed, _)| *listed != id);
                    let mut victims = Vec::new();
                    while naive.iter().map(|(_, size)| size).sum::<u64>() + size > 1000 {
                        victims.push(naive.remove(0).0);
                    }
                    naive.push((id, size));
                    assert_eq!(lru.admit(id, size), victims);
                }
                1 => {
                    if let Some(at) = naive.iter().position(|(listed, _)| *listed == id) {
                        let object = naive.remove(at);
                        naive.push(object);
                    }
                    lru.access(id);
                }
                _ => {
                    let at = naive.iter().position(|(listed, _)| *listed == id);
                    assert_eq!(lru.remove(id), at.map(|at| naive.remove(at).1));
                }
            }
            assert_eq!(lru.oldest(), naive.first().map(|(id, _)| *id));
            assert_eq!(lru.used(), naive.iter().map(|(_, size)| size).sum::<u64>());
        }
    }
}
