//! From what a request selects to a filter of the store.

use std::time::Duration;

use larder_policy::{HostPattern, TargetUri, Timestamp, UrlPattern};
use larder_storage::Filter;

use super::explain::Rules;
use super::messages::Selection;

/// Why a selection selects nothing that there could be; prints what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSelection {
    /// No URL of a request.
    #[error("`{url}` is not the URL of a request: {why}")]
    Url {
        /// What was given.
        url: String,
        /// Why not.
        why: larder_policy::TargetError,
    },
    /// No host.
    #[error(
        "`{0}` is not a host; write its name alone, like `example.com`, or `*.example.com` for all below it"
    )]
    Host(String),
    /// No pattern for URLs.
    #[error(transparent)]
    Glob(#[from] larder_policy::InvalidOverride),
    /// An empty tag.
    #[error("nothing carries an empty `tag`; write one, or leave it out")]
    Tag,
    /// Everything, and something else.
    #[error("`all` and a condition exclude each other")]
    AllAndMore,
}

impl Selection {
    /// Whether nothing is given, not even `all`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The filter for it at this time, by the keys that these rules give a URL.
    ///
    /// # Errors
    ///
    /// Something that is given has no meaning.
    pub fn filter(&self, rules: &Rules, now: Timestamp) -> Result<Filter, InvalidSelection> {
        if self.all && *self != (Self { all: true, ..Self::default() }) {
            return Err(InvalidSelection::AllAndMore);
        }
        if self.tag.as_ref().is_some_and(String::is_empty) {
            return Err(InvalidSelection::Tag);
        }
        let before = |ms: u64| {
            let ms = i64::try_from(ms).unwrap_or(i64::MAX);
            Timestamp::from_millis(now.as_millis().saturating_sub(ms))
        };
        let mut filter = Filter {
            tag: self.tag.clone(),
            until: self.older_ms.map(before),
            since: self.newer_ms.map(before),
            at_least_bytes: self.larger_bytes,
            below_bytes: self.smaller_bytes,
            ..Filter::default()
        };
        if let Some(url) = &self.url {
            filter.keys = Some(rules.keys(&target(url)?));
        }
        if let Some(host) = &self.host {
            let invalid = |_| InvalidSelection::Host(host.clone());
            filter.host = Some(HostPattern::parse(host).map_err(invalid)?);
        }
        if let Some(glob) = &self.glob {
            filter.url = Some(UrlPattern::parse(glob)?);
        }
        Ok(filter)
    }

    /// Likewise, but finds a URL whichever origin answered for it, also one that the rules do not know. That reads
    /// everything.
    ///
    /// # Errors
    ///
    /// As [`filter`](Self::filter).
    pub fn filter_anywhere(&self, rules: &Rules, now: Timestamp) -> Result<Filter, InvalidSelection> {
        let target = self.url.as_deref().map(target).transpose()?;
        Ok(Filter { keys: None, target, ..self.filter(rules, now)? })
    }

    /// Stored, or last validated, at least so long ago.
    pub fn older(&mut self, than: Option<Duration>) {
        self.older_ms = than.map(super::explain::millis);
    }

    /// Stored, or last validated, less than so long ago.
    pub fn newer(&mut self, than: Option<Duration>) {
        self.newer_ms = than.map(super::explain::millis);
    }
}

fn target(url: &str) -> Result<TargetUri, InvalidSelection> {
    TargetUri::parse(url.as_bytes()).map_err(|why| InvalidSelection::Url { url: url.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use larder_policy::CacheKey;

    use super::*;
    use crate::config::Config;

    fn selection(json: &str) -> Selection {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn conditions_become_a_filter() {
        let rules = Rules::of(&Config::default());
        let now = Timestamp::from_secs(1_000_000);
        let filter = |json| selection(json).filter(&rules, now).unwrap();
        assert!(filter("{}").is_everything() && filter(r#"{"all": true}"#).is_everything());
        let host = filter(r#"{"host": "*.Example.com", "tag": "a", "larger_bytes": 5, "smaller_bytes": 9}"#);
        assert!(host.host.unwrap().matches("a.example.com"));
        assert_eq!(
            (host.tag.as_deref(), host.at_least_bytes, host.below_bytes),
            (Some("a"), Some(5), Some(9))
        );
        let aged = filter(r#"{"older_ms": 1000, "newer_ms": 18446744073709551615}"#);
        assert_eq!(aged.until, Some(Timestamp::from_secs(999_999)));
        assert!(aged.since.unwrap() < Timestamp::from_secs(0));
        let url = r#"{"url": "http://example.com/a"}"#;
        let target = target("http://example.com/a").unwrap();
        assert_eq!(filter(url).keys, Some(vec![CacheKey::of(&target)]));
        let anywhere = selection(url).filter_anywhere(&rules, now).unwrap();
        assert_eq!((anywhere.keys, anywhere.target), (None, Some(target)));
    }

    #[test]
    fn an_object_behind_signed_urls_is_found_as_it_is_listed_and_as_it_was_signed() {
        let rules = Rules::of(&Config::default());
        let listed = format!("http://objects.example.com/lfs/{}?", "ab".repeat(32));
        let object = target(&listed).unwrap();
        let key = CacheKey::of(&object).signed(&object);
        for url in [listed.clone(), format!("{listed}Expires=1&Signature=b&Key-Pair-Id=c")] {
            let selection = Selection { url: Some(url.clone()), ..Selection::default() };
            let filter = selection.filter(&rules, Timestamp::from_secs(0)).unwrap();
            assert!(filter.keys.unwrap().contains(&key), "{url}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let rules = Rules::of(&Config::default());
        for (json, why) in [
            (r#"{"url": "x"}"#, "not the URL of a request"),
            (r#"{"host": "http://a/"}"#, "is not a host"),
            (r#"{"host": ""}"#, "is not a host"),
            (r#"{"glob": "*.deb"}"#, "no pattern for URLs"),
            (r#"{"tag": ""}"#, "empty `tag`"),
            (r#"{"all": true, "tag": "x"}"#, "exclude each other"),
        ] {
            let error = selection(json).filter(&rules, Timestamp::from_secs(0)).unwrap_err().to_string();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
