//! Which stored responses are meant: conditions on key, head and size, all of which must hold.
//!
//! It reads no clock and no disk. What is cheap to judge is judged first, so that most metadata is never decoded.

use larder_policy::{
    CacheKey, Fields, HostPattern, StoredResponse, TargetUri, Timestamp, UrlPattern, list_members,
};

/// Response fields that carry tags, each with how its members are split.
const TAG_FIELDS: [(&str, Split); 3] =
    [("cache-tag", Split::Commas), ("surrogate-key", Split::Spaces), ("xkey", Split::Spaces)];

#[derive(Clone, Copy)]
enum Split {
    Commas,
    Spaces,
}

/// Which stored responses are meant. Every condition that is set must hold; the default has none and means everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Under one of these keys. They are looked up, and nothing else is read.
    pub keys: Option<Vec<CacheKey>>,
    /// For this target, whichever origin answered.
    pub target: Option<TargetUri>,
    /// For this host, or a host below it, whatever the port and scheme.
    pub host: Option<HostPattern>,
    /// For targets like this.
    pub url: Option<UrlPattern>,
    /// Carrying this tag in `Cache-Tag` (commas), `Surrogate-Key` or `xkey` (spaces).
    pub tag: Option<String>,
    /// Received from the origin, or last validated there, at this time or before.
    pub until: Option<Timestamp>,
    /// Received from the origin, or last validated there, after this time.
    pub since: Option<Timestamp>,
    /// With a body of so many bytes or more.
    pub at_least_bytes: Option<u64>,
    /// With a body of fewer bytes.
    pub below_bytes: Option<u64>,
}

impl Filter {
    /// Whether no condition is set.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a response is meant. `response` is asked for only where key and length do not settle it; what cannot be
    /// read has neither tags nor times.
    pub(crate) fn matches<'r>(
        &self,
        key: &CacheKey,
        body_len: u64,
        response: impl FnOnce() -> Option<&'r StoredResponse>,
    ) -> bool {
        let target = key.target();
        fn holds<T>(wanted: &Option<T>, judge: impl FnOnce(&T) -> bool) -> bool {
            wanted.as_ref().is_none_or(judge)
        }
        let named = holds(&self.keys, |keys| keys.contains(key))
            && holds(&self.target, |wanted| target == wanted)
            && holds(&self.at_least_bytes, |least| body_len >= *least)
            && holds(&self.below_bytes, |bound| body_len < *bound)
            && holds(&self.host, |host| host.matches(target.host()))
            && holds(&self.url, |url| url.matches(target));
        if !named || !self.reads_heads() {
            return named;
        }
        response().is_some_and(|response| {
            holds(&self.until, |until| response.response_time() <= *until)
                && holds(&self.since, |since| response.response_time() > *since)
                && holds(&self.tag, |wanted| tags(response.fields()).any(|tag| tag == wanted.as_bytes()))
        })
    }

    const fn reads_heads(&self) -> bool {
        self.tag.is_some() || self.until.is_some() || self.since.is_some()
    }
}

/// The tags that a response carries, field by field.
pub(crate) fn tags(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    TAG_FIELDS.iter().flat_map(move |(name, split)| {
        let (listed, spaced) = match split {
            Split::Commas => (Some(list_members(fields.all(name))), None),
            Split::Spaces => {
                let members =
                    fields.all(name).flat_map(|line| line.split(|byte| matches!(byte, b' ' | b'\t')));
                (None, Some(members.filter(|member| !member.is_empty())))
            }
        };
        listed.into_iter().flatten().chain(spaced.into_iter().flatten())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::response_to;

    fn key(url: &str) -> CacheKey {
        CacheKey::of(&TargetUri::parse(url.as_bytes()).unwrap())
    }

    #[test]
    fn no_condition_means_everything_and_each_one_must_hold() {
        let response = response_to(&[], &[("Surrogate-Key", "red  blue")]);
        let received = response.response_time();
        let key = key("http://a.example/img/x.png?v=1");
        let host = |text| Some(HostPattern::parse(text).unwrap());
        let url = |text| Some(UrlPattern::parse(text).unwrap());
        let tag = |text: &str| Some(text.to_owned());
        let of = |millis: i64| Some(Timestamp::from_millis(received.as_millis() + millis));
        let all = Filter::default();
        for (filter, meant) in [
            (all.clone(), true),
            (Filter { keys: Some(vec![key.clone()]), ..all.clone() }, true),
            (Filter { keys: Some(Vec::new()), ..all.clone() }, false),
            (Filter { target: Some(key.target().clone()), ..all.clone() }, true),
            (Filter { host: host("a.example"), ..all.clone() }, true),
            (Filter { host: host("*.example"), ..all.clone() }, true),
            (Filter { host: host("*.a.example"), ..all.clone() }, false),
            (Filter { url: url("/img/*"), ..all.clone() }, true),
            (Filter { url: url("/*"), ..all.clone() }, false),
            (Filter { tag: tag("blue"), ..all.clone() }, true),
            (Filter { tag: tag(""), ..all.clone() }, false),
            (Filter { until: of(0), ..all.clone() }, true),
            (Filter { until: of(-1), ..all.clone() }, false),
            (Filter { since: of(0), ..all.clone() }, false),
            (Filter { since: of(-1), ..all.clone() }, true),
            (Filter { at_least_bytes: Some(100), ..all.clone() }, true),
            (Filter { at_least_bytes: Some(101), ..all.clone() }, false),
            (Filter { below_bytes: Some(100), ..all.clone() }, false),
            (Filter { below_bytes: Some(101), ..all.clone() }, true),
            (Filter { host: host("a.example"), tag: tag("blue"), ..all.clone() }, true),
            (Filter { host: host("b.example"), tag: tag("blue"), ..all.clone() }, false),
            (Filter { host: host("a.example"), tag: tag("green"), ..all.clone() }, false),
        ] {
            assert_eq!(filter.matches(&key, 100, || Some(&response)), meant, "{filter:?}");
            assert_eq!(filter.is_everything(), filter == all);
        }
    }

    #[test]
    fn a_head_that_cannot_be_read_has_a_key_but_neither_tags_nor_times() {
        let key = key("http://a.example/");
        assert!(Filter::default().matches(&key, 0, || None));
        let tagged = Filter { tag: Some("x".to_owned()), ..Filter::default() };
        assert!(!tagged.matches(&key, 0, || None));
        let old = Filter { until: Some(Timestamp::from_secs(i64::from(u32::MAX))), ..Filter::default() };
        assert!(!old.matches(&key, 0, || None));
    }

    #[test]
    fn tags_are_split_as_their_fields_are() {
        let response = response_to(
            &[],
            &[("Cache-Tag", "a b, c"), ("xkey", "d\te"), ("Surrogate-Key", "f"), ("xkey", "g")],
        );
        let found: Vec<_> = tags(response.fields()).collect();
        assert_eq!(found, [&b"a b"[..], b"c", b"f", b"d", b"e", b"g"]);
    }
}
