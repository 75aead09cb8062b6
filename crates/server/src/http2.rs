//! Clients' HTTP/2: each stream is a request that goes the same way as any other.
//!
//! hyper carries the connection. An answer's head goes to it as a response, its content over a short channel, so that a client that
//! does not take its bytes holds up its own stream alone. A content that breaks off resets the stream. Interim responses are
//! not passed on, as hyper's server has no way to send them.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use larder_policy::Fields;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::byte_stream::ByteStream;
use crate::connect;
use crate::entrance::Entrance;
use crate::http1::{Framing, RequestHead, ResponseHead, Version};
use crate::origin::{ClientFailed, Interim, Upload};
use crate::pipeline::Answered;
use crate::record::Record;
use crate::request::{Rejection, Target};
use crate::respond::{Answer, ClientGone, Length, Responder, send};
use crate::transaction::Ending;

/// The name by which TLS agrees on it (RFC 9113, 3.2).
pub(crate) const ALPN: &[u8] = b"h2";
/// What a stream's client may send before it is asked for more, and what all streams of a connection may.
const WINDOW: u32 = 1 << 20;
/// What is held back for one stream while its client takes nothing.
const SEND_BUFFER: usize = 64 * 1024;
/// Pieces of content that wait for one stream.
const PIECES: usize = 2;

/// Serves the streams of a connection until it ends.
pub(crate) async fn serve<S>(entrance: Arc<Entrance>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let worker = Arc::clone(&entrance.worker);
    let limits = &worker.proxy.config.limits;
    let streams = Arc::new(Streams::default());
    let (entrance, entered) = (&entrance, &streams);
    let service = service_fn(move |request| {
        let exchange = respond(Arc::clone(entrance), request, entered.enter());
        async move { Ok::<_, Infallible>(exchange.await) }
    });
    let connection = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut draining = worker.draining.clone();
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::debug!("an HTTP/2 connection broke: {error}");
            }
            return;
        }
        () = streams.idle_for(limits.keep_alive_timeout) => {}
        _ = draining.wait_for(|draining| *draining) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// The streams of one connection.
#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    changed: Notify,
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
) -> Response<Outgoing> {
    let (head, answer) = oneshot::channel();
    let task = entrance.worker.tasks.guard();
    tokio::spawn(async move {
        let (_open, _task) = (open, task);
        exchange(entrance, request, head).await;
    });
    answer.await.unwrap_or_else(|_| {
        // The exchange broke off before it had an answer: the stream is reset.
        Response::new(Outgoing::cut())
    })
}

type HeadSender = oneshot::Sender<Response<Outgoing>>;

