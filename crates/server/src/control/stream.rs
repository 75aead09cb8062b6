//! Answers that are written while they come about: JSON lines, chunked, at the pace of whoever reads them.
//!
//! A blocking thread makes the lines and waits while some are on their way. It learns that the reader has gone from a
//! line that cannot be sent; where there is nothing to say, an empty line each second takes its place. An answer that
//! is not brought to its end is cut, so that none is mistaken for a whole one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

/// Lines are sent together up to so many bytes, one more line included.
const PIECE_BYTES: usize = 16 * 1024;

/// Pieces that wait for the connection.
const PIECES: usize = 4;

/// Longest wait of a line for others, and longest silence.
const SILENCE: Duration = Duration::from_secs(1);

/// Calls without a line between two looks at the time.
const UNTIMED: u32 = 64;

/// Where lines are written by whoever must not block: each is sent at once. Dropped before [`Written::end`], it cuts the
/// answer.
pub(super) struct Written(mpsc::Sender<Piece>);

impl Written {
    /// The two ends of an answer.
    pub(super) fn new() -> (Self, Content) {
        let (sender, receiver) = mpsc::channel(PIECES);
        (Self(sender), Content::Lines(receiver))
    }

    /// Writes a line; false when nobody reads any more.
    pub(super) async fn line(&mut self, line: &impl Serialize) -> bool {
        // Only maps with keys that are no text could fail, and there are none.
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        self.0.send(Piece::Lines(text.into())).await.is_ok()
    }

    /// A sign of life; false when nobody reads any more.
    pub(super) async fn nothing(&mut self) -> bool {
        self.0.send(Piece::Lines(Bytes::from_static(b"\n"))).await.is_ok()
    }

    /// The answer is whole.
    pub(super) async fn end(self) {
        let _ = self.0.send(Piece::End).await;
    }
}

/// What is on its way to the connection.
pub(super) enum Piece {
    Lines(Bytes),
    End,
}

/// Where lines are written. Dropped before [`Lines::end`], it cuts the answer.
pub(super) struct Lines {
    sender: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
    sent: Instant,
    quiet: u32,
}

impl Lines {
    /// The two ends of an answer.
    pub(super) fn new() -> (Self, Content) {
        let (sender, receiver) = mpsc::channel(PIECES);
        let lines = Self { sender, buffer: Vec::new(), sent: Instant::now(), quiet: 0 };
        (lines, Content::Lines(receiver))
    }

    /// Writes a line; false when nobody reads any more. Blocks while enough is on its way.
    pub(super) fn line(&mut self, line: &impl Serialize) -> bool {
        // Only maps with keys that are no text could fail, and there are none.
        let _ = serde_json::to_writer(&mut self.buffer, line);
        self.buffer.push(b'\n');
        self.buffer.len() < PIECE_BYTES && self.sent.elapsed() < SILENCE || self.send()
    }

    /// Nothing to write yet; false when nobody reads any more.
    pub(super) fn nothing(&mut self) -> bool {
        self.quiet += 1;
        if self.quiet < UNTIMED {
            return true;
        }
        self.quiet = 0;
        if self.sent.elapsed() < SILENCE {
            return true;
        }
        if self.buffer.is_empty() {
            self.buffer.push(b'\n');
        }
        self.send()
    }

    /// The answer is whole.
    pub(super) fn end(mut self) {
        let _ = self.buffer.is_empty() || self.send();
        let _ = self.sender.blocking_send(Piece::End);
    }

    fn send(&mut self) -> bool {
        self.sent = Instant::now();
        let piece = Piece::Lines(std::mem::take(&mut self.buffer).into());
        self.sender.blocking_send(piece).is_ok()
    }
}

/// The content of an answer.
pub(super) enum Content {
    /// Known whole.
    Whole(Full<Bytes>),
    /// Written while it is sent.
    Lines(mpsc::Receiver<Piece>),
}

/// Whoever made the lines did not come to the end.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct BrokenOff;

impl Body for Content {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|never: Infallible| match never {}))),
            Self::Lines(receiver) => receiver.poll_recv(context).map(|piece| match piece {
                Some(Piece::Lines(lines)) => Some(Ok(Frame::data(lines))),
                Some(Piece::End) => None,
                None => Some(Err(BrokenOff)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}

/// How long a reader may take nothing while it is its turn; `None` while it is not.
pub(super) type Turn = Option<Duration>;

/// From the answer's head to its last byte, where it is known whole.
const WHOLE_PATIENCE: Duration = Duration::from_secs(30);

/// Between two pieces: a list may be read in a pager, and holds up nothing but this connection and a thread.
const LINES_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// A content that tells whose turn it is: its maker's while the connection waits for more, else its reader's.
pub(super) struct Watched {
    content: Content,
    turn: watch::Sender<Turn>,
}

impl Watched {
    pub(super) fn new(content: Content, turn: watch::Sender<Turn>) -> Self {
        let watched = Self { content, turn };
        watched.turn.send_replace(Some(watched.patience()));
        watched
    }

    const fn patience(&self) -> Duration {
        match self.content {
            Content::Whole(_) => WHOLE_PATIENCE,
            Content::Lines(_) => LINES_PATIENCE,
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.content).poll_frame(context);
        this.turn.send_replace(polled.is_ready().then(|| this.patience()));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// Ends when a reader has taken nothing for as long as it may.
pub(super) async fn stalled(mut turns: watch::Receiver<Turn>) {
    loop {
        let turn = *turns.borrow_and_update();
        let Some(patience) = turn else {
            if turns.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            continue;
        };
        // Each piece that is taken begins the wait anew.
        match tokio::time::timeout(patience, turns.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tokio::time::sleep(patience).await,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_reader_whose_turn_it_is_can_stall() {
        let (turn, turns) = watch::channel(None);
        let mut waiting = tokio::spawn(stalled(turns));
        let hours = Duration::from_secs(100 * 60 * 60);
        assert!(tokio::time::timeout(hours, &mut waiting).await.is_err(), "nothing has been answered yet");
        let (_lines, content) = Lines::new();
        let content = Watched::new(content, turn.clone());
        assert!(tokio::time::timeout(LINES_PATIENCE / 2, &mut waiting).await.is_err());
        turn.send_replace(None);
        assert!(tokio::time::timeout(hours, &mut waiting).await.is_err(), "the maker takes its time");
        turn.send_replace(Some(content.patience()));
        assert!(tokio::time::timeout(LINES_PATIENCE * 2, &mut waiting).await.is_ok());
    }

    #[tokio::test]
    async fn lines_that_nobody_ends_break_off() {
        use http_body_util::BodyExt;
        for ended in [true, false] {
            let (mut lines, content) = Lines::new();
            std::thread::spawn(move || {
                assert!(lines.line(&"one") && lines.line(&"two"));
                if ended {
                    lines.end();
                }
            });
            let collected = content.collect().await.map(|all| all.to_bytes());
            assert_eq!(collected.ok().as_deref(), ended.then_some(&b"\"one\"\n\"two\"\n"[..]));
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_noticed() {
        let (mut lines, content) = Lines::new();
        drop(content);
        assert!((0..PIECE_BYTES).any(|_| !lines.line(&1)));
        let (mut lines, content) = Lines::new();
        drop(content);
        let began = Instant::now();
        while lines.nothing() {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
    }
}
