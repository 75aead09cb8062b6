//! Whether the other side of a shared connection still lives.
//!
//! A connection can be lost without a word, as where a firewall forgot it; then nothing tells until a deadline passes, and every request on it
//! waits for its own. So whoever waits for a head that is late has a PING sent (RFC 9113, 6.7), which any living peer answers,
//! however long its answers take. The connection is lost only when nothing at all comes in: a PING may queue behind
//! content, and its answer too.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::Limits;

/// How long is waited.
#[derive(Clone, Copy)]
pub(super) struct PulseLimits {
    /// For a head, before a PING goes out.
    after: Duration,
    /// For anything to come in after that.
    patience: Duration,
}

/// What one connection tells of its other side.
pub(super) struct Pulse {
    limits: PulseLimits,
    doubted: Notify,
    /// How often bytes have come in.
    heard: AtomicU64,
    lost: AtomicBool,
}

/// A stream that notes when bytes come in.
pub(super) struct Heard<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl PulseLimits {
    pub(super) fn of(limits: &Limits) -> Self {
        Self { after: limits.http2_ping_after, patience: limits.http2_ping_timeout }
    }
}

impl Pulse {
    pub(super) fn new(limits: PulseLimits) -> Self {
        Self { limits, doubted: Notify::new(), heard: AtomicU64::new(0), lost: AtomicBool::new(false) }
    }

    /// What comes of a wait for a head. Each time that it is late, the other side is asked for a sign of life.
    pub(super) async fn late<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        loop {
            match timeout(self.limits.after, &mut wait).await {
                Ok(came) => return came,
                Err(_) => self.doubted.notify_one(),
            }
        }
    }

    /// Whether nothing came in when it should have.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sends PINGs when asked to; ends when the other side is lost.
    pub(super) async fn stops(&self, mut pings: PingPong) {
        loop {
            self.doubted.notified().await;
            let mut heard = self.heard.load(Ordering::Relaxed);
            let mut answer = pin!(pings.ping(Ping::opaque()));
            // An error comes of the connection's end, which tells for itself.
            while timeout(self.limits.patience, &mut answer).await.is_err() {
                let now = self.heard.load(Ordering::Relaxed);
                if now == heard {
                    self.lost.store(true, Ordering::Relaxed);
                    return;
                }
                heard = now;
            }
        }
    }
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.heard.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
