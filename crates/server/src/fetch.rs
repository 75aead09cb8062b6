//! One fetch for the store: a task of its own, so that no client's departure ends it.
//!
//! It sends the request (with the stored response's validators, where there is one to validate), judges the answer, and either
//! freshens the stored response, writes the answer to the store while all who wait read along, or hands the
//! answer to the one client that asked, unstored.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use larder_policy::{
    CacheKey, Combination, Conditions, Exchange, Fields, Freshened, NotStored, OriginFailure, PieceSource,
    PolicySettings, RangeRequest, RequestFacts, StoredResponse, TargetUri, Timestamp, combine, displaces,
    freshen, packages, remove_hop_by_hop, stale_on_error, storability,
};
use larder_storage::{BodyReader, Fill, Filling, Stored};
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
    pub(crate) outbound: Outbound,
    /// The stored response that is stale, or not to be used as it is.
    pub(crate) stored: Option<Arc<Stored>>,
    /// How to ask whether it still holds.
    pub(crate) conditions: Option<Conditions>,
    /// How to ask for what is missing of it, where it is a part.
    pub(crate) missing: Option<RangeRequest>,
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

/// Starts the fetch; events come until `Done`. Dropping the receiver does not end it.
pub(crate) fn start(worker: &Arc<Worker>, plan: Plan, leading: Option<Leading>) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(4);
    let task = worker.tasks.guard();
    let worker = Arc::clone(worker);
    tokio::spawn(async move {
        let _task = task;
        run(&worker, plan, leading, ToClient(events)).await;
    });
    receiver
}

