//! Parts: stored 206 responses, what they answer, and what is missing of them (RFC 9110, 14.4 and 15.3.7;
//! RFC 9111, 3.3 and 3.4).
//!
//! A part answers only requests for bytes that it holds. Positions are absolute, counted from the part's
//! first byte. Where the part reaches the end of the representation, the end of the received body counts as
//! that end, even if the origin announced more bytes than it sent.

use std::ops::Range;

use crate::fields::Fields;
use crate::range::{Spec, single_range};
use crate::request::{MethodClass, RequestFacts};
use crate::stored::StoredResponse;
use crate::validation::CLIENT_CONDITIONS;

/// Which bytes of a representation the body of a stored 206 holds (RFC 9110, 14.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Part {
    first: u64,
    last: u64,
    complete_length: Option<u64>,
}

impl Part {
    /// The part from byte `first` to byte `last`, both included, of a representation of `complete_length`
    /// bytes, which may be unknown. `None` when there is no such part.
    pub const fn new(first: u64, last: u64, complete_length: Option<u64>) -> Option<Self> {
        let within = match complete_length {
            Some(complete) => last < complete,
            None => true,
        };
        // The position after the last byte is a number too.
        if first <= last && last < u64::MAX && within {
            Some(Self { first, last, complete_length })
        } else {
            None
        }
    }

    /// Reads the Content-Range of a 206; `None` for another unit, for that of a 416, and for anything else.
    pub(crate) fn of_content_range(value: &[u8]) -> Option<Self> {
        let space = value.iter().position(|byte| *byte == b' ')?;
        let (unit, range) = value.split_at_checked(space)?;
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let mut halves = range.get(1..)?.splitn(2, |byte| *byte == b'/');
        let (positions, complete) = (halves.next()?, halves.next()?);
        let mut positions = positions.splitn(2, |byte| *byte == b'-');
        let complete_length = if complete == b"*" { None } else { Some(number(complete)?) };
        Self::new(number(positions.next()?)?, number(positions.next()?)?, complete_length)
    }

    /// The part that the only Content-Range of a 206 announces; `None` also for `multipart/byteranges`.
    pub(crate) fn of_response(fields: &Fields) -> Option<Self> {
        const MULTIPART: &[u8] = b"multipart/byteranges";
        let several = fields.first("content-type").is_some_and(|content_type| {
            content_type
                .split_at_checked(MULTIPART.len())
                .is_some_and(|(start, _)| start.eq_ignore_ascii_case(MULTIPART))
        });
        let mut lines = fields.all("content-range");
        match (several, lines.next(), lines.next()) {
            (false, Some(line), None) => Self::of_content_range(line),
            _ => None,
        }
    }

    /// The position of its first byte.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The position of its last byte.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// How long the representation is, if the origin said so.
    pub const fn complete_length(self) -> Option<u64> {
        self.complete_length
    }

    /// How many bytes it announces; the body may have fewer.
    #[allow(clippy::len_without_is_empty, reason = "a part is never empty")]
    pub const fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether it is all of the representation.
    pub fn is_whole(self) -> bool {
        self.first == 0 && self.reaches_the_end()
    }

    pub(crate) fn reaches_the_end(self) -> bool {
        self.complete_length == Some(self.last + 1)
    }
}

/// `1*DIGIT` within 64 bits.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// What a stored part does for a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartPlan {
    /// Answer 206 with these bytes.
    Serve {
        /// Which bytes of the stored body.
        body: Range<u64>,
        /// What Content-Range says of them.
        content_range: Part,
    },
    /// The part does not hold what is asked for.
    Missing,
    /// The representation has no such bytes: 416 with `Content-Range: bytes */length`.
    Unsatisfiable {
        /// The complete length.
        complete_length: u64,
    },
}

