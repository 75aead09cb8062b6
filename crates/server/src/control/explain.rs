//! Why a request is answered as it is: the same key, look-up and decision as a request meets, told instead of done.
//!
//! Nothing is asked of an origin. A question is no request: it is neither counted nor logged, and stores nothing; only
//! the order in which responses are evicted sees that somebody looked.

use std::time::Duration;

use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Conditions, Decision, Explanation, Fields, ForwardReason, FreshnessExplanation, Held, HttpDate,
    OriginFailure, Override, Part, PartPlan, PolicySettings, Precondition, RangePlan, RequestFacts, Runs,
    StepValue, TargetUri, Timestamp, VariantExplanation, VariantMatch, missing_for, packages::RuleId,
    part_plan, precondition, range_plan, remove_hop_by_hop, stale_on_error,
};
use larder_storage::{Store, Stored};

use super::explained::{
    Because, Explain, Explained, ExplainedAnswer, ExplainedConditions, ExplainedField, ExplainedFreshness,
    ExplainedMissing, ExplainedRule, ExplainedStep, ExplainedVariant, Match, RuleKind, RuleRole, StandsIn,
    Verdict,
};
use crate::config::{Config, ListenerKind};

/// What a proxy's decisions depend on besides its store: the readings of the caching rules on each kind of listener.
#[derive(Debug, Clone)]
pub struct Rules {
    name: String,
    places: Vec<Place>,
}

/// All listeners that share their keys.
#[derive(Debug, Clone)]
struct Place {
    /// Behind a reverse listener.
    origin: Option<TargetUri>,
    policy: PolicySettings,
}

impl Place {
    fn key(&self, target: &TargetUri) -> CacheKey {
        let key = self.policy.key(target);
        match &self.origin {
            Some(origin) => key.asked_of(origin),
            None => key,
        }
    }
}

impl Rules {
    /// Those of a proxy with this configuration.
    pub fn of(config: &Config) -> Self {
        let mut places: Vec<Place> = Vec::new();
        if config.listeners.is_empty() {
            // Leased listeners are forward ones.
            places.push(Place { origin: None, policy: config.policy_of(&ListenerKind::Forward) });
        }
        for listener in &config.listeners {
            let origin = match &listener.kind {
                ListenerKind::Forward => None,
                ListenerKind::Reverse { origin } => Some(origin.clone()),
            };
            if places.iter().all(|place| place.origin != origin) {
                places.push(Place { origin, policy: config.policy_of(&listener.kind) });
            }
        }
        Self { name: config.name.clone(), places }
    }

    /// The key that a forward listener files a target under.
    pub(super) fn forward_key(&self, target: &TargetUri) -> Option<CacheKey> {
        // What shapes a key is the same everywhere.
        self.places.first().map(|place| place.policy.key(target))
    }

    /// Every key under which a response to a request for this target may be filed: the target as it stands and without
    /// what overrides and package rules leave out of its query, each by itself and behind every origin.
    pub fn keys(&self, target: &TargetUri) -> Vec<CacheKey> {
        let mut keys = vec![CacheKey::of(target)];
        let mut add = |key: CacheKey| {
            if !keys.contains(&key) {
                keys.push(key);
            }
        };
        for place in &self.places {
            add(place.policy.key(target));
            add(place.key(target));
            let listed = place.policy.packages.listed(target);
            if let Some(origin) = &place.origin {
                add(CacheKey::behind(origin, target));
                listed.iter().for_each(|key| add(key.asked_of(origin)));
            }
            listed.into_iter().for_each(&mut add);
        }
        keys
    }
}

/// Why a question cannot be answered; prints what to ask instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuestion {
    /// No URL of a request.
    #[error("`{url}` is not the URL of a request: {why}")]
    Url {
        /// What was asked for.
        url: String,
        /// Why not.
        why: larder_policy::TargetError,
    },
    /// No method.
    #[error("`{0}` is not a method")]
    Method(String),
    /// No field line.
    #[error("`{0}` is not a field; write `Name: value`")]
    Field(String),
}

/// Explains how a request would be answered at this time. Needs a runtime with a timer and a blocking pool.
///
/// # Errors
///
/// The question describes no request.
pub async fn explain(
    rules: &Rules,
    store: &Store,
    question: &Explain,
    now: Timestamp,
) -> Result<Explained, InvalidQuestion> {
    let asked = Asked::of(question)?;
    let mut answers = Vec::new();
    for place in &rules.places {
        let key = place.key(&asked.target);
        let variants = store.lookup(&key).await;
        answers.push(Answering { rules, place, asked: &asked, now }.answer(&key, &variants));
    }
    Ok(Explained {
        url: asked.target.to_string(),
        method: asked.method.to_string(),
        time: HttpDate(now).to_string(),
        answers,
    })
}

