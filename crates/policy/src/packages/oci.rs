//! Container registries: blobs and manifests by digest, manifests by tag, lists of tags.
//!
//! The paths are those of the OCI distribution specification, which begin with `/v2/`. What is named by its digest is checked
//! against it. A tag points to whatever was pushed last, in one of several formats by Accept. Tokens and everything
//! else follow plain HTTP.

use super::Ecosystem;
use super::rule::{ExpectedDigest, Rule, RuleId};
use super::shape::{decode_hex, is_name};
use crate::target::TargetUri;

/// The rules for container registries.
pub(super) struct Oci;

/// The longest tag that the specification allows.
const LONGEST_TAG: usize = 128;

impl Ecosystem for Oci {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        // containerd tells a mirror with `ns` which registry it means.
        if target.query().is_some_and(|query| !query.starts_with("ns=") || query.contains('&')) {
            return None;
        }
        let rest = target.path().strip_prefix("/v2/")?;
        let (above, reference) = rest.rsplit_once('/')?;
        let (name, kind) = above.rsplit_once('/')?;
        if !name.split('/').all(is_component) {
            return None;
        }
        let digest = digest(reference);
        match (kind, digest) {
            ("blobs", Some(digest)) => Some(Rule::proved(RuleId::OciBlob, digest)),
            ("manifests", Some(digest)) => Some(Rule::proved(RuleId::OciManifest, digest)),
            ("manifests", None) if is_tag(reference) => Some(Rule::of(RuleId::OciTag)),
            ("tags", None) if reference == "list" => Some(Rule::of(RuleId::OciTag)),
            _ => None,
        }
    }
}

/// `sha256:…` or `sha512:…`.
pub(super) fn digest(reference: &str) -> Option<ExpectedDigest> {
    match reference.split_once(':')? {
        ("sha256", digits) => decode_hex(digits).map(ExpectedDigest::Sha256),
        ("sha512", digits) => decode_hex(digits).map(ExpectedDigest::Sha512),
        _ => None,
    }
}

fn is_component(name: &str) -> bool {
    is_name(name, b"._-") && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_tag(reference: &str) -> bool {
    reference.len() <= LONGEST_TAG && is_name(reference.strip_prefix('_').unwrap_or(reference), b"._-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str) -> Option<Rule> {
        Oci.recognise(&TargetUri::parse(format!("http://registry.example.com{path}").as_bytes()).unwrap())
    }

    #[test]
    fn what_is_named_by_a_digest_is_checked() {
        let (hex, digest) = ("ab".repeat(32), ExpectedDigest::Sha256([0xab; 32]));
        for path in ["/v2/library/debian/blobs/sha256:", "/v2/a/b/c/blobs/sha256:"] {
            let path = format!("{path}{hex}");
            assert_eq!(rule(&path), Some(Rule::proved(RuleId::OciBlob, digest)), "{path}");
        }
        let manifest = format!("/v2/library/debian/manifests/sha256:{hex}?ns=registry.example.org");
        assert_eq!(rule(&manifest), Some(Rule::proved(RuleId::OciManifest, digest)));
        let long = format!("/v2/x/blobs/sha512:{}", "01".repeat(64));
        assert_eq!(rule(&long).and_then(|rule| rule.digest), Some(ExpectedDigest::Sha512([1; 64])));
    }

    #[test]
    fn tags_are_an_index() {
        for path in ["/v2/library/debian/manifests/12-slim", "/v2/x/manifests/_v1.0", "/v2/x/tags/list"] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::OciTag)), "{path}");
        }
    }

    #[test]
    fn all_else_follows_plain_http() {
        let hex = "ab".repeat(32);
        for path in [
            "/v2/".to_owned(),
            "/v2/x/blobs/latest".to_owned(),
            "/v2/x/blobs/uploads/".to_owned(),
            format!("/v2/x/blobs/sha256:{}", "ab".repeat(31)),
            format!("/v2/x/blobs/sha256:{}", "AB".repeat(32)),
            format!("/v2/x/blobs/md5:{}", "ab".repeat(16)),
            format!("/v2/x/manifests/sha1:{}", "ab".repeat(20)),
            format!("/v2/blobs/sha256:{hex}"),
            format!("/v2/X/blobs/sha256:{hex}"),
            format!("/v2/x//blobs/sha256:{hex}"),
            format!("/v1/x/blobs/sha256:{hex}"),
            format!("/a/v2/x/blobs/sha256:{hex}"),
            format!("/v2/x/blobs/sha256:{hex}?a=b"),
            format!("/v2/x/blobs/sha256:{hex}?ns=a&b=c"),
            format!("/v2/x/referrers/sha256:{hex}"),
            "/v2/x/tags/all".to_owned(),
            "/v2/x/tags/list?n=10".to_owned(),
            "/v2/x/manifests/a%2Fb".to_owned(),
            format!("/v2/x/manifests/{}", "a".repeat(129)),
            "/token?service=registry.example.com".to_owned(),
        ] {
            assert_eq!(rule(&path), None, "{path}");
        }
    }
}
