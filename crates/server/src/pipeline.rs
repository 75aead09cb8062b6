//! One request from start to end.
//!
//! Each step takes the previous step's type and returns the next one's: a request that access has permitted has a key, a key has
//! stored responses, those and the present give a decision, and the decision is carried out. The rules are policy's; nothing
//! here decides what may be stored or reused.

use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};
use larder_policy::packages::Rule;
use larder_policy::{
    CacheKey, Conditions, CurrentAge, Decision, Exchange, ForwardReason, Freshened, OriginFailure,
    PolicySettings, RequestFacts, Scheme, Selected, StaleReason, StoredResponse, TargetUri, Timestamp,
    freshen, invalidates, missing_for, reuse, reuse_offline, stale_on_error, storability,
};
use larder_storage::{Stored, Tier, Variants};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::answer::{Answering, Source, Told};
use crate::collapse::{Leading, Progress, Role};
use crate::error::UpstreamError;
use crate::fetch::{self, Event, Fetched, Plan};
use crate::http1::ResponseHead;
use crate::origin::{
    ClientFailed, Destination, ExchangeError, Interim, OriginBody, OriginResponse, Outbound, Upload,
    Uploading,
};
use crate::request::{ProxyRequest, Rejection, Target};
use crate::respond::{Answer, CacheStatus, add, version_digits};
use crate::shared::{Proxy, Worker};
use crate::transaction::{NextHop, Outcome};

/// A request may join others this often before it fetches by itself.
const WAITS: usize = 3;
/// The word for a stale response that hides an origin's error (RFC 5861, 4).
const STALE_IF_ERROR: &str = "stale-if-error";

/// The answer to a request, and what is left of its upload.
pub(crate) struct Answered<'a> {
    pub(crate) answer: Answer,
    pub(crate) uploading: Option<Uploading<'a>>,
}

impl From<Answer> for Answered<'_> {
    fn from(answer: Answer) -> Self {
        Self { answer, uploading: None }
    }
}

/// Where a request leads, what its answer is kept under, and by which readings of the rules.
pub(crate) struct Place {
    pub(crate) key: CacheKey,
    pub(crate) destination: Destination,
    pub(crate) policy: Arc<PolicySettings>,
}

/// Answers a request for a resource of an origin.
///
/// # Errors
///
/// The client's content ended before its end.
pub(crate) async fn answer<'a, U: Upload>(
    worker: &Arc<Worker>,
    request: &ProxyRequest,
    place: Place,
    upload: Option<&'a mut U>,
    interim: &mut impl Interim,
) -> Result<Answered<'a>, ClientFailed> {
    let proxy = &worker.proxy;
    let Place { key, destination, policy } = place;
    let (uri, path) = match &request.target {
        Target::Uri(uri) => (uri, uri.path_and_query()),
        Target::Server(uri) => (uri, "*"),
        Target::Tunnel(_) | Target::Own(_) => {
            let rejection = Rejection {
                status: StatusCode::BAD_REQUEST,
                reason: "there is no such resource here".into(),
            };
            return Ok(proxy.own.rejection(&rejection, proxy.clock.now()).into());
        }
    };
    let outbound = outbound(proxy, request, destination, path);
    let answering = Answering { proxy, policy: &policy, target: uri, request };
    let rule = OnceLock::new();
    let ask = Ask { worker, request, uri, key, policy: &policy, rule, outbound, answering };
    match upload {
        Some(upload) => ask.exchange(upload, interim).await,
        None if matches!(request.method, Method::GET) => Ok(ask.get(interim).await.into()),
        None if matches!(request.method, Method::HEAD) => Ok(ask.head(interim).await.into()),
        None => Ok(ask.pass(ForwardReason::Method, None, interim).await.into()),
    }
}

