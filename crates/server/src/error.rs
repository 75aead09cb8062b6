//! What can go wrong towards the next hop, and when starting.
//!
//! An error says who is at fault and on what; `respond` alone maps it to a status.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::access::Prohibited;
use crate::http1::{ErrorKind, ParseError, ReadError};
use crate::tls::CaError;

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A listener would be an open proxy.
    #[error("a forward proxy on {address} would serve anybody who can reach it")]
    OpenProxy {
        /// The listener's address.
        address: SocketAddr,
    },
    /// A file of trusted certificates could not be used.
    #[error("cannot use {} as a file of trusted certificates: {reason}", path.display())]
    UpstreamCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A listener is to open tunnels, and there is no CA.
    #[error("a listener is to intercept, and there is no CA to sign for the hosts")]
    NoAuthority,
    /// The CA cannot be used.
    #[error("cannot use the CA")]
    Ca(#[source] CaError),
    /// A listener's certificate or key could not be used.
    #[error("cannot use {} for TLS: {reason}", path.display())]
    PortCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The access log could not be opened.
    #[error("cannot open the access log {}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The control socket or the admin API could not be opened.
    #[error("cannot open the control socket or admin address {address}")]
    Control {
        /// Path or address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The system refused a thread or a runtime.
    #[error("cannot start a worker thread")]
    Worker(#[source] io::Error),
}

/// Why the next hop gave no usable response. The words of [`token`](Self::token) are those of RFC 9209, 2.3.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the name {host} could not be resolved: {reason}")]
    Dns { host: String, reason: String },
    #[error("the name {host} was not resolved in time")]
    DnsTimeout { host: String },
    #[error("{host} is out of reach: {address} {why}")]
    Prohibited { host: String, address: SocketAddr, why: Prohibited },
    #[error("{host}: connection to {address} refused")]
    Refused { host: String, address: SocketAddr },
    #[error("{host}: cannot connect to {address}: {reason}")]
    Unreachable { host: String, address: SocketAddr, reason: String },
    #[error("{host}: connecting took too long")]
    ConnectTimeout { host: String },
    #[error("{host}: the certificate is not trusted: {reason}")]
    Certificate { host: String, reason: String },
    #[error("{host} asks for a client certificate, which a proxy cannot give")]
    ClientCertificate { host: String },
    #[error("{host}: the TLS handshake failed: {reason}")]
    Tls { host: String, reason: String },
    #[error("{host} closed the connection before it answered")]
    Terminated { host: String },
    #[error("{host} took no request on a connection that it was closing")]
    NotTaken { host: String },
    #[error("the connection to {host} was lost before it answered")]
    Lost { host: String },
    #[error("{host} did not answer in time")]
    ResponseTimeout { host: String },
    #[error("{host} stopped sending in the middle of its answer")]
    BodyTimeout { host: String },
    #[error("{host} broke off in the middle of its answer")]
    Incomplete { host: String },
    #[error("{host} sent a malformed answer: {reason}")]
    Protocol { host: String, reason: String },
    #[error("{host} sent a head that is too large")]
    HeadTooLarge { host: String },
    #[error("{host} did not take the request's content in time")]
    WriteTimeout { host: String },
    #[error("the parent proxy refused the tunnel to {host} with status {status}")]
    ParentRefused { host: String, status: u16 },
    #[error("larder is offline: {host} is not asked")]
    Offline { host: String },
}

impl UpstreamError {
    /// What a failed read of a head or body means. [`Terminated`](Self::Terminated) only if nothing of a response had come.
    pub(crate) fn from_read(error: ReadError, host: &str) -> Self {
        let host = host.to_owned();
        match error {
            ReadError::Closed => Self::Terminated { host },
            ReadError::Io(_) | ReadError::Parse(ParseError::Truncated) => Self::Incomplete { host },
            ReadError::Parse(error) if error.kind() == ErrorKind::TooLarge => Self::HeadTooLarge { host },
            ReadError::Parse(error) => Self::Protocol { host, reason: error.to_string() },
        }
    }

    /// The error type of RFC 9209, 2.3.
    pub(crate) fn token(&self) -> &'static str {
        match self {
            Self::Dns { .. } => "dns_error",
            Self::DnsTimeout { .. } => "dns_timeout",
            Self::Prohibited { .. } => "destination_ip_prohibited",
            Self::Refused { .. } => "connection_refused",
            Self::Unreachable { .. } => "destination_ip_unroutable",
            Self::ConnectTimeout { .. } => "connection_timeout",
            Self::Certificate { .. } => "tls_certificate_error",
            // No alert has come, as the connection is given up before the origin could send one.
            Self::ClientCertificate { .. } | Self::Tls { .. } => "tls_protocol_error",
            Self::Terminated { .. } | Self::NotTaken { .. } => "connection_terminated",
            Self::Lost { .. } | Self::ResponseTimeout { .. } => "http_response_timeout",
            Self::BodyTimeout { .. } => "connection_read_timeout",
            Self::Incomplete { .. } => "http_response_incomplete",
            Self::Protocol { .. } => "http_protocol_error",
            Self::HeadTooLarge { .. } => "http_response_header_section_size",
            Self::WriteTimeout { .. } => "connection_write_timeout",
            Self::ParentRefused { .. } | Self::Offline { .. } => "destination_unavailable",
        }
    }

    /// Whether it was a wait that ran out: 504 rather than 502 (RFC 9110, 15.6.5).
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::DnsTimeout { .. }
                | Self::ConnectTimeout { .. }
                | Self::Lost { .. }
                | Self::ResponseTimeout { .. }
                | Self::BodyTimeout { .. }
                | Self::WriteTimeout { .. }
        )
    }

    /// Whether another request would fare the same now: no connection, or no answer, as opposed to a conversation that broke off.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Dns { .. }
            | Self::DnsTimeout { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::ConnectTimeout { .. }
            | Self::Certificate { .. }
            | Self::ClientCertificate { .. }
            | Self::Tls { .. }
            | Self::Lost { .. }
            | Self::ResponseTimeout { .. }
            | Self::ParentRefused { .. } => true,
            // Those who wait with it need not be offline, too.
            Self::Offline { .. }
            | Self::Prohibited { .. }
            | Self::Terminated { .. }
            | Self::NotTaken { .. }
            | Self::BodyTimeout { .. }
            | Self::Incomplete { .. }
            | Self::Protocol { .. }
            | Self::HeadTooLarge { .. }
            | Self::WriteTimeout { .. } => false,
        }
    }

    /// Whether the rules of access forbid the destination: 403, and never a stale answer instead.
    pub(crate) fn is_prohibited(&self) -> bool {
        matches!(self, Self::Prohibited { .. })
    }

    /// What to do about it, in a sentence for the person who sees the page.
    pub(crate) fn advice(&self) -> impl fmt::Display {
        match self {
            Self::Prohibited { why: Prohibited::Own, .. } => "A proxy does not ask itself.",
            Self::Prohibited { .. } => {
                "If it should be reachable through this proxy, start it with --allow-destination HOST:PORT."
            }
            Self::Certificate { .. } => {
                "If the origin's issuer is to be trusted, start the proxy with --upstream-ca FILE."
            }
            Self::ClientCertificate { .. } => {
                "Only whoever holds the certificate can show it: reach this origin through a tunnel (CONNECT)."
            }
            Self::Dns { .. } | Self::DnsTimeout { .. } => {
                "Check the name, and the resolver of the machine that the proxy runs on."
            }
            Self::Offline { .. } => "Without --offline it would be.",
            _ => "The proxy itself is well; try again later.",
        }
    }
}
