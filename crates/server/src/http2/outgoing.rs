//! The way of one answer's content from its exchange to hyper.
//!
//! hyper asks for the next piece only when its stream may send. What waits is bounded, and is given up with the exchange: a
//! client that takes nothing holds no content.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::respond::ClientGone;

/// Pieces of content that wait for one stream.
const PIECES: usize = 2;

/// What both ends share.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Whether content will break off here, for want of the rest.
    cut: bool,
    /// Whether the stream has gone before its end.
    gone: bool,
    /// Whether the stream has had all of it.
    done: bool,
    reader: Option<Waker>,
}

enum Piece {
    Data(Bytes),
    /// The true end, without which it was cut.
    End(Option<HeaderMap>),
}

impl Line {
    async fn until(&self, mut holds: impl FnMut(&mut State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(&mut self.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        self.changed.notify_waiters();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The giving end. Dropped before [`end`](Self::end), the content breaks off.
pub(super) struct Giving(Arc<Line>);

impl Giving {
    /// Gives a piece, as soon as there is room for it.
    pub(super) async fn give(&self, data: Bytes, pace: Duration) -> Result<(), ClientGone> {
        let mut data = Some(data);
        let room = self.0.until(|state| {
            if state.gone {
                return true;
            }
            if state.pieces.len() >= PIECES {
                return false;
            }
            state.pieces.extend(data.take().map(Piece::Data));
            true
        });
        let given = timeout(pace, room).await;
        self.0.change(|_| {});
        if given.is_err() || data.is_some() { Err(ClientGone) } else { Ok(()) }
    }

    /// Gives the end, and waits until the stream has taken what was before it.
    pub(super) async fn end(self, trailers: Option<HeaderMap>, pace: Duration) -> Result<(), ClientGone> {
        self.0.change(|state| state.pieces.push_back(Piece::End(trailers)));
        loop {
            let left = self.0.lock().pieces.len();
            let progress = self.0.until(|state| state.gone || state.done || state.pieces.len() < left);
            timeout(pace, progress).await.map_err(|_| ClientGone)?;
            let state = self.0.lock();
            match (state.done, state.gone) {
                (true, _) => return Ok(()),
                (false, true) => return Err(ClientGone),
                (false, false) => {}
            }
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.0.lock().gone
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.0.change(|state| {
            if !state.done {
                state.pieces.clear();
                state.cut = true;
            }
        });
    }
}

/// The content of an answer, as hyper reads it.
pub(super) struct Outgoing {
    /// None where there is no content.
    line: Option<Arc<Line>>,
    /// Bytes to come, where that is known.
    left: Option<u64>,
}

impl Outgoing {
    pub(super) fn none() -> Self {
        Self { line: None, left: None }
    }

    /// Content of this length, where it is known, as it is given.
    pub(super) fn announcing(length: Option<u64>) -> (Giving, Self) {
        let line = Arc::new(Line::default());
        (Giving(Arc::clone(&line)), Self { line: Some(line), left: length })
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(line) = self.line.clone() else { return Poll::Ready(None) };
        let mut state = line.lock();
        let piece = match state.pieces.pop_front() {
            Some(piece) => piece,
            None if state.cut => return Poll::Ready(Some(Err(io::Error::other("the content broke off")))),
            None => {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        drop(state);
        let (frame, over) = match piece {
            Piece::Data(data) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                (Some(Ok(Frame::data(data))), self.left == Some(0))
            }
            Piece::End(trailers) => (trailers.map(|trailers| Ok(Frame::trailers(trailers))), true),
        };
        line.change(|state| state.done |= over);
        Poll::Ready(frame)
    }

    /// What was announced is all that there is.
    fn is_end_stream(&self) -> bool {
        self.line.as_ref().is_none_or(|line| self.left == Some(0) || line.lock().done)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.line, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            let empty = self.left == Some(0);
            line.change(|state| {
                state.done |= empty;
                state.gone |= !state.done;
                state.pieces.clear();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const PACE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn pieces_come_in_order_and_the_end_is_told_from_a_cut() {
        let (giving, outgoing) = Outgoing::announcing(None);
        let give = async {
            for piece in ["a", "b", "c", "d"] {
                giving.give(Bytes::from(piece), PACE).await.unwrap();
            }
            giving.end(None, PACE).await
        };
        let (ended, read) = tokio::join!(give, outgoing.collect());
        ended.unwrap();
        assert_eq!(read.unwrap().to_bytes(), "abcd");

        let (giving, outgoing) = Outgoing::announcing(None);
        giving.give(Bytes::from("a"), PACE).await.unwrap();
        drop(giving);
        assert!(outgoing.collect().await.is_err());
    }

    #[tokio::test]
    async fn all_that_was_announced_is_an_end() {
        let (giving, mut outgoing) = Outgoing::announcing(Some(2));
        giving.give(Bytes::from("ab"), PACE).await.unwrap();
        assert!(!outgoing.is_end_stream());
        assert_eq!(outgoing.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert!(outgoing.is_end_stream());
        drop(outgoing);
        giving.end(None, PACE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_takes_nothing_holds_nothing_after_a_while() {
        let (giving, mut outgoing) = Outgoing::announcing(None);
        for _ in 0..PIECES {
            giving.give(Bytes::from("a"), PACE).await.unwrap();
        }
        assert_eq!(giving.give(Bytes::from("b"), PACE).await, Err(ClientGone));
        let line = Arc::clone(&giving.0);
        drop(giving);
        assert!(line.lock().pieces.is_empty());
        assert!(outgoing.frame().await.unwrap().is_err());
        // The end of a short one waits for it to be taken, too.
        let (giving, _outgoing) = Outgoing::announcing(None);
        giving.give(Bytes::from("a"), PACE).await.unwrap();
        assert_eq!(giving.end(None, PACE).await, Err(ClientGone));
    }

    #[tokio::test]
    async fn who_gives_hears_that_the_stream_has_gone() {
        let (giving, outgoing) = Outgoing::announcing(None);
        giving.give(Bytes::from("a"), PACE).await.unwrap();
        drop(outgoing);
        assert!(giving.is_gone());
        assert_eq!(giving.give(Bytes::from("b"), PACE).await, Err(ClientGone));
    }
}
