//! Answers: status and fields out; errors become statuses here and nowhere else.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::task::Poll;

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_policy::{Fields, ForwardReason, HttpDate, Timestamp};

use crate::body::{Content, ContentError};
use crate::error::UpstreamError;
use crate::http1::Version;
use crate::origin::{Interim, UploadFailure, Uploading, end_of};
use crate::request::Rejection;
use crate::transaction::{Ending, NextHop, Outcome};

/// The detail of an answer that was not to be had since the proxy is offline.
pub(crate) const OFFLINE: &str = "offline";
/// The word for an origin that wants its client to show a certificate.
const CLIENT_CERTIFICATE: &str = "client-certificate";

/// What goes to the client: a head, a content, and what the log is told.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The reason phrase that came with it; none means the usual one.
    pub(crate) reason: Option<Vec<u8>>,
    pub(crate) fields: Fields,
    pub(crate) length: Length,
    pub(crate) content: Content,
    pub(crate) outcome: Outcome,
    pub(crate) forwarded: Option<ForwardReason>,
    pub(crate) next_hop: NextHop,
    pub(crate) stored: bool,
    pub(crate) detail: Option<String>,
    /// Whether only a tunnel of the client's own can bring what it asked for: an origin wants the client's certificate. The client
    /// has to come back over another connection then.
    pub(crate) needs_tunnel: bool,
}

/// How long the content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none, and the status or the method says so.
    None,
    /// This many bytes. To HEAD only the number is sent.
    Known(u64),
    /// The end will tell.
    Unknown,
}

/// The client does not take any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientGone;

/// The sending side of one exchange with a client.
pub(crate) trait Responder: Interim {
    /// Queues the head of the final response. Framing and `Connection` are the protocol's: `fields` holds neither, save a
    /// `Content-Length` that agrees with `length`.
    fn head(
        &mut self,
        status: StatusCode,
        reason: Option<&[u8]>,
        fields: &mut Fields,
        length: Length,
    ) -> impl Future<Output = Result<(), ClientGone>> + Send;
    /// Sends content.
    fn chunk(&mut self, data: Bytes) -> impl Future<Output = Result<(), ClientGone>> + Send;
    /// Ends the content, and sends all that is queued.
    fn end(&mut self, trailers: Option<&Fields>) -> impl Future<Output = Result<(), ClientGone>> + Send;
    /// Sends all that is queued.
    fn flush(&mut self) -> impl Future<Output = Result<(), ClientGone>> + Send;
}

/// Sends an answer, while the rest of the request still goes up.
pub(crate) async fn send<R: Responder>(
    answer: &mut Answer,
    method: &Method,
    takes_trailers: bool,
    mut uploading: Option<Uploading<'_>>,
    responder: &mut R,
) -> Ending {
    let mut transfer = std::pin::pin!(transfer(answer, method, takes_trailers, responder));
    loop {
        tokio::select! {
            ending = &mut transfer => return ending,
            ended = end_of(&mut uploading) => {
                uploading = None;
                if let Err(UploadFailure::Client(_)) = ended {
                    return Ending::ClientAborted;
                }
            }
        }
    }
}

async fn transfer<R: Responder>(
    answer: &mut Answer,
    method: &Method,
    takes_trailers: bool,
    responder: &mut R,
) -> Ending {
    let Answer { status, reason, fields, length, content, .. } = answer;
    if responder.head(*status, reason.as_deref(), fields, *length).await.is_err() {
        return Ending::ClientAborted;
    }
    if *method != Method::HEAD && *length != Length::None {
        loop {
            match unhurried(content.next(), responder).await {
                Ok(Ok(Some(data))) => {
                    if responder.chunk(data).await.is_err() {
                        return Ending::ClientAborted;
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    report_cut(&error);
                    // What came is the client's, but nothing may look like the end.
                    let _ = responder.flush().await;
                    return Ending::OriginAborted;
                }
                Err(ClientGone) => return Ending::ClientAborted,
            }
        }
    }
    let trailers = if takes_trailers { content.take_trailers() } else { None };
    match responder.end(trailers.as_ref()).await {
        Ok(()) => Ending::Complete,
        Err(ClientGone) => Ending::ClientAborted,
    }
}

/// The next content. Before a wait for it, what is queued is sent: a slow origin's bytes are not held back, and a client that has
/// gone is noticed.
async fn unhurried<T, R: Responder>(
    next: impl Future<Output = T>,
    responder: &mut R,
) -> Result<T, ClientGone> {
    let mut next = std::pin::pin!(next);
    let ready = std::future::poll_fn(|cx| match next.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    });
    if let Some(value) = ready.await {
        return Ok(value);
    }
    responder.flush().await?;
    Ok(next.await)
}

