//! Validators: entity tags, and how they compare (RFC 9110, 8.8).
//!
//! Origins send tags that break the grammar. Such a tag is kept and sent back byte for byte, and equals only
//! the very same bytes.

use crate::fields::trim_ows;

/// An entity tag as it stands in a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EntityTag<'a>(&'a [u8]);

impl<'a> EntityTag<'a> {
    /// The tag that a value of ETag holds; `None` when it is empty.
    pub(crate) fn new(value: &'a [u8]) -> Option<Self> {
        let value = trim_ows(value);
        (!value.is_empty()).then_some(Self(value))
    }

    /// The tag as it stands in the field.
    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The tag with its quotes, without the weakness prefix; `None` for a malformed one.
    fn opaque(self) -> Option<&'a [u8]> {
        let opaque = self.0.strip_prefix(b"W/").unwrap_or(self.0);
        match opaque {
            [b'"', inside @ .., b'"'] if !inside.contains(&b'"') => Some(opaque),
            _ => None,
        }
    }

    /// Whether it is well formed and not weak.
    pub(crate) fn is_strong(self) -> bool {
        self.0.starts_with(b"\"") && self.opaque().is_some()
    }

    /// Weak comparison (RFC 9110, 8.8.3.2).
    pub(crate) fn weakly_equals(self, other: Self) -> bool {
        match (self.opaque(), other.opaque()) {
            (Some(one), Some(two)) => one == two,
            _ => self.0 == other.0,
        }
    }

    /// Strong comparison (RFC 9110, 8.8.3.2).
    pub(crate) fn strongly_equals(self, other: Self) -> bool {
        self.is_strong() && self.0 == other.0
    }
}

/// The entity tags of one line of If-None-Match (RFC 9110, 13.1.2).
///
/// The list is not split as other lists are: a backslash in a tag escapes nothing.
pub(crate) fn entity_tags(line: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let opening = match rest {
            [b'"', ..] => Some(1),
            [b'W', b'/', b'"', ..] => Some(3),
            _ => None,
        };
        let closing = opening.and_then(|start| {
            let inside = rest.get(start..)?;
            Some(start + inside.iter().position(|byte| *byte == b'"')? + 1)
        });
        let from = closing.unwrap_or(0);
        let to =
            rest.iter().skip(from).position(|byte| *byte == b',').map_or(rest.len(), |comma| from + comma);
        let (tag, after) = rest.split_at_checked(to)?;
        rest = after;
        EntityTag::new(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(line: &str) -> Vec<String> {
        entity_tags(line.as_bytes()).map(|tag| String::from_utf8_lossy(tag.0).into_owned()).collect()
    }

    fn weakly(one: &str, two: &str) -> bool {
        EntityTag::new(one.as_bytes()).unwrap().weakly_equals(EntityTag::new(two.as_bytes()).unwrap())
    }

    #[test]
    fn lists_of_entity_tags() {
        assert_eq!(tags(r#""a", W/"b" ,"c,d","#), [r#""a""#, r#"W/"b""#, r#""c,d""#]);
        assert_eq!(tags(r#""a\", "b""#), [r#""a\""#, r#""b""#]);
        assert_eq!(tags(r#"a, w/"b", W/c, "d"#), ["a", r#"w/"b""#, "W/c", "\"d"]);
        assert_eq!(tags(r#""a"x, "b""#), [r#""a"x"#, r#""b""#]);
        assert_eq!(tags(" ,, "), Vec::<String>::new());
    }

    #[test]
    fn weak_comparison_ignores_the_prefix() {
        assert!(weakly(r#"W/"1""#, r#""1""#) && weakly(r#"W/"1""#, r#"W/"1""#) && weakly(r#""1""#, r#""1""#));
        assert!(!weakly(r#"W/"1""#, r#"W/"2""#));
    }

    #[test]
    fn malformed_tags_equal_only_the_same_bytes() {
        assert!(weakly("a", "a") && weakly("w/\"a\"", "w/\"a\""));
        for (one, two) in
            [("a", "\"a\""), ("w/\"a\"", "\"a\""), ("W/a", "a"), ("\"a", "\"a\""), ("W\\\"a\"", "\"a\"")]
        {
            assert!(!weakly(one, two), "{one} {two}");
        }
    }

    #[test]
    fn strong_comparison_needs_two_strong_tags() {
        let strongly = |one: &'static str, two: &'static str| {
            EntityTag::new(one.as_bytes()).unwrap().strongly_equals(EntityTag::new(two.as_bytes()).unwrap())
        };
        assert!(strongly("\"1\"", "\"1\""));
        assert!(!strongly("W/\"1\"", "W/\"1\"") && !strongly("\"1\"", "W/\"1\"") && !strongly("1", "1"));
    }
}
