//! RubyGems: gems by version.
//!
//! The index (`/versions`, `/names`, `/info/…`) follows plain HTTP: its paths could be anybody's, and its clients read it
//! in ranges.

use super::Ecosystem;
use super::rule::{Rule, RuleId};
use super::shape::{consists_of, is_name};
use crate::target::TargetUri;

/// The rules for gem servers.
pub(super) struct RubyGems;

impl Ecosystem for RubyGems {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let (above, file) = target.path().rsplit_once('/')?;
        let stem = file.strip_suffix(".gem")?;
        (above.rsplit('/').next() == Some("gems") && is_versioned(stem)).then_some(Rule::of(RuleId::Gem))
    }
}

/// `name-1.2.3`, perhaps with `-platform`: a dash and a number part the name from the version, which has a dot.
fn is_versioned(stem: &str) -> bool {
    stem.match_indices('-').any(|(at, _)| {
        let Some((name, rest)) = stem.split_at_checked(at) else { return false };
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        let (version, platform) = match rest.split_once('-') {
            Some((version, platform)) => (version, Some(platform)),
            None => (rest, None),
        };
        is_name(name, b"-._")
            && version.starts_with(|first: char| first.is_ascii_digit())
            && version.contains('.')
            && consists_of(version, |byte| byte.is_ascii_alphanumeric() || byte == b'.')
            && platform.is_none_or(|platform| is_name(platform, b"-._"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gems_by_version_and_nothing_else() {
        let rule = |path: &str| {
            RubyGems
                .recognise(&TargetUri::parse(format!("http://gems.example.com{path}").as_bytes()).unwrap())
        };
        for path in [
            "/gems/rails-7.1.3.gem",
            "/mirror/gems/rack-test-2.1.0.gem",
            "/gems/nokogiri-1.16.5-x86_64-linux.gem",
            "/gems/sorbet-0.5.11385-universal-darwin.gem",
            "/gems/rails-8.0.0.beta1.gem",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::Gem)), "{path}");
        }
        for path in [
            "/gems/rails.gem",
            "/gems/rails-latest.gem",
            "/gems/rails-7.gem",
            "/gems/-7.1.3.gem",
            "/downloads/rails-7.1.3.gem",
            "/gems/rails-7.1.3.gem?x",
            "/gems/rails-7.1.3.tar",
            "/info/rails",
            "/versions",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }
}
