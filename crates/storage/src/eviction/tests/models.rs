//! The algorithms as plainly as they can be written: vectors that are searched from end to end.

use super::super::ghosts::Ghosts;
use super::super::sketch::Sketch;
use super::super::*;
use super::CAPACITY;

#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    id: u32,
    size: u64,
    state: u32,
}

/// What the naive models have in common: objects in vectors, oldest first.
#[derive(Debug)]
pub(super) struct Naive<M> {
    queues: [Vec<Object>; 3],
    model: M,
}

impl<M> Naive<M> {
    pub(super) fn new(model: M) -> Self {
        Self { queues: Default::default(), model }
    }

    fn find(&self, id: u32) -> Option<(usize, usize)> {
        let at = |queue: &Vec<Object>| queue.iter().position(|object| object.id == id);
        self.queues.iter().enumerate().find_map(|(queue, objects)| Some((queue, at(objects)?)))
    }

    fn take(&mut self, id: u32) -> Object {
        let (queue, at) = self.find(id).unwrap();
        self.queues[queue].remove(at)
    }

    fn to(&mut self, queue: usize, id: u32) {
        let object = self.take(id);
        self.queues[queue].push(object);
    }

    fn state(&mut self, id: u32) -> &mut u32 {
        let (queue, at) = self.find(id).unwrap();
        &mut self.queues[queue][at].state
    }

    fn bytes(&self, queue: usize) -> u64 {
        self.queues[queue].iter().map(|object| object.size).sum()
    }
}

pub(super) trait Model: Debug + Send + Sized {
    fn insert(naive: &mut Naive<Self>, object: Object, fingerprint: u64);
    fn access(naive: &mut Naive<Self>, id: u32, fingerprint: u64);
    fn victim(naive: &mut Naive<Self>) -> Option<u32>;
    fn leaves(_naive: &mut Naive<Self>, _id: u32) {}
    fn evicted(_naive: &mut Naive<Self>, _id: u32) {}
    fn newcomer_may_leave() -> bool {
        false
    }
}

impl<M: Model> Eviction for Naive<M> {
    fn insert(&mut self, id: u32, size: u64, fingerprint: u64) {
        M::insert(self, Object { id, size, state: 0 }, fingerprint);
    }

    fn access(&mut self, id: u32, fingerprint: u64) {
        if self.find(id).is_some() {
            M::access(self, id, fingerprint);
        }
    }

    fn resize(&mut self, id: u32, size: u64) {
        if let Some((queue, at)) = self.find(id) {
            self.queues[queue][at].size = size;
        }
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        self.find(id)?;
        M::leaves(self, id);
        Some(self.take(id).size)
    }

    fn victim(&mut self) -> Option<u32> {
        M::victim(self)
    }

    fn evict(&mut self) -> Option<u32> {
        let id = M::victim(self)?;
        M::evicted(self, id);
        self.remove(id);
        Some(id)
    }

    fn admit_into(&mut self, id: u32, size: u64, fingerprint: u64, victims: &mut Vec<u32>) {
        self.remove(id);
        if M::newcomer_may_leave() {
            self.insert(id, size, fingerprint);
        }
        let need = if M::newcomer_may_leave() { 0 } else { size };
        while self.used() + need > CAPACITY {
            victims.extend(self.evict());
        }
        if !M::newcomer_may_leave() {
            self.insert(id, size, fingerprint);
        }
    }

    fn size(&self, id: u32) -> Option<u64> {
        self.find(id).map(|(queue, at)| self.queues[queue][at].size)
    }

