//! Both directions of one exchange with a client over HTTP/1.1: the content that it sends, the answer that it gets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use larder_policy::Fields;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::http1::{
    BodyDecoder, BodyEncoder, Framing, ParseError, ReadError, Reader, ResponseHead, Version, Writer,
};
use crate::origin::{ClientFailed, Interim, Upload};
use crate::respond::{ClientGone, Length, Responder};

/// The rest of a request's content is read and dropped for no longer than this.
const DROP_TIME: Duration = Duration::from_secs(2);

/// Whether what is left of a request's content is known to be little enough to be read and dropped.
pub(crate) fn is_short(framing: Framing, received: u64, bound: u64) -> bool {
    match framing {
        Framing::Length(length) => length.saturating_sub(received) <= bound,
        Framing::None | Framing::Chunked | Framing::UntilClose => true,
    }
}

/// The content of a request, read from the connection as it is asked for.
pub(crate) struct ClientContent<'c, R> {
    pub(crate) reader: &'c mut Reader<R>,
    pub(crate) decoder: BodyDecoder,
    /// Content bytes so far, for those who cannot ask the decoder while it is in use.
    pub(crate) received: &'c AtomicU64,
    pub(crate) framing: Framing,
    pub(crate) expects_continue: bool,
    pub(crate) pace: Duration,
    /// The least rate in bytes per second, counted once `pace` has been waited in all.
    pub(crate) rate: u64,
    /// How long the content has been waited for.
    pub(crate) waited: Duration,
}

impl<R: AsyncRead + Unpin + Send> ClientContent<'_, R> {
    /// Reads and drops the rest. Whether the connection can be used again.
    pub(crate) async fn drop_rest(mut self, bound: u64) -> bool {
        if self.decoder.is_done() {
            return true;
        }
        if self.expects_continue && self.decoder.received() == 0 {
            return false;
        }
        let pace = self.pace.min(DROP_TIME);
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
        let began = Instant::now();
        let read = timeout(self.pace, self.reader.body(&mut self.decoder)).await;
        self.waited += began.elapsed();
        match read {
            Ok(Ok(data)) => {
                let received = self.decoder.received();
                self.received.store(received, Ordering::Relaxed);
                let dawdles =
                    self.waited > self.pace && received < self.rate.saturating_mul(self.waited.as_secs());
                if dawdles && data.is_some() { Err(ClientFailed::Slow) } else { Ok(data) }
            }
            Ok(Err(ReadError::Parse(error))) if error != ParseError::Truncated => {
                Err(ClientFailed::Malformed(error))
            }
            Ok(Err(_)) => Err(ClientFailed::Gone),
            Err(_) => Err(ClientFailed::Slow),
        }
    }
}

/// The sending side of one exchange over HTTP/1.1.
pub(crate) struct ClientSide<'c, W> {
    pub(crate) writer: &'c mut Writer<W>,
    pub(crate) encoder: BodyEncoder,
    pub(crate) version: Version,
    pub(crate) head_only: bool,
    pub(crate) persists: bool,
    pub(crate) pace: Duration,
    pub(crate) content_bytes: u64,
    pub(crate) started: u64,
}

impl<W: AsyncWrite + Unpin> ClientSide<'_, W> {
    /// Bytes sent so far, heads and framing included, and content bytes among them.
    pub(crate) fn sent(&self) -> (u64, u64) {
        (self.writer.written().saturating_sub(self.started), self.content_bytes)
    }
}

impl<W: AsyncWrite + Unpin + Send> Interim for ClientSide<'_, W> {
    async fn interim(&mut self, mut head: ResponseHead) {
        // HTTP/1.0 has no interim responses (RFC 9110, 15.2).
        if self.version == Version::Http11 {
            larder_policy::remove_hop_by_hop(&mut head.fields);
            // An interim response has no content, whatever it says.
            head.fields.remove("content-length");
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
}
