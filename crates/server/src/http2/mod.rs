//! Clients' HTTP/2: each stream is a request that goes the same way as any other.
//!
//! hyper carries the connection. What was begun for a stream that is reset goes on as for a client of HTTP/1.1 that leaves, and counts
//! until it is over: among the connection's requests at a time, and, by the place it holds, among the client's connections. A client
//! that does not take its bytes holds up its own stream alone. A content that breaks off resets the stream. Interim responses are
//! not passed on, as hyper's server has no way to send them. The bytes of heads are compressed by hyper and count nowhere.

mod outgoing;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use httparse::Header;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use larder_policy::{Fields, HostPort};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use crate::byte_stream::ByteStream;
use crate::connect;
use crate::entrance::Entrance;
use crate::hit::{self, Hit};
use crate::http1::{Framing, RequestHead, RequestInPlace, ResponseHead, Version};
use crate::origin::{ClientFailed, Interim, Upload};
use crate::pipeline::Answered;
use crate::record::Record;
use crate::request::{ProxyRequest, Rejection, Target};
use crate::respond::{Answer, ClientGone, Length, Responder, send};
use crate::transaction::Ending;

use outgoing::{Giving, Outgoing};

/// The name by which TLS agrees on it (RFC 9113, 3.2).
pub(crate) const ALPN: &[u8] = b"h2";
/// What a stream's client may send before it is asked for more.
const STREAM_WINDOW: u32 = 512 * 1024;
/// What all streams of a connection may: more, so that one that is held up does not hold up the others.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// What is held back for one stream while its client takes nothing.
const SEND_BUFFER: usize = 64 * 1024;
/// Fields of a request that are looked at without an allocation for their places.
const FIELDS: usize = 24;
/// Room for the fields of a usual answer.
const MAP_FIELDS: usize = 16;
/// A connection that is to end and has no streams does so within this time, whatever its client says.
const LINGER: Duration = Duration::from_secs(2);

/// Serves the streams of a connection until it ends.
pub(crate) async fn serve<S>(entrance: Arc<Entrance>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let worker = Arc::clone(&entrance.worker);
    let limits = &worker.proxy.config.limits;
    let streams = Arc::new(Streams::default());
    let (entrance, entered) = (&entrance, &streams);
    let service = service_fn(move |request| respond(Arc::clone(entrance), request, entered.enter()));
    let connection = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut draining = worker.draining.clone();
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::debug!("an HTTP/2 connection broke: {error}");
            }
            return;
        }
        () = streams.idle_for(limits.keep_alive_timeout) => {}
        () = streams.enough.notified() => {}
        _ = draining.wait_for(|draining| *draining) => {}
    }
    connection.as_mut().graceful_shutdown();
    // It waits for the client to confirm that, for ever.
    tokio::select! {
        _ = connection => {}
        () = streams.idle_for(LINGER) => {}
    }
}

/// The streams of one connection.
#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    changed: Notify,
    /// Told when the connection is to take no more of them.
    enough: Notify,
}

impl Streams {
    fn enter(self: &Arc<Self>) -> OpenStream {
        self.open.fetch_add(1, Ordering::AcqRel);
        OpenStream(Arc::clone(self))
    }

    /// Returns once there has been no stream for so long.
    async fn idle_for(&self, time: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.open.load(Ordering::Acquire) > 0 {
                changed.await;
                continue;
            }
            tokio::select! {
                () = sleep(time) => {
                    if self.open.load(Ordering::Acquire) == 0 {
                        return;
                    }
                }
                () = changed => {}
            }
        }
    }
}

