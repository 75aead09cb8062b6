//! Leases: a loopback listener of its own for one run of a command, beside the configured ones.
//!
//! Runs share the store, the workers and the fetches under way. Each has its own port, its own next hop, its own trust in
//! origins' certificates, its own figures, and may be offline while the others are not: all of that stands in a [`Proxy`]
//! of its own, so that nothing on a request's way has to know of leases. A listener lives exactly as long as its
//! [`Lease`]: then nothing more is accepted, and what is under way ends as it does on a graceful stop, within seconds.

mod ledger;
mod listener;
mod peer;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

pub(crate) use ledger::Ledger;
pub(crate) use listener::{Lent, serve_all};
pub(crate) use peer::is_of_this_user;

use crate::access::AccessRules;
use crate::config::{Access, Config, Destination, Listener, Parent};
use crate::control::{EndedBy, Fetched, Lend};
use crate::error::StartError;
use crate::intercept::Interception;
use crate::listener::Bound;
use crate::origin::{Connector, OriginTls};
use crate::shared::Proxy;
use crate::tls::CaDirectory;

/// Leases at a time.
const LEASES: usize = 256;

/// Lines about requests that wait to be told to a lease's holder; what is more is counted as lost.
const LINES: usize = 16 * 1024;

/// Whoever starts a proxy for the sake of a lease has this long to ask for it.
const FIRST_LEASE: Duration = Duration::from_secs(30);

/// At the end of a lease, requests under way get this long before the figures are drawn up.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLent {
    /// The proxy is starting or ending: whoever asks again may find it, or another, ready.
    #[error("the proxy is starting or ending")]
    NotNow,
    /// Too many.
    #[error("{LEASES} runs use this proxy already")]
    TooMany,
    /// What was asked for cannot be had.
    #[error("{0}")]
    Wrong(String),
    /// No listener could be made.
    #[error(transparent)]
    Start(StartError),
}

/// Gives leases.
#[derive(Default)]
pub(crate) struct Lender {
    /// What leases are made of; there from the moment that the workers run.
    ground: OnceLock<Ground>,
    state: Mutex<State>,
    /// How many leases there are.
    count: watch::Sender<usize>,
}

struct Ground {
    proxy: Arc<Proxy>,
    tls: OriginTls,
    addresses: Vec<SocketAddr>,
    workers: Vec<mpsc::UnboundedSender<Lent>>,
}

#[derive(Default)]
struct State {
    last: u64,
    held: HashMap<u64, Held>,
    retired: bool,
}

/// What is known of a lease that somebody holds.
struct Held {
    address: SocketAddr,
    hop: Hop,
    end: watch::Sender<Option<EndedBy>>,
}

impl Held {
    fn end_by(&self, by: EndedBy) {
        self.end.send_if_modified(|end| end.replace(end.unwrap_or(by)).is_none());
    }
}

/// The way to origins.
#[derive(Debug, Clone)]
struct Hop {
    parent: Option<Parent>,
    ca_files: Vec<PathBuf>,
}

/// A listener of one's own, until it is dropped.
pub(crate) struct Lease {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    /// What is to be told of requests, as they end.
    pub(crate) lines: mpsc::Receiver<Fetched>,
    pub(crate) ledger: Arc<Ledger>,
    /// Who says that the lease is to end, once somebody does: the first one counts.
    pub(crate) end: watch::Receiver<Option<EndedBy>>,
    closed: watch::Sender<bool>,
    /// Closed once no worker has anything of this lease under way.
    ended: mpsc::Receiver<()>,
    lender: Arc<Lender>,
}

impl Lender {
    /// From now on there are leases to be had.
    pub(crate) fn begin(
        &self,
        proxy: &Arc<Proxy>,
        tls: OriginTls,
        addresses: &[SocketAddr],
        workers: Vec<mpsc::UnboundedSender<Lent>>,
    ) {
        let ground = Ground { proxy: Arc::clone(proxy), tls, addresses: addresses.to_vec(), workers };
        // The only caller is the start.
        let _ = self.ground.set(ground);
    }

