//! Connections to next hops, kept for the next request of the same worker.
//!
//! A connection of HTTP/1.1 comes back only after a whole exchange that left nothing unread. Before it is used again it is asked for
//! bytes: an end or unsolicited bytes mean that it is not (RFC 9112, 9.3 and 11.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{ReadHalf, WriteHalf};

use super::connect::{Destination, Stream};
use super::peers::Peers;
use crate::config::Limits;
use crate::http1::{HeadLimits, Reader, Writer};
use crate::metrics::Entered;
use crate::transaction::NextHop;

/// One HTTP/1.1 connection to a next hop.
pub(crate) struct OriginConnection {
    pub(super) reader: Reader<ReadHalf<Stream>>,
    pub(super) writer: Writer<WriteHalf<Stream>>,
    pub(super) line: Line,
}

/// Where a connection leads.
pub(super) struct Line {
    /// The key of its pool.
    pub(super) destination: Destination,
    pub(super) hop: NextHop,
    /// Counts it among the open ones.
    pub(super) open: Entered,
}

impl OriginConnection {
    pub(super) fn new(stream: Stream, line: Line, limits: HeadLimits) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self { reader: Reader::new(read, limits), writer: Writer::new(write), line }
    }
}

/// The connections of one worker: those of HTTP/1.1 that are idle, and those of HTTP/2, which are shared.
pub(crate) struct Pool {
    idle: Mutex<HashMap<Destination, Vec<Idle>>>,
    peers: Arc<Peers>,
    keep: Duration,
    per_destination: usize,
}

struct Idle {
    connection: OriginConnection,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            idle: Mutex::default(),
            peers: Arc::new(Peers::new(limits)),
            keep: limits.pool_idle_timeout,
            per_destination: limits.pool_idle_connections,
        }
    }

    /// The connections that are shared.
    pub(super) fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// The connection used last, if there is one that still lives.
    pub(super) fn take(&self, destination: &Destination) -> Option<OriginConnection> {
        loop {
            let idle = self.lock().get_mut(destination)?.pop()?;
            let mut connection = idle.connection;
            if idle.since.elapsed() < self.keep && connection.reader.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over.
    pub(super) fn put(&self, connection: OriginConnection) {
        let mut pool = self.lock();
        let idle = pool.entry(connection.line.destination.clone()).or_default();
        if idle.len() >= self.per_destination && !idle.is_empty() {
            idle.remove(0);
        }
        if self.per_destination > 0 {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long. Called now and then by the worker.
    pub(crate) fn prune(&self) {
        self.lock().retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < self.keep);
            !idle.is_empty()
        });
        self.peers.prune();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