fn report_cut(error: &ContentError) {
    match error {
        ContentError::Store(source) => tracing::debug!("transfer cut: {error}: {source}"),
        ContentError::Upstream(_) => tracing::debug!("transfer cut: {error}"),
    }
}

/// The proxy's own names, in the fields that it adds.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// In `Cache-Status` and `Proxy-Status`.
    pub(crate) name: String,
    /// In `Via`: tells this process from another of the same name, so that a loop is not mistaken for a chain.
    pub(crate) pseudonym: String,
    /// The number that the pseudonym ends in.
    pub(crate) instance: u32,
}

/// What `Cache-Status` says of an answer (RFC 9211).
#[derive(Debug, Clone, Default)]
pub(crate) struct CacheStatus {
    pub(crate) hit: bool,
    pub(crate) forwarded: Option<ForwardReason>,
    pub(crate) forward_status: Option<StatusCode>,
    pub(crate) stored: bool,
    pub(crate) collapsed: bool,
    pub(crate) ttl: Option<i64>,
    pub(crate) detail: Option<String>,
}

impl CacheStatus {
    fn print(&self, name: &str) -> String {
        let mut out = name.to_owned();
        if self.hit {
            out.push_str("; hit");
        }
        if let Some(why) = self.forwarded {
            let _ = write!(out, "; fwd={why}");
        }
        if let Some(status) = self.forward_status {
            let _ = write!(out, "; fwd-status={}", status.as_u16());
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(out, "; ttl={ttl}");
        }
        if self.stored {
            out.push_str("; stored");
        }
        if self.collapsed {
            out.push_str("; collapsed");
        }
        if let Some(detail) = &self.detail {
            let _ = write!(out, "; detail={detail}");
        }
        out
    }
}

/// Adds what every answer that came from elsewhere carries: `Via` and `Cache-Status`, each as a line of its own.
pub(crate) fn sign(fields: &mut Fields, names: &Names, received: Version, status: &CacheStatus) {
    add(fields, "Via", &format!("{} {}", version_digits(received), names.pseudonym));
    add(fields, "Cache-Status", &status.print(&names.name));
}

/// A version as `Via` has it.
pub(crate) fn version_digits(version: Version) -> &'static str {
    match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2.0",
    }
}

/// The age of a stored response, in place of whatever age it came with (RFC 9111, 5.1).
pub(crate) fn set_age(fields: &mut Fields, age: impl std::fmt::Display) {
    let _ = fields.set("Age", age.to_string().as_bytes());
}

/// Adds a field made here. A value that is no field value is left out rather than sent.
pub(crate) fn add(fields: &mut Fields, name: &str, value: &str) {
    if fields.push(name, value.as_bytes()).is_err() {
        tracing::debug!("left out {name}: not a field value");
    }
}

/// Makes answers of the proxy itself.
#[derive(Debug, Clone)]
pub(crate) struct OwnAnswers {
    pub(crate) names: Names,
}

impl OwnAnswers {
    /// A short text for people.
    pub(crate) fn text(&self, status: StatusCode, outcome: Outcome, now: Timestamp, text: &str) -> Answer {
        self.page(status, outcome, now, "text/plain; charset=utf-8", printable(text) + "\n")
    }

    /// A page of the proxy's own.
    pub(crate) fn page(
        &self,
        status: StatusCode,
        outcome: Outcome,
        now: Timestamp,
        kind: &str,
        page: impl Into<Bytes>,
    ) -> Answer {
        let page = page.into();
        let mut fields = Fields::new();
        add(&mut fields, "Date", &HttpDate(now).to_string());
        add(&mut fields, "Content-Type", kind);
        add(&mut fields, "Cache-Control", "no-store");
        add(&mut fields, "X-Content-Type-Options", "nosniff");
        Answer {
            status,
            reason: None,
            fields,
            length: Length::Known(page.len() as u64),
            content: Content::Bytes(page),
            outcome,
            forwarded: None,
            next_hop: NextHop::None,
            stored: false,
            detail: None,
            needs_tunnel: false,
        }
    }

