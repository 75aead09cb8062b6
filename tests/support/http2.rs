//! An origin over TLS that speaks HTTP/2, down to the frames that a test cares for.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;

/// How an origin behaves on its connections.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// Requests at once on one connection.
    pub streams: u32,
    /// After so many requests a connection says GOAWAY.
    pub goes_after: usize,
}

impl Default for Manners {
    fn default() -> Self {
        Self { streams: 100, goes_after: usize::MAX }
    }
}

/// One request as it came.
pub struct Call {
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Ends the connection, without a word, when notified.
    pub cut: Arc<Notify>,
    /// Nothing more comes over the connection once notified, and it stays open.
    pub silence: Arc<Notify>,
}

/// Connections whose handshake is not answered.
#[derive(Default)]
struct Deafness {
    on: AtomicBool,
    count: AtomicUsize,
    hung_up: Notify,
}

/// A running origin. Dropped, it stops.
pub struct Http2Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    deafness: Arc<Deafness>,
    http1: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<String>>>,
    _stop: oneshot::Sender<()>,
}

impl Call {
    /// The path that was asked for.
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// Sends a head, with the content to follow.
    pub fn head(&mut self, status: u16, fields: &[(&str, &str)]) -> SendStream<Bytes> {
        self.respond.send_response(response(status, fields), false).unwrap()
    }

    /// Sends a whole answer. A proxy that has gone is not the origin's fault.
    pub async fn answer(mut self, status: u16, fields: &[(&str, &str)], body: impl Into<Bytes>) {
        let body = body.into();
        if body.is_empty() {
            let _ = self.respond.send_response(response(status, fields), true);
        } else if let Ok(mut stream) = self.respond.send_response(response(status, fields), false)
            && send(&mut stream, body).await
        {
            let _ = stream.send_data(Bytes::new(), true);
        }
    }

    /// Sends an interim response.
    pub fn interim(&mut self, status: u16, fields: &[(&str, &str)]) {
        self.respond.send_informational(response(status, fields)).unwrap();
    }

    /// The whole content of the request; none where it was cut.
    pub async fn content(&mut self) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let stream = self.request.body_mut();
        while let Some(data) = stream.data().await {
            let data = data.ok()?;
            let _ = stream.flow_control().release_capacity(data.len());
            content.extend_from_slice(&data);
        }
        Some(content)
    }
}

fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status.try_into().unwrap();
    *response.headers_mut() = map(fields);
    response
}

/// Fields as h2 takes them.
pub fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    map
}

/// Sends bytes as the other side's windows allow it. Whether all went.
pub async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(Ok(room)) = room else { return false };
        if stream.send_data(data.split_to(room.min(data.len())), false).is_err() {
            return false;
        }
    }
    true
}

impl Http2Origin {
    /// Starts one that answers each request by `handler`, all at once.
    pub fn start<F>(
        config: ServerConfig,
        manners: Manners,
        handler: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut config = config;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (stop, stopped) = oneshot::channel::<()>();
        let (connections, received) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&received));
        let (http1, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (ended, deafness) = (Arc::clone(&closed), Arc::new(Deafness::default()));
        let deaf = Arc::clone(&deafness);
        let declined = Arc::clone(&http1);
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(socket).unwrap();
                let accepting = async {
                    loop {
                        let Ok((stream, _)) = listener.accept().await else { continue };
                        if deaf.on.load(Ordering::SeqCst) {
                            let deaf = Arc::clone(&deaf);
                            tokio::spawn(async move {
                                let mut hung_up = std::pin::pin!(deaf.hung_up.notified());
                                hung_up.as_mut().enable();
                                deaf.count.fetch_add(1, Ordering::SeqCst);
                                hung_up.await;
                                drop(stream);
                            });
                            continue;
                        }
                        let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
                        let (counted, noted) = (Arc::clone(&counted), Arc::clone(&noted));
                        let (declined, ended) = (Arc::clone(&declined), Arc::clone(&ended));
                        tokio::spawn(async move {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                                declined.fetch_add(1, Ordering::SeqCst);
                                return;
                            }
                            let number = counted.fetch_add(1, Ordering::SeqCst);
                            converse(stream, number, manners, &noted, handler.as_ref()).await;
                            ended.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(Duration::ZERO);
        });
        Self { address, connections, closed, deafness, http1, received, _stop: stop }
    }

    /// `https://localhost:port` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many of them have ended.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    /// From here on no handshake is answered.
    pub fn fall_deaf(&self) {
        self.deafness.on.store(true, Ordering::SeqCst);
    }

    /// Closes the connections that wait for a handshake.
    pub fn hang_up(&self) {
        self.deafness.hung_up.notify_waiters();
    }

    /// How many connections waited for a handshake in vain.
    pub fn deaf(&self) -> usize {
        self.deafness.count.load(Ordering::SeqCst)
    }

    /// How many connections chose HTTP/1.1, and were closed.
    pub fn http1(&self) -> usize {
        self.http1.load(Ordering::SeqCst)
    }

    /// The paths of all requests so far.
    pub fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }
}

async fn converse<F>(
    stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    number: usize,
    manners: Manners,
    received: &Mutex<Vec<String>>,
    handler: &(impl Fn(Call) -> F + Send + Sync),
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(manners.streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let (cut, silence) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut served = 0;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = cut.notified() => return,
            () = silence.notified() => std::future::pending().await,
        };
        let Some(Ok((request, respond))) = accepted else { return };
        received.lock().unwrap().push(request.uri().path().to_owned());
        let call = Call {
            request,
            respond,
            connection: number,
            cut: Arc::clone(&cut),
            silence: Arc::clone(&silence),
        };
        tokio::spawn(tokio::time::timeout(PATIENCE, handler(call)));
        served += 1;
        if served == manners.goes_after {
            connection.graceful_shutdown();
        }
    }
}
