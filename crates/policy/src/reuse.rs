//! The decision for a request: which stored response may answer it, and how (RFC 9111, 4).
//!
//! Decides only; performs nothing. On a hit it parses no stored text and allocates nothing. Every decision
//! carries its reason, in the words of RFC 9211 where that has one.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use crate::age::CurrentAge;
use crate::cache_control::Directive;
use crate::cause::Cause;
use crate::fields::Fields;
use crate::freshness::FreshnessSource;
use crate::packages::{self, RuleId};
use crate::parts::{Held, Part, PartPlan, part_plan};
use crate::request::{MethodClass, RequestFacts};
use crate::runs::Runs;
use crate::settings::PolicySettings;
use crate::stored::StoredResponse;
use crate::time::{DeltaSeconds, Timestamp};
use crate::validation::Conditions;
use crate::vary::Fit;

/// What to do for a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Answer with the selected response.
    Serve {
        /// For the Age field.
        age: CurrentAge,
    },
    /// Answer with the selected response although it is stale.
    ServeStale {
        /// For the Age field.
        age: CurrentAge,
        /// Why that is allowed, and whether to refresh it meanwhile.
        why: StaleReason,
    },
    /// Ask the origin whether the selected response still holds.
    Validate {
        /// What to ask with.
        conditions: Conditions,
        /// Why it may not answer as it is.
        why: ForwardReason,
    },
    /// Ask the origin.
    Forward {
        /// Why nothing stored can answer.
        why: ForwardReason,
    },
    /// `only-if-cached`, and nothing stored can answer: 504 (RFC 9111, 5.2.1.7).
    GatewayTimeout,
}

/// Why a stale response may answer (RFC 9111, 4.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StaleReason {
    /// `stale-while-revalidate`: refresh it in the background (RFC 5861, 3). Whatever the origin then answers
    /// takes its place: if that may not be stored, the stale response is to be removed.
    WhileRevalidate,
    /// The client's `max-stale` (RFC 9111, 5.2.1.2).
    MaxStale,
    /// The origin failed; see [`stale_on_error`].
    OriginFailure,
    /// No origin is to be asked; see [`reuse_offline`].
    Offline,
}

impl StaleReason {
    /// The word for the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WhileRevalidate => "stale-while-revalidate",
            Self::MaxStale => "max-stale",
            Self::OriginFailure => "stale-if-error",
            Self::Offline => "offline",
        }
    }

    /// Whether serving it calls for a validation in the background.
    pub const fn wants_refresh(self) -> bool {
        matches!(self, Self::WhileRevalidate)
    }
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request goes to the origin. Prints as the value of `fwd` in Cache-Status (RFC 9211, 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ForwardReason {
    /// Caching was not tried.
    Bypass,
    /// The method is answered by the origin.
    Method,
    /// Nothing is stored for the target.
    UriMiss,
    /// What is stored for the target answers other requests.
    VaryMiss,
    /// The request does not allow what is stored.
    Request,
    /// The stored response is stale, or must be validated before every use.
    Stale,
    /// Only parts of what was asked for are stored.
    Partial,
}

impl ForwardReason {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl fmt::Display for ForwardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A decision, and the stored response it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selected {
    /// Which of the candidates was selected; `None` when none was, or none was looked at.
    pub index: Option<usize>,
    /// What to do.
    pub decision: Decision,
}

/// A stored response that may answer.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The response.
    pub response: &'a StoredResponse,
    /// Which bytes are here, if it is a part that can grow.
    pub runs: Option<Arc<Runs>>,
}

impl<'a> From<&'a StoredResponse> for Candidate<'a> {
    fn from(response: &'a StoredResponse) -> Self {
        Self { response, runs: None }
    }
}

impl Candidate<'_> {
    /// Whether a part answers a request, if its body is as long as announced.
    fn serves(self, facts: &RequestFacts, request: &Fields, part: Part) -> bool {
        let held = self.runs.map_or(Held::Body(part.len()), Held::Runs);
        !matches!(part_plan(facts, request, self.response, &held), PartPlan::Missing)
    }
}

/// Decides for a request. `candidates` are all responses stored under its key, in any order.
///
/// Of those whose nominated fields match, the one with the most recent Date is selected (RFC 9111, 4); one
/// that matches exactly goes before one that is merely in the preferred language.
///
/// A part counts only for a request that it holds all of, as announced: of a part and a complete response
/// that could both answer, the more recent one does, and the complete one if they are of one time. Where the
/// selected response is a part, [`part_plan`](crate::part_plan) says which bytes; if it says that they are
/// missing after all, since the body is shorter, the request goes to the origin as
/// [`ForwardReason::Partial`]. The same reason with an index means that this part may be completed, see
/// [`missing_for`](crate::missing_for).
pub fn reuse<'a>(
    facts: &RequestFacts,
    request: &Fields,
    candidates: impl IntoIterator<Item: Into<Candidate<'a>>>,
    now: Timestamp,
) -> Selected {
    reuse_and_why(facts, request, candidates, now).0
}

