//! What HTTP lets a cache do with the requests of a log: each one goes through the policy that serves, against the
//! eviction code that serves.
//!
//! A line of a log becomes a request and the answer that the origin gave, or would give, at that time; from there on
//! `larder-policy` decides: [`reuse`] for the request, [`storability`] and [`freshen`] for the answer, [`invalidates`] for
//! what unsafe methods change, with the heuristics, overrides and package rules of a configuration. What the log does not
//! tell is assumed ([`Assumptions`]), and [`Report::untold`] says how often.
//!
//! Simplified, and said so wherever figures are shown: an answer is there at once, so that requests during a fetch are hits
//! where they would have followed it; a stored response is whole, so that parts (206) are answered from whole responses and
//! never kept.
//!
//! Memory: [`BYTES_PER_RESPONSE`] for each response that was ever stored, and what Vary nominates.

mod answer;
mod clock;
mod objects;
mod report;
mod run;
#[cfg(test)]
mod tests;
mod tiers;

use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Decision, Exchange, Fields, ForwardReason, MethodClass, NotStored, OriginFailure,
    PolicySettings, RequestFacts, StoredResponse, TargetUri, Timestamp, freshen, invalidates, reuse,
    stale_on_error, storability,
};

use crate::log::Entry;
use clock::LogClock;
use objects::{Fate, Objects};

pub use answer::{Answer, Assumptions, ETag, asked};
pub use objects::BYTES_PER_RESPONSE;
pub use report::{Count, Report};
pub use run::{Survey, run, survey};
pub use tiers::{DISK_OVERHEAD_BYTES, MEMORY_OVERHEAD_BYTES, MemoryTier, Tier, Tiers};

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Answered from this tier without asking.
    Hit(Tier),
    /// Answered from the cache although stale.
    Stale,
    /// Answered from the cache after the origin had said that it still holds.
    Revalidated,
    /// Answered by the origin.
    Miss(Cause),
    /// Nothing for a cache: tunnels, refusals, requests that were never answered.
    Aside,
}

impl Verdict {
    /// Whether the content came out of the cache.
    #[must_use]
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Hit(_) | Self::Stale | Self::Revalidated)
    }
}

/// Why the origin had to answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// It was asked for the first time, or with other values of what Vary nominates.
    Cold,
    /// It was stored, and had to leave for others.
    Capacity,
    /// What was stored is stale, and the origin sent something new or cannot be asked about it.
    Expired,
    /// The client wanted the origin's own answer (`no-cache`, `max-age`, conditions that only the origin can judge).
    Request,
    /// A request with an unsafe method had removed it.
    Invalidated,
    /// The answer may not be stored.
    Uncacheable(NotStored),
    /// It is larger than the cache.
    TooLarge,
    /// It was not worth the place of what would have had to leave for it.
    NotAdmitted,
}

impl Cause {
    /// The word for tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Capacity => "capacity",
            Self::Expired => "expired",
            Self::Request => "request",
            Self::Invalidated => "invalidated",
            Self::Uncacheable(_) => "uncacheable",
            Self::TooLarge => "too-large",
            Self::NotAdmitted => "not-admitted",
        }
    }
}

/// A cache that answers the requests of a log.
#[derive(Debug)]
pub struct Simulation {
    policy: PolicySettings,
    assumptions: Assumptions,
    objects: Objects,
    tiers: Tiers,
    clock: LogClock,
    report: Report,
}

/// A request as it goes through.
struct Ask<'a> {
    entry: &'a Entry,
    target: TargetUri,
    key: CacheKey,
    request: Fields,
    facts: RequestFacts,
    now: Timestamp,
}

impl Simulation {
    /// An empty cache. Parts are never kept: see the module.
    #[must_use]
    pub fn new(policy: PolicySettings, assumptions: Assumptions, tiers: Tiers) -> Self {
        Self {
            policy: PolicySettings { store_parts: false, ..policy },
            assumptions,
            objects: Objects::default(),
            tiers,
            clock: LogClock::default(),
            report: Report::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Forgets what was counted, and goes on with what is stored: the end of a warm-up.
    pub fn forget_counts(&mut self) {
        self.report = Report::default();
    }

    /// Bytes that are stored on disk.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.tiers.disk_used()
    }

    /// Bytes of memory that the simulation takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.objects.memory_bytes() + self.tiers.memory_bytes()
    }

    /// The next request of the log.
    pub fn request(&mut self, entry: &Entry) -> Verdict {
        let now = self.clock.advance(entry.time);
        let verdict = match self.ask(entry, now) {
            Some(ask) => self.answer(&ask),
            None => Verdict::Aside,
        };
        self.report.count(entry, verdict);
        self.report.backwards = self.clock.backwards();
        verdict
    }

