//! One exchange over one HTTP/1.1 connection, which afterwards serves the next one.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use larder_policy::{Fields, Scheme};
use tokio::io::{ReadHalf, WriteHalf};

use super::connect::Stream;
use super::halves::Gone;
use super::messages::Outbound;
use super::pool::{Line, OriginConnection, Pool};
use crate::error::UpstreamError;
use crate::http1::{
    self, BodyDecoder, BodyEncoder, Framing, ReadError, Reader, ResponseHead, Version, Writer,
};
use crate::metrics::Entered;
use crate::transaction::NextHop;

/// The half that the request goes out by.
pub(super) struct Sending {
    writer: Writer<WriteHalf<Stream>>,
    encoder: BodyEncoder,
}

/// The half that the response comes in by.
pub(super) struct Receiving {
    reader: Reader<ReadHalf<Stream>>,
    line: Line,
    /// Whether anything of a response has come.
    begun: bool,
}

/// The content of a response.
pub(super) struct Content {
    receiving: Receiving,
    decoder: BodyDecoder,
    sending: Option<Sending>,
    reusable: bool,
}

/// Queues the head of a request, framed anew: in absolute-form for a parent, in origin-form else.
pub(super) fn begin(
    connection: OriginConnection,
    request: &Outbound,
    framing: Framing,
    through_parent: bool,
) -> Result<(Sending, Receiving), UpstreamError> {
    let mut fields = Cow::Borrowed(&request.fields);
    // These are formed here from numbers and constants, so that they cannot be refused as fields.
    let _ = match framing {
        Framing::Length(length) => fields.to_mut().set("Content-Length", length.to_string().as_bytes()),
        Framing::Chunked => fields.to_mut().set("Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => Ok(()),
    };
    let to = &request.destination;
    let target = if through_parent && to.scheme == Scheme::Http {
        let port = if to.port == to.scheme.default_port() { String::new() } else { format!(":{}", to.port) };
        let path = if request.path == "*" { "" } else { request.path.as_str() };
        Cow::Owned(format!("{}://{}{port}{path}", to.scheme.as_str(), to.host))
    } else {
        Cow::Borrowed(&request.path)
    };
    let OriginConnection { reader, mut writer, line } = connection;
    writer
        .request_head(&request.method, target.as_bytes(), Version::Http11, &fields)
        .map_err(|error| UpstreamError::Protocol { host: to.host.clone(), reason: error.to_string() })?;
    let sending = Sending { writer, encoder: BodyEncoder::from(framing) };
    Ok((sending, Receiving { reader, line, begun: false }))
}

impl Sending {
    /// Sends a piece of content.
    pub(super) async fn content(&mut self, data: Bytes) -> Result<(), Gone> {
        self.writer.chunk(&mut self.encoder, data).await.map_err(|_| Gone)?;
        self.flush().await
    }

    /// Ends the content.
    pub(super) async fn end(&mut self) -> Result<(), Gone> {
        self.writer.end(&mut self.encoder, None).map_err(|_| Gone)?;
        self.flush().await
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        self.writer.flush().await.map_err(|_| Gone)
    }
}

impl Receiving {
    /// The next head, interim or final.
    pub(super) async fn head(&mut self, host: &str) -> Result<ResponseHead, UpstreamError> {
        let head = self.reader.response_head().await.map_err(|error| match error {
            ReadError::Io(error) if wants_certificate(&error) => {
                UpstreamError::ClientCertificate { host: host.to_owned() }
            }
            // A reset before the first byte is an end before the first byte.
            ReadError::Io(_) | ReadError::Closed if !self.reader.has_started() && !self.begun => {
                UpstreamError::Terminated { host: host.to_owned() }
            }
            ReadError::Closed => UpstreamError::Incomplete { host: host.to_owned() },
            other => UpstreamError::from_read(other, host),
        })?;
        self.begun = true;
        Ok(head)
    }

    pub(super) fn hop(&self) -> &NextHop {
        &self.line.hop
    }

    /// What the final head says of the content. Without the sending half the request has not ended, and the connection is not used
    /// again.
    pub(super) fn content(
        self,
        sending: Option<Sending>,
        method: &Method,
        head: &ResponseHead,
        host: &str,
    ) -> Result<(Framing, Content), UpstreamError> {
        // Judged also where there is no body: to HEAD and in a 304 the number is passed on.
        let framing = http1::content_length(&head.fields)
            .and_then(|_| http1::response_framing(method, head))
            .map_err(|error| UpstreamError::Protocol { host: host.to_owned(), reason: error.to_string() })?;
        let reusable = framing != Framing::UntilClose && http1::persists(head.version, &head.fields);
        Ok((framing, Content { receiving: self, decoder: BodyDecoder::new(framing), sending, reusable }))
    }

    /// The bare connection after a switch of protocols, and what came behind the head.
    pub(super) fn into_stream(self, sending: Sending) -> (Stream, Bytes, NextHop, Entered) {
        let Line { hop, open, .. } = self.line;
        let (read, early) = self.reader.into_parts();
        (read.unsplit(sending.writer.into_inner()), early.freeze(), hop, open)
    }
}

impl Content {
    pub(super) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether all that is still to be taken has come already.
    pub(super) fn is_here(&self) -> bool {
        let buffered = self.receiving.reader.buffered().len() as u64;
        self.decoder.remaining().is_some_and(|remaining| remaining <= buffered)
    }

    /// The next bytes; none at the true end, with the trailer section. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.receiving.reader.body(&mut self.decoder).await
    }

    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        self.decoder.take_trailers()
    }

    /// The exchange is over: the connection goes back, unless bytes came after the end or the request has not ended.
    pub(super) fn settle(self, pool: &Arc<Pool>) {
        let Receiving { reader, line, .. } = self.receiving;
        if let Some(Sending { writer, .. }) = self.sending.filter(|_| self.reusable)
            && reader.buffered().is_empty()
        {
            pool.put(OriginConnection { reader, writer, line });
        }
    }
}

/// Whether the other side ends TLS for want of a client certificate, which TLS 1.3 lets it do after the handshake.
fn wants_certificate(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired)))
}
