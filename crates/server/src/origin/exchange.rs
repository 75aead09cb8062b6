//! One request to the next hop and its response.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_policy::{Fields, Scheme};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::{Connector, Destination, Stream};
use super::pool::{Line, OriginConnection, Pool};
use crate::config::Limits;
use crate::error::UpstreamError;
use crate::http1::{
    self, BodyDecoder, BodyEncoder, Framing, HeadLimits, ParseError, ReadError, ResponseHead, Version, Writer,
};
use crate::metrics::Gauge;
use crate::transaction::NextHop;

/// A client that waits for `100 (Continue)` gets it from the proxy when the origin says nothing for this long
/// (RFC 9110, 10.1.1).
const CONTINUE_DELAY: Duration = Duration::from_secs(1);

/// A request as it goes to the next hop.
#[derive(Debug, Clone)]
pub(crate) struct Outbound {
    /// Where to.
    pub(crate) destination: Destination,
    pub(crate) method: Method,
    /// The path and query.
    pub(crate) path: String,
    /// End-to-end fields and the proxy's own, `Host` among them; no framing.
    pub(crate) fields: Fields,
}

/// Where interim (1xx) responses go.
pub(crate) trait Interim: Send {
    /// Takes one interim response; a client that cannot have it does not get it.
    fn interim(&mut self, head: ResponseHead) -> impl Future<Output = ()> + Send;
}

/// The content of a request, as it comes from the client.
pub(crate) trait Upload: Send {
    /// How long it is.
    fn framing(&self) -> Framing;
    /// Whether the client waits for `100 (Continue)`.
    fn expects_continue(&self) -> bool;
    /// The next bytes; none at the end.
    ///
    /// # Errors
    ///
    /// The client broke off, was too slow or broke the framing; what it was is the caller's to tell.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, ClientFailed>> + Send;
}

/// Why the client's content ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientFailed {
    /// It left.
    Gone,
    /// It broke the framing.
    Malformed(ParseError),
    /// It was silent for too long.
    Slow,
}

/// Why an exchange gave no response.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The next hop failed.
    Upstream(UpstreamError),
    /// The client's content ended before its end, so that there is nobody to answer.
    Client(ClientFailed),
}

/// The upload that still runs when the response has begun already.
pub(crate) type Uploading<'a> =
    Pin<Box<dyn Future<Output = Result<OriginWriter, UploadFailure>> + Send + 'a>>;

type OriginWriter = Writer<WriteHalf<Stream>>;
type OriginReader = http1::Reader<ReadHalf<Stream>>;

/// Which side ended an upload.
#[derive(Debug)]
pub(crate) enum UploadFailure {
    Client(ClientFailed),
    Origin,
}

/// A response whose head has come.
pub(crate) struct OriginResponse<'a> {
    pub(crate) head: ResponseHead,
    pub(crate) body: Box<OriginBody>,
    /// The rest of the request, where it is not sent yet.
    pub(crate) uploading: Option<Uploading<'a>>,
}

/// Exchanges of one worker.
#[derive(Clone)]
pub(crate) struct Origins {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
    limits: Arc<Limits>,
    /// Counts open connections.
    open: Arc<Gauge>,
}

impl Origins {
    pub(crate) fn new(
        connector: Arc<Connector>,
        pool: Arc<Pool>,
        limits: Arc<Limits>,
        open: Arc<Gauge>,
    ) -> Self {
        Self { connector, pool, limits, open }
    }

