//! Messages from a byte stream: the codec's reading half with a buffer that fills itself.
//!
//! Every future here is `Send` if the stream is, and cancel-safe: what was read stays in the reader, and the next call
//! goes on. Nothing keeps time; callers put their deadlines around the futures.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::decoder::{BodyDecoder, Decoded};
use super::error::{ParseError, ReadError};
use super::head::{self, HeadLimits, RequestHead, RequestInPlace, ResponseHead};
use super::scan::Scan;

/// What a read may bring before anything else was read; on the stack while it lasts.
const FIRST_READ_BYTES: usize = 4 * 1024;

/// Room for the next piece of a head.
const HEAD_READ_BYTES: usize = 8 * 1024;

/// With less room than this left (or a quarter of what is wanted), a new read gets new room.
const LEAST_ROOM_BYTES: usize = 4 * 1024;

/// A buffer with no more room than this is kept while the connection is idle.
const IDLE_BYTES: usize = 2 * 1024;

/// Reads heads and bodies from `R`.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    io: R,
    buf: BytesMut,
    limits: HeadLimits,
    scan: Scan,
    /// Whether the buffer may be part of a large allocation.
    large: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader with nothing read. It takes no memory before the first byte arrives.
    pub(crate) fn new(io: R, limits: HeadLimits) -> Self {
        Self { io, buf: BytesMut::new(), limits, scan: Scan::default(), large: false }
    }

    /// The stream, and what was read from it and belongs to no message read so far.
    pub(crate) fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buf)
    }

    /// Bytes read that belong to no message read so far: a pipelined request, part of a head, or what an origin
    /// sent after the end of its response, with which its connection must not be used again (RFC 9112, 9.3).
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buf
    }

    /// Whether any byte of the next head was read.
    pub(crate) fn has_started(&self) -> bool {
        !self.buf.is_empty()
    }

    /// Whether a byte of the next head is there (`true`), or the end of the stream (`false`). While that is not known, the
    /// reader holds at most 2 KiB.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.has_started() {
            return Poll::Ready(Ok(true));
        }
        self.poll_first(context).map_ok(|read| read > 0)
    }

    /// Waits for what [`poll_readable`](Self::poll_readable) tells. Cancel-safe.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) async fn wait_readable(&mut self) -> io::Result<bool> {
        std::future::poll_fn(|context| self.poll_readable(context)).await
    }

    /// Shows the head of the next request where it lies, if all of it has arrived at once and it is one. What `answer` answers is
    /// taken from the stream; what it does not, and all else, is there for [`request_head`](Self::request_head).
    pub(crate) fn answer_in_place<T>(
        &mut self,
        answer: impl FnOnce(RequestInPlace<'_, '_>) -> Option<T>,
    ) -> Option<T> {
        if self.scan != Scan::default() {
            return None;
        }
        let made =
            head::request_in_place(&self.buf, &self.limits, &mut Scan::default(), |head| Ok(answer(head)));
        let (answered, length) = made.ok()??;
        answered.inspect(|_| self.take_head(length))
    }

    /// Whether an idle connection is still good for a message: open, and nothing arrived unasked. Reads once without
    /// waiting; what it finds stays in the buffer.
    pub(crate) fn is_quiet(&mut self) -> bool {
        !self.has_started() && self.poll_first(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Reads once, with room for at least `room` bytes, behind what is buffered; 0 is the end of the stream.
    /// Cancel-safe.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) async fn fill(&mut self, room: usize) -> io::Result<usize> {
        let left = self.buf.capacity() - self.buf.len();
        if left == 0 || left < room.min(LEAST_ROOM_BYTES.max(room / 4)) {
            self.buf.reserve(room.max(1));
            self.large = true;
        }
        self.io.read_buf(&mut self.buf).await
    }

    /// The next request; `None` when the client closed before it began one (empty lines do not count). Cancel-safe.
    ///
    /// # Errors
    /// A head that is none, or is cut off; those of the stream.
    pub(crate) async fn request_head(&mut self) -> Result<Option<RequestHead>, ReadError> {
        if !self.wait_readable().await? {
            return Ok(None);
        }
        loop {
            if let Some((head, length)) = head::request(&self.buf, &self.limits, &mut self.scan)? {
                self.take_head(length);
                return Ok(Some(head));
            }
            if self.fill(HEAD_READ_BYTES).await? == 0 {
                return if self.scan.is_blank(&self.buf) {
                    Ok(None)
                } else {
                    Err(ParseError::Truncated.into())
                };
            }
        }
    }

    /// The next response, which may be an interim one. Cancel-safe.
    ///
    /// # Errors
    /// [`ReadError::Closed`] when the stream ended before the first byte; a head that is none, or is cut off; those of the
    /// stream.
    pub(crate) async fn response_head(&mut self) -> Result<ResponseHead, ReadError> {
        if !self.wait_readable().await? {
            return Err(ReadError::Closed);
        }
        loop {
            if let Some((head, length)) = head::response(&self.buf, &self.limits, &mut self.scan)? {
                self.take_head(length);
                return Ok(head);
            }
            if self.fill(HEAD_READ_BYTES).await? == 0 {
                return Err(ParseError::Truncated.into());
            }
        }
    }

    /// The next piece of the body; `None` at its end, after which the decoder has the trailers. Cancel-safe.
    ///
    /// # Errors
    /// A body that breaks its framing or is cut off; those of the stream.
    pub(crate) async fn body(&mut self, decoder: &mut BodyDecoder) -> Result<Option<Bytes>, ReadError> {
        loop {
            match decoder.decode(&mut self.buf)? {
                Decoded::Data(data) => return Ok(Some(data)),
                Decoded::End => return Ok(None),
                Decoded::NeedMore => {}
            }
            if self.fill(decoder.wanted()).await? == 0 {
                decoder.at_eof()?;
            }
        }
    }

    /// Reads and drops the rest of the body, up to about `limit_bytes` of content, none of it if more is announced. Whether
    /// it ended within that; if not, the connection must close. Cancel-safe, but each call counts anew.
    ///
    /// # Errors
    /// As [`Reader::body`].
    pub(crate) async fn discard(
        &mut self,
        decoder: &mut BodyDecoder,
        limit_bytes: u64,
    ) -> Result<bool, ReadError> {
        if decoder.remaining().is_some_and(|remaining| remaining > limit_bytes) {
            return Ok(false);
        }
        let limit = decoder.received().saturating_add(limit_bytes);
        while decoder.received() <= limit {
            if self.body(decoder).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(decoder.is_done())
    }

    fn take_head(&mut self, length: usize) {
        self.buf.advance(length);
        self.scan = Scan::default();
    }

    /// The first read of a message goes through the stack, so that a connection on which nothing arrives holds no buffer.
    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); FIRST_READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        let polled = Pin::new(&mut self.io).poll_read(context, &mut read);
        if polled.is_pending() {
            self.release();
        }
        ready!(polled)?;
        self.buf.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Gives back the empty buffer unless it is small.
    fn release(&mut self) {
        if self.large || self.buf.capacity() > IDLE_BYTES {
            self.buf = BytesMut::new();
            self.large = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::Future;
    use std::pin::pin;

    use super::super::framing::{Framing, request_framing, response_framing};
    use super::*;

    /// A stream that brings these pieces, each after a wait when `waits`, then ends or stays open.
    struct Script {
        pieces: VecDeque<Vec<u8>>,
        waits: bool,
        waited: bool,
        ends: bool,
    }

    impl Script {
        fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
            let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
            Self { pieces, waits: true, waited: false, ends: true }
        }
    }

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.waited = !self.waited;
            if self.waits && self.waited {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let ends = self.ends;
            match self.pieces.front_mut() {
                Some(piece) => {
                    let length = piece.len().min(buf.remaining());
                    buf.put_slice(&piece[..length]);
                    piece.drain(..length);
                    if piece.is_empty() {
                        self.pieces.pop_front();
                    }
                    Poll::Ready(Ok(()))
                }
                None if ends => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        }
    }

    /// Drops and makes anew the future whenever it has to wait: what it read must not be lost.
    fn impatient<'r, R, T>(reader: &'r mut R, mut ask: impl for<'a> AsyncFnMut(&'a mut R) -> T) -> T {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10_000 {
            if let Poll::Ready(answer) = pin!(ask(reader)).poll(&mut context) {
                return answer;
            }
        }
        panic!("no answer");
    }

    fn open(script: Script) -> Reader<Script> {
        Reader::new(script, HeadLimits::default())
    }

    const MESSAGES: &[u8] = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-Sum: 1\r\n\r\n\
        PUT /c HTTP/1.0\r\nContent-Length: 4\r\n\r\nwxyzGET /d HTTP/1.1\r\n\r\n";

    /// All requests with their content and trailers, and how it ended.
    fn read_all(script: Script) -> Vec<String> {
        let mut reader = open(script);
        let mut lines = Vec::new();
        loop {
            let head = match impatient(&mut reader, Reader::request_head) {
                Ok(Some(head)) => head,
                Ok(None) => return lines,
                Err(error) => {
                    lines.push(error.to_string());
                    return lines;
                }
            };
            let mut decoder = BodyDecoder::new(request_framing(&head).unwrap());
            let mut content = Vec::new();
            while let Some(piece) =
                impatient(&mut reader, async |reader| reader.body(&mut decoder).await).unwrap()
            {
                content.extend_from_slice(&piece);
            }
            let content = String::from_utf8(content).unwrap();
            lines.push(format!("{head:?} {content} {:?}", decoder.take_trailers()));
        }
    }

    #[test]
    fn messages_read_the_same_wherever_they_are_split() {
        let whole = read_all(Script::new([MESSAGES]));
        assert_eq!(whole.len(), 4);
        assert!(whole[1].contains("abc0123456789abcdef") && whole[1].contains("X-Sum"));
        for split in 0..MESSAGES.len() {
            let (before, after) = MESSAGES.split_at(split);
            assert_eq!(read_all(Script::new([before, after])), whole, "at {split}");
        }
        assert_eq!(read_all(Script::new(MESSAGES.chunks(1))), whole);
    }

    #[test]
    fn a_request_that_is_cut_off_is_no_request() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 1..text.len() {
            let read = impatient(&mut open(Script::new([&text[..end]])), Reader::request_head);
            assert!(matches!(read, Err(ReadError::Parse(ParseError::Truncated))), "{end}: {read:?}");
        }
        for text in [&b""[..], b"\r", b"\r\n", b"\r\n\r\n"] {
            assert!(matches!(impatient(&mut open(Script::new([text])), Reader::request_head), Ok(None)));
        }
    }

    #[test]
    fn a_connection_closed_before_a_response_is_told_from_a_cut_response() {
        let read = impatient(&mut open(Script::new([])), Reader::response_head);
        assert!(matches!(read, Err(ReadError::Closed)));
        let read = impatient(&mut open(Script::new([&b"HTTP/1.1 200 OK\r\n"[..]])), Reader::response_head);
        assert!(matches!(read, Err(ReadError::Parse(ParseError::Truncated))));
    }

    #[test]
    fn a_body_that_is_cut_off_never_ends_well() {
        for head in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
            let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nabcde");
            let mut reader = open(Script::new([text.as_bytes()]));
            let head = impatient(&mut reader, Reader::response_head).unwrap();
            let mut decoder = BodyDecoder::new(response_framing(&http::Method::GET, &head).unwrap());
            assert!(impatient(&mut reader, async |reader| reader.body(&mut decoder).await).is_ok());
            for _ in 0..2 {
                let end = impatient(&mut reader, async |reader| reader.body(&mut decoder).await);
                assert!(matches!(end, Err(ReadError::Parse(ParseError::Truncated))));
            }
        }
    }

    #[test]
    fn what_an_origin_sends_after_its_response_stays_visible() {
        for text in [
            &b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxyabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nabc",
        ] {
            let mut reader = open(Script::new([text]));
            let head = impatient(&mut reader, Reader::response_head).unwrap();
            let mut decoder = BodyDecoder::new(response_framing(&http::Method::GET, &head).unwrap());
            while impatient(&mut reader, async |reader| reader.body(&mut decoder).await).unwrap().is_some() {}
            assert_eq!(reader.buffered(), b"abc");
            assert!(!reader.is_quiet());
            assert_eq!(&reader.into_parts().1[..], b"abc");
        }
    }

    #[test]
    fn an_idle_connection_is_quiet_until_it_ends_or_speaks() {
        let mut script = Script::new([]);
        (script.waits, script.ends) = (false, false);
        let mut reader = open(script);
        assert!(reader.is_quiet() && reader.is_quiet());
        reader.io.pieces.push_back(b"HTTP/1.1 408 x\r\n\r\n".to_vec());
        assert!(!reader.is_quiet());
        assert_eq!(impatient(&mut reader, Reader::response_head).unwrap().status, 408);
        reader.io.ends = true;
        assert!(!reader.is_quiet());
    }

    #[test]
    fn an_idle_connection_holds_little_memory() {
        let body = vec![b'x'; 300_000];
        let mut script = Script::new([&b"PUT / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n"[..], &body]);
        script.ends = false;
        let mut reader = open(script);
        let head = impatient(&mut reader, Reader::request_head).unwrap().unwrap();
        let mut decoder = BodyDecoder::new(request_framing(&head).unwrap());
        let mut pieces = 0;
        while impatient(&mut reader, async |reader| reader.body(&mut decoder).await).unwrap().is_some() {
            pieces += 1;
        }
        assert!(pieces < 8, "{pieces}");
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(reader.wait_readable()).poll(&mut context).is_pending());
        assert!(!reader.large && reader.buf.capacity() <= IDLE_BYTES);
    }

    #[test]
    fn content_is_not_copied() {
        let mut reader = open(Script::new([]));
        let mut decoder = BodyDecoder::new(Framing::Length(6));
        reader.buf.extend_from_slice(b"abcdef");
        let place = reader.buf.as_ptr();
        let piece = impatient(&mut reader, async |reader| reader.body(&mut decoder).await).unwrap().unwrap();
        assert_eq!(piece.as_ptr(), place);
        assert!(decoder.is_done());
    }

    #[test]
    fn an_unread_body_is_dropped_up_to_a_limit() {
        for (length, limit, expected) in [(50_000, 50_000, true), (50_000, 49_999, false), (0, 0, true)] {
            let body = vec![b'x'; length];
            let mut reader = open(Script::new(body.chunks(700)));
            let mut decoder = BodyDecoder::new(Framing::Length(length as u64));
            let ended =
                impatient(&mut reader, async |reader| reader.discard(&mut decoder, limit).await).unwrap();
            assert_eq!(ended, expected);
        }
        let mut endless = Script::new([]);
        endless.waits = false;
        endless.pieces.extend(std::iter::repeat_n(
            b"400\r\n".iter().copied().chain([b'x'; 0x400]).chain(*b"\r\n").collect(),
            100,
        ));
        let mut reader = open(endless);
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        assert!(!impatient(&mut reader, async |reader| reader.discard(&mut decoder, 10_000).await).unwrap());
    }

    #[test]
    fn a_slow_head_costs_no_more_than_a_fast_one() {
        let text = [b"GET / HTTP/1.1\r\nA: ", "b".repeat(60_000).as_bytes(), b"\r\n\r\n"].concat();
        let mut scan = Scan::default();
        let mut searched = 0;
        for end in 0..text.len() {
            assert_eq!(head::request(&text[..end], &HeadLimits::default(), &mut scan), Ok(None));
            searched += usize::from(!scan.first_line_is_old());
        }
        assert!(searched < 30, "{searched}");
    }

    #[test]
    fn futures_are_send() {
        fn send<T: Send>(_: T) {}
        let mut reader = Reader::new(&b""[..], HeadLimits::default());
        let mut decoder = BodyDecoder::new(Framing::None);
        send(reader.wait_readable());
        send(reader.request_head());
        send(reader.response_head());
        send(reader.body(&mut decoder));
        send(reader.discard(&mut decoder, 1));
    }
}