    /// What a cache would make of the line; nothing of tunnels, refusals and what no answer is known to.
    fn ask<'a>(&mut self, entry: &'a Entry, now: Timestamp) -> Option<Ask<'a>> {
        if entry.outcome.is_some_and(|outcome| outcome == crate::log::Outcome::Aside)
            || StatusCode::from_u16(entry.status).is_err()
        {
            return None;
        }
        let target = entry.target(&self.assumptions.site)?;
        let key = self.policy.key(&target);
        let request = asked(entry);
        let facts = RequestFacts::of(&entry.method, &request);
        Some(Ask { entry, target, key, request, facts, now })
    }

    fn answer(&mut self, ask: &Ask<'_>) -> Verdict {
        let variants = self.objects.variants(&ask.key);
        let held: Vec<u32> = variants.iter().copied().filter(|id| self.objects.is_held(*id)).collect();
        let responses: Vec<StoredResponse> =
            held.iter().filter_map(|id| self.objects.response(*id)).collect();
        let selected = reuse(&ask.facts, &ask.request, responses.iter(), ask.now);
        let stored = selected.index.and_then(|index| Some((*held.get(index)?, responses.get(index)?)));
        match (selected.decision, stored) {
            (Decision::Serve { .. }, Some((id, _))) => Verdict::Hit(self.access(id, ask.now)),
            (Decision::ServeStale { why, .. }, Some((id, response))) => {
                self.access(id, ask.now);
                if why.wants_refresh() {
                    self.refresh(ask, id, response);
                }
                Verdict::Stale
            }
            (Decision::Validate { why, .. }, Some((id, response))) => self.validate(ask, id, response, why),
            // `only-if-cached`: a 504 that the origin does not hear of.
            (Decision::GatewayTimeout, _) => Verdict::Miss(Cause::Request),
            (Decision::Forward { why }, stored) => self.forward(ask, why, stored),
            (Decision::Serve { .. } | Decision::ServeStale { .. } | Decision::Validate { .. }, None) => {
                self.forward(ask, ForwardReason::UriMiss, None)
            }
        }
    }

    fn access(&mut self, id: u32, now: Timestamp) -> Tier {
        let size = self.objects.size(id);
        self.tiers.access(id, size, self.objects.fingerprint(id), now)
    }

    /// The origin is asked whether what is stored still holds.
    fn validate(&mut self, ask: &Ask<'_>, id: u32, stored: &StoredResponse, why: ForwardReason) -> Verdict {
        let answer = self.origin_answer(ask);
        if ask.facts.method == MethodClass::Head {
            return self.forward(ask, why, Some((id, stored)));
        }
        if answer.version.is_some_and(|version| version != self.objects.version(id)) {
            return self.fetched(ask, &answer, cause_of(why), Some((id, stored)));
        }
        self.report.origin_requests += 1;
        let answer = answer.not_modified(self.objects.version(id));
        if self.freshened(ask, &ask.facts, id, stored, &answer) {
            self.access(id, ask.now);
            Verdict::Revalidated
        } else {
            self.fetched(ask, &answer, Cause::Expired, Some((id, stored)))
        }
    }

    /// Brings what is stored up to date with a 304. False when that would not be sound.
    fn freshened(
        &mut self,
        ask: &Ask<'_>,
        facts: &RequestFacts,
        id: u32,
        stored: &StoredResponse,
        answer: &Answer,
    ) -> bool {
        let rule = self.policy.packages.recognise(&ask.target);
        let exchange = exchange(ask, facts, answer);
        match freshen(&self.policy, stored, &exchange, rule.as_ref()) {
            Some(freshened) => {
                if freshened.keep.is_ok() {
                    self.objects.freshen(id, &freshened.response);
                }
                true
            }
            None => false,
        }
    }

    /// A validation behind the client's back (RFC 5861, 3): whatever the origin answers takes the place.
    fn refresh(&mut self, ask: &Ask<'_>, id: u32, stored: &StoredResponse) {
        let mut request = ask.request.clone();
        larder_policy::Conditions::remove_from(&mut request);
        let facts = RequestFacts::of(&Method::GET, &request);
        let answer = self.origin_answer(ask);
        self.report.origin_requests += 1;
        if answer.version.is_none_or(|version| version == self.objects.version(id)) {
            let answer = answer.not_modified(self.objects.version(id));
            self.freshened(ask, &facts, id, stored, &answer);
            return;
        }
        self.report.origin_bytes = self.report.origin_bytes.saturating_add(answer.size);
        let rule = self.policy.packages.recognise(&ask.target);
        match storability(&self.policy, &exchange(ask, &facts, &answer), rule.as_ref()) {
            Ok(response) => _ = self.store(ask, &response, &answer),
            Err(_) => self.remove(id, Fate::Invalidated),
        }
    }

    /// The request goes to the origin as it is.
    fn forward(
        &mut self,
        ask: &Ask<'_>,
        why: ForwardReason,
        stored: Option<(u32, &StoredResponse)>,
    ) -> Verdict {
        let answer = self.origin_answer(ask);
        self.forget_changed(ask, &answer);
        self.fetched(ask, &answer, cause_of(why), stored)
    }

    /// The origin has answered anew. `cause` is why it was asked.
    fn fetched(
        &mut self,
        ask: &Ask<'_>,
        answer: &Answer,
        cause: Cause,
        stored: Option<(u32, &StoredResponse)>,
    ) -> Verdict {
        self.report.origin_requests += 1;
        if let Some((id, response)) = stored {
            let failure = OriginFailure::Status(answer.status);
            if stale_on_error(&self.policy, &ask.facts, response, failure, ask.now).is_some() {
                self.access(id, ask.now);
                return Verdict::Stale;
            }
        }
        self.report.origin_bytes = self.report.origin_bytes.saturating_add(answer.sent);
        let rule = self.policy.packages.recognise(&ask.target);
        // The answer to a POST is kept without regard to package rules, as the server keeps it.
        let rule = rule.as_ref().filter(|_| ask.facts.method != MethodClass::Post);
        match (ask.facts.method, stored) {
            (MethodClass::Head, Some((id, response)))
                if answer.status == StatusCode::OK && is_shareable(&ask.facts) =>
            {
                let same = answer.version.is_none_or(|version| version == self.objects.version(id));
                let mut answer = answer.clone();
                if !answer.told {
                    // It was made up for this answer, and would seem to be another's.
                    answer.fields.remove("last-modified");
                }
                if !(same && self.freshened(ask, &ask.facts, id, response, &answer)) {
                    self.remove(id, Fate::Invalidated);
                }
            }
            _ => {}
        }
        match storability(&self.policy, &exchange(ask, &ask.facts, answer), rule) {
            Ok(response) => Verdict::Miss(self.store(ask, &response, answer).unwrap_or(cause)),
            Err(why) => Verdict::Miss(match cause {
                // The reason why it was asked says more than that a 304 or the answer to HEAD is not stored.
                Cause::Expired | Cause::Request
                    if matches!(why, NotStored::Method | NotStored::Status | NotStored::Partial) =>
                {
                    cause
                }
                _ => Cause::Uncacheable(why),
            }),
        }
    }

    /// Stores an answer. What kept it from being here before, or keeps it out now, where that is more than that it is new.
    fn store(&mut self, ask: &Ask<'_>, response: &StoredResponse, answer: &Answer) -> Option<Cause> {
        let (id, fate) = self.objects.store(&ask.key, response, answer)?;
        let size = self.objects.size(id);
        let fingerprint = self.objects.fingerprint(id);
        let admitted = self.tiers.admit(id, size, fingerprint, ask.now);
        for victim in admitted.left {
            self.objects.set_fate(victim, Fate::Evicted);
        }
        let now = if admitted.stays {
            self.report.written_bytes = self.report.written_bytes.saturating_add(size);
            Fate::Held
        } else if size > self.tiers.disk_capacity() {
            Fate::TooLarge
        } else {
            Fate::Refused
        };
        self.objects.set_fate(id, now);
        match (now, fate) {
            (Fate::TooLarge, _) => Some(Cause::TooLarge),
            (_, Fate::Refused) => Some(Cause::NotAdmitted),
            (_, Fate::Evicted) => Some(Cause::Capacity),
            (_, Fate::Invalidated) => Some(Cause::Invalidated),
            (_, Fate::TooLarge) => Some(Cause::TooLarge),
            (_, Fate::New | Fate::Held) => None,
        }
    }

    fn remove(&mut self, id: u32, fate: Fate) {
        self.tiers.remove(id);
        self.objects.set_fate(id, fate);
    }

    /// RFC 9111, 4.4.
    fn forget_changed(&mut self, ask: &Ask<'_>, answer: &Answer) {
        for changed in invalidates(&ask.entry.method, answer.status, &ask.target, &answer.fields) {
            let key = self.policy.key(changed.target()).beside(&ask.key);
            for id in self.objects.variants(&key) {
                if self.objects.is_held(id) {
                    self.report.invalidated += 1;
                    self.remove(id, Fate::Invalidated);
                }
            }
        }
    }

    fn origin_answer(&mut self, ask: &Ask<'_>) -> Answer {
        let answer = Answer::of(ask.entry, &self.assumptions, &self.policy, ask.now);
        if !answer.told {
            self.report.untold += 1;
        }
        answer
    }
}

/// Whether anybody could have sent the request: then what the answer says may be of use to others.
const fn is_shareable(facts: &RequestFacts) -> bool {
    let conditional = facts.has_if_none_match || facts.has_if_modified_since || facts.has_origin_condition;
    !(facts.authorized
        || facts.has_range
        || conditional
        || facts.directives.no_cache
        || facts.directives.no_store)
}

/// Why the origin is asked, in the words of a simulation.
const fn cause_of(why: ForwardReason) -> Cause {
    match why {
        ForwardReason::Request => Cause::Request,
        ForwardReason::Stale => Cause::Expired,
        _ => Cause::Cold,
    }
}

fn exchange<'a>(ask: &'a Ask<'_>, facts: &'a RequestFacts, answer: &'a Answer) -> Exchange<'a> {
    Exchange {
        facts,
        target: &ask.target,
        request: &ask.request,
        status: answer.status,
        response: &answer.fields,
        request_time: ask.now,
        response_time: ask.now,
        framing_sound: true,
    }
}