async fn exchange(entrance: Arc<Entrance>, mut request: Request<Incoming>, head: HeadSender) {
    let proxy = entrance.proxy();
    let now = proxy.clock.now();
    let mut side = StreamSide {
        head: Some(head),
        pieces: None,
        pace: proxy.config.limits.client_write_timeout,
        head_only: request.method() == Method::HEAD,
        content_bytes: 0,
        left: None,
    };
    let upgrade = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let received = AtomicU64::new(0);
    let framing = framing(&parts.headers, &body);
    let read = request_head(&entrance, parts.method, &parts.uri, &parts.headers);
    let mut record = match &read {
        Ok(head) => Record::new(head, entrance.client, now),
        Err(rejection) => Record::unreadable(entrance.client, now, rejection.status),
    };
    let admitted = match read {
        Ok(head) => entrance.admit(head, &mut record),
        Err(rejection) => Err(Box::new(proxy.own.rejection(&rejection, now))),
    };
    let request = match admitted {
        Ok(request) => request,
        Err(answer) => return conclude(&entrance, record, *answer, &mut side).await,
    };
    if let (Target::Tunnel(to), Some(upgrade)) = (&request.target, upgrade) {
        let opening = match connect::open(&entrance, record, to.clone()).await {
            Ok(opening) => opening,
            Err((record, answer)) => return conclude(&entrance, record, *answer, &mut side).await,
        };
        let granted = side.grant();
        match upgrade.await {
            Ok(upgraded) if granted => {
                let client = ByteStream::other(TokioIo::new(upgraded)).after(BytesMut::new());
                opening.carry_out(entrance, client, 0).await;
            }
            _ => opening.give_up(&entrance),
        }
        return;
    }
    let limits = &proxy.config.limits;
    let mut upload = StreamContent {
        body,
        framing,
        received: &received,
        pace: limits.request_body_timeout,
        rate: limits.request_body_rate,
        waited: Duration::ZERO,
        expects_continue: request.expects_continue,
    };
    let content = if framing == Framing::None { None } else { Some(&mut upload) };
    match entrance.answer(&request, content, &mut side).await {
        Ok(Answered { mut answer, uploading }) => {
            let trailers = request.takes_trailers;
            let ending = send(&mut answer, &request.method, trailers, uploading, &mut side).await;
            let sent = (side.content_bytes, side.content_bytes);
            record.finish(&entrance.worker, Some(&answer), sent, received.load(Ordering::Relaxed), ending);
        }
        Err(failed) => {
            let rejection = match failed {
                ClientFailed::Gone => None,
                ClientFailed::Malformed(error) => {
                    Some(Rejection { status: StatusCode::BAD_REQUEST, reason: error.to_string().into() })
                }
                ClientFailed::Slow => Some(Rejection {
                    status: StatusCode::REQUEST_TIMEOUT,
                    reason: "the content of the request took too long".into(),
                }),
            };
            let received = received.load(Ordering::Relaxed);
            match rejection {
                Some(rejection) => {
                    let answer = proxy.own.rejection(&rejection, record.started());
                    conclude(&entrance, record, answer, &mut side).await;
                }
                None => record.finish(&entrance.worker, None, (0, 0), received, Ending::ClientAborted),
            }
        }
    }
}

/// Sends an answer of the proxy's own.
async fn conclude(entrance: &Entrance, record: Record, mut answer: Answer, side: &mut StreamSide) {
    let method = if side.head_only { Method::HEAD } else { Method::GET };
    let ending = send(&mut answer, &method, false, None, side).await;
    let sent = (side.content_bytes, side.content_bytes);
    record.finish(&entrance.worker, Some(&answer), sent, 0, ending);
}

/// The same request as HTTP/1.1 would have it: whole URIs for a proxy, else a path and `Host`.
fn request_head(
    entrance: &Entrance,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<RequestHead, Rejection> {
    let bad = |reason: &'static str| Rejection { status: StatusCode::BAD_REQUEST, reason: reason.into() };
    let mut fields = Fields::new();
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let named = headers.get("host").map(HeaderValue::as_bytes);
    // RFC 9113, 8.3.1.
    let host = match (authority, named) {
        (Some(authority), Some(named)) if !authority.eq_ignore_ascii_case(named) => {
            return Err(bad(":authority and Host differ"));
        }
        (Some(host), _) | (None, Some(host)) => Some(host),
        (None, None) => None,
    };
    let malformed = |_| bad("a field is malformed");
    if let Some(host) = host {
        fields.push("Host", host).map_err(malformed)?;
    }
    for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
        fields.push(name.as_str(), value.as_bytes()).map_err(malformed)?;
    }
    // Through a proxy, https is asked for by CONNECT: what is asked for so is the proxy's own.
    let whole = entrance.is_forward() && uri.scheme_str() == Some("http");
    let target = if method == Method::CONNECT {
        authority.ok_or_else(|| bad("CONNECT needs :authority"))?.to_vec()
    } else if whole && uri.path() != "*" {
        uri.to_string().into_bytes()
    } else {
        uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes().to_vec()
    };
    Ok(RequestHead { method, target, version: Version::Http2, fields })
}

/// How long the content is; the protocol has its own ends.
fn framing(headers: &HeaderMap, body: &Incoming) -> Framing {
    if body.is_end_stream() {
        return Framing::None;
    }
    let announced = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    announced.map_or(Framing::Chunked, Framing::Length)
}

