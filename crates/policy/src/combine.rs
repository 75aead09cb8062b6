//! Combining a stored part with another one from the origin (RFC 9110, 15.3.7.3; RFC 9111, 3.4).
//!
//! Only bytes of one representation are put together, and only a strong validator proves that they are. This
//! says what the result is and where its bytes come from; it copies none.

use std::ops::Range;

use http::StatusCode;

use crate::fields::{Fields, remove_hop_by_hop};
use crate::freshness::Freshness;
use crate::packages::Rule;
use crate::parts::Part;
use crate::request::MethodClass;
use crate::settings::PolicySettings;
use crate::storability::{Exchange, NotStored, permitted, shareable};
use crate::stored::{Ingredients, StoredResponse};
use crate::time::{HttpDate, parse_http_date};
use crate::validation::merge;
use crate::validator::EntityTag;
use crate::vary::Nominated;

/// Where some bytes of a combination come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceSource {
    /// The body of the stored part.
    Stored,
    /// The body of the received 206.
    Received,
}

/// A run of bytes from one source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Which body.
    pub source: PieceSource,
    /// Which bytes of that body.
    pub bytes: Range<u64>,
}

/// What a stored part and a received one are together.
#[derive(Clone, PartialEq, Debug)]
pub struct Combination {
    /// Its head and facts: a 200 with Content-Length and without Content-Range when the representation is
    /// complete, else a 206 with the greater Content-Range.
    pub response: StoredResponse,
    /// Where its body comes from, in order, without gaps: one to three pieces.
    pub pieces: Vec<Piece>,
    /// Whether it may take the place of the stored part. If not, it answers the request at hand alone.
    pub keep: Result<(), NotStored>,
}

impl Combination {
    /// The length of its body in bytes.
    pub fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes.end - piece.bytes.start).sum()
    }
}

/// Puts the stored part, whose body is `old_length` bytes long, and the 206 of an exchange together.
///
/// `None` when that would not be sound: another status or method, not one readable Content-Range, no strong
/// validator that both share, another variant, complete lengths that differ, ranges that neither touch nor
/// overlap, a body that is not as long as announced. The 206 then stands for itself.
///
/// The result counts on the whole of the received part: if its body ends early, there is no combination.
pub fn combine(
    settings: &PolicySettings,
    old: &StoredResponse,
    old_length: u64,
    exchange: &Exchange<'_>,
    rule: Option<&Rule>,
) -> Option<Combination> {
    if exchange.status != StatusCode::PARTIAL_CONTENT
        || exchange.facts.method != MethodClass::Get
        || !exchange.framing_sound
        || !old.nominated().matches(exchange.request)
        || !shares_strong_validator(old, exchange)
    {
        return None;
    }
    let stored = old.facts().part?;
    let received = Part::of_response(exchange.response)?;
    let announced = exchange.response.first("content-length");
    if old_length != stored.len()
        || announced.is_some_and(|length| length != received.len().to_string().as_bytes())
    {
        return None;
    }
    let (union, pieces) = join(stored, received)?;
    let (response, keep) = assemble(settings, old, exchange, rule, union)?;
    Some(Combination { response, pieces, keep })
}

/// RFC 9110, 15.3.7.3 with 8.8.3.2 and 8.8.2.2: equal strong tags or, where neither side has a tag, the same
/// Last-Modified, strong on both.
fn shares_strong_validator(old: &StoredResponse, exchange: &Exchange<'_>) -> bool {
    match (old.entity_tag(), exchange.response.first("etag").and_then(EntityTag::new)) {
        (Some(old), Some(new)) => old.strongly_equals(new),
        (None, None) => {
            let date_of = |name| {
                let value = exchange.response.first(name)?;
                parse_http_date(value, exchange.response_time)
            };
            let date = date_of("date").unwrap_or(exchange.response_time);
            date_of("last-modified").is_some_and(|modified| {
                old.strong_last_modified() == Some(modified) && modified.as_secs() < date.as_secs()
            })
        }
        _ => false,
    }
}

/// The union of two parts that touch or overlap, and its pieces. Bytes that both have are taken from the
/// stored one, unless the received one has all.
fn join(stored: Part, received: Part) -> Option<(Part, Vec<Piece>)> {
    let complete_length = match (stored.complete_length(), received.complete_length()) {
        (Some(one), Some(two)) if one != two => return None,
        (one, two) => one.or(two),
    };
    let (stored_end, received_end) = (stored.last() + 1, received.last() + 1);
    if stored.first() > received_end || received.first() > stored_end {
        return None;
    }
    let union =
        Part::new(stored.first().min(received.first()), stored.last().max(received.last()), complete_length)?;
    let from_received = |from: u64, to: u64| Piece {
        source: PieceSource::Received,
        bytes: from - received.first()..to - received.first(),
    };
    let mut pieces = Vec::new();
    if received.first() <= stored.first() && stored_end <= received_end {
        pieces.push(from_received(received.first(), received_end));
        return Some((union, pieces));
    }
    if received.first() < stored.first() {
        pieces.push(from_received(received.first(), stored.first()));
    }
    pieces.push(Piece { source: PieceSource::Stored, bytes: 0..stored.len() });
    if stored_end < received_end {
        pieces.push(from_received(stored_end, received_end));
    }
    Some((union, pieces))
}

/// The head: the stored fields, replaced by what the new response carries (RFC 9111, 3.2 and 3.4), with the
/// range and length of the union.
fn assemble(
    settings: &PolicySettings,
    old: &StoredResponse,
    exchange: &Exchange<'_>,
    rule: Option<&Rule>,
    union: Part,
) -> Option<(StoredResponse, Result<(), NotStored>)> {
    let mut update = exchange.response.clone();
    remove_hop_by_hop(&mut update);
    let of_a_part = |name: &str| {
        name.eq_ignore_ascii_case("content-range") || name.eq_ignore_ascii_case("content-length")
    };
    update.retain(|name, _| !of_a_part(name));
    if update.first("date").is_none_or(|date| parse_http_date(date, exchange.response_time).is_none()) {
        update.set("Date", HttpDate(exchange.response_time).to_string().as_bytes()).ok()?;
    }
    let mut fields: Fields = merge(old.fields(), &update);
    let (status, part) = if union.is_whole() {
        fields.remove("content-range");
        (StatusCode::OK, None)
    } else {
        let complete = union.complete_length().map_or_else(|| "*".to_owned(), |length| length.to_string());
        let range = format!("bytes {}-{}/{complete}", union.first(), union.last());
        fields.set("Content-Range", range.as_bytes()).ok()?;
        (StatusCode::PARTIAL_CONTENT, Some(union))
    };
    fields.set("Content-Length", union.len().to_string().as_bytes()).ok()?;

    let freshness = Freshness::of(settings, status, &fields, exchange.response_time);
    let applied = settings.overrides.for_response(exchange.target, &fields);
    let mut keep = permitted(exchange.facts, &freshness, status, applied);
    let nominated = if update.contains("vary") {
        Nominated::of(exchange.request, &fields).unwrap_or_else(|| {
            keep = keep.and(Err(NotStored::VaryStar));
            old.nominated().clone()
        })
    } else {
        old.nominated().clone()
    };
    let response = Ingredients {
        status,
        fields: &fields,
        freshness: &freshness,
        nominated,
        request_time: exchange.request_time,
        response_time: exchange.response_time,
        rule: rule.map(|rule| rule.id),
        part,
        applied,
    }
    .assemble();
    keep = keep.and_then(|()| shareable(&response, &freshness));
    Some((response, keep))
}
