//! apt: package files in a pool, indices by their hash, and indices by name.
//!
//! A Debian archive never changes a file in its pool: a new upload has a new version, and the version is part
//! of the file's name. Indices under `by-hash` are named by what they contain. Those under a name change together;
//! apt itself always asks for them. Everything else (source packages, say) follows plain HTTP.

use super::Ecosystem;
use super::rule::{ExpectedDigest, Rule, RuleId};
use super::shape::decode_hex;
use crate::target::TargetUri;

/// The rules for Debian archives.
pub(super) struct Apt;

impl Ecosystem for Apt {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        // A query makes the path something that a program answers.
        if target.query().is_some() {
            return None;
        }
        let mut segments = target.path().rsplit('/');
        let file = segments.next()?;
        let parent = segments.next()?;
        let grandparent = segments.next()?;
        if grandparent == "by-hash" {
            let digest = match parent {
                "SHA256" => ExpectedDigest::Sha256(decode_hex(file)?),
                "SHA512" => ExpectedDigest::Sha512(decode_hex(file)?),
                _ => return None,
            };
            return Some(Rule::proved(RuleId::AptByHash, digest));
        }
        if is_package_file(file) {
            let in_pool = grandparent == "pool" || segments.any(|segment| segment == "pool");
            return in_pool.then_some(Rule::of(RuleId::AptPool));
        }
        let in_dists =
            parent == "dists" || grandparent == "dists" || segments.any(|segment| segment == "dists");
        (file == "InRelease" || in_dists && is_index(file)).then_some(Rule::of(RuleId::AptIndex))
    }
}

/// An index that many other things could be called like, too.
fn is_index(file: &str) -> bool {
    let (stem, coding) = file.split_once('.').unwrap_or((file, ""));
    match stem {
        "Release" => matches!(coding, "" | "gpg"),
        "Packages" | "Sources" => matches!(coding, "" | "gz" | "bz2" | "xz" | "lzma" | "lz4" | "zst"),
        _ => false,
    }
}

/// `name_version_architecture.deb` or `.udeb`, as Debian policy allows each part.
fn is_package_file(file: &str) -> bool {
    let Some(stem) = file.strip_suffix(".deb").or_else(|| file.strip_suffix(".udeb")) else { return false };
    let mut parts = stem.split('_');
    let (Some(name), Some(version), Some(architecture), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() >= 2
        && name.bytes().next().is_some_and(lower)
        && made_of(name, |byte| lower(byte) || matches!(byte, b'+' | b'-' | b'.'))
        && version.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        && made_of(version, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-' | b'~' | b':')
        })
        && architecture.bytes().next().is_some_and(lower)
        && architecture.bytes().all(|byte| lower(byte) || byte == b'-')
}

/// Whether all bytes are `allowed`, where `+`, `~` and `:` may be percent-encoded: clients send either
/// spelling.
fn made_of(part: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let byte = if *first == b'%' {
            let Some((digits, after)) = rest.split_at_checked(2) else { return false };
            rest = after;
            match digits {
                b"2b" | b"2B" => b'+',
                b"7e" | b"7E" => b'~',
                b"3a" | b"3A" => b':',
                _ => return false,
            }
        } else {
            *first
        };
        if !allowed(byte) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str) -> Option<Rule> {
        Apt.recognise(&TargetUri::parse(format!("http://deb.example.com{path}").as_bytes()).unwrap())
    }

    #[test]
    fn package_files_in_a_pool() {
        for path in [
            "/debian/pool/main/a/apt/apt_2.6.1_amd64.deb",
            "/debian/pool/main/g/gcc-12/libstdc++6_12.2.0-14_amd64.deb",
            "/debian/pool/main/g/gcc-12/libstdc%2b%2b6_12.2.0-14%2Bdeb12u1_arm64.deb",
            "/pool/x/x1_1%3a2.0~rc1_all.deb",
            "/pool/a/apt_1_kfreebsd-amd64.udeb",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::AptPool)), "{path}");
        }
    }

    #[test]
    fn what_only_resembles_a_package_follows_plain_http() {
        for path in [
            "/debian/main/a/apt/apt_2.6.1_amd64.deb",
            "/debian/pool/main/a/apt/apt_2.6.1_amd64.deb?x",
            "/debian/pool/main/a/apt/apt_2.6.1.deb",
            "/debian/pool/main/a/apt/apt_latest_amd64.deb",
            "/debian/pool/main/a/apt/apt_2.6.1_amd64_x.deb",
            "/debian/pool/main/a/apt/Apt_2.6.1_amd64.deb",
            "/debian/pool/main/a/apt/apt_2.6.1_amd64.deb/",
            "/debian/pool/main/a/apt/apt%5f2_2.6.1_amd64.deb",
            "/debian/pool/main/a/apt/apt_2.6.1.dsc",
            "/debian/pool/main/a/apt/%_2.6.1_amd64.deb",
            "/debian/stable/Release",
            "/debian/dists/stable/Release.txt",
            "/debian/dists/stable/main/binary-amd64/packages.xz",
            "/debian/dists/stable/main/binary-amd64/Packages.diff/Index",
            "/debian/dists/stable/InRelease?x",
            "/Packages.xz",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }

    #[test]
    fn indices_by_name() {
        for path in [
            "/debian/dists/stable/InRelease",
            "/debian/dists/stable/Release",
            "/debian/dists/stable-updates/Release.gpg",
            "/debian/dists/stable/main/binary-amd64/Packages.xz",
            "/debian/dists/stable/main/source/Sources",
            "/flat/InRelease",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::AptIndex)), "{path}");
        }
    }

    #[test]
    fn indices_by_hash_carry_their_digest() {
        let hex = "ab".repeat(32);
        let found = rule(&format!("/debian/dists/stable/main/binary-amd64/by-hash/SHA256/{hex}"));
        assert_eq!(found, Some(Rule::proved(RuleId::AptByHash, ExpectedDigest::Sha256([0xab; 32]))));
        let found = rule(&format!("/by-hash/SHA512/{}", "01".repeat(64)));
        assert_eq!(found.and_then(|rule| rule.digest), Some(ExpectedDigest::Sha512([1; 64])));
        for path in [
            format!("/by-hash/SHA256/{}", "AB".repeat(32)),
            format!("/by-hash/SHA256/{}", "ab".repeat(31)),
            format!("/by-hash/SHA512/{hex}"),
            format!("/by-hash/MD5Sum/{}", "ab".repeat(16)),
            format!("/by-hash/sha256/{hex}"),
            format!("/SHA256/{hex}"),
            format!("/by-hash/SHA256/{hex}?a"),
        ] {
            assert_eq!(rule(&path), None, "{path}");
        }
    }
}