/// One of them, until its exchange is over.
struct OpenStream(Arc<Streams>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

/// The response to a request, as soon as its head is known. The exchange goes on by itself.
async fn respond(
    entrance: Arc<Entrance>,
    request: Request<Incoming>,
    open: OpenStream,
) -> io::Result<Response<Outgoing>> {
    let most = entrance.proxy().config.limits.http2_streams;
    if open.0.open.load(Ordering::Acquire) > most as usize {
        return Err(io::Error::other("requests whose streams were reset are still under way"));
    }
    let (head, answer) = oneshot::channel();
    let task = entrance.worker.tasks.guard();
    tokio::spawn(async move {
        let (open, _task) = (open, task);
        exchange(entrance, request, Side::new(head), &open.0).await;
    });
    // Without an answer the exchange has broken off: the stream is reset, and no head is sent.
    answer.await.map_err(io::Error::other)
}

async fn exchange(
    entrance: Arc<Entrance>,
    mut request: Request<Incoming>,
    mut side: Side,
    streams: &Streams,
) {
    let proxy = entrance.proxy();
    let now = proxy.clock.now();
    side.pace = proxy.config.limits.client_write_timeout;
    side.head_only = request.method() == Method::HEAD;
    let upgrade = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let received = AtomicU64::new(0);
    let content = StreamContent::new(&entrance, &parts.method, &parts.headers, body, &received).await;
    if content.framing == Framing::None
        && let Some((hit, record)) = answer_from_memory(&entrance, &parts)
    {
        let ending = side.give(&hit).await;
        let sent = (side.content_bytes, side.content_bytes);
        return record.finish(None, sent, 0, ending);
    }
    let read = request_head(&entrance, parts.method, &parts.uri, &parts.headers, content.framing);
    let mut record = match &read {
        Ok(head) => Record::new(&entrance, head),
        Err(rejection) => Record::unreadable(&entrance, rejection.status),
    };
    let admitted = match read {
        Ok(head) => entrance.admit(head, &mut record),
        Err(rejection) => Err(Box::new(proxy.own.rejection(&rejection, now))),
    };
    let request = match admitted {
        Ok(request) => request,
        Err(answer) => return conclude(record, *answer, 0, &mut side).await,
    };
    match (&request.target, upgrade) {
        (Target::Tunnel(to), Some(upgrade)) => {
            let to = to.clone();
            tunnel(&entrance, record, to, upgrade, &mut side).await;
        }
        _ => answer(&entrance, record, request, content, &mut side).await,
    }
    if side.ends_connection {
        streams.enough.notify_one();
    }
}

/// What answers a request on the short way, see [`hit`]. Through a proxy whole URIs are asked for, which are put together first.
fn answer_from_memory(entrance: &Entrance, parts: &Parts) -> Option<(Hit, Record)> {
    let (uri, headers) = (&parts.uri, &parts.headers);
    let of_one_name = !headers.contains_key("host") && headers.get_all("cookie").iter().nth(1).is_none();
    let outside = entrance.inside.is_some() && uri.scheme() != Some(&Scheme::HTTPS);
    let too_many = headers.len() > entrance.proxy().config.limits.head_fields;
    if entrance.is_forward() || outside || too_many || !of_one_name {
        return None;
    }
    let mut fields: SmallVec<[Header<'_>; FIELDS]> = SmallVec::new();
    fields.push(Header { name: "host", value: uri.authority()?.as_str().as_bytes() });
    fields
        .extend(headers.iter().map(|(name, value)| Header { name: name.as_str(), value: value.as_bytes() }));
    let target = uri.path_and_query()?.as_str();
    let method = parts.method.as_str();
    let head = RequestInPlace { method, target, version: Version::Http2, fields: &fields };
    let hit = hit::find(entrance, &head)?;
    let record = Record::since(hit.began(), entrance, hit.transaction(entrance, &head, (0, 0)).into_owned());
    Some((hit, record))
}

/// A CONNECT. Its tunnel counts as a connection of the client's, as it is one to somebody.
async fn tunnel(
    entrance: &Arc<Entrance>,
    record: Record,
    to: HostPort,
    upgrade: hyper::upgrade::OnUpgrade,
    side: &mut Side,
) {
    let proxy = entrance.proxy();
    let Some(place) = proxy.connections.try_place(entrance.client.ip()) else {
        proxy.metrics.count_refused_connection();
        let reason = "this client has as many connections as it may have".into();
        let rejection = Rejection { status: StatusCode::SERVICE_UNAVAILABLE, reason };
        let answer = proxy.own.rejection(&rejection, record.started());
        return conclude(record, answer, 0, side).await;
    };
    let opening = match connect::open(entrance, record, to).await {
        Ok(opening) => opening,
        Err((record, answer)) => return conclude(record, *answer, 0, side).await,
    };
    let granted = side.grant();
    match upgrade.await {
        Ok(upgraded) if granted => {
            let client = ByteStream::other(TokioIo::new(upgraded));
            let entrance = Entrance { _place: Arc::new(place), ..Entrance::clone(entrance) };
            opening.carry_out(Arc::new(entrance), client, 0).await;
        }
        _ => opening.give_up(),
    }
}

/// A request that is for no tunnel.
async fn answer(
    entrance: &Entrance,
    record: Record,
    request: ProxyRequest,
    mut content: StreamContent<'_>,
    side: &mut Side,
) {
    let received = content.received;
    content.expects_continue = request.expects_continue;
    let upload = if content.framing == Framing::None { None } else { Some(&mut content) };
    let failed = match entrance.answer(&request, upload, side).await {
        Ok(Answered { mut answer, uploading }) => {
            side.ends_connection |= answer.needs_tunnel;
            let trailers = request.takes_trailers;
            let ending = send(&mut answer, &request.method, trailers, uploading, side).await;
            let sent = (side.content_bytes, side.content_bytes);
            let received = received.load(Ordering::Relaxed);
            return record.finish(Some(&answer), sent, received, ending);
        }
        Err(failed) => failed,
    };
    let received = received.load(Ordering::Relaxed);
    match Rejection::of_content(failed) {
        Some(rejection) => {
            let answer = entrance.proxy().own.rejection(&rejection, record.started());
            conclude(record, answer, received, side).await;
        }
        None => record.finish(None, (0, 0), received, Ending::ClientAborted),
    }
}

/// Sends an answer of the proxy's own.
async fn conclude(record: Record, mut answer: Answer, received: u64, side: &mut Side) {
    let method = if side.head_only { Method::HEAD } else { Method::GET };
    let ending = send(&mut answer, &method, false, None, side).await;
    let sent = (side.content_bytes, side.content_bytes);
    record.finish(Some(&answer), sent, received, ending);
}

/// The same request as HTTP/1.1 would have it: whole URIs for a proxy, else a path and `Host`.
fn request_head(
    entrance: &Entrance,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    framing: Framing,
) -> Result<RequestHead, Rejection> {
    let refuse = |status, reason: &'static str| Rejection { status, reason: reason.into() };
    let bad = |reason| refuse(StatusCode::BAD_REQUEST, reason);
    let malformed = |_| bad("a field is malformed");
    if headers.len() > entrance.proxy().config.limits.head_fields {
        return Err(refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "there are too many fields"));
    }
    let mut fields = Fields::new();
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut named = headers.get_all("host").iter().map(HeaderValue::as_bytes);
    // RFC 9113, 8.3.1.
    let host = match (authority, named.next(), named.next()) {
        (_, _, Some(_)) => return Err(bad("there is more than one Host field")),
        (Some(authority), Some(named), None) if !authority.eq_ignore_ascii_case(named) => {
            return Err(bad(":authority and Host differ"));
        }
        (Some(host), _, None) | (None, Some(host), None) => Some(host),
        (None, None, None) => None,
    };
    if let Some(host) = host {
        fields.push("Host", host).map_err(malformed)?;
    }
    for (name, value) in headers.iter().filter(|(name, _)| !["host", "cookie"].contains(&name.as_str())) {
        fields.push(name.as_str(), value.as_bytes()).map_err(malformed)?;
    }
    // Cookies may come in crumbs, which others than HTTP/2 do not know (RFC 9113, 8.2.3).
    let crumbs: Vec<&[u8]> = headers.get_all("cookie").iter().map(HeaderValue::as_bytes).collect();
    if !crumbs.is_empty() {
        fields.push("Cookie", &crumbs.join(&b"; "[..])).map_err(malformed)?;
    }
    if framing == Framing::Chunked {
        // For whoever judges by the fields whether there is content. As a field of the connection it goes no further.
        fields.push("Transfer-Encoding", b"chunked").map_err(malformed)?;
    }
    let scheme = uri.scheme_str().unwrap_or_default();
    if entrance.inside.is_some() && method != Method::CONNECT && scheme != "https" {
        return Err(refuse(StatusCode::MISDIRECTED_REQUEST, "this tunnel is for https alone"));
    }
    // Through a proxy https is asked for by CONNECT. What is asked for so under the port's own name is the proxy's own.
    let whole =
        entrance.is_forward() && !(scheme == "https" && uri.host().is_some_and(|host| entrance.is_own(host)));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let target = match authority {
        _ if method == Method::CONNECT => authority.ok_or_else(|| bad("CONNECT needs :authority"))?.to_vec(),
        // OPTIONS for the server as a whole is absolute-form without a path (RFC 9112, 3.2.4).
        Some(_) if whole && path == "*" => {
            format!("{scheme}://{}", uri.authority().map_or("", |a| a.as_str())).into_bytes()
        }
        Some(_) if whole => uri.to_string().into_bytes(),
        _ => path.as_bytes().to_vec(),
    };
    Ok(RequestHead { method, target, version: Version::Http2, fields })
}

/// The content of a request, as it is asked for.
struct StreamContent<'r> {
    body: Incoming,
    /// What was read before it was asked for.
    ahead: Option<Bytes>,
    framing: Framing,
    received: &'r AtomicU64,
    pace: Duration,
    rate: u64,
    waited: Duration,
    expects_continue: bool,
}

