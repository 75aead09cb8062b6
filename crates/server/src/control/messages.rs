//! What travels over the control API, as JSON.

use std::time::{Duration, Instant};

use larder_storage::{BlobDigest, Checked, EntryFile, FaultKind, VerifyReport};
use serde::{Deserialize, Serialize};

/// Which stored responses: all that is given must hold. `{"url": "..."}`, `{"host": "...", "older_ms": 86400000}`,
/// `{"all": true}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Of this absolute http or https URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of this host, or of all below it (`*.example.com`), whatever the port and scheme; IPv6 in brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Of URLs like this: see [`UrlPattern`](larder_policy::UrlPattern).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// With this tag in `Cache-Tag`, `Surrogate-Key` or `xkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Stored, or last validated, at least so long ago, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_ms: Option<u64>,
    /// Stored, or last validated, less than so long ago, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_ms: Option<u64>,
    /// With a body of so many bytes or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub larger_bytes: Option<u64>,
    /// With a body of fewer bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smaller_bytes: Option<u64>,
    /// Everything; nothing else may be given then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// A request to list what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// What of it. Default: everything.
    pub select: Selection,
    /// In which order; needs a `limit` of at most [`List::SORTED`]. Default: as it lies on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<Sort>,
    /// No more than so many. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// By URL.
    Url,
    /// The largest body first.
    Size,
    /// What was stored or validated longest ago first.
    Age,
}

/// One stored response of a list. Times are in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// The URL in the spelling that keys have.
    pub url: String,
    /// The origin that a reverse listener asked for it; none for forward listeners.
    pub origin: Option<String>,
    /// The status.
    pub status: u16,
    /// Bytes of its body. Of a part that can grow: what its files take on disk.
    pub bytes: u64,
    /// Which bytes of the representation these are, as Content-Range has it, if not all.
    pub part: Option<String>,
    /// Of a part that can grow, the first and the last byte of each stretch that is here, in order.
    pub runs: Vec<(u64, u64)>,
    /// When it was stored or last validated, as an HTTP-date.
    pub stored: String,
    /// How long ago that was.
    pub stored_ms_ago: u64,
    /// How old it is (RFC 9111, 4.2.3).
    pub age_ms: u64,
    /// How old it may get and be fresh (RFC 9111, 4.2.1).
    pub lifetime_ms: u64,
    /// Whether it is fresh.
    pub fresh: bool,
    /// Whether it is validated each time, fresh or not (RFC 9111, 5.2.2.4).
    pub no_cache: bool,
    /// The request fields that Vary nominated, with their values.
    pub vary: Vec<ListedField>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The segment that holds its record: `segments/`, the number in eight hexadecimal digits, `.seg`.
    pub segment: u32,
    /// Whether its body is a file below `blobs/`, named by its digest.
    pub blob: bool,
    /// Whether only some ranges of its body are here, in a file in `partials/`; else, and without a blob, it is in the segment.
    pub partial: bool,
    /// BLAKE3 digest of its body, in hexadecimal digits; the name of a partial.
    pub digest: String,
}

/// A request field that chose a stored response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedField {
    /// In lower case.
    pub name: String,
    /// In the spelling in which values are compared; none where the request had no such field.
    pub value: Option<String>,
}

/// The answer to a request to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Removed {
    /// Stored responses removed.
    pub removed: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// A request to compare every stored body with its digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// Whether to drop what is damaged and make the index anew. Default: only report it.
    pub repair: bool,
}

/// One line of the answer to a [`Verify`]: any number of progress and fault, then one of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyLine {
    /// How far it has come.
    Progress(VerifyProgress),
    /// Something that is wrong.
    Fault(VerifyFault),
    /// The end: what was found.
    Verified(Verified),
    /// The end: it could not be done.
    Error(String),
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// Bytes read.
    pub done_bytes: u64,
    /// Bytes to be read, these included.
    pub total_bytes: u64,
}