/// A request as it goes on.
pub(crate) fn outbound(
    proxy: &Proxy,
    request: &ProxyRequest,
    destination: Destination,
    path: &str,
) -> Outbound {
    let mut fields = request.fields.clone();
    let via = format!("{} {}", version_digits(request.version), proxy.own.names.pseudonym);
    add(&mut fields, "Via", &via);
    // The client's own was for us (RFC 9110, 11.7.2), and is not among these any more.
    let parent = proxy.config.upstream.parent.as_ref().filter(|_| destination.scheme == Scheme::Http);
    if let Some(credentials) = parent.and_then(|parent| parent.credentials.as_ref())
        && fields.push("Proxy-Authorization", credentials.value()).is_err()
    {
        tracing::warn!("the credentials for the parent are no field value, and are left out");
    }
    Outbound { destination, method: request.method.clone(), path: path.to_owned(), fields }
}

/// A permitted request and all that it takes to answer it.
struct Ask<'r> {
    worker: &'r Arc<Worker>,
    request: &'r ProxyRequest,
    uri: &'r TargetUri,
    key: CacheKey,
    policy: &'r Arc<PolicySettings>,
    rule: OnceLock<Option<Rule>>,
    outbound: Outbound,
    answering: Answering<'r>,
}

/// Why a request goes to the origin, and what is stored that it is about.
struct Need {
    why: ForwardReason,
    /// The response that was selected, which may stand in if the origin fails.
    stored: Option<Arc<Stored>>,
    /// How to ask whether it still holds.
    conditions: Option<Conditions>,
}

