//! The client's own conditions, judged against a stored response that is about to answer (RFC 9110, 13;
//! RFC 9111, 4.3.2).
//!
//! Only If-None-Match and If-Modified-Since are a cache's to judge. Requests with If-Match or
//! If-Unmodified-Since never get this far: `reuse` sends them to the origin.

use crate::fields::Fields;
use crate::request::RequestFacts;
use crate::stored::StoredResponse;
use crate::time::{Timestamp, parse_http_date};
use crate::validator::entity_tags;

/// What a client's conditions make of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precondition {
    /// Answer as if there were no condition.
    Proceed,
    /// The client has it already: 304.
    NotModified,
}

/// Evaluates the conditions of a GET or HEAD against the response that would answer it.
///
/// Conditions count only where the answer would be a success (RFC 9110, 13.2.1). With If-None-Match present,
/// If-Modified-Since is ignored (RFC 9110, 13.2.2).
pub fn precondition(
    facts: &RequestFacts,
    request: &Fields,
    stored: &StoredResponse,
    now: Timestamp,
) -> Precondition {
    let met = if !facts.method.is_answerable() || !stored.status().is_success() {
        false
    } else if facts.has_if_none_match {
        none_match_holds(request, stored)
    } else if facts.has_if_modified_since {
        // RFC 9111, 4.3.2: without Last-Modified the time of the response itself is compared.
        let modified = stored.facts().last_modified.unwrap_or(stored.date());
        let since = request.first("if-modified-since").and_then(|value| parse_http_date(value, now));
        since.is_some_and(|since| modified.as_secs() <= since.as_secs())
    } else {
        false
    };
    if met { Precondition::NotModified } else { Precondition::Proceed }
}

/// Whether a tag of If-None-Match is the stored one, by weak comparison, or `*` stands alone (RFC 9110,
/// 13.1.2).
fn none_match_holds(request: &Fields, stored: &StoredResponse) -> bool {
    let lines = || request.all("if-none-match");
    if lines().eq([b"*"]) {
        return true;
    }
    let Some(stored_tag) = stored.entity_tag() else { return false };
    lines().flat_map(entity_tags).any(|tag| tag.weakly_equals(stored_tag))
}

/// The fields of a stored response that its 304 carries (RFC 9110, 15.4.5): those that steer caches and
/// identify the representation. Last-Modified is among them only where there is no entity tag.
pub fn not_modified_fields(fields: &Fields) -> Fields {
    const CARRIED: [&str; 6] = ["cache-control", "content-location", "date", "etag", "expires", "vary"];
    const TARGETED_SUFFIX: &[u8] = b"-cache-control";
    let tagged = fields.contains("etag");
    let mut carried = fields.clone();
    carried.retain(|name, _| {
        let targeted = name
            .len()
            .checked_sub(TARGETED_SUFFIX.len())
            .and_then(|at| name.as_bytes().get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(TARGETED_SUFFIX));
        targeted
            || CARRIED.iter().any(|known| name.eq_ignore_ascii_case(known))
            || !tagged && name.eq_ignore_ascii_case("last-modified")
    });
    carried
}
