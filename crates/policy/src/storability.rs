//! May a response be stored (RFC 9111, 3)? And if not, why.
//!
//! Decided when the head of a final response has come, before its body. Nothing is stored by default: a
//! response without freshness and without a validator would never be used.

use std::fmt;

use http::StatusCode;

use crate::cache_control::Restriction;
use crate::credentials::Opened;
use crate::facts::ReuseFacts;
use crate::fields::Fields;
use crate::freshness::{Freshness, FreshnessSource, is_heuristically_cacheable};
use crate::overrides::{Action, Override};
use crate::packages::Rule;
use crate::parts::Part;
use crate::request::{MethodClass, RequestFacts};
use crate::settings::PolicySettings;
use crate::stored::{Ingredients, StoredResponse};
use crate::target::TargetUri;
use crate::time::Timestamp;
use crate::vary::Nominated;

/// A request to the origin and the head of its final response.
///
/// The facts and the response's fields are as received, before hop-by-hop removal, so that `Connection` cannot hide what
/// decides; the request's fields are those that the origin saw.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// What the request asked of a cache, read off its fields as received.
    pub facts: &'a RequestFacts,
    /// The target URI.
    pub target: &'a TargetUri,
    /// The fields of the request.
    pub request: &'a Fields,
    /// The status of the response.
    pub status: StatusCode,
    /// The fields of the response.
    pub response: &'a Fields,
    /// When the request was sent.
    pub request_time: Timestamp,
    /// When the head of the response came.
    pub response_time: Timestamp,
    /// Whether the end of the body is, or will be, told apart from a cut connection.
    pub framing_sound: bool,
}

/// Why a response is not stored. Prints as one word for Cache-Status and the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotStored {
    /// The method's answers are not stored.
    Method,
    /// The request had content, so that its target does not say all that it asked for.
    RequestBody,
    /// `no-store` in the request.
    RequestNoStore,
    /// A status that is interim, depends on the request's conditions or credentials, or is no status at all.
    Status,
    /// A part of a representation, of which it cannot be told where it belongs, or parts are not stored.
    Partial,
    /// The end of the body cannot be told from a cut connection.
    Framing,
    /// `must-understand` with a status that is not implemented here.
    MustUnderstand,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// The request had Authorization, and nothing in the response allows sharing.
    Authorization,
    /// Vary nominates what no request can match.
    VaryStar,
    /// Set-Cookie without explicit freshness: meant for one client.
    SetCookie,
    /// Neither fresh nor able to be validated.
    NoFreshness,
    /// An operator's override says so.
    Override,
}

