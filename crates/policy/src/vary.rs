//! Nominated fields: which stored response fits a request (RFC 9111, 4.1; RFC 9110, 12.5.5).
//!
//! What Vary nominates is taken from the request once, normalised, and kept beside the stored response. Later
//! requests are compared with it in place: matching allocates nothing. Normalising never makes two values
//! equal that an origin may tell apart: for any field only whitespace around commas and the split into lines
//! go; for Accept-Language also letter case, and the order of members of equal weight. Accept that Vary does not name, but
//! a package rule does, is compared by its class: the media ranges in the order of their weights, whatever those are.

use std::cmp::Ordering;

use crate::fields::{Fields, is_token, list_members, split_list, trim_ows};
use crate::packages::Rule;

/// The request fields that a stored response's Vary nominates, with the values of the request it answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nominated {
    fields: Box<[NominatedField]>,
    /// The one language of the stored response, in lower case, if Accept-Language is nominated.
    language: Option<Box<[u8]>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct NominatedField {
    /// In lower case.
    name: Box<str>,
    /// Normalised; `None` when the request had no such field.
    value: Option<Box<[u8]>>,
}

/// How well a stored response fits. The better fit is the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fit {
    /// The fields differ, but the response is in the language that the request prefers.
    Language,
    /// All nominated fields are the same.
    Exact,
}

const ACCEPT: &str = "accept";
const ACCEPT_LANGUAGE: &str = "accept-language";
const ACCEPT_ENCODING: &str = "accept-encoding";

/// Whether a field is a list of preferences, in which only the order of the weights means anything (RFC 9110, 12.5.3 and
/// 12.5.4).
fn is_ranked(name: &str) -> bool {
    matches!(name, ACCEPT_LANGUAGE | ACCEPT_ENCODING)
}

impl Nominated {
    /// Takes from `request` what the Vary of `response` nominates.
    ///
    /// `None` when no request can ever match: `*` anywhere in Vary (RFC 9111, 4.1), or a member that is no
    /// field name and so cannot be compared.
    pub fn of(request: &Fields, response: &Fields) -> Option<Self> {
        let mut fields: Vec<NominatedField> = Vec::new();
        for member in list_members(response.all("vary")) {
            if member == b"*" || !is_token(member) {
                return None;
            }
            let name = std::str::from_utf8(member).ok()?.to_ascii_lowercase();
            if fields.iter().all(|field| *field.name != *name) {
                let value = normalise(&name, request).map(Vec::into_boxed_slice);
                fields.push(NominatedField { name: name.into(), value });
            }
        }
        let languages = fields.iter().any(|field| &*field.name == ACCEPT_LANGUAGE);
        let language = if languages { only_language(response) } else { None };
        Some(Self { fields: fields.into(), language })
    }

    /// The same, and Accept's class where a package rule knows that Accept chose the response although Vary does not name it.
    pub(crate) fn under(rule: Option<&Rule>, request: &Fields, response: &Fields) -> Option<Self> {
        let mut nominated = Self::of(request, response)?;
        let named = nominated.names().any(|name| name == ACCEPT);
        if !named && rule.is_some_and(|rule| rule.negotiates(request, response)) {
            let value = class_of_accept(request).map(Vec::into_boxed_slice);
            let mut fields = nominated.fields.into_vec();
            fields.push(NominatedField { name: ACCEPT.into(), value });
            nominated.fields = fields.into();
        }
        Some(nominated)
    }

    /// Whether a request may be answered with the response (RFC 9111, 4.1).
    pub fn matches(&self, request: &Fields) -> bool {
        self.fit(request).is_some()
    }

