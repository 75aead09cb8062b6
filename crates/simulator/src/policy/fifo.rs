//! First in, first out; and CLOCK, which gives what was asked for a second chance.

use larder_storage::eviction::{Eviction, Extent};

use super::queues::Queues;

const ALL: u8 = 1;

/// Objects in the order of their arrival. 16 bytes an object.
#[derive(Debug)]
pub struct Fifo {
    queues: Queues,
    capacity: u64,
}

impl Fifo {
    /// An empty queue that holds at most `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { queues: Queues::new(), capacity }
    }
}

/// One bit an object: what was asked for since it came, or came round, goes round once more. 16 bytes an object.
#[derive(Debug)]
pub struct Clock {
    queues: Queues,
    capacity: u64,
}

impl Clock {
    /// An empty queue that holds at most `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { queues: Queues::new(), capacity }
    }
}

impl Eviction for Fifo {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        self.queues.insert(ALL, id, size);
    }

    fn access(&mut self, _id: u32, _fingerprint: u64) {}

    fn resize(&mut self, id: u32, size: u64) {
        self.queues.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.queues.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        self.queues.oldest(ALL)
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.queues.size(id)
    }

    fn extent(&self) -> Extent {
        let (objects, used) = (self.queues.len(ALL), self.queues.bytes(ALL));
        Extent { objects, used, capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        self.queues.memory_bytes()
    }
}

impl Eviction for Clock {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        self.queues.insert(ALL, id, size);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        if self.queues.queue(id) != 0 {
            self.queues.set_state(id, 1);
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        self.queues.resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.queues.remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        // Ends after one round: whoever comes again has no bit any more.
        loop {
            let id = self.queues.oldest(ALL)?;
            if self.queues.state(id) == 0 {
                return Some(id);
            }
            self.queues.set_state(id, 0);
            self.queues.move_to(ALL, id);
        }
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.queues.size(id)
    }

    fn extent(&self) -> Extent {
        let (objects, used) = (self.queues.len(ALL), self.queues.bytes(ALL));
        Extent { objects, used, capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        self.queues.memory_bytes()
    }
}