    /// A request that is not carried out.
    pub(crate) fn rejection(&self, rejection: &Rejection, now: Timestamp) -> Answer {
        let outcome =
            if rejection.status == StatusCode::FORBIDDEN { Outcome::Denied } else { Outcome::Invalid };
        let mut answer = self.text(rejection.status, outcome, now, &format!("larder: {}.", rejection.reason));
        match rejection.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                add(&mut answer.fields, "Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")
            }
            StatusCode::LOOP_DETECTED => self.proxy_status(&mut answer.fields, "proxy_loop_detected", None),
            StatusCode::FORBIDDEN => {
                // To a CONNECT, clients show the head alone.
                let details = format!("http_request_denied; details={}", quoted(&rejection.reason));
                self.proxy_status(&mut answer.fields, &details, None);
            }
            _ => self.proxy_status(&mut answer.fields, "http_request_error", None),
        }
        answer
    }

    /// The next hop gave no usable answer: 502, 504, or 403 where the rules of access forbid the destination.
    pub(crate) fn upstream_failure(
        &self,
        error: &UpstreamError,
        why: ForwardReason,
        now: Timestamp,
    ) -> Answer {
        let (status, outcome) = if error.is_prohibited() {
            (StatusCode::FORBIDDEN, Outcome::Denied)
        } else if matches!(error, UpstreamError::Offline { .. }) {
            (StatusCode::GATEWAY_TIMEOUT, Outcome::OnlyIfCached)
        } else if error.is_timeout() {
            (StatusCode::GATEWAY_TIMEOUT, Outcome::UpstreamFailure)
        } else {
            (StatusCode::BAD_GATEWAY, Outcome::UpstreamFailure)
        };
        let mut answer = self.text(status, outcome, now, &format!("larder: {error}.\n{}", error.advice()));
        self.proxy_status(&mut answer.fields, error.token(), None);
        let cache = CacheStatus { forwarded: Some(why), ..CacheStatus::default() };
        add(&mut answer.fields, "Cache-Status", &cache.print(&self.names.name));
        answer.forwarded = Some(why);
        let detail = match error {
            UpstreamError::Offline { .. } => OFFLINE,
            UpstreamError::ClientCertificate { .. } => CLIENT_CERTIFICATE,
            other => other.token(),
        };
        answer.detail = Some(detail.to_owned());
        answer.needs_tunnel = matches!(error, UpstreamError::ClientCertificate { .. });
        answer
    }

    /// `only-if-cached`, and nothing usable is stored (RFC 9111, 5.2.1.7).
    pub(crate) fn only_if_cached(&self, now: Timestamp) -> Answer {
        let text =
            "larder: nothing usable is stored, and the request is not to be forwarded (only-if-cached).";
        self.text(StatusCode::GATEWAY_TIMEOUT, Outcome::OnlyIfCached, now, text)
    }

    /// The proxy is offline, and this is not in the store.
    pub(crate) fn missing_offline(&self, what: &str, now: Timestamp) -> Answer {
        let text = format!("larder: {what} is not in the store, and larder is offline: no origin is asked.");
        let mut answer = self.text(StatusCode::GATEWAY_TIMEOUT, Outcome::OnlyIfCached, now, &text);
        answer.detail = Some(OFFLINE.to_owned());
        answer
    }

    /// The proxy itself failed.
    pub(crate) fn internal(&self, now: Timestamp) -> Answer {
        let text = "larder: the proxy failed to answer this request; its log says why.";
        let mut answer = self.text(StatusCode::INTERNAL_SERVER_ERROR, Outcome::UpstreamFailure, now, text);
        self.proxy_status(&mut answer.fields, "proxy_internal_error", None);
        answer
    }

    /// The client may not use this proxy.
    pub(crate) fn denied_client(&self, client: SocketAddr, now: Timestamp) -> Answer {
        let reason =
            format!("{} may not use this proxy; its operator can allow it with --allow-client", client.ip());
        let mut answer =
            self.rejection(&Rejection { status: StatusCode::FORBIDDEN, reason: reason.into() }, now);
        answer.detail = Some("client".to_owned());
        answer
    }

    fn proxy_status(&self, fields: &mut Fields, error: &str, next_hop: Option<SocketAddr>) {
        let hop = next_hop.map_or_else(String::new, |hop| format!("; next-hop=\"{hop}\""));
        add(fields, "Proxy-Status", &format!("{}; error={error}{hop}", self.names.name));
    }
}

/// A string of structured fields (RFC 8941, 3.3.3), for what is not ASCII without it.
fn quoted(text: &str) -> String {
    let kept = text.chars().filter(|char| matches!(char, ' '..='~'));
    let escaped = kept.flat_map(|char| matches!(char, '"' | '\\').then_some('\\').into_iter().chain([char]));
    format!("\"{}\"", escaped.collect::<String>())
}

/// Text from peers, without the bytes that terminals and browsers act on.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\n' { '\u{fffd}' } else { char }).collect()
}
