//! What is known of a request as it is answered, for the access log and the metrics.
//!
//! Every request that was read is told of once, also one that is cut in the middle: then with what was known of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use larder_policy::{Fields, Timestamp};

use crate::access_log::ExchangeFields;
use crate::body::Content;
use crate::entrance::Entrance;
use crate::http1::RequestHead;
use crate::request::{ProxyRequest, Target};
use crate::respond::Answer;
use crate::shared::{Proxy, Worker};
use crate::transaction::{Ending, NextHop, Outcome, Transaction};

/// What the log will be told of a request, as it becomes known.
pub(crate) struct Record {
    pub(crate) transaction: Transaction<'static>,
    worker: Arc<Worker>,
    began: Instant,
    /// The request's fields as received, where the log shows any.
    request: Option<Fields>,
    told: bool,
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.told {
            self.transaction.ending = Ending::ClientAborted;
            self.tell();
        }
    }
}

impl Record {
    pub(crate) fn new(entrance: &Entrance, head: &RequestHead) -> Self {
        let text = |name: &str| {
            head.fields.first(name).map(|value| String::from_utf8_lossy(value).into_owned().into())
        };
        let mut record = Self::of(
            entrance,
            Transaction {
                method: head.method.to_string().into(),
                target: String::from_utf8_lossy(&head.target).into_owned().into(),
                version: head.version.as_str(),
                referer: text("referer"),
                user_agent: text("user-agent"),
                ..blank(entrance, entrance.proxy().clock.now())
            },
        );
        record.request = shows_fields(entrance.proxy()).then(|| head.fields.clone());
        record
    }

    pub(crate) fn unreadable(entrance: &Entrance, status: StatusCode) -> Self {
        let target = match status {
            StatusCode::REQUEST_TIMEOUT => "error:request-timeout",
            StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                "error:request-too-large"
            }
            _ => "error:invalid-request",
        };
        Self::of(
            entrance,
            Transaction { target: target.into(), ..blank(entrance, entrance.proxy().clock.now()) },
        )
    }

    fn of(entrance: &Entrance, transaction: Transaction<'static>) -> Self {
        Self::since(Instant::now(), entrance, transaction)
    }

    /// Of a request that began earlier.
    pub(crate) fn since(began: Instant, entrance: &Entrance, transaction: Transaction<'static>) -> Self {
        Self { transaction, worker: Arc::clone(&entrance.worker), began, request: None, told: false }
    }

    pub(crate) fn started(&self) -> Timestamp {
        self.transaction.started
    }

    /// The target by which the request is known from here on.
    pub(crate) fn target(&mut self, request: &ProxyRequest) {
        self.transaction.target = match &request.target {
            Target::Uri(uri) | Target::Server(uri) => uri.to_string().into(),
            Target::Tunnel(to) => format!("{}:{}", to.host(), to.port()).into(),
            Target::Own(path) => path.clone().into(),
        };
    }

    /// Tells log and metrics. Without an answer, what the record holds already stands.
    pub(crate) fn finish(mut self, answer: Option<&Answer>, sent: (u64, u64), received: u64, ending: Ending) {
        let transaction = &mut self.transaction;
        (transaction.bytes_sent, transaction.body_sent) = sent;
        transaction.body_received = received;
        transaction.ending = ending;
        if let Some(answer) = answer {
            transaction.status = answer.status.as_u16();
            transaction.outcome = answer.outcome;
            transaction.forwarded = answer.forwarded;
            transaction.stored = answer.stored;
            transaction.detail = answer.detail.clone().map(Into::into);
            transaction.next_hop = answer.next_hop.clone();
            let kind = answer.fields.first("content-type");
            transaction.content_type = kind.map(|value| String::from_utf8_lossy(value).into_owned().into());
            transaction.fields =
                self.request.take().map(|request| Box::new(ExchangeFields::of(&request, &answer.fields)));
            transaction.origin_received = match (&answer.next_hop, &answer.content) {
                (NextHop::None, _) => 0,
                (_, Content::Origin(body)) => body.received(),
                (_, _) => transaction.body_sent,
            };
        }
        self.tell();
    }

    fn tell(&mut self) {
        self.told = true;
        self.transaction.duration = self.began.elapsed();
        tell(&self.worker.proxy, &self.transaction);
    }
}

/// Tells all who want to hear of requests.
pub(crate) fn tell(proxy: &Proxy, transaction: &Transaction<'_>) {
    proxy.metrics.record(transaction);
    if let Some(ledger) = &proxy.ledger {
        ledger.enter(transaction);
    }
    if let Some(log) = &proxy.access_log {
        log.log(transaction);
    }
}

/// Whether anybody reads more of a transaction than its numbers.
pub(crate) fn is_read(proxy: &Proxy) -> bool {
    proxy.ledger.is_some() || proxy.access_log.is_some()
}

/// Whether fields are told of, too.
pub(crate) fn shows_fields(proxy: &Proxy) -> bool {
    proxy.access_log.as_ref().is_some_and(|log| log.shows_fields())
}

/// What is known of a request before anything of it was read.
pub(crate) fn blank(entrance: &Entrance, started: Timestamp) -> Transaction<'static> {
    Transaction {
        started,
        duration: Duration::ZERO,
        client: entrance.client,
        method: "NONE".into(),
        target: "".into(),
        version: "HTTP/1.1",
        status: 0,
        bytes_sent: 0,
        body_sent: 0,
        body_received: 0,
        origin_received: 0,
        outcome: Outcome::Invalid,
        ending: Ending::Complete,
        forwarded: None,
        stored: false,
        detail: None,
        next_hop: NextHop::None,
        content_type: None,
        referer: None,
        user_agent: None,
        fields: None,
    }
}