impl<'r> StreamContent<'r> {
    /// Finds out whether there is any. Some clients say of a GET without content only by an empty frame that it has none.
    async fn new(
        entrance: &Entrance,
        method: &Method,
        headers: &HeaderMap,
        body: Incoming,
        received: &'r AtomicU64,
    ) -> Self {
        let limits = &entrance.proxy().config.limits;
        let announced = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let framing = match announced {
            _ if body.is_end_stream() || *method == Method::CONNECT => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        let (pace, rate) = (limits.request_body_timeout, limits.request_body_rate);
        let (ahead, waited) = (None, Duration::ZERO);
        let mut this = Self { body, ahead, framing, received, pace, rate, waited, expects_continue: false };
        if framing == Framing::Chunked && matches!(*method, Method::GET | Method::HEAD) {
            match this.next().await {
                Ok(Some(data)) => {
                    received.store(0, Ordering::Relaxed);
                    this.ahead = Some(data);
                }
                Ok(None) => this.framing = Framing::None,
                // It is met again.
                Err(_) => {}
            }
        }
        this
    }
}

impl Upload for StreamContent<'_> {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ClientFailed> {
        if let Some(data) = self.ahead.take() {
            self.received.fetch_add(data.len() as u64, Ordering::Relaxed);
            return Ok(Some(data));
        }
        loop {
            let began = Instant::now();
            let frame = timeout(self.pace, self.body.frame()).await.map_err(|_| ClientFailed::Slow)?;
            self.waited += began.elapsed();
            let Some(frame) = frame else { return Ok(None) };
            // Trailers of requests are dropped, as those of HTTP/1.1 are.
            let Ok(data) = frame.map_err(|_| ClientFailed::Gone)?.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            let received = self.received.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
            let due = self.rate.saturating_mul(self.waited.as_secs());
            if self.waited > self.pace && received < due {
                return Err(ClientFailed::Slow);
            }
            return Ok(Some(data));
        }
    }
}

