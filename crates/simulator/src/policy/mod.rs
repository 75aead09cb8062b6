//! Which object leaves: the algorithms that ship, those that everybody compares with, and the reference's own variants.
//!
//! All implement the storage crate's [`Eviction`]. What serves is replayed as it serves; FIFO, CLOCK, 2Q and ARC are
//! here only, with the defaults of libCacheSim. Three that ship differ from it on purpose (`docs/eviction.md` says
//! how), so that its variants of them are here as well, by names of their own.

mod arc;
mod fifo;
mod queues;
mod reference_gdsf;
mod reference_s3_fifo;
mod reference_w_tiny_lfu;
#[cfg(test)]
mod tests;
mod two_queue;

use std::fmt;

use larder_storage::eviction::{Aim, Algorithm, Auto, Eviction, Gdsf, Lru, S3Fifo, Sieve, WTinyLfu};

pub use arc::Arc;
pub use fifo::{Clock, Fifo};
pub use reference_gdsf::ReferenceGdsf;
pub use reference_s3_fifo::ReferenceS3Fifo;
pub use reference_w_tiny_lfu::ReferenceWTinyLfu;
pub use two_queue::TwoQueue;

/// A policy by its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Policy {
    /// One that larder can serve with.
    Shipped(Algorithm),
    /// Whichever of those is best by an aim.
    Auto(Aim),
    /// First in, first out.
    Fifo,
    /// FIFO with a second chance.
    Clock,
    /// 2Q.
    TwoQueue,
    /// ARC.
    Arc,
    /// S3-FIFO as libCacheSim configures it.
    ReferenceS3Fifo,
    /// W-TinyLFU as libCacheSim configures it.
    ReferenceWTinyLfu,
    /// GDSF as libCacheSim has it.
    ReferenceGdsf,
}

/// Something that is done with a policy's own type, so that it is compiled for each.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<E: Eviction + 'static>(self, eviction: E) -> Self::Output;
}

impl Policy {
    /// All of them, those that ship first.
    pub const ALL: [Self; 14] = [
        Self::Shipped(Algorithm::Lru),
        Self::Shipped(Algorithm::Sieve),
        Self::Shipped(Algorithm::S3Fifo),
        Self::Shipped(Algorithm::WTinyLfu),
        Self::Shipped(Algorithm::Gdsf),
        Self::Auto(Aim::Requests),
        Self::Auto(Aim::Bytes),
        Self::Fifo,
        Self::Clock,
        Self::TwoQueue,
        Self::Arc,
        Self::ReferenceS3Fifo,
        Self::ReferenceWTinyLfu,
        Self::ReferenceGdsf,
    ];

    /// The algorithms that larder can serve with.
    pub const SHIPPED: [Self; 5] = [
        Self::Shipped(Algorithm::Lru),
        Self::Shipped(Algorithm::Sieve),
        Self::Shipped(Algorithm::S3Fifo),
        Self::Shipped(Algorithm::WTinyLfu),
        Self::Shipped(Algorithm::Gdsf),
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shipped(algorithm) => algorithm.name(),
            Self::Auto(Aim::Requests) => "auto-requests",
            Self::Auto(Aim::Bytes) => "auto-bytes",
            Self::Fifo => "fifo",
            Self::Clock => "clock",
            Self::TwoQueue => "2q",
            Self::Arc => "arc",
            Self::ReferenceS3Fifo => "s3-fifo-libcachesim",
            Self::ReferenceWTinyLfu => "w-tinylfu-libcachesim",
            Self::ReferenceGdsf => "gdsf-libcachesim",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// Does something with an empty list of at most `capacity` bytes.
    pub fn visit<V: Visitor>(self, capacity: u64, visitor: V) -> V::Output {
        match self {
            Self::Shipped(Algorithm::Lru) => visitor.visit(Lru::new(capacity)),
            Self::Shipped(Algorithm::Sieve) => visitor.visit(Sieve::new(capacity)),
            Self::Shipped(Algorithm::S3Fifo) => visitor.visit(S3Fifo::new(capacity)),
            Self::Shipped(Algorithm::WTinyLfu) => visitor.visit(WTinyLfu::new(capacity)),
            Self::Shipped(Algorithm::Gdsf) => visitor.visit(Gdsf::new(capacity)),
            Self::Auto(aim) => visitor.visit(Auto::new(aim, capacity)),
            Self::Fifo => visitor.visit(Fifo::new(capacity)),
            Self::Clock => visitor.visit(Clock::new(capacity)),
            Self::TwoQueue => visitor.visit(TwoQueue::new(capacity)),
            Self::Arc => visitor.visit(Arc::new(capacity)),
            Self::ReferenceS3Fifo => visitor.visit(ReferenceS3Fifo::new(capacity)),
            Self::ReferenceWTinyLfu => visitor.visit(ReferenceWTinyLfu::new(capacity)),
            Self::ReferenceGdsf => visitor.visit(ReferenceGdsf::new(capacity)),
        }
    }

    /// Most bytes of memory that it takes for each object of a trace.
    #[must_use]
    pub const fn object_bytes(self) -> u64 {
        match self {
            // The miniatures of `auto` are bounded, however many objects there are.
            Self::Shipped(_) | Self::Auto(_) => 20,
            Self::Fifo | Self::Clock | Self::TwoQueue | Self::Arc | Self::ReferenceS3Fifo => 18,
            Self::ReferenceWTinyLfu => 26,
            Self::ReferenceGdsf => 96,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
