//! Listeners, connections and deadlines of the control API.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use larder_storage::Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::api::{Api, Door};
use super::explain::Rules;
use super::guard::Guard;
use super::socket::{self, SocketFile};
use super::stream::{Watched, stalled};
use crate::clock::Clock;
use crate::collapse::Flights;
use crate::config::Config;
use crate::error::StartError;
use crate::lease::Lender;
use crate::metrics::Metrics;

/// Connections of the admin address at a time; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// The same of the socket, where each lease is one.
const SOCKET_CONNECTIONS: usize = 512;

/// From accepting a connection to the end of the request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes in a request's head.
const HEAD_BYTES: usize = 16 * 1024;

/// On stopping, answers that are being written get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// After a failed accept, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the API shows and changes.
pub(super) struct Services {
    pub(super) metrics: Arc<Metrics>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) flights: Arc<Flights>,
    pub(super) lender: Arc<Lender>,
    /// What keys and decisions depend on.
    pub(super) rules: Arc<Rules>,
}

/// The running control API. Dropping it removes the socket, stops listening, and lets answers end for two seconds at most;
/// it blocks until that is done.
#[derive(Debug)]
pub(crate) struct Handle {
    admin_address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    socket_file: Option<SocketFile>,
}

impl Handle {
    /// Where the admin API really listens; an address that the proxy must not be led to.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.admin_address
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.socket_file.take());
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic on that thread has been reported; nothing is left to stop.
            let _ = thread.join();
        }
    }
}

/// Listens on the control socket and on the admin address, as configured, and serves both on a thread of its own; none
/// when neither is configured.
///
/// # Errors
///
/// A path or an address cannot be listened on, or the system refuses a thread.
pub(crate) fn start(
    config: &Config,
    metrics: &Arc<Metrics>,
    store: &Store,
    clock: &Clock,
    flights: &Arc<Flights>,
    lender: &Arc<Lender>,
) -> Result<Option<Handle>, StartError> {
    let (socket, admin) = (config.control_socket.as_deref(), config.admin.as_ref());
    if socket.is_none() && admin.is_none() {
        return Ok(None);
    }
    let (unix, socket_file) = match socket {
        None => (None, None),
        Some(path) => {
            let failed = |source| StartError::Control { address: path.display().to_string(), source };
            let (listener, file) = socket::bind(path).map_err(failed)?;
            (Some(listener), Some(file))
        }
    };
    let (tcp, admin_address) = match admin {
        None => (None, None),
        Some(admin) => {
            let failed = |source| StartError::Control { address: admin.address.to_string(), source };
            let (listener, address) = bind_tcp(admin.address).map_err(failed)?;
            (Some(listener), Some(address))
        }
    };
    let guard = Guard::new(admin.and_then(|admin| admin.token.as_deref()));
    let (stop, stopped) = watch::channel(false);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
    let services = Services {
        metrics: Arc::clone(metrics),
        store: store.clone(),
        clock: clock.clone(),
        flights: Arc::clone(flights),
        lender: Arc::clone(lender),
        rules: Arc::new(Rules::of(config)),
    };
    let api = Arc::new(Api::new(services));
    let run = move || {
        runtime.block_on(async {
            tokio::join!(
                accept_unix(unix, Arc::clone(&api), stopped.clone()),
                accept_tcp(tcp, guard, Arc::clone(&api), stopped.clone())
            )
        });
        // A verification may be deep in the store; stopping does not wait for it.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new()
        .name("larder-control".to_owned())
        .spawn(run)
        .map_err(StartError::Worker)?;
    Ok(Some(Handle { admin_address, stop, thread: Some(thread), socket_file }))
}

fn bind_tcp(address: SocketAddr) -> io::Result<(StdTcpListener, SocketAddr)> {
    let listener = StdTcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn accept_unix(listener: Option<StdUnixListener>, api: Arc<Api>, stopped: watch::Receiver<bool>) {
    let Some(listener) = listener.and_then(|listener| registered(UnixListener::from_std(listener))) else {
        return;
    };
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    accept_all(accept, Door::Socket, SOCKET_CONNECTIONS, api, stopped).await;
}

async fn accept_tcp(
    listener: Option<StdTcpListener>,
    guard: Guard,
    api: Arc<Api>,
    stopped: watch::Receiver<bool>,
) {
    let Some(listener) = listener.and_then(|listener| registered(TcpListener::from_std(listener))) else {
        return;
    };
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    accept_all(accept, Door::Tcp(guard), CONNECTIONS, api, stopped).await;
}

/// A listener that the runtime cannot watch is told and left out; the other one may still work.
fn registered<L>(listener: io::Result<L>) -> Option<L> {
    listener.inspect_err(|error| tracing::error!(%error, "cannot serve the control API")).ok()
}

async fn accept_all<S>(
    accept: impl AsyncFn() -> io::Result<S>,
    door: Door,
    connections: usize,
    api: Arc<Api>,
    mut stopped: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(connections));
    let door = Arc::new(door);
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, accept().await)
        };
        let (slot, accepted) = tokio::select! {
            // An error means that the handle is gone, which is as good as being told to stop.
            _ = stopped.wait_for(|stop| *stop) => break,
            next = next => next,
        };
        match accepted {
            Ok(stream) => {
                failing = false;
                let (api, door, stopped) = (Arc::clone(&api), Arc::clone(&door), stopped.clone());
                connections.spawn(async move {
                    converse(stream, api, door, stopped).await;
                    drop(slot);
                });
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections of the control API");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    // What takes longer is dropped with the set.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
}

/// One connection: one request and its answer. On stopping it ends at once, unless the request has come.
async fn converse<S>(stream: S, api: Arc<Api>, door: Arc<Door>, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (turn, turns) = watch::channel(None);
    let service = service_fn(|request| {
        let (api, door, turn) = (Arc::clone(&api), Arc::clone(&door), turn.clone());
        async move {
            let answer = api.answer(&door, request).await;
            Ok::<_, Infallible>(answer.map(|content| Watched::new(content, turn)))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .keep_alive(false)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut overdue = pin!(stalled(turns));
    let mut stopping = false;
    loop {
        tokio::select! {
            // What a client does wrong, or its leaving, concerns nobody else.
            _ = connection.as_mut() => return,
            () = overdue.as_mut() => return,
            _ = stopped.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
