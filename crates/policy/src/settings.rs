//! What an operator may choose about reuse. The defaults are the plain reading of the RFCs.

use std::time::Duration;

use crate::key::CacheKey;
use crate::overrides::Overrides;
use crate::packages;
use crate::target::{Scheme, TargetUri, are_canonical};

/// Choices that HTTP leaves to a cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicySettings {
    /// The heuristic freshness lifetime as a percentage of the time between Last-Modified and Date
    /// (RFC 9111, 4.2.2). Default: 10.
    pub heuristic_percent: u32,
    /// The longest heuristic freshness lifetime. Default: 7 days.
    pub heuristic_max: Duration,
    /// Targeted fields that this cache obeys, the most specific first (RFC 9213, 2.2). Default: none; a
    /// reverse listener has `CDN-Cache-Control`.
    pub targeted_fields: Vec<String>,
    /// How long past its freshness lifetime a response may answer while the origin cannot be reached
    /// (RFC 9111, 4.2.4); zero forbids it. Default: `None`, without end.
    pub serve_stale_on_error: Option<Duration>,
    /// Whether a 206 is stored as a part (RFC 9111, 3.3). Whoever turns it on serves what is stored through
    /// [`part_plan`](crate::part_plan). Default: no.
    pub store_parts: bool,
    /// What the operator sets beyond or against the origin's word. Default: nothing.
    pub overrides: Overrides,
    /// The package rules that apply. Default: all.
    pub packages: packages::Active,
}

impl PolicySettings {
    /// What responses to a request for a target are filed under: the target, without what overrides ignore of its query
    /// and without a signature that package rules leave out, which the key then says.
    pub fn key(&self, target: &TargetUri) -> CacheKey {
        self.packages.key(self.overrides.key(target))
    }

    /// Writes the text of the key that [`key`](Self::key) gives to a target, given in its parts, without making it: behind
    /// `origin` where one is asked whatever the authority says. Whether that can be told from the parts alone; if not, what was
    /// written means nothing.
    pub fn write_key(
        &self,
        origin: Option<&TargetUri>,
        scheme: Scheme,
        authority: &[u8],
        path_and_query: &[u8],
        text: &mut String,
    ) -> bool {
        let (Ok(authority_text), Ok(path_text)) =
            (std::str::from_utf8(authority), std::str::from_utf8(path_and_query))
        else {
            return false;
        };
        // Of a target without a query nothing is left out.
        let is_whole = || self.overrides.is_empty() && !packages::may_be_signed(path_text);
        if !are_canonical(scheme, authority, path_and_query) || path_text.contains('?') && !is_whole() {
            return false;
        }
        if let Some(origin) = origin {
            text.push_str(origin.origin());
            text.push(' ');
        }
        text.push_str(scheme.as_str());
        text.push_str("://");
        text.push_str(authority_text);
        text.push_str(path_text);
        true
    }
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            heuristic_percent: 10,
            heuristic_max: Duration::from_secs(7 * 86_400),
            targeted_fields: Vec::new(),
            serve_stale_on_error: None,
            store_parts: false,
            overrides: Overrides::default(),
            packages: packages::Active::ALL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_written_is_the_key() {
        let settings = PolicySettings::default();
        let origin = TargetUri::parse(b"http://127.0.0.1:8080/").unwrap();
        let digest = "0123456789abcdef".repeat(4);
        let paths = [
            "/",
            "/a/../b%2f?c",
            "/?",
            "/a?b#c",
            "/a b",
            "a",
            "",
            "/\u{e9}",
            &format!("/{digest}"),
            &format!("/{digest}?x"),
        ];
        let authorities = [
            "h",
            "H",
            "h:80",
            "h:443",
            "h:081",
            "h:8080",
            "h:",
            "h:0",
            "h:65536",
            "h:1:2",
            "[::1]",
            "[::1]:81",
            "u@h",
            "",
            "h h",
            "127.0.0.1:3",
        ];
        let mut written = 0;
        for scheme in [Scheme::Http, Scheme::Https] {
            for (authority, path) in authorities.iter().flat_map(|a| paths.iter().map(move |p| (a, p))) {
                for behind in [None, Some(&origin)] {
                    let mut text = String::new();
                    if !settings.write_key(behind, scheme, authority.as_bytes(), path.as_bytes(), &mut text) {
                        continue;
                    }
                    written += 1;
                    let target =
                        TargetUri::from_parts(scheme, authority.as_bytes(), path.as_bytes()).unwrap();
                    let key = settings.key(&target);
                    let key = behind.map_or(key.clone(), |origin| key.asked_of(origin));
                    assert_eq!(text, key.as_str());
                }
            }
        }
        // Under each scheme four authorities and four paths are spelt as they should be.
        assert_eq!(written, 2 * 4 * 4 * 2);
    }
}
