//! One HTTP/1.1 connection of a client: requests in, answers out, in order, until either side is done.
//!
//! After a request that could not be read the connection closes; content that nobody read is dropped within a bound, or
//! the connection closes, so that it never becomes the next request (RFC 9112, 9.3).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_policy::{Fields, HostPort, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

use crate::config::ListenerKind;
use crate::http1::{
    self, BodyDecoder, BodyEncoder, ErrorKind, Framing, HeadLimits, ParseError, ReadError, Reader,
    RequestHead, ResponseHead, Version, Writer,
};
use crate::origin::{ClientFailed, Destination, Interim, Upload};
use crate::pages;
use crate::pipeline::{self, Answered};
use crate::request::{ProxyRequest, Rejection, Target};
use crate::respond::{Answer, ClientGone, Length, Responder, send};
use crate::server::{ListenerContext, Worker};
use crate::transaction::{Ending, NextHop, Outcome, Transaction};
use crate::tunnel::{self, Carried};

/// After an answer that ends the connection, the client may still be sending: its bytes are dropped for this long, so that
/// a reset does not take the answer from it.
const LINGER: Duration = Duration::from_secs(2);

/// A connection that can be ended so that the other side sees it was cut.
pub(crate) trait Abort {
    /// Ends this half without an orderly end: once the other half is gone too, the connection is reset.
    fn abort(self);
}

impl Abort for OwnedWriteHalf {
    fn abort(self) {
        let _ = socket2::SockRef::from(self.as_ref()).set_linger(Some(Duration::ZERO));
        // Dropped, it would end the stream in an orderly way first.
        self.forget();
    }
}

/// A client's connection and what it is for.
pub(crate) struct Connection<R, W> {
    worker: Arc<Worker>,
    listener: Arc<ListenerContext>,
    client: SocketAddr,
    reader: Reader<R>,
    writer: Writer<W>,
}

/// What becomes of the connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next request.
    Continue,
    /// The end, after the client had time to read the answer.
    Close,
    /// The end, at once.
    Cut,
    /// The end with a reset, as an orderly one would look like the end of the content.
    Reset,
}