    /// The connections behind it, for tunnels.
    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Sends a request without content and awaits the head of its final response.
    pub(crate) async fn fetch(
        &self,
        request: &Outbound,
        interim: &mut impl Interim,
    ) -> Result<OriginResponse<'static>, UpstreamError> {
        self.connector.admit(&request.destination)?;
        let idempotent = is_idempotent(&request.method);
        if let Some(kept) = self.pool.take(&self.pool_key(&request.destination)) {
            match self.ask(kept, request, interim).await {
                // Nothing of a response had come over a kept connection: the other side closed it as we wrote.
                Err(UpstreamError::Terminated { .. }) if idempotent => {}
                other => return other,
            }
        }
        let fresh = self.open(&request.destination).await?;
        self.ask(fresh, request, interim).await
    }

    /// Sends a request with content; the response may begin before the request has ended.
    pub(crate) async fn exchange<'a, U: Upload>(
        &self,
        request: &Outbound,
        upload: &'a mut U,
        interim: &mut impl Interim,
    ) -> Result<OriginResponse<'a>, ExchangeError> {
        self.connector.admit(&request.destination).map_err(ExchangeError::Upstream)?;
        let kept = self.pool.take(&self.pool_key(&request.destination));
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.open(&request.destination).await.map_err(ExchangeError::Upstream)?,
        };
        let host = &request.destination.host;
        let expects = upload.expects_continue();
        self.queue_head(&mut connection, request, Some((upload.framing(), expects)))
            .map_err(ExchangeError::Upstream)?;
        let OriginConnection { mut reader, mut writer, line } = connection;

        if expects {
            self.flush(&mut writer, host).await.map_err(ExchangeError::Upstream)?;
            let mut heads = self.heads();
            match timeout(CONTINUE_DELAY, heads.next(&mut reader, interim, host, Until::Continue)).await {
                Ok(Ok(Some(head))) => {
                    // A final answer without the content: the connection cannot be used again, as the content was promised.
                    return self
                        .respond(line, reader, None, &request.method, head, None)
                        .map_err(ExchangeError::Upstream);
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(ExchangeError::Upstream(error)),
                Err(_) => interim.interim(continue_head()).await,
            }
        }

        let encoder = BodyEncoder::from(upload.framing());
        let pace = self.limits.origin_body_timeout;
        let mut uploading: Option<Uploading<'a>> = Some(Box::pin(pump(writer, encoder, upload, pace)));
        let mut writer = None;
        let mut deadline = None;
        let mut heads = self.heads();
        let head = {
            let mut read = std::pin::pin!(heads.next(&mut reader, interim, host, Until::Final));
            loop {
                tokio::select! {
                    ended = end_of(&mut uploading) => {
                        uploading = None;
                        deadline = Some(Instant::now() + self.limits.first_byte_timeout);
                        match ended {
                            Ok(done) => writer = Some(done),
                            Err(UploadFailure::Client(failed)) => return Err(ExchangeError::Client(failed)),
                            // It may have answered before it closed: the answer is what the client should see.
                            Err(UploadFailure::Origin) => {}
                        }
                    }
                    head = &mut read => break head,
                    () = at(deadline) => {
                        break Err(UpstreamError::ResponseTimeout { host: host.clone() });
                    }
                }
            }
        };
        let head = head
            .map_err(ExchangeError::Upstream)?
            .ok_or_else(|| ExchangeError::Upstream(UpstreamError::Terminated { host: host.clone() }))?;
        self.respond(line, reader, writer, &request.method, head, uploading).map_err(ExchangeError::Upstream)
    }

    /// One attempt over one connection.
    async fn ask(
        &self,
        mut connection: OriginConnection,
        request: &Outbound,
        interim: &mut impl Interim,
    ) -> Result<OriginResponse<'static>, UpstreamError> {
        let host = &request.destination.host;
        self.queue_head(&mut connection, request, None)?;
        self.flush(&mut connection.writer, host).await?;
        let mut heads = self.heads();
        let read = heads.next(&mut connection.reader, interim, host, Until::Final);
        let head = timeout(self.limits.first_byte_timeout, read)
            .await
            .map_err(|_| UpstreamError::ResponseTimeout { host: host.clone() })??
            .ok_or_else(|| UpstreamError::Terminated { host: host.clone() })?;
        let OriginConnection { reader, writer, line } = connection;
        self.respond(line, reader, Some(writer), &request.method, head, None)
    }

    /// The key of a pool: requests for plain origins behind a parent share the connections to the parent.
    fn pool_key(&self, to: &Destination) -> Destination {
        match (self.connector.parent(), to.scheme) {
            (Some(parent), Scheme::Http) => {
                Destination { scheme: Scheme::Http, host: parent.host.clone(), port: parent.port }
            }
            _ => to.clone(),
        }
    }

    async fn open(&self, to: &Destination) -> Result<OriginConnection, UpstreamError> {
        let (stream, hop) = self.connector.connect(to).await?;
        let line = Line { destination: self.pool_key(to), hop, _open: self.open.enter() };
        Ok(OriginConnection::new(stream, line, self.head_limits()))
    }

    fn head_limits(&self) -> HeadLimits {
        HeadLimits { bytes: self.limits.head_bytes, fields: self.limits.head_fields }
    }

    /// The head, framed anew: absolute-form for a parent, origin-form else.
    fn queue_head(
        &self,
        connection: &mut OriginConnection,
        request: &Outbound,
        content: Option<(Framing, bool)>,
    ) -> Result<(), UpstreamError> {
        let mut fields = request.fields.clone();
        let framing = content.map_or(Framing::None, |(framing, _)| framing);
        // These are formed here from numbers and constants, so that they cannot be refused as fields.
        let _ = match framing {
            Framing::Length(length) => fields.set("Content-Length", length.to_string().as_bytes()),
            Framing::Chunked => fields.set("Transfer-Encoding", b"chunked"),
            Framing::None | Framing::UntilClose => Ok(()),
        };
        if content.is_some_and(|(_, expects)| expects) {
            let _ = fields.set("Expect", b"100-continue");
        }
        let to = &request.destination;
        let absolute = self.connector.parent().is_some() && to.scheme == Scheme::Http;
        let target = if absolute {
            let port =
                if to.port == to.scheme.default_port() { String::new() } else { format!(":{}", to.port) };
            let path = if request.path == "*" { "" } else { request.path.as_str() };
            format!("{}://{}{port}{path}", to.scheme.as_str(), to.host)
        } else {
            request.path.clone()
        };
        connection
            .writer
            .request_head(&request.method, target.as_bytes(), Version::Http11, &fields)
            .map_err(|error| UpstreamError::Protocol { host: to.host.clone(), reason: error.to_string() })
    }

    async fn flush(&self, writer: &mut OriginWriter, host: &str) -> Result<(), UpstreamError> {
        match timeout(self.limits.origin_body_timeout, writer.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(UpstreamError::Terminated { host: host.to_owned() }),
            Err(_) => Err(UpstreamError::WriteTimeout { host: host.to_owned() }),
        }
    }

    fn heads(&self) -> Heads {
        Heads { interim_left: self.limits.interim_responses, begun: false }
    }

    fn respond<'a>(
        &self,
        line: Line,
        reader: OriginReader,
        writer: Option<OriginWriter>,
        method: &Method,
        head: ResponseHead,
        uploading: Option<Uploading<'a>>,
    ) -> Result<OriginResponse<'a>, UpstreamError> {
        let host = line.destination.host.clone();
        // Judged also where there is no body: to HEAD and in a 304 the number is passed on.
        let framing = http1::content_length(&head.fields)
            .and_then(|_| http1::response_framing(method, &head))
            .map_err(|error| UpstreamError::Protocol { host: host.clone(), reason: error.to_string() })?;
        let reusable = framing != Framing::UntilClose && http1::persists(head.version, &head.fields);
        let mut body = Box::new(OriginBody {
            framing,
            decoder: BodyDecoder::new(framing),
            pace: self.limits.origin_body_timeout,
            hop: line.hop.clone(),
            pool: Arc::clone(&self.pool),
            host,
            received: 0,
            trailers: None,
            kept: Some(Kept { line, reader, writer, reusable }),
        });
        if body.decoder.is_done() {
            body.settle();
        }
        Ok(OriginResponse { head, body, uploading })
    }
}

