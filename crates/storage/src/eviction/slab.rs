//! What the algorithms that keep queues share: a slab of 16-byte nodes, indexed by the caller's own numbers, with
//! up to three doubly linked queues threaded through it.
//!
//! The invariant: a node is in the queue that it names, or in none when that is zero; a queue's bytes are the sum of
//! its nodes' sizes.

use super::Extent;
use super::chunks::Chunks;

/// No object has this number.
pub(super) const NONE: u32 = u32::MAX;
/// Sizes are kept in 40 bits: what is larger than a terabyte counts as one.
pub(super) const SIZE_MAX: u64 = (1 << SIZE_BITS) - 1;
const SIZE_BITS: u32 = 40;
const QUEUE_SHIFT: u32 = 62;
const STATE_MAX: u32 = (1 << (QUEUE_SHIFT - SIZE_BITS)) - 1;
/// Queues are numbered from one to three.
const QUEUES: u8 = 4;

/// ```text
/// word: 0..40 size in bytes, 40..62 the algorithm's own state, 62..64 queue, zero when not listed
/// ```
#[derive(Clone, Copy, Debug)]
struct Node {
    newer: u32,
    older: u32,
    word: u64,
}

const ABSENT: Node = Node { newer: NONE, older: NONE, word: 0 };

impl Node {
    const fn queue(&self) -> u8 {
        (self.word >> QUEUE_SHIFT) as u8
    }

    const fn size(&self) -> u64 {
        self.word & SIZE_MAX
    }

    const fn set_queue(&mut self, queue: u8) {
        self.word = self.word & !(3 << QUEUE_SHIFT) | (queue as u64) << QUEUE_SHIFT;
    }
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    newest: u32,
    oldest: u32,
    bytes: u64,
}

const EMPTY: Queue = Queue { newest: NONE, oldest: NONE, bytes: 0 };