impl<R, W> Connection<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Abort + Unpin + Send,
{
    pub(crate) fn new(
        worker: Arc<Worker>,
        listener: Arc<ListenerContext>,
        client: SocketAddr,
        read: R,
        write: W,
    ) -> Self {
        let limits = &worker.proxy.config.limits;
        let head_limits = HeadLimits { bytes: limits.head_bytes, fields: limits.head_fields };
        Self { reader: Reader::new(read, head_limits), writer: Writer::new(write), worker, listener, client }
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn serve(mut self) {
        let mut draining = self.worker.draining.clone();
        loop {
            let limits = &self.worker.proxy.config.limits;
            let idle = limits.keep_alive_timeout;
            self.writer.release();
            let readable = tokio::select! {
                readable = timeout(idle, self.reader.wait_readable()) => readable,
                _ = draining.wait_for(|draining| *draining) => return,
            };
            if !matches!(readable, Ok(Ok(true))) {
                return;
            }
            let next = match timeout(limits.head_timeout, self.reader.request_head()).await {
                Ok(Ok(Some(head))) => match self.request(head).await {
                    Some(Requested::Answered(next)) => next,
                    Some(Requested::Tunnel(tunnel)) => return self.tunnel(*tunnel).await,
                    None => Next::Cut,
                },
                Ok(
                    Ok(None)
                    | Err(ReadError::Io(_) | ReadError::Closed | ReadError::Parse(ParseError::Truncated)),
                ) => return,
                Ok(Err(ReadError::Parse(error))) => self.unreadable(&rejection_of(error)).await,
                Err(_) => {
                    let reason = "the head of the request took too long".into();
                    self.unreadable(&Rejection { status: StatusCode::REQUEST_TIMEOUT, reason }).await
                }
            };
            match next {
                Next::Continue => {}
                Next::Close => return self.linger().await,
                Next::Cut => return,
                Next::Reset => return self.writer.into_inner().abort(),
            }
        }
    }

    /// One request. None: the connection is to be cut.
    async fn request(&mut self, head: RequestHead) -> Option<Requested> {
        let worker = Arc::clone(&self.worker);
        let proxy = &worker.proxy;
        let mut record = Record::new(&head, self.client, proxy.clock.now());
        let framing = match http1::request_framing(&head) {
            Ok(framing) => framing,
            Err(error) => return Some(Requested::Answered(self.refuse(record, &rejection_of(error)).await)),
        };
        let version = head.version;
        // A proxy does not honour an HTTP/1.0 client's keep-alive (RFC 9112, C.2.2).
        let persists = version == Version::Http11 && http1::persists(version, &head.fields);
        let request = match ProxyRequest::read(head, &self.listener.kind, &proxy.own.names.pseudonym) {
            Ok(request) => request,
            Err(rejection) => return Some(Requested::Answered(self.refuse(record, &rejection).await)),
        };
        record.target(&request);
        let forward = matches!(self.listener.kind, ListenerKind::Forward);
        if forward && !proxy.rules.permits_client(self.client.ip()) {
            let answer = proxy.own.denied_client(self.client, record.started());
            return Some(Requested::Answered(self.conclude(record, answer).await));
        }
        if let Target::Tunnel(to) = &request.target {
            let to = to.clone();
            return Some(self.open_tunnel(record, to).await);
        }

        let received = AtomicU64::new(0);
        let mut upload = ClientContent {
            reader: &mut self.reader,
            decoder: BodyDecoder::new(framing),
            received: &received,
            framing,
            expects_continue: request.expects_continue,
            pace: proxy.config.limits.request_body_timeout,
        };
        let mut responder = ClientSide {
            writer: &mut self.writer,
            encoder: BodyEncoder::None,
            version,
            head_only: request.method == Method::HEAD,
            persists: persists && !*worker.draining.borrow(),
            pace: proxy.config.limits.client_write_timeout,
            content_bytes: 0,
            started: 0,
        };
        responder.started = responder.writer.written();

        let (mut answer, uploading) = {
            let answered = match &request.target {
                Target::Own(path) => Some(own_page(&worker, &request, path, self.listener.address).into()),
                Target::Uri(uri) | Target::Server(uri) => {
                    let destination = match &self.listener.kind {
                        ListenerKind::Forward => uri,
                        ListenerKind::Reverse { origin } => origin,
                    };
                    let destination = Destination {
                        scheme: destination.scheme(),
                        host: destination.host().to_owned(),
                        port: destination.port(),
                    };
                    let content = if framing == Framing::None { None } else { Some(&mut upload) };
                    pipeline::answer(&worker, &request, &destination, content, &mut responder).await
                }
                // Handled above.
                Target::Tunnel(_) => None,
            };
            match answered {
                Some(Answered { answer, uploading }) => (answer, uploading),
                None => {
                    let received = received.load(Ordering::Relaxed);
                    record.finish(&worker, None, (0, 0), received, Ending::ClientAborted);
                    return None;
                }
            }
        };
        let drain_bytes = proxy.config.limits.drain_bytes;
        if uploading.is_none() && !is_short(framing, received.load(Ordering::Relaxed), drain_bytes) {
            // Content may stay unread: the client is told at once that the connection ends.
            responder.persists = false;
        }
        let ending =
            send(&mut answer, &request.method, request.takes_trailers, uploading, &mut responder).await;
        let sent = responder.sent();
        let reusable = responder.persists && responder.encoder == BodyEncoder::Ended;
        let until_close = responder.encoder == BodyEncoder::UntilClose;
        record.finish(&worker, Some(&answer), sent, received.load(Ordering::Relaxed), ending);
        Some(Requested::Answered(match ending {
            Ending::Complete if reusable && upload.drop_rest(drain_bytes).await => Next::Continue,
            Ending::Complete => Next::Close,
            Ending::OriginAborted if until_close => Next::Reset,
            Ending::ClientAborted | Ending::OriginAborted => Next::Cut,
        }))
    }

    /// A head that could be read, but is not carried out; its content is of unknown length, so that the connection ends.
    async fn refuse(&mut self, record: Record, rejection: &Rejection) -> Next {
        let answer = self.worker.proxy.own.rejection(rejection, record.started());
        self.conclude(record, answer).await
    }

    /// A head that could not be read.
    async fn unreadable(&mut self, rejection: &Rejection) -> Next {
        let now = self.worker.proxy.clock.now();
        let record = Record::unreadable(self.client, now, rejection.status);
        tracing::debug!(client = %self.client, "unreadable request: {}", rejection.reason);
        let answer = self.worker.proxy.own.rejection(rejection, now);
        self.conclude(record, answer).await
    }

    /// Sends an answer that ends the connection.
    async fn conclude(&mut self, record: Record, mut answer: Answer) -> Next {
        let worker = Arc::clone(&self.worker);
        let started = self.writer.written();
        let mut responder = ClientSide {
            writer: &mut self.writer,
            encoder: BodyEncoder::None,
            version: Version::Http11,
            head_only: record.transaction.method == "HEAD",
            persists: false,
            pace: worker.proxy.config.limits.client_write_timeout,
            content_bytes: 0,
            started,
        };
        let ending = send(&mut answer, &Method::GET, false, None, &mut responder).await;
        let sent = responder.sent();
        record.finish(&worker, Some(&answer), sent, 0, ending);
        if ending == Ending::Complete { Next::Close } else { Next::Cut }
    }

    /// CONNECT, up to the answer.
    async fn open_tunnel(&mut self, mut record: Record, to: HostPort) -> Requested {
        let worker = Arc::clone(&self.worker);
        let proxy = &worker.proxy;
        let now = record.started();
        if !proxy.rules.permits_connect_port(to.port()) {
            let reason = format!(
                "CONNECT may not reach port {}; the operator can allow it with --connect-ports",
                to.port()
            );
            let rejection = Rejection { status: StatusCode::FORBIDDEN, reason: reason.into() };
            return Requested::Answered(self.refuse(record, &rejection).await);
        }
        match worker.origins.connector().tunnel(to.host(), to.port()).await {
            Ok((server, hop, early_down)) => {
                self.writer.raw(b"HTTP/1.1 200 Connection established\r\n\r\n");
                record.transaction.next_hop = hop;
                Requested::Tunnel(Box::new(Tunnel { record, server, early_down }))
            }
            Err(error) => {
                let mut answer =
                    proxy.own.upstream_failure(&error, larder_policy::ForwardReason::Method, now);
                answer.forwarded = None;
                Requested::Answered(self.conclude(record, answer).await)
            }
        }
    }

    async fn tunnel(mut self, tunnel: Tunnel) {
        let Tunnel { mut record, server, early_down } = tunnel;
        let limits = &self.worker.proxy.config.limits;
        let _entered = self.worker.proxy.metrics.tunnels.enter();
        let carried = Arc::new(Carried::default());
        let greeted = timeout(limits.client_write_timeout, self.writer.flush()).await;
        let head = self.writer.written();
        if matches!(greeted, Ok(Ok(()))) {
            let (read, early_up) = self.reader.into_parts();
            let client = (read, self.writer.into_inner());
            let idle = limits.tunnel_idle_timeout;
            tunnel::carry(client, early_up.freeze(), server, early_down, idle, Arc::clone(&carried)).await;
        }
        let (up, down) = (carried.up.load(Ordering::Relaxed), carried.down.load(Ordering::Relaxed));
        record.transaction.status = 200;
        record.transaction.outcome = Outcome::Tunnel;
        record.transaction.origin_received = down;
        record.finish(&self.worker, None, (head + down, down), up, Ending::Complete);
    }

    /// Ends the connection without taking the answer from a client that is still sending.
    async fn linger(mut self) {
        if self.writer.shutdown().await.is_err() {
            return;
        }
        let (mut read, _) = self.reader.into_parts();
        let drop_all = async {
            let mut buffer = [0_u8; 4096];
            while matches!(read.read(&mut buffer).await, Ok(1..)) {}
        };
        let _ = timeout(LINGER, drop_all).await;
    }
}

enum Requested {
    Answered(Next),
    Tunnel(Box<Tunnel>),
}

struct Tunnel {
    record: Record,
    server: tokio::net::TcpStream,
    early_down: Bytes,
}

fn rejection_of(error: ParseError) -> Rejection {
    let status = match error.kind() {
        ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
        ErrorKind::UriTooLong => StatusCode::URI_TOO_LONG,
        ErrorKind::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorKind::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    };
    Rejection { status, reason: error.to_string().into() }
}

/// What the proxy says of itself.
fn own_page(worker: &Worker, request: &ProxyRequest, path: &str, address: SocketAddr) -> Answer {
    let proxy = &worker.proxy;
    let now = proxy.clock.now();
    match (&request.method, path) {
        (&Method::GET | &Method::HEAD, "/") => {
            let page = pages::landing(address);
            proxy.own.page(StatusCode::OK, Outcome::Local, now, "text/html; charset=utf-8", page)
        }
        (&Method::OPTIONS, _) => {
            let mut answer = proxy.own.text(StatusCode::OK, Outcome::Local, now, "");
            crate::respond::add(
                &mut answer.fields,
                "Allow",
                "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, CONNECT",
            );
            answer
        }
        _ => {
            let text = format!(
                "larder: this is a proxy, and there is nothing at {path} of its own. Ask it for a whole URL (curl -x http://{address} URL), or see http://{address}/."
            );
            proxy.own.text(StatusCode::NOT_FOUND, Outcome::Local, now, &text)
        }
    }
}

/// Whether what is left of a request's content is known to be little enough to be read and dropped.
fn is_short(framing: Framing, received: u64, bound: u64) -> bool {
    match framing {
        Framing::Length(length) => length.saturating_sub(received) <= bound,
        Framing::None | Framing::Chunked | Framing::UntilClose => true,
    }
}

/// The content of a request, read from the connection as it is asked for.
struct ClientContent<'c, R> {
    reader: &'c mut Reader<R>,
    decoder: BodyDecoder,
    /// Content bytes so far, for those who cannot ask the decoder while it is in use.
    received: &'c AtomicU64,
    framing: Framing,
    expects_continue: bool,
    pace: Duration,
}