    /// Opens a listener. Blocks: certificates are read.
    pub(crate) fn open(self: &Arc<Self>, terms: &Lend) -> Result<Lease, NotLent> {
        let ground = self.ground.get().ok_or(NotLent::NotNow)?;
        let hop = self.hop(ground, terms)?;
        let mut config = ground.proxy.config.clone();
        let intercept = terms.ca_dir.is_some();
        config.intercept.authorities = match &terms.ca_dir {
            Some(dir) => {
                let loaded = CaDirectory::new(dir.clone()).load(ground.proxy.clock.now());
                Some(loaded.map_err(|error| NotLent::Wrong(error.to_string()))?)
            }
            None => None,
        };
        let interception = Interception::new(&config.intercept, &config.limits).map_err(NotLent::Start)?;
        config.offline |= terms.offline;
        config.upstream.parent = hop.parent.clone();
        let wanted = Listener {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            intercept,
            ..Listener::default()
        };
        let bound = Bound::open(&wanted, &config).map_err(NotLent::Start)?;
        let address = bound.context.address;
        let tls = if hop.ca_files.is_empty() {
            ground.tls.clone()
        } else {
            let files: Vec<_> = config.upstream.ca_files.iter().chain(&hop.ca_files).cloned().collect();
            OriginTls::new(&files, config.upstream.http2)
                .map_err(|error| NotLent::Wrong(error.to_string()))?
        };
        let tls = tls.leaving_to_clients(intercept);
        let (sender, lines) = mpsc::channel(LINES);
        let ledger = Arc::new(Ledger::new(sender, terms.record));
        let proxy = Arc::new(derived(ground, config, interception, address, &ledger));
        let connector = Arc::new(Connector::new(
            Arc::clone(&proxy.rules),
            tls,
            hop.parent.clone(),
            proxy.config.offline,
            &proxy.config.limits,
        ));
        let (closed, closing) = watch::channel(false);
        let (ending, ended) = mpsc::channel(1);
        let (end, asked) = watch::channel(None);
        let id = self.hold(Held { address, hop, end })?;
        let lease = Lease { id, address, lines, ledger, end: asked, closed, ended, lender: Arc::clone(self) };
        for worker in &ground.workers {
            let lent = Lent {
                bound: bound.share().map_err(NotLent::Start)?,
                proxy: Arc::clone(&proxy),
                connector: Arc::clone(&connector),
                closed: closing.clone(),
                _ending: ending.clone(),
            };
            worker.send(lent).map_err(|_| NotLent::NotNow)?;
        }
        Ok(lease)
    }

    /// The way to origins by these terms. A parent that is one of our own listeners, as in a run within a run, stands for
    /// the way that requests to it would go: a proxy does not ask itself.
    fn hop(&self, ground: &Ground, terms: &Lend) -> Result<Hop, NotLent> {
        let upstream = &ground.proxy.config.upstream;
        let mut hop = Hop { parent: upstream.parent.clone(), ca_files: terms.ca_files.clone() };
        let Some(parent) = &terms.parent else { return Ok(hop) };
        let Some((host, port)) = parent.rsplit_once(':') else {
            return Err(NotLent::Wrong(format!("the parent {parent} has no port")));
        };
        let port = port.parse().map_err(|_| NotLent::Wrong(format!("the parent {parent} has no port")))?;
        let (host, credentials) = (host.to_ascii_lowercase(), terms.credentials.clone());
        let parent = Parent { host, port, credentials };
        if ground.addresses.iter().any(|address| leads_to(&parent, *address)) {
            return Ok(hop);
        }
        if let Some(outer) = self.lock().held.values().find(|held| leads_to(&parent, held.address)) {
            hop.parent = outer.hop.parent.clone();
            hop.ca_files.extend(outer.hop.ca_files.iter().cloned());
            return Ok(hop);
        }
        hop.parent = Some(parent);
        Ok(hop)
    }

    fn hold(&self, held: Held) -> Result<u64, NotLent> {
        let mut state = self.lock();
        if state.retired {
            return Err(NotLent::NotNow);
        }
        if state.held.len() >= LEASES {
            return Err(NotLent::TooMany);
        }
        state.last += 1;
        let id = state.last;
        state.held.insert(id, held);
        self.count.send_replace(state.held.len());
        Ok(id)
    }

    /// Asks for the end of a lease; false where there is none of this number.
    pub(crate) fn release(&self, id: u64) -> bool {
        self.lock().held.get(&id).map(|held| held.end_by(EndedBy::Holder)).is_some()
    }