/// Something that is wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyFault {
    /// What.
    pub kind: VerifyFaultKind,
    /// The URL of the response; none where its record cannot be read.
    pub url: Option<String>,
    /// The segment of the record, or of the damage.
    pub segment: u32,
    /// Where in the segment, in bytes.
    pub offset: u64,
    /// Bytes of the body, or of the damaged stretch.
    pub bytes: u64,
    /// Bytes that are missing behind a torn end, as far as anything tells of them.
    #[serde(default)]
    pub missing: u64,
    /// The file below `blobs/` that has the body, by its digest, where it is one.
    pub blob: Option<String>,
    /// The file in `partials/` that has the body, by its name, where it is one.
    pub partial: Option<String>,
    /// Whether the response was dropped.
    pub dropped: bool,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyFaultKind {
    /// A body is not what it was.
    DamagedBody,
    /// A body is gone.
    MissingBody,
    /// A record is damaged or gone that should be there.
    LostRecord,
    /// Bytes of a segment are no records.
    DamagedSegment,
    /// The same at the end of a segment, as a write leaves it that was cut off.
    TornEnd,
    /// Something that a later version knows.
    #[serde(other)]
    Other,
}

impl From<Checked> for VerifyLine {
    fn from(checked: Checked) -> Self {
        match checked {
            Checked::Fault(fault) => Self::Fault(VerifyFault {
                kind: match fault.kind {
                    FaultKind::DamagedBody => VerifyFaultKind::DamagedBody,
                    FaultKind::MissingBody => VerifyFaultKind::MissingBody,
                    FaultKind::LostRecord => VerifyFaultKind::LostRecord,
                    FaultKind::DamagedSegment => VerifyFaultKind::DamagedSegment,
                    FaultKind::TornEnd => VerifyFaultKind::TornEnd,
                    _ => VerifyFaultKind::Other,
                },
                url: fault.key.map(|key| key.target().to_string()),
                segment: fault.segment,
                offset: fault.offset,
                bytes: fault.bytes,
                missing: fault.missing,
                blob: name(fault.file, EntryFile::Blob),
                partial: name(fault.file, EntryFile::Partial),
                dropped: fault.dropped,
            }),
            Checked::Progress { done, total } => {
                Self::Progress(VerifyProgress { done_bytes: done, total_bytes: total })
            }
            _ => Self::Progress(VerifyProgress::default()),
        }
    }
}

fn name(file: Option<(EntryFile, BlobDigest)>, kind: EntryFile) -> Option<String> {
    file.filter(|file| file.0 == kind).map(|(_, name)| name.to_string())
}

/// Between two lines about the progress of a verification.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Makes lines of what a verification tells: of faults all, of progress one now and then, and `None` for the rest. What
/// `tell` returns says whether to go on.
pub fn paced(mut tell: impl FnMut(Option<VerifyLine>) -> bool) -> impl FnMut(Checked) -> bool {
    let mut last: Option<Instant> = None;
    move |checked| {
        let progress = matches!(checked, Checked::Progress { .. });
        if progress && last.is_some_and(|last| last.elapsed() < PROGRESS_EVERY) {
            return tell(None);
        }
        if progress {
            last = Some(Instant::now());
        }
        tell(Some(checked.into()))
    }
}

/// What a verification found.
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
    /// Of these, such as end with their segment and look like a write that was cut off.
    pub torn_ends: u64,
    /// Bytes of all these stretches.
    pub damaged_bytes: u64,
    /// Bytes that are missing behind the ends of segments, as far as anything tells of them.
    pub missing_bytes: u64,
    /// Stored responses whose body is not what it was.
    pub damaged_bodies: u64,
    /// Stored responses whose body is gone.
    pub missing_bodies: u64,
    /// Stored responses whose record is damaged or gone.
    pub lost_records: u64,
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
            torn_ends: report.torn_ends,
            damaged_bytes: report.damaged_bytes,
            missing_bytes: report.missing_bytes,
            damaged_bodies: report.damaged_bodies,
            missing_bodies: report.missing_bodies,
            lost_records: report.lost_records,
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
