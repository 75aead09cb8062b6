//! A running proxy: how it starts and how it stops.
//!
//! Each worker is a thread with a runtime of its own, and the connections it accepts stay with it, to their origins
//! too. Workers share the store, the table of fetches under way, the rules and the counters, and nothing else.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use larder_storage::Store;
use tokio::sync::{mpsc, watch};

use crate::access::{AccessRules, is_open_to_all};
use crate::access_log::AccessLog;
use crate::clock::Clock;
use crate::collapse::Flights;
use crate::config::{Config, Destination, Limits, ListenerKind};
use crate::control;
use crate::error::StartError;
use crate::intercept::Interception;
use crate::lease::{Lender, Lent};
use crate::limits::ConnectionLimits;
use crate::listener::{self, Bound};
use crate::metrics::Metrics;
use crate::origin::{Connector, OriginTls, Origins, Pool};
use crate::respond::{Names, OwnAnswers};
use crate::shared::{Phase, Proxy, Tasks, Worker};

/// A running proxy. Dropped without [`drain`](Self::drain), it stops at once.
pub struct Server {
    proxy: Arc<Proxy>,
    addresses: Vec<SocketAddr>,
    lender: Arc<Lender>,
    stop: watch::Sender<Phase>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    control: Mutex<Option<control::Handle>>,
}

