//! The cache key: what a stored response is filed under.
//!
//! The key is the target URI with its query (RFC 9111, 2 and 4). The method takes no part in it: only GET,
//! HEAD and the one kind of POST that answers a later GET are ever stored, and they share a key. Which of the
//! responses under one key fits a request is decided by the fields that Vary nominates, not here. No two
//! targets share a key, because a canonical URI has one reading: neither scheme, host nor port can hold a
//! slash. Nor do two listeners whose requests are answered by different origins.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::target::{TargetError, TargetUri};

/// The key of everything stored for one target URI. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    target: TargetUri,
    /// The whole text, where it is more than the target.
    behind: Option<Arc<str>>,
}

impl CacheKey {
    /// The key of a target that is asked of whoever its authority names: a forward proxy's.
    pub fn of(target: &TargetUri) -> Self {
        Self { target: target.clone(), behind: None }
    }

    /// The key of a target that is asked of `origin` whatever its authority says: a reverse proxy's. It shares nothing with what a
    /// forward proxy, or another origin's listener, keeps for the same target, since others answer there.
    pub fn behind(origin: &TargetUri, target: &TargetUri) -> Self {
        let text = format!("{}://{} {target}", origin.scheme().as_str(), origin.authority());
        Self { target: target.clone(), behind: Some(text.into()) }
    }

    /// Reads back what [`CacheKey::as_str`] gave.
    ///
    /// # Errors
    /// [`TargetError`] when the text is not that of a key.
    pub fn from_stored(text: &str) -> Result<Self, TargetError> {
        // Neither an authority nor a target holds a space.
        let (origin, uri) = match text.split_once(' ') {
            Some((origin, uri)) => (Some(TargetUri::parse(origin.as_bytes())?), uri),
            None => (None, text),
        };
        let target = TargetUri::parse(uri.as_bytes())?;
        let key = match origin {
            Some(origin) => Self::behind(&origin, &target),
            None => Self::of(&target),
        };
        if key.as_str() == text { Ok(key) } else { Err(TargetError::NotCanonical) }
    }

    /// The canonical target URI, behind a reverse proxy with the origin and a space before it.
    pub fn as_str(&self) -> &str {
        self.behind.as_deref().unwrap_or_else(|| self.target.as_str())
    }

    /// The key of another target of the same listener.
    #[must_use]
    pub fn sibling(&self, target: &TargetUri) -> Self {
        let behind = self.behind.as_deref().and_then(|text| text.split_once(' '));
        Self { target: target.clone(), behind: behind.map(|(origin, _)| format!("{origin} {target}").into()) }
    }

    /// The target this key is for.
    pub const fn target(&self) -> &TargetUri {
        &self.target
    }
}

impl PartialOrd for CacheKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CacheKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_part_of_the_key() {
        let key = |uri: &str| CacheKey::of(&TargetUri::parse(uri.as_bytes()).unwrap());
        assert_eq!(key("http://H:80/a?b"), key("http://h/a?b"));
        for other in
            ["http://h/a", "http://h/a?", "http://h/a?B", "https://h/a?b", "http://h/A?b", "http://h/%61?b"]
        {
            assert_ne!(key("http://h/a?b"), key(other), "{other}");
        }
    }

    #[test]
    fn what_different_origins_answer_is_kept_apart() {
        let uri = |text: &str| TargetUri::parse(text.as_bytes()).unwrap();
        let target = uri("http://www.example/p");
        let (one, two) = (uri("http://127.0.0.1:8080/"), uri("http://127.0.0.1:8081/"));
        let key = CacheKey::behind(&one, &target);
        assert_ne!(key, CacheKey::of(&target));
        assert_ne!(key, CacheKey::behind(&two, &target));
        assert_eq!(key.as_str(), "http://127.0.0.1:8080 http://www.example/p");
        assert_eq!(CacheKey::from_stored(key.as_str()), Ok(key.clone()));
        assert_eq!(
            key.sibling(&uri("http://www.example/q")),
            CacheKey::behind(&one, &uri("http://www.example/q"))
        );
        assert_eq!(CacheKey::of(&target).sibling(&one), CacheKey::of(&one));
    }

    #[test]
    fn only_the_canonical_text_is_read_back() {
        let key = CacheKey::from_stored("http://h/a?b").unwrap();
        assert_eq!(key.target().path(), "/a");
        for text in [
            "http://h",
            "http://H/",
            "http://h:80/",
            "h",
            "",
            "http://b http://h",
            "http://b/ http://h/",
            "b http://h/",
        ] {
            assert!(CacheKey::from_stored(text).is_err(), "{text}");
        }
    }
}
