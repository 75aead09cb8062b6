//! Patterns by which an override finds its responses: hosts, paths, content types, names of query parameters.
//! Patterns for whole URLs share their globs.
//!
//! Matching takes time linear in the text, whatever the pattern: a request's path is a stranger's.

use std::fmt;

/// Why a pattern, or a set of overrides, is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOverride {
    /// Neither a host nor `*.` and a host.
    #[error("{0:?} is neither a host nor *. and a host")]
    Host(String),
    /// A path does not begin with a slash or a star, or holds what no path holds.
    #[error("{0:?} is no pattern for paths: it begins with / and has visible ASCII without ? and #")]
    Path(String),
    /// A pattern for URLs holds what no URL holds, or can match none.
    #[error("{0:?} is no pattern for URLs: it has visible ASCII without #, and a slash or ** somewhere")]
    Url(String),
    /// Neither `type/subtype` nor `type/*`.
    #[error("{0:?} is neither type/subtype nor type/*")]
    ContentType(String),
    /// The name of a query parameter is empty or holds `&` or `=`.
    #[error("{0:?} is no name of a query parameter")]
    Parameter(String),
    /// More than 127 bytes after the first star.
    #[error("{0:?} has more than 127 bytes after its first star")]
    TooLong(String),
    /// A name is no token, or longer than 64 bytes.
    #[error("{0:?} is no name: at most 64 letters, digits, - or _")]
    Name(String),
    /// Two overrides have one name.
    #[error("two overrides are called {0:?}")]
    Repeated(String),
}

/// A host, or all hosts below one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPattern {
    /// In lower case; begins with a dot where hosts below it are meant.
    text: String,
}

impl HostPattern {
    /// Reads `example.com`, or `*.example.com` for every host below it, which `example.com` is not.
    ///
    /// # Errors
    /// [`InvalidOverride::Host`].
    pub fn parse(text: &str) -> Result<Self, InvalidOverride> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let address = name.starts_with('[') && name.ends_with(']') && name.len() == text.len();
        let allowed = |byte: u8| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'.' | b'_' | b'~')
                || address && matches!(byte, b'[' | b']' | b':')
        };
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(InvalidOverride::Host(text.to_owned()));
        }
        let below = if name.len() < text.len() { "." } else { "" };
        Ok(Self { text: format!("{below}{name}").to_ascii_lowercase() })
    }

    /// Whether a host in lower case is meant.
    pub fn matches(&self, host: &str) -> bool {
        if self.text.starts_with('.') {
            host.len() > self.text.len() && host.ends_with(&self.text)
        } else {
            host == self.text
        }
    }

    /// Whether all that `other` matches is matched by this too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || self.text.starts_with('.') && other.text.ends_with(&self.text)
    }
}

