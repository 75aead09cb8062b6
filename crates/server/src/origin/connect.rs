//! A connection to the next hop: resolve once, judge each address, connect to the very address that was judged.
//!
//! Addresses are tried in turn, families interleaved, a new attempt every 250 ms while the ones before hang
//! (RFC 8305). All of it, TLS included, ends with `connect_timeout`.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use larder_policy::{Fields, Scheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::resolve::Resolver;
use super::tls::{Offer, OriginTls};
use crate::access::AccessRules;
use crate::config::{Limits, Parent};
use crate::error::UpstreamError;
use crate::http1::{self, HeadLimits, Version};
use crate::transaction::NextHop;

/// While the last attempt hangs, the next address is tried after this long (RFC 8305, 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Where a connection is to lead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    /// TLS or not.
    pub(crate) scheme: Scheme,
    /// Host, lower case, IPv6 in brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
}

/// Makes connections, by the rules of access.
pub(crate) struct Connector {
    rules: Arc<AccessRules>,
    resolver: Resolver,
    tls: OriginTls,
    parent: Option<Parent>,
    offline: bool,
    connect_timeout: Duration,
    head_limits: HeadLimits,
}

/// A byte stream to the next hop.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connector {
    pub(crate) fn new(
        rules: Arc<AccessRules>,
        tls: OriginTls,
        parent: Option<Parent>,
        offline: bool,
        limits: &Limits,
    ) -> Self {
        Self {
            rules,
            resolver: Resolver::new(),
            tls,
            parent,
            offline,
            connect_timeout: limits.connect_timeout,
            head_limits: HeadLimits { bytes: limits.head_bytes, fields: limits.head_fields },
        }
    }

    /// The parent proxy, where there is one.
    pub(crate) fn parent(&self) -> Option<&Parent> {
        self.parent.as_ref()
    }

    /// Judges a destination as far as it can be before a connection is chosen: behind a parent, which resolves names itself,
    /// this is all that can be judged here.
    pub(crate) fn admit(&self, to: &Destination) -> Result<(), UpstreamError> {
        self.admit_any(&to.host)?;
        match self.parent {
            Some(_) => self.judge_unresolved(&to.host, to.port),
            None => Ok(()),
        }
    }

    /// A stream on which HTTP requests for `to` can be sent. Through a parent, a plain one leads to the parent itself,
    /// which wants absolute-form.
    pub(crate) async fn connect(
        &self,
        to: &Destination,
        offer: Offer,
    ) -> Result<(Stream, NextHop), UpstreamError> {
        self.within(&to.host, async {
            match (&self.parent, to.scheme) {
                (Some(parent), Scheme::Http) => {
                    let (tcp, address) = self.tcp(&parent.host, parent.port).await?;
                    Ok((Stream::Plain(tcp), NextHop::Parent(address)))
                }
                (_, Scheme::Http) => {
                    let (tcp, address) = self.tcp(&to.host, to.port).await?;
                    Ok((Stream::Plain(tcp), NextHop::Origin(address)))
                }
                (_, Scheme::Https) => {
                    let (tcp, hop, _) = self.through(&to.host, to.port).await?;
                    let tls = self.tls.handshake(&to.host, tcp, offer).await?;
                    Ok((Stream::Tls(Box::new(tls)), hop))
                }
            }
        })
        .await
    }

    /// A byte stream to `host:port` for a tunnel, and what the other side has sent already.
    pub(crate) async fn tunnel(
        &self,
        host: &str,
        port: u16,
    ) -> Result<(TcpStream, NextHop, Bytes), UpstreamError> {
        self.admit_any(host)?;
        self.within(host, self.through(host, port)).await
    }

    /// Offline, nobody is asked: not over a kept connection, not through a tunnel.
    fn admit_any(&self, host: &str) -> Result<(), UpstreamError> {
        if self.offline { Err(UpstreamError::Offline { host: host.to_owned() }) } else { Ok(()) }
    }

    async fn within<T>(
        &self,
        host: &str,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        timeout(self.connect_timeout, work).await.unwrap_or_else(|_| {
            let (sought, host) = (self.parent.as_ref().map_or(host, |parent| &parent.host), host.to_owned());
            Err(if self.resolver.knows(sought) {
                UpstreamError::ConnectTimeout { host }
            } else {
                UpstreamError::DnsTimeout { host }
            })
        })
    }

    async fn through(&self, host: &str, port: u16) -> Result<(TcpStream, NextHop, Bytes), UpstreamError> {
        let Some(parent) = &self.parent else {
            let (tcp, address) = self.tcp(host, port).await?;
            return Ok((tcp, NextHop::Origin(address), Bytes::new()));
        };
        self.judge_unresolved(host, port)?;
        let (tcp, address) = self.tcp(&parent.host, parent.port).await?;
        let (tcp, early) = self.ask_parent(tcp, host, port).await?;
        Ok((tcp, NextHop::Parent(address), early))
    }

    /// CONNECT to the parent; whatever follows its 2xx belongs to the tunnel.
    async fn ask_parent(
        &self,
        tcp: TcpStream,
        host: &str,
        port: u16,
    ) -> Result<(TcpStream, Bytes), UpstreamError> {
        let authority = format!("{host}:{port}");
        let mut fields = Fields::new();
        let terminated = || UpstreamError::Terminated { host: host.to_owned() };
        fields.push("Host", authority.as_bytes()).map_err(|_| terminated())?;
        if let Some(credentials) = self.parent.as_ref().and_then(|parent| parent.credentials.as_ref()) {
            fields.push("Proxy-Authorization", credentials.value()).map_err(|_| terminated())?;
        }
        let (read, write) = tcp.into_split();
        let mut writer = http1::Writer::new(write);
        writer
            .request_head(&Method::CONNECT, authority.as_bytes(), Version::Http11, &fields)
            .map_err(|_| terminated())?;
        writer.flush().await.map_err(|_| terminated())?;
        let mut reader = http1::Reader::new(read, self.head_limits);
        let head = loop {
            let head = reader.response_head().await.map_err(|error| UpstreamError::from_read(error, host))?;
            if !head.status.is_informational() {
                break head;
            }
        };
        if !head.status.is_success() {
            return Err(UpstreamError::ParentRefused { host: host.to_owned(), status: head.status.as_u16() });
        }
        let (read, early) = reader.into_parts();
        let tcp = read.reunite(writer.into_inner()).map_err(|_| terminated())?;
        Ok((tcp, early.freeze()))
    }

    fn judge_unresolved(&self, host: &str, port: u16) -> Result<(), UpstreamError> {
        self.rules.judge_unresolved(host, port).map_err(|why| UpstreamError::Prohibited {
            host: host.to_owned(),
            address: SocketAddr::from(([0, 0, 0, 0], port)),
            why,
        })
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<(TcpStream, SocketAddr), UpstreamError> {
        let addresses = self
            .resolver
            .resolve(host)
            .await
            .map_err(|reason| UpstreamError::Dns { host: host.to_owned(), reason })?;
        let mut permitted = VecDeque::new();
        let mut refusal = None;
        for ip in interleaved(&addresses) {
            let address = SocketAddr::new(ip, port);
            match self.rules.judge(host, address) {
                Ok(()) => permitted.push_back(address),
                Err(why) => refusal = Some(UpstreamError::Prohibited { host: host.to_owned(), address, why }),
            }
        }
        if let (true, Some(refusal)) = (permitted.is_empty(), refusal) {
            return Err(refusal);
        }
        race(host, permitted).await
    }
}