impl NotStored {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestBody => "request-body",
            Self::RequestNoStore => "request-no-store",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::Framing => "framing",
            Self::MustUnderstand => "must-understand",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::VaryStar => "vary-star",
            Self::SetCookie => "set-cookie",
            Self::NoFreshness => "no-freshness",
            Self::Override => "override",
        }
    }

    /// The section that has the rule.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Method | Self::Status | Self::NoFreshness => "RFC 9111, 3",
            Self::RequestBody => "RFC 9110, 9.3.1",
            Self::RequestNoStore => "RFC 9111, 5.2.1.5",
            Self::Partial => "RFC 9111, 3.3",
            Self::Framing => "RFC 9112, 8",
            Self::MustUnderstand => "RFC 9111, 5.2.2.3",
            Self::NoStore => "RFC 9111, 5.2.2.5",
            Self::Private => "RFC 9111, 5.2.2.7",
            Self::Authorization => "RFC 9111, 3.5",
            Self::VaryStar => "RFC 9111, 4.1",
            Self::SetCookie => "RFC 9111, 7.3",
            Self::Override => "the configuration",
        }
    }
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Decides whether the response of an exchange may be stored, and makes what is to be stored of it.
///
/// `rule` is the package rule that recognised the target, if any: it gives a complete 200 a lifetime, unless the
/// response forbids to store or to reuse it, or credentials of any kind opened it. Where it knows the digest of the body, which
/// whoever stores the response must check, what credentials opened, Authorization included, is kept for validation before
/// every use, unless the origin gives it a lifetime that others may use: the origin then judges each client's own
/// credentials (RFC 9111, 3.5), and only the bytes, proved to be the same, come from here. What a signed URL leads to is
/// kept in no other way.
/// Of the settings' overrides the first that matches the target and the response applies;
/// [`ReuseFacts::is_overridden`] says that one did.
///
/// # Errors
/// The reason, when it may not.
pub fn storability(
    settings: &PolicySettings,
    exchange: &Exchange<'_>,
    rule: Option<&Rule>,
) -> Result<StoredResponse, NotStored> {
    let request = exchange.facts;
    match request.method {
        MethodClass::Get if request.has_body => return Err(NotStored::RequestBody),
        MethodClass::Get | MethodClass::Post => {}
        MethodClass::Head | MethodClass::OtherSafe | MethodClass::OtherUnsafe => {
            return Err(NotStored::Method);
        }
    }
    is_final(exchange.status)?;
    let (status, part) = match exchange.status {
        StatusCode::PARTIAL_CONTENT => what_a_206_is(settings, exchange)?,
        status => (status, None),
    };
    let mut whole = None;
    if status != exchange.status {
        whole.insert(exchange.response.clone()).remove("content-range");
    }
    let fields = whole.as_ref().unwrap_or(exchange.response);
    if !exchange.framing_sound {
        return Err(NotStored::Framing);
    }
    let freshness = Freshness::of(settings, status, fields, exchange.response_time);
    let applied = settings.overrides.for_response(exchange.target, fields);
    let permitted = permitted(request, &freshness, status, applied);
    let opened = Opened::by(exchange, status, rule, &freshness, permitted, applied);
    if !(permitted == Err(NotStored::Authorization) && opened == Opened::Guarded) {
        permitted?;
    }
    if rule.is_some_and(|rule| rule.id.shares_by_proof_alone()) && opened != Opened::Guarded {
        // It answers one signature, and there is nothing to prove it by.
        return Err(if part.is_some() { NotStored::Partial } else { NotStored::Status });
    }
    if request.method == MethodClass::Post && !answers_later_gets(exchange, &freshness) {
        return Err(NotStored::Method);
    }
    let nominated = Nominated::under(rule, exchange.request, exchange.response).ok_or(NotStored::VaryStar)?;
    let told = |rule: &&Rule| request.method == MethodClass::Get && rule.is_told_by(exchange.request);
    let stored = Ingredients {
        status,
        fields,
        freshness: &freshness,
        nominated,
        request_time: exchange.request_time,
        response_time: exchange.response_time,
        rule: rule.filter(told),
        opened,
        part,
        applied,
    }
    .assemble();
    shareable(&stored, &freshness)?;
    if part.is_some() {
        match stored.facts().source {
            // What a heuristic says of the whole holds for a part that a strong validator ties to it; of others only the origin
            // can say how long they are of use.
            FreshnessSource::Heuristic if stored.strong_validator().is_some() => {}
            FreshnessSource::Absent | FreshnessSource::Heuristic => return Err(NotStored::NoFreshness),
            _ => {}
        }
    }
    if is_of_use(&stored, &freshness) { Ok(stored) } else { Err(NotStored::NoFreshness) }
}

/// RFC 9111, 3: a final status. A 304, 412 or 416 answers the conditions of one request, a 401 or 407 its
/// credentials.
fn is_final(status: StatusCode) -> Result<(), NotStored> {
    match status.as_u16() {
        304 | 401 | 407 | 412 | 416 => Err(NotStored::Status),
        200..=599 => Ok(()),
        _ => Err(NotStored::Status),
    }
}

