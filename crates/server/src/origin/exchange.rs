//! One request to the next hop and its response, whichever version of HTTP carries them.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use larder_policy::{Fields, Scheme};
use tokio::time::{Instant, sleep_until, timeout};

use super::body::OriginBody;
use super::connect::{Connector, Destination, Stream};
use super::halves::{Receiving, Sending};
use super::heads::{Heads, Until};
use super::messages::{
    ExchangeError, Interim, OriginResponse, Outbound, Running, Switched, Upgrade, Upload, UploadFailure,
    Uploading, end_of,
};
use super::peers::{Found, Place};
use super::pool::{Line, OriginConnection, Pool};
use super::tls::Offer;
use super::{http1, http2};
use crate::config::Limits;
use crate::error::UpstreamError;
use crate::http1::{Framing, HeadLimits, ResponseHead, Version};
use crate::metrics::{Entered, Gauge};
use crate::transaction::NextHop;

/// A client that waits for `100 (Continue)` gets it from the proxy when the origin says nothing for this long
/// (RFC 9110, 10.1.1).
const CONTINUE_DELAY: Duration = Duration::from_secs(1);
/// A request that the next hop says it did not take goes out anew, this often at most.
const TAKES: usize = 3;

/// Exchanges of one worker.
#[derive(Clone)]
pub(crate) struct Origins {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
    limits: Arc<Limits>,
    /// Counts open connections.
    open: Arc<Gauge>,
}

/// What carries one exchange.
enum Carrier {
    Http1(OriginConnection),
    Http2(Place),
}

