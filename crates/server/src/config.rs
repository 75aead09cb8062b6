//! What a running proxy is told: validated settings, each with its default.
//!
//! Nothing here is read from a file, an argument or the environment; that is the binary's work.
//! Every limit on what a peer can make grow has its name here and a row in the README.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ipnet::IpNet;
use larder_policy::{HostPattern, PolicySettings, TargetUri};
use serde::{Deserialize, Serialize};

use crate::tls::{Authorities, Leaves};

/// Everything that [`Server::start`](crate::Server::start) needs besides the store and the clock.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen, and as what. Without any, the proxy serves only those who lease a listener on the control socket.
    pub listeners: Vec<Listener>,
    /// Worker threads, each with a runtime of its own. Default: the number of processors.
    pub workers: usize,
    /// Who may ask, and where a request may lead.
    pub access: Access,
    /// Bounds on what peers may use.
    pub limits: Limits,
    /// How connections to the next hop are made.
    pub upstream: Upstream,
    /// Which tunnels are opened, on listeners that do so.
    pub intercept: Intercept,
    /// The readings of the caching rules. Its targeted fields are set for each listener, from `targeted_fields`, and parts are
    /// always stored.
    pub policy: PolicySettings,
    /// Targeted cache control fields that all listeners obey (RFC 9213). Default: reverse listeners obey
    /// `CDN-Cache-Control`, forward listeners none.
    pub targeted_fields: Option<Vec<String>>,
    /// Whether to answer from the store alone, stale or not, and never to contact an origin. Default: no.
    pub offline: bool,
    /// The access log. Default: none.
    pub access_log: Option<AccessLogSettings>,
    /// The admin API over TCP. Default: none.
    pub admin: Option<Admin>,
    /// The path of the control socket. Default: none; the binary puts it into the cache directory.
    pub control_socket: Option<PathBuf>,
    /// The name in `Via`, `Cache-Status` and `Proxy-Status`. Default: `larder`.
    pub name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listeners: vec![Listener::default()],
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            access: Access::default(),
            limits: Limits::default(),
            upstream: Upstream::default(),
            intercept: Intercept::default(),
            policy: PolicySettings::default(),
            targeted_fields: None,
            offline: false,
            access_log: None,
            admin: None,
            control_socket: None,
            name: "larder".to_owned(),
        }
    }
}

impl Config {
    /// The readings of the caching rules on a listener of this kind.
    pub(crate) fn policy_of(&self, kind: &ListenerKind) -> PolicySettings {
        let targeted_fields = self.targeted_fields.clone().unwrap_or_else(|| match kind {
            ListenerKind::Forward => Vec::new(),
            ListenerKind::Reverse { .. } => vec!["CDN-Cache-Control".to_owned()],
        });
        PolicySettings { targeted_fields, store_parts: true, ..self.policy.clone() }
    }
}

/// One address the proxy listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What the listener is for.
    pub kind: ListenerKind,
    /// The certificate with which the port itself speaks TLS, HTTP/2 included. Default: none, plain TCP.
    pub tls: Option<PortCertificate>,
    /// Whether tunnels are opened that [`Intercept`] does not leave out. Default: no.
    pub intercept: bool,
}

impl Default for Listener {
    /// A plain forward proxy on 127.0.0.1:3128.
    fn default() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 3128));
        Self { address, kind: ListenerKind::Forward, tls: None, intercept: false }
    }
}

/// A certificate and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortCertificate {
    /// The certificate, those of its issuers behind it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Which tunnels are opened, so that what is inside is cached, judged and logged.
///
/// The lists name hosts; a later one does not undo an earlier: what is `required` is opened whatever else is said.
#[derive(Debug, Clone, Default)]
pub struct Intercept {
    /// The CA that signs for the hosts. Without one nothing is opened. Default: none.
    pub authorities: Option<Authorities>,
    /// Only these are opened. Default: none are named, and all are.
    pub only: Vec<HostPattern>,
    /// These are never opened. Default: none.
    pub bypass: Vec<HostPattern>,
    /// These must be opened: a client that does not let them be does not reach them. Default: none.
    pub required: Vec<HostPattern>,
    /// Whether tunnels to addresses, not names, are opened. Default: no, since a certificate for an address is rarely expected.
    pub addresses: bool,
}

