//! The cache key: what a stored response is filed under.
//!
//! The key is the target URI with its query (RFC 9111, 2 and 4). The method takes no part in it: only GET,
//! HEAD and the one kind of POST that answers a later GET are ever stored, and they share a key. Which of the
//! responses under one key fits a request is decided by the fields that Vary nominates, not here. No two
//! targets share a key, because a canonical URI has one reading: neither scheme, host nor port can hold a
//! slash.

use std::cmp::Ordering;
use std::fmt;

use crate::target::{TargetError, TargetUri};

/// The key of everything stored for one target URI. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(TargetUri);

impl CacheKey {
    /// The key of a target.
    pub fn of(target: &TargetUri) -> Self {
        Self(target.clone())
    }

    /// Reads back what [`CacheKey::as_str`] gave.
    ///
    /// # Errors
    /// [`TargetError`] when the text is not a target URI in canonical form.
    pub fn from_stored(text: &str) -> Result<Self, TargetError> {
        let target = TargetUri::parse(text.as_bytes())?;
        if target.as_str() == text { Ok(Self(target)) } else { Err(TargetError::NotCanonical) }
    }

    /// The canonical target URI.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The target this key is for.
    pub const fn target(&self) -> &TargetUri {
        &self.0
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
    fn only_the_canonical_text_is_read_back() {
        let key = CacheKey::from_stored("http://h/a?b").unwrap();
        assert_eq!(key.target().path(), "/a");
        for text in ["http://h", "http://H/", "http://h:80/", "h", ""] {
            assert!(CacheKey::from_stored(text).is_err(), "{text}");
        }
    }
}
