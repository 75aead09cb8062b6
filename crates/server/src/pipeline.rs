//! One request from start to end.
//!
//! Each step takes the previous step's type and returns the next one's: a request that access has permitted has a key, a key has
//! stored responses, those and the present give a decision, and the decision is carried out. The rules are policy's; nothing here decides
//! what may be stored or reused.

use std::sync::Arc;

use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Conditions, CurrentAge, Decision, Fields, ForwardReason, Freshened, HttpDate, OriginFailure,
    Precondition, RangePlan, RequestFacts, Selected, StaleReason, StoredResponse, TargetUri, freshen,
    invalidates, not_modified_fields, packages, precondition, range_plan, reuse, stale_on_error,
};
use larder_storage::{BodyReader, Filling, Stored, Tier, Variants};
use tokio::sync::watch;

use crate::body::{Content, Parts};
use crate::collapse::{Leading, Progress, Role};
use crate::fetch::{self, Event, Fetched, Plan};
use crate::http1::{Framing, ResponseHead, Version};
use crate::origin::{Destination, ExchangeError, Interim, OriginBody, Outbound, Upload, Uploading};
use crate::request::{ProxyRequest, Rejection, Target};
use crate::respond::{Answer, CacheStatus, Length, add, not_stored_word, set_age, sign};
use crate::server::Worker;
use crate::transaction::{NextHop, Outcome};

/// A request may wait for others this often before it fetches by itself.
const WAITS: usize = 3;

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

/// Answers a request for a resource of an origin. None: the client's content ended before its end, and there is nobody to answer.
pub(crate) async fn answer<'a, U: Upload>(
    worker: &Arc<Worker>,
    request: &ProxyRequest,
    destination: &Destination,
    upload: Option<&'a mut U>,
    interim: &mut impl Interim,
) -> Option<Answered<'a>> {
    let now = worker.proxy.clock.now();
    let (uri, path) = match &request.target {
        Target::Uri(uri) => (uri, uri.path_and_query()),
        Target::Server(uri) => (uri, "*"),
        Target::Tunnel(_) | Target::Own(_) => {
            let rejection = Rejection {
                status: StatusCode::BAD_REQUEST,
                reason: "there is no such resource here".into(),
            };
            return Some(worker.proxy.own.rejection(&rejection, now).into());
        }
    };
    let mut fields = request.fields.clone();
    add(&mut fields, "Via", &format!("{} {}", digits(request.version), worker.proxy.own.names.pseudonym));
    let outbound = Outbound {
        destination: destination.clone(),
        method: request.method.clone(),
        path: path.to_owned(),
        fields,
    };
    let ask = Ask { worker, request, uri, outbound };
    match upload {
        Some(upload) => ask.exchange(upload, interim).await,
        None if matches!(request.method, Method::GET) => Some(ask.cached(interim).await.into()),
        None if matches!(request.method, Method::HEAD) => Some(ask.head(interim).await.into()),
        None => Some(ask.pass(ForwardReason::Method, interim).await.into()),
    }
}

/// A permitted request and all that it takes to answer it.
struct Ask<'r> {
    worker: &'r Arc<Worker>,
    request: &'r ProxyRequest,
    uri: &'r TargetUri,
    outbound: Outbound,
}

/// A response that may answer the request, complete or still growing.
#[derive(Clone)]
enum Source {
    Stored(Arc<Stored>),
    /// Its body under a head that was freshened for this request alone.
    Revised(Arc<Stored>, Box<StoredResponse>),
    Filling(Arc<Filling>),
}

/// How an answer came about, for `Cache-Status` and the log.
struct Told {
    status: CacheStatus,
    outcome: Outcome,
    hop: NextHop,
}