impl<R: AsyncRead + Unpin + Send> ClientContent<'_, R> {
    /// Reads and drops the rest. Whether the connection can be used again.
    async fn drop_rest(mut self, bound: u64) -> bool {
        if self.decoder.is_done() {
            return true;
        }
        if self.expects_continue && self.decoder.received() == 0 {
            return false;
        }
        let pace = self.pace.min(LINGER);
        matches!(timeout(pace, self.reader.discard(&mut self.decoder, bound)).await, Ok(Ok(true)))
    }
}

impl<R: AsyncRead + Unpin + Send> Upload for ClientContent<'_, R> {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ClientFailed> {
        match timeout(self.pace, self.reader.body(&mut self.decoder)).await {
            Ok(Ok(data)) => {
                self.received.store(self.decoder.received(), Ordering::Relaxed);
                Ok(data)
            }
            Ok(Err(_)) | Err(_) => Err(ClientFailed),
        }
    }
}

/// The sending side of one exchange over HTTP/1.1.
struct ClientSide<'c, W> {
    writer: &'c mut Writer<W>,
    encoder: BodyEncoder,
    version: Version,
    head_only: bool,
    persists: bool,
    pace: Duration,
    content_bytes: u64,
    started: u64,
}

impl<W: AsyncWrite + Unpin + Send> Interim for ClientSide<'_, W> {
    async fn interim(&mut self, mut head: ResponseHead) {
        // HTTP/1.0 has no interim responses (RFC 9110, 15.2).
        if self.version == Version::Http11 {
            larder_policy::remove_hop_by_hop(&mut head.fields);
            self.writer.response_head(Version::Http11, head.status, &head.reason, &head.fields);
            let _ = self.flush().await;
        }
    }
}