/// The content of a request, as it is asked for.
struct StreamContent<'r> {
    body: Incoming,
    framing: Framing,
    received: &'r AtomicU64,
    pace: Duration,
    rate: u64,
    waited: Duration,
    expects_continue: bool,
}

impl Upload for StreamContent<'_> {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ClientFailed> {
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
struct StreamSide {
    head: Option<HeadSender>,
    pieces: Option<mpsc::Sender<Piece>>,
    pace: Duration,
    head_only: bool,
    content_bytes: u64,
    /// Bytes to come, where that is known.
    left: Option<u64>,
}

impl StreamSide {
    /// Answers a CONNECT with 200. False when there is nobody to hear it.
    fn grant(&mut self) -> bool {
        self.head.take().is_some_and(|head| head.send(Response::new(Outgoing::none())).is_ok())
    }

    async fn give(&mut self, piece: Piece) -> Result<(), ClientGone> {
        let Some(pieces) = &self.pieces else { return Ok(()) };
        timeout(self.pace, pieces.send(piece)).await.map_err(|_| ClientGone)?.map_err(|_| ClientGone)
    }
}

impl Interim for StreamSide {
    async fn interim(&mut self, _: ResponseHead) {}
}

impl Responder for StreamSide {
    async fn head(
        &mut self,
        status: StatusCode,
        _: Option<&[u8]>,
        fields: &mut Fields,
        length: Length,
    ) -> Result<(), ClientGone> {
        let mut response = Response::new(Outgoing::none());
        *response.status_mut() = status;
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
        *response.headers_mut() = header_map(fields);
        if length != Length::None && !self.head_only {
            let (pieces, outgoing) = mpsc::channel(PIECES);
            self.pieces = Some(pieces);
            self.left = if let Length::Known(length) = length { Some(length) } else { None };
            *response.body_mut() = Outgoing { pieces: Some(outgoing), left: self.left };
        }
        let head = self.head.take().ok_or(ClientGone)?;
        head.send(response).map_err(|_| ClientGone)
    }

    async fn chunk(&mut self, data: Bytes) -> Result<(), ClientGone> {
        let length = data.len() as u64;
        self.give(Piece::Data(data)).await?;
        self.content_bytes += length;
        self.left = self.left.map(|left| left.saturating_sub(length));
        Ok(())
    }

    async fn end(&mut self, trailers: Option<&Fields>) -> Result<(), ClientGone> {
        if self.left == Some(0) {
            // All that was announced has gone, and its end with it.
            return Ok(());
        }
        self.give(Piece::End(trailers.map(header_map))).await
    }

    async fn flush(&mut self) -> Result<(), ClientGone> {
        match &self.pieces {
            Some(pieces) if pieces.is_closed() => Err(ClientGone),
            _ => Ok(()),
        }
    }
}

/// Without what speaks of an HTTP/1.1 connection (RFC 9113, 8.2.2).
fn header_map(fields: &Fields) -> HeaderMap {
    const OF_CONNECTIONS: [&str; 5] =
        ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter() {
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

enum Piece {
    Data(Bytes),
    /// The true end, without which it was cut.
    End(Option<HeaderMap>),
}

/// The content of an answer on its way to hyper.
struct Outgoing {
    /// None where there is no content, or no more.
    pieces: Option<mpsc::Receiver<Piece>>,
    /// Bytes to come, where that is known.
    left: Option<u64>,
}

impl Outgoing {
    fn none() -> Self {
        Self { pieces: None, left: None }
    }

    /// A content that breaks off at once.
    fn cut() -> Self {
        Self { pieces: Some(mpsc::channel(1).1), left: None }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        let piece = ready!(pieces.poll_recv(cx));
        Poll::Ready(match piece {
            Some(Piece::Data(data)) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Some(Ok(Frame::data(data)))
            }
            Some(Piece::End(trailers)) => {
                self.pieces = None;
                trailers.map(|trailers| Ok(Frame::trailers(trailers)))
            }
            None => {
                self.pieces = None;
                Some(Err(io::Error::other("the content broke off")))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        // What was announced is all that there is.
        self.pieces.is_none() || self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.pieces, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::default(),
        }
    }
}