    /// No more leases, and an end to those there are.
    pub(crate) fn retire(&self) {
        let mut state = self.lock();
        state.retired = true;
        for held in state.held.values() {
            held.end_by(EndedBy::Proxy);
        }
    }

    /// Returns once there has been no lease for so long, and there will be none. The first one is waited for a while in any
    /// case.
    pub(crate) async fn unused_for(&self, linger: Duration) {
        let mut count = self.count.subscribe();
        let _ = timeout(FIRST_LEASE.saturating_sub(linger), count.wait_for(|count| *count > 0)).await;
        loop {
            let _ = count.wait_for(|count| *count == 0).await;
            if timeout(linger, count.changed()).await.is_err() {
                let mut state = self.lock();
                if state.held.is_empty() {
                    state.retired = true;
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Closes the listener and waits for what is under way, within a bound.
    pub(crate) async fn close(&mut self) {
        self.closed.send_replace(true);
        let _ = timeout(END_PATIENCE, self.ended.recv()).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.closed.send_replace(true);
        let mut state = self.lender.lock();
        state.held.remove(&self.id);
        self.lender.count.send_replace(state.held.len());
    }
}

/// The proxy of one lease. A command under it may reach what it could reach without: CONNECT goes to every port. Loopback
/// and metadata services stay out of reach, since not every system tells the user from others of this machine.
fn derived(
    ground: &Ground,
    config: Config,
    interception: Option<Interception>,
    address: SocketAddr,
    ledger: &Arc<Ledger>,
) -> Proxy {
    let proxy = &ground.proxy;
    let access = Access { connect_ports: (1..=u16::MAX).collect(), ..config.access.clone() };
    let parent = config.upstream.parent.iter();
    let named = parent
        .map(|parent| Destination::Host { host: parent.host.clone(), port: Some(parent.port) })
        .collect();
    let own = ground.addresses.iter().copied().chain([address]).collect();
    Proxy {
        config,
        store: proxy.store.clone(),
        clock: proxy.clock.clone(),
        rules: Arc::new(AccessRules::new(access, own, named)),
        flights: Arc::clone(&proxy.flights),
        metrics: Arc::clone(&proxy.metrics),
        access_log: proxy.access_log.clone(),
        ledger: Some(Arc::clone(ledger)),
        own: proxy.own.clone(),
        interception,
        connections: Arc::clone(&proxy.connections),
        boundaries: AtomicUsize::new(0),
    }
}

/// Whether a parent is the listener on this address.
fn leads_to(parent: &Parent, address: SocketAddr) -> bool {
    let host = parent.host.trim_start_matches('[').trim_end_matches(']');
    let ip = if host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse().ok() };
    parent.port == address.port() && ip == Some(address.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_that_is_a_listener_is_known_by_every_name() {
        let address = SocketAddr::from(([127, 0, 0, 1], 4000));
        let parent = |host: &str, port| Parent { host: host.to_owned(), port, credentials: None };
        let leads = |host: &str, port| leads_to(&parent(host, port), address);
        assert!(leads("127.0.0.1", 4000) && leads("localhost", 4000));
        assert!(!leads("127.0.0.1", 4001) && !leads("proxy.example", 4000) && !leads("[::1]", 4000));
        assert!(leads_to(&parent("[::1]", 1), "[::1]:1".parse().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gets_a_lease_once_the_lender_has_left() {
        let lender = Lender::default();
        let held = || {
            let hop = Hop { parent: None, ca_files: Vec::new() };
            Held { address: SocketAddr::from(([127, 0, 0, 1], 1)), hop, end: watch::Sender::new(None) }
        };
        let id = lender.hold(held()).unwrap();
        let leaving = lender.unused_for(Duration::from_secs(60));
        let mut leaving = std::pin::pin!(leaving);
        assert!(timeout(Duration::from_secs(600), leaving.as_mut()).await.is_err(), "a lease is held");
        lender.lock().held.remove(&id);
        lender.count.send_replace(0);
        assert!(timeout(Duration::from_secs(59), leaving.as_mut()).await.is_err(), "it lingers");
        leaving.await;
        assert!(matches!(lender.hold(held()), Err(NotLent::NotNow)));
    }
}