/// The request that a question describes.
struct Asked {
    method: Method,
    target: TargetUri,
    facts: RequestFacts,
    /// End-to-end ones.
    fields: Fields,
}

impl Asked {
    fn of(question: &Explain) -> Result<Self, InvalidQuestion> {
        let Explain { url, method, fields: lines } = question;
        let target =
            TargetUri::parse(url.as_bytes()).map_err(|why| InvalidQuestion::Url { url: url.clone(), why })?;
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| InvalidQuestion::Method(method.clone()))?;
        let mut fields = Fields::new();
        for line in lines {
            let pushed = line.split_once(':').map(|(name, value)| fields.push(name, value.trim().as_bytes()));
            if !matches!(pushed, Some(Ok(()))) {
                return Err(InvalidQuestion::Field(line.clone()));
            }
        }
        // The target's own authority is always a field value.
        let _ = fields.set("Host", target.authority().as_bytes());
        let facts = RequestFacts::of(&method, &fields);
        remove_hop_by_hop(&mut fields);
        Ok(Self { method, target, facts, fields })
    }
}

/// One question to one kind of listener.
struct Answering<'a> {
    rules: &'a Rules,
    place: &'a Place,
    asked: &'a Asked,
    now: Timestamp,
}

impl Answering<'_> {
    fn answer(&self, key: &CacheKey, variants: &[std::sync::Arc<Stored>]) -> ExplainedAnswer {
        let Asked { facts, fields, .. } = self.asked;
        let candidates = variants.iter().map(|stored| stored.candidate());
        let why = larder_policy::explain(&self.place.policy, facts, fields, candidates, self.now);
        let selected = why.selected.and_then(|index| variants.get(index)).map(|stored| &**stored);
        let (decision, said) = self.verdict(&why.decision);
        let asks_origin = matches!(decision, Verdict::Validate | Verdict::Forward);
        let serves = matches!(decision, Verdict::Serve | Verdict::ServeStale | Verdict::ServeStaleAndRefresh);
        ExplainedAnswer {
            origin: self
                .place
                .origin
                .as_ref()
                .map(|origin| format!("{}://{}", origin.scheme().as_str(), origin.authority())),
            key: key.to_string(),
            decision,
            cause: because(&why.cause, why.cause.section()),
            cache_status: said,
            status: selected.filter(|_| serves).map(|stored| self.status(stored).as_u16()),
            directives: why.directives.iter().map(|sent| because(&sent.directive, sent.section)).collect(),
            conditions: match &why.decision {
                Decision::Validate { conditions, .. } => Some(conditions_of(conditions)),
                _ => None,
            },
            missing: selected.and_then(|stored| self.missing(stored, &why.decision)),
            stands_in: selected.filter(|_| asks_origin).map(|stored| self.stands_in(stored)),
            variants: why.variants.iter().zip(variants).map(|(why, stored)| variant(why, stored)).collect(),
            selected: why.selected,
            freshness: why.freshness.as_ref().map(freshness),
            rules: self.rules_for(key, selected, &why),
            advice: why.advice.iter().map(ToString::to_string).collect(),
        }
    }

    fn verdict(&self, decision: &Decision) -> (Verdict, String) {
        let name = &self.rules.name;
        match decision {
            Decision::Serve { .. } => (Verdict::Serve, format!("{name}; hit")),
            Decision::ServeStale { why, .. } if why.wants_refresh() => {
                (Verdict::ServeStaleAndRefresh, format!("{name}; hit; detail={why}"))
            }
            Decision::ServeStale { why, .. } => (Verdict::ServeStale, format!("{name}; hit; detail={why}")),
            Decision::Validate { why, .. } => (Verdict::Validate, format!("{name}; fwd={why}")),
            Decision::Forward { why } => (Verdict::Forward, format!("{name}; fwd={why}")),
            Decision::GatewayTimeout => (Verdict::GatewayTimeout, name.clone()),
        }
    }

    /// What the client gets of a stored response: all, a part, or word that it has it already.
    fn status(&self, stored: &Stored) -> StatusCode {
        let Asked { facts, fields, .. } = self.asked;
        let (response, length) = (stored.response(), stored.body_len());
        if precondition(facts, fields, response, self.now) == Precondition::NotModified {
            return StatusCode::NOT_MODIFIED;
        }
        if response.facts().part().is_some() {
            return match part_plan(facts, fields, response, &stored.held()) {
                PartPlan::Unsatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
                PartPlan::Serve { .. } | PartPlan::Missing => response.status(),
            };
        }
        match range_plan(facts, fields, response, length) {
            RangePlan::Whole => response.status(),
            RangePlan::Single(_) | RangePlan::Multiple(_) => StatusCode::PARTIAL_CONTENT,
            RangePlan::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// What would be asked for to complete a part.
    fn missing(&self, stored: &Stored, decision: &Decision) -> Option<ExplainedMissing> {
        let Asked { facts, fields, .. } = self.asked;
        if !matches!(decision, Decision::Forward { why: ForwardReason::Partial }) {
            return None;
        }
        let missing = missing_for(facts, fields, stored.response(), &stored.held())?;
        let asked: Vec<Fields> = missing
            .gaps()
            .iter()
            .map(|gap| {
                let mut request = Fields::new();
                missing.ask(gap, &mut request);
                request
            })
            .collect();
        let text = |request: &Fields, name: &str| {
            request.first(name).map(|value| String::from_utf8_lossy(value).into_owned())
        };
        Some(ExplainedMissing {
            ranges: asked.iter().filter_map(|request| text(request, "range")).collect(),
            if_range: asked.first().and_then(|request| text(request, "if-range")),
        })
    }

    fn stands_in(&self, stored: &Stored) -> StandsIn {
        let Self { place, asked, now, .. } = self;
        let Asked { facts, fields, .. } = asked;
        let response = stored.response();
        // A part stands in for what it holds alone.
        let held = || part_plan(facts, fields, response, &stored.held()) != PartPlan::Missing;
        let answers = response.facts().part().is_none() || held();
        let after =
            |failure| answers && stale_on_error(&place.policy, facts, response, failure, *now).is_some();
        StandsIn {
            unreachable: after(OriginFailure::Unreachable),
            server_error: after(OriginFailure::Status(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }

    fn rules_for(&self, key: &CacheKey, selected: Option<&Stored>, why: &Explanation) -> Vec<ExplainedRule> {
        let target = &self.asked.target;
        let overrides = &self.place.policy.overrides;
        let rule =
            |kind, name: Option<&str>, role| ExplainedRule { kind, name: name.map(str::to_owned), role };
        let mut rules = Vec::new();
        let packages = self.place.policy.packages;
        let by_overrides = overrides.key(target);
        if by_overrides.target() != target {
            // Only an override without content types shapes a key.
            let shaping = overrides.for_response(target, &Fields::new());
            rules.push(rule(RuleKind::Override, shaping.map(|found| &*found.name), RuleRole::Key));
        }
        if by_overrides.target() != key.target() {
            rules.push(rule(RuleKind::Package, Some(RuleId::SignedObject.name()), RuleRole::Key));
        }
        let recognised = packages.recognise(target).filter(|found| found.is_told_by(&self.asked.fields));
        if let Some(stored) = selected {
            let facts = stored.response().facts();
            let applied = overrides.for_response(target, stored.response().fields());
            match (facts.is_overridden(), applied) {
                (true, found) => {
                    let name = found.map(|found| &*found.name);
                    rules.push(rule(RuleKind::Override, name, RuleRole::Applied));
                }
                (false, Some(found)) => {
                    rules.push(rule(RuleKind::Override, Some(&found.name), RuleRole::Next))
                }
                (false, None) => {}
            }
            let package = facts.rule().map(|id| (id.name(), RuleRole::Applied));
            let package = package.or(recognised.map(|found| (found.name(), RuleRole::Possible)));
            rules.extend(package.map(|(name, role)| rule(RuleKind::Package, Some(name), role)));
        } else if matches!(why.decision, Decision::Forward { .. }) {
            for found in may_apply(overrides.iter(), target) {
                rules.push(rule(RuleKind::Override, Some(&found.name), RuleRole::Possible));
            }
            let package =
                recognised.map(|found| rule(RuleKind::Package, Some(found.name()), RuleRole::Possible));
            rules.extend(package);
        }
        rules
    }
}

/// The overrides for a target, as long as the content type is not known: up to the first that takes any.
fn may_apply<'a>(overrides: impl Iterator<Item = &'a Override>, target: &TargetUri) -> Vec<&'a Override> {
    let mut found = Vec::new();
    for candidate in overrides {
        let host =
            candidate.hosts.is_empty() || candidate.hosts.iter().any(|host| host.matches(target.host()));
        let path =
            candidate.paths.is_empty() || candidate.paths.iter().any(|path| path.matches(target.path()));
        if host && path {
            found.push(candidate);
            if candidate.content_types.is_empty() {
                break;
            }
        }
    }
    found
}

fn because(text: &impl ToString, section: &str) -> Because {
    Because { text: text.to_string(), section: section.to_owned() }
}

fn conditions_of(conditions: &Conditions) -> ExplainedConditions {
    let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
    ExplainedConditions {
        if_none_match: text(conditions.if_none_match()),
        if_modified_since: text(conditions.if_modified_since()),
    }
}

fn variant(why: &VariantExplanation, stored: &Stored) -> ExplainedVariant {
    ExplainedVariant {
        status: why.status.as_u16(),
        date: HttpDate(why.date).to_string(),
        bytes: stored.body_len(),
        part: why.part.map(content_range),
        runs: match stored.held() {
            Held::Runs(runs) => ends(&runs),
            Held::Body(_) => Vec::new(),
        },
        fresh: why.fresh,
        matches: match why.matches {
            VariantMatch::Exact => Match::Exact,
            VariantMatch::PreferredLanguage => Match::PreferredLanguage,
            VariantMatch::Different => Match::Different,
        },
        fields: why
            .fields
            .iter()
            .map(|field| ExplainedField {
                name: field.name.clone(),
                stored: field.stored.clone(),
                asked: field.asked.clone(),
                matches: field.matches,
            })
            .collect(),
    }
}

/// The first and the last byte of each run.
pub(super) fn ends(runs: &Runs) -> Vec<(u64, u64)> {
    runs.iter().map(|run| (run.start, run.end.saturating_sub(1))).collect()
}

/// As Content-Range has it.
pub(super) fn content_range(part: Part) -> String {
    let complete = part.complete_length().map_or_else(|| "*".to_owned(), |length| length.to_string());
    format!("bytes {}-{}/{complete}", part.first(), part.last())
}

fn freshness(why: &FreshnessExplanation) -> ExplainedFreshness {
    ExplainedFreshness {
        lifetime_ms: millis(why.lifetime),
        source: why.source.as_str().to_owned(),
        targeted: why.targeted,
        age_ms: millis(why.current_age.as_duration()),
        remaining_ms: millis(why.remaining),
        steps: why
            .steps()
            .into_iter()
            .map(|step| {
                let (ms, at_most, date) = match step.value {
                    StepValue::Duration(length) => (Some(millis(length)), false, None),
                    StepValue::AtMost(length) => (Some(millis(length)), true, None),
                    StepValue::Instant(instant) => (None, false, Some(HttpDate(instant).to_string())),
                };
                ExplainedStep {
                    what: step.what.to_owned(),
                    ms,
                    at_most,
                    date,
                    section: step.section.to_owned(),
                }
            })
            .collect(),
    }
}

pub(super) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use larder_policy::{Action, IgnoreQuery, Overrides};

    use super::*;
    use crate::config::Listener;

    #[test]
    fn a_target_has_a_key_for_each_way_and_each_reading_of_its_query() {
        let mut config = Config::default();
        let origin = TargetUri::parse(b"http://127.0.0.1:8080").unwrap();
        for _ in 0..2 {
            let kind = ListenerKind::Reverse { origin: origin.clone() };
            config.listeners.push(Listener { kind, ..Listener::default() });
        }
        let action = Action { ignore_query: IgnoreQuery::All, ..Action::default() };
        let every = Override { name: "every".to_owned(), action, ..Override::default() };
        config.policy.overrides = Overrides::new(vec![every]).unwrap();
        let rules = Rules::of(&config);
        assert_eq!(rules.places.len(), 2, "listeners that share their keys count once");
        let keys: Vec<_> = rules
            .keys(&TargetUri::parse(b"http://www.example/?a").unwrap())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            keys,
            [
                "http://www.example/?a",
                "http://www.example/",
                "http://127.0.0.1:8080 http://www.example/",
                "http://127.0.0.1:8080 http://www.example/?a",
            ]
        );
    }
}
