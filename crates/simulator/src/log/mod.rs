//! Access logs: which format a file has, and what each of its lines tells of a request.
//!
//! A log is hostile input: whoever sends a request chooses most of a line's bytes. Lines are bounded, nothing here
//! panics, and a line that cannot be read is counted and shown, never fatal. What a log does not tell is `None`:
//! nothing is made up here, the assumptions are those of whoever reads on.
//!
//! | format | a line |
//! | --- | --- |
//! | Squid's native | `time duration client code/status bytes method URL user hierarchy/peer type`, with `log_mime_hdrs on` both heads after it |
//! | Common | `[vhost[:port]] client ident user [time] "request" status bytes` |
//! | Combined | the same and `"referer" "user agent"`, perhaps with more words behind |
//! | nginx with cache status | Combined with `$upstream_cache_status`: `clf.rs` says where in the line it is found |
//! | larder's JSON | one object a line, see `larder_server`'s access log |

mod clf;
mod json;
mod lines;
mod moment;
mod read;
mod requests;
mod skipped;
mod squid;
mod text;

use std::fmt;
use std::time::Duration;

use http::Method;
use larder_policy::{Fields, Scheme, TargetUri, Timestamp};

pub use lines::LINE_LIMIT_BYTES;
pub use read::{Log, LogFile, SNIFF_BYTES, open, read, sniff};
pub use requests::ObjectRequests;
pub use skipped::{Example, Skipped};

/// The formats that are recognised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// Squid's native `access.log`.
    Squid,
    /// The Common Log Format.
    Common,
    /// The Combined Log Format of Apache and nginx.
    Combined,
    /// Combined, with nginx's `$upstream_cache_status` somewhere.
    NginxCache,
    /// larder's own.
    Json,
}

impl Format {
    /// All of them, those first that tell the most.
    pub const ALL: [Self; 5] = [Self::Json, Self::Squid, Self::NginxCache, Self::Combined, Self::Common];

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Squid => "Squid's native log",
            Self::Common => "Common Log Format",
            Self::Combined => "Combined Log Format",
            Self::NginxCache => "Combined Log Format with nginx's cache status",
            Self::Json => "larder's JSON log",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the cache that wrote the log made of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Answered from the cache without asking.
    Hit,
    /// Answered from the cache although stale.
    Stale,
    /// Answered from the cache after the origin had said that it still holds.
    Revalidated,
    /// The cache held something stale, and the origin sent anew.
    Expired,
    /// Answered by the origin.
    Miss,
    /// The cache was not asked.
    Bypass,
    /// A tunnel, a refusal or a page of the proxy's own: nothing for a cache.
    Aside,
}

impl Outcome {
    /// Whether the content came out of the cache.
    #[must_use]
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Revalidated)
    }
}

/// One request, as far as the log tells.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When the request came. Squid writes the end, from which the duration is taken.
    pub time: Timestamp,
    /// How long it took.
    pub duration: Option<Duration>,
    /// The method.
    pub method: Method,
    /// The target as logged: a whole URL, a path, or `host:port` for CONNECT.
    pub url: String,
    /// The site, where a log of paths names it.
    pub host: Option<String>,
    /// The status sent; zero when none was.
    pub status: u16,
    /// Bytes sent to the client: content alone, or with the head, see [`Entry::counts_head`].
    pub bytes: u64,
    /// Whether [`Entry::bytes`] has the head in it.
    pub counts_head: bool,
    /// Length of the whole representation, where it is known apart from what was sent.
    pub length: Option<u64>,
    /// Whether the transfer broke off.
    pub aborted: Option<bool>,
    /// What the cache that wrote the log made of it.
    pub outcome: Option<Outcome>,
    /// `Content-Type` of the response.
    pub content_type: Option<String>,
    /// Whether the client sent credentials for the origin.
    pub authorized: Option<bool>,
    /// The fields of the request that a cache goes by, where the log has them.
    pub request: Option<Fields>,
    /// The fields of the response that a cache goes by, where the log has them.
    pub response: Option<Fields>,
}

impl Entry {
    /// The target URI. Paths belong to the host of the line, or else to `site`.
    ///
    /// `None` for what no cache has a key for: CONNECT, `*`, and what is no HTTP URL.
    #[must_use]
    pub fn target(&self, site: &str) -> Option<TargetUri> {
        if self.url.starts_with('/') {
            let host = self.host.as_deref().unwrap_or(site);
            return TargetUri::from_parts(Scheme::Http, host.as_bytes(), self.url.as_bytes()).ok();
        }
        if self.method == Method::CONNECT {
            return None;
        }
        TargetUri::parse(self.url.as_bytes()).ok()
    }
}
