//! Which object leaves when room is needed: pure algorithms, a file each.
//!
//! An algorithm knows objects as small numbers with a size in bytes and, where it needs to recognise one
//! that has left, a fingerprint. It owns no lock, clock or file: it names the victims and the caller removes them.
//! Memory tier, disk tier and simulator share these types.
//!
//! Shares of the room (S3-FIFO's small queue, W-TinyLFU's window) are shares of what is held, not of the capacity:
//! a caller that has no byte limit of its own and asks for victims when it runs out of something else gets the
//! same order. No algorithm refuses an object for being large: what is large enters like all else, and is judged
//! when somebody must leave.

mod auto;
mod chunks;
mod following;
mod gdsf;
mod ghosts;
mod lru;
mod lru_map;
mod s3_fifo;
mod sieve;
mod sketch;
mod slab;
#[cfg(test)]
mod tests;
mod w_tiny_lfu;

use std::fmt::Debug;

pub use auto::Auto;
pub use following::Following;
pub use gdsf::Gdsf;
pub use lru::Lru;
pub use lru_map::LruMap;
pub use s3_fifo::S3Fifo;
pub use sieve::Sieve;
pub use w_tiny_lfu::WTinyLfu;

/// How much is listed, and how much may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Listed objects.
    pub objects: usize,
    /// Sum of their sizes in bytes.
    pub used: u64,
    /// Most bytes that [`Eviction::admit`] leaves listed.
    pub capacity: u64,
}

/// An order in which objects leave.
///
/// Objects are numbered by the caller, densely from zero: memory is proportional to the highest number.
/// Fingerprints are 64 evenly distributed bits that stay with the object when it comes again; each call for one object gives the same.
pub trait Eviction: Debug + Send {
    /// Lists an object of `size` bytes that is not listed, whatever the capacity.
    fn insert(&mut self, id: u32, size: u64, fingerprint: u64);

    /// The object was asked for. Unknown numbers are ignored.
    fn access(&mut self, id: u32, fingerprint: u64);

    /// A listed object has another size now, and keeps its place. Unknown numbers are ignored.
    fn resize(&mut self, id: u32, size: u64);

    /// Takes an object off the list, as when its owner removed it, and returns its size.
    fn remove(&mut self, id: u32) -> Option<u64>;

    /// Who would leave next. It stays listed, and what it takes to find it is done: asking is not for nothing.
    /// `None` only when nothing is listed.
    fn victim(&mut self) -> Option<u32>;

    /// The size of a listed object in bytes.
    fn size(&self, id: u32) -> Option<u64>;

    /// How much is listed, and how much may be.
    fn extent(&self) -> Extent;

    /// Becomes the order of another algorithm, if it is one that can: see [`Following`]. Others stay what they are.
    fn follow(&mut self, _algorithm: Algorithm) {}

    /// Takes so many steps of such a change. True when none is left.
    fn settle(&mut self, _objects: usize) -> bool {
        true
    }

    /// Bytes of memory that the algorithm takes itself.
    fn memory_bytes(&self) -> usize;

    /// Takes the next victim off the list. `None` only when nothing is listed.
    fn evict(&mut self) -> Option<u32> {
        let id = self.victim()?;
        self.remove(id);
        Some(id)
    }

    /// Most bytes that [`Eviction::admit`] leaves listed.
    fn capacity(&self) -> u64 {
        self.extent().capacity
    }

    /// Sum of the sizes of all listed objects, in bytes.
    fn used(&self) -> u64 {
        self.extent().used
    }

    /// How many objects are listed.
    fn len(&self) -> usize {
        self.extent().objects
    }

    /// Whether nothing is listed.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lists an object and returns what must leave for it, in order.
    ///
    /// An object that is larger than the capacity is itself the only victim. One that was listed already is
    /// listed anew, with its new size.
    fn admit(&mut self, id: u32, size: u64, fingerprint: u64) -> Vec<u32> {
        let mut victims = Vec::new();
        self.admit_into(id, size, fingerprint, &mut victims);
        victims
    }

    /// The same, and appends what must leave.
    fn admit_into(&mut self, id: u32, size: u64, fingerprint: u64, victims: &mut Vec<u32>) {
        self.remove(id);
        if size > self.capacity() || id == slab::NONE {
            victims.push(id);
            return;
        }
        while self.used() + size > self.capacity() {
            match self.evict() {
                Some(victim) => victims.push(victim),
                None => break,
            }
        }
        self.insert(id, size, fingerprint);
    }
}

/// An order that can be noted down and taken up again, object by object.
pub trait Ranked: Eviction {
    /// Begins a walk over all objects.
    fn rewind(&mut self);

    /// The next object of the walk with its rank: small numbers that only the same algorithm understands. The walk may go on
    /// over any changes; what is listed or asked for meanwhile may be left out.
    fn next_rank(&mut self) -> Option<(u32, u32)>;

    /// Gives a listed object its rank again, behind all that were given theirs before. When all of a walk have been given theirs in
    /// the order in which they came, the rest are the newest. Unknown numbers are ignored, and any rank is safe.
    fn restore(&mut self, id: u32, fingerprint: u64, rank: u32);

    /// How often a listed object was asked for, its arrival included, as far as this order knows: one is a newcomer, two is
    /// whatever has held its place. For [`Ranked::adopt`].
    fn uses(&self, id: u32) -> u32;

