//! Responses as the client gets them: from the store under the client's own conditions and ranges, or straight through.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use http::{Method, StatusCode};
use larder_policy::{
    CurrentAge, Fields, Held, HttpDate, PartPlan, PolicySettings, Precondition, RangePlan, StoredResponse,
    TargetUri, not_modified_fields, part_plan, precondition, range_plan,
};
use larder_storage::{BodyReader, Filling, Stored};

use crate::body::{Content, Parts};
use crate::http1::{Framing, ResponseHead, Version};
use crate::origin::OriginBody;
use crate::request::ProxyRequest;
use crate::respond::{Answer, CacheStatus, Length, add, set_age, sign};
use crate::shared::Proxy;
use crate::transaction::{NextHop, Outcome};

/// A response that may answer the request, complete or still growing.
pub(crate) enum Source {
    Stored(Arc<Stored>),
    /// Its body under a head that was freshened for this request alone.
    Revised(Arc<Stored>, Box<StoredResponse>),
    Filling(Arc<Filling>),
}

/// How an answer came about, for `Cache-Status` and the log.
pub(crate) struct Told {
    pub(crate) status: CacheStatus,
    pub(crate) outcome: Outcome,
    pub(crate) hop: NextHop,
}

/// Makes the answers to one request.
pub(crate) struct Answering<'r> {
    pub(crate) proxy: &'r Proxy,
    pub(crate) policy: &'r PolicySettings,
    pub(crate) target: &'r TargetUri,
    pub(crate) request: &'r ProxyRequest,
}

impl Source {
    pub(crate) fn response(&self) -> &StoredResponse {
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
            Self::Filling(filling) => filling.complete_length(),
        }
    }

    /// Which bytes of a part are here, or will be.
    fn held(&self) -> Option<Held> {
        match self {
            Self::Stored(stored) | Self::Revised(stored, _) => Some(stored.held()),
            Self::Filling(filling) => filling.held(),
        }
    }

    /// Content that is known to be there: of a complete body the first bytes are read before any head goes out, so that a damaged
    /// or removed file is a miss and not a cut transfer.
    async fn content(&self, range: Range<u64>) -> Option<Content> {
        match self {
            Self::Stored(stored) | Self::Revised(stored, _) => begin(stored.body(range)).await,
            Self::Filling(filling) => {
                filling.reader(range).map(|reader| Content::Stored { first: None, reader })
            }
        }
    }
}

async fn begin(mut reader: BodyReader) -> Option<Content> {
    match reader.next().await {
        Ok(Some(first)) => Some(Content::Stored { first: Some(first), reader }),
        Ok(None) => Some(Content::Empty),
        Err(error) => {
            tracing::debug!("a stored body cannot be used: {error}");
            None
        }
    }
}

