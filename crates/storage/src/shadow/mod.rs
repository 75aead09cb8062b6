//! Shadow caches: what other sizes and other algorithms would hit of the same requests, in little memory.
//!
//! A [`Miniature`] is one size of cache with every algorithm, fed with a sample of the objects; a tier has five of them.
//! Everything but `live` is pure: requests in, ratios out, the same for the same requests. All of a store's shadows take
//! less than 4 MiB, whatever comes.

mod chooser;
mod live;
mod miniature;
mod objects;
mod scale;
mod tier;

pub(crate) use chooser::Chooser;
#[cfg(test)]
pub(crate) use live::look;
pub(crate) use live::{Shadows, Watcher};
pub(crate) use miniature::Miniature;
pub(crate) use scale::Scale;
pub use tier::{Shadow, ShadowEstimate};

/// Objects that a miniature of a tier's own size follows at most.
pub(crate) const OBJECTS: usize = 8192;
/// Objects that one of another size follows.
const OBJECTS_OF_OTHERS: usize = 1536;
/// Least requests of a window, after which the algorithms are compared.
pub(crate) const WINDOW: usize = 1000;
