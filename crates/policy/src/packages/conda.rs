//! conda: packages by version and build, and the list of a channel's packages.
//!
//! Both lie in a directory that is called after a platform, of which there are few.

use super::Ecosystem;
use super::rule::{Rule, RuleId};
use super::shape::{is_name, is_version};
use crate::target::TargetUri;

/// The rules for conda channels.
pub(super) struct Conda;

const PLATFORMS: [&str; 13] = [
    "noarch",
    "linux-32",
    "linux-64",
    "linux-aarch64",
    "linux-armv6l",
    "linux-armv7l",
    "linux-ppc64le",
    "linux-riscv64",
    "linux-s390x",
    "osx-64",
    "osx-arm64",
    "win-32",
    "win-64",
];

impl Ecosystem for Conda {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let (above, file) = target.path().rsplit_once('/')?;
        let platform = above.rsplit('/').next()?;
        if !PLATFORMS.contains(&platform) {
            return None;
        }
        if is_list(file) {
            return Some(Rule::of(RuleId::CondaIndex));
        }
        is_package(file).then_some(Rule::of(RuleId::CondaPackage))
    }
}

fn is_list(file: &str) -> bool {
    let list = file.strip_prefix("current_").unwrap_or(file);
    matches!(list, "repodata.json" | "repodata.json.zst" | "repodata.json.bz2")
}

/// `name-version-build`; only the name has dashes.
fn is_package(file: &str) -> bool {
    let stem = [".conda", ".tar.bz2"].into_iter().find_map(|suffix| file.strip_suffix(suffix));
    let Some((rest, build)) = stem.and_then(|stem| stem.rsplit_once('-')) else { return false };
    let Some((name, version)) = rest.rsplit_once('-') else { return false };
    is_name(build, b"_.+") && is_version(version) && is_name(name.strip_prefix('_').unwrap_or(name), b"-._")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_lists_in_the_directory_of_a_platform() {
        let rule = |path: &str| {
            let target = TargetUri::parse(format!("http://conda.example.com{path}").as_bytes()).unwrap();
            Conda.recognise(&target).map(|rule| rule.id)
        };
        for path in [
            "/conda-forge/linux-64/numpy-1.26.4-py312heda63a1_0.conda",
            "/conda-forge/noarch/tzdata-2024a-h0c530f3_0.conda",
            "/main/osx-arm64/scikit-learn-1.4.2-py312h6b1b0b5_1.tar.bz2",
            "/conda-forge/linux-64/_libgcc_mutex-0.1-conda_forge.tar.bz2",
        ] {
            assert_eq!(rule(path), Some(RuleId::CondaPackage), "{path}");
        }
        for path in
            ["/main/noarch/repodata.json", "/c/linux-64/current_repodata.json", "/c/win-64/repodata.json.zst"]
        {
            assert_eq!(rule(path), Some(RuleId::CondaIndex), "{path}");
        }
        for path in [
            "/conda-forge/amiga/numpy-1.26.4-py312heda63a1_0.conda",
            "/numpy-1.26.4-py312heda63a1_0.conda",
            "/linux-64/numpy-1.26.4.conda",
            "/linux-64/numpy-latest-0.conda",
            "/linux-64/numpy-1.26.4-py312_0.tar.gz",
            "/linux-64/numpy-1.26.4-py312_0.conda?x",
            "/main/repodata.json",
            "/main/noarch/repodata_shards.msgpack",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }
}