    /// The names that Vary nominated, in lower case, without repetition.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| &*field.name)
    }

    /// The names, each with the value that chose the response, in the spelling in which values are compared; none where the
    /// request had no such field.
    pub fn values(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        self.fields.iter().map(|field| (&*field.name, field.value.as_deref().map(readable)))
    }

    pub(crate) fn fit(&self, request: &Fields) -> Option<Fit> {
        let mut fit = Fit::Exact;
        for field in &self.fields {
            let stored = field.value.as_deref();
            if &*field.name == ACCEPT_LANGUAGE {
                if !same_preferences(stored, ACCEPT_LANGUAGE, request) {
                    let wanted = preferred_language(request)?;
                    if !self.language.as_deref()?.eq_ignore_ascii_case(wanted) {
                        return None;
                    }
                    fit = Fit::Language;
                }
            } else if is_ranked(&field.name) {
                if !same_preferences(stored, &field.name, request) {
                    return None;
                }
            } else if let Some(class) = field.class() {
                if !Ranked::media_ranges(request).is_some_and(|ranked| ranked.is(class)) {
                    return None;
                }
            } else if !same_lines(stored, &field.name, request) {
                return None;
            }
        }
        Some(fit)
    }

    /// Field by field: the name, the stored value and the request's in one spelling, and whether they match.
    /// In the preferred language a response fits although Accept-Language does not match.
    pub(crate) fn compare(&self, request: &Fields) -> Vec<Comparison> {
        let compare = |field: &NominatedField| {
            let asked = match field.class() {
                Some(_) => class_of_accept(request),
                None => normalise(&field.name, request),
            };
            let matches = asked.as_deref() == field.value.as_deref();
            let text = |value: Option<&[u8]>| value.map(readable);
            Comparison {
                name: field.name.to_string(),
                stored: text(field.value.as_deref()),
                asked: text(asked.as_deref()),
                matches,
            }
        };
        self.fields.iter().map(compare).collect()
    }

    /// The stored form; read back by [`Nominated::from_bytes`].
    ///
    /// | bytes | meaning |
    /// | --- | --- |
    /// | 1 | version, 1 |
    /// | 1 + text | language: 0, or 1 and a text |
    /// | 4 | number of fields, little endian |
    /// | each field | name as text; 0, or 1 and the value as text |
    ///
    /// A text is its length in four bytes, little endian, and its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_optional(&mut out, self.language.as_deref());
        out.extend_from_slice(&(self.fields.len() as u32).to_le_bytes());
        for field in &self.fields {
            put_text(&mut out, field.name.as_bytes());
            put_optional(&mut out, field.value.as_deref());
        }
        out
    }

    /// Reads what [`Nominated::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return None;
        }
        let language = reader.optional()?.map(Box::from);
        let count = reader.length()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let name = reader.text()?;
            if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) {
                return None;
            }
            let name = std::str::from_utf8(name).ok()?.into();
            fields.push(NominatedField { name, value: reader.optional()?.map(Box::from) });
        }
        reader.0.is_empty().then(|| Self { fields: fields.into(), language })
    }
}

impl NominatedField {
    /// Of Accept that a package rule nominates: its media ranges with their ranks.
    fn class(&self) -> Option<&[u8]> {
        self.value.as_deref().filter(|_| &*self.name == ACCEPT)?.strip_prefix(&[0])
    }
}

/// How one nominated field of a stored response compares with a request's.
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) stored: Option<String>,
    pub(crate) asked: Option<String>,
    pub(crate) matches: bool,
}

/// A normalised value for people.
fn readable(value: &[u8]) -> String {
    let Some((0, mut rest)) = value.split_first() else {
        return String::from_utf8_lossy(value).into_owned();
    };
    let mut text = String::new();
    // A weight is at most 1000, so that its first byte is below those of a tag.
    while let Some(end) = rest.iter().position(|byte| *byte <= 3) {
        let Some((tag, after)) = rest.split_at_checked(end) else { break };
        let Some((weight, after)) = after.split_first_chunk::<2>() else { break };
        rest = after;
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&String::from_utf8_lossy(tag));
        match u16::from_be_bytes(*weight) {
            1000 => {}
            weight => {
                let weight = format!(";q={}.{:03}", weight / 1000, weight % 1000);
                text.push_str(weight.trim_end_matches('0').trim_end_matches('.'));
            }
        }
    }
    text
}

const VERSION: u8 = 1;

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}

