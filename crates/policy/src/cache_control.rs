//! Cache-Control: request and response directives (RFC 9111, 5.2; RFC 5861; RFC 8246).
//!
//! Parsing never fails. What is malformed is resolved towards caution: a lifetime that cannot be read is
//! invalid, which counts as stale, and the smallest of several counts; a prohibition holds whatever its
//! argument looks like. What a directive leads to is decided elsewhere.

use crate::fields::{is_token, list_members, split_list, trim_ows};
use crate::time::DeltaSeconds;

/// A directive that takes an argument. Invalid is not absent: an unreadable lifetime makes a response stale
/// (RFC 9111, 4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Directive<T> {
    /// Not sent.
    #[default]
    Absent,
    /// Sent without an argument that can be read.
    Invalid,
    /// Sent with this argument.
    Value(T),
}

impl<T: Copy> Directive<T> {
    /// The argument, when there is a readable one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the directive was sent, readable or not.
    pub const fn is_present(self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl<T: Ord> Directive<T> {
    /// Two occurrences of one directive: the smaller value counts, and invalid wins over both.
    fn join(&mut self, other: Self) {
        let joined = match (std::mem::take(self), other) {
            (Self::Absent, other) | (other, Self::Absent) => other,
            (Self::Invalid, _) | (_, Self::Invalid) => Self::Invalid,
            (Self::Value(one), Self::Value(two)) => Self::Value(one.min(two)),
        };
        *self = joined;
    }
}

/// `no-cache` or `private`, either of which may be restricted to some fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Restriction {
    /// Not sent.
    #[default]
    Absent,
    /// For these fields only, in lower case (RFC 9111, 5.2.2.4 and 5.2.2.7).
    Fields(Vec<String>),
    /// For the whole response.
    Whole,
}

impl Restriction {
    fn join(&mut self, other: Self) {
        let joined = match (std::mem::take(self), other) {
            (Self::Whole, _) | (_, Self::Whole) => Self::Whole,
            (Self::Absent, other) | (other, Self::Absent) => other,
            (Self::Fields(mut one), Self::Fields(two)) => {
                one.extend(two);
                Self::Fields(one)
            }
        };
        *self = joined;
    }

    /// Reads the argument of `no-cache` or `private`. Only a quoted list of field names restricts the
    /// directive; anything else leaves it at full strength, and so does a list that names a field which
    /// steers a cache or frames the body: such a response cannot be stored in part.
    pub(crate) fn of_field_names(list: &[u8]) -> Self {
        const INDISPENSABLE: [&str; 13] = [
            "age",
            "cache-control",
            "content-encoding",
            "content-length",
            "content-range",
            "content-type",
            "date",
            "etag",
            "expires",
            "last-modified",
            "location",
            "transfer-encoding",
            "vary",
        ];
        let mut names = Vec::new();
        for name in list_members(std::iter::once(list)) {
            let Ok(text) = std::str::from_utf8(name) else { return Self::Whole };
            let text = text.to_ascii_lowercase();
            if !is_token(name) || INDISPENSABLE.contains(&text.as_str()) {
                return Self::Whole;
            }
            names.push(text);
        }
        if names.is_empty() { Self::Whole } else { Self::Fields(names) }
    }
}

/// The directives of a request (RFC 9111, 5.2.1; RFC 5861, 4). Unknown ones are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RequestDirectives {
    /// The greatest age the client takes.
    pub max_age: Directive<DeltaSeconds>,
    /// How long the response must stay fresh from now on.
    pub min_fresh: Directive<DeltaSeconds>,
    /// How stale a response the client takes; `Value(None)` without bound.
    pub max_stale: Directive<Option<DeltaSeconds>>,
    /// How stale a response the client takes when the origin answers with an error.
    pub stale_if_error: Directive<DeltaSeconds>,
    /// Nothing without successful validation.
    pub no_cache: bool,
    /// Keep nothing of this exchange.
    pub no_store: bool,
    /// A stored response or none: 504.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Adds the directives of one line of Cache-Control.
    pub(crate) fn add_line(&mut self, line: &[u8]) {
        for directive in directives(line) {
            match directive.name {
                name if name.eq_ignore_ascii_case(b"max-age") => self.max_age.join(directive.seconds()),
                name if name.eq_ignore_ascii_case(b"min-fresh") => self.min_fresh.join(directive.seconds()),
                name if name.eq_ignore_ascii_case(b"max-stale") => self.join_max_stale(directive),
                name if name.eq_ignore_ascii_case(b"stale-if-error") => {
                    self.stale_if_error.join(directive.seconds());
                }
                name if name.eq_ignore_ascii_case(b"no-cache") => self.no_cache = true,
                name if name.eq_ignore_ascii_case(b"no-store") => self.no_store = true,
                name if name.eq_ignore_ascii_case(b"only-if-cached") => self.only_if_cached = true,
                _ => {}
            }
        }
    }

