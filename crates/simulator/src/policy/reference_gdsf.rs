//! Greedy-Dual-Size with Frequency as libCacheSim has it, to be compared with it and with what larder ships.
//!
//! Priorities are kept in full, frequencies without end, and of equal priorities the one that was asked for longest
//! ago leaves first. Larder's own rounds the first two and leaves the last open, for a third of the memory.

use std::collections::BTreeSet;

use larder_storage::eviction::{Eviction, Extent};

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    size: u64,
    /// Bytes that it takes: more than its size when it stands for others, too.
    charge: u64,
    priority: f64,
    asked: u64,
    /// Zero when it is not listed.
    frequency: u32,
}

/// Objects in a tree by priority. 40 bytes for each number, and about 30 for each listed object.
#[derive(Debug)]
pub struct ReferenceGdsf {
    nodes: Vec<Node>,
    /// Positive numbers sort as their bits do.
    order: BTreeSet<(u64, u64, u32)>,
    floor: f64,
    requests: u64,
    used: u64,
    capacity: u64,
}

impl ReferenceGdsf {
    /// An empty list that holds at most `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { nodes: Vec::new(), order: BTreeSet::new(), floor: 0.0, requests: 0, used: 0, capacity }
    }

    /// Lists an object that takes more bytes than its priority counts, and lets go of others until all have room.
    pub fn admit_charged(&mut self, id: u32, size: u64, charge: u64, victims: &mut Vec<u32>) {
        self.remove(id);
        if size > self.capacity {
            victims.push(id);
            return;
        }
        let at = id as usize;
        if self.nodes.len() <= at {
            self.nodes.resize(at + 1, Node::default());
        }
        self.used += charge;
        self.place(id, size, charge, 1);
        while self.used > self.capacity
            && let Some(victim) = self.evict()
        {
            victims.push(victim);
        }
    }

    fn place(&mut self, id: u32, size: u64, charge: u64, frequency: u32) {
        self.requests += 1;
        let priority = self.floor + f64::from(frequency) * 1e6 / size.max(1) as f64;
        let node = Node { size, charge, priority, asked: self.requests, frequency };
        self.order.insert((priority.to_bits(), node.asked, id));
        if let Some(place) = self.nodes.get_mut(id as usize) {
            *place = node;
        }
    }

    fn listed(&self, id: u32) -> Option<Node> {
        self.nodes.get(id as usize).copied().filter(|node| node.frequency > 0)
    }
}

impl Eviction for ReferenceGdsf {
    fn insert(&mut self, id: u32, size: u64, _fingerprint: u64) {
        let at = id as usize;
        if self.nodes.len() <= at {
            self.nodes.resize(at + 1, Node::default());
        }
        self.used += size;
        self.place(id, size, size, 1);
    }

    fn access(&mut self, id: u32, _fingerprint: u64) {
        if let Some(node) = self.listed(id) {
            self.order.remove(&(node.priority.to_bits(), node.asked, id));
            self.place(id, node.size, node.charge, node.frequency.saturating_add(1));
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        if let Some(node) = self.nodes.get_mut(id as usize).filter(|node| node.frequency > 0) {
            self.used = self.used - node.charge + size;
            (node.size, node.charge) = (size, size);
        }
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        let node = self.listed(id)?;
        self.order.remove(&(node.priority.to_bits(), node.asked, id));
        self.used -= node.charge;
        if let Some(place) = self.nodes.get_mut(id as usize) {
            *place = Node::default();
        }
        Some(node.size)
    }

    fn victim(&mut self) -> Option<u32> {
        self.order.first().map(|(_, _, id)| *id)
    }

    fn evict(&mut self) -> Option<u32> {
        let (priority, _, id) = *self.order.first()?;
        self.floor = f64::from_bits(priority);
        self.remove(id);
        Some(id)
    }

    fn admit_into(&mut self, id: u32, size: u64, _fingerprint: u64, victims: &mut Vec<u32>) {
        self.admit_charged(id, size, size, victims);
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.listed(id).map(|node| node.size)
    }

    fn extent(&self) -> Extent {
        Extent { objects: self.order.len(), used: self.used, capacity: self.capacity }
    }

    fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.order.len() * size_of::<(u64, u64, u32)>() * 5 / 4
    }
}