/// Decides for a request while no origin is to be asked: what [`reuse`] would have validated answers as it is, and what it
/// would have forwarded is missing.
///
/// Whoever takes a proxy offline says that any answer that once was right is better than none. That overrules the
/// response's `no-cache` and `must-revalidate`, which forbid it (RFC 9111, 5.2.2.2 and 5.2.2.4), and the request's
/// `no-cache`, `max-age` and `min-fresh`. It does not overrule Vary, nor the request's `no-store`.
pub fn reuse_offline<'a>(
    facts: &RequestFacts,
    request: &Fields,
    candidates: &[Candidate<'a>],
    now: Timestamp,
) -> Selected {
    let selected = reuse(facts, request, candidates.iter().cloned(), now);
    let stale = |index: usize| {
        let stored = candidates.get(index)?.response;
        Some(Decision::ServeStale { age: stored.current_age(now), why: StaleReason::Offline })
    };
    let decision = match selected {
        Selected { decision: decision @ Decision::Serve { .. }, .. } => decision,
        // A part that does not hold all that is asked for cannot be completed.
        Selected { decision: Decision::Forward { why: ForwardReason::Partial }, .. } => {
            Decision::GatewayTimeout
        }
        Selected { index, .. } => index.and_then(stale).unwrap_or(Decision::GatewayTimeout),
    };
    Selected { index: selected.index, decision }
}

/// [`reuse`], and the rule that settled it.
#[inline]
pub(crate) fn reuse_and_why<'a>(
    facts: &RequestFacts,
    request: &Fields,
    candidates: impl IntoIterator<Item: Into<Candidate<'a>>>,
    now: Timestamp,
) -> (Selected, Cause) {
    let nothing = |cause| (Selected { index: None, decision: forward(facts, cause) }, cause);
    if let Some(cause) = needs_origin(facts) {
        return nothing(cause);
    }
    let (mut whole, mut serving, mut other) = (None, None, None);
    let mut any = false;
    for (index, candidate) in candidates.into_iter().enumerate() {
        any = true;
        let candidate: Candidate<'a> = candidate.into();
        let stored = candidate.response;
        let Some(fit) = stored.nominated().fit(request) else { continue };
        let best = match stored.facts().part {
            None => &mut whole,
            Some(part) if candidate.serves(facts, request, part) => &mut serving,
            Some(_) => &mut other,
        };
        let ranked = Ranked { rank: (fit, stored.date(), stored.response_time()), index, stored };
        if best.as_ref().is_none_or(|best: &Ranked<'_>| ranked.rank > best.rank) {
            *best = Some(ranked);
        }
    }
    match (whole, serving, other) {
        (Some(whole), None, _) => whole.selected(facts, now),
        (None, Some(part), _) => part.selected(facts, now),
        (Some(whole), Some(part), _) => {
            let (of_part, of_whole) = (part.selected(facts, now), whole.selected(facts, now));
            let serves =
                |(selected, _): &(Selected, Cause)| matches!(selected.decision, Decision::Serve { .. });
            let newer = (part.rank.0, part.rank.1) > (whole.rank.0, whole.rank.1);
            if serves(&of_part) && (newer || !serves(&of_whole)) { of_part } else { of_whole }
        }
        (None, None, Some(part)) => {
            let decision = forward(facts, Cause::PartMissing);
            (Selected { index: Some(part.index), decision }, Cause::PartMissing)
        }
        (None, None, None) => nothing(if any { Cause::NoVariant } else { Cause::NothingStored }),
    }
}

/// A stored response whose nominated fields match.
struct Ranked<'a> {
    rank: (Fit, Timestamp, Timestamp),
    index: usize,
    stored: &'a StoredResponse,
}

impl Ranked<'_> {
    fn selected(&self, facts: &RequestFacts, now: Timestamp) -> (Selected, Cause) {
        let (decision, cause) = decide(facts, self.stored, now);
        (Selected { index: Some(self.index), decision }, cause)
    }
}

/// Requests that no stored response can answer, whatever is stored.
const fn needs_origin(facts: &RequestFacts) -> Option<Cause> {
    if !facts.method.is_answerable() {
        Some(Cause::Method)
    } else if facts.has_body {
        Some(Cause::RequestBody)
    } else if facts.directives.no_store {
        Some(Cause::RequestNoStore)
    } else if facts.has_origin_condition {
        // If-Match and If-Unmodified-Since are for the origin to judge (RFC 9111, 4.3.2).
        Some(Cause::OriginCondition)
    } else {
        None
    }
}

