//! The clients of the log, a connection each.

use std::net::SocketAddr;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use larder_policy::{Scheme, TargetUri};
use tokio::net::TcpStream;

use super::plan::Planned;
use super::stub::MARK;

/// How long a proxy may take for a whole answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a proxy is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Absolute form, the stub being the origin of everything: `http://127.0.0.1:3180/site.example/path`.
    Origin(SocketAddr),
    /// Absolute form, as in the log; the proxy asks the stub as its parent.
    Parent,
    /// Origin form with the log's Host.
    Reverse,
}

/// What a client saw of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) latency: Duration,
    /// What the proxy says: hit or not; none where it says nothing.
    pub(super) hit: Option<bool>,
}

/// One connection to the proxy, opened as it is needed.
#[derive(Debug)]
pub(super) struct Connection {
    proxy: SocketAddr,
    form: Form,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Connection {
    pub(super) const fn new(proxy: SocketAddr, form: Form) -> Self {
        Self { proxy, form, sender: None }
    }

    /// Asks, and reads all of the answer. The latency counts from before the request to the last byte.
    pub(super) async fn ask(&mut self, number: u64, planned: &Planned) -> anyhow::Result<Seen> {
        match tokio::time::timeout(PATIENCE, self.ask_again(number, planned)).await {
            Ok(seen) => seen,
            Err(_) => {
                self.sender = None;
                bail!("no whole answer came within {} s", PATIENCE.as_secs())
            }
        }
    }

    /// A connection that was kept may have been closed meanwhile: then once more on a new one.
    async fn ask_again(&mut self, number: u64, planned: &Planned) -> anyhow::Result<Seen> {
        let kept = self.sender.as_ref().is_some_and(|sender| !sender.is_closed());
        match self.ask_once(number, planned).await {
            Err(error) if kept && is_of_the_connection(&error) => self.ask_once(number, planned).await,
            other => other,
        }
    }

    async fn ask_once(&mut self, number: u64, planned: &Planned) -> anyhow::Result<Seen> {
        let request = request(self.form, number, planned)?;
        let began = Instant::now();
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => connect(self.proxy).await?,
        };
        sender.ready().await?;
        let mut response = sender.send_request(request).await?;
        let mut bytes = 0;
        while let Some(frame) = response.body_mut().frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        let hit = says_hit(response.headers());
        self.sender = Some(sender);
        // A status says nothing of hits, but a proxy's refusal is no answer of the log's.
        if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            || is_refusal(planned, response.status())
        {
            bail!("the proxy answered {}", response.status());
        }
        Ok(Seen { bytes, latency: began.elapsed(), hit })
    }
}

/// Whether a proxy will not, or cannot, ask the stub.
fn is_refusal(planned: &Planned, status: StatusCode) -> bool {
    matches!(status.as_u16(), 403 | 502 | 503 | 504) && planned.status.as_u16() < 400
}

fn is_of_the_connection(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<hyper::Error>();
    error.is_some_and(|error| error.is_canceled() || error.is_closed() || error.is_incomplete_message())
}

async fn connect(proxy: SocketAddr) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let stream =
        TcpStream::connect(proxy).await.with_context(|| format!("cannot connect to the proxy at {proxy}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its fault shows at the request.
        let _ = connection.await;
    });
    Ok(sender)
}

fn request(form: Form, number: u64, planned: &Planned) -> anyhow::Result<Request<Empty<Bytes>>> {
    let target = &planned.target;
    let (uri, host) = match form {
        Form::Origin(stub) => {
            (format!("http://{stub}/{}{}", site(target), target.path_and_query()), stub.to_string())
        }
        Form::Parent => (format!("http://{}{}", site(target), target.path_and_query()), site(target)),
        Form::Reverse => (target.path_and_query().to_owned(), site(target)),
    };
    let uri: Uri = uri.parse().context("its URL is more than can be asked for")?;
    let mut request = Request::new(Empty::new());
    *request.method_mut() = planned.method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&host)?);
    headers.insert(MARK, HeaderValue::from(number));
    for (name, value) in planned.asked.iter() {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        let value = match name.as_str() {
            // A log does not show credentials; that there were some is what counts.
            "authorization" => HeaderValue::from_static("Basic cmVwbGF5"),
            "host" | "content-length" | "transfer-encoding" | "connection" | "proxy-authorization" => {
                continue;
            }
            _ => HeaderValue::from_bytes(value)?,
        };
        headers.append(name, value);
    }
    if !matches!(planned.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) {
        // What was sent is in no log.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    Ok(request)
}

