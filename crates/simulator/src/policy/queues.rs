//! Doubly linked queues over one table of nodes, for the policies that only the simulator has.
//!
//! An object is in at most one queue. Some queues may hold what has left the cache and is only remembered: which
//! ones is their policy's affair. 16 bytes an object.

/// No object has this number.
pub(super) const NONE: u32 = u32::MAX;
const SIZE_BITS: u32 = 40;
/// Sizes are kept in 40 bits: what is larger than a terabyte counts as one.
pub(super) const SIZE_MAX: u64 = (1 << SIZE_BITS) - 1;
const QUEUE_SHIFT: u32 = 61;
const STATE_MAX: u32 = (1 << (QUEUE_SHIFT - SIZE_BITS)) - 1;
/// Queues are numbered from one to seven.
const QUEUES: usize = 8;

/// ```text
/// word: 0..40 size in bytes, 40..61 the policy's own state, 61..64 queue, zero when in none
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
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    newest: u32,
    oldest: u32,
    bytes: u64,
    len: usize,
}

const EMPTY: Queue = Queue { newest: NONE, oldest: NONE, bytes: 0, len: 0 };

/// See the module.
#[derive(Debug)]
pub(super) struct Queues {
    nodes: Vec<Node>,
    queues: [Queue; QUEUES],
}

impl Queues {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), queues: [EMPTY; QUEUES] }
    }

    /// Puts an object that is in no queue in front of one.
    pub(super) fn insert(&mut self, queue: u8, id: u32, size: u64) {
        let at = id as usize;
        if self.nodes.len() <= at {
            self.nodes.reserve_exact((at + 1).max(self.nodes.len() / 8 * 9) - self.nodes.len());
            self.nodes.resize(at + 1, ABSENT);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.word = size.min(SIZE_MAX);
        }
        self.link(queue, id);
    }

    /// Takes an object off its queue and forgets it. Returns its size.
    pub(super) fn remove(&mut self, id: u32) -> Option<u64> {
        let size = self.size(id)?;
        self.unlink(id);
        if let Some(node) = self.nodes.get_mut(id as usize) {
            *node = ABSENT;
        }
        Some(size)
    }

    /// Puts an object that is in some queue in front of one.
    pub(super) fn move_to(&mut self, queue: u8, id: u32) {
        if self.queue(id) != 0 {
            self.unlink(id);
            self.link(queue, id);
        }
    }

    /// An object in some queue has another size now, and keeps its place.
    pub(super) fn resize(&mut self, id: u32, size: u64) {
        let size = size.min(SIZE_MAX);
        let Some(node) = self.nodes.get_mut(id as usize).filter(|node| node.queue() != 0) else { return };
        let (queue, before) = (node.queue(), node.size());
        node.word = node.word & !SIZE_MAX | size;
        if let Some(queue) = self.queues.get_mut(usize::from(queue)) {
            queue.bytes = queue.bytes - before + size;
        }
    }

    /// The queue that an object is in; zero when it is in none.
    pub(super) fn queue(&self, id: u32) -> u8 {
        self.nodes.get(id as usize).map_or(0, Node::queue)
    }

    /// Its size, in whatever queue it is.
    pub(super) fn size(&self, id: u32) -> Option<u64> {
        self.nodes.get(id as usize).filter(|node| node.queue() != 0).map(Node::size)
    }

    pub(super) fn state(&self, id: u32) -> u32 {
        self.nodes.get(id as usize).map_or(0, |node| (node.word >> SIZE_BITS) as u32 & STATE_MAX)
    }

    pub(super) fn set_state(&mut self, id: u32, state: u32) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            let others = node.word & !(u64::from(STATE_MAX) << SIZE_BITS);
            node.word = others | u64::from(state.min(STATE_MAX)) << SIZE_BITS;
        }
    }

    /// The object behind all others of a queue.
    pub(super) fn oldest(&self, queue: u8) -> Option<u32> {
        self.queues.get(usize::from(queue)).map(|queue| queue.oldest).filter(|id| *id != NONE)
    }

    /// Sum of the sizes in a queue.
    pub(super) fn bytes(&self, queue: u8) -> u64 {
        self.queues.get(usize::from(queue)).map_or(0, |queue| queue.bytes)
    }

    /// How many are in a queue.
    pub(super) fn len(&self, queue: u8) -> usize {
        self.queues.get(usize::from(queue)).map_or(0, |queue| queue.len)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
    }

    fn link(&mut self, number: u8, id: u32) {
        let Some(queue) = self.queues.get_mut(usize::from(number)) else { return };
        let Some(node) = self.nodes.get_mut(id as usize) else { return };
        let before = queue.newest;
        (node.newer, node.older) = (NONE, before);
        node.word = node.word & !(7 << QUEUE_SHIFT) | u64::from(number) << QUEUE_SHIFT;
        queue.newest = id;
        queue.bytes += node.size();
        queue.len += 1;
        match self.nodes.get_mut(before as usize) {
            Some(node) => node.newer = id,
            None => queue.oldest = id,
        }
    }

    fn unlink(&mut self, id: u32) {
        let Some(node) = self.nodes.get(id as usize).copied() else { return };
        let Some(queue) = self.queues.get_mut(usize::from(node.queue())) else { return };
        queue.bytes -= node.size();
        queue.len -= 1;
        match self.nodes.get_mut(node.newer as usize) {
            Some(newer) => newer.older = node.older,
            None => queue.newest = node.older,
        }
        match self.nodes.get_mut(node.older as usize) {
            Some(older) => older.newer = node.newer,
            None => queue.oldest = node.newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_keep_order_sizes_and_counts() {
        let mut queues = Queues::new();
        for id in 0..4 {
            queues.insert(1, id, 10 + u64::from(id));
        }
        assert_eq!((queues.oldest(1), queues.bytes(1), queues.len(1)), (Some(0), 46, 4));
        queues.move_to(1, 0);
        queues.move_to(7, 2);
        queues.resize(3, 1);
        assert_eq!((queues.oldest(1), queues.bytes(1), queues.len(1)), (Some(1), 22, 3));
        assert_eq!((queues.oldest(7), queues.bytes(7), queues.queue(2)), (Some(2), 12, 7));
        queues.set_state(2, 5);
        assert_eq!((queues.state(2), queues.remove(2), queues.remove(2)), (5, Some(12), None));
        assert_eq!((queues.oldest(7), queues.size(2), queues.state(2)), (None, None, 0));
    }
}
