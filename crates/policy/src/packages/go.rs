//! Go: the files of canonical versions, tiles of a checksum database, and lists of versions.
//!
//! `@v` in a path is the module proxy protocol's own. A canonical version is fixed once it is out; a branch, or `v1`, is a
//! question whose answer changes. A tile of a checksum database is a full one for ever; one that still grows says so in
//! its path.

use super::Ecosystem;
use super::rule::{Rule, RuleId};
use super::shape::{consists_of, is_number, is_semver};
use crate::target::TargetUri;

/// The rules for Go module proxies.
pub(super) struct Go;

impl Ecosystem for Go {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let path = target.path();
        if let Some((module, file)) = path.split_once("/@v/") {
            let rule = match file {
                "list" => Rule::of(RuleId::GoIndex),
                _ if is_file_of_a_version(file) => Rule::of(RuleId::GoModule),
                _ => return None,
            };
            return is_module(module).then_some(rule);
        }
        if let Some(module) = path.strip_suffix("/@latest") {
            return is_module(module).then_some(Rule::of(RuleId::GoIndex));
        }
        let (above, tile) = path.rsplit_once("/tile/")?;
        is_tile(above, tile).then_some(Rule::of(RuleId::GoTile))
    }
}

/// The last element of an escaped module path: a capital is `!` and the small letter.
fn is_module(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!')
    };
    path.starts_with('/') && consists_of(last, allowed)
}

/// `v1.2.3.zip`: the only build metadata of a canonical version is `+incompatible`.
fn is_file_of_a_version(file: &str) -> bool {
    let stem = [".info", ".mod", ".zip"].into_iter().find_map(|suffix| file.strip_suffix(suffix));
    let Some(version) = stem.and_then(|stem| stem.strip_prefix('v')) else { return false };
    let version = ["+incompatible", "%2Bincompatible", "%2bincompatible"]
        .into_iter()
        .find_map(|suffix| version.strip_suffix(suffix))
        .unwrap_or(version);
    // A capital of a pre-release is escaped.
    let plain = version.replace('!', "");
    !version.bytes().any(|byte| byte.is_ascii_uppercase() || matches!(byte, b'+' | b'%'))
        && is_semver(&plain)
        && version.split('-').next().is_some_and(|numbers| !numbers.contains('!'))
}

/// `8/0/x001/234`: height, level, and the tile's number in groups of three digits, all but the last with an `x`. Maps have
/// tiles too: without a database's name before it, only a number of several groups is told from theirs.
fn is_tile(above: &str, tile: &str) -> bool {
    let mut segments = tile.split('/');
    let (Some(height), Some(level)) = (segments.next(), segments.next()) else { return false };
    let mut groups = segments.rev();
    let three = |group: &str| group.len() == 3 && is_number(group);
    let last = groups.next().is_some_and(three);
    let mut before = 0;
    for group in groups {
        if !group.strip_prefix('x').is_some_and(three) {
            return false;
        }
        before += 1;
    }
    let mut names = above.rsplit('/');
    let database = names.next().is_some_and(|name| name.contains('.')) && names.next() == Some("sumdb");
    height == "8"
        && (is_number(level) && level.len() <= 2 || level == "data")
        && last
        && (database || before > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str) -> Option<Rule> {
        Go.recognise(&TargetUri::parse(format!("http://go.example.com{path}").as_bytes()).unwrap())
    }

    #[test]
    fn files_of_canonical_versions() {
        for path in [
            "/golang.org/x/text/@v/v0.15.0.zip",
            "/golang.org/x/text/@v/v0.15.0.mod",
            "/golang.org/x/text/@v/v0.15.0.info",
            "/github.com/!burnt!sushi/toml/@v/v1.3.2.zip",
            "/proxy/go/gopkg.in/yaml.v3/@v/v3.0.0-20200313102051-9f266ea9e77c.info",
            "/github.com/docker/docker/@v/v26.1.0+incompatible.zip",
            "/github.com/docker/docker/@v/v26.1.0%2Bincompatible.zip",
            "/example.com/m/@v/v1.0.0-!r!c1.mod",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::GoModule)), "{path}");
        }
    }

    #[test]
    fn what_is_no_canonical_version_follows_plain_http() {
        for path in [
            "/golang.org/x/text/@v/master.info",
            "/golang.org/x/text/@v/v1.info",
            "/golang.org/x/text/@v/v1.2.info",
            "/golang.org/x/text/@v/1.2.3.info",
            "/golang.org/x/text/@v/v1.2.3",
            "/golang.org/x/text/@v/v1.2.3.tar.gz",
            "/golang.org/x/text/@v/v1.2.3+meta.zip",
            "/golang.org/x/text/@v/v1.0.0-RC1.mod",
            "/golang.org/x/text/@v/v!1.0.0.mod",
            "/golang.org/x/text/@v/v01.0.0.mod",
            "/golang.org/x/text/@v/v1.2.3.zip?x",
            "/golang.org/x/text/@v/a/v1.2.3.zip",
            "/golang.org/x/Text/@v/v1.2.3.zip",
            "/@v/v1.2.3.zip",
            "/golang.org/x/text/v1.2.3.zip",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }

    #[test]
    fn lists_of_versions() {
        for path in ["/golang.org/x/text/@v/list", "/golang.org/x/text/@latest"] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::GoIndex)), "{path}");
        }
        for path in ["/@latest", "/golang.org/x/text/@v/lists", "/golang.org/x/text/latest", "/a/@latest?b"] {
            assert_eq!(rule(path), None, "{path}");
        }
    }

    #[test]
    fn full_tiles() {
        for path in [
            "/sumdb/sum.golang.org/tile/8/0/001",
            "/sumdb/sum.golang.org/tile/8/data/x012/345",
            "/go/sumdb/sum.golang.org/tile/8/1/x001/x234/067",
            "/tile/8/0/x001/234",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::GoTile)), "{path}");
        }
        for path in [
            "/sumdb/sum.golang.org/tile/8/0/001.p/12",
            "/sumdb/sum.golang.org/tile/8/0/x001/234.p/5",
            "/sumdb/sum.golang.org/tile/8/0",
            "/sumdb/sum.golang.org/tile/8/0/01",
            "/sumdb/sum.golang.org/tile/8/0/001/234",
            "/sumdb/sum.golang.org/tile/9/0/001",
            "/sumdb/names/tile/8/0/001",
            "/tile/8/45/134",
            "/maps/tile/8/45/134",
            "/sumdb/sum.golang.org/latest",
            "/sumdb/sum.golang.org/lookup/golang.org/x/text@v0.15.0",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }
}
