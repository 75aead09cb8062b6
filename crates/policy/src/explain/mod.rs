//! Why: what a person would want to know of a decision about reuse or storing.
//!
//! Plain data for a printer, worked out anew when somebody asks; no request pays for it. The decision in an
//! explanation is the one that [`reuse`](crate::reuse) or [`storability`](crate::storability) makes, by the
//! very same code.

mod advice;
mod storing;

use std::time::Duration;

use http::StatusCode;

pub use advice::Advice;
pub use storing::{StorabilityExplanation, explain_storability};

use crate::age::CurrentAge;
use crate::cache_control::{Directive, RequestDirectives};
use crate::cause::Cause;
use crate::fields::Fields;
use crate::freshness::FreshnessSource;
use crate::parts::Part;
use crate::request::RequestFacts;
use crate::reuse::{Candidate, Decision, reuse_and_why};
use crate::settings::PolicySettings;
use crate::stored::StoredResponse;
use crate::time::{DeltaSeconds, Timestamp};
use crate::vary::Fit;

/// Why a request is answered as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    /// All candidates, in their order.
    pub variants: Vec<VariantExplanation>,
    /// Which of them was selected.
    pub selected: Option<usize>,
    /// The arithmetic of the selected one.
    pub freshness: Option<FreshnessExplanation>,
    /// The request directives without which the decision would be another one.
    pub directives: Vec<DirectiveExplanation>,
    /// What is done.
    pub decision: Decision,
    /// The rule that settled it. Prints as a sentence, and knows its section.
    pub cause: Cause,
    /// What the origin could send to be asked less.
    pub advice: Vec<Advice>,
}

/// How a stored response compares with a request.
#[derive(Clone, PartialEq, Debug)]
pub struct VariantExplanation {
    /// The status.
    pub status: StatusCode,
    /// Date, or the time of receipt.
    pub date: Timestamp,
    /// Which bytes it holds, if not all.
    pub part: Option<Part>,
    /// Whether it is fresh.
    pub fresh: bool,
    /// Whether it may answer, as far as Vary goes.
    pub matches: VariantMatch,
    /// Each field that Vary nominates.
    pub fields: Vec<FieldExplanation>,
}

/// Whether a stored response answers a request, as far as Vary goes (RFC 9111, 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VariantMatch {
    /// All nominated fields match.
    Exact,
    /// Accept-Language differs, but the response is in the language that the request prefers.
    PreferredLanguage,
    /// A nominated field differs.
    Different,
}

/// One nominated field. Values are normalised, as they are compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldExplanation {
    /// The name in lower case.
    pub name: String,
    /// What the stored response answered.
    pub stored: Option<String>,
    /// What the request has.
    pub asked: Option<String>,
    /// Whether they are the same.
    pub matches: bool,
}

/// A request directive that changed the decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectiveExplanation {
    /// As it would be written: `max-age=0`.
    pub directive: String,
    /// The section that has it.
    pub section: &'static str,
}

/// How a current age comes about, and how it compares with the freshness lifetime (RFC 9111, 4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FreshnessExplanation {
    /// How long the response is fresh.
    pub lifetime: Duration,
    /// Where the lifetime comes from.
    pub source: FreshnessSource,
    /// Whether a targeted field gave the directives (RFC 9213).
    pub targeted: bool,
    /// Whether an operator's override had a say.
    pub overridden: bool,
    /// Date, or the time of receipt.
    pub date: Timestamp,
    /// When the head of the response came.
    pub response_time: Timestamp,
    /// How long before `response_time` Date was, in whole seconds.
    pub apparent_age: Duration,
    /// What Age said on arrival.
    pub age_value: AgeValue,
    /// How long the request took.
    pub response_delay: Duration,
    /// The greater of the apparent age, and the age value with the response delay.
    pub initial_age: Duration,
    /// How long it has been in the store.
    pub resident_time: Duration,
    /// The initial age and the resident time.
    pub current_age: CurrentAge,
    /// How long it stays fresh; zero when it is stale.
    pub remaining: Duration,
    /// How long it has been stale; zero when it is fresh.
    pub staleness: Duration,
}

