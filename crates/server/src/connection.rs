//! One HTTP/1.1 connection of a client: requests in, answers out, in order, until either side is done.
//!
//! After a request that could not be read the connection closes; content that nobody read is dropped within a bound, or
//! the connection closes, so that it never becomes the next request (RFC 9112, 9.3).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::byte_stream::{Abort, ByteStream, Halves};
use crate::client::{ClientContent, ClientSide, is_short};
use crate::connect::{self, Opening};
use crate::entrance::Entrance;
use crate::hit;
use crate::http1::{
    self, BodyDecoder, BodyEncoder, Framing, HeadLimits, ParseError, ReadError, Reader, RequestHead, Version,
    Writer,
};
use crate::origin::{ClientFailed, Stream, Switched};
use crate::pipeline::Answered;
use crate::record::{self, Record};
use crate::request::{Rejection, Target};
use crate::respond::{Answer, send};
use crate::transaction::{Ending, Outcome};

/// After an answer that ends the connection, the client may still be sending: its bytes are dropped for this long, so that
/// a reset does not take the answer from it.
const LINGER: Duration = Duration::from_secs(2);

/// A client's connection and what it is for.
pub(crate) struct Connection<H: Halves> {
    entrance: Arc<Entrance>,
    reader: Reader<H::Read>,
    writer: Writer<H::Write>,
}

/// What becomes of the connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next request.
    Continue,
    /// The end, after the client had time to read the answer.
    Close,
    /// The end, at once.
    Cut,
    /// The end with a reset, as an orderly one would look like the end of the content.
    Reset,
}