/// Decides which bytes of a stored part, whose body is `body_length` bytes long, answer a request.
///
/// Only for a GET with one satisfiable range and, if there is an If-Range, one that the part meets; anything
/// else is [`PartPlan::Missing`], as is every request to a stored response that is no part.
pub fn part_plan(
    facts: &RequestFacts,
    request: &Fields,
    stored: &StoredResponse,
    body_length: u64,
) -> PartPlan {
    match (stored.facts().part, single_range(facts, request, stored)) {
        (Some(part), Some(spec)) => part.plan(spec, body_length),
        _ => PartPlan::Missing,
    }
}

/// Whether a stored part answers a request, if its body is as long as announced.
pub(crate) fn serves(facts: &RequestFacts, request: &Fields, stored: &StoredResponse, part: Part) -> bool {
    !matches!(part_plan(facts, request, stored, part.len()), PartPlan::Missing)
}

impl Part {
    fn plan(self, spec: Spec, body_length: u64) -> PartPlan {
        let end = self.first + body_length.min(self.len());
        let ends_there = self.reaches_the_end();
        let out_of_range = match spec {
            Spec::From(first, _) => self.complete_length.filter(|complete| first >= *complete),
            Spec::Suffix(0) => self.complete_length,
            Spec::Suffix(_) => None,
        };
        if let Some(complete_length) = out_of_range {
            return PartPlan::Unsatisfiable { complete_length };
        }
        let wanted = match spec {
            Spec::From(first, Some(last)) if last < end => Some(first..last + 1),
            // Past the end of the representation there is nothing more to ask for.
            Spec::From(first, _) if ends_there => Some(first..end),
            Spec::Suffix(length) if ends_there => Some(end.saturating_sub(length)..end),
            Spec::From(..) | Spec::Suffix(_) => None,
        };
        let content_range = wanted
            .filter(|wanted| wanted.start >= self.first && wanted.start < wanted.end)
            .and_then(|wanted| Self::new(wanted.start, wanted.end - 1, self.complete_length));
        match content_range {
            Some(content_range) => PartPlan::Serve {
                body: content_range.first - self.first..content_range.last + 1 - self.first,
                content_range,
            },
            None => PartPlan::Missing,
        }
    }
}

/// What to ask an origin for, so that a stored part and its answer together are what a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeRequest {
    /// The value of Range.
    pub range: String,
    /// The value of If-Range: the strong validator of the stored part (RFC 9110, 13.1.5). Without one a 206
    /// cannot be combined with the part, and only a 200 is of use.
    pub if_range: Option<Vec<u8>>,
}

impl RangeRequest {
    /// Turns a client's request into the one for what is missing: its own conditions and Range go, these
    /// come.
    pub fn apply(&self, request: &mut Fields) {
        request.retain(|name, _| !CLIENT_CONDITIONS.iter().any(|known| name.eq_ignore_ascii_case(known)));
        let _ = request.push("Range", self.range.as_bytes());
        if let Some(value) = &self.if_range {
            // The value was part of a field section already, and so is valid.
            let _ = request.push("If-Range", value);
        }
    }
}