impl Ask<'_> {
    /// A GET: look up, decide, act.
    async fn get(&self, interim: &mut impl Interim) -> Answer {
        let proxy = &self.worker.proxy;
        let patience = Instant::now() + proxy.config.limits.waiter_timeout;
        for waited in 0..=WAITS {
            let variants = self.look_up().await;
            let need = match self.answer_from(&variants).await {
                Ok(answer) => return answer,
                Err(need) => need,
            };
            let joins = is_shareable(&self.request.facts)
                && !self.shares_by_proof_alone()
                && waited < WAITS
                && Instant::now() < patience;
            let role = if joins {
                proxy.flights.join(&self.key, |response| self.may_use(response))
            } else {
                Role::Alone
            };
            let leading = match role {
                Role::Alone => None,
                Role::Lead(leading) if self.came_meanwhile() => {
                    drop(leading);
                    continue;
                }
                Role::Lead(leading) => Some(leading),
                Role::Follow(progress) => match self.follow(progress, patience, &need).await {
                    Some(answer) => return answer,
                    None => continue,
                },
            };
            return self.fetch(need, leading, interim).await;
        }
        // The last round never waits, so that it has answered.
        self.pass(ForwardReason::Bypass, None, interim).await
    }

    /// A HEAD: answered from a stored GET, else forwarded; what it says may freshen or outdate that GET (RFC 9111, 4.3.5).
    async fn head(&self, interim: &mut impl Interim) -> Answer {
        match self.answer_from(&self.look_up().await).await {
            Ok(answer) => answer,
            Err(Need { why, stored, .. }) => self.pass(why, stored.as_ref(), interim).await,
        }
    }

    /// Whether what is fetched for another may be of no concern to this client until it is proved.
    fn shares_by_proof_alone(&self) -> bool {
        self.rule().is_some_and(|rule| rule.id.shares_by_proof_alone())
    }

    /// The package rule for the target.
    fn rule(&self) -> Option<&Rule> {
        self.rule.get_or_init(|| self.policy.packages.recognise(self.uri)).as_ref()
    }

    async fn look_up(&self) -> Variants {
        match self.worker.proxy.store.cached(&self.key) {
            Some(variants) => variants,
            None => self.worker.proxy.store.lookup(&self.key).await,
        }
    }

    /// Answers from what is stored, or says why it cannot.
    async fn answer_from(&self, variants: &Variants) -> Result<Answer, Need> {
        let proxy = &self.worker.proxy;
        let candidates = variants.iter().map(|stored| stored.candidate());
        let (facts, fields, now) = (&self.request.facts, &self.request.fields, proxy.clock.now());
        let Selected { index, decision } = if proxy.config.offline {
            reuse_offline(facts, fields, &candidates.collect::<Vec<_>>(), now)
        } else {
            reuse(facts, fields, candidates, now)
        };
        let stored = index.and_then(|index| variants.get(index)).cloned();
        let unreadable = || Need { why: ForwardReason::UriMiss, stored: None, conditions: None };
        match (stored, decision) {
            (Some(stored), Decision::Serve { age }) => self.hit(stored, age).await.ok_or_else(unreadable),
            (Some(stored), Decision::ServeStale { age, why }) => {
                if why.wants_refresh() {
                    self.refresh_behind(&stored);
                }
                self.stale_hit(stored, age, why).await.ok_or_else(unreadable)
            }
            (_, Decision::GatewayTimeout) if proxy.config.offline => {
                Ok(proxy.own.missing_offline(&self.uri.to_string(), now))
            }
            (_, Decision::GatewayTimeout) => Ok(proxy.own.only_if_cached(now)),
            (stored, Decision::Validate { conditions, why }) => {
                Err(Need { why, stored, conditions: Some(conditions) })
            }
            (stored, Decision::Forward { why }) => Err(Need { why, stored, conditions: None }),
            // A decision to serve comes with what is to be served.
            (None, Decision::Serve { .. } | Decision::ServeStale { .. }) => Err(unreadable()),
        }
    }

    async fn hit(&self, stored: Arc<Stored>, age: CurrentAge) -> Option<Answer> {
        // Of a large body only the head is in memory.
        let outcome = match (stored.tier(), stored.inline_body()) {
            (Tier::Memory, Some(_)) => Outcome::MemoryHit,
            _ => Outcome::Hit,
        };
        let status = CacheStatus { hit: true, ..CacheStatus::default() };
        self.answering.serve(&Source::Stored(stored), age, Told { status, outcome, hop: NextHop::None }).await
    }

    async fn stale_hit(&self, stored: Arc<Stored>, age: CurrentAge, why: StaleReason) -> Option<Answer> {
        let status = CacheStatus { hit: true, detail: Some(why.to_string()), ..CacheStatus::default() };
        let told = Told { status, outcome: Outcome::StaleHit, hop: NextHop::None };
        self.answering.serve(&Source::Stored(stored), age, told).await
    }

    fn may_use(&self, response: &StoredResponse) -> bool {
        let now = self.worker.proxy.clock.now();
        let selected = reuse(&self.request.facts, &self.request.fields, [response], now);
        matches!(selected.decision, Decision::Serve { .. })
    }

    /// Between the look-up and the right to fetch, another's fetch may have ended with what this request may use.
    fn came_meanwhile(&self) -> bool {
        let cached = self.worker.proxy.store.cached(&self.key);
        cached.is_some_and(|variants| variants.iter().any(|stored| self.may_use(stored.response())))
    }

    /// Validates behind the client's back, once (RFC 5861, 3). It asks as anybody might, not as this client did.
    fn refresh_behind(&self, stored: &Arc<Stored>) {
        let Role::Lead(leading) = self.worker.proxy.flights.join(&self.key, |_| true) else { return };
        let need = Need {
            why: ForwardReason::Stale,
            stored: Some(Arc::clone(stored)),
            conditions: Conditions::of(stored.response()),
        };
        let mut plan = self.plan(need);
        plan.outbound.method = Method::GET;
        Conditions::remove_from(&mut plan.outbound.fields);
        Conditions::remove_from(&mut plan.request);
        plan.facts = RequestFacts::of(&Method::GET, &plan.request);
        drop(fetch::start(self.worker, plan, Some(leading)));
    }

    fn plan(&self, need: Need) -> Plan {
        let part = need.stored.as_ref().filter(|_| need.why == ForwardReason::Partial);
        let missing = part.and_then(|part| {
            missing_for(&self.request.facts, &self.request.fields, part.response(), &part.held())
        });
        Plan {
            missing,
            key: self.key.clone(),
            policy: Arc::clone(self.policy),
            target: self.uri.clone(),
            request: self.request.fields.clone(),
            facts: self.request.facts,
            rule: self.rule().copied(),
            outbound: self.outbound.clone(),
            stored: need.stored,
            conditions: need.conditions,
        }
    }

    /// Waits for another's fetch, all waits of a request together no longer than its patience. None: look again, or go alone.
    async fn follow(
        &self,
        mut progress: watch::Receiver<Progress>,
        patience: Instant,
        need: &Need,
    ) -> Option<Answer> {
        let proxy = &self.worker.proxy;
        let wait = progress.wait_for(|progress| !matches!(progress, Progress::Pending));
        let progress = timeout_at(patience, wait).await.ok()?.ok()?.clone();
        let now = proxy.clock.now();
        let status = CacheStatus { forwarded: Some(need.why), collapsed: true, ..CacheStatus::default() };
        let told = Told { status, outcome: Outcome::Collapsed, hop: NextHop::None };
        match progress {
            Progress::Filling(filling) if self.may_use(filling.response()) => {
                let age = filling.response().current_age(now);
                self.answering.serve(&Source::Filling(filling), age, told).await
            }
            Progress::Freshened(stored) if self.may_use(stored.response()) => {
                let age = stored.response().current_age(now);
                self.answering.serve(&Source::Stored(stored), age, told).await
            }
            Progress::Unreachable(error) => match self.stand_in(need.stored.as_ref(), &error).await {
                Some(answer) => Some(answer),
                // It would fare no better by itself.
                None => Some(proxy.own.upstream_failure(&error, need.why, now)),
            },
            Progress::Failed(status) => {
                self.stale_answer(need.stored.as_ref()?, OriginFailure::Status(status), STALE_IF_ERROR).await
            }
            _ => None,
        }
    }

    async fn fetch(&self, need: Need, leading: Option<Leading>, interim: &mut impl Interim) -> Answer {
        let proxy = &self.worker.proxy;
        let (why, stale) = (need.why, need.stored.is_some());
        let plan = self.plan(need);
        let fetched = match leading {
            None => fetch::alone(self.worker, plan, interim).await,
            leading => fetch::awaited(fetch::start(self.worker, plan, leading), interim).await,
        };
        let Some(fetched) = fetched else { return proxy.own.internal(proxy.clock.now()) };
        let status = CacheStatus { forwarded: Some(why), ..CacheStatus::default() };
        let outcome = match (self.request.facts.directives.no_cache, stale) {
            (true, _) => Outcome::ClientRefresh,
            (false, true) => Outcome::RefreshModified,
            (false, false) => Outcome::Miss,
        };
        match *fetched {
            Fetched::Storing { head, filling, reader, hop } => {
                let stored = !filling.is_relayed();
                // Too large for the store, or the disk takes nothing at present.
                let detail = if stored { None } else { Some("no-room".to_owned()) };
                let status = CacheStatus { forward_status: Some(head.status), stored, detail, ..status };
                self.answering.miss(head, &filling, reader, Told { status, outcome, hop })
            }
            Fetched::Combining { filling, hold, hop } => {
                let stored = !filling.is_relayed();
                let status =
                    CacheStatus { forward_status: Some(StatusCode::PARTIAL_CONTENT), stored, ..status };
                let age = filling.response().current_age(proxy.clock.now());
                let answer =
                    self.answering.serve(&Source::Filling(filling), age, Told { status, outcome, hop }).await;
                drop(hold);
                match answer {
                    Some(answer) => answer,
                    None => self.pass(why, None, interim).await,
                }
            }
            Fetched::Passing { head, body, why } => {
                let status = CacheStatus {
                    forward_status: Some(head.status),
                    detail: Some(why.to_string()),
                    ..status
                };
                let hop = body.hop().clone();
                self.answering.relay(head, body, Told { status, outcome, hop })
            }
            Fetched::Freshened { stored, revised, hop } => {
                let status = CacheStatus {
                    forward_status: Some(StatusCode::NOT_MODIFIED),
                    stored: revised.is_none(),
                    ..status
                };
                let source = match revised {
                    Some(response) => Source::Revised(stored, response),
                    None => Source::Stored(stored),
                };
                let age = source.response().current_age(proxy.clock.now());
                let told = Told { status, outcome: Outcome::RefreshUnmodified, hop };
                match self.answering.serve(&source, age, told).await {
                    Some(answer) => answer,
                    None => self.pass(why, None, interim).await,
                }
            }
            Fetched::Hidden { stored, status } => {
                match self.stale_answer(&stored, OriginFailure::Status(status), STALE_IF_ERROR).await {
                    Some(answer) => answer,
                    None => self.pass(why, None, interim).await,
                }
            }
            Fetched::Failed { stored, error } => match self.stand_in(stored.as_ref(), &error).await {
                Some(answer) => answer,
                None => proxy.own.upstream_failure(&error, why, proxy.clock.now()),
            },
        }
    }

    /// Forwards a request without content; nothing is stored. `about` is the stored response that the answer is about.
    async fn pass(
        &self,
        why: ForwardReason,
        about: Option<&Arc<Stored>>,
        interim: &mut impl Interim,
    ) -> Answer {
        let proxy = &self.worker.proxy;
        let (begun, request_time) = (proxy.flights.begin(), proxy.clock.now());
        match self.worker.origins.fetch(&self.outbound, interim).await {
            Ok(response) => {
                let head = response.head;
                if let Some(stored) = about.filter(|_| !proxy.flights.is_outdated(&self.key, begun)) {
                    self.freshen_by_head(stored, &head, request_time).await;
                }
                self.forget_changed(&head).await;
                self.keep_or_relay(head, response.body, why, request_time).await
            }
            Err(error) => match self.stand_in(about, &error).await {
                Some(answer) => answer,
                None => proxy.own.upstream_failure(&error, why, proxy.clock.now()),
            },
        }
    }

    /// The stale response, where the origin could not be asked and the rules allow it.
    async fn stand_in(&self, stored: Option<&Arc<Stored>>, error: &UpstreamError) -> Option<Answer> {
        let stored = stored.filter(|_| !error.is_prohibited())?;
        self.stale_answer(stored, OriginFailure::Unreachable, error.token()).await
    }

    async fn stale_answer(
        &self,
        stored: &Arc<Stored>,
        failure: OriginFailure,
        detail: &str,
    ) -> Option<Answer> {
        let proxy = &self.worker.proxy;
        let (facts, now) = (&self.request.facts, proxy.clock.now());
        let age = stale_on_error(self.policy, facts, stored.response(), failure, now)?;
        let forward_status = match failure {
            OriginFailure::Unreachable => None,
            OriginFailure::Status(status) => Some(status),
        };
        let status = CacheStatus {
            hit: true,
            forward_status,
            detail: Some(detail.to_owned()),
            ..CacheStatus::default()
        };
        let told = Told { status, outcome: Outcome::StaleOnError, hop: NextHop::None };
        self.answering.serve(&Source::Stored(Arc::clone(stored)), age, told).await
    }

    /// Only a 200 speaks of the representation as a whole; a 304 would speak of the client's conditions, not of ours.
    async fn freshen_by_head(&self, stored: &Arc<Stored>, head: &ResponseHead, request_time: Timestamp) {
        let proxy = &self.worker.proxy;
        if head.status != StatusCode::OK || !is_shareable(&self.request.facts) {
            return;
        }
        let exchange = self.exchange_of(head, request_time, true);
        match freshen(self.policy, stored.response(), &exchange, self.rule()) {
            Some(Freshened { response, keep: Ok(()) }) => {
                proxy.store.freshen(stored, response).await;
            }
            Some(Freshened { keep: Err(_), .. }) => {}
            // The representation has changed: what is stored is outdated.
            None => {
                proxy.store.remove(stored.key()).await;
            }
        }
    }

    /// Forwards a request with content.
    async fn exchange<'a, U: Upload>(
        &self,
        upload: &'a mut U,
        interim: &mut impl Interim,
    ) -> Result<Answered<'a>, ClientFailed> {
        let proxy = &self.worker.proxy;
        let request_time = proxy.clock.now();
        match self.worker.origins.exchange(&self.outbound, upload, interim).await {
            Ok(response) => {
                let OriginResponse { mut head, body, uploading } = response;
                self.forget_changed(&head).await;
                let answer = if uploading.is_none() {
                    self.keep_or_relay(head, body, ForwardReason::Method, request_time).await
                } else {
                    larder_policy::remove_hop_by_hop(&mut head.fields);
                    self.relay_passed(head, body, ForwardReason::Method)
                };
                Ok(Answered { answer, uploading })
            }
            Err(ExchangeError::Upstream(error)) => {
                Ok(proxy.own.upstream_failure(&error, ForwardReason::Method, proxy.clock.now()).into())
            }
            Err(ExchangeError::Client(failed)) => Err(failed),
        }
    }

    /// The answer to a POST may serve later GETs; all else that was passed on is relayed.
    async fn keep_or_relay(
        &self,
        mut head: ResponseHead,
        body: Box<OriginBody>,
        why: ForwardReason,
        request_time: Timestamp,
    ) -> Answer {
        let storable = if self.request.method == Method::POST && !self.key.leaves_out_signature() {
            let exchange = self.exchange_of(&head, request_time, body.has_sound_end(&head));
            storability(self.policy, &exchange, None).ok()
        } else {
            None
        };
        larder_policy::remove_hop_by_hop(&mut head.fields);
        let Some(response) = storable else { return self.relay_passed(head, body, why) };
        let mut events = fetch::keep(self.worker, self.key.clone(), response, head, body);
        let proxy = &self.worker.proxy;
        let Some(Event::Done(fetched)) = events.recv().await else {
            return proxy.own.internal(proxy.clock.now());
        };
        let Fetched::Storing { head, filling, reader, hop } = *fetched else {
            return proxy.own.internal(proxy.clock.now());
        };
        let (stored, forward_status) = (!filling.is_relayed(), Some(head.status));
        let status = CacheStatus { forwarded: Some(why), forward_status, stored, ..CacheStatus::default() };
        self.answering.miss(head, &filling, reader, Told { status, outcome: Outcome::Miss, hop })
    }

    fn exchange_of<'e>(
        &'e self,
        head: &'e ResponseHead,
        request_time: Timestamp,
        framing_sound: bool,
    ) -> Exchange<'e> {
        Exchange {
            facts: &self.request.facts,
            target: self.uri,
            request: &self.request.fields,
            status: head.status,
            response: &head.fields,
            request_time,
            response_time: self.worker.proxy.clock.now(),
            framing_sound,
        }
    }

    fn relay_passed(&self, head: ResponseHead, body: Box<OriginBody>, why: ForwardReason) -> Answer {
        let status =
            CacheStatus { forwarded: Some(why), forward_status: Some(head.status), ..CacheStatus::default() };
        let hop = body.hop().clone();
        self.answering.relay(head, body, Told { status, outcome: Outcome::Miss, hop })
    }

    /// RFC 9111, 4.4: what an unsafe request may have changed is not used any more.
    async fn forget_changed(&self, head: &ResponseHead) {
        let proxy = &self.worker.proxy;
        for changed in invalidates(&self.request.method, head.status, self.uri, &head.fields) {
            // Parameters may be left out of the key.
            let key = self.policy.key(changed.target()).beside(&self.key);
            proxy.flights.outdate(&key);
            proxy.store.remove(&key).await;
        }
    }
}

/// Whether anybody could have sent it: then its answer may be another's too.
fn is_shareable(facts: &RequestFacts) -> bool {
    let conditional = facts.has_if_none_match || facts.has_if_modified_since || facts.has_origin_condition;
    !(facts.authorized
        || facts.has_range
        || conditional
        || facts.directives.no_cache
        || facts.directives.no_store)
}