fn put_optional(out: &mut Vec<u8>, text: Option<&[u8]>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn length(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn optional(&mut self) -> Option<Option<&'a [u8]>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some(self.text()?)),
            _ => None,
        }
    }
}

/// The parts between commas of all lines called `name`, trimmed. Empty parts stay, since only the definition
/// of a field can say that they mean nothing.
fn parts<'a>(name: &str, request: &'a Fields) -> impl Iterator<Item = &'a [u8]> {
    request.all(name).flat_map(split_list)
}

fn normalise(name: &str, request: &Fields) -> Option<Vec<u8>> {
    if !request.contains(name) {
        return None;
    }
    let mut normal = Vec::new();
    if is_ranked(name)
        && let Some(ranked) = Ranked::of(name, request)
    {
        return Some(ranked.to_bytes());
    }
    for (index, part) in parts(name, request).enumerate() {
        if index > 0 {
            normal.push(b',');
        }
        normal.extend_from_slice(part);
    }
    Some(normal)
}

/// The class of Accept: its media ranges by their ranks, or all of it where a range has parameters.
fn class_of_accept(request: &Fields) -> Option<Vec<u8>> {
    match Ranked::media_ranges(request) {
        Some(ranked) => Some(ranked.to_bytes()),
        None => normalise(ACCEPT, request),
    }
}

