//! What the tasks of a running proxy share: all of them the proxy, those of one worker its connections to origins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_policy::{PolicySettings, Timestamp};
use larder_storage::Store;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use crate::access::AccessRules;
use crate::access_log::AccessLog;
use crate::clock::Clock;
use crate::collapse::Flights;
use crate::config::{Config, ListenerKind};
use crate::intercept::Interception;
use crate::lease::Ledger;
use crate::limits::ConnectionLimits;
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::respond::OwnAnswers;

/// What all workers share. A lease has one of its own, which shares the store and more with the others.
pub(crate) struct Proxy {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) rules: Arc<AccessRules>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// What the requests of a lease came to.
    pub(crate) ledger: Option<Arc<Ledger>>,
    pub(crate) own: OwnAnswers,
    /// None where there is no CA.
    pub(crate) interception: Option<Interception>,
    pub(crate) connections: Arc<ConnectionLimits>,
    pub(crate) boundaries: AtomicUsize,
}

/// One worker's own.
pub(crate) struct Worker {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) origins: Origins,
    /// Connections and fetches of this worker.
    pub(crate) tasks: Tasks,
    /// Whether connections are to end after the request they are at.
    pub(crate) draining: watch::Receiver<bool>,
    /// Whether connections are to end now; none where that is not for their listener to say.
    pub(crate) cut: Option<watch::Receiver<bool>>,
}

/// What a connection knows of the listener that it came in on.
pub(crate) struct ListenerContext {
    pub(crate) kind: ListenerKind,
    pub(crate) address: SocketAddr,
    pub(crate) policy: Arc<PolicySettings>,
    /// TLS for the port itself.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Whether tunnels are opened that may be.
    pub(crate) intercept: bool,
}

/// How far a proxy is with its stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// No new connections; those that are busy may finish.
    Draining,
    /// Everything ends now.
    Stopped,
}

impl Proxy {
    /// A boundary for multipart content that the content does not hold, as nobody can foresee it.
    pub(crate) fn boundary(&self, now: Timestamp) -> String {
        use std::hash::{BuildHasher, RandomState};
        let number = self.boundaries.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", RandomState::new().hash_one((now.as_millis(), number)))
    }
}

/// Counts what must end before a worker may.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Arc<TasksInner>);

#[derive(Debug, Default)]
struct TasksInner {
    running: AtomicUsize,
    ended: Notify,
    /// Those that must not end before these have.
    outer: Option<Arc<Self>>,
}

impl Tasks {
    /// Tasks that count among those of others, too.
    pub(crate) fn within(outer: &Self) -> Self {
        Self(Arc::new(TasksInner { outer: Some(Arc::clone(&outer.0)), ..TasksInner::default() }))
    }

    /// One more task, until the guard is dropped.
    pub(crate) fn guard(&self) -> TaskGuard {
        self.0.begin();
        TaskGuard(Arc::clone(&self.0))
    }

    /// Returns when there is none.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.0.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl TasksInner {
    fn begin(&self) {
        self.running.fetch_add(1, Ordering::AcqRel);
        if let Some(outer) = &self.outer {
            outer.begin();
        }
    }

    fn end(&self) {
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.notify_waiters();
        }
        if let Some(outer) = &self.outer {
            outer.end();
        }
    }
}

/// One running task.
#[derive(Debug)]
pub(crate) struct TaskGuard(Arc<TasksInner>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}
