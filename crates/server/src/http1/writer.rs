//! Messages to a byte stream: the codec's sending half.
//!
//! Heads and small pieces of content gather in a buffer; a large piece goes out at once, uncopied, in one vectored write
//! together with what was gathered before it. Whatever is gathered waits for [`Writer::flush`]: call it before
//! waiting for more content, and at the end.
//!
//! Every future here is `Send` if the stream is. All are cancel-safe in this sense: the writer owns what it was given
//! from the first poll on, and a later `flush` sends what a dropped future did not.

use std::fmt::Display;
use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{Method, StatusCode};
use larder_policy::Fields;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::encoder::{self, BodyEncoder};
use super::error::{EncodeError, WriteError};
use super::head::Version;

/// Pieces of content below this size are copied, since a second entry in a vectored write costs more.
const COPY_BELOW_BYTES: usize = 4 * 1024;

/// Room for what goes between the parts of a prepared head.
const BETWEEN_BYTES: usize = 16;

/// Gathered bytes are sent without being asked from this size on.
const SEND_AT_BYTES: usize = 16 * 1024;

/// A larger buffer is given back as soon as it is empty.
const KEEP_BYTES: usize = 8 * 1024;

/// A larger buffer is given back when the connection becomes idle.
const IDLE_BYTES: usize = 2 * 1024;