    fn join_max_stale(&mut self, directive: Member<'_>) {
        let other = match directive.argument {
            Argument::None => Directive::Value(None),
            _ => match directive.seconds() {
                Directive::Value(seconds) => Directive::Value(Some(seconds)),
                _ => Directive::Invalid,
            },
        };
        // A bound is smaller than none, although `Option` orders them the other way.
        match (self.max_stale, other) {
            (Directive::Value(None), Directive::Value(Some(_))) => self.max_stale = other,
            (Directive::Value(Some(_)), Directive::Value(None)) => {}
            _ => self.max_stale.join(other),
        }
    }
}

/// The directives of a response (RFC 9111, 5.2.2; RFC 5861; RFC 8246). Unknown ones are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResponseDirectives {
    /// The freshness lifetime.
    pub max_age: Directive<DeltaSeconds>,
    /// The freshness lifetime in a shared cache, which may not serve the response once it is stale.
    pub s_maxage: Directive<DeltaSeconds>,
    /// How long past its lifetime it may answer while a validation runs.
    pub stale_while_revalidate: Directive<DeltaSeconds>,
    /// How long past its lifetime it may answer when the origin fails.
    pub stale_if_error: Directive<DeltaSeconds>,
    /// Validate before every use.
    pub no_cache: Restriction,
    /// Not for a shared cache.
    pub private: Restriction,
    /// Do not store.
    pub no_store: bool,
    /// Validate once stale.
    pub must_revalidate: bool,
    /// `must_revalidate` for shared caches only.
    pub proxy_revalidate: bool,
    /// May be stored although something would forbid it.
    pub public: bool,
    /// Store only with an understood status; `no-store` beside it is for caches that do not know this
    /// directive.
    pub must_understand: bool,
    /// Will not change while fresh.
    pub immutable: bool,
}

impl ResponseDirectives {
    /// The directives of all lines of Cache-Control, which form one list.
    pub fn of_cache_control<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut directives = Self::default();
        for line in lines {
            directives.add_line(line);
        }
        directives
    }

    fn add_line(&mut self, line: &[u8]) {
        for directive in directives(line) {
            let mut name = [0; LONGEST_NAME];
            let Some(lower) = name.get_mut(..directive.name.len()) else { continue };
            lower.copy_from_slice(directive.name);
            lower.make_ascii_lowercase();
            match &*lower {
                b"max-age" => self.max_age.join(directive.seconds()),
                b"s-maxage" => self.s_maxage.join(directive.seconds()),
                b"stale-while-revalidate" => self.stale_while_revalidate.join(directive.seconds()),
                b"stale-if-error" => self.stale_if_error.join(directive.seconds()),
                b"no-cache" => self.no_cache.join(directive.field_names()),
                b"private" => self.private.join(directive.field_names()),
                b"no-store" => self.no_store = true,
                b"must-revalidate" => self.must_revalidate = true,
                b"proxy-revalidate" => self.proxy_revalidate = true,
                b"public" => self.public = true,
                b"must-understand" => self.must_understand = true,
                b"immutable" => self.immutable = true,
                _ => {}
            }
        }
    }
}

/// The length of `stale-while-revalidate`; a longer name is unknown.
const LONGEST_NAME: usize = 22;

/// One member of a Cache-Control list.
#[derive(Clone, Copy)]
struct Member<'a> {
    name: &'a [u8],
    argument: Argument<'a>,
}

#[derive(Clone, Copy)]
enum Argument<'a> {
    None,
    Token(&'a [u8]),
    /// The inside of a quoted string, quoted pairs as they are.
    Quoted(&'a [u8]),
    /// Whitespace around `=`, or a quote out of place.
    Malformed,
}

impl Member<'_> {
    /// The argument as delta-seconds; quotes around it do no harm (RFC 9111, 5.2).
    fn seconds(&self) -> Directive<DeltaSeconds> {
        let (Argument::Token(digits) | Argument::Quoted(digits)) = self.argument else {
            return Directive::Invalid;
        };
        DeltaSeconds::parse(digits).map_or(Directive::Invalid, Directive::Value)
    }

    fn field_names(&self) -> Restriction {
        match self.argument {
            Argument::Quoted(list) => Restriction::of_field_names(list),
            _ => Restriction::Whole,
        }
    }
}

