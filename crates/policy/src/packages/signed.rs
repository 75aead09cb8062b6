//! Signed URLs of object stores: one object under a new signature for each client.
//!
//! Registries hand out such URLs by redirect, and a signature makes every one of them another key. It is left out of the key
//! only where the last part of the path is the SHA-2 digest of the object and the parameters of one known scheme are
//! all there. Nothing here verifies a signature, and a digest is no secret. So each client's own URL goes to the origin, which
//! answers 304 to a good one, and only then do the stored bytes leave; all of them have been checked against the digest
//! before that. Nobody joins a fetch that is under way, and neither parts nor errors are kept.
//!
//! An object under any other name (a release asset's number, say) is not shared, since nothing here could tell whether it
//! is what its path promises, nor is one whose signature binds the client's address or fields of the request. Parameters
//! that are not the scheme's stay in the key. The key says that something is left out, so that a request without any
//! signature, which is another request, never meets what is kept here.

use super::rule::{ExpectedDigest, Rule, RuleId};
use super::shape::{decode_hex, is_hex};
use super::{Ecosystem, oci};
use crate::target::TargetUri;

/// The rule for objects behind signed URLs.
pub(super) struct Signed;

/// How a signature is written into a query.
struct Scheme {
    /// All of these, each once, with a value.
    needed: &'static [&'static str],
    /// At least one of these, where there are any.
    either: &'static [&'static str],
    /// These may be there.
    optional: &'static [&'static str],
    /// These must have this value.
    fixed: &'static [(&'static str, &'static str)],
    /// With one of these the signature is for one client.
    binding: &'static [&'static str],
}

/// Signature Version 4 in the query, with the prefix of its parameters.
macro_rules! version_4 {
    ($prefix:literal) => {
        Scheme {
            needed: &[
                concat!($prefix, "Algorithm"),
                concat!($prefix, "Credential"),
                concat!($prefix, "Date"),
                concat!($prefix, "Expires"),
                concat!($prefix, "SignedHeaders"),
                concat!($prefix, "Signature"),
            ],
            either: &[],
            optional: &[concat!($prefix, "Security-Token")],
            fixed: &[(concat!($prefix, "SignedHeaders"), "host")],
            binding: &[],
        }
    };
}

const SCHEMES: [Scheme; 6] = [
    version_4!("X-Amz-"),
    version_4!("X-Goog-"),
    // Version 2 of both.
    Scheme {
        needed: &["AWSAccessKeyId", "Expires", "Signature"],
        either: &[],
        optional: &[],
        fixed: &[],
        binding: &[],
    },
    Scheme {
        needed: &["GoogleAccessId", "Expires", "Signature"],
        either: &[],
        optional: &[],
        fixed: &[],
        binding: &[],
    },
    // CloudFront, with a canned or a custom policy.
    Scheme {
        needed: &["Key-Pair-Id", "Signature"],
        either: &["Expires", "Policy"],
        optional: &["Expires", "Policy", "Hash-Algorithm"],
        fixed: &[],
        binding: &[],
    },
    // Azure's shared access signature, of a service or of a user's delegation, to read one blob.
    Scheme {
        needed: &["sv", "se", "sr", "sp", "sig"],
        either: &[],
        optional: &["st", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv"],
        fixed: &[("sr", "b"), ("sp", "r")],
        binding: &["sip", "saoid", "suoid", "scid"],
    },
];

impl Ecosystem for Signed {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        let digest = digest_of(target.path())?;
        scheme_of(target.query()?).map(|_| Rule::proved(RuleId::SignedObject, digest))
    }
}

/// The target without its signature; `None` when it has none that may be left out.
pub(super) fn unsigned(target: &TargetUri) -> Option<TargetUri> {
    let query = target.query()?;
    digest_of(target.path())?;
    let scheme = scheme_of(query)?;
    let mut reduced = format!("{}?", target.path());
    let rest = query.split('&').filter(|parameter| !scheme.has(name_of(parameter)));
    for (index, parameter) in rest.enumerate() {
        if index > 0 {
            reduced.push('&');
        }
        reduced.push_str(parameter);
    }
    TargetUri::from_parts(target.scheme(), target.authority().as_bytes(), reduced.as_bytes()).ok()
}