/// The sending side of one exchange.
struct Side {
    head: Option<oneshot::Sender<Response<Outgoing>>>,
    giving: Option<Giving>,
    pace: Duration,
    head_only: bool,
    content_bytes: u64,
    /// Whether the connection is to take no more requests.
    ends_connection: bool,
}

impl Side {
    fn new(head: oneshot::Sender<Response<Outgoing>>) -> Self {
        Self {
            head: Some(head),
            giving: None,
            pace: Duration::MAX,
            head_only: false,
            content_bytes: 0,
            ends_connection: false,
        }
    }

    /// Gives all of an answer that is in memory.
    async fn give(&mut self, hit: &Hit) -> Ending {
        let (before, age, after) = hit.head();
        let content = hit.content();
        let headers = header_map_of(&[before, age.to_string().as_bytes(), after].concat());
        let sent = async {
            self.begin(hit.status(), headers, Length::Known(content.len() as u64))?;
            self.chunk(content).await?;
            self.end(None).await
        };
        if sent.await.is_ok() { Ending::Complete } else { Ending::ClientAborted }
    }

    /// Sends the head.
    fn begin(&mut self, status: StatusCode, headers: HeaderMap, length: Length) -> Result<(), ClientGone> {
        let mut response = Response::new(Outgoing::none());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if length != Length::None && length != Length::Known(0) && !self.head_only {
            let announced = if let Length::Known(length) = length { Some(length) } else { None };
            let (giving, outgoing) = Outgoing::announcing(announced);
            self.giving = Some(giving);
            *response.body_mut() = outgoing;
        }
        let head = self.head.take().ok_or(ClientGone)?;
        head.send(response).map_err(|_| ClientGone)
    }

