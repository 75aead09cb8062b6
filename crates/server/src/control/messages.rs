//! What travels over the control API, as JSON.

use larder_storage::VerifyReport;
use serde::{Deserialize, Serialize};

/// What to remove from the store: `{"url": "..."}`, `{"host": "..."}`, `{"tag": "..."}` or `{"all": true}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purge {
    /// All stored responses of this absolute http or https URL.
    Url(String),
    /// All stored responses whose URL has this host, whatever the port and scheme; IPv6 in brackets.
    Host(String),
    /// All stored responses with this tag in `Cache-Tag`, `Surrogate-Key` or `xkey`.
    Tag(String),
    /// Everything. The value must be true.
    All(bool),
}

/// The answer to a [`Purge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Stored responses removed.
    pub removed: u64,
}

/// A request to compare every stored body with its digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// Whether to drop what is damaged and make the index anew. Default: only report it.
    pub repair: bool,
}

/// The answer to a [`Verify`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verified {
    /// Whether every stored response was what it was when it was stored.
    pub sound: bool,
    /// Stored responses that count.
    pub records: u64,
    /// Bytes of bodies that were read and hashed.
    pub body_bytes: u64,
    /// Stretches of segments that are not records: damage, or the torn end after a crash.
    pub damaged_stretches: u64,
    /// Bytes of them.
    pub damaged_bytes: u64,
    /// Stored responses whose body is not what it was.
    pub damaged_bodies: u64,
    /// Stored responses whose body is gone.
    pub missing_bodies: u64,
    /// Stored responses that are no longer found, though their records are sound.
    pub unindexed: u64,
    /// Stored responses dropped for repair.
    pub dropped: u64,
}

impl From<VerifyReport> for Verified {
    fn from(report: VerifyReport) -> Self {
        Self {
            sound: report.is_sound(),
            records: report.records,
            body_bytes: report.body_bytes,
            damaged_stretches: report.damaged_stretches,
            damaged_bytes: report.damaged_bytes,
            damaged_bodies: report.damaged_bodies,
            missing_bodies: report.missing_bodies,
            unindexed: report.unindexed,
            dropped: report.dropped,
        }
    }
}

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// What was wrong, for people.
    pub(super) error: String,
}