impl Ask<'_> {
    /// A GET: look up, decide, act.
    async fn cached(&self, interim: &mut impl Interim) -> Answer {
        let proxy = &self.worker.proxy;
        let key = CacheKey::of(self.uri);
        for waited in 0..=WAITS {
            let variants = match proxy.store.cached(&key) {
                Some(variants) => variants,
                None => proxy.store.lookup(&key).await,
            };
            let (selected, decision) = self.decide(&variants);
            let (why, validate) = match (selected, decision) {
                (Some(stored), Decision::Serve { age }) => return self.hit(stored, age),
                (Some(stored), Decision::ServeStale { age, why }) => {
                    return self.stale_hit(&key, stored, age, &why);
                }
                (_, Decision::GatewayTimeout) => return proxy.own.only_if_cached(proxy.clock.now()),
                (Some(stored), Decision::Validate { conditions, why }) => (why, Some((stored, conditions))),
                (_, Decision::Forward { why }) => (why, None),
                // A decision that needs a stored response comes with one.
                (None, _) => (ForwardReason::UriMiss, None),
            };
            let role = if self.may_share() && waited < WAITS {
                proxy.flights.join(&key, |response| self.may_use(response))
            } else {
                Role::Alone
            };
            let leading = match role {
                Role::Alone => None,
                Role::Lead(leading) if waited == 0 && self.came_meanwhile(&key, &variants) => {
                    drop(leading);
                    continue;
                }
                Role::Lead(leading) => Some(leading),
                Role::Follow(progress) => match self.follow(progress, why, validate.as_ref()).await {
                    Some(answer) => return answer,
                    None => continue,
                },
            };
            return self.fetch(key, why, validate, leading, interim).await;
        }
        // The last round never waits, so that it has answered.
        self.pass(ForwardReason::Bypass, interim).await
    }

    fn decide(&self, variants: &Variants) -> (Option<Arc<Stored>>, Decision) {
        let candidates = variants.iter().map(|stored| stored.response());
        let now = self.worker.proxy.clock.now();
        let Selected { index, decision } = reuse(&self.request.facts, &self.request.fields, candidates, now);
        (index.and_then(|index| variants.get(index)).cloned(), decision)
    }

    /// Whether the answer to this request could be another's too: it asks for all of a representation, unconditionally, as anybody might.
    fn may_share(&self) -> bool {
        is_shareable(&self.request.facts)
    }

    fn may_use(&self, response: &StoredResponse) -> bool {
        let now = self.worker.proxy.clock.now();
        let selected = reuse(&self.request.facts, &self.request.fields, [response], now);
        matches!(selected.decision, Decision::Serve { .. })
    }

    /// Between the look-up and the right to fetch, another's fetch may have ended.
    fn came_meanwhile(&self, key: &CacheKey, before: &Variants) -> bool {
        let Some(now) = self.worker.proxy.store.cached(key) else { return false };
        now.len() != before.len() || now.iter().zip(before.iter()).any(|(new, old)| !Arc::ptr_eq(new, old))
    }

    fn hit(&self, stored: Arc<Stored>, age: CurrentAge) -> Answer {
        let outcome = match stored.tier() {
            Tier::Memory => Outcome::MemoryHit,
            Tier::Disk => Outcome::Hit,
        };
        let status = CacheStatus { hit: true, ..CacheStatus::default() };
        self.serve(&Source::Stored(stored), age, Told { status, outcome, hop: NextHop::None })
    }

    fn stale_hit(&self, key: &CacheKey, stored: Arc<Stored>, age: CurrentAge, why: &StaleReason) -> Answer {
        if why.wants_refresh() {
            self.refresh_behind(key, &stored);
        }
        let status = CacheStatus { hit: true, detail: Some(why.to_string()), ..CacheStatus::default() };
        self.serve(
            &Source::Stored(stored),
            age,
            Told { status, outcome: Outcome::StaleHit, hop: NextHop::None },
        )
    }

    /// Validates behind the client's back, once (RFC 5861, 3).
    fn refresh_behind(&self, key: &CacheKey, stored: &Arc<Stored>) {
        let Role::Lead(leading) = self.worker.proxy.flights.join(key, |_| true) else { return };
        let conditions = Conditions::of(stored.response());
        let plan = self.plan(key.clone(), conditions.map(|conditions| (Arc::clone(stored), conditions)));
        drop(fetch::start(self.worker, plan, Some(leading)));
    }

    fn plan(&self, key: CacheKey, validate: Option<(Arc<Stored>, Conditions)>) -> Plan {
        Plan {
            key,
            target: self.uri.clone(),
            request: self.request.fields.clone(),
            facts: self.request.facts,
            outbound: self.outbound.clone(),
            validate,
        }
    }

    /// Waits for another's fetch. None: look again, or go alone.
    async fn follow(
        &self,
        mut progress: watch::Receiver<Progress>,
        why: ForwardReason,
        validate: Option<&(Arc<Stored>, Conditions)>,
    ) -> Option<Answer> {
        let proxy = &self.worker.proxy;
        let wait = progress.wait_for(|progress| !matches!(progress, Progress::Pending));
        let progress = match tokio::time::timeout(proxy.config.limits.waiter_timeout, wait).await {
            Ok(Ok(progress)) => progress.clone(),
            Ok(Err(_)) | Err(_) => return None,
        };
        let now = proxy.clock.now();
        let status = CacheStatus { forwarded: Some(why), collapsed: true, ..CacheStatus::default() };
        match progress {
            Progress::Filling(filling) if self.may_use(filling.response()) => {
                let age = filling.response().current_age(now);
                self.try_serve(
                    &Source::Filling(filling),
                    age,
                    Told { status, outcome: Outcome::Collapsed, hop: NextHop::None },
                )
            }
            Progress::Freshened(stored) if self.may_use(stored.response()) => {
                let age = stored.response().current_age(now);
                Some(self.serve(
                    &Source::Stored(stored),
                    age,
                    Told { status, outcome: Outcome::Collapsed, hop: NextHop::None },
                ))
            }
            Progress::Unreachable => {
                let (stored, _) = validate?;
                let policy = &proxy.config.policy;
                let age = stale_on_error(
                    policy,
                    &self.request.facts,
                    stored.response(),
                    OriginFailure::Unreachable,
                    now,
                )?;
                let status = CacheStatus { hit: true, detail: Some("unreachable".to_owned()), ..status };
                let told = Told { status, outcome: Outcome::StaleOnError, hop: NextHop::None };
                Some(self.serve(&Source::Stored(Arc::clone(stored)), age, told))
            }
            _ => None,
        }
    }

    async fn fetch(
        &self,
        key: CacheKey,
        why: ForwardReason,
        validate: Option<(Arc<Stored>, Conditions)>,
        leading: Option<Leading>,
        interim: &mut impl Interim,
    ) -> Answer {
        let proxy = &self.worker.proxy;
        let validating = validate.is_some();
        let mut events = fetch::start(self.worker, self.plan(key, validate), leading);
        let fetched = loop {
            match events.recv().await {
                Some(Event::Interim(head)) => interim.interim(head).await,
                Some(Event::Done(fetched)) => break *fetched,
                None => return proxy.own.internal(proxy.clock.now()),
            }
        };
        let status = CacheStatus { forwarded: Some(why), ..CacheStatus::default() };
        let forwarded =
            |outcome| if self.request.facts.directives.no_cache { Outcome::ClientRefresh } else { outcome };
        match fetched {
            Fetched::Storing { head, filling, reader, hop } => {
                let status = CacheStatus { forward_status: Some(head.status), stored: true, ..status };
                let outcome = forwarded(if validating { Outcome::RefreshModified } else { Outcome::Miss });
                self.miss(head, &filling, reader, Told { status, outcome, hop })
            }
            Fetched::Passing { head, body, why } => {
                let detail = Some(not_stored_word(&why));
                let status = CacheStatus { forward_status: Some(head.status), detail, ..status };
                let outcome = forwarded(if validating { Outcome::RefreshModified } else { Outcome::Miss });
                let hop = body.hop().clone();
                self.relay(head, body, Told { status, outcome, hop })
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
                self.serve(&source, age, Told { status, outcome: Outcome::RefreshUnmodified, hop })
            }
            Fetched::Stale { stored, age, status: code, error } => {
                let detail =
                    error.map_or_else(|| "stale-if-error".to_owned(), |error| error.token().to_owned());
                let status = CacheStatus { hit: true, forward_status: code, detail: Some(detail), ..status };
                self.serve(
                    &Source::Stored(stored),
                    age,
                    Told { status, outcome: Outcome::StaleOnError, hop: NextHop::None },
                )
            }
            Fetched::Failed(error) => proxy.own.upstream_failure(&error, why, proxy.clock.now()),
        }
    }

    /// A HEAD: answered from a stored GET, else forwarded; what it says may freshen or outdate that GET (RFC 9111, 4.3.5).
    async fn head(&self, interim: &mut impl Interim) -> Answer {
        let proxy = &self.worker.proxy;
        let key = CacheKey::of(self.uri);
        let variants = match proxy.store.cached(&key) {
            Some(variants) => variants,
            None => proxy.store.lookup(&key).await,
        };
        let (selected, decision) = self.decide(&variants);
        match (selected, decision) {
            (Some(stored), Decision::Serve { age }) => self.hit(stored, age),
            (Some(stored), Decision::ServeStale { age, why }) => self.stale_hit(&key, stored, age, &why),
            (_, Decision::GatewayTimeout) => proxy.own.only_if_cached(proxy.clock.now()),
            (Some(stored), Decision::Validate { why, .. }) => {
                self.pass_watched(why, Some(&stored), interim).await
            }
            (_, Decision::Forward { why }) => self.pass(why, interim).await,
            (None, _) => self.pass(ForwardReason::UriMiss, interim).await,
        }
    }

    /// Forwards a request without content; nothing is stored.
    async fn pass(&self, why: ForwardReason, interim: &mut impl Interim) -> Answer {
        self.pass_watched(why, None, interim).await
    }

    async fn pass_watched(
        &self,
        why: ForwardReason,
        watched: Option<&Arc<Stored>>,
        interim: &mut impl Interim,
    ) -> Answer {
        let proxy = &self.worker.proxy;
        let request_time = proxy.clock.now();
        match self.worker.origins.fetch(&self.outbound, interim).await {
            Ok(response) => {
                let mut head = response.head;
                if let Some(stored) = watched {
                    self.freshen_by_head(stored, &head, request_time).await;
                }
                larder_policy::remove_hop_by_hop(&mut head.fields);
                self.forget_changed(&head).await;
                self.relay_passed(head, response.body, why)
            }
            Err(error) => match watched.and_then(|stored| self.stand_in(stored, &error)) {
                Some(answer) => answer,
                None => proxy.own.upstream_failure(&error, why, proxy.clock.now()),
            },
        }
    }

    fn stand_in(&self, stored: &Arc<Stored>, error: &crate::error::UpstreamError) -> Option<Answer> {
        let proxy = &self.worker.proxy;
        if error.is_prohibited() {
            return None;
        }
        let failure = OriginFailure::Unreachable;
        let age = stale_on_error(
            &proxy.config.policy,
            &self.request.facts,
            stored.response(),
            failure,
            proxy.clock.now(),
        )?;
        let status =
            CacheStatus { hit: true, detail: Some(error.token().to_owned()), ..CacheStatus::default() };
        let told = Told { status, outcome: Outcome::StaleOnError, hop: NextHop::None };
        Some(self.serve(&Source::Stored(Arc::clone(stored)), age, told))
    }

    async fn freshen_by_head(
        &self,
        stored: &Arc<Stored>,
        head: &ResponseHead,
        request_time: larder_policy::Timestamp,
    ) {
        let proxy = &self.worker.proxy;
        let exchange = larder_policy::Exchange {
            facts: &self.request.facts,
            target: self.uri,
            request: &self.request.fields,
            status: head.status,
            response: &head.fields,
            request_time,
            response_time: proxy.clock.now(),
            framing_sound: true,
        };
        let rule = if proxy.config.packages { packages::recognise(self.uri) } else { None };
        match freshen(&proxy.config.policy, stored.response(), &exchange, rule.as_ref()) {
            Some(Freshened { response, keep: Ok(()) }) => {
                proxy.store.freshen(stored, response).await;
            }
            Some(Freshened { keep: Err(_), .. }) => {}
            // The representation has changed: what is stored is outdated.
            None if head.status == StatusCode::OK => {
                proxy.store.remove(stored.key()).await;
            }
            None => {}
        }
    }

    /// Forwards a request with content.
    async fn exchange<'a, U: Upload>(
        &self,
        upload: &'a mut U,
        interim: &mut impl Interim,
    ) -> Option<Answered<'a>> {
        let proxy = &self.worker.proxy;
        match self.worker.origins.exchange(&self.outbound, upload, interim).await {
            Ok(response) => {
                let mut head = response.head;
                larder_policy::remove_hop_by_hop(&mut head.fields);
                self.forget_changed(&head).await;
                let answer = self.relay_passed(head, response.body, ForwardReason::Method);
                Some(Answered { answer, uploading: response.uploading })
            }
            Err(ExchangeError::Upstream(error)) => {
                Some(proxy.own.upstream_failure(&error, ForwardReason::Method, proxy.clock.now()).into())
            }
            Err(ExchangeError::Client(_)) => None,
        }
    }

    fn relay_passed(&self, head: ResponseHead, body: Box<OriginBody>, why: ForwardReason) -> Answer {
        let status =
            CacheStatus { forwarded: Some(why), forward_status: Some(head.status), ..CacheStatus::default() };
        let hop = body.hop().clone();
        self.relay(head, body, Told { status, outcome: Outcome::Miss, hop })
    }

    /// RFC 9111, 4.4: what an unsafe request may have changed is not used any more.
    async fn forget_changed(&self, head: &ResponseHead) {
        for key in invalidates(&self.request.method, head.status, self.uri, &head.fields) {
            self.worker.proxy.flights.outdate(&key);
            self.worker.proxy.store.remove(&key).await;
        }
    }

    /// A response straight through, its end-to-end fields untouched.
    fn relay(&self, head: ResponseHead, body: Box<OriginBody>, told: Told) -> Answer {
        let length = match body.framing() {
            Framing::None => self.length_without_content(&head),
            Framing::Length(length) => Length::Known(length),
            Framing::Chunked | Framing::UntilClose => Length::Unknown,
        };
        self.forwarded(head, length, Content::Origin(body), told)
    }

    /// A response to HEAD, or one whose status forbids content, as to its `Content-Length`.
    fn length_without_content(&self, head: &ResponseHead) -> Length {
        if self.request.method != Method::HEAD {
            return Length::None;
        }
        match head
            .fields
            .first("content-length")
            .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
        {
            Some(length) => Length::Known(length),
            None => Length::None,
        }
    }

    /// The answer to the request that caused the storing: what the origin sent, as it comes.
    fn miss(&self, head: ResponseHead, filling: &Arc<Filling>, reader: BodyReader, told: Told) -> Answer {
        let length = match filling.length() {
            _ if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Length::None,
            Some(length) => Length::Known(length),
            None => Length::Unknown,
        };
        self.forwarded(head, length, Content::Stored(reader), told)
    }

    fn forwarded(&self, head: ResponseHead, length: Length, content: Content, told: Told) -> Answer {
        let ResponseHead { status, reason, mut fields, version } = head;
        if !fields.contains("date") {
            // RFC 9110, 6.6.1: whoever receives a response without a date and passes it on says when that was.
            add(&mut fields, "Date", &HttpDate(self.worker.proxy.clock.now()).to_string());
        }
        self.answer(status, Some(reason), fields, (length, content), version, told)
    }

    /// From the store, under the client's own conditions and ranges.
    fn serve(&self, source: &Source, age: CurrentAge, told: Told) -> Answer {
        match self.try_serve(source, age, told) {
            Some(answer) => answer,
            // Only a growing body can have lost its start; complete ones are always readable.
            None => self.worker.proxy.own.internal(self.worker.proxy.clock.now()),
        }
    }

    /// None: the body can no longer be read from where this request needs it.
    fn try_serve(&self, source: &Source, age: CurrentAge, mut told: Told) -> Option<Answer> {
        let response = source.response();
        let now = self.worker.proxy.clock.now();
        let request = &self.request.fields;
        match precondition(&self.request.facts, request, response, now) {
            Precondition::Proceed => {}
            Precondition::NotModified => {
                let mut fields = not_modified_fields(response.fields());
                set_age(&mut fields, age);
                if told.status.forwarded.is_none() && told.status.hit {
                    told.outcome = Outcome::NotModifiedHit;
                }
                let content = (Length::None, Content::Empty);
                return Some(self.answer(
                    StatusCode::NOT_MODIFIED,
                    None,
                    fields,
                    content,
                    Version::Http11,
                    told,
                ));
            }
        }
        let mut fields = response.fields().clone();
        set_age(&mut fields, age);
        let whole = source.length();
        let plan =
            whole.map_or(RangePlan::Whole, |whole| range_plan(&self.request.facts, request, response, whole));
        let (status, length, content) = match plan {
            RangePlan::Single(range) => {
                let whole = whole.unwrap_or_default();
                let last = range.end.saturating_sub(1);
                fields.remove("content-length");
                let _ =
                    fields.set("Content-Range", format!("bytes {}-{last}/{whole}", range.start).as_bytes());
                let length = range.end - range.start;
                (StatusCode::PARTIAL_CONTENT, Length::Known(length), Content::Stored(source.reader(range)?))
            }
            RangePlan::Multiple(ranges) if let Some(stored) = source.complete() => {
                let boundary = self.worker.proxy.boundary(now);
                let (parts, length) = Parts::new(stored, ranges, &boundary);
                fields.remove("content-length");
                let _ = fields
                    .set("Content-Type", format!("multipart/byteranges; boundary={boundary}").as_bytes());
                (StatusCode::PARTIAL_CONTENT, Length::Known(length), Content::Parts(parts))
            }
            RangePlan::Unsatisfiable => {
                let mut fields = Fields::new();
                add(&mut fields, "Content-Range", &format!("bytes */{}", whole.unwrap_or_default()));
                set_age(&mut fields, age);
                let content = (Length::Known(0), Content::Empty);
                return Some(self.answer(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    None,
                    fields,
                    content,
                    Version::Http11,
                    told,
                ));
            }
            RangePlan::Whole | RangePlan::Multiple(_) => {
                if response.status() == StatusCode::OK && whole.is_some() && !fields.contains("accept-ranges")
                {
                    // A stored body answers ranges whatever its origin does; some clients ask only if told so.
                    add(&mut fields, "Accept-Ranges", "bytes");
                }
                let length = match whole {
                    _ if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => {
                        Length::None
                    }
                    Some(whole) => Length::Known(whole),
                    None => Length::Unknown,
                };
                (response.status(), length, Content::Stored(source.reader(0..u64::MAX)?))
            }
        };
        Some(self.answer(status, None, fields, (length, content), Version::Http11, told))
    }

    fn answer(
        &self,
        status: StatusCode,
        reason: Option<Vec<u8>>,
        mut fields: Fields,
        (length, content): (Length, Content),
        received: Version,
        told: Told,
    ) -> Answer {
        sign(&mut fields, &self.worker.proxy.own.names, received, &told.status);
        Answer {
            status,
            reason,
            fields,
            length,
            content,
            outcome: told.outcome,
            forwarded: told.status.forwarded,
            next_hop: told.hop,
            stored: told.status.stored,
            detail: told.status.detail,
        }
    }
}

impl Source {
    fn response(&self) -> &StoredResponse {
        match self {
            Self::Stored(stored) => stored.response(),
            Self::Revised(_, response) => response,
            Self::Filling(filling) => filling.response(),
        }
    }

    /// The stored response, unless its body still grows.
    fn complete(&self) -> Option<&Arc<Stored>> {
        match self {
            Self::Stored(stored) | Self::Revised(stored, _) => Some(stored),
            Self::Filling(_) => None,
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Self::Stored(stored) | Self::Revised(stored, _) => Some(stored.body_len()),
            Self::Filling(filling) => filling.length(),
        }
    }

    fn reader(&self, range: std::ops::Range<u64>) -> Option<BodyReader> {
        match self {
            Self::Stored(stored) | Self::Revised(stored, _) => Some(stored.body(range)),
            Self::Filling(filling) => filling.reader(range),
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

fn digits(version: Version) -> &'static str {
    match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
    }
}