/// A path, with `*` for any bytes within one segment and `**` for any bytes at all.
///
/// `/a/**` matches `/a/` and all below it; `/**/` between two names stands for any number of segments, none included. Paths are compared as they were
/// received, without a query: percent-encodings are not undone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathPattern(Globs);

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidOverride::Path`] or [`InvalidOverride::TooLong`].
    pub fn parse(text: &str) -> Result<Self, InvalidOverride> {
        let in_path = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        if !text.starts_with(['/', '*']) || !text.bytes().all(in_path) {
            return Err(InvalidOverride::Path(text.to_owned()));
        }
        Globs::parse(text).map(Self)
    }

    /// Whether a path is meant.
    pub fn matches(&self, path: &str) -> bool {
        self.0.matches(path)
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        matches!(&*self.0.text, "**" | "/**") || self == other
    }
}

/// A pattern whose segments are parted by slashes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Globs {
    text: Box<str>,
    /// The pattern with each `/**/` as it is, or as one slash. One of them has to match.
    globs: Box<[Glob]>,
}

/// More `/**/` in one pattern are refused, since each doubles the work.
const MOST_SPANS: u32 = 3;

impl Globs {
    /// Fails with [`InvalidOverride::TooLong`] alone.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidOverride> {
        let pieces: Vec<&str> = text.split("/**/").collect();
        let spans = u32::try_from(pieces.len() - 1).unwrap_or(u32::MAX);
        if spans > MOST_SPANS {
            return Err(InvalidOverride::TooLong(text.to_owned()));
        }
        let globs = (0..1_u32 << spans).map(|short| {
            let mut variant = String::new();
            for (place, piece) in pieces.iter().enumerate() {
                if let Some(before) = place.checked_sub(1) {
                    variant.push_str(if short >> before & 1 == 1 { "/" } else { "/**/" });
                }
                variant.push_str(piece);
            }
            Glob::new(&variant, Some(b'/'))
        });
        Ok(Self { text: text.into(), globs: globs.collect::<Result<_, _>>()? })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.globs.iter().any(|glob| glob.matches(text.as_bytes()))
    }
}

/// A content type: `text/html`, or `image/*`. Parameters do not count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentTypePattern {
    /// In lower case; ends with a slash where any subtype is meant.
    text: String,
}

impl ContentTypePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidOverride::ContentType`].
    pub fn parse(text: &str) -> Result<Self, InvalidOverride> {
        let invalid = || InvalidOverride::ContentType(text.to_owned());
        let (kind, subtype) = text.split_once('/').ok_or_else(invalid)?;
        let is_token = |part: &str| crate::fields::is_token(part.as_bytes()) && !part.contains('*');
        if !is_token(kind) || !(subtype == "*" || is_token(subtype)) {
            return Err(invalid());
        }
        let text = if subtype == "*" { format!("{kind}/") } else { text.to_owned() };
        Ok(Self { text: text.to_ascii_lowercase() })
    }

    /// Whether the value of a Content-Type field is meant.
    pub fn matches(&self, value: &[u8]) -> bool {
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
        let essence = crate::fields::trim_ows(essence);
        let wanted = self.text.as_bytes();
        match essence.split_at_checked(wanted.len()) {
            Some((start, rest)) => {
                start.eq_ignore_ascii_case(wanted) && (rest.is_empty() || wanted.ends_with(b"/"))
            }
            None => false,
        }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || self.text.ends_with('/') && other.text.starts_with(&self.text)
    }
}

/// The name of a query parameter, with `*` for any bytes, as it stands in the query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParameterPattern(Glob);

impl ParameterPattern {
    /// Reads a pattern such as `utm_*`.
    ///
    /// # Errors
    /// [`InvalidOverride::Parameter`] or [`InvalidOverride::TooLong`].
    pub fn parse(text: &str) -> Result<Self, InvalidOverride> {
        let in_name = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'=' | b'#');
        if text.is_empty() || !text.bytes().all(in_name) {
            return Err(InvalidOverride::Parameter(text.to_owned()));
        }
        Glob::new(text, None).map(Self)
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name.as_bytes())
    }
}

/// Literal bytes and stars, matched by an automaton that is in several states at once: one bit each.
///
/// State `n` has seen `n` literal bytes after the prefix; a star is a loop on a state.
#[derive(Clone)]
struct Glob {
    text: Box<str>,
    /// The bytes before the first star.
    prefix: Box<[u8]>,
    /// For every byte the states that it leads into; `None` without a star.
    automaton: Option<Box<Automaton>>,
}

#[derive(Clone)]
struct Automaton {
    into: [u128; 256],
    /// States that stay on any byte.
    any: u128,
    /// States that stay on any byte but the separator.
    within: u128,
    separator: Option<u8>,
    accept: u128,
}

impl Glob {
    /// `*` does not match `separator`, where there is one; `**` always matches it.
    fn new(text: &str, separator: Option<u8>) -> Result<Self, InvalidOverride> {
        let first_star = text.find('*').unwrap_or(text.len());
        let (prefix, mut rest) = text.as_bytes().split_at(first_star);
        let mut glob = Self { text: text.into(), prefix: prefix.into(), automaton: None };
        if rest.is_empty() {
            return Ok(glob);
        }
        let mut automaton = Automaton { into: [0; 256], any: 0, within: 0, separator, accept: 0 };
        let mut state = 1_u128;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'*' if rest.first() == Some(&b'*') => automaton.any |= state,
                b'*' => automaton.within |= state,
                byte => {
                    state <<= 1;
                    if state == 0 {
                        return Err(InvalidOverride::TooLong(text.to_owned()));
                    }
                    if let Some(into) = automaton.into.get_mut(usize::from(*byte)) {
                        *into |= state;
                    }
                }
            }
        }
        automaton.accept = state;
        glob.automaton = Some(Box::new(automaton));
        Ok(glob)
    }

    fn matches(&self, text: &[u8]) -> bool {
        match (text.strip_prefix(&*self.prefix), &self.automaton) {
            (None, _) => false,
            (Some(rest), None) => rest.is_empty(),
            (Some(rest), Some(automaton)) => automaton.accepts(rest),
        }
    }
}

impl Automaton {
    fn accepts(&self, text: &[u8]) -> bool {
        let mut states = 1_u128;
        for byte in text {
            let into = self.into.get(usize::from(*byte)).copied().unwrap_or_default();
            let within = if Some(*byte) == self.separator { 0 } else { self.within };
            states = (states << 1) & into | states & (self.any | within);
            if states == 0 {
                return false;
            }
        }
        states & self.accept != 0
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_are_exact_or_below() {
        let host = |text| HostPattern::parse(text).unwrap();
        assert!(host("Example.COM").matches("example.com") && !host("example.com").matches("a.example.com"));
        assert!(host("*.example.com").matches("a.example.com"));
        assert!(host("*.example.com").matches("a.b.example.com"));
        for other in ["example.com", "aexample.com", ".example.com", "a.example.com."] {
            assert!(!host("*.example.com").matches(other), "{other}");
        }
        assert!(host("[::1]").matches("[::1]"));
        for text in ["", "*", "*.", "a*.example.com", "*.*.com", "http://a", "a:80", "a/b", ".a", "*.[::1]"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_star_stays_in_its_segment_and_two_do_not() {
        for (pattern, path, matches) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a/*", "/a/", true),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/c", false),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/a", false),
            ("/a/**/z", "/a/b/c/z", true),
            ("/a/**/z", "/a/z", true),
            ("/a/**/z", "/az", false),
            ("/**/m/**/*.js", "/m/x.js", true),
            ("/**/m/**/*.js", "/a/b/m/c/x.js", true),
            ("/**/m/**/*.js", "/n/x.js", false),
            ("/**/*.bin", "/model.bin", true),
            ("/*.js", "/x.js", true),
            ("/*.js", "/x.js.map", false),
            ("/*.js", "/x/y.js", false),
            ("**.js", "/x/y.js", true),
            ("/a*b*c", "/aXbXbc", true),
            ("/a*b*c", "/aXbX/bc", false),
            ("/a*/b*c", "/a/bx/bc", false),
            ("/**/*.deb", "/pool/a/b.deb", true),
            ("/***", "/a/b", true),
            ("/%41*", "/A", false),
        ] {
            assert_eq!(PathPattern::parse(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        for text in ["", "a", "a/b", "/a?b", "/a b", "/\u{e4}"] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
        let long = |length: usize| PathPattern::parse(&format!("/*{}", "a".repeat(length)));
        assert!(long(127).unwrap().matches(&format!("/{}", "a".repeat(200))));
        assert_eq!(long(128).map(drop), Err(InvalidOverride::TooLong(format!("/*{}", "a".repeat(128)))));
    }

    #[test]
    fn content_types_ignore_case_and_parameters() {
        let content_type = |text| ContentTypePattern::parse(text).unwrap();
        assert!(content_type("Text/HTML").matches(b"text/html ; charset=utf-8"));
        assert!(content_type("image/*").matches(b"IMAGE/png"));
        assert!(
            !content_type("text/htm").matches(b"text/html")
                && !content_type("text/html").matches(b"text/htm")
        );
        assert!(!content_type("image/*").matches(b"image") && !content_type("image/*").matches(b""));
        for text in ["", "text", "*/*", "text/", "/html", "te xt/html", "text/h*"] {
            assert!(ContentTypePattern::parse(text).is_err(), "{text}");
        }
    }

    /// The definition, in exponential time.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'/', b'*', b'*', b'/', rest @ ..] if text.first() == Some(&b'/') => {
                naive(rest, &text[1..]) || naive(&pattern[1..], &text[1..])
            }
            [b'*', b'*', rest @ ..] => (0..=text.len()).any(|at| naive(rest, &text[at..])),
            [b'*', rest @ ..] => (0..=text.len())
                .take_while(|at| !text[..*at].contains(&b'/'))
                .any(|at| naive(rest, &text[at..])),
            [byte, rest @ ..] => text.first() == Some(byte) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_they_are_defined(pattern in "/[ab/*]{0,8}", path in "/[ab/]{0,10}") {
            let matches = PathPattern::parse(&pattern).unwrap().matches(&path);
            prop_assert_eq!(matches, naive(pattern.as_bytes(), path.as_bytes()));
        }
    }
}
