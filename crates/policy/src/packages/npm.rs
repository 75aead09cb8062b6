//! npm: tarballs by version, and the documents that list versions.
//!
//! A tarball's path has the name of its package twice, and both must agree. A document's path is nothing but the name,
//! which many things could be: its lifetime is touched only where the path has the escaped slash of a scoped name, or
//! the request is npm's. It comes in two formats, by Accept. None of the fields that npm adds to a request
//! (`pacote-*`, `npm-command`) takes part in the key.

use super::Ecosystem;
use super::rule::{Protocol, Rule, RuleId};
use super::shape::{consists_of, is_semver};
use crate::target::TargetUri;

/// The rules for npm registries.
pub(super) struct Npm;

/// The longest name that the registry takes, scope included.
const LONGEST_NAME: usize = 214;

impl Ecosystem for Npm {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let path = target.path();
        if let Some((package, file)) = path.split_once("/-/") {
            return is_tarball(package, file).then_some(Rule::of(RuleId::NpmTarball));
        }
        let (above, last) = path.rsplit_once('/')?;
        if let Some((scope, name)) = scoped(last) {
            return (is_part(scope) && is_part(name)).then_some(Rule::of(RuleId::NpmPackument));
        }
        let scope = above.rsplit('/').next().unwrap_or_default();
        let in_scope = scope.strip_prefix('@').is_none_or(is_part);
        (in_scope && is_part(last)).then_some(Rule::asked_by(RuleId::NpmPackument, Protocol::Npm))
    }
}

/// `name/-/name-version.tgz`, with a scope before the first name and perhaps before the second.
fn is_tarball(package: &str, file: &str) -> bool {
    let (above, last) = package.rsplit_once('/').unwrap_or(("", package));
    let (scope, name) = match scoped(last) {
        Some((scope, name)) => (Some(scope), name),
        None => (above.rsplit('/').next().and_then(|scope| scope.strip_prefix('@')), last),
    };
    let file = match file.strip_prefix('@') {
        Some(again) => match again.split_once('/') {
            Some((prefix, file)) if Some(prefix) == scope => file,
            _ => return false,
        },
        None => file,
    };
    let version = file
        .strip_suffix(".tgz")
        .and_then(|stem| stem.strip_prefix(name))
        .and_then(|rest| rest.strip_prefix('-'));
    scope.is_none_or(is_part) && is_part(name) && version.is_some_and(is_semver)
}

/// `@scope%2fname`, in one segment.
fn scoped(segment: &str) -> Option<(&str, &str)> {
    let rest = segment.strip_prefix('@')?;
    rest.split_once("%2f").or_else(|| rest.split_once("%2F"))
}

/// The name of a package or of a scope. Old packages have capitals.
fn is_part(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && !name.starts_with(['.', '_'])
        && consists_of(name, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;

    fn rule(path: &str) -> Option<Rule> {
        Npm.recognise(&TargetUri::parse(format!("http://npm.example.com{path}").as_bytes()).unwrap())
    }

    #[test]
    fn tarballs_by_version() {
        for path in [
            "/express/-/express-4.19.2.tgz",
            "/repository/npm/express/-/express-4.19.2.tgz",
            "/@babel/core/-/core-7.24.5.tgz",
            "/@babel%2fcore/-/core-7.24.5.tgz",
            "/@babel%2Fcore/-/core-7.24.5.tgz",
            "/@babel/core/-/@babel/core-7.24.5.tgz",
            "/JSONStream/-/JSONStream-1.3.5.tgz",
            "/react/-/react-19.0.0-rc.1.tgz",
            "/left-pad/-/left-pad-1.0.0+build.1.tgz",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::NpmTarball)), "{path}");
        }
    }

    #[test]
    fn what_only_resembles_a_tarball_follows_plain_http() {
        for path in [
            "/express/-/other-4.19.2.tgz",
            "/express/-/express-latest.tgz",
            "/express/-/express-4.19.tgz",
            "/express/-/express-4.19.2.tar.gz",
            "/express/-/express-4.19.2.tgz?cache=1",
            "/express/-/express-4.19.2.tgz/",
            "/express/-/a/express-4.19.2.tgz",
            "/@babel/core/-/@other/core-7.24.5.tgz",
            "/@/core/-/core-7.24.5.tgz",
            "/express/express-4.19.2.tgz/-/",
            "/-/npm/v1/security/advisories/bulk",
            "/-/v1/search",
            "/-/package/express/dist-tags",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }

    #[test]
    fn documents_by_name() {
        for path in ["/@babel%2fcore", "/repository/npm/@babel%2Fcore"] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::NpmPackument)), "{path}");
        }
        for path in ["/express", "/@babel/core", "/repository/npm/express", "/socket.io"] {
            let found = rule(path).unwrap();
            assert_eq!(found, Rule::asked_by(RuleId::NpmPackument, Protocol::Npm), "{path}");
            assert!(!found.is_told_by(&Fields::new()));
            for (name, value) in [
                ("npm-command", "install"),
                ("pacote-req-type", "packument"),
                ("Accept", "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"),
            ] {
                let mut request = Fields::new();
                request.push(name, value.as_bytes()).unwrap();
                assert!(found.is_told_by(&request), "{name}");
            }
        }
        for path in
            ["/", "/express/", "/@babel", "/@%2fcore", "/.well-known", "/_all_docs", "/a%20b", "/express?x"]
        {
            assert_eq!(rule(path), None, "{path}");
        }
    }
}
