//! The content of a response, as it comes from the next hop, whichever version of HTTP carries it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_policy::Fields;
use tokio::time::timeout;

use super::pool::Pool;
use super::{http1, http2};
use crate::error::UpstreamError;
use crate::http1::{Framing, ResponseHead};
use crate::transaction::NextHop;

/// The content of a response. Dropped before its end, it closes an HTTP/1.1 connection, or resets an HTTP/2 stream.
pub(crate) struct OriginBody {
    pub(super) framing: Framing,
    pub(super) pace: Duration,
    pub(super) hop: NextHop,
    pub(super) host: String,
    pub(super) pool: Arc<Pool>,
    received: u64,
    trailers: Option<Fields>,
    /// None once the end has been reached, or cannot be.
    source: Option<Source>,
}

/// What carries the content.
#[allow(clippy::large_enum_variant, reason = "it lives in an `OriginBody`, which is boxed")]
pub(super) enum Source {
    Http1(http1::Content),
    Http2(http2::Content),
}

impl OriginBody {
    pub(super) fn new(
        framing: Framing,
        source: Source,
        pace: Duration,
        (hop, host): (NextHop, String),
        pool: Arc<Pool>,
    ) -> Self {
        let source = Some(source);
        let mut body = Self { framing, pace, hop, host, pool, received: 0, trailers: None, source };
        let done = match &body.source {
            Some(Source::Http1(content)) => content.is_done(),
            Some(Source::Http2(content)) => framing == Framing::None || content.is_done(),
            None => true,
        };
        if done {
            body.settle();
        }
        body
    }

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

    /// Whether all that is still to be taken has come already, as far as is known.
    pub(crate) fn is_here(&self) -> bool {
        match &self.source {
            None => true,
            Some(Source::Http1(content)) => content.is_here(),
            Some(Source::Http2(_)) => false,
        }
    }

    /// The trailer section, once the end has been reached.
    pub(crate) fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    /// The next bytes; none at the true end, after which the connection is free for another request.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let host = &self.host;
        let read = async {
            match &mut self.source {
                None => Ok(None),
                Some(Source::Http1(content)) => {
                    content.next().await.map_err(|error| UpstreamError::from_read(error, host))
                }
                Some(Source::Http2(content)) => content.next(host).await,
            }
        };
        let read = timeout(self.pace, read).await;
        match read {
            Ok(Ok(Some(data))) => {
                self.received += data.len() as u64;
                Ok(Some(data))
            }
            Ok(Ok(None)) => {
                self.settle();
                Ok(None)
            }
            Ok(Err(error)) => {
                self.source = None;
                Err(error)
            }
            Err(_) => {
                if let Some(Source::Http2(content)) = self.source.take() {
                    content.give_up();
                }
                Err(UpstreamError::BodyTimeout { host: self.host.clone() })
            }
        }
    }

    /// The exchange is over, and what carried it may carry the next one.
    fn settle(&mut self) {
        match self.source.take() {
            Some(Source::Http1(mut content)) => {
                self.trailers = content.take_trailers();
                content.settle(&self.pool);
            }
            Some(Source::Http2(mut content)) => self.trailers = content.take_trailers(),
            None => {}
        }
    }
}