/// What is missing of a stored part, whose body is `body_length` bytes long, to answer a GET, if that is one
/// range that touches the part.
///
/// The request goes out as [`RangeRequest::apply`] makes it. Then:
///
/// - a 206 that [`combine`](crate::combine) accepts: answer from the combination, and store it;
/// - a 206 that it does not accept: drop it and fetch again in full, with the client's own request;
/// - a 416: the same;
/// - a 200: relay it and store it whole, as if nothing had been stored;
/// - anything else: relay it, as for any other request.
///
/// `None`: forward the client's own request. That is so when the part serves already or is of no help, when
/// the body has fewer bytes than the part announces, and for requests with conditions of their own.
pub fn missing_for(
    facts: &RequestFacts,
    request: &Fields,
    stored: &StoredResponse,
    body_length: u64,
) -> Option<RangeRequest> {
    let part = stored.facts().part?;
    let conditional = facts.has_if_none_match || facts.has_if_modified_since || facts.has_origin_condition;
    if facts.method != MethodClass::Get
        || facts.has_body
        || facts.directives.no_store
        || conditional
        || body_length != part.len()
    {
        return None;
    }
    let wanted = match single_range(facts, request, stored) {
        Some(Spec::From(first, last)) => (first, last),
        Some(Spec::Suffix(0)) => return None,
        Some(Spec::Suffix(length)) => (part.complete_length?.saturating_sub(length), None),
        // A Range that is there but counts for nothing leaves it to the origin what to answer.
        None if facts.has_range => return None,
        None => (0, None),
    };
    let end = part.last + 1;
    let range = match wanted {
        (first, Some(last)) if first > last => return None,
        // The tail is missing.
        (first, Some(last)) if first >= part.first && first <= end && last >= end => {
            let within = part.complete_length.is_none_or(|complete| end < complete);
            within.then(|| format!("bytes={end}-{last}"))?
        }
        (first, None) if first >= part.first && first <= end && !part.reaches_the_end() => {
            format!("bytes={end}-")
        }
        // The head is missing, and the part goes on to where the request ends.
        (first, last) if first < part.first => {
            let reaches = part.reaches_the_end() || last.is_some_and(|last| last < end);
            // The request has to touch the part.
            let touches = last.is_none_or(|last| last >= part.first - 1);
            (reaches && touches).then(|| format!("bytes={first}-{}", part.first - 1))?
        }
        _ => return None,
    };
    let strong_tag = stored.entity_tag().filter(|tag| tag.is_strong());
    let if_range = match strong_tag {
        Some(tag) => Some(tag.as_bytes()),
        // A weak or malformed tag says that Last-Modified is not to be trusted to the byte either.
        None if stored.entity_tag().is_some() => None,
        None => stored.strong_last_modified().and_then(|_| stored.fields().first("last-modified")),
    };
    Some(RangeRequest { range, if_range: if_range.map(<[u8]>::to_vec) })
}

/// Whether a newly stored response takes the place of one that is stored under the same key with the same
/// nominated fields.
///
/// A whole response displaces everything. A part displaces a part, and a whole response only when it shows by
/// a validator that the representation is another one now.
pub fn displaces(new: &StoredResponse, old: &StoredResponse) -> bool {
    if new.facts().part.is_none() || old.facts().part.is_some() {
        return true;
    }
    match (new.entity_tag(), old.entity_tag()) {
        (Some(new), Some(old)) => !new.weakly_equals(old),
        _ => match (new.facts().last_modified, old.facts().last_modified) {
            (Some(new), Some(old)) => new != old,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_has_one_form() {
        let part = |first, last, complete| Part::new(first, last, complete);
        for (value, expected) in [
            ("bytes 0-4/10", part(0, 4, Some(10))),
            ("Bytes 0-0/*", part(0, 0, None)),
            ("bytes 4-9/10", part(4, 9, Some(10))),
            ("bytes 0-10/10", None),
            ("bytes 5-4/10", None),
            ("bytes */10", None),
            ("bytes 0-4", None),
            ("bytes 0-4/", None),
            ("bytes -4/10", None),
            ("bytes 0-/10", None),
            ("bytes=0-4/10", None),
            ("bytes  0-4/10", None),
            ("bytes 0 - 4/10", None),
            ("bytes +0-4/10", None),
            ("bytes 0-4/10/10", None),
            ("chars 0-4/10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 0-18446744073709551616/*", None),
            ("bytes 0-18446744073709551613/18446744073709551615", part(0, u64::MAX - 2, Some(u64::MAX))),
            ("", None),
        ] {
            assert_eq!(Part::of_content_range(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_part_knows_where_it_ends() {
        assert!(Part::new(0, 9, Some(10)).unwrap().is_whole());
        assert!(!Part::new(1, 9, Some(10)).unwrap().is_whole());
        assert!(Part::new(1, 9, Some(10)).unwrap().reaches_the_end());
        assert!(!Part::new(0, 9, None).unwrap().is_whole());
        assert_eq!(Part::new(4, 9, None).unwrap().len(), 6);
    }
}
