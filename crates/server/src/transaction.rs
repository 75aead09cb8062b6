//! One request and what became of it: what the access log and the metrics are told.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use larder_policy::{ForwardReason, Timestamp};

use crate::access_log::ExchangeFields;

/// What became of a request, for people, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Answered from the store; the body came from disk.
    Hit,
    /// Answered from the memory tier.
    MemoryHit,
    /// The client's own condition held: 304 from the store.
    NotModifiedHit,
    /// Answered by following another request's fetch.
    Collapsed,
    /// A stale response, served without asking (within a window that allows it).
    StaleHit,
    /// A stale response, served since the origin could not be asked or failed.
    StaleOnError,
    /// Forwarded: nothing usable was stored.
    Miss,
    /// Validated: the stored response was still right.
    RefreshUnmodified,
    /// Validated: the origin sent a new response.
    RefreshModified,
    /// The client asked for an end-to-end reload.
    ClientRefresh,
    /// CONNECT, or a switch of protocols: bytes both ways.
    Tunnel,
    /// CONNECT, opened: what is inside has transactions of its own.
    Opened,
    /// Refused by access rules.
    Denied,
    /// `only-if-cached` and nothing usable stored.
    OnlyIfCached,
    /// Answered by the proxy itself (its own pages).
    Local,
    /// The request could not be parsed or is not one the proxy can serve.
    Invalid,
    /// The next hop failed and nothing stored could stand in.
    UpstreamFailure,
}

/// Which next hop was used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum NextHop {
    /// None: answered here.
    #[default]
    None,
    /// The origin, at this address.
    Origin(SocketAddr),
    /// The parent proxy, at this address.
    Parent(SocketAddr),
}

/// How the transfer to the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ending {
    /// All of it was handed to the kernel.
    #[default]
    Complete,
    /// The client left or did not take the bytes in time.
    ClientAborted,
    /// The origin (or the store) broke off after the head was sent; the client was cut visibly.
    OriginAborted,
}

/// One finished request.
#[derive(Debug, Clone)]
pub(crate) struct Transaction<'a> {
    /// When the head had been read.
    pub(crate) started: Timestamp,
    /// From then to the last byte sent.
    pub(crate) duration: Duration,
    /// The client's address.
    pub(crate) client: SocketAddr,
    /// Method as sent; `NONE` when nothing could be parsed.
    pub(crate) method: Cow<'a, str>,
    /// The target URI, `host:port` for CONNECT, `error:...` when nothing could be parsed.
    pub(crate) target: Cow<'a, str>,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub(crate) version: &'static str,
    /// The status sent; 0 when nothing was.
    pub(crate) status: u16,
    /// Bytes sent to the client: head and body.
    pub(crate) bytes_sent: u64,
    /// Bytes of content sent to the client.
    pub(crate) body_sent: u64,
    /// Bytes of content received from the client.
    pub(crate) body_received: u64,
    /// Content bytes received from the next hop for this request.
    pub(crate) origin_received: u64,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// How the transfer ended.
    pub(crate) ending: Ending,
    /// Why it was forwarded (RFC 9211, 2.2), if it was.
    pub(crate) forwarded: Option<ForwardReason>,
    /// Whether the response went into the store.
    pub(crate) stored: bool,
    /// Why it did not, in one word, or a rule that was applied.
    pub(crate) detail: Option<Cow<'a, str>>,
    /// Which next hop was used.
    pub(crate) next_hop: NextHop,
    /// `Content-Type` of the response.
    pub(crate) content_type: Option<Cow<'a, str>>,
    /// `Referer` of the request.
    pub(crate) referer: Option<Cow<'a, str>>,
    /// `User-Agent` of the request.
    pub(crate) user_agent: Option<Cow<'a, str>>,
    /// The fields that a cache goes by, where the log shows them and there was an answer.
    pub(crate) fields: Option<Box<ExchangeFields>>,
}

impl Transaction<'_> {
    /// The same with texts of its own.
    pub(crate) fn into_owned(self) -> Transaction<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Transaction {
            method: Cow::Owned(self.method.into_owned()),
            target: Cow::Owned(self.target.into_owned()),
            detail: own(self.detail),
            content_type: own(self.content_type),
            referer: own(self.referer),
            user_agent: own(self.user_agent),
            ..self
        }
    }
}