    /// Lists an object that is not listed, the newest among its like, as one that another order has held.
    fn adopt(&mut self, id: u32, size: u64, uses: u32);
}

/// What an order of eviction is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Aim {
    /// As many requests as can be are hits: what a memory tier is for.
    Requests,
    /// As many bytes as can be are: what a disk tier is for.
    Bytes,
}

impl Aim {
    /// The algorithm to begin with: at sizes of 1 to 30 % of the footprint the best for it on average.
    #[must_use]
    pub const fn first(self) -> Algorithm {
        match self {
            Self::Requests => Algorithm::Gdsf,
            Self::Bytes => Algorithm::WTinyLfu,
        }
    }
}

/// The algorithms, by the names that the configuration has for them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// Least recently used: what everybody knows.
    Lru,
    /// SIEVE: almost as cheap as a queue.
    Sieve,
    /// S3-FIFO, with large objects in mind: the disk tier's default.
    S3Fifo,
    /// W-TinyLFU: what is asked for often stays.
    WTinyLfu,
    /// Greedy-Dual-Size with Frequency: the memory tier's default.
    Gdsf,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Lru, Self::Sieve, Self::S3Fifo, Self::WTinyLfu, Self::Gdsf];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Sieve => "sieve",
            Self::S3Fifo => "s3-fifo",
            Self::WTinyLfu => "w-tinylfu",
            Self::Gdsf => "gdsf",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// An empty list of at most `capacity` bytes, over a slab: at most 20 bytes an object.
    #[must_use]
    pub fn ranked(self, capacity: u64) -> Box<dyn Ranked> {
        match self {
            Self::Lru => Box::new(Lru::new(capacity)),
            Self::Sieve => Box::new(Sieve::new(capacity)),
            Self::S3Fifo => Box::new(S3Fifo::new(capacity)),
            Self::WTinyLfu => Box::new(WTinyLfu::new(capacity)),
            Self::Gdsf => Box::new(Gdsf::new(capacity)),
        }
    }

    /// The same for objects that are held in memory themselves.
    #[must_use]
    pub fn in_memory(self, capacity: u64) -> Box<dyn Eviction> {
        match self {
            Self::Lru => Box::new(LruMap::new(capacity)),
            other => other.ranked(capacity),
        }
    }
}

/// How a tier chooses what leaves: what the configuration says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Policy {
    /// By one algorithm.
    Fixed(Algorithm),
    /// By whichever does best.
    Auto,
}

impl Policy {
    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        Algorithm::ALL.into_iter().map(Self::Fixed).chain([Self::Auto])
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed(algorithm) => algorithm.name(),
            Self::Auto => "auto",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|policy| policy.name() == name)
    }

    /// An empty list of at most `capacity` bytes for a simulation, which feeds it all by itself.
    #[must_use]
    pub fn simulated(self, aim: Aim, capacity: u64) -> Box<dyn Eviction> {
        match self {
            Self::Fixed(algorithm) => algorithm.in_memory(capacity),
            Self::Auto => Box::new(Auto::new(aim, capacity)),
        }
    }

    /// An empty list of at most `capacity` bytes that begins with `first`, and stays with it unless the policy is to change.
    pub(crate) fn ranked(self, first: Algorithm, capacity: u64) -> Box<dyn Ranked> {
        match self {
            Self::Fixed(algorithm) => algorithm.ranked(capacity),
            Self::Auto => Box::new(Following::new(first, capacity)),
        }
    }

    /// The same for objects that are held in memory themselves.
    pub(crate) fn in_memory(self, first: Algorithm, capacity: u64) -> Box<dyn Eviction> {
        match self {
            Self::Fixed(algorithm) => algorithm.in_memory(capacity),
            Self::Auto => Box::new(Following::new(first, capacity)),
        }
    }
}

impl From<Algorithm> for Policy {
    fn from(algorithm: Algorithm) -> Self {
        Self::Fixed(algorithm)
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl<E: Eviction + ?Sized> Eviction for Box<E> {
    fn insert(&mut self, id: u32, size: u64, fingerprint: u64) {
        (**self).insert(id, size, fingerprint);
    }

    fn access(&mut self, id: u32, fingerprint: u64) {
        (**self).access(id, fingerprint);
    }

    fn resize(&mut self, id: u32, size: u64) {
        (**self).resize(id, size);
    }

    fn remove(&mut self, id: u32) -> Option<u64> {
        (**self).remove(id)
    }

    fn victim(&mut self) -> Option<u32> {
        (**self).victim()
    }

    fn evict(&mut self) -> Option<u32> {
        (**self).evict()
    }

    fn admit_into(&mut self, id: u32, size: u64, fingerprint: u64, victims: &mut Vec<u32>) {
        (**self).admit_into(id, size, fingerprint, victims);
    }

    fn size(&self, id: u32) -> Option<u64> {
        (**self).size(id)
    }

    fn extent(&self) -> Extent {
        (**self).extent()
    }

    fn follow(&mut self, algorithm: Algorithm) {
        (**self).follow(algorithm);
    }

    fn settle(&mut self, objects: usize) -> bool {
        (**self).settle(objects)
    }

    fn memory_bytes(&self) -> usize {
        (**self).memory_bytes()
    }
}
