//! rustup: the files of a release that is named by its day.
//!
//! `/dist/2024-05-02/…` is written once. The same names without a day, and the manifests of channels, point to whatever is
//! current: they follow plain HTTP, since a manifest and its checksum must be of one moment.

use super::Ecosystem;
use super::rule::{Rule, RuleId};
use super::shape::{is_name, is_number};
use crate::target::TargetUri;

/// The rules for Rust release servers.
pub(super) struct Rustup;

impl Ecosystem for Rustup {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let mut segments = target.path().rsplit('/');
        let (file, day, above) = (segments.next()?, segments.next()?, segments.next()?);
        (above == "dist" && is_day(day) && is_file(file)).then_some(Rule::of(RuleId::RustupDist))
    }
}

fn is_day(text: &str) -> bool {
    let mut parts = text.split('-');
    [4, 2, 2]
        .into_iter()
        .all(|digits| parts.next().is_some_and(|part| part.len() == digits && is_number(part)))
        && parts.next().is_none()
}

fn is_file(file: &str) -> bool {
    let main = file.strip_suffix(".sha256").or_else(|| file.strip_suffix(".asc")).unwrap_or(file);
    let stem = [".tar.gz", ".tar.xz", ".toml"].into_iter().find_map(|suffix| main.strip_suffix(suffix));
    stem.is_some_and(|stem| stem.contains('-') && is_name(stem, b"-_."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dated_files_and_nothing_else() {
        let rule = |path: &str| {
            Rustup.recognise(&TargetUri::parse(format!("http://rust.example.com{path}").as_bytes()).unwrap())
        };
        for path in [
            "/dist/2024-05-02/rustc-1.78.0-x86_64-unknown-linux-gnu.tar.xz",
            "/dist/2024-05-02/rust-std-nightly-aarch64-apple-darwin.tar.gz",
            "/rustup/dist/2024-05-02/channel-rust-nightly.toml.sha256",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::RustupDist)), "{path}");
        }
        for path in [
            "/dist/channel-rust-stable.toml",
            "/dist/rust-1.78.0-x86_64-unknown-linux-gnu.tar.gz",
            "/dist/2024-5-2/rustc-1.78.0.tar.xz",
            "/dist/2024-05-02-x/rustc-1.78.0.tar.xz",
            "/2024-05-02/rustc-1.78.0.tar.xz",
            "/dist/2024-05-02/index.html",
            "/dist/2024-05-02/",
            "/dist/2024-05-02/rustc-1.78.0.tar.xz?x",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }
}
