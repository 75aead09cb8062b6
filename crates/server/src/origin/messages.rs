//! What goes into an exchange with the next hop and what comes out of it.

use std::pin::Pin;

use bytes::Bytes;
use http::Method;
use larder_policy::Fields;

use super::body::OriginBody;
use super::connect::{Destination, Stream};
use crate::error::UpstreamError;
use crate::http1::{Framing, ParseError, ResponseHead};
use crate::metrics::Entered;
use crate::transaction::NextHop;

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
pub(crate) type Uploading<'a> = Running<'a, ()>;

/// An upload, with what it gives at its end.
pub(super) type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T, UploadFailure>> + Send + 'a>>;

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

/// What a request to switch protocols came to.
pub(crate) enum Upgrade {
    /// An ordinary answer.
    Answered(OriginResponse<'static>),
    /// 101: from here on the connection speaks the new protocol.
    Switched(Box<Switched>),
}

/// A connection that speaks another protocol from here on.
pub(crate) struct Switched {
    /// The 101.
    pub(crate) head: ResponseHead,
    pub(crate) stream: Stream,
    /// What came behind the head.
    pub(crate) early: Bytes,
    pub(crate) hop: NextHop,
    /// Counts it among the open ones.
    pub(crate) open: Entered,
}

/// The end of an upload; never, where there is none.
pub(crate) async fn end_of<T>(uploading: &mut Option<Running<'_, T>>) -> Result<T, UploadFailure> {
    match uploading {
        Some(uploading) => uploading.as_mut().await,
        None => std::future::pending().await,
    }
}
