//! The cache key: what a stored response is filed under.
//!
//! The key is the target URI with its query (RFC 9111, 2 and 4). The method takes no part in it: only GET,
//! HEAD and the one kind of POST that answers a later GET are ever stored, and they share a key. Which of the
//! responses under one key fits a request is decided by the fields that Vary nominates, not here. No two
//! targets share a key, because a canonical URI has one reading: neither scheme, host nor port can hold a
//! slash. Nor do two listeners whose requests are answered by different origins. A target of which a signature
//! is left out carries a mark that no target can hold, and shares nothing with the same target asked for as such.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::target::{TargetError, TargetUri};

/// The key of everything stored for one target URI. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    target: TargetUri,
    /// The whole text, where it is more than the target: the origin and a space before it, the mark after it.
    text: Option<Arc<str>>,
}

/// Says that a signature is left out. No target holds a fragment.
const SIGNED: &str = "#signed";

impl CacheKey {
    /// The key of a target that is asked of whoever its authority names: a forward proxy's.
    pub fn of(target: &TargetUri) -> Self {
        Self { target: target.clone(), text: None }
    }

    /// The key of a target that is asked of `origin` whatever its authority says: a reverse proxy's. It shares nothing with what a
    /// forward proxy, or another origin's listener, keeps for the same target, since others answer there.
    pub fn behind(origin: &TargetUri, target: &TargetUri) -> Self {
        Self::of(target).asked_of(origin)
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
        let (uri, signed) = uri.strip_suffix(SIGNED).map_or((uri, false), |uri| (uri, true));
        let target = TargetUri::parse(uri.as_bytes())?;
        let key = Self::compose(None, &target, signed);
        let key = match origin {
            Some(origin) => key.asked_of(&origin),
            None => key,
        };
        if key.as_str() == text { Ok(key) } else { Err(TargetError::NotCanonical) }
    }

    /// The canonical target URI, behind a reverse proxy with the origin and a space before it, and with `#signed` after it
    /// where a signature is left out.
    pub fn as_str(&self) -> &str {
        self.text.as_deref().unwrap_or_else(|| self.target.as_str())
    }

    /// The key of what signed URLs of the same listener lead to that are `target` but for their signatures.
    #[must_use]
    pub fn signed(&self, target: &TargetUri) -> Self {
        Self::compose(self.origin(), target, true)
    }

    /// The key of the same, asked of `origin`; see [`CacheKey::behind`].
    #[must_use]
    pub fn asked_of(&self, origin: &TargetUri) -> Self {
        let origin = format!("{}://{}", origin.scheme().as_str(), origin.authority());
        Self::compose(Some(&origin), &self.target, self.leaves_out_signature())
    }

    /// The key of the same, at the listener of another key.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        Self::compose(other.origin(), &self.target, self.leaves_out_signature())
    }

    /// Whether it says less than the targets of its requests: the signature is missing.
    pub fn leaves_out_signature(&self) -> bool {
        self.text.as_deref().is_some_and(|text| text.ends_with(SIGNED))
    }

    fn origin(&self) -> Option<&str> {
        self.text.as_deref().and_then(|text| text.split_once(' ')).map(|(origin, _)| origin)
    }

    fn compose(origin: Option<&str>, target: &TargetUri, signed: bool) -> Self {
        let mark = if signed { SIGNED } else { "" };
        let text = match origin {
            Some(origin) => Some(format!("{origin} {target}{mark}").into()),
            None if signed => Some(format!("{target}{mark}").into()),
            None => None,
        };
        Self { target: target.clone(), text }
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
            CacheKey::of(&uri("http://www.example/q")).beside(&key),
            CacheKey::behind(&one, &uri("http://www.example/q"))
        );
        assert_eq!(CacheKey::of(&one).beside(&CacheKey::of(&target)), CacheKey::of(&one));
    }

    #[test]
    fn what_signed_urls_lead_to_is_no_targets() {
        let uri = |text: &str| TargetUri::parse(text.as_bytes()).unwrap();
        let (target, origin) = (uri("http://h/a?"), uri("http://127.0.0.1:8080/"));
        let key = CacheKey::of(&target).signed(&target);
        assert_eq!(key.as_str(), "http://h/a?#signed");
        assert!(TargetUri::parse(key.as_str().as_bytes()).is_err(), "nobody can ask for it");
        assert!(TargetUri::from_parts(target.scheme(), b"h", b"/a?#signed").is_err());
        assert_ne!(key, CacheKey::of(&target));
        let behind = key.asked_of(&origin);
        assert_eq!(behind.as_str(), "http://127.0.0.1:8080 http://h/a?#signed");
        for key in [&key, &behind] {
            assert!(key.leaves_out_signature());
            assert_eq!((key.target(), CacheKey::from_stored(key.as_str()).as_ref()), (&target, Ok(key)));
        }
        assert_eq!((key.beside(&behind), behind.beside(&key)), (behind.clone(), key.clone()));
        assert_eq!(CacheKey::of(&target).beside(&behind), CacheKey::behind(&origin, &target));
        assert!(!CacheKey::behind(&origin, &target).leaves_out_signature());
    }

    #[test]
    fn only_the_canonical_text_is_read_back() {
        let key = CacheKey::from_stored("http://h/a?b").unwrap();
        assert_eq!(key.target().path(), "/a");
        for text in [
            "http://h",
            "http://H/",
            "http://h:80/",
            "http://h#signed",
            "http://h/#signed#signed",
            "http://h/#",
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
