//! Scenarios: a scripted origin, the proxy, a client, over real sockets. No sleeps, no fixed ports, no outside network.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "tests: a failed expectation is a panic, and the kit is used by whichever scenario needs it"
)]

mod scenarios;
mod support;