fn continue_head() -> ResponseHead {
    ResponseHead {
        version: Version::Http11,
        status: StatusCode::CONTINUE,
        reason: Vec::new(),
        fields: Fields::new(),
    }
}

/// The end of an upload; never, where there is none.
pub(crate) async fn end_of(uploading: &mut Option<Uploading<'_>>) -> Result<OriginWriter, UploadFailure> {
    match uploading {
        Some(uploading) => uploading.as_mut().await,
        None => std::future::pending().await,
    }
}

/// That instant; never, where there is none.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Until which head is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The final one.
    Final,
    /// `100 (Continue)`, which ends the wait without a head, or the final one.
    Continue,
}

/// Reads heads, handing interim ones on, up to a bound.
struct Heads {
    interim_left: usize,
    /// Whether anything of a response has come.
    begun: bool,
}

impl Heads {
    async fn next(
        &mut self,
        reader: &mut OriginReader,
        interim: &mut impl Interim,
        host: &str,
        until: Until,
    ) -> Result<Option<ResponseHead>, UpstreamError> {
        loop {
            let read = reader.response_head().await;
            let head = read.map_err(|error| match error {
                // A reset before the first byte is an end before the first byte.
                ReadError::Io(_) | ReadError::Closed if !reader.has_started() && !self.begun => {
                    UpstreamError::Terminated { host: host.to_owned() }
                }
                ReadError::Closed => UpstreamError::Incomplete { host: host.to_owned() },
                other => UpstreamError::from_read(other, host),
            })?;
            self.begun = true;
            let protocol =
                |reason: &str| UpstreamError::Protocol { host: host.to_owned(), reason: reason.to_owned() };
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(protocol("it switched protocols unasked"));
            }
            if !head.status.is_informational() {
                return Ok(Some(head));
            }
            self.interim_left =
                self.interim_left.checked_sub(1).ok_or_else(|| protocol("too many interim responses"))?;
            let go_on = head.status == StatusCode::CONTINUE && until == Until::Continue;
            interim.interim(head).await;
            if go_on {
                return Ok(None);
            }
        }
    }
}