/// The nodes and their queues. See the module.
#[derive(Debug)]
pub(super) struct Slab {
    nodes: Chunks<Node>,
    queues: [Queue; QUEUES as usize],
    len: usize,
    used: u64,
    /// The queue that a walk is in, and its next object there: it goes on whatever happens to the queues meanwhile.
    walked: u8,
    cursor: u32,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self {
            nodes: Chunks::new(ABSENT),
            queues: [EMPTY; QUEUES as usize],
            len: 0,
            used: 0,
            walked: QUEUES,
            cursor: NONE,
        }
    }

    /// Puts an object that is not listed in front of a queue.
    pub(super) fn insert(&mut self, queue: u8, id: u32, size: u64, state: u32) {
        let size = size.min(SIZE_MAX);
        self.nodes.grow_to(id);
        if let Some(node) = self.nodes.get_mut(id) {
            node.word = size | u64::from(state.min(STATE_MAX)) << SIZE_BITS;
            self.len += 1;
            self.used += size;
            self.link_newest(queue, id);
        }
    }

    /// Takes an object off its queue, and forgets it. Returns its size.
    pub(super) fn remove(&mut self, id: u32) -> Option<u64> {
        let size = self.size(id)?;
        self.unlink(id);
        if let Some(node) = self.nodes.get_mut(id) {
            *node = ABSENT;
        }
        self.len -= 1;
        self.used -= size;
        Some(size)
    }

    /// A listed object has another size now; it stays where it is.
    pub(super) fn resize(&mut self, id: u32, size: u64) {
        let size = size.min(SIZE_MAX);
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.queue() != 0) else { return };
        let (queue, before) = (node.queue(), node.size());
        node.word = node.word & !SIZE_MAX | size;
        self.used = self.used - before + size;
        if let Some(queue) = self.queues.get_mut(usize::from(queue)) {
            queue.bytes = queue.bytes - before + size;
        }
    }

    /// Puts a listed object in front of a queue.
    pub(super) fn move_to_newest(&mut self, queue: u8, id: u32) {
        if self.newest(queue) != id && self.queue(id) != 0 {
            self.unlink(id);
            self.link_newest(queue, id);
        }
    }

    /// Puts a listed object behind a queue.
    pub(super) fn move_to_oldest(&mut self, queue: u8, id: u32) {
        if self.queue(id) != 0 {
            self.unlink(id);
            self.link_oldest(queue, id);
        }
    }

    /// The object behind all others of a queue; none when it is empty.
    pub(super) fn oldest(&self, queue: u8) -> u32 {
        self.queues.get(usize::from(queue)).map_or(NONE, |queue| queue.oldest)
    }

    /// Sum of the sizes in a queue.
    pub(super) fn bytes(&self, queue: u8) -> u64 {
        self.queues.get(usize::from(queue)).map_or(0, |queue| queue.bytes)
    }

    /// Begins a walk.
    pub(super) const fn rewind(&mut self) {
        self.walked = 0;
        self.cursor = NONE;
    }

    /// The next object of a walk: queue by queue, each from its newest on. What moves to the front of its queue
    /// meanwhile is left out, and nothing comes twice unless it changes queues.
    pub(super) fn walk(&mut self) -> Option<u32> {
        while self.cursor == NONE {
            if self.walked + 1 >= QUEUES {
                return None;
            }
            self.walked += 1;
            self.cursor = self.newest(self.walked);
        }
        let id = self.cursor;
        self.cursor = self.nodes.get(id).map_or(NONE, |node| node.older);
        Some(id)
    }

    /// The queue that an object is in; zero when it is not listed.
    pub(super) fn queue(&self, id: u32) -> u8 {
        self.nodes.get(id).map_or(0, Node::queue)
    }

    pub(super) fn size(&self, id: u32) -> Option<u64> {
        self.nodes.get(id).filter(|node| node.queue() != 0).map(Node::size)
    }

    pub(super) fn state(&self, id: u32) -> u32 {
        self.nodes.get(id).map_or(0, |node| (node.word >> SIZE_BITS) as u32 & STATE_MAX)
    }

    pub(super) fn set_state(&mut self, id: u32, state: u32) {
        if let Some(node) = self.nodes.get_mut(id) {
            let others = node.word & !(u64::from(STATE_MAX) << SIZE_BITS);
            node.word = others | u64::from(state.min(STATE_MAX)) << SIZE_BITS;
        }
    }

    pub(super) fn newer(&self, id: u32) -> u32 {
        self.nodes.get(id).map_or(NONE, |node| node.newer)
    }

    pub(super) const fn extent(&self, capacity: u64) -> Extent {
        Extent { objects: self.len, used: self.used, capacity }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.memory_bytes()
    }

    fn newest(&self, queue: u8) -> u32 {
        self.queues.get(usize::from(queue)).map_or(NONE, |queue| queue.newest)
    }

    fn link_newest(&mut self, number: u8, id: u32) {
        let Some(queue) = self.queues.get_mut(usize::from(number)) else { return };
        let before = queue.newest;
        let Some(node) = self.nodes.get_mut(id) else { return };
        (node.newer, node.older) = (NONE, before);
        node.set_queue(number);
        queue.newest = id;
        queue.bytes += node.size();
        match self.nodes.get_mut(before) {
            Some(node) => node.newer = id,
            None => queue.oldest = id,
        }
    }

    fn link_oldest(&mut self, number: u8, id: u32) {
        let Some(queue) = self.queues.get_mut(usize::from(number)) else { return };
        let before = queue.oldest;
        let Some(node) = self.nodes.get_mut(id) else { return };
        (node.newer, node.older) = (before, NONE);
        node.set_queue(number);
        queue.oldest = id;
        queue.bytes += node.size();
        match self.nodes.get_mut(before) {
            Some(node) => node.older = id,
            None => queue.newest = id,
        }
    }

    fn unlink(&mut self, id: u32) {
        let Some(node) = self.nodes.get(id).copied() else { return };
        let Some(queue) = self.queues.get_mut(usize::from(node.queue())) else { return };
        queue.bytes -= node.size();
        if self.cursor == id {
            self.cursor = node.older;
        }
        match self.nodes.get_mut(node.newer) {
            Some(newer) => newer.older = node.older,
            None => queue.newest = node.older,
        }
        match self.nodes.get_mut(node.older) {
            Some(older) => older.newer = node.newer,
            None => queue.oldest = node.newer,
        }
    }
}