/// Whether a target could be what [`unsigned`] gives.
pub(super) fn is_object(target: &TargetUri) -> bool {
    target.query().is_some() && digest_of(target.path()).is_some()
}

/// Whether the end of a path names a digest, without which no signature is left out.
pub(super) fn names_digest(path: &str) -> bool {
    digest_of(path).is_some()
}

/// The digest that the end of a path names: `…/sha256:HEX`, `…/HEX`, or `…/sha256/ab/HEX/data`.
fn digest_of(path: &str) -> Option<ExpectedDigest> {
    let mut segments = path.rsplit('/');
    let last = segments.next()?;
    if last == "data" {
        let (hex, first, kind) = (segments.next()?, segments.next()?, segments.next()?);
        let filed = kind == "sha256" && is_hex(first, 2) && hex.starts_with(first);
        return decode_hex(hex).filter(|_| filed).map(ExpectedDigest::Sha256);
    }
    oci::digest(last).or_else(|| decode_hex(last).map(ExpectedDigest::Sha256))
}

/// The one scheme of which all parameters are there.
fn scheme_of(query: &str) -> Option<&'static Scheme> {
    let mut complete = SCHEMES.iter().filter(|scheme| scheme.is_complete(query));
    complete.next().filter(|_| complete.next().is_none())
}