/// Whether what carries an exchange was there before: then its other side may have closed it as we wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Kept,
    New,
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
        let (mut carrier, mut age) = self.carrier(&request.destination).await?;
        let (mut repeatable, mut takes) = (is_idempotent(&request.method), TAKES);
        loop {
            match self.ask(carrier, request, interim).await {
                // Nothing of a response had come over a kept connection: the other side closed it as we wrote.
                Err(UpstreamError::Terminated { .. }) if repeatable && age == Age::Kept => repeatable = false,
                // A shared connection had been silent for longer than any that lives.
                Err(UpstreamError::Lost { .. }) if repeatable => repeatable = false,
                Err(UpstreamError::NotTaken { .. }) if takes > 0 => takes -= 1,
                other => return other,
            }
            (carrier, age) = self.open(&request.destination).await?;
        }
    }

    /// Sends a request with content; the response may begin before the request has ended.
    pub(crate) async fn exchange<'a, U: Upload>(
        &self,
        request: &Outbound,
        upload: &'a mut U,
        interim: &mut impl Interim,
    ) -> Result<OriginResponse<'a>, ExchangeError> {
        self.connector.admit(&request.destination).map_err(ExchangeError::Upstream)?;
        let (carrier, _) = self.carrier(&request.destination).await.map_err(ExchangeError::Upstream)?;
        let host = &request.destination.host;
        let expects = upload.expects_continue();
        let mut announced = request.clone();
        if expects {
            // A constant, which is a field value.
            let _ = announced.fields.set("Expect", b"100-continue");
        }
        let (mut sending, mut receiving) =
            self.begin(carrier, &announced, upload.framing()).await.map_err(ExchangeError::Upstream)?;

        let mut heads = self.heads();
        if expects {
            self.flush(&mut sending, host).await.map_err(ExchangeError::Upstream)?;
            match timeout(CONTINUE_DELAY, heads.next(&mut receiving, interim, host, Until::Continue)).await {
                Ok(Ok(Some(head))) => {
                    // A final answer without the content: the connection cannot be used again, as the content was promised.
                    return self
                        .respond(receiving, None, request, head, None)
                        .map_err(ExchangeError::Upstream);
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(ExchangeError::Upstream(error)),
                Err(_) => heads
                    .hand_on(continue_head(), &mut receiving, interim, host)
                    .await
                    .map_err(ExchangeError::Upstream)?,
            }
        }

        let pace = self.limits.origin_body_timeout;
        let mut uploading: Option<Running<'a, Sending>> = Some(Box::pin(pump(sending, upload, pace)));
        let mut sent = None;
        let mut deadline = None;
        let head = {
            let mut read = std::pin::pin!(heads.next(&mut receiving, interim, host, Until::Final));
            loop {
                tokio::select! {
                    ended = end_of(&mut uploading) => {
                        uploading = None;
                        deadline = Some(Instant::now() + self.limits.first_byte_timeout);
                        match ended {
                            Ok(done) => sent = Some(done),
                            Err(UploadFailure::Client(failed)) => return Err(ExchangeError::Client(failed)),
                            // It may have answered before it closed: the answer is what the client should see.
                            Err(UploadFailure::Origin) => {}
                        }
                    }
                    head = &mut read => break Some(head),
                    () = at(deadline) => break None,
                }
            }
        };
        let Some(head) = head else {
            receiving.give_up();
            return Err(ExchangeError::Upstream(UpstreamError::ResponseTimeout { host: host.clone() }));
        };
        let head = head
            .map_err(ExchangeError::Upstream)?
            .ok_or_else(|| ExchangeError::Upstream(UpstreamError::Terminated { host: host.clone() }))?;
        let uploading: Option<Uploading<'a>> = match uploading {
            Some(rest) => Some(Box::pin(async move { rest.await.map(drop) })),
            None => None,
        };
        self.respond(receiving, sent, request, head, uploading).map_err(ExchangeError::Upstream)
    }

    /// Asks the next hop to switch to one of `protocols`, over a connection of its own that speaks HTTP/1.1. Nothing but
    /// the request goes out before its answer.
    pub(crate) async fn upgrade(
        &self,
        request: &Outbound,
        protocols: &[u8],
        interim: &mut impl Interim,
    ) -> Result<Upgrade, UpstreamError> {
        self.connector.admit(&request.destination)?;
        let connection = self.open_http1(&request.destination).await?;
        let mut request = request.clone();
        // Both were read from fields.
        let _ = request.fields.set("Connection", b"upgrade");
        let _ = request.fields.set("Upgrade", protocols);
        let (sending, receiving, head) = self
            .ask_for_head(Carrier::Http1(connection), &request, Until::Switch(protocols), interim)
            .await?;
        match (sending, receiving) {
            (Sending::Http1(sending), Receiving::Http1(receiving))
                if head.status == StatusCode::SWITCHING_PROTOCOLS =>
            {
                let (stream, early, hop, open) = receiving.into_stream(sending);
                Ok(Upgrade::Switched(Box::new(Switched { head, stream, early, hop, open })))
            }
            (sending, receiving) => {
                self.respond(receiving, Some(sending), &request, head, None).map(Upgrade::Answered)
            }
        }
    }

    /// One attempt.
    async fn ask(
        &self,
        carrier: Carrier,
        request: &Outbound,
        interim: &mut impl Interim,
    ) -> Result<OriginResponse<'static>, UpstreamError> {
        let (sending, receiving, head) = self.ask_for_head(carrier, request, Until::Final, interim).await?;
        self.respond(receiving, Some(sending), request, head, None)
    }

    /// Sends a request without content and awaits the head that ends its wait.
    async fn ask_for_head(
        &self,
        carrier: Carrier,
        request: &Outbound,
        until: Until<'_>,
        interim: &mut impl Interim,
    ) -> Result<(Sending, Receiving, ResponseHead), UpstreamError> {
        let host = &request.destination.host;
        let (mut sending, mut receiving) = self.begin(carrier, request, Framing::None).await?;
        self.flush(&mut sending, host).await?;
        let mut heads = self.heads();
        let read = heads.next(&mut receiving, interim, host, until);
        match timeout(self.limits.first_byte_timeout, read).await {
            Ok(head) => {
                let head = head?.ok_or_else(|| UpstreamError::Terminated { host: host.clone() })?;
                Ok((sending, receiving, head))
            }
            Err(_) => {
                receiving.give_up();
                Err(UpstreamError::ResponseTimeout { host: host.clone() })
            }
        }
    }

    /// Sends, or queues, the head of a request.
    async fn begin(
        &self,
        carrier: Carrier,
        request: &Outbound,
        framing: Framing,
    ) -> Result<(Sending, Receiving), UpstreamError> {
        let connection = match carrier {
            Carrier::Http1(connection) => connection,
            Carrier::Http2(place) => match http2::translate(request, framing) {
                Some(translated) => {
                    let host = &request.destination.host;
                    let (sending, receiving) =
                        http2::begin(place, translated, framing, self.head_limits(), host)?;
                    return Ok((Sending::Http2(sending), Receiving::Http2(receiving)));
                }
                None => self.open_http1(&request.destination).await?,
            },
        };
        let through_parent = self.connector.parent().is_some();
        let (sending, receiving) = http1::begin(connection, request, framing, through_parent)?;
        Ok((Sending::Http1(sending), Receiving::Http1(receiving)))
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

    /// What there is to carry an exchange, or something new.
    async fn carrier(&self, to: &Destination) -> Result<(Carrier, Age), UpstreamError> {
        match self.pool.take(&self.pool_key(to)) {
            Some(kept) => Ok((Carrier::Http1(kept), Age::Kept)),
            None => self.open(to).await,
        }
    }

    /// A place on a connection that is shared, or a new connection.
    async fn open(&self, to: &Destination) -> Result<(Carrier, Age), UpstreamError> {
        if to.scheme == Scheme::Http || self.pool.peers().wants_http1(to) {
            return Ok((Carrier::Http1(self.open_http1(to).await?), Age::New));
        }
        match self.pool.peers().find(to, || self.connect(to, Offer::Any)).await? {
            Found::Http2(place, true) => Ok((Carrier::Http2(place), Age::Kept)),
            Found::Http2(place, false) => Ok((Carrier::Http2(place), Age::New)),
            Found::Http1(stream, hop, open) => {
                Ok((Carrier::Http1(self.http1(to, stream, hop, open)), Age::New))
            }
        }
    }

    async fn open_http1(&self, to: &Destination) -> Result<OriginConnection, UpstreamError> {
        let (stream, hop, open) = self.connect(to, Offer::Http1).await?;
        Ok(self.http1(to, stream, hop, open))
    }

    async fn connect(
        &self,
        to: &Destination,
        offer: Offer,
    ) -> Result<(Stream, NextHop, Entered), UpstreamError> {
        let (stream, hop) = self.connector.connect(to, offer).await?;
        Ok((stream, hop, self.open.enter()))
    }

    fn http1(&self, to: &Destination, stream: Stream, hop: NextHop, open: Entered) -> OriginConnection {
        let line = Line { destination: self.pool_key(to), hop, open };
        OriginConnection::new(stream, line, self.head_limits())
    }

    fn head_limits(&self) -> HeadLimits {
        HeadLimits { bytes: self.limits.head_bytes, fields: self.limits.head_fields }
    }

    async fn flush(&self, sending: &mut Sending, host: &str) -> Result<(), UpstreamError> {
        match timeout(self.limits.origin_body_timeout, sending.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(UpstreamError::Terminated { host: host.to_owned() }),
            Err(_) => Err(UpstreamError::WriteTimeout { host: host.to_owned() }),
        }
    }

    fn heads(&self) -> Heads {
        Heads::new(self.limits.interim_responses)
    }

    fn respond<'a>(
        &self,
        receiving: Receiving,
        sending: Option<Sending>,
        request: &Outbound,
        head: ResponseHead,
        uploading: Option<Uploading<'a>>,
    ) -> Result<OriginResponse<'a>, UpstreamError> {
        let host = request.destination.host.clone();
        let hop = receiving.hop().clone();
        let (framing, source) = receiving.content(sending, &request.method, &head, &host)?;
        let pace = self.limits.origin_body_timeout;
        let body = OriginBody::new(framing, source, pace, (hop, host), Arc::clone(&self.pool));
        Ok(OriginResponse { head, body: Box::new(body), uploading })
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

/// That instant; never, where there is none.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Moves the client's content to the origin.
async fn pump<U: Upload>(
    mut sending: Sending,
    upload: &mut U,
    pace: Duration,
) -> Result<Sending, UploadFailure> {
    loop {
        let chunk = upload.next().await.map_err(UploadFailure::Client)?;
        let last = chunk.is_none();
        let write = async {
            match chunk {
                Some(chunk) => sending.content(chunk).await,
                None => sending.end().await,
            }
        };
        timeout(pace, write).await.map_err(|_| UploadFailure::Origin)?.map_err(|_| UploadFailure::Origin)?;
        if last {
            return Ok(sending);
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