impl<W: AsyncWrite + Unpin + Send> Responder for ClientSide<'_, W> {
    async fn head(
        &mut self,
        status: StatusCode,
        reason: Option<&[u8]>,
        fields: &mut Fields,
        length: Length,
    ) -> Result<(), ClientGone> {
        let set = |fields: &mut Fields, name: &str, value: &str| {
            fields.set(name, value.as_bytes()).map_err(|_| ClientGone)
        };
        let framing = match length {
            Length::None => {
                if status == StatusCode::NO_CONTENT {
                    // RFC 9110, 8.6.
                    fields.remove("content-length");
                }
                Framing::None
            }
            Length::Known(length) => {
                // Also where it is there: several equal values become one.
                set(fields, "Content-Length", &length.to_string())?;
                Framing::Length(length)
            }
            Length::Unknown if self.head_only => Framing::None,
            Length::Unknown if self.version == Version::Http11 => {
                set(fields, "Transfer-Encoding", "chunked")?;
                Framing::Chunked
            }
            Length::Unknown => {
                self.persists = false;
                Framing::UntilClose
            }
        };
        if !self.persists {
            set(fields, "Connection", "close")?;
        }
        self.encoder = if self.head_only { BodyEncoder::None } else { BodyEncoder::from(framing) };
        let usual = status.canonical_reason().unwrap_or_default().as_bytes();
        self.writer.response_head(Version::Http11, status, reason.unwrap_or(usual), fields);
        Ok(())
    }

    async fn chunk(&mut self, data: Bytes) -> Result<(), ClientGone> {
        let length = data.len() as u64;
        let sent = timeout(self.pace, self.writer.chunk(&mut self.encoder, data)).await;
        sent.map_err(|_| ClientGone)?.map_err(|_| ClientGone)?;
        self.content_bytes += length;
        Ok(())
    }

    async fn end(&mut self, trailers: Option<&Fields>) -> Result<(), ClientGone> {
        self.writer.end(&mut self.encoder, trailers).map_err(|_| ClientGone)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ClientGone> {
        timeout(self.pace, self.writer.flush()).await.map_err(|_| ClientGone)?.map_err(|_| ClientGone)
    }

    fn sent(&self) -> (u64, u64) {
        (self.writer.written().saturating_sub(self.started), self.content_bytes)
    }
}

