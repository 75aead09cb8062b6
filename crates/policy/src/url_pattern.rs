//! Patterns for the URLs of stored responses, in the globs that overrides have for paths: `*` within one segment, `**`
//! across them. They choose among what is stored; no decision about a request depends on them.

use crate::overrides::{Globs, InvalidOverride};
use crate::target::TargetUri;

/// A pattern for URLs. What it is compared with depends on how it begins:
///
/// | it looks like | and is compared with |
/// | --- | --- |
/// | `http://example.com/img/*` | the whole URL |
/// | `/img/**` | the path, of any host |
/// | `*.example.com/img/**`, `**.deb` | host and path, whatever the scheme |
///
/// A port that is not the scheme's own is part of the host. The query takes part where the pattern has a `?`, which
/// stands for itself. Letter case counts, but not in scheme and host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UrlPattern {
    globs: Globs,
    part: Part,
    with_query: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Whole,
    HostAndPath,
    Path,
}

impl UrlPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidOverride::Url`] where no URL can match, or [`InvalidOverride::TooLong`].
    pub fn parse(text: &str) -> Result<Self, InvalidOverride> {
        let invalid = || InvalidOverride::Url(text.to_owned());
        let in_url = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        // A host is followed by a slash, which one star does not match.
        if text.is_empty() || !text.bytes().all(in_url) || !(text.contains('/') || text.contains("**")) {
            return Err(invalid());
        }
        let (part, host_at) = match text.split_once("://") {
            Some((scheme, _)) if !scheme.contains('/') => (Part::Whole, scheme.len() + "://".len()),
            _ if text.starts_with('/') => (Part::Path, 0),
            _ => (Part::HostAndPath, 0),
        };
        let rest = text.get(host_at..).unwrap_or_default();
        let path_at = host_at + rest.find('/').unwrap_or(rest.len());
        let (host, path) = text.split_at_checked(path_at).unwrap_or((text, ""));
        Ok(Self {
            globs: Globs::parse(&format!("{}{path}", host.to_ascii_lowercase()))?,
            part,
            with_query: text.contains('?'),
        })
    }

    /// Whether a target is meant.
    pub fn matches(&self, target: &TargetUri) -> bool {
        let whole = target.as_str();
        let text = match self.part {
            Part::Whole => whole,
            Part::HostAndPath => whole.split_once("://").map_or(whole, |(_, rest)| rest),
            Part::Path => target.path_and_query(),
        };
        let path = text.split('?').next().unwrap_or(text);
        self.globs.matches(if self.with_query { text } else { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_compared_with_what_it_looks_like() {
        for (pattern, url, matches) in [
            ("http://example.com/img/*", "http://example.com/img/a.png?v=3", true),
            ("http://example.com/img/*", "https://example.com/img/a.png", false),
            ("http*://example.com/img/*", "https://example.com/img/a.png", true),
            ("http://example.com/img/*", "http://example.com/img/b/a.png", false),
            ("HTTP://Example.com/**", "http://example.com/Img", true),
            ("http://example.com/img", "http://example.com/Img", false),
            ("**", "http://example.com/", true),
            ("example.com/**", "https://example.com/a/b", true),
            ("example.com/**", "http://example.com:8080/a", false),
            ("example.com:*/**", "http://example.com:8080/a", true),
            ("example.com/**", "http://www.example.com/a", false),
            ("*.example.com/**", "http://www.example.com/a", true),
            ("*example.com/**", "http://evil.test/example.com/a", false),
            ("**.deb", "http://deb.example/pool/a_1.deb", true),
            ("**.deb", "http://deb.example/pool/a_1.deb.asc", false),
            ("/pool/**", "http://deb.example/pool/a_1.deb", true),
            ("/pool/**", "http://other.example/pool/a_1.deb", true),
            ("/a?x=*", "http://h.example/a?x=1", true),
            ("/a?x=*", "http://h.example/a?y=1", false),
            ("/a?x=*", "http://h.example/a", false),
            ("/a", "http://h.example/a?x=1", true),
            ("/go/http://*", "http://h.example/go/http://x", true),
            ("[::1]/*", "http://[::1]/a", true),
        ] {
            let target = TargetUri::parse(url.as_bytes()).unwrap();
            assert_eq!(UrlPattern::parse(pattern).unwrap().matches(&target), matches, "{pattern} {url}");
        }
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        for text in ["", "*.deb", "example.com", "a b/", "/a#b", "/\u{e4}"] {
            assert_eq!(UrlPattern::parse(text), Err(InvalidOverride::Url(text.to_owned())), "{text}");
        }
        assert!(matches!(
            UrlPattern::parse(&format!("/*{}", "a".repeat(200))),
            Err(InvalidOverride::TooLong(_))
        ));
    }
}