/// The authority by which a site is known to the proxy. What was asked for over TLS is asked for without it, at its port.
fn site(target: &TargetUri) -> String {
    match target.scheme() {
        Scheme::Https => format!("{}:{}", target.host(), target.port()),
        Scheme::Http => target.authority().to_owned(),
    }
}

/// What a proxy says of its own doing: `Cache-Status` (RFC 9211), or the fields that others have.
fn says_hit(headers: &HeaderMap) -> Option<bool> {
    if let Some(status) = headers.get("cache-status") {
        return Some(status.as_bytes().split(|byte| *byte == b';').any(|part| part.trim_ascii() == b"hit"));
    }
    ["x-cache", "x-cache-status", "x-proxy-cache", "x-cache-lookup"].iter().find_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?.to_ascii_uppercase();
        let word = value.split([' ', ',', ';', ':']).next().unwrap_or_default();
        Some(matches!(word, "HIT" | "TCP_HIT" | "TCP_MEM_HIT" | "STALE" | "UPDATING" | "REVALIDATED"))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder_policy::PolicySettings;
    use larder_simulator::http::Assumptions;
    use larder_simulator::log::{Format, Log};

    use super::*;
    use crate::replay::plan::Planner;

    fn planned(url: &str) -> Arc<Planned> {
        let line = format!("1795449600.143 20 c TCP_MISS/200 3250 GET {url} - HIER_DIRECT/- -");
        let entry = Log::new(line.as_bytes(), Format::Squid).next().unwrap().unwrap();
        let mut planner = Planner::new(Assumptions::default(), PolicySettings::default());
        Arc::new(planner.plan(&entry, entry.time).unwrap())
    }

    #[test]
    fn sites_keep_apart_in_every_form() {
        let stub = "127.0.0.1:3180".parse().unwrap();
        for (url, form, expected, host) in [
            (
                "http://a.example/x?y",
                Form::Origin(stub),
                "http://127.0.0.1:3180/a.example/x?y",
                "127.0.0.1:3180",
            ),
            (
                "https://a.example/x",
                Form::Origin(stub),
                "http://127.0.0.1:3180/a.example:443/x",
                "127.0.0.1:3180",
            ),
            ("http://a.example:81/x", Form::Parent, "http://a.example:81/x", "a.example:81"),
            ("https://a.example/x", Form::Parent, "http://a.example:443/x", "a.example:443"),
            ("http://a.example/x?y", Form::Reverse, "/x?y", "a.example"),
        ] {
            let request = request(form, 7, &planned(url)).unwrap();
            assert_eq!(
                (request.uri().to_string(), request.headers()[HOST].to_str().unwrap()),
                (expected.to_owned(), host)
            );
            assert_eq!(request.headers()[MARK], "7");
        }
    }

    #[test]
    fn what_proxies_say_is_understood() {
        for (name, value, expected) in [
            ("cache-status", "larder; hit; ttl=5", Some(true)),
            ("cache-status", "larder; fwd=uri-miss; stored", Some(false)),
            ("x-cache", "HIT from squid.example", Some(true)),
            ("x-cache", "MISS from squid.example", Some(false)),
            ("x-cache-status", "REVALIDATED", Some(true)),
            ("x-cache-status", "EXPIRED", Some(false)),
            ("via", "1.1 x", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(says_hit(&headers), expected, "{name}: {value}");
        }
    }
}