/// The members of one line. Whitespace before `=` leaves the name recognisable, so that `max-age =1` is an
/// invalid `max-age` and not an unknown directive.
fn directives(line: &[u8]) -> impl Iterator<Item = Member<'_>> {
    split_list(line).filter(|member| !member.is_empty()).map(|member| {
        let Some(at) = member.iter().position(|byte| *byte == b'=') else {
            return Member { name: member, argument: Argument::None };
        };
        let (before, after) = member.split_at_checked(at).unwrap_or((member, &[]));
        let value = after.strip_prefix(b"=").unwrap_or_default();
        let name = trim_ows(before);
        let argument = match value {
            _ if name.len() != before.len() => Argument::Malformed,
            [b'"', inside @ .., b'"'] => Argument::Quoted(inside),
            _ => Argument::Token(value),
        };
        Member { name, argument }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::of_cache_control(lines.iter().map(|line| line.as_bytes()))
    }

    fn request(line: &str) -> RequestDirectives {
        let mut directives = RequestDirectives::default();
        directives.add_line(line.as_bytes());
        directives
    }

    fn value(secs: u64) -> Directive<DeltaSeconds> {
        Directive::Value(DeltaSeconds::from_secs(secs))
    }

    #[test]
    fn a_directive_inside_a_quoted_argument_is_none() {
        assert_eq!(response(&[r#"foo="max-age=1", max-age=2"#]).max_age, value(2));
        assert_eq!(response(&[r#"max-age=2, foo="bar, max-age=1, no-store""#]).max_age, value(2));
        assert!(!response(&[r#"foo="no-store, private""#]).no_store);
    }

    #[test]
    fn all_lines_form_one_list() {
        let directives = response(&["public", "max-age=5,no-store", "s-maxage=7"]);
        assert!(directives.public && directives.no_store);
        assert_eq!((directives.max_age, directives.s_maxage), (value(5), value(7)));
    }

    #[test]
    fn names_are_case_insensitive() {
        assert!(response(&["No-StOrE"]).no_store);
        assert_eq!(response(&["No-CaChE"]).no_cache, Restriction::Whole);
        assert_eq!(response(&["MaX-aGe=1"]).max_age, value(1));
    }

    #[test]
    fn arguments_that_are_not_delta_seconds_are_invalid() {
        for argument in [
            "=-1",
            "='3600'",
            "=3600.0",
            "=a",
            " =3600",
            "= 3600",
            "=",
            "",
            "=\"\"",
            "=\"36",
            "=3600;a=b",
            "=36 00",
        ] {
            assert_eq!(response(&[&format!("max-age{argument}")]).max_age, Directive::Invalid, "{argument}");
        }
        assert_eq!(response(&["max-age=003600"]).max_age, value(3600));
        assert_eq!(response(&["max-age=\"3600\""]).max_age, value(3600));
    }

    #[test]
    fn the_smallest_of_several_counts() {
        assert_eq!(response(&["max-age=9, max-age=3", "max-age=5"]).max_age, value(3));
        assert_eq!(response(&["max-age=9, max-age=x"]).max_age, Directive::Invalid);
    }

    #[test]
    fn a_quoted_list_of_field_names_restricts_no_cache_and_private() {
        let fields =
            |names: &[&str]| Restriction::Fields(names.iter().map(|name| name.to_string()).collect());
        assert_eq!(response(&[r#"no-cache="A, b""#]).no_cache, fields(&["a", "b"]));
        assert_eq!(response(&[r#"private="x", private="y""#]).private, fields(&["x", "y"]));
        for whole in [
            "no-cache",
            "no-cache=a",
            "no-cache=",
            r#"no-cache="""#,
            r#"no-cache="a b""#,
            r#"no-cache="a, vary""#,
            r#"no-cache="a", no-cache"#,
        ] {
            assert_eq!(response(&[whole]).no_cache, Restriction::Whole, "{whole}");
        }
    }

    #[test]
    fn request_directives() {
        let directives =
            request("max-age=1, min-fresh=2, max-stale, no-cache, no-store, only-if-cached, x=y");
        assert_eq!((directives.max_age, directives.min_fresh), (value(1), value(2)));
        assert_eq!(directives.max_stale, Directive::Value(None));
        assert!(directives.no_cache && directives.no_store && directives.only_if_cached);
    }

    #[test]
    fn a_bounded_max_stale_is_less_than_an_unbounded_one() {
        let bounded = Directive::Value(Some(DeltaSeconds::from_secs(3)));
        assert_eq!(request("max-stale, max-stale=3").max_stale, bounded);
        assert_eq!(request("max-stale=3, max-stale").max_stale, bounded);
        assert_eq!(request("max-stale=x").max_stale, Directive::Invalid);
    }
}