/// Whether the request's lines called `name` normalise to `stored`, found without building them.
fn same_lines(stored: Option<&[u8]>, name: &str, request: &Fields) -> bool {
    let mut parts = parts(name, request);
    let (Some(stored), Some(first)) = (stored, parts.next()) else {
        return stored.is_none() && !request.contains(name);
    };
    let Some(mut rest) = stored.strip_prefix(first) else { return false };
    for part in parts {
        match rest.strip_prefix(b",").and_then(|rest| rest.strip_prefix(part)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

fn same_preferences(stored: Option<&[u8]>, name: &str, request: &Fields) -> bool {
    let Some([0, stored @ ..]) = stored else {
        return Ranked::of(name, request).is_none() && same_lines(stored, name, request);
    };
    Ranked::of(name, request).is_some_and(|ranked| ranked.is(stored))
}

/// The language range that a request ranks above all others (RFC 9110, 12.5.4).
fn preferred_language(request: &Fields) -> Option<&[u8]> {
    let languages = Ranked::of(ACCEPT_LANGUAGE, request)?;
    let mut ranges = languages.ranges().iter();
    let best = ranges.next()?;
    let strictly = ranges.next().is_none_or(|second| second.weight < best.weight);
    (strictly && best.weight > 0).then_some(best.tag)
}

/// The language of a response that names exactly one (RFC 9110, 8.5).
fn only_language(response: &Fields) -> Option<Box<[u8]>> {
    let mut members = list_members(response.all("content-language"));
    let language = members.next()?;
    members.next().is_none().then(|| language.to_ascii_lowercase().into())
}

/// The members of a list of preferences by falling weight, those of equal weight by name.
struct Ranked<'a> {
    ranges: [Preference<'a>; MOST_PREFERENCES],
    count: usize,
}

/// With more members than this, a list of preferences is compared as any other field.
const MOST_PREFERENCES: usize = 16;

/// Ranks are written as weights: the first, and how much less each next one is.
const FIRST_RANK: u16 = 1000;
const RANK_STEP: u16 = 50;

#[derive(Clone, Copy)]
struct Preference<'a> {
    tag: &'a [u8],
    /// In thousandths.
    weight: u16,
}

impl<'a> Ranked<'a> {
    /// `None` when the field is absent, empty, malformed or too long to sort on the stack.
    fn of(name: &str, request: &'a Fields) -> Option<Self> {
        Self::parse(name, request, |byte| matches!(byte, b'-' | b'*'))
    }

    /// The media ranges of Accept (RFC 9110, 12.5.1), with ranks in place of their weights: which of two is preferred chooses a
    /// response, not by how much. What is not acceptable stays so. `None` as above, or when a range has parameters.
    fn media_ranges(request: &'a Fields) -> Option<Self> {
        let in_range = |byte| matches!(byte, b'/' | b'*' | b'.' | b'+' | b'-' | b'_');
        let mut ranked = Self::parse(ACCEPT, request, in_range)?;
        let (mut last, mut rank) = (0, FIRST_RANK + RANK_STEP);
        for range in ranked.ranges.get_mut(..ranked.count)? {
            if range.weight != last {
                (last, rank) = (range.weight, rank - RANK_STEP);
            }
            range.weight = if range.weight == 0 { 0 } else { rank };
        }
        Some(ranked)
    }

    /// `others` may stand in a range beside letters and digits.
    fn parse(name: &str, request: &'a Fields, others: impl Fn(u8) -> bool) -> Option<Self> {
        let mut ranked = Self { ranges: [Preference { tag: &[], weight: 0 }; MOST_PREFERENCES], count: 0 };
        for member in list_members(request.all(name)) {
            *ranked.ranges.get_mut(ranked.count)? = Preference::parse(member, &others)?;
            ranked.count += 1;
        }
        if ranked.count == 0 {
            return None;
        }
        let ranges = ranked.ranges.get_mut(..ranked.count)?;
        ranges.sort_unstable_by(|one, two| {
            two.weight.cmp(&one.weight).then_with(|| compare_ignoring_case(one.tag, two.tag))
        });
        Some(ranked)
    }

    fn ranges(&self) -> &[Preference<'a>] {
        self.ranges.get(..self.count).unwrap_or_default()
    }

    /// The normalised value of the field. No field value begins with NUL, so that it cannot be confused with one.
    fn to_bytes(&self) -> Vec<u8> {
        let mut normal = vec![0];
        for range in self.ranges() {
            normal.extend(range.tag.iter().map(u8::to_ascii_lowercase));
            normal.extend_from_slice(&range.weight.to_be_bytes());
        }
        normal
    }

    /// Whether this would give the same as what follows the NUL, found without building it.
    fn is(&self, normal: &[u8]) -> bool {
        let mut rest = normal;
        for range in self.ranges() {
            let Some((tag, after)) = rest.split_at_checked(range.tag.len()) else { return false };
            let Some(after) = after.strip_prefix(&range.weight.to_be_bytes()) else { return false };
            if !tag.eq_ignore_ascii_case(range.tag) {
                return false;
            }
            rest = after;
        }
        rest.is_empty()
    }
}

impl<'a> Preference<'a> {
    /// A range or content coding, `range [ OWS ";" OWS "q=" qvalue ]` (RFC 9110, 12.4.2, 12.5.1, 12.5.3 and 12.5.4).
    fn parse(member: &'a [u8], others: impl Fn(u8) -> bool) -> Option<Self> {
        let mut parts = member.split(|byte| *byte == b';');
        let tag = trim_ows(parts.next()?);
        let weight = match parts.next() {
            None => 1000,
            Some(weight) => parse_weight(trim_ows(weight))?,
        };
        let in_tag = |byte: &u8| byte.is_ascii_alphanumeric() || others(*byte);
        (parts.next().is_none() && !tag.is_empty() && tag.iter().all(in_tag)).then_some(Self { tag, weight })
    }
}

fn parse_weight(weight: &[u8]) -> Option<u16> {
    let value = weight.strip_prefix(b"q=").or_else(|| weight.strip_prefix(b"Q="))?;
    let (whole, decimals) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] => (whole, decimals),
        _ => return None,
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) || !matches!(whole, b'0' | b'1') {
        return None;
    }
    let digits = decimals.iter().copied().chain(std::iter::repeat(b'0')).take(3);
    let thousandths =
        digits.fold(u16::from(*whole - b'0'), |weight, digit| weight * 10 + u16::from(digit - b'0'));
    (thousandths <= 1000).then_some(thousandths)
}