impl Answering<'_> {
    /// From the store, under the client's own conditions and ranges. None: the body cannot be read from where this request needs it.
    pub(crate) async fn serve(&self, source: &Source, age: CurrentAge, mut told: Told) -> Option<Answer> {
        let response = source.response();
        let now = self.proxy.clock.now();
        told.status.detail = told.status.detail.or_else(|| self.rule_behind(response));
        let (facts, request) = (&self.request.facts, &self.request.fields);
        if precondition(facts, request, response, now) == Precondition::NotModified {
            let mut fields = not_modified_fields(response.fields());
            set_age(&mut fields, age);
            if told.status.forwarded.is_none() && told.status.hit {
                told.outcome = Outcome::NotModifiedHit;
            }
            return Some(self.stored(StatusCode::NOT_MODIFIED, fields, Length::None, Content::Empty, told));
        }
        if response.facts().part().is_some() {
            return self.serve_part(source, age, told).await;
        }
        let whole = source.length();
        let mut fields = whole_fields(response, whole, age);
        let plan = whole.map_or(RangePlan::Whole, |whole| range_plan(facts, request, response, whole));
        let partial = StatusCode::PARTIAL_CONTENT;
        match plan {
            RangePlan::Single(range) => {
                let whole = whole.unwrap_or_default();
                let (length, last) = (range.end - range.start, range.end.saturating_sub(1));
                fields.remove("content-length");
                let _ =
                    fields.set("Content-Range", format!("bytes {}-{last}/{whole}", range.start).as_bytes());
                let content = source.content(range).await?;
                Some(self.stored(partial, fields, Length::Known(length), content, told))
            }
            RangePlan::Multiple(ranges) if let Some(stored) = source.complete() => {
                let boundary = self.proxy.boundary(now);
                let (parts, length) = Parts::new(stored, ranges, &boundary);
                fields.remove("content-length");
                let kind = format!("multipart/byteranges; boundary={boundary}");
                let _ = fields.set("Content-Type", kind.as_bytes());
                Some(self.stored(partial, fields, Length::Known(length), Content::Parts(parts), told))
            }
            RangePlan::Unsatisfiable => Some(self.unsatisfiable(whole.unwrap_or_default(), age, told)),
            RangePlan::Whole | RangePlan::Multiple(_) => {
                let status = response.status();
                let content = match self.request.method {
                    Method::HEAD => Content::Empty,
                    _ => source.content(0..u64::MAX).await?,
                };
                Some(self.stored(status, fields, length_of(status, whole), content, told))
            }
        }
    }

    /// From a stored part. None: it does not hold what is asked for.
    async fn serve_part(&self, source: &Source, age: CurrentAge, told: Told) -> Option<Answer> {
        let response = source.response();
        match part_plan(&self.request.facts, &self.request.fields, response, &source.held()?) {
            PartPlan::Serve { body, content_range } => {
                let mut fields = response.fields().clone();
                set_age(&mut fields, age);
                let complete = content_range
                    .complete_length()
                    .map_or_else(|| "*".to_owned(), |length| length.to_string());
                let value = format!("bytes {}-{}/{complete}", content_range.first(), content_range.last());
                fields.remove("content-length");
                let _ = fields.set("Content-Range", value.as_bytes());
                let length = Length::Known(body.end - body.start);
                let content = source.content(body).await?;
                Some(self.stored(StatusCode::PARTIAL_CONTENT, fields, length, content, told))
            }
            PartPlan::Unsatisfiable { complete_length } => {
                Some(self.unsatisfiable(complete_length, age, told))
            }
            PartPlan::Missing => None,
        }
    }

    fn unsatisfiable(&self, complete_length: u64, age: CurrentAge, told: Told) -> Answer {
        let mut fields = Fields::new();
        add(&mut fields, "Date", &HttpDate(self.proxy.clock.now()).to_string());
        set_age(&mut fields, age);
        add(&mut fields, "Content-Range", &format!("bytes */{complete_length}"));
        self.stored(StatusCode::RANGE_NOT_SATISFIABLE, fields, Length::Known(0), Content::Empty, told)
    }

    /// A response straight through, its end-to-end fields untouched.
    pub(crate) fn relay(&self, head: ResponseHead, body: Box<OriginBody>, told: Told) -> Answer {
        let length = match body.framing() {
            Framing::None => self.length_without_content(&head),
            Framing::Length(length) => Length::Known(length),
            Framing::Chunked | Framing::UntilClose => Length::Unknown,
        };
        self.forwarded(head, length, Content::Origin(body), told)
    }

    /// The answer to the request that caused the storing: what the origin sent, as it comes.
    pub(crate) fn miss(
        &self,
        head: ResponseHead,
        filling: &Arc<Filling>,
        reader: BodyReader,
        mut told: Told,
    ) -> Answer {
        told.status.detail = told.status.detail.or_else(|| self.rule_behind(filling.response()));
        let length = length_of(head.status, filling.length());
        self.forwarded(head, length, Content::Stored { first: None, reader }, told)
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

    /// The name of the override or package rule that had a say in how long a response is fresh.
    fn rule_behind(&self, response: &StoredResponse) -> Option<String> {
        let facts = response.facts();
        if facts.is_overridden() {
            let applied = self.policy.overrides.for_response(self.target, response.fields());
            return applied.map(|applied| format!("override:{}", applied.name));
        }
        facts.rule().map(|rule| rule.name().to_owned())
    }

    fn forwarded(&self, head: ResponseHead, length: Length, content: Content, told: Told) -> Answer {
        let ResponseHead { status, reason, mut fields, version } = head;
        if !fields.contains("date") {
            // RFC 9110, 6.6.1: whoever receives a response without a date and passes it on says when that was.
            add(&mut fields, "Date", &HttpDate(self.proxy.clock.now()).to_string());
        }
        let answer = self.signed(status, fields, length, content, version, told);
        Answer { reason: Some(reason), ..answer }
    }

    fn stored(
        &self,
        status: StatusCode,
        fields: Fields,
        length: Length,
        content: Content,
        told: Told,
    ) -> Answer {
        self.signed(status, fields, length, content, Version::Http11, told)
    }

    fn signed(
        &self,
        status: StatusCode,
        mut fields: Fields,
        length: Length,
        content: Content,
        received: Version,
        told: Told,
    ) -> Answer {
        sign(&mut fields, &self.proxy.own.names, received, &told.status);
        Answer {
            status,
            reason: None,
            fields,
            length,
            content,
            outcome: told.outcome,
            forwarded: told.status.forwarded,
            next_hop: told.hop,
            stored: told.status.stored,
            detail: told.status.detail,
            needs_tunnel: false,
        }
    }
}

/// The fields of a stored response that is `whole` bytes long, at an age.
pub(crate) fn whole_fields(response: &StoredResponse, whole: Option<u64>, age: impl Display) -> Fields {
    let mut fields = response.fields().clone();
    set_age(&mut fields, age);
    if response.status() == StatusCode::OK && whole.is_some() && !fields.contains("accept-ranges") {
        // A stored body answers ranges whatever its origin does; some clients ask only if told so.
        add(&mut fields, "Accept-Ranges", "bytes");
    }
    fields
}

pub(crate) fn length_of(status: StatusCode, length: Option<u64>) -> Length {
    match length {
        _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Length::None,
        Some(length) => Length::Known(length),
        None => Length::Unknown,
    }
}