fn decide(facts: &RequestFacts, stored: &StoredResponse, now: Timestamp) -> (Decision, Cause) {
    let directives = &facts.directives;
    let stored_facts = stored.facts();
    let age = stored.current_age(now);
    if stored_facts.no_cache {
        return validate(facts, stored, Cause::ResponseNoCache);
    }
    if directives.no_cache && !stored_facts.ignore_reload {
        return validate(facts, stored, Cause::RequestNoCache);
    }
    // What cannot change is as good as new: only no-cache asks the origin about it.
    let settled =
        stored_facts.source == FreshnessSource::Package && stored_facts.rule.is_some_and(RuleId::is_artefact);
    let ignored =
        stored_facts.ignore_reload && directives.max_age == Directive::Value(DeltaSeconds::default());
    if !settled && !ignored && is_too_old(directives.max_age, age) {
        return validate(facts, stored, Cause::RequestMaxAge);
    }
    let lifetime = stored_facts.lifetime.as_millis();
    if stored.is_fresh(now) {
        let left = lifetime - age.as_millis();
        return match directives.min_fresh {
            Directive::Value(wanted) if !settled && left < wanted.as_millis() => {
                validate(facts, stored, Cause::RequestMinFresh)
            }
            _ => (Decision::Serve { age }, Cause::Fresh),
        };
    }
    let may_be_stale =
        !stored_facts.never_stale && !directives.min_fresh.is_present() && !stored.is_from_the_future(now);
    if may_be_stale {
        let staleness = age.as_millis().saturating_sub(lifetime);
        // RFC 5861, 3. Before max-stale, since it also gets the response refreshed.
        if stored_facts.stale_while_revalidate.is_some_and(|grace| staleness < grace.as_millis()) {
            return (Decision::ServeStale { age, why: StaleReason::WhileRevalidate }, Cause::WhileRevalidate);
        }
        let tolerated = match directives.max_stale {
            Directive::Value(None) => true,
            Directive::Value(Some(limit)) => staleness <= limit.as_millis(),
            Directive::Absent | Directive::Invalid => false,
        };
        if tolerated {
            return (Decision::ServeStale { age, why: StaleReason::MaxStale }, Cause::MaxStale);
        }
    }
    let cause = if stored.is_from_the_future(now) {
        Cause::ClockStepped
    } else if stored_facts.never_stale {
        Cause::MustRevalidate
    } else {
        Cause::Stale
    };
    validate(facts, stored, cause)
}

/// The client's `max-age` (RFC 9111, 5.2.1.1), in the whole seconds that it sees in Age. Zero always means
/// "ask", also within the first second, and so does a value that cannot be read.
fn is_too_old(max_age: Directive<DeltaSeconds>, age: CurrentAge) -> bool {
    match max_age {
        Directive::Absent => false,
        Directive::Invalid => true,
        Directive::Value(limit) => limit.as_secs() == 0 || age.as_secs() > limit.as_secs(),
    }
}

fn validate(facts: &RequestFacts, stored: &StoredResponse, cause: Cause) -> (Decision, Cause) {
    let why = cause.forward_reason();
    let decision = match Conditions::of(stored) {
        _ if facts.directives.only_if_cached => Decision::GatewayTimeout,
        Some(conditions) => Decision::Validate { conditions, why },
        None => Decision::Forward { why },
    };
    (decision, cause)
}

const fn forward(facts: &RequestFacts, cause: Cause) -> Decision {
    if facts.directives.only_if_cached {
        Decision::GatewayTimeout
    } else {
        Decision::Forward { why: cause.forward_reason() }
    }
}

/// How an origin failed a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OriginFailure {
    /// No final response: refused, reset, silent for too long, or not understood.
    Unreachable,
    /// A final response with this status.
    Status(StatusCode),
}

/// Whether the selected response may answer after the origin has failed (RFC 9111, 4.2.4; RFC 5861, 4), and
/// with which age.
///
/// Never when it needs validation before every use, or once stale and is; nor when the client asked for
/// validation with `no-cache`. A 500, 502, 503 or 504 is passed on unless `stale-if-error` covers it, or the
/// response is an index that a package rule knows: to its clients a registry that answers so is as good as away.
pub fn stale_on_error(
    settings: &PolicySettings,
    facts: &RequestFacts,
    stored: &StoredResponse,
    failure: OriginFailure,
    now: Timestamp,
) -> Option<CurrentAge> {
    let stored_facts = stored.facts();
    let fresh = stored.is_fresh(now);
    if needs_origin(facts).is_some()
        || facts.directives.no_cache && !stored_facts.ignore_reload
        || stored_facts.no_cache
        || stored_facts.never_stale && !fresh
        // A part never answers for the whole.
        || stored_facts.part.is_some() && !(facts.has_range && facts.method == MethodClass::Get)
    {
        return None;
    }
    let age = stored.current_age(now);
    let staleness = age.as_millis().saturating_sub(stored_facts.lifetime.as_millis());
    let within = |grace: DeltaSeconds| fresh || staleness < grace.as_millis();
    let granted = stored_facts.stale_if_error.is_some_and(within)
        || facts.directives.stale_if_error.value().is_some_and(within);
    let limit = settings.serve_stale_on_error;
    let within_limit = || limit.is_none_or(|limit| u128::from(staleness) < limit.as_millis());
    let index = stored_facts.rule.is_some_and(|rule| !rule.is_artefact());
    let allowed = match failure {
        OriginFailure::Status(status) => {
            let by_rule = || index && within(packages::INDEX_STALE_IF_ERROR) && (fresh || within_limit());
            matches!(status.as_u16(), 500 | 502 | 503 | 504) && (granted || by_rule())
        }
        OriginFailure::Unreachable => granted || fresh || within_limit(),
    };
    allowed.then_some(age)
}