fn compare_ignoring_case(one: &[u8], two: &[u8]) -> Ordering {
    one.iter().map(u8::to_ascii_lowercase).cmp(two.iter().map(u8::to_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes()).unwrap();
        }
        fields
    }

    fn fits(vary: &str, stored: &[(&str, &str)], request: &[(&str, &str)]) -> bool {
        let nominated = Nominated::of(&fields(stored), &fields(&[("Vary", vary)])).unwrap();
        assert_eq!(Nominated::from_bytes(&nominated.to_bytes()).as_ref(), Some(&nominated));
        nominated.matches(&fields(request))
    }

    #[test]
    fn every_nominated_field_must_match() {
        assert!(fits("Foo, bar", &[("foo", "1"), ("BAR", "2")], &[("Bar", "2"), ("x", "y"), ("Foo", "1")]));
        assert!(!fits("Foo, bar", &[("foo", "1"), ("bar", "2")], &[("Bar", "3"), ("Foo", "1")]));
        assert!(!fits("Foo", &[("foo", "1")], &[("foo", "11")]));
        assert!(!fits("Foo", &[("foo", "11")], &[("foo", "1")]));
    }

    #[test]
    fn absent_matches_only_absent() {
        assert!(fits("Foo", &[], &[("bar", "1")]));
        assert!(!fits("Foo", &[("foo", "1")], &[]));
        assert!(!fits("Foo", &[], &[("foo", "1")]));
        assert!(!fits("Foo", &[], &[("foo", "")]));
        assert!(!fits("Foo", &[("foo", "")], &[]));
        assert!(fits("Foo", &[("foo", "")], &[("foo", " ")]));
    }

    #[test]
    fn a_star_anywhere_never_matches() {
        for lines in
            [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, Foo"], &["Foo, *"], &["a b"]]
        {
            let mut response = Fields::new();
            for line in lines {
                response.push("Vary", line.as_bytes()).unwrap();
            }
            assert_eq!(Nominated::of(&Fields::new(), &response), None, "{lines:?}");
        }
    }

    #[test]
    fn lines_and_whitespace_around_commas_are_normalised() {
        assert!(fits("Foo", &[("foo", "1,2")], &[("foo", "1, 2")]));
        assert!(fits("Foo", &[("foo", "1 , 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(!fits("Foo", &[("foo", "1,2")], &[("foo", "2,1")]));
        assert!(!fits("Foo", &[("foo", "1,2")], &[("foo", "1,,2")]));
        assert!(!fits("Foo", &[("foo", "a b")], &[("foo", "a  b")]));
        assert!(!fits("Foo", &[("foo", "\"1, 2\"")], &[("foo", "\"1,2\"")]));
    }

    #[test]
    fn accept_language_ignores_case_space_and_the_order_of_equal_weights() {
        let same =
            |one, two| fits("Accept-Language", &[("Accept-Language", one)], &[("accept-language", two)]);
        assert!(same("en, de", "DE,en"));
        assert!(same("en;q=0.5, de;q=0.50", "de ; q=0.500,EN;q=0.5"));
        assert!(same("de, en;q=0.8", "en;q=0.8, de;q=1.0"));
        assert!(!same("de, en;q=0.8", "en, de;q=0.8"));
        assert!(!same("de", "de, en"));
        assert!(!same("de", "d"));
        assert!(same("de; q=x", "de; q=x"), "malformed ones are compared as they are");
        assert!(!same("de;q=x", "DE;q=x"));
        let long = (0..40).map(|n| format!("x{n}")).collect::<Vec<_>>().join(",");
        assert!(same(&long, &long));
        assert!(fits("accept-language", &[], &[]));
        assert!(!fits("accept-language", &[], &[("accept-language", "de")]));
    }

    #[test]
    fn a_response_in_the_preferred_language_is_selected() {
        let response = fields(&[("Vary", "Accept-Language"), ("Content-Language", "de")]);
        let nominated = Nominated::of(&fields(&[("Accept-Language", "en, de")]), &response).unwrap();
        for (request, selected) in [
            ("fr;q=0.5, DE;q=0.9", true),
            ("de", true),
            ("de, fr", false),
            ("fr, de;q=0.9", false),
            ("de;q=0", false),
            ("*", false),
        ] {
            assert_eq!(nominated.matches(&fields(&[("accept-language", request)])), selected, "{request}");
        }
        let two = fields(&[("Vary", "Accept-Language"), ("Content-Language", "de, en")]);
        let nominated = Nominated::of(&fields(&[("Accept-Language", "fr")]), &two).unwrap();
        assert!(!nominated.matches(&fields(&[("accept-language", "de")])));
    }

    #[test]
    fn a_package_rule_nominates_the_class_of_accept_where_vary_is_silent() {
        let target = |path: &str| {
            crate::TargetUri::parse(format!("http://pypi.example.com{path}").as_bytes()).unwrap()
        };
        let rule = crate::packages::recognise(&target("/simple/requests/"));
        let fits = |vary: &[(&str, &str)], stored: &[(&str, &str)], request: &[(&str, &str)]| {
            let nominated = Nominated::under(rule.as_ref(), &fields(stored), &fields(vary)).unwrap();
            assert_eq!(Nominated::from_bytes(&nominated.to_bytes()).as_ref(), Some(&nominated));
            let (fits, request) = (nominated.matches(&fields(request)), fields(request));
            assert!(nominated.compare(&request).iter().all(|field| field.matches) == fits);
            fits
        };
        const PIP: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";
        const UV: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";
        let same = |one, two| fits(&[], &[("Accept", one)], &[("accept", two)]);
        assert!(same(PIP, UV) && same(PIP, PIP) && same("text/html", "Text/HTML"));
        for other in ["text/html", "*/*", "application/vnd.pypi.simple.v1+json", "text/html;level=1", ""] {
            assert!(!same(PIP, other) && !same(other, PIP), "{other}");
        }
        assert!(same("a/b;level=1, c/d", "a/b;level=1,c/d"), "with parameters it is compared as it is");
        assert!(!same("a/b, c/d", "a/b, c/d;q=0.5"), "equal is not the same as preferred");
        assert!(!same("a/b, c/d;q=0.1", "a/b, c/d;q=0"), "nor is not acceptable");
        assert!(fits(&[], &[], &[("X", "y")]));
        assert!(!fits(&[], &[], &[("Accept", "*/*")]) && !fits(&[], &[("Accept", "*/*")], &[]));
        assert!(
            !fits(&[("Vary", "accept")], &[("Accept", PIP)], &[("Accept", UV)]),
            "Vary is obeyed as it is"
        );
        let readable = Nominated::under(rule.as_ref(), &fields(&[("Accept", UV)]), &fields(&[])).unwrap();
        let shown: Vec<_> = readable.values().collect();
        let ranks = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.95, text/html;q=0.9";
        assert_eq!(shown, [("accept", Some(ranks.to_owned()))]);
        let none = crate::packages::recognise(&target("/complex/"));
        assert_eq!(
            Nominated::under(none.as_ref(), &fields(&[("Accept", UV)]), &fields(&[])),
            Some(Nominated::default())
        );
    }

    #[test]
    fn junk_is_not_read_back() {
        let stored = Nominated::of(&fields(&[("a", "1")]), &fields(&[("Vary", "a, b")])).unwrap().to_bytes();
        for length in 0..stored.len() {
            assert_eq!(Nominated::from_bytes(&stored[..length]), None);
        }
        assert_eq!(Nominated::from_bytes(&[&stored[..], b"x"].concat()), None);
        assert_eq!(Nominated::from_bytes(&[1, 0, 255, 255, 255, 255]), None);
    }

    #[test]
    fn the_order_of_codings_and_their_case_mean_nothing_but_weights_do() {
        let same =
            |one, two| fits("Accept-Encoding", &[("Accept-Encoding", one)], &[("accept-encoding", two)]);
        assert!(same("gzip, br", "BR,gzip"));
        assert!(same("gzip;q=0.5, br", "br, gzip; q=0.500"));
        assert!(!same("gzip, br", "gzip, br;q=0.5"));
        assert!(!same("gzip", "gzip, br"));
        assert!(!same("", "identity") && same("", ""));
    }
}
