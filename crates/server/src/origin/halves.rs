//! The two halves of an exchange, so that whoever asks need not know which version of HTTP answers.

use bytes::Bytes;
use http::Method;

use super::body::Source;
use super::{http1, http2};
use crate::error::UpstreamError;
use crate::http1::{Framing, ResponseHead};
use crate::transaction::NextHop;

/// The half that the request goes out by. Dropped before its end, it leaves a request that is visibly cut.
pub(super) enum Sending {
    Http1(http1::Sending),
    Http2(http2::Sending),
}

/// The half that the response comes in by.
pub(super) enum Receiving {
    Http1(http1::Receiving),
    Http2(http2::Receiving),
}

/// The other side takes no more of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Sending {
    /// Sends a piece of content.
    pub(super) async fn content(&mut self, data: Bytes) -> Result<(), Gone> {
        match self {
            Self::Http1(sending) => sending.content(data).await,
            Self::Http2(sending) => sending.content(data).await,
        }
    }

    /// Ends the content.
    pub(super) async fn end(&mut self) -> Result<(), Gone> {
        match self {
            Self::Http1(sending) => sending.end().await,
            Self::Http2(sending) => sending.end(),
        }
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        match self {
            Self::Http1(sending) => sending.flush().await,
            // The connection's own task sends.
            Self::Http2(_) => Ok(()),
        }
    }
}

impl Receiving {
    /// The next head, interim or final. Cancel-safe.
    pub(super) async fn head(&mut self, host: &str) -> Result<ResponseHead, UpstreamError> {
        match self {
            Self::Http1(receiving) => receiving.head(host).await,
            Self::Http2(receiving) => receiving.head(host).await,
        }
    }

    pub(super) fn hop(&self) -> &NextHop {
        match self {
            Self::Http1(receiving) => receiving.hop(),
            Self::Http2(receiving) => receiving.hop(),
        }
    }

    /// The answer was waited for in vain: what carries it may be dead.
    pub(super) fn give_up(self) {
        match self {
            // Dropped, it closes its connection.
            Self::Http1(_) => {}
            Self::Http2(receiving) => receiving.give_up(),
        }
    }

    /// What the final head says of the content. Without the sending half the request has not ended.
    pub(super) fn content(
        self,
        sending: Option<Sending>,
        method: &Method,
        head: &ResponseHead,
        host: &str,
    ) -> Result<(Framing, Source), UpstreamError> {
        match self {
            Self::Http1(receiving) => {
                let sending = match sending {
                    Some(Sending::Http1(sending)) => Some(sending),
                    _ => None,
                };
                let (framing, content) = receiving.content(sending, method, head, host)?;
                Ok((framing, Source::Http1(content)))
            }
            Self::Http2(receiving) => {
                let (framing, content) = receiving.content(method, head, host)?;
                Ok((framing, Source::Http2(content)))
            }
        }
    }
}
