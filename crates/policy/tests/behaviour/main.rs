//! What a shared cache must do, as tables: one row, one rule. Each row begins with the number of the rule in
//! the list of behaviours, and tells a story of three messages: a request, the origin's response to it, and a
//! later request, with what larder does for that.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers included"
)]

mod age;
mod combining;
mod directives;
mod explain;
mod freshness;
mod invalidation;
mod kit;
mod overrides;
mod packages;
mod parts;
mod ranges;
mod stale;
mod storing;
mod validation;
mod vary;