/// A 206 with one readable range is a part (RFC 9111, 3.3). One that holds all of the representation, as its
/// Content-Length proves, is as good as a 200 (RFC 9110, 15.3.7.3) and kept as one.
fn what_a_206_is(
    settings: &PolicySettings,
    exchange: &Exchange<'_>,
) -> Result<(StatusCode, Option<Part>), NotStored> {
    let part = Part::of_response(exchange.response)
        .filter(|_| settings.store_parts && exchange.facts.method == MethodClass::Get)
        .ok_or(NotStored::Partial)?;
    let mut lengths = exchange.response.all("content-length");
    let length = lengths.next().filter(|_| lengths.next().is_none());
    if part.is_whole() && length == Some(part.len().to_string().as_bytes()) {
        Ok((StatusCode::OK, None))
    } else {
        Ok((StatusCode::PARTIAL_CONTENT, Some(part)))
    }
}

/// What the directives of both sides permit (RFC 9111, 3 and 3.5), less what an override ignores in so many
/// words.
pub(crate) fn permitted(
    request: &RequestFacts,
    freshness: &Freshness,
    status: StatusCode,
    applied: Option<&Override>,
) -> Result<(), NotStored> {
    let directives = &freshness.directives;
    let action = applied.map_or(&Action::NONE, |applied| &applied.action);
    if action.never_store {
        return Err(NotStored::Override);
    }
    if request.directives.no_store {
        return Err(NotStored::RequestNoStore);
    }
    if directives.must_understand {
        // A cache that knows the directive and the status ignores no-store beside it (RFC 9111, 5.2.2.3).
        if !is_understood(status) {
            return Err(NotStored::MustUnderstand);
        }
    } else if directives.no_store && !action.ignore_no_store {
        return Err(NotStored::NoStore);
    }
    if directives.private == Restriction::Whole && !action.ignore_private {
        return Err(NotStored::Private);
    }
    let shared = directives.public || directives.must_revalidate || directives.s_maxage.value().is_some();
    if request.authorized && !shared && !action.ignore_authorization {
        return Err(NotStored::Authorization);
    }
    Ok(())
}

/// A cookie is replayed to others only where the origin said for how long; a package rule has dropped it
/// already.
pub(crate) fn shareable(stored: &StoredResponse, freshness: &Freshness) -> Result<(), NotStored> {
    if stored.fields().contains("set-cookie") && !freshness.source.is_explicit() {
        return Err(NotStored::SetCookie);
    }
    Ok(())
}

/// The final statuses of RFC 9110, whose caching requirements are built here; a 304 never gets this far.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206
            | 300..=303
            | 305
            | 307
            | 308
            | 400
            | 402..=406
            | 408..=411
            | 413..=415
            | 417
            | 421
            | 422
            | 426
            | 500..=505
    )
}

/// RFC 9110, 9.3.3: a 200 to a POST is what a GET of the target would give if it says so itself.
fn answers_later_gets(exchange: &Exchange<'_>, freshness: &Freshness) -> bool {
    exchange.status == StatusCode::OK
        && freshness.source.is_explicit()
        && exchange
            .response
            .first("content-location")
            .and_then(|location| exchange.target.resolve(location))
            .is_some_and(|location| location == *exchange.target)
}

/// Whether a stored response could ever answer: it is fresh, or may be served stale for a while, or can be
/// validated. Without explicit freshness the status must allow storing by itself (RFC 9111, 3).
fn is_of_use(stored: &StoredResponse, freshness: &Freshness) -> bool {
    let facts: &ReuseFacts = stored.facts();
    let allowed = facts.source != FreshnessSource::Absent
        || freshness.directives.public
        || is_heuristically_cacheable(stored.status());
    let grace = facts.stale_while_revalidate.max(facts.stale_if_error).filter(|_| !facts.never_stale);
    let usable_until = facts.lifetime.as_millis().saturating_add(grace.unwrap_or_default().as_millis());
    allowed && (usable_until > facts.initial_age && !facts.no_cache || facts.has_validator())
}
