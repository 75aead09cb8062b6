//! Overrides: what an operator sets beyond, or against, the origin's word.
//!
//! The first override that matches a response applies, whole, and no other: an override without any action
//! is therefore an exception from those after it. One that names content types takes no part in choosing the
//! key, which is needed before there is a response. Against a prohibition an override acts only where a flag
//! of its own says so in as many words; a package rule never does. It acts when a response is stored or
//! freshened: what is stored already keeps what it had.

mod pattern;
mod warning;

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;

pub(crate) use pattern::Globs;
pub use pattern::{ContentTypePattern, HostPattern, InvalidOverride, ParameterPattern, PathPattern};
pub use warning::{Danger, OverrideWarning};

use crate::fields::Fields;
use crate::freshness::{FreshnessLifetime, FreshnessSource};
use crate::key::CacheKey;
use crate::target::TargetUri;
use crate::time::DeltaSeconds;

/// Which part of the query does not count for the key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum IgnoreQuery {
    /// All of it counts (RFC 9111, 2).
    #[default]
    Nothing,
    /// None of it counts.
    All,
    /// Parameters with these names do not count.
    Named(Vec<ParameterPattern>),
}

/// What an override does. The default does nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Action {
    /// The freshness lifetime of a success or a redirection for which the origin names none; in place of a
    /// heuristic.
    pub fresh_for: Option<DeltaSeconds>,
    /// The least freshness lifetime of a success or a redirection, whatever the origin says.
    pub min_fresh: Option<DeltaSeconds>,
    /// The greatest freshness lifetime of any response, also of one under a package rule. Beats the two
    /// above.
    pub max_fresh: Option<DeltaSeconds>,
    /// In place of the origin's `stale-if-error` (RFC 5861, 4).
    pub stale_if_error: Option<DeltaSeconds>,
    /// In place of the origin's `stale-while-revalidate` (RFC 5861, 3).
    pub stale_while_revalidate: Option<DeltaSeconds>,
    /// What of the query does not count for the key.
    pub ignore_query: IgnoreQuery,
    /// Store nothing.
    pub never_store: bool,
    /// Store despite `no-store` in the response (RFC 9111, 5.2.2.5).
    pub ignore_no_store: bool,
    /// Store despite `private` (RFC 9111, 5.2.2.7).
    pub ignore_private: bool,
    /// Store responses to requests with Authorization, for everybody (RFC 9111, 3.5).
    pub ignore_authorization: bool,
    /// Reuse without validation despite `no-cache` in the response (RFC 9111, 5.2.2.4).
    pub ignore_no_cache: bool,
    /// Serve stale where that is otherwise allowed, despite `must-revalidate`, `proxy-revalidate` and
    /// `s-maxage` (RFC 9111, 4.2.4).
    pub ignore_must_revalidate: bool,
    /// Keep the response without its Set-Cookie.
    pub drop_set_cookie: bool,
    /// Answer a client's reload (`no-cache` or `max-age=0`) from the store (RFC 9111, 5.2.1).
    pub ignore_client_reload: bool,
}

impl Action {
    pub(crate) const NONE: Self = Self {
        fresh_for: None,
        min_fresh: None,
        max_fresh: None,
        stale_if_error: None,
        stale_while_revalidate: None,
        ignore_query: IgnoreQuery::Nothing,
        never_store: false,
        ignore_no_store: false,
        ignore_private: false,
        ignore_authorization: false,
        ignore_no_cache: false,
        ignore_must_revalidate: false,
        drop_set_cookie: false,
        ignore_client_reload: false,
    };

    /// The lifetime under this action, of a response that has `own` without it.
    pub(crate) fn lifetime(
        &self,
        status: StatusCode,
        own: (FreshnessSource, FreshnessLifetime),
    ) -> (FreshnessSource, FreshnessLifetime) {
        let mut current = own;
        let mut set_if = |wanted: Option<DeltaSeconds>, applies: fn(FreshnessSource, u64, u64) -> bool| {
            if let Some(wanted) = wanted.map(DeltaSeconds::as_millis)
                && applies(current.0, current.1.as_millis(), wanted)
            {
                current = (FreshnessSource::Override, FreshnessLifetime::from_millis(wanted));
            }
        };
        // An error is not to stay for as long as what it stands in for.
        if matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308) {
            set_if(self.fresh_for, |source, _, _| {
                matches!(source, FreshnessSource::Absent | FreshnessSource::Heuristic)
            });
            set_if(self.min_fresh, |_, lifetime, least| lifetime < least);
        }
        set_if(self.max_fresh, |_, lifetime, most| lifetime > most);
        current
    }
}

