//! One fetch for the store: a task of its own, so that no client's departure ends it.
//!
//! It sends the request (with the stored response's validators, where there is one to validate), judges the answer, and either
//! freshens the stored response, writes the answer to the store while all who wait read along, or hands the
//! answer to the one client that asked, unstored.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use larder_policy::{
    CacheKey, Conditions, CurrentAge, Exchange, Fields, Freshened, NotStored, OriginFailure, RequestFacts,
    StoredResponse, TargetUri, freshen, packages, remove_hop_by_hop, stale_on_error, storability,
};
use larder_storage::{BodyReader, Fill, Filling, Stored};
use tokio::sync::mpsc;

use crate::collapse::{Begun, Leading, Progress};
use crate::error::UpstreamError;
use crate::http1::{Framing, ResponseHead};
use crate::origin::{Interim, OriginBody, OriginResponse, Outbound};
use crate::server::Worker;
use crate::transaction::NextHop;

/// What is to be fetched, and for whom.
pub(crate) struct Plan {
    pub(crate) key: CacheKey,
    pub(crate) target: TargetUri,
    /// The client's end-to-end fields.
    pub(crate) request: Fields,
    pub(crate) facts: RequestFacts,
    pub(crate) outbound: Outbound,
    /// The stored response to validate.
    pub(crate) validate: Option<(Arc<Stored>, Conditions)>,
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
    /// The answer is for this client alone.
    Passing { head: ResponseHead, body: Box<OriginBody>, why: NotStored },
    /// The stored response is still right; `revised` is its head for this request, where that may not be stored.
    Freshened { stored: Arc<Stored>, revised: Option<Box<StoredResponse>>, hop: NextHop },
    /// The origin failed, and the stored response may stand in for it.
    Stale { stored: Arc<Stored>, age: CurrentAge, status: Option<StatusCode>, error: Option<UpstreamError> },
    /// The origin failed.
    Failed(UpstreamError),
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

async fn run(worker: &Worker, plan: Plan, leading: Option<Leading>, mut client: ToClient) {
    let begun = worker.proxy.flights.begin();
    let mut conditions = plan.validate.as_ref().map(|(_, conditions)| conditions);
    loop {
        let mut outbound = plan.outbound.clone();
        if let Some(conditions) = conditions {
            conditions.apply(&mut outbound.fields);
        }
        let request_time = worker.proxy.clock.now();
        let response = match worker.origins.fetch(&outbound, &mut client).await {
            Ok(response) => response,
            Err(error) => {
                if let Some(leading) = leading.filter(|_| !error.is_prohibited()) {
                    leading.tell(Progress::Unreachable);
                }
                return done(&client, failed(worker, &plan, error)).await;
            }
        };
        let OriginResponse { mut head, body, .. } = response;
        let response_time = worker.proxy.clock.now();
        let exchange = Exchange {
            facts: &plan.facts,
            target: &plan.target,
            request: &plan.request,
            status: head.status,
            response: &head.fields,
            request_time,
            response_time,
            framing_sound: body.framing() != Framing::UntilClose,
        };
        let rule = if worker.proxy.config.packages { packages::recognise(&plan.target) } else { None };
        if let (Some((stored, _)), true) = (&plan.validate, conditions.is_some()) {
            if head.status == StatusCode::NOT_MODIFIED {
                let hop = body.hop().clone();
                drop(body);
                let freshened =
                    freshen(&worker.proxy.config.policy, stored.response(), &exchange, rule.as_ref());
                let Some(Freshened { response, keep }) = freshened else {
                    // It speaks of another response than the one that is stored: ask again for all of it.
                    conditions = None;
                    continue;
                };
                if keep.is_err() || worker.proxy.flights.is_outdated(&plan.key, begun) {
                    let (stored, revised) = (Arc::clone(stored), Some(Box::new(response)));
                    return done(&client, Fetched::Freshened { stored, revised, hop }).await;
                }
                let stored = worker.proxy.store.freshen(stored, response).await;
                if let Some(leading) = &leading {
                    leading.tell(Progress::Freshened(Arc::clone(&stored)));
                }
                return done(&client, Fetched::Freshened { stored, revised: None, hop }).await;
            }
            let failure = OriginFailure::Status(head.status);
            if let Some(age) = stale_on_error(
                &worker.proxy.config.policy,
                &plan.facts,
                stored.response(),
                failure,
                response_time,
            ) {
                let stale = Fetched::Stale {
                    stored: Arc::clone(stored),
                    age,
                    status: Some(head.status),
                    error: None,
                };
                return done(&client, stale).await;
            }
        }
        let storable = storability(&worker.proxy.config.policy, &exchange, rule.as_ref());
        remove_hop_by_hop(&mut head.fields);
        return match storable {
            Ok(response) => {
                let length = match body.framing() {
                    Framing::Length(length) => Some(length),
                    Framing::None => Some(0),
                    Framing::Chunked | Framing::UntilClose => None,
                };
                let expect = rule.and_then(|rule| rule.digest);
                let fill = worker.proxy.store.begin(plan.key, response, length, expect);
                store(worker, fill, head, body, begun, leading, client).await;
            }
            Err(why) => {
                // What the origin now says in place of a stored response outdates it. An error is no such word.
                if let Some((stored, _)) = plan.validate.as_ref().filter(|_| !head.status.is_server_error()) {
                    worker.proxy.store.remove(stored.key()).await;
                }
                if let Some(leading) = leading {
                    leading.cannot_share();
                }
                done(&client, Fetched::Passing { head, body, why }).await;
            }
        };
    }
}

async fn done(client: &ToClient, fetched: Fetched) {
    // Nobody may be there any more; then the answer, and with it the connection, is dropped.
    let _ = client.0.send(Event::Done(Box::new(fetched))).await;
}

fn failed(worker: &Worker, plan: &Plan, error: UpstreamError) -> Fetched {
    let stand_in = plan.validate.as_ref().filter(|_| !error.is_prohibited()).and_then(|(stored, _)| {
        let now = worker.proxy.clock.now();
        let policy = &worker.proxy.config.policy;
        stale_on_error(policy, &plan.facts, stored.response(), OriginFailure::Unreachable, now)
            .map(|age| (stored, age))
    });
    match stand_in {
        Some((stored, age)) => {
            Fetched::Stale { stored: Arc::clone(stored), age, status: None, error: Some(error) }
        }
        None => Fetched::Failed(error),
    }
}

/// Writes the body to the store, at the origin's speed, while clients read along.
async fn store(
    worker: &Worker,
    mut fill: Fill,
    head: ResponseHead,
    mut body: Box<OriginBody>,
    begun: Begun,
    leading: Option<Leading>,
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
    done(&client, Fetched::Storing { head, filling: Arc::clone(&filling), reader, hop }).await;
    drop(client);
    loop {
        let chunk: Bytes = match body.next().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => {
                let outdated = || worker.proxy.flights.is_outdated(filling.key(), begun);
                if outdated() {
                    fill.stop_storing();
                }
                // Asked again, as it may have been invalidated while its record was written.
                if fill.finish().await.is_some() && outdated() {
                    worker.proxy.store.remove(filling.key()).await;
                }
                return;
            }
            Err(error) => {
                tracing::debug!("not stored: {error}");
                return;
            }
        };
        if fill.write(chunk).await.is_err() {
            return;
        }
        if filling.readers() == 0 && !worth_finishing(worker, &filling, body.received()) {
            tracing::debug!("download given up: nobody reads it and too much is missing");
            return;
        }
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
