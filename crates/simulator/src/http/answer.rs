//! A line of a log as a request and as the answer that the origin gave, or would give at that time.
//!
//! Where the log shows the fields, they are taken as they are, less what only the way through the logging cache put into
//! them. Where it shows none, [`Assumptions`] make them up: a Last-Modified far enough back for the policy's own heuristics to
//! arrive at the assumed lifetime, and an entity tag that changes with the size.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use http::{Method, StatusCode};
use larder_policy::{Fields, HttpDate, PolicySettings, Timestamp, parse_http_date};

use crate::log::{Entry, Outcome};

/// What is taken for granted where a log does not tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assumptions {
    /// How long a response is fresh whose fields the log does not show, if its status lets it be stored by heuristics at all.
    /// Zero: it needs validation before every use. Default: a day.
    pub lifetime: Duration,
    /// Whether such a response has a validator. Default: yes.
    pub validator: bool,
    /// The site of a log that has only paths. Default: `site.invalid`.
    pub site: String,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(86_400), validator: true, site: "site.invalid".to_owned() }
    }
}

/// The fields with which a request asks something of a cache: as the log shows them, or as far as its status tells.
#[must_use]
pub fn asked(entry: &Entry) -> Fields {
    if let Some(fields) = &entry.request {
        return fields.clone();
    }
    let mut fields = Fields::new();
    // These are valid, whatever the line says.
    if entry.authorized == Some(true) {
        let _ = fields.push("Authorization", b"");
    }
    match entry.status {
        206 => _ = fields.push("Range", format!("bytes=0-{}", entry.bytes.saturating_sub(1)).as_bytes()),
        304 => _ = fields.push("If-Modified-Since", HttpDate(entry.time).to_string().as_bytes()),
        _ => {}
    }
    fields
}

/// The kind of entity tag that a response has. The tag itself is made from the version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ETag {
    /// None at all.
    None,
    /// A weak one.
    Weak,
    /// A strong one.
    Strong,
}

impl ETag {
    /// The tag of a version.
    #[must_use]
    pub fn value(self, version: u64) -> Option<String> {
        match self {
            Self::None => None,
            Self::Weak => Some(format!("W/\"{version:016x}\"")),
            Self::Strong => Some(format!("\"{version:016x}\"")),
        }
    }
}

/// What the origin answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields, with an entity tag made from the version where there is one.
    pub fields: Fields,
    /// Which representation it is; none when the line does not tell.
    pub version: Option<u64>,
    /// What kind of entity tag it has.
    pub etag: ETag,
    /// Bytes of the whole representation, or as many as came where that is not known.
    pub size: u64,
    /// Whether [`Answer::size`] is that of the whole representation.
    pub whole: bool,
    /// Bytes that the origin sends.
    pub sent: u64,
    /// Whether the log shows the fields.
    pub told: bool,
}

impl Answer {
    /// The answer that the origin gives to the request of a line at this time.
    #[must_use]
    pub fn of(entry: &Entry, assumptions: &Assumptions, policy: &PolicySettings, now: Timestamp) -> Self {
        let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let whole = has_whole_body(entry);
        let size = entry.length.unwrap_or(entry.bytes);
        let told = entry.response.is_some();
        let mut fields = match &entry.response {
            Some(fields) => as_from_the_origin(fields, entry, now),
            None => Fields::new(),
        };
        let mut answer = Self {
            status,
            version: None,
            etag: ETag::None,
            size,
            whole,
            sent: if whole { size } else { entry.bytes },
            told,
            fields: Fields::new(),
        };
        if told {
            answer.etag = match fields.first("etag") {
                Some(tag) if tag.starts_with(b"W/") => ETag::Weak,
                Some(_) => ETag::Strong,
                None => ETag::None,
            };
            answer.version = match (fields.first("etag"), fields.first("last-modified")) {
                (Some(tag), _) => Some(number(tag)),
                (None, Some(modified)) if status != StatusCode::NOT_MODIFIED => Some(number(modified)),
                _ => whole.then(|| number(&size.to_le_bytes())),
            };
        } else {
            assume(&mut fields, assumptions, policy, status, now);
            answer.etag = if assumptions.validator { ETag::Strong } else { ETag::None };
            answer.version = whole.then(|| number(&size.to_le_bytes()));
        }
        fields.remove("etag");
        if let Some(tag) = answer.version.and_then(|version| answer.etag.value(version)) {
            let _ = fields.push("ETag", tag.as_bytes());
        }
        if let Some(kind) = entry.content_type.as_deref().filter(|_| !fields.contains("content-type")) {
            let _ = fields.push("Content-Type", kind.as_bytes());
        }
        if entry.outcome == Some(Outcome::Bypass) && !told {
            let _ = fields.push("Cache-Control", b"no-store");
        }
        answer.fields = fields;
        answer
    }

    /// The same as the answer to a validation of this version.
    #[must_use]
    pub fn not_modified(&self, version: u64) -> Self {
        let mut answer = self.clone();
        answer.status = StatusCode::NOT_MODIFIED;
        answer.sent = 0;
        answer.fields.remove("etag");
        if let Some(tag) = answer.etag.value(version) {
            let _ = answer.fields.push("ETag", tag.as_bytes());
        }
        answer
    }
}

/// Whether the line's size is that of the whole representation.
fn has_whole_body(entry: &Entry) -> bool {
    let bodiless = matches!(entry.status, 204 | 206 | 304) || entry.method == Method::HEAD;
    entry.length.is_some() && entry.status != 304 || !bodiless && entry.aborted != Some(true)
}

/// The fields of a response that a cache sent, as the origin would send them now: without the age that they had there.
fn as_from_the_origin(fields: &Fields, entry: &Entry, now: Timestamp) -> Fields {
    let mut out = fields.clone();
    let from_cache = matches!(entry.outcome, Some(Outcome::Hit | Outcome::Stale));
    if !from_cache {
        return out;
    }
    out.remove("age");
    let date_of = |name: &str| fields.first(name).and_then(|value| parse_http_date(value, now));
    if let (Some(date), Some(expires)) = (date_of("date"), date_of("expires")) {
        let lifetime = expires.saturating_since(date);
        let _ = out.set("Expires", HttpDate(now.saturating_add(lifetime)).to_string().as_bytes());
    }
    let _ = out.set("Date", HttpDate(now).to_string().as_bytes());
    out
}

/// The fields of a response of which nothing is known.
fn assume(
    fields: &mut Fields,
    assumptions: &Assumptions,
    policy: &PolicySettings,
    status: StatusCode,
    now: Timestamp,
) {
    let _ = fields.push("Date", HttpDate(now).to_string().as_bytes());
    let dated = matches!(status.as_u16(), 200 | 203 | 206 | 300 | 301 | 304 | 308);
    let Some(percent) = Some(u64::from(policy.heuristic_percent)).filter(|percent| dated && *percent > 0)
    else {
        return;
    };
    let millis = u64::try_from(assumptions.lifetime.as_millis()).unwrap_or(u64::MAX);
    let before = i64::try_from(millis.saturating_mul(100).div_ceil(percent)).unwrap_or(i64::MAX);
    // A year 0 is as long ago as anything has to be.
    let modified = now.as_millis().saturating_sub(before).max(-62_000_000_000_000);
    if assumptions.lifetime > Duration::ZERO {
        let modified = Timestamp::from_millis(modified);
        let _ = fields.push("Last-Modified", HttpDate(modified).to_string().as_bytes());
    }
}

fn number(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
