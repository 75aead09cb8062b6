//! Combining a stored part with another one from the origin (RFC 9110, 15.3.7.3; RFC 9111, 3.4).
//!
//! Only bytes of one representation are put together, and only a strong validator proves that they are. This
//! says what the result is and where its bytes come from; it copies none.

use std::ops::Range;

use http::StatusCode;

use crate::credentials::Opened;
use crate::fields::{Fields, remove_hop_by_hop};
use crate::freshness::Freshness;
use crate::packages::Rule;
use crate::parts::{Missing, Part};
use crate::request::MethodClass;
use crate::runs::Runs;
use crate::settings::PolicySettings;
use crate::storability::{Exchange, NotStored, permitted, shareable};
use crate::stored::{Ingredients, StoredResponse, describe_held};
use crate::time::{HttpDate, parse_http_date};
use crate::validation::merge;
use crate::validator::EntityTag;
use crate::vary::Nominated;

/// What a stored part and a received one are together.
#[derive(Clone, PartialEq, Debug)]
pub struct Combination {
    /// Its head and facts, once all of `range` is here: a 200 with Content-Length and without Content-Range when that
    /// makes the representation complete, else a 206.
    pub response: StoredResponse,
    /// What the two, and the answers for further gaps, are to yield: what the client wants, or else what was received.
    pub range: Range<u64>,
    /// How long the representation is, if either side says so.
    pub complete_length: Option<u64>,
    /// What the body of the received 206 is.
    pub received: Part,
    /// Whether it may take the place of the stored part. If not, the two may not even be put together.
    pub keep: Result<(), NotStored>,
}

/// Puts a stored part that holds `runs` and the 206 of an exchange together. `missing` is what the exchange was about; without
/// it the client's own request was forwarded.
///
/// `None` when that would not be sound: another status or method, not one readable Content-Range, no strong
/// validator that both share, another variant, complete lengths that differ, a body that is not as long as announced, or one that
/// does not begin where something is missing. The 206 then stands for itself.
pub fn combine(
    settings: &PolicySettings,
    old: &StoredResponse,
    runs: &Runs,
    missing: Option<&Missing>,
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
    if announced.is_some_and(|length| length != received.len().to_string().as_bytes()) {
        return None;
    }
    let complete_length = match (stored.complete_length(), received.complete_length()) {
        (Some(one), Some(two)) if one != two => return None,
        (one, two) => one.or(two),
    };
    // What was stored of a representation of unknown length may not reach past the end that is known now.
    if complete_length.is_some_and(|complete| runs.hull().is_some_and(|hull| hull.end > complete)) {
        return None;
    }
    let range = match missing {
        Some(missing) => {
            let first = missing.gaps().first()?;
            if !(received.first()..=received.last()).contains(&first.start) {
                return None;
            }
            missing.wanted(complete_length)?
        }
        None => received.first()..received.last() + 1,
    };
    let mut union = runs.clone();
    union.insert(range.clone());
    let (response, keep) = assemble(settings, old, exchange, rule, &union, complete_length)?;
    // One part belongs to one variant.
    (response.nominated() == old.nominated()).then_some(Combination {
        response,
        range,
        complete_length,
        received,
        keep,
    })
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

/// The head: the stored fields, replaced by what the new response carries (RFC 9111, 3.2 and 3.4), with the
/// range or length of the union.
fn assemble(
    settings: &PolicySettings,
    old: &StoredResponse,
    exchange: &Exchange<'_>,
    rule: Option<&Rule>,
    union: &Runs,
    complete_length: Option<u64>,
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
    let (status, part) = describe_held(&mut fields, union, complete_length)?;

    let freshness = Freshness::of(settings, status, &fields, exchange.response_time);
    let applied = settings.overrides.for_response(exchange.target, &fields);
    let mut keep = permitted(exchange.facts, &freshness, status, applied);
    let opened = Opened::by(exchange, status, rule, &freshness, keep, applied);
    let nominated = if update.contains("vary") {
        Nominated::under(rule, exchange.request, &fields).unwrap_or_else(|| {
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
        rule: rule.filter(|rule| rule.is_told_by(exchange.request)),
        opened,
        part,
        applied,
    }
    .assemble();
    keep = keep.and_then(|()| shareable(&response, &freshness));
    Some((response, keep))
}