async fn run(worker: &Worker, mut plan: Plan, leading: Option<Leading>, mut client: ToClient) {
    let proxy = &worker.proxy;
    let begun = proxy.flights.begin();
    loop {
        let mut outbound = plan.outbound.clone();
        if let Some(conditions) = &plan.conditions {
            conditions.apply(&mut outbound.fields);
        }
        if let Some(missing) = &plan.missing {
            missing.apply(&mut outbound.fields);
        }
        let request_time = proxy.clock.now();
        let response = match worker.origins.fetch(&outbound, &mut client).await {
            Ok(response) => response,
            Err(error) => {
                if let Some(leading) = leading.filter(|_| error.is_lasting()) {
                    leading.tell(Progress::Unreachable(error.clone()));
                }
                return done(&client, Fetched::Failed { stored: plan.stored, error }).await;
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
        let rule = proxy.package_rule(&plan.target);
        if let (Some(stored), Some(_), StatusCode::NOT_MODIFIED) =
            (&plan.stored, &plan.conditions, head.status)
        {
            let hop = body.hop().clone();
            drop(body);
            match freshen(&plan.policy, stored.response(), &exchange, rule.as_ref()) {
                Some(freshened) if is_readable(stored).await => {
                    let fetched =
                        keep_freshened(worker, stored, freshened, begun, leading.as_ref(), hop).await;
                    return done(&client, fetched).await;
                }
                // It speaks of another response than the one that is stored, or that one is gone: ask again for all of it.
                _ => {
                    plan.conditions = None;
                    continue;
                }
            }
        }
        if let (Some(stored), Some(_)) = (&plan.stored, &plan.missing)
            && matches!(head.status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
        {
            let combination =
                combine(&plan.policy, stored.response(), stored.body_len(), &exchange, rule.as_ref());
            if let Some(combination) = combination.filter(|_| head.status == StatusCode::PARTIAL_CONTENT)
                && is_readable(stored).await
            {
                let expect = rule.and_then(|rule| rule.digest);
                return join(worker, stored, combination, body, begun, expect, leading, client).await;
            }
            // The two do not belong together: fetch again, as if nothing were stored.
            plan.missing = None;
            continue;
        }
        if let Some(stored) = &plan.stored {
            let failure = OriginFailure::Status(head.status);
            if stale_on_error(&plan.policy, &plan.facts, stored.response(), failure, response_time).is_some()
            {
                if let Some(leading) = &leading {
                    leading.tell(Progress::Failed(head.status));
                }
                return done(&client, Fetched::Hidden { stored: Arc::clone(stored), status: head.status })
                    .await;
            }
        }
        let storable = match storability(&plan.policy, &exchange, rule.as_ref()) {
            // A part does not take the place of what says more.
            Ok(part) if part.facts().part().is_some() && !displaces_all(worker, &plan.key, &part).await => {
                Err(NotStored::Partial)
            }
            storable => storable,
        };
        remove_hop_by_hop(&mut head.fields);
        return match storable {
            Ok(response) => {
                let whole = response.facts().part().is_none();
                let expect = rule.filter(|_| whole).and_then(|rule| rule.digest);
                let fill = proxy.store.begin(plan.key, response, content_length(&body), expect);
                store(worker, fill, head, body, begun, leading, client).await;
            }
            Err(why) => {
                if let Some(stored) =
                    plan.stored.filter(|stored| outdates(head.status, why, stored, response_time))
                {
                    proxy.store.remove(stored.key()).await;
                }
                if let Some(leading) = leading {
                    leading.cannot_share();
                }
                done(&client, Fetched::Passing { head, body, why }).await;
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
    let task = worker.tasks.guard();
    let worker = Arc::clone(worker);
    let begun = worker.proxy.flights.begin();
    tokio::spawn(async move {
        let _task = task;
        let fill = worker.proxy.store.begin(key, response, content_length(&body), None);
        store(&worker, fill, head, body, begun, None, ToClient(events)).await;
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

async fn done(client: &ToClient, fetched: Fetched) {
    // Nobody may be there any more; then the answer, and with it the connection, is dropped.
    let _ = client.0.send(Event::Done(Box::new(fetched))).await;
}

/// Whether the body of a stored response is still there and what it was.
async fn is_readable(stored: &Arc<Stored>) -> bool {
    stored.body(0..1).next().await.is_ok()
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
    let about_the_request =
        matches!(why, NotStored::Authorization | NotStored::RequestNoStore | NotStored::Partial);
    speaks_for_all
        && !about_the_request
        && status != StatusCode::NOT_MODIFIED
        && !stored.response().is_fresh(now)
}

/// Writes the body to the store, at the origin's speed, while clients read along.
async fn store(
    worker: &Worker,
    mut fill: Fill,
    head: ResponseHead,
    mut body: Box<OriginBody>,
    begun: Begun,
    mut leading: Option<Leading>,
    client: ToClient,
) {
    let _entered = worker.proxy.metrics.fills.enter();
    let filling = fill.filling();
    let hop = body.hop().clone();
    // The first reader is made before the first byte is written, so that it misses nothing whatever becomes of the storing.
    let Some(reader) = filling.reader(0..u64::MAX) else { return };
    if let Some(leading) = &leading {
        leading.tell(Progress::Filling(Arc::clone(&filling)));
    }
    let storing = Fetched::Storing { head, filling: Arc::clone(&filling), reader, hop };
    if filling.length() == Some(0) {
        // Without content the head is all that its client waits for: it may not come before the record.
        if let Ok(None) = body.next().await {
            finish(worker, fill, begun).await;
        }
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
                tracing::debug!("not stored: {error}");
                return;
            }
        }
        if filling.readers() == 0 && !worth_finishing(worker, &filling, body.received()) {
            // Nobody can join from here on; who has joined before is counted.
            drop(leading.take());
            if filling.readers() == 0 {
                tracing::debug!("download given up: nobody reads it and too much is missing");
                return;
            }
        }
    }
}

/// Whether a part may be stored beside what is there: the store keeps one response for each set of nominated fields.
async fn displaces_all(worker: &Worker, key: &CacheKey, part: &StoredResponse) -> bool {
    let variants = worker.proxy.store.lookup(key).await;
    let mut same =
        variants.iter().map(|stored| stored.response()).filter(|other| other.nominated() == part.nominated());
    same.all(|other| displaces(part, other))
}

/// Writes a stored part and what was missing of it to the store as one, while clients read along.
#[allow(clippy::too_many_arguments, reason = "all that a fetch has come to; it is called in one place")]
async fn join(
    worker: &Worker,
    stored: &Arc<Stored>,
    combination: Combination,
    mut received: Box<OriginBody>,
    begun: Begun,
    expect: Option<packages::ExpectedDigest>,
    leading: Option<Leading>,
    client: ToClient,
) {
    let _entered = worker.proxy.metrics.fills.enter();
    let length = combination.length();
    let expect = expect.filter(|_| combination.response.facts().part().is_none());
    let mut fill = worker.proxy.store.begin(stored.key().clone(), combination.response, Some(length), expect);
    let filling = fill.filling();
    let hop = received.hop().clone();
    let Some(hold) = filling.reader(0..u64::MAX) else { return };
    if combination.keep.is_err() {
        fill.stop_storing();
    } else if let Some(leading) = &leading {
        leading.tell(Progress::Filling(Arc::clone(&filling)));
    }
    done(&client, Fetched::Combining { filling: Arc::clone(&filling), hold, hop }).await;
    drop(client);
    let mut incoming = Incoming { body: &mut received, at: 0, rest: Bytes::new() };
    for piece in combination.pieces {
        let copied = match piece.source {
            PieceSource::Stored => copy_stored(stored, piece.bytes, &mut fill).await,
            PieceSource::Received => incoming.copy(piece.bytes, &mut fill).await,
        };
        if copied.is_none() {
            tracing::debug!("a part could not be completed");
            return;
        }
    }
    // The received part counts as a whole: it must end as it announced.
    if incoming.drain().await.is_some() {
        finish(worker, fill, begun).await;
    }
}

async fn copy_stored(stored: &Arc<Stored>, range: Range<u64>, fill: &mut Fill) -> Option<()> {
    let mut reader = stored.body(range);
    while let Some(bytes) = reader.next().await.ok()? {
        fill.write(bytes).await.ok()?;
    }
    Some(())
}

/// The body of a received part, read in order.
struct Incoming<'b> {
    body: &'b mut OriginBody,
    /// How far it has been read.
    at: u64,
    /// Bytes read and not used yet; they end at `at`.
    rest: Bytes,
}

impl Incoming<'_> {
    /// Copies these bytes of it; those before them that nobody wants are dropped.
    async fn copy(&mut self, range: Range<u64>, fill: &mut Fill) -> Option<()> {
        loop {
            let start = self.at - self.rest.len() as u64;
            if start >= range.end {
                return Some(());
            }
            if self.rest.is_empty() {
                self.rest = self.body.next().await.ok()??;
                self.at += self.rest.len() as u64;
                continue;
            }
            let unwanted = range.start.saturating_sub(start).min(self.rest.len() as u64);
            let _ = self.rest.split_to(usize::try_from(unwanted).ok()?);
            let wanted = (range.end - (start + unwanted)).min(self.rest.len() as u64);
            let wanted = self.rest.split_to(usize::try_from(wanted).ok()?);
            fill.write(wanted).await.ok()?;
        }
    }

    /// Reads it to its end.
    async fn drain(&mut self) -> Option<()> {
        while self.body.next().await.ok()?.is_some() {}
        Some(())
    }
}

/// The body is whole. It is kept unless it was invalidated, or overtaken by a newer response, while it came.
async fn finish(worker: &Worker, mut fill: Fill, begun: Begun) {
    let proxy = &worker.proxy;
    let filling = fill.filling();
    let outdated = || proxy.flights.is_outdated(filling.key(), begun);
    let overtaken = || {
        let mine = filling.response();
        proxy.store.cached(filling.key()).is_some_and(|variants| {
            variants.iter().map(|stored| stored.response()).any(|other| {
                other.request_time() > mine.request_time() && other.nominated() == mine.nominated()
            })
        })
    };
    if outdated() || overtaken() {
        fill.stop_storing();
    }
    // Asked again, as it may have been invalidated while its record was written.
    if fill.finish().await.is_some() && outdated() {
        proxy.store.remove(filling.key()).await;
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