/// What a listener is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerKind {
    /// A forward proxy: absolute-form requests and CONNECT.
    Forward,
    /// A reverse proxy before one origin. The URI's path must be `/`.
    Reverse {
        /// The origin that all requests go to.
        origin: TargetUri,
    },
}

/// Who may ask, and where a request may lead.
#[derive(Debug, Clone)]
pub struct Access {
    /// Clients allowed besides loopback, which always is. Default: none.
    pub allow_clients: Vec<IpNet>,
    /// Destinations that are reachable although their addresses are denied by default. Default: none.
    pub allow_destinations: Vec<Destination>,
    /// Whether private ranges (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7) may be reached.
    /// Default: yes, as an office has an intranet.
    pub private_destinations: bool,
    /// Ports that CONNECT may reach. Default: 443.
    pub connect_ports: Vec<u16>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            allow_clients: Vec::new(),
            allow_destinations: Vec::new(),
            private_destinations: true,
            connect_ports: vec![443],
        }
    }
}

/// A destination allowed by name although its address is denied by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Every address in this network.
    Network(IpNet),
    /// This host, written as in the request (lower case), on this port or on every port.
    Host {
        /// The host name or address literal, lower case, IPv6 in brackets.
        host: String,
        /// The only port; none means every port.
        port: Option<u16>,
    },
}

impl Destination {
    /// Whether it names this host and port, or contains this address.
    pub(crate) fn allows(&self, host: &str, port: u16, address: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address),
            Self::Host { host: named, port: only } => named == host && only.is_none_or(|only| only == port),
        }
    }
}

/// Bounds on what peers may use. Durations are wall time of one wait, not of a whole transfer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes in the head of a request or response. Default: 64 KiB.
    pub head_bytes: usize,
    /// Field lines in a head. Default: 100.
    pub head_fields: usize,
    /// Client connections in all. Default: 8192.
    pub connections: usize,
    /// Connections of one client address. Default: 1024.
    pub connections_per_client: usize,
    /// From the first byte of a request's head to its last. Default: 30 s.
    pub head_timeout: Duration,
    /// An idle client connection waits this long for its next request. Default: 60 s.
    pub keep_alive_timeout: Duration,
    /// The longest wait for the next bytes of a request's body. Default: 60 s.
    pub request_body_timeout: Duration,
    /// The least rate at which a request's body may come, in bytes per second of waiting for it, counted once
    /// `request_body_timeout` has been waited in all. 0 is none. Default: 64.
    pub request_body_rate: u64,
    /// The longest wait for a client to take the next bytes. Default: 60 s.
    pub client_write_timeout: Duration,
    /// Resolving a name and connecting to one of its addresses, TLS included. Default: 10 s.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the final response. Default: 60 s.
    pub first_byte_timeout: Duration,
    /// The longest wait for the next bytes of an origin's body. Default: 60 s.
    pub origin_body_timeout: Duration,
    /// An idle connection to an origin is kept this long. Default: 30 s.
    pub pool_idle_timeout: Duration,
    /// Idle connections kept per origin and worker. Default: 32.
    pub pool_idle_connections: usize,
    /// Connections of HTTP/2 per origin and worker, each shared by up to 100 requests at once (see `http2_window`). Default: 16.
    pub http2_connections: usize,
    /// Bytes of one HTTP/2 answer that may have come before its client takes them. Over 320 KiB fewer than 100 requests share
    /// a connection, which holds 32 MiB at most. Default: 256 KiB.
    pub http2_window: u32,
    /// When the head of an HTTP/2 answer is this late, the origin is asked by a PING whether it lives. Default: 5 s.
    pub http2_ping_after: Duration,
    /// When nothing at all has come in for this long after the PING, the connection is lost. Default: 10 s.
    pub http2_ping_timeout: Duration,
    /// Interim (1xx) responses to one request. Default: 16.
    pub interim_responses: usize,
    /// Requests that wait for one fetch of one key; more go on by themselves. Default: 4096.
    pub waiters_per_key: usize,
    /// How long a request waits for the head of another's fetch before it goes on by itself. Default: 30 s.
    pub waiter_timeout: Duration,
    /// How long a key whose answer could not be stored is fetched without waiting for others. Default: 5 s.
    pub uncacheable_mark: Duration,
    /// Bytes of an unread request body that are read and dropped to keep a connection. Default: 64 KiB.
    pub drain_bytes: u64,
    /// Both directions of a tunnel silent for this long end it. Default: 10 min.
    pub tunnel_idle_timeout: Duration,
    /// A client's TLS handshake, on the port or in a tunnel that is to be opened; a client that sends nothing for so long
    /// in such a tunnel is taken to wait for the server, and tunnelled. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Requests at a time on one HTTP/2 connection of a client. Default: 100.
    pub http2_streams: u32,
    /// Certificates for hosts that are kept in memory, some 2 KiB each. Default: 4096.
    pub leaf_certificates: NonZeroUsize,
    /// Pairs of client and host that are tunnelled since the client rejected the certificate, or the host wants one of the client's.
    /// Default: 10,000.
    pub learned_bypasses: usize,
    /// Such a pair is forgotten after this. Default: 1 day.
    pub learned_bypass_time: Duration,
    /// Hosts that one client may teach within ten minutes; one that rejects more certificates teaches none. Default: 3.
    pub learned_bypasses_per_client: usize,
    /// On a graceful stop, requests and tunnels get this long to end. Default: 30 s.
    pub drain_timeout: Duration,
    /// A body whose last reader left is still fetched to its end if no more than this is missing. Default: 64 MiB.
    pub finish_bytes: u64,
    /// What came of a body that broke off is kept if it is at least so long and can be gone on with: the next request asks for
    /// the rest. Default: 1 MiB.
    pub partial_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            head_fields: 100,
            connections: 8192,
            connections_per_client: 1024,
            head_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(60),
            request_body_timeout: Duration::from_secs(60),
            request_body_rate: 64,
            client_write_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(60),
            origin_body_timeout: Duration::from_secs(60),
            pool_idle_timeout: Duration::from_secs(30),
            pool_idle_connections: 256,
            http2_connections: 16,
            http2_window: 256 * 1024,
            http2_ping_after: Duration::from_secs(5),
            http2_ping_timeout: Duration::from_secs(10),
            interim_responses: 16,
            waiters_per_key: 4096,
            waiter_timeout: Duration::from_secs(30),
            uncacheable_mark: Duration::from_secs(5),
            drain_bytes: 64 * 1024,
            tunnel_idle_timeout: Duration::from_secs(600),
            handshake_timeout: Duration::from_secs(10),
            http2_streams: 100,
            leaf_certificates: Leaves::MOST,
            learned_bypasses: 10_000,
            learned_bypass_time: Duration::from_secs(24 * 60 * 60),
            learned_bypasses_per_client: 3,
            drain_timeout: Duration::from_secs(30),
            finish_bytes: 64 * 1024 * 1024,
            partial_bytes: 1024 * 1024,
        }
    }
}

