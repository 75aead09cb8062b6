//! The next hop: connections, pools, exchanges and their deadlines.
//!
//! Origins over TLS choose between HTTP/2 and HTTP/1.1 in the handshake (ALPN), and nobody outside sees which it is.
//!
//! A request goes out once. Only one without content goes out a second time, on another connection: an idempotent one where a kept
//! connection turned out to be dead, or a shared one to be lost, before a byte of the response came (RFC 9110, 9.2.2; RFC 9112,
//! 9.3.1), and any that the other side says it did not take (RFC 9113, 8.7).

mod body;
mod connect;
mod exchange;
mod halves;
mod heads;
mod http1;
mod http2;
mod messages;
mod peers;
mod pool;
mod pulse;
mod resolve;
mod tls;

pub(crate) use body::OriginBody;
pub(crate) use connect::{Connector, Destination, Stream};
pub(crate) use exchange::Origins;
pub(crate) use messages::{
    ClientFailed, ExchangeError, Interim, OriginResponse, Outbound, Switched, Upgrade, Upload, UploadFailure,
    Uploading, end_of,
};
pub(crate) use pool::Pool;
pub(crate) use tls::OriginTls;
