//! Fetches of parts: a 206 goes beside what is there of its representation, only what is missing is asked for, and what came of
//! a body that broke off is kept.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use larder_policy::packages::Rule;
use larder_policy::{
    Combination, Exchange, Held, NotStored, Part, Runs, StoredResponse, combine, displaces, remove_hop_by_hop,
};
use larder_storage::{Fill, Filling, Stored};

use super::{Fetched, Plan, ToClient, done, finish, is_superseded, remove_outdated, worth_finishing};
use crate::collapse::{Begun, Leading, Progress};
use crate::origin::{OriginBody, OriginResponse};
use crate::shared::Worker;

/// Requests that the filling of one gap may take: an origin may send less than it was asked for.
const TRIES: usize = 3;

/// Begins to store a part: beside what is there of its representation where that can be proved, else in its place.
pub(super) async fn begin(
    worker: &Worker,
    plan: &Plan,
    part: StoredResponse,
    length: Option<u64>,
    exchange: &Exchange<'_>,
    rule: Option<&Rule>,
) -> Result<Fill, NotStored> {
    let store = &worker.proxy.store;
    for stored in store.lookup(&plan.key).await.iter() {
        let old = stored.response();
        if old.nominated() != part.nominated() {
            continue;
        }
        // A part does not take the place of what says more.
        if !displaces(&part, old) {
            return Err(NotStored::Partial);
        }
        if let Held::Runs(runs) = stored.held()
            && let Some(combination) = combine(&plan.policy, old, &runs, None, exchange, rule)
        {
            combination.keep?;
            return begin_into(worker, stored, combination, rule).ok_or(NotStored::Partial);
        }
    }
    Ok(store.begin(plan.key.clone(), part, length, None))
}

fn begin_into(
    worker: &Worker,
    stored: &Arc<Stored>,
    combination: Combination,
    rule: Option<&Rule>,
) -> Option<Fill> {
    let Combination { response, range, complete_length, .. } = combination;
    let expect = rule.and_then(|rule| rule.digest);
    worker.proxy.store.begin_into(stored, response, range, complete_length, expect)
}

/// What is stored of a representation, about to become what a client wants.
pub(super) struct Completion {
    fill: Fill,
    range: Range<u64>,
    complete_length: Option<u64>,
    received: Part,
}

/// Whether the answer for the first gap belongs to what is stored, and that can be read.
pub(super) async fn completion(
    worker: &Worker,
    plan: &Plan,
    exchange: &Exchange<'_>,
    rule: Option<&Rule>,
) -> Option<Completion> {
    let (stored, missing) = (plan.stored.as_ref()?, plan.missing.as_ref()?);
    let Held::Runs(runs) = stored.held() else { return None };
    let combination = combine(&plan.policy, stored.response(), &runs, Some(missing), exchange, rule)?;
    // What may not be stored may not be put together in the store either.
    combination.keep.ok()?;
    // Before a head goes out: a damaged part is no part.
    let first = match runs.run_at(combination.range.start) {
        Some(_) => combination.range.start,
        None => runs.missing(combination.range.clone()).first()?.end,
    };
    if first < combination.range.end {
        stored.body(first..first + 1).next().await.ok()?;
    }
    let (range, complete_length) = (combination.range.clone(), combination.complete_length);
    let received = combination.received;
    let fill = begin_into(worker, stored, combination, rule)?;
    Some(Completion { fill, range, complete_length, received })
}

/// Fetches what is missing, gap by gap, while clients read along; what is there is read from the store.
pub(super) async fn complete(
    worker: &Worker,
    plan: Plan,
    completion: Completion,
    body: Box<OriginBody>,
    begun: Begun,
    leading: Option<Leading>,
    client: ToClient,
) {
    let _entered = worker.proxy.metrics.fills.enter();
    let Completion { fill, range, complete_length, received } = completion;
    let filling = fill.filling();
    let hop = body.hop().clone();
    // The first reader is made before the first byte is written, so that it misses nothing whatever becomes of the storing.
    let Some(hold) = filling.reader(0..u64::MAX) else { return };
    // Others may want all of it.
    let leading = leading.filter(|_| range.start == 0 && complete_length == Some(range.end));
    if let Some(leading) = &leading {
        leading.tell(Progress::Filling(Arc::clone(&filling)));
    }
    done(&client, Box::new(Fetched::Combining { filling: Arc::clone(&filling), hold, hop })).await;
    let gaps = plan.missing.as_ref().map(|missing| missing.gaps().to_vec()).unwrap_or_default();
    let source = Some(Incoming::new(received, body));
    let mut completing = Completing { worker, plan, client, filling, fill, leading, at: range.start, source };
    for gap in gaps {
        let until = gap.end.min(range.end);
        if !completing.fill_gap(gap, until).await {
            return keep(worker, completing.fill, begun).await;
        }
    }
    completing.skip(range.end).await;
    finish(worker, completing.fill, begun).await;
}

struct Completing<'w> {
    worker: &'w Worker,
    plan: Plan,
    client: ToClient,
    filling: Arc<Filling>,
    fill: Fill,
    leading: Option<Leading>,
    /// How far the client's bytes are here.
    at: u64,
    source: Option<Incoming>,
}

