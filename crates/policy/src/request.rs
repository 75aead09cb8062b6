//! What a request's fields mean to a cache, found in one pass over them.

use http::Method;

use crate::cache_control::RequestDirectives;
use crate::fields::{Fields, list_members};

/// Methods by what a cache may do with them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MethodClass {
    /// GET: answered from the store, and its answers are stored.
    Get,
    /// HEAD: answered from what a GET stored.
    Head,
    /// POST: its answer may serve later GETs (RFC 9110, 9.3.3).
    Post,
    /// Another method known to be safe (RFC 9110, 9.2.1 and the IANA registry): goes to the origin, changes
    /// nothing.
    OtherSafe,
    /// Any other method, unknown ones included: goes to the origin and invalidates (RFC 9111, 4.4).
    OtherUnsafe,
}

impl MethodClass {
    /// The class of a method. Names are case-sensitive: `get` is an unknown method.
    pub fn of(method: &Method) -> Self {
        match method.as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "OPTIONS" | "TRACE" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH" => Self::OtherSafe,
            _ => Self::OtherUnsafe,
        }
    }

    /// Whether an answer may come from the store.
    pub const fn is_answerable(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }

    /// Whether a successful answer invalidates what is stored (RFC 9111, 4.4).
    pub const fn is_unsafe(self) -> bool {
        matches!(self, Self::Post | Self::OtherUnsafe)
    }
}

/// What a cache needs to know of a request besides its target and the fields that Vary nominates.
///
/// Made from the fields as received, before hop-by-hop removal: `Connection: authorization` must not make a
/// request look anonymous.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestFacts {
    /// The class of the method.
    pub method: MethodClass,
    /// Cache-Control, or `Pragma: no-cache` in its absence (RFC 9111, 5.4).
    pub directives: RequestDirectives,
    /// Whether it carries Authorization (RFC 9111, 3.5).
    pub authorized: bool,
    /// Whether it carries Range.
    pub has_range: bool,
    /// Whether it carries If-Range.
    pub has_if_range: bool,
    /// Whether it carries If-None-Match.
    pub has_if_none_match: bool,
    /// Whether it carries If-Modified-Since.
    pub has_if_modified_since: bool,
    /// Whether it carries If-Match or If-Unmodified-Since, which only the origin can judge (RFC 9111, 4.3.2).
    pub has_origin_condition: bool,
    /// Whether content follows the head. A GET with content means more than its target says.
    pub has_body: bool,
}

impl RequestFacts {
    /// Reads the facts off a request.
    pub fn of(method: &Method, fields: &Fields) -> Self {
        let mut facts = Self {
            method: MethodClass::of(method),
            directives: RequestDirectives::default(),
            authorized: false,
            has_range: false,
            has_if_range: false,
            has_if_none_match: false,
            has_if_modified_since: false,
            has_origin_condition: false,
            has_body: false,
        };
        let mut cache_control = false;
        let mut pragma_no_cache = false;
        for (name, value) in fields.raw() {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            match name.len() {
                5 if is("range") => facts.has_range = true,
                6 if is("pragma") => {
                    pragma_no_cache |= list_members(std::iter::once(value))
                        .any(|member| member.eq_ignore_ascii_case(b"no-cache"));
                }
                8 if is("if-range") => facts.has_if_range = true,
                8 if is("if-match") => facts.has_origin_condition = true,
                13 if is("cache-control") => {
                    cache_control = true;
                    facts.directives.add_line(value);
                }
                13 if is("authorization") => facts.authorized = true,
                13 if is("if-none-match") => facts.has_if_none_match = true,
                14 if is("content-length") => facts.has_body |= value != b"0",
                17 if is("if-modified-since") => facts.has_if_modified_since = true,
                17 if is("transfer-encoding") => facts.has_body = true,
                19 if is("if-unmodified-since") => facts.has_origin_condition = true,
                _ => {}
            }
        }
        if !cache_control {
            facts.directives.no_cache = pragma_no_cache;
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(method: &str, lines: &[(&str, &str)]) -> RequestFacts {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes()).unwrap();
        }
        RequestFacts::of(&Method::from_bytes(method.as_bytes()).unwrap(), &fields)
    }

    #[test]
    fn unknown_methods_are_unsafe() {
        for (method, class) in [
            ("GET", MethodClass::Get),
            ("HEAD", MethodClass::Head),
            ("POST", MethodClass::Post),
            ("OPTIONS", MethodClass::OtherSafe),
            ("PUT", MethodClass::OtherUnsafe),
            ("M-SEARCH", MethodClass::OtherUnsafe),
            ("get", MethodClass::OtherUnsafe),
        ] {
            assert_eq!(facts(method, &[]).method, class, "{method}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        assert!(facts("GET", &[("Pragma", "foo, No-Cache")]).directives.no_cache);
        assert!(!facts("GET", &[("Pragma", "no-cache"), ("Cache-Control", "x")]).directives.no_cache);
        assert!(!facts("GET", &[("Pragma", "no-store")]).directives.no_cache);
    }

    #[test]
    fn one_pass_finds_every_field() {
        let facts = facts(
            "GET",
            &[
                ("authorization", "a"),
                ("RANGE", "bytes=0-"),
                ("If-Range", "x"),
                ("If-None-Match", "*"),
                ("if-modified-since", "x"),
                ("If-Unmodified-Since", "x"),
                ("Content-Length", "1"),
                ("Cache-Control", "no-store"),
                ("cache-control", "max-age=0"),
            ],
        );
        assert!(facts.authorized && facts.has_range && facts.has_if_range && facts.has_if_none_match);
        assert!(facts.has_if_modified_since && facts.has_origin_condition && facts.has_body);
        assert!(facts.directives.no_store && facts.directives.max_age.is_present());
    }

    #[test]
    fn a_length_of_zero_is_no_body() {
        assert!(!facts("GET", &[("Content-Length", "0")]).has_body);
        assert!(facts("GET", &[("Transfer-Encoding", "chunked")]).has_body);
    }
}
