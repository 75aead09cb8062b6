//! Sockets that listen: binding, accepting, limits on connections, and the end of a worker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::byte_stream::{ByteStream, Tcp, Tls};
use crate::config::{Config, Listener};
use crate::connection::Connection;
use crate::entrance::Entrance;
use crate::error::StartError;
use crate::http2;
use crate::lease::{self, Lent};
use crate::limits::Place;
use crate::origin::Pool;
use crate::shared::{ListenerContext, Phase, Worker};
use crate::tls::port_tls;

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 4096;
/// After a failed accept (no file descriptors left) the worker waits this long before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often idle connections to origins are looked through.
pub(crate) const PRUNE_INTERVAL: Duration = Duration::from_secs(5);

/// A listening socket that all workers share.
pub(crate) struct Bound {
    socket: std::net::TcpListener,
    pub(crate) context: Arc<ListenerContext>,
}

impl Bound {
    /// Listens.
    pub(crate) fn open(listener: &Listener, config: &Config) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: listener.address, source };
        let socket = listen(listener.address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let policy = Arc::new(config.policy_of(&listener.kind));
        let tls = listener.tls.as_ref().map(port_tls).transpose()?;
        let (kind, intercept) = (listener.kind.clone(), listener.intercept);
        Ok(Self { socket, context: Arc::new(ListenerContext { kind, address, policy, tls, intercept }) })
    }

    /// The same socket for one more worker. Whoever is idle accepts.
    pub(crate) fn share(&self) -> Result<Self, StartError> {
        let socket = self.socket.try_clone().map_err(StartError::Worker)?;
        Ok(Self { socket, context: Arc::clone(&self.context) })
    }

    /// The socket and what is known of it.
    pub(crate) fn into_parts(self) -> (std::net::TcpListener, Arc<ListenerContext>) {
        (self.socket, self.context)
    }
}

/// Binds all listeners, or none.
pub(crate) fn bind(config: &Config) -> Result<Vec<Bound>, StartError> {
    config.listeners.iter().map(|listener| Bound::open(listener, config)).collect()
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && !address.ip().is_unspecified() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections of the process before; a port that is listened on stays busy all the same.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One worker, from its start until all its work has ended.
pub(crate) async fn run(
    worker: Arc<Worker>,
    listeners: Vec<Bound>,
    lent: mpsc::UnboundedReceiver<Lent>,
    pool: Arc<Pool>,
    mut phase: watch::Receiver<Phase>,
    drain: watch::Sender<bool>,
) {
    let mut accepting = tokio::task::JoinSet::new();
    for bound in listeners {
        match TcpListener::from_std(bound.socket) {
            Ok(socket) => {
                accepting.spawn(accept(Arc::clone(&worker), socket, bound.context));
            }
            Err(error) => tracing::error!(address = %bound.context.address, "cannot listen: {error}"),
        }
    }
    accepting.spawn(lease::serve_all(Arc::clone(&worker), lent));
    let housekeeping = tokio::spawn(async move {
        loop {
            sleep(PRUNE_INTERVAL).await;
            pool.prune();
        }
    });
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
    accepting.shutdown().await;
    drain.send_replace(true);
    if *phase.borrow() == Phase::Draining {
        let all = timeout(worker.proxy.config.limits.drain_timeout, worker.tasks.all_ended());
        tokio::select! {
            all = all => if all.is_err() {
                tracing::warn!("cut what had not ended within the drain timeout");
            },
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
        }
    }
    housekeeping.abort();
}

pub(crate) async fn accept(worker: Arc<Worker>, socket: TcpListener, context: Arc<ListenerContext>) {
    let connections = Arc::clone(&worker.proxy.connections);
    loop {
        let (stream, client) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_of_one_connection(&error) {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        // Only now, so that listeners on which nobody is take no place. Without one, this connection waits, and others in the backlog.
        let Ok(permit) = Arc::clone(&connections.all).acquire_owned().await else { return };
        let Some(place) = connections.place(client.ip(), permit) else {
            worker.proxy.metrics.count_refused_connection();
            continue;
        };
        tokio::spawn(serve(Arc::clone(&worker), stream, client, Arc::clone(&context), place));
    }
}

/// Whether an error of accept speaks of the one connection that was to be accepted, not of the process.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// A connection, from its start to its end, or until it is cut.
async fn serve(
    worker: Arc<Worker>,
    stream: TcpStream,
    client: SocketAddr,
    context: Arc<ListenerContext>,
    place: Place,
) {
    let _task = worker.tasks.guard();
    let Some(mut cut) = worker.cut.clone() else {
        return converse(worker, stream, client, context, place).await;
    };
    let local = context.address;
    let peer = tokio::task::spawn_blocking(move || lease::is_of_this_user(client, local));
    if !peer.await.unwrap_or(false) {
        return worker.proxy.metrics.count_refused_connection();
    }
    let cut = async {
        // An error means that the listener has ended with its proxy, which sees to its connections.
        if cut.wait_for(|cut| *cut).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    // Boxed, so that connections of other listeners need no room for it.
    tokio::select! {
        () = Box::pin(converse(worker, stream, client, context, place)) => {}
        () = cut => tracing::debug!(%client, "cut, as the lease has ended"),
    }
}

async fn converse(
    worker: Arc<Worker>,
    stream: TcpStream,
    client: SocketAddr,
    context: Arc<ListenerContext>,
    place: Place,
) {
    let _entered = worker.proxy.metrics.client_connections.enter();
    // Answers are gathered before they are written, so that nothing is won by waiting for more.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(context.address);
    let tls = context.tls.clone();
    let secure = tls.is_some();
    let (_place, asked_as) = (Arc::new(place), None);
    let mut entrance =
        Entrance { worker, listener: context, client, local, secure, asked_as, _place, inside: None };
    match tls {
        None => {
            let (read, write) = stream.into_split();
            Connection::<Tcp>::new(Arc::new(entrance), read, write).serve().await;
        }
        // Boxed, so that a connection without TLS needs no room for it.
        Some(tls) => {
            Box::pin(async move {
                let handshake = tls.accept(ByteStream::tcp(stream));
                match timeout(entrance.proxy().config.limits.handshake_timeout, handshake).await {
                    Ok(Ok(stream)) => {
                        entrance.asked_as = stream.get_ref().1.server_name().map(str::to_owned);
                        serve_tls(Arc::new(entrance), stream).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%client, "TLS handshake failed: {error}"),
                    Err(_) => tracing::debug!(%client, "the TLS handshake took too long"),
                }
            })
            .await
        }
    }
}

/// What the two sides of a TLS connection have agreed to speak.
pub(crate) async fn serve_tls(entrance: Arc<Entrance>, stream: TlsStream<ByteStream>) {
    if stream.get_ref().1.alpn_protocol() == Some(http2::ALPN) {
        http2::serve(entrance, stream).await;
    } else {
        let (read, write) = tokio::io::split(stream);
        Connection::<Tls>::new(entrance, read, write).serve().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_an_error_that_names_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let listener = Listener { address, ..Listener::default() };
        let error = bind(&Config { listeners: vec![listener], ..Config::default() }).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }

    #[test]
    fn a_connection_takes_little_memory() {
        fn size_of_output<A, B, C, D, E, F: Future>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
            size_of::<F>()
        }
        let size = size_of_output(serve);
        assert!(size <= 2560, "{size}");
    }
}