    /// Answers a CONNECT with 200. False when there is nobody to hear it.
    fn grant(&mut self) -> bool {
        self.head.take().is_some_and(|head| head.send(Response::new(Outgoing::none())).is_ok())
    }
}

impl Interim for Side {
    async fn interim(&mut self, _: ResponseHead) {}
}

impl Responder for Side {
    async fn head(
        &mut self,
        status: StatusCode,
        _: Option<&[u8]>,
        fields: &mut Fields,
        length: Length,
    ) -> Result<(), ClientGone> {
        match length {
            Length::Known(length) => {
                fields.set("Content-Length", length.to_string().as_bytes()).map_err(|_| ClientGone)?;
            }
            Length::None if status == StatusCode::NO_CONTENT => {
                // RFC 9110, 8.6.
                fields.remove("content-length");
            }
            Length::None | Length::Unknown => {}
        }
        self.begin(status, header_map(fields), length)
    }

    async fn chunk(&mut self, data: Bytes) -> Result<(), ClientGone> {
        let length = data.len() as u64;
        if let Some(giving) = &self.giving {
            giving.give(data, self.pace).await?;
        }
        self.content_bytes += length;
        Ok(())
    }

    async fn end(&mut self, trailers: Option<&Fields>) -> Result<(), ClientGone> {
        match self.giving.take() {
            Some(giving) => giving.end(trailers.map(header_map), self.pace).await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), ClientGone> {
        if self.giving.as_ref().is_some_and(Giving::is_gone) { Err(ClientGone) } else { Ok(()) }
    }
}

fn header_map(fields: &Fields) -> HeaderMap {
    map_of(fields.iter())
}

/// The fields of a head of HTTP/1.1 that was made here.
fn header_map_of(head: &[u8]) -> HeaderMap {
    let lines = head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        Some((std::str::from_utf8(name).ok()?, value.get(2..)?))
    });
    map_of(lines)
}

/// Without what speaks of an HTTP/1.1 connection (RFC 9113, 8.2.2).
fn map_of<'f>(fields: impl Iterator<Item = (&'f str, &'f [u8])>) -> HeaderMap {
    const OF_CONNECTIONS: [&str; 5] =
        ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    let mut map = HeaderMap::with_capacity(MAP_FIELDS);
    for (name, value) in fields {
        if OF_CONNECTIONS.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    map
}