/// One override. A list of patterns matches when one of them does, or when it is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Override {
    /// The word for Cache-Status and the log: letters, digits, `-` and `_`.
    pub name: String,
    /// Whose responses.
    pub hosts: Vec<HostPattern>,
    /// Which paths.
    pub paths: Vec<PathPattern>,
    /// Which content. A response without Content-Type matches only an empty list.
    pub content_types: Vec<ContentTypePattern>,
    /// What is done with them.
    pub action: Action,
}

impl Override {
    fn matches_target(&self, target: &TargetUri) -> bool {
        let any_host = self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(target.host()));
        any_host && (self.paths.is_empty() || self.paths.iter().any(|path| path.matches(target.path())))
    }

    fn matches_content(&self, response: &Fields) -> bool {
        self.content_types.is_empty()
            || response
                .first("content-type")
                .is_some_and(|value| self.content_types.iter().any(|pattern| pattern.matches(value)))
    }
}

/// An operator's overrides in their order. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overrides {
    list: Arc<[Override]>,
}

impl Overrides {
    /// Puts overrides in order.
    ///
    /// # Errors
    /// [`InvalidOverride`] when a name cannot stand in Cache-Status, or is there twice.
    pub fn new(list: Vec<Override>) -> Result<Self, InvalidOverride> {
        let mut names = HashSet::new();
        for Override { name, .. } in &list {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || name.len() > 64 || !name.bytes().all(word) {
                return Err(InvalidOverride::Name(name.clone()));
            }
            if !names.insert(name.as_str()) {
                return Err(InvalidOverride::Repeated(name.clone()));
            }
        }
        Ok(Self { list: list.into() })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Override> {
        self.list.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The key of a target: without the parameters that the first override for it ignores, among those that
    /// name no content types. Allocates only where something is ignored.
    pub fn key(&self, target: &TargetUri) -> CacheKey {
        let applies =
            |candidate: &&Override| candidate.content_types.is_empty() && candidate.matches_target(target);
        let reduced = self
            .list
            .iter()
            .find(applies)
            .and_then(|applied| reduced_query(target, &applied.action.ignore_query))
            .and_then(|path_and_query| {
                let authority = target.authority().as_bytes();
                TargetUri::from_parts(target.scheme(), authority, path_and_query.as_bytes()).ok()
            });
        CacheKey::of(reduced.as_ref().unwrap_or(target))
    }

    /// The override that applies to a response; its name is the `override:NAME` of Cache-Status.
    ///
    /// The same for a received and for a stored response, and for a target with or without the parameters
    /// that the key ignores.
    pub fn for_response(&self, target: &TargetUri, response: &Fields) -> Option<&Override> {
        self.list
            .iter()
            .find(|candidate| candidate.matches_target(target) && candidate.matches_content(response))
    }

    /// What an operator should know before using them, for `larder check`.
    pub fn warnings(&self) -> Vec<OverrideWarning> {
        warning::warnings(&self.list)
    }
}

/// Path and query without what is ignored; `None` when that is nothing.
fn reduced_query(target: &TargetUri, ignored: &IgnoreQuery) -> Option<String> {
    let query = target.query()?;
    let patterns = match ignored {
        IgnoreQuery::Nothing => return None,
        IgnoreQuery::All => return Some(target.path().to_owned()),
        IgnoreQuery::Named(patterns) => patterns,
    };
    let counts = |parameter: &&str| {
        let name = parameter.split_once('=').map_or(*parameter, |(name, _)| name);
        !patterns.iter().any(|pattern| pattern.matches(name))
    };
    if query.split('&').all(|parameter| counts(&parameter)) {
        return None;
    }
    let mut reduced = target.path().to_owned();
    for (index, parameter) in query.split('&').filter(counts).enumerate() {
        reduced.push(if index == 0 { '?' } else { '&' });
        reduced.push_str(parameter);
    }
    Some(reduced)
}
