//! Replays traces through the eviction code that ships, and counts what it would have hit.
//!
//! Traces in, hit ratios out: the same trace gives the same figures every time. Nothing here reads a clock or opens
//! a store, and every object is taken as cacheable and fresh, whatever HTTP would say.

mod error;
mod replay;
pub mod report;
pub mod trace;

pub use error::TraceError;
pub use replay::{Counts, Objects, Replay, Requests};

#[cfg(test)]
fn fixtures() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/traces")
}
