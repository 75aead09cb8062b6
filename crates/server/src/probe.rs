//! What the benches measure of the inside. Not an interface: it may change or go at any time.

use larder_policy::Timestamp;

use crate::http1::{HeadLimits, parse_request};
use crate::tls::{Authority, Leaves};

/// Reads a request head; its length, or none when it is not a whole one.
#[must_use]
pub fn request_head(bytes: &[u8]) -> Option<usize> {
    parse_request(bytes, &HeadLimits::default()).ok().flatten().map(|(_, length)| length)
}

/// The leaves of an interception CA.
pub struct LeafProbe(Leaves);

impl LeafProbe {
    /// Keeps as many as a proxy does; none when there is no randomness for a key.
    #[must_use]
    pub fn new(authority: Authority) -> Option<Self> {
        Leaves::new(authority, Leaves::MOST).ok().map(Self)
    }

    /// The bytes of the chain for a name; none when there is none.
    #[must_use]
    pub fn chain_bytes(&self, name: &str, now: Timestamp) -> Option<usize> {
        let certified = self.0.certified(name, now).ok()?;
        Some(certified.cert.iter().map(|certificate| certificate.len()).sum())
    }
}