impl<H: Halves> Connection<H> {
    pub(crate) fn new(entrance: Arc<Entrance>, read: H::Read, write: H::Write) -> Self {
        let limits = &entrance.proxy().config.limits;
        let head_limits = HeadLimits { bytes: limits.head_bytes, fields: limits.head_fields };
        Self { reader: Reader::new(read, head_limits), writer: Writer::new(write), entrance }
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn serve(mut self) {
        let worker = Arc::clone(&self.entrance.worker);
        let mut draining = worker.draining.clone();
        let mut over = pin!(draining.wait_for(|draining| *draining));
        let mut patience = Patience::new(worker.proxy.config.limits.keep_alive_timeout);
        loop {
            if !poll_fn(|context| self.poll_arrival(&mut patience, over.as_mut(), context)).await {
                return;
            }
            let answered = poll_fn(|context| Poll::Ready(self.answer_from_memory(context))).await;
            let next = match answered {
                Some(Shortly::Answered) => Next::Continue,
                // All that is boxed here is so that a connection that is idle needs no room for it.
                Some(Shortly::Sending { record, written }) => {
                    Box::pin(self.send_rest(*record, written)).await
                }
                None => match Box::pin(self.next_request()).await {
                    Requested::Answered(next) => next,
                    Requested::Tunnel(opening) => return Box::pin(self.tunnel(*opening)).await,
                    Requested::Switch(record, switched) => {
                        return Box::pin(self.switch(*record, *switched)).await;
                    }
                },
            };
            match next {
                Next::Continue => patience.begin_anew(),
                Next::Close => return Box::pin(self.linger()).await,
                Next::Cut => return,
                Next::Reset => return self.writer.into_inner().abort(),
            }
        }
    }

    /// Whether the next request has begun to arrive (`true`), or none will.
    fn poll_arrival(
        &mut self,
        patience: &mut Patience,
        over: Pin<&mut impl Future>,
        context: &mut Context<'_>,
    ) -> Poll<bool> {
        if let Poll::Ready(readable) = self.reader.poll_readable(context) {
            return Poll::Ready(matches!(readable, Ok(true)));
        }
        self.writer.release();
        if over.poll(context).is_ready() || patience.poll_over(context).is_ready() {
            return Poll::Ready(false);
        }
        Poll::Pending
    }

    /// Answers the next request if that takes the short way.
    fn answer_from_memory(&mut self, context: &mut Context<'_>) -> Option<Shortly> {
        let Self { entrance, reader, writer } = self;
        reader.answer_in_place(|head| {
            let started = writer.written();
            let hit = hit::find(entrance, &head)?;
            let content = hit.content();
            let length = content.len() as u64;
            writer.prepared(hit.head(), content);
            let flushed = writer.poll_flush(context);
            let sent = writer.written().saturating_sub(started);
            let transaction = hit.transaction(entrance, &head, (sent, length));
            if matches!(flushed, Poll::Ready(Ok(()))) {
                record::tell(entrance.proxy(), &transaction);
                return Some(Shortly::Answered);
            }
            let record = Box::new(Record::since(hit.began(), entrance, transaction.into_owned()));
            Some(Shortly::Sending { record, written: started })
        })
    }

    /// Sends what the client did not take at once of an answer that began when so many bytes had been `written`.
    async fn send_rest(&mut self, mut record: Record, written: u64) -> Next {
        let pace = self.entrance.proxy().config.limits.client_write_timeout;
        let flushed = timeout(pace, self.writer.flush()).await;
        let sent = self.writer.written().saturating_sub(written);
        let content = record.transaction.body_sent;
        match flushed {
            Ok(Ok(())) => {
                record.finish(None, (sent, content), 0, Ending::Complete);
                Next::Continue
            }
            _ => {
                record.transaction.body_sent = 0;
                record.finish(None, (sent, 0), 0, Ending::ClientAborted);
                Next::Cut
            }
        }
    }

    /// The next request, of which something has arrived.
    async fn next_request(&mut self) -> Requested {
        let limits = &Arc::clone(&self.entrance.worker).proxy.config.limits;
        Requested::Answered(match timeout(limits.head_timeout, self.reader.request_head()).await {
            Ok(Ok(Some(head))) => return self.request(head).await,
            Ok(
                Ok(None)
                | Err(ReadError::Io(_) | ReadError::Closed | ReadError::Parse(ParseError::Truncated)),
            ) => Next::Cut,
            Ok(Err(ReadError::Parse(error))) => self.unreadable(&error.into()).await,
            Err(_) => {
                let reason = "the head of the request took too long".into();
                self.unreadable(&Rejection { status: StatusCode::REQUEST_TIMEOUT, reason }).await
            }
        })
    }

    /// One request.
    async fn request(&mut self, head: RequestHead) -> Requested {
        let entrance = Arc::clone(&self.entrance);
        let worker = &entrance.worker;
        let proxy = &worker.proxy;
        let mut record = Record::new(&entrance, &head);
        let framing = match http1::request_framing(&head) {
            Ok(framing) => framing,
            Err(error) => return Requested::Answered(self.refuse(record, &error.into(), 0).await),
        };
        let version = head.version;
        // A proxy does not honour an HTTP/1.0 client's keep-alive (RFC 9112, C.2.2).
        let persists = version == Version::Http11 && http1::persists(version, &head.fields);
        let request = match entrance.admit(head, &mut record) {
            Ok(request) => request,
            Err(answer) => return Requested::Answered(self.conclude(record, *answer, 0).await),
        };
        if let Target::Tunnel(to) = &request.target {
            return match connect::open(&entrance, record, to.clone()).await {
                Ok(opening) => Requested::Tunnel(Box::new(opening)),
                Err((record, answer)) => Requested::Answered(self.conclude(record, *answer, 0).await),
            };
        }

        let received = AtomicU64::new(0);
        let mut upload = ClientContent {
            reader: &mut self.reader,
            decoder: BodyDecoder::new(framing),
            received: &received,
            framing,
            expects_continue: request.expects_continue,
            pace: proxy.config.limits.request_body_timeout,
            rate: proxy.config.limits.request_body_rate,
            waited: Duration::ZERO,
        };
        let mut responder = ClientSide {
            writer: &mut self.writer,
            encoder: BodyEncoder::None,
            version,
            head_only: request.method == Method::HEAD,
            persists: persists && !*worker.draining.borrow(),
            pace: proxy.config.limits.client_write_timeout,
            content_bytes: 0,
            started: 0,
        };
        responder.started = responder.writer.written();

        let drain_bytes = proxy.config.limits.drain_bytes;
        let sent = {
            let answered = match (&request.target, &request.upgrade) {
                (Target::Uri(uri), Some(protocols)) => {
                    match entrance.switch(&request, uri, protocols, &mut responder).await {
                        Ok(switched) => return Requested::Switch(Box::new(record), switched),
                        Err(answer) => Ok(answer.into()),
                    }
                }
                _ => {
                    let content = if framing == Framing::None { None } else { Some(&mut upload) };
                    entrance.answer(&request, content, &mut responder).await
                }
            };
            match answered {
                Ok(Answered { mut answer, uploading }) => {
                    let arrived = received.load(Ordering::Relaxed);
                    let awaits_word = request.expects_continue && arrived == 0;
                    let unread =
                        uploading.is_some() || awaits_word || !is_short(framing, arrived, drain_bytes);
                    if unread || answer.needs_tunnel {
                        // Content may stay unread: the client is told at once that the connection ends.
                        responder.persists = false;
                    }
                    let trailers = request.takes_trailers;
                    let ending =
                        send(&mut answer, &request.method, trailers, uploading, &mut responder).await;
                    Ok((answer, ending))
                }
                Err(failed) => Err(failed),
            }
        };
        let (answer, ending) = match sent {
            Ok(sent) => sent,
            Err(failed) => return Requested::Answered(self.content_failed(record, failed, &received).await),
        };
        let sent = responder.sent();
        let reusable = responder.persists && responder.encoder == BodyEncoder::Ended;
        let until_close = responder.encoder == BodyEncoder::UntilClose;
        record.finish(Some(&answer), sent, received.load(Ordering::Relaxed), ending);
        Requested::Answered(match ending {
            Ending::Complete if reusable && upload.drop_rest(drain_bytes).await => Next::Continue,
            Ending::Complete => Next::Close,
            Ending::OriginAborted if until_close => Next::Reset,
            Ending::ClientAborted | Ending::OriginAborted => Next::Cut,
        })
    }

    /// The content of a request ended before its end, and no answer has begun.
    async fn content_failed(&mut self, record: Record, failed: ClientFailed, received: &AtomicU64) -> Next {
        let received = received.load(Ordering::Relaxed);
        match Rejection::of_content(failed) {
            Some(rejection) => self.refuse(record, &rejection, received).await,
            None => {
                record.finish(None, (0, 0), received, Ending::ClientAborted);
                Next::Cut
            }
        }
    }

    /// A head that could be read, but is not carried out; its content is of unknown length, so that the connection ends.
    async fn refuse(&mut self, record: Record, rejection: &Rejection, received: u64) -> Next {
        let answer = self.entrance.proxy().own.rejection(rejection, record.started());
        self.conclude(record, answer, received).await
    }

    /// A head that could not be read.
    async fn unreadable(&mut self, rejection: &Rejection) -> Next {
        let (proxy, client) = (self.entrance.proxy(), self.entrance.client);
        let now = proxy.clock.now();
        let record = Record::unreadable(&self.entrance, rejection.status);
        tracing::debug!(%client, "unreadable request: {}", rejection.reason);
        let answer = proxy.own.rejection(rejection, now);
        self.conclude(record, answer, 0).await
    }

    /// Sends an answer that ends the connection.
    async fn conclude(&mut self, record: Record, mut answer: Answer, received: u64) -> Next {
        let worker = Arc::clone(&self.entrance.worker);
        let started = self.writer.written();
        let method = if record.transaction.method == "HEAD" { Method::HEAD } else { Method::GET };
        let mut responder = ClientSide {
            writer: &mut self.writer,
            encoder: BodyEncoder::None,
            version: Version::Http11,
            head_only: method == Method::HEAD,
            persists: false,
            pace: worker.proxy.config.limits.client_write_timeout,
            content_bytes: 0,
            started,
        };
        let ending = send(&mut answer, &method, false, None, &mut responder).await;
        let sent = responder.sent();
        record.finish(Some(&answer), sent, received, ending);
        if ending == Ending::Complete { Next::Close } else { Next::Cut }
    }

    /// A CONNECT that is granted: the connection is not HTTP/1.1 any more.
    async fn tunnel(mut self, opening: Opening) {
        let limits = &self.entrance.proxy().config.limits;
        self.writer.raw(b"HTTP/1.1 200 Connection established\r\n\r\n");
        let greeted = timeout(limits.client_write_timeout, self.writer.flush()).await;
        let head = self.writer.written();
        let (read, early) = self.reader.into_parts();
        match H::join(read, self.writer.into_inner(), early) {
            Ok(client) if matches!(greeted, Ok(Ok(()))) => {
                opening.carry_out(self.entrance, client, head).await;
            }
            _ => opening.give_up(),
        }
    }

    /// A switch of protocols that the origin has made: what comes from here on goes to it as it is.
    async fn switch(mut self, mut record: Record, switched: Switched) {
        let Switched { head, stream, early, hop, open: _open } = switched;
        let limits = &self.entrance.proxy().config.limits;
        let before = self.writer.written();
        self.writer.response_head(head.version, head.status, &head.reason, &head.fields);
        let greeted = timeout(limits.client_write_timeout, self.writer.flush()).await;
        let sent = self.writer.written().saturating_sub(before);
        record.transaction.status = head.status.as_u16();
        record.transaction.outcome = Outcome::Tunnel;
        record.transaction.next_hop = hop;
        let server = match stream {
            Stream::Plain(tcp) => ByteStream::tcp(tcp),
            tls @ Stream::Tls(_) => ByteStream::other(tls),
        };
        let (read, early_up) = self.reader.into_parts();
        match H::join(read, self.writer.into_inner(), early_up) {
            Ok(client) if matches!(greeted, Ok(Ok(()))) => {
                connect::carry(&self.entrance, record, client, sent, server.after(early.into())).await;
            }
            _ => record.finish(None, (sent, 0), 0, Ending::ClientAborted),
        }
    }

    /// Ends the connection without taking the answer from a client that is still sending.
    async fn linger(mut self) {
        if self.writer.shutdown().await.is_err() {
            return;
        }
        let (mut read, _) = self.reader.into_parts();
        let drop_all = async {
            let mut buffer = [0_u8; 4096];
            while matches!(read.read(&mut buffer).await, Ok(1..)) {}
        };
        let _ = timeout(LINGER, drop_all).await;
    }
}

/// What became of a request that took the short way.
enum Shortly {
    Answered,
    /// The client has not taken all of it yet; the answer began when so many bytes had been written.
    Sending {
        record: Box<Record>,
        written: u64,
    },
}

/// How long a connection may be idle. Most wait for a moment only, so that the timer is not set for each wait: it rings when
/// one that began earlier could have been over, and is set anew then.
struct Patience {
    limit: Duration,
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), timer: Box::pin(sleep(limit)) }
    }

    /// The wait begins now.
    fn begin_anew(&mut self) {
        self.since = Instant::now();
    }

    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let end = self.since + self.limit;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
    }
}

enum Requested {
    Answered(Next),
    Tunnel(Box<Opening>),
    Switch(Box<Record>, Box<Switched>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_stream::Tcp;

    fn size_of_output<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_takes_little_memory() {
        let size = size_of_output(Connection::<Tcp>::serve);
        assert!(size <= 1024, "{size}");
    }
}
