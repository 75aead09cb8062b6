//! One fetch for the store: a task of its own, so that no client's departure ends it.
//!
//! It sends the request (with the stored response's validators, where there is one to validate), judges the answer, and either
//! freshens the stored response, writes the answer to the store while all who wait read along, or hands the
//! answer to the one client that asked, unstored.

mod parts;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;
use larder_policy::packages::Rule;
use larder_policy::{
    CacheKey, Conditions, Exchange, Fields, Freshened, Held, Missing, NotStored, OriginFailure,
    PolicySettings, RequestFacts, StoredResponse, TargetUri, Timestamp, freshen, remove_hop_by_hop,
    stale_on_error, storability,
};
use larder_storage::{BodyReader, Fill, Filling, Stored, Variants};
use tokio::sync::mpsc;

use crate::collapse::{Begun, Leading, Progress};
use crate::error::UpstreamError;
use crate::http1::{Framing, ResponseHead};
use crate::origin::{Interim, OriginBody, OriginResponse, Outbound};
use crate::shared::Worker;
use crate::transaction::NextHop;

/// What is to be fetched, and for whom.
pub(crate) struct Plan {
    pub(crate) key: CacheKey,
    pub(crate) policy: Arc<PolicySettings>,
    pub(crate) target: TargetUri,
    /// The client's end-to-end fields.
    pub(crate) request: Fields,
    pub(crate) facts: RequestFacts,
    /// The package rule for the target.
    pub(crate) rule: Option<Rule>,
    pub(crate) outbound: Outbound,
    /// The stored response that is stale, or not to be used as it is.
    pub(crate) stored: Option<Arc<Stored>>,
    /// How to ask whether it still holds.
    pub(crate) conditions: Option<Conditions>,
    /// How to ask for what is missing of it, where it is a part.
    pub(crate) missing: Option<Missing>,
}

/// What the client that caused a fetch is told.
pub(crate) enum Event {
    /// An interim response.
    Interim(ResponseHead),
    /// What came of it.
    Done(Box<Fetched>),
}

/// What came of a fetch.
pub(crate) enum Fetched {
    /// The answer goes into the store; read along.
    Storing { head: ResponseHead, filling: Arc<Filling>, reader: BodyReader, hop: NextHop },
    /// A stored part and the origin's answer together go into the store; `hold` keeps the start readable until it is read.
    Combining { filling: Arc<Filling>, hold: BodyReader, hop: NextHop },
    /// The answer is for this client alone.
    Passing { head: ResponseHead, body: Box<OriginBody>, why: NotStored },
    /// The stored response is still right; `revised` is its head for this request, where that may not be stored.
    Freshened { stored: Arc<Stored>, revised: Option<Box<StoredResponse>>, hop: NextHop },
    /// The origin answered with an error that the stored response may hide.
    Hidden { stored: Arc<Stored>, status: StatusCode },
    /// The origin could not be asked; the stored response may stand in where the rules allow it.
    Failed { stored: Option<Arc<Stored>>, error: UpstreamError },
}

struct ToClient(mpsc::Sender<Event>);

impl Interim for ToClient {
    async fn interim(&mut self, head: ResponseHead) {
        // A client that has left gets no interim responses.
        let _ = self.0.send(Event::Interim(head)).await;
    }
}

/// What the head of an answer came to.
enum Judged {
    /// There is no more to it.
    Done(Box<Fetched>),
    /// The body goes into the store.
    Store(Box<Storing>),
    /// It completes a stored part.
    Complete(Box<(parts::Completion, Box<OriginBody>)>),
}

/// An answer that goes into the store.
struct Storing {
    fill: Fill,
    head: ResponseHead,
    body: Box<OriginBody>,
}

/// Starts the fetch; events come until `Done`. Dropping the receiver does not end it.
pub(crate) fn start(worker: &Arc<Worker>, plan: Plan, mut leading: Option<Leading>) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(4);
    let begun = worker.proxy.flights.begin();
    // Boxed, so that little is moved when the task is made.
    let mut plan = Box::new(plan);
    aside(worker, |worker| {
        Box::pin(async move {
            let mut client = ToClient(events);
            let judged = judge(&worker, &mut plan, begun, &mut leading, &mut client).await;
            carry_on(&worker, plan, judged, begun, leading, client).await;
        })
    });
    receiver
}

