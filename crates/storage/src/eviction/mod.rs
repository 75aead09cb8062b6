//! Which object leaves when room is needed: pure algorithms, a file each.
//!
//! An algorithm knows objects as small numbers and their sizes in bytes. It owns no lock, clock or file:
//! it names the victims and the caller removes them. The disk tier and the simulator share these types.

mod lru;

pub use lru::Lru;
