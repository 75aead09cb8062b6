//! What an origin could send to be asked less.

use std::fmt;

use crate::cache_control::{Directive, ResponseDirectives, Restriction};
use crate::cause::Cause;
use crate::fields::Fields;
use crate::freshness::{Freshness, FreshnessSource};
use crate::settings::PolicySettings;
use crate::storability::{Exchange, NotStored};
use crate::stored::StoredResponse;
use crate::time::parse_http_date;

/// What an origin could change. Prints as a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Advice {
    /// No explicit freshness.
    AddMaxAge,
    /// Explicit freshness that cannot be read.
    RepairFreshness,
    /// Expires that cannot be read, or is there twice.
    RepairExpires,
    /// An explicit lifetime of zero.
    RaiseLifetime,
    /// As old on arrival as it may get.
    ArrivesStale,
    /// No validator.
    AddETag,
    /// No Date, or one that cannot be read.
    AddDate,
    /// Stale too soon for a client to be answered at once.
    AddStaleWhileRevalidate,
    /// `no-cache` asks before every use.
    ReplaceNoCache,
    /// Vary nominates a field with a great many values.
    NarrowVary {
        /// The field, in lower case.
        name: String,
        /// How many variants are stored.
        variants: usize,
    },
    /// `Vary: *`
    ReplaceVaryStar,
    /// `no-store`
    RemoveNoStore,
    /// `private`
    RemovePrivate,
    /// Nothing allows sharing what Authorization opened.
    AllowSharing,
    /// Set-Cookie without explicit freshness.
    SeparateCookie,
    /// The body's end is not told.
    TellLength,
    /// A 206 without one Content-Range.
    AddContentRange,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddMaxAge => "say how long it is fresh: Cache-Control: max-age=SECONDS",
            Self::RepairFreshness => {
                "max-age or s-maxage cannot be read, which makes it stale: send one non-negative integer"
            }
            Self::RepairExpires => "Expires cannot be read, which makes it stale: send one HTTP-date, or max-age",
            Self::RaiseLifetime => "its lifetime is zero: if it may be reused at all, send a greater max-age",
            Self::ArrivesStale => {
                "it is older on arrival than its lifetime: check Age, the origin's clock and the caches before"
            }
            Self::AddETag => "add an ETag, or Last-Modified: without one nothing can be validated, only fetched",
            Self::AddDate => "send a Date that can be read",
            Self::AddStaleWhileRevalidate => {
                "add stale-while-revalidate=SECONDS: clients are then answered while it is validated"
            }
            Self::ReplaceNoCache => "no-cache asks before every use: a short max-age would do without",
            Self::NarrowVary { name, variants } => {
                return write!(
                    f,
                    "Vary: {name} splits it into as many variants as there are values; {variants} are stored"
                );
            }
            Self::ReplaceVaryStar => "Vary: * fits no request: name the fields that select the response",
            Self::RemoveNoStore => "no-store forbids to keep it: drop it if the content may be kept",
            Self::RemovePrivate => "private keeps it out of shared caches: drop it if all clients get the same",
            Self::AllowSharing => {
                "add public, s-maxage or must-revalidate if all who are authorised get the same"
            }
            Self::SeparateCookie => "Set-Cookie without explicit freshness: send the cookie elsewhere, or max-age",
            Self::TellLength => "send Content-Length or the chunked coding, so that the end is known",
            Self::AddContentRange => "send a 206 with one Content-Range in bytes",
        })
    }
}

/// Fields with a value for nearly every client.
const MANY_VALUED: [&str; 5] = ["authorization", "cookie", "referer", "user-agent", "x-forwarded-for"];

/// Advice on what is stored for a request.
pub(super) fn of_reuse(
    settings: &PolicySettings,
    candidates: &[&StoredResponse],
    selected: Option<&StoredResponse>,
    cause: Cause,
) -> Vec<Advice> {
    let mut advice = Vec::new();
    for stored in candidates {
        many_variants(stored, candidates.len(), &mut advice);
    }
    let Some(stored) = selected else { return advice };
    of_stored(settings, stored, &mut advice);
    let facts = stored.facts();
    if cause == Cause::Stale && facts.stale_while_revalidate.is_none() {
        advice.push(Advice::AddStaleWhileRevalidate);
    }
    advice
}