/// The same for one client whom nobody follows. As long as nothing is to be stored, its departure ends the fetch. None: the
/// proxy failed.
pub(crate) async fn alone(
    worker: &Arc<Worker>,
    mut plan: Plan,
    interim: &mut impl Interim,
) -> Option<Box<Fetched>> {
    let begun = worker.proxy.flights.begin();
    let judged = match judge(worker, &mut plan, begun, &mut None, interim).await {
        Judged::Done(fetched) => return Some(fetched),
        judged => judged,
    };
    let (events, receiver) = mpsc::channel(4);
    aside(worker, |worker| {
        let plan = Box::new(plan);
        Box::pin(async move { carry_on(&worker, plan, judged, begun, None, ToClient(events)).await })
    });
    awaited(receiver, interim).await
}

/// What comes of a fetch that was started. None: the proxy failed.
pub(crate) async fn awaited(
    mut events: mpsc::Receiver<Event>,
    interim: &mut impl Interim,
) -> Option<Box<Fetched>> {
    loop {
        match events.recv().await? {
            Event::Interim(head) => interim.interim(head).await,
            Event::Done(fetched) => return Some(fetched),
        }
    }
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does something in a task of its own, for which the worker waits before it ends.
fn aside(worker: &Arc<Worker>, work: impl FnOnce(Arc<Worker>) -> Work) {
    let task = worker.tasks.guard();
    let work = work(Arc::clone(worker));
    tokio::spawn(async move {
        let _task = task;
        work.await;
    });
}

/// What is left to do when the head has been judged.
async fn carry_on(
    worker: &Worker,
    plan: Box<Plan>,
    judged: Judged,
    begun: Begun,
    leading: Option<Leading>,
    client: ToClient,
) {
    match judged {
        Judged::Done(fetched) => done(&client, fetched).await,
        Judged::Store(storing) => store(worker, *storing, begun, leading, client).await,
        Judged::Complete(completion) => {
            let (completion, body) = *completion;
            parts::complete(worker, *plan, completion, body, begun, leading, client).await;
        }
    }
}

/// Sends the request, and says what the head of the answer comes to.
async fn judge(
    worker: &Worker,
    plan: &mut Plan,
    begun: Begun,
    leading: &mut Option<Leading>,
    interim: &mut impl Interim,
) -> Judged {
    let proxy = &worker.proxy;
    let done = |fetched| Judged::Done(Box::new(fetched));
    loop {
        let gap = plan.missing.as_ref().and_then(|missing| Some((missing, missing.gaps().first()?)));
        let mut outbound = Cow::Borrowed(&plan.outbound);
        if let Some(conditions) = &plan.conditions {
            conditions.apply(&mut outbound.to_mut().fields);
        }
        if let Some((missing, gap)) = gap {
            missing.ask(gap, &mut outbound.to_mut().fields);
        }
        let request_time = proxy.clock.now();
        let response = match worker.origins.fetch(&outbound, interim).await {
            Ok(response) => response,
            Err(error) => {
                if let Some(leading) = leading.as_ref().filter(|_| error.is_lasting()) {
                    leading.tell(Progress::Unreachable(error.clone()));
                }
                return done(Fetched::Failed { stored: plan.stored.take(), error });
            }
        };
        let OriginResponse { mut head, body, .. } = response;
        let response_time = proxy.clock.now();
        let exchange = Exchange {
            facts: &plan.facts,
            target: &plan.target,
            request: &plan.request,
            status: head.status,
            response: &head.fields,
            request_time,
            response_time,
            framing_sound: body.has_sound_end(&head),
        };
        let rule = plan.rule;
        if let (Some(stored), Some(_), StatusCode::NOT_MODIFIED) =
            (&plan.stored, &plan.conditions, head.status)
        {
            let hop = body.hop().clone();
            drop(body);
            match freshen(&plan.policy, stored.response(), &exchange, rule.as_ref()) {
                Some(freshened) if is_readable(stored).await => {
                    return done(
                        keep_freshened(worker, stored, freshened, begun, leading.as_ref(), hop).await,
                    );
                }
                // It speaks of another response than the one that is stored, or that one is gone: ask again for all of it.
                _ => {
                    plan.conditions = None;
                    continue;
                }
            }
        }
        if plan.missing.is_some()
            && matches!(head.status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
        {
            match parts::completion(worker, plan, &exchange, rule.as_ref()).await {
                Some(completion) => return Judged::Complete(Box::new((completion, body))),
                // The two do not belong together: fetch again, as if nothing were stored.
                None => plan.missing = None,
            }
            continue;
        }
        if let Some(stored) = &plan.stored {
            let failure = OriginFailure::Status(head.status);
            if stale_on_error(&plan.policy, &plan.facts, stored.response(), failure, response_time).is_some()
            {
                if let Some(leading) = leading.as_ref() {
                    leading.tell(Progress::Failed(head.status));
                }
                return done(Fetched::Hidden { stored: Arc::clone(stored), status: head.status });
            }
        }
        let fill = match storability(&plan.policy, &exchange, rule.as_ref()) {
            Ok(part) if part.facts().part().is_some() => {
                parts::begin(worker, plan, part, content_length(&body), &exchange, rule.as_ref()).await
            }
            Ok(response) => {
                let expect = rule.and_then(|rule| rule.digest);
                Ok(proxy.store.begin(plan.key.clone(), response, content_length(&body), expect))
            }
            Err(why) => Err(why),
        };
        remove_hop_by_hop(&mut head.fields);
        return match fill {
            Ok(fill) => Judged::Store(Box::new(Storing { fill, head, body })),
            Err(why) => {
                let stored = plan.stored.take();
                if let Some(stored) =
                    stored.filter(|stored| outdates(head.status, why, stored, response_time))
                {
                    proxy.store.remove(stored.key()).await;
                }
                if let Some(leading) = leading.take() {
                    leading.cannot_share();
                }
                done(Fetched::Passing { head, body, why })
            }
        };
    }
}

/// Keeps the answer to a request that was not made for the store but answers later ones (RFC 9110, 9.3.3), and gives it to
/// its client from there.
pub(crate) fn keep(
    worker: &Arc<Worker>,
    key: CacheKey,
    response: StoredResponse,
    head: ResponseHead,
    body: Box<OriginBody>,
) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(1);
    let begun = worker.proxy.flights.begin();
    let fill = worker.proxy.store.begin(key, response, content_length(&body), None);
    let storing = Storing { fill, head, body };
    aside(worker, |worker| {
        Box::pin(async move { store(&worker, storing, begun, None, ToClient(events)).await })
    });
    receiver
}

/// What the framing says of the length of the content.
fn content_length(body: &OriginBody) -> Option<u64> {
    match body.framing() {
        Framing::Length(length) => Some(length),
        Framing::None => Some(0),
        Framing::Chunked | Framing::UntilClose => None,
    }
}

async fn done(client: &ToClient, fetched: Box<Fetched>) {
    // Nobody may be there any more; then the answer, and with it the connection, is dropped.
    let _ = client.0.send(Event::Done(fetched)).await;
}

/// Whether the body of a stored response is still there and what it was.
async fn is_readable(stored: &Arc<Stored>) -> bool {
    let first = match stored.held() {
        Held::Body(_) => 0,
        Held::Runs(runs) => runs.hull().map_or(0, |hull| hull.start),
    };
    stored.body(first..first + 1).next().await.is_ok()
}

async fn keep_freshened(
    worker: &Worker,
    stored: &Arc<Stored>,
    freshened: Freshened,
    begun: Begun,
    leading: Option<&Leading>,
    hop: NextHop,
) -> Fetched {
    let proxy = &worker.proxy;
    let outdated = || proxy.flights.is_outdated(stored.key(), begun);
    let Freshened { response, keep } = freshened;
    if keep.is_err() || outdated() {
        return Fetched::Freshened { stored: Arc::clone(stored), revised: Some(Box::new(response)), hop };
    }
    let fresh = proxy.store.freshen(stored, response).await;
    // Asked again, as it may have been invalidated while its record was written.
    if outdated() {
        proxy.store.remove(stored.key()).await;
    } else if let Some(leading) = leading {
        leading.tell(Progress::Freshened(Arc::clone(&fresh)));
    }
    Fetched::Freshened { stored: fresh, revised: None, hop }
}

/// Whether an answer that is not stored takes the place of the stale response all the same. An error, or an answer that
/// only this client's credentials brought about, does not.
fn outdates(status: StatusCode, why: NotStored, stored: &Stored, now: Timestamp) -> bool {
    let speaks_for_all =
        status.is_success() || status.is_redirection() || matches!(status.as_u16(), 404 | 410);
    let about_the_request = matches!(
        why,
        NotStored::Authorization | NotStored::RequestNoStore | NotStored::Partial | NotStored::Status
    );
    speaks_for_all
        && !about_the_request
        && status != StatusCode::NOT_MODIFIED
        && !stored.response().is_fresh(now)
}

/// Writes the body to the store, at the origin's speed, while clients read along.
async fn store(
    worker: &Worker,
    storing: Storing,
    begun: Begun,
    mut leading: Option<Leading>,
    client: ToClient,
) {
    let Storing { mut fill, head, mut body } = storing;
    let _entered = worker.proxy.metrics.fills.enter();
    let filling = fill.filling();
    let hop = body.hop().clone();
    // The first reader is made before the first byte is written, so that it misses nothing whatever becomes of the storing.
    let Some(reader) = filling.reader(0..u64::MAX) else { return };
    if let Some(leading) = &leading {
        leading.tell(Progress::Filling(Arc::clone(&filling)));
    }
    let storing = Box::new(Fetched::Storing { head, filling: Arc::clone(&filling), reader, hop });
    if body.is_here() || filling.length() == Some(0) {
        // The head does not go ahead of what needs no waiting: it may not come before the record of a response without content, and
        // leaves in one piece with content that is short.
        write_all(worker, fill, body, begun).await;
        return done(&client, storing).await;
    }
    done(&client, storing).await;
    drop(client);
    loop {
        match body.next().await {
            Ok(Some(chunk)) => {
                if fill.write(chunk).await.is_err() {
                    return;
                }
            }
            Ok(None) => return finish(worker, fill, begun).await,
            Err(error) => {
                tracing::debug!("not stored whole: {error}");
                return parts::keep(worker, fill, begun).await;
            }
        }
        if filling.readers() == 0 && !worth_finishing(worker, &filling, body.received()) {
            // Nobody can join from here on; who has joined before is counted.
            drop(leading.take());
            if filling.readers() == 0 {
                tracing::debug!("download given up: nobody reads it and too much is missing");
                return parts::keep(worker, fill, begun).await;
            }
        }
    }
}

/// Writes a body to the store that has come already.
async fn write_all(worker: &Worker, mut fill: Fill, mut body: Box<OriginBody>, begun: Begun) {
    loop {
        match body.next().await {
            Ok(Some(chunk)) => {
                if fill.write(chunk).await.is_err() {
                    return;
                }
            }
            Ok(None) => return finish(worker, fill, begun).await,
            Err(error) => return tracing::debug!("not stored whole: {error}"),
        }
    }
}

/// The body is whole. It is kept unless it was invalidated, or overtaken by a newer response, while it came.
async fn finish(worker: &Worker, mut fill: Fill, begun: Begun) {
    let filling = fill.filling();
    if is_superseded(worker, &filling, begun)
        || !parts::may_be_kept(worker, &filling, filling.response()).await
    {
        fill.stop_storing();
    }
    let stored = fill.finish().await;
    remove_outdated(worker, &filling, begun, stored).await;
}

/// Whether what was fetched was invalidated, or overtaken by a newer response, while it came.
fn is_superseded(worker: &Worker, filling: &Filling, begun: Begun) -> bool {
    let proxy = &worker.proxy;
    let mine = filling.response();
    let overtaken = |variants: Variants| {
        variants
            .iter()
            .map(|stored| stored.response())
            .any(|other| other.request_time() > mine.request_time() && other.nominated() == mine.nominated())
    };
    proxy.flights.is_outdated(filling.key(), begun)
        || proxy.store.cached(filling.key()).is_some_and(overtaken)
}

/// Asked again, as it may have been invalidated while its record was written.
async fn remove_outdated(worker: &Worker, filling: &Filling, begun: Begun, stored: Option<Arc<Stored>>) {
    if stored.is_some() && worker.proxy.flights.is_outdated(filling.key(), begun) {
        worker.proxy.store.remove(filling.key()).await;
    }
}

/// Whether a download that nobody reads any more goes on: little is missing, or most of it is here.
fn worth_finishing(worker: &Worker, filling: &Filling, received: u64) -> bool {
    let bound = worker.proxy.config.limits.finish_bytes;
    match filling.length() {
        Some(length) => length.saturating_sub(received) <= bound.max(length / 10),
        None => received <= bound,
    }
}