/// The Age with which a response came. It is not kept as such.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgeValue {
    /// This.
    Exactly(Duration),
    /// No more than this: the apparent age decided.
    AtMost(Duration),
}

/// One line of the arithmetic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What is worked out, in the words of the RFC.
    pub what: &'static str,
    /// What it is.
    pub value: StepValue,
    /// The section that has it.
    pub section: &'static str,
}

/// The value of a [`Step`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepValue {
    /// A length of time.
    Duration(Duration),
    /// No more than this length of time.
    AtMost(Duration),
    /// An instant.
    Instant(Timestamp),
}

/// Explains what [`reuse`](crate::reuse) decides for a request, and why.
pub fn explain<'a, C>(
    settings: &PolicySettings,
    facts: &RequestFacts,
    request: &Fields,
    candidates: C,
    now: Timestamp,
) -> Explanation
where
    C: IntoIterator<Item: Into<Candidate<'a>>>,
{
    let available: Vec<Candidate<'a>> = candidates.into_iter().map(Into::into).collect();
    let candidates: Vec<&StoredResponse> = available.iter().map(|candidate| candidate.response).collect();
    let decide = |facts: &RequestFacts| reuse_and_why(facts, request, available.iter().cloned(), now);
    let (selected, cause) = decide(facts);
    let stored = selected.index.and_then(|index| candidates.get(index)).copied();
    let directives = sent(&facts.directives)
        .into_iter()
        .filter(|(_, without)| decide(&RequestFacts { directives: *without, ..*facts }).0 != selected)
        .map(|(explanation, _)| explanation)
        .collect();
    Explanation {
        variants: candidates.iter().map(|stored| VariantExplanation::of(stored, request, now)).collect(),
        selected: selected.index,
        freshness: stored.map(|stored| FreshnessExplanation::of(stored, now)),
        directives,
        decision: selected.decision,
        cause,
        advice: advice::of_reuse(settings, &candidates, stored, cause),
    }
}

impl VariantExplanation {
    fn of(stored: &StoredResponse, request: &Fields, now: Timestamp) -> Self {
        let nominated = stored.nominated();
        Self {
            status: stored.status(),
            date: stored.date(),
            part: stored.facts().part(),
            fresh: stored.is_fresh(now),
            matches: match nominated.fit(request) {
                Some(Fit::Exact) => VariantMatch::Exact,
                Some(Fit::Language) => VariantMatch::PreferredLanguage,
                None => VariantMatch::Different,
            },
            fields: nominated
                .compare(request)
                .into_iter()
                .map(|field| FieldExplanation {
                    name: field.name,
                    stored: field.stored,
                    asked: field.asked,
                    matches: field.matches,
                })
                .collect(),
        }
    }
}

impl FreshnessExplanation {
    pub(crate) fn of(stored: &StoredResponse, now: Timestamp) -> Self {
        let facts = stored.facts();
        let lifetime = facts.lifetime().as_duration();
        let apparent_age =
            Duration::from_secs(stored.response_time().saturating_since(stored.date()).as_secs());
        let response_delay = stored.response_time().saturating_since(stored.request_time());
        let initial_age = Duration::from_millis(facts.initial_age);
        let age = initial_age.saturating_sub(response_delay);
        let age_value =
            if initial_age > apparent_age { AgeValue::Exactly(age) } else { AgeValue::AtMost(age) };
        let current_age = stored.current_age(now);
        let fresh = stored.is_fresh(now);
        let apart = |more: Duration, less: Duration| more.saturating_sub(less);
        Self {
            lifetime,
            source: facts.source(),
            targeted: facts.is_targeted(),
            overridden: facts.is_overridden(),
            date: stored.date(),
            response_time: stored.response_time(),
            apparent_age,
            age_value,
            response_delay,
            initial_age,
            resident_time: now.saturating_since(stored.response_time()),
            current_age,
            remaining: if fresh { apart(lifetime, current_age.as_duration()) } else { Duration::ZERO },
            staleness: apart(current_age.as_duration(), lifetime),
        }
    }

