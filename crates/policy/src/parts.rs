//! Parts: stored 206 responses, what they answer, and what is missing of them (RFC 9110, 14.4 and 15.3.7;
//! RFC 9111, 3.3 and 3.4).
//!
//! A part answers only requests for bytes that it holds. With a strong validator it can grow: it holds runs of the
//! representation, and [`Part`] names the stretch from the first to the last of them. Without one it is what one 206 brought:
//! where that reaches the end of the representation, the end of the received body counts as that end, even if the origin
//! announced more bytes than it sent.

use std::ops::Range;
use std::sync::Arc;

use crate::fields::Fields;
use crate::range::{Spec, single_range};
use crate::request::{MethodClass, RequestFacts};
use crate::runs::Runs;
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

/// Which bytes of its representation a stored part holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// Those of its body, which is so many bytes long and begins with the part's first byte.
    Body(u64),
    /// These runs. Its body is read by their positions.
    Runs(Arc<Runs>),
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

/// Decides which bytes of a stored part answer a request.
///
/// Only for a GET with one satisfiable range and, if there is an If-Range, one that the part meets; anything
/// else is [`PartPlan::Missing`], as is every request to a stored response that is no part.
pub fn part_plan(facts: &RequestFacts, request: &Fields, stored: &StoredResponse, held: &Held) -> PartPlan {
    match (stored.facts().part, single_range(facts, request, stored)) {
        (Some(part), Some(spec)) => part.plan(spec, held),
        _ => PartPlan::Missing,
    }
}

impl Part {
    fn plan(self, spec: Spec, held: &Held) -> PartPlan {
        let out_of_range = match spec {
            Spec::From(first, _) => self.complete_length.filter(|complete| first >= *complete),
            Spec::Suffix(0) => self.complete_length,
            Spec::Suffix(_) => None,
        };
        if let Some(complete_length) = out_of_range {
            return PartPlan::Unsatisfiable { complete_length };
        }
        let (end, offset) = match held {
            // Where the part reaches the end of the representation, the end of the body is that end.
            Held::Body(length) if self.reaches_the_end() => {
                (Some(self.first + (*length).min(self.len())), self.first)
            }
            Held::Body(_) => (self.complete_length, self.first),
            Held::Runs(_) => (self.complete_length, 0),
        };
        let wanted = spec.within(end).filter(|wanted| !wanted.is_empty() && self.holds(held, wanted));
        let content_range =
            wanted.and_then(|wanted| Self::new(wanted.start, wanted.end - 1, self.complete_length));
        match content_range {
            Some(content_range) => PartPlan::Serve {
                body: content_range.first - offset..content_range.last + 1 - offset,
                content_range,
            },
            None => PartPlan::Missing,
        }
    }

    fn holds(self, held: &Held, wanted: &Range<u64>) -> bool {
        match held {
            Held::Body(length) => {
                wanted.start >= self.first && wanted.end <= self.first + (*length).min(self.len())
            }
            Held::Runs(runs) => runs.covers(wanted),
        }
    }
}

/// Where a range that reaches the end of the representation ends, whether its length is known or not.
const OPEN: u64 = u64::MAX;

/// What to ask an origin for, so that a stored part and its answers together are what a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// What the client wants.
    wanted: Range<u64>,
    /// What of it is to be fetched, in order and at least one gap.
    gaps: Vec<Range<u64>>,
    /// The value of If-Range: the strong validator of the stored part (RFC 9110, 13.1.5). Without one a 206
    /// cannot be combined with the part, and only a 200 is of use.
    if_range: Option<Vec<u8>>,
}

impl Missing {
    /// What is to be fetched, in order. An end of `u64::MAX` is that of the representation.
    pub fn gaps(&self) -> &[Range<u64>] {
        &self.gaps
    }

    /// Turns a client's request into the one for a gap, or the rest of one: its own conditions and Range go, these come.
    pub fn ask(&self, gap: &Range<u64>, request: &mut Fields) {
        request.retain(|name, _| !CLIENT_CONDITIONS.iter().any(|known| name.eq_ignore_ascii_case(known)));
        let range = match gap.end {
            OPEN => format!("bytes={}-", gap.start),
            end => format!("bytes={}-{}", gap.start, end.saturating_sub(1)),
        };
        let _ = request.push("Range", range.as_bytes());
        if let Some(value) = &self.if_range {
            // The value was part of a field section already, and so is valid.
            let _ = request.push("If-Range", value);
        }
    }

    /// What the client wants of a representation of so many bytes; `None` if that cannot be said.
    pub(crate) fn wanted(&self, complete_length: Option<u64>) -> Option<Range<u64>> {
        let end = match (self.wanted.end, complete_length) {
            (OPEN, None) => return None,
            (end, complete_length) => end.min(complete_length.unwrap_or(end)),
        };
        (self.wanted.start < end).then_some(self.wanted.start..end)
    }
}

/// What is missing of a stored part to answer a GET, if that is for one range or for all, and the part has some bytes of it that
/// are worth keeping.
///
/// For each gap a request goes out as [`Missing::ask`] makes it. Then, for the first one:
///
/// - a 206 that [`combine`](crate::combine) accepts: answer from both, and go on with the next gap;
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
    held: &Held,
) -> Option<Missing> {
    let part = stored.facts().part?;
    let conditional = facts.has_if_none_match || facts.has_if_modified_since || facts.has_origin_condition;
    if facts.method != MethodClass::Get || facts.has_body || facts.directives.no_store || conditional {
        return None;
    }
    let runs = match held {
        Held::Body(length) if *length == part.len() => Arc::new(Runs::of(part.first..part.last + 1)),
        Held::Body(_) => return None,
        Held::Runs(runs) => Arc::clone(runs),
    };
    let spec = match single_range(facts, request, stored) {
        Some(spec) => spec,
        // A Range that is there but counts for nothing leaves it to the origin what to answer.
        None if facts.has_range => return None,
        None => Spec::From(0, None),
    };
    let open = |end| if Some(end) == part.complete_length { OPEN } else { end };
    let (wanted, gaps) = match spec.within(part.complete_length) {
        Some(wanted) if wanted.is_empty() => return None,
        Some(wanted) => {
            let gaps = runs.to_fetch(wanted.clone());
            // Where nothing is saved, the answer to the client's own request says more.
            if gaps.is_empty() || gaps == [wanted.clone()] {
                return None;
            }
            (wanted.start..open(wanted.end), gaps)
        }
        // Only the tail can be missing of what has no known end.
        None => {
            let Spec::From(first, None) = spec else { return None };
            let run = runs.run_at(first).filter(|run| run.end == part.last + 1)?;
            (first..OPEN, runs.to_fetch(run.end..OPEN))
        }
    };
    let gaps = gaps.into_iter().map(|gap| gap.start..open(gap.end)).collect();
    Some(Missing { wanted, gaps, if_range: stored.strong_validator().map(<[u8]>::to_vec) })
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