/// Advice on a response that has just come.
pub(super) fn of_storing(
    settings: &PolicySettings,
    exchange: &Exchange<'_>,
    stored: Option<&StoredResponse>,
    why: Option<NotStored>,
) -> Vec<Advice> {
    let mut advice = Vec::new();
    if let Some(stored) = stored {
        many_variants(stored, 1, &mut advice);
        of_stored(settings, stored, &mut advice);
        let date = exchange.response.first("date");
        if date.is_none_or(|date| parse_http_date(date, exchange.response_time).is_none()) {
            advice.push(Advice::AddDate);
        }
    }
    match why {
        Some(NotStored::NoStore) => advice.push(Advice::RemoveNoStore),
        Some(NotStored::Private) => advice.push(Advice::RemovePrivate),
        Some(NotStored::Authorization) => advice.push(Advice::AllowSharing),
        Some(NotStored::VaryStar) => advice.push(Advice::ReplaceVaryStar),
        Some(NotStored::SetCookie) => advice.push(Advice::SeparateCookie),
        Some(NotStored::Framing) => advice.push(Advice::TellLength),
        Some(NotStored::Partial) => advice.push(Advice::AddContentRange),
        Some(NotStored::NoFreshness) => {
            let response_time = exchange.response_time;
            let freshness = Freshness::of(settings, exchange.status, exchange.response, response_time);
            let explicit = freshness.source.is_explicit();
            if explicit {
                unreadable(&freshness.directives, freshness.source, exchange.response, &mut advice);
            }
            if freshness.directives.no_cache == Restriction::Whole {
                advice.push(Advice::ReplaceNoCache);
            } else if !explicit {
                advice.push(Advice::AddMaxAge);
            } else if advice.is_empty() {
                advice.push(if freshness.lifetime.as_duration().is_zero() {
                    Advice::RaiseLifetime
                } else {
                    Advice::ArrivesStale
                });
            }
            if exchange.status.is_success() {
                advice.push(Advice::AddETag);
            }
        }
        Some(
            NotStored::Method
            | NotStored::RequestBody
            | NotStored::RequestNoStore
            | NotStored::Status
            | NotStored::MustUnderstand
            | NotStored::Override,
        )
        | None => {}
    }
    advice
}

fn of_stored(settings: &PolicySettings, stored: &StoredResponse, advice: &mut Vec<Advice>) {
    let facts = stored.facts();
    let freshness = Freshness::of(settings, stored.status(), stored.fields(), stored.response_time());
    match facts.source {
        FreshnessSource::Absent | FreshnessSource::Heuristic if !facts.no_cache => {
            advice.push(Advice::AddMaxAge);
        }
        source if source.is_explicit() => {
            let before = advice.len();
            unreadable(&freshness.directives, source, stored.fields(), advice);
            if advice.len() == before && !facts.no_cache {
                if facts.lifetime.as_millis() == 0 {
                    advice.push(Advice::RaiseLifetime);
                } else if facts.lifetime.as_millis() <= facts.initial_age {
                    advice.push(Advice::ArrivesStale);
                }
            }
        }
        _ => {}
    }
    // Where a rule has a say all the same, it is what credentials or a signature opened.
    if facts.no_cache && facts.rule.is_none() {
        advice.push(Advice::ReplaceNoCache);
    }
    if facts.success && !facts.has_validator() {
        advice.push(Advice::AddETag);
    }
}

/// Explicit freshness that counts as stale since it cannot be read (RFC 9111, 4.2.1).
fn unreadable(
    directives: &ResponseDirectives,
    source: FreshnessSource,
    fields: &Fields,
    advice: &mut Vec<Advice>,
) {
    let directive = match source {
        FreshnessSource::SMaxage => directives.s_maxage,
        FreshnessSource::MaxAge => directives.max_age,
        FreshnessSource::Expires => {
            let mut lines = fields.all("expires");
            let line = lines.next().filter(|_| lines.next().is_none());
            // Any instant will do: only whether it is a date counts.
            let epoch = crate::time::Timestamp::from_secs(0);
            if line.and_then(|line| parse_http_date(line, epoch)).is_none() {
                advice.push(Advice::RepairExpires);
            }
            return;
        }
        _ => return,
    };
    if directive == Directive::Invalid {
        advice.push(Advice::RepairFreshness);
    }
}

fn many_variants(stored: &StoredResponse, variants: usize, advice: &mut Vec<Advice>) {
    for name in stored.nominated().names().filter(|name| MANY_VALUED.contains(name)) {
        let narrow = Advice::NarrowVary { name: name.to_owned(), variants };
        if !advice.contains(&narrow) {
            advice.push(narrow);
        }
    }
}
