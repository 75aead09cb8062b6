//! cargo: crates by version, and the files of a sparse index.
//!
//! A published version never changes; what `dl` in an index's `config.json` says decides where a crate lies, and the
//! layouts here are the usual ones. The path of an index file begins with the first letters of the crate's name. Where
//! that is too little to tell it (short names, `config.json`), the request must be cargo's.

use super::Ecosystem;
use super::rule::{Protocol, Rule, RuleId};
use super::shape::{is_hex, is_name, is_semver};
use crate::target::TargetUri;

/// The rules for cargo registries.
pub(super) struct Cargo;

/// The longest name that registries take.
const LONGEST_NAME: usize = 64;

impl Ecosystem for Cargo {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let mut segments = target.path().rsplit('/');
        let file = segments.next()?;
        if file == "config.json" {
            return Some(Rule::asked_by(RuleId::CargoIndex, Protocol::Cargo));
        }
        let parent = segments.next()?;
        let grandparent = segments.next();
        if file == "download" {
            let name = grandparent?;
            // Others have downloads by version, too, but not at the top or below `crates`.
            let above = segments.next()?;
            let placed = above == "crates" || above.is_empty() && segments.next().is_none();
            return (placed && is_crate(name) && is_semver(parent)).then_some(Rule::of(RuleId::CargoCrate));
        }
        if let Some(stem) = file.strip_suffix(".crate") {
            let version = stem.strip_prefix(parent).and_then(|rest| rest.strip_prefix('-'));
            let placed = grandparent == Some("crates") && is_crate(parent);
            return version
                .is_some_and(|version| placed && is_semver(version))
                .then_some(Rule::of(RuleId::CargoCrate));
        }
        index_file(file, parent, grandparent)
    }
}

/// `1/a`, `2/ab`, `3/a/abc` and `ab/cd/abcd`, in lower case.
fn index_file(name: &str, parent: &str, grandparent: Option<&str>) -> Option<Rule> {
    if !is_crate(name) || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let protocol = match name.len() {
        1 | 2 if parent == name.len().to_string() => Protocol::Cargo,
        3 if grandparent == Some("3") && Some(parent) == name.get(..1) => Protocol::Cargo,
        // Many things are filed by the first digits of their hash.
        4.. if grandparent == name.get(..2) && Some(parent) == name.get(2..4) && !is_hash(name) => {
            Protocol::Path
        }
        _ => return None,
    };
    Some(Rule::asked_by(RuleId::CargoIndex, protocol))
}

fn is_hash(name: &str) -> bool {
    name.len() >= 32 && is_hex(name, name.len())
}

fn is_crate(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && is_name(name, b"-_")
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str) -> Option<Rule> {
        Cargo.recognise(&TargetUri::parse(format!("http://crates.example.com{path}").as_bytes()).unwrap())
    }

    #[test]
    fn crates_by_version() {
        for path in [
            "/crates/serde/serde-1.0.219.crate",
            "/files/crates/tokio-util/tokio-util-0.7.15.crate",
            "/crates/serde/1.0.219/download",
            "/api/v1/crates/serde/1.0.219/download",
            "/api/v1/crates/serde/1.0.0-rc.1/download",
            "/api/v1/crates/openssl-sys/0.9.109+3.5.0/download",
            "/api/v1/crates/openssl-sys/0.9.109%2B3.5.0/download",
            "/serde/1.0.219/download",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::CargoCrate)), "{path}");
        }
    }

    #[test]
    fn what_only_resembles_a_crate_follows_plain_http() {
        for path in [
            "/crates/serde/serde_json-1.0.0.crate",
            "/crates/serde/serde-1.0.crate",
            "/crates/serde/serde-latest.crate",
            "/serde/serde-1.0.219.crate",
            "/crates/serde/serde-1.0.219.crate?x=1",
            "/api/v1/crates/serde/latest/download",
            "/api/v1/crates/serde/1.0/download",
            "/api/v1/crates/serde",
            "/projects/files/1.2.3/download",
            "/a/serde/1.0.219/download",
            "/1serde/1.0.219/download",
            "/serde/1.0.219/download/",
            "/1.0.219/download",
            "/download",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }

    #[test]
    fn index_files_repeat_the_name() {
        for path in ["/se/rd/serde", "/git/index/to/ki/tokio-util", "/ab/cd/abcd", "/my/_c/my_crate"] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::CargoIndex)), "{path}");
        }
        for path in ["/config.json", "/index/config.json", "/1/a", "/2/io", "/3/s/syn"] {
            let found = rule(path);
            assert_eq!(found, Some(Rule::asked_by(RuleId::CargoIndex, Protocol::Cargo)), "{path}");
            let mut request = crate::fields::Fields::new();
            assert!(!found.unwrap().is_told_by(&request), "{path}");
            request.push("cargo-protocol", b"version=1").unwrap();
            assert!(found.unwrap().is_told_by(&request), "{path}");
        }
        for path in [
            "/se/rd/tokio",
            "/Se/rd/Serde",
            "/rd/se/serde",
            "/serde",
            "/2/a",
            "/3/b/syn",
            "/s/syn",
            "/se/rd/serde?x",
            "/se/rd/serde.json",
            "/ab/cd/abcd0123456789abcdef0123456789abcdef",
            "/config.json/",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }
}
