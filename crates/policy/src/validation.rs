//! Validation: asking the origin whether a stored response still holds, and freshening it with the answer
//! (RFC 9111, 4.3).

use http::StatusCode;

use crate::credentials::Opened;
use crate::fields::{Fields, remove_hop_by_hop};
use crate::freshness::Freshness;
use crate::packages::{Rule, RuleId};
use crate::request::MethodClass;
use crate::settings::PolicySettings;
use crate::storability::{Exchange, NotStored, permitted, shareable};
use crate::stored::{Ingredients, StoredResponse};
use crate::time::{HttpDate, parse_http_date};
use crate::validator::EntityTag;
use crate::vary::Nominated;

/// The conditions of a validating request: the stored validators, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conditions {
    if_none_match: Option<Vec<u8>>,
    if_modified_since: Option<Vec<u8>>,
}

/// Fields that a validating request cannot take over from the client: the answer must be about the stored
/// response, and whole (RFC 9111, 4.3.1).
pub(crate) const CLIENT_CONDITIONS: [&str; 6] =
    ["if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range"];

impl Conditions {
    /// The conditions for a stored response; `None` when it has no validator.
    pub fn of(stored: &StoredResponse) -> Option<Self> {
        if !stored.facts().has_validator() {
            return None;
        }
        let if_none_match = stored.entity_tag().map(|tag| tag.as_bytes().to_vec());
        let last_modified = stored.fields().first("last-modified");
        // A date that cannot be read is no validator.
        let if_modified_since = last_modified.filter(|_| stored.facts().last_modified.is_some());
        Some(Self { if_none_match, if_modified_since: if_modified_since.map(<[u8]>::to_vec) })
    }

    /// The value for If-None-Match.
    pub fn if_none_match(&self) -> Option<&[u8]> {
        self.if_none_match.as_deref()
    }

    /// The value for If-Modified-Since.
    pub fn if_modified_since(&self) -> Option<&[u8]> {
        self.if_modified_since.as_deref()
    }

    /// Makes a client's request one for the whole representation: its conditions and Range go.
    pub fn remove_from(request: &mut Fields) {
        request.retain(|name, _| !CLIENT_CONDITIONS.iter().any(|known| name.eq_ignore_ascii_case(known)));
    }

    /// Turns a client's request into the validating one: its own conditions and Range go, these come.
    pub fn apply(&self, request: &mut Fields) {
        Self::remove_from(request);
        for (name, value) in
            [("If-None-Match", &self.if_none_match), ("If-Modified-Since", &self.if_modified_since)]
        {
            if let Some(value) = value {
                // The value was part of a field section already, and so is valid.
                let _ = request.push(name, value);
            }
        }
    }
}

/// A stored response after validation.
#[derive(Clone, PartialEq, Debug)]
pub struct Freshened {
    /// The response with its fields, times and facts brought up to date: it answers the request at hand.
    pub response: StoredResponse,
    /// Whether it may take the place of the stored one. If not, the stored one stays as it is.
    pub keep: Result<(), NotStored>,
}

/// Fields of a 304 that leave the stored ones alone: they describe the stored bytes, not the exchange (RFC
/// 9111, 3.2).
const ABOUT_THE_BODY: [&str; 3] = ["content-length", "content-encoding", "content-range"];