/// Writes heads and bodies to `W`.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    io: W,
    /// Goes first.
    gathered: Vec<u8>,
    /// How much of it has gone.
    sent: usize,
    /// A large piece, goes second.
    large: Bytes,
    /// What frames the large piece from behind, goes third.
    suffix: &'static [u8],
    /// All bytes the stream has taken.
    written: u64,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// A writer with nothing gathered.
    pub(crate) fn new(io: W) -> Self {
        Self { io, gathered: Vec::new(), sent: 0, large: Bytes::new(), suffix: b"", written: 0 }
    }

    /// The stream. What was not flushed is lost.
    pub(crate) fn into_inner(self) -> W {
        self.io
    }

    /// Bytes that the stream has taken since the start, heads and framing included.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether bytes wait for a flush.
    pub(crate) fn has_pending(&self) -> bool {
        self.pending() > 0
    }

    /// Gathers the head of a request.
    ///
    /// # Errors
    /// [`EncodeError::Target`] when the target is not one or more bytes of `%x21-7E`; nothing is gathered.
    pub(crate) fn request_head(
        &mut self,
        method: &Method,
        target: &[u8],
        version: Version,
        fields: &Fields,
    ) -> Result<(), EncodeError> {
        encoder::write_request_head(self.gather(), method, target, version, fields)
    }

    /// Gathers the head of a response.
    pub(crate) fn response_head(
        &mut self,
        version: Version,
        status: StatusCode,
        reason: &[u8],
        fields: &Fields,
    ) {
        encoder::write_response_head(self.gather(), version, status, reason, fields);
    }

    /// Gathers a whole answer of which the head was made before: its two parts with something between them, and content of the
    /// length that it announces.
    pub(crate) fn prepared(&mut self, head: (&[u8], impl Display, &[u8]), content: Bytes) {
        let (before, between, after) = head;
        let gathered = self.gather();
        let copied = if content.len() < COPY_BELOW_BYTES { content.len() } else { 0 };
        gathered.reserve(before.len() + BETWEEN_BYTES + after.len() + copied);
        gathered.extend_from_slice(before);
        // A vector takes everything.
        let _ = write!(gathered, "{between}");
        gathered.extend_from_slice(after);
        if copied > 0 {
            gathered.extend_from_slice(&content);
        } else {
            self.large = content;
        }
    }

    /// Gathers bytes that are framed already.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.gather().extend_from_slice(bytes);
    }

    /// Gathers a small piece of content, or sends a large one with all that was gathered. Cancel-safe as told above.
    ///
    /// # Errors
    /// Content that `encoder` does not allow, in which case none of it is sent; those of the stream.
    pub(crate) async fn chunk(&mut self, encoder: &mut BodyEncoder, data: Bytes) -> Result<(), WriteError> {
        self.accept(encoder, data)?;
        if self.large.is_empty() && self.pending() < SEND_AT_BYTES {
            return Ok(());
        }
        Ok(self.send().await?)
    }

    /// Gathers the end of the body.
    ///
    /// # Errors
    /// As [`BodyEncoder::end`].
    pub(crate) fn end(
        &mut self,
        encoder: &mut BodyEncoder,
        trailers: Option<&Fields>,
    ) -> Result<(), EncodeError> {
        encoder.end(trailers, self.gather())
    }

    /// Sends all that was gathered, through the stream's own buffers too. Cancel-safe.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) async fn flush(&mut self) -> Result<(), WriteError> {
        Ok(poll_fn(|context| self.poll_flush(context)).await?)
    }

    /// One try of [`flush`](Self::flush).
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    /// Flushes and tells the peer that no more will come. Cancel-safe.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) async fn shutdown(&mut self) -> Result<(), WriteError> {
        self.send().await?;
        Ok(self.io.shutdown().await?)
    }

    /// Gives back the buffer unless it is small, for a connection that becomes idle. Does nothing while bytes wait.
    pub(crate) fn release(&mut self) {
        if !self.has_pending() && self.gathered.capacity() > IDLE_BYTES {
            self.gathered = Vec::new();
        }
    }

    /// Takes a piece over, framed.
    fn accept(&mut self, encoder: &mut BodyEncoder, data: Bytes) -> Result<(), EncodeError> {
        let gathered = self.gather();
        let suffix = encoder.frame(data.len(), gathered)?;
        if data.len() < COPY_BELOW_BYTES {
            gathered.extend_from_slice(&data);
            gathered.extend_from_slice(suffix);
        } else {
            self.large = data;
            self.suffix = suffix;
        }
        Ok(())
    }

    /// The buffer to append to. A large piece that a dropped future left behind moves into it, to keep the order.
    fn gather(&mut self) -> &mut Vec<u8> {
        if !self.large.is_empty() || !self.suffix.is_empty() {
            self.gathered.extend_from_slice(&self.large);
            self.gathered.extend_from_slice(self.suffix);
            self.large = Bytes::new();
            self.suffix = b"";
        }
        &mut self.gathered
    }

    fn pending(&self) -> usize {
        self.gathered.len() - self.sent + self.large.len() + self.suffix.len()
    }

    async fn send(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_send(context)).await
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.has_pending() {
            let gathered = self.gathered.get(self.sent..).unwrap_or_default();
            let io = Pin::new(&mut self.io);
            let taken = if self.large.is_empty() && self.suffix.is_empty() {
                ready!(io.poll_write(context, gathered))?
            } else {
                let slices = [IoSlice::new(gathered), IoSlice::new(&self.large), IoSlice::new(self.suffix)];
                ready!(io.poll_write_vectored(context, &slices))?
            };
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(taken);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, taken: usize) {
        self.written += taken as u64;
        let from_gathered = taken.min(self.gathered.len() - self.sent);
        self.sent += from_gathered;
        if self.sent == self.gathered.len() {
            self.sent = 0;
            self.gathered.clear();
            if self.gathered.capacity() > KEEP_BYTES {
                self.gathered = Vec::new();
            }
        }
        let from_large = (taken - from_gathered).min(self.large.len());
        self.large.advance(from_large);
        if self.large.is_empty() {
            self.large = Bytes::new();
        }
        let from_suffix = taken - from_gathered - from_large;
        self.suffix = self.suffix.get(from_suffix..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    /// Keeps what each call wrote; takes at most `most` bytes a call, after a wait when `waits`.
    struct Sink {
        calls: Vec<Vec<u8>>,
        most: usize,
        waits: bool,
        waited: bool,
    }

    impl Sink {
        fn new() -> Self {
            Self { calls: Vec::new(), most: usize::MAX, waits: false, waited: false }
        }
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.waited = !self.waited;
            if self.waits && self.waited {
                return Poll::Pending;
            }
            let call: Vec<u8> =
                slices.iter().flat_map(|slice| slice.iter().copied()).take(self.most).collect();
            let length = call.len();
            self.calls.push(call);
            Poll::Ready(Ok(length))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        }
    }

    fn with_head(sink: Sink) -> Writer<Sink> {
        let mut writer = Writer::new(sink);
        let mut fields = Fields::new();
        fields.push("A", b"b").unwrap();
        writer.response_head(Version::Http11, StatusCode::OK, b"OK", &fields);
        writer
    }

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";

    #[test]
    fn a_head_and_a_small_body_leave_in_one_write() {
        let mut writer = with_head(Sink::new());
        let mut encoder = BodyEncoder::Length { remaining: 3 };
        now(writer.chunk(&mut encoder, Bytes::from_static(b"abc"))).unwrap();
        writer.end(&mut encoder, None).unwrap();
        assert!(writer.io.calls.is_empty());
        now(writer.flush()).unwrap();
        assert_eq!(writer.io.calls, [[HEAD, b"abc"].concat()]);
        assert_eq!(writer.written(), HEAD.len() as u64 + 3);
    }

    #[test]
    fn a_head_and_a_large_body_leave_in_one_write_uncopied() {
        let body = Bytes::from(vec![b'x'; 100_000]);
        let mut writer = with_head(Sink::new());
        let mut encoder = BodyEncoder::Length { remaining: 100_000 };
        now(writer.chunk(&mut encoder, body.clone())).unwrap();
        writer.end(&mut encoder, None).unwrap();
        now(writer.flush()).unwrap();
        assert_eq!(writer.io.calls, [[HEAD, &body].concat()]);
        assert!(writer.gathered.capacity() < 4096);
    }

    #[test]
    fn a_body_that_ends_early_is_not_ended() {
        let mut writer = with_head(Sink::new());
        let mut encoder = BodyEncoder::Length { remaining: 4 };
        now(writer.chunk(&mut encoder, Bytes::from_static(b"abc"))).unwrap();
        assert_eq!(writer.end(&mut encoder, None), Err(EncodeError::TooLittle { missing: 1 }));
        let more = now(writer.chunk(&mut encoder, Bytes::from_static(b"abc")));
        assert!(matches!(more, Err(WriteError::Encode(EncodeError::TooMuch))));
        now(writer.flush()).unwrap();
        assert_eq!(writer.io.calls.concat(), [HEAD, b"abc"].concat());
    }

    #[test]
    fn trailers_go_out_with_the_last_chunk() {
        let mut writer = Writer::new(Sink::new());
        let mut encoder = BodyEncoder::Chunked;
        now(writer.chunk(&mut encoder, Bytes::from_static(b"abc"))).unwrap();
        let mut trailers = Fields::new();
        trailers.push("X-Sum", b"1").unwrap();
        writer.end(&mut encoder, Some(&trailers)).unwrap();
        now(writer.flush()).unwrap();
        assert_eq!(writer.io.calls, [b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"]);
    }

    #[test]
    fn nothing_is_lost_or_doubled_by_short_writes_and_dropped_futures() {
        for most in [1, 7, 4096, 5001] {
            let mut writer = with_head(Sink { most, waits: true, ..Sink::new() });
            let mut encoder = BodyEncoder::Chunked;
            let mut expected = HEAD.to_vec();
            let mut context = Context::from_waker(Waker::noop());
            for size in [10, 5000, 20, 6000, 0, 4096] {
                let data = vec![b'x'; size];
                if size > 0 {
                    expected.extend_from_slice(format!("{size:x}\r\n{}\r\n", "x".repeat(size)).as_bytes());
                }
                // Polled once and dropped: the writer has taken it over all the same.
                let _ = pin!(writer.chunk(&mut encoder, data.into())).poll(&mut context);
            }
            writer.end(&mut encoder, None).unwrap();
            expected.extend_from_slice(b"0\r\n\r\n");
            while pin!(writer.flush()).poll(&mut context).is_pending() {}
            assert_eq!(writer.io.calls.concat(), expected);
            assert_eq!(writer.written(), expected.len() as u64);
        }
    }

    #[test]
    fn many_small_pieces_do_not_gather_without_bound() {
        let mut writer = Writer::new(Sink::new());
        let mut encoder = BodyEncoder::Chunked;
        for _ in 0..1000 {
            now(writer.chunk(&mut encoder, Bytes::from_static(&[b'x'; 100]))).unwrap();
            assert!(writer.pending() < SEND_AT_BYTES);
        }
        assert!(writer.io.calls.len() < 10);
    }

    #[test]
    fn an_idle_connection_holds_little_memory() {
        let mut writer = with_head(Sink::new());
        writer.raw(&[b'x'; 6000]);
        now(writer.flush()).unwrap();
        writer.release();
        assert!(writer.gathered.capacity() <= IDLE_BYTES);
    }

    #[test]
    fn futures_are_send() {
        fn send<T: Send>(_: T) {}
        let mut writer = Writer::new(Sink::new());
        send(writer.chunk(&mut BodyEncoder::None, Bytes::new()));
        send(writer.flush());
        send(writer.shutdown());
    }
}
