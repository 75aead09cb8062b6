//! The kit of the scenarios: a scripted origin, a proxy, a client.
//!
//! Waits end when what they wait for has happened. [`PATIENCE`] only ends a test that would hang.

pub mod client;
pub mod h2;
pub mod http2;
pub mod message;
pub mod origin;
pub mod process;
pub mod proxy;
pub mod tls;
pub mod tls_origin;

use std::time::Duration;

pub use client::Client;
pub use message::Response;
pub use origin::{After, Gate, Origin};
pub use process::Larder;
pub use proxy::Proxy;

/// How long a wait may last before the test is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that differ from place to place, the same for the same seed.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Waits until something holds, for what no event tells. Yields between looks.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}