impl Server {
    /// Binds all addresses and starts to serve.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on, a listener that would be an open proxy, a file of certificates or an access log that
    /// cannot be opened. Nothing is left running then.
    pub fn start(config: Config, store: Store, clock: Clock) -> Result<Self, StartError> {
        if let Some(open) = config.listeners.iter().find(|listener| is_open_to_all(listener, &config.access))
        {
            return Err(StartError::OpenProxy { address: open.address });
        }
        let bound = listener::bind(&config)?;
        let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.context.address).collect();
        let opens = config.listeners.iter().any(|listener| listener.intercept);
        let tls = OriginTls::new(&config.upstream.ca_files, config.upstream.http2)?.leaving_to_clients(opens);
        let access_log = config.access_log.as_ref().map(AccessLog::open).transpose()?.map(Arc::new);
        let metrics = Arc::new(Metrics::new(clock.now()));
        if let Some(log) = &access_log {
            metrics.show_access_log_losses(log.losses());
        }
        let limits = Arc::new(config.limits.clone());
        let interception = Interception::new(&config.intercept, &config.limits)?;
        if interception.is_none() && config.listeners.iter().any(|listener| listener.intercept) {
            return Err(StartError::NoAuthority);
        }
        if let Some(interception) = &interception {
            metrics.show_learned(Arc::clone(&interception.learned));
        }
        let flights = Arc::new(Flights::new(limits.waiters_per_key, limits.uncacheable_mark));
        let lender = Arc::new(Lender::default());
        let control = control::start(&config, &metrics, &store, &clock, &flights, &lender)?;
        let mut own_addresses = addresses.clone();
        own_addresses.extend(control.as_ref().and_then(control::Handle::address));
        let rules =
            Arc::new(AccessRules::new(config.access.clone(), own_addresses, named_destinations(&config)));
        let connector = Arc::new(Connector::new(
            Arc::clone(&rules),
            tls.clone(),
            config.upstream.parent.clone(),
            config.offline,
            &config.limits,
        ));
        let (name, instance) = (config.name.clone(), instance());
        let names = Names { pseudonym: format!("{name}-{instance:08x}"), name, instance };
        let proxy = Arc::new(Proxy {
            flights,
            connections: Arc::new(ConnectionLimits::new(&limits)),
            own: OwnAnswers { names },
            interception,
            boundaries: AtomicUsize::new(0),
            config,
            store,
            clock,
            rules,
            metrics,
            access_log,
            ledger: None,
        });
        let (stop, phase) = watch::channel(Phase::Running);
        let (workers, control) = (Mutex::default(), Mutex::new(control));
        let server = Self { proxy, addresses, lender, stop, workers, control };
        let mut lending = Vec::new();
        for number in 0..server.proxy.config.workers.max(1) {
            let (lend, lent) = mpsc::unbounded_channel();
            let worker = server.spawn_worker(number, &bound, lent, &connector, &limits, phase.clone())?;
            server.lock_workers().push(worker);
            lending.push(lend);
        }
        server.lender.begin(&server.proxy, tls, &server.addresses, lending);
        Ok(server)
    }

    fn spawn_worker(
        &self,
        number: usize,
        bound: &[Bound],
        lent: mpsc::UnboundedReceiver<Lent>,
        connector: &Arc<Connector>,
        limits: &Arc<Limits>,
        phase: watch::Receiver<Phase>,
    ) -> Result<JoinHandle<()>, StartError> {
        let listeners = bound.iter().map(Bound::share).collect::<Result<Vec<_>, _>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name(format!("larder-io-{number}"))
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .map_err(StartError::Worker)?;
        let pool = Arc::new(Pool::new(limits));
        let open = Arc::clone(&self.proxy.metrics.origin_connections);
        let origins = Origins::new(Arc::clone(connector), Arc::clone(&pool), Arc::clone(limits), open);
        let (drain, draining) = watch::channel(false);
        let (proxy, tasks) = (Arc::clone(&self.proxy), Tasks::default());
        let worker = Arc::new(Worker { proxy, origins, tasks, draining, cut: None });
        std::thread::Builder::new()
            .name(format!("larder-{number}"))
            .spawn(move || {
                runtime.block_on(listener::run(worker, listeners, lent, pool, phase, drain));
                // Reads that hang on a broken disk must not keep the process.
                runtime.shutdown_timeout(Duration::from_millis(200));
            })
            .map_err(StartError::Worker)
    }

    /// The addresses that are listened on, in the configuration's order, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the admin API, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .and_then(control::Handle::address)
    }

    /// Opens the access log anew, after it was moved away.
    pub fn reopen_logs(&self) {
        if let Some(log) = &self.proxy.access_log {
            log.reopen();
        }
    }

    /// Returns once nobody has leased a listener on the control socket for this long; from then on nobody can.
    pub async fn unused_for(&self, linger: Duration) {
        self.lender.unused_for(linger).await;
    }

    /// Stops gracefully: no new connections, idle ones close, busy ones finish or are cut after `drain_timeout`. Returns
    /// when all is over. The store stays open; it is the caller's.
    pub fn drain(&self) {
        self.end(Phase::Draining);
    }

    /// Stops at once: connections are cut.
    pub fn stop(&self) {
        self.end(Phase::Stopped);
    }

    fn end(&self, phase: Phase) {
        // First of all, so that nobody is given a listener that closes at once.
        self.lender.retire();
        self.stop.send_replace(phase);
        for worker in self.lock_workers().drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
        drop(self.control.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(log) = &self.proxy.access_log {
            log.close();
        }
    }

    fn lock_workers(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Threads of one worker, at most, for what blocks: cold reads, name resolution. They end when they are idle.
const BLOCKING_THREADS: usize = 512;

/// Next hops that the operator named are in reach wherever they are.
fn named_destinations(config: &Config) -> Vec<Destination> {
    let origins = config.listeners.iter().filter_map(|listener| match &listener.kind {
        ListenerKind::Reverse { origin } => {
            Some(Destination::Host { host: origin.host().to_owned(), port: Some(origin.port()) })
        }
        ListenerKind::Forward => None,
    });
    let parent = config.upstream.parent.iter();
    origins
        .chain(parent.map(|parent| Destination::Host { host: parent.host.clone(), port: Some(parent.port) }))
        .collect()
}

/// A number that tells this process from others.
fn instance() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    let [a, b, c, d, ..] = RandomState::new().hash_one(std::process::id()).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}
