//! Python: distribution files under the digest of their content, and the pages of a simple index.
//!
//! A path that holds a digest names one content for ever. The digest of PyPI's own layout is BLAKE2b, that of devpi is cut
//! short; neither is checked here, as pip and uv check each file against the index. A file under its name alone
//! follows plain HTTP. Pages of the index (PEP 503, PEP 691) come in three formats, by Accept.

use super::Ecosystem;
use super::rule::{ExpectedDigest, Rule, RuleId};
use super::shape::{consists_of, decode_hex, is_hex, is_name, is_version};
use crate::target::TargetUri;

/// The rules for Python package indices.
pub(super) struct Pypi;

impl Ecosystem for Pypi {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let mut segments = target.path().rsplit('/');
        let (file, parent) = (segments.next()?, segments.next()?);
        if file.is_empty() {
            let is_page = parent == "simple" || is_name(parent, b"-_.") && segments.next() == Some("simple");
            return is_page.then_some(Rule::of(RuleId::PypiIndex));
        }
        let main = file.strip_suffix(".metadata").or_else(|| file.strip_suffix(".asc")).unwrap_or(file);
        if !is_distribution(main) {
            return None;
        }
        let (second, first, above) = (segments.next()?, segments.next()?, segments.next());
        if above == Some("packages") && is_hex(first, 2) && is_hex(second, 2) && is_hex(parent, 60) {
            return Some(Rule::of(RuleId::PypiFile));
        }
        if first == "+f" && is_hex(second, 3) && is_hex(parent, 13) {
            return Some(Rule::of(RuleId::PypiFile));
        }
        if first == "pypi" && second == "files" {
            // The digest is that of the distribution, not of what lies beside it.
            let digest = ExpectedDigest::Sha256(decode_hex(parent)?);
            return Some(match main == file {
                true => Rule::proved(RuleId::PypiFile, digest),
                false => Rule::of(RuleId::PypiFile),
            });
        }
        None
    }
}

/// A wheel (PEP 427) or a source distribution (PEP 625, and the forms before it).
fn is_distribution(file: &str) -> bool {
    let in_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'!' | b'%');
    if let Some(stem) = file.strip_suffix(".whl") {
        let mut parts = stem.split('-');
        let named =
            parts.next().is_some_and(|name| is_name(name, b"._")) && parts.next().is_some_and(is_version);
        // Perhaps a build, then tags for Python, its binary interface and the platform.
        return named && matches!(parts.count(), 3 | 4) && consists_of(stem, in_name);
    }
    let stem = [".tar.gz", ".zip", ".tar.bz2"].into_iter().find_map(|suffix| file.strip_suffix(suffix));
    stem.and_then(|stem| stem.rsplit_once('-'))
        .is_some_and(|(name, version)| is_name(name, b"-._") && is_version(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str) -> Option<Rule> {
        Pypi.recognise(&TargetUri::parse(format!("http://pypi.example.com{path}").as_bytes()).unwrap())
    }

    /// `/packages/ab/cd/…/` and a file.
    fn hashed(file: &str) -> String {
        format!("/packages/ab/cd/{}/{file}", "0e".repeat(30))
    }

    #[test]
    fn distributions_under_a_digest() {
        for file in [
            "requests-2.32.3-py3-none-any.whl",
            "requests-2.32.3-py3-none-any.whl.metadata",
            "torch-2.3.0%2Bcpu-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "requests-2.32.3.tar.gz",
            "requests-2.32.3.tar.gz.asc",
            "zope.interface-6.4.post2.zip",
            "python-dateutil-2.9.0.post0.tar.gz",
        ] {
            assert_eq!(rule(&hashed(file)), Some(Rule::of(RuleId::PypiFile)), "{file}");
        }
        assert_eq!(
            rule("/root/pypi/+f/abc/0123456789abc/requests-2.32.3.tar.gz"),
            Some(Rule::of(RuleId::PypiFile))
        );
        let gitlab =
            format!("/api/v4/projects/7/packages/pypi/files/{}/x-1.0-py3-none-any.whl", "ab".repeat(32));
        let digest = ExpectedDigest::Sha256([0xab; 32]);
        assert_eq!(rule(&gitlab), Some(Rule::proved(RuleId::PypiFile, digest)));
        assert_eq!(rule(&format!("{gitlab}.metadata")), Some(Rule::of(RuleId::PypiFile)));
    }

    #[test]
    fn what_only_resembles_a_distribution_follows_plain_http() {
        let digest = "0e".repeat(30);
        for path in [
            hashed("requests-latest-py3-none-any.whl"),
            hashed("requests-2.32.3-py3.whl"),
            hashed("requests-2.32.3.exe"),
            hashed("requests.tar.gz"),
            hashed("readme.html"),
            format!("{}?x", hashed("requests-2.32.3.tar.gz")),
            format!("/packages/AB/cd/{digest}/requests-2.32.3.tar.gz"),
            format!("/packages/ab/cd/{}/requests-2.32.3.tar.gz", "0e".repeat(29)),
            format!("/files/ab/cd/{digest}/requests-2.32.3.tar.gz"),
            "/packages/source/r/requests/requests-2.32.3.tar.gz".to_owned(),
            "/requests-2.32.3.tar.gz".to_owned(),
            "/root/pypi/+f/abc/0123/requests-2.32.3.tar.gz".to_owned(),
            "/packages/pypi/files/abc/requests-2.32.3.tar.gz".to_owned(),
        ] {
            assert_eq!(rule(&path), None, "{path}");
        }
    }

    #[test]
    fn pages_of_the_index() {
        for path in ["/simple/", "/simple/requests/", "/repo/pypi/simple/zope.interface/"] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::PypiIndex)), "{path}");
        }
        for path in [
            "/simple",
            "/simple/requests",
            "/simple/a/b/",
            "/simple/-x/",
            "/simplest/a/",
            "/",
            "//",
            "/simple/a/?b",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }
}