    /// The section that gives the lifetime.
    pub const fn lifetime_section(&self) -> &'static str {
        match self.source {
            FreshnessSource::SMaxage | FreshnessSource::MaxAge if self.targeted => "RFC 9213, 2.2",
            source => source.section(),
        }
    }

    /// The arithmetic line by line, in the order in which a person would do it.
    pub fn steps(&self) -> Vec<Step> {
        let step = |what, value, section| Step { what, value, section };
        let age_value = match self.age_value {
            AgeValue::Exactly(age) => StepValue::Duration(age),
            AgeValue::AtMost(age) => StepValue::AtMost(age),
        };
        let duration = StepValue::Duration;
        vec![
            step("freshness lifetime", duration(self.lifetime), self.lifetime_section()),
            step("Date", StepValue::Instant(self.date), "RFC 9110, 6.6.1"),
            step("apparent age", duration(self.apparent_age), "RFC 9111, 4.2.3"),
            step("age value", age_value, "RFC 9111, 5.1"),
            step("response delay", duration(self.response_delay), "RFC 9111, 4.2.3"),
            step("corrected initial age", duration(self.initial_age), "RFC 9111, 4.2.3"),
            step("resident time", duration(self.resident_time), "RFC 9111, 4.2.3"),
            step("current age", duration(self.current_age.as_duration()), "RFC 9111, 4.2.3"),
            if self.remaining > Duration::ZERO {
                step("remaining", duration(self.remaining), "RFC 9111, 4.2")
            } else {
                step("stale for", duration(self.staleness), "RFC 9111, 4.2")
            },
        ]
    }
}

/// The directives that a request sent, each with what the others are without it.
fn sent(directives: &RequestDirectives) -> Vec<(DirectiveExplanation, RequestDirectives)> {
    fn text(name: &str, directive: Directive<DeltaSeconds>) -> Option<String> {
        match directive {
            Directive::Absent => None,
            Directive::Invalid => Some(format!("{name} (unreadable)")),
            Directive::Value(value) => Some(format!("{name}={}", value.as_secs())),
        }
    }
    let flag = |name: &str, set: bool| set.then(|| name.to_owned());
    let max_stale = match directives.max_stale {
        Directive::Value(None) => Some("max-stale".to_owned()),
        Directive::Value(Some(value)) => text("max-stale", Directive::Value(value)),
        Directive::Absent => None,
        Directive::Invalid => text("max-stale", Directive::Invalid),
    };
    let without = |change: fn(&mut RequestDirectives)| {
        let mut directives = *directives;
        change(&mut directives);
        directives
    };
    [
        (
            text("max-age", directives.max_age),
            "RFC 9111, 5.2.1.1",
            without(|directives| directives.max_age = Directive::Absent),
        ),
        (max_stale, "RFC 9111, 5.2.1.2", without(|directives| directives.max_stale = Directive::Absent)),
        (
            text("min-fresh", directives.min_fresh),
            "RFC 9111, 5.2.1.3",
            without(|directives| directives.min_fresh = Directive::Absent),
        ),
        (
            flag("no-cache", directives.no_cache),
            "RFC 9111, 5.2.1.4",
            without(|directives| directives.no_cache = false),
        ),
        (
            flag("no-store", directives.no_store),
            "RFC 9111, 5.2.1.5",
            without(|directives| directives.no_store = false),
        ),
        (
            flag("only-if-cached", directives.only_if_cached),
            "RFC 9111, 5.2.1.7",
            without(|directives| directives.only_if_cached = false),
        ),
    ]
    .into_iter()
    .filter_map(|(directive, section, without)| {
        Some((DirectiveExplanation { directive: directive?, section }, without))
    })
    .collect()
}
