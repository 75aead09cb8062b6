//! Maven: files of releases, and the lists of versions.
//!
//! A release's path has artefact and version twice, as directories and in the file's name, and both must agree. Snapshots are
//! builds that change. A file and its checksums are one rule's, so that they are kept alike.

use super::Ecosystem;
use super::rule::{Rule, RuleId};
use super::shape::{is_name, is_version};
use crate::target::TargetUri;

/// The rules for Maven repositories.
pub(super) struct Maven;

/// What lies beside a file, and beside that.
const BESIDE: [&str; 5] = [".sha1", ".sha256", ".sha512", ".md5", ".asc"];
/// What an artefact can be.
const EXTENSIONS: [&str; 9] = ["jar", "pom", "aar", "war", "ear", "module", "zip", "klib", "tar.gz"];
/// The list of versions.
const METADATA: &str = "maven-metadata.xml";

impl Ecosystem for Maven {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let mut segments = target.path().rsplit('/');
        let (file, version, artefact) = (segments.next()?, segments.next()?, segments.next()?);
        let group = segments.next()?;
        if is_snapshot(version) {
            return None;
        }
        let main = without_checksum(file);
        if main == METADATA {
            return Some(Rule::of(RuleId::MavenIndex));
        }
        let rest = main
            .strip_prefix(artefact)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_prefix(version))?;
        let named = !group.is_empty() && is_name(artefact, b"-._") && is_release(version);
        (named && is_rest(rest)).then_some(Rule::of(RuleId::MavenRelease))
    }
}

/// A signature has checksums, too.
fn without_checksum(file: &str) -> &str {
    let strip = |file| BESIDE.into_iter().find_map(|suffix| str::strip_suffix(file, suffix)).unwrap_or(file);
    strip(strip(file))
}

/// Perhaps a classifier, then the extension.
fn is_rest(rest: &str) -> bool {
    EXTENSIONS.into_iter().any(|extension| {
        let classifier = rest.strip_suffix(extension).and_then(|rest| rest.strip_suffix('.'));
        classifier.is_some_and(|text| {
            text.is_empty() || text.strip_prefix('-').is_some_and(|name| is_name(name, b"-._"))
        })
    })
}

/// Begins with a number, perhaps after one letter: `1.0`, `v3`, `r09`.
fn is_release(version: &str) -> bool {
    let lettered = version.starts_with(|first: char| first.is_ascii_alphabetic());
    is_version(if lettered { version.get(1..).unwrap_or_default() } else { version })
}

fn is_snapshot(version: &str) -> bool {
    version.to_ascii_uppercase().contains("SNAPSHOT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str) -> Option<Rule> {
        Maven.recognise(&TargetUri::parse(format!("http://maven.example.com{path}").as_bytes()).unwrap())
    }

    #[test]
    fn files_of_releases() {
        for path in [
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13.jar",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13.pom.sha1",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13.jar.asc.md5",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13-sources.jar",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13.module",
            "/maven2/com/google/guava/guava/33.2.0-jre/guava-33.2.0-jre.jar",
            "/google/androidx/core/core/1.13.1/core-1.13.1.aar.sha512",
            "/maven2/com/google/code/findbugs/jsr305/r09/jsr305-r09.jar",
            "/x/g/a/1.0/a-1.0-bin.tar.gz",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::MavenRelease)), "{path}");
        }
    }

    #[test]
    fn what_only_resembles_a_release_follows_plain_http() {
        for path in [
            "/maven2/org/slf4j/slf4j-api/2.1.0-SNAPSHOT/slf4j-api-2.1.0-SNAPSHOT.jar",
            "/maven2/org/slf4j/slf4j-api/2.1.0-SNAPSHOT/slf4j-api-2.1.0-20240101.120000-1.jar",
            "/maven2/org/slf4j/slf4j-api/2.1.0-SNAPSHOT/maven-metadata.xml",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.12.jar",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-simple-2.0.13.jar",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13.html",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13sources.jar",
            "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13.jar?x",
            "/maven2/org/slf4j/slf4j-api/LATEST/slf4j-api-LATEST.jar",
            "/maven2/org/slf4j/slf4j-api/latest/slf4j-api-latest.jar",
            "/maven2/org/slf4j/slf4j-api/2.0.13/",
            "/a/1.0/a-1.0.jar",
            "/a-1.0.jar",
        ] {
            assert_eq!(rule(path), None, "{path}");
        }
    }

    #[test]
    fn lists_of_versions() {
        for path in [
            "/maven2/org/slf4j/slf4j-api/maven-metadata.xml",
            "/maven2/org/slf4j/slf4j-api/maven-metadata.xml.sha1",
        ] {
            assert_eq!(rule(path), Some(Rule::of(RuleId::MavenIndex)), "{path}");
        }
        assert_eq!(rule("/maven2/org/slf4j/slf4j-api/maven-metadata-local.xml"), None);
    }
}
