//! Idle connections to next hops, kept for the next request of the same worker.
//!
//! A connection comes back only after a whole exchange that left nothing unread. Before it is used again it is asked for
//! bytes: an end or unsolicited bytes mean that it is not (RFC 9112, 9.3 and 11.2).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{ReadHalf, WriteHalf};

use super::connect::{Destination, Stream};
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
    pub(super) _open: Entered,
}

impl OriginConnection {
    pub(super) fn new(stream: Stream, line: Line, limits: HeadLimits) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self { reader: Reader::new(read, limits), writer: Writer::new(write), line }
    }
}

/// The idle connections of one worker.
pub(crate) struct Pool {
    idle: Mutex<HashMap<Destination, Vec<Idle>>>,
    keep: Duration,
    per_destination: usize,
}

struct Idle {
    connection: OriginConnection,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(keep: Duration, per_destination: usize) -> Self {
        Self { idle: Mutex::new(HashMap::new()), keep, per_destination }
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
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
