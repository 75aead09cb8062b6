//! HTTP/2 connections to next hops, each shared by many requests of one worker.
//!
//! A request gets a place on a connection; a further connection is opened only when the places of all there are have been taken, and
//! one handshake at a time for as many requests as one connection has room for. That a destination speaks HTTP/2 is
//! remembered, so that a burst of requests for it waits for one handshake rather than making one each.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::timeout_at;

use super::connect::{Destination, Stream};
use super::pulse::{Heard, Pulse, PulseLimits};
use crate::config::Limits;
use crate::error::UpstreamError;
use crate::metrics::Entered;
use crate::transaction::NextHop;

/// Requests at once on one connection, if the peer allows so many.
const STREAMS: usize = 100;
/// Bytes that one connection may bring before clients take them. Where the streams' windows are so large that those of
/// [`STREAMS`] would be more, fewer requests share a connection: then a client that takes nothing never keeps others waiting.
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// Bytes of requests' content that wait on one stream.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that were given up and are remembered for a second, as answers to them may be under way.
const RESETS: usize = 1000;
/// Destinations remembered without a connection, and destinations that want HTTP/1.1.
const KNOWN: usize = 1024;

/// The HTTP/2 connections of one worker.
pub(super) struct Peers {
    known: Mutex<HashMap<Destination, Peer>>,
    /// The next number, whichever destination it is for: a place may outlive all that is known of its destination, and must not
    /// be taken for one on a connection made later.
    next: AtomicU64,
    /// Destinations that answered `HTTP_1_1_REQUIRED` (RFC 9113, 7).
    http1: Mutex<HashSet<Destination>>,
    /// A connection was added, to whichever destination.
    arrived: Notify,
    keep: Duration,
    connections: usize,
    /// What is waited for a place.
    patience: Duration,
    window: u32,
    /// Requests at once on one connection.
    streams: usize,
    pulse: PulseLimits,
    head_bytes: u32,
}

/// A destination that speaks HTTP/2.
struct Peer {
    /// Told from what was known of the destination before it was forgotten.
    number: u64,
    lines: Vec<Line>,
    /// Handshakes under way.
    connecting: usize,
    /// Requests that wait for a place.
    waiting: usize,
    failures: u64,
    failure: Option<UpstreamError>,
    /// Wakes those who wait.
    changed: Arc<Notify>,
}

/// One connection.
struct Line {
    number: u64,
    requests: SendRequest<Bytes>,
    hop: NextHop,
    pulse: Arc<Pulse>,
    active: usize,
    /// When the last request on it ended.
    since: Instant,
}

/// A place on a connection, until it is dropped.
pub(super) struct Place {
    peers: Arc<Peers>,
    to: Destination,
    number: u64,
    requests: SendRequest<Bytes>,
    hop: NextHop,
    pulse: Arc<Pulse>,
}

/// What carries a request.
pub(super) enum Found {
    /// A stream of an HTTP/2 connection, and whether the connection was there before.
    Http2(Place, bool),
    /// A new connection to a destination that chose HTTP/1.1.
    Http1(Stream, NextHop, Entered),
}

/// What is to be done for a place.
enum Look {
    Take(Place),
    /// Nothing is known of the destination.
    Find,
    Open(Opening),
    Wait(Waiting, OwnedNotified),
    Fail(UpstreamError),
}

/// A handshake under way with a destination that is known.
struct Opening {
    peers: Arc<Peers>,
    to: Destination,
    /// The number of the [`Peer`] that counts it.
    counted: u64,
}

/// A request that waits for a place.
struct Waiting {
    peers: Arc<Peers>,
    to: Destination,
    /// The number of the [`Peer`] that counts it.
    counted: u64,
}

