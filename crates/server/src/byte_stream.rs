//! A peer's byte stream, whatever it runs over: TCP, TLS on the proxy's port, a stream of HTTP/2, TLS inside a tunnel.
//!
//! Bytes that were read ahead of time are kept in front of the rest, so that who reads next sees them all.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::server::TlsStream;

/// What a peek may read ahead: enough for the first message of a TLS handshake, as a rule.
const PEEK_BYTES: usize = 2048;

/// See the module.
pub(crate) struct ByteStream {
    early: BytesMut,
    io: Io,
}

enum Io {
    Tcp(TcpStream),
    Other(Box<dyn Duplex>),
}

/// Both directions at once.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream that has halves, and is made whole again from them.
pub(crate) trait Halves {
    type Read: AsyncRead + Unpin + Send + 'static;
    type Write: AsyncWrite + Abort + Unpin + Send + 'static;

    /// The whole, with what was read ahead of time.
    fn join(read: Self::Read, write: Self::Write, early: BytesMut) -> io::Result<ByteStream>;
}

/// A connection that can be ended so that the other side sees it was cut.
pub(crate) trait Abort {
    /// Ends this half without an orderly end: once the other half is gone too, the connection is reset.
    fn abort(self);
}

/// Plain TCP.
pub(crate) struct Tcp;

impl Halves for Tcp {
    type Read = OwnedReadHalf;
    type Write = OwnedWriteHalf;

    fn join(read: OwnedReadHalf, write: OwnedWriteHalf, early: BytesMut) -> io::Result<ByteStream> {
        let tcp = read.reunite(write).map_err(io::Error::other)?;
        Ok(ByteStream::tcp(tcp).after(early))
    }
}

impl Abort for OwnedWriteHalf {
    fn abort(self) {
        let _ = socket2::SockRef::from(self.as_ref()).set_linger(Some(std::time::Duration::ZERO));
        // Dropped, it would end the stream in an orderly way first.
        self.forget();
    }
}

/// TLS over any of them.
pub(crate) struct Tls;

impl Halves for Tls {
    type Read = ReadHalf<TlsStream<ByteStream>>;
    type Write = WriteHalf<TlsStream<ByteStream>>;

    fn join(read: Self::Read, write: Self::Write, early: BytesMut) -> io::Result<ByteStream> {
        Ok(ByteStream::other(read.unsplit(write)).after(early))
    }
}

impl Abort for WriteHalf<TlsStream<ByteStream>> {
    /// Without the alert that ends a TLS stream in an orderly way, its end is a cut (RFC 8446, 6.1).
    fn abort(self) {}
}

impl ByteStream {
    pub(crate) fn tcp(tcp: TcpStream) -> Self {
        Self { early: BytesMut::new(), io: Io::Tcp(tcp) }
    }

    pub(crate) fn other(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { early: BytesMut::new(), io: Io::Other(Box::new(stream)) }
    }

    /// With bytes that were read before, and go first.
    pub(crate) fn after(self, early: BytesMut) -> Self {
        debug_assert!(self.early.is_empty(), "bytes are read ahead once");
        Self { early, ..self }
    }

    /// The first byte, which stays to be read; none when the stream has ended.
    pub(crate) async fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.early.is_empty() {
            let mut ahead = BytesMut::with_capacity(PEEK_BYTES);
            match &mut self.io {
                Io::Tcp(tcp) => tcp.read_buf(&mut ahead).await?,
                Io::Other(other) => other.read_buf(&mut ahead).await?,
            };
            self.early = ahead;
        }
        Ok(self.early.first().copied())
    }

    /// The stream and what was read ahead of time, where it is plain TCP.
    pub(crate) fn into_tcp(self) -> Result<(TcpStream, BytesMut), Self> {
        match self.io {
            Io::Tcp(tcp) => Ok((tcp, self.early)),
            io @ Io::Other(_) => Err(Self { early: self.early, io }),
        }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let taken = self.early.len().min(buf.remaining());
            buf.put_slice(self.early.get(..taken).unwrap_or_default());
            self.early.advance(taken);
            if self.early.is_empty() {
                self.early = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Io::Other(other) => Pin::new(other).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_write(cx, data),
            Io::Other(other) => Pin::new(other).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, data),
            Io::Other(other) => Pin::new(other).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(tcp) => tcp.is_write_vectored(),
            Io::Other(other) => other.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Io::Other(other) => Pin::new(other).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Other(other) => Pin::new(other).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn what_was_peeked_at_is_read_first() {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(b"hello").await.unwrap();
        let mut stream = ByteStream::other(near);
        assert_eq!(stream.peek().await.unwrap(), Some(b'h'));
        assert_eq!(stream.peek().await.unwrap(), Some(b'h'));
        far.write_all(b", world").await.unwrap();
        drop(far);
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "hello, world");
        assert_eq!(stream.peek().await.unwrap(), None);
    }
}