/// How connections to the next hop are made.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// PEM files whose certificates are trusted besides the system's roots. Default: none.
    pub ca_files: Vec<PathBuf>,
    /// An HTTP proxy that all requests and tunnels go through. Default: none.
    pub parent: Option<Parent>,
    /// Whether origins over TLS are offered HTTP/2. Default: yes.
    pub http2: bool,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { ca_files: Vec::new(), parent: None, http2: true }
    }
}

/// The next proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Host name or address literal, lower case, IPv6 in brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What it is shown of us. Default: nothing.
    pub credentials: Option<Credentials>,
}

/// The value of `Proxy-Authorization` (RFC 9110, 11.7.2). It goes to the next proxy and nowhere else, `Debug` included.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credentials(String);

impl Credentials {
    /// User and password, by the Basic scheme (RFC 7617).
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        Self(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Where the access log goes and how its lines look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// The file, or standard output.
    pub target: AccessLogTarget,
    /// The format. Default: Squid's native one.
    pub format: AccessLogFormat,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; opened anew on SIGUSR1.
    File(PathBuf),
}

/// How lines of the access log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    /// Squid's native format.
    #[default]
    Squid,
    /// The Common Log Format.
    Common,
    /// The Combined Log Format.
    Combined,
    /// One JSON object a line.
    Json,
}

/// The admin API over TCP.
#[derive(Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address and port.
    pub address: SocketAddr,
    /// The bearer token for whatever changes state; without one nothing can be changed over TCP.
    pub token: Option<String>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is for whoever was given it, not for logs.
        let token = self.token.as_ref().map(|_| "(hidden)");
        f.debug_struct("Admin").field("address", &self.address).field("token", &token).finish()
    }
}