impl Peers {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            known: Mutex::default(),
            next: AtomicU64::new(0),
            http1: Mutex::default(),
            arrived: Notify::new(),
            keep: limits.pool_idle_timeout,
            connections: limits.http2_connections.max(1),
            patience: limits.first_byte_timeout,
            window: limits.http2_window,
            streams: (CONNECTION_WINDOW / limits.http2_window.max(1)).clamp(1, STREAMS as u32) as usize,
            pulse: PulseLimits::of(limits),
            // What is over it but within h2's bound is told from other faults here.
            head_bytes: u32::try_from(limits.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX),
        }
    }

    /// A place, or a new connection that speaks HTTP/1.1. `connect` makes a connection and counts it.
    pub(super) async fn find<C>(
        self: &Arc<Self>,
        to: &Destination,
        connect: impl Fn() -> C,
    ) -> Result<Found, UpstreamError>
    where
        C: Future<Output = Result<(Stream, NextHop, Entered), UpstreamError>>,
    {
        let deadline = tokio::time::Instant::now() + self.patience;
        let mut failures = None;
        loop {
            match self.look(to, &mut failures) {
                Look::Take(place) => return Ok(Found::Http2(place, true)),
                Look::Fail(error) => return Err(error),
                Look::Find => {
                    return tokio::select! {
                        found = self.open(to, connect()) => found,
                        // Another request's handshake came first, and has room for this one.
                        place = self.arrival(to) => Ok(Found::Http2(place, true)),
                    };
                }
                Look::Open(opening) => {
                    let found = self.open(to, connect()).await;
                    opening.end(&found);
                    return found;
                }
                Look::Wait(_waiting, changed) => {
                    if timeout_at(deadline, changed).await.is_err() {
                        return Err(UpstreamError::ConnectTimeout { host: to.host.clone() });
                    }
                }
            }
        }
    }

    /// `failures` is what the caller has seen of them since it began to look.
    fn look(self: &Arc<Self>, to: &Destination, failures: &mut Option<u64>) -> Look {
        let mut known = self.lock();
        let Some(peer) = known.get_mut(to) else { return Look::Find };
        if let Some(line) = peer.free_line(self.keep, self.streams) {
            return Look::Take(line.place(self, to));
        }
        let seen = *failures.get_or_insert(peer.failures);
        if let Some(failure) = peer.failure.as_ref().filter(|_| seen != peer.failures) {
            return Look::Fail(failure.clone());
        }
        let wanted = 1 + peer.waiting / self.streams;
        if peer.connecting < wanted && peer.lines.len() + peer.connecting < self.connections {
            peer.connecting += 1;
            return Look::Open(Opening { peers: Arc::clone(self), to: to.clone(), counted: peer.number });
        }
        peer.waiting += 1;
        let changed = Arc::clone(&peer.changed).notified_owned();
        Look::Wait(Waiting { peers: Arc::clone(self), to: to.clone(), counted: peer.number }, changed)
    }

    /// Waits for a place on a connection of another's.
    async fn arrival(self: &Arc<Self>, to: &Destination) -> Place {
        loop {
            let arrived = self.arrived.notified();
            if let Some(line) =
                self.lock().get_mut(to).and_then(|peer| peer.free_line(self.keep, self.streams))
            {
                return line.place(self, to);
            }
            arrived.await;
        }
    }

    async fn open(
        self: &Arc<Self>,
        to: &Destination,
        connect: impl Future<Output = Result<(Stream, NextHop, Entered), UpstreamError>>,
    ) -> Result<Found, UpstreamError> {
        let (stream, hop, open) = connect.await?;
        if !stream.speaks_http2() {
            return Ok(Found::Http1(stream, hop, open));
        }
        self.share(to, stream, hop, open).await.map(|place| Found::Http2(place, false))
    }

    /// Makes a connection of a stream that speaks HTTP/2, and takes the first place on it.
    async fn share(
        self: &Arc<Self>,
        to: &Destination,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        hop: NextHop,
        open: Entered,
    ) -> Result<Place, UpstreamError> {
        let pulse = Arc::new(Pulse::new(self.pulse));
        let handshake = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(self.streams)
            .initial_window_size(self.window)
            // That of all its streams.
            .initial_connection_window_size(self.window.saturating_mul(self.streams as u32))
            .max_header_list_size(self.head_bytes)
            .max_send_buffer_size(SEND_BUFFER)
            .max_concurrent_reset_streams(RESETS)
            .handshake(Heard::new(stream, Arc::clone(&pulse)))
            .await;
        let (requests, mut connection) = handshake
            .map_err(|error| UpstreamError::Protocol { host: to.host.clone(), reason: error.to_string() })?;
        let (place, number) = {
            let mut known = self.lock();
            let peer = known.entry(to.clone()).or_insert_with(|| Peer::new(self.number()));
            let number = self.number();
            let mut line =
                Line { number, requests, hop, pulse: Arc::clone(&pulse), active: 0, since: Instant::now() };
            let place = line.place(self, to);
            peer.lines.push(line);
            peer.failure = None;
            peer.changed.notify_waiters();
            (place, number)
        };
        self.arrived.notify_waiters();
        let (peers, to) = (Arc::downgrade(self), to.clone());
        tokio::spawn(async move {
            let _open = open;
            let pings = connection.ping_pong().expect("it is taken here alone");
            tokio::select! {
                // What has come in is read before it is asked whether anything has.
                biased;
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(host = to.host, "an HTTP/2 connection ended: {error}");
                    }
                    if let Some(peers) = peers.upgrade() {
                        peers.remove(&to, number);
                    }
                }
                () = pulse.stops(pings) => {
                    tracing::debug!(host = to.host, "an HTTP/2 connection was lost: nothing comes in");
                    if let Some(peers) = peers.upgrade() {
                        peers.remove_all(&to);
                    }
                    // Dropped, it fails the requests on it.
                }
            }
        });
        Ok(place)
    }

    /// Takes a connection from those that get requests. It ends with the last request on it.
    fn remove(&self, to: &Destination, number: u64) {
        if let Some(peer) = self.lock().get_mut(to) {
            peer.lines.retain(|line| line.number != number);
            peer.changed.notify_waiters();
        }
    }

    /// Takes all connections from those that get requests: what one of them was lost by has taken the others along, as a rule.
    fn remove_all(&self, to: &Destination) {
        if let Some(peer) = self.lock().get_mut(to) {
            peer.lines.clear();
            peer.changed.notify_waiters();
        }
    }

    /// Whether a destination wants HTTP/1.1.
    pub(super) fn wants_http1(&self, to: &Destination) -> bool {
        self.http1.lock().unwrap_or_else(PoisonError::into_inner).contains(to)
    }

    /// Closes what has been idle for too long, and forgets destinations where there are too many.
    pub(super) fn prune(&self) {
        let mut known = self.lock();
        for peer in known.values_mut() {
            peer.drop_unusable(self.keep);
        }
        if known.len() > KNOWN {
            known.retain(|_, peer| !peer.lines.is_empty() || peer.connecting + peer.waiting > 0);
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Peer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    fn new(number: u64) -> Self {
        Self {
            number,
            lines: Vec::new(),
            connecting: 0,
            waiting: 0,
            failures: 0,
            failure: None,
            changed: Arc::default(),
        }
    }

    /// The first connection with a free place: requests gather on few connections, and the others become idle.
    fn free_line(&mut self, keep: Duration, streams: usize) -> Option<&mut Line> {
        self.drop_unusable(keep);
        self.lines.iter_mut().find(|line| line.active < line.requests.current_max_send_streams().min(streams))
    }

    /// Drops connections that are closing, and those that were idle for too long.
    fn drop_unusable(&mut self, keep: Duration) {
        self.lines.retain(|line| {
            let mut context = Context::from_waker(Waker::noop());
            let open = matches!(line.requests.clone().poll_ready(&mut context), Poll::Ready(Ok(())));
            open && (line.active > 0 || line.since.elapsed() < keep)
        });
    }
}

impl Line {
    fn place(&mut self, peers: &Arc<Peers>, to: &Destination) -> Place {
        self.active += 1;
        Place {
            peers: Arc::clone(peers),
            to: to.clone(),
            number: self.number,
            requests: self.requests.clone(),
            hop: self.hop.clone(),
            pulse: Arc::clone(&self.pulse),
        }
    }
}

impl Place {
    pub(super) fn requests(&mut self) -> &mut SendRequest<Bytes> {
        &mut self.requests
    }

    pub(super) fn hop(&self) -> &NextHop {
        &self.hop
    }

    /// Whether the other side lives.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The connection gets no more requests.
    pub(super) fn retire(&self) {
        self.peers.remove(&self.to, self.number);
    }

    /// The destination gets its requests over HTTP/1.1 from here on.
    pub(super) fn avoid(&self) {
        let mut http1 = self.peers.http1.lock().unwrap_or_else(PoisonError::into_inner);
        if http1.len() >= KNOWN {
            http1.clear();
        }
        http1.insert(self.to.clone());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.peers.lock();
        let Some(peer) = known.get_mut(&self.to) else { return };
        if let Some(line) = peer.lines.iter_mut().find(|line| line.number == self.number) {
            line.active = line.active.saturating_sub(1);
            line.since = Instant::now();
        }
        peer.changed.notify_one();
    }
}

impl Opening {
    /// Tells those who waited for the handshake what came of it.
    fn end(self, found: &Result<Found, UpstreamError>) {
        let mut known = self.peers.lock();
        match (known.get_mut(&self.to).filter(|peer| peer.number == self.counted), found) {
            (Some(peer), Err(error)) => {
                peer.failures += 1;
                peer.failure = Some(error.clone());
            }
            // It speaks HTTP/1.1 now, so that they are to connect themselves.
            (Some(peer), Ok(Found::Http1(..))) if peer.lines.is_empty() => {
                peer.changed.notify_waiters();
                known.remove(&self.to);
            }
            _ => {}
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut known = self.peers.lock();
        if let Some(peer) = known.get_mut(&self.to).filter(|peer| peer.number == self.counted) {
            peer.connecting = peer.connecting.saturating_sub(1);
            peer.changed.notify_waiters();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut known = self.peers.lock();
        if let Some(peer) = known.get_mut(&self.to).filter(|peer| peer.number == self.counted) {
            peer.waiting = peer.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