/// The first address that answers, tried one after the other, each a head start before the next.
async fn race(host: &str, mut left: VecDeque<SocketAddr>) -> Result<(TcpStream, SocketAddr), UpstreamError> {
    let mut attempts = JoinSet::new();
    let mut failure = UpstreamError::Dns { host: host.to_owned(), reason: "it has no address".to_owned() };
    loop {
        if let Some(address) = left.pop_front() {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let finished = if left.is_empty() {
            attempts.join_next().await
        } else {
            match timeout(ATTEMPT_DELAY, attempts.join_next()).await {
                Ok(finished) => finished,
                Err(_) => continue,
            }
        };
        match finished {
            Some(Ok((address, Ok(stream)))) => {
                // Small writes go out at once: heads and chunks are gathered before they are written.
                let _ = stream.set_nodelay(true);
                return Ok((stream, address));
            }
            Some(Ok((address, Err(error)))) => failure = connect_failure(host, address, &error),
            Some(Err(_)) => {}
            None => return Err(failure),
        }
    }
}

fn connect_failure(host: &str, address: SocketAddr, error: &io::Error) -> UpstreamError {
    let host = host.to_owned();
    if error.kind() == io::ErrorKind::ConnectionRefused {
        UpstreamError::Refused { host, address }
    } else {
        UpstreamError::Unreachable { host, address, reason: error.to_string() }
    }
}

/// The resolver's order, but one family after the other in turn.
fn interleaved(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut same, mut other): (VecDeque<IpAddr>, VecDeque<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == first.is_ipv6());
    let mut order = Vec::with_capacity(addresses.len());
    while !same.is_empty() || !other.is_empty() {
        order.extend(same.pop_front());
        order.extend(other.pop_front());
    }
    order
}

impl Stream {
    /// Whether the other side chose HTTP/2 (RFC 7301).
    pub(super) fn speaks_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_resolvers_first_stays_first() {
        let list = ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|text| text.parse::<IpAddr>().unwrap());
        let order = interleaved(&list);
        assert_eq!(order, [list[0], list[2], list[1]]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bad = closed.local_addr().unwrap();
        drop(closed);
        let (_, address) = race("host.example", VecDeque::from([bad, good])).await.unwrap();
        assert_eq!(address, good);
        let refused = race("host.example", VecDeque::from([bad])).await.unwrap_err();
        assert_eq!(refused.token(), "connection_refused");
    }
}