impl Completing<'_> {
    async fn skip(&mut self, to: u64) {
        if self.at < to {
            self.fill.skip(to).await;
            self.at = to;
        }
    }

    /// False when the gap was not filled.
    async fn fill_gap(&mut self, gap: Range<u64>, until: u64) -> bool {
        self.skip(gap.start).await;
        let mut tries = 0;
        while self.at < until {
            if !self.source.as_ref().is_some_and(|source| source.reaches(self.at)) {
                tries += 1;
                if tries > TRIES || !self.ask(self.at..gap.end).await {
                    return false;
                }
            }
            let Some(source) = &mut self.source else { return false };
            match source.next(self.at, until).await {
                Some(bytes) => {
                    self.at += bytes.len() as u64;
                    if self.fill.write(bytes).await.is_err() {
                        return false;
                    }
                }
                None => {
                    tracing::debug!("a part could not be completed: the origin's answer ended early");
                    return false;
                }
            }
            if self.is_unwanted() {
                tracing::debug!("completion given up: nobody reads it and too much is missing");
                return false;
            }
        }
        if self.source.as_ref().is_some_and(|source| !source.reaches(self.at))
            && let Some(mut source) = self.source.take()
        {
            // Read to its end, a connection can be used again.
            let _ = source.body.next().await;
        }
        true
    }

    fn is_unwanted(&mut self) -> bool {
        let given_up = |this: &Self| {
            this.filling.readers() == 0
                && !worth_finishing(this.worker, &this.filling, this.filling.received())
        };
        if !given_up(self) {
            return false;
        }
        // Nobody can join from here on; who has joined before is counted.
        drop(self.leading.take());
        given_up(self)
    }

    /// Asks for the next gap. False when the answer is not a part of the same representation, from where it is wanted.
    async fn ask(&mut self, gap: Range<u64>) -> bool {
        let Plan { missing: Some(missing), stored: Some(stored), .. } = &self.plan else { return false };
        let proxy = &self.worker.proxy;
        let mut outbound = self.plan.outbound.clone();
        missing.ask(&gap, &mut outbound.fields);
        self.source = None;
        let request_time = proxy.clock.now();
        let response = match self.worker.origins.fetch(&outbound, &mut self.client).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!("a part could not be completed: {error}");
                return false;
            }
        };
        let OriginResponse { mut head, body, .. } = response;
        let exchange = Exchange {
            facts: &self.plan.facts,
            target: &self.plan.target,
            request: &self.plan.request,
            status: head.status,
            response: &head.fields,
            request_time,
            response_time: proxy.clock.now(),
            framing_sound: body.has_sound_end(&head),
        };
        let runs = match stored.held() {
            Held::Runs(runs) => runs,
            Held::Body(_) => return false,
        };
        let combination = combine(&self.plan.policy, stored.response(), &runs, None, &exchange, None);
        let received = combination.filter(|found| found.keep.is_ok()).map(|found| found.received);
        match received.filter(|received| (received.first()..=received.last()).contains(&gap.start)) {
            Some(received) => {
                remove_hop_by_hop(&mut head.fields);
                self.source = Some(Incoming::new(received, body));
                true
            }
            None => {
                if head.status == StatusCode::OK {
                    // If-Range did not hold: what is stored is outdated.
                    proxy.store.remove(stored.key()).await;
                }
                false
            }
        }
    }
}

/// The body of a received part, read in order.
struct Incoming {
    body: Box<OriginBody>,
    /// The position of the next byte.
    at: u64,
    end: u64,
    /// Bytes read and not used yet; they end at `at`.
    rest: Bytes,
}

impl Incoming {
    fn new(received: Part, body: Box<OriginBody>) -> Self {
        Self { body, at: received.first(), end: received.last() + 1, rest: Bytes::new() }
    }

    /// Whether the byte at a position is still to come.
    fn reaches(&self, position: u64) -> bool {
        self.at - self.rest.len() as u64 <= position && position < self.end
    }

    /// The next bytes from a position on, at most up to another; those before are dropped. `None` if they do not come.
    async fn next(&mut self, from: u64, until: u64) -> Option<Bytes> {
        loop {
            let start = self.at - self.rest.len() as u64;
            if self.rest.is_empty() {
                self.rest = self.body.next().await.ok()??;
                self.at += self.rest.len() as u64;
                continue;
            }
            let unwanted = from.saturating_sub(start).min(self.rest.len() as u64);
            let _ = self.rest.split_to(usize::try_from(unwanted).ok()?);
            let wanted = until.min(self.end).saturating_sub(start + unwanted).min(self.rest.len() as u64);
            let wanted = self.rest.split_to(usize::try_from(wanted).ok()?);
            if !wanted.is_empty() {
                return Some(wanted);
            }
            if start + unwanted >= self.end {
                return None;
            }
        }
    }
}

/// Whether a part still says more than what is there: a whole response may have been stored while it came.
pub(super) async fn may_be_kept(worker: &Worker, filling: &Filling, part: &StoredResponse) -> bool {
    if part.facts().part().is_none() {
        return true;
    }
    let variants = worker.proxy.store.lookup(filling.key()).await;
    let mut same =
        variants.iter().map(|stored| stored.response()).filter(|other| other.nominated() == part.nominated());
    same.all(|other| displaces(part, other))
}

/// What came of a body that broke off, or that nobody waits for any more, is kept as a part where it is worth it.
pub(super) async fn keep(worker: &Worker, fill: Fill, begun: Begun) {
    let filling = fill.filling();
    // Of what a signature opened only the whole can be proved.
    if filling.key().leaves_out_signature() || is_superseded(worker, &filling, begun) {
        return;
    }
    let part = match filling.response() {
        response if response.facts().part().is_some() => Some(response.clone()),
        response => response.holding(&Runs::of(0..filling.received()), filling.length()),
    };
    match part {
        Some(part) if may_be_kept(worker, &filling, &part).await => {}
        _ => return,
    }
    let stored = fill.keep(worker.proxy.config.limits.partial_bytes).await;
    remove_outdated(worker, &filling, begun, stored).await;
}
