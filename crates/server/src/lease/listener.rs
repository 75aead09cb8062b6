//! The listeners of leases, on one worker.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::listener::{Bound, PRUNE_INTERVAL, accept};
use crate::origin::{Connector, Origins, Pool};
use crate::shared::{Proxy, Tasks, Worker};

/// After the end of a lease, its connections get this long for the request they are at, and its tunnels to end.
const CUT_AFTER: Duration = Duration::from_secs(5);

/// A leased listener, as one worker gets it.
pub(crate) struct Lent {
    pub(crate) bound: Bound,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) closed: watch::Receiver<bool>,
    /// Dropped when this worker has nothing of the lease under way any more.
    pub(crate) _ending: mpsc::Sender<()>,
}

/// Serves leased listeners as they come, until it is dropped: then their connections end after the request they are at.
pub(crate) async fn serve_all(worker: Arc<Worker>, mut lent: mpsc::UnboundedReceiver<Lent>) {
    let mut leases = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = leases.join_next() => {}
            next = lent.recv() => match next {
                Some(next) => {
                    leases.spawn(serve(Arc::clone(&worker), next));
                }
                None => return,
            },
        }
    }
}

async fn serve(worker: Arc<Worker>, lent: Lent) {
    let Lent { bound, proxy, connector, mut closed, _ending } = lent;
    let (socket, context) = bound.into_parts();
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(address = %context.address, "cannot listen: {error}"),
    };
    let limits = Arc::new(proxy.config.limits.clone());
    let pool = Arc::new(Pool::new(&limits));
    let open = Arc::clone(&proxy.metrics.origin_connections);
    let origins = Origins::new(connector, Arc::clone(&pool), limits, open);
    let (drain, draining) = watch::channel(false);
    let tasks = Tasks::within(&worker.tasks);
    let (cut, cutting) = watch::channel(false);
    let own = Arc::new(Worker { proxy, origins, tasks, draining, cut: Some(cutting) });
    tokio::select! {
        () = accept(Arc::clone(&own), socket, context) => {}
        // An error means that the lease is gone.
        _ = closed.wait_for(|closed| *closed) => {}
        () = pruning(&pool) => {}
    }
    drain.send_replace(true);
    if timeout(CUT_AFTER, own.tasks.all_ended()).await.is_err() {
        cut.send_replace(true);
        // Fetches that others wait for, or that are worth finishing, go on.
        own.tasks.all_ended().await;
    }
}

async fn pruning(pool: &Pool) {
    let pause: Duration = PRUNE_INTERVAL;
    loop {
        sleep(pause).await;
        pool.prune();
    }
}
