//! Byte ranges of a stored, whole representation (RFC 9110, 14 and 13.1.5).
//!
//! A Range that is malformed, unreasonable or not to be honoured is ignored, which the RFC always allows: the
//! answer is then the whole.

use std::ops::Range;

use http::StatusCode;

use crate::fields::{Fields, list_members};
use crate::request::{MethodClass, RequestFacts};
use crate::stored::StoredResponse;
use crate::time::parse_http_date;
use crate::validator::EntityTag;

/// What part of a stored body answers a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RangePlan {
    /// All of it: 200.
    Whole,
    /// One range: 206 with Content-Range.
    Single(Range<u64>),
    /// Several ranges, in the order asked for: 206 with `multipart/byteranges`. Never overlapping, two to
    /// ten.
    Multiple(Vec<Range<u64>>),
    /// No range lies within the body: 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
}

/// More ranges than this are answered with the whole: their overhead only serves to tire a server.
const MOST_RANGES: usize = 10;

/// Decides which bytes of a stored body of `length` bytes answer a request.
pub fn range_plan(facts: &RequestFacts, request: &Fields, stored: &StoredResponse, length: u64) -> RangePlan {
    // Range is defined for GET alone (RFC 9110, 14.2).
    if !facts.has_range || facts.method != MethodClass::Get || stored.status() != StatusCode::OK {
        return RangePlan::Whole;
    }
    if facts.has_if_range && !if_range_holds(request, stored) {
        return RangePlan::Whole;
    }
    let mut lines = request.all("range");
    match (lines.next(), lines.next()) {
        (Some(line), None) => plan(line, length).unwrap_or(RangePlan::Whole),
        _ => RangePlan::Whole,
    }
}

/// The one range that a GET asks for; `None` when it asks for the whole, or for more than one.
///
/// What would have to be ignored asks for the whole, and so does an If-Range that `stored` does not meet.
pub(crate) fn single_range(facts: &RequestFacts, request: &Fields, stored: &StoredResponse) -> Option<Spec> {
    if !facts.has_range || facts.method != MethodClass::Get {
        return None;
    }
    if facts.has_if_range && !if_range_holds(request, stored) {
        return None;
    }
    let mut lines = request.all("range");
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (unit, set) = line.split_at_checked(line.iter().position(|byte| *byte == b'=')?)?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = list_members(std::iter::once(set.get(1..)?));
    let spec = parse_spec(specs.next()?)?;
    specs.next().is_none().then_some(spec)
}

/// `None` for a value to be ignored.
fn plan(line: &[u8], length: u64) -> Option<RangePlan> {
    let (unit, set) = line.split_at_checked(line.iter().position(|byte| *byte == b'=')?)?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut seen = 0;
    for spec in list_members(std::iter::once(set.get(1..)?)) {
        seen += 1;
        if seen > MOST_RANGES {
            return None;
        }
        if let Some(range) = parse_spec(spec)?.resolve(length)? {
            if ranges.iter().any(|other| range.start < other.end && other.start < range.end) {
                return None;
            }
            ranges.push(range);
        }
    }
    match (seen, ranges.len(), ranges.pop()) {
        (0, ..) => None,
        (_, _, None) => Some(RangePlan::Unsatisfiable),
        (_, 1, Some(range)) => Some(RangePlan::Single(range)),
        (_, _, Some(last)) => {
            ranges.push(last);
            Some(RangePlan::Multiple(ranges))
        }
    }
}

/// One range as a client writes it (RFC 9110, 14.1.1).
#[derive(Clone, Copy)]
pub(crate) enum Spec {
    /// `first-last`, the last byte included, or `first-`.
    From(u64, Option<u64>),
    /// `-length`
    Suffix(u64),
}

/// `None` for a syntax error, which voids the whole field (RFC 9110, 14.1.1).
fn parse_spec(spec: &[u8]) -> Option<Spec> {
    let (first, rest) = spec.split_at_checked(spec.iter().position(|byte| *byte == b'-')?)?;
    let last = rest.get(1..)?;
    match (first, last) {
        ([], last) => Some(Spec::Suffix(parse_position(last)?)),
        (first, []) => Some(Spec::From(parse_position(first)?, None)),
        (first, last) => {
            let (first, last) = (parse_position(first)?, parse_position(last)?);
            (first <= last).then_some(Spec::From(first, Some(last)))
        }
    }
}

/// `1*DIGIT`; a position past what 64 bits hold is past every body.
pub(crate) fn parse_position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |value: u64, digit: &u8| value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

impl Spec {
    /// The bytes meant, of a representation that ends at `end` if that is known. `None` if that would have to be known; empty
    /// if there are none.
    pub(crate) fn within(self, end: Option<u64>) -> Option<Range<u64>> {
        match self {
            Self::From(first, Some(last)) => {
                Some(first..last.saturating_add(1).min(end.unwrap_or(u64::MAX - 1)))
            }
            Self::From(first, None) => end.map(|end| first..end),
            Self::Suffix(length) => end.map(|end| end.saturating_sub(length)..end),
        }
    }

    /// The bytes of a body of `length` bytes: `Some(None)` when it has none of them. `None` when an empty
    /// body is asked for its end: it is satisfied, but by nothing that Content-Range could express.
    fn resolve(&self, length: u64) -> Option<Option<Range<u64>>> {
        match *self {
            Self::From(first, _) if first >= length => Some(None),
            Self::From(first, last) => {
                let end = last.map_or(length, |last| last.saturating_add(1).min(length));
                Some(Some(first..end))
            }
            Self::Suffix(0) => Some(None),
            Self::Suffix(_) if length == 0 => None,
            Self::Suffix(wanted) => Some(Some(length.saturating_sub(wanted)..length)),
        }
    }
}

/// If-Range (RFC 9110, 13.1.5): the strong tag of the stored response, or exactly its Last-Modified if that
/// is a strong validator.
fn if_range_holds(request: &Fields, stored: &StoredResponse) -> bool {
    let Some(value) = request.first("if-range") else { return false };
    if let Some(date) = parse_http_date(value, stored.response_time()) {
        return stored.strong_last_modified() == Some(date);
    }
    match (EntityTag::new(value), stored.entity_tag()) {
        (Some(wanted), Some(stored)) => wanted.strongly_equals(stored),
        _ => false,
    }
}
