//! A client that speaks HTTP/2 over TLS.

use std::convert::Infallible;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::client::Client;

type AnyBody = BoxBody<Bytes, Infallible>;

fn body(body: impl Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static) -> AnyBody {
    BoxBody::new(body)
}

/// One frame without a byte in it, and then the end.
struct EmptyFrame(bool);

impl Body for EmptyFrame {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(std::mem::take(&mut self.0).then(|| Ok(Frame::data(Bytes::new()))))
    }
}

/// One connection. Its runtime ends with it.
pub struct H2Client {
    runtime: Runtime,
    sender: SendRequest<AnyBody>,
}

/// A response, whole.
#[derive(Debug)]
pub struct H2Response {
    pub status: u16,
    pub fields: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl H2Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn is_hit(&self) -> bool {
        self.field("cache-status").is_some_and(|value| value.starts_with("larder; hit"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    async fn read(response: Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let whole = body.collect().await?;
        let trailers = whole.trailers().cloned();
        Ok(Self { status: head.status.as_u16(), fields: head.headers, body: whole.to_bytes(), trailers })
    }
}

impl Client {
    /// HTTP/2 over TLS, over this connection or the tunnel that it has become.
    pub fn h2(self, name: &str, config: ClientConfig) -> H2Client {
        assert_eq!(config.alpn_protocols, [b"h2"]);
        let stream: TcpStream = self.reader.into_inner();
        stream.set_nonblocking(true).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        H2Client { runtime, sender }
    }
}

impl H2Client {
    pub fn get(&self, url: &str) -> hyper::Result<H2Response> {
        self.send(Request::get(url).body(Full::default()).unwrap())
    }

    pub fn send(&self, request: Request<Full<Bytes>>) -> hyper::Result<H2Response> {
        self.send_body(request.map(body))
    }

    fn send_body(&self, request: Request<AnyBody>) -> hyper::Result<H2Response> {
        let mut sender = self.sender.clone();
        self.runtime.block_on(async { H2Response::read(sender.send_request(request).await?).await })
    }

    /// All at once, and then what is to happen meanwhile; the answers in the order of the requests.
    pub fn send_all(
        &self,
        requests: Vec<Request<Full<Bytes>>>,
        meanwhile: impl FnOnce(),
    ) -> Vec<hyper::Result<H2Response>> {
        let tasks: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let (mut sender, request) = (self.sender.clone(), request.map(body));
                self.runtime.spawn(async move { H2Response::read(sender.send_request(request).await?).await })
            })
            .collect();
        meanwhile();
        self.runtime.block_on(async {
            let mut answers = Vec::with_capacity(tasks.len());
            for task in tasks {
                answers.push(task.await.unwrap());
            }
            answers
        })
    }

    /// A GET that is given up once `begun` returns.
    pub fn reset_before_the_answer(&self, url: &str, begun: impl FnOnce()) {
        let mut sender = self.sender.clone();
        let request = Request::get(url).body(body(Full::default())).unwrap();
        let task = self.runtime.spawn(async move { sender.send_request(request).await.map(|_| ()) });
        begun();
        task.abort();
        assert!(self.runtime.block_on(task).unwrap_err().is_cancelled());
    }

    /// A GET that says only by an empty frame that it has no content.
    pub fn get_with_an_empty_frame(&self, url: &str) -> hyper::Result<H2Response> {
        let request = Request::get(url).body(body(EmptyFrame(true))).unwrap();
        self.send_body(request)
    }

    /// Bytes through a tunnel that CONNECT asks for: what is sent, and what comes back until the end.
    pub fn tunnel(&self, to: &str, sent: &'static [u8]) -> Result<Vec<u8>, u16> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut sender = self.sender.clone();
        let request = Request::connect(to).body(body(Full::default())).unwrap();
        self.runtime.block_on(async {
            let response = sender.send_request(request).await.unwrap();
            if response.status() != 200 {
                return Err(response.status().as_u16());
            }
            let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
            stream.write_all(sent).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            Ok(answer)
        })
    }
}
