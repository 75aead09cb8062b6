//! What is dangerous about a set of overrides, or cannot work.

use std::fmt;

use super::{Action, IgnoreQuery, Override};

/// A warning about one override.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OverrideWarning {
    /// The override's name.
    pub name: String,
    /// What is wrong with it.
    pub danger: Danger,
}

impl fmt::Display for OverrideWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "override {:?}: {}", self.name, self.danger)
    }
}

/// What is dangerous about an override, or has no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Danger {
    /// `ignore_no_store`
    NoStore,
    /// `ignore_private`
    Private,
    /// `ignore_authorization`
    Authorization,
    /// `ignore_no_cache`
    NoCache,
    /// `ignore_must_revalidate`
    MustRevalidate,
    /// `min_fresh`
    MinFresh,
    /// `ignore_query` of everything.
    WholeQuery,
    /// A prohibition is ignored for every host.
    EveryHost,
    /// `max_fresh` is less than `min_fresh` or `fresh_for`.
    Contradiction,
    /// `ignore_query` beside content types, which the key cannot know.
    QueryByContentType,
    /// `never_store` beside actions on what is stored.
    NothingStored,
    /// This earlier override matches all that this one does.
    Shadowed(String),
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoStore => "ignore_no_store keeps on disk what the origin forbids to keep",
            Self::Private => "ignore_private gives every client what is meant for one",
            Self::Authorization => {
                "ignore_authorization gives what one client's credentials opened to clients without any"
            }
            Self::NoCache => "ignore_no_cache serves without asking what the origin wants to be asked about",
            Self::MustRevalidate => {
                "ignore_must_revalidate serves stale what the origin says does harm when stale"
            }
            Self::MinFresh => "min_fresh keeps serving what the origin has changed",
            Self::WholeQuery => "ignore_query gives one answer to all queries, also to searches and pages",
            Self::EveryHost => "it ignores prohibitions of every host; name the hosts",
            Self::Contradiction => "max_fresh is less than min_fresh or fresh_for, and wins",
            Self::QueryByContentType => {
                "ignore_query has no effect beside content_types: the key is needed before the response"
            }
            Self::NothingStored => "never_store leaves its other actions without effect",
            Self::Shadowed(earlier) => {
                return write!(f, "it never applies: {earlier:?} before it matches all that it does");
            }
        })
    }
}

pub(super) fn warnings(list: &[Override]) -> Vec<OverrideWarning> {
    let mut warnings = Vec::new();
    for (index, current) in list.iter().enumerate() {
        let mut warn = |danger| warnings.push(OverrideWarning { name: current.name.clone(), danger });
        if let Some(earlier) = list.iter().take(index).find(|earlier| covers(earlier, current)) {
            warn(Danger::Shadowed(earlier.name.clone()));
        }
        let action = &current.action;
        if action.never_store {
            let rest = Action { never_store: false, ignore_query: IgnoreQuery::Nothing, ..action.clone() };
            if rest != Action::NONE {
                warn(Danger::NothingStored);
            }
            continue;
        }
        for (set, danger) in [
            (action.ignore_no_store, Danger::NoStore),
            (action.ignore_private, Danger::Private),
            (action.ignore_authorization, Danger::Authorization),
            (action.ignore_no_cache, Danger::NoCache),
            (action.ignore_must_revalidate, Danger::MustRevalidate),
            (action.min_fresh.is_some(), Danger::MinFresh),
        ] {
            if set {
                warn(danger);
            }
        }
        let ignores = action.ignore_no_store
            || action.ignore_private
            || action.ignore_authorization
            || action.ignore_no_cache
            || action.ignore_must_revalidate;
        if ignores && current.hosts.is_empty() {
            warn(Danger::EveryHost);
        }
        let wanted = action.min_fresh.max(action.fresh_for);
        if action.max_fresh.is_some_and(|most| wanted.is_some_and(|wanted| most < wanted)) {
            warn(Danger::Contradiction);
        }
        if action.ignore_query != IgnoreQuery::Nothing && !current.content_types.is_empty() {
            warn(Danger::QueryByContentType);
        } else if action.ignore_query == IgnoreQuery::All {
            warn(Danger::WholeQuery);
        }
    }
    warnings
}

/// Whether `earlier` surely matches all that `later` does.
fn covers(earlier: &Override, later: &Override) -> bool {
    fn all<T>(earlier: &[T], later: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
        earlier.is_empty()
            || !later.is_empty()
                && later.iter().all(|later| earlier.iter().any(|earlier| covers(earlier, later)))
    }
    all(&earlier.hosts, &later.hosts, |one, two| one.covers(two))
        && all(&earlier.paths, &later.paths, |one, two| one.covers(two))
        && all(&earlier.content_types, &later.content_types, |one, two| one.covers(two))
}