fn name_of(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

impl Scheme {
    fn has(&self, name: &str) -> bool {
        [self.needed, self.either, self.optional].into_iter().any(|names| names.contains(&name))
    }

    fn is_complete(&self, query: &str) -> bool {
        let once = |name: &&str| {
            let mut values = values(query, name);
            values.next().is_some_and(|value| !value.is_empty()) && values.next().is_none()
        };
        let at_most_once = |name: &&str| values(query, name).count() <= 1;
        self.needed.iter().all(once)
            && (self.either.is_empty() || self.either.iter().any(once))
            && self.optional.iter().all(at_most_once)
            && self.fixed.iter().all(|(name, fixed)| values(query, name).all(|value| value == *fixed))
            && self.binding.iter().all(|name| values(query, name).count() == 0)
    }
}

/// The values of a parameter, as they stand in the query.
fn values<'q>(query: &'q str, name: &str) -> impl Iterator<Item = &'q str> {
    query
        .split('&')
        .filter(move |parameter| name_of(parameter) == name)
        .map(|parameter| parameter.split_once('=').map_or("", |(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::CacheKey;
    use crate::packages::Active;

    const AMAZON: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb&X-Amz-Date=20260101T000000Z\
                          &X-Amz-Expires=1200&X-Amz-SignedHeaders=host&X-Amz-Signature=0a";
    const AZURE: &str = "sv=2021-08-06&se=2026-01-01T00%3A00%3A00Z&sr=b&sp=r&sig=abc%3D&spr=https&skoid=x";

    fn target(path: &str) -> TargetUri {
        TargetUri::parse(format!("https://objects.example.com{path}").as_bytes()).unwrap()
    }

    fn hex() -> String {
        "ab".repeat(32)
    }

    fn key(path: &str) -> String {
        let key = Active::ALL.key(CacheKey::of(&target(path)));
        assert_eq!(Active::ALL.key(key.clone()), key, "a key is its own key");
        assert_eq!(CacheKey::from_stored(key.as_str()), Ok(key.clone()));
        // What a signature is left out of is listed without it, and nobody can ask for its key.
        assert_eq!(key.leaves_out_signature(), Active::ALL.listed(key.target()).as_ref() == Some(&key));
        assert_eq!(TargetUri::parse(key.as_str().as_bytes()).is_err(), key.leaves_out_signature());
        key.as_str().trim_start_matches("https://objects.example.com").to_owned()
    }

    #[test]
    fn each_scheme_is_left_out_of_the_key_of_what_a_digest_names() {
        let hex = hex();
        for path in [
            format!("/registry/v2/blobs/sha256/ab/{hex}/data"),
            format!("/ghcr/blobs/sha256:{hex}"),
            format!("/lfs/ab/cd/{hex}"),
        ] {
            for query in [
                AMAZON,
                &format!("{AMAZON}&X-Amz-Security-Token=t"),
                &AMAZON.replace("Amz", "Goog"),
                AZURE,
                "AWSAccessKeyId=a&Expires=1&Signature=b",
                "Expires=1&GoogleAccessId=a&Signature=b",
                "Expires=1&Signature=b&Key-Pair-Id=c",
                "Policy=e30&Signature=b&Key-Pair-Id=c&Expires=1",
            ] {
                let url = format!("{path}?{query}");
                assert_eq!(key(&url), format!("{path}?#signed"), "{url}");
                let rule = Signed.recognise(&target(&url));
                let digest = ExpectedDigest::Sha256([0xab; 32]);
                assert_eq!(rule, Some(Rule::proved(RuleId::SignedObject, digest)), "{url}");
            }
        }
    }

    #[test]
    fn parameters_of_no_scheme_stay_in_their_order() {
        let path = format!("/lfs/{}", hex());
        let url = format!("{path}?a=1&{AMAZON}&x-id=GetObject&rscd=attachment");
        assert_eq!(key(&url), format!("{path}?a=1&x-id=GetObject&rscd=attachment#signed"));
    }

    #[test]
    fn all_else_keeps_its_whole_query() {
        let hex = hex();
        let path = format!("/lfs/{hex}");
        let without_signature = AMAZON.replace("&X-Amz-Signature=0a", "");
        for url in [
            path.clone(),
            format!("{path}?"),
            format!("{path}?a=b"),
            // What a signed URL has left, asked for as such, is not what a signature opens.
            format!("{path}?a=1&x-id=GetObject&rscd=attachment"),
            format!("{path}?{without_signature}"),
            format!("{path}?{AMAZON}&X-Amz-Signature=0b"),
            format!("{path}?{without_signature}&X-Amz-Signature="),
            format!("{path}?{without_signature}&x-amz-signature=0a"),
            format!("{path}?{}", AMAZON.replace("Headers=host", "Headers=host%3Brange")),
            format!("{path}?{AMAZON}&{AZURE}"),
            format!("{path}?{AZURE}&sip=192.0.2.1"),
            format!("{path}?{}", AZURE.replace("sp=r", "sp=rw")),
            format!("{path}?{}", AZURE.replace("sr=b", "sr=c")),
            format!("{path}?Expires=1&Signature=b"),
            format!("{path}?Key-Pair-Id=c&Signature=b"),
            format!("/release-asset/12345/0c3a5b1e-0000-4000-8000-000000000000?{AZURE}"),
            format!("/{}?{AMAZON}", "ab".repeat(31)),
            format!("/{}?{AMAZON}", "AB".repeat(32)),
            format!("/sha256/cd/{hex}/data?{AMAZON}"),
            format!("/{hex}/data?{AMAZON}"),
            format!("/{hex}/file.tar.gz?{AMAZON}"),
            format!("/sha1:{}?{AMAZON}", "ab".repeat(20)),
        ] {
            assert_eq!(key(&url), url);
            assert_eq!(Signed.recognise(&target(&url)), None, "{url}");
        }
    }

    #[test]
    fn a_rule_that_is_switched_off_shapes_no_key() {
        let url = target(&format!("/lfs/{}?{AMAZON}", hex()));
        for off in [Active::NONE, Active::ALL.without(RuleId::SignedObject)] {
            assert_eq!(off.key(CacheKey::of(&url)), CacheKey::of(&url));
        }
    }
}