/// Moves the client's content to the origin.
async fn pump<U: Upload>(
    mut writer: OriginWriter,
    mut encoder: BodyEncoder,
    upload: &mut U,
    pace: Duration,
) -> Result<OriginWriter, UploadFailure> {
    loop {
        let chunk = upload.next().await.map_err(UploadFailure::Client)?;
        let last = chunk.is_none();
        let write = async {
            match chunk {
                Some(chunk) => writer.chunk(&mut encoder, chunk).await?,
                None => writer.end(&mut encoder, None)?,
            }
            writer.flush().await
        };
        timeout(pace, write).await.map_err(|_| UploadFailure::Origin)?.map_err(|_| UploadFailure::Origin)?;
        if last {
            return Ok(writer);
        }
    }
}

/// The content of a response, as it comes from the next hop. Dropped before its end, it closes the connection.
pub(crate) struct OriginBody {
    framing: Framing,
    decoder: BodyDecoder,
    pace: Duration,
    hop: NextHop,
    pool: Arc<Pool>,
    host: String,
    received: u64,
    trailers: Option<Fields>,
    kept: Option<Kept>,
}

struct Kept {
    line: Line,
    reader: OriginReader,
    writer: Option<OriginWriter>,
    reusable: bool,
}

impl OriginBody {
    /// How its end is told.
    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether its end can be told from a broken connection. What is framed by the end of the connection alone cannot; behind a
    /// transfer coding that is not known it is taken for whole after an orderly end (RFC 9112, 6.3).
    pub(crate) fn has_sound_end(&self, head: &ResponseHead) -> bool {
        self.framing != Framing::UntilClose || head.fields.contains("transfer-encoding")
    }

    /// Which next hop it comes from.
    pub(crate) fn hop(&self) -> &NextHop {
        &self.hop
    }

    /// Content bytes so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The trailer section, once the end has been reached.
    pub(crate) fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    /// The next bytes; none at the true end, after which the connection is kept for another request.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let Some(kept) = &mut self.kept else { return Ok(None) };
        let read = timeout(self.pace, kept.reader.body(&mut self.decoder)).await;
        match read {
            Ok(Ok(Some(data))) => {
                self.received += data.len() as u64;
                Ok(Some(data))
            }
            Ok(Ok(None)) => {
                self.trailers = self.decoder.take_trailers();
                self.settle();
                Ok(None)
            }
            Ok(Err(error)) => {
                self.kept = None;
                Err(UpstreamError::from_read(error, &self.host))
            }
            Err(_) => {
                self.kept = None;
                Err(UpstreamError::BodyTimeout { host: self.host.clone() })
            }
        }
    }

    /// The exchange is over: the connection goes back, unless bytes came after the end or the request has not ended.
    fn settle(&mut self) {
        if let Some(Kept { line, reader, writer: Some(writer), reusable: true }) = self.kept.take()
            && reader.buffered().is_empty()
        {
            self.pool.put(OriginConnection { reader, writer, line });
        }
    }
}

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}