/// What the log will be told of a request, as it becomes known.
struct Record {
    transaction: Transaction,
    began: Instant,
}

impl Record {
    fn new(head: &RequestHead, client: SocketAddr, now: Timestamp) -> Self {
        let text =
            |name: &str| head.fields.first(name).map(|value| String::from_utf8_lossy(value).into_owned());
        Self {
            transaction: Transaction {
                method: head.method.to_string(),
                target: String::from_utf8_lossy(&head.target).into_owned(),
                version: head.version.as_str(),
                referer: text("referer"),
                user_agent: text("user-agent"),
                ..Self::blank(client, now)
            },
            began: Instant::now(),
        }
    }

    fn unreadable(client: SocketAddr, now: Timestamp, status: StatusCode) -> Self {
        let target = match status {
            StatusCode::REQUEST_TIMEOUT => "error:request-timeout",
            StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                "error:request-too-large"
            }
            _ => "error:invalid-request",
        };
        let transaction = Transaction { target: target.to_owned(), ..Self::blank(client, now) };
        Self { transaction, began: Instant::now() }
    }

    fn blank(client: SocketAddr, started: Timestamp) -> Transaction {
        Transaction {
            started,
            duration: Duration::ZERO,
            client,
            method: "NONE".to_owned(),
            target: String::new(),
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
        }
    }

    fn started(&self) -> Timestamp {
        self.transaction.started
    }

    /// The target by which the request is known from here on.
    fn target(&mut self, request: &ProxyRequest) {
        self.transaction.target = match &request.target {
            Target::Uri(uri) | Target::Server(uri) => uri.to_string(),
            Target::Tunnel(to) => format!("{}:{}", to.host(), to.port()),
            Target::Own(path) => path.clone(),
        };
    }

    /// Tells log and metrics. Without an answer, what the record holds already stands.
    fn finish(
        mut self,
        worker: &Worker,
        answer: Option<&Answer>,
        sent: (u64, u64),
        received: u64,
        ending: Ending,
    ) {
        let transaction = &mut self.transaction;
        transaction.duration = self.began.elapsed();
        (transaction.bytes_sent, transaction.body_sent) = sent;
        transaction.body_received = received;
        transaction.ending = ending;
        if let Some(answer) = answer {
            transaction.status = answer.status.as_u16();
            transaction.outcome = answer.outcome;
            transaction.forwarded = answer.forwarded;
            transaction.stored = answer.stored;
            transaction.detail.clone_from(&answer.detail);
            transaction.next_hop = answer.next_hop.clone();
            let kind = answer.fields.first("content-type");
            transaction.content_type = kind.map(|value| String::from_utf8_lossy(value).into_owned());
            transaction.origin_received = match (&answer.next_hop, &answer.content) {
                (NextHop::None, _) => 0,
                (_, crate::body::Content::Origin(body)) => body.received(),
                (_, _) => transaction.body_sent,
            };
        }
        worker.proxy.metrics.record(transaction);
        if let Some(log) = &worker.proxy.access_log {
            log.log(transaction);
        }
    }
}
