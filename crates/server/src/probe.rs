//! What the benches measure of the inside. Not an interface: it may change or go at any time.

use crate::http1::{HeadLimits, parse_request};

/// Reads a request head; its length, or none when it is not a whole one.
#[must_use]
pub fn request_head(bytes: &[u8]) -> Option<usize> {
    parse_request(bytes, &HeadLimits::default()).ok().flatten().map(|(_, length)| length)
}
