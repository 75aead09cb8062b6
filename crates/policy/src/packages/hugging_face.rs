//! Hugging Face: files of a repository at one commit.
//!
//! `/resolve/` and a commit's full name is one content for ever; a branch in its place moves, and follows plain HTTP, as do the
//! redirects with which large files begin: a rule is about a 200.

use super::Ecosystem;
use super::rule::{Rule, RuleId};
use super::shape::{is_hex, is_name};
use crate::target::TargetUri;

/// The rules for model hubs.
pub(super) struct HuggingFace;

/// Digits of a commit's name.
const COMMIT_DIGITS: usize = 40;

impl Ecosystem for HuggingFace {
    fn recognise(&self, target: &TargetUri) -> Option<Rule> {
        if target.query().is_some() {
            return None;
        }
        let (repository, rest) = target.path().split_once("/resolve/")?;
        let (commit, file) = rest.split_once('/')?;
        let mut parts = repository.strip_prefix('/')?.split('/');
        let named = parts.all(|part| is_name(part, b"-_."));
        (named && is_hex(commit, COMMIT_DIGITS) && !file.is_empty() && !file.ends_with('/'))
            .then_some(Rule::of(RuleId::HuggingFaceFile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_at_a_commit_and_nothing_else() {
        let rule = |path: &str| {
            HuggingFace
                .recognise(&TargetUri::parse(format!("http://hub.example.com{path}").as_bytes()).unwrap())
        };
        let commit = "0a".repeat(20);
        for path in [
            format!("/org/model/resolve/{commit}/config.json"),
            format!("/datasets/org/set/resolve/{commit}/data/train.parquet"),
            format!("/gpt2/resolve/{commit}/tokenizer.json"),
        ] {
            assert_eq!(rule(&path), Some(Rule::of(RuleId::HuggingFaceFile)), "{path}");
        }
        for path in [
            "/org/model/resolve/main/config.json".to_owned(),
            format!("/org/model/resolve/{}/config.json", "0a".repeat(19)),
            format!("/org/model/resolve/{}/config.json", "0A".repeat(20)),
            format!("/org/model/resolve/{commit}"),
            format!("/org/model/resolve/{commit}/"),
            format!("/org/model/resolve/{commit}/config.json?download=true"),
            format!("/resolve/{commit}/config.json"),
            format!("/org/model/raw/{commit}/config.json"),
        ] {
            assert_eq!(rule(&path), None, "{path}");
        }
    }
}
