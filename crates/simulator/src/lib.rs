//! Replays traces through the eviction code that ships, and counts what it would have hit.
//!
//! Traces in, hit ratios out: the same trace gives the same figures every time. Nothing here reads a clock or opens
//! a store. Replays of objects take every object as cacheable and fresh, whatever HTTP would say; [`http`] has the policy say it.

mod bound;
mod convert;
mod counts;
pub mod curve;
mod drive;
mod error;
pub mod http;
mod input;
pub mod log;
mod numbers;
pub mod policy;
mod replay;
mod scan;
mod simulation;
#[cfg(test)]
mod tests;
pub mod trace;

pub use bound::{Belady, Intervals};
pub use convert::{ConvertError, Converted, Target, convert};
pub use counts::Counts;
pub use curve::{Curve, Point};
pub use drive::{Observer, drive};
pub use error::TraceError;
pub use input::{Content, Inputs, Reader, UnreadableIn};
pub use numbers::{Numbered, Numbers, spread};
pub use policy::Policy;
pub use replay::{Cache, Memory, Outcome, Replay, Replaying, Window};
pub use scan::{Class, Scan, Span};
pub use simulation::{
    Cell, ClassReport, Curves, InputReport, PartReport, Plan, Report, Size, Stage, TraceReport, simulate,
};

#[cfg(test)]
fn fixtures() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/traces")
}