/// Applies a 304, or a 200 to a HEAD, to the stored response that was validated (RFC 9111, 4.3.4 and 4.3.5).
///
/// `None` when the answer is about another representation. After a 304 the request is then to be sent again
/// without conditions; after a HEAD the stored response is outdated and may be removed.
pub fn freshen(
    settings: &PolicySettings,
    stored: &StoredResponse,
    exchange: &Exchange<'_>,
    rule: Option<&Rule>,
) -> Option<Freshened> {
    let selected = match exchange.status {
        StatusCode::NOT_MODIFIED => is_selected(stored, exchange),
        StatusCode::OK if exchange.facts.method == MethodClass::Head => describes(stored, exchange),
        _ => false,
    };
    if !selected {
        return None;
    }
    let mut update = exchange.response.clone();
    remove_hop_by_hop(&mut update);
    update.retain(|name, _| !ABOUT_THE_BODY.iter().any(|known| name.eq_ignore_ascii_case(known)));
    let dated =
        update.first("date").is_some_and(|date| parse_http_date(date, exchange.response_time).is_some());
    if !dated {
        // Without a Date of its own the answer is as old as its receipt (RFC 9110, 6.6.1), not as the stored
        // one.
        let _ = update.set("Date", HttpDate(exchange.response_time).to_string().as_bytes());
    }
    let merged = merge(stored.fields(), &update);
    let freshness = Freshness::of(settings, stored.status(), &merged, exchange.response_time);

    let applied = settings.overrides.for_response(exchange.target, &merged);
    let mut keep = permitted(exchange.facts, &freshness, stored.status(), applied);
    let opened = Opened::by(exchange, stored.status(), rule, &freshness, keep, applied);
    if is_anybodys(stored) && opened != Opened::ToAnybody {
        // What others may have without asking stays as it is.
        keep = keep.and(Err(NotStored::Authorization));
    } else if keep == Err(NotStored::Authorization) && opened == Opened::Guarded && stored.facts().no_cache {
        // The origin has let this client have it, too.
        keep = Ok(());
    }
    let nominated = if update.contains("vary") {
        Nominated::under(rule, exchange.request, &merged).unwrap_or_else(|| {
            keep = keep.and(Err(NotStored::VaryStar));
            stored.nominated().clone()
        })
    } else {
        stored.nominated().clone()
    };
    let response = Ingredients {
        status: stored.status(),
        fields: &merged,
        freshness: &freshness,
        nominated,
        request_time: exchange.request_time,
        response_time: exchange.response_time,
        rule: rule.filter(|rule| rule.is_told_by(exchange.request)),
        opened,
        part: stored.facts().part,
        applied,
    }
    .assemble();
    keep = keep.and_then(|()| shareable(&response, &freshness));
    Some(Freshened { response, keep })
}

/// Whether it is a package that was had without credentials.
fn is_anybodys(stored: &StoredResponse) -> bool {
    let facts = stored.facts();
    !facts.no_cache && facts.rule.is_some_and(RuleId::is_artefact)
}

/// Whether a 304 is about the stored response (RFC 9111, 4.3.4). A strong tag must be the stored one; a weak
/// tag or a date must not contradict it. One without any validator answers the only condition that was sent.
fn is_selected(stored: &StoredResponse, exchange: &Exchange<'_>) -> bool {
    match exchange.response.first("etag").and_then(EntityTag::new) {
        Some(tag) if tag.is_strong() => stored.entity_tag().is_some_and(|stored| stored.strongly_equals(tag)),
        Some(tag) if stored.entity_tag().is_some() => {
            stored.entity_tag().is_some_and(|stored| stored.weakly_equals(tag))
        }
        _ => same_last_modified(stored, exchange).unwrap_or(true),
    }
}

/// Whether a 200 to a HEAD describes what is stored: validators that it carries, and a length, are the same
/// (RFC 9111, 4.3.5).
fn describes(stored: &StoredResponse, exchange: &Exchange<'_>) -> bool {
    let same = |name| {
        exchange.response.first(name).is_none_or(|received| stored.fields().first(name) == Some(received))
    };
    stored.status() == StatusCode::OK && same("etag") && same("last-modified") && same("content-length")
}

/// `None` when either has no readable Last-Modified.
fn same_last_modified(stored: &StoredResponse, exchange: &Exchange<'_>) -> Option<bool> {
    let received = parse_http_date(exchange.response.first("last-modified")?, exchange.response_time)?;
    stored.facts().last_modified.map(|stored| stored == received)
}

/// The stored fields, each name that `update` has replaced by its lines (RFC 9111, 3.2).
pub(crate) fn merge(stored: &Fields, update: &Fields) -> Fields {
    let mut merged =
        Fields::with_capacity(stored.len() + update.len(), stored.as_wire().len() + update.as_wire().len());
    let mut take = |lines: &mut dyn Iterator<Item = (&str, &[u8])>| {
        for (name, value) in lines {
            // Every line comes from a field section, and so is valid.
            let _ = merged.push(name, value);
        }
    };
    for (index, (name, value)) in stored.iter().enumerate() {
        let called = |other: &str| other.eq_ignore_ascii_case(name);
        if !update.contains(name) {
            take(&mut std::iter::once((name, value)));
        } else if !stored.iter().take(index).any(|(earlier, _)| called(earlier)) {
            take(&mut update.iter().filter(|(other, _)| called(other)));
        }
    }
    take(&mut update.iter().filter(|(name, _)| !stored.contains(name)));
    merged
}