    fn extent(&self) -> Extent {
        Extent {
            objects: self.queues.iter().map(Vec::len).sum(),
            used: (0..3).map(|queue| self.bytes(queue)).sum(),
            capacity: CAPACITY,
        }
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[derive(Debug)]
pub(super) struct NaiveLru;

impl Model for NaiveLru {
    fn insert(naive: &mut Naive<Self>, object: Object, _: u64) {
        naive.queues[0].push(object);
    }

    fn access(naive: &mut Naive<Self>, id: u32, _: u64) {
        naive.to(0, id);
    }

    fn victim(naive: &mut Naive<Self>) -> Option<u32> {
        naive.queues[0].first().map(|object| object.id)
    }
}

/// The place of the hand.
#[derive(Debug)]
pub(super) struct NaiveSieve(pub(super) usize);

impl Model for NaiveSieve {
    fn insert(naive: &mut Naive<Self>, object: Object, _: u64) {
        naive.queues[0].push(object);
    }

    fn access(naive: &mut Naive<Self>, id: u32, _: u64) {
        *naive.state(id) = 1;
    }

    fn victim(naive: &mut Naive<Self>) -> Option<u32> {
        let queue = &mut naive.queues[0];
        loop {
            if naive.model.0 >= queue.len() {
                naive.model.0 = 0;
            }
            let object = queue.get_mut(naive.model.0)?;
            if object.state == 0 {
                return Some(object.id);
            }
            object.state = 0;
            naive.model.0 += 1;
        }
    }

    fn leaves(naive: &mut Naive<Self>, id: u32) {
        let (_, at) = naive.find(id).unwrap();
        let end = naive.queues[0].len();
        // A hand that went beyond the newest begins at the oldest, also when newer ones come meanwhile.
        if naive.model.0 == at && at + 1 == end {
            naive.model.0 = 0;
        } else if naive.model.0 > at {
            naive.model.0 -= 1;
        }
    }
}

#[derive(Debug)]
pub(super) struct NaiveS3Fifo(pub(super) Ghosts);

impl Model for NaiveS3Fifo {
    fn insert(naive: &mut Naive<Self>, object: Object, fingerprint: u64) {
        naive.model.0.remember(naive.len() / 2 + 1);
        let known = naive.model.0.take(fingerprint);
        if !known {
            naive.model.0.add(fingerprint);
        }
        naive.queues[usize::from(known)].push(object);
    }

    fn access(naive: &mut Naive<Self>, id: u32, _: u64) {
        let state = naive.state(id);
        *state = (*state + 1).min(3);
    }

    fn victim(naive: &mut Naive<Self>) -> Option<u32> {
        loop {
            let over = naive.bytes(1) > naive.used() / 10 * 9;
            let from = usize::from((over || naive.queues[0].is_empty()) && !naive.queues[1].is_empty());
            let oldest = *naive.queues[from].first()?;
            if oldest.state == 0 {
                return Some(oldest.id);
            }
            *naive.state(oldest.id) = if from == 0 { 0 } else { oldest.state - 1 };
            naive.to(1, oldest.id);
        }
    }
}

/// Window, probation, protected; the state of an object is its count.
#[derive(Debug)]
pub(super) struct NaiveTinyLfu(pub(super) Sketch);

impl NaiveTinyLfu {
    fn count(naive: &mut Naive<Self>, fingerprint: u64) {
        if naive.model.0.increment(fingerprint, naive.len()) {
            naive.queues.iter_mut().flatten().for_each(|object| object.state /= 2);
        }
    }
}

impl Model for NaiveTinyLfu {
    fn insert(naive: &mut Naive<Self>, mut object: Object, fingerprint: u64) {
        naive.model.0.widen(naive.len() + 1);
        Self::count(naive, fingerprint);
        object.state = naive.model.0.estimate(fingerprint);
        naive.queues[0].push(object);
        while naive.bytes(0) > naive.used() / 100 + naive.used() / 8 && naive.queues[0].len() > 1 {
            naive.to(1, naive.queues[0][0].id);
        }
    }

    fn access(naive: &mut Naive<Self>, id: u32, fingerprint: u64) {
        Self::count(naive, fingerprint);
        let state = naive.state(id);
        *state = (*state + 1).min(15);
        let (queue, _) = naive.find(id).unwrap();
        naive.to(if queue == 0 { 0 } else { 2 }, id);
        while queue == 1
            && naive.bytes(2) > (naive.bytes(1) + naive.bytes(2)) / 5 * 4
            && naive.queues[2][0].id != id
        {
            naive.to(1, naive.queues[2][0].id);
        }
    }

    fn victim(naive: &mut Naive<Self>) -> Option<u32> {
        let candidate = naive.queues[0].first().copied();
        let Some(victim) = naive.queues[1].first().or(naive.queues[2].first()).copied() else {
            return candidate.map(|object| object.id);
        };
        match candidate.filter(|_| naive.bytes(0) > naive.used() / 100) {
            Some(candidate) if candidate.state < victim.state => Some(candidate.id),
            Some(candidate) => {
                naive.to(1, candidate.id);
                Some(victim.id)
            }
            None => Some(victim.id),
        }
    }
}

/// The floor, and the priority of every object; the state of an object is its frequency.
#[derive(Debug, Default)]
pub(super) struct NaiveGdsf(f64, std::collections::HashMap<u32, f64>);

impl Model for NaiveGdsf {
    fn insert(naive: &mut Naive<Self>, object: Object, fingerprint: u64) {
        naive.queues[0].push(object);
        Self::access(naive, object.id, fingerprint);
    }

    fn access(naive: &mut Naive<Self>, id: u32, _: u64) {
        *naive.state(id) += 1;
        let (frequency, size) = (f64::from(*naive.state(id)), naive.size(id).unwrap() as f64);
        let priority = naive.model.0 + frequency * 1e6 / size;
        naive.model.1.insert(id, priority);
    }

    fn victim(naive: &mut Naive<Self>) -> Option<u32> {
        let of = |object: &&Object| naive.model.1[&object.id];
        naive.queues[0].iter().min_by(|one, other| of(one).total_cmp(&of(other))).map(|object| object.id)
    }

    fn evicted(naive: &mut Naive<Self>, id: u32) {
        naive.model.0 = naive.model.1[&id];
    }

    fn newcomer_may_leave() -> bool {
        true
    }
}
